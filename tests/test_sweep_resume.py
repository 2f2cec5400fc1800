"""What a sweep may be gone on with, and what it is refused or mended."""

import json
import shutil
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
from pandas.testing import assert_frame_equal

import creativity_lens as cl
from creativity_lens.errors import InputError
from creativity_lens.io import write_jsonl
from creativity_lens.models.loading import load_model
from creativity_lens.runs import memory
from creativity_lens.runs.cells import cells_of
from creativity_lens.runs.rows import MetricRow
from creativity_lens.runs.standing import Standing
from creativity_lens.runs.store import RunStore
from creativity_lens.runs.sweep_config import SweepConfig
from creativity_lens.runs.sweep_prompts import SweepPrompt
from creativity_lens.runs.sweep_work import SweepWork
from creativity_lens.studies import sweep as study
from creativity_lens.studies.sweep import sweep
from creativity_lens.studies.sweep_budgets import Budgets
from tests.tiny import N_LAYERS
from tests.tiny_sweep import SMALL, ends

CONFIG = SweepConfig.from_dict(SMALL)


@pytest.fixture(scope="module", autouse=True)
def _early_ends():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("creativity_lens.generation.decode.stop_ids", ends)
        yield


@pytest.fixture(scope="module")
def run(llama, pairs, tmp_path_factory) -> Path:
    """The folder of an extraction run."""
    config = cl.ExtractionConfig(sampling=cl.Sampling(max_new_tokens=8))
    home = tmp_path_factory.mktemp("extraction") / "run"
    return cl.save_run(cl.extract(llama, pairs, config), home, manifest={})


def stop_after(monkeypatch, n: int) -> None:
    """Press Ctrl-C in the middle of a batch."""
    calls, real = 0, SweepWork.__call__

    def call(self, items):
        nonlocal calls
        calls += 1
        if calls > n:
            raise KeyboardInterrupt
        return real(self, items)

    monkeypatch.setattr(SweepWork, "__call__", call)


@pytest.fixture(scope="module")
def half(llama, run, tmp_path_factory) -> Path:
    """A sweep that was interrupted after its first batch; only to be refused or copied."""
    out = tmp_path_factory.mktemp("half") / "out"
    with pytest.MonkeyPatch.context() as patched:
        stop_after(patched, 1)
        with pytest.raises(KeyboardInterrupt):
            sweep(llama, CONFIG, run=run, out=out)
    return out


def refused(model, run: Path, out: Path, config: SweepConfig = CONFIG) -> str:
    """What is said; no batch is added, and none goes."""
    with RunStore.read(out) as kept:
        before = kept.done()
    with pytest.raises(InputError) as caught:
        sweep(model, config, run=run, out=out)
    with RunStore.read(out) as kept:
        assert kept.done() == before
    return str(caught.value)


@pytest.fixture(scope="module")
def coarse(llama):
    """The same weights in another dtype, which the directions take for the same model."""
    return load_model(llama.original_model.config.name_or_path, dtype="bfloat16")


def test_another_dtype_is_refused_though_the_directions_fit_it(run, half, coarse):
    cl.load_run(run)[0].check_model(coarse)
    said = refused(coarse, run, half)
    assert 'the model\'s dtype was "float32" and is now "bfloat16". Choose another --out' in said


def test_the_manifest_describes_the_model_that_wrote_the_texts(run, coarse, tmp_path):
    """And not the one that the directions were made with."""
    result = sweep(coarse, CONFIG, run=run, out=tmp_path)
    told = json.loads((tmp_path / "manifest.json").read_text())["provenance"]
    for provenance in (told, result.provenance):
        assert provenance["model"]["dtype"] == "bfloat16"
        assert len(provenance["model"]["fingerprint"]) == N_LAYERS
        assert provenance["versions"]["torch"] == version("torch")


@pytest.mark.parametrize("package", ["torch", "transformers", "transformer-lens"])
def test_another_version_of_what_shapes_texts_is_refused(llama, run, half, package, monkeypatch):
    versions = study.library_versions()
    monkeypatch.setattr(study, "library_versions", lambda: versions | {package: "0.1"})
    was = json.dumps(version(package))
    assert f'the version of {package} was {was} and is now "0.1". ' in refused(llama, run, half)


def test_another_fingerprint_in_its_last_digits_and_version_of_ours_go_on(
    llama, run, half, tmp_path, monkeypatch
):
    versions, described = study.library_versions(), study.identity(llama)
    monkeypatch.setattr(study, "library_versions", lambda: versions | {"creativity-lens": "9"})
    close = [norm * (1 + 1e-6) for norm in described["fingerprint"]]
    monkeypatch.setattr(study, "identity", lambda model: described | {"fingerprint": close})
    seen = []
    out = shutil.copytree(half, tmp_path / "out")
    sweep(llama, CONFIG, run=run, out=out, on_batch=lambda p, best: seen.append(p.done_batches))
    assert seen[0] == 1


