"""The results of a probe study as a page."""

from collections.abc import Mapping

import plotly.graph_objects as go
from pandas import DataFrame

from creativity_lens.plots.direction_content import BEYOND
from creativity_lens.plots.probe_figures import probe_figures
from creativity_lens.report.page import Section, render_page
from creativity_lens.report.parts import (
    claims_section,
    figure_or,
    no_warning,
    section,
    warnings_section,
)
from creativity_lens.report.probe_run import probe_run_section
from creativity_lens.report.probe_tables import (
    lens_table,
    measures_tables,
    selected_table,
    texts_table,
    tokens_table,
)
from creativity_lens.studies.probe import ProbeResult


def render_probe(result: ProbeResult, *, command: str) -> str:
    """The report of a probe study as one HTML page.

    Args:
        result: what `probe_run` returned.
        command: how the study was started, for the last section.
    """
    figures = probe_figures(result.tables, layer=result.layer, context=result.context)
    tables = result.tables
    why = "which most folds chose" if result.config.layer is None else "as asked,"
    sections = [
        claims_section(result.claims),
        _contrast(figures, tables),
        _readable(figures, tables, result.context),
        _instruction(figures),
        _carries_over(figures, result.layer, result.context),
        _stable(figures, result.layer),
        _content(figures, tables, result.layer, result.context),
        _pictures(figures, result.layer),
        probe_run_section(result, command),
    ]
    if result.warnings:
        sections.insert(0, warnings_section(result.warnings))
    return render_page(
        title=f"Can this direction be defended? {result.provenance['model']['name']}",
        lead=(
            "A direction was taken from pairs of texts, one side asked to be creative and one to "
            "be boring. This report asks what it is worth. Did the pairs differ at all? Can the "
            "difference be read in the model, better than from the words alone and better than "
            "chance? How much of it is only the instruction? Does it carry over, would other "
            "premises give it again, and what else is in it?",
            f"Single layers are shown at layer {result.layer}, {why} in the context "
            f"“{result.context}”. Intervals are 95 % and resample premises. Not supported means "
            "not shown here, with this model and this many texts.",
            *no_warning(result.warnings),
        ),
        sections=sections,
        footer="Made with creativity_lens. Method: arXiv 2412.06060.",
    )


def _contrast(figures: Mapping[str, go.Figure], tables: Mapping[str, DataFrame]) -> Section:
    return section(
        "Did the contrast work?",
        (
            "A direction is only as good as its pairs. If both instructions wrote the same texts, "
            "it is noise. If one side is longer or full of repetition, it may be just that.",
        ),
        (
            figure_or(
                figures,
                "manipulation",
                "How to read it: each line is the probability that a creative text has more of "
                "something than an uncreative one, with its interval over premises. The bag of "
                "words should lie right of 0.5: the words differ on premises it never saw. "
                "Length, likelihood and repetition should lie near 0.5. When not to believe it: "
                "a weak model is a weak judge, and its choice near 0.5 may be its own failure.",
                without="The contrast was not checked, so there is no figure of it.",
            ),
            *measures_tables(tables.get("manipulation", DataFrame())),
        ),
    )


