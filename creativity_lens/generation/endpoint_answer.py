"""What an OpenAI-compatible server answered: its words, what they took, their log-probabilities.

Models that think before they answer may send their thoughts with the answer, between tags such as
`<think>`. They are taken off.
"""

import math
import re
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from creativity_lens.generation.decode import FinishReason


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
    """The first `LOGPROB_TOKENS` at most, from where the text begins; empty if the server tells no
    log-probabilities, or if it cannot be told which are of the text and which of thoughts."""
    refused: tuple[str, ...] = ()
    """Those of `logprobs`, `seed` and `temperature` that the server refused: it was asked
    without."""
    withheld: bool = False
    """Whether the server's content filter kept the answer back; the text is empty then."""


LOGPROB_TOKENS = 16
"""Tokens of an answer of which log-probabilities are kept."""
_OPEN = r"(?:<(?:think|thinking|reasoning)>|\[THINK\])"
_CLOSE = r"(?:</(?:think|thinking|reasoning)>|\[/THINK\])"
_THOUGHTS = re.compile(f"{_OPEN}.*?{_CLOSE}", re.DOTALL | re.IGNORECASE)
# A chat template may open the block, so that only its end is in the answer.
_THOUGHTS_TO = re.compile(f".*{_CLOSE}", re.DOTALL | re.IGNORECASE)
_THOUGHTS_FROM = re.compile(_OPEN, re.IGNORECASE)
_END_MARKS = re.compile(r"\s*(?:<[^<>]*>\s*)*")
"""Tokens such as `<|im_end|>`, which some servers list behind the answer."""


def read_answer(answer: Any) -> Answer:
    """Read a completion as the openai client gives it.

    Raises:
        AttributeError, IndexError, KeyError, TypeError or ValueError: it is not in the format.
    """
    choice = answer.choices[0]
    withheld = choice.finish_reason == "content_filter"
    said = "" if withheld else _said_in(choice.message.content)
    text = _without_thoughts(said)
    usage = getattr(answer, "usage", None)
    return Answer(
        text,
        "length" if choice.finish_reason == "length" else "stop",
        _count(getattr(usage, "prompt_tokens", None)),
        _count(getattr(usage, "completion_tokens", None)),
        _read_logprobs(choice, text, thought=text != said or _thought_apart(choice.message)),
        withheld=withheld,
    )


def _said_in(content: Any) -> str:
    """A message's text; of one in parts those that are text, and no thoughts."""
    if isinstance(content, list):
        return "".join(str(one["text"]) for one in content if one["type"] == "text")
    return str(content or "")


def _without_thoughts(text: str) -> str:
    """The text without blocks of thoughts; empty if it ends in one."""
    rest = _THOUGHTS.sub("", text)
    ended = _THOUGHTS_TO.match(rest)
    rest = rest[ended.end() :] if ended else rest
    if _THOUGHTS_FROM.search(rest):
        return ""
    return text if rest == text else rest.strip()


def _thought_apart(message: Any) -> bool:
    """Whether the server tells thoughts in a field of their own; their tokens may be listed."""
    return any(getattr(message, name, None) for name in ("reasoning", "reasoning_content"))


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _read_logprobs(choice: Any, text: str, *, thought: bool) -> tuple[AnswerToken, ...]:
    """Log-probabilities from where the text begins, or none: servers differ in what they send."""
    try:
        listed = choice.logprobs.content
        start = _start_of(text, [str(place.token) for place in listed], thought=thought)
        if start is None:
            return ()
        found = []
        for place in listed[start : start + LOGPROB_TOKENS]:
            known = {str(place.token): float(place.logprob)}
            known |= {str(one.token): float(one.logprob) for one in place.top_logprobs}
            if any(math.isnan(value) or value > 1e-3 for value in known.values()):
                return ()
            found.append(AnswerToken(str(place.token), tuple(known.items())))
    except (AttributeError, TypeError, ValueError):
        return ()
    return tuple(found)


def _start_of(text: str, tokens: Sequence[str], *, thought: bool) -> int | None:
    """Which token the text begins in; None if thoughts stand before it and it cannot be told."""
    joined = "".join(tokens)
    thoughts = _THOUGHTS_TO.match(joined)
    if not thought and thoughts is None and not _THOUGHTS_FROM.search(joined):
        return 0
    begin = thoughts.end() if thoughts else 0
    place = joined.rfind(text.strip())
    behind = joined[place + len(text.strip()) :]
    unfinished = _THOUGHTS_FROM.search(joined, begin) or not _END_MARKS.fullmatch(behind)
    if not text.strip() or place < begin or unfinished:
        return None
    ends = accumulate(map(len, tokens))
    return next(i for i, end in enumerate(ends) if end > place)
