"""A few means of each text, from one forward pass, that give every score later.

The mean per-token cosine with a unit vector v is `v · mean_t(x_t / |x_t|)`. Whoever keeps that mean
can score a text by any direction without the model: other estimators, hundreds of random
directions, nuisances. `scoring.variants` does so.

File format (`schema_version` 1): `text-means-KKKKKKKKKKKKKKKK.safetensors` (K: the start of its
key) holds float32 `raw`, `unit`, `centred`, `head` `[text, layer, d_model]`, float64 `nll`,
`head_nll` and int64 `n_tokens` `[text]`, and a record of the whole key, `ids`, `layers`,
`head_tokens`, the model and the versions of libraries. How it is checked: `scoring.tensor_file`.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from creativity_lens.activations.reading import (
    BATCH_SIZE,
    MAX_BATCH_TOKENS,
    Passage,
    ReadBatch,
    read_batches,
    text_nll,
)
from creativity_lens.activations.store import passages_sha256, span_tokens
from creativity_lens.directions.direction import DirectionSet
from creativity_lens.errors import DataError, InputError
from creativity_lens.io import check_writable, sha256_json
from creativity_lens.models.identity import identity, library_versions, weights_record
from creativity_lens.models.protocol import LensModel, read
from creativity_lens.scoring.mean_sums import KINDS, MeanSums
from creativity_lens.scoring.score import Parts, Text, chosen_layers, text_parts
from creativity_lens.scoring.tensor_file import load_tensors, save_tensors, tensor_sha256
from creativity_lens.stats import Array

SCHEMA_VERSION = 1
_PER_TEXT = ("nll", "head_nll", "n_tokens")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class TextMeans:
    """Means over each text's tokens at each layer, and its likelihood.

    The first token that the model sees is an attention sink and counts nowhere. Tensors are
    float32 on the CPU; they were summed in float64.

    Attributes:
        ids: the texts, in order.
        layers: the layers, in the order in which they were asked for.
        raw: mean of the tokens, x.
        unit: mean of x / |x|; its product with a unit vector is the mean per-token cosine.
        centred: mean of (x - m) / |x - m|, m the midpoint of the directions' class means.
        head: as `unit`, of the first `head_tokens` tokens alone, so that all texts are equally
            long.
        nll: mean negative log-likelihood in the same context, nats a token.
        head_nll: the same, of the first `head_tokens` tokens.
        n_tokens: how many token ids each text has, all of it.
        head_tokens: the common length. A text that is shorter is in `head` as a whole.
    """

    ids: tuple[str, ...]
    layers: tuple[int, ...]
    raw: Float[Tensor, "text layer d_model"]
    unit: Float[Tensor, "text layer d_model"]
    centred: Float[Tensor, "text layer d_model"]
    head: Float[Tensor, "text layer d_model"]
    nll: Float[Array, " text"]
    head_nll: Float[Array, " text"]
    n_tokens: Int[Array, " text"]
    head_tokens: int

    def __len__(self) -> int:
        return len(self.ids)


def read_text_means(
    model: LensModel,
    directions: DirectionSet,
    texts: Sequence[Text],
    *,
    store: Path,
    layers: int | Sequence[int] | None = None,
    with_prompt: bool,
    head_tokens: int | None = None,
    window: int | None = None,
    batch_size: int = BATCH_SIZE,
    max_batch_tokens: int = MAX_BATCH_TOKENS,
    on_progress: Callable[[int], None] | None = None,
) -> TextMeans:
    """Read each text once, or find what an earlier call has read.

    A file in `store` is found by the model's weights (not its name), the texts in their contexts,
    layers, midpoints, `head_tokens` and `window`. Of the directions only the midpoints and the
    neutral prompt matter. A damaged file is reported in the log and written again.

    Args:
        model: the model that the directions were extracted from.
        directions: their midpoints and neutral prompt are used.
        texts: what to read; ids must be unique.
        store: the folder that holds the files; made if it is not there.
        layers: one layer, several, or None for all.
        with_prompt: read each text after its own prompt; else all after the directions' neutral
            prompt.
        head_tokens: the common length; None takes that of the shortest text.
        window: read a long text in windows of this many tokens, each after the same prompt, and
            weight them by their tokens, as `score_texts` does; None reads it whole.
        batch_size: most passages in a batch.
        max_batch_tokens: most tokens in a batch.
        on_progress: called with the number of windows each batch has finished; not called if
            nothing is read.

    Raises:
        DirectionMismatchError: the directions are another model's.
        DataError: an empty text or a blank prompt.
        InputError: no texts, an id used twice, a text without prompt although `with_prompt`, a
            text longer than the context (without `window`) or of which no token counts, a layer
            out of range, NaN or infinity, or a store that cannot be written to.
    """
    directions.check_model(model)
    chosen = chosen_layers(model, layers)
    items = [_in_context(text, with_prompt) for text in texts]
    parts = text_parts(model, directions.provenance, items, window=window)
    ids = tuple(item.id for item in items)
    repeated, n = Counter(ids).most_common(1)[0]
    if n > 1:
        raise InputError(f"the text id {repeated!r} is used {n} times; each must be there once.")
    length = int(parts.n_tokens.min()) if head_tokens is None else head_tokens
    if length < 1:
        raise InputError(f"head_tokens must be at least 1 token, got {length}.")
    midpoints = torch.stack([directions[layer].midpoint.detach().cpu() for layer in chosen])
    plan = _Plan(ids, chosen, parts, length, midpoints)
    key = sha256_json(
        {
            "schema_version": SCHEMA_VERSION,
            "model": weights_record(model),
            "texts": passages_sha256(parts.passages),
            "ids": ids,
            "layers": chosen,
            "midpoints": tensor_sha256(plan.midpoints),
            "head_tokens": length,
            "window": window,
        }
    )
    path = Path(store) / f"text-means-{key[:16]}.safetensors"
    if path.exists():
        try:
            return _load(path, key)
        except DataError as error:
            _log.warning("reading texts again: %s", error)
    check_writable(store, folder=True)
    means = plan.read(model, batch_size, max_batch_tokens, on_progress)
    _save(path, means, key, model)
    return means


def _in_context(text: Text, with_prompt: bool) -> Text:
    if not with_prompt:
        return Text(text.id, text.text)
    if text.prompt is None:
        raise InputError(
            f"the text {text.id!r} has no prompt to be read after, and scores of texts that were "
            "read in different ways do not compare: give each text its prompt, or read all of "
            "them without (with_prompt=False)."
        )
    return text


@dataclass(frozen=True, eq=False)
class _Plan:
    """What is to be read."""

    ids: tuple[str, ...]
    layers: tuple[int, ...]
    parts: Parts
    head_tokens: int
    midpoints: Float[Tensor, "layer d_model"]

    def read(
        self,
        model: LensModel,
        batch_size: int,
        max_batch_tokens: int,
        on_progress: Callable[[int], None] | None,
    ) -> TextMeans:
        """One forward pass for each batch."""
        passages, owners = self.parts.passages, self.parts.owners
        heads = [self._head(place) for place in range(len(passages))]
        counts = np.zeros((len(self.ids), 2))
        for place, owner in enumerate(owners):
            counts[owner] += span_tokens(passages[place]), _counted(passages[place], heads[place])
        if not counts.all():
            raise InputError(
                f"of the first {self.head_tokens} tokens of a text none counts: this model has no "
                "BOS, and the first token that it sees is an attention sink. Raise head_tokens."
            )
        shape = (len(self.ids), len(self.layers), int(model.cfg.d_model))
        found = {kind: torch.zeros(shape) for kind in KINDS}
        nll = np.zeros((len(self.ids), 2))
        batches = read_batches(
            model, passages, batch_size=batch_size, max_batch_tokens=max_batch_tokens
        )
        for batch in batches:
            head = _head_mask(batch, passages, heads)
            sums = MeanSums(self.layers, self.midpoints, batch.chosen, head)
            logits = read(
                model,
                batch.ids,
                batch.mask,
                hooks=sums.hooks(),
                keep_logits=batch.logits_needed,
            )
            assert logits is not None
            totals = sums.totals.double().cpu()
            for row, place in enumerate(batch.indices):
                owner = owners[place]
                n, n_head = counts[owner]
                for i, kind in enumerate(KINDS):
                    # Each window is rounded to float32 once, so no second, wider copy is kept.
                    mean = totals[row, :, i] / (n_head if kind == "head" else n)
                    found[kind][owner] += mean.float()
                nll[owner] += self._nll(logits[row], batch.ids[row], place, heads) / (n, n_head)
            if on_progress is not None:
                on_progress(len(batch.indices))
        self._check_finite(found["raw"])
        return TextMeans(
            ids=self.ids,
            layers=self.layers,
            **found,
            nll=nll[:, 0],
            head_nll=nll[:, 1],
            n_tokens=self.parts.n_tokens,
            head_tokens=self.head_tokens,
        )

    def _head(self, place: int) -> int:
        """How many of a passage's first tokens are among the first `head_tokens` of its text."""
        left = self.head_tokens - self.parts.starts[place]
        return min(max(left, 0), len(self.parts.passages[place].text_ids))

    def _nll(
        self, logits: Tensor, ids: Tensor, place: int, heads: Sequence[int]
    ) -> Float[Array, " 2"]:
        """Summed negative log-likelihood of a passage and of its head."""
        passage, head = self.parts.passages[place], heads[place]
        total = text_nll(logits, ids, passage) * span_tokens(passage)
        cut = len(passage.text_ids) - head
        if not cut:
            return np.array([total, total])
        counted = _counted(passage, head)
        if not counted:
            return np.array([total, 0.0])
        begun = passage._replace(text_ids=passage.text_ids[:head])
        return np.array([total, text_nll(logits[:-cut], ids[:-cut], begun) * counted])

    def _check_finite(self, raw: Float[Tensor, "text layer d_model"]) -> None:
        bad = (~torch.isfinite(raw).all(dim=-1)).nonzero()
        if len(bad):
            text, layer = bad[0].tolist()
            raise InputError(
                f"the activations of the text {self.ids[text]!r} at layer {self.layers[layer]} "
                "hold NaN or infinity: leave that text out, or load the model in float32."
            )


