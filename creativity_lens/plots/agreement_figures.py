"""All figures of a study of agreement with people at once."""

from collections.abc import Callable

import plotly.graph_objects as go
from pandas import DataFrame

from creativity_lens.errors import InputError
from creativity_lens.plots.agreement_groups import groups_figure
from creativity_lens.plots.agreement_judges import between_figure, judge_figure
from creativity_lens.plots.agreement_layers import agreement_layers_figure
from creativity_lens.plots.agreement_length import length_figure
from creativity_lens.plots.agreement_panels import at_layer, shown_scope, shown_score
from creativity_lens.plots.agreement_ratings import prompt_accuracy_figure, score_rating_figure
from creativity_lens.plots.agreement_scores import forest_figure, increment_figure
from creativity_lens.plots.draw import rows_of
from creativity_lens.studies.evaluate_tables import EvaluateResult


def agreement_figures(result: EvaluateResult) -> dict[str, go.Figure]:
    """The figures of a study of agreement by name; those that have nothing to draw are left out.

    Args:
        result: what the study returned. A table that is missing counts as one without rows.

    Returns:
        Of `layers`, `scores`, `increments`, `length`, `groups`, `ratings`, `prompts`, `judges` and
        `between`, in this order, those that can be drawn. All show the pairs of `shown_scope`.
    """

    def table(name: str) -> DataFrame:
        return result.tables.get(name, DataFrame())

    agreement, primary = table("agreement"), result.layer
    scope = shown_scope(agreement)
    score, layer = followed(agreement, primary, scope)
    drawings: dict[str, Callable[[], go.Figure]] = {
        "layers": lambda: agreement_layers_figure(
            agreement, table("nulls"), table("ceilings"), primary=primary, scope=scope
        ),
        "scores": lambda: forest_figure(
            agreement, table("ceilings"), table("nulls"), primary=primary, scope=scope
        ),
        "increments": lambda: increment_figure(agreement, primary=primary, scope=scope),
        "length": lambda: length_figure(agreement, primary=primary, scope=scope),
        "groups": lambda: groups_figure(agreement, primary=primary, scope=scope),
        "ratings": lambda: score_rating_figure(
            table("ratings"), table("scores"), score=score, layer=layer, scope=scope
        ),
        "prompts": lambda: prompt_accuracy_figure(
            table("per_prompt"), score=score, layer=layer, scope=scope
        ),
        "judges": lambda: judge_figure(table("judges")),
        "between": lambda: between_figure(
            table("between"), at_layer(rows_of(agreement, scope=scope), primary)
        ),
    }
    figures = {}
    for name, draw in drawings.items():
        try:
            figures[name] = draw()
        except InputError:  # nothing to draw; the report says what is missing
            continue
    return figures


def followed(agreement: DataFrame, primary: int | None, scope: str) -> tuple[str, int | None]:
    """The score that is followed through the report and its layer; "" if none is known."""
    rows = rows_of(agreement, scope=scope)
    score = shown_score(rows, primary)
    if score is None:
        return "", None
    layers = rows_of(at_layer(rows, primary), score=score)["layer"]
    return score, None if layers.isna().all() else primary
