"""One writer in a run folder at a time.

The lock is the operating system's (`flock`, or its like on Windows), so it goes with the process
that held it, however that process ended. A lock file that is left behind locks nothing.
"""

import contextlib
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from creativity_lens.errors import DataError, InputError
from creativity_lens.io import read_json, write_json

__all__ = ["LOCK", "OWNER", "FolderLock"]

LOCK = "run.lock"
# Beside the lock and not in it: a locked file cannot be read on Windows.
OWNER = "run.owner.json"


class FolderLock:
    """The right to write in a folder, held from construction until `release`.

    Args:
        folder: an existing folder.

    Raises:
        InputError: another process holds it (its pid, host and start are named if known), or the
            folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self._owner = folder / OWNER
        # Not thread-local: a run may be closed by another thread than the one that opened it.
        self._lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
        self._signed = False
        try:
            self._lock.acquire()
        except Timeout as error:
            raise InputError(
                f"another process is working in {folder}{self._named()}: wait until it ends or "
                "stop it, or give this run another --out."
            ) from error
        except OSError as error:
            raise InputError(f"cannot write to {folder}: {error.strerror or error}.") from error

    def sign(self) -> None:
        """Write down who holds the folder, for the message that a second process gets."""
        started = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(self._owner, {"pid": os.getpid(), "host": platform.node(), "since": started})
        self._signed = True

    def release(self) -> None:
        """Give the folder back; a second call does nothing."""
        if self._signed and self._lock.is_locked:
            self._owner.unlink(missing_ok=True)
        self._lock.release()

    def __enter__(self) -> "FolderLock":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def _named(self) -> str:
        with contextlib.suppress(DataError, KeyError, TypeError):
            owner = read_json(self._owner)
            return f" (pid {owner['pid']} on {owner['host']}, since {owner['since']})"
        return ""
