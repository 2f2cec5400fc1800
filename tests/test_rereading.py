"""A run's texts in other contexts; what a direction says to the vocabulary; random weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from creativity_lens.activations.reading import Passage, read_passages
from creativity_lens.directions.extract import ContrastRow, ExtractionConfig, extract
from creativity_lens.directions.lens import lens_tokens
from creativity_lens.directions.rereading import (
    CONTEXTS,
    check_rows,
    paired_means,
    passages_in,
    row_id,
)
from creativity_lens.directions.run_files import load_run, read_contrast, save_run
from creativity_lens.errors import InputError, MissingDependencyError
from creativity_lens.generation.sampling import Sampling
from creativity_lens.io import write_jsonl
from creativity_lens.models.identity import identity
from creativity_lens.models.protocol import resid_post
from creativity_lens.models.randomized import randomized
from creativity_lens.scoring.tokens import text_token_cosines, token_means
from tests.fakes import unchecked
from tests.tiny import D_MODEL, N_LAYERS, residuals, token_rows


def row(pair: str, condition: str, sample: int = 0, **changes) -> ContrastRow:
    side = ("creative", "uncreative").index(condition)
    values = {
        "pair_id": pair,
        "condition": condition,
        "sample": sample,
        "premise_id": f"premise of {pair}",
        "domain": "stories",
        "split": "train",
        "paraphrase_id": f"{condition}-0",
        "seed": 0,
        "finish_reason": "stop",
        "prompt": "p",
        "response": "r",
        "prompt_ids": (10 + side, 11),
        "read_prompt_ids": (10 + side, 11),
        "response_ids": (20 + side,),
        "neutral_prompt_ids": (7, 8),
    }
    return ContrastRow(**values | changes)


ROWS = [row(pair, side) for pair in ("a", "b") for side in ("creative", "uncreative")]


@pytest.fixture(scope="module")
def run(llama, pairs, tmp_path_factory):
    config = ExtractionConfig(sampling=Sampling(max_new_tokens=6), samples=2)
    extraction = extract(llama, pairs, config, keep_text_means=True)
    folder = save_run(extraction, tmp_path_factory.mktemp("run"), manifest={})
    return extraction, folder


# --- contexts --------------------------------------------------------------------------------


def test_each_context_puts_its_own_prompt_before_the_same_text():
    contexts = {name: [p.context_ids for p in passages_in(ROWS, name)] for name in CONTEXTS}
    assert contexts == {
        "as-generated": [(10, 11), (11, 11)] * 2,
        "neutral": [(7, 8)] * 4,
        "opposite": [(11, 11), (10, 11)] * 2,
    }
    for name in CONTEXTS:
        assert [p.text_ids for p in passages_in(ROWS, name)] == [(20,), (21,)] * 2
        assert [p.id for p in passages_in(ROWS, name)] == [row_id(r) for r in ROWS]


def test_re_reading_as_generated_is_what_the_run_saw_while_writing(llama, run):
    extraction, folder = run
    _, rows = load_run(folder)
    read = read_passages(llama, passages_in(rows, "as-generated"), layers=range(N_LAYERS)).means
    torch.testing.assert_close(read.float(), extraction.text_means, atol=1e-4, rtol=1e-4)
    means = paired_means(rows, read)
    assert means.groups == tuple(r.premise_id for r in rows[::2])
    difference = (means.creative - means.uncreative).mean(dim=0)
    unit = difference / difference.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(unit.float(), extraction.directions.directions, atol=1e-4, rtol=0)


def test_the_neutral_context_is_what_an_extraction_in_it_reads(llama, run, pairs):
    """One prompt for both sides, without either instruction."""
    extraction, _ = run
    other = extract(
        llama,
        pairs,
        ExtractionConfig(sampling=Sampling(max_new_tokens=6), samples=2, context="neutral"),
    )
    expected = [r.read_prompt_ids for r in other.rows]
    assert [p.context_ids for p in passages_in(extraction.rows, "neutral")] == expected
    assert all(r.neutral_prompt_ids == r.read_prompt_ids for r in other.rows)
    for creative, uncreative in zip(extraction.rows[::2], extraction.rows[1::2], strict=True):
        assert creative.neutral_prompt_ids == uncreative.neutral_prompt_ids
        assert creative.neutral_prompt_ids not in (creative.prompt_ids, uncreative.prompt_ids)


def test_a_run_of_an_older_version_can_be_read_but_not_neutrally(tmp_path):
    old = [{k: v for k, v in r.to_dict().items() if k != "neutral_prompt_ids"} for r in ROWS]
    write_jsonl(tmp_path / "contrast.jsonl", old)
    rows = read_contrast(tmp_path / "contrast.jsonl")
    assert len(passages_in(rows, "opposite")) == 4
    with pytest.raises(InputError, match=r"no neutral prompt on record.*extract` again"):
        passages_in(rows, "neutral")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no condition alone"),
        (ROWS[::2], "creative alone: a probe needs both classes"),
        (ROWS[::-1], "are not the creative and the uncreative side"),
        ([ROWS[0], ROWS[3], ROWS[2], ROWS[1]], "are not the creative and the uncreative side"),
        ([ROWS[0], replace(ROWS[1], sample=1)], "are not the creative and the uncreative side"),
        (ROWS[:3], "has no partner"),
    ],
)
def test_rows_that_are_not_pairs_are_an_error(rows, message):
    with pytest.raises(InputError, match=message):
        check_rows(rows)
    with pytest.raises(InputError, match=message):
        passages_in(rows, "neutral")


def test_unknown_contexts_and_missing_means_are_errors():
    with (
        unchecked(),
        pytest.raises(InputError, match=r"unknown context 'both'; choose one of as-generated"),
    ):
        passages_in(ROWS, "both")
    with pytest.raises(InputError, match="got 3 for 4 texts"):
        paired_means(ROWS, torch.zeros(3, 2, 4))


# --- tokens ----------------------------------------------------------------------------------


@pytest.mark.legacy
@pytest.mark.parametrize("centred", [False, True])
def test_token_cosines_are_those_of_the_residual_stream(model, centred):
    contexts, texts = token_rows(3, 5, 4), token_rows(6, 2, 9, seed=1)
    passages = [Passage(str(i), c, t) for i, (c, t) in enumerate(zip(contexts, texts, strict=True))]
    generator = torch.Generator().manual_seed(5)
    vector, midpoint = torch.randn(2, D_MODEL, generator=generator)
    vector = vector / vector.norm()
    found = text_token_cosines(
        model, passages, vector, layer=1, midpoint=midpoint if centred else None, batch_size=2
    )
    whole = residuals(model, [c + t for c, t in zip(contexts, texts, strict=True)])
    for values, stream, text in zip(found, whole, texts, strict=True):
        tokens = stream[1, -len(text) :] - (midpoint if centred else 0)
        expected = torch.nn.functional.cosine_similarity(tokens, vector[None], dim=-1)
        np.testing.assert_allclose(values, expected.numpy(), atol=1e-4)


def test_unit_tokens_are_divided_by_their_norm_before_the_midpoint_is_taken_off(llama):
    context, text = token_rows(3, 5)
    generator = torch.Generator().manual_seed(5)
    vector, midpoint = torch.randn(2, D_MODEL, generator=generator)
    (found,) = text_token_cosines(
        llama, [Passage("x", context, text)], vector / vector.norm(), layer=1,
        midpoint=midpoint / 9, unit_tokens=True,
    )  # fmt: skip
    tokens = residuals(llama, [context + text])[0][1, -5:]
    centred = tokens / tokens.norm(dim=-1, keepdim=True) - midpoint / 9
    expected = torch.nn.functional.cosine_similarity(centred, vector[None], dim=-1)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)


def test_an_attention_sink_has_no_cosine(llama):
    (values,) = text_token_cosines(
        llama, [Passage("x", (), token_rows(4)[0])], torch.ones(D_MODEL) / D_MODEL**0.5, layer=0
    )
    assert np.isnan(values[0])
    assert np.isfinite(values[1:]).all()


def test_token_means_weigh_texts_equally_and_leave_rare_tokens_out():
    passages = [Passage("a", (1,), (5, 5, 6)), Passage("b", (1,), (5, 7)), Passage("c", (1,), (7,))]
    cosines = [np.array([0.2, 0.4, 0.9]), np.array([0.9, np.nan]), np.array([-0.5])]
    # Token 5: (0.3 + 0.9) / 2; token 7 counts once, for NaN is no value.
    found = token_means(passages, cosines, least_texts=1)
    assert [(t.token_id, t.n_texts) for t in found] == [(6, 1), (5, 2), (7, 1)]
    assert found[1].cosine == pytest.approx(0.6)
    assert [t.token_id for t in token_means(passages, cosines, least_texts=2)] == [5]
    with pytest.raises(InputError, match="got 2 for 3 texts"):
        token_means(passages, cosines[:2])


# --- logit lens ------------------------------------------------------------------------------


def test_the_lens_names_the_token_that_a_direction_unembeds_to(llama):
    """A direction that is a token's own unembedding vector has that token at its top."""
    token = llama.tokenizer.convert_tokens_to_ids("A")
    column = llama.W_U[:, token].detach()
    directions = torch.stack([column, -column, column])
    found = lens_tokens(llama, directions / directions.norm(dim=-1, keepdim=True), layers=[0, 1])
    tops = {(t.layer, t.end): t.token for t in found if t.rank == 1}
    assert tops[0, "creative"] == "A"
    assert tops[1, "uncreative"] == "A"
    assert len(found) == 2 * 2 * 12
    for layer in (0, 1):
        logits = [t.logit for t in found if t.layer == layer and t.end == "creative"]
        assert logits == sorted(logits, reverse=True)


