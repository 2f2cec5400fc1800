"""What a corpus must and must not hold: the rules behind `creativity-lens data check`.

rule             what it asks
ids              an id names one row of all files
near-duplicate   premises of two rows, or their texts, share fewer than 30 % of their runs of
                 five words (Jaccard)
opening          no three words open more than 2 % of a file's premises, creative sides or
                 uncreative sides; in a file of fewer than 100 rows no two rows open alike
sides            the two sides differ, or both are the bare premise
length           the longer side is at most 1.25 times the shorter, in words and, for prompts, in
                 characters; the wordy side of `verbosity` is more than that longer
negations        the plain side denies at most twice, so that "not" does not give it away
profanity        none of the listed words
real-person      none of the listed names
unicode          NFC; no control, zero-width, unassigned or replacement character; no double,
                 outer or unusual space; one kind of quotation mark in a file
relatives        premises that share 40 % of their topic words (Jaccard) are in one split, or
                 have a common `group`
"""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from creativity_lens.errors import InputError
from creativity_lens.io import read_jsonl
from creativity_lens.prompts.describe import FileReport, describe, sides
from creativity_lens.prompts.pairs import (
    ContrastPair,
    PassagePair,
    read_pairs,
    read_passages,
)
from creativity_lens.prompts.text import (
    alike,
    content_words,
    n_grams,
    n_negations,
    people_named,
    profanities,
    words,
)

Rule = Literal[
    "ids",
    "near-duplicate",
    "opening",
    "sides",
    "length",
    "negations",
    "profanity",
    "real-person",
    "unicode",
    "relatives",
]

N_GRAM, DUPLICATE_JACCARD = 5, 0.3
OPENING_SHARE = 0.02
LENGTH_RATIO = 1.25
PLAIN_NEGATIONS = 2
# Of the shipped premises, those above share a situation (a seamstress and a wedding dress, a maid
# and a diary); right below come those that share an occupation alone.
RELATIVE_JACCARD = 0.4

Corpora = Mapping[str, Sequence[ContrastPair | PassagePair]]


class Breach(NamedTuple):
    """One rule that one row breaks."""

    file: str
    id: str
    rule: Rule
    detail: str

    def __str__(self) -> str:
        return f"{self.file}: {self.id}: {self.rule}: {self.detail}"


class Relatives(NamedTuple):
    """Two rows whose premises share much of their topic."""

    first: str
    second: str
    jaccard: float
    splits: tuple[str, str]
    grouped: bool
    """Whether a common group (or the same premise) holds them together for ever."""


@dataclass(frozen=True)
class CorpusReport:
    """What `check_corpus` found.

    Attributes:
        breaches: each rule that a row breaks; empty if all is well.
        files: what each corpus is like.
        relatives: near-relatives, whether or not they are kept together.
    """

    breaches: tuple[Breach, ...]
    files: tuple[FileReport, ...]
    relatives: tuple[Relatives, ...]

    @property
    def clean(self) -> bool:
        """Whether no rule is broken."""
        return not self.breaches

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "clean": self.clean,
            "breaches": [breach._asdict() for breach in self.breaches],
            "files": [file.to_dict() for file in self.files],
            "relatives": [relatives._asdict() for relatives in self.relatives],
        }


def read_corpus(path: str | os.PathLike[str]) -> list[ContrastPair] | list[PassagePair]:
    """Read a pairs file or a nuisance file, told apart by the fields of the first line.

    Raises:
        DataError: it is neither; the message names the line.
    """
    _, first = read_jsonl(path)[0]
    return read_passages(path) if {"high", "low"} & first.keys() else read_pairs(path)


def check_corpus(corpora: Corpora) -> CorpusReport:
    """Check corpora against the rules of this module, each alone and all together.

    Args:
        corpora: rows by the name of their file, as `read_pairs` or `read_passages` return them.

    Raises:
        InputError: no corpus, or one without a row.
    """
    if not corpora or not all(corpora.values()):
        raise InputError("there is nothing to check: give corpora with at least one row each.")
    items = [_Item(file, row) for file, rows in corpora.items() for row in rows]
    relatives = tuple(_relatives(items))
    breaches = [
        *_ids(items),
        *_near_duplicates(items),
        *(breach for file, rows in corpora.items() for breach in _openings(file, rows)),
        *(breach for item in items for breach in _pair_rules(item)),
        *(breach for item in items for breach in _text_rules(item)),
        *(breach for file, rows in corpora.items() for breach in _quotation_marks(file, rows)),
        *_split_relatives(items, relatives),
    ]
    return CorpusReport(
        breaches=tuple(breaches),
        files=tuple(describe(file, rows) for file, rows in corpora.items()),
        relatives=tuple(found for found, _ in relatives),
    )


class _Item(NamedTuple):
    file: str
    row: ContrastPair | PassagePair

    def breach(self, rule: Rule, detail: str) -> Breach:
        return Breach(self.file, self.row.id, rule, detail)


def _fields(row: ContrastPair | PassagePair) -> dict[str, str]:
    """The texts of a row by their field; a bare premise is one text."""
    names = ("creative", "uncreative") if isinstance(row, ContrastPair) else ("high", "low")
    bare = isinstance(row, ContrastPair) and row.premise_only
    return {"premise": row.premise} | ({} if bare else dict(zip(names, sides(row), strict=True)))


def _ids(items: Sequence[_Item]) -> Iterator[Breach]:
    seen: dict[str, str] = {}
    for item in items:
        if item.row.id in seen:
            yield item.breach("ids", f"this id is used in {seen[item.row.id]} too")
        seen.setdefault(item.row.id, item.file)


