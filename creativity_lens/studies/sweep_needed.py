"""What may be claimed of ablating a direction while the creative instruction stands."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from creativity_lens.stats import Interval
from creativity_lens.studies.claims import Claim, Verdict
from creativity_lens.studies.probe_tables import read_interval
from creativity_lens.studies.sweep_budgets import at_lever
from creativity_lens.studies.sweep_effects import RANDOM_FAMILIES, family
from creativity_lens.studies.sweep_grid import Key, SweepGrid, SweepTables, interval, means
from creativity_lens.studies.sweep_judged import UNKNOWN, drawn, judged
from creativity_lens.studies.sweep_paths import DRAWN

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_NAMED = 4
"""Controls that a claim names, of many."""


def needed_claims(
    tables: SweepTables, necessity: "DataFrame", direction: str, layers: Iterable[int | None]
) -> list[Claim]:
    """A claim for each layer at which the direction was ablated; None stands for all layers.

    It holds if ablating lowers the score, and more than ablating each control does: the interval
    of what is lost, and that of what is lost beyond the mean of the controls, must lie above 0, and
    no single control may lose as much. The reason says if there are no controls, or too few for a
    rank test, or if the instruction does not itself raise the score for sure. The ruler reads texts
    with the unsteered model, so that it is not ablated itself, also where all layers are.
    """
    found = []
    for layer in layers:
        place = necessity["layer"].isna() if layer is None else (necessity["layer"] == layer)
        rows = necessity[place.fillna(False)].to_dict("records")
        own = next((row for row in rows if row["direction"] == direction), None)
        if own is not None:
            found.append(_needed(tables, own, [row for row in rows if _is_control(row)], layer))
    return found


def ablated_direction(necessity: "DataFrame") -> str:
    """The first direction that was ablated and is no control; empty if there is none."""
    rows = necessity.to_dict("records")
    return next((str(row["direction"]) for row in rows if not _is_control(row)), "")


def _needed(
    tables: SweepTables,
    own: Mapping[Any, Any],
    controls: Sequence[Mapping[Any, Any]],
    layer: int | None,
) -> Claim:
    lost = read_interval(own, "lost")
    gap = _lost_beyond(tables, own, controls)
    beyond = gap.low > 0 and all(lost.estimate > row["lost"] for row in controls)
    verdict: Verdict = "not supported"
    if not lost.low > 0:
        reason = "The interval of what is lost is not above 0."
    elif controls and not beyond:
        reason = "Ablating control directions loses about as much."
    elif not controls:
        verdict = "with a caveat"
        reason = "No control direction was ablated: any ablation might lose as much."
    elif math.isnan(own["share_lost"]):
        verdict = "with a caveat"
        reason = "The instruction does not itself raise the score for sure."
    else:
        verdict = "supported"
        reason = "More is lost than with control directions."
    if verdict != "not supported":
        reason += f" Cost: {own['nll_change']:+.2f} nats a token."
    share = ""
    if not math.isnan(own["share_lost"]):
        share = f"; {own['share_lost']:.0%} of what the instruction adds"
    rival = "no control direction was ablated"
    if controls:
        most = sorted(controls, key=lambda row: -row["lost"])[:MOST_NAMED]
        each = ", ".join(f"{row['direction']} {row['lost']:+.3f}" for row in most)
        some = ", those with most" if len(controls) > MOST_NAMED else ""
        rival = (
            f"lost with control directions{some}: {each}; beyond their mean {gap.estimate:+.3f} "
            f"[{gap.low:+.3f}, {gap.high:+.3f}]"
        )
    n_random = sum(_family(row) in DRAWN for row in controls)
    return judged(
        Claim(
            statement=(
                f"The direction is needed: ablating {own['direction']} at "
                f"{'all layers' if layer is None else f'layer {layer}'} under the creative "
                "instruction lowers the score, more than ablating another direction does."
            ),
            estimate=lost,
            unit=(
                f"score at layer {tables.read_layer}, instruction less ablated, "
                f"{int(own['n_prompts'])} prompts{share}"
            ),
            null=f"0 if nothing was lost; {drawn(n_random)}",
            rival=rival,
            verdict=verdict,
            reason=reason,
        ),
        n_prompts=int(own["n_prompts"]),
        lever=at_lever(layer, tables.read_layer),
        # Without any control the reason says so.
        n_random=n_random if controls else None,
    )


def _is_control(row: Mapping[Any, Any]) -> bool:
    return _family(row) in RANDOM_FAMILIES


def _family(row: Mapping[Any, Any]) -> str:
    return family({"kind": "control", "direction": row["direction"]})


def _lost_beyond(
    tables: SweepTables, own: Mapping[Any, Any], controls: Sequence[Mapping[Any, Any]]
) -> Interval:
    """What is lost beyond the mean of the controls, paired by prompt."""
    if not controls:
        return UNKNOWN
    grid = SweepGrid(tables)
    key = Key("score", tables.read_layer)
    gaps = np.stack(
        [grid.change(row["cell_id"], key, "test", against=own["cell_id"]) for row in controls]
    )
    weights = grid.weights("test")
    once = np.ones((1, weights.shape[1]))
    return interval(float(means(gaps, once).mean()), means(gaps, weights).mean(axis=0))
