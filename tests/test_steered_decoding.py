"""Interventions while the model decodes: with a cache, in a batch, as rows leave it.

The ruler is one pass over prompt and response without a cache: what the loop saw token by token
must be what that pass sees at once.
"""

import pytest
import torch

from creativity_lens.generation.decode import Capture, Request, generate_batch, generate_ids
from creativity_lens.generation.sampling import Sampling
from creativity_lens.hooks.capture import ResidualSums
from creativity_lens.hooks.intervene import MODES, Intervention, RowInterventions
from creativity_lens.hooks.scope import Schedule, Scope
from creativity_lens.models.batching import left_pad
from creativity_lens.models.protocol import read, resid_post
from tests.tiny import D_MODEL, N_LAYERS, token_rows

LENGTHS = (12, 3, 7, 1, 9, 5)
SAMPLING = Sampling(max_new_tokens=10, temperature=1.0, top_p=0.9, min_p=0.01)
GREEDY = Sampling(max_new_tokens=10, temperature=0.0)
SCOPES = (
    "all", "prompt", "response", "first:4", "last:2", "response/first:3", "4:11", "prompt/2:", "8:",
    "response/2:5",
)  # fmt: skip
SCHEDULES = ("ramp:4", "decay:2", "pulse:3/1", "stop:2")
STRENGTHS = {"add": 40.0, "ablate": 1.0, "clamp": -30.0, "rotate": 0.9}


@pytest.fixture
def ends(model, monkeypatch):
    """Let every tenth token end a response, so that rows end at different times."""
    ids = frozenset(range(2, model.cfg.d_vocab, 10))
    monkeypatch.setattr("creativity_lens.generation.decode.stop_ids", lambda model: ids)
    return ids


def one(mode="add", *, layer=1, scope="all", schedule="constant", seed=0, factor=1.0):
    vector = torch.randn(D_MODEL, generator=torch.Generator().manual_seed(seed))
    return Intervention(
        layer,
        vector / vector.norm(),
        factor * STRENGTHS[mode],
        mode,
        Scope.parse(scope),
        Schedule.parse(schedule),
    )


def requests(*rows):
    """A row for each of `rows`, which are tuples of interventions, with prompts of all lengths."""
    lengths = [LENGTHS[i % len(LENGTHS)] for i in range(len(rows))]
    prompts = token_rows(*lengths)
    return [Request(f"row-{i}", *pair) for i, pair in enumerate(zip(prompts, rows, strict=True))]


def responses(model, rows, sampling=GREEDY, **settings):
    return [c.response_ids for c in generate_ids(model, rows, sampling=sampling, **settings)]


def logged(model, rows, sampling=SAMPLING):
    """What was generated, and for each row the logits of its steps."""
    seen = {i: [] for i in range(len(rows))}

    def keep(left, logits):
        for i, row in zip(left.tolist(), logits, strict=True):
            seen[i].append(row.clone())

    done = generate_batch(model, rows, sampling=sampling, seed=0, on_logits=keep)
    return done, [torch.stack(steps) for steps in seen.values()]


def forced(model, rows, done):
    """The same steps' logits, from one padded pass over prompts and responses, without a cache."""
    texts = [(*r.prompt_ids, *c.response_ids) for r, c in zip(rows, done, strict=True)]
    ids, mask = left_pad(texts)
    steering = RowInterventions(
        [r.interventions for r in rows],
        [len(r.prompt_ids) for r in rows],
        padding=[ids.shape[1] - len(text) for text in texts],
    )
    steering.aim(0, ids.shape[1])
    logits = read(model, ids, mask, hooks=steering.hooks(), keep_logits=ids.shape[1]).float()
    return [row[-1 - len(c.response_ids) :] for row, c in zip(logits, done, strict=True)]


