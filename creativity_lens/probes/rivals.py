"""Cheap rivals of a probe, on the same folds: if these do as well, the model was not needed.

A probe on the residual stream reads the text as well as the model. "Readable in the model" is
claimed only where the probe beats the best of these by an interval that excludes 0.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from creativity_lens.errors import InputError
from creativity_lens.probes.held_out import HeldOutScores
from creativity_lens.stats import (
    Array,
    Interval,
    auroc_draws,
    bootstrap_weights,
    grouped_folds,
    percentile_interval,
)


def bag_of_words() -> Pipeline:
    """TF-IDF over words and word pairs, then logistic regression."""
    return make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        LogisticRegression(C=10.0, max_iter=1000),
    )


def standardized_logistic() -> Pipeline:
    """Logistic regression on a few standardized features, such as length and likelihood."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def cross_validated(
    pipeline: Pipeline,
    creative: Sequence[Any] | Float[Array, "pair feature"],
    uncreative: Sequence[Any] | Float[Array, "pair feature"],
    groups: Sequence[str],
    *,
    n_folds: int = 5,
    seed: int = 0,
) -> HeldOutScores:
    """Held-out log-odds of a classifier, on the folds that `separability` uses for the same seed.

    Args:
        pipeline: a scikit-learn classifier with `decision_function`.
        creative: each pair's creative text, or its row of features.
        uncreative: the same of the uncreative text.
        groups: the premise of each pair.
        n_folds: as given to `separability`.
        seed: as given to `separability`.

    Raises:
        InputError: sides of different length, or fewer premises than folds.
    """
    if not len(creative) == len(uncreative) == len(groups):
        raise InputError(
            f"the two sides and their groups must match, got {len(creative)}, {len(uncreative)} "
            f"and {len(groups)}."
        )
    scores = np.zeros((2, len(groups)))
    for fold in grouped_folds(groups, n_folds, seed=seed):
        inputs = [side[i] for side in (creative, uncreative) for i in fold.train]
        labels = [1] * len(fold.train) + [0] * len(fold.train)
        pipeline.fit(inputs, labels)
        for k, side in enumerate((creative, uncreative)):
            scores[k, fold.test] = pipeline.decision_function([side[i] for i in fold.test])
    return HeldOutScores(scores[0], scores[1], tuple(groups))


class Advantages(NamedTuple):
    """By how much probes exceed the best of some rivals."""

    best_rival: str
    """The rival that is best over all premises."""
    intervals: tuple[Interval, ...]
    """One for each probe: its AUROC less the best rival's, paired by premise."""


def advantage(
    probe: HeldOutScores,
    rivals: Mapping[str, HeldOutScores],
    *,
    n_draws: int = 2000,
    seed: int = 0,
) -> tuple[str, Interval]:
    """By how much the probe's AUROC exceeds the best rival's, with a paired interval.

    In each bootstrap draw of premises the rival that is best in that draw is subtracted, which
    leans against the probe.

    Returns:
        The name of the rival that is best over all premises, and the interval of the difference.

    Raises:
        InputError: no rivals, or one that was scored on other pairs.
    """
    best, (gain,) = advantages([probe], rivals, n_draws=n_draws, seed=seed)
    return best, gain


def advantages(
    probes: Sequence[HeldOutScores],
    rivals: Mapping[str, HeldOutScores],
    *,
    n_draws: int = 2000,
    seed: int = 0,
) -> Advantages:
    """`advantage` of several probes, such as one at each layer, over the same rivals.

    The intervals hold one by one, not all at once: of forty, two are expected to miss.

    Raises:
        InputError: no probes, no rivals, or one that was scored on other pairs.
    """
    if not probes or not rivals:
        raise InputError("an advantage needs at least one probe and one rival.")
    groups = probes[0].groups
    if any(scores.groups != groups for scores in (*probes, *rivals.values())):
        raise InputError("a probe and its rivals must be scored on the same pairs, in one order.")
    weights = bootstrap_weights(groups, n_draws, seed=seed)
    estimates = {name: rival.auroc() for name, rival in rivals.items()}
    best = max(estimates, key=lambda name: estimates[name])
    rival_draws = np.max(
        [auroc_draws(r.creative, r.uncreative, weights) for r in rivals.values()], axis=0
    )
    return Advantages(
        best,
        tuple(
            percentile_interval(
                probe.auroc() - estimates[best],
                auroc_draws(probe.creative, probe.uncreative, weights) - rival_draws,
            )
            for probe in probes
        ),
    )
