"""What the figures of agreement with people share: which pairs are shown, and their panels.

A figure has a panel for each rated dimension and group of raters; groups are never pooled. Where
that would be too many, a menu chooses the dimension and the groups stand side by side.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import plotly.graph_objects as go
from pandas import DataFrame

from creativity_lens.plots.draw import finished, names_in, panels, rows_of
from creativity_lens.plots.style import (
    CREATIVE,
    INK,
    LEARNED,
    NEUTRAL,
    RIVAL,
    STEERED,
    UNCREATIVE,
    plain,
)
from creativity_lens.studies.evaluate_rows import LENGTHS
from creativity_lens.studies.evaluate_scores import PAPER

CHANCE = 0.5
ACCURACY_AXIS = "pairwise accuracy (0.5 = chance)"
CEILING_COLOUR = STEERED
FEWEST_PAIRS = 10
"""Fewer decided pairs than this are not worth a panel of their own if wider pairs are at hand."""
MOST_PANELS = 8
MOST_COLUMNS = 4
STRICTEST_FIRST = ("prompt+author", "prompt")
SCOPES = {
    "prompt": "pairs within a prompt",
    "prompt+author": "pairs within a prompt and author type",
}
KINDS = {
    "score": ("the score and its variants", CREATIVE),
    "fitted": ("fitted to ratings of other prompts", LEARNED),
    "baseline": ("cheap baselines", RIVAL),
    "direction": ("directions of something else", NEUTRAL),
    "judge": ("judges", UNCREATIVE),
    "given": ("scores brought along", INK),
}
"""What each kind of score is called, and its colour."""


def shown_scope(agreement: DataFrame) -> str:
    """The scope that figures show: the strictest in which most comparisons can say something.

    That is, at least half of all dimensions by groups have `FEWEST_PAIRS` decided pairs; otherwise
    `prompt`.
    """
    for scope in STRICTEST_FIRST[:-1]:
        rows = rows_of(agreement, scope=scope)
        if rows.empty:
            continue
        most = rows.groupby(["dimension", "rater_group"])["n_pairs"].max()
        if 2 * int((most >= FEWEST_PAIRS).sum()) >= len(most):
            return scope
    return STRICTEST_FIRST[-1]


def at_layer(agreement: DataFrame, layer: int | None) -> DataFrame:
    """Scores without a layer, and those at one; sorted by kind, else as they come."""
    if agreement.empty:
        return agreement
    layers = agreement["layer"].astype("Float64")
    kept = layers.isna() if layer is None else layers.isna() | (layers == layer).fillna(value=False)
    rows = agreement[kept.astype(bool)]
    order = {kind: place for place, kind in enumerate(KINDS)}
    places = rows["kind"].map(lambda kind: order.get(kind, len(order)))
    return rows.loc[places.sort_values(kind="stable").index]


def shown_score(agreement: DataFrame, layer: int | None) -> str | None:
    """The score that is followed through the report.

    The paper's; without it the one that was brought along if it is alone, else length, else the
    first that is known.
    """
    rows = at_layer(agreement, layer)
    rows = rows[rows["pairwise_accuracy"].notna()] if len(rows) else rows
    if rows.empty:
        return None
    names: list[str] = names_in(rows, "score")
    given = [name for name in names_in(rows_of(rows, kind="given"), "score") if name not in LENGTHS]
    wanted = (PAPER, *(given if len(given) == 1 else ()), *LENGTHS)
    return next((name for name in wanted if name in names), names[0])


def one_row(table: DataFrame, **where: object) -> dict[str, Any] | None:
    """The first row with these values, or None."""
    found = records(rows_of(table, **where).head(1))
    return found[0] if found else None


def records(table: DataFrame) -> list[dict[str, Any]]:
    """The rows as plain mappings."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def number(value: Any, spelled: str = ".2f") -> str:
    """A number that may not be known."""
    return "not known" if value is None or value != value else format(float(value), spelled)


def p_text(row: dict[str, Any]) -> str:
    """The p-value of a row, and that corrected over the dimensions."""
    return f"p = {number(row.get('p_value'), '.2g')}, Holm {number(row.get('p_holm'), '.2g')}"


class Panel(NamedTuple):
    """One panel: what it shows, and where it stands."""

    dimension: str
    group: str
    where: dict[str, int]
    fresh: set[str]
    """What the legend lists already, on this page; add to it."""


