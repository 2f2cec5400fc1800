"""Strengths from comparisons: closed forms, planted strengths, what cannot be compared."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from creativity_lens.errors import InputError
from creativity_lens.evaluation.bradley_terry import (
    RIDGE,
    bradley_terry,
    bradley_terry_draws,
    bradley_terry_table,
)


def test_two_items_differ_by_the_log_odds_of_a_win():
    fit = bradley_terry(2, [0, 1], [1, 0], [70.0, 30.0])
    # The ridge takes about ridge * d / 2 / (n p q) = 0.0002 of d = ln(7/3) away.
    assert fit.strengths[0] - fit.strengths[1] == pytest.approx(np.log(7 / 3), abs=3e-4)
    assert fit.strengths.sum() == pytest.approx(0, abs=1e-12)
    assert fit.n_comparisons.tolist() == [100, 100]


def test_planted_strengths_are_recovered():
    planted = np.array([-1.5, -0.5, 0.0, 0.4, 1.6])
    pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
    won, lost = np.array(pairs).T
    weights = 1e5 * expit(planted[won] - planted[lost])  # what is expected of many comparisons
    fit = bradley_terry(5, won, lost, weights)
    np.testing.assert_allclose(fit.strengths, planted, atol=1e-5)
    assert fit.n_components == 1


def test_the_fit_is_where_the_penalized_likelihood_has_no_slope():
    generator = np.random.default_rng(0)
    won, lost = generator.integers(6, size=(2, 40))
    lost = np.where(won == lost, (lost + 1) % 6, lost)
    s = bradley_terry(6, won, lost).strengths
    slope = -RIDGE * s
    np.add.at(slope, won, expit(s[lost] - s[won]))
    np.add.at(slope, lost, -expit(s[lost] - s[won]))
    np.testing.assert_allclose(slope, 0, atol=1e-7)


def test_ties_as_half_wins_each_way_leave_items_equal():
    fit = bradley_terry(2, [0, 1], [1, 0], [0.5, 0.5])
    np.testing.assert_allclose(fit.strengths, 0, atol=1e-12)


def test_an_item_that_wins_everything_stays_finite():
    fit = bradley_terry(2, [0], [1], [1e6])
    gap = fit.strengths[0] - fit.strengths[1]
    # 1e6 exp(-d) = ridge d / 2 at the optimum.
    assert 1e6 * expit(-gap) == pytest.approx(RIDGE * gap / 2, rel=1e-6)
    stronger = bradley_terry(2, [0], [1], [1e6], ridge=1.0)
    assert stronger.strengths[0] < fit.strengths[0]


def test_items_never_compared_are_in_components_of_their_own():
    fit = bradley_terry(6, [0, 2, 3], [1, 3, 2], [3.0, 1.0, 1.0])
    assert fit.n_components == 4
    assert fit.components[0] == fit.components[1] != fit.components[2] == fit.components[3]
    assert fit.strengths[4] == fit.strengths[5] == 0
    assert fit.strengths[0] > 0.5
    np.testing.assert_allclose(fit.strengths[:2].sum(), 0, atol=1e-12)
    # Comparisons elsewhere change nothing.
    assert bradley_terry(2, [0], [1], [3.0]).strengths[0] == pytest.approx(fit.strengths[0])


def test_weights_count_comparisons_and_zero_counts_none():
    many = bradley_terry(3, [0, 0, 1, 2], [1, 1, 0, 0])
    weighed = bradley_terry(3, [0, 1, 2, 1], [1, 0, 0, 2], [2.0, 1.0, 1.0, 0.0])
    np.testing.assert_allclose(many.strengths, weighed.strengths, atol=1e-9)
    assert bradley_terry(2, [0], [1], [0.0]).n_components == 2


def test_draws_cover_a_planted_difference_and_resample_whole_prompts():
    generator = np.random.default_rng(1)
    inside = 0
    for seed in range(40):
        # Prompts differ in how much they favour item 0; choices on one prompt are alike.
        chance = np.repeat(expit(generator.normal(0.5, 1.0, size=60)), 5)
        first = generator.random(300) < chance
        prompts = np.repeat(np.arange(60), 5).astype(str).tolist()
        draws = bradley_terry_draws(
            *(2, np.where(first, 0, 1), np.where(first, 1, 0), None, prompts),
            n_draws=300,
            seed=seed,
        )
        gap = draws[:, 0] - draws[:, 1]
        low, high = np.quantile(gap, [0.025, 0.975])
        normal = np.random.default_rng(0).normal(0.5, 1.0, 200_000)
        inside += low <= logit(expit(normal).mean()) <= high
    assert inside >= 34  # of 40 at 95 %; p < 0.01 below


def test_a_draw_that_leaves_items_unconnected_is_nan():
    # Items 1 and 2 meet on prompt a alone, 0 and 1 on b alone.
    draws = bradley_terry_draws(3, [0, 1], [1, 2], None, ["b", "a"], n_draws=200)
    unknown = np.isnan(draws).all(axis=1)
    assert 0.3 < unknown.mean() < 0.7  # a draw holds both prompts half of the time
    assert np.isfinite(draws[~unknown]).all()


def row(prompt, left, right, chosen, *, group="all", kept=True, kind="pair"):
    return {
        **{"prompt_id": prompt, "chosen": chosen, "rater_group": group, "kept": kept},
        **{"kind": kind, "left_system": left, "right_system": right},
        **{"left_id": f"{left}/{prompt}", "right_id": f"{right}/{prompt}"},
    }


def test_a_table_of_sets_and_texts_by_rater_group():
    rows = [row(f"p{i}", *("ab" if i % 2 else "ba"), "left") for i in range(4)]  # 2 wins each
    rows += [row(f"p{i}", "b", "a", "left", group="lay") for i in range(3)]
    rows += [row("p3", "a", "b", "tie", group="lay")]
    rows += [row("p0", "a", "b", "left", group="lay", kept=False)]
    rows += [row("p0", "a", "b", "left", group="lay", kind="repeat")]
    table = bradley_terry_table(pd.DataFrame(rows), n_draws=200)
    systems = table[table["level"] == "system"].set_index(["rater_group", "item"])
    assert systems.loc[("all", "a"), "strength"] == pytest.approx(0, abs=1e-9)
    lay = systems.loc["lay"]
    # Three wins and a tie: odds 3.5 to 0.5.
    assert lay.loc["b", "strength"] - lay.loc["a", "strength"] == pytest.approx(np.log(7), abs=0.05)
    assert lay.loc["b", "n_comparisons"] == 4
    assert lay.loc["b", "n_prompts"] == 4
    assert lay.loc["b", "low"] <= lay.loc["b", "strength"] <= lay.loc["b", "high"]
    of_texts = table[(table["level"] == "text") & (table["rater_group"] == "lay")]
    assert of_texts["component"].nunique() == 4
    assert of_texts["low"].isna().all()
    assert of_texts.groupby("component")["strength"].sum().abs().max() < 1e-9


def test_a_third_set_connects_two_that_never_met():
    rows = [row(f"p{i}", "a", "b", "left") for i in range(3)] + [row("p3", "a", "b", "right")]
    rows += [row(f"p{i}", "b", "c", "left") for i in range(3)] + [row("p3", "b", "c", "right")]
    table = bradley_terry_table(pd.DataFrame(rows), n_draws=100)
    strength = table[table["level"] == "system"].set_index("item")["strength"]
    assert strength["a"] - strength["c"] == pytest.approx(2 * np.log(3), abs=0.05)


def systems(rows, **options):
    table = bradley_terry_table(pd.DataFrame(rows), n_draws=400, **options)
    return table[table["level"] == "system"].set_index("item")


def test_a_set_that_won_everything_has_no_finite_upper_bound():
    rows = [
        row(f"p{i}", *("ab" if i % 2 else "ba"), "left" if i % 2 else "right") for i in range(12)
    ]
    for ridge in (RIDGE, 10 * RIDGE):
        found = systems(rows, ridge=ridge)
        assert found["separated"].tolist() == [True, True]
        # 12 of 12 prompts: at least 0.735 of them, whose log-odds are 1.02, half of it for each.
        low = 0.025 ** (1 / 12)
        assert found.loc["a", "low"] == pytest.approx(np.log(low / (1 - low)) / 2)
        assert found.loc["a", "high"] == np.inf
        assert found.loc["b", "low"] == -np.inf
        assert found.loc["b", "high"] == -found.loc["a", "low"]


def test_ties_alone_leave_a_width():
    found = systems([row(f"p{i}", "a", "b", "tie") for i in range(12)])
    assert not found["separated"].any()
    assert found["strength"].tolist() == pytest.approx([0, 0], abs=1e-9)
    assert found.loc["a", ["low", "high"]].tolist() == pytest.approx([-0.66, 0.66], abs=0.01)


def test_one_loss_bounds_a_set_from_below_alone():
    rows = [row(f"p{i}", "a", "b", "left") for i in range(11)] + [row("p11", "b", "a", "left")]
    found = systems(rows)
    assert not found["separated"].any()
    # A draw leaves the loss out with a chance of (11/12)^12 = 0.35: then a won everything.
    assert found.loc["a", "high"] == np.inf
    assert 0 < found.loc["a", "low"] < found.loc["a", "strength"] == pytest.approx(1.2, abs=0.05)
    assert found.loc["b", "low"] == -np.inf
    assert found.loc["b", "high"] == -found.loc["a", "low"]


def test_of_three_sets_the_one_that_won_everything_has_an_open_interval():
    rows = [row(f"p{i}", "a", "bc"[i % 2], "left") for i in range(12)]
    rows += [row(f"p{i}", "b", "c", "left" if i % 3 else "right") for i in range(12)]
    found = systems(rows)
    assert found["separated"].all()
    assert np.isnan(found.loc["a", "low"])
    assert found.loc["a", "high"] == np.inf
    assert found.loc[["b", "c"], "low"].tolist() == [-np.inf, -np.inf]
    assert found.loc[["b", "c"], "high"].isna().all()
    # A chain: of the one in the middle nothing is known.
    chain = [row(f"p{i}", *pair, "left") for i in range(12) for pair in ("ab", "bc")]
    assert systems(chain).loc["b", ["low", "high"]].tolist() == [-np.inf, np.inf]


def test_three_sets_that_are_alike_on_all_prompts_have_no_bounds():
    rows = [row(f"p{i}", *pair, "tie") for i in range(12) for pair in ("ab", "bc", "ca")]
    found = systems(rows)
    assert not found["separated"].any()
    assert found[["low", "high"]].isna().all(axis=None)


def test_bounds_without_end_come_back_from_csv(tmp_path):
    rows = [row(f"p{i}", "a", "b", "left") for i in range(4)]
    table = bradley_terry_table(pd.DataFrame(rows))
    table.to_csv(tmp_path / "table.csv", index=False)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "table.csv"), table)


def test_a_fit_says_where_it_is_separated():
    assert bradley_terry(2, [0, 1], [1, 0]).separated.tolist() == [False, False]
    # 0 to 2 beat each other in a ring; 3 lost to 2; 4 and 5 are a component of their own.
    fit = bradley_terry(7, [0, 1, 2, 2, 4, 5], [1, 2, 0, 3, 5, 4])
    assert fit.separated.tolist() == [True] * 4 + [False] * 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, [], []), "got 0 items"),
        ((2, [0], []), "lists of one length"),
        ((2, [0], [1], [1.0, 1.0]), "2 weights"),
        ((2, [0], [2]), "numbered from 0 to 1"),
        ((2, [-1], [1]), "got -1 to 1"),
        ((2, [1], [1]), "item 1 is against itself"),
        ((2, [0], [1], [-1.0]), "not negative"),
        ((2, [0], [1], [float("inf")]), "finite"),
    ],
)
def test_comparisons_that_cannot_be_are_errors(arguments, words):
    with pytest.raises(InputError, match=words):
        bradley_terry(*arguments)


def test_a_ridge_must_be_positive_and_groups_fit():
    with pytest.raises(InputError, match="ridge must be above 0"):
        bradley_terry(2, [0], [1], ridge=0.0)
    with pytest.raises(InputError, match="a group for each of 1 comparisons"):
        bradley_terry_draws(2, [0], [1], None, [])
