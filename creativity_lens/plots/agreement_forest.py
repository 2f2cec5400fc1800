"""Forests of scores: one line a score, the same in every panel and on every page."""

from collections.abc import Sequence

import plotly.graph_objects as go
from pandas import DataFrame

from creativity_lens.plots.agreement_panels import CHANCE, Facets, Panel, at_layer, number
from creativity_lens.plots.draw import needed, rows_of
from creativity_lens.plots.style import INK, NULL, plain
from creativity_lens.studies.evaluate_rows import LENGTHS

LINE_HEIGHT = 20
MOST_GIVEN = 40
"""Of more scores that were brought along, those that lie furthest from the middle are drawn."""


def known_rows(
    rows: DataFrame, primary: int | None, column: str, figure: str, *, middle: float | int = CHANCE
) -> DataFrame:
    """Scores without a layer and at the primary one of which a number is known.

    Of many that were brought along only `MOST_GIVEN` are kept, those whose number lies furthest
    from the middle in any comparison, and what stands for length.

    Raises:
        InputError: there are none.
    """
    rows = at_layer(rows, primary)
    rows = needed(rows[rows[column].notna()] if len(rows) else rows, figure)
    given = rows_of(rows, kind="given")
    far = (given[column] - middle).abs().groupby(given["score"]).max()
    if len(far) <= MOST_GIVEN:
        return rows
    kept = {*far.nlargest(MOST_GIVEN).index, *LENGTHS}  # the rival to beat is always in view
    return rows[(rows["kind"] != "given") | rows["score"].isin(kept)]


def lines_of(rows: DataFrame) -> dict[str, int]:
    """Which line each score stands on, from the top."""
    return {name: line for line, name in enumerate(dict.fromkeys(rows["score"]))}


def draw_dots(
    figure: go.Figure,
    rows: DataFrame,
    columns: tuple[str, str, str],
    heights: Sequence[float | int],
    *,
    name: str,
    colours: Sequence[str],
    symbol: str,
    panel: Panel,
    notes: Sequence[str],
    spelled: str = ".2f",
) -> None:
    """Draw estimates with their intervals.

    Args:
        figure: where to draw.
        rows: with a column `score` and those of the numbers.
        columns: of the estimate and both ends of its interval.
        heights: the line of each row.
        name: for the legend; escaped here.
        colours: of each row; bars are grey if they differ, because a trace has one colour of bars.
        symbol: of all marks.
        panel: which panel.
        notes: more for each hover label; safe already.
        spelled: how numbers are written.
    """
    shown = plain(name, 40)
    middle, low, high = (rows[column].to_numpy(float) for column in columns)
    figure.add_scatter(
        x=middle.tolist(),
        y=list(heights),
        error_x={
            "type": "data",
            "symmetric": False,
            "array": (high - middle).tolist(),
            "arrayminus": (middle - low).tolist(),
            "color": colours[0] if len(set(colours)) == 1 else NULL,
            "thickness": 1.2,
            "width": 3,
        },
        mode="markers",
        marker={"size": 8, "color": list(colours), "symbol": symbol},
        name=shown,
        legendgroup=shown,
        showlegend=shown not in panel.fresh and len(rows) > 0,
        customdata=[
            [plain(str(score), 60), number(a, spelled), number(b, spelled), note]
            for score, a, b, note in zip(rows["score"], low, high, notes, strict=True)
        ],
        hovertemplate=(
            f"%{{customdata[0]}}: %{{x:{spelled}}} [%{{customdata[1]}}, %{{customdata[2]}}]"
            f"<br>%{{customdata[3]}}<extra>{shown}</extra>"
        ),
        **panel.where,
    )
    if len(rows):
        panel.fresh.add(shown)


def finish_forest(
    facets: Facets,
    lines: dict[str, int],
    *,
    middle: float | int,
    x_title: str,
    title: str,
    line_height: int = LINE_HEIGHT,
) -> go.Figure:
    """Name the lines, draw the middle and lay the figure out."""
    figure = facets.figure
    for place in facets.everywhere():
        figure.add_vline(x=middle, line={"color": INK, "width": 1}, **place)
    figure.update_yaxes(
        tickvals=list(lines.values()),
        ticktext=[plain(str(name), 40) for name in lines],
        range=[len(lines) - 0.4, -0.6],
        automargin=True,
        zeroline=False,
    )
    figure.update_xaxes(title_text=x_title, zeroline=False, matches="x")
    height = 190 + (line_height * len(lines) + 60) * facets.n_rows
    return facets.finished(title=title, height=height, legend_rows=3)
