"""What all claims of a sweep share: the rules that hold for each, and reading a row."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from creativity_lens.stats import Interval
from creativity_lens.studies.claims import Claim, Verdict
from creativity_lens.studies.sweep_choice import RULER_AT_LEVER

FEWEST_PROMPTS = 5
UNKNOWN = Interval(math.nan, math.nan, math.nan)


def judged(
    statement: str,
    estimate: Interval,
    *,
    unit: str,
    null: str,
    rival: str,
    verdict: Verdict,
    reason: str,
    n_prompts: int | None,
    lever: bool,
) -> Claim:
    """A claim by the rules that hold for all.

    Args:
        statement: see `Claim`, as the next ones.
        estimate: see `Claim`.
        unit: see `Claim`.
        null: see `Claim`.
        rival: see `Claim`.
        verdict: what the claim's own rule says.
        reason: why it says so.
        n_prompts: the test prompts; None if there is nothing to count and the reason says why.
        lever: whether the score is read where the cell was steered.
    """
    if lever and verdict == "supported":
        verdict = "with a caveat"
    if lever and verdict == "with a caveat":
        reason = f"{reason} {sentence(RULER_AT_LEVER)}"
    claim = Claim(statement, estimate, unit, null, rival, verdict, reason)
    return claim if n_prompts is None else enough(claim, n_prompts)


def enough(claim: Claim, n_prompts: int) -> Claim:
    """The claim, or that there are too few prompts for any."""
    if n_prompts >= FEWEST_PROMPTS:
        return claim
    reason = f"{n_prompts} test prompts are too few to say: give at least {FEWEST_PROMPTS}."
    return replace(claim, verdict="not supported", reason=reason)


def read_interval(row: Mapping[Any, Any], name: str) -> Interval:
    """The three columns that `probe_tables.spread` makes of an interval."""
    return Interval(*(float(row[f"{name}{end}"]) for end in ("", "_low", "_high")))


def sentence(words: str) -> str:
    """With a capital and a full stop."""
    return f"{words[0].upper()}{words[1:]}."
