"""Pairwise accuracy of scores: observed, resampled, permuted, and prompt by prompt.

Of two texts in one block whose ratings differ by at least the design's gap: how often the
higher-rated one scores higher. Ties count half; chance is 0.5; below 0.5 the score runs against
people.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from creativity_lens.evaluation.pair_design import PairDesign
from creativity_lens.evaluation.pair_draws import (
    Sums,
    bootstrap_sums,
    draw_raters,
    make_draws,
    observed_sums,
    permutation_sums,
    score_orders,
)

Array = np.ndarray

MIN_PAIRS = 10
"""With fewer pairs, draws that are all alike give no interval: three hits are not certainty."""


class BlockAgreement(NamedTuple):
    """Accuracy of each score in each block: what to show where only these prompts are spoken of."""

    accuracy: Float[Array, "score block"]
    """NaN where the block has no decided pair."""
    n_pairs: Int[Array, "score block"]
    prompt: tuple[str, ...]
    """The prompt of each block."""
    author: tuple[str, ...]
    """Its author type; "" where pairs do not stay within it."""


class Bounds(NamedTuple):
    """Ends of the 95 % interval of each score."""

    low: Float[Array, " score"]
    high: Float[Array, " score"]


def accuracies(design: PairDesign, scores: Float[Array, "score listed"]) -> Float[Array, " score"]:
    """Pairwise accuracy of each score; NaN without a decided pair.

    A text without a score (NaN) leaves its pairs out for that score; see `n_pairs`.
    """
    return _observed(design, scores).accuracy


def n_pairs(design: PairDesign, scores: Float[Array, "score listed"]) -> Int[Array, " score"]:
    """Decided pairs of which both texts have the score."""
    return _observed(design, scores).total.astype(int)


def bootstrap_accuracies(
    design: PairDesign,
    scores: Float[Array, "score listed"],
    *,
    n_draws: int = 2000,
    seed: int = 0,
    ratings_by_rater: Float[Array, "rater listed"] | None = None,
) -> Float[Array, "draw score"]:
    """Pairwise accuracy of each score in each draw; a draw is the same for all scores.

    Prompts are drawn with replacement, then texts within each copy of a prompt; a pair's weight is
    the product of its texts' counts. With fewer than ten prompts that hold a decided pair each is
    kept once, and only texts are drawn (`design.these_prompts_only`). The texts of one prompt are
    drawn together, whatever their author type. A draw without a pair is NaN.

    Drawing texts as well as prompts is cautious where prompts hold few texts: in simulations the
    spread of the draws was 1.4 times the true one with two texts a prompt, 1.1 to 1.15 times with
    six to eleven, and 1.0 times for many texts on a few fixed prompts.

    Args:
        design: the pairs.
        scores: of all listed texts.
        n_draws: how many draws.
        seed: draws depend on the design's texts and the seed alone, so designs of the same texts
            share them too.
        ratings_by_rater: the ratings of each rater, NaN where there is none, if raters are persons
            who rated many texts. Then raters are drawn as well, and the means, and with them the
            decided pairs, are those of the raters drawn.
    """
    return drawn_accuracies(
        design,
        design.placed(scores),
        n_draws=n_draws,
        seed=seed,
        ratings_by_rater=ratings_by_rater,
    )


def drawn_accuracies(
    design: PairDesign,
    placed: Float[Array, "score text"],
    *,
    n_draws: int,
    seed: int,
    ratings_by_rater: Float[Array, "rater listed"] | None,
) -> Float[Array, "draw score"]:
    """`bootstrap_accuracies` of scores of the design's own texts, as `design.placed` has them."""
    draws = make_draws(design, n_draws=n_draws, seed=seed)
    raters = draw_raters(design, draws, ratings_by_rater)
    if raters is None:  # else a draw of raters may decide other pairs
        design = design.keep(design.decided)
    return bootstrap_sums(design, score_orders(design, placed), len(placed), draws, raters).accuracy


def permutation_p(
    design: PairDesign,
    scores: Float[Array, "score listed"],
    *,
    n_permutations: int = 2000,
    seed: int = 0,
) -> Float[Array, " score"]:
    """Two-sided p-value of each accuracy against ratings permuted within blocks.

    The share of permutations with an accuracy as far from 0.5, the observed one counted among
    them. NaN without a decided pair.
    """
    null = permutation_sums(
        design,
        score_orders(design, design.placed(scores)),
        len(scores),
        n_permutations=n_permutations,
        seed=seed,
    )
    return two_sided_p(_observed(design, scores), null)


def per_prompt(design: PairDesign, scores: Float[Array, "score listed"]) -> BlockAgreement:
    """Accuracy and number of decided pairs of each block, for each score."""
    orders = score_orders(design, design.placed(scores))
    shape = (len(scores), design.n_blocks)
    accuracy, n = np.full(shape, np.nan), np.zeros(shape, dtype=int)
    for block, pairs in design.block_pairs():
        sums = observed_sums(design, orders, len(scores), pairs)
        accuracy[:, block], n[:, block] = sums.accuracy, sums.total
    prompts = tuple(design.prompt_names[p] for p in design.block_prompts)
    return BlockAgreement(accuracy, n, prompts, design.block_authors)


def bounds(
    draws: Float[Array, "draw score"],
    n_pairs: Int[Array, " score"],
    *,
    n_units: Int[Array, " score"] | None = None,
    level: float = 0.95,
) -> Bounds:
    """Percentile interval of each score; NaN draws are ignored.

    NaN if all draws are NaN, or if they are all alike with fewer than ten pairs: a few pairs that
    are all right resample to all right, which is not certainty.

    Args:
        draws: of accuracies, or of differences between them.
        n_pairs: of each score.
        n_units: of accuracies, how much of each score's evidence is independent: prompts, or pairs
            that share no text. Where all draws are right (or all wrong) the other end is then the
            exact binomial one of so many (Clopper and Pearson 1934): ten prompts that are all
            right are [0.69, 1].
        level: of the interval.
    """
    ends = np.full((2, len(n_pairs)), np.nan)
    tail = (1 - level) / 2
    for column, n in enumerate(n_pairs):
        values = draws[:, column]
        values = values[~np.isnan(values)]
        if len(values) and (n >= MIN_PAIRS or np.ptp(values) > 0):
            ends[:, column] = np.quantile(values, [tail, 1 - tail])
        if n_units is not None and n_units[column] > 0 and len(values):
            far = tail ** (1 / n_units[column])
            if values.min() == 1:
                ends[:, column] = far, 1
            elif values.max() == 0:
                ends[:, column] = 0, 1 - far
    return Bounds(*ends)


def two_sided_p(observed: Sums, null: Sums) -> Float[Array, " score"]:
    """Share of permutations with an accuracy as far from 0.5, the observed one counted in."""
    far = np.abs(observed.accuracy - 0.5)
    # A permutation that decides no pair shows nothing against chance.
    as_far = np.nan_to_num(np.abs(null.accuracy - 0.5)) >= far - 1e-12
    return np.where(np.isnan(far), np.nan, (1 + as_far.sum(axis=0)) / (1 + len(as_far)))


def _observed(design: PairDesign, scores: Float[Array, "score listed"]) -> Sums:
    return observed_sums(design, score_orders(design, design.placed(scores)), len(scores))
