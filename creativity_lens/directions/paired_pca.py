"""The main axis of the paired differences, uncentred, at every layer.

`a_l` is the unit vector that keeps the most of the pairs' differences `d_i = creative_i -
uncreative_i`: the top eigenvector of `sum_i d_i d_i^T` (the PCA of representation engineering,
arXiv 2310.01405, there on differences in random order).

Its estimand is the top eigenvector of `mu mu^T + Cov(d)`. That is the mean difference `mu` only if
the differences vary equally in all directions (isotropic noise), if `mu` is itself an axis of their
covariance, or if `mu` is so long that the covariance does not matter. Otherwise it tilts towards
whatever varies most between pairs, creativity or not: compare it with the difference of means, and
look at `explained`.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from creativity_lens.directions.fitting import ROUNDING, check_pairs, no_pairs
from creativity_lens.errors import InputError


class PairedPCA(NamedTuple):
    """The fitted directions, float64."""

    directions: Float[Tensor, "layer d_model"]
    explained: Float[Tensor, " layer"]
    """Share of the differences' summed squares on the direction, in (0, 1]; 1 / d_model is what
    differences that vary equally in all directions leave for each axis."""


class PairedPCAFitter:
    """Streaming second moments: `update` with pairs as they come, `fit` at the end.

    Up to d_model differences are kept as they are, because so few are smaller than their moments
    and quicker to decompose; then they are folded into one d_model x d_model matrix a layer
    (8 · n_layers · d_model² bytes), and memory grows no more. Sums are float64.
    """

    def __init__(self, n_layers: int, d_model: int) -> None:
        self._d_model = d_model
        self._sum = torch.zeros((n_layers, d_model), dtype=torch.float64)
        self._kept: list[Tensor] = []
        self._moment: Tensor | None = None
        self._n = 0

    def update(
        self,
        creative: Float[Tensor, "pair layer d_model"],
        uncreative: Float[Tensor, "pair layer d_model"],
    ) -> None:
        """Add pairs of texts, each given by its mean residual stream.

        Raises:
            InputError: sides of different shape, NaN or infinity.
        """
        check_pairs(creative, uncreative)
        differences = creative.double().cpu() - uncreative.double().cpu()
        self._sum += differences.sum(dim=0)
        self._n += len(differences)
        if len(differences):
            self._kept.append(differences)
        if sum(len(kept) for kept in self._kept) > self._d_model:
            by_layer = torch.cat(self._kept).transpose(0, 1)
            moment = by_layer.mT @ by_layer
            self._moment = moment if self._moment is None else self._moment.add_(moment)
            self._kept = []

    def fit(self) -> PairedPCA:
        """The directions; the mean paired difference projects positively on them.

        Raises:
            InputError: no pairs, differences that are all 0 at some layer, or a mean difference
                that is orthogonal to the main axis, which then has no sign.
        """
        if not self._n:
            raise no_pairs()
        axes, values, total = self._top()
        if not bool((total > 0).all()):
            raise InputError(
                f"the two texts of every pair are equal at layer {int((total <= 0).nonzero()[0])}: "
                "the tokens that were read do not depend on the condition, so there is no "
                "direction."
            )
        # An eigenvector has no sign of its own, so the mean difference gives it one.
        sides = (axes * self._sum).sum(dim=-1)
        unsure = sides.abs() <= ROUNDING * (total * self._n).sqrt()
        if bool(unsure.any()):
            raise InputError(
                f"the main axis of the paired differences at layer {int(unsure.nonzero()[0])} is "
                "orthogonal to their mean, so nothing says which of its ends is the creative one: "
                "use the estimator difference-of-means."
            )
        return PairedPCA(axes * sides.sign()[:, None], values / total)

    def _top(self) -> tuple[Tensor, Tensor, Tensor]:
        """Top eigenvector and eigenvalue of the second moment at each layer, and its trace."""
        kept = torch.cat(self._kept).transpose(0, 1) if self._kept else None
        if self._moment is None:
            assert kept is not None
            values, vectors = torch.linalg.eigh(kept @ kept.mT)
            axes = (kept.mT @ vectors[:, :, -1:])[..., 0]
            axes = axes / axes.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(axes.dtype).tiny)
        else:
            moment = self._moment if kept is None else self._moment + kept.mT @ kept
            values, vectors = torch.linalg.eigh(moment)
            axes = vectors[:, :, -1]
        return axes, values[:, -1], values.clamp_min(0).sum(dim=-1)
