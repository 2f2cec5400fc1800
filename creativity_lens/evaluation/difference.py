"""How much better one score agrees with people than another, on the same pairs.

Two intervals that overlap can belong to scores that clearly differ: they are of the same texts, and
what is hard for one is hard for the other. So the difference is taken within each draw.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from creativity_lens.evaluation.accuracy import bounds, drawn_accuracies
from creativity_lens.evaluation.agreement import mean_preferences
from creativity_lens.evaluation.pair_design import PairDesign
from creativity_lens.evaluation.pair_draws import (
    Order,
    Sums,
    bootstrap_sums,
    draw_raters,
    make_draws,
    observed_sums,
    score_orders,
)
from creativity_lens.stats import Interval

Array = np.ndarray


class Difference(NamedTuple):
    """Accuracy of a score less that of the reference, on the pairs that both know."""

    difference: Interval
    """Above 0: the score agrees better with people than the reference does. Paired 95 % interval,
    over what `agreement` resamples; NaN without a pair that both know."""
    n_pairs: int


def differences(
    design: PairDesign,
    reference: Float[Array, " listed"],
    scores: Float[Array, "score listed"],
    *,
    n_draws: int = 2000,
    seed: int = 0,
    ratings_by_rater: Float[Array, "rater listed"] | None = None,
) -> list[Difference]:
    """Each score against one reference.

    Args:
        design: the pairs.
        reference: of all listed texts; NaN where a text has none.
        scores: the same for each score. Pairs of a text without either are left out of both.
        n_draws: bootstrap draws.
        seed: of the draws.
        ratings_by_rater: see `accuracy.bootstrap_accuracies`.
    """
    placed = design.placed(np.concatenate([reference[None], scores]))
    found: list[Difference] = [_NOTHING] * len(scores)
    patterns, which = np.unique(~np.isnan(placed[1:]), axis=0, return_inverse=True)
    for number, known in enumerate(patterns):
        some = np.flatnonzero(which.ravel() == number)
        both = known & ~np.isnan(placed[0])
        pairs = design.keep(both[design.first] & both[design.second])
        values = np.where(both, placed[np.concatenate([[0], 1 + some])], 0.0)
        sums = observed_sums(pairs, score_orders(pairs, values), len(values))
        drawn = drawn_accuracies(
            pairs, values, n_draws=n_draws, seed=seed, ratings_by_rater=ratings_by_rater
        )
        less = _less_the_first(sums, drawn)
        for place, row in zip(some.tolist(), less, strict=True):
            found[place] = row
    return found


def judged_difference(
    design: PairDesign,
    reference: Float[Array, " listed"],
    pairs: Sequence[tuple[int, int]],
    preference: Float[Array, " judged"],
    *,
    n_draws: int = 2000,
    seed: int = 0,
    ratings_by_rater: Float[Array, "rater listed"] | None = None,
) -> Difference:
    """A judge that compares pairs against one reference, on the pairs that it judged.

    Arguments are those of `differences` and of `agreement.judged_agreement`.

    Raises:
        InputError: see `agreement.judged_agreement`.
    """
    placed = design.placed(reference[None])[0]
    mean = mean_preferences(design, pairs, preference)
    known: Bool[Array, " pair"] = ~np.isnan(mean)
    known &= ~np.isnan(placed[design.first]) & ~np.isnan(placed[design.second])
    chosen = design.keep(known)
    gap = placed[chosen.first] - placed[chosen.second]
    signs = np.sign(np.stack([gap, np.round(mean[known] - 0.5, 9)], axis=1)).astype(np.float32)

    def orders(part: slice) -> Order:
        return Order(signs[part], None)

    draws = make_draws(chosen, n_draws=n_draws, seed=seed)
    raters = draw_raters(chosen, draws, ratings_by_rater)
    drawn = bootstrap_sums(chosen, orders, 2, draws, raters).accuracy
    return _less_the_first(observed_sums(chosen, orders, 2), drawn)[0]


def _less_the_first(sums: Sums, drawn: Float[Array, "draw score"]) -> list[Difference]:
    """All scores less the first; every pair is known to all of them."""
    accuracy, n = sums.accuracy, sums.total[1:].astype(int)
    ends = bounds(drawn[:, 1:] - drawn[:, :1], n)
    rows = zip(
        (accuracy[1:] - accuracy[0]).tolist(), ends.low.tolist(), ends.high.tolist(), strict=True
    )
    return [Difference(Interval(*row), int(k)) for row, k in zip(rows, n.tolist(), strict=True)]


_NOTHING = Difference(Interval(float("nan"), float("nan"), float("nan")), 0)
