"""The prompts of a sweep: the user's own, or premises of a shipped corpus.

Settings are chosen on the split `dev` and reported on `test`, so both are always there.
"""

import hashlib
import os
from collections.abc import Collection, Iterable, Sequence
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from creativity_lens.errors import DataError, InputError
from creativity_lens.io import read_jsonl
from creativity_lens.prompts.instructions import Instructions, load_instructions
from creativity_lens.prompts.pairs import load_contrast, premise_id
from creativity_lens.runs.sweep_config import CORPORA, SweepConfig

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["SweepPrompt", "SweepSplit", "prompt_table", "read_sweep_prompts", "sweep_prompts"]

SweepSplit = Literal["dev", "test"]


class SweepPrompt(NamedTuple):
    """What the model is asked in every cell."""

    id: str
    text: str
    """The user's message; the system prompt is the cell's."""
    split: SweepSplit
    premise_id: str
    """Digest of the premise, by which it is known whether the direction was made from it."""
    premise: str
    """What a text is to be about, without the words of the request; `text` itself if it is bare."""


def read_sweep_prompts(path: str | os.PathLike[str]) -> tuple[SweepPrompt, ...]:
    """Read a file of prompts: JSONL with `id` and `prompt`.

    Two fields may follow. `split` is `dev` or `test`, in every row or in none; without it, half of
    the prompts are dev and half test (one more if their number is odd), by the digest of their id.
    `premise` is the bare premise, if the prompt says more: relevance is measured against it. Other
    fields are ignored.

    Raises:
        DataError: missing or empty file, malformed JSON, a field that is missing or blank, an id
            used twice, another split, or no prompt for dev or for test; names the line.
    """
    rows = read_jsonl(path, required=("id", "prompt"))
    lines: dict[str, int] = {}
    premises: dict[str, str] = {}
    for number, row in rows:
        where = f"{path}, line {number}"
        if row["id"] in lines:
            raise DataError(f"{where}: the id {row['id']!r} was used in line {lines[row['id']]}.")
        lines[row["id"]] = number
        premise = row.get("premise", row["prompt"])
        if not isinstance(premise, str) or not premise.strip():
            raise DataError(
                f"{where}: the field 'premise' must be left out or a string that is not blank, "
                f"got {premise!r}."
            )
        premises[row["id"]] = premise
        if "split" in row and row["split"] not in get_args(SweepSplit):
            raise DataError(
                f"{where}: the field 'split' must be dev or test, or left out in all lines, got "
                f"{row['split']!r}."
            )
        if ("split" in row) != ("split" in rows[0][1]):
            raise DataError(
                f"{where}: {'a' if 'split' in row else 'no'} 'split', unlike line {rows[0][0]}: "
                "give it in all lines or in none."
            )
    if "split" in rows[0][1]:
        splits = {row["id"]: row["split"] for _, row in rows}
    else:
        splits = _halves(list(lines))
    _check_both(splits.values(), str(path))
    return tuple(
        SweepPrompt(
            row["id"],
            row["prompt"],
            splits[row["id"]],
            premise_id(premises[row["id"]]),
            premises[row["id"]],
        )
        for _, row in rows
    )


def sweep_prompts(
    config: SweepConfig,
    *,
    exclude: Collection[str] = (),
    instructions: Instructions | None = None,
) -> tuple[SweepPrompt, ...]:
    """The prompts of a sweep, dev and test by turns while both last.

    Of a shipped corpus: the premises of its splits dev and test, one of each group, as the neutral
    request puts them, in the order of the file. Of a file: all prompts in it, also those in
    `exclude`, since you chose them; `prompt_table` marks them.

    Args:
        config: `prompts` and `n_prompts` of it.
        exclude: premise ids that a shipped corpus does without: those that the run's direction
            was made from (`premise_id` in its `contrast.jsonl`).
        instructions: how a premise is put; None takes the shipped ones.

    Raises:
        InputError: there is no such file or corpus, or nothing is left for dev or for test.
        DataError: the file is not as `read_sweep_prompts` wants it.
    """
    path = config.prompts_path
    if path is None:
        found = _shipped(config.prompts, exclude, instructions or load_instructions())
        _check_both(
            [prompt.split for prompt in found],
            f"the corpus {config.prompts!r}, without the {len(exclude)} premises of the run,",
        )
    elif not path.is_file():
        raise InputError(
            f"{config.source}: prompts = {config.prompts!r} is neither a file ({path}) nor one of "
            f"{', '.join(CORPORA)}."
        )
    else:
        found = read_sweep_prompts(path)
    sides = [[p for p in found if p.split == split] for split in get_args(SweepSplit)]
    by_turns = [p for p in chain.from_iterable(zip_longest(*sides)) if p is not None]
    return tuple(by_turns[: config.n_prompts])


def prompt_table(prompts: Iterable[SweepPrompt], in_contrast: Collection[str]) -> "DataFrame":
    """`prompts.parquet`: `prompt_id`, `prompt`, `split`, `in_contrast`.

    Args:
        prompts: of the sweep.
        in_contrast: premise ids that the run's direction was made from.
    """
    import pandas as pd

    rows = [(p.id, p.text, p.split, p.premise_id in in_contrast) for p in prompts]
    table = pd.DataFrame(rows, columns=["prompt_id", "prompt", "split", "in_contrast"])
    return table.astype({"in_contrast": bool})


def _shipped(
    name: str, exclude: Collection[str], instructions: Instructions
) -> tuple[SweepPrompt, ...]:
    found: dict[str, SweepPrompt] = {}
    for pair in load_contrast(name):
        split = pair.split
        if split == "train" or pair.premise_id in exclude or pair.premise_id in found:
            continue
        text = instructions.neutral_prompt(pair).user
        found[pair.premise_id] = SweepPrompt(pair.id, text, split, pair.premise_id, pair.premise)
    return tuple(found.values())


def _halves(ids: Sequence[str]) -> dict[str, SweepSplit]:
    ranked = sorted(ids, key=lambda one: hashlib.sha256(one.encode()).digest())
    return {one: "dev" if k < len(ids) // 2 else "test" for k, one in enumerate(ranked)}


def _check_both(splits: Collection[str], where: str) -> None:
    counts = {split: list(splits).count(split) for split in get_args(SweepSplit)}
    if not all(counts.values()):
        raise DataError(
            f"{where} holds {counts['dev']} prompts for dev and {counts['test']} for test: both "
            "are needed, since settings are chosen on dev and reported on test."
        )
