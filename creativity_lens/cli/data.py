"""`creativity-lens data …`: check corpora, bring in outside data, write the negated side."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from creativity_lens.cli import terminal
from creativity_lens.cli.common import (
    BatchSize,
    DeviceOption,
    DtypeOption,
    JsonOption,
    SeedOption,
    load,
)
from creativity_lens.errors import InputError
from creativity_lens.io import check_writable, write_jsonl
from creativity_lens.models.packaged import DEFAULT_MODEL

if TYPE_CHECKING:
    from creativity_lens.prompts.checks import CorpusReport
    from creativity_lens.prompts.pairs import ContrastPair

app = typer.Typer(
    name="data",
    help="Check corpora, read premises from elsewhere, write negated prompts.",
    no_args_is_help=True,
)


class Source(StrEnum):
    """Kinds of outside data."""

    writingprompts = "writingprompts"
    csv = "csv"
    jsonl = "jsonl"


PairsOut = Annotated[Path, typer.Option(help="Pairs file to write (JSONL).")]
Limit = Annotated[int | None, typer.Option(min=1, help="Stop after so many premises.")]


@app.command()
def check(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Pairs or nuisance files (JSONL); all that are shipped if left out."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check corpora: near-duplicates, lengths, negations, names, Unicode, splits and so on.

    Exits with 1 if a rule is broken; each breach is a line: file, id, rule, what it is.

    Examples:
        creativity-lens data check

        creativity-lens data check mine.jsonl --json
    """
    from creativity_lens.prompts.checks import check_corpus, read_corpus
    from creativity_lens.prompts.data import shipped_corpora

    chosen = (
        {str(path): path for path in files}
        if files
        else {f"{name}.jsonl": path for name, path in shipped_corpora().items()}
    )
    report = check_corpus({name: read_corpus(path) for name, path in chosen.items()})
    if json:
        terminal.print_json(report.to_dict())
    else:
        _show(report)
    if not report.clean:
        raise typer.Exit(1)


@app.command("import")
def import_(
    source: Annotated[Source, typer.Option("--from", help="What the data is.")],
    out: PairsOut,
    input: Annotated[
        Path | None,
        typer.Option(
            help="File, or the folder of the WritingPrompts files; without it, writingprompts come "
            "from the Hugging Face Hub."
        ),
    ] = None,
    premise_column: Annotated[
        str, typer.Option("--premise-column", help="Column that holds the premises.")
    ] = "prompt",
    id_column: Annotated[
        str | None, typer.Option("--id-column", help="Column that holds ids; numbered if left out.")
    ] = None,
    domain: Annotated[str, typer.Option(help="Domain of the pairs.")] = "stories",
    limit: Limit = None,
    json: JsonOption = False,
) -> None:
    r"""Turn premises from elsewhere into pairs for the instruction contrast.

    Both sides of such a pair are the bare premise; `data negate` writes another one.

    Examples:
        creativity-lens data import --from csv --input prompts.csv --premise-column text \
            --out pairs.jsonl

        creativity-lens data import --from writingprompts --input writingPrompts --limit 500 \
            --out pairs.jsonl
    """
    from creativity_lens.prompts.readers import (
        load_writing_prompts,
        read_premises,
        read_writing_prompts,
    )

    check_writable(out, folder=False)
    if source is Source.writingprompts:
        given = {
            "--premise-column": premise_column != "prompt",
            "--id-column": id_column is not None,
            "--domain": domain != "stories",
        }
        for option in (name for name, was_given in given.items() if was_given):
            raise InputError(f"{option} is for --from csv and jsonl, not writingprompts.")
        pairs = (
            read_writing_prompts(input, limit=limit)
            if input is not None
            else load_writing_prompts(limit=limit)
        )
    elif input is None:
        raise InputError(f"--from {source.value} needs --input FILE.")
    else:
        pairs = read_premises(
            input,
            kind="tsv" if input.suffix.lower() == ".tsv" else source.value,
            premise=premise_column,
            id=id_column,
            domain=domain,
            limit=limit,
        )
    _write(out, pairs)
    record = {"out": str(out), "pairs": len(pairs)}
    if json:
        terminal.print_json(record)
    else:
        terminal.summary({"pairs": str(out), "premises": str(len(pairs))})


