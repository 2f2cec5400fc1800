"""Resampling by premise: folds, bootstrap intervals, permutation p-values, AUROC.

The unit of resampling is always the premise (or prompt), never the token or the text: texts on one
premise resemble each other, and an interval that ignores it is too narrow.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import rankdata
from sklearn.model_selection import GroupKFold

from creativity_lens.errors import InputError

Array = np.ndarray


class Fold(NamedTuple):
    """Row numbers of one split."""

    train: Int[Array, " train"]
    test: Int[Array, " test"]


class Interval(NamedTuple):
    """An estimate and its percentile interval."""

    estimate: float
    low: float
    high: float

    def excludes(self, value: float) -> bool:
        """Whether `value` lies outside the interval."""
        return not self.low <= value <= self.high


def grouped_folds(groups: Sequence[str], n_folds: int, *, seed: int = 0) -> list[Fold]:
    """Split rows so that no group is in both training and test.

    Raises:
        InputError: fewer groups than folds.
    """
    n_groups = len(set(groups))
    if n_folds < 2 or n_groups < n_folds:
        raise InputError(
            f"cannot make {n_folds} folds of {n_groups} premises: give more pairs or ask for "
            "fewer folds (at least 2)."
        )
    splitter = GroupKFold(n_splits=n_folds, shuffle=True, random_state=seed)
    rows = np.zeros((len(groups), 1))
    return [Fold(train, test) for train, test in splitter.split(rows, groups=list(groups))]


def bootstrap_weights(
    groups: Sequence[str], n_draws: int, *, seed: int = 0
) -> Float[Array, "draw row"]:
    """How often each row is drawn when whole groups are drawn with replacement."""
    names, index = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n_draws)
    return counts[:, index].astype(float)


def percentile_interval(
    estimate: float, draws: Float[Array, " draw"], *, level: float = 0.95
) -> Interval:
    """The middle `level` of the bootstrap draws, around the estimate."""
    tail = (1 - level) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    return Interval(float(estimate), float(low), float(high))


def mean_interval(
    values: Float[Array, " row"], groups: Sequence[str], *, n_draws: int = 2000, seed: int = 0
) -> Interval:
    """The mean and its interval over groups."""
    weights = bootstrap_weights(groups, n_draws, seed=seed)
    return percentile_interval(float(values.mean()), weights @ values / weights.sum(axis=1))


def auroc(
    positive: Float[Array, "... row"], negative: Float[Array, "... other"]
) -> Float[Array, "..."]:
    """Probability that a positive scores above a negative; ties count half; chance is 0.5."""
    n = positive.shape[-1]
    ranks = rankdata(np.concatenate([positive, negative], axis=-1), axis=-1)
    u = ranks[..., :n].sum(axis=-1) - n * (n + 1) / 2
    return np.asarray(u / (n * negative.shape[-1]))


def auroc_draws(
    positive: Float[Array, " row"],
    negative: Float[Array, " row"],
    weights: Float[Array, "draw row"],
) -> Float[Array, " draw"]:
    """AUROC of each bootstrap draw; row i of both sides belongs to the same group."""
    above = np.sign(positive[:, None] - negative[None, :]) / 2 + 0.5
    # Row by row, so that memory stays [draw, row].
    numerator = np.einsum("di,di->d", weights @ above, weights)
    return np.asarray(numerator / weights.sum(axis=1) ** 2)


def auroc_interval(
    positive: Float[Array, " row"],
    negative: Float[Array, " row"],
    groups: Sequence[str],
    *,
    n_draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """AUROC and its interval over groups."""
    weights = bootstrap_weights(groups, n_draws, seed=seed)
    return percentile_interval(
        float(auroc(positive, negative)), auroc_draws(positive, negative, weights)
    )


def wins(
    positive: Float[Array, "... row"], negative: Float[Array, "... row"]
) -> Float[Array, "... row"]:
    """1 where the positive of a pair scores above its negative, 0.5 at a tie, else 0."""
    return np.asarray(np.sign(positive - negative) / 2 + 0.5)


def permutation_p(observed: float, null: Float[Array, " permutation"]) -> float:
    """Share of the null at or above the observed value, the observed one counted among them."""
    return float((1 + (null >= observed).sum()) / (1 + len(null)))


def sign_flips(
    groups: Sequence[str], n_permutations: int, *, seed: int = 0
) -> Float[Array, "permutation row"]:
    """Random signs that are equal within a group: swapping the labels of whole premises."""
    names, index = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    generator = np.random.default_rng(seed)
    return generator.choice([-1.0, 1.0], size=(n_permutations, len(names)))[:, index]
