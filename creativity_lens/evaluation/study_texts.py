"""The texts of one side of a study, from a file that another command wrote.

| file | prompt | text | id of the text |
|---|---|---|---|
| `creativity-lens generate --out` (JSONL) | `id` and `prompt` | `response` | the prompt's |
| a sweep's `texts.parquet`, one cell of it | `prompt_id`; words from `prompts.parquet` | `text` | \
prompt and seed |
| JSONL or CSV of one's own | `prompt_id`, `prompt` or both | `text` | `text_id`, `id` or the line |
"""

import csv
import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from creativity_lens.errors import DataError, InputError
from creativity_lens.io import read_jsonl


class GeneratedText(NamedTuple):
    """A text with the prompt that it answers."""

    text_id: str
    """Unique in its set."""
    prompt_id: str
    prompt: str
    """What raters are shown above the texts; may be empty."""
    text: str


def read_generated(
    path: str | os.PathLike[str], *, cell: str | None = None
) -> tuple[GeneratedText, ...]:
    """Read the texts of one set.

    Texts that are blank are kept here: an empty answer is an answer. `make_study` leaves them out
    and says so.

    Args:
        path: `.jsonl`, `.csv` or `.parquet`; see the table above. Without `prompt_id` the prompt's
            own words are its id.
        cell: take only the rows whose `cell_id` is this. Needed where there are several cells.

    Raises:
        DataError: a missing file, no text or prompt in a row, an id used twice, two prompts under
            one id; the message names the line (of a Parquet file, the row).
        InputError: another kind of file, or an unknown cell or none where one is needed.
    """
    source = Path(path)
    kind = source.suffix.lower()
    readers = {".jsonl": _jsonl_rows, ".csv": _csv_rows, ".parquet": _parquet_rows}
    if kind not in readers:
        raise InputError(
            f"cannot tell what kind of file {source} is: its name must end in {', '.join(readers)}."
        )
    rows = _of_cell(readers[kind](source), cell, source)
    found: list[GeneratedText] = []
    seen: dict[str, str] = {}
    prompts: dict[str, str] = {}
    for where, row in rows:
        text = _text(row, where)
        if text.text_id in seen:
            raise DataError(f"{where}: the id {text.text_id!r} was used in {seen[text.text_id]}.")
        seen[text.text_id] = where
        if prompts.setdefault(text.prompt_id, text.prompt) != text.prompt:
            raise DataError(
                f"{where}: the prompt id {text.prompt_id!r} stands for other words in an earlier "
                "row; one id needs one prompt."
            )
        found.append(text)
    return tuple(found)


def _text(row: Mapping[str, Any], where: str) -> GeneratedText:
    column = "text" if "text" in row else "response"
    text = row.get(column)
    if not isinstance(text, str):
        raise DataError(
            f"{where}: a row needs its words as a string in `text` or `response`, got {text!r}."
        )
    prompt = _optional(row, "prompt", where)
    # In what `generate` writes, the id is that of the prompt; elsewhere it is that of the text.
    of_prompt = _optional(row, "prompt_id", where)
    if not of_prompt and column == "response":
        of_prompt = _optional(row, "id", where)
    if not (of_prompt or prompt):
        raise DataError(
            f"{where}: a row needs `prompt_id` or `prompt`, or its text cannot be paired with one "
            "that answers the same."
        )
    prompt_id = of_prompt or prompt
    own = _optional(row, "text_id", where) or _optional(row, "id", where)
    if not own and "seed" in row:
        own = f"{prompt_id}/{row['seed']}"
    return GeneratedText(own or where.rpartition(", ")[2], prompt_id, prompt, text)


def _optional(row: Mapping[str, Any], column: str, where: str) -> str:
    value = row.get(column)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f"{where}: `{column}` must be a string, got {value!r}.")
    return value.strip()


Rows = list[tuple[str, dict[str, Any]]]


def _jsonl_rows(path: Path) -> Rows:
    return [(f"{path}, line {number}", row) for number, row in read_jsonl(path)]


def _csv_rows(path: Path) -> Rows:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restkey="(beyond the header)", strict=True)
            rows: Rows = []
            for row in reader:
                where = f"{path}, line {reader.line_num}"
                if "(beyond the header)" in row:
                    raise DataError(f"{where}: the row has more cells than the header.")
                rows.append((where, dict(row)))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {path} as a UTF-8 table: {error}.") from error
    if not rows:
        raise DataError(f"{path} is empty: it holds no row below a header.")
    return rows


def _parquet_rows(path: Path) -> Rows:
    table = _read_parquet(path)
    beside = path.with_name("prompts.parquet")
    if "prompt" not in table and "prompt_id" in table and beside.is_file():
        prompts = _read_parquet(beside)
        if {"prompt_id", "prompt"} <= set(prompts):
            words = dict(zip(prompts["prompt_id"], prompts["prompt"], strict=True))
            table = table.assign(prompt=[words.get(name, "") for name in table["prompt_id"]])
    records = table.astype(object).where(table.notna(), None).to_dict("records")
    if not records:
        raise DataError(f"{path} is empty: it holds no row.")
    return [
        (f"{path}, row {number}", {str(name): value for name, value in record.items()})
        for number, record in enumerate(records, start=1)
    ]


def _read_parquet(path: Path) -> Any:
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise DataError(f"cannot read {path} as a Parquet table: {error}.") from error


def _of_cell(rows: Rows, cell: str | None, path: Path) -> Rows:
    """The rows of one cell; an error where it is not clear which."""
    cells: Sequence[str] = list(dict.fromkeys(str(row.get("cell_id", "")) for _, row in rows))
    if cell is None:
        if len(cells) > 1:
            raise InputError(
                f"{path} holds the texts of {len(cells)} cells: say which one is meant, such as "
                f"{cells[0]!r} or {cells[-1]!r}."
            )
        return rows
    if cell not in cells:
        near = difflib.get_close_matches(cell, cells, n=1) or cells[:1]
        meant = f"did you mean {near[0]!r}?" if near[0] else "it has no column `cell_id`."
        raise InputError(f"{path} holds no cell {cell!r}; {meant}")
    return [(where, row) for where, row in rows if str(row.get("cell_id", "")) == cell]
