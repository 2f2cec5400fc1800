"""The results of a study of agreement with people as a page."""

from collections.abc import Mapping

import plotly.graph_objects as go
from pandas import DataFrame

from creativity_lens.plots.agreement_figures import agreement_figures, followed
from creativity_lens.plots.agreement_panels import shown_scope
from creativity_lens.report.agreement_run import agreement_run_section, left_out_section
from creativity_lens.report.agreement_sections import (
    ceilings_section,
    compared_section,
    judges_section,
    layer_section,
    length_section,
    nulls_section,
    people_section,
    scores_section,
)
from creativity_lens.report.page import render_page
from creativity_lens.report.parts import claims_section, warnings_section
from creativity_lens.studies.evaluate_tables import EvaluateResult, column_name


def render_agreement(
    result: EvaluateResult, *, command: str, figures: Mapping[str, go.Figure] | None = None
) -> str:
    """The report of a study of agreement as one HTML page.

    Args:
        result: what the study returned.
        command: how it was started, for the last section.
        figures: those of `agreement_figures`, if they are drawn already.
    """
    agreement = result.tables.get("agreement", DataFrame())
    figures = agreement_figures(result) if figures is None else figures
    scope = shown_scope(agreement)
    score, layer = followed(agreement, result.layer, scope)
    name = column_name(score, layer)
    sections = [
        claims_section(result.claims),
        compared_section(result, score, scope),
        layer_section(result, figures, scope),
        scores_section(result, figures),
        length_section(result, figures, score, scope),
        people_section(figures, name),
        judges_section(result, figures),
        nulls_section(result, scope),
        ceilings_section(result),
        left_out_section(result),
        agreement_run_section(result, command),
    ]
    if result.warnings:
        sections.insert(1, warnings_section(result.warnings, title="Warnings"))
    return render_page(
        title=f"Does the score agree with people? {result.source}",
        lead=(
            "Texts that people have rated were scored, and the score is held against the ratings: "
            "does it order two texts on one prompt as people do, better than chance, than random "
            "directions, and above all than length?",
            "The directions were made without these ratings"
            + (
                ", and the primary layer was chosen without them"
                if result.config.layer is None
                else "; the primary layer was given, not chosen by a rule"
            )
            + ". Intervals are 95 % and resample prompts and the texts within them, and raters "
            "where they are known. Not supported means not shown here, with this model and these "
            "texts.",
            *(() if result.warnings else ("No rule gave a warning. That is not yet a proof.",)),
        ),
        sections=sections,
        footer="Made with creativity_lens. Method: arXiv 2412.06060.",
    )
