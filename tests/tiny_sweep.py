"""A sweep of a tiny model; as a script, one that is there to be killed.

`python -m tests.tiny_sweep MODEL RUN OUT MOST` prints one line a batch, and in the middle of the
batch after the first MOST it falls asleep.
"""

import sys
import time
from pathlib import Path

import torch

from creativity_lens.generation import decode
from creativity_lens.models.loading import load_model
from creativity_lens.runs.execute import Progress
from creativity_lens.runs.sweep_config import SweepConfig
from creativity_lens.runs.sweep_work import SweepWork
from creativity_lens.studies.sweep import sweep

SMALL = {
    "layers": [1],
    "strengths": [1.0, 1.5],
    "prompts": "stories",
    "n_prompts": 4,
    "seeds": [0, 1],
    "read_layers": [2],
    "batch_tokens": 400,
    # Random weights make likely texts unlikely at once, and a cell is to be recommended.
    "nll_budget": 50.0,
    "degenerate_budget": 1.0,
    "sampling": {"max_new_tokens": 8},
    "rivals": {"temperatures": [1.4], "shuffled": 0, "unrelated": [], "strengths": [1.5]},
    "necessity": {"layers": []},
}
"""40 texts in a few batches."""


def ends(model) -> frozenset[int]:
    """Every twelfth token ends a text: some are empty, some short, some are cut off."""
    return frozenset(range(2, model.cfg.d_vocab, 12))


def run_until_killed(model: str, run: Path, out: Path, most: int) -> None:
    decode.stop_ids = ends
    batches, real = 0, SweepWork.generate

    def generate(self, items, **kwargs):
        nonlocal batches
        batches += 1
        completions = real(self, items, **kwargs)
        if batches > most:
            print("asleep", flush=True)  # noqa: T201
            time.sleep(60)
        return completions

    def say(progress: Progress, best: str) -> None:
        print(progress.done_batches, flush=True)  # noqa: T201

    SweepWork.generate = generate
    sweep(load_model(model), SweepConfig.from_dict(SMALL), run=run, out=out, on_batch=say)


if __name__ == "__main__":
    torch.set_num_threads(1)
    run_until_killed(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
