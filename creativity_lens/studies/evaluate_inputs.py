"""The files of an evaluation, read and checked before a model is loaded."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from creativity_lens.directions.extract import ContrastRow
from creativity_lens.directions.run_files import (
    CONTRAST_FILE,
    DIRECTIONS_FILE,
    MANIFEST_FILE,
    read_contrast,
)
from creativity_lens.errors import DataError, InputError
from creativity_lens.evaluation.both_orders import BothOrders
from creativity_lens.evaluation.rating_files import cells, number, read_csv, shown
from creativity_lens.evaluation.rating_sets import RATING_SETS, read_rating_set
from creativity_lens.evaluation.ratings import Ratings, read_ratings
from creativity_lens.io import read_json, sha256_file
from creativity_lens.stats import Array
from creativity_lens.studies.evaluate_comparisons import JudgedPairs
from creativity_lens.studies.evaluate_tables import judge_row

if TYPE_CHECKING:
    from pandas import DataFrame

TIDY = "tidy"
PAIR_COLUMNS = ("text_a", "text_b", "preference")
ORDER_COLUMNS = ("first_order", "second_order")


def read_rated(
    path: str | os.PathLike[str],
    *,
    format: str = TIDY,
    dimensions: Sequence[str] = (),
    scale: tuple[float, float] | None = None,
) -> "tuple[Ratings, DataFrame | None]":
    """Ratings in our tidy form or in the form of a public set, and the scores that come with it.

    Raises:
        InputError: an unknown format or dimension, or a scale for a set, which has its own.
        DataError: the file is missing or not in the format.
    """
    if format == TIDY:
        return read_ratings(path, dimensions=dimensions, scale=scale), None
    if format not in RATING_SETS:
        known = ", ".join((TIDY, *RATING_SETS))
        raise InputError(f"unknown format {format!r}; choose one of {known}.")
    if scale is not None:
        raise InputError(f"ratings of the set {format!r} have a scale of their own: leave it out.")
    return read_rating_set(format, path, dimensions=dimensions)


def read_scores(path: str | os.PathLike[str]) -> "DataFrame":
    """Scores that were made elsewhere: a CSV with `text_id` and a column for each score.

    A blank cell is a text without the score. Columns of words (`prompt_id`, `system` and the like)
    are an error, except those that our own `scores.csv` has.

    Raises:
        DataError: no such file, no `text_id`, no score, a text twice, a cell that is no number;
            names the line and the column.
    """
    import pandas as pd

    file = Path(path)
    table = read_csv(file)
    rows = cells(table, file, ("text_id",))
    scores = [name for name in table.columns if name not in ABOUT]
    if not scores:
        raise DataError(f"{file}: no column holds a score beside {', '.join(table.columns)}.")
    ids: dict[str, str] = {}
    values = np.full((len(rows), len(scores)), np.nan)
    for place, (line, row) in enumerate(rows):
        name = row["text_id"].strip()
        if name in ids:
            raise DataError(f"{file}, {line}: the text {shown(name)} was in {ids[name]}.")
        ids[name] = line
        for column, score in enumerate(scores):
            values[place, column] = _number(row[score], f"{file}, {line}", score)
    index = pd.Index(list(ids), name="text_id", dtype=object)
    return pd.DataFrame(values, index=index, columns=scores)


ABOUT = ("text_id", "prompt_id", "author_type", "system")


def read_judged_pairs(path: str | os.PathLike[str], ratings: Ratings, judge: str) -> JudgedPairs:
    """Pairs that a judge has compared, as `creativity-lens judge` writes them.

    Args:
        path: CSV with `text_a`, `text_b` and `preference` (the probability of `text_a`; blank if
            the judge gave no answer). Where it also has `first_order` and `second_order` (the same
            when `text_a` stood first, and second), position bias and consistency are told.
        ratings: whose texts are compared; pairs of other texts are left out.
        judge: what to call the judge.

    Raises:
        DataError: no such file or column, a preference outside 0 to 1, or no pair of these texts.
    """
    file = Path(path)
    rows = cells(read_csv(file), file, PAIR_COLUMNS)
    place = {str(name): i for i, name in enumerate(ratings.texts.index)}
    pairs, preference, orders = [], [], []
    for line, row in rows:
        where = f"{file}, {line}"
        value = _probability(row, where, "preference")
        both = [_probability(row, where, name) for name in ORDER_COLUMNS if name in row]
        a, b = row["text_a"].strip(), row["text_b"].strip()
        if a in place and b in place and a != b:
            pairs.append((place[a], place[b]))
            preference.append(value)
            orders.append(both if len(both) == len(ORDER_COLUMNS) else [math.nan] * 2)
    if not pairs:
        raise DataError(f"{file}: none of its {len(rows)} pairs is of texts in {ratings.source}.")
    prompts = list(ratings.texts["prompt_id"])
    left_out = {
        f"pairs of texts that are not in {Path(ratings.source).name}, or of a text with itself": (
            len(rows) - len(pairs)
        ),
        "pairs of texts on different prompts": sum(prompts[a] != prompts[b] for a, b in pairs),
        "pairs without an answer": sum(map(math.isnan, preference)),
    }
    return JudgedPairs(
        judge,
        tuple(pairs),
        np.array(preference, dtype=float),
        _of_place(judge, np.array(orders, dtype=float)),
        tuple(f"{judge}: {n} {what} do not count." for what, n in left_out.items() if n),
    )


def _of_place(judge: str, orders: Float[Array, "pair 2"]) -> tuple[dict[str, Any], ...]:
    """Rows of the table `judges`; none if no pair was answered in both orders."""
    said = BothOrders(orders[:, 0], orders[:, 1])
    if math.isnan(said.consistency):
        return ()
    return (
        judge_row(judge, "position bias", said.position_bias, "0: none, 0.5: first"),
        judge_row(judge, "consistency", said.consistency, "same text in both orders"),
    )


def _probability(row: Mapping[str, str], where: str, column: str) -> float:
    """NaN if the cell is blank."""
    value = _number(row[column], where, column)
    if not (math.isnan(value) or 0 <= value <= 1):
        raise DataError(f"{where}: a {column} lies in 0 to 1, got {value:g}.")
    return value


def contrast_beside(directions: str | os.PathLike[str]) -> list[ContrastRow]:
    """The texts of the contrast that a directions file was made from, if they lie beside it.

    Those of the folder that `extract` wrote, and only if its manifest names this very file.
    """
    path = Path(directions)
    home, manifest = path.parent, path.parent / MANIFEST_FILE
    if not (path.is_file() and manifest.is_file() and (home / CONTRAST_FILE).is_file()):
        return []
    record = read_json(manifest)
    files = record.get("files") if isinstance(record, dict) else None
    if not isinstance(files, dict) or files.get(DIRECTIONS_FILE) != sha256_file(path):
        return []
    return read_contrast(home / CONTRAST_FILE)


def _number(cell: str, where: str, what: str) -> float:
    """The number in a cell; NaN if it is blank."""
    return number(cell, where, what) if cell.strip() else math.nan
