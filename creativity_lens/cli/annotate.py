"""`creativity-lens annotate …`: a blind pairwise study, its answers, and how large it must be."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from creativity_lens.cli import terminal
from creativity_lens.cli.common import JsonOption, SeedOption
from creativity_lens.io import atomic_path, check_writable, write_json

if TYPE_CHECKING:
    from pandas import DataFrame

    from creativity_lens.evaluation.annotation import Study
    from creativity_lens.evaluation.annotation_tables import StudyAnswers

app = typer.Typer(
    name="annotate",
    help="Ask people which of two texts is more creative: make the pages, read the answers.",
    no_args_is_help=True,
)

_FEW_PROMPTS = 10
# A hundredth: any text that more raters chose than the other, of up to a hundred raters.
_MIN_GAP = 0.01
# Fewer have no 2.5th percentile to speak of.
_FEWEST_DRAWS = 100
Draws = Annotated[
    int, typer.Option("--draws", min=_FEWEST_DRAWS, help="Bootstrap draws over prompts.")
]


@app.command()
def make(
    a: Annotated[Path, typer.Option("--a", help="First set: JSONL, CSV or a sweep's Parquet.")],
    b: Annotated[Path, typer.Option("--b", help="Second set.")],
    out: Annotated[Path, typer.Option(help="Folder for pages/ and key.json.")],
    cell_a: Annotated[
        str | None, typer.Option("--cell-a", help="Take this cell of a sweep's texts.")
    ] = None,
    cell_b: Annotated[
        str | None, typer.Option("--cell-b", help="The same for the second set.")
    ] = None,
    name_a: Annotated[
        str | None,
        typer.Option("--name-a", help="What results call the set. [default: cell or file name]"),
    ] = None,
    name_b: Annotated[
        str | None, typer.Option("--name-b", help="The same for the second set.")
    ] = None,
    pairs: Annotated[
        int | None,
        typer.Option(help="Pairs. [default: as many as there are without using a text twice]"),
    ] = None,
    forms: Annotated[
        int, typer.Option(help="Pages; 2, 4, … mirror the sides of the one before.")
    ] = 1,
    pairs_per_form: Annotated[
        int | None, typer.Option("--pairs-per-form", help="[default: all pairs on each page]")
    ] = None,
    checks: Annotated[int, typer.Option(help="Attention checks on each page.")] = 3,
    repeats: Annotated[
        int, typer.Option(help="Pairs of a page that come again with the sides swapped.")
    ] = 0,
    ties: Annotated[bool, typer.Option(help="Whether a tie may be chosen.")] = True,
    quality: Annotated[str, typer.Option(help="Which text is more …?")] = "creative",
    question: Annotated[
        str | None, typer.Option(help="Other words for the question. [default: by --quality]")
    ] = None,
    dimension: Annotated[str, typer.Option(help="What the ratings are ratings of.")] = "creativity",
    group: Annotated[
        list[str] | None,
        typer.Option(help="A rater group to choose from, such as expert; repeat it."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Makes the same study again from the same texts; as secret as the key, which "
            "holds it. [default: a random one]",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    r"""Make the pages of a blind study of two sets of texts on the same prompts.

    Send files of pages/ to raters; each opens one in a browser, without a network, and sends back
    the JSON file that it downloads. Keep key.json: without it the answers cannot be read.

    Examples:
        creativity-lens annotate make --a plain.jsonl --b steered.jsonl --out study --forms 2

        creativity-lens annotate make --a sweep/texts.parquet --cell-a unsteered \
            --b sweep/texts.parquet --cell-b add/creativity/L8/+0.3 --out study
    """
    from creativity_lens.evaluation.study_design import make_study
    from creativity_lens.evaluation.study_texts import read_generated
    from creativity_lens.report.annotation_page import write_study

    check_writable(out, folder=True)
    study = make_study(
        read_generated(a, cell=cell_a),
        read_generated(b, cell=cell_b),
        names=(name_a or cell_a or a.stem, name_b or cell_b or b.stem),
        n_pairs=pairs,
        forms=forms,
        pairs_per_form=pairs_per_form,
        checks=checks,
        repeats=repeats,
        ties=ties,
        quality=quality,
        question=question,
        dimension=dimension,
        groups=group or (),
        seed=seed,
    )
    pages = write_study(study, out)
    for text in study.notes:
        terminal.note(text)
    if json:
        terminal.print_json(
            {
                "study": study.study_id,
                "key": str(out / "key.json"),
                "pages": [str(page) for page in pages],
                "pairs": len(study.pairs),
                "notes": list(study.notes),
            }
        )
        return
    terminal.summary(
        {
            "pages to send": ", ".join(str(page) for page in pages),
            "key to keep": str(out / "key.json"),
            "pairs": f"{len(study.pairs)} on {len({p.prompt_id for p in study.pairs})} prompts",
            "items a page": str(len(study.forms[0])),
        }
    )


@app.command()
def read(
    exports: Annotated[list[Path], typer.Argument(help="The JSON files that raters sent back.")],
    key: Annotated[Path, typer.Option(help="key.json of the study.")],
    out: Annotated[Path, typer.Option(help="Folder for the tables.")],
    max_failed: Annotated[
        int, typer.Option("--max-failed", min=0, help="Attention checks a rater may fail.")
    ] = 0,
    keep_failed: Annotated[
        bool, typer.Option("--keep-failed", help="Count raters who fail more than that, too.")
    ] = False,
    draws: Draws = 2000,
    seed: SeedOption = 0,
    json: JsonOption = False,
) -> None:
    """Read raters' answers: ratings, pairs, raters, strengths, and the share each set wins.

    Writes ratings.csv (tidy, for `evaluate`), pairs.csv, raters.csv, bradley_terry.csv and
    summary.json to --out. Ratings are shares of won comparisons, from 0 to 1: `evaluate` needs
    --min-gap 0.01 for them, as its default of 1 keeps only texts that win or lose everything.

    Examples:
        creativity-lens annotate read --key study/key.json --out answers answers-*.json

        creativity-lens evaluate --ratings answers/ratings.csv --min-gap 0.01 --out agreement
    """
    from creativity_lens.evaluation.annotation import Study
    from creativity_lens.evaluation.annotation_exports import read_exports
    from creativity_lens.evaluation.annotation_tables import tidy_answers
    from creativity_lens.evaluation.bradley_terry import bradley_terry_table

    check_writable(out, folder=True)
    study = Study.load(key)
    found, notes = read_exports(study, exports)
    answers = tidy_answers(
        study, found, max_failed=max_failed, keep_failed=keep_failed, notes=notes
    )
    strengths = bradley_terry_table(answers.pairs, n_draws=draws, seed=seed)
    summary = _summary(study, answers, strengths, draws, seed)
    said = list(summary["notes"])
    command = (
        f"creativity-lens evaluate --ratings {shlex.quote(str(out / 'ratings.csv'))} "
        f"--min-gap {_MIN_GAP} --out agreement"
    )
    if len(answers.ratings):
        summary["notes"].append(
            "ratings are shares from 0 to 1, of which the default --min-gap of evaluate keeps only "
            f"unanimous pairs; use: {command}"
        )
    tables = {
        "ratings": answers.ratings,
        "pairs": answers.pairs,
        "raters": answers.raters,
        "bradley_terry": strengths,
    }
    for name, table in tables.items():
        with atomic_path(out / f"{name}.csv") as path:
            table.to_csv(path, index=False, encoding="utf-8")
    write_json(out / "summary.json", summary)
    if json:
        terminal.print_json({"out": str(out), **summary})
        return
    for text in said:
        terminal.note(text)
    if summary["groups"]:
        terminal.print_table(
            ("raters", f"share won by {study.names[1]}", "95 % interval", "choices", "agreement"),
            [
                (
                    f"{row['rater_group']} ({row['raters']})",
                    f"{row['share']:.3f}",
                    f"{row['low']:.3f} to {row['high']:.3f}"
                    if row["low"] == row["low"]
                    else "not known",
                    str(row["choices"]),
                    f"{row['agreement']:.2f}" if row["agreement"] == row["agreement"] else "none",
                )
                for row in summary["groups"]
            ],
        )
    told = {"tables": str(out), "exports": str(len(found))}
    terminal.summary({**told, "to go on": command} if len(answers.ratings) else told)


@app.command()
def size(
    width: Annotated[float, typer.Option(help="Wanted width of the interval, from end to end.")],
    share: Annotated[float, typer.Option(help="Expected share of wins; 0.5 is the worst.")] = 0.5,
    raters_per_pair: Annotated[
        int | None,
        typer.Option("--raters-per-pair", help="[default: a table for 1 to 5 and 10]"),
    ] = None,
    raters: Annotated[
        int | None, typer.Option(help="Raters in all. [default: each judges every pair]")
    ] = None,
    pairs_per_prompt: Annotated[int, typer.Option("--pairs-per-prompt")] = 1,
    pair_icc: Annotated[
        float, typer.Option("--pair-icc", help="Correlation of two raters on the same pair.")
    ] = 0.3,
    agreement: Annotated[
        float | None, typer.Option(help="How often two raters choose alike; instead of --pair-icc.")
    ] = None,
    prompt_icc: Annotated[
        float, typer.Option("--prompt-icc", help="Correlation of pairs on the same prompt.")
    ] = 0.05,
    rater_icc: Annotated[
        float,
        typer.Option(
            "--rater-icc", help="Correlation of a rater's choices; 0 asks about these raters only."
        ),
    ] = 0.0,
    json: JsonOption = False,
) -> None:
    """How many pairs and raters a wanted 95 % interval of the preference share needs.

    Examples:
        creativity-lens annotate size --width 0.1

        creativity-lens annotate size --width 0.2 --agreement 0.7 --rater-icc 0.05 --raters 20
    """
    from creativity_lens.errors import InputError
    from creativity_lens.evaluation.study_size import study_size

    rows = []
    refused: InputError | None = None
    for number in (raters_per_pair,) if raters_per_pair is not None else (1, 2, 3, 4, 5, 10):
        try:
            rows.append(
                study_size(
                    width,
                    share=share,
                    raters_per_pair=number,
                    raters=raters,
                    pairs_per_prompt=pairs_per_prompt,
                    pair_icc=pair_icc,
                    agreement=agreement,
                    prompt_icc=prompt_icc,
                    rater_icc=rater_icc,
                )
            )
        except InputError as error:  # with fewer raters than wanted, other rows may still do
            refused = error
    if not rows and refused is not None:
        raise refused
    if json:
        terminal.print_json([row._asdict() for row in rows])
        return
    terminal.print_table(
        ("raters a pair", "raters", "pairs", "prompts", "pairs a rater", "choices", "width"),
        [
            (
                *(str(row.raters_per_pair), str(row.raters), str(row.n_pairs), str(row.n_prompts)),
                *(str(row.pairs_per_rater), str(row.n_choices), f"{row.width:.3f}"),
            )
            for row in rows
        ],
    )


def _summary(
    study: "Study", answers: "StudyAnswers", strengths: "DataFrame", draws: int, seed: int
) -> dict[str, Any]:
    """The share that the second set wins, by rater group, and what to know about the raters."""
    from creativity_lens.evaluation.annotation_tables import (
        counted,
        preference,
        rater_agreement,
        same_on_all_prompts,
    )

    used = counted(answers.pairs)
    notes = list(answers.notes)
    groups = []
    for group, own in used.groupby("rater_group", sort=False):
        share = preference(own, study.names[1], n_draws=draws, seed=seed)
        prompts = own["prompt_id"].nunique()
        if prompts < _FEW_PROMPTS:
            notes.append(
                f"{group}: {prompts} prompt{'' if prompts == 1 else 's'} only; the interval is "
                "about these and too narrow for others."
            )
        exact = prompts > 1 and same_on_all_prompts(own, study.names[1])
        if exact:
            notes.append(
                f"{group}: the share is the same on each of the {prompts} prompts, so drawing them "
                "again shows no spread; the interval is Clopper and Pearson's with prompts as the "
                "unit."
            )
        sets = strengths[(strengths["rater_group"] == group) & (strengths["level"] == "system")]
        if sets["separated"].any():
            notes.append(
                f"{group}: one set was always chosen, so Bradley-Terry strengths have no finite "
                "estimate: those in the table are set by its penalty alone (marked separated)."
            )
        groups.append(
            {
                "rater_group": group,
                "raters": int(own["rater_id"].nunique()),
                "choices": len(own),
                "pairs": int(own["pair_id"].nunique()),
                "prompts": int(prompts),
                "system": study.names[1],
                "against": study.names[0],
                "share": share.estimate,
                "low": share.low,
                "high": share.high,
                "interval": "exact" if exact else "bootstrap" if prompts > 1 else None,
                "tie_share": float((own["chosen"] == "tie").mean()),
                "left_share": float((own.loc[own["chosen"] != "tie", "chosen"] == "left").mean()),
                "agreement": rater_agreement(own),
            }
        )
    return {
        "study": study.study_id,
        "question": study.question,
        "dimension": study.dimension,
        "groups": groups,
        "notes": [*study.notes, *notes],
    }
