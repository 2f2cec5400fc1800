"""The analysis of a sweep: tables with planted effects, whose numbers can be derived by hand."""

import math
import time

import numpy as np
import pandas as pd
import pytest

from creativity_lens.errors import DataError, InputError
from creativity_lens.stats import Interval, bootstrap_weights, mean_interval
from creativity_lens.studies import probe_claims
from creativity_lens.studies.claims import SAME_CONTRAST
from creativity_lens.studies.probe_tables import read_interval, spread
from creativity_lens.studies.sweep_budgets import Budgets
from creativity_lens.studies.sweep_choice import layer_verdicts, pareto, recommend
from creativity_lens.studies.sweep_claims import sweep_claims
from creativity_lens.studies.sweep_effects import (
    SweepTables,
    effects,
    monotonicity,
    prompt_effects,
)
from creativity_lens.studies.sweep_paths import along
from creativity_lens.studies.sweep_rivals import matched, necessity
from tests.sweep_fakes import (
    READ_LAYER,
    Planted,
    cell,
    cells_frame,
    pushed,
    sweep_cells,
    sweep_tables,
)

BEST = "add/creativity/L3/+0.2"


@pytest.fixture(scope="module")
def tables() -> SweepTables:
    return planted()


@pytest.fixture(scope="module")
def changes(tables):
    return effects(tables)


def planted(**settings) -> SweepTables:
    """A sweep without noise that reads at the primary layer alone."""
    return sweep_tables(**({"noise": 0.0, "read_layers": (READ_LAYER,)} | settings))


def only(table: pd.DataFrame, **where) -> dict:
    """The one row that is asked for."""
    for column, value in where.items():
        table = table[table[column] == value]
    assert len(table) == 1, where
    return table.iloc[0].to_dict()


def score(table: pd.DataFrame, cell_id: str, split: str = "test") -> dict:
    return only(table, cell_id=cell_id, split=split, metric="score", read_layer=READ_LAYER)


def of(table: pd.DataFrame, cell_id: str, metric: str, split: str = "test") -> dict:
    return only(table, cell_id=cell_id, split=split, metric=metric)


def without(tables: SweepTables, *kinds: str) -> SweepTables:
    """The same sweep, in which some kinds of cells were not run."""
    cells = tables.cells[~tables.cells["kind"].isin(kinds)].reset_index(drop=True)
    kept = tables.metrics["cell_id"].isin(cells["cell_id"])
    return tables._replace(cells=cells, metrics=tables.metrics[kept])


def edited(tables: SweepTables, value: float, **where) -> SweepTables:
    """The same sweep, with some values replaced."""
    metrics = tables.metrics.copy()
    chosen = pd.Series(True, index=metrics.index)
    for column, wanted in where.items():
        chosen &= (metrics[column] == wanted).fillna(False).astype(bool)
    assert chosen.any(), where
    metrics.loc[chosen, "value"] = value
    return tables._replace(metrics=metrics)


def by_hand(values: dict[tuple[str, str, int], float]) -> SweepTables:
    """A sweep of one steered cell, of which only scores are known; all prompts are test prompts."""
    prompts = sorted({prompt for _, prompt, _ in values})
    rows = [(c, p, s, "score", READ_LAYER, v) for (c, p, s), v in values.items()]
    names = ["cell_id", "prompt_id", "seed", "metric", "read_layer", "value"]
    metrics = pd.DataFrame(rows, columns=names)
    return SweepTables(
        cells=cells_frame(
            [cell("unsteered", "unsteered"), pushed("steered", "creativity", 3, 0.2)]
        ),
        prompts=pd.DataFrame(
            {"prompt_id": prompts, "prompt": "", "split": "test", "in_contrast": False}
        ),
        texts=pd.DataFrame(),
        metrics=metrics.astype({"seed": "Int64", "read_layer": "Int64"}),
        read_layer=READ_LAYER,
    )


# effects


@pytest.mark.parametrize(("split", "n"), [("dev", 6), ("test", 6), ("all", 12)])
def test_planted_changes_are_found_in_each_split(changes, split, n):
    row = score(changes, BEST, split)
    assert row["change"] == pytest.approx(0.2 * 0.2)
    assert row["value"] - row["baseline"] == pytest.approx(row["change"])
    assert row["n_prompts"] == n
    assert of(changes, BEST, "nll", split)["change"] == pytest.approx(5 * 0.2**2)
    assert of(changes, BEST, "kl", split)["value"] == pytest.approx(4 * 0.2**2)


def test_other_read_layers_have_their_own_rows():
    changes = effects(sweep_tables(noise=0.0))
    for layer in range(6):
        row = only(changes, cell_id=BEST, split="test", metric="score", read_layer=layer)
        assert row["change"] == pytest.approx(0.04 * (layer + 1) / 5)


def test_the_unsteered_cell_changes_nothing(changes):
    rows = changes[changes["cell_id"] == "unsteered"]
    assert len(rows)
    assert (rows[["change", "change_low", "change_high"]] == 0).all(axis=None)


def test_an_interval_is_the_bootstrap_of_the_prompts_means():
    tables = planted(noise=0.01)
    prompts, found = prompt_effects(tables), effects(tables)
    for split in ("dev", "test", "all"):
        own = prompts[(prompts["cell_id"] == BEST) & (prompts["metric"] == "score")]
        own = own if split == "all" else own[own["split"] == split]
        expected = mean_interval(own["change"].to_numpy(), own["prompt_id"].tolist())
        row = score(found, BEST, split)
        assert row["change"] == pytest.approx(expected.estimate)
        assert row["change_low"] == pytest.approx(expected.low)
        assert row["change_high"] == pytest.approx(expected.high)


def test_only_seeds_that_both_cells_have_are_compared():
    # p0 has no steered text of seed 1, whose unsteered one scores 9: the change is 3 - 1 = 2.
    # p1: seeds change by 1 and 3, on average 2. p2 by 5, and a steered text of seed 1 has no
    # unsteered one. The mean over prompts is 9 / 3 = 3.
    values = {("unsteered", "p0", 0): 1.0, ("unsteered", "p0", 1): 9.0, (BEST, "p0", 0): 3.0}
    values |= {("unsteered", "p1", s): 0.0 for s in (0, 1)}
    values |= {(BEST, "p1", 0): 1.0, (BEST, "p1", 1): 3.0}
    values |= {("unsteered", "p2", 0): 0.0, (BEST, "p2", 0): 5.0, (BEST, "p2", 1): 7.0}
    row = score(effects(by_hand(values)), BEST)
    assert (row["change"], row["n_prompts"]) == (pytest.approx(3.0), 3)
    # baselines of the pairs alone: (1 + 0 + 0) / 3
    assert row["baseline"] == pytest.approx(1 / 3)


