"""Variants of the score, and scores of other directions, from means that were read once.

Everything here is a product of small matrices: no model runs. Only comparisons between texts that
were read in the same way mean anything; no value of any variant is a threshold. Scores are float64
arrays in the order of the texts.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from creativity_lens.directions.direction import DirectionSet
from creativity_lens.directions.erasure import COLLINEAR, Erasure
from creativity_lens.errors import InputError
from creativity_lens.scoring.text_means import TextMeans
from creativity_lens.stats import Array

VARIANTS = (
    "cosine",
    "centred",
    "projection",
    "whitened",
    "nuisance_removed",
    "layer_average",
    "length_residualized",
)

FLAT = 1e-6
"""A standard deviation of cosines below this is rounding: float32, and how texts were batched."""
ON_THE_LINE = 1e-9
"""A residual below this share of the largest score is rounding."""


def variant_scores(
    means: TextMeans,
    directions: DirectionSet,
    *,
    within: Float[Tensor, "layer d_model d_model"] | None,
    erasure: Erasure | None,
) -> dict[str, Float[Array, "_ text"]]:
    """Every variant of the score of every text, at every layer of `means`.

    - `cosine`: the paper's, `v · mean(x / |x|)`, in [-1, 1]. All texts at a layer share an offset.
    - `centred`: `v · mean((x - m) / |x - m|)`, in [-1, 1], m halfway between the class means: about
      0 for a text that is like neither class.
    - `projection`: `v · mean(x)`, in units of the residual stream. Tokens of large norm rule it.
    - `whitened`: `w · (mean(x) - m) / sqrt(w' S w)` with `w = S^-1 v`, S the covariance within the
      classes: how many of their standard deviations a text lies from the midpoint, along the filter
      that separates best if v is the difference of means. Unbounded. A direction that is a filter
      already (of the estimator whitened or logistic) is not made better by it. Where the directions
      are of unit tokens (`unit_tokens`), so are m and S, and mean(x / |x|) takes the place of
      mean(x).
    - `nuisance_removed`: the cosine with what is left of v without the nuisances, normalized: the
      filter that is blind to them. In [-1, 1]; 0 for all texts where nothing is left.
    - `layer_average`: the mean over layers of `cosine` in standard deviations over these texts; a
      layer at which all texts score the same counts as 0. One row, whatever the layers; left out
      where a single layer was read, of which it would be another name.
    - `length_residualized`: `cosine` less its line on log length over these texts; see
      `residualized`. No rating enters.

    Args:
        means: of the texts.
        directions: of the model that read them, those whose midpoints were given when it did.
        within: the covariance within the classes at the layers of `means`, such as that of
            `WhitenedFitter.covariance` at those; None leaves out `whitened`.
        erasure: of the nuisances, at all layers of the directions; None leaves out
            `nuisance_removed`.

    Returns:
        `[layer, text]` by name, in the order of `VARIANTS`; `[1, text]` for `layer_average`.

    Raises:
        InputError: directions, covariance or erasure of another depth or width, or a covariance
            that cannot be inverted.
    """
    layers = list(means.layers)
    depth, d_model = directions.directions.shape
    if max(layers) >= depth or d_model != means.raw.shape[2]:
        raise InputError(
            f"the means are of layers up to {max(layers)} and width {means.raw.shape[2]}, the "
            f"directions of {depth} layers and width {d_model}: give those of the same model."
        )
    vectors = directions.directions.detach().double().cpu()
    cosine = direction_scores(means, vectors[None, layers])[0]
    found = {
        "cosine": cosine,
        "centred": _products(vectors[None, layers], means.centred)[0],
        "projection": _products(vectors[None, layers], means.raw)[0],
    }
    if within is not None:
        if tuple(within.shape) != (len(layers), d_model, d_model):
            raise InputError(
                f"the covariance within the classes has shape {tuple(within.shape)}; means of "
                f"{len(layers)} layers and width {d_model} need {(len(layers), d_model, d_model)}."
            )
        found["whitened"] = _whitened(means, directions, within)
    if erasure is not None:
        if erasure.centre.shape != vectors.shape:
            raise InputError(
                f"this erasure is for [layer, d_model] {tuple(erasure.centre.shape)}, the "
                f"directions are {tuple(vectors.shape)}: fit it at all layers of the same model."
            )
        kept = erasure.pull_back(vectors)
        # What is left of a direction that is nothing but nuisance is rounding, and points anywhere.
        kept = torch.where(kept.norm(dim=-1, keepdim=True) > COLLINEAR, kept, 0.0)
        found["nuisance_removed"] = direction_scores(means, kept[None, layers])[0]
    if len(layers) > 1:
        found["layer_average"] = _z_scores(cosine).mean(axis=0, keepdims=True)
    found["length_residualized"] = residualized(cosine, means.n_tokens)
    return found


def direction_scores(
    means: TextMeans, vectors: Float[Tensor, "n layer d_model"], *, head: bool = False
) -> Float[Array, "n layer text"]:
    """Mean per-token cosine of every text with other directions: random, nuisances, rivals.

    Args:
        means: of the texts.
        vectors: directions of any length, one for each of `means.layers`; the score with one of
            length 0 is 0.
        head: score the first `head_tokens` tokens of each text instead of all.

    Returns:
        In [-1, 1], read as `score_texts` is.

    Raises:
        InputError: directions at other layers or of another width, NaN or infinity.
    """
    if tuple(vectors.shape[1:]) != tuple(means.unit.shape[1:]):
        raise InputError(
            f"directions of [layer, d_model] {tuple(vectors.shape[1:])} do not fit means of "
            f"{tuple(means.unit.shape[1:])}: give each direction at the layers of the means, "
            f"{', '.join(map(str, means.layers))}."
        )
    if not bool(torch.isfinite(vectors).all()):
        raise InputError("the directions to score by hold NaN or infinity.")
    rows = vectors.detach().double().cpu()
    norms = rows.norm(dim=-1, keepdim=True)
    return _products(torch.where(norms > 0, rows / norms, 0.0), means.head if head else means.unit)


def residualized(
    scores: Float[Array, "*score text"], lengths: Array
) -> Float[Array, "*score text"]:
    """What of each score is left without its least-squares line on log length over the texts.

    The residual does not correlate with log length, and its mean is 0. The line is fitted on scores
    and lengths alone, on all texts at once. Texts of equal length keep their differences; a score
    that is nothing but log length leaves 0 for all.

    Args:
        scores: any scores of the texts; a row that holds NaN becomes NaN.
        lengths: tokens (or words) of each text.

    Raises:
        InputError: not one length of at least 1 for each text.
    """
    logs = np.asarray(lengths, dtype=np.float64)
    if logs.shape != scores.shape[-1:] or not bool((logs >= 1).all()):
        raise InputError(
            f"scores of {scores.shape[-1]} texts need as many lengths of at least 1, got "
            f"{logs.shape} of which the least is {logs.min(initial=np.inf):g}."
        )
    logs = np.log(logs)
    logs = logs - logs.mean()
    values = np.asarray(scores, dtype=np.float64)
    around = values - values.mean(axis=-1, keepdims=True)
    spread = float(logs @ logs)
    slopes = around @ logs / spread if spread > 0 else np.zeros(values.shape[:-1])
    residual = around - slopes[..., None] * logs
    # Rounding would rank texts that tie.
    scale = np.abs(values).max(axis=-1, keepdims=True)
    return np.where(np.abs(residual) <= ON_THE_LINE * scale, 0.0, residual)


def _products(
    vectors: Float[Tensor, "n layer d_model"], means: Float[Tensor, "text layer d_model"]
) -> Float[Array, "n layer text"]:
    found = np.empty((vectors.shape[0], vectors.shape[1], len(means)))
    for layer in range(vectors.shape[1]):  # so that one layer at a time is held in float64
        found[:, layer] = (vectors[:, layer].double() @ means[:, layer].double().mT).numpy()
    return found


def _whitened(
    means: TextMeans,
    directions: DirectionSet,
    within: Float[Tensor, "layer d_model d_model"],
) -> Float[Array, "layer text"]:
    # Midpoint and covariance must be of what they are compared with.
    read = means.unit if directions.provenance.get("unit_tokens") else means.raw
    found = np.empty((len(means.layers), len(means)))
    for row, layer in enumerate(means.layers):
        direction = directions[layer]
        vector = direction.vector.detach().double().cpu()
        factor, failed = torch.linalg.cholesky_ex(within[row].detach().double().cpu())
        if bool(failed):
            raise InputError(
                f"the covariance within the classes cannot be inverted at layer {layer}: take that "
                "of WhitenedFitter, which is shrunk, of more pairs; or leave it out (within=None)."
            )
        filter_ = torch.cholesky_solve(vector[:, None], factor)[:, 0]
        centred = read[:, row].double() - direction.midpoint.detach().double().cpu()
        found[row] = (centred @ filter_ / (vector @ filter_).sqrt()).numpy()
    return found


def _z_scores(scores: Float[Array, "layer text"]) -> Float[Array, "layer text"]:
    """In standard deviations over the texts; 0 for all where they score the same."""
    spread = scores.std(axis=-1, keepdims=True)
    around = scores - scores.mean(axis=-1, keepdims=True)
    found: Array = np.divide(around, spread, out=np.zeros_like(around), where=spread > FLAT)
    return found
