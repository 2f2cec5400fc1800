"""Runs a plan, batch by batch, into a store.

Nothing is kept in memory between batches, and each is committed whole, so a run may end at any
instant and be started again.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

from creativity_lens.errors import InputError
from creativity_lens.runs.memory import Halving
from creativity_lens.runs.plan import Batch, Item
from creativity_lens.runs.store import MetricRow, RunStore, Seconds, TextRow

__all__ = ["BatchResult", "Progress", "Work", "execute"]


@dataclass(frozen=True)
class BatchResult:
    """What came of some items: one text for each, what was measured on them, and the time it took.

    Attributes:
        texts: one for each item, in any order.
        metrics: any number for each text.
        seconds: spent on generating and on measuring.
    """

    texts: Sequence[TextRow]
    metrics: Sequence[MetricRow]
    seconds: Seconds


Work = Callable[[Sequence[Item]], BatchResult]


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        done_batches: batches that are stored, in this session or before.
        n_batches: all batches of the plan.
        done_texts: texts that are stored.
        n_texts: all texts of the plan.
        tokens: tokens generated in this session.
        seconds: seconds of this session that finished batches took, storing included.
        tokens_per_second: tokens / seconds; None until a batch of this session is done.
        seconds_left: the rest of the plan at the pace of this session; None until known, 0 at the
            end.
        note: what was last out of the ordinary in this session; empty if nothing was.
    """

    done_batches: int
    n_batches: int
    done_texts: int
    n_texts: int
    tokens: int
    seconds: float
    tokens_per_second: float | None
    seconds_left: float | None
    note: str


def execute(
    batches: Sequence[Batch],
    work: Work,
    store: RunStore,
    *,
    max_rows: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Progress:
    """Run the batches that are not stored yet, in order, and store each when it is done.

    When memory runs out the batch is halved, and halved again, until its parts fit; their results
    are stored together as the one batch, with a note. From then on, in this session, a batch that
    is as large is halved before it is tried. A system that is short of memory may also kill the
    process: so what is tried is noted in the store, and what a killed session was trying is
    halved by the next. `KeyboardInterrupt` and every other error pass through at once; the batches
    before are stored, the one that ran is not, and nothing is halved for it.

    Args:
        batches: the whole plan.
        work: makes the texts of some items and measures them; may be called with a part of a batch.
        store: open for writing.
        max_rows: most items that `work` is called with; a larger batch is worked on in equal parts.
        on_progress: called once before the first batch and after each.
        on_note: called with one sentence when a batch is halved, or will be because a session was
            killed; None logs a warning instead.

    Returns:
        The progress at the end.

    Raises:
        InputError: the store holds batches that are not in the plan, or `work` returned other
            texts than it was asked for.
        ModelError: a single text does not fit into memory.
    """
    done = store.done()
    strange = done - {batch.id for batch in batches}
    if strange:
        raise InputError(
            f"{store.folder} holds {len(strange)} batches that are not in this plan (such as "
            f"{min(strange)}): the run was planned otherwise. Choose another --out, or delete the "
            "folder to start again."
        )
    session = _Session(batches, done)
    halving = Halving(work, max_rows=max_rows, on_attempt=store.begin_attempt, on_note=on_note)
    killed = store.attempt()
    if killed is not None:
        halving.resume(killed)
    progress = session.progress(halving.note)
    if on_progress is not None:
        on_progress(progress)
    try:
        for batch in batches:
            if batch.id in done:
                continue
            started = time.perf_counter()
            n_tokens = _run_batch(batch, halving, store)
            session.add(batch, n_tokens, time.perf_counter() - started)
            progress = session.progress(halving.note)
            if on_progress is not None:
                on_progress(progress)
    except BaseException:
        # Whoever can still say that it ends was not killed.
        with contextlib.suppress(InputError):
            store.end_attempt()
        raise
    return progress


def _run_batch(batch: Batch, halving: Halving[BatchResult], store: RunStore) -> int:
    """Run and store a batch; returns how many tokens were generated."""
    parts = halving.run(batch)
    texts = list(chain.from_iterable(part.texts for part in parts))
    _check_texts(batch, texts)
    metrics = list(chain.from_iterable(part.metrics for part in parts))
    seconds = Seconds(
        sum(part.seconds.generate for part in parts),
        sum(part.seconds.measure for part in parts),
    )
    note = f"run in {len(parts)} parts {halving.halved}" if halving.halved else ""
    store.commit_batch(batch.id, texts, metrics, seconds, note=note)
    return sum(len(text.response_ids) for text in texts)


class _Session:
    """Counts what is done, and what this session did of it."""

    def __init__(self, batches: Sequence[Batch], done: set[str]) -> None:
        self.n_batches = len(batches)
        self.n_texts = sum(len(b.items) for b in batches)
        self.done_batches = len(done)
        self.done_texts = sum(len(b.items) for b in batches if b.id in done)
        # Pace and time left are in planned tokens: those are known of the rest, too.
        self.planned_left = sum(b.n_tokens for b in batches if b.id not in done)
        self.planned_done = 0
        self.tokens = 0
        self.seconds = 0.0

    def add(self, batch: Batch, tokens: int, seconds: float) -> None:
        self.done_batches += 1
        self.done_texts += len(batch.items)
        self.planned_left -= batch.n_tokens
        self.planned_done += batch.n_tokens
        self.tokens += tokens
        self.seconds += seconds

    def progress(self, note: str) -> Progress:
        left: float | None = None
        if not self.planned_left:
            left = 0.0
        elif self.planned_done:
            left = self.planned_left * self.seconds / self.planned_done
        return Progress(
            self.done_batches,
            self.n_batches,
            self.done_texts,
            self.n_texts,
            self.tokens,
            self.seconds,
            self.tokens / self.seconds if self.seconds > 0 else None,
            left,
            note,
        )


def _check_texts(batch: Batch, texts: Sequence[TextRow]) -> None:
    made = sorted((text.cell_id, text.prompt_id, text.seed) for text in texts)
    asked = sorted(item.key for item in batch.items)
    if made != asked:
        odd = sorted(set(made) ^ set(asked))
        raise InputError(
            f"batch {batch.id} asked for {len(asked)} texts and got {len(made)}"
            f"{f', differing at {odd[0]}' if odd else ''}: work must return one text for each item."
        )
