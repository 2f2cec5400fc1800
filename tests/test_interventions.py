"""What an intervention does to a token, by hand; which tokens and how much; each row its own."""

import math

import pytest
import torch

from creativity_lens.errors import InputError
from creativity_lens.hooks.intervene import MODES, Intervention, RowInterventions
from creativity_lens.hooks.scope import Schedule, Scope
from creativity_lens.models.protocol import resid_post
from tests.fakes import unchecked
from tests.tiny import D_MODEL, distance, residuals, token_rows


def one(layer=0, vector=(1.0,), strength=1.0, mode="add", *, scope="all", schedule="constant",
        origin=0.0):  # fmt: skip
    return Intervention(
        layer,
        torch.as_tensor(vector, dtype=torch.float32),
        strength,
        mode,
        Scope.parse(scope),
        Schedule.parse(schedule),
        origin,
    )


def fire(steering, stream):
    """The stream after all hooks, as if every layer handed it on unchanged."""
    for _, hook in steering.hooks():
        stream = hook(stream, hook=None)
    return stream


def apply(stream, *rows, prompts=None, padding=None):
    """One pass over the whole of a batch."""
    steering = RowInterventions(rows, prompts or [0] * len(rows), padding=padding)
    steering.aim(0, stream.shape[1])
    return fire(steering, stream)


# --- modes ------------------------------------------------------------------------------------

# The token (2, 1) and the direction (3, 4) / 5 = (.6, .8): the projection is 1.2 + .8 = 2.
TOKEN, VECTOR = (2.0, 1.0), (3.0, 4.0)


@pytest.mark.parametrize(
    ("mode", "strength", "origin", "expected"),
    [
        ("add", 0.5, 0.0, (3.5, 3.0)),  # (2, 1) + .5 (3, 4): an added vector keeps its length
        ("add", -0.5, 0.0, (0.5, -1.0)),
        ("ablate", 1.0, 0.0, (0.8, -0.6)),  # (2, 1) - 2 (.6, .8)
        ("ablate", 0.5, 0.0, (1.4, 0.2)),  # half of that way
        ("ablate", 1.0, 0.5, (1.1, -0.2)),  # (2, 1) - 1.5 (.6, .8): .66 - .16 = .5 is left
        ("clamp", 3.0, 0.0, (2.6, 1.8)),  # (2, 1) + 1 (.6, .8): 1.56 + 1.44 = 3
        ("clamp", 0.0, 0.0, (0.8, -0.6)),  # clamping to nothing projects out
        ("clamp", -1.0, 0.5, (0.5, -1.0)),  # to .5 - 1: (2, 1) - 2.5 (.6, .8)
    ],
)
def test_a_token_is_changed_as_derived_by_hand(mode, strength, origin, expected):
    step = one(0, VECTOR, strength, mode, origin=origin)
    changed = apply(torch.tensor([[TOKEN]]), (step,))
    assert changed.flatten().tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("angle", "expected"),
    [
        (math.pi / 6, (math.sqrt(3), 1.0)),  # (2, 0) turned by 30 degrees toward (0, 1)
        (-math.pi / 6, (math.sqrt(3), -1.0)),
        (math.pi / 2, (0.0, 2.0)),
        (2.0, (0.0, 2.0)),  # 115 degrees: there are only 90 to go
        (-2.0, (0.0, -2.0)),
    ],
)
def test_rotation_turns_toward_the_direction_and_stops_there(angle, expected):
    changed = apply(torch.tensor([[[2.0, 0.0]]]), (one(0, (0.0, 7.0), angle, "rotate"),))
    assert changed.flatten().tolist() == pytest.approx(expected, abs=1e-6)


def test_a_token_along_the_direction_or_without_length_has_no_plane_to_turn_in():
    stream = torch.tensor([[[0.0, 3.0], [0.0, -3.0], [0.0, 0.0]]])
    assert torch.equal(apply(stream, (one(0, (0.0, 1.0), 0.5, "rotate"),)), stream)


