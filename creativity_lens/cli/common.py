"""What several commands share: their options, and how a model is loaded."""

import shlex
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from creativity_lens.cli import terminal
from creativity_lens.errors import DataError

if TYPE_CHECKING:
    from creativity_lens.studies.claims import Claim

ModelOption = Annotated[
    str, typer.Option("--model", "-m", help="Packaged name, Hugging Face id, or local folder.")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
DtypeOption = Annotated[str, typer.Option(help="float32, bfloat16 or float16.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
SeedOption = Annotated[int, typer.Option(help="Seed of the random streams.")]
MaxNewTokens = Annotated[int, typer.Option("--max-new-tokens", help="Most tokens in a response.")]
Temperature = Annotated[float, typer.Option(help="0 is greedy.")]
TopP = Annotated[float, typer.Option("--top-p", help="Nucleus, in (0, 1].")]
MinP = Annotated[float, typer.Option("--min-p", help="Least share of the likeliest, in [0, 1).")]
BatchSize = Annotated[int, typer.Option("--batch-size", help="Rows that run together.")]

RunOption = Annotated[Path, typer.Option("--run", help="Folder of an extraction run.")]
RunModel = Annotated[
    str | None, typer.Option("--model", "-m", help="[default: the model the run was made with]")
]
StoreOption = Annotated[
    Path | None,
    typer.Option(help="Folder that keeps the activations. [default: RUN/activations]"),
]


class Preset(StrEnum):
    """Named settings."""

    paper = "paper"


PresetOption = Annotated[
    Preset | None,
    typer.Option(
        help="`paper`: layer 8, λ = 3 absolute, difference of means over response tokens, contrast "
        "premise, context as-generated (arXiv 2412.06060)."
    ),
]


def load(name: str, device: str, dtype: str) -> Any:
    """Load a model, with a note on the terminal while it takes its time."""
    from creativity_lens.models.loading import load_model

    with terminal.notes.status(f"loading {terminal.safe(name)} …"):
        return load_model(name, device=device, dtype=dtype)


def plain(value: Any) -> Any:
    """The plain string of an option's enum value."""
    return value.value if isinstance(value, StrEnum) else value


def command_line() -> str:
    """The command as a shell takes it, without the path of the program."""
    return shlex.join(["creativity-lens", *sys.argv[1:]])


def print_claims(claims: "Sequence[Claim]") -> None:
    """The claims of a study as a table for people, on stdout."""
    terminal.print_table(
        ("claim", "estimate", "95 % interval", "verdict"),
        [
            (
                claim.statement,
                f"{claim.estimate.estimate:.3f}",
                f"{claim.estimate.low:.3f} to {claim.estimate.high:.3f}",
                claim.verdict,
            )
            for claim in claims
        ],
    )


def check_unique(path: Path, number: int, name: str, seen: dict[str, int]) -> None:
    """Raise DataError if a line's id was seen before; note it in `seen`."""
    if name in seen:
        raise DataError(f"{path}, line {number}: the id {name!r} was used in line {seen[name]}.")
    seen[name] = number
