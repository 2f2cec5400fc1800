"""What a judge's words mean: a number on the scale, or one of two labels.

Words that leave it in doubt say nothing (NaN): an answer that is not read is counted, one that is
read wrong is not. Where the answer comes with log-probabilities, they are read at the token that
decides it, over all the labels that could have stood there.
"""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from creativity_lens.evaluation.judge_prompts import Scale
from creativity_lens.generation.endpoint import Answer, AnswerToken

_NEAR = 100
"""Characters before a number or label that are looked at."""
_MARKS = re.compile(r"[*_`]+")
"""Bold, italics and code in Markdown."""

# --- numbers
_ANY = r"\d+(?:\.\d+)?"
# No part of a word, a sum, a range or a decimal with a comma, and not below 0.
_NUMBER = re.compile(rf"(?<![\w.,/\u2212\u2013-]){_ANY}(?!\w|[.,]\d|-\w|\u2013\d|/)")
_PERCENT = re.compile(r"\s*%")
_LIST_ITEM = re.compile(r"^[^\S\n]*\d+[.)](?=\s)", re.MULTILINE)
# The scale itself, which an answer may repeat: "on a scale of 1 to 9", "1 = low, 9 = high".
_ENDS = (
    r"(?<![\w.]){low}(?:\s*\([^()\n]*\))?\s*(?:-|\u2013|\u2014|\.\.+|\u2026|to|through|and)\s*"
    r"{high}(?!\w|\.\d)(?:\s*\([^()\n]*\))?",
    r"(?<![\w.]){low}\s*(?:=|is|being|means?|meaning)\s[^\d\n]{{1,40}}?"
    r"(?<![\w.]){high}\s*(?:=|is|being|means?|meaning)\s",
)
_OUT_OF = re.compile(
    rf"(?<![\w.,/-])({_ANY})(\s*\(?\s*(?:/|\b(?:out\s+)?of\b)\s*({_ANY})(?!\w|[.,]\d))"
)
_ONE_OF_SEVERAL = re.compile(
    rf"(?<![\w.,/]){_ANY}(?:[^\S\n]*(?:,|-|\u2013|\u2014|\b(?:to|or|and)\b)[^\S\n]*{_ANY})+(?![\w])"
)
_CUE_WORD = (
    r"\b(?:rat(?:ing|e[sd]?)|scor(?:e[sd]?|ing)|say|said|give[ns]?|gave|gets?|deserves?|assign|"
    r"answer|verdict)\b"
)
_FILLER = (
    r"it|this|that|the|its|my|an?|text|story|one|would|be|is|of|as|at|about|around|only|with|for|"
    r"overall|final|creativity|originality|solid|strong"
)
_CUE = re.compile(
    rf"{_CUE_WORD}\W*(?:(?:{_FILLER})\W+)*$|{_CUE_WORD}[^\d\n]{{0,40}}(?:[:=]|\b(?:is|of|be|at|as))\W*$",
    re.IGNORECASE,
)
_WEAK_CUE = re.compile(r"[:=>\u2192]\W*$")
# "4 things" counts something; "4 because" does not.
_COUNTS = re.compile(
    r"[^\S\n]+(?!(?:because|since|as|for|and|but|though|with|given|due|is|would|seems|feels|on|in|"
    r"at|or|out|overall|points|i)\b)[a-z]"
)
_ALONE_AT_START = re.compile(r"\s*(?:[.;:!(\n\u2013\u2014]|$|-\s|(?:because|since|as|for)\b)")
_ALONE_AT_END = re.compile(r"(?:^|[.!?;:>\u2192\n])\W*$")

