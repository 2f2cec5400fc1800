"""Figures of a sweep draw the tables' numbers; its report says what is missing and is inert."""

import json
import math
import re

import numpy as np
import plotly.graph_objects as go
import pytest
from pandas import NA, DataFrame, concat

from creativity_lens.errors import InputError
from creativity_lens.plots.style import CREATIVE, NULL, STEERED
from creativity_lens.plots.sweep_cells import broken_cells, cell_numbers, opposite_of
from creativity_lens.plots.sweep_effects import (
    MOST_PROMPTS,
    prompt_effect_figure,
    read_layer_figure,
)
from creativity_lens.plots.sweep_figures import sweep_figures
from creativity_lens.plots.sweep_maps import heat_map_figure
from creativity_lens.plots.sweep_rivals import RIVALS, matched_figure, necessity_figure
from creativity_lens.plots.sweep_strength import strength_figure
from creativity_lens.plots.sweep_trade_off import trade_off_figure
from creativity_lens.report.sweep import recommended_words, render_sweep
from creativity_lens.report.sweep_run import TABLES
from creativity_lens.report.sweep_samples import roles_of, samples_table, shown_prompts
from creativity_lens.report.sweep_tables import diversity_table, measures_table
from creativity_lens.runs.sweep_config import SweepConfig
from creativity_lens.stats import Interval
from creativity_lens.studies.claims import Claim
from creativity_lens.studies.sweep import SweepResult, analyse
from creativity_lens.studies.sweep_budgets import Budgets
from tests.sweep_fakes import READ_LAYER, Planted, cells_frame, sweep_cells, sweep_tables
from tests.test_plots_report import HOSTILE, OWNED, Page
from tests.test_probe_report import sections, strings, trace, traces

BUDGETS = Budgets(nll=0.5, degenerate=0.1)
WAY = {"mode": "add", "direction": "creativity"}
BEST = "add/creativity/L3/+0.2"
NAMES = (
    "heat_map: add, creativity",
    "strength: add, creativity",
    *("trade_off", "prompt_effects", "read_layers", "matched", "necessity"),
)
# What `sweep_fakes` plants along layer 3, strength s: score 0.2 s, NLL 5 s², KL 4 s².
STRENGTHS = [-0.2, 0.1, 0.2, 0.4]


@pytest.fixture(scope="module")
def tables() -> dict[str, DataFrame]:
    found, _ = analyse(sweep_tables(noise=0), BUDGETS)
    return found


@pytest.fixture(scope="module")
def figures(tables) -> dict[str, go.Figure]:
    return sweep_figures(tables, read_layer=READ_LAYER, budgets=BUDGETS)


def result_of(tables, text: str = "plain") -> SweepResult:
    """A made-up sweep; `text` stands for what a report shows of the run and its claims."""
    claim = Claim(text, Interval(0.04, 0.03, 0.05), text, text, text, "supported", text)
    return SweepResult(
        config=SweepConfig.from_dict(
            {"layers": [1, 3, 5], "strengths": STRENGTHS, "prompts": "stories"}
        ),
        tables=tables,
        claims=(claim,),
        read_layer=READ_LAYER,
        warnings=(f"a warning: {text}",),
        seconds={"generating": 12.25},
        throughput={"generated_tokens_per_second": 209.4},
        provenance={"model": {"name": text}, "instruction": text},
    )


def small_tables(keep: list[str]) -> dict[str, DataFrame]:
    cells = sweep_cells()
    cells = cells_frame(cells[cells["cell_id"].isin(keep)].to_dict("records"))
    found, _ = analyse(
        sweep_tables(cells=cells, n_prompts=4, seeds=(0,), noise=0, read_layers=(READ_LAYER,)),
        BUDGETS,
    )
    return found


@pytest.fixture(scope="module")
def few() -> dict[str, DataFrame]:
    """A cell or two of each kind: every figure, quickly."""
    rivals = ["instruction", "add/within-1/L3/+0.2", "ablate/creativity/L3/1/instruction"]
    return small_tables(["unsteered", BEST, "add/creativity/L3/+0.4", *rivals])


@pytest.fixture(scope="module")
def page(tables) -> str:
    return render_sweep(result_of(tables), command="creativity-lens sweep --out out")


def test_every_figure_is_made(figures):
    assert tuple(figures) == NAMES
    for figure in figures.values():
        assert figure.layout.title.text
        assert figure.data


# --- one row a cell --------------------------------------------------------------------------


