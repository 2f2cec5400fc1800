"""What a sweep does: the settings of a `sweep.toml`.

`docs/examples/sweep.toml` holds every key with its default and what it means.
"""

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, cast, get_args

from creativity_lens.errors import DataError, InputError
from creativity_lens.generation.sampling import Sampling
from creativity_lens.hooks.intervene import MODES, Mode
from creativity_lens.runs.sweep_parts import (
    Layers,
    Necessity,
    Rivals,
    read_sampling,
    read_schedule,
    read_scope,
)
from creativity_lens.runs.toml_table import Table
from creativity_lens.steering.steer import Around, Unit

__all__ = [
    "CORPORA",
    "CREATIVITY",
    "KEYS",
    "Necessity",
    "Rivals",
    "SweepConfig",
    "check_against",
    "load_sweep_config",
]

CORPORA = ("stories", "poetry", "dialogue", "code")
"""Shipped corpora that `prompts` can name."""

CREATIVITY = "creativity"
"""The name of the run's own direction."""

# A control is known by what stands before the first hyphen of its name: see `cells.rival_family`.
_TAKEN = r"(?:within|shuffled|unrelated)(?:-|$)|none$|creativity$"
_NAME = re.compile(rf"(?!{_TAKEN})[A-Za-z0-9_.-]+")
_LARGEST_SEED = 2**63  # the tables hold int64


