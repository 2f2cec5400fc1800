"""Text from a model behind an OpenAI-compatible endpoint; the only module that knows `openai`.

Servers such as vLLM, llama.cpp and Ollama speak the same format. The key comes from the environment
and is never written, logged or shown.
"""

import os
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


@dataclass(frozen=True)
class ChatEndpoint:
    """A model behind an endpoint.

    Attributes:
        url: base of the interface, such as `http://localhost:8000/v1`.
        model: the endpoint's name of the model.
        key_variable: the environment variable that holds the key.
        timeout: seconds that one answer may take.
        max_retries: how often a request is tried again when the endpoint is busy or out of reach.

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
        client = self._client
        import openai

        told = [{"role": "system", "content": system}] if system else []
        try:
            answer = client.chat.completions.create(
                model=self.model,
                messages=[*told, {"role": "user", "content": user}],
                temperature=0.0,
                max_tokens=max_new_tokens,
                seed=seed,
            )
            choice = answer.choices[0]
            text = choice.message.content or ""
            return Reply(str(text), "length" if choice.finish_reason == "length" else "stop")
        except openai.OpenAIError as error:
            raise ModelError(self._explain(error)) from error
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"the endpoint {self.url} answered, but not in the chat-completions format: check "
                "that its address ends where the interface begins (often in /v1)."
            ) from error

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
