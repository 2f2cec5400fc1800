"""The tables of a sweep's settings: how texts are drawn, the rivals, the test of necessity."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

from creativity_lens.directions.nuisance import NUISANCES
from creativity_lens.errors import DataError, InputError
from creativity_lens.generation.sampling import Sampling
from creativity_lens.hooks.scope import Schedule, Scope
from creativity_lens.runs.toml_table import Table
from creativity_lens.steering.steer import Around

__all__ = ["Layers", "Necessity", "Rivals", "read_sampling", "read_schedule", "read_scope"]

Layers = tuple[int, ...] | Literal["all"]


@dataclass(frozen=True)
class Rivals:
    """What steering is held against; all but the instruction and the sampling are directions.

    Attributes:
        instruction: ask for creativity in the system prompt instead: with the shipped sentence
            (True), with your own, or not at all (False).
        temperatures: of cells without steering; each above the sweep's own.
        min_p: of cells without steering at the highest of `temperatures` (at the sweep's own if
            there are none), because min-p is meant to keep a high temperature coherent.
        within: how many directions are drawn from N(0, Σ_within).
        shuffled: how many directions are estimated from shuffled labels.
        unrelated: nuisances whose directions are steered along.
        strengths: of these directions, in the modes add, clamp and rotate; more than the sweep's
            own help to match them on KL. In the mode ablate they have the sweep's shares.
        layers: where, out of the sweep's layers; `all` means each of those.
    """

    instruction: bool | str
    temperatures: tuple[float, ...]
    min_p: tuple[float, ...]
    within: int
    shuffled: int
    unrelated: tuple[str, ...]
    strengths: tuple[float, ...]
    layers: Layers

    @property
    def directions(self) -> tuple[str, ...]:
        """The names of the directions, such as `within-1`, `shuffled-1`, `unrelated:formality`."""
        return (
            *(f"within-{k}" for k in range(1, self.within + 1)),
            *(f"shuffled-{k}" for k in range(1, self.shuffled + 1)),
            *(f"unrelated:{name}" for name in self.unrelated),
        )

    def hottest(self, sampling: Sampling) -> Sampling:
        """The sampling to which each `min_p` is applied."""
        return replace(sampling, temperature=max((*self.temperatures, sampling.temperature)))

    @classmethod
    def read(
        cls, table: Table, *, sampling: Sampling, strengths: Sequence[float], layers: Layers
    ) -> "Rivals":
        """Read the table `[rivals]`.

        Args:
            table: its values.
            sampling: of the sweep.
            strengths: of the sweep; empty if no mode asks for strengths.
            layers: of the sweep.

        Raises:
            DataError: naming the key.
        """
        instruction = table.get("instruction", True)
        if not isinstance(instruction, bool | str) or not str(instruction).strip():
            table.fail("instruction", f"must be true, false or a sentence, got {instruction!r}.")
        # A direction at -0.3 has the norm of one at 0.3.
        usual = [s for s in strengths if s > 0] or sorted({-s for s in strengths})
        rivals = cls(
            instruction=instruction,
            temperatures=table.numbers("temperatures", [_raised(sampling)], empty=True),
            min_p=table.numbers("min_p", (), empty=True),
            within=table.integer("within", 1, at_least=0),
            shuffled=table.integer("shuffled", 1, at_least=0),
            unrelated=table.words("unrelated", ("formality",), NUISANCES, empty=True),
            strengths=table.numbers("strengths", usual, empty=True),
            layers=table.layers("layers", "all", empty=True),
        )
        if rivals.strengths and not strengths:
            table.fail("strengths", "serve add, clamp and rotate, but modes holds ablate alone.")
        if 0 in rivals.strengths:
            table.fail("strengths", "holds 0, which steers nothing: leave it out.")
        if layers != "all" and rivals.layers != "all":
            apart = [n for n in rivals.layers if n not in layers]
            if apart:
                table.fail(
                    "layers",
                    f"holds {apart[0]}, where the sweep does not steer: choose out of its layers, "
                    f"{', '.join(map(str, layers))}.",
                )
        rivals._check_sampling(table, sampling)
        return rivals

    def _check_sampling(self, table: Table, sampling: Sampling) -> None:
        for temperature in self.temperatures:
            if temperature <= sampling.temperature:
                table.fail(
                    "temperatures",
                    f"holds {temperature:g}, which is not above the sweep's own temperature, "
                    f"{sampling.temperature:g}.",
                )
        hottest = self.hottest(sampling)
        for min_p in self.min_p:
            try:
                replace(hottest, min_p=min_p)
            except InputError as error:
                table.fail("min_p", f"holds {min_p:g}: {error}")
            if min_p == sampling.min_p or hottest.temperature == 0:
                table.fail(
                    "min_p",
                    f"holds {min_p:g}, which changes nothing: the sweep's own min_p is "
                    f"{sampling.min_p:g}, at temperature {hottest.temperature:g}.",
                )


@dataclass(frozen=True)
class Necessity:
    """How much creativity goes when a direction is removed while the instruction asks for it.

    Attributes:
        layers: where it is removed; `each` means each of the sweep's layers by itself, `all` all
            layers of the model at once. Empty leaves the test out.
        controls: how many directions drawn from N(0, Σ_within) are removed in the same way.
        scope: from which tokens. By default all but the first of the row: what is left in the
            prompt's tokens can be read by all that follow, but the first one is an attention sink,
            which no class mean was taken over and whose change may break the model.
        around: what is left: the projection of the `midpoint` of the two classes (mean ablation),
            or `zero`. Texts of both classes have a large projection in common; to take that away
            too would push the model to one side, and not only end the difference.
    """

    layers: tuple[int | str, ...]
    controls: int
    scope: str
    around: Around

    @classmethod
    def read(cls, table: Table, *, instruction: bool) -> "Necessity":
        """Read the table `[necessity]`.

        Args:
            table: its values.
            instruction: whether the rivals hold the instruction, against which is measured.

        Raises:
            DataError: naming the key.
        """
        usual = ("each", "all") if instruction else ()
        layers = table.layers_and_words("layers", usual, ("each", "all"))
        if layers and not instruction:
            table.fail(
                "layers",
                "needs the instruction to measure against: leave out rivals.instruction = false, "
                "or set this to [].",
            )
        if "each" in layers and any(isinstance(n, int) for n in layers):
            table.fail("layers", 'holds layers and "each", which names them: leave out either.')
        return cls(
            layers,
            table.integer("controls", 1, at_least=0),
            read_scope(table, default="1:"),
            cast(Around, table.choice("around", "midpoint", get_args(Around))),
        )


def read_sampling(table: Table) -> Sampling:
    """Read the table `[sampling]`, of which `Sampling` itself checks the ranges.

    Raises:
        DataError: naming the key.
    """
    values: dict[str, Any] = {
        "max_new_tokens": table.integer("max_new_tokens", 48, at_least=1),
        "temperature": table.real("temperature", 0.8),
        "top_p": table.real("top_p", 1.0),
        "min_p": table.real("min_p", 0.05),
    }
    try:
        return Sampling(**values)
    except InputError as error:  # which begins with the name of the key
        raise DataError(f"{table.source}: sampling.{error}") from error


def read_scope(table: Table, *, default: str) -> str:
    """The key `scope`, as `Scope` writes it.

    Raises:
        DataError: naming the key.
    """
    text = table.text("scope", default)
    try:
        return str(Scope.parse(text))
    except InputError as error:
        table.fail("scope", f"= {text!r} cannot be used: {error}")


def read_schedule(table: Table, *, default: str) -> str:
    """The key `schedule`, as `Schedule` writes it.

    Raises:
        DataError: naming the key.
    """
    text = table.text("schedule", default)
    try:
        return str(Schedule.parse(text))
    except InputError as error:
        table.fail("schedule", f"= {text!r} cannot be used: {error}")


def _raised(sampling: Sampling) -> float:
    """Half as much again: 1.2 where the sweep's own temperature is 0.8, or 0."""
    return round(1.5 * (sampling.temperature or 0.8), 6)
