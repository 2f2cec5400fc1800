"""The rules that hold for every claim of a sweep."""

import math
from dataclasses import replace

from creativity_lens.stats import Interval
from creativity_lens.studies.claims import SAME_CONTRAST, Claim
from creativity_lens.studies.sweep_budgets import FEWEST_PROMPTS, RULER_AT_LEVER

FEW_PROMPTS = 10
"""A percentile bootstrap of fewer prompts covers less than it says."""
FEWEST_DRAWS = 20
"""The best of n + 1 has a rank p of 1 / (n + 1), which is under .05 from 20 random draws on."""
UNKNOWN = Interval(math.nan, math.nan, math.nan)


def judged(
    claim: Claim, *, n_prompts: int | None, lever: bool, n_random: int | None = None
) -> Claim:
    """A claim by the rules that hold for all; each says its own sentence, once.

    Every claim of a sweep rests on the activation score, which is made from the contrast that made
    the direction. So none is ever more than `with a caveat`, whatever its own rule says.

    Args:
        claim: with the verdict of its own rule, and why.
        n_prompts: the test prompts; None if there is nothing to count and the reason says why.
        lever: whether the score is read where the cell was steered.
        n_random: the random draws that the claim compares with; None if it compares with none.
    """
    if n_prompts is not None and n_prompts < FEWEST_PROMPTS:
        reason = f"{n_prompts} test prompts are too few to say: give at least {FEWEST_PROMPTS}."
        return replace(claim, verdict="not supported", reason=reason)
    said = [claim.reason]
    if claim.verdict != "not supported":
        claim = replace(claim, verdict="with a caveat")
        if SAME_CONTRAST not in claim.reason:
            said.append(SAME_CONTRAST)
        if n_random is not None and n_random < FEWEST_DRAWS:
            said.append(
                f"{_counted(n_random)} only: {FEWEST_DRAWS} are needed for p < .05 by rank."
            )
        if lever:
            said.append(sentence(RULER_AT_LEVER))
    if n_prompts is not None and n_prompts < FEW_PROMPTS:
        said.append(f"Only {n_prompts} prompts: the interval is too narrow.")
    return replace(claim, reason=" ".join(said))


def drawn(n_random: int) -> str:
    """For the column `null`: how many random draws there were."""
    return f"{_counted(n_random)} beside it"


def sentence(words: str) -> str:
    """With a capital and a full stop."""
    return f"{words[0].upper()}{words[1:]}."


def _counted(n_random: int) -> str:
    return "1 random direction" if n_random == 1 else f"{n_random} random directions"
