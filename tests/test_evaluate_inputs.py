"""The files of an evaluation: scores, judged pairs, the contrast beside directions, formats."""

import math

import numpy as np
import pandas as pd
import pytest

from creativity_lens.directions.extract import ExtractionConfig, extract
from creativity_lens.directions.run_files import save_run
from creativity_lens.errors import DataError, InputError
from creativity_lens.generation.sampling import Sampling
from creativity_lens.prompts.pairs import load_contrast
from creativity_lens.studies.evaluate_inputs import (
    contrast_beside,
    read_judged_pairs,
    read_rated,
    read_scores,
)
from tests.rated_texts import rated, texts

TIDY = """text_id,prompt_id,dimension,rating
a,p,charm,1
a,p,wit,2
b,p,charm,5
b,p,wit,3
"""


# --- ratings ---------------------------------------------------------------------------------


def test_tidy_ratings_come_alone(write):
    ratings, scores = read_rated(write("r.csv", TIDY))
    assert scores is None
    assert ratings.dimensions == ("charm", "wit")
    ratings, _ = read_rated(write("r.csv", TIDY), dimensions=("wit",))
    assert ratings.dimensions == ("wit",)
    np.testing.assert_array_equal(ratings.means("wit", "all"), [2, 3])


def test_the_scale_is_handed_on(write):
    with pytest.raises(DataError, match=r"line 4.*off the scale"):
        read_rated(write("r.csv", TIDY), scale=(1.0, 4.0))


def test_a_set_has_its_own_scale(write):
    with pytest.raises(InputError, match="scale"):
        read_rated(write("r.csv", "x"), format="aut", scale=(1.0, 4.0))


def test_a_public_set_comes_with_its_scores(write):
    header = "id,model,participant,prompt,target,predicted,question,response"
    rows = "u1,m,1,brick,2.5,0.75,What is a use for a brick?,a doorstop"
    path = write("gt_main2_SemDis_MEAN.csv", f"{header}\n{rows}\n")
    ratings, scores = read_rated(path, format="aut")
    assert ratings.dimensions == ("originality",)
    assert scores.loc["u1", "semantic_distance"] == 0.75


def test_an_unknown_format_names_those_that_there_are(write):
    with pytest.raises(InputError, match=r"'hana'.*tidy, hanna, ttcw, writingprompts, aut"):
        read_rated(write("r.csv", TIDY), format="hana")


# --- scores ----------------------------------------------------------------------------------


def test_every_column_beside_the_id_is_a_score_and_a_blank_is_none(write):
    found = read_scores(write("s.csv", "good,text_id,bad\n1.5,a,\n-2, b ,3e-1\n"))
    expected = pd.DataFrame(
        {"good": [1.5, -2.0], "bad": [math.nan, 0.3]},
        index=pd.Index(["a", "b"], name="text_id", dtype=object),
    )
    pd.testing.assert_frame_equal(found, expected)


def test_our_own_table_of_scores_is_read_without_its_words(write):
    own = "text_id,prompt_id,author_type,system,cosine@1\na,p,human,x,0.25\n"
    found = read_scores(write("s.csv", own))
    assert list(found.columns) == ["cosine@1"]
    assert found.loc["a", "cosine@1"] == 0.25


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,s\na,1\n", "no column 'text_id'"),
        ("text_id\na\n", "no column holds a score"),
        ("text_id,system\na,x\n", "no column holds a score"),
        ("text_id,s\n", "holds no row"),
        ("text_id,s\na,1\nb,2\na,3\n", "line 4: the text 'a' was in line 2"),
        ("text_id,s\na,1\n a,3\n", "line 3: the text 'a' was in line 2"),
        ("text_id,s\na,1\nb,high\n", "line 3: s must be a number, got 'high'"),
        ("text_id,s\na,inf\n", "line 2: s must be a finite number"),
        ("text_id,s,s\na,1,2\n", "the column 's' twice"),
        ("", "is empty"),
    ],
)
def test_scores_that_cannot_be_read_are_refused_with_their_line(write, text, message):
    path = write("s.csv", text)
    with pytest.raises(DataError, match=message) as refused:
        read_scores(path)
    assert str(path) in str(refused.value)


