"""Figures of agreement with people draw the planted numbers and never pool groups of raters."""

import json
import math
import re
from dataclasses import replace

import pytest
from pandas import NA, DataFrame, concat

from creativity_lens.errors import InputError
from creativity_lens.plots.agreement_figures import agreement_figures, followed
from creativity_lens.plots.agreement_forest import MOST_GIVEN
from creativity_lens.plots.agreement_groups import LEANS, SHOWN, groups_figure, sign_split
from creativity_lens.plots.agreement_judges import between_figure, judge_figure
from creativity_lens.plots.agreement_layers import agreement_layers_figure
from creativity_lens.plots.agreement_length import length_figure
from creativity_lens.plots.agreement_panels import KINDS, at_layer, shown_scope
from creativity_lens.plots.agreement_ratings import (
    MOST_POINTS,
    centred_points,
    prompt_accuracy_figure,
    score_rating_figure,
)
from creativity_lens.plots.agreement_scores import forest_figure, increment_figure
from tests.evaluate_fakes import (
    HALF,
    HALF_LENGTH,
    KIND_OF,
    N_LAYERS,
    PRIMARY,
    accuracy,
    evaluate_result,
)
from tests.test_plots_report import HOSTILE
from tests.test_probe_report import assert_band, strings, trace, traces

STRICT = "prompt+author"
PAPER = "cosine (the paper's score)"
CEILING = "ceiling: one rater against the others"
NAMES = ("layers", "scores", "increments", "length", "groups", "ratings", "judges", "between")
AUTHORS = {"human", "model"}


@pytest.fixture(scope="module")
def result():
    return evaluate_result()


@pytest.fixture(scope="module")
def figures(result):
    return agreement_figures(result)


@pytest.fixture(scope="module")
def small():
    """Every figure, quickly."""
    return evaluate_result(
        dimensions=("surprise",), scopes=("prompt",), layers=(2, PRIMARY), n_prompts=10
    )


def titles(figure) -> list[str]:
    return [note.text for note in figure.layout.annotations]


def lines_of(figure) -> dict[str, int]:
    axis = figure.layout.yaxis
    return dict(zip(axis.ticktext, axis.tickvals, strict=True))


def points(figure, panel: int, page: int = 0) -> dict[str, tuple]:
    """Score to (x, low, high, colour) of one panel, on one page."""
    shown = figure.layout.updatemenus[0].buttons[page].args[0]["visible"]
    names = {line: name for name, line in lines_of(figure).items()}
    found = {}
    for one, visible in zip(figure.data, shown, strict=True):
        if not visible or one.mode != "markers" or (one.xaxis or "x") != f"x{panel}".rstrip("1"):
            continue
        bars = one.error_x
        for i, (x, y) in enumerate(zip(one.x, one.y, strict=True)):
            ends = (x - bars.arrayminus[i], x + bars.array[i])
            found[names[y]] = (x, *ends, one.marker.color[i])
    return found


def test_every_figure_is_made_and_titled(figures):
    assert tuple(figures) == NAMES  # twelve prompts are too many to show one by one
    for figure in figures.values():
        assert figure.layout.title.text
        assert figure.data


# --- which pairs and scores ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [((10, 9), STRICT), ((9, 9), "prompt"), ((10, 10), STRICT), ((0, 0), "prompt")],
)
def test_pairs_within_author_types_are_shown_if_half_of_them_are_enough(pairs, expected):
    rows = [
        {"dimension": "d", "rater_group": g, "scope": s, "n_pairs": n if s == STRICT else 100}
        for g, n in zip("ab", pairs, strict=True)
        for s in ("prompt", STRICT)
    ]
    assert shown_scope(DataFrame(rows)) == expected
    assert shown_scope(DataFrame(rows).query("scope == 'prompt'")) == "prompt"
    assert shown_scope(DataFrame()) == "prompt"


