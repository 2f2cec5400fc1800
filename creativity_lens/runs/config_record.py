"""The configuration of a run as it is stored, and how two of them differ."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from creativity_lens.errors import InputError

__all__ = ["canonical_json", "describe_differences"]

_SHOWN = 3
_ABSENT = object()
_DIGEST = re.compile(r"[0-9a-f]{64}")

NO_NAMES: Mapping[str, str] = {}


def canonical_json(config: Mapping[str, Any]) -> str:
    """The one JSON text of a configuration: sorted keys, no spaces; a tuple becomes a list.

    Raises:
        InputError: a value that JSON does not know.
    """
    try:
        return json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"a run's config must be made of plain JSON values: {error}.") from error


def describe_differences(stored: str, given: str, names: Mapping[str, str] = NO_NAMES) -> str:
    """The first keys at which two canonical texts differ, nested keys dotted, with both values.

    Of SHA-256 digests it says only that what they are of has changed, and that only if nothing
    else differs: other settings make other digests.

    Args:
        stored: canonical JSON of the run.
        given: canonical JSON of what was asked now.
        names: plain words for dotted keys.

    Returns:
        `sampling.seed was 1 and is now 2; …`; empty if the texts say the same.
    """
    old, new = dict(_leaves(json.loads(stored))), dict(_leaves(json.loads(given)))
    # As JSON text, because in Python 1 == True == 1.0.
    keys = [
        key
        for key in sorted(old.keys() | new.keys())
        if _shown(old.get(key, _ABSENT), None) != _shown(new.get(key, _ABSENT), None)
    ]
    digests = [key for key in keys if _are_digests(old.get(key), new.get(key))]
    keys = [key for key in keys if key not in digests] or digests
    parts = [
        f"{names.get(key, key)} has changed since the run began"
        if key in digests
        else f"{names.get(key, key)} was {_shown(old.get(key, _ABSENT))} and is now "
        f"{_shown(new.get(key, _ABSENT))}"
        for key in keys[:_SHOWN]
    ]
    if len(keys) > _SHOWN:
        parts.append(f"and {len(keys) - _SHOWN} more")
    return "; ".join(parts)


def _leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and what stands there; lists are values, and so are empty tables."""
    for key, item in value.items():
        if isinstance(item, dict) and item:
            yield from _leaves(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", item


def _are_digests(old: Any, new: Any) -> bool:
    """Whether both are, or one is and the other is not there."""
    values = [value for value in (old, new) if value is not None]
    return bool(values) and all(isinstance(v, str) and _DIGEST.fullmatch(v) for v in values)


def _shown(value: Any, limit: int | None = 80) -> str:
    if value is _ABSENT:
        return "absent"
    text = json.dumps(value, ensure_ascii=False)
    return text if limit is None or len(text) <= limit else f"{text[: limit - 1]}…"
