"""What steering does by layer and strength, as a map with the broken cells crossed out."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go
from pandas import DataFrame, isna
from plotly.subplots import make_subplots

from creativity_lens.plots.draw import finished, needed
from creativity_lens.plots.style import DIVERGING, INK, RIVAL, STEERED, plain
from creativity_lens.plots.sweep_cells import (
    DEGENERATE_SHARE,
    RECOMMENDED,
    broken_cells,
    cell_note,
    cell_numbers,
    chosen_ids,
    layer_name,
    layers_in,
    strength_text,
    units_text,
)
from creativity_lens.studies.sweep_budgets import DEFAULT_BUDGETS, Budgets

_EDGE = 0.46  # half a square, less the gap between squares


def heat_map_figure(
    effects: DataFrame,
    cells: DataFrame,
    read_layer: int,
    *,
    mode: str,
    direction: str,
    split: str = "test",
    recommended: DataFrame | None = None,
    budgets: Budgets = DEFAULT_BUDGETS,
    degenerate_share: float = DEGENERATE_SHARE,
    largest: float | None = None,
) -> go.Figure:
    """Change of the score, and of NLL, by layer and strength, with broken cells crossed out.

    Args:
        effects: table `effects`.
        cells: table `cells`.
        read_layer: the layer whose score counts.
        mode: of the cells.
        direction: of the cells.
        split: the prompts.
        recommended: table `recommended`; its cell is framed if it is in the map.
        budgets: a cell beyond one of them is struck through.
        degenerate_share: the share of degenerate texts from which a cell is crossed out.
        largest: the change with the fullest colour; None takes the largest that is not broken.

    Raises:
        InputError: there are no such cells.
    """
    numbers = cell_numbers(effects, cells, read_layer=read_layer, split=split)
    rows = needed(numbers, "heat_map_figure", kind="steered", mode=mode, direction=direction)
    rows = rows.assign(broken=broken_cells(rows, budgets, degenerate_share))
    layers = layers_in(rows)
    strengths = sorted(rows["strength"].unique())
    # NaN is no key, and a cell on all layers has no layer.
    places = [layer_name(layer) for layer in layers]
    at = {
        (places.index(layer_name(cell["layer"])), strengths.index(cell["strength"])): cell
        for cell in rows.to_dict("records")
    }
    grid = [[at.get((i, j)) for j in range(len(strengths))] for i in range(len(layers))]
    figure = make_subplots(
        rows=1,
        cols=2,
        shared_yaxes=True,
        subplot_titles=["effect: change of the score", "cost: change of NLL (nats a token)"],
        horizontal_spacing=0.04,
    )
    notes = [
        [
            f"{layer_name(cell['layer'])}, strength {strength_text(cell['strength'])}<br>"
            f"{cell_note(cell)}"
            if cell
            else ""
            for cell in line
        ]
        for line in grid
    ]
    reach = largest or largest_change(rows)
    scales = {
        "change": (DIVERGING, -reach, reach, "+.3f"),
        "cost": (((0.0, "#FFFFFF"), (1.0, RIVAL)), 0.0, 2 * (budgets.nll or 1.0), "+.2f"),
    }
    for column, (name, (scale, low, high, spelled)) in enumerate(scales.items(), start=1):
        figure.add_heatmap(
            x=list(range(len(strengths))),
            y=list(range(len(layers))),
            z=[[cell[name] if cell else None for cell in line] for line in grid],
            text=[[_written(cell[name], spelled) if cell else "" for cell in r] for r in grid],
            texttemplate="%{text}",
            textfont={"size": 12 if len(strengths) <= 7 else 10 if len(strengths) <= 11 else 8},
            hovertext=notes,
            hoverinfo="text",
            colorscale=[list(step) for step in scale],
            zmin=low,
            zmax=high,
            showscale=False,
            xgap=2,
            ygap=2,
            name=name,
            row=1,
            col=column,
        )
    marks = {
        f"{degenerate_share:.0%} of texts or more are degenerate": ("degenerate", "solid"),
        f"beyond a budget (NLL +{budgets.nll:g}, degenerate +{budgets.degenerate:.0%})": (
            "budget",
            "dot",
        ),
    }
    for name, (why, dash) in marks.items():
        squares = [place for place, cell in at.items() if cell["broken"] == why]
        _cross_out(figure, squares, name=name, dash=dash, both=why == "degenerate")
    chosen = chosen_ids(recommended)
    _frame(figure, [place for place, cell in at.items() if cell["cell_id"] in chosen])
    figure.update_xaxes(
        title_text=f"strength ({units_text(rows)})",
        tickvals=list(range(len(strengths))),
        ticktext=[strength_text(value) for value in strengths],
        range=[-0.5, len(strengths) - 0.5],
        showgrid=False,
        zeroline=False,
    )
    figure.update_yaxes(
        tickvals=list(range(len(layers))),
        ticktext=[name.removeprefix("layer ") for name in places],
        range=[-0.5, len(layers) - 0.5],
        showgrid=False,
        zeroline=False,
    )
    figure.update_yaxes(title_text="steered layer", row=1, col=1)
    return finished(
        figure,
        title=f"{plain(mode, 24)}, {plain(direction, 40)}: by layer and strength, {split} prompts, "
        f"read at layer {read_layer}",
        height=max(330, 150 + 32 * len(layers)),
    )


def largest_change(numbers: DataFrame) -> float:
    """The largest change of the score, either way, among cells that are not broken, or among all.

    Args:
        numbers: of `cell_numbers`, with a column `broken`.
    """
    sizes = numbers["change"].astype(float).abs()
    for some in (sizes[numbers["broken"] == ""], sizes):
        if some.max() > 0:  # NaN of no number is not
            return float(some.max())
    return 1.0


def _written(value: float, spelled: str) -> str:
    return "?" if isna(value) else f"{value:{spelled}}"


def _cross_out(
    figure: go.Figure,
    squares: Sequence[tuple[int, int]],
    *,
    name: str,
    dash: str,
    both: bool,
) -> None:
    """Frame squares of both panels and strike one diagonal through them, or both.

    The middle of a diagonal is left out, or the number in the square could not be read.
    """
    frame = [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0)]
    rising = [[(-1.0, -1.0), (-0.5, -0.5)], [(0.5, 0.5), (1.0, 1.0)]]
    falling = [[(-1.0, 1.0), (-0.5, 0.5)], [(0.5, -0.5), (1.0, -1.0)]]
    strokes = [frame, *rising, *(falling if both else [])]
    x: list[float] = []
    y: list[float] = []
    for i, j in squares:
        for stroke in strokes:
            x += [*(j + _EDGE * across for across, _ in stroke), math.nan]
            y += [*(i + _EDGE * up for _, up in stroke), math.nan]
    for column in (1, 2):
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines",
            line={"color": INK, "width": 1.4, "dash": dash},
            opacity=0.7,
            name=name,
            legendgroup=name,
            showlegend=column == 1 and bool(squares),
            hoverinfo="skip",
            row=1,
            col=column,
        )


def _frame(figure: go.Figure, squares: Sequence[tuple[int, int]]) -> None:
    """Frame the recommended square in both panels."""
    for i, j in squares:
        for column in (1, 2):
            figure.add_scatter(
                x=[j + _EDGE * a for a in (-1, 1, 1, -1, -1)],
                y=[i + _EDGE * b for b in (-1, -1, 1, 1, -1)],
                mode="lines",
                line={"color": STEERED, "width": 4},
                name=RECOMMENDED,
                legendgroup=RECOMMENDED,
                showlegend=column == 1,
                hoverinfo="skip",
                row=1,
                col=column,
            )
