"""Directions that are fitted to ratings: planted truths, and what must not leak."""

import numpy as np
import pytest
import torch

from creativity_lens.errors import InputError
from creativity_lens.evaluation.accuracy import accuracies
from creativity_lens.evaluation.fitted import fitted_scores, word_features
from creativity_lens.evaluation.pair_design import pair_design

N_PROMPTS, EACH, D = 30, 6, 40
PROMPTS = [str(k) for k in np.repeat(np.arange(N_PROMPTS), EACH)]
N = N_PROMPTS * EACH
PLACES = np.arange(N)


@pytest.fixture(scope="module")
def planted():
    """What people rate lies along one axis of layer 1, which is far from the largest.

    Each prompt moves its texts and its ratings by much more: a fit that saw that would learn which
    prompts are liked.
    """
    chance = np.random.default_rng(0)
    quality = chance.normal(size=N)
    spread = np.linspace(3.0, 0.5, D)
    means = chance.normal(size=(N, 2, D)) * spread
    means[:, 1, 25] = quality
    liked = np.repeat(chance.normal(0, 10, N_PROMPTS), EACH)
    means[:, :, 30] = liked[:, None]
    rating = quality + liked + chance.normal(0, 0.3, N)
    return torch.tensor(means, dtype=torch.float32), pair_design(rating, PROMPTS, min_gap=0.5)


def test_what_is_planted_is_read_on_other_prompts_and_only_there(planted):
    means, design = planted
    nowhere, there = accuracies(design, fitted_scores(design, means, PLACES))
    assert there > 0.85
    assert 0.4 < nowhere < 0.6


def test_ratings_dealt_anew_are_not_read(planted):
    means, _ = planted
    chance = np.random.default_rng(3)
    found = [
        accuracies(design, fitted_scores(design, means, PLACES))
        for design in (pair_design(chance.normal(size=N), PROMPTS, min_gap=0.5) for _ in range(8))
    ]
    assert abs(np.mean(found) - 0.5) < 0.03


def test_ratings_of_a_prompt_have_no_part_in_its_scores(planted):
    means, design = planted
    turned = design.rating.copy()
    turned[:EACH] = turned[:EACH][::-1] * 7  # only of the first prompt
    other = pair_design(turned, PROMPTS, min_gap=0.5)
    before, after = (fitted_scores(d, means, PLACES) for d in (design, other))
    np.testing.assert_allclose(before[:, :EACH], after[:, :EACH])
    assert not np.allclose(before[:, EACH:], after[:, EACH:])


def test_texts_that_were_not_read_or_stand_alone_have_no_score(planted):
    means, design = planted
    rating = design.rating.copy()
    rating[: EACH - 1] = np.nan  # one rated text is left on the first prompt
    design = pair_design(rating, PROMPTS, min_gap=0.5)
    read = np.flatnonzero(np.arange(N) != EACH)  # and the next prompt's first was not read
    found = fitted_scores(design, means[read], read)
    assert np.isnan(found[:, : EACH + 1]).all()
    assert not np.isnan(found[:, EACH + 1 :]).any()


def test_places_say_whose_means_they_are(planted):
    means, design = planted
    order = np.random.default_rng(1).permutation(N)
    found = fitted_scores(design, means[order], order)
    np.testing.assert_allclose(found, fitted_scores(design, means, PLACES), atol=1e-6)


def test_author_types_are_not_what_is_learned(planted):
    means, _ = planted
    authors = ["human", "model"] * (N // 2)
    written = np.tile([1.0, 0.0], N // 2)
    told = means.clone()
    told[:, :, 0] = torch.tensor(10 * written[:, None], dtype=torch.float32)
    rating = 5 * written + np.random.default_rng(2).normal(size=N)  # people like the human texts
    both = pair_design(rating, PROMPTS)
    apart = pair_design(rating, PROMPTS, authors=authors)
    assert accuracies(both, fitted_scores(both, told, PLACES)).min() > 0.7
    assert accuracies(apart, fitted_scores(apart, told, PLACES)).max() < 0.62


def test_within_author_types_what_tells_them_apart_misleads_nothing():
    # Between the types more of the axis goes with higher ratings, within each with lower ones.
    chance = np.random.default_rng(6)
    written, own = np.tile([1.0, 0.0], N // 2), chance.normal(size=N)
    axis = np.zeros((N, 1, D))
    axis[:, 0, 0] = 6 * written + own
    apart = pair_design(9 * written - own, PROMPTS, authors=["human", "model"] * (N // 2))
    found = fitted_scores(apart, torch.tensor(axis, dtype=torch.float32), PLACES)
    assert accuracies(apart, found)[0] > 0.95


def test_two_prompts_are_too_few(planted):
    means, design = planted
    rating = np.where(np.arange(N) < 2 * EACH, design.rating, np.nan)
    assert np.isnan(fitted_scores(pair_design(rating, PROMPTS), means, PLACES)).all()
    rating = np.where(np.arange(N) < 3 * EACH, design.rating, np.nan)
    assert not np.isnan(fitted_scores(pair_design(rating, PROMPTS), means, PLACES)).all()


def test_texts_that_are_all_alike_tie(planted):
    _, design = planted
    found = fitted_scores(design, torch.ones(N, 1, D), PLACES)
    assert accuracies(design, found)[0] == 0.5


@pytest.mark.parametrize("how", [{"n_folds": 1}, {"n_components": 0}])
def test_settings_that_cannot_be_meant(planted, how):
    means, design = planted
    with pytest.raises(InputError, match="two folds and one component"):
        fitted_scores(design, means, PLACES, **how)


def test_ratings_of_a_word_are_read_from_words_alone():
    chance = np.random.default_rng(4)
    words = [f"word{i}" for i in range(40)]
    texts = [" ".join(chance.choice(words, 12)) for _ in range(N)]
    rating = np.array([float("word7" in text) for text in texts])
    design = pair_design(rating, PROMPTS)
    found = fitted_scores(design, word_features(texts)[:, None], PLACES)
    assert accuracies(design, found)[0] > 0.9
    other = pair_design(chance.normal(size=N), PROMPTS)
    assert accuracies(other, fitted_scores(other, word_features(texts)[:, None], PLACES))[0] < 0.65


def test_texts_without_words_have_no_features():
    assert word_features(["!", "?"]).tolist() == [[0.0], [0.0]]
