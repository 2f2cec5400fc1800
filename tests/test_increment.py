"""What a score adds to length: planted truths and what must not leak."""

import math

import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression

from creativity_lens.errors import InputError
from creativity_lens.evaluation.accuracy import accuracies, bootstrap_accuracies
from creativity_lens.evaluation.increment import _logistic, increment, matched_length
from creativity_lens.evaluation.pair_design import pair_design
from creativity_lens.evaluation.rank_agreement import partial_spearman

NAN = math.nan


class Planted:
    """People like long texts and something else; the two are independent."""

    def __init__(self, n_prompts=30, n_texts=8, seed=0):
        generator = np.random.default_rng(seed)
        self.prompts = [str(i) for i in np.repeat(np.arange(n_prompts), n_texts)]
        self.length, self.other, self.chance = generator.normal(size=(3, len(self.prompts)))
        rating = self.length + self.other + 0.3 * generator.normal(size=len(self.prompts))
        self.design = pair_design(rating, self.prompts)


@pytest.fixture(scope="module")
def planted():
    return Planted()


def test_a_score_that_is_length_only_adds_exactly_nothing(planted):
    scores = np.stack([planted.length, -3 * planted.length + 7])
    for row in increment(planted.design, planted.length[None], scores, n_draws=100):
        assert row.gain == (0.0, 0.0, 0.0)
        assert row.base == row.full
        assert row.base.estimate > 0.6


def test_a_score_that_holds_what_length_lacks_adds_it(planted):
    base = np.stack([planted.length, planted.chance])
    row = increment(planted.design, base, planted.other[None], n_draws=200)[0]
    assert row.base.estimate < 0.85
    assert row.full.estimate > 0.95
    assert row.gain.low > 0.05
    assert row.gain.estimate == pytest.approx(row.full.estimate - row.base.estimate)
    assert row.gain.low < row.gain.estimate < row.gain.high
    assert row.n_pairs == planted.design.decided.sum()
    assert (row.n_prompts, row.these_prompts_only, row.reason) == (30, False, "")


def test_the_direction_of_a_score_does_not_matter_to_its_increment(planted):
    both = np.stack([planted.other, -planted.other])
    one, other = increment(planted.design, planted.length[None], both, n_draws=50)
    assert one.gain == pytest.approx(other.gain)


def test_a_suppressor_is_used_turned_around(planted):
    # It agrees with people through length alone; beside length it is its opposite that helps.
    score = planted.length - 0.8 * planted.other
    assert accuracies(planted.design, score[None])[0] > 0.5
    turned, as_it_is = increment(
        planted.design, planted.length[None], np.stack([score, planted.other]), n_draws=50
    )
    assert turned.gain.low > 0
    assert (turned.sign, as_it_is.sign) == (-1.0, 1.0)


def test_a_taste_that_raters_do_not_share_widens_the_gain():
    # Each rater likes or dislikes the score, as the sign of the taste falls.
    chance = np.random.default_rng(7)
    prompts = [str(i) for i in np.repeat(np.arange(20), 6)]
    score, length = chance.normal(size=(2, len(prompts)))
    taste = np.array([2.0, -1.5, 0.5, 1.0])
    by_rater = taste[:, None] * score + chance.normal(size=(4, len(prompts)))
    design = pair_design(by_rater.mean(axis=0), prompts, min_gap=0.5)
    how = {"n_draws": 300, "seed": 1}
    (fixed,) = increment(design, length[None], score[None], **how)
    (drawn,) = increment(design, length[None], score[None], ratings_by_rater=by_rater, **how)
    assert drawn.gain.estimate == fixed.gain.estimate
    assert (drawn.n_pairs, drawn.n_prompts) == (fixed.n_pairs, fixed.n_prompts)
    assert drawn.gain.low < fixed.gain.low - 0.1
    lengths = np.full(len(prompts), 9.0)  # all are of like length
    (matched,) = matched_length(design, score[None], lengths, ratings_by_rater=by_rater, **how)
    both = bootstrap_accuracies(design, score[None], ratings_by_rater=by_rater, **how)[:, 0]
    assert matched.accuracy[1:] == pytest.approx(np.quantile(both, [0.025, 0.975]))


