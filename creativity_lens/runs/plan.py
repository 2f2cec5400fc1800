"""The plan of a run: which texts are generated together.

It follows from the items alone, so a run that is resumed, or run elsewhere, has the same batches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from creativity_lens.errors import InputError
from creativity_lens.io import sha256_json

__all__ = ["Batch", "Item", "Key", "plan_batches"]

Key = tuple[str, str, int]


@dataclass(frozen=True)
class Item:
    """One text to be made.

    Attributes:
        key: (cell_id, prompt_id, seed); unique in a plan.
        n_tokens: the most tokens its row may come to hold, prompt and response; at least 1.
        prompt_key: equal for items with the same prompt ids, whose prefill is then shared.
    """

    key: Key
    n_tokens: int
    prompt_key: str


@dataclass(frozen=True)
class Batch:
    """Items that are run together, and whose results are stored together.

    Attributes:
        id: digest of the items' keys, in order.
        items: at least one.
    """

    id: str
    items: tuple[Item, ...]

    @cached_property
    def n_tokens(self) -> int:
        """Tokens of its rows without padding, as planned; a measure of the work."""
        return sum(item.n_tokens for item in self.items)


def plan_batches(items: Sequence[Item], *, token_budget: int) -> tuple[Batch, ...]:
    """Pack items into as few batches as the budget allows, as equal in rows as it allows.

    Items are sorted by n_tokens, then prompt_key, then as given, so that rows of a batch share
    prompts and little is padded. A batch satisfies rows · longest row ≤ token_budget; an item
    longer than the budget stands alone. 129 equal items of which 64 fit make three batches of 43:
    few rows decode slowly, and 64 + 64 + 1 would pay for a whole batch to make one text.

    Args:
        items: in any order; the order breaks ties.
        token_budget: most tokens in a batch, padding included.

    Raises:
        InputError: a budget below 1, no items, an item of no tokens, or two items of one key.
    """
    if token_budget < 1:
        raise InputError(f"token_budget must be at least 1, got {token_budget}.")
    if not items:
        raise InputError("there is nothing to plan: no items were given.")
    _check_items(items)
    ordered = sorted(items, key=lambda item: (item.n_tokens, item.prompt_key))
    return tuple(Batch(_batch_id(rows), tuple(rows)) for rows in _pack(ordered, token_budget))


def _check_items(items: Sequence[Item]) -> None:
    seen: set[Key] = set()
    for item in items:
        if item.n_tokens < 1:
            raise InputError(f"item {item.key} has n_tokens {item.n_tokens}; at least 1 is needed.")
        if item.key in seen:
            raise InputError(f"two items have the key {item.key}: each text is planned once.")
        seen.add(item.key)


def _pack(items: Sequence[Item], budget: int) -> list[Sequence[Item]]:
    """Cut sorted items into the fewest runs that fit, of sizes as equal as the budget allows."""
    needed = _fewest(items, budget)
    # The first item from which on so many batches are enough.
    first = [0] * (needed[0] + 1)
    for start in reversed(range(len(items) + 1)):
        first[needed[start]] = start
    batches: list[Sequence[Item]] = []
    start = 0
    for left in range(needed[0], 0, -1):
        # The next n batches must reach first[left - n]: take the largest share that any n asks
        # for. It fits, because rows only grow and no later batch could hold more than this one.
        rows = max(-(-(first[left - n] - start) // n) for n in range(1, left + 1))
        batches.append(items[start : start + rows])
        start += rows
    return batches


def _fewest(items: Sequence[Item], budget: int) -> list[int]:
    """For each start, the fewest batches that hold the items from there on; 0 at the end.

    To take as many rows as fit is best, because fewer rows never leave less to the others.
    """
    needed = [0] * (len(items) + 1)
    end = len(items)
    for start in reversed(range(len(items))):
        while end - start > 1 and (end - start) * items[end - 1].n_tokens > budget:
            end -= 1
        needed[start] = 1 + needed[end]
    return needed


def _batch_id(items: Sequence[Item]) -> str:
    return sha256_json([list(item.key) for item in items])[:16]
