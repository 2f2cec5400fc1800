"""All measures of a text that need nothing but the text."""

from creativity_lens.measures.degenerate import REASONS, degeneracy
from creativity_lens.measures.diversity import distinct_n, words
from creativity_lens.measures.repetition import compression_ratio, repetition

TEXT_MEASURES = (
    "n_tokens",
    "n_words",
    "distinct_1",
    "distinct_2",
    "repetition",
    "compression_ratio",
    "degenerate",
    *(f"degenerate_{reason}" for reason in REASONS),
)
"""Names of what `text_measures` gives, in its order."""


def text_measures(text: str, n_tokens: int, finish_reason: str) -> dict[str, float]:
    """Length, diversity, repetition and degeneracy of one text.

    Args:
        text: the text without its prompt.
        n_tokens: its tokens, the end of sequence not counted.
        finish_reason: `stop` or `length`.

    Returns:
        A number for each of `TEXT_MEASURES`. `distinct_n`, `repetition` and `compression_ratio` say
        how to read theirs; they are NaN for texts that are too short. `degenerate` and each
        `degenerate_<reason>` are 1 or 0, so that a mean over texts is a share.

    Raises:
        InputError: a negative `n_tokens`, or another `finish_reason`.
    """
    broken = degeneracy(text, n_tokens, finish_reason)
    return {
        "n_tokens": float(n_tokens),
        "n_words": float(len(words(text))),
        "distinct_1": distinct_n(text, 1),
        "distinct_2": distinct_n(text, 2),
        "repetition": repetition(text),
        "compression_ratio": compression_ratio(text),
        "degenerate": float(broken.flag),
        **{f"degenerate_{reason}": float(reason in broken.reasons) for reason in REASONS},
    }
