"""Reading texts: which tokens count, and that batches and padding never show."""

import math

import numpy as np
import pytest
import torch

import creativity_lens as cl
from creativity_lens.activations.reading import Passage, check_span, read_batches, read_passages
from creativity_lens.errors import InputError
from creativity_lens.hooks.capture import NormHistogram
from creativity_lens.measures.likelihood import mean_nll
from creativity_lens.scoring.score import scoring_context
from tests.tiny import (
    D_MODEL,
    N_CTX,
    N_LAYERS,
    distance,
    live_hooks,
    residuals,
    tiny_hf,
    token_rows,
)

LAYERS = tuple(range(N_LAYERS))
ROUNDING = 1e-5


@pytest.fixture
def hf(request, model):
    """The plain Hugging Face twin of `model`."""
    return tiny_hf(request.node.callspec.params["model"])[0]


def _passages(*lengths):
    """Passages with these numbers of context and text tokens."""
    lengths = lengths or ((4, 9), (12, 1), (2, 2), (7, 20), (3, 5))
    return [Passage(f"text-{i}", *token_rows(*n, seed=i)) for i, n in enumerate(lengths)]


def _stream(model, passage):
    """`resid_post` of a passage alone, `[layer, pos, d_model]`."""
    return residuals(model, [(*passage.context_ids, *passage.text_ids)])[0].double()


# --- what counts ------------------------------------------------------------------------------


@pytest.mark.legacy
@pytest.mark.parametrize("unit_tokens", [False, True])
@pytest.mark.parametrize("span", ["response", "last", "prompt-last"])
def test_a_mean_is_over_the_tokens_of_the_span(model, span, unit_tokens):
    passages = _passages()
    means = read_passages(
        model, passages, layers=LAYERS, span=span, unit_tokens=unit_tokens, batch_size=3
    ).means
    assert means.dtype == torch.float64
    for mean, passage in zip(means, passages, strict=True):
        stream, start = _stream(model, passage), len(passage.context_ids)
        tokens = {
            "response": stream[:, start:],
            "last": stream[:, -1:],
            "prompt-last": stream[:, start - 1 : start],
        }[span]
        if unit_tokens:
            tokens = tokens / tokens.norm(dim=-1, keepdim=True)
        assert distance(mean, tokens.mean(dim=1)) < ROUNDING


@pytest.mark.legacy
@pytest.mark.parametrize("limits", [{"batch_size": 1}, {"batch_size": 2}, {"max_batch_tokens": 30}])
def test_neither_batches_nor_order_show(model, limits):
    passages = _passages()
    whole = read_passages(model, passages, layers=LAYERS, likelihood=True)
    parts = read_passages(model, passages[::-1], layers=LAYERS, likelihood=True, **limits)
    assert distance(parts.means.flip(0), whole.means) < ROUNDING
    assert parts.nll[::-1] == pytest.approx(whole.nll, rel=ROUNDING)


def test_layers_come_in_the_order_that_was_asked_for(model):
    passages = _passages()
    whole = read_passages(model, passages, layers=LAYERS).means
    some = read_passages(model, passages, layers=(1, 0)).means  # stops after layer 1
    assert torch.equal(some, whole[:, [1, 0]])


def test_the_first_token_the_model_sees_never_counts(model):
    (passage,) = _passages((0, 6))
    (mean,) = read_passages(model, [passage], layers=LAYERS).means
    assert distance(mean, _stream(model, passage)[:, 1:].mean(dim=1)) < ROUNDING


@pytest.mark.parametrize(
    ("lengths", "span"), [((0, 1), "response"), ((0, 1), "last"), ((0, 5), "prompt-last"),
                          ((1, 5), "prompt-last")]
)  # fmt: skip
def test_a_text_of_which_nothing_counts_is_an_error_that_names_it(llama, lengths, span):
    with pytest.raises(InputError, match="'text-1' has no token that counts"):
        read_passages(llama, _passages((4, 4), lengths), layers=LAYERS, span=span)


def test_norms_are_of_the_counted_tokens(model):
    passages, norms = _passages(), NormHistogram(N_LAYERS)
    read_passages(model, passages, layers=LAYERS, norms=norms, batch_size=2)
    tokens = torch.cat([_stream(model, p)[:, len(p.context_ids) :] for p in passages], dim=1)
    lower, upper = (tokens.norm(dim=-1).quantile(0.5, dim=1, interpolation=i) for i in
                    ("lower", "higher"))  # fmt: skip
    assert bool(((norms.median() > lower * 0.999) & (norms.median() < upper * 1.001)).all())


def test_progress_counts_every_text_once(llama):
    finished = []
    read_passages(llama, _passages(), layers=(0,), batch_size=2, on_progress=finished.append)
    assert sum(finished) == 5
    assert max(finished) <= 2