def test_a_prompt_that_is_known_on_one_side_only_is_left_out():
    values = {("unsteered", p, 0): 0.0 for p in ("p0", "p1", "p2")}
    values |= {(BEST, "p0", 0): 1.0, (BEST, "p1", 0): 2.0, (BEST, "p2", 0): math.nan}
    row = score(effects(by_hand(values)), BEST)
    assert (row["change"], row["n_prompts"]) == (1.5, 2)
    assert row["change_low"] == 1.0
    assert row["change_high"] == 2.0


def test_one_prompt_has_no_interval():
    values = {("unsteered", "p0", 0): 0.0, (BEST, "p0", 0): 1.0}
    row = score(effects(by_hand(values)), BEST)
    assert row["change"] == 1.0
    assert math.isnan(row["change_low"])


def test_ablation_under_the_instruction_is_compared_with_the_instruction(changes):
    row = score(changes, "ablate/creativity/L3/1/instruction")
    assert row["change"] == pytest.approx(-0.012)
    assert row["baseline"] == pytest.approx(score(changes, "instruction")["value"])


def test_kl_counts_from_zero_where_the_unsteered_cell_has_none(tables):
    metrics = tables.metrics
    drop = (metrics["cell_id"] == "unsteered") & (metrics["metric"] == "kl")
    row = of(effects(tables._replace(metrics=metrics[~drop])), BEST, "kl")
    assert row["change"] == pytest.approx(0.16)


def test_cells_have_rows_for_the_splits_they_ran_on(changes):
    splits = changes.groupby("cell_id")["split"].agg(set)
    assert splits[BEST] == splits["unsteered"] == {"dev", "test", "all"}
    assert splits["instruction"] == splits["add/within-1/L3/+0.2"] == {"test"}


def test_measures_over_seeds_are_compared_too(changes):
    assert of(changes, "add/creativity/L1/+0.2", "pooled_distinct_2")["change"] < -0.4
    single = effects(planted(seeds=(0,)))
    assert "pooled_distinct_2" not in set(single["metric"])
    assert score(single, BEST)["change"] == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("cell_id", "share"),
    [
        ("add/creativity/L3/+0.2", 0.0),
        ("add/creativity/L3/-0.2", 0.0),
        ("add/creativity/L1/+0.2", 1.0),
        ("add/creativity/L1/-0.2", 0.0),
        ("add/creativity/L3/-0.4", 0.0),  # a control: the direction turned round
        ("add/within-2/L3/+0.2", math.nan),
        ("add/unrelated:formality/L3/+0.2", math.nan),
        ("instruction", math.nan),
        ("temperature/1.5", math.nan),
        ("unsteered", math.nan),
    ],
)
def test_the_wrong_way_is_against_the_sign_of_the_strength(changes, cell_id, share):
    assert score(changes, cell_id)["wrong_way"] == pytest.approx(share, nan_ok=True)
    assert math.isnan(of(changes, cell_id, "nll")["wrong_way"])


def test_rounding_goes_no_way():
    # two of three prompts: one falls, one is the same text read again; 1 of 3 goes the wrong way
    values = {("unsteered", p, 0): 0.0 for p in ("p0", "p1", "p2")}
    values |= {(BEST, "p0", 0): -0.1, (BEST, "p1", 0): -1e-8, (BEST, "p2", 0): 0.1}
    assert score(effects(by_hand(values)), BEST)["wrong_way"] == pytest.approx(1 / 3)


def test_the_order_of_rows_does_not_matter(tables, changes):
    mixed = tables._replace(metrics=tables.metrics.sample(frac=1, random_state=0))
    pd.testing.assert_frame_equal(effects(mixed), changes)


def test_effects_of_prompts_average_to_the_effects(tables, changes):
    prompts = prompt_effects(tables)
    assert set(prompts["metric"]) == {"score", "nll", "kl", "degenerate"}
    assert set(prompts["read_layer"].dropna()) == {READ_LAYER}
    for cell_id in (BEST, "ablate/creativity/all/1/instruction"):
        own = prompts[(prompts["cell_id"] == cell_id) & (prompts["split"] == "test")]
        assert own.groupby("metric").size().to_dict() == dict.fromkeys(set(own["metric"]), 6)
        means = own.groupby("metric")["change"].mean()
        assert means["score"] == pytest.approx(score(changes, cell_id)["change"])
        assert means["nll"] == pytest.approx(of(changes, cell_id, "nll")["change"])


def test_tables_that_do_not_fit_together_are_refused(tables):
    metrics = tables.metrics
    twice = pd.concat([metrics, metrics.iloc[[7]]])
    with pytest.raises(DataError, match="more than once"):
        effects(tables._replace(metrics=twice))
    with pytest.raises(DataError, match="'instruction', which the table of cells lacks"):
        effects(tables._replace(cells=tables.cells[tables.cells["kind"] != "instruction"]))
    with pytest.raises(DataError, match="'p11', which the table of prompts lacks"):
        effects(tables._replace(prompts=tables.prompts.iloc[:-1]))
    with pytest.raises(DataError, match="here are 0"):
        effects(without(tables, "unsteered"))


def test_many_cells_take_no_loop():
    rows = [cell("unsteered", "unsteered")]
    rows += [pushed("steered", "creativity", n, s) for n in range(30) for s in (0.1, 0.2)]
    large = sweep_tables(
        cells=cells_frame(rows), n_prompts=16, read_layers=range(30), seeds=(0,), noise=0.01
    )
    start = time.process_time()
    found = effects(large)
    # 8235 intervals: 0.6 s; one by one, as in `mean_interval`, they take half a minute.
    assert time.process_time() - start < 6
    assert len(found) == 61 * 3 * (30 + 15)


# monotonicity


def test_monotonicity_by_hand(tables):
    table = monotonicity(tables)
    found = table.set_index("layer")["spearman"]
    assert found[3] == pytest.approx(1.0)
    # Strengths -0.2, 0, 0.1, 0.2, 0.4 change the score by -.02, 0, -.01, -.02, -.04: ranks
    # 2.5, 5, 4, 2.5, 1 against 1 to 5. Sums of products about the means: -5.5, 10 and 9.5.
    assert found[1] == pytest.approx(-5.5 / math.sqrt(10 * 9.5))
    assert found[5] == 0.0  # no score changes at all
    assert (table["n_strengths"] == 5).all()
    assert (table["n_prompts"] == 6).all()
    assert table.set_index("layer")["wrong_way"].to_dict() == {1: 1.0, 3: 0.0, 5: 0.0}


def test_monotonicity_has_an_interval_over_test_prompts():
    tables = planted(noise=0.03)
    row = only(monotonicity(tables), layer=3)
    assert row["spearman_low"] < row["spearman"] < row["spearman_high"]
    pd.testing.assert_frame_equal(monotonicity(_shaken(tables, "dev")), monotonicity(tables))
    assert not monotonicity(_shaken(tables, "test")).equals(monotonicity(tables))


