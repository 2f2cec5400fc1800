"""Agreement of scores with ratings: planted truths, brute force, and what cannot be said."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binomtest, kendalltau, norm, spearmanr

from creativity_lens.errors import InputError
from creativity_lens.evaluation import pair_draws
from creativity_lens.evaluation.accuracy import (
    accuracies,
    bootstrap_accuracies,
    bounds,
    n_pairs,
    per_prompt,
    permutation_p,
)
from creativity_lens.evaluation.agreement import agreement, holm, judged_agreement
from creativity_lens.evaluation.pair_design import pair_design
from creativity_lens.evaluation.pair_draws import make_draws
from creativity_lens.evaluation.rank_agreement import (
    kendall_within,
    spearman_within,
    system_kendall,
)


class Messy:
    """Ratings in thirds, unequal prompts out of order, ties, missing ratings and scores."""

    def __init__(self, n_prompts=12, seed=0):
        generator = np.random.default_rng(seed)
        sizes = generator.integers(1, 8, n_prompts)
        prompts = np.repeat([f"p{i}" for i in range(n_prompts)], sizes)
        self.prompts = generator.permutation(prompts).tolist()
        n = len(self.prompts)
        self.by_rater = generator.integers(1, 6, (3, n)).astype(float)
        self.by_rater[generator.random((3, n)) < 0.1] = np.nan
        self.by_rater[:, 0] = np.nan
        count = (~np.isnan(self.by_rater)).sum(axis=0)
        total = np.nansum(self.by_rater, axis=0)
        self.rating = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        self.authors = generator.choice(["human", "model", ""], n, p=[0.4, 0.5, 0.1]).tolist()
        self.scores = np.stack(
            [
                np.nan_to_num(self.rating) + generator.normal(size=n),
                generator.integers(0, 3, n).astype(float),
                generator.normal(size=n),
            ]
        )
        self.scores[2, generator.random(n) < 0.2] = np.nan


def pair_weight(rating, score, i, j, gap):
    """Half points won (0, 1, 2) and 1 if the pair counts; the plainest form there is."""
    difference = rating[i] - rating[j]
    if not (abs(difference) > 1e-9 and abs(difference) >= gap - 1e-9):
        return 0, 0
    if math.isnan(score[i]) or math.isnan(score[j]):
        return 0, 0
    return 1 + np.sign(difference) * np.sign(score[i] - score[j]), 1


def brute(rating, score, blocks, gap, counts=None):
    """Weighted accuracy by a loop over all pairs; NaN blocks (None) are left out."""
    counts = np.ones(len(rating)) if counts is None else counts
    won = n = 0.0
    for i, j in itertools.combinations(range(len(rating)), 2):
        if blocks[i] is not None and blocks[i] == blocks[j]:
            points, counted = pair_weight(rating, score, i, j, gap)
            won += counts[i] * counts[j] * points / 2
            n += counts[i] * counts[j] * counted
    return (won / n if n else math.nan), n


def noisy(n_prompts, n_texts, noise, seed, n_scores=1):
    """Ratings 0 and 1 in equal numbers, and scores that are the rating with normal noise."""
    generator = np.random.default_rng(seed)
    rating = np.tile(np.arange(n_texts) % 2, n_prompts).astype(float)
    scores = rating + noise * generator.normal(size=(n_scores, len(rating)))
    return rating, scores, [str(i) for i in np.repeat(np.arange(n_prompts), n_texts)]


# Pairs ------------------------------------------------------------------------------------------


def test_pairs_stay_within_a_prompt_and_gaps_of_thirds_are_met():
    third = 1 / 3
    # On p: 1 and 7/3 lie 4/3 apart, 4/3 and 7/3 exactly 1, 1 and 4/3 a third. q: one rated text.
    rating = np.array([1.0, 5.0, 1 + third, math.nan, 2 + third])
    design = pair_design(rating, ["p", "q", "p", "q", "p"])
    assert design.rows.tolist() == [0, 1, 2, 4]
    pairs = {
        (int(design.rows[i]), int(design.rows[j]), bool(d))
        for i, j, d in zip(design.first, design.second, design.decided, strict=True)
    }
    assert pairs == {(0, 2, False), (0, 4, True), (2, 4, True)}
    assert design.n_unrated == 1
    assert design.notes == (
        "Texts without a rating: 1.",
        "Prompts with one text, which makes no pair: 1.",
    )


def test_pairs_stay_within_an_author_type_and_unknown_types_are_counted():
    design = pair_design(
        np.array([1.0, 2.0, 3.0, 4.0, 5.0]),
        ["p"] * 5,
        authors=["human", "model", "human", "", "model"],
    )
    pairs = {tuple(design.rows[[i, j]]) for i, j in zip(design.first, design.second, strict=True)}
    assert pairs == {(0, 2), (1, 4)}
    assert (design.scope, design.n_unknown_author) == ("prompt+author", 1)
    assert "Rated texts without an author type, left out: 1." in design.notes


def test_equal_ratings_decide_nothing_at_any_gap():
    rating = np.array([1.0, 1.0, 0.1 + 0.2, 0.3])
    design = pair_design(rating, ["p", "p", "q", "q"], min_gap=0.0)
    assert not design.decided.any()
    assert design.notes == ("Pairs, of which none is decided at a gap of 0: 2.",)


@pytest.mark.parametrize(
    ("rating", "prompts", "options", "message"),
    [
        ([1.0, 2.0], ["p"], {}, "2 ratings, 1 prompts"),
        ([1.0, 2.0], ["p", "p"], {"authors": ["a"]}, "1 author types"),
        ([1.0, math.inf], ["p", "p"], {}, "infinite"),
        ([1.0, 2.0], ["p", "p"], {"min_gap": -1.0}, "0 or more"),
        ([1.0, 2.0], ["p", "p"], {"min_gap": math.nan}, "0 or more"),
    ],
)
def test_pairs_cannot_be_made_of(rating, prompts, options, message):
    with pytest.raises(InputError, match=message):
        pair_design(np.array(rating), prompts, **options)


def test_scores_must_be_of_the_listed_texts_and_finite():
    design = pair_design(np.array([1.0, math.nan, 3.0]), ["p"] * 3)
    with pytest.raises(InputError, match="2 texts, the ratings of 3"):
        accuracies(design, np.zeros((1, 2)))
    with pytest.raises(InputError, match="infinite"):
        accuracies(design, np.array([[0.0, 0.0, math.inf]]))


# Accuracy ---------------------------------------------------------------------------------------


def test_ties_count_half_and_undecided_pairs_do_not_count():
    # Pairs 1-2, 1-3, 2-3 are decided, those with 2.5 are not unless against 1 (1.5 apart).
    rating = np.array([1.0, 2.0, 3.0, 2.5])
    scores = np.array([[0.0, 0.0, 1.0, 9.0], [3.0, 2.0, 1.0, 0.0]])
    design = pair_design(rating, ["p"] * 4)
    # First: 1-2 ties, 1-3, 2-3 and 1-2.5 are right. Second: all four are wrong.
    assert accuracies(design, scores).tolist() == [3.5 / 4, 0.0]
    assert n_pairs(design, scores).tolist() == [4, 4]


@pytest.mark.parametrize("by_author", [False, True])
@pytest.mark.parametrize("gap", [0.0, 1.0])
def test_accuracy_is_that_of_a_plain_loop(gap, by_author):
    messy = Messy()
    authors = messy.authors if by_author else None
    design = pair_design(messy.rating, messy.prompts, authors=authors, min_gap=gap)
    blocks = messy.prompts
    if by_author:
        both = zip(messy.prompts, messy.authors, strict=True)
        blocks = [(p, a) if a else None for p, a in both]
    expected = [brute(messy.rating, s, blocks, gap) for s in messy.scores]
    assert accuracies(design, messy.scores) == pytest.approx([a for a, _ in expected])
    assert n_pairs(design, messy.scores).tolist() == [n for _, n in expected]


def test_a_noisy_score_has_the_accuracy_of_its_noise():
    rating, scores, prompts = noisy(300, 6, noise=1.0, seed=1)
    # The difference of two scores is 1 with variance 2.
    assert accuracies(pair_design(rating, prompts), scores)[0] == pytest.approx(
        norm.cdf(1 / math.sqrt(2)), abs=0.02
    )


def test_each_prompt_is_shown_and_all_make_the_whole():
    messy = Messy()
    design = pair_design(messy.rating, messy.prompts)
    shown = per_prompt(design, messy.scores)
    whole = np.nansum(shown.accuracy * shown.n_pairs, axis=1) / shown.n_pairs.sum(axis=1)
    assert whole == pytest.approx(accuracies(design, messy.scores))
    assert np.isnan(shown.accuracy[shown.n_pairs == 0]).all()
    one = int(shown.n_pairs[1].argmax())
    only = [p if p == shown.prompt[one] else None for p in messy.prompts]
    assert shown.accuracy[1, one] == pytest.approx(brute(messy.rating, messy.scores[1], only, 1)[0])


# Bootstrap --------------------------------------------------------------------------------------


def counts_of(design, draws, draw):
    """For each copy of a prompt in one draw, the counts of all listed texts."""
    for prompt in range(design.n_prompts):
        of, counts = draws.texts(prompt)
        for row in counts[of == draw]:
            listed = np.zeros(design.n_listed)
            listed[design.rows[design.texts_of_prompt(prompt)]] = row
            yield listed


@pytest.mark.parametrize("with_raters", [False, True])
@pytest.mark.parametrize("part", [2**23, 7])
def test_each_draw_is_that_of_a_plain_loop(with_raters, part, monkeypatch):
    monkeypatch.setattr(pair_draws, "PART", part)
    messy = Messy(seed=3)
    design = pair_design(messy.rating, messy.prompts)
    drawn = bootstrap_accuracies(
        design,
        messy.scores,
        n_draws=4,
        seed=5,
        ratings_by_rater=messy.by_rater if with_raters else None,
    )
    draws = make_draws(design, n_draws=4, seed=5)
    rater_counts = draws.raters(3)
    for draw in range(4):
        rating = messy.rating
        if with_raters:
            votes = np.repeat(messy.by_rater, rater_counts[draw], axis=0)
            votes_of = [v[~np.isnan(v)] for v in votes.T]
            rating = np.array([v.mean() if len(v) else math.nan for v in votes_of])
        for score, values in enumerate(messy.scores):
            won = total = 0.0
            for counts in counts_of(design, draws, draw):
                accuracy, n = brute(rating, values, messy.prompts, 1.0, counts)
                won, total = won + (accuracy * n if n else 0.0), total + n
            assert drawn[draw, score] == pytest.approx(won / total)


def test_prompts_are_drawn_with_replacement_and_texts_afresh_in_each_copy():
    rating, _, prompts = noisy(20, 5, noise=1.0, seed=0)
    draws = make_draws(pair_design(rating, prompts), n_draws=500, seed=0)
    assert (draws.copies.sum(axis=1) == 20).all()
    # Each prompt is drawn about once, missed with probability (19/20)^20 = 0.358.
    assert (draws.copies == 0).mean() == pytest.approx(0.358, abs=0.02)
    of, counts = draws.texts(3)
    assert (np.bincount(of, minlength=500) == draws.copies[:, 3]).all()
    assert (counts.sum(axis=1) == 5).all()
    twice = np.flatnonzero(np.diff(of) == 0)
    assert (counts[twice] != counts[twice + 1]).any(axis=1).mean() > 0.9


def test_scores_share_their_draws_whatever_they_lack():
    messy = Messy(n_prompts=15)
    design = pair_design(messy.rating, messy.prompts)
    all_at_once = bootstrap_accuracies(design, messy.scores, n_draws=50)
    alone = bootstrap_accuracies(design, messy.scores[[1]], n_draws=50)
    assert np.array_equal(all_at_once[:, [1]], alone)
    other_seed = bootstrap_accuracies(design, messy.scores[[1]], n_draws=50, seed=1)
    assert not np.array_equal(alone, other_seed)
    # A score less itself by another scale is no difference in any draw.
    twice = bootstrap_accuracies(design, np.stack([messy.scores[0], messy.scores[0] * 3 + 1]))
    assert np.array_equal(twice[:, 0], twice[:, 1])


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    # Prompts differ in how well the score works there, so resampling texts alone would be too
    # narrow. The truth is the mean over prompts, each with as many pairs.
    noise_of = np.array([0.4, 3.0])
    truth = norm.cdf(1 / (noise_of * math.sqrt(2))).mean()
    hits = []
    for seed in range(80):
        generator = np.random.default_rng(seed)
        noise = generator.choice(noise_of, 24).repeat(6)
        rating, scores, prompts = noisy(24, 6, noise, seed=1000 + seed)
        drawn = bootstrap_accuracies(pair_design(rating, prompts), scores, n_draws=300, seed=seed)
        low, high = (float(end[0]) for end in bounds(drawn, np.array([216])))
        hits.append(low <= truth <= high)
    assert 0.9 <= np.mean(hits) <= 1.0


def test_under_ten_prompts_only_texts_are_drawn_and_it_is_said():
    for n_prompts, few in ((9, True), (10, False)):
        rating, scores, prompts = noisy(n_prompts, 8, noise=0.5, seed=2)
        design = pair_design(rating, prompts)
        assert design.these_prompts_only is few
        assert agreement(design, scores, n_draws=20, n_permutations=20)[0].these_prompts_only is few
        copies = make_draws(design, n_draws=50, seed=0).copies
        assert (copies == 1).all() == few


def test_prompts_without_a_decided_pair_do_not_make_many_prompts():
    rating, _, prompts = noisy(30, 4, noise=1.0, seed=0)
    rating[36:] = 1.0
    assert pair_design(rating, prompts).these_prompts_only


def test_raters_who_disagree_widen_the_interval():
    generator = np.random.default_rng(0)
    prompts = [str(i) for i in np.repeat(np.arange(30), 6)]
    truth = generator.normal(size=180)
    # One rater sees what the score sees; two do not.
    by_rater = np.stack([3 * truth, *generator.normal(size=(2, 180))])
    design = pair_design(by_rater.mean(axis=0), prompts)
    texts = bootstrap_accuracies(design, truth[None], n_draws=300)
    raters = bootstrap_accuracies(design, truth[None], n_draws=300, ratings_by_rater=by_rater)
    assert np.nanstd(raters) > 2 * np.nanstd(texts)


def test_draws_that_are_all_alike_give_no_interval_of_few_pairs():
    draws = np.array([[1.0, 1.0, 0.2, math.nan]] * 2 + [[1.0, 1.0, 0.4, math.nan]])
    low, high = bounds(draws, np.array([9, 10, 9, 0]))
    assert np.isnan(low).tolist() == [True, False, False, True]
    assert high[1] == 1.0
    assert 0.2 <= low[2] < high[2] <= 0.4


def test_unanimous_draws_have_the_exact_binomial_end():
    draws = np.array([[1.0, 0.0, 0.5, 1.0, 1.0]] * 3 + [[1.0, 0.0, 0.5, 1.0, 0.9]])
    low, high = bounds(draws, np.full(5, 40), n_units=np.array([12, 10, 10, 0, 10]))
    exact = binomtest(12, 12).proportion_ci(0.95)
    assert (low[0], high[0]) == (pytest.approx(exact.low), 1.0)
    assert (low[1], high[1]) == (0.0, pytest.approx(binomtest(0, 10).proportion_ci(0.95).high))
    assert (low[2], high[2]) == (0.5, 0.5)  # all ties: nothing was drawn that could vary
    assert low[3] == 1.0
    assert low[4] == pytest.approx(np.quantile(draws[:, 4], 0.025))


def test_five_texts_on_one_prompt_are_no_certainty():
    design = pair_design(np.arange(5.0), ["p"] * 5)
    row = agreement(design, np.arange(5.0)[None], n_draws=50, n_permutations=200)[0]
    assert row.n_pairs == 10
    assert row.ci_low < 0.2


def test_systems_are_compared_within_author_types_if_pairs_are():
    # Ten models that the score ranks as people do, and ten people whom it ranks backwards; people
    # are rated higher and score higher.
    rating = np.concatenate([np.arange(10.0), 20 + np.arange(10.0)])
    score = np.concatenate([np.arange(10.0), 40 - np.arange(10.0)])[None]
    systems = [f"s{i}" for i in range(20)]
    authors = ["model"] * 10 + ["human"] * 10
    few = {"systems": systems, "n_draws": 5, "n_permutations": 5}
    apart = pair_design(rating, ["p"] * 20, authors=authors)
    assert agreement(apart, score, **few)[0].system_kendall == pytest.approx(0.0)
    # Of 190 pairs the 45 of people are wrong.
    together = pair_design(rating, ["p"] * 20)
    assert agreement(together, score, **few)[0].system_kendall == pytest.approx(100 / 190)
    fewer = pair_design(rating[:19], ["p"] * 19, authors=authors[:19])
    row = agreement(fewer, score[:, :19], **(few | {"systems": systems[:19]}))[0]
    assert row.system_kendall == pytest.approx(1.0)  # nine people are too few; the models are left


@pytest.mark.parametrize("asked", [{"n_draws": 0}, {"n_permutations": 0}, {"seed": -1}])
def test_draws_cannot_be_made_of(asked):
    rating, scores, prompts = noisy(2, 4, noise=1.0, seed=0)
    with pytest.raises(InputError):
        agreement(pair_design(rating, prompts), scores, **asked)


# Permutation ------------------------------------------------------------------------------------


def test_the_p_value_of_three_texts_is_a_third():
    # Of 6 orders of three ratings, 2 (right way round and reversed) are as far from chance.
    design = pair_design(np.array([1.0, 2.0, 3.0]), ["p"] * 3)
    scores = np.array([[1.0, 2.0, 3.0], [1.0, 3.0, 2.0]])
    p = permutation_p(design, scores, n_permutations=6000)
    assert p[0] == pytest.approx(1 / 3, abs=0.025)
    # Two of three pairs right: every order is as far (1/3 or 2/3, 0 or 1).
    assert p[1] == 1.0


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_p_values_are_even_under_the_null(missing, monkeypatch):
    monkeypatch.setattr(pair_draws, "PART", 5000)
    generator = np.random.default_rng(0)
    rating = generator.integers(1, 6, 120).astype(float)
    scores = generator.normal(size=(400, 120))
    scores[generator.random(scores.shape) < missing] = np.nan
    prompts = [str(i) for i in np.repeat(np.arange(20), 6)]
    p = permutation_p(pair_design(rating, prompts), scores, n_permutations=400)
    for share in (0.05, 0.25, 0.5, 0.75):
        # Three standard errors of a share of 400.
        assert (p <= share).mean() == pytest.approx(share, abs=3 * math.sqrt(share / 400) + 0.01)


def test_a_score_against_people_is_below_chance_and_far_from_it():
    rating, scores, prompts = noisy(15, 6, noise=0.3, seed=0)
    row = agreement(pair_design(rating, prompts), -scores, n_draws=200, n_permutations=500)[0]
    assert row.pairwise_accuracy < 0.2
    assert row.ci_high < 0.5
    assert row.p_value == pytest.approx(1 / 501)  # none is as far; the observed one is counted
    assert row.kendall < -0.4
    assert row.spearman < -0.4


def test_ratings_are_permuted_within_prompts_only():
    # Prompts differ much in both, and within prompts the score is reversed: between prompts it
    # would look right.
    rating = np.array([[10.0 * p, 10.0 * p + 1] for p in range(12)]).ravel()
    scores = np.array([[10.0 * p + 1, 10.0 * p] for p in range(12)]).ravel()[None]
    prompts = [str(i) for i in np.repeat(np.arange(12), 2)]
    design = pair_design(rating, prompts)
    assert accuracies(design, scores)[0] == 0.0
    # All twelve the same way: 2 of 4096, so hardly ever in 500.
    assert permutation_p(design, scores, n_permutations=500)[0] < 0.02


def test_holm():
    # Sorted .005, .01, .03, .04 times 4, 3, 2, 1 is .02, .03, .06, .04, which may not fall.
    adjusted = holm(np.array([0.01, 0.04, math.nan, 0.03, 0.005]))
    assert adjusted == pytest.approx([0.03, 0.06, math.nan, 0.06, 0.02], nan_ok=True)
    assert holm(np.array([0.6, 0.9])).tolist() == [1.0, 1.0]


# Rank correlations ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "theirs"), [(kendall_within, kendalltau), (spearman_within, spearmanr)]
)
def test_correlations_are_scipys_averaged_over_blocks_that_vary(ours, theirs):
    messy = Messy(n_prompts=20)
    design = pair_design(messy.rating, messy.prompts)
    prompts = np.array(messy.prompts)
    for score, found in zip(messy.scores, ours(design, messy.scores), strict=True):
        known = ~np.isnan(score) & ~np.isnan(messy.rating)
        blocks = [
            (messy.rating.round(9)[known & (prompts == p)], score[known & (prompts == p)])
            for p in set(messy.prompts)
        ]
        vary = [(r, s) for r, s in blocks if len(set(r)) > 1 and len(set(s)) > 1]
        assert len(vary) < len(blocks)
        assert found == pytest.approx(np.mean([theirs(r, s).statistic for r, s in vary]))


def test_ratings_that_differ_in_the_last_digit_are_tied():
    design = pair_design(np.array([0.1 + 0.2, 0.3, 1.0]), ["p"] * 3)
    scores = np.array([[1.0, 2.0, 3.0]])
    tied = [0.3, 0.3, 1.0]
    assert spearman_within(design, scores)[0] == pytest.approx(spearmanr(tied, scores[0])[0])
    assert kendall_within(design, scores)[0] == pytest.approx(kendalltau(tied, scores[0])[0])


def test_kendall_in_parts_is_the_same(monkeypatch):
    messy = Messy()
    design = pair_design(messy.rating, messy.prompts)
    whole = kendall_within(design, messy.scores)
    monkeypatch.setattr(pair_draws, "PART", 4)
    assert kendall_within(design, messy.scores) == pytest.approx(whole)


def test_systems_are_compared_by_their_means_from_ten_on():
    generator = np.random.default_rng(0)
    systems = [f"s{i}" for i in range(11)] * 5
    rating = generator.normal(size=55)
    scores = rating + generator.normal(size=(2, 55))
    scores[1, :2] = np.nan
    rating[7] = np.nan
    expected = []
    for score in scores:
        names = sorted(set(systems))
        both = ~np.isnan(rating) & ~np.isnan(score)
        means = [
            [v[(np.array(systems) == s) & both].mean() for s in names] for v in (rating, score)
        ]
        expected.append(kendalltau(*means).statistic)
    assert system_kendall(rating, scores, systems) == pytest.approx(expected)
    nine = ["" if s in {"s0", "s1"} else s for s in systems]
    assert np.isnan(system_kendall(rating, scores, nine)).all()
    with pytest.raises(InputError, match="3 systems"):
        system_kendall(rating, scores, ["a"] * 3)


# Rows -------------------------------------------------------------------------------------------


def test_a_row_says_what_it_was_counted_on():
    rating = np.array([1.0, 2.0, 3.0, 1.0, 2.0, 4.0, 4.2])
    prompts = ["p"] * 3 + ["q"] * 2 + ["r"] * 2
    scores = np.stack([np.arange(7.0), [0.0, 1.0, math.nan, 0.0, math.nan, 0.0, 1.0]])
    design = pair_design(rating, prompts)
    whole, some = agreement(design, scores, n_draws=50, n_permutations=50)
    assert (whole.n_pairs, whole.n_texts, whole.n_prompts) == (4, 5, 2)
    assert (some.n_pairs, some.n_texts, some.n_prompts) == (1, 2, 1)
    # All right in every draw: of five texts two pairs can be made that share none, .025 ** (1 / 2).
    assert (whole.ci_low, whole.ci_high) == (pytest.approx(0.15811, abs=1e-5), 1.0)
    assert math.isnan(whole.system_kendall)


def test_systems_are_those_of_the_listed_texts():
    rating, scores, _ = noisy(3, 22, noise=1.0, seed=0)
    rating[5] = np.nan
    systems = [f"s{i % 11}" for i in range(66)]
    prompts = [str(i % 3) for i in range(66)]
    design = pair_design(rating, prompts)
    row = agreement(design, scores, systems=systems, n_draws=5, n_permutations=5)[0]
    assert row.system_kendall == pytest.approx(system_kendall(rating, scores, systems)[0])
    with pytest.raises(InputError, match="2 systems"):
        agreement(design, scores, systems=["a", "b"])


def test_two_scores_are_held_against_each_other():
    messy = Messy(n_prompts=15)
    one, other = messy.scores[0], messy.scores[2]
    few = {"n_draws": 50, "n_permutations": 50}
    by_one, by_other = (pair_design(score, messy.prompts, min_gap=0.0) for score in (one, other))
    same, turned, there = agreement(by_one, np.stack([one, -one, other]), **few)
    assert (same.pairwise_accuracy, turned.pairwise_accuracy) == (1.0, 0.0)
    (back,) = agreement(by_other, one[None], **few)
    assert there.kendall == pytest.approx(back.kendall)
    assert there.n_pairs == back.n_pairs  # neither ties


def test_a_judge_of_pairs_counts_as_the_score_it_follows():
    messy = Messy(n_prompts=14)
    score = messy.scores[1]
    design = pair_design(messy.rating, messy.prompts)
    pairs = [(int(j), int(i)) for i, j in itertools.combinations(range(len(score)), 2)]
    preference = np.array([0.5 + 0.3 * np.sign(score[a] - score[b]) for a, b in pairs])
    few = {"n_draws": 60, "n_permutations": 60, "ratings_by_rater": messy.by_rater}
    judged = judged_agreement(design, pairs, preference, **few)
    scored = agreement(design, score[None], **few)[0]
    for name in ("pairwise_accuracy", "n_pairs", "ci_low", "ci_high", "p_value", "n_texts"):
        assert getattr(judged, name) == getattr(scored, name)
    assert math.isnan(judged.kendall)
    assert math.isnan(judged.spearman)


THREE = [0.4, 0.8, 0.3]


def test_both_orders_of_a_judged_pair_are_one_vote():
    # On 0-1 the judge says "first" both times: a tie. 1-2 is right; 0-2 failed, 0-3 undecided.
    design = pair_design(np.array([1.0, 2.0, 3.0, 1.5]), ["p"] * 4)
    pairs = [(0, 1), (1, 0), (2, 1), (0, 2), (0, 3)]
    preference = np.array([0.7, 0.7, 0.8, math.nan, 1.0])
    row = judged_agreement(design, pairs, preference, n_draws=20, n_permutations=20)
    assert (row.pairwise_accuracy, row.n_pairs, row.n_texts) == (0.75, 2, 3)
    # Three votes whose mean is a tie but for the last digit.
    assert sum(THREE) / 3 != 0.5
    row = judged_agreement(design, [(0, 1)] * 3, np.array(THREE), n_draws=5, n_permutations=5)
    assert row.pairwise_accuracy == 0.5


@pytest.mark.parametrize(
    ("pairs", "preference"),
    [([(0, 5)], [0.5]), ([(-1, 1)], [0.5]), ([(1, 1)], [0.5]), ([(0, 1)], [1.5]), ([(0, 1)], [])],
)
def test_a_judge_cannot_have_said(pairs, preference):
    design = pair_design(np.array([1.0, 2.0, 3.0]), ["p"] * 3)
    with pytest.raises(InputError):
        judged_agreement(design, pairs, np.array(preference, dtype=float))


# What cannot be said ----------------------------------------------------------------------------

NOTHING = [
    ("no rating", [math.nan] * 4, "ppqq", [1.0, 2.0, 3.0, 4.0]),
    ("constant ratings", [3.0] * 4, "pppp", [1.0, 2.0, 3.0, 4.0]),
    ("one text a prompt", [1.0, 2.0, 3.0, 4.0], "pqrs", [1.0, 2.0, 3.0, 4.0]),
    ("no score", [1.0, 2.0, 3.0, 4.0], "pppp", [math.nan] * 4),
    ("no two scores on a prompt", [1.0, 2.0, 3.0, 4.0], "ppqq", [1.0, math.nan, 3.0, math.nan]),
]


@pytest.mark.parametrize(("rating", "prompts", "score"), [n[1:] for n in NOTHING])
def test_where_no_pair_counts_nothing_is_said(rating, prompts, score):
    design = pair_design(np.array(rating), list(prompts))
    row = agreement(design, np.array([score]), systems=["a"] * 4, n_draws=20, n_permutations=20)[0]
    assert (row.n_pairs, row.n_texts, row.n_prompts) == (0, 0, 0)
    assert row.these_prompts_only or score[1] != score[1]
    values = (row.pairwise_accuracy, row.ci_low, row.ci_high, row.p_value, row.kendall)
    assert all(math.isnan(value) for value in values)


def test_a_score_that_always_ties_is_at_chance():
    rating, _, prompts = noisy(12, 4, noise=1.0, seed=0)
    row = agreement(pair_design(rating, prompts), np.ones((1, 48)), n_draws=20, n_permutations=20)[
        0
    ]
    assert (row.pairwise_accuracy, row.ci_low, row.ci_high, row.p_value) == (0.5, 0.5, 0.5, 1.0)
    assert math.isnan(row.kendall)
    assert math.isnan(row.spearman)


def test_two_texts_have_an_order_and_an_interval_that_says_nothing():
    design = pair_design(np.array([1.0, 2.0]), ["p", "p"])
    row = agreement(design, np.array([[1.0, 2.0]]), n_draws=50, n_permutations=50)[0]
    assert (row.pairwise_accuracy, row.n_pairs, row.p_value) == (1.0, 1, 1.0)
    assert (row.ci_low, row.ci_high) == (pytest.approx(0.025), 1.0)
    assert row.these_prompts_only


def test_no_scores_make_no_rows():
    design = pair_design(np.array([1.0, 2.0]), ["p", "p"])
    assert agreement(design, np.zeros((0, 2)), n_draws=5, n_permutations=5) == []
