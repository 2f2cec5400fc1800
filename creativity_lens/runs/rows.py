"""What is stored of a text and of an attempt, as values that SQLite and UTF-8 files can hold.

Half a surrogate pair, which no UTF-8 file can hold, becomes U+FFFD; a NUL character is kept. NaN is
stored as NULL and read as NaN; infinities are kept.
"""

import json
import math
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Attempt", "MetricRow", "Seconds", "TextRow", "metric_values", "text_values", "utf8"]


class TextRow(NamedTuple):
    """One generated text; `response_ids` are the token ids that the model gave."""

    cell_id: str
    prompt_id: str
    seed: int
    text: str
    finish_reason: str
    response_ids: Sequence[int]


class MetricRow(NamedTuple):
    """One number measured on one text; `read_layer` is None where no layer was read."""

    cell_id: str
    prompt_id: str
    seed: int
    metric: str
    read_layer: int | None
    value: float


class Seconds(NamedTuple):
    """Seconds spent on generating and on measuring."""

    generate: float
    measure: float


class Attempt(NamedTuple):
    """Work that has begun. One that is found when a run is gone on with was killed.

    Sizes are rows · longest row, in tokens.
    """

    batch_id: str
    rows: int
    """Texts that are made together: a whole batch, or a part of one."""
    size: int
    """Of these rows."""
    fits: int
    """The largest size that went through before, since the last orderly start; 0 if none did."""
    too_big: int | None
    """The smallest size that is known not to fit; None if none is."""


def text_values(row: TextRow) -> tuple[str, str, int, str, str, str]:
    """The row of table `texts`."""
    ids = json.dumps([int(i) for i in row.response_ids], separators=(",", ":"))
    reason = utf8(row.finish_reason)
    return row.cell_id, row.prompt_id, int(row.seed), utf8(row.text), reason, ids


def metric_values(row: MetricRow) -> tuple[str, str, int, str, int | None, float | None]:
    """The row of table `metrics`."""
    layer = None if row.read_layer is None else int(row.read_layer)
    value = None if math.isnan(row.value) else float(row.value)
    return row.cell_id, row.prompt_id, int(row.seed), row.metric, layer, value


def utf8(text: str) -> str:
    """Join surrogates that stand as pairs; put U+FFFD for one that stands alone."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
