"""All figures of a sweep at once."""

from collections.abc import Callable, Mapping

import plotly.graph_objects as go
from pandas import DataFrame

from creativity_lens.errors import InputError
from creativity_lens.plots.draw import rows_of
from creativity_lens.plots.sweep_cells import (
    DEGENERATE_SHARE,
    broken_cells,
    cell_numbers,
    opposite_of,
    ways_in,
)
from creativity_lens.plots.sweep_effects import (
    prompt_effect_figure,
    read_layer_figure,
)
from creativity_lens.plots.sweep_maps import heat_map_figure, largest_change
from creativity_lens.plots.sweep_rivals import matched_figure, necessity_figure
from creativity_lens.plots.sweep_strength import strength_figure
from creativity_lens.plots.sweep_trade_off import trade_off_figure
from creativity_lens.studies.sweep_budgets import DEFAULT_BUDGETS, Budgets


def sweep_figures(
    tables: Mapping[str, DataFrame],
    *,
    read_layer: int,
    budgets: Budgets = DEFAULT_BUDGETS,
    degenerate_share: float = DEGENERATE_SHARE,
) -> dict[str, go.Figure]:
    """The figures of a sweep by name; those that have nothing to draw are left out.

    Args:
        tables: of a `SweepResult`, or read again from the files of a sweep. A table that is
            missing counts as one without rows.
        read_layer: the layer whose score counts.
        budgets: what steering may cost; cells beyond them are marked.
        degenerate_share: the share of degenerate texts from which a cell counts as broken.

    Returns:
        Of `heat_map: MODE, DIRECTION` and `strength: MODE, DIRECTION` for each way of steering,
        `trade_off`, `prompt_effects`, `read_layers`, `matched` and `necessity`, those that can be
        drawn. The heat maps share one scale. All show test prompts, or where there are none, all.
    """

    def table(name: str) -> DataFrame:
        return tables.get(name, DataFrame())

    effects, cells, recommended = table("effects"), table("cells"), table("recommended")
    split = shown_split(effects)
    numbers = cell_numbers(effects, cells, read_layer=read_layer, split=split)
    steered = rows_of(numbers, kind="steered")
    largest = (
        largest_change(steered.assign(broken=broken_cells(steered, budgets, degenerate_share)))
        if len(steered)
        else None
    )
    drawings: dict[str, Callable[[], go.Figure]] = {}
    for mode, direction in ways_in(cells):

        def heat_map(mode: str = mode, direction: str = direction) -> go.Figure:
            return heat_map_figure(
                effects,
                cells,
                read_layer,
                mode=mode,
                direction=direction,
                split=split,
                degenerate_share=degenerate_share,
                budgets=budgets,
                recommended=recommended,
                largest=largest,
            )

        def strengths(mode: str = mode, direction: str = direction) -> go.Figure:
            return strength_figure(
                effects,
                cells,
                read_layer,
                mode=mode,
                direction=direction,
                split=split,
                recommended=recommended,
                nll_budget=budgets.nll,
            )

        drawings[f"heat_map: {mode}, {direction}"] = heat_map
        drawings[f"strength: {mode}, {direction}"] = strengths
    drawings |= {
        "trade_off": lambda: trade_off_figure(
            effects,
            cells,
            recommended=recommended,
            read_layer=read_layer,
            split=split,
            degenerate_share=degenerate_share,
            budgets=budgets,
        ),
        "prompt_effects": lambda: prompt_effect_figure(
            table("prompt_effects"),
            recommended,
            prompts=table("prompts"),
            rivals=_rivals_by_prompt(cells, recommended),
            split=split,
        ),
        "read_layers": lambda: read_layer_figure(
            effects, cells, recommended, read_layer=read_layer, split=split
        ),
        "matched": lambda: matched_figure(table("matched")),
        "necessity": lambda: necessity_figure(table("necessity")),
    }
    figures = {}
    for name, draw in drawings.items():
        try:
            figures[name] = draw()
        except InputError:  # nothing to draw; the report says what is missing
            continue
    return figures


def shown_split(effects: DataFrame) -> str:
    """The prompts that a report shows: those that chose nothing, or all where there are none."""
    return "all" if rows_of(effects, split="test").empty else "test"


def _rivals_by_prompt(cells: DataFrame, recommended: DataFrame) -> dict[str, str]:
    """The two rivals that are marked prompt by prompt: backwards, and the instruction."""
    found = {"opposite": opposite_of(cells, recommended)}
    instruction = rows_of(cells, kind="instruction")
    found["instruction"] = str(instruction["cell_id"].iloc[0]) if len(instruction) else None
    return {family: name for family, name in found.items() if name is not None}
