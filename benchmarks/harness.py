"""What `side_by_side.py` measures with: variants that take turns, ratios, tables."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import torch


@dataclass(frozen=True)
class Ratio:
    """One line of the table: what is measured, beside what, and how often as much it takes."""

    section: str
    measured: str
    beside: str
    measured_median: float
    beside_median: float
    unit: str
    low: float
    median: float
    high: float
    aim: float | None = None
    ratios: tuple[float, ...] = field(default=(), repr=False)
    at_least: bool = False
    """Whether the aim is a smallest ratio and not a largest one."""

    @property
    def verdict(self) -> str:
        """Whether the median meets the aim."""
        if self.aim is None:
            return ""
        met = self.median >= self.aim if self.at_least else self.median <= self.aim
        return "met" if met else "missed"


@dataclass(frozen=True)
class Ties:
    """How much of a generation changes with its batches and order."""

    section: str
    sampling: str
    batch_sizes: tuple[int, int]
    rows: int
    rows_that_differ: int
    tokens: int
    tokens_from_first_difference: int
    first_differences: tuple[int, ...]
    """Position of the first token that differs, in each row where one does."""

    @property
    def tokens_drawn_alike(self) -> int:
        """Tokens drawn from equal histories: the number of chances for a flip."""
        return self.tokens - self.tokens_from_first_difference + self.rows_that_differ


def take_turns(
    variants: Mapping[str, Callable[[], object]], repeats: int
) -> dict[str, list[float]]:
    """Seconds of each variant in each turn; one turn more goes first and is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(repeats + 1):
        for name, run in variants.items():
            started = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def compare(
    section: str,
    seconds: Mapping[str, Sequence[float]],
    measured: str,
    beside: str,
    *,
    aim: float | None = None,
    share: float = 1.0,
) -> Ratio:
    """The ratio of two variants; `share` is how much of the other's work this one has to do."""
    ratios = [a / (share * b) for a, b in zip(seconds[measured], seconds[beside], strict=True)]
    return Ratio(
        section=section,
        measured=measured,
        beside=beside if share == 1 else f"{share:.3f} x {beside}",
        measured_median=statistics.median(seconds[measured]),
        beside_median=share * statistics.median(seconds[beside]),
        unit="s",
        low=min(ratios),
        median=statistics.median(ratios),
        high=max(ratios),
        aim=aim,
        ratios=tuple(ratios),
    )


def table(lines: Sequence[Ratio | Ties]) -> str:
    """The results as Markdown tables."""
    out = []
    ratios = [line for line in lines if isinstance(line, Ratio)]
    if ratios:
        out += [
            "| section | measured | beside | medians | ratio: median (min to max) | aim | |",
            "|---|---|---|---|---|---|---|",
        ]
        out += [
            f"| {r.section} | {r.measured} | {r.beside} "
            f"| {r.measured_median:.2f} / {r.beside_median:.2f} {r.unit} "
            f"| {r.median:.2f} ({r.low:.2f} to {r.high:.2f}) "
            f"| {'' if r.aim is None else f'{r.aim:.2f}'} | {r.verdict} |"
            for r in ratios
        ]
    counts = [line for line in lines if isinstance(line, Ties)]
    if counts:
        out += [
            "",
            "| sampling | batch sizes | rows that differ | flips in tokens drawn from equal "
            "histories | tokens from a first difference on |",
            "|---|---|---|---|---|",
        ]
        out += [
            f"| {t.sampling} | {t.batch_sizes[0]} and {t.batch_sizes[1]} "
            f"| {t.rows_that_differ} of {t.rows} "
            f"| {t.rows_that_differ} in {t.tokens_drawn_alike} "
            f"| {t.tokens_from_first_difference} of {t.tokens} |"
            for t in counts
        ]
    return "\n".join(out)


def setting() -> dict[str, Any]:
    """What was run and with what; nothing that names the machine."""
    packages = ("creativity-lens", "torch", "transformers", "transformer-lens")
    return {
        "threads": torch.get_num_threads(),
        "dtype": "float32",
        "processors": os.cpu_count(),
        "architecture": platform.machine(),
        "load_average_at_start": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in packages},
    }
