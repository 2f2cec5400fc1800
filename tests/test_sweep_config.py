"""The settings of a sweep, the cells and prompts that follow from them, and bad input."""

import importlib.metadata
import json
import math
import re
import tomllib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from creativity_lens.directions.nuisance import NUISANCES
from creativity_lens.errors import DataError, InputError
from creativity_lens.generation.sampling import Sampling
from creativity_lens.prompts.instructions import load_instructions
from creativity_lens.prompts.pairs import load_contrast, premise_id
from creativity_lens.runs.cells import (
    COLUMNS,
    cell_table,
    cells_of,
    direction_names,
    n_texts,
    rival_family,
)
from creativity_lens.runs.sweep_config import (
    CORPORA,
    KEYS,
    SweepConfig,
    check_against,
    load_sweep_config,
)
from creativity_lens.runs.sweep_prompts import (
    SweepPrompt,
    prompt_table,
    read_sweep_prompts,
    sweep_prompts,
)
from tests.fakes import unchecked

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "sweep.toml"
DOCS_PAGE = Path(__file__).parents[1] / "docs" / "steering.md"
SMALL = {"layers": [1, 3], "strengths": [0.1, 0.3], "prompts": "stories"}
N_LAYERS = 6


def config(**changes) -> SweepConfig:
    return SweepConfig.from_dict({**SMALL, **changes})


def cells(**changes):
    return cells_of(config(**changes), N_LAYERS)


def ids(found, kind=None):
    return [cell.cell_id for cell in found if kind in (None, cell.kind)]


# --- the example of the documentation --------------------------------------------------------


def uncommented() -> str:
    """The example with the keys that it only shows."""
    return re.sub(r"^# (\w+ = .*)$", r"\1", EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_the_example_shows_every_key_and_no_other():
    shown = tomllib.loads(uncommented())
    assert set(shown) == set(KEYS[""])
    for name in ("sampling", "rivals", "necessity"):
        assert set(shown[name]) == set(KEYS[name])


def test_the_example_loads_also_with_the_keys_that_it_only_shows(write):
    assert load_sweep_config(EXAMPLE).layers == (4, 8, 12, 16, 20)
    text = uncommented().replace('modes = ["add"]', 'modes = ["add", "ablate"]')
    full = load_sweep_config(write("sweep.toml", text))
    assert full.read_layer == 22
    assert full.ablate_strengths == (1.0,)
    assert full.directions


def test_the_example_makes_as_many_texts_as_it_says():
    example = load_sweep_config(EXAMPLE)
    made = n_texts(cells_of(example, 30), sweep_prompts(example), example.seeds)
    assert f"These are {made} texts" in EXAMPLE.read_text(encoding="utf-8")
    # 200 tokens a second, and half of that time again for measuring: 5 to 8 minutes.
    assert 5 <= made * example.sampling.max_new_tokens / 200 * 1.5 / 60 <= 8
    assert "about seven minutes on two CPU cores" in EXAMPLE.read_text(encoding="utf-8")
    said = " ".join(DOCS_PAGE.read_text(encoding="utf-8").split())
    assert f"makes {made:,} texts: about seven minutes on two CPU cores" in said


def test_the_page_says_of_the_word_vectors_what_their_wheel_says():
    said = " ".join(DOCS_PAGE.read_text(encoding="utf-8").split())
    wheel = importlib.metadata.metadata("wordllama")
    assert "LLaMA 2 70B and phi 3 medium" in wheel.get_payload()
    assert wheel["License"].startswith("MIT License")
    assert "LLaMA 2 70B and Phi-3 medium" in said
    assert "The wheel itself is under the MIT licence" in said


def test_the_page_warns_of_the_degenerate_flag_on_source_code():
    said = " ".join(DOCS_PAGE.read_text(encoding="utf-8").split())
    assert "Do not rely on it for source code" in said


def test_the_example_has_a_control_of_the_length_of_each_cell_that_may_be_recommended():
    made = cells_of(load_sweep_config(EXAMPLE), 30)
    steered = {(c.layer, c.strength) for c in made if c.kind == "steered" and c.strength > 0}
    assert len(steered) == 5 * 3
    for family in ("within", "shuffled", "unrelated"):
        assert steered <= {(c.layer, c.strength) for c in made if c.family == family}


def test_the_defaults_that_the_example_states_are_those_of_the_code():
    example, plain = load_sweep_config(EXAMPLE), config()
    same = set(KEYS[""]) - {"layers", "strengths", "n_prompts", "seeds", "rivals"}
    assert all(getattr(example, key) == getattr(plain, key) for key in same)
    chosen = {"min_p": (), "layers": "all", "strengths": (0.1, 0.3)}
    assert replace(example.rivals, **chosen) == plain.rivals
    assert (plain.n_prompts, plain.seeds) == (None, (0,))


# --- settings --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"layers": "all", "read_layers": [2], "read_layer": 5, "n_prompts": 4, "scope": "first:2"},
        {"modes": ["rotate", "ablate"], "ablate_strengths": [0.5, 1], "schedule": "pulse:8/2"},
        {"modes": ["ablate"], "strengths": None, "around": "midpoint"},
        {"modes": ["add", "clamp"], "around": "midpoint"},
        {"directions": {"mine": "../other"}, "steer_with": ["mine", "creativity"]},
        {"rivals": {"instruction": False, "min_p": [0.2], "layers": [3]}},
        {"rivals": {"instruction": "Be bold."}, "necessity": {"layers": [0, "all"]}},
    ],
)
def test_settings_survive_json(changes):
    once = config(**changes)
    text = json.dumps(once.to_dict(), allow_nan=False)
    assert SweepConfig.from_dict(json.loads(text)) == once
    assert set(once.to_dict()) == set(KEYS[""])


