"""`creativity-lens probe` and `creativity-lens power`: can a run's direction be defended?"""

import math
import time
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from creativity_lens.cli import terminal
from creativity_lens.cli.common import (
    DeviceOption,
    DtypeOption,
    JsonOption,
    RunModel,
    RunOption,
    SeedOption,
    StoreOption,
    command_line,
    load,
    plain,
    print_claims,
)
from creativity_lens.errors import InputError
from creativity_lens.io import check_writable, sha256_file, write_json, write_table, write_text

ACTIVATIONS = "activations"


class Probe(StrEnum):
    """Classifiers beside the difference of means."""

    logistic = "logistic"
    pca = "pca"
    rbf = "rbf"


class Coordinates(StrEnum):
    """Methods that put texts on a plane."""

    pca = "pca"
    tsne = "tsne"
    umap = "umap"


class ReadingContext(StrEnum):
    """Contexts that a run's texts can be read in."""

    as_generated = "as-generated"
    neutral = "neutral"
    opposite = "opposite"


def probe(
    run: RunOption,
    out: Annotated[Path, typer.Option(help="Folder for report.html and the tables.")],
    model: RunModel = None,
    probes: Annotated[
        list[Probe] | None,
        typer.Option(
            "--probe", help="Classifier beside the difference of means; repeat it. [default: all]"
        ),
    ] = None,
    folds: Annotated[int, typer.Option(help="Folds by premise.")] = 5,
    permutations: Annotated[
        int, typer.Option(help="Label swaps that refit the difference of means.")
    ] = 200,
    logistic_permutations: Annotated[
        int,
        typer.Option(help="Label swaps that refit the logistic probe: slow, its time is told."),
    ] = 0,
    random_weights: Annotated[
        bool, typer.Option(help="Probe the same architecture with random weights as well.")
    ] = True,
    nuisance_pairs: Annotated[
        int, typer.Option(help="Passage pairs of each nuisance; 0 leaves nuisances out.")
    ] = 24,
    judge_pairs: Annotated[
        int, typer.Option(help="Pairs that the model judges blindly; 0 for none.")
    ] = 32,
    coordinates: Annotated[
        list[Coordinates] | None,
        typer.Option(help="Pictures of the texts; repeat it. [default: pca]"),
    ] = None,
    layer: Annotated[
        int | None,
        typer.Option(help="Layer of pictures, texts and tokens. [default: what most folds chose]"),
    ] = None,
    stability: Annotated[
        float, typer.Option(help="Cosine that the number of premises is asked for.")
    ] = 0.9,
    compare: Annotated[
        list[Path] | None,
        typer.Option(help="Another run of the same model, such as another seed; repeat it."),
    ] = None,
    store: StoreOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
    json: JsonOption = False,
) -> None:
    """Test a run's direction: rivals, nulls, stability, leakage, and what else is in it.

    Writes report.html, claims.json, manifest.json and each table as Parquet and CSV to --out.
    Activations are kept, so a second run is quick.

    Example:
        creativity-lens probe --run run --out probe-report
    """
    from creativity_lens.directions.direction import DirectionSet
    from creativity_lens.directions.nuisance import NUISANCES
    from creativity_lens.directions.run_files import CONTRAST_FILE, DIRECTIONS_FILE, load_run
    from creativity_lens.report.probe import render_probe
    from creativity_lens.studies.claims import claim_record
    from creativity_lens.studies.probe import probe_run
    from creativity_lens.studies.probe_config import ProbeConfig

    for name, value in {
        "--logistic-permutations": logistic_permutations,
        "--nuisance-pairs": nuisance_pairs,
        "--judge-pairs": judge_pairs,
    }.items():
        if value < 0:
            raise InputError(f"{name} must not be negative, got {value}.")
    directions, rows = load_run(run)
    config = ProbeConfig(
        probes=tuple(plain(p) for p in probes or list(Probe)),
        n_folds=folds,
        n_permutations=permutations,
        n_logistic_permutations=logistic_permutations,
        random_weights=random_weights,
        nuisances=NUISANCES if nuisance_pairs else (),
        nuisance_pairs=nuisance_pairs or None,
        judge_pairs=judge_pairs,
        coordinates=tuple(plain(c) for c in coordinates or [Coordinates.pca]),
        layer=layer,
        stability=stability,
        seed=seed,
    )
    if layer is not None:
        directions[layer]  # a layer out of range is an error before the model is loaded
    others = {str(path): DirectionSet.load(path / DIRECTIONS_FILE) for path in compare or ()}
    check_writable(out, folder=True)
    kept = check_writable(store or run / ACTIVATIONS, folder=True)
    lens = load(model or str(directions.provenance["model"]["name"]), device, dtype)
    started = time.perf_counter()
    with terminal.staged_progress() as on_progress:
        result = probe_run(
            lens,
            rows,
            directions,
            config,
            store=kept,
            others=others,
            on_progress=on_progress,
            on_note=terminal.note,
        )
    command = command_line()
    for name, table in result.tables.items():
        write_table(out / name, table)
    claims = [claim_record(claim) for claim in result.claims]
    write_json(out / "claims.json", claims)
    write_text(out / "report.html", render_probe(result, command=command))
    seconds = time.perf_counter() - started
    write_json(
        out / "manifest.json",
        {
            "command": command,
            "config": asdict(config),
            "provenance": dict(result.provenance),
            "contrast_sha256": sha256_file(run / CONTRAST_FILE),
            "layer": result.layer,
            "context": result.context,
            "warnings": list(result.warnings),
            "tables": sorted(result.tables),
            "seconds": round(seconds, 1),
            "stages": {name: round(value, 1) for name, value in result.seconds.items()},
        },
    )
    report = str(out / "report.html")
    if json:
        terminal.print_json({"report": report, "claims": claims, "warnings": list(result.warnings)})
        return
    for warning in result.warnings:
        terminal.note(f"warning: {warning}")
    print_claims(result.claims)
    terminal.summary({"report": report, "time": f"{seconds:.0f} s"})


