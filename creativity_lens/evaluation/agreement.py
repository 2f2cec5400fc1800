"""How often a score orders two texts as people do, with its uncertainty.

The primary measure is within-prompt pairwise accuracy: of two texts on one prompt whose mean
ratings differ by at least a gap, how often the higher-rated one scores higher. Ties count half;
chance is 0.5; below 0.5 the score runs against people.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from creativity_lens.errors import InputError
from creativity_lens.evaluation.accuracy import bounds, two_sided_p
from creativity_lens.evaluation.pair_design import PairDesign, ratio
from creativity_lens.evaluation.pair_draws import (
    Draws,
    Order,
    Orders,
    RaterDraws,
    bootstrap_sums,
    draw_raters,
    make_draws,
    observed_sums,
    parts,
    permutation_sums,
    score_orders,
)
from creativity_lens.evaluation.rank_agreement import (
    kendall_within,
    spearman_within,
    system_kendall,
)

Array = np.ndarray


@dataclass(frozen=True)
class Agreement:
    """Agreement of one score with the ratings. NaN is what cannot be said."""

    pairwise_accuracy: float
    """Share of decided pairs in the right order, ties counted half; chance is 0.5."""
    n_pairs: int
    """Decided pairs of which both texts have a score."""
    kendall: float
    """Tau-b within blocks, averaged; all rated texts, whatever the gap."""
    spearman: float
    system_kendall: float
    """Tau-b of system means; where pairs stay within author types, of the systems of each type,
    averaged. NaN below ten systems."""
    ci_low: float
    """95 % interval of the accuracy; over prompts and texts, and raters if they persist."""
    ci_high: float
    p_value: float
    """Two-sided, ratings permuted within blocks; not corrected for several dimensions: `holm`."""
    n_texts: int
    """Texts that stand in a counted pair."""
    n_prompts: int
    """Prompts that hold a counted pair."""
    these_prompts_only: bool
    """Under ten prompts hold a decided pair: texts were resampled within them and the interval
    says nothing of other prompts."""


def agreement(
    design: PairDesign,
    scores: Float[Array, "score listed"],
    *,
    systems: Sequence[str] | None = None,
    n_draws: int = 2000,
    n_permutations: int = 2000,
    seed: int = 0,
    ratings_by_rater: Float[Array, "rater listed"] | None = None,
) -> list[Agreement]:
    """All of the above for each score.

    Args:
        design: the pairs.
        scores: of all listed texts; NaN where a text has none.
        systems: what wrote each listed text, "" where unknown.
        n_draws: bootstrap draws.
        n_permutations: permutations of the ratings within blocks.
        seed: of both.
        ratings_by_rater: see `accuracy.bootstrap_accuracies`.
    """
    placed = design.placed(scores)
    of_systems = np.full(len(scores), np.nan)
    if systems is not None:
        if len(systems) != design.n_listed:
            raise InputError(
                f"{len(systems)} systems were given for {design.n_listed} texts: give one for "
                'each, "" where it is unknown.'
            )
        of_systems = _of_systems(design, placed, [systems[i] for i in design.rows.tolist()])
    draws = make_draws(design, n_draws=n_draws, seed=seed)
    return _summary(
        design,
        score_orders(design, placed),
        draws,
        n_permutations=n_permutations,
        raters=draw_raters(design, draws, ratings_by_rater),
        kendall=kendall_within(design, scores),
        spearman=spearman_within(design, scores),
        system=of_systems,
    )


def judged_agreement(
    design: PairDesign,
    pairs: Sequence[tuple[int, int]],
    preference: Float[Array, " judged"],
    *,
    n_draws: int = 2000,
    n_permutations: int = 2000,
    seed: int = 0,
    ratings_by_rater: Float[Array, "rater listed"] | None = None,
) -> Agreement:
    """Agreement of a judge that compares pairs directly and gives texts no score.

    Only judged pairs of the design count. A pair that was judged more than once, in either order,
    counts once, with its mean preference. Correlations are NaN. If the pairs were chosen because
    the ratings decide them, the p-value is too large rather than too small.

    Args:
        design: the pairs.
        pairs: places of both texts in the caller's list.
        preference: probability that the first is preferred; 0.5 is a tie, NaN is not judged.
        n_draws: bootstrap draws.
        n_permutations: permutations of the ratings.
        seed: of both.
        ratings_by_rater: see `accuracy.bootstrap_accuracies`.

    Raises:
        InputError: a place outside the list, a text against itself, or no probability.
    """
    mean = mean_preferences(design, pairs, preference)
    design = design.keep(~np.isnan(mean))
    sign = np.sign(np.round(mean[~np.isnan(mean)] - 0.5, 9)).astype(np.float32)[:, None]
    draws = make_draws(design, n_draws=n_draws, seed=seed)
    nothing = np.full(1, np.nan)
    return _summary(
        design,
        lambda part: Order(sign[part], None),
        draws,
        n_permutations=n_permutations,
        raters=draw_raters(design, draws, ratings_by_rater),
        kendall=nothing,
        spearman=nothing,
        system=nothing,
    )[0]


def holm(p_values: Float[Array, " test"]) -> Float[Array, " test"]:
    """Holm's adjusted p-values, in the order given; NaN stays NaN and is not counted as a test."""
    adjusted = np.full(len(p_values), np.nan)
    order = np.argsort(p_values, kind="stable")[: int((~np.isnan(p_values)).sum())]  # NaN is last
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return adjusted


