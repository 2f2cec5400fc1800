"""Steering adds exactly what was asked, where it was asked, and leaves nothing behind."""

import inspect
import math
from dataclasses import replace

import pytest
import torch

from creativity_lens.errors import DirectionMismatchError, InputError
from creativity_lens.generation import decode
from creativity_lens.generation.sampling import Sampling
from creativity_lens.hooks.intervene import Intervention
from creativity_lens.hooks.scope import Scope
from creativity_lens.models.batching import left_pad
from creativity_lens.models.chat import render_prompt
from creativity_lens.models.identity import identity
from creativity_lens.models.protocol import resid_post
from creativity_lens.steering.generate import _UNSAID, generate
from creativity_lens.steering.steer import applied, interventions, steer, steering_hooks
from tests.fakes import of_another_model, random_directions, unchecked

PROMPTS = {
    "a": "A letter",
    "b": "Two boot factories stand on opposite banks of the same river.",
    "c": "The guard counts the sacks on the bridge.",
}
WILD = Sampling(max_new_tokens=10, temperature=1.0, min_p=0.0)
GREEDY = Sampling(max_new_tokens=10, temperature=0.0)
STRONG = {"layers": 1, "strength": 3.0}  # three times the (made up) residual norm
SCOPES = ["all", "generated"]


@pytest.fixture(scope="module")
def directions(model):
    return random_directions(model)


@pytest.fixture(scope="module")
def batch(model):
    """Three prompts of different length, padded on the left."""
    return left_pad([render_prompt(model, prompt) for prompt in PROMPTS.values()])


def residuals(model, ids, mask=None):
    """`[layer, row, pos, d_model]` under whatever hooks the model has now."""
    found = []
    names = [
        (resid_post(layer), lambda activation, hook: found.append(activation.detach().clone()))
        for layer in range(model.cfg.n_layers)
    ]
    with torch.no_grad():
        model.run_with_hooks(
            ids, attention_mask=torch.ones_like(ids) if mask is None else mask, fwd_hooks=names
        )
    return torch.stack(found)


def n_hooks(model):
    points = model.hook_dict.values()
    return sum(len(point.fwd_hooks) + len(point._forward_hooks) for point in points)


def texts(generations):
    return {g.id: g.response_ids for g in generations}


# --- what is added ---------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("strength", [3.0, -3.0, 0.01])
def test_resid_post_changes_by_exactly_strength_times_the_direction(
    model, directions, batch, layer, strength
):
    before = residuals(model, *batch)
    with steer(model, directions, layers=layer, strength=strength, unit="absolute"):
        after = residuals(model, *batch)
    real = batch.mask.bool()
    expected = before[layer] + strength * directions.directions[layer]
    assert torch.equal(after[layer][real], expected[real])
    assert torch.equal(after[:layer], before[:layer])
    for later in range(layer + 1, 3):
        assert (after[later] - before[later])[real].abs().max() > 1e-4


def test_relative_strength_is_a_share_of_the_residual_norm(directions):
    # The made-up residual norm of layer 1 is 3.
    (relative,) = interventions(directions, layers=1, strength=0.5, unit="relative")
    (absolute,) = interventions(directions, layers=1, strength=1.5, unit="absolute")
    assert relative.strength == absolute.strength == 1.5
    assert torch.equal(relative.vector, directions.directions[1])
    assert torch.equal(absolute.vector, directions.directions[1])


def test_relative_is_the_default_unit_everywhere(model, directions, batch):
    with steer(model, directions, layers=2, strength=0.5):
        default = residuals(model, *batch)
    with steer(model, directions, layers=2, strength=2.0, unit="absolute"):  # its norm is 4
        assert torch.equal(residuals(model, *batch), default)
    settings = {"directions": directions, "layers": 2, "sampling": GREEDY}
    assert texts(generate(model, PROMPTS, strength=2.0, **settings)) == texts(
        generate(model, PROMPTS, strength=8.0, unit="absolute", **settings)
    )


