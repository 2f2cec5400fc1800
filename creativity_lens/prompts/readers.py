"""Premises from elsewhere, as pairs: WritingPrompts, CSV and JSONL.

Outside data holds one prompt for each story, so the pairs made of it have the bare premise on both
sides. The instruction contrast needs no more; for the premise contrast, `negate_premises` writes
the other side.
"""

import csv
import html
import itertools
import logging
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from creativity_lens.errors import DataError, InputError, MissingDependencyError
from creativity_lens.io import read_jsonl
from creativity_lens.prompts.pairs import ContrastPair

WRITING_PROMPTS_HUB = "euclaise/writingprompts"
_SUFFIX = ".wp_source"
_DELIMITERS = {"csv": ",", "tsv": "\t"}


def bare_pair(id: str, premise: str, *, domain: str, source: str) -> ContrastPair:
    """A pair of a premise alone."""
    return ContrastPair(id, domain, premise, premise, premise, source)


def read_premises(
    path: str | os.PathLike[str],
    *,
    premise: str = "prompt",
    id: str | None = None,
    domain: str = "stories",
    kind: str | None = None,
    limit: int | None = None,
) -> list[ContrastPair]:
    """Read premises from a column of a CSV, TSV or JSONL file.

    A premise that occurs again is skipped.

    Args:
        path: the file.
        premise: name of the column that holds the premises.
        id: name of the column that holds their ids; None numbers the rows: `name-1`, `name-2`, …
        domain: of all of them.
        kind: `csv`, `tsv` or `jsonl`; None takes the ending of the file's name.
        limit: stop after so many pairs.

    Raises:
        DataError: missing or empty file, an unknown column (names those that there are), a blank
            premise, an id used twice; the message names the line.
        InputError: another kind of file, or a limit below 1.
    """
    source = Path(path)
    known = kind or source.suffix.lower().removeprefix(".")
    if known not in _DELIMITERS and known != "jsonl":
        raise InputError(
            f"cannot tell what kind of file {source} is: say csv, tsv or jsonl, or give it a name "
            "that ends in one of them."
        )
    rows = _read_table(source, _DELIMITERS[known]) if known in _DELIMITERS else read_jsonl(source)
    seen: dict[str, int] = {}

    def named() -> Iterator[tuple[str, str]]:
        for position, (number, row) in enumerate(rows, start=1):
            where = f"{source}, line {number}"
            name = f"{source.stem}-{position}" if id is None else _cell(row, id, where)
            if name in seen:
                raise DataError(f"{where}: the id {name!r} was used in line {seen[name]}.")
            seen[name] = number
            yield name, _cell(row, premise, where)

    return _pairs(named(), domain=domain, source=source.name, limit=limit)


def read_writing_prompts(
    path: str | os.PathLike[str], *, limit: int | None = None
) -> list[ContrastPair]:
    """Read prompts from a copy of WritingPrompts (Fan et al. 2018, arXiv 1805.04833).

    The public files hold one prompt a line, with a tag such as `[ WP ]` in front and spaces between
    all tokens (`ca n't`, `` `` so '' ``, `<newline>`); `clean_writing_prompt` undoes both. Many
    stories answer one prompt, so prompts that occur again are skipped.

    Args:
        path: `train.wp_source`, `valid.wp_source` or `test.wp_source`, or the folder they are in
            (read in that order).
        limit: stop after so many pairs.

    Returns:
        Pairs of bare premises with ids such as `writingprompts-train-17`, by line.

    Raises:
        DataError: no such file, no such files in the folder, not UTF-8, or no prompt in them.
        InputError: a limit below 1.
    """
    home = Path(path)
    files = [home]
    if home.is_dir():
        parts = [home / f"{part}{_SUFFIX}" for part in ("train", "valid", "test")]
        files = [file for file in parts if file.is_file()]
        if not files:
            raise DataError(
                f"the folder {home} holds none of {', '.join(file.name for file in parts)}: give "
                "the folder that the WritingPrompts archive was unpacked to."
            )

    def named() -> Iterator[tuple[str, str]]:
        for file in files:
            part = file.name.removesuffix(_SUFFIX)
            for number, line in _lines(file):
                yield f"writingprompts-{part}-{number}", clean_writing_prompt(line)

    return _pairs(named(), domain="stories", source="WritingPrompts", limit=limit)


