"""What a probe study lets one claim, by rules that are written here and nowhere else."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from creativity_lens.evaluation.manipulation import ManipulationCheck
from creativity_lens.probes.held_out import HeldOutScores
from creativity_lens.probes.rivals import advantages
from creativity_lens.probes.separability import DIFFERENCE_OF_MEANS
from creativity_lens.stats import Interval
from creativity_lens.studies.claims import Claim, Verdict, readable_claim
from creativity_lens.studies.probe_config import ProbeConfig
from creativity_lens.studies.probe_context import ContextProbes
from creativity_lens.studies.probe_tables import BENT, LINEAR, read_interval

if TYPE_CHECKING:
    from pandas import DataFrame

STABLE, ROUGH = 0.9, 0.5


def probe_claims(
    probed: Mapping[str, ContextProbes],
    tables: Mapping[str, "DataFrame"],
    manipulation: ManipulationCheck,
    context: str,
    layer: int,
    config: ProbeConfig,
) -> tuple[Claim, ...]:
    """All claims of a study, the contrast's own first: if that failed, the rest says little."""
    found = [_contrast(manipulation)]
    for name, probes in probed.items():
        found += [
            _readable(name, probe, probes, config)
            for probe in (DIFFERENCE_OF_MEANS, LINEAR)
            if probe in probes.curves
        ]
    if {"as-generated", "neutral"} <= set(probed):
        found.append(_instruction(probed, config))
    shown = probed[context]
    if {LINEAR, BENT} <= set(shown.curves):
        found.append(_straight(context, shown, config))
    found.append(_stable(tables["stability"], context, layer))
    found += _carries_over(tables["transfer"], context, layer)
    found += _nuisances(tables["removal"])
    return tuple(found)


def _draws(config: ProbeConfig) -> dict[str, int]:
    """So that a claim and the tables quote one interval."""
    return {"n_draws": config.n_draws, "seed": config.seed}


def _contrast(check: ManipulationCheck) -> Claim:
    words = check.tfidf
    verdict: Verdict = "supported"
    reason = "The words of the two sides differ on premises that the classifier never saw."
    if not words.low > 0.5:
        verdict, reason = "not supported", "A classifier of words does not tell the sides apart."
    elif check.warnings:
        verdict, reason = "with a caveat", check.warnings[0]
    judge = "not asked"
    if check.judge is not None:
        accuracy = check.judge.accuracy
        judge = (
            f"the model's own blind choice: {accuracy.estimate:.2f} [{accuracy.low:.2f}, "
            f"{accuracy.high:.2f}] of pairs; chance 0.5"
        )
    return Claim(
        statement="The contrast worked: the two sides of a pair are different texts.",
        estimate=words,
        unit="AUROC of a bag of words on the responses",
        null="0.5 is chance",
        rival=judge,
        verdict=verdict,
        reason=reason,
    )


def _readable(context: str, probe: str, probes: ContextProbes, config: ProbeConfig) -> Claim:
    curve, rivals = probes.curves[probe], probes.rivals[probe]
    best, (margin,) = advantages([curve.selected], rivals, **_draws(config))
    sees = context == "as-generated"
    how = "with the instruction in context" if sees else "re-read under a neutral prompt"
    # The logistic probe's own null is optional; that of the difference of means stands in.
    null = probes.null_of(probe)
    return readable_claim(
        f"A probe ({probe}) reads the contrast better than the best cheap rival, {how}.",
        curve.selected.interval(**_draws(config)),
        p_value=min(null.p_values),
        null_95=null.largest_95,
        n_permutations=len(null.largest),
        rival=best,
        rival_estimate=rivals[best].auroc(),
        advantage=margin,
        instruction_in_context=sees,
    )


def _instruction(probed: Mapping[str, ContextProbes], config: ProbeConfig) -> Claim:
    seen, unseen = (probed[name].separability.selected for name in ("as-generated", "neutral"))
    _, (loss,) = advantages([seen], {"neutral": unseen}, **_draws(config))
    verdict: Verdict = "supported" if loss.low > 0 else "not supported"
    share = _survives(seen, unseen)
    return Claim(
        statement=(
            "Part of what is read as generated is the prompt with its instruction, not the text."
        ),
        estimate=loss,
        unit="AUROC as generated less AUROC re-read under a neutral prompt, paired by premise",
        null="0 if the prompt in context added nothing",
        rival=(
            f"as generated {seen.auroc():.2f}, neutral {unseen.auroc():.2f}"
            + (f": {share:.0%} of the distance from chance survives" if share is not None else "")
        ),
        verdict=verdict,
        reason=(
            "The interval of the loss excludes 0."
            if loss.low > 0
            else "The interval of the loss includes 0."
        ),
    )


