"""The probe study end to end on tiny models: what it reads, what it writes, what it refuses."""

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from creativity_lens.activations import store as store_module
from creativity_lens.activations.reading import read_passages
from creativity_lens.directions.extract import ExtractionConfig, extract
from creativity_lens.directions.nuisance import nuisance_erasure, read_nuisances
from creativity_lens.directions.rereading import paired_means, passages_in
from creativity_lens.directions.run_files import load_run, save_run
from creativity_lens.errors import DirectionMismatchError, InputError
from creativity_lens.generation.sampling import Sampling
from creativity_lens.io import read_json
from creativity_lens.probes.separability import (
    DIFFERENCE_OF_MEANS,
    across_contexts,
    separability,
)
from creativity_lens.prompts.pairs import load_contrast
from creativity_lens.stats import Interval, auroc
from creativity_lens.studies import probe_claims as module
from creativity_lens.studies import probe_readings
from creativity_lens.studies.power import power
from creativity_lens.studies.probe import probe_run
from creativity_lens.studies.probe_config import ProbeConfig
from tests.fakes import of_another_model, unchecked
from tests.tiny import N_LAYERS

CONTEXTS = ("as-generated", "neutral")
QUICK = ProbeConfig(
    probes=("logistic", "rbf"),
    n_folds=3,
    n_permutations=19,
    n_random=20,
    nuisances=("formality", "sentiment"),
    nuisance_pairs=4,
    judge_pairs=3,
    n_draws=60,
    token_texts=8,
)


def mixed_pairs():
    """Two domains of eight pairs each, short premises."""
    return [*load_contrast("stories")[:8], *load_contrast("poetry")[:8]]


@pytest.fixture(scope="module")
def run(llama, tmp_path_factory):
    config = ExtractionConfig(sampling=Sampling(max_new_tokens=8, temperature=1.0))
    extraction = extract(llama, mixed_pairs(), config)
    # The tiny model never stops by itself, and a direction of length needs lengths that differ.
    rows = [
        replace(r, response_ids=r.response_ids[: 8 - i % 3]) for i, r in enumerate(extraction.rows)
    ]
    extraction = extraction._replace(rows=tuple(rows))
    return save_run(extraction, tmp_path_factory.mktemp("run"), manifest={})


@pytest.fixture(scope="module")
def result(llama, run):
    directions, rows = load_run(run)
    notes = []
    found = probe_run(
        llama, rows, directions, QUICK, store=run / "kept", others={"again": directions},
        on_note=notes.append,
    )  # fmt: skip
    assert any("MB of activations" in note for note in notes)
    return found


def at(table, **where):
    for column, value in where.items():
        table = table[table[column] == value]
    return table


def test_every_probe_has_every_layer_and_every_rival_in_both_contexts(result):
    curves, rivals = result.tables["curves"], result.tables["rivals"]
    for context in CONTEXTS:
        for probe in (DIFFERENCE_OF_MEANS, "logistic", "rbf"):
            rows = at(curves, context=context, probe=probe)
            assert list(rows["layer"]) == list(range(N_LAYERS))
            assert (
                (rows["auroc_low"] <= rows["auroc"]) & (rows["auroc"] <= rows["auroc_high"])
            ).all()
            names = set(at(rivals, context=context, probe=probe)["rival"])
            assert len(names) == 4
            assert any("random weights" in name for name in names)
            best = at(rivals, context=context, probe=probe)["auroc"].max()
            np.testing.assert_allclose(rows["advantage"], rows["auroc"] - best, atol=1e-12)
            assert (rows["readable"] <= (rows["advantage_low"] > 0)).all()
    means = at(curves, probe=DIFFERENCE_OF_MEANS)
    assert means["p_value"].between(1 / 20, 1).all()
    assert at(curves, probe="logistic")["p_value"].isna().all()  # its null was not asked for


