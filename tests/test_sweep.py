"""A whole sweep of a tiny model: its texts, its numbers, and that neither kill nor crash shows."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal

import creativity_lens as cl
from creativity_lens.activations.reading import Passage, read_passages
from creativity_lens.directions.direction import DirectionSet
from creativity_lens.directions.nuisance import read_nuisances
from creativity_lens.errors import InputError, MissingDependencyError
from creativity_lens.hooks.intervene import RowInterventions
from creativity_lens.io import finite_json, read_json, write_jsonl
from creativity_lens.measures.embedding import load_embedder, relevance
from creativity_lens.measures.over_seeds import (
    embedding_diversity,
    pooled_distinct_n,
    self_similarity,
)
from creativity_lens.measures.text import TEXT_MEASURES
from creativity_lens.models import loading
from creativity_lens.models.batching import left_pad
from creativity_lens.models.chat import neutral_context, render_prompt
from creativity_lens.models.protocol import read
from creativity_lens.prompts.instructions import load_instructions
from creativity_lens.prompts.pairs import load_contrast
from creativity_lens.runs import sweep_work
from creativity_lens.runs.cells import COLUMNS, cells_of
from creativity_lens.runs.controls import CONTROL_PAIRS, control_directions
from creativity_lens.runs.rows import MetricRow
from creativity_lens.runs.standing import Standing
from creativity_lens.runs.store import FILE, RunStore
from creativity_lens.runs.sweep_config import SweepConfig
from creativity_lens.runs.sweep_prompts import SweepPrompt, sweep_prompts
from creativity_lens.runs.sweep_texts import METRIC_COLUMNS, TEXT_COLUMNS
from creativity_lens.runs.sweep_work import SweepWork
from creativity_lens.steering.steer import interventions
from creativity_lens.studies import sweep as study
from creativity_lens.studies.claims import claim_record
from creativity_lens.studies.sweep import SweepResult, sweep
from creativity_lens.studies.sweep_budgets import Budgets
from tests.test_cli import everything_below
from tests.tiny import N_LAYERS
from tests.tiny_sweep import SMALL, ends

N_NEW = 8
INSTRUCTION = load_instructions().creative[0]
RICH = SMALL | {
    "strengths": [-0.5, 0.5],
    "modes": ["add", "ablate", "clamp", "rotate"],
    "around": "midpoint",
    "n_prompts": 6,
    "read_layers": "all",
    "batch_tokens": 4096,
    "directions": {"other": "other.safetensors"},
    "steer_with": ["creativity", "other"],
    "rivals": {
        "temperatures": [1.4],
        "min_p": [0.2],
        "shuffled": 1,
        "unrelated": ["formality"],
        "strengths": [0.5],
    },
    "necessity": {"layers": ["each", "all"]},
}
KEY = ["cell_id", "prompt_id", "seed"]


class Swept(NamedTuple):
    """A sweep that is done."""

    config: SweepConfig
    result: SweepResult
    out: Path

    @property
    def texts(self) -> pd.DataFrame:
        """Its texts with their token ids."""
        with RunStore.read(self.out) as kept:
            return kept.texts()

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.out / f"{name}.parquet")


@pytest.fixture(scope="module", autouse=True)
def _early_ends():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("creativity_lens.generation.decode.stop_ids", ends)
        yield


@pytest.fixture(scope="module")
def folder(llama) -> Path:
    """Where the model is saved."""
    return Path(llama.original_model.config.name_or_path)


@pytest.fixture(scope="module")
def run(llama, pairs, tmp_path_factory) -> Path:
    """The folder of an extraction run."""
    config = cl.ExtractionConfig(sampling=cl.Sampling(max_new_tokens=N_NEW))
    home = tmp_path_factory.mktemp("extraction") / "run"
    return cl.save_run(cl.extract(llama, pairs, config), home, manifest={})


@pytest.fixture(scope="module")
def directions(run) -> DirectionSet:
    return DirectionSet.load(run / "directions.safetensors")


@pytest.fixture(scope="module")
def other(directions) -> DirectionSet:
    """A further direction: the run's, with the dimensions in another order."""
    return replace(directions, directions=directions.directions.flip(1))


@pytest.fixture(scope="module")
def rich(llama, run, other, tmp_path_factory) -> Swept:
    """Every kind of cell and every mode."""
    home = tmp_path_factory.mktemp("rich")
    other.save(home / "other.safetensors")
    config = SweepConfig.from_dict(RICH, folder=home)
    return Swept(config, sweep(llama, config, run=run, out=home / "out"), home / "out")


@pytest.fixture(scope="module")
def small(llama, run, tmp_path_factory) -> Swept:
    """A few batches, run to their end."""
    config, out = SweepConfig.from_dict(SMALL), tmp_path_factory.mktemp("small") / "out"
    return Swept(config, sweep(llama, config, run=run, out=out), out)


@pytest.fixture
def copied(small, tmp_path) -> Path:
    """The folder of the small sweep, to be tried things on."""
    return shutil.copytree(small.out, tmp_path / "copied")


