"""Files are written whole or not at all, and reading errors name the line."""

import csv
import json
import math
import os
import re
import stat
import tempfile

import pytest

from creativity_lens.errors import DataError, InputError
from creativity_lens.io import (
    atomic_path,
    check_writable,
    read_json,
    read_jsonl,
    sha256_file,
    sha256_json,
    write_csv,
    write_json,
    write_jsonl,
    write_text,
)


def names(folder):
    return sorted(path.name for path in folder.rglob("*"))


def failing_rows(first):
    yield first
    raise RuntimeError("midway")


def fail_in_block(path):
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("midway")


# --- writing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("old", ["the old file", None])
@pytest.mark.parametrize(
    "write_half",
    [
        fail_in_block,
        lambda path: write_jsonl(path, failing_rows({"a": 1})),
        lambda path: write_csv(path, ["a"], failing_rows([1])),
    ],
)
def test_a_failure_midway_leaves_the_old_file_and_no_temporary_one(tmp_path, write_half, old):
    path = tmp_path / "result"
    if old is not None:
        path.write_text(old)
    with pytest.raises(RuntimeError, match="midway"):
        write_half(path)
    assert names(tmp_path) == ([] if old is None else ["result"])
    assert old is None or path.read_text() == old


def test_the_target_is_untouched_until_the_block_ends(tmp_path):
    path = tmp_path / "result"
    path.write_text("old")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == path.parent  # a rename across file systems is not atomic
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["result"]


def test_a_written_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    write_text(tmp_path / "ours", "text")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "ours")}
    assert len(modes) == 1


def test_missing_folders_are_made(tmp_path):
    write_text(tmp_path / "a" / "b" / "file", "text")
    assert (tmp_path / "a" / "b" / "file").read_text() == "text"


def test_a_folder_that_cannot_be_made_is_an_input_error(write):
    file = write("file", "")
    with pytest.raises(InputError, match=re.escape(str(file))):
        write_text(file / "below", "text")


def test_json_is_sorted_indented_utf8(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"b": "é", "a": [1]})
    assert path.read_bytes().decode() == '{\n  "a": [\n    1\n  ],\n  "b": "é"\n}\n'
    assert read_json(path) == {"a": [1], "b": "é"}


def test_json_has_no_nan_and_no_infinity(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": [math.nan, 1.5], "b": {"c": (math.inf, -math.inf)}, "d": float("nan")})
    assert json.loads(path.read_text(), parse_constant=pytest.fail) == {
        "a": [None, 1.5],
        "b": {"c": [None, None]},
        "d": None,
    }


def test_csv_quotes_what_needs_it(tmp_path):
    path = tmp_path / "x.csv"
    rows = [["1", 'a "b", c'], ["2", "two\nlines"]]
    write_csv(path, ["id", "text"], rows)
    with path.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["id", "text"], *rows]


# --- reading ---------------------------------------------------------------------------------


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r"])
def test_jsonl_round_trips_characters_that_other_tools_take_for_line_ends(tmp_path, character):
    path = tmp_path / "x.jsonl"
    rows = [{"text": f"a{character}b"}, {"text": "c"}]
    write_jsonl(path, rows)
    assert read_jsonl(path) == [(1, rows[0]), (2, rows[1])]


def test_a_byte_order_mark_is_skipped(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": "1"}\n')
    assert read_jsonl(path, required=["a"]) == [(1, {"a": "1"})]


def test_blank_lines_are_skipped_but_counted(write):
    path = write("x.jsonl", '\n{"a": 1}\n   \n\n{"a": 2}')
    assert read_jsonl(path) == [(2, {"a": 1}), (5, {"a": 2})]


def test_windows_line_ends_are_read(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"a": 1}\r\n{"a": 2}\r\n')
    assert read_jsonl(path) == [(1, {"a": 1}), (2, {"a": 2})]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "b"', "not valid JSON"),
        ("{'id': 'b'}", "not valid JSON"),
        ('{"id": ' + "9" * 5000 + "}", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('["b"]', "expected a JSON object, got list"),
        ('"b"', "expected a JSON object, got str"),
        ('{"name": "b"}', "the field 'id' is missing"),
        ('{"id": ""}', "'id' must be a string that is not blank, got ''"),
        ('{"id": " \\n"}', "'id' must be a string that is not blank"),
        ('{"id": 7}', "'id' must be a string that is not blank, got 7"),
        ('{"id": null}', "'id' must be a string that is not blank, got None"),
        ('{"id": "half an emoji \\ud83d"}', "half of a surrogate pair"),
    ],
)
def test_a_jsonl_error_names_the_file_and_the_line(write, line, message):
    path = write("x.jsonl", f'{{"id": "a"}}\n\n{line}\n{{"id": "c"}}\n')
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        read_jsonl(path, required=["id"])
    assert f"{path}, line 3:" in str(caught.value)


