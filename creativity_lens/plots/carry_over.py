"""Does it carry over: to the same texts read in another context, to another domain or wording.

Each figure takes a tidy table of a probe study and raises InputError where it has no rows.
"""

from itertools import cycle

import plotly.graph_objects as go
from pandas import DataFrame
from plotly.subplots import make_subplots

from creativity_lens.plots.draw import (
    AUROC_AXIS,
    CONTEXT_COLOURS,
    DASHES,
    PALETTE,
    draw_curve,
    finished,
    names_in,
    needed,
    panels,
    rows_of,
)
from creativity_lens.plots.layers import LAYER_AXIS
from creativity_lens.plots.style import DIVERGING, INK, NULL, plain
from creativity_lens.probes.separability import DIFFERENCE_OF_MEANS


def leakage_figure(leakage: DataFrame) -> go.Figure:
    """Directions fitted in one context and read in each, a panel for each they are fitted in.

    Args:
        leakage: table `leakage`.

    Raises:
        InputError: it has no rows.
    """
    rows = needed(leakage, "leakage_figure")
    fitted = names_in(rows, "fitted_in")
    figure = panels([f"fitted {name}" for name in fitted], y_title=AUROC_AXIS)
    for column, home in enumerate(fitted, start=1):
        where = {"row": 1, "col": column}
        for dash, read in zip(cycle(("solid", *DASHES)), names_in(rows, "read_in"), strict=False):
            draw_curve(
                figure,
                rows_of(rows, fitted_in=home, read_in=read),
                "auroc",
                name=f"read {read}",
                colour=CONTEXT_COLOURS.get(read, NULL),
                dash=dash,
                legend=column == 1,
                where=where,
            )
        figure.add_hline(y=0.5, line={"color": INK, "width": 1}, **where)
    figure.update_xaxes(title_text=LAYER_AXIS if len(fitted) == 1 else "layer")
    figure.update_yaxes(range=[min(-0.02, float(rows["auroc_low"].min())), 1.02])
    return finished(figure, title="How much of what is read is the instruction", height=460)


def transfer_figure(transfer: DataFrame, kind: str, layer: int) -> go.Figure:
    """Trained on one kind of pair, tested on another; and each kind left out, by layer.

    Args:
        transfer: table `transfer`; the difference of means is drawn.
        kind: `domain` or `paraphrase`.
        layer: of the matrix, and of the intervals on the right.

    Raises:
        InputError: no rows of that kind at that layer.
    """
    asked = "transfer_figure"
    rows = needed(transfer, asked, kind=kind, probe=DIFFERENCE_OF_MEANS)
    at = needed(rows, asked, layer=layer)
    figure = make_subplots(
        rows=1,
        cols=2,
        subplot_titles=[f"layer {layer}: trained on, tested on", "trained on all others"],
        horizontal_spacing=0.14,
    )
    matrix = at[at["trained_on"] != "all others"]
    names = names_in(at.sort_values("tested_on"), "tested_on")
    cells = {(r["trained_on"], r["tested_on"]): r for r in matrix.to_dict("records")}
    grid = [[cells.get((one, other)) for other in names] for one in names]
    shown = [plain(str(name), 24) for name in names]
    figure.add_heatmap(
        x=shown,
        y=shown,
        z=[[cell["auroc"] if cell else None for cell in line] for line in grid],
        text=[
            [f"{cell['auroc']:.2f}<br>n={cell['n_test']}" if cell else "" for cell in line]
            for line in grid
        ],
        customdata=[
            [[cell["auroc_low"], cell["auroc_high"], cell["n_train"]] if cell else [] for cell in r]
            for r in grid
        ],
        texttemplate="%{text}",
        hovertemplate=(
            "trained on %{y} (%{customdata[2]} pairs), tested on %{x}: %{z:.2f} "
            "[%{customdata[0]:.2f}, %{customdata[1]:.2f}]<extra></extra>"
        ),
        colorscale=[list(step) for step in DIVERGING],
        zmin=0,
        zmax=1,
        showscale=False,
        xgap=2,
        ygap=2,
        row=1,
        col=1,
    )
    left_out = rows_of(rows, trained_on="all others")
    for i, (name, colour) in enumerate(zip(names, cycle(PALETTE), strict=False)):
        found = rows_of(left_out, tested_on=name).sort_values("layer")
        if not found.empty:
            _left_out(figure, found, str(name), colour, layer, i)
    figure.add_hline(y=0.5, line={"color": INK, "width": 0.7}, row=1, col=2)
    figure.update_xaxes(title_text="tested on", type="category", row=1, col=1)
    figure.update_yaxes(
        title_text="trained on",
        type="category",
        autorange="reversed",
        automargin=True,
        row=1,
        col=1,
    )
    figure.update_xaxes(title_text="layer", row=1, col=2)
    figure.update_yaxes(title_text=AUROC_AXIS, row=1, col=2)
    return finished(
        figure,
        title=f"Does it carry over to another {kind}? ({', '.join(names_in(rows, 'context'))})",
        height=max(460, 200 + 52 * len(names)),
        legend_rows=2,
    )


def _left_out(
    figure: go.Figure, rows: DataFrame, name: str, colour: str, layer: int, i: int
) -> None:
    """A curve, with its interval drawn at the shown layer alone: all of them would be a wall."""
    where = {"row": 1, "col": 2}
    aside = 0.015 * max(int(rows["layer"].max() - rows["layer"].min()), 1)
    draw_curve(
        figure, rows, "auroc", name=f"left out: {name}", colour=colour, alpha=0.0, where=where
    )
    for row in rows_of(rows, layer=layer).to_dict("records"):
        figure.add_scatter(
            x=[layer + aside * (i + 1)],
            y=[row["auroc"]],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [row["auroc_high"] - row["auroc"]],
                "arrayminus": [row["auroc"] - row["auroc_low"]],
                "color": colour,
                "thickness": 1.2,
                "width": 3,
            },
            mode="markers",
            marker={"size": 4, "color": colour},
            name=f"interval at layer {layer}",
            legendgroup=f"left out: {plain(name)}",
            showlegend=False,
            hoverinfo="skip",
            **where,
        )
