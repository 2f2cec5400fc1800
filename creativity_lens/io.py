"""Files: written whole or not at all, read with errors that name the line.

Nothing here knows about models or directions.
"""

import contextlib
import csv
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from creativity_lens.errors import DataError, InputError

if TYPE_CHECKING:
    from pandas import DataFrame


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it onto `path` when the block succeeds.

    If the block raises, the temporary file is removed and `path` is left as it was.

    Raises:
        InputError: the folder cannot be written to.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(
            prefix=f".{target.name}.", suffix=".part", dir=target.parent
        )
        os.close(descriptor)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}") from error
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files private; give the result the permissions any new file gets.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON with sorted keys, atomically; null for NaN and infinity."""
    plain = finite_json(value)
    write_text(path, json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def finite_json(value: Any) -> Any:
    """`value` with None for NaN and infinity: Python writes them, but JSON does not know them."""
    if isinstance(value, Mapping):
        return {key: finite_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_jsonl(path: str | os.PathLike[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line, atomically."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def write_csv(
    path: str | os.PathLike[str], columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Write a CSV table with a header row, atomically."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def write_table(path: str | os.PathLike[str], table: "DataFrame") -> None:
    """Write a table twice, as Parquet and as CSV, each atomically.

    Args:
        path: without suffix; `.parquet` and `.csv` are added.
        table: a tidy pandas table; its index is not written.
    """
    stem = Path(path)
    with atomic_path(stem.with_name(f"{stem.name}.parquet")) as temporary:
        table.to_parquet(temporary, index=False)
    with atomic_path(stem.with_name(f"{stem.name}.csv")) as temporary:
        table.to_csv(temporary, index=False, encoding="utf-8")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises:
        DataError: the file is missing or is not JSON.
    """
    try:
        return json.loads(_read(Path(path)))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno}: not valid JSON ({error.msg}).") from error
    except (ValueError, RecursionError) as error:  # thousands of digits or of open brackets
        raise DataError(f"{path}: not valid JSON ({error}).") from error


def read_jsonl(
    path: str | os.PathLike[str], *, required: Sequence[str] = ()
) -> list[tuple[int, dict[str, Any]]]:
    """Read one JSON object a line; blank lines are skipped.

    Args:
        path: the file.
        required: fields that each object must have, as strings that are not blank.

    Returns:
        Pairs of (line number from 1, object).

    Raises:
        DataError: missing or empty file, malformed JSON, a missing or blank field; the message
            names the line.
    """
    rows: list[tuple[int, dict[str, Any]]] = []
    # Only "\n" ends a line: str.splitlines would also cut at U+2028 inside a JSON string.
    for number, line in enumerate(_read(Path(path)).split("\n"), start=1):
        if not line.strip():
            continue
        row = _parse_line(line, f"{path}, line {number}")
        if not isinstance(row, dict):
            raise DataError(
                f"{path}, line {number}: expected a JSON object, got {type(row).__name__}."
            )
        for field in required:
            value = row.get(field)
            if field not in row:
                raise DataError(
                    f"{path}, line {number}: the field {field!r} is missing "
                    f"(required: {', '.join(required)})."
                )
            if not isinstance(value, str) or not value.strip():
                raise DataError(
                    f"{path}, line {number}: the field {field!r} must be a string that is not "
                    f"blank, got {value!r}."
                )
        rows.append((number, row))
    if not rows:
        raise DataError(f"{path} is empty: it holds no JSON object.")
    return rows


def _parse_line(line: str, where: str) -> Any:
    try:
        value = json.loads(line)
        if "\\ud" in line.lower():
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where}: not valid JSON ({error.msg} at column {error.colno})."
        ) from error
    except UnicodeEncodeError as error:  # no tokenizer takes it, and no file
        raise DataError(f"{where}: a string holds half of a surrogate pair.") from error
    except (ValueError, RecursionError) as error:  # thousands of digits or of open brackets
        raise DataError(f"{where}: not valid JSON ({error}).") from error
    return value


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path} as UTF-8 text: {error}.") from error


def check_writable(path: str | os.PathLike[str], *, folder: bool) -> Path:
    """Fail now, not after minutes of work, if `path` cannot be written.

    Creates the folder (or the parent folder of a file) and tries a temporary file in it; a folder
    that had to be created is removed again, so that a run that fails leaves nothing behind.

    Raises:
        InputError: naming the path and the reason.
    """
    target = Path(path)
    home = target if folder else target.parent
    created = [p for p in (home, *home.parents) if not p.exists()]
    try:
        if not folder and target.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=home):
            pass
    except OSError as error:
        raise InputError(f"cannot write to {target}: {error.strerror or error}.") from error
    finally:
        for made in created:
            with contextlib.suppress(OSError):
                made.rmdir()
    return target


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Hex SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Hex SHA-256 of a JSON value in canonical form (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
