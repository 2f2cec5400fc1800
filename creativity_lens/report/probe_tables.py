"""The tables of a probe report; each is a sentence instead where there is nothing to show."""

import json
from collections.abc import Hashable, Mapping
from typing import Any

from pandas import DataFrame

from creativity_lens.plots.direction_content import MEASURES
from creativity_lens.report.page import Table
from creativity_lens.report.parts import number_text

NAMES = MEASURES | {
    "cut_at_limit": "cut at the token limit",
    "identical_pairs": "same text on both sides",
}
STATISTICS = {
    "auroc": "AUROC",
    "position_bias": "bias to the first place",
    "consistency": "same choice in both orders",
    "labels_mass": "probability on the two labels",
}


def measures_tables(table: DataFrame) -> list[Table | str]:
    """Both sides of the pairs by each measure; and what is said of the pairs as a whole."""
    if table.empty:
        return ["There are no measures of the two sides."]
    both, whole = [], []
    for name in table["measure"].drop_duplicates():
        rows = table[table["measure"] == name].to_dict("records")
        by = {row["statistic"]: row for row in rows}
        shown = NAMES.get(str(name), str(name))
        if "difference" in by:
            values = [_row_number(by[s]) for s in ("creative", "uncreative", "difference", "auroc")]
            both.append((shown, *values, str(rows[0]["n_pairs"]), str(rows[0]["reads_as"])))
        else:
            whole += [
                (shown, STATISTICS.get(said, said), _row_number(row), str(row["n_pairs"]))
                for said, row in by.items()
            ]
    return [
        Table(
            ("", "creative", "uncreative", "difference", "AUROC", "pairs", "a large value means"),
            tuple(both),
            ("", "number", "number", "number", "number", "number", ""),
        ),
        Table(
            ("", "of", "value", "pairs"),
            tuple(whole),
            ("", "", "number", "number"),
        ),
    ]


def selected_table(table: DataFrame) -> Table | str:
    """Each probe with its layer chosen within the folds."""
    if table.empty:
        return "There is no probe with its layer chosen within the folds."
    rows = tuple(
        (
            str(row["context"]),
            str(row["probe"]),
            str(row["layers"]),
            number_text(*(row[f"auroc{end}"] for end in ("", "_low", "_high"))),
            number_text(*(row[f"accuracy{end}"] for end in ("", "_low", "_high"))),
            "not run" if row["p_value"] != row["p_value"] else f"{row['p_value']:.3f}",
            str(row["best_rival"]),
            number_text(*(row[f"advantage{end}"] for end in ("", "_low", "_high"))),
            "yes" if row["readable"] else "no",
        )
        for row in table.to_dict("records")
    )
    columns = (
        *("context", "probe", "layer chosen by each fold", "AUROC", "accuracy", "p"),
        *("best rival", "less best rival", "readable"),
    )
    kinds = ("", "", "", "number", "number", "number", "", "number", "verdict")
    return Table(columns, rows, kinds)


def lens_table(table: DataFrame) -> Table | str:
    """The tokens at both ends of the direction at each layer that was read."""
    if table.empty:
        return "The logit lens could not be used, so the direction's tokens are not listed."
    rows = tuple(
        (
            str(at),
            str(end),
            ", ".join(_quoted(token) for token in found.sort_values("rank")["token"]),
        )
        for (at, end), found in table.groupby(["layer", "end"], sort=True)
    )
    columns = ("lens: layer", "end", "tokens it points to, the nearest first")
    return Table(columns, rows, ("number", "", "text"))


def tokens_table(table: DataFrame, layer: int) -> Table | str:
    """The tokens that score highest and lowest at a layer."""
    if table.empty:
        return "No texts were read token by token."
    rows = tuple(
        (
            str(row["end"]),
            _quoted(row["token"]),
            f"{row['cosine']:+.3f}",
            str(row["n_texts"]),
        )
        for row in table.to_dict("records")
    )
    columns = (f"token, layer {layer}: end", "token", "mean cosine", "in texts")
    return Table(columns, rows, ("", "code", "number", "number"))


def texts_table(table: DataFrame, layer: int) -> Table | str:
    """The texts that score highest and lowest at a layer."""
    if table.empty:
        return "No texts were ranked."
    rows = tuple(
        (
            str(row["end"]),
            f"{row['score']:+.3g}",
            str(row["condition"]),
            str(row["text_id"]),
            str(row["text"]),
        )
        for row in table.to_dict("records")
    )
    columns = (f"text, layer {layer}: end", "held-out score", "asked to be", "text id", "text")
    return Table(columns, rows, ("", "number", "", "", "text"))


def _quoted(token: object) -> str:
    """A token in quotes, so that its spaces and line breaks can be seen."""
    return json.dumps(str(token), ensure_ascii=False)


def _row_number(row: Mapping[Hashable, Any]) -> str:
    return number_text(row["estimate"], row["low"], row["high"])
