"""The on-disk store: what goes in comes out, whole or not at all, and damage is seen."""

import json
import math
import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from creativity_lens.activations import blocks, reading, shards, store
from creativity_lens.activations.reading import Passage, read_passages
from creativity_lens.activations.store import (
    ActivationStore,
    cached_store,
    passages_sha256,
    save_means,
    span_tokens,
    store_bytes,
    write_store,
)
from creativity_lens.errors import DataError, InputError
from creativity_lens.io import sha256_file, sha256_json
from creativity_lens.models.identity import identity
from creativity_lens.models.protocol import resid_post
from tests.fakes import unchecked
from tests.tiny import D_MODEL, N_CTX, N_LAYERS, live_hooks, tiny_model, token_rows

LAYERS = tuple(range(N_LAYERS))
LENGTHS = ((4, 9), (12, 3), (2, 2), (7, 20), (3, 5), (0, 6), (5, 1))
# Of each text, what counts: all its tokens, but the attention sink of the one without context.
N_TOKENS = (9, 3, 2, 20, 5, 5, 1)
PASSAGES = [Passage(f"text-{i}", *token_rows(*n, seed=i)) for i, n in enumerate(LENGTHS)]


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return tiny_model("gpt2", tmp_path_factory.mktemp("other"))


@pytest.fixture
def runs(monkeypatch) -> list[int]:
    """How many rows each forward pass of the store's reading has had."""
    found = []
    for module in (reading, store):

        def spy(model, ids, *args, _read=module.read, **kwargs):
            found.append(len(ids))
            return _read(model, ids, *args, **kwargs)

        monkeypatch.setattr(module, "read", spy)
    return found


def shard_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("shard-*.safetensors"))


def tensor_bytes(folder: Path) -> int:
    return sum(t.nbytes for file in shard_files(folder) for t in load_file(file).values())


def edit_index(folder: Path, *, sign: bool = True, **changes) -> None:
    """Change the index; with `sign` its digest is made to match again."""
    index = json.loads((folder / "index.json").read_text())
    digest = index.pop("sha256")
    index |= changes
    index["sha256"] = sha256_json(index) if sign else digest
    (folder / "index.json").write_text(json.dumps(index))


def provenance(model, **changes):
    return {"model": identity(model), "span": "response", "unit_tokens": False, **changes}


# --- what goes in comes out ------------------------------------------------------------------


@pytest.mark.parametrize("shard_texts", [256, 3, 1])
def test_means_are_those_of_read_passages(model, tmp_path, shard_texts):
    written = write_store(
        model, PASSAGES, tmp_path / "s", shard_texts=shard_texts, likelihood=True, batch_size=2
    )
    found = ActivationStore.open(tmp_path / "s", model=model)
    read = read_passages(model, PASSAGES, layers=LAYERS, likelihood=True, batch_size=2)
    assert len(shard_files(tmp_path / "s")) == math.ceil(len(PASSAGES) / shard_texts)
    assert (found.ids, found.layers) == (tuple(p.id for p in PASSAGES), LAYERS)
    assert (found.d_model, found.kind, found.n_tokens) == (D_MODEL, "text-mean", N_TOKENS)
    assert found.means().dtype == torch.float32
    # Other shards make other batches, which differ in rounding.
    assert torch.allclose(found.means(), read.means.float(), rtol=1e-4, atol=1e-5)
    assert found.nll == pytest.approx(read.nll, rel=1e-5)
    for index, layer in enumerate(LAYERS):
        assert torch.equal(found.layer(layer), found.means()[:, index])
    assert torch.equal(written.means(), found.means())
    assert found.rows("text-3") == slice(3, 4)


def test_settings_reach_the_reading(llama, tmp_path):
    settings = {"span": "last", "unit_tokens": True}
    found = write_store(llama, PASSAGES[:4], tmp_path / "s", layers=(2, 0), **settings)
    read = read_passages(llama, PASSAGES[:4], layers=(2, 0), **settings)
    assert found.layers == (2, 0)
    assert found.n_tokens == (1, 1, 1, 1)
    assert torch.equal(found.means(), read.means.float())
    assert torch.equal(found.layer(0), read.means[:, 1].float())


