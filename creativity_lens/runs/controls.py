"""Directions that should not work: what any push of the same length does to a text.

Three kinds, as cells name them: `within-K` is drawn from the within-class covariance of the run's
texts, `shuffled-K` is the difference of means of labels dealt at random, `unrelated:NAME` is the
direction of a nuisance. All but the last are random and have no sign of their own.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from creativity_lens.activations.reading import Passage
from creativity_lens.activations.store import cached_store
from creativity_lens.directions.direction import DirectionSet
from creativity_lens.directions.extract import ContrastRow
from creativity_lens.directions.nuisance import NuisanceMeans, nuisance_passages
from creativity_lens.directions.rereading import PairedMeans, paired_means, passages_in
from creativity_lens.errors import InputError
from creativity_lens.models.protocol import LensModel
from creativity_lens.probes.random_directions import (
    shuffled_label_directions,
    within_class_directions,
)

__all__ = ["CONTROL_PAIRS", "control_directions"]

CONTROL_PAIRS = 24
"""Passage pairs that make the direction of a nuisance."""

_DRAWN = {"within": within_class_directions, "shuffled": shuffled_label_directions}


def control_directions(
    model: LensModel,
    rows: Sequence[ContrastRow],
    directions: DirectionSet,
    names: Iterable[str],
    *,
    store: str | os.PathLike[str],
    on_reading: Callable[[str, int, int], None] | None = None,
) -> dict[str, DirectionSet]:
    """The control directions of these names, one at each layer.

    Each takes the residual norms of `directions`, so that a relative strength is the same length.

    Args:
        model: the model of the run.
        rows: the run's texts.
        directions: its directions.
        names: `within-K`, `shuffled-K` (K from 1), `unrelated:NAME`; others are passed over.
        store: folder that keeps the activations that are read.
        on_reading: called with (what, texts read, texts).

    Raises:
        InputError: an unknown nuisance, or texts that do not vary.
    """
    wanted = list(dict.fromkeys(names))
    found: dict[str, DirectionSet] = {}

    def keep(passages: list[Passage], label: str) -> Float[Tensor, "text layer d_model"]:
        done = 0

        def advance(n: int) -> None:
            nonlocal done
            done += n
            if on_reading is not None:
                on_reading(label, done, len(passages))

        kept = cached_store(
            model,
            passages,
            Path(store),
            span=directions.provenance["span"],
            unit_tokens=directions.provenance["unit_tokens"],
            notes={"label": label},
            on_progress=advance,
        )
        return kept.means()

    def named(vectors: Float[Tensor, "layer d_model"]) -> DirectionSet:
        return replace(directions, directions=vectors.float())

    texts: PairedMeans | None = None
    for kind, draw in _DRAWN.items():
        numbers = [_number(name) for name in wanted if name.startswith(f"{kind}-")]
        if not numbers:
            continue
        if texts is None:
            texts = paired_means(rows, keep(passages_in(rows, "as-generated"), "texts of the run"))
        for k in numbers:
            # The number is the seed: a draw is the same, however many are drawn beside it.
            (drawn,) = draw(texts.creative, texts.uncreative, 1, seed=k)
            found[f"{kind}-{k}"] = named(drawn)
    for name in (name for name in wanted if name.startswith("unrelated:")):
        nuisance = name.removeprefix("unrelated:")
        passages, groups = nuisance_passages(
            model,
            nuisance,
            neutral_prompt=directions.provenance["neutral_prompt"],
            limit=CONTROL_PAIRS,
        )
        means = keep(passages, f"passages: {nuisance}")
        n = len(groups)
        found[name] = named(NuisanceMeans(nuisance, means[:n], means[n:], groups).direction)
    return found


def _number(name: str) -> int:
    number = name.partition("-")[2]
    if not number.isdigit() or number == "0":
        raise InputError(f"{name!r} names no random direction; they are numbered from 1.")
    return int(number)
