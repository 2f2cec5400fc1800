"""Directions of resampled premises, on inner products.

The difference of means is a sum of paired differences, so the direction of any resampling of the
premises is a weighted sum of their sums. The cosine of two of them needs only the inner products
of the premises: for weights w and v and products G it is w'Gv / sqrt(w'Gw v'Gv). Thousands of
resamplings then cost a product of small matrices at each layer, whatever the width of the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from creativity_lens.errors import InputError
from creativity_lens.probes.held_out import check_sides
from creativity_lens.stats import Array, bootstrap_weights

MIN_PREMISES = 4
"""Two halves of two premises each: fewer say nothing about stability."""


@dataclass(frozen=True, eq=False)
class Premises:
    """The paired differences of one contrast, by premise.

    Attributes:
        high: mean residual stream of each pair's text on the side that the direction points to.
        low: the same of the other side.
        index: the premise of each pair, as its row in what follows.
        n_pairs: how many pairs each premise has.
    """

    high: Float[Tensor, "pair layer d_model"]
    low: Float[Tensor, "pair layer d_model"]
    index: Int[Array, " pair"]
    n_pairs: Int[Array, " premise"]

    @classmethod
    def of(
        cls,
        high: Float[Tensor, "pair layer d_model"],
        low: Float[Tensor, "pair layer d_model"],
        groups: Sequence[str],
    ) -> "Premises":
        """Check the sides and find the premises.

        Raises:
            InputError: what `check_sides` refuses, fewer than four premises, or a layer at which
                the two means are equal.
        """
        check_sides(high, low, groups)
        names, index = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
        if len(names) < MIN_PREMISES:
            raise InputError(
                f"stability is measured between sets of premises and needs at least "
                f"{MIN_PREMISES} of them, got {len(names)} premises in {len(groups)} pairs: give "
                "pairs on more premises."
            )
        found = cls(high, low, index, np.bincount(index))
        for layer in range(found.n_layers):
            difference = found.direction(layer)
            # Exact equality never survives float32 sums, so compare with rounding noise.
            if np.linalg.norm(difference) <= 1e-9 * float(high[:, layer].double().norm()):
                raise InputError(
                    f"the means of the two sides are equal at layer {layer}, so there is no "
                    "direction: give texts that differ, or leave this layer out."
                )
        return found

    def __len__(self) -> int:
        return len(self.n_pairs)

    @property
    def n_layers(self) -> int:
        """How many layers there are."""
        return int(self.high.shape[1])

    @cached_property
    def each_once(self) -> Float[Array, "1 premise"]:
        """The weights of the full direction."""
        return np.ones((1, len(self)))

    def sums(self, layer: int) -> Float[Array, "premise d_model"]:
        """Paired differences at a layer, summed by premise; float64."""
        differences = self.high[:, layer].double() - self.low[:, layer].double()
        sums = differences.new_zeros(len(self), differences.shape[1])
        return np.asarray(sums.index_add_(0, torch.from_numpy(self.index), differences))

    def direction(self, layer: int) -> Float[Array, " d_model"]:
        """The difference of means over pairs at a layer."""
        return np.asarray(self.sums(layer).sum(axis=0) / len(self.index))

    def gram(self, layer: int) -> Float[Array, "premise premise"]:
        """Inner products of the sums: the weights of a draw are counts of premises."""
        sums = self.sums(layer)
        return np.asarray(sums @ sums.T)

    def mean_gram(self, layer: int) -> Float[Array, "premise premise"]:
        """Inner products of the premises' mean differences: every premise counts the same."""
        return np.asarray(self.gram(layer) / np.outer(self.n_pairs, self.n_pairs))

    def bootstrap(self, n_draws: int, *, seed: int) -> Float[Array, "draw premise"]:
        """How often each premise is drawn; the draws of `stats.bootstrap_weights`."""
        _check_number("n_draws", n_draws)
        return bootstrap_weights([f"{i:012d}" for i in range(len(self))], n_draws, seed=seed)

    def ranks(self, n_splits: int, *, seed: int) -> Int[Array, "split premise"]:
        """Random ranks of the premises, from 0, from which `disjoint_sets` makes sets."""
        _check_number("n_splits", n_splits)
        generator = np.random.default_rng(seed)
        return np.argsort(generator.random((n_splits, len(self))), axis=1)


def disjoint_sets(
    ranks: Int[Array, "split premise"], size: int
) -> tuple[Float[Array, "split premise"], Float[Array, "split premise"]]:
    """Weights of two sets of `size` premises that have none in common, for each ranking."""
    first = ranks < size
    return first.astype(float), ((ranks < 2 * size) & ~first).astype(float)


def cosines(
    gram: Float[Array, "premise premise"],
    left: Float[Array, "draw premise"],
    right: Float[Array, "#draw premise"],
) -> Float[Array, " draw"]:
    """Cosine between the directions of two weightings, row by row."""
    by_left = left @ gram
    inner = (by_left * right).sum(axis=1)
    return ratio(inner, (by_left * left).sum(axis=1), ((right @ gram) * right).sum(axis=1))


def ratio(
    inner: Float[Array, " draw"],
    square: Float[Array, " #draw"],
    other_square: Float[Array, " #draw"],
) -> Float[Array, " draw"]:
    """Inner products as cosines; 0 where a draw has no length, because it agrees with nothing."""
    lengths = np.sqrt(np.maximum(square, 0) * np.maximum(other_square, 0))
    zeros = np.zeros_like(inner)
    return np.asarray(np.divide(inner, lengths, out=zeros, where=lengths > 0))


def split_half(
    gram: Float[Array, "premise premise"], ranks: Int[Array, "split premise"]
) -> Float[Array, " split"]:
    """Cosine between the directions of two halves, for each ranking; an odd premise is left out."""
    return cosines(gram, *disjoint_sets(ranks, ranks.shape[1] // 2))


def spearman_brown(half: Float[Array, " layer"]) -> Float[Array, " layer"]:
    """From halves to the whole: 2r / (1 + r)."""
    with np.errstate(divide="ignore"):
        return np.asarray(2 * half / (1 + half))


def _check_number(name: str, value: int) -> None:
    if value < 1:
        raise InputError(f"{name} must be at least 1, got {value}.")