@pytest.mark.legacy
@pytest.mark.parametrize("settings", [{}, {"unit_tokens": True}, {"shard_texts": 2}])
@pytest.mark.parametrize("span", ["response", "last"])
def test_the_mean_of_stored_tokens_is_the_stored_mean(model, tmp_path, span, settings):
    settings = {"span": span, "likelihood": True, "batch_size": 3, **settings}
    tokens = write_store(model, PASSAGES, tmp_path / "tokens", kind="token", **settings)
    means = write_store(model, PASSAGES, tmp_path / "means", **settings)
    assert tokens.n_tokens == means.n_tokens
    assert tokens.layer(1).shape == (sum(tokens.n_tokens), D_MODEL)
    assert torch.allclose(tokens.means(), means.means(), rtol=1e-4, atol=1e-5)
    for place, text_id in enumerate(tokens.ids):
        mine = tokens.layer(1)[tokens.rows(text_id)]
        assert len(mine) == tokens.n_tokens[place]
        assert torch.allclose(mine.mean(dim=0), means.layer(1)[place], rtol=1e-4, atol=1e-5)
    assert tokens.nll == pytest.approx(means.nll, rel=1e-5)


def test_stored_tokens_are_the_residual_stream_in_order(llama, tmp_path):
    found = write_store(llama, PASSAGES, tmp_path / "s", kind="token", layers=1, batch_size=4)
    for passage in (PASSAGES[0], PASSAGES[5]):  # with a context, and without
        ids = torch.tensor([[*passage.context_ids, *passage.text_ids]])
        _, cache = llama.run_with_cache(ids, prepend_bos=False)
        stream = cache[resid_post(1)][0]
        expected = stream[max(len(passage.context_ids), 1) :]  # never the attention sink
        assert torch.allclose(
            found.layer(1)[found.rows(passage.id)], expected, rtol=1e-4, atol=1e-5
        )


def test_float16_takes_half_the_bytes_and_is_read_as_float32(llama, tmp_path):
    wide, narrow = (
        write_store(llama, PASSAGES, tmp_path / dtype, dtype=dtype)
        for dtype in ("float32", "float16")
    )
    assert tensor_bytes(narrow.folder) * 2 == tensor_bytes(wide.folder)
    assert narrow.layer(1).dtype == torch.float32
    assert torch.equal(narrow.means(), wide.means().half().float())


def test_without_likelihood_there_is_none(llama, tmp_path):
    found = write_store(llama, PASSAGES, tmp_path / "s")
    assert found.nll.shape == (len(PASSAGES),)
    assert np.isnan(found.nll).all()


def test_the_provenance_says_where_the_numbers_come_from(llama, tmp_path):
    # Keys of notes become strings in the file, and 10 sorts before 9 then.
    notes = {"context": "neutral", "seeds": {9: "a", 10: math.nan}}
    found = write_store(llama, PASSAGES, tmp_path / "s", span="last", notes=notes)
    assert found.provenance["model"] == identity(llama)
    assert found.provenance["hook"] == "resid_post"
    assert (found.provenance["span"], found.provenance["unit_tokens"]) == ("last", False)
    assert found.provenance["notes"] == {"context": "neutral", "seeds": {"9": "a", "10": None}}
    assert found.provenance["texts_sha256"] == passages_sha256(PASSAGES)
    assert passages_sha256(PASSAGES) != passages_sha256(PASSAGES[::-1])
    assert found.provenance["versions"]["torch"]


def test_the_count_of_tokens_is_that_of_the_reading(llama):
    for span in ("response", "last", "prompt-last"):
        passages = [p for p in PASSAGES if p.context_ids or span == "response"]
        for batch in reading.read_batches(llama, passages, span=span):
            expected = [span_tokens(passages[i], span) for i in batch.indices]
            assert batch.chosen.sum(dim=1).tolist() == expected


# --- size ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "dtype", "rows"),
    [("text-mean", "float32", 7), ("token", "float32", 45), ("token", "float16", 45)],
)
def test_the_size_is_told_before_the_model_runs_and_is_right(
    llama, tmp_path, runs, kind, dtype, rows
):
    told = []

    def on_size(n_bytes: int) -> None:
        assert not runs
        assert list(tmp_path.iterdir()) == []
        told.append(n_bytes)

    write_store(
        llama, PASSAGES, tmp_path / "s", kind=kind, dtype=dtype, shard_texts=2, on_size=on_size
    )
    assert runs
    assert told == [tensor_bytes(tmp_path / "s")]
    assert told == [store_bytes(PASSAGES, N_LAYERS, D_MODEL, kind, dtype)]
    assert told == [rows * N_LAYERS * D_MODEL * (4 if dtype == "float32" else 2)]


