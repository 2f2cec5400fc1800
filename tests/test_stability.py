"""Stability has the value that planted signal and noise give it, and premises are the unit."""

import math

import numpy as np
import pytest
import torch

from creativity_lens.errors import InputError
from creativity_lens.probes.premises import Premises, disjoint_sets
from creativity_lens.probes.stability import (
    agreement,
    learning_curve,
    premises_needed,
    stability,
)
from creativity_lens.stats import bootstrap_weights
from tests.fakes import unchecked

D_MODEL = 64
# The layers of `planted` have noise of their own: they are repetitions of one experiment.
N_LAYERS = 40


def names(n: int) -> list[str]:
    return [f"premise-{i}" for i in range(n)]


def planted(
    n: int, *, size: float, seed: int = 0, n_layers: int = N_LAYERS, d_model: int = D_MODEL
):
    """Sides that differ by a vector of length `size` and by unit noise in every coordinate.

    A paired difference is delta + e - e', so the noise is E|e - e'|^2 = 2 d, the signal size^2 and
    k = 2 d / size^2.
    """
    generator = torch.Generator().manual_seed(seed)
    premise, creative, uncreative = torch.randn(3, n, n_layers, d_model, generator=generator)
    delta = torch.zeros(d_model)
    delta[3] = size
    return premise + delta + creative, premise + uncreative


def noise_to_signal(size: float) -> float:
    return 2 * D_MODEL / size**2


def uneven():
    """Seven premises with one to four pairs, their rows scattered; two layers."""
    groups = ["b", "a", "c", "a", "d", "e", "b", "a", "f", "g", "a", "c"]
    creative, uncreative = planted(len(groups), size=2.0, n_layers=2, d_model=5)
    return creative, uncreative, groups


def cosine(a, b) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def mean_of(intervals) -> float:
    return float(np.mean([interval.estimate for interval in intervals]))


# --- stability -------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "size"), [(60, 4.0), (60, 1.5), (41, 3.0)])
def test_a_planted_direction_has_the_stability_that_its_noise_gives_it(n, size):
    # The mean of m differences is delta plus noise of squared length N / m. Two of them have the
    # expected inner product S and squared length S + N / m: a cosine of S / (S + N / m), which is
    # m / (m + k).
    k = noise_to_signal(size)
    found = stability(*planted(n, size=size), names(n), n_splits=60, n_draws=200)
    half = n // 2
    assert mean_of(found.split_half) == pytest.approx(half / (half + k), abs=0.03)
    assert found.reliability.mean() == pytest.approx(2 * half / (2 * half + k), abs=0.03)
    assert found.signal_to_noise.mean() == pytest.approx(n / k, rel=0.1)
    # S in common with the truth, of the squared lengths S and S + N / n.
    assert found.with_truth.mean() == pytest.approx(math.sqrt(n / (n + k)), abs=0.03)
    # A resampling has the squared length S + 2 N / n and the inner product S + N / n with the
    # full direction, whose squared length is S + N / n.
    t = k / n
    assert mean_of(found.bootstrap) == pytest.approx(math.sqrt((1 + t) / (1 + 2 * t)), abs=0.02)
    assert (found.n_premises, found.n_splits) == (n, 60)


def test_the_true_direction_is_as_near_as_is_said():
    creative, uncreative = planted(40, size=2.0)
    direction = (creative - uncreative).mean(dim=0)
    actual = (direction[:, 3] / direction.norm(dim=-1)).mean()
    found = stability(creative, uncreative, names(40), n_splits=60, n_draws=50)
    assert found.with_truth.mean() == pytest.approx(float(actual), abs=0.03)


def test_noise_has_no_stability_though_its_bootstrap_looks_stable():
    found = stability(*planted(40, size=0.0), names(40), n_splits=60, n_draws=200)
    assert mean_of(found.split_half) == pytest.approx(0, abs=0.03)
    assert np.mean(found.reliability) == pytest.approx(0, abs=0.08)
    assert found.signal_to_noise.mean() == pytest.approx(0, abs=0.08)
    assert mean_of(found.bootstrap) == pytest.approx(math.sqrt(1 / 2), abs=0.03)


