"""Steering: add strength x direction to the residual stream while the model runs.

`h_l <- h_l + strength * a_l` (arXiv 2412.06060). Strength has a unit: `absolute` is the paper's
lambda, a length on the unit vector; `relative` is a share of the layer's median token norm, which
is what carries over between layers and models. The paper's lambda = 3 is about 2 % of the median
norm at layer 8 of the packaged model.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeVar, get_args

from torch import Tensor

from creativity_lens.directions.direction import Direction, DirectionSet
from creativity_lens.errors import InputError
from creativity_lens.hooks.intervene import Addition, RowAdditions, Scope
from creativity_lens.models.protocol import (
    Hook,
    LensModel,
    check_layer,
    layer_tuple,
    model_device,
)

Unit = Literal["absolute", "relative"]
Model = TypeVar("Model", bound=LensModel)


def absolute_strength(direction: Direction, strength: float, unit: Unit) -> float:
    """The length that is added, for a strength in either unit.

    Raises:
        InputError: the strength is not a finite number, or the unit is unknown.
    """
    if not math.isfinite(strength):
        raise InputError(f"strength must be a finite number, got {strength}.")
    if unit not in get_args(Unit):
        raise InputError(f"unknown unit {unit!r}; choose one of {', '.join(get_args(Unit))}.")
    return strength * (direction.residual_norm if unit == "relative" else 1.0)


def additions(
    directions: DirectionSet,
    *,
    layers: int | Sequence[int],
    strength: float,
    unit: Unit = "relative",
    scope: Scope = "all",
) -> tuple[Addition, ...]:
    """What to add at which layers, as `Request.additions` takes it.

    Args:
        directions: one direction for each layer.
        layers: one layer or several; each gets its own direction, at the same strength.
        strength: negative steers toward uncreative; 0 adds nothing.
        unit: `absolute` or `relative`.
        scope: `all` tokens, or `generated` ones only.

    Raises:
        InputError: a layer out of range or named twice, a strength that is not finite, an unknown
            unit or scope.
    """
    if scope not in get_args(Scope):
        raise InputError(f"unknown scope {scope!r}; choose one of {', '.join(get_args(Scope))}.")
    chosen = layer_tuple(layers)
    if len(set(chosen)) != len(chosen):
        raise InputError(f"a layer is named twice in {chosen}; add the strengths instead.")
    found = []
    for layer in chosen:
        direction = directions[layer]
        found.append(
            Addition(layer, direction.vector * absolute_strength(direction, strength, unit), scope)
        )
    return tuple(found)


@contextlib.contextmanager
def steer(
    model: Model,
    directions: DirectionSet,
    *,
    layers: int | Sequence[int],
    strength: float,
    unit: Unit = "relative",
    scope: Scope = "all",
    prompt_length: int | None = None,
) -> Iterator[Model]:
    """Steer every forward pass inside the `with` block: your own, `generate`, `run_with_cache`.

    Hooks are removed when the block ends, also by an exception.

    With `scope="generated"`, the prompt is what the model is given first: the columns of the first
    pass (or `prompt_length`, if you give it) are left alone and all that follow are steered, with
    or without a key-value cache. A pass over several tokens that does not grow the sequence by one
    starts a new prompt. To read a prompt and its response in one pass, give `prompt_length`.

    Args:
        model: any `LensModel` that the directions were extracted from.
        directions: one direction for each layer.
        layers: one layer or several.
        strength: how much to add.
        unit: `absolute` or `relative`.
        scope: `all` tokens or `generated` ones only.
        prompt_length: columns of the prompt, padding included, if the first pass holds more.

    Yields:
        The model.

    Raises:
        DirectionMismatchError: the directions are another model's.
        InputError: see `additions`.
    """
    directions.check_model(model)
    chosen = additions(directions, layers=layers, strength=strength, unit=unit, scope=scope)
    for addition in chosen:
        check_layer(model, addition.layer)
    rows = RowAdditions([chosen], device=model_device(model))
    hooks = rows.hooks()
    if scope == "generated":
        # One set of hooks fires in every pass: the first of them counts the columns.
        counter = _ColumnCounter(rows, prompt_length)
        hooks = [(name, counter.before(fn) if i == 0 else fn) for i, (name, fn) in enumerate(hooks)]
    with model.hooks(fwd_hooks=hooks):
        yield model


class _ColumnCounter:
    """Tells `RowAdditions` where generated tokens begin in each pass."""

    def __init__(self, rows: RowAdditions, prompt_length: int | None) -> None:
        self._rows = rows
        self._given = prompt_length
        self._prompt = 0
        self._seen = 0

    def before(self, function: Any) -> Any:
        """Wrap the hook at the first steered layer, so that it counts before it adds."""

        def counted(activation: Tensor, hook: Any = None) -> Any:
            self._count(activation.shape[1])
            return function(activation, hook)

        return counted

    def _count(self, width: int) -> None:
        if self._seen and width == 1:  # one more token, with a key-value cache
            self._seen += 1
            self._rows.first_generated = 0
            return
        if not self._seen or width != self._seen + 1:  # a new prompt
            self._prompt = width if self._given is None else self._given
        self._seen = width  # else one more token, without a cache: the whole sequence again
        self._rows.first_generated = self._prompt if width > self._prompt else None


def steering_hooks(chosen: Sequence[Addition], *, device: str = "cpu") -> list[Hook]:
    """Hooks for `run_with_hooks` that apply additions to all tokens of every row."""
    if any(addition.scope != "all" for addition in chosen):
        raise InputError("steering_hooks serves scope 'all'; use steer() for generated tokens.")
    return RowAdditions([tuple(chosen)], device=device).hooks()
