"""The decoding loop: one `step` of the protocol after another, over a left-padded batch.

TransformerLens has `generate`, but a random stream for each row, rows that leave the batch when
they are done, steering that differs between rows, and activations captured on the way all need
the loop itself.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from creativity_lens.errors import InputError
from creativity_lens.generation.sampling import Sampling, choose, row_stream
from creativity_lens.hooks.capture import ResidualSums
from creativity_lens.hooks.intervene import Intervention, RowInterventions
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
from creativity_lens.stats import Array

FinishReason = Literal["stop", "length"]
OnLogits = Callable[[Int[Tensor, " row"], Float[Tensor, "row d_vocab"]], None]
"""Called with the numbers of the rows that are left and their next-token logits."""
CaptureSpan = Literal["response", "last", "prompt-last"]


@dataclass(frozen=True)
class Request:
    """One row to generate.

    Attributes:
        id: names the row; unique among the rows of a call.
        prompt_ids: the prompt, up to and with the assistant header.
        interventions: what is done to the residual stream of this row alone, in this order.
        stream: names the row's random stream; None takes the id. Rows that are to differ in
            nothing but their interventions share one.
        seed: of this row's stream alone; None takes the call's.
        sampling: how this row's tokens are drawn; None takes the call's. Its `max_new_tokens` must
            be the call's.
    """

    id: str
    prompt_ids: tuple[int, ...]
    interventions: tuple[Intervention, ...] = ()
    stream: str | None = None
    seed: int | None = None
    sampling: Sampling | None = None

    def uniforms(self, seed: int, length: int) -> Float[Array, " length"]:
        """The row's random numbers, in a call with this seed."""
        name = self.id if self.stream is None else self.stream
        return row_stream(seed if self.seed is None else self.seed, name, length)


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
        for intervention in request.interventions:
            check_layer(model, intervention.layer)
        own = request.sampling
        if own is not None and own.max_new_tokens != sampling.max_new_tokens:
            raise InputError(
                f"row {request.id!r} asks for {own.max_new_tokens} new tokens in a call for "
                f"{sampling.max_new_tokens}: rows may differ in how tokens are drawn, not in how "
                "many."
            )


@torch.inference_mode()
def generate_batch(
    model: LensModel,
    requests: Sequence[Request],
    *,
    sampling: Sampling,
    seed: int,
    capture: Capture | None = None,
    on_logits: OnLogits | None = None,
) -> list[Completion]:
    """Generate one batch; with `capture`, sum its activations without a second pass.

    A captured row's last sampled id is fed to the model too, so that every response id counts.
    A prompt that several rows share is read once, unless an intervention on it differs.

    Args:
        model: any `LensModel`.
        requests: the rows.
        sampling: how tokens are drawn.
        seed: of the random streams.
        capture: what to sum, and where.
        on_logits: called at each step with the row numbers that are left and their next-token
            logits, before temperature; what it wants to keep it must copy.
    """
    device = model_device(model)
    ends = stop_ids(model)
    n_tokens = sampling.max_new_tokens
    streams = torch.from_numpy(np.stack([r.uniforms(seed, n_tokens) for r in requests]))
    samplings = [r.sampling or sampling for r in requests]
    first, owners = _distinct_prompts(requests, capture)
    ids, mask = left_pad([r.prompt_ids for r in first], device=device)
    steering = _interventions(first, ids.shape[1], device)
    captured = capture.sums.hooks() if capture else []

    responses: list[list[int]] = [[] for _ in requests]
    reasons: list[FinishReason] = ["length"] * len(requests)
    alive = torch.arange(len(first), device=device)  # row number of each row still in the batch
    hooks = steering.hooks() + captured
    cache = None
    for t in range(sampling.max_new_tokens + 1):
        # In step t the ids fed are the prompt (t = 0) or the token sampled in step t - 1.
        if capture is not None:
            _aim(capture, alive, mask, ids.shape[1], prompt=t == 0)
        steering.aim(mask.shape[1] - ids.shape[1], ids.shape[1])
        logits, cache = step(model, ids, mask, cache, hooks=hooks)
        if t == 0 and len(first) < len(requests):
            rows = torch.tensor(owners, device=device)
            logits, mask, cache = logits[rows], mask[rows], keep_rows(cache, rows)
            alive = torch.arange(len(requests), device=device)
            steering = _interventions(requests, ids.shape[1], device)
            hooks = steering.hooks() + captured
        if t == sampling.max_new_tokens:
            break  # this step only fed the last ids, for the capture
        if on_logits is not None:
            on_logits(alive, logits)
        chosen = _choose(
            logits, [samplings[row] for row in alive.tolist()], streams[alive.cpu(), t]
        )
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


def _choose(
    logits: Float[Tensor, "row d_vocab"],
    samplings: Sequence[Sampling],
    uniforms: Float[Tensor, " row"],
) -> Int[Tensor, " row"]:
    """Draw each row's token in its own way."""
    kinds = dict.fromkeys(samplings)
    if len(kinds) == 1:
        return choose(logits, samplings[0], uniforms)
    chosen = torch.empty(len(samplings), dtype=torch.long, device=logits.device)
    for kind in kinds:
        rows = torch.tensor([i for i, one in enumerate(samplings) if one == kind])
        chosen[rows] = choose(logits[rows], kind, uniforms[rows])
    return chosen


def _distinct_prompts(
    requests: Sequence[Request], capture: Capture | None
) -> tuple[list[Request], list[int]]:
    """Rows whose prompts are read, and for each request which of them is its own.

    Requests share a prompt if its ids and all that is done to it are the same.
    """
    if capture is not None and capture.span == "prompt-last":  # which counts in every row
        return list(requests), list(range(len(requests)))
    places: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
    first: list[Request] = []
    owners = []
    for request in requests:
        done = tuple(id(i) for i in request.interventions if i.touches_prompt)
        place = places.setdefault((request.prompt_ids, done), len(first))
        if place == len(first):
            first.append(request)
        owners.append(place)
    return first, owners


def _interventions(
    requests: Sequence[Request], width: int, device: torch.device
) -> RowInterventions:
    """What is done to a batch whose prompts are padded to `width`."""
    lengths = [len(r.prompt_ids) for r in requests]
    return RowInterventions(
        [r.interventions for r in requests],
        lengths,
        padding=[width - n for n in lengths],
        device=device,
    )


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