def test_several_layers_each_get_their_own_direction(model, directions, batch):
    both = interventions(directions, layers=[2, 0], strength=0.5)
    assert [(one.layer, one.strength) for one in both] == [(2, 2.0), (0, 1.0)]
    assert all(torch.equal(one.vector, directions.directions[one.layer]) for one in both)
    with steer(model, directions, layers=[2, 0], strength=0.5):
        together = residuals(model, *batch)
    with (
        steer(model, directions, layers=0, strength=0.5),
        steer(model, directions, layers=2, strength=0.5),
    ):
        nested = residuals(model, *batch)
    assert torch.equal(together, nested)


def test_opposite_strengths_cancel(model, directions, batch):
    before = residuals(model, *batch)
    with (
        steer(model, directions, layers=1, strength=0.5),
        steer(model, directions, layers=1, strength=-0.5),
    ):
        torch.testing.assert_close(residuals(model, *batch), before, atol=1e-4, rtol=0)


def test_run_with_cache_sees_the_steered_stream(model, directions, batch):
    before = residuals(model, *batch)
    with steer(model, directions, **STRONG), torch.no_grad():
        _, cache = model.run_with_cache(batch.ids, attention_mask=batch.mask)
    real = batch.mask.bool()
    expected = before[1] + 9.0 * directions.directions[1]  # 3 times the norm 3
    torch.testing.assert_close(cache[resid_post(1)][real], expected[real], atol=1e-4, rtol=0)


def test_steering_hooks_do_what_steer_does(model, directions, batch):
    with steer(model, directions, **STRONG):
        expected = residuals(model, *batch)
    hooks = steering_hooks(interventions(directions, **STRONG))
    with model.hooks(fwd_hooks=hooks):
        assert torch.equal(residuals(model, *batch), expected)
    for asks in ({"scope": "generated"}, {"scope": "last:1"}, {"schedule": "ramp:4"}):
        with pytest.raises(InputError, match="does not know where the prompt ends"):
            steering_hooks(interventions(directions, **asks, **STRONG))


# --- strength 0 ------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("unit", ["absolute", "relative"])
def test_strength_0_changes_no_token_and_no_bit(model, directions, batch, scope, unit):
    before = residuals(model, *batch)
    free = n_hooks(model)
    with steer(model, directions, layers=[0, 1, 2], strength=0.0, unit=unit, scope=scope):
        assert n_hooks(model) == free
        assert torch.equal(residuals(model, *batch), before)
    unsteered = generate(model, PROMPTS, sampling=WILD)
    assert unsteered == generate(
        model,
        PROMPTS,
        directions=directions,
        layers=1,
        strength=0.0,
        unit=unit,
        scope=scope,
        sampling=WILD,
    )


# --- hooks go away ---------------------------------------------------------------------------


@pytest.mark.parametrize("scope", SCOPES)
def test_no_hook_is_left_after_the_block_or_an_exception(model, directions, batch, scope):
    before, free = residuals(model, *batch), n_hooks(model)

    def steered_pass():
        with steer(model, directions, scope=scope, **STRONG):
            residuals(model, *batch)
            assert n_hooks(model) > free
            yield
            raise RuntimeError("midway")

    run = steered_pass()
    next(run)
    with pytest.raises(RuntimeError, match="midway"):
        next(run)
    assert n_hooks(model) == free
    with steer(model, directions, scope=scope, **STRONG):
        pass
    assert n_hooks(model) == free
    assert torch.equal(residuals(model, *batch), before)


def test_no_hook_is_left_when_the_model_fails_within_a_pass(model, directions, batch):
    free = n_hooks(model)
    outside = batch.ids + model.cfg.d_vocab
    with pytest.raises(IndexError), steer(model, directions, **STRONG):
        model(outside)
    wrong = Intervention(1, torch.ones(model.cfg.d_model + 1))
    with pytest.raises(RuntimeError), model.hooks(fwd_hooks=steering_hooks([wrong])):
        model(batch.ids)
    assert n_hooks(model) == free


def test_no_hook_is_left_when_generate_fails(model, directions):
    free, before = n_hooks(model), generate(model, PROMPTS, sampling=GREEDY)

    def fail(done):
        raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        generate(model, PROMPTS, directions=directions, on_progress=fail, **STRONG)
    assert n_hooks(model) == free
    assert generate(model, PROMPTS, sampling=GREEDY) == before


# --- scope -----------------------------------------------------------------------------------