def test_a_changed_file_is_named_in_words(llama, run, tmp_path, monkeypatch):
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "out"
    rows = [{"id": name, "prompt": f"Write of a {name}."} for name in ("bridge", "river", "house")]
    write_jsonl(prompts, rows)
    own = SweepConfig.from_dict(SMALL | {"prompts": prompts.name}, folder=tmp_path)
    stop_after(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        sweep(llama, own, run=run, out=out)
    fewer = refused(llama, run, out, replace(own, n_prompts=2))
    assert "n_prompts was 4 and is now 2. " in fewer  # the file is what it was
    write_jsonl(prompts, [*rows[:2], rows[2] | {"prompt": "Write of a hut."}])
    said = refused(llama, run, out, own)
    assert "config: the prompts file prompts.jsonl has changed since the run began. " in said
    write_jsonl(prompts, rows)
    another = shutil.copytree(run, tmp_path / "another")
    found, _ = cl.load_run(run)
    replace(found, directions=-found.directions).save(another / "directions.safetensors")
    said = refused(llama, another, out, own)
    assert f"the directions file {another / 'directions.safetensors'} has changed since" in said
    assert "sha256" not in said


def test_a_first_start_that_failed_does_not_hold_the_folder(llama, run, half, tmp_path):
    long = replace(CONFIG, sampling=replace(CONFIG.sampling, max_new_tokens=400))
    with pytest.raises(InputError, match="400"):  # of a context of 320
        sweep(llama, long, run=run, out=tmp_path)
    with RunStore.read(tmp_path) as kept:
        assert kept.done() == set()
    result = sweep(llama, CONFIG, run=run, out=tmp_path)
    assert len(result.tables["texts"]) == 40
    # With a batch in it, the folder holds.
    assert "sampling.max_new_tokens was 8 and is now 400" in refused(llama, run, half, long)


def test_rows_whose_logits_would_take_too_much_are_made_in_parts(
    llama, run, half, tmp_path, monkeypatch
):
    plain = sweep(llama, CONFIG, run=run, out=shutil.copytree(half, tmp_path / "plain"))
    calls, real = [], SweepWork.__call__

    def call(self, items):
        calls.append(len(items))
        return real(self, items)

    monkeypatch.setattr(SweepWork, "__call__", call)
    # Three rows and a half, of 8 new tokens each.
    monkeypatch.setattr(memory, "LOGITS_BYTES", int(3.5 * 8 * llama.cfg.d_vocab * 4))
    notes = []
    parts = sweep(llama, CONFIG, run=run, out=tmp_path / "parts", on_note=notes.append)
    assert max(calls) == 3
    assert sum(calls) == 40
    assert notes == []
    assert parts.warnings == plain.warnings
    assert_frame_equal(parts.tables["texts"], plain.tables["texts"])
    metrics = (result.tables["metrics"] for result in (parts, plain))
    assert_frame_equal(*metrics, rtol=1e-5, atol=1e-5)


# --- the best cell so far ----------------------------------------------------------------------

WEAK, STRONG = (f"add/creativity/L1/+{strength}" for strength in (0.1, 0.2))


def measured(cell, score, degenerate, prompts="abcd") -> list[MetricRow]:
    return [
        row
        for prompt, broken in zip(prompts, degenerate, strict=True)
        for row in (
            MetricRow(cell, prompt, 0, "score", 2, score),
            MetricRow(cell, prompt, 0, "nll", None, 2.0),
            MetricRow(cell, prompt, 0, "degenerate", None, broken),
        )
    ]


@pytest.mark.parametrize(
    ("broken", "plain", "best"),
    [
        ((0, 0, 0, 0), (0, 0, 0, 0), STRONG),
        ((1, 0, 0, 0), (0, 0, 0, 0), STRONG),  # at the budget
        ((1, 1, 0, 0), (0, 0, 0, 0), WEAK),  # a loop is likely text: NLL says nothing
        ((1, 1, 0, 0), (0, 1, 0, 0), STRONG),  # the budget is of the rise
        ((1, 1, 1, 1), (0, 0, 0, 0), WEAK),
    ],
)
def test_a_cell_of_loops_is_not_the_best_so_far(broken, plain, best):
    names = ("a", "b", "c", "d", "t")
    prompts = [SweepPrompt(n, n, "test" if n == "t" else "dev", "", n) for n in names]
    config = SweepConfig.from_dict(SMALL | {"strengths": [0.1, 0.2], "rivals": {}})
    standing = Standing(
        cells_of(config, N_LAYERS), prompts, read_layer=2, allow=Budgets(0.5, 0.25).allow
    )
    standing.add(measured("unsteered", 0.1, plain))
    standing.add(measured(WEAK, 0.2, (0, 0, 0, 0)))
    standing.add(measured(STRONG, 0.3, broken))
    standing.add(measured(STRONG, 0.9, (1,), "t") + measured("unsteered", 0.1, (0,), "t"))
    assert standing.best().startswith(f"{best} (+")


def test_a_cell_whose_share_of_broken_texts_is_not_known_is_not_the_best():
    prompts = [SweepPrompt("a", "a", "dev", "", "a")]
    standing = Standing(cells_of(CONFIG, N_LAYERS), prompts, read_layer=2, allow=Budgets().allow)
    cell = "add/creativity/L1/+1.5"
    rows = [*measured("unsteered", 0.1, (0,), "a"), *measured(cell, 0.3, (0,), "a")]
    standing.add([row for row in rows if row.metric != "degenerate"])
    assert standing.best() == ""
    standing.add(rows)
    assert standing.best() == f"{cell} (+0.200 for +0.00 nats)"
