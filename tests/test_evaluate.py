"""Agreement with people end to end on a tiny model, with truths that are planted in the ratings."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from creativity_lens.activations.reading import read_passages
from creativity_lens.directions.extract import ExtractionConfig, extract
from creativity_lens.directions.rereading import paired_means, passages_in
from creativity_lens.directions.run_files import load_run, save_run
from creativity_lens.errors import DirectionMismatchError, InputError
from creativity_lens.evaluation.accuracy import accuracies
from creativity_lens.evaluation.agreement import agreement, holm
from creativity_lens.evaluation.pair_design import pair_design
from creativity_lens.evaluation.ratings import ratings_from_frame
from creativity_lens.generation.sampling import Sampling
from creativity_lens.probes.random_directions import within_class_directions
from creativity_lens.probes.separability import separability
from creativity_lens.prompts.pairs import load_contrast
from creativity_lens.scoring.score import Text, score_texts
from creativity_lens.scoring.text_means import read_text_means
from creativity_lens.scoring.variants import VARIANTS, direction_scores
from creativity_lens.studies import evaluate_judges
from creativity_lens.studies.evaluate import evaluate
from creativity_lens.studies.evaluate_choice import choose
from creativity_lens.studies.evaluate_comparisons import JudgedPairs, comparisons
from creativity_lens.studies.evaluate_config import EvaluateConfig
from creativity_lens.studies.evaluate_judges import pairs_to_judge
from creativity_lens.studies.evaluate_scores import ScoreColumns, ScoreKey
from tests.fakes import of_another_model
from tests.rated_texts import EACH, N_PROMPTS, QUICK, noise, rated, rating_frame, texts, without
from tests.tiny import N_CTX, N_LAYERS

LAYERED = [name for name in VARIANTS if name != "layer_average"]
FULL = replace(
    QUICK,
    with_prompt=True,
    layer=None,
    nuisances=("formality",),
    nuisance_pairs=3,
    rate=True,
    judge_pairs=6,
)


@pytest.fixture(scope="module")
def run(llama, tmp_path_factory):
    config = ExtractionConfig(sampling=Sampling(max_new_tokens=8, temperature=1.0))
    extraction = extract(llama, load_contrast("stories")[:6], config)
    return load_run(save_run(extraction, tmp_path_factory.mktemp("run"), manifest={}))


@pytest.fixture(scope="module")
def directions(run):
    return run[0]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Shared: the same texts are read once for all tests."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def study(llama, run, store):
    """Evaluate with the contrast beside the directions, through the shared store."""
    directions, rows = run

    def _study(ratings, config=QUICK, **how):
        how = {"rows": rows, "store": store} | how
        return evaluate(ratings, llama, directions, config, **how)

    return _study


@pytest.fixture(scope="module")
def full_ratings():
    known = texts()
    return ratings_from_frame(
        pd.concat(
            [
                rating_frame(known, noise(1), dimension="charm"),
                rating_frame(known, noise(2), dimension="creativity"),
            ]
        ),
        source="folder/planted.csv",
    )


@pytest.fixture(scope="module")
def full(study, full_ratings):
    return study(full_ratings, FULL)


@pytest.fixture(scope="module")
def score_of(full):
    """Any score of a text, by the name of its column."""
    table = full.tables["scores"].set_index("text_id")
    return lambda column: lambda name: table.loc[name, column]


def at(table, **where):
    for column, value in where.items():
        table = table[table[column] == value]
    return table


def one(table, **where):
    found = at(table, **where)
    assert len(found) == 1, found
    return found.iloc[0]


# --- what is there ---------------------------------------------------------------------------


def test_every_score_is_held_against_every_dimension_in_both_scopes(full):
    table = full.tables["agreement"]
    expected = {(name, layer) for name in LAYERED for layer in range(N_LAYERS)}
    expected |= {(f"{name}+prompt", layer) for name, layer in expected}
    expected |= {
        (name, layer)
        for name in (
            "cosine_common_length", "cosine_common_length+prompt", "direction:formality",
            "direction:length", "fitted",
        )
        for layer in range(N_LAYERS)
    }  # fmt: skip
    expected |= {
        (name, None)
        for name in (
            "layer_average", "layer_average+prompt", "chosen", "length", "nll", "nll+prompt",
            "n_words", "distinct_1", "distinct_2", "compression_ratio", "naive_rating",
            "naive_rating_sampled", "naive_pairwise", "fitted_words",
        )
    }  # fmt: skip
    for dimension in ("charm", "creativity"):
        for scope in ("prompt", "prompt+author"):
            rows = at(table, dimension=dimension, scope=scope)
            found = [
                (score, None if layer is pd.NA else int(layer))
                for score, layer in zip(rows["score"], rows["layer"], strict=True)
            ]
            assert len(found) == len(set(found))
            assert set(found) == expected
    kinds = dict(zip(table["score"], table["kind"], strict=True))
    assert kinds["whitened"] == kinds["chosen"] == "score"
    assert kinds["length"] == kinds["nll"] == kinds["distinct_2"] == "baseline"
    assert kinds["direction:formality"] == "direction"
    assert kinds["naive_rating"] == kinds["naive_pairwise"] == "judge"


def test_rows_with_pairs_have_intervals_around_them_and_increments_where_promised(full):
    table = at(full.tables["agreement"], dimension="creativity", scope="prompt")
    table = table[table["n_pairs"] > 20]
    assert (table["ci_low"] <= table["pairwise_accuracy"]).all()
    assert (table["pairwise_accuracy"] <= table["ci_high"]).all()
    assert table["p_value"].between(1 / 100, 1).all()
    detailed = table[table["layer"].isna() | (table["layer"] == full.layer)]
    detailed = detailed[detailed["score"] != "naive_pairwise"]
    # Nothing is added by what the base holds, and nothing can be said of what ratings made.
    without = detailed["score"].isin(
        ["length", "n_words", "nll", "chosen", "fitted", "fitted_words"]
    )
    assert detailed[~without]["increment"].notna().all()
    for what in ("prompts", "pairs"):
        assert (detailed[f"increment_{what}"] == detailed[f"n_{what}"])[~without].all()
    assert detailed[~without]["increment_sign"].between(-1, 1).all()
    assert detailed["increment"][without].isna().all()
    assert detailed["matched_pairs"].notna().all()
    compared = detailed[detailed["score"] != "cosine"]["difference"]
    assert compared.notna().all()
    elsewhere = table[table["layer"].notna() & (table["layer"] != full.layer)]
    assert len(elsewhere)
    assert elsewhere["increment"].isna().all()


def test_scores_are_those_of_score_texts_in_both_contexts(llama, directions, full):
    table = full.tables["scores"].set_index("text_id")
    known = [Text(t["text_id"], t["text"], t["prompt"]) for t in texts()]
    for suffix, some in (("", [replace(text, prompt=None) for text in known]), ("+prompt", known)):
        found = score_texts(llama, directions, some, layers=range(N_LAYERS))
        for row, layer in enumerate(found.layers):
            np.testing.assert_allclose(
                table.loc[list(found.ids), f"cosine{suffix}@{layer}"],
                found.values[:, row], atol=1e-5,
            )  # fmt: skip


def test_holm_is_over_the_dimensions_alone(full):
    table = full.tables["agreement"]
    for score, layer in (("cosine", 1), ("whitened", 2)):
        rows = at(table, score=score, layer=layer, scope="prompt")
        assert set(rows["dimension"]) == {"charm", "creativity"}
        np.testing.assert_allclose(rows["p_holm"], holm(rows["p_value"].to_numpy()))
    rows = at(table, score="length", scope="prompt")
    np.testing.assert_allclose(rows["p_holm"], holm(rows["p_value"].to_numpy()))


def test_the_layer_is_the_one_that_separates_the_contrast_best(llama, run, full):
    _, rows = run
    read = read_passages(llama, passages_in(rows, "neutral"), layers=range(N_LAYERS)).means
    means = paired_means(rows, read.float())
    best = separability(
        means.creative, means.uncreative, means.groups, n_folds=5, n_permutations=0
    ).best_layer
    assert full.layer == best
    assert "AUROC" in full.layer_reason


def test_claims_are_about_creativity_though_charm_was_rated_first(full):
    assert full.claims
    assert all("'creativity'" in claim.statement for claim in full.claims)
    assert full.tables["claims"]["statement"].tolist() == [c.statement for c in full.claims]


def test_the_other_tables_say_what_they_are_of(full):
    tables = full.tables
    assert full.source == "planted.csv"
    assert len(tables["scores"]) == N_PROMPTS * EACH
    assert set(tables["nulls"]["null"]) == {"isotropic", "within", "shuffled"}
    assert (tables["nulls"]["n"] == 40).all()
    assert set(tables["nulls"]["layer"]) == set(range(N_LAYERS))
    assert len(tables["ratings"]) == 2 * N_PROMPTS * EACH
    assert (tables["ratings"]["n"] == 2).all()
    assert set(tables["judges"]["measure"]) >= {"position bias", "consistency"}
    between = tables["between"]
    assert set(zip(between["first"], between["second"], strict=True)) >= {
        ("cosine", "naive_rating"), ("cosine", "length"), ("naive_rating", "length"),
    }  # fmt: skip
    assert not full.warnings


def test_accuracy_by_prompt_adds_up_to_the_row(full):
    where = {"score": "cosine", "layer": full.layer, "dimension": "charm", "scope": "prompt+author"}
    row = one(full.tables["agreement"], **where)
    parts = at(full.tables["per_prompt"], **where)
    assert parts["prompt_id"].is_unique
    assert parts["n_pairs"].sum() == row["n_pairs"]
    mean = np.average(parts["accuracy"], weights=parts["n_pairs"])
    assert mean == pytest.approx(row["pairwise_accuracy"])


def test_a_second_run_reads_nothing_with_the_model(
    llama, study, full_ratings, full, monkeypatch, tmp_path
):
    def forward(*args, **kwargs):
        raise AssertionError("the model ran")

    monkeypatch.setattr(llama, "forward", forward)
    again = study(full_ratings, FULL)
    for name, table in full.tables.items():
        pd.testing.assert_frame_equal(again.tables[name], table)
    with pytest.raises(AssertionError, match="the model ran"):
        study(full_ratings, FULL, store=tmp_path)


def test_a_dimension_that_is_asked_for_twice_is_one(study):
    ratings = rated(without(texts(), "author_type"), noise(3))
    asked = ("creativity", "creativity")
    twice = study(ratings, replace(QUICK, dimensions=asked)).tables["agreement"]
    once = study(ratings).tables["agreement"]
    pd.testing.assert_frame_equal(twice, once)


@pytest.mark.parametrize(
    ("value", "gap", "said"),
    [
        (noise(3), 0.0, None),
        (noise(3), 100.0, "No two texts' mean ratings differ by 100 (creativity, lay, prompt: at "),
        (lambda name: 3.0, 0.0, "No two texts that can be compared are rated apart (creativity"),
        (lambda name: 3.0 + (name == "t0-0") * 2 + int(name[-1]) / 10, 1.0, "few do so by 1 (c"),
    ],
)
def test_a_gap_that_leaves_little_is_said(study, value, gap, said):
    ratings = rated(without(texts(), "author_type"), value)
    warnings = study(ratings, replace(QUICK, min_gap=gap)).warnings
    assert sum("rated apart" in w or "differ" in w for w in warnings) == (said is not None)
    assert said is None or any(said in w for w in warnings)


def test_scores_of_some_texts_and_of_others_are_told(study):
    known = without(texts(), "author_type")
    ids = [t["text_id"] for t in known]
    brought = pd.DataFrame(
        {"half": [1.0] * 24 + [math.nan] * 24 + [1.0], "whole": [1.0] * 48 + [math.nan]},
        index=[*ids, "elsewhere"],
    )
    warnings = study(rated(known, noise(3)), scores=brought).warnings
    assert any("Scores of 1 texts that are not in planted are left out." in w for w in warnings)
    assert any("some of the 48 texts only: half for 24. Pairs" in w for w in warnings)
    fine = study(rated(known, noise(3)), scores=brought.loc[ids, ["whole"]]).warnings
    assert not any("Scores" in w for w in fine)


def test_a_contrast_that_is_not_at_hand_is_a_warning(study):
    ratings = rated(without(texts(), "author_type"), noise(3))
    assert any("are not at hand" in w for w in study(ratings, rows=()).warnings)
    assert not any("are not at hand" in w for w in study(ratings).warnings)


# --- planted truths --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def of_cosine(study, score_of):
    """Rated by the paper's score at layer 1."""
    return study(rated(without(texts(), "author_type"), score_of("cosine@1")))


