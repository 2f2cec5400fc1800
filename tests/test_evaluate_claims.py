"""What is said of agreement with people follows from the tables: every branch from planted rows."""

import math

import pandas as pd
import pytest

from creativity_lens.studies.evaluate_claims import agreement_claims
from creativity_lens.studies.evaluate_tables import AGREEMENT_COLUMNS, NULL_COLUMNS

NAN = math.nan
PRIMARY = 3
GOOD = {
    "score": "cosine",
    "layer": PRIMARY,
    "dimension": "wit",
    "rater_group": "all",
    "scope": "prompt",
    "pairwise_accuracy": 0.7,
    "n_pairs": 120,
    "ci_low": 0.6,
    "ci_high": 0.8,
    "p_value": 0.001,
    "p_holm": 0.004,
    "ceiling": 0.75,
    "increment": 0.05,
    "increment_low": 0.01,
    "increment_high": 0.09,
    "increment_sign": 1.0,
    "increment_pairs": 118,
    "increment_prompts": 12,
    "kind": "score",
    "n_texts": 60,
    "n_prompts": 12,
}
NULL = {
    "null": "within",
    "layer": PRIMARY,
    "dimension": "wit",
    "rater_group": "all",
    "scope": "prompt",
    "mean": 0.5,
    "low": 0.4,
    "high": 0.6,
    "n": 100,
    "share_as_far": 0.01,
}
LENGTH = {**GOOD, "score": "length", "layer": None, "kind": "baseline", "pairwise_accuracy": 0.62}
CHOSEN = {**GOOD, "score": "chosen", "layer": None}
NAIVE = {
    **GOOD, "score": "naive_rating", "layer": None, "kind": "judge",
    "pairwise_accuracy": 0.5, "ci_low": 0.45, "ci_high": 0.55, "difference": -0.2,
    "difference_low": -0.3, "difference_high": -0.1, "difference_pairs": 110,
}  # fmt: skip
UNKNOWN = {"pairwise_accuracy": NAN, "ci_low": NAN, "ci_high": NAN, "n_pairs": 0}


def claims(*rows, nulls=(NULL,), primary=PRIMARY, given=()):
    agreement = pd.DataFrame(rows, columns=list(AGREEMENT_COLUMNS)).astype({"layer": "Int64"})
    table = pd.DataFrame(list(nulls), columns=list(NULL_COLUMNS))
    return agreement_claims(agreement, table, primary, "wit", given)


def orders(nulls=(NULL,), **changes):
    return claims({**GOOD, **changes}, LENGTH, nulls=nulls)[0]


# --- whether it orders texts -----------------------------------------------------------------


def test_a_score_that_beats_everything_is_supported():
    claim = orders()
    assert claim.verdict == "supported"
    assert (claim.estimate.estimate, claim.estimate.low, claim.estimate.high) == (0.7, 0.6, 0.8)
    assert claim.statement == (
        "The score (cosine at layer 3) orders texts as people about 'wit', within prompt."
    )
    assert "120 pairs" in claim.unit
    assert "ceiling 0.75" in claim.unit
    assert "p = 0.001" in claim.null
    assert "over dimensions 0.004" in claim.null
    assert "[0.40, 0.60]" in claim.null
    assert claim.rival == "length (more is better): 0.62"


@pytest.mark.parametrize(
    ("changes", "verdict", "reason"),
    [
        ({"pairwise_accuracy": 0.3, "ci_low": 0.2, "ci_high": 0.4}, "not supported", "against"),
        ({"ci_low": 0.45}, "not supported", "not above chance"),
        ({"ci_low": 0.5}, "not supported", "not above chance"),
        ({"ci_low": NAN, "ci_high": NAN}, "not supported", "not above chance"),
        ({"p_holm": 0.05}, "not supported", "permuted ratings do as well"),
        ({"p_holm": NAN}, "not supported", "permuted ratings do as well"),
        ({"increment_low": 0.0}, "with a caveat", "not shown to add to length."),
        ({"increment_low": NAN}, "with a caveat", "not shown to add to length."),
        ({"increment": NAN}, "with a caveat", "what it adds to length is not known"),
        ({"increment_sign": -0.8}, "with a caveat", "its opposite that adds"),
        ({"increment_prompts": 3}, "with a caveat", "Only 3 prompts"),
        ({"ci_low": 0.51, "p_holm": 0.049, "increment_low": 0.001}, "supported", "Better"),
    ],
)
def test_the_verdict_follows_the_numbers(changes, verdict, reason):
    claim = orders(**changes)
    assert claim.verdict == verdict
    assert reason in claim.reason


