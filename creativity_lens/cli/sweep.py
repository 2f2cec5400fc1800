"""`creativity-lens sweep`: which layer, what strength, at what cost?"""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from creativity_lens.cli import terminal
from creativity_lens.cli.common import (
    DeviceOption,
    DtypeOption,
    JsonOption,
    RunModel,
    RunOption,
    StoreOption,
    command_line,
    load,
    print_claims,
)
from creativity_lens.io import check_writable, write_text

if TYPE_CHECKING:
    from creativity_lens.runs.execute import Progress


def sweep(
    config: Annotated[
        Path, typer.Option(help="Settings: a TOML file; the documentation has an example.")
    ],
    run: RunOption,
    out: Annotated[Path, typer.Option(help="Folder of the sweep; the same folder resumes.")],
    model: RunModel = None,
    store: StoreOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
    json: JsonOption = False,
) -> None:
    """Steer at every layer and strength of a grid, beside fair rivals, and write a report.

    Writes report.html, claims.json, manifest.json and each table as Parquet and CSV to --out.
    Each batch is kept as it is done: after Ctrl-C or a crash the same command goes on.

    Example:
        creativity-lens sweep --config sweep.toml --run run --out sweep-report
    """
    from creativity_lens.report.sweep import render_sweep
    from creativity_lens.runs.sweep_config import load_sweep_config
    from creativity_lens.runs.sweep_inputs import sweep_inputs
    from creativity_lens.studies.claims import claim_record
    from creativity_lens.studies.sweep import sweep as run_sweep

    settings = load_sweep_config(config)
    inputs = sweep_inputs(settings, run)  # before the model is loaded
    check_writable(out, folder=True)
    lens = load(model or str(inputs.directions.provenance["model"]["name"]), device, dtype)
    started = time.perf_counter()
    try:
        with terminal.staged_progress() as report_stage:
            result = run_sweep(
                lens,
                settings,
                run=run,
                out=out,
                store=store,
                manifest={"command": command_line()},
                on_progress=report_stage,
                on_batch=lambda progress, best: report_stage(
                    "generating and measuring",
                    progress.done_texts,
                    progress.n_texts,
                    _remark(progress, best),
                ),
                on_note=terminal.note,
            )
    except KeyboardInterrupt:
        terminal.note("Finished batches are kept: the same command goes on from them.")
        raise
    write_text(out / "report.html", render_sweep(result, command=command_line()))
    report = str(out / "report.html")
    if json:
        terminal.print_json(
            {
                "report": report,
                "claims": [claim_record(claim) for claim in result.claims],
                "warnings": list(result.warnings),
                "recommended": [
                    {str(k): v for k, v in row.items()}
                    for row in result.tables["recommended"].to_dict("records")
                ],
            }
        )
        return
    for warning in result.warnings:
        terminal.note(f"warning: {warning}")
    print_claims(result.claims)
    found = result.tables["recommended"]
    terminal.summary(
        {
            "recommended": "none" if found.empty else str(found["cell_id"].iloc[0]),
            "texts": str(len(result.tables["texts"])),
            "report": report,
            "time": f"{time.perf_counter() - started:.0f} s in this session",
        }
    )


def _remark(progress: "Progress", best: str) -> str:
    """Throughput, time left and the best cell so far."""
    said = [f"batch {progress.done_batches} of {progress.n_batches}"]
    if progress.tokens_per_second is not None:
        said.append(f"{progress.tokens_per_second:.0f} tokens/s")
    if progress.seconds_left:
        minutes, seconds = divmod(round(progress.seconds_left), 60)
        said.append(f"{minutes}:{seconds:02d} left")
    if best:
        said.append(f"best so far {best}")
    return ", ".join(said)
