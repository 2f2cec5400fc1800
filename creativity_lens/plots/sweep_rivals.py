"""The rivals of a sweep at equal cost, and what is lost when the direction is taken away.

Each figure takes a tidy table of a sweep and raises InputError where it has nothing to draw.
"""

from collections.abc import Hashable, Mapping
from typing import Any

import plotly.graph_objects as go
from pandas import DataFrame, isna
from plotly.subplots import make_subplots

from creativity_lens.plots.draw import draw_forest, finished, names_in, needed, rows_of
from creativity_lens.plots.style import CREATIVE, INK, NEUTRAL, NULL, RIVAL, UNCREATIVE, plain
from creativity_lens.plots.sweep_cells import layer_name
from creativity_lens.studies.sweep_claims import CALLED
from creativity_lens.studies.sweep_effects import family

RIVALS = {
    "instruction": (CALLED["instruction"], "star-diamond", CREATIVE),
    "temperature": (CALLED["temperature"], "triangle-up", RIVAL),
    "min_p": (CALLED["min_p"], "triangle-down", RIVAL),
    "within": (CALLED["within"], "x", NULL),
    "shuffled": (CALLED["shuffled"], "cross", NULL),
    "unrelated": (CALLED["unrelated"], "diamond", NEUTRAL),
    "opposite": ("the same direction backwards", "square", UNCREATIVE),
}
"""How each family of rivals is called and drawn."""
COSTS = {"norm": "norm", "nll": "NLL", "kl": "KL"}
"""How each cost is called at which rivals are matched."""
CONTROL_DASHES = {"within": "dash", "shuffled": "dot", "unrelated": "dashdot"}
"""How the families of control directions are drawn where they are lines."""


def matched_figure(matched: DataFrame) -> go.Figure:
    """By how much the recommended steering beats each rival at equal cost, with intervals.

    Args:
        matched: table `matched`; what could not be matched is listed without a point.

    Raises:
        InputError: it has no rows.
    """
    rows = needed(matched, "matched_figure")
    costs = names_in(rows, "cost")
    rivals = names_in(rows, "rival")
    figure = make_subplots(
        rows=1,
        cols=len(costs),
        shared_yaxes=True,
        subplot_titles=[f"at equal {plain(COSTS.get(cost, str(cost)), 40)}" for cost in costs],
        horizontal_spacing=0.04,
    )
    for column, cost in enumerate(costs, start=1):
        where, found = {"row": 1, "col": column}, rows_of(rows, cost=cost)
        names = [_called(rival) for rival in found["rival"]]
        draw_forest(
            figure,
            found,
            "difference",
            labels=names,
            colours=[RIVALS.get(rival, ("", "", NULL))[2] for rival in found["rival"]],
            notes=[_matched_note(row) for row in found.to_dict("records")],
            spelled="+.3f",
            where=where,
        )
        for name, difference in zip(names, found["difference"], strict=True):
            if isna(difference):
                figure.add_annotation(
                    x=0,
                    y=plain(name, 48),
                    text="not matched",
                    showarrow=False,
                    xanchor="left",
                    xshift=4,
                    bgcolor="white",
                    font={"size": 11, "color": NULL},
                    **where,
                )
        figure.add_vline(x=0, line={"color": INK, "width": 1}, **where)
        figure.update_xaxes(title_text="steered less rival", **where)
    figure.update_yaxes(
        categoryorder="array", categoryarray=[plain(_called(rival), 48) for rival in rivals]
    )
    return finished(
        figure,
        title="Steering less each rival: change of the score at equal cost",
        height=190 + 34 * len(rivals),
        legend_rows=0,
    )


def _called(rival: object) -> str:
    return RIVALS.get(str(rival), (str(rival), "", ""))[0]


def _matched_note(row: Mapping[Hashable, Any]) -> str:
    if isna(row["difference"]):
        return str(row["note"])
    return (
        f"steered {row['steered_change']:+.3f}, rival {row['rival_change']:+.3f}, at "
        f"{row['at']:.3g}, {int(row['n_prompts'])} prompts"
    )


def necessity_figure(necessity: DataFrame) -> go.Figure:
    """How much of the instruction's effect goes when a direction is ablated under it.

    Args:
        necessity: table `necessity`.

    Raises:
        InputError: it has no rows.
    """
    rows = needed(necessity, "necessity_figure").reset_index(drop=True)
    labels = [
        f"{direction}, {layer_name(layer)}"
        for direction, layer in zip(rows["direction"], rows["layer"], strict=True)
    ]
    families = [family({"kind": "control", "direction": name}) for name in rows["direction"]]
    colours = [NULL if name in CONTROL_DASHES else CREATIVE for name in families]
    figure = make_subplots(
        rows=1,
        cols=2,
        shared_yaxes=True,
        subplot_titles=["change of the score: lost and remaining", "share of the change lost"],
        horizontal_spacing=0.05,
        column_widths=[0.58, 0.42],
    )
    left, right = {"row": 1, "col": 1}, {"row": 1, "col": 2}
    notes = [_necessity_note(row) for row in rows.to_dict("records")]
    draw_forest(
        figure,
        rows,
        "lost",
        labels=labels,
        colours=colours,
        notes=notes,
        spelled="+.3f",
        where=left,
    )
    figure.add_scatter(
        x=rows["remaining_change"].tolist(),
        y=[plain(label, 48) for label in labels],
        mode="markers",
        marker={"size": 9, "symbol": "circle-open", "color": NEUTRAL, "line": {"width": 2}},
        name="remaining",
        hovertemplate="%{y}: %{x:+.3f} remains<extra></extra>",
        **left,
    )
    figure.add_scatter(
        x=[None],
        y=[plain(labels[0], 48)],
        mode="markers",
        marker={"size": 9, "color": CREATIVE},
        name="lost, with its interval (grey: control directions)",
        **left,
    )
    share = rows.rename(columns={"share_lost": "share"})
    draw_forest(figure, share, "share", labels=labels, colours=colours, notes=notes, where=right)
    whole = rows["instructed_change"].dropna().unique()
    for value in whole[:1]:
        figure.add_vline(
            x=float(value),
            line={"color": CREATIVE, "dash": "dot"},
            annotation_text="all that the instruction gives",
            annotation_position="bottom right",
            **left,
        )
    for where in (left, right):
        figure.add_vline(x=0, line={"color": INK, "width": 1}, **where)
    figure.add_vline(x=1, line={"color": CREATIVE, "dash": "dot"}, **right)
    figure.update_xaxes(title_text="change of the score", **left)
    # The share is a ratio: where the instruction does little its interval has no end.
    figure.update_xaxes(title_text="1 = all of it", range=[-1.1, 2.1], **right)
    return finished(
        figure,
        title="The instruction stands, the direction is ablated: what is lost",
        height=190 + 34 * len(rows),
    )


def _necessity_note(row: Mapping[Hashable, Any]) -> str:
    numbers = "; ".join(
        f"{name} {row[column]:+.3f}"
        for name, column in (
            ("instruction", "instructed_change"),
            ("remaining", "remaining_change"),
            ("NLL", "nll_change"),
        )
        if not isna(row[column])
    )
    return f"{numbers}; {int(row['n_prompts'])} prompts"
