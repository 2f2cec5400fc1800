"""A `SteeringSpec` as TransformerLens's declarative interventions, which vLLM can run.

TransformerLens (4.3, `model_bridge/sources/vllm`) gives every hook one affine map,
`output * scale + bias`, whose numbers are set before a pass. What follows from its source:

- `{"op": "add", "value": v}` adds v to every row of every pass: all tokens of the prompt and all
  that are generated. That is the scope `all`.
- With `"pos": [...]` only those rows change. A row is a position in the prompt while the prompt is
  read, but in a pass that decodes one more token the new token is row 0. TransformerLens itself
  reads the prompt and draws one token (`max_new_tokens=1`), where positions mean what they say.
  If you drive the engine further, row 0 would also change every generated token.
- `pos` needs `boot_vllm(enable_position_interventions=True)`, and a position beyond the prompt is
  an error there.
- A hook holds one intervention, and the residual stream is served as `blocks.{l}.hook_out`.

So constant additions can be expressed, to all tokens or to known tokens of the prompt. What depends
on the token (ablate, clamp, rotate) or on the count of generated tokens cannot: use `steer`.
"""

from typing import Any

import torch
from torch import Tensor

from creativity_lens.errors import InputError
from creativity_lens.hooks.intervene import Intervention
from creativity_lens.steering.spec import Directions, SteeringSpec


def vllm_interventions(
    spec: SteeringSpec, directions: Directions, *, prompt_length: int | None = None
) -> dict[str, dict[str, Any]]:
    """The spec in the shape that `bridge.run_with_cache(ids, intervene=…)` takes on vLLM.

    Steps at one layer over the same tokens are one sum. Steps that change nothing are left out, in
    any mode: those of strength 0, but of `clamp`, where 0 is a value.

    Args:
        spec: what is to be done.
        directions: as `SteeringSpec.interventions` takes them.
        prompt_length: tokens of the prompt that it will be used with, for scopes that ask where the
            prompt ends.

    Returns:
        For each hook `blocks.{layer}.hook_out`, in the order of the layers: `op` (`add`), `value`
        (a list of d_model numbers) and, unless all tokens are meant, `pos`. Plain values, which
        JSON takes.

    Raises:
        InputError: a step that cannot be expressed; the message names it and says why. Or a prompt
            without tokens.
    """
    if prompt_length is not None and prompt_length < 1:
        raise InputError(f"prompt_length must be at least 1, got {prompt_length}.")
    found: dict[int, tuple[list[int] | None, Tensor]] = {}
    for number, one in enumerate(spec.interventions(directions), start=1):
        if one.idle:
            continue
        positions = _positions(one, number, prompt_length)
        if positions == []:
            continue
        value = one.strength * one.vector.double()
        if one.layer in found:
            others, total = found[one.layer]
            if others != positions:
                raise _refused(
                    number,
                    f"layer {one.layer} has an earlier step on other tokens, and a hook holds one "
                    "intervention",
                )
            value = value + total
        found[one.layer] = positions, value
    return {
        f"blocks.{layer}.hook_out": {"op": "add", "value": value.float().tolist()}
        | ({} if positions is None else {"pos": positions})
        for layer, (positions, value) in sorted(found.items())
    }


def _positions(one: Intervention, number: int, prompt_length: int | None) -> list[int] | None:
    """The tokens of the prompt that are changed; None for all there are and will be."""
    scope = one.scope
    if one.mode != "add":
        raise _refused(number, f"{one.mode} depends on each token, and vLLM adds one vector to all")
    if one.schedule.kind != "constant":
        raise _refused(number, f"the schedule {one.schedule} counts generated tokens")
    if scope.part == "response":
        raise _refused(number, f"the scope {scope} begins where the positions of a prompt end")
    end = scope.first if scope.first is not None else scope.stop
    if scope.part == "all" and scope.last is None:
        if end is None and not scope.start:
            return None
        if end is None or (prompt_length is not None and end > prompt_length):
            raise _refused(number, f"the scope {scope} goes on into the generated tokens")
    if prompt_length is not None:
        columns = torch.arange(prompt_length)[None]
        return columns[scope.mask(columns, torch.tensor([[prompt_length]]))].tolist()
    if end is None:
        raise _refused(number, f"the scope {scope} needs prompt_length")
    return list(range(scope.start or 0, end))


def _refused(number: int, reason: str) -> InputError:
    return InputError(
        f"step {number} cannot be expressed as a vLLM intervention: {reason}. "
        "Use steer() or generate() for it."
    )
