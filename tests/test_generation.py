"""Generation: which token is drawn, and that nothing but its own row decides it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from creativity_lens.activations.reading import Passage, read_passages
from creativity_lens.errors import InputError, ModelError
from creativity_lens.generation.decode import (
    Capture,
    Request,
    check_requests,
    generate_batch,
    generate_ids,
)
from creativity_lens.generation.sampling import Sampling, choose, row_stream
from creativity_lens.hooks.capture import NormHistogram, ResidualSums
from creativity_lens.hooks.intervene import Intervention, RowInterventions
from creativity_lens.hooks.scope import Scope
from creativity_lens.models.batching import left_pad
from creativity_lens.models.protocol import read, resid_post
from tests.tiny import D_MODEL, N_CTX, N_LAYERS, distance, live_hooks, tiny_hf, token_rows

LAYERS = range(N_LAYERS)
LENGTHS = (12, 3, 7, 1, 9, 5, 12, 4) * 2  # of the prompts
ROWS = len(LENGTHS)
SAMPLING = Sampling(max_new_tokens=10, temperature=1.0, top_p=0.9, min_p=0.01)
GREEDY = Sampling(max_new_tokens=10, temperature=0.0)
RESPONSE = Scope("response")


@pytest.fixture
def hf(request, model):
    """The plain Hugging Face twin of `model`."""
    return tiny_hf(request.node.callspec.params["model"])[0]


@pytest.fixture
def ends(model, monkeypatch):
    """Let every tenth token end a response, so that rows end at different times."""
    ids = frozenset(range(2, model.cfg.d_vocab, 10))
    monkeypatch.setattr("creativity_lens.generation.decode.stop_ids", lambda model: ids)
    return ids


def _requests(*lengths, interventions=()):
    lengths = lengths or LENGTHS
    return [Request(f"row-{i}", row, interventions) for i, row in enumerate(token_rows(*lengths))]


def _vector(strength=40.0, seed=0):
    vector = torch.randn(D_MODEL, generator=torch.Generator().manual_seed(seed))
    return vector / vector.norm() * strength


def _generate(model, requests, sampling=SAMPLING, **kwargs):
    return {c.id: c for c in generate_ids(model, requests, sampling=sampling, **kwargs)}


def _responses(model, requests, sampling=SAMPLING, **kwargs):
    done = _generate(model, requests, sampling, **kwargs).values()
    return [completion.response_ids for completion in done]


# --- the random stream ------------------------------------------------------------------------


def test_a_stream_depends_on_seed_and_id_alone():
    first = row_stream(3, "a/creative/0", 5)
    np.random.default_rng(0).random(7)
    torch.rand(7)
    assert np.array_equal(first, row_stream(3, "a/creative/0", 5))
    assert np.array_equal(first, row_stream(3, "a/creative/0", 50)[:5])  # nor on the length
    others = [row_stream(4, "a/creative/0", 5), row_stream(3, "a/creative/1", 5)]
    others += [row_stream(1, "23", 5), row_stream(12, "3", 5), row_stream(123, "", 5)]
    assert len({tuple(stream) for stream in [first, *others]}) == 6


def test_a_stream_is_the_same_in_every_version():
    """Pinned: another value here would change every published result."""
    assert row_stream(0, "row-0", 2).tolist() == [0.4148834623665343, 0.5672779135708828]


def test_a_stream_is_uniform():
    draws = np.sort(row_stream(0, "x", 20_000))
    assert draws[0] >= 0
    assert draws[-1] < 1
    # Kolmogorov-Smirnov: the gap to the diagonal exceeds 1.95 / sqrt(n) once in a thousand.
    assert np.abs(draws - np.linspace(0, 1, 20_000)).max() < 1.95 / math.sqrt(20_000)


# --- the draw ---------------------------------------------------------------------------------


def _shares(probabilities, **settings):
    """How much of the unit interval draws each token, on a grid of uniform numbers."""
    n = 20_000
    uniforms = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    logits = torch.tensor(probabilities).log().expand(n, -1)
    sampling = Sampling(**{"temperature": 1.0, "top_p": 1.0, "min_p": 0.0} | settings)
    drawn = choose(logits, sampling, uniforms)
    return (torch.bincount(drawn, minlength=len(probabilities)) / n).tolist()


# Squares of .5 .3 .2 are .25 .09 .04, of sum .38.
SQUARES = [0.25 / 0.38, 0.09 / 0.38, 0.04 / 0.38]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [0.5, 0.3, 0.2]),
        ({"temperature": 0.5}, SQUARES),
        ({"temperature": 0.0}, [1, 0, 0]),
        ({"top_p": 0.45}, [1, 0, 0]),  # the likeliest alone reaches it
        ({"top_p": 0.55}, [0.625, 0.375, 0]),  # .5 + .3 is the smallest set that does
        ({"top_p": 0.85}, [0.5, 0.3, 0.2]),
        ({"min_p": 0.39}, [0.5, 0.3, 0.2]),  # the floor is .195
        ({"min_p": 0.41}, [0.625, 0.375, 0]),  # the floor is .205
        # Temperature comes first: among the squares .04 / .25 is less than .39, but not at T = 1 …
        ({"temperature": 0.5, "min_p": 0.35}, [0.25 / 0.34, 0.09 / 0.34, 0]),
        # … and .25 / .38 = .66 reaches a top-p that .5 alone does not.
        ({"temperature": 0.5, "top_p": 0.6}, [1, 0, 0]),
    ],
)
def test_shares_are_those_derived_by_hand(settings, expected):
    assert _shares([0.5, 0.3, 0.2], **settings) == pytest.approx(expected, abs=2e-4)


def test_the_order_of_the_tokens_does_not_matter_to_what_is_kept():
    assert _shares([0.2, 0.5, 0.3], top_p=0.55) == pytest.approx([0, 0.625, 0.375], abs=2e-4)


def test_a_nucleus_wider_than_the_first_guess_is_found():
    # Weights n, n - 1, …, 1 for n = 3000: the first k hold about 1 - (1 - k / n)^2, which is 0.9
    # at k = n (1 - sqrt(0.1)) = 2051.3, so 2052 are kept: more than the 1024 that are tried first.
    logits = torch.arange(3000, 0, -1).double().log().float()[None, :]
    last = torch.tensor([np.nextafter(1.0, 0.0)])
    sampling = Sampling(temperature=1.0, top_p=0.9, min_p=0.0)
    assert int(choose(logits, sampling, last)) == pytest.approx(2051, abs=2)


@pytest.mark.parametrize("settings", [{"top_p": 0.55}, {"min_p": 0.41}])
def test_a_token_that_was_dropped_is_never_drawn_even_at_the_ends(settings):
    logits = torch.tensor([0.2, 0.5, 0.3]).log().expand(2, -1)
    ends = torch.tensor([0.0, np.nextafter(1.0, 0.0)], dtype=torch.float64)
    sampling = Sampling(**{"temperature": 1.0, "min_p": 0.0} | settings)
    assert choose(logits, sampling, ends).tolist() == [1, 2]


def test_frequencies_over_many_rows_follow_the_probabilities():
    probabilities, n = np.array([0.5, 0.3, 0.15, 0.05]), 4000
    uniforms = torch.tensor([row_stream(0, str(i), 1)[0] for i in range(n)])
    logits = torch.from_numpy(probabilities).float().log().expand(n, -1)
    drawn = choose(logits, Sampling(temperature=1.0, min_p=0.0), uniforms)
    frequencies = np.bincount(drawn.numpy(), minlength=4) / n
    # Four standard errors of a share p of n draws: 4 sqrt(p (1 - p) / n).
    assert (
        np.abs(frequencies - probabilities) < 4 * np.sqrt(probabilities * (1 - probabilities) / n)
    ).all()


def _draw_by_definition(logits, sampling, uniform):
    """One row's token as the docstrings define it, in float64 and without short cuts."""
    logits = np.asarray(logits, dtype=np.float64)
    if sampling.temperature == 0:
        return int(logits.argmax())
    weights = np.exp((logits - logits.max()) / sampling.temperature)
    shares = weights / weights.sum()
    order = np.argsort(-shares, kind="stable")
    before = np.concatenate([[0.0], shares[order].cumsum()[:-1]])
    kept = np.zeros(len(shares), dtype=bool)
    # The fewest of the likeliest that reach top_p; all tokens hold 1, whatever a sum is rounded to.
    kept[order[(before < sampling.top_p) | (sampling.top_p == 1)]] = True
    kept &= shares >= sampling.min_p * shares.max()
    cumulative = np.where(kept, shares, 0).cumsum()
    return int(np.flatnonzero(cumulative > uniform * cumulative[-1])[0])


