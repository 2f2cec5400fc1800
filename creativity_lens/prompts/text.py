"""What two texts share and what a text holds: words, topics, n-grams and the shipped word lists.

Everything here depends on the text alone, never on the other texts of a corpus, so that a verdict
stays the same when a file grows.
"""

import re
import tomllib
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from creativity_lens.prompts.data import data_path

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_CURLY = str.maketrans({"\u2018": "'", "\u2019": "'"})


@dataclass(frozen=True)
class WordLists:
    """`data/wordlists.toml`.

    Attributes:
        function_words: words that carry no topic.
        task_words: words for what is asked for: a program, a text.
        negations: words that deny, beside those that end in n't.
        profanity: words that no prompt may hold.
        people: names of well-known people, as they are written.
    """

    function_words: frozenset[str]
    task_words: frozenset[str]
    negations: frozenset[str]
    profanity: frozenset[str]
    people: tuple[str, ...]


class Likeness(NamedTuple):
    """Two texts of a list, by their positions, and the Jaccard index of what they hold."""

    first: int
    second: int
    jaccard: float


@cache
def word_lists() -> WordLists:
    """The shipped word lists."""
    table = tomllib.loads(data_path("wordlists.toml").read_text(encoding="utf-8"))
    return WordLists(
        function_words=frozenset(table["function_words"].split()),
        task_words=frozenset(table["task_words"].split()),
        negations=frozenset(table["negations"].split()),
        profanity=frozenset(table["profanity"].split()),
        people=tuple(filter(None, table["people"].split("\n"))),
    )


def words(text: str) -> list[str]:
    """The words of a text in lower case; an apostrophe inside a word belongs to it."""
    return _WORD.findall(text.translate(_CURLY).casefold())


def content_words(text: str) -> frozenset[str]:
    """The words that carry the topic, without the ending of a plural or possessive."""
    lists = word_lists()
    return frozenset(
        _stem(word)
        for word in words(text)
        if len(word) > 2 and word not in lists.function_words and word not in lists.task_words
    )


def _stem(word: str) -> str:
    stem = word.removesuffix("'s")
    if len(stem) > 3 and stem.endswith("s") and not stem.endswith(("ss", "us", "is")):
        return stem[:-1]
    return stem


def n_grams(text: str, n: int) -> frozenset[tuple[str, ...]]:
    """All runs of `n` words; a shorter text is one run of all its words."""
    tokens = tuple(words(text))
    if len(tokens) <= n:
        return frozenset([tokens])
    return frozenset(tokens[i : i + n] for i in range(len(tokens) - n + 1))


def alike(
    sets: Sequence[Set[Hashable]], *, at_least: float, owners: Sequence[Hashable] | None = None
) -> Iterator[Likeness]:
    """All pairs of sets whose Jaccard index is `at_least` that, which must be above 0.

    Only sets that share an element are compared, so thousands of texts take a moment.

    Args:
        sets: what each text holds.
        at_least: the smallest Jaccard index that is reported, in (0, 1].
        owners: whose each text is; two texts of one owner are not compared.
    """
    holders: defaultdict[Hashable, list[int]] = defaultdict(list)
    for second, held in enumerate(sets):
        shared: defaultdict[int, int] = defaultdict(int)
        for element in held:
            for first in holders[element]:
                shared[first] += 1
            holders[element].append(second)
        for first, common in sorted(shared.items()):
            if owners is not None and owners[first] == owners[second]:
                continue
            jaccard = common / (len(sets[first]) + len(held) - common)
            if jaccard >= at_least:
                yield Likeness(first, second, jaccard)


def n_negations(text: str) -> int:
    """How many words deny: no, not, never, nobody, without, …, and all that end in n't."""
    denying = word_lists().negations
    return sum(word in denying or word.endswith("n't") for word in words(text))


def profanities(text: str) -> list[str]:
    """The profane words of a text, as whole words."""
    return sorted(word_lists().profanity.intersection(words(text)))


def people_named(text: str) -> list[str]:
    """The well-known people that a text names, capitals and all."""
    return sorted(set(_people().findall(text)))


@cache
def _people() -> re.Pattern[str]:
    # The longest name first, or "Van Gogh" would be found where "Vincent van Gogh" stands.
    names = sorted(word_lists().people, key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, names))})(?!\w)")


def windowed_type_token_ratio(tokens: Sequence[str], window: int = 500) -> float:
    """Different words over words, averaged over windows of `window` words.

    The plain ratio falls as a text grows; over windows of one size, files can be compared. A
    shorter text is one window; NaN without words. Prose lies near 0.5 at 500 words.
    """
    starts = range(0, max(1, len(tokens) - window + 1), window)
    pieces = [tokens[start : start + window] for start in starts]
    ratios = [len(set(piece)) / len(piece) for piece in pieces if piece]
    return sum(ratios) / len(ratios) if ratios else float("nan")