def test_cell_numbers_hold_the_planted_effect_and_costs(tables):
    numbers = cell_numbers(tables["effects"], tables["cells"], read_layer=READ_LAYER, split="test")
    by_name = numbers.set_index("cell_id")
    best = by_name.loc[BEST]
    assert best["change"] == pytest.approx(0.04)
    assert best["cost"] == pytest.approx(0.2)
    assert best["kl"] == pytest.approx(0.16)
    assert best["kl_low"] < best["kl"] < best["kl_high"]
    assert best["n_prompts"] == 6
    # L1 at 0.1: half of the texts degenerate, unsteered none.
    assert by_name.loc["add/creativity/L1/+0.1", "degenerate_rise"] == 0.5
    assert (by_name.loc["unsteered", ["change", "cost", "kl"]] == 0).all()
    assert "necessity" not in set(numbers["kind"])  # these have another baseline
    rival = by_name.loc["instruction"]
    assert math.isnan(rival["layer"])


def test_cells_that_did_not_run_on_a_split_are_left_out(tables):
    numbers = cell_numbers(tables["effects"], tables["cells"], read_layer=READ_LAYER, split="dev")
    assert set(numbers["kind"]) == {"unsteered", "steered"}


def test_what_is_not_known_is_not_broken():
    rows = [
        {"degenerate": 0.3, "degenerate_rise": 0.3, "cost": 0.1},
        {"degenerate": 0.2, "degenerate_rise": 0.05, "cost": 0.1},
        {"degenerate": 0.2, "degenerate_rise": 0.2, "cost": 0.1},
        {"degenerate": 0.0, "degenerate_rise": 0.0, "cost": 0.51},
        {"degenerate": math.nan, "degenerate_rise": math.nan, "cost": math.nan},
        {"degenerate": math.nan, "degenerate_rise": math.nan, "cost": 0.6},
    ]
    found = broken_cells(DataFrame(rows), BUDGETS)
    assert found == ["degenerate", "", "budget", "budget", "", "budget"]


def test_the_opposite_is_a_steered_cell_or_a_control(tables):
    recommended, cells = tables["recommended"], tables["cells"]
    assert opposite_of(cells, recommended) == "add/creativity/L3/-0.2"
    weaker = recommended.assign(strength=0.1, cell_id="add/creativity/L3/+0.1")
    assert opposite_of(cells, weaker) == "add/creativity/L3/-0.1"  # a control
    assert opposite_of(cells, recommended.assign(strength=0.3)) is None
    assert opposite_of(cells, recommended.assign(layer=NA)) is None
    assert opposite_of(cells, recommended.iloc[:0]) is None


# --- maps and curves -------------------------------------------------------------------------


def drawn_map(tables, **settings) -> go.Figure:
    return heat_map_figure(
        tables["effects"],
        tables["cells"],
        READ_LAYER,
        **(WAY | {"recommended": tables["recommended"], "budgets": BUDGETS} | settings),
    )


def squares(figure: go.Figure, name: str, panel: int) -> set[tuple[int, int]]:
    """The squares (layer, strength) that the strokes of a trace lie in."""
    (found,) = traces(figure, name, panel)
    points = zip(found.x, found.y, strict=True)
    return {(round(y), round(x)) for x, y in points if not math.isnan(x)}


def test_a_heat_map_shows_change_and_cost_of_each_cell(tables):
    figure = drawn_map(tables)
    change, cost = (trace(figure, name) for name in ("change", "cost"))
    assert list(figure.layout.xaxis.ticktext) == ["-0.2", "+0.1", "+0.2", "+0.4"]
    assert list(figure.layout.yaxis.ticktext) == ["1", "3", "5"]
    assert list(change.z[1]) == pytest.approx([0.2 * s for s in STRENGTHS])
    assert list(cost.z[1]) == pytest.approx([5 * s * s for s in STRENGTHS])
    assert list(change.z[0]) == pytest.approx([-0.1 * abs(s) for s in STRENGTHS], abs=2e-3)
    assert list(change.text[1]) == ["-0.040", "+0.020", "+0.040", "+0.080"]
    assert list(cost.text[1]) == ["+0.20", "+0.05", "+0.20", "+0.80"]
    (row,) = (
        tables["effects"]
        .query(f"cell_id == '{BEST}' and split == 'test'")
        .query(f"metric == 'score' and read_layer == {READ_LAYER}")
        .to_dict("records")
    )
    hover = change.hovertext[1][2]
    assert f"+0.040 [{row['change_low']:+.3f}, {row['change_high']:+.3f}]" in hover
    assert "change of NLL +0.20" in hover
    assert "KL 0.16" in hover
    assert "6 prompts" in hover


def test_the_colours_of_a_heat_map_are_centred_and_not_stretched_by_broken_cells(tables):
    change = trace(drawn_map(tables), "change")
    # At layer 3, 0.4 changes 0.08 but is beyond the budget; ±0.2 change 0.04.
    assert (change.zmin, change.zmax) == pytest.approx((-0.04, 0.04))
    assert change.colorscale[1] == (0.5, "#FFFFFF")
    wide = trace(drawn_map(tables, largest=0.5), "change")
    assert (wide.zmin, wide.zmax) == (-0.5, 0.5)


