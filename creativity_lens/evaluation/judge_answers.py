"""What a judge's words mean: a number on the scale, or one of two labels.

Where the answer comes with log-probabilities, they are read at the token that decides it, over all
the labels that could have stood there.
"""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from creativity_lens.evaluation.judge_prompts import Scale
from creativity_lens.generation.endpoint import Answer

_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w])")
# The scale itself, which an answer may repeat: "on a scale of 1 to 9", "7 out of 9", "7/9".
_SCALE = r"(?<![\w.]){low}\s*(?:-|\u2013|\u2014|to|through|and)\s*{high}(?!\w|\.\d)"
_OUT_OF = r"(?:/|\bout\s+of)\s*{high}(?!\w|\.\d)"
_TIE = re.compile(r"\W*(?:tie|draw|both|neither|equal(?:ly)?)\b", re.IGNORECASE)

_NOUN = re.compile(r"\s+(?!(?:is|has|was|because|as|for|since|over|than|and|more)\b)[a-z]")


class Reading(NamedTuple):
    """What an answer says."""

    value: float
    """NaN if it says nothing that was asked for."""
    mass: float
    """Probability on all the labels together; NaN without log-probabilities."""


def rating_of(text: str, scale: Scale) -> float:
    """The first number on the scale; the scale's own ends ("1 to 9", "/9") are not meant.

    Returns:
        A whole number or a decimal between the ends; NaN if there is none.
    """
    low, high = scale
    for pattern in (_SCALE, _OUT_OF):
        text = re.sub(pattern.format(low=low, high=high), " ", text, flags=re.IGNORECASE)
    numbers = (float(found) for found in _NUMBER.findall(text))
    return next((value for value in numbers if low <= value <= high), math.nan)


def choice_of(text: str, labels: tuple[str, str]) -> float:
    """1 for the first label, 0 for the second, 0.5 for a tie, NaN for anything else.

    An answer that names both counts for the one it begins with. The article "A" is no label.
    """
    either = "|".join(map(re.escape, labels))
    found = [
        match for match in re.finditer(rf"\b(?:{either})\b", text) if not _is_article(match, text)
    ]
    begins = re.match(rf"\W*(?:text\s+)?(?={either})", text, re.IGNORECASE)
    first = begins is not None and found and found[0].start() == begins.end()
    if len({match[0] for match in found}) == 1 or first:
        return float(found[0][0] == labels[0])
    return 0.5 if _TIE.match(text) else math.nan


def _is_article(match: re.Match[str], text: str) -> bool:
    """Whether an "A" begins a sentence and goes on to a noun: "A vivid story", but not "A is"."""
    begins = re.search(r"(?:^|[.!?:\n])\W*$", text[: match.start()])
    return match[0] == "A" and begins is not None and bool(_NOUN.match(text, match.end()))


def read_rating(answer: Answer, scale: Scale) -> Reading:
    """The rating of an answer: the expected value where log-probabilities tell it.

    They do if every rating is a single digit. They are read at the first token that is one, and
    renormalised over the digits that the server lists.
    """
    said = rating_of(answer.text, scale)
    if scale[1] > 9 or math.isnan(said):
        return Reading(said, math.nan)
    labels = [str(value) for value in range(scale[0], scale[1] + 1)]
    known = _label_probabilities(answer, labels, str(said).removesuffix(".0"))
    if known is None:
        return Reading(said, math.nan)
    mass = sum(known)
    expected = sum(p * int(label) for p, label in zip(known, labels, strict=True)) / mass
    return Reading(expected, mass)


def read_choice(answer: Answer, labels: tuple[str, str]) -> Reading:
    """Probability that the first label is chosen: from log-probabilities, else 1, 0 or 0.5."""
    said = choice_of(answer.text, labels)
    if said not in (0.0, 1.0):
        return Reading(said, math.nan)
    known = _label_probabilities(answer, labels, labels[0] if said else labels[1])
    return Reading(said, math.nan) if known is None else Reading(known[0] / sum(known), sum(known))


def _label_probabilities(answer: Answer, labels: Sequence[str], said: str) -> list[float] | None:
    """Probability of each label at the token that is the one that was said, or None."""
    place = next((one for one in answer.tokens if one.token.strip() == said), None)
    if place is None:
        return None
    found = [
        math.fsum(math.exp(value) for token, value in place.likeliest if token.strip() == label)
        for label in labels
    ]
    # The answer's own token is listed, so that the sum is above 0 unless it underflows.
    return found if sum(found) > 0 else None