def test_ratings_made_of_the_score_are_found_again(of_cosine):
    row = one(of_cosine.tables["agreement"], score="cosine", layer=1)
    assert row["pairwise_accuracy"] == row["kendall"] == row["ci_high"] == 1
    # Twelve prompts that are all right: .025 ** (1 / 12).
    assert row["ci_low"] == pytest.approx(0.7354, abs=1e-4)
    assert row["spearman"] == pytest.approx(1)
    assert row["n_pairs"] == N_PROMPTS * EACH * (EACH - 1) / 2
    assert row["p_value"] == pytest.approx(1 / 100)
    assert row["increment_low"] > 0
    assert one(of_cosine.tables["nulls"], null="within", layer=1)["share_as_far"] == 1 / 41
    others = at(of_cosine.tables["agreement"], score="cosine")
    assert (others[others["layer"] != 1]["pairwise_accuracy"] < 1).all()


def test_the_chosen_score_is_the_one_that_made_the_ratings(of_cosine):
    choice = of_cosine.tables["choice"]
    assert len(choice) == N_PROMPTS
    assert set(zip(choice["score"], choice["layer"], strict=True)) == {("cosine", 1)}
    assert one(of_cosine.tables["agreement"], score="chosen")["pairwise_accuracy"] == 1


def test_a_score_that_made_the_ratings_is_supported_and_the_chosen_one_with_a_caveat(of_cosine):
    orders, adds, chosen, fitted = of_cosine.claims
    assert orders.verdict == adds.verdict == "supported"
    assert fitted.statement.startswith("Some direction at layer 1")
    assert "cosine at layer 1" in orders.statement
    assert chosen.verdict == "with a caveat"
    assert of_cosine.layer == 1
    assert of_cosine.layer_reason == "as asked"


