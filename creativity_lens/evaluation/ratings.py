"""Ratings of texts by people, one row a rating, as everything about agreement takes them.

Public sets come through `rating_sets`; anyone's own ratings come as CSV or Parquet with the columns
of `COLUMNS`. Raters of different groups are never pooled.
"""

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from creativity_lens.errors import DataError, InputError
from creativity_lens.evaluation.rating_checks import (
    COLUMNS,
    TEXT_COLUMNS,
    check_columns,
    check_raters,
    check_texts,
    known,
    rating_cell,
    text_cell,
)
from creativity_lens.evaluation.rating_files import read_csv, shown
from creativity_lens.evaluation.rating_notes import notes_of, off_the_scale
from creativity_lens.io import atomic_path, write_csv

if TYPE_CHECKING:
    from pandas import DataFrame

Array = np.ndarray
Scale = tuple[float | int, float | int]

ALL = "all"
"""The group of raters of whom no group is known."""
SUFFIXES = (".csv", ".parquet")


class RaterMatrix(NamedTuple):
    """Ratings by rater: one row a rater, one column a text; NaN where not rated."""

    values: Float[Array, "rater text"]
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Ratings:
    """Rated texts.

    Attributes:
        frame: one row a rating with exactly the columns `COLUMNS`, in the order given; strings
            ("" where unknown) and `rating` as float64, never NaN. A blank `rater_group` is `all`.
        source: what errors and the report call them.
        notes: what the ratings cannot show ("one rating a text, so no ceiling"), for the reader.
    """

    frame: "DataFrame"
    source: str
    notes: tuple[str, ...]

    @cached_property
    def texts(self) -> "DataFrame":
        """What is known of each text: index `text_id`, in order of first appearance."""
        return self.frame.drop_duplicates("text_id").set_index("text_id")[list(TEXT_COLUMNS)]

    @property
    def dimensions(self) -> tuple[str, ...]:
        """What was rated, in order of first appearance."""
        return tuple(dict.fromkeys(self.frame["dimension"]))

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups of raters, in order of first appearance."""
        return tuple(dict.fromkeys(self.frame["rater_group"]))

    def means(self, dimension: str, group: str) -> Float[Array, " text"]:
        """The mean rating of each text of `texts`; NaN where not rated.

        Raises:
            InputError: no such dimension or group.
        """
        values = self.by_rater(dimension, group).values
        counts = (~np.isnan(values)).sum(axis=0)
        sums = np.nansum(values, axis=0)
        means = np.divide(sums, counts, out=np.full(len(sums), math.nan), where=counts > 0)
        return np.asarray(means)

    def by_rater(self, dimension: str, group: str) -> RaterMatrix:
        """The ratings of each rater, aligned with `texts`.

        Where raters persist, a row is a rater, by order of first appearance. Else row k holds the
        k-th rating of each text (`#1`, `#2`, …), and a row is nobody: raters cannot be resampled.

        Raises:
            InputError: no such dimension or group.
        """
        rows = self._rows(dimension, group)
        column = {name: i for i, name in enumerate(self.texts.index)}
        if self.raters_persist(dimension, group):
            names = tuple(dict.fromkeys(rows["rater_id"]))
            row = {name: i for i, name in enumerate(names)}
            at = [row[name] for name in rows["rater_id"]]
        else:
            earlier: Counter[str] = Counter()
            at = []
            for name in rows["text_id"]:
                at.append(earlier[name])
                earlier[name] += 1
            names = tuple(f"#{k + 1}" for k in range(max(at, default=-1) + 1))
        values = np.full((len(names), len(column)), math.nan)
        values[at, [column[name] for name in rows["text_id"]]] = rows["rating"]
        return RaterMatrix(values, names)

    def raters_persist(self, dimension: str, group: str) -> bool:
        """Whether raters can be told apart: all have ids, and two or more rated two texts or more.

        Raises:
            InputError: no such dimension or group.
        """
        counts = Counter(self._rows(dimension, group)["rater_id"])
        return "" not in counts and sum(count >= 2 for count in counts.values()) >= 2

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write them as CSV or Parquet, by the suffix of `path`; `read_ratings` reads them again.

        Raises:
            InputError: another suffix, or the folder cannot be written to.
            DataError: a text holds half of a surrogate pair, which no file takes.
        """
        target = Path(path)
        suffix = table_suffix(target)
        try:
            if suffix == ".csv":
                write_csv(target, COLUMNS, self.frame.itertuples(index=False, name=None))
                return
            with atomic_path(target) as temporary:
                self.frame.to_parquet(temporary, index=False)
        except UnicodeEncodeError as error:
            raise DataError(
                f"cannot write {target}: a cell holds half of a surrogate pair "
                f"({shown(error.object[error.start : error.end])}). Mend that text of "
                f"{self.source} first."
            ) from error

    def _rows(self, dimension: str, group: str) -> "DataFrame":
        known(dimension, self.dimensions, "dimension", self.source)
        known(group, self.groups, "rater group", self.source)
        chosen = (self.frame["dimension"] == dimension) & (self.frame["rater_group"] == group)
        return self.frame[chosen]