def _survives(seen: HeldOutScores, unseen: HeldOutScores) -> float | None:
    """Share of the distance from chance that is left; None where there was none to lose."""
    return (unseen.auroc() - 0.5) / (seen.auroc() - 0.5) if seen.auroc() > 0.55 else None


def _straight(context: str, probes: ContextProbes, config: ProbeConfig) -> Claim:
    bent, straight = probes.curves[BENT].selected, probes.curves[LINEAR].selected
    _, (gain,) = advantages([bent], {LINEAR: straight}, **_draws(config))
    return Claim(
        statement="A boundary that may bend separates better than a plane does.",
        estimate=gain,
        unit=f"AUROC of an RBF probe less that of a logistic one, {context}, paired by premise",
        null="0 if the contrast lies along a line, as the paper assumes",
        rival=f"RBF {bent.auroc():.2f}, logistic {straight.auroc():.2f}",
        verdict="supported" if gain.low > 0 else "not supported",
        reason=(
            "The interval of the gain excludes 0."
            if gain.low > 0
            else "Nothing speaks against a straight boundary, with this many texts."
        ),
    )


def _stable(table: "DataFrame", context: str, layer: int) -> Claim:
    row = _row(table, context=context, layer=layer)
    n = int(row["n_premises"])
    noise = read_interval(row, "noise_to_signal")
    middle, best, worst = (n / (n + k) for k in noise)
    interval = Interval(middle, worst, best)
    verdict: Verdict = "not supported"
    if interval.low > STABLE:
        verdict, reason = "supported", f"The interval lies above {STABLE}."
    elif interval.low > ROUGH:
        verdict = "with a caveat"
        reason = f"The interval reaches below {STABLE}: other premises would turn the direction."
    else:
        reason = f"The interval reaches below {ROUGH}: much of the direction is noise."
    needed = float(row["premises_needed"])
    return Claim(
        statement=f"As many other premises would give the same direction at layer {layer}.",
        estimate=interval,
        unit=f"expected cosine between directions of {n} premises each, {context}",
        null="0 for directions made of noise",
        rival=(
            f"{needed:,.0f} premises for a cosine of {row['wanted']:g}"
            if needed < float("inf")
            else f"no number of premises gives a cosine of {row['wanted']:g} here"
        ),
        verdict=verdict,
        reason=reason,
    )


def _carries_over(table: "DataFrame", context: str, layer: int) -> list[Claim]:
    found = []
    for kind, name in (("paraphrase", "wording of the instruction"), ("domain", "domain")):
        rows = table[
            (table["kind"] == kind)
            & (table["context"] == context)
            & (table["trained_on"] == "all others")
            & (table["probe"] == DIFFERENCE_OF_MEANS)
            & (table["layer"] == layer)
        ]
        if rows.empty:
            continue
        worst = rows.sort_values("auroc").iloc[0]
        interval = read_interval(worst, "auroc")
        good = interval.low > 0.5
        found.append(
            Claim(
                statement=f"It carries over to a {name} that it was not fitted on.",
                estimate=interval,
                unit=f"AUROC at layer {layer}, {context}, on the worst of {len(rows)} left out "
                f"({worst['tested_on']}, {worst['n_test']} pairs)",
                null="0.5 is chance",
                rival=f"mean over those left out {rows['auroc'].mean():.2f}",
                verdict="supported" if good else "not supported",
                reason=(
                    "Even the worst interval lies above chance."
                    if good
                    else "The worst interval reaches chance; few pairs make it wide."
                ),
            )
        )
    return found


def _nuisances(table: "DataFrame") -> list[Claim]:
    nested = table[table["layer"] == -1]
    bare = nested[nested["removed"] == "nothing"]
    every = nested[nested["removed"] == "all of them"]
    if every.empty:
        return []
    worst = every.sort_values("auroc").iloc[0]
    interval = read_interval(worst, "auroc")
    return [
        Claim(
            statement="Separability is left when all nuisance directions are removed.",
            estimate=interval,
            unit=f"AUROC, layer chosen within the folds, {worst['context']}, {worst['method']}",
            null="0.5 is chance",
            rival=f"before removal {float(bare['auroc'].iloc[0]):.2f}",
            verdict="supported" if interval.low > 0.5 else "not supported",
            reason=(
                "The interval lies above chance: the nuisances named here are not all of it."
                if interval.low > 0.5
                else "The interval reaches chance: the nuisances may be all of it."
            ),
        )
    ]


def _row(table: "DataFrame", **where: Any) -> Any:
    chosen = table
    for column, value in where.items():
        chosen = chosen[chosen[column] == value]
    return chosen.iloc[0]
