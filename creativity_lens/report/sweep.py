"""The results of a sweep over layers, strengths and modes as a page."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from pandas import DataFrame

from creativity_lens.plots.draw import rows_of
from creativity_lens.plots.sweep_cells import layer_name, ranged_in, share_text, ways_in
from creativity_lens.plots.sweep_figures import shown_split, sweep_figures
from creativity_lens.report.page import Section, render_page
from creativity_lens.report.parts import (
    claims_section,
    figure_or,
    no_warning,
    section,
    warnings_section,
)
from creativity_lens.report.sweep_run import sweep_run_section
from creativity_lens.report.sweep_samples import roles_of, samples_table, shown_prompts
from creativity_lens.report.sweep_tables import (
    diversity_table,
    layers_table,
    matched_table,
    measures_table,
    monotonicity_table,
    necessity_table,
    steering_words,
)
from creativity_lens.studies.sweep import SweepResult
from creativity_lens.studies.sweep_choice import Budgets

Figures = Mapping[str, go.Figure]
Tables = Mapping[str, DataFrame]


def render_sweep(result: SweepResult, *, command: str) -> str:
    """The report of a sweep as one HTML page.

    Args:
        result: what `sweep` returned.
        command: how it was started, for the last section.
    """
    tables, layer = result.tables, result.read_layer
    effects = tables.get("effects", DataFrame())
    budgets = Budgets(result.config.nll_budget, result.config.degenerate_budget)
    figures = sweep_figures(tables, read_layer=layer, budgets=budgets)
    split = shown_split(effects)
    roles = roles_of(tables, read_layer=layer, split=split, budgets=budgets)
    sections = [
        claims_section(result.claims),
        _recommended(tables.get("recommended", DataFrame()), layer),
        _layers(tables),
        _maps(figures, tables),
        _costs(figures, tables),
        _prompts(figures, layer),
        section(
            "Samples side by side",
            (
                "The same prompts under a few cells; the first seed of each. The prompts run from "
                "the one that the recommended cell changes least to the one it changes most, at "
                "even steps. […] marks a text that was cut at the token limit. Score and NLL are "
                "the unsteered model's.",
            ),
            (samples_table(tables, roles, shown_prompts(tables, split=split), read_layer=layer),),
        ),
        _necessity(figures, tables),
        _measures(effects, tables, roles, split),
        sweep_run_section(result, command),
    ]
    if result.warnings:
        sections.insert(1, warnings_section(result.warnings, title="Warnings"))
    return render_page(
        title=f"Which layer, what strength, at what cost? {result.provenance['model']['name']}",
        lead=(
            "Texts were written while a direction was steered along, at each layer and strength. "
            "All of them were read again by the unsteered model, which gives the score, how "
            "likely it finds the text (NLL), and how far steering moved it (KL). The same "
            "prompts and random streams were used in all cells, so differences are paired.",
            f"The score is read at layer {layer}. Intervals are 95 % and resample prompts. What "
            "is recommended was chosen on dev prompts; figures show "
            f"{'test prompts, which chose nothing' if split == 'test' else 'all prompts'}. The "
            "score is made from the same contrast as the direction: it says that texts move the "
            "way the direction points, not that people find them more creative.",
            *no_warning(result.warnings),
        ),
        sections=sections,
        footer="Made with creativity_lens. Method: arXiv 2412.06060.",
    )


def recommended_words(recommended: DataFrame, read_layer: int) -> tuple[str, ...]:
    """What is recommended, with its interval and its cost; and how it was chosen."""
    if recommended.empty:
        return (
            "Nothing is recommended: no steered cell raises the score on the dev prompts within "
            "the budgets of NLL and degenerate texts.",
        )
    (best,) = recommended.head(1).to_dict("records")
    if best["n_test"]:
        kl = "not known" if best["test_kl"] != best["test_kl"] else f"{best['test_kl']:.2f}"
        test = (
            f"On {best['n_test']} test prompts it changes the score at layer {read_layer} by "
            f"{ranged_in(best, 'test_change')} and NLL by {ranged_in(best, 'test_cost', '+.2f')} "
            f"nats a token; KL is {kl} nats a token, degenerate texts "
            f"{share_text(best['test_degenerate'])}."
        )
    else:
        test = "There were no test prompts, so it is not known what it does on other prompts."
    return (
        f"Recommended: {steering_words(best)}. {test}",
        f"On the {best['n_dev']} dev prompts that chose it: {best['dev_change']:+.3f} for "
        f"{best['dev_cost']:+.2f} nats a token. The choice is the best of many there, so quote the "
        "test prompts.",
        f"The rule: {best['rule']}.",
    )


def _recommended(recommended: DataFrame, read_layer: int) -> Section:
    return section("What is recommended", recommended_words(recommended, read_layer), ())


def _layers(tables: Tables) -> Section:
    layers = tables.get("layers", DataFrame())
    verdicts = {
        "works": "raises the score within the budgets at",
        "breaks": "breaks the text before it raises the score at",
        "nothing": "does nothing at",
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
            "interval of the change lies above 0. It breaks if it does not work and some strength "
            "goes beyond a budget. Otherwise it does nothing at these strengths.",
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


def _maps(figures: Figures, tables: Tables) -> Section:
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


def _costs(figures: Figures, tables: Tables) -> Section:
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
                "that none beats in both. A rival above the stairs gives more for the same cost. "
                "Bars are intervals; small marks are controls at other layers and strengths. The "
                "instruction and hotter sampling add no vector and are left out of the KL panel. "
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


def _prompts(figures: Figures, read_layer: int) -> Section:
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


def _necessity(figures: Figures, tables: Tables) -> Section:
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


def _measures(effects: DataFrame, tables: Tables, roles: Mapping[str, str], split: str) -> Section:
    sampled = rows_of(tables.get("cells", DataFrame()), kind="sampling")
    more = {} if sampled.empty else {str(name): str(name) for name in sampled["cell_id"]}
    return section(
        "What else changes in the texts",
        (_cells_words(roles),),
        (
            measures_table(effects, roles, split),
            diversity_table(effects, {**roles, **more}, split),
        ),
    )


def _cells_words(roles: Mapping[str, str]) -> str:
    named: Sequence[str] = [f"{role} is {cell}" for role, cell in roles.items() if role != cell]
    cells = f" Here {'; '.join(named)}." if named else ""
    return (
        "Means over prompts; in brackets the change against unsteered, with its interval. The "
        f"second table is of all answers to one prompt over the seeds.{cells}"
    )
