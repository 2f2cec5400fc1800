"""Text from a model behind an OpenAI-compatible endpoint; the only module that knows `openai`.

Servers such as vLLM, llama.cpp and Ollama speak the same format. The key comes from the environment
and is never written, logged or shown.

Not every server takes every setting: some refuse to tell log-probabilities, models that think
before they answer take no temperature, and newer ones call the limit `max_completion_tokens`. A
setting that is refused by name is left out, or renamed, and the request is sent again.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from creativity_lens.errors import InputError, MissingDependencyError, ModelError
from creativity_lens.generation.decode import FinishReason

KEY_VARIABLE = "OPENAI_API_KEY"


class Reply(NamedTuple):
    """What the endpoint answered."""

    text: str
    finish_reason: FinishReason


class AnswerToken(NamedTuple):
    """One token of an answer, with the log-probabilities of those that could have stood there."""

    token: str
    likeliest: tuple[tuple[str, float], ...]
    """Token and natural logarithm of its probability; the answer's own is among them."""


class Answer(NamedTuple):
    """What the endpoint answered, and what that took."""

    text: str
    finish_reason: FinishReason
    prompt_tokens: int | None
    """Tokens of the question by the server's own count; None if it tells none."""
    completion_tokens: int | None
    """The same of the answer, thinking included."""
    tokens: tuple[AnswerToken, ...] = ()
    """The first `LOGPROB_TOKENS` at most; empty if the server tells no log-probabilities."""


LOGPROB_TOKENS = 16
"""Tokens of an answer of which log-probabilities are kept."""


@dataclass(frozen=True)
class ChatEndpoint:
    """A model behind an endpoint.

    Attributes:
        url: base of the interface, such as `http://localhost:8000/v1`.
        model: the endpoint's name of the model.
        key_variable: the environment variable that holds the key.
        timeout: seconds that one answer may take.
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
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(
                f"the endpoint must be an address such as http://localhost:8000/v1, got "
                f"{self.url!r}."
            )
        if parts.username or parts.password:
            raise InputError(
                f"the endpoint's address must not hold a user or password; put the key into the "
                f"environment variable {self.key_variable}."
            )
        if parts.query or parts.fragment:  # the client would put the path behind it
            raise InputError(
                "the endpoint's address must end with its path, without `?` or `#`; a key goes "
                f"into the environment variable {self.key_variable}."
            )
        if not self.model.strip():
            raise InputError("name the model that the endpoint is to use.")

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
        """The answer to a conversation; several threads may ask at once.

        An answer that the server withholds because of its content filter is empty.

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
        try:
            while True:
                try:
                    answer = client.chat.completions.create(
                        model=self.model, messages=list(messages), **_without(settings, refused)
                    )
                    break
                except openai.APIStatusError as error:
                    if getattr(error, "code", None) == "content_filter":
                        return Answer("", "stop", None, None)
                    named = _refused_by(error, _without(settings, refused))
                    if not named:
                        raise
                    refused |= named
            self._refused.update(refused)
            return _read(answer)
        except openai.OpenAIError as error:
            raise ModelError(self._explain(error)) from error
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
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
        return f"{where} could not answer for the model {self.model!r} ({kind}): see its log."


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


def _read(answer: Any) -> Answer:
    choice = answer.choices[0]
    text = choice.message.content or ""
    usage = getattr(answer, "usage", None)
    return Answer(
        str(text),
        "length" if choice.finish_reason == "length" else "stop",
        _count(getattr(usage, "prompt_tokens", None)),
        _count(getattr(usage, "completion_tokens", None)),
        _read_logprobs(choice),
    )


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _read_logprobs(choice: Any) -> tuple[AnswerToken, ...]:
    """The log-probabilities, or none: servers differ in what they send."""
    try:
        found = []
        for place in choice.logprobs.content[:LOGPROB_TOKENS]:
            known = {str(place.token): float(place.logprob)}
            known |= {str(one.token): float(one.logprob) for one in place.top_logprobs}
            if any(math.isnan(value) or value > 1e-3 for value in known.values()):
                return ()
            found.append(AnswerToken(str(place.token), tuple(known.items())))
    except (AttributeError, TypeError, ValueError):
        return ()
    return tuple(found)
