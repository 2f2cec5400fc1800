"""Files of rated texts: where a public set is found, tables read cell by cell, safe errors.

Texts of rated sets are written by strangers and by models. They are kept as they are; what an error
shows of them is escaped and short.
"""

import csv
import math
import numbers
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from creativity_lens.errors import DataError

LONGEST_CELL = 2**31 - 1
"""Most characters of a cell; Python's own limit, 131,072, is less than a novella has."""
SHOWN = 60
"""Most characters of a value in an error."""


@dataclass(frozen=True)
class RatingSet:
    """A public set of rated texts, which users get themselves.

    Attributes:
        name: as `read_rating_set` takes it.
        address: the public repository.
        licence: its licence (SPDX).
        files: paths in the repository; the first holds the ratings.
        archive: the archive in the repository that holds them; "" if they lie open.
        alias: another name under which the first file is found.
    """

    name: str
    address: str
    licence: str
    files: tuple[str, ...]
    archive: str = ""
    alias: str = ""

    def find(self, path: Path, file: int = 0) -> Path | None:
        """The set's file of that number, given a file of the set or a folder; None if not there.

        Other files are looked for beside the given one, and in the folders of the repository.
        """
        others = {Path(name).name for name in self.files[1:]}
        if file == 0 and path.is_file() and path.name not in others:
            return path
        if not path.exists():  # or a typing error would find the right file's neighbour
            return None
        home = path if path.is_dir() else path.parent
        parts = Path(self.files[file]).parts
        # The repository may be unpacked whole, or from one of its folders on.
        inner = [Path(*parts[i:]) for i in range(len(parts))]
        alias = [Path(self.alias)] if self.alias and file == 0 else []
        places = [home / name for name in [*inner, *alias]]
        places += [home.parent / name for name in inner[:-1]]
        return next((place for place in places if place.is_file()), None)

    def need(self, path: Path, file: int = 0) -> Path:
        """Like `find`, with an error that tells where the set comes from.

        Raises:
            DataError: no such file.
        """
        found = self.find(path, file)
        if found is None:
            inside = f" (inside {self.archive})" if self.archive else ""
            raise DataError(
                f"{path}: there is no {Path(self.files[file]).name} of the set {self.name!r}. Get "
                f"{self.files[file]} from {self.address}{inside}, licence {self.licence}, and give "
                "the file or its folder."
            )
        return found


class Table(NamedTuple):
    """A CSV file with a header: its columns, its rows, and the last line of each row."""

    columns: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]


def read_csv(path: Path) -> Table:
    """Read a CSV file as strings, none of them changed.

    Raises:
        DataError: missing or empty file, not UTF-8, broken quotes, a column twice, a row with more
            or fewer cells than the header; the message names the line.
    """
    limit = csv.field_size_limit(LONGEST_CELL)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            columns = next(reader, [])
            rows, lines = [], []
            for row in reader:
                if row and len(row) != len(columns):
                    raise DataError(
                        f"{path}, line {reader.line_num}: {len(row)} cells, but the header has "
                        f"{len(columns)}. A text with commas or line breaks needs quotes around it."
                    )
                if row:  # a blank line
                    rows.append(row)
                    lines.append(reader.line_num)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path} as a UTF-8 table: {error}.") from error
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not a CSV table ({error}).") from error
    finally:
        csv.field_size_limit(limit)  # it is the whole process's, and others rely on theirs
    twice = next((name for i, name in enumerate(columns) if name in columns[:i]), None)
    if twice is not None:
        raise DataError(f"{path}: the header has the column {shown(twice)} twice.")
    if not columns:
        raise DataError(f"{path} is empty: it holds no header.")
    return Table(tuple(columns), rows, lines)


def cells(table: Table, path: Path, needed: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """The rows of a table by column, each with the words that an error calls it by.

    Raises:
        DataError: a needed column is missing, or there is no row.
    """
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise DataError(
            f"{path}: there is no column {shown(missing[0])}; is it another file of the set?"
        )
    if not table.rows:
        raise DataError(f"{path} holds no row below its header.")
    return [
        (f"line {line}", dict(zip(table.columns, row, strict=True)))
        for line, row in zip(table.lines, table.rows, strict=True)
    ]


def slug(name: str) -> str:
    """A name in small letters, digits and `_`: `ROUGE-SU* Recall Ξ§` is `rouge_su_recall`."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def number(value: Any, where: str, what: str, *, finite: bool = True) -> float:
    """A number, or a string that holds one.

    Raises:
        DataError: no number, a truth value, or (if `finite`) NaN or infinity; names `where`.
    """
    try:
        if isinstance(value, bool) or not isinstance(value, str | numbers.Number):
            raise TypeError
        if isinstance(value, str) and "_" in value:  # Python reads 1_0 as ten; no table means that
            raise ValueError
        result = float(value)  # type: ignore[arg-type]  # complex numbers raise TypeError
    except (ValueError, TypeError, OverflowError):
        raise DataError(f"{where}: {what} must be a number, got {shown(value)}.") from None
    if finite and not math.isfinite(result):
        raise DataError(f"{where}: {what} must be a finite number, got {shown(value)}.")
    return result


def shown(value: Any) -> str:
    """A value as an error may show it: escaped, so that a terminal obeys none of it, and short."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