def test_a_heat_map_marks_broken_cells_and_the_recommended_one_in_both_panels(tables):
    figure = drawn_map(tables)
    degenerate = "25% of texts or more are degenerate"
    beyond = "beyond a budget (NLL +0.5, degenerate +10%)"
    for panel in (1, 2):
        # Layer 1 breaks at every strength; layer 3 at 0.4 costs 5 · 0.4² = 0.8 nats.
        assert squares(figure, degenerate, panel) == {(0, j) for j in range(4)}
        assert squares(figure, beyond, panel) == {(1, 3)}
        assert squares(figure, "recommended", panel) == {(1, 2)}
    # A cell crossed both ways has strokes in all its corners, one struck through in two.
    assert sum(math.isnan(x) for x in trace(figure, beyond, 1).x) == 3
    assert sum(math.isnan(x) for x in trace(figure, degenerate, 1).x) == 4 * 5


def test_the_limits_of_a_heat_map_can_be_moved(tables):
    figure = drawn_map(tables, degenerate_share=0.75, budgets=Budgets(0.9, 0.1))
    # Layer 1 at 0.1 has half of its texts degenerate: no longer broken, but beyond the budget.
    assert squares(figure, "75% of texts or more are degenerate", 1) == {(0, 0), (0, 2), (0, 3)}
    assert squares(figure, "beyond a budget (NLL +0.9, degenerate +10%)", 1) == {(0, 1)}


def test_a_cell_that_was_not_run_leaves_its_square_empty(tables):
    cells = tables["cells"].query("cell_id != 'add/creativity/L5/+0.1'")
    figure = drawn_map({**tables, "cells": cells})
    change = trace(figure, "change")
    assert change.z[2][1] is None
    assert change.text[2][1] == change.hovertext[2][1] == ""
    assert sum(value is None for line in change.z for value in line) == 1


def test_strength_curves_pass_through_the_unsteered_cell_with_intervals(tables):
    # Planted intervals are symmetric; these are longer downwards.
    effects = tables["effects"].assign(change_low=tables["effects"]["change_low"] - 0.01)
    figure = strength_figure(
        effects, tables["cells"], READ_LAYER, **WAY, recommended=tables["recommended"]
    )
    effect, cost = traces(figure, "layer 3")
    at = [-0.2, 0, 0.1, 0.2, 0.4]
    assert list(effect.x) == list(cost.x) == at
    assert list(effect.y) == pytest.approx([0.2 * s for s in at], abs=1e-12)
    assert list(cost.y) == pytest.approx([5 * s * s for s in at], abs=1e-12)
    rows = effects.query("split == 'test' and metric == 'nll'").set_index("cell_id")
    ids = [f"add/creativity/L3/{s:+g}" for s in at if s]
    for end, drawn, sign in (("high", "array", 1), ("low", "arrayminus", -1)):
        bar = sign * (rows.loc[ids, f"change_{end}"] - rows.loc[ids, "change"])
        found = [cost.error_y[drawn][i] for i in (0, 2, 3, 4)]
        assert found == pytest.approx(bar.tolist(), abs=1e-12)
    assert cost.error_y.array[1] == 0  # strength 0 is unsteered itself
    star = trace(figure, "recommended")
    assert (star.x[0], star.y[0]) == (0.2, pytest.approx(0.04))
    assert 0.5 in [s.y0 for s in figure.layout.shapes]


def test_modes_without_a_sign_have_no_strength_0(tables):
    cells = tables["cells"].assign(mode=tables["cells"]["mode"].replace("add", "clamp"))
    figure = strength_figure(
        tables["effects"], cells, READ_LAYER, mode="clamp", direction="creativity"
    )
    assert list(traces(figure, "layer 3")[0].x) == STRENGTHS


# --- cost and rivals -------------------------------------------------------------------------


def test_the_trade_off_places_every_cell_at_its_cost_and_effect(figures):
    figure = figures["trade_off"]
    # (unsteered and) strengths in order: cost 5 s² or 4 s², effect 0.2 s.
    at = [-0.2, 0, 0.1, 0.2, 0.4]
    for panel, factor in ((1, 5), (2, 4)):
        line = trace(figure, "layer 3", panel)
        assert list(line.x) == pytest.approx([factor * s * s for s in at], abs=1e-12)
        assert list(line.y) == pytest.approx([0.2 * s for s in at], abs=1e-12)
        star = trace(figure, "recommended", panel)
        assert (star.x[0], star.y[0]) == pytest.approx((factor * 0.04, 0.04))
        assert star.error_x.visible
        assert star.error_y.array[0] > 0
    assert set(trace(figure, "layer 1", 1).marker.symbol) == {"circle", "x-thin-open"}


