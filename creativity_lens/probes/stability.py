"""How stable a direction is: would other premises, or another seed, have given the same one?

The premise is the unit. With `d_i` the mean paired difference of premise i, let the signal be the
squared length of its expectation, and the noise the expected squared distance of `d_i` from it.
Two directions, each from n premises of its own, then have an expected cosine of about n / (n + k)
with k = noise / signal, and the cosine of one with the true direction is about sqrt(n / (n + k)).
Both are ratios of expectations: near when the noise spreads over many dimensions, rough when few
dimensions carry it. k is also the number of premises that makes the cosine one half.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from creativity_lens.errors import InputError
from creativity_lens.probes.premises import (
    Premises,
    cosines,
    disjoint_sets,
    spearman_brown,
    split_half,
)
from creativity_lens.stats import Array, Interval, percentile_interval


@dataclass(frozen=True, eq=False)
class Stability:
    """How much the difference of means depends on the premises it is made of, by layer.

    Attributes:
        split_half: mean cosine between the directions of two random halves of the premises, and
            the middle 95 % of the splits. That is a range over splits of the same premises, not a
            confidence interval: more splits do not narrow it. 0 is no common direction.
        reliability: the same for the whole, by Spearman and Brown, 2r / (1 + r): the expected
            cosine between this direction and one from as many other premises. Not positive means
            that nothing stable was found; far below 0 it has no further meaning.
        bootstrap: median and middle 95 % of the cosine between the direction of resampled
            premises and the full one. It flatters: a resampling shares its premises with what
            it is compared to. Where k/n is the noise of the full direction relative to the signal,
            it is near sqrt((1 + k/n) / (1 + 2k/n)), above the cosine with the true direction,
            sqrt(1 / (1 + k/n)). In pure noise it is 0.71, not 0. Read its width, and its level
            only beside `with_truth`.
        signal_to_noise: n/k, from unbiased moments and not from splits, every premise counting
            the same. n/k = 1 is a cosine of one half with another such direction. Not positive
            where premises do not agree on anything.
        n_premises: n.
        n_splits: how many random halves.
    """

    split_half: tuple[Interval, ...]
    reliability: Float[Array, " layer"]
    bootstrap: tuple[Interval, ...]
    signal_to_noise: Float[Array, " layer"]
    n_premises: int
    n_splits: int

    @property
    def with_truth(self) -> Float[Array, " layer"]:
        """Expected cosine with the direction of endless premises, sqrt(reliability); 0 if none."""
        return np.asarray(np.sqrt(np.maximum(self.reliability, 0)))


def stability(
    creative: Float[Tensor, "pair layer d_model"],
    uncreative: Float[Tensor, "pair layer d_model"],
    groups: Sequence[str],
    *,
    n_splits: int = 200,
    n_draws: int = 2000,
    seed: int = 0,
) -> Stability:
    """Split-half and bootstrap cosines of the difference of means at every layer.

    Premises are split and drawn whole, the same ones at all layers. Within a set the direction is
    the package's: the mean over pairs, so a premise with more pairs weighs more.

    Args:
        creative: mean residual stream of each pair's creative text.
        uncreative: the same of its uncreative text.
        groups: the premise of each pair.
        n_splits: random halves; of an odd number of premises each split leaves one out.
        n_draws: bootstrap draws.
        seed: of splits and draws.

    Raises:
        InputError: sides that do not match, NaN, fewer than four premises, or a layer at which
            there is no direction.
    """
    premises = Premises.of(creative, uncreative, groups)
    ranks = premises.ranks(n_splits, seed=seed)
    weights = premises.bootstrap(n_draws, seed=seed)
    halves, redrawn, shares = [], [], np.zeros(premises.n_layers)
    for layer in range(premises.n_layers):
        gram = premises.gram(layer)
        split = split_half(gram, ranks)
        halves.append(percentile_interval(float(split.mean()), split))
        draws = cosines(gram, weights, premises.each_once)
        redrawn.append(percentile_interval(float(np.median(draws)), draws))
        shares[layer] = _signal_share(premises.mean_gram(layer), premises.each_once)[0]
    with np.errstate(divide="ignore"):
        signal_to_noise = len(premises) * shares / (1 - shares)
    return Stability(
        split_half=tuple(halves),
        reliability=spearman_brown(np.array([half.estimate for half in halves])),
        bootstrap=tuple(redrawn),
        signal_to_noise=signal_to_noise,
        n_premises=len(premises),
        n_splits=n_splits,
    )


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """How the direction settles as premises are added, by layer.

    Attributes:
        sizes: numbers of premises n.
        cosine: mean cosine between the directions of two disjoint random sets of n premises.
        low: 2.5th percentile over the random sets; with `high` a range over choices of premises,
            not a confidence interval.
        high: 97.5th percentile.
        noise_to_signal: k, with its interval over premises; infinite where no signal was found.
    """

    sizes: Int[Array, " size"]
    cosine: Float[Array, "size layer"]
    low: Float[Array, "size layer"]
    high: Float[Array, "size layer"]
    noise_to_signal: tuple[Interval, ...]

    @property
    def fitted(self) -> Float[Array, "size layer"]:
        """The closed form n / (n + k) at `sizes`."""
        return np.stack([_expected_cosine(int(n), self.noise_to_signal) for n in self.sizes])

    def expected(self, n_premises: int) -> Float[Array, " layer"]:
        """The closed form at any n, also beyond what was measured."""
        return _expected_cosine(n_premises, self.noise_to_signal)


def learning_curve(
    creative: Float[Tensor, "pair layer d_model"],
    uncreative: Float[Tensor, "pair layer d_model"],
    groups: Sequence[str],
    *,
    sizes: Sequence[int] | None = None,
    n_splits: int = 100,
    n_draws: int = 1000,
    seed: int = 0,
) -> LearningCurve:
    """Cosine between directions of disjoint sets of n premises, for growing n.

    A premise is its mean paired difference: each counts the same, however many pairs it has.

    Args:
        creative: mean residual stream of each pair's creative text.
        uncreative: the same of its uncreative text.
        groups: the premise of each pair.
        sizes: numbers of premises, at most half of what there are; by default up to eight of
            them, evenly spaced on a logarithmic axis.
        n_splits: random pairs of sets at each size, nested over sizes.
        n_draws: bootstrap draws for the interval of k.
        seed: of sets and draws.

    Raises:
        InputError: as `stability`, or a size that two disjoint sets cannot have.
    """
    premises = Premises.of(creative, uncreative, groups)
    half = len(premises) // 2
    if sizes is None:
        sizes = np.unique(np.geomspace(1, half, 8).round().astype(int)).tolist()
    if not sizes or min(sizes) < 1 or max(sizes) > half:
        raise InputError(
            f"sizes must be from 1 to {half}, half of the {len(premises)} premises, because two "
            f"sets of each size must have none in common; got {list(sizes)}."
        )
    sets = [disjoint_sets(premises.ranks(n_splits, seed=seed), size) for size in sizes]
    found = np.zeros((premises.n_layers, len(sizes), n_splits))
    for layer in range(premises.n_layers):
        gram = premises.mean_gram(layer)
        found[layer] = [cosines(gram, *pair) for pair in sets]
    low, high = np.quantile(found, [0.025, 0.975], axis=-1)
    return LearningCurve(
        sizes=np.array(sizes),
        cosine=found.mean(axis=-1).T,
        low=low.T,
        high=high.T,
        noise_to_signal=_noise_to_signal(premises, n_draws, seed),
    )


@dataclass(frozen=True, eq=False)
class PowerAnalysis:
    """How many premises a direction needs, by layer.

    Attributes:
        stability: the wanted cosine s between two directions from premises of their own.
        premises: the number of premises that gives it in expectation, k s / (1 - s), rounded up,
            with its interval over premises. `math.inf` where premises do not agree on anything:
            an infinite upper end says that these data cannot rule that out.
        noise_to_signal: k and its interval.
        n_premises: how many premises this was estimated from.
        pairs_per_premise: mean number of pairs; a new premise is taken to bring as many.
    """

    stability: float
    premises: tuple[Interval, ...]
    noise_to_signal: tuple[Interval, ...]
    n_premises: int
    pairs_per_premise: float

    @property
    def with_truth(self) -> float:
        """Expected cosine with the true direction once the wanted stability is reached."""
        return math.sqrt(self.stability)

    def expected(self, n_premises: int) -> Float[Array, " layer"]:
        """Expected cosine between two directions of n premises each, n / (n + k)."""
        return _expected_cosine(n_premises, self.noise_to_signal)

    def expected_with_truth(self, n_premises: int) -> Float[Array, " layer"]:
        """Expected cosine of a direction of n premises with the true one, sqrt(n / (n + k))."""
        return np.asarray(np.sqrt(self.expected(n_premises)))


def premises_needed(
    creative: Float[Tensor, "pair layer d_model"],
    uncreative: Float[Tensor, "pair layer d_model"],
    groups: Sequence[str],
    *,
    stability: float = 0.9,
    n_draws: int = 1000,
    seed: int = 0,
) -> PowerAnalysis:
    """How many premises make two independent directions agree as wanted, at every layer.

    Args:
        creative: mean residual stream of each pair's creative text.
        uncreative: the same of its uncreative text.
        groups: the premise of each pair.
        stability: the wanted expected cosine, between 0 and 1.
        n_draws: bootstrap draws of premises for the intervals.
        seed: of the draws.

    Raises:
        InputError: a stability outside (0, 1), or as the function `stability`.
    """
    if not 0 < stability < 1:
        raise InputError(
            f"stability must lie between 0 and 1, both excluded, got {stability}: it is a cosine, "
            "and no number of premises makes it 1."
        )
    premises = Premises.of(creative, uncreative, groups)
    noise_to_signal = _noise_to_signal(premises, n_draws, seed)
    odds = stability / (1 - stability)
    return PowerAnalysis(
        stability=stability,
        premises=tuple(
            # No direction comes from less than one premise. The last digits of a product such as
            # 2.0000000000000004 must not cost one more.
            Interval(*(max(1.0, float(np.ceil(k * odds * (1 - 1e-12)))) for k in interval))
            for interval in noise_to_signal
        ),
        noise_to_signal=noise_to_signal,
        n_premises=len(premises),
        pairs_per_premise=len(groups) / len(premises),
    )


def agreement(
    directions: Mapping[str, Float[Tensor, "layer d_model"]],
) -> Float[Array, "layer name name"]:
    """Cosines between direction sets, as from different estimators or seeds, layer by layer.

    Rows and columns are in the order of `directions`. Sets made of the same texts share their
    noise, so their cosine says how far the methods agree, not how stable either is.

    Raises:
        InputError: no sets, sets of different shape, NaN, or a direction without length.
    """
    shapes = {name: tuple(rows.shape) for name, rows in directions.items()}
    if len(set(shapes.values())) != 1:
        raise InputError(f"agreement needs direction sets of one shape, got {shapes or 'none'}.")
    stacked = torch.stack([rows.double() for rows in directions.values()], dim=1)
    lengths = stacked.norm(dim=-1, keepdim=True)
    if not bool((torch.isfinite(lengths) & (lengths > 0)).all()):
        raise InputError(
            f"a direction in {', '.join(shapes)} is zero, NaN or infinite at some layer and has "
            "no cosine; leave that layer out."
        )
    unit = stacked / lengths
    return np.asarray(unit @ unit.mT)


def _signal_share(
    gram: Float[Array, "premise premise"], weights: Float[Array, "draw premise"]
) -> Float[Array, " draw"]:
    """Signal over signal plus noise, 1 / (1 + k): the expected cosine at n = 1.

    The signal is the mean inner product of different premises, which noise does not raise. Copies
    of one premise in a bootstrap draw are no different premises, so they are left out; the squared
    lengths are weighted as the products are, which keeps the share at most 1.
    """
    by_weight = weights @ gram
    squared = np.diag(gram)
    products = (by_weight * weights).sum(axis=1) - weights**2 @ squared
    lengths = (weights * (weights.sum(axis=1, keepdims=True) - weights)) @ squared
    # A draw of one premise alone, or of premises that differ in nothing, holds no information.
    unknown = np.full_like(products, np.nan)
    return np.asarray(np.divide(products, lengths, out=unknown, where=lengths > 0))


def _noise_to_signal(premises: Premises, n_draws: int, seed: int) -> tuple[Interval, ...]:
    """Find k at every layer, with its interval over premises."""
    weights = premises.bootstrap(n_draws, seed=seed)
    found = []
    for layer in range(premises.n_layers):
        gram = premises.mean_gram(layer)
        estimate = float(_signal_share(gram, premises.each_once)[0])
        # Percentiles are taken of the share, which is finite; k falls as the share rises.
        share = percentile_interval(estimate, _signal_share(gram, weights))
        found.append(Interval(*(_as_noise(x) for x in (share.estimate, share.high, share.low))))
    return tuple(found)


def _as_noise(share: float) -> float:
    return (1 - share) / share if share > 0 else math.inf


def _expected_cosine(n_premises: int, noise: Sequence[Interval]) -> Float[Array, " layer"]:
    if n_premises < 1:
        raise InputError(f"a direction needs at least one premise, got {n_premises}.")
    return np.array([n_premises / (n_premises + k.estimate) for k in noise])
