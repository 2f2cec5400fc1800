"""The demo end to end on a tiny model, and verdicts that follow from the numbers."""

import html
import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from creativity_lens.directions.extract import ExtractionConfig
from creativity_lens.directions.run_files import load_run, read_contrast
from creativity_lens.errors import InputError
from creativity_lens.generation.sampling import Sampling
from creativity_lens.models.identity import identity
from creativity_lens.models.loading import load_model
from creativity_lens.prompts.instructions import load_instructions
from creativity_lens.prompts.pairs import load_contrast
from creativity_lens.report.demo import render_demo
from creativity_lens.scoring.score import Text, score_texts
from creativity_lens.stats import Interval, mean_interval
from creativity_lens.steering.generate import generate
from creativity_lens.studies import demo as demo_study
from creativity_lens.studies import steering_arms
from creativity_lens.studies.claims import ranking_claim, readable_claim, steering_claim
from creativity_lens.studies.demo import DemoConfig, run_demo
from creativity_lens.studies.steering_arms import Arm, ArmTexts, Comparison, compare_arms
from tests.deep import save_deep_model
from tests.fakes import random_directions

SMALL = DemoConfig(
    n_train=10,
    n_test=6,
    n_dev=3,
    n_steer=2,
    extraction=ExtractionConfig(sampling=Sampling(max_new_tokens=8), seed=4),
    strengths=(0.1, 0.3),
    n_random=2,
    n_permutations=10,
)
RANDOM = ["random-0", "random-1"]
PAPER_RANDOM = ["paper-random-0", "paper-random-1"]
ARMS = ["unsteered", "steered", "opposite", "paper", *RANDOM, *PAPER_RANDOM]
NAN = float("nan")


@pytest.fixture(scope="module")
def lens(tmp_path_factory):
    """Six layers: it is steered at one and can be read at three."""
    return load_model(save_deep_model(tmp_path_factory.mktemp("saved") / "six-layers", 6))


# --- verdicts --------------------------------------------------------------------------------

ABOVE, ACROSS, BELOW = Interval(0.3, 0.1, 0.5), Interval(0.1, -0.1, 0.3), Interval(-0.2, -0.3, -0.1)
UNKNOWN = Interval(NAN, NAN, NAN)


@pytest.mark.parametrize(
    ("p_value", "advantage", "instructed", "verdict", "reason"),
    [
        (0.01, ABOVE, False, "supported", "beats the null, and the best rival"),
        (0.01, ABOVE, True, "with a caveat", "what is read may be the instruction"),
        (0.01, ACROSS, False, "not supported", "the best cheap rival does about as well"),
        (0.01, BELOW, True, "not supported", "the best cheap rival does about as well"),
        (0.05, ABOVE, False, "not supported", "Swapping the labels"),
        (0.4, ACROSS, True, "not supported", "Swapping the labels"),
        (NAN, ABOVE, False, "not supported", "Swapping the labels"),
        (0.01, UNKNOWN, False, "not supported", "the best cheap rival does about as well"),
    ],
)
def test_readable_in_the_model_needs_the_null_and_the_rival_beaten(
    p_value, advantage, instructed, verdict, reason
):
    claim = readable_claim(
        "It can be read.",
        Interval(0.9, 0.8, 1.0),
        p_value=p_value,
        null_95=0.61,
        n_permutations=200,
        rival="bag of words",
        rival_estimate=0.7,
        advantage=advantage,
        instruction_in_context=instructed,
    )
    assert claim.verdict == verdict
    assert reason in claim.reason
    assert claim.estimate == (0.9, 0.8, 1.0)
    assert "0.61" in claim.null
    assert "200 swaps" in claim.null
    assert claim.rival.startswith(f"bag of words: 0.70; probe minus best rival {advantage[0]:+.2f}")