# --- labels
_CONTRAST = r"\b(?:but|however|yet)\b"
_CLAUSE = re.compile(
    rf"[.,;!?\n]|{_CONTRAST}|\b(?:while|whereas|although|though|because|since)\b", re.IGNORECASE
)
_NEGATIVE = re.compile(
    r"n['\u2019]t\b|\b(?:cannot|not|never|no|nor|neither|hardly|barely|lack(?:s|ing)?|fail(?:s|ed)?|"
    r"los(?:es?|t)|less|least|worse|worst|weak\w*|dull\w*|bor(?:ing|es?)|plain\w*|flat\w*|bland\w*|"
    r"simpl\w+|short\w*|generic|trite|banal|clich\w+|predictable|conventional|formulaic|ordinary|"
    r"literal|unoriginal|uncreative|wrong|too|whether|if|between|compar\w+)\b",
    re.IGNORECASE,
)
_FAVOUR = re.compile(
    r"\b(?:more|most|better|best|richer|stronger|strongest|fresher|bolder|deeper|finer|funnier|"
    r"cleverer|stranger|wilder|sharper|brighter|higher|greater|\w{3,}ier|superior|win(?:s|ner)?|won|"
    r"beats?|out(?:shines|does|performs)|surpasses|exceeds|tops|stands\s+out|preferable|"
    r"prefer(?:red|s)?|choos(?:e|ing)|chosen|choice|pick(?:ed)?|select(?:ed)?|vote|say|"
    r"go(?:es)?\s+(?:with|to|for)|answer|verdict)\b",
    re.IGNORECASE,
)
_LESSER = r"\b(?:than|over|beats?|outshines|outdoes|outperforms|surpasses|exceeds|tops)\s+"
_EQUAL = re.compile(r"\b(?:equal(?:ly)?|tied?|draw|same|alike|similar(?:ly)?)\b", re.IGNORECASE)
_TIE = re.compile(
    r"\W*(?:(?:it(?:['\u2019]s|\s+is)\s+)?(?:an?\s+)?(?:tie|draw)\b(?!-|\s*\?)|equal(?:ly)?\b|neither\b|"
    r"both\b(?=(?:\s+(?:texts|stories|of\s+them|\w\s+and\s+\w))?\s*(?:[.,;!\n]|$|are\b|seem\b|feel\b)))",
    re.IGNORECASE,
)
# What goes on from a label that is the whole answer, with or without a reason.
_DECIDED = re.compile(
    r"\W*$|\s*[.,:;!>)\]}\n\u2013\u2014]|\s*-\W|\s+(?:because|since|as(?!\s+well)|for|over|due)\b"
)
_LEAD = re.compile(
    r"\W*(?:(?:the|my|final|answer|choice|verdict|winner|option|is|definitely|clearly|i|think|believe|"
    r"would|d|say)\W+)*",
    re.IGNORECASE,
)
"""What may stand before the label that an answer begins with."""
_ANSWER_IS = re.compile(r"\b(?:answer|choice|verdict|winner)\W*(?:\bis\b)?\W*$", re.IGNORECASE)
_STANDS_ALONE = re.compile(
    r"(?:^|[\n.!?;:,]|[-=]>)\W*(?:(?:so|thus|hence|therefore|final|my|the|i|say|choose|pick|boxed)\W+)*$",
    re.IGNORECASE,
)
_NAMED_AS = re.compile(r"\bis\W*$")
_DENIED = re.compile(r"(?:\bnot|n['\u2019]t|\bnever)\s+$", re.IGNORECASE)
_SENTENCE = re.compile(r"(?:^|[.!?:\n])\W*$")
_GOES_ON = re.compile(r"[^\S\n]+[\"\u201c]?[a-z]")
# After an "A" that begins a sentence: a verb or what else follows a label, not a noun phrase.
_VERB = re.compile(
    r"[^\S\n]+(?:(?:\w+ly|just|also|still|even|far|always|sometimes|often|perhaps)[^\S\n]+)*"
    r"(?:(?!(?:series|species|lens|means|this|always|sometimes|perhaps|times)\b)[a-z]+(?<![sui])s\b"
    r"|(?:is|has|was|does|did|had|ca|wo|could|would|should|must)n['\u2019]t\b"
    r"|(?:is|has|was|does|did|had|can(?:not)?|could|will|would|should|may|might|must|won|beat|felt|"
    r"made|gave|told|took|showed|used|because|as|for|since|over|than|and|or|but|by|due|though|"
    r"while|whereas|vs|versus)\b)"
)


class Reading(NamedTuple):
    """What an answer says."""

    value: float
    """NaN if it says nothing that was asked for, or leaves it in doubt."""
    mass: float
    """Probability on all the labels together; NaN without log-probabilities."""


