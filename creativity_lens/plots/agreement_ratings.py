"""Score against rating within prompts, and the accuracy on each prompt where there are few."""

import math
from typing import Any

import plotly.graph_objects as go
from pandas import DataFrame

from creativity_lens.plots.agreement_panels import (
    CHANCE,
    SCOPES,
    Facets,
    Panel,
    records,
)
from creativity_lens.plots.draw import PALETTE, names_in, needed, rows_of
from creativity_lens.plots.style import CREATIVE, INK, plain
from creativity_lens.studies.evaluate_tables import column_name

FEW_PROMPTS = 10
"""With fewer prompts than this each is shown: the interval says nothing of other prompts."""
MOST_POINTS = 1500
"""More texts than this in a panel are thinned evenly; the line is of all."""


def score_rating_figure(
    ratings: DataFrame, scores: DataFrame, *, score: str, layer: int | None, scope: str
) -> go.Figure:
    """Score against rating, each less the mean of its prompt, a panel for each group of raters.

    What differs between prompts is taken out, because only texts on one prompt are compared. Where
    pairs stay within the author type, the mean is that of the prompt's texts of the same type.

    Args:
        ratings: table `ratings`.
        scores: table `scores`; its column `text`, if there is one, is shown in the hover labels.
        score: the score.
        layer: its layer, or None.
        scope: which pairs.

    Raises:
        InputError: no two texts of one prompt have both.
    """
    name = column_name(score, layer)
    points = centred_points(ratings, scores, name, scope)
    points = needed(points, "score_rating_figure")
    facets = Facets(points, y_title=f"{plain(name, 60)}, less its prompt's mean", one_page=False)
    authors = names_in(points, "author_type")
    for panel in facets:
        here = rows_of(points, dimension=panel.dimension, rater_group=panel.group)
        step = max(1, math.ceil(len(here) / MOST_POINTS))
        for author, colour in zip(authors, _cycle(len(authors)), strict=True):
            called = str(author) or "author type not known"
            _cloud(facets.figure, rows_of(here, author_type=author)[::step], called, colour, panel)
        _line(facets.figure, here, panel)
    for place in facets.everywhere():
        facets.figure.add_hline(y=0, line={"color": INK, "width": 0.7}, **place)
        facets.figure.add_vline(x=0, line={"color": INK, "width": 0.7}, **place)
    facets.figure.update_xaxes(title_text="mean rating, less its prompt's mean", zeroline=False)
    facets.figure.update_yaxes(zeroline=False)
    block = "prompt and author type" if scope != "prompt" else "prompt"
    return facets.finished(
        title=f"Score and rating of texts on one {block}",
        height=170 + 330 * facets.n_rows,
        legend_rows=2,
    )


def centred_points(ratings: DataFrame, scores: DataFrame, column: str, scope: str) -> DataFrame:
    """Rating and score of each text and comparison, less the means of the texts it is held against.

    Returns:
        The rows of `ratings` that have a score, with `x`, `y`, `score` and `text`; none where a
        text stands alone in its prompt (or prompt and author type).
    """
    if ratings.empty or scores.empty or column not in scores:
        return DataFrame()
    known = scores.drop_duplicates("text_id").set_index("text_id")
    said = known.get("text")
    rows = ratings.assign(
        score=ratings["text_id"].map(known[column]).astype(float),
        text="" if said is None else ratings["text_id"].map(said).fillna(""),
    )
    rows = rows[rows["score"].notna() & rows["rating"].notna()]
    if scope != "prompt":
        rows = rows[rows["author_type"] != ""]
    block = ["dimension", "rater_group", "prompt_id"]
    block += ["author_type"] if scope != "prompt" else []
    grouped = rows.groupby(block, sort=False)
    rows = rows.assign(
        x=rows["rating"] - grouped["rating"].transform("mean"),
        y=rows["score"] - grouped["score"].transform("mean"),
        beside=grouped["score"].transform("size"),
    )
    return rows[rows["beside"] > 1]


def _cycle(n: int) -> list[str]:
    return [PALETTE[(i + 1) % len(PALETTE)] for i in range(n)]


