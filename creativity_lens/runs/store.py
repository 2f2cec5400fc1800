"""The store of a run: one SQLite file that is whole at every instant.

A batch is written in one transaction, so `kill -9` loses at most the batch that was running.
`runs.database` says how the file is written, `runs.rows` what becomes of odd text and numbers.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from creativity_lens.errors import DataError, InputError
from creativity_lens.runs.config_record import canonical_json, describe_differences
from creativity_lens.runs.database import connect, create, transaction
from creativity_lens.runs.lock import FolderLock
from creativity_lens.runs.rows import MetricRow, Seconds, TextRow, metric_values, text_values, utf8

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["FILE", "MetricRow", "RunStore", "Seconds", "TextRow"]

FILE = "run.sqlite"


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
        cls, folder: str | Path, *, config: Mapping[str, Any], resume: bool = True
    ) -> "RunStore":
        """Open a run folder for writing; make it if it is not there.

        Use it as a context manager, or call `close`.

        Args:
            folder: the run's folder.
            config: everything that shapes the results, as plain JSON values.
            resume: go on with a run that is there; False refuses it.

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
            elif not resume:
                raise InputError(
                    f"{home} holds a run already: resume it, choose another --out, or delete the "
                    "folder to start again."
                )
            db = connect(path, readonly=False)
            _check_config(home, db, given)
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
        if self._lock is None:
            raise InputError(f"{self.folder} is open for reading: use RunStore.open to write.")
        try:
            with transaction(self._db):
                self._insert(batch_id, texts, metrics, seconds, note)
        except sqlite3.IntegrityError as error:
            raise InputError(
                f"cannot store batch {batch_id} in {self.folder}: it, or a row of it, is stored "
                f"already, or a number belongs to no text ({error})."
            ) from error
        except sqlite3.Error as error:
            raise InputError(
                f"cannot write to {self.folder / FILE} ({error}): the batches before are safe, and "
                "the same command goes on from them."
            ) from error

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


def _check_config(folder: Path, db: sqlite3.Connection, given: str) -> None:
    stored = db.execute("SELECT value FROM meta WHERE key = 'config'").fetchone()[0]
    if stored != given:
        raise InputError(
            f"{folder} holds a run of another config: {describe_differences(stored, given)}. "
            "Choose another --out, or delete the folder to start again."
        )
