"""Which tokens a direction answers to: the cosine of each token of each text."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from creativity_lens.activations.reading import BATCH_SIZE, MAX_BATCH_TOKENS, Passage, read_batches
from creativity_lens.errors import InputError
from creativity_lens.models.protocol import LensModel, check_layer, read, resid_post
from creativity_lens.scoring.score import token_cosines
from creativity_lens.stats import Array


class TokenMean(NamedTuple):
    """What a kind of token scores on average, wherever it occurs."""

    token_id: int
    cosine: float
    """Mean over texts of its mean in each text, so that one text cannot rule."""
    n_texts: int
    """In how many texts it occurs."""


def text_token_cosines(
    model: LensModel,
    passages: Sequence[Passage],
    vector: Float[Tensor, " d_model"],
    *,
    layer: int,
    midpoint: Float[Tensor, " d_model"] | None = None,
    unit_tokens: bool = False,
    batch_size: int = BATCH_SIZE,
    max_batch_tokens: int = MAX_BATCH_TOKENS,
) -> list[Float[Array, "..."]]:
    """Cosine of each token of each text with a unit vector at one layer.

    Args:
        model: any `LensModel`.
        passages: the texts in their contexts.
        vector: the direction.
        layer: where it is read; the pass stops there.
        midpoint: subtracted from each token first (the `centred` score).
        unit_tokens: divide each token by its norm before that, as the midpoint's own tokens were.
        batch_size: most texts in a batch.
        max_batch_tokens: most tokens in a batch.

    Returns:
        One array for each text, as long as its ids; NaN for an attention sink.

    Raises:
        InputError: an empty text, one too long, or a layer out of range.
    """
    check_layer(model, layer)
    found: list[Any] = [None] * len(passages)
    batches = read_batches(
        model, passages, batch_size=batch_size, max_batch_tokens=max_batch_tokens
    )
    for batch in batches:
        seen: list[Tensor] = []

        def keep(activation: Tensor, hook: Any = None, seen: list[Tensor] = seen) -> None:
            tokens = activation.float()
            if unit_tokens:
                tokens = tokens / tokens.norm(dim=-1, keepdim=True).clamp_min(1e-12)
            if midpoint is not None:
                tokens = tokens - midpoint.to(tokens)
            seen.append(token_cosines(tokens, vector.to(tokens)).cpu().double())

        read(model, batch.ids, batch.mask, hooks=[(resid_post(layer), keep)], last_layer=layer)
        cosines = torch.where(batch.chosen.cpu() > 0, seen[0], torch.nan).numpy()
        for row, index in enumerate(batch.indices):
            found[index] = cosines[row, -len(passages[index].text_ids) :]
    return found


def token_means(
    passages: Sequence[Passage],
    cosines: Sequence[Float[Array, "..."]],
    *,
    least_texts: int = 3,
) -> list[TokenMean]:
    """Mean cosine of each kind of token, highest first.

    Args:
        passages: the texts.
        cosines: what `text_token_cosines` gave for them.
        least_texts: leave out tokens that occur in fewer texts.

    Raises:
        InputError: not one array for each text.
    """
    if len(passages) != len(cosines):
        raise InputError(
            f"each text needs its cosines, got {len(cosines)} for {len(passages)} texts."
        )
    by_token: dict[int, list[float]] = defaultdict(list)
    for passage, values in zip(passages, cosines, strict=True):
        within: dict[int, list[float]] = defaultdict(list)
        for token, value in zip(passage.text_ids, values, strict=True):
            if np.isfinite(value):
                within[token].append(float(value))
        for token, own in within.items():
            by_token[token].append(float(np.mean(own)))
    means = [
        TokenMean(token, float(np.mean(values)), len(values))
        for token, values in by_token.items()
        if len(values) >= least_texts
    ]
    return sorted(means, key=lambda mean: (-mean.cosine, mean.token_id))
