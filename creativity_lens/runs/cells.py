"""The cells of a sweep: each way of generating, run on every prompt of its split and every seed.

| kind | what it is | prompts |
|---|---|---|
| `unsteered` | the neutral prompt alone | all |
| `steered` | a direction, at a layer and strength | all |
| `control` | the same with a direction that should not work, or turned round | test |
| `instruction` | the creative instruction instead of the neutral one | test |
| `sampling` | a higher temperature, or that and min-p | test |
| `necessity` | the instruction, with a direction removed | test |

The sweep's own negative strengths show what the negative of a direction does. Where it has none,
a control takes each direction at the negative of the largest strength, in every mode but ablate,
which has no sign. Clamping to o + s along the turned direction (whose origin is -o) holds the
projection at o - s, the mirrored value. It is as far from the origin o, and not from where a text
stands, so that a clamp and its mirror are best compared at equal cost.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

from creativity_lens.generation.sampling import Sampling
from creativity_lens.runs.sweep_config import SweepConfig, check_against
from creativity_lens.runs.sweep_prompts import SweepPrompt

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = [
    "COLUMNS",
    "Cell",
    "CellKind",
    "cell_table",
    "cells_of",
    "direction_names",
    "n_texts",
    "rival_family",
]

CellKind = Literal["unsteered", "steered", "control", "instruction", "sampling", "necessity"]

_NONE = math.nan


@dataclass(frozen=True)
class Cell:
    """One way of generating.

    Attributes:
        cell_id: unique and readable: `add/creativity/L8/+0.3`.
        kind: see the module.
        layer: the layer that is steered; None if there is none or if all are.
        strength: in `unit`; the value that was raised of a sampling cell; else NaN.
        unit: `relative`, `absolute`, `share` (of ablate; a `steering.intervention` takes it as
            `absolute`), `temperature`, `min_p`, or empty.
        mode: `add`, `ablate`, `clamp`, `rotate`, `temperature`, `min_p` or `none`.
        direction: `creativity`, a further one's name, a control's (`within-1`, `shuffled-1`,
            `unrelated:formality`), or `none`.
        instruction: whether the creative instruction stands instead of the neutral one.
        temperature: of the sampling, as the two that follow.
        top_p: see `Sampling`.
        min_p: see `Sampling`.
        scope: which tokens are steered; empty if none is.
        schedule: how much at each generated token; empty if none is steered.
        split: the prompts it runs on, `all` or `test`.
        layers: the layers that are steered; not a column.
        around: what ablate and clamp count from (`zero` in other modes); not a column.
    """

    cell_id: str
    kind: CellKind
    layer: int | None
    strength: float
    unit: str
    mode: str
    direction: str
    instruction: bool
    temperature: float
    top_p: float
    min_p: float
    scope: str
    schedule: str
    split: Literal["all", "test"]
    layers: tuple[int, ...] = ()
    around: str = "zero"

    @property
    def family(self) -> str:
        """The family of rivals that it belongs to; see `rival_family`."""
        return rival_family(self.kind, self.mode, self.direction, self.strength)

    def runs_on(self, prompt: SweepPrompt) -> bool:
        """Whether the prompt is of its split."""
        return self.split in ("all", prompt.split)

    def sampling(self, max_new_tokens: int) -> Sampling:
        """How its tokens are drawn."""
        return Sampling(max_new_tokens, self.temperature, self.top_p, self.min_p)


COLUMNS: tuple[str, ...] = tuple(f.name for f in fields(Cell) if f.name not in ("layers", "around"))
"""The columns of `cells.parquet`."""


def rival_family(kind: str, mode: str, direction: str, strength: float) -> str:
    """`instruction`, `temperature`, `min_p`, `within`, `shuffled`, `unrelated` or `opposite`.

    Empty for a cell that is no rival: unsteered, necessity, steered at a positive strength. A
    steered cell at a negative strength is `opposite`, but for ablate, which has no sign.
    """
    if kind in ("instruction", "sampling"):
        return kind if kind == "instruction" else mode
    if kind == "control":
        family = direction.replace(":", "-").partition("-")[0]
        return family if family in ("within", "shuffled", "unrelated") else "opposite"
    return "opposite" if kind == "steered" and mode != "ablate" and strength < 0 else ""


def cells_of(config: SweepConfig, n_layers: int) -> tuple[Cell, ...]:
    """All cells of a sweep on a model of `n_layers`, in an order that the settings alone fix.

    Raises:
        InputError: a layer that the model does not have; see `check_against`.
    """
    check_against(config, n_layers)
    make = _Maker(config, n_layers)
    cells = (
        make.cell("unsteered", kind="unsteered"),
        *make.steered(),
        *make.controls(),
        *make.opposites(),
        *make.undirected(),
        *make.necessity(),
    )
    assert len({cell.cell_id for cell in cells}) == len(cells)
    return cells


def cell_table(cells: Sequence[Cell]) -> "DataFrame":
    """`cells.parquet`: the columns `COLUMNS`, one row for each cell."""
    import pandas as pd

    rows = [[getattr(cell, column) for column in COLUMNS] for cell in cells]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    numbers = dict.fromkeys(("strength", "temperature", "top_p", "min_p"), "float64")
    return table.astype({"layer": "Int64", "instruction": "bool", **numbers})


def direction_names(cells: Iterable[Cell]) -> tuple[str, ...]:
    """The names of all directions that the cells need, each once."""
    return tuple(dict.fromkeys(c.direction for c in cells if c.direction != "none"))


def n_texts(cells: Iterable[Cell], prompts: Sequence[SweepPrompt], seeds: Sequence[int]) -> int:
    """How many texts a sweep makes."""
    return sum(cell.runs_on(prompt) for cell in cells for prompt in prompts) * len(seeds)


class _Maker:
    """Makes cells of one sweep."""

    def __init__(self, config: SweepConfig, n_layers: int) -> None:
        self.config = config
        self.n_layers = n_layers

    def cell(
        self,
        cell_id: str,
        *,
        kind: CellKind,
        strength: float = _NONE,
        unit: str = "",
        mode: str = "none",
        instruction: bool = False,
        sampling: Sampling | None = None,
    ) -> Cell:
        """A cell without steering."""
        drawn = sampling or self.config.sampling
        return Cell(
            cell_id=cell_id,
            kind=kind,
            layer=None,
            strength=strength,
            unit=unit,
            mode=mode,
            direction="none",
            instruction=instruction,
            temperature=drawn.temperature,
            top_p=drawn.top_p,
            min_p=drawn.min_p,
            scope="",
            schedule="",
            split="all" if kind == "unsteered" else "test",
        )

    def along(
        self, direction: str, layer: int | None, strength: float, *, kind: CellKind, mode: str
    ) -> Cell:
        """A cell that steers along a direction, at one layer or (None) at all."""
        necessity = kind == "necessity"
        place = "all" if layer is None else f"L{layer}"
        amount = _number(strength, signed=mode != "ablate")
        sampling = self.config.sampling
        return Cell(
            cell_id=f"{mode}/{direction}/{place}/{amount}" + "/instruction" * necessity,
            kind=kind,
            layer=layer,
            strength=strength,
            unit="share" if mode == "ablate" else self.config.unit,
            mode=mode,
            direction=direction,
            instruction=necessity,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            min_p=sampling.min_p,
            scope=self.config.necessity.scope if necessity else self.config.scope,
            # What is to be missing is missing throughout.
            schedule="constant" if necessity else self.config.schedule,
            split="all" if kind == "steered" else "test",
            layers=tuple(range(self.n_layers)) if layer is None else (layer,),
            around=self._around(mode, necessity=necessity),
        )

    def _around(self, mode: str, *, necessity: bool) -> str:
        if mode not in ("ablate", "clamp"):  # which count from nothing
            return "zero"
        return self.config.necessity.around if necessity else self.config.around

    def steered(self) -> Iterator[Cell]:
        config = self.config
        for mode in config.modes:
            strengths = config.ablate_strengths if mode == "ablate" else config.strengths
            for name in config.steer_with:
                for layer in config.steered_layers(self.n_layers):
                    for strength in strengths or ():
                        yield self.along(name, layer, strength, kind="steered", mode=mode)

    def controls(self) -> Iterator[Cell]:
        config, rivals = self.config, self.config.rivals
        for mode in config.modes:
            strengths = config.ablate_strengths if mode == "ablate" else rivals.strengths
            for name in rivals.directions:
                for layer in config.rival_layers(self.n_layers):
                    for strength in strengths or ():
                        yield self.along(name, layer, strength, kind="control", mode=mode)

    def opposites(self) -> Iterator[Cell]:
        config = self.config
        strengths = config.strengths or ()
        if not strengths or min(strengths) < 0:
            return
        for mode in (mode for mode in config.modes if mode != "ablate"):
            for name in config.steer_with:
                for layer in config.rival_layers(self.n_layers):
                    yield self.along(name, layer, -max(strengths), kind="control", mode=mode)

    def undirected(self) -> Iterator[Cell]:
        """The instruction and the sampling."""
        rivals, sampling = self.config.rivals, self.config.sampling
        if rivals.instruction is not False:
            yield self.cell("instruction", kind="instruction", instruction=True)
        hottest = rivals.hottest(sampling)
        raised = [
            *(("temperature", t, (t, sampling.min_p)) for t in rivals.temperatures),
            *(("min_p", p, (hottest.temperature, p)) for p in rivals.min_p),
        ]
        for mode, value, (temperature, min_p) in raised:
            yield self.cell(
                f"{mode}/{_number(value)}",
                kind="sampling",
                strength=value,
                unit=mode,
                mode=mode,
                sampling=Sampling(sampling.max_new_tokens, temperature, sampling.top_p, min_p),
            )

    def necessity(self) -> Iterator[Cell]:
        config = self.config
        layers: list[int | None] = []
        for entry in config.necessity.layers:
            if entry == "each":
                layers.extend(config.steered_layers(self.n_layers))
            else:
                layers.append(None if isinstance(entry, str) else entry)
        drawn = (f"within-{k}" for k in range(1, config.necessity.controls + 1))
        for name in (*config.steer_with, *drawn):
            for layer in layers:
                yield self.along(name, layer, 1.0, kind="necessity", mode="ablate")


def _number(value: float, *, signed: bool = False) -> str:
    """The shortest text that reads back as the number, so that no two numbers share it."""
    text = repr(value).removesuffix(".0")
    return f"+{text}" if signed and value > 0 else text