def test_a_score_turned_around_runs_against_people(study, score_of):
    cosine = score_of("cosine@1")
    found = study(rated(without(texts(), "author_type"), lambda name: -cosine(name)))
    assert one(found.tables["agreement"], score="cosine", layer=1)["pairwise_accuracy"] == 0
    assert found.claims[0].verdict == "not supported"
    assert "against people" in found.claims[0].reason


def test_ratings_made_of_length_leave_the_score_nothing_to_add(study, score_of):
    found = study(rated(without(texts(), "author_type"), score_of("length")))
    table = found.tables["agreement"]
    assert one(table, score="length")["pairwise_accuracy"] == 1
    assert one(table, score="length")["kendall"] == pytest.approx(1)
    row = one(table, score="cosine", layer=1)
    # The base is right about every pair, so nothing can be gained.
    assert -0.1 < row["increment"] <= 0
    assert math.isnan(row["partial_spearman"]) or abs(row["partial_spearman"]) < 0.5
    assert one(found.tables["ceilings"])["length_accuracy"] == 1
    assert found.claims[1].verdict == "not supported"
    assert "length (more is better): 1.00" in found.claims[0].rival


def test_what_people_rate_and_the_direction_misses_is_read_by_a_fitted_one(
    study, llama, run, store
):
    directions, _ = run
    known = [Text(t["text_id"], t["text"]) for t in texts()]
    read = read_text_means(llama, directions, known, store=store, with_prompt=False)
    unit = read.unit[:, 1].double().numpy()
    around = unit - unit.mean(axis=0)
    own = directions[1].vector.double().numpy()
    axes = np.linalg.svd(around - np.outer(around @ own, own), full_matrices=False)[2]
    value = dict(zip([t["text_id"] for t in texts()], around @ axes[2], strict=True))
    found = study(rated(without(texts(), "author_type"), value.get))
    table = found.tables["agreement"]
    fitted, paper = one(table, score="fitted", layer=1), one(table, score="cosine", layer=1)
    assert fitted["pairwise_accuracy"] > 0.8
    assert fitted["difference_low"] > 0  # better than the paper's score, in the same draws
    assert fitted["pairwise_accuracy"] - paper["pairwise_accuracy"] == pytest.approx(
        fitted["difference"]
    )
    assert found.claims[0].verdict == "not supported"
    assert found.claims[-1].verdict == "with a caveat"
    assert "what can be read there" in found.claims[-1].reason


