"""Cosines between a contrast's direction and those of other concepts, with what they mean beside.

A raw cosine misleads in two ways. Activations vary along few dimensions, so unrelated directions
have larger cosines than the width of the model suggests: hence a band from the texts' own
covariance. And a direction made of noisy texts has a smaller cosine with everything: hence a
correction for attenuation (Spearman 1904).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from creativity_lens.errors import InputError
from creativity_lens.probes.premises import Premises, ratio, spearman_brown, split_half
from creativity_lens.probes.random_directions import isotropic_95, within_class_directions
from creativity_lens.stats import Array, Interval, percentile_interval

ConceptTexts = tuple[
    Float[Tensor, "text layer d_model"], Float[Tensor, "text layer d_model"], Sequence[str]
]
"""A concept's high texts, its low texts, paired by row, and the premise of each pair."""

MIN_RELIABILITY = 0.05
N_SPLITS = 200


@dataclass(frozen=True, eq=False)
class CosineReport:
    """Cosine of a contrast's direction with one concept's, by layer.

    Attributes:
        cosine: between the two differences of means, from -1 to 1.
        interval: the cosine with its 95 % interval, resampling the premises of both contrasts
            independently. It is about directions from as many premises as there are, not about
            the true ones; for those see `corrected`.
        null_95: 95th percentile of the absolute cosine between the concept's direction and random
            directions of the contrast's within-class covariance. Inside the band, a cosine is no
            larger than that of a direction that has nothing to do with the contrast.
        null_max_95: 95th percentile of the largest absolute cosine over layers, for who looks at
            all layers and quotes the largest.
        isotropic_95: the same percentile for directions that point anywhere. A strawman, given to
            be seen beside `null_95`: unrelated directions are outside it too.
        corrected: the cosine divided by the square root of both reliabilities, an estimate of
            the cosine between the true directions. NaN where a reliability is under 0.05, and
            for a direction given without texts. It is not clipped: beyond 1 it says that the
            noise is too large to tell.
        reliability: split-half reliability (Spearman-Brown) of the concept's direction; NaN for a
            direction given without texts.
    """

    cosine: Float[Array, " layer"]
    interval: tuple[Interval, ...]
    null_95: Float[Array, " layer"]
    null_max_95: float
    isotropic_95: float
    corrected: Float[Array, " layer"]
    reliability: Float[Array, " layer"]


def concept_cosines(
    creative: Float[Tensor, "pair layer d_model"],
    uncreative: Float[Tensor, "pair layer d_model"],
    groups: Sequence[str],
    concepts: Mapping[str, ConceptTexts],
    *,
    fixed: Mapping[str, Float[Tensor, "layer d_model"]] | None = None,
    n_null: int = 500,
    n_draws: int = 1000,
    seed: int = 0,
) -> dict[str, CosineReport]:
    """Compare the difference of means with the directions of other concepts at every layer.

    The texts of a concept must be others than those of the contrast, and on other premises: noise
    that two directions share raises their cosine, and neither interval nor correction knows of it.
    The report of one concept does not depend on which others are asked for.

    Args:
        creative: mean residual stream of each pair's creative text.
        uncreative: the same of its uncreative text.
        groups: the premise of each pair.
        concepts: for each name the texts high in it, the texts low in it, paired by row, and the
            premise of each pair.
        fixed: directions without texts, of any length. Their interval resamples the contrast's
            premises alone.
        n_null: random directions for the band.
        n_draws: bootstrap draws for the interval.
        seed: of splits, draws and random directions.

    Raises:
        InputError: no concepts, a name given twice, layers or widths that differ, a fixed
            direction without length, and for each set of texts what `stability` refuses.
    """
    fixed = fixed or {}
    _check_concepts(creative, concepts, fixed)
    premises = Premises.of(creative, uncreative, groups)
    contrast = _Side.of_texts(premises, n_draws, seed)
    # Of another seed, or concepts with as many premises would be resampled in step with it.
    other_seed = int(np.random.SeedSequence([seed, 1]).generate_state(1)[0])
    others = {
        name: _Side.of_texts(Premises.of(high, low, names), n_draws, other_seed)
        for name, (high, low, names) in concepts.items()
    } | {name: _Side.of_direction(rows) for name, rows in fixed.items()}

    n_layers, d_model = creative.shape[1:]
    cosine = {name: np.zeros(n_layers) for name in others}
    null = {name: np.zeros((n_layers, n_null)) for name in others}
    intervals: dict[str, list[Interval]] = {name: [] for name in others}
    for layer in range(n_layers):
        own = contrast.at(layer)
        # Layer by layer, for memory; the same seed gives the same draws at each.
        random = within_class_directions(
            creative[:, layer], uncreative[:, layer], n_null, seed=seed
        ).double()
        for name, side in others.items():
            other = side.at(layer)
            cosine[name][layer] = float(own.direction @ other.direction)
            null[name][layer] = np.abs(random.numpy() @ other.direction)
            intervals[name].append(_interval(cosine[name][layer], own, other))
    return {
        name: CosineReport(
            cosine=cosine[name],
            interval=tuple(intervals[name]),
            null_95=np.quantile(null[name], 0.95, axis=1),
            null_max_95=float(np.quantile(null[name].max(axis=0), 0.95)),
            isotropic_95=isotropic_95(d_model),
            corrected=_corrected(cosine[name], contrast.reliability, side.reliability),
            reliability=side.reliability,
        )
        for name, side in others.items()
    }


