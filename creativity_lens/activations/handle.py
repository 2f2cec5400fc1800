"""A handle on activations that lie on disk: what is there, and reading it layer by layer.

How they lie is in `activations.shards`, how they get there in `activations.store`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from creativity_lens.activations.shards import Shard, check_shards, read_index, read_layer
from creativity_lens.errors import InputError
from creativity_lens.models.identity import identity, identity_problem
from creativity_lens.models.protocol import LensModel

Kind = Literal["text-mean", "token"]
"""`text-mean`: one row a text; `token`: one row for each token of its span."""
StoreDtype = Literal["float32", "float16"]
"""How numbers are stored; they are always read as float32."""


@dataclass(frozen=True, eq=False)
class ActivationStore:
    """A handle on a store: what is in it, and a way to read it layer by layer.

    Made by `ActivationStore.open`, and by the functions of `activations.store`.

    Attributes:
        folder: where it lies.
        ids: the texts, in order.
        layers: the layers, in the order in which they were asked for.
        d_model: width of the residual stream.
        kind: `text-mean` or `token`.
        dtype: how numbers are stored: `float32`, or `float16` (3 digits).
        n_tokens: how many tokens of each text count.
        nll: mean negative log-likelihood of each text in nats a token; NaN if it was not stored.
        provenance: `model`, `hook`, `span`, `unit_tokens`, `texts_sha256`, `notes`, `versions`.
        key: what `cached_store` finds it by; None if it was written by `save_means`.
        shards: its files.
    """

    folder: Path
    ids: tuple[str, ...]
    layers: tuple[int, ...]
    d_model: int
    kind: Kind
    dtype: StoreDtype
    n_tokens: tuple[int, ...]
    nll: NDArray[np.float64]
    provenance: Mapping[str, Any]
    key: str | None
    shards: tuple[Shard, ...]

    @classmethod
    def open(
        cls, folder: str | Path, *, model: LensModel | None = None, verify: bool = True
    ) -> "ActivationStore":
        """Open a store.

        Args:
            folder: where it lies.
            model: the model that the activations must come from; None to accept any.
            verify: compare every shard's digest, which reads every byte once. Sizes and shapes are
                checked in any case.

        Raises:
            DataError: no store, an incomplete or damaged one, or one of another schema version.
            InputError: the activations come from another model.
        """
        home = Path(folder).resolve()
        index = read_index(home)
        shards = tuple(Shard(**shard) for shard in index["shards"])
        layers = tuple(index["layers"])
        check_shards(
            home,
            shards,
            layers=layers,
            d_model=index["d_model"],
            dtype=index["dtype"],
            verify=verify,
        )
        nll = np.array([np.nan if v is None else v for v in index["nll"]], dtype=np.float64)
        nll.setflags(write=False)
        store = cls(
            folder=home,
            ids=tuple(index["ids"]),
            layers=layers,
            d_model=index["d_model"],
            kind=index["kind"],
            dtype=index["dtype"],
            n_tokens=tuple(index["n_tokens"]),
            nll=nll,
            provenance=index["provenance"],
            key=index["key"],
            shards=shards,
        )
        if model is not None:
            store.check_model(model)
        return store

    def __len__(self) -> int:
        return len(self.ids)

    def check_model(self, model: LensModel) -> None:
        """Raise InputError, naming both, unless these activations come from `model`."""
        recorded = self.provenance["model"]
        problem = identity_problem(model, recorded)
        if problem:
            raise InputError(
                f"the activations in {self.folder} were read from {recorded['name']!r} and cannot "
                f"be used with {identity(model)['name']!r}: {problem}. Load that model, or write "
                "the store again with this one (write_store)."
            )

    def rows(self, text_id: str) -> slice:
        """Which rows of `layer` belong to a text: one for kind `text-mean`, else its tokens."""
        if text_id not in self._places:
            raise InputError(
                f"the store {self.folder} holds no text {text_id!r}; it holds {len(self)} texts, "
                f"from {self.ids[0]!r} to {self.ids[-1]!r}."
            )
        place = self._places[text_id]
        if self.kind == "text-mean":
            return slice(place, place + 1)
        return slice(int(self._ends[place]) - self.n_tokens[place], int(self._ends[place]))

    def layer(self, layer: int) -> Float[Tensor, "row d_model"]:
        """All rows at one layer, float32, in the order of `ids`.

        Only this layer's bytes are read.

        Raises:
            InputError: the store does not hold this layer.
            DataError: a shard was removed since the store was opened.
        """
        if isinstance(layer, bool) or layer not in self.layers:
            raise InputError(
                f"layer {layer} is not in the store {self.folder}, which holds layers "
                f"{', '.join(map(str, self.layers))}: ask for one of them, or write the store "
                "again with this layer (write_store)."
            )
        found = torch.empty((sum(shard.n_rows for shard in self.shards), self.d_model))
        start = 0
        for shard in self.shards:
            found[start : start + shard.n_rows] = read_layer(self.folder / shard.file, layer)
            start += shard.n_rows
        return found

    def means(self) -> Float[Tensor, "text layer d_model"]:
        """Mean of each text at every layer, float32: all of the store at once.

        For kind `token`, the mean over the stored tokens, computed layer by layer.
        """
        found = torch.empty((len(self), len(self.layers), self.d_model))
        for index, layer in enumerate(self.layers):
            rows = self.layer(layer)
            if self.kind == "token":
                texts = torch.split(rows, list(self.n_tokens))
                rows = torch.stack([tokens.double().mean(dim=0) for tokens in texts]).float()
            found[:, index] = rows
        return found

    @cached_property
    def _places(self) -> dict[str, int]:
        return {text_id: place for place, text_id in enumerate(self.ids)}

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        return np.cumsum(self.n_tokens, dtype=np.int64)
