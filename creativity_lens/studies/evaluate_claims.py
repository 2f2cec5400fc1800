"""What can be said about agreement with people, each with its null, its rival and a verdict.

A score is held against people on one dimension by one group of raters at a time: experts and lay
readers can disagree in sign, and their claims stand apart.
"""

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from creativity_lens.stats import Interval
from creativity_lens.studies.claims import Claim, Verdict
from creativity_lens.studies.evaluate_rows import LENGTHS
from creativity_lens.studies.evaluate_scores import (
    CHOSEN,
    FITTED,
    FITTED_WORDS,
    JUDGES,
    NLL,
    PAPER,
)

if TYPE_CHECKING:
    from pandas import DataFrame

FEW_PROMPTS = 10
FEW_PAIRS = 20
"""A way of asking that is known on fewer pairs decides nothing, if another is known on more."""
ALPHA = 0.05
MOST_GIVEN = 5
"""With more scores than this brought along, only length is claimed; the table has all of them."""


def agreement_claims(
    agreement: "DataFrame",
    nulls: "DataFrame",
    primary: int | None,
    dimension: str,
    given: tuple[str, ...] = (),
) -> tuple[Claim, ...]:
    """The claims about one dimension, for each group of raters, in the strictest scope with pairs.

    Args:
        agreement: the table.
        nulls: the table.
        primary: the layer of the paper's score; None without a model.
        dimension: which dimension the claims are about.
        given: scores that the user brought; without a model the claims are about them.
    """
    claims: list[Claim] = []
    here = agreement[agreement["dimension"] == dimension]
    for group in dict.fromkeys(here["rater_group"]):
        rows = here[here["rater_group"] == group]
        scoped = rows[rows["scope"] == "prompt+author"]
        crossing = bool(len(scoped)) and not (scoped["n_pairs"] > 0).any()
        if crossing or not len(scoped):
            scoped = rows[rows["scope"] == "prompt"]
        beside = nulls[
            (nulls["dimension"] == dimension)
            & (nulls["rater_group"] == group)
            & (nulls["scope"] == scoped["scope"].iloc[0])
        ]
        said = _Group(scoped, beside, dimension, str(group), primary)
        own: list[Claim] = []
        if primary is not None:
            own.append(said.orders(PAPER, primary))
            own.append(said.adds(PAPER, primary))
            if any(said.row(judge) is not None for judge in JUDGES):
                own.append(said.beats_asking())
            if said.row(CHOSEN) is not None:
                own.append(said.orders(CHOSEN, None))
            if said.row(FITTED, primary) is not None:
                own.append(said.orders(FITTED, primary))
        else:
            known = [name for name in given if said.row(name) is not None]
            if len(known) > MOST_GIVEN:  # to pick some of hundreds would be arbitrary
                known = [name for name in known if name in LENGTHS]
            own += [said.orders(name, None) for name in known]
        claims += [_crossing(claim) for claim in own] if crossing else own
    return tuple(claims)


