"""Answers of a judge behind an endpoint, kept in one SQLite file, so that none is paid for twice.

The key of an answer is a digest of the model's name, the messages and the settings; neither the
endpoint's address, nor its key, nor the texts are written. Each answer is committed as it comes: a
run that is killed at any instant loses only those that were on their way.
"""

import json
import os
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from creativity_lens.errors import DataError, InputError
from creativity_lens.generation.endpoint import Answer, AnswerToken
from creativity_lens.io import sha256_json

_FORMAT = "creativity_lens judge cache 1"
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
    model: str, messages: Sequence[Mapping[str, str]], settings: Mapping[str, Any]
) -> str:
    """What an answer is found by again: a hex digest of all that it depends on."""
    return sha256_json(
        {"model": model, "messages": [dict(one) for one in messages], "settings": dict(settings)}
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
            "SELECT text, finish_reason, prompt_tokens, completion_tokens, logprobs FROM answers "
            "WHERE key = ?",
            (key,),
        )
        if not rows:
            return None
        text, reason, n_prompt, n_completion, logprobs = rows[0]
        try:
            tokens = tuple(
                AnswerToken(token, tuple((other, float(value)) for other, value in likeliest))
                for token, likeliest in json.loads(logprobs)
            )
        except (TypeError, ValueError) as error:
            raise self._damaged(error) from error
        return Answer(text, reason, n_prompt, n_completion, tokens)

    def put(self, key: str, model: str, answer: Answer) -> None:
        """Keep an answer; on return it is on disk. The first answer of a key stays."""
        # Half of a surrogate pair is nothing that a file takes.
        text = answer.text.encode(errors="replace").decode()
        logprobs = json.dumps(answer.tokens)
        self._run(
            "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(key, model, text, answer.finish_reason),
                *(answer.prompt_tokens, answer.completion_tokens, logprobs),
                datetime.now(UTC).isoformat(timespec="seconds"),
            ),
        )

    def _prepare(self) -> None:
        self._run("PRAGMA synchronous = FULL")
        if not self._run("SELECT 1 FROM sqlite_master WHERE name = 'meta'"):
            if self._run("SELECT 1 FROM sqlite_master"):
                raise self._damaged("another program wrote it")
            self._run("BEGIN IMMEDIATE")
            for statement in _TABLES.split(";"):
                self._run(statement)
            self._run("INSERT OR IGNORE INTO meta VALUES ('format', ?)", (_FORMAT,))
            self._run("COMMIT")
        if self._run("SELECT value FROM meta WHERE key = 'format'") != [(_FORMAT,)]:
            raise self._damaged("another program or version wrote it")

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
