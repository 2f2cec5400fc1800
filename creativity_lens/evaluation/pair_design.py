"""Which pairs of rated texts are compared: those on one prompt, and of one author type if asked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from creativity_lens.errors import InputError

Array = np.ndarray
Scope = Literal["prompt", "prompt+author"]

CLOSE = 1e-9
"""Ratings nearer than this are equal: means of thirds are not exact."""
FEW_PROMPTS = 10
"""With fewer prompts that hold a decided pair, what is found holds for these prompts only."""


@dataclass(frozen=True, eq=False)
class PairDesign:
    """All pairs of rated texts within a block: a prompt, or a prompt and author type.

    Blocks are numbered so that those of one prompt follow each other, and pairs stand in the order
    of their blocks. A pair is decided if the ratings of its texts differ by at least `min_gap`;
    only decided pairs count for accuracy.
    """

    rating: Float[Array, " text"]
    """Of the texts in the design: those that are rated (and whose author type is known)."""
    rows: Int[Array, " text"]
    """Their places in the caller's list of texts."""
    prompt: Int[Array, " text"]
    """The number of each text's prompt, from 0, in order of first appearance."""
    block: Int[Array, " text"]
    first: Int[Array, " pair"]
    """Places in `rows` (not in the caller's list)."""
    second: Int[Array, " pair"]
    min_gap: float
    scope: Scope
    prompt_names: tuple[str, ...]
    block_prompts: Int[Array, " block"]
    """The number of each block's prompt."""
    block_authors: tuple[str, ...]
    """The author type of each block; "" where pairs do not stay within it."""
    n_listed: int
    """Texts in the caller's list."""
    n_unrated: int
    """Texts left out because they have no rating."""
    n_unknown_author: int
    """Rated texts left out because pairs stay within author types and theirs is blank."""

    @cached_property
    def sign(self) -> Float32[Array, " pair"]:
        """1 where the first text is rated higher, -1 where the second is, 0 if undecided."""
        return signs(self.rating[self.first] - self.rating[self.second], self.min_gap)

    @property
    def decided(self) -> Bool[Array, " pair"]:
        """Whether the ratings differ, and by at least `min_gap`."""
        return np.asarray(self.sign != 0)

    @property
    def n_prompts(self) -> int:
        """Prompts with a text in the design."""
        return len(self.prompt_names)

    @property
    def n_blocks(self) -> int:
        """Blocks with a text in the design."""
        return len(self.block_authors)

    @property
    def these_prompts_only(self) -> bool:
        """Whether too few prompts hold a decided pair to speak of other prompts."""
        return len(np.unique(self.prompt[self.first[self.decided]])) < FEW_PROMPTS

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out or cannot be said, as sentences."""
        pairless = self.n_blocks - len(np.unique(self.block[self.first]))
        of = "Prompts" if self.scope == "prompt" else "Author types of a prompt"
        undecided = 0 if self.decided.any() else len(self.first)
        said = {
            "Texts without a rating": self.n_unrated,
            "Rated texts without an author type, left out": self.n_unknown_author,
            f"{of} with one text, which makes no pair": pairless,
            f"Pairs, of which none is decided at a gap of {self.min_gap:g}": undecided,
        }
        return tuple(f"{what}: {n}." for what, n in said.items() if n)

    def keep(self, pairs: Bool[Array, " pair"]) -> "PairDesign":
        """The design with some of its pairs only; its texts, and so its draws, stay."""
        return replace(self, first=self.first[pairs], second=self.second[pairs])

    def placed(self, scores: Float[Array, "score listed"]) -> Float[Array, "score text"]:
        """The scores of the design's texts, from those of all listed texts.

        Raises:
            InputError: another number of texts, or an infinite score. NaN means no score.
        """
        if scores.shape[1] != self.n_listed:
            raise InputError(
                f"the scores are of {scores.shape[1]} texts, the ratings of {self.n_listed}: "
                "give one score for each listed text, NaN where there is none."
            )
        if np.isinf(scores).any():
            raise InputError("a score is infinite: give NaN where a text has no score.")
        return scores[:, self.rows]

    def texts_of_prompt(self, prompt: int) -> Int[Array, " member"]:
        """Places of a prompt's texts, ascending."""
        return self._prompt_texts[prompt]

    def texts_of_block(self, block: int) -> Int[Array, " member"]:
        """Places of a block's texts, ascending."""
        return self._block_texts[block]

    def prompt_pairs(self) -> Iterator[tuple[int, slice]]:
        """Each prompt that has pairs, and where they stand."""
        return _runs(self.prompt[self.first])

    def block_pairs(self) -> Iterator[tuple[int, slice]]:
        """Each block that has pairs, and where they stand."""
        return _runs(self.block[self.first])

    @cached_property
    def _prompt_texts(self) -> list[Array]:
        return _members(self.prompt, self.n_prompts)

    @cached_property
    def _block_texts(self) -> list[Array]:
        return _members(self.block, self.n_blocks)