def test_copies_of_pairs_add_no_stability():
    creative, uncreative = planted(20, size=1.5, n_layers=4)
    settings = {"n_splits": 30, "n_draws": 50}
    once = stability(creative, uncreative, names(20), **settings)
    copied = (side.repeat(5, 1, 1) for side in (creative, uncreative))
    again = stability(*copied, names(20) * 5, **settings)
    assert np.allclose(again.split_half, once.split_half)
    assert np.allclose(again.bootstrap, once.bootstrap)
    assert np.allclose(again.reliability, once.reliability)
    assert np.allclose(again.signal_to_noise, once.signal_to_noise)
    # Without the premises' names the copies pass for new pairs.
    fooled = stability(creative.repeat(5, 1, 1), uncreative.repeat(5, 1, 1), names(100), **settings)
    assert (fooled.reliability > once.reliability + 0.2).all()


def test_splits_and_draws_are_directions_of_resampled_pairs():
    """Against a loop that picks the pairs of the drawn premises and takes their mean."""
    creative, uncreative, groups = uneven()
    found = stability(creative, uncreative, groups, n_splits=25, n_draws=30, seed=4)
    differences = (creative - uncreative).double().numpy()
    premises = Premises.of(creative, uncreative, groups)
    sets = disjoint_sets(premises.ranks(25, seed=4), 3)
    for layer in range(2):
        at = differences[:, layer]
        draws = [
            cosine(np.repeat(at, drawn, axis=0).mean(axis=0), at.mean(axis=0))
            for drawn in bootstrap_weights(groups, 30, seed=4).astype(int)
        ]
        low, middle, high = np.quantile(draws, [0.025, 0.5, 0.975])
        assert found.bootstrap[layer] == pytest.approx((middle, low, high))
        rows = [[half[premises.index] > 0 for half in halves] for halves in zip(*sets, strict=True)]
        splits = [cosine(at[one].mean(axis=0), at[other].mean(axis=0)) for one, other in rows]
        low, high = np.quantile(splits, [0.025, 0.975])
        assert found.split_half[layer] == pytest.approx((np.mean(splits), low, high))


def test_sets_of_premises_have_none_in_common_and_all_are_used():
    ranks = Premises.of(*planted(9, size=1.0, n_layers=1), names(9)).ranks(200, seed=0)
    one, other = disjoint_sets(ranks, 4)
    assert (one.sum(axis=1) == 4).all()
    assert (other.sum(axis=1) == 4).all()
    assert not (one * other).any()
    for weights in (one, other):  # each premise is in 4 of 9 sets, within 4 standard errors
        assert np.abs(weights.mean(axis=0) - 4 / 9).max() < 4 * math.sqrt(4 / 9 * 5 / 9 / 200)


# --- learning curve and power ----------------------------------------------------------------


def test_the_learning_curve_rises_along_its_closed_form():
    found = learning_curve(*planted(80, size=2.5), names(80), n_splits=40, n_draws=50)
    assert found.sizes[0] == 1
    assert found.sizes[-1] == 40
    average = found.cosine.mean(axis=1)
    assert (np.diff(average) > 0).all()
    k = noise_to_signal(2.5)
    assert average == pytest.approx(found.sizes / (found.sizes + k), abs=0.03)
    assert found.fitted.mean(axis=1) == pytest.approx(found.sizes / (found.sizes + k), abs=0.03)
    assert found.expected(40) == pytest.approx(found.fitted[-1])
    assert (found.low <= found.cosine).all()
    assert (found.cosine <= found.high).all()