def read_ratings(
    path: str | os.PathLike[str], *, dimensions: Sequence[str] = (), scale: Scale | None = None
) -> Ratings:
    """Read tidy ratings from a `.csv` or `.parquet` file.

    Args:
        path: the file; its columns are those of `COLUMNS`, of which `NEEDED` must be there.
        dimensions: keep only these; all if empty.
        scale: lowest and highest rating allowed.

    Raises:
        DataError: missing or unreadable file, or anything that `ratings_from_frame` refuses; the
            message names the file, the line (of Parquet: the row, from 1) and the column.
        InputError: another suffix, or an unknown dimension.
    """
    import pandas as pd

    file = Path(path)
    if table_suffix(file) == ".csv":
        table = read_csv(file)
        frame = pd.DataFrame(table.rows, columns=list(table.columns), dtype=object)
        places = [f"line {line}" for line in table.lines]
    else:
        frame, places = _read_parquet(file), None
    return ratings_from_frame(
        frame, source=str(file), scale=scale, dimensions=dimensions, places=places
    )


def ratings_from_frame(
    frame: "DataFrame",
    *,
    source: str = "ratings",
    scale: Scale | None = None,
    dimensions: Sequence[str] = (),
    places: Sequence[str] | None = None,
    remarks: Sequence[str] = (),
) -> Ratings:
    """Check a table of ratings and make it tidy.

    Args:
        frame: columns as in `COLUMNS`; those not in `NEEDED` may be missing or hold blanks. Ids may
            be whole numbers. Blanks around a cell are cut, but not around `prompt` and `text`.
        source: what errors call the table.
        scale: lowest and highest rating allowed.
        dimensions: keep only these; all if empty.
        places: what errors call each row; `row 1`, `row 2`, … if None.
        remarks: notes to put first.

    Raises:
        DataError: no rows; a needed column or cell missing; a column that is not known (a typing
            error would be lost); a `text_id` with two texts, prompts, authors or systems; a rater
            who rated a text twice on one dimension; a rating that is no number or off the scale.
        InputError: a dimension that is not there, or a scale that is none.
    """
    import pandas as pd

    if scale is not None and not scale[0] < scale[1]:
        raise InputError(f"a scale goes from a lower to a higher rating, got {scale}.")
    check_columns([str(name) for name in frame.columns], source)
    if not len(frame):
        raise DataError(f"{source} holds no ratings.")
    rows = places or [f"row {i}" for i in range(1, len(frame) + 1)]
    where = [f"{source}, {row}" for row in rows]
    tidy: dict[str, list[Any]] = {}
    for name in COLUMNS[:-1]:
        given = frame[name] if name in frame.columns else [""] * len(frame)
        tidy[name] = [text_cell(cell, name, at) for cell, at in zip(given, where, strict=True)]
    tidy["rater_group"] = [name or ALL for name in tidy["rater_group"]]
    check_texts(tidy, rows, where)
    check_raters(tidy, rows, where)
    ratings = [
        rating_cell(cell, at, scale) for cell, at in zip(frame["rating"], where, strict=True)
    ]
    # Objects: a column of Arrow strings would refuse half of a surrogate pair.
    checked = pd.DataFrame({name: pd.Series(tidy[name], dtype=object) for name in COLUMNS[:-1]})
    checked["rating"] = np.array(ratings, dtype=float)
    if dimensions:
        for name in dimensions:
            known(name, list(dict.fromkeys(tidy["dimension"])), "dimension", source)
        checked = checked[checked["dimension"].isin(dimensions)].reset_index(drop=True)
    stray = off_the_scale(checked) if scale is None else ()
    return Ratings(checked, source, (*remarks, *notes_of(checked), *stray))


def table_suffix(path: Path) -> str:
    """`.csv` or `.parquet`.

    Raises:
        InputError: the name ends otherwise.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"ratings are .csv or .parquet files, got {path}.")
    return suffix


def _read_parquet(path: Path) -> "DataFrame":
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except Exception as error:  # pyarrow raises many kinds, some of its own
        reason = shown(str(error).splitlines()[0] if str(error) else type(error).__name__)
        raise DataError(f"cannot read {path} as Parquet: {reason}.") from error
    named = [name for name in frame.index.names if name is not None]
    return frame.reset_index() if named else frame