def test_two_strengths_have_no_rank_correlation_of_their_own():
    rows = [cell("unsteered", "unsteered"), pushed("steered", "creativity", 3, 0.2)]
    row = only(monotonicity(planted(cells=cells_frame(rows))), layer=3)
    assert row["n_strengths"] == 2
    assert math.isnan(row["spearman"])


# choice


def test_layers_are_named_by_what_they_do(tables, changes):
    table = layer_verdicts(tables, changes)
    assert table.set_index("layer")["verdict"].to_dict() == {
        1: "breaks",
        3: "works",
        5: "nothing",
    }
    works = only(table, layer=3)
    assert "at +0.1, +0.2" in works["reason"]
    assert "lowers the score at -0.2" in works["reason"]
    assert works["best_strength"] == 0.2  # 0.4 does more, for 0.8 nats
    assert works["best_change"] == pytest.approx(0.04)
    assert works["best_cost"] == pytest.approx(0.2)
    assert math.isnan(only(table, layer=1)["best_strength"])


def test_lowering_the_score_is_not_working():
    cells = [cell("unsteered", "unsteered"), pushed("steered", "creativity", 3, -0.2)]
    tables = planted(cells=cells_frame(cells))
    row = only(layer_verdicts(tables, effects(tables)), layer=3)
    assert row["verdict"] == "not shown"
    assert row["reason"] == "no strength above 0 was run; lowers the score at -0.2"


def layer_5(**settings) -> dict:
    """What is said of layer 5, where strengths do nothing unless they are planted."""
    tables = planted(**settings)
    return only(layer_verdicts(tables, effects(tables)), layer=5)


def at_layer_5(**plant: Planted) -> dict[str, Planted]:
    """Cells of layer 5 by strength: `p2` is +0.2, `m2` is -0.2."""
    return {
        f"add/creativity/L5/{name.replace('p', '+0.').replace('m', '-0.')}": planted
        for name, planted in plant.items()
    }


def test_a_layer_of_broken_texts_breaks_though_its_likelihood_is_fine():
    broken = Planted(0.0, 0.0, 0.0, 0.5)
    row = layer_5(plant=at_layer_5(p2=broken, p4=broken))
    assert row["verdict"] == "breaks"
    assert "at +0.2, +0.4" in row["reason"]


@pytest.mark.parametrize(
    ("plant", "verdict", "says"),
    [
        # Only backwards is it too dear.
        ({"m2": Planted(-0.05, 2.0)}, "nothing", "within budget"),
        # Too dear where it first raises the score, but not before.
        ({"p2": Planted(0.1, 2.0), "p4": Planted(0.2, 4.0)}, "not shown", "only: at +0.2, +0.4"),
        # Too dear before it raises the score.
        ({"p2": Planted(0.0, 2.0), "p4": Planted(0.2, 4.0)}, "breaks", "at +0.2, +0.4"),
        # What the strongest breaks does not matter, if a weaker one works.
        ({"p2": Planted(0.1, 0.1), "p4": Planted(0.0, 4.0)}, "works", "at +0.2"),
    ],
)
def test_a_layer_breaks_only_where_it_should_have_raised_the_score_by_then(plant, verdict, says):
    row = layer_5(plant=at_layer_5(**plant))
    assert row["verdict"] == verdict
    assert says in row["reason"]


@pytest.mark.parametrize(("size", "verdict"), [(0.01, "nothing"), (0.05, "not shown")])
def test_a_layer_does_nothing_only_if_its_intervals_are_narrow(tables, size, verdict):
    # Of six dev prompts three rise and three fall by as much: the interval of the mean 0 is about
    # 1.96 · size / √6 = 0.8 · size either way. The best cell changes 0.04.
    metrics = tables.metrics.copy()
    there = metrics["cell_id"].str.startswith("add/creativity/L5") & (metrics["metric"] == "score")
    turn = metrics["prompt_id"].str[1:].astype(int) // 2 % 2
    metrics.loc[there, "value"] += size * (1 - 2 * turn[there])
    shaken = tables._replace(metrics=metrics)
    row = only(layer_verdicts(shaken, effects(shaken)), layer=5)
    assert row["verdict"] == verdict
    assert ("half of the best cell's change" in row["reason"]) == (verdict == "nothing")


def test_without_a_cell_that_raises_the_score_no_layer_is_told_to_do_nothing():
    lowering = {c: Planted(-0.01) for c in sweep_cells()["cell_id"] if "add/creativity" in c}
    lowering |= at_layer_5(p1=Planted(-0.1), p2=Planted(-0.1), p4=Planted(-0.1))
    assert layer_5(plant=lowering)["verdict"] == "not shown"


@pytest.mark.parametrize(("n_dev", "known"), [(1, False), (2, False), (4, False), (5, True)])
def test_fewer_than_five_dev_prompts_say_nothing_of_a_layer(n_dev, known):
    tables = planted(n_prompts=2 * n_dev)
    found = layer_verdicts(tables, effects(tables))
    assert (set(found["verdict"]) == {"unknown"}) == (not known)
    if not known:
        assert found["reason"].str.contains(f"too few dev prompts: {n_dev}, and 5").all()


def test_a_score_that_is_known_on_few_prompts_says_nothing_of_a_layer(tables):
    dev = tables.prompts["prompt_id"][tables.prompts["split"] == "dev"]
    few = tables
    for prompt in dev[:2]:
        for s in ("-0.2", "+0.1", "+0.2", "+0.4"):
            where = {"cell_id": f"add/creativity/L3/{s}", "prompt_id": prompt, "metric": "score"}
            few = edited(few, math.nan, **where)
    row = only(layer_verdicts(few, effects(few)), layer=3)
    # +0.4 is beyond the budget whatever its score; nothing weaker is known to raise it.
    assert row["verdict"] == "breaks"
    lenient = only(layer_verdicts(few, effects(few), Budgets(nll=1.0)), layer=3)
    assert lenient["verdict"] == "unknown"
    assert "fewer than 5 dev prompts" in lenient["reason"]


@pytest.mark.parametrize(
    ("budgets", "chosen"),
    [
        (Budgets(), "add/creativity/L3/+0.2"),
        (Budgets(nll=0.1), "add/creativity/L3/+0.1"),
        (Budgets(nll=1.0), "add/creativity/L3/+0.4"),
        (Budgets(nll=0.2), "add/creativity/L3/+0.2"),  # just affordable
        (Budgets(nll=0.8), "add/creativity/L3/+0.4"),
    ],
)
def test_the_budget_chooses_the_strength(tables, changes, budgets, chosen):
    assert only(recommend(tables, changes, budgets))["cell_id"] == chosen


