"""The extraction run that comes with the package, for the packaged model."""

from pathlib import Path

from creativity_lens.directions.direction import DirectionSet
from creativity_lens.directions.extract import ContrastRow
from creativity_lens.directions.run_files import DIRECTIONS_FILE, load_run
from creativity_lens.models.packaged import DEFAULT_MODEL
from creativity_lens.prompts.data import data_path


def load_directions(name: str = DEFAULT_MODEL) -> DirectionSet:
    """A direction set that comes with the package; works from an installed wheel.

    How it was made stands in its provenance and in `docs/concepts.md`.

    Raises:
        InputError: unknown name; names those that there are.
    """
    return DirectionSet.load(shipped_run(name) / DIRECTIONS_FILE)


def load_shipped_run(name: str = DEFAULT_MODEL) -> tuple[DirectionSet, list[ContrastRow]]:
    """The same directions with the texts that they were made from, as `load_run` gives them.

    The texts choose a layer without any rating, and give covariance and shuffled labels, to
    `evaluate` and `probe_run`.

    Raises:
        InputError: unknown name; names those that there are.
    """
    return load_run(shipped_run(name))


def shipped_run(name: str = DEFAULT_MODEL) -> Path:
    """The folder of a shipped run: `contrast.jsonl`, `directions.safetensors`, `manifest.json`.

    Raises:
        InputError: unknown name; names those that there are.
    """
    return data_path("directions", name, DIRECTIONS_FILE).parent
