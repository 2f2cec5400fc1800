"""Running out of memory: how it looks, what gives memory back, and going on in smaller parts."""

import gc
import logging
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Generic, TypeVar

from creativity_lens.errors import CreativityLensError, InputError, ModelError
from creativity_lens.runs.plan import Batch, Item
from creativity_lens.runs.rows import Attempt

__all__ = [
    "LOGITS_BYTES",
    "OUT_OF_MEMORY",
    "Halving",
    "free_memory",
    "is_out_of_memory",
    "rows_of_logits",
]

_log = logging.getLogger(__name__)

Result = TypeVar("Result")

LOGITS_BYTES = 4 * 2**30
"""Most memory for the logits that are kept while texts are made and measured: 4 GiB."""
OUT_OF_MEMORY = "because memory ran out"
"""How the store's note ends of a batch that was halved for that reason."""
_KILLED = "because a session was killed"

# What torch says, in lower case: the allocators of the CPU (Linux, Windows), CUDA, XPU and MPS
# ("CUDA out of memory. Tried to …", "CUDA error: out of memory"), and the libraries under them.
_MESSAGES = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "out of memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out.

    True for `MemoryError`, `torch.OutOfMemoryError` and a `RuntimeError` with one of the messages
    that torch has for it (its CPU allocator raises a plain `RuntimeError`).
    """
    if isinstance(error, CreativityLensError):  # raised on purpose, with a remedy of its own
        return False
    # Without torch there is no error of torch's; importing it here would only take seconds.
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    if isinstance(error, RuntimeError):
        message = str(error).lower()
        return any(known in message for known in _MESSAGES)
    return isinstance(error, MemoryError)


def free_memory() -> None:
    """Collect garbage and give cached device memory back."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is None:
        return
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def rows_of_logits(max_new_tokens: int, d_vocab: int) -> int:
    """How many rows' logits, float32 over all new tokens, take `LOGITS_BYTES`; at least 1.

    On a machine that overcommits its memory, an allocation too large is no exception: the system
    kills the process. So these are bounded beforehand.
    """
    return max(1, LOGITS_BYTES // (4 * max_new_tokens * d_vocab))


class Halving(Generic[Result]):
    """Does the work on batches, in parts when the whole does not fit into memory.

    Args:
        work: done on all items of a batch, or on some.
        max_rows: most items that it is given.
        on_attempt: called before each call of it.
        on_note: called with one sentence about what is out of the ordinary; None logs a warning.

    Attributes:
        note: the last of these sentences, or empty.
        halved: why the last batch was halved (`because …`), or empty if it was not.

    Raises:
        InputError: max_rows below 1.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Result],
        *,
        max_rows: int | None,
        on_attempt: Callable[[Attempt], None],
        on_note: Callable[[str], None] | None,
    ) -> None:
        if max_rows is not None and max_rows < 1:
            raise InputError(f"max_rows must be at least 1, got {max_rows}.")
        self.note = ""
        self.halved = ""
        self._work = work
        self._max_rows = max_rows
        self._on_attempt = on_attempt
        self._on_note = on_note
        self._fits = 0
        self._too_big: int | None = None
        self._killed: Attempt | None = None
        self._reason = OUT_OF_MEMORY

    def resume(self, killed: Attempt) -> None:
        """Be careful, after a session that was killed while it tried this.

        The batch that it tried is halved. So are all that are as large, unless a batch so large
        went through before: then it was hardly memory that it died of, and who is killed often
        must not come down to single texts.
        """
        self._fits, self._too_big = killed.fits, killed.too_big
        self._reason = _KILLED
        if killed.rows == 1:
            self._say(
                "the last session was killed in the middle of a single text: if that was for want "
                "of memory, generate fewer tokens, take a smaller model, or free memory."
            )
            return
        self._killed = killed
        if killed.size > killed.fits:
            self._too_big = killed.size
        self._say(
            f"the last session was killed in the middle of a batch, with {killed.rows} texts at a "
            "time, perhaps for want of memory: going on with half as many."
        )

    def run(self, batch: Batch) -> list[Result]:
        """Do the work on all items of a batch.

        Raises:
            ModelError: a single item does not fit into memory.
        """
        self.halved = ""
        limit = None
        if self._killed is not None and self._killed.batch_id == batch.id:
            limit = self._killed.size
        n_parts = -(-len(batch.items) // (self._max_rows or len(batch.items)))
        ends = [k * len(batch.items) // n_parts for k in range(n_parts + 1)]
        return [
            result
            for start, end in pairwise(ends)
            for result in self._run(batch.id, batch.items[start:end], limit)
        ]

    def _run(self, batch_id: str, items: Sequence[Item], limit: int | None) -> list[Result]:
        """Do the work on items, in parts that are smaller than the limit and what is too big."""
        size = len(items) * max(item.n_tokens for item in items)
        limits = [known for known in (limit, self._too_big) if known is not None]
        if len(items) == 1 or not limits or size < min(limits):
            self._on_attempt(Attempt(batch_id, len(items), size, self._fits, self._too_big))
            try:
                result = self._work(items)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                reason = (str(error).splitlines() or [""])[0][:200] or type(error).__name__
            else:
                self._fits = max(self._fits, size)
                return [result]
            # Outside of `except`: the traceback, now gone, held all that the attempt had made.
            free_memory()
            if len(items) == 1:
                raise ModelError(
                    f"the text {items[0].key} of at most {items[0].n_tokens} tokens does not fit "
                    f"into memory even alone ({reason}): generate fewer tokens, take a smaller "
                    "model, or free memory. The batches before are safe, and the same command "
                    "goes on from them."
                )
            self._too_big, self._reason = size, OUT_OF_MEMORY
            self._say(
                f"out of memory with {len(items)} texts of at most {size // len(items)} tokens "
                f"({reason}): going on with half as many at a time."
            )
        self.halved = self._reason
        middle = (len(items) + 1) // 2
        return [
            *self._run(batch_id, items[:middle], limit),
            *self._run(batch_id, items[middle:], limit),
        ]

    def _say(self, note: str) -> None:
        self.note = note
        if self._on_note is not None:
            self._on_note(note)
        else:
            _log.warning("%s", note)
