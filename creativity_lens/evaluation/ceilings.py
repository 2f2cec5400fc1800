"""How well people agree with each other: the ceiling of any score, and reliability."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float

from creativity_lens.evaluation.accuracy import bounds
from creativity_lens.evaluation.pair_design import FEW_PROMPTS, PairDesign, pair_design, ratio
from creativity_lens.evaluation.pair_draws import (
    RaterDraws,
    Sums,
    bootstrap_sums,
    make_draws,
    observed_sums,
    score_orders,
)

Array = np.ndarray
Level = Literal["nominal", "ordinal", "interval"]


@dataclass(frozen=True, eq=False)
class Ceiling:
    """Accuracy of one person against the mean of the others, and of the scores beside it.

    Raters' votes are whole numbers that often tie, and ties count half: a score without ties can
    lie above the ceiling.
    """

    accuracy: float
    """Share of pairs that a rater orders as the mean of the other raters does; ties count half."""
    ci_low: float
    """95 % interval over prompts, texts and raters."""
    ci_high: float
    n_pairs: int
    """Decided pairs, summed over the raters left out."""
    score_accuracy: Float[Array, " score"]
    """Accuracy of each score on the same targets: the same pairs and the same means."""
    these_prompts_only: bool
    """Under ten prompts hold a decided pair: only texts and raters were resampled."""
    reason: str
    """Why there is no ceiling; "" if there is one."""


def ceiling(
    ratings_by_rater: Float[Array, "rater listed"],
    prompts: Sequence[str],
    *,
    authors: Sequence[str] | None = None,
    min_gap: float = 1.0,
    scores: Float[Array, "score listed"] | None = None,
    persistent: bool = True,
    n_draws: int = 2000,
    seed: int = 0,
) -> Ceiling:
    """Hold each rater against the mean of the others.

    The others alone choose the pairs: those whose means of the other raters differ by at least the
    gap. A rater's own vote selects nothing. Pairs of which the rater has not rated both texts are
    left out. Raters are pooled by pairs. A draw of raters takes a rater's other copies out of the
    others too, or the rater would be held against himself.

    Args:
        ratings_by_rater: one row for each person, of one dimension and rater group; NaN where the
            person did not rate the text.
        prompts: the prompt of each text.
        authors: the author type of each text; if given, pairs stay within it.
        min_gap: how far the others' means must lie apart.
        scores: to be held against the same targets.
        persistent: whether a row is one person. If it is only a place in a list, there is no
            ceiling.
        n_draws: bootstrap draws.
        seed: of the draws.
    """
    if scores is None:
        scores = np.zeros((0, ratings_by_rater.shape[1]))
    known = ~np.isnan(ratings_by_rater)
    ratings_by_rater, known = ratings_by_rater[known.any(axis=1)], known[known.any(axis=1)]
    n = known.sum(axis=0)
    total = np.where(known, ratings_by_rater, 0.0).sum(axis=0)
    # The mean of all only says which texts have two ratings; it decides no pair.
    mean = np.where(n > 1, ratio(total, n), np.nan)
    design = pair_design(mean, prompts, authors=authors, min_gap=min_gap)
    placed, ratings = design.placed(scores), design.placed(ratings_by_rater)
    if len(ratings) < 2:
        return _no_ceiling(
            placed, "one rater or means only: there are no others to be held against."
        )
    if not persistent:
        return _no_ceiling(placed, "rater ids do not persist: a place in a list is not a person.")
    held = [_against_others(design, ratings, rater) for rater in range(len(ratings))]
    sums = Sums.zeros(1 + len(placed))
    reached: set[int] = set()
    for own, pairs in zip(ratings, held, strict=True):
        votes = np.concatenate([np.nan_to_num(own)[None], placed])
        sums.add(observed_sums(pairs, score_orders(pairs, votes), len(votes)))
        reached |= set(pairs.prompt[pairs.first[pairs.decided]].tolist())
    if not reached:
        return _no_ceiling(
            placed, f"the others' means never differ by {min_gap:g} on texts that a rater shares."
        )
    few = len(reached) < FEW_PROMPTS
    draws = make_draws(design, n_draws=n_draws, seed=seed, these_prompts_only=few)
    counts = draws.raters(len(ratings))
    drawn = Sums.zeros(n_draws, 1)
    for rater, pairs in enumerate(held):
        others = counts.copy()
        others[:, rater] = 0
        orders = score_orders(pairs, np.nan_to_num(ratings[rater])[None])
        each = bootstrap_sums(pairs, orders, 1, draws, RaterDraws(ratings, others))
        drawn.add(each, counts[:, [rater]])
    n_pairs = sums.total[:1].astype(int)
    ends = bounds(drawn.accuracy, n_pairs)
    return Ceiling(
        accuracy=float(sums.accuracy[0]),
        ci_low=float(ends.low[0]),
        ci_high=float(ends.high[0]),
        n_pairs=int(n_pairs[0]),
        score_accuracy=sums.accuracy[1:],
        these_prompts_only=few,
        reason="",
    )


def icc1(ratings_by_rater: Float[Array, "rater text"]) -> float:
    """Reliability of a single rating: ICC(1), one-way random effects.

    At most 1; 0 means that texts differ no more than ratings of one text do; it can fall below 0.
    Needs no persistent raters, only several ratings a text; texts with fewer than two are left
    out. NaN if fewer than two texts are left or all ratings are equal. Unequal numbers of ratings
    are met by their effective mean.

    Source: Shrout and Fleiss (1979), case 1.
    """
    known = ~np.isnan(ratings_by_rater)
    ratings = ratings_by_rater[:, known.sum(axis=0) > 1]
    known = ~np.isnan(ratings)
    n = known.sum(axis=0)
    if len(n) < 2:
        return float("nan")
    means = np.where(known, ratings, 0.0).sum(axis=0) / n
    grand = ratings[known].mean()
    between = (n * (means - grand) ** 2).sum() / (len(n) - 1)
    within = (np.where(known, ratings - means, 0.0) ** 2).sum() / (n - 1).sum()
    k = (n.sum() - (n**2).sum() / n.sum()) / (len(n) - 1)
    spread = between + (k - 1) * within
    return float((between - within) / spread) if spread > 0 else float("nan")


def krippendorff_alpha(
    ratings_by_rater: Float[Array, "rater text"], level: Level = "interval"
) -> float:
    """Krippendorff's alpha: 1 is full agreement, 0 what chance gives, below 0 is disagreement.

    Needs no persistent raters. Texts with fewer than two ratings are left out. NaN if all ratings
    that are left are equal, or none are.

    Source: Krippendorff, Computing Krippendorff's alpha-reliability (2011).
    """
    known = ~np.isnan(ratings_by_rater)
    ratings = ratings_by_rater[:, known.sum(axis=0) > 1]
    known = ~np.isnan(ratings)
    values, index = np.unique(ratings[known], return_inverse=True)
    counts = np.zeros((ratings.shape[1], len(values)))
    np.add.at(counts, (np.nonzero(known)[1], index), 1)
    n = counts.sum(axis=1)
    # Each ordered pair of ratings of one text counts 1 / (ratings of the text - 1).
    shared = counts / np.maximum(n - 1, 1)[:, None]
    coincidences = shared.T @ counts - np.diag(shared.sum(axis=0))
    frequency = counts.sum(axis=0)
    distance = _distances(values, frequency, level)
    expected = (np.outer(frequency, frequency) * distance).sum()
    if not expected > 0:
        return float("nan")
    return float(1 - (frequency.sum() - 1) * (coincidences * distance).sum() / expected)


def _distances(
    values: Float[Array, " value"], frequency: Float[Array, " value"], level: Level
) -> Float[Array, "value value"]:
    """Squared differences between values, as the scale allows."""
    if level == "nominal":
        return np.asarray(values[:, None] != values, dtype=float)
    if level == "ordinal":
        # Ratings between two values, half of both ends.
        values = np.cumsum(frequency) - frequency / 2
    return np.asarray((values[:, None] - values) ** 2)


def _against_others(
    design: PairDesign, ratings: Float[Array, "rater text"], rater: int
) -> PairDesign:
    """The pairs that a rater rated, with the mean of the other raters for the rating."""
    others = np.delete(ratings, rater, axis=0)
    known = ~np.isnan(others)
    n = known.sum(axis=0)
    mean = ratio(np.where(known, others, 0.0).sum(axis=0), n)
    rated = ~np.isnan(ratings[rater])
    pairs = design.keep(rated[design.first] & rated[design.second])
    return replace(pairs, rating=mean)


def _no_ceiling(placed: Float[Array, "score text"], reason: str) -> Ceiling:
    nan = float("nan")
    return Ceiling(nan, nan, nan, 0, np.full(len(placed), nan), True, reason)
