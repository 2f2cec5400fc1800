"""The names that users import, the errors that they catch, and what importing costs."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import creativity_lens
from creativity_lens import errors

PINNED = [
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


def test_the_public_names_are_these():
    """A name is added or removed here on purpose, and in the changelog."""
    assert creativity_lens.__all__ == PINNED
    assert dir(creativity_lens) == PINNED


def test_public_names_are_sorted_and_each_has_a_home():
    assert sorted(set(creativity_lens.__all__)) == creativity_lens.__all__
    assert list(creativity_lens._HOMES) == creativity_lens.__all__


@pytest.mark.parametrize("name", PINNED)
def test_a_public_name_is_importable_from_where_it_lives(name):
    public = getattr(creativity_lens, name)
    home = importlib.import_module(f"creativity_lens.{creativity_lens._HOMES[name]}")
    assert public is getattr(home, name)
    assert public.__module__ == home.__name__  # its home, not a module that imports it
    assert inspect.getdoc(public)


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(creativity_lens.__file__).read_text(encoding="utf-8"))
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and getattr(node.test, "id", None) == "TYPE_CHECKING"
    )
    seen = {
        alias.name: node.module.removeprefix("creativity_lens.")
        for node in block.body
        for alias in node.names
    }
    assert seen == creativity_lens._HOMES


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'creativity_lens' has no attribute 'no_such_name'"):
        _ = creativity_lens.no_such_name


def test_importing_the_package_loads_nothing_heavy():
    heavy = ["torch", "transformers", "transformer_lens", "pandas", "numpy", "sklearn", "plotly"]
    code = (
        "import sys, creativity_lens as cl\n"
        "cl.CreativityLensError, cl.DataError\n"  # errors come without a model too
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- errors ----------------------------------------------------------------------------------

TREE = {
    "CreativityLensError": (Exception,),
    "InputError": (errors.CreativityLensError, ValueError),
    "DataError": (errors.InputError,),
    "DirectionMismatchError": (errors.InputError,),
    "ModelError": (errors.CreativityLensError, RuntimeError),
    "CacheError": (errors.ModelError,),
    "MissingDependencyError": (errors.CreativityLensError, ImportError),
}


def test_the_exception_tree_is_the_one_drawn():
    found = {name: kind.__bases__ for name, kind in vars(errors).items() if inspect.isclass(kind)}
    assert found == TREE


def test_every_error_is_public():
    assert set(TREE) <= set(PINNED)