def test_the_trade_off_holds_all_rivals_with_distinct_marks(figures):
    figure = figures["trade_off"]
    seen = {}
    for rival, (name, symbol, _) in RIVALS.items():
        points = traces(figure, name, 1)
        assert points, rival
        assert {t.marker.symbol for t in points} == {symbol}
        assert sum(t.showlegend for t in points) == 1
        seen[symbol] = rival
    assert len(seen) == len(RIVALS)
    instruction = trace(figure, RIVALS["instruction"][0], 1)
    assert (instruction.x[0], instruction.y[0]) == pytest.approx((0.1, 0.03))
    assert instruction.error_x.visible
    backwards = traces(figure, RIVALS["opposite"][0], 1)[-1]
    assert (0.2, -0.04) in [
        pytest.approx(point) for point in zip(backwards.x, backwards.y, strict=True)
    ]


def test_controls_of_the_same_norm_have_intervals_and_others_are_small(figures):
    small, near = traces(figures["trade_off"], RIVALS["shuffled"][0], 1)
    # shuffled-1 at layer 3 and 0.2: score 0.04 · 0.2, NLL 4 · 0.2².
    assert (list(near.x), list(near.y)) == ([pytest.approx(0.16)], [pytest.approx(0.008)])
    assert near.error_x.visible
    assert not small.error_x.visible
    assert len(small.x) == 3 * 3 - 1  # of three layers and three strengths
    assert small.marker.size < near.marker.size


def test_sampling_alone_has_no_cost_in_kl(figures):
    for rival in ("temperature", "min_p"):
        assert not traces(figures["trade_off"], RIVALS[rival][0], 2)
    assert traces(figures["trade_off"], RIVALS["within"][0], 2)
    instruction = trace(figures["trade_off"], RIVALS["instruction"][0], 2)
    assert (instruction.x[0], instruction.y[0]) == pytest.approx((0.12, 0.03))


def test_loops_are_not_on_the_front():
    # Likelier than unsteered text, with no KL and a little more of the score.
    loop = {"add/creativity/L5/-0.2": Planted(0.001, -0.3, 0.0, 1.0)}
    found, _ = analyse(sweep_tables(noise=0, read_layers=(READ_LAYER,), plant=loop), BUDGETS)
    for budgets, beaten in ((BUDGETS, False), (Budgets(0.5, 1.0), True)):
        figure = trade_off_figure(
            found["effects"],
            found["cells"],
            recommended=found["recommended"],
            read_layer=READ_LAYER,
            budgets=budgets,
        )
        for panel in (1, 2):
            front = trace(figure, "Pareto front of the steered cells", panel)
            assert ((front.x[0], front.y[0]) != (0, 0)) == beaten


def test_the_front_holds_what_no_steered_cell_beats_in_both(figures):
    # All of layer 1 and 5 costs something for nothing, or less: unsteered and layer 3 remain.
    for panel, factor in ((1, 5), (2, 4)):
        front = trace(figures["trade_off"], "Pareto front of the steered cells", panel)
        assert list(front.x) == pytest.approx([0, factor * 0.01, factor * 0.04, factor * 0.16])
        assert list(front.y) == pytest.approx([0, 0.02, 0.04, 0.08], abs=1e-12)
        assert front.line.shape == "hv"


def test_the_trade_off_opens_near_the_budget_and_counts_what_lies_beyond(tables, figures):
    figure = figures["trade_off"]
    low, high = figure.layout.xaxis.range
    numbers = cell_numbers(tables["effects"], tables["cells"], read_layer=READ_LAYER, split="test")
    beyond = int((numbers["cost"] > high).sum())
    assert low < -0.05  # min-p makes text likelier
    assert 0.8 < high < 2  # layer 1 at 0.2 costs 2
    assert beyond > 0
    assert f"{beyond} cells lie further right" in [a.text for a in figure.layout.annotations]


def test_matched_rivals_are_a_forest_for_each_cost(tables, figures):
    figure = figures["matched"]
    costs = tables["matched"]["cost"].drop_duplicates().tolist()
    for panel, cost in enumerate(costs, start=1):
        for row in tables["matched"].query(f"cost == '{cost}'").to_dict("records"):
            point = trace(figure, RIVALS[row["rival"]][0], panel)
            if math.isnan(row["difference"]):
                assert math.isnan(point.x[0])
                assert point.customdata[0][2] == row["note"].replace("'", "&#x27;")
            else:
                assert point.x[0] == row["difference"]
                high = row["difference_high"] - row["difference"]
                assert point.error_x.array[0] == pytest.approx(high)
    unmatched = int(tables["matched"]["difference"].isna().sum())
    assert unmatched > 0
    assert sum(a.text == "not matched" for a in figure.layout.annotations) == unmatched


