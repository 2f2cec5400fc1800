"""Changing the residual stream while the model runs, differently for each row if wanted.

Four modes, with unit direction v, a token h at `resid_post`, and a share w in [0, 1] that scope and
schedule make (0 leaves the token as it is, to the last bit):

- `add`: h + w · strength · v (v may have any length);
- `ablate`: h - w · strength · (h·v - origin) v: strength 1 projects the direction out;
- `clamp`: h + w · (origin + strength - h·v) v: the projection becomes a value;
- `rotate`: h turned toward v by w · strength radians in the plane of both, its norm kept; it stops
  at v (a negative strength turns it away and stops at -v).

Several interventions on one row act in the order of the layers and, at one layer, in the order in
which they are listed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from creativity_lens.errors import InputError
from creativity_lens.hooks.scope import Schedule, Scope
from creativity_lens.models.protocol import Hook, resid_post

Mode = Literal["add", "ablate", "clamp", "rotate"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True, eq=False)
class Intervention:
    """One change to `resid_post` of one layer.

    Attributes:
        layer: where.
        vector: the direction; normalized but for `add`.
        strength: see the module: a factor, a share, a projection or an angle in radians.
        mode: what is done.
        scope: to which tokens.
        schedule: how much of it at each generated token.
        origin: the projection that counts as none of the direction, for `ablate` and `clamp`:
            0, or that of a mean (mean ablation).

    Raises:
        InputError: an unknown mode, or a number that is not finite.
    """

    layer: int
    vector: Float[Tensor, " d_model"]
    strength: float = 1.0
    mode: Mode = "add"
    scope: Scope = field(default_factory=Scope)
    schedule: Schedule = field(default_factory=Schedule)
    origin: float = 0.0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InputError(f"unknown mode {self.mode!r}; choose one of {', '.join(MODES)}.")
        finite = math.isfinite(self.strength) and math.isfinite(self.origin)
        if not finite or not bool(torch.isfinite(self.vector).all()):
            raise InputError(
                f"an intervention at layer {self.layer} holds NaN or infinity (strength "
                f"{self.strength}, origin {self.origin}); give finite numbers."
            )

    @property
    def idle(self) -> bool:
        """Whether it changes nothing, whatever the token."""
        return not bool(self.vector.any()) or (self.strength == 0 and self.mode != "clamp")

    @property
    def touches_prompt(self) -> bool:
        """Whether it can change a token of a prompt; if not, prompts need reading only once."""
        ramped = self.schedule.kind == "ramp"  # which is 0 at the prompt
        return self.scope.touches_prompt and not ramped and not self.idle


class _Group(NamedTuple):
    """Interventions on different rows of a batch that are computed together."""

    mode: Mode
    scope: Scope
    schedule: Schedule
    rows: Int[Tensor, " row"]
    vectors: Float[Tensor, "row 1 d_model"]
    strengths: Float[Tensor, "row 1"]
    origins: Float[Tensor, "row 1"]


class RowInterventions:
    """Hooks that apply each row's own interventions to a batch.

    Before each forward pass `aim` says which tokens it holds; `keep` says which rows are left.

    Args:
        rows: the interventions of each row; an empty sequence leaves a row alone. A single row
            serves a batch of any size.
        prompt_lengths: tokens of each row's prompt.
        padding: columns of padding to the left of each row.
        device: where the model runs.
    """

    def __init__(
        self,
        rows: Sequence[Sequence[Intervention]],
        prompt_lengths: Sequence[int],
        *,
        padding: Sequence[int] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self._groups = {
            layer: [_group(members, device) for members in slots]
            for layer, slots in _slots(rows).items()
        }
        self._n_rows = len(rows)
        self._prompts = torch.as_tensor(list(prompt_lengths), device=device)[:, None]
        pads = [0] * len(rows) if padding is None else list(padding)
        self._padding = torch.as_tensor(pads, device=device)[:, None]
        self._positions = torch.zeros((len(rows), 0), dtype=torch.long, device=device)

    def aim(self, first_column: int, width: int) -> None:
        """Say which columns of the padded batch the coming pass holds."""
        columns = torch.arange(first_column, first_column + width, device=self._padding.device)
        self._positions = columns[None, :] - self._padding

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """Drop all but `rows` of the batch."""
        place = torch.full((self._n_rows,), -1, dtype=torch.long, device=self._prompts.device)
        place[rows] = torch.arange(len(rows), device=place.device)
        self._groups = {
            layer: [kept for group in groups if len((kept := _kept(group, place)).rows)]
            for layer, groups in self._groups.items()
        }
        self._n_rows = len(rows)
        self._prompts, self._padding = self._prompts[rows], self._padding[rows]
        self._positions = self._positions[rows]

    def hooks(self) -> list[Hook]:
        """One hook for each layer that is changed in any row; none if nothing is."""
        return [(resid_post(layer), self._hook(layer)) for layer in sorted(self._groups)]

    def _hook(self, layer: int) -> Any:
        def intervene(activation: Tensor, hook: Any = None) -> Tensor:
            for group in self._groups[layer]:
                activation = self._apply(activation, group)
            return activation

        return intervene

    def _apply(self, activation: Tensor, group: _Group) -> Tensor:
        positions = self._positions[group.rows]
        prompts = self._prompts[group.rows]
        shares = group.scope.mask(positions, prompts) * group.schedule.factors(positions - prompts)
        if not bool(shares.any()):
            return activation
        whole = len(group.rows) == self._n_rows
        part = activation if whole else activation[group.rows]
        changed = _CHANGES[group.mode](part.float(), group, shares).to(activation.dtype)
        if not bool(shares.all()):  # what is out of scope must not even be rounded
            changed = torch.where((shares > 0)[..., None], changed, part)
        if whole:
            return changed
        merged = activation.clone()
        merged[group.rows] = changed
        return merged


def _slots(
    rows: Sequence[Sequence[Intervention]],
) -> dict[int, list[list[tuple[int, Intervention]]]]:
    """At each layer, in order: lists of (row, intervention) that can be computed together.

    The k-th interventions of all rows come before the (k+1)-th of any, so each row keeps its order
    and most of a batch that differs in strengths and directions alone is one list.
    """
    found: dict[int, dict[tuple[int, Mode, Scope, Schedule], list[tuple[int, Intervention]]]] = {}
    for row, interventions in enumerate(rows):
        ranks: dict[int, int] = {}
        for one in (i for i in interventions if not i.idle):
            rank = ranks.get(one.layer, 0)
            ranks[one.layer] = rank + 1
            key = (rank, one.mode, one.scope, one.schedule)
            found.setdefault(one.layer, {}).setdefault(key, []).append((row, one))
    return {
        layer: [slots[key] for key in sorted(slots, key=lambda key: key[0])]
        for layer, slots in found.items()
    }


def _group(members: Sequence[tuple[int, Intervention]], device: torch.device | str) -> _Group:
    first = members[0][1]
    vectors = torch.stack([one.vector.to(device=device, dtype=torch.float32) for _, one in members])
    if first.mode != "add":
        vectors = vectors / vectors.norm(dim=-1, keepdim=True)

    def column(values: Sequence[float]) -> Tensor:
        return torch.tensor(list(values), dtype=torch.float32, device=device)[:, None]

    return _Group(
        first.mode,
        first.scope,
        first.schedule,
        torch.tensor([row for row, _ in members], device=device),
        vectors[:, None],
        column([one.strength for _, one in members]),
        column([one.origin for _, one in members]),
    )


def _kept(group: _Group, place: Int[Tensor, " row"]) -> _Group:
    """The members of a group whose rows have a place in the smaller batch."""
    rows = place[group.rows]
    # In rising order: members of a group that holds the whole batch are its rows, one by one.
    there = rows.argsort()[int((rows < 0).sum()) :]
    return group._replace(
        rows=rows[there],
        vectors=group.vectors[there],
        strengths=group.strengths[there],
        origins=group.origins[there],
    )


def _add(tokens: Tensor, group: _Group, shares: Tensor) -> Tensor:
    return tokens + (shares * group.strengths)[..., None] * group.vectors


def _ablate(tokens: Tensor, group: _Group, shares: Tensor) -> Tensor:
    excess = _projection(tokens, group) - group.origins
    return tokens - (shares * group.strengths * excess)[..., None] * group.vectors


def _clamp(tokens: Tensor, group: _Group, shares: Tensor) -> Tensor:
    missing = group.origins + group.strengths - _projection(tokens, group)
    return tokens + (shares * missing)[..., None] * group.vectors


def _rotate(tokens: Tensor, group: _Group, shares: Tensor) -> Tensor:
    along = _projection(tokens, group)
    across = tokens - along[..., None] * group.vectors
    height = across.norm(dim=-1)
    norms = tokens.norm(dim=-1)
    angle = torch.atan2(height, along)
    turned = (angle - shares * group.strengths).clamp(0, math.pi)
    # A token that lies along the direction has no plane to turn in, and stays.
    flat = height <= 1e-6 * norms
    sideways = across / height.clamp_min(torch.finfo(height.dtype).tiny)[..., None]
    rotated = norms[..., None] * (
        turned.cos()[..., None] * group.vectors + turned.sin()[..., None] * sideways
    )
    return torch.where(flat[..., None], tokens, rotated)


def _projection(tokens: Tensor, group: _Group) -> Float[Tensor, "row pos"]:
    vectors = group.vectors[:, 0].expand(tokens.shape[0], -1)
    return einsum(tokens, vectors, "row pos d_model, row d_model -> row pos")


_CHANGES = {"add": _add, "ablate": _ablate, "clamp": _clamp, "rotate": _rotate}
