"""Reading existing texts: one forward pass each, in batches of similar length.

A text is a context (token ids that are read but do not count) and its own ids. What counts of it
is its span; the first real token of a row is an attention sink and never counts.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from creativity_lens.errors import InputError
from creativity_lens.hooks.capture import NormHistogram, ResidualSums
from creativity_lens.models.batching import by_length, left_pad
from creativity_lens.models.chat import check_fits
from creativity_lens.models.protocol import LensModel, check_layer, model_device, read

Span = Literal["response", "last", "prompt-last"]
"""`response`: every token of the text; `last`: its last token; `prompt-last`: the last token of
the context, before the text begins."""

BATCH_SIZE = 16
MAX_BATCH_TOKENS = 4096


class Passage(NamedTuple):
    """A text in its context."""

    id: str
    context_ids: tuple[int, ...]
    text_ids: tuple[int, ...]


class ReadBatch(NamedTuple):
    """Some passages, padded together."""

    indices: tuple[int, ...]
    """Which passages, by their place in the list."""
    ids: Int[Tensor, "row pos"]
    mask: Int[Tensor, "row pos"]
    chosen: Int[Tensor, "row pos"]
    """1 for the tokens of the span."""
    response: Int[Tensor, "row pos"]
    """1 for the tokens of the text, whatever the span."""
    logits_needed: int
    """How many of the last positions predict a text's token: the token before a text predicts its
    first one."""


class Readings(NamedTuple):
    """What `read_passages` returns."""

    means: Float[Tensor, "text layer d_model"]
    """Mean over the span's tokens, float64, on the CPU."""
    nll: NDArray[np.float64]
    """Mean negative log-likelihood of the text's tokens, in nats; NaN if it was not asked for."""


def check_span(span: str) -> None:
    """Raise InputError unless `span` is one of the three."""
    if span not in get_args(Span):
        raise InputError(f"unknown span {span!r}; choose one of {', '.join(get_args(Span))}.")


def read_batches(
    model: LensModel,
    passages: Sequence[Passage],
    *,
    span: Span = "response",
    batch_size: int = BATCH_SIZE,
    max_batch_tokens: int = MAX_BATCH_TOKENS,
) -> Iterator[ReadBatch]:
    """Group passages of similar length into left-padded batches.

    Raises:
        InputError: a passage without text, or longer than the model's context.
    """
    check_span(span)
    for passage in passages:
        if not passage.text_ids:
            raise InputError(f"the text {passage.id!r} is empty: it holds no token.")
        check_fits(
            model,
            len(passage.context_ids) + len(passage.text_ids),
            f"the text {passage.id!r} with its prompt",
            remedy="shorten it, or score it in windows (--window N)",
        )
    lengths = [len(p.context_ids) + len(p.text_ids) for p in passages]
    for indices in by_length(lengths, batch_size=batch_size, max_tokens=max_batch_tokens):
        rows = [passages[i] for i in indices]
        ids, mask = left_pad(
            [(*p.context_ids, *p.text_ids) for p in rows], device=model_device(model)
        )
        chosen, response = torch.zeros_like(mask), torch.zeros_like(mask)
        for row, passage in enumerate(rows):
            n = len(passage.text_ids)
            response[row, -n:] = 1
            if len(passage.context_ids) == 0:
                response[row, -n] = 0  # the attention sink
            if span == "prompt-last":
                if len(passage.context_ids) > 1:
                    chosen[row, -n - 1] = 1
            elif span == "last":
                chosen[row, -1] = response[row, -1]
            else:
                chosen[row] = response[row]
        for row, passage in enumerate(rows):
            if not bool(chosen[row].any()):
                raise InputError(
                    f"the text {passage.id!r} has no token that counts: the first token that the "
                    "model sees is an attention sink, so put a prompt or BOS before the text."
                )
        longest = max(len(p.text_ids) for p in rows)
        yield ReadBatch(tuple(indices), ids, mask, chosen, response, min(longest + 1, ids.shape[1]))


@torch.inference_mode()
def read_passages(
    model: LensModel,
    passages: Sequence[Passage],
    *,
    layers: Sequence[int],
    span: Span = "response",
    unit_tokens: bool = False,
    likelihood: bool = False,
    norms: NormHistogram | None = None,
    batch_size: int = BATCH_SIZE,
    max_batch_tokens: int = MAX_BATCH_TOKENS,
    on_progress: Callable[[int], None] | None = None,
) -> Readings:
    """Mean residual stream of each passage at each layer, and its likelihood if wanted.

    Args:
        model: any `LensModel`.
        passages: the texts.
        layers: which layers; the pass stops after the deepest one unless `likelihood` is set.
        span: which tokens count.
        unit_tokens: divide each token by its norm before the mean.
        likelihood: also compute the mean NLL of each text, from the same pass.
        norms: where to count the norms of the texts' tokens (all of them, whatever the span).
        batch_size: most texts in a batch.
        max_batch_tokens: most tokens in a batch.
        on_progress: called with the number of texts each batch has finished.

    Raises:
        InputError: an empty text, one longer than the context, a layer out of range.
    """
    for layer in layers:
        check_layer(model, layer)
    device = model_device(model)
    means = torch.zeros((len(passages), len(layers), int(model.cfg.d_model)), dtype=torch.float64)
    nll = np.full(len(passages), np.nan)
    batches = read_batches(
        model, passages, span=span, batch_size=batch_size, max_batch_tokens=max_batch_tokens
    )
    for batch in batches:
        sums = ResidualSums(
            len(batch.indices),
            layers,
            int(model.cfg.d_model),
            device=device,
            unit_tokens=unit_tokens,
            norms=norms,
        )
        sums.aim(
            torch.arange(len(batch.indices), device=device), batch.chosen, measured=batch.response
        )
        logits = read(
            model,
            batch.ids,
            batch.mask,
            hooks=sums.hooks() if layers else (),
            last_layer=max(layers, default=0),
            keep_logits=batch.logits_needed if likelihood else 0,
        )
        if layers:
            means[list(batch.indices)] = sums.means()
        if logits is not None:
            for row, index in enumerate(batch.indices):
                nll[index] = text_nll(logits[row], batch.ids[row], passages[index])
        if on_progress is not None:
            on_progress(len(batch.indices))
    return Readings(means, nll)


def text_nll(
    logits: Float[Tensor, "kept d_vocab"], ids: Int[Tensor, " pos"], passage: Passage
) -> float:
    """Mean negative log-likelihood (nats a token) of a passage's text at the end of a row.

    A text without context has no prediction for its first token, which is then left out; NaN if
    nothing remains.
    """
    n = len(passage.text_ids) - (0 if passage.context_ids else 1)
    if n == 0:
        return float("nan")
    predicted = logits[-n - 1 : -1].float()
    return float(torch.nn.functional.cross_entropy(predicted, ids[-n:]))