@dataclass(frozen=True)
class SweepConfig:
    """Everything that shapes a sweep, but the model, the run and the content of the files named.

    Made by `load_sweep_config` or `from_dict`, which check it and fill in what was left out.

    Attributes:
        layers: where is steered, each layer by itself; `all` is every layer of the model.
        strengths: of the modes add, clamp and rotate, in `unit`; None if `modes` has none of them.
            0 is not among them, since the unsteered cell is always run.
        unit: `relative` or `absolute`; see `steering.absolute_strength`.
        modes: out of add, ablate, clamp and rotate.
        ablate_strengths: of the mode ablate, shares of the projection; None if it is not in
            `modes`.
        scope: which tokens are steered, as `Scope` writes it.
        schedule: how much at each generated token, as `Schedule` writes it.
        around: what ablate and clamp count from: `zero`, or the `midpoint` of the class means;
            `zero` if `modes` has neither.
        prompts: name of a shipped corpus, or path of a file; see `read_sweep_prompts`.
        n_prompts: at most so many prompts; None takes all.
        seeds: each prompt is answered once for each; one alone at temperature 0.
        read_layers: where the unsteered model's score of a text is read, beside the layers that are
            steered and the primary one; see `reading_layers`.
        read_layer: the one at which claims are made; None is three quarters of the depth.
        batch_tokens: most tokens in a batch, padding included.
        nll_budget: how much NLL (nats a token) a recommended strength may cost.
        degenerate_budget: the share of degenerate texts that it may have.
        directions: further directions, by name: path of a file, or of a run's folder.
        steer_with: names of the directions that are steered along; `creativity` is the run's.
        sampling: how tokens are drawn.
        rivals: what steering is held against.
        necessity: removing the direction while the instruction stands.
        source: the file, as errors name it; not a setting.
        folder: what relative paths are relative to; not a setting.
    """

    layers: Layers
    strengths: tuple[float, ...] | None
    unit: Unit
    modes: tuple[Mode, ...]
    ablate_strengths: tuple[float, ...] | None
    scope: str
    schedule: str
    around: Around
    prompts: str
    n_prompts: int | None
    seeds: tuple[int, ...]
    read_layers: Layers
    read_layer: int | None
    batch_tokens: int
    nll_budget: float
    degenerate_budget: float
    directions: Mapping[str, str]
    steer_with: tuple[str, ...]
    sampling: Sampling
    rivals: Rivals
    necessity: Necessity
    source: str = field(default="sweep.toml", compare=False)
    folder: Path = field(default=Path(), compare=False)

    @classmethod
    def from_dict(
        cls,
        mapping: Mapping[str, Any],
        *,
        source: str = "sweep.toml",
        folder: str | os.PathLike[str] = ".",
    ) -> "SweepConfig":
        """Check settings as they stand in a `sweep.toml`, and fill in the defaults.

        Args:
            mapping: keys and values; a table is a mapping; None is a key left out.
            source: named in errors.
            folder: what relative paths are relative to.

        Raises:
            DataError: a key that is unknown or missing, or a value that is not allowed; names
                the key, the value and what is.
        """
        top = Table(mapping, KEYS, source=source)

        def table(name: str) -> Table:
            return Table(top.get(name, {}), KEYS, name=name, source=source)

        top.need("layers", 'a list of layers, or "all"')
        top.need("prompts", f"a file, or one of {', '.join(CORPORA)}")
        modes = cast(tuple[Mode, ...], top.words("modes", ("add",), MODES))
        layers = top.layers("layers")
        strengths = _strengths(top, modes)
        sampling = read_sampling(table("sampling"))
        rivals = Rivals.read(
            table("rivals"), sampling=sampling, strengths=strengths or (), layers=layers
        )
        directions = _directions(top, source)
        return cls(
            layers=layers,
            strengths=strengths,
            unit=cast(Unit, top.choice("unit", "relative", get_args(Unit))),
            modes=modes,
            ablate_strengths=_ablate_strengths(top, modes),
            scope=read_scope(top, default="response"),
            schedule=read_schedule(top, default="constant"),
            around=_around(top, modes),
            prompts=top.text("prompts", ""),
            n_prompts=top.integer("n_prompts", None, at_least=2),
            seeds=_seeds(top, sampling),
            read_layers=top.layers("read_layers", "all"),
            read_layer=top.integer("read_layer", None, at_least=0),
            batch_tokens=top.integer("batch_tokens", 16384, at_least=1),
            nll_budget=top.number("nll_budget", 0.5, at_least=0.0),
            degenerate_budget=top.number("degenerate_budget", 0.1, at_least=0.0, at_most=1.0),
            directions=directions,
            steer_with=top.words("steer_with", (CREATIVITY,), (CREATIVITY, *directions)),
            sampling=sampling,
            rivals=rivals,
            necessity=Necessity.read(
                table("necessity"), instruction=rivals.instruction is not False
            ),
            source=source,
            folder=Path(folder),
        )

    def to_dict(self) -> dict[str, Any]:
        """All settings as plain JSON values, paths as they were written; `from_dict` reads it."""
        settings = asdict(self)
        del settings["source"], settings["folder"]
        return cast(dict[str, Any], _plain(settings))

    @property
    def prompts_path(self) -> Path | None:
        """The file of prompts, or None for a shipped corpus."""
        return None if self.prompts in CORPORA else self.folder / self.prompts

    @property
    def direction_paths(self) -> dict[str, Path]:
        """The files or folders of the further directions."""
        return {name: self.folder / path for name, path in self.directions.items()}

    def steered_layers(self, n_layers: int) -> tuple[int, ...]:
        """The layers of the sweep on a model of `n_layers`."""
        return tuple(range(n_layers)) if self.layers == "all" else self.layers

    def rival_layers(self, n_layers: int) -> tuple[int, ...]:
        """The layers at which the rivals' directions are steered along."""
        chosen = self.rivals.layers
        return self.steered_layers(n_layers) if chosen == "all" else chosen

    def primary_layer(self, n_layers: int) -> int:
        """The layer at which claims are made: `read_layer`, or three quarters of the depth."""
        return n_layers * 3 // 4 if self.read_layer is None else self.read_layer

    def reading_layers(self, n_layers: int) -> tuple[int, ...]:
        """All layers at which texts are scored.

        Those of `read_layers`, each layer that is steered by itself, and the primary one.
        """
        chosen = range(n_layers) if self.read_layers == "all" else self.read_layers
        steered = self.steered_layers(n_layers)
        removed = (entry for entry in self.necessity.layers if isinstance(entry, int))
        return tuple(sorted({*chosen, *steered, *removed, self.primary_layer(n_layers)}))