@pytest.fixture
def batches(monkeypatch) -> list[int]:
    """How many items each call of the work was given."""
    found, real = [], SweepWork.__call__

    def call(self, items):
        found.append(len(items))
        return real(self, items)

    monkeypatch.setattr(SweepWork, "__call__", call)
    return found


def assert_same(out: Path, done: Swept) -> None:
    """The texts are the same, and the numbers but for rounding."""
    again = Swept(done.config, done.result, out)
    assert_frame_equal(again.texts, done.texts)
    assert_frame_equal(again.table("texts"), done.table("texts"))
    assert_frame_equal(again.table("metrics"), done.table("metrics"), rtol=1e-5, atol=1e-5)


# --- the tables --------------------------------------------------------------------------------


def test_the_texts_are_every_cell_on_every_prompt_of_its_split_and_every_seed(rich):
    texts, cells, prompts = (rich.table(name) for name in ("texts", "cells", "prompts"))
    assert tuple(texts.columns) == TEXT_COLUMNS
    assert dict(texts.dtypes.astype(str)) == dict.fromkeys(TEXT_COLUMNS, "str") | {
        "layer": "Int64",
        "strength": "float64",
        "seed": "int64",
    }
    expected = {
        (cell.cell_id, prompt.prompt_id, seed)
        for cell in cells.itertuples()
        for prompt in prompts.itertuples()
        for seed in (0, 1)
        if cell.split in ("all", prompt.split)
    }
    assert len(texts) == len(expected)
    assert set(texts[KEY].itertuples(index=False, name=None)) == expected
    assert set(texts["finish_reason"]) == {"stop", "length"}
    about = cells.set_index("cell_id")
    for name in ("layer", "strength", "unit", "mode", "direction"):
        told = texts[name].reset_index(drop=True)
        known = about.loc[texts["cell_id"], name].reset_index(drop=True)
        pd.testing.assert_series_equal(told, known, check_names=False)


def test_the_cells_and_prompts_have_their_columns(rich):
    cells, prompts = rich.table("cells"), rich.table("prompts")
    assert tuple(cells.columns) == COLUMNS
    assert set(cells["kind"]) == {
        "unsteered",
        "steered",
        "control",
        "instruction",
        "sampling",
        "necessity",
    }
    assert list(prompts.columns) == ["prompt_id", "prompt", "split", "in_contrast"]
    assert prompts["split"].tolist() == ["dev", "test"] * 3
    assert not prompts["in_contrast"].any()  # a shipped corpus leaves the run's premises out


def test_the_numbers_are_long_and_each_comes_once(rich):
    metrics, texts = rich.table("metrics"), rich.table("texts")
    assert tuple(metrics.columns) == METRIC_COLUMNS
    assert dict(metrics.dtypes.astype(str)) == {
        "cell_id": "str",
        "prompt_id": "str",
        "seed": "Int64",
        "metric": "str",
        "read_layer": "Int64",
        "value": "float64",
    }
    assert not metrics.duplicated(["cell_id", "prompt_id", "seed", "metric", "read_layer"]).any()
    of_texts = metrics[metrics["seed"].notna()]
    assert of_texts[KEY].drop_duplicates().shape[0] == len(texts)
    counts = of_texts["metric"].value_counts().to_dict()
    assert counts == dict.fromkeys(("nll", "kl", "relevance", *TEXT_MEASURES), len(texts)) | {
        "score": N_LAYERS * len(texts)
    }
    scores = of_texts[of_texts["metric"] == "score"]
    assert scores["read_layer"].value_counts().to_dict() == dict.fromkeys(range(3), len(texts))
    assert metrics.loc[metrics["metric"] != "score", "read_layer"].isna().all()
    of_prompts = metrics[metrics["seed"].isna()]
    n_groups = texts[["cell_id", "prompt_id"]].drop_duplicates().shape[0]
    assert of_prompts["metric"].value_counts().to_dict() == dict.fromkeys(
        ("pooled_distinct_2", "embedding_diversity", "self_similarity_3"), n_groups
    )


def test_texts_are_scored_also_at_the_layer_that_is_steered(small):
    assert small.config.read_layers == (2,)
    assert small.config.layers == (1,)
    metrics = small.table("metrics")
    scores = metrics[metrics["metric"] == "score"]
    assert scores["read_layer"].value_counts().to_dict() == dict.fromkeys(
        (1, 2), len(small.table("texts"))
    )


def test_relevance_and_diversity_are_those_of_the_texts(rich):
    texts, metrics = rich.table("texts"), rich.table("metrics")
    # Against the premise alone: the words of the request are the same in all prompts.
    premises = {pair.id: pair.premise for pair in load_contrast("stories")}
    embed = load_embedder()
    found = metrics.set_index(["metric", "cell_id", "prompt_id", "seed"])["value"]
    about = [premises[name] for name in texts["prompt_id"]]
    near = relevance(texts["text"].tolist(), about, embed)
    key = texts[KEY].astype({"seed": "Int64"})
    told = [found[("relevance", *row)] for row in key.itertuples(index=False, name=None)]
    assert told == pytest.approx(near, nan_ok=True)
    over = metrics[metrics["seed"].isna()].set_index(["metric", "cell_id", "prompt_id"])["value"]
    for group, rows in texts.groupby(["cell_id", "prompt_id"]):
        written = rows["text"].tolist()
        assert len(written) == 2
        for name, value in {
            "pooled_distinct_2": pooled_distinct_n(written),
            "self_similarity_3": self_similarity(written),
            "embedding_diversity": embedding_diversity(embed(written)),
        }.items():
            assert over[(name, *group)] == pytest.approx(value, nan_ok=True)


