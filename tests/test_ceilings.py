"""The ceiling by people, and reliability: hand counts, published constants, planted truths."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import norm

from creativity_lens.evaluation.ceilings import ceiling, icc1, krippendorff_alpha
from creativity_lens.evaluation.pair_design import pair_design
from creativity_lens.evaluation.pair_draws import make_draws

NAN = math.nan


def people(n_prompts, n_texts, n_raters, noise, seed=0):
    """A truth for each text, and raters who see it with noise."""
    generator = np.random.default_rng(seed)
    prompts = [str(i) for i in np.repeat(np.arange(n_prompts), n_texts)]
    truth = generator.normal(size=len(prompts))
    return prompts, truth, truth + noise * generator.normal(size=(n_raters, len(prompts)))


def held_against_others(by_rater, prompts, score, gap, counts=None, others=None):
    """Points of each rater, of the score, and pairs, by plain loops."""
    counts = np.ones(by_rater.shape[1]) if counts is None else counts
    own = scored = n = 0.0
    for rater, votes in enumerate(by_rater):
        rest = np.delete(by_rater, rater, axis=0) if others is None else others(rater)
        known = [v[~np.isnan(v)] for v in rest.T]
        mean = [v.mean() if len(v) else NAN for v in known]
        for i, j in itertools.combinations(range(len(votes)), 2):
            difference = mean[i] - mean[j]
            weight = counts[i] * counts[j]
            if (
                prompts[i] == prompts[j]
                and abs(difference) >= gap
                and not np.isnan(votes[[i, j]]).any()
            ):
                n += weight
                own += weight * (1 + np.sign(difference) * np.sign(votes[i] - votes[j])) / 2
                scored += weight * (1 + np.sign(difference) * np.sign(score[i] - score[j])) / 2
    return own, scored, n


def test_the_ceiling_and_the_score_beside_it_are_those_of_plain_loops():
    prompts, truth, by_rater = people(12, 5, 4, noise=1.0)
    by_rater[np.random.default_rng(1).random(by_rater.shape) < 0.3] = NAN
    found = ceiling(by_rater, prompts, scores=np.stack([truth, -truth]), n_draws=20)
    own, scored, n = held_against_others(by_rater, prompts, truth, 1.0)
    assert found.n_pairs == n
    assert found.accuracy == pytest.approx(own / n)
    assert found.score_accuracy == pytest.approx([scored / n, 1 - scored / n])
    assert found.reason == ""


def test_a_raters_own_vote_does_not_select_the_pairs():
    # For A the other says a tie, so the pair does not count although A is sure; for B the other
    # decides it, and B ties: half a point of one pair.
    found = ceiling(np.array([[1.0, 3.0], [2.0, 2.0]]), ["p", "p"], n_draws=20)
    assert (found.accuracy, found.n_pairs) == (0.5, 1)


def test_raters_who_roll_dice_are_at_chance():
    # With their own vote in the mean they would seem to agree with it.
    votes = np.random.default_rng(0).integers(1, 6, (3, 400)).astype(float)
    prompts = [str(i) for i in np.repeat(np.arange(40), 10)]
    found = ceiling(votes, prompts, n_draws=200)
    assert found.accuracy == pytest.approx(0.5, abs=0.03)
    assert found.ci_low < 0.5 < found.ci_high
    # The draws too hold nobody against himself: the interval lies around the estimate.
    assert (found.ci_low + found.ci_high) / 2 == pytest.approx(found.accuracy, abs=0.03)


def test_raters_who_agree_have_no_ceiling_but_one():
    prompts, truth, _ = people(12, 5, 1, noise=0.0)
    found = ceiling(np.stack([truth] * 3), prompts, scores=truth[None], n_draws=50)
    assert (found.accuracy, found.ci_low, found.ci_high) == (1.0, 1.0, 1.0)
    assert found.score_accuracy.tolist() == [1.0]
    assert not found.these_prompts_only


def test_two_raters_with_noise_agree_as_often_as_their_noise_allows():
    # Both ratings 0/1 of a truth 0/1 flipped by one in four: given that the other says 0 and 1,
    # a rater says the same of each text with probability 10/16, so right .390625, wrong 6/16
    # squared = .140625, and ties otherwise: .390625 + (1 - .53125) / 2 = .625.
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 2, 1600)
    votes = np.where(generator.random((2, 1600)) < 0.25, 1 - truth, truth).astype(float)
    found = ceiling(votes, [str(i // 8) for i in range(1600)], n_draws=50)
    assert found.accuracy == pytest.approx(0.625, abs=0.02)
    assert found.ci_low < 0.625 < found.ci_high


def test_a_draw_of_raters_is_that_of_a_plain_loop():
    prompts, truth, by_rater = people(11, 4, 3, noise=1.0, seed=4)
    found = ceiling(by_rater, prompts, n_draws=1, seed=2)
    draws = make_draws(pair_design(by_rater.mean(axis=0), prompts), n_draws=1, seed=2)
    drawn = draws.raters(3)[0]
    own = n = 0.0
    for prompt in range(11):
        for counts in draws.texts(prompt)[1]:
            listed = np.zeros(44)
            listed[4 * prompt : 4 * prompt + 4] = counts
            for rater in range(3):
                rest = np.repeat(by_rater, np.where(np.arange(3) == rater, 0, drawn), axis=0)
                one, _, k = held_against_others(
                    by_rater[[rater]], prompts, truth, 1.0, listed, lambda _, rest=rest: rest
                )
                own, n = own + drawn[rater] * one, n + drawn[rater] * k
    assert found.ci_low == found.ci_high == pytest.approx(own / n)


def test_pairs_stay_within_author_types():
    prompts, _, by_rater = people(12, 6, 3, noise=0.5)
    authors = ["human", "human", "human", "model", "model", "model"] * 12
    whole = ceiling(by_rater, prompts, n_draws=5)
    within = ceiling(by_rater, prompts, authors=authors, n_draws=5)
    by_hand = [p + a for p, a in zip(prompts, authors, strict=True)]
    same = ceiling(by_rater, by_hand, n_draws=5)
    assert within.n_pairs == same.n_pairs < whole.n_pairs
    assert within.accuracy == same.accuracy


@pytest.mark.parametrize(
    ("by_rater", "options", "reason"),
    [
        ([[1.0, 3.0, 5.0]], {}, "one rater"),
        ([[1.0, 3.0, 5.0], [NAN] * 3], {}, "one rater"),
        ([[1.0, 3.0, 5.0], [1.0, 2.0, 3.0]], {"persistent": False}, "do not persist"),
        ([[3.0] * 3, [3.0] * 3], {}, "never differ by 1"),
        ([[1.0, NAN, NAN], [NAN, 2.0, NAN]], {}, "never differ by 1"),
    ],
)
def test_there_is_no_ceiling_with(by_rater, options, reason):
    found = ceiling(np.array(by_rater), ["p"] * 3, scores=np.zeros((2, 3)), n_draws=5, **options)
    assert reason in found.reason
    assert math.isnan(found.accuracy)
    assert math.isnan(found.ci_low)
    assert np.isnan(found.score_accuracy).tolist() == [True, True]
    assert found.n_pairs == 0


def test_a_few_prompts_are_spoken_of_alone():
    for n_prompts, few in ((9, True), (12, False)):
        prompts, _, by_rater = people(n_prompts, 6, 3, noise=0.5)
        assert ceiling(by_rater, prompts, n_draws=5).these_prompts_only is few


def test_icc_of_shrout_and_fleiss():
    # Their table 2 (six targets, four judges); ICC(1,1) is printed as .17: mean squares 11.24
    # between and 6.26 within, (11.24 - 6.26) / (11.24 + 3 * 6.26) = .166.
    table = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    assert icc1(np.array(table, dtype=float).T) == pytest.approx(0.166, abs=0.0005)


def test_icc_finds_the_share_of_variance_that_is_the_texts():
    generator = np.random.default_rng(0)
    ratings = generator.normal(size=2000) + math.sqrt(3) * generator.normal(size=(5, 2000))
    assert icc1(ratings) == pytest.approx(0.25, abs=0.03)
    ratings[generator.random(ratings.shape) < 0.4] = NAN
    assert icc1(ratings) == pytest.approx(0.25, abs=0.03)


# Krippendorff (2011), example with four observers, twelve units and missing data.
OBSERVERS = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
)


@pytest.mark.parametrize(
    ("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_alpha_is_the_published_one(level, published):
    assert krippendorff_alpha(OBSERVERS, level) == pytest.approx(published, abs=0.0005)


def test_alpha_does_not_depend_on_who_rated():
    shuffled = np.random.default_rng(0).permuted(OBSERVERS, axis=0)
    assert krippendorff_alpha(shuffled) == pytest.approx(krippendorff_alpha(OBSERVERS))


@pytest.mark.parametrize("measure", [icc1, krippendorff_alpha])
@pytest.mark.parametrize("ratings", [[[3.0, 3.0], [3.0, 3.0]], [[1.0, NAN], [NAN, 2.0]]])
def test_reliability_is_unknown_without_variance_or_shared_texts(measure, ratings):
    assert math.isnan(measure(np.array(ratings)))


@pytest.mark.parametrize("measure", [icc1, krippendorff_alpha])
def test_reliability_is_one_if_raters_agree_and_about_zero_if_they_roll_dice(measure):
    dice = np.random.default_rng(0).integers(1, 6, (3, 2000)).astype(float)
    assert measure(dice[[0, 0]]) == pytest.approx(1.0)
    assert measure(dice) == pytest.approx(0.0, abs=0.05)


def test_normal_raters_reach_the_ceiling_of_their_noise():
    # Rater and other share the truth (variance 1 of 2 each): their differences correlate by .5.
    # Given that the other's difference is d, a rater's is d/2 with standard deviation sqrt(3).
    prompts, _, by_rater = people(150, 6, 2, noise=1.0)
    found = ceiling(by_rater, prompts, n_draws=20)
    d = np.abs(np.random.default_rng(0).normal(size=200_000)) * 2
    expected = norm.cdf(d[d >= 1] / 2 / math.sqrt(3)).mean()
    assert found.accuracy == pytest.approx(expected, abs=0.02)