def test_a_file_is_read_as_its_mapping(write):
    path = write(
        "my.toml",
        '\ufefflayers = [3, 1]\nstrengths = [0.3, 0.1]\nprompts = "stories"\n'
        "[rivals]\nwithin = 2\n",
    )
    assert load_sweep_config(path) == config(rivals={"within": 2})
    assert load_sweep_config(path).folder == path.parent


def test_the_order_of_a_list_of_numbers_says_nothing():
    assert config(layers=[3, 1], strengths=[0.3, 0.1], seeds=[2, 0]) == config(seeds=[0, 2])


def test_whole_numbers_of_numpy_and_tuples_are_taken():
    given = config(
        layers=tuple(np.arange(2)), strengths=(np.float64(0.5), 1), n_prompts=np.int64(3)
    )
    assert (given.layers, given.strengths, given.n_prompts) == ((0, 1), (0.5, 1.0), 3)
    json.dumps(given.to_dict())


def test_paths_are_relative_to_the_file(tmp_path):
    mapping = {**SMALL, "prompts": "p/mine.jsonl", "directions": {"a": "run", "b": "/abs/run"}}
    given = SweepConfig.from_dict(mapping, folder=tmp_path)
    assert given.prompts_path == tmp_path / "p" / "mine.jsonl"
    assert given.direction_paths == {"a": tmp_path / "run", "b": Path("/abs/run")}
    assert given.to_dict()["prompts"] == "p/mine.jsonl"  # a folder that moves stays the same run
    assert all(config(prompts=name).prompts_path is None for name in CORPORA)


def test_a_synonym_is_the_same_setting():
    assert config(scope="generated") == config(scope="response")


def test_claims_are_made_at_three_quarters_of_the_depth_and_that_layer_is_read():
    assert config().primary_layer(30) == 22
    assert config(layers=[2], read_layers=[2]).reading_layers(8) == (2, 6)
    assert config(layers=[2], read_layers=[2], read_layer=1).reading_layers(8) == (1, 2)
    assert config(layers=[1]).reading_layers(3) == (0, 1, 2)


def test_each_layer_that_is_steered_is_read():
    assert config(layers=[1, 3], read_layers=[6]).reading_layers(8) == (1, 3, 6)
    assert config(layers="all", read_layers=[2]).reading_layers(4) == (0, 1, 2, 3)
    # Ablated by itself, though it is none of the layers of the sweep.
    removed = config(read_layers=[6], necessity={"layers": [5, "all"]})
    assert removed.reading_layers(8) == (1, 3, 5, 6)


