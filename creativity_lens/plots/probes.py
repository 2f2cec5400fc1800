"""Where a contrast can be read: probes, rivals and nulls by layer.

Each figure takes the tidy tables of a probe study, so it can be drawn again from the saved files.
A figure whose table has no rows raises InputError; `probe_figures` leaves such figures out.
"""

from itertools import cycle

import plotly.graph_objects as go
from pandas import DataFrame

from creativity_lens.plots.draw import (
    AUROC_AXIS,
    CONTEXT_COLOURS,
    DASHES,
    draw_band,
    draw_curve,
    finished,
    names_in,
    needed,
    panels,
    rows_of,
)
from creativity_lens.plots.layers import LAYER_AXIS
from creativity_lens.plots.style import (
    CREATIVE,
    INK,
    NEUTRAL,
    NULL,
    RIVAL,
    STEERED,
    UNCREATIVE,
    plain,
)
from creativity_lens.probes.nulls import WITHIN_CLASS
from creativity_lens.probes.separability import DIFFERENCE_OF_MEANS
from creativity_lens.studies.probe_parts import LABEL_SWAPS

PROBE_COLOURS = {
    DIFFERENCE_OF_MEANS: CREATIVE,
    "logistic": UNCREATIVE,
    "pca": STEERED,
    "rbf": NEUTRAL,
}
# Four bands would hide each other; the rest keep their intervals in the hover label.
BANDED = (DIFFERENCE_OF_MEANS, "logistic")


def readability_figure(curves: DataFrame, rivals: DataFrame, nulls: DataFrame) -> go.Figure:
    """AUROC of every probe by layer, with rivals and nulls, a panel for each context.

    Args:
        curves: table `curves`. Layers where `readable` is true are marked at the foot of a panel
            in the probe's colour.
        rivals: table `rivals`; those of the difference of means are drawn, each with its interval
            at the right edge.
        nulls: table `nulls`; of it the random directions of the within-class covariance (grey
            band) and the largest value over layers with swapped labels (grey line).

    Raises:
        InputError: `curves` has no rows.
    """
    rows = needed(curves, "readability_figure")
    contexts = names_in(rows, "context")
    probes = names_in(rows, "probe")
    figure = panels(contexts, y_title=AUROC_AXIS)
    foot = min(0.4, float(rows[["auroc", "auroc_low"]].min().min())) - 0.03
    marked = False
    for column, context in enumerate(contexts, start=1):
        where, first = {"row": 1, "col": column}, column == 1
        here = rows_of(rows, context=context)
        _nulls_behind(figure, rows_of(nulls, context=context), where, legend=first)
        edge = (int(here["layer"].min()), int(here["layer"].max()))
        faced = rows_of(rivals, context=context, probe=DIFFERENCE_OF_MEANS)
        _rivals(figure, faced, edge, where, legend=first)
        for i, probe in enumerate(probes):
            found = rows_of(here, probe=probe)
            colour = PROBE_COLOURS.get(probe, NULL)
            draw_curve(
                figure,
                found,
                "auroc",
                name=probe,
                colour=colour,
                alpha=0.16 if probe in BANDED else 0.0,
                legend=first,
                notes=[f", p = {p:.3f}" if p == p else "" for p in found["p_value"]],
                where=where,
            )
            good = found[found["readable"].astype(bool)]["layer"].tolist()
            figure.add_scatter(
                x=good,
                y=[foot - 0.022 * i] * len(good),
                mode="markers",
                marker={"symbol": "square", "size": 6, "color": colour},
                name="readable here (in the probe's colour)",
                legendrank=1003,
                legendgroup="readable",
                showlegend=bool(good) and not marked,
                hovertemplate=f"layer %{{x}}: readable<extra>{plain(probe)}</extra>",
                **where,
            )
            marked |= bool(good)
        figure.add_hline(y=0.5, line={"color": INK, "width": 0.7}, **where)
    figure.update_xaxes(title_text=LAYER_AXIS if len(contexts) == 1 else "layer")
    figure.update_yaxes(range=[foot - 0.022 * len(probes) - 0.01, 1.02])
    return finished(
        figure,
        title="Where the contrast can be read, held out by premise",
        height=540,
        legend_rows=4,
    )


def _nulls_behind(
    figure: go.Figure, nulls: DataFrame, where: dict[str, int], *, legend: bool
) -> None:
    band = rows_of(nulls, null=WITHIN_CLASS)
    if not band.empty:
        draw_band(
            figure,
            band["layer"].tolist(),
            [0.5] * len(band),
            band["auroc_95"].tolist(),
            name=f"95 % of {WITHIN_CLASS}",
            colour=NULL,
            alpha=0.22,
            legend=legend,
            where=where,
        )
    _swaps(figure, nulls, where, legend=legend)


def _swaps(figure: go.Figure, nulls: DataFrame, where: dict[str, int], *, legend: bool) -> None:
    swaps = rows_of(nulls, null=LABEL_SWAPS)
    if swaps.empty:
        return
    value = float(swaps["largest_95"].iloc[0])
    figure.add_scatter(
        x=[int(swaps["layer"].min()), int(swaps["layer"].max())],
        y=[value, value],
        mode="lines",
        line={"color": NULL, "width": 1.5},
        name="95 % of the largest over layers, labels swapped",
        legendgroup="swaps",
        legendrank=1002,
        showlegend=legend,
        hovertemplate=f"labels swapped, 95 % of the largest: {value:.2f}<extra></extra>",
        **where,
    )