def test_a_batch_says_which_texts_it_holds_and_which_tokens_count(llama):
    (batch,) = read_batches(llama, _passages((3, 2), (1, 2)))
    assert batch.indices == (1, 0)  # by length
    assert batch.mask.tolist() == [[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]]
    assert batch.chosen.tolist() == [[0, 0, 0, 1, 1], [0, 0, 0, 1, 1]]
    assert batch.logits_needed == 3  # the token before a text predicts its first one


# --- likelihood -------------------------------------------------------------------------------


@pytest.mark.legacy
def test_the_likelihood_is_hugging_faces_loss_over_the_text(model, hf):
    passages = _passages((4, 9), (12, 1), (0, 6), (7, 20))
    found = read_passages(model, passages, layers=(), likelihood=True).nll
    for nll, passage in zip(found, passages, strict=True):
        ids = torch.tensor([[*passage.context_ids, *passage.text_ids]])
        labels = ids.clone()
        labels[:, : len(passage.context_ids)] = -100  # Hugging Face leaves these out
        with torch.no_grad():
            assert nll == pytest.approx(float(hf(ids, labels=labels).loss), rel=1e-5)


def test_likelihood_and_means_come_from_one_pass(model):
    passages = _passages()
    both = read_passages(model, passages, layers=(0, 2), likelihood=True)
    assert distance(both.means, read_passages(model, passages, layers=(0, 2)).means) < ROUNDING
    assert both.nll == pytest.approx(mean_nll(model, passages))


def test_the_likelihood_is_nan_where_it_was_not_asked_for(llama):
    assert np.isnan(read_passages(llama, _passages(), layers=(0,)).nll).all()


# --- errors -----------------------------------------------------------------------------------


def test_a_text_may_fill_the_context_and_not_one_token_more(llama):
    read_passages(llama, _passages((N_CTX - 10, 10)), layers=(0,), likelihood=True)
    with pytest.raises(InputError, match=rf"'text-1' with its prompt needs {N_CTX + 1} tokens"):
        read_passages(llama, _passages((3, 3), (N_CTX - 10, 11)), layers=(0,))


def test_an_empty_text_is_named(llama):
    with pytest.raises(InputError, match="'text-1' is empty"):
        read_passages(llama, _passages((3, 3), (3, 0)), layers=(0,))


def test_an_unknown_span_names_the_choices():
    with pytest.raises(InputError, match="'middle'; choose one of response, last, prompt-last"):
        check_span("middle")


def test_a_layer_out_of_range_is_an_error(llama):
    with pytest.raises(InputError, match=f"layer {N_LAYERS} is out of range"):
        read_passages(llama, _passages(), layers=(0, N_LAYERS))


# --- end to end -------------------------------------------------------------------------------


@pytest.mark.legacy
def test_extracting_and_scoring_are_what_one_gets_by_hand(model, pairs):
    config = cl.ExtractionConfig(sampling=cl.Sampling(max_new_tokens=8), seed=3)
    run = cl.extract(model, pairs, config)

    means = {"creative": [], "uncreative": []}
    for row in run.rows:
        (stream,) = residuals(model, [(*row.read_prompt_ids, *row.response_ids)])
        means[row.condition].append(stream[:, len(row.read_prompt_ids) :].double().mean(dim=1))
    creative, uncreative = (torch.stack(side).mean(dim=0) for side in means.values())
    assert len(run.rows) == 2 * len(pairs)
    directions = torch.stack([direction.vector for direction in run.directions])
    assert distance(directions, torch.nn.functional.normalize(creative - uncreative, dim=-1)) < 1e-4

    texts = ["12, 34!", "7?", "a b c: (d)"]
    scores = cl.score_texts(model, run.directions, texts)
    context = scoring_context(model, run.directions.provenance)
    for text, values in zip(texts, scores.values, strict=True):
        ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
        (stream,) = residuals(model, [(*context, *ids)])
        tokens = torch.nn.functional.normalize(stream[:, len(context) :], dim=-1)
        by_hand = torch.einsum("lpd,ld->lp", tokens, directions).mean(dim=1)
        assert values == pytest.approx(by_hand.numpy(), abs=1e-5)

    with cl.steer(model, run.directions, layers=1, strength=0.5):
        assert live_hooks(model) == 1
        steered = cl.score_texts(model, run.directions, texts, layers=1).values[:, 0]
    assert (steered > scores.values[:, 1]).all()
    assert live_hooks(model) == 0
    assert math.isfinite(run.directions.residual_norms.sum())
    assert directions.shape == (N_LAYERS, D_MODEL)
