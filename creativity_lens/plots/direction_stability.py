"""How stable a direction is, and how far other ways to find it agree.

Each figure takes a tidy table of a probe study and raises InputError where it has no rows.
"""

import math

import numpy as np
import plotly.graph_objects as go
from pandas import DataFrame

from creativity_lens.plots.draw import (
    CONTEXT_COLOURS,
    draw_band,
    draw_curve,
    finished,
    names_in,
    needed,
    panels,
    rows_of,
)
from creativity_lens.plots.layers import LAYER_AXIS
from creativity_lens.plots.style import CREATIVE, INK, NULL, STEERED, UNCREATIVE, plain

# Blue for opposite, white for unrelated, orange for the same.
COSINE_SCALE = ((0.0, UNCREATIVE), (0.5, "#FFFFFF"), (1.0, CREATIVE))
FARTHEST = 1e6
"""Premises beyond which a learning curve is not drawn on."""


def stability_figure(stability: DataFrame) -> go.Figure:
    """Split-half and bootstrap cosines by layer, and the expected one with the true direction.

    Args:
        stability: table `stability`. The bands are the middle 95 % of splits and of resamplings.

    Raises:
        InputError: it has no rows.
    """
    rows = needed(stability, "stability_figure")
    contexts = names_in(rows, "context")
    figure = panels(contexts, y_title="cosine")
    for column, context in enumerate(contexts, start=1):
        where, first = {"row": 1, "col": column}, column == 1
        found = rows_of(rows, context=context)
        draw_curve(
            figure,
            found,
            "bootstrap",
            name="premises resampled, with the full one (flatters)",
            colour=NULL,
            dash="dot",
            legend=first,
            where=where,
        )
        draw_curve(
            figure,
            found,
            "split_half",
            name="one half of the premises with the other",
            colour=CREATIVE,
            legend=first,
            where=where,
        )
        figure.add_scatter(
            x=found["layer"].tolist(),
            y=found["with_truth"].tolist(),
            mode="lines+markers",
            marker={"size": 5, "symbol": "diamond"},
            line={"color": STEERED, "dash": "dash"},
            name="expected with endless premises' direction",
            legendgroup="truth",
            showlegend=first,
            hovertemplate="layer %{x}: %{y:.2f}<extra>expected with the truth</extra>",
            **where,
        )
        figure.add_hline(y=0, line={"color": INK, "width": 0.7}, **where)
    figure.update_xaxes(title_text=LAYER_AXIS if len(contexts) == 1 else "layer")
    low = float(rows[["split_half_low", "bootstrap_low"]].min().min())
    figure.update_yaxes(range=[min(-0.03, low - 0.03), 1.03])
    return finished(figure, title="Would other premises give the same direction?", height=460)


def learning_curve_figure(
    learning_curve: DataFrame, layer: int, *, wanted: float = 0.9
) -> go.Figure:
    """Cosine between directions of n premises each, measured, and fitted beyond what there was.

    Args:
        learning_curve: table `learning_curve`.
        layer: which layer.
        wanted: the cosine to which the fit n / (n + k) is drawn on.

    Raises:
        InputError: no rows of that layer.
    """
    rows = needed(learning_curve, "learning_curve_figure", layer=layer)
    figure = go.Figure()
    for i, context in enumerate(names_in(rows, "context")):
        found = rows_of(rows, context=context).sort_values("n_premises")
        colour, shown = CONTEXT_COLOURS.get(context, NULL), plain(context)
        cosine = found["cosine"].to_numpy(float)
        figure.add_scatter(
            x=found["n_premises"].tolist(),
            y=cosine.tolist(),
            error_y={
                "type": "data",
                "symmetric": False,
                "array": (found["cosine_high"].to_numpy(float) - cosine).tolist(),
                "arrayminus": (cosine - found["cosine_low"].to_numpy(float)).tolist(),
                "thickness": 1,
            },
            mode="markers",
            marker={"color": colour, "size": 8},
            name=f"{shown}: measured, range over choices of premises",
            hovertemplate=f"%{{x}} premises: %{{y:.2f}}<extra>{shown}</extra>",
        )
        n, y = _fitted(found, wanted)
        figure.add_scatter(
            x=n,
            y=y,
            mode="lines",
            line={"color": colour, "dash": "dot"},
            name=f"{shown}: n / (n + k)",
            hovertemplate=f"%{{x:,.0f}} premises: %{{y:.2f}} expected<extra>{shown}</extra>",
        )
        if not any(y):
            figure.add_annotation(
                text=f"{shown}: no agreement was found, so none is expected of any number",
                xref="paper",
                yref="paper",
                x=0.01,
                y=0.97 - 0.07 * i,
                showarrow=False,
            )
    figure.add_hline(
        y=wanted,
        line={"color": INK, "dash": "dash", "width": 1},
        annotation_text="wanted",
        annotation_position="bottom left",
    )
    figure.update_xaxes(title_text="premises in each of the two sets (log scale)", type="log")
    figure.update_yaxes(title_text="cosine between the two directions")
    return finished(
        figure,
        title=f"How the direction settles with more premises, layer {layer}",
        height=440,
        legend_rows=2,
    )


def _fitted(rows: DataFrame, wanted: float) -> tuple[list[float], list[float]]:
    """The curve n / (n + k) from one premise to where it reaches `wanted`, or to `FARTHEST`."""
    sizes, fitted = rows["n_premises"].to_numpy(float), rows["fitted"].to_numpy(float)
    last = sizes[-1]
    # k is not in the table, but any point of the fit gives it.
    k = last * (1 - fitted[-1]) / fitted[-1] if fitted[-1] > 0 else math.inf
    end = max(last, k * wanted / (1 - wanted)) if math.isfinite(k) else last
    n = np.geomspace(sizes[0], min(end, FARTHEST), 60)
    return n.tolist(), (n / (n + k)).tolist()


