"""A spec is its file, its file is a spec; and vLLM is asked for what it can do and nothing else."""

import json
import math
from dataclasses import replace

import pytest
import torch
from transformer_lens.model_bridge.sources.vllm.intervention_specs import validate_spec
from transformer_lens.model_bridge.sources.vllm.plugin import _make_capture_hook
from transformer_lens.model_bridge.sources.vllm.worker_extension import TLWorkerExtension

from creativity_lens.errors import DataError, DirectionMismatchError, InputError
from creativity_lens.generation.sampling import Sampling
from creativity_lens.hooks.intervene import RowInterventions
from creativity_lens.hooks.scope import Schedule, Scope
from creativity_lens.steering.generate import generate
from creativity_lens.steering.spec import SteeringSpec, SteeringStep
from creativity_lens.steering.steer import interventions
from creativity_lens.steering.vllm import vllm_interventions
from tests.fakes import of_another_model, random_directions, unchecked
from tests.tiny import D_MODEL, N_LAYERS

STEPS = (
    SteeringStep(2, 0.5),
    SteeringStep(1, -3.0, unit="absolute", scope="generated", schedule="ramp:4"),
    SteeringStep(0, 1.0, "plain", "ablate", around="midpoint", scope=Scope("prompt", last=2)),
    SteeringStep(2, 0.2, mode="rotate", scope="4:9", schedule=Schedule("pulse", 1, 3)),
)
SPEC = SteeringSpec(STEPS)
PROMPTS = {"a": "A letter", "b": "Two boot factories stand on opposite banks of the same river."}
SAMPLING = Sampling(max_new_tokens=8)


@pytest.fixture(scope="module")
def directions(llama):
    return random_directions(llama)


@pytest.fixture(scope="module")
def named(directions):
    return {
        "creativity": directions,
        "plain": replace(directions, directions=-directions.directions),
    }


def same(found, expected):
    """Whether two lists of interventions are the same, vectors included."""
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a.vector, b.vector)
        assert {**vars(a), "vector": None} == {**vars(b), "vector": None}


# --- what a spec does -------------------------------------------------------------------------


def test_a_step_is_the_intervention_that_its_words_ask_for(directions):
    step = SteeringStep(1, 0.5, mode="clamp", scope="response/first:8", schedule="decay:4",
                        around="midpoint")  # fmt: skip
    expected = interventions(directions, layers=1, strength=0.5, mode="clamp",
                             scope="response/first:8", schedule="decay:4",
                             around="midpoint")  # fmt: skip
    same(SteeringSpec((step,)).interventions(directions), expected)
    same(SteeringSpec((SteeringStep(2, 0.3),)).interventions(directions),
         interventions(directions, layers=2, strength=0.3))  # fmt: skip


def test_steps_keep_their_order_and_take_the_direction_that_they_name(named):
    found = SPEC.interventions(named)
    assert [(one.layer, one.mode) for one in found] == [
        (2, "add"), (1, "add"), (0, "ablate"), (2, "rotate")
    ]  # fmt: skip
    signs = [float(one.vector @ named["creativity"].directions[one.layer]) for one in found]
    assert signs == pytest.approx([1, 1, -1, 1], abs=1e-5)
    assert SPEC.names == ("creativity", "plain")
    assert SteeringSpec(()).interventions(named) == ()


def test_a_lone_set_is_called_creativity_and_nothing_else(directions, named):
    only = SteeringSpec(STEPS[:2])
    same(only.interventions(directions), only.interventions(named))
    with pytest.raises(InputError, match="step 3 names the direction 'plain', but there is 'creat"):
        SPEC.interventions(directions)
    with pytest.raises(
        InputError, match=r"step 1 names .*'creativity', but there is 'x', 'y'; give"
    ):
        SPEC.interventions({"x": directions, "y": directions})
    with pytest.raises(InputError, match="there is none"):
        SPEC.interventions({})


