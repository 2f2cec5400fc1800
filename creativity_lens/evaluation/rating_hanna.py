"""HANNA (Chhun et al. 2022, arXiv 2208.11646): stories of ten systems and people on 96 prompts.

Its table has one row a system; each cell is a list with one number a prompt. The ratings are of
three workers, whose ids are not in it: `Human 1`, `Human 2` and `Human 3` are positions in a list.
"""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from creativity_lens.errors import DataError
from creativity_lens.evaluation.rating_files import (
    RatingSet,
    cells,
    number,
    read_csv,
    shown,
    slug,
)
from creativity_lens.evaluation.ratings import Ratings, ratings_from_frame

if TYPE_CHECKING:
    from pandas import DataFrame

HANNA = RatingSet(
    "hanna",
    "https://github.com/dig-team/hanna-benchmark-asg",
    "MIT",
    ("hanna_metric_scores_llm.csv", "hanna_llm_stories.csv"),
)
DIMENSIONS = {
    "RE": "relevance",
    "CH": "coherence",
    "EM": "empathy",
    "SU": "surprise",
    "EG": "engagement",
    "CX": "complexity",
}
RATERS = ("Human 1", "Human 2", "Human 3")
PEOPLE = "Human"
"""The system that is people; also how the columns that hold their ratings begin."""


def read_hanna(path: Path, dimensions: tuple[str, ...]) -> "tuple[Ratings, DataFrame]":
    """Ratings, and the metrics and LLM judges that come with them.

    Text of the people's stories and all prompts come from `hanna_llm_stories.csv`, by order, if it
    lies beside; the other systems' stories are not in the repository's tables.
    """
    import pandas as pd

    file = HANNA.need(path)
    needed = ["Model", *(f"{rater} {code}" for rater in RATERS for code in DIMENSIONS)]
    rows = cells(read_csv(file), file, needed)
    systems = [row["Model"] for _, row in rows]
    stories = HANNA.find(path, 1)
    n_prompts = len(_numbers(rows[0][1][needed[1]], f"{file}, {rows[0][0]}, {needed[1]}"))
    pairs = _stories(stories, n_prompts) if stories else [("", "")] * n_prompts
    columns = [name for name in rows[0][1] if _is_score(name)]
    names = _unique({name: slug(name) for name in columns}, file)
    tidy, places, scores, ids = [], [], [], []
    for line, row in rows:
        system = row["Model"]
        if systems.count(system) > 1:
            raise DataError(f"{file}, {line}: the system {shown(system)} has two rows.")
        lists = {
            column: _numbers(row[column], f"{file}, {line}, column {shown(column)}", n_prompts)
            for column in (*needed[1:], *columns)
        }
        for i, (prompt, story) in enumerate(pairs):
            ids.append(f"hanna-{i}-{slug(system)}")
            scores.append([lists[column][i] for column in columns])
            human = system == PEOPLE
            about = (ids[-1], f"hanna-{i}", prompt, story if human else "")
            author = "human" if human else "model"
            for code, dimension in DIMENSIONS.items():
                for rater in RATERS:
                    rating = lists[f"{rater} {code}"][i]
                    tidy.append((*about, author, system, dimension, rating))
                    places.append(f"{line}, column '{rater} {code}', prompt {i + 1}")
    kept = ("text_id", "prompt_id", "prompt", "text", "author_type", "system", "dimension")
    ratings = ratings_from_frame(
        pd.DataFrame(tidy, columns=[*kept, "rating"]),
        source=str(file),
        scale=(1, 5),
        dimensions=dimensions,
        places=places,
        remarks=() if stories else (f"{HANNA.files[1]} is not beside {file.name}: no texts.",),
    )
    index = pd.Index(ids, name="text_id", dtype=object)
    return ratings, pd.DataFrame(scores, index=index, columns=names, dtype=float)


def _is_score(name: str) -> bool:
    """Not a rating by people: neither theirs one by one nor any mean of them."""
    people = name.startswith(PEOPLE) or name.lower() in DIMENSIONS.values()
    return bool(name) and name != "Model" and not people


def _unique(names: dict[str, str], file: Path) -> list[str]:
    seen: dict[str, str] = {}
    for name, short in names.items():
        if not short or seen.setdefault(short, name) != name:
            raise DataError(
                f"{file}: the columns {shown(seen.get(short))} and {shown(name)} clash."
            )
    return list(names.values())


def _numbers(cell: str, where: str, n: int | None = None) -> list[float]:
    """The numbers of a cell, NaN for null; `n` of them, or any number of them if None."""
    try:
        values = json.loads(cell)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list) or not values:
        raise DataError(f"{where}: expected a list of numbers, got {shown(cell)}.")
    if n is not None and len(values) != n:
        raise DataError(f"{where}: {len(values)} values, but the first row has {n}.")
    return [
        math.nan if value is None else number(value, where, f"value {i}", finite=False)
        for i, value in enumerate(values, start=1)
    ]


def _stories(file: Path, n_prompts: int) -> list[tuple[str, str]]:
    """Prompt and people's story, by order. Every system's rows repeat them."""
    by_system: dict[str, list[tuple[str, str]]] = {}
    for _, row in cells(read_csv(file), file, ("Prompt", "Human", "Model")):
        by_system.setdefault(row["Model"], []).append((row["Prompt"], row["Human"]))
    first, *others = by_system.values()
    if any(other != first for other in others):
        raise DataError(
            f"{file}: its systems do not list the same prompts and stories in one order, so they "
            "cannot be joined to the ratings by order."
        )
    if len(first) != n_prompts:
        raise DataError(f"{file} holds {len(first)} stories, but {n_prompts} are rated.")
    return first
