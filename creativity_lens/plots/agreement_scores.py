"""All scores side by side: how far they agree with people, and what they add to length.

Each figure shows scores without a layer and those at the primary layer, the same line for the same
score on every page, so that dimensions and groups of raters can be compared.
"""

from typing import Any

import plotly.graph_objects as go
from pandas import DataFrame

from creativity_lens.plots.agreement_forest import draw_dots, finish_forest, known_rows, lines_of
from creativity_lens.plots.agreement_panels import (
    ACCURACY_AXIS,
    CEILING_COLOUR,
    CHANCE,
    KINDS,
    SCOPES,
    Facets,
    Panel,
    number,
    one_row,
    p_text,
    records,
)
from creativity_lens.plots.draw import rows_of
from creativity_lens.plots.style import NULL, transparent


def forest_figure(
    agreement: DataFrame,
    ceilings: DataFrame,
    nulls: DataFrame,
    *,
    primary: int | None,
    scope: str,
) -> go.Figure:
    """Accuracy of every score with its interval, sorted by kind, between chance and ceiling.

    Args:
        agreement: table `agreement`.
        ceilings: table `ceilings`; a ceiling that is not known is not drawn.
        nulls: table `nulls`; what random directions within the classes reach at the primary layer.
        primary: the primary layer; None if no model read the texts.
        scope: which pairs.

    Raises:
        InputError: there is no such score with an accuracy.
    """
    rows = known_rows(
        rows_of(agreement, scope=scope), primary, "pairwise_accuracy", "forest_figure"
    )
    lines = lines_of(rows)
    facets = Facets(rows, y_title="", one_page=False)
    for panel in facets:
        where = {"dimension": panel.dimension, "rater_group": panel.group}
        null = one_row(nulls, scope=scope, null="within", layer=primary, **where)
        _vertical_band(facets.figure, null, lines, panel)
        _ceiling(facets.figure, one_row(ceilings, scope=scope, **where), lines, panel)
        _points(
            facets.figure,
            rows_of(rows, **where),
            ("pairwise_accuracy", "ci_low", "ci_high"),
            lines,
            panel,
        )
    title = f"Every score against people, {SCOPES.get(scope, scope)}"
    return finish_forest(facets, lines, middle=CHANCE, x_title=ACCURACY_AXIS, title=title)


def increment_figure(agreement: DataFrame, *, primary: int | None, scope: str) -> go.Figure:
    """What each score adds to length with likelihood, cross-fitted by prompt, with its interval.

    Args:
        agreement: table `agreement`.
        primary: the primary layer; None if no model read the texts.
        scope: which pairs.

    Raises:
        InputError: no increment is known.
    """
    rows = rows_of(agreement, scope=scope)
    rows = known_rows(rows, primary, "increment", "increment_figure", middle=0)
    lines = lines_of(rows)
    facets = Facets(rows, y_title="", one_page=False)
    for panel in facets:
        here = rows_of(rows, dimension=panel.dimension, rater_group=panel.group)
        columns = ("increment", "increment_low", "increment_high")
        _points(facets.figure, here, columns, lines, panel, spelled="+.3f")
    return finish_forest(
        facets,
        lines,
        middle=0,
        x_title="gain in accuracy",
        title=f"What each score adds to length with likelihood, {SCOPES.get(scope, scope)}",
    )


def _points(
    figure: go.Figure,
    rows: DataFrame,
    columns: tuple[str, str, str],
    lines: dict[str, int],
    panel: Panel,
    *,
    spelled: str = ".2f",
) -> None:
    for kind, (called, colour) in KINDS.items():
        some = rows_of(rows, kind=kind)
        if some.empty:
            continue
        draw_dots(
            figure,
            some,
            columns,
            [lines[score] for score in some["score"]],
            name=called,
            colours=[colour] * len(some),
            symbol="circle",
            panel=panel,
            notes=[_note(row) for row in records(some)],
            spelled=spelled,
        )


def _note(row: dict[str, Any]) -> str:
    said = (
        f"{row['n_pairs']:.0f} pairs, {p_text(row)}<br>tau {number(row['kendall'])}, "
        f"given length rho {number(row['partial_spearman'])}"
    )
    if row["difference"] != row["difference"]:
        return said
    low, high = (number(row[f"difference_{end}"], "+.2f") for end in ("low", "high"))
    return f"{said}<br>less the paper's score {row['difference']:+.2f} [{low}, {high}]"


def _vertical_band(
    figure: go.Figure, row: dict[str, Any] | None, lines: dict[str, int], panel: Panel
) -> None:
    if row is None or row["low"] != row["low"]:
        return
    name = "95 % of random directions, primary layer"
    low, high, top = row["low"], row["high"], len(lines) - 0.4
    figure.add_scatter(
        x=[low, high, high, low],
        y=[-0.6, -0.6, top, top],
        fill="toself",
        fillcolor=transparent(NULL, 0.2),
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        name=name,
        legendgroup=name,
        legendrank=1002,
        showlegend=name not in panel.fresh,
        **panel.where,
    )
    panel.fresh.add(name)


def _ceiling(
    figure: go.Figure, row: dict[str, Any] | None, lines: dict[str, int], panel: Panel
) -> None:
    if row is None or row["ceiling"] != row["ceiling"]:
        return
    name = "ceiling: one rater against the others"
    ends = f"[{number(row['ceiling_low'])}, {number(row['ceiling_high'])}]"
    figure.add_scatter(
        x=[row["ceiling"]] * 2,
        y=[-0.6, len(lines) - 0.4],
        mode="lines",
        line={"color": CEILING_COLOUR, "dash": "dashdot", "width": 1.5},
        name=name,
        legendgroup=name,
        legendrank=1001,
        showlegend=name not in panel.fresh,
        hovertemplate=f"{row['ceiling']:.2f} {ends}<extra>{name}</extra>",
        **panel.where,
    )
    panel.fresh.add(name)
