"""Made-up tables of a sweep, with the columns that the real ones have and effects that are known.

What is planted, as a change against the unsteered cell, read at layer 4 (`READ_LAYER`):

    add/creativity/L3/s     score 0.2 s     nll 5 s²     kl 4 s²     works
    add/creativity/L1/s     score -0.1 |s|  nll 10 |s|   kl 8 |s|    half or all of it degenerate
    add/creativity/L5/s     score 0         nll 0.1 |s|  kl 0.1 |s|  does nothing
    within-1                score 0.05 s    nll 4 s²     kl 5 s²
    within-2                score -0.1 s    nll 8 s²     kl 10 s²
    shuffled-1              score 0.04 s    nll 4 s²     kl 5 s²
    unrelated:formality     score 0.1 s     nll 5 s²     kl 4 s²
    instruction             score 0.03      nll 0.1     kl 0.12
    temperature/1.2, /1.5   score 0.005, 0.01      nll 0.15, 0.6
    min_p/0.02, /0.1        score 0.002, 0.001     nll 0.05, -0.05
    ablate … /instruction   score of the instruction less what is lost: 0.012 at L3, 0.027 at all
                            layers; 0.001 and 0.0015 for within-1

A prompt's own change is the planted one times 1 + h, where h has mean 0 over each split, so means
are exact when `noise` is 0. At read layer r all changes of the score are times (r + 1) / 5.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from creativity_lens.studies.sweep_effects import SweepTables

NAN = math.nan
N_LAYERS = 6
LAYERS = (1, 3, 5)
STRENGTHS = (-0.2, 0.1, 0.2, 0.4)
READ_LAYER = 4
CELL_COLUMNS = (
    "cell_id",
    "kind",
    "layer",
    "strength",
    "unit",
    "mode",
    "direction",
    "instruction",
    "temperature",
    "top_p",
    "min_p",
    "scope",
    "schedule",
    "split",
)


class Planted(NamedTuple):
    """What a cell does: changes against the unsteered cell, and its share of degenerate texts."""

    score: float = 0.0
    nll: float = 0.0
    kl: float = 0.0
    degenerate: float = 0.0


OTHERS = {
    "instruction": Planted(0.03, 0.1, 0.12),
    "temperature/1.2": Planted(0.005, 0.15),
    "temperature/1.5": Planted(0.01, 0.6),
    "min_p/0.02": Planted(0.002, 0.05),
    "min_p/0.1": Planted(0.001, -0.05),
    "ablate/creativity/L3/1/instruction": Planted(0.018, 0.12, 0.05),
    "ablate/creativity/all/1/instruction": Planted(0.003, 0.2, 0.15),
    "ablate/within-1/L3/1/instruction": Planted(0.029, 0.11, 0.05),
    "ablate/within-1/all/1/instruction": Planted(0.0285, 0.15, 0.12),
}
# score per strength, nll per strength squared, kl per strength squared
CONTROLS = {
    "within-1": (0.05, 4.0, 5.0),
    "within-2": (-0.1, 8.0, 10.0),
    "shuffled-1": (0.04, 4.0, 5.0),
    "unrelated:formality": (0.1, 5.0, 4.0),
}


def cell(kind: str, cell_id: str, **fields: Any) -> dict[str, Any]:
    """One row of `cells`; what is not given is as in the unsteered cell."""
    plain = {
        "layer": pd.NA,
        "strength": NAN,
        "unit": "",
        "mode": "none",
        "direction": "none",
        "instruction": False,
        "temperature": 1.0,
        "top_p": 1.0,
        "min_p": 0.0,
        "scope": "response" if kind in ("steered", "control", "necessity") else "",
        "schedule": "constant" if kind in ("steered", "control", "necessity") else "",
        "split": "all" if kind in ("unsteered", "steered") else "test",
    }
    return {"cell_id": cell_id, "kind": kind} | plain | fields


def pushed(
    kind: str, direction: str, layer: int, strength: float, mode: str = "add"
) -> dict[str, Any]:
    """A cell that adds (or rotates toward) a direction."""
    return cell(
        kind,
        f"{mode}/{direction}/L{layer}/{strength:+g}",
        layer=layer,
        strength=strength,
        unit="relative",
        mode=mode,
        direction=direction,
    )


def sweep_cells() -> pd.DataFrame:
    """All kinds of cells; controls at every steered layer."""
    rows = [cell("unsteered", "unsteered")]
    rows += [pushed("steered", "creativity", layer, s) for layer in LAYERS for s in STRENGTHS]
    rows += [
        pushed("control", name, layer, s)
        for name in CONTROLS
        for layer in LAYERS
        for s in STRENGTHS
        if s > 0
    ]
    # -0.2 is in the steered grid already
    rows += [pushed("control", "creativity", layer, s) for layer in LAYERS for s in (-0.1, -0.4)]
    rows.append(cell("instruction", "instruction", instruction=True))
    rows += [
        cell(
            "sampling",
            f"{mode}/{value:g}",
            strength=value,
            unit=mode,
            mode=mode,
            # min-p is raised together with the temperature
            **({"temperature": 1.5} | {mode: value}),
        )
        for mode, values in {"temperature": (1.2, 1.5), "min_p": (0.02, 0.1)}.items()
        for value in values
    ]
    rows += [
        cell(
            "necessity",
            f"ablate/{name}/{'all' if layer is pd.NA else f'L{layer}'}/1/instruction",
            layer=layer,
            strength=1.0,
            unit="share",
            mode="ablate",
            direction=name,
            instruction=True,
        )
        for name in ("creativity", "within-1")
        for layer in (3, pd.NA)
    ]
    return cells_frame(rows)


def cells_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows of `cell` as the table `cells`."""
    table = pd.DataFrame([dict(row) for row in rows], columns=list(CELL_COLUMNS))
    return table.astype({"layer": "Int64", "strength": "float64", "instruction": bool})


