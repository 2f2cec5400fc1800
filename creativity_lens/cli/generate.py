"""`creativity-lens generate`: responses to prompts, steered or not."""

import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from creativity_lens.cli import terminal
from creativity_lens.cli.common import (
    BatchSize,
    DeviceOption,
    DtypeOption,
    JsonOption,
    MaxNewTokens,
    MinP,
    PresetOption,
    SeedOption,
    Temperature,
    TopP,
    check_unique,
    command_line,
    load,
    plain,
)
from creativity_lens.cli.presets import settle
from creativity_lens.errors import InputError
from creativity_lens.io import check_writable, read_jsonl, write_jsonl
from creativity_lens.models.packaged import DEFAULT_MODEL

if TYPE_CHECKING:
    from creativity_lens.directions.direction import DirectionSet
    from creativity_lens.steering.spec import SteeringSpec

_DEFAULTS = {
    "unit": "relative",
    "mode": "add",
    "scope": "all",
    "schedule": "constant",
    "around": "zero",
}


class Unit(StrEnum):
    """Units of strength."""

    absolute = "absolute"
    relative = "relative"


class Mode(StrEnum):
    """What is done along a direction."""

    add = "add"
    ablate = "ablate"
    clamp = "clamp"
    rotate = "rotate"


class Around(StrEnum):
    """What a projection is counted from."""

    zero = "zero"
    midpoint = "midpoint"


