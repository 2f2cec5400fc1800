"""The files of an activation store: safetensors shards and `index.json`, written whole.

Format (`schema_version` 1): a folder with `shard-NNNNN-DDDDDDDD.safetensors` (D: the start of its
digest) and `index.json`. A shard holds whole texts, one tensor `layer_LLL` `[row, d_model]` for
each layer, so that a layer's bytes lie together. The index lists texts and shards in order and
carries a digest of itself.

A store is written into a hidden folder beside its place, `.NAME.XXXXXXXX.part`, and renamed when
it is complete; what stood there before is renamed to `.NAME.XXXXXXXX.old` and removed. A writer
that is killed leaves such a folder behind. The next writer of the same store removes those in
which nothing has been written for a day: a younger one may belong to a writer that is alive.
"""

import contextlib
import json
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from creativity_lens.errors import DataError, InputError
from creativity_lens.io import (
    atomic_path,
    finite_json,
    read_json,
    sha256_file,
    sha256_json,
    write_json,
)

SCHEMA_VERSION = 1
INDEX_FILE = "index.json"
REMEDY = "write the store again (write_store)"
_OURS = re.compile(r"index\.json|shard-\d{5}-[0-9a-f]{8}\.safetensors")
_ABANDONED_AFTER = 24 * 3600.0


class Shard(NamedTuple):
    """One file of a store, as the index lists it."""

    file: str
    sha256: str
    n_bytes: int
    n_texts: int
    n_rows: int


class StoreWriter:
    """Writes the files of one store, out of sight until `finish`. Made by `store_writer`."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._shards: list[Shard] = []

    def add(
        self, layers: Sequence[int], values: Sequence[Float[Tensor, "row d_model"]], *, n_texts: int
    ) -> None:
        """Write one shard: some texts at every layer."""
        tensors = {
            layer_name(layer): value.contiguous()
            for layer, value in zip(layers, values, strict=True)
        }
        stem = f"shard-{len(self._shards):05d}"
        part = self._home / f"{stem}.part"
        with _writing(self._home):
            with atomic_path(part) as temporary:  # which also gives the usual permissions
                save_file(tensors, temporary)
            digest = sha256_file(part)
            # A reader of the store that was here before must not take this file for its own.
            path = part.rename(self._home / f"{stem}-{digest[:8]}.safetensors")
            size = path.stat().st_size
        self._shards.append(Shard(path.name, digest, size, n_texts, int(values[0].shape[0])))

    def finish(self, index: Mapping[str, Any]) -> None:
        """Write the index, which lists the shards and digests itself."""
        content = {
            **index,
            "schema_version": SCHEMA_VERSION,
            "shards": [shard._asdict() for shard in self._shards],
        }
        # As it will be read: JSON turns the keys of notes into strings, which sort differently, and
        # knows no NaN.
        content = finite_json(json.loads(json.dumps(content)))
        write_json(self._home / INDEX_FILE, {**content, "sha256": sha256_json(content)})


@contextlib.contextmanager
def store_writer(folder: Path) -> Iterator[StoreWriter]:
    """Yield a writer; when the block succeeds, its store takes the place of what stood there.

    Raises:
        InputError: `folder` holds something that is not a store, or cannot be written to.
    """
    target = folder.resolve()
    check_replaceable(target)
    token = secrets.token_hex(4)
    made = target.with_name(f".{target.name}.{token}.part")
    aside = target.with_name(f".{target.name}.{token}.old")
    try:
        with _writing(target):
            made.mkdir(parents=True)
            _remove_abandoned(target)
        yield StoreWriter(made)
        with _writing(target):
            _swap(made, target, aside)
    finally:
        shutil.rmtree(made, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot write the activation store {path}: {error}.") from error


def check_replaceable(folder: Path) -> None:
    """Raise InputError if a store may not take this place: it is replaced as a whole."""
    if not folder.exists():
        return
    foreign = (
        sorted(path.name for path in folder.iterdir() if not _OURS.fullmatch(path.name))
        if folder.is_dir()
        else [folder.name]
    )
    if foreign:
        raise InputError(
            f"will not write an activation store over {folder}: it holds {foreign[0]!r}, which is "
            "not part of one. Name a folder that is new, empty or a store."
        )


def _swap(made: Path, target: Path, aside: Path) -> None:
    if not target.exists():
        made.rename(target)
        return
    target.rename(aside)
    try:
        made.rename(target)
    except OSError:
        aside.rename(target)
        raise


def _remove_abandoned(target: Path) -> None:
    pattern = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}\.(part|old)")
    for path in target.parent.iterdir():
        if pattern.fullmatch(path.name):
            with contextlib.suppress(FileNotFoundError):  # another writer removes it, too
                # A folder's time is that of the last file made in it.
                if time.time() - path.stat().st_mtime > _ABANDONED_AFTER:
                    shutil.rmtree(path, ignore_errors=True)


def layer_name(layer: int) -> str:
    """The name of a layer's tensor in a shard."""
    return f"layer_{layer:03d}"