def planted(row: Mapping[str, Any]) -> Planted:
    """What the docstring of this module says of a cell."""
    if row["kind"] in ("unsteered", "instruction", "sampling", "necessity"):
        return OTHERS.get(row["cell_id"], Planted())
    s = float(row["strength"])
    if row["direction"] in CONTROLS:
        score, nll, kl = CONTROLS[row["direction"]]
        return Planted(score * s, nll * s**2, kl * s**2)
    if row["layer"] == 1:
        return Planted(-0.1 * abs(s), 10 * abs(s), 8 * abs(s), 0.5 if abs(s) < 0.15 else 1.0)
    if row["layer"] == 5:
        return Planted(0.0, 0.1 * abs(s), 0.1 * abs(s))
    return Planted(0.2 * s, 5 * s**2, 4 * s**2)


def sweep_prompts(n: int = 12, text: str | None = None) -> pd.DataFrame:
    """Prompts, dev and test in turn; two of them were used by the run itself."""
    return pd.DataFrame(
        {
            "prompt_id": [f"p{i:02d}" for i in range(n)],
            "prompt": [text or f"Write a story about object number {i}." for i in range(n)],
            "split": ["dev" if i % 2 == 0 else "test" for i in range(n)],
            "in_contrast": [i < 2 for i in range(n)],
        }
    )


