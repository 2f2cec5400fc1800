"""Asking a model behind an endpoint many questions: some at a time, none of them twice."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, NamedTuple

from creativity_lens.errors import InputError, ModelError
from creativity_lens.evaluation.judge_cache import JudgeCache, answer_key
from creativity_lens.generation.endpoint import ChatEndpoint
from creativity_lens.generation.endpoint_answer import Answer

TOP_LOGPROBS = 20
"""What most servers give at most."""
_MILLION = 1_000_000


@dataclass(frozen=True)
class AnswerSettings:
    """How answers are drawn; part of the key of a cached answer.

    Attributes:
        max_tokens: most tokens in an answer. A model that thinks before it answers needs thousands.
        temperature: 0 takes the likeliest answer. Models that take none ignore it.
        seed: passed on; not every server heeds it.
        logprobs: ask for log-probabilities, which turn a choice into a probability and a rating
            into an expected value; a server that refuses is asked without.

    Raises:
        InputError: a setting out of range.
    """

    max_tokens: int = 16
    temperature: float = 0.0
    seed: int = 0
    logprobs: bool = True

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise InputError(f"max_tokens must be at least 1, got {self.max_tokens}.")
        if not 0 <= self.temperature <= 2:
            raise InputError(f"temperature must be from 0 to 2, got {self.temperature}.")

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values."""
        return asdict(self)


class Question(NamedTuple):
    """One question."""

    about: str
    """What errors call it: "the text 'x'"."""
    system: str
    user: str

    @property
    def messages(self) -> list[dict[str, str]]:
        """As an endpoint takes it."""
        return [
            {"role": "system", "content": self.system},
            {"role": "user", "content": self.user},
        ]


@dataclass(frozen=True)
class Usage:
    """What answers took. Tokens are the server's own count.

    Attributes:
        requests: questions that the endpoint answered now.
        cached: questions that needed no request: their answer was on disk, or another question of
            the same words got it.
        prompt_tokens: of the requests.
        completion_tokens: of the requests.
        cached_prompt_tokens: of the answers on disk, when they were asked for.
        cached_completion_tokens: the same of their answers.
        uncounted: answers to the requests of which the server told no tokens; they are missing from
            the sums.
        cached_uncounted: the same of the answers on disk.
    """

    requests: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_prompt_tokens: int = 0
    cached_completion_tokens: int = 0
    uncounted: int = 0
    cached_uncounted: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        mine, its = asdict(self), asdict(other)
        return Usage(**{name: mine[name] + its[name] for name in mine})

    def cost(self, price_in: float, price_out: float) -> float | None:
        """What the requests cost now, at prices for a million prompt and completion tokens.

        None if the tokens of an answer are not known.
        """
        if self.uncounted:
            return None
        return (self.prompt_tokens * price_in + self.completion_tokens * price_out) / _MILLION

    def cached_cost(self, price_in: float, price_out: float) -> float | None:
        """What the answers on disk cost when they were asked for; None as for `cost`."""
        if self.cached_uncounted:
            return None
        tokens_in, tokens_out = self.cached_prompt_tokens, self.cached_completion_tokens
        return (tokens_in * price_in + tokens_out * price_out) / _MILLION

    def to_dict(self) -> dict[str, int]:
        """The counts as plain values."""
        return asdict(self)


class Asked(NamedTuple):
    """Answers in the order of the questions."""

    answers: tuple[Answer, ...]
    usage: Usage

    @property
    def refused(self) -> tuple[str, ...]:
        """Settings that the endpoint refused for any of the answers: they were asked without."""
        return tuple(sorted({name for answer in self.answers for name in answer.refused}))


