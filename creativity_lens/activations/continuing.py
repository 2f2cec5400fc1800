"""Reading many texts that follow few contexts: each context is read once, not once a text.

What `read_batches` does for any texts, this does faster where contexts repeat, as in a sweep: its
texts answer a handful of prompts in hundreds of ways.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from creativity_lens.activations.reading import BATCH_SIZE, MAX_BATCH_TOKENS, Passage
from creativity_lens.errors import InputError
from creativity_lens.models.batching import by_length, left_pad
from creativity_lens.models.chat import check_fits
from creativity_lens.models.protocol import (
    Hook,
    LensModel,
    extend,
    keep_rows,
    model_device,
    step,
)


class Continuation(NamedTuple):
    """Some texts that are read together, after contexts that have been."""

    indices: tuple[int, ...]
    """Which passages, by their place in the list."""
    ids: Int[Tensor, "row pos"]
    """The texts alone, padded on the right."""
    chosen: Int[Tensor, "row pos"]
    """1 for the texts' tokens."""


class _Contexts(NamedTuple):
    """Contexts that have been read."""

    cache: Any
    mask: Int[Tensor, "context pos"]
    logits: Float[Tensor, "context d_vocab"]
    """What is predicted after each."""


@torch.inference_mode()
def read_continuations(
    model: LensModel,
    passages: Sequence[Passage],
    *,
    hooks: Callable[[Continuation], Sequence[Hook]],
    on_logits: Callable[[int, Float[Tensor, "token d_vocab"]], None],
    batch_size: int = BATCH_SIZE,
    max_batch_tokens: int = MAX_BATCH_TOKENS,
) -> None:
    """Read passages, each distinct context once.

    Args:
        model: any `LensModel`.
        passages: the texts in their contexts.
        hooks: makes the hooks of a pass; they see the texts' tokens alone.
        on_logits: called for each passage with its place in the list and the logits that predict
            each of its tokens, the first one from the context; float32.
        batch_size: most texts in a pass.
        max_batch_tokens: most tokens in a pass, contexts included.

    Raises:
        InputError: a passage without text or context, or one too long for the model.
    """
    for passage in passages:
        if not passage.text_ids or not passage.context_ids:
            part = "text" if passage.context_ids else "context"
            raise InputError(f"the {part} of {passage.id!r} is empty: it holds no token.")
        check_fits(
            model,
            len(passage.context_ids) + len(passage.text_ids),
            f"the text {passage.id!r} with its prompt",
            remedy="shorten it",
        )
    contexts = list(dict.fromkeys(p.context_ids for p in passages))
    groups = by_length(
        [len(c) for c in contexts], batch_size=batch_size, max_tokens=max_batch_tokens
    )
    for group in groups:
        places = {contexts[i]: row for row, i in enumerate(group)}
        read = _read_contexts(model, [contexts[i] for i in group])
        members = [i for i, p in enumerate(passages) if p.context_ids in places]
        lengths = [read.mask.shape[1] + len(passages[i].text_ids) for i in members]
        for rows in by_length(lengths, batch_size=batch_size, max_tokens=max_batch_tokens):
            chosen = [members[row] for row in rows]
            after = [places[passages[i].context_ids] for i in chosen]
            _read_texts(model, passages, chosen, read, after, hooks, on_logits)


def _read_contexts(model: LensModel, contexts: Sequence[Sequence[int]]) -> _Contexts:
    ids, mask = left_pad(contexts, device=model_device(model))
    logits, cache = step(model, ids, mask)
    return _Contexts(cache, mask, logits)


def _read_texts(
    model: LensModel,
    passages: Sequence[Passage],
    indices: Sequence[int],
    contexts: _Contexts,
    after: Sequence[int],
    hooks: Callable[[Continuation], Sequence[Hook]],
    on_logits: Callable[[int, Float[Tensor, "token d_vocab"]], None],
) -> None:
    device = contexts.mask.device
    texts = [passages[i].text_ids for i in indices]
    width = max(map(len, texts))
    ids = torch.zeros((len(texts), width), dtype=torch.long)
    chosen = torch.zeros((len(texts), width), dtype=torch.long)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.tensor(text)
        chosen[row, : len(text)] = 1
    ids, chosen = ids.to(device), chosen.to(device)
    rows = torch.tensor(after, device=device)
    # A copy, because reading writes to it and other texts follow the same contexts.
    cache = keep_rows(copy.deepcopy(contexts.cache), rows)
    logits = extend(
        model,
        ids,
        torch.cat([contexts.mask[rows], chosen], dim=1),
        cache,
        hooks=hooks(Continuation(tuple(indices), ids, chosen)),
    )
    for row, index in enumerate(indices):
        n = len(texts[row])
        predicting = torch.cat([contexts.logits[after[row]][None], logits[row, : n - 1].float()])
        on_logits(index, predicting)