@pytest.mark.parametrize("seed", [3, 4])
def test_ratings_at_random_support_nothing(study, seed):
    found = study(rated(texts(), noise(seed)))
    assert {claim.verdict for claim in found.claims} == {"not supported"}


def test_groups_that_disagree_stay_apart(study, score_of):
    known, cosine = without(texts(), "author_type"), score_of("projection@2")
    frame = pd.concat(
        [
            rating_frame(known, cosine, group="lay"),
            rating_frame(known, lambda name: -cosine(name), group="expert", raters=("e0", "e1")),
        ]
    )
    found = study(ratings_from_frame(frame))
    table = found.tables["agreement"].set_index(["score", "layer"])
    table = table[~table.index.get_level_values("score").isin(["chosen", "fitted", "fitted_words"])]
    lay, expert = (table[table["rater_group"] == group] for group in ("lay", "expert"))
    assert len(table) == len(lay) + len(expert)
    np.testing.assert_allclose(
        lay["pairwise_accuracy"] + expert.loc[lay.index, "pairwise_accuracy"], 1
    )
    assert lay.loc[("projection", 2), "pairwise_accuracy"] == 1
    assert expert.loc[("projection", 2), "pairwise_accuracy"] == 0
    statements = [claim.statement for claim in found.claims]
    assert len(statements) == 8
    assert sum("'lay'" in statement for statement in statements) == 4


def test_raters_who_agree_have_a_ceiling_of_one_and_positions_have_none(study, score_of):
    known = without(texts(), "author_type")
    persons = study(rated(known, score_of("cosine@1")))
    top = one(persons.tables["ceilings"])
    assert top["ceiling"] == top["paper_accuracy"] == 1
    assert top["n_raters"] == 2
    assert top["icc1"] == pytest.approx(1)
    assert one(persons.tables["agreement"], score="length")["ceiling"] == 1
    positions = study(rated(known, score_of("cosine@1"), raters=("", "")))
    top = one(positions.tables["ceilings"])
    assert math.isnan(top["ceiling"])
    assert "do not persist" in top["reason"]
    assert positions.tables["agreement"]["ceiling"].isna().all()
    assert any("have no ids" in warning for warning in positions.warnings)


def test_under_ten_prompts_it_holds_for_these_alone(study, score_of):
    few = [text for text in without(texts(), "author_type") if text["prompt_id"] in ("p0", "p1")]
    found = study(rated(few, score_of("cosine@1")))
    row = one(found.tables["agreement"], score="cosine", layer=1)
    assert row["n_prompts"] == 2
    assert "These prompts only" in row["note"]
    assert "2 prompts" in found.claims[0].reason
    assert found.claims[0].verdict != "supported"
    assert not len(found.tables["choice"])  # too few to choose by
    assert "chosen" not in set(found.tables["agreement"]["score"])


def test_systems_are_compared_where_there_are_ten(study, score_of):
    # System k writes the texts whose rating is about k: the order of means is the order of names.
    known, cosine = without(texts(), "author_type"), score_of("cosine@1")
    order = sorted((text["text_id"] for text in known), key=cosine)
    system = {name: f"s{place * 12 // len(order):02d}" for place, name in enumerate(order)}
    known = [{**text, "system": system[text["text_id"]]} for text in known]
    found = study(rated(known, cosine))
    assert one(found.tables["agreement"], score="cosine", layer=1)["system_kendall"] == 1
    four = evaluate(rated(without(texts(), "author_type"), cosine), config=QUICK)
    assert four.tables["agreement"]["system_kendall"].isna().all()


# --- authors ---------------------------------------------------------------------------------


def test_authors_are_a_second_scope_only_if_two_types_are_known(study, score_of):
    both = study(rated(texts(), score_of("cosine@1"))).tables["agreement"]
    pairs = {
        scope: one(both, score="cosine", layer=1, scope=scope)["n_pairs"]
        for scope in ("prompt", "prompt+author")
    }
    assert pairs == {"prompt": N_PROMPTS * 6, "prompt+author": N_PROMPTS * 2}
    for known in (
        without(texts(), "author_type"),
        [{**text, "author_type": "model"} for text in texts()],
        [{**text, "author_type": ("model", "")[i % 2]} for i, text in enumerate(texts())],
    ):
        alone = evaluate(rated(known, score_of("cosine@1")), config=QUICK).tables
        assert set(alone["agreement"]["scope"]) == {"prompt"}
        assert set(alone["ceilings"]["scope"]) == {"prompt"}


def test_a_score_that_only_tells_authorship_is_at_chance_within_authors(study):
    # People like the texts of people; the score knows nothing but who wrote.
    known = texts()
    human = {text["text_id"]: float(text["author_type"] == "human") for text in known}
    luck = noise(5)
    scores = pd.DataFrame({"authorship": human})
    found = evaluate(
        rated(known, lambda name: 10 * human[name] + luck(name)), config=QUICK, scores=scores
    )
    table = at(found.tables["agreement"], score="authorship")
    assert one(table, scope="prompt")["pairwise_accuracy"] > 0.8
    assert one(table, scope="prompt+author")["pairwise_accuracy"] == 0.5
    assert found.claims[0].verdict == "not supported"  # of the strictest scope


# --- what is missing -------------------------------------------------------------------------


