"""One comparison of all scores with people: one dimension, one group of raters, one scope."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from creativity_lens.evaluation.accuracy import accuracies, per_prompt
from creativity_lens.evaluation.agreement import Agreement, agreement, judged_agreement
from creativity_lens.evaluation.ceilings import Ceiling, ceiling, icc1, krippendorff_alpha
from creativity_lens.evaluation.difference import Difference, differences, judged_difference
from creativity_lens.evaluation.fitted import fitted_scores
from creativity_lens.evaluation.increment import increment, matched_length
from creativity_lens.evaluation.rank_agreement import partial_spearman
from creativity_lens.stats import Array
from creativity_lens.studies.evaluate_choice import choose
from creativity_lens.studies.evaluate_comparisons import Comparison, JudgedPairs, ReadTexts
from creativity_lens.studies.evaluate_config import EvaluateConfig
from creativity_lens.studies.evaluate_scores import (
    CHOSEN,
    FITTED,
    FITTED_WORDS,
    LENGTH,
    NLL,
    PAPER,
    ScoreColumns,
    ScoreKey,
    together,
)
from creativity_lens.studies.evaluate_tables import DIFFERENCE_COLUMNS, INCREMENT_COLUMNS

LENGTHS = (LENGTH, "n_words", "text_length")
"""What may stand for a text's length."""


@dataclass(frozen=True, eq=False)
class ComparisonRows:
    """The rows of one comparison for each table."""

    agreement: list[dict[str, Any]]
    nulls: list[dict[str, Any]]
    ceilings: list[dict[str, Any]]
    per_prompt: list[dict[str, Any]]
    choice: list[dict[str, Any]]


def compare(
    one: Comparison,
    columns: ScoreColumns,
    read: ReadTexts | None,
    judged: Sequence[JudgedPairs],
    primary: int | None,
    config: EvaluateConfig,
) -> ComparisonRows:
    """Hold all scores against the ratings of one comparison.

    Args:
        one: the comparison.
        columns: the scores.
        read: what the model read; None without a model.
        judged: judges that compared pairs.
        primary: the layer of the paper's score; None without a model.
        config: what is asked.
    """
    if read is not None:
        columns = together(columns, _fitted(one, read, config))
    choice = choose(one.design, _candidates(columns), one.prompts)
    if choice.chosen:
        key = ScoreKey(CHOSEN, None, "score")
        columns = together(columns, ScoreColumns((key,), choice.values[None]))
    top = _ceiling(one, columns, primary, config)
    draws = _draws(one, config)
    found = agreement(
        one.design,
        columns.values,
        systems=one.systems,
        n_permutations=config.n_permutations,
        **draws,
    )
    notes = " ".join(one.design.notes)
    rows = [
        _row(one, key, agreed, top, notes) for key, agreed in zip(columns.keys, found, strict=True)
    ]
    chosen = [key.layer in (None, primary) for key in columns.keys]
    details = _details(one, columns.where(chosen), config)
    for row, detail in zip(
        (row for row, keep in zip(rows, chosen, strict=True) if keep), details, strict=True
    ):
        row |= detail
    paper = columns.find(PAPER, primary) if primary is not None else None
    if paper is not None:
        against = differences(one.design, paper, columns.where(chosen).values, **draws)
        for row, less in zip(
            (row for row, keep in zip(rows, chosen, strict=True) if keep), against, strict=True
        ):
            row |= _difference(less) if (row["score"], row["layer"]) != (PAPER, primary) else {}
    for judge in judged:
        agreed = judged_agreement(
            one.design,
            judge.pairs,
            judge.preference,
            n_permutations=config.n_permutations,
            **draws,
        )
        row = _row(one, ScoreKey(judge.judge, None, "judge"), agreed, top, notes)
        if paper is not None:
            less = judged_difference(one.design, paper, judge.pairs, judge.preference, **draws)
            row |= _difference(less)
        rows.append(row)
    return ComparisonRows(
        rows,
        [] if read is None else _nulls(one, columns, read.random, read.layers),
        [_ceiling_row(one, top)],
        _prompt_rows(one, columns.where(chosen)),
        [
            one.where | {"prompt_id": prompt, "score": key.score, "layer": key.layer}
            for prompt, key in choice.chosen
        ],
    )


def _draws(one: Comparison, config: EvaluateConfig) -> dict[str, Any]:
    """What all intervals of a comparison share, so that differences are paired."""
    return {
        "n_draws": config.n_draws,
        "seed": config.seed,
        "ratings_by_rater": one.raters if one.persistent else None,
    }


def _difference(less: Difference) -> dict[str, Any]:
    values = (*less.difference, less.n_pairs)
    return dict(zip(DIFFERENCE_COLUMNS, values, strict=True))


def length_of(columns: ScoreColumns) -> Float[Array, " text"] | None:
    """How long each text is: that of `LENGTHS` which most texts have, the first among equals."""
    found = [row for row in map(columns.find, LENGTHS) if row is not None]
    known = [np.where(row > 0, row, np.nan) for row in found]
    best = max(known, key=lambda row: int((~np.isnan(row)).sum()), default=None)
    return None if best is None or np.isnan(best).all() else best


def _candidates(columns: ScoreColumns) -> ScoreColumns:
    return columns.where([key.kind == "score" for key in columns.keys])


def _fitted(one: Comparison, read: ReadTexts, config: EvaluateConfig) -> ScoreColumns:
    """By directions that were fitted to the ratings of other prompts, and the same fitted to words.

    None if there are too few.
    """
    values = np.concatenate(
        [
            fitted_scores(
                one.design, features, read.places, n_folds=config.n_folds, seed=config.seed
            )
            for features in (read.means, read.words[:, None])
        ]
    )
    known = not np.isnan(values).all()
    keys = [ScoreKey(FITTED, layer, FITTED) for layer in read.layers]
    keys.append(ScoreKey(FITTED_WORDS, None, FITTED))
    return ScoreColumns(tuple(keys), values).where([known] * len(keys))