def bridge_generate(model, ids, mask, *, use_cache=True):
    """Greedy `model.generate`, as rows of new ids, cut at EOS."""
    out = model.generate(
        ids,
        attention_mask=mask,
        max_new_tokens=GREEDY.max_new_tokens,
        do_sample=False,
        use_past_kv_cache=use_cache,
        return_type="tokens",
        verbose=False,
    )
    eos = model.tokenizer.eos_token_id
    rows = [row[ids.shape[1] :].tolist() for row in out]
    return [tuple(row[: row.index(eos)] if eos in row else row) for row in rows]


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("layers", [1, [0, 2]])
def test_the_models_own_generate_is_steered_as_ours_is(
    model, directions, batch, scope, use_cache, layers
):
    steering = {"layers": layers, "strength": 2.0, "scope": scope}
    ours = generate(model, PROMPTS, directions=directions, sampling=GREEDY, **steering)
    with steer(model, directions, **steering):
        theirs = bridge_generate(model, *batch, use_cache=use_cache)
    assert theirs == [g.response_ids for g in ours]
    free = generate(model, PROMPTS, sampling=GREEDY)
    assert texts(ours) != texts(free)


KINDS = [
    {"mode": "clamp", "strength": 2.0, "schedule": "ramp:4"},
    {"mode": "rotate", "strength": 1.5, "scope": "response/first:4"},
    {"mode": "rotate", "strength": -3.0, "scope": "prompt"},
    {"mode": "clamp", "strength": 2.0, "scope": "response/2:7"},
    {"mode": "ablate", "strength": 1.0, "around": "midpoint", "schedule": "decay:3"},
    {"mode": "add", "strength": 2.0, "scope": "last:2", "schedule": "pulse:3/1"},
    {"mode": "add", "strength": -2.0, "scope": "12:30", "schedule": "stop:3"},
    {"mode": "clamp", "strength": -2.0, "scope": "first:3"},
]


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind.values())))
def test_a_users_own_passes_count_scopes_and_schedules_as_generate_does(
    model, directions, kind, use_cache
):
    """One row at a time: padding would count as tokens of the user's own pass.

    The second prompt is as long as the first with its response: length alone cannot tell it apart.
    """
    steering = {"layers": [0, 2], **kind}
    prompts = {name: PROMPTS[name] for name in "ab"}
    ours = generate(model, prompts, directions=directions, sampling=GREEDY, **steering)
    with steer(model, directions, **steering):
        theirs = [
            bridge_generate(model, *left_pad([render_prompt(model, p)]), use_cache=use_cache)[0]
            for p in prompts.values()
        ]
    assert theirs == [g.response_ids for g in ours]
    assert texts(ours) != texts(generate(model, prompts, sampling=GREEDY))


def test_texts_that_are_longer_by_one_each_are_new_prompts(model, directions):
    rows = [torch.randint(3, 400, (1, n), generator=torch.Generator().manual_seed(n))
            for n in range(5, 9)]  # fmt: skip
    before = [residuals(model, row) for row in rows]
    with steer(model, directions, scope="generated", **STRONG):
        assert all(torch.equal(residuals(model, r), b) for r, b in zip(rows, before, strict=True))


def test_a_prompt_after_a_cached_generation_is_new_though_it_looks_like_more_of_the_last(llama):
    """Rows of one token look alike at every position, so that nothing but the cache can tell."""
    directions = random_directions(llama)
    first, second = torch.full((1, 5), 7), torch.full((1, 5 + 10), 7)
    before = residuals(llama, second)
    with steer(llama, directions, scope="generated", **STRONG):
        bridge_generate(llama, first, torch.ones_like(first))  # reads 5 and 9 more
        assert torch.equal(residuals(llama, second), before)


def test_a_prompt_that_is_longer_by_one_and_ends_alike_is_new(llama):
    """Without attention a token looks the same after any others: tokens alone tell them apart."""
    first, second = torch.tensor([[5, 6, 7, 8, 9]]), torch.tensor([[15, 16, 17, 18, 9, 20]])
    blind = [("blocks.0.hook_attn_out", lambda activation, hook: 0 * activation)]
    with llama.hooks(fwd_hooks=blind):
        before = residuals(llama, second)
        assert torch.equal(residuals(llama, first)[0, 0, -1], before[0, 0, 4])
        with steer(llama, random_directions(llama), layers=0, strength=3.0, scope="generated"):
            residuals(llama, first)
            assert torch.equal(residuals(llama, second), before)