def test_a_text_without_words_has_no_score_of_the_model_but_those_that_were_brought(study):
    known = texts()
    for text in known[:3]:
        text["text"] = "" if text is known[0] else "  \n"
    truth = noise(6)
    scores = pd.DataFrame({"brought": {text["text_id"]: truth(text["text_id"]) for text in known}})
    config = replace(QUICK, nuisances=("formality",), nuisance_pairs=3, rate=True, judge_pairs=4)
    found = study(rated(without(known, "author_type"), truth), config, scores=scores)
    table = found.tables["scores"].set_index("text_id")
    blank = [text["text_id"] for text in known[:3]]
    own = [name for name in table.columns if name not in ("prompt_id", "author_type", "system")]
    own.remove("brought")
    assert table.loc[blank, own].isna().all(axis=None)
    assert table.drop(index=blank)["cosine@1"].notna().all()
    rows = found.tables["agreement"]
    brought = one(rows, score="brought")
    assert brought["pairwise_accuracy"] == 1
    # Prompt p0 holds one text with words, which makes no pair.
    assert one(rows, score="cosine", layer=1)["n_prompts"] == N_PROMPTS - 1
    assert brought["n_prompts"] == N_PROMPTS
    assert any("3 of 48 texts come without their text" in warning for warning in found.warnings)


def test_one_word_has_no_pair_of_words_and_still_a_score(study, score_of):
    known = without(texts(), "author_type")
    known[5]["text"] = "river"
    known[6]["text"] = "…"
    found = study(rated(known, noise(7)))
    table = found.tables["scores"].set_index("text_id")
    assert math.isnan(table.loc[known[5]["text_id"], "distinct_2"])
    assert table.loc[known[5]["text_id"], "length"] == 1
    assert math.isfinite(table.loc[known[6]["text_id"], "cosine@1"])
    assert table.loc[known[6]["text_id"], "n_words"] == 0


def test_no_text_is_read_after_its_prompt_unless_all_prompts_are_known(study):
    known = without(texts(), "author_type")
    known[0]["prompt"] = known[1]["prompt"] = " "
    ratings, asked = rated(known, noise(8)), replace(QUICK, with_prompt=True)
    found = study(ratings, asked)
    assert not any("+prompt" in name for name in found.tables["scores"].columns)
    said = "2 of 48 texts come without the words of their prompt"
    assert any(said in warning for warning in found.warnings)
    # Not asked for, nothing is missed.
    assert not any(said in warning for warning in study(ratings).warnings)
    known = study(rated(texts(), noise(8))).tables["scores"].columns
    assert not any("+prompt" in name for name in known)


def test_without_the_contrast_the_layer_is_two_thirds_of_the_depth(study):
    known = rated(without(texts(), "author_type"), noise(9))
    found = study(known, replace(QUICK, layer=None), rows=())
    assert found.layer == 2
    assert "do not lie beside" in found.layer_reason
    assert set(found.tables["nulls"]["null"]) == {"isotropic", "within"}
    assert "whitened" in set(found.tables["agreement"]["score"])


def test_without_the_contrast_the_covariance_is_of_what_the_direction_was_made_of(
    study, directions, llama, store
):
    unit = replace(directions, provenance={**directions.provenance, "unit_tokens": True})
    known = rated(without(texts(), "author_type"), noise(9))
    found = evaluate(known, llama, unit, QUICK, store=store)
    plain = study(known, rows=())
    # Tokens of large norm rule the covariance of tokens as they are: random directions differ.
    for result, kind in ((found, "unit"), (plain, "raw")):
        means = read_text_means(
            llama, directions, [Text(t["text_id"], t["text"]) for t in texts()],
            store=store, with_prompt=False,
        )  # fmt: skip
        read = getattr(means, kind).double()
        around = torch.cat([part - part.mean(dim=0) for part in read.split(EACH)])
        drawn = within_class_directions(around, around, QUICK.n_random, seed=0)
        one_design = comparisons(known, QUICK)[0].design
        expected = accuracies(one_design, direction_scores(means, drawn.double())[:, 1])
        row = one(result.tables["nulls"], null="within", layer=1)
        assert row["mean"] == pytest.approx(expected.mean())
        assert row["high"] == pytest.approx(np.quantile(expected, 0.975))
        own = one(result.tables["agreement"], score="cosine", layer=1)["pairwise_accuracy"]
        far = (np.abs(expected - 0.5) >= abs(own - 0.5) - 1e-9).sum()
        assert 1 <= far < QUICK.n_random  # or the share would say nothing
        assert row["share_as_far"] == pytest.approx((1 + far) / (1 + QUICK.n_random))
    assert not np.allclose(
        found.tables["scores"]["whitened@1"], plain.tables["scores"]["whitened@1"]
    )


def test_one_layer_alone(study, score_of):
    known = without(texts(), "author_type")
    found = study(rated(known, score_of("cosine@1")), replace(QUICK, all_layers=False))
    assert set(found.tables["agreement"]["layer"].dropna()) == {1}
    assert set(found.tables["nulls"]["layer"]) == {1}
    assert one(found.tables["agreement"], score="cosine")["pairwise_accuracy"] == 1
    # The null is of that layer of the contrast, not of its first.
    every = study(rated(known, score_of("cosine@1")))
    for null in ("within", "shuffled"):
        same = one(every.tables["nulls"], null=null, layer=1)
        assert one(found.tables["nulls"], null=null)["mean"] == pytest.approx(same["mean"])
    np.testing.assert_allclose(
        found.tables["scores"]["whitened@1"], every.tables["scores"]["whitened@1"], atol=1e-5
    )


def test_one_layer_alone_without_the_contrast(study):
    known = rated(without(texts(), "author_type"), noise(9))
    found = study(known, replace(QUICK, all_layers=False), rows=())
    assert set(found.tables["nulls"]["null"]) == {"isotropic", "within"}
    assert found.layer == 1
    every = study(known, rows=())
    np.testing.assert_allclose(
        found.tables["scores"]["whitened@1"], every.tables["scores"]["whitened@1"], atol=1e-5
    )
    # The average of one layer would be that layer under another name.
    assert "layer_average" not in set(found.tables["agreement"]["score"])
    assert "layer_average" in set(every.tables["agreement"]["score"])


