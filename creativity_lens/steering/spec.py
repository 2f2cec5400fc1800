"""`SteeringSpec`: any steering, written down as plain values.

A spec is an ordered list of steps. Each names a direction, a layer and what is done there; the
directions themselves stay in their own files. As JSON:

    {"schema_version": 1,
     "steps": [{"direction": "creativity", "layer": 8, "mode": "add", "strength": 0.3,
                "unit": "relative", "scope": "response", "schedule": "ramp:16",
                "around": "zero"}]}

`layer` and `strength` must be there; the rest has the defaults of `SteeringStep`. Beside `steps`
there may be `directions_sha256`, an object of digests by the name of a direction, as
`SteeringSpec.pinned` writes it: the spec then takes no other directions under these names.
"""

import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, SupportsIndex, get_args

from creativity_lens.directions.direction import DirectionSet
from creativity_lens.errors import DataError, InputError
from creativity_lens.hooks.intervene import MODES, Intervention, Mode
from creativity_lens.hooks.scope import Schedule, Scope
from creativity_lens.io import read_json, write_json
from creativity_lens.steering.digests import check_digests, digest
from creativity_lens.steering.steer import Around, Unit, check_around, intervention

SCHEMA_VERSION = 1
CREATIVITY = "creativity"
"""What a direction is called if nothing else is said; a lone `DirectionSet` has this name."""
Directions = DirectionSet | Mapping[str, DirectionSet]
"""A lone set, known as `creativity`, or several by name."""

_WORDS: dict[str, tuple[str, ...]] = {
    "mode": MODES,
    "unit": get_args(Unit),
    "around": get_args(Around),
}
_KEYS = ("schema_version", "steps", "directions_sha256")
_NEEDED = _KEYS[:2]


@dataclass(frozen=True)
class SteeringStep:
    """One thing that is done, at one layer along one direction.

    Attributes:
        layer: where; `blocks.{layer}.hook_resid_post`.
        strength: how much, in `unit`; finite.
        direction: the name of a direction.
        mode: `add`, `ablate`, `clamp` or `rotate`.
        unit: `absolute` or `relative`; see `absolute_strength` for what it is in each mode.
        scope: which tokens, as text; see `Scope.parse`. A `Scope` is kept as its text.
        schedule: how much of it at each generated token; see `Schedule.parse`.
        around: what `ablate` and `clamp` count from: `zero` or the `midpoint` of the two classes;
            `zero` of the other modes.

    Raises:
        InputError: a value of another type, out of range, or without effect in the mode; the
            message names the key.
    """

    layer: int
    strength: float
    direction: str = CREATIVITY
    mode: Mode = "add"
    unit: Unit = "relative"
    scope: str | Scope = "all"
    schedule: str | Schedule = "constant"
    around: Around = "zero"

    def __post_init__(self) -> None:
        counted = isinstance(self.layer, SupportsIndex) and not isinstance(self.layer, bool)
        if not counted or int(self.layer) < 0:
            raise InputError(f"layer must be an integer of at least 0, got {self.layer!r}.")
        object.__setattr__(self, "layer", int(self.layer))
        object.__setattr__(self, "strength", _finite(self.strength))
        if not isinstance(self.direction, str) or not self.direction.strip():
            raise InputError(f"direction must be a name that is not blank, got {self.direction!r}.")
        for name, allowed in _WORDS.items():
            if getattr(self, name) not in allowed:
                raise InputError(
                    f"unknown {name} {getattr(self, name)!r}; choose one of {', '.join(allowed)}."
                )
        check_around(self.mode, self.around)
        # One text for one meaning, so that equal steps compare equal.
        object.__setattr__(self, "scope", _canonical("scope", Scope.parse, self.scope))
        object.__setattr__(self, "schedule", _canonical("schedule", Schedule.parse, self.schedule))

    @classmethod
    def from_dict(cls, value: Any) -> "SteeringStep":
        """Read what `to_dict` gives; keys that have a default may be missing.

        Raises:
            InputError: an unknown or missing key, or a wrong value; the message names the key.
        """
        if not isinstance(value, Mapping):
            raise InputError(f"a step must be an object, got {value!r}.")
        fields = dataclasses.fields(cls)
        needed = [f.name for f in fields if f.default is dataclasses.MISSING]
        _check_keys(value, known=[f.name for f in fields], needed=needed)
        return cls(**{**value, "strength": _finite(value["strength"])})

    def to_dict(self) -> dict[str, Any]:
        """The step as plain values, as JSON takes them."""
        return dataclasses.asdict(self)

    def intervention(self, directions: DirectionSet) -> Intervention:
        """What the step does, along the direction that `directions` has at its layer.

        Raises:
            InputError: the directions do not have the layer.
        """
        return intervention(
            directions[self.layer],
            strength=self.strength,
            unit=self.unit,
            mode=self.mode,
            scope=self.scope,
            schedule=self.schedule,
            around=self.around,
        )


