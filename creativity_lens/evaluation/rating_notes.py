"""What a set of ratings cannot show, said before anyone looks for it in the results."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from creativity_lens.evaluation.rating_files import shown

FEWEST_OTHERS = 3
"""Of fewer other values it cannot be told that one lies off the scale."""

if TYPE_CHECKING:
    from pandas import DataFrame


def notes_of(frame: "DataFrame") -> tuple[str, ...]:
    """Sentences about tidy ratings that hold less than they could; none if nothing is amiss."""
    return (*_about_texts(frame), *_about_raters(frame))


# Plain loops: pandas would make Arrow strings, which refuse half of a surrogate pair.


def _about_texts(frame: "DataFrame") -> Iterator[str]:
    texts = frame.drop_duplicates("text_id")
    blank = sum(not text.strip() for text in texts["text"])
    if blank:
        yield (
            f"Blank texts: {blank} of {len(texts)}. No model can score them; only scores that come "
            "with them can be tested."
        )
    sizes = Counter(texts["prompt_id"])
    alone = sum(size == 1 for size in sizes.values())
    if alone == len(sizes):
        yield "Every prompt holds one text: there is no pair of texts on the same prompt."
    elif alone:
        yield f"Prompts that hold one text and make no pair: {alone} of {len(sizes)}."
    wordings = Counter(
        name
        for name, prompt in set(zip(texts["prompt_id"], texts["prompt"], strict=True))
        if prompt
    )
    several = sum(count > 1 for count in wordings.values())
    if several:
        yield f"Prompts with several wordings: {several} of {len(sizes)}."


def off_the_scale(frame: "DataFrame") -> Iterator[str]:
    """Ratings that lie further from the next one than all others lie from each other."""
    for dimension in dict.fromkeys(frame["dimension"]):
        values = frame["rating"][[name == dimension for name in frame["dimension"]]]
        known = sorted(set(values))
        for far, *others in (known[::-1], known):
            if len(others) < FEWEST_OTHERS:
                continue
            if abs(far - others[0]) > abs(others[0] - others[-1]):
                yield (
                    f"The rating {far:g} on {shown(dimension)} ({int((values == far).sum())} of "
                    f"{len(values)}) lies far off all others, {min(others):g} to {max(others):g}: "
                    "is it on the scale? Give the scale's ends (--scale) to have ratings checked."
                )


def _about_raters(frame: "DataFrame") -> Iterator[str]:
    single: dict[str, list[str]] = {}
    unnamed: dict[str, None] = {}
    kinds = list(zip(frame["rater_group"], frame["dimension"], strict=True))
    for group, dimension in dict.fromkeys(kinds):
        rows = frame[[kind == (group, dimension) for kind in kinds]]
        if max(Counter(rows["text_id"]).values()) == 1:
            single.setdefault(group, []).append(dimension)
        elif "" in set(rows["rater_id"]):
            unnamed[group] = None
    for group, dimensions in single.items():
        yield (
            f"One rating a text in the group {shown(group)} on "
            f"{', '.join(shown(name) for name in dimensions)}: no ceiling and no reliability."
        )
    for group in unnamed:
        yield (
            f"Raters of the group {shown(group)} have no ids: they cannot be told apart, so "
            "intervals do not resample them."
        )
