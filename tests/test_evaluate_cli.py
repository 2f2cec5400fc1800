"""`creativity-lens evaluate`: what it writes, what its options do, what it refuses."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from creativity_lens.directions.extract import ExtractionConfig, extract
from creativity_lens.directions.run_files import save_run
from creativity_lens.generation.sampling import Sampling
from creativity_lens.io import read_json, sha256_file
from creativity_lens.prompts.pairs import load_contrast
from creativity_lens.studies import evaluate as module
from tests.fakes import of_another_model
from tests.rated_texts import noise, rating_frame, texts, without
from tests.tiny import N_LAYERS

NAMED = [
    "score", "layer", "dimension", "rater_group", "scope", "pairwise_accuracy", "n_pairs",
    "kendall", "spearman", "system_kendall", "ci_low", "ci_high", "p_value", "ceiling",
]  # fmt: skip
"""The columns that issue 6 asks for."""
SMALL = ("--random", 20, "--nuisance-pairs", 2, "--judge-pairs", 2)
BARE = ("--random", 20, "--nuisance-pairs", 0, "--judge-pairs", 0, "--no-rate", "--no-with-prompt")


@pytest.fixture(scope="module")
def run(llama, tmp_path_factory):
    config = ExtractionConfig(sampling=Sampling(max_new_tokens=8, temperature=1.0))
    extraction = extract(llama, load_contrast("stories")[:6], config)
    return save_run(extraction, tmp_path_factory.mktemp("run"), manifest={})


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Two dimensions, 10 prompts of 2 human texts and 1 of a model."""
    known = texts(n_prompts=10, each=3)
    frame = pd.concat(
        [
            rating_frame(known, noise(1), dimension="charm"),
            rating_frame(known, noise(2), dimension="creativity"),
        ]
    )
    path = tmp_path_factory.mktemp("ratings") / "ratings.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture
def loaded(monkeypatch, llama):
    """The names of models that the command loads; few draws instead of thousands."""
    names = []

    def load(name, device, dtype):
        names.append(name)
        return llama

    monkeypatch.setattr("creativity_lens.cli.evaluate.load", load)
    real = module.evaluate

    def quick(ratings, model, directions, config, **how):
        config = replace(config, n_draws=100, n_permutations=99, n_folds=3)
        return real(ratings, model, directions, config, **how)

    monkeypatch.setattr(module, "evaluate", quick)
    return names


@pytest.fixture
def command(cli, loaded, run, file, tmp_path):
    """Evaluate into `tmp_path/out`; it must end well."""

    def _command(*options, ratings=file, directions=run / "directions.safetensors"):
        found = () if directions is None else ("--directions", directions)
        ended = cli("evaluate", "--ratings", ratings, *found, "--out", tmp_path / "out", *options)
        assert ended.code == 0, ended.err
        return ended

    return _command


@pytest.fixture
def fails(cli, loaded, run, file, tmp_path):
    """One sentence, code 2, no output folder; whether the model was loaded is said by `loads`."""

    def _fails(*options, ratings=file, directions=run / "directions.safetensors", loads=False):
        out = tmp_path / "out"
        ended = cli(
            "evaluate", "--ratings", ratings, "--directions", directions, "--out", out, *options
        )
        assert ended.code == 2, ended
        assert ended.out == ""
        assert ended.err.startswith("error: ")
        assert ended.err.count("\n") == 1
        assert "Traceback" not in ended.err
        assert bool(loaded) == loads
        assert not (out / "agreement.csv").exists()
        assert loads or not out.exists()
        return ended.err

    return _fails


def table(tmp_path, name="agreement"):
    return pd.read_csv(tmp_path / "out" / f"{name}.csv")


