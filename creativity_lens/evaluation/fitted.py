"""How far a direction could agree with people if it were fitted to their ratings.

The creativity direction comes from a contrast and may miss what people rate although the model
holds it. A direction that is fitted to ratings tells the two apart: what it reads on prompts that
it never saw is there to be read by some direction; where it reads nothing, no other is likely to.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.linalg import eigh
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import RidgeCV
from torch import Tensor

from creativity_lens.errors import InputError
from creativity_lens.evaluation.pair_design import PairDesign
from creativity_lens.stats import grouped_folds

Array = np.ndarray

N_COMPONENTS = 50
"""Of more, a few hundred texts cannot weight any well; and fits take no time."""
MOST_WORDS = 2000
PENALTIES = np.logspace(-1, 5, 13)
"""Ridge penalties to choose from, for components whose mean variance is 1."""
FEWEST_PROMPTS = 3
"""With fewer prompts there are not two to fit on and one to read."""


def fitted_scores(
    design: PairDesign,
    means: Float[Tensor, "text layer d_model"],
    places: Int[Array, " text"],
    *,
    n_folds: int = 10,
    n_components: int = N_COMPONENTS,
    seed: int = 0,
) -> Float[Array, "layer listed"]:
    """Scores by directions that were fitted to the ratings of other prompts, at each layer.

    Ridge regression of ratings on the leading principal components of the texts' means, both less
    their mean over the block (prompt, or prompt and author type), so that nothing is learned from
    which prompts are liked. Folds never divide a prompt; the penalty is chosen by generalised
    cross-validation among the prompts that are fitted on. The components are of all texts and see
    no rating. Texts of different folds are scored by different directions, so values compare
    within a prompt only.

    Accuracy above chance means that *some* direction reads the ratings at this layer, length
    included: hold it against length as any other score. At chance with few prompts it means
    nothing: there may have been too little to fit.

    Args:
        design: the pairs; texts that stand in none are not fitted on, and not scored.
        means: of the texts that were read.
        places: their places in the caller's list of texts.
        n_folds: folds of prompts, one prompt a fold if there are fewer prompts.
        n_components: most components.
        seed: of the folds.

    Returns:
        NaN for texts that were not read or stand in no pair; all NaN if fewer than three prompts
        hold a decided pair of texts that were read.

    Raises:
        InputError: fewer than two folds or one component.
    """
    if n_folds < 2 or n_components < 1:
        raise InputError(
            f"directions were to be fitted in {n_folds} folds on {n_components} components: ask "
            "for two folds and one component at least."
        )
    values = np.full((means.shape[1], design.n_listed), np.nan)
    read = np.full(design.n_listed, -1)
    read[places] = np.arange(len(places))
    some = _in_pairs(design, read[design.rows] >= 0)
    chosen = np.flatnonzero(some)
    decided = design.keep(design.decided & some[design.first] & some[design.second])
    n_prompts = len(np.unique(decided.prompt[decided.first]))
    if n_prompts < FEWEST_PROMPTS:
        return values
    blocks = design.block[chosen]
    rating = _within(design.rating[chosen, None], blocks)[:, 0]
    prompts = [str(prompt) for prompt in design.prompt[chosen]]
    folds = grouped_folds(prompts, min(n_folds, len(set(prompts))), seed=seed)
    rows = torch.from_numpy(read[design.rows[chosen]])
    for layer in range(means.shape[1]):
        around = _within(means[rows, layer].double().numpy(), blocks)
        parts = _components(around, n_components)
        for fold in folds:
            fit = RidgeCV(alphas=PENALTIES, fit_intercept=False)
            fit.fit(parts[fold.train], rating[fold.train])
            values[layer, design.rows[chosen[fold.test]]] = fit.predict(parts[fold.test])
    return values


def word_features(texts: Sequence[str]) -> Float[Tensor, "text feature"]:
    """TF-IDF of the texts' words: what a fit of ratings must beat that never sees a model.

    At most `MOST_WORDS`, the most frequent; no rating enters.
    """
    try:
        found = TfidfVectorizer(sublinear_tf=True, max_features=MOST_WORDS).fit_transform(texts)
    except ValueError:  # no text holds a word of two letters
        return torch.zeros(len(texts), 1)
    return torch.from_numpy(found.toarray().astype(np.float32))


def _in_pairs(design: PairDesign, known: Bool[Array, " text"]) -> Bool[Array, " text"]:
    """Texts that are known and share their block with another that is."""
    pairs = known[design.first] & known[design.second]
    some = np.zeros(len(known), dtype=bool)
    some[design.first[pairs]] = some[design.second[pairs]] = True
    return some


def _within(
    values: Float[Array, "text column"], blocks: Int[Array, " text"]
) -> Float[Array, "text column"]:
    """Values less the mean of their block."""
    order = np.argsort(blocks, kind="stable")
    starts = np.flatnonzero(np.diff(blocks[order], prepend=-1))
    counts = np.diff(np.append(starts, len(blocks)))
    means = np.add.reduceat(values[order], starts, axis=0) / counts[:, None]
    around = np.empty_like(values)
    around[order] = values[order] - np.repeat(means, counts, axis=0)
    return around


def _components(
    around: Float[Array, "text d_model"], n_components: int
) -> Float[Array, "text component"]:
    """Leading principal components, in units of their root mean square together."""
    n, width = around.shape
    side = around @ around.T if n <= width else around.T @ around
    last = len(side) - 1
    sizes, vectors = eigh(side, subset_by_index=(max(0, last + 1 - n_components), last))
    parts = vectors * np.sqrt(np.maximum(sizes, 0.0)) if n <= width else around @ vectors
    scale = np.sqrt((parts**2).mean())
    return np.asarray(parts / scale if scale > 0 else parts)
