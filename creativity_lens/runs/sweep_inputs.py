"""The files that a sweep reads: whatever is wrong with them shows before a model is loaded."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from creativity_lens.directions.direction import DirectionSet
from creativity_lens.directions.extract import ContrastRow
from creativity_lens.directions.rereading import check_rows
from creativity_lens.directions.run_files import DIRECTIONS_FILE, load_run
from creativity_lens.prompts.instructions import Instructions
from creativity_lens.runs.sweep_config import SweepConfig, check_against
from creativity_lens.runs.sweep_prompts import SweepPrompt, sweep_prompts

__all__ = ["SweepInputs", "sweep_inputs"]


class SweepInputs(NamedTuple):
    """What a sweep reads from files."""

    directions: DirectionSet
    """Of the run."""
    rows: Sequence[ContrastRow]
    """The run's texts."""
    prompts: tuple[SweepPrompt, ...]
    further: Mapping[str, DirectionSet]
    """The directions that the settings name, by name."""

    @property
    def premises(self) -> frozenset[str]:
        """Ids of the premises that the run's direction was made from."""
        return frozenset(row.premise_id for row in self.rows)


def sweep_inputs(
    config: SweepConfig,
    run: str | os.PathLike[str],
    *,
    instructions: Instructions | None = None,
) -> SweepInputs:
    """Read and check the files of a sweep.

    Args:
        config: of the sweep.
        run: folder of the extraction run.
        instructions: how a premise is put; None takes the shipped ones.

    Raises:
        InputError: a layer that the run's model does not have, or no prompts.
        DataError: a file is missing or not what it should be.
    """
    directions, rows = load_run(run)
    check_rows(rows)
    check_against(config, len(directions))
    premises = {row.premise_id for row in rows}
    return SweepInputs(
        directions,
        rows,
        sweep_prompts(config, exclude=premises, instructions=instructions),
        {name: _directions_of(path) for name, path in config.direction_paths.items()},
    )


def _directions_of(path: Path) -> DirectionSet:
    """Directions from a file, or from the folder of a run."""
    return DirectionSet.load(path / DIRECTIONS_FILE if path.is_dir() else path)
