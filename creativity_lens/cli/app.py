"""The commands. Each reads its files, calls a room, and writes what came back."""

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from creativity_lens import __version__
from creativity_lens.cli import annotate, data, terminal
from creativity_lens.cli.common import (
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelOption,
    SeedOption,
    command_line,
    load,
    print_claims,
)
from creativity_lens.cli.evaluate import evaluate
from creativity_lens.cli.extract import extract
from creativity_lens.cli.generate import generate
from creativity_lens.cli.judge import judge
from creativity_lens.cli.probe import power, probe
from creativity_lens.cli.ratings import ratings
from creativity_lens.cli.score import score
from creativity_lens.cli.sweep import sweep
from creativity_lens.errors import CreativityLensError
from creativity_lens.io import check_writable, write_json, write_jsonl, write_text
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
app.add_typer(annotate.app)


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
app.command()(sweep)
app.command()(score)
app.command()(generate)
app.command()(evaluate)
app.command()(ratings)
app.command()(judge)


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