def test_rivals_without_the_trained_model_are_not_the_probe_itself(result):
    own = result.tables["selected"].set_index(["context", "probe"])["auroc"]
    rivals = result.tables["rivals"]
    for name in ("random weights", "embedding"):
        some = rivals[rivals["rival"].str.contains(name)].set_index(["context", "probe"])["auroc"]
        assert len(some) == 6
        # One may coincide, with sixteen pairs; not all.
        assert ((some - own).abs() > 1e-6).sum() >= 4


def test_fitted_and_read_in_one_context_is_the_curve_itself(result):
    leakage, curves = result.tables["leakage"], result.tables["curves"]
    for context in CONTEXTS:
        same = at(leakage, fitted_in=context, read_in=context)["auroc"].to_numpy()
        own = at(curves, context=context, probe=DIFFERENCE_OF_MEANS)["auroc"].to_numpy()
        np.testing.assert_allclose(same, own, atol=1e-9)
    assert len(leakage) == 9 * N_LAYERS


def test_leakage_fits_in_one_context_and_reads_in_the_other(llama, run, result):
    _, rows = load_run(run)
    sides = {}
    for context in ("as-generated", "opposite"):
        read = read_passages(llama, passages_in(rows, context), layers=range(N_LAYERS)).means
        sides[context] = paired_means(rows, read.float())
    for fitted, tested in (("as-generated", "opposite"), ("opposite", "as-generated")):
        scores = across_contexts(
            sides[fitted].sides, sides[tested].sides, sides[fitted].groups, n_folds=3
        )
        expected = auroc(scores[:, 0], scores[:, 1])
        found = at(result.tables["leakage"], fitted_in=fitted, read_in=tested)["auroc"]
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_nulls_stability_cosines_and_removal_cover_every_layer(result):
    tables = result.tables
    nulls = tables["nulls"]
    assert set(at(nulls, context="neutral", layer=1)["null"]) == {
        "labels swapped within premise", "isotropic directions",
        "directions from the within-class covariance", "differences of shuffled labels",
        "formality", "sentiment",
    }  # fmt: skip
    one = at(nulls, null="formality")
    assert one["p_value"].isna().all()
    assert (one["n"] == 1).all()
    stable = at(tables["stability"], context="neutral")
    assert list(stable["layer"]) == list(range(N_LAYERS))
    assert set(tables["cosines"]["concept"]) == {"formality", "sentiment", "length"}
    removed = set(zip(tables["removal"]["removed"], tables["removal"]["method"], strict=True))
    assert removed == {
        ("nothing", "none"), ("formality", "projection"), ("sentiment", "projection"),
        ("length", "projection"), ("all of them", "projection"), ("all of them", "leace"),
    }  # fmt: skip
    assert set(tables["removal"]["layer"]) == {-1, *range(N_LAYERS)}


def test_removing_nothing_is_the_curve(result):
    curves = at(
        result.tables["curves"], context=result.context, probe=DIFFERENCE_OF_MEANS
    )["auroc"].to_numpy()  # fmt: skip
    bare = at(result.tables["removal"], removed="nothing")
    np.testing.assert_allclose(bare[bare["layer"] >= 0]["auroc"], curves, atol=1e-9)


def test_removal_erases_the_texts_before_it_separates_them(llama, run, result):
    directions, rows = load_run(run)
    (formality,) = read_nuisances(
        llama, ["formality"], neutral_prompt=directions.provenance["neutral_prompt"], limit=4
    )
    read = read_passages(llama, passages_in(rows, result.context), layers=range(N_LAYERS)).means
    means = paired_means(rows, read.float())
    erasure = nuisance_erasure([formality])
    found = separability(
        erasure(means.creative).float(), erasure(means.uncreative).float(), means.groups,
        n_folds=3, n_permutations=0, n_draws=2,
    )  # fmt: skip
    expected = [interval.estimate for interval in found.layers]
    bare = at(result.tables["removal"], removed="nothing")
    assert not np.allclose(bare[bare["layer"] >= 0]["auroc"], expected, atol=1e-3)
    table = at(result.tables["removal"], removed="formality")
    np.testing.assert_allclose(table[table["layer"] >= 0]["auroc"], expected, atol=1e-6)


