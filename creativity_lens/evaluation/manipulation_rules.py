"""What is said of a contrast, and the fixed rules by which it is doubted."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from creativity_lens.stats import Interval

IDENTICAL_LIMIT = 0.05
"""Warn if more than this share of pairs have the same text on both sides."""
CUT_LIMIT = 0.5
"""Warn if more than this share of a side's texts were ended by the token limit."""
CONFOUND_AUROC = 0.2
"""Warn if a confound's AUROC is further than this from 0.5, by an interval that excludes 0.5."""
MASS_LIMIT = 0.5
"""Warn if the judge puts less than this probability on the two labels."""
CONSISTENCY_LIMIT = 0.5
"""Warn if the judge chooses the same text in both orders less often than this."""

UNKNOWN = Interval(math.nan, math.nan, math.nan)
READS_AS = {
    "length": "more tokens in the response",
    "nll": "less likely to the model, in nats a token",
    "distinct_2": "more different word pairs; shorter texts have more by themselves",
    "repetition_3": "more runs of three words that occurred before in the text",
    "compression_ratio": "less repetitive; shorter texts are higher by themselves",
    "judge": "the model itself calls the creative side more creative; chance is 0.5",
    "tfidf": "the words alone tell the sides apart on new premises; chance is 0.5",
}
# What a reader must be told if the sides differ in it: the quantity, and what it may be taken for.
_CONFOUNDS = {
    "length": ("length", "a probe may read how long a text is"),
    "nll": ("likelihood", "a probe may read how usual a text is to the model"),
    "repetition_3": ("repetition", "one side may be loops, not plain writing: read some"),
}


class MeasureRow(NamedTuple):
    """One measure on both sides."""

    measure: str
    creative: float
    """Mean over the creative texts."""
    uncreative: float
    """Mean over the uncreative texts."""
    difference: Interval
    """Mean of creative less uncreative within pairs, in the measure's unit; over premises."""
    auroc: Interval
    """Probability that a creative text has more of it than an uncreative one; over premises."""
    n_left_out: int
    """Pairs without a value on one of the sides, as too short a text has none."""
    reads_as: str
    """What a large value means."""


class JudgeSummary(NamedTuple):
    """What the model makes of its own pairs, blind to the instruction."""

    accuracy: Interval
    """Share of pairs in which the creative side is preferred, both orders together; over
    premises."""
    position_bias: float
    """Mean probability of the first label, less 0.5."""
    consistency: float
    """Share of pairs in which the same text is chosen in both orders."""
    labels_mass: float
    """Mean probability that the answer is one of the labels."""
    n_judged: int
    """Pairs that were judged; those with a blank text are not."""


def warnings_of(
    measures: Sequence[MeasureRow],
    judge: JudgeSummary | None,
    tfidf: Interval,
    share_cut: tuple[float, float],
    identical: float,
) -> Iterator[str]:
    """A sentence for each broken rule; the limits are the constants of this module.

    Identical pairs above their limit; texts cut at the token limit above theirs, on either side; a
    TF-IDF interval that does not lie above 0.5; a confound (length, NLL, repetition) that tells the
    sides apart; of the judge: an interval that does not lie above 0.5, too little mass on the
    labels, and too little consistency. A value that is not known breaks the rule that needs it.
    """
    if identical > IDENTICAL_LIMIT:
        yield f"{identical:.0%} of the pairs have the same text on both sides."
    for side, share in zip(("creative", "uncreative"), share_cut, strict=True):
        if share > CUT_LIMIT:
            yield (
                f"{share:.0%} of the {side} texts were cut at the token limit: their length is the "
                "limit's, and their endings are missing."
            )
    if not tfidf.low > 0.5:
        yield (
            f"the words do not differ (TF-IDF AUROC {_said(tfidf)}): the contrast may have failed."
        )
    for row in measures:
        if row.measure not in _CONFOUNDS:
            continue
        what, danger = _CONFOUNDS[row.measure]
        if math.isnan(row.auroc.estimate):
            yield f"the sides could not be compared in {what}: too few pairs have a value."
        elif abs(row.auroc.estimate - 0.5) > CONFOUND_AUROC and row.auroc.excludes(0.5):
            more = "creative" if row.difference.estimate > 0 else "uncreative"
            yield (
                f"the sides differ in {what} (AUROC {_said(row.auroc)}; means {row.creative:.3g} "
                f"and {row.uncreative:.3g}, the {more} side has more): {danger}."
            )
    if judge is not None:
        yield from _judge_warnings(judge)


def _judge_warnings(judge: JudgeSummary) -> Iterator[str]:
    if judge.accuracy.high < 0.5:
        yield (
            f"the judge prefers the uncreative side (accuracy {_said(judge.accuracy)}): the "
            "contrast may be turned round, or the model takes plain writing for creative."
        )
    elif not judge.accuracy.low > 0.5:
        yield (
            f"the judge does not tell the sides apart (accuracy {_said(judge.accuracy)}): the "
            "contrast may have failed, or the model is too weak a judge."
        )
    if not judge.labels_mass >= MASS_LIMIT:
        yield (
            f"the judge does not follow the format: it puts {judge.labels_mass:.0%} on the two "
            "labels, so its choice means little."
        )
    if not judge.consistency >= CONSISTENCY_LIMIT:
        yield (
            f"the judge chooses by position: the same text in both orders in "
            f"{judge.consistency:.0%} of pairs (bias {judge.position_bias:+.2f}); only the mean of "
            "both orders says anything."
        )


def _said(interval: Interval) -> str:
    return f"{interval.estimate:.2f}, {interval.low:.2f} to {interval.high:.2f}"
