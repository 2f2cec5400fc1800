"""The decoding loop: one `step` of the protocol after another, over a left-padded batch.

TransformerLens has `generate`, but a random stream for each row, rows that leave the batch when
they are done, steering that differs between rows, and activations captured on the way all need
the loop itself.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from creativity_lens.errors import InputError
from creativity_lens.generation.sampling import Sampling, choose, row_stream
from creativity_lens.hooks.capture import ResidualSums
from creativity_lens.hooks.intervene import Addition, RowAdditions
from creativity_lens.models.batching import check_batch_size, left_pad
from creativity_lens.models.chat import check_fits
from creativity_lens.models.protocol import (
    LensModel,
    check_layer,
    keep_rows,
    model_device,
    step,
    stop_ids,
)

FinishReason = Literal["stop", "length"]
CaptureSpan = Literal["response", "last", "prompt-last"]


@dataclass(frozen=True)
class Request:
    """One row to generate.

    Attributes:
        id: names the row; unique among the rows of a call.
        prompt_ids: the prompt, up to and with the assistant header.
        additions: what is added to the residual stream of this row alone.
        stream: names the row's random stream; None takes the id. Rows that are to differ in
            nothing but their additions share one.
    """

    id: str
    prompt_ids: tuple[int, ...]
    additions: tuple[Addition, ...] = ()
    stream: str | None = None


class Completion(NamedTuple):
    """What a row generated."""

    id: str
    response_ids: tuple[int, ...]
    """Without EOS and padding; empty if the model ended at once."""
    finish_reason: FinishReason
    """`stop`: the model ended the text; `length`: the limit did."""


class Capture(NamedTuple):
    """Ask `generate_batch` to sum activations while it decodes."""

    sums: ResidualSums
    """Row i of the batch is row i of this object."""
    span: CaptureSpan = "response"


def generate_ids(
    model: LensModel,
    requests: Sequence[Request],
    *,
    sampling: Sampling | None = None,
    seed: int = 0,
    batch_size: int = 32,
    on_progress: Callable[[int], None] | None = None,
) -> Iterator[Completion]:
    """Generate a response to each request, in order, `batch_size` rows at a time.

    The same row gives the same response whatever batch it sits in, floating-point ties aside
    (`docs/concepts.md` says how often those flip a token).

    Args:
        model: any `LensModel`.
        requests: what to generate; ids must be unique.
        sampling: how tokens are drawn.
        seed: with a row's stream name (its id), determines its random numbers.
        batch_size: rows that decode together; more is faster for each token and needs more memory.
        on_progress: called with the number of rows each batch has finished.

    Raises:
        InputError: an id used twice, an empty prompt, a prompt too long for the context, a layer
            out of range, a batch size less than 1.
    """
    sampling = sampling or Sampling()
    check_batch_size(batch_size)
    check_requests(model, requests, sampling)
    for start in range(0, len(requests), batch_size):
        batch = requests[start : start + batch_size]
        yield from generate_batch(model, batch, sampling=sampling, seed=seed)
        if on_progress is not None:
            on_progress(len(batch))


def check_requests(model: LensModel, requests: Sequence[Request], sampling: Sampling) -> None:
    """Raise InputError for anything that would fail later, before any work is done."""
    seen: set[str] = set()
    for request in requests:
        if request.id in seen:
            raise InputError(f"two rows have the id {request.id!r}: ids must be unique.")
        seen.add(request.id)
        if not request.prompt_ids:
            raise InputError(f"row {request.id!r} has an empty prompt.")
        check_fits(
            model,
            len(request.prompt_ids) + sampling.max_new_tokens,
            f"row {request.id!r} ({len(request.prompt_ids)} prompt tokens and up to "
            f"{sampling.max_new_tokens} new ones)",
            remedy="shorten the prompt or ask for fewer new tokens",
        )
        for addition in request.additions:
            check_layer(model, addition.layer)


@torch.inference_mode()
def generate_batch(
    model: LensModel,
    requests: Sequence[Request],
    *,
    sampling: Sampling,
    seed: int,
    capture: Capture | None = None,
) -> list[Completion]:
    """Generate one batch; with `capture`, sum its activations without a second pass.

    A captured row's last sampled id is fed to the model too, so that every response id counts.
    """
    device = model_device(model)
    ends = stop_ids(model)
    ids, mask = left_pad([r.prompt_ids for r in requests], device=device)
    streams = torch.stack(
        [
            torch.from_numpy(
                row_stream(seed, r.id if r.stream is None else r.stream, sampling.max_new_tokens)
            )
            for r in requests
        ]
    )
    steering = RowAdditions([r.additions for r in requests], device=device)
    hooks = steering.hooks() + (capture.sums.hooks() if capture else [])

    responses: list[list[int]] = [[] for _ in requests]
    reasons: list[FinishReason] = ["length"] * len(requests)
    alive = torch.arange(len(requests), device=device)  # row number of each row still in the batch
    cache = None
    for t in range(sampling.max_new_tokens + 1):
        # In step t the ids fed are the prompt (t = 0) or the token sampled in step t - 1.
        if capture is not None:
            _aim(capture, alive, mask, ids.shape[1], prompt=t == 0)
        steering.first_generated = None if t == 0 else 0
        out = step(model, ids, mask, cache, hooks=hooks)
        cache = out.cache
        if t == sampling.max_new_tokens:
            break  # this step only fed the last ids, for the capture
        chosen = choose(out.logits, sampling, streams[alive.cpu(), t])
        going = []
        for i, (row, token) in enumerate(zip(alive.tolist(), chosen.tolist(), strict=True)):
            if token in ends:
                reasons[row] = "stop"
            else:
                responses[row].append(token)
                going.append(i)
        if not going or (t + 1 == sampling.max_new_tokens and capture is None):
            break
        if len(going) < len(alive):
            kept = torch.tensor(going, device=device)
            alive, chosen, mask = alive[kept], chosen[kept], mask[kept]
            cache = keep_rows(cache, kept)
            steering.keep(kept)
        ids = chosen[:, None]
        mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
    return [
        Completion(request.id, tuple(response), reason)
        for request, response, reason in zip(requests, responses, reasons, strict=True)
    ]


def _aim(
    capture: Capture,
    rows: Int[Tensor, " row"],
    mask: Int[Tensor, "row total"],
    width: int,
    *,
    prompt: bool,
) -> None:
    """Choose which of the `width` tokens that are fed now enter the sums."""
    chosen = torch.zeros_like(mask[:, -width:])
    if capture.span == "prompt-last":
        chosen[:, -1] = int(prompt)
    else:
        chosen[:, -1] = int(not prompt)
    # The first real token is an attention sink and never counts, even as a prompt's last.
    first = mask.sum(dim=1) == 1
    chosen[first] = 0
    # Norms are those of the response in every span, so that strengths mean the same.
    measured = torch.zeros_like(chosen)
    measured[:, -1] = int(not prompt)
    replace = capture.span == "last" and not prompt
    capture.sums.aim(rows, chosen, measured=measured, replace=replace)