def test_rivals_follow_the_sweep():
    assert config(strengths=[-0.2, 0.1, 0.4]).rivals.strengths == (0.1, 0.4)
    # Of the same norm where there are negative ones alone.
    assert config(strengths=[-0.2, -0.4]).rivals.strengths == (0.2, 0.4)
    assert config(sampling={"temperature": 1}).rivals.temperatures == (1.5,)
    assert config(sampling={"temperature": 0}).rivals.temperatures == (1.2,)
    assert config(rivals={"instruction": False}).necessity.layers == ()


# --- what is refused -------------------------------------------------------------------------

BAD = [
    ({"layers": None}, 'layers is missing: give a list of layers, or "all"'),
    ({"strengths": None}, "strengths is missing"),
    ({"prompts": None}, "prompts is missing"),
    ({"layers": []}, "layers is empty"),
    ({"strengths": []}, "strengths is empty"),
    ({"seeds": []}, "seeds is empty"),
    ({"modes": []}, "modes is empty"),
    ({"steer_with": []}, "steer_with is empty"),
    ({"read_layers": []}, "read_layers is empty"),
    ({"strengths": [0.1, math.nan]}, "strengths must be a list of finite numbers, and holds nan"),
    ({"strengths": [-math.inf]}, "strengths .* holds -inf"),
    ({"strengths": [10**400]}, "strengths .* holds 1000"),
    ({"strengths": [0.1, 0]}, "strengths holds 0: .*unsteered cell is always run"),
    ({"strengths": [-0.0]}, "strengths holds 0"),
    ({"strengths": [1, 1.0]}, "strengths holds 1.0 twice"),
    ({"strengths": [True]}, "strengths .* holds True"),
    ({"strengths": 0.3}, "strengths must be a list of finite numbers, got 0.3"),
    ({"strengths": "0.3"}, "strengths must be a list of finite numbers, got '0.3'"),
    ({"layers": [1, 1]}, "layers holds 1 twice"),
    ({"layers": [True]}, "layers .* holds True"),
    ({"layers": [1.0]}, "layers .* holds 1.0"),
    ({"layers": [-1]}, "layers .* at least 0, and holds -1"),
    ({"layers": 3}, 'layers must be a list of layers or "all", got 3'),
    ({"layers": "every"}, "layers must be a list of layers or \"all\", got 'every'"),
    ({"seeds": [2**63]}, f"seeds .* below {2**63}"),
    ({"seeds": [0, 0]}, "seeds holds 0 twice"),
    ({"unit": "sigma"}, "unit must be one of absolute, relative, got 'sigma'"),
    ({"unit": ["absolute"]}, "unit must be one of"),
    ({"modes": ["ad"]}, "modes must be a list of words out of add, ablate, clamp, rotate.* 'ad'"),
    ({"modes": ["add", "add"]}, "modes holds 'add' twice"),
    ({"modes": "add"}, "modes must be a list"),
    ({"modes": ["ablate"]}, "strengths serve add, clamp and rotate"),
    ({"ablate_strengths": [1]}, "ablate_strengths serve ablate, but modes holds add"),
    ({"modes": ["add", "ablate"], "ablate_strengths": [0]}, "ablate_strengths holds 0"),
    ({"scope": "reply"}, "scope = 'reply' cannot be used: unknown scope .*prompt, response"),
    ({"scope": "response/last:3"}, "scope = .* end is not known"),
    ({"schedule": "ramp"}, "schedule = 'ramp' cannot be used: .*ramp:N"),
    ({"schedule": 3}, "schedule must be a string"),
    ({"around": "mean"}, "around must be one of zero, midpoint, got 'mean'"),
    (
        {"modes": ["add", "rotate"], "around": "midpoint"},
        "around = 'midpoint' serves ablate and clamp, but modes holds add, rotate",
    ),
    (
        {"seeds": [0, 1, 5], "sampling": {"temperature": 0}},
        "seeds holds 3 seeds, but with sampling.temperature = 0 each gives the same text",
    ),
    (
        {"seeds": [0, 1], "sampling": {"temperature": 0}, "rivals": {"temperatures": [1.2]}},
        "seeds holds 2 seeds, but with sampling.temperature = 0",
    ),
    ({"prompts": " "}, "prompts must be a string that is not blank"),
    ({"n_prompts": 1}, "n_prompts must be a whole number of at least 2, got 1"),
    ({"n_prompts": True}, "n_prompts must be a whole number of at least 2, got True"),
    ({"read_layer": -1}, "read_layer must be a whole number of at least 0"),
    ({"batch_tokens": 0}, "batch_tokens must be a whole number of at least 1, got 0"),
    ({"nll_budget": -1}, "nll_budget must be a finite number of at least 0, got -1"),
    ({"nll_budget": math.nan}, "nll_budget .* got nan"),
    ({"nll_budget": "low"}, "nll_budget must be a number, got 'low'"),
    ({"degenerate_budget": 2}, "degenerate_budget must be a finite number from 0 to 1, got 2"),
    ({"steer_with": ["mine"]}, "steer_with .* creativity, and holds 'mine'"),
    ({"directions": {"creativity": "x"}}, "directions holds the name 'creativity'"),
    *(
        ({"directions": {name: "x"}}, f"directions holds the name '{name}'")
        for family in ("within", "shuffled", "unrelated")
        for name in (family, f"{family}-1", f"{family}-formality")
    ),
    ({"directions": {"a/b": "x"}}, "directions holds the name 'a/b'"),
    ({"directions": {"a": 3}}, "directions.a must be a string"),
    ({"directions": ["a"]}, r"directions must be a table, \[directions\]"),
    ({"sampling": 3}, r"sampling must be a table, \[sampling\], got 3"),
    ({"sampling": {"temperature": -1}}, "sampling.temperature must be a finite .* got -1"),
    ({"sampling": {"temperature": math.nan}}, "sampling.temperature must be a finite"),
    ({"sampling": {"temperature": "hot"}}, "sampling.temperature must be a number, got 'hot'"),
    ({"sampling": {"top_p": 0}}, r"sampling.top_p must be in \(0, 1\]"),
    ({"sampling": {"min_p": 1}}, r"sampling.min_p must be in \[0, 1\)"),
    ({"sampling": {"max_new_tokens": 0}}, "sampling.max_new_tokens must be .* at least 1, got 0"),
    ({"sampling": {"max_new_tokens": 4.0}}, "sampling.max_new_tokens must be a whole number"),
    ({"rivals": {"instruction": 1}}, "rivals.instruction must be true, false or a sentence, got 1"),
    ({"rivals": {"instruction": " "}}, "rivals.instruction must be true, false or a sentence"),
    ({"rivals": {"temperatures": [0.8]}}, "rivals.temperatures holds 0.8, .*not above .* 0.8"),
    ({"rivals": {"temperatures": [math.inf]}}, "rivals.temperatures .* holds inf"),
    ({"rivals": {"min_p": [1.0]}}, r"rivals.min_p holds 1: min_p must be in \[0, 1\)"),
    ({"rivals": {"min_p": [0.05]}}, "rivals.min_p holds 0.05, which changes nothing"),
    (
        {"sampling": {"temperature": 0}, "rivals": {"temperatures": [], "min_p": [0.2]}},
        "rivals.min_p holds 0.2, which changes nothing",
    ),
    ({"rivals": {"within": -1}}, "rivals.within must be a whole number of at least 0"),
    ({"rivals": {"shuffled": 1.5}}, "rivals.shuffled must be a whole number"),
    ({"rivals": {"unrelated": ["rhyme"]}}, "rivals.unrelated .* formality, .* holds 'rhyme'"),
    ({"rivals": {"strengths": [0]}}, "rivals.strengths holds 0"),
    ({"rivals": {"layers": [1, 2]}}, "rivals.layers holds 2, .*out of its layers, 1, 3"),
    (
        {"modes": ["ablate"], "strengths": None, "rivals": {"strengths": [1]}},
        "rivals.strengths serve add, clamp and rotate",
    ),
    ({"necessity": {"layers": ["some"]}}, "necessity.layers .* each or all, and holds 'some'"),
    ({"necessity": {"layers": [1, "each"]}}, 'necessity.layers holds layers and "each"'),
    ({"necessity": {"layers": "all"}}, "necessity.layers must be a list"),
    ({"necessity": {"layers": [1]}, "rivals": {"instruction": False}}, "necessity.layers needs"),
    ({"necessity": {"controls": -1}}, "necessity.controls must be"),
    ({"necessity": {"scope": "late"}}, "necessity.scope = 'late' cannot be used"),
]


