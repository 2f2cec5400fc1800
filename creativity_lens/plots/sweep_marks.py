"""The marks of the figure of effect against cost: lines of layers, points of cells, the front."""

from collections.abc import Hashable, Mapping
from typing import Any

import plotly.graph_objects as go
from pandas import DataFrame

from creativity_lens.plots.style import STEERED, plain
from creativity_lens.plots.sweep_cells import cell_note
from creativity_lens.studies.sweep_budgets import Budgets


def draw_layer(
    figure: go.Figure,
    curve: DataFrame,
    cost: str,
    *,
    name: str,
    colour: str,
    dash: str,
    legend: bool,
    where: dict[str, int],
) -> None:
    """Join the strengths of one layer; degenerate cells are crosses."""
    figure.add_scatter(
        x=curve[cost].tolist(),
        y=curve["change"].tolist(),
        mode="lines+markers",
        line={"color": colour, "dash": dash, "width": 1.3},
        marker={
            "size": 6,
            "symbol": ["x-thin-open" if b == "degenerate" else "circle" for b in curve["broken"]],
        },
        opacity=0.8,
        name=name,
        legendgroup=name,
        showlegend=legend,
        hovertext=[_hover(cell) for cell in curve.to_dict("records")],
        hoverinfo="text",
        **where,
    )


def draw_points(
    figure: go.Figure,
    cells: DataFrame,
    cost: str,
    *,
    name: str,
    mark: dict[str, Any],
    bars: bool = False,
    legend: bool = False,
    where: dict[str, int],
) -> None:
    """Draw cells, with their intervals both ways if they are asked for."""
    if cells.empty:
        return
    drawn = {}
    for axis, value in (("error_x", cost), ("error_y", "change")):
        middle, low, high = (cells[f"{value}{end}"].astype(float) for end in ("", "_low", "_high"))
        drawn[axis] = {
            "visible": bars,
            "type": "data",
            "symmetric": False,
            "array": (high - middle).tolist(),
            "arrayminus": (middle - low).tolist(),
            "thickness": 1,
            "width": 0,
            "color": mark["color"],
        }
    figure.add_scatter(
        x=cells[cost].tolist(),
        y=cells["change"].tolist(),
        mode="markers",
        marker=mark,
        name=plain(name, 48),
        legendgroup=plain(name, 48),
        showlegend=legend,
        hovertext=[_hover(cell) for cell in cells.to_dict("records")],
        hoverinfo="text",
        **drawn,
        **where,
    )


def draw_front(
    figure: go.Figure,
    numbers: DataFrame,
    cost: str,
    *,
    budgets: Budgets,
    legend: bool,
    where: dict[str, int],
) -> None:
    """Draw the cells that no other beats in both effect and cost, as stairs.

    As in `sweep_choice.pareto`, cells beyond the budget of degenerate texts do not count: loops are
    likely text, and would cost less than no steering at all.
    """
    whole = numbers["degenerate_rise"].map(budgets.keeps_whole).astype(bool)
    steered, unsteered = (numbers["kind"] == name for name in ("steered", "unsteered"))
    own = numbers[steered & whole | unsteered]
    known = own.dropna(subset=[cost, "change"]).sort_values(
        [cost, "change"], ascending=[True, False]
    )
    # Along rising cost, whatever rises above all cheaper cells is on the front.
    best = known["change"].cummax()
    front = known[(known["change"] == best) & ~best.duplicated()]
    figure.add_scatter(
        x=front[cost].tolist(),
        y=front["change"].tolist(),
        mode="lines",
        line={"color": STEERED, "width": 7, "shape": "hv"},
        opacity=0.28,
        name="Pareto front of the steered cells",
        showlegend=legend,
        hoverinfo="skip",
        **where,
    )


def _hover(cell: Mapping[Hashable, Any]) -> str:
    return f"{plain(str(cell['cell_id']), 60)}<br>{cell_note(cell)}"
