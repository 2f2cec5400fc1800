"""Drawing a study: pairs by prompt, sides in balance, attention checks, repeated pairs.

All that is random comes from a secret seed and from the texts. Whoever has a page knows how many
pairs it holds; if sides followed from that and from a seed that can be guessed, he could draw the
study again with texts of his own and read off which side is which.
"""

import secrets
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from creativity_lens.errors import InputError
from creativity_lens.evaluation.annotation import (
    SETS,
    Set,
    Side,
    Study,
    StudyItem,
    StudyPair,
    mirrored,
)
from creativity_lens.evaluation.study_texts import GeneratedText
from creativity_lens.io import sha256_json

# Not more, so that whatever reads the key as JSON keeps every digit of the seed.
_SEED_BITS = 53
_SIDES: tuple[Side, Side] = ("left", "right")


def make_study(
    a: Sequence[GeneratedText],
    b: Sequence[GeneratedText],
    *,
    names: tuple[str, str] = ("a", "b"),
    n_pairs: int | None = None,
    forms: int = 1,
    pairs_per_form: int | None = None,
    checks: int = 3,
    repeats: int = 0,
    ties: bool = True,
    quality: str = "creative",
    question: str | None = None,
    dimension: str = "creativity",
    groups: Sequence[str] = (),
    seed: int | None = None,
) -> Study:
    """Pair two sets of texts by prompt and lay them out on blind forms.

    Texts on the same prompt are paired at random, each used once; further pairs of the same texts
    are made only if `n_pairs` asks for more, and the study's notes say so. If fewer are wanted,
    they are spread evenly over the prompts. Blank texts, and pairs of equal texts, are left out
    with a note.

    Each set stands left in half of the pairs of a form (one more if their number is odd). Forms 2,
    4, … hold the pairs of the form before them with the sides swapped. Each form has an order of
    its own.

    Args:
        a: texts of the first set.
        b: texts of the second.
        names: of the sets; what ratings call their system. Raters never see them.
        n_pairs: pairs in the study; None makes as many as there are without using a text twice.
        forms: how many forms. Any number of raters may answer the same form.
        pairs_per_form: deal the pairs over the forms, so many on each; None puts all on each.
        checks: attention checks on each form (what they are: the head of `annotation`). Someone who
            clicks at random passes three with a chance of 1/27, without ties of 1/8. Half of them
            ask for each side; of an odd number chance says which side is asked for once more. 0
            makes none.
        repeats: pairs of a form that come again in its last third with the sides swapped, to see
            how far a rater agrees with himself. They do not enter ratings.
        ties: whether a tie may be chosen.
        quality: an adjective; the question is which text is more so.
        question: other words for the question.
        dimension: what the ratings are called.
        groups: if given, each rater says which of these he belongs to, such as expert and lay.
        seed: the same inputs and seed make the same study; other texts another one. None draws a
            secret one, which the key holds as `Study.seed`. Keep a seed of your own as you keep the
            key: with it and the files of texts the sides can be worked out.

    Raises:
        InputError: no prompt in common, prompts that differ under one id, more pairs wanted than
            there are, forms that cannot hold all pairs, names that are equal or blank, half of a
            surrogate pair in a text, or a number out of range.
    """
    asked = question if question is not None else f"Which text is more {quality}?"
    _check_words(names, asked, quality, dimension, groups)
    numbers = {"n_pairs": n_pairs, "forms": forms, "pairs_per_form": pairs_per_form}
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise InputError(f"make_study: {name} must be at least 1, got {number}.")
    _check_texts(a, b, names)
    seed = secrets.randbits(_SEED_BITS) if seed is None else int(seed)
    if seed < 0:
        raise InputError(f"make_study: seed must be at least 0, got {seed}.")
    digest = sha256_json([[list(text) for text in texts] for texts in (a, b)])
    generator = np.random.default_rng([seed, int(digest, 16)])
    pairs, notes = _pairs(a, b, names, n_pairs, generator)
    size = len(pairs) if pairs_per_form is None else pairs_per_form
    _check_sizes(len(pairs), forms, size, checks, repeats)
    laid: list[tuple[StudyItem, ...]] = []
    for number in range(forms):
        if number % 2 == 0:
            start = number // 2 * size
            own = [pairs[(start + i) % len(pairs)] for i in range(size)]
            placed = _sides(own, generator)
        else:
            placed = [mirrored(item) for item in placed]
        laid.append(_lay_out(placed, pairs, checks, repeats, generator))
    return Study(
        names=names,
        pairs=tuple(pairs),
        forms=tuple(laid),
        question=asked,
        dimension=dimension,
        ties=ties,
        groups=tuple(groups),
        seed=seed,
        notes=tuple(notes),
    )


