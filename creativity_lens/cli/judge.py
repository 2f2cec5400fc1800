"""`creativity-lens judge`: what a model says of texts when it is asked."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from creativity_lens import __version__
from creativity_lens.cli import terminal
from creativity_lens.cli.common import (
    BatchSize,
    DeviceOption,
    DtypeOption,
    JsonOption,
    SeedOption,
    load,
)
from creativity_lens.cli.judge_texts import read_texts
from creativity_lens.cli.judge_work import Chosen, EndpointJudge, Judge, LocalJudge, Rated
from creativity_lens.errors import InputError
from creativity_lens.io import check_writable, write_csv, write_json
from creativity_lens.models.packaged import DEFAULT_MODEL

if TYPE_CHECKING:
    from creativity_lens.scoring.score import Text

CACHE = "answers.sqlite"
_RETRIES = 6
"""A run of thousands of requests meets a busy server sooner or later."""


def judge(
    texts: Annotated[
        Path,
        typer.Option(
            help="Tidy ratings (.csv, .parquet; nobody's rating is looked at), or JSONL with id, "
            "text and, if known, prompt and prompt_id."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for ratings.csv, pairs.csv, judge.json.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Packaged name, Hugging Face id or local folder; with --endpoint, the endpoint's "
            f"name of it. [default: {DEFAULT_MODEL}]",
        ),
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="Base address of an OpenAI-compatible endpoint to ask.")
    ] = None,
    pairs: Annotated[
        int, typer.Option(min=0, help="Let it choose between the texts of so many pairs.")
    ] = 0,
    rate: Annotated[
        bool, typer.Option("--rate/--no-rate", help="Let it rate each text from 1 to 9.")
    ] = True,
    quality: Annotated[str, typer.Option(help="The adjective that it is asked about.")] = (
        "creative"
    ),
    name: Annotated[
        str | None, typer.Option(help="Its name in the tables. [default: judge_MODEL]")
    ] = None,
    concurrency: Annotated[
        int, typer.Option(min=1, help="Most requests to the endpoint at a time.")
    ] = 4,
    price_in: Annotated[
        float | None, typer.Option("--price-in", help="Price of a million prompt tokens.")
    ] = None,
    price_out: Annotated[
        float | None, typer.Option("--price-out", help="Price of a million tokens of answers.")
    ] = None,
    key_variable: Annotated[
        str, typer.Option("--key-variable", help="Environment variable with the endpoint's key.")
    ] = "OPENAI_API_KEY",
    cache: Annotated[
        Path | None,
        typer.Option(help=f"File that keeps the endpoint's answers. [default: OUT/{CACHE}]"),
    ] = None,
    max_answer_tokens: Annotated[
        int,
        typer.Option(
            "--max-answer-tokens",
            min=1,
            help="Most tokens in an endpoint's answer; a model that thinks first needs thousands.",
        ),
    ] = 16,
    max_tokens: Annotated[
        int | None,
        typer.Option("--max-tokens", help="Show a local model the first so many tokens of a text."),
    ] = None,
    seed: SeedOption = 0,
    batch_size: BatchSize = 16,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "float32",
    json: JsonOption = False,
) -> None:
    r"""Ask a model to rate texts, and to choose between two of them in both orders.

    A model in this process is read by its probabilities; one behind an endpoint too, where the
    server tells them. Answers of an endpoint are kept: the same command goes on where it was
    stopped, and asks nothing twice. `evaluate --scores` takes ratings.csv.

    Examples:
        creativity-lens judge --texts ratings.csv --out judged --pairs 200

        creativity-lens judge --texts ratings.csv --out frontier --pairs 200 \
            --endpoint https://api.openai.com/v1 --model NAME --price-in 2.5 --price-out 10
    """
    _check_options(
        rate=rate,
        pairs=pairs,
        endpoint=endpoint,
        model=model,
        prices=(price_in, price_out),
        local={"--max-tokens": max_tokens is not None},
        remote={"--cache": cache is not None, "--price-in": price_in is not None},
    )
    prices = None if price_in is None or price_out is None else (price_in, price_out)
    check_writable(out, folder=True)
    from creativity_lens.evaluation.judge_prompts import check_quality
    from creativity_lens.evaluation.pair_choice import draw_pairs
    from creativity_lens.evaluation.pairwise_judge import JudgedPair
    from creativity_lens.evaluation.rating_files import slug

    check_quality(quality)
    found = read_texts(texts)
    items, prompt_ids = found.texts, found.prompt_ids
    if found.n_blank:
        terminal.note(f"{found.n_blank} texts are blank and are not judged.")
    places = (
        draw_pairs(prompt_ids, [item.text for item in items], pairs, seed=seed) if pairs else []
    )
    if len(places) < pairs:
        terminal.note(f"there are only {len(places)} pairs of different texts on one prompt.")
    asked = [
        # Where two texts answer other words, those would tell them apart.
        JudgedPair(
            f"{items[a].id!r}, {items[b].id!r}",
            items[a].prompt if items[a].prompt == items[b].prompt else None,
            items[a].text,
            items[b].text,
        )
        for a, b in places
    ]
    who: Judge
    host = None
    if endpoint is not None and model is not None:
        from creativity_lens.evaluation.judge_asking import AnswerSettings
        from creativity_lens.generation.endpoint import ChatEndpoint

        remote_model = ChatEndpoint(endpoint, model, key_variable, max_retries=_RETRIES)
        host = remote_model.host
        who = EndpointJudge(
            remote_model,
            AnswerSettings(max_tokens=max_answer_tokens, seed=seed),
            out / CACHE if cache is None else cache,
            concurrency,
        )
    else:
        lens = load(model or DEFAULT_MODEL, device, dtype)
        who = LocalJudge(lens, seed, max_tokens, batch_size)
    called = model or DEFAULT_MODEL
    column = name or f"judge_{slug(called.rstrip('/').rsplit('/', 1)[-1])}"
    rated = chosen = None
    if rate:
        with terminal.progress_bar("rating", len(items), "texts") as advance:
            rated = who.rate(items, column, quality, advance)
    if asked:
        with terminal.progress_bar("choosing", 2 * len(asked), "answers") as advance:
            chosen = who.choose(asked, quality, advance)
    record = {
        "judge": column,
        "model": called,
        "endpoint": host,
        "quality": quality,
        "seed": seed,
        "texts": len(items),
        "texts_with_prompt": sum(item.prompt is not None for item in items),
        "blank_texts": found.n_blank,
        "rating": None if rated is None else rated.record,
        "pairs": None if chosen is None else chosen.record,
        "usage": who.usage(prices),
        "settings": who.settings(),
        "version": __version__,
    }
    if rated is not None:
        _write_ratings(out / "ratings.csv", items, rated)
    if chosen is not None:
        _write_pairs(out / "pairs.csv", items, prompt_ids, places, chosen)
    write_json(out / "judge.json", record)
    if json:
        terminal.print_json(record)
    else:
        _show(out, record)


def _check_options(
    *,
    rate: bool,
    pairs: int,
    endpoint: str | None,
    model: str | None,
    prices: tuple[float | None, float | None],
    local: dict[str, bool],
    remote: dict[str, bool],
) -> None:
    if not rate and not pairs:
        raise InputError("--no-rate leaves nothing to do without --pairs N.")
    if endpoint is not None and model is None:
        raise InputError("--endpoint needs --model NAME, as the endpoint calls it.")
    for option in (name for name, given in (local if endpoint else remote).items() if given):
        side = "a local model" if endpoint else "--endpoint"
        raise InputError(f"{option} goes with {side}.")
    if (prices[0] is None) != (prices[1] is None):
        raise InputError("give both --price-in and --price-out, or neither.")
    if any(price is not None and not 0 <= price < math.inf for price in prices):
        raise InputError("a price is a number of 0 or more.")


def _cell(value: float) -> float | str:
    """A blank, not "nan", is how a CSV says that a number is not known."""
    return "" if math.isnan(value) else float(value)


def _write_ratings(path: Path, texts: "Sequence[Text]", rated: Rated) -> None:
    values = zip(*(column.tolist() for column in rated.columns.values()), strict=True)
    rows = [(text.id, *map(_cell, row)) for text, row in zip(texts, values, strict=True)]
    write_csv(path, ("text_id", *rated.columns), rows)


def _write_pairs(
    path: Path,
    texts: "Sequence[Text]",
    prompt_ids: Sequence[str],
    places: Sequence[tuple[int, int]],
    chosen: Chosen,
) -> None:
    columns = (
        *("text_a", "text_b", "prompt_id"),
        *("first_order", "second_order", "preference", "consistent"),
    )
    found = chosen.found
    rows = [
        (
            *(texts[a].id, texts[b].id, prompt_ids[a]),
            *(_cell(first), _cell(second), _cell(preference), str(bool(consistent)).lower()),
        )
        for (a, b), (first, second), preference, consistent in zip(
            places, chosen.orders.tolist(), found.preference, found.consistent, strict=True
        )
    ]
    write_csv(path, columns, rows)


def _show(out: Path, record: dict[str, Any]) -> None:
    lines = {"judge": record["judge"]}
    rating, pairs, usage = record["rating"], record["pairs"], record["usage"]
    if rating is not None:
        mean = (
            "no rating at all"
            if rating["mean"] is None
            else (f"mean {rating['mean']:.2f}, spread {rating['sd']:.2f}")
        )
        mass = "" if rating["mass"] is None else f"; {rating['mass']:.0%} on the digits"
        lines["ratings"] = f"{record['texts']} in {out / 'ratings.csv'} ({mean}{mass})"
    if pairs is not None:
        same = "no pair was answered in both orders"
        if math.isfinite(pairs["consistency"]):
            bias = f"position bias {pairs['position_bias']:+.2f}"
            same = f"{pairs['consistency']:.0%} the same in both orders; {bias}"
        lines["choices"] = f"{pairs['n']} pairs in {out / 'pairs.csv'} ({same})"
    if usage is not None:
        lines["asked"] = (
            f"{usage['requests']} requests, {usage['cached']} from the cache; "
            f"{usage['prompt_tokens']} tokens in, {usage['completion_tokens']} out"
        )
        if usage["price_in_per_million"] is not None:
            now = _cost(usage["cost"], usage["uncounted"])
            before = _cost(usage["cost_of_cached"], usage["cached_uncounted"])
            lines["cost"] = f"{now} now, {before} before"
    terminal.summary(lines)


def _cost(cost: float | None, uncounted: int) -> str:
    if cost is None:
        return f"not known ({uncounted} answers without a count of tokens)"
    return f"{cost:.4f}"