def premises_needed_figure(stability: DataFrame) -> go.Figure:
    """How many premises give the wanted cosine, by layer, with intervals, on a log axis.

    Args:
        stability: table `stability`. Where no number is enough, a marker stands at the top.

    Raises:
        InputError: it has no rows.
    """
    rows = needed(stability, "premises_needed_figure")
    names = [f"premises_needed{end}" for end in ("", "_low", "_high")]
    values = rows[names].to_numpy(float)
    had = int(rows["n_premises"].max())
    finite = values[np.isfinite(values)]
    top = 10.0 ** (math.ceil(math.log10(max(had, *finite, 1))) + 0.5)
    figure = go.Figure()
    for context in names_in(rows, "context"):
        found = rows_of(rows, context=context)
        layers = found["layer"].tolist()
        middle, low, high = (found[name].to_numpy(float) for name in names)
        colour, shown = CONTEXT_COLOURS.get(context, NULL), plain(context)
        draw_band(
            figure,
            layers,
            np.clip(low, 1, top).tolist(),
            np.clip(high, 1, top).tolist(),
            name=f"{shown}, 95 %",
            group=shown,
            colour=colour,
        )
        figure.add_scatter(
            x=layers,
            y=[value if math.isfinite(value) else None for value in middle],
            mode="lines+markers",
            marker={"size": 5},
            line={"color": colour},
            name=shown,
            legendgroup=shown,
            customdata=[[_count(a), _count(b)] for a, b in zip(low, high, strict=True)],
            hovertemplate=(
                "layer %{x}: %{y:,.0f} [%{customdata[0]}, %{customdata[1]}]"
                f"<extra>{shown}</extra>"
            ),
        )
        endless = [x for x, value in zip(layers, middle, strict=True) if math.isinf(value)]
        figure.add_scatter(
            x=endless,
            y=[top] * len(endless),
            mode="markers+text",
            marker={"symbol": "triangle-up", "size": 10, "color": colour},
            text=["∞"] * len(endless),
            textposition="bottom center",
            name=f"{shown}: no number is enough",
            showlegend=bool(endless),
            hovertemplate=f"layer %{{x}}: no number is enough<extra>{shown}</extra>",
        )
    figure.add_hline(y=had, line={"color": INK, "dash": "dash", "width": 1})
    figure.add_annotation(
        text=f"this run: {had}",
        xref="paper",
        x=0,
        y=math.log10(had),  # Plotly places annotations, unlike lines, by the logarithm
        xanchor="left",
        yanchor="top",
        showarrow=False,
    )
    figure.update_xaxes(title_text=LAYER_AXIS)
    figure.update_yaxes(
        title_text="premises (log scale)", type="log", range=[0, math.log10(top) + 0.1]
    )
    wanted = float(rows["wanted"].iloc[0])
    return finished(
        figure, title=f"Premises needed for two directions to agree by {wanted:g}", height=440
    )


def _count(value: float) -> str:
    return f"{value:,.0f}" if math.isfinite(value) else "∞"


def agreement_figure(agreement: DataFrame, layer: int) -> go.Figure:
    """Cosines between ways to find the direction, with a slider over layers.

    Args:
        agreement: table `agreement`, each pair once; it is drawn on both sides of the diagonal.
        layer: the layer that is shown first.

    Raises:
        InputError: no rows of that layer.
    """
    needed(agreement, "agreement_figure", layer=layer)
    layers = sorted(names_in(agreement, "layer"))
    names = list(dict.fromkeys([*agreement["first"], *agreement["second"]]))
    grids = {at: _symmetric(rows_of(agreement, layer=at), names) for at in layers}
    shown = [plain(str(name), 40) for name in names]
    figure = go.Figure(
        go.Heatmap(
            x=shown,
            y=shown,
            z=grids[layer],
            texttemplate="%{z:.2f}",
            hovertemplate="%{y}, %{x}: %{z:.3f}<extra></extra>",
            colorscale=[list(step) for step in COSINE_SCALE],
            zmin=-1,
            zmax=1,
            showscale=False,
            xgap=2,
            ygap=2,
        )
    )
    steps = [
        {"method": "restyle", "label": str(at), "args": [{"z": [grid]}]}
        for at, grid in grids.items()
    ]
    figure.update_layout(
        sliders=[
            {
                "active": layers.index(layer),
                "steps": steps,
                "currentvalue": {"prefix": "layer ", "xanchor": "left"},
                "yanchor": "bottom",
                "y": 1.0,
                "pad": {"b": 8, "t": 0},
            }
        ]
    )
    figure.update_xaxes(type="category", automargin=True, tickangle=30)
    figure.update_yaxes(type="category", autorange="reversed", automargin=True)
    finished(figure, title="Do other ways find the same direction?", height=320 + 44 * len(names))
    return figure.update_layout(margin={"t": 150})


def _symmetric(rows: DataFrame, names: list[str]) -> list[list[float | None]]:
    """A full matrix of pairs that are given once; None where a pair is missing."""
    pairs = {(row["first"], row["second"]): row["cosine"] for row in rows.to_dict("records")}
    return [[1.0 if a == b else pairs.get((a, b), pairs.get((b, a))) for b in names] for a in names]
