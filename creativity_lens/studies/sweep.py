"""The sweep: which layer, what strength, at what cost.

One run generates every cell of a grid on every prompt, beside fair rivals, and measures each text
with the unsteered model. It carries on after a kill: the same call resumes.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from creativity_lens.directions.direction import DirectionSet
from creativity_lens.directions.extract import ContrastRow
from creativity_lens.directions.run_files import CONTRAST_FILE, DIRECTIONS_FILE
from creativity_lens.errors import MissingDependencyError
from creativity_lens.io import (
    check_writable,
    sha256_file,
    sha256_json,
    write_json,
    write_table,
)
from creativity_lens.measures.embedding import Embedder, embedding_name, load_embedder
from creativity_lens.models.identity import identity, library_versions
from creativity_lens.models.protocol import LensModel
from creativity_lens.prompts.instructions import Instructions, load_instructions
from creativity_lens.runs.cells import Cell, cell_table, cells_of, direction_names
from creativity_lens.runs.controls import control_directions
from creativity_lens.runs.execute import BatchResult, Progress, execute
from creativity_lens.runs.memory import OUT_OF_MEMORY, rows_of_logits
from creativity_lens.runs.plan import Item, plan_batches
from creativity_lens.runs.rows import MetricRow
from creativity_lens.runs.standing import Standing
from creativity_lens.runs.store import RunStore
from creativity_lens.runs.sweep_config import CREATIVITY, SweepConfig
from creativity_lens.runs.sweep_inputs import SweepInputs, sweep_inputs
from creativity_lens.runs.sweep_prompts import prompt_table
from creativity_lens.runs.sweep_texts import metric_table, text_table
from creativity_lens.runs.sweep_work import SweepWork
from creativity_lens.studies.claims import Claim, claim_record
from creativity_lens.studies.stages import Progress as StageProgress
from creativity_lens.studies.stages import Stages
from creativity_lens.studies.sweep_budgets import Budgets
from creativity_lens.studies.sweep_choice import layer_verdicts, pareto, recommend
from creativity_lens.studies.sweep_claims import sweep_claims
from creativity_lens.studies.sweep_effects import SweepTables, effects, monotonicity, prompt_effects
from creativity_lens.studies.sweep_rivals import matched, necessity

if TYPE_CHECKING:
    from pandas import DataFrame

_log = logging.getLogger(__name__)

ACTIVATIONS = "activations"
MANIFEST_FILE = "manifest.json"
BUDGETS = ("nll_budget", "degenerate_budget")
"""Settings that a sweep may be gone on with after they were changed."""
FEW_PROMPTS = 5

OnBatch = Callable[[Progress, str], None]
"""Called before the first batch and after each, with the progress and the best cell so far."""


@dataclass(frozen=True, eq=False)
class SweepResult:
    """What a sweep found.

    Attributes:
        config: what was asked.
        tables: tidy tables by name; the documentation lists their columns.
        claims: what can be said, each with its estimate, null, rival and verdict.
        read_layer: the layer at which claims are made.
        warnings: what should be known before any number is believed.
        seconds: how long the stages took, generating and measuring over all sessions.
        throughput: tokens generated a second, while generating alone and with the measuring.
        provenance: the loaded model, libraries, embedder, instruction and digests of files.
    """

    config: SweepConfig
    tables: Mapping[str, "DataFrame"]
    claims: tuple[Claim, ...]
    read_layer: int
    warnings: tuple[str, ...]
    seconds: Mapping[str, float]
    throughput: Mapping[str, float]
    provenance: Mapping[str, Any]


def sweep(
    model: LensModel,
    config: SweepConfig,
    *,
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    instructions: Instructions | None = None,
    store: str | os.PathLike[str] | None = None,
    manifest: Mapping[str, Any] | None = None,
    on_progress: StageProgress | None = None,
    on_batch: OnBatch | None = None,
    on_note: Callable[[str], None] | None = None,
) -> SweepResult:
    """Run a sweep, or go on with one, and analyse it.

    Writes to `out`: `run.sqlite` batch by batch, and at the end each table as Parquet and CSV
    (`texts` and `metrics` among them), `claims.json` and `manifest.json`.

    Args:
        model: the model that the run was made with.
        config: what to sweep; `load_sweep_config` reads it from a file.
        run: folder of the extraction run whose direction is steered along.
        out: folder of the sweep; that of an interrupted one is gone on with.
        instructions: other instructions than the shipped ones.
        store: folder that keeps the activations that the controls are made of; RUN/activations if
            None.
        manifest: what else to write to the manifest.
        on_progress: called as reading for the controls and the analysis go on.
        on_batch: called as batches are done.
        on_note: called with what is out of the ordinary; a log record if None.

    Raises:
        InputError: a layer, prompt or direction that is not there, another process at work in
            `out`, or a sweep in it of other settings, files, model or libraries.
        DataError: a file is not what it should be.
        DirectionMismatchError: the run was made with another model.
    """
    home = check_writable(Path(out), folder=True)
    note = on_note or _log.warning
    stages = Stages(on_progress)
    instructions = instructions or load_instructions()
    inputs = sweep_inputs(config, run, instructions=instructions)
    directions, rows, prompts, further = inputs
    for found in (directions, *further.values()):
        found.check_model(model)
    n_layers = int(model.cfg.n_layers)
    cells = cells_of(config, n_layers)
    asked = config.rivals.instruction
    instruction = asked if isinstance(asked, str) else instructions.creative[0]
    embedder = _embedder(note)
    provenance = _provenance(model, run, inputs, instruction)
    budgets = Budgets(config.nll_budget, config.degenerate_budget)
    # The budgets shape no text: another choice can be made of the same texts.
    settings = {k: v for k, v in config.to_dict().items() if k not in BUDGETS}
    stored = {**settings, "provenance": _shaping(provenance)}
    with RunStore.open(home, config=stored, names=_names(config, run, provenance)) as kept:
        named = {CREATIVITY: directions, **further}
        named |= _controls(model, rows, directions, cells, store or Path(run) / ACTIVATIONS, stages)
        work = SweepWork(model, config, cells, prompts, named, instruction=instruction)
        standing = Standing(
            cells, prompts, read_layer=config.primary_layer(n_layers), allow=budgets.allow
        )
        max_rows = rows_of_logits(config.sampling.max_new_tokens, int(model.cfg.d_vocab))
        _run(work, kept, standing, max_rows, on_batch, note)
        with stages.stage("analysing", 3) as advance:
            texts = text_table(kept, cells)
            metrics = metric_table(kept, texts, prompts, embedder=embedder)
            advance(1)
            tables = SweepTables(
                cell_table(cells),
                prompt_table(prompts, inputs.premises),
                texts,
                metrics,
                config.primary_layer(n_layers),
            )
            found_tables, claims = analyse(tables, budgets)
            advance(1)
            spent, n_tokens = kept.seconds(), kept.n_tokens()
            result = SweepResult(
                config=config,
                tables=found_tables,
                claims=claims,
                read_layer=tables.read_layer,
                warnings=_warnings(tables, found_tables, kept.notes, embedder),
                seconds={
                    **stages.seconds,
                    "generating": spent.generate,
                    "measuring": spent.measure,
                },
                throughput=_throughput(n_tokens, spent.generate, spent.measure),
                provenance=provenance
                | {"embedder": None if embedder is None else embedding_name()},
            )
            _write(home, result, manifest or {})
            advance(1)
    return result


def analyse(
    tables: SweepTables, budgets: Budgets
) -> tuple[dict[str, "DataFrame"], tuple[Claim, ...]]:
    """All tables of a sweep's report, and its claims, from the tables of its texts and numbers."""
    changes = effects(tables)
    recommended = recommend(tables, changes, budgets)
    rivals, needed = matched(tables, recommended), necessity(tables)
    rising = monotonicity(tables)
    claims = sweep_claims(tables, changes, recommended, rivals, needed, rising)
    import pandas as pd

    found = {
        "cells": tables.cells,
        "prompts": tables.prompts,
        "texts": tables.texts,
        "metrics": tables.metrics,
        "effects": changes,
        "prompt_effects": prompt_effects(tables),
        "monotonicity": rising,
        "layers": layer_verdicts(tables, changes, budgets),
        "pareto": pareto(tables, changes, budgets),
        "recommended": recommended,
        "matched": rivals,
        "necessity": needed,
        "claims": pd.DataFrame([claim_record(claim) for claim in claims]),
    }
    return found, claims


