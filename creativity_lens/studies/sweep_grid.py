"""The measurements of a sweep as one dense array, paired with their baseline.

A sweep's table `metrics` is long: one row a number. What is asked of it is always the same: by how
much does a cell change a measure, prompt by prompt, against the same prompt and seed of another
cell. Here that is an array lookup, so that 300 cells take a second and not minutes.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from creativity_lens.errors import DataError
from creativity_lens.stats import Interval, bootstrap_weights

if TYPE_CHECKING:
    from pandas import DataFrame, Series

Array = np.ndarray

N_DRAWS = 2000
NO_LAYER = -1
UNSTEERED, INSTRUCTION = "unsteered", "instruction"


class SweepTables(NamedTuple):
    """What a sweep leaves behind, and all that its analysis needs: no model."""

    cells: "DataFrame"
    """One row a way of generating."""
    prompts: "DataFrame"
    """`prompt_id`, `prompt`, `split` (`dev` or `test`), `in_contrast`."""
    texts: "DataFrame"
    """One row a text."""
    metrics: "DataFrame"
    """One row a number: `cell_id, prompt_id, seed, metric, read_layer, value`."""
    read_layer: int
    """The layer whose score the claims are about."""


class Key(NamedTuple):
    """A measure; `read_layer` is `NO_LAYER` unless it is the score."""

    metric: str
    read_layer: int = NO_LAYER


class Paired(NamedTuple):
    """A measure of a cell and of its baseline, over the seeds where both are known.

    Both are NaN for a prompt where no seed has both.
    """

    value: Float[Array, "*grid prompt"]
    baseline: Float[Array, "*grid prompt"]

    @property
    def change(self) -> Float[Array, "*grid prompt"]:
        """What the cell does to each prompt."""
        return np.asarray(self.value - self.baseline)


class SweepGrid:
    """The numbers of a sweep by measure, cell, prompt and seed.

    Attributes:
        tables: what it was made of.
        cells: cell ids in the order of the table.
        prompts: prompt ids in the order of the table.
        keys: the measures, in order of name and layer.
        recorded: `[key, cell, prompt]`, whether the table has a row for it, known or not.
    """

    def __init__(self, tables: SweepTables) -> None:
        """Lay the table out.

        Raises:
            DataError: a cell or prompt of `metrics` is not in its own table, a number stands
                there twice, or there is not exactly one unsteered cell.
        """
        self.tables = tables
        self.cells: list[str] = tables.cells["cell_id"].tolist()
        self.prompts: list[str] = tables.prompts["prompt_id"].tolist()
        metrics = tables.metrics
        cell = _places(metrics["cell_id"], self.cells, "cell")
        prompt = _places(metrics["prompt_id"], self.prompts, "prompt")
        names, name = np.unique(metrics["metric"].to_numpy(dtype=str), return_inverse=True)
        layers, layer = np.unique(_whole(metrics["read_layer"]), return_inverse=True)
        found, key = np.unique(name * max(len(layers), 1) + layer, return_inverse=True)
        self.keys = [Key(str(names[k // len(layers)]), int(layers[k % len(layers)])) for k in found]
        # Measures over all seeds have none of their own: one more place on the seed axis.
        seeds, seed = np.unique(_whole(metrics["seed"]), return_inverse=True)
        shape = (len(self.keys), len(self.cells), len(self.prompts), len(seeds))
        flat = np.ravel_multi_index((key, cell, prompt, seed), shape) if len(metrics) else key
        count = np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape)
        if (count > 1).any():
            k, c, p, _ = np.argwhere(count > 1)[0]
            raise DataError(
                f"the metrics of a sweep have {self.keys[k].metric} of cell {self.cells[c]}, "
                f"prompt {self.prompts[p]} more than once for one seed."
            )
        values = np.full(int(np.prod(shape)), np.nan)
        values[flat] = metrics["value"].to_numpy(dtype=float, na_value=np.nan)
        values[~np.isfinite(values)] = np.nan
        self._values = values.reshape(shape)
        self.recorded: Bool[Array, "key cell prompt"] = np.any(count > 0, axis=3)
        kinds = tables.cells["kind"].tolist()
        if kinds.count(UNSTEERED) != 1:
            raise DataError(
                f"a sweep has one unsteered cell, which all others are compared with; here are "
                f"{kinds.count(UNSTEERED)}."
            )
        self.unsteered = kinds.index(UNSTEERED)
        self.instruction = kinds.index(INSTRUCTION) if INSTRUCTION in kinds else None

    def split(self, name: str) -> list[int]:
        """Places of the prompts of a split; `all` for every one."""
        splits = self.tables.prompts["split"].tolist()
        return [i for i, split in enumerate(splits) if name in ("all", split)]

    def weights(self, split: str) -> Float[Array, "draw prompt"]:
        """The bootstrap draws of a split: one matrix for everything, so that all is paired."""
        names = [self.prompts[i] for i in self.split(split)]
        return bootstrap_weights(names, N_DRAWS) if names else np.zeros((N_DRAWS, 0))

    @cached_property
    def against_baseline(self) -> Paired:
        """Every measure of every cell, `[key, cell, prompt]`, against the cell's baseline.

        The baseline is the unsteered cell, and for necessity cells the instruction. KL is counted
        from the unsteered model, so its baseline is 0 where it was not recorded.
        """
        baseline = np.full(len(self.cells), self.unsteered)
        necessity = (self.tables.cells["kind"] == "necessity").to_numpy(dtype=bool)
        values = self._values
        if self.instruction is not None:
            baseline[necessity] = self.instruction
        other = values[:, baseline]
        if self.instruction is None:
            other[:, necessity] = np.nan
        for k, key in enumerate(self.keys):
            if key.metric == "kl":
                other[k] = np.where(np.isnan(other[k]), 0.0, other[k])
        return _pair(values, other)

    def change(
        self, cell: str, key: Key, split: str, *, against: str | None = None
    ) -> Float[Array, " prompt"]:
        """What a cell does to a measure, prompt by prompt, against the unsteered or another cell.

        All NaN if the measure or one of the cells was not recorded.
        """
        rows = self.split(split)
        other = self.unsteered if against is None else self.cells.index(against)
        if key not in self.keys:
            return np.full(len(rows), np.nan)
        k = self.keys.index(key)
        before = self._values[k, other]
        if key.metric == "kl" and against is None:
            before = np.where(np.isnan(before), 0.0, before)
        return _pair(self._values[k, self.cells.index(cell)], before).change[rows]

    def values(self, cell: str, key: Key, split: str) -> Float[Array, " prompt"]:
        """A measure itself, averaged over the seeds where it is known."""
        if key not in self.keys:
            return np.full(len(self.split(split)), np.nan)
        own = self._values[self.keys.index(key), self.cells.index(cell)]
        return _mean_known(own)[self.split(split)]


def means(
    values: Float[Array, "column prompt"], weights: Float[Array, "draw prompt"]
) -> Float[Array, "column draw"]:
    """The mean of each column over its known prompts in each draw; NaN where none was drawn."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0) @ weights.T
    if known.all() and known.size:
        return np.asarray(total / weights.sum(axis=1))
    count = known.astype(float) @ weights.T
    return np.asarray(np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0))


