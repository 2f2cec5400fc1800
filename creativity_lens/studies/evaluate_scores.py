"""Every score that is held against people's ratings, as rows over the same texts.

The paper's score and its variants, the cheap baselines, directions that should know nothing of
creativity, the judges, and what the user brings. No rating has a part in any of them; what ratings
of other prompts choose or fit is made for each comparison, in `evaluate_rows`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from sklearn.covariance import ledoit_wolf
from torch import Tensor

from creativity_lens.directions.direction import DirectionSet
from creativity_lens.directions.nuisance import nuisance_erasure
from creativity_lens.directions.whitened import WhitenedFitter
from creativity_lens.errors import InputError
from creativity_lens.measures.diversity import distinct_n, words
from creativity_lens.measures.repetition import compression_ratio
from creativity_lens.probes.random_directions import (
    isotropic_directions,
    shuffled_label_directions,
    within_class_directions,
)
from creativity_lens.scoring.text_means import TextMeans
from creativity_lens.scoring.variants import VARIANTS, direction_scores, variant_scores
from creativity_lens.stats import Array
from creativity_lens.studies.evaluate_readings import NEUTRAL, RatedReadings
from creativity_lens.studies.evaluate_tables import column_name

if TYPE_CHECKING:
    from pandas import DataFrame

Kind = Literal["score", "fitted", "baseline", "direction", "judge", "given"]
"""`score`: a variant of the activation score; `fitted`: by a direction that was fitted to ratings
of other prompts; `baseline`: what needs no direction; `direction`: a direction of something else;
`judge`: what a model says when it is asked; `given`: brought along."""

PAPER = "cosine"
AVERAGE = "layer_average"
CHOSEN = "chosen"
FITTED: Literal["fitted"] = "fitted"
FITTED_WORDS = "fitted_words"
LENGTH = "length"
NLL = "nll"
SURFACE: Mapping[str, Callable[[str], float]] = {
    "n_words": lambda text: float(len(words(text))),
    "distinct_1": lambda text: distinct_n(text, 1),
    "distinct_2": lambda text: distinct_n(text, 2),
    "compression_ratio": compression_ratio,
}
"""What is measured on a text without any model."""
JUDGES = ("naive_rating", "naive_rating_sampled", "naive_pairwise")
"""What the scored model says when it is asked."""


SAME = 1e-9
"""Log lengths nearer than this are equal."""


def taken(name: str) -> bool:
    """Whether a score may get this name here, so that one that is brought along may not."""
    stem = name.partition("@")[0].partition("+")[0]
    ours = (
        *VARIANTS,
        f"{PAPER}_common_length",
        CHOSEN,
        FITTED,
        FITTED_WORDS,
        LENGTH,
        NLL,
        *SURFACE,
        *JUDGES,
    )
    return stem in ours or stem.startswith("direction:")


class ScoreKey(NamedTuple):
    """Names one score of every text."""

    score: str
    layer: int | None
    kind: Kind


@dataclass(frozen=True, eq=False)
class ScoreColumns:
    """Scores of all texts of a set of ratings.

    Attributes:
        keys: one for each row of `values`; no two are equal.
        values: higher is more of it; NaN where a text has no such score.
    """

    keys: tuple[ScoreKey, ...]
    values: Float[Array, "score text"]

    def row(self, key: ScoreKey) -> Float[Array, " text"]:
        """The scores of one key."""
        return np.asarray(self.values[self.keys.index(key)])

    def find(self, score: str, layer: int | None = None) -> Float[Array, " text"] | None:
        """The scores of a name (and layer), or None."""
        for key, row in zip(self.keys, self.values, strict=True):
            if key.score == score and (layer is None or key.layer == layer):
                return np.asarray(row)
        return None

    def where(self, chosen: Sequence[bool]) -> "ScoreColumns":
        """Some of them."""
        keys = tuple(key for key, keep in zip(self.keys, chosen, strict=True) if keep)
        return ScoreColumns(keys, self.values[np.asarray(chosen, dtype=bool)])


class _Rows:
    """Collects rows; scores of the texts that were read are put in their places."""

    def __init__(self, n_texts: int, places: Sequence[int]) -> None:
        self._n, self._places = n_texts, np.asarray(places, dtype=int)
        self.keys: list[ScoreKey] = []
        self.values: list[Array] = []

    def add(self, score: str, layer: int | None, kind: Kind, values: Array) -> None:
        """Scores of the texts that were read."""
        whole = np.full(self._n, np.nan)
        whole[self._places] = values
        self.add_whole(score, layer, kind, whole)

    def add_whole(self, score: str, layer: int | None, kind: Kind, values: Array) -> None:
        """Scores of all texts."""
        key = ScoreKey(score, layer, kind)
        if key in self.keys:
            raise InputError(
                f"two scores are named {score!r}: rename the column that you brought along."
            )
        self.keys.append(key)
        self.values.append(np.asarray(values, dtype=float))

    def columns(self) -> ScoreColumns:
        """What was collected."""
        if not self.keys:
            return ScoreColumns((), np.empty((0, self._n)))
        return ScoreColumns(tuple(self.keys), np.stack(self.values))


def surface_scores(texts: Sequence[str]) -> dict[str, Array]:
    """What can be said of texts without any model; NaN for a text that is not known.

    Returns:
        `n_words`, `distinct_1`, `distinct_2` (share of word n-grams that are different),
        `compression_ratio` (see `measures`).
    """
    return {
        name: np.array([measure(text) if text.strip() else np.nan for text in texts], dtype=float)
        for name, measure in SURFACE.items()
    }


def activation_scores(
    readings: RatedReadings,
    directions: DirectionSet,
    groups: Sequence[str],
    n_texts: int,
    places: Sequence[int],
) -> ScoreColumns:
    """The variants of the score at every layer that was read, likelihood, length, nuisances.

    Names of scores that were read after the texts' own prompts end in `+prompt`.
    `cosine_common_length` is the cosine of each text's beginning, as long as the shortest text.

    Args:
        readings: what the model read.
        directions: what texts are scored with.
        groups: the prompt of each text that was read.
        n_texts: texts of the ratings.
        places: which of them were read, in the order of the readings.
    """
    rows = _Rows(n_texts, places)
    erasure = nuisance_erasure(readings.nuisances) if readings.nuisances else None
    within = within_covariance(readings, groups)
    for context, means in readings.texts.items():
        suffix = "" if context == NEUTRAL else f"+{context}"
        at = list(means.layers)
        found = variant_scores(means, directions, within=within, erasure=erasure)
        own = directions.directions[None, at]
        found[f"{PAPER}_common_length"] = direction_scores(means, own, head=True)[0]
        for name, values in found.items():
            for layer, row in zip(at if len(values) == len(at) else [None], values, strict=True):
                rows.add(f"{name}{suffix}", None if name == AVERAGE else layer, "score", row)
        rows.add(f"{NLL}{suffix}", None, "baseline", means.nll)
    means = readings.texts[NEUTRAL]
    at = list(means.layers)
    rows.add(LENGTH, None, "baseline", means.n_tokens)
    others = {nuisance.name: nuisance.direction[at] for nuisance in readings.nuisances}
    longer = _length_direction(means, groups)
    if longer is not None:
        others["length"] = longer
    for name, vectors in others.items():
        scores = direction_scores(means, vectors[None])[0]
        for layer, row in zip(at, scores, strict=True):
            rows.add(f"direction:{name}", layer, "direction", row)
    return rows.columns()


def _length_direction(
    means: TextMeans, groups: Sequence[str]
) -> Float[Tensor, "layer d_model"] | None:
    """Where the rated texts of one prompt move as they get longer; None if it cannot be told."""
    logs = torch.from_numpy(np.log(means.n_tokens))[:, None, None]
    around, amounts = _around(means.raw.double(), groups), _around(logs, groups)
    if not len(around) or not bool((amounts.abs() > SAME).any()):
        return None
    slopes = torch.einsum("nl,nld->ld", amounts[:, :, 0].expand(-1, around.shape[1]), around)
    return slopes if bool((slopes.norm(dim=-1) > 0).all()) else None


def other_scores(
    n_texts: int,
    *,
    surface: Mapping[str, Array],
    judged: Mapping[str, Array],
    given: "DataFrame | None",
    text_ids: Sequence[str],
) -> ScoreColumns:
    """Surface measures, judges' ratings and what the user brought, over all texts.

    Args:
        n_texts: texts of the ratings.
        surface: of `surface_scores`.
        judged: a judge's rating of each text, by the judge's name.
        given: a column for each score, the texts' ids as index.
        text_ids: the texts, in order.

    Raises:
        InputError: two scores of one name.
    """
    rows = _Rows(n_texts, range(n_texts))
    for name, values in surface.items():
        rows.add(name, None, "baseline", values)
    for name, values in judged.items():
        rows.add(name, None, "judge", values)
    if given is not None:
        known = given.reindex(list(text_ids))
        for name in known.columns:
            rows.add(str(name), None, "given", known[name].to_numpy(dtype=float))
    return rows.columns()


def together(*parts: ScoreColumns) -> ScoreColumns:
    """All scores of several, in order.

    Raises:
        InputError: two scores of one name.
    """
    keys = tuple(key for part in parts for key in part.keys)
    names = [column_name(key.score, key.layer) for key in keys]
    repeated = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if repeated is not None:
        raise InputError(
            f"two scores are named {repeated!r}: rename the column that you brought along."
        )
    return ScoreColumns(keys, np.concatenate([part.values for part in parts]))


def random_scores(
    readings: RatedReadings,
    groups: Sequence[str],
    n: int,
    *,
    n_texts: int,
    places: Sequence[int],
    seed: int,
) -> dict[str, Float[Array, "draw layer text"]]:
    """Cosines with directions that should know nothing, at every layer that was read.

    Returns:
        By kind: `isotropic` (a strawman), `within` (of the covariance within the classes of the
        contrast, or within the prompts of the rated texts if the contrast is not at hand), and
        `shuffled` (of the contrast's labels dealt at random; only with the contrast).
    """
    means = readings.texts[NEUTRAL]
    at = list(means.layers)
    vectors = {"isotropic": isotropic_directions(n, (len(at), means.unit.shape[2]), seed=seed)}
    if readings.contrast is not None:
        sides = tuple(side[:, at] for side in readings.contrast.sides)
        vectors["within"] = within_class_directions(sides[0], sides[1], n, seed=seed)
        vectors["shuffled"] = shuffled_label_directions(sides[0], sides[1], n, seed=seed)
    else:
        around = _around(_as_directions(readings), groups)
        if len(around) > 1:
            # Both sides alike: sums of the same texts with random weights, in either's name.
            vectors["within"] = within_class_directions(around, around, n, seed=seed)
    found = {}
    for kind, drawn in vectors.items():
        whole = np.full((n, len(at), n_texts), np.nan)
        whole[..., np.asarray(places, dtype=int)] = direction_scores(means, drawn.double())
        found[kind] = whole
    return found


def within_covariance(
    readings: RatedReadings, groups: Sequence[str]
) -> Float[Tensor, "layer d_model d_model"] | None:
    """The covariance within the classes at the layers that were read, shrunk so that it inverts.

    That of the contrast; without it, of the rated texts around the mean of their prompt. None if
    no prompt holds two texts.
    """
    at = list(readings.layers)
    if readings.contrast is not None:
        sides = [side[:, at] for side in readings.contrast.sides]
        fitter = WhitenedFitter(len(at), sides[0].shape[2])
        fitter.update(*sides)
        return fitter.covariance()
    around = _around(_as_directions(readings), groups)
    if len(around) < 2:
        return None
    found = [ledoit_wolf(layer.numpy(), assume_centered=True)[0] for layer in around.unbind(1)]
    # Each prompt's mean took a degree of freedom.
    _, counts = np.unique(np.asarray(groups, dtype=str), return_counts=True)
    n_means = int((counts > 1).sum())
    return torch.from_numpy(np.stack(found)) * (len(around) / (len(around) - n_means))


def _as_directions(readings: RatedReadings) -> Float[Tensor, "text layer d_model"]:
    """Means of the rated texts in the units that the directions are of."""
    read = readings.texts[NEUTRAL]
    return (read.unit if readings.unit_tokens else read.raw).double()


def _around(
    values: Float[Tensor, "text layer column"], groups: Sequence[str]
) -> Float[Tensor, "some layer column"]:
    """Values less the mean of their prompt, of prompts with several texts."""
    _, index = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    place = torch.from_numpy(index)
    counts = torch.bincount(place)
    sums = torch.zeros((len(counts), *values.shape[1:]), dtype=values.dtype)
    sums.index_add_(0, place, values)
    return (values - (sums / counts[:, None, None])[place])[counts[place] > 1]