@pytest.mark.parametrize("share", [0.05, 0.5, NAN])
def test_random_directions_that_do_as_well_refute_it(share):
    claim = orders(nulls=({**NULL, "share_as_far": share},))
    assert claim.verdict == "not supported"
    assert "Random directions" in claim.reason


@pytest.mark.parametrize(
    "other",
    [
        {"null": "isotropic"}, {"null": "shuffled"}, {"layer": 2}, {"rater_group": "lay"},
        {"scope": "prompt+author"}, {"dimension": "charm"},
    ],
)  # fmt: skip
def test_only_the_null_of_the_same_place_counts(other):
    strong = {**NULL, "share_as_far": 0.9}
    assert orders(nulls=({**strong, **other}, NULL)).verdict == "supported"
    assert orders(nulls=({**strong, **other}, strong)).verdict == "not supported"


def test_without_random_directions_the_others_decide_and_none_are_spoken_of():
    claim = orders(nulls=())
    assert claim.verdict == "supported"
    assert "directions" not in claim.null
    assert claim.reason == "Better than chance, and it adds to length."
    assert orders().reason == (
        "Better than chance and than random directions, and it adds to length."
    )


def test_what_was_in_the_base_is_named():
    assert "adds to length with likelihood" in claims(GOOD, LENGTH, NLL)[0].reason
    assert "adds to length with likelihood" in claims(GOOD, LENGTH, NLL)[1].statement
    assert "likelihood" not in "".join(c.reason + c.statement for c in claims(GOOD, LENGTH))


def test_nothing_decided_is_said():
    claim = orders(**UNKNOWN)
    assert claim.verdict == "not supported"
    assert claim.reason == "No pair of rated texts is decided."
    assert math.isnan(claim.estimate.estimate)


def test_a_ceiling_that_is_not_known_is_not_named():
    assert "ceiling" not in orders(ceiling=NAN).unit


BROUGHT = {**LENGTH, "score": "brought", "kind": "given", "pairwise_accuracy": 0.99}
NLL = {**LENGTH, "score": "nll", "pairwise_accuracy": 0.25}


@pytest.mark.parametrize(
    ("rows", "rival"),
    [
        ([{**LENGTH, "pairwise_accuracy": 0.3}], "length (less is better): 0.70"),
        ([{**LENGTH, "score": "text_length", "kind": "given"}], "length (more is better): 0.62"),
        (
            [{**LENGTH, "n_pairs": 5, "pairwise_accuracy": 0.9}, {**LENGTH, "score": "n_words"}],
            "length (more is better): 0.62",
        ),
        ([{**LENGTH, **UNKNOWN}], "length: not known"),
        ([], "length: not known"),
        (
            [LENGTH, {**LENGTH, "score": "distinct_1"}, NLL, BROUGHT],
            "length (more is better): 0.62; best of 2 others, nll (less is better): 0.75",
        ),
    ],
)
def test_the_rivals_are_the_better_directions_of_length_and_of_the_best_other_baseline(rows, rival):
    assert claims(GOOD, *rows)[0].rival == rival


# --- whether it adds to length ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "verdict"), [(0.001, "supported"), (0.0, "not supported"), (-0.1, "not supported")]
)
def test_a_gain_above_nothing_is_supported(low, verdict):
    claim = claims({**GOOD, "increment_low": low}, LENGTH)[1]
    assert claim.verdict == verdict
    assert (claim.estimate.estimate, claim.estimate.low, claim.estimate.high) == (0.05, low, 0.09)
    assert "adds to length in telling" in claim.statement


def test_a_score_that_adds_with_its_sign_turned_has_a_caveat():
    claim = claims({**GOOD, "increment_sign": -1.0}, LENGTH)[1]
    assert claim.verdict == "with a caveat"
    assert "its opposite" in claim.reason
    assert "share of 118 pairs" in claim.unit


def test_a_gain_on_few_prompts_holds_for_these_alone():
    claim = claims({**GOOD, "increment_prompts": 4}, LENGTH)[1]
    assert claim.verdict == "with a caveat"
    assert "Only 4 prompts" in claim.reason