def test_transfer_is_between_the_domains_of_the_run(result):
    domains = at(result.tables["transfer"], kind="domain", probe=DIFFERENCE_OF_MEANS)
    assert set(domains["context"]) == set(CONTEXTS)
    shown = at(domains, layer=result.layer, context=result.context)
    cells = {tuple(cell) for cell in shown[["trained_on", "tested_on"]].to_numpy()}
    kinds = ("poetry", "stories")
    assert cells == {*((a, b) for a in kinds for b in kinds), *(("all others", b) for b in kinds)}
    assert (domains["n_test"] == 8).all()


def test_directions_are_compared_with_themselves_and_other_runs(result):
    rows = at(result.tables["agreement"], first="estimator: difference-of-means")
    own = at(rows, second="run: again")
    # The rows were cut after the directions were made, so they are near and not the same.
    assert own["cosine"].between(0.9, 0.9999).all()
    # "this run" stands before all others, so its cosines have it first.
    own = at(result.tables["agreement"], first="this run", second="run: again")
    np.testing.assert_allclose(own["cosine"], 1, atol=1e-4)
    assert at(rows, second="estimator: whitened")["cosine"].abs().max() < 0.999


def test_extremes_are_ordered_and_name_texts_of_the_run(result, run):
    _, rows = load_run(run)
    texts = result.tables["extreme_texts"]
    high, low = at(texts, end="highest"), at(texts, end="lowest")
    assert high["score"].is_monotonic_decreasing
    assert low["score"].is_monotonic_increasing
    assert high["score"].min() >= low["score"].max()
    responses = {f"{r.pair_id}/{r.condition}/{r.sample}": r.response for r in rows}
    assert all(responses[row.text_id] == row.text for row in texts.itertuples())
    assert set(result.tables["lens"]["layer"]) == {result.layer, N_LAYERS - 1}


def test_a_second_study_runs_no_model_for_what_is_kept(llama, run, result, monkeypatch):
    directions, rows = load_run(run)
    monkeypatch.setattr(
        store_module, "read_passages", lambda *a, **k: pytest.fail("was read again")
    )
    again = probe_run(
        llama, rows, directions, replace(QUICK, judge_pairs=0, layer=1), store=run / "kept"
    )  # fmt: skip
    for name in ("curves", "selected", "nulls", "stability", "cosines"):
        pd.testing.assert_frame_equal(again.tables[name], result.tables[name])
    assert again.manipulation.judge is None
    assert (
        set(again.tables["coordinates"]["layer"])
        == set(again.tables["extreme_texts"]["layer"])
        == {1}
    )


def test_likelihood_is_read_after_the_neutral_prompt(llama, run):
    directions, rows = load_run(run)
    from creativity_lens.measures.likelihood import mean_nll
    from creativity_lens.studies.stages import Stages

    read = probe_readings.read_run(
        llama, rows, directions, contexts=("as-generated",), nuisances=(), nuisance_pairs=None,
        random_weights=False, store=run / "other", stages=Stages(None),
    )  # fmt: skip
    np.testing.assert_allclose(read.nll, mean_nll(llama, passages_in(rows, "neutral")), atol=1e-4)
    formal = probe_readings.read_run(
        llama, rows, directions, contexts=("as-generated",), nuisances=("formality",),
        nuisance_pairs=4, random_weights=False, store=run / "other", stages=Stages(None),
    ).nuisances[0]  # fmt: skip
    (own,) = read_nuisances(
        llama, ["formality"], neutral_prompt=directions.provenance["neutral_prompt"], limit=4
    )
    torch.testing.assert_close(formal.high, own.high.float(), atol=1e-5, rtol=0)
    torch.testing.assert_close(formal.low, own.low.float(), atol=1e-5, rtol=0)
    assert formal.groups == own.groups
    # The embedding rival: the mean of the rows of the embedding matrix, by hand.
    first = llama.W_E[torch.tensor(rows[1].response_ids)].mean(dim=0)
    torch.testing.assert_close(read.embeddings.uncreative[0, 0], first.detach(), atol=1e-5, rtol=0)


