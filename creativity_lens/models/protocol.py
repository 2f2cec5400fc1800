"""What this toolkit needs of a TransformerLens model, and nothing more.

Two classes satisfy it: `TransformerBridge` (transformer-lens 4, and 3.9 has it too) and
`HookedTransformer` (3.9 alone).
The few places where they differ (the name of the key-value cache argument, what the mask covers,
whether logits can be limited to the last positions) are all in this module.

Layer convention, here and everywhere: layer `l` means `blocks.{l}.hook_resid_post`, the residual
stream after block `l`, counted from 0. It is Hugging Face's `hidden_states[l + 1]` (before the
final norm) and llama.cpp's layer `l + 1`.
"""

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, SupportsIndex, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from creativity_lens.errors import InputError, ModelError

Hook = tuple[str, Callable[..., Tensor | None]]
"""A hook as TransformerLens takes it: (hook name, function of (activation, hook))."""


@runtime_checkable
class LensModel(Protocol):
    """A TransformerLens model: `TransformerBridge`, `HookedTransformer` or a look-alike.

    `cfg` needs `n_layers`, `d_model`, `d_vocab` and `n_ctx`.
    """

    cfg: Any
    tokenizer: Any

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model."""

    def hooks(self, fwd_hooks: Any = ...) -> AbstractContextManager[Any]:
        """Add hooks for the length of a `with` block."""

    def run_with_hooks(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model once with hooks."""

    def run_with_cache(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model once and keep its activations."""

    def to_tokens(self, *args: Any, **kwargs: Any) -> Any:
        """Turn text into token ids."""

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """Generate text."""


class StepOutput(NamedTuple):
    """What one decoding step gives back."""

    logits: Float[Tensor, "row d_vocab"]
    """Next-token logits, float32."""
    cache: Any
    """The key-value cache, to be handed to the next step; its type is the model's own."""


def resid_post(layer: int) -> str:
    """The hook name of layer `layer`: `blocks.{layer}.hook_resid_post`."""
    return f"blocks.{layer}.hook_resid_post"


def check_layer(model: LensModel, layer: int) -> int:
    """Return `layer` if the model has it.

    Raises:
        InputError: it is not in 0 … n_layers - 1 (negative layers are not counted from the end).
    """
    n_layers = int(model.cfg.n_layers)
    if isinstance(layer, bool) or not 0 <= layer < n_layers:
        raise InputError(
            f"layer {layer} is out of range: this model has layers 0 to {n_layers - 1} "
            "(layer l is the residual stream after block l)."
        )
    return layer


def layer_tuple(layers: int | Sequence[int]) -> tuple[int, ...]:
    """One layer or several, of any integer type, as plain integers.

    Raises:
        InputError: none, or one that is not an integer.
    """
    found = (layers,) if isinstance(layers, SupportsIndex) else tuple(layers)
    if not found or any(isinstance(n, bool) or not isinstance(n, SupportsIndex) for n in found):
        raise InputError(f"name at least one layer, as an integer; got {layers!r}.")
    return tuple(int(n) for n in found)


def model_device(model: LensModel) -> torch.device:
    """The device that token ids must be on."""
    return torch.device(getattr(model.cfg, "device", None) or "cpu")


def context_length(model: LensModel) -> int:
    """The most tokens that the model reads at once."""
    return int(model.cfg.n_ctx)


class _Traits(NamedTuple):
    """How a class of model differs from the other."""

    legacy_cache: bool
    limits_logits: bool
    takes_output_attentions: bool


def _forward_parameters(owner: Any) -> frozenset[str]:
    """Names of the parameters of a model class's `forward`."""
    return frozenset(inspect.signature(owner.forward).parameters)


def _traits(model: LensModel) -> _Traits:
    names = _forward_parameters(type(model))
    if "past_kv_cache" in names:
        return _Traits(legacy_cache=True, limits_logits=False, takes_output_attentions=False)
    wrapped = getattr(model, "original_model", None)
    if wrapped is None:
        return _Traits(legacy_cache=False, limits_logits=False, takes_output_attentions=False)
    inner = _forward_parameters(type(wrapped))
    return _Traits(
        legacy_cache=False,
        limits_logits="logits_to_keep" in inner,
        # Without this the Bridge asks eager attention for every pattern, a fifth of the time.
        takes_output_attentions=True,
    )


@torch.inference_mode()
def step(
    model: LensModel,
    ids: Int[Tensor, "row new"],
    mask: Int[Tensor, "row total"],
    cache: Any = None,
    *,
    hooks: Sequence[Hook] = (),
) -> StepOutput:
    """Run the model over `ids` after what `cache` holds, and return the next-token logits.

    Args:
        model: the model.
        ids: token ids that are new in this step, left-padded in the first one.
        mask: 1 for real tokens, 0 for padding, over the cached positions and the new ones.
        cache: what the previous step returned, or None at the prompt.
        hooks: TransformerLens hooks for this step alone.
    """
    logits, cache = _cached_pass(model, ids, mask, cache, hooks, keep_logits=1)
    return StepOutput(logits[:, -1].float(), cache)


@torch.inference_mode()
def extend(
    model: LensModel,
    ids: Int[Tensor, "row new"],
    mask: Int[Tensor, "row total"],
    cache: Any,
    *,
    hooks: Sequence[Hook] = (),
) -> Float[Tensor, "row new d_vocab"]:
    """Read several tokens after what `cache` holds, and return the logits of all of them.

    The tokens may be padded on the right: what stands before a token does not see it. The cache is
    written to.

    Args:
        model: the model.
        ids: the new token ids.
        mask: 1 for real tokens, over the cached positions and the new ones.
        cache: what `step` returned for the tokens before.
        hooks: TransformerLens hooks.

    Returns:
        In the model's dtype.
    """
    return _cached_pass(model, ids, mask, cache, hooks, keep_logits=ids.shape[1])[0]


def _cached_pass(
    model: LensModel,
    ids: Int[Tensor, "row new"],
    mask: Int[Tensor, "row total"],
    cache: Any,
    hooks: Sequence[Hook],
    *,
    keep_logits: int,
) -> tuple[Tensor, Any]:
    """Logits of at least the last `keep_logits` positions, and the cache with the new tokens."""
    traits = _traits(model)
    with model.hooks(fwd_hooks=list(hooks)):
        if traits.legacy_cache:
            if cache is None:
                # transformer-lens 3.9 only: this import fails, and is not reached, on 4.
                from transformer_lens import TransformerLensKeyValueCache

                cache = TransformerLensKeyValueCache.init_cache(
                    model.cfg, model_device(model), ids.shape[0]
                )
            logits = model(
                ids,
                return_type="logits",
                prepend_bos=False,
                past_kv_cache=cache,
                attention_mask=mask[:, mask.shape[1] - ids.shape[1] :],
            )
        else:
            logits, cache = model(
                ids,
                return_type="logits_and_cache",
                attention_mask=mask,
                past_key_values=cache,
                use_cache=True,
                **_savings(traits, keep_logits=keep_logits),
            )
    return logits, cache


@torch.inference_mode()
def read(
    model: LensModel,
    ids: Int[Tensor, "row pos"],
    mask: Int[Tensor, "row pos"],
    *,
    hooks: Sequence[Hook] = (),
    last_layer: int | None = None,
    keep_logits: int = 0,
) -> Float[Tensor, "row kept d_vocab"] | None:
    """Run one forward pass for what its hooks see.

    Args:
        model: the model.
        ids: left-padded token ids.
        mask: 1 for real tokens, 0 for padding.
        hooks: TransformerLens hooks.
        last_layer: stop after this layer (None: run all layers).
        keep_logits: how many of the last positions need logits; 0 skips them where it can.

    Returns:
        The logits of the last `keep_logits` positions, in the model's dtype, or None.
    """
    traits = _traits(model)
    stop = None if last_layer is None or keep_logits else last_layer + 1
    if stop is not None and stop >= int(model.cfg.n_layers):
        stop = None
    with model.hooks(fwd_hooks=list(hooks)):
        if traits.legacy_cache:
            logits = model(
                ids,
                return_type="logits" if keep_logits else None,
                prepend_bos=False,
                attention_mask=mask,
                stop_at_layer=stop,
            )
        else:
            logits = model(
                ids,
                return_type="logits" if keep_logits else None,
                attention_mask=mask,
                stop_at_layer=stop,
                use_cache=False,
                **_savings(traits, keep_logits=max(keep_logits, 1)),
            )
    return logits[:, -keep_logits:] if keep_logits else None


def _savings(traits: _Traits, *, keep_logits: int) -> dict[str, Any]:
    """Keyword arguments that spare the model work whose result nobody reads."""
    kwargs: dict[str, Any] = {}
    if traits.limits_logits:
        kwargs["logits_to_keep"] = keep_logits
    if traits.takes_output_attentions:
        kwargs["output_attentions"] = False
    return kwargs


def keep_rows(cache: Any, rows: Int[Tensor, " kept"]) -> Any:
    """Drop all but `rows` from a key-value cache, in place where the cache allows it.

    Raises:
        ModelError: the cache is of a kind this toolkit does not know.
    """
    if hasattr(cache, "batch_select_indices"):  # transformers' Cache
        cache.batch_select_indices(rows)
    elif hasattr(cache, "previous_attention_mask"):  # transformer-lens 3.9
        cache.previous_attention_mask = cache.previous_attention_mask[rows]
        for entry in cache.entries:
            entry.past_keys = entry.past_keys[rows]
            entry.past_values = entry.past_values[rows]
    else:
        raise ModelError(f"cannot drop rows from a key-value cache of type {type(cache).__name__}.")
    return cache


def stop_ids(model: LensModel) -> frozenset[int]:
    """The token ids that end a generation: the tokenizer's EOS and the model's own list."""
    found: set[int] = set()
    generation_config = getattr(getattr(model, "original_model", None), "generation_config", None)
    for owner in (model.tokenizer, generation_config):
        value = getattr(owner, "eos_token_id", None)
        if isinstance(value, int):
            found.add(value)
        elif isinstance(value, list | tuple):
            found.update(int(v) for v in value)
    return frozenset(found)
