"""The whitened difference of means (linear discriminant analysis), at every layer.

`a_l = normalize(Sigma^-1 (mean creative - mean uncreative))`, where Sigma is the covariance within
the classes, pooled, and shrunk towards a multiple of the identity by Ledoit and Wolf (2004), so
that it can be inverted with fewer texts than dimensions.

Its estimand is the filter `Sigma^-1 mu`: of all linear readings of Gaussian classes the one that
separates best. In anisotropic noise it is not `mu`, and should not be close to it: read with the
filter, steer with the pattern, the difference of means (Haufe et al. 2014).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from creativity_lens.directions.fitting import (
    ROUNDING,
    check_pairs,
    equal_means,
    no_pairs,
    unit_rows,
)
from creativity_lens.errors import InputError


class Whitened(NamedTuple):
    """The fitted directions, float64, and how far the covariance was shrunk."""

    directions: Float[Tensor, "layer d_model"]
    shrinkage: Float[Tensor, " layer"]
    """From 0, the sample covariance, to 1, a multiple of the identity: then the direction is the
    difference of means."""


class WhitenedFitter:
    """Streaming moments up to the fourth: `update` with pairs as they come, `fit` at the end.

    Memory does not grow with the texts: 16 · n_layers · d_model² bytes (one second-moment matrix a
    class and layer). Sums are float64 of texts less the first batch's mean, so that what is
    subtracted in the end is not much larger than what is left.
    """

    def __init__(self, n_layers: int, d_model: int) -> None:
        def sums(*shape: int) -> Tensor:
            return torch.zeros((2, n_layers, *shape), dtype=torch.float64)

        self._n = 0
        self._reference: Tensor | None = None
        self._x, self._xx = sums(d_model), sums(d_model, d_model)
        self._norm2, self._norm4, self._norm2_x = sums(), sums(), sums(d_model)

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
        if not len(creative):
            return
        texts = torch.stack([creative.double().cpu(), uncreative.double().cpu()])
        if self._reference is None:
            self._reference = texts.mean(dim=(0, 1))
        texts = (texts - self._reference).transpose(1, 2)  # side layer pair d_model
        norm2 = texts.square().sum(dim=-1)
        self._n += len(creative)
        self._x += texts.sum(dim=2)
        # In place, because a second set of matrices would double the memory.
        self._xx.flatten(0, 1).baddbmm_(texts.mT.flatten(0, 1), texts.flatten(0, 1))
        self._norm2 += norm2.sum(dim=-1)
        self._norm4 += norm2.square().sum(dim=-1)
        self._norm2_x += (norm2[..., None, :] @ texts)[..., 0, :]

    def fit(self) -> Whitened:
        """The directions; the class means' difference projects positively on them.

        Raises:
            InputError: no pairs, a single pair, means that are equal at some layer, or texts that
                do not vary within their class there.
        """
        if not self._n:
            raise no_pairs()
        means = self._x / self._n
        difference = means[0] - means[1]
        assert self._reference is not None
        same = difference.norm(dim=-1) <= ROUNDING * (means + self._reference).norm(dim=-1).amax(0)
        if bool(same.any()):
            raise equal_means(int(same.nonzero()[0]))
        covariance, shrinkage = self._covariance(means)
        factor, failed = torch.linalg.cholesky_ex(covariance)
        if bool(failed.any()):
            raise InputError(
                f"the texts of a class do not vary enough at layer {int(failed.nonzero()[0])} to "
                f"whiten by them ({self._n} pairs): give more pairs, or use the estimator "
                "difference-of-means."
            )
        directions = torch.cholesky_solve(difference[..., None], factor)[..., 0]
        return Whitened(unit_rows(directions), shrinkage)

    def covariance(self) -> Float[Tensor, "layer d_model d_model"]:
        """The covariance within the classes, pooled and shrunk, float64.

        The square root of `w' covariance w` is how far texts of one class spread along a filter w.

        Raises:
            InputError: no pairs.
        """
        if not self._n:
            raise no_pairs()
        return self._covariance(self._x / self._n)[0]

    def _covariance(
        self, means: Float[Tensor, "2 layer d_model"]
    ) -> tuple[Float[Tensor, "layer d_model d_model"], Float[Tensor, " layer"]]:
        """Ledoit and Wolf's covariance of the texts less their class means, and its shrinkage.

        The same as `sklearn.covariance.ledoit_wolf(centred, assume_centered=True)`, whose only
        statistic beyond the covariance is the sum of `|x - m|^4`, here expanded in moments of x.
        """
        n, d_model = 2 * self._n, means.shape[-1]
        within = (self._xx - self._n * means[..., :, None] * means[..., None, :]).sum(dim=0) / n
        norm2 = means.square().sum(dim=-1)
        quadratic = ((self._xx @ means[..., None])[..., 0] * means).sum(dim=-1)
        fourth = (
            self._norm4
            - 4 * (means * self._norm2_x).sum(dim=-1)
            + 4 * quadratic
            + 2 * norm2 * self._norm2
            - 3 * self._n * norm2.square()
        ).sum(dim=0)
        scale = within.diagonal(dim1=-2, dim2=-1).mean(dim=-1)
        squares = within.square().sum(dim=(-2, -1))
        # Distance of the sample covariance from its target, and how much of it is sampling noise.
        distance = (squares / d_model - scale.square()).clamp_min(0)
        noise = ((fourth / n - squares) / (n * d_model)).clamp_min(0)
        share = torch.minimum(noise, distance) / distance
        shrinkage = torch.where(noise > 0, share.nan_to_num(0), 0.0)
        target = scale[:, None, None] * torch.eye(d_model, dtype=torch.float64)
        kept = shrinkage[:, None, None]
        return (1 - kept) * within + kept * target, shrinkage
