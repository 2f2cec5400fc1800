"""Interventions in a user's own passes: what each pass holds, seen from inside the model.

A hook is told nothing of the call that it fires in. What is prompt and what is response follows
from the passes themselves: how wide each is, and whether its tokens go on from the last one's.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from creativity_lens.hooks.intervene import Intervention, RowInterventions
from creativity_lens.models.protocol import Hook

EMBED = "hook_embed"
"""Where the embeddings of a pass's tokens are seen, before any position is added to them."""


def asks_for_prompt(one: Intervention) -> bool:
    """Whether an intervention depends on where the prompt ends."""
    whole = one.scope.part == "all" and one.scope.last is None
    return not whole or one.schedule.kind != "constant"


def counting_hooks(
    chosen: Sequence[Intervention],
    device: torch.device | str,
    *,
    prompt_length: int | None = None,
    sees_tokens: bool = False,
) -> list[Hook]:
    """Hooks that apply interventions to every row of every pass; none if nothing is changed.

    Args:
        chosen: what is done, in this order at each layer.
        device: where the model runs.
        prompt_length: columns of the prompt, if the first pass holds more; None takes its width.
        sees_tokens: whether to watch the embeddings, at `hook_embed`. Without them each pass over
            several tokens is taken for a new prompt.
    """
    rows = _Counted(chosen, device, prompt_length)
    # One set of hooks fires in every pass: the first of them counts the columns.
    hooks = [
        (name, rows.counting(fn) if i == 0 else fn) for i, (name, fn) in enumerate(rows.hooks())
    ]
    return [(EMBED, rows.see), *hooks] if hooks and sees_tokens else hooks


class _Counted(RowInterventions):
    """Interventions on one row that serves all, which sees by itself what each pass holds."""

    def __init__(
        self,
        chosen: Sequence[Intervention],
        device: torch.device | str,
        prompt_length: int | None,
    ) -> None:
        super().__init__([tuple(chosen)], [0], device=device)
        self._given = prompt_length
        self._seen = 0
        self._tokens: Tensor | None = None  # of the pass that runs
        self._before: Tensor | None = None  # of the one before, if that read a row from its start

    def see(self, embeddings: Tensor, hook: Any = None) -> None:
        """Note the tokens of the pass that begins."""
        self._tokens = embeddings.detach().clone()

    def counting(self, function: Any) -> Any:
        """Wrap the hook at the first layer, so that it counts before it changes anything."""

        def counted(activation: Tensor, hook: Any = None) -> Any:
            self._count(activation)
            return function(activation, hook)

        return counted

    def _count(self, activation: Float[Tensor, "row pos d_model"]) -> None:
        width = activation.shape[1]
        if self._seen and width == 1:  # one more token, with a key-value cache
            self._seen += 1
            self._before = None  # what has a cache does not read the whole sequence again
            self.aim(self._seen - 1, 1)
            return
        if not self._grows():
            self._prompts.fill_(width if self._given is None else self._given)
        self._seen, self._before, self._tokens = width, self._tokens, None
        self.aim(0, width)

    def _grows(self) -> bool:
        """Whether a pass holds all of the one before and one more token: no cache, no new prompt.

        Its length alone does not tell: a new prompt may be longer by one. Nor do activations:
        those of padding may change with the length, and at early layers those of a word hardly
        depend on what stands before it. The embeddings of the same tokens are the same.
        """
        before, now = self._before, self._tokens
        return before is not None and now is not None and torch.equal(now[:, :-1], before)