def check_against_one_pass(model, rows):
    done, steps = logged(model, rows)
    for completion, row, expected in zip(done, steps, forced(model, rows, done), strict=True):
        n = len(row)  # a row that ran to the limit has not seen what follows its last token
        assert n == len(completion.response_ids) + (completion.finish_reason == "stop")
        torch.testing.assert_close(row, expected[:n], atol=2e-3, rtol=1e-4)
    return done, steps


# --- decoding is reading ----------------------------------------------------------------------


@pytest.mark.legacy
@pytest.mark.parametrize("scope", SCOPES)
def test_every_scope_is_the_same_in_the_loop_and_in_one_pass(model, ends, scope):
    steered = requests(*[(one(scope=scope),)] * 6)
    done, _ = check_against_one_pass(model, steered)
    assert len({len(c.response_ids) for c in done}) > 2  # rows have left in between
    assert done != generate_batch(model, requests(*[()] * 6), sampling=SAMPLING, seed=0)


@pytest.mark.legacy
@pytest.mark.parametrize(("mode", "schedule"), list(zip(MODES, SCHEDULES, strict=True)))
def test_every_schedule_counts_in_the_loop_as_in_one_pass(model, ends, mode, schedule):
    steered = requests(*[(one(mode, scope="response", schedule=schedule),)] * 6)
    done, steps = check_against_one_pass(model, steered)
    assert len({len(c.response_ids) for c in done}) > 2  # rows have left in between
    constant = requests(*[(one(mode, scope="response"),)] * 6)
    _, whole = logged(model, constant)
    assert not all(a.shape == b.shape and torch.allclose(a, b) for a, b in zip(steps, whole,
                   strict=True))  # fmt: skip


MIXED = (
    (),
    (one(scope="response"), one("clamp", layer=2, schedule="ramp:3", seed=1)),
    (one("rotate", seed=2, scope="first:5"), one("ablate", seed=3, factor=0.7)),
    (one("ablate", layer=0, seed=1), one("add", layer=0, seed=1, schedule="pulse:2/1")),
    (one("add", layer=0, seed=1, schedule="pulse:2/1"), one("ablate", layer=0, seed=1)),
    (one("clamp", seed=4, scope="prompt/last:1"),),
    (one("rotate", layer=2, factor=-1.0, scope="4:9", schedule="stop:3"),),
    (one("add", factor=0.5, schedule="decay:2"), one("add", layer=2, factor=-0.5)),
    (one(scope="response"),),
    (one(scope="response", factor=-1.0),),
    (one("clamp", layer=2), one("rotate", layer=0, seed=5), one("add", seed=6, scope="prompt")),
    (one(factor=0.0), one("rotate", factor=0.0)),
)


@pytest.mark.legacy
def test_rows_of_a_mixed_batch_write_greedily_what_each_writes_alone(model, ends):
    rows = requests(*MIXED)
    together = responses(model, rows)
    plain = responses(model, requests(*[()] * len(MIXED)))
    for i, row in enumerate(rows):
        assert responses(model, [row]) == [together[i]]
    assert together == responses(model, rows, batch_size=5)
    same = [i for i, text in enumerate(together) if text == plain[i]]
    assert {0, 11} <= set(same)
    assert len(same) <= 5
    assert len({len(text) for text in together}) > 3


@pytest.mark.legacy
def test_a_mixed_batch_is_what_one_pass_reads(model, ends):
    check_against_one_pass(model, requests(*MIXED))


@pytest.mark.legacy
@pytest.mark.parametrize("mode", MODES)
def test_strength_0_and_a_share_of_0_change_no_bit_of_the_logits(model, mode):
    plain, steps = logged(model, requests((), (), ()))
    idle = () if mode == "clamp" else (one(mode, factor=0.0),)
    rows = requests(
        idle,
        (one(mode, scope="500:"),),  # beyond every token
        (one(mode, scope="prompt", schedule="ramp:3"), *idle),
    )
    again, steered = logged(model, rows)
    assert again == plain
    assert all(torch.equal(a, b) for a, b in zip(steps, steered, strict=True))


