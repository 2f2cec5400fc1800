"""A self-contained HTML page: no network, and generated text cannot do anything in it.

Every string goes through Jinja's autoescape; figures enter as JSON that Plotly escapes. Plotly's
script is embedded once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import plotly.graph_objects as go
import plotly.io
from markupsafe import Markup
from plotly.offline import get_plotlyjs


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure with the sentence that says how to read it."""

    figure: go.Figure
    caption: str


@dataclass(frozen=True)
class Table:
    """A table of plain text; `kinds` may give a CSS class to each column."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs, and what they talk about, in order."""

    title: str
    paragraphs: tuple[str, ...] = ()
    items: tuple[Figure | Table, ...] = ()


_environment = jinja2.Environment(
    loader=jinja2.PackageLoader("creativity_lens.report"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render_page(
    *, title: str, lead: Sequence[str], sections: Sequence[Section], footer: str
) -> str:
    """The whole page as one string of HTML.

    Args:
        title: the page's title.
        lead: opening paragraphs.
        sections: what follows, in order; each gets an entry in the table of contents.
        footer: the last line.
    """
    counter = iter(range(10_000))

    def draw(figure: go.Figure) -> Markup:
        # Ids are given, not random, so that the same results make the same page.
        drawn = plotly.io.to_html(
            figure,
            full_html=False,
            include_plotlyjs=False,
            div_id=f"figure-{next(counter)}",
            config={"displaylogo": False, "responsive": True},
        )
        return Markup(drawn)  # noqa: S704 (Plotly's own output, its strings JSON-escaped)

    template = _environment.get_template("page.html")
    context: dict[str, Any] = {
        "title": title,
        "lead": list(lead),
        "sections": list(sections),
        "footer": footer,
        "draw": draw,
        "is_figure": lambda item: isinstance(item, Figure),
        "plotly": Markup(get_plotlyjs()),  # noqa: S704
    }
    return template.render(context)
