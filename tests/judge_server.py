"""A judge on loopback that speaks chat completions and answers as a test says."""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = str | tuple[int, object]


class JudgeServer(ThreadingHTTPServer):
    """`answer` gets the body of a request; a tuple is a status and a body, as it is sent."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: Callable[[dict[str, Any]], Answer] = lambda body: "5"
        self.logprobs: Callable[[dict[str, Any]], object] = lambda body: None
        self.usage: dict[str, int] | None = {"prompt_tokens": 100, "completion_tokens": 2}
        self.finish_reason = "stop"
        self.delay = 0.0
        self.requests: list[dict[str, Any]] = []
        self.headers: list[str] = []
        self.busy = self.most_busy = 0
        self.lock = threading.Lock()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed is no failure of the test."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def completion(self, body: dict[str, Any], text: str) -> dict[str, Any]:
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": self.finish_reason,
            "logprobs": self.logprobs(body) if body.get("logprobs") else None,
        }
        told = {} if self.usage is None else {"usage": self.usage}
        return {"id": "x", "object": "chat.completion", "choices": [choice], **told}


class _Handler(BaseHTTPRequestHandler):
    server: JudgeServer

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.requests.append(body)
            server.headers.append(str(self.headers))
            server.busy += 1
            server.most_busy = max(server.most_busy, server.busy)
        time.sleep(server.delay)
        answer = server.answer(body)
        with server.lock:
            server.busy -= 1
        status, value = (
            (200, server.completion(body, answer)) if isinstance(answer, str) else answer
        )
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("retry-after-ms", "5")  # or the client would wait half a second
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


def digits(**probabilities: float) -> dict[str, Any]:
    """Log-probabilities of one token: `digits(t7=0.5)` gives "7" a probability of one half."""
    import math

    listed = [
        {"token": name.removeprefix("t"), "logprob": math.log(p), "bytes": None}
        for name, p in probabilities.items()
    ]
    return {"content": [{**listed[0], "top_logprobs": listed}], "refusal": None}