def test_rotation_keeps_the_norm_and_turns_by_exactly_the_angle():
    generator = torch.Generator().manual_seed(0)
    stream = torch.randn(1, 200, 24, generator=generator).double().float() * 50
    vector = torch.randn(24, generator=generator)
    turned = apply(stream, (one(0, vector, 0.4, "rotate"),))
    unit = (vector / vector.norm()).double()

    def angles(a, b):
        return (a * b).sum(-1).div(a.norm(dim=-1) * b.norm(dim=-1)).acos()

    before, after = stream[0].double(), turned[0].double()
    torch.testing.assert_close(after.norm(dim=-1), before.norm(dim=-1), rtol=1e-5, atol=0)
    # By .4 between the two, and by .4 of the angle to v: so it turns in their plane.
    torch.testing.assert_close(angles(before, after), torch.full((200,), 0.4).double(),
                               rtol=0, atol=1e-4)  # fmt: skip
    torch.testing.assert_close(angles(before, unit) - angles(after, unit),
                               torch.full((200,), 0.4).double(), rtol=0, atol=1e-4)  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("share", [0.25, 0.5])
def test_a_share_of_an_intervention_is_that_share_of_the_way(mode, share):
    """A ramp over four tokens is at a quarter of the way at its second token."""
    stream = torch.tensor([[TOKEN] * 3])
    ramped = apply(stream, (one(0, VECTOR, 0.8, mode, origin=0.3, schedule="ramp:4"),))
    if mode == "rotate":  # along the arc
        expected = apply(stream, (one(0, VECTOR, 0.8 * share, mode),))
    else:  # along the line
        whole = apply(stream, (one(0, VECTOR, 0.8, mode, origin=0.3),))
        expected = stream + share * (whole - stream)
    torch.testing.assert_close(ramped[0, int(4 * share)], expected[0, 0])


def test_the_order_in_which_a_row_lists_its_steps_is_the_order_in_which_they_act():
    clamp, add, ablate = (one(0, (1.0, 0.0), s, m) for s, m in
                          ((5.0, "clamp"), (2.0, "add"), (1.0, "ablate")))  # fmt: skip
    orders = [(clamp, add), (add, clamp), (clamp, add, ablate), (ablate, clamp, add), (add, ablate)]
    changed = apply(torch.ones(5, 1, 2), *orders)
    # What was before a clamp or an ablation does not matter, what comes after it does.
    assert changed[:, 0, 0].tolist() == [7.0, 5.0, 0.0, 7.0, 0.0]
    assert changed[:, 0, 1].tolist() == [1.0] * 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("mode", MODES)
def test_a_token_out_of_scope_keeps_every_bit(mode, dtype):
    stream = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    stream[0, 0] = -0.0  # which adding 0 would turn into +0
    vector = torch.arange(8.0) - 3.3
    steps = [
        (one(0, vector, 2.0, mode, scope="response/first:2"),),
        (one(0, vector, 2.0, mode, scope="response", schedule="stop:2"),),
    ]
    changed = apply(stream, *steps, prompts=[2, 2])
    assert changed.dtype == dtype
    for columns in (slice(0, 2), slice(4, 6)):
        assert torch.equal(
            changed[:, columns].view(torch.int8), stream[:, columns].view(torch.int8)
        )
    assert (changed[:, 2:4] != stream[:, 2:4]).any(dim=-1).all()


def test_a_bfloat16_stream_is_changed_in_float32_and_stays_bfloat16():
    stream = torch.full((1, 1, 2), 3.0, dtype=torch.bfloat16)
    # 1000 * 1.0035 + 3 = 1006.5 is next to 1008 (from 512 on bfloat16 counts in fours). As a
    # bfloat16 the vector would be 1, and the sum 1003, next to 1004.
    changed = apply(stream, (one(0, (1.0035, 0.0), 1000.0),))
    assert changed.dtype == torch.bfloat16
    assert changed.flatten().tolist() == [1008.0, 3.0]
    projected = apply(stream, (one(0, (1.0, 1.0), 0.0, "clamp"),))
    assert projected.flatten().tolist() == pytest.approx([0.0, 0.0], abs=1e-6)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "clamp"])
