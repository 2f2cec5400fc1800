"""Transfer between kinds of pairs, readings in other contexts, and nulls without labels."""

import numpy as np
import pytest
import torch

from creativity_lens.errors import InputError
from creativity_lens.probes.held_out import HeldOutScores
from creativity_lens.probes.nulls import (
    ISOTROPIC,
    SHUFFLED,
    WITHIN_CLASS,
    concept_nulls,
    direction_auroc,
    random_direction_nulls,
)
from creativity_lens.probes.separability import across_contexts, separability
from creativity_lens.probes.transfer import leave_one_label_out, readers, transfer
from creativity_lens.stats import permutation_p
from tests.fakes import unchecked

N, D = 48, 16
GROUPS = tuple(str(i) for i in range(N))
LABELS = tuple("story" if i < 24 else "poem" for i in range(N))


def sides(seed: int = 0, layers: int = 2):
    return torch.randn(2, N, layers, D, generator=torch.Generator().manual_seed(seed))


def found_of(transfers, trained_on, tested_on, layer=0):
    (one,) = [
        t
        for t in transfers
        if (t.trained_on, t.tested_on, t.layer) == (trained_on, tested_on, layer)
    ]
    return one


@pytest.mark.parametrize("probe", ["difference of means", "logistic"])
def test_what_is_shared_carries_over_and_what_is_private_does_not(probe):
    n = 60  # pairs of each kind
    generator = torch.Generator().manual_seed(0)
    creative, uncreative = torch.randn(2, 2 * n, 2, D, generator=generator)
    creative[:, 0, 0] += 3  # layer 0: the same axis in both kinds
    creative[:n, 1, 1] += 3  # layer 1: an axis for each kind
    creative[n:, 1, 2] += 3
    groups, labels = [str(i) for i in range(2 * n)], ["story"] * n + ["poem"] * n
    by_layer = readers(probe, creative, uncreative, groups, layers=[0, 1])
    found = transfer(by_layer, labels, groups, n_draws=100)
    for kind, other in (("story", "poem"), ("poem", "story")):
        assert found_of(found, kind, other, 0).auroc.estimate > 0.9
        assert found_of(found, kind, kind, 1).auroc.estimate > 0.9
        assert abs(found_of(found, kind, other, 1).auroc.estimate - 0.5) < 0.25
    assert {t.n_train for t in found} == {n}


def test_leaving_one_label_out_trains_on_all_the_others():
    creative, uncreative = sides()
    creative[:, 0, 0] += 4
    labels = [str(i % 3) for i in range(N)]
    by_layer = readers("difference of means", creative, uncreative, GROUPS, layers=[0])
    found = leave_one_label_out(by_layer, labels, GROUPS, n_draws=50)
    assert [t.tested_on for t in found] == ["0", "1", "2"]
    assert all(t.trained_on == "all others" and t.n_train == 32 and t.n_test == 16 for t in found)
    # By hand: the mean difference of the others, projected.
    test = np.array([i for i in range(N) if labels[i] == "1"])
    train = np.array([i for i in range(N) if labels[i] != "1"])
    direction = (creative[train, 0] - uncreative[train, 0]).double().mean(dim=0)
    expected = HeldOutScores(
        (creative[test, 0].double() @ direction).numpy(),
        (uncreative[test, 0].double() @ direction).numpy(),
        tuple(GROUPS[i] for i in test),
    ).auroc()
    assert found[1].auroc.estimate == pytest.approx(expected)


def test_a_premise_that_is_tested_is_never_trained_on():
    """Every premise occurs in both kinds; with none left to train on, there is no result."""
    groups = [str(i % 24) for i in range(N)]
    seen = []

    def spy(train, test):
        seen.append({groups[i] for i in train} & {groups[i] for i in test})
        return np.zeros((2, len(test)))

    assert all(t.trained_on == t.tested_on for t in transfer({0: spy}, LABELS, groups, n_draws=5))
    shared = [str(i % 24) if i < 30 else str(i) for i in range(N)]
    groups = shared
    found = transfer({0: spy}, LABELS, shared, n_draws=5)
    assert found_of(found, "story", "poem").n_train == 18  # 24 less the six that both have
    assert all(not overlap for overlap in seen)


def test_labels_on_few_premises_are_left_out():
    labels = ["rare"] * 6 + ["common"] * (N - 6)
    groups = ["one", "one", "two", "two", "three", "three", *GROUPS[6:]]
    by_layer = readers("difference of means", *sides(), groups, layers=[0])
    assert {t.tested_on for t in transfer(by_layer, labels, groups, n_draws=5)} == {"common"}
    labels = ["rare"] * 3 + ["common"] * (N - 3)
    assert {t.tested_on for t in transfer(by_layer, labels, GROUPS, n_draws=5)} == {"common"}
    with pytest.raises(InputError, match="each pair needs a label"):
        transfer(by_layer, labels[:-1], GROUPS)


