"""The instructions of a contrast, and the prompts they make of a premise."""

import hashlib
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from creativity_lens.errors import DataError, InputError
from creativity_lens.prompts.data import data_path
from creativity_lens.prompts.pairs import ContrastPair

Contrast = Literal["instruction", "premise"]
"""`instruction`: one premise under two system prompts. `premise`: two user prompts, one neutral
system prompt."""

Condition = Literal["creative", "uncreative"]
CONDITIONS: tuple[Condition, ...] = get_args(Condition)
_KINDS = ("creative", "uncreative", "neutral")


class Prompt(NamedTuple):
    """What a model is asked."""

    system: str
    user: str
    paraphrase_id: str
    """Which instruction the system message is: `creative-0`, `neutral-0`, …"""


@dataclass(frozen=True)
class Instructions:
    """Paraphrases of the creative, uncreative and neutral instruction, and a task for each domain.

    Attributes:
        creative: system prompts that ask for creativity.
        uncreative: their counterparts, in the same order and of the same number.
        neutral: system prompts that ask for neither.
        tasks: for each domain, `request` (with `{premise}`) and `generic`.
    """

    creative: tuple[str, ...]
    uncreative: tuple[str, ...]
    neutral: tuple[str, ...]
    tasks: Mapping[str, Mapping[str, str]]

    def prompt(
        self,
        pair: ContrastPair,
        condition: Condition,
        *,
        contrast: Contrast,
        seed: int,
        sample: int,
    ) -> Prompt:
        """The prompt of one side of a pair.

        The paraphrase is drawn from (seed, pair id, sample) alone, the same for both sides, so
        that it does not change with the other pairs of the file.
        """
        if contrast == "premise":
            return Prompt(self.neutral[0], getattr(pair, condition), "neutral-0")
        digest = hashlib.sha256(f"{seed}/{pair.id}/{sample}".encode()).digest()
        k = int.from_bytes(digest[:8]) % len(self.creative)
        return Prompt(getattr(self, condition)[k], self._request(pair), f"{condition}-{k}")

    def neutral_prompt(self, pair: ContrastPair) -> Prompt:
        """The prompt under which both sides of a pair are re-read; it asks for neither."""
        return Prompt(self.neutral[0], self._request(pair), "neutral-0")

    def generic_prompt(self, domain: str = "stories", user: str | None = None) -> Prompt:
        """The prompt under which a text is read whose premise is not known."""
        return Prompt(self.neutral[0], user or self._task(domain)["generic"], "neutral-0")

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the file, for a digest or a manifest."""
        return {kind: list(getattr(self, kind)) for kind in _KINDS} | {
            "tasks": {domain: dict(task) for domain, task in self.tasks.items()}
        }

    def _request(self, pair: ContrastPair) -> str:
        # Not str.format: a request may hold other braces.
        return self._task(pair.domain)["request"].replace("{premise}", pair.premise)

    def _task(self, domain: str) -> Mapping[str, str]:
        return self.tasks.get(domain) or self.tasks["default"]


def load_instructions(path: str | os.PathLike[str] | None = None) -> Instructions:
    """Read an instructions file; without a path, the one that comes with the package.

    Raises:
        DataError: not TOML, an empty list, lists of different length, or no default task.
    """
    source = Path(path) if path is not None else data_path("instructions.toml")
    try:
        table = tomllib.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read {source}: {error.strerror or error}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{source}: not valid TOML ({error}).") from error
    lists: dict[str, tuple[str, ...]] = {}
    for kind in _KINDS:
        values = table.get(kind)
        if (
            not isinstance(values, list)
            or not values
            or not all(isinstance(v, str) and v.strip() for v in values)
        ):
            raise DataError(f"{source}: {kind!r} must be a list of sentences that is not empty.")
        lists[kind] = tuple(values)
    if len(lists["creative"]) != len(lists["uncreative"]):
        raise DataError(
            f"{source}: 'creative' and 'uncreative' must be paraphrased in parallel, but have "
            f"{len(lists['creative'])} and {len(lists['uncreative'])} sentences."
        )
    tasks = table.get("tasks", {})
    if "default" not in tasks:
        raise DataError(f"{source}: [tasks.default] is missing.")
    for domain, task in tasks.items():
        if "{premise}" not in str(task.get("request", "")) or not task.get("generic"):
            raise DataError(
                f"{source}: [tasks.{domain}] needs a `request` with {{premise}} and a `generic`."
            )
    return Instructions(**lists, tasks=tasks)


def check_contrast(contrast: str) -> None:
    """Raise InputError unless `contrast` is one of the two kinds."""
    if contrast not in get_args(Contrast):
        raise InputError(
            f"unknown contrast {contrast!r}; choose one of {', '.join(get_args(Contrast))}."
        )


def check_sides(pairs: Sequence[ContrastPair], contrast: Contrast) -> None:
    """Raise InputError if the premise contrast is asked of pairs whose sides are the same."""
    same = [pair.id for pair in pairs if pair.creative == pair.uncreative]
    if contrast == "premise" and same:
        raise InputError(
            f"{len(same)} of {len(pairs)} pairs, such as {same[0]!r}, have one prompt on both "
            "sides, so the premise contrast has nothing to contrast: use the instruction "
            "contrast, or let `creativity-lens data negate` write the other side."
        )
