"""The recommended cell against its rivals at equal cost, and what is lost without the direction.

How rivals are met at a cost is said in `sweep_paths`.
"""

import math
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from creativity_lens.stats import Interval
from creativity_lens.studies.probe_tables import columns, frame, spread
from creativity_lens.studies.sweep_effects import RANDOM_FAMILIES
from creativity_lens.studies.sweep_grid import (
    Array,
    Key,
    SweepGrid,
    SweepTables,
    interval,
    mean_known,
    means,
)
from creativity_lens.studies.sweep_paths import LOGITS_MOVED, PUSHED, Path, Paths, along

if TYPE_CHECKING:
    from pandas import DataFrame

MATCHED_COLUMNS = columns(
    "rival",
    "cost",
    "at",
    "steered_change",
    "rival_change",
    "difference*",
    "n_draws",
    "n_as_far",
    "n_prompts",
    "note",
)
NECESSITY_COLUMNS = [
    *("cell_id", "layer", "direction", "instructed_change", "remaining_change"),
    *columns("lost*"),
    *("share_lost", "share_low", "share_high", "nll_change", "n_prompts"),
]
Drawn = Float[Array, " draw"]


class _Met(NamedTuple):
    """A comparison in every draw; the first is that of the prompts as they are."""

    at: Drawn
    steered: Drawn
    rival: Drawn


def matched(tables: SweepTables, recommended: "DataFrame") -> "DataFrame":
    """The recommended cell against each family of rivals that was run, on test prompts.

    Matched on `norm`: controls at the same layer, mode and strength. Matched on `nll` or `kl`: at
    the recommended cell's cost (change of NLL, nats a token; mean KL, nats) if the rival's path
    reaches it, else at the largest cost that the rival has, where the steered path (the same mode,
    direction and layer, strengths up to the recommended one) is interpolated as well.

    A family of random or unrelated directions has several draws and no sign: each draw is matched
    by itself, its |change| is counted, and the row holds means over draws; the note names the
    largest, and `n_as_far` counts those of `n_draws` that move the score as far as steering does or
    further: by rank, p is (`n_as_far` + 1) / (`n_draws` + 1). Sampling is raised, not lowered:
    temperatures above that of the unsteered cell.

    Returns:
        One row a family and cost. `difference` is steered less rival, with an interval over test
        prompts in which both paths, the common cost and the interpolation are done again in every
        draw. NaN with a `note` where nothing can be matched: the instruction and sampling add no
        vector, so they have no norm, and sampling has no KL, since that compares the logits before
        the temperature. No rows without a recommended cell.
    """
    rows: list[dict[str, Any]] = []
    if len(recommended):
        comparison = _Comparison(tables, recommended.iloc[0].to_dict())
        rows = [
            comparison.row(family, cost)
            for family in comparison.paths.families()
            for cost in ("norm", "nll", "kl")
        ]
    return frame(rows, MATCHED_COLUMNS)


