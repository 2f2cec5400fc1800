"""The paper's score: mean per-token cosine between the residual stream and a direction.

`score(x) = mean over the text's tokens t of cos(h_l(x_t), a_l)` (arXiv 2412.06060). It lies in
[-1, 1]; only comparisons between texts read in the same way mean anything, and neither 0 nor any
other value is a threshold: the residual stream has a large common mean, so the scores of all texts
at a layer share an offset. The `centred` variant subtracts the midpoint of the two class means from
each token first, which puts that offset near 0.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from creativity_lens.activations.reading import (
    BATCH_SIZE,
    MAX_BATCH_TOKENS,
    Passage,
    read_batches,
    text_nll,
)
from creativity_lens.directions.direction import DirectionSet
from creativity_lens.errors import DataError, InputError
from creativity_lens.models.chat import neutral_context, text_ids
from creativity_lens.models.protocol import (
    Hook,
    LensModel,
    check_layer,
    layer_tuple,
    read,
    resid_post,
)

Variant = Literal["cosine", "centred"]


@dataclass(frozen=True)
class Text:
    """A text to score.

    Attributes:
        id: names the text in results and errors.
        text: the text itself, read as the assistant's turn.
        prompt: what the user asked; None reads the text after the recorded neutral prompt.
    """

    id: str
    text: str
    prompt: str | None = None


class Parts(NamedTuple):
    """Texts in their contexts as they are read: each whole, or cut into windows."""

    passages: list[Passage]
    owners: list[int]
    """Which text each passage is of, by its place in the list."""
    starts: list[int]
    """Where in its text's token ids each passage begins."""
    n_tokens: NDArray[np.int64]
    """How many token ids each text has."""


class Scores(NamedTuple):
    """What `score_texts` returns, in the order of the texts."""

    ids: tuple[str, ...]
    n_tokens: NDArray[np.int64]
    """How many token ids each text has."""
    layers: tuple[int, ...]
    values: NDArray[np.float64]
    """`[text, layer]`, each in [-1, 1]."""
    nll: NDArray[np.float64]
    """Mean negative log-likelihood (nats a token) in the same context; NaN if not asked for."""


def score_texts(
    model: LensModel,
    directions: DirectionSet,
    texts: Iterable[Text | str],
    *,
    layers: int | Sequence[int] | None = None,
    variant: Variant = "cosine",
    window: int | None = None,
    likelihood: bool = False,
    batch_size: int = BATCH_SIZE,
    max_batch_tokens: int = MAX_BATCH_TOKENS,
    on_progress: Callable[[int], None] | None = None,
) -> Scores:
    """Score texts by their mean per-token cosine with the direction at each layer.

    The forward pass stops after the deepest layer asked for. A text scores the same (to 1e-4)
    alone and in any batch.

    Args:
        model: the model that the directions were extracted from.
        directions: one direction for each layer.
        texts: `Text`s, or plain strings, which are named by their number.
        layers: one layer, several, or None for all.
        variant: `cosine` (the paper's) or `centred`.
        window: read a long text in windows of this many tokens, each after the same prompt, and
            average them weighted by their tokens; None reads it whole.
        likelihood: also compute each text's mean NLL, which needs the pass to run all layers.
        batch_size: most texts in a batch.
        max_batch_tokens: most tokens in a batch.
        on_progress: called with the number of windows each batch has finished.

    Raises:
        DirectionMismatchError: the directions are another model's.
        InputError: no texts, an empty text, a text longer than the context (without `window`), a
            layer out of range.
    """
    if variant not in get_args(Variant):
        raise InputError(
            f"unknown variant {variant!r}; choose one of {', '.join(get_args(Variant))}."
        )
    directions.check_model(model)
    chosen = chosen_layers(model, layers)
    if isinstance(texts, str):
        raise InputError("texts must be a list of texts; put the one text in a list.")
    items = [t if isinstance(t, Text) else Text(str(i), t) for i, t in enumerate(texts)]
    passages, owner, _, n_tokens = text_parts(model, directions.provenance, items, window=window)

    values = np.zeros((len(items), len(chosen)))
    weights = np.zeros(len(items))
    nll = np.zeros(len(items)) if likelihood else np.full(len(items), np.nan)
    batches = read_batches(
        model, passages, batch_size=batch_size, max_batch_tokens=max_batch_tokens
    )
    for batch in batches:
        sums = CosineSums(directions, chosen, batch.chosen, variant)
        logits = read(
            model,
            batch.ids,
            batch.mask,
            hooks=sums.hooks(),
            last_layer=max(chosen),
            keep_logits=batch.logits_needed if likelihood else 0,
        )
        counts = batch.chosen.sum(dim=1).cpu().numpy()
        for row, index in enumerate(batch.indices):
            values[owner[index]] += sums.totals[row]
            weights[owner[index]] += counts[row]
            if logits is not None:
                part_nll = text_nll(logits[row], batch.ids[row], passages[index])
                nll[owner[index]] += counts[row] * part_nll
        if on_progress is not None:
            on_progress(len(batch.indices))
    names = tuple(item.id for item in items)
    return Scores(names, n_tokens, chosen, values / weights[:, None], nll / weights)