def _provenance(
    model: LensModel, run: str | os.PathLike[str], inputs: SweepInputs, instruction: str
) -> dict[str, Any]:
    """What a sweep is made with, besides its settings."""
    return {
        "model": identity(model),
        "versions": library_versions(),
        "directions_sha256": sha256_file(Path(run) / DIRECTIONS_FILE),
        "contrast_sha256": sha256_file(Path(run) / CONTRAST_FILE),
        "further_directions_sha256": {
            name: sha256_json(found.directions.tolist()) for name, found in inputs.further.items()
        },
        "prompts_sha256": sha256_json([list(prompt) for prompt in inputs.prompts]),
        "neutral_prompt": dict(inputs.directions.provenance["neutral_prompt"]),
        "instruction": instruction,
    }


def _shaping(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What of it must be the same when a sweep is gone on with.

    Not the model's fingerprint: it differs between machines in its last digits, and `check_model`
    compares it with the directions' within a tolerance.
    """
    left_out = {"model": {"fingerprint"}, "versions": {"creativity-lens"}}
    return dict(provenance) | {
        table: {key: value for key, value in provenance[table].items() if key not in keys}
        for table, keys in left_out.items()
    }


def _names(
    config: SweepConfig, run: str | os.PathLike[str], provenance: Mapping[str, Any]
) -> dict[str, str]:
    """What the keys of the provenance are called when they differ."""
    corpus = config.prompts_path is None
    names = {
        "directions_sha256": f"the directions file {Path(run) / DIRECTIONS_FILE}",
        "contrast_sha256": f"the file of texts {Path(run) / CONTRAST_FILE}",
        "prompts_sha256": (
            f"the choice of prompts from the corpus {config.prompts}"
            if corpus
            else f"the prompts file {config.prompts}"
        ),
        "instruction": "the creative instruction",
        "neutral_prompt.system": "the neutral system prompt",
        "neutral_prompt.user": "the neutral prompt",
        **{f"model.{key}": f"the model's {key}" for key in provenance["model"]},
        **{f"versions.{name}": f"the version of {name}" for name in provenance["versions"]},
        **{
            f"further_directions_sha256.{name}": f"the direction {name} in {path}"
            for name, path in config.direction_paths.items()
        },
    }
    return {f"provenance.{key}": name for key, name in names.items()}


def _run(
    work: SweepWork,
    kept: RunStore,
    standing: Standing,
    max_rows: int,
    on_batch: OnBatch | None,
    note: Callable[[str], None],
) -> None:
    done = kept.metrics()[["cell_id", "prompt_id", "seed", "metric", "read_layer", "value"]]
    standing.add([_metric_row(*values) for values in done.itertuples(index=False, name=None)])

    def watched(items: Sequence[Item]) -> BatchResult:
        result = work(items)
        standing.add(result.metrics)
        return result

    def report(progress: Progress) -> None:
        if on_batch is not None:
            on_batch(progress, standing.best())

    batches = plan_batches(work.items(), token_budget=work.config.batch_tokens)
    execute(batches, watched, kept, max_rows=max_rows, on_progress=report, on_note=note)


def _metric_row(
    cell: str, prompt: str, seed: Any, metric: str, layer: Any, value: float
) -> MetricRow:
    import pandas as pd

    # A missing layer is pandas' NA, which is equal to nothing; others are NumPy's integers.
    return MetricRow(cell, prompt, int(seed), metric, None if pd.isna(layer) else int(layer), value)


def _controls(
    model: LensModel,
    rows: Sequence[ContrastRow],
    directions: DirectionSet,
    cells: Sequence[Cell],
    store: str | os.PathLike[str],
    stages: Stages,
) -> dict[str, DirectionSet]:
    names = direction_names(cells)
    with stages.stage("control directions", len(names)) as advance:
        found = control_directions(
            model, rows, directions, names, store=store, on_reading=stages.report
        )
        advance(len(names))
    return found


def _embedder(note: Callable[[str], None]) -> Embedder | None:
    try:
        return load_embedder()
    except MissingDependencyError as error:
        note(f"relevance and embedding diversity are left out: {error}")
        return None


def _throughput(n_tokens: int, generate: float, measure: float) -> dict[str, float]:
    return {
        "n_tokens": float(n_tokens),
        "generated_tokens_per_second": n_tokens / generate if generate else float("nan"),
        "tokens_per_second_with_measuring": (
            n_tokens / (generate + measure) if generate + measure else float("nan")
        ),
    }


def _warnings(
    tables: SweepTables,
    found: Mapping[str, "DataFrame"],
    notes: Sequence[tuple[str, str]],
    embedder: Embedder | None,
) -> tuple[str, ...]:
    """What a reader must know first."""
    said = []
    seen = tables.prompts.loc[tables.prompts["in_contrast"], "prompt_id"].tolist()
    if seen:
        said.append(
            f"{len(seen)} of {len(tables.prompts)} prompts, such as {seen[0]}, have a premise that "
            "the direction was made from: what it does there says little of new prompts."
        )
    for split, n in tables.prompts["split"].value_counts().items():
        if n < FEW_PROMPTS:
            said.append(
                f"There are only {n} {split} prompts, and intervals over so few are too narrow."
            )
    if found["recommended"].empty:
        said.append(
            "No cell raises the score on dev prompts within the budgets, so none is recommended."
        )
    elif int(found["recommended"]["layer"].iloc[0]) == tables.read_layer:
        said.append(
            "The recommended cell steers at the layer at which the score is read: look at the "
            "other reading layers too."
        )
    if embedder is None:
        said.append(
            "wordllama is not installed, so relevance and embedding diversity were not measured."
        )
    # Parts that a killed session left are no shortage, and change nothing.
    short = sum(note.endswith(OUT_OF_MEMORY) for _, note in notes)
    if short:
        said.append(f"{short} batches were run in parts {OUT_OF_MEMORY}.")
    return tuple(said)


def _write(home: Path, result: SweepResult, manifest: Mapping[str, Any]) -> None:
    """Everything but the report; the manifest last."""
    for name, table in result.tables.items():
        write_table(home / name, table)
    write_json(home / "claims.json", [claim_record(claim) for claim in result.claims])
    write_json(
        home / MANIFEST_FILE,
        {
            **manifest,
            "config": result.config.to_dict(),
            "provenance": dict(result.provenance),
            "read_layer": result.read_layer,
            "warnings": list(result.warnings),
            "tables": sorted(result.tables),
            "seconds": {name: round(value, 1) for name, value in result.seconds.items()},
            "throughput": {name: round(value, 1) for name, value in result.throughput.items()},
        },
    )