@pytest.mark.parametrize(
    ("accuracy", "advantage", "verdict", "reason"),
    [
        (Interval(0.9, 0.7, 1.0), ABOVE, "supported", "best cheap rival"),
        (Interval(0.9, 0.7, 1.0), ACROSS, "with a caveat", "not shown to be better"),
        (Interval(0.9, 0.7, 1.0), UNKNOWN, "with a caveat", "not shown to be better"),
        (Interval(0.9, 0.5, 1.0), ABOVE, "not supported", "not above chance"),
        (Interval(0.62, 0.55, 0.7), ABOVE, "not supported", "random directions do as well"),
        (Interval(0.1, 0.0, 0.2), ABOVE, "not supported", "not above chance"),
        (UNKNOWN, ABOVE, "not supported", "not above chance"),
    ],
)
def test_ranking_needs_chance_random_directions_and_the_rival_beaten(
    accuracy, advantage, verdict, reason
):
    claim = ranking_claim(
        accuracy,
        n_pairs=20,
        layer=7,
        null_95=0.65,
        n_null=200,
        rival="length",
        rival_accuracy=0.6,
        advantage=advantage,
    )
    assert claim.verdict == verdict
    assert reason in claim.reason
    assert "layer 7" in claim.statement
    assert "20 held-out pairs" in claim.unit
    assert "0.65 (200 draws" in claim.null
    assert claim.rival.startswith("length: 0.60")


@pytest.mark.parametrize(
    ("change", "random_changes", "verdict", "reason"),
    [
        (ABOVE, (0.1, -0.2), "with a caveat", "Cost: +0.40 nats"),
        (ABOVE, (0.1, 0.3), "not supported", "Random directions"),
        (ABOVE, (0.1, -0.4), "not supported", "Random directions"),  # as far the other way
        (ACROSS, (0.0, 0.0), "not supported", "not above 0"),
        (BELOW, (0.0, 0.0), "not supported", "not above 0"),
        (UNKNOWN, (0.0, 0.0), "not supported", "not above 0"),
        (ABOVE, (NAN, 0.0), "not supported", "Random directions"),
    ],
)
def test_steering_needs_a_change_beyond_that_of_random_directions(
    change, random_changes, verdict, reason
):
    claim = steering_claim(
        "It steers.",
        change,
        cost=Interval(0.4, 0.3, 0.5),
        read_layer=20,
        n_prompts=8,
        random_changes=random_changes,
        rival="the other ruler",
    )
    assert claim.verdict == verdict
    assert reason in claim.reason
    assert claim.unit == "change of the score at layer 20, 8 prompts"
    assert claim.rival == "the other ruler"
    assert claim.null.startswith("2 directions")


def test_the_null_of_steering_names_the_largest_change_with_its_sign():
    claim = steering_claim(
        "It steers.",
        ABOVE,
        cost=ABOVE,
        read_layer=1,
        n_prompts=8,
        random_changes=(0.1, -0.2, 0.15),
        rival="",
    )
    assert claim.null.endswith("-0.200")


# --- arms ------------------------------------------------------------------------------------


def comparison(**scores) -> Comparison:
    """Arms with the given scores at one layer; the NLL is twice the score."""
    arms = tuple(
        ArmTexts(
            Arm(name, name),
            tuple("text" for _ in values),
            np.array(values)[:, None],
            2 * np.array(values),
            np.ones(len(values), dtype=np.int64),
        )
        for name, values in scores.items()
    )
    names = tuple(f"prompt-{i}" for i in range(len(arms[0].texts)))
    return Comparison(names, names, arms)


def test_changes_are_paired_by_prompt_and_leave_out_what_is_empty():
    run = comparison(unsteered=[1.0, 2.0, NAN, 4.0], steered=[1.5, 2.0, 9.0, NAN])
    expected = mean_interval(np.array([0.5, 0.0]), ["prompt-0", "prompt-1"])
    assert run.score_change("steered", 0) == expected
    assert run.nll_change("steered").estimate == 2 * expected.estimate
    assert run.score_change("unsteered", 0) == (0.0, 0.0, 0.0)


def test_an_arm_that_wrote_nothing_has_no_change():
    run = comparison(unsteered=[1.0, 2.0], steered=[NAN, NAN])
    assert np.isnan(run.score_change("steered", 0)).all()
    assert np.isnan(run.nll_change("steered")).all()


