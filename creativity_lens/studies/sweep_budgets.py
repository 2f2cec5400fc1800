"""What steering may cost, and what each cell does to a split of the prompts."""

import math
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

from creativity_lens.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame

FEWEST_PROMPTS = 5
"""Fewer prompts than this say nothing: the interval of two is two texts."""
RULER_AT_LEVER = "the ruler is at the lever's layer"
# Sums of 0.1 are not 0.1 exactly; a cell on the budget is within it.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Budgets:
    """What steering may cost.

    Attributes:
        nll: mean rise of the texts' negative log-likelihood under the unsteered model, nats a
            token.
        degenerate: rise of the share of degenerate texts.
    """

    nll: float = 0.5
    degenerate: float = 0.1

    def __post_init__(self) -> None:
        for name, value in (("nll", self.nll), ("degenerate", self.degenerate)):
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"the budget {name} is {value}: give a number that is 0 or more.")

    def allow(self, cost: float, degenerate: float) -> bool:
        """Whether both rises are within budget; one that is not known is not."""
        return cost <= self.nll + TOLERANCE and self.keeps_whole(degenerate)

    def keeps_whole(self, degenerate: float) -> bool:
        """Whether the rise of the share of degenerate texts is within budget.

        A loop is likely text: by its NLL alone it would look cheaper than no steering at all.
        """
        return degenerate <= self.degenerate + TOLERANCE


DEFAULT_BUDGETS = Budgets()


def at_lever(layer: Any, read_layer: int) -> bool:
    """Whether the score is read where the cell was steered; a layer may be missing."""
    return isinstance(layer, Integral) and int(layer) == read_layer


class SplitEffects:
    """The effects of one split, by cell and measure."""

    def __init__(self, effects: "DataFrame", split: str, read_layer: int) -> None:
        chosen = effects[
            (effects["split"] == split)
            & ((effects["metric"] != "score") | (effects["read_layer"] == read_layer))
        ]
        self._rows: dict[tuple[str, str], dict[str, Any]] = {
            (row["cell_id"], row["metric"]): {str(name): value for name, value in row.items()}
            for row in chosen[chosen["metric"].isin(["score", "nll", "kl", "degenerate"])].to_dict(
                "records"
            )
        }

    def get(
        self, cell: str, metric: str, column: str = "change", unknown: float = math.nan
    ) -> float:
        """A number of a cell; `unknown` where there is no row."""
        row = self._rows.get((cell, metric))
        return unknown if row is None else float(row[column])

    def score(self, cell: str, column: str = "change", unknown: float = math.nan) -> float:
        """A number of a cell's score at the primary layer."""
        return self.get(cell, "score", column, unknown)

    def affordable(self, cell: str, budgets: Budgets) -> bool:
        """Whether the cell is known to be within both budgets."""
        return budgets.allow(self.get(cell, "nll"), self.get(cell, "degenerate"))

    def beyond(self, cell: str, budgets: Budgets) -> bool:
        """Not the opposite of affordable: what is not known is neither."""
        return (
            self.get(cell, "nll") > budgets.nll + TOLERANCE
            or self.get(cell, "degenerate") > budgets.degenerate + TOLERANCE
        )
