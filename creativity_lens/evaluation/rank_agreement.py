"""Rank correlations of scores with ratings: within prompts, given length, and of whole systems."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import rankdata

from creativity_lens.errors import InputError
from creativity_lens.evaluation.pair_design import PairDesign, ratio, signs
from creativity_lens.evaluation.pair_draws import parts, score_orders

Array = np.ndarray

MIN_SYSTEMS = 10
"""Fewer systems have no system-level correlation: a handful of points says nothing."""
MIN_PARTIAL = 4
"""Texts that a partial correlation needs: with three, it is 1 or -1 whatever the texts."""


def kendall_within(
    design: PairDesign, scores: Float[Array, "score listed"]
) -> Float[Array, " score"]:
    """Kendall's tau-b within each block, averaged over the blocks where both vary.

    -1 to 1, 0 is chance. All rated texts count, whatever the gap. Texts without a score (NaN) are
    left out for that score. NaN if no block has both ratings and scores that vary.
    """
    placed = design.placed(scores)
    orders = score_orders(design, placed)
    n_scores = len(scores)
    total, n_blocks = np.zeros(n_scores), np.zeros(n_scores)
    for _, pairs in design.block_pairs():
        both, of_rating, of_score = np.zeros((3, n_scores))
        for part in parts(pairs, n_scores):
            gap = design.rating[design.first[part]] - design.rating[design.second[part]]
            rating = signs(gap)
            order = orders(part)
            untied = np.abs(rating)
            both += rating @ order.sign
            of_rating += untied.sum() if order.known is None else untied @ order.known
            of_score += np.abs(order.sign).sum(axis=0)
        vary = of_rating * of_score > 0
        total[vary] += both[vary] / np.sqrt(of_rating * of_score)[vary]
        n_blocks += vary
    return ratio(total, n_blocks)


def spearman_within(
    design: PairDesign, scores: Float[Array, "score listed"]
) -> Float[Array, " score"]:
    """Spearman's rho within each block, averaged over the blocks where both vary.

    Reads as `kendall_within` and treats gaps and missing scores as it does.
    """
    placed = design.placed(scores)
    total, n_blocks = np.zeros((2, len(scores)))
    for some, texts in _complete(design, placed):
        rho = _unit_ranks(placed[np.ix_(some, texts)]) @ _rating_ranks(design, texts)
        vary = ~np.isnan(rho)
        total[some[vary]] += rho[vary]
        n_blocks[some[vary]] += 1
    return ratio(total, n_blocks)


def partial_spearman(
    design: PairDesign,
    scores: Float[Array, "score listed"],
    control: Float[Array, " listed"],
) -> Float[Array, " score"]:
    """Spearman's rho within each block given a control, such as the log of the length.

    The partial correlation of ranks, averaged over blocks of four or more texts where it exists:
    rating and score vary and neither is the control's ranks (or their reverse).
    """
    placed = design.placed(scores)
    rival = design.placed(control[None])[0]
    placed = np.where(np.isnan(rival), np.nan, placed)
    total, n_blocks = np.zeros((2, len(scores)))
    for some, texts in _complete(design, placed):
        if len(texts) < MIN_PARTIAL:
            continue
        score, rating = _unit_ranks(placed[np.ix_(some, texts)]), _rating_ranks(design, texts)
        length = _unit_ranks(rival[texts])
        # A control that does not vary takes nothing away.
        length = np.where(np.isnan(length), 0.0, length)
        left = (1 - (score @ length) ** 2) * (1 - (rating @ length) ** 2)
        exists = left > 1e-12
        part = score @ rating - (score @ length) * (rating @ length)
        total[some[exists]] += part[exists] / np.sqrt(left[exists])
        n_blocks[some[exists]] += 1
    return ratio(total, n_blocks)


def system_kendall(
    rating: Float[Array, " text"], scores: Float[Array, "score text"], systems: Sequence[str]
) -> Float[Array, " score"]:
    """Kendall's tau-b of the systems' mean ratings and mean scores.

    A mean is over the texts that have both a rating and the score; a blank system is left out. NaN
    below ten systems, or if either mean does not vary.

    Raises:
        InputError: lists of different lengths.
    """
    if not len(rating) == scores.shape[1] == len(systems):
        raise InputError(
            f"{len(rating)} ratings, {scores.shape[1]} scores and {len(systems)} systems: give one "
            "of each for every text."
        )
    names, index = np.unique(np.asarray(systems, dtype=str), return_inverse=True)
    member = ((index[:, None] == np.arange(len(names))) & (names != "")).astype(float)
    both = ~(np.isnan(rating) | np.isnan(scores))
    n = both.astype(float) @ member
    mean_rating = ratio(np.where(both, rating, 0.0) @ member, n)
    mean_score = ratio(np.where(both, scores, 0.0) @ member, n)
    first, second = np.triu_indices(len(names), 1)
    by_rating = signs(mean_rating[:, first] - mean_rating[:, second])
    by_score = np.nan_to_num(np.sign(mean_score[:, first] - mean_score[:, second]))
    size = np.sqrt(np.abs(by_rating).sum(axis=1) * np.abs(by_score).sum(axis=1))
    exists = (size > 0) & ((n > 0).sum(axis=1) >= MIN_SYSTEMS)
    agreed = (by_rating * by_score).sum(axis=1)
    return np.where(exists, ratio(agreed, size), np.nan)


def _complete(
    design: PairDesign, placed: Float[Array, "score text"]
) -> Iterator[tuple[Int[Array, " some"], Int[Array, " member"]]]:
    """For each block, scores that lack the same texts, and the texts that they have."""
    for block in range(design.n_blocks):
        texts = design.texts_of_block(block)
        patterns, which = np.unique(~np.isnan(placed[:, texts]), axis=0, return_inverse=True)
        for number, known in enumerate(patterns):
            if known.sum() > 1:
                yield np.flatnonzero(which.ravel() == number), texts[known]


def _rating_ranks(design: PairDesign, texts: Int[Array, " member"]) -> Float[Array, " member"]:
    """Unit ranks of the ratings; rounded first, since equal means may differ in the last digit."""
    return _unit_ranks(np.round(design.rating[texts], 9))


def _unit_ranks(values: Float[Array, "*score member"]) -> Float[Array, "*score member"]:
    """Ranks with mean 0 and length 1, whose products are correlations; NaN if all are equal."""
    ranks = rankdata(values, axis=-1)
    ranks -= ranks.mean(axis=-1, keepdims=True)
    size = np.sqrt((ranks**2).sum(axis=-1, keepdims=True))
    return ratio(ranks, size)
