"""The same architecture with random weights: what a probe reads where nothing was learned.

Random networks keep much of their input, so a probe on one is a strong rival: it knows which tokens
the text holds and roughly in what order, and nothing of what they mean.
"""

import copy
import warnings
from typing import Any

import torch

from creativity_lens.errors import ModelError
from creativity_lens.models.protocol import LensModel, model_device


def randomized(model: LensModel, *, seed: int = 0) -> Any:
    """A model of the same configuration, initialised as for training; the given one is untouched.

    It needs as much memory as the model.

    Args:
        model: a `TransformerBridge` or a `HookedTransformer`.
        seed: of the weights; the global random state is left as it was.

    Returns:
        A model of the same class with the same tokenizer.

    Raises:
        ModelError: a model of another class, whose weights this cannot draw.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if hasattr(model, "original_model"):
            return _bridge(model)
        if hasattr(model, "init_weights"):
            return _hooked_transformer(model)
    raise ModelError(
        f"cannot draw random weights for a {type(model).__name__}: only a TransformerBridge and a "
        "HookedTransformer are known. Leave this rival out (--no-random-weights)."
    )


def _bridge(model: Any) -> Any:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import AutoModelForCausalLM

    config = copy.deepcopy(model.original_model.config)
    dtype = getattr(model.cfg, "dtype", torch.float32)
    try:
        drawn = AutoModelForCausalLM.from_config(
            config, dtype=dtype, attn_implementation="eager"
        ).eval()
        made = TransformerBridge.boot_transformers(
            str(getattr(config, "_name_or_path", "") or model.cfg.model_name),
            hf_model=drawn.to(model_device(model)),
            tokenizer=model.tokenizer,
            device=str(model_device(model)),
            dtype=dtype,
        )
    except Exception as error:  # architectures outside AutoModelForCausalLM raise as they like
        raise ModelError(
            f"cannot draw random weights for {model.cfg.model_name}: {error}. Leave this rival out "
            "(--no-random-weights)."
        ) from error
    return made.eval()


def _hooked_transformer(model: Any) -> Any:
    config = copy.deepcopy(model.cfg)
    config.init_weights = True
    config.seed = None  # it would reset the global state
    config.tokenizer_name = None  # it would be fetched by name, and rebuilt
    with warnings.catch_warnings():  # 3.9 says that it is the last of its kind
        warnings.simplefilter("ignore", DeprecationWarning)
        made = type(model)(config)
    made.tokenizer = model.tokenizer
    return made.to(model_device(model)).eval()