@pytest.mark.parametrize("contrast", [True, False])
def test_the_order_of_the_rows_changes_no_score(study, contrast):
    how = {} if contrast else {"rows": ()}
    known = texts()[: N_PROMPTS * EACH - 1]  # an odd number of them
    config = replace(QUICK, judge_pairs=6)
    found = study(rated(known, noise(9)), config, **how).tables
    mixed = [known[i] for i in np.random.default_rng(0).permutation(len(known))]
    other = study(rated(mixed, noise(9)), config, **how).tables
    before, after = (t["scores"].set_index("text_id").sort_index() for t in (found, other))
    numbers = before.select_dtypes("number").columns
    assert {"whitened@1", "direction:length@1", "layer_average"} <= set(numbers)
    for name in numbers:
        np.testing.assert_allclose(before[name], after[name], atol=2e-4, err_msg=name)
    judged = [
        at(t["agreement"], score="naive_pairwise")["n_pairs"].tolist() for t in (found, other)
    ]
    assert judged[0] == judged[1]


def test_the_direction_of_length_is_where_texts_of_one_prompt_go(study, llama, directions, store):
    known = without(texts(), "author_type")
    found = study(rated(known, noise(9)), rows=())
    means = read_text_means(
        llama, directions, [Text(t["text_id"], t["text"]) for t in known],
        store=store, with_prompt=False,
    )  # fmt: skip
    logs = np.log(means.n_tokens).reshape(-1, EACH)
    parts = means.raw[:, 1].double().numpy().reshape(-1, EACH, means.raw.shape[2])
    slope = np.einsum(
        "pe,ped->d", logs - logs.mean(axis=1, keepdims=True), parts - parts.mean(1, keepdims=True)
    )
    expected = direction_scores(means, torch.from_numpy(slope).expand(1, N_LAYERS, -1))[0, 1]
    scores = found.tables["scores"].set_index("text_id").loc[list(means.ids)]
    np.testing.assert_allclose(scores["direction:length@1"], expected, atol=1e-6)


def test_a_long_text_is_refused_or_read_in_windows(study, llama, directions):
    known = without(texts(), "author_type")[:8]
    known[3]["text"] = " ".join(["the river sings of bread"] * 80)
    ratings = rated(known, noise(10))
    with pytest.raises(InputError, match="t0-3"):
        study(ratings)
    config = replace(QUICK, window=64, rate=True, judge_pairs=50)
    found = study(ratings, config)
    table = found.tables["scores"].set_index("text_id")
    assert table.loc["t0-3", "length"] > N_CTX
    expected = score_texts(llama, directions, [Text("t0-3", known[3]["text"])], layers=1, window=64)
    assert table.loc["t0-3", "cosine@1"] == pytest.approx(float(expected.values[0, 0]), abs=1e-5)
    # The judge is asked about whole texts, which do not fit: said, and the rest goes on.
    assert any("did not rate" in warning for warning in found.warnings)
    assert any("did not compare" in warning for warning in found.warnings)
    assert not len(found.tables["judges"])


def test_premises_of_the_direction_among_the_prompts_are_said(study, run):
    known = without(texts(), "author_type")
    premise = load_contrast("stories")[0].premise
    for text in known[:4]:
        text["prompt"] = premise
    found = study(rated(known, noise(11)))
    assert any("1 prompts of the rated texts are premises" in w for w in found.warnings)
    assert not any("premises" in w for w in study(rated(texts(), noise(11))).warnings)


def test_a_model_that_cannot_judge_is_a_warning(study, monkeypatch, tmp_path):
    def cannot(*args, **kwargs):
        raise InputError("no such token.")

    monkeypatch.setattr(evaluate_judges, "rate_texts", cannot)
    known = rated(without(texts(), "author_type"), noise(12))
    found = study(known, replace(QUICK, rate=True, quality="odd"))
    assert "The model did not rate the texts: no such token." in found.warnings
    assert "naive_rating" not in set(found.tables["agreement"]["score"])


# --- rivals ----------------------------------------------------------------------------------


def test_scores_that_were_brought_stand_beside_the_others_in_any_order(study):
    known, truth = without(texts(), "author_type"), noise(13)
    names = [text["text_id"] for text in known]
    scores = pd.DataFrame(
        {"right": [truth(name) for name in names], "wrong": [-truth(name) for name in names]},
        index=names,
    ).sample(frac=1, random_state=0)
    scores = pd.concat([scores, pd.DataFrame({"right": [1.0]}, index=["a text of another set"])])
    found = study(rated(known, truth), scores=scores)
    table = found.tables["agreement"]
    assert one(table, score="right")["pairwise_accuracy"] == 1
    assert one(table, score="wrong")["pairwise_accuracy"] == 0
    assert set(at(table, score="right")["kind"]) == {"given"}
    assert len(at(table, score="cosine")) == N_LAYERS


def test_pairs_that_were_judged_join_as_a_rival(study):
    known, truth = without(texts(), "author_type"), noise(14)
    ratings = rated(known, truth)
    pairs = tuple((4 * p + a, 4 * p + b) for p in range(N_PROMPTS) for a, b in ((0, 1), (3, 2)))
    value = [truth(name) for name in ratings.texts.index]
    liked = np.array([0.5 + 0.1 * np.sign(value[a] - value[b]) for a, b in pairs])
    found = study(
        ratings, judged=[JudgedPairs("good", pairs, liked), JudgedPairs("bad", pairs, 1 - liked)]
    )
    decided = int((liked != 0.5).sum())
    for judge, accuracy in (("good", 1), ("bad", 0)):
        row = one(found.tables["agreement"], score=judge)
        assert row["pairwise_accuracy"] == accuracy
        assert row["n_pairs"] == decided
        assert row["kind"] == "judge"


