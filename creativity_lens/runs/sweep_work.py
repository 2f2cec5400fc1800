"""Making and measuring the texts of some items of a sweep.

The ruler is not the lever: all texts are read after the neutral prompt by the unsteered model,
which gives the score at each layer and the negative log-likelihood. The divergence compares its
predictions with those that the steered model drew from.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from creativity_lens.activations.continuing import Continuation, read_continuations
from creativity_lens.activations.reading import Passage
from creativity_lens.directions.direction import DirectionSet
from creativity_lens.generation.decode import Completion, Request, check_requests, generate_batch
from creativity_lens.hooks.intervene import Intervention
from creativity_lens.measures.divergence import token_kl
from creativity_lens.measures.text import text_measures
from creativity_lens.models.chat import decode, neutral_context, render_prompt
from creativity_lens.models.protocol import Hook, LensModel
from creativity_lens.runs.cells import Cell
from creativity_lens.runs.execute import BatchResult
from creativity_lens.runs.plan import Item
from creativity_lens.runs.rows import MetricRow, Seconds, TextRow
from creativity_lens.runs.sweep_config import CREATIVITY, SweepConfig
from creativity_lens.runs.sweep_prompts import SweepPrompt
from creativity_lens.scoring.score import CosineSums
from creativity_lens.steering.steer import intervention

__all__ = ["SweepWork"]

READ_ROWS = 16
"""Texts that are read together: more would not be faster, and their logits are large."""


class _Trace:
    """The logits that tokens were drawn from, on the CPU, of one batch.

    They take rows · tokens · vocabulary · 4 bytes, which is why batches have a token budget.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[dict[int, int], Float[Tensor, "row d_vocab"]]] = []

    def __call__(self, rows: Int[Tensor, " row"], logits: Float[Tensor, "row d_vocab"]) -> None:
        places = {row: place for place, row in enumerate(rows.tolist())}
        self._steps.append((places, logits.to("cpu", copy=True)))

    def of(self, row: int, n_tokens: int) -> Float[Tensor, "token d_vocab"]:
        """What predicted each of the first tokens of a row's response."""
        return torch.stack([logits[places[row]] for places, logits in self._steps[:n_tokens]])


class _Read(NamedTuple):
    """What the unsteered model makes of one text."""

    scores: Float[np.ndarray, " layer"]
    nll: float
    kl: float