def test_a_block_of_its_own_counts_afresh(llama):
    """The limit that `steer` states: one token after another pass is a step, not a prompt."""
    settings = {"scope": "generated", **STRONG}
    directions, one = random_directions(llama), torch.tensor([[7]])
    before = residuals(llama, one)
    with steer(llama, directions, **settings):
        residuals(llama, torch.tensor([[5, 6]]))
        assert not torch.equal(residuals(llama, one), before)
    with steer(llama, directions, **settings):
        assert torch.equal(residuals(llama, one), before)


def test_applied_keeps_the_order_of_several_directions(model, directions, batch):
    """What comes after a clamp moves the projection; what comes before does not."""
    vector = directions.directions[1]
    clamp, add = (
        interventions(directions, layers=1, strength=s, unit="absolute", mode=m)
        for s, m in ((5.0, "clamp"), (2.0, "add"))
    )
    real = batch.mask.bool()
    for order, projection in ((clamp + add, 7.0), (add + clamp, 5.0)):
        with applied(model, order):
            found = residuals(model, *batch)[1][real] @ vector
        torch.testing.assert_close(found, torch.full_like(found, projection), atol=1e-3, rtol=0)


def test_strengths_mean_in_each_mode_what_the_table_says(directions):
    """The residual norm of layer 1 is 3; its midpoint is made up too."""
    vector, midpoint = directions.directions[1].double(), directions[1].midpoint.double()
    found = {}
    for mode in ("add", "ablate", "clamp", "rotate"):
        counts = mode in ("ablate", "clamp")
        around, origin = ("midpoint", float(vector @ midpoint)) if counts else ("zero", 0.0)
        for unit in ("absolute", "relative"):
            (one,) = interventions(directions, layers=1, strength=0.5, unit=unit, mode=mode,
                                   around=around)  # fmt: skip
            found[mode, unit] = one.strength
            assert one.origin == pytest.approx(origin)
    assert {unit: found["add", unit] for unit in ("absolute", "relative")} == {
        "absolute": 0.5, "relative": 1.5
    }  # fmt: skip
    assert (found["ablate", "absolute"], found["ablate", "relative"]) == (0.5, 0.5)
    assert (found["clamp", "absolute"], found["clamp", "relative"]) == (0.5, 1.5)
    # arctan(1/2): adding half its norm turns a token at a right angle by as much.
    assert (found["rotate", "absolute"], found["rotate", "relative"]) == (0.5, math.atan(0.5))


def test_the_two_scopes_differ(model, directions):
    settings = {"directions": directions, "sampling": GREEDY, **STRONG}
    everywhere, generated = (texts(generate(model, PROMPTS, scope=s, **settings)) for s in SCOPES)
    assert everywhere != generated
    # The first new token is chosen before anything is generated: only scope `all` can change it.
    free = texts(generate(model, PROMPTS, sampling=GREEDY))
    assert {name: ids[:1] for name, ids in generated.items()} == {n: i[:1] for n, i in free.items()}


def test_scope_generated_leaves_a_prompt_alone(model, directions, batch):
    before = residuals(model, *batch)
    with steer(model, directions, scope="generated", **STRONG):
        assert torch.equal(residuals(model, *batch), before)


