"""A made-up study of agreement, with the columns that the real one has and numbers that are known.

The accuracy that is planted, of pairs within a prompt, for the group `lay`:

    cosine@l                0.5 + 0.02 (l + 1) - 0.01 d     l the layer, d the dimension's place
    other variants, judges  0.5 + PLANTED[score] - 0.01 d

All other groups see the mirror image, 1 - accuracy, but for length, which all of them like. Pairs
within the author type lie half as far from 0.5. Intervals reach 0.06 either way, 0.04 for length.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from creativity_lens.stats import Interval
from creativity_lens.studies.claims import Claim, claim_record
from creativity_lens.studies.evaluate_config import EvaluateConfig
from creativity_lens.studies.evaluate_tables import (
    AGREEMENT_COLUMNS,
    BETWEEN_COLUMNS,
    CEILING_COLUMNS,
    CHOICE_COLUMNS,
    JUDGE_COLUMNS,
    NULL_COLUMNS,
    PROMPT_COLUMNS,
    RATING_COLUMNS,
    EvaluateResult,
    column_name,
)

NAN = math.nan
N_LAYERS = 6
PRIMARY = 3
HALF, HALF_LENGTH = 0.06, 0.04
PLANTED = {
    "centred": 0.05,
    "whitened": 0.11,
    "cosine+prompt": 0.04,
    "cosine_common_length": 0.01,
    "layer_average": 0.07,
    "chosen": 0.09,
    "fitted": 0.13,
    "length": 0.12,
    "nll": -0.02,
    "distinct_2": 0.01,
    "direction:formality": 0.03,
    "naive_rating": 0.02,
    "naive_choice": 0.015,
    "rouge_1": 0.06,
}
LAYERED = ("cosine", "centred", "whitened", "cosine+prompt", "cosine_common_length")
KIND_OF = {
    **dict.fromkeys((*LAYERED, "layer_average", "chosen"), "score"),
    "fitted": "fitted",
    **dict.fromkeys(("length", "nll", "distinct_2"), "baseline"),
    "direction:formality": "direction",
    **dict.fromkeys(("naive_rating", "naive_choice"), "judge"),
    "rouge_1": "given",
}
EVERY_LAYER = (*LAYERED, "fitted", "direction:formality")
NEEDS_MODEL = (*EVERY_LAYER, "layer_average", "chosen", "nll", "naive_choice")
SCOPES = ("prompt", "prompt+author")
N_PAIRS = {"prompt": 120, "prompt+author": 40}


def accuracy(score: str, layer: int | None, d: int, group: str, scope: str) -> float:
    """What the docstring of this module says."""
    far = 0.02 * ((layer or 0) + 1) if score == "cosine" else PLANTED[score]
    far -= 0.01 * d
    if group != "lay" and score != "length":
        far = -far
    return 0.5 + far / (2 if scope == "prompt+author" else 1)


def evaluate_result(
    *,
    dimensions: Sequence[str] = ("surprise", "engagement"),
    groups: Sequence[str] = ("lay", "expert"),
    scopes: Sequence[str] = SCOPES,
    layers: Sequence[int] = tuple(range(N_LAYERS)),
    model: bool = True,
    ceilings: bool = True,
    n_prompts: int = 12,
    n_pairs: dict[str, int] | None = None,
    text: str | None = None,
) -> EvaluateResult:
    """All tables of a study.

    Args:
        dimensions: what was rated.
        groups: who rated.
        scopes: which pairs.
        layers: those that were read.
        model: whether a model read the texts; False leaves text-free scores and no layer.
        ceilings: whether the first group's ceiling is known; no other group's is.
        n_prompts: prompts, of four texts each.
        n_pairs: decided pairs by scope.
        text: stands for every string that comes from outside; None gives harmless ones.
    """
    counts = n_pairs or N_PAIRS
    outside = text or ""
    places = [(d, i, g, s) for i, d in enumerate(dimensions) for g in groups for s in scopes]
    keys = [
        (score, layer)
        for score in KIND_OF
        if model or score not in NEEDS_MODEL
        for layer in (layers if score in EVERY_LAYER else (None,))
    ]
    named = [
        (score + (outside if score == "rouge_1" else ""), score, layer) for score, layer in keys
    ]
    agreement, nulls, tops, prompts = [], [], [], []
    for dimension, d, group, scope in places:
        where = {"dimension": dimension + outside, "rater_group": group + outside, "scope": scope}
        top = 0.72 if ceilings and group == groups[0] else NAN
        for name, score, layer in named:
            value = accuracy(score, layer, d, group, scope)
            row = _agreement(name, score, layer, value, counts[scope])
            detailed = layer in (None, PRIMARY)
            agreement.append(
                row | where | {"ceiling": top, "note": outside} | _details(score, value, detailed)
            )
            if detailed and KIND_OF[score] != "judge":
                prompts += [
                    {"score": name, "layer": layer, "prompt_id": f"p{p:02d}{outside}"}
                    | where
                    | {"accuracy": value + 0.01 * (p - (n_prompts - 1) / 2), "n_pairs": 4 + p}
                    for p in range(n_prompts)
                ]
        for null, half in (("isotropic", 0.05), ("within", 0.09), ("shuffled", 0.07)):
            nulls += [
                {"null": null, "layer": layer, "mean": 0.5, "low": 0.5 - half, "high": 0.5 + half}
                | where
                | {"n": 100, "share_as_far": 0.25}
                for layer in (layers if model else ())
            ]
        known = top == top
        tops.append(
            where
            | {"ceiling": top, "ceiling_low": top - 0.03, "ceiling_high": top + 0.03}
            | {"n_pairs": 200 if known else 0, "paper_accuracy": 0.55 if known else NAN}
            | {"length_accuracy": 0.61 if known else NAN, "icc1": 0.31, "krippendorff_alpha": 0.28}
            | {"n_raters": 3}
            | {"reason": "" if known else f"rater ids do not persist{outside}"}
        )
    chosen = _choice(dimensions, groups, scopes, n_prompts, outside, model)
    ratings, scores = _texts(dimensions, groups, layers, named, n_prompts, outside, text)
    claim = Claim(
        text or "The paper's score orders texts as people do.",
        Interval(0.58, 0.52, 0.64),
        text or "share of 120 pairs",
        text or "random directions: 0.41 to 0.59",
        text or "length: 0.62",
        "not supported",
        text or "Length alone does better.",
    )
    tables = {
        "agreement": _table(agreement, AGREEMENT_COLUMNS),
        "nulls": _table(nulls, NULL_COLUMNS),
        "ceilings": _table(tops, CEILING_COLUMNS),
        "per_prompt": _table(prompts, PROMPT_COLUMNS),
        "choice": _table(chosen, CHOICE_COLUMNS),
        "ratings": _table(ratings, RATING_COLUMNS),
        "judges": _table(_judges(outside) if model else [], JUDGE_COLUMNS),
        "between": _table(_between(outside) if model else [], BETWEEN_COLUMNS),
        "scores": pd.DataFrame(scores),
        "claims": pd.DataFrame([claim_record(claim)]),
    }
    return EvaluateResult(
        config=EvaluateConfig(),
        tables=tables,
        claims=(claim,),
        warnings=(f"a warning: {outside}",),
        layer=PRIMARY if model else None,
        layer_reason=f"best held-out AUROC (0.97){outside}" if model else "no model was asked for",
        source=f"own ratings{outside}",
        provenance={"model": {"name": f"tiny{outside}"}} if model else {},
        seconds={"statistics": 2.5},
    )


def _agreement(
    name: str, score: str, layer: int | None, value: float, n_pairs: int
) -> dict[str, Any]:
    half = HALF_LENGTH if score == "length" else HALF
    return {
        "score": name,
        "layer": layer,
        "kind": KIND_OF[score],
        "pairwise_accuracy": value,
        "n_pairs": n_pairs,
        "kendall": 1.5 * (value - 0.5),
        "spearman": 1.8 * (value - 0.5),
        "system_kendall": NAN,
        "ci_low": value - half,
        "ci_high": value + half,
        "p_value": 0.012,
        "p_holm": 0.024,
        "n_texts": 48,
        "n_prompts": 12,
    }


def _details(score: str, value: float, known: bool) -> dict[str, float]:
    """What is added to length, and what is left of it: known at the primary layer only."""
    unknown = not known or score == "naive_choice"
    gain = NAN if unknown or score in ("length", "nll") else 0.2 * (value - 0.5)
    matched = NAN if unknown else 0.5 + 0.4 * (value - 0.5)
    return {
        "increment": gain,
        "increment_low": gain - 0.02,
        "increment_high": gain + 0.02,
        "increment_sign": NAN if unknown else math.copysign(1.0, value - 0.5),
        "increment_pairs": NAN if unknown else 40,
        "increment_prompts": NAN if unknown else 12,
        "difference": NAN if unknown else value - 0.6,
        "difference_low": NAN if unknown else value - 0.7,
        "difference_high": NAN if unknown else value - 0.5,
        "difference_pairs": NAN if unknown else 40,
        "partial_spearman": NAN if unknown else 0.5 * (value - 0.5),
        "matched_accuracy": matched,
        "matched_low": matched - 0.1,
        "matched_high": matched + 0.1,
        "matched_pairs": 0 if unknown else 18,
    }


def _texts(
    dimensions: Sequence[str],
    groups: Sequence[str],
    layers: Sequence[int],
    named: Sequence[tuple[str, str, int | None]],
    n_prompts: int,
    outside: str,
    text: str | None,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Four texts a prompt, two of people and two of a model; the score grows with lay ratings."""
    generator = np.random.default_rng(0)
    ratings, scores = [], []
    for p in range(n_prompts):
        for k in range(4):
            own = {
                "text_id": f"t{p}-{k}{outside}",
                "prompt_id": f"p{p:02d}{outside}",
                "author_type": "human" if k % 2 == 0 else "model",
                "system": "",
            }
            for d, dimension in enumerate(dimensions):
                for group in groups:
                    rating = 3 + p / 10 + (k - 1.5) * (1 if group == "lay" else -1) - 0.1 * d
                    ratings.append(
                        own
                        | {"dimension": dimension + outside, "rater_group": group + outside}
                        | {"rating": rating, "n": 3}
                    )
            noise = 0.05 * generator.standard_normal()
            values = {
                column_name(name, layer): 0.1 * (k - 1.5) + noise + 0.3 * p
                for name, _, layer in named
            }
            story = text or f"Story {k} on prompt {p} begins with a heron and a rusty key. " * 2
            scores.append({"text_id": own["text_id"], "text": story} | values)
    return ratings, scores