def test_who_is_told_the_size_may_refuse(llama, tmp_path, runs):
    with pytest.raises(RuntimeError, match="too large"):
        write_store(llama, PASSAGES, tmp_path / "s", on_size=_refuse)
    assert not runs
    assert list(tmp_path.iterdir()) == []


def _refuse(n_bytes: int) -> None:
    raise RuntimeError("too large")


def test_too_little_room_names_what_is_needed_and_what_is_free(llama, tmp_path, runs, monkeypatch):
    needed = store_bytes(PASSAGES, N_LAYERS, D_MODEL)
    usage = SimpleNamespace(free=needed - 1)
    monkeypatch.setattr(blocks.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match=r"needs 0\.0 MB and 0\.0 MB are free: make room"):
        write_store(llama, PASSAGES, tmp_path / "deep" / "s")
    assert not runs
    usage.free = needed
    write_store(llama, PASSAGES, tmp_path / "deep" / "s")


def test_a_shard_never_holds_more_than_its_bytes_unless_one_text_does(llama, tmp_path, monkeypatch):
    row = N_LAYERS * D_MODEL * 4
    monkeypatch.setattr(blocks, "SHARD_BYTES", 14 * row)
    found = write_store(llama, PASSAGES, tmp_path / "s", kind="token")
    # Of 9, 3, 2, 20, 5, 5, 1 tokens: 9 + 3 + 2 fill a shard, 20 stand alone, 11 remain.
    assert [s.n_rows for s in found.shards] == [14, 20, 11]
    assert [s.n_texts for s in found.shards] == [3, 1, 3]


def test_progress_counts_every_text_once(llama, tmp_path):
    for kind in ("text-mean", "token"):
        finished = []
        write_store(
            llama, PASSAGES, tmp_path / kind, kind=kind, shard_texts=3, batch_size=2,
            on_progress=finished.append,
        )  # fmt: skip
        assert sum(finished) == len(PASSAGES)


# --- reading little --------------------------------------------------------------------------


def test_reading_one_layer_touches_no_other(llama, tmp_path, monkeypatch):
    write_store(llama, PASSAGES, tmp_path / "s", shard_texts=3)
    touched = []
    real = shards.safe_open

    class Spy:
        def __init__(self, path, **kwargs):
            self.file = real(path, **kwargs)

        def __enter__(self):
            self.file.__enter__()
            return self

        def __exit__(self, *error):
            return self.file.__exit__(*error)

        def __getattr__(self, name):
            return getattr(self.file, name)

        def get_tensor(self, name):
            touched.append(name)
            return self.file.get_tensor(name)

    monkeypatch.setattr(shards, "safe_open", Spy)
    found = ActivationStore.open(tmp_path / "s")
    assert touched == []
    found.layer(1)
    assert touched == ["layer_001"] * 3  # once for each shard