def read_index(folder: Path) -> dict[str, Any]:
    """Read and check `index.json`.

    Raises:
        DataError: no index, damaged, or of another schema version.
    """
    path = folder / INDEX_FILE
    if not path.is_file():
        raise DataError(
            f"there is no complete activation store at {folder}: it has no {INDEX_FILE}. If its "
            f"writer was stopped, {REMEDY}; else check the path."
        )
    try:
        index = read_json(path)
    except DataError as error:
        raise DataError(f"the store is damaged: {error} Please {REMEDY}.") from error
    if not isinstance(index, dict) or "schema_version" not in index:
        raise DataError(f"{path} is not the index of an activation store: check the path.")
    if index["schema_version"] != SCHEMA_VERSION:
        raise DataError(
            f"{path} has schema version {index['schema_version']!r}; this version of "
            f"creativity_lens reads {SCHEMA_VERSION}: {REMEDY}, or use the version that wrote it."
        )
    digest = index.pop("sha256", None)
    if sha256_json(index) != digest:
        raise DataError(f"{path} is damaged: its digest does not match. Please {REMEDY}.")
    return index


def check_shards(
    folder: Path,
    shards: Sequence[Shard],
    *,
    layers: Sequence[int],
    d_model: int,
    dtype: str,
    verify: bool,
) -> None:
    """Check that every shard is there and is what the index says.

    Args:
        folder: the store.
        shards: from the index.
        layers: the layers that each must have.
        d_model: width of each tensor.
        dtype: `float32` or `float16`.
        verify: also compare digests, which reads every byte.

    Raises:
        DataError: a shard is missing, cut short, changed, or of another shape.
    """
    for shard in shards:
        path = folder / shard.file
        if not path.is_file():
            raise DataError(f"the store {folder} is incomplete: {shard.file} is missing; {REMEDY}.")
        size = path.stat().st_size
        if size != shard.n_bytes:
            raise DataError(
                f"{path} is damaged: it has {size} bytes and should have {shard.n_bytes}; {REMEDY}."
            )
        if verify and sha256_file(path) != shard.sha256:
            raise DataError(f"{path} is damaged: its digest does not match; {REMEDY}.")
        expected = ([shard.n_rows, d_model], {"float32": "F32", "float16": "F16"}[dtype])
        with _open(path) as file:
            names = set(file.keys())
            for layer in layers:
                name = layer_name(layer)
                found = file.get_slice(name) if name in names else None
                if found is None or (found.get_shape(), found.get_dtype()) != expected:
                    raise DataError(
                        f"{path} is damaged: {name} should be {dtype} of shape {expected[0]}; "
                        f"{REMEDY}."
                    )


def read_layer(path: Path, layer: int) -> Float[Tensor, "row d_model"]:
    """A layer of a shard, in the dtype of the file; no byte of another layer is read.

    The result is a copy, so that no file stays open behind it.

    Raises:
        DataError: the file is gone, or no safetensors file.
    """
    with _open(path) as file:
        return torch.clone(file.get_tensor(layer_name(layer)))


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:  # memory-mapped
            yield file
    except (SafetensorError, OSError) as error:
        raise DataError(
            f"{path} cannot be read ({error}): the store was replaced or damaged since it was "
            f"opened. Open it again, or {REMEDY}."
        ) from error