@pytest.mark.legacy
def test_the_logits_that_are_shown_are_those_the_tokens_were_drawn_from(model, ends):
    done, steps = logged(model, requests(*MIXED), GREEDY)
    for completion, row in zip(done, steps, strict=True):
        drawn = tuple(row.argmax(dim=-1).tolist())
        stopped = completion.finish_reason == "stop"
        assert completion.response_ids == (drawn[:-1] if stopped else drawn)
        assert not stopped or drawn[-1] in ends


# --- prompts that rows share ------------------------------------------------------------------

SHARED = one()
TWO = token_rows(9, 4, seed=3)


@pytest.fixture
def read_rows(model):
    """Generate a batch; returns its texts and how many rows the prompt pass had."""

    def _read_rows(rows, **settings):
        shapes = []
        watch = (resid_post(0), lambda stream, hook=None: shapes.append(stream.shape[:2]))
        with model.hooks(fwd_hooks=[watch]):
            done = generate_batch(model, rows, sampling=SAMPLING, seed=0, **settings)
        assert shapes[0][1] == max(len(r.prompt_ids) for r in rows)
        return [c.response_ids for c in done], shapes[0][0]

    return _read_rows


@pytest.mark.legacy
@pytest.mark.parametrize(
    ("kinds", "n_read"),
    [
        ([(), (), ()], 1),
        ([(), (one(scope="response"),), (one("rotate", scope="response", seed=1),)], 1),
        ([(), (one("clamp", schedule="ramp:4"),), (one(factor=0.0),)], 1),
        ([(SHARED,), (SHARED, one(scope="response", seed=2)), (SHARED,)], 1),
        ([(), (SHARED,), (SHARED,)], 2),
        ([(one(),), (one(factor=-1.0),), (one(seed=1),)], 3),
        ([(SHARED, one("clamp", scope="prompt")), (SHARED,), (one("clamp", scope="last:1"),)], 3),
        ([(), (one(scope="last:1"),), (one(scope="2:4"),)], 3),
    ],
    ids=["plain", "response", "not-yet", "same", "two", "all", "partly", "ranges"],
)
def test_a_prompt_is_read_once_unless_something_else_is_done_to_it(
    model, ends, read_rows, kinds, n_read
):
    rows = [
        Request(f"{p}/{i}", prompt, kind)
        for i, kind in enumerate(kinds)
        for p, prompt in enumerate(TWO)
    ]
    together, read = read_rows(rows)
    assert read == 2 * n_read
    for row, text in zip(rows, together, strict=True):
        assert read_rows([row]) == ([text], 1)


def test_order_of_what_is_done_to_a_prompt_tells_prompts_apart(model, read_rows):
    other = one("clamp")
    rows = [Request("a", TWO[0], (SHARED, other)), Request("b", TWO[0], (other, SHARED))]
    texts, read = read_rows(rows)
    assert read == 2
    assert texts == [read_rows([row])[0][0] for row in rows]


@pytest.mark.legacy
def test_a_shared_prompt_serves_rows_that_are_captured(model, ends, read_rows):
    kinds = [(), (one(scope="response"),), (SHARED,), (SHARED,)]
    rows = [Request(f"{i}", TWO[0], kind) for i, kind in enumerate(kinds)]
    for span, n_read in (("response", 2), ("last", 2), ("prompt-last", 4)):
        sums = ResidualSums(4, range(N_LAYERS), D_MODEL)
        _, read = read_rows(rows, capture=Capture(sums, span))
        assert read == n_read
        for i in (1, 3):
            alone = ResidualSums(1, range(N_LAYERS), D_MODEL)
            read_rows([rows[i]], capture=Capture(alone, span))
            # An empty response is NaN in both.
            torch.testing.assert_close(
                sums.means()[i], alone.means()[0], atol=1e-4, rtol=1e-4, equal_nan=True
            )
            assert sums.counts[i] == alone.counts[0]
        assert sums.counts.sum() >= 3