def test_the_recommendation_reports_both_splits(tables, changes):
    row = only(recommend(tables, changes))
    assert (row["layer"], row["strength"], row["unit"]) == (3, 0.2, "relative")
    assert row["dev_change"] == pytest.approx(0.04)
    assert row["dev_cost"] == pytest.approx(0.2)
    assert row["test_change"] == pytest.approx(0.04)
    assert row["test_kl"] == pytest.approx(0.16)
    assert row["test_degenerate"] == 0
    assert (row["n_dev"], row["n_test"]) == (6, 6)
    test = score(changes, BEST)
    assert row["test_change_low"] == test["change_low"] < 0.04 < row["test_change_high"]
    assert row["test_cost_high"] == of(changes, BEST, "nll")["change_high"]
    assert "at most 0.5 nats" in row["rule"]


def test_broken_texts_are_not_recommended():
    # 2 of 6 dev texts, so 0.33 more than the 0 of the unsteered cell
    tables = planted(plant={BEST: Planted(0.04, 0.2, 0.16, 0.3)})
    changes = effects(tables)
    assert only(recommend(tables, changes))["cell_id"] == "add/creativity/L3/+0.1"
    lenient = recommend(tables, changes, Budgets(degenerate=0.34))
    assert only(lenient)["cell_id"] == BEST


def test_texts_broken_without_steering_are_not_held_against_it():
    plant = {name: Planted(0.04, 0.2, 0.16, 0.3) for name in (BEST,)}
    plant |= {"unsteered": Planted(0, 0, 0, 0.3)}
    tables = planted(plant=plant)
    assert only(recommend(tables, effects(tables)))["cell_id"] == BEST


def test_nothing_affordable_recommends_nothing(tables, changes):
    strict = Budgets(nll=0.001)
    assert recommend(tables, changes, strict).empty
    empty = recommend(tables, changes, strict)
    assert list(empty.columns) == list(recommend(tables, changes).columns)
    # affordable, but nothing raises the score
    harmless = {name: Planted() for name in tables.cells["cell_id"] if "add/creativity" in name}
    tables = planted(plant=harmless)
    assert recommend(tables, effects(tables)).empty


def _shaken(tables: SweepTables, split: str) -> SweepTables:
    """The same sweep, with other numbers for all prompts of a split."""
    names = tables.prompts["prompt_id"][tables.prompts["split"] == split]
    metrics = tables.metrics.copy()
    there = metrics["prompt_id"].isin(names)
    noise = np.random.default_rng(1).normal(0, 3, int(there.sum()))
    metrics.loc[there, "value"] = noise
    return tables._replace(metrics=metrics)


def test_test_prompts_cannot_change_the_choice(tables, changes):
    shaken = _shaken(tables, "test")
    other = effects(shaken)
    pd.testing.assert_frame_equal(pareto(shaken, other), pareto(tables, changes))
    pd.testing.assert_frame_equal(layer_verdicts(shaken, other), layer_verdicts(tables, changes))
    before, after = recommend(tables, changes), recommend(shaken, other)
    tested = [name for name in before if name.startswith("test_")]
    pd.testing.assert_frame_equal(before.drop(columns=tested), after.drop(columns=tested))
    assert (before[tested] != after[tested]).all(axis=None)


def test_dev_prompts_can_change_the_choice(tables):
    dev = tables.prompts["prompt_id"][tables.prompts["split"] == "dev"]
    high = tables
    for prompt in dev:
        high = edited(high, 1.0, cell_id="add/creativity/L5/+0.1", prompt_id=prompt, metric="score")
    assert only(recommend(high, effects(high)))["cell_id"] == "add/creativity/L5/+0.1"


@pytest.mark.parametrize(
    ("rival", "winner"),
    [
        (Planted(0.04, 0.15), "add/creativity/L5/+0.4"),  # as much for less
        (Planted(0.04, 0.25), "add/creativity/L3/+0.2"),  # as much for more
        (Planted(0.04, 0.2), "add/creativity/L3/+0.2"),  # the same, at a larger strength
    ],
)
def test_ties_are_broken_by_cost_and_then_by_strength(rival, winner):
    tables = planted(plant={"add/creativity/L5/+0.4": rival})
    turned = tables._replace(cells=tables.cells.iloc[::-1])
    for one in (tables, turned):
        assert only(recommend(one, effects(one)))["cell_id"] == winner


def test_a_full_tie_goes_to_the_first_name():
    tables = planted(plant={"add/creativity/L1/+0.2": Planted(0.04, 0.2)})
    turned = tables._replace(cells=tables.cells.iloc[::-1])
    for one in (tables, turned):
        assert only(recommend(one, effects(one)))["cell_id"] == "add/creativity/L1/+0.2"


def test_a_ruler_at_the_levers_layer_is_named():
    tables = planted(read_layer=3, read_layers=(3,))
    changes = effects(tables)
    assert "the ruler is at the lever's layer" in only(recommend(tables, changes))["rule"]
    verdicts = layer_verdicts(tables, changes)
    assert ["lever" in reason for reason in verdicts["reason"]] == [False, True, False]


def test_a_ruler_elsewhere_is_not(tables, changes):
    assert "lever" not in only(recommend(tables, changes))["rule"]
    assert not layer_verdicts(tables, changes)["reason"].str.contains("lever").any()


def test_the_front_by_hand(tables, changes):
    table = pareto(tables, changes)
    assert set(table["cell_id"][table["on_front"]]) == {
        "unsteered",
        "add/creativity/L3/+0.1",
        "add/creativity/L3/+0.2",
        "add/creativity/L3/+0.4",
    }
    assert not only(table, cell_id="add/creativity/L3/+0.4")["affordable"]
    assert only(table, cell_id="add/creativity/L1/+0.2")["degenerate"] == 1.0
    assert set(table["mode"]) == {"none", "add"}
    assert len(table) == 13


def test_loops_do_not_beat_unsteered_text(tables):
    # A loop is likelier than unsteered text, and scores a little more.
    loop = {"add/creativity/L5/-0.2": Planted(0.001, -0.3, 0.0, 1.0)}
    looping = planted(plant=loop)
    table, plain = (pareto(one, effects(one)) for one in (looping, tables))
    assert not only(table, cell_id="add/creativity/L5/-0.2")["on_front"]
    assert only(table, cell_id="unsteered")["on_front"]
    assert table["on_front"].tolist() == plain["on_front"].tolist()
    lenient = pareto(looping, effects(looping), Budgets(degenerate=1.0))
    assert only(lenient, cell_id="add/creativity/L5/-0.2")["on_front"]
    assert not only(lenient, cell_id="unsteered")["on_front"]