def test_scores_that_are_not_there(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_scores(tmp_path / "s.csv")


# --- judged pairs ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ratings():
    return rated(texts(n_prompts=2), lambda name: 1.0)


def test_pairs_are_places_of_texts_and_the_preference_for_the_first(write, ratings):
    path = write(
        "pairs.csv",
        "text_a,prompt_id,text_b,preference,consistent\n"
        "t1-0,p1,t1-3,0.25,true\n"
        " t0-1 ,p0,t0-0,1,true\n"
        "t0-0,p0,t0-2,,false\n",
    )
    found = read_judged_pairs(path, ratings, "someone")
    assert found.judge == "someone"
    assert found.pairs == ((4, 7), (1, 0), (0, 2))
    np.testing.assert_array_equal(found.preference, [0.25, 1, math.nan])


def test_pairs_of_other_texts_are_left_out(write, ratings):
    rows = "text_a,text_b,preference\nx,y,0.5\nt0-0,y,0.5\nt0-0,t0-0,0.5\nt0-0,t0-1,0.75\n"
    found = read_judged_pairs(write("pairs.csv", rows), ratings, "someone")
    assert found.pairs == ((0, 1),)
    np.testing.assert_array_equal(found.preference, [0.75])


def test_what_does_not_count_is_told_with_its_number(write, ratings):
    rows = "text_a,text_b,preference\nx,y,0.5\nt0-0,t1-0,0.5\nt0-0,t0-2,\nt0-0,t0-1,0.75\n"
    assert read_judged_pairs(write("pairs.csv", rows), ratings, "someone").notes == (
        "someone: 1 pairs of texts that are not in planted, or of a text with itself do not count.",
        "someone: 1 pairs of texts on different prompts do not count.",
        "someone: 1 pairs without an answer do not count.",
    )
    good = write("good.csv", "text_a,text_b,preference\nt0-0,t0-1,0.75\n")
    assert read_judged_pairs(good, ratings, "someone").notes == ()


def test_position_bias_and_consistency_are_those_of_the_orders(write, ratings):
    # The first of two is chosen with .9 and .6 (then 1 - .2 = .8 and 1 - .6 = .4): .675 in the
    # mean. The second pair is chosen alike in both orders, the first is not.
    path = write(
        "pairs.csv",
        "text_a,text_b,first_order,second_order,preference\n"
        "t0-0,t0-1,0.9,0.2,0.55\nt0-0,t0-2,0.6,0.6,0.6\nt0-1,t0-2,0.6,,\n",
    )
    bias, alike = read_judged_pairs(path, ratings, "someone").about
    assert (bias["judge"], bias["measure"], bias["value"]) == (
        "someone", "position bias", pytest.approx(0.175),
    )  # fmt: skip
    assert (alike["measure"], alike["value"]) == ("consistency", 0.5)
    bare = write("bare.csv", "text_a,text_b,preference\nt0-0,t0-1,0.75\n")
    assert read_judged_pairs(bare, ratings, "someone").about == ()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "text_a,text_b,preference,first_order,second_order\nt0-0,t0-1,1,2,0\n",
            "line 2: a first_order lies in 0 to 1, got 2",
        ),
        ("text_a,text_b\nt0-0,t0-1\n", "no column 'preference'"),
        ("text_a,text_b,preference\nt0-0,t0-1,1.5\n", "line 2: a preference lies in 0 to 1"),
        ("text_a,text_b,preference\nt0-0,t0-1,-0.1\n", "line 2: a preference lies in 0 to 1"),
        ("text_a,text_b,preference\nt0-0,t0-1,A\n", "line 2: preference must be a number"),
        ("text_a,text_b,preference\nx,y,1\n", "none of its 1 pairs is of texts in planted"),
    ],
)
def test_pairs_that_cannot_be_used_are_refused(write, ratings, rows, message):
    with pytest.raises(DataError, match=message):
        read_judged_pairs(write("pairs.csv", rows), ratings, "someone")


# --- the contrast beside directions ----------------------------------------------------------


@pytest.fixture
def run(llama, tmp_path):
    config = ExtractionConfig(sampling=Sampling(max_new_tokens=4, temperature=1.0))
    extraction = extract(llama, load_contrast("stories")[:2], config)
    return save_run(extraction, tmp_path / "run", manifest={}), extraction


def test_the_texts_of_the_run_that_wrote_the_directions(run):
    home, extraction = run
    assert contrast_beside(home / "directions.safetensors") == list(extraction.rows)


def test_no_texts_without_directions_manifest_or_contrast(run, tmp_path):
    home, _ = run
    path = home / "directions.safetensors"
    alone = tmp_path / "directions.safetensors"
    alone.write_bytes(path.read_bytes())
    assert contrast_beside(alone) == []
    (home / "contrast.jsonl").rename(tmp_path / "kept.jsonl")
    assert contrast_beside(path) == []
    (tmp_path / "kept.jsonl").rename(home / "contrast.jsonl")
    assert contrast_beside(path)
    (home / "manifest.json").unlink()
    assert contrast_beside(path) == []


def test_no_texts_for_another_file_in_the_folder_of_a_run(run):
    home, _ = run
    other = home / "other.safetensors"
    other.write_bytes((home / "directions.safetensors").read_bytes() + b" ")
    assert contrast_beside(other) == []
    for manifest in ("{}", '{"files": null}', '{"files": {}}', "[]"):
        (home / "manifest.json").write_text(manifest, encoding="utf-8")
        assert contrast_beside(home / "directions.safetensors") == []


def test_no_texts_of_directions_that_are_not_there(run):
    home, _ = run
    (home / "directions.safetensors").unlink()
    assert contrast_beside(home / "directions.safetensors") == []