def test_scores_at_other_layers_are_left_out_and_kinds_stand_together(result):
    rows = at_layer(result.tables["agreement"], PRIMARY)
    assert set(rows["layer"].dropna()) == {PRIMARY}
    assert set(rows["score"]) == set(KIND_OF)
    assert rows["kind"].drop_duplicates().tolist() == list(KINDS)
    alone = at_layer(result.tables["agreement"], None)
    assert alone["layer"].isna().all()


def test_the_papers_score_is_followed_or_the_first_that_is_known(result):
    agreement = result.tables["agreement"]
    assert followed(agreement, PRIMARY, STRICT) == ("cosine", PRIMARY)
    assert followed(agreement, None, STRICT) == ("rouge_1", None)  # one was brought along
    none = agreement[agreement["kind"] != "given"]
    assert followed(none, None, STRICT) == ("length", None)
    bare = none[none["score"] != "length"]
    assert followed(bare, None, STRICT) == ("layer_average", None)
    two = concat([agreement, agreement.assign(score=agreement["score"] + "_2")])
    assert followed(two, None, STRICT) == ("length", None)
    assert followed(agreement.iloc[:0], PRIMARY, STRICT) == ("", None)


# --- by layer --------------------------------------------------------------------------------


def test_the_papers_score_is_drawn_by_layer_for_each_dimension_and_group(figures):
    figure = figures["layers"]
    assert titles(figure)[:4] == [
        *("surprise, lay (40 pairs)", "engagement, lay (40 pairs)"),
        *("surprise, expert (40 pairs)", "engagement, expert (40 pairs)"),
    ]
    for panel, (d, group) in enumerate([(0, "lay"), (1, "lay"), (0, "expert"), (1, "expert")], 1):
        planted = [accuracy("cosine", at, d, group, STRICT) for at in range(N_LAYERS)]
        line = trace(figure, PAPER.replace("'", "&#x27;"), panel)
        assert list(line.x) == list(range(N_LAYERS))
        assert list(line.y) == pytest.approx(planted)
        band = trace(figure, PAPER.replace("'", "&#x27;") + ", 95 %", panel)
        assert_band(band, [p - HALF for p in planted], [p + HALF for p in planted])
    assert "p = 0.012, Holm 0.024" in line.customdata[0][2]


def test_the_curve_stands_between_length_ceiling_and_random_directions(figures):
    figure = figures["layers"]
    length = trace(figure, "length alone", 1)
    assert (list(length.x), list(length.y)) == ([0, N_LAYERS - 1], [pytest.approx(0.56)] * 2)
    assert_band(trace(figure, "length alone, 95 %", 1), [0.52] * 2, [0.6] * 2)
    assert list(trace(figure, CEILING, 1).y) == [0.72, 0.72]
    assert not traces(figure, CEILING, 3)  # the experts' is not known
    within = trace(figure, "95 % of random directions, as texts vary within the classes", 3)
    assert_band(within, [0.41] * N_LAYERS, [0.59] * N_LAYERS)
    assert within.visible is not False
    lines = [s.x0 for s in figure.layout.shapes if s.x0 == s.x1]
    assert lines == [PRIMARY] * 4
    assert [s.y0 for s in figure.layout.shapes if s.y0 == s.y1] == [0.5] * 4
    assert f"primary layer {PRIMARY}" in titles(figure)


def test_what_ratings_of_other_prompts_could_fit_is_drawn_from_the_start(figures):
    line = trace(figures["layers"], "fitted (to the ratings of other prompts)", 1)
    planted = [accuracy("fitted", at, 0, "lay", STRICT) for at in range(N_LAYERS)]
    assert list(line.y) == pytest.approx(planted)
    assert line.visible is not False


def test_other_variants_and_nulls_are_off_until_asked_for(figures):
    off = {t.name for t in figures["layers"].data if t.visible == "legendonly"}
    assert off == {
        *("centred", "whitened", "cosine+prompt", "cosine_common_length"),
        *("95 % of isotropic directions (a strawman)", "95 % of directions of shuffled labels"),
    }
    listed = [t.name for t in figures["layers"].data if t.showlegend]
    assert len(listed) == len(set(listed))


