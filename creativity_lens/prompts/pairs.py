"""Contrast pairs: two prompts on one premise, one imaginative and one plain.

Also passage pairs: two texts on one premise that differ in something that is not creativity.
"""

import hashlib
import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast, get_args

from creativity_lens.errors import DataError, InputError
from creativity_lens.io import read_jsonl
from creativity_lens.prompts.data import data_path

Split = Literal["train", "dev", "test"]
PAIR_FIELDS = ("id", "domain", "premise", "creative", "uncreative", "source")
PASSAGE_FIELDS = ("id", "domain", "premise", "high", "low", "source")


class _OnPremise:
    """What follows from the premise of a row, or from its group if it has one."""

    premise: str
    group: str | None

    @property
    def premise_id(self) -> str:
        """A digest of the premise: rows on one premise share it, in every file and for ever.

        With a `group`, it is the digest of the group, so near-relatives share it as well.
        """
        return premise_id(self.premise if self.group is None else self.group)

    @property
    def split(self) -> Split:
        """Train, dev or test, fixed by the premise (or the group) alone."""
        return premise_split(self.premise if self.group is None else self.group)

    def to_dict(self) -> dict[str, str]:
        """The fields as they stand in the file; a row without a group has no such field."""
        return {field: value for field, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class ContrastPair(_OnPremise):
    """One line of a pairs file.

    Attributes:
        id: unique in the file.
        domain: `stories`, `poetry`, `dialogue`, `code`, or one of your own.
        premise: the bare situation that both sides share.
        creative: a full user prompt that asks for it imaginatively.
        uncreative: a full user prompt that asks for it plainly.
        source: who wrote the pair.
        group: names the premises that are too alike to be told apart by a split; None if there
            is no other.
    """

    id: str
    domain: str
    premise: str
    creative: str
    uncreative: str
    source: str
    group: str | None = None

    @property
    def premise_only(self) -> bool:
        """Whether the pair is a bare premise, which only the instruction contrast can use."""
        return self.creative == self.uncreative == self.premise


@dataclass(frozen=True)
class PassagePair(_OnPremise):
    """One line of a nuisance file: one content told in two ways, equally creative.

    Attributes:
        id: unique in the file.
        domain: what differs: `formality`, `sentiment`, `verbosity`, `genre`, `concreteness` or
            `vocabulary`.
        premise: the situation that both passages tell.
        high: the formal, glad, wordy, fantastical, concrete or rare-worded passage.
        low: its counterpart.
        source: who wrote the pair.
        group: as in a `ContrastPair`.
    """

    id: str
    domain: str
    premise: str
    high: str
    low: str
    source: str
    group: str | None = None


Row = TypeVar("Row", ContrastPair, PassagePair)


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

    A `group` may follow; further fields are allowed and ignored.

    Raises:
        DataError: missing or empty file, malformed JSON, a missing or blank field, an id used
            twice; the message names the line.
    """
    return _rows(path, ContrastPair, PAIR_FIELDS)


def read_passages(path: str | os.PathLike[str]) -> list[PassagePair]:
    """Read a nuisance file: JSONL with `id, domain, premise, high, low, source`.

    A `group` may follow; further fields are allowed and ignored.

    Raises:
        DataError: as `read_pairs`.
    """
    return _rows(path, PassagePair, PASSAGE_FIELDS)


def _rows(path: str | os.PathLike[str], kind: type[Row], fields: Sequence[str]) -> list[Row]:
    rows: list[Row] = []
    seen: dict[str, int] = {}
    for number, row in read_jsonl(path, required=fields):
        where = f"{path}, line {number}"
        made = kind(**{field: row[field] for field in fields}, group=_group(row, where))
        if made.id in seen:
            raise DataError(f"{where}: the id {made.id!r} was used in line {seen[made.id]}.")
        seen[made.id] = number
        rows.append(made)
    return rows


def _group(row: Mapping[str, Any], where: str) -> str | None:
    group = row.get("group")
    if group is not None and (not isinstance(group, str) or not group.strip()):
        raise DataError(
            f"{where}: the field 'group' must be left out or a string that is not blank, "
            f"got {group!r}."
        )
    return group


def load_contrast(name: str = "stories", *, split: Split | None = None) -> list[ContrastPair]:
    """The pairs that come with the package, by name; works from an installed wheel.

    Args:
        name: `stories`, `poetry`, `dialogue` or `code`; or a facet: `facets/originality`,
            `facets/emotional_depth` or `facets/narrative_complexity`.
        split: keep only this split.

    Raises:
        InputError: unknown name or split.
    """
    check_split(split)
    return select_split(read_pairs(data_path("prompts", *f"{name}.jsonl".split("/"))), split)


def load_passages(name: str, *, split: Split | None = None) -> list[PassagePair]:
    """The nuisance passages that come with the package, by name; works from an installed wheel.

    Each pair tells one content in two ways that differ in `name` and, as far as it could be done,
    in nothing that matters to creativity: what a creativity direction should not answer to.

    Args:
        name: `formality`, `sentiment`, `verbosity`, `genre`, `concreteness` or `vocabulary`.
        split: keep only this split.

    Raises:
        InputError: unknown name or split.
    """
    check_split(split)
    return select_split(read_passages(data_path("prompts", "nuisance", f"{name}.jsonl")), split)


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


def select_split(rows: Sequence[Row], split: Split | None) -> list[Row]:
    """The rows of one split, or all of them."""
    return [row for row in rows if split is None or row.split == split]
