"""The SQLite file of a run: its tables, how it is made and how it is opened.

The journal is SQLite's rollback journal with `synchronous = EXTRA`, not the write-ahead log: a
commit comes every few seconds, so speed is no reason; a write-ahead log must not lie on a network
file system, and it keeps finished batches in a second file that is easily left behind when a folder
is copied. EXTRA makes a committed batch survive a loss of power too, at the price of one more sync.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from creativity_lens.errors import DataError, InputError
from creativity_lens.io import atomic_path, sha256_json

__all__ = ["SCHEMA_VERSION", "connect", "create", "transaction"]

SCHEMA_VERSION = 1
_FORMAT = "creativity_lens run"
# How long a commit waits for somebody who is just reading the tables.
_PATIENCE = 20.0

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE batches (
    batch_id TEXT PRIMARY KEY,
    seconds_generate REAL NOT NULL,
    seconds_measure REAL NOT NULL,
    n_tokens INTEGER NOT NULL,
    note TEXT NOT NULL,
    done_at TEXT NOT NULL
);
CREATE TABLE texts (
    cell_id TEXT NOT NULL,
    prompt_id TEXT NOT NULL,
    seed INTEGER NOT NULL,
    text TEXT NOT NULL,
    finish_reason TEXT NOT NULL,
    response_ids TEXT NOT NULL,
    PRIMARY KEY (cell_id, prompt_id, seed)
);
CREATE TABLE metrics (
    cell_id TEXT NOT NULL,
    prompt_id TEXT NOT NULL,
    seed INTEGER NOT NULL,
    metric TEXT NOT NULL,
    read_layer INTEGER,
    value REAL,
    FOREIGN KEY (cell_id, prompt_id, seed) REFERENCES texts
);
-- A primary key would take any number of rows without a layer: NULLs are never equal.
CREATE UNIQUE INDEX metrics_key
    ON metrics (cell_id, prompt_id, seed, metric, ifnull(read_layer, -1));
"""


# Error codes of SQLite that say nothing about what is in the file.
_NOT_DAMAGE = {
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}


def create(path: Path, config: str) -> None:
    """Make an empty store beside `path` and rename it, so that no half of one is ever there.

    Args:
        path: where it will be.
        config: canonical JSON of the run's configuration.

    Raises:
        InputError: it cannot be written.
    """
    # Left by a process that was killed right here, and by somebody who deleted the file alone: a
    # journal that is found beside a new file would be rolled back into it.
    for left in (*path.parent.glob(f".{path.name}.*"), path.with_name(f"{path.name}-journal")):
        left.unlink(missing_ok=True)
    meta = {
        "format": _FORMAT,
        "schema_version": str(SCHEMA_VERSION),
        "config": config,
        "config_sha256": sha256_json(json.loads(config)),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    try:
        with atomic_path(path) as temporary, contextlib.closing(sqlite3.connect(temporary)) as db:
            db.execute("PRAGMA journal_mode = MEMORY")  # no second file to clean up
            db.executescript(f"BEGIN; {_TABLES}")
            db.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
            db.commit()
    except sqlite3.Error as error:
        raise InputError(f"cannot write {path}: {error}.") from error


def connect(path: Path, *, readonly: bool) -> sqlite3.Connection:
    """Connect to a store that is there, and check that it is one.

    Raises:
        InputError: it cannot be opened now.
        DataError: it is damaged, of another version or of another program.
    """
    # mode=rw makes no file. It is also for readers: only a writer may roll back the journal that a
    # killed process left. Where nothing can be written, SQLite opens for reading by itself.
    address = f"{path.resolve().as_uri()}?mode=rw"
    with contextlib.ExitStack() as on_error:
        try:
            db = sqlite3.connect(address, uri=True, timeout=_PATIENCE, isolation_level=None)
            on_error.callback(db.close)
            db.execute("PRAGMA synchronous = EXTRA")
            db.execute("PRAGMA foreign_keys = ON")
            if readonly:
                db.execute("PRAGMA query_only = ON")
            _check(path, db)
        except sqlite3.Error as error:
            # The low byte is the code; the others say more about it.
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NOT_DAMAGE:
                raise InputError(
                    f"cannot open {path} ({error}): check that the file can be read and written, "
                    "and that no other program holds it."
                ) from error
            raise DataError(
                f"{path} is damaged or is no store of a run ({error}): put a copy back, delete the "
                "folder to start again, or choose another --out."
            ) from error
        on_error.pop_all()
    return db


def _check(path: Path, db: sqlite3.Connection) -> None:
    found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(found)
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
        raise sqlite3.DatabaseError("it has no table 'meta'")
    meta = dict(db.execute("SELECT key, value FROM meta"))
    if meta.get("format") != _FORMAT:
        raise sqlite3.DatabaseError("another program wrote it")
    if meta["schema_version"] != str(SCHEMA_VERSION):
        raise DataError(
            f"{path} has schema version {meta['schema_version']}, and this version of "
            f"creativity_lens reads {SCHEMA_VERSION}: use the version that wrote it, or another "
            "--out."
        )


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All that the block writes, or nothing of it."""
    try:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("COMMIT")
    finally:
        # Also after Ctrl-C; SQLite itself has rolled back after some errors.
        if db.in_transaction:
            db.execute("ROLLBACK")