def sweep_tables(
    *,
    cells: pd.DataFrame | None = None,
    n_prompts: int = 12,
    seeds: Sequence[int] = (0, 1),
    read_layers: Sequence[int] = tuple(range(N_LAYERS)),
    read_layer: int = READ_LAYER,
    noise: float = 0.003,
    plant: Mapping[str, Planted] | None = None,
    text: str | None = None,
) -> SweepTables:
    """All tables of a sweep.

    Args:
        cells: another table of cells; None for all kinds.
        n_prompts: every second one is a test prompt.
        seeds: with a single one there are no measures over seeds.
        read_layers: where the score is read.
        read_layer: the primary one.
        noise: spread of the score of single texts, beyond what a prompt and seed share.
        plant: what single cells do instead, by cell id.
        text: stands for every prompt and text; None gives harmless ones.
    """
    cells = sweep_cells() if cells is None else cells
    prompts = sweep_prompts(n_prompts, text)
    rows = [dict(row) for row in cells.to_dict("records")]
    truths = {row["cell_id"]: planted(row) for row in rows} | dict(plant or {})
    known = set(cells["cell_id"])
    assert set(plant or {}) <= known, "a planted cell that is not there"
    random = np.random.default_rng(0)
    texts: list[dict[str, Any]] = []
    metrics: list[tuple[str, str, Any, str, Any, float]] = []
    places = prompts.groupby("split").cumcount()
    sizes = prompts["split"].map(prompts["split"].value_counts())
    for row in rows:
        truth = truths[row["cell_id"]]
        asked = prompts if row["split"] == "all" else prompts[prompts["split"] == row["split"]]
        for p in asked.index:
            prompt, place, size = prompts["prompt_id"][p], int(places[p]), int(sizes[p])
            own = 1 + (place / (size - 1) - 0.5 if size > 1 else 0.0)
            broken = place < truth.degenerate * size
            for seed in seeds:
                # One text of the broken layer is empty, and has no score.
                empty = row["cell_id"] == "add/creativity/L1/+0.4" and p == 0 and seed == seeds[0]
                one = _measures(truth, own, broken or empty, empty, p, seed)
                for layer in read_layers:
                    base = 0.02 + 0.005 * layer + 0.01 * math.sin(3 * p + seed)
                    value = base + truth.score * own * (layer + 1) / 5
                    value += noise * float(random.standard_normal()) if noise else 0.0
                    metrics.append(
                        (row["cell_id"], prompt, seed, "score", layer, NAN if empty else value)
                    )
                metrics += [
                    (row["cell_id"], prompt, seed, name, pd.NA, v) for name, v in one.items()
                ]
                texts.append(
                    {name: row[name] for name in ("cell_id", "layer", "strength", "unit")}
                    | {"mode": row["mode"], "direction": row["direction"]}
                    | {"prompt_id": prompt, "seed": seed}
                    | {
                        "text": "" if empty else text or _story(row["cell_id"], p, seed, broken),
                        "finish_reason": "stop" if (p + seed) % 3 == 0 else "length",
                    }
                )
            if len(seeds) > 1:
                over_seeds = {
                    "pooled_distinct_2": 0.3 if broken else 0.8 + 0.01 * math.sin(p),
                    "embedding_diversity": 0.4 + 0.5 * truth.nll * own / (1 + abs(truth.nll)),
                    "self_similarity_3": 0.6 if broken else 0.05,
                }
                metrics += [
                    (row["cell_id"], prompt, pd.NA, name, pd.NA, v)
                    for name, v in over_seeds.items()
                ]
    names = ["cell_id", "prompt_id", "seed", "metric", "read_layer", "value"]
    return SweepTables(
        cells=cells,
        prompts=prompts,
        texts=pd.DataFrame(texts).astype({"layer": "Int64", "seed": "int64"}),
        metrics=pd.DataFrame(metrics, columns=names).astype(
            {"seed": "Int64", "read_layer": "Int64", "value": "float64"}
        ),
        read_layer=read_layer,
    )


def _measures(
    truth: Planted, own: float, broken: bool, empty: bool, p: int, seed: int
) -> dict[str, float]:
    """All measures of one text but the score."""
    shared = 0.01 * math.sin(5 * p + 2 * seed)  # the same in every cell: pairing removes it
    words = 0.0 if empty else 36.0 + p % 3
    unknown = {"nll", "kl", "distinct_1", "distinct_2", "repetition", "compression_ratio"}
    values = {
        "nll": 1.56 + 10 * shared + truth.nll * own,
        "kl": truth.kl * own,
        "n_tokens": 0.0 if empty else 48.0,
        "n_words": words,
        "distinct_1": (0.2 if broken else 0.7) + shared,
        "distinct_2": (0.3 if broken else 0.9) + shared,
        "repetition": (0.7 if broken else 0.05) + shared,
        "compression_ratio": (4.0 if broken else 1.8) + shared,
        "relevance": (0.1 if broken else 0.5) + shared - 0.05 * truth.nll,
        "degenerate": float(broken),
        "degenerate_empty": float(empty),
        "degenerate_short": 0.0,
        "degenerate_loop": float(broken and not empty),
        "degenerate_one_token": float(broken and not empty and p % 4 == 0),
        "degenerate_not_words": 0.0,
    }
    if empty:
        values |= dict.fromkeys(unknown | {"relevance"}, NAN)
    return values


def _story(cell_id: str, p: int, seed: int, broken: bool) -> str:
    if broken:
        return "the the the the " * 9
    return f"Object {p} woke up under {cell_id} and told {seed + 2} gulls a long story. " * 3
