"""Which model is this? A record that a direction carries, and that is checked before it is used.

Names lie (a folder is moved, a fine-tune keeps its name), so identity is functional: the norms of
the residual stream, layer by layer, after one fixed sequence of token ids. It is the same for a
Bridge and for an unprocessed HookedTransformer, survives a change of dtype within a tolerance, and
changes when weights change.
"""

import math
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from weakref import WeakKeyDictionary

import torch

from creativity_lens.errors import DirectionMismatchError
from creativity_lens.models.protocol import Hook, LensModel, model_device, read, resid_post

_PROBE_LENGTH = 16
_cache: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()


def identity(model: LensModel) -> dict[str, Any]:
    """Describe a model so that it can be recognised.

    Computed once for each model object and kept (`load_model` does it at loading); a model whose
    weights are changed afterwards should be loaded anew.

    Returns:
        `name`, `revision`, `model_class`, `n_layers`, `d_model`, `d_vocab`, `dtype`, `processing`
        and `fingerprint` (a residual norm for each layer).
    """
    known = _cache.get(model)
    if known is None:
        known = _describe(model)
        _cache[model] = known
    return dict(known)


def weights_record(model: LensModel) -> dict[str, Any]:
    """The part of `identity` that shapes numbers: what a cache of them is found by.

    Names lie, and the last digits of a norm depend on how many threads summed it.
    """
    known = identity(model)
    del known["name"], known["revision"]
    known["fingerprint"] = [f"{norm:.4g}" for norm in known["fingerprint"]]
    return known


def remember(model: LensModel, *, name: str, revision: str | None) -> None:
    """Record what a model was loaded as; called by `load_model`."""
    _cache[model] = _describe(model) | {"name": name, "revision": revision}


def check_identity(model: LensModel, recorded: Mapping[str, Any]) -> None:
    """Raise unless `model` is the one that `recorded` describes.

    Raises:
        DirectionMismatchError: another width, depth or other weights; names both models.
    """
    problem = identity_problem(model, recorded)
    if problem:
        raise DirectionMismatchError(
            f"these directions were extracted from {recorded['name']!r} and cannot be used with "
            f"{identity(model)['name']!r}: {problem}. Load that model, or extract directions from "
            "this one."
        )


def identity_problem(model: LensModel, recorded: Mapping[str, Any]) -> str | None:
    """What tells `model` from the one that `recorded` describes; None if nothing does."""
    current = identity(model)
    if int(current["d_model"]) != int(recorded["d_model"]):
        return f"d_model is {recorded['d_model']} there and {current['d_model']} here"
    if int(current["n_layers"]) != int(recorded["n_layers"]):
        return f"n_layers is {recorded['n_layers']} there and {current['n_layers']} here"
    # bfloat16 rounding alone moves a norm by some tenths of a per cent.
    tolerance = 1e-3 if current["dtype"] == recorded["dtype"] == "float32" else 3e-2
    pairs = zip(recorded["fingerprint"], current["fingerprint"], strict=True)
    if any(not math.isclose(a, b, rel_tol=tolerance) for a, b in pairs):
        return "the weights differ (residual norms on the fixed probe do not match)"
    return None


def library_versions() -> dict[str, str]:
    """Versions of the libraries that shape a result."""
    found = {}
    for package in ("creativity-lens", "torch", "transformers", "transformer-lens"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a checkout that was never installed
            found[package] = "unknown"
    return found


def _describe(model: LensModel) -> dict[str, Any]:
    cfg = model.cfg
    norms: dict[int, float] = {}

    def keep(layer: int) -> Hook:
        def hook(activation: torch.Tensor, hook: Any = None) -> None:
            norms[layer] = float(activation[0, -1].double().norm())

        return resid_post(layer), hook

    n_layers = int(cfg.n_layers)
    length = min(_PROBE_LENGTH, int(cfg.n_ctx))
    # Spread over the vocabulary, away from the special tokens at its start.
    ids = [[(i + 1) * 997 % int(cfg.d_vocab) for i in range(length)]]
    tokens = torch.tensor(ids, device=model_device(model))
    read(model, tokens, torch.ones_like(tokens), hooks=[keep(layer) for layer in range(n_layers)])
    dtype = getattr(cfg, "dtype", torch.float32)
    return {
        "name": str(getattr(cfg, "model_name", "unknown")),
        "revision": None,
        "model_class": type(model).__name__,
        "n_layers": n_layers,
        "d_model": int(cfg.d_model),
        "d_vocab": int(cfg.d_vocab),
        "dtype": str(dtype).removeprefix("torch."),
        "processing": "raw",
        "fingerprint": [float(f"{norms[layer]:.6g}") for layer in range(n_layers)],
    }