def test_claims_name_the_contrast_first_and_follow_their_numbers(result):
    assert "contrast worked" in result.claims[0].statement
    statements = " ".join(claim.statement for claim in result.claims)
    for part in ("instruction", "bend", "premises", "wording", "domain", "nuisance"):
        assert part in statements
    table = result.tables["claims"]
    assert list(table["verdict"]) == [claim.verdict for claim in result.claims]


def stable_row(noise: Interval, wanted: float) -> pd.DataFrame:
    row = {"context": "neutral", "layer": 1, "n_premises": 90, "wanted": 0.9}
    row |= dict(zip(("noise_to_signal", "noise_to_signal_low", "noise_to_signal_high"), noise,
                    strict=True))  # fmt: skip
    return pd.DataFrame([row | {"premises_needed": wanted}])


@pytest.mark.parametrize(
    ("noise", "verdict"),
    [
        ((1.0, 0.5, 2.0), "supported"),  # 90 / 92 = .98
        ((30.0, 20.0, 60.0), "with a caveat"),  # 90 / 150 = .6
        ((30.0, 20.0, math.inf), "not supported"),
    ],
)
def test_the_verdict_on_stability_follows_the_lower_end(result, noise, verdict):
    claim = module._stable(stable_row(Interval(*noise), 270.0), "neutral", 1)
    assert claim.verdict == verdict
    assert claim.estimate.estimate == pytest.approx(90 / (90 + noise[0]))
    assert claim.estimate.low == pytest.approx(90 / (90 + noise[2]))


def test_a_failed_contrast_is_said_first(result):
    failed = replace(result.manipulation, tfidf=Interval(0.5, 0.4, 0.6))
    assert module._contrast(failed).verdict == "not supported"
    sound = replace(result.manipulation, tfidf=Interval(0.9, 0.8, 1.0), warnings=())
    assert module._contrast(sound).verdict == "supported"
    assert module._contrast(replace(sound, warnings=("Look.",))).verdict == "with a caveat"


def plain_study(llama, run, tmp_path, change=lambda row: row, **settings):
    directions, rows = load_run(run)
    quick = replace(
        QUICK, probes=(), random_weights=False, judge_pairs=0, nuisances=(), nuisance_pairs=None,
        **settings,
    )  # fmt: skip
    return probe_run(llama, [change(r) for r in rows], directions, quick, store=tmp_path)


def test_texts_of_one_length_and_no_nuisances_leave_cosines_empty(llama, run, tmp_path):
    found = plain_study(llama, run, tmp_path, lambda r: replace(r, response_ids=r.response_ids[:6]))
    assert found.tables["cosines"].empty
    assert list(found.tables["removal"]["removed"].unique()) == ["nothing"]


def test_few_swaps_are_not_called_a_null_that_did_as_well(llama, run, tmp_path):
    found = plain_study(llama, run, tmp_path, n_permutations=10)
    readable = [c for c in found.claims if "reads the contrast" in c.statement]
    assert readable
    assert all(c.verdict == "not supported" for c in readable)
    assert all("ask for at least 20" in c.reason for c in readable)


def test_a_judge_that_cannot_judge_is_a_warning(llama, run, tmp_path, monkeypatch):
    def refuse(*args, **settings):
        raise InputError("too long to stand side by side")

    monkeypatch.setattr("creativity_lens.evaluation.manipulation.judge_pairs", refuse)
    directions, rows = load_run(run)
    quick = replace(QUICK, probes=(), random_weights=False, nuisances=(), nuisance_pairs=None)
    found = probe_run(llama, rows, directions, quick, store=tmp_path)
    assert found.manipulation.judge is None
    assert any("side by side" in warning for warning in found.warnings)