# --- what was done to the texts ----------------------------------------------------------------


@pytest.fixture(scope="module")
def known(llama, run, directions, other, rich, tmp_path_factory) -> dict[str, DirectionSet]:
    """All directions of the rich sweep, by name."""
    _, rows = cl.load_run(run)
    names = set(rich.table("cells")["direction"])
    drawn = control_directions(
        llama, rows, directions, names, store=tmp_path_factory.mktemp("store")
    )
    return {"creativity": directions, "other": other, **drawn}


def steering(cell) -> dict[str, object]:
    """What a row of `cells` says, as `generate` and `interventions` take it."""
    return {
        "layers": range(N_LAYERS) if pd.isna(cell.layer) else int(cell.layer),
        "strength": cell.strength,
        "unit": "absolute" if cell.unit == "share" else cell.unit,
        "mode": cell.mode,
        "scope": cell.scope,
        "schedule": cell.schedule,
        "around": "midpoint" if cell.mode in ("ablate", "clamp") else "zero",
    }


def test_each_text_is_what_generate_makes_with_the_same_steering(llama, rich, directions, known):
    texts = rich.table("texts").set_index(KEY)["text"]
    prompts = rich.table("prompts")
    asked = dict(prompts[["prompt_id", "prompt"]].itertuples(index=False, name=None))
    test = set(prompts.loc[prompts["split"] == "test", "prompt_id"])
    differ = 0
    for cell in rich.table("cells").itertuples():
        how = {}
        if cell.direction != "none":
            how = {"directions": known[cell.direction], **steering(cell)}
        done = cl.generate(
            llama,
            {name: text for name, text in asked.items() if cell.split == "all" or name in test},
            system=INSTRUCTION
            if cell.instruction
            else directions.provenance["neutral_prompt"]["system"],
            sampling=cl.Sampling(N_NEW, cell.temperature, cell.top_p, cell.min_p),
            seed=1,
            **how,
        )
        assert [texts[cell.cell_id, one.id, 1] for one in done] == [one.response for one in done]
        differ += any(one.response != texts["unsteered", one.id, 1] for one in done)
    assert differ > 0.9 * (len(rich.table("cells")) - 1)


def passages_of(llama, rich, directions) -> tuple[pd.DataFrame, list[Passage]]:
    """All texts that are not empty, and how the ruler reads them."""
    texts = rich.texts
    texts = texts[texts["response_ids"].map(len) > 0].reset_index(drop=True)
    prompts = rich.table("prompts").set_index("prompt_id")["prompt"]
    neutral = directions.provenance["neutral_prompt"]
    contexts = {
        name: tuple(neutral_context(llama, neutral, prompt=prompt))
        for name, prompt in prompts.items()
    }
    return texts, [
        Passage(f"{row}", contexts[text.prompt_id], text.response_ids)
        for row, text in enumerate(texts.itertuples())
    ]


def numbers(rich, texts: pd.DataFrame, metric: str, layer: int | None = None) -> np.ndarray:
    """A number of each of some texts."""
    metrics = rich.table("metrics")
    metrics = metrics[metrics["metric"] == metric]
    if layer is not None:
        metrics = metrics[metrics["read_layer"] == layer]
    keys = texts[KEY].astype({"seed": "Int64"})
    return keys.merge(metrics, on=KEY, how="left", validate="one_to_one")["value"].to_numpy()


def test_score_and_likelihood_are_read_by_the_unsteered_model_after_the_neutral_prompt(
    llama, rich, directions
):
    """Instruction cells too: their texts are not read after the instruction."""
    texts, passages = passages_of(llama, rich, directions)
    readings = read_passages(
        llama, passages, layers=range(N_LAYERS), unit_tokens=True, likelihood=True
    )
    assert numbers(rich, texts, "nll") == pytest.approx(readings.nll, rel=1e-5)
    for layer in range(N_LAYERS):
        # A mean of cosines is the mean unit token's product with the unit direction.
        cosines = readings.means[:, layer] @ directions.directions[layer].double()
        assert numbers(rich, texts, "score", layer) == pytest.approx(cosines.numpy(), abs=1e-5)


def teacher_forced(model, context, response, chosen=()) -> torch.Tensor:
    """Log-probabilities at each token of a response that is given."""
    ids, mask = left_pad([(*context, *response)])
    rows = RowInterventions([tuple(chosen)], [len(context)])
    rows.aim(0, ids.shape[1])
    logits = read(model, ids, mask, hooks=rows.hooks(), keep_logits=len(response) + 1)
    return logits[0, :-1].double().log_softmax(dim=-1)


