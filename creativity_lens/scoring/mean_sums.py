"""Four weighted sums of each text's tokens at each layer, taken while the model reads."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from creativity_lens.hooks.capture import accumulator_dtype
from creativity_lens.models.protocol import Hook, resid_post

KINDS = ("raw", "unit", "centred", "head")
"""x; x / |x|; (x - m) / |x - m| with the midpoint m; x / |x| of the first tokens alone."""


class MeanSums:
    """Hooks that sum each row's tokens at each layer in the four ways of `KINDS`.

    All four are weighted sums of the same tokens, hence one product of matrices a layer: the
    weights are 1, 1 / |x| and 1 / |x - m|, and `sum w (x - m) = sum w x - m sum w`.

    Args:
        layers: where to read; `totals` has their order.
        midpoints: m of each of the layers.
        chosen: 1 for the tokens that count in the coming pass.
        head: 1 for those of them that are among their text's first.

    Attributes:
        totals: the sums, float64 on the model's device (float32 on one that has no float64).
    """

    totals: Float[Tensor, "row layer kind d_model"]

    def __init__(
        self,
        layers: tuple[int, ...],
        midpoints: Float[Tensor, "layer d_model"],
        chosen: Int[Tensor, "row pos"],
        head: Int[Tensor, "row pos"],
    ) -> None:
        self._dtype = accumulator_dtype(chosen.device)
        self._layers = layers
        self._midpoints = midpoints.to(chosen.device, self._dtype)
        # Texts stand at the right end of a left-padded batch: skip what is before all of them.
        self._first = int(chosen.any(dim=0).nonzero()[0])
        self._chosen = chosen[:, self._first :].to(self._dtype)
        self._head = head[:, self._first :].to(self._dtype)
        self.totals = torch.zeros(
            (len(chosen), len(layers), len(KINDS), midpoints.shape[1]),
            dtype=self._dtype,
            device=chosen.device,
        )

    def hooks(self) -> list[Hook]:
        """One hook for each layer."""
        return [
            (resid_post(layer), self._hook([i for i, at in enumerate(self._layers) if at == layer]))
            for layer in dict.fromkeys(self._layers)
        ]

    def _hook(self, columns: list[int]) -> Callable[..., None]:
        midpoint = self._midpoints[columns[0]]

        def add(activation: Tensor, hook: Any = None) -> None:
            tokens = activation[:, self._first :].to(self._dtype)
            unit = _inverse_norms(tokens)
            around = self._chosen * _inverse_norms(tokens - midpoint)
            weights = torch.stack(
                [self._chosen, self._chosen * unit, around, self._head * unit], dim=1
            )
            sums = weights @ tokens
            sums[:, KINDS.index("centred")] -= around.sum(dim=1, keepdim=True) * midpoint
            self.totals[:, columns] = sums[:, None]

        return add


def _inverse_norms(tokens: Float[Tensor, "row pos d_model"]) -> Float[Tensor, "row pos"]:
    """1 / |x|; 0 for a token of norm 0, whose cosine with anything is 0."""
    norms = torch.linalg.vector_norm(tokens, dim=-1)
    return torch.where(norms > 0, 1 / norms, 0.0)
