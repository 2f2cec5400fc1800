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

from creativity_lens.errors import InputError


class DifferenceOfMeans(NamedTuple):
    """The fitted directions and the statistics they come from, float64."""

    directions: Float[Tensor, "layer d_model"]
    mean_creative: Float[Tensor, "layer d_model"]
    mean_uncreative: Float[Tensor, "layer d_model"]
    difference_norms: Float[Tensor, " layer"]


class DifferenceOfMeansFitter:
    """Streaming statistics: `update` with texts as they come, `fit` at the end.

    Memory does not grow with the texts. Sums are float64.
    """

    def __init__(self, n_layers: int, d_model: int) -> None:
        self._sums = torch.zeros((2, n_layers, d_model), dtype=torch.float64)
        self._counts = [0, 0]

    def update(self, text_mean: Float[Tensor, "layer d_model"], *, creative: bool) -> None:
        """Add one text's mean residual stream."""
        side = int(creative)
        self._sums[side] += text_mean.double().cpu()
        self._counts[side] += 1

    @property
    def n_texts(self) -> tuple[int, int]:
        """How many (uncreative, creative) texts were seen."""
        return self._counts[0], self._counts[1]

    def fit(self) -> DifferenceOfMeans:
        """The directions; they point from uncreative to creative.

        Raises:
            InputError: a side without texts, or two means that are equal at some layer.
        """
        if 0 in self._counts:
            raise InputError(
                "cannot extract a direction: no pair has a text on both sides. Raise "
                "max_new_tokens, or look at the prompts: the model ended every response at once."
            )
        uncreative, creative = (
            total / n for total, n in zip(self._sums, self._counts, strict=True)
        )
        difference = creative - uncreative
        norms = difference.norm(dim=-1)
        # Exact equality never survives float32 matrix products, so compare with rounding noise.
        noise = 1e-9 * torch.maximum(creative.norm(dim=-1), uncreative.norm(dim=-1))
        if not bool((norms > noise).all()):
            layer = int((norms <= noise).nonzero()[0])
            raise InputError(
                f"the creative and the uncreative mean are equal at layer {layer}: the tokens "
                "that were read do not depend on the condition, so there is no direction."
            )
        return DifferenceOfMeans(difference / norms[:, None], creative, uncreative, norms)
