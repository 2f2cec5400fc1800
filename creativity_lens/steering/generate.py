"""Generate text from prompts, steered or not."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from creativity_lens.directions.direction import DirectionSet
from creativity_lens.errors import InputError
from creativity_lens.generation.decode import FinishReason, Request, generate_ids
from creativity_lens.generation.sampling import Sampling
from creativity_lens.hooks.intervene import Intervention, Mode
from creativity_lens.hooks.scope import Schedule, Scope
from creativity_lens.models.chat import decode, render_prompt
from creativity_lens.models.protocol import LensModel, check_layer
from creativity_lens.steering.spec import Directions, SteeringSpec
from creativity_lens.steering.steer import Around, Unit, interventions

_UNSAID = {
    "layers": "None",
    "strength": "None",
    "unit": "relative",
    "mode": "add",
    "scope": "all",
    "schedule": "constant",
    "around": "zero",
}
"""What the settings of steering are, as text, in a call that names none of them."""


class Generation(NamedTuple):
    """One generated response."""

    id: str
    prompt: str
    response: str
    response_ids: tuple[int, ...]
    finish_reason: FinishReason


def generate(
    model: LensModel,
    prompts: Mapping[str, str] | Sequence[str],
    *,
    system: str | None = None,
    directions: Directions | None = None,
    layers: int | Sequence[int] | None = None,
    strength: float | None = None,
    unit: Unit = "relative",
    mode: Mode = "add",
    scope: str | Scope = "all",
    schedule: str | Schedule = "constant",
    around: Around = "zero",
    spec: SteeringSpec | None = None,
    sampling: Sampling | None = None,
    seed: int = 0,
    batch_size: int = 32,
    on_progress: Callable[[int], None] | None = None,
) -> list[Generation]:
    """Generate a response to each prompt, steered if directions are given.

    The same prompt id gets the same random stream with and without steering, so that a difference
    between the two is the steering's. Strength 0 changes no token.

    Args:
        model: any `LensModel`.
        prompts: user messages by id, or a plain list (ids are then "0", "1", …).
        system: a system message; None leaves it to the model's chat template.
        directions: what to steer with; None does not steer. Several sets by name go with a `spec`.
        layers: where to steer; needed with `directions`, unless a `spec` says it.
        strength: how much, in `unit`; needed with `layers`.
        unit: `absolute` (the paper's lambda) or `relative` (share of the median token norm).
        mode: `add`, `ablate`, `clamp` or `rotate`.
        scope: which tokens: `all`, `prompt`, `response`, `prompt/last:1`, …; see `Scope.parse`.
        schedule: how much of it at each generated token: `constant`, `ramp:16`, …; see
            `Schedule.parse`.
        around: what `ablate` and `clamp` count from: `zero` or the `midpoint` of the two classes.
        spec: all of the steering, in place of `layers` to `around`.
        sampling: how tokens are drawn.
        seed: seed of the random streams.
        batch_size: rows that decode together.
        on_progress: called with the number of rows each batch has finished.

    Returns:
        One `Generation` for each prompt, in order.

    Raises:
        DirectionMismatchError: the directions are another model's.
        InputError: no prompts, one that is blank or too long, a layer out of range, a strength
            that is not finite, directions without layers and strength, settings of steering
            without directions, or a `spec` beside what it says itself.
    """
    if isinstance(prompts, str):
        raise InputError("prompts must be a list or a mapping; put the one prompt in a list.")
    named = (
        dict(prompts)
        if isinstance(prompts, Mapping)
        else {str(i): prompt for i, prompt in enumerate(prompts)}
    )
    if not named:
        raise InputError("there are no prompts to generate from.")
    for name, prompt in named.items():
        if not prompt.strip():
            raise InputError(f"the prompt {name!r} is empty.")
    owners, chosen = _steering(
        directions,
        spec,
        {
            "layers": layers,
            "strength": strength,
            "unit": unit,
            "mode": mode,
            "scope": scope,
            "schedule": schedule,
            "around": around,
        },
    )
    for owner in owners:
        owner.check_model(model)
    for one in chosen:
        check_layer(model, one.layer)
    requests = [
        Request(name, tuple(render_prompt(model, prompt, system=system)), chosen)
        for name, prompt in named.items()
    ]
    completions = generate_ids(
        model,
        requests,
        sampling=sampling,
        seed=seed,
        batch_size=batch_size,
        on_progress=on_progress,
    )
    return [
        Generation(
            c.id, named[c.id], decode(model, c.response_ids), c.response_ids, c.finish_reason
        )
        for c in completions
    ]


def _steering(
    directions: Directions | None, spec: SteeringSpec | None, settings: Mapping[str, Any]
) -> tuple[tuple[DirectionSet, ...], tuple[Intervention, ...]]:
    """The sets that are used and what is done along them; none of either without directions.

    Raises:
        InputError: settings that would have no effect, or too few of them.
    """
    said = ", ".join(name for name, value in settings.items() if str(value) != _UNSAID[name])
    if spec is not None:
        if said:
            raise InputError(f"a spec says all of the steering itself; leave out {said}.")
        if directions is None:
            raise InputError("a spec steers along directions: give those that it names.")
        return spec.sets(directions), spec.interventions(directions)
    if directions is None:
        if said:
            raise InputError(f"steering needs directions: give them, or leave out {said}.")
        return (), ()
    if not isinstance(directions, DirectionSet):
        raise InputError("directions by name go with a spec; else give one DirectionSet.")
    if settings["layers"] is None:
        raise InputError("name the layer to steer at.")
    if settings["strength"] is None:
        raise InputError(
            "say the strength to steer with, as a number in the unit; 0 leaves the texts as they "
            "are (in the mode clamp it is a value like any other)."
        )
    return (directions,), interventions(directions, **settings)