def peak_memory() -> int:
    """The most memory resident since the last `reset_peak`, in bytes."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line for line in status.split("\n") if "VmHWM" in line).split()[1])


def reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("this system does not reset the peak of resident memory")


def test_reading_one_layer_of_many_takes_the_memory_of_one(llama, tmp_path):
    n, d_model, mib = 1024, 1024, 2**20
    stored = save_means(
        tmp_path / "s",
        [str(i) for i in range(n)],
        torch.ones(1, 1, 1).expand(n, 24, d_model),
        provenance={
            **provenance(llama),
            "model": {**identity(llama), "n_layers": 24, "d_model": d_model},
        },
        n_tokens=[1] * n,
        shard_texts=n,
    )
    assert stored.shards[0].n_bytes > 96 * mib
    reset_peak()
    before = peak_memory()
    assert stored.layer(7).sum() == n * d_model
    # The layer's pages, a copy and the result, of 4 MiB each, and what the kernel reads ahead.
    assert peak_memory() - before < 32 * mib


def test_what_is_read_does_not_hang_on_the_file(llama, tmp_path):
    found = write_store(llama, PASSAGES, tmp_path / "s")
    first, expected = found.layer(0), found.layer(0).clone()
    first += 1
    shutil.rmtree(tmp_path / "s")
    assert torch.equal(first, expected + 1)


def test_a_store_replaced_behind_a_handle_is_an_error_not_other_numbers(llama, tmp_path):
    old = write_store(llama, PASSAGES, tmp_path / "s")
    write_store(llama, PASSAGES, tmp_path / "s", unit_tokens=True)
    with pytest.raises(DataError, match="replaced or damaged since it was opened"):
        old.layer(0)


@pytest.mark.parametrize("layer", [7, -1])
def test_a_layer_that_is_not_there_is_refused_with_those_that_are(llama, tmp_path, layer):
    found = write_store(llama, PASSAGES, tmp_path / "s", layers=(0, 2))
    with pytest.raises(InputError, match=rf"layer {layer} is not in .* holds layers 0, 2"):
        found.layer(layer)


def test_a_text_that_is_not_there_is_refused(llama, tmp_path):
    found = write_store(llama, PASSAGES, tmp_path / "s")
    with pytest.raises(InputError, match="holds no text 'nobody'; it holds 7 texts"):
        found.rows("nobody")


# --- damage ----------------------------------------------------------------------------------


@pytest.fixture
def home(llama, tmp_path) -> Path:
    """A store of several shards."""
    return write_store(llama, PASSAGES, tmp_path / "s", shard_texts=3).folder


def flip_last_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_one_changed_bit_is_seen(home):
    flip_last_byte(shard_files(home)[1])
    with pytest.raises(DataError, match=r"shard-00001-.* is damaged: its digest does not match"):
        ActivationStore.open(home)
    ActivationStore.open(home, verify=False)  # as documented: it did not look


@pytest.mark.parametrize("verify", [True, False])
def test_a_shard_that_is_cut_short_is_seen(home, verify):
    path = shard_files(home)[2]
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"shard-00002-.*should have .*write the store again"):
        ActivationStore.open(home, verify=verify)


@pytest.mark.parametrize("verify", [True, False])
def test_a_missing_shard_is_seen(home, verify):
    shard_files(home)[0].unlink()
    with pytest.raises(DataError, match=r"incomplete: shard-00000-.* is missing; write the store"):
        ActivationStore.open(home, verify=verify)


@pytest.mark.parametrize(
    "tensors",
    [
        {f"layer_{i:03d}": torch.zeros(3, D_MODEL + 1) for i in LAYERS},
        {f"layer_{i:03d}": torch.zeros(2, D_MODEL) for i in LAYERS},
        {f"layer_{i:03d}": torch.zeros(3, D_MODEL).half() for i in LAYERS},
        {f"layer_{i:03d}": torch.zeros(3, D_MODEL) for i in LAYERS[:-1]},
    ],
    ids=["width", "rows", "dtype", "layers"],
)
def test_a_shard_of_another_shape_is_seen(home, tensors):
    """Even if its digest is the one that the index names."""
    path = shard_files(home)[0]
    save_file(tensors, path)
    index = json.loads((home / "index.json").read_text())
    index["shards"][0] |= {"sha256": sha256_file(path), "n_bytes": path.stat().st_size}
    edit_index(home, shards=index["shards"])
    with pytest.raises(DataError, match=r"layer_00\d should be float32 of shape \[3, 32\]"):
        ActivationStore.open(home)


def test_a_shard_that_is_no_safetensors_file_is_seen(home):
    path = shard_files(home)[0]
    path.write_bytes(b"\xff" * path.stat().st_size)
    with pytest.raises(DataError, match="cannot be read"):
        ActivationStore.open(home, verify=False)


def test_an_edited_index_is_seen(home):
    edit_index(home, sign=False, n_tokens=[1] * 7)
    with pytest.raises(DataError, match=r"index\.json is damaged: its digest"):
        ActivationStore.open(home)


def test_an_index_of_another_schema_is_refused_with_both_versions(home):
    edit_index(home, schema_version=2)
    with pytest.raises(DataError, match=r"schema version 2; this version .* reads 1"):
        ActivationStore.open(home)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "damaged: .* not valid JSON"), ("[]", "not the index"), ("{}", "not the index")],
)
def test_an_index_that_is_none_is_refused(home, text, message):
    (home / "index.json").write_text(text)
    with pytest.raises(DataError, match=message):
        ActivationStore.open(home)


def test_no_store_at_all_is_an_error_that_names_the_remedy(tmp_path):
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(DataError, match=r"no complete .*no index\.json.*write the store"):
            ActivationStore.open(folder)


def test_a_store_from_another_model_is_refused_with_both_names(llama, other, tmp_path):
    folder = write_store(llama, PASSAGES, tmp_path / "s").folder
    with pytest.raises(InputError, match=r"the activations in .* the weights differ") as caught:
        ActivationStore.open(folder, model=other)
    for model in (llama, other):
        assert repr(identity(model)["name"]) in str(caught.value)
    assert "write the store again" in str(caught.value)
    ActivationStore.open(folder, model=llama)


# --- whole or not at all ---------------------------------------------------------------------


def fail_after(n: int):
    """A progress callback that stops the writer after n batches."""
    seen = []

    def on_progress(finished: int) -> None:
        seen.append(finished)
        if len(seen) > n:
            raise KeyboardInterrupt

    return on_progress


@pytest.mark.parametrize("kind", ["text-mean", "token"])
def test_a_writer_that_is_stopped_leaves_nothing(llama, tmp_path, kind):
    with pytest.raises(KeyboardInterrupt):
        write_store(
            llama, PASSAGES, tmp_path / "s", kind=kind, shard_texts=2, on_progress=fail_after(2)
        )
    assert list(tmp_path.iterdir()) == []
    assert live_hooks(llama) == 0


def test_a_writer_that_is_stopped_leaves_the_store_before_it(llama, home):
    before = ActivationStore.open(home).means()
    with pytest.raises(KeyboardInterrupt):
        write_store(
            llama, PASSAGES, home, unit_tokens=True, shard_texts=2, on_progress=fail_after(2)
        )
    assert torch.equal(ActivationStore.open(home).means(), before)
    assert list(home.parent.iterdir()) == [home]


def test_a_failed_swap_leaves_the_store_before_it(llama, home, monkeypatch):
    before = ActivationStore.open(home).means()
    real = Path.rename

    def rename(path, target):
        if path.suffix == ".part" and path.is_dir():
            raise OSError(28, "No space left on device")
        return real(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(InputError, match=r"cannot write the activation store .*No space left"):
        write_store(llama, PASSAGES, home, unit_tokens=True)
    assert torch.equal(ActivationStore.open(home).means(), before)
    assert list(home.parent.iterdir()) == [home]


def test_a_second_writer_replaces_the_whole(llama, home):
    write_store(llama, PASSAGES[:2], home, layers=1)
    assert len(shard_files(home)) == 1
    assert ActivationStore.open(home).ids == ("text-0", "text-1")
    assert list(home.parent.iterdir()) == [home]


def test_what_killed_writers_left_is_removed_after_a_day(llama, home):
    old, young, foreign = (
        home.parent / name
        for name in (".s.0123abcd.part", ".s.0123abcd.old", ".other.0123abcd.part")
    )
    for folder in (old, young, foreign):
        folder.mkdir()
        (folder / "shard").write_text("")
    yesterday = time.time() - 25 * 3600
    for folder in (old, foreign):
        os.utime(folder, (yesterday, yesterday))
    write_store(llama, PASSAGES, home)
    assert not old.exists()
    assert young.exists()  # its writer may be alive
    assert foreign.exists()


def test_nothing_but_a_store_is_ever_replaced(llama, tmp_path, runs):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "contrast.jsonl").write_text("precious")
    (tmp_path / "file").write_text("precious")
    for name, held in (("run", "contrast.jsonl"), ("file", "file")):
        with pytest.raises(InputError, match=f"it holds '{held}', which is not part of one"):
            write_store(llama, PASSAGES, tmp_path / name)
    assert not runs
    assert (tmp_path / "run" / "contrast.jsonl").read_text() == "precious"
    (tmp_path / "empty").mkdir()
    write_store(llama, PASSAGES, tmp_path / "empty")


def test_a_store_has_the_permissions_of_any_new_folder(llama, tmp_path):
    (tmp_path / "plain").mkdir()
    (tmp_path / "file").write_text("")
    home = write_store(llama, PASSAGES, tmp_path / "s").folder
    assert home.stat().st_mode == (tmp_path / "plain").stat().st_mode
    for path in home.iterdir():
        assert path.stat().st_mode == (tmp_path / "file").stat().st_mode


# --- the cache -------------------------------------------------------------------------------


def test_a_cached_store_is_read_once(llama, tmp_path, runs):
    first = cached_store(llama, PASSAGES, tmp_path, likelihood=True, notes={"by": "me"})
    assert runs
    assert first.folder == tmp_path.resolve() / first.key[:16]
    runs.clear()
    sizes: list[int] = []
    again = cached_store(llama, PASSAGES, tmp_path, likelihood=True, on_size=sizes.append)
    assert (runs, sizes) == ([], [])
    assert again.key == first.key
    assert again.provenance["notes"] == {"by": "me"}
    assert torch.equal(again.means(), first.means())


@pytest.mark.parametrize(
    "change",
    [
        {"layers": (0, 1)},
        {"layers": (2, 1, 0)},
        {"kind": "token"},
        {"span": "last"},
        {"unit_tokens": True},
        {"dtype": "float16"},
        {"likelihood": True},
        {"passages": PASSAGES[1:5]},
        {"passages": PASSAGES[3::-1]},
        {"passages": [PASSAGES[0]._replace(id="new"), *PASSAGES[1:4]]},
        {"passages": [PASSAGES[0]._replace(context_ids=(9, 9)), *PASSAGES[1:4]]},
        {"passages": [PASSAGES[0]._replace(text_ids=(9, 9)), *PASSAGES[1:4]]},
    ],
)
def test_whatever_changes_the_numbers_makes_another_store(llama, tmp_path, change):
    first = cached_store(llama, PASSAGES[:4], tmp_path)
    settings = {"passages": PASSAGES[:4], **change}
    assert cached_store(llama, root=tmp_path, **settings).key != first.key


def test_another_model_makes_another_store_and_its_name_alone_does_not(
    llama, other, tmp_path, monkeypatch
):
    key = cached_store(llama, PASSAGES, tmp_path).key
    assert cached_store(other, PASSAGES, tmp_path).key != key
    renamed = {**identity(llama), "name": "moved/elsewhere", "revision": "abc"}
    # What two counts of threads may give.
    renamed["fingerprint"] = [norm * (1 + 2e-7) for norm in renamed["fingerprint"]]
    monkeypatch.setattr(store, "identity", lambda model: dict(renamed))
    assert cached_store(llama, PASSAGES, tmp_path).key == key


@pytest.mark.parametrize("damage", ["bit", "shard", "index", "key"])
def test_a_damaged_cached_store_is_written_again(llama, tmp_path, runs, caplog, damage):
    first = cached_store(llama, PASSAGES, tmp_path)
    runs.clear()
    (shard,) = shard_files(first.folder)
    expected = first.means()
    if damage == "bit":
        flip_last_byte(shard)
    elif damage == "shard":
        shard.unlink()
    elif damage == "index":
        (first.folder / "index.json").write_text("{")
    else:
        edit_index(first.folder, key="0" * 64)
    again = cached_store(llama, PASSAGES, tmp_path)
    assert runs
    assert torch.equal(again.means(), expected)
    assert ActivationStore.open(first.folder).key == first.key
    assert ("again" in caplog.text) == (damage != "key")


# --- means that are there already ------------------------------------------------------------


def test_means_in_memory_go_to_the_same_format(llama, tmp_path):
    read = read_passages(llama, PASSAGES, layers=LAYERS, likelihood=True)
    ids = [p.id for p in PASSAGES]
    saved = save_means(
        tmp_path / "saved", ids, read.means.float(),
        provenance=provenance(llama, texts_sha256=passages_sha256(PASSAGES), seed=3),
        n_tokens=N_TOKENS, nll=read.nll, shard_texts=3,
    )  # fmt: skip
    written = write_store(llama, PASSAGES, tmp_path / "written", likelihood=True)
    found = ActivationStore.open(tmp_path / "saved", model=llama)
    assert torch.equal(found.means(), written.means())
    assert (found.ids, found.layers, found.n_tokens) == (
        written.ids, written.layers, written.n_tokens
    )  # fmt: skip
    assert found.nll == pytest.approx(written.nll)
    assert found.provenance["texts_sha256"] == written.provenance["texts_sha256"]
    assert found.provenance["seed"] == 3
    assert found.provenance["hook"] == "resid_post"
    assert found.key is saved.key is None
    assert len(found.shards) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": ["a"]}, "1 texts, 2 counts of tokens"),
        ({"n_tokens": [1]}, "1 counts of tokens"),
        ({"nll": [1.0]}, "1 likelihoods"),
        ({"layers": (0, 1)}, r"for 2 layers of .* the shape must be \(2, 2, 32\)"),
        ({"ids": ["a", "a"]}, "text id 'a' is used 2 times"),
        ({"provenance": {}}, "needs 'model' with name, n_layers"),
        ({"provenance": {"model": {"name": "x"}}}, "needs 'model' with name, n_layers"),
        ({"shard_texts": 0}, "shard_texts must be at least 1"),
    ],
)
def test_means_that_do_not_fit_are_refused(llama, tmp_path, change, message):
    arguments = {
        "ids": ["a", "b"],
        "means": torch.ones(2, N_LAYERS, D_MODEL),
        "n_tokens": [3, 4],
        "provenance": provenance(llama),
        **change,
    }
    with pytest.raises(InputError, match=message):
        save_means(tmp_path / "s", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_provenance_without_the_span_is_refused(llama, tmp_path):
    incomplete = {"model": identity(llama), "unit_tokens": False}
    with pytest.raises(InputError, match="needs 'span'"):
        save_means(
            tmp_path / "s", ["a"], torch.ones(1, N_LAYERS, D_MODEL),
            provenance=incomplete, n_tokens=[1],
        )  # fmt: skip


# --- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"passages": []}, "there are no texts"),
        ({"passages": [*PASSAGES, PASSAGES[2]]}, "text id 'text-2' is used 2 times"),
        ({"layers": (0, N_LAYERS)}, f"layer {N_LAYERS} is out of range"),
        ({"layers": (1, 1)}, "layer 1 is used 2 times"),
        ({"layers": ()}, "name at least one layer"),
        ({"kind": "sentence"}, "unknown kind 'sentence'; choose one of text-mean, token"),
        ({"span": "all"}, "unknown span 'all'"),
        ({"dtype": "int8"}, "unknown dtype 'int8'; choose one of float32, float16"),
        ({"shard_texts": 0}, "shard_texts must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"notes": {"model": object()}}, "values that JSON holds"),
        ({"passages": [*PASSAGES, Passage("empty", (3,), ())]}, "'empty' is empty"),
        ({"passages": [*PASSAGES, Passage("sink", (), (3,))]}, "'sink' has no token that counts"),
        ({"passages": [*PASSAGES, Passage("long", (), (3,) * (N_CTX + 1))]}, "'long'"),
    ],
)
def test_bad_input_is_refused_before_anything_is_read(llama, tmp_path, runs, change, message):
    arguments = {"passages": PASSAGES, "shard_texts": 2, **change}
    with unchecked(), pytest.raises(InputError, match=message):
        write_store(llama, folder=tmp_path / "s", **arguments)
    assert runs == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("kind", ["text-mean", "token"])
def test_a_text_whose_activations_are_not_finite_is_named(llama, tmp_path, kind, value):
    def spoil(stream, hook=None):
        stream[stream.shape[0] // 2, -1] = value
        return stream

    with llama.hooks([(resid_post(1), spoil)]), pytest.raises(InputError) as caught:
        write_store(llama, PASSAGES[3:4], tmp_path / "s", kind=kind, layers=(0, 1, 2))
    assert "the text 'text-3' at layer 1 hold NaN or infinity" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_right_text_is_named_among_tokens_of_several(llama, tmp_path):
    means = torch.ones(5, N_LAYERS, D_MODEL)
    means[3, 2, 7] = torch.nan
    with pytest.raises(InputError, match="the text '3' at layer 2 hold NaN"):
        save_means(
            tmp_path / "s", list("01234"), means, provenance=provenance(llama),
            n_tokens=[1] * 5, shard_texts=2,
        )  # fmt: skip
    layout = blocks.Layout(("a", "b", "c"), (2, 3, 1), (0,), 4, "token", "float32")
    for row, text in enumerate("aabbbc"):
        rows = torch.ones(6, 4)
        rows[row, 1] = torch.nan
        block = blocks.Block(slice(0, 3), [rows], np.zeros(3))
        with pytest.raises(InputError, match=f"the text '{text}' at layer 0 hold NaN"):
            blocks.write_blocks(layout, tmp_path / "s", [block], {}, None)


def test_a_number_too_large_for_float16_names_the_remedy(llama, tmp_path):
    means = torch.ones(2, N_LAYERS, D_MODEL)
    means[1, 0, 0] = 70_000.0
    arguments = {"provenance": provenance(llama), "n_tokens": [1, 1]}
    with pytest.raises(InputError, match=r"'b' at layer 0 do not fit float16.* 65504: .*float32"):
        save_means(tmp_path / "s", ["a", "b"], means, dtype="float16", **arguments)
    found = save_means(tmp_path / "s", ["a", "b"], means, **arguments)
    assert found.means().max() == 70_000