def generate(
    prompts: Annotated[Path, typer.Option(help="Prompts: JSONL with id and prompt.")],
    out: Annotated[Path, typer.Option(help="JSONL: the input with a response.")],
    directions: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="Directions to steer with; unsteered if left out. FILE, or NAME=FILE for a name "
            "that --spec has (a bare FILE is `creativity`); repeat it for several.",
        ),
    ] = None,
    layer: Annotated[
        list[int] | None, typer.Option(help="Layer to steer at; repeat it for several.")
    ] = None,
    strength: Annotated[
        float | None, typer.Option(help="How much, in --unit; negative steers the other way.")
    ] = None,
    unit: Annotated[
        Unit | None,
        typer.Option(
            help="absolute: the paper's λ. relative: a share of the median token norm. "
            "[default: relative]"
        ),
    ] = None,
    mode: Annotated[
        Mode | None,
        typer.Option(
            help="add; ablate (project out, strength 1 all of it); clamp (set the projection); "
            "rotate (turn, the norm kept). [default: add]"
        ),
    ] = None,
    scope: Annotated[
        str | None,
        typer.Option(
            help="Which tokens are steered: all, prompt, response, first:N, last:N (of the "
            "prompt), START:STOP (from 0), or as in response/first:8. [default: all]"
        ),
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            help="How much of it at each generated token: constant, ramp:N, decay:N, "
            "pulse:PERIOD/ON, stop:N. [default: constant]"
        ),
    ] = None,
    around: Annotated[
        Around | None,
        typer.Option(help="What ablate and clamp count from. [default: zero]"),
    ] = None,
    spec: Annotated[
        Path | None,
        typer.Option(help="All of the steering as a SteeringSpec in JSON, instead of the above."),
    ] = None,
    system: Annotated[
        str | None, typer.Option(help="System message; the chat template's own if left out.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="[default: the directions' model, else the packaged]"),
    ] = None,
    max_new_tokens: MaxNewTokens = 64,
    temperature: Temperature = 0.8,
    top_p: TopP = 1.0,
    min_p: MinP = 0.05,
    seed: SeedOption = 0,
    batch_size: BatchSize = 32,
    preset: PresetOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
    json: JsonOption = False,
) -> None:
    r"""Generate a response to each prompt, steered or not.

    Examples:
        creativity-lens generate --prompts prompts.jsonl --out plain.jsonl

        creativity-lens generate --prompts prompts.jsonl --out steered.jsonl \
            --directions run/directions.safetensors --layer 8 --strength 0.3 --unit relative

        creativity-lens generate --prompts prompts.jsonl --out steered.jsonl \
            --directions run/directions.safetensors --spec steering.json

        creativity-lens generate --prompts prompts.jsonl --out steered.jsonl --spec steering.json \
            --directions run/directions.safetensors --directions plain=plain/directions.safetensors
    """
    from creativity_lens.directions.direction import DirectionSet
    from creativity_lens.generation.sampling import Sampling
    from creativity_lens.steering.generate import generate as run_generation

    check_writable(out, folder=False)
    given = {
        "layer": layer[0] if layer and len(layer) == 1 else layer or None,
        "strength": strength,
        "unit": unit,
        "mode": mode,
        "scope": scope,
        "schedule": schedule,
        "around": around,
    }
    _check_options(given, steers=bool(directions), spec=spec, preset=preset)
    files = _directions_files(directions or [], spec)
    chosen = {name: plain(value) for name, value in settle(preset, given, _DEFAULTS).items()}
    if not files or spec is not None:
        chosen = dict.fromkeys(chosen)
    elif chosen["layer"] is None or chosen["strength"] is None:
        raise InputError("steering needs --layer and --strength (or --preset paper, or --spec).")
    elif not math.isfinite(chosen["strength"]):
        raise InputError(f"--strength must be a finite number, got {chosen['strength']}.")
    sampling = Sampling(max_new_tokens, temperature, top_p, min_p)
    rows = _read_prompts(prompts)
    found = {name: DirectionSet.load(path) for name, path in files.items()}
    steering = _steering(found, chosen, spec)
    lens = load(model or _model_name(found, steering.get("spec")), device, dtype)
    with terminal.progress_bar("generating", len(rows), "prompts") as advance:
        written = run_generation(
            lens,
            {row["id"]: row["prompt"] for row in rows},
            system=system,
            **steering,
            sampling=sampling,
            seed=seed,
            batch_size=batch_size,
            on_progress=advance,
        )
    write_jsonl(
        out,
        (
            {**row, "response": text.response, "finish_reason": text.finish_reason}
            for row, text in zip(rows, written, strict=True)
        ),
    )
    if json:
        terminal.print_json(
            {
                "command": command_line(),
                "preset": preset,
                **chosen,
                "spec": steering["spec"].to_dict() if spec is not None else None,
                "responses": len(written),
                "out": str(out),
            }
        )
    else:
        terminal.summary({"responses": str(out), "prompts": str(len(written))})


def _check_options(
    given: dict[str, Any], *, steers: bool, spec: Path | None, preset: str | None
) -> None:
    """Raise InputError for options that do not go together."""
    named = ", ".join(f"--{name}" for name, value in given.items() if value is not None)
    if spec is not None and (named or preset):
        raise InputError(f"--spec says all of the steering; leave out {named or '--preset'}.")
    if preset and not steers:
        raise InputError("--preset paper steers: name the --directions to steer with.")
    if not steers and (named or spec is not None):
        raise InputError(f"the steering options {named or '--spec'} need --directions.")


def _directions_files(given: list[str], spec: Path | None) -> dict[str, Path]:
    """The files of --directions by name, in the order given; one without a name is `creativity`.

    Raises:
        InputError: a name or a file that is blank, a name given twice, or names that nothing uses.
    """
    from creativity_lens.steering.spec import CREATIVITY

    files: dict[str, Path] = {}
    for text in given:
        name, separator, file = (part.strip() for part in text.partition("="))
        if not separator or Path(text).is_file():  # the path of a file may hold a "="
            name, file = CREATIVITY, text
        if not name or not file:
            raise InputError(f"--directions takes FILE or NAME=FILE, got {text!r}.")
        if name in files:
            raise InputError(
                f"--directions gives {name!r} twice, {str(files[name])!r} and {file!r}; name them "
                f"apart, as in NAME=FILE (a bare FILE is {CREATIVITY!r})."
            )
        files[name] = Path(file)
    if spec is None and files and set(files) != {CREATIVITY}:
        raise InputError(
            "several --directions, or directions by name, are for a --spec that names them; "
            "without it give one FILE."
        )
    return files


def _steering(
    found: "dict[str, DirectionSet]", chosen: dict[str, Any], spec: Path | None
) -> dict[str, Any]:
    """The steering as `steering.generate.generate` takes it.

    Whatever is wrong with it is an error here, before the model is loaded. Layers and scope are in
    `chosen` as they are to be recorded.
    """
    from creativity_lens.hooks.scope import Schedule, Scope
    from creativity_lens.steering.spec import SteeringSpec
    from creativity_lens.steering.steer import interventions

    if not found:
        return {}
    if spec is not None:
        read = SteeringSpec.load(spec)
        missing = [name for name in read.names if name not in found]
        if missing:
            raise InputError(
                f"{spec} steers along {', '.join(map(repr, missing))}, and --directions has "
                f"{', '.join(map(repr, found))}; add --directions '{missing[0]}=FILE'."
            )
        read.interventions(found)
        return {"directions": found, "spec": read}
    chosen["scope"] = str(Scope.parse(chosen["scope"]))
    chosen["schedule"] = str(Schedule.parse(chosen["schedule"]))
    steering = {"layers" if name == "layer" else name: value for name, value in chosen.items()}
    (directions,) = found.values()
    interventions(directions, **steering)
    return {"directions": directions, **steering}


def _model_name(found: "dict[str, DirectionSet]", spec: "SteeringSpec | None") -> str:
    """The model of the directions that are used, if there are any."""
    names = [*(spec.names if spec is not None else ()), *found]
    return str(found[names[0]].provenance["model"]["name"]) if names else DEFAULT_MODEL


def _read_prompts(path: Path) -> list[dict[str, Any]]:
    seen: dict[str, int] = {}
    rows = []
    for number, row in read_jsonl(path, required=("id", "prompt")):
        check_unique(path, number, row["id"], seen)
        rows.append(row)
    return rows