def test_the_front_is_what_no_other_cell_beats():
    plant = {}
    random = np.random.default_rng(3)
    for cell_id in sweep_cells()["cell_id"]:
        if cell_id.startswith("add/creativity"):
            plant[cell_id] = Planted(*random.normal(0, 0.1, 2))
    tables = planted(plant=plant)
    table = pareto(tables, effects(tables))
    for row in table.to_dict("records"):
        better = (
            (table["change"] >= row["change"])
            & (table["cost"] <= row["cost"])
            & ((table["change"] > row["change"]) | (table["cost"] < row["cost"]))
        )
        assert row["on_front"] == (not better.any())


@pytest.mark.parametrize("bad", [{"nll": math.nan}, {"nll": -0.1}, {"degenerate": math.inf}])
def test_budgets_are_numbers_that_are_not_negative(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        Budgets(**bad)


# rivals


def met(tables: SweepTables, rival: str, cost: str) -> dict:
    return only(matched(tables, recommend(tables, effects(tables))), rival=rival, cost=cost)


@pytest.fixture(scope="module")
def comparisons(tables, changes):
    return matched(tables, recommend(tables, changes))


@pytest.mark.parametrize(
    ("rival", "cost", "at", "steered", "change"),
    [
        # The steered path is (0.05, 0.02), (0.2, 0.04); the instruction costs 0.1 at most.
        ("instruction", "nll", 0.1, 0.02 + 0.05 / 0.15 * 0.02, 0.03),
        # In KL the steered path is (0.04, 0.02), (0.16, 0.04); the instruction's KL is 0.12.
        ("instruction", "kl", 0.12, 0.02 + 0.08 / 0.12 * 0.02, 0.03),
        # between temperature 1.2 (0.15, 0.005) and 1.5 (0.6, 0.01)
        ("temperature", "nll", 0.2, 0.04, 0.005 + 0.05 / 0.45 * 0.005),
        # the costlier of 0.02 (0.05, 0.002) and 0.1 (-0.05, 0.001)
        ("min_p", "nll", 0.05, 0.02, 0.002),
        # within-1 changes 0.01, within-2 -0.02
        ("within", "norm", 0.2, 0.04, 0.015),
        # within-1: (0.16, 0.01), (0.64, 0.02); within-2: (0.08, -0.01), (0.32, -0.02)
        ("within", "nll", 0.2, 0.04, ((0.01 + 0.04 / 0.48 * 0.01) + 0.015) / 2),
        # within-1: (0.05, 0.005), (0.2, 0.01); within-2: (0.1, -0.01), (0.4, -0.02)
        ("within", "kl", 0.16, 0.04, ((0.005 + 0.11 / 0.15 * 0.005) + 0.012) / 2),
        ("shuffled", "norm", 0.2, 0.04, 0.008),
        ("unrelated", "kl", 0.16, 0.04, 0.02),
        # -0.2 of the grid itself; the controls are -0.1 and -0.4. It keeps its sign.
        ("opposite", "norm", 0.2, 0.04, -0.04),
        ("opposite", "nll", 0.2, 0.04, -0.04),
    ],
)
def test_rivals_are_met_at_equal_cost(comparisons, rival, cost, at, steered, change):
    row = only(comparisons, rival=rival, cost=cost)
    assert row["at"] == pytest.approx(at)
    assert row["steered_change"] == pytest.approx(steered)
    assert row["rival_change"] == pytest.approx(change)
    assert row["difference"] == pytest.approx(steered - change)
    assert row["difference_low"] <= row["difference"] <= row["difference_high"]
    assert row["n_prompts"] == 6


def test_notes_name_draws_and_what_is_not_reached(comparisons):
    notes = comparisons.set_index(["rival", "cost"])["note"]
    assert notes["within", "norm"] == "|change|, mean of 2 draws; largest 0.020 (within-2)"
    assert "does not reach" in notes["instruction", "nll"]
    assert notes["temperature", "nll"] == ""


@pytest.mark.parametrize(
    ("rival", "cost", "why"),
    [
        ("instruction", "norm", "adds no vector"),
        ("temperature", "norm", "adds no vector"),
        ("min_p", "norm", "adds no vector"),
        ("temperature", "kl", "does not change the logits"),
        ("min_p", "kl", "does not change the logits"),
    ],
)
def test_what_adds_no_vector_has_no_norm_and_sampling_has_no_kl(comparisons, rival, cost, why):
    row = only(comparisons, rival=rival, cost=cost)
    assert all(math.isnan(row[name]) for name in ("at", "rival_change", "difference_low"))
    assert row["n_draws"] == row["n_prompts"] == 0
    assert why in row["note"]


def test_draws_that_move_the_score_as_far_are_counted():
    # Turned round, within-1 moves the score further than steering does, the other way.
    extra = [pushed("control", "within-1", 3, -0.2)]
    cells = cells_frame([*sweep_cells().to_dict("records"), *extra])
    plant = {"add/within-1/L3/-0.2": Planted(-0.05, 0.2, 0.16)}
    row = met(planted(cells=cells, plant=plant), "within", "norm")
    assert (row["n_draws"], row["n_as_far"]) == (3, 1)


def test_each_bootstrap_draw_does_the_whole_comparison_again():
    tables = planted(noise=0.01, n_prompts=16)
    prompts = prompt_effects(tables)
    prompts = prompts[prompts["split"] == "test"]

    assert only(recommend(tables, effects(tables)))["cell_id"] == BEST
    change = {
        name: own["change"].to_numpy() for name, own in prompts.groupby(["cell_id", "metric"])
    }
    hot = ["temperature/1.2", "temperature/1.5"]
    draws = []
    for weight in bootstrap_weights(sorted(set(prompts["prompt_id"])), 2000):

        def mean(cell_id, metric, weight=weight):
            return change[cell_id, metric] @ weight / weight.sum()

        costs, scores = ([0.0, *(mean(c, m) for c in hot)] for m in ("nll", "score"))
        rival = np.interp(mean(BEST, "nll"), costs, scores)
        draws.append(mean(BEST, "score") - rival)
    row = met(tables, "temperature", "nll")
    assert row["difference_low"] == pytest.approx(np.quantile(draws, 0.025), abs=1e-9)
    assert row["difference_high"] == pytest.approx(np.quantile(draws, 0.975), abs=1e-9)


def test_a_rival_that_costs_nothing_meets_unsteered_text():
    tables = planted(plant={"instruction": Planted(0.03, -0.05)})
    row = met(tables, "instruction", "nll")
    assert (row["at"], row["steered_change"]) == (0.0, 0.0)
    assert row["difference"] == pytest.approx(-0.03)


def test_steering_that_costs_nothing_meets_rivals_that_cost_nothing():
    tables = planted(plant={BEST: Planted(0.04, -0.1, 0.16)})
    row = met(tables, "temperature", "nll")
    assert (row["at"], row["rival_change"]) == (0.0, 0.0)
    assert row["difference"] == pytest.approx(0.04)


def test_costs_that_do_not_grow_are_met_at_their_first_crossing():
    # 0.2 is first reached between the unsteered cell and 1.2: 0.2 / 0.3 of 0.006. A way back down,
    # to 1.5 at 0.1, is past that point.
    plant = {"temperature/1.2": Planted(0.006, 0.3), "temperature/1.5": Planted(0.05, 0.1)}
    row = met(planted(plant=plant), "temperature", "nll")
    assert row["at"] == pytest.approx(0.2)
    assert row["rival_change"] == pytest.approx(0.004)


def test_a_cheaper_weaker_cell_does_not_stand_in_for_the_recommended_one():
    # +0.1 costs more than +0.2 does, so the steered path crosses 0.2 on the way to it.
    plant = {"add/creativity/L3/+0.1": Planted(0.01, 0.4)}
    tables = planted(plant=plant)
    assert met(tables, "temperature", "nll")["steered_change"] == pytest.approx(0.04)


def test_random_directions_turned_round_are_further_draws():
    extra = [pushed("control", "within-1", 3, -0.2)]
    cells = cells_frame([*sweep_cells().to_dict("records"), *extra])
    plant = {"add/within-1/L3/-0.2": Planted(-0.06, 0.1, 0.1)}
    row = met(planted(cells=cells, plant=plant), "within", "norm")
    assert row["rival_change"] == pytest.approx((0.01 + 0.02 + 0.06) / 3)
    assert "3 draws; largest 0.060 (-within-1)" in row["note"]


def test_families_that_were_not_run_have_no_rows(tables):
    bare = without(tables, "control", "sampling", "instruction", "necessity")
    table = matched(bare, recommend(bare, effects(bare)))
    assert set(table["rival"]) == {"opposite"}  # the grid's own negative strength
    nothing = matched(tables, recommend(tables, effects(tables), Budgets(nll=0.0)))
    assert nothing.empty
    assert list(nothing.columns) == list(table.columns)


def test_controls_of_another_layer_do_not_stand_in():
    cells = sweep_cells()
    cells = cells[~((cells["kind"] == "control") & (cells["layer"] == 3))]
    row = met(planted(cells=cells), "within", "nll")
    assert math.isnan(row["difference"])
    assert "layer 3 in mode add" in row["note"]


def test_a_rival_without_any_score_is_not_matched(tables):
    dead = edited(tables, math.nan, cell_id="instruction", metric="score")
    row = met(dead, "instruction", "nll")
    assert math.isnan(row["difference"])
    assert "no score or nll" in row["note"]


def test_lower_temperatures_are_no_rival():
    cells = cells_frame(
        [
            *sweep_cells().to_dict("records"),
            cell("sampling", "temperature/0.5", mode="temperature", strength=0.5, temperature=0.5),
        ]
    )
    plant = {"temperature/0.5": Planted(0.9, 0.4)}
    row = met(planted(cells=cells, plant=plant), "temperature", "nll")
    assert row["rival_change"] < 0.01


def test_a_path_with_growing_costs_is_linear_interpolation():
    random = np.random.default_rng(0)
    cost = np.concatenate([np.zeros((1, 50)), random.uniform(0.01, 1, (4, 50)).cumsum(axis=0)])
    change = np.concatenate([np.zeros((1, 50)), random.normal(size=(4, 50))])
    at = random.uniform(0, 1, 50) * cost[-1]
    expected = [np.interp(at[i], cost[:, i], change[:, i]) for i in range(50)]
    np.testing.assert_allclose(along(cost, change, at), expected)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (0.0, 1.0),  # the cell that costs nothing, no more than the origin does
        (0.15, 1.5),  # half of the way from there (0, 1) to (0.3, 2)
        (0.3, 2.0),
        (0.4, 3 + 2 / 3),  # from (0.2, 3) to (0.5, 4): two thirds of the way
        (0.5, 4.0),
        (0.51, math.nan),  # never reached, never guessed
        (math.nan, math.nan),
    ],
)
def test_a_path_by_hand(at, expected):
    cost = np.array([[0.0], [-0.1], [0.3], [0.2], [0.5]])
    change = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]])
    found = along(cost, change, np.array([at]))
    assert found[0] == pytest.approx(expected, nan_ok=True)