def test_a_gain_that_is_not_known_is_said():
    claim = claims({**GOOD, "increment": NAN, "increment_low": NAN, "increment_high": NAN})[1]
    assert claim.verdict == "not supported"
    assert "too few pairs" in claim.reason


# --- whether it beats asking -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "verdict", "reason"),
    [
        ({}, "supported", "lies above 0"),
        # Intervals that overlap are of the same pairs: what counts is the paired difference.
        ({"pairwise_accuracy": 0.65, "ci_high": 0.75}, "supported", "lies above 0"),
        ({"difference_high": 0.0}, "not supported", "not above 0"),
        ({"difference": 0.05, "difference_high": 0.1}, "not supported", "not above 0"),
        ({"difference_low": NAN, "difference_high": NAN}, "not supported", "not above 0"),
        ({"n_prompts": 8}, "with a caveat", "Only 8 prompts"),
        ({"difference": NAN}, "not supported", "No pair that both know"),
    ],
)
def test_reading_beats_asking_if_the_paired_difference_says_so(changes, verdict, reason):
    claim = claims(GOOD, {**NAIVE, **changes})[2]
    assert claim.statement.startswith("Reading the model agrees better than asking it")
    assert claim.verdict == verdict
    assert reason in claim.reason


def test_the_claim_has_the_score_less_the_rival():
    claim = claims(GOOD, NAIVE)[2]
    assert tuple(claim.estimate) == (0.2, 0.1, 0.3)
    assert "110 pairs that both know" in claim.unit
    assert "cosine at layer 3: 0.70 [0.60, 0.80] on 120 pairs" in claim.rival


def test_reading_at_chance_beats_nothing():
    low = {**GOOD, "pairwise_accuracy": 0.49, "ci_low": 0.47, "ci_high": 0.51}
    asked = {**NAIVE, "pairwise_accuracy": 0.3, "ci_low": 0.2, "ci_high": 0.4}
    claim = claims(low, asked)[2]
    assert claim.verdict == "not supported"
    assert claim.reason == "The score itself is not above chance."


@pytest.mark.parametrize("score", ["naive_pairwise", "naive_rating_sampled"])
def test_every_way_of_asking_must_be_beaten_and_the_hardest_is_the_rival(score):
    # The other has more accuracy but, on pairs of its own, is beaten clearly.
    hard = {**NAIVE, "score": score, "pairwise_accuracy": 0.4, "difference_high": 0.01}
    claim = claims(GOOD, {**NAIVE, "pairwise_accuracy": 0.69}, hard)[2]
    assert f"hardest to beat, {score}: 0.40" in claim.rival
    assert claim.verdict == "not supported"
    easy = {**hard, "difference_high": -0.15}
    claim = claims(GOOD, NAIVE, easy)[2]
    assert "of 2 ways of asking the hardest to beat, naive_rating: 0.50" in claim.rival
    assert claim.verdict == "supported"
    few = {**hard, "difference_pairs": 19}
    assert "of 1 ways" in claims(GOOD, NAIVE, few)[2].rival
    assert "of 1 ways" in claims(GOOD, few)[2].rival  # if there is no other
    unknown = {**hard, **UNKNOWN}
    assert "of 1 ways" in claims(GOOD, NAIVE, unknown)[2].rival


def test_nobody_asked_is_no_claim():
    assert len(claims(GOOD, LENGTH)) == 2
    assert len(claims(GOOD, {**NAIVE, **UNKNOWN})) == 2


def test_asked_but_not_read():
    claim = claims({**GOOD, **UNKNOWN}, NAIVE)[2]
    assert claim.verdict == "not supported"
    assert claim.reason == "No pair that both know is decided."


# --- the chosen score, few prompts, groups and scopes ----------------------------------------


def test_a_score_that_ratings_chose_has_a_caveat_at_best():
    claim = claims(GOOD, CHOSEN)[-1]
    assert "(chosen)" in claim.statement
    assert claim.verdict == "with a caveat"
    assert "chosen by the ratings of the other prompts" in claim.reason
    assert claims(GOOD, {**CHOSEN, "ci_low": 0.4})[-1].verdict == "not supported"