class _Group:
    """Claims about one dimension, one group and one scope."""

    def __init__(
        self,
        rows: "DataFrame",
        nulls: "DataFrame",
        dimension: str,
        group: str,
        primary: int | None,
    ) -> None:
        self._rows, self._nulls, self._primary = rows, nulls, primary
        within = "prompt and author type" if rows["scope"].iloc[0] != "prompt" else "prompt"
        raters = "people" if group == "all" else f"raters of the group {group!r}"
        self._people = f"{raters} about {dimension!r}, within {within}"
        self._base = "length with likelihood" if self.row(NLL) is not None else "length"

    def row(self, score: str, layer: int | None = None) -> dict[Any, Any] | None:
        """The row of a score; None if there is none or nothing is known."""
        found = self._rows[self._rows["score"] == score]
        if layer is not None:
            found = found[found["layer"] == layer]
        known = found[found["pairwise_accuracy"].notna()]
        return known.iloc[0].to_dict() if len(known) else None

    def orders(self, score: str, layer: int | None) -> Claim:
        """Whether a score orders texts as people do."""
        name = score if layer is None else f"{score} at layer {layer}"
        statement = f"The score ({name}) orders texts as {self._people}."
        if score == FITTED:
            statement = (
                f"Some direction at layer {layer} orders texts as {self._people}: one that was "
                "fitted to the ratings of other prompts."
            )
        row = self.row(score, layer)
        if row is None:
            return _unknown(statement, "No pair of rated texts is decided.")
        # Random directions were held against the paper's score alone.
        null = self._null(layer) if score == PAPER else None
        verdict, reason, n_prompts = self._judged(score, row, null)
        if score == CHOSEN:
            reason += " Layer and variant were chosen by the ratings of the other prompts."
        elif score == FITTED and verdict != "not supported":
            reason += " That is what can be read there, not what the creativity direction reads."
        elif score == FITTED:
            reason += " With few prompts there may have been too little to fit."
        return _few(
            Claim(
                statement=statement,
                estimate=_interval(row),
                unit=f"share of {row['n_pairs']:.0f} pairs; chance 0.5"
                + (f"; ceiling {row['ceiling']:.2f}" if row["ceiling"] == row["ceiling"] else ""),
                null=f"ratings permuted: p = {row['p_value']:.3f}, over dimensions "
                f"{row['p_holm']:.3f}"
                + (
                    ""
                    if null is None
                    else f"; {null['n']:.0f} directions of the covariance within classes: "
                    f"[{null['low']:.2f}, {null['high']:.2f}]"
                ),
                rival=self._rivals() + (self._words() if score == FITTED else ""),
                verdict=verdict,
                reason=reason,
            ),
            n_prompts,
        )

    def _words(self) -> str:
        """The same fit without the model."""
        row = self.row(FITTED_WORDS)
        return "" if row is None else f"; the same {_shown(row, 'fitted to words alone')}"

    def _judged(
        self, score: str, row: dict[Any, Any], null: dict[Any, Any] | None
    ) -> tuple[Verdict, str, float]:
        """Verdict, reason, and how many prompts they rest on."""
        estimate, n_prompts = _interval(row), float(row["n_prompts"])
        # Written so that NaN, which is neither more nor less than anything, supports nothing.
        if estimate.high < 0.5:
            against = "It runs against people: the interval lies below chance."
            return "not supported", against, n_prompts
        if not (estimate.low > 0.5 and row["p_holm"] < ALPHA):
            chance = "The interval is not above chance, or permuted ratings do as well."
            return "not supported", chance, n_prompts
        better = "Better than chance"
        if null is not None:
            if 1 / (null["n"] + 1) >= ALPHA:
                few = f"{better}, but {null['n']:.0f} random directions are too few a null."
                return "with a caveat", few, n_prompts
            if not null["share_as_far"] < ALPHA:
                same = "Random directions of the texts' own covariance do as well."
                return "not supported", same, n_prompts
            better += " and than random directions"
        if score in LENGTHS:
            return "supported", f"{better}. It is what others are held against.", n_prompts
        if score in (CHOSEN, FITTED):
            made = f"{better}. What it adds to {self._base} is not known: ratings made it."
            return "with a caveat", made, n_prompts
        if row["increment"] != row["increment"]:
            unknown = f"{better}, but what it adds to length is not known."
            return "with a caveat", unknown, n_prompts
        n_prompts = min(n_prompts, float(row["increment_prompts"]))
        if not row["increment_low"] > 0:
            nothing = f"{better}, but not shown to add to {self._base}."
            return "with a caveat", nothing, n_prompts
        if not row["increment_sign"] > 0:
            turned = f"{better}, but beside {self._base} it is its opposite that adds."
            return "with a caveat", turned, n_prompts
        return "supported", f"{better}, and it adds to {self._base}.", n_prompts

    def adds(self, score: str, layer: int | None) -> Claim:
        """Whether a score adds to length with likelihood."""
        statement = (
            f"The score ({score} at layer {layer}) adds to {self._base} in telling the order of "
            f"{self._people}."
        )
        row = self.row(score, layer)
        if row is None or row["increment"] != row["increment"]:
            return _unknown(statement, "There are too few pairs, or no length, to tell.")
        gain = Interval(row["increment"], row["increment_low"], row["increment_high"])
        verdict: Verdict = "supported" if gain.low > 0 else "not supported"
        reason = f"The interval of the gain {'lies above' if gain.low > 0 else 'reaches'} 0."
        if verdict == "supported" and not row["increment_sign"] > 0:
            verdict = "with a caveat"
            reason += " The models turned the score around: it is its opposite that adds."
        return _few(
            Claim(
                statement=statement,
                estimate=gain,
                unit=f"gain in share of {row['increment_pairs']:.0f} pairs, models fitted on other "
                "prompts",
                null="0: it adds nothing",
                rival=self._rivals(),
                verdict=verdict,
                reason=reason,
            ),
            float(row["increment_prompts"]),
        )

    def beats_asking(self) -> Claim:
        """Whether reading the model does better than asking it, in whatever way."""
        statement = (
            "Reading the model agrees better than asking it, with the order of " + self._people
        ) + "."
        own = self.row(PAPER, self._primary)
        asked = [row for row in map(self.row, JUDGES) if row is not None]
        asked = [row for row in asked if row["difference"] == row["difference"]]
        # Answers that could mostly not be read are neither beaten nor to be beaten.
        asked = [row for row in asked if row["difference_pairs"] >= FEW_PAIRS] or asked
        if own is None or not asked:
            return _unknown(statement, "No pair that both know is decided.")
        # An interval that is not known may reach anywhere.
        hardest = max(asked, key=_upper)
        # The table has the rival less the score; the claim is the other way round.
        gain = Interval(
            -hardest["difference"], -hardest["difference_high"], -hardest["difference_low"]
        )
        above = own["ci_low"] > 0.5
        good = above and gain.low > 0
        if good:
            reason = "The paired interval of the difference lies above 0, for every way of asking."
        elif above:
            reason = "The paired interval of the difference is not above 0."
        else:
            reason = "The score itself is not above chance."
        return _few(
            Claim(
                statement=statement,
                estimate=gain,
                unit=f"gain in share of the {hardest['difference_pairs']:.0f} pairs that both know",
                null="0: neither is better",
                rival=f"of {len(asked)} ways of asking the hardest to beat, "
                f"{_shown(hardest, str(hardest['score']))}; "
                f"{_shown(own, f'{PAPER} at layer {self._primary}')}",
                verdict="supported" if good else "not supported",
                reason=reason,
            ),
            float(min(own["n_prompts"], hardest["n_prompts"])),
        )

    def _null(self, layer: int | None) -> dict[Any, Any] | None:
        found = self._nulls[(self._nulls["null"] == "within") & (self._nulls["layer"] == layer)]
        return found.iloc[0].to_dict() if len(found) else None

    def _rivals(self) -> str:
        """Length, and the best other baseline, each in its better direction."""
        baselines = self._rows[
            (self._rows["kind"] == "baseline") | self._rows["score"].isin(LENGTHS)
        ]
        known = baselines[baselines["pairwise_accuracy"].notna()].to_dict("records")
        lengths = [row for row in known if row["score"] in LENGTHS]
        others = [row for row in known if row["score"] not in LENGTHS]
        said = ["length: not known"]
        if lengths:
            said = [_better(max(lengths, key=lambda row: row["n_pairs"]), "length")]
        if others:
            best = max(others, key=lambda row: abs(row["pairwise_accuracy"] - 0.5))
            said.append(f"best of {len(others)} others, {_better(best, str(best['score']))}")
        return "; ".join(said)


