"""Resampling by premise: equal to naive loops, and intervals that cover what they should."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from creativity_lens.errors import InputError
from creativity_lens.stats import (
    Interval,
    auroc,
    auroc_draws,
    auroc_interval,
    bootstrap_weights,
    grouped_folds,
    mean_interval,
    percentile_interval,
    permutation_p,
    sign_flips,
    wins,
)

# Premises of unequal size, their rows scattered.
GROUPS = ["b", "a", "c", "a", "d", "e", "b", "a", "f", "g"]


def random_scores(n: int, seed: int, *, ties: bool = False):
    positive, negative = np.random.default_rng(seed).normal(size=(2, n))
    return (positive.round(), negative.round()) if ties else (positive, negative)


def rows_by_group(groups):
    """For each name, in sorted order, its row numbers."""
    return [[i for i, g in enumerate(groups) if g == name] for name in sorted(set(groups))]


# --- AUROC -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("sizes", [(30, 30), (7, 19), (1, 4)])
def test_auroc_is_sklearns(sizes, ties):
    n_positive, n_negative = sizes
    positive, negative = random_scores(30, seed=sum(sizes), ties=ties)
    positive, negative = positive[:n_positive] + 0.5, negative[:n_negative]
    if ties:
        positive = positive.round()
    labels = [1] * n_positive + [0] * n_negative
    expected = roc_auc_score(labels, np.concatenate([positive, negative]))
    assert float(auroc(positive, negative)) == pytest.approx(expected, abs=1e-12)


def test_auroc_by_hand():
    # 2 > 1, 2 = 2 (half), 3 > 1, 3 > 2: 3.5 of 4.
    assert float(auroc(np.array([2.0, 3.0]), np.array([1.0, 2.0]))) == 3.5 / 4
    assert float(auroc(np.ones(3), np.ones(5))) == 0.5
    assert float(auroc(np.array([2.0, 3.0]), np.array([0.0, 1.0]))) == 1.0


def test_auroc_takes_leading_axes():
    positive, negative = np.random.default_rng(1).normal(size=(2, 4, 5, 8))
    together = auroc(positive, negative)
    assert together.shape == (4, 5)
    assert together[2, 3] == auroc(positive[2, 3], negative[2, 3])


@pytest.mark.parametrize("ties", [False, True])
def test_auroc_draws_are_a_loop_over_resampled_premises(ties):
    positive, negative = random_scores(len(GROUPS), seed=3, ties=ties)
    weights = bootstrap_weights(GROUPS, 50, seed=4)
    looped = []
    for draw in weights.astype(int):
        rows = np.repeat(np.arange(len(GROUPS)), draw)  # row i as often as it was drawn
        labels = [1] * len(rows) + [0] * len(rows)
        looped.append(roc_auc_score(labels, np.concatenate([positive[rows], negative[rows]])))
    np.testing.assert_allclose(auroc_draws(positive, negative, weights), looped, atol=1e-12)


def test_wins_counts_a_tie_half():
    won = wins(np.array([2.0, 1.0, 0.0]), np.array([1.0, 1.0, 1.0]))
    assert won.tolist() == [1.0, 0.5, 0.0]


# --- folds -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_folds", [2, 3, 7])
def test_folds_never_split_a_premise_and_test_every_row_once(n_folds, seed):
    folds = grouped_folds(GROUPS, n_folds, seed=seed)
    assert len(folds) == n_folds
    tested = np.concatenate([fold.test for fold in folds])
    assert sorted(tested.tolist()) == list(range(len(GROUPS)))
    for fold in folds:
        assert {GROUPS[i] for i in fold.train}.isdisjoint(GROUPS[i] for i in fold.test)
        assert sorted([*fold.train, *fold.test]) == list(range(len(GROUPS)))


def test_folds_follow_the_seed():
    groups = [f"premise-{i}" for i in range(30)]

    def tests(seed):
        return [fold.test.tolist() for fold in grouped_folds(groups, 5, seed=seed)]

    assert tests(0) == tests(0)
    assert tests(0) != tests(1)


@pytest.mark.parametrize(("groups", "n_folds"), [(["a", "a", "b"], 3), (["a", "b", "c"], 1)])
def test_too_few_premises_or_folds_are_an_error_that_says_so(groups, n_folds):
    message = rf"cannot make {n_folds} folds of {len(set(groups))} premises"
    with pytest.raises(InputError, match=message):
        grouped_folds(groups, n_folds)


# --- the bootstrap ---------------------------------------------------------------------------


def test_bootstrap_draws_whole_premises_as_many_as_there_are():
    weights = bootstrap_weights(GROUPS, 200, seed=0)
    assert weights.shape == (200, len(GROUPS))
    members = rows_by_group(GROUPS)
    for rows in members:
        assert (weights[:, rows] == weights[:, rows[:1]]).all()
    drawn = sum(weights[:, rows[0]] for rows in members)
    assert (drawn == len(members)).all()


def test_every_premise_is_drawn_equally_often():
    members = rows_by_group(GROUPS)
    weights = bootstrap_weights(GROUPS, 20_000, seed=0)
    # Each count is Binomial(7, 1/7): mean 1, variance 6/7; four standard errors of 20,000 draws.
    margin = 4 * np.sqrt(6 / 7 / 20_000)
    for rows in members:
        assert weights[:, rows[0]].mean() == pytest.approx(1.0, abs=margin)


def test_the_bootstrap_follows_the_seed():
    assert (bootstrap_weights(GROUPS, 9, seed=1) == bootstrap_weights(GROUPS, 9, seed=1)).all()
    assert (bootstrap_weights(GROUPS, 9, seed=1) != bootstrap_weights(GROUPS, 9, seed=2)).any()


def test_percentile_interval_by_hand():
    # Quantiles of 0, 1, …, 100 are the numbers themselves.
    interval = percentile_interval(40.0, np.arange(101.0), level=0.9)
    assert interval == pytest.approx((40.0, 5.0, 95.0))


def test_an_interval_excludes_what_lies_outside_it_alone():
    interval = Interval(0.5, 0.0, 1.0)
    assert [interval.excludes(x) for x in (-0.1, 0.0, 0.5, 1.0, 1.1)] == [
        True,
        False,
        False,
        False,
        True,
    ]


def test_mean_interval_is_a_loop_over_resampled_premises():
    values = np.random.default_rng(5).normal(size=len(GROUPS))
    weights = bootstrap_weights(GROUPS, 300, seed=6)
    means = [np.repeat(values, draw).mean() for draw in weights.astype(int)]
    interval = mean_interval(values, GROUPS, n_draws=300, seed=6)
    expected = (values.mean(), *np.quantile(means, [0.025, 0.975]))
    assert interval == pytest.approx(expected)


def premises_with_a_common_part(generator, n_premises=40, a_premise=5):
    """Texts on one premise resemble each other: half of the variance is the premise's."""
    common = np.repeat(generator.normal(size=n_premises), a_premise)
    groups = [f"p{i // a_premise}" for i in range(n_premises * a_premise)]
    return common + generator.normal(size=len(common)), groups


