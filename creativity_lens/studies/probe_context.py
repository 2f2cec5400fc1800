"""Every probe and every rival of one context, on the same folds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
from jaxtyping import Float

from creativity_lens.probes.classifiers import Classifier, classifier_curve, classifier_null
from creativity_lens.probes.held_out import HeldOutScores, ProbeCurve
from creativity_lens.probes.rivals import bag_of_words, cross_validated, standardized_logistic
from creativity_lens.probes.separability import (
    DIFFERENCE_OF_MEANS,
    Separability,
    separability,
)
from creativity_lens.stats import Array
from creativity_lens.studies.probe_config import ProbeConfig
from creativity_lens.studies.probe_readings import Readings
from creativity_lens.studies.stages import Stages

BAG_OF_WORDS = "bag of words (TF-IDF, responses only)"
LENGTH_LIKELIHOOD = "length with likelihood"
EMBEDDINGS = "mean token embedding"
RANDOM_WEIGHTS = "same architecture, random weights"


class LabelNull(NamedTuple):
    """What a probe reaches when labels are swapped within premises."""

    largest: Float[Array, " permutation"]
    """The largest AUROC over layers under each swap."""
    p_values: tuple[float, ...]
    """For each layer, corrected over layers."""

    @property
    def largest_95(self) -> float:
        """95th percentile of the largest AUROC over layers."""
        return float(np.quantile(self.largest, 0.95))


@dataclass(frozen=True, eq=False)
class ContextProbes:
    """All probes of one context, with their rivals.

    Attributes:
        separability: the difference of means with its label-swap null.
        curves: every probe by name, the difference of means among them.
        rivals: for each probe, what it has to beat.
        nulls: for each probe that was refitted under label swaps, what that gave.
    """

    separability: Separability
    curves: Mapping[str, ProbeCurve]
    rivals: Mapping[str, Mapping[str, HeldOutScores]]
    nulls: Mapping[str, LabelNull]

    def null_of(self, probe: str) -> LabelNull:
        """The null of a probe; one without its own borrows that of the difference of means."""
        return self.nulls.get(probe, self.nulls[DIFFERENCE_OF_MEANS])


def probe_context(
    readings: Readings,
    context: str,
    config: ProbeConfig,
    stages: Stages,
    note: Callable[[str], None],
) -> ContextProbes:
    """Every probe and every rival of one context, on the same folds."""
    means, groups = readings.contexts[context], readings.groups
    folds: dict[str, Any] = {"n_folds": config.n_folds, "seed": config.seed}
    n_layers = int(means.creative.shape[1])
    with stages.stage(f"{DIFFERENCE_OF_MEANS}, {context}", n_layers) as advance:
        found = separability(
            *means.sides,
            groups,
            n_permutations=config.n_permutations,
            n_draws=config.n_draws,
            on_progress=advance,
            **folds,
        )
    curves = {DIFFERENCE_OF_MEANS: found.curve}
    nulls = {DIFFERENCE_OF_MEANS: LabelNull(found.null, found.p_values)}
    for kind in config.probes:
        with stages.stage(f"{kind} probe, {context}", n_layers) as advance:
            curves[kind] = classifier_curve(
                kind, *means.sides, groups, on_progress=advance, **folds
            )
    if config.n_logistic_permutations and "logistic" in curves:
        total = n_layers * config.n_logistic_permutations
        with stages.stage(f"logistic null, {context}", total) as advance:
            null = classifier_null(
                "logistic",
                *means.sides,
                groups,
                curves["logistic"],
                n_permutations=config.n_logistic_permutations,
                on_estimate=lambda seconds: note(
                    f"refitting the logistic probe {config.n_logistic_permutations} times, "
                    f"{context}: about {seconds / 60:.0f} min"
                ),
                on_progress=advance,
                **folds,
            )
        nulls["logistic"] = LabelNull(null.largest, null.p_values)
    with stages.stage(f"rivals, {context}", 3 + len(curves)) as advance:
        shared = {
            LENGTH_LIKELIHOOD: cross_validated(
                standardized_logistic(),
                readings.surface[:, 0],
                readings.surface[:, 1],
                groups,
                **folds,
            ),
        }
        words = _bag_of_words(readings, folds)
        shared |= {} if words is None else {BAG_OF_WORDS: words}
        advance(2)
        shared[EMBEDDINGS] = classifier_curve(
            "logistic", *readings.embeddings.sides, groups, **folds
        ).selected
        advance(1)
        drawn: dict[str, dict[str, HeldOutScores]] = {}
        for name in curves:
            # An RBF probe meets the logistic one there: about as strong, and quicker.
            stand_in = "logistic" if name == "rbf" else name
            if stand_in not in drawn:
                drawn[stand_in] = _random_weights(readings, context, stand_in, folds)
            advance(1)
    rivals = {name: shared | drawn["logistic" if name == "rbf" else name] for name in curves}
    return ContextProbes(found, curves, rivals, nulls)


def _bag_of_words(readings: Readings, folds: Mapping[str, Any]) -> HeldOutScores | None:
    """TF-IDF on the responses; None where the responses hold no word at all."""
    try:
        return cross_validated(
            bag_of_words(), readings.texts(0), readings.texts(1), readings.groups, **folds
        )
    except ValueError as error:
        if "empty vocabulary" not in str(error):
            raise
        return None


def _random_weights(
    readings: Readings, context: str, name: str, folds: Mapping[str, Any]
) -> dict[str, HeldOutScores]:
    """The same probe on the same architecture with random weights, if that was read."""
    if context not in readings.random_weights:
        return {}
    sides = readings.random_weights[context].sides
    if name == DIFFERENCE_OF_MEANS:
        found = separability(*sides, readings.groups, n_permutations=0, n_draws=1, **folds)
        return {RANDOM_WEIGHTS: found.selected}
    kind = cast(Classifier, name)
    return {RANDOM_WEIGHTS: classifier_curve(kind, *sides, readings.groups, **folds).selected}
