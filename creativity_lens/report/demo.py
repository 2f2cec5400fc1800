"""The demo's results as a page."""

from collections.abc import Mapping
from typing import Any

from creativity_lens.plots.layers import (
    norms_figure,
    separability_figure,
    shift_by_layer_figure,
)
from creativity_lens.plots.scores import arms_figure, paired_scores_figure, strength_figure
from creativity_lens.plots.style import CREATIVE, NULL, STEERED, UNCREATIVE
from creativity_lens.report.page import Figure, Section, Table, render_page
from creativity_lens.report.parts import claims_section, interval_text
from creativity_lens.studies.demo import DemoResult

_AS_GENERATED = "read as generated (instruction in context)"
_NEUTRAL = "re-read under a neutral prompt"


def render_demo(result: DemoResult, *, command: str) -> str:
    """The report of a demo run as one HTML page.

    Args:
        result: what `run_demo` returned.
        command: how the run was started, for the last section.
    """
    provenance = result.extraction.directions.provenance
    model = provenance["model"]["name"]
    return render_page(
        title=f"A creativity direction in {model}",
        lead=(
            "Can creative text be told from uncreative text inside this model, does the direction "
            "between them rank texts it never saw, and does adding it change what the model "
            "writes? Each claim below stands beside what chance gives, beside the best cheap "
            "rival, and has an interval over premises. Not supported means not shown here, with "
            "this model and this many texts.",
        ),
        sections=(
            claims_section(result.claims),
            _separability(result),
            _norms(result),
            _scores(result),
            _steering(result),
            _samples(result),
            _contrast(result),
            _settings(result, provenance, command),
        ),
        footer="Made with creativity_lens. Method: arXiv 2412.06060.",
    )


def _separability(result: DemoResult) -> Section:
    figure = separability_figure(
        {_AS_GENERATED: result.as_generated.layers, _NEUTRAL: result.neutral.layers},
        null_95={_AS_GENERATED: result.as_generated.null_95, _NEUTRAL: result.neutral.null_95},
        rivals={name: scores.interval() for name, scores in result.rivals.items()},
    )
    n = len(result.as_generated.selected.groups)
    return Section(
        "Where it can be read",
        (
            f"{n} premises, each answered once creatively and once boringly. A direction is fitted "
            "on four fifths of the premises and the rest are projected on it. On the left the "
            "model still has the instruction in its context, so the instruction itself may be what "
            "is read. On the right the same texts are read under one neutral prompt: what is left "
            "is in the text.",
            "The dashed lines are classifiers that never saw the model's activations, on the same "
            "folds. A curve that does not clear them shows nothing that the words do not.",
        ),
        (
            Figure(
                figure,
                "AUROC of held-out texts at each layer; the band is the 95 % interval over "
                "premises. The grey line is what the best of all layers reaches by chance.",
            ),
        ),
    )


def _norms(result: DemoResult) -> Section:
    directions = result.extraction.directions
    figure = norms_figure(directions.difference_norms.tolist(), directions.residual_norms.tolist())
    worst = float(result.extraction.norm_spikes.max())
    return Section(
        "How large it is",
        (
            "The residual stream grows with depth, and so does the difference of the two means. "
            "Strengths are therefore given as a share of the median token norm.",
        ),
        (
            Figure(
                figure,
                f"At most {worst:.1%} of the tokens at any layer have more than three times the "
                "median norm; the first token of a prompt, an attention sink, is never counted.",
            ),
        ),
    )


def _scores(result: DemoResult) -> Section:
    held_out = result.held_out
    figure = paired_scores_figure(
        held_out.creative, held_out.uncreative, labels=held_out.premises, layer=result.read_layer
    )
    return Section(
        "The score on texts it never saw",
        (
            f"The score of a text is the mean over its tokens of the cosine with the direction. "
            f"Layer {result.read_layer} was chosen on the training premises. Texts are read after "
            "the neutral prompt, so no text is scored for the instruction it was given.",
        ),
        (
            Figure(
                figure,
                "Each line is one premise; green lines rise, as the claim says they should. The "
                "creative text scores higher in "
                + interval_text(held_out.accuracy, "of pairs (chance 0.5).")
                + " Absolute values mean nothing: all texts of a layer share an offset.",
            ),
        ),
    )


