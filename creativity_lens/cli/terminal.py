"""What the terminal shows: progress, tables, one line for an error.

Only this room prints. Progress and notes go to stderr, results to stdout, so that output can be
piped. Generated text may hold terminal control codes: it is shown without them.
"""

import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from creativity_lens.io import finite_json

notes = Console(stderr=True, highlight=False)
results = Console(highlight=False, soft_wrap=True)

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def safe(text: str) -> str:
    """Text without control codes or console markup."""
    return escape(_CONTROL.sub("", text))


def note(message: str) -> None:
    """A line about what is going on, on stderr."""
    notes.print(safe(message))


def result(message: str) -> None:
    """A line of a result, on stdout."""
    results.print(safe(message))


def fail(message: str) -> None:
    """One line for an error, on stderr."""
    notes.print(f"[red]error:[/red] {safe(' '.join(message.split()))}", soft_wrap=True)


def print_json(value: Any) -> None:
    """A machine-readable result on stdout: plain JSON, no colour, no wrapping, null for NaN."""
    sys.stdout.write(json.dumps(finite_json(value), ensure_ascii=False) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table for people, on stdout."""
    table = Table(*columns)
    for row in rows:
        table.add_row(*(safe(cell) for cell in row))
    results.print(table)


@contextlib.contextmanager
def progress_bar(label: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr; yields a function that advances it."""
    with _progress() as progress:
        task = progress.add_task(label, total=total, unit=unit)
        yield lambda n: progress.advance(task, n)


class StageReport(Protocol):
    """Shows how far a stage is, with a remark behind its bar."""

    def __call__(self, stage: str, done: int, total: int, remark: str = "") -> None:
        """Show it."""


@contextlib.contextmanager
def staged_progress() -> Iterator[StageReport]:
    """One progress bar for each stage of a study; yields its `on_progress`.

    Where there is no terminal for bars, what comes with a remark is a line of its own.
    """
    with _progress() as progress:
        tasks: dict[str, Any] = {}

        def report(stage: str, done: int, total: int, remark: str = "") -> None:
            if remark and not notes.is_terminal:
                note(f"{stage}: {done} of {total}; {remark}")
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total, unit="")
            progress.update(tasks[stage], completed=done, unit=safe(remark))

        yield report


@contextlib.contextmanager
def _progress() -> Iterator[Progress]:
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeElapsedColumn(),
        console=notes,
        disable=not notes.is_terminal,  # a log file has no use for a bar
    )
    with progress:
        try:
            yield progress
        except BaseException:
            progress.live.transient = True  # an error is one sentence, without a bar above it
            raise


def summary(pairs: Mapping[str, str]) -> None:
    """Name and value, a line each, on stdout."""
    width = max(len(name) for name in pairs)
    for name, value in pairs.items():
        results.print(f"{safe(name):<{width}}  {safe(value)}")
