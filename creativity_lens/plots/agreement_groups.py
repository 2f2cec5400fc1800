"""The same scores against each group of raters, so that a disagreement in sign is seen."""

import plotly.graph_objects as go
from pandas import DataFrame

from creativity_lens.plots.agreement_forest import draw_dots, finish_forest, known_rows, lines_of
from creativity_lens.plots.agreement_panels import (
    ACCURACY_AXIS,
    CHANCE,
    SCOPES,
    Facets,
    Panel,
    p_text,
    records,
)
from creativity_lens.plots.draw import names_in, needed, rows_of
from creativity_lens.plots.style import (
    CREATIVE,
    INK,
    NEUTRAL,
    NULL,
    RIVAL,
    STEERED,
    UNCREATIVE,
)

GROUP_LOOKS = (
    (UNCREATIVE, "circle"),
    (STEERED, "square"),
    (RIVAL, "diamond"),
    (NEUTRAL, "triangle-up"),
    (INK, "star"),
)
SHOWN, LEANS = "opposite sides of chance, both intervals clear of it", "opposite sides by estimate"
BARS = 0.34
"""How far the intervals of the groups spread around a line, in lines."""


def groups_figure(agreement: DataFrame, *, primary: int | None, scope: str) -> go.Figure:
    """Each score by group of raters, joined by a line: orange where they lie apart across chance.

    A thick line says that two intervals exclude chance on opposite sides, a thin one that only the
    estimates lie there.

    Args:
        agreement: table `agreement`.
        primary: the primary layer; None if no model read the texts.
        scope: which pairs.

    Raises:
        InputError: no dimension was rated by two groups.
    """
    rows = rows_of(agreement, scope=scope)
    rows = known_rows(rows, primary, "pairwise_accuracy", "groups_figure")
    n_groups = rows.groupby("dimension")["rater_group"].transform("nunique")
    rows = needed(rows[n_groups > 1], "groups_figure")
    groups = names_in(rows, "rater_group")
    lines = lines_of(rows)
    # All groups share the one panel of a dimension.
    together = rows.drop(columns="n_pairs").assign(rater_group=" and ".join(map(str, groups)))
    facets = Facets(together, y_title="", one_page=False)
    for panel in facets:
        here = rows_of(rows, dimension=panel.dimension)
        _join(facets.figure, here, lines, panel)
        for i, group in enumerate(groups):
            own = rows_of(here, rater_group=group)
            # Side by side, or the intervals would lie on each other.
            shift = BARS * (i / max(len(groups) - 1, 1) - 0.5)
            heights = [lines[score] + shift for score in own["score"]]
            colour, symbol = GROUP_LOOKS[i % len(GROUP_LOOKS)]
            draw_dots(
                facets.figure,
                own,
                ("pairwise_accuracy", "ci_low", "ci_high"),
                heights,
                name=str(group),
                colours=[colour] * len(own),
                symbol=symbol,
                panel=panel,
                notes=[f"{row['n_pairs']:.0f} pairs, {p_text(row)}" for row in records(own)],
            )
    return finish_forest(
        facets,
        lines,
        middle=CHANCE,
        x_title=ACCURACY_AXIS,
        title=f"Groups of raters apart, {SCOPES.get(scope, scope)}",
        line_height=22,
    )


def sign_split(rows: DataFrame) -> str:
    """Whether groups disagree in sign about one score: `SHOWN`, `LEANS` or ""."""
    if (rows["ci_low"] > CHANCE).any() and (rows["ci_high"] < CHANCE).any():
        return SHOWN
    values = rows["pairwise_accuracy"]
    return LEANS if (values > CHANCE).any() and (values < CHANCE).any() else ""


def _join(figure: go.Figure, rows: DataFrame, lines: dict[str, int], panel: Panel) -> None:
    """A line from the lowest group to the highest, for each score."""
    looks = {SHOWN: (CREATIVE, 5, 1.0), LEANS: (CREATIVE, 2, 0.6), "": (NULL, 2, 0.5)}
    ends: dict[str, list[tuple[float, float, int]]] = {kind: [] for kind in looks}
    for score, line in lines.items():
        here = rows_of(rows, score=score)
        if len(here) > 1:
            values = here["pairwise_accuracy"]
            ends[sign_split(here)].append((float(values.min()), float(values.max()), line))
    for kind, (colour, width, opacity) in looks.items():
        if not ends[kind]:
            continue
        name = kind or "the same side"
        figure.add_scatter(
            x=[x for low, high, _ in ends[kind] for x in (low, high, None)],
            y=[y for _, _, line in ends[kind] for y in (line, line, None)],
            mode="lines",
            line={"color": colour, "width": width},
            opacity=opacity,
            name=name,
            legendgroup=name,
            legendrank=1001,
            showlegend=name not in panel.fresh,
            hoverinfo="skip",
            **panel.where,
        )
        panel.fresh.add(name)
