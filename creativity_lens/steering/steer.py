"""Steering: change the residual stream along a direction while the model runs.

The paper adds: `h_l <- h_l + strength * a_l` (arXiv 2412.06060). Strength has a unit: `absolute` is
the paper's lambda, a length on the unit vector; `relative` is a share of the layer's median token
norm, which is what carries over between layers and models. The paper's lambda = 3 is about 2 % of
the median norm at layer 8 of the packaged model.
"""

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Literal, TypeVar, get_args

from creativity_lens.directions.direction import Direction, DirectionSet
from creativity_lens.errors import InputError
from creativity_lens.hooks.intervene import MODES, Intervention, Mode
from creativity_lens.hooks.scope import Schedule, Scope
from creativity_lens.models.protocol import (
    Hook,
    LensModel,
    check_layer,
    layer_tuple,
    model_device,
)
from creativity_lens.steering.passes import EMBED, asks_for_prompt, counting_hooks

Unit = Literal["absolute", "relative"]
Around = Literal["zero", "midpoint"]
Model = TypeVar("Model", bound=LensModel)


def absolute_strength(
    direction: Direction, strength: float, unit: Unit, *, mode: Mode = "add"
) -> float:
    """The strength as an `Intervention` takes it, for a strength in either unit.

    | mode | `absolute` | `relative` |
    |---|---|---|
    | `add` | length of what is added | share of the layer's median token norm |
    | `clamp` | the projection | share of the layer's median token norm |
    | `rotate` | radians | turns by arctan(strength) |
    | `ablate` | share of the projection that is removed | the same |

    The relative angle is how far adding that share of its own norm would turn a token that is
    orthogonal to the direction, so that one grid of strengths serves adding and rotating.

    Raises:
        InputError: the strength is not a finite number, or the unit or mode is unknown.
    """
    if not math.isfinite(strength):
        raise InputError(f"strength must be a finite number, got {strength}.")
    if unit not in get_args(Unit):
        raise InputError(f"unknown unit {unit!r}; choose one of {', '.join(get_args(Unit))}.")
    if mode not in MODES:
        raise InputError(f"unknown mode {mode!r}; choose one of {', '.join(MODES)}.")
    if unit == "absolute" or mode == "ablate":
        return strength
    return math.atan(strength) if mode == "rotate" else strength * direction.residual_norm


def check_around(mode: Mode, around: Around) -> None:
    """Raise InputError for a mode that has no projection to count from the midpoint."""
    if around == "midpoint" and mode in ("add", "rotate"):
        raise InputError(
            f"around={around!r} says what ablate and clamp count from; {mode} counts from nothing: "
            "leave it out."
        )


def intervention(
    direction: Direction,
    *,
    strength: float,
    unit: Unit = "relative",
    mode: Mode = "add",
    scope: str | Scope = "all",
    schedule: str | Schedule = "constant",
    around: Around = "zero",
) -> Intervention:
    """What a direction does at its layer.

    Args:
        direction: of one layer.
        strength: how much, in `unit`; see `absolute_strength`.
        unit: `absolute` or `relative`.
        mode: `add`, `ablate`, `clamp` or `rotate`; see `creativity_lens.hooks.intervene`.
        scope: which tokens; see `Scope.parse`.
        schedule: how much of it at each generated token; see `Schedule.parse`.
        around: what `ablate` and `clamp` count from: `zero`, or the `midpoint` of the two class
            means (mean ablation). `add` and `rotate` count from nothing and leave it unused.

    Raises:
        InputError: a strength that is not finite, or an unknown word.
    """
    if around not in get_args(Around):
        raise InputError(f"unknown origin {around!r}; choose one of {', '.join(get_args(Around))}.")
    origin = 0.0
    if around == "midpoint":
        origin = float(direction.midpoint.double() @ direction.vector.double())
    return Intervention(
        layer=direction.layer,
        vector=direction.vector,
        strength=absolute_strength(direction, strength, unit, mode=mode),
        mode=mode,
        scope=Scope.parse(scope),
        schedule=Schedule.parse(schedule),
        origin=origin,
    )


