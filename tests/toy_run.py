"""A run of many tiny batches, for tests that kill it: `python -m tests.toy_run FOLDER MOST`.

Prints one line a batch, and in the middle of the batch after MOST of them `asleep`: it may be
killed at any time, and never ends by itself. Texts and numbers follow from the item alone, odd ones
included.
"""

import math
import signal
import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

from creativity_lens.runs.execute import BatchResult, Progress, execute
from creativity_lens.runs.plan import Batch, Item, plan_batches
from creativity_lens.runs.rows import MetricRow, Seconds, TextRow
from creativity_lens.runs.store import RunStore

CONFIG = {"layers": [1, 2], "sampling": {"temperature": 1.0, "seed": 0}}
ODD = ("", "a\0b", "Zoë 🐙", "half \ud83d of a pair", "a\u2028b\r\n")


def items(cells: int = 12, prompts: int = 5) -> list[Item]:
    return [
        Item((f"cell-{c}", f"p{p}", seed), 10 + 3 * p, f"p{p}")
        for c in range(cells)
        for p in range(prompts)
        for seed in (0, 1)
    ]


def plan() -> tuple[Batch, ...]:
    return plan_batches(items(), token_budget=50)


def text(item: Item) -> TextRow:
    number = zlib.crc32(repr(item.key).encode())
    return TextRow(*item.key, ODD[number % len(ODD)], "stop", tuple(range(number % 7)))


def numbers(item: Item) -> list[MetricRow]:
    number = zlib.crc32(repr(item.key).encode())
    odd = (math.nan, math.inf, -math.inf, 1 / 3, 0.1 * number)[number % 5]
    rows = [MetricRow(*item.key, "score", layer, number / (layer + 3)) for layer in (10, 9)]
    return [*rows, MetricRow(*item.key, "nll", None, odd)]


def work(asked: Sequence[Item]) -> BatchResult:
    return BatchResult(
        [text(i) for i in asked], [row for i in asked for row in numbers(i)], Seconds(0.5, 0.25)
    )


def run(folder: Path) -> Progress:
    with RunStore.open(folder, config=CONFIG) as store:
        return execute(plan(), work, store)


def run_slowly(folder: Path, most: int) -> None:
    batches = -1  # a line is said before the first

    def slow(asked: Sequence[Item]) -> BatchResult:
        if batches >= most:
            print("asleep", flush=True)  # noqa: T201
            time.sleep(60)
        time.sleep(0.002)
        return work(asked)

    def say(progress: Progress) -> None:
        nonlocal batches
        batches += 1
        print(progress.done_batches, flush=True)  # noqa: T201

    with RunStore.open(folder, config=CONFIG) as store:
        execute(plan(), slow, store, on_progress=say)


if __name__ == "__main__":
    # A shell that runs the tests in the background makes its children ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    run_slowly(Path(sys.argv[1]), int(sys.argv[2]))