def test_arms_differ_in_nothing_but_what_is_added(lens):
    directions = random_directions(lens)
    prompts = {"a": "The river.", "b": "The bridge and the town."}
    large = demo_study.interventions(directions, layers=1, strength=2.0)
    run = compare_arms(
        lens,
        directions,
        prompts,
        [Arm("plain", ""), Arm("steered", "", large), Arm("again", "")],
        sampling=Sampling(max_new_tokens=8),
        seed=3,
        batch_size=4,
    )
    assert run["plain"].texts == run["again"].texts
    assert run["plain"].texts != run["steered"].texts
    assert run.prompts == tuple(prompts.values())
    for arm in run.arms:
        read = score_texts(
            lens,
            directions,
            [Text("", text, prompt) for text, prompt in zip(arm.texts, run.prompts, strict=True)],
            likelihood=True,
        )
        np.testing.assert_allclose(arm.scores, read.values, atol=1e-5)
        np.testing.assert_allclose(arm.nll, read.nll, atol=1e-4)
        assert arm.n_tokens.tolist() == read.n_tokens.tolist()


# --- the whole study -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prompts_of_arms():
    """The prompts of each comparison that the demo made."""
    return []


@pytest.fixture(scope="module")
def stages():
    return []


@pytest.fixture(scope="module")
def result(lens, prompts_of_arms, stages):
    """One run of the demo on the tiny model."""

    def spy(model, directions, prompts, *args, **kwargs):
        prompts_of_arms.append(dict(prompts))
        return compare_arms(model, directions, prompts, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo_study, "compare_arms", spy)
        return run_demo(lens, SMALL, on_progress=lambda *stage: stages.append(stage))


@pytest.fixture(scope="module")
def page(result):
    return render_demo(result, command="creativity-lens demo")


def test_premises_are_used_once(result, prompts_of_arms):
    """Train premises make the direction, dev ones choose the strength, test ones are shown."""
    by_id = {pair.id: pair for pair in load_contrast("stories")}
    dev_prompts, test_prompts = prompts_of_arms
    used = {
        "train": {row.pair_id for row in result.extraction.rows},
        "dev": set(dev_prompts),
        "test": {row.pair_id for row in result.test_rows},
    }
    assert [len(ids) for ids in used.values()] == [SMALL.n_train, SMALL.n_dev, SMALL.n_test]
    assert set(test_prompts) < used["test"]
    assert len(test_prompts) == SMALL.n_steer
    for split, ids in used.items():
        assert {by_id[name].split for name in ids} == {split}
    premises = [{by_id[name].premise_id for name in ids} for ids in used.values()]
    assert sum(map(len, premises)) == len(set().union(*premises))


def test_test_premises_choose_nothing(lens, result):
    """Other test premises: the same direction, the same layer, the same strength."""
    pairs = load_contrast("stories")
    others = [p for p in pairs if p.split != "test"]
    others += [p for p in reversed(pairs) if p.split == "test"]
    changed = run_demo(lens, SMALL, pairs=others)
    assert changed.held_out.premises != result.held_out.premises
    assert torch.equal(
        changed.extraction.directions.directions, result.extraction.directions.directions
    )
    assert changed.read_layer == result.read_layer
    assert changed.strength == result.strength


def test_the_score_is_read_after_the_neutral_prompt_of_each_premise(lens, result):
    by_id = {pair.id: pair for pair in load_contrast("stories")}
    instructions = load_instructions()
    texts = [
        Text("", row.response, instructions.neutral_prompt(by_id[row.pair_id]).user)
        for row in result.test_rows
    ]
    read = score_texts(lens, result.extraction.directions, texts, layers=result.read_layer)
    creative, uncreative = read.values[::2, 0], read.values[1::2, 0]
    np.testing.assert_allclose(result.held_out.creative, creative, atol=1e-5)
    np.testing.assert_allclose(result.held_out.uncreative, uncreative, atol=1e-5)
    assert result.held_out.accuracy.estimate == np.mean(creative > uncreative)
    assert [row.condition for row in result.test_rows[:2]] == ["creative", "uncreative"]
    assert result.held_out.premises == tuple(
        by_id[row.pair_id].premise for row in result.test_rows[::2]
    )


def test_the_ruler_is_not_the_lever(result):
    assert result.read_layer > result.steer_layer
    assert result.steer_layer == round(0.25 * len(result.extraction.directions))