def _rivals(
    figure: go.Figure,
    rivals: DataFrame,
    edge: tuple[int, int],
    where: dict[str, int],
    *,
    legend: bool,
) -> None:
    """Dashed lines; the interval of each stands right of the last layer, side by side."""
    step = 0.03 * max(edge[1] - edge[0], 1)
    for i, (dash, row) in enumerate(zip(cycle(DASHES), rivals.to_dict("records"), strict=False)):
        name = plain(str(row["rival"]))
        value, low, high = (float(row[f"auroc{end}"]) for end in ("", "_low", "_high"))
        figure.add_scatter(
            x=[edge[0], edge[1] + step * (i + 1)],
            y=[value, value],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [0, high - value],
                "arrayminus": [0, value - low],
                "thickness": 1,
                "width": 3,
            },
            mode="lines",
            line={"color": RIVAL, "dash": dash, "width": 1.5},
            name=f"rival: {name}",
            legendgroup=f"rival: {name}",
            legendrank=1001,
            showlegend=legend,
            hovertemplate=f"{name}: {value:.2f} [{low:.2f}, {high:.2f}]<extra>rival</extra>",
            **where,
        )


def advantage_figure(curves: DataFrame) -> go.Figure:
    """Probe less its best rival by layer with the paired interval, a panel for each context.

    Args:
        curves: table `curves`.

    Raises:
        InputError: it has no rows.
    """
    rows = needed(curves, "advantage_figure")
    contexts = names_in(rows, "context")
    figure = panels(contexts, y_title="AUROC less that of the best rival")
    for column, context in enumerate(contexts, start=1):
        where = {"row": 1, "col": column}
        for probe in names_in(rows, "probe"):
            found = rows_of(rows, context=context, probe=probe)
            draw_curve(
                figure,
                found,
                "advantage",
                name=probe,
                colour=PROBE_COLOURS.get(probe, NULL),
                alpha=0.13,
                legend=column == 1,
                notes=[f" against {rival}" for rival in found["best_rival"]],
                where=where,
            )
        figure.add_hline(y=0, line={"color": INK, "width": 1}, **where)
    figure.update_xaxes(title_text=LAYER_AXIS if len(contexts) == 1 else "layer")
    return finished(figure, title="What each probe adds to its best cheap rival", height=440)


def nulls_figure(curves: DataFrame, nulls: DataFrame, context: str) -> go.Figure:
    """The difference of means against every null, in one context.

    Args:
        curves: table `curves`.
        nulls: table `nulls`. Families of directions are drawn by their 95th percentile; a null of
            one direction, as of an unrelated concept, is a thin line with its name at the end.
        context: which panel of the readability figure this looks into.

    Raises:
        InputError: either table has no rows for that context.
    """
    asked = "nulls_figure"
    found = needed(curves, asked, context=context, probe=DIFFERENCE_OF_MEANS)
    here = needed(nulls, asked, context=context)
    figure = go.Figure()
    ends: list[tuple[float, str]] = []
    drawn = here[here["auroc_95"].notna()]
    dashes = cycle(DASHES)
    for name in names_in(drawn, "null"):
        rows = rows_of(drawn, null=name)
        alone = int(rows["n"].iloc[0]) == 1
        shown = plain(str(name))
        says = f"the concept {shown}" if alone else f"95 % of {shown}"
        figure.add_scatter(
            x=rows["layer"].tolist(),
            y=rows["auroc_95"].tolist(),
            mode="lines",
            line=(
                {"color": UNCREATIVE, "width": 1}
                if alone
                else {"color": NULL, "width": 2, "dash": next(dashes)}
            ),
            name=says,
            showlegend=not alone,
            hovertemplate=f"layer %{{x}}: %{{y:.2f}}<extra>{says}</extra>",
        )
        if alone:
            ends.append((float(rows["auroc_95"].iloc[-1]), plain(str(name), 24)))
    _swaps(figure, here, {}, legend=True)
    draw_curve(figure, found, "auroc", name=f"{DIFFERENCE_OF_MEANS}, held out", colour=CREATIVE)
    low = min(0.45, float(found["auroc_low"].min()) - 0.02)
    last = int(found["layer"].max())
    for y, text in _apart(ends, least=(1.02 - low) / 22):
        figure.add_annotation(
            x=last,
            y=y,
            text=text,
            showarrow=False,
            xanchor="left",
            xshift=8,
            font={"size": 11, "color": UNCREATIVE},
        )
    figure.add_hline(y=0.5, line={"color": INK, "width": 0.7})
    figure.update_xaxes(title_text=LAYER_AXIS)
    figure.update_yaxes(title_text=AUROC_AXIS, range=[low, 1.02])
    title = f"What directions that know nothing of the contrast reach ({plain(context)})"
    finished(figure, title=title, height=480, legend_rows=2)
    return figure.update_layout(margin={"r": 120})


def _apart(ends: list[tuple[float, str]], *, least: float) -> list[tuple[float, str]]:
    """Labels at the ends of lines, moved up where they would lie on each other."""
    placed: list[tuple[float, str]] = []
    for y, text in sorted(ends):
        placed.append((max(y, placed[-1][0] + least) if placed else y, text))
    return placed


def nonlinearity_figure(nonlinearity: DataFrame) -> go.Figure:
    """What a boundary that may bend gains over a straight one, by layer, a line for each context.

    Args:
        nonlinearity: table `nonlinearity`.

    Raises:
        InputError: it has no rows.
    """
    rows = needed(nonlinearity, "nonlinearity_figure")
    figure = go.Figure()
    for context in names_in(rows, "context"):
        found = rows_of(rows, context=context)
        draw_curve(figure, found, "gain", name=context, colour=CONTEXT_COLOURS.get(context, NULL))
    figure.add_hline(y=0, line={"color": INK, "width": 1})
    figure.update_xaxes(title_text=LAYER_AXIS)
    figure.update_yaxes(title_text="AUROC of RBF less logistic")
    return finished(figure, title="Does a boundary that may bend do better?", height=400)
