"""A direction read through the model's own unembedding: the tokens it points to.

The direction goes through the final norm and the unembedding as if it were a residual stream
(TransformerLens's logit lens). It is a hint at best: the last layers of a model are made to be read
so, the first ones are not, and a direction may do its work through later layers instead.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from creativity_lens.errors import InputError, MissingDependencyError
from creativity_lens.models.protocol import LensModel, model_device


class LensToken(NamedTuple):
    """A token that a direction points to, or away from."""

    layer: int
    end: str
    """`creative` for the tokens it points to, `uncreative` for those of its negative."""
    rank: int
    """From 1."""
    token: str
    logit: float
    """After the final norm; comparable within one layer and end alone."""


def lens_tokens(
    model: LensModel,
    directions: Float[Tensor, "layer d_model"],
    *,
    layers: Sequence[int],
    top_k: int = 12,
) -> list[LensToken]:
    """The tokens at both ends of the direction at each of some layers.

    Raises:
        MissingDependencyError: transformer-lens is older than 4.
        InputError: no tokens asked for, a layer out of range, or a model that the lens cannot read.
    """
    if top_k < 1 or any(not 0 <= layer < len(directions) for layer in layers):
        raise InputError(
            f"top_k must be at least 1 and layers in 0 to {len(directions) - 1}, got {top_k} and "
            f"{list(layers)}."
        )
    try:
        from transformer_lens.tools.analysis.logit_lens import logit_readout
    except ImportError as error:
        raise MissingDependencyError(
            "the logit lens needs transformer-lens 4: run `pip install -U transformer-lens`."
        ) from error
    found = []
    for layer in layers:
        vector = directions[layer].to(device=model_device(model), dtype=torch.float32)
        ends = torch.stack([vector, -vector]).to(getattr(model.cfg, "dtype", torch.float32))
        try:
            read = logit_readout(model, ends, top_k=top_k)
        except (ValueError, NotImplementedError) as error:
            raise InputError(f"the logit lens cannot read this model: {error}") from error
        assert read.top_ids is not None
        for end, ids, logits in zip(
            ("creative", "uncreative"), read.top_ids.tolist(), read.values.tolist(), strict=True
        ):
            for rank, (token, logit) in enumerate(zip(ids, logits, strict=True), start=1):
                text = model.tokenizer.decode([token])
                found.append(LensToken(layer, end, rank, text, float(logit)))
    return found