def text_parts(
    model: LensModel, provenance: Mapping[str, Any], texts: Sequence[Text], *, window: int | None
) -> Parts:
    """Texts in the contexts in which they are scored, cut into windows if they shall be.

    Args:
        model: any `LensModel` with a tokenizer.
        provenance: of the directions; it holds the neutral prompt.
        texts: what is to be read.
        window: most tokens of a part; None keeps texts whole.

    Raises:
        InputError: no texts, an empty text or a blank prompt, a text of which no token counts, or
            a window below 2 tokens.
    """
    if window is not None and window < 2:
        raise InputError(f"a window needs at least 2 tokens, got {window}.")
    if not texts:
        raise InputError("there are no texts to score.")
    passages: list[Passage] = []
    owners: list[int] = []
    starts: list[int] = []
    n_tokens = np.zeros(len(texts), dtype=np.int64)
    for i, item in enumerate(texts):
        context = tuple(scoring_context(model, provenance, prompt=item.prompt))
        ids = text_ids(model, item.text)
        if item.prompt is not None and not item.prompt.strip():
            raise DataError(f"the prompt of text {item.id!r} is blank; leave it out instead.")
        if not item.text.strip() or not ids:
            raise DataError(f"the text {item.id!r} is empty.")
        n_tokens[i] = len(ids)
        for start in range(0, len(ids), window or len(ids)):
            part = ids[start : start + (window or len(ids))]
            # Without a prompt or BOS a window of one token holds nothing but the attention sink.
            if len(part) + len(context) > 1:
                passages.append(Passage(item.id, context, tuple(part)))
                owners.append(i)
                starts.append(start)
        if owners[-1:] != [i]:
            raise InputError(
                f"the text {item.id!r} is a single token, and this model has no BOS to put before "
                "it: the first token that a model sees is an attention sink and does not count."
            )
    return Parts(passages, owners, starts, n_tokens)


def scoring_context(model: LensModel, provenance: Any, *, prompt: str | None = None) -> list[int]:
    """Token ids that stand before a text when it is scored.

    With a `prompt`: that, as the user's turn under the neutral system prompt recorded with the
    directions. Without: the recorded neutral prompt; on a model without a chat template, BOS alone.
    """
    return neutral_context(model, provenance["neutral_prompt"], prompt=prompt)


def chosen_layers(model: LensModel, layers: int | Sequence[int] | None) -> tuple[int, ...]:
    """The layers to read, in their order; None takes all.

    Raises:
        InputError: a layer out of range, or none.
    """
    if layers is None:
        return tuple(range(int(model.cfg.n_layers)))
    return tuple(check_layer(model, layer) for layer in layer_tuple(layers))


class CosineSums:
    """Hooks that sum each row's per-token cosines at each layer.

    Args:
        directions: one direction for each layer.
        layers: where to read; `totals` has their order.
        chosen: 1 for the tokens that count in the coming pass.
        variant: `cosine` or `centred`.

    Attributes:
        totals: the sums, `[row, layer]`; divide them by the rows' numbers of chosen tokens.
    """

    def __init__(
        self,
        directions: DirectionSet,
        layers: tuple[int, ...],
        chosen: Int[Tensor, "row pos"],
        variant: Variant = "cosine",
    ) -> None:
        self.totals = np.zeros((len(chosen), len(layers)))
        self._directions = directions
        self._layers = layers
        self._first = int(chosen.any(dim=0).nonzero()[0])
        self._chosen = chosen[:, self._first :]
        self._centred = variant == "centred"

    def hooks(self) -> list[Hook]:
        """One hook for each layer."""
        return [
            (resid_post(layer), self._hook([i for i, at in enumerate(self._layers) if at == layer]))
            for layer in dict.fromkeys(self._layers)
        ]

    def _hook(self, columns: list[int]) -> Callable[..., None]:
        direction = self._directions[self._layers[columns[0]]]

        def accumulate(activation: Tensor, hook: Any = None) -> None:
            tokens = activation[:, self._first :].float()
            if self._centred:
                tokens = tokens - direction.midpoint.to(tokens)
            cosines = token_cosines(tokens, direction.vector.to(tokens))
            sums = (cosines * self._chosen).cpu().double().sum(dim=1)
            self.totals[:, columns] = sums.numpy()[:, None]

        return accumulate


def token_cosines(
    tokens: Float[Tensor, "row pos d_model"], vector: Float[Tensor, " d_model"]
) -> Float[Tensor, "row pos"]:
    """Cosine of each token with a unit vector; 0 for a token of norm 0."""
    norms = torch.linalg.vector_norm(tokens, dim=-1)
    cosines: Tensor = (tokens @ vector) / norms.clamp_min(1e-12)
    return cosines