@pytest.mark.parametrize("min_p", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("top_p", [1.0, 0.95, 0.5, 0.01])
@pytest.mark.parametrize("temperature", [0.0, 0.3, 1.0, 1.7])
def test_the_draw_is_the_one_of_the_definition(temperature, top_p, min_p):
    sampling = Sampling(temperature=temperature, top_p=top_p, min_p=min_p)
    random = np.random.default_rng([int(10 * temperature), int(100 * top_p), int(100 * min_p)])
    # Peaked and flat rows in one batch; nuclei beyond the 1024 tokens that are tried first.
    for vocabulary in (3, 60, 1500):
        scales = random.choice([0.1, 1.0, 4.0, 20.0], size=(24, 1))
        logits = (random.normal(size=(24, vocabulary)) * scales).astype(np.float32)
        logits[random.random(logits.shape) < 0.2] = -np.inf
        logits[:, 1] = 5.0  # so that no row is ruled out whole
        uniforms = random.random(24)
        uniforms[:2] = 0.0, np.nextafter(1.0, 0.0)
        drawn = choose(torch.from_numpy(logits), sampling, torch.from_numpy(uniforms))
        expected = [
            _draw_by_definition(r, sampling, u) for r, u in zip(logits, uniforms, strict=True)
        ]
        assert drawn.tolist() == expected


def _reached(logits, **settings):
    """Which tokens some uniform number draws."""
    n = 1000
    uniforms = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    sampling = Sampling(**{"temperature": 1.0, "top_p": 1.0, "min_p": 0.0} | settings)
    return sorted(set(choose(torch.tensor(logits).expand(n, -1), sampling, uniforms).tolist()))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_a_token_exactly_at_the_edge_of_min_p_is_kept(temperature):
    """It is dropped if it is *less* likely than the share; both tokens at the edge are alike."""
    edge = temperature * math.log(0.25)
    logits = [3.0 + edge, 3.0, 3.0 + 1.001 * edge, 3.0 + edge, 3.0]
    # 3 + edge is rounded to float32 here as it is there.
    assert _reached(logits, temperature=temperature, min_p=0.25) == [0, 1, 3, 4]


def test_of_equal_tokens_a_nucleus_holds_as_many_as_it_needs():
    assert len(_reached([1.0] * 8, top_p=0.5)) == 4
    assert len(_reached([1.0] * 8, top_p=0.51)) == 5


@pytest.mark.parametrize("settings", [{}, {"top_p": 0.999}, {"min_p": 0.001}])
def test_a_token_that_the_model_rules_out_is_never_drawn(settings):
    logits = torch.tensor([-math.inf, 0.0, -math.inf, 0.0, -math.inf]).expand(2, -1)
    ends = torch.tensor([0.0, np.nextafter(1.0, 0.0)], dtype=torch.float64)
    sampling = Sampling(**{"temperature": 1.0, "min_p": 0.0} | settings)
    assert choose(logits, sampling, ends).tolist() == [1, 3]


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_new_tokens": 0},
        {"temperature": -0.1},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"min_p": 1.0},
        {"min_p": -0.1},
    ],
)
def test_a_setting_out_of_range_is_named_with_its_value(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(InputError, match=f"{name} must be .* got {value}"):
        Sampling(**wrong)


# --- a row and its batch ----------------------------------------------------------------------


@pytest.mark.legacy
def test_greedy_is_hugging_faces_generate(model, hf, ends):
    requests = _requests()
    for request, response in zip(requests, _responses(model, requests, GREEDY), strict=True):
        prompt = torch.tensor([request.prompt_ids])
        plain = hf.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=10,
            eos_token_id=sorted(ends),
            pad_token_id=0,
        )[0, prompt.shape[1] :].tolist()
        assert list(response) == (plain[:-1] if plain[-1] in ends else plain)


