"""One look for all figures: colours that colour-blind readers can tell apart (Okabe and Ito)."""

import html

import plotly.graph_objects as go

CREATIVE = "#D55E00"
UNCREATIVE = "#0072B2"
STEERED = "#009E73"
RIVAL = "#CC79A7"
NEUTRAL = "#56B4E9"
LEARNED = "#E69F00"
NULL = "#767676"
INK = "#222222"

# Blue below the middle, white at it, orange above.
DIVERGING = ((0.0, UNCREATIVE), (0.5, "#FFFFFF"), (1.0, CREATIVE))


def styled(figure: go.Figure, *, title: str, height: int = 420) -> go.Figure:
    """Apply the common layout; returns the same figure."""
    figure.update_layout(
        template="plotly_white",
        title={"text": title, "font": {"size": 16}, "y": 0.97, "yanchor": "top"},
        height=height,
        margin={"l": 64, "r": 24, "t": 84, "b": 56},
        font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
        legend={"orientation": "h", "yanchor": "top", "y": -0.18, "x": 0},
        hovermode="closest",
    )
    return figure


def transparent(colour: str, alpha: float = 0.18) -> str:
    """An `#rrggbb` colour as `rgba(...)`."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def plain(text: str, limit: int = 160) -> str:
    """Text for a hover label: Plotly reads some tags there, so they are escaped, and cut short."""
    return html.escape(text if len(text) <= limit else text[: limit - 1] + "…")