def _check_words(
    names: tuple[str, str], question: str, quality: str, dimension: str, groups: Sequence[str]
) -> None:
    if not all(name.strip() for name in names) or names[0] == names[1]:
        raise InputError(
            f"make_study: the two sets need two different names, got {names!r}: give `names` "
            "(--name-a and --name-b on the command line)."
        )
    if not (question.strip() and quality.strip() and dimension.strip()):
        raise InputError("make_study: question, quality and dimension must not be blank.")
    if len(set(groups)) != len(groups) or not all(g.strip() and g.isprintable() for g in groups):
        raise InputError(
            f"make_study: groups must be different printable names, got {list(groups)!r}."
        )


def _check_texts(
    a: Sequence[GeneratedText], b: Sequence[GeneratedText], names: tuple[str, str]
) -> None:
    for texts, name in zip((a, b), names, strict=True):
        for text in texts:
            if any("\ud800" <= letter <= "\udfff" for part in text for letter in part):
                raise InputError(
                    f"make_study: the text {text.text_id!r} of {name!r} holds half of a surrogate "
                    "pair, which no file can: remove it."
                )


def _check_sizes(n_pairs: int, forms: int, size: int, checks: int, repeats: int) -> None:
    if size > n_pairs:
        raise InputError(
            f"make_study: {size} pairs on each form were asked for, but the study has {n_pairs}."
        )
    if -(-forms // 2) * size < n_pairs:
        raise InputError(
            f"make_study: {forms} forms of {size} pairs, of which every second mirrors the one "
            f"before, do not hold {n_pairs} pairs: make {-(-n_pairs // size) * 2} forms, or put "
            "more pairs on each."
        )
    if not 0 <= checks <= size:
        raise InputError(
            f"make_study: checks must be from 0 to the {size} pairs of a form, got {checks}."
        )
    if not 0 <= repeats <= size // 3:
        raise InputError(
            f"make_study: repeats must be from 0 to a third of the {size} pairs of a form, got "
            f"{repeats}."
        )


def _pairs(
    a: Sequence[GeneratedText],
    b: Sequence[GeneratedText],
    names: tuple[str, str],
    n_pairs: int | None,
    generator: np.random.Generator,
) -> tuple[list[StudyPair], list[str]]:
    notes: list[str] = []
    sides = [_by_prompt(texts, name, notes) for texts, name in zip((a, b), names, strict=True)]
    shared = [name for name in sides[0] if name in sides[1]]
    if not shared:
        given = [next(iter(side), None) for side in sides]
        raise InputError(
            f"make_study: the two sets have no prompt in common (prompts such as {given[0]!r} in "
            f"{names[0]!r} and {given[1]!r} in {names[1]!r}); texts are paired by prompt_id."
        )
    for side, name in zip(sides, names, strict=True):
        if alone := len(side) - len(shared):
            notes.append(f"{_n(alone, 'prompt')} of {name!r} alone left out.")
    candidates, once, equal = _candidates(sides, shared, generator)
    if equal:
        notes.append(
            f"{_n(equal, 'possible pair')} of two equal texts left out: preferences are about "
            "texts that differ."
        )
    wanted = once if n_pairs is None else n_pairs
    if not 0 < wanted <= len(candidates):
        raise InputError(
            f"make_study: {n_pairs or 'some'} pairs were asked for, but the two sets allow only "
            f"{len(candidates)} on {len(shared)} shared prompts."
        )
    if wanted > once:
        notes.append(
            f"{wanted} pairs of texts that allow {once} without a text used twice: some texts "
            "stand in several pairs, which then are not independent."
        )
    width = len(str(wanted))
    pairs = [
        StudyPair(f"pair-{i:0{width}}", first.prompt_id, first.prompt, first, second)
        for i, (first, second) in enumerate(candidates[:wanted], start=1)
    ]
    return pairs, notes


def _by_prompt(
    texts: Sequence[GeneratedText], name: str, notes: list[str]
) -> dict[str, list[GeneratedText]]:
    ids = [text.text_id for text in texts]
    if len(set(ids)) < len(ids):
        twice = next(i for i in ids if ids.count(i) > 1)
        raise InputError(f"make_study: two texts of {name!r} have the id {twice!r}.")
    found: dict[str, list[GeneratedText]] = defaultdict(list)
    for text in texts:
        if text.text.strip():
            found[text.prompt_id].append(text)
    if blank := sum(not text.text.strip() for text in texts):
        notes.append(f"{_n(blank, 'blank text')} of {name!r} left out.")
    return dict(found)


class _Candidates(NamedTuple):
    pairs: list[tuple[GeneratedText, GeneratedText]]
    """Those that are drawn first come first."""
    once: int
    """So many of them use no text twice."""
    equal: int


def _candidates(
    sides: Sequence[dict[str, list[GeneratedText]]],
    shared: Sequence[str],
    generator: np.random.Generator,
) -> _Candidates:
    """All pairs there can be, those that use each text once first, spread over the prompts."""
    ranked: list[tuple[int, int, int, tuple[GeneratedText, GeneratedText]]] = []
    equal = 0
    for place, prompt_id in enumerate(np.asarray(shared)[generator.permutation(len(shared))]):
        first, second = (_shuffled(side[str(prompt_id)], generator) for side in sides)
        if first[0].prompt != second[0].prompt:
            raise InputError(
                f"make_study: the prompt {str(prompt_id)!r} has other words in the second set than "
                "in the first: raters would see which is which."
            )
        for turn, step, i, j in _rounds(len(first), len(second)):
            if first[i].text.strip() == second[j].text.strip():
                equal += turn == 0
            else:
                ranked.append((turn, step, place, (first[i], second[j])))
    ranked.sort(key=lambda entry: entry[:3])
    return _Candidates([entry[3] for entry in ranked], sum(e[0] == 0 for e in ranked), equal)


def _rounds(n_first: int, n_second: int) -> Iterator[tuple[int, int, int, int]]:
    """All (round, step, i, j); within a round neither i nor j comes twice."""
    few, many = min(n_first, n_second), max(n_first, n_second)
    for turn in range(many):
        for step in range(few):
            i, j = step, (step + turn) % many
            yield (turn, step, i, j) if n_first <= n_second else (turn, step, j, i)


def _shuffled(
    texts: Sequence[GeneratedText], generator: np.random.Generator
) -> list[GeneratedText]:
    return [texts[i] for i in generator.permutation(len(texts))]


def _sides(pairs: Sequence[StudyPair], generator: np.random.Generator) -> list[StudyItem]:
    """The pairs with sides that alternate prompt by prompt, so that half stand each way."""
    start = int(generator.integers(2))
    by_prompt = sorted(pairs, key=lambda pair: (pair.prompt_id, pair.pair_id))
    by_prompt = [by_prompt[i] for i in _group_order([p.prompt_id for p in by_prompt], generator)]
    return [
        StudyItem("", "pair", pair.pair_id, SETS[(start + i) % 2])
        for i, pair in enumerate(by_prompt)
    ]


def _group_order(groups: Sequence[str], generator: np.random.Generator) -> list[int]:
    """Row numbers with whole groups in random order, and random order within each."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row in generator.permutation(len(groups)):
        rows[groups[row]].append(int(row))
    return [row for members in rows.values() for row in members]


def _lay_out(
    placed: Sequence[StudyItem],
    pairs: Sequence[StudyPair],
    checks: int,
    repeats: int,
    generator: np.random.Generator,
) -> tuple[StudyItem, ...]:
    order = [placed[i] for i in generator.permutation(len(placed))]
    third = len(order) // 3
    again = [order[i] for i in generator.permutation(third)[:repeats]]
    for item in again:
        at = int(generator.integers(len(order) - third + 1, len(order) + 1))
        order.insert(at, StudyItem("", "repeat", item.pair_id, mirrored(item).left))
    order = _with_checks(order, pairs, checks, generator)
    # Drawn afresh for each form: equal ids on two forms would show which texts swapped sides.
    return tuple(
        StudyItem(
            generator.bytes(6).hex(), item.kind, item.pair_id, item.left, item.told, item.told_in
        )
        for item in order
    )


def _with_checks(
    order: list[StudyItem],
    pairs: Sequence[StudyPair],
    checks: int,
    generator: np.random.Generator,
) -> list[StudyItem]:
    """The items with checks spread among them.

    A check shows a pair that the form does not hold, if there is one; otherwise one that was judged
    before, so that no pair is seen before its turn.
    """
    shown = {item.pair_id for item in order}
    unused = [pair.pair_id for pair in pairs if pair.pair_id not in shown]
    spare = [unused[i] for i in generator.permutation(len(unused))]
    start = int(generator.integers(2))
    told = [_SIDES[(start + i) % 2] for i in generator.permutation(checks)]
    found = list(order)
    for number in reversed(range(checks)):  # from the end, so that places before it stay
        step = len(order) / (checks + 1)
        drift = generator.uniform(-step / 4, step / 4)
        at = min(max(round((number + 1) * step + drift), 1), len(order))
        source = spare.pop() if spare else order[int(generator.integers((at + 1) // 2))].pair_id
        left: Set = "a" if generator.integers(2) else "b"
        told_in = _SIDES[int(generator.integers(2))]
        found.insert(at, StudyItem("", "check", source, left, told[number], told_in))
    return found


def _n(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