def test_a_layer_that_the_directions_do_not_have_names_the_step(directions):
    spec = SteeringSpec((SteeringStep(1, 1.0), SteeringStep(3, 1.0)))
    with pytest.raises(InputError, match=r"step 2: layer 3 is out of range.*0 to 2"):
        spec.interventions(directions)


# --- what it is written as --------------------------------------------------------------------


def test_a_spec_comes_back_from_its_file_byte_for_byte(tmp_path):
    first, second = tmp_path / "new" / "a.json", tmp_path / "b.json"
    SPEC.save(first)
    again = SteeringSpec.load(first)
    assert again == SPEC
    again.save(second)
    assert first.read_bytes() == second.read_bytes()
    assert [p.name for p in tmp_path.iterdir()].count("b.json") == 1
    assert SteeringSpec.from_dict(SPEC.to_dict()) == SPEC
    assert SteeringSpec.from_dict(SteeringSpec(()).to_dict()) == SteeringSpec(())


def test_a_file_holds_plain_words():
    assert json.loads(json.dumps(SPEC.to_dict()))["steps"][1:3] == [
        {"direction": "creativity", "layer": 1, "mode": "add", "strength": -3.0,
         "unit": "absolute", "scope": "response", "schedule": "ramp:4", "around": "zero"},
        {"direction": "plain", "layer": 0, "mode": "ablate", "strength": 1.0, "unit": "relative",
         "scope": "prompt/last:2", "schedule": "constant", "around": "midpoint"},
    ]  # fmt: skip


def test_a_file_by_hand_needs_layer_and_strength_alone(write):
    path = write("spec.json", '{"schema_version": 1, "steps": [{"layer": 8, "strength": 1}]}')
    assert SteeringSpec.load(path) == SteeringSpec((SteeringStep(8, 1.0),))


def test_equal_meanings_are_equal_steps():
    with unchecked():
        whole = SteeringStep(1, 2)
    assert whole == SteeringStep(1, 2.0, scope=Scope(), schedule=Schedule())
    assert hash(whole) == hash(SteeringStep(1, 2.0))
    assert isinstance(whole.strength, float)
    assert SteeringStep(1, 2.0, scope="generated") == SteeringStep(1, 2.0, scope=" response")


