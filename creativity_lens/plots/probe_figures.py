"""All figures of a probe study at once."""

from collections.abc import Callable, Mapping

import plotly.graph_objects as go
from pandas import DataFrame

from creativity_lens.plots.carry_over import leakage_figure, transfer_figure
from creativity_lens.plots.direction_content import (
    NESTED,
    coordinates_figure,
    cosines_figure,
    manipulation_figure,
    removal_figure,
)
from creativity_lens.plots.direction_stability import (
    agreement_figure,
    learning_curve_figure,
    premises_needed_figure,
    stability_figure,
)
from creativity_lens.plots.draw import rows_of
from creativity_lens.plots.probes import (
    advantage_figure,
    nonlinearity_figure,
    nulls_figure,
    readability_figure,
)
from creativity_lens.probes.separability import DIFFERENCE_OF_MEANS


def probe_figures(
    tables: Mapping[str, DataFrame], *, layer: int, context: str
) -> dict[str, go.Figure]:
    """The figures of a probe study by name; those that have nothing to draw are left out.

    Args:
        tables: of a `ProbeResult`, or read again from the files of a study. A table that is
            missing counts as one without rows.
        layer: of the matrices, and where the learning curve is drawn.
        context: of the nulls and cosines.

    Returns:
        Of `manipulation`, `readability`, `advantage`, `nulls`, `nonlinearity`, `leakage`,
        `transfer_domain`, `transfer_paraphrase`, `transfer_paraphrase_as_generated`, `stability`,
        `learning_curve`, `premises_needed`, `agreement`, `cosines`, `removal` and `coordinates`, in
        this order, those that can be drawn.
    """

    def table(name: str) -> DataFrame:
        # No rows and no columns: never looked into, because nothing is drawn of it.
        return tables.get(name, DataFrame())

    def some(name: str, **where: object) -> DataFrame:
        return rows_of(table(name), **where)

    curves, nulls, stability = table("curves"), table("nulls"), table("stability")
    carried = {"probe": DIFFERENCE_OF_MEANS, "layer": layer}
    levels = stability["wanted"].tolist() if len(stability) else [0.9]
    compared = some("curves", context=context, probe=DIFFERENCE_OF_MEANS)
    # What a figure cannot do without, and the figure.
    drawings: dict[str, tuple[DataFrame, Callable[[], go.Figure]]] = {
        "manipulation": (
            table("manipulation"),
            lambda: manipulation_figure(table("manipulation")),
        ),
        "readability": (curves, lambda: readability_figure(curves, table("rivals"), nulls)),
        "advantage": (curves, lambda: advantage_figure(curves)),
        "nulls": (
            compared if compared.empty else some("nulls", context=context),
            lambda: nulls_figure(curves, nulls, context),
        ),
        "nonlinearity": (
            table("nonlinearity"),
            lambda: nonlinearity_figure(table("nonlinearity")),
        ),
        "leakage": (table("leakage"), lambda: leakage_figure(table("leakage"))),
        "transfer_domain": (
            some("transfer", kind="domain", context=context, **carried),
            lambda: transfer_figure(some("transfer", context=context), "domain", layer),
        ),
        "transfer_paraphrase": (
            some("transfer", kind="paraphrase", context=context, **carried),
            lambda: transfer_figure(some("transfer", context=context), "paraphrase", layer),
        ),
        "transfer_paraphrase_as_generated": (
            some("transfer", kind="paraphrase", context="as-generated", **carried),
            lambda: transfer_figure(some("transfer", context="as-generated"), "paraphrase", layer),
        ),
        "stability": (stability, lambda: stability_figure(stability)),
        "learning_curve": (
            some("learning_curve", layer=layer),
            lambda: learning_curve_figure(table("learning_curve"), layer, wanted=float(levels[0])),
        ),
        "premises_needed": (stability, lambda: premises_needed_figure(stability)),
        "agreement": (
            some("agreement", layer=layer),
            lambda: agreement_figure(table("agreement"), layer),
        ),
        "cosines": (
            some("cosines", context=context),
            lambda: cosines_figure(table("cosines"), context),
        ),
        "removal": (some("removal", layer=NESTED), lambda: removal_figure(table("removal"))),
        "coordinates": (
            table("coordinates"),
            lambda: coordinates_figure(table("coordinates")),
        ),
    }
    return {name: draw() for name, (rows, draw) in drawings.items() if not rows.empty}