@pytest.fixture(scope="module")
def prompt_last(llama, tmp_path_factory):
    config = ExtractionConfig(sampling=Sampling(max_new_tokens=4), span="prompt-last")
    extraction = extract(llama, mixed_pairs(), config)
    return save_run(extraction, tmp_path_factory.mktemp("prompt-last"), manifest={})


def test_a_prompt_last_run_is_read_as_generated_alone_and_says_so(llama, prompt_last, tmp_path):
    directions, rows = load_run(prompt_last)
    found = probe_run(
        llama, rows, directions, replace(QUICK, judge_pairs=0, probes=()), store=tmp_path
    )  # fmt: skip
    assert found.context == "as-generated"
    assert set(found.tables["leakage"]["read_in"]) == {"as-generated"}
    assert any("last token of the prompt" in warning for warning in found.warnings)
    assert "formality" not in set(found.tables["cosines"]["concept"])
    with pytest.raises(InputError, match="ask for as-generated"):
        power(llama, rows, directions, context="neutral", store=tmp_path)


def test_a_run_of_another_estimator_is_said_not_to_be_what_is_probed(llama, run, tmp_path):
    directions, rows = load_run(run)
    other = replace(
        directions,
        provenance={**directions.provenance, "estimator": "whitened", "removed": ["formality"]},
    )
    quick = replace(QUICK, probes=(), random_weights=False, judge_pairs=0, nuisances=())
    found = probe_run(llama, rows, other, quick, store=tmp_path)
    assert any("whitened, less formality" in warning for warning in found.warnings)


# --- power -----------------------------------------------------------------------------------


def test_power_says_how_many_pairs(llama, run):
    directions, rows = load_run(run)
    table = power(llama, rows, directions, stability=0.5, store=run / "kept", n_draws=50)
    assert list(table["layer"]) == list(range(N_LAYERS))
    assert (table["n_premises"] == 16).all()
    np.testing.assert_array_equal(table["pairs_needed"], table["premises_needed"])
    twice = [replace(r, sample=s) for r0 in range(0, len(rows), 2) for s in (0, 1)
             for r in rows[r0 : r0 + 2]]  # fmt: skip
    again = power(llama, twice, directions, stability=0.5, store=run / "twice", n_draws=50)
    # Two samples of a pair are still one pair to write.
    np.testing.assert_array_equal(again["pairs_needed"], again["premises_needed"])
    more = power(llama, rows, directions, stability=0.9, store=run / "kept", n_draws=50)
    known = np.isfinite(table["premises_needed"].to_numpy())
    ratio = more["premises_needed"][known] / table["premises_needed"][known]
    assert (ratio >= 1).all()
    with pytest.raises(InputError, match="between 0 and 1"):
        power(llama, rows, directions, stability=1.0, store=run / "kept")


# --- bad input -------------------------------------------------------------------------------