# necessity


def test_what_is_lost_by_hand(tables):
    row = only(necessity(tables), cell_id="ablate/creativity/L3/1/instruction")
    assert row["instructed_change"] == pytest.approx(0.03)
    assert row["remaining_change"] == pytest.approx(0.018)
    assert row["lost"] == pytest.approx(0.012)
    assert row["share_lost"] == pytest.approx(0.4)
    assert row["nll_change"] == pytest.approx(0.02)
    assert row["lost_low"] < 0.012 < row["lost_high"]
    # every prompt loses the same share of what it gained
    assert row["share_low"] == pytest.approx(0.4)
    everywhere = only(necessity(tables), cell_id="ablate/creativity/all/1/instruction")
    assert everywhere["share_lost"] == pytest.approx(0.9)
    assert pd.isna(everywhere["layer"])
    assert only(necessity(tables), cell_id="ablate/within-1/L3/1/instruction")["lost"] == (
        pytest.approx(0.001)
    )


def test_the_share_has_the_interval_of_a_ratio():
    tables = planted(noise=0.005)
    prompts = prompt_effects(tables)
    prompts = prompts[(prompts["metric"] == "score") & (prompts["split"] == "test")]
    name = "ablate/creativity/L3/1/instruction"
    gain = prompts[prompts["cell_id"] == "instruction"]["change"].to_numpy()
    lost = -prompts[prompts["cell_id"] == name]["change"].to_numpy()
    weights = bootstrap_weights(sorted(set(prompts["prompt_id"])), 2000)
    low, high = np.quantile((weights @ lost) / (weights @ gain), [0.025, 0.975])
    row = only(necessity(tables), cell_id=name)
    assert row["share_lost"] == pytest.approx(lost.mean() / gain.mean())
    assert (row["share_low"], row["share_high"]) == (pytest.approx(low), pytest.approx(high))


def test_there_is_no_share_of_nothing():
    tables = planted(noise=0.01, plant={"instruction": Planted(0.0, 0.1)})
    rows = necessity(tables)
    assert rows[["share_lost", "share_low", "share_high"]].isna().all(axis=None)
    assert rows["lost"].notna().all()


def test_no_necessity_cells_no_rows(tables):
    table = necessity(without(tables, "necessity"))
    assert table.empty
    assert list(table.columns) == list(necessity(tables).columns)


# claims


def claims_of(tables: SweepTables, budgets: Budgets | None = None) -> dict:
    """All claims, by a short name."""
    changes = effects(tables)
    best = recommend(tables, changes, budgets or Budgets())
    rows = matched(tables, best), necessity(tables), monotonicity(tables)
    claims = sweep_claims(tables, changes, best, *rows)
    names = {
        "raises the score of texts": "raises",
        "more than random": "random",
        "more than the creative instruction": "instruction",
        "more than temperature": "sampling",
        "at layer 3 under": "needed",
        "at all layers under": "needed everywhere",
        "rises with strength": "grows",
    }
    found = {}
    for claim in claims:
        (name,) = (short for words, short in names.items() if words in claim.statement)
        assert name not in found
        found[name] = claim
    return found


