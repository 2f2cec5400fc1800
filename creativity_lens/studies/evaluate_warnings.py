"""What should be known of an evaluation before any of its numbers is believed."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from creativity_lens.directions.extract import ContrastRow
from creativity_lens.evaluation.pair_design import signs
from creativity_lens.evaluation.ratings import Ratings
from creativity_lens.prompts.pairs import premise_id
from creativity_lens.studies.evaluate_comparisons import Comparison

if TYPE_CHECKING:
    from pandas import DataFrame

FEW = 0.25
"""If a smaller share of the pairs with different ratings is compared, it is said."""
MOST_NAMED = 5


def about_the_contrast(ratings: Ratings, rows: Sequence[ContrastRow]) -> Iterator[str]:
    """Whether the direction was made from prompts of the rated texts, or whether that is known.

    Args:
        ratings: the rated texts.
        rows: the texts that the direction was made from; () if they are not at hand.
    """
    if not rows:
        yield (
            "The texts that the direction was made from are not at hand: no layer can be chosen by "
            "them, there are no directions of shuffled labels, and nothing is known of whether the "
            "prompts of the rated texts were among its premises."
        )
        return
    own = {row.premise_id for row in rows}
    prompts = {str(prompt) for prompt in ratings.texts["prompt"] if str(prompt).strip()}
    shared = sum(premise_id(prompt) in own for prompt in prompts)
    if shared:
        yield (
            f"{shared} prompts of the rated texts are premises that the direction was made from: "
            "leave them out, or extract from others."
        )


def about_the_gap(compared: Sequence[Comparison], gap: float) -> Iterator[str]:
    """Comparisons in which the gap leaves no pair, or few of those whose ratings differ."""
    alike, none, few = [], [], []
    for one in compared:
        difference = np.abs(
            one.design.rating[one.design.first] - one.design.rating[one.design.second]
        )
        differ = int((signs(difference) != 0).sum())
        decided = int(one.design.decided.sum())
        where = ", ".join(one.where.values())
        if not differ:
            alike.append(where)
        elif not decided:
            none.append(f"{where}: at most {difference.max():g}")
        elif decided < FEW * differ:
            few.append(f"{where}: {decided} of {differ}")
    if alike:
        yield f"No two texts that can be compared are rated apart ({_some(alike)})."
    if none:
        yield (
            f"No two texts' mean ratings differ by {gap:g} ({_some(none)}): give a smaller "
            "--min-gap."
        )
    if few:
        yield (
            f"Of the pairs whose mean ratings differ, few do so by {gap:g} ({_some(few)}): what is "
            "said holds for the clearest alone. See --min-gap."
        )


def about_scores(scores: "DataFrame", ids: Sequence[str], source: str) -> Iterator[str]:
    """Scores that were brought along for other texts, or for some of the texts only."""
    known = set(ids)
    others = sum(name not in known for name in scores.index)
    if others:
        yield f"Scores of {others} texts that are not in {source} are left out."
    here = scores.reindex(list(ids)).notna().sum()
    some = [f"{name} for {n}" for name, n in here.items() if n < len(ids)]
    if some:
        yield (
            f"Scores that are known for some of the {len(ids)} texts only: "
            f"{_some(some, together=', ')}. Pairs of other texts do not count for them."
        )


def _some(said: Sequence[str], together: str = "; ") -> str:
    more = f" and {len(said) - MOST_NAMED} more" if len(said) > MOST_NAMED else ""
    return together.join(said[:MOST_NAMED]) + more
