"""Which cell of a sweep to use: chosen on dev prompts, reported on test prompts.

Nothing here that chooses looks at a test prompt. If it did, the best of many cells would look good
on the test prompts by luck alone.
"""

import math
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from creativity_lens.errors import InputError
from creativity_lens.studies.probe_tables import columns, frame
from creativity_lens.studies.sweep_effects import steered_groups
from creativity_lens.studies.sweep_grid import UNSTEERED, SweepTables

if TYPE_CHECKING:
    from pandas import DataFrame

LAYER_COLUMNS = columns(
    "mode",
    "direction",
    "layer",
    "verdict",
    "reason",
    "best_strength",
    "best_change",
    "best_cost",
)
PARETO_COLUMNS = columns(
    "cell_id",
    "mode",
    "direction",
    "layer",
    "strength",
    "change",
    "cost",
    "degenerate",
    "on_front",
    "affordable",
)
RECOMMENDED_COLUMNS = columns(
    "cell_id",
    "mode",
    "direction",
    "layer",
    "strength",
    "unit",
    "dev_change",
    "dev_cost",
    "test_change*",
    "test_cost*",
    "test_kl",
    "test_degenerate",
    "n_dev",
    "n_test",
    "rule",
)
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
        return cost <= self.nll + TOLERANCE and degenerate <= self.degenerate + TOLERANCE


DEFAULT_BUDGETS = Budgets()


def layer_verdicts(
    tables: SweepTables, effects: "DataFrame", budgets: Budgets = DEFAULT_BUDGETS
) -> "DataFrame":
    """What each steered layer is good for, on dev prompts.

    `works`: at some strength, and within both budgets, the interval of the change of the score
    lies above 0. Otherwise `breaks`: some strength goes beyond a budget. Otherwise `nothing`. A
    strength that lowers the score for sure is named in the reason, but a layer that can only lower
    it does not work.

    Returns:
        One row a mode, direction and layer. `best_*` is the affordable strength with the largest
        change of the score, or NaN if none is affordable; costs are changes of NLL.
    """
    dev = SplitEffects(effects, "dev", tables.read_layer)
    rows = []
    for where, group in steered_groups(tables.cells):
        cells = list(zip(group["cell_id"], group["strength"].astype(float), strict=True))
        within = [(cell, s) for cell, s in cells if dev.affordable(cell, budgets)]
        beyond = [s for cell, s in cells if dev.beyond(cell, budgets)]
        works = [s for cell, s in within if dev.score(cell, "change_low") > 0]
        lowers = [s for cell, s in within if dev.score(cell, "change_high") < 0]
        ranked = [one for one in within if math.isfinite(dev.score(one[0]))]
        best = max(ranked, key=lambda one: _rank(dev, *one), default=None)
        if works:
            verdict, reason = "works", f"raises the score within budget at {_list(works)}"
        elif beyond:
            verdict = "breaks"
            reason = (
                f"beyond the budget (NLL +{budgets.nll:g} or degenerate "
                f"+{budgets.degenerate:g}) at {_list(beyond)}, and no strength within it is sure "
                "to raise the score"
            )
        elif ranked:
            verdict, reason = "nothing", "within budget, but no strength is sure to raise the score"
        else:
            verdict, reason = "nothing", "score or cost is not known on dev prompts"
        if lowers:
            reason += f"; lowers the score at {_list(lowers)}"
        if at_lever(where["layer"], tables.read_layer):
            reason += f"; {RULER_AT_LEVER}"
        rows.append(
            where
            | {
                "verdict": verdict,
                "reason": reason,
                "best_strength": best[1] if best else math.nan,
                "best_change": dev.score(best[0]) if best else math.nan,
                "best_cost": dev.get(best[0], "nll") if best else math.nan,
            }
        )
    return frame(rows, LAYER_COLUMNS).astype({"layer": "Int64"})


