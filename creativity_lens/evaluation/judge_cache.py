"""Answers of a judge behind an endpoint, kept in one SQLite file, so that none is paid for twice.

The key of an answer is a digest of the endpoint's address, the model's name, the messages and the
settings; neither the address, nor the endpoint's key, nor the texts are written. What `put` and
`put_all` have returned from is on disk, whatever happens to the process then.
"""

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from creativity_lens.errors import DataError, InputError
from creativity_lens.generation.endpoint_answer import Answer, AnswerToken
from creativity_lens.io import sha256_json

_FORMAT = "creativity_lens judge cache 2"
_PATIENCE = 20.0
"""Seconds that a commit waits for another process that uses the same file."""
_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY,
    model TEXT NOT NULL,
    text TEXT NOT NULL,
    finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER,
    completion_tokens INTEGER,
    logprobs TEXT NOT NULL,
    refused TEXT NOT NULL,
    answered_at TEXT NOT NULL
);
"""
# Codes of SQLite that say nothing about what is in the file.
_NOT_DAMAGE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}


def answer_key(
    address: str, model: str, messages: Sequence[Mapping[str, str]], settings: Mapping[str, Any]
) -> str:
    """What an answer is found by again: a hex digest of all that it depends on.

    The same name of a model at another address may be another model.
    """
    return sha256_json(
        {
            "address": address,
            "model": model,
            "messages": [dict(one) for one in messages],
            "settings": dict(settings),
        }
    )


class JudgeCache:
    """The file; close it, or use it in a `with` block.

    Args:
        path: made if it is not there; None keeps answers in memory alone.

    Raises:
        InputError: it cannot be opened or written.
        DataError: it is damaged or something else.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self._path = None if path is None else Path(path)
        try:
            if self._path is not None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                ":memory:" if self._path is None else self._path,
                timeout=_PATIENCE,
                isolation_level=None,
            )
        except (OSError, sqlite3.Error) as error:
            raise InputError(f"cannot open the judge's cache {path}: {error}.") from error
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> "JudgeCache":
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def __len__(self) -> int:
        return int(self._run("SELECT count(*) FROM answers")[0][0])

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def get(self, key: str) -> Answer | None:
        """The answer of that key, or None."""
        rows = self._run(
            "SELECT text, finish_reason, prompt_tokens, completion_tokens, logprobs, refused "
            "FROM answers WHERE key = ?",
            (key,),
        )
        if not rows:
            return None
        text, reason, n_prompt, n_completion, logprobs, refused = rows[0]
        try:
            tokens = tuple(
                AnswerToken(token, tuple((other, float(value)) for other, value in likeliest))
                for token, likeliest in json.loads(logprobs)
            )
        except (TypeError, ValueError) as error:
            raise self._damaged(error) from error
        return Answer(text, reason, n_prompt, n_completion, tokens, tuple(refused.split()))

    def put(self, key: str, model: str, answer: Answer) -> None:
        """Keep an answer; on return it is on disk. The first answer of a key stays."""
        self.put_all({key: answer}, model)

    def put_all(self, answers: Mapping[str, Answer], model: str) -> None:
        """Keep answers by their keys, all or none; as `put`, in the time that one takes."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self._transaction():
            for key, answer in answers.items():
                self._run(
                    "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        # Half of a surrogate pair is nothing that a file takes.
                        *(key, model, answer.text.encode(errors="replace").decode()),
                        *(answer.finish_reason, answer.prompt_tokens, answer.completion_tokens),
                        *(json.dumps(answer.tokens), " ".join(answer.refused), now),
                    ),
                )

    def _prepare(self) -> None:
        self._run("PRAGMA synchronous = FULL")
        if not self._is_ours():
            with self._transaction():  # another process may make the same file now
                if not self._is_ours():
                    if self._run("SELECT 1 FROM sqlite_master"):
                        raise self._damaged("another program wrote it")
                    for statement in _TABLES.split(";"):
                        self._run(statement)
                    self._run("INSERT INTO meta VALUES ('format', ?)", (_FORMAT,))
        if self._run("SELECT value FROM meta WHERE key = 'format'") != [(_FORMAT,)]:
            raise self._damaged("another program or version wrote it")

    def _is_ours(self) -> bool:
        return bool(self._run("SELECT 1 FROM sqlite_master WHERE name = 'meta'"))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._run("BEGIN IMMEDIATE")
        try:
            yield
            self._run("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.rollback()
            raise

    def _run(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            return self._db.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NOT_DAMAGE:
                raise InputError(
                    f"cannot use the judge's cache {self._path}: {error}. Check that it can be "
                    "written, and that no other program holds it."
                ) from error
            raise self._damaged(error) from error

    def _damaged(self, reason: object) -> DataError:
        return DataError(
            f"{self._path} is damaged or is no cache of a judge ({reason}): delete it to ask "
            "again, or name another file."
        )
