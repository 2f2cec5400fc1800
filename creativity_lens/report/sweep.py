"""The results of a sweep over layers, strengths and modes as a page."""

from collections.abc import Mapping, Sequence

from pandas import DataFrame

from creativity_lens.plots.draw import rows_of
from creativity_lens.plots.sweep_cells import ranged_in, share_text
from creativity_lens.plots.sweep_figures import shown_split, sweep_figures
from creativity_lens.report.page import Section, render_page
from creativity_lens.report.parts import (
    claims_section,
    no_warning,
    section,
    warnings_section,
)
from creativity_lens.report.sweep_run import sweep_run_section
from creativity_lens.report.sweep_samples import roles_of, samples_table, shown_prompts
from creativity_lens.report.sweep_sections import (
    costs_section,
    layers_section,
    maps_section,
    necessity_section,
    prompts_section,
)
from creativity_lens.report.sweep_tables import (
    diversity_table,
    measures_table,
    steering_words,
)
from creativity_lens.studies.sweep import SweepResult
from creativity_lens.studies.sweep_budgets import Budgets

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
        layers_section(tables),
        maps_section(figures, tables),
        costs_section(figures, tables),
        prompts_section(figures, layer),
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
        necessity_section(figures, tables),
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