def test_noise_adds_nothing_on_other_prompts():
    planted = Planted(seed=5)
    noise = np.random.default_rng(1).normal(size=(20, len(planted.length)))
    rows = increment(planted.design, planted.length[None], noise, n_draws=100)
    assert abs(np.mean([row.gain.estimate for row in rows])) < 0.01
    assert np.mean([row.gain.low <= 0 <= row.gain.high for row in rows]) >= 0.8


def test_a_prompt_is_predicted_by_the_others_alone():
    # Longer is better on p, shorter on q: each model is wrong on the other prompt. A model that saw
    # its own prompt could not be wrong everywhere.
    length = np.array([1.0, 2.0, 3.0, 1.0, 2.0, 3.0])
    rating = np.array([1.0, 2.0, 3.0, 3.0, 2.0, 1.0])
    design = pair_design(rating, list("pppqqq"))
    row = increment(design, length[None], length[None], n_draws=20)[0]
    assert row.base.estimate == 0.0
    assert row.full.estimate == 0.0
    assert row.these_prompts_only


def test_the_base_of_one_feature_is_that_feature_in_its_good_direction(planted):
    length = np.round(planted.length, 1)[None]  # with ties, which stay ties
    row = increment(planted.design, -length, planted.other[None], n_draws=80)[0]
    alone = accuracies(planted.design, length)[0]
    drawn = bootstrap_accuracies(planted.design, length, n_draws=80)[:, 0]
    assert row.base.estimate == pytest.approx(alone)
    assert row.base[1:] == pytest.approx(np.quantile(drawn, [0.025, 0.975]))


def test_ties_of_the_base_count_half(planted):
    constant = np.full((1, len(planted.length)), 0.1)
    row = increment(planted.design, constant, planted.other[None], n_draws=20)[0]
    assert row.base == (0.5, 0.5, 0.5)
    alone = accuracies(planted.design, planted.other[None])[0]
    assert row.full.estimate == pytest.approx(alone)


def test_the_weights_are_scikit_learns():
    generator = np.random.default_rng(0)
    gaps = generator.normal([0.5, 0.0, -1.0], 1.0, (300, 3))
    both = np.concatenate([gaps, -gaps])
    won = np.repeat([1, 0], 300)
    theirs = LogisticRegression(C=1.0, fit_intercept=False, tol=1e-10, max_iter=1000).fit(
        both, won, sample_weight=np.full(600, 0.5)
    )
    assert _logistic(gaps, np.zeros(3)) == pytest.approx(theirs.coef_[0], abs=1e-4)
    assert _logistic(gaps, np.array([30.0, -9.0, 9.0])) == pytest.approx(theirs.coef_[0], abs=1e-4)


def test_separable_pairs_have_a_finite_fit():
    weights = _logistic(np.array([[1.0, 1e6], [2.0, 2e6]]), np.zeros(2))
    assert np.isfinite(weights).all()


def test_texts_without_the_score_are_left_out_of_the_base_too(planted):
    scores = np.stack([planted.other] * 2)
    scores[1, ::3] = NAN
    base = planted.length[None].copy()
    base[0, 5] = NAN
    whole, some = increment(planted.design, base, scores, n_draws=50)
    rating = np.full(len(planted.length), NAN)
    rating[planted.design.rows] = planted.design.rating
    rating[::3] = NAN
    rating[5] = NAN
    smaller = pair_design(rating, planted.prompts)
    assert some.n_pairs == smaller.decided.sum() < whole.n_pairs
    same = increment(smaller, base, scores[:1], n_draws=50)[0]
    assert (some.base.estimate, some.full.estimate) == (same.base.estimate, same.full.estimate)


