"""Agreement with people by layer, between chance, random directions, length and the ceiling."""

from itertools import cycle

import plotly.graph_objects as go
from pandas import DataFrame

from creativity_lens.plots.agreement_panels import (
    ACCURACY_AXIS,
    CEILING_COLOUR,
    CHANCE,
    SCOPES,
    Facets,
    Panel,
    number,
    one_row,
    p_text,
    records,
)
from creativity_lens.plots.draw import (
    DASHES,
    draw_band,
    draw_curve,
    names_in,
    needed,
    rows_of,
)
from creativity_lens.plots.layers import LAYER_AXIS
from creativity_lens.plots.style import (
    CREATIVE,
    INK,
    LEARNED,
    NEUTRAL,
    NULL,
    RIVAL,
    UNCREATIVE,
    plain,
)
from creativity_lens.studies.evaluate_rows import LENGTHS
from creativity_lens.studies.evaluate_scores import FITTED, PAPER

SHOWN = {PAPER: "the paper's score", FITTED: "to the ratings of other prompts"}
"""Scores that are drawn from the start, and what they are."""
VARIANT_COLOURS = (UNCREATIVE, NEUTRAL, INK)
NULLS = {"within": True, "isotropic": False, "shuffled": False}
"""Families of random directions that are drawn, and whether they are from the start."""
NULL_NAMES = {
    "within": "95 % of random directions, as texts vary within the classes",
    "isotropic": "95 % of isotropic directions (a strawman)",
    "shuffled": "95 % of directions of shuffled labels",
}
OFF = "legendonly"


def agreement_layers_figure(
    agreement: DataFrame,
    nulls: DataFrame,
    ceilings: DataFrame,
    *,
    primary: int | None,
    scope: str,
) -> go.Figure:
    """Accuracy of the paper's score by layer, a panel for each dimension and group of raters.

    Beside it, what a direction reaches that was fitted to ratings of other prompts. Other variants,
    isotropic directions and shuffled labels are in the legend but drawn only when they are asked
    for there.

    Args:
        agreement: table `agreement`.
        nulls: table `nulls`.
        ceilings: table `ceilings`.
        primary: the primary layer; marked.
        scope: which pairs.

    Raises:
        InputError: the paper's score was not read at two layers or more.
    """
    rows = rows_of(agreement, scope=scope)
    layered = _whole(rows)
    layers = sorted(set(layered["layer"])) if len(layered) else []
    paper = needed(layered if len(layers) > 1 else layered[:0], "agreement_layers_figure")
    paper = needed(paper, "agreement_layers_figure", score=PAPER)
    # Length is known for texts that no model read, so the title's pairs are the score's own.
    facets = Facets(paper, y_title=ACCURACY_AXIS, one_page=True)
    looks = _looks(names_in(layered[layered["kind"].isin(("score", FITTED))], "score"))
    edge = (layers[0], layers[-1])
    for panel in facets:
        where = {"dimension": panel.dimension, "rater_group": panel.group}
        here = rows_of(layered, **where)
        _null_bands(facets.figure, rows_of(_whole(nulls), scope=scope, **where), panel)
        _level(
            facets.figure,
            one_row(ceilings, scope=scope, **where),
            ("ceiling", "ceiling_low", "ceiling_high"),
            name="ceiling: one rater against the others",
            colour=CEILING_COLOUR,
            dash="dashdot",
            edge=edge,
            panel=panel,
        )
        _level(
            facets.figure,
            _length_row(rows_of(rows, **where)),
            ("pairwise_accuracy", "ci_low", "ci_high"),
            name="length alone",
            colour=RIVAL,
            dash="dash",
            edge=edge,
            panel=panel,
        )
        for score, (colour, dash) in looks.items():
            found = rows_of(here, score=score).sort_values("layer")
            if found.empty:
                continue
            _variant(facets.figure, found, str(score), colour, dash, panel)
    for place in facets.everywhere():
        facets.figure.add_hline(y=CHANCE, line={"color": INK, "width": 0.7}, **place)
        if primary is not None:
            facets.figure.add_vline(
                x=primary, line={"color": INK, "dash": "dot", "width": 1}, **place
            )
    _mark(facets.figure, primary, layers[0])
    facets.figure.update_xaxes(title_text="layer" if facets.n_columns > 1 else LAYER_AXIS)
    return facets.finished(
        title=f"Agreement with people by layer, {SCOPES.get(scope, scope)}",
        height=170 + 290 * facets.n_rows,
        legend_rows=5,
    )