class _Said(NamedTuple):
    value: float
    start: int
    """Where in the text the number or label stands that says it; -1 if there is none."""


_NOTHING = _Said(math.nan, -1)


class _Number(NamedTuple):
    value: float
    start: int
    end: int
    out_of: bool
    """Whether "/9" or the like follows."""


def rating_of(text: str, scale: Scale) -> float:
    """The number on the scale that an answer gives.

    The scale's own ends ("1 to 9", "/9"), counts ("4 things"), ranges and numbers on another scale
    ("7/10") are not meant. Among several numbers, the last that follows a cue ("rating", "score",
    "say", "give", ":") is; without one, that which stands alone at the beginning or the end.

    Returns:
        A whole number or a decimal between the ends; NaN if there is none, or if it is in doubt.
    """
    return _rating(text, scale).value


def choice_of(text: str, labels: tuple[str, str]) -> float:
    """1 for the first label, 0 for the second, 0.5 for a tie, NaN for anything else.

    An answer that names both counts for the one it begins with or that it says to be better, if
    neither its words nor its end say otherwise. The article "A" is no label, and neither is one
    behind a "not".
    """
    return _choice(text, labels).value


def read_rating(answer: Answer, scale: Scale) -> Reading:
    """The rating of an answer: the expected value where log-probabilities tell it.

    They do if every rating is a single digit. They are read at the token that is the rating, and
    renormalised over the digits that the server lists.
    """
    said = _rating(answer.text, scale)
    if scale[1] > 9 or math.isnan(said.value):
        return Reading(said.value, math.nan)
    labels = [str(value) for value in range(scale[0], scale[1] + 1)]
    known = _label_probabilities(answer, labels, str(said.value).removesuffix(".0"), said.start)
    if known is None:
        return Reading(said.value, math.nan)
    mass = sum(known)
    expected = sum(p * int(label) for p, label in zip(known, labels, strict=True)) / mass
    return Reading(expected, mass)


def read_choice(answer: Answer, labels: tuple[str, str]) -> Reading:
    """Probability that the first label is chosen: from log-probabilities, else 1, 0 or 0.5.

    If the first token is a label, its log-probabilities tell it, unless the words after it say
    something else: a tie, or the other label, which leaves it in doubt.
    """
    said = _choice(answer.text, labels)
    begins = next((one.token.strip() for one in answer.tokens if one.token.strip()), "")
    if begins in labels:
        first = float(begins == labels[0])
        if not math.isnan(said.value) and said.value != first:
            return Reading(0.5 if said.value == 0.5 else math.nan, math.nan)
        known = _label_probabilities(answer, labels, begins, -1)
    elif said.value in (0.0, 1.0):
        label = labels[0] if said.value else labels[1]
        known = _label_probabilities(answer, labels, label, said.start)
    else:
        known = None
    if known is None:
        return Reading(said.value, math.nan)
    return Reading(known[0] / sum(known), sum(known))


def _rating(text: str, scale: Scale) -> _Said:
    low, high = scale
    text, found, other_scale = _numbers(text, scale)
    found = [one for one in found if one.out_of or not _COUNTS.match(text, one.end)]
    cued = [one for one in found if one.out_of or _before(_CUE, text, one.start)]
    weak = [one for one in found if _before(_WEAK_CUE, text, one.start)]
    alone = []
    if found and not text[: found[0].start].strip() and _ALONE_AT_START.match(text, found[0].end):
        alone.append(found[0])
    if found and not re.search(r"\w", text[found[-1].end :]):
        alone += found[-1:] if _before(_ALONE_AT_END, text, found[-1].start) else []
    meant = [*(cued or weak)[-1:], *alone]
    if not meant and not other_scale:
        meant = [one for one in found if low <= one.value <= high]
    if len({one.value for one in meant}) != 1 or not low <= meant[0].value <= high:
        return _NOTHING
    return _Said(meant[0].value, meant[0].start)


