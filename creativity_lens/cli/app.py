"""The commands. Each reads its files, calls a room, and writes what came back."""

import math
import os
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from creativity_lens import __version__
from creativity_lens.cli import data, terminal
from creativity_lens.cli.common import (
    BatchSize,
    DeviceOption,
    DtypeOption,
    JsonOption,
    MaxNewTokens,
    MinP,
    ModelOption,
    PresetOption,
    SeedOption,
    Temperature,
    TopP,
    command_line,
    load,
    plain,
    print_claims,
)
from creativity_lens.cli.extract import extract
from creativity_lens.cli.presets import settle
from creativity_lens.cli.probe import power, probe
from creativity_lens.errors import CreativityLensError, DataError, InputError
from creativity_lens.io import (
    check_writable,
    read_jsonl,
    write_csv,
    write_json,
    write_jsonl,
    write_text,
)
from creativity_lens.models.packaged import DEFAULT_MODEL

app = typer.Typer(
    name="creativity-lens",
    help="Find, score, steer and doubt a creativity direction in a language model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data.app)


class Variant(StrEnum):
    """Variants of the score."""

    cosine = "cosine"
    centred = "centred"


class Unit(StrEnum):
    """Units of strength."""

    absolute = "absolute"
    relative = "relative"


class Scope(StrEnum):
    """Tokens that are steered."""

    all = "all"
    generated = "generated"


def _version(wanted: bool) -> bool:
    if wanted:
        terminal.results.print(f"creativity-lens {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the report and the run's files.")] = Path(
        "demo-report"
    ),
    model: ModelOption = DEFAULT_MODEL,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Run the main job on a real model and write a report: about five minutes on two cores.

    Example:
        creativity-lens demo --out demo-report
    """
    check_writable(out, folder=True)
    started = time.perf_counter()
    lens = load(model, device, dtype)
    from creativity_lens.directions.extract import ExtractionConfig
    from creativity_lens.directions.run_files import save_run
    from creativity_lens.generation.sampling import Sampling
    from creativity_lens.report.demo import render_demo
    from creativity_lens.studies.claims import claim_record
    from creativity_lens.studies.demo import DemoConfig, run_demo

    base = DemoConfig()
    extraction = ExtractionConfig(
        sampling=Sampling(max_new_tokens=base.extraction.sampling.max_new_tokens), seed=seed
    )
    with terminal.staged_progress() as on_progress:
        result = run_demo(lens, DemoConfig(extraction=extraction), on_progress=on_progress)
    command = command_line()
    seconds = time.perf_counter() - started
    save_run(
        result.extraction,
        out,
        manifest={"command": command, "seconds": round(seconds, 1), "stages": result.seconds},
    )
    write_jsonl(out / "held-out.jsonl", (row.to_dict() for row in result.test_rows))
    claims = [claim_record(claim) for claim in result.claims]
    write_json(out / "claims.json", claims)
    write_text(out / "report.html", render_demo(result, command=command))
    if json:
        terminal.print_json({"report": str(out / "report.html"), "claims": claims})
        return
    print_claims(result.claims)
    terminal.summary({"report": str(out / "report.html"), "time": f"{seconds:.0f} s"})


app.command()(extract)
app.command()(probe)
app.command()(power)


@app.command()
def score(
    directions: Annotated[
        Path | None,
        typer.Option(help="Directions file; the packaged model's own set if left out."),
    ] = None,
    texts: Annotated[
        Path | None, typer.Option(help="Texts to score: JSONL with id, text and, if known, prompt.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="CSV for the scores of --texts.")] = None,
    text: Annotated[str | None, typer.Option(help="One text to score.")] = None,
    layer: Annotated[
        int | None, typer.Option(help="Layer to read at. [default: two thirds of the depth]")
    ] = None,
    all_layers: Annotated[bool, typer.Option("--all-layers", help="One score a layer.")] = False,
    variant: Annotated[
        Variant | None,
        typer.Option(help="The paper's cosine, or with the midpoint subtracted. [default: cosine]"),
    ] = None,
    window: Annotated[
        int | None, typer.Option(help="Read long texts in windows of this many tokens.")
    ] = None,
    preset: PresetOption = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="[default: the model the directions came from]"),
    ] = None,
    batch_size: BatchSize = 16,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
    json: JsonOption = False,
) -> None:
    r"""Score texts by their mean per-token cosine with a direction.

    Examples:
        creativity-lens score --text "The moon forgot its keys."

        creativity-lens score --directions run/directions.safetensors --all-layers \
            --texts texts.jsonl --out scores.csv
    """
    if (text is None) == (texts is None):
        raise InputError("give either --text or --texts, and not both.")
    if texts is not None and out is None:
        raise InputError("--texts needs --out FILE.csv for the scores.")
    if text is not None and out is not None:
        raise InputError("--out goes with --texts; the score of --text is printed.")
    if all_layers and layer is not None:
        raise InputError("give either --layer or --all-layers, and not both.")
    if out is not None:
        check_writable(out, folder=False)
    chosen = settle(
        preset,
        {"layer": layer, "variant": variant},
        {"variant": "cosine"},
    )
    from creativity_lens.directions.direction import DirectionSet
    from creativity_lens.directions.shipped import load_directions
    from creativity_lens.scoring.score import Text, score_texts

    items = [Text("text", text)] if text is not None else _read_texts(texts)
    found = DirectionSet.load(directions) if directions is not None else load_directions()
    at = chosen["layer"] if chosen["layer"] is not None else len(found) * 2 // 3
    if not all_layers:
        found[at]  # a layer out of range is an error before the model is loaded
    lens = load(model or str(found.provenance["model"]["name"]), device, dtype)
    with terminal.progress_bar("scoring", len(items), "texts") as advance:
        scores = score_texts(
            lens,
            found,
            items,
            layers=None if all_layers else at,
            variant=plain(chosen["variant"]),
            window=window,
            batch_size=batch_size,
            on_progress=advance,
        )
    names = [f"layer_{n}" for n in scores.layers] if all_layers else ["score"]
    rows = [
        (name, int(n), *(float(v) for v in values))
        for name, n, values in zip(scores.ids, scores.n_tokens, scores.values, strict=True)
    ]
    if out is not None:
        write_csv(out, ("id", "n_tokens", *names), rows)
        if json:
            terminal.print_json({"out": str(out), "texts": len(rows)})
        else:
            terminal.summary({"scores": str(out), "texts": str(len(rows))})
        return
    record = dict(zip(("id", "n_tokens", *names), rows[0], strict=True))
    record |= {} if all_layers else {"layer": at}
    if json:
        terminal.print_json(record)
    else:
        terminal.summary(
            {
                name: f"{value:+.4f}" if isinstance(value, float) else str(value)
                for name, value in record.items()
                if name != "id"
            }
        )


@app.command()
def generate(
    prompts: Annotated[Path, typer.Option(help="Prompts: JSONL with id and prompt.")],
    out: Annotated[Path, typer.Option(help="JSONL: the input with a response.")],
    directions: Annotated[
        Path | None, typer.Option(help="Directions to steer with; unsteered if left out.")
    ] = None,
    layer: Annotated[
        list[int] | None, typer.Option(help="Layer to steer at; repeat it for several.")
    ] = None,
    strength: Annotated[
        float | None, typer.Option(help="How much to add; negative steers the other way.")
    ] = None,
    unit: Annotated[
        Unit | None,
        typer.Option(
            help="absolute: the paper's λ. relative: a share of the median token norm. "
            "[default: relative]"
        ),
    ] = None,
    scope: Annotated[Scope, typer.Option(help="Which tokens are steered.")] = Scope.all,
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
    """
    from creativity_lens.directions.direction import DirectionSet
    from creativity_lens.generation.sampling import Sampling
    from creativity_lens.steering.generate import generate as run_generation

    check_writable(out, folder=False)
    if preset and directions is None:
        raise InputError("--preset paper steers: name the --directions to steer with.")
    if directions is None and (layer or strength is not None or unit is not None):
        raise InputError("--layer, --strength and --unit steer: they need --directions.")
    one = layer[0] if layer and len(layer) == 1 else layer or None
    chosen = settle(
        preset, {"layer": one, "strength": strength, "unit": unit}, {"unit": "relative"}
    )
    if directions is not None and (chosen["layer"] is None or chosen["strength"] is None):
        raise InputError("steering needs --layer and --strength (or --preset paper).")
    if chosen["strength"] is not None and not math.isfinite(chosen["strength"]):
        raise InputError(f"--strength must be a finite number, got {chosen['strength']}.")
    sampling = Sampling(max_new_tokens, temperature, top_p, min_p)
    rows = _read_prompts(prompts)
    found = DirectionSet.load(directions) if directions is not None else None
    if found is not None:
        layers = [chosen["layer"]] if isinstance(chosen["layer"], int) else chosen["layer"]
        for at in layers:
            found[at]  # a layer out of range is an error before the model is loaded
    default = str(found.provenance["model"]["name"]) if found is not None else DEFAULT_MODEL
    lens = load(model or default, device, dtype)
    with terminal.progress_bar("generating", len(rows), "prompts") as advance:
        written = run_generation(
            lens,
            {row["id"]: row["prompt"] for row in rows},
            system=system,
            directions=found,
            layers=chosen["layer"] if found is not None else None,
            strength=chosen["strength"] or 0.0,
            unit=plain(chosen["unit"]),
            scope=plain(scope),
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
    settings: dict[str, Any] = {
        "command": command_line(),
        "preset": preset,
        "layer": chosen["layer"],
        "strength": chosen["strength"],
        "unit": plain(chosen["unit"]) if found is not None else None,
        "responses": len(written),
        "out": str(out),
    }
    if json:
        terminal.print_json(settings)
    else:
        terminal.summary({"responses": str(out), "prompts": str(len(written))})


def _read_texts(path: Path | None) -> list[Any]:
    from creativity_lens.scoring.score import Text

    assert path is not None
    found = []
    seen: dict[str, int] = {}
    for number, row in read_jsonl(path, required=("id", "text")):
        prompt = row.get("prompt")
        if prompt is not None and (not isinstance(prompt, str) or not prompt.strip()):
            raise DataError(f"{path}, line {number}: `prompt` must be a string that is not blank.")
        _check_unique(path, number, row["id"], seen)
        found.append(Text(row["id"], row["text"], prompt))
    return found


def _read_prompts(path: Path) -> list[dict[str, Any]]:
    seen: dict[str, int] = {}
    rows = []
    for number, row in read_jsonl(path, required=("id", "prompt")):
        _check_unique(path, number, row["id"], seen)
        rows.append(row)
    return rows


def _check_unique(path: Path, number: int, name: str, seen: dict[str, int]) -> None:
    if name in seen:
        raise DataError(f"{path}, line {number}: the id {name!r} was used in line {seen[name]}.")
    seen[name] = number


_INTERRUPTED = 130
"""What typer makes of Ctrl-C: the exit code of a shell's own."""


def main() -> None:
    """Run the command line; errors raised on purpose exit with code 2 and one sentence."""
    # Tokenizers' own threads warn about forks, and the model is what should use the cores.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        app()
    except CreativityLensError as error:
        terminal.fail(str(error))
        raise SystemExit(2) from None
    except SystemExit as ended:
        if ended.code == _INTERRUPTED:
            terminal.fail("interrupted; nothing was written that is not whole.")
        raise