def pareto(
    tables: SweepTables, effects: "DataFrame", budgets: Budgets = DEFAULT_BUDGETS
) -> "DataFrame":
    """Score against fluency on dev prompts: which cells are not beaten on both.

    Returns:
        The unsteered and the steered cells: `change` of the score at the primary layer, `cost` as
        change of NLL, the share of `degenerate` texts, whether the cell is `on_front` (no other
        has at least its change for at most its cost, and one of the two better) and `affordable`.
    """
    dev = SplitEffects(effects, "dev", tables.read_layer)
    chosen = tables.cells[tables.cells["kind"].isin([UNSTEERED, "steered"])]
    names = chosen["cell_id"].tolist()
    change = np.array([dev.score(cell) for cell in names])
    cost = np.array([dev.get(cell, "nll") for cell in names])
    known = np.isfinite(change) & np.isfinite(cost)
    # [other, cell]; NaN is neither more nor less than anything and beats nothing.
    as_good = (change[:, None] >= change) & (cost[:, None] <= cost)
    better = (change[:, None] > change) | (cost[:, None] < cost)
    found = chosen[["cell_id", "mode", "direction", "layer", "strength"]].assign(
        change=change,
        cost=cost,
        degenerate=[dev.get(cell, "degenerate", "value") for cell in names],
        on_front=known & ~(as_good & better).any(axis=0),
        affordable=[dev.affordable(cell, budgets) for cell in names],
    )
    return found.reset_index(drop=True)[PARETO_COLUMNS]


def recommend(
    tables: SweepTables, effects: "DataFrame", budgets: Budgets = DEFAULT_BUDGETS
) -> "DataFrame":
    """The steered cell to use: the most score that the budgets buy, on dev prompts.

    Ties go to the lower cost, then to the smaller strength, then to the first name.

    Returns:
        One row, with the cell's numbers on dev and on test prompts (NaN where there are none), and
        the `rule` in words; no row if no affordable cell raises the score.
    """
    dev = SplitEffects(effects, "dev", tables.read_layer)
    test = SplitEffects(effects, "test", tables.read_layer)
    steered = tables.cells[tables.cells["kind"] == "steered"].to_dict("records")
    allowed = [
        cell
        for cell in steered
        if dev.affordable(cell["cell_id"], budgets) and dev.score(cell["cell_id"]) > 0
    ]
    if not allowed:
        return frame([], RECOMMENDED_COLUMNS).astype({"layer": "Int64"})
    # The first of equals wins, so the names are put in order first.
    allowed.sort(key=lambda cell: str(cell["cell_id"]))
    best = max(allowed, key=lambda cell: _rank(dev, cell["cell_id"], float(cell["strength"])))
    name = best["cell_id"]
    n_dev, n_test = (int(side.score(name, "n_prompts", 0.0)) for side in (dev, test))
    rule = (
        f"of the {len(steered)} steered cells, the one with the largest mean change of the score "
        f"at layer {tables.read_layer} on {n_dev} dev prompts, among those that raise it, raise "
        f"NLL by at most {budgets.nll:g} nats a token and raise the share of degenerate texts by "
        f"at most {budgets.degenerate:g}; reported on {n_test} test prompts"
    )
    if at_lever(best["layer"], tables.read_layer):
        rule += f"; {RULER_AT_LEVER}"
    ends = {"": "change", "_low": "change_low", "_high": "change_high"}
    row = {column: best[column] for column in RECOMMENDED_COLUMNS[:6]} | {
        "dev_change": dev.score(name),
        "dev_cost": dev.get(name, "nll"),
        **{f"test_change{end}": test.score(name, column) for end, column in ends.items()},
        **{f"test_cost{end}": test.get(name, "nll", column) for end, column in ends.items()},
        "test_kl": test.get(name, "kl", "value"),
        "test_degenerate": test.get(name, "degenerate", "value"),
        "n_dev": n_dev,
        "n_test": n_test,
        "rule": rule,
    }
    return frame([row], RECOMMENDED_COLUMNS).astype({"layer": "Int64"})


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


def _rank(dev: SplitEffects, cell: str, strength: float) -> tuple[float, float, float]:
    """More change, then less cost, then less strength; rounded, or ties would not be ties."""
    return (
        round(dev.score(cell), 12),
        -round(dev.get(cell, "nll"), 12),
        -abs(strength),
    )


def _list(strengths: list[float]) -> str:
    return ", ".join(f"{s:+g}" for s in strengths)
