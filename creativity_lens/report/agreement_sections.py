"""The sections of a report on agreement, each with its figures and how to read them."""

from collections.abc import Mapping

import plotly.graph_objects as go
from pandas import DataFrame

from creativity_lens.plots.agreement_forest import MOST_GIVEN
from creativity_lens.plots.agreement_panels import FEWEST_PAIRS, SCOPES
from creativity_lens.plots.agreement_ratings import FEW_PROMPTS
from creativity_lens.plots.draw import rows_of
from creativity_lens.report.agreement_tables import (
    ceilings_table,
    choice_table,
    headline_table,
    increments_table,
    judges_table,
    nulls_table,
    scores_table,
)
from creativity_lens.report.page import Section
from creativity_lens.report.parts import figure_or, section
from creativity_lens.studies.evaluate_scores import CHOSEN
from creativity_lens.studies.evaluate_tables import EvaluateResult

Figures = Mapping[str, go.Figure]
MENU = " Where there is a menu, it chooses the dimension."


def table_of(result: EvaluateResult, name: str) -> DataFrame:
    """A table; one without rows if the study made none."""
    return result.tables.get(name, DataFrame())


def compared_section(result: EvaluateResult, score: str, scope: str) -> Section:
    """What was compared with what, and the followed score against all of it."""
    agreement = table_of(result, "agreement")
    many = agreement["dimension"].nunique() if len(agreement) else 0
    few = len(agreement) and bool((agreement["n_prompts"] < FEW_PROMPTS).any())
    said = [
        "Two texts on one prompt make a pair if their mean ratings differ by at least "
        f"{result.config.min_gap:g}. Accuracy is the share of pairs that a score orders as people "
        "do. Ties count half, chance is 0.5, and below 0.5 a score runs against people.",
        f"Figures show {SCOPES.get(scope, scope)}. Pairs within an author type come first if at "
        f"least half of the comparisons have {FEWEST_PAIRS} of them that are decided. The tables "
        "below show the same pairs, but for this one and the ceilings, which have all. ? is a "
        "number that is not known.",
        "p is two-sided; it comes from ratings dealt anew within prompts. "
        + (
            f"{many} dimensions were rated, so look at p (Holm), which is corrected for that: one "
            "of many is easily below 0.05 by chance."
            if many > 1
            else "There is one dimension, so p needs no correction for several."
        ),
        "A null result is a result: an interval that holds 0.5 says that agreement was not shown, "
        "and how much of it there can be at most.",
    ]
    if few:
        said.append(
            f"Some comparisons have fewer than {FEW_PROMPTS} prompts. There, texts were drawn anew "
            "within these prompts only: the interval says nothing about other prompts."
        )
    return section(
        f"Agreement of {score or 'the score'} with people",
        said,
        (headline_table(agreement, score, result.layer),),
    )


def layer_section(result: EvaluateResult, figures: Figures, scope: str) -> Section:
    """How the layer was chosen, and the whole curve."""
    chosen = (
        f"The primary layer is {result.layer}: {result.layer_reason}."
        if result.layer is not None
        else f"There is no primary layer: {result.layer_reason}."
    )
    return section(
        "The layer, and all others",
        (
            chosen,
            "The primary score is the paper's cosine at the primary layer. A second one, chosen, "
            "takes for each prompt the variant and layer that did best on all other prompts. With "
            "few prompts such a choice is a lottery; if it varies in the table, it is one here.",
        ),
        (
            figure_or(
                figures,
                "layers",
                "How to read it: the orange line is the paper's score, its band the 95 % interval. "
                "The grey band is what random directions reach along which such texts vary. The "
                "purple line is length alone, the green one how far one rater agrees with the "
                "others, where that is known. The yellow dashed line is a direction that was "
                "fitted to the ratings of other prompts: where it is high and the orange line is "
                "not, the layer holds what people rate and the creativity direction misses it. "
                "Click on a name in the legend for other variants and "
                f"nulls.{MENU} "
                "When not to believe it: the best layer was picked from many by these ratings, so "
                "quote the primary one. A line inside the grey band is a null result. Layers "
                "side by side are not separate evidence.",
                without="The paper's score was not read at several layers, so there is no curve.",
            ),
            choice_table(table_of(result, "choice"), scope),
        ),
    )


def scores_section(result: EvaluateResult, figures: Figures) -> Section:
    """All scores beside each other."""
    agreement = table_of(result, "agreement")
    given = rows_of(agreement, kind="given")
    many = len(given) and given["score"].nunique() > MOST_GIVEN
    return section(
        "All scores side by side",
        (
            f"More than {MOST_GIVEN} scores were brought along. This figure and those of length "
            f"and of groups draw the {MOST_GIVEN} that lie furthest from chance (or from no gain): "
            "they were picked by their result, so their best is too good. The saved table has all.",
        )
        if many
        else (),
        (
            figure_or(
                figures,
                "scores",
                "How to read it: one line a score, at the primary layer if it has one; right of "
                "0.5 it agrees with people, left of it it runs against them. Bars are 95 % "
                "intervals. Colours tell the kind of score. The grey area is what random "
                "directions reach, the green line the ceiling: one rater against the others. Rest "
                "on a point for pairs, p, p (Holm), tau, and the difference from the paper's score "
                f"on the same pairs and draws.{MENU} "
                "When not to believe it: intervals that overlap show no order of scores, and hide "
                "none; the difference decides. The best of many lines is the best by luck as "
                "well, and p is of each alone.",
                without="No score has an accuracy, so none are drawn.",
            ),
            scores_table(agreement, result.layer),
        ),
    )


