"""Choosing the next token: temperature, top-p, min-p, greedy; a random stream for each row.

A row's stream depends on (seed, row id) alone, and one uniform number is used for each token, so
a row draws the same numbers whatever batch it sits in and whatever ran before it.
"""

import hashlib
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from creativity_lens.errors import InputError, ModelError


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn.

    Attributes:
        max_new_tokens: most tokens in a response (EOS not counted); at least 1.
        temperature: 0 is greedy; 1 is the model's own distribution.
        top_p: keep the smallest set of tokens that holds this much probability, in (0, 1].
        min_p: drop tokens less likely than this share of the likeliest one, in [0, 1)
            (Nguyen et al. 2024, arXiv 2407.01082).

    Temperature is applied first; a token stays if both top-p and min-p keep it.
    """

    max_new_tokens: int = 64
    temperature: float = 0.8
    top_p: float = 1.0
    min_p: float = 0.05

    def __post_init__(self) -> None:
        checks = {
            f"max_new_tokens must be at least 1, got {self.max_new_tokens}": (
                self.max_new_tokens >= 1
            ),
            f"temperature must be a finite number of at least 0, got {self.temperature}": (
                math.isfinite(self.temperature) and self.temperature >= 0
            ),
            f"top_p must be in (0, 1], got {self.top_p}": 0 < self.top_p <= 1,
            f"min_p must be in [0, 1), got {self.min_p}": 0 <= self.min_p < 1,
        }
        for message, holds in checks.items():
            if not holds:
                raise InputError(f"{message}.")

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values."""
        return asdict(self)


def row_stream(seed: int, row_id: str, length: int) -> NDArray[np.float64]:
    """`length` uniform numbers in [0, 1) that depend on `seed` and `row_id` alone."""
    key = hashlib.sha256(f"{seed}\x00{row_id}".encode()).digest()[:16]
    bits = np.random.Philox(key=int.from_bytes(key, "little"))
    return np.random.Generator(bits).random(length)


def choose(
    logits: Float[Tensor, "row d_vocab"],
    sampling: Sampling,
    uniforms: Float[Tensor, " row"],
) -> Int[Tensor, " row"]:
    """Draw one token for each row: the inverse of its cumulative distribution at its uniform.

    Raises:
        ModelError: a logit is NaN or plus infinity, as when too strong a push overflows a
            half-precision model, or all logits of a row are minus infinity.
    """
    logits = logits.float()
    top = logits.amax(dim=-1, keepdim=True)  # NaN if any logit of the row is
    if not bool(torch.isfinite(top).all()):
        raise ModelError(
            "the model's logits are NaN or infinite: lower the steering strength, or load it in "
            "float32."
        )
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    # In logits min-p is a distance from the top. It comes first, though it is named last, because
    # it leaves few tokens to work on; top-p then measures its share against all of them.
    kept = torch.ones_like(logits, dtype=torch.bool)
    if sampling.min_p > 0:
        kept = logits >= top + sampling.temperature * math.log(sampling.min_p)
    if sampling.top_p < 1:
        probabilities = torch.softmax(logits / sampling.temperature, dim=-1)
        kept &= _in_nucleus(probabilities, sampling.top_p)
    return _draw(logits, top, kept, sampling.temperature, uniforms)


def _draw(
    logits: Float[Tensor, "row d_vocab"],
    top: Float[Tensor, "row 1"],
    kept: Bool[Tensor, "row d_vocab"],
    temperature: float,
    uniforms: Float[Tensor, " row"],
) -> Int[Tensor, " row"]:
    """Each row's token at its uniform of the cumulative distribution of the kept tokens."""
    rows, tokens = kept.nonzero(as_tuple=True)
    gaps = logits[rows, tokens] - top[rows, 0]
    if gaps.device.type == "mps":  # which has no float64
        rows, tokens, gaps = rows.cpu(), tokens.cpu(), gaps.cpu()
    counts = torch.bincount(rows, minlength=len(logits))
    starts = counts.cumsum(0) - counts
    weights = gaps.new_zeros((len(logits), int(counts.max())), dtype=torch.float64)
    places = torch.arange(len(rows), device=rows.device) - starts[rows]
    weights[rows, places] = (gaps.double() / temperature).exp()
    cumulative = weights.cumsum(dim=-1)
    targets = uniforms.to(cumulative)[:, None] * cumulative[:, -1:]
    # right=True: a token of probability 0 has an empty interval and can never be chosen.
    found = torch.searchsorted(cumulative, targets, right=True)[:, 0]
    chosen = tokens[starts + found.minimum(counts - 1)]
    return chosen.to(logits.device)


def _in_nucleus(
    probabilities: Float[Tensor, "row d_vocab"], top_p: float
) -> Bool[Tensor, "row d_vocab"]:
    """The likeliest tokens that together reach `top_p`."""
    # The nucleus is nearly always small, and a full sort of the vocabulary is slow.
    width = min(1024, probabilities.shape[-1])
    values, indices = probabilities.topk(width, dim=-1)
    if bool((values.double().sum(dim=-1) < top_p).any()):
        values, indices = probabilities.sort(dim=-1, descending=True)
    before = values.double().cumsum(dim=-1) - values
    kept = torch.zeros_like(probabilities, dtype=torch.bool)
    return kept.scatter_(-1, indices, before < top_p)