def test_length_in_words_stands_in_for_length_in_tokens(result):
    agreement = result.tables["agreement"].replace({"score": {"length": "n_words"}})
    drawn = agreement_layers_figure(
        agreement, result.tables["nulls"], result.tables["ceilings"], primary=None, scope=STRICT
    )
    assert trace(drawn, "length alone", 1).y[0] == pytest.approx(0.56)


# --- menus -----------------------------------------------------------------------------------


def test_a_menu_shows_one_dimension_at_a_time_and_all_of_them_in_turn(figures):
    figure = figures["scores"]
    (menu,) = figure.layout.updatemenus
    assert [button.label for button in menu.buttons] == ["surprise", "engagement"]
    pages = [button.args[0]["visible"] for button in menu.buttons]
    for first, second, one in zip(*pages, figure.data, strict=True):
        assert bool(first) != bool(second)
        assert (one.visible is not False) == bool(first)
    assert [button.args[1]["annotations"][1]["text"] for button in menu.buttons] == [
        "surprise, expert (40 pairs)",
        "engagement, expert (40 pairs)",
    ]


@pytest.mark.parametrize(("n", "n_pages"), [(4, 0), (5, 5)])
def test_more_than_eight_panels_are_put_behind_a_menu(n, n_pages):
    made = evaluate_result(
        dimensions=[f"d{i}" for i in range(n)],
        scopes=("prompt",),
        layers=(2, PRIMARY),
        n_prompts=2,
    )
    tables = (made.tables[name] for name in ("agreement", "nulls", "ceilings"))
    figure = agreement_layers_figure(*tables, primary=PRIMARY, scope="prompt")
    assert sum(len(menu.buttons) for menu in figure.layout.updatemenus) == n_pages
    if n_pages:
        # The last dimension's page: its own curves, and what is off stays off.
        shown = figure.layout.updatemenus[0].buttons[-1].args[0]["visible"]
        curves = [
            t for t, v in zip(figure.data, shown, strict=True) if v is True and "paper" in t.name
        ]
        assert len(curves) == 4  # a line and its band for each group
        assert curves[1].y[1] == pytest.approx(accuracy("cosine", PRIMARY, n - 1, "lay", "prompt"))
        assert "legendonly" in shown


# --- forests ---------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [0, 1])
def test_the_forest_places_every_score_with_its_interval_in_its_kinds_colour(figures, page):
    for panel, group in ((1, "lay"), (2, "expert")):
        found = points(figures["scores"], panel, page)
        assert set(found) == set(KIND_OF)
        for score, kind in KIND_OF.items():
            value = accuracy(score, PRIMARY, page, group, STRICT)
            half = HALF_LENGTH if score == "length" else HALF
            x, low, high, colour = found[score]
            assert (x, low, high) == pytest.approx((value, value - half, value + half))
            assert colour == KINDS[kind][1]


def test_the_forest_is_sorted_by_kind_and_marks_chance_null_and_ceiling(figures):
    figure = figures["scores"]
    lines = lines_of(figure)
    order = [list(KINDS).index(KIND_OF[name]) for name in sorted(lines, key=lines.get)]
    assert order == sorted(order)
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]  # the first on top
    assert {s.x0 for s in figure.layout.shapes} == {0.5}
    assert list(traces(figure, CEILING, 1)[0].x) == [0.72] * 2
    assert not traces(figure, CEILING, 2)
    band = traces(figure, "95 % of random directions, primary layer", 2)[0]
    assert (min(band.x), max(band.x)) == pytest.approx((0.41, 0.59))
    says = trace_with(figure, "the score and its variants").customdata[0]
    assert says[3] == (
        "40 pairs, p = 0.012, Holm 0.024<br>tau 0.06, given length rho 0.02"
        "<br>less the paper's score -0.06 [-0.16, +0.04]"
    )
    unknown = trace_with(figure, "judges")
    asked = [note[0] for note in unknown.customdata].index("naive_choice")
    assert "less the paper" not in unknown.customdata[asked][3]


