"""The tidy tables of a study of agreement, and what it returns.

Columns that are shared: `dimension`, `rater_group` and `scope` say what is compared with what
(`scope` is `prompt` or `prompt+author`); `score`, `layer` (empty for a score without one) and
`kind` name the score.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from creativity_lens.studies.claims import Claim
from creativity_lens.studies.evaluate_config import EvaluateConfig

if TYPE_CHECKING:
    from pandas import DataFrame

WHERE = ("dimension", "rater_group", "scope")
INCREMENT_COLUMNS = (
    *("increment", "increment_low", "increment_high"),
    *("increment_sign", "increment_pairs", "increment_prompts"),
)
DIFFERENCE_COLUMNS = ("difference", "difference_low", "difference_high", "difference_pairs")
AGREEMENT_COLUMNS = (
    *("score", "layer", *WHERE),
    *("pairwise_accuracy", "n_pairs", "kendall", "spearman", "system_kendall"),
    *("ci_low", "ci_high", "p_value", "ceiling"),
    "p_holm",
    *INCREMENT_COLUMNS,
    *("partial_spearman", "matched_accuracy", "matched_low", "matched_high", "matched_pairs"),
    *DIFFERENCE_COLUMNS,
    *("kind", "n_texts", "n_prompts", "note"),
)
"""One row a score and comparison. Known for scores without a layer and at the primary layer only:

`increment`, what the score adds to length with likelihood (without a model, to length alone),
cross-fitted by prompt, on `increment_pairs` of `increment_prompts`; `increment_sign` is 1 if the
models used the score as it is, -1 if turned around. Not known for what the base holds, nor for
`chosen` and `fitted`, which the ratings themselves made.
`partial_spearman`, given log length. `matched_*`, on pairs of which the lengths differ by at most a
tenth. `difference`, the accuracy less that of the paper's score at the primary layer, on the
`difference_pairs` that both know, in the same draws."""
NULL_COLUMNS = ("null", "layer", *WHERE, "mean", "low", "high", "n", "share_as_far")
"""What random directions reach: mean and central 95 % of their accuracies, and the share of them
that lie as far from one half as the paper's score does."""
CEILING_COLUMNS = (
    *(*WHERE, "ceiling", "ceiling_low", "ceiling_high", "n_pairs"),
    *("paper_accuracy", "length_accuracy", "icc1", "krippendorff_alpha", "n_raters", "reason"),
)
"""How well one rater agrees with the mean of the others, and two scores on the same targets."""
PROMPT_COLUMNS = ("score", "layer", *WHERE, "prompt_id", "accuracy", "n_pairs")
CHOICE_COLUMNS = (*WHERE, "prompt_id", "score", "layer")
"""Which variant and layer the other prompts chose for each prompt."""
RATING_COLUMNS = (*("text_id", "prompt_id", "author_type", "system"), *WHERE[:2], "rating", "n")
"""Mean rating of each text, and of how many ratings."""
JUDGE_COLUMNS = ("judge", "measure", "value", "note")
"""What is known of a judge beside its agreement: position bias, consistency, mass on the labels."""
BETWEEN_COLUMNS = (
    *("first", "second", "pairwise_accuracy", "ci_low", "ci_high", "p_value"),
    *("kendall", "spearman", "n_pairs"),
)
"""Agreement between two judges, or a judge and the paper's score, as with people."""


@dataclass(frozen=True, eq=False)
class EvaluateResult:
    """What a study of agreement with people found.

    Attributes:
        config: what was asked.
        tables: `agreement`, `nulls`, `ceilings`, `per_prompt`, `choice`, `ratings`, `judges`,
            `between`, `scores` (one row a text, a column for each score; `cosine@20` is that of
            layer 20), `claims`.
        claims: what can be said, each with its estimate, null, rival and verdict.
        warnings: what should be known before any number is believed.
        layer: the primary layer; None without a model.
        layer_reason: how it was chosen.
        source: of the ratings.
        provenance: of the directions; empty without a model.
        seconds: how long each stage took.
    """

    config: EvaluateConfig
    tables: Mapping[str, "DataFrame"]
    claims: tuple[Claim, ...]
    warnings: tuple[str, ...]
    layer: int | None
    layer_reason: str
    source: str
    provenance: Mapping[str, Any]
    seconds: Mapping[str, float]


def judge_row(judge: str, measure: str, value: Any, note: str) -> dict[str, Any]:
    """A row of the table `judges`."""
    return {"judge": judge, "measure": measure, "value": float(value), "note": note}


def column_name(score: str, layer: int | None) -> str:
    """How a score is called in the table `scores`."""
    return score if layer is None else f"{score}@{layer}"