def verdicts(tables: SweepTables, budgets: Budgets | None = None) -> dict[str, str]:
    return {name: claim.verdict for name, claim in claims_of(tables, budgets).items()}


def test_the_planted_sweep_supports_what_is_planted(tables):
    claims = claims_of(tables)
    assert {name: claim.verdict for name, claim in claims.items()} == {
        "raises": "with a caveat",
        "random": "with a caveat",
        "instruction": "not supported",  # it gives .030 for 0.1 nats, steering .027
        "sampling": "with a caveat",
        "needed": "with a caveat",
        "needed everywhere": "with a caveat",
        "grows": "with a caveat",
    }
    for claim in claims.values():
        assert "more creative" not in claim.statement
        assert claim.reason.count(SAME_CONTRAST) == (claim.verdict != "not supported")
    assert claims["raises"].estimate.estimate == pytest.approx(0.04)
    # the hardest of within (.0297), shuffled and unrelated (.02)
    assert claims["random"].estimate.estimate == pytest.approx(0.02)
    assert claims["needed"].estimate.estimate == pytest.approx(0.012)
    # 0.012 - 0.001
    assert "beyond their mean +0.011" in claims["needed"].rival
    assert "the creative instruction at NLL +0.10" in claims["raises"].rival


@pytest.mark.parametrize(
    ("plant", "name", "verdict"),
    [
        # one random direction of the same norm goes as far, the other way
        ({"add/within-2/L3/+0.2": Planted(-0.05, 0.3, 0.4)}, "raises", "not supported"),
        # one family does as much at equal KL, the others do not
        (
            {"add/unrelated:formality/L3/+0.2": Planted(0.05, 0.2, 0.16)},
            "random",
            "not supported",
        ),
        ({"instruction": Planted(0.01, 0.1)}, "instruction", "with a caveat"),
        ({"temperature/1.2": Planted(0.06, 0.2)}, "sampling", "not supported"),
        ({"min_p/0.02": Planted(0.06, 0.05)}, "sampling", "not supported"),
        # ablating a random direction loses as much
        ({"ablate/within-1/L3/1/instruction": Planted(0.016, 0.1)}, "needed", "not supported"),
        # ablating raises the score
        ({"ablate/creativity/L3/1/instruction": Planted(0.04, 0.1)}, "needed", "not supported"),
        # nothing that the instruction adds, so nothing of it to lose
        (
            {
                "instruction": Planted(0.0, 0.1),
                "ablate/within-1/L3/1/instruction": Planted(0.0, 0.1),
                "ablate/creativity/L3/1/instruction": Planted(-0.02, 0.1),
            },
            "needed",
            "with a caveat",
        ),
    ],
)
def test_each_claim_can_turn_out_otherwise(plant, name, verdict):
    assert verdicts(planted(plant=plant))[name] == verdict


def test_a_rival_that_lowers_the_score_is_no_proof_that_steering_raises_it():
    plant = {name: Planted(-0.05, 0.3) for name in ("temperature/1.2", "temperature/1.5")}
    tables = planted(plant=plant)
    # On test prompts, the recommended cell scores exactly what the unsteered one does.
    metrics = tables.metrics.set_index(["metric", "cell_id", "prompt_id", "seed"])["value"]
    metrics = metrics.sort_index()
    for prompt in tables.prompts["prompt_id"][tables.prompts["split"] == "test"]:
        for seed in (0, 1):
            metrics["score", BEST, prompt, seed] = metrics["score", "unsteered", prompt, seed]
    found = tables.metrics.merge(
        metrics.rename("new").reset_index(), on=["metric", "cell_id", "prompt_id", "seed"]
    )
    tables = tables._replace(metrics=found.assign(value=found["new"]).drop(columns="new"))
    assert met(tables, "temperature", "nll")["difference_low"] > 0
    without_min_p = tables.cells["mode"] != "min_p"
    kept = tables.metrics["cell_id"].isin(tables.cells["cell_id"][without_min_p])
    tables = tables._replace(cells=tables.cells[without_min_p], metrics=tables.metrics[kept])
    claim = claims_of(tables)["sampling"]
    assert claim.verdict == "not supported"
    assert claim.reason.startswith("Steering itself does not raise the score for sure.")


def test_noise_supports_nothing():
    plant = {name: Planted(0.0, 0.05, 0.05) for name in sweep_cells()["cell_id"][1:]}
    assert set(verdicts(planted(noise=0.02, plant=plant)).values()) == {"not supported"}


def test_cells_that_were_not_run_give_no_claim(tables):
    bare = without(tables, "control", "sampling", "instruction", "necessity")
    claims = claims_of(bare)
    assert set(claims) == {"raises", "grows"}
    # without a null, nothing speaks for the direction
    assert claims["raises"].verdict == "not supported"
    assert "No random direction" in claims["raises"].reason
    assert set(claims_of(without(tables, "sampling"))) == set(claims_of(tables)) - {"sampling"}
    assert "needed" not in claims_of(without(tables, "necessity"))


def test_an_ablation_without_controls_has_a_caveat():
    cells = sweep_cells()
    cells = cells[~cells["cell_id"].str.startswith("ablate/within")]
    claim = claims_of(planted(cells=cells))["needed"]
    assert claim.verdict == "with a caveat"
    assert "No control direction" in claim.reason
    # nor is there anything to say if nothing is lost
    plant = {"ablate/creativity/L3/1/instruction": Planted(0.04, 0.1)}
    assert verdicts(planted(cells=cells, plant=plant))["needed"] == "not supported"


def test_no_control_may_lose_as_much_though_the_mean_of_them_does_not():
    # The direction loses 0.012; one control 0.016, the other -0.05: on average much less.
    rows = sweep_cells().to_dict("records")
    (control,) = (r for r in rows if r["cell_id"] == "ablate/within-1/L3/1/instruction")
    other = control | {"cell_id": "ablate/within-2/L3/1/instruction", "direction": "within-2"}
    plant = {control["cell_id"]: Planted(0.014, 0.1), other["cell_id"]: Planted(0.08, 0.1)}
    tables = planted(cells=cells_frame([*rows, other]), plant=plant)
    claim = claims_of(tables)["needed"]
    assert "beyond their mean +0.029 [+0.0" in claim.rival
    assert claim.verdict == "not supported"


