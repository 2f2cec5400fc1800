"""The weights of a logistic regression, at every layer.

Its estimand is a linear filter: the weights that tell creative from uncreative texts best, which
for Gaussian classes of one covariance point along `Sigma^-1 mu`, shrunk by the penalty. A filter is
for reading; what is added to steer is a pattern, the difference of means (Haufe et al. 2014).
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from creativity_lens.directions.fitting import check_pairs, equal_means, no_pairs, unit_rows
from creativity_lens.errors import InputError

DEFAULT_C = 0.01
"""Inverse strength of the penalty. In a planted study (Gaussian texts with eight strong axes of
noise, 256 and 576 dimensions, 64 to 500 pairs, three draws each) held-out AUROC was best at 0.01 or
within .01 of the best from 250 pairs up, and .03 to .05 above scikit-learn's own 1; with 64 pairs
it was .01 to .04 below the best (0.1 to 1)."""

MAX_ITERATIONS = 5000


class Logistic(NamedTuple):
    """The fitted directions, float64, and the classifiers they come from."""

    directions: Float[Tensor, "layer d_model"]
    weights: Float[Tensor, "layer d_model"]
    """Not normalized, in the space of the texts: log odds of creative are `x @ weights +
    intercept`."""
    intercepts: Float[Tensor, " layer"]


class LogisticFitter:
    """L2 logistic regression on standardized features; it holds the texts until `fit`.

    It cannot stream: the loss is not a function of moments. Memory grows by
    8 · n_layers · d_model bytes a pair (both texts in float32).

    Args:
        n_layers: layers of the model.
        d_model: width of the residual stream.
        c: inverse strength of the penalty, as scikit-learn's `C`; smaller is closer to the
            difference of means of standardized features.
    """

    def __init__(self, n_layers: int, d_model: int, c: float = DEFAULT_C) -> None:
        if not 0 < c < float("inf"):
            raise InputError(f"c must be a positive number, got {c}; the default is {DEFAULT_C}.")
        self._shape = (n_layers, d_model)
        self._c = c
        self._creative: list[Tensor] = []
        self._uncreative: list[Tensor] = []

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
        # A copy, because a view would keep the caller's whole batch alive.
        self._creative.append(creative.detach().cpu().to(torch.float32, copy=True))
        self._uncreative.append(uncreative.detach().cpu().to(torch.float32, copy=True))

    def fit(self) -> Logistic:
        """The directions; they point to the creative side because its label is 1.

        Raises:
            InputError: no pairs, or a layer at which nothing tells the sides apart.
        """
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        n = sum(len(batch) for batch in self._creative)
        if not n:
            raise no_pairs()
        texts = torch.cat([*self._creative, *self._uncreative])
        labels = np.repeat([1, 0], n)
        weights = torch.zeros(self._shape, dtype=torch.float64)
        intercepts = torch.zeros(self._shape[0], dtype=torch.float64)
        for layer in range(self._shape[0]):
            model = make_pipeline(
                StandardScaler(), LogisticRegression(C=self._c, max_iter=MAX_ITERATIONS)
            )
            model.fit(texts[:, layer].double().numpy(), labels)
            scaler, classifier = model[0], model[1]
            weight = classifier.coef_[0] / scaler.scale_
            if not np.abs(classifier.coef_).max() > 0:
                raise equal_means(layer)
            weights[layer] = torch.from_numpy(weight)
            intercepts[layer] = float(classifier.intercept_[0] - weight @ scaler.mean_)
        return Logistic(unit_rows(weights), weights, intercepts)