@pytest.mark.parametrize(("changes", "message"), BAD, ids=[m for _, m in BAD])
def test_a_bad_value_is_named_with_its_key_in_one_line(changes, message):
    with unchecked(), pytest.raises(DataError, match=f"^sweep.toml: {message}") as caught:
        config(**changes)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"strength": [1]}, "unknown key strength: did you mean strengths"),
        ({"rivals": {"temperature": [1]}}, "rivals.temperature: did you mean rivals.temperatures"),
        ({"sampling": {"seeds": [0]}}, "unknown key sampling.seeds: it belongs at the top"),
        ({"unrelated": []}, r"unknown key unrelated: it belongs into \[rivals\]"),
        ({"sampling": {"zzz": 1}}, r"\[sampling\] knows max_new_tokens, temperature"),
        ({"layers": "wrong", "zzz": 1}, "unknown key zzz: the top knows layers, strengths"),
    ],
)
def test_an_unknown_key_is_told_where_it_might_belong(mapping, message):
    with pytest.raises(DataError, match=message):
        config(**mapping)


def test_what_is_not_toml_is_named_with_its_line(write):
    with pytest.raises(DataError, match=r"bad.toml: not valid TOML .*line 3"):
        load_sweep_config(write("bad.toml", "layers = [1]\nstrengths = [0.1\nx = 1\n"))
    with pytest.raises(DataError, match=r"bad.toml: not valid TOML .*line 2"):
        load_sweep_config(write("bad.toml", "layers = [1]\nlayers = [2]\n"))
    with pytest.raises(DataError, match=r"mine.toml: strengths .* holds nan"):
        load_sweep_config(write("mine.toml", 'layers=[1]\nprompts="code"\nstrengths=[nan]\n'))


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(DataError, match=r"none.toml does not exist"):
        load_sweep_config(tmp_path / "none.toml")
    with pytest.raises(DataError, match="cannot read"):
        load_sweep_config(tmp_path)


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("layers", {"layers": [1, 6]}),
        ("read_layers", {"read_layers": [6]}),
        ("read_layer", {"read_layer": 6}),
        ("rivals.layers", {"layers": "all", "rivals": {"layers": [6]}}),
        ("necessity.layers", {"necessity": {"layers": [6, "all"]}}),
    ],
)
def test_a_layer_that_is_not_there_is_named_with_its_key(key, changes):
    given = config(**changes)
    check_against(given, 7)
    with pytest.raises(InputError, match=f"sweep.toml: {key} names layer 6, .*layers 0 to 5"):
        check_against(given, 6)
    with pytest.raises(InputError, match="names layer 6"):
        cells_of(given, 6)