def _near_duplicates(items: Sequence[_Item]) -> Iterator[Breach]:
    premises = [(i, "premise", item.row.premise) for i, item in enumerate(items)]
    texts = [
        (i, field, text)
        for i, item in enumerate(items)
        for field, text in _fields(item.row).items()
        if field != "premise"
    ]
    for entries in (premises, texts):
        found = alike(
            [n_grams(text, N_GRAM) for _, _, text in entries],
            at_least=DUPLICATE_JACCARD,
            owners=[i for i, _, _ in entries],
        )
        for first, second, jaccard in found:
            other = items[entries[first][0]]
            yield items[entries[second][0]].breach(
                "near-duplicate",
                f"{entries[second][1]} shares {jaccard:.0%} of its runs of {N_GRAM} words with "
                f"{entries[first][1]} of {other.row.id} in {other.file}",
            )


def _openings(file: str, rows: Sequence[ContrastPair | PassagePair]) -> Iterator[Breach]:
    allowed = max(1, int(OPENING_SHARE * len(rows)))
    openings: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for row in rows:
        for field, text in _fields(row).items():
            openings[(field, *words(text)[:3])].append(row.id)
    for (field, *opening), ids in openings.items():
        if len(ids) > allowed:
            others = ", ".join(ids[:allowed][:5])
            yield Breach(
                file,
                ids[allowed],
                "opening",
                f"{field} opens with {' '.join(opening)!r}, as do {len(ids) - 1} others of "
                f"{len(rows)} (in all at most {allowed}): {others}",
            )


def _pair_rules(item: _Item) -> Iterator[Breach]:
    row = item.row
    first, second = sides(row)
    if isinstance(row, ContrastPair) and row.premise_only:
        return
    if first == second:
        yield item.breach("sides", "both sides are the same text")
        return
    units = [("words", len(words(first)), len(words(second)))]
    if isinstance(row, ContrastPair) or row.domain == "verbosity":
        # Rare, abstract or formal words are long by nature: passages are held to words alone.
        units.append(("characters", len(first), len(second)))
    for unit, a, b in units:
        if row.domain == "verbosity":
            if a <= LENGTH_RATIO * b:
                yield item.breach(
                    "length",
                    f"the wordy side has {a} {unit} and the terse one {b}: it must be more than "
                    f"{LENGTH_RATIO} times as long",
                )
        elif max(a, b) > LENGTH_RATIO * min(a, b):
            yield item.breach(
                "length",
                f"the sides have {a} and {b} {unit}: one is more than {LENGTH_RATIO} times as long",
            )
    if isinstance(row, ContrastPair) and n_negations(second) > PLAIN_NEGATIONS:
        yield item.breach(
            "negations",
            f"the plain side denies {n_negations(second)} times (at most {PLAIN_NEGATIONS})",
        )


def _text_rules(item: _Item) -> Iterator[Breach]:
    for field, text in _fields(item.row).items():
        for word in profanities(text):
            yield item.breach("profanity", f"{field} holds {word!r}")
        for name in people_named(text):
            yield item.breach("real-person", f"{field} names {name}")
        for flaw in _unclean(text):
            yield item.breach("unicode", f"{field} {flaw}")


def _unclean(text: str) -> Iterator[str]:
    if not unicodedata.is_normalized("NFC", text):
        yield "is not in normal form C"
    for character in dict.fromkeys(text):
        category = unicodedata.category(character)
        unseen = category[0] == "C" or category in ("Zl", "Zp") or character == "\ufffd"
        if (unseen and character != "\n") or (category == "Zs" and character != " "):
            yield f"holds the character U+{ord(character):04X}"
    if text != text.strip():
        yield "begins or ends with a space"
    if "  " in text:
        yield "holds a double space"


def _quotation_marks(file: str, rows: Sequence[ContrastPair | PassagePair]) -> Iterator[Breach]:
    """Of straight and curly marks, the rows that use the kind that the file uses less."""
    users: dict[str, dict[str, str]] = {"straight": {}, "curly": {}}
    for row in rows:
        for field, text in _fields(row).items():
            for kind, marks in (("straight", "\"'"), ("curly", "\u2018\u2019\u201c\u201d")):
                if any(mark in text for mark in marks):
                    users[kind].setdefault(row.id, field)
    rarer = min(users, key=lambda kind: len(users[kind]))
    usual = "curly" if rarer == "straight" else "straight"
    for name, field in users[rarer].items():
        yield Breach(
            file, name, "unicode", f"{field} has {rarer} quotation marks, the file {usual} ones"
        )


def _relatives(items: Sequence[_Item]) -> Iterator[tuple[Relatives, _Item]]:
    topics = [content_words(item.row.premise) for item in items]
    for a, b, jaccard in alike(topics, at_least=RELATIVE_JACCARD):
        first, second = items[a].row, items[b].row
        yield (
            Relatives(
                first.id,
                second.id,
                round(jaccard, 3),
                (first.split, second.split),
                first.premise_id == second.premise_id,
            ),
            items[b],
        )


def _split_relatives(
    items: Sequence[_Item], relatives: Sequence[tuple[Relatives, _Item]]
) -> Iterator[Breach]:
    for found, second in relatives:
        if found.splits[0] != found.splits[1]:
            yield second.breach(
                "relatives",
                f"its premise shares {found.jaccard:.0%} of its topic words with {found.first}, "
                f"but they are in {found.splits[1]} and {found.splits[0]}: give both one `group`",
            )
