"""Cosines with their band and correction; random directions have the covariance they promise."""

import math

import numpy as np
import pytest
import torch

from creativity_lens.errors import InputError
from creativity_lens.probes.cosines import concept_cosines
from creativity_lens.probes.premises import Premises
from creativity_lens.probes.random_directions import (
    isotropic_95,
    isotropic_directions,
    shuffled_label_directions,
    within_class_directions,
)
from creativity_lens.stats import bootstrap_weights
from tests.fakes import unchecked

D_MODEL = 48
N_LAYERS = 60
QUICK = {"n_null": 50, "n_draws": 50}


def names(n: int) -> list[str]:
    return [f"premise-{i}" for i in range(n)]


def texts(n: int, delta, *, seed: int, spread=1.0, n_layers: int = N_LAYERS):
    """Two sides that differ by `delta`, in noise of its own at each layer."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(2, n, n_layers, len(delta), generator=generator) * spread
    return noise[0] + delta, noise[1]


def along(**parts: float) -> torch.Tensor:
    """A vector by its coordinates: along(x0=3.0) is 3 in the first."""
    delta = torch.zeros(D_MODEL)
    for axis, value in parts.items():
        delta[int(axis[1:])] = value
    return delta


def estimates(report) -> np.ndarray:
    return np.array([interval.estimate for interval in report.interval])


# --- cosines ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1.5, 4.0])
def test_the_correction_finds_the_cosine_that_noise_hides(size):
    # The planted directions have the cosine 0.6. With k = 2 d / size^2 their reliabilities are
    # n / (n + k), and the raw cosine is 0.6 times the square root of both.
    contrast = texts(40, along(x0=size), seed=1)
    concept = texts(60, along(x0=1.2 * size, x1=1.6 * size), seed=2)  # twice as long
    found = concept_cosines(*contrast, names(40), {"concept": (*concept, names(60))}, **QUICK)
    report = found["concept"]
    own, other = 40 / (40 + 2 * D_MODEL / size**2), 60 / (60 + 2 * D_MODEL / (2 * size) ** 2)
    assert report.cosine.mean() == pytest.approx(0.6 * math.sqrt(own * other), abs=0.03)
    assert report.reliability.mean() == pytest.approx(other, abs=0.04)
    assert report.corrected.mean() == pytest.approx(0.6, abs=0.03)
    assert np.corrcoef(report.corrected, report.cosine)[0, 1] > 0.9


def test_the_correction_is_not_clipped():
    """Two noisy readings of one direction: the corrected cosine scatters about 1."""
    contrast, concept = (texts(40, along(x0=2.0), seed=seed) for seed in (3, 4))
    report = concept_cosines(*contrast, names(40), {"same": (*concept, names(40))}, **QUICK)["same"]
    assert report.corrected.mean() == pytest.approx(1, abs=0.05)
    assert 0.2 < (report.corrected > 1).mean() < 0.8


def test_a_concept_that_is_noise_has_no_corrected_cosine():
    contrast = texts(40, along(x0=3.0), seed=5)
    noise = texts(40, along(), seed=6)
    report = concept_cosines(*contrast, names(40), {"noise": (*noise, names(40))}, **QUICK)["noise"]
    unreliable = report.reliability < 0.05
    assert unreliable.mean() > 0.2
    assert (np.isnan(report.corrected) == unreliable).all()


@pytest.mark.parametrize(("angle", "size"), [(0.0, 0.0), (0.0, 1.5), (0.6, 1.5), (0.6, 4.0)])
def test_the_interval_holds_the_expected_cosine(angle, size):
    # Of 60 independent layers, 95 % intervals miss 3 on average and 9 or more once in 400 times.
    # The plain percentiles miss 7 to 20 where the directions are weak.
    contrast = texts(40, along(x0=size), seed=7)
    concept = texts(50, along(x0=angle * size, x1=math.sqrt(1 - angle**2) * size), seed=8)
    report = concept_cosines(
        *contrast, names(40), {"concept": (*concept, names(50))}, n_null=1, n_draws=300
    )["concept"]
    expected = float(report.cosine.mean())  # over layers
    missed = [not interval.low <= expected <= interval.high for interval in report.interval]
    assert sum(missed) <= 8
    width = np.mean([interval.high - interval.low for interval in report.interval])
    # An interval of a normal estimate is 3.92 standard deviations wide.
    assert width == pytest.approx(3.92 * report.cosine.std(), rel=0.3)
    assert (estimates(report) == report.cosine).all()


def test_draws_are_directions_of_resampled_pairs_drawn_independently():
    """Against a loop over draws; the interval is moved to the cosine and widened as documented."""
    groups, others = ["a", "b", "a", "c", "d", "e", "b"], ["u", "v", "w", "x", "y", "v"]
    contrast = texts(7, along(x0=9.0), seed=9, n_layers=2)
    concept = texts(6, along(x0=6.0, x1=8.0), seed=10, n_layers=2)
    settings = {"n_null": 1, "n_draws": 40, "seed": 3}
    report = concept_cosines(*contrast, groups, {"c": (*concept, others)}, **settings)["c"]
    other_seed = int(np.random.SeedSequence([3, 1]).generate_state(1)[0])
    drawn = [
        bootstrap_weights(groups, 40, seed=3).astype(int),
        bootstrap_weights(others, 40, seed=other_seed).astype(int),
    ]

    def cosine(a, b):
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    for layer in range(2):
        differences = [(h - low)[:, layer].double().numpy() for h, low in (contrast, concept)]
        full = [d.mean(axis=0) for d in differences]
        draws = [
            [np.repeat(d, w, axis=0).mean(axis=0) for w in weights]
            for d, weights in zip(differences, drawn, strict=True)
        ]
        cosines = np.array([cosine(a, b) for a, b in zip(*draws, strict=True)])
        close = [
            np.mean([cosine(draw, f) for draw in side]) for side, f in zip(draws, full, strict=True)
        ]
        moved = cosine(*full) + (cosines - cosines.mean()) / math.sqrt(close[0] * close[1])
        assert report.cosine[layer] == pytest.approx(cosine(*full))
        low, high = np.quantile(moved, [0.025, 0.975])
        assert report.interval[layer] == pytest.approx((cosine(*full), low, min(high, 1)))


def test_texts_compared_with_themselves_still_get_draws_of_their_own():
    contrast = texts(30, along(x0=3.0), seed=11, n_layers=3)
    report = concept_cosines(*contrast, names(30), {"self": (*contrast, names(30))}, **QUICK)
    assert report["self"].cosine == pytest.approx(np.ones(3))
    assert all(0.5 < i.low < 0.99 for i in report["self"].interval)
    assert all(i.high <= 1 for i in report["self"].interval)


def test_unrelated_concepts_are_inside_the_band_of_the_texts_covariance_and_outside_the_naive_one():
    # Four of 48 dimensions carry nearly all variance, so directions of texts lie among these four:
    # two of them have a cosine of about 1/sqrt(4), not 1/sqrt(48).
    spread = torch.full((D_MODEL,), 0.05)
    spread[:4] = 3.0
    contrast = texts(40, along(), seed=12, spread=spread)
    concept = texts(40, along(), seed=13, spread=spread)
    found = concept_cosines(
        *contrast, names(40), {"unrelated": (*concept, names(40))}, n_null=400, n_draws=2
    )["unrelated"]
    # Half of a squared cosine in four dimensions: |cos| has the 95th percentile 0.811.
    assert found.null_95.mean() == pytest.approx(isotropic_95(4), abs=0.03)
    assert found.isotropic_95 == isotropic_95(D_MODEL) < 0.29
    outside = np.abs(found.cosine) > found.null_95
    assert outside.mean() < 0.15  # 5 % are expected; 60 layers
    assert (np.abs(found.cosine) > found.isotropic_95).mean() > 0.4
    assert found.null_max_95 > found.null_95.max() > found.null_95.mean()


def test_the_band_in_isotropic_noise_is_the_isotropic_one():
    contrast = texts(100, along(x0=5.0), seed=14, n_layers=5)
    found = concept_cosines(
        *contrast,
        names(100),
        {},
        fixed={"axis": along(x7=1.0).repeat(5, 1)},
        n_null=1000,
        n_draws=2,
    )["axis"]
    assert found.null_95 == pytest.approx(np.full(5, isotropic_95(D_MODEL)), rel=0.12)


def test_the_band_is_of_draws_from_the_contrast_against_the_concept():
    contrast = texts(30, along(x0=2.0), seed=21, n_layers=2)
    concept = texts(30, along(x1=2.0), seed=22, n_layers=2)
    report = concept_cosines(*contrast, names(30), {"c": (*concept, names(30))}, **QUICK)["c"]
    direction = (concept[0] - concept[1]).double().mean(dim=0)
    drawn = within_class_directions(*contrast, 50).double()
    cosines = ((drawn * direction).sum(dim=-1) / direction.norm(dim=-1)).abs().numpy()
    assert report.null_95 == pytest.approx(np.quantile(cosines, 0.95, axis=0))
    assert report.null_max_95 == pytest.approx(np.quantile(cosines.max(axis=1), 0.95))


def test_draws_of_the_band_are_the_same_at_all_layers():
    """Copies of one layer have one maximum: looking at three of them costs nothing."""
    side = texts(20, along(x0=1.0), seed=15, n_layers=1)
    creative, uncreative = (s.repeat(1, 3, 1) for s in side)
    found = concept_cosines(
        creative, uncreative, names(20), {}, fixed={"axis": along(x2=1.0).repeat(3, 1)}, **QUICK
    )["axis"]
    assert found.null_max_95 == pytest.approx(found.null_95[0])
    assert found.null_95 == pytest.approx(np.full(3, found.null_95[0]))


def test_a_direction_without_texts_has_a_cosine_but_no_correction():
    contrast = texts(40, along(x0=3.0), seed=16)
    fixed = along(x0=3.0, x5=4.0).repeat(N_LAYERS, 1)
    found = concept_cosines(*contrast, names(40), {}, fixed={"f": fixed, "-f": -2 * fixed}, **QUICK)
    k = 2 * D_MODEL / 9
    assert found["f"].cosine.mean() == pytest.approx(0.6 * math.sqrt(40 / (40 + k)), abs=0.03)
    assert np.isnan(found["f"].corrected).all()
    assert np.isnan(found["f"].reliability).all()
    assert np.allclose(found["-f"].cosine, -found["f"].cosine)
    assert np.allclose(found["-f"].null_95, found["f"].null_95)
    for one, other in zip(found["f"].interval, found["-f"].interval, strict=True):
        assert one.low < one.estimate < one.high
        assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


def test_the_report_of_a_concept_is_its_own_and_has_one_result_for_a_seed():
    contrast = texts(12, along(x0=2.0), seed=17, n_layers=2)
    first, second = ((*texts(n, along(x1=2.0), seed=n, n_layers=2), names(n)) for n in (9, 13))

    def run(concepts, seed):
        return concept_cosines(*contrast, names(12), concepts, seed=seed, **QUICK)["b"]

    alone, beside, other = (
        run({"b": second}, 1),
        run({"a": first, "b": second}, 1),
        run({"b": second}, 2),
    )
    assert alone.interval == beside.interval != other.interval
    assert (alone.null_95 == beside.null_95).all()
    assert (alone.null_95 != other.null_95).all()
    assert (alone.corrected == beside.corrected).all()


def test_input_that_cannot_be_compared_is_an_error():
    contrast = texts(8, along(x0=2.0), seed=18, n_layers=2)
    good = (*texts(8, along(x0=2.0), seed=19, n_layers=2), names(8))
    axis = along(x0=1.0).repeat(2, 1)

    def refused(message, concepts=None, **settings):
        with unchecked(), pytest.raises(InputError, match=message):
            concept_cosines(*contrast, names(8), concepts or {}, **settings)

    refused("nothing to compare with")
    refused("both in concepts and in fixed: tone", {"tone": good}, fixed={"tone": axis})
    refused(r"'tone' has \(layer, d_model\) \(1, 48\)", {"tone": (good[0][:, :1],) * 2 + good[2:]})
    refused(r"'axis' has .* \(3, 48\)", fixed={"axis": axis[:1].repeat(3, 1)})
    refused("'axis' is zero", fixed={"axis": axis * torch.tensor([[1.0], [0.0]])})
    refused("at least 4", {"tone": (*good[:2], ["a", "b"] * 4)})
    refused("must match", {"tone": (*good[:2], names(7))})
    refused("NaN", {"tone": (good[0] * math.nan, *good[1:])})
    refused("n_draws must be at least 1", {"tone": good}, n_draws=0)
    refused("at least 1, got 0", {"tone": good}, n_null=0)


def test_premises_sum_their_pairs_in_float64():
    creative = torch.tensor([[[2.0**30 + 128, 1.0]], [[1.0, 3.0]], [[1.0, 1.0]], [[0.0, 0.0]]])
    creative = torch.cat([creative, creative + 1])
    premises = Premises.of(creative, torch.zeros_like(creative), ["b", "a", "b", "c", *"defg"])
    # Sorted by name: a, b (its first and third row), c, ... In float32 the 1 would be lost.
    assert premises.sums(0)[:3].tolist() == [[1, 3], [2**30 + 129, 2], [0, 0]]
    assert premises.n_pairs.tolist() == [1, 2, 1, 1, 1, 1, 1]
    total = creative.double().mean(dim=0)[0]
    assert premises.direction(0).tolist() == total.tolist()


# --- random directions -----------------------------------------------------------------------


def test_random_directions_point_where_texts_vary_within_a_class():
    generator = torch.Generator().manual_seed(0)
    spread = torch.tensor([5.0, 1.0, 0.0])
    creative, uncreative = torch.randn(2, 200, 3, generator=generator) * spread
    creative = creative + torch.tensor([0.0, 0.0, 100.0])  # the contrast itself
    drawn = within_class_directions(creative, uncreative, 400, seed=1)
    assert torch.allclose(drawn.norm(dim=1), torch.ones(400))
    assert float(drawn[:, 2].abs().max()) < 1e-3
    # The ratio of components is Cauchy with scale 5, whose median size is 5.
    assert float((drawn[:, 0] / drawn[:, 1]).abs().median()) == pytest.approx(5, rel=0.3)


def test_draws_have_the_covariance_of_the_texts():
    # Along eigenvectors of the covariance the components are independent and their ratios Cauchy,
    # with the ratio of standard deviations as median size. Normalizing changes no ratio.
    generator = torch.Generator().manual_seed(2)
    mixing = torch.randn(6, 6, generator=generator) * torch.tensor([9.0, 5, 3, 2, 1, 0.5])
    creative, uncreative = torch.randn(2, 300, 6, generator=generator) @ mixing
    centred = torch.cat([s - s.mean(dim=0) for s in (creative, uncreative)]).double()
    values, vectors = torch.linalg.eigh(centred.T @ centred)
    drawn = within_class_directions(creative, uncreative, 4000).double() @ vectors
    for i in range(5):
        found = (drawn[:, i + 1] / drawn[:, i]).abs().median()
        assert float(found) == pytest.approx(float((values[i + 1] / values[i]).sqrt()), rel=0.12)
        # Uncorrelated: the ratio is positive half of the time.
        assert float((drawn[:, i + 1] * drawn[:, i] > 0).double().mean()) == pytest.approx(
            0.5, abs=0.03
        )


def test_differences_of_shuffled_labels_are_differences_of_random_halves():
    # Of these four texts, the half (+x, -x) against the other gives (0, -4), (+x, y) against
    # (-x, 3y) gives (2, -2) and (+x, 3y) against (-x, y) gives (2, 2); or their opposites.
    ends = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    drawn = shuffled_label_directions(ends[:2] + 7, ends[2:] + 7, 600, seed=1)
    found, counts = np.unique((drawn * 2).round().numpy(), axis=0, return_counts=True)
    assert found.tolist() == [[-1, -1], [-1, 1], [0, -2], [0, 2], [1, -1], [1, 1]]
    assert counts == pytest.approx(100, abs=4 * math.sqrt(600 / 6 * 5 / 6))
    with pytest.raises(InputError, match="no length"):  # (+x, -x) against (+y, -y)
        shuffled_label_directions(ends[:2], torch.tensor([[0.0, 1.0], [0.0, -1.0]]), 30)


@pytest.mark.parametrize("draw", [within_class_directions, shuffled_label_directions])
def test_layers_share_their_draws(draw):
    creative, uncreative = texts(10, along(x0=1.0), seed=20, n_layers=3)
    together = draw(creative, uncreative, 5, seed=4)
    assert together.shape == (5, 3, D_MODEL)
    assert together.dtype == torch.float32
    assert torch.allclose(together.norm(dim=-1), torch.ones(5, 3))
    for layer in range(3):
        alone = draw(creative[:, layer], uncreative[:, layer], 5, seed=4)
        assert torch.allclose(alone, together[:, layer], atol=1e-6)
    assert torch.equal(together, draw(creative, uncreative, 5, seed=4))
    assert not torch.allclose(together, draw(creative, uncreative, 5, seed=5), atol=0.01)
    with pytest.raises(InputError, match="at least 1, got 0"):
        draw(creative, uncreative, 0)
    with pytest.raises(InputError, match="NaN"):
        draw(creative * math.inf, uncreative, 2)
    with pytest.raises(InputError, match="all equal at some layer"):
        draw(creative[:1], uncreative[:1], 2)


def test_isotropic_directions_point_anywhere():
    drawn = isotropic_directions(4000, 12, seed=1)
    assert torch.allclose(drawn.norm(dim=1), torch.ones(4000))
    assert torch.allclose(drawn.mean(dim=0), torch.zeros(12), atol=0.02)
    assert torch.allclose(drawn.T @ drawn / 4000, torch.eye(12) / 12, atol=0.01)
    assert float(drawn[:, 0].abs().quantile(0.95)) == pytest.approx(isotropic_95(12), rel=0.04)
    assert torch.equal(drawn, isotropic_directions(4000, 12, seed=1))
    assert not torch.equal(drawn, isotropic_directions(4000, 12, seed=2))
    layers = isotropic_directions(3, (2, 12), seed=1)
    for layer in (0, 1):
        assert torch.equal(layers[:, layer], isotropic_directions(3, 12, seed=1))
    for n, shape in ((0, 4), (3, 0), (3, (0, 4))):
        with pytest.raises(InputError, match="at least 1"):
            isotropic_directions(n, shape)


def test_the_isotropic_band_by_hand():
    # In two dimensions the angle is uniform: |cos| < sin(0.95 * 90 degrees) in 95 % of cases. In
    # three the cosine itself is uniform. In many it is normal with variance 1/d.
    assert isotropic_95(2) == pytest.approx(math.sin(0.95 * math.pi / 2))
    assert isotropic_95(3) == pytest.approx(0.95)
    assert isotropic_95(10_000) == pytest.approx(1.95996 / 100, rel=1e-3)
