"""The tables of texts and numbers of a finished sweep, made from its store.

What needs several texts, or another model than the steered one, is measured here: relevance to the
premise, and diversity over the seeds of a prompt.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from creativity_lens.measures.embedding import Embedder, relevance
from creativity_lens.measures.over_seeds import (
    embedding_diversity,
    pooled_distinct_n,
    self_similarity,
)
from creativity_lens.runs.cells import Cell
from creativity_lens.runs.store import RunStore
from creativity_lens.runs.sweep_prompts import SweepPrompt

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["METRIC_COLUMNS", "TEXT_COLUMNS", "metric_table", "text_table"]

TEXT_COLUMNS = (
    "cell_id",
    "layer",
    "strength",
    "unit",
    "mode",
    "direction",
    "prompt_id",
    "seed",
    "text",
    "finish_reason",
)
METRIC_COLUMNS = ("cell_id", "prompt_id", "seed", "metric", "read_layer", "value")


def text_table(store: RunStore, cells: Sequence[Cell]) -> "DataFrame":
    """`texts.parquet`: every text with what was done to it."""
    import pandas as pd

    names = ("layer", "strength", "unit", "mode", "direction")
    about = pd.DataFrame(
        [(cell.cell_id, *(getattr(cell, name) for name in names)) for cell in cells],
        columns=["cell_id", *names],
    ).astype({"layer": "Int64", "strength": "float64"})
    return store.texts().merge(about, on="cell_id", validate="many_to_one")[list(TEXT_COLUMNS)]


def metric_table(
    store: RunStore,
    texts: "DataFrame",
    prompts: Sequence[SweepPrompt],
    *,
    embedder: Embedder | None,
) -> "DataFrame":
    """`metrics.parquet`: the stored numbers, relevance, and diversity over the seeds.

    Args:
        store: of the sweep.
        texts: its `text_table`.
        prompts: of the sweep.
        embedder: makes the vectors of texts; None leaves out what needs them.
    """
    import pandas as pd

    # Not the whole request, whose words are the same in all prompts.
    premises = {prompt.id: prompt.premise for prompt in prompts}
    vectors = None if embedder is None else embedder(texts["text"].tolist())
    tables = [store.metrics()]
    rows = []
    if embedder is not None:
        near = relevance(
            texts["text"].tolist(), [premises[name] for name in texts["prompt_id"]], embedder
        )
        measured = texts[["cell_id", "prompt_id", "seed"]].assign(metric="relevance", value=near)
        tables.append(measured)
    for (cell, prompt), group in texts.groupby(["cell_id", "prompt_id"], sort=True):
        if len(group) < 2:
            continue
        written = group["text"].tolist()
        found = {
            "pooled_distinct_2": pooled_distinct_n(written),
            "self_similarity_3": self_similarity(written),
        }
        if vectors is not None:
            places = np.asarray(texts.index.get_indexer(group.index))
            found["embedding_diversity"] = embedding_diversity(vectors[places])
        rows += [
            {"cell_id": cell, "prompt_id": prompt, "seed": pd.NA, "metric": name, "value": value}
            for name, value in found.items()
        ]
    if rows:
        tables.append(pd.DataFrame(rows))
    types = {"seed": "Int64", "read_layer": "Int64", "value": "float64"}
    together = pd.concat(
        [table.reindex(columns=list(METRIC_COLUMNS)).astype(types) for table in tables],
        ignore_index=True,
    )
    order = ["cell_id", "prompt_id", "seed", "metric", "read_layer"]
    return together.sort_values(order, ignore_index=True)