def pair_design(
    rating: Float[Array, " listed"],
    prompts: Sequence[str],
    *,
    authors: Sequence[str] | None = None,
    min_gap: float = 1.0,
) -> PairDesign:
    """All pairs of rated texts on one prompt.

    Args:
        rating: a text's mean rating, of one dimension and rater group; NaN where it is not rated.
        prompts: the prompt of each text.
        authors: the author type of each text. If given, pairs stay within it, and texts whose type
            is blank are left out.
        min_gap: how far ratings must lie apart for a pair to count, in the scale's unit. With 0
            all pairs count that are no tie.

    Raises:
        InputError: lists of different lengths, an infinite rating or a negative gap.
    """
    lengths = {"ratings": len(rating), "prompts": len(prompts)}
    if authors is not None:
        lengths["author types"] = len(authors)
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{n} {what}" for what, n in lengths.items())
        raise InputError(f"pairs need one entry for each text; got {listed}.")
    if np.isinf(rating).any():
        raise InputError("a rating is infinite: give a number, or NaN where a text is not rated.")
    if not (np.isfinite(min_gap) and min_gap >= 0):
        raise InputError(f"the gap between ratings is {min_gap}: give 0 or more.")
    rated = ~np.isnan(rating)
    known = np.array([bool(a) for a in authors], dtype=bool) if authors is not None else rated
    rows = np.flatnonzero(rated & known)
    in_prompt = [prompts[i] for i in rows.tolist()]
    names = tuple(dict.fromkeys(in_prompt))
    number = {name: n for n, name in enumerate(names)}
    # In the order of prompts, then of author types: pairs of a prompt then stand together.
    keys = [
        (number[p], "" if authors is None else authors[i])
        for p, i in zip(in_prompt, rows.tolist(), strict=True)
    ]
    blocks = sorted(set(keys))
    block_number = {key: n for n, key in enumerate(blocks)}
    block = np.array([block_number[key] for key in keys], dtype=int)
    first, second = _all_pairs(_members(block, len(blocks)))
    return PairDesign(
        rating=rating[rows].astype(float),
        rows=rows,
        prompt=np.array([p for p, _ in keys], dtype=int),
        block=block,
        first=first,
        second=second,
        min_gap=float(min_gap),
        scope="prompt" if authors is None else "prompt+author",
        prompt_names=names,
        block_prompts=np.array([p for p, _ in blocks], dtype=int),
        block_authors=tuple(a for _, a in blocks),
        n_listed=len(rating),
        n_unrated=int((~rated).sum()),
        n_unknown_author=int((rated & ~known).sum()),
    )


def signs(difference: Float[Array, "*shape"], min_gap: float = 0.0) -> Float32[Array, "*shape"]:
    """Sign of a difference of ratings, 0 where it is below the gap, (almost) zero or unknown."""
    limit = max(min_gap - CLOSE, CLOSE)
    return np.subtract(difference >= limit, difference <= -limit, dtype=np.float32)


def ratio(
    top: Float[Array, "*shape"], bottom: Float[Array, "*#shape"] | Int[Array, "*#shape"]
) -> Float[Array, "*shape"]:
    """The quotient; NaN where the divisor is not above 0."""
    empty = np.full(top.shape, np.nan)
    return np.asarray(np.divide(top, bottom, out=empty, where=bottom > 0))


def _all_pairs(members: list[Array]) -> tuple[Int[Array, " pair"], Int[Array, " pair"]]:
    sides: tuple[list[Array], list[Array]] = ([], [])
    for texts in members:
        for side, index in zip(sides, np.triu_indices(len(texts), 1), strict=True):
            side.append(texts[index])
    none = np.zeros(0, dtype=int)
    return np.concatenate([none, *sides[0]]), np.concatenate([none, *sides[1]])


def _members(labels: Int[Array, " text"], n_labels: int) -> list[Array]:
    """Places of each label, ascending."""
    order = np.argsort(labels, kind="stable")
    ends = np.searchsorted(labels[order], np.arange(1, n_labels))
    return np.split(order, ends)[:n_labels]


def _runs(labels: Int[Array, " pair"]) -> Iterator[tuple[int, slice]]:
    """Each label of a sorted list and where it stands."""
    starts = np.flatnonzero(np.diff(labels, prepend=-1)).tolist()
    for start, stop in zip(starts, [*starts[1:], len(labels)], strict=False):
        yield int(labels[start]), slice(start, stop)
