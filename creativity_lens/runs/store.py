"""The store of a run: one SQLite file that is whole at every instant.

A batch is written in one transaction, so `kill -9` loses at most the batch that was running.
`runs.database` says how the file is written, `runs.rows` what becomes of odd text and numbers.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from creativity_lens.errors import DataError, InputError
from creativity_lens.io import sha256_json
from creativity_lens.runs.config_record import NO_NAMES, canonical_json, describe_differences
from creativity_lens.runs.database import connect, create, transaction
from creativity_lens.runs.lock import FolderLock
from creativity_lens.runs.rows import (
    Attempt,
    MetricRow,
    Seconds,
    TextRow,
    metric_values,
    text_values,
    utf8,
)

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["FILE", "Attempt", "MetricRow", "RunStore", "Seconds", "TextRow"]

FILE = "run.sqlite"
# Where `meta` holds the attempt: stores of before have no table for it, and need none.
_ATTEMPT = "attempt"


class RunStore:
    """The finished batches of a run. Made by `RunStore.open` or `RunStore.read`.

    Attributes:
        folder: where it lies.
        config: the configuration of the run, as plain JSON values.
        config_sha256: its digest, as `io.sha256_json` gives it.
    """

    def __init__(self, folder: Path, db: sqlite3.Connection, lock: FolderLock | None) -> None:
        self.folder = folder
        self._db = db
        self._lock = lock
        meta = dict(db.execute("SELECT key, value FROM meta"))
        self.config: dict[str, Any] = json.loads(meta["config"])
        self.config_sha256: str = meta["config_sha256"]

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        config: Mapping[str, Any],
        resume: bool = True,
        names: Mapping[str, str] = NO_NAMES,
    ) -> "RunStore":
        """Open a run folder for writing; make it if it is not there.

        Use it as a context manager, or call `close`. A run without a finished batch is no run
        yet: it takes whatever config it is given.

        Args:
            folder: the run's folder.
            config: everything that shapes the results, as plain JSON values.
            resume: go on with a run that is there; False refuses it.
            names: plain words for dotted keys of the config, for the message that it differs.

        Raises:
            InputError: another process works in the folder, it holds a run of another config or
                (without `resume`) any run, or it cannot be written to. Nothing in it is changed.
            DataError: its `run.sqlite` is damaged, of another version or of another program.
        """
        home = Path(folder)
        given = canonical_json(config)
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot write to {home}: {error.strerror or error}.") from error
        lock = FolderLock(home)
        db = None
        try:
            path = home / FILE
            if not path.exists():
                create(path, given)
            db = connect(path, readonly=False)
            if not resume and _has_batches(db):
                raise InputError(
                    f"{home} holds a run already: resume it, choose another --out, or delete the "
                    "folder to start again."
                )
            _settle_config(home, db, given, names)
            store = cls(home, db, lock)
            lock.sign()
        except BaseException:
            if db is not None:
                db.close()
            lock.release()
            raise
        return store

    @classmethod
    def read(cls, folder: str | Path) -> "RunStore":
        """Open a run folder for reading only, also while another process writes in it.

        Raises:
            DataError: there is no run in it, or it is damaged.
        """
        path = Path(folder) / FILE
        if not path.exists():
            raise DataError(f"{folder} holds no run: {FILE} is missing.")
        return cls(Path(folder), connect(path, readonly=True), None)

    def close(self) -> None:
        """Give the folder back. A batch that is not committed is gone."""
        self._db.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> "RunStore":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def commit_batch(
        self,
        batch_id: str,
        texts: Sequence[TextRow],
        metrics: Sequence[MetricRow],
        seconds: Seconds,
        *,
        note: str = "",
    ) -> None:
        """Write all of a batch, or nothing of it.

        Raises:
            InputError: the batch, one of its texts or one of its numbers is stored already, a
                number belongs to no text, the store is open for reading only, or the disk is full.
        """
        try:
            with self._writing():
                self._insert(batch_id, texts, metrics, seconds, note)
                self._forget_attempt()
        except sqlite3.IntegrityError as error:
            raise InputError(
                f"cannot store batch {batch_id} in {self.folder}: it, or a row of it, is stored "
                f"already, or a number belongs to no text ({error})."
            ) from error

    def begin_attempt(self, attempt: Attempt) -> None:
        """Note what is about to be tried, in place of what was noted before.

        The note goes when the batch is committed or `end_attempt` is called, so one that is found
        in a store that nobody works on is of a process that was killed.

        Raises:
            InputError: as `commit_batch`.
        """
        with self._writing():
            self._db.execute(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)",
                (_ATTEMPT, json.dumps(attempt._asdict())),
            )

    def end_attempt(self) -> None:
        """Take the note back: the work ended in order, though not with a batch.

        Raises:
            InputError: as `commit_batch`.
        """
        with self._writing():
            self._forget_attempt()

    def attempt(self) -> Attempt | None:
        """What was being tried when the process ended, if nothing took the note back."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (_ATTEMPT,)).fetchone()
        return None if row is None else Attempt(**json.loads(row[0]))

    def done(self) -> set[str]:
        """Ids of the batches that are stored."""
        return {row[0] for row in self._db.execute("SELECT batch_id FROM batches")}

    @property
    def notes(self) -> tuple[tuple[str, str], ...]:
        """(batch id, note) of each batch that has a note, in the order they were done."""
        rows = self._db.execute(
            "SELECT batch_id, note FROM batches WHERE note <> '' ORDER BY rowid"
        )
        return tuple((str(batch_id), str(note)) for batch_id, note in rows)

    def seconds(self) -> Seconds:
        """Seconds spent on all stored batches, in all sessions."""
        row = self._db.execute(
            "SELECT total(seconds_generate), total(seconds_measure) FROM batches"
        ).fetchone()
        return Seconds(float(row[0]), float(row[1]))

    def n_tokens(self) -> int:
        """Tokens generated in all stored batches."""
        row = self._db.execute("SELECT ifnull(sum(n_tokens), 0) FROM batches").fetchone()
        return int(row[0])

    def texts(self) -> "DataFrame":
        """All texts, sorted by cell_id, prompt_id, seed; `response_ids` are tuples."""
        table = self._table(
            "SELECT cell_id, prompt_id, seed, text, finish_reason, response_ids FROM texts "
            "ORDER BY cell_id, prompt_id, seed",
            {"seed": "int64"},
        )
        table["response_ids"] = [tuple(json.loads(row)) for row in table["response_ids"]]
        return table

    def metrics(self) -> "DataFrame":
        """All numbers, long, sorted by cell_id, prompt_id, seed, metric, read_layer (NA first)."""
        return self._table(
            "SELECT cell_id, prompt_id, seed, metric, read_layer, value FROM metrics "
            "ORDER BY cell_id, prompt_id, seed, metric, read_layer",
            {"seed": "Int64", "read_layer": "Int64", "value": "float64"},
        )

    def _table(self, query: str, dtypes: Mapping[str, str]) -> "DataFrame":
        import pandas as pd

        cursor = self._db.execute(query)
        columns = [entry[0] for entry in cursor.description]
        table = pd.DataFrame(cursor.fetchall(), columns=columns, dtype=object)
        return table.astype({name: dtypes.get(name, str) for name in columns})

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """A transaction; what goes wrong is an `InputError`, but for an IntegrityError."""
        if self._lock is None:
            raise InputError(f"{self.folder} is open for reading: use RunStore.open to write.")
        with _explained(self.folder), transaction(self._db):
            yield

    def _forget_attempt(self) -> None:
        self._db.execute("DELETE FROM meta WHERE key = ?", (_ATTEMPT,))

    def _insert(
        self,
        batch_id: str,
        texts: Sequence[TextRow],
        metrics: Sequence[MetricRow],
        seconds: Seconds,
        note: str,
    ) -> None:
        n_tokens = sum(len(row.response_ids) for row in texts)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._db.execute(
            "INSERT INTO batches VALUES (?, ?, ?, ?, ?, ?)",
            (batch_id, float(seconds.generate), float(seconds.measure), n_tokens, utf8(note), now),
        )
        self._db.executemany("INSERT INTO texts VALUES (?, ?, ?, ?, ?, ?)", map(text_values, texts))
        self._db.executemany(
            "INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", map(metric_values, metrics)
        )


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.Error as error:
        raise InputError(
            f"cannot write to {folder / FILE} ({error}): the batches before are safe, and the same "
            "command goes on from them."
        ) from error


def _has_batches(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM batches LIMIT 1").fetchone() is not None


def _settle_config(
    folder: Path, db: sqlite3.Connection, given: str, names: Mapping[str, str]
) -> None:
    """Make sure that the store is of this config."""
    stored = db.execute("SELECT value FROM meta WHERE key = 'config'").fetchone()[0]
    if stored == given:
        return
    if _has_batches(db):
        raise InputError(
            f"{folder} holds a run of another config: "
            f"{describe_differences(stored, given, names)}. Choose another --out, undo the change, "
            "or delete the folder to start again."
        )
    # A first start that failed, on settings that are mended since.
    meta = {"config": given, "config_sha256": sha256_json(json.loads(given))}
    with _explained(folder), transaction(db):
        db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta.items())
        db.execute("DELETE FROM meta WHERE key = ?", (_ATTEMPT,))