def test_kl_is_that_of_the_two_models_predictions_on_the_text(llama, rich, known, directions):
    texts, passages = passages_of(llama, rich, directions)
    prompts = rich.table("prompts").set_index("prompt_id")["prompt"]
    cells = {cell.cell_id: cell for cell in rich.table("cells").itertuples()}
    found = numbers(rich, texts, "kl")
    assert len({len(p.text_ids) for p in passages}) > 3
    # One seed and one prompt of each cell.
    chosen = texts[texts["seed"] == 0].groupby("cell_id").head(1).index
    assert len(chosen) > 0.8 * len(cells)
    for row in chosen:
        text, passage = texts.loc[row], passages[row]
        cell, context = cells[text["cell_id"]], passage.context_ids
        if cell.instruction:
            context = render_prompt(llama, prompts[text["prompt_id"]], system=INSTRUCTION)
        how = ()
        if cell.direction != "none":
            how = interventions(known[cell.direction], **steering(cell))
        p = teacher_forced(llama, context, passage.text_ids, how)
        q = teacher_forced(llama, passage.context_ids, passage.text_ids)
        kl = (p.exp() * (p - q)).sum(dim=-1).mean()
        assert found[row] == pytest.approx(float(kl), rel=1e-4, abs=2e-6)
    plain = texts["cell_id"].isin([c.cell_id for c in cells.values() if c.direction == "none"])
    plain &= texts["cell_id"] != "instruction"
    assert 0 <= found[plain].min() <= found[plain].max() < 1e-5
    assert np.median(found[~plain]) > 0.01


def test_an_empty_response_has_no_reading_and_is_flagged(rich):
    texts = rich.texts
    empty = texts["response_ids"].map(len) == 0
    assert empty.any()
    assert set(texts.loc[empty, "finish_reason"]) == {"stop"}
    for metric, layer in [("nll", None), ("kl", None), ("relevance", None)] + [
        ("score", n) for n in range(N_LAYERS)
    ]:
        assert np.isnan(numbers(rich, texts[empty], metric, layer)).all()
        if metric != "relevance":  # a text of nothing but space has none either
            assert np.isfinite(numbers(rich, texts[~empty], metric, layer)).all()
    assert (numbers(rich, texts[empty], "degenerate_empty") == 1).all()
    assert (numbers(rich, texts[empty], "degenerate") == 1).all()
    assert numbers(rich, texts, "n_tokens").tolist() == texts["response_ids"].map(len).tolist()


def test_a_batch_of_empty_texts_is_no_error(llama, run, directions, monkeypatch):
    monkeypatch.setattr(
        "creativity_lens.generation.decode.stop_ids", lambda model: range(model.cfg.d_vocab)
    )
    config = SweepConfig.from_dict(
        SMALL | {"rivals": {"within": 0, "shuffled": 0, "unrelated": []}}
    )
    prompts = sweep_prompts(config)
    cells = cells_of(config, N_LAYERS)
    work = SweepWork(
        llama, config, cells, prompts, {"creativity": directions}, instruction="Be creative."
    )
    batch = work(work.items())
    assert {text.text for text in batch.texts} == {""}
    values = {name: [m.value for m in batch.metrics if m.metric == name] for name in ("nll", "kl")}
    assert all(math.isnan(value) for found in values.values() for value in found)


def test_the_result_is_what_is_written(small, rich):
    for done in (small, rich):
        written = {path.stem for path in done.out.glob("*.parquet")}
        assert written == {path.stem for path in done.out.glob("*.csv")}
        assert written == set(done.result.tables)
        for name in written:
            assert len(done.table(name)) == len(done.result.tables[name])
        claims = finite_json([claim_record(claim) for claim in done.result.claims])
        assert read_json(done.out / "claims.json") == claims
        manifest = json.loads((done.out / "manifest.json").read_text())
        assert manifest["config"] == done.config.to_dict()
        assert manifest["warnings"] == list(done.result.warnings)
        assert manifest["tables"] == sorted(written)
        n_tokens = done.texts["response_ids"].map(len).sum()
        assert done.result.throughput["n_tokens"] == n_tokens
    assert len(rich.result.claims) >= 2


# --- interrupted and resumed -------------------------------------------------------------------


def n_batches(swept: Swept) -> int:
    with RunStore.read(swept.out) as kept:
        return len(kept.done())