class SweepWork:
    """Generates and measures items; call it with a batch's items.

    Args:
        model: any `LensModel`.
        config: of the sweep.
        cells: all of its cells.
        prompts: all of its prompts.
        directions: by name; `creativity` is also what texts are scored with.
        instruction: the system prompt of the cells that ask for creativity.

    Raises:
        DirectionMismatchError: directions of another model.
        InputError: a prompt too long for the model, or a layer that it does not have.
    """

    def __init__(
        self,
        model: LensModel,
        config: SweepConfig,
        cells: Sequence[Cell],
        prompts: Sequence[SweepPrompt],
        directions: Mapping[str, DirectionSet],
        *,
        instruction: str,
    ) -> None:
        for found in directions.values():
            found.check_model(model)
        self.config = config
        self._model = model
        self._ruler = directions[CREATIVITY]
        self._cells = {cell.cell_id: cell for cell in cells}
        self._prompts = {prompt.id: prompt for prompt in prompts}
        self._layers = config.reading_layers(int(model.cfg.n_layers))
        neutral = self._ruler.provenance["neutral_prompt"]
        self._neutral = {
            p.id: tuple(neutral_context(model, neutral, prompt=p.text)) for p in prompts
        }
        self._instructed = {
            p.id: tuple(render_prompt(model, p.text, system=instruction)) for p in prompts
        }
        # Made once for each cell: rows that share them share the reading of their prompt.
        self._interventions = {
            cell.cell_id: _interventions(cell, directions, int(model.cfg.n_layers))
            for cell in cells
        }

    def prompt_ids(self, prompt: str, *, instruction: bool = False) -> tuple[int, ...]:
        """A prompt as the model reads it, neutral or with the instruction."""
        return (self._instructed if instruction else self._neutral)[prompt]

    def items(self) -> list[Item]:
        """All items of the sweep, each checked against the model's context.

        Raises:
            InputError: a prompt that leaves no room for its response.
        """
        new = self.config.sampling.max_new_tokens
        found = []
        for cell in self._cells.values():
            for prompt in (p for p in self._prompts.values() if cell.runs_on(p)):
                request = self._request(cell, prompt.id, 0)
                check_requests(self._model, [request], self.config.sampling)
                found += [
                    Item(
                        key=(cell.cell_id, prompt.id, seed),
                        n_tokens=len(request.prompt_ids) + new,
                        prompt_key=f"{prompt.id}/{cell.instruction}",
                    )
                    for seed in self.config.seeds
                ]
        return found

    def __call__(self, items: Sequence[Item]) -> BatchResult:
        """Generate the items' texts and measure them."""
        started = time.perf_counter()
        trace = _Trace()
        completions = self.generate(items, on_logits=trace)
        generated = time.perf_counter()
        texts = [
            TextRow(
                *item.key,
                decode(self._model, one.response_ids),
                one.finish_reason,
                one.response_ids,
            )
            for item, one in zip(items, completions, strict=True)
        ]
        metrics = self._measure(texts, trace)
        seconds = Seconds(generated - started, time.perf_counter() - generated)
        return BatchResult(texts, metrics, seconds)

    def generate(
        self, items: Sequence[Item], *, on_logits: Callable[..., None] | None = None
    ) -> list[Completion]:
        """Generate the items' texts, without measuring them."""
        return generate_batch(
            self._model,
            [self._request(self._cells[item.key[0]], *item.key[1:]) for item in items],
            sampling=self.config.sampling,
            seed=0,
            on_logits=on_logits,
        )

    def _request(self, cell: Cell, prompt: str, seed: int) -> Request:
        return Request(
            id=f"{cell.cell_id}/{prompt}/{seed}",
            prompt_ids=self.prompt_ids(prompt, instruction=cell.instruction),
            interventions=self._interventions[cell.cell_id],
            # As `creativity-lens generate --seed` draws for this prompt, in every cell.
            stream=prompt,
            seed=seed,
            sampling=cell.sampling(self.config.sampling.max_new_tokens),
        )

    def _measure(self, texts: Sequence[TextRow], trace: _Trace) -> list[MetricRow]:
        read = self._read(texts, trace)
        unread = _Read(np.full(len(self._layers), np.nan), np.nan, np.nan)
        found = []
        for row, text in enumerate(texts):
            one = read.get(row, unread)
            key = text.cell_id, text.prompt_id, text.seed
            scores = zip(self._layers, one.scores.tolist(), strict=True)
            found += [MetricRow(*key, "score", layer, value) for layer, value in scores]
            plain = text_measures(text.text, len(text.response_ids), text.finish_reason)
            found += [
                MetricRow(*key, name, None, value)
                for name, value in {"nll": one.nll, "kl": one.kl, **plain}.items()
            ]
        return found

    def _read(self, texts: Sequence[TextRow], trace: _Trace) -> dict[int, _Read]:
        """Read all texts that have a token with the unsteered model."""
        rows = [row for row, text in enumerate(texts) if text.response_ids]
        passages = [
            Passage(
                f"{texts[row].cell_id}/{texts[row].prompt_id}/{texts[row].seed}",
                self._neutral[texts[row].prompt_id],
                tuple(texts[row].response_ids),
            )
            for row in rows
        ]
        scores: dict[int, Float[np.ndarray, " layer"]] = {}
        costs: dict[int, tuple[float, float]] = {}
        sums: list[tuple[Continuation, CosineSums]] = []

        def hooks(batch: Continuation) -> list[Hook]:
            sums.append((batch, CosineSums(self._ruler, self._layers, batch.chosen)))
            return sums[-1][1].hooks()

        def compare(index: int, predicted: Float[Tensor, "token d_vocab"]) -> None:
            ids = torch.tensor(passages[index].text_ids)
            predicted = predicted.cpu()
            nll = torch.nn.functional.cross_entropy(predicted, ids)
            kl = token_kl(trace.of(rows[index], len(ids)), predicted).double().mean()
            costs[index] = float(nll), float(kl)

        read_continuations(
            self._model, passages, hooks=hooks, on_logits=compare, batch_size=READ_ROWS
        )
        for batch, found in sums:
            counts = batch.chosen.sum(dim=1).cpu().numpy()
            scores |= dict(zip(batch.indices, found.totals / counts[:, None], strict=True))
        return {row: _Read(scores[index], *costs[index]) for index, row in enumerate(rows)}


def _interventions(
    cell: Cell, directions: Mapping[str, DirectionSet], n_layers: int
) -> tuple[Intervention, ...]:
    if cell.direction == "none":
        return ()
    layers = cell.layers or (tuple(range(n_layers)) if cell.layer is None else (cell.layer,))
    return tuple(
        intervention(
            directions[cell.direction][layer],
            strength=cell.strength,
            unit="absolute" if cell.unit == "share" else cell.unit,  # type: ignore[arg-type]
            mode=cell.mode,  # type: ignore[arg-type]
            scope=cell.scope,
            schedule=cell.schedule,
            around=cell.around,  # type: ignore[arg-type]
        )
        for layer in layers
    )
