"""Parts that every report has: claims, warnings, sections with gaps, what was run, numbers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from pandas import DataFrame

from creativity_lens.report.page import Figure, Section, Table
from creativity_lens.stats import Interval
from creativity_lens.studies.claims import Claim


def claims_section(claims: Sequence[Claim]) -> Section:
    """What can be claimed: each claim beside its null, its best rival, its verdict and why."""
    rows = tuple(
        (
            claim.statement,
            interval_text(claim.estimate, claim.unit),
            claim.null,
            claim.rival,
            claim.verdict,
            claim.reason,
        )
        for claim in claims
    )
    columns = ("claim", "estimate [95 % interval]", "null", "best cheap rival", "verdict", "why")
    return Section(
        "What can be claimed",
        items=(Table(columns, rows, ("", "", "", "", "verdict", "")),),
    )


def warnings_section(warnings: Sequence[str], *, title: str = "Read this first") -> Section:
    """What fixed rules found to be wrong with a study."""
    return Section(
        title,
        ("These were found by fixed rules. Each may explain the numbers below by itself.",),
        (Table(("warning",), tuple((text,) for text in warnings), ("verdict",)),),
    )


def no_warning(warnings: Sequence[str]) -> tuple[str, ...]:
    """What a lead says where there are no warnings."""
    if warnings:
        return ()
    return ("No rule gave a warning. That is not yet a proof that the contrast is sound.",)


def section(
    title: str, paragraphs: Sequence[str], items: Iterable[Figure | Table | str]
) -> Section:
    """A section; an item that is a sentence says why something is left out."""
    found = list(items)
    return Section(
        title,
        (*paragraphs, *(item for item in found if isinstance(item, str))),
        tuple(item for item in found if not isinstance(item, str)),
    )


def figure_or(
    figures: Mapping[str, go.Figure], name: str, caption: str, *, without: str
) -> Figure | str:
    """A figure with its caption, or the sentence that says why there is none."""
    return Figure(figures[name], caption) if name in figures else without


def run_section(
    command: str,
    settings: Iterable[tuple[str, Any]],
    seconds: Mapping[str, float],
    tables: Mapping[str, DataFrame],
    described: Mapping[str, str],
) -> Section:
    """What was run: settings and times; and the files of tables.

    Args:
        command: how the study was started.
        settings: names and values, in order.
        seconds: what each part took.
        tables: the study's.
        described: what each table holds.
    """
    rows = (
        ("command", command),
        (
            "layer convention",
            "layer l is blocks.{l}.hook_resid_post, from 0 (Hugging Face: hidden_states[l+1])",
        ),
        *((name, said(value)) for name, value in settings),
        ("time", ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items())),
    )
    files = tuple(
        (name, str(len(table)), described.get(name, "")) for name, table in tables.items()
    )
    return Section(
        "What was run",
        (
            "Every number and figure above can be drawn again from the tables, which are saved as "
            "NAME.parquet and NAME.csv.",
        ),
        (
            Table(("", ""), rows, ("", "code")),
            Table(("table", "rows", "what it holds"), files, ("code", "number", "")),
        ),
    )


def said(value: Any) -> str:
    """A setting as one line of text."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {said(inner)}" for name, inner in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(said(inner) for inner in value) or "none"
    return "not set" if value is None else str(value)


def number_text(estimate: float, low: float, high: float) -> str:
    """An estimate with its interval, as far as they are known."""
    if estimate != estimate:
        return "not known"
    if low != low or high != high:
        return f"{estimate:.3g}"
    return interval_text(Interval(float(estimate), float(low), float(high)))


def interval_text(interval: Interval, unit: str = "") -> str:
    """An estimate with its interval and its unit; a third digit where it is small."""
    digits = 3 if abs(interval.estimate) < 0.2 else 2
    low, high = (f"{value:.{digits}f}" for value in (interval.low, interval.high))
    return f"{interval.estimate:.{digits}f} [{low}, {high}] {unit}".rstrip()
