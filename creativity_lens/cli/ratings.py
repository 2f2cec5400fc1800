"""`creativity-lens ratings`: a public set of rated texts as tidy ratings."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from creativity_lens.cli import terminal
from creativity_lens.cli.common import JsonOption
from creativity_lens.errors import InputError
from creativity_lens.io import check_writable, write_csv


class Format(StrEnum):
    """Public sets."""

    hanna = "hanna"
    ttcw = "ttcw"
    writingprompts = "writingprompts"
    aut = "aut"


def ratings(
    format: Annotated[Format, typer.Option("--format", help="Which set the file is of.")],
    file: Annotated[Path, typer.Option("--file", help="The set's file, or the folder it is in.")],
    out: Annotated[Path, typer.Option(help="Ratings to write: a .csv or .parquet file.")],
    scores_out: Annotated[
        Path | None,
        typer.Option("--scores-out", help="CSV for the scores that come with hanna and aut."),
    ] = None,
    dimension: Annotated[
        list[str] | None, typer.Option(help="Keep only this one; may be given again.")
    ] = None,
    json: JsonOption = False,
) -> None:
    r"""Turn a public set of rated texts into tidy ratings, which `evaluate` takes.

    The sets do not come with this package; if the file is missing, the error says where it is to be
    had, and under which licence.

    Examples:
        creativity-lens ratings --format hanna --file hanna_metric_scores_llm.csv \
            --out hanna.parquet --scores-out hanna-scores.csv

        creativity-lens ratings --format ttcw --file creativity_eval/Art_or_Artifice --out ttcw.csv
    """
    from creativity_lens.evaluation.rating_sets import read_rating_set
    from creativity_lens.evaluation.ratings import table_suffix

    table_suffix(out)
    check_writable(out, folder=False)
    if scores_out is not None:
        check_writable(scores_out, folder=False)
    found, scores = read_rating_set(format.value, file, dimensions=dimension or ())
    if scores_out is not None and scores is None:
        raise InputError(f"--scores-out: no scores come with the set {format.value}.")
    found.save(out)
    if scores_out is not None and scores is not None:
        names = ("text_id", *scores.columns)
        # A blank cell, not "nan", is how a CSV says that a score is not known.
        cells = scores.astype(object).where(scores.notna(), "")
        write_csv(scores_out, names, cells.itertuples(name=None))
    record = {
        "out": str(out),
        "ratings": len(found.frame),
        "texts": len(found.texts),
        "prompts": found.texts["prompt_id"].nunique(),
        "dimensions": list(found.dimensions),
        "groups": list(found.groups),
        "scores": [] if scores is None else list(scores.columns),
        "notes": list(found.notes),
    }
    if json:
        terminal.print_json(record)
        return
    for line in found.notes:
        terminal.note(line)
    terminal.summary(
        {
            "ratings": f"{record['ratings']} in {out}",
            "texts": f"{record['texts']} on {record['prompts']} prompts",
            "dimensions": ", ".join(found.dimensions),
            "groups": ", ".join(found.groups),
            "scores": "none" if scores is None else str(len(scores.columns)),
        }
    )
