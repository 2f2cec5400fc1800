"""Does a probe carry over: from one domain or wording of the instruction to the others?

A probe that is fitted on one kind of pair and tested on another cannot use what is special to the
first. Premises that occur in the test are left out of the training, whatever their label.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from creativity_lens.errors import InputError
from creativity_lens.probes.classifiers import Classifier, tuned
from creativity_lens.probes.gram import Gram
from creativity_lens.probes.held_out import HeldOutScores, check_sides
from creativity_lens.stats import Array, Interval, grouped_folds

Reader = Callable[[Int[Array, " train"], Int[Array, " test"]], Float[Array, "side test"]]
"""Fits on some pairs and scores others."""

LEAST_PREMISES = 4
"""A label on fewer has an interval without meaning."""


class Transfer(NamedTuple):
    """A probe fitted on one kind of pair and tested on another, at one layer."""

    trained_on: str
    """A label, or `all others`."""
    tested_on: str
    layer: int
    auroc: Interval
    """Over the premises of the test."""
    n_train: int
    n_test: int


def readers(
    probe: Literal["difference of means"] | Classifier,
    creative: Float[Tensor, "pair layer d_model"],
    uncreative: Float[Tensor, "pair layer d_model"],
    groups: Sequence[str],
    *,
    layers: Sequence[int],
    seed: int = 0,
) -> dict[int, Reader]:
    """For each layer, a function that fits the probe on some pairs and scores others.

    Raises:
        InputError: as `separability`.
    """
    check_sides(creative, uncreative, groups)
    return {
        layer: _reader(probe, creative[:, layer], uncreative[:, layer], groups, seed=seed)
        for layer in layers
    }


def _reader(
    probe: Literal["difference of means"] | Classifier,
    creative: Float[Tensor, "pair d_model"],
    uncreative: Float[Tensor, "pair d_model"],
    groups: Sequence[str],
    *,
    seed: int,
) -> Reader:
    if probe == "difference of means":
        gram = Gram.of(creative, uncreative)

        def project(
            train: Int[Array, " train"], test: Int[Array, " test"]
        ) -> Float[Array, "side test"]:
            return np.asarray(gram.project(train, test)[0])

        return project
    texts = np.stack([side.double().numpy() for side in (creative, uncreative)])

    def classify(
        train: Int[Array, " train"], test: Int[Array, " test"]
    ) -> Float[Array, "side test"]:
        search = tuned(probe, texts, train, groups, seed=seed)
        return np.stack([search.decision_function(side[test]) for side in texts])

    return classify


def transfer(
    by_layer: Mapping[int, Reader],
    labels: Sequence[str],
    groups: Sequence[str],
    *,
    n_folds: int = 5,
    n_draws: int = 1000,
    seed: int = 0,
) -> list[Transfer]:
    """Train on each label, test on each; on the diagonal by cross-validation over premises.

    Labels on fewer than four premises are left out, and so is a test for which fewer than four
    premises remain to train on.

    Args:
        by_layer: what `readers` returned.
        labels: the domain, or the paraphrase of the instruction, of each pair.
        groups: the premise of each pair.
        n_folds: folds on the diagonal, or as many as there are premises.
        n_draws: bootstrap draws.
        seed: of folds and draws.

    Raises:
        InputError: not one label for each pair.
    """
    names = _names(labels, groups)
    found = []
    for layer, reader in by_layer.items():
        for trained_on in names:
            for tested_on in names:
                test = _rows(labels, {tested_on})
                if trained_on == tested_on:
                    scores = _within(reader, test, groups, n_folds, seed)
                    n_train = len(test)
                else:
                    train = _apart(_rows(labels, {trained_on}), test, groups)
                    n_train = len(train)
                    scores = reader(train, test) if _enough(train, groups) else None
                if scores is not None:
                    auroc = _interval(scores, test, groups, n_draws, seed)
                    found.append(Transfer(trained_on, tested_on, layer, auroc, n_train, len(test)))
    return found


def leave_one_label_out(
    by_layer: Mapping[int, Reader],
    labels: Sequence[str],
    groups: Sequence[str],
    *,
    n_draws: int = 1000,
    seed: int = 0,
) -> list[Transfer]:
    """For each label: train on the pairs of all the others, test on its own.

    Raises:
        InputError: not one label for each pair.
    """
    names = _names(labels, groups)
    found = []
    for layer, reader in by_layer.items():
        for tested_on in names:
            test = _rows(labels, {tested_on})
            train = _apart(_rows(labels, set(names) - {tested_on}), test, groups)
            if _enough(train, groups):
                auroc = _interval(reader(train, test), test, groups, n_draws, seed)
                found.append(Transfer("all others", tested_on, layer, auroc, len(train), len(test)))
    return found


def _names(labels: Sequence[str], groups: Sequence[str]) -> list[str]:
    if len(labels) != len(groups):
        raise InputError(f"each pair needs a label, got {len(labels)} for {len(groups)} pairs.")
    return sorted(name for name in set(labels) if _enough(_rows(labels, {name}), groups))


def _enough(rows: Int[Array, " row"], groups: Sequence[str]) -> bool:
    return len({groups[i] for i in rows}) >= LEAST_PREMISES


def _rows(labels: Sequence[str], wanted: set[str]) -> Int[Array, " row"]:
    return np.array([i for i, label in enumerate(labels) if label in wanted], dtype=int)


def _apart(
    train: Int[Array, " train"], test: Int[Array, " test"], groups: Sequence[str]
) -> Int[Array, " kept"]:
    """The training pairs whose premise is not tested."""
    tested = {groups[i] for i in test}
    return np.array([i for i in train if groups[i] not in tested], dtype=int)


def _within(
    reader: Reader, rows: Int[Array, " row"], groups: Sequence[str], n_folds: int, seed: int
) -> Float[Array, "side row"] | None:
    names = [groups[i] for i in rows]
    n = min(n_folds, len(set(names)))
    if n < 3:  # an inner fold of the training premises needs two of them
        return None
    scores = np.zeros((2, len(rows)))
    for fold in grouped_folds(names, n, seed=seed):
        scores[:, fold.test] = reader(rows[fold.train], rows[fold.test])
    return scores


def _interval(
    scores: Float[Array, "side row"],
    rows: Int[Array, " row"],
    groups: Sequence[str],
    n_draws: int,
    seed: int,
) -> Interval:
    names = tuple(groups[i] for i in rows)
    return HeldOutScores(scores[0], scores[1], names).interval(n_draws=n_draws, seed=seed)
