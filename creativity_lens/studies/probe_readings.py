"""What a probe study reads: a run's texts in several contexts, cheap rivals, nuisance passages.

Everything that runs the model is here, and all of it goes through the on-disk store, so a second
study of the same run reads files.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from creativity_lens.activations.handle import ActivationStore
from creativity_lens.activations.reading import Passage
from creativity_lens.activations.store import cached_store
from creativity_lens.directions.direction import DirectionSet
from creativity_lens.directions.extract import ContrastRow
from creativity_lens.directions.nuisance import NuisanceMeans, nuisance_passages
from creativity_lens.directions.rereading import (
    PairedMeans,
    ReadingContext,
    paired_means,
    passages_in,
)
from creativity_lens.models.protocol import LensModel
from creativity_lens.models.randomized import randomized
from creativity_lens.stats import Array
from creativity_lens.studies.stages import Stages


@dataclass(frozen=True, eq=False)
class Readings:
    """A run's texts as read for a probe study.

    Attributes:
        rows: the run's texts: creative, uncreative, creative, ...
        contexts: what the model makes of them in each context.
        random_weights: the same of the architecture with random weights; may be empty.
        embeddings: mean token embedding of each text, as a single layer.
        surface: log number of tokens and NLL after the neutral prompt (nats a token).
        nuisances: nuisance passages after one neutral prompt.
    """

    rows: tuple[ContrastRow, ...]
    contexts: Mapping[str, PairedMeans]
    random_weights: Mapping[str, PairedMeans]
    embeddings: PairedMeans
    surface: Float[Array, "pair 2 2"]
    nuisances: tuple[NuisanceMeans, ...]

    def texts(self, side: int) -> list[str]:
        """The responses of one side; 0 is creative."""
        return [row.response for row in self.rows[side::2]]

    @property
    def groups(self) -> tuple[str, ...]:
        """The premise of each pair."""
        return tuple(row.premise_id for row in self.rows[::2])

    @property
    def lengths(self) -> Float[Array, "pair 2"]:
        """Tokens of each text."""
        return np.array([len(row.response_ids) for row in self.rows], dtype=float).reshape(-1, 2)

    @property
    def nll(self) -> Float[Array, " row"]:
        """NLL of each text after the neutral prompt, in the order of the rows."""
        return np.asarray(self.surface[..., 1].reshape(-1))


def read_run(
    model: LensModel,
    rows: Sequence[ContrastRow],
    directions: DirectionSet,
    *,
    contexts: Sequence[ReadingContext],
    nuisances: Sequence[str],
    nuisance_pairs: int | None,
    random_weights: bool,
    store: str | os.PathLike[str],
    stages: Stages,
    on_size: Callable[[str, int], None] | None = None,
    seed: int = 0,
) -> Readings:
    """Read a run's texts in each context, and what they are compared with.

    Args:
        model: the model of the run.
        rows: its texts.
        directions: its directions; their span, neutral prompt and token weighting are used.
        contexts: where the texts are read.
        nuisances: names of nuisance sets.
        nuisance_pairs: how many pairs of each; None takes all.
        random_weights: also read with the same architecture and random weights.
        store: folder that keeps activations.
        stages: told how far it is.
        on_size: called with (what, bytes) before activations are written.
        seed: of the random weights.

    Raises:
        InputError: rows out of order, or texts too long for the model.
        DataError: the store cannot be read.
    """
    provenance = directions.provenance
    reading = {"span": provenance["span"], "unit_tokens": provenance["unit_tokens"]}
    root = Path(store)

    def keep(who: Any, passages: list[Passage], label: str, **settings: Any) -> ActivationStore:
        with stages.stage(f"reading: {label}", len(passages)) as advance:
            return cached_store(
                who,
                passages,
                root,
                notes={"label": label},
                on_size=None if on_size is None else lambda size: on_size(label, size),
                on_progress=advance,
                **settings,
            )

    found: dict[str, PairedMeans] = {}
    nll: Float[Array, " row"] | None = None
    for context in contexts:
        # Likelihood comes after the neutral prompt, whatever is probed: under its own instruction
        # a text is likelier, which would let a rival see the instruction.
        asked = reading | {"likelihood": context == "neutral"}
        kept = keep(model, passages_in(rows, context), context, **asked)
        found[context] = paired_means(rows, kept.means())
        nll = kept.nll if context == "neutral" else nll
    if nll is None:
        passages = passages_in(rows, "neutral")
        nll = keep(model, passages, "likelihood", layers=(0,), likelihood=True).nll
    drawn: dict[str, PairedMeans] = {}
    if random_weights:
        stranger = randomized(model, seed=seed)
        for context in (c for c in contexts if c != "opposite"):
            kept = keep(
                stranger, passages_in(rows, context), f"random weights, {context}", **reading
            )
            drawn[context] = paired_means(rows, kept.means())
        del stranger
    measured = []
    for name in nuisances:
        passages, groups = nuisance_passages(
            model, name, neutral_prompt=provenance["neutral_prompt"], limit=nuisance_pairs
        )
        means = keep(model, passages, f"nuisance: {name}", **reading).means()
        n = len(groups)
        measured.append(NuisanceMeans(name, means[:n], means[n:], groups))
    lengths = np.log([len(row.response_ids) for row in rows])
    return Readings(
        rows=tuple(rows),
        contexts=found,
        random_weights=drawn,
        embeddings=paired_means(rows, _embedding_means(model, rows)),
        surface=np.stack([lengths, nll], axis=1).reshape(-1, 2, 2),
        nuisances=tuple(measured),
    )


@torch.inference_mode()
def _embedding_means(
    model: LensModel, rows: Sequence[ContrastRow]
) -> Float[torch.Tensor, "row 1 d_model"]:
    """Mean input embedding of each response's tokens: what the words say without any layer."""
    matrix = model.W_E  # type: ignore[attr-defined]
    ids = [torch.tensor(row.response_ids, device=matrix.device) for row in rows]
    return torch.stack([matrix[i].double().mean(dim=0) for i in ids])[:, None].float().cpu()
