"""What is left of each score's agreement when length cannot help it."""

from typing import Any

import plotly.graph_objects as go
from pandas import DataFrame

from creativity_lens.plots.agreement_forest import draw_dots, finish_forest, known_rows, lines_of
from creativity_lens.plots.agreement_panels import (
    ACCURACY_AXIS,
    CHANCE,
    KINDS,
    SCOPES,
    Facets,
    number,
    records,
)
from creativity_lens.plots.draw import rows_of
from creativity_lens.plots.style import NULL

COMMON_LENGTH = "_common_length"
MARKS = (
    # name, column and symbol, and how far above or below the line's middle
    ("all pairs", "pairwise_accuracy", "ci_low", "ci_high", "circle", -0.22),
    ("pairs of like length", "matched_accuracy", "matched_low", "matched_high", "diamond-open", 0),
    ("cut to a common length", "common", "common_low", "common_high", "triangle-up-open", 0.22),
)


def length_figure(agreement: DataFrame, *, primary: int | None, scope: str) -> go.Figure:
    """Accuracy on all pairs, on pairs of like length, and of beginnings of a common length.

    Args:
        agreement: table `agreement`.
        primary: the primary layer; None if no model read the texts.
        scope: which pairs.

    Raises:
        InputError: no accuracy on pairs of like length is known.
    """
    asked = "length_figure"
    rows = rows_of(agreement, scope=scope)
    rows = with_common_length(known_rows(rows, primary, "matched_accuracy", asked), rows)
    lines = lines_of(rows)
    facets = Facets(rows, y_title="", one_page=False)
    for panel in facets:
        here = rows_of(rows, dimension=panel.dimension, rater_group=panel.group)
        for name, value, low, high, symbol, shift in MARKS:
            some = here[here[value].notna()]
            draw_dots(
                facets.figure,
                some,
                (value, low, high),
                [lines[score] + shift for score in some["score"]],
                name=name,
                # Kinds keep their colours; the legend tells the symbols.
                colours=[KINDS.get(kind, ("", NULL))[1] for kind in some["kind"]],
                symbol=symbol,
                panel=panel,
                notes=[_length_note(row, value) for row in records(some)],
            )
    return finish_forest(
        facets,
        lines,
        middle=CHANCE,
        x_title=ACCURACY_AXIS,
        title=f"What is left when length cannot help, {SCOPES.get(scope, scope)}",
        line_height=28,
    )


def with_common_length(rows: DataFrame, agreement: DataFrame) -> DataFrame:
    """Rows of scores with the accuracy of the same score over a common length beside them.

    `cosine_common_length+prompt` stands beside `cosine+prompt`, in columns `common`, `common_low`
    and `common_high`; NaN where there is none.
    """
    values: dict[tuple[Any, ...], tuple[float, float, float]] = {}
    cut = agreement[agreement["score"].str.contains(COMMON_LENGTH, regex=False)]
    keys = ("layer", "dimension", "rater_group")
    for row in records(cut):
        score = str(row["score"]).replace(COMMON_LENGTH, "")
        ends = (row["pairwise_accuracy"], row["ci_low"], row["ci_high"])
        values[(score, *(row[key] for key in keys))] = ends
    nothing = (float("nan"),) * 3
    found = [
        values.get((row["score"], *(row[key] for key in keys)), nothing) for row in records(rows)
    ]
    names = ("common", "common_low", "common_high")
    kept = rows.assign(**{name: [ends[i] for ends in found] for i, name in enumerate(names)})
    return kept[~kept["score"].str.contains(COMMON_LENGTH, regex=False)]


def _length_note(row: dict[str, Any], column: str) -> str:
    if column == "matched_accuracy":
        rho = number(row["partial_spearman"])
        return f"{number(row['matched_pairs'], '.0f')} pairs; given length rho {rho}"
    return f"{row['n_pairs']:.0f} pairs"
