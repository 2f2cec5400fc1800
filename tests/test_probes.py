"""Separability equals a naive refit in every fold, finds what was planted and nothing in noise."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

from creativity_lens.errors import InputError
from creativity_lens.measures.diversity import distinct_n, words
from creativity_lens.probes.held_out import HeldOutScores
from creativity_lens.probes.rivals import (
    advantage,
    bag_of_words,
    cross_validated,
    standardized_logistic,
)
from creativity_lens.probes.separability import separability
from creativity_lens.stats import bootstrap_weights, grouped_folds, permutation_p, sign_flips
from tests.fakes import unchecked

N_PAIRS, N_LAYERS, D_MODEL = 24, 4, 16
# Eighteen premises; six of them have two pairs.
GROUPS = [f"premise-{i % 18}" for i in range(N_PAIRS)]
QUICK = {"n_permutations": 20, "n_draws": 100}


def noise(seed: int, *, n_pairs=N_PAIRS, n_layers=N_LAYERS, d_model=D_MODEL):
    """Two sides that share their premise's part and differ by nothing else than noise."""
    generator = torch.Generator().manual_seed(seed)
    premise, creative, uncreative = torch.randn(3, n_pairs, n_layers, d_model, generator=generator)
    return premise + creative, premise + uncreative


def planted(seed: int, *, layer: int, size: float = 6.0):
    """Noise, but at one layer the creative side is moved along one direction."""
    creative, uncreative = noise(seed)
    direction = torch.randn(D_MODEL, generator=torch.Generator().manual_seed(99))
    creative[:, layer] += size * direction / direction.norm()
    return creative, uncreative


def naive_scores(creative, uncreative, groups, *, n_folds=5, seed=0):
    """At one layer: refit the difference of means for each fold and project what was left out."""
    creative, uncreative = creative.double().numpy(), uncreative.double().numpy()
    scores = np.zeros((2, len(groups)))
    for fold in grouped_folds(groups, n_folds, seed=seed):
        fitted = DifferenceOfMeansClassifier().fit(
            [*creative[fold.train], *uncreative[fold.train]],
            [1] * len(fold.train) + [0] * len(fold.train),
        )
        for k, side in enumerate((creative, uncreative)):
            scores[k, fold.test] = fitted.decision_function(side[fold.test])
    return scores


def naive_auroc(scores) -> float:
    n = scores.shape[1]
    return float(roc_auc_score([1] * n + [0] * n, scores.reshape(-1)))


class DifferenceOfMeansClassifier(BaseEstimator):
    """Projection on the difference of means, in units of the training texts' spread."""

    def fit(self, inputs, labels):
        inputs, labels = np.stack(inputs), np.array(labels)
        self.direction_ = inputs[labels == 1].mean(axis=0) - inputs[labels == 0].mean(axis=0)
        projected = inputs @ self.direction_
        self.centre_, self.spread_ = projected.mean(), projected.std()
        return self

    def decision_function(self, inputs):
        return (np.stack(inputs) @ self.direction_ - self.centre_) / self.spread_


# --- separability ----------------------------------------------------------------------------


def test_a_planted_direction_separates_at_its_layer_and_nowhere_else():
    found = separability(*planted(0, layer=2), GROUPS, n_permutations=99, n_draws=200)
    assert found.best_layer == 2
    assert found.layers[2].estimate > 0.99
    assert found.p_values[2] == 1 / 100  # no swap does as well
    assert found.null_95 < 0.9
    assert set(found.selected_layers) == {2}
    assert found.selected.interval(n_draws=200).low > 0.9
    assert all(found.p_values[layer] > 0.05 for layer in (0, 1, 3))
    assert all(abs(found.layers[layer].estimate - 0.5) < 0.25 for layer in (0, 1, 3))


