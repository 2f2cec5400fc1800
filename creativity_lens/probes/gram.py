"""The difference of means on inner products between texts.

A direction of this kind is a weighted sum of paired differences, so what it makes of a text is the
same weighted sum of inner products. Folds, label swaps and other training sets then cost a product
of small matrices, whatever the width of the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from creativity_lens.stats import Array, Fold, auroc, grouped_folds

INNER_FOLDS = 4


@dataclass(frozen=True, eq=False)
class Gram:
    """Inner products of the paired differences with the texts, at one layer."""

    with_texts: Float[Array, "pair side pair"]

    @classmethod
    def of(
        cls,
        creative: Float[Tensor, "pair d_model"],
        uncreative: Float[Tensor, "pair d_model"],
        read: tuple[Float[Tensor, "pair d_model"], Float[Tensor, "pair d_model"]] | None = None,
    ) -> "Gram":
        """From the texts of both sides; `read` are the same texts, read in another context.

        The differences come from the first two, and what is projected on them from `read`.
        """
        differences = (creative.double() - uncreative.double()).numpy()
        texts = torch.stack([creative, uncreative] if read is None else list(read)).double()
        # A common shift changes no score; removing it keeps the products well scaled.
        texts = texts - texts.mean(dim=(0, 1))
        sides = [differences @ side.numpy().T for side in texts]
        return cls(np.stack(sides, axis=1))

    @property
    def n_pairs(self) -> int:
        """How many pairs there are."""
        return len(self.with_texts)

    def project(
        self,
        train: Int[Array, " train"],
        test: Int[Array, " test"],
        signs: Float[Array, "swap pair"] | None = None,
    ) -> Float[Array, "swap side test"]:
        """Project on the direction of the training pairs, in units of their own texts' spread.

        Zero is the mean of the training pairs' texts.
        """
        if signs is None:
            signs = np.ones((1, self.n_pairs))
        weights = signs[:, train] / len(train)
        products = self.with_texts[train]
        fitted = _combine(weights, products[:, :, train])
        centre = fitted.mean(axis=(1, 2), keepdims=True)
        spread = fitted.std(axis=(1, 2), keepdims=True)
        projected = _combine(weights, products[:, :, test])
        return np.asarray((projected - centre) / np.maximum(spread, 1e-300))

    def cross_validate(
        self, folds: Sequence[Fold], signs: Float[Array, "swap pair"] | None = None
    ) -> Float[Array, "swap side pair"]:
        """Held-out scores under each swap; side 0 is what the swap calls creative."""
        if signs is None:
            signs = np.ones((1, self.n_pairs))
        scores = np.zeros((len(signs), *self.with_texts.shape[1:]))
        for fold in folds:
            scores[:, :, fold.test] = self.project(fold.train, fold.test, signs)
        return np.where(signs[:, None, :] > 0, scores, scores[:, ::-1])

    def inner_auroc(self, rows: Int[Array, " row"], groups: Sequence[str], *, seed: int) -> float:
        """Cross-validated AUROC within `rows` alone, for choosing a layer."""
        names = [groups[i] for i in rows]
        n_folds = min(INNER_FOLDS, len(set(names)))
        if n_folds < 2:
            return 0.5
        held_out = np.zeros((2, len(rows)))
        for fold in grouped_folds(names, n_folds, seed=seed):
            held_out[:, fold.test] = self.project(rows[fold.train], rows[fold.test])[0]
        return float(auroc(held_out[0], held_out[1]))


def _combine(
    weights: Float[Array, "swap train"], products: Float[Array, "train side text"]
) -> Float[Array, "swap side text"]:
    # One product of matrices: einsum would not hand it to BLAS.
    flat = weights @ products.reshape(len(products), -1)
    return np.asarray(flat.reshape(len(weights), *products.shape[1:]))
