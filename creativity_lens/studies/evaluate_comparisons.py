"""What is compared with what: one dimension, one group of raters, one scope; and what is known.

Scores and judges are held against the ratings of each comparison by `evaluate_rows`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from creativity_lens.evaluation.pair_design import PairDesign, Scope, pair_design
from creativity_lens.evaluation.ratings import Ratings
from creativity_lens.stats import Array
from creativity_lens.studies.evaluate_config import EvaluateConfig


@dataclass(frozen=True, eq=False)
class Comparison:
    """What is compared with what.

    Attributes:
        dimension: what was rated.
        group: who rated.
        scope: whether pairs stay within the author type.
        design: the pairs.
        raters: ratings by rater of all listed texts.
        persistent: whether raters are persons.
        prompts: the prompt of each listed text.
        authors: the author type of each listed text if pairs stay within it.
        systems: what wrote each listed text.
    """

    dimension: str
    group: str
    scope: Scope
    design: PairDesign
    raters: Float[Array, "rater text"]
    persistent: bool
    prompts: tuple[str, ...]
    authors: tuple[str, ...] | None
    systems: tuple[str, ...]

    @property
    def where(self) -> dict[str, str]:
        """The columns that name it."""
        return {"dimension": self.dimension, "rater_group": self.group, "scope": self.scope}


def comparisons(ratings: Ratings, config: EvaluateConfig) -> list[Comparison]:
    """All comparisons: each dimension by each group that rated it.

    Pairs within author types make a second scope where more than one type is known.
    """
    texts = ratings.texts
    prompts = tuple(texts["prompt_id"])
    authors = tuple(texts["author_type"])
    systems = tuple(texts["system"])
    scopes: list[tuple[str, ...] | None] = [None]
    if len(set(authors) - {""}) > 1:
        scopes.append(authors)
    found = []
    for dimension in dict.fromkeys(config.dimensions or ratings.dimensions):
        for group in ratings.groups:
            means = ratings.means(dimension, group)
            if np.isnan(means).all():
                continue
            for types in scopes:
                design = pair_design(means, prompts, authors=types, min_gap=config.min_gap)
                found.append(
                    Comparison(
                        dimension,
                        group,
                        design.scope,
                        design,
                        ratings.by_rater(dimension, group).values,
                        ratings.raters_persist(dimension, group),
                        prompts,
                        types,
                        systems,
                    )
                )
    return found


@dataclass(frozen=True, eq=False)
class JudgedPairs:
    """A judge that compared pairs.

    Attributes:
        judge: its name.
        pairs: places of both texts.
        preference: the probability that the first is preferred.
        about: rows of the table `judges`: position bias and the like, where they are known.
        notes: what was left out.
    """

    judge: str
    pairs: tuple[tuple[int, int], ...]
    preference: Float[Array, " pair"]
    about: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ReadTexts:
    """What the model read of the texts, for directions that no score has yet.

    Attributes:
        layers: the layers that were read.
        means: mean of the tokens, each divided by its norm, in neutral context.
        words: features of the texts' words alone.
        places: the texts' places among all that are listed.
        random: scores by random directions, by kind.
    """

    layers: tuple[int, ...]
    means: Float[Tensor, "text layer d_model"]
    words: Float[Tensor, "text feature"]
    places: Int[Array, " text"]
    random: Mapping[str, Float[Array, "draw layer listed"]]