STEP = '{"layer": 1, "strength": 1}'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "line 1: not valid JSON"),
        ("{", "line 1: not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "a steering spec must be an object, got list"),
        ('{"steps": []}', "the key 'schema_version' is missing"),
        ('{"schema_version": 1}', "the key 'steps' is missing"),
        ('{"schema_version": 2, "more": 1}', "schema_version is 2; this version .* reads 1"),
        ('{"schema_version": "1", "steps": []}', "schema_version is '1'"),
        ('{"schema_version": 1, "steps": [], "model": 1}', "unknown key 'model'; the keys are sch"),
        ('{"schema_version": 1, "steps": {}}', "steps must be a list"),
    ],
)
def test_a_file_that_is_no_spec(write, text, reason):
    path = write("spec.json", text)
    with pytest.raises(DataError, match=reason) as caught:
        SteeringSpec.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        ("8", "a step must be an object, got 8"),
        ('{"strength": 1}', "the key 'layer' is missing"),
        ('{"layer": 1}', "the key 'strength' is missing"),
        ('{"layer": 1, "strength": 1, "scop": "all"}', "unknown key 'scop'; the keys are layer"),
        ('{"layer": "1", "strength": 1}', "layer must be an integer of at least 0, got '1'"),
        ('{"layer": 1.0, "strength": 1}', "layer must be an integer"),
        ('{"layer": true, "strength": 1}', "layer must be an integer"),
        ('{"layer": -1, "strength": 1}', "layer must be an integer of at least 0, got -1"),
        ('{"layer": 1, "strength": NaN}', "strength must be a finite number, got nan"),
        ('{"layer": 1, "strength": -Infinity}', "strength must be a finite number, got -inf"),
        ('{"layer": 1, "strength": 1e999}', "strength must be a finite number, got inf"),
        ('{"layer": 1, "strength": 1' + "0" * 400 + "}", "strength must be a finite number"),
        ('{"layer": 1, "strength": "3"}', "strength must be a finite number, got '3'"),
        ('{"layer": 1, "strength": null}', "strength must be a finite number, got None"),
        ('{"layer": 1, "strength": true}', "strength must be a finite number, got True"),
        ('{"layer": 1, "strength": 1, "direction": 5}', "direction must be a name"),
        (
            '{"layer": 1, "strength": 1, "direction": " "}',
            "direction must be a name that is not bl",
        ),
        ('{"layer": 1, "strength": 1, "mode": "push"}', "unknown mode 'push'; choose one of add"),
        ('{"layer": 1, "strength": 1, "mode": ["add"]}', "unknown mode"),
        ('{"layer": 1, "strength": 1, "unit": "percent"}', "unknown unit 'percent'; choose one of"),
        ('{"layer": 1, "strength": 1, "around": 0}', "unknown around 0; choose one of zero, mid"),
        (
            '{"layer": 1, "strength": 1, "around": "midpoint"}',
            "around='midpoint' says what ablate and clamp count from; add counts from nothing",
        ),
        (
            '{"layer": 1, "strength": 1, "mode": "rotate", "around": "midpoint"}',
            "rotate counts from nothing: leave it out",
        ),
        ('{"layer": 1, "strength": 1, "scope": "answer"}', "scope: unknown scope 'answer'"),
        ('{"layer": 1, "strength": 1, "scope": null}', "scope: unknown scope None"),
        ('{"layer": 1, "strength": 1, "schedule": "ramp"}', "schedule: the schedule ramp does not"),
    ],
)
def test_a_step_that_makes_no_sense_names_file_step_and_key(write, step, reason):
    path = write("spec.json", '{"schema_version": 1, "steps": [' + STEP + ", " + step + "]}")
    with unchecked(), pytest.raises(DataError, match=reason) as caught:
        SteeringSpec.load(path)
    assert str(caught.value).startswith(f"{path}: step 2: ")