def power(
    run: RunOption,
    stability: Annotated[
        float,
        typer.Option(help="Wanted cosine between two directions, each from its own premises."),
    ] = 0.9,
    context: Annotated[
        ReadingContext | None,
        typer.Option(help="What the texts are read after. [default: the run's]"),
    ] = None,
    layer: Annotated[int | None, typer.Option(help="Show one layer only.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Also write the table: a name without suffix.")
    ] = None,
    model: RunModel = None,
    store: StoreOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
    json: JsonOption = False,
) -> None:
    """Say how many pairs a direction needs to be as stable as wanted.

    Example:
        creativity-lens power --run run --stability 0.9
    """
    from creativity_lens.directions.run_files import load_run
    from creativity_lens.studies.power import power as needed_pairs

    directions, rows = load_run(run)
    if layer is not None:
        directions[layer]  # a layer out of range is an error before the model is loaded
    if not 0 < stability < 1:
        raise InputError(f"--stability must lie between 0 and 1, both excluded, got {stability}.")
    if out is not None:
        check_writable(out, folder=False)
    kept = check_writable(store or run / ACTIVATIONS, folder=True)
    lens = load(model or str(directions.provenance["model"]["name"]), device, dtype)
    with terminal.progress_bar("reading", len(rows), "texts") as advance:
        table = needed_pairs(
            lens,
            rows,
            directions,
            stability=stability,
            context=plain(context),
            store=kept,
            seed=seed,
            on_size=lambda size: terminal.note(f"{size / 1e6:,.1f} MB of activations"),
            on_progress=advance,
        )
    if layer is not None:
        table = table[table["layer"] == layer]
    if out is not None:
        write_table(out, table)
    records = [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
    if json:
        terminal.print_json(records)
        return
    terminal.print_table(
        ("layer", "cosine of two halves", "pairs now", f"pairs for {stability:g}", "95 % interval"),
        [
            (
                str(row["layer"]),
                f"{row['split_half']:.2f}",
                str(len({r.pair_id for r in rows})),
                _count(row["pairs_needed"]),
                f"{_count(row['pairs_needed_low'])} to {_count(row['pairs_needed_high'])}",
            )
            for row in records
        ],
    )


def _count(value: float) -> str:
    return "no number" if math.isinf(value) else f"{value:,.0f}"