_TABLES = {"sampling": Sampling, "rivals": Rivals, "necessity": Necessity}
KEYS: Mapping[str, tuple[str, ...]] = {
    "": tuple(f.name for f in fields(SweepConfig) if f.compare),
    **{name: tuple(f.name for f in fields(kind)) for name, kind in _TABLES.items()},
}
"""The keys of each table of a `sweep.toml`; those of `directions` are the user's own names."""


def load_sweep_config(path: str | os.PathLike[str]) -> SweepConfig:
    """Read a `sweep.toml`.

    Raises:
        DataError: missing, not TOML (names the line), or a setting that is not allowed.
    """
    source = Path(path)
    try:
        mapping = tomllib.loads(source.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise DataError(f"{source} does not exist.") from error
    except OSError as error:
        raise DataError(f"cannot read {source}: {error.strerror or error}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{source}: not valid TOML ({error}).") from error
    return SweepConfig.from_dict(mapping, source=str(source), folder=source.parent)


def check_against(config: SweepConfig, n_layers: int) -> None:
    """Check that the model has all layers that are named.

    Raises:
        InputError: it has not; names the key and the model's layers.
    """
    single = () if config.read_layer is None else (config.read_layer,)
    named: dict[str, Sequence[int | str] | str] = {
        "layers": config.layers,
        "read_layers": config.read_layers,
        "read_layer": single,
        "rivals.layers": config.rivals.layers,
        "necessity.layers": config.necessity.layers,
    }
    for key, layers in named.items():
        beyond = [n for n in layers if isinstance(n, int) and n >= n_layers]
        if beyond:
            raise InputError(
                f"{config.source}: {key} names layer {beyond[0]}, but the model has layers 0 to "
                f"{n_layers - 1} (layer l is the residual stream after block l)."
            )


def _strengths(top: Table, modes: Sequence[Mode]) -> tuple[float, ...] | None:
    if modes == ("ablate",):
        if "strengths" in top:
            top.fail(
                "strengths",
                "serve add, clamp and rotate, but modes holds ablate alone: give ablate_strengths.",
            )
        return None
    top.need("strengths", "a list of numbers")
    found = top.numbers("strengths", ())
    if 0 in found:
        top.fail(
            "strengths",
            "holds 0: leave it out, the unsteered cell is always run (and to bring a projection "
            "to 0, use the mode ablate).",
        )
    return found


def _ablate_strengths(top: Table, modes: Sequence[Mode]) -> tuple[float, ...] | None:
    if "ablate" not in modes:
        if "ablate_strengths" in top:
            top.fail("ablate_strengths", f"serve ablate, but modes holds {', '.join(modes)}.")
        return None
    found = top.numbers("ablate_strengths", (1.0,))
    if 0 in found:
        top.fail("ablate_strengths", "holds 0, which removes nothing: leave it out.")
    return found


def _around(top: Table, modes: Sequence[Mode]) -> Around:
    found = cast(Around, top.choice("around", "zero", get_args(Around)))
    if found != "zero" and not {"ablate", "clamp"} & set(modes):
        top.fail(
            "around",
            f"= {found!r} serves ablate and clamp, but modes holds {', '.join(modes)}: leave it "
            "out.",
        )
    return found


def _seeds(top: Table, sampling: Sampling) -> tuple[int, ...]:
    found = top.integers("seeds", (0,), below=_LARGEST_SEED)
    if len(found) > 1 and sampling.temperature == 0:
        top.fail(
            "seeds",
            f"holds {len(found)} seeds, but with sampling.temperature = 0 each gives the same "
            "text: give one seed, or a temperature above 0.",
        )
    return found


def _directions(top: Table, source: str) -> dict[str, str]:
    given = top.get("directions", {})
    if not isinstance(given, Mapping):
        top.fail("directions", f"must be a table, [directions], got {given!r}.")
    for name in given:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            top.fail(
                "directions",
                f"holds the name {name!r}: choose one of letters, digits, _, . and -, that is not "
                "creativity, none, within, shuffled or unrelated and does not begin with within-, "
                "shuffled- or unrelated-, as those of controls do.",
            )
    paths = Table(given, {"directions": list(given)}, name="directions", source=source)
    return {name: paths.text(name, "") for name in given}


def _plain(value: Any) -> Any:
    """Tuples as lists, mappings as dictionaries."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
