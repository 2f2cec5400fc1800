"""The difference of two scores' agreement, on the pairs that both know, in the same draws."""

import numpy as np
import pytest

from creativity_lens.errors import InputError
from creativity_lens.evaluation.accuracy import accuracies, bootstrap_accuracies
from creativity_lens.evaluation.agreement import agreement, judged_agreement
from creativity_lens.evaluation.difference import differences, judged_difference
from creativity_lens.evaluation.pair_design import pair_design

N_PROMPTS, EACH = 15, 6
PROMPTS = [str(k) for k in np.repeat(np.arange(N_PROMPTS), EACH)]
N = len(PROMPTS)


@pytest.fixture(scope="module")
def chance():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def rating(chance):
    return chance.integers(1, 6, N).astype(float)


@pytest.fixture(scope="module")
def scores(chance, rating):
    good = rating + chance.normal(0, 2, N)
    return np.stack([good, good + chance.normal(0, 0.3, N), chance.normal(size=N), -good])


@pytest.fixture(scope="module")
def design(rating):
    return pair_design(rating, PROMPTS)


def test_it_is_the_difference_of_accuracies_and_of_their_draws(design, scores):
    found = differences(design, scores[0], scores[1:], n_draws=300, seed=3)
    alone = accuracies(design, scores)
    drawn = bootstrap_accuracies(design, scores, n_draws=300, seed=3)
    for place, row in enumerate(found, start=1):
        gaps = drawn[:, place] - drawn[:, 0]
        assert row.difference.estimate == pytest.approx(alone[place] - alone[0])
        assert row.difference[1:] == pytest.approx(np.quantile(gaps, [0.025, 0.975]))
        assert row.n_pairs == design.decided.sum()


def test_overlapping_intervals_can_hide_a_clear_difference():
    # Eight texts a prompt; the second score errs wherever the first does, and on one text more.
    chance = np.random.default_rng(1)
    prompts = [str(k) for k in np.repeat(np.arange(12), 8)]
    rating = np.tile(np.arange(8.0), 12)
    first = rating + chance.normal(0, 3, len(rating))
    second = first.copy()
    second[::8] = 6.5  # the lowest-rated text comes out near the top
    design = pair_design(rating, prompts)
    one, other = agreement(design, np.stack([first, second]), n_draws=500)
    assert one.ci_low < other.ci_high
    (row,) = differences(design, first, second[None], n_draws=500)
    assert row.difference.high < 0


def test_a_score_does_not_differ_from_itself(design, scores):
    (row,) = differences(design, scores[0], scores[:1], n_draws=50)
    assert row.difference == (0.0, 0.0, 0.0)


def test_texts_that_either_lacks_are_left_out_of_both(rating, scores):
    reference, some = scores[0].copy(), scores[2].copy()
    reference[::7], some[3::5] = np.nan, np.nan
    known = ~np.isnan(reference) & ~np.isnan(some)
    design = pair_design(rating, PROMPTS)
    whole, row = differences(design, reference, np.stack([scores[2], some]), n_draws=40)
    fewer = pair_design(np.where(known, rating, np.nan), PROMPTS)
    alone = accuracies(fewer, np.stack([scores[0], scores[2]]))
    assert row.difference.estimate == pytest.approx(alone[1] - alone[0])
    assert row.n_pairs == fewer.decided.sum() < whole.n_pairs


def test_nothing_in_common_is_not_known(design, scores):
    never = np.full(N, np.nan)
    (row,) = differences(design, scores[0], never[None], n_draws=20)
    assert row.n_pairs == 0
    assert np.isnan(row.difference).all()


def test_raters_are_drawn_too(rating, scores):
    chance = np.random.default_rng(5)
    by_rater = rating + chance.normal(0, 2, (4, N))
    design = pair_design(by_rater.mean(axis=0), PROMPTS)
    how = {"n_draws": 200, "seed": 2, "ratings_by_rater": by_rater}
    (row,) = differences(design, scores[0], scores[2:3], **how)
    drawn = bootstrap_accuracies(design, scores[[0, 2]], **how)
    gaps = drawn[:, 1] - drawn[:, 0]
    assert row.difference[1:] == pytest.approx(np.quantile(gaps, [0.025, 0.975]))


@pytest.fixture(scope="module")
def judged(design, scores):
    """A judge that prefers as the third score does, asked about every other decided pair."""
    some = np.flatnonzero(design.decided)[::2]
    first, second = design.rows[design.first[some]], design.rows[design.second[some]]
    pairs = list(zip(second.tolist(), first.tolist(), strict=True))
    return pairs, (scores[2][second] > scores[2][first]).astype(float)


def test_a_judge_is_compared_on_the_pairs_that_it_judged(design, scores, judged):
    pairs, preference = judged
    row = judged_difference(design, scores[0], pairs, preference, n_draws=60)
    judge = judged_agreement(design, pairs, preference, n_draws=60)
    own = judged_agreement(
        design, pairs, np.array([float(scores[0][a] > scores[0][b]) for a, b in pairs]), n_draws=60
    )
    gap = judge.pairwise_accuracy - own.pairwise_accuracy
    assert row.difference.estimate == pytest.approx(gap)
    assert row.n_pairs == judge.n_pairs == len(pairs)
    assert row.difference.low <= gap <= row.difference.high


def test_a_judge_that_says_what_the_score_says_does_not_differ(design, scores, judged):
    pairs, _ = judged
    same = np.array([float(scores[0][a] > scores[0][b]) for a, b in pairs])
    row = judged_difference(design, scores[0], pairs, same, n_draws=60)
    assert row.difference == (0.0, 0.0, 0.0)


def test_pairs_of_texts_without_the_score_are_left_out(design, scores, judged):
    pairs, preference = judged
    lacking = scores[0].copy()
    lacking[:6] = np.nan
    row = judged_difference(design, lacking, pairs, preference, n_draws=20)
    assert row.n_pairs == sum(min(pair) >= 6 for pair in pairs)


def test_no_probability_is_refused(design, scores):
    with pytest.raises(InputError, match="outside 0 to 1"):
        judged_difference(design, scores[0], [(0, 1)], np.array([1.5]))
