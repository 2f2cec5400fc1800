"""Figures as files of their own, to be opened one by one or loaded and drawn again."""

import os
from collections.abc import Mapping
from pathlib import Path

import plotly.graph_objects as go
import plotly.io
from plotly.offline import get_plotlyjs

from creativity_lens.io import write_text

SCRIPT = "plotly.min.js"
"""Plotly's script, once for all figures of a folder."""


def write_figures(folder: str | os.PathLike[str], figures: Mapping[str, go.Figure]) -> list[Path]:
    """Write each figure as `NAME.html`, which needs no network, and as `NAME.json`.

    `plotly.io.read_json(path)` gives a figure back, to be styled or put into a paper. Figures of
    an earlier run that are not drawn any more are removed, so that a folder holds one run.

    Args:
        folder: made if it is not there.
        figures: by name; names are used as file names.

    Returns:
        The pages, in the order of the figures.

    Raises:
        InputError: the folder cannot be written to.
    """
    home = Path(folder)
    home.mkdir(parents=True, exist_ok=True)
    for old in (*home.glob("*.html"), *home.glob("*.json")):
        if old.stem not in figures:
            old.unlink()
    write_text(home / SCRIPT, get_plotlyjs())
    pages = []
    for name, figure in figures.items():
        write_text(home / f"{name}.json", plotly.io.to_json(figure))
        page = plotly.io.to_html(
            figure,
            include_plotlyjs="directory",
            div_id="figure",
            config={"displaylogo": False, "responsive": True},
        )
        write_text(home / f"{name}.html", page)
        pages.append(home / f"{name}.html")
    return pages
