"""Agreement of judges with each other, with length and with the paper's score.

The same statistics as with people: the first of two is taken for the rating, at any gap. Pairs that
tie in the first do not count, those that tie in the second count half.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from creativity_lens.evaluation.agreement import Agreement, between, judged_agreement
from creativity_lens.evaluation.pair_design import pair_design
from creativity_lens.stats import Array
from creativity_lens.studies.evaluate_comparisons import JudgedPairs
from creativity_lens.studies.evaluate_rows import length_of
from creativity_lens.studies.evaluate_scores import LENGTH, PAPER, ScoreColumns
from creativity_lens.studies.evaluate_tables import column_name

MOST_JUDGES = 12
"""More would make a matrix that nobody reads; the first in the order of the scores are shown."""


def between_rows(
    columns: ScoreColumns,
    judged: Sequence[JudgedPairs],
    prompts: Sequence[str],
    primary: int | None,
) -> list[dict[str, Any]]:
    """One row for each two of: judges, scores that were brought, the paper's score, length.

    A judge that compares pairs stands second, since it gives texts no rating to go by; two of them
    are compared on the pairs that both were asked about.

    Args:
        columns: all scores.
        judged: judges that compared pairs.
        prompts: the prompt of each text.
        primary: the layer of the paper's score.
    """
    sides = {
        column_name(key.score, None): columns.row(key)
        for key in columns.keys
        if key.kind in ("judge", "given") or (key.score == PAPER and key.layer == primary)
    }
    length = length_of(columns)
    if length is not None:
        sides.setdefault(LENGTH, length)
    names = list(sides)[:MOST_JUDGES]
    found = []
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            # Only estimates are shown, here and below: a matrix of intervals says little.
            agreed = between(sides[first], sides[second], prompts, n_draws=1, n_permutations=1)
            found.append(_row(first, second, agreed))
        for judge in judged:
            design = pair_design(sides[first], prompts, min_gap=0.0)
            agreed = judged_agreement(
                design, judge.pairs, judge.preference, n_draws=1, n_permutations=1
            )
            found.append(_row(first, judge.judge, agreed))
    for i, one in enumerate(judged):
        found += [_both(one, other) for other in judged[i + 1 :]]
    return found


def _row(first: str, second: str, agreed: Agreement) -> dict[str, Any]:
    return {
        "first": first,
        "second": second,
        "pairwise_accuracy": agreed.pairwise_accuracy,
        "kendall": agreed.kendall,
        "spearman": agreed.spearman,
        "n_pairs": agreed.n_pairs,
    }


def _both(one: JudgedPairs, other: JudgedPairs) -> dict[str, Any]:
    first, second = _signs(one), _signs(other)
    shared = [pair for pair in first if pair in second and first[pair] != 0]
    alike = np.array([first[pair] * second[pair] for pair in shared], dtype=float)
    return {
        "first": one.judge,
        "second": other.judge,
        "pairwise_accuracy": float(0.5 + 0.5 * alike.mean()) if len(alike) else math.nan,
        "kendall": math.nan,
        "spearman": math.nan,
        "n_pairs": len(alike),
    }


def _signs(judge: JudgedPairs) -> dict[tuple[int, int], float]:
    """Which of two places is preferred: 1 the lower one, -1 the higher, 0 a tie."""
    preference: Float[Array, " pair"] = np.asarray(judge.preference, dtype=float)
    told: dict[tuple[int, int], list[float]] = {}
    for (a, b), value in zip(judge.pairs, preference.tolist(), strict=True):
        if not math.isnan(value):
            told.setdefault((min(a, b), max(a, b)), []).append(value if a < b else 1 - value)
    means = {pair: sum(values) / len(values) for pair, values in told.items()}
    return {pair: float(np.sign(round(mean - 0.5, 9))) for pair, mean in means.items()}
