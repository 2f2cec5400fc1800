"""Parts that every report has: the table of claims, and how a number is written."""

from collections.abc import Sequence

from creativity_lens.report.page import Section, Table
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


def interval_text(interval: Interval, unit: str = "") -> str:
    """An estimate with its interval and its unit; a third digit where it is small."""
    digits = 3 if abs(interval.estimate) < 0.2 else 2
    low, high = (f"{value:.{digits}f}" for value in (interval.low, interval.high))
    return f"{interval.estimate:.{digits}f} [{low}, {high}] {unit}".rstrip()