def test_shuffled_labels_are_at_chance():
    creative, uncreative = planted(0, layer=2)
    estimates, p_values = [], []
    for seed in range(12):
        swap = sign_flips([str(i) for i in range(N_PAIRS)], 1, seed=seed)[0] > 0
        mixed = torch.tensor(swap)[:, None, None]
        found = separability(
            torch.where(mixed, creative, uncreative),
            torch.where(mixed, uncreative, creative),
            GROUPS,
            seed=seed,
            **QUICK,
        )
        estimates.append(found.layers[2].estimate)
        p_values.append(min(found.p_values))
    assert abs(np.mean(estimates) - 0.5) < 0.1
    assert np.median(p_values) > 0.2
    assert np.mean(np.array(p_values) < 0.05) <= 2 / 12


def test_held_out_scores_are_a_naive_refit_in_each_fold():
    creative, uncreative = planted(1, layer=0, size=1.5)
    for layer in range(N_LAYERS):
        one = slice(layer, layer + 1)
        found = separability(creative[:, one], uncreative[:, one], GROUPS, seed=3, **QUICK)
        expected = naive_scores(creative[:, layer], uncreative[:, layer], GROUPS, seed=3)
        np.testing.assert_allclose(found.selected.creative, expected[0], atol=1e-9)
        np.testing.assert_allclose(found.selected.uncreative, expected[1], atol=1e-9)
        assert found.layers[0].estimate == pytest.approx(naive_auroc(expected), abs=1e-12)
        assert found.selected.groups == tuple(GROUPS)


@pytest.mark.parametrize("seed", [0, 5])
def test_the_null_is_a_naive_refit_under_the_same_swaps_and_the_largest_over_layers(seed):
    creative, uncreative = planted(2, layer=1, size=1.0)
    n = 30
    found = separability(creative, uncreative, GROUPS, n_permutations=n, n_draws=50, seed=seed)
    largest = []
    for signs in sign_flips(GROUPS, n, seed=seed):
        kept = torch.tensor(signs > 0)[:, None, None]
        sides = (
            torch.where(kept, creative, uncreative),
            torch.where(kept, uncreative, creative),
        )
        largest.append(
            max(
                naive_auroc(naive_scores(*(side[:, layer] for side in sides), GROUPS, seed=seed))
                for layer in range(N_LAYERS)
            )
        )
    largest = np.array(largest)
    assert found.n_permutations == n
    assert found.null_95 == pytest.approx(np.quantile(largest, 0.95), abs=1e-12)
    expected = [permutation_p(interval.estimate, largest) for interval in found.layers]
    assert found.p_values == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
def test_a_layer_is_selected_on_training_premises_alone(seed):
    """Each fold's choice is what cross-validation within its training premises would choose."""
    creative, uncreative = noise(seed)  # layers differ by little, so that a choice is easily moved
    found = separability(creative, uncreative, GROUPS, **QUICK)
    for fold, chosen in zip(grouped_folds(GROUPS, 5), found.selected_layers, strict=True):
        names = [GROUPS[i] for i in fold.train]
        sides = creative[fold.train], uncreative[fold.train]
        inner = [
            naive_auroc(naive_scores(*(side[:, layer] for side in sides), names, n_folds=4))
            for layer in range(N_LAYERS)
        ]
        assert chosen == int(np.argmax(inner))
        outer = naive_scores(creative[:, chosen], uncreative[:, chosen], GROUPS)[:, fold.test]
        np.testing.assert_allclose(found.selected.creative[fold.test], outer[0], atol=1e-9)
        np.testing.assert_allclose(found.selected.uncreative[fold.test], outer[1], atol=1e-9)


def test_the_choice_of_a_layer_does_not_inflate_on_noise():
    honest, flattered = [], []
    for seed in range(20):
        sides = noise(seed, n_layers=6)
        found = separability(*sides, GROUPS, seed=seed, n_permutations=1, n_draws=2)
        scores = found.selected
        honest.append(naive_auroc(np.stack([scores.creative, scores.uncreative])))
        flattered.append(max(interval.estimate for interval in found.layers))
    # One AUROC of 24 pairs has a standard deviation of 0.08: three standard errors of 20.
    assert abs(np.mean(honest) - 0.5) < 0.055
    assert np.mean(flattered) > 0.57  # what quoting the best of six layers would give


