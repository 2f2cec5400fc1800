"""Which cell of a sweep to use: chosen on dev prompts, reported on test prompts.

Nothing here that chooses looks at a test prompt. If it did, the best of many cells would look good
on the test prompts by luck alone.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

from creativity_lens.studies.probe_tables import columns, frame
from creativity_lens.studies.sweep_budgets import (
    DEFAULT_BUDGETS,
    FEWEST_PROMPTS,
    RULER_AT_LEVER,
    Budgets,
    SplitEffects,
    at_lever,
)
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


def layer_verdicts(
    tables: SweepTables, effects: "DataFrame", budgets: Budgets = DEFAULT_BUDGETS
) -> "DataFrame":
    """What each steered layer is good for, on dev prompts; the first of these that holds.

    - `unknown`: there are fewer than five dev prompts.
    - `works`: at some strength, and within both budgets, the interval of the change of the score
      lies above 0. This has no null of its own: no random direction stands beside a single layer,
      and it is the best of several strengths.
    - `breaks`: a strength that is meant to raise the score goes beyond a budget, and no strength
      as weak or weaker raises it. Meant to are strengths above 0, and all shares of ablate.
    - `nothing`: at all strengths that are meant to and are within budget, the interval ends below
      half of the largest change that any cell of the sweep has within budget.
    - `not shown`: none of these; as a rule the intervals are wide.

    It is `unknown`, too, if no such strength has its score and costs on five prompts. A strength
    that lowers the score for sure is named in the reason.

    Returns:
        One row a mode, direction and layer. `best_*` is the affordable strength with the largest
        change of the score, or NaN if none is affordable; costs are changes of NLL.
    """
    dev = SplitEffects(effects, "dev", tables.read_layer)
    n_dev = int((tables.prompts["split"] == "dev").sum())
    steered = tables.cells["cell_id"][tables.cells["kind"] == "steered"]
    top = max((dev.score(c) for c in steered if _counts(dev, c, budgets)), default=0.0)
    rows = []
    for where, group in steered_groups(tables.cells):
        cells = list(zip(group["cell_id"], group["strength"].astype(float), strict=True))
        within = [(cell, s) for cell, s in cells if dev.affordable(cell, budgets)]
        ranked = [one for one in within if math.isfinite(dev.score(one[0]))]
        best = max(ranked, key=lambda one: _rank(dev, *one), default=None)
        if n_dev < FEWEST_PROMPTS:
            verdict = "unknown"
            reason = f"too few dev prompts: {n_dev}, and {FEWEST_PROMPTS} are needed"
        else:
            meant = [(cell, s) for cell, s in cells if s > 0 or where["mode"] == "ablate"]
            verdict, reason = _verdict(dev, cells, meant, budgets, little=top / 2)
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


Strengths = list[tuple[str, float]]
"""The cells of one layer by name, each with its strength."""


def _verdict(
    dev: SplitEffects, cells: Strengths, meant: Strengths, budgets: Budgets, *, little: float
) -> tuple[str, str]:
    """The verdict on a layer with enough dev prompts, and why.

    Args:
        dev: the effects on dev prompts.
        cells: all cells of the layer.
        meant: those that are meant to raise the score.
        budgets: of NLL and of degenerate texts.
        little: a change that counts as none; 0 or less if there is no such number.
    """
    inside = {cell for cell, _ in cells if _counts(dev, cell, budgets)}
    sure = {cell for cell, _ in cells if _known(dev, cell) and dev.score(cell, "change_low") > 0}
    works = [s for cell, s in cells if cell in sure & inside]
    raises = [s for cell, s in meant if cell in sure]
    beyond = [s for cell, s in meant if dev.beyond(cell, budgets)]
    lowers = [s for cell, s in cells if cell in inside and dev.score(cell, "change_high") < 0]
    highs = [dev.score(cell, "change_high") for cell, _ in meant if cell in inside]
    if works:
        verdict, reason = "works", f"raises the score within budget at {_list(works)}"
    elif _weakest(beyond) < _weakest(raises):
        verdict = "breaks"
        reason = (
            f"beyond the budget (NLL +{budgets.nll:g} or degenerate +{budgets.degenerate:g}) at "
            f"{_list(beyond)}, and no weaker strength is sure to raise the score"
        )
    elif raises:
        verdict, reason = (
            "not shown",
            f"raises the score beyond the budget only: at {_list(raises)}",
        )
    elif not meant:
        verdict, reason = "not shown", "no strength above 0 was run"
    elif not highs:
        verdict = "unknown"
        reason = f"score or cost is known on fewer than {FEWEST_PROMPTS} dev prompts"
    elif little > 0 and max(highs) < little:
        verdict = "nothing"
        reason = (
            f"within budget, and the interval ends below {little:+.3f}, half of the best cell's "
            "change, at all strengths"
        )
    else:
        verdict = "not shown"
        reason = "within budget, but no strength is sure to raise the score"
    return verdict, f"{reason}; lowers the score at {_list(lowers)}" if lowers else reason


def _known(dev: SplitEffects, cell: str) -> bool:
    return dev.score(cell, "n_prompts", 0.0) >= FEWEST_PROMPTS


def _counts(dev: SplitEffects, cell: str, budgets: Budgets) -> bool:
    """Within budget, with a score on enough prompts to say anything."""
    return _known(dev, cell) and dev.affordable(cell, budgets)


def _weakest(strengths: list[float]) -> float:
    return min(map(abs, strengths), default=math.inf)


def pareto(
    tables: SweepTables, effects: "DataFrame", budgets: Budgets = DEFAULT_BUDGETS
) -> "DataFrame":
    """Score against fluency on dev prompts: which cells are not beaten on both.

    Returns:
        The unsteered and the steered cells: `change` of the score at the primary layer, `cost` as
        change of NLL, the share of `degenerate` texts, whether the cell is `on_front` and
        `affordable`. On the front are cells within the budget of degenerate texts, if no other
        such cell has at least their change for at most their cost, and one of the two better.
        Loops are likely text: they would cost less than no steering at all.
    """
    dev = SplitEffects(effects, "dev", tables.read_layer)
    chosen = tables.cells[tables.cells["kind"].isin([UNSTEERED, "steered"])]
    names = chosen["cell_id"].tolist()
    change = np.array([dev.score(cell) for cell in names])
    cost = np.array([dev.get(cell, "nll") for cell in names])
    rise = [dev.get(cell, "degenerate") for cell in names]
    unsteered = chosen["kind"].to_numpy(dtype=str) == UNSTEERED
    whole = unsteered | np.array([budgets.keeps_whole(value) for value in rise], dtype=bool)
    stands = np.isfinite(change) & np.isfinite(cost) & whole
    # [other, cell]
    as_good = (change[:, None] >= change) & (cost[:, None] <= cost) & stands[:, None]
    better = (change[:, None] > change) | (cost[:, None] < cost)
    found = chosen[["cell_id", "mode", "direction", "layer", "strength"]].assign(
        change=change,
        cost=cost,
        degenerate=[dev.get(cell, "degenerate", "value") for cell in names],
        on_front=stands & ~(as_good & better).any(axis=0),
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


def _rank(dev: SplitEffects, cell: str, strength: float) -> tuple[float, float, float]:
    """More change, then less cost, then less strength; rounded, or ties would not be ties."""
    return (
        round(dev.score(cell), 12),
        -round(dev.get(cell, "nll"), 12),
        -abs(strength),
    )


def _list(strengths: list[float]) -> str:
    return ", ".join(f"{s:+g}" for s in strengths)