def test_what_ratings_could_fit_is_claimed_by_itself():
    fit = {**GOOD, "score": "fitted", "kind": "fitted", "pairwise_accuracy": 0.8}
    weak = {**NULL, "share_as_far": 0.9}  # of the paper's score: no null of this one
    claim = claims(GOOD, fit, nulls=(weak,))[-1]
    assert claim.statement.startswith("Some direction at layer 3 orders texts as people")
    assert claim.verdict == "with a caveat"
    assert "What it adds to length is not known: ratings made it" in claim.reason
    assert "not what the creativity direction reads" in claim.reason
    assert "directions" not in claim.null
    words = {**fit, "score": "fitted_words", "layer": None, "pairwise_accuracy": 0.78}
    claim = claims(GOOD, fit, words)[-1]
    assert "the same fitted to words alone: 0.78 [0.60, 0.80] on 120 pairs" in claim.rival
    nothing = claims(GOOD, {**fit, "ci_low": 0.4})[-1]
    assert nothing.verdict == "not supported"
    assert "too little to fit" in nothing.reason
    assert len(claims(GOOD, {**fit, "layer": 2})) == 2  # of another layer nothing is claimed


@pytest.mark.parametrize(("n_prompts", "few"), [(9, True), (10, False)])
def test_under_ten_prompts_everything_holds_for_these_alone(n_prompts, few):
    few_prompts = {"n_prompts": n_prompts, "increment_prompts": n_prompts}
    rows = [{**row, **few_prompts} for row in (GOOD, LENGTH, NAIVE)]
    for claim in claims(*rows):
        assert claim.verdict == ("with a caveat" if few else "supported")
        assert (f"Only {n_prompts} prompts" in claim.reason) == few
    refuted = claims({**GOOD, "ci_low": 0.4, "n_prompts": n_prompts})[0]
    assert refuted.verdict == "not supported"


def test_groups_have_claims_of_their_own():
    expert = {
        "rater_group": "expert", "pairwise_accuracy": 0.3, "ci_low": 0.2, "ci_high": 0.4
    }  # fmt: skip
    found = claims({**GOOD, "rater_group": "lay"}, {**GOOD, **expert},
                   nulls=({**NULL, "rater_group": "lay"},))  # fmt: skip
    assert len(found) == 4
    assert found[0].verdict == "supported"
    assert "raters of the group 'lay'" in found[0].statement
    assert found[2].verdict == "not supported"
    assert "raters of the group 'expert'" in found[2].statement


def test_the_strictest_scope_with_pairs_speaks():
    within = {**GOOD, "scope": "prompt+author", "pairwise_accuracy": 0.66}
    claim = claims(GOOD, within)[0]
    assert claim.estimate.estimate == 0.66
    assert "within prompt and author type" in claim.statement


def test_across_author_types_nothing_is_more_than_a_caveat():
    empty = {**GOOD, "scope": "prompt+author", **UNKNOWN}
    for claim in claims(GOOD, NAIVE, empty):
        assert claim.statement.endswith("within prompt.")
        assert claim.verdict == "with a caveat"
        assert "may only tell who wrote" in claim.reason
    assert claims(GOOD, empty)[0].estimate.estimate == 0.7
    assert claims({**GOOD, "ci_low": 0.4}, empty)[0].verdict == "not supported"


def test_other_dimensions_are_not_spoken_of():
    assert claims({**GOOD, "dimension": "charm"}) == ()


def test_the_primary_layer_speaks():
    other = {**GOOD, "layer": 2, "pairwise_accuracy": 0.9, "ci_low": 0.85, "ci_high": 0.95}
    assert claims(other, GOOD)[0].estimate.estimate == 0.7


def brought(*names):
    return [{**GOOD, "score": name, "layer": None, "kind": "given"} for name in names]


def test_without_a_model_the_scores_that_were_brought_speak():
    rows = brought("s0", "s1", "s2", "s3", "s4")
    given = ("s3", "not there", "s0", "s1", "s2", "s4")
    found = claims(*rows, LENGTH, nulls=(), primary=None, given=given)
    assert [claim.statement.split(")")[0] for claim in found] == [
        f"The score (s{i}" for i in (3, 0, 1, 2, 4)
    ]
    assert {claim.verdict for claim in found} == {"supported"}
    assert {claim.reason for claim in found} == {"Better than chance, and it adds to length."}
    assert claims(LENGTH, nulls=(), primary=None) == ()


def test_of_many_scores_that_were_brought_only_length_speaks():
    names = ("s0", "s1", "text_length", "s2", "s3", "s4")
    (claim,) = claims(*brought(*names), nulls=(), primary=None, given=names)
    assert "(text_length)" in claim.statement
    assert claim.reason == "Better than chance. It is what others are held against."
