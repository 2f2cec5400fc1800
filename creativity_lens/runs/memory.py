"""Running out of memory: how it looks, and what gives memory back."""

import gc
import sys

from creativity_lens.errors import CreativityLensError

__all__ = ["free_memory", "is_out_of_memory"]

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