# --- contexts --------------------------------------------------------------------------------


def test_fitted_and_read_in_one_context_is_plain_cross_validation():
    creative, uncreative = sides(1)
    creative[:, 0, 0] += 1
    scores = across_contexts((creative, uncreative), (creative, uncreative), GROUPS, seed=2)
    plain = separability(creative, uncreative, GROUPS, n_permutations=0, n_draws=2, seed=2)
    np.testing.assert_allclose(scores, plain.curve.scores, atol=1e-9)


def test_the_opposite_instruction_turns_a_direction_that_is_the_instruction():
    """Text moves axis 0, instruction axis 1 five times as far, and here they disagree."""
    creative, uncreative = sides(2, layers=1)
    creative[:, 0, 0] += 1
    obeying = creative.clone(), uncreative.clone()
    obeying[0][:, 0, 1] += 5
    conflicting = creative.clone(), uncreative.clone()
    conflicting[1][:, 0, 1] += 5  # the uncreative text, after the creative instruction
    scores = across_contexts(obeying, conflicting, GROUPS)[0]
    assert HeldOutScores(scores[0], scores[1], GROUPS).auroc() < 0.1
    own = across_contexts(obeying, obeying, GROUPS)[0]
    assert HeldOutScores(own[0], own[1], GROUPS).auroc() > 0.95


# --- nulls -----------------------------------------------------------------------------------


def test_a_given_direction_reaches_the_auroc_of_its_projection():
    creative, uncreative = sides(3)
    creative[:, 1, 4] += 6
    axis = torch.zeros(1, 2, D)
    axis[0, :, 4] = 1
    found = direction_auroc(creative, uncreative, axis)
    assert found[0, 1] > 0.99
    assert direction_auroc(creative, uncreative, -axis)[0, 1] == pytest.approx(1 - found[0, 1])
    assert abs(found[0, 0] - 0.5) < 0.2


def test_random_directions_take_their_better_sign_and_correct_over_layers():
    creative, uncreative = sides(4, layers=5)
    nulls = {n.name: n for n in random_direction_nulls(creative, uncreative, GROUPS, n=50)}
    assert set(nulls) == {ISOTROPIC, WITHIN_CLASS, SHUFFLED}
    for null in nulls.values():
        assert null.auroc.shape == (50, 5)
        assert (null.auroc >= 0.5).all()
        np.testing.assert_array_equal(null.largest, null.auroc.max(axis=1))
        assert (null.largest.mean() > null.auroc.mean(axis=0)).all()
        observed = [0.5, 0.6, 0.7, 0.8, 1.0]
        assert null.p_values(observed) == tuple(permutation_p(v, null.largest) for v in observed)
        assert null.p_values(observed)[-1] == 1 / 51


def test_the_covariance_band_is_wider_where_the_contrast_lies_along_the_variance():
    """Texts vary mostly along the axis on which they differ: isotropic draws hardly meet it."""
    generator = torch.Generator().manual_seed(0)
    creative, uncreative = torch.randn(2, N, 1, 200, generator=generator)
    creative[..., 0] = creative[..., 0] * 5 + 5
    uncreative[..., 0] = uncreative[..., 0] * 5
    nulls = {n.name: n for n in random_direction_nulls(creative, uncreative, GROUPS, n=200)}
    assert nulls[WITHIN_CLASS].by_layer_95[0] > nulls[ISOTROPIC].by_layer_95[0]
    assert np.median(nulls[WITHIN_CLASS].auroc) > np.median(nulls[ISOTROPIC].auroc) + 0.05


def test_an_unrelated_concept_that_holds_the_contrast_shows_itself():
    creative, uncreative = sides(5)
    creative[:, :, 0] += 5
    axis, other = torch.zeros(2, D), torch.zeros(2, D)
    axis[:, 0], other[:, 1] = -1, 1
    found = {n.name: n for n in concept_nulls(creative, uncreative, {"it": axis, "not": other})}
    assert found["it"].by_layer_95.min() > 0.95
    assert found["not"].by_layer_95.max() < 0.75


def test_bad_directions_are_named():
    creative, uncreative = sides()
    with unchecked(), pytest.raises(InputError, match="layers and width must match"):
        direction_auroc(creative, uncreative, torch.ones(1, 2, D + 1))
    with pytest.raises(InputError, match="at least one direction"):
        random_direction_nulls(creative, uncreative, GROUPS, n=0)