def test_necessity_shows_what_is_lost_and_what_remains(tables, figures):
    figure = figures["necessity"]
    lost = trace(figure, "creativity, all layers", 1)
    # The instruction gives 0.03 and with the direction ablated everywhere 0.003.
    assert lost.x[0] == pytest.approx(0.027)
    assert lost.marker.color == CREATIVE
    assert trace(figure, "creativity, all layers", 2).x[0] == pytest.approx(0.9)
    assert trace(figure, "within-1, layer 3", 1).marker.color == NULL
    remaining = trace(figure, "remaining")
    assert list(remaining.x) == tables["necessity"]["remaining_change"].tolist()
    assert any(s.x0 == pytest.approx(0.03) for s in figure.layout.shapes)


def test_the_share_lost_has_its_own_interval(tables):
    row = tables["necessity"].iloc[:1].assign(share_lost=0.5, share_low=0.1, share_high=0.8)
    share = trace(necessity_figure(row), "creativity, layer 3", 2)
    assert share.x[0] == 0.5
    assert share.error_x.array[0] == pytest.approx(0.3)
    assert share.error_x.arrayminus[0] == pytest.approx(0.4)


# --- prompts and reading layers --------------------------------------------------------------


def by_prompt(changes: list[float], *, split: str = "test") -> DataFrame:
    return DataFrame(
        {
            "cell_id": BEST,
            "prompt_id": [f"p{i}" for i in range(len(changes))],
            "split": split,
            "metric": "score",
            "read_layer": READ_LAYER,
            "value": [0.1 + change for change in changes],
            "baseline": 0.1,
            "change": changes,
        }
    )


def test_prompts_are_sorted_and_those_that_go_the_wrong_way_are_coloured(tables):
    figure = prompt_effect_figure(
        by_prompt([0.02, -0.01, math.nan, 0.05]),
        tables["recommended"],
        prompts=DataFrame({"prompt_id": ["p1"], "prompt": ["A tale of <b>."]}),
    )
    assert list(figure.layout.yaxis.ticktext) == ["p1", "p0", "p3"]
    right, wrong = trace(figure, "with the recommended steering"), trace(figure, "the wrong way")
    assert (list(right.x), list(right.y)) == (pytest.approx([0.12, 0.15]), [1, 2])
    assert (list(wrong.x), list(wrong.y)) == (pytest.approx([0.09]), [0])
    assert (right.marker.color, wrong.marker.color) == (STEERED, CREATIVE)
    assert list(trace(figure, "unsteered").x) == [0.1] * 3
    line = trace(figure, "change, the wrong way")
    assert list(line.x) == [0.1, pytest.approx(0.09), None]
    assert "A tale of &lt;b&gt;." in wrong.hovertext[0]


def test_a_backward_push_is_meant_to_lower_the_score(tables):
    backwards = tables["recommended"].assign(strength=-0.2)
    figure = prompt_effect_figure(by_prompt([0.02, -0.01]), backwards)
    assert list(trace(figure, "the wrong way").x) == pytest.approx([0.12])
    # An ablation has no sign: what is recommended is meant to raise the score.
    figure = prompt_effect_figure(by_prompt([0.02, -0.01]), backwards.assign(mode="ablate"))
    assert list(trace(figure, "the wrong way").x) == pytest.approx([0.09])


def test_many_prompts_are_cut_down_to_both_ends(tables):
    changes = [i / 1000 for i in range(100)]
    figure = prompt_effect_figure(by_prompt(changes), tables["recommended"])
    shown = list(trace(figure, "with the recommended steering").x)
    half = MOST_PROMPTS // 2
    expected = [0.1 + c for c in changes[:half] + changes[-half:]]
    assert shown == pytest.approx(expected)
    assert str(MOST_PROMPTS) in figure.layout.title.text


def test_rivals_stand_on_the_line_of_their_own_prompt(tables, figures):
    rival = by_prompt([0.3, 0.2, 0.1]).assign(cell_id="instruction")
    both = concat([by_prompt([0.02, 0.05, -0.01]), rival.iloc[:2]])  # the last prompt has none
    figure = prompt_effect_figure(
        both, tables["recommended"], rivals={"instruction": "instruction"}
    )
    assert list(figure.layout.yaxis.ticktext) == ["p2", "p0", "p1"]
    found = trace(figure, RIVALS["instruction"][0])
    assert list(found.y) == [0, 1, 2]
    np.testing.assert_allclose(np.array(found.x, float), [math.nan, 0.4, 0.3])
    # All together, backwards and the instruction are marked.
    for name in ("instruction", "opposite"):
        assert trace(figures["prompt_effects"], RIVALS[name][0]).x


