"""Streaming sums of residual-stream tokens, for every row of a batch and every layer at once.

Nothing holds the activations themselves: a hook adds what it sees to a sum and lets it go. The one
exception, `ResidualTokens`, keeps the tokens of a single batch for whoever writes them to disk.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from creativity_lens.models.protocol import Hook, resid_post

# Log-spaced bins from 1e-6 to 1e9, each 0.1 % wide: the median is exact to half of that.
_LOG_LOW, _LOG_HIGH, _LOG_WIDTH = math.log(1e-6), math.log(1e9), 1e-3
_BINS = math.ceil((_LOG_HIGH - _LOG_LOW) / _LOG_WIDTH)


def accumulator_dtype(device: torch.device) -> torch.dtype:
    """What sums of tokens are kept in on a device."""
    return torch.float32 if device.type == "mps" else torch.float64  # MPS has no float64


class NormHistogram:
    """Distribution of token norms at each layer, in memory that does not grow with the tokens."""

    def __init__(self, n_layers: int, *, device: torch.device | str = "cpu") -> None:
        self._counts = torch.zeros((n_layers, _BINS), dtype=torch.int64, device=device)

    def add(self, index: int, norms: Float[Tensor, " token"]) -> None:
        """Count the norms of some tokens at layer number `index`."""
        logs = norms.float().clamp_min(1e-30).log()
        # Clamped before it becomes an integer: an infinite norm has none, and would count as 0.
        bins = ((logs - _LOG_LOW) / _LOG_WIDTH).floor().clamp_(0, _BINS - 1).long()
        self._counts[index].index_add_(0, bins, torch.ones_like(bins))

    def median(self) -> Float[Tensor, " layer"]:
        """The median token norm of each layer, within 0.05 %; NaN where nothing was counted."""
        counts = self._counts.cpu()
        cumulative = counts.cumsum(dim=1)
        total = cumulative[:, -1:]
        index = (cumulative * 2 < total).sum(dim=1)
        centre = torch.exp(_LOG_LOW + (index.double() + 0.5) * _LOG_WIDTH)
        return torch.where(total[:, 0] > 0, centre, torch.nan)

    def share_above(self, multiple: float) -> Float[Tensor, " layer"]:
        """The share of tokens whose norm exceeds `multiple` times the layer's median."""
        counts = self._counts.cpu().double()
        edge = ((self.median() * multiple).log() - _LOG_LOW) / _LOG_WIDTH
        above = torch.arange(_BINS)[None, :] > edge[:, None]
        return (counts * above).sum(dim=1) / counts.sum(dim=1)