def test_losing_a_little_more_than_a_control_is_not_enough():
    # The direction loses 0.012 and the control 0.011, in noise that is larger than 0.001.
    plant = {"ablate/within-1/L3/1/instruction": Planted(0.019, 0.1)}
    tables = planted(plant=plant, noise=0.004)
    lost = necessity(tables).set_index("cell_id")
    assert lost["lost_low"]["ablate/creativity/L3/1/instruction"] > 0
    own, control = lost["lost"].iloc[[0, 2]]
    assert own > control
    assert verdicts(tables)["needed"] == "not supported"


@pytest.mark.parametrize(("n_prompts", "enough"), [(8, False), (10, True)])
def test_fewer_than_five_test_prompts_support_nothing(n_prompts, enough):
    claims = claims_of(planted(n_prompts=n_prompts))
    assert ({claim.verdict for claim in claims.values()} == {"not supported"}) == (not enough)
    if not enough:
        assert all("4 test prompts are too few" in claim.reason for claim in claims.values())


def test_numbers_that_are_not_known_support_nothing(tables):
    names = tables.prompts["prompt_id"][tables.prompts["split"] == "test"]
    metrics = tables.metrics.copy()
    unknown = metrics["prompt_id"].isin(names) & metrics["metric"].isin(["score", "nll"])
    metrics.loc[unknown, "value"] = math.nan
    found = verdicts(tables._replace(metrics=metrics))
    assert set(found.values()) == {"not supported"}


def test_a_ruler_at_the_levers_layer_is_a_caveat_of_each_claim():
    claims = claims_of(planted(read_layer=3, read_layers=(3,)))
    # all layers are not the lever's own, and the ruler reads with the unsteered model
    assert "lever's layer" not in claims.pop("needed everywhere").reason
    held = [claim for claim in claims.values() if claim.verdict != "not supported"]
    assert len(held) == 5
    assert all(claim.verdict == "with a caveat" for claim in held)
    assert all(claim.reason.count("The ruler is at the lever's layer.") == 1 for claim in held)
    elsewhere = claims_of(planted())
    assert not any("lever's layer" in claim.reason for claim in elsewhere.values())


def test_without_a_recommendation_there_is_nothing_to_claim_of_it(tables):
    claims = claims_of(tables, Budgets(nll=0.0))
    assert set(claims) == {"raises", "needed everywhere"}
    assert claims["raises"].verdict == "not supported"
    assert "within the budgets" in claims["raises"].reason


def test_an_order_of_two_strengths_is_no_order():
    cells = [cell("unsteered", "unsteered"), pushed("steered", "creativity", 3, 0.2)]
    claim = claims_of(planted(cells=cells_frame(cells)))["grows"]
    assert claim.verdict == "not supported"
    assert "three strengths" in claim.reason
    # and with three: the unsteered text, +0.1 and +0.2
    cells.append(pushed("steered", "creativity", 3, 0.1))
    assert verdicts(planted(cells=cells_frame(cells)))["grows"] == "with a caveat"


def many_draws(n: int, *, as_far: int = 0) -> SweepTables:
    """Random directions, of which some move the score as far as steering does; n - 1 are `within`.

    As many are ablated, and none of those loses anything.
    """
    names = [*(f"within-{k}" for k in range(1, n)), "shuffled-1"]
    steered = sweep_cells().query("kind in ('unsteered', 'steered', 'instruction')")
    rows = steered.to_dict("records")
    rows += [pushed("control", name, 3, 0.2) for name in names]
    ablated = [
        row for row in sweep_cells().to_dict("records") if row["cell_id"].startswith("ablate/cr")
    ]
    for k in range(1, n + 1):
        name = f"within-{k}"
        rows += [
            row | {"cell_id": row["cell_id"].replace("creativity", name), "direction": name}
            for row in ablated
        ]
    plant = {f"add/{name}/L3/+0.2": Planted(0.001, 0.2, 0.16) for name in names}
    plant |= {f"add/{name}/L3/+0.2": Planted(-0.041, 0.2, 0.16) for name in names[:as_far]}
    plant |= {
        f"ablate/within-{k}/{place}/1/instruction": Planted(0.03, 0.1)
        for k in range(1, n + 1)
        for place in ("L3", "all")
    }
    return planted(cells=cells_frame([*rows, *ablated]), plant=plant)


@pytest.mark.parametrize(("n", "too_few"), [(1, True), (19, True), (20, False)])
def test_a_rank_test_needs_twenty_random_draws(n, too_few):
    # 1 / (19 + 1) is .05, which is not under .05.
    claims = claims_of(many_draws(n))
    called = "1 random direction" if n == 1 else f"{n} random directions"
    for name in ("raises", "random", "needed", "needed everywhere"):
        claim = claims[name]
        assert claim.verdict == "with a caveat"
        said = claim.reason.count(f"{called} only: 20 are needed for p < .05 by rank.")
        assert said == too_few, name
    assert f"{n} of them drawn at random" in claims["raises"].null
    for name in ("random", "needed", "needed everywhere"):
        assert f"{called} beside it" in claims[name].null
    for name in ("instruction", "grows"):
        assert "random direction" not in claims[name].reason


def test_concepts_are_not_random_draws(tables):
    # within-1, within-2 and shuffled-1, but not the unrelated concept
    claims = claims_of(tables)
    for name in ("raises", "random"):
        assert "3 random directions only" in claims[name].reason
    assert "1 random direction only" in claims["needed"].reason


@pytest.mark.parametrize(
    ("n", "as_far", "verdict"),
    [
        (20, 1, "not supported"),  # p = 2 / 21
        (39, 1, "not supported"),  # p = 2 / 40
        (40, 1, "with a caveat"),  # p = 2 / 41
    ],
)
def test_few_random_draws_may_move_the_score_as_far(n, as_far, verdict):
    tables = many_draws(n, as_far=as_far)
    # The mean of them does much less in either case.
    assert met(tables, "within", "kl")["difference_low"] > 0
    claim = claims_of(tables)["random"]
    assert claim.verdict == verdict
    assert f"of which {as_far} move it as far" in claim.null
    if verdict == "not supported":
        assert f"{as_far} of {n} random directions move the score as far." in claim.reason


def test_of_many_ablated_directions_those_with_most_are_named():
    claim = claims_of(many_draws(6))["needed"]
    assert claim.rival.count("within-") == 4
    assert "those with most" in claim.rival


@pytest.mark.parametrize(("n_test", "few"), [(5, True), (9, True), (10, False)])
def test_an_interval_of_few_prompts_is_said_to_be_too_narrow_once(n_test, few):
    for name, claim in claims_of(planted(n_prompts=2 * n_test)).items():
        said = claim.reason.count(f"Only {n_test} prompts: the interval is too narrow.")
        assert said == few, name


def test_an_interval_is_read_as_it_was_spread():
    interval = Interval(0.2, 0.1, 0.4)
    row = spread("gain", interval)
    assert read_interval(row, "gain") == interval
    assert read_interval(pd.Series(row), "gain") == interval
    assert probe_claims.read_interval is read_interval
