"""Sums over pairs, as they are and under resampling and permutation, for many scores at once.

With signed weights `A[draw, pair]` (weight, times the sign of the rating difference, 0 if the pair
is not decided) the accuracy of a score is `0.5 + 0.5 * (A @ order) / sum(|A|)`, where `order` is
the sign of the score difference: ties count half. Bootstrap, resampled raters and permutation are
this product with other weights or signs. It is taken prompt by prompt, in parts: memory stays
bounded. All terms are small integers, so float32 is exact.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from creativity_lens.errors import InputError
from creativity_lens.evaluation.pair_design import PairDesign, ratio, signs

Array = np.ndarray

PART = 2**20
"""Entries of the largest matrices (4 MB in float32). Larger ones cost memory and save no time."""
EXACT = 2**24
"""Whole numbers up to this are exact in float32."""


class Order(NamedTuple):
    """What each score says of some pairs."""

    sign: Float32[Array, "pair score"]
    """1 if the first text is preferred, -1 if the second, 0 at a tie or if not known."""
    known: Float32[Array, "pair score"] | None
    """1 where the score says something of the pair, else 0; None if it always does."""


Orders = Callable[[slice], Order]
"""The order of a stretch of a design's pairs; made when needed, since all of it may be large."""


class Sums(NamedTuple):
    """Right less wrong pairs, and pairs, both weighted."""

    signed: Float64[Array, "*draw score"]
    total: Float64[Array, "*draw score"]

    @classmethod
    def zeros(cls, *shape: int) -> "Sums":
        """Nothing summed yet."""
        return cls(np.zeros(shape), np.zeros(shape))

    def add(self, other: "Sums", weight: int | Array = 1) -> None:
        """Add other sums in place, so many times."""
        self.signed[...] += weight * other.signed
        self.total[...] += weight * other.total

    @property
    def accuracy(self) -> Float64[Array, "*draw score"]:
        """Share of pairs in the right order, ties counted half; NaN without a pair."""
        return 0.5 + 0.5 * ratio(self.signed, self.total)


class RaterDraws(NamedTuple):
    """Ratings of which a new mean is taken in each draw."""

    ratings: Float[Array, "rater text"]
    """Of the design's texts; NaN where a rater did not rate."""
    counts: Int[Array, "draw rater"]


@dataclass(frozen=True, eq=False)
class Draws:
    """Bootstrap draws of the prompts of a design, then of the texts within each copy of a prompt.

    They depend on the design's texts and the seed alone, so all scores, and designs that keep other
    pairs of the same texts, share them: their differences are paired.
    """

    design: PairDesign
    copies: Int[Array, "draw prompt"]
    seed: int

    @property
    def n_draws(self) -> int:
        """How many draws there are."""
        return len(self.copies)

    def texts(self, prompt: int) -> tuple[Int[Array, " copy"], Int[Array, "copy member"]]:
        """The draw to which each copy of a prompt belongs, and its texts' counts."""
        draw = np.repeat(np.arange(self.n_draws), self.copies[:, prompt])
        n = len(self.design.texts_of_prompt(prompt))
        generator = _stream(self.seed, 1, prompt)
        return draw, generator.multinomial(n, np.full(n, 1 / n), size=len(draw))

    def raters(self, n_raters: int) -> Int[Array, "draw rater"]:
        """How often each rater is drawn, with replacement."""
        chances = np.full(n_raters, 1 / n_raters)
        return _stream(self.seed, 2, 0).multinomial(n_raters, chances, size=self.n_draws)


def make_draws(
    design: PairDesign, *, n_draws: int, seed: int, these_prompts_only: bool | None = None
) -> Draws:
    """Draw prompts with replacement; or keep each once, if only these prompts are spoken of.

    Raises:
        InputError: no draws asked for.
    """
    if n_draws < 1:
        raise InputError(f"{n_draws} bootstrap draws were asked for: ask for 1 or more.")
    n = design.n_prompts
    fixed = design.these_prompts_only if these_prompts_only is None else these_prompts_only
    if fixed or n == 0:
        copies = np.ones((n_draws, n), dtype=int)
    else:
        copies = _stream(seed, 0, 0).multinomial(n, np.full(n, 1 / n), size=n_draws)
    return Draws(design, copies, seed)


def draw_raters(
    design: PairDesign, draws: Draws, ratings_by_rater: Float[Array, "rater listed"] | None
) -> RaterDraws | None:
    """Draw raters too, if there are any; from the ratings of all listed texts."""
    if ratings_by_rater is None:
        return None
    ratings = design.placed(ratings_by_rater)
    return RaterDraws(ratings, draws.raters(len(ratings)))


def score_orders(design: PairDesign, scores: Float[Array, "score text"]) -> Orders:
    """The order that scores of a design's texts give; NaN scores leave their pairs unknown."""
    by_text = np.ascontiguousarray(scores.T)
    complete = not np.isnan(by_text).any()

    def orders(pairs: slice) -> Order:
        difference = by_text[design.first[pairs]] - by_text[design.second[pairs]]
        if complete:
            return Order(np.sign(difference).astype(np.float32), None)
        unknown = np.isnan(difference)
        difference[unknown] = 0
        return Order(np.sign(difference).astype(np.float32), (~unknown).astype(np.float32))

    return orders