@pytest.mark.parametrize("done", [0, 2])
def test_an_interrupted_sweep_goes_on_where_it_was(
    llama, run, small, tmp_path, monkeypatch, batches, done
):
    counted = SweepWork.__call__

    def interrupted(self, items):
        if len(batches) == done:
            raise KeyboardInterrupt
        return counted(self, items)

    monkeypatch.setattr(SweepWork, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sweep(llama, small.config, run=run, out=tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").glob("*.parquet")) == []
    monkeypatch.setattr(SweepWork, "__call__", counted)
    seen = []
    sweep(
        llama,
        small.config,
        run=run,
        out=tmp_path / "out",
        on_batch=lambda progress, best: seen.append((progress.done_batches, best)),
    )
    assert len(batches) == n_batches(small) > 3
    assert [n for n, _ in seen] == list(range(done, n_batches(small) + 1))
    assert_same(tmp_path / "out", small)


def test_a_killed_sweep_goes_on_where_it_was(llama, folder, run, small, tmp_path, batches):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "tests.tiny_sweep", folder, run, out, "2"]
    root = Path(__file__).parent.parent
    with subprocess.Popen(
        [str(part) for part in command],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        said = []
        for line in process.stdout:
            said.append(line.strip())
            if said[-1] == "asleep":
                os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert said == ["0", "1", "2", "asleep"]
    with RunStore.read(out) as kept:
        assert len(kept.done()) == 2
        n_done = len(kept.texts())
    sweep(llama, small.config, run=run, out=out)
    # In parts, since the kill may have been for want of memory.
    assert sum(batches) == len(small.texts) - n_done
    assert_same(out, small)


def test_a_finished_sweep_run_again_changes_nothing_and_generates_nothing(
    llama, run, small, copied, monkeypatch, batches
):
    monkeypatch.setattr(sweep_work, "generate_batch", None)
    before = everything_below(copied)
    notes = []
    result = sweep(llama, small.config, run=run, out=copied, on_note=notes.append)
    after = everything_below(copied)
    assert batches == notes == []
    assert after.keys() == before.keys()
    # The manifest says how long this session took.
    assert {name for name in after if after[name] != before[name]} <= {"manifest.json"}
    assert result.warnings == small.result.warnings
    assert result.seconds["generating"] == small.result.seconds["generating"]


def test_the_best_cell_so_far_is_remembered_by_a_later_session(llama, run, small, copied):
    seen = []
    sweep(llama, small.config, run=run, out=copied, on_batch=lambda _, best: seen.append(best))
    (best,) = seen
    recommended = small.result.tables["recommended"]
    assert best.startswith(f"{recommended['cell_id'].iloc[0]} (+")


# --- what a folder holds already ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"strengths": [0.7]}, "strengths was [1.0, 1.5] and is now [0.7]"),
        ({"sampling": {"max_new_tokens": 7}}, "sampling.max_new_tokens was 8 and is now 7"),
        ({"prompts": "poetry"}, 'prompts was "stories" and is now "poetry"'),
        ({"seeds": [0, 1, 2]}, "seeds was [0, 1] and is now [0, 1, 2]"),
    ],
)
def test_a_sweep_of_other_settings_is_refused(llama, run, copied, changes, key):
    before = everything_below(copied)
    with pytest.raises(InputError) as refused:
        sweep(llama, SweepConfig.from_dict(SMALL | changes), run=run, out=copied)
    assert key in str(refused.value)
    assert "Choose another --out" in str(refused.value)
    assert everything_below(copied) == before


def test_other_budgets_choose_anew_among_the_same_texts(llama, run, small, copied, batches):
    config = SweepConfig.from_dict(SMALL | {"nll_budget": 0.0, "degenerate_budget": 0.0})
    result = sweep(llama, config, run=run, out=copied)
    assert batches == []
    assert_frame_equal(result.tables["texts"], small.result.tables["texts"])
    before, after = (r.tables["pareto"]["affordable"].sum() for r in (small.result, result))
    assert after < before


def test_another_run_is_refused(llama, run, small, copied, directions, tmp_path):
    another = shutil.copytree(run, tmp_path / "another")
    replace(directions, directions=-directions.directions).save(another / "directions.safetensors")
    before = everything_below(copied)
    with pytest.raises(InputError, match=r"the directions file .* has changed since"):
        sweep(llama, small.config, run=another, out=copied)
    assert everything_below(copied) == before


# --- memory ------------------------------------------------------------------------------------


def test_a_batch_that_does_not_fit_is_halved_and_its_texts_are_the_same(
    llama, run, small, tmp_path, monkeypatch
):
    real, rows = sweep_work.generate_batch, []

    def scarce(model, requests, **kwargs):
        rows.append(len(requests))
        if len(requests) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB.")
        return real(model, requests, **kwargs)

    monkeypatch.setattr(sweep_work, "generate_batch", scarce)
    notes = []
    result = sweep(llama, small.config, run=run, out=tmp_path, on_note=notes.append)
    assert max(rows) > 4
    assert rows.count(max(rows)) == 1  # what did not fit once is not tried again
    assert any("out of memory" in note and "half as many" in note for note in notes)
    (warning,) = set(result.warnings) - set(small.result.warnings)
    assert warning == f"{n_batches(small)} batches were run in parts because memory ran out."
    assert_same(tmp_path, small)


# --- warnings, and prompts of one's own --------------------------------------------------------


@pytest.fixture
def prompt_file(pairs, tmp_path) -> Path:
    """Four prompts, of which one has a premise that the run was made from."""
    rows = [
        {"id": "seen", "prompt": "Tell me.", "premise": pairs[0].premise, "split": "dev"},
        {"id": "d", "prompt": "Write of a bridge.", "split": "dev"},
        {"id": "t", "prompt": "Write of a river.", "split": "test"},
        {"id": "u", "prompt": "Write of a house.", "split": "test"},
    ]
    path = tmp_path / "prompts.jsonl"
    write_jsonl(path, rows)
    return path