def test_the_learning_curve_counts_each_premise_once():
    creative, uncreative, groups = uneven()
    found = learning_curve(creative, uncreative, groups, sizes=[3], n_splits=20, n_draws=5, seed=2)
    premises = Premises.of(creative, uncreative, groups)
    differences = (creative - uncreative).double().numpy()[:, 1]
    means = np.stack([differences[premises.index == i].mean(axis=0) for i in range(7)])
    sets = zip(*disjoint_sets(premises.ranks(20, seed=2), 3), strict=True)
    naive = [cosine(one @ means, other @ means) for one, other in sets]
    assert found.cosine[0, 1] == pytest.approx(np.mean(naive))
    # By hand: the mean product of different premises, and what is left of their squared length.
    products = means @ means.T
    signal = products[~np.eye(7, dtype=bool)].mean()
    k = (np.diag(products).mean() - signal) / signal
    assert found.noise_to_signal[1].estimate == pytest.approx(k)


def test_power_recovers_the_planted_number_of_premises():
    found = premises_needed(*planted(60, size=3.0), names(60), stability=0.8, n_draws=300, seed=1)
    k = noise_to_signal(3.0)  # 14.2; four times as many premises for 0.8, since s / (1 - s) = 4
    assert np.median([p.estimate for p in found.premises]) == pytest.approx(4 * k, rel=0.1)
    # 40 intervals of 95 %: five or more misses have a chance of 5 %.
    assert sum(not p.low <= 4 * k <= p.high for p in found.premises) <= 4
    for needed, ratio in zip(found.premises, found.noise_to_signal, strict=True):
        assert needed == tuple(math.ceil(4 * x * (1 - 1e-12)) for x in ratio)
        assert 1.5 < needed.high / needed.low < 5
    enough = math.ceil(4 * k)
    assert found.expected(enough).mean() == pytest.approx(0.8, abs=0.02)
    assert found.expected_with_truth(enough) == pytest.approx(np.sqrt(found.expected(enough)))
    assert found.with_truth == math.sqrt(0.8)
    assert (found.n_premises, found.pairs_per_premise) == (60, 1)


def test_the_premises_that_power_asks_for_give_what_was_asked():
    small = premises_needed(*planted(60, size=2.0), names(60), stability=0.7, n_draws=20)
    n = int(np.median([p.estimate for p in small.premises]))
    two = stability(*planted(2 * n, size=2.0, seed=5), names(2 * n), n_splits=20, n_draws=5)
    assert mean_of(two.split_half) == pytest.approx(0.7, abs=0.04)


def test_no_number_of_premises_is_enough_where_there_is_only_noise():
    found = premises_needed(*planted(30, size=0.0), names(30), n_draws=200)
    estimates = np.array([p.estimate for p in found.premises])
    assert 0.2 < np.isinf(estimates).mean() < 0.8  # the signal estimate is as often below 0
    assert (estimates > 300).all()
    assert np.mean([p.high == math.inf for p in found.premises]) > 0.9
    assert all(p.low <= p.estimate <= p.high for p in found.premises if p.estimate < math.inf)
    nothing = int(np.argmax(estimates))
    assert found.expected(1000)[nothing] == 0


def test_more_pairs_on_the_same_premises_do_not_pass_for_more_premises():
    """Noise that belongs to the premise is not averaged away by its pairs."""
    shared = planted(30, size=2.0, n_layers=20)
    own = planted(120, size=0.0, n_layers=20, seed=3)
    sides = [a.repeat(4, 1, 1) + 0.1 * b for a, b in zip(shared, own, strict=True)]
    found = premises_needed(*sides, names(30) * 4, stability=0.5, n_draws=100)
    assert found.pairs_per_premise == 4
    assert np.median([p.estimate for p in found.premises]) == pytest.approx(
        noise_to_signal(2.0), rel=0.15
    )


def test_a_direction_without_noise_needs_one_premise():
    creative = torch.ones(6, 1, 8)
    creative[:, :, 0] += torch.arange(6.0)[:, None]
    found = premises_needed(creative, creative - 1, names(6), n_draws=20)
    assert found.premises == ((1.0, 1.0, 1.0),)
    assert stability(creative, creative - 1, names(6)).bootstrap[0] == pytest.approx((1, 1, 1))


