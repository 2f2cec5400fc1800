"""Judges: how much they go by position, and how far judges, scores and people agree."""

from typing import Any, NamedTuple

import plotly.graph_objects as go
from pandas import DataFrame, isna

from creativity_lens.plots.agreement_panels import CHANCE, number, records
from creativity_lens.plots.draw import finished, names_in, needed, panels
from creativity_lens.plots.style import DIVERGING, INK, UNCREATIVE, plain
from creativity_lens.studies.evaluate_tables import column_name


class _Measure(NamedTuple):
    title: str
    names: tuple[str, ...]
    """What it is called in the table `judges`."""
    axis: str
    reference: float
    """The value to hold it against."""
    ends: tuple[float, float]


MEASURES = (
    _Measure(
        "position bias", ("position bias",), "0 = none, 0.5 = always the first", 0.0, (-0.55, 0.55)
    ),
    _Measure(
        "consistency", ("consistency",), "share of pairs; 0.5 = a coin", CHANCE, (-0.05, 1.05)
    ),
    _Measure(
        "mass on the answers",
        ("mass on the labels", "mass on the scale"),
        "1 = follows the format",
        1.0,
        (-0.05, 1.05),
    ),
)
"""What is drawn of a judge; what else is known of it is left to the table."""
MOST_NAMES = 24
MOST_PEOPLE = 12


def judge_figure(judges: DataFrame) -> go.Figure:
    """Position bias, consistency and mass on the labels of each judge, a panel a measure.

    Args:
        judges: table `judges`; measures that `MEASURES` does not name are left to the table.

    Raises:
        InputError: no such measure is known.
    """
    known = {name for measure in MEASURES for name in measure.names}
    if len(judges):
        judges = judges[judges["measure"].isin(known) & judges["value"].notna()]
    rows = needed(judges, "judge_figure")
    found = set(rows["measure"])
    drawn = [measure for measure in MEASURES if found.intersection(measure.names)]
    lines = {name: line for line, name in enumerate(names_in(rows, "judge"))}
    figure = panels([measure.title for measure in drawn], y_title="")
    for column, measure in enumerate(drawn, start=1):
        here = rows[rows["measure"].isin(measure.names)]
        where = {"row": 1, "col": column}
        figure.add_scatter(
            x=here["value"].tolist(),
            y=[lines[name] for name in here["judge"]],
            mode="markers",
            marker={"size": 11, "color": UNCREATIVE},
            name=measure.title,
            showlegend=False,
            hovertext=[_judge_note(row) for row in records(here)],
            hoverinfo="text",
            **where,
        )
        figure.add_vline(x=measure.reference, line={"color": INK, "width": 1}, **where)
        figure.update_xaxes(
            title_text=measure.axis, range=list(measure.ends), zeroline=False, **where
        )
    figure.update_yaxes(
        tickvals=list(lines.values()),
        ticktext=[plain(str(name), 32) for name in lines],
        range=[len(lines) - 0.4, -0.6],
        automargin=True,
        zeroline=False,
    )
    return finished(
        figure,
        title="Do the judges look at the texts?",
        height=210 + 34 * len(lines),
        legend_rows=0,
    )


def between_figure(between: DataFrame, agreement: DataFrame | None = None) -> go.Figure:
    """Accuracy of judges and scores against each other and against people, as a matrix.

    A pair that the table holds one way is shown both ways. People stand in columns of their own, a
    column for each dimension and group of raters, the first `MOST_PEOPLE` of them.

    Args:
        between: table `between`.
        agreement: the rows of table `agreement` of one scope, without a layer or at the primary
            one, for the columns of people.

    Raises:
        InputError: no pair has an accuracy.
    """
    rows = between[between["pairwise_accuracy"].notna()] if len(between) else between
    rows = needed(rows, "between_figure")
    names = list(dict.fromkeys([*rows["first"], *rows["second"]]))[:MOST_NAMES]
    cells = {}
    for row in records(rows):
        cells[(row["first"], row["second"])] = row
        cells.setdefault((row["second"], row["first"]), row)
    columns = list(names)
    for row in records(agreement if agreement is not None else DataFrame()):
        layer = row["layer"]
        named = {row["score"], column_name(row["score"], None if isna(layer) else int(layer))}
        people = f"people: {row['dimension']}, {row['rater_group']}"
        for name in named.intersection(names):
            if people not in columns and len(columns) < len(names) + MOST_PEOPLE:
                columns.append(people)
            cells.setdefault((name, people), row | {"first": name, "second": people})
    found = [[cells.get((name, column)) for column in columns] for name in names]
    values: list[list[float | None]] = [
        [None if cell is None else float(cell["pairwise_accuracy"]) for cell in line]
        for line in found
    ]
    figure = go.Figure()
    figure.add_heatmap(
        z=values,
        zmin=0.2,
        zmax=0.8,
        colorscale=[list(stop) for stop in DIVERGING],
        text=[["" if v is None or v != v else f"{v:.2f}" for v in line] for line in values],
        texttemplate="%{text}",
        hovertext=[["" if cell is None else _pair_note(cell) for cell in line] for line in found],
        hoverinfo="text",
        hoverongaps=False,
        xgap=2,
        ygap=2,
        colorbar={"title": {"text": "accuracy"}, "thickness": 12},
        name="between",
    )
    figure.update_xaxes(
        tickvals=list(range(len(columns))),
        ticktext=[plain(str(name), 40) for name in columns],
        showgrid=False,
        tickangle=-30,
        zeroline=False,
        automargin=True,
    )
    figure.update_yaxes(
        tickvals=list(range(len(names))),
        ticktext=[plain(str(name), 32) for name in names],
        showgrid=False,
        autorange="reversed",
        automargin=True,
        zeroline=False,
    )
    return finished(
        figure,
        title="Who agrees with whom (0.5 = chance)",
        height=290 + 36 * len(names),
        legend_rows=0,
    )


def _judge_note(row: dict[str, Any]) -> str:
    said = f"{plain(str(row['judge']), 60)}: {number(row['value'])}"
    return f"{said}<br>{plain(str(row['note']), 120)}" if row["note"] else said


def _pair_note(row: dict[str, Any]) -> str:
    return (
        f"{plain(str(row['first']), 60)} and {plain(str(row['second']), 60)}: "
        f"{number(row['pairwise_accuracy'])} [{number(row['ci_low'])}, {number(row['ci_high'])}], "
        f"{row['n_pairs']:.0f} pairs<br>"
        f"tau {number(row['kendall'])}, rho {number(row['spearman'])}"
    )
