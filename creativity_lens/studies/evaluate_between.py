"""Agreement of judges with each other, with length and with the paper's score.

The same statistics as with people: the first of two is taken for the rating, at any gap. Pairs that
tie in the first do not count, those that tie in the second count half.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from creativity_lens.evaluation.accuracy import bounds
from creativity_lens.evaluation.agreement import Agreement, agreement, judged_agreement
from creativity_lens.evaluation.pair_design import FEW_PROMPTS, pair_design
from creativity_lens.stats import Array, bootstrap_weights
from creativity_lens.studies.evaluate_comparisons import JudgedPairs
from creativity_lens.studies.evaluate_config import EvaluateConfig
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
    config: EvaluateConfig,
) -> list[dict[str, Any]]:
    """One row for each two of: judges, scores that were brought, the paper's score, length.

    A judge that compares pairs stands second, since it gives texts no rating to go by; two of them
    are compared on the pairs that both were asked about, whose interval resamples prompts alone.

    Args:
        columns: all scores.
        judged: judges that compared pairs.
        prompts: the prompt of each text.
        primary: the layer of the paper's score.
        config: how many draws are made.
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
    draws: dict[str, Any] = {
        "n_draws": config.n_draws,
        "n_permutations": config.n_permutations,
        "seed": config.seed,
    }
    found = []
    for i, first in enumerate(names):
        design = pair_design(sides[first], prompts, min_gap=0.0)
        others = names[i + 1 :]
        if others:
            values = np.stack([sides[name] for name in others])
            agreed = agreement(design, values, **draws)
            found += [_row(first, name, one) for name, one in zip(others, agreed, strict=True)]
        for judge in judged:
            one = judged_agreement(design, judge.pairs, judge.preference, **draws)
            found.append(_row(first, judge.judge, one))
    for i, judge in enumerate(judged):
        found += [_both(judge, other, prompts, config) for other in judged[i + 1 :]]
    return found


def _row(first: str, second: str, agreed: Agreement) -> dict[str, Any]:
    return {
        "first": first,
        "second": second,
        "pairwise_accuracy": agreed.pairwise_accuracy,
        "ci_low": agreed.ci_low,
        "ci_high": agreed.ci_high,
        "p_value": agreed.p_value,
        "kendall": agreed.kendall,
        "spearman": agreed.spearman,
        "n_pairs": agreed.n_pairs,
    }


def _both(
    one: JudgedPairs, other: JudgedPairs, prompts: Sequence[str], config: EvaluateConfig
) -> dict[str, Any]:
    first, second = _signs(one), _signs(other)
    shared = [pair for pair in first if pair in second and first[pair] != 0]
    alike = np.array([first[pair] * second[pair] for pair in shared], dtype=float)
    groups = [prompts[a] for a, _ in shared]
    low = high = math.nan
    if len(set(groups)) >= FEW_PROMPTS:
        weights = bootstrap_weights(groups, config.n_draws, seed=config.seed)
        drawn = 0.5 + 0.5 * (weights @ alike) / weights.sum(axis=1)
        units = np.array([len(set(groups))])
        ends = bounds(drawn[:, None], np.array([len(alike)]), n_units=units)
        low, high = float(ends.low[0]), float(ends.high[0])
    return {
        "first": one.judge,
        "second": other.judge,
        "pairwise_accuracy": float(0.5 + 0.5 * alike.mean()) if len(alike) else math.nan,
        "ci_low": low,
        "ci_high": high,
        "p_value": math.nan,
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
