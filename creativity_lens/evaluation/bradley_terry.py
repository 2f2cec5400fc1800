"""Strengths of items from comparisons of two at a time (Bradley and Terry 1952).

The chance that i beats j is 1 / (1 + exp(s_j - s_i)): the difference of two strengths is the
log-odds of a win. R. A. Bradley and M. E. Terry, Biometrika 39 (1952), 324-345; for when a finite
estimate exists, and for what happens otherwise, D. R. Hunter, Annals of Statistics 32 (2004),
384-406.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import expit, logit

from creativity_lens.errors import InputError, ModelError
from creativity_lens.evaluation.annotation_tables import (
    counted,
    preference,
    same_on_all_prompts,
)
from creativity_lens.stats import Array, bootstrap_weights

if TYPE_CHECKING:
    from pandas import DataFrame

RIDGE = 0.01
"""Default penalty: RIDGE / 2 times the sum of squared strengths is taken from the log-likelihood.

Ten comparisons weigh a hundred times as much. Its use is to keep finite the strength of an item
that wins or loses all of its comparisons, which without it has no estimate.
"""

_STEPS = 500
_CLOSE = 1e-9


@dataclass(frozen=True, eq=False)
class BradleyTerry:
    """Strengths of items.

    Attributes:
        strengths: in log-odds; within each component their sum is zero.
        components: from 0; items of two components were never compared, not even through others,
            and their strengths cannot be held against each other.
        n_comparisons: the weight of each item's comparisons.
        separated: whether the items of the component fall into two parts of which one won every
            comparison with the other. Strengths then have no finite estimate: the likelihood grows
            for ever as the parts move away from each other, and how far apart they stand here is
            set by the penalty and the number of comparisons alone.
    """

    strengths: Float[Array, " item"]
    components: Int[Array, " item"]
    n_comparisons: Float[Array, " item"]
    separated: Bool[Array, " item"]

    @property
    def n_components(self) -> int:
        """1 if all strengths can be compared."""
        return int(self.components.max()) + 1


def bradley_terry(
    n_items: int,
    winners: Sequence[int] | Int[Array, " comparison"],
    losers: Sequence[int] | Int[Array, " comparison"],
    weights: Sequence[float] | Float[Array, " comparison"] | None = None,
    *,
    ridge: float = RIDGE,
) -> BradleyTerry:
    """Fit strengths by maximum likelihood with a small ridge (`RIDGE`).

    A tie is half a win for each: give the comparison twice, once each way, with weight 0.5.

    Args:
        n_items: items are numbered from 0. An item without a comparison gets 0 and a component of
            its own.
        winners: of each comparison.
        losers: of each comparison.
        weights: of each comparison; None weighs them alike.
        ridge: penalty, above 0.

    Raises:
        InputError: no items, numbers out of range, an item against itself, lists of different
            lengths, a negative or infinite weight, or a ridge that is not positive.
    """
    won = _wins(n_items, winners, losers, weights, ridge)
    edges = coo_array(won)
    _, components = connected_components(edges, directed=False)
    # L. R. Ford (1957): the estimate is finite if each item leads to each other by a chain of wins.
    _, chains = connected_components(edges, directed=True, connection="strong")
    strengths, separated = np.zeros(n_items), np.zeros(n_items, dtype=bool)
    for component in range(int(components.max()) + 1):
        # Component by component: the Hessian of thousands of texts in pairs is nearly all zeros.
        own = np.flatnonzero(components == component)
        if len(own) > 1:
            strengths[own] = _fit(won[np.ix_(own, own)][None], ridge)[0]
            separated[own] = len(np.unique(chains[own])) > 1
    return BradleyTerry(
        strengths,
        np.asarray(components, dtype=np.int64),
        won.sum(axis=0) + won.sum(axis=1),
        separated,
    )


def bradley_terry_draws(
    n_items: int,
    winners: Sequence[int] | Int[Array, " comparison"],
    losers: Sequence[int] | Int[Array, " comparison"],
    weights: Sequence[float] | Float[Array, " comparison"] | None,
    groups: Sequence[str],
    *,
    ridge: float = RIDGE,
    n_draws: int = 2000,
    seed: int = 0,
) -> Float[Array, "draw item"]:
    """Strengths when whole groups of comparisons are drawn with replacement.

    A draw that leaves the items unconnected has no common scale and is NaN. In a draw that is
    separated (`BradleyTerry.separated`), which is frequent where losses are few, strengths are what
    the penalty makes them; `bradley_terry_table` counts them as infinite.

    Args:
        n_items: see `bradley_terry`; meant for few items, as a draw holds items x items numbers.
        winners: of each comparison.
        losers: of each comparison.
        weights: of each comparison.
        groups: of each comparison: its prompt.
        ridge: penalty.
        n_draws: draws.
        seed: of the draws.

    Raises:
        InputError: as `bradley_terry`; not one group for each comparison.
    """
    won = _drawn_wins(n_items, winners, losers, weights, groups, ridge, n_draws, seed)
    strengths = _fit(won, ridge)
    strengths[~_connected(won)] = np.nan
    return strengths


def _drawn_wins(
    n_items: int,
    winners: Sequence[int] | Int[Array, " comparison"],
    losers: Sequence[int] | Int[Array, " comparison"],
    weights: Sequence[float] | Float[Array, " comparison"] | None,
    groups: Sequence[str],
    ridge: float,
    n_draws: int,
    seed: int,
) -> Float[Array, "draw item item"]:
    _wins(n_items, winners, losers, weights, ridge)
    if len(groups) != len(winners):
        raise InputError(
            f"bradley_terry_draws needs a group for each of {len(winners)} comparisons, got "
            f"{len(groups)}."
        )
    cells = np.asarray(winners) * n_items + np.asarray(losers)
    given = np.ones(len(winners)) if weights is None else np.asarray(weights, dtype=float)
    drawn = bootstrap_weights(groups, n_draws, seed=seed) * given
    place = np.zeros((len(winners), n_items * n_items))
    place[np.arange(len(winners)), cells] = 1.0
    return np.asarray((drawn @ place).reshape(n_draws, n_items, n_items))


def bradley_terry_table(
    pairs: "DataFrame", *, n_draws: int = 2000, seed: int = 0, ridge: float = RIDGE
) -> "DataFrame":
    """Strengths of sets and of texts from the choices of a study, rater group by rater group.

    Tables of several studies may be given one below the other: sets that were never held against
    each other then get strengths through a third.

    Args:
        pairs: `StudyAnswers.pairs`; only rows that count are used.
        n_draws: bootstrap draws over prompts for the intervals of sets.
        seed: of the draws.
        ridge: penalty.

    Returns:
        `rater_group`, `level` (system or text), `item`, `strength`, `low`, `high`, `component`,
        `n_comparisons`, `n_prompts`, `separated` (as in `BradleyTerry`: the strength has no finite
        estimate, and its size means nothing).

        `low` and `high` are the bounds of a 95 % interval. They are infinite where the choices are
        compatible with a set that is always or never chosen (CSV has `inf` and `-inf`, which pandas
        reads back), and NaN (blank in CSV) where nothing is known: for texts, which stand on one
        prompt; where there are fewer than two prompts; where sets are not connected; and on the
        near side of a strength that is infinite in nearly all draws, or the same in all. Two sets
        that share their comparisons alike on all prompts have bounds all the same, from
        `preference`: a set that won on 12 of 12 prompts lies between 0.51 and infinity.
    """
    import pandas as pd

    rows = []
    for group, own in counted(pairs).groupby("rater_group", sort=False):
        for level in ("system", "text"):
            kind = "system" if level == "system" else "id"
            columns = f"left_{kind}", f"right_{kind}"
            names = list(dict.fromkeys(own[list(columns)].to_numpy().ravel().tolist()))
            place = {name: i for i, name in enumerate(names)}
            left, right = (own[column].map(place).to_numpy() for column in columns)
            tie = (own["chosen"] == "tie").to_numpy()
            ahead = (own["chosen"] != "right").to_numpy()  # a tie is turned around below
            winners = np.concatenate([np.where(ahead, left, right), right[tie]])
            losers = np.concatenate([np.where(ahead, right, left), left[tie]])
            weights = np.concatenate([np.where(tie, 0.5, 1.0), np.full(int(tie.sum()), 0.5)])
            prompts = own["prompt_id"].astype(str).to_numpy()
            groups = np.concatenate([prompts, prompts[tie]]).tolist()
            fit = bradley_terry(len(names), winners, losers, weights, ridge=ridge)
            bounds = np.full((2, len(names)), np.nan)
            if level == "system" and fit.n_components == 1 and len(set(groups)) > 1:
                if len(names) == 2 and same_on_all_prompts(own, names[0]):
                    bounds = _exact_bounds(own, names[0])
                else:
                    drawn = (groups, ridge, n_draws, seed)
                    bounds = _bounds(
                        _drawn_wins(len(names), winners, losers, weights, *drawn), ridge
                    )
            for i, name in enumerate(names):
                involved = (left == i) | (right == i)
                rows.append(
                    {
                        "rater_group": group,
                        "level": level,
                        "item": name,
                        "strength": float(fit.strengths[i]),
                        "low": float(bounds[0, i]),
                        "high": float(bounds[1, i]),
                        "component": int(fit.components[i]),
                        "n_comparisons": float(fit.n_comparisons[i]),
                        "n_prompts": len(set(prompts[involved].tolist())),
                        "separated": bool(fit.separated[i]),
                    }
                )
    return pd.DataFrame(rows, columns=list(TABLE_COLUMNS))


TABLE_COLUMNS = (
    *("rater_group", "level", "item", "strength", "low", "high"),
    *("component", "n_comparisons", "n_prompts", "separated"),
)


def _exact_bounds(pairs: "DataFrame", first: str) -> Float[Array, "bound item"]:
    """Of two sets, the bounds that belong to those of the share that the first wins."""
    share = preference(pairs, first)
    # Two strengths that sum to zero: half of the log-odds of a win, and its negative.
    low, high = logit([share.low, share.high]) / 2
    return np.array([[low, -high], [high, -low]])


def _bounds(won: Float[Array, "draw item item"], ridge: float) -> Float[Array, "bound item"]:
    """The middle 95 % of draws, of which separated ones are infinite."""
    won = won[_connected(won)]
    if not len(won):
        return np.full((2, won.shape[-1]), np.nan)
    strengths = _fit(won, ridge)
    beats = _chains(won > 0)
    above = (beats & ~beats.swapaxes(1, 2)).any(axis=2)  # someone below can never catch up
    below = (~beats & beats.swapaxes(1, 2)).any(axis=2)
    # With some above and some below out of reach, it may stand anywhere between them.
    low = _quantile(np.where(below, -np.inf, np.where(above, np.inf, strengths)), 0.025, "lower")
    high = _quantile(np.where(above, np.inf, np.where(below, -np.inf, strengths)), 0.975, "higher")
    # That a set is certainly infinite, or certainly where it is, is more than draws can say.
    same = np.ptp(strengths, axis=0) < _CLOSE
    return np.array(
        [
            np.where((low == np.inf) | same & np.isfinite(low), np.nan, low),
            np.where((high == -np.inf) | same & np.isfinite(high), np.nan, high),
        ]
    )


def _quantile(
    draws: Float[Array, "draw item"], level: float, side: Literal["lower", "higher"]
) -> Float[Array, " item"]:
    """As numpy's, and the outer neighbour where there is nothing between it and the inner one."""
    with np.errstate(invalid="ignore"):
        between = np.quantile(draws, level, axis=0)
    outer = np.quantile(draws, level, axis=0, method=side)
    return np.asarray(np.where(np.isfinite(between), between, outer))