def interventions(
    directions: DirectionSet,
    *,
    layers: int | Sequence[int],
    strength: float,
    unit: Unit = "relative",
    mode: Mode = "add",
    scope: str | Scope = "all",
    schedule: str | Schedule = "constant",
    around: Around = "zero",
) -> tuple[Intervention, ...]:
    """The same steering at one layer or several, as `Request.interventions` takes it.

    Args:
        directions: one direction for each layer.
        layers: one layer or several; each gets its own direction, at the same strength.
        strength: negative steers toward uncreative; 0 adds nothing.
        unit: see `intervention`, as for the rest.
        mode: `add`, `ablate`, `clamp` or `rotate`.
        scope: which tokens.
        schedule: how much of it at each generated token.
        around: what `ablate` and `clamp` count from.

    Raises:
        InputError: a layer out of range or named twice, a strength that is not finite, an unknown
            unit, mode, scope or schedule, or a midpoint for a mode that counts from nothing.
    """
    chosen = layer_tuple(layers)
    if len(set(chosen)) != len(chosen):
        raise InputError(f"a layer is named twice in {chosen}; add the strengths instead.")
    check_around(mode, around)
    return tuple(
        intervention(
            directions[layer],
            strength=strength,
            unit=unit,
            mode=mode,
            scope=scope,
            schedule=schedule,
            around=around,
        )
        for layer in chosen
    )


@contextlib.contextmanager
def steer(
    model: Model,
    directions: DirectionSet,
    *,
    layers: int | Sequence[int],
    strength: float,
    unit: Unit = "relative",
    mode: Mode = "add",
    scope: str | Scope = "all",
    schedule: str | Schedule = "constant",
    around: Around = "zero",
    prompt_length: int | None = None,
) -> Iterator[Model]:
    """Steer every forward pass inside the `with` block: your own, `generate`, `run_with_cache`.

    Hooks are removed when the block ends, also by an exception.

    The prompt is what the model is given first: the columns of the first pass (or `prompt_length`,
    if you give it); all that follow are response, with or without a key-value cache. A pass over
    several tokens that are not those of the last one and one more starts a new prompt. To read a
    prompt and its response in one pass, give `prompt_length`. Your batch's padding is not known
    here and counts as tokens.

    Only passes are seen, so two things look like others. A pass over a single token, after any
    other pass, is a step with a cache: a new prompt of one token counts as response. A pass over
    several tokens with a cache, such as the second turn of a chat, is a new prompt whose first
    token is counted 0. Neither matters to the scope `all` with a constant schedule. For each such
    prompt open a block of its own, which counts afresh, or hand the whole text to `generate`.

    Args:
        model: any `LensModel` that the directions were extracted from.
        directions: one direction for each layer.
        layers: one layer or several.
        strength: how much, in `unit`.
        unit: `absolute` or `relative`.
        mode: `add`, `ablate`, `clamp` or `rotate`.
        scope: which tokens.
        schedule: how much of it at each generated token.
        around: what `ablate` and `clamp` count from.
        prompt_length: columns of the prompt, padding included, if the first pass holds more.

    Yields:
        The model.

    Raises:
        DirectionMismatchError: the directions are another model's.
        InputError: see `interventions`.
    """
    directions.check_model(model)
    chosen = interventions(
        directions,
        layers=layers,
        strength=strength,
        unit=unit,
        mode=mode,
        scope=scope,
        schedule=schedule,
        around=around,
    )
    with applied(model, chosen, prompt_length=prompt_length):
        yield model


@contextlib.contextmanager
def applied(
    model: Model, chosen: Sequence[Intervention], *, prompt_length: int | None = None
) -> Iterator[Model]:
    """Apply interventions to every row of every forward pass inside the `with` block.

    As `steer`, for interventions of several directions in a stated order.

    Args:
        model: any `LensModel`.
        chosen: what is done, in this order at each layer.
        prompt_length: columns of the prompt, padding included, if the first pass holds more.

    Yields:
        The model.

    Raises:
        InputError: a layer out of range, or a negative `prompt_length`.
    """
    if prompt_length is not None and prompt_length < 0:
        raise InputError(f"prompt_length must be at least 0, got {prompt_length}.")
    for one in chosen:
        check_layer(model, one.layer)
    hooks = counting_hooks(
        chosen,
        model_device(model),
        prompt_length=prompt_length,
        sees_tokens=any(map(asks_for_prompt, chosen)) and EMBED in getattr(model, "hook_dict", {}),
    )
    with model.hooks(fwd_hooks=hooks):
        yield model


def steering_hooks(chosen: Sequence[Intervention], *, device: str = "cpu") -> list[Hook]:
    """Hooks for `run_with_hooks` that apply interventions to every row; made for one pass.

    Raises:
        InputError: a scope or a schedule that asks where the prompt ends.
    """
    for one in chosen:
        if asks_for_prompt(one):
            raise InputError(
                f"steering_hooks does not know where the prompt ends, as the scope {one.scope} "
                f"with the schedule {one.schedule} asks; use steer() for it."
            )
    return counting_hooks(chosen, device)
