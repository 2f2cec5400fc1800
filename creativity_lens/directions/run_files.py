"""The files of an extraction run: `contrast.jsonl`, `directions.safetensors`, `manifest.json`.

From `contrast.jsonl` alone the directions can be computed again with plain transformers: run the
model over `read_prompt_ids + response_ids`, average each response's hidden states, then texts.
"""

import os
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from creativity_lens.directions.direction import SCHEMA_VERSION, DirectionSet
from creativity_lens.directions.extract import ContrastRow, Extraction
from creativity_lens.errors import DataError
from creativity_lens.io import read_jsonl, sha256_file, write_json, write_jsonl

CONTRAST_FILE = "contrast.jsonl"
DIRECTIONS_FILE = "directions.safetensors"
MANIFEST_FILE = "manifest.json"


def save_run(
    extraction: Extraction, folder: str | os.PathLike[str], *, manifest: Mapping[str, Any]
) -> Path:
    """Write the three files of a run, each atomically, the manifest last.

    Args:
        extraction: what `extract` returned.
        folder: created if needed; files of an earlier run in it are replaced.
        manifest: what else is known of the run (its command, its pairs file, its duration).

    Returns:
        The folder.

    Raises:
        InputError: the folder cannot be written to.
    """
    home = Path(folder)
    write_jsonl(home / CONTRAST_FILE, (row.to_dict() for row in extraction.rows))
    extraction.directions.save(home / DIRECTIONS_FILE)
    write_json(
        home / MANIFEST_FILE,
        {
            **manifest,
            "schema_version": SCHEMA_VERSION,
            "provenance": dict(extraction.directions.provenance),
            "dropped_pairs": list(extraction.dropped),
            "n_rows": len(extraction.rows),
            "share_of_tokens_above_3x_median_norm": [
                round(float(share), 6) for share in extraction.norm_spikes
            ],
            "files": {name: sha256_file(home / name) for name in (CONTRAST_FILE, DIRECTIONS_FILE)},
        },
    )
    return home


def load_run(folder: str | os.PathLike[str]) -> tuple[DirectionSet, list[ContrastRow]]:
    """Read the directions and the responses of a run.

    Raises:
        DataError: a file is missing or not what `save_run` wrote.
    """
    home = Path(folder)
    return DirectionSet.load(home / DIRECTIONS_FILE), read_contrast(home / CONTRAST_FILE)


def read_contrast(path: str | os.PathLike[str]) -> list[ContrastRow]:
    """Read a `contrast.jsonl`.

    Raises:
        DataError: naming the file and the line.
    """
    known = [field.name for field in fields(ContrastRow)]
    needed = [field.name for field in fields(ContrastRow) if field.default is MISSING]
    rows = []
    for number, row in read_jsonl(path):
        missing = [name for name in needed if name not in row]
        if missing:
            raise DataError(f"{path}, line {number}: missing {', '.join(missing)}.")
        names = [name for name in known if name in row]
        for name in names:
            ids = row[name]
            if name.endswith("_ids") and not (
                isinstance(ids, list) and all(type(i) is int for i in ids)
            ):
                raise DataError(f"{path}, line {number}: {name!r} must be a list of token ids.")
        values: dict[str, Any] = {
            name: tuple(row[name]) if name.endswith("_ids") else row[name] for name in names
        }
        rows.append(ContrastRow(**values))
    return rows
