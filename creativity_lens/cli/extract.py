"""`creativity-lens extract`: directions from contrast pairs."""

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from creativity_lens.cli import terminal
from creativity_lens.cli.common import (
    BatchSize,
    DeviceOption,
    DtypeOption,
    JsonOption,
    MaxNewTokens,
    MinP,
    ModelOption,
    PresetOption,
    SeedOption,
    Temperature,
    TopP,
    command_line,
    load,
    plain,
)
from creativity_lens.cli.presets import settle
from creativity_lens.errors import InputError
from creativity_lens.io import check_writable, sha256_file
from creativity_lens.models.packaged import DEFAULT_MODEL

if TYPE_CHECKING:
    from creativity_lens.directions.direction import DirectionSet
    from creativity_lens.directions.extract import Extraction, ExtractionConfig
    from creativity_lens.models.protocol import LensModel


class Contrast(StrEnum):
    """Kinds of contrast."""

    instruction = "instruction"
    premise = "premise"


class Context(StrEnum):
    """Contexts a response is read in."""

    as_generated = "as-generated"
    neutral = "neutral"


class Span(StrEnum):
    """Tokens that count."""

    response = "response"
    last = "last"
    prompt_last = "prompt-last"


class Estimator(StrEnum):
    """Estimators of a direction."""

    difference_of_means = "difference-of-means"
    paired_pca = "paired-pca"
    logistic = "logistic"
    whitened = "whitened"


class Nuisance(StrEnum):
    """What can be removed before a direction is estimated."""

    formality = "formality"
    sentiment = "sentiment"
    verbosity = "verbosity"
    genre = "genre"
    concreteness = "concreteness"
    vocabulary = "vocabulary"
    length = "length"


class Removal(StrEnum):
    """Ways to remove it."""

    projection = "projection"
    leace = "leace"


def extract(
    pairs: Annotated[Path, typer.Option(help="Contrast pairs (JSONL).")],
    out: Annotated[Path, typer.Option(help="Folder for the run's files.")],
    model: ModelOption = DEFAULT_MODEL,
    contrast: Annotated[
        Contrast | None, typer.Option(help="What differs within a pair. [default: instruction]")
    ] = None,
    context: Annotated[
        Context | None, typer.Option(help="What a response is read after. [default: as-generated]")
    ] = None,
    span: Annotated[
        Span | None, typer.Option(help="Which tokens count. [default: response]")
    ] = None,
    max_new_tokens: MaxNewTokens = 64,
    temperature: Temperature = 0.8,
    top_p: TopP = 1.0,
    min_p: MinP = 0.05,
    samples: Annotated[int, typer.Option(help="Responses for each side of each pair.")] = 1,
    split: Annotated[
        str | None, typer.Option(help="Use only the pairs of this split: train, dev or test.")
    ] = None,
    instructions: Annotated[
        Path | None, typer.Option(help="Other instructions than the shipped ones (TOML).")
    ] = None,
    unit_tokens: Annotated[
        bool, typer.Option("--unit-tokens", help="Divide each token by its norm before the mean.")
    ] = False,
    estimator: Annotated[
        Estimator | None,
        typer.Option(
            help="How the direction is taken from the texts. [default: difference-of-means]"
        ),
    ] = None,
    remove: Annotated[
        list[Nuisance] | None,
        typer.Option(
            help="Nuisance to remove before the direction is estimated; repeat it for several. "
            "All but length read 128 shipped passages each."
        ),
    ] = None,
    removal: Annotated[
        Removal | None,
        typer.Option(
            help="How --remove does it: leace needs the package concept-erasure. "
            "[default: projection]"
        ),
    ] = None,
    seed: SeedOption = 0,
    batch_size: BatchSize = 32,
    preset: PresetOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
    json: JsonOption = False,
) -> None:
    """Extract a direction at every layer from contrast pairs.

    Writes contrast.jsonl, directions.safetensors and manifest.json to --out.

    Examples:
        creativity-lens extract --pairs pairs.jsonl --out run

        creativity-lens extract --pairs pairs.jsonl --out run --preset paper -m org/model

        creativity-lens extract --pairs pairs.jsonl --out run --remove formality --remove length
    """
    from creativity_lens.directions.extract import ExtractionConfig
    from creativity_lens.directions.extract import extract as run_extraction
    from creativity_lens.directions.run_files import save_run
    from creativity_lens.generation.sampling import Sampling
    from creativity_lens.prompts.instructions import check_sides, load_instructions
    from creativity_lens.prompts.pairs import check_split, read_pairs, select_split

    check_writable(out, folder=True)
    chosen = settle(
        preset,
        {"contrast": contrast, "context": context, "span": span, "estimator": estimator},
        {
            "contrast": "instruction",
            "context": "as-generated",
            "span": "response",
            "estimator": "difference-of-means",
        },
    )
    removed = list(dict.fromkeys(plain(name) for name in remove or ()))
    method = plain(removal or Removal.projection)
    _check_removal(removed, removal, preset, plain(chosen["span"]))
    config = ExtractionConfig(
        contrast=plain(chosen["contrast"]),
        context=plain(chosen["context"]),
        span=plain(chosen["span"]),
        sampling=Sampling(max_new_tokens, temperature, top_p, min_p),
        samples=samples,
        seed=seed,
        unit_tokens=unit_tokens,
        batch_size=batch_size,
        # With nuisances removed, the estimator comes after the removal.
        estimator="difference-of-means" if removed else plain(chosen["estimator"]),
    )
    chosen_split = check_split(split)
    wanted = select_split(read_pairs(pairs), chosen_split)
    if not wanted:
        raise InputError(f"{pairs} holds no pair of split {split}.")
    texts = load_instructions(instructions)
    check_sides(wanted, config.contrast)
    lens = load(model, device, dtype)
    started = time.perf_counter()
    with terminal.progress_bar("extracting", len(wanted), "pairs") as advance:
        found = run_extraction(
            lens,
            wanted,
            config,
            instructions=texts,
            keep_text_means=bool(removed),
            on_progress=advance,
        )
    if removed:
        directions = _without(lens, found, config, removed, method, plain(chosen["estimator"]))
        found = found._replace(directions=directions)
    save_run(
        found,
        out,
        manifest={
            "command": command_line(),
            "preset": preset,
            "pairs_file": pairs.name,
            "pairs_file_sha256": sha256_file(pairs),
            "split": split,
            "seconds": round(time.perf_counter() - started, 1),
        },
    )
    report = {
        "out": str(out),
        "estimator": plain(chosen["estimator"]),
        "removed": removed,
        "pairs": len(wanted) - len(found.dropped),
        "dropped": list(found.dropped),
        "layers": len(found.directions),
    }
    if json:
        terminal.print_json(report)
        return
    terminal.summary(
        {
            "estimator": plain(chosen["estimator"]),
            **({"removed": f"{', '.join(removed)} by {method}"} if removed else {}),
            "directions": str(out / "directions.safetensors"),
            "pairs": f"{report['pairs']} used, {len(found.dropped)} dropped (a side was empty)",
            "layers": str(report["layers"]),
        }
    )


