"""The paper's estimator: the normalized difference of the two class means, at every layer.

`a_l = normalize(mean over creative texts of h_l - mean over uncreative texts of h_l)`, where `h_l`
is a text's mean residual stream over its span (arXiv 2412.06060). Its estimand is the difference
of the class means, which is also what adding it moves; it ignores the covariance, so it is not the
best linear filter (Haufe et al. 2014).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from creativity_lens.directions.fitting import ROUNDING, check_pairs, equal_means, no_pairs


class DifferenceOfMeans(NamedTuple):
    """The fitted directions and the statistics they come from, float64."""

    directions: Float[Tensor, "layer d_model"]
    mean_creative: Float[Tensor, "layer d_model"]
    mean_uncreative: Float[Tensor, "layer d_model"]
    difference_norms: Float[Tensor, " layer"]


class DifferenceOfMeansFitter:
    """Streaming statistics: `update` with pairs as they come, `fit` at the end.

    Memory does not grow with the texts. Sums are float64.
    """

    def __init__(self, n_layers: int, d_model: int) -> None:
        self._sums = torch.zeros((2, n_layers, d_model), dtype=torch.float64)
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
        self._sums[0] += creative.double().cpu().sum(dim=0)
        self._sums[1] += uncreative.double().cpu().sum(dim=0)
        self._n += len(creative)

    @property
    def n_pairs(self) -> int:
        """How many pairs were seen."""
        return self._n

    def fit(self) -> DifferenceOfMeans:
        """The directions; they point from uncreative to creative.

        Raises:
            InputError: no pairs, or two means that are equal at some layer.
        """
        if not self._n:
            raise no_pairs()
        creative, uncreative = self._sums / self._n
        difference = creative - uncreative
        norms = difference.norm(dim=-1)
        # Exact equality never survives float32 matrix products, so compare with rounding noise.
        noise = ROUNDING * torch.maximum(creative.norm(dim=-1), uncreative.norm(dim=-1))
        if not bool((norms > noise).all()):
            raise equal_means(int((norms <= noise).nonzero()[0]))
        return DifferenceOfMeans(difference / norms[:, None], creative, uncreative, norms)