def test_of_many_scores_brought_along_those_furthest_from_chance_are_drawn(result):
    rows = at_layer(result.tables["agreement"], PRIMARY).query(f"scope == '{STRICT}'")
    own = rows[rows["kind"] == "given"]
    own = concat([own, own.assign(score="text_length")])
    far = [
        own[:4].assign(score=f"m{i}", pairwise_accuracy=0.3 - i / 1000) for i in range(MOST_GIVEN)
    ]
    figure = forest_figure(
        concat([rows, own[4:], *far]), DataFrame(), DataFrame(), primary=PRIMARY, scope=STRICT
    )
    # 0.3 and less lies further from 0.5 than the 0.53 of rouge_1, which is the 41st.
    assert set(lines_of(figure)) == (set(KIND_OF) - {"rouge_1"}) | {
        "text_length",  # the rival to beat, wherever it lies
        *(f"m{i}" for i in range(MOST_GIVEN)),
    }


def trace_with(figure, name: str, panel: int = 1):
    return traces(figure, name, panel)[0]


def test_increments_are_drawn_for_all_that_is_not_in_the_base(figures):
    found = points(figures["increments"], 1)
    assert set(found) == set(KIND_OF) - {"length", "nll", "naive_choice"}
    for score, (x, low, high, _) in found.items():
        gain = 0.2 * (accuracy(score, PRIMARY, 0, "lay", STRICT) - 0.5)
        assert (x, low, high) == pytest.approx((gain, gain - 0.02, gain + 0.02))
    assert {s.x0 for s in figures["increments"].layout.shapes} == {0}


def test_length_puts_matched_pairs_and_common_length_beside_all_pairs(figures):
    figure = figures["length"]
    lines = lines_of(figure)
    assert "cosine_common_length" not in lines
    every, near, cut = (
        trace_with(figure, name)
        for name in ("all pairs", "pairs of like length", "cut to a common length")
    )
    at = list(near.customdata).index(next(c for c in near.customdata if c[0] == "cosine"))
    value = accuracy("cosine", PRIMARY, 0, "lay", STRICT)
    assert every.x[at] == pytest.approx(value)
    assert near.x[at] == pytest.approx(0.5 + 0.4 * (value - 0.5))
    assert near.error_x.array[at] == pytest.approx(0.1)
    assert near.customdata[at][3].startswith("18 pairs")
    # One score was cut; 0.5 + 0.01 / 2 within author types.
    assert [round(y) for y in cut.y] == [lines["cosine"]]
    assert cut.x[0] == pytest.approx(0.505)


# --- groups apart ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [
        (((0.6, 0.55, 0.65), (0.4, 0.35, 0.45)), SHOWN),
        (((0.6, 0.55, 0.65), (0.4, 0.35, 0.51)), LEANS),
        (((0.6, 0.49, 0.65), (0.4, 0.35, 0.45)), LEANS),
        (((0.6, 0.55, 0.65), (0.52, 0.4, 0.6)), ""),
        (((0.6, 0.55, 0.65), (0.5, 0.4, 0.6)), ""),
    ],
)
def test_a_disagreement_in_sign_is_shown_only_if_both_intervals_are_clear(intervals, expected):
    rows = DataFrame(intervals, columns=["pairwise_accuracy", "ci_low", "ci_high"])
    assert sign_split(rows) == expected
    assert sign_split(rows[::-1]) == expected


