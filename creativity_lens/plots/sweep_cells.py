"""What the figures of a sweep share: one row a cell, its names and colour, what is broken."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from pandas import DataFrame, isna
from plotly.colors import sample_colorscale

from creativity_lens.plots.draw import rows_of
from creativity_lens.plots.style import plain
from creativity_lens.studies.sweep_budgets import Budgets

DEGENERATE_SHARE = 0.25
"""The share of degenerate texts from which a cell counts as broken, whatever the budgets."""
RECOMMENDED = "recommended"

_ENDS = ("", "_low", "_high")


def cell_numbers(effects: DataFrame, cells: DataFrame, *, read_layer: int, split: str) -> DataFrame:
    """One row a cell that ran on a split: what it is, what it does and what that costs.

    Necessity cells are left out, because they are compared with the instruction.

    Args:
        effects: table `effects`.
        cells: table `cells`.
        read_layer: the layer whose score counts.
        split: the prompts.

    Returns:
        The columns of `cells` (`layer` as float, NaN for none) and `change`, `cost` (of NLL) and
        `kl`, each with `_low` and `_high`; `degenerate`, a share of texts, and
        `degenerate_rise`; `wrong_way`; `n_prompts`. Unsteered changes nothing and costs nothing.
    """
    if effects.empty or cells.empty:
        return DataFrame()
    on = rows_of(effects, split=split)
    score = rows_of(on, metric="score", read_layer=read_layer).set_index("cell_id")
    nll, kl, degenerate = (
        rows_of(on, metric=name).set_index("cell_id") for name in ("nll", "kl", "degenerate")
    )
    if score.empty:
        return DataFrame()
    ran = cells["cell_id"].isin(score.index) | (cells["kind"] == "unsteered")
    found = cells[ran & (cells["kind"] != "necessity")]
    found = found.assign(layer=found["layer"].astype("float64")).set_index("cell_id")
    for end in _ENDS:
        found[f"change{end}"] = score[f"change{end}"]
        found[f"cost{end}"] = nll[f"change{end}"]
        # The divergence itself is asked for, not its change; unsteered, it is 0 or not known.
        found[f"kl{end}"] = kl["value"] + kl[f"change{end}"] - kl["change"]
    found["degenerate"] = degenerate["value"]
    found["degenerate_rise"] = degenerate["change"]
    found["wrong_way"] = score["wrong_way"]
    found["n_prompts"] = score["n_prompts"]
    nothing = [f"{name}{end}" for name in ("change", "cost", "kl") for end in _ENDS]
    found.loc[found["kind"] == "unsteered", nothing] = 0.0
    return found.reset_index()


def broken_cells(
    numbers: DataFrame, budgets: Budgets, degenerate_share: float = DEGENERATE_SHARE
) -> list[str]:
    """Why each row of `cell_numbers` is no use: `degenerate`, beyond a `budget`, or nothing."""
    found = []
    for cell in numbers.to_dict("records"):
        # What is not known is not beyond anything.
        rises = [0.0 if isna(cell[name]) else cell[name] for name in ("cost", "degenerate_rise")]
        if cell["degenerate"] >= degenerate_share:
            found.append("degenerate")
        else:
            found.append("" if budgets.allow(*rises) else "budget")
    return found


def ways_in(cells: DataFrame) -> list[tuple[str, str]]:
    """The steered (mode, direction) of a sweep, in the order they come."""
    if cells.empty:
        return []
    pairs = rows_of(cells, kind="steered")[["mode", "direction"]].drop_duplicates()
    return [(str(mode), str(direction)) for mode, direction in pairs.to_numpy()]


def layers_in(numbers: DataFrame) -> list[float]:
    """The layers of cells in order; NaN, last, for all of them at once."""
    return sorted(numbers["layer"].unique(), key=lambda layer: (isna(layer), layer))


def with_unsteered(curve: DataFrame, numbers: DataFrame) -> DataFrame:
    """Cells of a mode with a sign, and the unsteered one as their strength 0."""
    if 0.0 in set(curve["strength"]):
        return curve
    start = rows_of(numbers, kind="unsteered")
    at_zero = numbers["strength"].mask(numbers["kind"] == "unsteered", 0.0)
    return numbers.assign(strength=at_zero).loc[[*curve.index, *start.index]]


def chosen_ids(recommended: DataFrame | None) -> set[str]:
    """The recommended cell's name, if there is one."""
    if recommended is None or recommended.empty:
        return set()
    return {str(name) for name in recommended["cell_id"]}