@dataclass(frozen=True, eq=False)
class _AtLayer:
    """One side at one layer: its unit direction, and what is summed for each draw of it."""

    direction: Float[Array, " d_model"]
    sums: Float[Array, "premise d_model"]
    weights: Float[Array, "#draw premise"]
    squares: Float[Array, " #draw"]

    @property
    def closeness(self) -> float:
        """Mean cosine of the draws with the direction itself; 1 for a fixed direction."""
        inner = self.weights @ (self.sums @ self.direction)
        return float(ratio(inner, self.squares, np.ones(1)).mean())

    def draw_cosines(self, other: "_AtLayer") -> Float[Array, " draw"]:
        """Cosine of each of this side's draws with the other's draw."""
        inner = ((self.weights @ (self.sums @ other.sums.T)) * other.weights).sum(axis=1)
        return ratio(inner, self.squares, other.squares)


@dataclass(frozen=True, eq=False)
class _Side:
    """A direction with its premises and their draws; a fixed direction is one premise, once."""

    source: Premises | Float[Tensor, "layer d_model"]
    weights: Float[Array, "draw premise"]
    reliability: Float[Array, " layer"]

    @classmethod
    def of_texts(cls, premises: Premises, n_draws: int, seed: int) -> "_Side":
        ranks = premises.ranks(N_SPLITS, seed=seed)
        halves = [split_half(premises.gram(i), ranks).mean() for i in range(premises.n_layers)]
        weights = premises.bootstrap(n_draws, seed=seed)
        return cls(premises, weights, spearman_brown(np.array(halves)))

    @classmethod
    def of_direction(cls, rows: Float[Tensor, "layer d_model"]) -> "_Side":
        return cls(rows, np.ones((1, 1)), np.full(len(rows), np.nan))

    def at(self, layer: int) -> _AtLayer:
        if isinstance(self.source, Premises):
            sums = self.source.sums(layer)
        else:
            sums = np.asarray(self.source[layer : layer + 1].double())
        total = sums.sum(axis=0)
        squares = ((self.weights @ (sums @ sums.T)) * self.weights).sum(axis=1)
        return _AtLayer(total / np.linalg.norm(total), sums, self.weights, squares)


def _interval(cosine: float, own: _AtLayer, other: _AtLayer) -> Interval:
    """Percentiles of the draws, moved to the cosine and widened.

    A draw adds the noise of resampling to the noise that is in the directions already. That pulls
    draws towards 0, in weak directions so far that their plain percentiles miss the estimate, and
    with it narrows them. On planted directions of reliability 0 to 0.5 the moved percentiles alone
    held the expected cosine in 87 to 92 % of cases. How much is lost is seen in the cosine of the
    draws with the direction that they resample; dividing by its square root a side errs little.
    """
    draws = own.draw_cosines(other)
    narrowed = np.sqrt(max(own.closeness * other.closeness, 0.25))
    moved = percentile_interval(cosine, cosine + (draws - draws.mean()) / narrowed)
    return Interval(moved.estimate, max(moved.low, -1.0), min(moved.high, 1.0))


def _corrected(
    cosine: Float[Array, " layer"],
    reliability: Float[Array, " layer"],
    other: Float[Array, " layer"],
) -> Float[Array, " layer"]:
    known = (reliability >= MIN_RELIABILITY) & (other >= MIN_RELIABILITY)
    factor = np.sqrt(np.where(known, reliability * other, np.nan))
    return np.asarray(cosine / factor)


def _check_concepts(
    creative: Float[Tensor, "pair layer d_model"],
    concepts: Mapping[str, ConceptTexts],
    fixed: Mapping[str, Float[Tensor, "layer d_model"]],
) -> None:
    if not concepts and not fixed:
        raise InputError("there is nothing to compare with: give concepts or fixed directions.")
    if twice := sorted(concepts.keys() & fixed.keys()):
        raise InputError(f"named both in concepts and in fixed: {', '.join(twice)}.")
    wanted = tuple(creative.shape[1:])
    shapes = {name: tuple(high.shape[1:]) for name, (high, _, _) in concepts.items()}
    shapes |= {name: tuple(rows.shape) for name, rows in fixed.items()}
    for name, shape in shapes.items():
        if shape != wanted:
            raise InputError(
                f"concept {name!r} has (layer, d_model) {shape} and the contrast has {wanted}: "
                "read both with the same model and at the same layers."
            )
    for name, rows in fixed.items():
        lengths = torch.linalg.vector_norm(rows.double(), dim=-1)
        if not bool((torch.isfinite(lengths) & (lengths > 0)).all()):
            raise InputError(
                f"the direction {name!r} is zero, NaN or infinite at some layer and has no cosine."
            )
