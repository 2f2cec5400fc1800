"""What a probe study does."""

from dataclasses import dataclass
from typing import get_args

from creativity_lens.directions.nuisance import NUISANCES
from creativity_lens.directions.rereading import CONTEXTS, ReadingContext
from creativity_lens.errors import InputError
from creativity_lens.probes.classifiers import Classifier
from creativity_lens.probes.coordinates import Method


@dataclass(frozen=True)
class ProbeConfig:
    """What a probe study does; the defaults are for some tens to hundreds of pairs.

    Attributes:
        contexts: where the texts are read.
        probes: classifiers that run beside the difference of means.
        n_folds: folds by premise.
        n_permutations: label swaps that refit the difference of means.
        n_logistic_permutations: label swaps that refit the logistic probe; slow, so none.
        n_random: random directions of each family.
        random_weights: also probe the same architecture with random weights.
        nuisances: concepts that the direction is compared with.
        nuisance_pairs: how many passage pairs of each; None takes all that there are.
        judge_pairs: how many pairs the model judges blindly; 0 for none, None for all.
        coordinates: methods for pictures: `pca`, `tsne`, `umap`.
        layer: the layer of pictures, texts and tokens; None takes the one that most folds chose.
        stability: the cosine between two directions that the number of premises is asked for.
        token_texts: how many texts are read token by token.
        n_draws: bootstrap draws.
        seed: of folds, swaps, draws and random weights.
    """

    contexts: tuple[ReadingContext, ...] = CONTEXTS
    probes: tuple[Classifier, ...] = ("logistic", "pca", "rbf")
    n_folds: int = 5
    n_permutations: int = 200
    n_logistic_permutations: int = 0
    n_random: int = 200
    random_weights: bool = True
    nuisances: tuple[str, ...] = NUISANCES
    nuisance_pairs: int | None = 24
    judge_pairs: int | None = 32
    coordinates: tuple[str, ...] = ("pca",)
    layer: int | None = None
    stability: float = 0.9
    token_texts: int = 128
    n_draws: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [c for c in self.contexts if c not in CONTEXTS]
        if unknown or "as-generated" not in self.contexts:
            raise InputError(
                f"contexts must be some of {', '.join(CONTEXTS)} and hold as-generated, got "
                f"{', '.join(self.contexts) or 'none'}."
            )
        for probe in self.probes:
            if probe not in get_args(Classifier):
                raise InputError(
                    f"unknown probe {probe!r}; choose from {', '.join(get_args(Classifier))}."
                )
        for known, given in ((NUISANCES, self.nuisances), (get_args(Method), self.coordinates)):
            for name in given:
                if name not in known:
                    raise InputError(f"unknown name {name!r}; choose from {', '.join(known)}.")
        if not 0 < self.stability < 1:
            raise InputError(
                f"stability is a cosine between 0 and 1, both excluded, got {self.stability}."
            )
        if self.judge_pairs is not None and (self.judge_pairs < 0 or self.judge_pairs == 1):
            raise InputError(
                f"judge_pairs must be 0, at least 2, or None for all, got {self.judge_pairs}."
            )
        for name in ("n_permutations", "n_random", "n_draws", "token_texts"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if self.nuisance_pairs is not None and self.nuisance_pairs < 4:
            raise InputError(
                f"nuisance_pairs must be at least 4, got {self.nuisance_pairs}: the direction of a "
                "nuisance has a reliability, which is measured between halves of its premises."
            )
        if self.n_folds < 2:
            raise InputError(f"n_folds must be at least 2, got {self.n_folds}.")
