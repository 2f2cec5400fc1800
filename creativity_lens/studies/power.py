"""How many pairs does a direction need? Asked of a run that is there already."""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from creativity_lens.activations.store import cached_store
from creativity_lens.directions.direction import DirectionSet
from creativity_lens.directions.extract import ContrastRow
from creativity_lens.directions.rereading import ReadingContext, paired_means, passages_in
from creativity_lens.errors import InputError
from creativity_lens.models.protocol import LensModel
from creativity_lens.probes.stability import premises_needed
from creativity_lens.probes.stability import stability as measure_stability
from creativity_lens.studies.probe_tables import columns, frame, spread

if TYPE_CHECKING:
    from pandas import DataFrame


def power(
    model: LensModel,
    rows: Sequence[ContrastRow],
    directions: DirectionSet,
    *,
    stability: float = 0.9,
    context: ReadingContext | None = None,
    store: str | os.PathLike[str],
    n_draws: int = 1000,
    seed: int = 0,
    on_size: Callable[[int], None] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> "DataFrame":
    """The number of premises that would make two independent directions agree, layer by layer.

    Args:
        model: the model of the run.
        rows: its texts.
        directions: its directions.
        stability: the wanted expected cosine between two directions, each from premises of its own.
        context: where the texts are read; None takes the run's.
        store: folder that keeps the activations.
        n_draws: bootstrap draws.
        seed: of draws and splits.
        on_size: called with the bytes of activations before they are written.
        on_progress: called with the number of texts each batch has finished.

    Returns:
        One row a layer: `layer`, `n_premises`, `split_half` and `reliability` of the run as it is,
        `premises_needed` and `pairs_needed` with their intervals; a pair is one premise in the
        pairs file, however many samples it has. Infinite where the premises do
        not agree on anything.

    Raises:
        InputError: a stability outside (0, 1), fewer than four premises, or a context that a
            prompt-last run was not made in.
        DirectionMismatchError: the run is another model's.
    """
    directions.check_model(model)
    provenance = directions.provenance
    where = context or provenance["context"]
    if provenance["span"] == "prompt-last" and where != "as-generated":
        raise InputError(
            f"the run reads the last token of the prompt, which is no part of the context {where}: "
            "ask for as-generated."
        )
    kept = cached_store(
        model,
        passages_in(rows, where),
        os.fspath(store),
        span=provenance["span"],
        unit_tokens=provenance["unit_tokens"],
        likelihood=where == "neutral",
        on_size=on_size,
        on_progress=on_progress,
    )
    means = paired_means(rows, kept.means())
    needed = premises_needed(
        *means.sides, means.groups, stability=stability, n_draws=n_draws, seed=seed
    )
    found = measure_stability(*means.sides, means.groups, n_draws=n_draws, seed=seed)
    found_rows = []
    pairs_a_premise = len({row.pair_id for row in rows}) / needed.n_premises
    for layer, premises in enumerate(needed.premises):
        pairs = type(premises)(*(value * pairs_a_premise for value in premises))
        found_rows.append(
            {
                "layer": layer,
                "n_premises": needed.n_premises,
                "wanted": stability,
                "reliability": found.reliability[layer],
            }
            | spread("split_half", found.split_half[layer])
            | spread("premises_needed", premises)
            | spread("pairs_needed", pairs)
        )
    return frame(
        found_rows,
        columns(
            "layer",
            "n_premises",
            "split_half*",
            "reliability",
            "wanted",
            "premises_needed*",
            "pairs_needed*",
        ),
    )
