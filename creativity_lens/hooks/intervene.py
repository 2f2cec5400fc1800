"""Adding vectors to the residual stream, a different one for each row if wanted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from creativity_lens.models.protocol import Hook, resid_post

Scope = Literal["all", "generated"]
"""Which tokens are steered: every one (prompt and response), or generated ones only."""


@dataclass(frozen=True, eq=False)
class Addition:
    """Add `vector` to `resid_post` of `layer`; the vector's length is the strength."""

    layer: int
    vector: Float[Tensor, " d_model"]
    scope: Scope = "all"


class RowAdditions:
    """Hooks that apply each row's own additions to a batch.

    The caller says through `generated` which columns of the coming forward pass hold generated
    tokens, and through `keep` which rows are left.

    Args:
        rows: the additions of each row; an empty sequence leaves a row alone.
        device: where the model runs.
    """

    def __init__(
        self, rows: Sequence[Sequence[Addition]], *, device: torch.device | str = "cpu"
    ) -> None:
        self._always = _sum_by_layer(rows, "all", device)
        self._when_generated = _sum_by_layer(rows, "generated", device)
        self.first_generated: int | None = None
        """Column at which generated tokens begin in the coming pass; None: it has none."""

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """Drop all but `rows` of the batch."""
        self._always = {layer: delta[rows] for layer, delta in self._always.items()}
        self._when_generated = {layer: d[rows] for layer, d in self._when_generated.items()}

    def hooks(self) -> list[Hook]:
        """One hook for each layer that is steered in any row; none if nothing is."""
        layers = sorted(self._always.keys() | self._when_generated.keys())
        return [(resid_post(layer), self._hook(layer)) for layer in layers]

    def _hook(self, layer: int) -> Any:
        def add(activation: Tensor, hook: Any = None) -> Tensor:
            steered = activation
            always = self._always.get(layer)
            if always is not None:
                steered = steered + always.to(activation)[:, None, :]
            generated = self._when_generated.get(layer)
            if generated is not None and self.first_generated is not None:
                tail = steered[:, self.first_generated :] + generated.to(activation)[:, None, :]
                steered = torch.cat([steered[:, : self.first_generated], tail], dim=1)
            return steered

        return add


def _sum_by_layer(
    rows: Sequence[Sequence[Addition]], scope: Scope, device: torch.device | str
) -> dict[int, Float[Tensor, "row d_model"]]:
    """The summed vector of each row at each layer; layers that nothing is added to are left out."""
    sums: dict[int, Tensor] = {}
    for i, additions in enumerate(rows):
        for addition in additions:
            # A zero vector must not even round: leaving it out makes strength 0 exactly nothing.
            if addition.scope != scope or not bool(addition.vector.any()):
                continue
            vector = addition.vector.to(device=device, dtype=torch.float32)
            if addition.layer not in sums:
                sums[addition.layer] = torch.zeros(
                    (len(rows), vector.shape[0]), dtype=torch.float32, device=device
                )
            sums[addition.layer][i] += vector
    return sums
