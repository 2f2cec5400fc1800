"""Text from a model behind an OpenAI-compatible endpoint; the only module that knows `openai`.

Servers such as vLLM, llama.cpp and Ollama speak the same format. The key comes from the environment
and is never written, logged or shown.

Not every server takes every setting: some refuse to tell log-probabilities, models that think
before they answer take no temperature, and newer ones call the limit `max_completion_tokens`. A
setting that is refused by name is left out, or renamed, and the request is sent again.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from creativity_lens.errors import InputError, MissingDependencyError, ModelError
from creativity_lens.generation.decode import FinishReason
from creativity_lens.generation.endpoint_answer import Answer, read_answer

KEY_VARIABLE = "OPENAI_API_KEY"


class Reply(NamedTuple):
    """What the endpoint answered."""

    text: str
    finish_reason: FinishReason


_MOST_SHOWN = 200
"""Characters of a server's message that an error passes on."""
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class ChatEndpoint:
    """A model behind an endpoint.

    Attributes:
        url: base of the interface, such as `http://localhost:8000/v1`.
        model: the endpoint's name of the model.
        key_variable: the environment variable that holds the key.
        timeout: seconds that the server may be silent: until it takes the connection, and then
            between two pieces of what it sends. It does not bound the whole answer: some servers
            send blanks while a request waits in their queue, and are waited for as long as they do.
            Each retry has as long again.
        max_retries: how often a request is tried again when the endpoint is busy, fails or is out
            of reach; the pause doubles from half a second to eight, or is what the server asks for.

    Raises:
        InputError: not an http(s) address, or a blank model name.
    """

    url: str
    model: str
    key_variable: str = KEY_VARIABLE
    timeout: float = 120.0
    max_retries: int = 2

    def __post_init__(self) -> None:
        if "@" in self.url.partition("//")[2].partition("/")[0]:
            raise InputError(
                f"the endpoint's address must not hold a user or password; put the key into the "
                f"environment variable {self.key_variable}."
            )
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in _PORTS and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise InputError(
                f"the endpoint must be an address such as http://localhost:8000/v1, got "
                f"{self.url!r}."
            )
        if parts.query or parts.fragment:  # the client would put the path behind it
            raise InputError(
                "the endpoint's address must end with its path, without `?` or `#`; a key goes "
                f"into the environment variable {self.key_variable}."
            )
        if not self.model.strip():
            raise InputError("name the model that the endpoint is to use.")

    @property
    def host(self) -> str:
        """Host and port, such as `localhost:8000`; the scheme's own port if none is given."""
        parts = urlsplit(self.url)
        name = parts.hostname or ""
        shown = f"[{name}]" if ":" in name else name
        return f"{shown}:{parts.port or _PORTS[parts.scheme]}"

    @property
    def address(self) -> str:
        """The address in one spelling: two that differ in nothing else have the same."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{self.host}{parts.path.rstrip('/')}"

    def check(self) -> None:
        """Raise now what would fail before the first request is sent.

        Raises:
            MissingDependencyError: `openai` is not installed.
            InputError: no key in the environment.
        """
        _ = self._client

    def complete(
        self, user: str, *, system: str | None = None, max_new_tokens: int, seed: int = 0
    ) -> Reply:
        """The answer to one user message at temperature 0; empty if the model said nothing.

        `seed` is passed on; not every server heeds it.

        Raises:
            MissingDependencyError: `openai` is not installed.
            InputError: no key in the environment.
            ModelError: the endpoint is out of reach, refuses the key, knows no such model, is too
                busy, or does not answer in the format.
        """
        told = [{"role": "system", "content": system}] if system else []
        messages = [*told, {"role": "user", "content": user}]
        answer = self.ask(messages, max_new_tokens=max_new_tokens, seed=seed)
        return Reply(answer.text, answer.finish_reason)

    def ask(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        max_new_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
        top_logprobs: int = 0,
    ) -> Answer:
        """The answer to a conversation, without thoughts; several threads may ask at once.

        An answer that the server withholds because of its content filter is empty, and so is one
        that ends in the middle of a thought.

        Args:
            messages: `role` and `content` of each turn.
            max_new_tokens: most tokens in the answer; of a model that thinks first, with them.
            temperature: left out if the model takes none.
            seed: passed on; not every server heeds it.
            top_logprobs: ask for the log-probabilities of so many tokens at each place (most
                servers take 20 at most); 0 does not ask.

        Raises:
            MissingDependencyError: `openai` is not installed.
            InputError: no key in the environment.
            ModelError: as for `complete`.
        """
        client = self._client
        import openai

        settings: dict[str, Any] = {
            "temperature": temperature,
            "max_tokens": max_new_tokens,
            "seed": seed,
        }
        if top_logprobs:
            settings |= {"logprobs": True, "top_logprobs": top_logprobs}
        refused = set(self._refused)
        answer: Any = None
        try:
            while True:
                try:
                    answer = client.chat.completions.create(
                        model=self.model, messages=list(messages), **_without(settings, refused)
                    )
                    break
                except openai.APIStatusError as error:
                    if getattr(error, "code", None) == "content_filter":
                        return Answer("", "stop", None, None, (), _names(refused), withheld=True)
                    named = _refused_by(error, _without(settings, refused))
                    if not named:
                        raise
                    refused |= named
            self._refused.update(refused)
            return read_answer(answer)._replace(refused=_names(refused))
        except openai.OpenAIError as error:
            # A server may repeat the key, which a traceback would show.
            cause = error if self._redacted(str(error)) == str(error) else None
            raise ModelError(self._explain(error)) from cause
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            said = self._said(getattr(answer, "error", None))
            if said:  # some answer with status 200 that they cannot answer
                raise ModelError(self._failed("status 200", said)) from None
            raise ModelError(
                f"the endpoint {self.url} answered, but not in the chat-completions format: check "
                "that its address ends where the interface begins (often in /v1)."
            ) from error

    @cached_property
    def _refused(self) -> set[str]:
        """Settings that this endpoint has refused by name."""
        return set()

    @cached_property
    def _client(self) -> Any:
        try:
            from openai import OpenAI
        except ImportError as error:
            raise MissingDependencyError(
                "an endpoint needs the openai client: run "
                "`pip install 'creativity-lens[endpoint]'`."
            ) from error
        key = os.environ.get(self.key_variable, "").strip()
        if not key:
            raise InputError(
                f"the environment variable {self.key_variable} holds no key for {self.url}: set it "
                "(to any word for a server that asks for none)."
            )
        if not key.isascii() or not key.isprintable():
            raise InputError(
                f"the key in the environment variable {self.key_variable} holds a line break or "
                "another character that no key has: set it again, without anything around it."
            )
        return OpenAI(
            api_key=key, base_url=self.url, timeout=self.timeout, max_retries=self.max_retries
        )

    def _explain(self, error: Exception) -> str:
        import openai

        where = f"the endpoint {self.url}"
        if isinstance(error, openai.APITimeoutError):
            return f"{where} did not answer within {self.timeout:g} s: try again, or a nearer one."
        if isinstance(error, openai.APIConnectionError):
            return f"{where} cannot be reached: check the address, and that the server runs."
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return f"{where} refused the key in {self.key_variable}: set it to a valid one."
        if isinstance(error, openai.NotFoundError):
            return (
                f"{where} knows no model {self.model!r}, or its address is incomplete (it often "
                "ends in /v1)."
            )
        if isinstance(error, openai.RateLimitError):
            return f"{where} is busy or the quota is used up: wait, or ask for fewer prompts."
        status = getattr(error, "status_code", None)
        kind = f"status {status}" if status else type(error).__name__
        return self._failed(kind, self._said(getattr(error, "body", None)))

    def _failed(self, kind: str, said: str) -> str:
        more = f"it says {said}" if said else "see its log"
        return (
            f"the endpoint {self.url} could not answer for the model {self.model!r} ({kind}): "
            f"{more}."
        )

    def _said(self, body: object) -> str:
        """Code, or else type, and message of a server's error, on one line and without the key."""
        told = body if isinstance(body, Mapping) else {"message": body}
        kind = next((str(told[one]) for one in ("code", "type") if told.get(one)), "")
        message = told.get("message") or told.get("detail")
        # A page of HTML is a proxy's, and says no more than the status.
        shows = isinstance(message, str) and not message.lstrip().startswith("<")
        parts = [kind, str(message) if shows else ""]
        lines = [" ".join(self._redacted(part).split()) for part in parts]
        shown = [
            "".join(c for c in line if c.isprintable())[:_MOST_SHOWN].rstrip(" .") for line in lines
        ]
        return ": ".join(part for part in shown if part)

    def _redacted(self, text: str) -> str:
        """Without the key. A short one is any word, for a server that asks for none."""
        key = os.environ.get(self.key_variable, "").strip()
        if not key:
            return text
        pattern = re.escape(key) if len(key) > 7 else rf"(?<!\w){re.escape(key)}(?!\w)"
        return re.sub(pattern, "[key]", text, flags=re.IGNORECASE)


def _without(settings: Mapping[str, Any], refused: set[str]) -> dict[str, Any]:
    """The settings of a request that leaves out or renames what was refused."""
    kept = {name: value for name, value in settings.items() if name not in refused}
    if "max_tokens" in refused:
        kept["max_completion_tokens"] = settings["max_tokens"]
    return kept


def _refused_by(error: Any, sent: Mapping[str, Any]) -> set[str]:
    """Which of the settings that were sent the endpoint refuses."""
    if error.status_code not in (400, 403, 422):
        return set()
    said = str(error).lower()
    if "logprobs" in sent and "logprob" in said:
        return {"logprobs", "top_logprobs"}
    if error.status_code == 403:
        return set()
    if "max_tokens" in sent and "max_completion_tokens" in said:
        return {"max_tokens"}
    return {name for name in ("temperature", "seed") if name in sent and name in said}


def _names(refused: set[str]) -> tuple[str, ...]:
    """Settings that were refused and left out; `max_tokens` was only renamed."""
    return tuple(sorted(refused & {"logprobs", "seed", "temperature"}))