def test_strength_0_or_no_direction_leaves_no_hook(mode):
    rows = [(one(5, (1.0,), 0.0, mode),), (one(6, (0.0,), 1.0, mode), one(6, (-0.0,), 1.0, mode))]
    assert all(step.idle for row in rows for step in row)
    assert RowInterventions(rows, [1, 1]).hooks() == []
    assert not one(5, (1.0,), 0.0, "clamp").idle  # which sets the projection to 0


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"mode": "push"}, "unknown mode 'push'; choose one of add, ablate, clamp, rotate"),
        ({"strength": math.nan}, "layer 3 holds NaN or infinity"),
        ({"strength": math.inf}, "strength inf"),
        ({"origin": -math.inf}, "origin -inf"),
        ({"vector": (1.0, math.nan)}, "holds NaN"),
    ],
)
def test_an_intervention_that_makes_no_sense_is_refused(wrong, reason):
    with unchecked(), pytest.raises(InputError, match=reason):
        one(3, **wrong)


# --- scopes -----------------------------------------------------------------------------------

# Two rows of 8 columns: two of padding, a prompt of 3, a response of 3; and a prompt of 5.
SCOPES = {
    "all": "..111111 11111111",
    "prompt": "..111000 11111000",
    "response": "..000111 00000111",
    "first:2": "..110000 11000000",
    "first:4": "..111100 11110000",
    "last:1": "..001000 00001000",
    "prompt/last:4": "..111000 01111000",
    "prompt/first:4": "..111000 11110000",
    "response/first:2": "..000110 00000110",
    "0:1": "..100000 10000000",
    "2:5": "..001110 00111000",
    "4:": "..000011 00001111",
    "prompt/1:4": "..011000 01110000",
    "response/0:2": "..000110 00000110",
    "response/1:": "..000011 00000011",
    "response/1:2": "..000010 00000010",
    "all/6:7": "..000000 00000010",
}
PROMPTS, PADDING = [3, 5], [2, 0]


def drawn(changed):
    """1 where a token is changed; the columns of padding are as they come."""
    return " ".join(
        "." * pad + "".join(str(int(x)) for x in row[pad:].flatten())
        for row, pad in zip(changed, PADDING, strict=True)
    )


@pytest.mark.parametrize(("text", "expected"), SCOPES.items())
def test_a_scope_is_the_tokens_drawn_by_hand(text, expected):
    rows = [(one(scope=text),)] * 2
    changed = apply(torch.zeros(2, 8, 1), *rows, prompts=PROMPTS, padding=PADDING)
    assert drawn(changed) == expected
    assert not changed[0, :2].any()


@pytest.mark.parametrize("length", [1, 40])
def test_a_range_of_a_response_is_the_same_however_long_the_prompt(length):
    positions, prompts = torch.arange(60)[None], torch.tensor([[length]])
    chosen = Scope.parse("response/0:8").mask(positions, prompts)
    assert chosen[0].nonzero().flatten().tolist() == list(range(length, length + 8))
    assert torch.equal(chosen, Scope.parse("response/first:8").mask(positions, prompts))


@pytest.mark.parametrize(("text", "expected"), SCOPES.items())
def test_a_scope_is_the_same_a_token_at_a_time(text, expected):
    steering = RowInterventions([(one(scope=text),)] * 2, PROMPTS, padding=PADDING)
    hooks, passes = steering.hooks(), []
    for column, width in ((0, 5), (5, 1), (6, 1), (7, 1)):
        steering.aim(column, width)
        passes.append(hooks[0][1](torch.zeros(2, width, 1)))
    assert drawn(torch.cat(passes, dim=1)) == expected


@pytest.mark.parametrize("text", [*SCOPES, "generated", "generated/first:3", " prompt "])
def test_a_scope_is_read_from_its_own_text(text):
    scope = Scope.parse(text)
    assert Scope.parse(str(scope)) == scope
    assert Scope.parse(scope) is scope
    assert str(Scope.parse(str(scope))) == str(scope)


@pytest.mark.parametrize("text", SCOPES)
def test_only_a_response_leaves_every_prompt_alone(text):
    assert Scope.parse(text).touches_prompt != text.startswith("response")


