"""The parts of a probe study: each makes one table, or a few, of what was read."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from creativity_lens.directions.direction import DirectionSet
from creativity_lens.directions.estimators import ESTIMATORS, Estimator, estimate
from creativity_lens.directions.lens import LensToken, lens_tokens
from creativity_lens.directions.nuisance import LengthContrast, length_direction, nuisance_erasure
from creativity_lens.directions.rereading import PairedMeans, passages_in, row_id
from creativity_lens.errors import InputError, MissingDependencyError
from creativity_lens.models.protocol import LensModel
from creativity_lens.probes.coordinates import Method, coordinates
from creativity_lens.probes.cosines import concept_cosines
from creativity_lens.probes.held_out import HeldOutScores, ProbeCurve
from creativity_lens.probes.nulls import concept_nulls, random_direction_nulls
from creativity_lens.probes.separability import (
    DIFFERENCE_OF_MEANS,
    across_contexts,
    separability,
)
from creativity_lens.probes.stability import (
    agreement,
    learning_curve,
    premises_needed,
    stability,
)
from creativity_lens.probes.transfer import Transfer, leave_one_label_out, readers, transfer
from creativity_lens.scoring.tokens import text_token_cosines, token_means
from creativity_lens.studies.probe_config import ProbeConfig
from creativity_lens.studies.probe_context import ContextProbes
from creativity_lens.studies.probe_readings import Readings
from creativity_lens.studies.probe_tables import columns, frame, spread

if TYPE_CHECKING:
    from pandas import DataFrame

Advance = Callable[[int], None]

LABEL_SWAPS = "labels swapped within premise"
LENGTH = "length"
EVERYTHING = "all of them"
N_EXTREMES = 6


def check_folds(groups: Sequence[str], n_folds: int) -> None:
    """Raise InputError, before any model runs, if there are too few premises for the folds.

    Raises:
        InputError: naming how many there are and how many are needed.
    """
    n = len(set(groups))
    # The inner cross-validation of a fold needs two premises in training, stability needs four.
    least = max(n_folds, 4)
    if n < least:
        remedy = ", or ask for fewer folds (--folds)" if n >= 4 else ""
        raise InputError(
            f"the run has {n} premises, and {n_folds} folds need at least {least}: extract from "
            f"pairs on more premises{remedy}."
        )


def nulls(
    readings: Readings,
    probed: Mapping[str, ContextProbes],
    config: ProbeConfig,
    advance: Advance,
) -> "DataFrame":
    """What directions without knowledge reach, beside the difference of means."""
    rows: list[dict[str, Any]] = []
    concepts = {n.name: n.direction for n in readings.nuisances}
    for context, found in probed.items():
        means = readings.contexts[context]
        observed = [interval.estimate for interval in found.separability.layers]
        n_layers = len(observed)
        swaps = found.separability
        rows += [
            {
                "context": context,
                "null": LABEL_SWAPS,
                "layer": layer,
                "auroc_95": float("nan"),
                "largest_95": swaps.null_95,
                "p_value": swaps.p_values[layer],
                "n": swaps.n_permutations,
            }
            for layer in range(n_layers)
        ]
        drawn = random_direction_nulls(
            *means.sides, readings.groups, n=config.n_random, seed=config.seed
        )
        for null in (*drawn, *concept_nulls(*means.sides, concepts)):
            several = len(null.auroc) > 1
            p_values = null.p_values(observed)
            rows += [
                {
                    "context": context,
                    "null": null.name,
                    "layer": layer,
                    "auroc_95": null.by_layer_95[layer],
                    "largest_95": float(np.quantile(null.largest, 0.95)),
                    "p_value": p_values[layer] if several else float("nan"),
                    "n": len(null.auroc),
                }
                for layer in range(n_layers)
            ]
        advance(1)
    return frame(
        rows, columns("context", "null", "layer", "auroc_95", "largest_95", "p_value", "n")
    )


def leakage(readings: Readings, contexts: Sequence[str], config: ProbeConfig) -> "DataFrame":
    """Directions fitted in one context, tested on the same texts read in each."""
    rows: list[dict[str, Any]] = []
    for fitted in contexts:
        for read in contexts:
            scores = across_contexts(
                readings.contexts[fitted].sides,
                readings.contexts[read].sides,
                readings.groups,
                n_folds=config.n_folds,
                seed=config.seed,
            )
            for layer, sides in enumerate(scores):
                held = HeldOutScores(sides[0], sides[1], readings.groups)
                interval = held.interval(n_draws=config.n_draws, seed=config.seed)
                rows.append(
                    {"fitted_in": fitted, "read_in": read, "layer": layer}
                    | spread("auroc", interval)
                )
    return frame(rows, columns("fitted_in", "read_in", "layer", "auroc*"))


def transfers(
    readings: Readings, contexts: Sequence[str], layer: int, config: ProbeConfig
) -> "DataFrame":
    """Trained on one domain or paraphrase, tested on the others; and leaving one out."""
    rows: list[dict[str, Any]] = []
    for context in contexts:
        rows += _transfers(readings, context, layer, config)
    names = columns(
        "context",
        "kind",
        "probe",
        "trained_on",
        "tested_on",
        "layer",
        "auroc*",
        "n_train",
        "n_test",
    )
    return frame(rows, names)


def _transfers(
    readings: Readings, context: str, layer: int, config: ProbeConfig
) -> list[dict[str, Any]]:
    means, groups = readings.contexts[context], readings.groups
    pairs = readings.rows[::2]
    labels = {
        "domain": [row.domain for row in pairs],
        "paraphrase": [row.paraphrase_id.rpartition("-")[2] for row in pairs],
    }
    n_layers = int(means.creative.shape[1])
    rows: list[dict[str, Any]] = []
    settings = {"n_draws": config.n_draws, "seed": config.seed}
    probes = [(DIFFERENCE_OF_MEANS, range(n_layers))]
    if "logistic" in config.probes:
        probes.append(("logistic", range(layer, layer + 1)))
    for kind, names in labels.items():
        if len(set(names)) < 2:
            continue
        for probe, layers in probes:
            by_layer = readers(
                cast(Any, probe), *means.sides, groups, layers=layers, seed=config.seed
            )
            found: list[Transfer] = leave_one_label_out(by_layer, names, groups, **settings)
            # The whole matrix at the one layer that is shown: all layers of it would be unread.
            shown = {layer: by_layer[layer]}
            found += transfer(shown, names, groups, n_folds=config.n_folds, **settings)
            rows += [
                {"context": context, "kind": kind, "probe": probe}
                | {k: v for k, v in one._asdict().items() if k != "auroc"}
                | spread("auroc", one.auroc)
                for one in found
            ]
    return rows


def stabilities(
    readings: Readings, contexts: Sequence[str], config: ProbeConfig, advance: Advance
) -> dict[str, "DataFrame"]:
    """`stability`: how far other premises would give the same direction. `learning_curve`."""
    rows: list[dict[str, Any]] = []
    curve_rows: list[dict[str, Any]] = []
    settings: dict[str, Any] = {"n_draws": config.n_draws, "seed": config.seed}
    for context in contexts:
        sides, groups = readings.contexts[context].sides, readings.groups
        found = stability(*sides, groups, **settings)
        power = premises_needed(*sides, groups, stability=config.stability, **settings)
        curve = learning_curve(*sides, groups, seed=config.seed)
        for layer in range(len(found.split_half)):
            rows.append(
                {
                    "context": context,
                    "layer": layer,
                    "n_premises": found.n_premises,
                    "reliability": found.reliability[layer],
                    "with_truth": found.with_truth[layer],
                    "wanted": config.stability,
                }
                | spread("split_half", found.split_half[layer])
                | spread("bootstrap", found.bootstrap[layer])
                | spread("noise_to_signal", power.noise_to_signal[layer])
                | spread("premises_needed", power.premises[layer])
            )
            curve_rows += [
                {
                    "context": context,
                    "layer": layer,
                    "n_premises": int(size),
                    "cosine": curve.cosine[i, layer],
                    "cosine_low": curve.low[i, layer],
                    "cosine_high": curve.high[i, layer],
                    "fitted": curve.fitted[i, layer],
                }
                for i, size in enumerate(curve.sizes)
            ]
        advance(1)
    return {
        "stability": frame(
            rows,
            columns(
                "context",
                "layer",
                "n_premises",
                "split_half*",
                "reliability",
                "with_truth",
                "bootstrap*",
                "noise_to_signal*",
                "wanted",
                "premises_needed*",
            ),
        ),
        "learning_curve": frame(
            curve_rows, columns("context", "layer", "n_premises", "cosine*", "fitted")
        ),
    }


def agreements(
    readings: Readings, directions: DirectionSet, others: Mapping[str, DirectionSet]
) -> "DataFrame":
    """Cosines between estimators, contexts, samples of the same run, and other runs."""
    home = readings.contexts[directions.provenance["context"]]
    sets = {"this run": directions.directions}
    sets |= {f"estimator: {name}": _estimate(home, name) for name in ESTIMATORS}
    for context, means in readings.contexts.items():
        if means is not home:
            sets[f"context: {context}"] = _estimate(means, "difference-of-means")
    samples = sorted({row.sample for row in readings.rows})
    if len(samples) > 1:
        drawn = np.array([row.sample for row in readings.rows[::2]])
        for sample in samples:
            rows = torch.from_numpy(np.flatnonzero(drawn == sample))
            part = PairedMeans(home.creative[rows], home.uncreative[rows], ())
            sets[f"sample: {sample}"] = _estimate(part, "difference-of-means")
    for name, other in others.items():
        sets[f"run: {name}"] = other.directions
    cosines = agreement(sets)
    names = list(sets)
    return frame(
        [
            {"layer": layer, "first": a, "second": b, "cosine": matrix[i, j]}
            for layer, matrix in enumerate(cosines)
            for i, a in enumerate(names)
            for j, b in enumerate(names)
            if i < j
        ],
        columns("layer", "first", "second", "cosine"),
    )


def cosines(readings: Readings, contexts: Sequence[str], config: ProbeConfig) -> "DataFrame":
    """Cosine with each nuisance direction and with length, with band and correction."""
    rows: list[dict[str, Any]] = []
    concepts = {n.name: (n.high, n.low, n.groups) for n in readings.nuisances}
    for context in contexts:
        means = readings.contexts[context]
        fixed = {}
        if (length := _length(readings, means)) is not None:
            fixed[LENGTH] = length_direction(*length)
        if not concepts and not fixed:
            continue  # no nuisances, and no length where every text was cut at the limit
        found = concept_cosines(
            *means.sides,
            readings.groups,
            concepts,
            fixed=fixed,
            n_draws=config.n_draws,
            seed=config.seed,
        )
        for name, report in found.items():
            rows += [
                {
                    "context": context,
                    "concept": name,
                    "layer": layer,
                    "null_95": report.null_95[layer],
                    "null_max_95": report.null_max_95,
                    "isotropic_95": report.isotropic_95,
                    "corrected": report.corrected[layer],
                    "reliability": report.reliability[layer],
                }
                | spread("cosine", report.interval[layer])
                for layer in range(len(report.cosine))
            ]
    return frame(
        rows,
        columns(
            "context",
            "concept",
            "layer",
            "cosine*",
            "null_95",
            "null_max_95",
            "isotropic_95",
            "corrected",
            "reliability",
        ),
    )


def removals(
    readings: Readings, context: str, config: ProbeConfig
) -> tuple["DataFrame", list[str]]:
    """Separability left when nuisances are removed from the texts; and why LEACE was left out."""
    means = readings.contexts[context]
    settings: dict[str, Any] = {
        "n_folds": config.n_folds,
        "n_permutations": 0,
        "n_draws": config.n_draws,
        "seed": config.seed,
    }
    warnings: list[str] = []
    length = _length(readings, means)
    plans: list[tuple[str, str, Any]] = [
        (nuisance.name, "projection", nuisance_erasure([nuisance]))
        for nuisance in readings.nuisances
    ]
    if length is not None:
        plans.append((LENGTH, "projection", nuisance_erasure([], length=length)))
    if len(plans) > 1:
        every = readings.nuisances
        plans.append((EVERYTHING, "projection", nuisance_erasure(every, length=length)))
        try:
            erasure = nuisance_erasure(every, length=length, removal="leace")
            plans.append((EVERYTHING, "leace", erasure))
        except MissingDependencyError as error:
            warnings.append(f"Nuisances were removed by projection alone: {error}")
    rows: list[dict[str, Any]] = []
    for removed, method, erasure in (("nothing", "none", None), *plans):
        creative, uncreative = (
            means.sides if erasure is None else (erasure(side).float() for side in means.sides)
        )
        found = separability(creative, uncreative, readings.groups, **settings)
        intervals = [*found.layers, found.selected.interval(n_draws=config.n_draws)]
        for layer, interval in enumerate(intervals):
            at = layer if layer < len(found.layers) else -1
            rows.append(
                {"context": context, "removed": removed, "method": method, "layer": at}
                | spread("auroc", interval)
            )
    return frame(rows, columns("context", "removed", "method", "layer", "auroc*")), warnings


def lens(
    model: LensModel, readings: Readings, context: str, layer: int
) -> tuple["DataFrame", list[str]]:
    """The tokens of the direction at the shown layer and at the last, or why there are none."""
    means = readings.contexts[context]
    directions = _estimate(means, "difference-of-means").float()
    last = len(directions) - 1
    found: list[LensToken] = []
    warnings: list[str] = []
    try:
        found = lens_tokens(model, directions, layers=sorted({layer, last}))
    except (InputError, MissingDependencyError) as error:
        warnings.append(f"No logit lens: {error}")
    names = columns("context", "layer", "end", "rank", "token", "logit")
    return frame([{"context": context} | token._asdict() for token in found], names), warnings


def extremes(
    model: LensModel,
    readings: Readings,
    curve: ProbeCurve,
    context: str,
    layer: int,
    config: ProbeConfig,
    *,
    unit_tokens: bool,
) -> dict[str, "DataFrame"]:
    """The texts and tokens that score highest and lowest at the shown layer.

    Texts are ranked by held-out scores. Tokens are read with the direction of all texts, which has
    seen them: they say what the direction answers to, not how well it does.
    """
    scores = curve[layer]
    flat = np.stack([scores.creative, scores.uncreative], axis=1).reshape(-1)
    order = np.argsort(-flat, kind="stable")
    n = min(N_EXTREMES, len(order) // 2)
    chosen = [("highest", i) for i in order[:n]] + [("lowest", i) for i in order[::-1][:n]]
    texts = [
        {
            "context": context,
            "layer": layer,
            "end": end,
            "text_id": row_id(readings.rows[i]),
            "condition": readings.rows[i].condition,
            "score": flat[i],
            "text": readings.rows[i].response,
        }
        for end, i in chosen
    ]
    means = readings.contexts[context]
    vector = _estimate(means, "difference-of-means")[layer].float()
    midpoint = torch.cat(means.sides)[:, layer].double().mean(dim=0).float()
    every = passages_in(readings.rows, cast(Any, context))
    # Evenly spread over the run, which may be sorted by domain.
    spread_out = np.linspace(0, len(every) - 1, min(config.token_texts, len(every)))
    passages = [every[i] for i in spread_out.round().astype(int)]
    values = text_token_cosines(
        model, passages, vector, layer=layer, midpoint=midpoint, unit_tokens=unit_tokens
    )
    ranked = token_means(passages, values)
    n_tokens = min(2 * N_EXTREMES, len(ranked) // 2)
    ends = (("highest", ranked[:n_tokens]), ("lowest", ranked[::-1][:n_tokens]))
    tokens = [
        {
            "context": context,
            "layer": layer,
            "end": end,
            "token": model.tokenizer.decode([token.token_id]),
            "cosine": token.cosine,
            "n_texts": token.n_texts,
        }
        for end, some in ends
        for token in some
    ]
    return {
        "extreme_texts": frame(
            texts, columns("context", "layer", "end", "text_id", "condition", "score", "text")
        ),
        "extreme_tokens": frame(
            tokens, columns("context", "layer", "end", "token", "cosine", "n_texts")
        ),
    }


def coordinate_table(
    readings: Readings, context: str, layer: int, config: ProbeConfig, advance: Advance
) -> "DataFrame":
    """Two coordinates of each text at the shown layer, by each method."""
    means = readings.contexts[context]
    texts = torch.stack([side[:, layer] for side in means.sides], dim=1).flatten(0, 1)
    rows: list[dict[str, Any]] = []
    for method in config.coordinates:
        found = coordinates(texts, method=cast(Method, method), seed=config.seed)
        explained = found.explained or (float("nan"), float("nan"))
        rows += [
            {
                "context": context,
                "layer": layer,
                "method": method,
                "text_id": row_id(row),
                "condition": row.condition,
                "domain": row.domain,
                "x": x,
                "y": y,
                "explained_x": explained[0],
                "explained_y": explained[1],
            }
            for row, (x, y) in zip(readings.rows, found.values.tolist(), strict=True)
        ]
        advance(1)
    return frame(
        rows,
        columns(
            "context",
            "layer",
            "method",
            "text_id",
            "condition",
            "domain",
            "x",
            "y",
            "explained_x",
            "explained_y",
        ),
    )


def _estimate(means: PairedMeans, name: str) -> torch.Tensor:
    return estimate(means.creative, means.uncreative, estimator=cast(Estimator, name))


def _length(readings: Readings, means: PairedMeans) -> LengthContrast | None:
    """What a direction of length is made of; None where the texts do not differ in length."""
    lengths = torch.from_numpy(readings.lengths)
    if bool((lengths == lengths[:1]).all()):
        return None
    return LengthContrast(means.creative, means.uncreative, lengths)
