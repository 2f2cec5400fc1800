"""Digests of directions, by which a spec knows those that it was written for."""

import hashlib
import re
from collections.abc import Collection, Mapping
from typing import Any

import torch

from creativity_lens.directions.direction import DirectionSet
from creativity_lens.errors import InputError

_NUMBERS = ("directions", "mean_creative", "mean_uncreative", "residual_norms")
"""What steering takes from a set."""
_DIGEST = re.compile("[0-9a-f]{64}")


def digest(directions: DirectionSet) -> str:
    """Hex SHA-256 of the numbers that steering takes from a set: directions, class means, norms.

    They are read as float32. Not the digest of a file: where the numbers come from, and the
    versions of libraries, do not count.
    """
    found = hashlib.sha256()
    for name in _NUMBERS:
        values = getattr(directions, name).detach().to("cpu", torch.float32).numpy()
        found.update(f"{name}{values.shape}".encode() + values.astype("<f4").tobytes())
    return found.hexdigest()


def check_digests(value: Any, names: Collection[str]) -> dict[str, str]:
    """Return digests by the name of a direction, if they are that.

    Raises:
        InputError: another type, a name that is not in `names`, or what is no digest.
    """
    if not isinstance(value, Mapping):
        raise InputError(f"directions_sha256 must be an object of digests by name, got {value!r}.")
    for name, text in value.items():
        if name not in names:
            raise InputError(f"directions_sha256 has {name!r}, a direction that no step names.")
        if not isinstance(text, str) or not _DIGEST.fullmatch(text):
            raise InputError(
                f"directions_sha256 of {name!r} must be 64 hexadecimal digits in lower case, as "
                f"SteeringSpec.pinned writes them; got {text!r}."
            )
    return dict(value)
