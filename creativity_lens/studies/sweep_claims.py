"""What a sweep lets one claim, by rules that are written here and nowhere else.

Every claim is about the score of texts on test prompts, as the unsteered model reads them. The
score comes from the contrast that made the direction, so no verdict says that texts became more
creative, and none is more than `with a caveat`; each reason says so. Rules for all claims, which
`sweep_judged` applies:

- fewer than five test prompts support nothing, and fewer than ten are named in the reason;
- a number that is not known (NaN) supports nothing;
- fewer random draws than a rank test needs, and a score that is read at the steered layer, are
  caveats of their own;
- cells that were not run give no claim.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from creativity_lens.studies.claims import Claim, Verdict, steering_claim
from creativity_lens.studies.probe_tables import read_interval
from creativity_lens.studies.sweep_budgets import SplitEffects, at_lever
from creativity_lens.studies.sweep_effects import RANDOM_FAMILIES
from creativity_lens.studies.sweep_grid import SweepTables
from creativity_lens.studies.sweep_judged import UNKNOWN, drawn, judged, sentence
from creativity_lens.studies.sweep_needed import ablated_direction, needed_claims
from creativity_lens.studies.sweep_paths import DRAWN, Paths

if TYPE_CHECKING:
    from pandas import DataFrame

CALLED = {
    "within": "directions from the within-class covariance",
    "shuffled": "directions from shuffled labels",
    "unrelated": "directions of unrelated concepts",
    "instruction": "the creative instruction",
    "temperature": "a raised temperature",
    "min_p": "min-p with a raised temperature",
}


def sweep_claims(
    tables: SweepTables,
    effects: "DataFrame",
    recommended: "DataFrame",
    matched: "DataFrame",
    necessity: "DataFrame",
    monotonicity: "DataFrame",
) -> tuple[Claim, ...]:
    """All claims of a sweep, the recommended cell's own first.

    Args:
        tables: the sweep.
        effects: of `sweep_effects.effects`.
        recommended: of `sweep_choice.recommend`; without a row, the first claim says so, and only
            the necessity of all layers is left to claim.
        matched: of `sweep_rivals.matched`.
        necessity: of `sweep_rivals.necessity`.
        monotonicity: of `sweep_effects.monotonicity`.
    """
    if recommended.empty:
        direction = ablated_direction(necessity)
        needed = needed_claims(tables, necessity, direction, [None])
        return (_nothing_to_recommend(tables), *needed)
    best = recommended.iloc[0].to_dict()
    pairs = (
        ("random directions", "kl", RANDOM_FAMILIES),
        ("the creative instruction", "nll", ("instruction",)),
        ("temperature or min-p", "nll", ("temperature", "min_p")),
    )
    beats = (_beats(tables, best, matched, *pair) for pair in pairs)
    return (
        _raises(tables, effects, best, matched),
        *(claim for claim in beats if claim is not None),
        *needed_claims(tables, necessity, str(best["direction"]), [best["layer"], None]),
        *_grows(tables, best, monotonicity),
    )


def _raises(
    tables: SweepTables, effects: "DataFrame", best: dict[Any, Any], matched: "DataFrame"
) -> Claim:
    """See `steering_claim`. All controls of the same norm must do less."""
    test = SplitEffects(effects, "test", tables.read_layer)
    paths = Paths(tables, best)
    draws = {name: paths.rivals(name, same_norm=True) for name in RANDOM_FAMILIES}
    n_random = sum(len(draws[name]) for name in DRAWN)
    controls = [cell for found in draws.values() for path in found.values() for cell in path]
    fair = _known_rows(matched, "nll", ("instruction", "temperature", "min_p"))
    rival = "none at equal NLL was run"
    if fair:
        rival = f"the best at equal NLL is {_met(min(fair, key=lambda row: row['difference']))}"
    claim = steering_claim(
        f"Steering ({best['cell_id']}) raises the score of texts on unseen prompts.",
        read_interval(best, "test_change"),
        cost=read_interval(best, "test_cost"),
        read_layer=tables.read_layer,
        n_prompts=int(best["n_test"]),
        random_changes=tuple(test.score(cell) for cell in controls),
        rival=rival,
        random_name="random, shuffled or unrelated directions",
    )
    if controls:
        claim = replace(claim, null=f"{claim.null}; {n_random} of them drawn at random")
    return judged(
        claim,
        n_prompts=int(best["n_test"]),
        lever=at_lever(best["layer"], tables.read_layer),
        n_random=n_random,
    )


def _beats(
    tables: SweepTables,
    best: dict[Any, Any],
    matched: "DataFrame",
    what: str,
    cost: str,
    families: Sequence[str],
) -> Claim | None:
    """It holds if steering raises the score, and by more than each family does at equal cost.

    The interval of every family's difference must lie above 0; the estimate is the smallest of
    them. Where directions were drawn at random, so few of them may move the score as far that the
    rank of steering among them has a p under .05. A family that could not be matched
    says nothing either way; if none could, nothing holds.
    """
    rows = [row for row in matched.to_dict("records") if row["rival"] in families]
    rows = [row for row in rows if row["cost"] == cost]
    if not rows:
        return None
    known = _known_rows(matched, cost, families)
    hardest = min(known, key=lambda row: row["difference"], default=rows[0])
    met = [CALLED[str(row["rival"])] for row in known or rows]
    named = f" ({', '.join(met)})" if len(families) > 1 else ""
    random = [row for row in known if row["rival"] in DRAWN]
    n_random, n_as_far = (sum(int(row[name]) for row in random) for name in ("n_draws", "n_as_far"))
    verdict: Verdict = "not supported"
    if not known:
        reason = sentence(f"It cannot be matched: {hardest['note']}")
    elif not best["test_change_low"] > 0:
        reason = "Steering itself does not raise the score for sure."
    elif not all(row["difference_low"] > 0 for row in known):
        reason = "The interval of the difference is not above 0."
    elif n_as_far and (n_as_far + 1) / (n_random + 1) >= 0.05:
        reason = f"{n_as_far} of {n_random} random directions move the score as far."
    else:
        verdict, reason = "supported", "The interval of the difference is above 0."
    null = "0 if the rival moved the score as far for the same cost"
    by_rank = bool(set(families) & set(DRAWN))
    if by_rank:
        null += f"; {drawn(n_random)}, of which {n_as_far} move it as far"
    return judged(
        Claim(
            statement=(
                f"Steering ({best['cell_id']}) raises the score more than {what} at equal "
                f"{cost.upper()}{named}."
            ),
            estimate=read_interval(hardest, "difference"),
            unit=(
                f"change of the score at layer {tables.read_layer}, steered less rival, "
                f"{int(hardest['n_prompts'])} prompts"
            ),
            null=null,
            rival=_met(hardest),
            verdict=verdict,
            reason=reason,
        ),
        n_prompts=min(int(best["n_test"]), int(hardest["n_prompts"])) if known else None,
        lever=at_lever(best["layer"], tables.read_layer),
        n_random=n_random if by_rank else None,
    )


def _grows(tables: SweepTables, best: dict[Any, Any], monotonicity: "DataFrame") -> Iterable[Claim]:
    """It holds if the mean rank correlation of strength and score lies above 0.

    There must be at least three strengths, the unsteered one included: two are always in order.
    """
    for row in monotonicity.to_dict("records"):
        if any(str(row[name]) != str(best[name]) for name in ("mode", "direction", "layer")):
            continue
        holds = row["spearman_low"] > 0  # NaN with fewer than three strengths
        if row["n_strengths"] < 3:
            reason = "With fewer than three strengths there is no order to see."
        elif not holds:
            reason = "The interval of the correlation is not above 0."
        else:
            reason = "The interval of the correlation is above 0."
        wrong = "no prompt has a correlation"
        if row["n_prompts"]:
            wrong = f"{row['wrong_way']:.0%} of prompts fall where they should rise"
        yield judged(
            Claim(
                statement=(
                    f"The score rises with strength ({row['mode']} {row['direction']} at layer "
                    f"{row['layer']})."
                ),
                estimate=read_interval(row, "spearman"),
                unit=(
                    f"Spearman correlation of {row['n_strengths']} strengths with the score at "
                    f"layer {tables.read_layer}, mean over {row['n_prompts']} prompts"
                ),
                null="0 if strength did not matter",
                rival=wrong,
                verdict="supported" if holds else "not supported",
                reason=reason,
            ),
            n_prompts=int(row["n_prompts"]) if row["n_strengths"] >= 3 else None,
            lever=at_lever(best["layer"], tables.read_layer),
        )


def _nothing_to_recommend(tables: SweepTables) -> Claim:
    return Claim(
        statement="Steering raises the score of texts on unseen prompts.",
        estimate=UNKNOWN,
        unit=f"change of the score at layer {tables.read_layer}",
        null="not tried",
        rival="not tried",
        verdict="not supported",
        reason="No steered cell raises the score on dev prompts within the budgets.",
    )


def _known_rows(matched: "DataFrame", cost: str, families: Sequence[str]) -> list[dict[Any, Any]]:
    chosen = matched[(matched["cost"] == cost) & matched["rival"].isin(families)]
    return list(chosen[chosen["difference"].notna()].to_dict("records"))


def _met(row: dict[Any, Any]) -> str:
    called = CALLED[str(row["rival"])]
    if math.isnan(row["difference"]):
        return called
    note = f" ({row['note']})" if row["note"] else ""
    return (
        f"{called} at {row['cost'].upper()} {row['at']:+.2f}: {row['rival_change']:+.3f} against "
        f"{row['steered_change']:+.3f}, difference {row['difference']:+.3f} "
        f"[{row['difference_low']:+.3f}, {row['difference_high']:+.3f}]{note}"
    )