def _cloud(figure: go.Figure, rows: DataFrame, name: str, colour: str, panel: Panel) -> None:
    if rows.empty:
        return
    shown = plain(name, 40)
    figure.add_scatter(
        x=rows["x"].tolist(),
        y=rows["y"].tolist(),
        mode="markers",
        marker={"size": 7 if len(rows) < 300 else 5, "color": colour, "opacity": 0.55},
        name=shown,
        legendgroup=shown,
        showlegend=shown not in panel.fresh,
        hovertext=[_text_note(row) for row in records(rows)],
        hoverinfo="text",
        **panel.where,
    )
    panel.fresh.add(shown)


def _text_note(row: dict[str, Any]) -> str:
    return (
        f"{plain(str(row['text_id']), 40)} on {plain(str(row['prompt_id']), 40)}: rated "
        f"{row['rating']:.2f}, score {row['score']:.3f}<br>{plain(str(row['text']), 90)}"
    )


def _line(figure: go.Figure, rows: DataFrame, panel: Panel) -> None:
    """The line of least squares through all points; they are centred, so it goes through 0."""
    x, y = rows["x"].to_numpy(float), rows["y"].to_numpy(float)
    spread = float(x @ x)
    if not spread > 0:
        return
    slope = float(x @ y) / spread
    ends = [float(x.min()), float(x.max())]
    name = "line within prompts"
    figure.add_scatter(
        x=ends,
        y=[slope * end for end in ends],
        mode="lines",
        line={"color": CREATIVE, "width": 2},
        name=name,
        legendgroup=name,
        showlegend=name not in panel.fresh,
        hovertemplate=f"{slope:+.3g} for each point of rating<extra>{name}</extra>",
        **panel.where,
    )
    panel.fresh.add(name)


def prompt_accuracy_figure(
    per_prompt: DataFrame, *, score: str, layer: int | None, scope: str
) -> go.Figure:
    """Accuracy of a score on each prompt, a panel for each dimension and group, when there are few.

    Args:
        per_prompt: table `per_prompt`.
        score: the score.
        layer: its layer, or None.
        scope: which pairs.

    Raises:
        InputError: no prompt holds a pair, or there are `FEW_PROMPTS` or more.
    """
    rows = rows_of(per_prompt, scope=scope, score=score)
    if len(rows):
        at = rows["layer"].isna() if layer is None else rows["layer"] == layer
        rows = rows[at.astype(bool) & rows["accuracy"].notna() & (rows["n_pairs"] > 0)]
    prompts = names_in(rows, "prompt_id") if len(rows) else []
    few = rows if len(prompts) < FEW_PROMPTS else rows[:0]
    rows = needed(few, "prompt_accuracy_figure")
    lines = {name: line for line, name in enumerate(prompts)}
    largest = float(rows["n_pairs"].max())
    facets = Facets(rows.drop(columns="n_pairs"), y_title="", one_page=True)
    for panel in facets:
        here = rows_of(rows, dimension=panel.dimension, rater_group=panel.group)
        facets.figure.add_scatter(
            x=here["accuracy"].tolist(),
            y=[lines[name] for name in here["prompt_id"]],
            mode="markers",
            marker={
                "size": [6 + 12 * math.sqrt(n / largest) for n in here["n_pairs"]],
                "color": CREATIVE,
            },
            name=plain(column_name(score, layer)),
            showlegend=False,
            hovertext=[
                f"{plain(str(row['prompt_id']), 60)}: {row['accuracy']:.2f} of "
                f"{row['n_pairs']:.0f} pairs"
                for row in records(here)
            ],
            hoverinfo="text",
            **panel.where,
        )
    for place in facets.everywhere():
        facets.figure.add_vline(x=CHANCE, line={"color": INK, "width": 1}, **place)
    facets.figure.update_yaxes(
        tickvals=list(lines.values()),
        ticktext=[plain(str(name), 28) for name in lines],
        range=[len(lines) - 0.4, -0.6],
        automargin=True,
        zeroline=False,
    )
    facets.figure.update_xaxes(title_text="accuracy", range=[-0.05, 1.05], zeroline=False)
    return facets.finished(
        title=f"Prompt by prompt, {SCOPES.get(scope, scope)}",
        height=170 + (28 * len(lines) + 60) * facets.n_rows,
        legend_rows=0,
    )
