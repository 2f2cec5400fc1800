"""Classifier probes: what is chosen is chosen inside the fold, and a bent boundary shows as one."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from creativity_lens.errors import InputError
from creativity_lens.probes.classifiers import (
    LOGISTIC_CS,
    classifier,
    classifier_curve,
    classifier_null,
    tuned,
)
from creativity_lens.probes.rivals import advantages
from creativity_lens.probes.separability import separability
from creativity_lens.stats import grouped_folds, permutation_p

N, D = 40, 6
GROUPS = tuple(f"premise-{i % 30}" for i in range(N))


def noise(seed: int, *, layers: int = 2):
    return torch.randn(2, N, layers, D, generator=torch.Generator().manual_seed(seed))


def lined(seed: int = 0):
    """Layer 1 differs along one axis; layer 0 is noise."""
    creative, uncreative = noise(seed)
    creative[:, 1, 0] += 3
    return creative, uncreative


def bent(seed: int = 0):
    """At layer 1 the creative texts lie on both sides of the uncreative ones: no plane does it."""
    creative, uncreative = noise(seed)
    creative[:, 1, 0] += torch.where(torch.arange(N) % 2 == 0, 5.0, -5.0)
    return creative, uncreative


@pytest.mark.parametrize("kind", ["logistic", "rbf", "pca"])
def test_a_planted_difference_is_found_at_its_layer_alone(kind):
    curve = classifier_curve(kind, *lined(), GROUPS)
    assert curve[1].auroc() > 0.9
    assert curve[0].auroc() < 0.75
    assert set(curve.selected_layers) == {1}
    assert curve.selected.auroc() == pytest.approx(curve[1].auroc())
    assert curve.probe == kind


@pytest.mark.parametrize("kind", ["logistic", "rbf"])
def test_held_out_scores_are_a_refit_of_the_pipeline_with_the_inner_choice(kind):
    creative, uncreative = lined(3)
    curve = classifier_curve(kind, creative, uncreative, GROUPS, n_folds=4, seed=7)
    texts = np.stack([creative[:, 1].double().numpy(), uncreative[:, 1].double().numpy()])
    pipeline, grid = classifier(kind)
    ((name, values),) = grid.items()
    for fold in grouped_folds(GROUPS, 4, seed=7):
        names = [GROUPS[i] for i in fold.train]
        inputs = np.concatenate(texts[:, fold.train])
        labels = np.repeat([1, 0], len(fold.train))
        n = len(fold.train)
        means = []
        for value in values:
            scored = []
            for inner in grouped_folds(names, 3, seed=7):
                train = np.concatenate([inner.train, inner.train + n])
                test = np.concatenate([inner.test, inner.test + n])
                made = clone(pipeline).set_params(**{name: value}).fit(inputs[train], labels[train])
                scored.append(roc_auc_score(labels[test], made.decision_function(inputs[test])))
            means.append(np.mean(scored))
        best = clone(pipeline).set_params(**{name: values[int(np.argmax(means))]})
        best.fit(inputs, labels)
        for side in range(2):
            expected = best.decision_function(texts[side, fold.test])
            np.testing.assert_allclose(curve.scores[1, side, fold.test], expected, atol=1e-8)


def test_a_bent_boundary_is_found_by_the_rbf_probe_and_not_by_the_plane():
    straight = classifier_curve("logistic", *bent(), GROUPS)
    curved = classifier_curve("rbf", *bent(), GROUPS)
    assert curved[1].auroc() > 0.9
    assert straight[1].auroc() < 0.7
    _, (gain,) = advantages([curved[1]], {"straight": straight[1]}, n_draws=200)
    assert gain.low > 0.1


def test_pca_before_logistic_misses_what_varies_little():
    """Twelve dimensions vary eightfold; the planted one does not, and PCA keeps ten at most."""
    creative, uncreative = torch.randn(2, N, 1, 13, generator=torch.Generator().manual_seed(0))
    wide = torch.full((13,), 8.0)
    wide[0] = 1
    creative[..., 0] += 3
    sides = [side * wide for side in (creative, uncreative)]
    assert classifier_curve("pca", *sides, GROUPS)[0].auroc() < 0.7
    assert classifier_curve("logistic", *sides, GROUPS)[0].auroc() > 0.9


def test_regularization_is_one_of_the_grid_and_is_chosen_from_training_premises():
    creative, uncreative = lined()
    texts = np.stack([creative[:, 1].double().numpy(), uncreative[:, 1].double().numpy()])
    rows = np.arange(20)
    found = tuned("logistic", texts, rows, GROUPS)
    assert found.best_params_["model__C"] in LOGISTIC_CS
    texts[:, 20:] = np.nan  # what is not among the rows is not looked at
    again = tuned("logistic", texts, rows, GROUPS)
    assert again.best_params_ == found.best_params_


def test_the_null_refits_under_the_swaps_of_the_difference_of_means():
    creative, uncreative = lined()
    told = []
    observed = classifier_curve("logistic", creative, uncreative, GROUPS, n_folds=3)
    null = classifier_null(
        "logistic", creative, uncreative, GROUPS, observed,
        n_permutations=8, n_folds=3, on_estimate=told.append,
    )  # fmt: skip
    assert len(null.largest) == 8
    assert null.p_values[1] == permutation_p(observed[1].auroc(), null.largest) == 1 / 9
    assert null.p_values[0] == permutation_p(observed[0].auroc(), null.largest)
    assert len(told) == 1
    assert told[0] > 0
    # Swapping all labels is no swap: the same AUROC, and more than any real swap reaches.
    turned = classifier_curve("logistic", uncreative, creative, GROUPS, n_folds=3)
    assert turned[1].auroc() == pytest.approx(observed[1].auroc(), abs=1e-6)


def test_the_null_is_told_before_it_begins():
    order = []
    creative, uncreative = lined()
    observed = classifier_curve("logistic", creative, uncreative, GROUPS, n_folds=3)
    classifier_null(
        "logistic", creative, uncreative, GROUPS, observed, n_permutations=1, n_folds=3,
        on_estimate=lambda seconds: order.append("told"),
        on_progress=lambda n: order.append("layer"),
    )  # fmt: skip
    assert order == ["told", "layer", "layer"]


def test_accuracy_is_the_share_on_the_right_side_of_the_boundary():
    curve = classifier_curve("logistic", *lined(), GROUPS)
    scores = curve[1]
    right = (scores.creative > 0).mean() / 2 + (scores.uncreative < 0).mean() / 2
    assert scores.accuracy(n_draws=50).estimate == pytest.approx(right)
    assert right > 0.8


def test_bad_input_is_named():
    creative, uncreative = lined()
    with pytest.raises(InputError, match="5 folds of 1 premises"):
        classifier_curve("logistic", creative, uncreative, ["one"] * N)
    creative[:, 0] = uncreative[:, 0] = 1.0
    with pytest.raises(InputError, match="same activations at layer 0"):
        classifier_curve("logistic", creative, uncreative, GROUPS)
    with pytest.raises(InputError, match="same activations at layer 0"):
        separability(creative, uncreative, GROUPS)
    with pytest.raises(InputError, match="at least one permutation"):
        classifier_null(
            "logistic", *lined(), GROUPS, classifier_curve("logistic", *lined(), GROUPS, n_folds=3),
            n_permutations=0,
        )  # fmt: skip