class _Comparison:
    """One recommended cell against its rivals, on test prompts."""

    def __init__(self, tables: SweepTables, best: dict[Any, Any]) -> None:
        self._grid = SweepGrid(tables)
        self._best = best
        self._name = str(best["cell_id"])
        self._score = Key("score", tables.read_layer)
        self.paths = Paths(tables, best)
        weights = self._grid.weights("test")
        # The first draw is that of every prompt once.
        self._weights = np.concatenate([np.ones((1, weights.shape[1])), weights])

    def row(self, family: str, cost: str) -> dict[str, Any]:
        if family not in PUSHED and cost == "norm":
            return _unmatched(family, cost, f"{family} adds no vector: no norm to match")
        if family not in LOGITS_MOVED and cost == "kl":
            why = f"{family} does not change the logits before the temperature: no kl to match"
            return _unmatched(family, cost, why)
        if not self._n_prompts([self._name], cost):
            return _unmatched(family, cost, "the recommended cell has no numbers on test prompts")
        paths = self._measured(self.paths.rivals(family, same_norm=cost == "norm"), cost)
        if not paths:
            return _unmatched(family, cost, self._why_none(family, cost))
        met = {draw: self._meet(path, cost) for draw, path in paths.items()}
        size = np.abs if family in RANDOM_FAMILIES else np.asarray
        steered = np.mean([one.steered for one in met.values()], axis=0)
        rival = np.mean([size(one.rival) for one in met.values()], axis=0)
        as_far = [one for one in met.values() if size(one.rival)[0] >= one.steered[0]]
        at = float(np.mean([one.at[0] for one in met.values()]))
        n_prompts = self._n_prompts([self._name, *chain.from_iterable(paths.values())], cost)
        draws = (steered - rival)[1:] if n_prompts > 1 else np.full(1, np.nan)
        return (
            {"rival": family, "cost": cost, "at": at}
            | {"steered_change": float(steered[0]), "rival_change": float(rival[0])}
            | spread("difference", interval(float(steered[0] - rival[0]), draws))
            | {"n_draws": len(met), "n_as_far": len(as_far)}
            | {"n_prompts": n_prompts, "note": self._note(family, cost, met)}
        )

    def _measured(self, paths: dict[str, Path], cost: str) -> dict[str, Path]:
        """Without the cells of which nothing is known, and the draws that are then empty."""
        kept = {
            draw: [cell for cell in path if self._n_prompts([cell], cost)]
            for draw, path in paths.items()
        }
        return {draw: path for draw, path in kept.items() if path}

    def _meet(self, path: Path, cost: str) -> _Met:
        own = self._drawn([self._name], self._score)[0]
        if cost == "norm":
            strength = abs(float(self._best["strength"]))
            return _Met(np.full_like(own, strength), own, self._drawn(path, self._score)[0])
        spent = np.maximum(self._drawn([self._name], Key(cost))[0], 0.0)
        costs = self._from_origin(path, Key(cost))
        at = np.minimum(spent, np.maximum(costs, 0.0).max(axis=0))
        steps = self._measured({"": self.paths.steered()}, cost)[""]
        steered = along(
            self._from_origin(steps, Key(cost)), self._from_origin(steps, self._score), at
        )
        # Where the rival can pay as much, it is the recommended cell that it meets, and not a
        # weaker one that happens to cost the same.
        steered = np.where(at == spent, own, steered)
        return _Met(at, steered, along(costs, self._from_origin(path, self._score), at))

    def _drawn(self, path: Path, key: Key) -> Float[Array, "cell draw"]:
        changes = [self._grid.change(cell, key, "test") for cell in path]
        return means(np.stack(changes), self._weights)

    def _from_origin(self, path: Path, key: Key) -> Float[Array, "cell draw"]:
        return np.concatenate([np.zeros((1, len(self._weights))), self._drawn(path, key)])

    def _n_prompts(self, cells: Path, cost: str) -> int:
        """The fewest prompts of which any of the cells has all that is compared."""
        keys = [self._score] if cost == "norm" else [self._score, Key(cost)]
        known = [
            [np.isfinite(self._grid.change(cell, key, "test")) for key in keys] for cell in cells
        ]
        return int(np.all(known, axis=1).sum(axis=1).min())

    def _why_none(self, family: str, cost: str) -> str:
        if family not in PUSHED:
            return f"{family} was not raised, or has no score or {cost} on test prompts"
        place = f"layer {self._best['layer']} in mode {self._best['mode']}"
        if cost == "norm":
            place += f" at strength {abs(self._best['strength']):g}"
        return f"no cell of this family with numbers on test prompts stands at {place}"

    def _note(self, family: str, cost: str, met: dict[str, _Met]) -> str:
        parts = []
        if family in RANDOM_FAMILIES:
            sizes = {draw: abs(float(one.rival[0])) for draw, one in met.items()}
            top = max(sizes, key=lambda draw: sizes[draw])
            many = "1 draw" if len(met) == 1 else f"mean of {len(met)} draws"
            parts.append(f"|change|, {many}; largest {sizes[top]:.3f} ({top})")
        if cost != "norm":
            spent = max(float(self._drawn([self._name], Key(cost))[0, 0]), 0.0)
            if any(one.at[0] < spent for one in met.values()):
                parts.append(
                    f"does not reach the recommended cell's {cost} of {spent:.2f}: met at its own "
                    "largest"
                )
        return "; ".join(parts)


def _unmatched(family: str, cost: str, note: str) -> dict[str, Any]:
    unknown = dict.fromkeys(MATCHED_COLUMNS[2:-4], math.nan)
    none = dict.fromkeys(("n_draws", "n_as_far", "n_prompts"), 0)
    return {"rival": family, "cost": cost} | unknown | none | {"note": note}


def necessity(tables: SweepTables) -> "DataFrame":
    """How much of what the creative instruction does is lost when a direction is ablated.

    Scores are read at the primary layer, on test prompts, seeds paired.

    Returns:
        One row a necessity cell, control directions among them. `instructed_change` is instruction
        less unsteered, `remaining_change` ablated under the instruction less unsteered, `lost`
        instruction less ablated, `share_lost` lost / instructed_change: 1 if all of it goes. The
        share is NaN unless the interval of `instructed_change` lies above 0: there must be
        something to lose. `nll_change` is the cost, ablated less instruction.
    """
    grid = SweepGrid(tables)
    score = Key("score", tables.read_layer)
    weights = grid.weights("test")
    rows = []
    for cell in tables.cells[tables.cells["kind"] == "necessity"].to_dict("records"):
        if grid.instruction is None:
            break
        name, instruction = cell["cell_id"], grid.cells[grid.instruction]
        remaining = grid.change(name, score, "test")
        lost = -grid.change(name, score, "test", against=instruction)
        instructed = grid.change(instruction, score, "test")
        cost = grid.change(name, Key("nll"), "test", against=instruction)
        known = np.isfinite(remaining) & np.isfinite(lost) & np.isfinite(instructed)
        sides = np.where(known, np.stack([instructed, remaining, lost]), np.nan)
        draws = means(sides, weights) if known.sum() > 1 else np.full((3, 1), np.nan)
        whole, left, gone = (
            interval(float(side[known].mean()) if known.any() else math.nan, drawn)
            for side, drawn in zip(sides, draws, strict=True)
        )
        share = Interval(math.nan, math.nan, math.nan)
        if whole.low > 0:
            share = interval(gone.estimate / whole.estimate, draws[2] / draws[0])
        rows.append(
            {"cell_id": name, "layer": cell["layer"], "direction": cell["direction"]}
            | {"instructed_change": whole.estimate, "remaining_change": left.estimate}
            | spread("lost", gone)
            | {"share_lost": share.estimate, "share_low": share.low, "share_high": share.high}
            | {"nll_change": mean_known(cost), "n_prompts": int(known.sum())}
        )
    return frame(rows, NECESSITY_COLUMNS).astype({"layer": "Int64"})
