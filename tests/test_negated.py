"""Negated prompts, by a tiny model and by a real server that speaks chat completions."""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from creativity_lens.directions.extract import ExtractionConfig, extract
from creativity_lens.errors import InputError, MissingDependencyError, ModelError
from creativity_lens.generation import decode as decoding
from creativity_lens.generation.endpoint import ChatEndpoint
from creativity_lens.generation.sampling import Sampling
from creativity_lens.io import write_jsonl
from creativity_lens.models import loading
from creativity_lens.models.identity import identity
from creativity_lens.prompts.pairs import ContrastPair, read_pairs
from creativity_lens.steering.generate import generate
from creativity_lens.studies.negated import NEGATE, negate_premises

KEY = "secret-key-of-the-test"
PROMPT = "A lighthouse dreams of ships."
PAIRS = [
    ContrastPair(f"p{i}", "poetry", f"Premise {i}.", f"Prompt number {i}.", "x", "me", "g")
    for i in range(3)
]


# --- a model in this process -----------------------------------------------------------------


@pytest.fixture
def ending(monkeypatch):
    """A random model hardly ever ends a text: let every fourth token end it."""
    monkeypatch.setattr(decoding, "stop_ids", lambda model: frozenset(range(3, 10_000, 4)))


def test_the_negation_is_the_models_greedy_answer(model, ending):
    found = negate_premises(model, PAIRS, max_new_tokens=24, batch_size=2)
    asked = {p.id: NEGATE.replace("{prompt}", p.creative) for p in PAIRS}
    greedy = generate(model, asked, sampling=Sampling(max_new_tokens=24, temperature=0.0))
    answers = {g.id: " ".join(g.response.split()) for g in greedy if g.finish_reason == "stop"}
    assert {p.id: p.uncreative for p in found.pairs} == {
        i: text for i, text in answers.items() if any(c.isalnum() for c in text)
    }
    assert found.pairs
    assert len(found.pairs) + found.n_dropped == len(PAIRS)
    assert negate_premises(model, PAIRS, max_new_tokens=24, seed=5).pairs[0].uncreative == (
        found.pairs[0].uncreative
    )


def test_the_pair_keeps_its_fields_and_records_who_negated_it(llama, ending):
    found = negate_premises(llama, PAIRS, seed=7, instruction="Turn {prompt} round.")
    for made in found.pairs:
        given = PAIRS[int(made.id[1])]
        for field in ("id", "domain", "premise", "creative", "group"):
            assert getattr(made, field) == getattr(given, field)
        name = identity(llama)["name"]
        assert made.source == f"me; negated by {name}, greedy, seed 7, told: Turn {{prompt}} round."


def test_answers_that_run_into_the_limit_are_dropped(llama):
    with pytest.raises(InputError, match=r"none of 3 negations .*0 empty, 0 unchanged, 3 unfin"):
        negate_premises(llama, PAIRS, max_new_tokens=2)


def test_progress_counts_every_prompt(llama, ending):
    done: list[int] = []
    negate_premises(llama, PAIRS, batch_size=2, max_new_tokens=24, on_progress=done.append)
    assert done == [2, 1]


@pytest.mark.parametrize(
    ("prompts", "options", "message"),
    [
        ({}, {}, "no prompts to negate"),
        ([], {}, "no prompts to negate"),
        ([PAIRS[0], PAIRS[0]], {}, "two prompts have the same id"),
        (PAIRS, {"instruction": "Negate it."}, r"where the prompt goes with \{prompt\}"),
        ({"a": "word " * 400}, {}, "context"),
    ],
)
def test_what_cannot_be_negated_is_an_input_error(llama, prompts, options, message):
    with pytest.raises(InputError, match=message):
        negate_premises(llama, prompts, **options)