def _wins(
    n_items: int,
    winners: Sequence[int] | Int[Array, " comparison"],
    losers: Sequence[int] | Int[Array, " comparison"],
    weights: Sequence[float] | Float[Array, " comparison"] | None,
    ridge: float,
) -> Float[Array, "item item"]:
    """The weight with which each row's item beat each column's."""
    first, second = (np.asarray(side, dtype=np.int64) for side in (winners, losers))
    given = np.ones(len(first)) if weights is None else np.asarray(weights, dtype=float)
    if n_items < 1 or not len(first) == len(second) == len(given):
        raise InputError(
            f"bradley_terry needs items and lists of one length, got {n_items} items, "
            f"{len(first)} winners, {len(second)} losers and {len(given)} weights."
        )
    both = np.concatenate([first, second])
    if len(both) and (both.min() < 0 or both.max() >= n_items):
        raise InputError(
            f"bradley_terry: items are numbered from 0 to {n_items - 1}, got {both.min()} to "
            f"{both.max()}."
        )
    if (first == second).any():
        raise InputError(f"bradley_terry: item {first[first == second][0]} is against itself.")
    if not (np.isfinite(given).all() and (given >= 0).all()):
        raise InputError("bradley_terry: weights must be finite and not negative.")
    if not (np.isfinite(ridge) and ridge > 0):
        raise InputError(f"bradley_terry: ridge must be above 0, got {ridge}.")
    won = np.zeros((n_items, n_items))
    np.add.at(won, (first, second), given)
    return won


