"""The best cell so far, for people who watch a sweep."""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from creativity_lens.runs.cells import Cell
from creativity_lens.runs.rows import MetricRow
from creativity_lens.runs.sweep_prompts import SweepPrompt

__all__ = ["Standing"]


class Standing:
    """The best cell of a sweep while it runs: of the steered ones, by their dev prompts.

    Args:
        cells: of the sweep.
        prompts: of the sweep; those of the test split are not looked at.
        read_layer: where the score is read.
        allow: whether the rise of NLL (nats a token) and that of the share of degenerate texts are
            within budget; given NaN for one that is not known.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        prompts: Sequence[SweepPrompt],
        *,
        read_layer: int,
        allow: Callable[[float, float], bool],
    ) -> None:
        self._steered = [cell.cell_id for cell in cells if cell.kind == "steered"]
        self._plain = next(cell.cell_id for cell in cells if cell.kind == "unsteered")
        self._dev = {prompt.id for prompt in prompts if prompt.split == "dev"}
        self._layer = read_layer
        self._allow = allow
        self._found: dict[str, dict[str, dict[tuple[str, int], float]]] = {
            name: defaultdict(dict) for name in ("score", "nll", "degenerate")
        }

    def add(self, metrics: Sequence[MetricRow]) -> None:
        """Count what was measured on a batch."""
        for row in metrics:
            wanted = row.metric in self._found and (
                row.metric != "score" or row.read_layer == self._layer
            )
            if wanted and row.prompt_id in self._dev:
                self._found[row.metric][row.cell_id][row.prompt_id, row.seed] = row.value

    def best(self) -> str:
        """The best cell with its change of the score and of NLL, or nothing yet."""
        affordable = {}
        for cell in self._steered:
            score, cost = self._change("score", cell), self._change("nll", cell)
            # A cell of loops reads well and costs little: NLL alone would let it pass.
            if score > 0 and self._allow(cost, self._change("degenerate", cell)):
                affordable[cell] = score, cost
        if not affordable:
            return ""
        cell = max(affordable, key=lambda cell: affordable[cell][0])
        score, cost = affordable[cell]
        return f"{cell} ({score:+.3f} for {cost:+.2f} nats)"

    def _change(self, metric: str, cell: str) -> float:
        after, before = self._found[metric][cell], self._found[metric][self._plain]
        both = [after[key] - before[key] for key in after.keys() & before.keys()]
        return float(np.nanmean(both)) if np.isfinite(both).any() else float("nan")