def test_everything_is_written_and_a_second_run_asks_the_model_nothing(
    command, llama, loaded, run, file, tmp_path, monkeypatch
):
    ended = command("--all-layers", *SMALL, "--json")
    out = tmp_path / "out"
    agreement = table(tmp_path)
    assert list(agreement.columns)[: len(NAMED)] == NAMED
    assert {"increment", "increment_low", "increment_high"} <= set(agreement.columns)
    assert set(agreement["scope"]) == {"prompt", "prompt+author"}
    assert set(agreement["dimension"]) == {"charm", "creativity"}
    assert {"cosine", "length", "nll", "naive_rating", "naive_pairwise"} <= set(agreement["score"])
    assert set(agreement["layer"].dropna()) == set(range(N_LAYERS))

    records = read_json(out / "agreement.json")
    assert len(records) == len(agreement)
    assert list(records[0]) == sorted(agreement.columns)
    first = next(row for row in records if row["score"] == "length")
    assert first["layer"] is None
    for name in ("pairwise_accuracy", "n_pairs", "ci_low"):
        known = agreement[agreement["score"] == "length"].iloc[0][name]
        assert first[name] == pytest.approx(known)
    assert "NaN" not in (out / "agreement.json").read_text(encoding="utf-8")

    scores = table(tmp_path, "scores")
    assert len(scores) == 30
    assert {"text_id", "cosine@0", "cosine+prompt@2", "length", "nll"} <= set(scores.columns)

    manifest = read_json(out / "manifest.json")
    assert {path.stem for path in (out / "figures").glob("*.html")} == set(manifest["figures"])
    assert {"layers", "scores", "increments", "ratings"} <= set(manifest["figures"])
    assert {path.stem for path in out.glob("*.csv")} == set(manifest["tables"])
    assert {path.stem for path in out.glob("*.parquet")} == set(manifest["tables"])
    assert manifest["ratings_sha256"] == sha256_file(file)
    assert manifest["config"]["min_gap"] == 1
    assert "AUROC" in manifest["layer_reason"]  # the contrast lies beside the directions
    printed = json.loads(ended.out)
    assert read_json(out / "claims.json") == printed["claims"]
    assert "'creativity'" in printed["claims"][0]["claim"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "creativity-lens evaluate" in page
    assert 'src="http' not in page

    def forward(*args, **kwargs):
        raise AssertionError("the model ran")

    monkeypatch.setattr(llama, "forward", forward)
    before = {path.name: path.read_bytes() for path in out.glob("*.csv")}
    (out / "report.html").unlink()
    shown = command("--all-layers", *SMALL)
    assert {path.name: path.read_bytes() for path in out.glob("*.csv")} == before
    assert (out / "report.html").exists()
    assert "report" in shown.out
    assert len(loaded) == 2


def test_one_layer_alone_or_as_the_primary_among_all(command, tmp_path):
    command("--layer", 1, *BARE, "--dimension", "charm")
    assert set(table(tmp_path)["layer"].dropna()) == {1}
    assert set(table(tmp_path)["dimension"]) == {"charm"}
    assert read_json(tmp_path / "out" / "manifest.json")["layer_reason"] == "as asked"
    command("--layer", 1, "--all-layers", *BARE, "--dimension", "charm")
    agreement = table(tmp_path)
    assert set(agreement["layer"].dropna()) == set(range(N_LAYERS))
    cosine = agreement[(agreement["score"] == "cosine") & (agreement["scope"] == "prompt")]
    assert cosine.set_index("layer")["increment"].notna().to_dict() == {
        0: False,
        1: True,
        2: False,
    }


def test_a_store_of_ones_own(command, tmp_path):
    command("--layer", 1, *BARE, "--store", tmp_path / "kept")
    assert list((tmp_path / "kept").glob("text-means-*"))
    assert not (tmp_path / "out" / "activations").exists()


def test_a_wider_gap_decides_fewer_pairs(command, file, tmp_path):
    n_pairs = {}
    frame = pd.read_csv(file)
    frame = frame[(frame["dimension"] == "charm") & (frame["rater_id"] == "r0")]
    for gap in (0.5, 3.0):
        command("--no-model", "--min-gap", gap, "--dimension", "charm", directions=None)
        rows = table(tmp_path)
        rows = rows[(rows["score"] == "n_words") & (rows["scope"] == "prompt")]
        (n_pairs[gap],) = rows["n_pairs"]
        gaps = [
            abs(a - b)
            for _, part in frame.groupby("prompt_id")
            for i, a in enumerate(part["rating"])
            for b in part["rating"].iloc[i + 1 :]
        ]
        assert n_pairs[gap] == sum(value >= gap for value in gaps)
    assert 0 < n_pairs[3.0] < n_pairs[0.5]


def test_scores_and_pairs_join_without_a_model(command, file, write, tmp_path, loaded):
    rated = pd.read_csv(file)
    rated = rated[rated["dimension"] == "charm"].groupby("text_id", sort=False)["rating"].mean()
    scores = tmp_path / "scores.csv"
    pd.DataFrame({"text_id": rated.index, "right": rated, "wrong": -rated}).to_csv(
        scores, index=False
    )
    more = tmp_path / "more.csv"
    pd.DataFrame({"text_id": rated.index[:6], "some": rated[:6]}).to_csv(more, index=False)
    judged = tmp_path / "wise" / "pairs.csv"
    judged.parent.mkdir()
    first, second = rated.index[::3], rated.index[1::3]
    likes = 0.5 + 0.4 * np.sign(rated[first].to_numpy() - rated[second].to_numpy())
    pd.DataFrame({"text_a": first, "text_b": second, "preference": likes}).to_csv(
        judged, index=False
    )
    command(
        "--no-model", "--scores", scores, "--scores", more, "--pairs", judged,
        "--dimension", "charm", directions=None,
    )  # fmt: skip
    assert not loaded
    assert not (tmp_path / "out" / "activations").exists()
    rows = table(tmp_path)
    rows = rows[rows["scope"] == "prompt"].set_index("score")
    assert rows.loc["right", "pairwise_accuracy"] == 1
    assert rows.loc["wrong", "pairwise_accuracy"] == 0
    assert rows.loc["right", "kind"] == "given"
    assert rows.loc["some", "n_prompts"] == 2
    assert rows.loc["pairs:wise", "pairwise_accuracy"] == 1
    assert rows.loc["pairs:wise", "n_pairs"] == (likes != 0.5).sum()
    assert rows["layer"].isna().all()
    assert "cosine" not in rows.index
    manifest = read_json(tmp_path / "out" / "manifest.json")
    assert manifest["layer"] is None
    claims = read_json(tmp_path / "out" / "claims.json")
    assert any("right" in claim["claim"] for claim in claims)


def test_warnings_are_told_and_kept(command, tmp_path):
    known = without(texts(n_prompts=3, each=2), "prompt", "author_type")
    path = tmp_path / "r.csv"
    rating_frame(known, noise(1), raters=("",)).to_csv(path, index=False)
    options = [o for o in BARE if o != "--no-with-prompt"]
    ended = command("--layer", 1, *options, ratings=path)
    said = "come without the words of their prompt"
    assert said in " ".join(ended.err.split())
    manifest = read_json(tmp_path / "out" / "manifest.json")
    assert any(said in warning for warning in manifest["warnings"])
    assert any("One rating a text" in warning for warning in manifest["warnings"])


def test_one_text_a_prompt_is_told_and_ends_well(command, tmp_path):
    known = without(texts(n_prompts=4, each=1), "author_type")
    path = tmp_path / "r.csv"
    rating_frame(known, noise(1)).to_csv(path, index=False)
    ended = command(*SMALL, ratings=path)
    assert "no pair of texts on the same prompt" in " ".join(ended.err.split())
    assert (table(tmp_path)["n_pairs"] == 0).all()
    assert set(read_json(tmp_path / "out" / "claims.json")[0]["verdict"].split()) == {
        "not",
        "supported",
    }


# --- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--min-gap", -1), "--min-gap must be 0 or more"),
        (("--min-gap", "nan"), "min_gap must be"),
        (("--judge-pairs", -1), "--judge-pairs must not be negative"),
        (("--nuisance-pairs", -1), "--nuisance-pairs must not be negative"),
        (("--random", 0), "n_random must be at least 1"),
        (("--window", 1), "window must be None or at least 2"),
        (("--quality", " "), "quality must be an adjective"),
        (("--dimension", "charme"), "did you mean 'charm'"),
        (("--layer", 9), "layer 9 is out of range"),
        (("--scale", 1, 3), "off the scale"),
        (("--scale", 3, 1), "from a lower to a higher"),
        (("--format", "aut", "--scale", 1, 5), "scale of their own"),
        (("--format", "ttcw"), "salesforce"),
        (("--scores", "nowhere.csv"), "nowhere.csv does not exist"),
        (("--pairs", "nowhere.csv"), "nowhere.csv does not exist"),
    ],
)
def test_options_that_cannot_be_used(fails, options, message):
    assert message in fails(*options)


