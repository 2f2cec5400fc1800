"""The model's own naive rating of a text on a scale: the rival that is cheapest to ask for.

arXiv 2412.06060 reports that Llama3-8B, asked so, gives nearly every text about 7 of 9; how it was
asked is not known. Two numbers are read from one answer: the expected value over the digits'
probabilities, which keeps what one drawn digit throws away, and one drawn rating, as published.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import softmax
from torch import Tensor

from creativity_lens.errors import InputError, ModelError
from creativity_lens.evaluation.judge_answers import rating_of
from creativity_lens.evaluation.judge_prompts import (
    RATE_SYSTEM,
    Scale,
    beginning,
    check_max_tokens,
    check_quality,
    check_scale,
    inert_for,
    rating_question,
)
from creativity_lens.generation.decode import Request, generate_batch
from creativity_lens.generation.sampling import Sampling
from creativity_lens.models.batching import by_length, check_batch_size
from creativity_lens.models.chat import check_fits, decode, render_prompt, text_ids
from creativity_lens.models.protocol import LensModel
from creativity_lens.scoring.score import Text
from creativity_lens.stats import Array

SAMPLING = Sampling(max_new_tokens=8, temperature=1.0, top_p=1.0, min_p=0.0)
"""How the sampled rating is drawn: from the model's own distribution. The paper's settings are not
known."""


@dataclass(frozen=True, eq=False)
class NaiveRatings:
    """The model's rating of each text, in the order of the texts.

    Attributes:
        ids: the texts.
        expected: mean of the ratings weighted by their probability as the answer's first token,
            renormalised; between the ends of the scale.
        mass: probability on all the ratings together. Far below 1 the model would have said
            something else, and `expected` is a weak sign of what it thinks.
        sampled: the rating in one drawn answer; NaN if it holds none, or if none was asked for.
        scale: lowest and highest rating.
        quality: the adjective that was asked about.
    """

    ids: tuple[str, ...]
    expected: Float[Array, " text"]
    mass: Float[Array, " text"]
    sampled: Float[Array, " text"]
    scale: Scale
    quality: str

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def n_unparsed(self) -> int:
        """Drawn answers that hold no rating."""
        return int(np.isnan(self.sampled).sum())


def rate_texts(
    model: LensModel,
    texts: Sequence[Text],
    *,
    quality: str = "creative",
    scale: Scale = (1, 9),
    sampled: bool = True,
    seed: int = 0,
    max_tokens: int | None = None,
    batch_size: int = 16,
    max_batch_tokens: int = 4096,
    on_progress: Callable[[int], None] | None = None,
) -> NaiveRatings:
    """Let the model rate each text.

    Texts of the same words get the same expected rating.

    Args:
        model: any `LensModel`; without a chat template it sees the same words as plain text.
        texts: what is rated; ids must be unique. A text's prompt is shown if it has one.
        quality: an adjective.
        scale: lowest and highest rating; each whole number of it must be a single token.
        sampled: also draw one answer of a few tokens for each text.
        seed: of the draws; each text's stream depends on it and the text's id alone.
        max_tokens: show the first so many tokens of each text; None shows all.
        batch_size: most texts in a batch.
        max_batch_tokens: most tokens in a batch.
        on_progress: called with the number of texts that each batch has rated.

    Raises:
        InputError: no texts, an id used twice, an empty text, a blank `quality`, no such scale,
            `max_tokens` less than 1, or a question longer than the model's context.
        ModelError: a rating is not a single token, or the logits are NaN.
    """
    check_texts(texts, quality, scale)
    check_max_tokens(max_tokens)
    check_batch_size(batch_size)
    tokens = _rating_tokens(model, scale)
    inert = inert_for(model)
    sampling = SAMPLING if sampled else Sampling(max_new_tokens=1, temperature=0.0)
    requests = []
    for text in texts:
        shown = beginning(model, text.text, max_tokens)
        question = rating_question(shown, text.prompt, quality=quality, scale=scale, inert=inert)
        asked = render_prompt(model, question, system=RATE_SYSTEM)
        check_fits(
            model,
            len(asked) + sampling.max_new_tokens,
            f"rating the text {text.id!r}",
            remedy="shorten it or rate only its beginning (max_tokens)",
        )
        requests.append(Request(text.id, tuple(asked)))
    batches = by_length(
        [len(request.prompt_ids) for request in requests],
        batch_size=batch_size,
        max_tokens=max_batch_tokens,
    )
    known: dict[tuple[int, ...], tuple[float, float]] = {}
    drawn = np.full(len(texts), np.nan)
    for batch in batches:
        rows = [requests[i] for i in batch]
        answers, log_probs = _answer(model, rows, tokens, sampling, seed)
        expected = softmax(log_probs, axis=1) @ np.arange(scale[0], scale[1] + 1)
        masses = np.exp(log_probs).sum(axis=1)
        for row, value, mass in zip(rows, expected.tolist(), masses.tolist(), strict=True):
            # Equal questions in two batches may differ in the last bits, and are no difference.
            known.setdefault(row.prompt_ids, (value, mass))
        if sampled:
            drawn[batch] = [rating_of(answer, scale) for answer in answers]
        if on_progress is not None:
            on_progress(len(batch))
    found = np.array([known[request.prompt_ids] for request in requests])
    ids = tuple(text.id for text in texts)
    return NaiveRatings(ids, found[:, 0], found[:, 1], drawn, scale, quality)


def check_texts(texts: Sequence[Text], quality: str, scale: Scale) -> None:
    """Raise InputError for texts that cannot be rated, a blank `quality` or no such scale."""
    if not texts:
        raise InputError("there are no texts to rate.")
    check_quality(quality)
    check_scale(scale)
    seen: set[str] = set()
    for text in texts:
        if text.id in seen:
            raise InputError(f"two texts have the id {text.id!r}: ids must be unique.")
        seen.add(text.id)
        if not text.text.strip():
            raise InputError(f"the text {text.id!r} is empty: leave it out.")


def _answer(
    model: LensModel,
    rows: Sequence[Request],
    tokens: Sequence[Sequence[int]],
    sampling: Sampling,
    seed: int,
) -> tuple[list[str], Float[Array, "row rating"]]:
    """Drawn answers, and the log-probability of each rating as their first token."""
    first: list[Float[Array, "row rating"]] = []

    def keep_first(numbers: Tensor, logits: Tensor) -> None:
        if not first:
            known = logits.double().log_softmax(dim=-1)
            summed = [known[:, list(ids)].logsumexp(dim=-1) for ids in tokens]
            first.append(torch.stack(summed, dim=1).cpu().numpy())

    done = generate_batch(model, rows, sampling=sampling, seed=seed, on_logits=keep_first)
    return [decode(model, one.response_ids) for one in done], first[0]


def _rating_tokens(model: LensModel, scale: Scale) -> list[tuple[int, ...]]:
    """Ids of the tokens that say each rating: as it is, and with a space in front if there is one.

    Some tokenizers put a space of their own before a word; that is not part of the rating.

    Raises:
        ModelError: a rating takes several tokens, or two share one.
    """
    unknown = getattr(model.tokenizer, "unk_token_id", None)
    found: list[tuple[int, ...]] = []
    for rating in range(scale[0], scale[1] + 1):
        ids = set()
        for written in (str(rating), f" {rating}"):
            spelled = text_ids(model, written)
            if len(spelled) == 2 and spelled[0] != unknown:
                spelled = spelled[not decode(model, spelled[:1]).strip() :]
            if len(spelled) == 1 and spelled[0] != unknown:
                ids.add(spelled[0])
        if not ids or ids & set().union(*found):
            raise ModelError(
                f"this model cannot rate from logits: its tokenizer has no single token for the "
                f"rating {rating}; choose a scale within 0 to 9, or rate with another model."
            )
        found.append(tuple(sorted(ids)))
    return found
