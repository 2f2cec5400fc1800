"""What an evaluation reads with the model; all of it is kept on disk, so it is read once.

The rated texts in one or two contexts, the contrast that the direction was made from (for the
primary layer, the within-class covariance and shuffled labels), and the nuisance passages.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from creativity_lens.activations.reading import Passage
from creativity_lens.activations.store import cached_store
from creativity_lens.directions.direction import DirectionSet
from creativity_lens.directions.extract import ContrastRow
from creativity_lens.directions.nuisance import NuisanceMeans, nuisance_passages
from creativity_lens.directions.rereading import (
    PairedMeans,
    check_rows,
    paired_means,
    passages_in,
)
from creativity_lens.errors import InputError
from creativity_lens.models.protocol import LensModel, check_layer
from creativity_lens.probes.separability import separability
from creativity_lens.scoring.score import Text
from creativity_lens.scoring.text_means import TextMeans, read_text_means
from creativity_lens.studies.evaluate_config import EvaluateConfig
from creativity_lens.studies.stages import Stages

NEUTRAL, PROMPTED = "neutral", "prompt"
FOLDS = 5


@dataclass(frozen=True, eq=False)
class PrimaryLayer:
    """The layer of the primary score, and why."""

    layer: int
    reason: str


@dataclass(frozen=True, eq=False)
class RatedReadings:
    """The model's readings of an evaluation.

    Attributes:
        primary: the primary layer.
        texts: the rated texts in each context; `neutral`, and `prompt` if it was asked for.
        contrast: the texts that the direction was made from, in neutral context; None if they are
            not at hand.
        nuisances: the nuisance passages.
        unit_tokens: whether the directions are of tokens divided by their norm.
    """

    primary: PrimaryLayer
    texts: dict[str, TextMeans]
    contrast: PairedMeans | None
    nuisances: tuple[NuisanceMeans, ...]
    unit_tokens: bool

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers at which the rated texts were read."""
        return self.texts[NEUTRAL].layers


def read_rated(
    model: LensModel,
    directions: DirectionSet,
    texts: Sequence[Text],
    rows: Sequence[ContrastRow],
    config: EvaluateConfig,
    *,
    store: Path,
    stages: Stages,
) -> RatedReadings:
    """Read everything, or find it on disk.

    Args:
        model: the model of the directions.
        directions: what texts are scored with.
        texts: the rated texts, with their prompts if they are known.
        rows: the texts of the directions' contrast; () if they are not at hand.
        config: what is asked.
        store: folder that keeps the activations.
        stages: told how far it is.

    Raises:
        InputError: a text too long for the model, or a layer that it does not have.
    """
    keep = _Keep(model, directions, store, stages)
    contrast = None
    if rows:
        check_rows(rows)
        contrast = paired_means(
            rows, keep(passages_in(rows, "neutral"), "the texts of the contrast")
        )
    primary = primary_layer(model, config.layer, contrast, seed=config.seed)
    layers = None if config.all_layers else primary.layer
    contexts = [NEUTRAL]
    if config.with_prompt and all(text.prompt for text in texts):
        contexts.append(PROMPTED)
    found = {}
    for context in contexts:
        with stages.stage(f"reading: rated texts, {context}", len(texts)) as advance:
            found[context] = read_text_means(
                model,
                directions,
                texts,
                store=store,
                layers=layers,
                with_prompt=context == PROMPTED,
                window=config.window,
                on_progress=advance,
            )
    nuisances = []
    for name in config.nuisances:
        passages, groups = nuisance_passages(
            model,
            name,
            neutral_prompt=directions.provenance["neutral_prompt"],
            limit=config.nuisance_pairs,
        )
        means = keep(passages, f"passages: {name}")
        n = len(groups)
        nuisances.append(NuisanceMeans(name, means[:n], means[n:], groups))
    unit_tokens = bool(directions.provenance["unit_tokens"])
    return RatedReadings(primary, found, contrast, tuple(nuisances), unit_tokens)


def primary_layer(
    model: LensModel, asked: int | None, contrast: PairedMeans | None, *, seed: int
) -> PrimaryLayer:
    """The layer of the primary score, chosen without any rating.

    The one asked for; else the one with the best held-out AUROC of the contrast in neutral
    context; else, without the contrast's texts, two thirds of the depth.
    """
    if asked is not None:
        return PrimaryLayer(check_layer(model, asked), "as asked")
    if contrast is None:
        return PrimaryLayer(
            int(model.cfg.n_layers) * 2 // 3,
            "two thirds of the depth: the texts of the contrast, by which a layer could be chosen, "
            "do not lie beside the directions",
        )
    n_premises = len(set(contrast.groups))
    if n_premises < FOLDS:
        return PrimaryLayer(
            int(model.cfg.n_layers) * 2 // 3,
            f"two thirds of the depth: {n_premises} premises of the contrast are too few to choose",
        )
    found = separability(
        contrast.creative,
        contrast.uncreative,
        contrast.groups,
        n_folds=FOLDS,
        n_permutations=0,
        seed=seed,
    )
    best = found.best_layer
    return PrimaryLayer(
        best,
        f"best held-out AUROC of the contrast in neutral context "
        f"({found.layers[best].estimate:.2f}), without any rating",
    )


class _Keep:
    """Means of passages at every layer, through the store."""

    def __init__(
        self, model: LensModel, directions: DirectionSet, store: Path, stages: Stages
    ) -> None:
        self._model, self._store, self._stages = model, store, stages
        provenance = directions.provenance
        if provenance["span"] == "prompt-last":
            raise InputError(
                "these directions were read at the last token of the prompt, where no text has "
                "been said yet: take directions of the span response or last."
            )
        self._reading: dict[str, Any] = {
            "span": provenance["span"],
            "unit_tokens": provenance["unit_tokens"],
        }

    def __call__(self, passages: list[Passage], label: str) -> Float[Tensor, "text layer d_model"]:
        with self._stages.stage(f"reading: {label}", len(passages)) as advance:
            means: Float[Tensor, "text layer d_model"] = cached_store(
                self._model,
                passages,
                self._store,
                notes={"label": label},
                on_progress=advance,
                **self._reading,
            ).means()
        return means
