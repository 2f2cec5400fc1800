"""What all estimators of directions share: their signature, their checks, unit rows."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from creativity_lens.errors import InputError

ROUNDING = 1e-9
"""Two vectors that differ by less than this share of their length differ by rounding alone."""


@runtime_checkable
class Fitted(Protocol):
    """What a fitter returns: at least the directions."""

    @property
    def directions(self) -> Float[Tensor, "layer d_model"]:
        """Unit rows, float64, pointing from uncreative to creative."""


@runtime_checkable
class Fitter(Protocol):
    """An estimator of directions at all layers: `update` with pairs as they come, then `fit`."""

    def __init__(self, n_layers: int, d_model: int) -> None: ...

    def update(
        self,
        creative: Float[Tensor, "pair layer d_model"],
        uncreative: Float[Tensor, "pair layer d_model"],
    ) -> None:
        """Add pairs of texts, each given by its mean residual stream."""

    def fit(self) -> Fitted:
        """The directions of all pairs so far."""


def check_pairs(
    creative: Float[Tensor, "pair layer d_model"], uncreative: Float[Tensor, "pair layer d_model"]
) -> None:
    """Raise InputError unless these are the two sides of the same pairs.

    Raises:
        InputError: sides of different shape, NaN or infinity (names the layer).
    """
    if creative.shape != uncreative.shape:
        raise InputError(
            f"the two sides of the pairs differ in shape, {tuple(creative.shape)} and "
            f"{tuple(uncreative.shape)}: give one creative and one uncreative text for each pair."
        )
    sound = (torch.isfinite(creative) & torch.isfinite(uncreative)).all(dim=-1).all(dim=0)
    if not bool(sound.all()):
        raise InputError(
            f"the text means hold NaN or infinity at layer {int((~sound).nonzero()[0])}: drop the "
            "pairs with an empty text, or load the model in float32."
        )


def check_varied(
    creative: Float[Tensor, "pair layer d_model"], uncreative: Float[Tensor, "pair layer d_model"]
) -> None:
    """Raise InputError if there is no pair, or a layer at which all texts are equal.

    Raises:
        InputError: naming the layer.
    """
    if not len(creative):
        raise no_pairs()
    both = torch.cat([creative, uncreative])
    spread = (both - both[:1]).abs().amax(dim=(0, 2))
    constant = spread <= ROUNDING * both.abs().amax(dim=(0, 2))
    if bool(constant.any()):
        raise InputError(
            f"all texts have the same activations at layer {int(constant.nonzero()[0])}, so "
            "nothing tells them apart: read the tokens of the response (span response), or give "
            "texts that differ."
        )


def no_pairs() -> InputError:
    """The error of a fit without pairs."""
    return InputError(
        "cannot extract a direction: no pair has a text on both sides. Raise max_new_tokens, or "
        "look at the prompts: the model ended every response at once."
    )


def equal_means(layer: int) -> InputError:
    """The error of two class means that do not differ."""
    return InputError(
        f"the creative and the uncreative mean are equal at layer {layer}: the tokens that were "
        "read do not depend on the condition, so there is no direction."
    )


def unit_rows(vectors: Float[Tensor, "layer d_model"]) -> Float[Tensor, "layer d_model"]:
    """Each row divided by its norm, which must not be 0."""
    norms = vectors.norm(dim=-1, keepdim=True)
    assert bool((norms > 0).all())
    rows: Tensor = vectors / norms
    return rows
