"""How well the difference of means separates texts it was not fitted on, layer by layer.

For each fold, the direction is fitted on the training premises and the held-out texts are
projected on it. The null swaps the two labels within premises and fits everything again, the same
swaps at all layers, so that the largest value over layers corrects for having looked at all of
them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from creativity_lens.probes.gram import Gram
from creativity_lens.probes.held_out import HeldOutScores, ProbeCurve, Progress, check_sides
from creativity_lens.stats import (
    Array,
    Interval,
    auroc,
    auroc_interval,
    grouped_folds,
    permutation_p,
    sign_flips,
)

DIFFERENCE_OF_MEANS = "difference of means"


@dataclass(frozen=True, eq=False)
class Separability:
    """Held-out separability by layer. AUROC: 0.5 is chance, 1 is perfect.

    Attributes:
        curve: the held-out scores at each layer, and at the layer chosen within each fold.
        layers: interval of the AUROC at each layer.
        p_values: for each layer, corrected over layers by the maximum statistic.
        null: the largest AUROC over layers under each label swap.
    """

    curve: ProbeCurve
    layers: tuple[Interval, ...]
    p_values: tuple[float, ...]
    null: Float[Array, " permutation"]

    @property
    def selected(self) -> HeldOutScores:
        """Scores at the layer that each fold chose on its training premises."""
        return self.curve.selected

    @property
    def selected_layers(self) -> tuple[int, ...]:
        """The layer that each fold chose."""
        return self.curve.selected_layers

    @property
    def null_95(self) -> float:
        """95th percentile of the largest AUROC over layers when labels are swapped."""
        return float(np.quantile(self.null, 0.95)) if len(self.null) else float("nan")

    @property
    def n_permutations(self) -> int:
        """How many swaps the null has."""
        return len(self.null)

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
    on_progress: Progress | None = None,
) -> Separability:
    """Premise-grouped cross-validation of the difference of means at every layer.

    Args:
        creative: mean residual stream of each pair's creative text.
        uncreative: the same of its uncreative text.
        groups: the premise of each pair; pairs on one premise stay in one fold.
        n_folds: folds; at least 2, at most the number of premises.
        n_permutations: label swaps for the null.
        n_draws: bootstrap draws for the intervals.
        seed: of folds, swaps and draws.
        on_progress: called with 1 after each layer.

    Raises:
        InputError: sides of different shape, NaN, a layer at which all texts are equal, or fewer
            premises than folds.
    """
    check_sides(creative, uncreative, groups)
    folds = grouped_folds(groups, n_folds, seed=seed)
    n_pairs, n_layers = creative.shape[:2]
    signs = np.vstack([np.ones((1, n_pairs)), sign_flips(groups, n_permutations, seed=seed)])
    intervals = []
    null = np.zeros((n_layers, n_permutations))
    observed = np.zeros(n_layers)
    scores = np.zeros((n_layers, 2, n_pairs))
    inner = np.zeros((n_layers, len(folds)))
    for layer in range(n_layers):
        gram = Gram.of(creative[:, layer], uncreative[:, layer])
        held_out = gram.cross_validate(folds, signs)
        values = auroc(held_out[:, 0], held_out[:, 1])
        observed[layer], null[layer] = values[0], values[1:]
        scores[layer] = held_out[0]
        intervals.append(
            auroc_interval(scores[layer, 0], scores[layer, 1], groups, n_draws=n_draws, seed=seed)
        )
        for k, fold in enumerate(folds):
            inner[layer, k] = gram.inner_auroc(fold.train, groups, seed=seed)
        if on_progress is not None:
            on_progress(1)
    largest = null.max(axis=0)
    return Separability(
        curve=nested_selection(DIFFERENCE_OF_MEANS, scores, inner, groups, n_folds, seed=seed),
        layers=tuple(intervals),
        p_values=tuple(permutation_p(value, largest) for value in observed),
        null=largest,
    )


def nested_selection(
    probe: str,
    scores: Float[Array, "layer side pair"],
    inner: Float[Array, "layer fold"],
    groups: Sequence[str],
    n_folds: int,
    *,
    seed: int,
) -> ProbeCurve:
    """A curve whose selected scores take, in each fold, the layer that its training premises chose.

    Args:
        probe: its name.
        scores: held-out scores at each layer.
        inner: what each layer reached within the training premises of each fold.
        groups: the premise of each pair.
        n_folds: the number of folds that made the scores.
        seed: the seed that made the folds.
    """
    chosen = inner.argmax(axis=0)
    selected = np.zeros(scores.shape[1:])
    for fold, layer in zip(grouped_folds(groups, n_folds, seed=seed), chosen, strict=True):
        selected[:, fold.test] = scores[layer][:, fold.test]
    names = tuple(groups)
    return ProbeCurve(
        probe=probe,
        scores=scores,
        groups=names,
        selected=HeldOutScores(selected[0], selected[1], names),
        selected_layers=tuple(int(layer) for layer in chosen),
    )


def across_contexts(
    fitted: tuple[Float[Tensor, "pair layer d_model"], Float[Tensor, "pair layer d_model"]],
    read: tuple[Float[Tensor, "pair layer d_model"], Float[Tensor, "pair layer d_model"]],
    groups: Sequence[str],
    *,
    n_folds: int = 5,
    seed: int = 0,
) -> Float[Array, "layer side pair"]:
    """Held-out scores of texts read in one context, on directions fitted in another.

    Args:
        fitted: the creative and uncreative sides as the direction sees them.
        read: the same texts, in the same order, as they are projected.
        groups: the premise of each pair.
        n_folds: folds by premise, those of `separability`.
        seed: of the folds.

    Raises:
        InputError: as `separability`.
    """
    for sides in (fitted, read):
        check_sides(*sides, groups)
    folds = grouped_folds(groups, n_folds, seed=seed)
    return np.stack(
        [
            Gram.of(
                fitted[0][:, layer], fitted[1][:, layer], (read[0][:, layer], read[1][:, layer])
            ).cross_validate(folds)[0]
            for layer in range(fitted[0].shape[1])
        ]
    )
