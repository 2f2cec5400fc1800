"""Reading texts after contexts that repeat: each context once, and the numbers do not change."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from creativity_lens.activations import continuing
from creativity_lens.activations.continuing import Continuation, read_continuations
from creativity_lens.activations.reading import Passage, read_passages
from creativity_lens.errors import InputError
from creativity_lens.hooks.capture import ResidualSums
from creativity_lens.models.batching import left_pad
from creativity_lens.models.protocol import extend, read, resid_post, step
from tests.tiny import D_MODEL, N_CTX, N_LAYERS, distance, live_hooks, residuals, token_rows

LAYERS = tuple(range(N_LAYERS))
ROUNDING = 1e-5
# Of different lengths, one of them a single token, two of one length; the last begins another.
CONTEXTS = token_rows(5, 9, 1, 9, 3, seed=7)
CONTEXTS.append(CONTEXTS[1][:4])
AFTER = (5, 0, 1, 0, 2, 3, 1, 0, 2, 4, 1)  # each text's context
LENGTHS = (6, 1, 12, 3, 3, 9, 1, 20, 2, 7, 5)
PASSAGES = [
    Passage(f"text-{i}", CONTEXTS[context], text)
    for i, (context, text) in enumerate(zip(AFTER, token_rows(*LENGTHS, seed=3), strict=True))
]


def _read(model, passages=PASSAGES, **limits):
    """Means of all layers, NLL, and the passes that gave them."""
    means = torch.full((len(passages), N_LAYERS, D_MODEL), torch.nan, dtype=torch.float64)
    nll = np.full(len(passages), np.nan)
    passes: list[tuple[Continuation, ResidualSums]] = []

    def hooks(batch):
        sums = ResidualSums(len(batch.indices), LAYERS, D_MODEL)
        sums.aim(torch.arange(len(batch.indices)), batch.chosen)
        passes.append((batch, sums))
        return sums.hooks()

    def on_logits(index, logits):
        assert math.isnan(nll[index])  # each passage comes once
        assert logits.dtype == torch.float32
        nll[index] = float(cross_entropy(logits, torch.tensor(passages[index].text_ids)))

    read_continuations(model, passages, hooks=hooks, on_logits=on_logits, **limits)
    for batch, sums in passes:
        means[list(batch.indices)] = sums.means()
    return means, nll, [batch for batch, _ in passes]


@pytest.fixture
def passes(monkeypatch):
    """What is read: (ids, mask) of each pass over contexts, and of each over texts."""
    found = {"step": [], "extend": []}

    def spy(name):
        real = getattr(continuing, name)

        def spied(model, ids, mask, *args, **kwargs):
            found[name].append((ids.clone(), mask.clone()))
            return real(model, ids, mask, *args, **kwargs)

        monkeypatch.setattr(continuing, name, spied)

    spy("step")
    spy("extend")
    return found


@pytest.mark.legacy
@pytest.mark.parametrize(
    "limits",
    [{}, {"batch_size": 1}, {"batch_size": 2}, {"batch_size": 4}, {"max_batch_tokens": 30}],
)
def test_the_numbers_are_those_of_reading_each_text_whole(model, limits):
    whole = read_passages(model, PASSAGES, layers=LAYERS, likelihood=True)
    means, nll, _ = _read(model, **limits)
    assert distance(means, whole.means) < ROUNDING
    assert nll == pytest.approx(whole.nll, rel=ROUNDING)
    assert live_hooks(model) == 0


@pytest.mark.legacy
def test_the_order_of_the_passages_does_not_show(model):
    means, nll, _ = _read(model, batch_size=3)
    reversed_means, reversed_nll, _ = _read(model, PASSAGES[::-1], batch_size=3)
    assert distance(reversed_means.flip(0), means) < ROUNDING
    assert reversed_nll[::-1] == pytest.approx(nll, rel=ROUNDING)


@pytest.mark.parametrize("limits", [{}, {"batch_size": 2}, {"max_batch_tokens": 12}])
def test_each_context_is_read_once_and_each_text_once(llama, passes, limits):
    _, _, batches = _read(llama, **limits)
    rows = [
        tuple(row[kept.bool()].tolist())
        for ids, mask in passes["step"]
        for row, kept in zip(ids, mask, strict=True)
    ]
    assert sorted(rows) == sorted({p.context_ids for p in PASSAGES})
    assert sorted(i for batch in batches for i in batch.indices) == list(range(len(PASSAGES)))


@pytest.mark.parametrize("limits", [{"batch_size": 2}, {"max_batch_tokens": 30}])
def test_no_pass_is_larger_than_it_may_be(llama, passes, limits):
    _read(llama, **limits)
    sizes = [mask.shape for kind in passes.values() for _, mask in kind]
    assert all(rows <= limits.get("batch_size", 16) for rows, _ in sizes)
    budget = limits.get("max_batch_tokens", 4096)
    assert all(rows == 1 or rows * width <= budget for rows, width in sizes)
    assert max(rows for rows, _ in sizes) > 1


def test_hooks_see_the_texts_alone(llama):
    seen = []

    def hooks(batch):
        for row, index in enumerate(batch.indices):
            text = PASSAGES[index].text_ids
            assert batch.chosen[row].tolist() == [1] * len(text) + [0] * (
                batch.chosen.shape[1] - len(text)
            )
            assert tuple(batch.ids[row, : len(text)].tolist()) == text

        def look(stream, hook=None):
            seen.append(stream.shape[:2] == batch.ids.shape)

        return [(resid_post(0), look)]

    read_continuations(llama, PASSAGES, hooks=hooks, on_logits=lambda *_: None, batch_size=4)
    assert all(seen)
    assert len(seen) > 1


def test_no_passages_are_no_work(llama, passes):
    assert _read(llama, [])[2] == []
    assert passes == {"step": [], "extend": []}


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (Passage("odd", (5, 6), ()), "the text of 'odd' is empty"),
        (Passage("odd", (), (5, 6)), "the context of 'odd' is empty"),
        (
            Passage("odd", (5,) * 300, (6,) * (N_CTX - 299)),
            f"'odd' with its prompt needs {N_CTX + 1} tokens.* {N_CTX}; shorten it",
        ),
    ],
)
def test_a_passage_that_cannot_be_read_fails_before_any_work(llama, passes, odd, message):
    with pytest.raises(InputError, match=message):
        _read(llama, [*PASSAGES, odd])
    assert passes == {"step": [], "extend": []}


def test_context_and_text_may_fill_the_models_context(llama):
    full = Passage("full", *token_rows(N_CTX - 20, 20))
    assert np.isfinite(_read(llama, [*PASSAGES, full])[1]).all()


# --- extend: several tokens after a cache ------------------------------------------------------

FIRST = token_rows(4, 9, 6, seed=1)
THEN = token_rows(7, 2, 5, seed=2)


def _right_pad(rows):
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask


@pytest.mark.legacy
def test_extend_gives_the_logits_of_all_new_tokens_and_their_streams(model):
    ids, mask = left_pad(FIRST)
    _, cache = step(model, ids, mask)
    new, real = _right_pad(THEN)
    seen = {}
    hooks = [
        (resid_post(n), lambda stream, hook=None, n=n: seen.update({n: stream.clone()}))
        for n in LAYERS
    ]
    logits = extend(model, new, torch.cat([mask, real], dim=1), cache, hooks=hooks)
    assert logits.shape == (3, 7, model.cfg.d_vocab)
    whole = [(*a, *b) for a, b in zip(FIRST, THEN, strict=True)]
    streams = residuals(model, whole)
    for row, (text, stream) in enumerate(zip(THEN, streams, strict=True)):
        n = len(text)
        alone = read(model, *left_pad([whole[row]]), keep_logits=n)[0]
        assert distance(logits[row, :n], alone) < ROUNDING
        found = torch.stack([seen[layer][row, :n] for layer in LAYERS])
        assert distance(found, stream[:, -n:]) < ROUNDING


@pytest.mark.legacy
def test_extend_writes_to_the_cache(model):
    first, then, last = token_rows(6, 4, 1, seed=5)
    _, cache = step(model, *left_pad([first]))
    extend(model, torch.tensor([then]), torch.ones((1, 10), dtype=torch.long), cache)
    after = step(model, torch.tensor([last]), torch.ones((1, 11), dtype=torch.long), cache)
    whole = read(model, *left_pad([(*first, *then, *last)]), keep_logits=1)[:, -1]
    assert distance(after.logits, whole) < ROUNDING