@pytest.mark.legacy
def test_a_row_gives_the_same_text_in_any_batch_and_order_and_after_anything(model, ends):
    requests = _requests()
    together = _generate(model, requests)
    torch.manual_seed(99)
    assert _generate(model, requests[::-1], batch_size=3) == together
    assert _generate(model, requests[4:]) == {r.id: together[r.id] for r in requests[4:]}
    for request in requests:
        assert _generate(model, [request]) == {request.id: together[request.id]}
    assert _responses(model, requests, seed=1) != _responses(model, requests, seed=0)


@pytest.mark.legacy
def test_the_decoding_loop_agrees_with_one_that_has_no_cache_and_no_batch(model, ends):
    for request, completion in zip(
        _requests(), _generate(model, _requests()).values(), strict=True
    ):
        ids, response, reason = list(request.prompt_ids), [], "length"
        for uniform in row_stream(0, request.id, SAMPLING.max_new_tokens):
            logits = read(model, *left_pad([ids]), keep_logits=1)[:, -1]
            token = int(choose(logits, SAMPLING, torch.tensor([uniform])))
            if token in ends:
                reason = "stop"
                break
            response.append(token)
            ids.append(token)
        assert completion.response_ids == tuple(response)
        assert completion.finish_reason == reason


@pytest.mark.legacy
def test_rows_retire_when_they_end_and_hold_no_stop_id(model, ends):
    done = _generate(model, _requests())
    assert not any(set(c.response_ids) & ends for c in done.values())
    for completion in done.values():
        if completion.finish_reason == "length":
            assert len(completion.response_ids) == SAMPLING.max_new_tokens
    # The test means something only if the rows do end at different times, and some by length.
    assert {c.finish_reason for c in done.values()} == {"stop", "length"}
    assert len({len(c.response_ids) for c in done.values()}) >= 4