def test_effects_by_reading_layer_stand_beside_controls_of_the_same_norm(tables, figures):
    figure = figures["read_layers"]
    best = trace(figure, "recommended")
    assert list(best.x) == list(range(6))
    # At read layer r, all changes are times (r + 1) / 5.
    assert list(best.y) == pytest.approx([0.04 * (r + 1) / 5 for r in range(6)])
    band = trace(figure, "recommended, 95 %")
    rows = tables["effects"].query(f"cell_id == '{BEST}' and split == 'test'")
    rows = rows.query("metric == 'score'").sort_values("read_layer")
    assert list(band.y) == pytest.approx([*rows["change_high"], *rows["change_low"][::-1]])
    within = traces(figure, RIVALS["within"][0])
    # within-1 and within-2 at layer 3 and 0.2; not those at other layers and strengths.
    assert [t.y[4] for t in within] == pytest.approx([0.01, -0.02])
    assert [t.customdata[0][2] for t in within] == [f" add/within-{k}/L3/+0.2" for k in (1, 2)]
    assert sum(t.showlegend for t in within) == 1
    assert trace(figure, RIVALS["opposite"][0]).y[4] == pytest.approx(-0.04)
    assert trace(figure, RIVALS["instruction"][0]).y[4] == pytest.approx(0.03)
    words, lines = figure.layout.annotations, figure.layout.shapes[1:]
    marks = {a.text: line.x0 for a, line in zip(words, lines, strict=True)}
    assert marks == {"claims are made here": READ_LAYER, "steered here": 3}


# --- what is missing -------------------------------------------------------------------------

EMPTY = {
    "effects": (*NAMES[:3], "read_layers"),
    "cells": (*NAMES[:3],),
    "prompt_effects": ("prompt_effects",),
    "recommended": ("prompt_effects", "read_layers"),
    "matched": ("matched",),
    "necessity": ("necessity",),
    "layers": (),
    "prompts": (),
}


@pytest.mark.parametrize("name", EMPTY)
@pytest.mark.parametrize("missing", [False, True], ids=["empty", "missing"])
def test_an_empty_table_costs_its_own_figures_alone(few, name, missing):
    some = {n: t for n, t in few.items() if n != name}
    if not missing:
        some[name] = few[name].iloc[:0]
    found = sweep_figures(some, read_layer=READ_LAYER, budgets=BUDGETS)
    assert tuple(found) == tuple(n for n in NAMES if n not in EMPTY[name])


@pytest.mark.parametrize(
    ("draw", "says"),
    [
        (lambda t: drawn_map(t, direction="formality"), "'formality'"),
        (lambda t: drawn_map(t, split="other"), "heat_map_figure"),
        (lambda t: matched_figure(t["matched"][:0]), "matched_figure"),
        (lambda t: necessity_figure(t["necessity"][:0]), "necessity_figure"),
        (
            lambda t: prompt_effect_figure(t["prompt_effects"], t["recommended"][:0]),
            "no cell is recommended",
        ),
        (
            lambda t: read_layer_figure(
                t["effects"], t["cells"], t["recommended"][:0], read_layer=READ_LAYER
            ),
            "no cell is recommended",
        ),
        (
            lambda t: trade_off_figure(
                t["effects"][:0], t["cells"], recommended=t["recommended"], read_layer=READ_LAYER
            ),
            "trade_off_figure",
        ),
    ],
)
def test_a_figure_without_rows_says_what_was_asked_for(tables, draw, says):
    with pytest.raises(InputError, match=f"nothing to draw.*{says}|{says}.*nothing to draw"):
        draw(tables)


def test_without_test_prompts_all_are_shown():
    made = sweep_tables(n_prompts=4, seeds=(0,))
    made = made._replace(prompts=made.prompts.assign(split="dev"))
    steered = made.cells["split"] == "all"
    cells = made.cells[steered]
    made = made._replace(
        cells=cells, metrics=made.metrics[made.metrics["cell_id"].isin(cells["cell_id"])]
    )
    found, _ = analyse(made, BUDGETS)
    figures = sweep_figures(found, read_layer=READ_LAYER, budgets=BUDGETS)
    assert {"trade_off", "prompt_effects", "read_layers"} <= set(figures)
    assert "all prompts" in figures["trade_off"].layout.title.text
    assert len(trace(figures["prompt_effects"], "unsteered").x) == 4
    said = " ".join(recommended_words(found["recommended"], READ_LAYER))
    assert "no test prompts" in said


@pytest.fixture(scope="module")
def single() -> dict[str, DataFrame]:
    """One layer, one strength, one seed, no rivals."""
    return small_tables(["unsteered", BEST])


def test_a_single_cell_makes_a_page_with_sentences_for_what_is_missing(single):
    text = render_sweep(result_of(single), command="c")
    found = sweep_figures(single, read_layer=READ_LAYER, budgets=BUDGETS)
    assert tuple(found) == NAMES[:5]
    assert Page(text).elements["figure"] == 5
    for why in (
        "No rivals were run, so nothing is drawn at equal cost.",
        "The direction was not ablated under the creative instruction",
        "There was one seed, so how much the answers to one prompt differ is not known.",
    ):
        assert why in text
    (change,) = traces(found["heat_map: add, creativity"], "change")
    assert [list(line) for line in change.z] == [[pytest.approx(0.04)]]