def length_section(result: EvaluateResult, figures: Figures, score: str, scope: str) -> Section:
    """What scores add to length and likelihood, and what is left without length."""
    return section(
        "What the score adds to length",
        (
            "People often rate longer texts higher, and so may a score. The question that counts "
            "is what it adds to length with likelihood, both of which are free. Where the table "
            "says turned, the fitted models used the opposite of the score: beside length it runs "
            "against people.",
        ),
        (
            figure_or(
                figures,
                "increments",
                "How to read it: accuracy of length, likelihood and the score together, less that "
                "of length and likelihood, each fitted on other prompts; bars are paired 95 % "
                f"intervals. Right of 0 the score adds something.{MENU} "
                "When not to believe it: a bar that holds 0 shows no gain, which is a result. A "
                "gain below 0 is the price of fitting one more number to few prompts.",
                without="No length is known, so what a score adds to it is not drawn.",
            ),
            figure_or(
                figures,
                "length",
                "How to read it: filled, accuracy on all pairs; open diamond, on pairs of which "
                "the lengths differ by at most a tenth; triangle, with all texts cut to the length "
                f"of the shortest, on all pairs. Colours are those above.{MENU} "
                "When not to believe it: few pairs are of like length, so the diamond moves by "
                "chance; look at its bar before you say that an effect is gone or has stayed.",
                without="No length is known, so there are no pairs of like length.",
            ),
            increments_table(table_of(result, "agreement"), (score, CHOSEN), result.layer, scope),
        ),
    )


def people_section(figures: Figures, score: str) -> Section:
    """Groups of raters apart, and score against rating."""
    return section(
        "Who agrees, and on which texts",
        ("Groups of raters are never pooled: experts and lay readers can disagree in sign.",),
        (
            figure_or(
                figures,
                "groups",
                "How to read it: one line a score, one mark a group of raters, with 95 % "
                "intervals. Orange: the groups lie on opposite sides of chance, so the score goes "
                "with one of them and against the other; thick if the intervals say so too."
                f"{MENU} "
                "When not to believe it: a thin orange line is no more than two estimates near "
                "chance. Groups may have rated other texts, by other instructions.",
                without="No dimension was rated by two groups, so they cannot be held apart.",
            ),
            figure_or(
                figures,
                "ratings",
                f"How to read it: one point a text; its rating and its {score or 'score'}, each "
                "less the mean of the texts that it is compared with. A line that rises means "
                f"agreement within prompts. Rest on a point for the text's beginning.{MENU} "
                "When not to believe it: a steep line among few points, and a line that one far "
                "point makes. Points of one prompt are not independent.",
                without="No two texts of one prompt have both a rating and a score.",
            ),
            figure_or(
                figures,
                "prompts",
                "How to read it: accuracy on each prompt; larger points have more pairs. There are "
                f"fewer than {FEW_PROMPTS} prompts, so each is shown, and all intervals are of "
                "these prompts only. When not to believe it: a prompt with a handful of pairs lies "
                "anywhere by chance.",
                without=f"There are {FEW_PROMPTS} prompts or more (or none with a pair), so they "
                "are not drawn one by one.",
            ),
        ),
    )


def judges_section(result: EvaluateResult, figures: Figures) -> Section:
    """Judges, and who agrees with whom."""
    return section(
        "Judges",
        (
            "A judge is a model that is asked for its opinion. How far judges agree with people "
            "stands among the scores above, by the same statistics.",
        ),
        (
            figure_or(
                figures,
                "judges",
                "How to read it: position bias is how much more than half of the probability goes "
                "to the text that stands first; consistency is how often the same text is chosen "
                "in both orders. A judge near 0.5 and 0 looks at the place alone. When not to "
                "believe it: a judge without bias can still choose at random.",
                without="No position bias, consistency or mass of a judge is known.",
            ),
            figure_or(
                figures,
                "between",
                "How to read it: each square is how often two of them order a pair alike; white is "
                "chance, orange more, blue less. Columns of people are those of the figures above. "
                "When not to believe it: judges that share a liking for length agree with each "
                "other and need not be right.",
                without="There are no two judges (or a judge and a score) to be compared.",
            ),
            judges_table(table_of(result, "judges")),
        ),
    )


def nulls_section(result: EvaluateResult, scope: str) -> Section:
    """What directions that know nothing reach."""
    return section(
        "What random directions reach",
        (
            f"At the primary layer{'' if result.layer is None else f' ({result.layer})'}. Share as "
            "far is the share of such directions whose accuracy lies as far from 0.5, on either "
            "side, as that of the paper's score; it can be read as a p-value. Isotropic directions "
            "alone are easy to beat.",
        ),
        (nulls_table(table_of(result, "nulls"), result.layer, scope),),
    )


def ceilings_section(result: EvaluateResult) -> Section:
    """How far people agree with each other."""
    return section(
        "How far people agree with each other",
        (
            "The ceiling holds each rater against the mean of the others, on pairs that the others "
            "alone choose. Two scores stand beside it on the same pairs. Votes of a single rater "
            "often tie, so a score without ties can lie above it. Reliability is of single "
            "ratings: 1 is full agreement, 0 none beyond chance.",
        ),
        (ceilings_table(table_of(result, "ceilings")),),
    )
