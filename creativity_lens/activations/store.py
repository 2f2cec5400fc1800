"""An on-disk store of activations, so that nothing is read twice.

A store holds the residual stream of some texts at some layers: the mean over each text's span
(kind `text-mean`, 4 · n_layers · d_model bytes a text) or every token of it (kind `token`, that
much for each token). It is written shard by shard, so memory does not grow with the texts, and
whole or not at all. `ActivationStore` reads it.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from creativity_lens.activations.blocks import (
    Block,
    Layout,
    check_format,
    itemsize,
    write_blocks,
)
from creativity_lens.activations.handle import ActivationStore, Kind, StoreDtype
from creativity_lens.activations.reading import (
    BATCH_SIZE,
    MAX_BATCH_TOKENS,
    Passage,
    ReadBatch,
    Span,
    check_span,
    read_batches,
    read_passages,
    text_nll,
)
from creativity_lens.activations.shards import SCHEMA_VERSION
from creativity_lens.errors import InputError
from creativity_lens.hooks.capture import ResidualTokens
from creativity_lens.io import sha256_json
from creativity_lens.models.identity import identity, library_versions, weights_record
from creativity_lens.models.protocol import LensModel, check_layer, layer_tuple, read

__all__ = [
    "ActivationStore",
    "Kind",
    "StoreDtype",
    "cached_store",
    "passages_sha256",
    "save_means",
    "span_tokens",
    "store_bytes",
    "write_store",
]

SHARD_TEXTS = 256
_NEEDED = {
    "model": ("name", "n_layers", "d_model", "dtype", "fingerprint"),
    "span": (),
    "unit_tokens": (),
}
_log = logging.getLogger(__name__)


def span_tokens(passage: Passage, span: Span = "response") -> int:
    """How many tokens of a passage count: all of its text but an attention sink, or one."""
    if span == "response":
        return len(passage.text_ids) - (0 if passage.context_ids else 1)
    return 1


def store_bytes(
    passages: Sequence[Passage],
    n_layers: int,
    d_model: int,
    kind: Kind = "text-mean",
    dtype: StoreDtype = "float32",
    *,
    span: Span = "response",
) -> int:
    """The bytes of a store's tensors; headers and index add some kilobytes a shard.

    Raises:
        InputError: an unknown kind, dtype or span.
    """
    check_format(kind, dtype)
    check_span(span)
    rows = sum(span_tokens(p, span) for p in passages) if kind == "token" else len(passages)
    return rows * n_layers * d_model * itemsize(dtype)


def passages_sha256(passages: Sequence[Passage]) -> str:
    """Digest of the passages: their ids, contexts and texts, in order."""
    return sha256_json([[p.id, list(p.context_ids), list(p.text_ids)] for p in passages])


def write_store(
    model: LensModel,
    passages: Sequence[Passage],
    folder: str | Path,
    *,
    layers: int | Sequence[int] | None = None,
    kind: Kind = "text-mean",
    span: Span = "response",
    unit_tokens: bool = False,
    shard_texts: int = SHARD_TEXTS,
    dtype: StoreDtype = "float32",
    likelihood: bool = False,
    notes: Mapping[str, Any] | None = None,
    batch_size: int = BATCH_SIZE,
    max_batch_tokens: int = MAX_BATCH_TOKENS,
    on_size: Callable[[int], None] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> ActivationStore:
    """Read passages once and store what was read.

    Args:
        model: any `LensModel`.
        passages: the texts; ids must be unique.
        folder: where the store will lie; a store that is there is replaced when the new one is
            complete.
        layers: which layers; None takes all.
        kind: `text-mean` or `token`.
        span: which tokens count. The attention sink never does.
        unit_tokens: divide each token by its norm.
        shard_texts: most texts in a shard; memory is bounded by one shard, and a shard by 256 MiB.
        dtype: `float32`, or `float16` for half the size and 3 digits.
        likelihood: also store each text's mean NLL, from the same pass.
        notes: what else is known of the texts, such as the name of their context; plain values.
        batch_size: most texts in a batch.
        max_batch_tokens: most tokens in a batch.
        on_size: called with `store_bytes` before anything is read or written; raise to refuse.
        on_progress: called with the number of texts each batch has finished.

    Raises:
        InputError: no passages, an id used twice, a text of which no token counts or that is
            longer than the context, a layer out of range, an unknown kind or dtype, NaN or
            infinity, too little room on the disk, or a folder that holds something else.
    """
    plan = _Plan(
        model,
        passages,
        _layout(model, passages, layers, kind, span, dtype),
        span,
        unit_tokens,
        likelihood,
        batch_size,
        max_batch_tokens,
        on_progress,
    )
    return plan.write(Path(folder), notes, shard_texts, on_size)


def cached_store(
    model: LensModel,
    passages: Sequence[Passage],
    root: str | Path,
    *,
    layers: int | Sequence[int] | None = None,
    kind: Kind = "text-mean",
    span: Span = "response",
    unit_tokens: bool = False,
    shard_texts: int = SHARD_TEXTS,
    dtype: StoreDtype = "float32",
    likelihood: bool = False,
    notes: Mapping[str, Any] | None = None,
    batch_size: int = BATCH_SIZE,
    max_batch_tokens: int = MAX_BATCH_TOKENS,
    on_size: Callable[[int], None] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> ActivationStore:
    """The store of these passages under `root`, written only if it is not there already.

    Its folder is named by a digest of the model's weights (not its name), the passages, layers,
    kind, span, unit_tokens, dtype and likelihood. Notes and batches are no part of it, so a store
    that is found keeps the notes it was written with. A damaged store is written again.

    Args:
        model: as for `write_store`, like all that follow.
        passages: the texts.
        root: the folder that holds the stores.
        layers: which layers.
        kind: `text-mean` or `token`.
        span: which tokens count.
        unit_tokens: divide each token by its norm.
        shard_texts: most texts in a shard.
        dtype: `float32` or `float16`.
        likelihood: also store each text's mean NLL.
        notes: what else is known of the texts.
        batch_size: most texts in a batch.
        max_batch_tokens: most tokens in a batch.
        on_size: called with the size before anything is read; not called if the store is there.
        on_progress: called with the number of texts each batch has finished.

    Raises:
        InputError: as `write_store`.
    """
    plan = _Plan(
        model,
        passages,
        _layout(model, passages, layers, kind, span, dtype),
        span,
        unit_tokens,
        likelihood,
        batch_size,
        max_batch_tokens,
        on_progress,
    )
    folder = Path(root) / plan.key[:16]
    if folder.exists():
        try:
            store = ActivationStore.open(folder, model=model)
        except InputError as error:
            _log.warning("writing a stored read of activations again: %s", error)
        else:
            if store.key == plan.key:
                return store
    return plan.write(folder, notes, shard_texts, on_size)


def save_means(
    folder: str | Path,
    ids: Sequence[str],
    means: Float[Tensor, "text layer d_model"],
    *,
    provenance: Mapping[str, Any],
    n_tokens: Sequence[int],
    layers: int | Sequence[int] | None = None,
    nll: Sequence[float] | NDArray[np.float64] | None = None,
    dtype: StoreDtype = "float32",
    shard_texts: int = SHARD_TEXTS,
) -> ActivationStore:
    """Store means that are in memory already, such as those captured while texts were generated.

    Args:
        folder: where the store will lie.
        ids: the texts; unique.
        means: mean of each text over its tokens, at each layer.
        provenance: needs `model` (as `models.identity.identity` gives it), `span` and
            `unit_tokens`; the provenance of a `DirectionSet` has them. `texts_sha256` (see
            `passages_sha256`) and `notes` may be in it.
        n_tokens: how many tokens each mean is over.
        layers: which layers `means` holds; None if all of the model's.
        nll: mean negative log-likelihood of each text, in nats a token.
        dtype: `float32` or `float16`.
        shard_texts: most texts in a shard.

    Raises:
        InputError: no texts, an id used twice, lengths that do not match, a provenance without its
            entries, NaN or infinity, an unknown dtype, too little room on the disk, or a folder
            that holds something else.
    """
    _check_provenance(provenance)
    model = provenance["model"]
    found = tuple(range(int(model["n_layers"]))) if layers is None else layer_tuple(layers)
    scores = np.full(len(ids), np.nan) if nll is None else np.asarray(nll, dtype=np.float64)
    expected = (len(ids), len(found), int(model["d_model"]))
    if tuple(means.shape) != expected or not len(ids) == len(n_tokens) == len(scores):
        raise InputError(
            f"cannot store these means: {len(ids)} texts, {len(n_tokens)} counts of tokens, "
            f"{len(scores)} likelihoods and means of shape {tuple(means.shape)} do not match; for "
            f"{len(found)} layers of {model['name']!r} the shape must be {expected}."
        )
    layout = Layout(
        tuple(ids), tuple(int(n) for n in n_tokens), found, expected[2], "text-mean", dtype
    )

    def blocks() -> Iterator[Block]:
        for texts in layout.shards(shard_texts):
            yield Block(texts, list(means[texts].detach().cpu().unbind(dim=1)), scores[texts])

    whole = {"hook": "resid_post", "texts_sha256": None, "notes": {}, **provenance}
    return write_blocks(layout, Path(folder), blocks(), whole, key=None)


@dataclass(frozen=True, eq=False)
class _Plan:
    """A store that is to be read from a model."""

    model: LensModel
    passages: Sequence[Passage]
    layout: Layout
    span: Span
    unit_tokens: bool
    likelihood: bool
    batch_size: int
    max_batch_tokens: int
    on_progress: Callable[[int], None] | None

    @cached_property
    def key(self) -> str:
        """Digest of everything that shapes the numbers."""
        layout = self.layout
        return sha256_json(
            {
                "schema_version": SCHEMA_VERSION,
                "model": weights_record(self.model),
                "texts": passages_sha256(self.passages),
                "layers": layout.layers,
                "kind": layout.kind,
                "dtype": layout.dtype,
                "span": self.span,
                "unit_tokens": self.unit_tokens,
                "likelihood": self.likelihood,
            }
        )

    def batches(self, texts: slice) -> Iterator[ReadBatch]:
        """Batches of some of the passages; nothing is read yet."""
        return read_batches(
            self.model,
            self.passages[texts],
            span=self.span,
            batch_size=self.batch_size,
            max_batch_tokens=self.max_batch_tokens,
        )

    def write(
        self,
        folder: Path,
        notes: Mapping[str, Any] | None,
        shard_texts: int,
        on_size: Callable[[int], None] | None,
    ) -> ActivationStore:
        """Read everything once and store it."""
        shards = list(self.layout.shards(shard_texts))
        # Without the model, so that a bad text is named now and not after minutes of reading.
        for _ in self.batches(slice(None)):
            pass
        if on_size is not None:
            on_size(self.layout.n_bytes)
        provenance = {
            "model": identity(self.model),
            "hook": "resid_post",
            "span": self.span,
            "unit_tokens": self.unit_tokens,
            "texts_sha256": passages_sha256(self.passages),
            "notes": dict(notes or {}),
            "versions": library_versions(),
        }
        read_block = self._tokens if self.layout.kind == "token" else self._means
        return write_blocks(self.layout, folder, map(read_block, shards), provenance, self.key)

    def _means(self, texts: slice) -> Block:
        readings = read_passages(
            self.model,
            self.passages[texts],
            layers=self.layout.layers,
            span=self.span,
            unit_tokens=self.unit_tokens,
            likelihood=self.likelihood,
            batch_size=self.batch_size,
            max_batch_tokens=self.max_batch_tokens,
            on_progress=self.on_progress,
        )
        return Block(texts, list(readings.means.unbind(dim=1)), readings.nll)

    @torch.inference_mode()
    def _tokens(self, texts: slice) -> Block:
        passages, n_tokens = self.passages[texts], self.layout.n_tokens[texts]
        layers = self.layout.layers
        ends = np.cumsum(n_tokens)
        # Batches come in order of length; each text's rows go to their own place.
        rows = [torch.zeros((int(ends[-1]), self.layout.d_model)) for _ in layers]
        nll = np.full(len(passages), np.nan)
        for batch in self.batches(texts):
            kept = ResidualTokens(layers, batch.chosen, unit_tokens=self.unit_tokens)
            logits = read(
                self.model,
                batch.ids,
                batch.mask,
                hooks=kept.hooks(),
                last_layer=max(layers),
                keep_logits=batch.logits_needed if self.likelihood else 0,
            )
            for row, place in enumerate(batch.indices):
                mine = slice(int(ends[place]) - n_tokens[place], int(ends[place]))
                for index, layer in enumerate(layers):
                    rows[index][mine] = kept.tokens(row, layer).float()
                if logits is not None:
                    nll[place] = text_nll(logits[row], batch.ids[row], passages[place])
            if self.on_progress is not None:
                self.on_progress(len(batch.indices))
        return Block(texts, rows, nll)


def _layout(
    model: LensModel,
    passages: Sequence[Passage],
    layers: int | Sequence[int] | None,
    kind: Kind,
    span: Span,
    dtype: StoreDtype,
) -> Layout:
    check_span(span)
    found = range(int(model.cfg.n_layers)) if layers is None else layer_tuple(layers)
    return Layout(
        tuple(p.id for p in passages),
        tuple(span_tokens(p, span) for p in passages),
        tuple(check_layer(model, layer) for layer in found),
        int(model.cfg.d_model),
        kind,
        dtype,
    )


def _check_provenance(provenance: Mapping[str, Any]) -> None:
    for entry, fields in _NEEDED.items():
        value = provenance.get(entry)
        if entry not in provenance or (
            fields and not (isinstance(value, Mapping) and value.keys() >= set(fields))
        ):
            raise InputError(
                f"the provenance of stored means needs {entry!r}"
                f"{' with ' + ', '.join(fields) if fields else ''}: give that of the directions, "
                "or models.identity.identity(model) as 'model' with 'span' and 'unit_tokens'."
            )
