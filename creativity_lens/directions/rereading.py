"""The texts of a run, read again in other contexts.

`as-generated`: after the prompt that each text was written under. `neutral`: after a prompt that
asks for neither. `opposite`: after the prompt of the other side of its pair, so that text and
instruction disagree. What a probe loses from one to the next is the instruction, not the text.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

from jaxtyping import Float
from torch import Tensor

from creativity_lens.activations.reading import Passage
from creativity_lens.directions.extract import ContrastRow
from creativity_lens.errors import InputError

ReadingContext = Literal["as-generated", "neutral", "opposite"]
CONTEXTS: tuple[ReadingContext, ...] = get_args(ReadingContext)


class PairedMeans(NamedTuple):
    """Mean residual stream of the texts of a contrast; row i of both sides is one pair."""

    creative: Float[Tensor, "pair layer d_model"]
    uncreative: Float[Tensor, "pair layer d_model"]
    groups: tuple[str, ...]
    """The premise of each pair."""

    @property
    def sides(
        self,
    ) -> tuple[Float[Tensor, "pair layer d_model"], Float[Tensor, "pair layer d_model"]]:
        """Creative, uncreative."""
        return self.creative, self.uncreative


def row_id(row: ContrastRow) -> str:
    """Names a text in a run: `pair/condition/sample`."""
    return f"{row.pair_id}/{row.condition}/{row.sample}"


def check_rows(rows: Sequence[ContrastRow]) -> None:
    """Raise InputError unless rows alternate: the creative and the uncreative text of one pair.

    Raises:
        InputError: no rows, one condition only, or a text whose partner is not beside it.
    """
    conditions = {row.condition for row in rows}
    if conditions != {"creative", "uncreative"}:
        raise InputError(
            f"the run holds texts of {' and '.join(sorted(conditions)) or 'no condition'} alone: "
            "a probe needs both classes. Extract again from pairs with both sides."
        )
    for first, second in zip(rows[::2], rows[1::2], strict=False):
        owners = {(row.pair_id, row.sample, row.premise_id) for row in (first, second)}
        if len(owners) > 1 or (first.condition, second.condition) != ("creative", "uncreative"):
            raise InputError(
                f"the texts {row_id(first)!r} and {row_id(second)!r} stand beside each other but "
                "are not the creative and the uncreative side of one pair: keep the order of "
                "contrast.jsonl."
            )
    if len(rows) % 2:
        raise InputError(f"the text {row_id(rows[-1])!r} has no partner: a pair has two sides.")


def passages_in(rows: Sequence[ContrastRow], context: ReadingContext) -> list[Passage]:
    """The texts of a run in a context, in the order of the rows.

    Raises:
        InputError: an unknown context, rows out of order, or a run of an older version that does
            not hold its neutral prompts.
    """
    if context not in CONTEXTS:
        raise InputError(f"unknown context {context!r}; choose one of {', '.join(CONTEXTS)}.")
    check_rows(rows)
    found = []
    for i, row in enumerate(rows):
        ids = {
            "as-generated": row.prompt_ids,
            "neutral": row.neutral_prompt_ids,
            "opposite": rows[i ^ 1].prompt_ids,
        }[context]
        if not ids:
            raise InputError(
                f"the text {row_id(row)!r} has no neutral prompt on record: its contrast.jsonl "
                "was written by an older version. Run `creativity-lens extract` again."
            )
        found.append(Passage(row_id(row), ids, row.response_ids))
    return found


def paired_means(
    rows: Sequence[ContrastRow], means: Float[Tensor, "row layer d_model"]
) -> PairedMeans:
    """Sort the means of a run's texts into sides.

    Raises:
        InputError: rows out of order, or not one mean for each.
    """
    check_rows(rows)
    if len(means) != len(rows):
        raise InputError(f"each text needs its mean, got {len(means)} for {len(rows)} texts.")
    return PairedMeans(means[::2], means[1::2], tuple(row.premise_id for row in rows[::2]))
