"""What an effect costs: every cell of a sweep and its rivals."""

import math
from typing import Any

import plotly.graph_objects as go
from pandas import DataFrame, isna
from plotly.subplots import make_subplots

from creativity_lens.plots.draw import DASHES, finished, needed, rows_of
from creativity_lens.plots.style import INK, NULL, STEERED, plain
from creativity_lens.plots.sweep_cells import (
    DEGENERATE_SHARE,
    RECOMMENDED,
    broken_cells,
    cell_numbers,
    chosen_ids,
    layer_colours,
    layer_name,
    layers_in,
    opposite_of,
    with_unsteered,
)
from creativity_lens.plots.sweep_effects import same_norm_controls
from creativity_lens.plots.sweep_marks import draw_front, draw_layer, draw_points
from creativity_lens.plots.sweep_rivals import RIVALS
from creativity_lens.studies.sweep_budgets import DEFAULT_BUDGETS, Budgets
from creativity_lens.studies.sweep_effects import SIGNED_MODES, family

_SAMPLED = "sampling"
"""The kind without a KL, which compares the logits before the temperature: sampling leaves them."""


def trade_off_figure(
    effects: DataFrame,
    cells: DataFrame,
    *,
    recommended: DataFrame,
    read_layer: int,
    split: str = "test",
    budgets: Budgets = DEFAULT_BUDGETS,
    degenerate_share: float = DEGENERATE_SHARE,
) -> go.Figure:
    """Effect of every cell against its cost in NLL (left) and in KL (right), with the rivals.

    Args:
        effects: table `effects`.
        cells: table `cells`.
        recommended: table `recommended`; may be empty.
        read_layer: the layer whose score counts.
        split: the prompts.
        budgets: that of NLL is drawn as a line; the axes open on what is not far beyond it.
        degenerate_share: the share of degenerate texts from which a cell is drawn as a cross.

    Raises:
        InputError: no cell ran on these prompts.
    """
    numbers = needed(
        cell_numbers(effects, cells, read_layer=read_layer, split=split), "trade_off_figure"
    )
    numbers = numbers.assign(broken=broken_cells(numbers, budgets, degenerate_share))
    steered, chosen = rows_of(numbers, kind="steered"), chosen_ids(recommended)
    backwards = opposite_of(cells, recommended)
    # Controls elsewhere are drawn small: with bars, a hundred of them would hide the rest.
    beside = set() if backwards is None else {backwards}
    for best in recommended.to_dict("records"):
        beside |= set(same_norm_controls(cells, best)["cell_id"])
    figure = make_subplots(
        rows=1,
        cols=2,
        shared_yaxes=True,
        subplot_titles=["cost in NLL", "cost in KL"],
        horizontal_spacing=0.04,
    )
    colours = layer_colours(layers_in(steered))
    ways = steered[["mode", "direction"]].drop_duplicates().to_numpy().tolist()
    for column, cost in enumerate(("cost", "kl"), start=1):
        where = {"row": 1, "col": column}
        listed: set[str] = set()
        for dash, (mode, direction) in zip(_dashes(len(ways)), ways, strict=True):
            own = rows_of(steered, mode=mode, direction=direction)
            for layer, colour in colours.items():
                curve = own[own["layer"].isna()] if isna(layer) else rows_of(own, layer=layer)
                if curve.empty:
                    continue
                if mode in SIGNED_MODES:
                    curve = with_unsteered(curve, numbers)
                name = layer_name(layer)
                draw_layer(
                    figure,
                    curve.sort_values("strength"),
                    cost,
                    name=name,
                    colour=colour,
                    dash=dash,
                    legend=column == 1 and name not in listed,
                    where=where,
                )
                listed.add(name)
        draw_front(figure, numbers, cost, budgets=budgets, legend=column == 1, where=where)
        drawn = _rivals(numbers, backwards)
        if cost == "kl":
            drawn = {name: rows[rows["kind"] != _SAMPLED] for name, rows in drawn.items()}
        for rival, found in drawn.items():
            called, symbol, colour = RIVALS[rival]
            near = (found["kind"] != "control") | found["cell_id"].isin(beside)
            style = {"symbol": symbol, "color": colour}
            draw_points(
                figure, found[~near], cost, name=called, mark=style | {"size": 5}, where=where
            )
            draw_points(
                figure,
                found[near],
                cost,
                name=called,
                mark=style | {"size": 10},
                bars=True,
                legend=column == 1,
                where=where,
            )
        star = {"symbol": "star", "color": STEERED, "size": 17, "line": {"width": 1, "color": INK}}
        dot = {"symbol": "circle", "color": INK, "size": 11}
        for name, rows, mark in (
            (RECOMMENDED, numbers[numbers["cell_id"].isin(chosen)], star),
            ("unsteered", rows_of(numbers, kind="unsteered"), dot),
        ):
            draw_points(
                figure,
                rows,
                cost,
                name=name,
                mark=mark,
                bars=True,
                legend=column == 1,
                where=where,
            )
        figure.add_hline(y=0, line={"color": INK, "width": 0.7}, **where)
        low, high, beyond = _window(numbers, cost, chosen, budgets.nll)
        called = "change of NLL" if cost == "cost" else "KL to the unsteered model"
        figure.update_xaxes(title_text=f"{called} (nats a token)", range=[low, high], **where)
        if beyond:
            figure.add_annotation(
                x=high,
                y=0,
                yref=f"y{'' if column == 1 else column} domain",
                text=f"{beyond} cells lie further right",
                showarrow=False,
                xanchor="right",
                yanchor="bottom",
                font={"size": 11, "color": NULL},
                **where,
            )
    if len(ways) > 1:
        _list_ways(figure, ways)
    figure.add_vline(x=budgets.nll, line={"color": NULL, "dash": "dash"}, row=1, col=1)
    figure.update_yaxes(title_text=f"change of the score at layer {read_layer}", row=1, col=1)
    entries = len(colours) + len(RIVALS) + 3
    return finished(
        figure,
        title=f"Effect against cost, {split} prompts",
        height=540,
        legend_rows=1 + entries // 6,
    )