def test_a_row_that_ends_at_once_is_empty_and_stops(llama, monkeypatch):
    every = frozenset(range(llama.cfg.d_vocab))
    monkeypatch.setattr("creativity_lens.generation.decode.stop_ids", lambda model: every)
    (completion,) = _generate(llama, _requests(5)).values()
    assert completion.response_ids == ()
    assert completion.finish_reason == "stop"


def test_the_models_own_end_token_ends_a_row(llama, monkeypatch):
    """Without the patched list: the last layer is pushed toward EOS."""
    eos = llama.tokenizer.eos_token_id
    unembed = llama.original_model.lm_head.weight[eos].detach()
    push = Intervention(N_LAYERS - 1, unembed / unembed.norm() * 25)
    requests = [Request(f"row-{i}", row, (push,)) for i, row in enumerate(token_rows(*[6] * 8))]
    done = _generate(llama, requests, Sampling(max_new_tokens=20, temperature=1.0)).values()
    stopped = [c for c in done if c.finish_reason == "stop"]
    assert len({len(c.response_ids) for c in stopped}) > 1
    assert not any(eos in c.response_ids for c in done)


@pytest.mark.legacy
def test_rows_of_one_batch_drawn_in_different_ways_are_as_they_are_alone(model, ends):
    plain = _requests()
    ways = [
        None,
        GREEDY,
        Sampling(max_new_tokens=10, temperature=1.5, min_p=0.0),
        Sampling(max_new_tokens=10, temperature=1.0, top_p=0.3, min_p=0.0),
    ]
    seeds = [None, 0, 1]
    requests = [
        replace(r, sampling=ways[i % 4], seed=seeds[i % 3], stream="one" if i % 5 else None)
        for i, r in enumerate(plain)
    ]
    together = _generate(model, requests, seed=7)
    for i, request in enumerate(requests):
        # Alone, and with the call's own settings in place of the row's.
        bare = replace(request, sampling=None, seed=None)
        call = {"seed": 7 if request.seed is None else request.seed}
        assert _generate(model, [request], seed=7) == {request.id: together[request.id]}
        assert _generate(model, [bare], ways[i % 4] or SAMPLING, **call) == {
            request.id: together[request.id]
        }
    assert sum(c != _generate(model, plain, seed=7)[c.id] for c in together.values()) >= ROWS // 2


