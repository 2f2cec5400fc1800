"""Texts of a sweep side by side: the same prompts under a few cells that stand for the rest."""

from collections.abc import Mapping

import numpy as np
from pandas import DataFrame

from creativity_lens.plots.draw import rows_of
from creativity_lens.plots.sweep_cells import (
    RECOMMENDED,
    broken_cells,
    cell_numbers,
    opposite_of,
)
from creativity_lens.report.page import Table
from creativity_lens.studies.sweep_budgets import Budgets

UNSTEERED, OPPOSITE, TOO_STRONG = "unsteered", "opposite", "too strong"
INSTRUCTION = "instruction"


def roles_of(
    tables: Mapping[str, DataFrame], *, read_layer: int, split: str, budgets: Budgets
) -> dict[str, str]:
    """The cells that stand for the rest, by what they are.

    Of `unsteered`, `recommended`, `opposite`, `instruction` and `too strong`, those that
    were run. Too strong is the weakest cell beyond the recommended one, at its layer, that is
    broken or beyond a budget; or, where there is none, the steered cell with the most degenerate
    texts.
    """
    cells = tables.get("cells", DataFrame())
    recommended = tables.get("recommended", DataFrame())
    found: dict[str, str | None] = {
        UNSTEERED: _first(rows_of(cells, kind="unsteered")),
        RECOMMENDED: _first(recommended),
        OPPOSITE: opposite_of(cells, recommended),
        INSTRUCTION: _first(rows_of(cells, kind="instruction")),
        TOO_STRONG: _too_strong(tables, read_layer, split, budgets),
    }
    return {role: cell for role, cell in found.items() if cell is not None}


def shown_prompts(tables: Mapping[str, DataFrame], *, split: str, most: int = 4) -> list[str]:
    """Prompts from the one that the recommended cell changes least to the one it changes most.

    They are evenly spaced in rank, so that the reader is not shown the best alone. The first ones
    where nothing is recommended.
    """
    changes = tables.get("prompt_effects", DataFrame())
    chosen = _first(tables.get("recommended", DataFrame()))
    own = rows_of(changes, metric="score", cell_id=chosen)
    if own.empty:
        own = tables.get("prompts", DataFrame())
    else:
        own = own.sort_values("change", kind="stable")
    own = own if split == "all" else rows_of(own, split=split)
    if own.empty:
        return []
    places = np.unique(np.linspace(0, len(own) - 1, most).round().astype(int))
    return [str(name) for name in own["prompt_id"].iloc[places]]


def samples_table(
    tables: Mapping[str, DataFrame],
    roles: Mapping[str, str],
    prompt_ids: list[str],
    *,
    read_layer: int,
) -> Table | str:
    """The first answer to each prompt under each cell, with its own score and NLL.

    Args:
        tables: of the sweep.
        roles: what each cell is called here, to the cell.
        prompt_ids: of the prompts to show.
        read_layer: of the score.
    """
    texts = tables.get("texts", DataFrame())
    if texts.empty or not prompt_ids:
        return "No texts were kept, so none are shown."
    metrics = tables.get("metrics", DataFrame())
    score = rows_of(metrics, metric="score", read_layer=read_layer)
    nll = rows_of(metrics, metric="nll")
    prompts = tables.get("prompts", DataFrame())
    said = {} if prompts.empty else dict(zip(prompts["prompt_id"], prompts["prompt"], strict=True))
    rows = []
    for prompt_id in prompt_ids:
        shown = f"{prompt_id}: {said[prompt_id]}" if prompt_id in said else prompt_id
        for role, cell in roles.items():
            answers = rows_of(texts, cell_id=cell, prompt_id=prompt_id).sort_values("seed")
            if answers.empty:
                continue
            answer = answers.iloc[0]
            where = {"cell_id": cell, "prompt_id": prompt_id, "seed": answer["seed"]}
            rows.append(
                (
                    shown,
                    role if role == cell else f"{role} ({cell})",
                    _value(rows_of(score, **where), "+.3f"),
                    _value(rows_of(nll, **where), ".2f"),
                    f"{answer['text']}{' […]' if answer['finish_reason'] == 'length' else ''}",
                )
            )
            shown = ""
    if not rows:
        return "No texts were kept of the cells that are compared here."
    columns = ("prompt", "cell", f"score, layer {read_layer}", "NLL", "text")
    return Table(columns, tuple(rows), ("", "", "number", "number", "text"))


def _first(cells: DataFrame) -> str | None:
    return None if cells.empty else str(cells["cell_id"].iloc[0])


def _value(rows: DataFrame, spelled: str) -> str:
    values = [] if rows.empty else rows["value"].dropna().tolist()
    return f"{values[0]:{spelled}}" if values else "not known"


def _too_strong(
    tables: Mapping[str, DataFrame], read_layer: int, split: str, budgets: Budgets
) -> str | None:
    numbers = cell_numbers(
        tables.get("effects", DataFrame()),
        tables.get("cells", DataFrame()),
        read_layer=read_layer,
        split=split,
    )
    steered = rows_of(numbers, kind="steered")
    if steered.empty:
        return None
    steered = steered.assign(broken=broken_cells(steered, budgets))
    some = steered[steered["broken"] != ""]
    for best in tables.get("recommended", DataFrame()).to_dict("records"):
        same = {name: best[name] for name in ("mode", "direction", "unit", "layer")}
        beyond = rows_of(some, **same)
        beyond = beyond[beyond["strength"] * np.sign(best["strength"]) > abs(best["strength"])]
        if len(beyond):
            return _first(beyond.loc[[beyond["strength"].abs().idxmin()]])
    # The most degenerate one, and of those the one that costs most.
    return _first(some.sort_values(["degenerate", "cost"], ascending=False))
