"""Pieces that the figures of a probe study share: rows of tables, curves with bands, forests."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from pandas import DataFrame
from plotly.subplots import make_subplots

from creativity_lens.errors import InputError
from creativity_lens.plots.style import (
    CREATIVE,
    INK,
    NEUTRAL,
    RIVAL,
    STEERED,
    UNCREATIVE,
    plain,
    styled,
    transparent,
)

PALETTE = (CREATIVE, UNCREATIVE, STEERED, NEUTRAL, RIVAL, INK)
DASHES = ("dash", "dot", "dashdot", "9px,2px", "2px,5px")
CONTEXT_COLOURS = {"as-generated": CREATIVE, "neutral": NEUTRAL, "opposite": STEERED}
AUROC_AXIS = "AUROC (0.5 = chance)"
TOP_MARGIN = 84


def rows_of(table: DataFrame, **where: object) -> DataFrame:
    """The rows of a table in which each named column has the given value."""
    if table.empty:  # it may not even have columns, where a study made no such table
        return table
    for column, value in where.items():
        table = table[table[column] == value]
    return table


def needed(table: DataFrame, figure: str, **where: object) -> DataFrame:
    """The rows that a figure cannot do without.

    Raises:
        InputError: there are none.
    """
    rows = rows_of(table, **where)
    if rows.empty:
        asked = " and ".join(f"{name} {value!r}" for name, value in where.items())
        raise InputError(
            f"{figure} has nothing to draw: its table has no rows{' with ' if asked else ''}"
            f"{asked}. Ask for what the table holds, or leave the figure out."
        )
    return rows


def names_in(table: DataFrame, column: str) -> list[Any]:
    """The values of a column, each once, in the order they come."""
    return table[column].drop_duplicates().tolist()


def panels(titles: Sequence[str], *, y_title: str, columns: int | None = None) -> go.Figure:
    """Panels side by side with one vertical axis; titles may be hostile text."""
    columns = columns or len(titles)
    n_rows = -(-len(titles) // columns)
    figure = make_subplots(
        rows=n_rows,
        cols=columns,
        shared_yaxes="all",
        subplot_titles=[plain(title, 60) for title in titles],
        horizontal_spacing=0.05,
        vertical_spacing=0.14 if n_rows > 1 else 0,
    )
    for row in range(1, n_rows + 1):
        figure.update_yaxes(title_text=y_title, row=row, col=1)
    return figure


def finished(figure: go.Figure, *, title: str, height: int, legend_rows: int = 1) -> go.Figure:
    """Apply the common layout, with the legend below the axes whatever the height.

    Args:
        figure: what to finish.
        title: of the whole figure.
        height: of the axes with all that belongs to them, in pixels.
        legend_rows: how many lines the legend is expected to take.
    """
    styled(figure, title=title, height=height + 24 * legend_rows)
    # The legend's place is a share of the height of the axes, which the margins leave.
    axes = height - TOP_MARGIN - 64
    figure.update_layout(
        legend={"y": -60 / axes}, margin={"t": TOP_MARGIN, "b": 64 + 24 * legend_rows}
    )
    return figure


def draw_band(
    figure: go.Figure,
    x: Sequence[int],
    low: Sequence[float],
    high: Sequence[float],
    *,
    name: str,
    colour: str,
    alpha: float = 0.16,
    legend: bool = False,
    group: str | None = None,
    where: dict[str, int] | None = None,
) -> None:
    """Draw an area between two lines; points of which an end is not known are left out."""
    kept = [(a, b, c) for a, b, c in zip(x, low, high, strict=True) if b == b and c == c]
    figure.add_scatter(
        x=[a for a, _, _ in kept] + [a for a, _, _ in reversed(kept)],
        y=[c for _, _, c in kept] + [b for _, b, _ in reversed(kept)],
        fill="toself",
        fillcolor=transparent(colour, alpha),
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        name=name,
        legendgroup=group or name,
        legendrank=1002,
        showlegend=legend,
        **(where or {}),
    )


def draw_curve(
    figure: go.Figure,
    rows: DataFrame,
    value: str,
    *,
    name: str,
    colour: str,
    dash: str = "solid",
    alpha: float = 0.16,
    legend: bool = True,
    notes: Sequence[str] | None = None,
    spelled: str = ".2f",
    where: dict[str, int] | None = None,
) -> None:
    """Draw a value by layer and, under it, the band of its interval.

    Args:
        figure: where to draw.
        rows: with columns `layer`, `value`, `value_low` and `value_high`.
        value: the column.
        name: for the legend; escaped here.
        colour: of both.
        dash: of the line.
        alpha: of the band; 0 draws none, and the interval stands in the hover label alone.
        legend: whether the line is listed.
        notes: more for each hover label; escaped here.
        spelled: how numbers are written in it.
        where: row and column of the panel.
    """
    shown = plain(name)
    layers = rows["layer"].tolist()
    low, high = rows[f"{value}_low"].tolist(), rows[f"{value}_high"].tolist()
    if alpha:
        band = f"{shown}, 95 %"
        draw_band(
            figure,
            layers,
            low,
            high,
            name=band,
            group=shown,
            colour=colour,
            alpha=alpha,
            where=where,
        )
    more = [plain(note) for note in notes] if notes is not None else [""] * len(layers)
    figure.add_scatter(
        x=layers,
        y=rows[value].tolist(),
        mode="lines+markers",
        marker={"size": 5},
        line={"color": colour, "dash": dash},
        name=shown,
        legendgroup=shown,
        showlegend=legend,
        customdata=[list(one) for one in zip(low, high, more, strict=True)],
        hovertemplate=(
            f"layer %{{x}}: %{{y:{spelled}}} [%{{customdata[0]:{spelled}}}, "
            f"%{{customdata[1]:{spelled}}}]%{{customdata[2]}}<extra>{shown}</extra>"
        ),
        **(where or {}),
    )


def draw_forest(
    figure: go.Figure,
    rows: DataFrame,
    value: str,
    *,
    labels: Sequence[str],
    colours: Sequence[str],
    notes: Sequence[str] | None = None,
    spelled: str = ".2f",
    where: dict[str, int] | None = None,
) -> None:
    """Draw one estimate a line with its interval, the first on top.

    Args:
        figure: where to draw.
        rows: with columns `value`, `value_low` and `value_high`.
        value: the column.
        labels: of the lines; escaped here.
        colours: of the lines.
        notes: more for each hover label; escaped here.
        spelled: how numbers are written in it.
        where: row and column of the panel.
    """
    middle = rows[value].to_numpy(float)
    low, high = (rows[f"{value}_{end}"].to_numpy(float) for end in ("low", "high"))
    more = [plain(note) for note in notes] if notes is not None else [""] * len(middle)
    # One trace a line: Plotly gives all error bars of a trace one colour.
    for i, (label, colour) in enumerate(zip(labels, colours, strict=True)):
        figure.add_scatter(
            x=[middle[i]],
            y=[plain(label, 48)],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [high[i] - middle[i]],
                "arrayminus": [middle[i] - low[i]],
                "color": colour,
            },
            mode="markers",
            marker={"size": 9, "color": colour},
            name=plain(label, 48),
            showlegend=False,
            customdata=[[low[i], high[i], more[i]]],
            hovertemplate=(
                f"%{{y}}: %{{x:{spelled}}} [%{{customdata[0]:{spelled}}}, "
                f"%{{customdata[1]:{spelled}}}]<br>%{{customdata[2]}}<extra></extra>"
            ),
            **(where or {}),
        )
    figure.update_yaxes(
        type="category", autorange="reversed", automargin=True, showgrid=True, **(where or {})
    )