def test_two_ways_to_say_a_scope_are_one():
    assert Scope.parse("generated") == Scope.parse("response")
    assert Scope(stop=5) == Scope(start=0, stop=5) == Scope.parse("0:5")
    assert str(Scope("response", first=8)) == "response/first:8"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "unknown scope ''; choose one of all, prompt, response, first:N"),
        ("answer", "unknown scope 'answer'"),
        ("prompt/", "unknown scope 'prompt/'"),
        ("first", "unknown scope 'first'"),
        ("first:", "unknown scope 'first:'"),
        ("first:-1", "unknown scope 'first:-1'"),
        ("first:1.5", "unknown scope"),
        ("first:" + "9" * 20, "unknown scope"),  # beyond what a tensor counts
        (":5", "unknown scope ':5'"),
        ("prompt/first:2/last:2", "unknown scope"),
        ("first:0", "first must be at least 1 token, got 0"),
        ("prompt/last:0", "last must be at least 1 token"),
        ("response/last:2", "end is not known while it is written; use prompt/last:N"),
        ("5:5", "range 5:5 holds no token"),
        ("7:2", "range 7:2 holds no token"),
    ],
)
def test_a_scope_that_there_is_not(text, reason):
    with pytest.raises(InputError, match=reason):
        Scope.parse(text)


def test_a_scope_takes_one_choice():
    with pytest.raises(InputError, match="one of first, last and a range"):
        Scope("prompt", first=2, stop=5)


# --- schedules --------------------------------------------------------------------------------

ROOT = math.sqrt(0.5)
SCHEDULES = {  # at the prompt's last token, then at the generated tokens 0, 1, 2, …
    "constant": (1, 1, 1, 1, 1, 1),
    "ramp:4": (0, 0, 0.25, 0.5, 0.75, 1, 1),
    "decay:2": (1, 1, ROOT, 0.5, ROOT / 2, 0.25),
    "pulse:3/1": (1, 1, 0, 0, 1, 0, 0, 1),
    "pulse:3/2": (1, 1, 1, 0, 1, 1, 0),
    "stop:2": (1, 1, 1, 0, 0, 0),
}


@pytest.mark.parametrize(("text", "expected"), SCHEDULES.items())
def test_a_schedule_counts_generated_tokens_from_0(text, expected):
    schedule = Schedule.parse(text)
    k = torch.arange(-1, len(expected) - 1)[None]
    assert schedule.factors(k)[0].tolist() == pytest.approx(expected)
    assert Schedule.parse(str(schedule)) == schedule
    assert str(schedule) == text


@pytest.mark.parametrize(("text", "expected"), SCHEDULES.items())
def test_a_schedule_goes_on_counting_when_rows_have_left(text, expected):
    steering = RowInterventions([(one(schedule=text),)] * 3, [2, 4, 3], padding=[2, 0, 1])
    found = []
    for k in range(-1, len(expected) - 1):
        if k == 1:
            steering.keep(torch.tensor([0, 2]))
        if k == 3:
            steering.keep(torch.tensor([1]))  # of those two
        n_rows = 3 if k < 1 else 2 if k < 3 else 1
        steering.aim(4 + k, 1)
        changed = fire(steering, torch.zeros(n_rows, 1, 1)).flatten()
        assert torch.equal(changed, changed[:1].expand(n_rows))
        found.append(float(changed[0]))
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "unknown schedule ''"),
        ("slow", "unknown schedule 'slow'; choose one of constant, ramp:N"),
        ("ramp", "ramp does not take these numbers"),
        ("ramp:0", "at least 1, got 0"),
        ("ramp:-2", "unknown schedule 'ramp:-2'"),
        ("ramp:" + "9" * 20, "unknown schedule"),
        ("ramp:4/2", "ramp does not take these numbers"),
        ("constant:3", "constant does not take these numbers"),
        ("pulse:3", "pulse does not take these numbers"),
        ("pulse:2/3", "pulse of 3 tokens does not fit a period 2"),
        ("pulse:2/", "unknown schedule"),
        ("stop:1/2/3", "unknown schedule"),
    ],
)
def test_a_schedule_that_there_is_not(text, reason):
    with pytest.raises(InputError, match=reason):
        Schedule.parse(text)