def test_the_strength_is_the_most_effective_one_that_can_be_afforded(result):
    choice = result.strength
    assert len(choice.score_changes) == len(choice.nll_changes) == len(SMALL.strengths)
    affordable = [
        (score.estimate, strength)
        for strength, score, cost in zip(
            SMALL.strengths, choice.score_changes, choice.nll_changes, strict=True
        )
        if cost.estimate <= SMALL.nll_budget
    ]
    assert choice.chosen == (max(affordable)[1] if affordable else SMALL.strengths[0])
    assert ("none did" in choice.rule) == (not affordable)


@pytest.mark.parametrize(
    ("effects", "costs", "chosen"),
    [
        ([0.1, 0.3, 0.9], [0.0, 0.5, 0.6], 0.2),  # the largest effect costs too much
        ([0.3, 0.1, 0.2], [0.0, 0.1, 0.2], 0.1),  # the largest strength does not do most
        ([0.1, 0.2, 0.3], [0.6, 0.7, 0.8], 0.1),  # none can be afforded: the smallest
        ([NAN, 0.1, 0.2], [NAN, 0.1, 0.9], 0.2),  # one wrote nothing
    ],
)
def test_how_a_strength_is_chosen(effects, costs, chosen):
    base = {"0": ([0.0], [0.0])}
    arms = base | {
        f"{s}": ([effect], [cost])
        for s, effect, cost in zip((0.1, 0.2, 0.3), effects, costs, strict=True)
    }
    run = Comparison(
        ("p",),
        ("p",),
        tuple(
            ArmTexts(Arm(name, name), ("t",), np.array([score]), np.array(nll), np.ones(1, int))
            for name, (score, nll) in arms.items()
        ),
    )
    config = replace(SMALL, strengths=(0.1, 0.2, 0.3), nll_budget=0.5)
    assert demo_study._choose_strength(run, config, 0).chosen == chosen


def test_every_arm_is_what_generate_would_write(lens, result, prompts_of_arms):
    directions, layer = result.extraction.directions, result.steer_layer
    settings = {
        "system": directions.provenance["neutral_prompt"]["system"],
        "sampling": SMALL.extraction.sampling,
        "seed": SMALL.extraction.seed,
    }
    steering = {
        "unsteered": {},
        "steered": {"strength": result.strength.chosen, "unit": "relative"},
        "opposite": {"strength": -result.strength.chosen, "unit": "relative"},
        "paper": {"strength": 3.0, "unit": "absolute"},
    }
    assert [arm.arm.name for arm in result.steered.arms] == ARMS
    for name, steer in steering.items():
        where = {"directions": directions, "layers": layer} if steer else {}
        by_hand = generate(lens, prompts_of_arms[1], **where, **steer, **settings)
        assert result.steered[name].texts == tuple(g.response for g in by_hand)


def test_random_arms_push_as_far_as_the_arm_that_they_stand_beside(result):
    def pushes(name):
        added = result.steered[name].arm.interventions
        return [(one.layer, abs(one.strength) * float(one.vector.norm())) for one in added]

    for name, beside in (("steered", ["opposite", *RANDOM]), ("paper", PAPER_RANDOM)):
        ((layer, length),) = pushes(name)
        assert layer == result.steer_layer
        for other in beside:
            assert pushes(other) == [(layer, pytest.approx(length, rel=1e-5))]
    vectors = [result.steered[name].arm.interventions[0].vector for name in RANDOM]
    assert not torch.allclose(*vectors)


def test_the_null_of_each_steering_claim_is_its_own_random_arms(result):
    for claim, names in ((result.claims[3], RANDOM), (result.claims[4], PAPER_RANDOM)):
        changes = [result.steered.score_change(n, result.read_layer).estimate for n in names]
        assert claim.null.endswith(f"{max(changes, key=abs):+.3f}")
        assert claim.null.startswith("2 directions")


def test_every_text_is_judged_by_the_unsteered_model(lens, result):
    for arm in result.steered.arms:
        texts = [
            Text("", text, prompt)
            for text, prompt in zip(arm.texts, result.steered.prompts, strict=True)
        ]
        read = score_texts(lens, result.extraction.directions, texts, likelihood=True)
        np.testing.assert_allclose(arm.scores, read.values, atol=1e-5)
        np.testing.assert_allclose(arm.nll, read.nll, atol=1e-4)


