"""What a judge's words mean: a number on the scale, or one of two labels.

The questions ask for the number or the label alone, so only an answer that begins with it, or ends
with it, in a few plain words, is read. Anything else says nothing (NaN): an answer that is not read
is counted and can be asked for in other words, one that is read wrong is not seen. Where the answer
comes with log-probabilities, they are read at the token that decides it, over all the labels that
could have stood there.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from creativity_lens.evaluation.judge_prompts import Scale
from creativity_lens.generation.endpoint_answer import Answer

_MARKS = re.compile(r"[*_`\"\u201c\u201d]|\\boxed|\ufe0f|\u20e3")
"""Markdown, quotes, and what makes a digit a keycap: left out before anything is read."""
_OPEN = r"[\s>#(\[{]*(?:[-\u2013\u2014]\s+)?"
_CLOSE = r"[\s.,;:!)\]}]*$"
# A decision is over at its end, at a stop before a blank, or where a reason begins.
_OVER = (
    r"(?=[)\]}]*(?:$|\s*\n|[.,;:!](?:\s|$)|\s*[(>\u2013\u2014]|\s-\s"
    r"|\s+(?:because|since|for|over|as(?!\s+well))\b))"
)
_PART = re.compile(r"\n|(?:[.,;:?!=\u2192\u2013\u2014]|[=-]>)(?=\s)")
"""Where the last part of an answer may begin."""
_EXPLICIT = re.compile(r"\b(?:rating|score|answer|choice|verdict)\W{0,3}(?:is\W+)?$", re.IGNORECASE)

_NUMBER = (
    r"(?P<number>\d+(?:\.\d+)?)(?:\s*(?:/|\((?i:out\s+of)|(?i:out\s+of|of))\s*(?P<top>\d+)\)?)?"
)
_RATES = (
    r"i|i['\u2019]d|would|will|rate|rating|scored?|say|give|this|that|it|the|my|text|story|an?|at|"
    r"as|is|be|final|overall|answer|creativity|creative"
)
_CHOOSES = (
    r"i|i['\u2019]d|would|will|choose|pick|prefer|say|think|go|with|my|the|final|answer|choice|"
    r"verdict|winner|is|it|be|so|definitely|clearly"
)
_LABEL = r"(?:(?i:text)\s+)?(?P<label>{either})\b"
_BETTER = r"(?=\s+(?:is\s+(?:better|(?:the\s+)?more\s+{quality})|wins|beats)\b)"
_CONTRAST = re.compile(r"\b(?:but|however|yet|though|although|not)\b", re.IGNORECASE)
_TIE = (
    r"\W*(?:it(?:['\u2019]s|\s+is)\s+)?(?:an?\s+)?(?:tied?|draw|both|neither|equal"
    r"|{either}\s+and\s+{either}\s+are\s+equal(?:ly\s+\w+)?|neither\s+{either}\s+nor\s+{either})\W*"
)


class Reading(NamedTuple):
    """What an answer says."""

    value: float
    """NaN if it says nothing that was asked for, or leaves it in doubt."""
    mass: float
    """Probability on all the labels together; NaN without log-probabilities."""


class _Said(NamedTuple):
    """The number or label that was read, as it is written; "" if there is none."""

    words: str
    at_end: bool


_NOTHING = _Said("", at_end=False)


def rating_of(text: str, scale: Scale) -> float:
    """The number on the scale that an answer begins or ends with.

    "7", "Rating: 7", "I'd say 7 because …", "7/9" and "On a scale of 1 to 9: 7" are 7. Ranges,
    counts, numbers on another scale ("7/10") and two numbers that contradict each other are none;
    a last "Rating: 7" counts for more than what came before.

    Returns:
        A whole number or a decimal between the ends; NaN if there is none, or if it is in doubt.
    """
    return _rating_value(_rating(text, scale))


def choice_of(text: str, labels: tuple[str, str], quality: str = "creative") -> float:
    """1 for the first label, 0 for the second, 0.5 for a tie, NaN for anything else.

    "A", "Text A, since …", "I prefer A for its voice", "A is more creative", "Both have charm.
    Answer: A" are A. The article is not: "A vivid story" goes on as no decision does.

    Args:
        text: the answer.
        labels: of the texts.
        quality: the adjective that was asked about.
    """
    return _choice_value(_choice(text, labels, quality), text, labels)


def _rating_value(said: _Said) -> float:
    return float(said.words) if said.words else math.nan


def _choice_value(said: _Said, text: str, labels: tuple[str, str]) -> float:
    if said.words:
        return float(said.words == labels[0])
    either = "(?:text\\s+)?(?:" + "|".join(map(re.escape, labels)) + ")"
    tie = re.fullmatch(_TIE.format(either=either), _plain(text), re.IGNORECASE)
    return 0.5 if tie else math.nan


def read_rating(answer: Answer, scale: Scale) -> Reading:
    """The rating of an answer: the expected value where log-probabilities tell it.

    They do if every rating is a single digit. They are read at the token that is the rating, and
    renormalised over the digits that the server lists.
    """
    said = _rating(answer.text, scale)
    value = _rating_value(said)
    if scale[1] > 9 or math.isnan(value):
        return Reading(value, math.nan)
    labels = [str(number) for number in range(scale[0], scale[1] + 1)]
    known = _label_probabilities(answer, labels, said)
    if known is None:
        return Reading(value, math.nan)
    mass = sum(known)
    expected = sum(p * int(label) for p, label in zip(known, labels, strict=True)) / mass
    return Reading(expected, mass)


def read_choice(answer: Answer, labels: tuple[str, str], quality: str = "creative") -> Reading:
    """Probability that the first label is chosen: from log-probabilities, else 1, 0 or 0.5.

    A first token that is a label tells it, unless the words say something else: a tie, or the other
    label, which leaves it in doubt.
    """
    said = _choice(answer.text, labels, quality)
    value = _choice_value(said, answer.text, labels)
    begins = next((one.token.strip() for one in answer.tokens if one.token.strip()), "")
    if begins in labels:
        if value == 0.5 or (said.words and said.words != begins):
            return Reading(0.5 if value == 0.5 else math.nan, math.nan)
        said = _Said(begins, at_end=False)
    known = _label_probabilities(answer, labels, said) if said.words else None
    if known is None:
        return Reading(value, math.nan)
    return Reading(known[0] / sum(known), sum(known))


def _rating(text: str, scale: Scale) -> _Said:
    text = _plain(text)
    percent = "%?" if scale[1] == 100 else ""
    begins = _at_start(_RATES, _NUMBER + percent + _OVER, text)
    ends, explicit = _at_end(_RATES, _NUMBER + percent, text)
    found = [one for one in (begins, ends) if one is not None]
    if any(one["top"] and int(one["top"]) != scale[1] for one in found):
        return _NOTHING  # another scale
    if explicit:
        begins = None
    return _agreed(begins, ends, "number", lambda word: scale[0] <= float(word) <= scale[1])


def _choice(text: str, labels: tuple[str, str], quality: str) -> _Said:
    text = _plain(text)
    label = _LABEL.format(either="|".join(map(re.escape, labels)))
    better = _BETTER.format(quality=re.escape(quality))
    begins = _at_start(_CHOOSES, label + _OVER, text)
    if begins is None:
        begins = _at_start(_CHOOSES, label + better, text)
        if begins is not None and _CONTRAST.search(text, begins.end()):
            return _NOTHING
    ends, explicit = _at_end(_CHOOSES, label, text)
    if explicit:
        return _agreed(None, ends, "label", lambda word: True)
    if begins is not None:
        other = re.escape(labels[1] if begins["label"] == labels[0] else labels[0])
        if re.search(rf"^\W*(?:(?i:text)\s+)?{other}\b", text[begins.end() :], re.MULTILINE):
            return _NOTHING  # "A: vivid. B: plain." is a list of both
    return _agreed(begins, ends, "label", lambda word: True)


def _plain(text: str) -> str:
    return _MARKS.sub("", text).strip()


def _lead(words: str) -> str:
    """A few plain words, of these alone."""
    return rf"{_OPEN}(?:(?i:{words})\b[\s:=,\u2013\u2014-]*){{0,8}}"


def _at_start(words: str, decision: str, text: str) -> re.Match[str] | None:
    return re.match(_lead(words) + decision, text)


def _at_end(words: str, decision: str, text: str) -> tuple[re.Match[str] | None, bool]:
    """The decision that is the last part of the answer, and whether it is called one."""
    starts = [0, *(cut.end() for cut in _PART.finditer(text))]
    for start in reversed(starts):
        if re.search(r"\w", text[start:]):
            found = re.fullmatch(_lead(words) + decision + _CLOSE, text[start:].strip())
            called = text[:start] if found is None else text[:start] + found[0][: found.start(1)]
            return found, found is not None and bool(_EXPLICIT.search(called[-40:].rstrip(" :=")))
    return None, False


def _agreed(
    begins: re.Match[str] | None,
    ends: re.Match[str] | None,
    group: str,
    allowed: Callable[[str], bool],
) -> _Said:
    """What beginning and end say, if they do not contradict each other."""
    words = {one[group] for one in (begins, ends) if one is not None}
    if len(words) != 1 or not allowed(word := words.pop()):
        return _NOTHING
    return _Said(word, at_end=begins is None)


def _label_probabilities(answer: Answer, labels: Sequence[str], said: _Said) -> list[float] | None:
    """Probability of each label at the token that decides, or None.

    That is the first token that is the label; of a label at the end the last one, if the tokens go
    that far.
    """
    tokens = list(answer.tokens)
    if said.at_end:
        if "".join(one.token for one in tokens).strip() != answer.text.strip():
            return None
        tokens.reverse()
    place = next((one for one in tokens if one.token.strip() == said.words), None)
    if place is None:
        return None
    found = [
        math.fsum(math.exp(value) for token, value in place.likeliest if token.strip() == label)
        for label in labels
    ]
    # The answer's own token is listed, so that the sum is above 0 unless it underflows.
    return found if sum(found) > 0 else None