def test_groups_of_raters_are_joined_across_chance_and_never_pooled(result):
    # Within prompts the intervals of whitened reach 0.55 and 0.45.
    figure = groups_figure(result.tables["agreement"], primary=PRIMARY, scope="prompt")
    lines = lines_of(figure)
    lay, expert = (trace_with(figure, name) for name in ("lay", "expert"))
    assert lay.marker.symbol != expert.marker.symbol
    for one, group in ((lay, "lay"), (expert, "expert")):
        by_line = {round(y): x for x, y in zip(one.x, one.y, strict=True)}
        for score, line in lines.items():
            assert by_line[line] == pytest.approx(accuracy(score, PRIMARY, 0, group, "prompt"))
    shown = trace_with(figure, SHOWN)
    at = list(shown.y).index(lines["whitened"])
    assert (shown.x[at], shown.x[at + 1]) == pytest.approx((0.39, 0.61))
    assert lines["length"] in trace_with(figure, "the same side").y
    assert lines["centred"] in trace_with(figure, LEANS).y
    assert lines["centred"] not in shown.y


def test_one_group_of_raters_has_nobody_to_be_held_apart_from(result):
    agreement = result.tables["agreement"]
    with pytest.raises(InputError):
        groups_figure(agreement[agreement["rater_group"] == "lay"], primary=PRIMARY, scope="prompt")


# --- score against rating --------------------------------------------------------------------

RATED = DataFrame(
    {
        "text_id": ["a", "b", "c", "d", "e"],
        "prompt_id": ["p", "p", "p", "q", "q"],
        "author_type": ["human", "model", "human", "human", "model"],
        "system": "",
        "dimension": "surprise",
        "rater_group": "lay",
        "rating": [1.0, 2.0, 6.0, 4.0, 5.0],
        "n": 1,
    }
)
SCORED = DataFrame({"text_id": list("abcde"), "cosine@3": [0.1, 0.2, 0.6, 0.9, math.nan]})


def test_ratings_and_scores_are_centred_on_the_texts_they_are_compared_with():
    found = centred_points(RATED, SCORED, "cosine@3", "prompt").set_index("text_id")
    # p: ratings 1, 2, 6 (mean 3), scores .1, .2, .6 (mean .3). d is alone: e has no score.
    assert found["x"].to_dict() == pytest.approx({"a": -2.0, "b": -1.0, "c": 3.0})
    assert found["y"].to_dict() == pytest.approx({"a": -0.2, "b": -0.1, "c": 0.3})
    strict = centred_points(RATED, SCORED, "cosine@3", STRICT).set_index("text_id")
    assert strict["x"].to_dict() == pytest.approx({"a": -2.5, "c": 2.5})


def test_the_line_within_prompts_is_that_of_least_squares():
    figure = score_rating_figure(RATED, SCORED, score="cosine", layer=3, scope="prompt")
    line = trace(figure, "line within prompts")
    # (.4 + .1 + .9) / (4 + 1 + 9) = .1 for each point of rating
    assert list(line.y) == pytest.approx([0.1 * x for x in line.x])
    assert list(line.x) == pytest.approx([-2, 3])


def test_groups_that_disagree_in_sign_have_lines_that_slope_against_each_other(figures):
    lay, expert = (trace_with(figures["ratings"], "line within prompts", p) for p in (1, 2))
    assert lay.y[1] > lay.y[0]
    assert expert.y[1] < expert.y[0]
    assert {t.name for t in figures["ratings"].data if t.mode == "markers"} == AUTHORS


def test_the_texts_first_words_are_in_the_hover_label_and_inert():
    text = "<b>A heron</b> and " + "a rusty key " * 20
    figure = score_rating_figure(
        RATED, SCORED.assign(text=text), score="cosine", layer=3, scope="prompt"
    )
    (said, *_) = trace(figure, "human").hovertext
    assert "&lt;b&gt;A heron" in said
    assert "rated 1.00, score 0.100" in said
    assert len(said) < 220