# --- agreement -------------------------------------------------------------------------------


def test_agreement_by_hand():
    found = agreement(
        {
            "a": torch.tensor([[2.0, 0.0], [1.0, 0.0]]),
            "b": torch.tensor([[1.0, 1.0], [-3.0, 0.0]]),
            "c": torch.tensor([[0.0, 1.0], [0.6, 0.8]]),
        }
    )
    root = math.sqrt(0.5)
    assert found[0] == pytest.approx(np.array([[1, root, 0], [root, 1, root], [0, root, 1]]))
    assert found[1] == pytest.approx(np.array([[1, -1, 0.6], [-1, 1, -0.6], [0.6, -0.6, 1]]))


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ({}, "got none"),
        ({"a": torch.ones(2, 3), "b": torch.ones(2, 4)}, r"one shape, .*\(2, 4\)"),
        ({"a": torch.ones(1, 3), "b": torch.zeros(1, 3)}, "zero, NaN or infinite"),
        ({"a": torch.full((1, 3), math.nan)}, "zero, NaN or infinite"),
    ],
)
def test_sets_that_cannot_agree_are_an_error(sets, message):
    with unchecked(), pytest.raises(InputError, match=message):
        agreement(sets)


# --- seeds and bad input ---------------------------------------------------------------------

QUICK = {"n_draws": 20}
FUNCTIONS = (stability, learning_curve, premises_needed)


def test_a_seed_gives_one_result():
    sides = planted(12, size=2.0, n_layers=2)
    one, again, other = (
        (
            stability(*sides, names(12), n_splits=9, seed=seed, **QUICK),
            learning_curve(*sides, names(12), n_splits=9, seed=seed, **QUICK),
            premises_needed(*sides, names(12), seed=seed, **QUICK),
        )
        for seed in (5, 5, 6)
    )
    assert one[0].split_half == again[0].split_half != other[0].split_half
    assert one[0].bootstrap == again[0].bootstrap != other[0].bootstrap
    assert (one[1].cosine == again[1].cosine).all()
    assert (one[1].cosine != other[1].cosine).any()
    assert one[2].noise_to_signal == again[2].noise_to_signal != other[2].noise_to_signal


@pytest.mark.parametrize("function", FUNCTIONS)
def test_input_without_a_measurable_stability_is_an_error(function):
    creative, uncreative = planted(6, size=1.0, n_layers=2)
    with pytest.raises(InputError, match="at least 4 of them, got 3 premises in 6 pairs"):
        function(creative, uncreative, ["a", "b", "c"] * 2)
    broken = creative.clone()
    broken[0, 1, 2] = math.nan
    with pytest.raises(InputError, match="NaN"):
        function(broken, uncreative, names(6))
    same = creative.clone()
    same[:, 1] = uncreative[:, 1]
    with pytest.raises(InputError, match="equal at layer 1"):
        function(same, uncreative, names(6))
    with pytest.raises(InputError, match="n_draws must be at least 1, got 0"):
        function(creative, uncreative, names(6), n_draws=0)
    with unchecked(), pytest.raises(InputError, match="must match"):
        function(creative, uncreative[:5], names(6))


def test_settings_out_of_range_are_an_error():
    sides = planted(9, size=1.0, n_layers=1)
    for wanted in (0.0, 1.0, -0.5, 90.0):
        with pytest.raises(InputError, match="between 0 and 1"):
            premises_needed(*sides, names(9), stability=wanted)
    for sizes in ([], [0], [2, 5]):
        with pytest.raises(InputError, match="from 1 to 4, half of the 9"):
            learning_curve(*sides, names(9), sizes=sizes)
    with pytest.raises(InputError, match="n_splits must be at least 1"):
        stability(*sides, names(9), n_splits=0)
    with pytest.raises(InputError, match="at least one premise"):
        premises_needed(*sides, names(9), **QUICK).expected(0)