@app.command()
def negate(
    prompts: Annotated[
        Path, typer.Option(help="JSONL with id and prompt, or pairs (the creative side is taken).")
    ],
    out: PairsOut,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help=f"Who writes. [default: {DEFAULT_MODEL}]"),
    ] = None,
    endpoint: Annotated[
        str | None,
        typer.Option(help="Base address of an OpenAI-compatible endpoint that writes instead."),
    ] = None,
    endpoint_model: Annotated[
        str | None, typer.Option("--endpoint-model", help="The endpoint's name of its model.")
    ] = None,
    key_variable: Annotated[
        str, typer.Option("--key-variable", help="Environment variable with the endpoint's key.")
    ] = "OPENAI_API_KEY",
    instruction: Annotated[
        str | None, typer.Option(help="Other instruction; {prompt} stands for the prompt.")
    ] = None,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", help="Most tokens in a negation.")
    ] = 128,
    limit: Limit = None,
    seed: SeedOption = 0,
    batch_size: BatchSize = 32,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
    json: JsonOption = False,
) -> None:
    r"""Let a model negate creative prompts: the contrast of the paper (arXiv 2412.06060).

    Greedy. Answers that are empty, unchanged or cut off are dropped and counted. The instruction,
    the model and the seed are recorded in `source`.

    Examples:
        creativity-lens data negate --prompts pairs.jsonl --out negated.jsonl

        creativity-lens data negate --prompts prompts.jsonl --out negated.jsonl \
            --endpoint http://localhost:8000/v1 --endpoint-model llama-3-8b
    """
    if endpoint is None and endpoint_model is not None:
        raise InputError("--endpoint-model goes with --endpoint.")
    if endpoint is not None and endpoint_model is None:
        raise InputError("--endpoint needs --endpoint-model NAME.")
    if endpoint is not None and model is not None:
        raise InputError("give either --model or --endpoint, and not both.")
    check_writable(out, folder=False)
    from creativity_lens.generation.endpoint import ChatEndpoint
    from creativity_lens.io import read_jsonl
    from creativity_lens.prompts.pairs import read_pairs
    from creativity_lens.prompts.readers import read_premises
    from creativity_lens.studies.negated import NEGATE, negate_premises

    _, first = read_jsonl(prompts)[0]
    pairs = (
        read_pairs(prompts)
        if "creative" in first
        else read_premises(prompts, kind="jsonl", premise="prompt", id="id")
    )[:limit]
    if endpoint is not None and endpoint_model is not None:
        writer = ChatEndpoint(endpoint, endpoint_model, key_variable)
        writer.check()
    else:
        writer = load(model or DEFAULT_MODEL, device, dtype)
    with terminal.progress_bar("negating", len(pairs), "prompts") as advance:
        found = negate_premises(
            writer,
            pairs,
            instruction=instruction or NEGATE,
            max_new_tokens=max_new_tokens,
            seed=seed,
            batch_size=batch_size,
            on_progress=advance,
        )
    _write(out, found.pairs)
    if json:
        terminal.print_json(
            {
                "out": str(out),
                "pairs": len(found.pairs),
                "empty": list(found.empty),
                "unchanged": list(found.unchanged),
                "unfinished": list(found.unfinished),
            }
        )
        return
    terminal.summary(
        {
            "pairs": str(out),
            "negated": str(len(found.pairs)),
            "dropped": f"{found.n_dropped} ({len(found.empty)} empty, {len(found.unchanged)} "
            f"unchanged, {len(found.unfinished)} cut off)",
        }
    )


def _write(out: Path, pairs: "list[ContrastPair] | tuple[ContrastPair, ...]") -> None:
    write_jsonl(out, (pair.to_dict() for pair in pairs))


def _show(report: "CorpusReport") -> None:
    for breach in report.breaches:
        terminal.result(str(breach))
    width = max(len(file.name) for file in report.files)
    terminal.result(
        f"{'corpus':<{width}}  rows  train dev test  types  topic  longer  negations  words alone"
    )
    for file in report.files:
        train, dev, test = file.splits.values()
        first, second = file.negations
        leak = f"{file.leak.estimate:.2f}" if file.leak else "too few"
        terminal.result(
            f"{file.name:<{width}}  {file.rows:>4}  {train:>5} {dev:>3} {test:>4}  "
            f"{file.type_token_ratio:>5.2f}  {file.topic_cosine:>5.3f}  {file.first_longer:>6.0%}  "
            f"{first:.2f} {second:.2f}  {leak:>11}"
        )
    terminal.result(
        "types: different words over words, in 500. topic: mean cosine of two premises. longer, "
        "negations: first side against second. words alone: AUROC of a bag of words that tells the "
        "sides apart."
    )
    verdict = "clean" if report.clean else f"breaches: {len(report.breaches)}"
    rows = sum(file.rows for file in report.files)
    terminal.result(f"{verdict} ({rows} rows in {len(report.files)} corpora)")