def test_many_texts_are_thinned_but_the_line_is_of_all():
    n = MOST_POINTS * 3
    many = DataFrame(
        {
            "text_id": [f"t{i}" for i in range(n)],
            "prompt_id": "p",
            "author_type": "",
            "system": "",
            "dimension": "surprise",
            "rater_group": "lay",
            "rating": [float(i) for i in range(n)],
            "n": 1,
        }
    )
    scored = DataFrame({"text_id": many["text_id"], "length": many["rating"] * 2})
    figure = score_rating_figure(many, scored, score="length", layer=None, scope="prompt")
    assert len(trace(figure, "author type not known").x) == MOST_POINTS
    assert max(trace(figure, "line within prompts").x) == (n - 1) / 2


def test_fewer_than_ten_prompts_are_shown_one_by_one():
    def draw(n):
        table = evaluate_result(n_prompts=n).tables["per_prompt"]
        return prompt_accuracy_figure(table, score="cosine", layer=PRIMARY, scope=STRICT)

    figure = draw(9)
    lay = figure.data[0]
    middle = accuracy("cosine", PRIMARY, 0, "lay", STRICT)
    assert list(lay.x) == pytest.approx([middle + 0.01 * (p - 4) for p in range(9)])
    assert list(figure.layout.yaxis.ticktext) == [f"p{p:02d}" for p in range(9)]
    assert lay.marker.size[8] > lay.marker.size[0]  # twelve pairs against four
    with pytest.raises(InputError):
        draw(10)


# --- judges ----------------------------------------------------------------------------------


def test_judges_stand_beside_the_value_that_says_they_look_at_the_place(figures):
    figure = figures["judges"]
    assert titles(figure) == ["position bias", "consistency", "mass on the answers"]
    values = {t.name: dict(zip(t.y, t.x, strict=True)) for t in figure.data}
    assert values == {
        "position bias": {0: 0.45},
        "consistency": {0: 0.12},
        "mass on the answers": {0: 0.66, 1: 0.9},
    }
    assert [s.x0 for s in figure.layout.shapes] == [0.0, 0.5, 1.0]


def test_the_matrix_holds_each_pair_both_ways_and_people_at_the_primary_layer(figures):
    figure = figures["between"]
    (cells,) = figure.data
    rows = list(figure.layout.yaxis.ticktext)
    columns = list(figure.layout.xaxis.ticktext)
    assert rows == ["naive_rating", "naive_choice", "cosine", "gpt"]

    def cell(a, b):
        return cells.z[rows.index(a)][columns.index(b)]

    assert cell("naive_rating", "naive_choice") == cell("naive_choice", "naive_rating") == 0.64
    assert "0.64 [0.58, 0.70], 60 pairs" in cells.hovertext[0][1]
    assert cell("gpt", "cosine") is None
    assert cell("cosine", "people: engagement, expert") == pytest.approx(
        accuracy("cosine", PRIMARY, 1, "expert", STRICT)
    )
    assert cell("gpt", "people: surprise, lay") is None


# --- what is missing -------------------------------------------------------------------------

EMPTY = {
    "agreement": ("layers", "scores", "increments", "length", "groups", "ratings"),
    "nulls": (),
    "ceilings": (),
    "ratings": ("ratings",),
    "judges": ("judges",),
    "between": ("between",),
}


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_table_costs_its_own_figures_alone(small, name):
    some = {**small.tables, name: small.tables[name].iloc[:0]}
    found = agreement_figures(replace(small, tables=some))
    assert tuple(found) == tuple(n for n in NAMES if n not in EMPTY[name])


def test_a_missing_table_is_an_empty_one(small):
    found = agreement_figures(replace(small, tables={"agreement": small.tables["agreement"]}))
    assert tuple(found) == ("layers", "scores", "increments", "length", "groups")