def ask_all(
    endpoint: ChatEndpoint,
    questions: Sequence[Question],
    *,
    settings: AnswerSettings,
    cache: str | os.PathLike[str] | None,
    concurrency: int,
    on_progress: Callable[[int], None] | None = None,
) -> Asked:
    """Answer each question, from the cache where it is there.

    A question is sent only after the answer whose place it takes is on disk: a process that is
    killed at any instant loses `concurrency` answers at most. If a question fails, no further one
    is sent; answers that are on their way are waited for and kept, since they are paid for.

    Two kinds of answer are not kept, since they may come out otherwise another time: those that the
    content filter withholds, and empty ones for which the server counts no tokens.

    Args:
        endpoint: who is asked.
        questions: what is asked; those of the same words are asked once.
        settings: how answers are drawn.
        cache: the file that keeps them; None keeps them nowhere.
        concurrency: most requests at a time.
        on_progress: called with the number of questions that were answered since the last call.

    Raises:
        InputError: `concurrency` is less than 1, no key, or the cache cannot be used.
        DataError: the cache is damaged.
        ModelError: the endpoint fails; it names the question.
    """
    if concurrency < 1:
        raise InputError(f"concurrency must be at least 1, got {concurrency}.")
    places: dict[str, list[int]] = {}
    for i, question in enumerate(questions):
        key = answer_key(endpoint.address, endpoint.model, question.messages, settings.to_dict())
        places.setdefault(key, []).append(i)
    told = on_progress or (lambda n: None)
    with JudgeCache(cache) as store:
        known = {key: answer for key in places if (answer := store.get(key)) is not None}
        told(sum(len(places[key]) for key in known))
        missing = [key for key in places if key not in known]
        old = list(known.values())

        def keep(answers: Mapping[str, Answer]) -> None:
            lasting = {key: answer for key, answer in answers.items() if _lasts(answer)}
            if lasting:
                store.put_all(lasting, endpoint.model)
            known.update(answers)
            told(sum(len(places[key]) for key in answers))

        if missing:
            endpoint.check()
            first = {key: questions[places[key][0]] for key in missing}
            _ask(endpoint, first, settings, concurrency, keep)
    new = [known[key] for key in missing]
    usage = Usage(
        requests=len(missing),
        cached=len(questions) - len(missing),
        prompt_tokens=sum(one.prompt_tokens or 0 for one in new),
        completion_tokens=sum(one.completion_tokens or 0 for one in new),
        cached_prompt_tokens=sum(one.prompt_tokens or 0 for one in old),
        cached_completion_tokens=sum(one.completion_tokens or 0 for one in old),
        uncounted=sum(map(_is_uncounted, new)),
        cached_uncounted=sum(map(_is_uncounted, old)),
    )
    key_of = {i: key for key, indices in places.items() for i in indices}
    return Asked(tuple(known[key_of[i]] for i in range(len(questions))), usage)


def _lasts(answer: Answer) -> bool:
    """Whether an answer is worth keeping."""
    return not answer.withheld and bool(answer.text.strip() or answer.completion_tokens)


def _is_uncounted(answer: Answer) -> bool:
    return None in (answer.prompt_tokens, answer.completion_tokens)


def _ask(
    endpoint: ChatEndpoint,
    questions: Mapping[str, Question],
    settings: AnswerSettings,
    concurrency: int,
    keep: Callable[[Mapping[str, Answer]], None],
) -> None:
    def ask(question: Question) -> Answer:
        return endpoint.ask(
            question.messages,
            max_new_tokens=settings.max_tokens,
            temperature=settings.temperature,
            seed=settings.seed,
            top_logprobs=TOP_LOGPROBS if settings.logprobs else 0,
        )

    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="judge")
    left = iter(questions.items())
    waiting: dict[Future[Answer], str] = {}

    def send() -> None:
        for key, question in islice(left, concurrency - len(waiting)):
            waiting[pool.submit(ask, question)] = key

    def take(done: Collection[Future[Answer]]) -> list[tuple[str, BaseException]]:
        """Keep what was answered, in one go; what failed."""
        ended = {waiting[future]: future for future in done}
        failed = {key: error for key, one in ended.items() if (error := one.exception())}
        answered = {key: one.result() for key, one in ended.items() if key not in failed}
        if answered:
            keep(answered)
        for future in done:
            del waiting[future]
        return list(failed.items())

    try:
        send()
        while waiting:
            for key, error in take(wait(waiting, return_when=FIRST_COMPLETED).done):
                if not isinstance(error, ModelError):
                    raise error
                raise ModelError(
                    f"asked about {questions[key].about}, {error} Ask again with the same cache to "
                    "go on from there."
                ) from error
            send()
    finally:  # after an error or Ctrl-C there are others on their way
        pool.shutdown(wait=True, cancel_futures=True)
        take([future for future in waiting if not future.cancelled()])