def test_an_escaped_emoji_is_read(write):
    assert read_jsonl(write("x.jsonl", r'{"a": "\ud83d\ude00"}')) == [(1, {"a": "😀"})]


@pytest.mark.parametrize("text", ["", "\n \n\n", "\ufeff"])
def test_an_empty_jsonl_is_an_error(write, text):
    with pytest.raises(DataError, match="is empty"):
        read_jsonl(write("x.jsonl", text))


@pytest.mark.parametrize("read", [read_json, read_jsonl])
def test_files_that_cannot_be_read_are_data_errors(tmp_path, read):
    with pytest.raises(DataError, match="does not exist"):
        read(tmp_path / "missing")
    (tmp_path / "latin1").write_bytes(b'{"a": "\xe9"}')
    with pytest.raises(DataError, match="as UTF-8"):
        read(tmp_path / "latin1")
    with pytest.raises(DataError, match="cannot read"):
        read(tmp_path)


def test_a_json_error_names_the_line(write):
    with pytest.raises(DataError, match="line 2: not valid JSON"):
        read_json(write("x.json", '{"a": 1,\n oops}'))


# --- trying, and digests ---------------------------------------------------------------------


@pytest.mark.parametrize("folder", [True, False])
@pytest.mark.parametrize("place", [".", "new", "new/newer/newest"])
def test_check_writable_leaves_nothing_behind(tmp_path, place, folder):
    (tmp_path / "kept").write_text("kept")
    target = tmp_path / place / ("" if folder else "file")
    assert check_writable(target, folder=folder) == target
    assert names(tmp_path) == ["kept"]
    assert (tmp_path / "kept").read_text() == "kept"


def test_check_writable_does_not_touch_the_file_it_asks_about(write):
    file = write("file", "content")
    check_writable(file, folder=False)
    assert file.read_text() == "content"


@pytest.mark.parametrize(
    ("target", "folder"),
    [("file", True), ("file/below", True), ("file/below", False), ("folder", False)],
)
def test_check_writable_refuses_what_cannot_be_written(tmp_path, target, folder):
    (tmp_path / "file").write_text("content")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=re.escape(f"cannot write to {tmp_path / target}")):
        check_writable(tmp_path / target, folder=folder)
    assert names(tmp_path) == ["file", "folder"]


def test_check_writable_cleans_up_after_a_refusal(tmp_path, monkeypatch):
    def refuse(**kwargs):
        raise PermissionError(13, "Permission denied")  # root is refused nothing by itself

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    with pytest.raises(InputError, match="Permission denied"):
        check_writable(tmp_path / "a" / "b", folder=True)
    assert names(tmp_path) == []


def test_file_digest_is_sha256(write):
    # The test vector "abc" of FIPS 180-4.
    assert sha256_file(write("x", "abc")) == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_json_digest_ignores_key_order_but_not_content():
    # printf '{"a":"é","b":[1,2]}' | sha256sum
    expected = "9cfb1f938a87f2b8f3b8cc429c7a09116d54f048322742d4c23d4767b85f85da"
    assert sha256_json({"b": [1, 2], "a": "é"}) == sha256_json({"a": "é", "b": [1, 2]}) == expected
    assert sha256_json({"a": "é", "b": [2, 1]}) != expected


def test_paths_may_be_strings(tmp_path):
    path = os.fspath(tmp_path / "x.jsonl")
    write_jsonl(path, [{"a": "1"}])
    assert read_jsonl(path, required=["a"]) == [(1, json.loads('{"a": "1"}'))]
