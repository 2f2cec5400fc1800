"""Contrast pairs: two prompts on one premise, one imaginative and one plain."""

import hashlib
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, cast, get_args

from creativity_lens.errors import DataError, InputError
from creativity_lens.io import read_jsonl
from creativity_lens.prompts.data import data_path

Split = Literal["train", "dev", "test"]
_FIELDS = ("id", "domain", "premise", "creative", "uncreative", "source")


@dataclass(frozen=True)
class ContrastPair:
    """One line of a pairs file.

    Attributes:
        id: unique in the file.
        domain: `stories`, `poetry`, `dialogue`, `code`, or one of your own.
        premise: the bare situation that both sides share.
        creative: a full user prompt that asks for it imaginatively.
        uncreative: a full user prompt that asks for it plainly.
        source: who wrote the pair.
    """

    id: str
    domain: str
    premise: str
    creative: str
    uncreative: str
    source: str

    @property
    def premise_id(self) -> str:
        """A digest of the premise: pairs on one premise share it, in every file and for ever."""
        return premise_id(self.premise)

    @property
    def split(self) -> Split:
        """Train, dev or test, fixed by the premise alone."""
        return premise_split(self.premise)

    def to_dict(self) -> dict[str, str]:
        """The fields as they stand in the file."""
        return asdict(self)


def premise_id(premise: str) -> str:
    """First 12 hex digits of the SHA-256 of the premise, case and spacing ignored."""
    normal = " ".join(unicodedata.normalize("NFKC", premise).casefold().split())
    return hashlib.sha256(normal.encode()).hexdigest()[:12]


def premise_split(premise: str) -> Split:
    """The split of a premise: 70 % train, 15 % dev, 15 % test, by its digest."""
    position = int(premise_id(premise), 16) / 16**12
    if position < 0.70:
        return "train"
    return "dev" if position < 0.85 else "test"


def read_pairs(path: str | os.PathLike[str]) -> list[ContrastPair]:
    """Read a pairs file: JSONL with `id, domain, premise, creative, uncreative, source`.

    Further fields are allowed and ignored.

    Raises:
        DataError: missing or empty file, malformed JSON, a missing or blank field, an id used
            twice; the message names the line.
    """
    pairs: list[ContrastPair] = []
    seen: dict[str, int] = {}
    for number, row in read_jsonl(path, required=_FIELDS):
        pair = ContrastPair(**{field: row[field] for field in _FIELDS})
        if pair.id in seen:
            raise DataError(
                f"{path}, line {number}: the id {pair.id!r} was used in line {seen[pair.id]}."
            )
        seen[pair.id] = number
        pairs.append(pair)
    return pairs


def load_contrast(name: str = "stories", *, split: Split | None = None) -> list[ContrastPair]:
    """The pairs that come with the package, by name; works from an installed wheel.

    Args:
        name: a file of `data/prompts` without its ending.
        split: keep only this split.

    Raises:
        InputError: unknown name or split.
    """
    check_split(split)
    return select_split(read_pairs(data_path("prompts", f"{name}.jsonl")), split)


def check_split(split: str | None) -> Split | None:
    """Return `split` if there is such a split.

    Raises:
        InputError: there is not.
    """
    for known in get_args(Split):
        if split == known:
            return cast(Split, known)
    if split is not None:
        raise InputError(f"unknown split {split!r}; choose one of {', '.join(get_args(Split))}.")
    return None


def select_split(pairs: Sequence[ContrastPair], split: Split | None) -> list[ContrastPair]:
    """The pairs of one split, or all of them."""
    return [pair for pair in pairs if split is None or pair.split == split]
