"""A safetensors file that knows whether it is whole: tensors, a JSON record, digests of both.

The record is the file's one metadata entry, `creativity_lens`, as sorted JSON; to it are added
`tensors`, the digest of each tensor, and `sha256`, the digest of all the rest.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from creativity_lens.errors import DataError, InputError
from creativity_lens.io import atomic_path, sha256_json

_METADATA_KEY = "creativity_lens"


def tensor_sha256(tensor: Tensor) -> str:
    """Hex SHA-256 of a CPU tensor's dtype, shape and values."""
    digest = hashlib.sha256(repr((tensor.dtype, tuple(tensor.shape))).encode())
    digest.update(np.ascontiguousarray(tensor.numpy()).data)
    return digest.hexdigest()


def save_tensors(path: Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    """Write a file, atomically; `record` holds what JSON can.

    Raises:
        InputError: it cannot be written.
    """
    content = {**record, "tensors": {name: tensor_sha256(t) for name, t in tensors.items()}}
    content["sha256"] = sha256_json(content)
    metadata = {_METADATA_KEY: json.dumps(content, sort_keys=True, ensure_ascii=False)}
    try:
        with atomic_path(path) as temporary:
            save_file({name: t.contiguous() for name, t in tensors.items()}, temporary, metadata)
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot write {path}: {error}.") from error


def load_tensors(path: Path, names: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of these names and the record of a file that `save_tensors` wrote.

    Raises:
        DataError: no such file, not one of ours, or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            content = json.loads((file.metadata() or {})[_METADATA_KEY])
            # Copies, so that no file stays open behind them.
            tensors = {name: torch.clone(file.get_tensor(name)) for name in names}
        record = {key: value for key, value in content.items() if key not in ("sha256", "tensors")}
        digests, digest = content["tensors"], content["sha256"]
    except (SafetensorError, OSError, KeyError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is damaged or not a file of this kind: {error}.") from error
    whole = sha256_json({**record, "tensors": digests}) == digest
    if not whole or digests != {name: tensor_sha256(t) for name, t in tensors.items()}:
        raise DataError(f"{path} is damaged: its digest does not match.")
    return tensors, record