def _counted(passage: Passage, n: int) -> int:
    """How many of a passage's first `n` tokens count: all but an attention sink."""
    return max(n - (0 if passage.context_ids else 1), 0)


def _head_mask(
    batch: ReadBatch, passages: Sequence[Passage], heads: Sequence[int]
) -> Int[Tensor, "row pos"]:
    mask = batch.chosen.clone()
    for row, place in enumerate(batch.indices):
        begin = mask.shape[1] - len(passages[place].text_ids)
        mask[row, begin + heads[place] :] = 0
    return mask


def _save(path: Path, means: TextMeans, key: str, model: LensModel) -> None:
    tensors = {name: torch.as_tensor(getattr(means, name)) for name in (*KINDS, *_PER_TEXT)}
    record = {
        "schema_version": SCHEMA_VERSION,
        "key": key,
        "ids": means.ids,
        "layers": means.layers,
        "head_tokens": means.head_tokens,
        "model": identity(model),
        "versions": library_versions(),
    }
    save_tensors(path, tensors, record)


def _load(path: Path, key: str) -> TextMeans:
    """The means in a file of `_save`.

    Raises:
        DataError: not such a file, damaged, or of something else.
    """
    found, record = load_tensors(path, (*KINDS, *_PER_TEXT))
    if record["key"] != key:
        raise DataError(f"{path} holds the means of something else.")
    return TextMeans(
        ids=tuple(record["ids"]),
        layers=tuple(record["layers"]),
        raw=found["raw"],
        unit=found["unit"],
        centred=found["centred"],
        head=found["head"],
        nll=found["nll"].numpy(),
        head_nll=found["head_nll"].numpy(),
        n_tokens=found["n_tokens"].numpy(),
        head_tokens=record["head_tokens"],
    )
