"""`load_model`: the packaged default, any Hugging Face id, any local folder."""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from creativity_lens.errors import (
    CreativityLensError,
    InputError,
    MissingDependencyError,
    ModelError,
)
from creativity_lens.models.identity import remember
from creativity_lens.models.packaged import DEFAULT_MODEL, packaged_model_folder

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_model(
    name_or_path: str | os.PathLike[str] = DEFAULT_MODEL,
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = torch.float32,
    revision: str | None = None,
) -> Any:
    """Load a model as a raw `TransformerBridge`: no folding, no centering, evaluation mode.

    Raw means that `resid_post` is Hugging Face's own hidden state.

    Args:
        name_or_path: `"smollm2-135m-instruct"` (the default: packaged, needs no network), a
            Hugging Face id such as `"meta-llama/Meta-Llama-3-8B-Instruct"`, or a local folder.
        device: `"auto"` takes CUDA, then Apple's MPS, then the CPU.
        dtype: a torch dtype or its name.
        revision: branch, tag or commit on the Hugging Face Hub.

    Returns:
        A `transformer_lens.model_bridge.TransformerBridge`; it satisfies `LensModel`.

    Raises:
        ModelError: unknown name, no network, no access, or an architecture that TransformerLens
            does not support.
        CacheError: the converted default model is damaged.
        MissingDependencyError: a package that the default model needs is not installed.
        InputError: an unknown device or dtype.
    """
    name = os.fspath(name_or_path)
    torch_dtype = _resolve_dtype(dtype)
    torch_device = _resolve_device(device)
    with _quiet():
        source = str(packaged_model_folder()) if name == DEFAULT_MODEL else _existing(name)
    try:
        from transformer_lens.model_bridge import TransformerBridge
    except ImportError as error:
        raise MissingDependencyError(
            "load_model needs transformer-lens 4 or newer: run `pip install -U transformer-lens`. "
            "(With 3.9, load a HookedTransformer yourself and pass it in.)"
        ) from error
    try:
        with _quiet():
            model = TransformerBridge.boot_transformers(
                source, device=torch_device, dtype=torch_dtype, revision=revision
            )
    except CreativityLensError:
        raise
    except Exception as error:  # transformers, hub and adapter each raise kinds of their own
        raise ModelError(_explain(name, error)) from error
    model.eval()
    if model.tokenizer is None:
        raise ModelError(f"{name!r} has no tokenizer files; add them to the folder.")
    remember(model, name=name, revision=revision)
    return model


def _existing(name: str) -> str:
    path = Path(name).expanduser()
    if name.strip() and path.is_dir():  # a blank name would be the current folder
        if not (path / "config.json").is_file():
            raise ModelError(f"the folder {name} holds no config.json: it is not a saved model.")
        return str(path)
    looks_local = name.startswith((".", "/", "~")) or name.count("/") > 1 or not name.strip()
    if looks_local:
        raise ModelError(f"no model folder at {name!r}.")
    return name


def _explain(name: str, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0][:300] if str(error).strip() else ""
    kind = type(error).__name__
    chain = {type(e).__name__ for e in _causes(error)} | {kind}
    if chain & {"GatedRepoError"}:
        return (
            f"{name!r} is gated on the Hugging Face Hub: accept its terms and run `hf auth login`."
        )
    if chain & {
        "ConnectError",
        "ConnectionError",
        "LocalEntryNotFoundError",
        "OfflineModeIsEnabled",
        "ConnectTimeout",
        "ProxyError",
        "MaxRetryError",
    }:
        return (
            f"cannot reach the Hugging Face Hub for {name!r}, and it is not in the local cache. "
            f"Check the network, pass a local folder, or use the packaged model {DEFAULT_MODEL!r}."
        )
    if chain & {"RepositoryNotFoundError", "HFValidationError", "RevisionNotFoundError"} or (
        "is not a valid model identifier" in str(error)
    ):
        return (
            f"unknown model {name!r}: it is neither the packaged {DEFAULT_MODEL!r}, nor a local "
            "folder, nor found on the Hugging Face Hub."
        )
    if "backend tokenizer" in reason:  # how transformers begins half a page on what it looked for
        return f"{name!r} has no tokenizer files; add them to the folder."
    return f"cannot load {name!r} with TransformerLens: {kind}: {reason}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _resolve_dtype(dtype: str | torch.dtype) -> torch.dtype:
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in _DTYPES:
        raise InputError(f"unknown dtype {dtype!r}; choose one of {', '.join(_DTYPES)}.")
    return _DTYPES[dtype]


def _resolve_device(device: str | torch.device) -> str:
    if str(device) != "auto":
        try:
            return str(torch.device(device))
        except RuntimeError as error:
            raise InputError(
                f"unknown device {device!r}; choose auto, cpu, cuda, cuda:N or mps."
            ) from error
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep progress bars and log lines of the loading libraries off the user's screen."""
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    root_level = logging.getLogger().level
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        transformers_logging.enable_progress_bar()
        logging.getLogger().setLevel(root_level)