def _choice(
    dimensions: Sequence[str],
    groups: Sequence[str],
    scopes: Sequence[str],
    n_prompts: int,
    outside: str,
    model: bool,
) -> list[dict[str, Any]]:
    """Two of three prompts choose the whitened projection at layer 4, the others layer 5."""
    return [
        {"dimension": d + outside, "rater_group": g + outside, "scope": s}
        | {"prompt_id": f"p{p:02d}{outside}", "score": "whitened", "layer": 5 if p % 3 == 2 else 4}
        for d in dimensions
        for g in groups
        for s in scopes
        for p in range(n_prompts if model else 0)
    ]


def _judges(outside: str) -> list[dict[str, Any]]:
    values = {
        "position bias": 0.45,
        "consistency": 0.12,
        "mass on the labels": 0.66,
        "cost in dollars": 1.25,
    }
    rows = [
        {"judge": "naive_choice", "measure": name, "value": value, "note": outside}
        for name, value in values.items()
    ]
    return [
        *rows,
        {"judge": "naive_rating", "measure": "mass on the scale", "value": 0.9, "note": outside},
    ]


def _between(outside: str) -> list[dict[str, Any]]:
    pairs = (
        ("naive_rating", "naive_choice", 0.64),
        ("naive_rating", "cosine", 0.52),
        ("naive_choice", "cosine", 0.47),
        ("naive_choice", f"gpt{outside}", 0.55),
    )
    return [
        {"first": a, "second": b, "pairwise_accuracy": value, "kendall": 0.1, "spearman": 0.12}
        | {"ci_low": value - HALF, "ci_high": value + HALF, "p_value": 0.2, "n_pairs": 60}
        for a, b, value in pairs
    ]


def _table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    table = pd.DataFrame(list(rows), columns=list(columns))
    return table.astype({"layer": "Int64"}) if "layer" in columns else table
