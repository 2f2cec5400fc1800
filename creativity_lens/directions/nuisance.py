"""What a creativity direction should not answer to: directions of the shipped nuisance passages.

Each nuisance is 64 pairs of passages that tell one content in two ways. They are read after one
generic neutral prompt, the one that texts are scored after, so that nothing but the passage
differs.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from creativity_lens.activations.reading import Passage, Span, read_passages
from creativity_lens.directions.erasure import Erasure, Removal, check_removal
from creativity_lens.directions.fitting import ROUNDING, check_pairs, unit_rows
from creativity_lens.errors import InputError
from creativity_lens.models.chat import neutral_context, text_ids
from creativity_lens.models.protocol import LensModel
from creativity_lens.prompts.pairs import load_passages

Nuisance = Literal["formality", "sentiment", "verbosity", "genre", "concreteness", "vocabulary"]
NUISANCES: tuple[Nuisance, ...] = get_args(Nuisance)


class NuisanceMeans(NamedTuple):
    """The passages of one nuisance, read."""

    name: str
    high: Float[Tensor, "passage layer d_model"]
    """Mean residual stream of each formal, glad, wordy, fantastical, concrete or rare-worded
    passage, float64."""
    low: Float[Tensor, "passage layer d_model"]
    """The same of its counterpart, in the same order."""
    groups: tuple[str, ...]
    """The premise of each pair of passages."""

    @property
    def direction(self) -> Float[Tensor, "layer d_model"]:
        """The normalized difference of means, from low to high, float64.

        Raises:
            InputError: high and low passages have the same mean at some layer.
        """
        high, low = self.high.double().mean(dim=0), self.low.double().mean(dim=0)
        same = (high - low).norm(dim=-1) <= ROUNDING * high.norm(dim=-1)
        if bool(same.any()):
            raise InputError(
                f"the two sides of the nuisance {self.name} read the same at layer "
                f"{int(same.nonzero()[0])}: read the tokens of the passages (span response)."
            )
        return unit_rows(high - low)


class LengthContrast(NamedTuple):
    """Texts and their lengths, from which the direction of length is taken."""

    creative: Float[Tensor, "pair layer d_model"]
    uncreative: Float[Tensor, "pair layer d_model"]
    lengths: Float[Tensor, "pair 2"]
    """Tokens of the creative and of the uncreative text of each pair."""


def read_nuisances(
    model: LensModel,
    names: Sequence[str] = NUISANCES,
    *,
    neutral_prompt: Mapping[str, str],
    span: Span = "response",
    unit_tokens: bool = False,
    limit: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> tuple[NuisanceMeans, ...]:
    """Read the shipped passages of some nuisances, at every layer.

    Args:
        model: any `LensModel`.
        names: which nuisances.
        neutral_prompt: system and user message that stand before each passage: the directions'
            `provenance["neutral_prompt"]`. On a model without a chat template BOS alone does, as
            when texts are scored.
        span: which tokens count, as in the extraction.
        unit_tokens: divide each token by its norm before the mean, as in the extraction.
        limit: only the first so many pairs of each nuisance.
        on_progress: called with the number of passages each batch has finished.

    Raises:
        InputError: an unknown nuisance, or a limit below 1.
    """
    for name in names:
        _check_nuisance(name)  # before the first one is read
    found = []
    for name in names:
        passages, groups = nuisance_passages(
            model, name, neutral_prompt=neutral_prompt, limit=limit
        )
        means = read_passages(
            model,
            passages,
            layers=range(int(model.cfg.n_layers)),
            span=span,
            unit_tokens=unit_tokens,
            on_progress=on_progress,
        ).means
        n = len(groups)
        found.append(NuisanceMeans(name, means[:n], means[n:], groups))
    return tuple(found)


def nuisance_passages(
    model: LensModel,
    name: str,
    *,
    neutral_prompt: Mapping[str, str],
    limit: int | None = None,
) -> tuple[list[Passage], tuple[str, ...]]:
    """The passages of one nuisance in their context, for reading or for a store.

    Args:
        model: any `LensModel`.
        name: which nuisance.
        neutral_prompt: as for `read_nuisances`.
        limit: only the first so many pairs.

    Returns:
        The high passages of all pairs, then the low ones; and the premise of each pair.

    Raises:
        InputError: an unknown nuisance, or a limit below 1.
    """
    _check_nuisance(name)
    if limit is not None and limit < 1:
        raise InputError(f"limit must be at least 1 pair of passages, got {limit}.")
    context = tuple(neutral_context(model, neutral_prompt))
    pairs = load_passages(name)[:limit]
    texts = [(f"{pair.id}/high", pair.high) for pair in pairs]
    texts += [(f"{pair.id}/low", pair.low) for pair in pairs]
    passages = [Passage(id_, context, tuple(text_ids(model, text))) for id_, text in texts]
    return passages, tuple(pair.premise_id for pair in pairs)


def length_direction(
    creative: Float[Tensor, "pair layer d_model"],
    uncreative: Float[Tensor, "pair layer d_model"],
    lengths: Float[Tensor, "pair 2"],
) -> Float[Tensor, "layer d_model"]:
    """Where texts move as they get longer: unit rows, float64.

    The least-squares slope of the text means on log length within each class, so that a difference
    in length between the classes is not taken for it, nor the classes' difference for length.

    Args:
        creative: mean residual stream of each pair's creative text.
        uncreative: the same of its uncreative text.
        lengths: tokens (or words) of both, the creative text first.

    Raises:
        InputError: sides of different shape, a length below 1, lengths that are all equal within
            each class, or text means that do not depend on them at some layer.
    """
    texts, amounts = _within(LengthContrast(creative, uncreative, lengths))
    slopes = torch.einsum("n,nld->ld", amounts, texts)
    flat = slopes.norm(dim=-1) <= ROUNDING * texts.norm(dim=(0, 2)) * amounts.norm()
    if bool(flat.any()):
        raise InputError(
            f"the text means at layer {int(flat.nonzero()[0])} do not depend on length, so there "
            "is no direction of length: leave it out."
        )
    return unit_rows(slopes)


def nuisance_erasure(
    nuisances: Sequence[NuisanceMeans],
    *,
    length: LengthContrast | None = None,
    removal: Removal = "projection",
) -> Erasure:
    """The erasure of some nuisances together, and of length if its texts are given.

    By projection, their directions are projected out. By LEACE, no linear classifier tells high
    from low passages of any of them afterwards, nor does length correlate with anything within
    the classes of `length`.

    Raises:
        InputError: nothing to remove, or what `Erasure` and `length_direction` raise.
        MissingDependencyError: LEACE without `concept-erasure`.
    """
    check_removal(removal)
    if not nuisances and length is None:
        raise InputError(f"there is nothing to remove: name one of {', '.join(NUISANCES)}, length.")
    if removal == "projection":
        directions = [nuisance.direction for nuisance in nuisances]
        if length is not None:
            directions.append(length_direction(*length))
        return Erasure.projection(torch.stack(directions))
    parts, columns = [], []
    for nuisance in nuisances:
        # Centred, so that what one nuisance's passages are about is not what another's are not.
        passages = torch.cat([nuisance.high, nuisance.low]).double()
        parts.append(passages - passages.mean(dim=0))
        sides = torch.ones(len(passages), dtype=torch.float64)
        sides[len(nuisance.high) :] = -1
        columns.append(sides)
    if length is not None:
        texts, amounts = _within(length)
        parts.append(texts)
        columns.append(amounts / amounts.std())
    # A text has a label of its own nuisance and 0 for the rest, whose sides are balanced.
    labels = torch.zeros((sum(len(c) for c in columns), len(columns)), dtype=torch.float64)
    first = 0
    for concept, column in enumerate(columns):
        labels[first : first + len(column), concept] = column
        first += len(column)
    return Erasure.leace(torch.cat(parts), labels)


def _check_nuisance(name: str) -> None:
    if name not in NUISANCES:
        raise InputError(f"unknown nuisance {name!r}; choose from {', '.join(NUISANCES)}.")


def _within(
    length: LengthContrast,
) -> tuple[Float[Tensor, "text layer d_model"], Float[Tensor, " text"]]:
    """Texts and log lengths less the mean of their class."""
    creative, uncreative, lengths = length
    check_pairs(creative, uncreative)
    if lengths.shape != (len(creative), 2) or not bool((lengths >= 1).all()):
        raise InputError(
            f"{len(creative)} pairs need two lengths each, of at least 1 token, got "
            f"{tuple(lengths.shape)} of which the least is "
            f"{float(lengths.min()) if lengths.numel() else float('nan'):g}."
        )
    logs = lengths.double().cpu().log()
    logs = logs - logs.mean(dim=0)
    if not bool((logs.abs() > ROUNDING).any()):
        raise InputError(
            "all texts of a class have the same length, so there is no direction of length: raise "
            "max_new_tokens so that texts end by themselves, or do not remove length."
        )
    texts = torch.stack([creative.double().cpu(), uncreative.double().cpu()])
    texts = texts - texts.mean(dim=1, keepdim=True)
    return texts.flatten(0, 1), logs.mT.flatten()