def test_nothing_but_nan_still_makes_every_figure_and_a_page(few):
    blank = {
        name: table.assign(
            **{c: math.nan for c in table.columns if table[c].dtype == float and c != "strength"}
        )
        for name, table in few.items()
    }
    found = sweep_figures(blank, read_layer=READ_LAYER, budgets=BUDGETS)
    assert tuple(found) == NAMES
    assert set(trace(found[NAMES[0]], "change").text[0]) == {"?"}
    page = Page(render_sweep(result_of(blank), command="c"))
    assert page.elements["figure"] == len(NAMES)
    assert "not known" in [text for _, text in page.cells]


def test_empty_tables_make_a_page_of_sentences(tables):
    empty = {name: table.iloc[:0] for name, table in tables.items()}
    for some in (empty, {}):
        text = render_sweep(result_of(some), command="c")
        assert Page(text).elements["figure"] == 0
        for why in (
            "Nothing is recommended: no steered cell raises the score",
            "There are no verdicts on layers.",
            "No cell was steered, so there are no maps.",
            "No texts were kept, so none are shown.",
            "The texts were not measured.",
        ):
            assert why in text


# --- the report ------------------------------------------------------------------------------


def test_the_page_opens_with_the_claims_then_warnings_and_what_is_recommended(page):
    assert sections(page)[:3] == ["What can be claimed", "Warnings", "What is recommended"]
    cells = [text for _, text in Page(page).cells]
    assert cells[:5] == ["plain", "0.040 [0.030, 0.050] plain", "plain", "plain", "supported"]
    assert Page(page).elements["figure"] == len(NAMES)


def test_every_caption_says_how_to_read_the_figure_and_when_not_to_believe_it(page):
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page, re.DOTALL)
    assert len(captions) == len(NAMES)
    for caption in captions:
        assert caption.startswith("How to read it")
        assert "When not to believe it: " in caption


def test_the_recommendation_has_its_interval_its_cost_and_its_rule(tables):
    (row,) = tables["recommended"].to_dict("records")
    first, dev, rule = recommended_words(tables["recommended"], READ_LAYER)
    assert first.startswith(
        "Recommended: add, creativity, layer 3, strength +0.2 (share of the residual norm). On 6 "
        f"test prompts it changes the score at layer 4 by +0.040 [{row['test_change_low']:+.3f}, "
        f"{row['test_change_high']:+.3f}] and NLL by +0.20 [{row['test_cost_low']:+.2f}, "
    )
    assert first.endswith("KL is 0.16 nats a token, degenerate texts 0%.")
    assert "+0.040 for +0.20 nats" in dev
    assert row["rule"] in rule


def test_layers_are_named_by_what_they_do(page):
    assert (
        "add, creativity: raises the score within the budgets at layer 3; breaks the text before "
        "it raises the score at layer 1; does nothing at layer 5." in page
    )
    assert "That a layer works has no null of its own" in page


def test_layers_that_are_not_shown_to_work_are_not_said_to_do_nothing(tables, few):
    layers = tables["layers"].assign(verdict=["not shown", "unknown", "not shown"])
    text = render_sweep(result_of({**tables, "layers": layers}), command="c")
    assert (
        "is not shown to raise the score within the budgets at layers 1, 5; is not known at "
        "layer 3." in text
    )
    # Two dev prompts are too few to say.
    assert "is not known at layer 3." in render_sweep(result_of(few), command="c")


def test_samples_are_the_same_prompts_under_the_cells_that_stand_for_the_rest(tables):
    roles = roles_of(tables, read_layer=READ_LAYER, split="test", budgets=BUDGETS)
    assert roles == {
        "unsteered": "unsteered",
        "recommended": BEST,
        "opposite": "add/creativity/L3/-0.2",
        "instruction": "instruction",
        "too strong": "add/creativity/L3/+0.4",  # the weakest beyond the budget
    }
    prompts = shown_prompts(tables, split="test", most=3)
    # Planted: the change grows with the place of the prompt; test prompts are p01, p03 … p11.
    assert prompts == ["p01", "p05", "p11"]
    table = samples_table(tables, roles, prompts, read_layer=READ_LAYER)
    assert len(table.rows) == 3 * 5
    assert [row[0].split(":")[0] for row in table.rows if row[0]] == prompts
    texts = tables["texts"].query("prompt_id == 'p05' and seed == 0").set_index("cell_id")
    metrics = tables["metrics"].query("prompt_id == 'p05' and seed == 0").set_index("cell_id")
    for row, cell in zip(table.rows[5:10], roles.values(), strict=True):
        assert row[4].startswith(texts.loc[cell, "text"])
        own = metrics.loc[[cell]]
        score = own.query(f"metric == 'score' and read_layer == {READ_LAYER}")["value"].item()
        assert row[2] == f"{score:+.3f}"
        nll = own.query("metric == 'nll'")["value"].item()
        assert row[3] == f"{nll:.2f}"
    # A text that was cut at the limit says so: seed 0 of p05 was.
    assert texts.loc[BEST, "finish_reason"] == "length"
    assert table.rows[6][4].endswith("[…]")