def _numbers(text: str, scale: Scale) -> tuple[str, list[_Number], bool]:
    """The text without what is no rating, the numbers left, and whether another scale was named."""
    low, high = scale
    text = _blank(_MARKS, text)
    if len(_LIST_ITEM.findall(text)) > 1:
        text = _blank(_LIST_ITEM, text)
    for pattern in _ENDS:
        for ends in ((low, high), (high, low)):
            filled = pattern.format(low=ends[0], high=ends[1])
            text = _blank(re.compile(filled, re.IGNORECASE), text)
    out_of: set[int] = set()
    other_scale = False

    def without(match: re.Match[str]) -> str:
        nonlocal other_scale
        if float(match[3]) != high:
            other_scale = True
            return " " * len(match[0])
        out_of.add(match.start())
        return match[1] + " " * len(match[2])

    text = _blank(_ONE_OF_SEVERAL, _OUT_OF.sub(without, text))
    found = [
        _Number(float(one[0]), one.start(), one.end(), one.start() in out_of)
        for one in _NUMBER.finditer(text)
        if high == 100 or not _PERCENT.match(text, one.end())
    ]
    return text, found, other_scale


def _choice(text: str, labels: tuple[str, str]) -> _Said:
    text = _blank(_MARKS, text)
    either = "|".join(map(re.escape, labels))
    mentions = list(re.finditer(rf"(?:\b(?i:text)\s+)?\b({either})\b", text))
    articles = [one for one in mentions if _is_article(one, text)]
    no_label = {one.start() for one in articles}
    named = [one for one in mentions if one.start() not in no_label and not _is_denied(one, text)]
    ends = _chosen_at_end(named, text, labels, articles=bool(articles))
    if ends is not None and _before(_ANSWER_IS, text, ends.start()):
        return _value(ends, labels)
    begins = _chosen_at_start(mentions, named, text, labels)
    chosen = {one[1]: one for one in (ends, begins) if one is not None}
    if len(chosen) == 2:
        return _NOTHING
    if chosen:
        return _value(next(iter(chosen.values())), labels)
    if len({one[1] for one in named}) == 1:
        favoured = not articles and _favours(named[0], text, labels)
        return _value(named[0], labels) if favoured else _NOTHING
    together = _begins_with_both(named, text, labels) and _EQUAL.search(text)
    if (together or _TIE.match(text)) and not re.search(
        rf"{_CONTRAST}|\bthan\b|n['\u2019]t\b", text
    ):
        return _Said(0.5, -1)
    return _NOTHING


def _chosen_at_end(
    named: Sequence[re.Match[str]], text: str, labels: tuple[str, str], *, articles: bool
) -> re.Match[str] | None:
    """The label that stands alone at the end: "... So: B.", "The stranger story is B."."""
    if not named or re.search(r"\w", text[named[-1].end() :]):
        return None
    if len(named) == 2 and _begins_with_both(named, text, labels):
        return None
    start = named[-1].start()
    alone = _before(_STANDS_ALONE, text, start)
    if alone is not None and not (articles and alone[0].startswith(",")):
        return named[-1]
    clause = _CLAUSE.split(text[:start])[-1]
    named_as = _before(_NAMED_AS, text, start) and not _NEGATIVE.search(clause)
    return named[-1] if named_as else None


def _chosen_at_start(
    mentions: Sequence[re.Match[str]],
    named: Sequence[re.Match[str]],
    text: str,
    labels: tuple[str, str],
) -> re.Match[str] | None:
    """The label that the answer begins with, if it is the answer or is said to be better."""
    if not mentions or not _LEAD.fullmatch(text[: mentions[0].start()]):
        return None
    first, rest = mentions[0], text[mentions[0].end() :]
    other = _other(first, labels)
    if first not in named:  # the article, unless it is the one that is more than the other
        more = re.search(rf"{_LESSER}(?:(?i:text)\s+)?{other}\b", rest)
        return first if more and _favours(first, text, labels) else None
    listed = rf"(?:^|[\n.,;])\W*(?:(?i:text)\s+)?{other}\s*(?:[.:)\u2013]|-\W)"
    if _begins_with_both(named, text, labels) or re.search(listed, rest):
        return None
    return first if _DECIDED.match(rest) or _favours(first, text, labels) else None


