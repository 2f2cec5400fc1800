"""Runs: a plan that depends on nothing else, a store that survives, an executor that goes on."""

import itertools
import math
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from creativity_lens.errors import DataError, InputError, ModelError
from creativity_lens.io import sha256_json
from creativity_lens.runs.database import transaction
from creativity_lens.runs.execute import BatchResult, execute
from creativity_lens.runs.memory import is_out_of_memory, rows_of_logits
from creativity_lens.runs.plan import Batch, Item, plan_batches
from creativity_lens.runs.rows import Attempt, MetricRow, Seconds, TextRow, utf8
from creativity_lens.runs.store import FILE, RunStore
from tests import toy_run

ROOT = Path(__file__).parents[1]
PLAN = toy_run.plan()
CONFIG = toy_run.CONFIG


def tables(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    with RunStore.read(folder) as store:
        return store.texts(), store.metrics()


def assert_same(folder: Path, other: Path) -> None:
    for mine, expected in zip(tables(folder), tables(other), strict=True):
        pd.testing.assert_frame_equal(mine, expected, check_exact=True)


def done(folder: Path) -> set[str]:
    with RunStore.read(folder) as store:
        return store.done()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="session")
def whole(tmp_path_factory) -> Path:
    """A finished run that nothing interrupted; only to be read."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    toy_run.run(folder)
    return folder


@pytest.fixture
def copy(whole, tmp_path) -> Path:
    """A finished run to be damaged."""
    return Path(shutil.copytree(whole, tmp_path / "copy"))


@pytest.fixture
def start():
    """Start the toy run as a process that stops after some batches; none outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def _start(folder: Path, most: int) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "tests.toy_run", str(folder), str(most)]
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield _start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def after_batches(process: "subprocess.Popen[str]", n: int) -> None:
    """Wait until the process has said that it did `n` batches since it started."""
    for _ in range(n + 1):  # it also speaks before the first
        assert process.stdout.readline(), process.stderr.read()


def kill_in(start, folder: Path, n: int) -> None:
    """Run `n` batches, and kill the process in the middle of the work on the next."""
    process = start(folder, n)
    after_batches(process, n)
    assert process.stdout.readline() == "asleep\n"
    process.kill()
    process.communicate()


# The plan


def row(n: int, n_tokens: int, prompt: str = "p") -> Item:
    return Item((f"c{n}", prompt, 0), n_tokens, prompt)


def random_items(chance: random.Random) -> list[Item]:
    return [
        row(n, chance.randint(1, 40), chance.choice("pqr")) for n in range(chance.randint(1, 40))
    ]


def fits(items: tuple[Item, ...], budget: int) -> bool:
    return len(items) * max(i.n_tokens for i in items) <= budget or len(items) == 1


@pytest.mark.parametrize("seed", range(40))
def test_a_plan_holds_each_item_once_within_budget_and_in_order(seed):
    chance = random.Random(seed)
    items, budget = random_items(chance), chance.randint(1, 200)
    batches = plan_batches(items, token_budget=budget)
    assert sorted(i.key for b in batches for i in b.items) == sorted(i.key for i in items)
    assert all(fits(b.items, budget) for b in batches)
    assert len({b.id for b in batches}) == len(batches)
    flat = [i for b in batches for i in b.items]
    assert flat == sorted(items, key=lambda i: (i.n_tokens, i.prompt_key, items.index(i)))
    assert batches == plan_batches(list(items), token_budget=budget)


@pytest.mark.parametrize("seed", range(40))
def test_no_cut_into_fewer_batches_fits(seed):
    chance = random.Random(seed)
    items = [row(n, chance.randint(1, 9)) for n in range(chance.randint(1, 9))]
    budget = chance.randint(1, 30)
    ordered = sorted(items, key=lambda i: i.n_tokens)

    def possible(n: int) -> bool:
        """Try all ways to put n - 1 cuts between the items."""
        for cuts in itertools.combinations(range(1, len(items)), n - 1):
            ends = (0, *cuts, len(items))
            if all(fits(tuple(ordered[a:b]), budget) for a, b in itertools.pairwise(ends)):
                return True
        return False

    fewest = next(n for n in range(1, len(items) + 1) if possible(n))
    assert len(plan_batches(items, token_budget=budget)) == fewest


