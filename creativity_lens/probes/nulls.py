"""What directions that know nothing of the contrast reach: the null bands of a probe's curve.

A direction without labels has no sign, so the better of the two is taken: the null leans against
the probe. For each draw the largest value over layers is kept, with the same draw at all layers
where that has a meaning, so that looking at every layer is paid for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from creativity_lens.errors import InputError
from creativity_lens.probes.held_out import check_sides
from creativity_lens.probes.random_directions import (
    isotropic_directions,
    shuffled_label_directions,
    within_class_directions,
)
from creativity_lens.stats import Array, auroc, permutation_p

ISOTROPIC = "isotropic directions"
WITHIN_CLASS = "directions from the within-class covariance"
SHUFFLED = "differences of shuffled labels"


@dataclass(frozen=True, eq=False)
class DirectionNull:
    """AUROC that a family of directions reaches, the better sign of each.

    Attributes:
        name: the family.
        auroc: of each direction at each layer, at least 0.5.
    """

    name: str
    auroc: Float[Array, "draw layer"]

    @property
    def by_layer_95(self) -> Float[Array, " layer"]:
        """95th percentile at each layer: the band of a figure."""
        return np.asarray(np.quantile(self.auroc, 0.95, axis=0))

    @property
    def largest(self) -> Float[Array, " draw"]:
        """The largest value over layers of each draw."""
        return np.asarray(self.auroc.max(axis=1))

    def p_values(self, observed: Sequence[float]) -> tuple[float, ...]:
        """Of an observed AUROC at each layer, corrected over layers by the maximum."""
        return tuple(permutation_p(value, self.largest) for value in observed)


def direction_auroc(
    creative: Float[Tensor, "pair layer d_model"],
    uncreative: Float[Tensor, "pair layer d_model"],
    directions: Float[Tensor, "draw layer d_model"],
) -> Float[Array, "draw layer"]:
    """AUROC of the texts projected on given directions; under 0.5 it points the other way.

    Raises:
        InputError: directions of another shape than the texts.
    """
    if directions.shape[1:] != creative.shape[1:]:
        raise InputError(
            f"the directions have shape {tuple(directions.shape)} and the texts "
            f"{tuple(creative.shape)}: layers and width must match."
        )
    found = np.zeros(directions.shape[:2])
    for layer in range(creative.shape[1]):
        at = directions[:, layer].double()
        sides = [at @ side[:, layer].double().T for side in (creative, uncreative)]
        found[:, layer] = auroc(sides[0].numpy(), sides[1].numpy())
    return found


def random_direction_nulls(
    creative: Float[Tensor, "pair layer d_model"],
    uncreative: Float[Tensor, "pair layer d_model"],
    groups: Sequence[str],
    *,
    n: int = 200,
    seed: int = 0,
) -> tuple[DirectionNull, ...]:
    """Directions drawn isotropically, from the within-class covariance, and from shuffled labels.

    Isotropic ones are a strawman alone: nearly all of them point where no text goes. The other two
    point where texts vary.

    Raises:
        InputError: as `separability`, or no draws.
    """
    if n < 1:
        raise InputError(f"a null needs at least one direction, got {n}.")
    check_sides(creative, uncreative, groups)
    n_layers, d_model = creative.shape[1:]
    isotropic = isotropic_directions(n, d_model, seed=seed)[:, None].expand(-1, n_layers, -1)
    families = {
        ISOTROPIC: isotropic,
        WITHIN_CLASS: within_class_directions(creative, uncreative, n, seed=seed),
        SHUFFLED: shuffled_label_directions(creative, uncreative, n, seed=seed),
    }
    return tuple(
        _null(name, direction_auroc(creative, uncreative, drawn))
        for name, drawn in families.items()
    )


def concept_nulls(
    creative: Float[Tensor, "pair layer d_model"],
    uncreative: Float[Tensor, "pair layer d_model"],
    concepts: Mapping[str, Float[Tensor, "layer d_model"]],
) -> tuple[DirectionNull, ...]:
    """What directions of unrelated concepts reach on the contrast: one each, so no quantile.

    A concept that separates the contrast about as well as the creativity direction does is a name
    for what the contrast may hold.
    """
    return tuple(
        _null(name, direction_auroc(creative, uncreative, direction[None]))
        for name, direction in concepts.items()
    )


def _null(name: str, values: Float[Array, "draw layer"]) -> DirectionNull:
    return DirectionNull(name, np.maximum(values, 1 - values))