# --- cells -----------------------------------------------------------------------------------


def test_the_cells_of_a_small_sweep_in_their_order():
    made = cells(
        strengths=[-0.1, 3],
        rivals={"layers": [3], "min_p": [0.02]},
        necessity={"layers": [3, "all"]},
    )
    assert ids(made) == [
        "unsteered",
        "add/creativity/L1/-0.1",
        "add/creativity/L1/+3",
        "add/creativity/L3/-0.1",
        "add/creativity/L3/+3",
        "add/within-1/L3/+3",
        "add/shuffled-1/L3/+3",
        "add/unrelated:formality/L3/+3",
        "instruction",
        "temperature/1.2",
        "min_p/0.02",
        "ablate/creativity/L3/1/instruction",
        "ablate/creativity/all/1/instruction",
        "ablate/within-1/L3/1/instruction",
        "ablate/within-1/all/1/instruction",
    ]


def test_what_each_kind_of_cell_does():
    found = {
        c.cell_id: c
        for c in cells(
            unit="absolute",
            scope="first:4",
            schedule="stop:8",
            modes=["add", "clamp"],
            around="midpoint",
            sampling={"temperature": 0.7, "top_p": 0.9, "min_p": 0.1},
            rivals={"temperatures": [1.0, 1.5], "min_p": [0.2]},
        )
    }
    plain = found["unsteered"]
    assert (plain.layers, plain.unit, plain.mode, plain.direction) == ((), "", "none", "none")
    assert plain.layer is None
    assert math.isnan(plain.strength)
    assert plain.sampling(9) == Sampling(9, 0.7, 0.9, 0.1)
    steered = found["add/creativity/L3/+0.3"]
    assert (steered.kind, steered.layer, steered.layers) == ("steered", 3, (3,))
    assert (steered.strength, steered.unit, steered.direction) == (0.3, "absolute", "creativity")
    assert (steered.scope, steered.schedule, steered.around) == ("first:4", "stop:8", "zero")
    # Adding counts from nothing.
    assert found["clamp/creativity/L3/+0.3"].around == "midpoint"
    assert found["clamp/creativity/L3/-0.3"].around == "midpoint"
    assert found["instruction"].instruction
    assert found["temperature/1"].sampling(9) == Sampling(9, 1.0, 0.9, 0.1)
    # min-p is raised at the highest temperature alone.
    assert found["min_p/0.2"].sampling(9) == Sampling(9, 1.5, 0.9, 0.2)
    assert (found["min_p/0.2"].strength, found["min_p/0.2"].unit) == (0.2, "min_p")
    removed = found["ablate/creativity/all/1/instruction"]
    assert (removed.layer, removed.layers) == (None, tuple(range(N_LAYERS)))
    assert (removed.mode, removed.strength, removed.unit) == ("ablate", 1.0, "share")
    assert removed.instruction
    # The first token of a row is an attention sink, which no class mean was taken over.
    assert (removed.scope, removed.schedule) == ("1:", "constant")
    assert sum(c.instruction for c in found.values()) == 1 + len(ids(found.values(), "necessity"))