class ResidualSums:
    """Hooks that sum chosen tokens of each row at each layer, in float64.

    Use: `aim` at the tokens of the next forward pass, run it with `hooks()`, and read `means()` at
    the end. Rows are numbered over the whole object, so one instance serves many forward passes.

    Args:
        n_rows: how many texts.
        layers: the layers to read.
        d_model: width of the residual stream.
        device: where the model runs.
        unit_tokens: divide each token by its norm first, so that no token outweighs the others.
        norms: where to count token norms, if wanted.
        defer_norms: hold the norms back until `commit_norms` says which rows count.
    """

    def __init__(
        self,
        n_rows: int,
        layers: Sequence[int],
        d_model: int,
        *,
        device: torch.device | str = "cpu",
        unit_tokens: bool = False,
        norms: NormHistogram | None = None,
        defer_norms: bool = False,
    ) -> None:
        device = torch.device(device)
        self.layers = tuple(layers)
        self._dtype = accumulator_dtype(device)
        self._sums = torch.zeros(
            (n_rows, len(self.layers), d_model), dtype=self._dtype, device=device
        )
        self._counts = torch.zeros(n_rows, dtype=torch.int64, device=device)
        self._unit_tokens = unit_tokens
        self._norms = norms
        self._held: list[tuple[int, Tensor, Tensor]] | None = [] if defer_norms else None
        self._measured = torch.zeros((0, 0), dtype=torch.bool, device=device)
        self._rows = torch.zeros(0, dtype=torch.long, device=device)
        self._weights = torch.zeros((0, 0), dtype=self._dtype, device=device)
        self._active = torch.zeros(0, dtype=torch.bool, device=device)
        self._first = 0
        self._replace = False

    def aim(
        self,
        rows: Int[Tensor, " row"],
        chosen: Int[Tensor, "row pos"],
        *,
        measured: Int[Tensor, "row pos"] | None = None,
        replace: bool = False,
    ) -> None:
        """Choose what the next forward pass adds.

        Args:
            rows: the number of each batch row in this object.
            chosen: 1 for the tokens that count.
            measured: 1 for the tokens whose norms are counted; None takes `chosen`.
            replace: forget what the row held before (to end with its last token alone).
        """
        measured = chosen if measured is None else measured
        seen = (chosen + measured) > 0
        active = seen.any(dim=1)
        columns = seen.any(dim=0).nonzero()
        # Tokens of interest stand at the right end of a left-padded batch: skip the rest.
        self._first = int(columns[0]) if len(columns) else chosen.shape[1]
        self._active = active
        self._rows = rows[active]
        self._weights = chosen[active][:, self._first :].to(self._dtype)
        self._measured = measured[active][:, self._first :] > 0
        self._replace = replace
        added = chosen[active].sum(dim=1)
        if replace:
            self._counts[self._rows] = added
        else:
            self._counts.index_add_(0, self._rows, added)

    def hooks(self) -> list[Hook]:
        """One hook for each layer."""
        return [self._hook(index, layer) for index, layer in enumerate(self.layers)]

    def means(self) -> Float[Tensor, "row layer d_model"]:
        """Mean over the chosen tokens, on the CPU in float64; NaN for a row without tokens."""
        return (self._sums / self._counts[:, None, None]).double().cpu()

    @property
    def counts(self) -> Int[Tensor, " row"]:
        """How many tokens each row has contributed."""
        return self._counts.cpu()

    def commit_norms(self, rows: Sequence[int]) -> None:
        """Count the norms that were held back, of these rows alone; the others are forgotten."""
        assert self._norms is not None
        assert self._held is not None, "norms are counted at once unless defer_norms is set"
        for index, owners, norms in self._held:
            kept = torch.isin(owners, torch.as_tensor(list(rows), device=owners.device))
            self._norms.add(index, norms[kept])
        self._held.clear()

    def _count_norms(
        self, histogram: NormHistogram, index: int, norms: Float[Tensor, "row pos"]
    ) -> None:
        if self._held is None:
            histogram.add(index, norms[self._measured])
        else:
            owners = self._rows[:, None].expand_as(norms)[self._measured]
            self._held.append((index, owners, norms[self._measured]))

    def _hook(self, index: int, layer: int) -> Hook:
        def capture(activation: Tensor, hook: Any = None) -> None:
            if not len(self._rows):
                return
            tokens = activation[self._active][:, self._first :].to(self._dtype)
            if self._norms is not None or self._unit_tokens:
                norms = torch.linalg.vector_norm(tokens, dim=-1)
                if self._norms is not None:
                    self._count_norms(self._norms, index, norms)
                if self._unit_tokens:
                    tokens = tokens / norms.clamp_min(1e-12)[..., None]
            added = einsum(self._weights, tokens, "row pos, row pos d_model -> row d_model")
            if self._replace:
                self._sums[self._rows, index] = added
            else:
                self._sums[:, index].index_add_(0, self._rows, added)

        return resid_post(layer), capture


class ResidualTokens:
    """Hooks that keep the chosen tokens of one forward pass, in the model's dtype, on the CPU.

    For a store of tokens alone: it holds `tokens · layers · d_model` numbers.

    Args:
        layers: the layers to read.
        chosen: 1 for the tokens to keep.
        unit_tokens: divide each token by its norm; the result is float32.
    """

    def __init__(
        self, layers: Sequence[int], chosen: Int[Tensor, "row pos"], *, unit_tokens: bool = False
    ) -> None:
        self.layers = tuple(layers)
        self._chosen = chosen > 0
        self._counts = self._chosen.sum(dim=1).tolist()
        self._unit_tokens = unit_tokens
        self._kept: dict[int, tuple[Tensor, ...]] = {}

    def hooks(self) -> list[Hook]:
        """One hook for each layer."""
        return [self._hook(layer) for layer in self.layers]

    def tokens(self, row: int, layer: int) -> Float[Tensor, "token d_model"]:
        """The chosen tokens of a batch row at a layer, in the order of the text."""
        return self._kept[layer][row]

    def _hook(self, layer: int) -> Hook:
        def keep(activation: Tensor, hook: Any = None) -> None:
            # A mask picks row after row, so the rows come apart by their counts.
            tokens = activation[self._chosen]
            if self._unit_tokens:
                tokens = tokens.float()
                norms = torch.linalg.vector_norm(tokens, dim=-1, keepdim=True)
                tokens = tokens / norms.clamp_min(1e-12)
            self._kept[layer] = torch.split(tokens.cpu(), self._counts)

        return resid_post(layer), keep
