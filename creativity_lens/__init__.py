"""creativity_lens: find, score, steer and doubt a creativity direction in a language model.

Ten lines that use most of it:

    import creativity_lens as cl

    model = cl.load_model()                                  # SmolLM2-135M-Instruct, packaged
    pairs = cl.load_contrast("stories", split="train")[:16]
    run = cl.extract(model, pairs)                           # a direction at every layer
    scores = cl.score_texts(model, run.directions, ["A text."], layers=20)
    with cl.steer(model, run.directions, layers=8, strength=0.3):
        ...                                                  # any forward pass or generate
    texts = cl.generate(model, ["Write a story."], directions=run.directions,
                        layers=8, strength=0.3)

Names are imported when they are first used, so `import creativity_lens` itself is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from creativity_lens.activations.handle import ActivationStore
    from creativity_lens.activations.store import cached_store, write_store
    from creativity_lens.directions.direction import Direction, DirectionSet
    from creativity_lens.directions.erasure import Erasure
    from creativity_lens.directions.estimators import estimate, with_estimator
    from creativity_lens.directions.extract import Extraction, ExtractionConfig, extract
    from creativity_lens.directions.nuisance import nuisance_erasure, read_nuisances
    from creativity_lens.directions.run_files import load_run, save_run
    from creativity_lens.directions.shipped import load_directions, load_shipped_run
    from creativity_lens.errors import (
        CacheError,
        CreativityLensError,
        DataError,
        DirectionMismatchError,
        InputError,
        MissingDependencyError,
        ModelError,
    )
    from creativity_lens.evaluation.bradley_terry import bradley_terry
    from creativity_lens.evaluation.endpoint_judge import endpoint_choices, endpoint_ratings
    from creativity_lens.evaluation.manipulation import manipulation_check
    from creativity_lens.evaluation.naive_rating import rate_texts
    from creativity_lens.evaluation.pairwise_judge import JudgedPair, judge_pairs
    from creativity_lens.evaluation.rating_sets import read_rating_set
    from creativity_lens.evaluation.ratings import Ratings, ratings_from_frame, read_ratings
    from creativity_lens.evaluation.shipped_ratings import load_ratings
    from creativity_lens.evaluation.study_design import make_study
    from creativity_lens.evaluation.study_size import study_size
    from creativity_lens.generation.endpoint import ChatEndpoint
    from creativity_lens.generation.sampling import Sampling
    from creativity_lens.models.loading import load_model
    from creativity_lens.models.protocol import LensModel
    from creativity_lens.models.randomized import randomized
    from creativity_lens.probes.cosines import concept_cosines
    from creativity_lens.probes.separability import Separability, separability
    from creativity_lens.probes.stability import premises_needed, stability
    from creativity_lens.prompts.checks import CorpusReport, check_corpus
    from creativity_lens.prompts.pairs import (
        ContrastPair,
        PassagePair,
        load_contrast,
        load_passages,
        read_pairs,
        read_passages,
    )
    from creativity_lens.prompts.readers import (
        load_writing_prompts,
        read_premises,
        read_writing_prompts,
    )
    from creativity_lens.runs.sweep_config import SweepConfig, load_sweep_config
    from creativity_lens.scoring.score import Scores, Text, score_texts
    from creativity_lens.steering.generate import Generation, generate
    from creativity_lens.steering.spec import SteeringSpec, SteeringStep
    from creativity_lens.steering.steer import steer
    from creativity_lens.studies.demo import run_demo
    from creativity_lens.studies.evaluate import evaluate
    from creativity_lens.studies.evaluate_comparisons import JudgedPairs
    from creativity_lens.studies.evaluate_config import EvaluateConfig
    from creativity_lens.studies.evaluate_inputs import read_judged_pairs
    from creativity_lens.studies.evaluate_tables import EvaluateResult
    from creativity_lens.studies.negated import Negations, negate_premises
    from creativity_lens.studies.power import power
    from creativity_lens.studies.probe import ProbeResult, probe_run
    from creativity_lens.studies.probe_config import ProbeConfig
    from creativity_lens.studies.sweep import SweepResult, sweep

__version__ = "0.1.0"

_HOMES = {
    "ActivationStore": "activations.handle",
    "CacheError": "errors",
    "ChatEndpoint": "generation.endpoint",
    "ContrastPair": "prompts.pairs",
    "CorpusReport": "prompts.checks",
    "CreativityLensError": "errors",
    "DataError": "errors",
    "Direction": "directions.direction",
    "DirectionMismatchError": "errors",
    "DirectionSet": "directions.direction",
    "Erasure": "directions.erasure",
    "EvaluateConfig": "studies.evaluate_config",
    "EvaluateResult": "studies.evaluate_tables",
    "Extraction": "directions.extract",
    "ExtractionConfig": "directions.extract",
    "Generation": "steering.generate",
    "InputError": "errors",
    "JudgedPair": "evaluation.pairwise_judge",
    "JudgedPairs": "studies.evaluate_comparisons",
    "LensModel": "models.protocol",
    "MissingDependencyError": "errors",
    "ModelError": "errors",
    "Negations": "studies.negated",
    "PassagePair": "prompts.pairs",
    "ProbeConfig": "studies.probe_config",
    "ProbeResult": "studies.probe",
    "Ratings": "evaluation.ratings",
    "Sampling": "generation.sampling",
    "Scores": "scoring.score",
    "Separability": "probes.separability",
    "SteeringSpec": "steering.spec",
    "SteeringStep": "steering.spec",
    "SweepConfig": "runs.sweep_config",
    "SweepResult": "studies.sweep",
    "Text": "scoring.score",
    "bradley_terry": "evaluation.bradley_terry",
    "cached_store": "activations.store",
    "check_corpus": "prompts.checks",
    "concept_cosines": "probes.cosines",
    "endpoint_choices": "evaluation.endpoint_judge",
    "endpoint_ratings": "evaluation.endpoint_judge",
    "estimate": "directions.estimators",
    "evaluate": "studies.evaluate",
    "extract": "directions.extract",
    "generate": "steering.generate",
    "judge_pairs": "evaluation.pairwise_judge",
    "load_contrast": "prompts.pairs",
    "load_directions": "directions.shipped",
    "load_model": "models.loading",
    "load_passages": "prompts.pairs",
    "load_ratings": "evaluation.shipped_ratings",
    "load_run": "directions.run_files",
    "load_shipped_run": "directions.shipped",
    "load_sweep_config": "runs.sweep_config",
    "load_writing_prompts": "prompts.readers",
    "make_study": "evaluation.study_design",
    "manipulation_check": "evaluation.manipulation",
    "negate_premises": "studies.negated",
    "nuisance_erasure": "directions.nuisance",
    "power": "studies.power",
    "premises_needed": "probes.stability",
    "probe_run": "studies.probe",
    "randomized": "models.randomized",
    "rate_texts": "evaluation.naive_rating",
    "ratings_from_frame": "evaluation.ratings",
    "read_judged_pairs": "studies.evaluate_inputs",
    "read_nuisances": "directions.nuisance",
    "read_pairs": "prompts.pairs",
    "read_passages": "prompts.pairs",
    "read_premises": "prompts.readers",
    "read_rating_set": "evaluation.rating_sets",
    "read_ratings": "evaluation.ratings",
    "read_writing_prompts": "prompts.readers",
    "run_demo": "studies.demo",
    "save_run": "directions.run_files",
    "score_texts": "scoring.score",
    "separability": "probes.separability",
    "stability": "probes.stability",
    "steer": "steering.steer",
    "study_size": "evaluation.study_size",
    "sweep": "studies.sweep",
    "with_estimator": "directions.estimators",
    "write_store": "activations.store",
}

__all__ = [
    "ActivationStore",
    "CacheError",
    "ChatEndpoint",
    "ContrastPair",
    "CorpusReport",
    "CreativityLensError",
    "DataError",
    "Direction",
    "DirectionMismatchError",
    "DirectionSet",
    "Erasure",
    "EvaluateConfig",
    "EvaluateResult",
    "Extraction",
    "ExtractionConfig",
    "Generation",
    "InputError",
    "JudgedPair",
    "JudgedPairs",
    "LensModel",
    "MissingDependencyError",
    "ModelError",
    "Negations",
    "PassagePair",
    "ProbeConfig",
    "ProbeResult",
    "Ratings",
    "Sampling",
    "Scores",
    "Separability",
    "SteeringSpec",
    "SteeringStep",
    "SweepConfig",
    "SweepResult",
    "Text",
    "bradley_terry",
    "cached_store",
    "check_corpus",
    "concept_cosines",
    "endpoint_choices",
    "endpoint_ratings",
    "estimate",
    "evaluate",
    "extract",
    "generate",
    "judge_pairs",
    "load_contrast",
    "load_directions",
    "load_model",
    "load_passages",
    "load_ratings",
    "load_run",
    "load_shipped_run",
    "load_sweep_config",
    "load_writing_prompts",
    "make_study",
    "manipulation_check",
    "negate_premises",
    "nuisance_erasure",
    "power",
    "premises_needed",
    "probe_run",
    "randomized",
    "rate_texts",
    "ratings_from_frame",
    "read_judged_pairs",
    "read_nuisances",
    "read_pairs",
    "read_passages",
    "read_premises",
    "read_rating_set",
    "read_ratings",
    "read_writing_prompts",
    "run_demo",
    "save_run",
    "score_texts",
    "separability",
    "stability",
    "steer",
    "study_size",
    "sweep",
    "with_estimator",
    "write_store",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
