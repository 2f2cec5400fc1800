"""Claims: what a report says, each with its estimate, null, rival and a verdict that follows."""

from dataclasses import dataclass
from typing import Any, Literal

from creativity_lens.stats import Interval

Verdict = Literal["supported", "not supported", "with a caveat"]

SAME_CONTRAST = (
    "The ruler is made from the same contrast as the lever: whether people find the texts more "
    "creative is another question."
)


@dataclass(frozen=True)
class Claim:
    """One row of the table that opens a report.

    Attributes:
        statement: the claim, in words that could turn out false.
        estimate: the number that speaks to it and its 95 % interval.
        unit: what the number is.
        null: what it would be if there were nothing, and how that was found.
        rival: the best cheap alternative, and how it does.
        verdict: follows from the numbers by the rule in `reason`.
        reason: one sentence.
    """

    statement: str
    estimate: Interval
    unit: str
    null: str
    rival: str
    verdict: Verdict
    reason: str


def claim_record(claim: Claim) -> dict[str, Any]:
    """A claim as plain values, as it stands in `claims.json`."""
    return {
        "claim": claim.statement,
        "estimate": claim.estimate.estimate,
        "ci_low": claim.estimate.low,
        "ci_high": claim.estimate.high,
        "unit": claim.unit,
        "null": claim.null,
        "rival": claim.rival,
        "verdict": claim.verdict,
        "reason": claim.reason,
    }


def readable_claim(
    statement: str,
    probe: Interval,
    *,
    p_value: float,
    null_95: float,
    n_permutations: int,
    rival: str,
    rival_estimate: float,
    advantage: Interval,
    instruction_in_context: bool,
) -> Claim:
    """A claim that the contrast can be read from the residual stream.

    Supported only if the label-swap null is rejected (p < 0.05, corrected over layers) and the
    paired interval of (probe - best rival) excludes 0; and with a caveat if the instruction that
    defines the contrast was itself in the model's context.
    """
    beats_null = p_value < 0.05
    beats_rival = advantage.low > 0
    verdict: Verdict = "not supported"
    if not beats_null and 1 / (n_permutations + 1) >= 0.05:
        reason = f"With {n_permutations} swaps no p can be under 0.05: ask for at least 20."
    elif not beats_null:
        reason = "Swapping the labels within premises does as well."
    elif not beats_rival:
        reason = (
            "It beats swapped labels, but the best cheap rival does about as well, so what the "
            "model has learned is not shown to add anything."
        )
    elif instruction_in_context:
        verdict = "with a caveat"
        reason = (
            "It beats the null and the rival, but the instruction stood in the model's context: "
            "what is read may be the instruction."
        )
    else:
        verdict = "supported"
        reason = "It beats the null, and the best rival by an interval that excludes 0."
    return Claim(
        statement=statement,
        estimate=probe,
        unit="AUROC, layer chosen within the folds",
        null=(
            f"95 % of the largest AUROC over layers with swapped labels: {null_95:.2f} "
            f"(p = {p_value:.3f}, {n_permutations} swaps)"
        ),
        rival=(
            f"{rival}: {rival_estimate:.2f}; probe minus best rival {advantage.estimate:+.2f} "
            f"[{advantage.low:+.2f}, {advantage.high:+.2f}]"
        ),
        verdict=verdict,
        reason=reason,
    )


def ranking_claim(
    accuracy: Interval,
    *,
    n_pairs: int,
    layer: int,
    null_95: float,
    n_null: int,
    rival: str,
    rival_accuracy: float,
    advantage: Interval,
) -> Claim:
    """A claim that the score ranks the two texts of an unseen pair."""
    verdict: Verdict = "not supported"
    # Written so that NaN, which is neither more nor less than anything, supports nothing.
    if not (accuracy.estimate > null_95 and accuracy.low > 0.5):
        reason = "The interval is not above chance, or random directions do as well."
    elif not advantage.low > 0:
        verdict = "with a caveat"
        reason = "Better than chance, but not shown to be better than the best cheap rival."
    else:
        verdict = "supported"
        reason = "Better than chance, than random directions and than the best cheap rival."
    return Claim(
        statement=(
            f"The score (mean cosine at layer {layer}) ranks the creative text of an unseen "
            "premise above the uncreative one, with the instruction out of sight."
        ),
        estimate=accuracy,
        unit=f"share of {n_pairs} held-out pairs; chance 0.5",
        null=(
            f"95 % of directions drawn from the within-class covariance: {null_95:.2f} "
            f"({n_null} draws, the better sign of each)"
        ),
        rival=(
            f"{rival}: {rival_accuracy:.2f}; score minus rival {advantage.estimate:+.2f} "
            f"[{advantage.low:+.2f}, {advantage.high:+.2f}]"
        ),
        verdict=verdict,
        reason=reason,
    )


def steering_claim(
    statement: str,
    change: Interval,
    *,
    cost: Interval,
    read_layer: int,
    n_prompts: int,
    random_changes: tuple[float, ...],
    rival: str,
    random_name: str = "directions from the within-class covariance",
) -> Claim:
    """A claim that steering raises the score that the unsteered model reads elsewhere.

    At best `with a caveat`: the interval must lie above 0 and every random direction of the same
    length (`random_changes`, named `random_name`; none is no null) must move the score less.
    """
    verdict: Verdict = "not supported"
    if not change.low > 0:
        reason = "The interval of the change is not above 0."
    elif not random_changes:
        reason = "No random direction of the same length was tried: any push might do as much."
    elif not all(change.estimate > abs(value) for value in random_changes):
        reason = "Random directions of the same length move the score as far."
    else:
        verdict = "with a caveat"
        reason = (
            "The texts move the way the direction points, more than random directions move them. "
            f"{SAME_CONTRAST} Cost: {cost.estimate:+.2f} nats a token "
            f"[{cost.low:+.2f}, {cost.high:+.2f}]."
        )
    null = "not tried"
    if random_changes:
        null = (
            f"{len(random_changes)} {random_name}, same length: the largest change is "
            f"{max(random_changes, key=abs):+.3f}"
        )
    return Claim(
        statement=statement,
        estimate=change,
        unit=f"change of the score at layer {read_layer}, {n_prompts} prompts",
        null=null,
        rival=rival,
        verdict=verdict,
        reason=reason,
    )