def test_a_ramp_does_not_touch_the_prompt_and_a_response_neither():
    assert not one(schedule="ramp:3").touches_prompt
    assert not one(scope="response").touches_prompt
    assert not one(strength=0.0).touches_prompt
    assert all(one(schedule=s).touches_prompt for s in SCHEDULES if s != "ramp:4")


# --- each row its own -------------------------------------------------------------------------


def some_steps(seed, width=8):
    """Up to three steps of any kind at layers 0 and 1."""
    generator = torch.Generator().manual_seed(seed)

    def pick(choices):
        return choices[int(torch.randint(len(choices), (), generator=generator))]

    return tuple(
        one(pick((0, 1)), torch.randn(width, generator=generator), pick((-1.5, 0.5, 2.0)),
            pick(MODES), scope=pick(list(SCOPES)), schedule=pick(list(SCHEDULES)),
            origin=pick((0.0, 0.7)))
        for _ in range(pick((0, 1, 2, 3)))
    )  # fmt: skip


def test_a_row_of_a_mixed_batch_is_changed_as_it_is_alone():
    rows, prompts = [some_steps(seed) for seed in range(40)], [1 + i % 5 for i in range(40)]
    padding = [5 - n for n in prompts]
    stream = torch.randn(40, 9, 8, generator=torch.Generator().manual_seed(1))
    together = apply(stream, *rows, prompts=prompts, padding=padding)
    for i, row in enumerate(rows):
        alone = apply(stream[i : i + 1, padding[i] :], row, prompts=[prompts[i]])
        torch.testing.assert_close(together[i : i + 1, padding[i] :], alone)
        if not row:
            assert torch.equal(together[i], stream[i])
    assert not torch.equal(together, stream)


@pytest.mark.parametrize("kept", [[0, 2, 3], [3, 0], [1]])
def test_rows_that_are_kept_keep_their_own_steps_in_any_order(kept):
    rows = [(one(0, (1.0,), float(i)), one(1, (1.0,), 10.0 * i, "clamp", scope="response"))
            for i in range(1, 5)]  # fmt: skip
    steering = RowInterventions(rows, [1, 2, 3, 4], padding=[3, 2, 1, 0])
    hooks = steering.hooks()  # made before: hooks must see what is kept later
    steering.keep(torch.tensor(kept))
    steering.aim(4, 1)
    first, second = (hook(torch.zeros(len(kept), 1, 1)).flatten().tolist() for _, hook in hooks)
    assert first == [1.0 + i for i in kept]
    assert second == [10.0 * (1 + i) for i in kept]


def test_there_is_a_hook_for_each_changed_layer_in_the_order_of_the_model():
    rows = [(one(7), one(3, scope="response")), (one(3), one(5, (0.0,))), ()]
    names = [name for name, _ in RowInterventions(rows, [1, 1, 1]).hooks()]
    assert names == [resid_post(3), resid_post(7)]


def test_one_row_serves_a_batch_of_any_size_and_the_stream_is_not_written_to():
    stream = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0))
    before = stream.clone()
    for mode in MODES:
        step = one(0, VECTOR, 0.5, mode, scope="first:3")
        together = apply(stream, (step,))
        for i in range(3):
            torch.testing.assert_close(together[i : i + 1], apply(stream[i : i + 1], (step,)))
    apply(stream, (one(0, VECTOR),), (), (one(0, VECTOR, -1.0),))
    assert torch.equal(stream, before)


@pytest.mark.legacy
def test_in_a_model_an_addition_moves_its_layer_by_the_vector_and_its_row_alone(model):
    rows = token_rows(8, 5)
    vector = torch.linspace(-1, 1, D_MODEL)
    steering = RowInterventions([(one(1, vector),), ()], [8, 5], padding=[0, 3])
    steering.aim(0, 8)
    plain, steered = residuals(model, rows), residuals(model, rows, hooks=steering.hooks())
    assert torch.allclose(steered[0][1] - plain[0][1], vector.expand(8, -1), atol=1e-4)
    assert torch.equal(steered[0][0], plain[0][0])  # the layer before
    assert distance(steered[0][2], plain[0][2]) > 1e-3  # the layer after
    assert torch.equal(steered[1], plain[1])  # the other row