def test_a_file_of_ratings_that_cannot_be_read(fails, write, tmp_path):
    assert "does not exist" in fails(ratings=tmp_path / "nowhere.csv")
    assert ".csv or .parquet" in fails(ratings=tmp_path)
    doubled = "text_id,prompt_id,rater_id,dimension,rating\na,p,r,wit,1\na,p,r,wit,1\n"
    assert "line 3" in fails(ratings=write("r.csv", doubled))
    typing_error = "text_id,prompt_id,dimension,ratng\na,p,wit,1\n"
    assert "did you mean 'rating'" in fails(ratings=write("r.csv", typing_error))


def test_directions_that_cannot_be_used(fails, run, tmp_path):
    from creativity_lens.directions.direction import DirectionSet

    assert "nowhere" in fails(directions=tmp_path / "nowhere.safetensors")
    other = of_another_model(DirectionSet.load(run / "directions.safetensors"), d_model=7)
    other.save(tmp_path / "other.safetensors")
    fails(directions=tmp_path / "other.safetensors", loads=True)


def test_a_place_that_cannot_be_written(fails, cli, file, write, loaded, tmp_path):
    blocked = write("blocked", "")
    ended = cli("evaluate", "--ratings", file, "--no-model", "--out", blocked / "out")
    assert ended.code == 2
    assert "cannot write" in ended.err
    assert "cannot write" in fails("--store", blocked / "store")


def test_scores_that_clash_or_are_of_other_texts(fails, write):
    one = write("one.csv", "text_id,s\nt0-0,1\n")
    other = write("other.csv", "text_id,s\nt0-1,1\n")
    assert "two files of scores have a column 's'" in fails("--scores", one, "--scores", other)
    stranger = write("stranger.csv", "text_id,s\nx,1\n")
    assert "none of the 1 texts" in fails("--scores", stranger, "--no-model")
    pairs = write("pairs.csv", "text_a,text_b,preference\nt0-0,t0-1,1\n")
    assert "rename one folder" in fails("--pairs", pairs, "--pairs", pairs, "--no-model")


def test_nothing_to_compare(fails, tmp_path):
    path = tmp_path / "r.csv"
    rating_frame(without(texts(n_prompts=2), "text"), noise(1)).to_csv(path, index=False)
    assert "nothing to hold" in fails("--no-model", ratings=path)


def test_help_shows_examples(cli):
    ended = cli("evaluate", "--help")
    assert ended.code == 0
    assert "--ratings ratings.csv" in ended.out