def test_too_strong_is_the_weakest_that_no_budget_allows(tables):
    weak = tables["recommended"].assign(cell_id="add/creativity/L3/+0.1", strength=0.1)
    # At 0.2 layer 3 costs 5 · 0.2² = 0.2 nats, at 0.4 it costs 0.8.
    roles = roles_of(
        {**tables, "recommended": weak},
        read_layer=READ_LAYER,
        split="test",
        budgets=Budgets(0.1, 0.1),
    )
    assert roles["too strong"] == BEST


def test_without_a_recommendation_samples_still_show_what_breaks(tables):
    some = {**tables, "recommended": tables["recommended"].iloc[:0]}
    roles = roles_of(some, read_layer=READ_LAYER, split="test", budgets=BUDGETS)
    # Of the cells whose texts are all degenerate, that at 0.4 costs most.
    assert roles == {
        "unsteered": "unsteered",
        "instruction": "instruction",
        "too strong": "add/creativity/L1/+0.4",
    }
    assert shown_prompts(some, split="test", most=2) == ["p01", "p11"]


def test_measures_stand_beside_their_change(tables):
    roles = {"unsteered": "unsteered", "too strong": "add/creativity/L1/+0.4"}
    table = measures_table(tables["effects"], roles, "test")
    assert table.columns == ("", "unsteered", "too strong")
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["degenerate texts (share)"] == ("0", "1 (+1 [+1, +1])")
    assert rows["length in tokens"] == ("48", "48 (no change)")
    assert "degenerate: loop" in rows
    diversity = diversity_table(tables["effects"], roles, "test")
    values = tables["effects"].query("metric == 'self_similarity_3' and split == 'test'")
    value = values.set_index("cell_id").loc["add/creativity/L1/+0.4", "value"]
    assert diversity.rows[1][3].startswith(f"{value:.3g} (+")


def test_what_was_run_names_the_command_the_settings_and_every_table(page, tables):
    cells = Page(page).cells
    assert ("code", "creativity-lens sweep --out out") in cells
    assert cells[cells.index(("", "sweep: nll_budget")) + 1] == ("code", "0.5")
    assert cells[cells.index(("", "speed: generated_tokens_per_second")) + 1][1] == "209.4"
    assert ("code", "generating 12.2 s") in cells
    assert set(tables) == set(TABLES)
    for name in tables:
        at = cells.index(("code", name))
        assert cells[at + 2][1] == TABLES[name]


def test_the_same_results_make_the_same_page(few):
    assert render_sweep(result_of(few), command="c") == render_sweep(result_of(few), command="c")


# --- hostile text ----------------------------------------------------------------------------

EVERYTHING = "\n".join((*HOSTILE, "<b>bold</b>"))
OUTSIDE = (
    *("cell_id", "direction", "prompt_id", "prompt", "text", "note", "reason", "rule"),
    *("claim", "unit", "null", "rival_text"),
)


@pytest.fixture(scope="module")
def hostile_tables(tables):
    """The same tables; every string that comes from outside ends in hostile text."""
    return {
        name: table.assign(
            **{c: table[c].astype(str) + EVERYTHING for c in OUTSIDE if c in table.columns}
        )
        for name, table in tables.items()
    }


def test_no_string_of_a_figure_holds_a_tag_that_plotly_did_not_get_from_us(hostile_tables):
    figures = sweep_figures(hostile_tables, read_layer=READ_LAYER, budgets=BUDGETS)
    assert len(figures) == len(NAMES)
    ours = re.compile(r"<br>|<extra>|</extra>")
    for name, figure in figures.items():
        drawn = json.loads(figure.to_json())
        drawn["layout"].pop("template")
        seen = 0
        for text in strings([drawn["data"], drawn["layout"]]):
            bare = ours.sub("", text)
            assert "<" not in bare, (name, text)
            seen += "&lt;i&gt;" in bare
        assert seen > 0, name  # the hostile text is there, as text


def test_hostile_text_adds_no_element_to_the_page(hostile_tables, page):
    text = render_sweep(result_of(hostile_tables, EVERYTHING), command=HOSTILE[1])
    hostile, harmless = Page(text), Page(page)
    assert hostile.elements == harmless.elements
    assert hostile.attributes == harmless.attributes
    shown = {cell for kind, cell in hostile.cells if kind == "text"}
    assert any(OWNED in cell for cell in shown)  # texts are shown, and whole
    assert ("", EVERYTHING) in hostile.cells  # a claim
    assert ("code", HOSTILE[1]) in hostile.cells  # the command
    assert hostile.title.endswith(EVERYTHING)