@pytest.mark.parametrize(
    ("n", "fit", "sizes"),
    [
        (129, 64, [43, 43, 43]),
        (65, 64, [33, 32]),
        (64, 64, [64]),
        # Ceilings alone would give nine batches of 11 and one of 2.
        (101, 11, [11, *[10] * 9]),
        (3, 1, [1, 1, 1]),
    ],
)
def test_batches_of_equal_items_are_of_equal_size(n, fit, sizes):
    # Room for `fit` rows of 10 tokens, and 9 tokens that are of no use.
    batches = plan_batches([row(i, 10) for i in range(n)], token_budget=10 * fit + 9)
    assert [len(b.items) for b in batches] == sizes


def test_batches_of_unequal_items_are_as_equal_as_the_budget_allows():
    # Two rows of 22 fit, so they need six batches, and the rows of 10, of which five fit, three.
    items = [row(n, 10) for n in range(12)] + [row(n, 22) for n in range(12, 24)]
    batches = plan_batches(items, token_budget=50)
    assert [len(b.items) for b in batches] == [4, 4, 4, 2, 2, 2, 2, 2, 2]


def test_an_item_longer_than_the_budget_stands_alone():
    batches = plan_batches([row(0, 99), row(1, 5), row(2, 5), row(3, 99)], token_budget=10)
    assert [[i.n_tokens for i in b.items] for b in batches] == [[5, 5], [99], [99]]


def test_rows_with_one_prompt_stand_together():
    items = [row(n, 4, "qp"[n % 2]) for n in range(8)]
    batches = plan_batches(items, token_budget=8)
    assert [{i.prompt_key for i in b.items} for b in batches] == [{"p"}, {"p"}, {"q"}, {"q"}]


def test_a_batch_id_is_known_for_ever():
    # printf '[["c0","p",0],["c1","p",0]]' | sha256sum
    (batch,) = plan_batches([row(0, 1), row(1, 1)], token_budget=2)
    assert batch.id == "653644a1d2839d63"
    (other,) = plan_batches([row(1, 1), row(0, 1)], token_budget=2)
    assert other.id != batch.id


@pytest.mark.parametrize(
    ("items", "budget", "said"),
    [
        ([row(0, 1)], 0, "token_budget must be at least 1, got 0"),
        ([], 1, "no items"),
        ([row(0, 1), row(0, 2)], 1, r"two items have the key \('c0', 'p', 0\)"),
        ([row(0, 0)], 1, "n_tokens 0"),
    ],
)
def test_a_plan_of_nothing_or_of_doubles_is_refused(items, budget, said):
    with pytest.raises(InputError, match=said):
        plan_batches(items, token_budget=budget)


# Killed, stopped, shared


def test_a_run_killed_again_and_again_ends_like_one_that_was_not(start, tmp_path, whole):
    chance, folder = random.Random(5), tmp_path / "run"
    sizes = {batch.id: len(batch.items) for batch in PLAN}
    process = start(folder, 3)  # killed while it starts, perhaps before there is a store
    time.sleep(chance.uniform(0.02, 0.2))
    process.kill()
    process.communicate()
    seen = []
    for _ in range(8):
        process = start(folder, 4)
        after_batches(process, chance.randint(0, 3))
        time.sleep(chance.uniform(0, 0.02))
        process.kill()
        process.communicate()
        with RunStore.read(folder) as store:
            assert len(store.texts()) == sum(sizes[batch] for batch in store.done())
            seen.append(len(store.done()))
    assert seen == sorted(seen)
    assert len(set(seen)) > 3
    assert seen[-1] < len(PLAN)
    assert toy_run.run(folder).done_texts == sum(sizes.values())
    assert_same(folder, whole)


