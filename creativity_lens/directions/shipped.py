"""The direction set that comes with the package, for the packaged model."""

from creativity_lens.directions.direction import DirectionSet
from creativity_lens.models.packaged import DEFAULT_MODEL
from creativity_lens.prompts.data import data_path


def load_directions(name: str = DEFAULT_MODEL) -> DirectionSet:
    """A direction set that comes with the package; works from an installed wheel.

    How it was made stands in its provenance and in `docs/concepts.md`.

    Raises:
        InputError: unknown name; names those that there are.
    """
    return DirectionSet.load(data_path("directions", f"{name}.safetensors"))
