"""`creativity-lens evaluate`: does the score order texts as people do?"""

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
    SeedOption,
    command_line,
    load,
    print_claims,
)
from creativity_lens.errors import InputError
from creativity_lens.io import check_writable, sha256_file, write_json, write_table, write_text

ACTIVATIONS = "activations"


class Format(StrEnum):
    """Forms of a file of ratings."""

    tidy = "tidy"
    hanna = "hanna"
    ttcw = "ttcw"
    writingprompts = "writingprompts"
    aut = "aut"


def evaluate(
    ratings: Annotated[Path, typer.Option(help="Rated texts: tidy CSV or Parquet.")],
    out: Annotated[Path, typer.Option(help="Folder for report.html and the tables.")],
    directions: Annotated[
        Path | None,
        typer.Option(help="Directions file. [default: the packaged model's own set]"),
    ] = None,
    format: Annotated[
        Format, typer.Option("--format", help="`tidy`, or the form of a public set.")
    ] = Format.tidy,
    layer: Annotated[
        int | None,
        typer.Option(help="Read and report this layer alone. [default: all layers]"),
    ] = None,
    all_layers: Annotated[
        bool, typer.Option("--all-layers", help="Report every layer; with --layer as the primary.")
    ] = False,
    dimension: Annotated[
        list[str] | None, typer.Option(help="A rated dimension; repeat it. [default: all]")
    ] = None,
    min_gap: Annotated[
        float, typer.Option("--min-gap", help="Mean ratings of a pair differ by at least this.")
    ] = 1.0,
    scale: Annotated[
        tuple[float, float] | None, typer.Option(help="Lowest and highest rating allowed.")
    ] = None,
    scores: Annotated[
        list[Path] | None,
        typer.Option(help="CSV with text_id and further scores, as rivals; repeat it."),
    ] = None,
    pairs: Annotated[
        list[Path] | None,
        typer.Option(help="pairs.csv of `creativity-lens judge`, as a rival; repeat it."),
    ] = None,
    use_model: Annotated[
        bool,
        typer.Option("--use-model/--no-model", help="Without: only what needs no model."),
    ] = True,
    with_prompt: Annotated[
        bool, typer.Option(help="Also read each text after its own prompt.")
    ] = True,
    rate: Annotated[bool, typer.Option(help="Ask the model to rate each text itself.")] = True,
    judge_pairs: Annotated[
        int, typer.Option(help="Pairs that the model compares itself; 0 for none.")
    ] = 100,
    quality: Annotated[str, typer.Option(help="The adjective that judges are asked about.")] = (
        "creative"
    ),
    random: Annotated[int, typer.Option(help="Random directions of each kind.")] = 100,
    nuisance_pairs: Annotated[
        int, typer.Option(help="Passage pairs of each nuisance; 0 leaves nuisances out.")
    ] = 24,
    window: Annotated[
        int | None, typer.Option(help="Read long texts in windows of this many tokens.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="[default: the model the directions came from]"),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            help="Folder that keeps activations and judgements. [default: OUT/activations]"
        ),
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
    json: JsonOption = False,
) -> None:
    r"""Hold the score against people's ratings, beside what is cheap and what is asked.

    Writes agreement.csv, agreement.json, scores.csv, report.html, figures/, claims.json,
    manifest.json and every other table as Parquet and CSV to --out. A second run reads files
    instead of texts.

    Examples:
        creativity-lens evaluate --ratings ratings.csv --out agreement

        creativity-lens evaluate --ratings hanna_metric_scores_llm.csv --format hanna --no-model \
            --out hanna
    """
    if min_gap < 0:
        raise InputError(f"--min-gap must be 0 or more, got {min_gap}.")
    for name, value in {"--judge-pairs": judge_pairs, "--nuisance-pairs": nuisance_pairs}.items():
        if value < 0:
            raise InputError(f"{name} must not be negative, got {value}.")
    import pandas as pd

    from creativity_lens.directions.direction import DirectionSet
    from creativity_lens.directions.nuisance import NUISANCES
    from creativity_lens.directions.run_files import DIRECTIONS_FILE
    from creativity_lens.directions.shipped import shipped_run
    from creativity_lens.plots.agreement_figures import agreement_figures
    from creativity_lens.report.agreement import render_agreement
    from creativity_lens.report.figure_files import write_figures
    from creativity_lens.studies.claims import claim_record
    from creativity_lens.studies.evaluate import evaluate as run_evaluation
    from creativity_lens.studies.evaluate_config import EvaluateConfig
    from creativity_lens.studies.evaluate_inputs import (
        contrast_beside,
        read_judged_pairs,
        read_rated,
        read_scores,
    )

    rated, known = read_rated(
        ratings, format=format.value, dimensions=tuple(dimension or ()), scale=scale
    )
    given = [] if known is None else [known]
    given += [read_scores(path) for path in scores or ()]
    joined = pd.concat(given, axis=1) if given else None
    if joined is not None and joined.columns.duplicated().any():
        twice = joined.columns[joined.columns.duplicated()][0]
        raise InputError(f"two files of scores have a column {twice!r}: rename one.")
    judged = [read_judged_pairs(path, rated, _judge_name(path)) for path in pairs or ()]
    judges = [one.judge for one in judged]
    doubled = next((name for i, name in enumerate(judges) if name in judges[:i]), None)
    if doubled is not None:
        raise InputError(
            f"two files of --pairs are of a judge {doubled!r}: a judge is called after the folder "
            "of its file; rename one folder."
        )
    config = EvaluateConfig(
        layer=layer,
        all_layers=all_layers or layer is None,
        dimensions=tuple(dimension or ()),
        min_gap=min_gap,
        with_prompt=with_prompt,
        window=window,
        nuisances=NUISANCES if nuisance_pairs else (),
        nuisance_pairs=nuisance_pairs or None,
        n_random=random,
        rate=rate,
        judge_pairs=judge_pairs,
        quality=quality,
        seed=seed,
    )
    found = lens = made = None
    rows = []
    if use_model:
        made = shipped_run() / DIRECTIONS_FILE if directions is None else directions
        found = DirectionSet.load(made)
        rows = contrast_beside(made)
        if layer is not None:
            found[layer]  # a layer out of range is an error before the model is loaded
    check_writable(out, folder=True)
    kept = check_writable(store or out / ACTIVATIONS, folder=True) if use_model else None
    if found is not None:
        lens = load(model or str(found.provenance["model"]["name"]), device, dtype)
    started = time.perf_counter()
    with terminal.staged_progress() as on_progress:
        result = run_evaluation(
            rated,
            lens,
            found,
            config,
            store=kept,
            rows=rows,
            scores=joined,
            judged=judged,
            on_progress=on_progress,
        )
    command = command_line()
    for name, table in result.tables.items():
        write_table(out / name, table)
    rows_of = result.tables["agreement"].astype(object)
    # JSON knows nothing of pandas' NA: a score without a layer has null.
    write_json(out / "agreement.json", rows_of.where(rows_of.notna(), None).to_dict("records"))
    claims = [claim_record(claim) for claim in result.claims]
    write_json(out / "claims.json", claims)
    figures = agreement_figures(result)
    write_figures(out / "figures", figures)
    write_text(out / "report.html", render_agreement(result, command=command, figures=figures))
    seconds = time.perf_counter() - started
    write_json(
        out / "manifest.json",
        {
            "command": command,
            "config": asdict(config),
            "ratings_sha256": sha256_file(ratings) if ratings.is_file() else None,
            "directions": None if made is None else sha256_file(made),
            "provenance": dict(result.provenance),
            "layer": result.layer,
            "layer_reason": result.layer_reason,
            "warnings": list(result.warnings),
            "tables": sorted(result.tables),
            "figures": list(figures),
            "seconds": round(seconds, 1),
            "stages": {name: round(value, 1) for name, value in result.seconds.items()},
        },
    )
    report = str(out / "report.html")
    if json:
        terminal.print_json({"report": report, "claims": claims, "warnings": list(result.warnings)})
        return
    if not use_model:
        unused = {
            "--directions": directions,
            "--layer": layer,
            "--model": model,
            "--window": window,
            "--store": store,
        }
        said = [name for name, value in unused.items() if value is not None]
        if said:
            terminal.note(f"not used without a model: {', '.join(said)}")
    for warning in result.warnings:
        terminal.note(f"warning: {warning}")
    print_claims(result.claims)
    terminal.summary({"report": report, "time": f"{seconds:.0f} s"})


def _judge_name(path: Path) -> str:
    """A judge is called after the folder that `creativity-lens judge` wrote."""
    return f"pairs:{path.parent.name or path.stem}"
