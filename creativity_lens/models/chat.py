"""Rendering a prompt to token ids: the only place where text becomes ids.

The chat template is rendered to text and tokenized with `add_special_tokens=False`, so that
nothing adds a second BOS. A model without a chat template gets the plain text after its BOS.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from creativity_lens.errors import InputError, ModelError
from creativity_lens.models.protocol import LensModel, context_length


def has_chat_template(tokenizer: Any) -> bool:
    """Whether the tokenizer knows how a conversation looks to its model."""
    return bool(getattr(tokenizer, "chat_template", None))


def render_prompt(model: LensModel, user: str, *, system: str | None = None) -> list[int]:
    """Token ids of a prompt, up to and with the header of the assistant's turn.

    With a chat template: the system message (if any), the user message, and the assistant header.
    A template that refuses a system message gets it in front of the user message instead. Without
    a template: BOS (if the tokenizer has one), then the same text, set apart by blank lines.

    Raises:
        ModelError: the model has no tokenizer.
    """
    tokenizer = _tokenizer(model)
    if not has_chat_template(tokenizer):
        text = "\n\n".join(part for part in (system, user) if part) + "\n\n"
        return [*_bos(tokenizer), *text_ids(model, text)]
    separate = [{"role": "system", "content": system or ""}, {"role": "user", "content": user}]
    merged = [{"role": "user", "content": f"{system}\n\n{user}" if system else user}]
    failure: Exception | None = None
    for messages in (separate, merged) if system else (merged,):
        try:
            text = _apply(tokenizer, messages)
        except Exception as error:  # a jinja template may raise anything
            failure = error
        else:
            return text_ids(model, text)
    raise ModelError(
        f"this model's chat template cannot render a user message: {failure}"
    ) from failure


def _apply(tokenizer: Any, messages: Sequence[dict[str, str]]) -> str:
    rendered = tokenizer.apply_chat_template(
        list(messages), tokenize=False, add_generation_prompt=True
    )
    return str(rendered)


def bare_context(model: LensModel) -> list[int]:
    """What stands before a text that is read without a prompt: BOS, or nothing without one."""
    return _bos(_tokenizer(model))


def neutral_context(
    model: LensModel, neutral: Mapping[str, str], *, prompt: str | None = None
) -> list[int]:
    """Token ids that stand before a text that is read under no instruction.

    With a `prompt`: that, as the user's turn. Without: the neutral prompt's own `user`; on a model
    without a chat template, BOS alone.

    Args:
        model: any `LensModel` with a tokenizer.
        neutral: `system` and `user`, as recorded with directions.
        prompt: what the text answers.
    """
    if prompt is None and not has_chat_template(_tokenizer(model)):
        return bare_context(model)
    return render_prompt(
        model, neutral["user"] if prompt is None else prompt, system=neutral["system"]
    )


def text_ids(model: LensModel, text: str) -> list[int]:
    """Token ids of a text on its own, with no special token added."""
    ids = _tokenizer(model)(text, add_special_tokens=False)["input_ids"]
    return [int(i) for i in ids]


def decode(model: LensModel, ids: Sequence[int]) -> str:
    """The text of token ids; special tokens are left out."""
    text = _tokenizer(model).decode(list(ids), skip_special_tokens=True)
    return str(text)


def check_fits(model: LensModel, n_tokens: int, what: str, *, remedy: str) -> None:
    """Raise if `n_tokens` are more than the model reads at once.

    Raises:
        InputError: naming `what`, both numbers and `remedy`.
    """
    if n_tokens > context_length(model):
        raise InputError(
            f"{what} needs {n_tokens} tokens, but this model's context is "
            f"{context_length(model)}; {remedy}."
        )


def _tokenizer(model: LensModel) -> Any:
    tokenizer = model.tokenizer
    if tokenizer is None:
        raise ModelError("this model has no tokenizer; set model.tokenizer before you pass text.")
    return tokenizer


def _bos(tokenizer: Any) -> list[int]:
    bos = getattr(tokenizer, "bos_token_id", None)
    return [] if bos is None else [int(bos)]
