"""What a study of agreement with people is asked to do."""

import math
from dataclasses import dataclass

from creativity_lens.directions.nuisance import NUISANCES
from creativity_lens.errors import InputError

SCALE = (1, 9)
"""The naive rating's scale."""


@dataclass(frozen=True)
class EvaluateConfig:
    """Settings of `evaluate`.

    Attributes:
        layer: the primary layer; None takes the one that separates the contrast best in neutral
            context, which no rating has a part in.
        all_layers: read and report every layer; False keeps to the primary one.
        dimensions: which rated dimensions; () takes all.
        min_gap: two texts make a pair if their mean ratings differ by at least this.
        with_prompt: also read each text after its own prompt.
        window: read long texts in windows of this many tokens.
        nuisances: nuisance sets whose directions are rivals and are removed; () leaves them out.
        nuisance_pairs: passage pairs of each; None takes all.
        n_random: random directions of each kind.
        rate: let the model rate each text itself, naively.
        judge_pairs: most pairs that the model chooses between, in both orders; 0 for none.
        n_draws: bootstrap draws.
        n_permutations: permutations of the ratings within prompts.
        n_folds: folds by prompt for what is fitted to ratings.
        quality: the adjective that judges are asked about.
        seed: of all draws.

    Raises:
        InputError: a setting out of range.
    """

    layer: int | None = None
    all_layers: bool = True
    dimensions: tuple[str, ...] = ()
    min_gap: float = 1.0
    with_prompt: bool = True
    window: int | None = None
    nuisances: tuple[str, ...] = NUISANCES
    nuisance_pairs: int | None = 24
    n_random: int = 100
    rate: bool = True
    judge_pairs: int = 100
    n_draws: int = 2000
    n_permutations: int = 2000
    n_folds: int = 10
    quality: str = "creative"
    seed: int = 0

    def __post_init__(self) -> None:
        least = {
            "n_random": 1,
            "judge_pairs": 0,
            "n_draws": 100,
            "n_permutations": 1,
            "n_folds": 2,
        }
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise InputError(f"{name} must be at least {lowest}, got {getattr(self, name)}.")
        for name, lowest in {"window": 2, "nuisance_pairs": 1}.items():
            value = getattr(self, name)
            if value is not None and value < lowest:
                raise InputError(f"{name} must be None or at least {lowest}, got {value}.")
        unknown = [name for name in self.nuisances if name not in NUISANCES]
        if unknown:
            raise InputError(
                f"unknown nuisance {unknown[0]!r}; choose from {', '.join(NUISANCES)}."
            )
        if not 0 <= self.min_gap < math.inf:
            raise InputError(f"min_gap must be 0 or more, got {self.min_gap}.")
        if not self.quality.strip():
            raise InputError("quality must be an adjective such as 'creative', got a blank.")