@pytest.mark.parametrize(
    ("draw", "says"),
    [
        (
            lambda a, n: agreement_layers_figure(a, n, n, primary=None, scope="prompt"),
            "agreement_layers",
        ),
        (lambda a, n: forest_figure(a, n, n, primary=None, scope="prompt"), "forest"),
        (lambda a, n: increment_figure(a, primary=None, scope="prompt"), "increment"),
        (lambda a, n: length_figure(a, primary=None, scope="prompt"), "length"),
        (lambda a, n: groups_figure(a, primary=None, scope="prompt"), "groups"),
        (
            lambda a, n: score_rating_figure(n, n, score="x", layer=None, scope="prompt"),
            "score_rating",
        ),
        (
            lambda a, n: prompt_accuracy_figure(n, score="x", layer=None, scope="prompt"),
            "prompt_accuracy",
        ),
        (lambda a, n: judge_figure(n), "judge"),
        (lambda a, n: between_figure(n), "between"),
    ],
)
def test_a_figure_without_rows_says_so(result, draw, says):
    for agreement in (result.tables["agreement"].iloc[:0], DataFrame()):
        with pytest.raises(InputError, match=f"{says}_figure has nothing to draw"):
            draw(agreement, DataFrame())


def test_without_a_model_what_needs_no_layer_is_drawn():
    found = agreement_figures(evaluate_result(model=False))
    assert tuple(found) == ("scores", "increments", "length", "groups", "ratings")
    assert "rouge_1, less its prompt" in found["ratings"].layout.yaxis.title.text


def curve_of(result, agreement):
    nulls, ceilings = (result.tables[name] for name in ("nulls", "ceilings"))
    return agreement_layers_figure(agreement, nulls, ceilings, primary=PRIMARY, scope=STRICT)


def test_one_layer_makes_no_curve(result):
    agreement = result.tables["agreement"]
    with pytest.raises(InputError):
        curve_of(result, agreement[agreement["layer"].isna() | (agreement["layer"] == PRIMARY)])


def test_a_dimension_that_a_group_did_not_rate_leaves_its_panel_empty(result):
    agreement = result.tables["agreement"]
    rated = (agreement["dimension"] == "surprise") | (agreement["rater_group"] == "lay")
    figure = curve_of(result, agreement[rated])
    assert "engagement, expert: not rated" in titles(figure)
    assert not [t for t in figure.data if t.xaxis == "x4" and "paper" in t.name]


@pytest.mark.parametrize("kind", ["float64", "object"])
def test_layers_may_be_floats_or_objects(result, kind):
    agreement = result.tables["agreement"]
    read = agreement.assign(layer=agreement["layer"].astype(kind))
    assert trace(curve_of(result, read), "centred", 1).x == tuple(range(N_LAYERS))
    found = forest_figure(read, DataFrame(), DataFrame(), primary=PRIMARY, scope=STRICT)
    assert set(points(found, 1)) == set(KIND_OF)


def test_nothing_but_nan_is_nothing_to_draw(result):
    blank = {
        name: table.assign(**{c: math.nan for c in table.columns if table[c].dtype == float})
        for name, table in result.tables.items()
    }
    assert agreement_figures(replace(result, tables=blank)).keys() <= {"layers"}


def test_a_score_without_any_pair_leaves_the_others_alone(result):
    rows = result.tables["agreement"]
    none = rows.iloc[[0]].assign(
        score="lost", layer=NA, pairwise_accuracy=math.nan, ci_low=math.nan, n_pairs=0
    )
    some = concat([rows, none])
    figure = forest_figure(some, DataFrame(), DataFrame(), primary=PRIMARY, scope=STRICT)
    assert "lost" not in lines_of(figure)


def test_no_string_of_a_figure_holds_a_tag_that_plotly_did_not_get_from_us():
    made = evaluate_result(text="<i>" + "".join(HOSTILE), layers=(2, PRIMARY), n_prompts=3)
    ours = re.compile(r"<br>|<extra>|</extra>")
    found = agreement_figures(made)
    assert set(NAMES) <= set(found)
    for name, figure in found.items():
        drawn = json.loads(figure.to_json())
        drawn["layout"].pop("template")
        seen = 0
        for shown in strings([drawn["data"], drawn["layout"]]):
            bare = ours.sub("", shown)
            assert "<" not in bare, (name, shown)
            seen += "&lt;i&gt;" in bare
        assert seen > 0, name  # the hostile text is there, as text
