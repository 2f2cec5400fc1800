"""How many pairs and raters a wanted interval needs.

The share of comparisons that one set wins is a mean of choices that are not independent: raters of
the same pair look at the same two texts, pairs on one prompt share it, and one rater brings the
same taste to every pair. Let choices be a sum of effects of prompt, pair and rater and of noise,
with p the share, n pairs, m pairs a prompt, k raters a pair, R raters in all. Counting the
covariances of one choice with all others gives

    var(mean) = p (1 - p) / (n k) * bracket
    bracket = 1 + (k - 1) r_pair + (m - 1) k r_prompt + (n k / R - 1) r_rater

where r_pair is the correlation of two raters' choices on the same pair, r_prompt that of choices on
two pairs of one prompt, and r_rater that of one rater's choices on two pairs. The bracket is Kish's
design effect (L. Kish, Survey Sampling, 1965; for nested levels A. Donner and N. Klar, Design and
Analysis of Cluster Randomization Trials, 2000), with raters crossed with pairs as in J. Westfall,
D. A. Kenny and C. M. Judd (2014, J. Exp. Psychology: General 143, 2020-2045), who show that no
number of pairs makes up for too few raters. The interval is p +- z sqrt(var), solved for n as in
W. G. Cochran, Sampling Techniques, 1977, chapter 4.

With r_rater = 0 the interval speaks of the raters at hand, as that of `preference` does.
"""

import math
from typing import NamedTuple

from scipy.stats import norm

from creativity_lens.errors import InputError


class StudySize(NamedTuple):
    """A study that is large enough."""

    n_pairs: int
    """Pairs to compare; a multiple of the pairs a prompt."""
    n_prompts: int
    raters: int
    """Raters in all."""
    raters_per_pair: int
    pairs_per_rater: int
    """How many pairs each rater judges, rounded up."""
    n_choices: int
    design_effect: float
    """How many times the choices of a sample without any correlation are needed."""
    width: float
    """What the study's interval is expected to have, from end to end: at most the wanted width."""


def study_size(
    width: float,
    *,
    share: float = 0.5,
    raters_per_pair: int = 3,
    raters: int | None = None,
    pairs_per_prompt: int = 1,
    pair_icc: float = 0.3,
    agreement: float | None = None,
    prompt_icc: float = 0.05,
    rater_icc: float = 0.0,
    level: float = 0.95,
) -> StudySize:
    """The fewest pairs whose interval of the preference share is expected to be narrow enough.

    A width of 0.2 at a share of 0.5 is an interval from 0.4 to 0.6. Ties make the true interval
    narrower than planned. Under about ten prompts the formula is too bold, and so are bootstrap
    intervals over prompts.

    Args:
        width: wanted width from end to end, in (0, 1).
        share: expected share of comparisons that one set wins, in (0, 1). 0.5 is the worst case.
        raters_per_pair: k.
        raters: R; None lets each rater judge every pair, so R = k.
        pairs_per_prompt: m.
        pair_icc: r_pair, from 0 to 1. 0.3 is an assumption: two raters of a pair then agree in 65 %
            of cases at a share of 0.5.
        agreement: how often two raters of a pair choose the same text, instead of `pair_icc`;
            `rater_agreement` measures it in a pilot. Chance is share^2 + (1 - share)^2.
        prompt_icc: r_prompt, from 0 to r_pair; only used with several pairs a prompt. 0.05 is an
            assumption.
        rater_icc: r_rater; 0 asks about the raters at hand, more asks about people like them.
        level: of the interval.

    Raises:
        InputError: a number out of range, correlations that cannot be together, or a width that no
            number of pairs reaches with so few raters (says how many are needed).
    """
    if not 0 < width < 1:
        raise InputError(f"study_size: width must be between 0 and 1, got {width}.")
    plan = _Plan.of(
        *(share, raters_per_pair, raters, pairs_per_prompt, pair_icc, agreement),
        *(prompt_icc, rater_icc, level),
    )
    wanted = (width / (2 * plan.z)) ** 2
    floor = plan.spread * rater_icc / plan.raters
    if floor >= wanted:
        raise InputError(
            f"study_size: {plan.raters} raters whose tastes differ so much (rater_icc {rater_icc}) "
            f"give no interval of width {width}, whatever the number of pairs: ask at least "
            f"{math.floor(plan.spread * rater_icc / wanted) + 1} raters, better twice as many."
        )
    needed = plan.spread * (plan.same_texts - rater_icc) / (raters_per_pair * (wanted - floor))
    # A hair less, or 384.0000001 would become 385.
    n_prompts = max(1, math.ceil(needed / pairs_per_prompt - 1e-9))
    n_pairs = n_prompts * pairs_per_prompt
    n_choices = n_pairs * raters_per_pair
    return StudySize(
        n_pairs=n_pairs,
        n_prompts=n_prompts,
        raters=plan.raters,
        raters_per_pair=raters_per_pair,
        pairs_per_rater=math.ceil(n_choices / plan.raters),
        n_choices=n_choices,
        design_effect=plan.design_effect(n_choices),
        width=plan.width(n_choices),
    )