def _steering(result: DemoResult) -> Section:
    run, layer = result.steered, result.read_layer
    labels = {arm.arm.name: arm.arm.label for arm in run.arms[1:]}
    layers = range(len(result.extraction.directions))
    colours = {
        labels["steered"]: STEERED,
        labels["opposite"]: UNCREATIVE,
        labels["paper"]: CREATIVE,
    }
    chosen = result.strength
    return Section(
        "Where it can be steered, and the cost",
        (
            f"Strength x direction is added to every token at layer {result.steer_layer}. The "
            "strength was chosen on other prompts: "
            f"{chosen.rule}. Every arm has the same prompts and the same random numbers, so "
            "what differs is the intervention. Scores and likelihoods are read by the unsteered "
            "model.",
        ),
        (
            Figure(
                strength_figure(
                    result.config.strengths,
                    chosen.score_changes,
                    chosen.nll_changes,
                    chosen=chosen.chosen,
                    budget=result.config.nll_budget,
                ),
                f"{result.config.n_dev} prompts that are used for nothing else. More strength buys "
                "more score and costs more fluency.",
            ),
            Figure(
                arms_figure(
                    {label: run.score_change(name, layer) for name, label in labels.items()},
                    {label: run.nll_change(name) for name, label in labels.items()},
                    read_layer=layer,
                ),
                f"{len(run.prompt_ids)} other prompts. The random directions are drawn from the "
                "covariance of the texts within a class and have the length that each "
                "label says: what they do "
                "is what any push of that size does.",
            ),
            Figure(
                shift_by_layer_figure(
                    {
                        label: [run.score_change(name, at) for at in layers]
                        for name, label in labels.items()
                    },
                    steered_layer=result.steer_layer,
                    colours=colours | {label: NULL for n, label in labels.items() if "random" in n},
                ),
                "The same change by the layer that reads it. An effect at the steered layer alone "
                "would only be the direction recognising itself.",
            ),
        ),
    )


def _samples(result: DemoResult) -> Section:
    run, layer = result.steered, result.read_layer
    rows = []
    for i, prompt in enumerate(run.prompts):
        for arm in run.arms:
            if "random" in arm.arm.name and arm.arm.name != "random-0":
                continue  # one random arm is enough to read
            rows.append(
                (
                    prompt if arm is run.arms[0] else "",
                    arm.arm.label,
                    f"{arm.scores[i, layer]:+.3f}",
                    f"{arm.nll[i]:.2f}",
                    arm.texts[i],
                )
            )
    columns = ("prompt", "arm", f"score, layer {layer}", "NLL", "text (cut at the token limit)")
    return Section(
        "Steered beside unsteered",
        (
            "Score and NLL are the unsteered model's. λ = 3 is the strength that the paper used on "
            "a larger model; here it is a small share of the residual norm, so look whether you "
            "can see it at all.",
        ),
        (Table(columns, tuple(rows), ("", "", "number", "number", "text")),),
    )


def _contrast(result: DemoResult) -> Section:
    rows = []
    for row in result.test_rows[:8]:
        rows.append((row.paraphrase_id, row.prompt, row.response))
    return Section(
        "What the contrast looks like",
        (
            "The direction is only as good as these texts. If you cannot tell the two sides apart, "
            "neither can it.",
        ),
        (Table(("instruction", "prompt", "response"), tuple(rows), ("", "", "text")),),
    )


def _settings(result: DemoResult, provenance: Mapping[str, Any], command: str) -> Section:
    model = provenance["model"]
    sampling = provenance["sampling"]
    versions = ", ".join(f"{name} {number}" for name, number in provenance["versions"].items())
    seconds = ", ".join(f"{name} {value:.0f} s" for name, value in result.seconds.items())
    config = result.config
    rows = (
        ("command", command),
        (
            "model",
            f"{model['name']}: {model['n_layers']} layers, d_model {model['d_model']}, "
            f"{model['dtype']}, {model['model_class']} (raw weights)",
        ),
        (
            "layer convention",
            "layer l is blocks.{l}.hook_resid_post, from 0 (Hugging Face: hidden_states[l+1])",
        ),
        (
            "direction",
            f"{provenance['estimator']}, contrast {provenance['contrast']}, context "
            f"{provenance['context']}, span {provenance['span']}, {provenance['n_pairs']} pairs, "
            f"{provenance['n_pairs_dropped']} dropped, seed {provenance['seed']}",
        ),
        ("decoding", ", ".join(f"{name} {value}" for name, value in sampling.items())),
        (
            "premises",
            f"{config.n_train} make the direction and choose the reading layer, {config.n_dev} "
            f"choose the strength, {config.n_test} are scored, {config.n_steer} of those steered",
        ),
        ("steering", f"layer {result.steer_layer}, all tokens, chosen {result.strength.chosen:g}"),
        ("neutral prompt", provenance["neutral_prompt"]["system"]),
        ("pairs, SHA-256", provenance["pairs_sha256"]),
        ("instructions, SHA-256", provenance["instructions_sha256"]),
        ("versions", versions),
        ("time", seconds),
    )
    return Section("What was run", items=(Table(("", ""), rows, ("", "code")),))