def _begins_with_both(named: Sequence[re.Match[str]], text: str, labels: tuple[str, str]) -> bool:
    """Whether the answer begins "A and B", "A or B", "A, B"."""
    if not named or not _LEAD.fullmatch(text[: named[0].start()]):
        return False
    other = rf"(?:(?i:text)\s+)?{_other(named[0], labels)}\b"
    between = r"[^\S\n]*(?:,|/|&|\+)?[^\S\n]*(?:(?:and|or|vs\.?|versus)\s+)?"
    return bool(re.match(between + other, text[named[0].end() :]))


def _favours(match: re.Match[str], text: str, labels: tuple[str, str]) -> bool:
    """Whether the clause around a label speaks for it."""
    starts = [cut.end() for cut in _CLAUSE.finditer(text, 0, match.start())]
    cut = _CLAUSE.search(text, match.end())
    clause = text[starts[-1] if starts else 0 : cut.start() if cut else len(text)]
    if cut and re.match(rf"\W*{_CONTRAST}", text[cut.start() :], re.IGNORECASE):
        return False
    other = rf"(?:(?i:text)\s+)?\b{_other(match, labels)}\b"
    rest = re.sub(_LESSER + other, "", clause)
    return bool(
        _FAVOUR.search(clause) and not _NEGATIVE.search(clause) and not re.search(other, rest)
    )


def _is_article(match: re.Match[str], text: str) -> bool:
    """Whether an "A" begins a sentence and goes on as a noun phrase may: "A vivid story"."""
    return (
        match[0] == "A"
        and _before(_SENTENCE, text, match.start()) is not None
        and _GOES_ON.match(text, match.end()) is not None
        and not _VERB.match(text, match.end())
    )


def _is_denied(match: re.Match[str], text: str) -> bool:
    """Whether the label stands behind a "not"."""
    return _before(_DENIED, text, match.start()) is not None


def _other(match: re.Match[str], labels: tuple[str, str]) -> str:
    return re.escape(labels[1] if match[1] == labels[0] else labels[0])


def _value(match: re.Match[str], labels: tuple[str, str]) -> _Said:
    return _Said(float(match[1] == labels[0]), match.start(1))


def _before(pattern: re.Pattern[str], text: str, end: int) -> re.Match[str] | None:
    """A match that ends there and begins not far before it: answers may be long."""
    return pattern.search(text, max(0, end - _NEAR), end)


def _blank(pattern: re.Pattern[str], text: str) -> str:
    """The text with blanks in the place of what matches, so that the rest stays in its place."""
    return pattern.sub(lambda found: " " * len(found[0]), text)


def _label_probabilities(
    answer: Answer, labels: Sequence[str], said: str, start: int
) -> list[float] | None:
    """Probability of each label at the token that says it, or None.

    `start` is its place in the text; where the tokens do not spell the text, or it is -1, the first
    token that is the label counts.
    """
    place = _token_at(answer, start) if start >= 0 else None
    if place is None or place.token.strip() != said:
        if place is not None or (start >= 0 and _spelled(answer) is not None):
            return None
        place = next((one for one in answer.tokens if one.token.strip() == said), None)
    if place is None:
        return None
    found = [
        math.fsum(math.exp(value) for token, value in place.likeliest if token.strip() == label)
        for label in labels
    ]
    # The answer's own token is listed, so that the sum is above 0 unless it underflows.
    return found if sum(found) > 0 else None


def _spelled(answer: Answer) -> int | None:
    """Where in the text the tokens begin (it may be before it); None if they do not spell it."""
    joined = "".join(one.token for one in answer.tokens)
    ours, theirs = answer.text.lstrip(), joined.lstrip()
    if not theirs or not (ours.startswith(theirs) or theirs.startswith(ours)):
        return None
    return (len(answer.text) - len(ours)) - (len(joined) - len(theirs))


def _token_at(answer: Answer, start: int) -> AnswerToken | None:
    """The token that spells the character at `start`, or None."""
    end = _spelled(answer)
    if end is None:
        return None
    for one in answer.tokens:
        end += len(one.token)
        if start < end:
            return one
    return None
