"""The estimators by name, and the one call that uses any of them.

| name | estimand | what it is for |
|---|---|---|
| `difference-of-means` | `mu`, the difference of the class means | pattern: steer with it |
| `paired-pca` | top eigenvector of `mu mu^T + Cov(d)` | pattern; `mu` in isotropic noise |
| `logistic` | about `Sigma^-1 mu`, by a penalized likelihood | filter: read with it |
| `whitened` | `Sigma^-1 mu`, by a shrunk covariance | filter: read with it |

In isotropic noise all four agree. Otherwise a filter reads better than it steers, and a pattern
steers better than it reads (Haufe et al. 2014).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from creativity_lens.directions.difference_of_means import DifferenceOfMeansFitter
from creativity_lens.directions.direction import DirectionSet
from creativity_lens.directions.erasure import Erasure
from creativity_lens.directions.fitting import Fitter, check_pairs, check_varied, unit_rows
from creativity_lens.directions.logistic import LogisticFitter
from creativity_lens.directions.paired_pca import PairedPCAFitter
from creativity_lens.directions.whitened import WhitenedFitter
from creativity_lens.errors import InputError

Estimator = Literal["difference-of-means", "paired-pca", "logistic", "whitened"]

ESTIMATORS: Mapping[Estimator, type[Fitter]] = MappingProxyType(
    {
        "difference-of-means": DifferenceOfMeansFitter,
        "paired-pca": PairedPCAFitter,
        "logistic": LogisticFitter,
        "whitened": WhitenedFitter,
    }
)
FILTERS: frozenset[Estimator] = frozenset({"logistic", "whitened"})
"""Estimators whose direction is a linear reading; the others' is a pattern of activity."""

_GONE = 1e-6
"""A difference that an erasure leaves less of than this is rounding: directions are float32."""


def check_estimator(name: str) -> None:
    """Raise InputError unless there is such an estimator."""
    if name not in get_args(Estimator):
        raise InputError(
            f"unknown estimator {name!r}; choose one of {', '.join(get_args(Estimator))}."
        )


def estimate(
    creative: Float[Tensor, "pair layer d_model"],
    uncreative: Float[Tensor, "pair layer d_model"],
    *,
    estimator: Estimator = "difference-of-means",
    erasure: Erasure | None = None,
) -> Float[Tensor, "layer d_model"]:
    """Directions from text means: unit rows, float64, pointing from uncreative to creative.

    With an `erasure` the texts are erased before the fit. What comes back is for texts as they
    are: a pattern fitted on erased texts is returned as it is, a filter is pulled back through the
    erasure, so that it reads nothing of the nuisances. For a projection both are orthogonal to the
    directions that were removed.

    Args:
        creative: mean residual stream of each pair's creative text.
        uncreative: the same of its uncreative text.
        estimator: which estimator.
        erasure: what to remove first.

    Raises:
        InputError: unknown estimator, sides of different shape, no pairs, NaN or infinity, a layer
            at which all texts are equal or at which the erasure leaves no difference.
    """
    check_estimator(estimator)
    check_pairs(creative, uncreative)
    check_varied(creative, uncreative)
    if erasure is not None:
        before = (creative.double() - uncreative.double()).mean(dim=0).norm(dim=-1)
        creative, uncreative = erasure(creative), erasure(uncreative)
        after = (creative - uncreative).mean(dim=0).norm(dim=-1)
        gone = after <= _GONE * before.cpu()
        if bool(gone.any()):
            raise InputError(
                f"removing the nuisances leaves no difference at layer {int(gone.nonzero()[0])}: "
                "creative and uncreative texts differ in them alone. Remove fewer."
            )
    fitter = ESTIMATORS[estimator](*creative.shape[1:])
    fitter.update(creative, uncreative)
    directions = fitter.fit().directions
    if erasure is not None and estimator in FILTERS:
        directions = unit_rows(erasure.pull_back(directions))
    return directions


def with_estimator(
    directions: DirectionSet,
    creative: Float[Tensor, "pair layer d_model"],
    uncreative: Float[Tensor, "pair layer d_model"],
    *,
    estimator: Estimator,
    erasure: Erasure | None = None,
    removed: Sequence[str] = (),
) -> DirectionSet:
    """The same set with directions of another estimator, or with nuisances removed.

    The class means, the norms of their difference and the residual norms stay those of the texts
    as they were. The provenance says `estimator`, `removed` (names) and `removal` (`projection`,
    `leace` or None).

    Args:
        directions: what was extracted.
        creative: the text means that it was extracted from.
        uncreative: their counterparts, in the same order.
        estimator: which estimator.
        erasure: what to remove first.
        removed: the names of what `erasure` removes.

    Raises:
        InputError: text means of another model, names without an erasure or the reverse, and all
            that `estimate` raises.
    """
    if creative.shape[1:] != directions.directions.shape:
        raise InputError(
            f"the directions are [layer, d_model] {tuple(directions.directions.shape)}, but the "
            f"text means are of {tuple(creative.shape[1:])}: give the means that `extract` "
            "returned with keep_text_means, or read them with the same model at all layers."
        )
    if (erasure is None) != (not removed):
        raise InputError(
            f"`removed` names {len(removed)} nuisances, but "
            f"{'no erasure was' if erasure is None else 'an erasure was'} given: give both or "
            "neither."
        )
    rows = estimate(creative, uncreative, estimator=estimator, erasure=erasure)
    return replace(
        directions,
        directions=rows.to(torch.float32),
        provenance={
            **directions.provenance,
            "estimator": estimator,
            "removed": list(removed),
            "removal": None if erasure is None else erasure.method,
        },
    )
