"""How well the difference of means separates texts it was not fitted on, layer by layer.

For each fold, the direction is fitted on the training premises and the held-out texts are
projected on it. The null swaps the two labels within premises and fits everything again, the same
swaps at all layers, so that the largest value over layers corrects for having looked at all of
them. Because a direction is a sum of paired differences, all of it is done on inner products
between texts: hundreds of permutations cost little more than one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from creativity_lens.errors import InputError
from creativity_lens.stats import (
    Array,
    Fold,
    Interval,
    auroc,
    auroc_interval,
    grouped_folds,
    permutation_p,
    sign_flips,
)


@dataclass(frozen=True, eq=False)
class HeldOutScores:
    """Scores of texts by models that were not fitted on their premise.

    Row i of both sides is one pair.
    """

    creative: Float[Array, " pair"]
    uncreative: Float[Array, " pair"]
    groups: tuple[str, ...]

    def interval(self, *, n_draws: int = 2000, seed: int = 0) -> Interval:
        """AUROC with its interval over premises."""
        return auroc_interval(
            self.creative, self.uncreative, self.groups, n_draws=n_draws, seed=seed
        )


@dataclass(frozen=True, eq=False)
class Separability:
    """Held-out separability by layer. AUROC: 0.5 is chance, 1 is perfect.

    Attributes:
        layers: interval of the AUROC at each layer.
        p_values: for each layer, corrected over layers by the maximum statistic.
        null_95: the 95th percentile of the largest AUROC over layers when labels are swapped.
        selected: scores at a layer that is chosen anew for each fold on its training premises
            alone, so that the choice of the best layer does not flatter the estimate.
        selected_layers: the layer chosen in each fold.
        n_permutations: how many swaps the null has.
    """

    layers: tuple[Interval, ...]
    p_values: tuple[float, ...]
    null_95: float
    selected: HeldOutScores
    selected_layers: tuple[int, ...]
    n_permutations: int

    @property
    def best_layer(self) -> int:
        """The layer with the highest AUROC; say that it was chosen when you quote its value."""
        return int(np.argmax([interval.estimate for interval in self.layers]))


def separability(
    creative: Float[Tensor, "pair layer d_model"],
    uncreative: Float[Tensor, "pair layer d_model"],
    groups: Sequence[str],
    *,
    n_folds: int = 5,
    n_permutations: int = 200,
    n_draws: int = 2000,
    seed: int = 0,
) -> Separability:
    """Premise-grouped cross-validation of the difference of means at every layer.

    Args:
        creative: mean residual stream of each pair's creative text.
        uncreative: the same of its uncreative text.
        groups: the premise of each pair; pairs on one premise stay in one fold.
        n_folds: folds; at least 2, at most the number of premises less one.
        n_permutations: label swaps for the null.
        n_draws: bootstrap draws for the intervals.
        seed: of folds, swaps and draws.

    Raises:
        InputError: sides of different shape, NaN, or fewer premises than folds.
    """
    if creative.shape != uncreative.shape or len(groups) != creative.shape[0]:
        raise InputError(
            f"the two sides and their groups must match, got {tuple(creative.shape)}, "
            f"{tuple(uncreative.shape)} and {len(groups)} groups."
        )
    if not bool(torch.isfinite(creative).all() and torch.isfinite(uncreative).all()):
        raise InputError("the activations hold NaN or infinity; drop pairs with an empty text.")
    folds = grouped_folds(groups, n_folds, seed=seed)
    n_pairs, n_layers = creative.shape[:2]
    signs = np.vstack([np.ones((1, n_pairs)), sign_flips(groups, n_permutations, seed=seed)])
    intervals = []
    null = np.zeros((n_layers, n_permutations))
    observed = np.zeros(n_layers)
    scores = np.zeros((n_layers, 2, n_pairs))
    inner = np.zeros((n_layers, len(folds)))
    for layer in range(n_layers):
        gram = _Gram.of(creative[:, layer], uncreative[:, layer])
        held_out = gram.cross_validate(folds, signs)
        values = auroc(held_out[:, 0], held_out[:, 1])
        observed[layer], null[layer] = values[0], values[1:]
        scores[layer] = held_out[0]
        intervals.append(
            auroc_interval(scores[layer, 0], scores[layer, 1], groups, n_draws=n_draws, seed=seed)
        )
        for k, fold in enumerate(folds):
            inner[layer, k] = gram.inner_auroc(fold.train, groups, seed=seed)
    largest = null.max(axis=0)
    selected = np.zeros((2, n_pairs))
    chosen = inner.argmax(axis=0)
    for fold, layer in zip(folds, chosen, strict=True):
        selected[:, fold.test] = scores[layer][:, fold.test]
    return Separability(
        layers=tuple(intervals),
        p_values=tuple(permutation_p(value, largest) for value in observed),
        null_95=float(np.quantile(largest, 0.95)) if n_permutations else float("nan"),
        selected=HeldOutScores(selected[0], selected[1], tuple(groups)),
        selected_layers=tuple(int(layer) for layer in chosen),
        n_permutations=n_permutations,
    )


@dataclass(frozen=True, eq=False)
class _Gram:
    """Inner products of the paired differences with the texts, at one layer."""

    with_texts: Float[Array, "pair side pair"]

    @classmethod
    def of(
        cls, creative: Float[Tensor, "pair d_model"], uncreative: Float[Tensor, "pair d_model"]
    ) -> "_Gram":
        texts = torch.stack([creative, uncreative]).double()
        # A common shift changes no score; removing it keeps the products well scaled.
        texts = texts - texts.mean(dim=(0, 1))
        differences = texts[0] - texts[1]
        return cls(torch.einsum("pd,sqd->psq", differences, texts).numpy())

    def cross_validate(
        self, folds: Sequence[Fold], signs: Float[Array, "swap pair"]
    ) -> Float[Array, "swap side pair"]:
        """Held-out scores under each swap; side 0 is what the swap calls creative."""
        scores = np.zeros((len(signs), *self.with_texts.shape[1:]))
        for fold in folds:
            scores[:, :, fold.test] = self._project(fold.train, fold.test, signs)
        swapped = scores[:, ::-1]
        return np.where(signs[:, None, :] > 0, scores, swapped)

    def inner_auroc(self, rows: Int[Array, " row"], groups: Sequence[str], *, seed: int) -> float:
        """Cross-validated AUROC within `rows` alone, for choosing a layer."""
        names = [groups[i] for i in rows]
        n_folds = min(4, len(set(names)))
        if n_folds < 2:
            return 0.5
        held_out = np.zeros((2, len(rows)))
        once = np.ones((1, self.with_texts.shape[0]))
        for fold in grouped_folds(names, n_folds, seed=seed):
            held_out[:, fold.test] = self._project(rows[fold.train], rows[fold.test], once)[0]
        return float(auroc(held_out[0], held_out[1]))

    def _project(
        self,
        train: Int[Array, " train"],
        test: Int[Array, " test"],
        signs: Float[Array, "swap pair"],
    ) -> Float[Array, "swap side test"]:
        """Project on the direction of the training pairs, in units of their own spread."""
        weights = signs[:, train] / len(train)
        fitted = np.einsum("wp,psq->wsq", weights, self.with_texts[train][:, :, train])
        centre = fitted.mean(axis=(1, 2), keepdims=True)
        spread = fitted.std(axis=(1, 2), keepdims=True)
        projected = np.einsum("wp,psq->wsq", weights, self.with_texts[train][:, :, test])
        return np.asarray((projected - centre) / np.maximum(spread, 1e-300))