def parts(pairs: slice, width: int) -> Iterator[slice]:
    """Stretches of pairs so short that a matrix with `width` columns stays small."""
    step = max(1, PART // max(width, 1))
    for start in range(pairs.start, pairs.stop, step):
        yield slice(start, min(start + step, pairs.stop))


def observed_sums(
    design: PairDesign, orders: Orders, n_scores: int, pairs: slice | None = None
) -> Sums:
    """The sums over a stretch of the pairs (by default all), each counted once."""
    sums = Sums.zeros(n_scores)
    for part in parts(pairs or slice(0, len(design.first)), n_scores):
        _add(sums, slice(None), design.sign[part][None], orders(part))
    return sums


def bootstrap_sums(
    design: PairDesign,
    orders: Orders,
    n_scores: int,
    draws: Draws,
    raters: RaterDraws | None = None,
) -> Sums:
    """The sums of each draw.

    A pair's weight is the product of its texts' counts, summed over the copies of its prompt. With
    raters drawn, means, decided pairs and signs are those of the draw's raters.
    """
    sums = Sums.zeros(draws.n_draws, n_scores)
    for prompt, pairs in design.prompt_pairs():
        texts = design.texts_of_prompt(prompt)
        draw, counts = draws.texts(prompt)
        weights = counts.astype(_exact_type(len(texts)))
        rating = None if raters is None else _drawn_means(raters, texts)
        for part in parts(pairs, n_scores):
            order = orders(part)
            first = np.searchsorted(texts, design.first[part])
            second = np.searchsorted(texts, design.second[part])
            sign = design.sign[part]
            for copies in parts(slice(0, len(draw)), len(first)):
                signed = weights[copies].take(first, 1)
                np.multiply(signed, weights[copies].take(second, 1), out=signed)
                if rating is not None:
                    drawn = rating[draw[copies]]
                    sign = signs(drawn.take(first, 1) - drawn.take(second, 1), design.min_gap)
                np.multiply(signed, sign, out=signed)
                _add(sums, draw[copies], signed, order)
    return sums


def permutation_sums(
    design: PairDesign, orders: Orders, n_scores: int, *, n_permutations: int, seed: int
) -> Sums:
    """The sums with the ratings permuted within blocks.

    Raises:
        InputError: no permutations asked for.
    """
    if n_permutations < 1:
        raise InputError(f"{n_permutations} permutations were asked for: ask for 1 or more.")
    sums = Sums.zeros(n_permutations, n_scores)
    for block, pairs in design.block_pairs():
        texts = design.texts_of_block(block)
        n = len(texts)
        rating = design.rating[texts]
        # Two permuted ratings give a sign of this table: looking it up is quicker than comparing.
        table = signs(rating[:, None] - rating[None], design.min_gap).astype(_exact_type(n)).ravel()
        index = np.tile(np.arange(n, dtype=np.int32), (n_permutations, 1))
        index = _stream(seed, 3, block).permuted(index, axis=1)
        for part in parts(pairs, n_scores):
            order = orders(part)
            first = np.searchsorted(texts, design.first[part])
            second = np.searchsorted(texts, design.second[part])
            for chunk in parts(slice(0, n_permutations), len(first)):
                place = (index[chunk] * n).take(first, 1)
                place += index[chunk].take(second, 1)
                _add(sums, chunk, table.take(place), order)
    return sums


def _add(
    sums: Sums, draw: Int[Array, " copy"] | slice, signed: Float[Array, "copy pair"], order: Order
) -> None:
    """Add the pairs' sums to their draws, in place; copies of one draw stand together."""
    right = signed @ order.sign
    size = np.abs(signed)
    total = size.sum(axis=1, keepdims=True) if order.known is None else size @ order.known
    if isinstance(draw, slice):
        sums.signed[draw] += right if sums.signed.ndim > 1 else right[0]
        sums.total[draw] += total if sums.total.ndim > 1 else total[0]
        return
    starts = np.flatnonzero(np.diff(draw, prepend=-1))
    if len(starts):
        sums.signed[draw[starts]] += np.add.reduceat(right, starts, axis=0)
        sums.total[draw[starts]] += np.add.reduceat(total, starts, axis=0)


def _drawn_means(raters: RaterDraws, texts: Int[Array, " member"]) -> Float[Array, "draw member"]:
    """Each text's mean over the raters drawn; NaN if none of them rated it."""
    ratings = raters.ratings[:, texts]
    known = ~np.isnan(ratings)
    total = raters.counts @ np.where(known, ratings, 0.0)
    return ratio(total, raters.counts @ known.astype(int))


def _exact_type(n_texts: int) -> type[np.float32] | type[np.float64]:
    """Float32 as long as the largest sum of weights, about half the square, is exact in it."""
    return np.float32 if n_texts**2 < EXACT else np.float64


def _stream(seed: int, kind: int, number: int) -> np.random.Generator:
    """A random stream for each use and prompt: what is drawn does not depend on the order."""
    if seed < 0:
        raise InputError(f"the seed is {seed}: give 0 or more.")
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(kind, number)))