def mean_preferences(
    design: PairDesign, pairs: Sequence[tuple[int, int]], preference: Float[Array, " judged"]
) -> Float[Array, " pair"]:
    """Mean preference for the first text of each pair of the design; NaN if it was not judged.

    Raises:
        InputError: a place outside the list, a text against itself, or no probability.
    """
    places = np.array(pairs, dtype=int).reshape(-1, 2)
    if len(places) != len(preference):
        raise InputError(
            f"{len(places)} pairs were judged but {len(preference)} preferences given."
        )
    if ((places < 0) | (places >= design.n_listed)).any() or (places[:, 0] == places[:, 1]).any():
        raise InputError(
            f"a judged pair is two different places from 0 to {design.n_listed - 1} in the list "
            "of texts; one is not."
        )
    if ((preference < 0) | (preference > 1)).any():
        raise InputError("a preference lies outside 0 to 1: give the first text's probability.")
    n = design.n_listed
    low, high = places.min(axis=1), places.max(axis=1)
    first, second = design.rows[design.first], design.rows[design.second]
    in_order = first < second
    key = np.where(in_order, first, second) * n + np.where(in_order, second, first)
    known = ~np.isnan(preference)
    for_low = np.where(places[:, 0] == low, preference, 1 - preference)[known]
    keys, index = np.unique((low * n + high)[known], return_inverse=True)
    total = np.bincount(index, for_low, minlength=len(keys))
    means = dict(zip(keys.tolist(), (total / np.bincount(index)).tolist(), strict=True))
    mean = np.array([means.get(k, np.nan) for k in key.tolist()], dtype=float)
    return np.where(in_order, mean, 1 - mean)


def _summary(
    design: PairDesign,
    orders: Orders,
    draws: Draws,
    *,
    n_permutations: int,
    raters: RaterDraws | None,
    kendall: Float[Array, " score"],
    spearman: Float[Array, " score"],
    system: Float[Array, " score"],
) -> list[Agreement]:
    n_scores = len(kendall)
    sums = observed_sums(design, orders, n_scores)
    n = sums.total.astype(int)
    drawn = bootstrap_sums(design, orders, n_scores, draws, raters).accuracy
    few = design.these_prompts_only
    n_texts, n_prompts = _reached(design, orders, n_scores)
    # Of a few prompts, pairs that share no text are the most that is independent.
    ends = bounds(drawn, n, n_units=n_texts // 2 if few else n_prompts)
    null = permutation_sums(
        design, orders, n_scores, n_permutations=n_permutations, seed=draws.seed
    )
    p_values = two_sided_p(sums, null)
    accuracy = sums.accuracy
    return [
        Agreement(
            pairwise_accuracy=float(accuracy[i]),
            n_pairs=int(n[i]),
            kendall=float(kendall[i]),
            spearman=float(spearman[i]),
            system_kendall=float(system[i]),
            ci_low=float(ends.low[i]),
            ci_high=float(ends.high[i]),
            p_value=float(p_values[i]),
            n_texts=int(n_texts[i]),
            n_prompts=int(n_prompts[i]),
            these_prompts_only=few,
        )
        for i in range(n_scores)
    ]


def _of_systems(
    design: PairDesign, placed: Float[Array, "score text"], systems: list[str]
) -> Float[Array, " score"]:
    """Agreement over systems; across author types only where pairs cross them, too."""
    authors = np.asarray(design.block_authors, dtype=object)[design.block]
    each = []
    for author in dict.fromkeys(design.block_authors):
        own = np.flatnonzero(authors == author)
        each.append(
            system_kendall(design.rating[own], placed[:, own], [systems[i] for i in own.tolist()])
        )
    found = np.array(each).reshape(len(each), len(placed))
    known = ~np.isnan(found)
    return ratio(np.where(known, found, 0.0).sum(axis=0), known.sum(axis=0))


def _reached(
    design: PairDesign, orders: Orders, n_scores: int
) -> tuple[Int[Array, " score"], Int[Array, " score"]]:
    """Texts and prompts that stand in a counted pair."""
    pairs = design.keep(design.decided)
    where = np.flatnonzero(design.decided)
    texts = np.zeros((len(design.rows), n_scores), dtype=bool)
    for part in parts(slice(0, len(design.first)), n_scores):
        inside = slice(*np.searchsorted(where, [part.start, part.stop]))
        known = orders(part).known
        seen = np.ones((1, 1), bool) if known is None else known[where[inside] - part.start] > 0
        for side in (pairs.first[inside], pairs.second[inside]):
            np.logical_or.at(texts, side, seen)
    prompts = np.zeros((design.n_prompts, n_scores), dtype=bool)
    np.logical_or.at(prompts, design.prompt, texts)
    return texts.sum(axis=0), prompts.sum(axis=0)