def test_a_run_that_cannot_be_probed_is_refused_before_the_model_runs(llama, run, monkeypatch):
    directions, rows = load_run(run)
    monkeypatch.setattr(
        probe_readings, "cached_store", lambda *a, **k: pytest.fail("the model ran")
    )
    with pytest.raises(InputError, match="creative alone"):
        probe_run(llama, rows[::2], directions, QUICK, store=run / "no")
    with pytest.raises(InputError, match=r"2 premises, and 3 folds need at least 4"):
        probe_run(llama, rows[:4], directions, QUICK, store=run / "no")
    stranger = of_another_model(directions, fingerprint=[1.0] * N_LAYERS)
    with pytest.raises(DirectionMismatchError, match="some/other-model"):
        probe_run(llama, rows, stranger, QUICK, store=run / "no")
    with pytest.raises(DirectionMismatchError, match="some/other-model"):
        probe_run(llama, rows, directions, QUICK, store=run / "no", others={"x": stranger})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"contexts": ("neutral",)}, "hold as-generated"),
        ({"contexts": ("as-generated", "other")}, "contexts must be some of"),
        ({"probes": ("mlp",)}, "unknown probe 'mlp'"),
        ({"n_folds": 1}, "n_folds must be at least 2"),
        ({"stability": 1.0}, "cosine between 0 and 1"),
        ({"coordinates": ("mds",)}, "unknown name 'mds'; choose from pca"),
        ({"nuisances": ("x",)}, "unknown name 'x'; choose from formality"),
        ({"judge_pairs": 1}, "judge_pairs must be 0, at least 2"),
        ({"nuisance_pairs": 3}, "nuisance_pairs must be at least 4"),
        ({"n_permutations": 0}, "n_permutations must be at least 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(change, message):
    with unchecked(), pytest.raises(InputError, match=message):
        replace(QUICK, **change)


# --- commands --------------------------------------------------------------------------------


@pytest.fixture
def tiny_cli(cli, llama, monkeypatch):
    monkeypatch.setattr("creativity_lens.cli.probe.load", lambda *args: llama)
    return cli


def test_the_command_writes_a_report_and_every_table_twice(tiny_cli, run, tmp_path):
    out = tmp_path / "report"
    ended = tiny_cli(
        "probe", "--run", run, "--out", out, "--folds", 3, "--permutations", 9, "--probe",
        "logistic", "--nuisance-pairs", 4, "--judge-pairs", 0, "--no-random-weights", "--json",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    printed = json.loads(ended.out)
    manifest = read_json(out / "manifest.json")
    assert manifest["config"]["n_folds"] == 3
    assert {path.stem for path in out.glob("*.parquet")} == set(manifest["tables"])
    assert {path.stem for path in out.glob("*.csv")} == set(manifest["tables"])
    for name in manifest["tables"]:
        stored = pd.read_parquet(out / f"{name}.parquet")
        assert len(stored) == len(pd.read_csv(out / f"{name}.csv"))
    assert read_json(out / "claims.json") == printed["claims"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert printed["claims"][0]["claim"] in page
    assert 'src="http' not in page


def test_power_prints_a_row_for_each_layer(tiny_cli, run, tmp_path):
    ended = tiny_cli("power", "--run", run, "--stability", 0.8, "--json", "--out", tmp_path / "n")
    rows = json.loads(ended.out)
    assert [row["layer"] for row in rows] == list(range(N_LAYERS))
    assert all(row["pairs_needed"] is None or row["pairs_needed"] >= 1 for row in rows)
    assert len(pd.read_parquet(tmp_path / "n.parquet")) == N_LAYERS
    shown = tiny_cli("power", "--run", run, "--layer", 1)
    assert shown.code == 0
    assert "pairs for 0.9" in shown.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("probe", "--out", "x", "--folds", 40), "16 premises, and 40 folds"),
        (("probe", "--out", "x", "--judge-pairs", -1), "--judge-pairs must not be negative"),
        (("probe", "--out", "x", "--layer", 3), "layer 3 is out of range"),
        (("power", "--stability", 1), "--stability must lie between 0 and 1"),
        (("power", "--layer", 99), "layer 99 is out of range"),
    ],
)
def test_bad_options_end_with_one_sentence(
    tiny_cli, run, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    ended = tiny_cli(arguments[0], "--run", run, *arguments[1:])
    assert ended.code == 2
    assert message in ended.err
    assert not (tmp_path / "x").exists()


def test_a_folder_that_is_no_run_is_named(tiny_cli, tmp_path):
    ended = tiny_cli("probe", "--run", tmp_path, "--out", tmp_path / "x")
    assert ended.code == 2
    assert "directions" in ended.err
