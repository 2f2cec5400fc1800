"""`creativity-lens score`: how far texts point along a direction."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from creativity_lens.cli import terminal
from creativity_lens.cli.common import (
    BatchSize,
    DeviceOption,
    DtypeOption,
    JsonOption,
    PresetOption,
    check_unique,
    load,
    plain,
)
from creativity_lens.cli.presets import settle
from creativity_lens.errors import DataError, InputError
from creativity_lens.io import check_writable, read_jsonl, write_csv


class Variant(StrEnum):
    """Variants of the score."""

    cosine = "cosine"
    centred = "centred"


def score(
    directions: Annotated[
        Path | None,
        typer.Option(help="Directions file; the packaged model's own set if left out."),
    ] = None,
    texts: Annotated[
        Path | None, typer.Option(help="Texts to score: JSONL with id, text and, if known, prompt.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="CSV for the scores of --texts.")] = None,
    text: Annotated[str | None, typer.Option(help="One text to score.")] = None,
    layer: Annotated[
        int | None, typer.Option(help="Layer to read at. [default: two thirds of the depth]")
    ] = None,
    all_layers: Annotated[bool, typer.Option("--all-layers", help="One score a layer.")] = False,
    variant: Annotated[
        Variant | None,
        typer.Option(help="The paper's cosine, or with the midpoint subtracted. [default: cosine]"),
    ] = None,
    window: Annotated[
        int | None, typer.Option(help="Read long texts in windows of this many tokens.")
    ] = None,
    preset: PresetOption = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="[default: the model the directions came from]"),
    ] = None,
    batch_size: BatchSize = 16,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
    json: JsonOption = False,
) -> None:
    r"""Score texts by their mean per-token cosine with a direction.

    Examples:
        creativity-lens score --text "The moon forgot its keys."

        creativity-lens score --directions run/directions.safetensors --all-layers \
            --texts texts.jsonl --out scores.csv
    """
    if (text is None) == (texts is None):
        raise InputError("give either --text or --texts, and not both.")
    if texts is not None and out is None:
        raise InputError("--texts needs --out FILE.csv for the scores.")
    if text is not None and out is not None:
        raise InputError("--out goes with --texts; the score of --text is printed.")
    if all_layers and layer is not None:
        raise InputError("give either --layer or --all-layers, and not both.")
    if out is not None:
        check_writable(out, folder=False)
    chosen = settle(
        preset,
        {"layer": layer, "variant": variant},
        {"variant": "cosine"},
    )
    from creativity_lens.directions.direction import DirectionSet
    from creativity_lens.directions.shipped import load_directions
    from creativity_lens.scoring.score import Text, score_texts

    items = [Text("text", text)] if text is not None else _read_texts(texts)
    found = DirectionSet.load(directions) if directions is not None else load_directions()
    at = chosen["layer"] if chosen["layer"] is not None else len(found) * 2 // 3
    if not all_layers:
        found[at]  # a layer out of range is an error before the model is loaded
    lens = load(model or str(found.provenance["model"]["name"]), device, dtype)
    with terminal.progress_bar("scoring", len(items), "texts") as advance:
        scores = score_texts(
            lens,
            found,
            items,
            layers=None if all_layers else at,
            variant=plain(chosen["variant"]),
            window=window,
            batch_size=batch_size,
            on_progress=advance,
        )
    names = [f"layer_{n}" for n in scores.layers] if all_layers else ["score"]
    rows = [
        (name, int(n), *(float(v) for v in values))
        for name, n, values in zip(scores.ids, scores.n_tokens, scores.values, strict=True)
    ]
    if out is not None:
        write_csv(out, ("id", "n_tokens", *names), rows)
        if json:
            terminal.print_json({"out": str(out), "texts": len(rows)})
        else:
            terminal.summary({"scores": str(out), "texts": str(len(rows))})
        return
    record = dict(zip(("id", "n_tokens", *names), rows[0], strict=True))
    record |= {} if all_layers else {"layer": at}
    if json:
        terminal.print_json(record)
    else:
        terminal.summary(
            {
                name: f"{value:+.4f}" if isinstance(value, float) else str(value)
                for name, value in record.items()
                if name != "id"
            }
        )


def _read_texts(path: Path | None) -> list[Any]:
    from creativity_lens.scoring.score import Text

    assert path is not None
    found = []
    seen: dict[str, int] = {}
    for number, row in read_jsonl(path, required=("id", "text")):
        prompt = row.get("prompt")
        if prompt is not None and (not isinstance(prompt, str) or not prompt.strip()):
            raise DataError(f"{path}, line {number}: `prompt` must be a string that is not blank.")
        check_unique(path, number, row["id"], seen)
        found.append(Text(row["id"], row["text"], prompt))
    return found