def test_there_is_no_file(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        SteeringSpec.load(tmp_path / "nowhere.json")


@pytest.mark.parametrize("strength", [math.nan, math.inf])
def test_a_strength_that_is_no_number(strength):
    with pytest.raises(InputError, match="finite number"):
        SteeringStep(1, strength)


# --- which directions it was written for ------------------------------------------------------


def test_a_pinned_spec_comes_back_and_takes_the_directions_that_it_was_written_for(named, tmp_path):
    pinned, path = SPEC.pinned(named), tmp_path / "spec.json"
    assert (pinned.steps, set(pinned.directions_sha256)) == (STEPS, {"creativity", "plain"})
    assert len(set(pinned.directions_sha256.values())) == 2
    pinned.save(path)
    assert SteeringSpec.load(path) == pinned != SPEC
    assert pinned.pinned(named) == pinned
    same(pinned.interventions(named), SPEC.interventions(named))
    assert "directions_sha256" not in SPEC.to_dict()
    assert hash(pinned) == hash(SPEC)


@pytest.mark.parametrize(
    "changed", ["directions", "mean_creative", "mean_uncreative", "residual_norms"]
)
def test_a_pinned_spec_refuses_other_numbers(named, changed):
    pinned = SPEC.pinned(named)
    values = getattr(named["plain"], changed).clone()
    values[0] *= 1.001
    other = named | {"plain": replace(named["plain"], **{changed: values})}
    assert SPEC.interventions(other)
    with pytest.raises(InputError, match="'plain' are not those that the spec was written for"):
        pinned.interventions(other)
    with pytest.raises(InputError, match="'plain' are not those"):
        vllm_interventions(pinned, other)


def test_a_digest_is_of_the_numbers_and_not_of_where_they_come_from(directions, tmp_path):
    pinned = SteeringSpec(STEPS[:2]).pinned(directions)
    moved = of_another_model(directions, name="elsewhere")
    moved.save(tmp_path / "moved.safetensors")
    again = type(directions).load(tmp_path / "moved.safetensors")
    assert pinned.interventions(again)
    with unchecked():
        double = replace(directions, directions=directions.directions.double())
        assert pinned.interventions(double)


@pytest.mark.parametrize(
    ("digests", "reason"),
    [
        ("[]", r"directions_sha256 must be an object of digests by name, got \[\]"),
        ('{"poetry": "' + 64 * "0" + '"}', "directions_sha256 has 'poetry', a direction that no"),
        ('{"creativity": "abc"}', "of 'creativity' must be 64 hexadecimal digits.*got 'abc'"),
        ('{"creativity": "' + 64 * "G" + '"}', "must be 64 hexadecimal digits"),
        ('{"creativity": 5}', "must be 64 hexadecimal digits.*got 5"),
    ],
)
def test_digests_that_are_none(write, digests, reason):
    text = '{"schema_version": 1, "steps": [' + STEP + '], "directions_sha256": ' + digests + "}"
    path = write("spec.json", text)
    with pytest.raises(DataError, match=reason) as caught:
        SteeringSpec.load(path)
    assert str(path) in str(caught.value)


def test_steps_may_be_a_list():
    with unchecked():
        listed = SteeringSpec(list(STEPS))
    assert listed == SPEC
    assert hash(listed) == hash(SPEC)


# --- generating with it -----------------------------------------------------------------------


def test_generate_takes_a_spec_in_place_of_its_words(llama, directions, named):
    words = {"strength": 2.0, "mode": "rotate", "scope": "response", "schedule": "ramp:3"}
    spec = SteeringSpec(tuple(SteeringStep(layer, **words) for layer in (2, 0)))
    by_words = generate(llama, PROMPTS, directions=directions, layers=[2, 0], sampling=SAMPLING,
                        **words)  # fmt: skip
    plain = generate(llama, PROMPTS, sampling=SAMPLING)
    assert generate(llama, PROMPTS, directions=directions, spec=spec, sampling=SAMPLING) == by_words
    assert by_words != plain
    assert generate(llama, PROMPTS, directions=named, spec=SPEC, sampling=SAMPLING) != plain
    none = SteeringSpec(())
    assert generate(llama, PROMPTS, directions=directions, spec=none, sampling=SAMPLING) == plain


@pytest.mark.parametrize(
    "said",
    [
        {"layers": 1}, {"strength": 1.0}, {"strength": 0.0}, {"unit": "absolute"},
        {"mode": "clamp"},
        {"scope": "prompt"}, {"schedule": Schedule("stop", 3)}, {"around": "midpoint"},
    ],
)  # fmt: skip
def test_a_spec_leaves_nothing_to_say(llama, directions, said):
    reason = rf"a spec says all of the steering itself; leave out {next(iter(said))}\."
    with pytest.raises(InputError, match=reason):
        generate(llama, PROMPTS, directions=directions, spec=SPEC, **said)


def test_a_spec_needs_the_directions_of_this_model_under_their_names(llama, directions, named):
    with pytest.raises(InputError, match="a spec steers along directions"):
        generate(llama, PROMPTS, spec=SPEC)
    with pytest.raises(InputError, match="step 3 names the direction 'plain'"):
        generate(llama, PROMPTS, spec=SPEC, directions=directions)
    with pytest.raises(InputError, match="by name go with a spec"):
        generate(llama, PROMPTS, directions=named, layers=1, strength=1.0)
    other = named | {"plain": of_another_model(directions, fingerprint=[1.0, 1.0, 1.0])}
    with pytest.raises(DirectionMismatchError, match="some/other-model"):
        generate(llama, PROMPTS, directions=other, spec=SPEC)
    # What the spec does not name does not matter.
    generate(llama, PROMPTS, directions=other, spec=SteeringSpec(STEPS[:2]), sampling=SAMPLING)


# --- in the shape that vLLM takes -------------------------------------------------------------

PROMPT, NEW = 6, 4


class Worker(TLWorkerExtension):
    """What TransformerLens mixes into vLLM's worker, with the buffers its plugin would allocate."""

    def __init__(self, *, per_position):
        shape = (32, D_MODEL) if per_position else (D_MODEL,)
        names = [f"blocks.{layer}.hook_out" for layer in range(N_LAYERS)]
        self._tl_scale_buffers = {name: torch.ones(shape) for name in names}
        self._tl_bias_buffers = {name: torch.zeros(shape) for name in names}
        self._hooks = {
            name: _make_capture_hook(
                torch.zeros(32, D_MODEL),
                self._tl_scale_buffers[name],
                self._tl_bias_buffers[name],
                torch.zeros(1, dtype=torch.int64),
                torch.ones(1, dtype=torch.int64),
                per_position=per_position,
            )
            for name in names
        }

    def run(self, layer, rows):
        """A pass over the tokens `rows`, as the compiled model makes it."""
        return self._hooks[f"blocks.{layer}.hook_out"](None, None, rows)


def ours(spec, directions, layer, stream):
    """Our hook at the layer, on one row of a prompt and what follows."""
    steering = RowInterventions([spec.interventions(directions)], [PROMPT])
    steering.aim(0, stream.shape[0])
    return dict(steering.hooks())[f"blocks.{layer}.hook_resid_post"](stream[None])[0]


def add(layer=1, strength=0.5, **settings):
    return SteeringStep(layer, strength, **settings)


@pytest.mark.parametrize(
    "steps",
    [
        (add(),),
        (add(strength=-3.0, unit="absolute"),),
        (add(), add(strength=0.2, direction="plain"), add(layer=0)),
        (add(), SteeringStep(1, 0.0, mode="ablate", schedule="ramp:3")),  # which does nothing
    ],
)
def test_what_all_tokens_get_is_what_our_hooks_do_in_every_pass(named, steps):
    spec = SteeringSpec(steps)
    found = vllm_interventions(spec, named)
    assert list(found) == sorted({f"blocks.{s.layer}.hook_out" for s in steps if s.strength})
    worker = Worker(per_position=False)
    worker.tl_set_interventions(json.loads(json.dumps(found)))
    stream = torch.randn(PROMPT + NEW, D_MODEL, generator=torch.Generator().manual_seed(0))
    expected = ours(spec, named, 1, stream)
    assert "pos" not in found["blocks.1.hook_out"]
    torch.testing.assert_close(worker.run(1, stream[:PROMPT]), expected[:PROMPT])
    for t in range(PROMPT, PROMPT + NEW):  # vLLM decodes one row at a time
        torch.testing.assert_close(worker.run(1, stream[t : t + 1]), expected[t : t + 1])
    assert torch.equal(worker.run(2, stream), stream)


POSITIONS = {
    "prompt": [0, 1, 2, 3, 4, 5],
    "prompt/last:1": [5],
    "last:2": [4, 5],
    "last:9": [0, 1, 2, 3, 4, 5],
    "first:2": [0, 1],
    "prompt/first:9": [0, 1, 2, 3, 4, 5],
    "2:5": [2, 3, 4],
    "prompt/4:": [4, 5],
    "prompt/3:99": [3, 4, 5],
}


@pytest.mark.parametrize(("scope", "positions"), POSITIONS.items())
def test_tokens_of_a_prompt_are_positions_where_our_hooks_act(named, scope, positions):
    spec = SteeringSpec((add(scope=scope), add(scope=scope, strength=0.2, direction="plain")))
    found = vllm_interventions(spec, named, prompt_length=PROMPT)
    assert found["blocks.1.hook_out"]["pos"] == positions
    worker = Worker(per_position=True)
    worker.tl_set_interventions(json.loads(json.dumps(found)))
    stream = torch.randn(PROMPT, D_MODEL, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(worker.run(1, stream), ours(spec, named, 1, stream))


@pytest.mark.parametrize("scope", ["first:2", "2:5", "0:3", "prompt/1:4", "prompt/first:3"])
def test_positions_that_are_named_need_no_prompt_length(directions, scope):
    spec = SteeringSpec((add(scope=scope),))
    found = vllm_interventions(spec, directions)
    assert found == vllm_interventions(spec, directions, prompt_length=PROMPT)


def test_the_sum_is_exact_and_passes_the_validation_of_transformerlens(named):
    steps = (add(strength=0.5), add(strength=1.0, unit="absolute", direction="plain"), add(2))
    found = vllm_interventions(SteeringSpec(steps), named)
    for name, spec in found.items():
        assert validate_spec(name, spec, width=D_MODEL) == spec
    # The residual norm of layer 1 is 3: .5 of it along v, and 1 against it.
    expected = (1.5 - 1.0) * named["creativity"].directions[1]
    torch.testing.assert_close(torch.tensor(found["blocks.1.hook_out"]["value"]), expected)
    assert set(found["blocks.1.hook_out"]) == {"op", "value"}
    assert vllm_interventions(SteeringSpec((add(strength=0.0),)), named) == {}
    assert vllm_interventions(SteeringSpec((add(scope="prompt/9:"),)), named, prompt_length=6) == {}


@pytest.mark.parametrize(
    ("steps", "length", "reason"),
    [
        ((add(mode="ablate"),), 6, "step 1 .*ablate depends on each token"),
        ((add(), add(mode="clamp", strength=0.0)), 6, "step 2 .*clamp depends on each token"),
        ((add(mode="rotate"),), 6, "rotate depends on each token"),
        ((add(schedule="ramp:3"),), 6, "the schedule ramp:3 counts generated tokens"),
        ((add(schedule="stop:1"),), 6, "the schedule stop:1 counts"),
        ((add(scope="response"),), 6, "the scope response begins where the positions of a prompt"),
        ((add(scope="response/0:2"),), 6, "the scope response/0:2 begins"),
        ((add(scope="response/first:1"),), 6, "the scope response/first:1 begins"),
        ((add(scope="2:"),), 6, "the scope 2: goes on into the generated tokens"),
        ((add(scope="2:"),), None, "the scope 2: goes on into the generated tokens"),
        ((add(scope="2:7"),), 6, "the scope 2:7 goes on into the generated tokens"),
        ((add(scope="first:7"),), 6, "the scope first:7 goes on into the generated tokens"),
        ((add(scope="prompt"),), None, "the scope prompt needs prompt_length"),
        ((add(scope="last:1"),), None, "the scope last:1 needs prompt_length"),
        ((add(scope="prompt/2:"),), None, "the scope prompt/2: needs prompt_length"),
        ((add(), add(2), add(scope="first:2")), 6, "step 3 .*layer 1 has an earlier step on other"),
        ((add(scope="first:3"), add(scope="first:2")), None, "step 2 .*earlier step on other tok"),
        ((add(),), 0, "prompt_length must be at least 1, got 0"),
    ],
)
def test_what_vllm_cannot_do_is_said(directions, steps, length, reason):
    with pytest.raises(InputError, match=reason):
        vllm_interventions(SteeringSpec(steps), directions, prompt_length=length)


def test_open_from_the_start_is_all(directions):
    everything = vllm_interventions(SteeringSpec((add(),)), directions)
    assert vllm_interventions(SteeringSpec((add(scope="0:"),)), directions) == everything


def test_a_position_is_a_row_so_row_0_is_also_the_new_token_of_a_decoding_pass(directions):
    """Why the module says that positions are for a pass over the prompt."""
    spec = SteeringSpec((add(scope="prompt"),))
    worker = Worker(per_position=True)
    worker.tl_set_interventions(vllm_interventions(spec, directions, prompt_length=PROMPT))
    assert worker.run(1, torch.zeros(1, D_MODEL)).any()
    worker.tl_set_interventions(
        vllm_interventions(SteeringSpec((add(scope="1:6"),)), directions, prompt_length=PROMPT)
    )
    assert not worker.run(1, torch.zeros(1, D_MODEL)).any()