def middle(draws: Float[Array, "column draw"]) -> Float[Array, "column 2"]:
    """The central 95 % of each column's draws, of those that are known; NaN if none is."""
    found = np.full((len(draws), 2), np.nan)
    complete = np.isfinite(draws).all(axis=1)
    if complete.any():
        found[complete] = np.quantile(draws[complete], [0.025, 0.975], axis=1).T
    partial = ~complete & np.isfinite(draws).any(axis=1)
    if partial.any():
        found[partial] = np.nanquantile(draws[partial], [0.025, 0.975], axis=1).T
    return found


def interval(estimate: float, draws: Float[Array, " draw"]) -> Interval:
    """An estimate and the central 95 % of its draws; all NaN if the estimate is."""
    if not np.isfinite(estimate):
        return Interval(np.nan, np.nan, np.nan)
    low, high = middle(draws[None])[0]
    return Interval(float(estimate), float(low), float(high))


def mean_known(values: Float[Array, " prompt"]) -> float:
    """The mean over the known prompts; NaN if there are none."""
    return float(_mean_known(values))


def _pair(value: Float[Array, "*grid seed"], baseline: Float[Array, "*grid seed"]) -> Paired:
    known = np.isfinite(value) & np.isfinite(baseline)
    return Paired(
        _mean_known(np.where(known, value, np.nan)), _mean_known(np.where(known, baseline, np.nan))
    )


def _mean_known(values: Float[Array, "*grid last"]) -> Float[Array, "*grid"]:
    known = np.isfinite(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))


def _whole(column: "Series[int]") -> Array:
    return column.to_numpy(dtype=np.int64, na_value=NO_LAYER)


def _places(column: "Series[str]", names: Sequence[str], what: str) -> Array:
    import pandas as pd

    places = pd.Index(list(names)).get_indexer(pd.Index(column))
    if (places < 0).any():
        strange = column.iloc[int(np.argmax(places < 0))]
        raise DataError(
            f"the metrics of a sweep name {what} {strange!r}, which the table of {what}s lacks."
        )
    return np.asarray(places)
