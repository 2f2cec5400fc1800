"""What a score adds to its cheapest rivals, above all to length."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit

from creativity_lens.errors import InputError
from creativity_lens.evaluation.accuracy import bounds, drawn_accuracies
from creativity_lens.evaluation.pair_design import PairDesign
from creativity_lens.evaluation.pair_draws import (
    observed_sums,
    score_orders,
)
from creativity_lens.stats import Interval, grouped_folds

Array = np.ndarray

REGULARISATION = 1.0
"""Scikit-learn's C of the logistic models: a little shrinkage, so that separable pairs have a fit.
With hundreds of pairs it hardly matters."""
_UNKNOWN = Interval(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True)
class Increment:
    """How much pairwise accuracy a score adds to a base, on prompts that the models did not see."""

    base: Interval
    """Accuracy of the base features alone, on the pairs where the score is known too."""
    full: Interval
    """Accuracy of the base with the score."""
    gain: Interval
    """`full` less `base`, in the same draws. Above 0: the score knows something they do not."""
    sign: float
    """How the models used the score, averaged over them: 1 as it is, -1 turned around. Beside
    length a score can be of use turned around although it agrees with people by itself."""
    n_pairs: int
    n_prompts: int
    these_prompts_only: bool
    """Under ten prompts hold a counted pair: only texts were resampled."""
    reason: str
    """Why there is no increment; "" if there is one."""


class Matched(NamedTuple):
    """Accuracy of a score on pairs of nearly the same length."""

    accuracy: Interval
    n_pairs: int
    these_prompts_only: bool


def increment(
    design: PairDesign,
    base: Float[Array, "feature listed"],
    scores: Float[Array, "score listed"],
    *,
    n_folds: int = 10,
    n_draws: int = 2000,
    seed: int = 0,
    ratings_by_rater: Float[Array, "rater listed"] | None = None,
) -> list[Increment]:
    """Accuracy of the base, of the base with each score, and the difference.

    A logistic model without intercept, on the differences of standardised features over decided
    pairs, predicts which text is rated higher. It is fitted on the pairs of other prompts: folds of
    prompts, one prompt a fold if there are fewer prompts than folds. Each pair counts the same, so
    a prompt weighs by its pairs. The interval resamples prompts, texts and raters as
    `bootstrap_accuracies` does and keeps the models as they are.

    Args:
        design: the pairs.
        base: what the score must add to, for example the log of the length and the mean negative
            log-likelihood. NaN leaves a text out.
        scores: one row for each score; NaN leaves a text out, of the base's accuracy too.
        n_folds: folds of prompts, at least 2.
        n_draws: bootstrap draws.
        seed: of the folds and the draws.
        ratings_by_rater: see `accuracy.bootstrap_accuracies`.

    Raises:
        InputError: no base feature, or fewer than two folds.
    """
    if len(base) == 0 or n_folds < 2:
        raise InputError(
            f"the increment was asked for over {len(base)} features in {n_folds} folds: give at "
            "least one feature and two folds."
        )
    features, placed = design.placed(base), design.placed(scores)
    found: dict[int, Increment] = {}
    patterns, which = np.unique(
        ~np.isnan(placed) & ~np.isnan(features).any(axis=0), axis=0, return_inverse=True
    )
    for number, known in enumerate(patterns):
        some = np.flatnonzero(which.ravel() == number)
        pairs = design.keep(known[design.first] & known[design.second])
        rows = _increments(
            pairs, features, placed[some], known, n_folds, n_draws, seed, ratings_by_rater
        )
        found.update(zip(some.tolist(), rows, strict=True))
    return [found[i] for i in range(len(scores))]


def matched_length(
    design: PairDesign,
    scores: Float[Array, "score listed"],
    lengths: Float[Array, " listed"],
    *,
    within: float = 0.10,
    n_draws: int = 2000,
    seed: int = 0,
    ratings_by_rater: Float[Array, "rater listed"] | None = None,
) -> list[Matched]:
    """Accuracy of each score on pairs whose longer text is at most 10 % longer than the shorter.

    Args:
        design: the pairs.
        scores: of all listed texts.
        lengths: of all listed texts, in tokens or words; NaN leaves a text out.
        within: how much longer the longer text may be, as a share of the shorter.
        n_draws: bootstrap draws.
        seed: of the draws.
        ratings_by_rater: see `accuracy.bootstrap_accuracies`.

    Raises:
        InputError: a negative length or share.
    """
    length = design.placed(lengths[None])[0]
    if (length < 0).any() or not within >= 0:
        raise InputError("lengths and the share by which they may differ must be 0 or more.")
    of_pair = np.stack([length[design.first], length[design.second]])
    # The last digit of a product must not decide whether 110 is within 10 % of 100.
    near = of_pair.max(axis=0) <= of_pair.min(axis=0) * (1 + within) * (1 + 1e-12)
    pairs = design.keep(near)
    placed = design.placed(scores)
    sums = observed_sums(pairs, score_orders(pairs, placed), len(placed))
    n = sums.total.astype(int)
    drawn = drawn_accuracies(
        pairs, placed, n_draws=n_draws, seed=seed, ratings_by_rater=ratings_by_rater
    )
    ends = bounds(drawn, n)
    rows = zip(sums.accuracy.tolist(), ends.low.tolist(), ends.high.tolist(), strict=True)
    few = pairs.these_prompts_only
    return [Matched(Interval(*row), int(k), few) for row, k in zip(rows, n, strict=True)]


def _increments(
    pairs: PairDesign,
    features: Float[Array, "feature text"],
    placed: Float[Array, "score text"],
    known: Bool[Array, " text"],
    n_folds: int,
    n_draws: int,
    seed: int,
    ratings_by_rater: Float[Array, "rater listed"] | None,
) -> list[Increment]:
    """Of scores that lack the same texts; both texts of each of the `pairs` are known."""
    decided = pairs.keep(pairs.decided)
    n_prompts = len(np.unique(decided.prompt[decided.first]))
    n_pairs, few = len(decided.first), decided.these_prompts_only
    if n_prompts < 2:
        reason = f"{n_prompts} prompts hold a decided pair: a model for one is fitted on others."
        nothing = Increment(
            _UNKNOWN, _UNKNOWN, _UNKNOWN, float("nan"), n_pairs, n_prompts, few, reason
        )
        return [nothing] * len(placed)
    fitted, sign = _cross_fitted(decided, features, placed, known, n_folds, seed)
    observed = observed_sums(decided, score_orders(decided, fitted), len(fitted)).accuracy
    # A draw of raters may decide pairs of texts on prompts that no fold has held out.
    scored = pairs.keep(~np.isnan(fitted[0][pairs.first]) & ~np.isnan(fitted[0][pairs.second]))
    drawn = drawn_accuracies(
        scored, fitted, n_draws=n_draws, seed=seed, ratings_by_rater=ratings_by_rater
    )
    n = np.full(len(fitted), n_pairs)
    own, gained = bounds(drawn, n), bounds(drawn[:, 1:] - drawn[:, :1], n[1:])
    intervals = [
        Interval(*row)
        for row in zip(observed.tolist(), own.low.tolist(), own.high.tolist(), strict=True)
    ]
    gains = zip(
        (observed[1:] - observed[0]).tolist(),
        gained.low.tolist(),
        gained.high.tolist(),
        strict=True,
    )
    return [
        Increment(intervals[0], full, Interval(*gain), turned, n_pairs, n_prompts, few, "")
        for full, gain, turned in zip(intervals[1:], gains, sign.tolist(), strict=True)
    ]


def _cross_fitted(
    pairs: PairDesign,
    features: Float[Array, "feature text"],
    placed: Float[Array, "score text"],
    known: Bool[Array, " text"],
    n_folds: int,
    seed: int,
) -> tuple[Float[Array, "fitted text"], Float[Array, " score"]]:
    """Each text's value under the models of other prompts: the base, then it with each score.

    A model without intercept orders a pair as it orders the texts' values, and the texts of a
    prompt share a fold; so accuracy is that of the values. With them comes the mean sign of each
    score's weight.
    """
    values = np.full((1 + len(placed), len(known)), np.nan)
    signs = []
    for training, held_out in _folds(pairs, known, n_folds, seed):
        texts = np.unique(np.concatenate([pairs.first[training], pairs.second[training]]))
        base = _standardised(features, texts)
        score = _standardised(placed, texts)
        # From the lower-rated text to the higher-rated one.
        turn = pairs.sign[training][:, None]
        first, second = pairs.first[training], pairs.second[training]
        base_gap = (base[:, first] - base[:, second]).T * turn
        score_gap = (score[:, first] - score[:, second]).T * turn
        weights = _logistic(base_gap, np.zeros(len(base)))
        values[0, held_out] = _weighted(weights, base[:, held_out])
        signs.append(np.zeros(len(placed)))
        for row in range(len(placed)):
            gap = np.column_stack([base_gap, score_gap[:, row]])
            full = _logistic(gap, np.append(weights, 0.0))
            held = np.concatenate([base[:, held_out], score[[row]][:, held_out]])
            values[1 + row, held_out] = _weighted(full, held)
            signs[-1][row] = np.sign(full[-1])
    return values, np.mean(signs, axis=0)


def _folds(
    pairs: PairDesign, known: Bool[Array, " text"], n_folds: int, seed: int
) -> Iterator[tuple[Bool[Array, " pair"], Int[Array, " held"]]]:
    """The pairs to fit on and the texts to predict, fold by fold of prompts."""
    prompts = np.unique(pairs.prompt[pairs.first])
    names = [str(p) for p in prompts]
    for fold in grouped_folds(names, min(n_folds, len(prompts)), seed=seed):
        training = np.isin(pairs.prompt[pairs.first], prompts[fold.train])
        yield training, np.flatnonzero(known & np.isin(pairs.prompt, prompts[fold.test]))


def _standardised(
    values: Float[Array, "row text"], texts: Int[Array, " training"]
) -> Float[Array, "row text"]:
    """Values in units of their spread over the training texts; 0 if they do not vary there."""
    training = values[:, texts]
    spread = training.std(axis=1, keepdims=True)
    centred = values - training.mean(axis=1, keepdims=True)
    return np.asarray(np.divide(centred, spread, out=np.zeros(values.shape), where=spread > 0))


def _weighted(
    weights: Float[Array, " feature"], values: Float[Array, "feature text"]
) -> Float[Array, " text"]:
    """The weighted sum, term by term: equal texts get equal sums, so that ties stay ties."""
    total = np.zeros(values.shape[1])
    for weight, value in zip(weights, values, strict=True):
        total += weight * value
    return total


def _logistic(
    gaps: Float[Array, "pair feature"], start: Float[Array, " feature"]
) -> Float[Array, " feature"]:
    """Weights by which the higher-rated text of a pair gets the higher value.

    Minimises `sum(log(1 + exp(-gaps @ w))) + |w|^2 / (2 C)`, which is scikit-learn's logistic
    regression without intercept on both orders of each pair at half weight; by Newton's method,
    since hundreds of scores and folds are thousands of fits.
    """
    ridge = 1 / REGULARISATION
    weights = start
    loss = _loss(gaps, weights)
    for _ in range(100):
        wrong = expit(-(gaps @ weights))
        gradient = ridge * weights - wrong @ gaps
        curvature = (gaps * (wrong * (1 - wrong))[:, None]).T @ gaps
        step = np.linalg.solve(curvature + ridge * np.eye(len(weights)), gradient)
        # A full step may overshoot where pairs are nearly separable.
        new, new_loss = weights - step, _loss(gaps, weights - step)
        while new_loss > loss * (1 + 1e-12):
            step = step / 2
            new, new_loss = weights - step, _loss(gaps, weights - step)
        weights, loss = new, new_loss
        if np.abs(step).max() < 1e-8:
            break
    return weights


def _loss(gaps: Float[Array, "pair feature"], weights: Float[Array, " feature"]) -> float:
    return float(
        np.logaddexp(0, -(gaps @ weights)).sum() + (weights @ weights) / (2 * REGULARISATION)
    )
