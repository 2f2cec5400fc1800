"""Variants of the score on planted means: no model runs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from creativity_lens.directions.direction import SCHEMA_VERSION, DirectionSet
from creativity_lens.directions.erasure import Erasure
from creativity_lens.directions.whitened import WhitenedFitter
from creativity_lens.errors import InputError
from creativity_lens.scoring.score import Text, score_texts
from creativity_lens.scoring.text_means import TextMeans, read_text_means
from creativity_lens.scoring.variants import (
    VARIANTS,
    direction_scores,
    residualized,
    variant_scores,
)
from creativity_lens.stats import auroc
from tests.fakes import random_directions, unchecked

N_TEXTS, N_LAYERS, D_MODEL = 40, 3, 8
LENGTHS = np.random.default_rng(0).integers(20, 400, N_TEXTS)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unit(rows):
    return rows / rows.norm(dim=-1, keepdim=True)


def planted_means(raw=None, *, layers=(0, 1, 2), **changes) -> TextMeans:
    """Texts whose tokens are anything; only what a test plants matters."""
    shape = (N_TEXTS, len(layers), D_MODEL)
    parts = {
        "ids": tuple(f"t{i}" for i in range(N_TEXTS)),
        "layers": layers,
        "raw": 5 * drawn(*shape, seed=1) if raw is None else raw,
        "unit": unit(drawn(*shape, seed=2)) * 0.7,
        "centred": unit(drawn(*shape, seed=3)) * 0.6,
        "head": unit(drawn(*shape, seed=4)) * 0.5,
        "nll": np.full(N_TEXTS, 3.0),
        "head_nll": np.full(N_TEXTS, 3.0),
        "n_tokens": LENGTHS,
        "head_tokens": 20,
    }
    return TextMeans(**parts | changes)


def planted_directions(vectors=None, creative=None, uncreative=None, **provenance) -> DirectionSet:
    rows = drawn(N_LAYERS, D_MODEL, seed=5) if vectors is None else vectors
    return DirectionSet(
        directions=unit(rows).float(),
        mean_creative=drawn(N_LAYERS, D_MODEL, seed=6) if creative is None else creative,
        mean_uncreative=drawn(N_LAYERS, D_MODEL, seed=7) if uncreative is None else uncreative,
        difference_norms=torch.ones(N_LAYERS),
        residual_norms=torch.ones(N_LAYERS),
        provenance={"schema_version": SCHEMA_VERSION, **provenance},
    )


def identities(scale=1.0):
    return scale * torch.eye(D_MODEL, dtype=torch.float64).repeat(N_LAYERS, 1, 1)


def variants(means, directions, within=None, erasure=None):
    return variant_scores(means, directions, within=within, erasure=erasure)


# --- which there are -------------------------------------------------------------------------


def test_variants_come_in_their_order_and_shapes():
    erasure = Erasure.projection(drawn(2, N_LAYERS, D_MODEL, seed=8))
    means = planted_means()
    everything = variants(means, planted_directions(), identities(), erasure)
    assert tuple(everything) == VARIANTS
    for name, scores in everything.items():
        assert scores.shape == ((1 if name == "layer_average" else N_LAYERS), N_TEXTS)
        assert scores.dtype == np.float64
        assert np.isfinite(scores).all()
    fewer = variants(means, planted_directions())
    assert set(VARIANTS) - set(fewer) == {"whitened", "nuisance_removed"}
    for name, scores in fewer.items():
        np.testing.assert_array_equal(scores, everything[name])


def test_a_texts_scores_are_products_with_its_means():
    means, directions = planted_means(), planted_directions()
    found = variants(means, directions)
    for name, kind in (("cosine", "unit"), ("centred", "centred"), ("projection", "raw")):
        expected = torch.einsum("tld,ld->lt", getattr(means, kind), directions.directions)
        np.testing.assert_allclose(found[name], expected, atol=1e-5, err_msg=name)


def test_variants_are_those_of_the_scorer(model, tmp_path):
    directions = random_directions(model)
    texts = [Text("a", "A bridge"), Text("b", "On Friday mornings she sees the same man.")]
    means = read_text_means(model, directions, texts, store=tmp_path, with_prompt=False)
    found = variants(means, directions)
    for name in ("cosine", "centred"):
        expected = score_texts(model, directions, texts, variant=name).values
        np.testing.assert_allclose(found[name].T, expected, atol=1e-5)


def test_means_of_some_layers_take_the_directions_of_those_layers():
    everything, directions = planted_means(), planted_directions()
    some = [2, 0]
    means = planted_means(
        layers=(2, 0), **{k: getattr(everything, k)[:, some] for k in ("unit", "centred", "raw")}
    )
    within = identities() * torch.tensor([1.0, 2.0, 3.0])[:, None, None]
    erasure = Erasure.projection(drawn(2, N_LAYERS, D_MODEL, seed=8))
    whole = variants(everything, directions, within, erasure)
    found = variants(means, directions, within[some], erasure)
    for name in set(VARIANTS) - {"layer_average"}:
        np.testing.assert_allclose(found[name], whole[name][some], err_msg=name)


@pytest.mark.parametrize("name", VARIANTS)
def test_turning_the_direction_round_turns_every_variant_round(name):
    directions = planted_directions()
    turned = replace(directions, directions=-directions.directions)
    erasure = Erasure.projection(drawn(2, N_LAYERS, D_MODEL, seed=8))
    first, second = (
        variants(planted_means(), d, identities(), erasure)[name] for d in (directions, turned)
    )
    np.testing.assert_allclose(first, -second, atol=1e-12)
    assert np.abs(first).max() > 0.1


# --- whitened --------------------------------------------------------------------------------


def classes(n, *, seed):
    """Two classes that differ along the first axis, in noise that is strong along another.

    Noise: sd 1 on the axes but along (1, 1, 0, …), where it is 20. The difference of the classes is
    3 along the first axis, so a plain projection on it drowns: of its noise variance, half of
    (20² + 1) is from the strong direction.
    """
    noise = drawn(2, n, N_LAYERS, D_MODEL, seed=seed).double()
    strong = torch.zeros(D_MODEL, dtype=torch.float64)
    strong[:2] = 0.5**0.5
    noise = noise + 19 * (noise @ strong)[..., None] * strong
    shift = torch.zeros(D_MODEL, dtype=torch.float64)
    shift[0] = 3.0
    return noise[0] + shift + 7, noise[1] + 7, shift


def test_whitening_undoes_a_planted_anisotropy():
    creative, uncreative, shift = classes(2000, seed=11)
    fitter = WhitenedFitter(N_LAYERS, D_MODEL)
    fitter.update(creative, uncreative)
    mean_c, mean_u = creative.mean(dim=0).float(), uncreative.mean(dim=0).float()
    directions = planted_directions(shift.repeat(N_LAYERS, 1), mean_c, mean_u)
    high, low, _ = classes(N_TEXTS // 2, seed=12)
    means = planted_means(torch.cat([high, low]).float())
    found = variants(means, directions, fitter.covariance())
    truth = torch.tensor([1] * (N_TEXTS // 2) + [0] * (N_TEXTS // 2)).numpy()
    half = N_TEXTS // 2
    for layer in range(N_LAYERS):
        whitened = found["whitened"][layer]
        assert auroc(whitened[:half], whitened[half:]) > 0.9
        assert auroc(found["projection"][layer][:half], found["projection"][layer][half:]) < 0.8
        # In standard deviations within the classes: by hand, S^-1 e1 reads e1 - e2 at almost sd
        # sqrt(1 / (1/2)), and v' S^-1 v = 1/2 (1 + 1/400), so the classes lie 3 sqrt(.5) = 2.12
        # apart, each 1.06 from the midpoint with an sd of 1.
        assert whitened[:half].mean() - whitened[half:].mean() == pytest.approx(2.12, abs=0.7)
        spread = np.concatenate([whitened[:half], whitened[half:]]) - 2.12 * (truth - 0.5)
        assert spread.std() == pytest.approx(1, abs=0.3)
        assert abs(whitened.mean()) < 0.4


def test_in_isotropic_noise_whitening_is_a_scale_and_a_shift():
    means, directions = planted_means(), planted_directions()
    found = variants(means, directions, identities(4.0))
    midpoints = (directions.mean_creative + directions.mean_uncreative) / 2
    offset = (midpoints * directions.directions).sum(dim=-1, keepdim=True).numpy()
    # S = 4 I: w' S w = 1/4 for w = v / 4, so the score is (v · x - v · m) / 2.
    np.testing.assert_allclose(found["whitened"], (found["projection"] - offset) / 2, atol=1e-5)


def test_directions_of_unit_tokens_are_whitened_on_unit_means():
    means = planted_means()
    plain = planted_directions()
    unit_tokens = planted_directions(unit_tokens=True)
    found = variants(means, unit_tokens, identities())["whitened"]
    expected = variants(replace(means, raw=means.unit), plain, identities())["whitened"]
    np.testing.assert_array_equal(found, expected)


def test_the_covariance_is_that_of_plain_arithmetic():
    creative, uncreative, _ = classes(300, seed=3)
    fitter = WhitenedFitter(N_LAYERS, D_MODEL)
    fitter.update(creative[:100], uncreative[:100])
    fitter.update(creative[100:], uncreative[100:])
    from sklearn.covariance import ledoit_wolf

    for layer in range(N_LAYERS):
        centred = torch.cat([s[:, layer] - s[:, layer].mean(dim=0) for s in (creative, uncreative)])
        expected, _ = ledoit_wolf(centred.numpy(), assume_centered=True)
        np.testing.assert_allclose(fitter.covariance()[layer], expected, rtol=1e-6, atol=1e-8)
    with pytest.raises(InputError, match="no pair"):
        WhitenedFitter(N_LAYERS, D_MODEL).covariance()


# --- nuisances -------------------------------------------------------------------------------


def test_without_nuisances_a_score_does_not_move_along_them():
    nuisance = drawn(1, N_LAYERS, D_MODEL, seed=9)
    erasure = Erasure.projection(nuisance)
    means, directions = planted_means(), planted_directions()
    moved = replace(means, unit=means.unit + 3 * nuisance[0])
    first, second = (variants(m, directions, erasure=erasure) for m in (means, moved))
    np.testing.assert_allclose(first["nuisance_removed"], second["nuisance_removed"], atol=1e-5)
    assert np.abs(first["cosine"] - second["cosine"]).min() > 0.1
    # Normalized again: along what is left, the score is what the cosine with it is.
    left = directions.directions.double()
    along = unit(nuisance[0].double())
    left = unit(left - (left * along).sum(dim=-1, keepdim=True) * along)
    expected = torch.einsum("tld,ld->lt", means.unit.double(), left)
    np.testing.assert_allclose(first["nuisance_removed"], expected, atol=1e-6)


def test_an_oblique_erasure_leaves_the_filter_blind():
    """As LEACE gives them: what is read off the erased text does not depend on the nuisance."""
    left, right = (drawn(N_LAYERS, D_MODEL, 1, seed=s).double() for s in (20, 21))
    right = right.mT / (right.mT @ left)  # right @ left = 1: erasing twice is erasing once
    centre = torch.zeros(N_LAYERS, D_MODEL, dtype=torch.float64)
    erasure = Erasure("leace", left, right, centre)
    means, directions = planted_means(), planted_directions()
    found = variants(means, directions, erasure=erasure)["nuisance_removed"]
    read = torch.einsum("tld,ld->lt", erasure(means.unit), directions.directions.double()).numpy()
    for layer in range(N_LAYERS):
        assert np.corrcoef(found[layer], read[layer])[0, 1] == pytest.approx(1)


def test_a_direction_that_is_all_nuisance_scores_0():
    directions = planted_directions()
    others = drawn(1, N_LAYERS, D_MODEL, seed=9)
    others[0, 1] = 2 * directions.directions[1]
    found = variants(planted_means(), directions, erasure=Erasure.projection(others))
    assert (found["nuisance_removed"][1] == 0).all()
    assert (found["nuisance_removed"][[0, 2]] != 0).all()


# --- layers and length -----------------------------------------------------------------------


def test_the_layer_average_weighs_layers_by_their_spread_over_texts():
    means, directions = planted_means(), planted_directions()
    # One layer whose cosines are hardly spread, and one at which all texts score the same.
    narrow = means.unit.clone()
    narrow[:, 1] = narrow[:, 1] / 100 + 0.3
    narrow[:, 2] = narrow[:1, 2]
    found = variants(replace(means, unit=narrow), directions)
    whole = variants(means, directions)["cosine"]
    z = (whole - whole.mean(axis=1, keepdims=True)) / whole.std(axis=1, keepdims=True)
    np.testing.assert_allclose(found["layer_average"][0], (z[0] + z[1]) / 3, atol=1e-4)


def test_residuals_do_not_correlate_with_log_length():
    scores = 0.3 + 0.05 * np.log(LENGTHS) + 0.02 * drawn(5, 2, N_TEXTS).numpy()
    found = residualized(scores, LENGTHS)
    assert found.shape == scores.shape
    for raw, row in zip(scores.reshape(10, -1), found.reshape(10, -1), strict=True):
        assert abs(np.corrcoef(row, np.log(LENGTHS))[0, 1]) < 1e-9
        assert np.corrcoef(raw, np.log(LENGTHS))[0, 1] > 0.7
        slope, start = np.polyfit(np.log(LENGTHS), raw, 1)
        np.testing.assert_allclose(row, raw - slope * np.log(LENGTHS) - start, atol=1e-12)


def test_the_variant_takes_length_out_of_the_cosine():
    means, directions = planted_means(), planted_directions()
    longer = torch.from_numpy(np.log(LENGTHS)).float()[:, None, None] * directions.directions
    found = variants(replace(means, unit=means.unit + longer), directions)
    plain = variants(means, directions)
    np.testing.assert_allclose(
        found["length_residualized"], plain["length_residualized"], atol=1e-5
    )
    assert np.abs(found["cosine"] - plain["cosine"]).max() > 1


@pytest.mark.parametrize(
    "scores", [np.full(N_TEXTS, 0.3), 0.1 * np.log(LENGTHS), np.zeros(N_TEXTS)]
)
def test_a_score_that_is_length_or_nothing_leaves_ties(scores):
    assert (residualized(scores, LENGTHS) == 0).all()


def test_texts_of_one_length_keep_their_differences():
    scores = drawn(N_TEXTS).numpy()
    found = residualized(scores, np.full(N_TEXTS, 7))
    np.testing.assert_allclose(found, scores - scores.mean(), atol=1e-6)
    assert residualized(scores[:1], LENGTHS[:1]).tolist() == [0.0]


# --- other directions ------------------------------------------------------------------------


def test_other_directions_are_scored_as_the_direction_is():
    means, directions = planted_means(), planted_directions()
    others = drawn(4, N_LAYERS, D_MODEL, seed=30)
    vectors = torch.cat([directions.directions[None], 9 * others])
    found = direction_scores(means, vectors)
    np.testing.assert_allclose(found[0], variants(means, directions)["cosine"], atol=1e-12)
    expected = torch.einsum("tld,nld->nlt", means.unit, unit(others))
    np.testing.assert_allclose(found[1:], expected, atol=1e-6)
    heads = direction_scores(means, vectors, head=True)
    np.testing.assert_array_equal(heads, direction_scores(replace(means, unit=means.head), vectors))
    assert (direction_scores(means, torch.zeros(1, N_LAYERS, D_MODEL)) == 0).all()


# --- what is refused -------------------------------------------------------------------------


def test_what_does_not_fit_is_named():
    means, directions = planted_means(), planted_directions()
    with unchecked():
        with pytest.raises(InputError, match=r"\(2, 8\).*layers of the means, 0, 1, 2"):
            direction_scores(means, drawn(4, 2, D_MODEL))
        with pytest.raises(InputError, match="NaN"):
            direction_scores(means, torch.full((1, N_LAYERS, D_MODEL), torch.nan))
        with pytest.raises(InputError, match=r"shape \(2, 8, 8\)"):
            variants(means, directions, identities()[:2])
        with pytest.raises(InputError, match=r"fit it at all layers"):
            variants(means, directions, erasure=Erasure.projection(drawn(1, 2, D_MODEL)))
        with pytest.raises(InputError, match="layers up to 5"):
            variants(planted_means(layers=(0, 1, 5)), directions)
        with pytest.raises(InputError, match="need as many lengths"):
            residualized(np.zeros(3), np.ones(2))
        with pytest.raises(InputError, match="the least is 0"):
            residualized(np.zeros(3), np.arange(3))


def test_a_covariance_that_cannot_be_inverted_names_its_layer():
    singular = identities()
    singular[1, 0, 0] = 0
    with pytest.raises(InputError, match="layer 1"):
        variants(planted_means(), planted_directions(), singular)
