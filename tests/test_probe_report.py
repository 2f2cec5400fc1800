"""Probe figures draw the tables' numbers with nulls, rivals and intervals; the report is inert."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest
from pandas import DataFrame

import creativity_lens.plots.probe_figures as module
from creativity_lens.errors import InputError
from creativity_lens.plots.carry_over import transfer_figure
from creativity_lens.plots.direction_content import (
    manipulation_figure,
)
from creativity_lens.plots.direction_stability import (
    agreement_figure,
    learning_curve_figure,
)
from creativity_lens.plots.probe_figures import probe_figures
from creativity_lens.plots.probes import (
    nulls_figure,
    readability_figure,
)
from creativity_lens.plots.style import CREATIVE, UNCREATIVE
from creativity_lens.probes.nulls import ISOTROPIC, SHUFFLED, WITHIN_CLASS
from creativity_lens.probes.separability import DIFFERENCE_OF_MEANS
from creativity_lens.report.probe import render_probe
from creativity_lens.studies.probe_context import BAG_OF_WORDS, RANDOM_WEIGHTS
from tests.probe_fakes import CONCEPTS, PROBES, probe_result, probe_tables
from tests.test_plots_report import HOSTILE, OWNED, Page

N_LAYERS, LAYER, CONTEXT = 5, 3, "neutral"
NAMES = (
    *("manipulation", "readability", "advantage", "nulls", "nonlinearity", "leakage"),
    *("transfer_domain", "transfer_paraphrase", "stability", "learning_curve"),
    *("premises_needed", "agreement", "cosines", "removal", "coordinates"),
)


@pytest.fixture(scope="module")
def tables():
    return probe_tables(N_LAYERS)


@pytest.fixture(scope="module")
def figures(tables):
    return probe_figures(tables, layer=LAYER, context=CONTEXT)


def rows(table, **where):
    for column, value in where.items():
        table = table[table[column] == value]
    return table


def traces(figure: go.Figure, name: str, panel: int | None = None) -> list:
    """Traces by name; of one panel, counted from 1."""
    axis = {None: None, 1: "x"}.get(panel, f"x{panel}")
    return [t for t in figure.data if t.name == name and axis in (None, t.xaxis or "x")]


def trace(figure: go.Figure, name: str, panel: int | None = None):
    (found,) = traces(figure, name, panel)
    return found


def assert_band(drawn, low, high):
    """An area that goes along the upper edge and back along the lower one."""
    assert drawn.fill == "toself"
    assert list(drawn.y) == pytest.approx([*high, *list(low)[::-1]])


def assert_curve(figure, name, found, value, panel=None):
    """A line with the numbers of a table, and the band of its interval under it."""
    line = trace(figure, name, panel)
    assert list(line.x) == found["layer"].tolist()
    assert list(line.y) == pytest.approx(found[value].tolist())
    low, high = found[f"{value}_low"].tolist(), found[f"{value}_high"].tolist()
    assert_band(trace(figure, f"{name}, 95 %", panel), low, high)
    assert [one[:2] for one in line.customdata] == [
        list(one) for one in zip(low, high, strict=True)
    ]


def test_every_figure_is_made(figures):
    assert tuple(figures) == NAMES
    for figure in figures.values():
        assert isinstance(figure, go.Figure)
        assert figure.layout.title.text
        assert figure.data


# --- where it can be read --------------------------------------------------------------------


def test_readability_draws_probes_with_intervals_in_a_panel_for_each_context(figures, tables):
    figure = figures["readability"]
    assert [a.text for a in figure.layout.annotations] == ["as-generated", "neutral"]
    for panel, context in enumerate(("as-generated", "neutral"), start=1):
        for probe in PROBES:
            found = rows(tables["curves"], context=context, probe=probe)
            if probe in (DIFFERENCE_OF_MEANS, "logistic"):
                assert_curve(figure, probe, found, "auroc", panel)
            else:
                assert list(trace(figure, probe, panel).y) == found["auroc"].tolist()
                assert not traces(figure, f"{probe}, 95 %", panel)


def test_readability_draws_every_rival_with_its_interval(figures, tables):
    figure = figures["readability"]
    met = rows(tables["rivals"], context="neutral", probe=DIFFERENCE_OF_MEANS)
    drawn = [t for t in figure.data if (t.name or "").startswith("rival: ") and t.xaxis == "x2"]
    assert [t.name for t in drawn] == [f"rival: {name}" for name in met["rival"]]
    for line, row in zip(drawn, met.to_dict("records"), strict=True):
        assert list(line.y) == [row["auroc"]] * 2
        assert line.line.dash != "solid"
        assert line.error_y.array[1] == pytest.approx(row["auroc_high"] - row["auroc"])
        assert line.error_y.arrayminus[1] == pytest.approx(row["auroc"] - row["auroc_low"])
    assert {BAG_OF_WORDS, RANDOM_WEIGHTS} <= {t.name.removeprefix("rival: ") for t in drawn}


def test_readability_draws_both_nulls(figures, tables):
    figure = figures["readability"]
    edge = rows(tables["nulls"], context="neutral", null=WITHIN_CLASS)["auroc_95"].tolist()
    assert_band(trace(figure, f"95 % of {WITHIN_CLASS}", 2), [0.5] * N_LAYERS, edge)
    swaps = trace(figure, "95 % of the largest over layers, labels swapped", 2)
    assert list(swaps.y) == [0.61, 0.61]


def test_readability_marks_the_readable_layers_alone(figures, tables):
    figure = figures["readability"]
    name = "readable here (in the probe's colour)"
    for panel, context in enumerate(("as-generated", "neutral"), start=1):
        marks = traces(figure, name, panel)
        for mark, probe in zip(marks, PROBES, strict=True):
            found = rows(tables["curves"], context=context, probe=probe)
            assert list(mark.x) == found[found["readable"]]["layer"].tolist()
            low, _ = figure.layout.yaxis.range
            assert all(low < y < found["auroc_low"].min() for y in mark.y)
    assert len(trace(figure, DIFFERENCE_OF_MEANS, 1).x) > len(traces(figure, name, 1)[0].x) > 0
    assert [t.showlegend for t in traces(figure, name)].count(True) == 1


def test_readability_does_without_rivals_and_nulls(tables):
    figure = readability_figure(tables["curves"], tables["rivals"].iloc[:0], DataFrame())
    assert trace(figure, DIFFERENCE_OF_MEANS, 1).y
    assert not [t for t in figure.data if "rival" in t.name or "95 % of" in t.name]


def test_advantage_draws_every_margin_with_its_interval_and_a_zero_line(figures, tables):
    figure = figures["advantage"]
    for panel, context in enumerate(("as-generated", "neutral"), start=1):
        for probe in PROBES:
            found = rows(tables["curves"], context=context, probe=probe)
            assert_curve(figure, probe, found, "advantage", panel)
    assert [s.y0 for s in figure.layout.shapes] == [0, 0]
    note = trace(figure, "logistic", 1).customdata[0][2]
    assert note == f" against {BAG_OF_WORDS}"


def test_nulls_draw_every_family_and_name_every_concept(figures, tables):
    figure = figures["nulls"]
    found = rows(tables["curves"], context=CONTEXT, probe=DIFFERENCE_OF_MEANS)
    assert_curve(figure, f"{DIFFERENCE_OF_MEANS}, held out", found, "auroc")
    null = rows(tables["nulls"], context=CONTEXT)
    for family in (ISOTROPIC, WITHIN_CLASS, SHUFFLED):
        drawn = trace(figure, f"95 % of {family}")
        assert list(drawn.y) == rows(null, null=family)["auroc_95"].tolist()
    for concept in CONCEPTS:
        drawn = trace(figure, f"the concept {concept}")
        assert list(drawn.y) == rows(null, null=concept)["auroc_95"].tolist()
    labels = {a.text: a.y for a in figure.layout.annotations}
    assert set(labels) == set(CONCEPTS)
    heights = sorted(labels.values())
    assert min(np.diff(heights)) > 0.02  # no label lies on another
    assert trace(figure, "95 % of the largest over layers, labels swapped").y[0] == 0.61


def test_nonlinearity_draws_the_gain_of_each_context(figures, tables):
    figure = figures["nonlinearity"]
    for context in ("as-generated", "neutral"):
        assert_curve(figure, context, rows(tables["nonlinearity"], context=context), "gain")
    assert [s.y0 for s in figure.layout.shapes] == [0]


# --- does it carry over ----------------------------------------------------------------------


def test_leakage_has_a_panel_for_each_fit_and_a_line_for_each_reading(figures, tables):
    figure = figures["leakage"]
    contexts = ("as-generated", "neutral", "opposite")
    assert [a.text for a in figure.layout.annotations] == [f"fitted {c}" for c in contexts]
    for panel, fitted in enumerate(contexts, start=1):
        for read in contexts:
            found = rows(tables["leakage"], fitted_in=fitted, read_in=read)
            assert_curve(figure, f"read {read}", found, "auroc", panel)
    assert [s.y0 for s in figure.layout.shapes] == [0.5] * 3


def test_transfer_draws_the_matrix_and_leaves_unknown_cells_empty(figures, tables):
    figure = figures["transfer_domain"]
    (matrix,) = [t for t in figure.data if t.type == "heatmap"]
    assert list(matrix.x) == list(matrix.y) == ["jokes", "recipes", "stories"]
    for i, trained in enumerate(matrix.y):
        for j, tested in enumerate(matrix.x):
            found = rows(tables["transfer"], trained_on=trained, tested_on=tested)
            if found.empty:
                assert matrix.z[i][j] is None
                assert matrix.text[i][j] == ""
            else:
                (row,) = found.to_dict("records")
                assert matrix.z[i][j] == row["auroc"]
                assert matrix.text[i][j] == f"{row['auroc']:.2f}<br>n={row['n_test']}"
                assert list(matrix.customdata[i][j]) == [
                    row["auroc_low"],
                    row["auroc_high"],
                    row["n_train"],
                ]
    assert sum(value is None for line in matrix.z for value in line) == 1


def test_transfer_draws_each_left_out_label_with_its_interval_at_the_shown_layer(figures, tables):
    figure = figures["transfer_domain"]
    for domain in ("jokes", "recipes", "stories"):
        found = rows(tables["transfer"], trained_on="all others", tested_on=domain)
        assert list(trace(figure, f"left out: {domain}").y) == found["auroc"].tolist()
    bars = traces(figure, f"interval at layer {LAYER}")
    at = rows(tables["transfer"], trained_on="all others", kind="domain", layer=LAYER)
    assert sorted(t.y[0] for t in bars) == pytest.approx(sorted(at["auroc"]))
    assert all(t.error_y.array[0] == pytest.approx(0.1) for t in bars)


# --- stability -------------------------------------------------------------------------------


def test_stability_draws_splits_resamplings_and_the_truth(figures, tables):
    figure = figures["stability"]
    for panel, context in enumerate(("as-generated", "neutral"), start=1):
        found = rows(tables["stability"], context=context)
        assert_curve(figure, "one half of the premises with the other", found, "split_half", panel)
        resampled = "premises resampled, with the full one (flatters)"
        assert_curve(figure, resampled, found, "bootstrap", panel)
        truth = trace(figure, "expected with endless premises' direction", panel)
        assert list(truth.y) == found["with_truth"].tolist()


def test_a_learning_curve_is_drawn_on_to_the_wanted_cosine(figures, tables):
    figure = figures["learning_curve"]
    for context, k in (("as-generated", 12.0), ("neutral", 60.0)):
        found = rows(tables["learning_curve"], context=context, layer=LAYER)
        points = trace(figure, f"{context}: measured, range over choices of premises")
        assert list(points.y) == found["cosine"].tolist()
        assert list(points.error_y.array) == pytest.approx([0.1] * 5)
        assert list(points.error_y.arrayminus) == pytest.approx([0.1] * 5)
        line = trace(figure, f"{context}: n / (n + k)")
        # n / (n + k) = 0.9 at n = 9 k.
        assert line.x[-1] == pytest.approx(9 * k)
        assert line.y[-1] == pytest.approx(0.9)
        assert list(line.y) == pytest.approx([n / (n + k) for n in line.x])
    assert figure.layout.xaxis.type == "log"
    assert [s.y0 for s in figure.layout.shapes] == [0.9]


def test_a_learning_curve_without_signal_is_not_extrapolated(tables):
    table = rows(tables["learning_curve"], context="neutral", layer=LAYER).assign(fitted=0.0)
    figure = learning_curve_figure(table, LAYER)
    line = trace(figure, "neutral: n / (n + k)")
    assert line.x[-1] == pytest.approx(32)  # the largest that was measured
    assert set(line.y) == {0.0}
    assert any("none is expected" in a.text for a in figure.layout.annotations)


def test_endless_premises_are_a_marker_at_the_top(figures):
    figure = figures["premises_needed"]
    assert figure.layout.yaxis.type == "log"
    top = 10 ** (figure.layout.yaxis.range[1] - 0.1)
    marker = trace(figure, "neutral: no number is enough")
    assert list(marker.x) == [0]
    assert list(marker.y) == pytest.approx([top])
    assert marker.text == ("∞",)
    assert trace(figure, "neutral").y == (None, 540, 540, 540, 540)  # 9 k
    assert trace(figure, "as-generated").y == (108,) * 5
    # 6 k to infinity at layers 0 and 1, to 14 k elsewhere; infinity is drawn at the top.
    assert_band(trace(figure, "as-generated, 95 %"), [72] * 5, [*[top] * 2, *[168] * 3])
    assert trace(figure, "as-generated").customdata[0] == ["72", "∞"]
    assert top > 14 * 60
    (had,) = figure.layout.shapes
    assert had.y0 == 64
    (says,) = figure.layout.annotations
    assert says.y == pytest.approx(math.log10(64))


def test_agreement_is_symmetric_and_has_a_step_for_each_layer(figures, tables):
    figure = figures["agreement"]
    (drawn,) = figure.data
    grid = np.array(drawn.z, float)
    assert (grid == grid.T).all()
    assert (np.diag(grid) == 1).all()
    for row in rows(tables["agreement"], layer=LAYER).to_dict("records"):
        at = list(drawn.y).index(row["first"]), list(drawn.x).index(row["second"])
        assert grid[at] == row["cosine"]
    (slider,) = figure.layout.sliders
    assert slider.active == LAYER
    assert [step.label for step in slider.steps] == [str(i) for i in range(N_LAYERS)]
    assert slider.steps[LAYER].args[0]["z"][0] == [list(line) for line in drawn.z]
    assert slider.steps[0].args[0]["z"] != slider.steps[1].args[0]["z"]


# --- what is in it ---------------------------------------------------------------------------


def test_cosines_draw_both_bands_the_interval_and_the_correction(figures, tables):
    figure = figures["cosines"]
    concepts = [*CONCEPTS, "length"]
    assert [a.text for a in figure.layout.annotations] == concepts
    for panel, concept in enumerate(concepts, start=1):
        found = rows(tables["cosines"], context=CONTEXT, concept=concept)
        assert_curve(figure, "cosine", found, "cosine", panel)
        edge = found["null_95"]
        name = "95 % of unrelated directions, same covariance"
        assert_band(trace(figure, name, panel), -edge, edge)
        isotropic = traces(figure, "95 % of directions that point anywhere", panel)
        assert [set(t.y) for t in isotropic] == [{0.08}, {-0.08}]
        corrected = np.array(trace(figure, "corrected for noise", panel).y, float)
        # 2.0 at layer 0 is beyond what is drawn; a direction without texts has none at all.
        expected = found["corrected"].where(found["corrected"] < 1.5).to_numpy(float)
        np.testing.assert_array_equal(corrected, expected)
        assert np.isnan(corrected[0])


def test_removal_is_a_forest_with_nothing_first_and_everything_last(figures, tables):
    figure = figures["removal"]
    points = [t for t in figure.data if t.error_x.array is not None]
    everything = ["all of them (projection)", "all of them (leace)"]
    assert [t.y[0] for t in points] == ["nothing", *CONCEPTS, *everything]
    nested = rows(tables["removal"], layer=-1)
    values = [0.74, *[0.7] * len(CONCEPTS), 0.62, 0.55]
    assert [t.x[0] for t in points] == values
    assert sorted(nested["auroc"]) == sorted(values)
    for point in points:
        assert point.error_x.array[0] == pytest.approx(0.06)
        assert point.error_x.arrayminus[0] == pytest.approx(0.06)
    for name, removed, method in (
        ("nothing", "nothing", "none"),
        (everything[0], "all of them", "projection"),
        (everything[1], "all of them", "leace"),
    ):
        found = rows(tables["removal"], removed=removed, method=method)
        assert_curve(figure, name, found[found["layer"] >= 0], "auroc", 2)
    assert {0.5, 0.74} <= {s.x0 for s in figure.layout.shapes}


def test_coordinates_are_coloured_by_condition_and_shaped_by_domain(figures, tables):
    figure = figures["coordinates"]
    for panel, method in enumerate(("pca", "tsne"), start=1):
        for condition, colour in (("creative", CREATIVE), ("uncreative", UNCREATIVE)):
            found = rows(tables["coordinates"], method=method, condition=condition)
            drawn = trace(figure, condition, panel)
            assert list(drawn.x) == found["x"].tolist()
            assert list(drawn.y) == found["y"].tolist()
            assert drawn.marker.color == colour
            shapes = dict(zip(found["domain"], drawn.marker.symbol, strict=True))
            assert len(set(shapes.values())) == 3
            expected = [shapes[domain] for domain in found["domain"]]
            assert list(drawn.marker.symbol) == expected
            assert drawn.hovertext[0].startswith(found["text_id"].iloc[0])
    assert figure.layout.xaxis.title.text == "component 1 (31% of the variance)"
    assert figure.layout.yaxis.title.text == "component 2 (12% of the variance)"
    assert figure.layout.xaxis2.title.text == "no unit"


def test_manipulation_is_a_forest_against_one_half(figures):
    figure = figures["manipulation"]
    drawn = {t.y[0]: t for t in figure.data}
    assert drawn["length in tokens"].x[0] == pytest.approx(0.4)
    assert drawn["compression ratio"].x[0] == pytest.approx(0.7)
    assert drawn["bag of words, held out"].x[0] == 0.72
    assert drawn["the model&#x27;s own blind choice"].x[0] == 0.6
    assert drawn["length in tokens"].error_x.array[0] == pytest.approx(0.06)
    assert len(drawn) == 7
    assert [s.x0 for s in figure.layout.shapes] == [0.5]


# --- empty tables and layers that are not there ----------------------------------------------

NEEDS = {
    "curves": ("readability", "advantage", "nulls"),
    "nulls": ("nulls",),
    "nonlinearity": ("nonlinearity",),
    "leakage": ("leakage",),
    "transfer": ("transfer_domain", "transfer_paraphrase"),
    "stability": ("stability", "premises_needed"),
    "learning_curve": ("learning_curve",),
    "agreement": ("agreement",),
    "cosines": ("cosines",),
    "removal": ("removal",),
    "coordinates": ("coordinates",),
    "manipulation": ("manipulation",),
    "rivals": (),
}


@pytest.mark.parametrize("name", NEEDS)
@pytest.mark.parametrize("missing", [False, True], ids=["empty", "missing"])
def test_an_empty_table_costs_its_own_figures_alone(tables, name, missing, monkeypatch):
    for figure in [n for n in vars(module) if n.endswith("_figure")]:
        monkeypatch.setattr(module, figure, lambda *args, **settings: go.Figure())  # quick
    some = {n: t for n, t in tables.items() if n != name}
    if not missing:
        some[name] = tables[name].iloc[:0]
    found = probe_figures(some, layer=LAYER, context=CONTEXT)
    assert tuple(found) == tuple(n for n in NAMES if n not in NEEDS[name])


@pytest.mark.parametrize(
    ("draw", "says"),
    [
        (lambda t: readability_figure(t["curves"][:0], t["rivals"], t["nulls"]), "readability"),
        (lambda t: nulls_figure(t["curves"], t["nulls"], "opposite"), "'opposite'"),
        (lambda t: transfer_figure(t["transfer"], "genre", LAYER), "'genre'"),
        (lambda t: learning_curve_figure(t["learning_curve"], 99), "99"),
        (lambda t: agreement_figure(t["agreement"], 99), "99"),
        (lambda t: manipulation_figure(t["manipulation"][:0]), "manipulation_figure"),
    ],
)
def test_a_figure_without_rows_says_what_was_asked_for(tables, draw, says):
    with pytest.raises(InputError, match=f"nothing to draw.*{says}|{says}.*nothing to draw"):
        draw(tables)


# --- the report ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page() -> str:
    return render_probe(probe_result(), command="creativity-lens probe --run run --out out")


def test_the_same_results_make_the_same_page(page):
    assert render_probe(probe_result(), command="creativity-lens probe --run run --out out") == page


def sections(text: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", text)


def test_the_page_opens_with_warnings_and_claims_and_has_every_figure(page):
    assert sections(page)[:3] == [
        "Read this first",
        "What can be claimed",
        "Did the contrast work?",
    ]
    cells = [text for _, text in Page(page).cells]
    assert cells[0] == "the sides differ in length: plain"
    start = cells.index("Plain.")
    assert cells[start : start + 6] == [
        "Plain.",
        "0.100 [0.000, 0.200] nats",
        "0.2",
        "0.3",
        "not supported",
        "No.",
    ]
    assert Page(page).elements["figure"] == len(NAMES)


def test_every_caption_says_how_to_read_the_figure_and_when_not_to_believe_it(page):
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page, re.DOTALL)
    assert len(captions) == len(NAMES)
    for caption in captions:
        assert caption.startswith("How to read it: ")
        assert "When not to believe it: " in caption


def test_what_was_run_names_the_command_the_settings_and_every_table(page):
    cells = Page(page).cells
    assert ("code", "creativity-lens probe --run run --out out") in cells
    assert ("", "study: n_permutations") in cells
    assert ("", "run: strength") in cells
    assert ("code", "leakage and transfer 1.2 s") in cells
    named = [text for kind, text in cells if kind == "code"]
    for name in probe_result().tables:
        at = cells.index(("code", name))
        assert name in named
        assert cells[at + 2][1], f"{name} is not described"


def test_without_warnings_the_page_says_so(page):
    text = render_probe(replace(probe_result({}), warnings=()), command="c")
    assert "Read this first" not in sections(text)
    assert "No rule gave a warning" in text
    assert "No rule gave a warning" not in page


def test_a_study_with_empty_tables_says_what_is_left_out_and_why(tables):
    text = render_probe(
        probe_result({name: table.iloc[:0] for name, table in tables.items()}), command="c"
    )
    found = Page(text)
    assert found.elements["figure"] == 0
    assert found.elements["table"] == 4  # warnings, claims, what was run, the tables
    for why in (
        "Stability was not measured.",
        "The logit lens could not be used",
        "No coordinates were asked for.",
        "No texts were ranked.",
        "Fewer than two kinds of domain have enough pairs",
    ):
        assert why in text
    assert len(re.findall("<h2>", text)) == 10


# --- hostile text ----------------------------------------------------------------------------

EVERYTHING = "\n".join((*HOSTILE, "<b>bold</b>"))


@pytest.fixture(scope="module")
def hostile_tables():
    return probe_tables(N_LAYERS, EVERYTHING)


def strings(value) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for inner in value.values() for text in strings(inner)]
    if isinstance(value, list | tuple):
        return [text for inner in value for text in strings(inner)]
    return []


def test_no_string_of_a_figure_holds_a_tag_that_plotly_did_not_get_from_us(hostile_tables):
    figures = probe_figures(hostile_tables, layer=LAYER, context=CONTEXT)
    assert tuple(figures) == NAMES
    ours = re.compile(r"<br>|<extra>|</extra>")
    seen = 0
    for name, figure in figures.items():
        drawn = json.loads(figure.to_json())
        drawn["layout"].pop("template")
        for text in strings([drawn["data"], drawn["layout"]]):
            bare = ours.sub("", text)
            assert "<" not in bare, (name, text)
            seen += "&lt;i&gt;tags" in bare
    assert seen > 100  # the hostile text is there, as text


def test_hostile_text_adds_no_element_to_the_page(hostile_tables, page):
    text = render_probe(probe_result(hostile_tables, text=EVERYTHING), command=HOSTILE[1])
    hostile, harmless = Page(text), Page(page)
    assert hostile.elements == harmless.elements
    assert hostile.attributes == harmless.attributes
    shown = {cell for kind, cell in hostile.cells if kind == "text"}
    assert any(OWNED in cell for cell in shown)  # texts are shown, and whole
    assert any(cell.endswith(EVERYTHING) for cell in shown)
    assert ("", EVERYTHING) in hostile.cells  # a claim
    assert ("code", HOSTILE[1]) in hostile.cells  # the command
