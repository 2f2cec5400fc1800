"""`creativity-lens judge`: pairs are drawn evenly, and nothing is asked twice."""

import csv
import json
import os
import threading
from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from creativity_lens.errors import InputError
from creativity_lens.evaluation.naive_rating import rate_texts
from creativity_lens.evaluation.pair_choice import draw_pairs
from creativity_lens.evaluation.pairwise_judge import JudgedPair, judge_pairs
from creativity_lens.io import write_csv, write_jsonl
from creativity_lens.models import loading
from creativity_lens.scoring.score import Text
from tests.judge_server import JudgeServer

KEY = "sk-secret-of-the-command"
ROWS = [
    {"id": f"t{i}", "text": f"the old house number {i}", "prompt": f"a story {i % 3}"}
    for i in range(9)
]


# --- which pairs -----------------------------------------------------------------------------


def test_all_pairs_are_within_prompts_and_none_comes_twice():
    prompts = ["x"] * 4 + ["y"] * 3 + [""] * 3 + ["z"]
    texts = [f"text {i}" for i in range(11)]
    found = draw_pairs(prompts, texts, 100)
    everything = [*combinations(range(4), 2), *combinations(range(4, 7), 2)]
    assert sorted(tuple(sorted(pair)) for pair in found) == sorted(everything)


def test_pairs_are_spread_evenly_over_prompts():
    # Prompt 0 holds 1 pair, prompt 1 holds 3, the others 45: 25 pairs are 1 + 3 + 7 · 3.
    sizes = [2, 3, 10, 10, 10]
    prompts = [f"p{k}" for k, size in enumerate(sizes) for _ in range(size)]
    found = draw_pairs(prompts, [f"text {i}" for i in range(len(prompts))], 25)
    assert Counter(prompts[a] for a, _ in found) == {"p0": 1, "p1": 3, "p2": 7, "p3": 7, "p4": 7}
    assert all(prompts[a] == prompts[b] for a, b in found)
    fewer = draw_pairs(prompts, [f"text {i}" for i in range(len(prompts))], 3)
    assert max(Counter(prompts[a] for a, _ in fewer).values()) == 1


def test_every_pair_of_a_prompt_is_as_likely_and_either_text_comes_first():
    seen: Counter[tuple[int, int]] = Counter()
    for seed in range(600):
        seen.update(draw_pairs(["x"] * 4, list("abcd"), 1, seed=seed))
    # 12 ordered pairs, 50 each; standard deviation 6.8.
    assert len(seen) == 12
    assert max(abs(n - 50) for n in seen.values()) < 30
    assert draw_pairs(["x"] * 4, list("abcd"), 3, seed=5) == draw_pairs(
        ["x"] * 4, list("abcd"), 3, seed=5
    )


def test_blank_and_equal_texts_are_in_no_pair():
    assert sorted(draw_pairs(["x"] * 5, ["a", " ", "a", "b", ""], 9)[0]) == [0, 3]
    with pytest.raises(InputError, match="no prompt holds two different texts"):
        draw_pairs(["x", "x", "y"], ["a", "a", "b"], 1)
    with pytest.raises(InputError, match="n_pairs must be at least 1"):
        draw_pairs(["x", "x"], ["a", "b"], 0)


# --- the command -----------------------------------------------------------------------------


@pytest.fixture
def texts_file(tmp_path):
    path = tmp_path / "texts.jsonl"
    write_jsonl(path, ROWS)
    return path


@pytest.fixture
def loaded(monkeypatch, llama):
    names: list[str] = []
    monkeypatch.setattr(loading, "load_model", lambda name, **_: names.append(name) or llama)
    return names


