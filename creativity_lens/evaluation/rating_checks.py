"""What a table of ratings must hold, checked column by column and cell by cell."""

import difflib
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from creativity_lens.errors import DataError, InputError
from creativity_lens.evaluation.rating_files import number, shown

TEXT_COLUMNS = ("prompt_id", "prompt", "text", "author_type", "system")
"""What belongs to a text, and is the same in all its rows."""
COLUMNS = ("text_id", *TEXT_COLUMNS, "rater_id", "rater_group", "dimension", "rating")
NEEDED = ("text_id", "prompt_id", "dimension", "rating")
"""Columns that must be there, and whose cells must not be blank."""


def known(name: str, names: Sequence[str], what: str, source: str) -> None:
    """Check that a name is one of those that there are.

    Raises:
        InputError: it is not; names the nearest one and all.
    """
    if name not in names:
        raise InputError(
            f"{source} has no {what} {shown(name)}{_nearest(name, names)}. There are: "
            f"{', '.join(shown(known) for known in names)}."
        )


def check_columns(names: Sequence[str], source: str) -> None:
    """Raise DataError for a column that is not known, there twice, or needed and missing."""
    for i, name in enumerate(names):
        if name not in COLUMNS:
            raise DataError(
                f"{source}: the column {shown(name)} is not known{_nearest(name, COLUMNS)}. "
                f"Ratings have the columns {', '.join(COLUMNS)}; rename it or take it out."
            )
        if name in names[:i]:
            raise DataError(f"{source}: the column {name} is there twice.")
    for name in NEEDED:
        if name not in names:
            raise DataError(
                f"{source}: the column {name} is missing (needed: {', '.join(NEEDED)})."
            )


def _nearest(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name.strip().lower(), names, n=1, cutoff=0.5)
    return f"; did you mean {shown(near[0])}?" if near else ""


def text_cell(cell: Any, column: str, where: str) -> str:
    """A cell as a string: "" for nothing, `7` for the whole number 7.0 that pandas makes of 7."""
    if isinstance(cell, float | np.floating) and float(cell).is_integer():
        cell = int(cell)
    if isinstance(cell, int | np.integer) and not isinstance(cell, bool):
        cell = str(cell)
    if not isinstance(cell, str):
        import pandas as pd

        if not pd.api.types.is_scalar(cell) or not pd.isna(cell):
            raise DataError(f"{where}: {column} must be a string, got {shown(cell)}.")
        cell = ""
    text = cell if column in ("prompt", "text") else cell.strip()
    if column in NEEDED and not text:
        raise DataError(f"{where}: {column} is blank.")
    return str(text)


def rating_cell(cell: Any, where: str, scale: tuple[float | int, float | int] | None) -> float:
    """A rating; DataError if it is no finite number or off the scale."""
    rating = number(cell, where, "rating")
    if scale is not None and not scale[0] <= rating <= scale[1]:
        raise DataError(
            f"{where}: the rating {rating:g} is off the scale from {scale[0]:g} to {scale[1]:g}."
        )
    return rating


def check_texts(tidy: dict[str, list[str]], rows: Sequence[str], where: Sequence[str]) -> None:
    """Raise DataError where a `text_id` stands for two texts, prompts, authors or systems."""
    first: dict[str, int] = {}
    for i, name in enumerate(tidy["text_id"]):
        j = first.setdefault(name, i)
        for column in TEXT_COLUMNS:
            if tidy[column][i] != tidy[column][j]:
                raise DataError(
                    f"{where[i]}: the text_id {shown(name)} has another {column} than in {rows[j]}."
                    " A text_id stands for one text: give each text an id of its own."
                )


def check_raters(tidy: dict[str, list[str]], rows: Sequence[str], where: Sequence[str]) -> None:
    """Raise DataError where one rater of a group rated one text twice on one dimension.

    Groups may number their raters alike: rater 1 of two groups is two persons.
    """
    seen: dict[Hashable, int] = {}
    columns = ("text_id", "rater_id", "dimension", "rater_group")
    for i, key in enumerate(zip(*(tidy[name] for name in columns), strict=True)):
        text, rater, dimension, _ = key
        if rater and seen.setdefault(key, i) != i:
            raise DataError(
                f"{where[i]}: the rater_id {shown(rater)} rated the text_id {shown(text)} on "
                f"{shown(dimension)} before, in {rows[seen[key]]}. Keep one of the two ratings, or "
                "leave rater_id blank if raters are not known."
            )