def test_prompt_length_says_where_a_response_begins_in_one_pass(model, directions):
    ids = torch.tensor([render_prompt(model, PROMPTS["b"])])
    n, width = ids.shape[1] - 5, ids.shape[1]
    before = residuals(model, ids)
    with steer(model, directions, scope="generated", prompt_length=n, **STRONG):
        for _ in range(2):  # the second pass starts afresh
            after = residuals(model, ids)
            assert torch.equal(after[:, :, :n], before[:, :, :n])
            added = (after - before)[1, 0, n:]
            expected = (9.0 * directions.directions[1]).expand(width - n, -1)
            torch.testing.assert_close(added, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("use_cache", [True, False])
def test_each_new_prompt_in_a_block_is_left_alone(model, directions, use_cache):
    """Generate twice inside one block: the second prompt is not taken for generated tokens."""
    prompts = [left_pad([render_prompt(model, PROMPTS[name])]) for name in ("b", "a", "c")]
    alone = []
    for prompt in prompts:
        with steer(model, directions, scope="generated", **STRONG):
            alone.append(bridge_generate(model, *prompt, use_cache=use_cache))
    with steer(model, directions, scope="generated", **STRONG):
        together = [bridge_generate(model, *prompt, use_cache=use_cache) for prompt in prompts]
    assert together == alone


# --- bad input -------------------------------------------------------------------------------

BAD = [
    ({"strength": math.nan}, "finite number, got nan"),
    ({"strength": math.inf}, "finite number, got inf"),
    ({"strength": -math.inf}, "finite number, got -inf"),
    ({"layers": 3}, "layer 3 is out of range.*0 to 2"),
    ({"layers": -1}, "layer -1 is out of range"),
    ({"layers": [0, 7]}, "layer 7 is out of range"),
    ({"layers": [1, 2, 1]}, "named twice"),
    ({"unit": "percent"}, "unit 'percent'; choose one of absolute, relative"),
    ({"scope": "answer"}, "scope 'answer'; choose one of all, prompt, response"),
    ({"schedule": "ramp"}, "schedule ramp does not take these numbers"),
    ({"mode": "push"}, "mode 'push'; choose one of add, ablate, clamp, rotate"),
    ({"around": "midpoint"}, "around=.midpoint. says what ablate and clamp count from; add counts"),
    ({"around": "midpoint", "mode": "rotate"}, "rotate counts from nothing: leave it out"),
    ({"around": "mean"}, "origin 'mean'; choose one of zero, midpoint"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_steering_that_makes_no_sense_is_refused(model, directions, changes, message):
    settings = STRONG | changes
    free = n_hooks(model)
    with unchecked(), pytest.raises(InputError, match=message):
        interventions(directions, **settings)
    with (
        unchecked(),
        pytest.raises(InputError, match=message),
        steer(model, directions, **settings),
    ):
        pytest.fail("the block must not run")
    with unchecked(), pytest.raises(InputError, match=message):
        generate(model, PROMPTS, directions=directions, **settings)
    assert n_hooks(model) == free


def test_directions_of_another_model_are_an_error_that_names_both(model, directions):
    other = of_another_model(directions, fingerprint=[1.0, 1.0, 1.0])
    ours = repr(identity(model)["name"])
    with pytest.raises(DirectionMismatchError, match="'some/other-model'") as caught:
        generate(model, PROMPTS, directions=other, **STRONG)
    assert ours in str(caught.value)
    with (
        pytest.raises(DirectionMismatchError, match="'some/other-model'") as caught,
        steer(model, other, **STRONG),
    ):
        pytest.fail("the block must not run")
    assert ours in str(caught.value)


@pytest.mark.parametrize(
    ("prompts", "settings", "message"),
    [
        ([], {}, "no prompts"),
        ({}, {}, "no prompts"),
        (["fine", " \n"], {}, "prompt '1' is empty"),
        ({"x": ""}, {}, "prompt 'x' is empty"),
        (["word " * 400], {}, "row '0'.*context is 320; shorten"),
        (["a"], {"layers": 1}, r"needs directions: give them, or leave out layers\."),
        (["a"], {"strength": 1.0}, r"or leave out strength\."),
        (["a"], {"strength": 0.0}, r"or leave out strength\."),
        (["a"], {"strength": math.nan}, r"or leave out strength\."),
        (["a"], {"mode": "ablate", "scope": "response"}, r"or leave out mode, scope\."),
        (["a"], {"scope": Scope("prompt"), "unit": "absolute"}, r"or leave out unit, scope\."),
        (["a"], {"schedule": "stop:1", "around": "midpoint"}, r"leave out schedule, around\."),
    ],
)
def test_generate_refuses_what_it_cannot_do(model, prompts, settings, message):
    with pytest.raises(InputError, match=message):
        generate(model, prompts, **settings)


def test_directions_need_a_layer(model, directions):
    with pytest.raises(InputError, match="name the layer"):
        generate(model, PROMPTS, directions=directions, strength=1.0)


def test_a_prompt_cannot_have_fewer_than_no_columns(llama):
    with (
        pytest.raises(InputError, match="prompt_length must be at least 0, got -1"),
        steer(llama, random_directions(llama), prompt_length=-1, **STRONG),
    ):
        pytest.fail("the block must not run")


@pytest.mark.parametrize("mode", ["add", "ablate", "clamp", "rotate"])
def test_directions_and_a_layer_need_a_strength(llama, mode):
    """Ablating with no word of how much must neither do nothing nor all of it."""
    settings = {"directions": random_directions(llama), "layers": 1, "mode": mode}
    with pytest.raises(InputError, match="say the strength to steer with"):
        generate(llama, PROMPTS, **settings)
    said = generate(llama, PROMPTS, strength=0.0, sampling=GREEDY, **settings)
    # A strength of 0 that is said is meant; of clamp it is a value like any other.
    assert (said == generate(llama, PROMPTS, sampling=GREEDY)) == (mode != "clamp")


def test_what_counts_as_unsaid_are_the_defaults_of_the_signature():
    parameters = inspect.signature(generate).parameters
    assert {name: str(parameters[name].default) for name in _UNSAID} == _UNSAID


# --- generate --------------------------------------------------------------------------------


def test_generations_come_in_order_with_their_text(model):
    found = generate(model, PROMPTS, sampling=WILD)
    assert [(g.id, g.prompt) for g in found] == list(PROMPTS.items())
    for g in found:
        assert g.response == model.tokenizer.decode(g.response_ids, skip_special_tokens=True)
        assert g.finish_reason == ("length" if len(g.response_ids) == 10 else "stop")


def test_a_plain_list_is_named_by_number(model):
    found = generate(model, list(PROMPTS.values()), sampling=WILD)
    assert found == generate(model, dict(zip("012", PROMPTS.values(), strict=True)), sampling=WILD)


def test_generate_is_deterministic_and_seed_and_id_matter(model):
    first = texts(generate(model, PROMPTS, sampling=WILD))
    assert texts(generate(model, PROMPTS, sampling=WILD)) == first
    assert texts(generate(model, PROMPTS, sampling=WILD, batch_size=1)) == first
    alone = generate(model, {"b": PROMPTS["b"]}, sampling=WILD)
    assert alone[0].response_ids == first["b"]
    other = texts(generate(model, PROMPTS, sampling=WILD, seed=1))
    assert not set(other.values()) & set(first.values())
    renamed = generate(model, {"x": PROMPTS["b"]}, sampling=WILD)
    assert renamed[0].response_ids != first["b"]


@pytest.mark.parametrize("scope", SCOPES)
def test_the_random_stream_is_the_same_with_and_without_steering(model, directions, scope):
    """Steering too weak to matter gives the same sampled text, though every hook is in place."""
    free = generate(model, PROMPTS, sampling=WILD)
    settings = {"directions": directions, "layers": 1, "scope": scope, "sampling": WILD}
    assert generate(model, PROMPTS, strength=1e-7, **settings) == free
    assert texts(generate(model, PROMPTS, strength=3.0, **settings)) != texts(free)


@pytest.mark.parametrize("scope", SCOPES)
def test_rows_that_end_early_leave_the_others_steered(model, directions, monkeypatch, scope):
    settings = {"directions": directions, "scope": scope, "sampling": WILD, **STRONG}
    free = texts(generate(model, PROMPTS, **settings))
    end = free["b"][3]
    monkeypatch.setattr(decode, "stop_ids", lambda model: frozenset({end}))
    expected = {name: ids[: ids.index(end)] if end in ids else ids for name, ids in free.items()}
    assert len(set(map(len, expected.values()))) > 1
    assert texts(generate(model, PROMPTS, **settings)) == expected


def test_a_system_message_reaches_the_model(model):
    plain, asked = (
        generate(model, PROMPTS, system=system, sampling=GREEDY)
        for system in (None, "You are a guard on the bridge.")
    )
    assert texts(plain) != texts(asked)


def test_progress_counts_every_prompt(model):
    seen = []
    generate(model, PROMPTS, sampling=WILD, batch_size=2, on_progress=seen.append)
    assert seen == [2, 1]


def test_steering_does_not_change_the_directions(model, directions):
    kept = replace(directions, directions=directions.directions.clone())
    generate(model, PROMPTS, directions=directions, sampling=WILD, **STRONG)
    assert torch.equal(kept.directions, directions.directions)
