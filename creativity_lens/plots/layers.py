"""Figures with the layer on the horizontal axis."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from creativity_lens.plots.style import CREATIVE, INK, NEUTRAL, NULL, RIVAL, styled, transparent
from creativity_lens.stats import Interval

LAYER_AXIS = "layer (residual stream after block l, counted from 0)"


def separability_figure(
    curves: Mapping[str, Sequence[Interval]],
    *,
    null_95: Mapping[str, float],
    rivals: Mapping[str, Interval],
) -> go.Figure:
    """Held-out AUROC by layer with its interval, the null's edge and the cheap rivals.

    Args:
        curves: for each way of reading, one interval a layer.
        null_95: for each way of reading, the 95th percentile of the largest AUROC over layers when
            labels are swapped within premise.
        rivals: AUROC of classifiers that never saw the model's activations.
    """
    figure = make_subplots(
        rows=1,
        cols=len(curves),
        shared_yaxes=True,
        subplot_titles=list(curves),
        horizontal_spacing=0.06,
    )
    dashes = ["dash", "dot", "dashdot", "longdash"]
    for column, (name, intervals) in enumerate(curves.items(), start=1):
        layers = list(range(len(intervals)))
        colour = CREATIVE if column == 1 else NEUTRAL
        band = [i.high for i in intervals] + [i.low for i in reversed(intervals)]
        shared = {"row": 1, "col": column}
        figure.add_scatter(
            x=layers + layers[::-1],
            y=band,
            fill="toself",
            fillcolor=transparent(colour),
            line={"width": 0},
            hoverinfo="skip",
            name="95 % interval over premises",
            legendgroup="band",
            showlegend=column == 1,
            **shared,
        )
        figure.add_scatter(
            x=layers,
            y=[i.estimate for i in intervals],
            mode="lines+markers",
            line={"color": colour},
            name="difference of means, held out",
            legendgroup="probe",
            showlegend=column == 1,
            customdata=[[i.low, i.high] for i in intervals],
            hovertemplate=(
                "layer %{x}: AUROC %{y:.2f} [%{customdata[0]:.2f}, %{customdata[1]:.2f}]"
                "<extra></extra>"
            ),
            **shared,
        )
        for dash, (rival, interval) in zip(cycle(dashes), rivals.items(), strict=False):
            figure.add_scatter(
                x=[0, len(layers) - 1],
                y=[interval.estimate] * 2,
                mode="lines",
                line={"color": RIVAL, "dash": dash},
                name=f"rival: {rival}",
                legendgroup=rival,
                showlegend=column == 1,
                hovertemplate=(
                    f"{rival}: AUROC {interval.estimate:.2f} "
                    f"[{interval.low:.2f}, {interval.high:.2f}]<extra></extra>"
                ),
                **shared,
            )
        figure.add_scatter(
            x=[0, len(layers) - 1],
            y=[null_95[name]] * 2,
            mode="lines",
            line={"color": NULL, "width": 1.5},
            name="95 % of the largest value over layers with swapped labels",
            legendgroup="null",
            showlegend=column == 1,
            hovertemplate=f"null, 95 %: {null_95[name]:.2f}<extra></extra>",
            **shared,
        )
        figure.add_hline(y=0.5, line={"color": INK, "width": 0.7}, row=1, col=column)
        figure.update_xaxes(title_text="layer", row=1, col=column)
    figure.update_yaxes(title_text="AUROC (0.5 = chance)", range=[0.3, 1.02], row=1, col=1)
    return styled(
        figure, title="Where creative and uncreative answers can be told apart", height=480
    )


def norms_figure(difference_norms: Sequence[float], residual_norms: Sequence[float]) -> go.Figure:
    """Length of the difference of means beside the median token norm, by layer (log scale)."""
    layers = list(range(len(difference_norms)))
    share = np.asarray(difference_norms) / np.asarray(residual_norms)
    figure = go.Figure()
    figure.add_scatter(
        x=layers,
        y=list(residual_norms),
        mode="lines+markers",
        name="median norm of a token",
        line={"color": NULL},
        hovertemplate="layer %{x}: %{y:.1f}<extra></extra>",
    )
    figure.add_scatter(
        x=layers,
        y=list(difference_norms),
        mode="lines+markers",
        name="norm of the difference of means",
        line={"color": CREATIVE},
        customdata=share,
        hovertemplate="layer %{x}: %{y:.1f}, %{customdata:.1%} of a token's norm<extra></extra>",
    )
    figure.update_xaxes(title_text=LAYER_AXIS)
    figure.update_yaxes(title_text="norm (log scale)", type="log")
    return styled(figure, title="How long the direction is before it is normalized")


def shift_by_layer_figure(
    arms: Mapping[str, Sequence[Interval]], *, steered_layer: int, colours: Mapping[str, str]
) -> go.Figure:
    """Change of the score against the layer it is read at, for each arm of a comparison."""
    figure = go.Figure()
    for name, intervals in arms.items():
        layers = list(range(len(intervals)))
        colour = colours.get(name, NULL)
        figure.add_scatter(
            x=layers + layers[::-1],
            y=[i.high for i in intervals] + [i.low for i in reversed(intervals)],
            fill="toself",
            fillcolor=transparent(colour, 0.12),
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
            legendgroup=name,
        )
        figure.add_scatter(
            x=layers,
            y=[i.estimate for i in intervals],
            mode="lines",
            line={"color": colour},
            name=name,
            legendgroup=name,
            hovertemplate="read at layer %{x}: %{y:+.3f}<extra>" + name + "</extra>",
        )
    figure.add_hline(y=0, line={"color": INK, "width": 0.7})
    figure.add_vline(
        x=steered_layer,
        line={"color": INK, "dash": "dot", "width": 1},
        annotation_text="steered here",
        annotation_position="top right",
    )
    figure.update_xaxes(title_text="layer at which the unsteered model reads the text")
    figure.update_yaxes(title_text="change of the score")
    return styled(figure, title="What steering does to the score, by the layer that reads it")
