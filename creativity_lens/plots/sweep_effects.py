"""Where and on what the recommended steering acts: by prompt and by reading layer.

Each figure takes the tidy tables of a sweep and raises InputError where it has nothing to draw.
"""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
from pandas import DataFrame, isna

from creativity_lens.errors import InputError
from creativity_lens.plots.draw import draw_curve, finished, needed, rows_of
from creativity_lens.plots.style import CREATIVE, INK, NULL, STEERED, plain
from creativity_lens.plots.sweep_cells import (
    RECOMMENDED,
    opposite_of,
)
from creativity_lens.plots.sweep_rivals import CONTROL_DASHES, RIVALS
from creativity_lens.studies.sweep_effects import SIGNED_MODES, family

MOST_PROMPTS = 60
"""More prompts than this are cut down to those that move most either way."""


def prompt_effect_figure(
    prompt_effects: DataFrame,
    recommended: DataFrame,
    *,
    prompts: DataFrame | None = None,
    rivals: Mapping[str, str] | None = None,
    split: str = "test",
) -> go.Figure:
    """Score of each prompt's texts without and with the recommended steering, sorted by change.

    Args:
        prompt_effects: table `prompt_effects`.
        recommended: table `recommended`.
        prompts: table `prompts`, for the hover labels.
        rivals: name of a family to the cell that is marked on each line too.
        split: the prompts: `test`, `dev` or `all`.

    Raises:
        InputError: nothing is recommended, or it did not run on these prompts.
    """
    chosen = _chosen(recommended, "prompt_effect_figure")
    scores = rows_of(prompt_effects, metric="score")
    if split != "all":
        scores = rows_of(scores, split=split)
    rows = needed(scores, "prompt_effect_figure", cell_id=chosen["cell_id"])
    rows = rows.dropna(subset=["change"]).sort_values("change", kind="stable")
    cut = len(rows) > MOST_PROMPTS
    if cut:
        half = MOST_PROMPTS // 2
        rows = rows.iloc[[*range(half), *range(len(rows) - half, len(rows))]]
    # A backward push is meant to lower the score; modes without a sign are meant to raise it.
    sign = np.sign(chosen["strength"]) if chosen["mode"] in SIGNED_MODES else 1.0
    rows = rows.assign(wrong=sign * rows["change"] < 0, at=range(len(rows)))
    said: dict[str, str] = {}
    if prompts is not None and not prompts.empty:
        said = dict(zip(prompts["prompt_id"], prompts["prompt"], strict=True))
    figure = go.Figure()
    for wrong, colour, name in ((False, STEERED, "steered"), (True, CREATIVE, "the wrong way")):
        some = rows_of(rows, wrong=wrong)
        lines = some.to_dict("records")
        figure.add_scatter(
            x=[x for row in lines for x in (row["baseline"], row["value"], None)],
            y=[y for row in lines for y in (row["at"], row["at"], None)],
            mode="lines",
            line={"color": colour, "width": 3},
            opacity=0.5,
            name=f"change, {name}",
            showlegend=False,
            hoverinfo="skip",
        )
        figure.add_scatter(
            x=some["value"].tolist(),
            y=some["at"].tolist(),
            mode="markers",
            marker={"color": colour, "size": 9},
            name=name if wrong else "with the recommended steering",
            showlegend=bool(lines),
            hovertext=[_prompt_note(row, said) for row in lines],
            hoverinfo="text",
        )
    figure.add_scatter(
        x=rows["baseline"].tolist(),
        y=rows["at"].tolist(),
        mode="markers",
        marker={"color": INK, "size": 7, "symbol": "circle-open"},
        name="unsteered",
        hoverinfo="skip",
    )
    for rival, cell in (rivals or {}).items():
        called, symbol, colour = RIVALS.get(rival, (rival, "circle-open", NULL))
        values = rows_of(scores, cell_id=cell).set_index("prompt_id")["value"]
        other = rows["prompt_id"].map(values)
        figure.add_scatter(
            x=other.tolist(),
            y=rows["at"].tolist(),
            mode="markers",
            marker={"color": colour, "symbol": f"{symbol}-open", "size": 7},
            name=plain(called, 48),
            hovertemplate=f"%{{x:.3f}}<extra>{plain(called, 48)}</extra>",
        )
    figure.update_yaxes(
        tickvals=rows["at"].tolist(),
        ticktext=[plain(str(name), 28) for name in rows["prompt_id"]],
        range=[-0.7, len(rows) - 0.3],
        automargin=True,
        zeroline=False,
    )
    figure.update_xaxes(title_text="score, read by the unsteered model (mean cosine)")
    title = f"What it does to each of the {len(rows)} {split} prompts"
    if cut:
        title = f"The {MOST_PROMPTS} {split} prompts whose score moves furthest either way"
    return finished(figure, title=title, height=170 + 19 * len(rows))