def test_judges_of_pairs_are_held_against_scores_and_each_other(study):
    """The second judge says the opposite on all pairs but one, on which it has no opinion."""
    known = without(texts(), "author_type")
    order = np.random.default_rng(14).permutation(len(known))
    truth = {text["text_id"]: float(place) for text, place in zip(known, order, strict=True)}
    ratings = rated(known, truth.__getitem__)
    pairs = tuple((4 * p, 4 * p + 1) for p in range(N_PROMPTS))
    value = [truth[name] for name in ratings.texts.index]
    liked = np.array([0.5 + 0.1 * np.sign(value[a] - value[b]) for a, b in pairs])
    other = 1 - liked
    other[0] = 0.5
    turned = tuple((b, a) for a, b in pairs)
    scores = pd.DataFrame({"mine": value}, index=ratings.texts.index)
    found = study(
        ratings,
        scores=scores,
        judged=[JudgedPairs("good", pairs, liked), JudgedPairs("bad", turned, 1 - other)],
    )
    table = found.tables["between"]
    assert one(table, first="mine", second="good")["pairwise_accuracy"] == 1
    assert one(table, first="mine", second="bad")["pairwise_accuracy"] == pytest.approx(0.5 / 12)
    both = one(table, first="good", second="bad")
    assert both["pairwise_accuracy"] == pytest.approx(0.5 / 12)
    assert both["n_pairs"] == 12
    assert math.isnan(both["kendall"])
    # One pair a prompt, of which only the first is a tie: at most a few draws hold it often.
    assert both["ci_low"] == 0
    assert 0.5 / 12 < both["ci_high"] < 0.3
    exact = one(table, first="mine", second="good")
    assert (exact["ci_low"], exact["ci_high"]) == (pytest.approx(0.7354, abs=1e-4), 1.0)


def test_judges_are_held_against_each_other_as_against_people(study):
    """The same function as for people: the first is the rating, at any gap."""
    ratings = rated(without(texts(), "author_type"), noise(3))
    drawn = np.random.default_rng(5).normal(size=(2, len(ratings.texts)))
    scores = pd.DataFrame(drawn.T, columns=["mine", "yours"], index=ratings.texts.index)
    row = one(study(ratings, scores=scores).tables["between"], first="mine", second="yours")
    prompts = tuple(ratings.texts["prompt_id"])
    (same,) = agreement(
        pair_design(drawn[0], prompts, min_gap=0.0), drawn[1:], n_draws=100, n_permutations=99
    )
    for name in ("pairwise_accuracy", "ci_low", "ci_high", "p_value", "kendall", "n_pairs"):
        assert row[name] == pytest.approx(getattr(same, name))


@pytest.mark.parametrize("name", ["cosine@1", "nll", "chosen", "direction:wit", "naive_rating"])
def test_a_name_of_ours_is_refused_before_the_model_reads(study, name):
    ratings = rated(texts(), noise(3))
    scores = pd.DataFrame({name: 1.0}, index=ratings.texts.index)
    told = []
    with pytest.raises(InputError, match="which is a name of ours"):
        study(ratings, scores=scores, on_progress=lambda *stage: told.append(stage))
    assert not told


def test_the_direction_of_length_is_the_texts_own(study):
    """Texts of random words: along it, longer texts lie further."""
    found = study(rated(texts(), noise(3)))
    scores = found.tables["scores"]
    assert scores["direction:length@1"].corr(np.log(scores["length"]), method="spearman") > 0.2


def test_without_a_model_only_what_needs_none(full_ratings):
    found = evaluate(full_ratings, config=QUICK)
    assert found.layer is None
    assert found.layer_reason == "no model"
    assert set(found.tables["agreement"]["score"]) == {
        "n_words", "distinct_1", "distinct_2", "compression_ratio",
    }  # fmt: skip
    assert not len(found.tables["nulls"])
    assert not found.claims


def test_without_a_model_claims_are_about_what_was_brought():
    known, truth = without(texts(), "author_type"), noise(15)
    scores = pd.DataFrame({"mine": {text["text_id"]: truth(text["text_id"]) for text in known}})
    (claim,) = evaluate(rated(known, truth), config=QUICK, scores=scores).claims
    assert "mine" in claim.statement
    assert claim.estimate.estimate == 1


# --- refusals --------------------------------------------------------------------------------


def test_what_cannot_be_is_refused_before_the_model_runs(
    llama, directions, full_ratings, study, tmp_path, monkeypatch
):
    monkeypatch.setattr(llama, "forward", None)
    with pytest.raises(InputError, match="no ratings of 'crativity'"):
        study(full_ratings, replace(QUICK, dimensions=("crativity",)), store=tmp_path)
    with pytest.raises(InputError, match="none of the 1 texts"):
        study(full_ratings, scores=pd.DataFrame({"s": {"x": 1.0}}), store=tmp_path)
    twice = pd.DataFrame({"s": [1.0, 2.0]}, index=["t0-0", "t0-0"])
    with pytest.raises(InputError, match="'t0-0' twice"):
        study(full_ratings, scores=twice, store=tmp_path)
    with pytest.raises(InputError, match="layer 9"):
        study(full_ratings, replace(QUICK, layer=9), store=tmp_path, rows=())
    with pytest.raises(InputError, match="store"):
        evaluate(full_ratings, llama, directions, QUICK)
    with pytest.raises(InputError, match="directions"):
        evaluate(full_ratings, llama, None, QUICK, store=tmp_path)
    with pytest.raises(DirectionMismatchError):
        evaluate(full_ratings, llama, of_another_model(directions, d_model=7), QUICK,
                 store=tmp_path)  # fmt: skip