def test_only_what_settings_are_chosen_from_runs_on_all_prompts():
    made = cells(modes=["add", "ablate", "rotate"])
    assert {c.kind for c in made if c.split == "all"} == {"unsteered", "steered"}
    assert {c.kind for c in made if c.split == "test"} == {
        "control",
        "instruction",
        "sampling",
        "necessity",
    }


def test_ablation_has_shares_of_its_own():
    made = cells(modes=["clamp", "ablate"], ablate_strengths=[0.5, 1], rivals={"shuffled": 0})
    assert ids(made, "steered")[-4:] == [
        f"ablate/creativity/L{layer}/{share}" for layer in (1, 3) for share in ("0.5", "1")
    ]
    assert {c.unit for c in made if c.mode == "ablate"} == {"share"}
    # 2 directions, 2 layers, 2 strengths, in either mode.
    controls = [c for c in made if c.kind == "control" and c.family != "opposite"]
    assert Counter(c.mode for c in controls) == {"clamp": 8, "ablate": 8}
    assert {c.strength for c in controls if c.mode == "ablate"} == {0.5, 1.0}


def test_without_negative_strengths_a_control_goes_the_other_way():
    made = cells(
        modes=["add", "clamp", "ablate", "rotate"],
        rivals={"within": 0, "shuffled": 0, "unrelated": []},
    )
    assert ids(made, "control") == [
        f"{mode}/creativity/L{layer}/-0.3"
        for mode in ("add", "clamp", "rotate")
        for layer in (1, 3)
    ]
    assert {c.family for c in made if c.kind == "control"} == {"opposite"}
    own = cells(strengths=[-0.1, 0.3])
    assert not [c for c in own if c.kind == "control" and c.direction == "creativity"]
    assert {c.cell_id for c in own if c.family == "opposite"} == {
        "add/creativity/L1/-0.1",
        "add/creativity/L3/-0.1",
    }


def test_families_of_rivals():
    made = cells(rivals={"min_p": [0.2], "within": 2, "unrelated": list(NUISANCES)})
    expected = {
        # layers x strengths x directions
        "within": 2 * 2 * 2,
        "shuffled": 2 * 2,
        "unrelated": 2 * 2 * len(NUISANCES),
        "opposite": 2,
        "instruction": 1,
        "temperature": 1,
        "min_p": 1,
        "": 1 + 4 + 6,
    }
    assert Counter(c.family for c in made) == expected
    assert rival_family("steered", "ablate", "creativity", -1.0) == ""


