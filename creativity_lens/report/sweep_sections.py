"""Sections of a sweep's report: layers, maps, costs and rivals, prompts, necessity."""

from collections.abc import Mapping

import plotly.graph_objects as go
from pandas import DataFrame

from creativity_lens.plots.draw import rows_of
from creativity_lens.plots.sweep_cells import layer_name, ways_in
from creativity_lens.report.page import Section
from creativity_lens.report.parts import figure_or, section
from creativity_lens.report.sweep_tables import (
    layers_table,
    matched_table,
    monotonicity_table,
    necessity_table,
)

Figures = Mapping[str, go.Figure]
Tables = Mapping[str, DataFrame]


def layers_section(tables: Tables) -> Section:
    """What each layer is good for, in words and as tables."""
    layers = tables.get("layers", DataFrame())
    verdicts = {
        "works": "raises the score within the budgets at",
        "breaks": "breaks the text before it raises the score at",
        "nothing": "does nothing at",
        "not shown": "is not shown to raise the score within the budgets at",
        "unknown": "is not known at",
    }
    said = []
    for (mode, direction), own in _by_way(layers):
        parts = [
            f"{words} {_listed(rows_of(own, verdict=verdict))}"
            for verdict, words in verdicts.items()
            if len(rows_of(own, verdict=verdict))
        ]
        said.append(f"{mode}, {direction}: {'; '.join(parts)}.")
    return section(
        "Layers that work, break or do nothing",
        (
            "Judged on dev prompts. A layer works if at some strength within the budgets the "
            "interval of the change lies above 0. It breaks if a strength that is meant to raise "
            "the score goes beyond a budget and no weaker one raises it. It does nothing if at all "
            "such strengths within the budgets the interval ends below half of the best cell's "
            "change. If the intervals reach further, it is not shown to work, and with fewer than "
            "five dev prompts it is not known.",
            "That a layer works has no null of its own: no random direction stands beside it here, "
            "and it is the best of several strengths. Look at the claims, which do have one.",
            *said,
        ),
        (layers_table(layers), monotonicity_table(tables.get("monotonicity", DataFrame()))),
    )


def _by_way(layers: DataFrame) -> list[tuple[tuple[str, str], DataFrame]]:
    if layers.empty:
        return []
    return [
        ((str(mode), str(direction)), own)
        for (mode, direction), own in layers.groupby(["mode", "direction"], sort=False)
    ]


def _listed(layers: DataFrame) -> str:
    numbers = [str(int(n)) for n in sorted(layers["layer"].dropna())]
    named = [f"layer{'s' * (len(numbers) > 1)} {', '.join(numbers)}"] if numbers else []
    return ", ".join([*named, *(layer_name(n) for n in layers["layer"] if n != n)])


def maps_section(figures: Figures, tables: Tables) -> Section:
    """The map and the curves of each way of steering."""
    items = []
    for mode, direction in ways_in(tables.get("cells", DataFrame())):
        way = f"{mode}, {direction}"
        items += [
            figure_or(
                figures,
                f"heat_map: {way}",
                f"How to read it ({way}): left, the change of the score against the unsteered "
                "model, orange up and blue down, with the same colours in all maps. Right, what "
                "it costs in fluency. Crossed squares hold broken texts; squares with one "
                "diagonal are beyond a budget; the green frame is what is recommended. Rest on a "
                "square for its interval. When not to believe it: a single good square among bad "
                "neighbours, and any number in a crossed square, where the score is that of "
                "broken text.",
                without=f"There are no cells of {way} on these prompts, so there is no map.",
            ),
            figure_or(
                figures,
                f"strength: {way}",
                f"How to read it ({way}): the same numbers as curves with their intervals over "
                "prompts; click a layer in the legend to hide it. A layer is of use where its "
                "curve rises above while it is still below the dashed line. When not to believe "
                "it: where the curve turns back as strength grows, texts have begun to break.",
                without=f"There are no cells of {way} on these prompts, so there are no curves.",
            ),
        ]
    return section(
        "By layer and strength",
        () if items else ("No cell was steered, so there are no maps.",),
        items,
    )


def costs_section(figures: Figures, tables: Tables) -> Section:
    """Effect against cost, and the rivals at equal cost."""
    return section(
        "What the effect costs, and what rivals do",
        (
            "Any push changes the text, and a hotter or an instructed model changes it without "
            "any direction. An effect counts only beside what those reach for the same loss of "
            "fluency.",
        ),
        (
            figure_or(
                figures,
                "trade_off",
                "How to read it: each point is a cell; up is more effect, right is more cost. "
                "Lines join the strengths of one layer. The green stairs are the steered cells "
                "that none beats in both, of those within the budget of degenerate texts: loops "
                "are likely, and would look cheap. A rival above the stairs gives more for the "
                "same cost. Bars are intervals; small marks are controls at other layers and "
                "strengths. Hotter sampling is left out of the KL panel: the logits are compared "
                "before the temperature, which it leaves as they are. "
                "When not to believe it: the stairs are the best of many cells on these very "
                "prompts, so they flatter; the star was chosen on others and does not.",
                without="No cell was measured on these prompts, so effect and cost are not drawn.",
            ),
            figure_or(
                figures,
                "matched",
                "How to read it: the change of the score by the recommended steering less that of "
                "each rival, at the same norm, NLL or KL. Right of 0, steering gives more. When "
                "not to believe it: matching interpolates between the strengths that were run, "
                "and a rival that cannot reach the cost is not matched at all.",
                without="No rivals were run, so nothing is drawn at equal cost.",
            ),
            matched_table(tables.get("matched", DataFrame())),
        ),
    )


def prompts_section(figures: Figures, read_layer: int) -> Section:
    """The effect by prompt, and by the layer that reads."""
    return section(
        "Prompt by prompt, and layer by layer",
        (),
        (
            figure_or(
                figures,
                "prompt_effects",
                "How to read it: one line a prompt, from the unsteered score (ring) to the "
                "steered one (dot). Orange lines go the wrong way. Open marks are rivals on the "
                "same prompts. When not to believe it: one prompt is a few texts, so a single "
                "line is mostly noise; look at how many go which way.",
                without="Nothing is recommended, so there is no effect by prompt to draw.",
            ),
            figure_or(
                figures,
                "read_layers",
                "How to read it: the change of the score by the layer that reads it; claims are "
                f"made at layer {read_layer}. An effect at the steered layer alone would only be "
                "the direction that recognises itself. Grey and light blue lines are control "
                "directions of the same length at the same layer. When not to believe it: "
                "neighbouring layers read nearly the same thing and are not separate evidence.",
                without="Nothing is recommended, so there is no effect by reading layer to draw.",
            ),
        ),
    )


def necessity_section(figures: Figures, tables: Tables) -> Section:
    """What is lost when the direction is ablated under the instruction."""
    return section(
        "Is the direction needed?",
        (
            "Steering shows that the direction is enough to move the score. Here the model is "
            "asked to be creative and the direction is taken out of it. If the instruction works "
            "through the direction, its effect goes.",
        ),
        (
            figure_or(
                figures,
                "necessity",
                "How to read it: filled marks are what is lost of the instruction's effect, with "
                "intervals; rings are what remains. Grey marks are control directions, which "
                "should lose little. When not to believe it: where the instruction itself does "
                "little the share has no meaning, and a direction whose loss costs NLL may only "
                "have broken the text.",
                without="There is no figure of it.",
            ),
            necessity_table(tables.get("necessity", DataFrame())),
        ),
    )