def test_nothing_to_compare_is_refused():
    with pytest.raises(InputError, match="nothing to hold"):
        evaluate(rated(without(texts(), "text"), noise(0)), config=QUICK)


@pytest.mark.parametrize("name", ["n_words", "cosine@1", "chosen"])
def test_a_score_of_a_name_that_is_taken_is_refused(study, score_of, name):
    ratings = rated(without(texts(), "author_type"), score_of("cosine@1"))
    known = ratings.texts.index
    scores = pd.DataFrame({name: np.arange(float(len(known)))}, index=known)
    with pytest.raises(InputError, match=f"named '{name}'"):
        study(ratings, scores=scores)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"system": 1.0}, "'system'"),
        ({"words": "many"}, "'words' holds what is no number"),
        ({"endless": math.inf}, "'endless' holds infinity"),
    ],
)
def test_a_score_that_is_none_is_refused(full_ratings, values, message):
    with pytest.raises(InputError, match=message):
        evaluate(full_ratings, config=QUICK, scores=pd.DataFrame(values, index=["t0-0"]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_gap": -1.0}, "min_gap"),
        ({"min_gap": math.nan}, "min_gap"),
        ({"n_draws": 10}, "n_draws"),
        ({"n_random": 0}, "n_random"),
        ({"n_folds": 1}, "n_folds"),
        ({"judge_pairs": -1}, "judge_pairs"),
        ({"quality": " "}, "quality"),
        ({"min_gap": math.inf}, "min_gap"),
        ({"window": 1}, "window"),
        ({"nuisance_pairs": 0}, "nuisance_pairs"),
        ({"nuisances": ("formalty",)}, "formalty"),
    ],
)
def test_settings_that_cannot_be_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        EvaluateConfig(**change)


# --- the choice and the judge's pairs --------------------------------------------------------


def test_a_prompt_has_no_part_in_its_own_choice():
    prompts = [f"p{p}" for p in range(4) for _ in range(3)]
    rating = np.tile([1.0, 2.0, 3.0], 4)
    # `a` is right on three prompts and wrong on p3; `b` the other way round.
    a = np.concatenate([rating[:9], -rating[9:]])
    keys = (ScoreKey("a", None, "score"), ScoreKey("b", 2, "score"))
    found = choose(pair_design(rating, prompts), ScoreColumns(keys, np.stack([a, -a])), prompts)
    assert found.chosen == tuple((f"p{p}", keys[0]) for p in range(4))
    np.testing.assert_array_equal(found.values, a)


def test_what_one_prompt_likes_alone_is_chosen_for_the_others_only():
    prompts = [f"p{p}" for p in range(3) for _ in range(3)]
    rating = np.tile([1.0, 2.0, 3.0], 3)
    flat = np.zeros(9)
    b = np.concatenate([rating[:3], flat[3:]])  # right on p0, says nothing elsewhere
    keys = (ScoreKey("flat", None, "score"), ScoreKey("b", 2, "score"))
    found = choose(pair_design(rating, prompts), ScoreColumns(keys, np.stack([flat, b])), prompts)
    # For p0 both tie on the rest, and the first is taken.
    assert [key.score for _, key in found.chosen] == ["flat", "b", "b"]


def test_too_few_prompts_choose_nothing():
    prompts = ["p0"] * 3 + ["p1"] * 3 + ["p2"]
    rating = np.array([1.0, 2.0, 3.0] * 2 + [1.0])
    columns = ScoreColumns((ScoreKey("a", None, "score"),), rating[None])
    found = choose(pair_design(rating, prompts), columns, prompts)
    assert not found.chosen
    assert "2 prompts" in found.reason
    assert np.isnan(found.values).all()


def test_the_judge_is_asked_about_decided_pairs_of_known_texts_prompt_by_prompt():
    known = texts(n_prompts=3) + [
        {**text, "text_id": f"more-{i}", "prompt_id": "p0", "author_type": "human"}
        for i, text in enumerate(texts(n_prompts=3)[:8])
    ]
    ratings = rated(known, noise(1))
    config = replace(QUICK, min_gap=2.0)
    compared = comparisons(ratings, config)
    everything = dict(enumerate(ratings.texts.index))
    pairs = pairs_to_judge(compared, everything, 6, seed=0)
    prompts = ratings.texts["prompt_id"].to_numpy()
    authors = ratings.texts["author_type"].to_numpy()
    means = ratings.means("creativity", "lay")
    assert len(set(pairs)) == len(pairs) == 6
    for a, b in pairs:
        assert prompts[a] == prompts[b]
        assert authors[a] == authors[b]
        assert abs(means[a] - means[b]) >= 2
    by_prompt = [prompts[a] for a, _ in pairs]
    assert {by_prompt.count(p) for p in ("p1", "p2")} <= {0, 1, 2}
    assert len(set(by_prompt)) >= 2
    some = {place: name for place, name in everything.items() if place != pairs[0][0]}
    assert all(pairs[0][0] not in pair for pair in pairs_to_judge(compared, some, 100, seed=0))
    assert pairs_to_judge([], everything, 6, seed=0) == []
    # Where those within author types run out, pairs across them fill up.
    all_of_them = pairs_to_judge(compared, everything, 1000, seed=0)
    across = [authors[a] != authors[b] for a, b in all_of_them]
    assert len(set(all_of_them)) == len(all_of_them) == compared[0].design.decided.sum()
    assert across == sorted(across)
    assert sum(not each for each in across) == compared[1].design.decided.sum()