def _row(
    one: Comparison, key: ScoreKey, found: Agreement, top: Ceiling, notes: str
) -> dict[str, Any]:
    few = "These prompts only: texts were resampled within them." * found.these_prompts_only
    return (
        {"score": key.score, "layer": key.layer, "kind": key.kind}
        | one.where
        | {
            "pairwise_accuracy": found.pairwise_accuracy,
            "n_pairs": found.n_pairs,
            "kendall": found.kendall,
            "spearman": found.spearman,
            # Of different prompts by different scores, so no mean of a system can be taken.
            "system_kendall": (math.nan if key.score in (CHOSEN, FITTED) else found.system_kendall),
            "ci_low": found.ci_low,
            "ci_high": found.ci_high,
            "p_value": found.p_value,
            "ceiling": top.accuracy,
            "n_texts": found.n_texts,
            "n_prompts": found.n_prompts,
            "note": f"{notes} {few}".strip(),
        }
    )


def _details(
    one: Comparison, columns: ScoreColumns, config: EvaluateConfig
) -> list[dict[str, Any]]:
    """What each score adds to length with likelihood, and how it does apart from length."""
    length = length_of(columns)
    if length is None:
        return [{} for _ in columns.keys]
    logs = np.log(length)
    nll = columns.find(NLL)
    base = np.stack([logs] if nll is None else [logs, nll])
    settings = _draws(one, config)
    gains = increment(one.design, base, columns.values, n_folds=config.n_folds, **settings)
    matched = matched_length(one.design, columns.values, length, **settings)
    partial = partial_spearman(one.design, columns.values, logs)
    found = []
    for key, gain, near, rho in zip(columns.keys, gains, matched, partial, strict=True):
        row = {
            "partial_spearman": float(rho),
            "matched_accuracy": near.accuracy.estimate,
            "matched_low": near.accuracy.low,
            "matched_high": near.accuracy.high,
            "matched_pairs": near.n_pairs,
        }
        # What the base holds adds nothing to it. In what ratings of other prompts chose or fitted,
        # the ratings of the prompt that is held out have had a part.
        if key.score not in (*LENGTHS, NLL, CHOSEN) and key.kind != FITTED:
            values = (*gain.gain, gain.sign, gain.n_pairs, gain.n_prompts)
            row |= dict(zip(INCREMENT_COLUMNS, values, strict=True))
        found.append(row)
    return found


def _ceiling(
    one: Comparison, columns: ScoreColumns, primary: int | None, config: EvaluateConfig
) -> Ceiling:
    unknown = np.full(one.design.n_listed, np.nan)
    paper = columns.find(PAPER, primary) if primary is not None else None
    length = length_of(columns)
    held = [unknown if row is None else row for row in (paper, length)]
    return ceiling(
        one.raters,
        one.prompts,
        authors=one.authors,
        min_gap=config.min_gap,
        scores=np.stack(held),
        persistent=one.persistent,
        n_draws=config.n_draws,
        seed=config.seed,
    )


def _ceiling_row(one: Comparison, top: Ceiling) -> dict[str, Any]:
    rated = ~np.isnan(one.raters)
    return one.where | {
        "ceiling": top.accuracy,
        "ceiling_low": top.ci_low,
        "ceiling_high": top.ci_high,
        "n_pairs": top.n_pairs,
        "paper_accuracy": float(top.score_accuracy[0]),
        "length_accuracy": float(top.score_accuracy[1]),
        "icc1": icc1(one.raters),
        "krippendorff_alpha": krippendorff_alpha(one.raters),
        "n_raters": int(rated.any(axis=1).sum()),
        "reason": top.reason,
    }


def _nulls(
    one: Comparison,
    columns: ScoreColumns,
    random: Mapping[str, Float[Array, "draw layer text"]],
    layers: Sequence[int],
) -> list[dict[str, Any]]:
    rows = []
    for kind, values in random.items():
        flat = values.reshape(-1, values.shape[-1])
        found = accuracies(one.design, flat).reshape(values.shape[:2])
        for place, layer in enumerate(layers):
            drawn = found[:, place]
            known = drawn[~np.isnan(drawn)]
            low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (math.nan, math.nan)
            paper = columns.find(PAPER, layer)
            own = math.nan if paper is None else float(accuracies(one.design, paper[None])[0])
            far = np.abs(known - 0.5) >= abs(own - 0.5) - 1e-12
            rows.append(
                {"null": kind, "layer": layer}
                | one.where
                | {
                    "mean": float(known.mean()) if len(known) else math.nan,
                    "low": float(low),
                    "high": float(high),
                    "n": len(known),
                    "share_as_far": (
                        float((1 + far.sum()) / (1 + len(known)))
                        if len(known) and own == own
                        else math.nan
                    ),
                }
            )
    return rows


def _prompt_rows(one: Comparison, columns: ScoreColumns) -> list[dict[str, Any]]:
    found = per_prompt(one.design, columns.values)
    names = found.prompt
    rows = []
    for place, key in enumerate(columns.keys):
        for name in dict.fromkeys(names):
            blocks = [b for b, prompt in enumerate(names) if prompt == name]
            n = found.n_pairs[place, blocks]
            if n.sum():
                wins = np.nan_to_num(found.accuracy[place, blocks]) * n
                rows.append(
                    {"score": key.score, "layer": key.layer}
                    | one.where
                    | {
                        "prompt_id": name,
                        "accuracy": float(wins.sum() / n.sum()),
                        "n_pairs": int(n.sum()),
                    }
                )
    return rows