def _readable(
    figures: Mapping[str, go.Figure], tables: Mapping[str, DataFrame], context: str
) -> Section:
    return section(
        "Where it can be read",
        (
            "A probe is fitted on some premises and tested on the others, at every layer. As "
            "generated, the model still has the instruction in its context, so the instruction "
            "itself may be what is read. Neutral is the same texts after one prompt that asks for "
            "neither.",
            "Rivals are classifiers that get the same texts and folds without the trained model: "
            "a bag of words, length with likelihood, mean token embeddings, and the same "
            "architecture with random weights. A layer is called readable only if the paired "
            "interval of probe less best rival lies above 0 and p is below 0.05 over all "
            "layers; a probe whose null was not run borrows that of the difference of means.",
        ),
        (
            selected_table(tables.get("selected", DataFrame())),
            figure_or(
                figures,
                "readability",
                "How to read it: AUROC on premises that the probe never saw, by layer. Bands are "
                "intervals; those of the other probes are in the hover labels. Dashed lines are "
                "rivals of the difference of means, their intervals at the right edge. The grey "
                "area is what random directions along which the texts vary reach at each layer; "
                "the grey line is what the best of all layers reaches with swapped labels. "
                "Squares at the foot mark readable layers. When not to believe it: the highest "
                "point of a curve is picked from many, so quote the table, where the layer was "
                "chosen within the folds.",
                without="No probe was run, so there are no curves.",
            ),
            figure_or(
                figures,
                "advantage",
                "How to read it: above 0, the model's activations add something to the best rival; "
                "a band that holds 0 shows nothing. When not to believe it: rivals could be "
                "better than these, so this is a bound on what is shown, not a proof.",
                without="No probe was run, so there is no comparison with rivals by layer.",
            ),
            figure_or(
                figures,
                "nulls",
                f"How to read it: the difference of means (orange, {context}) must clear the "
                "families of random directions (grey), of which the better sign was taken. Blue "
                "lines are directions of unrelated concepts. When not to believe it: isotropic "
                "directions alone are easy to beat, and a concept near the orange line is a name "
                "for what the contrast may hold.",
                without="No nulls were run in this context, so they are not drawn.",
            ),
            figure_or(
                figures,
                "nonlinearity",
                "How to read it: if the contrast lies along a line, a boundary that may bend gains "
                "nothing, and the bands hold 0. When not to believe it: with few texts a bent "
                "boundary overfits, so a gain below 0 says nothing about the shape.",
                without="The RBF and the logistic probe were not both run, so what a bent "
                "boundary gains is not known.",
            ),
        ),
    )


def _instruction(figures: Mapping[str, go.Figure]) -> Section:
    return section(
        "How much of it is the instruction",
        (
            "The same texts are read after the prompt they were written under, after a neutral "
            "one, and after the prompt of the other side of their pair, so that text and "
            "instruction disagree.",
        ),
        (
            figure_or(
                figures,
                "leakage",
                "How to read it: one panel for each context that the direction was fitted in, one "
                "line for each that it was tested in, on premises it never saw. A line near 0.5 "
                "means that nothing carries over. Below 0.5 in the opposite reading means that "
                "the instruction, not the text, is what is read: the texts are sorted by what "
                "they were claimed to be. When not to believe it: a curve above 0.5 in the "
                "opposite reading can still hold some instruction, only less of it than of text.",
                without="The texts were not read in several contexts, so leakage is not drawn.",
            ),
        ),
    )


def _carries_over(figures: Mapping[str, go.Figure], layer: int, context: str) -> Section:
    return section(
        "Does it carry over",
        (
            "A probe that is fitted on one kind of pair and tested on another cannot use what is "
            "special to the first. Premises of the test are never in the training.",
        ),
        [
            figure_or(
                figures,
                f"transfer_{kind}",
                f"How to read it: left, AUROC of the difference of means at layer {layer}, "
                f"{context}, fitted on the {kind} of the row and tested on that of the column "
                "(n pairs; empty where fewer than four). Right, fitted on all others and tested "
                f"on the one left out; intervals are drawn at layer {layer}. When not to believe "
                "it: a cell with few pairs moves a lot by chance, so read its interval in the "
                "hover label.",
                without=f"Fewer than two kinds of {kind} have enough pairs, so carrying over "
                f"to another {kind} was not tested.",
            )
            for kind in ("domain", "paraphrase")
        ]
        + (
            [
                figure_or(
                    figures,
                    "transfer_paraphrase_as_generated",
                    "How to read it: the same for wordings of the instruction, with the "
                    "instruction in context, where its wording could be learned by heart. When "
                    "not to believe it: paraphrases share words, and those may be what carries "
                    "over.",
                    without="With the instruction in context this was not tested.",
                )
            ]
            if context != "as-generated"
            else []
        ),
    )