def _check_removal(
    removed: list[str], removal: Removal | None, preset: str | None, span: str
) -> None:
    """Raise now what would fail once the model has answered."""
    from creativity_lens.directions.erasure import check_removal

    if not removed:
        if removal is not None:
            raise InputError("--removal says how to remove: name what with --remove NUISANCE.")
        return
    if preset:
        raise InputError("--preset paper removes nothing: leave out --preset or --remove.")
    if span == "prompt-last":
        raise InputError(
            "--remove reads passages after one prompt, whose last token is the same for all: use "
            "--span response or last."
        )
    check_removal(plain(removal or Removal.projection))


def _without(
    model: "LensModel",
    found: "Extraction",
    config: "ExtractionConfig",
    removed: list[str],
    removal: Any,
    estimator: Any,
) -> "DirectionSet":
    """The directions of `estimator` on the run's texts with nuisances removed."""
    import torch

    from creativity_lens.directions.estimators import with_estimator
    from creativity_lens.directions.nuisance import (
        LengthContrast,
        nuisance_erasure,
        read_nuisances,
    )
    from creativity_lens.prompts.pairs import load_passages

    assert found.text_means is not None
    creative, uncreative = found.text_means[0::2], found.text_means[1::2]
    length = None
    if "length" in removed:
        tokens = torch.tensor([float(len(row.response_ids)) for row in found.rows])
        length = LengthContrast(creative, uncreative, tokens.reshape(-1, 2))
    names = [name for name in removed if name != "length"]
    total = sum(2 * len(load_passages(name)) for name in names)
    with terminal.progress_bar("reading nuisances", total, "passages") as advance:
        nuisances = read_nuisances(
            model,
            names,
            neutral_prompt=found.directions.provenance["neutral_prompt"],
            span=config.span,
            unit_tokens=config.unit_tokens,
            on_progress=advance,
        )
    return with_estimator(
        found.directions,
        creative,
        uncreative,
        estimator=estimator,
        erasure=nuisance_erasure(nuisances, length=length, removal=removal),
        removed=removed,
    )