@dataclass(frozen=True)
class SteeringSpec:
    """Steps in the order in which they act at a layer; layers act in the order of the model.

    Attributes:
        steps: what is done; none leaves the model alone.
        directions_sha256: digests of directions by the name that steps have for them; a set of
            other numbers is refused. A name that is missing takes any.

    Raises:
        InputError: a digest that is none, or of a direction that no step names.
    """

    steps: tuple[SteeringStep, ...]
    directions_sha256: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))  # a list too is what people write
        object.__setattr__(
            self, "directions_sha256", check_digests(self.directions_sha256, self.names)
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The directions that are named, each once, in the order of the steps."""
        return tuple(dict.fromkeys(step.direction for step in self.steps))

    def sets(self, directions: Directions) -> tuple[DirectionSet, ...]:
        """The directions of each step.

        A lone `DirectionSet` is known as `creativity` and by no other name: a step that names
        another direction was written for that one, and must not quietly get this.

        Raises:
            InputError: a step names a direction that is not there, or one of another digest.
        """
        there = {CREATIVITY: directions} if isinstance(directions, DirectionSet) else directions
        for number, step in enumerate(self.steps, start=1):
            if step.direction not in there:
                raise InputError(
                    f"step {number} names the direction {step.direction!r}, but there is "
                    f"{', '.join(map(repr, there)) or 'none'}; give directions of that name."
                )
        for name, wanted in self.directions_sha256.items():
            if (found := digest(there[name])) != wanted:
                raise InputError(
                    f"the directions {name!r} are not those that the spec was written for: their "
                    f"digest is {found[:12]}…, its directions_sha256 says {wanted[:12]}…; give "
                    "those, or take the entry out of the spec."
                )
        return tuple(there[step.direction] for step in self.steps)

    def pinned(self, directions: Directions) -> "SteeringSpec":
        """The spec with the digests of the directions that it names, so that it takes no others.

        A digest is the SHA-256 of the numbers that steering depends on (directions, class means,
        residual norms), not of a file: where they come from does not count.

        Raises:
            InputError: see `sets`.
        """
        owners = zip(self.steps, self.sets(directions), strict=True)
        digests = {step.direction: digest(owner) for step, owner in owners}
        return dataclasses.replace(self, directions_sha256=digests)

    def interventions(self, directions: Directions) -> tuple[Intervention, ...]:
        """What the steps do, in their order, as `Request.interventions` takes it.

        Args:
            directions: a lone set, known as `creativity`, or sets by name.

        Raises:
            InputError: a direction or a layer that is not there, or a direction of another digest;
                the message names the step or the direction.
        """
        found = []
        for number, (step, owner) in enumerate(
            zip(self.steps, self.sets(directions), strict=True), start=1
        ):
            try:
                found.append(step.intervention(owner))
            except InputError as error:
                raise InputError(f"step {number}: {error}") from error
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """The spec as plain values, as JSON takes them."""
        digests = {"directions_sha256": dict(self.directions_sha256)}
        return {
            "schema_version": SCHEMA_VERSION,
            "steps": [step.to_dict() for step in self.steps],
        } | (digests if self.directions_sha256 else {})

    @classmethod
    def from_dict(cls, value: Any) -> "SteeringSpec":
        """Read what `to_dict` gives.

        Raises:
            InputError: another schema version, an unknown or missing key, or a wrong value; the
                message names step and key.
        """
        if not isinstance(value, Mapping):
            raise InputError(f"a steering spec must be an object, got {type(value).__name__}.")
        if "schema_version" in value and value["schema_version"] != SCHEMA_VERSION:
            raise InputError(
                f"schema_version is {value['schema_version']!r}; this version of creativity_lens "
                f"reads {SCHEMA_VERSION}."
            )
        _check_keys(value, known=_KEYS, needed=_NEEDED)
        if not isinstance(value["steps"], list | tuple):
            raise InputError(f"steps must be a list, got {value['steps']!r}.")
        steps = []
        for number, step in enumerate(value["steps"], start=1):
            try:
                steps.append(SteeringStep.from_dict(step))
            except InputError as error:
                raise InputError(f"step {number}: {error}") from error
        names = [step.direction for step in steps]
        return cls(tuple(steps), check_digests(value.get("directions_sha256", {}), names))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a JSON file, atomically; the same spec gives the same bytes."""
        write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "SteeringSpec":
        """Read a file that `save` wrote, or one written by hand.

        Raises:
            DataError: missing, not JSON, or not a spec; the message names file, step and key.
        """
        value = read_json(path)
        try:
            return cls.from_dict(value)
        except InputError as error:
            raise DataError(f"{path}: {error}") from error


def _finite(value: Any) -> float:
    """The number as a float, if it is one."""
    try:
        number = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"strength must be a finite number, got {value!r}.")
    return number


def _canonical(name: str, parse: Callable[[Any], Scope | Schedule], value: Any) -> str:
    try:
        return str(parse(value))
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _check_keys(value: Mapping[Any, Any], *, known: Any, needed: Any) -> None:
    for key in value:
        if key not in known:
            raise InputError(f"unknown key {key!r}; the keys are {', '.join(known)}.")
    for key in needed:
        if key not in value:
            raise InputError(f"the key {key!r} is missing (needed: {', '.join(needed)}).")