def test_the_lens_says_what_it_cannot_do(llama, monkeypatch):
    directions = torch.eye(D_MODEL)[:N_LAYERS]
    with pytest.raises(InputError, match="layers in 0 to 2"):
        lens_tokens(llama, directions, layers=[3])
    with pytest.raises(InputError, match="top_k must be at least 1"):
        lens_tokens(llama, directions, layers=[0], top_k=0)
    monkeypatch.setitem(
        __import__("sys").modules, "transformer_lens.tools.analysis.logit_lens", None
    )
    with pytest.raises(MissingDependencyError, match="transformer-lens 4"):
        lens_tokens(llama, directions, layers=[0])


# --- random weights --------------------------------------------------------------------------


@pytest.mark.legacy
def test_random_weights_are_others_and_leave_model_and_random_state_alone(model):
    before = [p.clone() for p in model.parameters()]
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    drawn = randomized(model, seed=1)
    assert torch.equal(torch.rand(4), expected)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    rows = token_rows(6, 4)
    own, same = residuals(drawn, rows)[0], residuals(randomized(model, seed=1), rows)[0]
    assert own.shape == residuals(model, rows)[0].shape
    assert torch.equal(own, same)
    assert not torch.allclose(own, residuals(model, rows)[0], atol=1e-2)
    assert not torch.allclose(own, residuals(randomized(model, seed=2), rows)[0], atol=1e-3)
    assert drawn.tokenizer is model.tokenizer
    assert identity(drawn)["fingerprint"] != identity(model)["fingerprint"]
    assert resid_post(0) in drawn.hook_dict