def read_layer_figure(
    effects: DataFrame,
    cells: DataFrame,
    recommended: DataFrame,
    *,
    read_layer: int,
    split: str = "test",
) -> go.Figure:
    """Change of the score by the layer that reads it, beside controls of the same norm.

    Args:
        effects: table `effects`.
        cells: table `cells`; controls with the recommended cell's mode, layer, unit and size of
            strength are drawn, its opposite and the instruction.
        recommended: table `recommended`.
        read_layer: the layer at which claims are made; marked.
        split: the prompts.

    Raises:
        InputError: nothing is recommended, or it did not run on these prompts.
    """
    chosen = _chosen(recommended, "read_layer_figure")
    scores = rows_of(effects, metric="score", split=split)
    needed(scores, "read_layer_figure", cell_id=chosen["cell_id"])
    arms = [(str(chosen["cell_id"]), RECOMMENDED, STEERED, "solid", 0.16)]
    backwards = opposite_of(cells, recommended)
    if backwards is not None:
        called, _, colour = RIVALS["opposite"]
        arms.append((backwards, called, colour, "solid", 0.1))
    called, _, colour = RIVALS["instruction"]
    for cell in rows_of(cells, kind="instruction").to_dict("records"):
        arms.append((str(cell["cell_id"]), called, colour, "dash", 0.1))
    for cell in same_norm_controls(cells, chosen).to_dict("records"):
        called, _, colour = RIVALS[family(cell)]
        arms.append((str(cell["cell_id"]), called, colour, CONTROL_DASHES[family(cell)], 0.0))
    listed: set[str] = set()
    figure = go.Figure()
    for name, called, colour, dash, alpha in arms:
        curve = rows_of(scores, cell_id=name)
        if curve.empty:
            continue
        curve = curve.assign(layer=curve["read_layer"].astype(int)).sort_values("layer")
        draw_curve(
            figure,
            curve,
            "change",
            name=called,
            colour=colour,
            dash=dash,
            alpha=alpha,
            legend=called not in listed,
            notes=[f" {name}"] * len(curve),
            spelled="+.3f",
        )
        listed.add(called)
    figure.add_hline(y=0, line={"color": INK, "width": 0.7})
    marks = [(read_layer, "claims are made here", "dash", "bottom right")]
    if not isna(chosen["layer"]):
        marks.append((int(chosen["layer"]), "steered here", "dot", "top right"))
    for layer, says, dash, side in marks:
        figure.add_vline(
            x=layer,
            line={"color": INK, "dash": dash, "width": 1},
            annotation_text=says,
            annotation_position=side,
        )
    figure.update_xaxes(
        title_text="layer at which the unsteered model reads the text",
        tickvals=sorted(scores["read_layer"].astype(int).unique().tolist()),
    )
    figure.update_yaxes(title_text="change of the score")
    return finished(
        figure,
        title=f"The same change by the layer that reads it, {split} prompts",
        height=470,
        legend_rows=2,
    )


def same_norm_controls(cells: DataFrame, chosen: Mapping[Hashable, Any]) -> DataFrame:
    """Cells along control directions that push as far as a cell does, at its layer."""
    controls = rows_of(cells, kind="control", mode=chosen["mode"], unit=chosen["unit"])
    if controls.empty:
        return controls
    controls = controls[controls.apply(family, axis=1).isin(CONTROL_DASHES)]
    layers = controls["layer"].astype("float64")
    at = layers.isna() if isna(chosen["layer"]) else layers == chosen["layer"]
    sizes = controls["strength"].astype(float).abs()
    return controls[at & np.isclose(sizes, abs(chosen["strength"]))]


def _chosen(recommended: DataFrame, figure: str) -> Mapping[Hashable, Any]:
    if recommended.empty:
        raise InputError(
            f"{figure} has nothing to draw: no cell is recommended, so there is none whose effect "
            "it could show. Leave the figure out."
        )
    first: Mapping[Hashable, Any] = recommended.head(1).to_dict("records")[0]
    return first


def _prompt_note(row: Mapping[Hashable, Any], said: Mapping[str, str]) -> str:
    prompt = said.get(row["prompt_id"], "")
    return (
        f"{plain(str(row['prompt_id']), 60)}: {row['baseline']:.3f} to {row['value']:.3f} "
        f"({row['change']:+.3f})<br>{plain(str(prompt), 120)}"
    )
