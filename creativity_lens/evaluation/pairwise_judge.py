"""The model's own blind choice between two texts, in both orders, from logits alone.

A small model chooses by position first and by content second: SmolLM2-135M takes the first label
nearly always. So each pair is asked in both orders. In log-odds a constant liking for the first
label adds the same amount to both answers with opposite signs, and their mean is free of it.

The judge sees the task (if it is given) and the two texts, never who wrote them or under which
instruction. The words are in `judge_prompts`, with what a text can and cannot do to them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.special import expit

from creativity_lens.errors import InputError, ModelError
from creativity_lens.evaluation.judge_prompts import (
    COMPARE_SYSTEM,
    beginning,
    check_max_tokens,
    check_quality,
    choice_question,
    inert_for,
)
from creativity_lens.models.batching import by_length, check_batch_size, left_pad
from creativity_lens.models.chat import check_fits, render_prompt, text_ids
from creativity_lens.models.protocol import LensModel, model_device, read
from creativity_lens.stats import Array, Interval, mean_interval, wins

LABELS = (("A", "B"), ("1", "2"))
"""What the two texts may be called; the first pair of which each is a single token is used."""


class JudgedPair(NamedTuple):
    """Two texts to choose between."""

    id: str
    prompt: str | None
    """What both texts answer, shown to the judge; None shows nothing. It must not tell the two
    apart, or the judge is not blind."""
    a: str
    b: str


class PairwiseJudgement(NamedTuple):
    """What the judge makes of one pair; probabilities are over the two labels alone."""

    id: str
    first_order: float
    """Probability that `a` is chosen when it stands first."""
    second_order: float
    """The same when it stands second."""
    preference: float
    """Mean of the two: above 0.5 if `a` is preferred, whatever the liking for a position."""
    consistent: bool
    """Whether the same text is chosen in both orders; a tie in one of them is not."""


@dataclass(frozen=True, eq=False)
class Judgements:
    """The judge's choices, in the order of the pairs.

    Attributes:
        ids: the pairs.
        log_odds: that `a` is chosen over `b`, in nats; in column 0 it stands first, in 1 second.
        mass: probability on the two labels together, in each order.
        labels: what the texts were called.
        quality: the adjective that was asked about.
    """

    ids: tuple[str, ...]
    log_odds: Float[Array, "pair 2"]
    mass: Float[Array, "pair 2"]
    labels: tuple[str, str]
    quality: str

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> PairwiseJudgement:
        first, second = expit(self.log_odds[index]).tolist()
        return PairwiseJudgement(
            self.ids[index], first, second, (first + second) / 2, bool(self.consistent[index])
        )

    @property
    def preference(self) -> Float[Array, " pair"]:
        """Mean over both orders of the probability that `a` is chosen."""
        return np.asarray(expit(self.log_odds).mean(axis=1))

    @property
    def consistent(self) -> Bool[Array, " pair"]:
        """Whether the same text is chosen in both orders."""
        return np.asarray(self.log_odds.prod(axis=1) > 0)

    @property
    def consistency(self) -> float:
        """Share of pairs in which the same text is chosen in both orders.

        0 for a judge that looks at the position alone, about 0.5 for one that tosses a coin.
        """
        return float(self.consistent.mean())

    @property
    def position_bias(self) -> float:
        """Mean probability of the label that comes first, less 0.5.

        0.5: always the first, -0.5: always the second, 0: no bias.
        """
        of_first = np.stack([self.log_odds[:, 0], -self.log_odds[:, 1]])
        return float(expit(of_first).mean() - 0.5)

    @property
    def labels_mass(self) -> float:
        """Mean probability that the answer begins with one of the labels.

        Near 1: the model follows the format. Far below: it would have said something else, and its
        choice between two labels is a weak sign of what it thinks.
        """
        return float(self.mass.mean())

    def accuracy(self, groups: Sequence[str], *, n_draws: int = 2000, seed: int = 0) -> Interval:
        """Share of pairs in which `a` is preferred over both orders, with its interval over groups.

        Ties count half; chance is 0.5. The sign of the mean log-odds decides, which is that of
        `preference` - 0.5 without its rounding.

        Args:
            groups: the premise of each pair, the unit of resampling. With one premise alone there
                is nothing to resample, and the interval has no width.
            n_draws: bootstrap draws.
            seed: of the draws.

        Raises:
            InputError: not one group for each pair.
        """
        if len(groups) != len(self):
            raise InputError(
                f"accuracy needs a group for each of {len(self)} pairs: {len(groups)}."
            )
        won = wins(self.log_odds[:, 0], -self.log_odds[:, 1])
        return mean_interval(won, groups, n_draws=n_draws, seed=seed)


def judge_pairs(
    model: LensModel,
    pairs: Sequence[JudgedPair],
    *,
    quality: str = "creative",
    max_tokens: int | None = None,
    batch_size: int = 16,
    max_batch_tokens: int = 4096,
    on_progress: Callable[[int], None] | None = None,
) -> Judgements:
    """Let the model choose the more `quality` text of each pair, in both orders.

    One forward pass for each order, no sampling. Identical prompts are read once, so two equal
    texts are an exact tie.

    Args:
        model: any `LensModel`; without a chat template it sees the same words as plain text.
        pairs: what to choose between; ids must be unique.
        quality: an adjective.
        max_tokens: show the judge the first so many tokens of each text, which also evens out
            their lengths; None shows all.
        batch_size: most prompts in a batch.
        max_batch_tokens: most tokens in a batch.
        on_progress: called with the number of prompts that each batch has answered; they add up to
            two for each pair.

    Raises:
        InputError: no pairs, an id used twice, an empty text, a blank `quality`, `max_tokens` less
            than 1, or a prompt longer than the model's context.
        ModelError: none of the label pairs in `LABELS` is two single tokens, or the logits are NaN.
    """
    check_pairs(pairs, quality)
    check_max_tokens(max_tokens)
    check_batch_size(batch_size)
    labels, label_ids = _labels(model)
    orders: dict[tuple[int, ...], list[tuple[int, int]]] = {}  # which answers a prompt gives
    for i, pair in enumerate(pairs):
        for order, asked in enumerate((pair, pair._replace(a=pair.b, b=pair.a))):
            ids = tuple(judge_prompt(model, asked, labels, quality=quality, max_tokens=max_tokens))
            check_fits(
                model,
                len(ids),
                f"judging the pair {pair.id!r}",
                remedy="shorten its texts or judge only their beginning (max_tokens)",
            )
            orders.setdefault(ids, []).append((i, order))

    log_odds, mass = np.zeros((len(pairs), 2)), np.zeros((len(pairs), 2))
    prompts = list(orders)
    batches = by_length(
        [len(ids) for ids in prompts], batch_size=batch_size, max_tokens=max_batch_tokens
    )
    for batch in batches:
        rows = [prompts[k] for k in batch]
        known = _label_log_probs(model, rows, label_ids)
        answers = 0
        for ids, (first, second) in zip(rows, known, strict=True):
            for i, order in orders[ids]:
                log_odds[i, order] = second - first if order else first - second
                mass[i, order] = np.exp(first) + np.exp(second)
                answers += 1
        if on_progress is not None:
            on_progress(answers)
    return Judgements(tuple(pair.id for pair in pairs), log_odds, mass, labels, quality)


def judge_prompt(
    model: LensModel,
    pair: JudgedPair,
    labels: tuple[str, str],
    *,
    quality: str = "creative",
    max_tokens: int | None = None,
) -> list[int]:
    """Token ids of the question, up to and with the assistant header; `a` stands first."""
    a, b = (beginning(model, text, max_tokens) for text in (pair.a, pair.b))
    question = choice_question(a, b, pair.prompt, labels, quality=quality, inert=inert_for(model))
    return render_prompt(model, question, system=COMPARE_SYSTEM)


def check_pairs(pairs: Sequence[JudgedPair], quality: str) -> None:
    """Raise InputError for no pairs, an id used twice, an empty text, or a blank `quality`."""
    if not pairs:
        raise InputError("there are no pairs to judge.")
    check_quality(quality)
    seen: set[str] = set()
    for pair in pairs:
        if pair.id in seen:
            raise InputError(f"two pairs have the id {pair.id!r}: ids must be unique.")
        seen.add(pair.id)
        if not (pair.a.strip() and pair.b.strip()):
            raise InputError(f"a text of the pair {pair.id!r} is empty: leave the pair out.")


def _labels(model: LensModel) -> tuple[tuple[str, str], tuple[int, int]]:
    """The first labels that the tokenizer knows as one token each, and their ids."""
    unknown = getattr(model.tokenizer, "unk_token_id", None)
    for first, second in LABELS:
        ids = [text_ids(model, label) for label in (first, second)]
        if all(len(found) == 1 and found[0] != unknown for found in ids) and ids[0] != ids[1]:
            return (first, second), (ids[0][0], ids[1][0])
    tried = ", ".join("/".join(labels) for labels in LABELS)
    raise ModelError(
        f"this model cannot judge from logits: its tokenizer has no single token for each label of "
        f"{tried}; judge with another model."
    )


@torch.inference_mode()
def _label_log_probs(
    model: LensModel, prompts: Sequence[tuple[int, ...]], labels: tuple[int, int]
) -> Float[Array, "prompt 2"]:
    """Log-probability of each label as the next token."""
    ids, mask = left_pad(prompts, device=model_device(model))
    logits = read(model, ids, mask, keep_logits=1)
    assert logits is not None
    known = logits[:, -1].double().log_softmax(dim=-1)[:, list(labels)].cpu().numpy()
    if np.isnan(known).any():
        raise ModelError("the model's logits are NaN: load it in float32.")
    return np.asarray(known)