def load_writing_prompts(
    name: str = WRITING_PROMPTS_HUB,
    *,
    split: str = "train",
    premise: str = "prompt",
    limit: int | None = None,
) -> list[ContrastPair]:
    """Read WritingPrompts through the `datasets` library, streamed from the Hugging Face Hub.

    Args:
        name: data set on the hub, or a local folder that `datasets` can read.
        split: `train`, `validation` or `test`.
        premise: name of the column that holds the prompts.
        limit: stop after so many pairs.

    Raises:
        MissingDependencyError: `datasets` is not installed.
        DataError: the hub cannot be reached, or has no such data set, split or column.
        InputError: a limit below 1.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingDependencyError(
            "reading from the Hugging Face Hub needs the datasets library: run `pip install "
            "'creativity-lens[data]'`, or read a local copy of the WritingPrompts files."
        ) from error

    def named() -> Iterator[tuple[str, str]]:
        # Streamed: a few hundred prompts need not cost a download of all the stories.
        rows = datasets.load_dataset(name, split=split, streaming=True)
        for number, row in enumerate(rows, start=1):
            text = _cell(row, premise, f"{name}, {split}, row {number}", blank=True)
            yield f"writingprompts-{split}-{number}", clean_writing_prompt(text)

    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    hub.setLevel(logging.ERROR)  # it would log every retry; the error below says it once
    try:
        return _pairs(named(), domain="stories", source="WritingPrompts", limit=limit)
    except InputError:
        raise
    except Exception as error:  # datasets, the hub and the network each raise kinds of their own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise DataError(
            f"cannot read the data set {name!r}, split {split!r}, from the Hugging Face Hub "
            f"({type(error).__name__}: {reason}). Check the network and the name, or read a local "
            "copy of the WritingPrompts files."
        ) from error
    finally:
        hub.setLevel(level)


_TAGS = re.compile(r"^(?:\s*\[\s*[A-Za-z]{2,3}\s*\])+\s*:?")
_SPACED = (
    (re.compile(r"(?:\s*<newline>)+\s*", re.IGNORECASE), " "),
    (re.compile(r"``|''"), '"'),
    # Tokens that a tokenizer cut off the word before them.
    (re.compile(r"(?<=\w) (?=n['\u2019]t\b|['\u2019](?:s|m|d|re|ve|ll)\b)", re.IGNORECASE), ""),
    (re.compile(r"\b(can) (not)\b|\b(gon|wan) (na)\b|\b(got) (ta)\b", re.IGNORECASE), None),
    (re.compile(r" +(?=[,.;:?!%)\]}])"), ""),
    (re.compile(r"(?<=[(\[{$#]) +"), ""),
    # Marks that stand alone: what is between two of them moves up to both.
    (re.compile(r'(?<!\S)" +([^"]*?) *"(?!\w)'), r'"\1"'),
    (re.compile(r"(?<=s) '(?= )"), "'"),
)
_UNSEEN = re.compile(r"[\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff\ufffd\x00-\x1f\x7f-\x9f]")


def clean_writing_prompt(line: str) -> str:
    r"""A WritingPrompts line as a person would write it: no tag, words and marks joined again.

    Case, spelling and wording are the author's. Returns an empty text for a line without one.

    Example:
        >>> clean_writing_prompt("[ WP ] You ca n't sleep . `` Who 's there ? '' <newline> Silence")
        'You can\'t sleep. "Who\'s there?" Silence'
    """
    text = _TAGS.sub("", html.unescape(line))
    text = " ".join(_UNSEEN.sub(" ", unicodedata.normalize("NFC", text)).split())
    for pattern, replacement in _SPACED:
        if replacement is None:
            text = pattern.sub(lambda match: match.group().replace(" ", ""), text)
        else:
            text = pattern.sub(replacement, text)
    return text.strip()


def _pairs(
    named: Iterable[tuple[str, str]], *, domain: str, source: str, limit: int | None
) -> list[ContrastPair]:
    """The first `limit` premises that are neither blank nor a repetition."""
    if limit is not None and limit < 1:
        raise InputError(f"the limit must be at least 1, got {limit}.")

    def fresh() -> Iterator[ContrastPair]:
        seen: set[str] = set()
        for name, premise in named:
            pair = bare_pair(name, premise, domain=domain, source=source)
            if premise and pair.premise_id not in seen:
                seen.add(pair.premise_id)
                yield pair

    found = list(itertools.islice(fresh(), limit))
    if not found:
        raise DataError(f"{source} holds no premise.")
    return found


def _cell(row: Mapping[str, Any], column: str, where: str, *, blank: bool = False) -> str:
    if column not in row:
        raise DataError(f"{where}: there is no column {column!r}; there are: {', '.join(row)}.")
    value = row[column]
    if not isinstance(value, str) or not (blank or value.strip()):
        raise DataError(
            f"{where}: the column {column!r} must hold a text that is not blank, got {value!r}."
        )
    return value.strip()


def _read_table(path: Path, delimiter: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a table with a header, each with the number of its last line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter=delimiter, restkey="(beyond the header)")
            if not reader.fieldnames:
                raise DataError(f"{path} is empty: it holds no header.")
            for row in reader:
                yield reader.line_num, row
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {path} as a UTF-8 table: {error}.") from error


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            yield from enumerate(file, start=1)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path} as UTF-8 text: {error}.") from error
