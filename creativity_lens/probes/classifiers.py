"""Logistic and RBF probes at every layer, with everything that is chosen chosen inside the fold.

A logistic probe asks whether a plane separates the texts. An RBF probe may bend its boundary; its
gain over the logistic one tests the assumption that creativity lies along a line (arXiv 2412.06060
assumes it). Neither says what to steer with: a filter is not a pattern (Haufe et al. 2014).
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float, Int
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import Tensor

from creativity_lens.errors import InputError
from creativity_lens.probes.held_out import ProbeCurve, Progress, check_sides
from creativity_lens.probes.separability import nested_selection
from creativity_lens.stats import Array, grouped_folds, permutation_p, sign_flips

Classifier = Literal["logistic", "rbf", "pca"]

LOGISTIC_CS = (1e-4, 1e-3, 1e-2, 1e-1)
RBF_CS = (1.0, 10.0)
PCA_COMPONENTS = (2, 5, 10)
INNER_FOLDS = 3


class LogisticNull(NamedTuple):
    """What refitting a probe under label swaps gives."""

    largest: Float[Array, " permutation"]
    """The largest AUROC over layers under each swap."""
    p_values: tuple[float, ...]
    """For each layer, corrected over layers by the maximum statistic."""
    seconds: float
    """How long it took."""


def classifier(kind: Classifier) -> tuple[Pipeline, dict[str, Sequence[float | int]]]:
    """A scikit-learn pipeline and the settings that a fold may choose from.

    `logistic`: standardized features, L2 penalty. `rbf`: standardized features, a support vector
    machine with scikit-learn's default width. `pca`: the first principal components of the
    training texts, found without labels, then logistic regression; it separates only what varies
    most.

    Raises:
        InputError: another kind.
    """
    if kind == "logistic":
        steps = [("scale", StandardScaler()), ("model", LogisticRegression(max_iter=2000))]
        return Pipeline(steps), {"model__C": LOGISTIC_CS}
    if kind == "rbf":
        return Pipeline([("scale", StandardScaler()), ("model", SVC())]), {"model__C": RBF_CS}
    if kind == "pca":
        steps = [
            # Not standardized before: the dimensions that vary most are the point.
            ("pca", PCA(svd_solver="randomized", random_state=0)),
            ("scale", StandardScaler()),
            ("model", LogisticRegression(max_iter=2000)),
        ]
        return Pipeline(steps), {"pca__n_components": PCA_COMPONENTS}
    raise InputError(f"unknown probe {kind!r}; choose one of {', '.join(get_args(Classifier))}.")


def classifier_curve(
    kind: Classifier,
    creative: Float[Tensor, "pair layer d_model"],
    uncreative: Float[Tensor, "pair layer d_model"],
    groups: Sequence[str],
    *,
    n_folds: int = 5,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> ProbeCurve:
    """Held-out scores of a classifier at every layer, on the folds of `separability`.

    Within each fold's training premises, a second cross-validation by premise chooses the
    regularization, and its AUROC chooses the layer of `selected`.

    Args:
        kind: `logistic`, `rbf` or `pca`.
        creative: mean residual stream of each pair's creative text.
        uncreative: the same of its uncreative text.
        groups: the premise of each pair.
        n_folds: outer folds.
        seed: of the folds.
        on_progress: called with 1 after each layer.

    Raises:
        InputError: as `separability`; also fewer than three premises in a fold's training set.
    """
    check_sides(creative, uncreative, groups)
    n_pairs, n_layers = creative.shape[:2]
    folds = grouped_folds(groups, n_folds, seed=seed)
    scores = np.zeros((n_layers, 2, n_pairs))
    inner = np.zeros((n_layers, len(folds)))
    for layer in range(n_layers):
        texts = _stacked(creative, uncreative, layer)
        for k, fold in enumerate(folds):
            search = tuned(kind, texts, fold.train, groups, seed=seed)
            inner[layer, k] = search.best_score_
            for side in range(2):
                scores[layer, side, fold.test] = search.decision_function(texts[side, fold.test])
        if on_progress is not None:
            on_progress(1)
    return nested_selection(kind, scores, inner, groups, n_folds, seed=seed)


def tuned(
    kind: Classifier,
    texts: Float[Array, "side pair feature"],
    rows: Int[Array, " row"],
    groups: Sequence[str],
    *,
    seed: int = 0,
) -> Any:
    """The classifier fitted on some pairs, its settings chosen by cross-validation among them.

    Returns:
        A fitted scikit-learn `GridSearchCV`, whose `best_score_` is the inner AUROC.

    Raises:
        InputError: fewer than two premises among the rows.
    """
    pipeline, grid = classifier(kind)
    names = [groups[i] for i in rows]
    n = len(rows)
    # Sides lie one after the other, so an inner fold is its rows on both.
    splits = [
        (np.concatenate([f.train, f.train + n]), np.concatenate([f.test, f.test + n]))
        for f in grouped_folds(names, min(INNER_FOLDS, max(2, len(set(names)))), seed=seed)
    ]
    if kind == "pca":
        most = min(min(len(train) for train, _ in splits) - 1, texts.shape[-1])
        grid = {"pca__n_components": [k for k in PCA_COMPONENTS if k <= most] or [most]}
    search = GridSearchCV(pipeline, grid, cv=splits, scoring="roc_auc", error_score="raise")
    return search.fit(np.concatenate(texts[:, rows]), np.repeat([1, 0], n))


def classifier_null(
    kind: Classifier,
    creative: Float[Tensor, "pair layer d_model"],
    uncreative: Float[Tensor, "pair layer d_model"],
    groups: Sequence[str],
    observed: ProbeCurve,
    *,
    n_permutations: int,
    n_folds: int = 5,
    seed: int = 0,
    on_estimate: Callable[[float], None] | None = None,
    on_progress: Progress | None = None,
) -> LogisticNull:
    """Refit a classifier under label swaps within premises: honest, and slow.

    Args:
        kind: `logistic`, `rbf` or `pca`.
        creative: mean residual stream of each pair's creative text.
        uncreative: the same of its uncreative text.
        groups: the premise of each pair.
        observed: the curve without swaps.
        n_permutations: label swaps, the same at all layers, those of `separability`.
        n_folds: as for the observed curve.
        seed: as for the observed curve.
        on_estimate: called with the seconds that all of it will take, measured at one layer, before
            it begins.
        on_progress: called with 1 after each layer of each swap.

    Raises:
        InputError: as `classifier_curve`, or no permutations.
    """
    if n_permutations < 1:
        raise InputError(f"a null needs at least one permutation, got {n_permutations}.")
    check_sides(creative, uncreative, groups)
    n_layers = creative.shape[1]
    started = time.perf_counter()
    classifier_curve(kind, creative[:, -1:], uncreative[:, -1:], groups, n_folds=n_folds, seed=seed)
    if on_estimate is not None:
        on_estimate((time.perf_counter() - started) * n_layers * n_permutations)
    started = time.perf_counter()
    largest = []
    for signs in sign_flips(groups, n_permutations, seed=seed):
        kept = creative.new_tensor(signs)[:, None, None] > 0
        curve = classifier_curve(
            kind,
            creative.where(kept, uncreative),
            uncreative.where(kept, creative),
            groups,
            n_folds=n_folds,
            seed=seed,
            on_progress=on_progress,
        )
        largest.append(max(curve[layer].auroc() for layer in range(n_layers)))
    null = np.array(largest)
    return LogisticNull(
        null,
        tuple(permutation_p(observed[layer].auroc(), null) for layer in range(n_layers)),
        time.perf_counter() - started,
    )


def _stacked(
    creative: Float[Tensor, "pair layer d_model"],
    uncreative: Float[Tensor, "pair layer d_model"],
    layer: int,
) -> Float[Array, "side pair d_model"]:
    sides = [side[:, layer].double().numpy() for side in (creative, uncreative)]
    return np.stack(sides)
