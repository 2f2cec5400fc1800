"""A judge behind an OpenAI-compatible endpoint: the questions of the local judges, asked of others.

It rates single texts, and chooses between two in both orders. Where the server tells
log-probabilities they are used, as with a model in this process; else the answer itself is.
Answers are kept in a file, and a run that was cut short goes on from there.
"""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from creativity_lens.evaluation.both_orders import BothOrders
from creativity_lens.evaluation.judge_answers import Reading, read_choice, read_rating
from creativity_lens.evaluation.judge_asking import AnswerSettings, Question, Usage, ask_all
from creativity_lens.evaluation.judge_prompts import (
    COMPARE_SYSTEM,
    RATE_SYSTEM,
    Scale,
    choice_question,
    inert_for_chat,
    rating_question,
)
from creativity_lens.evaluation.naive_rating import check_texts
from creativity_lens.evaluation.pairwise_judge import LABELS, JudgedPair, check_pairs
from creativity_lens.generation.endpoint import ChatEndpoint
from creativity_lens.generation.endpoint_answer import Answer
from creativity_lens.scoring.score import Text
from creativity_lens.stats import Array


@dataclass(frozen=True, eq=False)
class EndpointRatings:
    """An endpoint's rating of each text, in the order of the texts.

    Attributes:
        ids: the texts.
        values: on the scale; NaN where the answer holds no rating. An expected value where the
            server told log-probabilities, else what was answered.
        mass: probability on the digits of the scale; NaN without log-probabilities.
        n_unparsed: answers without a rating.
        n_cut: how many of those ended at the limit of tokens: a larger one may help.
        scale: lowest and highest rating.
        quality: the adjective that was asked about.
        usage: what the answers took.
        refused: settings that the endpoint refused and was asked without.
    """

    ids: tuple[str, ...]
    values: Float[Array, " text"]
    mass: Float[Array, " text"]
    n_unparsed: int
    n_cut: int
    scale: Scale
    quality: str
    usage: Usage
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class EndpointChoices(BothOrders):
    """An endpoint's choices, in the order of the pairs.

    Attributes:
        ids: the pairs.
        first_order: probability that `a` is chosen when it stands first; without
            log-probabilities 1, 0, or 0.5 for a tie; NaN where the answer names no text.
        second_order: the same when it stands second.
        n_unparsed: answers that name no text, of two for each pair.
        n_cut: how many of those ended at the limit of tokens.
        quality: the adjective that was asked about.
        usage: what the answers took.
        refused: settings that the endpoint refused and was asked without.
    """

    ids: tuple[str, ...]
    n_unparsed: int
    n_cut: int
    quality: str
    usage: Usage
    refused: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)


def endpoint_ratings(
    endpoint: ChatEndpoint,
    texts: Sequence[Text],
    *,
    quality: str = "creative",
    scale: Scale = (1, 9),
    cache: str | os.PathLike[str] | None = None,
    concurrency: int = 4,
    settings: AnswerSettings | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> EndpointRatings:
    """Let a model behind an endpoint rate each text.

    Args:
        endpoint: who is asked.
        texts: what is rated; ids must be unique. A text's prompt is shown if it has one.
        quality: an adjective.
        scale: lowest and highest rating.
        cache: file of answers (see `judge_cache`); None keeps none.
        concurrency: most requests at a time.
        settings: how answers are drawn.
        on_progress: called with the number of texts that were rated since the last call.

    Raises:
        InputError: no texts, an id used twice, an empty text, a blank `quality`, no such scale, no
            key in the environment, or the cache cannot be used.
        DataError: the cache is damaged.
        ModelError: the endpoint fails. Answers so far are in the cache.
    """
    check_texts(texts, quality, scale)
    questions = [
        Question(
            f"the text {text.id!r}",
            RATE_SYSTEM,
            rating_question(
                text.text, text.prompt, quality=quality, scale=scale, inert=inert_for_chat
            ),
        )
        for text in texts
    ]
    asked = ask_all(
        endpoint,
        questions,
        settings=settings or AnswerSettings(),
        cache=cache,
        concurrency=concurrency,
        on_progress=on_progress,
    )
    found = [read_rating(answer, scale) for answer in asked.answers]
    return EndpointRatings(
        tuple(text.id for text in texts),
        np.array([one.value for one in found]),
        np.array([one.mass for one in found]),
        *_unparsed(asked.answers, found),
        scale,
        quality,
        asked.usage,
        asked.refused,
    )


def endpoint_choices(
    endpoint: ChatEndpoint,
    pairs: Sequence[JudgedPair],
    *,
    quality: str = "creative",
    cache: str | os.PathLike[str] | None = None,
    concurrency: int = 4,
    settings: AnswerSettings | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> EndpointChoices:
    """Let a model behind an endpoint choose the more `quality` text of each pair, in both orders.

    Args:
        endpoint: who is asked.
        pairs: what to choose between; ids must be unique.
        quality: an adjective.
        cache: file of answers (see `judge_cache`); None keeps none.
        concurrency: most requests at a time.
        settings: how answers are drawn.
        on_progress: called with the number of answers since the last call; they add up to two for
            each pair.

    Raises:
        InputError: as `judge_pairs`, no key in the environment, or the cache cannot be used.
        DataError: the cache is damaged.
        ModelError: the endpoint fails. Answers so far are in the cache.
    """
    check_pairs(pairs, quality)
    labels = LABELS[0]
    questions = [
        Question(
            f"the pair {pair.id!r}",
            COMPARE_SYSTEM,
            choice_question(a, b, pair.prompt, labels, quality=quality, inert=inert_for_chat),
        )
        for pair in pairs
        for a, b in ((pair.a, pair.b), (pair.b, pair.a))
    ]
    asked = ask_all(
        endpoint,
        questions,
        settings=settings or AnswerSettings(),
        cache=cache,
        concurrency=concurrency,
        on_progress=on_progress,
    )
    found = [read_choice(answer, labels, quality) for answer in asked.answers]
    of_first = np.array([one.value for one in found])
    n_unparsed, n_cut = _unparsed(asked.answers, found)
    return EndpointChoices(
        first_order=of_first[0::2],
        second_order=1 - of_first[1::2],
        ids=tuple(pair.id for pair in pairs),
        n_unparsed=n_unparsed,
        n_cut=n_cut,
        quality=quality,
        usage=asked.usage,
        refused=asked.refused,
    )


def _unparsed(answers: Sequence[Answer], found: Sequence[Reading]) -> tuple[int, int]:
    """How many answers say nothing, and how many of those were cut off."""
    empty = [answer for answer, one in zip(answers, found, strict=True) if math.isnan(one.value)]
    return len(empty), sum(answer.finish_reason == "length" for answer in empty)