def opposite_of(cells: DataFrame, recommended: DataFrame) -> str | None:
    """The cell that is steered as far as the recommended one, but backwards.

    It is a steered cell or a control, as the sweep's own strengths hold it or not.
    """
    if recommended.empty or cells.empty:
        return None
    (chosen,) = recommended.head(1).to_dict("records")
    same = rows_of(cells, **{name: chosen[name] for name in ("mode", "direction", "unit")})
    layers = same["layer"].astype("float64")
    at = layers.isna() if isna(chosen["layer"]) else layers == chosen["layer"]
    back = same[at & np.isclose(same["strength"].astype(float), -chosen["strength"])]
    # At strength 0 a cell would be its own opposite.
    found = [name for name in back["cell_id"] if name != chosen["cell_id"]]
    return str(found[0]) if found else None


def layer_name(layer: Any) -> str:
    """A layer in words; cells without one act on all."""
    return "all layers" if isna(layer) else f"layer {int(layer)}"


def layer_colours(layers: Sequence[float]) -> dict[float, str]:
    """A colour for each layer, dark for early ones, that greyscale and colour-blind eyes order."""
    at = np.linspace(0, 0.9, max(len(layers), 2))[: len(layers)]
    return dict(zip(layers, sample_colorscale("Viridis", at.tolist()), strict=True))


def strength_text(strength: float) -> str:
    """A strength with its sign, as short as it is exact to four digits."""
    return "none" if strength != strength else f"{strength:+.4g}"


def unit_text(unit: str) -> str:
    """What a strength is a multiple of."""
    names = {"relative": "share of the residual norm", "absolute": "residual units"}
    return names.get(unit, unit)


def units_text(cells: DataFrame) -> str:
    """The units of some cells' strengths, escaped."""
    return plain(" or ".join(unit_text(str(unit)) for unit in cells["unit"].unique()), 60)


def ranged(value: float, low: float, high: float, spelled: str = "+.3f") -> str:
    """A number with its interval, as far as they are known."""
    if value != value:
        return "not known"
    if low != low or high != high:
        return f"{value:{spelled}}"
    return f"{value:{spelled}} [{low:{spelled}}, {high:{spelled}}]"


def ranged_in(row: Mapping[Hashable, Any], name: str, spelled: str = "+.3f") -> str:
    """`ranged` for columns `name`, `name_low` and `name_high` of a row."""
    value, low, high = (row[f"{name}{end}"] for end in _ENDS)
    return ranged(value, low, high, spelled)


def share_text(share: float) -> str:
    """A share in per cent."""
    return "not known" if share != share else f"{share:.0%}"


def cell_note(cell: Mapping[Hashable, Any]) -> str:
    """All that is known of a cell, for a hover label; the lines are joined by `<br>`."""
    lines = [
        f"change of the score {ranged_in(cell, 'change')}",
        f"change of NLL {ranged_in(cell, 'cost', '+.2f')} nats a token",
        f"KL {ranged_in(cell, 'kl', '.2f')} nats a token",
        f"degenerate texts {share_text(cell['degenerate'])}",
    ]
    if not isna(cell["wrong_way"]):
        lines.append(f"prompts that move the wrong way {share_text(cell['wrong_way'])}")
    if not isna(cell["n_prompts"]):
        lines.append(f"{int(cell['n_prompts'])} prompts")
    return "<br>".join(lines)