def _dashes(n: int) -> list[str]:
    styles = ("solid", *DASHES)
    return [styles[i % len(styles)] for i in range(n)]


def _rivals(numbers: DataFrame, backwards: str | None) -> dict[str, DataFrame]:
    """The cells of each family of rivals; of the steered cells, the recommended one backwards."""
    families = numbers.apply(family, axis=1)
    steered = numbers["kind"] == "steered"
    families = families.mask(steered, "").mask(numbers["cell_id"] == backwards, "opposite")
    return {name: numbers[families == name] for name in RIVALS if (families == name).any()}


def _window(
    numbers: DataFrame, cost: str, chosen: set[str], nll_budget: float
) -> tuple[float, float, int]:
    """The costs at which the axis opens, and how many cells lie further right."""
    costs = numbers[cost].astype(float)
    near = (numbers["cost"] <= 2 * nll_budget) & ~numbers["kind"].eq("control")
    near |= numbers["kind"].isin(["instruction", _SAMPLED]) | numbers["cell_id"].isin(chosen)
    if cost == "kl":
        costs = costs.mask(numbers["kind"] == _SAMPLED)
        near &= costs.notna()
    shown = costs.where(numbers[f"{cost}_high"].isna(), numbers[f"{cost}_high"])[near]
    high = max([*shown.dropna().tolist(), 0.0])
    low = min([*costs.dropna().tolist(), 0.0])
    if cost == "cost":
        high = max(high, nll_budget)
    margin = 0.05 * (high - low) or 1.0
    high += margin
    return low - margin, high, int((costs > high).sum())


def _list_ways(figure: go.Figure, ways: list[list[Any]]) -> None:
    """Say in the legend which dash is which mode and direction."""
    for dash, (mode, direction) in zip(_dashes(len(ways)), ways, strict=True):
        figure.add_scatter(
            x=[math.nan],
            y=[math.nan],
            mode="lines",
            line={"color": INK, "dash": dash, "width": 1.3},
            name=plain(f"{mode}, {direction}", 48),
            hoverinfo="skip",
            row=1,
            col=1,
        )