@dataclass(frozen=True)
class _Page:
    dimensions: tuple[str, ...]
    cells: tuple[tuple[str, str], ...]
    titles: tuple[str, ...]


class Facets:
    """The panels of one figure.

    Args:
        rows: with columns `dimension` and `rater_group`; `n_pairs`, if there, is told in titles.
        y_title: of the vertical axis.
        one_page: dimensions stand beside each other if they are few; False always uses the menu.
    """

    def __init__(self, rows: DataFrame, *, y_title: str, one_page: bool) -> None:
        dimensions, groups = names_in(rows, "dimension"), names_in(rows, "rater_group")
        self.dimensions, self.groups = dimensions, groups
        few = one_page and len(dimensions) * len(groups) <= MOST_PANELS
        chosen = [dimensions] if few else [[name] for name in dimensions]
        self._pages = [_page([(d, g) for g in groups for d in own], own, rows) for own in chosen]
        n_columns = len(dimensions) if few and len(groups) > 1 else len(self._pages[0].cells)
        n_columns = min(n_columns, MOST_COLUMNS)
        if few and len(dimensions) > MOST_COLUMNS:  # then there is one group: two even lines
            n_columns = math.ceil(len(dimensions) / 2)
        self.n_columns = n_columns
        self.n_rows = -(-len(self._pages[0].cells) // n_columns)
        self.figure = panels(self._pages[0].titles, y_title=y_title, columns=n_columns)
        self._page_of: list[int] = []

    def __iter__(self) -> Iterator[Panel]:
        """Every panel of every page, to be drawn into `figure` before the next is asked for."""
        for number_, page in enumerate(self._pages):
            fresh: set[str] = set()
            for place, (dimension, group) in enumerate(page.cells):
                row, column = divmod(place, self.n_columns)
                yield Panel(dimension, group, {"row": row + 1, "col": column + 1}, fresh)
                self._page_of += [number_] * (len(self.figure.data) - len(self._page_of))

    def everywhere(self) -> Iterator[dict[str, int]]:
        """Each place once, for what all pages share."""
        for place in range(len(self._pages[0].cells)):
            row, column = divmod(place, self.n_columns)
            yield {"row": row + 1, "col": column + 1}

    def finished(self, *, title: str, height: int, legend_rows: int = 1) -> go.Figure:
        """Apply the common layout, and the menu if there are several pages."""
        finished(self.figure, title=title, height=height, legend_rows=legend_rows)
        # A share of the height would push it into the axes of a tall figure.
        self.figure.update_layout(title={"y": 1 - 14 / self.figure.layout.height})
        if len(self._pages) > 1:
            self._add_menu()
        return self.figure

    def _add_menu(self) -> None:
        shown = [trace.visible for trace in self.figure.data]
        others = [note.to_plotly_json() for note in self.figure.layout.annotations]
        buttons = []
        for number_, page in enumerate(self._pages):
            visible: list[Any] = [
                (True if own is None else own) if at == number_ else False
                for own, at in zip(shown, self._page_of, strict=True)
            ]
            notes = [
                note | {"text": plain(page.titles[i], 60)} if i < len(page.titles) else note
                for i, note in enumerate(others)
            ]
            buttons.append(
                {
                    "label": plain(page.dimensions[0], 40),
                    "method": "update",
                    "args": [{"visible": visible}, {"annotations": notes}],
                }
            )
        for trace, at in zip(self.figure.data, self._page_of, strict=True):
            if at:
                trace.visible = False
        self.figure.update_layout(
            updatemenus=[
                {
                    "buttons": buttons,
                    "x": 1,
                    "xanchor": "right",
                    "y": 1,
                    "yanchor": "bottom",
                    "pad": {"b": 22},
                    "showactive": True,
                }
            ]
        )


def _page(cells: list[tuple[str, str]], dimensions: list[str], rows: DataFrame) -> _Page:
    titles = []
    for dimension, group in cells:
        name = f"{dimension}, {group}"
        own = rows_of(rows, dimension=dimension, rater_group=group)
        if own.empty:
            titles.append(f"{name}: not rated")
        elif "n_pairs" in own:
            titles.append(f"{name} ({int(own['n_pairs'].max())} pairs)")
        else:
            titles.append(name)
    return _Page(tuple(dimensions), tuple(cells), tuple(titles))
