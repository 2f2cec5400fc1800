"""How different several texts on one prompt are from each other: what one text cannot show.

Steering can make each text unusual and all of them alike.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Float

from creativity_lens.errors import InputError
from creativity_lens.measures.diversity import ngrams
from creativity_lens.stats import Array


def pooled_distinct_n(texts: Sequence[str], n: int = 2) -> float:
    """Share of different word n-grams among those of all texts together (Li et al. 2016).

    N-grams do not cross from one text to the next. In (0, 1]: 1 if none comes twice, 1 / (number of
    texts) for copies of a text that repeats nothing itself. It falls with the number and the length
    of the texts by itself; compare equal numbers of texts of similar length only. NaN if no text
    has `n` words. (arXiv 1510.03055.)
    """
    _check_texts(texts)
    grams = [gram for text in texts for gram in ngrams(text, n)]
    return len(set(grams)) / len(grams) if grams else float("nan")


def self_similarity(texts: Sequence[str], n: int = 3) -> float:
    """Mean over pairs of texts of the Jaccard index of their word n-grams.

    That is the number of different n-grams that both have, divided by the number that either has:
    the resemblance of Broder (1997, doi 10.1109/SEQUEN.1997.666900), with words as units. In
    [0, 1]: 0 if no two texts share a run of `n` words, 1 for texts of the same n-grams; lower is
    more diverse. Texts of fewer than `n` words are left out; NaN if fewer than two are left.
    """
    _check_texts(texts)
    sets = [grams for text in texts if (grams := set(ngrams(text, n)))]
    shares = [len(a & b) / len(a | b) for a, b in combinations(sets, 2)]
    return float(np.mean(shares)) if shares else float("nan")


def embedding_diversity(embeddings: Float[Array, "text dim"]) -> float:
    """1 - the mean cosine of all pairs of texts (Tevet and Berant 2021, arXiv 2004.02990).

    Args:
        embeddings: unit vectors of the texts on one prompt, as an `Embedder` gives them.

    Returns:
        0 for texts that are alike, higher for texts about different things; at most n / (n - 1)
        for n texts. Noise scores high: it is not a measure of quality. Texts without a vector (NaN)
        are left out; NaN if fewer than two are left.
    """
    known = embeddings[~np.isnan(embeddings).any(axis=1)]
    n = len(known)
    if n < 2:
        return float("nan")
    cosines = known @ known.T
    above = cosines[np.triu_indices(n, k=1)]
    return float(1.0 - above.mean())


def _check_texts(texts: Sequence[str]) -> None:
    if isinstance(texts, str):
        raise InputError("texts must be a list of the texts on one prompt, got a single string.")