@pytest.mark.parametrize(
    "name", ["withinness", "unrelated.2", "shuffled_1", "my-within-1", "nonesuch"]
)
def test_a_direction_of_ones_own_is_never_taken_for_a_control(name):
    made = cells(directions={name: "x"}, steer_with=[name])
    assert {c.family for c in made if c.direction == name and c.kind == "control"} == {"opposite"}
    assert {c.family for c in made if c.direction == name and c.kind == "necessity"} == {""}


def test_all_means_each_layer_of_the_model_and_each_layer_of_the_sweep():
    made = cells(layers="all", strengths=[0.3], necessity={"layers": ["each"], "controls": 0})
    assert [c.layer for c in made if c.kind == "steered"] == list(range(N_LAYERS))
    assert [c.layer for c in made if c.direction == "within-1"] == list(range(N_LAYERS))
    assert [c.layer for c in made if c.kind == "necessity"] == list(range(N_LAYERS))


def test_further_directions_are_steered_and_removed_as_the_runs_own():
    made = cells(directions={"mine": "x", "spare": "y"}, steer_with=["mine", "creativity"])
    for kind in ("steered", "necessity"):
        counts = Counter(c.direction for c in made if c.kind == kind)
        assert counts["mine"] == counts["creativity"] > 0
    assert direction_names(made) == (
        "mine",
        "creativity",
        "within-1",
        "shuffled-1",
        "unrelated:formality",
    )


def test_ids_stay_apart_when_strengths_nearly_agree():
    made = cells(strengths=[0.3, 0.1 + 0.2, 1e-7, 300], modes=["add", "rotate", "clamp"])
    assert len(set(ids(made))) == len(made)


def test_rivals_and_necessity_can_all_be_left_out():
    made = cells(
        strengths=[-0.3, 0.3],
        rivals={
            "instruction": False,
            "temperatures": [],
            "within": 0,
            "shuffled": 0,
            "unrelated": [],
        },
    )
    assert {c.kind for c in made} == {"unsteered", "steered"}
    assert not ids(cells(rivals={"layers": []}), "control")
    assert not ids(cells(necessity={"layers": []}), "necessity")


def test_the_table_of_cells_has_the_columns_and_types_of_the_file():
    made = cells()
    table = cell_table(made)
    assert (
        " ".join(table.columns) == "cell_id kind layer strength unit mode direction instruction "
        "temperature top_p min_p scope schedule split"
    )
    assert tuple(table.columns) == COLUMNS
    types = {column: str(table[column].dtype) for column in table}
    assert types["layer"] == "Int64"
    assert types["instruction"] == "bool"
    assert {types[c] for c in ("strength", "temperature", "top_p", "min_p")} == {"float64"}
    assert list(table["cell_id"]) == ids(made)
    assert table["layer"].isna().sum() == sum(c.layer is None for c in made)
    assert str(cell_table(made[:1])["layer"].dtype) == "Int64"


# --- prompts ---------------------------------------------------------------------------------


def prompts_file(write, *rows):
    return write("prompts.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def rows(n, **more):
    return [{"id": f"p{k}", "prompt": f"Tell number {k}.", **more} for k in range(n)]


def test_a_file_of_prompts_is_read_with_its_splits(write):
    path = prompts_file(
        write,
        {"id": "a", "prompt": "Tell A.", "split": "test", "note": 1},
        {"id": "b", "prompt": "Tell B.", "split": "dev", "premise": "B happens."},
    )
    assert read_sweep_prompts(path) == (
        SweepPrompt("a", "Tell A.", "test", premise_id("Tell A."), "Tell A."),
        SweepPrompt("b", "Tell B.", "dev", premise_id("B happens."), "B happens."),
    )


@pytest.mark.parametrize("n", [2, 3, 9])
def test_without_splits_half_is_dev_and_half_is_test_whatever_the_order(write, n):
    found = read_sweep_prompts(prompts_file(write, *rows(n)))
    assert [p.id for p in found] == [f"p{k}" for k in range(n)]
    assert Counter(p.split for p in found) == {"dev": n // 2, "test": n - n // 2}
    turned = read_sweep_prompts(prompts_file(write, *reversed(rows(n))))
    assert {p.id: p.split for p in turned} == {p.id: p.split for p in found}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([*rows(2), {"id": "x"}], "line 3: the field 'prompt' is missing"),
        ([*rows(2), {"id": "x", "prompt": " "}], "line 3: the field 'prompt' must be a string"),
        ([{"id": 3, "prompt": "x"}], "line 1: the field 'id' must be a string"),
        ([*rows(2), *rows(1)], "line 3: the id 'p0' was used in line 1"),
        (rows(2, split="train"), "line 1: the field 'split' must be dev or test, .* 'train'"),
        (rows(2, split=["dev"]), "line 1: the field 'split' must be dev or test"),
        (rows(2, premise=""), "line 1: the field 'premise'"),
        ([*rows(2, split="dev"), {"id": "x", "prompt": "x"}], "line 3: no 'split', unlike line 1"),
        ([*rows(2), {"id": "x", "prompt": "x", "split": "dev"}], "line 3: a 'split', unlike"),
        (rows(1), "holds 0 prompts for dev and 1 for test: both are needed"),
        (rows(3, split="dev"), "holds 3 prompts for dev and 0 for test: both are needed"),
        ([], "is empty"),
        ([[1]], "line 1: expected a JSON object"),
    ],
)
def test_a_prompt_file_of_another_shape_is_named_with_its_line(write, given, message):
    with pytest.raises(DataError, match=f"prompts.jsonl.*{message}"):
        read_sweep_prompts(prompts_file(write, *given))


