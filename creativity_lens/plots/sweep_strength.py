"""Effect and cost of steering against its strength."""

import plotly.graph_objects as go
from pandas import DataFrame, isna
from plotly.subplots import make_subplots

from creativity_lens.plots.draw import finished, needed, rows_of
from creativity_lens.plots.style import INK, NULL, STEERED, plain
from creativity_lens.plots.sweep_cells import (
    RECOMMENDED,
    cell_numbers,
    chosen_ids,
    layer_colours,
    layer_name,
    layers_in,
    units_text,
    with_unsteered,
)
from creativity_lens.studies.sweep_budgets import DEFAULT_BUDGETS
from creativity_lens.studies.sweep_effects import SIGNED_MODES


def strength_figure(
    effects: DataFrame,
    cells: DataFrame,
    read_layer: int,
    *,
    mode: str,
    direction: str,
    split: str = "test",
    recommended: DataFrame | None = None,
    nll_budget: float = DEFAULT_BUDGETS.nll,
) -> go.Figure:
    """Effect, and below it cost, against strength, one line a layer, with intervals.

    Args:
        effects: table `effects`.
        cells: table `cells`.
        read_layer: the layer whose score counts.
        mode: of the cells; unsteered is strength 0 where the mode has a sign.
        direction: of the cells.
        split: the prompts.
        recommended: table `recommended`; its strength is marked if it is among these.
        nll_budget: drawn as a line, in nats a token.

    Raises:
        InputError: there are no such cells.
    """
    numbers = cell_numbers(effects, cells, read_layer=read_layer, split=split)
    rows = needed(numbers, "strength_figure", kind="steered", mode=mode, direction=direction)
    chosen = chosen_ids(recommended)
    layers = layers_in(rows)
    figure = make_subplots(
        rows=2,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.06,
        row_heights=[0.58, 0.42],
    )
    for layer, colour in zip(layers, layer_colours(layers).values(), strict=True):
        own = rows[rows["layer"].isna()] if isna(layer) else rows_of(rows, layer=layer)
        curve = with_unsteered(own, numbers) if mode in SIGNED_MODES else own
        curve = curve.sort_values("strength")
        for row, (value, spelled) in enumerate((("change", "+.3f"), ("cost", "+.2f")), start=1):
            middle, low, high = (curve[f"{value}{end}"] for end in ("", "_low", "_high"))
            figure.add_scatter(
                x=curve["strength"].tolist(),
                y=middle.tolist(),
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": (high - middle).tolist(),
                    "arrayminus": (middle - low).tolist(),
                    "thickness": 1,
                    "width": 3,
                },
                mode="lines+markers",
                marker={"size": 6},
                line={"color": colour},
                name=layer_name(layer),
                legendgroup=layer_name(layer),
                showlegend=row == 1,
                customdata=list(zip(low.tolist(), high.tolist(), strict=True)),
                hovertemplate=(
                    f"strength %{{x}}: %{{y:{spelled}}} [%{{customdata[0]:{spelled}}}, "
                    f"%{{customdata[1]:{spelled}}}]<extra>{layer_name(layer)}</extra>"
                ),
                row=row,
                col=1,
            )
        for point in curve[curve["cell_id"].isin(chosen)].to_dict("records"):
            figure.add_scatter(
                x=[point["strength"]],
                y=[point["change"]],
                mode="markers",
                marker={"size": 15, "symbol": "star", "color": STEERED, "line": {"width": 1}},
                name=RECOMMENDED,
                legendrank=1002,
                hoverinfo="skip",
                row=1,
                col=1,
            )
    for row in (1, 2):
        figure.add_hline(y=0, line={"color": INK, "width": 0.7}, row=row, col=1)
    figure.add_hline(y=nll_budget, line={"color": NULL, "dash": "dash"}, row=2, col=1)
    # Around strength 0 nothing costs much: there the words stand on no curve.
    figure.add_annotation(
        x=0 if mode in SIGNED_MODES else min(rows["strength"], key=abs),
        y=nll_budget,
        text="most that is accepted",
        showarrow=False,
        yanchor="bottom",
        font={"size": 11},
        row=2,
        col=1,
    )
    costs = rows["cost"].dropna()
    figure.update_yaxes(
        range=[
            min([-0.1 * nll_budget, 1.1 * costs.min() if len(costs) else 0.0]),
            max(1.2 * nll_budget, min(4 * nll_budget, 1.15 * costs.max() if len(costs) else 0.0)),
        ],
        row=2,
        col=1,
    )
    figure.update_xaxes(title_text=f"strength ({units_text(rows)})", row=2, col=1)
    figure.update_yaxes(title_text="change of the score", row=1, col=1)
    figure.update_yaxes(title_text="change of NLL", row=2, col=1)
    return finished(
        figure,
        title=f"{plain(mode, 24)}, {plain(direction, 40)}: effect and cost against strength, "
        f"{split} prompts",
        height=560,
        legend_rows=1 + len(layers) // 10,
    )