def test_rows_of_one_prompt_differ_by_their_seed_and_not_by_their_id(llama):
    (first,) = _requests(9)
    rows = [
        replace(first, id=f"{seed}/{copy}", stream="p", seed=seed)
        for seed in (0, 1, 2)
        for copy in "ab"
    ]
    hot = Sampling(max_new_tokens=10, temperature=1.5, min_p=0.0)
    responses = _responses(llama, rows, hot)
    assert responses[::2] == responses[1::2]
    assert len(set(responses)) == 3


def test_completions_come_in_the_order_of_the_requests(llama):
    requests, finished = _requests(), []
    done = generate_ids(
        llama, requests, sampling=SAMPLING, batch_size=3, on_progress=finished.append
    )
    assert [c.id for c in done] == [r.id for r in requests]
    assert finished == [3, 3, 3, 3, 3, 1]


# --- steering ---------------------------------------------------------------------------------


@pytest.mark.legacy
@pytest.mark.parametrize("scope", ["all", "generated"])
def test_adding_zero_changes_no_token_and_adding_something_does(model, scope):
    plain = _responses(model, _requests())
    zero = tuple(
        Intervention(layer, torch.zeros(D_MODEL), scope=Scope.parse(scope)) for layer in LAYERS
    )
    assert _responses(model, _requests(interventions=zero)) == plain
    some = (Intervention(1, _vector(), scope=Scope.parse(scope)),)
    assert _responses(model, _requests(interventions=some)) != plain


@pytest.mark.legacy
def test_rows_of_one_batch_are_steered_apart_as_single_runs_are(model, ends):
    plain = _requests()
    kinds = [
        (),
        (Intervention(0, _vector()),),
        (Intervention(2, -_vector(seed=1)), Intervention(1, _vector(seed=2), scope=RESPONSE)),
        (Intervention(1, _vector(seed=2), scope=RESPONSE),),
    ]
    steered = [Request(r.id, r.prompt_ids, kinds[i % 4]) for i, r in enumerate(plain)]
    together, unsteered = _generate(model, steered), _generate(model, plain)
    for i, request in enumerate(steered):
        assert _generate(model, [request]) == {request.id: together[request.id]}
        if i % 4 == 0:
            assert together[request.id] == unsteered[request.id]
    assert sum(together[r.id] != unsteered[r.id] for r in plain) >= ROWS // 2


