"""A family of rivals as a path through (cost, change of score), read off at a given cost.

Equal strength is no fair comparison: a rival may buy less score because it pays less. A path starts
at the unsteered cell, which costs nothing and changes nothing, and visits the family's cells in
order of strength. The change at a cost is read off where the path first reaches that cost, linearly
between two cells; what lies beyond the last cell is never guessed. Costs need not grow with
strength: the first crossing is where someone who raises the strength until the cost is spent would
stop. A cost below 0 counts as 0; at cost 0 the path stands at the last of the cells that cost
nothing one after another.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Float

from creativity_lens.studies.sweep_effects import RANDOM_FAMILIES, family
from creativity_lens.studies.sweep_grid import Array, SweepTables

FAMILIES = ("instruction", "temperature", "min_p", *RANDOM_FAMILIES, "opposite")
PUSHED = (*RANDOM_FAMILIES, "opposite")
"""Families that are vectors, with a norm."""
LOGITS_MOVED = ("instruction", *PUSHED)
"""Families with a KL, which compares the logits before the temperature: sampling leaves them."""
DRAWN = ("within", "shuffled")
"""Families of directions that are drawn at random."""

Path = list[str]
"""Cell ids in order of strength, without the origin."""


def along(
    cost: Float[Array, "cell draw"],
    change: Float[Array, "cell draw"],
    at: Float[Array, " draw"],
) -> Float[Array, " draw"]:
    """The change where a path of cells first reaches a cost; NaN if it never does.

    Args:
        cost: of the cells in order, the first being the origin (0); below 0 counts as 0.
        change: of the same cells.
        at: the cost of each draw, 0 or more.
    """
    paid = np.maximum(cost, 0.0)
    free = np.logical_and.accumulate(paid == 0, axis=0).sum(axis=0) - 1
    found = np.where(at == 0, np.take_along_axis(change, free[None], axis=0)[0], np.nan)
    waiting = at > 0
    for j in range(1, len(paid)):
        reached = waiting & (paid[j] >= at)
        step = np.where(reached, paid[j] - paid[j - 1], 1.0)
        share = (at - paid[j - 1]) / step
        found = np.where(reached, change[j - 1] + share * (change[j] - change[j - 1]), found)
        waiting &= ~reached
    return np.asarray(found)


class Paths:
    """The paths of a recommended cell and of its rivals.

    Controls must share its layer and mode. `best` is the row of the table `recommended`.
    """

    def __init__(self, tables: SweepTables, best: dict[Any, Any]) -> None:
        self._cells: list[Any] = tables.cells.to_dict("records")
        self._best = best
        self._strength = float(best["strength"])

    def families(self) -> list[str]:
        """The families of which any cell was run, wherever it stands."""
        run = {family(cell) for cell in self._cells}
        if self._side(-1):
            run.add("opposite")
        return [name for name in FAMILIES if name in run]

    def steered(self) -> Path:
        """The steered cells on the way to the recommended one, itself included."""
        return _ids(
            cell
            for cell in self._side(1)
            if cell["kind"] == "steered" and abs(cell["strength"]) <= abs(self._strength)
        )

    def rivals(self, name: str, *, same_norm: bool = False) -> dict[str, Path]:
        """The draws of a family by name, a path each; with `same_norm` of a single cell each."""
        if name not in PUSHED:
            return {name: self._raised(name)}
        cells = self._side(-1) if name == "opposite" else self._drawn(name)
        if same_norm:
            cells = [cell for cell in cells if self._is_as_long(cell)]
        draws: dict[str, list[Any]] = {}
        for cell in cells:
            # Turned round, a random direction is another draw: two signs are not one path.
            turned = name != "opposite" and cell["strength"] < 0
            draws.setdefault(f"{'-' * turned}{cell['direction']}", []).append(cell)
        return {draw: _ids(found) for draw, found in draws.items()}

    def _raised(self, name: str) -> Path:
        """Sampling is raised, not lowered; the instruction stands alone."""
        found = [cell for cell in self._cells if family(cell) == name]
        if name == "temperature":
            plain = next(cell for cell in self._cells if cell["kind"] == "unsteered")
            found = [cell for cell in found if cell["strength"] > plain["temperature"]]
        return _ids(found)

    def _drawn(self, name: str) -> list[Any]:
        return [cell for cell in self._cells if family(cell) == name and self._is_beside(cell)]

    def _side(self, sign: int) -> list[Any]:
        """Cells along the recommended direction, its own way (1) or the other (-1)."""
        return [
            cell
            for cell in self._cells
            if cell["kind"] in ("steered", "control")
            and cell["direction"] == self._best["direction"]
            and self._is_beside(cell)
            and cell["strength"] * self._strength * sign > 0
        ]

    def _is_beside(self, cell: Any) -> bool:
        # Compared as text, since a layer may be missing.
        same_layer = str(cell["layer"]) == str(self._best["layer"])
        return same_layer and cell["mode"] == self._best["mode"]

    def _is_as_long(self, cell: Any) -> bool:
        same_unit = cell["unit"] == self._best["unit"]
        return same_unit and math.isclose(abs(cell["strength"]), abs(self._strength))


def _ids(cells: Iterable[Any]) -> Path:
    # The instruction has no strength (NaN), and is alone.
    return [cell["cell_id"] for cell in sorted(cells, key=lambda one: abs(one["strength"]))]