@pytest.fixture
def own(prompt_file) -> SweepConfig:
    return SweepConfig.from_dict(
        SMALL | {"prompts": prompt_file.name, "seeds": [0]}, folder=prompt_file.parent
    )


def test_warnings_say_what_a_reader_must_know_first(llama, run, own, tmp_path, monkeypatch):
    def missing():
        raise MissingDependencyError("wordllama is not here.")

    monkeypatch.setattr(study, "load_embedder", missing)
    notes = []
    result = sweep(llama, own, run=run, out=tmp_path / "out", on_note=notes.append)
    said = "\n".join(result.warnings)
    assert "1 of 4 prompts, such as seen, have a premise that the direction was made" in said
    assert "only 2 dev prompts" in said
    assert "only 2 test prompts" in said
    assert "wordllama is not installed" in said
    assert any("wordllama is not here" in note for note in notes)
    metrics = result.tables["metrics"]
    assert not metrics["metric"].isin(["relevance", "embedding_diversity"]).any()
    assert metrics["seed"].notna().all()  # one seed: nothing to compare
    assert result.provenance["embedder"] is None
    prompts = result.tables["prompts"].set_index("prompt_id")
    assert prompts["in_contrast"].to_dict() == {"seen": True, "d": False, "t": False, "u": False}


def test_a_prompt_file_that_has_changed_is_refused(llama, run, own, prompt_file, tmp_path):
    out = tmp_path / "out"
    sweep(llama, own, run=run, out=out)
    prompt_file.write_text(prompt_file.read_text().replace("a bridge", "a bridge at night"))
    before = everything_below(out)
    with pytest.raises(InputError, match=r"the prompts file prompts\.jsonl has changed since"):
        sweep(llama, own, run=run, out=out)
    assert everything_below(out) == before


def test_enough_prompts_and_memory_are_not_warned_of(small):
    assert not any("memory" in w or "premise" in w for w in small.result.warnings)
    assert not any("wordllama" in w for w in small.result.warnings)


# --- the best cell so far ----------------------------------------------------------------------


@pytest.fixture
def standing() -> Standing:
    prompts = [
        SweepPrompt(name, name, "dev" if name < "t" else "test", "", name) for name in "abtu"
    ]
    config = SweepConfig.from_dict(SMALL | {"strengths": [0.1, 0.2], "rivals": {}})
    allow = Budgets(nll=0.5, degenerate=0.1).allow
    return Standing(cells_of(config, N_LAYERS), prompts, read_layer=2, allow=allow)


def measured(cell, score, nll, prompts="ab", *, layer=2, seed=0) -> list[MetricRow]:
    return [
        row
        for prompt in prompts
        for row in (
            MetricRow(cell, prompt, seed, "score", layer, score),
            MetricRow(cell, prompt, seed, "nll", None, nll),
            MetricRow(cell, prompt, seed, "degenerate", None, 0.0),
            MetricRow(cell, prompt, seed, "n_words", None, 1e6),
        )
    ]


WEAK, STRONG = "add/creativity/L1/+0.1", "add/creativity/L1/+0.2"


def test_the_best_so_far_is_the_affordable_cell_with_the_largest_change(standing):
    assert standing.best() == ""
    standing.add(measured("unsteered", 0.1, 2.0))
    assert standing.best() == ""
    standing.add(measured(WEAK, 0.15, 2.1))
    assert standing.best() == f"{WEAK} (+0.050 for +0.10 nats)"
    standing.add(measured(STRONG, 0.3, 2.5))  # at the budget
    assert standing.best() == f"{STRONG} (+0.200 for +0.50 nats)"
    standing.add(measured(STRONG, 0.3, 2.7))  # measured again: beyond it
    assert standing.best().startswith(WEAK)


@pytest.mark.parametrize(
    "rows",
    [
        measured(STRONG, 0.9, 2.0, "tu"),  # test prompts
        measured(STRONG, 0.9, 2.0, layer=1),  # another read layer
        measured(STRONG, 0.9, 2.0, seed=1),  # a text that has no partner yet
        measured(STRONG, 0.05, 2.0),  # lowers the score
        measured(STRONG, math.nan, math.nan),  # empty texts
        measured("add/within-1/L1/+0.2", 0.9, 2.0),  # a control
        measured("temperature/1.4", 0.9, 2.0),
    ],
)
def test_the_best_so_far_looks_at_nothing_else(standing, rows):
    standing.add(measured("unsteered", 0.1, 2.0) + measured("unsteered", 0.1, 2.0, "tu"))
    standing.add(measured(WEAK, 0.15, 2.1))
    standing.add(rows)
    assert standing.best() == f"{WEAK} (+0.050 for +0.10 nats)"


