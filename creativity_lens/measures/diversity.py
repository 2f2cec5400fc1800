"""Surface measures of a text: cheap, and rivals of everything deeper."""

import re

_WORD = re.compile(r"\w+(?:['’]\w+)*", re.UNICODE)  # noqa: RUF001 (both apostrophes occur)


def words(text: str) -> list[str]:
    """Lower-cased words; apostrophes inside a word belong to it."""
    return [word.casefold() for word in _WORD.findall(text)]


def ngrams(text: str, n: int) -> list[tuple[str, ...]]:
    """All runs of `n` words, in order; none for a text of fewer words."""
    tokens = words(text)
    return list(zip(*(tokens[i:] for i in range(n)), strict=False))


def distinct_n(text: str, n: int = 2) -> float:
    """Share of word n-grams that are different from each other (Li et al. 2016, arXiv 1510.03055).

    In (0, 1]; it falls with length by itself, so compare texts of similar length only. Noise scores
    high: it is not a measure of quality. NaN for a text of fewer than `n` words.
    """
    grams = ngrams(text, n)
    return len(set(grams)) / len(grams) if grams else float("nan")
