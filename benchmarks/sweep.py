"""How fast a sweep generates, beside the loop that a user of steering-vectors writes.

    python -m venv peer
    peer/bin/pip install torch==2.13.0 "transformers<5" steering-vectors==0.12.2
    .venv/bin/python benchmarks/sweep.py --run RUN --peer peer/bin/python

Both generate the same texts: 10 layers x 4 strengths x 8 prompts x 48 greedy tokens, EOS ends no
row. Ours goes through the sweep's own planner and worker, theirs loops over the cells with batches
of 8 (transformers' default attention). They take turns; a ratio is taken within each turn. Loading
and a warm-up are not counted. Measuring is timed apart, on the same texts.
"""

import argparse
import json
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from harness import Ratio, setting, table

from creativity_lens.directions.run_files import DIRECTIONS_FILE, load_run
from creativity_lens.generation import decode
from creativity_lens.models.loading import load_model
from creativity_lens.models.packaged import packaged_model_folder
from creativity_lens.runs.cells import Cell, cells_of
from creativity_lens.runs.execute import BatchResult
from creativity_lens.runs.plan import plan_batches
from creativity_lens.runs.sweep_config import CREATIVITY, SweepConfig
from creativity_lens.runs.sweep_prompts import sweep_prompts
from creativity_lens.runs.sweep_work import SweepWork

AIMS = {"response": 3.5, "all": 2.5}
LAYERS = (2, 4, 6, 8, 10, 12, 14, 16, 20, 24)
STRENGTHS = (2.0, 4.0, 8.0, 16.0)
"""Absolute, as steering-vectors takes them."""


def settings(scope: str, quick: bool) -> SweepConfig:
    """The grid, without rivals."""
    return SweepConfig.from_dict(
        {
            "layers": LAYERS[:2] if quick else LAYERS,
            "strengths": STRENGTHS[:2] if quick else STRENGTHS,
            "unit": "absolute",
            "scope": scope,
            "prompts": "stories",
            "n_prompts": 8,
            "sampling": {"max_new_tokens": 8 if quick else 48, "temperature": 0.0},
            "rivals": {
                "instruction": False,
                "temperatures": [],
                "within": 0,
                "shuffled": 0,
                "unrelated": [],
            },
            "necessity": {"layers": []},
        }
    )


class Ours:
    """A sweep of the grid's steered cells, as `creativity-lens sweep` plans and runs it."""

    def __init__(self, run: Path, config: SweepConfig, model: Any) -> None:
        directions, rows = load_run(run)
        self.cells = [c for c in cells_of(config, len(directions)) if c.kind == "steered"]
        self.prompts = sweep_prompts(config, exclude={row.premise_id for row in rows})
        self.config = config
        self.work = SweepWork(
            model, config, self.cells, self.prompts, {CREATIVITY: directions}, instruction="-"
        )
        self.batches = plan_batches(self.work.items(), token_budget=config.batch_tokens)

    def prompt_ids(self) -> list[list[int]]:
        """The prompts as the model reads them."""
        return [list(self.work.prompt_ids(prompt.id)) for prompt in self.prompts]

    def generate(self) -> tuple[float, dict[tuple[str, str], list[int]]]:
        """Seconds, and the texts by cell and prompt."""
        found = {}
        started = time.perf_counter()
        with patch.object(decode, "stop_ids", lambda model: frozenset()):
            for batch in self.batches:
                done = self.work.generate(batch.items)
                for item, one in zip(batch.items, done, strict=True):
                    found[item.key[:2]] = list(one.response_ids)
        return time.perf_counter() - started, found

    def measure(self) -> tuple[float, float]:
        """Seconds of generating and of measuring, when both are done."""
        with patch.object(decode, "stop_ids", lambda model: frozenset()):
            done: list[BatchResult] = [self.work(batch.items) for batch in self.batches]
        return sum(r.seconds.generate for r in done), sum(r.seconds.measure for r in done)


def theirs(
    python: Path, run: Path, cells: Sequence[Cell], prompts: list[list[int]], config: SweepConfig
) -> tuple[float, list[list[list[int]]]]:
    """Seconds, and the texts by cell, then prompt."""
    job = {
        "threads": torch.get_num_threads(),
        "model": str(packaged_model_folder()),
        "directions": str(run / DIRECTIONS_FILE),
        "prompts": prompts,
        "cells": [[cell.layer, cell.strength] for cell in cells],
        "n_new": config.sampling.max_new_tokens,
        "scope": config.scope,
    }
    peer = Path(__file__).with_name("peer_steering_vectors.py")
    done = subprocess.run(
        [python, peer], input=json.dumps(job), capture_output=True, text=True, check=True
    )
    result = json.loads(done.stdout)
    return result["seconds"], result["texts"]


def agreement(ours: Ours, own: dict[Any, list[int]], other: list[list[list[int]]]) -> float:
    """Share of texts that both wrote alike: sums in another order flip a near tie at times."""
    same = [
        own[cell.cell_id, prompt.id] == text
        for cell, texts in zip(ours.cells, other, strict=True)
        for prompt, text in zip(ours.prompts, texts, strict=True)
    ]
    return statistics.mean(same)


def main() -> None:
    """Take turns, print, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--peer", type=Path, required=True, help="Python with steering-vectors.")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scope", choices=list(AIMS), action="append")
    parser.add_argument("--quick", action="store_true", help="Tiny sizes: only shows that it runs.")
    given = parser.parse_args()
    model = load_model()
    lines, shares, measured = [], {}, {}
    for scope in given.scope or AIMS:
        config = settings(scope, given.quick)
        ours = Ours(given.run, config, model)
        ours.work.generate(ours.batches[0].items[:8])
        mine, others = [], []
        for _ in range(given.repeats):
            seconds, texts = theirs(given.peer, given.run, ours.cells, ours.prompt_ids(), config)
            others.append(seconds)
            seconds, found = ours.generate()
            mine.append(seconds)
            shares[scope] = agreement(ours, found, texts)
        ratios = [b / a for a, b in zip(mine, others, strict=True)]
        lines.append(
            Ratio(
                f"scope {scope}",
                "steering-vectors 0.12.2, batches of 8",
                "ours",
                statistics.median(others),
                statistics.median(mine),
                "s",
                min(ratios),
                statistics.median(ratios),
                max(ratios),
                AIMS[scope],
                tuple(ratios),
                at_least=True,
            )
        )
        measured[scope] = ours.measure()
        print(table(lines[-1:]))
        print(f"texts alike: {shares[scope]:.3f}; generating and measuring: {measured[scope]} s")
    if given.out:
        # Each scope takes a quarter of an hour, so they may be timed one at a time.
        known = json.loads(given.out.read_text(encoding="utf-8")) if given.out.exists() else {}
        again = {line.section for line in lines}
        kept = [line for line in known.get("lines", []) if line["section"] not in again]
        measured_before = known.get("seconds_generating_and_measuring", {})
        result = {
            "setting": setting(),
            "lines": [
                *kept,
                *(asdict(line) | {"verdict": line.verdict} for line in lines),
            ],
            "texts_alike": known.get("texts_alike", {}) | shares,
            "seconds_generating_and_measuring": measured_before | measured,
        }
        given.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