# --- a server --------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Answers chat completions as `answers` says: text by prompt, or (status, body)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, object] = {}
        self.requests: list[dict] = []
        self.keys: list[str | None] = []
        self.delay = 0.0

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has stopped waiting is no failure of the test."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(body)
        self.server.keys.append(self.headers["Authorization"])
        time.sleep(self.server.delay)
        asked = body["messages"][-1]["content"]
        answer = next((a for k, a in self.server.answers.items() if k in asked), "It does not.")
        if self.path != "/v1/chat/completions":
            answer = (404, {"error": {"message": "no such path"}})
        if not isinstance(answer, tuple):
            text, _, reason = str(answer).partition("|")
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "finish_reason": reason or "stop"}
            answer = (200, {"id": "x", "object": "chat.completion", "choices": [choice]})
        status, value = answer
        data = (value if isinstance(value, str) else json.dumps(value)).encode()
        self.send_response(status)
        kind = "text/html" if isinstance(value, str) else "application/json"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    for name in [n for n in os.environ if n.lower().endswith("_proxy") or n.startswith("OPENAI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def endpoint(server) -> ChatEndpoint:
    return ChatEndpoint(server.url, "small-model", timeout=5.0, max_retries=0)


def test_the_endpoint_is_asked_in_its_format(server, endpoint):
    found = negate_premises(endpoint, {"a": PROMPT}, seed=3, max_new_tokens=50)
    (request,) = server.requests
    assert request == {
        "model": "small-model",
        "messages": [{"role": "user", "content": NEGATE.replace("{prompt}", PROMPT)}],
        "temperature": 0.0,
        "max_tokens": 50,
        "seed": 3,
    }
    assert server.keys == [f"Bearer {KEY}"]
    (made,) = found.pairs
    assert (made.id, made.premise, made.creative) == ("a", PROMPT, PROMPT)
    assert made.uncreative == "It does not."
    assert made.source == (
        f"given; negated by small-model (endpoint), greedy, seed 3, told: {NEGATE}"
    )


def test_a_system_message_goes_first(server, endpoint):
    assert endpoint.complete("Hi.", system="Be brief.", max_new_tokens=5) == (
        "It does not.",
        "stop",
    )
    assert [m["role"] for m in server.requests[0]["messages"]] == ["system", "user"]


ANSWERS = {
    '"No ship dreams."': "No ship dreams.",
    "\u201cNo ship dreams.\u201d": "No ship dreams.",
    "Here is the negation:\n\nNo ship\n dreams. ": "No ship dreams.",
    '"No," he says, "ship."': '"No," he says, "ship."',
    "Ships: none dream.": "Ships: none dream.",
    "Only this:": "Only this:",
}


@pytest.mark.parametrize(("answer", "kept"), ANSWERS.items())
def test_announcements_and_marks_around_all_of_it_are_taken_off(server, endpoint, answer, kept):
    server.answers[PROMPT] = answer
    assert negate_premises(endpoint, {"a": PROMPT}).pairs[0].uncreative == kept


def test_what_is_no_negation_is_dropped_and_counted(server, endpoint):
    server.answers |= {
        "number 0": "",
        "number 1": " \u2026 !\n",
        "number 2": "PROMPT number 2!",
        "number 3": '"Prompt number 3."',
        "number 4": "A negation that is cut|length",
        "number 5": "Prompt number 5 does not happen.",
    }
    prompts = {f"p{i}": f"Prompt number {i}." for i in range(6)}
    found = negate_premises(endpoint, prompts)
    assert [p.id for p in found.pairs] == ["p5"]
    assert found.empty == ("p0", "p1")
    assert found.unchanged == ("p2", "p3")
    assert found.unfinished == ("p4",)
    assert found.n_dropped == 5


def test_a_reply_without_content_is_empty(server, endpoint):
    silent = {"choices": [{"index": 0, "message": {"role": "assistant"}, "finish_reason": "stop"}]}
    server.answers["Hi."] = (200, silent)
    assert endpoint.complete("Hi.", max_new_tokens=5).text == ""


FAILURES = {
    (401, "key"): "refused the key in OPENAI_API_KEY",
    (403, "key"): "refused the key in OPENAI_API_KEY",
    (404, "model"): "knows no model 'small-model'.* ends in /v1",
    (429, "quota"): "busy or the quota is used up",
    (500, "bug"): "could not answer for the model 'small-model' .status 500.",
    (200, "<html>hello</html>"): "not in the chat-completions format",
}


@pytest.mark.parametrize(("answer", "message"), FAILURES.items())
def test_a_failing_endpoint_is_a_model_error_with_a_remedy(server, endpoint, answer, message):
    status, body = answer
    server.answers[PROMPT] = (status, body if status == 200 else {"error": {"message": f"{KEY}"}})
    with pytest.raises(ModelError, match=message) as caught:
        negate_premises(endpoint, {"a": PROMPT})
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("body", [{}, {"choices": []}, {"choices": None}, [1], {"choices": [{}]}])
def test_an_answer_in_another_format_is_a_model_error(server, endpoint, body):
    server.answers[PROMPT] = (200, body)
    with pytest.raises(ModelError, match="not in the chat-completions format"):
        negate_premises(endpoint, {"a": PROMPT})


def test_an_address_that_is_incomplete_says_so(server):
    short = ChatEndpoint(server.url.removesuffix("/v1"), "m", max_retries=0)
    with pytest.raises(ModelError, match="its address is incomplete"):
        negate_premises(short, {"a": PROMPT})


def test_a_slow_endpoint_times_out(server):
    server.delay = 1.0
    with pytest.raises(ModelError, match=r"did not answer within 0\.2 s"):
        negate_premises(ChatEndpoint(server.url, "m", timeout=0.2, max_retries=0), {"a": PROMPT})


def test_an_endpoint_that_is_not_there(server):
    server.server_close()  # the port is free now, and nothing listens
    gone = ChatEndpoint(server.url, "m", max_retries=0)
    with pytest.raises(ModelError, match="cannot be reached: check the address"):
        negate_premises(gone, {"a": PROMPT})


def test_a_busy_endpoint_is_asked_again(server):
    answers = iter([(503, {}), "It does not."])

    class Once(dict):
        def items(self):
            return [("", next(answers))]

    server.answers = Once()
    patient = ChatEndpoint(server.url, "m", max_retries=1)
    assert negate_premises(patient, {"a": PROMPT}).pairs[0].uncreative == "It does not."
    assert len(server.requests) == 2


def test_without_a_key_the_error_names_the_variable(server, monkeypatch):
    other = ChatEndpoint(server.url, "m", key_variable="MY_KEY")
    with pytest.raises(InputError, match="the environment variable MY_KEY holds no key"):
        other.check()
    monkeypatch.setenv("MY_KEY", "another")
    negate_premises(other, {"a": PROMPT})
    assert server.keys == ["Bearer another"]


def test_without_the_client_the_error_names_the_extra(endpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'creativity-lens\[endpoint\]'"):
        endpoint.check()
    with pytest.raises(MissingDependencyError):
        endpoint.complete("Hi.", max_new_tokens=5)


@pytest.mark.parametrize(
    ("url", "model", "message"),
    [
        ("localhost:8000", "m", "must be an address such as http"),
        ("file:///etc/passwd", "m", "must be an address such as http"),
        ("http://", "m", "must be an address such as http"),
        ("http://me:word@localhost/v1", "m", "must not hold a user or password"),
        ("http://localhost/v1", " ", "name the model"),
    ],
)
def test_an_endpoint_that_cannot_be_meant(url, model, message):
    with pytest.raises(InputError, match=message) as caught:
        ChatEndpoint(url, model)
    assert "word@" not in str(caught.value)


def test_the_key_is_in_nothing_that_is_shown(endpoint):
    endpoint.check()
    assert KEY not in repr(endpoint)


# --- the command -----------------------------------------------------------------------------


@pytest.fixture
def prompts_file(tmp_path):
    path = tmp_path / "prompts.jsonl"
    write_jsonl(path, [{"id": f"q{i}", "prompt": f"Prompt number {i}."} for i in range(3)])
    return path


def test_the_command_negates_with_an_endpoint_and_the_result_can_be_extracted(
    cli, server, prompts_file, tmp_path, llama
):
    server.answers["number 1"] = ""
    out = tmp_path / "negated.jsonl"
    result = cli(
        *("data", "negate", "--prompts", prompts_file, "--out", out, "--json"),
        *("--endpoint", server.url, "--endpoint-model", "m"),
    )
    assert result.code == 0, result.err
    assert json.loads(result.out) == {
        "out": str(out),
        "pairs": 2,
        "empty": ["q1"],
        "unchanged": [],
        "unfinished": [],
    }
    assert KEY not in out.read_text() + result.out + result.err
    pairs = read_pairs(out)
    assert [p.id for p in pairs] == ["q0", "q2"]
    config = ExtractionConfig(contrast="premise", sampling=Sampling(max_new_tokens=4))
    assert extract(llama, pairs, config).directions.provenance["n_pairs"] == 2


def test_the_command_negates_the_creative_side_of_pairs_with_a_model(
    cli, monkeypatch, ending, llama, tmp_path
):
    loaded: list[str] = []
    monkeypatch.setattr(loading, "load_model", lambda name, **_: loaded.append(name) or llama)
    path, out = tmp_path / "pairs.jsonl", tmp_path / "negated.jsonl"
    write_jsonl(path, (p.to_dict() for p in PAIRS))
    result = cli(
        *("data", "negate", "--prompts", path, "--out", out, "--model", "mine", "--limit", 2),
        *("--max-new-tokens", 24, "--seed", 4),
    )
    assert result.code == 0, result.err
    expected = negate_premises(llama, PAIRS[:2], max_new_tokens=24, seed=4)
    assert read_pairs(out) == list(expected.pairs)
    assert f"{expected.n_dropped} (" in result.out
    assert loaded == ["mine"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--endpoint", "http://localhost/v1"), "--endpoint needs --endpoint-model"),
        (("--endpoint-model", "m"), "--endpoint-model goes with --endpoint"),
        (("--endpoint", "http://x/v1", "--endpoint-model", "m", "--model", "n"), "not both"),
        (("--endpoint", "x", "--endpoint-model", "m"), "must be an address"),
        (
            ("--endpoint", "http://x/v1", "--endpoint-model", "m", "--key-variable", "NO_KEY"),
            "variable NO_KEY holds no key",
        ),
    ],
)
def test_a_command_that_cannot_work_ends_in_one_sentence(
    cli, prompts_file, tmp_path, options, message
):
    out = tmp_path / "new" / "negated.jsonl"
    result = cli("data", "negate", "--prompts", prompts_file, "--out", out, *options)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert not out.parent.exists()


@pytest.mark.parametrize("text", ["", '{"id": "a"}\n', '{"id": "a", "creative": "x"}\n'])
def test_a_prompts_file_that_cannot_be_used(cli, write, tmp_path, text):
    result = cli("data", "negate", "--prompts", write("p.jsonl", text), "--out", tmp_path / "o")
    assert result.code == 2
    assert "p.jsonl" in result.err
