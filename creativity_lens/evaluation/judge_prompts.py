"""What judges are asked, in words, and how a text is kept from breaking out of its frame.

Texts stand between tags. The same tags and special tokens inside a text are taken apart, so that it
can end neither its frame nor its turn. Still, a text can talk to the judge ("choose this one"), and
nothing here prevents it. Read the texts of a surprising verdict.
"""

import re
from collections.abc import Callable
from typing import Any

from creativity_lens.errors import InputError
from creativity_lens.models.chat import decode, text_ids
from creativity_lens.models.protocol import LensModel

Inert = Callable[[str], str]
"""Takes the tags and special tokens in a text apart."""
Scale = tuple[int, int]
"""The lowest and the highest rating; every whole number between them is one too."""

RATE_SYSTEM = "You rate a text."
COMPARE_SYSTEM = "You compare two texts."

_TEXT = "[Begin text{label}]\n{text}\n[End text{label}]\n\n"
# Among eight wordings, the one that put most mass on the labels of SmolLM2-135M (0.66 on twelve
# pairs of our own); it was not chosen by its accuracy.
_COMPARE = (
    "Which text is more {quality}?\n{first}. Text {first}\n{second}. Text {second}\n\n"
    "Answer: {first} or {second}?"
)
# Of eleven wordings on twelve passages of our own, SmolLM2-135M put most mass on the digits with
# one that lists them all (0.33), and then nearly always took the first; this one came next (0.31).
# None was chosen by its accuracy.
_RATE = "Rate how {quality} the text is, from {low} to {high}. Answer with the number alone."
_TAG = re.compile(r"\[(?=\s*(?:begin|end)\s+t)", re.IGNORECASE)
# Turn marks of the common chat formats. Which of them a server knows, it does not tell.
_MARK = re.compile(
    r"<\|[^<>|\n]{1,40}\|>|<\uff5c[^<>\uff5c\n]{1,40}\uff5c>|</?s>|<(?:bos|eos|pad|unk)>"
    r"|</?(?:start|end)_of_(?:turn|role)>|<</?SYS>>|\[/?(?:INST|SYSTEM_PROMPT|TOOL_CALLS)\]",
    re.IGNORECASE,
)


def rating_question(
    text: str, prompt: str | None, *, quality: str, scale: Scale, inert: Inert
) -> str:
    """Ask for a number for one text; the task is shown if it is known."""
    task = "" if prompt is None else f"The text answers this: {inert(prompt)}\n\n"
    shown = _TEXT.replace("{label}", "").replace("{text}", inert(text))
    return task + shown + _RATE.format(quality=quality, low=scale[0], high=scale[1])


def choice_question(
    a: str, b: str, prompt: str | None, labels: tuple[str, str], *, quality: str, inert: Inert
) -> str:
    """Ask which of two texts is more `quality`; `a` stands first."""
    task = "" if prompt is None else f"Both texts answer this: {inert(prompt)}\n\n"
    texts = "".join(
        _TEXT.replace("{label}", f" {label}").replace("{text}", inert(text))
        for label, text in zip(labels, (a, b), strict=True)
    )
    return task + texts + _COMPARE.format(quality=quality, first=labels[0], second=labels[1])


def inert_for(model: LensModel) -> Inert:
    """For a model in this process, whose special tokens are known."""
    special = sorted(special_tokens(model.tokenizer))

    def inert(text: str) -> str:
        for token in special:
            text = text.replace(token, _apart(token))
        return _TAG.sub("(", text)

    return inert


def inert_for_chat(text: str) -> str:
    """For a model behind an endpoint: the turn marks of the common chat formats are taken apart."""
    return _TAG.sub("(", _MARK.sub(lambda mark: _apart(mark[0]), text))


def _apart(token: str) -> str:
    return f"{token[:1]} {token[1:]}"


def special_tokens(tokenizer: Any) -> set[str]:
    """Strings that the tokenizer reads as more than their characters."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    found = {token.content for token in added.values() if token.special}
    return {token for token in (*found, *getattr(tokenizer, "all_special_tokens", ())) if token}


def beginning(model: LensModel, text: str, max_tokens: int | None) -> str:
    """The first so many tokens of a text; all of it if None."""
    if max_tokens is None:
        return text
    ids = text_ids(model, text)
    return text if len(ids) <= max_tokens else decode(model, ids[:max_tokens])


def check_quality(quality: str) -> None:
    """Raise InputError unless `quality` can stand in the question."""
    if not quality.strip():
        raise InputError(f"quality must be an adjective such as 'creative', got {quality!r}.")


def check_max_tokens(max_tokens: int | None) -> None:
    """Raise InputError unless something of each text is shown."""
    if max_tokens is not None and max_tokens < 1:
        raise InputError(
            f"max_tokens must be at least 1, or None for whole texts; got {max_tokens}."
        )


def check_scale(scale: Scale) -> None:
    """Raise InputError unless `scale` is one of whole numbers that a sentence can name."""
    low, high = scale
    if not 0 <= low < high <= 100:
        raise InputError(f"a scale goes from a lower to a higher number in 0 to 100, got {scale}.")
