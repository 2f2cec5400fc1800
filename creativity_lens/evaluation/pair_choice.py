"""Which pairs of texts a judge is asked about: within prompts, spread evenly over them."""

from collections.abc import Sequence

import numpy as np

from creativity_lens.errors import InputError


def draw_pairs(
    prompt_ids: Sequence[str], texts: Sequence[str], n_pairs: int, *, seed: int = 0
) -> list[tuple[int, int]]:
    """Draw pairs of texts on the same prompt, no pair twice; no rating has a part in it.

    Every prompt gives as many pairs as any other, as far as it has them. Which text of a pair comes
    first is drawn too. Blank texts, and texts with the words of an earlier one on the same prompt,
    are in no pair.

    Args:
        prompt_ids: of each text; "" stands for no prompt, and such a text is in no pair.
        texts: their words.
        n_pairs: how many; fewer come back if there are no more.
        seed: of the draws.

    Returns:
        Places in `texts`, prompt by prompt in order of first appearance.

    Raises:
        InputError: `n_pairs` is less than 1, or no prompt holds two different texts.
    """
    if n_pairs < 1:
        raise InputError(f"n_pairs must be at least 1, got {n_pairs}.")
    members: dict[str, dict[str, int]] = {}
    for i, (prompt, text) in enumerate(zip(prompt_ids, texts, strict=True)):
        if prompt and text.strip():
            members.setdefault(prompt, {}).setdefault(text, i)
    groups = [list(group.values()) for group in members.values() if len(group) > 1]
    if not groups:
        raise InputError("no prompt holds two different texts: there is no pair to judge.")
    rng = np.random.default_rng(seed)
    found = []
    capacity = [len(group) * (len(group) - 1) // 2 for group in groups]
    shares = _shares(capacity, n_pairs, rng.permutation(len(groups)).tolist())
    for group, n_possible, share in zip(groups, capacity, shares, strict=True):
        for number in np.sort(rng.choice(n_possible, size=share, replace=False)).tolist():
            first, second = (group[i] for i in _pair(number))
            found.append((second, first) if rng.random() < 0.5 else (first, second))
    return found


def _shares(capacity: Sequence[int], total: int, order: Sequence[int]) -> list[int]:
    """Split `total` as evenly as the capacities allow; what is left over goes by `order`."""
    shares = [0] * len(capacity)
    left = min(total, sum(capacity))
    while left:
        open_ = [i for i in order if shares[i] < capacity[i]]
        each = max(1, left // len(open_))
        for i in open_:
            more = min(each, capacity[i] - shares[i], left)
            shares[i] += more
            left -= more
    return shares


def _pair(number: int) -> tuple[int, int]:
    """The pair of that number, counted (0, 1), (0, 2), (1, 2), (0, 3) and so on."""
    second = int((1 + np.sqrt(1 + 8 * number)) / 2)
    while second * (second - 1) // 2 > number:  # the root was rounded
        second -= 1
    return number - second * (second - 1) // 2, second
