"""Held-out scores of a probe: what every probe and every rival gives back.

A score is held out when the probe that gave it was not fitted on the text's premise.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from creativity_lens.directions.fitting import check_pairs, check_varied
from creativity_lens.errors import InputError
from creativity_lens.stats import Array, Interval, auroc, auroc_interval, mean_interval

Progress = Callable[[int], None]
"""Called with the number of layers just finished."""


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

    def auroc(self) -> float:
        """AUROC alone: 0.5 is chance."""
        return float(auroc(self.creative, self.uncreative))

    def accuracy(self, *, n_draws: int = 2000, seed: int = 0) -> Interval:
        """Share of texts on their own side of 0, with its interval over premises; 0.5 is chance.

        Scores have their zero where the probe puts its boundary, so a probe whose boundary is off
        can rank perfectly (AUROC 1) and still have an accuracy of one half. A score of exactly 0
        counts half.
        """
        right = np.sign(self.creative) - np.sign(self.uncreative)
        return mean_interval(right / 4 + 0.5, self.groups, n_draws=n_draws, seed=seed)

    def only(self, rows: Sequence[int]) -> "HeldOutScores":
        """The scores of some pairs."""
        index = np.asarray(rows, dtype=int)
        return HeldOutScores(
            self.creative[index], self.uncreative[index], tuple(self.groups[i] for i in index)
        )


@dataclass(frozen=True, eq=False)
class ProbeCurve:
    """Held-out scores of one kind of probe at every layer.

    Attributes:
        probe: its name.
        scores: side 0 is creative; 0 is the probe's boundary.
        groups: the premise of each pair.
        selected: scores at a layer that is chosen anew for each fold on its training premises
            alone, so that the choice of the best layer does not flatter the estimate.
        selected_layers: the layer chosen in each fold.
    """

    probe: str
    scores: Float[Array, "layer side pair"]
    groups: tuple[str, ...]
    selected: HeldOutScores
    selected_layers: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, layer: int) -> HeldOutScores:
        if isinstance(layer, bool) or not 0 <= layer < len(self):
            raise InputError(
                f"layer {layer} is out of range: this probe has layers 0 to {len(self) - 1}."
            )
        return HeldOutScores(self.scores[layer, 0], self.scores[layer, 1], self.groups)


def check_sides(
    creative: Float[Tensor, "pair layer d_model"],
    uncreative: Float[Tensor, "pair layer d_model"],
    groups: Sequence[str],
) -> None:
    """Raise InputError unless these are the two sides of the same pairs, and can be told apart.

    Raises:
        InputError: sides of different shape, no pairs, NaN or infinity, or a layer at which all
            texts are equal.
    """
    if creative.shape != uncreative.shape or len(groups) != creative.shape[0]:
        raise InputError(
            f"the two sides and their groups must match, got {tuple(creative.shape)}, "
            f"{tuple(uncreative.shape)} and {len(groups)} groups. A probe needs both classes: one "
            "creative and one uncreative text for each pair."
        )
    check_pairs(creative, uncreative)
    check_varied(creative, uncreative)