def test_the_probe_and_its_rivals_saw_the_same_pairs(result):
    n = SMALL.n_train + SMALL.n_test
    groups = result.as_generated.selected.groups
    assert len(groups) == len(set(groups)) == n
    assert result.neutral.selected.groups == groups
    assert len(result.rivals) == 2
    assert all(rival.groups == groups for rival in result.rivals.values())
    assert result.as_generated.n_permutations == SMALL.n_permutations


def test_each_claim_has_all_that_a_claim_needs(result):
    assert len(result.claims) == 5
    for claim in result.claims:
        assert claim.verdict in {"supported", "not supported", "with a caveat"}
        assert np.isfinite(claim.estimate).all()
        assert all((claim.statement, claim.unit, claim.null, claim.rival, claim.reason))
    as_generated = result.as_generated.selected.interval()
    assert result.claims[0].estimate == as_generated
    assert result.claims[1].estimate == result.neutral.selected.interval()
    assert result.claims[2].estimate == result.held_out.accuracy
    steered = result.steered.score_change("steered", result.read_layer)
    assert result.claims[3].estimate == steered


def test_every_stage_tells_its_progress_to_the_end(result, stages):
    names = list(dict.fromkeys(name for name, _, _ in stages))
    assert names == list(result.seconds)
    for name in names:
        done = [d for n, d, _ in stages if n == name]
        totals = {t for n, _, t in stages if n == name}
        assert done == sorted(done)
        assert (done[0], {done[-1]}) == (0, totals)


def test_the_report_holds_the_claims_the_samples_and_the_settings(result, page):
    text = html.unescape(page[page.index("<body>") :])
    assert [f'id="figure-{i}"' in page for i in range(7)] == [True] * 6 + [False]
    for claim in result.claims:
        assert all(part in text for part in (claim.statement, claim.null, claim.rival))
        assert all(part in text for part in (claim.verdict, claim.reason))
    for name in ("unsteered", "steered", "opposite", "paper", "random-0"):
        assert all(sample in text for sample in result.steered[name].texts)
    assert result.extraction.directions.provenance["pairs_sha256"] in text
    assert "creativity-lens demo" in text


# --- what can go wrong -----------------------------------------------------------------------


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_fewer_pairs_than_asked_for_is_an_error(lens, split):
    pairs = load_contrast("stories")
    wanted = getattr(SMALL, f"n_{split}")
    there = [p for p in pairs if p.split == split][: wanted - 1]
    others = [p for p in pairs if p.split != split]
    reason = f"wants {wanted} pairs of split {split}, but there are {wanted - 1}"
    with pytest.raises(InputError, match=reason):
        run_demo(lens, SMALL, pairs=[*there, *others])


def test_no_pairs_are_not_the_shipped_ones(lens):
    with pytest.raises(InputError, match="there are 0"):
        run_demo(lens, SMALL, pairs=[])


def test_more_steered_than_scored_is_an_error(lens):
    with pytest.raises(InputError, match=r"n_steer \(7\) is more than n_test \(6\)"):
        run_demo(lens, replace(SMALL, n_steer=7))


@pytest.fixture
def silent(monkeypatch):
    """Make the model answer nothing in the arms whose name is given, for some prompts."""
    real = steering_arms.generate_ids

    def _silent(*names: str, prompts: int = 1000) -> None:
        def some_empty(model, requests, **options):
            counts = dict.fromkeys(names, 0)
            for request, completion in zip(requests, real(model, requests, **options), strict=True):
                name = request.id.split("/")[0]
                counts[name] = counts.get(name, 0) + 1
                empty = name in names and counts[name] <= prompts
                yield completion._replace(response_ids=()) if empty else completion

        monkeypatch.setattr(steering_arms, "generate_ids", some_empty)

    return _silent


def test_arms_that_write_nothing_support_nothing(lens, silent):
    silent("0.3", *ARMS)  # a candidate strength, and all that follows
    result = run_demo(lens, SMALL)
    assert result.strength.chosen == 0.1
    for name in ARMS:
        assert result.steered[name].texts == ("", "")
        assert np.isnan(result.steered[name].scores).all()
    assert [claim.verdict for claim in result.claims[3:]] == ["not supported"] * 2
    assert 'id="figure-5"' in render_demo(result, command="demo")


