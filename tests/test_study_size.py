"""How large a study must be: textbook numbers, limits, and a simulation."""

import numpy as np
import pytest

from creativity_lens.errors import InputError
from creativity_lens.evaluation.study_size import expected_width, study_size


def test_one_rater_and_one_pair_a_prompt_is_the_textbook_sample():
    # 0.25 * (2 * 1.95996 / 0.1)^2 = 384.1, the number of every poll.
    found = study_size(0.1, raters_per_pair=1)
    assert (found.n_pairs, found.n_prompts, found.raters, found.n_choices) == (385, 385, 1, 385)
    assert found.design_effect == 1
    assert 0.0998 < found.width <= 0.1
    # 0.2 * 0.8 = 0.16 in place of 0.25: 245.9.
    assert study_size(0.1, share=0.2, raters_per_pair=1).n_pairs == 246


def test_raters_who_always_agree_add_nothing_and_independent_ones_divide_the_pairs():
    assert study_size(0.1, raters_per_pair=5, pair_icc=1.0).n_pairs == 385
    assert study_size(0.1, raters_per_pair=5, pair_icc=0.0).n_pairs == 77  # 384.1 / 5 = 76.8


def test_agreement_is_another_word_for_the_correlation():
    # At 0.5: 0.65 = 0.5 + 0.5 r. At 0.8: chance is 0.68, and 0.84 = 0.68 + 0.32 r.
    assert study_size(0.1, agreement=0.65) == study_size(0.1, pair_icc=0.3)
    other = study_size(0.1, share=0.8, pair_icc=0.5)
    assert study_size(0.1, share=0.8, agreement=0.84) == pytest.approx(other)


def test_pairs_on_one_prompt_count_less_and_come_in_whole_prompts():
    one = study_size(0.1, prompt_icc=0.2)
    four = study_size(0.1, prompt_icc=0.2, pairs_per_prompt=4)
    assert four.n_pairs > one.n_pairs
    assert four.n_pairs == 4 * four.n_prompts
    # 1 + 2 * 0.3 + 3 * 3 * 0.2
    assert four.design_effect == pytest.approx(3.4)
    alike = study_size(0.1, raters_per_pair=1, pairs_per_prompt=4, pair_icc=1.0, prompt_icc=1.0)
    assert alike.n_prompts == 385


@pytest.mark.parametrize(
    "plan",
    [
        {"raters_per_pair": 3},
        {"raters_per_pair": 4, "pairs_per_prompt": 3, "prompt_icc": 0.1},
        {"raters_per_pair": 5, "raters": 40, "rater_icc": 0.08},
    ],
)
def test_the_study_is_the_smallest_that_is_narrow_enough(plan):
    found = study_size(0.15, **plan)
    assert found.width <= 0.15
    assert found.width == pytest.approx(expected_width(found.n_pairs, **plan))
    smaller = found.n_pairs - plan.get("pairs_per_prompt", 1)
    assert expected_width(smaller, **plan) > 0.15


def test_pairs_do_not_make_up_for_too_few_raters():
    # The width never falls below 2 * 1.96 * sqrt(0.25 * 0.1 / 4) = 0.31.
    with pytest.raises(InputError, match="ask at least 10 raters"):
        study_size(0.2, raters_per_pair=4, rater_icc=0.1)
    assert expected_width(10**7, raters_per_pair=4, rater_icc=0.1) == pytest.approx(0.31, abs=1e-3)
    assert study_size(0.2, raters_per_pair=4, raters=10, rater_icc=0.1).width <= 0.2


def test_simulated_studies_are_as_wide_as_expected():
    prompts, per_prompt, per_pair, raters, studies = 30, 3, 4, 12, 4000
    pairs = prompts * per_prompt
    generator = np.random.default_rng(0)

    def effect(size, count):
        """Plus or minus `size`, for each study: variance size squared."""
        return generator.choice([-size, size], size=(studies, count))

    # Variances 0.04, 0.0225, 0.01 of 0.25: correlations 0.16, 0.09 and 0.04.
    chance = (
        0.5
        + np.repeat(effect(0.2, prompts), per_prompt, axis=1)[:, :, None]
        + effect(0.15, pairs)[:, :, None]
    )
    # Pair i is judged by raters i, i + 1, … round the table: each judges 30.
    who = (np.arange(pairs)[:, None] + np.arange(per_pair)) % raters
    chance = chance + effect(0.1, raters)[:, who]
    shares = (generator.random(chance.shape) < chance).mean(axis=(1, 2))
    width = expected_width(
        pairs,
        raters_per_pair=per_pair,
        raters=raters,
        pairs_per_prompt=per_prompt,
        pair_icc=0.16 + 0.09,
        prompt_icc=0.16,
        rater_icc=0.04,
    )
    # The standard deviation of 4000 shares is known to 1.1 %; without any of the terms it is off
    # by more than 5 %.
    assert 2 * 1.96 * shares.std() == pytest.approx(width, rel=0.03)
    low, high = shares - width / 2, shares + width / 2
    assert ((low <= 0.5) & (high >= 0.5)).mean() == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"width": 0.0}, "width must be between 0 and 1"),
        ({"share": 1.0}, "share must be between 0 and 1"),
        ({"level": 1.0}, "level must be between 0 and 1"),
        ({"raters_per_pair": 0}, "raters_per_pair must be at least 1"),
        ({"pairs_per_prompt": 0}, "pairs_per_prompt must be at least 1"),
        ({"raters": 2}, "2 raters in all cannot give 3"),
        ({"agreement": 0.4}, "agreement must be from 0.5"),
        ({"share": 0.8, "agreement": 0.6}, "agreement must be from 0.68"),
        ({"pair_icc": 1.1}, "pair_icc must be from 0 to 1"),
        ({"pair_icc": 0.5, "rater_icc": 0.6}, "rater_icc must be from 0 to 0.5"),
        ({"pairs_per_prompt": 2, "prompt_icc": 0.4}, "prompt_icc must be from 0 to 0.3"),
    ],
)
def test_plans_that_cannot_be_are_errors(options, words):
    with pytest.raises(InputError, match=words):
        study_size(**{"width": 0.1, **options})


def test_a_study_without_pairs_has_no_width():
    with pytest.raises(InputError, match="n_pairs must be at least 1"):
        expected_width(0)
