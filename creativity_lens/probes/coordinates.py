"""Two coordinates for each text at one layer, for pictures.

None of these methods sees a label, so what they show was not made by the classes. That is also
their limit: they show what varies most (PCA) or who is near whom (t-SNE, UMAP), and two classes
can be told apart perfectly along a direction that no picture shows. The separability of a layer is
a held-out AUROC, never an impression from a picture.
"""

import warnings
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor

from creativity_lens.errors import InputError, MissingDependencyError
from creativity_lens.stats import Array

Method = Literal["pca", "tsne", "umap"]
MIN_TEXTS = 3
_PERPLEXITY = 30.0
_NEIGHBORS = 15
_NEIGHBOURS_ONLY = (
    "fitted without labels; only who is near whom means something: distances between clusters, "
    "their sizes and the axes mean nothing"
)


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Where each text stands in a picture.

    Attributes:
        method: `pca`, `tsne` or `umap`.
        values: one row for each text. For PCA in the units of the activations, around their mean;
            for t-SNE and UMAP in arbitrary units.
        explained: PCA only: the share of all variance along each axis, in [0, 1]. Where the two
            sum to little, the picture leaves most of the texts' differences out.
        note: the settings, and how not to misread the picture; a caption.
    """

    method: Method
    values: Float[Array, "text 2"]
    explained: tuple[float, float] | None
    note: str


def coordinates(
    texts: Float[Tensor, "text d_model"], *, method: Method = "pca", seed: int = 0
) -> Coordinates:
    """Two coordinates for each text.

    How not to misread them: PCA's first axes are what varies most between texts (often length,
    topic or a few spiking dimensions), not what separates the classes. t-SNE and UMAP keep
    neighbourhoods and nothing else: the distance between two clusters, their size and density mean
    nothing, and clusters appear in noise, too. All are fitted without labels.

    The same texts and seed give the same values. Each axis of the PCA is turned so that its
    loading of largest magnitude is positive; t-SNE starts from it, so both need no seed.

    Args:
        texts: the activations of each text at one layer.
        method: `pca`, `tsne` (perplexity 30, or less for fewer than 91 texts) or `umap` (15
            neighbours, or less for fewer than 16 texts; needs the extra `umap`).
        seed: of UMAP. Look at several: what changes with the seed is not in the texts.

    Raises:
        InputError: an unknown method, fewer than three texts, NaN or infinity, or texts that are
            all the same.
        MissingDependencyError: UMAP is not installed.
    """
    if method not in get_args(Method):
        raise InputError(f"unknown method {method!r}; choose one of {', '.join(get_args(Method))}.")
    rows = _checked(texts)
    if len(rows) < MIN_TEXTS or rows.shape[1] < 2:
        raise InputError(
            f"two coordinates need at least {MIN_TEXTS} texts of width 2 or more, got "
            f"{len(rows)} of width {rows.shape[1]}: give more texts."
        )
    if method == "pca":
        return _pca_coordinates(rows)
    values, note = _tsne(rows) if method == "tsne" else _umap(rows, seed)
    return Coordinates(method, np.asarray(values, dtype=np.float64), None, note)


def _checked(texts: Float[Tensor, "text d_model"]) -> Float[Array, "text d_model"]:
    """The texts in float64; they must be finite and differ."""
    rows = texts.detach().cpu().double().numpy()
    if not np.isfinite(rows).all():
        raise InputError("the activations hold NaN or infinity; drop texts without a token.")
    if len(rows) and (rows == rows[0]).all():
        raise InputError(
            f"all {len(rows)} texts have the same activations, so nothing tells them apart: read "
            "the tokens of the response (span response), or give texts that differ."
        )
    return np.asarray(rows)


def _pca(n_components: int, n_texts: int, d_model: int) -> PCA:
    # Both are exact; the one that decomposes the smaller matrix is many times faster.
    solver = "covariance_eigh" if d_model <= n_texts else "full"
    return PCA(n_components=n_components, svd_solver=solver)


def _pca_coordinates(rows: Float[Array, "text d_model"]) -> Coordinates:
    fitted = _pca(2, *rows.shape).fit(rows)
    axes = fitted.components_
    # An axis has no sign of its own; left to solvers, layers and versions would mirror each other.
    signs = np.sign(axes[np.arange(2), np.abs(axes).argmax(axis=1)])
    shares = fitted.explained_variance_ratio_
    return Coordinates(
        "pca",
        (rows - fitted.mean_) @ (axes * signs[:, None]).T,
        (float(shares[0]), float(shares[1])),
        f"PCA, {shares[0]:.0%} and {shares[1]:.0%} of the variance; fitted without labels: the "
        "axes are what varies most, not what separates",
    )


def _tsne(rows: Float[Array, "text d_model"]) -> tuple[Array, str]:
    # At most a third of the other texts, the rule of its authors; 1 is the least that has meaning.
    perplexity = max(1.0, min(_PERPLEXITY, (len(rows) - 1) / 3))
    # An exact PCA as the start, as small as its authors want it, leaves nothing to chance, where
    # init="pca" would approximate one at random for larger data.
    start = _pca_coordinates(rows).values
    start = start / start[:, 0].std() * 1e-4
    fitted = TSNE(perplexity=perplexity, init=start.astype(np.float32), random_state=0, n_jobs=1)
    # Its gradient ignores n_jobs, and a sum over threads depends on how many there are.
    with threadpool_limits(1):
        values = fitted.fit_transform(rows)
    return values, f"t-SNE from the PCA, perplexity {perplexity:.3g}; {_NEIGHBOURS_ONLY}"


def check_umap() -> Any:
    """The class `umap.UMAP`; call it before long work that ends in it.

    Raises:
        MissingDependencyError: umap-learn is not installed.
    """
    try:
        with warnings.catch_warnings():
            # It says that one of its variants, which is not used here, needs another library.
            warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)
            from umap import UMAP
    except ImportError as error:
        raise MissingDependencyError(
            "UMAP coordinates need umap-learn: run `pip install 'creativity-lens[umap]'`, or use "
            "method pca or tsne."
        ) from error
    return UMAP


def _umap(rows: Float[Array, "text d_model"], seed: int) -> tuple[Array, str]:
    umap = check_umap()
    n_neighbors = max(2, min(_NEIGHBORS, len(rows) - 1))
    # PCA as the start works for any number of texts and leaves no disconnected cluster to chance;
    # several threads would make the result depend on their timing.
    fitted = umap(n_neighbors=n_neighbors, init="pca", random_state=seed, n_jobs=1)
    values = fitted.fit_transform(rows)
    return values, f"UMAP, {n_neighbors} neighbours, seed {seed}; {_NEIGHBOURS_ONLY}"
