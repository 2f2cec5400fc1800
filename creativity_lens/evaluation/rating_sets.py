"""Public sets of rated texts, read from files that the user got, as tidy ratings.

`hanna`: stories of ten systems and people, 6 dimensions, 3 raters. `ttcw`: 48 stories, 14 tests,
3 experts each. `writingprompts`: 400 stories, 4 dimensions, 3 raters. `aut`: 3,030 uses of things
with their mean originality. Addresses and licences are in `RATING_SETS`.
"""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from creativity_lens.errors import DataError, InputError
from creativity_lens.evaluation.rating_files import RatingSet, cells, number, read_csv, shown
from creativity_lens.evaluation.rating_hanna import HANNA, read_hanna
from creativity_lens.evaluation.rating_ttcw import TTCW, read_ttcw
from creativity_lens.evaluation.ratings import Ratings, ratings_from_frame
from creativity_lens.io import read_json

if TYPE_CHECKING:
    from pandas import DataFrame

WRITINGPROMPTS = RatingSet(
    "writingprompts",
    "https://github.com/ChicagoHAI/HypoEval-Gen",
    "MIT",
    ("data_original/wp_a.json",),
)
AUT = RatingSet(
    "aut",
    "https://github.com/massivetexts/llm_aut_study",
    "MIT",
    ("evaluation/gt_main2/SemDis_MEAN.csv",),
    archive="results/evaluation.zip",
    alias="gt_main2_SemDis_MEAN.csv",
)
RATING_SETS = {found.name: found for found in (HANNA, TTCW, WRITINGPROMPTS, AUT)}
WRITINGPROMPTS_DIMENSIONS = ("cohesive", "enjoy", "grammar", "relevant")


def read_rating_set(
    name: str, path: str | os.PathLike[str], *, dimensions: Sequence[str] = ()
) -> "tuple[Ratings, DataFrame | None]":
    """Read a public set in its own format.

    Args:
        name: `hanna`, `ttcw`, `writingprompts` or `aut`.
        path: the set's file, or the folder it is in.
        dimensions: keep only these; all if empty.

    Returns:
        The ratings, and the scores of other methods that come with the set: index `text_id`, one
        column a score, NaN where unknown; None for sets without.

    Raises:
        InputError: another name, or an unknown dimension.
        DataError: no such file (the message has the public address and the licence), or a file that
            is not in the set's format.
    """
    file, kept = Path(path), tuple(dimensions)
    if name == HANNA.name:
        return read_hanna(file, kept)
    if name == TTCW.name:
        return read_ttcw(file, kept), None
    if name == WRITINGPROMPTS.name:
        return _read_writingprompts(file, kept), None
    if name == AUT.name:
        return _read_aut(file, kept)
    raise InputError(
        f"there is no set of ratings {shown(name)}; there are: {', '.join(RATING_SETS)}."
    )


def _read_writingprompts(path: Path, dimensions: tuple[str, ...]) -> Ratings:
    """Raters are positions in a list: nothing says that the first of two lists is one person."""
    import pandas as pd

    file = WRITINGPROMPTS.need(path)
    stories = read_json(file)
    if not isinstance(stories, dict) or not stories:
        raise DataError(f"{file}: expected an object with one object a story.")
    prompts: dict[str, str] = {}
    tidy, places = [], []
    for key, story in stories.items():
        where = f"{file}, story {shown(key)}"
        about = _story(story, where)
        prompt = about["prompt"]
        about |= {
            "text_id": f"writingprompts-{key}",
            "prompt_id": prompts.setdefault(prompt, f"prompt-{len(prompts)}"),
        }
        for name in WRITINGPROMPTS_DIMENSIONS:
            ratings = story.get(name)
            if not isinstance(ratings, list) or not ratings:
                raise DataError(f"{where}: {name} must be a list of ratings, got {shown(ratings)}.")
            tidy += [{**about, "dimension": name, "rating": rating} for rating in ratings]
            places += [f"story {shown(key)}, {name}"] * len(ratings)
    return ratings_from_frame(
        # Objects, or pandas would read `true` among the ratings as 1.
        pd.DataFrame(tidy, dtype=object),
        source=str(file),
        scale=(1, 5),
        dimensions=dimensions,
        places=places,
    )


def _story(story: Any, where: str) -> dict[str, str]:
    if not isinstance(story, dict):
        raise DataError(f"{where}: expected an object, got {shown(story)}.")
    for field in ("prompt", "story"):
        if not isinstance(story.get(field), str):
            raise DataError(f"{where}: {field} must be a string, got {shown(story.get(field))}.")
    if story.get("human_written") not in (0, 1):
        raise DataError(
            f"{where}: human_written must be 0 or 1, got {shown(story.get('human_written'))}."
        )
    author = "human" if story["human_written"] else "model"
    return {"prompt": story["prompt"], "text": story["story"], "author_type": author}


def _read_aut(path: Path, dimensions: tuple[str, ...]) -> "tuple[Ratings, DataFrame]":
    """Ratings are means of several raters, one a response."""
    import pandas as pd

    file = AUT.need(path)
    needed = ("id", "prompt", "question", "response", "target", "predicted")
    rows = cells(read_csv(file), file, needed)
    seen: dict[str, str] = {}
    for line, row in rows:
        if seen.setdefault(row["id"], line) != line:
            raise DataError(
                f"{file}, {line}: the id {shown(row['id'])} was used in {seen[row['id']]}."
            )
    tidy = [
        {
            "text_id": row["id"],
            "prompt_id": row["prompt"],
            "prompt": row["question"],
            "text": row["response"],
            "author_type": "human",
            "dimension": "originality",
            "rating": row["target"],
        }
        for _, row in rows
    ]
    ratings = ratings_from_frame(
        pd.DataFrame(tidy, dtype=object),
        source=str(file),
        scale=(1, 5),
        dimensions=dimensions,
        places=[line for line, _ in rows],
        remarks=("Ratings are means of several raters, who are not in the file.",),
    )
    distance = [
        number(row["predicted"], f"{file}, {line}", "predicted") if row["predicted"] else math.nan
        for line, row in rows
    ]
    index = pd.Index([row["id"].strip() for _, row in rows], name="text_id", dtype=object)
    return ratings, pd.DataFrame({"semantic_distance": distance}, index=index, dtype=float)