def test_a_name_that_is_neither_a_file_nor_a_corpus(tmp_path):
    given = SweepConfig.from_dict({**SMALL, "prompts": "storys"}, folder=tmp_path)
    with pytest.raises(InputError, match=r"prompts = 'storys' is neither a file \(.*stories, poet"):
        sweep_prompts(given)


def test_a_shipped_corpus_gives_each_premise_of_dev_and_test_once():
    found = sweep_prompts(config())
    held_out = {p.premise_id: p.split for p in load_contrast("stories") if p.split != "train"}
    assert len(found) == len(held_out)
    assert {p.premise_id: p.split for p in found} == held_out
    by_id = {pair.id: pair for pair in load_contrast("stories")}
    first = {pair.premise_id: pair.id for pair in reversed(load_contrast("stories"))}
    assert all(p.id == first[p.premise_id] for p in found)
    instructions = load_instructions()
    assert all(p.text == instructions.neutral_prompt(by_id[p.id]).user for p in found)
    assert all(p.premise == by_id[p.id].premise != p.text for p in found)


def test_premises_of_the_run_are_left_out():
    every = sweep_prompts(config())
    exclude = {p.premise_id for p in every[:5]}
    assert set(sweep_prompts(config(), exclude=exclude)) == set(every[5:])
    assert len(sweep_prompts(config(n_prompts=4), exclude=exclude)) == 4
    dev = {p.premise_id for p in every if p.split == "dev"}
    with pytest.raises(InputError, match=r"'stories', without .* holds 0 prompts for dev"):
        sweep_prompts(config(), exclude=dev)


@pytest.mark.parametrize("name", CORPORA)
def test_dev_and_test_come_by_turns_so_a_limit_keeps_both(name):
    found = sweep_prompts(config(prompts=name, n_prompts=7))
    assert [p.split for p in found] == ["dev", "test"] * 3 + ["dev"]
    assert found == sweep_prompts(config(prompts=name))[:7]


def test_a_file_keeps_the_prompts_of_the_run_and_marks_them(write):
    path = prompts_file(write, *rows(4))
    given = SweepConfig.from_dict({**SMALL, "prompts": path.name}, folder=path.parent)
    used = {premise_id("Tell number 2.")}
    found = sweep_prompts(given, exclude=used)
    table = prompt_table(found, used)
    assert list(table.columns) == ["prompt_id", "prompt", "split", "in_contrast"]
    assert set(table["prompt_id"]) == {"p0", "p1", "p2", "p3"}
    assert list(table.loc[table["in_contrast"], "prompt_id"]) == ["p2"]
    assert str(table["in_contrast"].dtype) == "bool"


def test_texts_are_counted_by_cell_prompt_and_seed():
    prompts = sweep_prompts(config(n_prompts=5))  # 3 dev, 2 test
    made = cells()
    everywhere = sum(c.kind in ("unsteered", "steered") for c in made)
    assert n_texts(made, prompts, (0, 1)) == 2 * (5 * everywhere + 2 * (len(made) - everywhere))
