"""What a store will hold, known before it is read, and writing it block by block.

A block is a shard's worth of texts. It is checked, converted and written before the next one is
made, so memory is bounded by one block.
"""

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from creativity_lens.activations.handle import ActivationStore, Kind, StoreDtype
from creativity_lens.activations.shards import store_writer
from creativity_lens.errors import InputError
from creativity_lens.io import sha256_json

SHARD_BYTES = 2**28
"""A shard is cut before it holds more than this, unless one text alone does."""
_TORCH_DTYPES = {"float32": torch.float32, "float16": torch.float16}


class Block(NamedTuple):
    """One shard's worth of texts, before it is converted to the dtype of the store."""

    texts: slice
    layers: list[Tensor]
    """One `[row, d_model]` for each layer."""
    nll: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Layout:
    """What a store will hold, known before anything is read.

    Raises:
        InputError: an unknown kind or dtype, no texts, or a text or layer that is there twice.
    """

    ids: tuple[str, ...]
    n_tokens: tuple[int, ...]
    layers: tuple[int, ...]
    d_model: int
    kind: Kind
    dtype: StoreDtype

    def __post_init__(self) -> None:
        check_format(self.kind, self.dtype)
        if not self.ids:
            raise InputError("cannot write an activation store: there are no texts.")
        for what, values in (("text id", self.ids), ("layer", self.layers)):
            value, n = Counter(values).most_common(1)[0]
            if n > 1:
                raise InputError(
                    f"cannot write an activation store: the {what} {value!r} is used {n} times; "
                    "each must be there once."
                )

    @property
    def n_rows(self) -> tuple[int, ...]:
        """Rows of each text."""
        return self.n_tokens if self.kind == "token" else (1,) * len(self.ids)

    @property
    def n_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(self.n_rows) * self._row_bytes

    @property
    def _row_bytes(self) -> int:
        return len(self.layers) * self.d_model * itemsize(self.dtype)

    def shards(self, shard_texts: int) -> Iterator[slice]:
        """Runs of texts that make up a shard each.

        Raises:
            InputError: `shard_texts` is less than 1.
        """
        if shard_texts < 1:
            raise InputError(f"shard_texts must be at least 1, got {shard_texts}.")
        start, size = 0, 0
        for place, rows in enumerate(self.n_rows):
            added = rows * self._row_bytes
            if place > start and (place - start == shard_texts or size + added > SHARD_BYTES):
                yield slice(start, place)
                start, size = place, 0
            size += added
        yield slice(start, len(self.ids))


def itemsize(dtype: StoreDtype) -> int:
    """Bytes of one number."""
    return _TORCH_DTYPES[dtype].itemsize


def write_blocks(
    layout: Layout,
    folder: Path,
    blocks: Iterable[Block],
    provenance: Mapping[str, Any],
    key: str | None,
) -> ActivationStore:
    """Write the blocks, one shard each, and open the result.

    Raises:
        InputError: a provenance that JSON cannot hold, NaN or infinity, too little room on the
            disk, or a folder that holds something else or cannot be written to.
    """
    try:
        sha256_json([layout.ids, provenance])
    except (TypeError, ValueError) as error:
        raise InputError(
            f"the ids, notes and provenance of a store must be values that JSON holds: {error}."
        ) from error
    _check_room(folder.resolve(), layout.n_bytes)
    nll = np.full(len(layout.ids), np.nan)
    with store_writer(folder) as writer:
        for block in blocks:
            layers = [_converted(layout, block, index) for index in range(len(layout.layers))]
            nll[block.texts] = block.nll
            writer.add(layout.layers, layers, n_texts=len(block.nll))
        writer.finish(
            {
                "ids": layout.ids,
                "n_tokens": layout.n_tokens,
                "nll": [None if np.isnan(value) else float(value) for value in nll],
                "layers": layout.layers,
                "d_model": layout.d_model,
                "kind": layout.kind,
                "dtype": layout.dtype,
                "provenance": dict(provenance),
                "key": key,
            }
        )
    return ActivationStore.open(folder, verify=False)


def check_format(kind: str, dtype: str) -> None:
    """Raise InputError unless kind and dtype are among those that a store may have."""
    if kind not in get_args(Kind):
        raise InputError(f"unknown kind {kind!r}; choose one of {', '.join(get_args(Kind))}.")
    if dtype not in _TORCH_DTYPES:
        raise InputError(f"unknown dtype {dtype!r}; choose one of {', '.join(_TORCH_DTYPES)}.")


def _converted(layout: Layout, block: Block, index: int) -> Tensor:
    """The rows of one layer in the dtype of the store, which must be finite."""
    values = block.layers[index].to(_TORCH_DTYPES[layout.dtype])
    bad = (~torch.isfinite(values).all(dim=1)).nonzero()
    if not len(bad):
        return values
    row = int(bad[0])
    ends = np.cumsum(layout.n_rows[block.texts])
    text = layout.ids[block.texts][int(np.searchsorted(ends, row, side="right"))]
    where = f"the activations of the text {text!r} at layer {layout.layers[index]}"
    if bool(torch.isfinite(block.layers[index][row]).all()):
        raise InputError(
            f"{where} do not fit {layout.dtype}, whose largest number is "
            f"{torch.finfo(values.dtype).max:g}: store them as float32."
        )
    raise InputError(
        f"{where} hold NaN or infinity: leave that text out, or load the model in float32."
    )


def _check_room(folder: Path, needed: int) -> None:
    home = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(home).free
    if needed > free:
        raise InputError(
            f"the store {folder} needs {needed / 1e6:.1f} MB and {free / 1e6:.1f} MB are free: "
            "make room, name a folder on another disk, or store less (fewer layers, kind "
            "text-mean, dtype float16)."
        )