def test_two_pairs_on_a_premise_do_not_leak():
    """The direction is the premise's own, so that only its twin in training could tell."""
    generator = torch.Generator().manual_seed(0)
    own = torch.randn(12, 1, 64, generator=generator).repeat_interleave(2, dim=0)
    creative, uncreative = 0.1 * torch.randn(2, 24, 1, 64, generator=generator)
    creative = creative + own
    twins = [str(i // 2) for i in range(24)]
    strangers = [str(i) for i in range(24)]
    leaking = separability(creative, uncreative, strangers, n_folds=12, **QUICK)
    honest = separability(creative, uncreative, twins, n_folds=12, **QUICK)
    assert leaking.layers[0].estimate > 0.8
    assert honest.layers[0].estimate < leaking.layers[0].estimate - 0.15


def test_a_common_shift_and_the_scale_change_nothing():
    creative, uncreative = planted(4, layer=1, size=2.0)
    plain = separability(creative, uncreative, GROUPS, **QUICK)
    shift = 1e4 * torch.randn(N_LAYERS, D_MODEL, generator=torch.Generator().manual_seed(1))
    moved = separability(
        (creative.double() + shift) * 3, (uncreative.double() + shift) * 3, GROUPS, **QUICK
    )
    np.testing.assert_allclose(moved.selected.creative, plain.selected.creative, atol=1e-6)
    assert moved.p_values == plain.p_values


def test_separability_follows_the_seed():
    sides = planted(5, layer=1, size=1.0)
    again = [separability(*sides, GROUPS, seed=seed, **QUICK) for seed in (0, 0, 1)]
    assert again[0].layers == again[1].layers
    assert again[0].null_95 == again[1].null_95
    assert again[0].layers != again[2].layers


def test_folds_may_be_as_many_as_premises():
    sides = planted(6, layer=0)
    left_one_out = separability(*sides, GROUPS, n_folds=18, **QUICK)
    assert left_one_out.layers[0].estimate > 0.99
    with pytest.raises(InputError, match="19 folds of 18 premises"):
        separability(*sides, GROUPS, n_folds=19, **QUICK)


def test_no_permutations_shows_nothing():
    found = separability(*planted(0, layer=2), GROUPS, n_permutations=0, n_draws=50)
    assert np.isnan(found.null_95)
    assert set(found.p_values) == {1.0}


def test_sides_that_do_not_match_are_an_error():
    creative, uncreative = noise(0)
    with unchecked():
        with pytest.raises(InputError, match=r"must match.*24.*23"):
            separability(creative, uncreative[:-1], GROUPS)
        with pytest.raises(InputError, match=r"must match.*23 groups"):
            separability(creative, uncreative, GROUPS[:-1])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("side", [0, 1])
def test_activations_that_are_not_finite_are_an_error(value, side):
    sides = noise(0)
    sides[side][3, 1, 2] = value
    with pytest.raises(InputError, match="NaN or infinity"):
        separability(*sides, GROUPS)


# --- rivals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_folds", "seed"), [(5, 0), (3, 7)])
def test_rivals_are_scored_on_the_folds_of_the_probe(n_folds, seed):
    """A rival that is the probe itself, given the activations as features, scores the same."""
    creative, uncreative = planted(7, layer=0, size=1.0)
    probe = separability(
        creative[:, :1], uncreative[:, :1], GROUPS, n_folds=n_folds, seed=seed, **QUICK
    )
    rival = cross_validated(
        make_pipeline(DifferenceOfMeansClassifier()),
        creative[:, 0].double().numpy(),
        uncreative[:, 0].double().numpy(),
        GROUPS,
        n_folds=n_folds,
        seed=seed,
    )
    np.testing.assert_allclose(rival.creative, probe.selected.creative, atol=1e-9)
    np.testing.assert_allclose(rival.uncreative, probe.selected.uncreative, atol=1e-9)
    assert rival.groups == probe.selected.groups


def test_a_bag_of_words_learns_words_that_carry_over_and_not_those_of_a_premise():
    topics = ["tram", "chess", "bank", "river", "letter", "harbour"]
    groups = [f"premise-{i // 2}" for i in range(12)]
    telling = [f"the {topics[i // 2]} dreamed a violet dream" for i in range(12)]
    plain = [f"the {topics[i // 2]} was on time" for i in range(12)]
    found = cross_validated(bag_of_words(), telling, plain, groups, n_folds=3)
    assert found.interval().estimate == 1.0
    # Words that occur on one premise alone tell nothing about another.
    private = [f"{topics[i // 2]}{topics[i // 2]} came" for i in range(12)]
    other = [f"{topics[i // 2]}x came" for i in range(12)]
    assert cross_validated(bag_of_words(), private, other, groups, n_folds=3).interval()[0] == 0.5


def test_standardized_logistic_learns_from_features_of_any_scale():
    generator = np.random.default_rng(0)
    groups = [str(i) for i in range(20)]
    uncreative = generator.normal(size=(20, 2)) * [1e4, 1e-4]
    creative = generator.normal(size=(20, 2)) * [1e4, 1e-4] + [0, 5e-4]
    found = cross_validated(standardized_logistic(), creative, uncreative, groups)
    assert found.interval().estimate > 0.95
    useless = cross_validated(standardized_logistic(), creative[:, :1], uncreative[:, :1], groups)
    assert useless.interval().estimate < 0.8


def test_rivals_need_a_group_for_each_pair():
    with pytest.raises(InputError, match="got 3, 2 and 3"):
        cross_validated(bag_of_words(), ["a", "b", "c"], ["a", "b"], ["x", "y", "z"])


def held_out(creative, uncreative, groups=GROUPS) -> HeldOutScores:
    return HeldOutScores(np.asarray(creative), np.asarray(uncreative), tuple(groups))


@pytest.fixture
def probe():
    creative, uncreative = np.random.default_rng(0).normal(size=(2, N_PAIRS))
    return held_out(creative + 1.5, uncreative)


def rival(seed: int, *, gap: float) -> HeldOutScores:
    creative, uncreative = np.random.default_rng(seed).normal(size=(2, N_PAIRS))
    return held_out(creative + gap, uncreative)


def test_the_advantage_over_oneself_is_exactly_nothing(probe):
    """The comparison is paired: an unpaired one would have a wide interval here."""
    name, gain = advantage(probe, {"itself": probe})
    assert name == "itself"
    assert gain == (0.0, 0.0, 0.0)


def test_the_advantage_is_over_the_best_rival_of_each_draw(probe):
    rivals = {"weak": rival(1, gap=0.2), "strong": rival(2, gap=1.0)}
    name, gain = advantage(probe, rivals, n_draws=60, seed=9)
    assert name == "strong"
    differences = []
    for draw in bootstrap_weights(GROUPS, 60, seed=9).astype(int):
        rows = np.repeat(np.arange(N_PAIRS), draw)
        own, *others = (
            naive_auroc(np.stack([s.creative[rows], s.uncreative[rows]]))
            for s in (probe, *rivals.values())
        )
        differences.append(own - max(others))
    estimates = [naive_auroc(np.stack([s.creative, s.uncreative])) for s in (probe, rivals[name])]
    assert gain.estimate == pytest.approx(estimates[0] - estimates[1])
    assert (gain.low, gain.high) == pytest.approx(tuple(np.quantile(differences, [0.025, 0.975])))


def test_rivals_on_other_pairs_are_an_error(probe):
    elsewhere = replace(probe, groups=probe.groups[::-1])
    with pytest.raises(InputError, match="at least one probe and one rival"):
        advantage(probe, {})
    for rivals in ({"other": elsewhere}, {"itself": probe, "other": elsewhere}):
        with pytest.raises(InputError, match="on the same pairs"):
            advantage(probe, rivals)


# --- diversity -------------------------------------------------------------------------------


def test_distinct_n_by_hand():
    # the-cat, cat-saw, saw-the, the-cat: three different bigrams of four.
    assert distinct_n("The cat saw the cat.") == 3 / 4
    assert distinct_n("The cat saw the cat.", 1) == 3 / 5
    assert distinct_n("no no no no", 2) == 1 / 3
    assert np.isnan(distinct_n("word", 2))
    assert np.isnan(distinct_n("", 1))


def test_words_keep_their_apostrophes_and_lose_their_case():
    assert words("Don't STOP, «Ñandú»!") == ["don't", "stop", "ñandú"]