@pytest.mark.parametrize(
    ("rating", "prompts", "n_prompts"),
    [([1.0, 2.0, 3.0, 4.0], "pppp", 1), ([1.0, 1.0, 1.0, 1.0], "ppqq", 0)],
)
def test_there_is_no_increment_without_other_prompts(rating, prompts, n_prompts):
    design = pair_design(np.array(rating), list(prompts))
    row = increment(design, np.arange(4.0)[None], np.arange(4.0)[None], n_draws=10)[0]
    assert f"{n_prompts} prompts" in row.reason
    assert all(math.isnan(value) for value in (*row.base, *row.full, *row.gain))


def test_an_increment_needs_a_base_and_two_folds(planted):
    scores = planted.other[None]
    with pytest.raises(InputError, match="0 features"):
        increment(planted.design, np.zeros((0, len(planted.length))), scores)
    with pytest.raises(InputError, match="1 folds"):
        increment(planted.design, scores, scores, n_folds=1)
    assert increment(planted.design, scores, np.zeros((0, len(planted.length)))) == []


# Given length -----------------------------------------------------------------------------------


def residual(ranks, control):
    """What a straight line on the control leaves."""
    line = np.polynomial.polynomial.polyfit(control, ranks, 1)
    return ranks - np.polynomial.polynomial.polyval(control, line)


def test_partial_correlation_is_that_of_what_length_leaves(planted):
    scores = np.stack([planted.other + planted.length, planted.chance])
    scores[1, 3] = NAN
    length = planted.length.copy()
    length[20] = NAN
    expected = []
    for score in scores:
        each = []
        for prompt in dict.fromkeys(planted.prompts):
            here = (np.array(planted.prompts) == prompt) & ~np.isnan(score) & ~np.isnan(length)
            ranks = [rankdata(v[here]) for v in (score, planted.design.rating, length)]
            left = [residual(r, ranks[2]) for r in ranks[:2]]
            each.append(np.corrcoef(*left)[0, 1])
        expected.append(np.mean(each))
    assert partial_spearman(planted.design, scores, length) == pytest.approx(expected)


def test_nothing_of_length_is_left_given_length(planted):
    scores = np.stack([np.exp(planted.length), planted.other, planted.length])
    given = partial_spearman(planted.design, scores, planted.length)
    assert math.isnan(given[0])
    assert given[1] > 0.8
    constant = partial_spearman(planted.design, scores, np.ones(len(planted.length)))
    assert constant[0] > 0.5


def test_pairs_of_nearly_the_same_length():
    # 100 and 110 match, 110 and 111 too, 100 and 111 do not.
    rating = np.array([1.0, 2.0, 3.0])
    design = pair_design(rating, ["p"] * 3)
    lengths = np.array([100.0, 110.0, 111.0])
    scores = np.array([[1.0, 2.0, 0.0], [1.0, 2.0, NAN]])
    first, second = matched_length(design, scores, lengths, n_draws=50)
    assert (first.accuracy.estimate, first.n_pairs) == (0.5, 2)
    assert (second.accuracy.estimate, second.n_pairs) == (1.0, 1)
    assert first.these_prompts_only
    all_pairs = matched_length(design, scores, lengths, within=0.2, n_draws=50)[0]
    assert all_pairs.n_pairs == 3
    assert all_pairs.accuracy.estimate == pytest.approx(1 / 3)


def test_length_is_near_chance_on_matched_pairs_and_what_else_counts_is_not():
    planted = Planted(n_prompts=200)
    lengths = np.exp(planted.length * 0.3 + 5)
    of_length, of_other = matched_length(
        planted.design, np.stack([lengths, planted.other]), lengths, n_draws=200
    )
    assert of_length.accuracy.estimate < 0.65
    assert of_other.accuracy.low > 0.9
    assert not of_other.these_prompts_only


def test_lengths_may_be_unknown_but_not_negative(planted):
    lengths = np.full(len(planted.length), NAN)
    row = matched_length(planted.design, planted.other[None], lengths, n_draws=5)[0]
    assert row.n_pairs == 0
    assert math.isnan(row.accuracy.estimate)
    with pytest.raises(InputError, match="0 or more"):
        matched_length(planted.design, planted.other[None], np.full(len(lengths), -1.0))