def test_mean_intervals_cover_the_truth_where_an_interval_over_rows_does_not():
    generator = np.random.default_rng(0)
    by_premise = by_row = 0
    for trial in range(120):
        values, groups = premises_with_a_common_part(generator)
        rows = [str(i) for i in range(len(values))]
        by_premise += not mean_interval(values, groups, n_draws=300, seed=trial).excludes(0.0)
        by_row += not mean_interval(values, rows, n_draws=300, seed=trial).excludes(0.0)
    # Nominal 95 %; 120 trials put three standard errors at 0.06.
    assert by_premise / 120 > 0.88
    # The true error is sqrt(3) times what rows suggest: 1.96 / sqrt(3) sigma covers 74 %.
    assert by_row / 120 < 0.85


def test_auroc_intervals_cover_the_truth():
    # Normal scores one standard deviation apart, the premise's part cancelling in no pair:
    # AUROC = Phi(1 / sqrt(2)) = 0.7602.
    generator, covered = np.random.default_rng(1), 0
    for trial in range(120):
        uncreative, creative = generator.normal(size=(2, 40))
        groups = [str(i) for i in range(40)]
        interval = auroc_interval(creative + 1, uncreative, groups, n_draws=300, seed=trial)
        assert interval.low <= interval.estimate <= interval.high
        covered += not interval.excludes(0.7602)
    assert covered / 120 > 0.88


# --- permutation -----------------------------------------------------------------------------


def test_permutation_p_counts_the_observed_value_among_the_null():
    null = np.array([0.1, 0.2, 0.3, 0.4])
    assert permutation_p(0.5, null) == 1 / 5  # never 0
    assert permutation_p(0.4, null) == 2 / 5  # a tie counts against
    assert permutation_p(0.0, null) == 1.0
    assert permutation_p(0.5, np.zeros(0)) == 1.0  # no swaps, nothing shown


def test_permutation_p_is_uniform_under_the_null():
    generator = np.random.default_rng(2)
    p = [permutation_p(x[0], x[1:]) for x in generator.normal(size=(2000, 20))]
    # P(p <= 0.05) is exactly 1/20; four standard errors of 2000 trials.
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.02)


def test_sign_flips_swap_whole_premises_and_each_one_half_of_the_time():
    signs = sign_flips(GROUPS, 4000, seed=0)
    assert signs.shape == (4000, len(GROUPS))
    assert set(np.unique(signs)) == {-1.0, 1.0}
    members = rows_by_group(GROUPS)
    for rows in members:
        assert (signs[:, rows] == signs[:, rows[:1]]).all()
        assert abs(signs[:, rows[0]].mean()) < 4 / np.sqrt(4000)
    columns = np.stack([signs[:, rows[0]] for rows in members])
    off_diagonal = np.corrcoef(columns)[~np.eye(len(members), dtype=bool)]
    assert np.abs(off_diagonal).max() < 5 / np.sqrt(4000)  # premises are swapped independently


def test_sign_flips_follow_the_seed():
    assert (sign_flips(GROUPS, 9, seed=1) == sign_flips(GROUPS, 9, seed=1)).all()
    assert (sign_flips(GROUPS, 9, seed=1) != sign_flips(GROUPS, 9, seed=2)).any()
