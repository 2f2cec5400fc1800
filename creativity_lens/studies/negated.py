"""The paper's own contrast: the uncreative side is a negation of the creative prompt.

arXiv 2412.06060 takes WritingPrompts premises and a negated version of each, written by a model.
That set was not released, so here a given model writes it: one in this process, greedily, or one
behind an endpoint.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from creativity_lens.errors import InputError
from creativity_lens.generation.decode import FinishReason
from creativity_lens.generation.endpoint import ChatEndpoint
from creativity_lens.generation.sampling import Sampling
from creativity_lens.models.identity import identity
from creativity_lens.models.protocol import LensModel
from creativity_lens.prompts.pairs import ContrastPair
from creativity_lens.prompts.readers import bare_pair
from creativity_lens.prompts.text import words
from creativity_lens.steering.generate import generate

NEGATE = (
    "Write the negation of this writing prompt: the same people and place, but what is unusual in "
    "it does not happen. Answer with the negated prompt alone, in about as many words.\n\n{prompt}"
)
"""The paper does not print its instruction; this one is ours."""


@dataclass(frozen=True)
class Negations:
    """What `negate_premises` returns.

    Attributes:
        pairs: the prompts with their negations; `source` records by whom, how and as told what.
        empty: ids of the prompts that were dropped because the answer held no word.
        unchanged: ids of those whose answer has the prompt's own words.
        unfinished: ids of those whose answer ran into the limit.
    """

    pairs: tuple[ContrastPair, ...]
    empty: tuple[str, ...]
    unchanged: tuple[str, ...]
    unfinished: tuple[str, ...]

    @property
    def n_dropped(self) -> int:
        """How many prompts have no pair."""
        return len(self.empty) + len(self.unchanged) + len(self.unfinished)


class _Answer(NamedTuple):
    text: str
    finish_reason: FinishReason


def negate_premises(
    model: LensModel | ChatEndpoint,
    prompts: Mapping[str, str] | Sequence[ContrastPair],
    *,
    instruction: str = NEGATE,
    max_new_tokens: int = 128,
    seed: int = 0,
    batch_size: int = 32,
    on_progress: Callable[[int], None] | None = None,
) -> Negations:
    """Let a model negate each prompt, for the premise contrast as published.

    Decoding is greedy. A line that only announces the answer ("Here is …:") and quotation marks
    around all of it are taken off. What the model writes is not judged: read a sample.

    Args:
        model: any `LensModel`, or a `ChatEndpoint`.
        prompts: prompts by id, or pairs, whose creative side is negated and whose other fields are
            kept.
        instruction: what the model is told; `{prompt}` stands for the prompt.
        max_new_tokens: most tokens in a negation.
        seed: recorded, and passed on to an endpoint; a greedy model does not use it.
        batch_size: prompts that a `LensModel` answers together.
        on_progress: called with the number of prompts that were answered since the last call.

    Raises:
        InputError: no prompts, an instruction without `{prompt}`, a prompt too long for the
            context, or no negation that could be kept.
        ModelError: the endpoint fails.
    """
    pairs = (
        [bare_pair(i, text, domain="stories", source="given") for i, text in prompts.items()]
        if isinstance(prompts, Mapping)
        else list(prompts)
    )
    if not pairs:
        raise InputError("there are no prompts to negate.")
    if "{prompt}" not in instruction:
        raise InputError(
            f"the instruction must say where the prompt goes with {{prompt}}, got {instruction!r}."
        )
    requests = {pair.id: instruction.replace("{prompt}", pair.creative) for pair in pairs}
    if len(requests) < len(pairs):
        raise InputError("two prompts have the same id: ids must be unique.")
    if isinstance(model, ChatEndpoint):
        writer = f"{model.model} (endpoint)"
        answers = _ask(model, requests, max_new_tokens, seed, on_progress)
    else:
        writer = str(identity(model)["name"])
        sampling = Sampling(max_new_tokens=max_new_tokens, temperature=0.0)
        answers = {
            text.id: _Answer(text.response, text.finish_reason)
            for text in generate(
                model,
                requests,
                sampling=sampling,
                seed=seed,
                batch_size=batch_size,
                on_progress=on_progress,
            )
        }
    note = f"negated by {writer}, greedy, seed {seed}, told: {instruction}"
    kept: list[ContrastPair] = []
    dropped: dict[str, list[str]] = {"empty": [], "unchanged": [], "unfinished": []}
    for pair in pairs:
        text = _bare(answers[pair.id].text)
        fault = _fault(text, pair.creative, answers[pair.id].finish_reason)
        if fault:
            dropped[fault].append(pair.id)
        else:
            kept.append(replace(pair, uncreative=text, source=f"{pair.source}; {note}"))
    if not kept:
        counts = ", ".join(f"{len(ids)} {fault}" for fault, ids in dropped.items())
        raise InputError(
            f"none of {len(pairs)} negations can be kept ({counts}): use a model that follows "
            "instructions, or allow more new tokens."
        )
    return Negations(tuple(kept), *(tuple(ids) for ids in dropped.values()))


def _ask(
    endpoint: ChatEndpoint,
    requests: Mapping[str, str],
    max_new_tokens: int,
    seed: int,
    on_progress: Callable[[int], None] | None,
) -> dict[str, _Answer]:
    answers = {}
    for name, user in requests.items():
        reply = endpoint.complete(user, max_new_tokens=max_new_tokens, seed=seed)
        answers[name] = _Answer(reply.text, reply.finish_reason)
        if on_progress is not None:
            on_progress(1)
    return answers


def _fault(text: str, prompt: str, finish_reason: FinishReason) -> str | None:
    if not words(text):
        return "empty"
    if words(text) == words(prompt):
        return "unchanged"
    return "unfinished" if finish_reason == "length" else None


def _bare(answer: str) -> str:
    """The answer without an announcing first line and without marks around all of it."""
    first, _, rest = answer.strip().partition("\n")
    if first.rstrip().endswith(":") and rest.strip():
        answer = rest
    text = " ".join(answer.split())
    quoted = re.fullmatch(r'"([^"]+)"|\u201c([^\u201c\u201d]+)\u201d', text)
    return (quoted[1] or quoted[2]).strip() if quoted else text