@pytest.mark.legacy
@pytest.mark.parametrize(("scope", "same"), [("generated", True), ("all", False)])
def test_scope_generated_leaves_the_prompt_alone(model, scope, same):
    plain, steered = (
        _requests(),
        _requests(interventions=(Intervention(1, _vector(), scope=Scope.parse(scope)),)),
    )
    found = []
    for requests in (plain, steered):
        sums = ResidualSums(len(requests), LAYERS, D_MODEL)
        generate_batch(
            model, requests, sampling=GREEDY, seed=0, capture=Capture(sums, "prompt-last")
        )
        found.append(sums.means()[[len(r.prompt_ids) > 1 for r in requests]])
    assert torch.equal(found[0], found[1]) == same
    if same:  # and the first token, which the prompt alone decides
        one = Sampling(max_new_tokens=1)
        assert _responses(model, plain, one) == _responses(model, steered, one)


@pytest.mark.legacy
def test_scope_generated_is_reading_with_the_response_columns_steered(model):
    """The steered pass over prompt and response at once must show what the decoding saw."""
    (request,) = _requests(7, interventions=(Intervention(1, _vector(), scope=RESPONSE),))
    sums = ResidualSums(1, LAYERS, D_MODEL)
    (completion,) = generate_batch(
        model, [request], sampling=SAMPLING, seed=0, capture=Capture(sums)
    )
    steering = RowInterventions([request.interventions], [len(request.prompt_ids)])
    again = ResidualSums(1, LAYERS, D_MODEL)
    ids, mask = left_pad([(*request.prompt_ids, *completion.response_ids)])
    steering.aim(0, ids.shape[1])
    chosen = torch.zeros_like(mask)
    chosen[:, len(request.prompt_ids) :] = 1
    again.aim(torch.tensor([0]), chosen)
    read(model, ids, mask, hooks=steering.hooks() + again.hooks())
    assert distance(sums.means(), again.means()) < 1e-5


# --- capture ----------------------------------------------------------------------------------


@pytest.mark.legacy
@pytest.mark.parametrize("unit_tokens", [False, True])
@pytest.mark.parametrize("span", ["response", "last", "prompt-last"])
def test_capture_while_decoding_is_a_second_reading_pass(model, ends, span, unit_tokens):
    requests = _requests()
    norms = NormHistogram(N_LAYERS), NormHistogram(N_LAYERS)
    sums = ResidualSums(len(requests), LAYERS, D_MODEL, unit_tokens=unit_tokens, norms=norms[0])
    done = generate_batch(model, requests, sampling=SAMPLING, seed=0, capture=Capture(sums, span))
    assert {c.finish_reason for c in done} == {"stop", "length"}
    counts = {
        "response": [len(c.response_ids) for c in done],
        "last": [int(bool(c.response_ids)) for c in done],
        "prompt-last": [int(len(r.prompt_ids) > 1) for r in requests],
    }[span]
    assert sums.counts.tolist() == counts
    readable = [i for i, c in enumerate(done) if c.response_ids and counts[i]]
    again = read_passages(
        model,
        [Passage(done[i].id, requests[i].prompt_ids, done[i].response_ids) for i in readable],
        layers=LAYERS,
        span=span,
        unit_tokens=unit_tokens,
        norms=norms[1],
    )
    assert distance(sums.means()[readable], again.means) < 1e-5
    if span == "response":
        assert norms[0].median().tolist() == pytest.approx(norms[1].median().tolist(), rel=2e-3)


def test_capture_changes_no_token(model, ends):
    sums = ResidualSums(ROWS, LAYERS, D_MODEL)
    done = generate_batch(
        model, _requests(), sampling=SAMPLING, seed=0, capture=Capture(sums, "last")
    )
    assert [c.response_ids for c in done] == _responses(model, _requests())


