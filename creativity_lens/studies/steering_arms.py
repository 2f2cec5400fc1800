"""Arms of a steering comparison: the same prompts and random streams, different interventions.

The ruler is not the lever: every text is scored and its likelihood computed by the unsteered
model, after the same neutral prompt, and the score is read at other layers than the steered one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from creativity_lens.directions.direction import DirectionSet
from creativity_lens.generation.decode import Request, generate_ids
from creativity_lens.generation.sampling import Sampling
from creativity_lens.hooks.intervene import Intervention
from creativity_lens.models.chat import decode, render_prompt
from creativity_lens.models.protocol import LensModel
from creativity_lens.scoring.score import Text, score_texts
from creativity_lens.stats import Interval, mean_interval


@dataclass(frozen=True)
class Arm:
    """One way of generating.

    Attributes:
        name: a short key, unique in a comparison.
        label: what a reader sees.
        interventions: what is done to the residual stream; empty for the unsteered arm.
    """

    name: str
    label: str
    interventions: tuple[Intervention, ...] = ()


class ArmTexts(NamedTuple):
    """What one arm generated, in the order of the prompts, as the unsteered model reads it."""

    arm: Arm
    texts: tuple[str, ...]
    scores: NDArray[np.float64]
    """`[prompt, layer]`; NaN for an empty response."""
    nll: NDArray[np.float64]
    """Nats a token under the unsteered model."""
    n_tokens: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Comparison:
    """All arms of a comparison; `arms[0]` is the unsteered one that the others are compared to."""

    prompt_ids: tuple[str, ...]
    prompts: tuple[str, ...]
    arms: tuple[ArmTexts, ...]

    def __getitem__(self, name: str) -> ArmTexts:
        return next(arm for arm in self.arms if arm.arm.name == name)

    def score_change(self, name: str, layer: int) -> Interval:
        """Mean change of the score read at `layer`, with its interval over prompts."""
        return self._change(self[name].scores[:, layer], self.arms[0].scores[:, layer])

    def nll_change(self, name: str) -> Interval:
        """Mean change of the negative log-likelihood, with its interval over prompts."""
        return self._change(self[name].nll, self.arms[0].nll)

    def _change(self, after: NDArray[np.float64], before: NDArray[np.float64]) -> Interval:
        difference = after - before
        known = np.isfinite(difference)
        if not known.any():
            return Interval(float("nan"), float("nan"), float("nan"))
        groups = [name for name, ok in zip(self.prompt_ids, known, strict=True) if ok]
        return mean_interval(difference[known], groups)


def compare_arms(
    model: LensModel,
    directions: DirectionSet,
    prompts: Mapping[str, str],
    arms: Sequence[Arm],
    *,
    sampling: Sampling,
    seed: int = 0,
    batch_size: int = 48,
    on_progress: Callable[[int], None] | None = None,
) -> Comparison:
    """Generate every prompt under every arm and read all of it with the unsteered model.

    A prompt has the same random stream in all arms, so that what differs is the intervention.

    Args:
        model: the model that `directions` were extracted from.
        directions: what the texts are scored with.
        prompts: user messages by id; the neutral system prompt of `directions` stands before them.
        arms: the unsteered arm first.
        sampling: how tokens are drawn.
        seed: seed of the random streams.
        batch_size: rows that decode together; rows of different arms share batches.
        on_progress: called with the number of rows each batch has finished.
    """
    system = directions.provenance["neutral_prompt"]["system"]
    rendered = {
        name: tuple(render_prompt(model, user, system=system)) for name, user in prompts.items()
    }
    requests = [
        Request(f"{arm.name}/{name}", ids, arm.interventions, stream=name)
        for arm in arms
        for name, ids in rendered.items()
    ]
    completions = list(
        generate_ids(
            model,
            requests,
            sampling=sampling,
            seed=seed,
            batch_size=batch_size,
            on_progress=on_progress,
        )
    )
    texts = [decode(model, completion.response_ids) for completion in completions]
    users = list(prompts.values()) * len(arms)
    n_layers = int(model.cfg.n_layers)
    scores = np.full((len(texts), n_layers), np.nan)
    nll = np.full(len(texts), np.nan)
    n_tokens = np.zeros(len(texts), dtype=np.int64)
    written = [i for i, text in enumerate(texts) if text.strip()]
    if written:
        read = score_texts(
            model,
            directions,
            [Text(str(i), texts[i], users[i]) for i in written],
            likelihood=True,
        )
        scores[written], nll[written], n_tokens[written] = read.values, read.nll, read.n_tokens
    size = len(prompts)
    return Comparison(
        tuple(prompts),
        tuple(prompts.values()),
        tuple(
            ArmTexts(
                arm,
                tuple(texts[k * size : (k + 1) * size]),
                scores[k * size : (k + 1) * size],
                nll[k * size : (k + 1) * size],
                n_tokens[k * size : (k + 1) * size],
            )
            for k, arm in enumerate(arms)
        ),
    )
