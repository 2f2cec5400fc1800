"""What is in a direction besides its contrast, and whether the contrast worked.

Each figure takes a tidy table of a probe study and raises InputError where it has no rows.
"""

from itertools import cycle

import plotly.graph_objects as go
from pandas import DataFrame
from plotly.subplots import make_subplots

from creativity_lens.plots.draw import (
    AUROC_AXIS,
    draw_band,
    draw_curve,
    draw_forest,
    finished,
    names_in,
    needed,
    panels,
    rows_of,
)
from creativity_lens.plots.style import CREATIVE, INK, NULL, STEERED, UNCREATIVE, plain
from creativity_lens.studies.probe_parts import EVERYTHING

NESTED = -1
"""The value of `layer` in table `removal` where the layer was chosen within the folds."""
BEYOND = 1.5
"""A corrected cosine further out than this says that the noise is too large to tell."""
SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "star", "x", "triangle-down")
METHODS = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}


def cosines_figure(cosines: DataFrame, context: str) -> go.Figure:
    """Cosine of the direction with each concept's by layer, a panel for each concept.

    Args:
        cosines: table `cosines`. The grey area is where unrelated directions of the same
            covariance lie; the dotted lines, where directions that point anywhere lie.
        context: in which the texts were read.

    Raises:
        InputError: no rows of that context.
    """
    rows = needed(cosines, "cosines_figure", context=context)
    concepts = names_in(rows, "concept")
    columns = min(4, len(concepts))
    figure = panels([str(name) for name in concepts], y_title="cosine", columns=columns)
    reach = 0.0
    for i, concept in enumerate(concepts):
        where, first = {"row": i // columns + 1, "col": i % columns + 1}, i == 0
        found = rows_of(rows, concept=concept)
        layers, edge = found["layer"].tolist(), found["null_95"].to_numpy(float)
        draw_band(
            figure,
            layers,
            (-edge).tolist(),
            edge.tolist(),
            colour=NULL,
            alpha=0.22,
            name="95 % of unrelated directions, same covariance",
            legend=first,
            where=where,
        )
        for sign in (1, -1):
            figure.add_scatter(
                x=layers,
                y=(sign * found["isotropic_95"]).tolist(),
                mode="lines",
                line={"color": NULL, "dash": "dot", "width": 1},
                name="95 % of directions that point anywhere",
                legendgroup="isotropic",
                showlegend=first and sign > 0,
                hoverinfo="skip",
                **where,
            )
        corrected = found["corrected"].where(found["corrected"].astype(float).abs() <= BEYOND)
        figure.add_scatter(
            x=layers,
            y=corrected.tolist(),
            mode="lines",
            line={"color": STEERED, "width": 1.2},
            name="corrected for noise",
            legendgroup="corrected",
            showlegend=first,
            hovertemplate="layer %{x}: %{y:.2f} corrected<extra></extra>",
            **where,
        )
        draw_curve(
            figure, found, "cosine", name="cosine", colour=CREATIVE, legend=first, where=where
        )
        figure.add_hline(y=0, line={"color": INK, "width": 0.7}, **where)
        ends = found[["cosine_low", "cosine_high", "null_95"]].abs().max().max()
        reach = max(reach, float(ends), float(corrected.abs().max()) if corrected.any() else 0.0)
    n_rows = -(-len(concepts) // columns)
    for i in range(max(0, len(concepts) - columns), len(concepts)):  # the lowest of each column
        figure.update_xaxes(title_text="layer", row=i // columns + 1, col=i % columns + 1)
    figure.update_yaxes(range=[-1.08 * reach, 1.08 * reach])
    title = f"Does the direction point where another concept points? ({plain(context)})"
    return finished(figure, title=title, height=180 + 220 * n_rows, legend_rows=2)


def removal_figure(removal: DataFrame) -> go.Figure:
    """AUROC that is left when nuisances are removed from the texts.

    Args:
        removal: table `removal`. Left: each removed alone and all together, with the layer chosen
            within the folds; nothing removed is on top. Right: by layer.

    Raises:
        InputError: it has no rows with a nested layer.
    """
    nested = needed(removal, "removal_figure", layer=NESTED)
    # Sorted by kind, not by value: a stable sort keeps the table's order within each kind.
    order = {"nothing": 0, EVERYTHING: 2}
    nested = nested.sort_values("removed", key=lambda s: s.map(order).fillna(1), kind="stable")
    figure = make_subplots(
        rows=1,
        cols=2,
        subplot_titles=["removed, layer chosen within the folds", "by layer"],
        horizontal_spacing=0.1,
    )
    labels = [_removed(a, b) for a, b in zip(nested["removed"], nested["method"], strict=True)]
    together = [label for label in labels if label.startswith(EVERYTHING)]
    lines = {"nothing": INK} | dict(zip(together, cycle((UNCREATIVE, CREATIVE)), strict=False))
    colours = [lines.get(label, NULL) for label in labels]
    left = {"row": 1, "col": 1}
    draw_forest(figure, nested, "auroc", labels=labels, colours=colours, where=left)
    before = float(nested["auroc"].iloc[0])
    figure.add_vline(x=before, line={"color": INK, "dash": "dot", "width": 1}, **left)
    figure.add_vline(x=0.5, line={"color": INK, "width": 1}, **left)
    right = {"row": 1, "col": 2}
    by_layer = removal[removal["layer"] != NESTED]
    shown = by_layer[by_layer["removed"].isin(["nothing", EVERYTHING])]
    ways = shown[["removed", "method"]].drop_duplicates()
    for removed, method in ways.itertuples(index=False):
        draw_curve(
            figure,
            rows_of(shown, removed=removed, method=method),
            "auroc",
            name=_removed(removed, method),
            colour=lines.get(_removed(removed, method), NULL),
            where=right,
        )
    figure.add_hline(y=0.5, line={"color": INK, "width": 0.7}, **right)
    figure.update_xaxes(title_text=AUROC_AXIS, **left)
    figure.update_xaxes(title_text="layer", **right)
    figure.update_yaxes(title_text=AUROC_AXIS, **right)
    return finished(
        figure,
        title="Separability left when nuisances are removed",
        height=max(440, 180 + 30 * len(nested)),
    )


def _removed(name: str, method: str) -> str:
    return f"{name} ({method})" if name == EVERYTHING else name


def coordinates_figure(coordinates: DataFrame) -> go.Figure:
    """Two coordinates of each text, a panel for each method; no method has seen a label.

    Args:
        coordinates: table `coordinates`. Colour is the condition, symbol the domain.

    Raises:
        InputError: it has no rows.
    """
    rows = needed(coordinates, "coordinates_figure")
    methods = names_in(rows, "method")
    symbols = dict(zip(sorted(names_in(rows, "domain")), cycle(SYMBOLS), strict=False))
    colours = {"creative": CREATIVE, "uncreative": UNCREATIVE}
    figure = make_subplots(
        rows=1,
        cols=len(methods),
        subplot_titles=[METHODS.get(name, plain(name)) for name in methods],
        horizontal_spacing=0.09,
    )
    for column, method in enumerate(methods, start=1):
        where = {"row": 1, "col": column}
        here = rows_of(rows, method=method)
        for condition in sorted(names_in(rows, "condition")):
            found = rows_of(here, condition=condition)
            figure.add_scatter(
                x=found["x"].tolist(),
                y=found["y"].tolist(),
                mode="markers",
                marker={
                    "color": colours.get(condition, NULL),
                    "symbol": [symbols[name] for name in found["domain"]],
                    "size": 7,
                    "opacity": 0.75,
                },
                name=plain(condition),
                legendgroup=plain(condition),
                showlegend=column == 1,
                hovertext=[
                    f"{plain(text)}<br>{plain(domain)}"
                    for text, domain in zip(found["text_id"], found["domain"], strict=True)
                ],
                hoverinfo="text",
                **where,
            )
        shares = (float(here["explained_x"].iloc[0]), float(here["explained_y"].iloc[0]))
        figure.update_xaxes(title_text=_axis(1, shares[0]), **where)
        figure.update_yaxes(title_text=_axis(2, shares[1]), **where)
        if shares[0] != shares[0]:  # neither the axes nor their units mean anything
            figure.update_xaxes(showticklabels=False, **where)
            figure.update_yaxes(showticklabels=False, **where)
    for domain, symbol in symbols.items():
        figure.add_scatter(
            x=[None],
            y=[None],
            mode="markers",
            marker={"symbol": symbol, "color": NULL, "size": 8},
            name=plain(str(domain), 40),
            row=1,
            col=1,
        )
    layer, context = int(rows["layer"].iloc[0]), plain(str(rows["context"].iloc[0]))
    return finished(
        figure,
        title=f"Every text at layer {layer} ({context}), without labels",
        height=520,
        legend_rows=2,
    )


def _axis(number: int, share: float) -> str:
    if share != share:
        return "no unit"
    return f"component {number} ({share:.0%} of the variance)"


MEASURES = {
    "length": "length in tokens",
    "nll": "NLL (less likely)",
    "distinct_2": "different word pairs",
    "repetition_3": "repeated runs of three words",
    "compression_ratio": "compression ratio",
    "tfidf": "bag of words, held out",
    "judge": "the model's own blind choice",
}


def manipulation_figure(manipulation: DataFrame) -> go.Figure:
    """How well each measure alone tells the two sides of the pairs apart.

    Args:
        manipulation: table `manipulation`: AUROC of each measure and of a bag of words, and the
            share of pairs in which the model prefers the creative side, where it was asked.

    Raises:
        InputError: it has none of these.
    """
    wanted = manipulation["statistic"].isin(["auroc", "accuracy"])
    rows = needed(manipulation[wanted], "manipulation_figure").rename(
        columns={"low": "estimate_low", "high": "estimate_high"}
    )
    names = [str(name) for name in rows["measure"]]
    figure = go.Figure()
    draw_forest(
        figure,
        rows,
        "estimate",
        labels=[MEASURES.get(name, name) for name in names],
        colours=[{"tfidf": CREATIVE, "judge": STEERED}.get(name, UNCREATIVE) for name in names],
        notes=[str(text) for text in rows["reads_as"]],
    )
    figure.add_vline(x=0.5, line={"color": INK, "width": 1})
    figure.update_xaxes(
        title_text="probability that the creative side has more of it (0.5 = no difference)",
        range=[-0.03, 1.03],
    )
    return finished(
        figure, title="What sets the two sides of a pair apart", height=190 + 34 * len(rows)
    )