def _fit(won: Float[Array, "draw item item"], ridge: float) -> Float[Array, "draw item"]:
    """Newton's method for all draws at once."""
    n_items = won.shape[-1]
    played = won + won.swapaxes(1, 2)
    strengths = np.zeros(won.shape[:2])
    diagonal = np.arange(n_items)
    for _ in range(_STEPS):
        chance = expit(strengths[:, :, None] - strengths[:, None, :])
        slope = (won - played * chance).sum(axis=2) - ridge * strengths
        curve = -played * chance * (1 - chance)
        curve[:, diagonal, diagonal] = ridge - curve.sum(axis=2)
        step = np.linalg.solve(curve, slope[:, :, None])[:, :, 0]
        largest = np.abs(step).max(axis=1, keepdims=True)
        # A full step overshoots where one side wins nearly all; one unit at a time does not.
        strengths += step / np.maximum(largest, 1.0)
        if largest.max() < 1e-9:
            # The ridge makes the sum zero; this takes away its rounding.
            return np.asarray(strengths - strengths.mean(axis=1, keepdims=True))
    raise ModelError(f"bradley_terry did not converge in {_STEPS} steps: raise the ridge.")


def _connected(won: Float[Array, "draw item item"]) -> Bool[Array, " draw"]:
    """Whether the comparisons of each draw connect all items."""
    return np.asarray(_chains(won + won.swapaxes(1, 2) > 0).all(axis=(1, 2)))


def _chains(step: Bool[Array, "draw item item"]) -> Bool[Array, "draw item item"]:
    """Whether each item leads to each other by some number of steps."""
    n_items = step.shape[-1]
    reach = step | np.eye(n_items, dtype=bool)
    for _ in range(max(n_items - 1, 1).bit_length()):
        reach = (reach.astype(float) @ reach.astype(float)) > 0
    return np.asarray(reach)