def _better(row: dict[Any, Any], name: str) -> str:
    """A baseline in the direction in which it does better."""
    accuracy = float(row["pairwise_accuracy"])
    way = "more" if accuracy >= 0.5 else "less"
    return f"{name} ({way} is better): {max(accuracy, 1 - accuracy):.2f}"


def _shown(row: dict[Any, Any], name: str) -> str:
    estimate, low, high = _interval(row)
    return f"{name}: {estimate:.2f} [{low:.2f}, {high:.2f}] on {row['n_pairs']:.0f} pairs"


def _interval(row: dict[Any, Any]) -> Interval:
    return Interval(row["pairwise_accuracy"], row["ci_low"], row["ci_high"])


def _unknown(statement: str, reason: str) -> Claim:
    nan = float("nan")
    return Claim(statement, Interval(nan, nan, nan), "", "", "", "not supported", reason)


def _upper(row: dict[Any, Any]) -> float:
    high = float(row["difference_high"])
    return math.inf if math.isnan(high) else high


def _few(claim: Claim, n_prompts: float) -> Claim:
    """Few prompts speak of themselves alone."""
    if n_prompts >= FEW_PROMPTS:
        return claim
    return _capped(claim, f"Only {n_prompts:.0f} prompts: it holds for these prompts only.")


def _crossing(claim: Claim) -> Claim:
    """Author types are known, but no pair within one is decided."""
    return _capped(
        claim,
        "No pair within an author type is decided: across types a score may only tell who wrote "
        "the texts.",
    )


def _capped(claim: Claim, why: str) -> Claim:
    verdict: Verdict = "with a caveat" if claim.verdict == "supported" else claim.verdict
    return replace(claim, verdict=verdict, reason=f"{claim.reason} {why}")
