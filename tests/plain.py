"""What a stranger would compute with plain transformers: nothing here imports creativity_lens."""

from functools import cache

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


class PlainModel:
    """A saved model, read one sequence at a time without padding."""

    def __init__(self, folder: str) -> None:
        self.hf = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        ).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)

    def ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def chat_ids(self, user: str, *, system: str) -> list[int]:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        return self.ids(
            self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        )

    @torch.no_grad()
    def residuals(self, ids: list[int]) -> torch.Tensor:
        """Output of every block, `[layer, pos, d_model]`.

        Not `output_hidden_states`: its last entry is after the final norm.
        """
        found: list[torch.Tensor] = []

        def keep(module, args, output) -> None:
            found.append((output[0] if isinstance(output, tuple) else output)[0])

        handles = [block.register_forward_hook(keep) for block in self._blocks()]
        try:
            self.hf(torch.tensor([ids]))
        finally:
            for handle in handles:
                handle.remove()
        return torch.stack(found)

    @torch.no_grad()
    def logits(self, ids: list[int]) -> torch.Tensor:
        return self.hf(torch.tensor([ids])).logits[0]

    def _blocks(self):
        return self.hf.model.layers if hasattr(self.hf, "model") else self.hf.transformer.h


plain_model = cache(PlainModel)