def test_the_best_so_far_pairs_texts_and_passes_over_empty_ones(standing):
    standing.add(measured("unsteered", 0.1, 2.0, "a") + measured("unsteered", 0.5, 3.0, "b"))
    standing.add(measured(WEAK, 0.2, 2.2, "a"))
    assert standing.best() == f"{WEAK} (+0.100 for +0.20 nats)"
    standing.add(measured(WEAK, math.nan, math.nan, "b"))
    assert standing.best() == f"{WEAK} (+0.100 for +0.20 nats)"
    standing.add(measured(WEAK, 0.9, 3.0, "b"))
    assert standing.best() == f"{WEAK} (+0.250 for +0.10 nats)"


# --- control directions ------------------------------------------------------------------------

CONTROLS = ("within-1", "within-3", "shuffled-2", "unrelated:formality", "unrelated:genre")


@pytest.fixture(scope="module")
def controls(llama, run, directions, tmp_path_factory):
    """`control_directions` of the run, with a store that is kept, and what it read."""
    _, rows = cl.load_run(run)
    store, read_texts = tmp_path_factory.mktemp("controls"), []

    def _controls(*names, store=store, rows=rows):
        read_texts.clear()
        found = control_directions(
            llama,
            rows,
            directions,
            names,
            store=store,
            on_reading=lambda what, done, total: read_texts.append((what, done, total)),
        )
        return found, list(read_texts)

    return _controls


def test_control_directions_are_unit_vectors_that_keep_the_norms(controls, directions):
    found, read_texts = controls("creativity", *CONTROLS, "other", "within-1")
    assert set(found) == set(CONTROLS)
    for one in found.values():
        assert one.directions.dtype == torch.float32
        assert one.directions.norm(dim=-1).tolist() == pytest.approx([1] * N_LAYERS, abs=1e-6)
        assert torch.equal(one.residual_norms, directions.residual_norms)
        assert one.provenance["model"] == directions.provenance["model"]
    stacked = torch.stack([one.directions for one in found.values()])
    cosines = torch.einsum("nld,mld->nml", stacked, stacked).abs()
    cosines -= 2 * torch.eye(len(CONTROLS))[:, :, None]
    assert cosines.max() < 0.999  # no two are the same
    # Each set of texts is read once, whatever the number of directions made of it.
    ends_of = [(what, total) for what, done, total in read_texts if done == total]
    assert ends_of == [
        ("texts of the run", 12),
        ("passages: formality", 2 * CONTROL_PAIRS),
        ("passages: genre", 2 * CONTROL_PAIRS),
    ]


def test_control_directions_are_the_same_again_and_read_from_the_store(controls, tmp_path):
    first, _ = controls(*CONTROLS)
    again, read_texts = controls(*CONTROLS)
    alone, _ = controls("within-1", "unrelated:genre", store=tmp_path)
    assert read_texts == []
    for name, one in first.items():
        assert torch.equal(one.directions, again[name].directions)
    for name, one in alone.items():  # whatever else was asked for
        assert torch.equal(one.directions, first[name].directions)


def test_an_unrelated_direction_is_the_nuisances_own(llama, controls, directions):
    found, _ = controls("unrelated:formality")
    (formality,) = read_nuisances(
        llama,
        ["formality"],
        neutral_prompt=directions.provenance["neutral_prompt"],
        limit=CONTROL_PAIRS,
    )
    cosines = (found["unrelated:formality"].directions.double() * formality.direction).sum(dim=-1)
    assert cosines.tolist() == pytest.approx([1] * N_LAYERS, abs=1e-5)


def test_directions_within_the_classes_hold_nothing_of_the_contrast(controls, run):
    """With every creative text the same, and every uncreative one, there is nothing within."""
    _, rows = cl.load_run(run)
    one_text = [
        replace(row, prompt_ids=side.prompt_ids, response_ids=side.response_ids)
        for row, side in zip(rows, [rows[0], rows[1]] * (len(rows) // 2), strict=True)
    ]
    with pytest.raises(InputError, match="all equal at some layer"):
        controls("within-1", rows=one_text)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("unrelated:weather", "unknown nuisance 'weather'; choose from formality"),
        ("within-0", "'within-0' names no random direction; they are numbered from 1"),
        ("shuffled-x", "'shuffled-x' names no random direction"),
    ],
)
def test_a_control_that_there_is_not_is_refused(controls, name, message):
    with pytest.raises(InputError, match=message):
        controls(name)


# --- the command -------------------------------------------------------------------------------


@pytest.fixture
def loaded(monkeypatch, llama, folder) -> list[str]:
    """Which models the command has loaded."""
    names = []

    def load(name, **options):
        names.append(str(name))
        return llama

    monkeypatch.setattr(loading, "load_model", load)
    return names


TOML = """
layers = [1]
strengths = [1.0, 1.5]
prompts = "stories"
n_prompts = 4
seeds = [0, 1]
read_layers = [2]
batch_tokens = 400
nll_budget = 50.0
degenerate_budget = 1.0
[sampling]
max_new_tokens = 8
[rivals]
temperatures = [1.4]
shuffled = 0
unrelated = []
strengths = [1.5]
[necessity]
layers = []
"""


def no_constant(name: str) -> float:
    raise AssertionError(f"{name} is not JSON")