@pytest.fixture
def server(monkeypatch):
    for name in [n for n in os.environ if n.lower().endswith("_proxy") or n.startswith("OPENAI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MY_KEY", KEY)
    server = JudgeServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def table(path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_local_model_rates_and_chooses(cli, loaded, llama, texts_file, tmp_path):
    out = tmp_path / "judged"
    result = cli(
        *("judge", "--texts", texts_file, "--out", out, "--pairs", 5, "--model", "a/Tiny-1B"),
        *("--seed", 3, "--quality", "original", "--json"),
    )
    assert result.code == 0, result.err
    assert loaded == ["a/Tiny-1B"]
    texts = [Text(row["id"], row["text"], row["prompt"]) for row in ROWS]
    direct = rate_texts(llama, texts, quality="original", seed=3)
    rows = table(out / "ratings.csv")
    assert list(rows[0]) == ["text_id", "judge_tiny_1b", "judge_tiny_1b_sampled"]
    assert [row["text_id"] for row in rows] == [f"t{i}" for i in range(9)]
    np.testing.assert_allclose([float(r["judge_tiny_1b"]) for r in rows], direct.expected)
    drawn = [row["judge_tiny_1b_sampled"] for row in rows]
    assert drawn == ["" if np.isnan(v) else str(v) for v in direct.sampled.tolist()]
    pairs = table(out / "pairs.csv")
    assert len(pairs) == 5
    by_id = {text.id: text for text in texts}
    judged = judge_pairs(
        llama,
        [
            JudgedPair(str(k), by_id[p["text_a"]].prompt, *(by_id[p[c]].text for c in
                       ("text_a", "text_b")))
            for k, p in enumerate(pairs)
        ],
        quality="original",
    )  # fmt: skip
    for row, one in zip(pairs, judged, strict=True):
        assert row["prompt_id"] == by_id[row["text_a"]].prompt == by_id[row["text_b"]].prompt
        numbers = [float(row[c]) for c in ("first_order", "second_order", "preference")]
        assert numbers == pytest.approx(one[1:4], abs=1e-6)
        assert row["consistent"] == str(one.consistent).lower()
    record = json.loads((out / "judge.json").read_text())
    assert json.loads(result.out) == record
    assert (record["judge"], record["endpoint"], record["usage"]) == ("judge_tiny_1b", None, None)
    assert record["rating"]["mass"] == pytest.approx(direct.mass.mean())
    assert record["rating"]["n_unparsed"] == direct.n_unparsed
    assert record["pairs"]["position_bias"] == pytest.approx(judged.position_bias)
    assert record["pairs"]["consistency"] == judged.consistency


def endpoint_options(server):
    return (
        *("--endpoint", server.url, "--model", "frontier-1", "--key-variable", "MY_KEY"),
        *("--price-in", 2, "--price-out", 10, "--pairs", 4),
    )


def test_an_endpoint_is_asked_once_for_all(cli, server, texts_file, tmp_path):
    server.answer = lambda body: "A" if "Which" in body["messages"][1]["content"] else "6"
    out = tmp_path / "judged"
    command = ("judge", "--texts", texts_file, "--out", out, *endpoint_options(server))
    first = cli(*command)
    assert first.code == 0, first.err
    assert "17 requests" in first.out
    assert len(server.requests) == 9 + 2 * 4
    record = json.loads((out / "judge.json").read_text())
    assert (record["endpoint"], record["model"]) == (
        f"127.0.0.1:{server.server_address[1]}",
        "frontier-1",
    )
    assert record["usage"]["requests"] == 17
    assert record["settings"]["refused"] == []
    # 17 · 100 tokens in at 2 and 17 · 2 out at 10, for a million each.
    assert record["usage"]["cost"] == pytest.approx((1700 * 2 + 34 * 10) / 1e6)
    assert record["pairs"] == {
        "n": 4,
        "consistency": 0.0,
        "position_bias": 0.5,
        "n_unparsed": 0,
    }
    written = {p.name: p.read_bytes() for p in out.iterdir()}
    assert set(written) == {"ratings.csv", "pairs.csv", "judge.json", "answers.sqlite"}
    assert KEY.encode() not in b"".join(written.values())
    assert KEY not in first.out + first.err
    again = cli(*command)
    assert "0 requests, 17 from the cache" in again.out
    assert len(server.requests) == 17
    assert {p.name: p.read_bytes() for p in out.iterdir() if p.suffix == ".csv"} == {
        name: data for name, data in written.items() if name.endswith(".csv")
    }
    second = json.loads((out / "judge.json").read_text())["usage"]
    assert (second["cost"], second["cost_of_cached"]) == (0, record["usage"]["cost"])


def test_a_run_that_failed_goes_on(cli, server, texts_file, tmp_path):
    server.answer = lambda body: (
        (401, {"error": {"message": KEY}}) if "number 8" in str(body["messages"]) else "5"
    )
    out = tmp_path / "judged"
    command = (
        *("judge", "--texts", texts_file, "--out", out, *endpoint_options(server)),
        *("--concurrency", 1),
    )
    failed = cli(*command)
    assert failed.code == 2
    assert "refused the key in MY_KEY" in failed.err
    assert KEY not in failed.out + failed.err
    assert not (out / "ratings.csv").exists()
    server.answer = lambda body: "5"
    n_sent = len(server.requests)
    done = cli(*command)
    assert done.code == 0, done.err
    assert f"{n_sent - 1} from the cache" in done.out


def test_answers_that_cannot_be_read_are_blank_and_said(cli, server, texts_file, tmp_path):
    server.answer = lambda body: "" if "number 4" in str(body["messages"]) else "5"
    server.finish_reason = "length"
    out = tmp_path / "judged"
    result = cli(
        *("judge", "--texts", texts_file, "--out", out, "--endpoint", server.url),
        *("--model", "m", "--key-variable", "MY_KEY", "--name", "mine"),
    )
    said = " ".join(result.err.split())
    assert "1 ratings could not be read from the answers, 1 of them cut off: raise --max" in said
    assert [row["mine"] for row in table(out / "ratings.csv")] == [
        "" if i == 4 else "5.0" for i in range(9)
    ]
    assert not (out / "pairs.csv").exists()


def test_a_cost_that_cannot_be_told_is_not_zero(cli, server, texts_file, tmp_path):
    out = tmp_path / "judged"
    server.usage = None
    command = ("judge", "--texts", texts_file, "--out", out, *endpoint_options(server), "--no-rate")
    first = cli(*command)
    assert "not known (8 answers without a count of tokens) now, 0.0000 before" in first.out
    usage = json.loads((out / "judge.json").read_text())["usage"]
    assert (usage["cost"], usage["cost_of_cached"]) == (None, 0)
    assert "0.0000 now, not known (8 answers without" in cli(*command).out
    usage = json.loads((out / "judge.json").read_text())["usage"]
    assert (usage["cost"], usage["cost_of_cached"], usage["cached_uncounted"]) == (0, None, 8)


def test_what_the_endpoint_refused_is_said_once_and_written(cli, server, texts_file, tmp_path):
    def answer(body):
        for name in ("temperature", "logprobs"):
            if name in body:
                return 400, {"error": {"message": f"unsupported: {name}"}}
        return "A" if "Which" in body["messages"][1]["content"] else "6"

    server.answer = answer
    out = tmp_path / "judged"
    command = ("judge", "--texts", texts_file, "--out", out, *endpoint_options(server))
    for _ in range(2):  # the second time from the cache
        result = cli(*command)
        said = " ".join(result.err.split())
        assert said.count("the endpoint refused logprobs and temperature") == 1
        record = json.loads((out / "judge.json").read_text())
        assert record["settings"]["refused"] == ["logprobs", "temperature"]


def test_tidy_ratings_are_taken_blank_texts_left_out(cli, loaded, tmp_path):
    path, out = tmp_path / "ratings.csv", tmp_path / "judged"
    write_csv(
        path,
        ("text_id", "prompt_id", "prompt", "text", "dimension", "rating"),
        [
            (name, "p1", "a story", text, dimension, 3)
            for name, text in (("u", "the sea"), ("v", ""), ("w", "a house"))
            for dimension in ("creativity", "surprise")
        ],
    )
    result = cli("judge", "--texts", path, "--out", out, "--pairs", 9)
    assert result.code == 0, result.err
    assert "1 texts are blank" in result.err
    assert "only 1 pairs" in result.err
    assert [row["text_id"] for row in table(out / "ratings.csv")] == ["u", "w"]
    (pair,) = table(out / "pairs.csv")
    assert ({pair["text_a"], pair["text_b"]}, pair["prompt_id"]) == ({"u", "w"}, "p1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--no-rate",), "--no-rate leaves nothing to do without --pairs"),
        (("--endpoint", "http://x/v1"), "--endpoint needs --model"),
        (("--cache", "c.sqlite"), "--cache goes with --endpoint"),
        (("--price-in", 1), "--price-in goes with --endpoint"),
        (("--endpoint", "http://x/v1", "--model", "m", "--price-in", 1), "give both --price-in"),
        (
            (*("--endpoint", "http://x/v1", "--model", "m"), "--price-in", -1, "--price-out", 1),
            "a price is a number of 0 or more",
        ),
        (
            ("--endpoint", "http://x/v1", "--model", "m", "--max-tokens", 5),
            "--max-tokens goes with a local model",
        ),
        (("--quality", " "), "quality must be an adjective"),
        (
            ("--endpoint", "http://x/v1", "--model", "m", "--key-variable", "NO_SUCH_KEY"),
            "the environment variable NO_SUCH_KEY holds no key",
        ),
    ],
)
def test_options_that_cannot_be_meant(cli, loaded, texts_file, tmp_path, options, message):
    result = cli("judge", "--texts", texts_file, "--out", tmp_path / "out", *options)
    assert result.code == 2
    assert message in result.err
    assert not loaded


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": "a"}], "line 1: the field 'text' is missing"),
        ([ROWS[0], ROWS[0]], "the id 't0' was used in line 1"),
        ([{**ROWS[0], "prompt": 3}], "line 1: `prompt` must be a string"),
        ([{**ROWS[0], "prompt_id": ""}], "line 1: `prompt_id` must be a string"),
        ([{"id": "a", "text": "x"}, {"id": "b", "text": "y"}], "no prompt holds two different"),
    ],
)
def test_files_that_cannot_be_meant(cli, loaded, tmp_path, rows, message):
    path = tmp_path / "texts.jsonl"
    write_jsonl(path, rows)
    result = cli("judge", "--texts", path, "--out", tmp_path / "out", "--pairs", 1)
    assert result.code == 2
    assert message in result.err
