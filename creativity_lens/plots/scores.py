"""Figures of scores and of steering."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from creativity_lens.plots.style import CREATIVE, INK, NULL, STEERED, UNCREATIVE, plain, styled
from creativity_lens.stats import Interval


def paired_scores_figure(
    creative: NDArray[np.float64],
    uncreative: NDArray[np.float64],
    *,
    labels: Sequence[str],
    layer: int,
) -> go.Figure:
    """Scores of held-out pairs: one line a pair, rising where the creative side scores higher.

    Args:
        creative: score of each pair's creative text.
        uncreative: score of its uncreative text.
        labels: what each pair is about, for the hover label.
        layer: where the score is read.
    """
    figure = go.Figure()
    for low, high, label in zip(uncreative, creative, labels, strict=True):
        figure.add_scatter(
            x=[0, 1],
            y=[low, high],
            mode="lines",
            line={"color": STEERED if high > low else NULL, "width": 1},
            hovertext=plain(label),
            hoverinfo="text",
            showlegend=False,
        )
    sides = (("uncreative", uncreative, UNCREATIVE, 0), ("creative", creative, CREATIVE, 1))
    for name, values, colour, x in sides:
        figure.add_violin(
            y=values,
            x=[x] * len(values),
            name=name,
            line={"color": colour},
            side="negative" if x == 0 else "positive",
            points=False,
            width=0.7,
            hoverinfo="skip",
        )
        figure.add_scatter(
            x=[x] * len(values),
            y=values,
            mode="markers",
            marker={"color": colour, "size": 7},
            hovertext=[plain(label) for label in labels],
            hovertemplate="%{y:.3f}<br>%{hovertext}<extra></extra>",
            showlegend=False,
        )
    figure.update_xaxes(
        tickvals=[0, 1], ticktext=["asked to be boring", "asked to be creative"], range=[-0.6, 1.6]
    )
    figure.update_yaxes(title_text=f"score at layer {layer} (mean cosine)")
    return styled(figure, title="Scores of texts on premises that the direction never saw")


def strength_figure(
    strengths: Sequence[float],
    score_changes: Sequence[Interval],
    nll_changes: Sequence[Interval],
    *,
    chosen: float,
    budget: float,
) -> go.Figure:
    """Effect and cost against strength, on the prompts that the strength was chosen on."""
    figure = make_subplots(
        rows=1, cols=2, subplot_titles=["effect: change of the score", "cost: change of NLL"]
    )
    panels = ((score_changes, STEERED, 1), (nll_changes, CREATIVE, 2))
    for intervals, colour, column in panels:
        figure.add_scatter(
            x=list(strengths),
            y=[i.estimate for i in intervals],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [i.high - i.estimate for i in intervals],
                "arrayminus": [i.estimate - i.low for i in intervals],
            },
            mode="lines+markers",
            line={"color": colour},
            showlegend=False,
            hovertemplate="strength %{x}: %{y:+.3f}<extra></extra>",
            row=1,
            col=column,
        )
        figure.add_hline(y=0, line={"color": INK, "width": 0.7}, row=1, col=column)
        figure.add_vline(x=chosen, line={"color": NULL, "dash": "dot"}, row=1, col=column)
        figure.update_xaxes(title_text="strength (share of the residual norm)", row=1, col=column)
    figure.add_hline(
        y=budget,
        line={"color": NULL, "dash": "dash"},
        annotation_text="most that is accepted",
        row=1,
        col=2,
    )
    figure.update_yaxes(title_text="mean cosine", row=1, col=1)
    figure.update_yaxes(title_text="nats a token", row=1, col=2)
    return styled(figure, title="Choosing the strength (dotted) on separate prompts")


def arms_figure(
    score_changes: Mapping[str, Interval], nll_changes: Mapping[str, Interval], *, read_layer: int
) -> go.Figure:
    """Each arm's change of score against its change of likelihood, with intervals over prompts."""
    figure = go.Figure()
    colours = [STEERED, UNCREATIVE, CREATIVE, NULL, NULL, NULL]
    for i, (name, score) in enumerate(score_changes.items()):
        nll = nll_changes[name]
        figure.add_scatter(
            x=[nll.estimate],
            y=[score.estimate],
            error_x=_error(nll),
            error_y=_error(score),
            mode="markers",
            marker={"size": 11, "color": colours[min(i, len(colours) - 1)], "symbol": i},
            name=name,
            hovertemplate="NLL %{x:+.2f}, score %{y:+.3f}<extra>" + name + "</extra>",
        )
    figure.add_hline(y=0, line={"color": INK, "width": 0.7})
    figure.add_vline(x=0, line={"color": INK, "width": 0.7})
    figure.update_xaxes(title_text="cost: change of NLL (nats a token; right is less fluent)")
    figure.update_yaxes(title_text=f"effect: change of the score at layer {read_layer}")
    return styled(
        figure, title="Effect and cost of each arm on prompts that chose nothing", height=460
    )


def _error(interval: Interval) -> dict[str, object]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [interval.high - interval.estimate],
        "arrayminus": [interval.estimate - interval.low],
        "thickness": 1,
    }
