"""Reading a table of settings, with errors that name the key, the value and what is allowed."""

import difflib
import math
import numbers
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, NoReturn, TypeVar

from creativity_lens.errors import DataError

__all__ = ["Table"]

Default = TypeVar("Default", int, None)
Entry = TypeVar("Entry", int, float, str, int | str)

_SHOWN = 80


class Table:
    """One table of a settings file, whose keys are asked for by their type.

    A key that is missing, or None, has its default. Integers are numbers, booleans are not; a
    tuple is a list.

    Args:
        values: the table as it was parsed.
        known: the keys of every table of the file by the table's name; the top level is "".
        name: of this table.
        source: the file, as errors name it.

    Raises:
        DataError: a key that this table does not know.
    """

    def __init__(
        self,
        values: Any,
        known: Mapping[str, Collection[str]],
        *,
        name: str = "",
        source: str,
    ) -> None:
        self.source = source
        self._prefix = f"{name}." if name else ""
        if not isinstance(values, Mapping):
            raise DataError(
                f"{source}: {name} must be a table, [{name}], got {_shown(values)}."
                if name
                else f"{source}: the settings must be a table, got {_shown(values)}."
            )
        for key in values:
            if key not in known[name]:
                self._unknown(str(key), known, name)
        self._values = {key: value for key, value in values.items() if value is not None}

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def fail(self, key: str, message: str) -> NoReturn:
        """Raise the error that says `message` of a key."""
        raise DataError(f"{self.source}: {self._prefix}{key} {message}")

    def need(self, key: str, what: str) -> None:
        """Raise unless the key is there."""
        if key not in self:
            self.fail(key, f"is missing: give {what}.")

    def get(self, key: str, default: Any = None) -> Any:
        """The value as it was parsed."""
        return self._values.get(key, default)

    def integer(self, key: str, default: Default, *, at_least: int) -> int | Default:
        """A whole number."""
        value = self.get(key)
        if value is None:
            return default
        if not _is_integer(value) or value < at_least:
            self.fail(key, f"must be a whole number of at least {at_least}, got {_shown(value)}.")
        return int(value)

    def real(self, key: str, default: float) -> float:
        """Any number at all, for a range that is checked elsewhere."""
        value = self.get(key, default)
        if not _is_real(value):
            self.fail(key, f"must be a number, got {_shown(value)}.")
        return _float(value)

    def number(
        self, key: str, default: float, *, at_least: float, at_most: float = math.inf
    ) -> float:
        """A finite number in a range."""
        value = self.real(key, default)
        if not math.isfinite(value) or not at_least <= value <= at_most:
            span = f"of at least {at_least:g}"
            if at_most < math.inf:
                span = f"from {at_least:g} to {at_most:g}"
            self.fail(key, f"must be a finite number {span}, got {value:g}.")
        return value

    def text(self, key: str, default: str) -> str:
        """A string that is not blank."""
        value = self.get(key, default)
        if not isinstance(value, str) or not value.strip():
            self.fail(key, f"must be a string that is not blank, got {_shown(value)}.")
        return value

    def choice(self, key: str, default: str, choices: Sequence[str]) -> str:
        """One of some words."""
        value = self.get(key, default)
        if value not in choices:
            self.fail(key, f"must be one of {', '.join(choices)}, got {_shown(value)}.")
        return str(value)

    def integers(
        self, key: str, default: Sequence[int], *, below: int | None = None, empty: bool = False
    ) -> tuple[int, ...]:
        """Different whole numbers of at least 0, in ascending order."""

        def check(value: Any) -> int | None:
            fits = _is_integer(value) and value >= 0 and (below is None or value < below)
            return int(value) if fits else None

        what = "whole numbers of at least 0" + (f" and below {below}" if below else "")
        return tuple(sorted(self._entries(key, default, what, check, empty=empty)))

    def layers(
        self, key: str, default: Literal["all"] | None = None, *, empty: bool = False
    ) -> tuple[int, ...] | Literal["all"]:
        """Different layers in ascending order, or the word `all`."""
        value = self.get(key, default)
        if isinstance(value, str):
            if value != "all":
                self.fail(key, f'must be a list of layers or "all", got {_shown(value)}.')
            return "all"
        if not isinstance(value, Sequence):
            self.fail(key, f'must be a list of layers or "all", got {_shown(value)}.')
        return self.integers(key, (), empty=empty)

    def numbers(
        self, key: str, default: Sequence[float], *, empty: bool = False
    ) -> tuple[float, ...]:
        """Different finite numbers, in ascending order."""
        return tuple(sorted(self._entries(key, default, "finite numbers", _finite, empty=empty)))

    def words(
        self,
        key: str,
        default: Sequence[str],
        choices: Sequence[str],
        *,
        empty: bool = False,
    ) -> tuple[str, ...]:
        """Different words out of some, in the order given."""

        def check(value: Any) -> str | None:
            return value if isinstance(value, str) and value in choices else None

        what = f"words out of {', '.join(choices)}"
        return self._entries(key, default, what, check, empty=empty)

    def layers_and_words(
        self, key: str, default: Sequence[int | str], choices: Sequence[str]
    ) -> tuple[int | str, ...]:
        """Different layers and words out of some, in the order given; there may be none."""

        def check(value: Any) -> int | str | None:
            if _is_integer(value) and value >= 0:
                return int(value)
            return value if isinstance(value, str) and value in choices else None

        return self._entries(key, default, f"layers, {' or '.join(choices)}", check, empty=True)

    def _entries(
        self,
        key: str,
        default: Sequence[Entry],
        what: str,
        check: Callable[[Any], Entry | None],
        *,
        empty: bool,
    ) -> tuple[Entry, ...]:
        values = self.get(key, default)
        if isinstance(values, str) or not isinstance(values, Sequence):
            self.fail(key, f"must be a list of {what}, got {_shown(values)}.")
        if not values and not empty:
            self.fail(key, f"is empty, so there is nothing to run: give a list of {what}.")
        found: list[Entry] = []
        for value in values:
            entry = check(value)
            if entry is None:
                self.fail(key, f"must be a list of {what}, and holds {_shown(value)}.")
            if entry in found:
                self.fail(key, f"holds {_shown(value)} twice: name it once.")
            found.append(entry)
        return tuple(found)

    def _unknown(self, key: str, known: Mapping[str, Collection[str]], name: str) -> NoReturn:
        near = difflib.get_close_matches(key, list(known[name]), n=1)
        homes = [table for table, keys in known.items() if key in keys]
        if near:
            advice = f"did you mean {self._prefix}{near[0]}?"
        elif "" in homes:
            advice = "it belongs at the top, before the first [table]."
        elif homes:
            advice = f"it belongs into [{homes[0]}]."
        else:
            advice = f"{f'[{name}]' if name else 'the top'} knows {', '.join(known[name])}."
        raise DataError(f"{self.source}: unknown key {self._prefix}{key}: {advice}")


def _is_integer(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_real(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return math.inf


def _finite(value: Any) -> float | None:
    """The value as a float, or None if it is no finite number."""
    return _float(value) if _is_real(value) and math.isfinite(_float(value)) else None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
