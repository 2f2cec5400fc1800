"""What each cell of a sweep changes, with intervals over prompts, and how it grows with strength.

A text is compared with the text of the same prompt and seed of the baseline: the unsteered cell,
or, where a direction is ablated while the creative instruction stands, the instruction. Seeds of a
prompt are averaged first; intervals are the central 95 % of 2000 bootstrap draws of prompts.
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from creativity_lens.runs.cells import rival_family
from creativity_lens.studies.probe_tables import columns, frame, spread
from creativity_lens.studies.sweep_grid import (
    NO_LAYER,
    Array,
    Key,
    SweepGrid,
    SweepTables,
    interval,
    means,
    middle,
)

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["SweepTables", "effects", "monotonicity", "prompt_effects"]

SIGNED_MODES = ("add", "rotate")
"""Modes in which strength 0 is no steering and the sign of a strength is a way to go."""
RANDOM_FAMILIES = ("within", "shuffled", "unrelated")
"""Directions whose sign means nothing."""
ROUNDING = 1e-6
"""Cosines of one text differ by less from batch to batch."""
EFFECT_COLUMNS = columns(
    "cell_id",
    "split",
    "metric",
    "read_layer",
    "value",
    "baseline",
    "change*",
    "n_prompts",
    "wrong_way",
)
MONOTONICITY_COLUMNS = columns(
    "mode", "direction", "layer", "spearman*", "n_prompts", "n_strengths", "wrong_way"
)


def effects(tables: SweepTables) -> "DataFrame":
    """What each cell does to each measure, on each split of the prompts that it ran on.

    Returns:
        One row a cell, split (`dev`, `test`, `all`), metric and read layer: `value`, `baseline`
        and `change` are means over the `n_prompts` prompts where both are known; `change_low` and
        `change_high` its 95 % interval, NaN with fewer than two prompts. `wrong_way` is the share
        of prompts whose score goes against the sign of the strength; NaN for other measures, for
        modes whose strength has no sign, and for directions that are random or of another concept.
        A change below 1e-6 goes no way: the same text, read in another batch.
    """
    import pandas as pd

    grid = SweepGrid(tables)
    paired = grid.against_baseline
    splits = tables.cells["split"].to_numpy(dtype=str)
    sign = _signs(tables.cells)
    is_score = np.array([key.metric == "score" for key in grid.keys], dtype=bool)
    parts: list[DataFrame] = []
    for split in ("dev", "test", "all"):
        rows = grid.split(split)
        ran = splits == "all" if split == "all" else np.isin(splits, ["all", split])
        if not rows or not ran.any():
            continue
        there = grid.recorded[:, :, rows].any(axis=2) & ran
        key, cell = np.nonzero(there)
        value, baseline = (side[key, cell][:, rows] for side in paired)
        change = value - baseline
        known = np.isfinite(change)
        count = known.sum(axis=1)
        low, high = _intervals(change, grid.weights(split))
        opposed = np.where(known, change * sign[cell][:, None], 0.0) < -ROUNDING
        judged = is_score[key] & (sign[cell] != 0) & (count > 0)
        order = np.lexsort((key, cell))
        parts.append(
            pd.DataFrame(
                {
                    "cell_id": np.array(grid.cells, dtype=object)[cell[order]],
                    "split": split,
                    "metric": [grid.keys[k].metric for k in key[order]],
                    "read_layer": _read_layers(grid, key[order]),
                    "value": _mean(value, count)[order],
                    "baseline": _mean(baseline, count)[order],
                    "change": _mean(change, count)[order],
                    "change_low": low[order],
                    "change_high": high[order],
                    "n_prompts": count[order],
                    "wrong_way": _share(opposed.sum(axis=1), count, judged)[order],
                }
            )
        )
    if not parts:
        return frame([], EFFECT_COLUMNS)
    return pd.concat(parts, ignore_index=True)


def prompt_effects(tables: SweepTables) -> "DataFrame":
    """The changes of single prompts: the score at the primary layer, NLL, KL, degenerate.

    Returns:
        One row a cell, prompt and measure; seeds are averaged. NaN where no seed is known in both
        the cell and its baseline.
    """
    import pandas as pd

    grid = SweepGrid(tables)
    paired = grid.against_baseline
    wanted = [Key("score", tables.read_layer), Key("nll"), Key("kl"), Key("degenerate")]
    shown = [grid.keys.index(key) for key in wanted if key in grid.keys]
    place, cell, prompt = np.nonzero(grid.recorded[shown])
    order = np.lexsort((place, prompt, cell))
    cell, prompt, key = cell[order], prompt[order], np.array(shown, dtype=int)[place[order]]
    value, baseline = (side[key, cell, prompt] for side in paired)
    splits = tables.prompts["split"].to_numpy(dtype=object)
    return pd.DataFrame(
        {
            "cell_id": np.array(grid.cells, dtype=object)[cell],
            "prompt_id": np.array(grid.prompts, dtype=object)[prompt],
            "split": splits[prompt],
            "metric": [grid.keys[k].metric for k in key],
            "read_layer": _read_layers(grid, key),
            "value": value,
            "baseline": baseline,
            "change": value - baseline,
        }
    )


def monotonicity(tables: SweepTables) -> "DataFrame":
    """Whether more strength means more score, for each steered mode, direction and layer.

    Of each prompt, the Spearman correlation between strength and the score at the primary layer,
    then the mean over prompts. Test prompts only, where there are any: the layer is chosen on the
    others. In modes where strength 0 is no steering, the unsteered text counts as strength 0. A
    prompt whose score never changes has correlation 0; one with fewer than three known strengths
    has none.

    Returns:
        One row a mode, direction and layer: `spearman` in [-1, 1] with its interval over prompts,
        `n_strengths` as they were correlated (0 included), `wrong_way` the share of prompts with a
        negative correlation.
    """
    grid = SweepGrid(tables)
    split = "test" if grid.split("test") else "all"
    weights = grid.weights(split)
    key = Key("score", tables.read_layer)
    rows = []
    for where, group in steered_groups(tables.cells):
        strengths = group["strength"].tolist()
        scores = [grid.values(cell, key, split) for cell in group["cell_id"]]
        if where["mode"] in SIGNED_MODES:
            strengths.append(0.0)
            scores.append(grid.values(grid.cells[grid.unsteered], key, split))
        found = _spearman(np.stack(scores, axis=1), np.array(strengths))
        known = np.isfinite(found)
        draws = means(found[None], weights)[0] if known.sum() > 1 else np.full(1, np.nan)
        estimate = float(found[known].mean()) if known.any() else float("nan")
        rows.append(
            where
            | spread("spearman", interval(estimate, draws))
            | {
                "n_prompts": int(known.sum()),
                "n_strengths": len(strengths),
                "wrong_way": float((found[known] < 0).mean()) if known.any() else float("nan"),
            }
        )
    return frame(rows, MONOTONICITY_COLUMNS).astype({"layer": "Int64"})


def family(cell: Any) -> str:
    """The rival family of a row of `cells`, or of as much of it as says so; see `rival_family`."""
    return rival_family(
        str(cell["kind"]),
        str(cell.get("mode", "")),
        str(cell.get("direction", "")),
        float(cell.get("strength", math.nan)),
    )


def steered_groups(cells: "DataFrame") -> Iterator[tuple[dict[str, Any], "DataFrame"]]:
    """Cells that differ in strength alone, in order of strength."""
    steered = cells[cells["kind"] == "steered"]
    for (mode, direction, layer), group in steered.groupby(
        ["mode", "direction", "layer"], sort=False, dropna=False
    ):
        where = {"mode": mode, "direction": direction, "layer": layer}
        yield where, group.sort_values("strength", kind="stable")


def _spearman(
    scores: Float[Array, "prompt strength"], strengths: Float[Array, " strength"]
) -> Float[Array, " prompt"]:
    found = np.full(len(scores), np.nan)
    for i, own in enumerate(scores):
        known = np.isfinite(own)
        if known.sum() < 3:
            continue
        rounded = np.round(own[known] / ROUNDING)
        ranks = rankdata(rounded), rankdata(strengths[known])
        a, b = (rank - rank.mean() for rank in ranks)
        size = np.sqrt((a @ a) * (b @ b))
        found[i] = a @ b / size if size > 0 else 0.0
    return found


def _signs(cells: "DataFrame") -> Float[Array, " cell"]:
    """The way in which a cell's strength should move the score; 0 where there is none."""
    found = np.zeros(len(cells))
    for i, row in enumerate(cells.to_dict("records")):
        if row["mode"] in SIGNED_MODES and family(row) not in RANDOM_FAMILIES:
            found[i] = np.sign(row["strength"])
    return np.nan_to_num(found)


def _read_layers(grid: SweepGrid, keys: Array) -> Any:
    import pandas as pd

    layers = (grid.keys[k].read_layer for k in keys)
    return pd.array([pd.NA if n == NO_LAYER else n for n in layers], dtype="Int64")


def _intervals(
    change: Float[Array, "column prompt"], weights: Float[Array, "draw prompt"]
) -> Float[Array, "2 column"]:
    """In pieces, so that memory does not grow with the sweep."""
    found = np.full((len(change), 2), np.nan)
    enough = np.isfinite(change).sum(axis=1) > 1
    rows = np.flatnonzero(enough)
    for start in range(0, len(rows), 1000):
        piece = rows[start : start + 1000]
        found[piece] = middle(means(change[piece], weights))
    return found.T


def _mean(values: Float[Array, "column prompt"], count: Array) -> Float[Array, " column"]:
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=1)
    return _share(total, count, count > 0)


def _share(part: Array, count: Array, where: Array) -> Float[Array, " column"]:
    return np.asarray(np.divide(part, count, out=np.full(len(count), np.nan), where=where))
