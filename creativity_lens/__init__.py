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
    from creativity_lens.directions.direction import Direction, DirectionSet
    from creativity_lens.directions.extract import Extraction, ExtractionConfig, extract
    from creativity_lens.directions.run_files import load_run, save_run
    from creativity_lens.directions.shipped import load_directions
    from creativity_lens.errors import (
        CacheError,
        CreativityLensError,
        DataError,
        DirectionMismatchError,
        InputError,
        MissingDependencyError,
        ModelError,
    )
    from creativity_lens.generation.endpoint import ChatEndpoint
    from creativity_lens.generation.sampling import Sampling
    from creativity_lens.models.loading import load_model
    from creativity_lens.models.protocol import LensModel
    from creativity_lens.probes.separability import Separability, separability
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
    from creativity_lens.scoring.score import Scores, Text, score_texts
    from creativity_lens.steering.generate import Generation, generate
    from creativity_lens.steering.steer import steer
    from creativity_lens.studies.demo import run_demo
    from creativity_lens.studies.negated import Negations, negate_premises

__version__ = "0.1.0"

_HOMES = {
    "CacheError": "errors",
    "ChatEndpoint": "generation.endpoint",
    "ContrastPair": "prompts.pairs",
    "CorpusReport": "prompts.checks",
    "CreativityLensError": "errors",
    "DataError": "errors",
    "Direction": "directions.direction",
    "DirectionMismatchError": "errors",
    "DirectionSet": "directions.direction",
    "Extraction": "directions.extract",
    "ExtractionConfig": "directions.extract",
    "Generation": "steering.generate",
    "InputError": "errors",
    "LensModel": "models.protocol",
    "MissingDependencyError": "errors",
    "ModelError": "errors",
    "Negations": "studies.negated",
    "PassagePair": "prompts.pairs",
    "Sampling": "generation.sampling",
    "Scores": "scoring.score",
    "Separability": "probes.separability",
    "Text": "scoring.score",
    "check_corpus": "prompts.checks",
    "extract": "directions.extract",
    "generate": "steering.generate",
    "load_contrast": "prompts.pairs",
    "load_directions": "directions.shipped",
    "load_model": "models.loading",
    "load_passages": "prompts.pairs",
    "load_run": "directions.run_files",
    "load_writing_prompts": "prompts.readers",
    "negate_premises": "studies.negated",
    "read_pairs": "prompts.pairs",
    "read_passages": "prompts.pairs",
    "read_premises": "prompts.readers",
    "read_writing_prompts": "prompts.readers",
    "run_demo": "studies.demo",
    "save_run": "directions.run_files",
    "score_texts": "scoring.score",
    "separability": "probes.separability",
    "steer": "steering.steer",
}

__all__ = [
    "CacheError",
    "ChatEndpoint",
    "ContrastPair",
    "CorpusReport",
    "CreativityLensError",
    "DataError",
    "Direction",
    "DirectionMismatchError",
    "DirectionSet",
    "Extraction",
    "ExtractionConfig",
    "Generation",
    "InputError",
    "LensModel",
    "MissingDependencyError",
    "ModelError",
    "Negations",
    "PassagePair",
    "Sampling",
    "Scores",
    "Separability",
    "Text",
    "check_corpus",
    "extract",
    "generate",
    "load_contrast",
    "load_directions",
    "load_model",
    "load_passages",
    "load_run",
    "load_writing_prompts",
    "negate_premises",
    "read_pairs",
    "read_passages",
    "read_premises",
    "read_writing_prompts",
    "run_demo",
    "save_run",
    "score_texts",
    "separability",
    "steer",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