def test_ctrl_c_ends_the_command_and_says_how_to_go_on(
    cli, loaded, run, tmp_path, write, monkeypatch
):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep_work, "generate_batch", interrupt)
    config = write("sweep.toml", TOML)
    result = cli("sweep", "--config", config, "--run", run, "--out", tmp_path / "out")
    assert result.code == 130
    assert "the same command goes on" in result.err
    assert not (tmp_path / "out" / "report.html").exists()


def test_the_command_resumes_writes_a_report_and_prints_json(
    cli, loaded, run, small, copied, write, directions, monkeypatch
):
    monkeypatch.setattr(sweep_work, "generate_batch", None)  # the folder's sweep is the same
    config = write("sweep.toml", TOML)
    result = cli("sweep", "--config", config, "--run", run, "--out", copied, "--json")
    assert result.code == 0, result.err
    assert loaded == [directions.provenance["model"]["name"]]
    said = json.loads(result.out, parse_constant=no_constant)
    assert said["claims"] == json.loads((copied / "claims.json").read_text())
    assert said["warnings"] == list(small.result.warnings)
    assert [row["cell_id"] for row in said["recommended"]] == small.result.tables["recommended"][
        "cell_id"
    ].tolist()
    report = Path(said["report"])
    assert report == copied / "report.html"
    assert "add/creativity/L1/+1.5" in report.read_text()
    assert_same(copied, small)


def test_the_command_tells_people_what_came_of_it(cli, loaded, run, small, copied, write):
    config = write("sweep.toml", TOML)
    result = cli("sweep", "--config", config, "--run", run, "--out", copied)
    assert result.code == 0, result.err
    assert small.result.tables["recommended"]["cell_id"].iloc[0] in result.out + result.err
    for warning in small.result.warnings:
        assert warning[:40] in " ".join(result.err.split())


@pytest.fixture
def fails(cli, run, write, tmp_path, loaded):
    """A sweep that cannot work: one sentence, code 2, no model loaded and nothing written."""

    def _fails(toml: str, *, run: Path = run) -> str:
        config = write("sweep.toml", toml)
        result = cli("sweep", "--config", config, "--run", run, "--out", tmp_path / "out")
        assert result.code == 2, result
        assert result.out == ""
        assert result.err.startswith("error: ")
        assert result.err.count("\n") == 1
        assert "Traceback" not in result.err
        assert not (tmp_path / "out").exists()
        assert loaded == []
        return result.err

    return _fails


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("layers = [1]\nstrengths", "layer = [1]\nlayers = [1]\nstrengths", "unknown key layer"),
        ("temperatures = [1.4]", "temperature = [1.4]", "rivals.temperature"),
        ("[1.0, 1.5]", "[1.0, nan]", "strengths"),
        ("layers = [1]\nstrengths", "layers = []\nstrengths", "layers"),
        (
            "layers = [1]\nstrengths",
            "layers = [3]\nstrengths",
            "layers names layer 3, but the model has layers 0 to 2",
        ),
        ("read_layers = [2]", "read_layers = [7]", "read_layers names layer 7"),
        ("layers = [1]\nstrengths", "layers = [1\nstrengths", "not valid TOML"),
        ('"stories"', '"nowhere.jsonl"', "nowhere.jsonl) nor one of stories"),
        ("[sampling]", '[directions]\nmine = "mine.safetensors"\n[sampling]', "mine.safetensors"),
    ],
)
def test_settings_that_cannot_be_used_fail_before_a_model_is_loaded(fails, old, new, message):
    assert TOML.count(old) == 1
    assert message in fails(TOML.replace(old, new))


def test_a_missing_run_fails_before_a_model_is_loaded(fails, run, tmp_path):
    assert "directions.safetensors" in fails(TOML, run=tmp_path / "nowhere")
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(run / "directions.safetensors", bare)
    assert "contrast.jsonl" in fails(TOML, run=bare)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": "A bridge."}], "line 1: "),
        ([{"id": "a", "prompt": "A bridge."}, {"id": "a", "prompt": "A river."}], "line 2: "),
        ([{"id": "a", "prompt": "A bridge."}], "both are needed"),
        ([], "is empty"),
    ],
)
def test_a_prompt_file_of_another_shape_fails_before_a_model_is_loaded(
    fails, tmp_path, rows, message
):
    write_jsonl(tmp_path / "mine.jsonl", rows)
    said = fails(TOML.replace('"stories"', '"mine.jsonl"'))
    assert str(tmp_path / "mine.jsonl") in said
    assert message in said


def test_a_folder_of_another_sweep_is_refused_by_the_command(cli, loaded, run, copied, write):
    config, before = (
        write("sweep.toml", TOML.replace("[1.0, 1.5]", "[0.7]")),
        everything_below(copied),
    )
    result = cli("sweep", "--config", config, "--run", run, "--out", copied)
    assert result.code == 2
    assert result.out == ""
    assert "strengths was [1.0, 1.5] and is now [0.7]" in result.err
    assert everything_below(copied) == before
    assert (copied / FILE).is_file()
