"""The loop a user of steering-vectors writes to sweep layers and strengths; run by `sweep.py`.

It runs in an environment of its own (steering-vectors 0.12.2 wants transformers 4) and imports
nothing of creativity_lens. Reads a job from stdin and writes its result to stdout, both JSON.
"""

import json
import sys
import time

import torch
from safetensors.torch import load_file
from steering_vectors import SteeringVector
from transformers import AutoConfig, AutoModelForCausalLM


def after_the_prompt(original: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    """Nothing at the prompt, which is read in one pass; the vector at each generated token."""
    return vector if original.shape[1] == 1 else torch.zeros_like(vector)


def main() -> None:
    """Load, warm up, and time every cell of the grid, prompts in batches of 8."""
    job = json.load(sys.stdin)
    torch.set_num_threads(job["threads"])
    config = AutoConfig.from_pretrained(job["model"])
    # transformers 5 wrote the file and keeps it elsewhere; 4 would silently take its default.
    config.rope_theta = config.rope_parameters["rope_theta"]
    model = AutoModelForCausalLM.from_pretrained(job["model"], config=config, dtype=torch.float32)
    model.generation_config.eos_token_id = None  # all rows run to the same length
    vectors = load_file(job["directions"])["directions"]
    prompts = job["prompts"]
    batches = [prompts[i : i + 8] for i in range(0, len(prompts), 8)]
    operator = after_the_prompt if job["scope"] == "response" else None

    def cell(layer: int, strength: float, n_new: int) -> list[list[int]]:
        vector = SteeringVector({layer: vectors[layer]}, "decoder_block")
        texts = []
        for rows in batches:
            width = max(map(len, rows))
            ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
            mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
            with vector.apply(model, multiplier=strength, operator=operator):
                out = model.generate(
                    input_ids=ids,
                    attention_mask=mask,
                    max_new_tokens=n_new,
                    do_sample=False,
                    pad_token_id=0,
                )
            texts += out[:, width:].tolist()
        return texts

    cell(job["cells"][0][0], job["cells"][0][1], 4)
    started = time.perf_counter()
    with torch.inference_mode():
        texts = [cell(layer, strength, job["n_new"]) for layer, strength in job["cells"]]
    json.dump({"seconds": time.perf_counter() - started, "texts": texts}, sys.stdout)


if __name__ == "__main__":
    main()