def test_a_batch_that_was_half_written_when_it_was_killed_is_taken_back(tmp_path):
    """More is written than SQLite keeps in memory, so half a batch is in the file itself."""
    folder = tmp_path / "run"
    script = f"""
        import os, signal
        from creativity_lens.runs.store import *

        class Deadly(list):
            def __iter__(self):
                os.kill(os.getpid(), signal.SIGKILL)

        with RunStore.open({str(folder)!r}, config={CONFIG!r}) as store:
            first = [TextRow("first", "p", 0, "safe", "stop", [1])]
            store.commit_batch("first", first, [], Seconds(0, 0))
            texts = [TextRow("c", "p", n, "x" * 20_000, "stop", [1]) for n in range(400)]
            store.commit_batch("second", texts, Deadly(), Seconds(0, 0))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (folder / f"{FILE}-journal").stat().st_size > 0
    assert (folder / FILE).stat().st_size > 4_000_000
    with RunStore.read(folder) as store:  # a reader may repair it, too
        assert store.done() == {"first"}
        assert store.texts()["text"].tolist() == ["safe"]
    with RunStore.open(folder, config=CONFIG) as store:
        store.commit_batch("second", [TextRow("c", "p", 0, "", "stop", [])], [], Seconds(0, 0))
        assert store.done() == {"first", "second"}


def resumed(folder: Path) -> tuple[list[int], list[str], list[str]]:
    """Go on to the end: how many items each call had, the notes, and those of the progress."""
    calls, notes, seen = [], [], []

    def counted(items):
        calls.append(len(items))
        return toy_run.work(items)

    run_with(counted, folder, on_progress=lambda p: seen.append(p.note), on_note=notes.append)
    return calls, notes, seen


def stored_notes(folder: Path) -> list[str]:
    with RunStore.read(folder) as store:
        return [note for _, note in store.notes]


# The plan begins with 4 batches of 5 rows (50 tokens) and one of 4 (40); all others are smaller.
SIZES = [len(batch.items) for batch in PLAN]
HALVED = "run in 2 parts because a session was killed"


def test_a_batch_that_a_session_was_killed_in_is_halved_and_so_is_what_is_as_large(
    start, tmp_path, whole
):
    """As by a system that is out of memory, which raises nothing in the process that it kills."""
    kill_in(start, tmp_path, 0)
    calls, notes, seen = resumed(tmp_path)
    assert calls == [*[3, 2] * 4, *SIZES[4:]]
    (note,) = notes
    assert note.startswith("the last session was killed in the middle of a batch, with 5 texts at ")
    assert "\n" not in note
    assert seen == [note] * (len(PLAN) + 1)
    assert stored_notes(tmp_path) == [HALVED] * 4
    assert_same(tmp_path, whole)


def test_a_batch_that_kills_again_is_halved_again(start, tmp_path, whole):
    kill_in(start, tmp_path, 0)
    kill_in(start, tmp_path, 0)  # with 3 rows of 10 tokens
    calls, notes, _ = resumed(tmp_path)
    assert calls[:14] == [*[2, 1, 2] * 4, 2, 2]
    assert "with 3 texts at a time" in notes[0]
    assert_same(tmp_path, whole)


def test_a_kill_among_batches_that_fit_halves_one_batch_alone(start, tmp_path, whole):
    """Whoever is killed often, but not for want of memory, must not come down to single texts."""
    kill_in(start, tmp_path, 1)
    kill_in(start, tmp_path, 1)  # the second batch in parts, and whole again in the third
    calls, notes, _ = resumed(tmp_path)
    assert calls == [3, 2, *SIZES[3:]]
    assert "with 5 texts at a time" in notes[0]
    assert stored_notes(tmp_path) == [HALVED] * 2
    assert_same(tmp_path, whole)


def test_what_was_too_big_is_known_after_another_kill(start, tmp_path, whole):
    kill_in(start, tmp_path, 0)
    kill_in(start, tmp_path, 2)  # 3 rows went through, and are what it is killed in
    calls, _, _ = resumed(tmp_path)
    assert calls == [2, 1, 2, 3, 2, *SIZES[4:]]
    assert_same(tmp_path, whole)


def test_a_kill_in_a_single_text_is_said_and_nothing_can_be_halved(tmp_path):
    plan = plan_batches([row(n, 10) for n in range(3)], token_budget=10)
    with RunStore.open(tmp_path, config=CONFIG) as store:
        store.begin_attempt(Attempt(plan[0].id, 1, 10, 0, None))
    notes = []
    run_with(toy_run.work, tmp_path, plan, on_note=notes.append)
    (note,) = notes
    assert "killed in the middle of a single text" in note
    assert stored_notes(tmp_path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("shapes"), SystemExit()])
def test_an_orderly_end_halves_nothing(error, tmp_path, whole):
    noted: list[Attempt | None] = []

    def stopped(items):
        with RunStore.read(tmp_path) as store:
            noted.append(store.attempt())
        if len(noted) == 2:
            raise error
        return toy_run.work(items)

    with pytest.raises(type(error)):
        run_with(stopped, tmp_path)
    assert noted == [
        Attempt(PLAN[0].id, 5, 50, 0, None),
        Attempt(PLAN[1].id, 5, 50, 50, None),
    ]
    with RunStore.read(tmp_path) as store:
        assert store.attempt() is None
    calls, notes, _ = resumed(tmp_path)
    assert calls == SIZES[1:]
    assert notes == []
    with RunStore.read(tmp_path) as store:
        assert store.attempt() is None
    assert_same(tmp_path, whole)


def test_a_journal_left_alone_does_not_reach_a_new_store(copy):
    (copy / f"{FILE}-journal").write_bytes(b"of another file")
    (copy / f".{FILE}.abc.part").write_bytes(b"half")
    (copy / FILE).unlink()
    with RunStore.open(copy, config=CONFIG) as store:
        assert store.done() == set()
    assert set(contents(copy)) == {FILE, "run.lock"}


def test_ctrl_c_ends_a_run_at_once_and_it_goes_on_later(start, tmp_path, whole):
    folder = tmp_path / "run"
    process = start(folder, 2)
    after_batches(process, 2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)  # of the minute that its work would take
    assert process.returncode == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert set(contents(folder)) == {FILE, "run.lock"}  # no journal, no owner
    assert done(folder) == {batch.id for batch in PLAN[:2]}
    calls, notes, _ = resumed(folder)
    assert calls == SIZES[2:]  # nothing is halved for it
    assert notes == []
    assert_same(folder, whole)


def test_a_second_process_is_refused_while_the_first_works(start, tmp_path):
    folder = tmp_path / "run"
    process = start(folder, 0)
    after_batches(process, 0)
    said = rf"another process is working in .*run \(pid {process.pid} on .+, since 20.+\): wait"
    with pytest.raises(InputError, match=said):
        RunStore.open(folder, config=CONFIG)
    assert done(folder) == set()  # reading takes no lock
    process.kill()
    process.communicate()
    RunStore.open(folder, config=CONFIG).close()


def test_one_process_cannot_open_a_run_twice_and_an_error_gives_it_back(tmp_path):
    def twice() -> None:
        with RunStore.open(tmp_path, config=CONFIG):
            RunStore.open(tmp_path, config=CONFIG)

    with pytest.raises(InputError, match=f"pid {os.getpid()} "):
        twice()
    RunStore.open(tmp_path, config=CONFIG).close()


# The store


def test_another_config_is_named_by_its_keys_and_nothing_is_touched(copy, whole):
    other = {"layers": [1, 3], "sampling": {"temperature": 1.0, "seed": 7}, "new": {"a": True}}
    before = contents(copy)
    with pytest.raises(InputError, match="another config") as caught:
        RunStore.open(copy, config=other)
    assert contents(copy) == before
    assert (
        "layers was [1, 2] and is now [1, 3]; new.a was absent and is now true; "
        "sampling.seed was 0 and is now 7. Choose another --out, undo the change"
        in str(caught.value)
    )
    with pytest.raises(InputError, match=r"is now absent; and 2 more\. Choose"):
        RunStore.open(copy, config={"a": 1, "b": 2})
    # The order of keys is no difference, and a tuple is a list.
    same = {"sampling": {"seed": 0, "temperature": 1.0}, "layers": (1, 2)}
    with RunStore.open(copy, config=same) as store:
        assert store.config == CONFIG
    assert_same(copy, whole)


def begun(folder: Path, config) -> None:
    """A run with one batch."""
    with RunStore.open(folder, config=config) as store:
        store.commit_batch("first", [], [], Seconds(0.0, 0.0))


A, B = "a" * 64, "b" * 64
NAMES = {"of.file_sha256": "the file f.txt", "model.dtype": "the model's dtype"}


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ({"of": {"file_sha256": B}}, "config: the file f.txt has changed since the run began. "),
        ({"model": {"dtype": "bf16"}}, 'the model\'s dtype was "f32" and is now "bf16". '),
        ({"of": {"other": B}}, "config: of.file_sha256 has changed since the run began; of.other "),
        # Another n has other digests: that is no change of the file.
        ({"n": 2, "of": {"file_sha256": B}}, "config: n was 1 and is now 2. "),
        ({"n": A}, f'config: n was 1 and is now "{A}". '),
    ],
)
def test_what_has_changed_is_said_in_the_words_that_were_given(now, said, tmp_path):
    config = {"of": {"file_sha256": A}, "model": {"dtype": "f32"}, "n": 1}
    begun(tmp_path, config)
    names = {} if "other" in now.get("of", {}) else NAMES
    with pytest.raises(InputError) as caught:
        RunStore.open(tmp_path, config=config | now, names=names)
    assert said in str(caught.value)


def test_a_run_without_a_batch_takes_another_config(tmp_path):
    """A first start that fails must not hold the folder for ever."""
    with RunStore.open(tmp_path, config={"a": 1}) as store:
        store.begin_attempt(Attempt("of another plan", 5, 50, 0, None))
    with RunStore.open(tmp_path, config=CONFIG, resume=False) as store:
        assert store.attempt() is None
        assert store.config == CONFIG
        assert store.config_sha256 == sha256_json(CONFIG)
    begun(tmp_path, CONFIG)
    with pytest.raises(InputError, match="another config: a was absent and is now 1"):
        RunStore.open(tmp_path, config={"a": 1})
    with pytest.raises(InputError, match="holds a run already"):
        RunStore.open(tmp_path, config=CONFIG, resume=False)
    with RunStore.read(tmp_path) as store:
        assert store.config == CONFIG


def test_true_is_not_one_and_a_config_must_be_json(tmp_path):
    begun(tmp_path, {"a": 1})
    with pytest.raises(InputError, match="a was 1 and is now true"):
        RunStore.open(tmp_path, config={"a": True})
    with pytest.raises(InputError, match="plain JSON"):
        RunStore.open(tmp_path, config={"a": {1, 2}})


def test_a_run_is_not_begun_over_another(copy):
    before = contents(copy)
    with pytest.raises(InputError, match="holds a run already"):
        RunStore.open(copy, config=CONFIG, resume=False)
    assert contents(copy) == before


def damage(how: str, path: Path) -> None:
    size = path.stat().st_size
    if how == "foreign text":
        path.write_text("not a database, but long enough to hold a header of one\n" * 99)
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "cut":
        os.truncate(path, size // 2)
    elif how == "scrambled":
        # Far from what is read when it is opened.
        path.write_bytes(path.read_bytes()[: size // 2] + b"\x07" * (size - size // 2))
    else:
        path.unlink()
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE meta (key, value)")
            if how == "other version":
                rows = [("format", "creativity_lens run"), ("schema_version", "99")]
                db.executemany("INSERT INTO meta VALUES (?, ?)", rows)
        db.close()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("foreign text", "damaged or is no store"),
        ("empty", "damaged or is no store"),
        ("cut", "damaged or is no store"),
        ("scrambled", "damaged or is no store"),
        ("foreign database", "another program wrote it"),
        ("other version", "schema version 99"),
    ],
)
def test_what_is_no_store_of_ours_is_refused_and_left_alone(how, said, copy):
    damage(how, copy / FILE)
    before = contents(copy)
    with pytest.raises(DataError, match=said):
        RunStore.open(copy, config=CONFIG)
    with pytest.raises(DataError, match=said):
        RunStore.read(copy)
    assert contents(copy) == before


def test_a_folder_that_cannot_be_one_or_holds_no_run_is_refused(tmp_path, write):
    with pytest.raises(InputError, match=r"cannot write to .*file"):
        RunStore.open(write("file", ""), config=CONFIG)
    with pytest.raises(DataError, match="holds no run"):
        RunStore.read(tmp_path)
    (tmp_path / FILE).mkdir()
    with pytest.raises(InputError, match="cannot open"):
        RunStore.read(tmp_path)


def test_a_batch_is_stored_once_and_whole(tmp_path):
    text = TextRow("c", "p", 0, "one", "stop", [1, 2])
    number = MetricRow("c", "p", 0, "nll", None, 1.0)
    with RunStore.open(tmp_path, config=CONFIG) as store:
        store.commit_batch("first", [text], [number], Seconds(1.0, 0.5), note="slow")
        other = text._replace(seed=1)
        twice = [number._replace(seed=1)] * 2  # without a layer, which is NULL
        for batch, texts, numbers in (
            ("first", [other], []),
            ("second", [other, text], []),
            ("second", [other], twice),
            ("second", [other], [number._replace(cell_id="unknown")]),
        ):
            with pytest.raises(InputError, match=f"cannot store batch {batch}"):
                store.commit_batch(batch, texts, numbers, Seconds(1.0, 1.0))
        assert store.done() == {"first"}
        assert len(store.texts()) == len(store.metrics()) == 1
        store.commit_batch("second", [other], [], Seconds(2.0, 0.25))
        assert store.seconds() == (3.0, 0.75)
        assert store.n_tokens() == 4
        assert store.notes == (("first", "slow"),)
    with (
        RunStore.read(tmp_path) as store,
        pytest.raises(InputError, match="open for reading"),
    ):
        store.commit_batch("third", [], [], Seconds(0.0, 0.0))


def test_ctrl_c_in_the_middle_of_a_commit_leaves_nothing_of_it(tmp_path):
    with RunStore.open(tmp_path, config=CONFIG) as store:

        def interrupted() -> None:
            with transaction(store._db):
                store._db.execute("INSERT INTO meta VALUES ('half', 'written')")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        store.commit_batch("next", [], [], Seconds(0.0, 0.0))
        assert not store._db.execute("SELECT 1 FROM meta WHERE key = 'half'").fetchall()


def test_a_full_disk_is_said_and_costs_one_batch(tmp_path):
    with RunStore.open(tmp_path, config=CONFIG) as store:
        store.commit_batch("first", [], [], Seconds(0.0, 0.0))
        pages = store._db.execute("PRAGMA page_count").fetchone()[0]
        store._db.execute(f"PRAGMA max_page_count = {pages}")
        long = TextRow("c", "p", 0, "x" * 100_000, "stop", [])
        with pytest.raises(InputError, match=r"is full.*the same command goes on"):
            store.commit_batch("second", [long], [], Seconds(0.0, 0.0))
        assert store.done() == {"first"}


def test_tables_come_back_in_one_order_with_the_types_of_the_contract(tmp_path):
    keys = [("b", "p1", 0), ("a", "p2", 10), ("a", "p2", 9), ("a", "p10", 0)]
    values = [math.nan, math.inf, -math.inf, 1 / 3]
    with RunStore.open(tmp_path, config=CONFIG) as store:
        for table in (store.texts(), store.metrics()):
            assert table.empty
        for key, value in zip(keys, values, strict=True):
            text = TextRow(*key, "t", "length", np.arange(3))
            numbers = [
                MetricRow(*key, "score", 10, np.float32(0.5)),
                MetricRow(*key, "score", 9, value),
                MetricRow(*key, "nll", None, value),
            ]
            store.commit_batch(str(key), [text], numbers, Seconds(0.0, 0.0))
        texts, metrics = store.texts(), store.metrics()
    ordered = sorted(keys)
    assert list(texts[["cell_id", "prompt_id", "seed"]].itertuples(index=False)) == ordered
    assert texts["seed"].dtype == "int64"
    assert texts["response_ids"].tolist() == [(0, 1, 2)] * 4
    assert metrics["metric"].tolist() == ["nll", "score", "score"] * 4
    assert metrics["read_layer"].tolist() == [pd.NA, 9, 10] * 4
    assert [str(metrics[c].dtype) for c in ("seed", "read_layer", "value")] == [
        "Int64",
        "Int64",
        "float64",
    ]
    expected = [values[keys.index(key)] for key in ordered]
    np.testing.assert_array_equal(metrics["value"][0::3], expected)
    np.testing.assert_array_equal(metrics["value"][1::3], expected)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("plain", "plain"),
        ("nul \0 inside", "nul \0 inside"),
        ("🐙 \u2028 \x1b[31m", "🐙 \u2028 \x1b[31m"),
        ("\ud83d\udc19", "🐙"),  # both halves, apart
        ("a\ud83d", "a\ufffd"),
        ("\udc19b", "\ufffdb"),
        ("\udc19\ud83dx", "\ufffd\ufffdx"),
    ],
)
def test_any_text_is_stored_and_fits_a_parquet_file(text, kept, tmp_path):
    assert utf8(text) == kept
    with RunStore.open(tmp_path, config=CONFIG) as store:
        row = TextRow("c", "p", 0, text, "stop", [])
        store.commit_batch("b", [row], [], Seconds(0.0, 0.0), note=text)
        table = store.texts()
        assert store.notes == (("b", kept),)
    assert table["text"].tolist() == [kept]
    table.to_parquet(tmp_path / "texts.parquet")
    assert pd.read_parquet(tmp_path / "texts.parquet")["text"].tolist() == [kept]


# The executor


def run_with(work, folder: Path, plan: tuple[Batch, ...] = PLAN, **callbacks):
    with RunStore.open(folder, config=CONFIG) as store:
        return execute(plan, work, store, **callbacks)


def test_another_order_of_batches_gives_the_same_tables(tmp_path, whole):
    run_with(toy_run.work, tmp_path, PLAN[::-1])
    assert_same(tmp_path, whole)
    with RunStore.read(tmp_path) as store:
        assert store.notes == ()


def test_an_error_passes_through_and_the_batches_before_it_stay(tmp_path, whole):
    calls = []

    def failing(items):
        calls.append(items)
        if len(calls) == 4:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
        return toy_run.work(items)

    with pytest.raises(RuntimeError, match="shapes"):
        run_with(failing, tmp_path)
    assert done(tmp_path) == {batch.id for batch in PLAN[:3]}
    assert len(calls) == 4
    run_with(failing, tmp_path)
    assert len(calls) == 4 + len(PLAN) - 3
    assert_same(tmp_path, whole)


def test_a_store_of_another_plan_is_refused(tmp_path):
    run_with(toy_run.work, tmp_path, PLAN[:3])
    other = plan_batches(toy_run.items(), token_budget=25)
    with pytest.raises(InputError, match="3 batches that are not in this plan"):
        run_with(toy_run.work, tmp_path, other)


def test_work_must_return_the_texts_that_were_asked_for(tmp_path):
    def forgetful(items):
        return toy_run.work(items[1:])

    with pytest.raises(InputError, match=r"asked for 5 texts and got 4, differing at \('cell-0'"):
        run_with(forgetful, tmp_path)
    assert done(tmp_path) == set()


def no_memory() -> None:
    torch.empty(10**15)  # a real failure of the CPU's allocator


def test_memory_that_runs_out_halves_the_batch_and_changes_nothing(tmp_path):
    calls, notes = [], []

    plan = plan_batches([row(n, 10) for n in range(15)], token_budget=50)

    def greedy(items):
        calls.append(len(items))
        if len(items) > 2:
            no_memory()
        return toy_run.work(items)

    progress = run_with(greedy, tmp_path / "small", plan, on_note=notes.append)
    run_with(toy_run.work, tmp_path / "large", plan)
    assert_same(tmp_path / "small", tmp_path / "large")
    # Five fail, and their larger half of three; what is as large is not tried again.
    assert calls == [5, 3, 2, 1, 2, *[2, 1, 2] * 2]
    assert len(notes) == 2
    assert notes[0].startswith("out of memory with 5 texts of at most 10 tokens ([enforce fail at")
    assert "can't allocate memory" in notes[0]
    assert progress.note == notes[-1]
    with RunStore.read(tmp_path / "small") as store:
        said = "run in 3 parts because memory ran out"
        assert store.notes == tuple((batch.id, said) for batch in plan)
        assert store.seconds() == (0.5 * 9, 0.25 * 9)


def test_no_more_rows_than_asked_for_are_worked_on_at_once(tmp_path, whole):
    calls, notes = [], []

    def counted(items):
        calls.append(len(items))
        return toy_run.work(items)

    run_with(counted, tmp_path, max_rows=2, on_note=notes.append)
    # Five in three parts as equal as can be, four in two, three in two, two in one.
    assert sorted(calls[:3]) == [1, 2, 2]
    assert len(calls) == sum(-(-size // 2) for size in SIZES)
    assert max(calls) == 2
    assert notes == stored_notes(tmp_path) == []  # it is planned, and no shortage
    assert_same(tmp_path, whole)
    with pytest.raises(InputError, match="max_rows must be at least 1, got 0"):
        run_with(toy_run.work, tmp_path, max_rows=0)


def test_parts_of_a_batch_are_halved_like_a_batch(tmp_path, whole):
    calls = []

    def greedy(items):
        calls.append(len(items))
        if len(items) > 2:
            raise MemoryError
        return toy_run.work(items)

    run_with(greedy, tmp_path, PLAN[:1], max_rows=4, on_note=lambda note: None)
    assert calls == [2, 3, 2, 1]
    assert stored_notes(tmp_path) == ["run in 3 parts because memory ran out"]


def test_the_logits_that_are_kept_take_four_gibibytes_at_most():
    # SmolLM2: 49,152 tokens; 4 GiB / (48 · 49,152 · 4 bytes) = 455.1
    assert rows_of_logits(48, 49_152) == 455
    assert rows_of_logits(2**15, 2**15) == 1  # exactly
    assert rows_of_logits(10**6, 10**6) == 1


def test_what_a_failed_attempt_made_is_gone_before_the_next(tmp_path):
    class Tensor:
        """Stands for the memory of an attempt."""

    made = []

    def greedy(items):
        assert all(reference() is None for reference in made)
        held = Tensor()
        made.append(weakref.ref(held))
        if len(items) > 1:
            raise MemoryError
        return toy_run.work(items)

    run_with(greedy, tmp_path, PLAN[:2])
    assert len(made) > 6


def test_a_text_that_does_not_fit_alone_is_named_with_the_remedy(tmp_path):
    victim = PLAN[1].items[2]

    def greedy(items):
        if victim in items:
            raise RuntimeError("CUDA error: out of memory\nmore lines")
        return toy_run.work(items)

    with pytest.raises(ModelError, match=r"does not fit into memory even alone") as caught:
        run_with(greedy, tmp_path, on_note=lambda note: None)
    assert str(victim.key) in str(caught.value)
    assert "(CUDA error: out of memory)" in str(caught.value)
    assert "generate fewer tokens" in str(caught.value)
    assert done(tmp_path) == {PLAN[0].id}


def test_halving_is_logged_when_nobody_listens(tmp_path, caplog):
    def greedy(items):
        if len(items) > 2:
            raise MemoryError
        return toy_run.work(items)

    run_with(greedy, tmp_path, PLAN[:1])
    assert "(MemoryError): going on with half" in caplog.text


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("Tried to allocate 2.00 GiB"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ModelError("out of memory"), False),  # ours, and it has a remedy
        (ValueError("out of memory"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_what_counts_as_out_of_memory(error, expected):
    assert is_out_of_memory(error) is expected


@pytest.mark.parametrize("fail", [no_memory, lambda: np.empty(10**15)])
def test_real_failures_to_allocate_count(fail):
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        fail()
    assert is_out_of_memory(caught.value)


def test_speed_and_time_left_come_from_this_session_alone(tmp_path, monkeypatch):
    # Four batches of two rows of 10 planned tokens; each row makes 3 tokens, each batch takes 2 s.
    plan = plan_batches([row(n, 10) for n in range(8)], token_budget=20)
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(
        "creativity_lens.runs.execute.time", SimpleNamespace(perf_counter=lambda: clock.now)
    )

    def work(items):
        clock.now += 2.0
        return BatchResult(
            [TextRow(*i.key, "t", "stop", [1, 2, 3]) for i in items], [], Seconds(1.0, 1.0)
        )

    def stop_after_one(progress):
        if progress.done_batches == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_with(work, tmp_path, plan, on_progress=stop_after_one)
    clock.now = 1000.0
    seen = []
    last = run_with(work, tmp_path, plan, on_progress=seen.append)
    assert last == seen[-1]
    counted = [(p.done_batches, p.done_texts, p.tokens, p.seconds) for p in seen]
    assert counted == [(1, 2, 0, 0.0), (2, 4, 6, 2.0), (3, 6, 12, 4.0), (4, 8, 18, 6.0)]
    assert [(p.tokens_per_second, p.seconds_left) for p in seen] == [
        (None, None),
        (3.0, 4.0),
        (3.0, 2.0),
        (3.0, 0.0),
    ]
    assert all((p.n_batches, p.n_texts, p.note) == (4, 8, "") for p in seen)
    again = run_with(work, tmp_path, plan)
    assert (again.done_batches, again.tokens_per_second, again.seconds_left) == (4, None, 0.0)