def expected_width(
    n_pairs: int,
    *,
    share: float = 0.5,
    raters_per_pair: int = 3,
    raters: int | None = None,
    pairs_per_prompt: int = 1,
    pair_icc: float = 0.3,
    agreement: float | None = None,
    prompt_icc: float = 0.05,
    rater_icc: float = 0.0,
    level: float = 0.95,
) -> float:
    """The expected width, from end to end, of a study's interval; arguments as `study_size`.

    Raises:
        InputError: as `study_size`.
    """
    if n_pairs < 1:
        raise InputError(f"expected_width: n_pairs must be at least 1, got {n_pairs}.")
    plan = _Plan.of(
        *(share, raters_per_pair, raters, pairs_per_prompt, pair_icc, agreement),
        *(prompt_icc, rater_icc, level),
    )
    return plan.width(n_pairs * raters_per_pair)


class _Plan(NamedTuple):
    """What the formula needs, checked."""

    spread: float
    z: float
    same_texts: float
    """The bracket without its last term."""
    rater_icc: float
    raters: int

    @classmethod
    def of(
        cls,
        share: float,
        raters_per_pair: int,
        raters: int | None,
        pairs_per_prompt: int,
        pair_icc: float,
        agreement: float | None,
        prompt_icc: float,
        rater_icc: float,
        level: float,
    ) -> "_Plan":
        for name, value in {"share": share, "level": level}.items():
            if not 0 < value < 1:
                raise InputError(f"study_size: {name} must be between 0 and 1, got {value}.")
        counts = {"raters_per_pair": raters_per_pair, "pairs_per_prompt": pairs_per_prompt}
        for name, number in counts.items():
            if number < 1:
                raise InputError(f"study_size: {name} must be at least 1, got {number}.")
        total = raters_per_pair if raters is None else raters
        if total < raters_per_pair:
            raise InputError(
                f"study_size: {total} raters in all cannot give {raters_per_pair} raters a pair."
            )
        spread = share * (1 - share)
        if agreement is not None:
            chance = 1 - 2 * spread
            if not chance - 1e-12 <= agreement <= 1:
                raise InputError(
                    f"study_size: agreement must be from {chance:.3g}, which is chance at this "
                    f"share, to 1, got {agreement}."
                )
            # Two choices are equal with p^2 + q^2 + 2 p q r.
            pair_icc = max((agreement - chance) / (2 * spread), 0.0)
        limits = {"pair_icc": (pair_icc, 1.0), "rater_icc": (rater_icc, 1 - pair_icc)}
        if pairs_per_prompt > 1:  # pairs on one prompt are at most as alike as a pair with itself
            limits["prompt_icc"] = (prompt_icc, pair_icc)
        for name, (value, top) in limits.items():
            if not 0 <= value <= top + 1e-12:
                raise InputError(f"study_size: {name} must be from 0 to {top:.3g}, got {value}.")
        same_texts = (
            1
            + (raters_per_pair - 1) * pair_icc
            + (pairs_per_prompt - 1) * raters_per_pair * prompt_icc
        )
        return cls(spread, float(norm.ppf(0.5 + level / 2)), same_texts, rater_icc, total)

    def design_effect(self, n_choices: int) -> float:
        return self.same_texts + (n_choices / self.raters - 1) * self.rater_icc

    def width(self, n_choices: int) -> float:
        return 2 * self.z * math.sqrt(self.spread / n_choices * self.design_effect(n_choices))
