"""`Direction` and `DirectionSet`: frozen results that carry where they come from.

File format (`schema_version` 1): a safetensors file of float32 tensors `directions`,
`mean_creative`, `mean_uncreative` `[n_layers, d_model]`, `difference_norms`, `residual_norms`
`[n_layers]`, and one metadata entry `creativity_lens` that holds the provenance as sorted JSON
(one entry, because the order of several would differ from save to save).
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from creativity_lens.errors import DataError, InputError
from creativity_lens.io import atomic_path
from creativity_lens.models.identity import check_identity
from creativity_lens.models.protocol import LensModel

SCHEMA_VERSION = 1
_METADATA_KEY = "creativity_lens"
_NEEDED = {
    "model": ("name", "n_layers", "d_model", "dtype", "fingerprint"),
    "neutral_prompt": ("system", "user"),
}
"""The entries of the provenance without which directions cannot be used."""
_TENSORS = ("directions", "mean_creative", "mean_uncreative", "difference_norms", "residual_norms")


@dataclass(frozen=True, eq=False)
class Direction:
    """A unit vector at one layer.

    Attributes:
        vector: unit norm, float32.
        layer: `blocks.{layer}.hook_resid_post`.
        residual_norm: median token norm at this layer, the scale of relative strengths.
        midpoint: halfway between the two class means; what the centred score subtracts.
        provenance: where it comes from, as in the file.
    """

    vector: Float[Tensor, " d_model"]
    layer: int
    residual_norm: float
    midpoint: Float[Tensor, " d_model"]
    provenance: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class DirectionSet:
    """One direction for each layer of a model.

    `direction_set[8]` is the `Direction` at layer 8; `len()` is the number of layers.

    Attributes:
        directions: unit rows, pointing from uncreative to creative; float32.
        mean_creative: mean residual stream of creative texts.
        mean_uncreative: the same of uncreative texts.
        difference_norms: length of the difference before it was normalized.
        residual_norms: median token norm of the texts read.
        provenance: `schema_version`, `model`, `hook`, `estimator`, `contrast`, `context`, `span`,
            `sampling`, `seed`, digests and library versions.
    """

    directions: Float[Tensor, "layer d_model"]
    mean_creative: Float[Tensor, "layer d_model"]
    mean_uncreative: Float[Tensor, "layer d_model"]
    difference_norms: Float[Tensor, " layer"]
    residual_norms: Float[Tensor, " layer"]
    provenance: Mapping[str, Any]

    def __len__(self) -> int:
        return int(self.directions.shape[0])

    def __getitem__(self, layer: int) -> Direction:
        if isinstance(layer, bool) or not 0 <= layer < len(self):
            # An IndexError would be mistaken for the end of iteration by callers' loops.
            raise InputError(
                f"layer {layer} is out of range: these directions have layers 0 to {len(self) - 1}."
            )
        return Direction(
            vector=self.directions[layer],
            layer=layer,
            residual_norm=float(self.residual_norms[layer]),
            midpoint=(self.mean_creative[layer] + self.mean_uncreative[layer]) / 2,
            provenance=self.provenance,
        )

    def __iter__(self) -> Iterator[Direction]:
        return (self[layer] for layer in range(len(self)))

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return int(self.directions.shape[1])

    def check_model(self, model: LensModel) -> None:
        """Raise DirectionMismatchError unless these directions were extracted from `model`."""
        check_identity(model, self.provenance["model"])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file, atomically; the same set gives the same bytes."""
        tensors = {
            name: getattr(self, name).to(torch.float32).cpu().contiguous() for name in _TENSORS
        }
        text = json.dumps(dict(self.provenance), sort_keys=True, ensure_ascii=False)
        with atomic_path(path) as temporary:
            temporary.write_bytes(save(tensors, metadata={_METADATA_KEY: text}))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "DirectionSet":
        """Read a file that `save` wrote.

        Raises:
            DataError: missing, not safetensors, not a direction file, of another schema version,
                of inconsistent shape, or holding NaN.
        """
        if not Path(path).is_file():
            raise DataError(f"no directions file at {path}.")
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                names = set(file.keys())
                tensors = {name: file.get_tensor(name) for name in _TENSORS if name in names}
        except (SafetensorError, OSError) as error:
            raise DataError(f"{path} is not a safetensors file: {error}.") from error
        missing = [name for name in _TENSORS if name not in tensors]
        if missing or _METADATA_KEY not in metadata:
            raise DataError(
                f"{path} is not a directions file: it lacks "
                f"{', '.join(missing) or 'the metadata entry ' + _METADATA_KEY}."
            )
        try:
            provenance = json.loads(metadata[_METADATA_KEY])
        except json.JSONDecodeError as error:
            raise DataError(f"{path}: its provenance is not valid JSON ({error.msg}).") from error
        if not isinstance(provenance, dict):
            raise DataError(f"{path}: its provenance is not a JSON object.")
        if provenance.get("schema_version") != SCHEMA_VERSION:
            raise DataError(
                f"{path} has schema version {provenance.get('schema_version')!r}; this version of "
                f"creativity_lens reads {SCHEMA_VERSION}."
            )
        for entry, fields in _NEEDED.items():
            value = provenance.get(entry)
            if not isinstance(value, dict) or not value.keys() >= set(fields):
                raise DataError(
                    f"{path}: its provenance needs {entry!r} with {', '.join(fields)}; extract "
                    "the directions again."
                )
        wide = tensors["directions"].shape
        narrow = wide[:1]
        for name, tensor in tensors.items():
            if len(wide) != 2 or tensor.shape != (narrow if name.endswith("norms") else wide):
                raise DataError(
                    f"{path}: the tensor {name!r} has shape {tuple(tensor.shape)}, which does not "
                    f"fit directions of shape {tuple(wide)}."
                )
            if not bool(torch.isfinite(tensor).all()):
                raise DataError(f"{path}: the tensor {name!r} holds NaN or infinity.")
        lengths = tensors["directions"].norm(dim=-1)
        if not bool(torch.isclose(lengths, torch.ones_like(lengths), atol=1e-4).all()):
            raise DataError(f"{path}: the rows of 'directions' are not unit vectors.")
        return cls(**tensors, provenance=provenance)
