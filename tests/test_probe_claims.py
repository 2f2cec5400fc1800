"""The verdicts of a probe study follow from its numbers by rule: planted numbers on both sides."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from creativity_lens.probes.held_out import HeldOutScores
from creativity_lens.stats import Interval
from creativity_lens.studies import probe_claims as module
from creativity_lens.studies import probe_tables
from creativity_lens.studies.probe_config import ProbeConfig
from tests.fakes import unchecked

CONFIG = ProbeConfig(n_draws=300)
GROUPS = tuple(str(i) for i in range(60))


def scores(gap: float, seed: int = 0) -> HeldOutScores:
    """Scores of sixty pairs whose sides lie `gap` standard deviations apart."""
    creative, uncreative = np.random.default_rng(seed).normal(size=(2, 60))
    return HeldOutScores(creative + gap, uncreative, GROUPS)


def separated(gap: float, seed: int = 0):
    return SimpleNamespace(separability=SimpleNamespace(selected=scores(gap, seed)))


@pytest.mark.parametrize(
    ("seen", "unseen", "verdict"),
    [
        (3.0, 0.2, "supported"),
        (0.2, 3.0, "not supported"),  # the loss is negative
        (1.0, 0.8, "not supported"),  # the interval of the loss holds 0
    ],
)
def test_the_instruction_is_part_of_it_if_separability_is_lost_without_it(seen, unseen, verdict):
    with unchecked():
        claim = module._instruction(
            {"as-generated": separated(seen), "neutral": separated(unseen, seed=1)}, CONFIG
        )
    assert claim.verdict == verdict
    assert claim.estimate.low <= claim.estimate.estimate <= claim.estimate.high
    assert (claim.estimate.low > 0) == (verdict == "supported")


def test_what_survives_is_the_share_of_the_distance_from_chance():
    perfect = HeldOutScores(np.ones(4), np.zeros(4), ("a", "b", "c", "d"))
    # Three of the four creative scores above all uncreative ones, one below: AUROC 3/4.
    most = HeldOutScores(np.array([1.0, 1, 1, -1]), np.zeros(4), perfect.groups)
    assert module._survives(perfect, most) == pytest.approx(0.5)
    assert module._survives(most, perfect) == pytest.approx(2.0)
    chance = HeldOutScores(np.zeros(4), np.zeros(4), perfect.groups)
    assert module._survives(chance, perfect) is None


@pytest.mark.parametrize(
    ("bent", "straight", "verdict"),
    [(3.0, 0.2, "supported"), (0.2, 3.0, "not supported"), (1.0, 0.9, "not supported")],
)
def test_a_bent_boundary_is_better_only_by_an_interval_above_0(bent, straight, verdict):
    curves = {
        "rbf": SimpleNamespace(selected=scores(bent)),
        "logistic": SimpleNamespace(selected=scores(straight, seed=1)),
    }
    with unchecked():
        claim = module._straight("neutral", SimpleNamespace(curves=curves), CONFIG)
    assert claim.verdict == verdict


def transfer_table(*rows) -> pd.DataFrame:
    names = ("tested_on", "auroc", "auroc_low", "auroc_high", "context", "layer", "trained_on")
    table = pd.DataFrame([dict(zip(names, row, strict=True)) for row in rows])
    return table.assign(kind="domain", probe="difference of means", n_test=9)


def test_carrying_over_is_judged_by_the_worst_that_was_left_out():
    others = ("neutral", 2, "all others")
    good = transfer_table(("poetry", 0.9, 0.8, 1.0, *others), ("code", 0.7, 0.6, 0.8, *others))
    (claim,) = module._carries_over(good, "neutral", 2)
    assert claim.verdict == "supported"
    assert tuple(claim.estimate) == (0.7, 0.6, 0.8)
    assert "code" in claim.unit
    bad = transfer_table(("poetry", 0.9, 0.8, 1.0, *others), ("code", 0.6, 0.4, 0.8, *others))
    assert module._carries_over(bad, "neutral", 2)[0].verdict == "not supported"
    # Other layers, contexts and single training labels are no part of it.
    for row in (("code", 0.1, 0.0, 0.2, "neutral", 1, "all others"),
                ("code", 0.1, 0.0, 0.2, "as-generated", 2, "all others"),
                ("code", 0.1, 0.0, 0.2, "neutral", 2, "poetry")):  # fmt: skip
        mixed = pd.concat([good, transfer_table(row)])
        assert module._carries_over(mixed, "neutral", 2)[0].verdict == "supported"
    assert module._carries_over(good, "neutral", 5) == []


def removal_table(low: float) -> pd.DataFrame:
    rows = [
        ("nothing", "none", -1, 0.8, 0.7, 0.9),
        ("formality", "projection", -1, 0.3, 0.2, 0.4),
        ("all of them", "projection", -1, 0.75, 0.65, 0.85),
        ("all of them", "leace", -1, 0.7, low, 0.8),
        ("all of them", "leace", 0, 0.1, 0.0, 0.2),
    ]
    names = ("removed", "method", "layer", "auroc", "auroc_low", "auroc_high")
    return pd.DataFrame(rows, columns=list(names)).assign(context="neutral")


@pytest.mark.parametrize(("low", "verdict"), [(0.55, "supported"), (0.45, "not supported")])
def test_what_is_left_is_judged_by_the_harsher_removal_of_all(low, verdict):
    (claim,) = module._nuisances(removal_table(low))
    assert claim.verdict == verdict
    assert tuple(claim.estimate) == (0.7, low, 0.8)
    assert "leace" in claim.unit
    assert claim.rival == "before removal 0.80"
    alone = removal_table(low)
    assert module._nuisances(alone[alone["removed"] != "all of them"]) == []


@pytest.mark.parametrize(
    ("low", "p_value", "readable"),
    [(0.1, 0.01, True), (0.1, 0.05, False), (-0.1, 0.01, False), (0.1, float("nan"), False)],
)
def test_readable_needs_the_rival_and_the_null(low, p_value, readable):
    row = probe_tables._scores(scores(2.0), Interval(0.2, low, 0.3), p_value, CONFIG)
    assert row["readable"] is readable