def _whole(rows: DataFrame) -> DataFrame:
    """The rows that have a layer, as a whole number: read from CSV it may be a float."""
    if rows.empty:
        return rows
    rows = rows[rows["layer"].notna()]
    return rows.assign(layer=rows["layer"].astype(int))


def _looks(scores: list[str]) -> dict[str, tuple[str, str]]:
    """Colour and dash of each variant; the paper's last, so that it lies on top."""
    pairs = ((colour, dash) for dash in cycle(("solid", *DASHES)) for colour in VARIANT_COLOURS)
    found = dict(zip([name for name in scores if name not in SHOWN], pairs, strict=False))
    return found | {FITTED: (LEARNED, "dash"), PAPER: (CREATIVE, "solid")}


def _variant(
    figure: go.Figure, found: DataFrame, score: str, colour: str, dash: str, panel: Panel
) -> None:
    before = len(figure.data)
    draw_curve(
        figure,
        found.assign(ci=found["pairwise_accuracy"]),
        "ci",
        name=score if score not in SHOWN else f"{score} ({SHOWN[score]})",
        colour=colour,
        dash=dash,
        alpha=0.16 if score == PAPER else 0.0,
        legend=score not in panel.fresh,
        notes=[
            f", {int(row['n_pairs'])} pairs, {p_text(row)}, tau {number(row['kendall'])}"
            for row in records(found)
        ],
        where=panel.where,
    )
    panel.fresh.add(score)
    if score not in SHOWN:
        for trace in figure.data[before:]:
            trace.visible = OFF


def _null_bands(figure: go.Figure, nulls: DataFrame, panel: Panel) -> None:
    for null, shown in NULLS.items():
        band = rows_of(nulls, null=null)
        if band.empty or band["low"].isna().all():
            continue
        band = band.sort_values("layer")
        draw_band(
            figure,
            band["layer"].tolist(),
            band["low"].tolist(),
            band["high"].tolist(),
            name=NULL_NAMES[null],
            colour=NULL,
            alpha=0.25,
            legend=null not in panel.fresh,
            where=panel.where,
        )
        panel.fresh.add(null)
        if not shown:
            figure.data[-1].visible = OFF


def _length_row(rows: DataFrame) -> dict[str, object] | None:
    for name in LENGTHS:
        row = one_row(rows, score=name)
        if row is not None and row["pairwise_accuracy"] == row["pairwise_accuracy"]:
            return row
    return None


def _level(
    figure: go.Figure,
    row: dict[str, object] | None,
    columns: tuple[str, str, str],
    *,
    name: str,
    colour: str,
    dash: str,
    edge: tuple[int, int],
    panel: Panel,
) -> None:
    """A line across all layers with its band; nothing if it is not known."""
    if row is None:
        return
    value, low, high = (float(str(row[column])) for column in columns)
    if value != value:
        return
    first = name not in panel.fresh
    panel.fresh.add(name)
    shown = plain(name)
    draw_band(
        figure,
        edge,
        [low] * 2,
        [high] * 2,
        name=f"{shown}, 95 %",
        colour=colour,
        alpha=0.1,
        group=shown,
        where=panel.where,
    )
    figure.add_scatter(
        x=list(edge),
        y=[value, value],
        mode="lines",
        line={"color": colour, "dash": dash, "width": 1.5},
        name=shown,
        legendgroup=shown,
        legendrank=1001,
        showlegend=first,
        hovertemplate=(f"{value:.2f} [{number(low)}, {number(high)}]<extra>{shown}</extra>"),
        **panel.where,
    )


def _mark(figure: go.Figure, primary: int | None, first: int) -> None:
    """Say once what the dotted line is."""
    if primary is None:
        return
    figure.add_annotation(
        x=primary,
        y=0,
        yref="y domain",
        xref="x",
        text=f"primary layer {primary}",
        showarrow=False,
        xanchor="left" if primary - first < 4 else "right",
        yanchor="bottom",
        font={"size": 11},
    )
