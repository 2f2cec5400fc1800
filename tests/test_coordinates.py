"""Pictures: planted differences show where they must, and the same input gives the same picture."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from creativity_lens.errors import InputError, MissingDependencyError
from creativity_lens.probes.coordinates import coordinates
from tests.fakes import unchecked

D_MODEL = 12


def noise(n: int, *, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, D_MODEL, generator=torch.Generator().manual_seed(seed))


def two_clusters(n: int = 20) -> torch.Tensor:
    """The first n texts stand 10 away from the others, along one random direction."""
    rows = noise(2 * n)
    direction = noise(1, seed=5)[0]
    rows[:n] += 10 * direction / direction.norm()
    return rows


# --- PCA -------------------------------------------------------------------------------------


def test_two_planted_clusters_separate_on_the_first_axis():
    found = coordinates(two_clusters())
    left, right = sorted((found.values[:20, 0], found.values[20:, 0]), key=np.mean)
    assert left.max() < 0 < right.min()
    # Classes 10 apart have variance 25 along their axis; 12 dimensions of noise have 12 in all.
    assert found.explained == pytest.approx((26 / 37, 1.5 / 37), abs=0.06)


def test_pca_is_an_isometry_of_a_plane():
    plane = torch.linalg.qr(noise(2).T).Q  # [d_model, 2], orthonormal
    points = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 1.0], [3.0, 1.0], [9.0, 5.0]])
    found = coordinates(points @ plane.T + 7)
    assert np.allclose(
        torch.cdist(torch.from_numpy(found.values), torch.from_numpy(found.values)),
        torch.cdist(points, points),
        atol=1e-4,
    )
    assert sum(found.explained) == pytest.approx(1)
    assert found.values.mean(axis=0) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("n", [6, 40])  # one solver for fewer texts than dimensions, one for more
def test_the_largest_loading_of_an_axis_is_positive(n):
    # Axis 1 is dimension 3, axis 2 dimension 8; the rest is a little noise.
    rows = noise(n) * 0.01
    rows[:, 3] += 5 * torch.linspace(-1, 1, n)
    rows[:, 8] -= 2 * torch.linspace(-1, 1, n) ** 2
    for sign in (1, -1):
        values = coordinates(sign * rows).values
        for axis, dimension in enumerate((3, 8)):
            centred = sign * (rows[:, dimension] - rows[:, dimension].mean())
            assert values[:, axis] == pytest.approx(centred.numpy(), abs=0.1)


def test_the_sign_of_an_axis_is_not_left_to_the_solver(monkeypatch):
    class Mirrored(PCA):
        def fit(self, rows):
            super().fit(rows)
            self.components_ = -self.components_
            return self

    expected = coordinates(two_clusters()).values
    monkeypatch.setattr("creativity_lens.probes.coordinates.PCA", Mirrored)
    assert coordinates(two_clusters()).values == pytest.approx(expected)


def test_texts_on_a_line_have_nothing_on_the_second_axis():
    found = coordinates(torch.arange(5.0)[:, None] * torch.ones(D_MODEL))
    assert found.explained == pytest.approx((1, 0))
    assert found.values[:, 1] == pytest.approx(0, abs=1e-6)
    assert "100% and 0%" in found.note


# --- t-SNE and UMAP --------------------------------------------------------------------------


def nearest_are_own_cluster(values: np.ndarray) -> bool:
    distances = np.linalg.norm(values[:, None] - values[None], axis=-1)
    np.fill_diagonal(distances, np.inf)
    own = np.arange(len(values)) < len(values) // 2
    return bool((own[distances.argmin(axis=1)] == own).all())


def test_tsne_keeps_neighbours_and_is_the_same_each_time():
    rows = two_clusters()
    found, again = (coordinates(rows, method="tsne") for _ in range(2))
    assert found.values.shape == (40, 2)
    assert found.values.dtype == np.float64
    assert np.array_equal(found.values, again.values)
    assert found.explained is None
    assert "perplexity 13;" in found.note  # (40 - 1) / 3
    assert nearest_are_own_cluster(found.values)


def test_nothing_in_tsne_is_left_to_chance():
    # So wide and even that sklearn's own start would be a PCA approximated at random.
    rows = torch.randn(300, 576, generator=torch.Generator().manual_seed(0))
    found = []
    for seed in (1, 2):
        np.random.seed(seed)
        found.append(coordinates(rows, method="tsne", seed=seed).values)
    assert np.array_equal(*found)


def test_tsne_takes_as_few_as_three_texts():
    assert np.isfinite(coordinates(noise(3), method="tsne").values).all()


def test_perplexity_stops_at_thirty():
    assert "perplexity 30;" in coordinates(noise(120), method="tsne").note


@pytest.mark.slow  # compiling umap takes half a minute
def test_umap_keeps_neighbours_and_is_the_same_for_the_same_seed():
    pytest.importorskip("umap")
    rows = two_clusters()
    found, again, other = (coordinates(rows, method="umap", seed=s) for s in (1, 1, 2))
    assert found.values.shape == (40, 2)
    assert np.array_equal(found.values, again.values)
    assert not np.array_equal(found.values, other.values)
    assert nearest_are_own_cluster(found.values)
    assert np.isfinite(coordinates(noise(3), method="umap").values).all()


@pytest.mark.parametrize(("n", "neighbours"), [(3, 2), (10, 9), (50, 15)])
def test_umap_is_asked_for_what_the_number_of_texts_allows(monkeypatch, n, neighbours):
    class Recorder:
        def __init__(self, **settings):
            self.settings = settings

        def fit_transform(self, rows):
            assert self.settings == {
                "n_neighbors": neighbours, "init": "pca", "random_state": 4, "n_jobs": 1
            }  # fmt: skip
            return np.asarray(rows[:, :2], dtype=np.float32)

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Recorder))
    rows = noise(n)
    found = coordinates(rows, method="umap", seed=4)
    assert found.values == pytest.approx(rows[:, :2].numpy())
    assert f"{neighbours} neighbours, seed 4" in found.note


def test_without_umap_the_error_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(MissingDependencyError, match=r"creativity-lens\[umap\]"):
        coordinates(noise(5), method="umap")


# --- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["pca", "tsne", "umap"])
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (noise(2), "at least 3 texts"),
        (noise(0), "at least 3 texts"),
        (noise(5)[:, :1], "width 2 or more, got 5 of width 1"),
        (torch.full((5, D_MODEL), torch.nan), "NaN or infinity"),
        (torch.ones(5, D_MODEL), "all 5 texts have the same activations"),
    ],
)
def test_texts_without_a_picture_are_refused(rows, message, method):
    with pytest.raises(InputError, match=message):
        coordinates(rows, method=method)


def test_an_unknown_method_is_answered_with_the_choices():
    with unchecked(), pytest.raises(InputError, match=r"'lda'; choose one of pca, tsne, umap"):
        coordinates(noise(5), method="lda")