def _stable(figures: Mapping[str, go.Figure], layer: int) -> Section:
    return section(
        "How stable it is",
        (
            "Another set of premises gives another direction. The cosine between two such "
            "directions says how much of one is only the choice of premises.",
        ),
        (
            figure_or(
                figures,
                "stability",
                "How to read it: orange is the cosine between directions of two halves, so each "
                "has only half of the premises. Green is the expected cosine of the whole "
                "direction with that of endless premises. Bands are the middle 95 % of splits and "
                "of resamplings. When not to believe it: the grey curve flatters, because a "
                "resampling shares its premises with what it is compared to. In pure noise it "
                "lies at 0.71.",
                without="Stability was not measured.",
            ),
            figure_or(
                figures,
                "learning_curve",
                f"How to read it: points are measured at layer {layer} between sets of premises "
                "with none in common; bars are the range over such sets, not a confidence "
                "interval. The dotted line is n / (n + k), drawn on to the wanted cosine. When "
                "not to believe it: far right of the last point it is an extrapolation.",
                without="There is no learning curve at this layer.",
            ),
            figure_or(
                figures,
                "premises_needed",
                "How to read it: the lower, the fewer premises give the wanted cosine. A band that "
                "reaches the top edge has no upper end; a triangle at the top means that the "
                "premises do not agree on anything there. When not to believe it: new premises "
                "are taken to be like these.",
                without="How many premises are needed was not estimated.",
            ),
            figure_or(
                figures,
                "agreement",
                "How to read it: cosine between directions found in other ways; move the slider to "
                "change the layer. When not to believe it: ways that share their texts share "
                "their noise, so agreement between estimators is no proof of stability. Other "
                "samples and other runs are.",
                without="The direction was not compared with others at this layer.",
            ),
        ),
    )


def _content(
    figures: Mapping[str, go.Figure], tables: Mapping[str, DataFrame], layer: int, context: str
) -> Section:
    return section(
        "What is in it",
        (
            "The direction may point where something simpler does: length, rare words, feeling. "
            "The lens reads the direction as if it were the model's last layer. That is a hint at "
            "best: early layers are not made to be read so.",
            "Tokens and texts at both ends are examples. The texts are ranked by held-out scores; "
            "the tokens by a direction that has seen them.",
        ),
        (
            figure_or(
                figures,
                "cosines",
                f"How to read it: the cosine with the direction of each concept, {context}. Inside "
                "the grey area it is no larger than that of a direction that has nothing to do "
                "with the contrast. The dotted lines are the same for directions that point "
                "anywhere, which is too easy. Green is corrected for the noise of both "
                "directions. When not to believe it: the corrected value where it is ragged or "
                f"missing (it is left out beyond {BEYOND:g}), and a single layer picked from many.",
                without="No concepts were compared, so there are no cosines.",
            ),
            figure_or(
                figures,
                "removal",
                "How to read it: AUROC after the directions were removed from the texts. If it "
                "stays near the dotted line, what was removed is not what separates. If all of "
                "them together bring it to 0.5, they may be the whole of it. When not to believe "
                "it: a concept can also be there in a way that one direction does not hold.",
                without="Nothing was removed, so what is left is not known.",
            ),
            lens_table(tables.get("lens", DataFrame())),
            tokens_table(tables.get("extreme_tokens", DataFrame()), layer),
            texts_table(tables.get("extreme_texts", DataFrame()), layer),
        ),
    )


def _pictures(figures: Mapping[str, go.Figure], layer: int) -> Section:
    return section(
        "Pictures",
        (),
        (
            figure_or(
                figures,
                "coordinates",
                f"How to read it: each mark is a text at layer {layer}; rest on it for its id. No "
                "method was told which side a text is on. When not to believe it: always, as a "
                "test. Two classes can be told apart along a direction that no picture shows, and "
                "in t-SNE and UMAP distances between clusters and their sizes mean nothing.",
                without="No coordinates were asked for.",
            ),
        ),
    )
