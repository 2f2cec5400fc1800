"""Left-padded batches of token ids, with a mask built from lengths."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from creativity_lens.errors import InputError

TokenIds = Sequence[int]


class Batch(NamedTuple):
    """Rows of different lengths, padded on the left."""

    ids: Int[Tensor, "row pos"]
    mask: Int[Tensor, "row pos"]
    """1 for real tokens, 0 for padding; from the lengths, never from `ids != pad`."""


def left_pad(
    rows: Sequence[TokenIds], *, pad_id: int = 0, device: torch.device | str = "cpu"
) -> Batch:
    """Pad `rows` on the left to a common length.

    The pad id never matters to the result, since the mask hides it; it need only be a valid id.

    Raises:
        InputError: no rows, or a row without tokens.
    """
    if not rows or any(len(row) == 0 for row in rows):
        raise InputError("cannot make a batch: every row needs at least one token id.")
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, width - len(row) :] = torch.as_tensor(list(row), dtype=torch.long)
        mask[i, width - len(row) :] = 1
    return Batch(ids.to(device), mask.to(device))


def check_batch_size(batch_size: int) -> None:
    """Raise InputError unless a batch may hold a row."""
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}.")


def by_length(lengths: Sequence[int], *, batch_size: int, max_tokens: int) -> list[list[int]]:
    """Group row numbers into batches of similar length, to waste little on padding.

    Args:
        lengths: the length of each row in tokens.
        batch_size: most rows in a batch.
        max_tokens: most tokens in a batch, padding included (a longer row stands alone).

    Returns:
        Lists of row numbers; each row is in exactly one. Stable for equal lengths.

    Raises:
        InputError: `batch_size` is less than 1.
    """
    check_batch_size(batch_size)
    batches: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        # Rows come in rising length, so the newest row sets the width of its batch.
        if (
            batches
            and len(batches[-1]) < batch_size
            and (len(batches[-1]) + 1) * lengths[i] <= max_tokens
        ):
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches
