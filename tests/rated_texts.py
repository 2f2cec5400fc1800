"""Short texts on some prompts, to be rated by whatever truth a test plants."""

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from creativity_lens.evaluation.ratings import Ratings, ratings_from_frame
from creativity_lens.prompts.pairs import load_contrast
from creativity_lens.studies.evaluate_config import EvaluateConfig

N_PROMPTS, EACH = 12, 4
QUICK = EvaluateConfig(
    layer=1,
    min_gap=0.0,
    with_prompt=False,
    nuisances=(),
    n_random=40,
    rate=False,
    judge_pairs=0,
    n_draws=100,
    n_permutations=99,
    n_folds=4,
)
"""Without judges, nuisances and prompts; few draws."""


def texts(n_prompts: int = N_PROMPTS, each: int = EACH) -> list[dict[str, str]]:
    """Words of the shipped pairs at random, of lengths at random; odd texts are a model's."""
    generator = np.random.default_rng(0)
    told = " ".join(pair.creative for pair in load_contrast("stories"))
    words = sorted(set(re.findall("[a-z]{3,}", told)))
    return [
        {
            "text_id": f"t{p}-{k}",
            "prompt_id": f"p{p}",
            "prompt": f"Write about the {words[7 * p]}.",
            "text": " ".join(generator.choice(words, 6 + int(generator.integers(14)))),
            "author_type": ("human", "model")[k % 2],
            "system": f"system-{k}",
        }
        for p in range(n_prompts)
        for k in range(each)
    ]


def rating_frame(
    known: Sequence[Mapping[str, str]],
    value: Callable[[str], float],
    *,
    raters: Sequence[str] = ("r0", "r1"),
    group: str = "lay",
    dimension: str = "creativity",
) -> pd.DataFrame:
    """Every rater gives each text the same value."""
    return pd.DataFrame(
        [
            {**text, "rater_id": rater, "rater_group": group, "dimension": dimension}
            | {"rating": float(value(text["text_id"]))}
            for text in known
            for rater in raters
        ]
    )


def rated(known: Sequence[Mapping[str, str]], value: Callable[[str], float], **how) -> Ratings:
    """Ratings of one dimension by one group."""
    return ratings_from_frame(rating_frame(known, value, **how), source="planted")


def without(known: Sequence[Mapping[str, str]], *columns: str) -> list[dict[str, str]]:
    """The same texts with some columns blank."""
    return [{**text, **dict.fromkeys(columns, "")} for text in known]


def noise(seed: int) -> Callable[[str], float]:
    """A value that knows nothing of the text, 1 to 5."""
    generator = np.random.default_rng(seed)
    drawn: dict[str, float] = {}
    return lambda name: drawn.setdefault(name, float(generator.integers(1, 6)))
