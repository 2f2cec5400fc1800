"""The tables of a sweep's report; each is a sentence instead where there is nothing to show."""

from collections.abc import Hashable, Mapping
from typing import Any

from pandas import DataFrame, isna

from creativity_lens.plots.draw import rows_of
from creativity_lens.plots.sweep_cells import (
    layer_name,
    ranged_in,
    share_text,
    strength_text,
    unit_text,
)
from creativity_lens.plots.sweep_rivals import COSTS, RIVALS
from creativity_lens.report.page import Table

MEASURES = {
    "nll": "NLL under the unsteered model (nats a token)",
    "kl": "KL to the unsteered model (nats a token)",
    "degenerate": "degenerate texts (share)",
    "relevance": "relevance to the premise (cosine of embeddings)",
    "distinct_1": "distinct words (share)",
    "distinct_2": "distinct word pairs (share)",
    "repetition": "repetition",
    "compression_ratio": "compression ratio",
    "n_words": "length in words",
    "n_tokens": "length in tokens",
}
"""What is measured on a single text, in the order that it is shown."""
DIVERSITY = {
    "pooled_distinct_2": "distinct word pairs over all answers",
    "embedding_diversity": "1 less cosine of embeddings",
    "self_similarity_3": "shared word trigrams",
}
"""What is measured over the answers to one prompt, and with which name."""


def layers_table(layers: DataFrame) -> Table | str:
    """What each steered layer is good for, and why."""
    if layers.empty:
        return "There are no verdicts on layers."
    rows = tuple(
        (
            f"{row['mode']}, {row['direction']}",
            layer_name(row["layer"]),
            str(row["verdict"]),
            strength_text(row["best_strength"]),
            _number(row["best_change"], "+.3f"),
            _number(row["best_cost"], "+.2f"),
            str(row["reason"]),
        )
        for row in layers.to_dict("records")
    )
    columns = (
        *("steering", "layer", "verdict", "best strength within budget"),
        *("its change of the score", "its cost, NLL", "why"),
    )
    return Table(columns, rows, ("", "number", "verdict", "number", "number", "number", ""))


def monotonicity_table(monotonicity: DataFrame) -> Table | str:
    """Whether more strength means more score, prompt by prompt."""
    if monotonicity.empty:
        return "Whether the effect grows with the strength was not measured."
    rows = tuple(
        (
            f"{row['mode']}, {row['direction']}",
            layer_name(row["layer"]),
            ranged_in(row, "spearman", "+.2f"),
            share_text(row["wrong_way"]),
            str(row["n_strengths"]),
            str(row["n_prompts"]),
        )
        for row in monotonicity.to_dict("records")
    )
    columns = (
        *("steering", "layer", "correlation of strength and score"),
        *("prompts that go the wrong way", "strengths", "prompts"),
    )
    return Table(columns, rows, ("", "number", "number", "number", "number", "number"))


def matched_table(matched: DataFrame) -> Table | str:
    """The recommended steering beside each rival at equal cost."""
    if matched.empty:
        return "No rivals were run, so nothing is compared at equal cost."
    rows = tuple(
        (
            RIVALS.get(str(row["rival"]), (str(row["rival"]),))[0],
            COSTS.get(str(row["cost"]), str(row["cost"])),
            _number(row["at"], ".3g"),
            _number(row["steered_change"], "+.3f"),
            _number(row["rival_change"], "+.3f"),
            ranged_in(row, "difference"),
            _text(row["n_prompts"]),
            _text(row["note"]),
        )
        for row in matched.to_dict("records")
    )
    columns = ("rival", "matched on", "at", "steered", "rival", "difference", "prompts", "note")
    return Table(columns, rows, ("", "", *["number"] * 5, ""))


def necessity_table(necessity: DataFrame) -> Table | str:
    """What is lost of the instruction's effect when a direction is ablated under it."""
    if necessity.empty:
        return (
            "The direction was not ablated under the creative instruction, so whether it is "
            "needed is not known."
        )
    rows = tuple(
        (
            str(row["direction"]),
            layer_name(row["layer"]),
            _number(row["instructed_change"], "+.3f"),
            _number(row["remaining_change"], "+.3f"),
            ranged_in(row, "lost"),
            _share_lost(row),
            _number(row["nll_change"], "+.2f"),
            _text(row["n_prompts"]),
        )
        for row in necessity.to_dict("records")
    )
    columns = (
        *("ablated", "layer", "instruction", "remaining", "lost", "share lost"),
        *("change of NLL", "prompts"),
    )
    return Table(columns, rows, ("", *["number"] * 7))


def measures_table(effects: DataFrame, roles: Mapping[str, str], split: str) -> Table | str:
    """Each measure of the texts of some cells, with its change.

    Args:
        effects: table `effects`.
        roles: what each cell is called here, to the cell.
        split: the prompts.
    """
    on = rows_of(effects, split=split)
    if on.empty:
        return "The texts were not measured."
    reasons = sorted(name for name in on["metric"].unique() if name.startswith("degenerate_"))
    names = MEASURES | {name: name.replace("_", ": ", 1).replace("_", " ") for name in reasons}
    found = {
        name: {row["cell_id"]: row for row in rows_of(on, metric=name).to_dict("records")}
        for name in names
    }
    rows = tuple(
        (
            names[name],
            *(
                _measured(by_cell.get(cell), change=role != "unsteered")
                for role, cell in roles.items()
            ),
        )
        for name, by_cell in found.items()
        if any(cell in by_cell for cell in roles.values())
    )
    return Table(("", *roles), rows)


def diversity_table(effects: DataFrame, roles: Mapping[str, str], split: str) -> Table | str:
    """How much the answers to one prompt differ over seeds, in some cells.

    Args:
        effects: table `effects`.
        roles: what each cell is called here, to the cell.
        split: the prompts.
    """
    on = rows_of(effects, split=split)
    known = on if on.empty else on[on["metric"].isin(list(DIVERSITY))]
    if known.empty:
        return "There was one seed, so how much the answers to one prompt differ is not known."
    rows = []
    for role, cell in roles.items():
        by = {row["metric"]: row for row in rows_of(known, cell_id=cell).to_dict("records")}
        if by:
            change = role != "unsteered"
            rows.append((role, *(_measured(by.get(name), change=change) for name in DIVERSITY)))
    return Table(("", *DIVERSITY.values()), tuple(rows), ("", *["number"] * len(DIVERSITY)))


def steering_words(cell: Mapping[Hashable, Any]) -> str:
    """A cell in words: mode, direction, layer, strength and unit."""
    unit = unit_text(str(cell["unit"]))
    return (
        f"{cell['mode']}, {cell['direction']}, {layer_name(cell['layer'])}, strength "
        f"{strength_text(cell['strength'])}{f' ({unit})' if unit else ''}"
    )


def _measured(row: Mapping[Hashable, Any] | None, *, change: bool) -> str:
    if row is None:
        return "not measured"
    if isna(row["value"]):
        return "not known"
    value = f"{row['value']:.3g}"
    if not change:
        return value
    still = row["change"] == row["change_low"] == row["change_high"] == 0
    return f"{value} ({'no change' if still else ranged_in(row, 'change', '+.2g')})"


def _share_lost(row: Mapping[Hashable, Any]) -> str:
    return ranged_in(
        {f"share{end}": row[f"share{end or '_lost'}"] for end in ("", "_low", "_high")},
        "share",
        ".2f",
    )


def _number(value: float, spelled: str) -> str:
    return "not known" if isna(value) else f"{value:{spelled}}"


def _text(value: Any) -> str:
    return "" if isna(value) else str(value)