def test_the_only_token_of_a_response_counts_though_nothing_is_sampled_after_it(model):
    sums = ResidualSums(1, LAYERS, D_MODEL)
    (request,) = _requests(6)
    (completion,) = generate_batch(
        model, [request], sampling=Sampling(max_new_tokens=1), seed=0, capture=Capture(sums)
    )
    seen = {}
    hooks = [(resid_post(2), lambda stream, hook=None: seen.update({2: stream[0, -1].double()}))]
    read(model, *left_pad([(*request.prompt_ids, *completion.response_ids)]), hooks=hooks)
    assert sums.counts.tolist() == [1]
    assert distance(sums.means()[0, 2], seen[2]) < 1e-5


def test_an_empty_response_is_nan_in_the_capture(llama, monkeypatch):
    every = frozenset(range(llama.cfg.d_vocab))
    monkeypatch.setattr("creativity_lens.generation.decode.stop_ids", lambda model: every)
    sums = ResidualSums(1, LAYERS, D_MODEL)
    generate_batch(llama, _requests(5), sampling=SAMPLING, seed=0, capture=Capture(sums))
    assert sums.counts.tolist() == [0]
    assert sums.means().isnan().all()


# --- errors -----------------------------------------------------------------------------------


class Stop(Exception):
    pass


@pytest.mark.legacy
def test_an_exception_midway_leaves_no_hook_behind(model):
    before, steps = _responses(model, _requests()), []

    class Failing(ResidualSums):
        def hooks(self):
            def fail(stream, hook=None):
                steps.append(stream.shape[1])
                if len(steps) == 3:
                    raise Stop

            return [*super().hooks(), (resid_post(1), fail)]

    requests = _requests(interventions=(Intervention(0, _vector()),))
    with pytest.raises(Stop):
        generate_batch(
            model,
            requests,
            sampling=SAMPLING,
            seed=0,
            capture=Capture(Failing(ROWS, LAYERS, D_MODEL)),
        )
    assert steps == [12, 1, 1]  # the prompt and two tokens
    assert live_hooks(model) == 0
    assert _responses(model, _requests()) == before


def test_a_prompt_and_its_response_may_fill_the_context_to_the_last_token(model):
    (request,) = _requests(N_CTX - 10)
    sums = ResidualSums(1, LAYERS, D_MODEL)
    (completion,) = generate_batch(
        model, [request], sampling=SAMPLING, seed=0, capture=Capture(sums)
    )
    check_requests(model, [request], SAMPLING)
    assert len(completion.response_ids) == sums.counts[0] == 10
    assert bool(sums.means().isfinite().all())


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ([Request("a", (5,)), Request("a", (6,))], "two rows have the id 'a'"),
        ([Request("a", (5,)), Request("b", ())], "row 'b' has an empty prompt"),
        (
            [Request("a", (5,) * (N_CTX - 9))],
            rf"row 'a' \({N_CTX - 9} prompt tokens and up to 10 new ones\) needs {N_CTX + 1} "
            rf"tokens.* {N_CTX}; shorten the prompt",
        ),
        (
            [Request("a", (5,), (Intervention(N_LAYERS, torch.ones(D_MODEL)),))],
            f"layer {N_LAYERS} is out of range",
        ),
        (
            [Request("a", (5,), sampling=Sampling(max_new_tokens=9))],
            "row 'a' asks for 9 new tokens in a call for 10: rows may differ in how",
        ),
    ],
)
def test_a_request_that_cannot_run_fails_before_any_work(llama, monkeypatch, requests, message):
    monkeypatch.setattr("creativity_lens.generation.decode.step", None)  # any work would fail
    with pytest.raises(InputError, match=message):
        next(generate_ids(llama, [Request("first", (5,)), *requests], sampling=SAMPLING))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("odd", [[0.0, math.nan, 0.0], [0.0, math.inf, 0.0], [-math.inf] * 3])
def test_logits_that_are_no_distribution_are_an_error_and_not_a_token(temperature, odd):
    logits = torch.tensor([[0.0, 0.0, 0.0], odd])
    with pytest.raises(ModelError, match="strength"):
        choose(logits, Sampling(temperature=temperature), torch.tensor([0.5, 0.5]).double())