def test_one_empty_response_is_left_out_of_the_changes(lens, silent, result):
    silent("steered", prompts=1)
    changed = run_demo(lens, SMALL)
    assert changed.steered["steered"].texts == ("", result.steered["steered"].texts[1])
    at = result.read_layer
    alone = result.steered["steered"].scores[1, at] - result.steered["unsteered"].scores[1, at]
    assert changed.steered.score_change("steered", at).estimate == pytest.approx(alone)


# --- the command -----------------------------------------------------------------------------


@pytest.fixture
def demo_command(monkeypatch, lens, cli, tmp_path):
    """Run `creativity-lens demo` at a small size."""
    small = {
        name: getattr(SMALL, name)
        for name in ("n_train", "n_test", "n_dev", "n_steer", "strengths", "n_permutations")
    }
    extraction = ExtractionConfig(sampling=Sampling(max_new_tokens=8))
    monkeypatch.setattr(
        demo_study, "DemoConfig", partial(DemoConfig, **small, extraction=extraction)
    )
    arguments = ("demo", "--out", tmp_path / "new" / "report", "--model", identity(lens)["name"])
    return partial(cli, *arguments)


def test_the_demo_command_writes_the_report_and_the_run(demo_command, tmp_path):
    code, out, err = demo_command("--json", "--seed", "3")
    assert code == 0, err
    home = tmp_path / "new" / "report"
    assert sorted(p.name for p in home.iterdir()) == [
        "claims.json",
        "contrast.jsonl",
        "directions.safetensors",
        "held-out.jsonl",
        "manifest.json",
        "report.html",
    ]
    printed = json.loads(out)
    assert printed["report"] == str(home / "report.html")
    assert printed["claims"] == json.loads((home / "claims.json").read_text())
    assert len(printed["claims"]) == 5
    directions, rows = load_run(home)
    assert directions.provenance["seed"] == 3
    assert directions.provenance["sampling"]["max_new_tokens"] == 8
    assert len(rows) == 2 * SMALL.n_train
    assert len(read_contrast(home / "held-out.jsonl")) == 2 * SMALL.n_test
    page = (home / "report.html").read_text(encoding="utf-8")
    for claim in printed["claims"]:
        assert claim["verdict"] in page
    manifest = json.loads((home / "manifest.json").read_text())
    assert manifest["command"].endswith("--json --seed 3")
    assert manifest["seconds"] > 0


def test_the_demo_command_shows_its_claims_and_where_the_report_is(
    demo_command, monkeypatch, result, tmp_path
):
    monkeypatch.setattr(demo_study, "run_demo", lambda *args, **options: result)
    code, out, err = demo_command()
    assert code == 0, err
    assert "verdict" in out
    assert "supported" in out or "caveat" in out
    assert str(tmp_path / "new" / "report" / "report.html") in out.replace("\n", "")


def test_a_demo_that_fails_leaves_nothing(demo_command, monkeypatch, tmp_path):
    monkeypatch.setattr(
        demo_study, "DemoConfig", partial(DemoConfig, n_train=10_000, extraction=SMALL.extraction)
    )
    code, out, err = demo_command()
    assert code == 2
    assert err.startswith("error: the demo wants 10000 pairs of split train")
    assert out == ""
    assert list(tmp_path.iterdir()) == []


# --- the packaged model ----------------------------------------------------------------------


@pytest.mark.slow
def test_a_slice_of_the_demo_on_the_packaged_model(real_model):
    config = DemoConfig(
        n_train=5,
        n_test=1,
        n_dev=1,
        n_steer=1,
        extraction=ExtractionConfig(sampling=Sampling(max_new_tokens=6)),
        strengths=(0.3,),
        n_random=1,
        n_permutations=5,
    )
    result = run_demo(real_model, config)
    assert len(result.extraction.directions) == 30
    assert result.steer_layer == 8
    assert result.strength.chosen == 0.3
    # Two per cent of the residual norm against thirty: on a real model the one is the weaker push.
    paper, steered = (
        result.steered[name].arm.interventions[0].strength for name in ("paper", "steered")
    )
    assert paper == pytest.approx(3.0, rel=1e-4)
    assert paper < steered / 5
    assert np.isfinite(result.steered["unsteered"].nll).all()
    assert 'id="figure-5"' in render_demo(result, command="creativity-lens demo")
