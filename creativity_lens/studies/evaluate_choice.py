"""The secondary score: the variant and layer that the other prompts' ratings choose.

Each prompt is scored by what did best on all other prompts, so its own ratings have no part in the
choice. With few prompts the choice is a lottery; the table `choice` shows how it varied.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from creativity_lens.evaluation.accuracy import per_prompt
from creativity_lens.evaluation.pair_design import PairDesign
from creativity_lens.stats import Array
from creativity_lens.studies.evaluate_scores import ScoreColumns, ScoreKey

FEWEST = 3
"""Prompts with a decided pair, below which nothing is chosen."""


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen for each prompt, and the score that it makes.

    Attributes:
        values: each text by the score of its prompt; NaN where none was chosen. Texts of different
            prompts are not comparable.
        chosen: prompt and key, in the order of the prompts.
        reason: why nothing was chosen; "" if something was.
    """

    values: Float[Array, " text"]
    chosen: tuple[tuple[str, ScoreKey], ...]
    reason: str


def choose(design: PairDesign, candidates: ScoreColumns, prompts: Sequence[str]) -> Choice:
    """Leave one prompt out, take the candidate with the highest accuracy on the rest.

    Ties go to the first candidate. A prompt without a decided pair gets what all others choose.

    Args:
        design: the pairs.
        candidates: variants of the score; no other score should be among them.
        prompts: the prompt of each listed text.
    """
    values = np.full(design.n_listed, np.nan)
    found = per_prompt(design, candidates.values)
    names = np.asarray(found.prompt, dtype=object)
    wins = np.nan_to_num(found.accuracy) * found.n_pairs
    decided = {
        name for name, n in zip(names, found.n_pairs.max(axis=0, initial=0), strict=True) if n
    }
    if len(decided) < FEWEST or not candidates.keys:
        return Choice(
            values, (), f"{len(decided)} prompts hold a decided pair: too few to choose by."
        )
    chosen = []
    for prompt in dict.fromkeys(prompts):
        others = names != prompt
        n = found.n_pairs[:, others].sum(axis=1)
        share = np.divide(wins[:, others].sum(axis=1), n, out=np.zeros(len(n)), where=n > 0)
        best = int(np.argmax(share))
        here = np.asarray([one == prompt for one in prompts])
        values[here] = candidates.values[best][here]
        chosen.append((prompt, candidates.keys[best]))
    return Choice(values, tuple(chosen), "")
