"""TTCW (Chakrabarty et al. 2024, arXiv 2309.14556): stories put to 14 tests by expert writers.

Each of 12 plots has a story from the New Yorker and stories of three models, and each story three
experts, who answer yes or no to each test. Not every expert read every story.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from creativity_lens.errors import DataError
from creativity_lens.evaluation.rating_files import RatingSet, shown, slug
from creativity_lens.evaluation.ratings import Ratings, ratings_from_frame
from creativity_lens.io import read_json

TTCW = RatingSet(
    "ttcw",
    "https://github.com/salesforce/creativity_eval",
    "BSD-3-Clause",
    (
        "Art_or_Artifice/annotations/ttcw_annotations.json",
        "Art_or_Artifice/stories/ttcw_short_stories.json",
    ),
)
TOTAL = "total"
"""The dimension that counts the tests passed."""
VERDICTS = {"Yes": 1.0, "No": 0.0}
PEOPLE = "NewYorker"


def read_ttcw(path: Path, dimensions: tuple[str, ...]) -> Ratings:
    """One rating (0 or 1) a story, expert and test, and the number of tests passed, 0 to 14.

    A story that the repository gives as a link only has no text.
    """
    import pandas as pd

    file, stories_file = TTCW.need(path), TTCW.need(path, 1)
    stories = _stories(stories_file)
    verdicts: dict[tuple[str, str], dict[str, float]] = {}
    for i, row in enumerate(_records(file), start=1):
        where = f"{file}, annotation {i}"
        story, expert = _cell(row, "story_id", where), _cell(row, "expert_idx", where)
        test, verdict = slug(_cell(row, "category", where)), _cell(row, "binary_verdict", where)
        if story not in stories:
            raise DataError(f"{where}: {stories_file.name} has no story {shown(story)}.")
        if verdict not in VERDICTS:
            raise DataError(f"{where}: binary_verdict must be Yes or No, got {shown(verdict)}.")
        given = verdicts.setdefault((story, expert), {})
        if test in given:
            raise DataError(f"{where}: expert {shown(expert)} answered {test} before.")
        given[test] = VERDICTS[verdict]
    n_tests = len({test for given in verdicts.values() for test in given})
    short = sum(len(given) < n_tests for given in verdicts.values())
    tidy = [
        {**stories[story], "rater_id": expert, "dimension": name, "rating": rating}
        for (story, expert), given in verdicts.items()
        for name, rating in _with_total(given, n_tests).items()
    ]
    remarks = [f"{short} readings left out a test and have no total."] if short else []
    return ratings_from_frame(
        pd.DataFrame(tidy, dtype=object).assign(rater_group="expert"),
        source=str(file),
        dimensions=dimensions,
        places=[f"story {shown(row['text_id'])}, {row['dimension']}" for row in tidy],
        remarks=remarks,
    )


def _with_total(given: Mapping[str, float], n_tests: int) -> dict[str, float]:
    return {**given, TOTAL: sum(given.values())} if len(given) == n_tests else {**given}


def _stories(file: Path) -> dict[str, dict[str, str]]:
    """What is known of each story, by its id, such as `0_Claude`."""
    found: dict[str, dict[str, str]] = {}
    for i, row in enumerate(_records(file), start=1):
        where = f"{file}, story {i}"
        name, content = _cell(row, "story_id", where), _cell(row, "content", where)
        system = name.partition("_")[2]
        if name in found:
            raise DataError(f"{where}: the story_id {shown(name)} was used before.")
        link = content.startswith(("http://", "https://")) and len(content.split()) == 1
        found[name] = {
            "text_id": name,
            "prompt_id": f"ttcw-{_cell(row, 'story_idx', where)}",
            "prompt": _cell(row, "plot", where),
            "text": "" if link else content,
            "author_type": "human" if system == PEOPLE else "model",
            "system": system,
        }
    return found


def _records(file: Path) -> list[Any]:
    value = read_json(file)
    if not isinstance(value, list) or not value:
        raise DataError(f"{file}: expected a list of objects; is it another file of the set?")
    return value


def _cell(row: Any, field: str, where: str) -> str:
    value = row.get(field) if isinstance(row, dict) else None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise DataError(f"{where}: {field} must be a string or a whole number, got {shown(value)}.")
    return value
