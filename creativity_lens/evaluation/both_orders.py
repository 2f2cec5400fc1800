"""A judge's choices of each pair in both orders: what it prefers, and what the place decides."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from creativity_lens.stats import Array


@dataclass(frozen=True, eq=False)
class BothOrders:
    """Choices between two texts.

    Attributes:
        first_order: probability that `a` is chosen when it stands first; NaN without an answer.
        second_order: the same when it stands second.
    """

    first_order: Float[Array, " pair"]
    second_order: Float[Array, " pair"]

    @property
    def preference(self) -> Float[Array, " pair"]:
        """Mean over both orders; NaN unless both were answered: one alone is not free of place."""
        return np.asarray((self.first_order + self.second_order) / 2)

    @property
    def consistent(self) -> Bool[Array, " pair"]:
        """Whether the same text is chosen in both orders; a tie or no answer in one is not."""
        return np.asarray((self.first_order - 0.5) * (self.second_order - 0.5) > 0)

    @property
    def consistency(self) -> float:
        """Share of consistent pairs among those answered in both orders; NaN if there are none."""
        answered = ~np.isnan(self.preference)
        return float(self.consistent[answered].mean()) if answered.any() else math.nan

    @property
    def position_bias(self) -> float:
        """Mean probability of the text that stands first, less 0.5, over the same pairs.

        0.5: always the first, -0.5: always the second, 0: no bias.
        """
        answered = ~np.isnan(self.preference)
        of_first = np.stack([self.first_order, 1 - self.second_order])[:, answered]
        return float(of_first.mean() - 0.5) if answered.any() else math.nan
