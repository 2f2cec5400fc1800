"""The protocol, batches, chat rendering, identity, and loading."""

import contextlib
import copy
import importlib.metadata
import importlib.util
import json
import math

import pytest
import torch
import transformers

from creativity_lens.errors import (
    CacheError,
    DirectionMismatchError,
    InputError,
    MissingDependencyError,
    ModelError,
)
from creativity_lens.io import sha256_file
from creativity_lens.models import packaged
from creativity_lens.models.batching import by_length, left_pad
from creativity_lens.models.chat import (
    bare_context,
    check_fits,
    decode,
    has_chat_template,
    render_prompt,
    text_ids,
)
from creativity_lens.models.identity import check_identity, identity
from creativity_lens.models.loading import load_model
from creativity_lens.models.protocol import (
    LensModel,
    check_layer,
    context_length,
    keep_rows,
    read,
    resid_post,
    step,
    stop_ids,
)
from tests.tiny import D_MODEL, N_CTX, N_LAYERS, distance, residuals, tiny_hf, token_rows

ROUNDING = 1e-5  # float32 matrix products of another shape round in another order


@pytest.fixture
def kind(request, model):
    return request.node.callspec.params["model"]


@pytest.fixture
def hf(kind):
    """The plain Hugging Face twin of `model`."""
    return tiny_hf(kind)[0]


@pytest.fixture
def save(tmp_path):
    """Save a tiny Hugging Face model, changed if wanted, and return its folder."""

    def _save(name="saved", kind="llama", change=lambda hf: None):
        hf, tokenizer = tiny_hf(kind)
        with torch.no_grad():
            change(hf)
        hf.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        return tmp_path / name

    return _save


# --- batches ----------------------------------------------------------------------------------


def test_left_pad_masks_by_length_even_where_a_token_equals_the_pad_id():
    ids, mask = left_pad([(2, 5, 2), (2,)], pad_id=2)
    assert ids.tolist() == [[2, 5, 2], [2, 2, 2]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]


@pytest.mark.parametrize("rows", [[], [(1, 2), ()]])
def test_left_pad_refuses_rows_without_tokens(rows):
    with pytest.raises(InputError, match="at least one token"):
        left_pad(rows)


def test_by_length_groups_neighbours_within_both_limits():
    # Sorted: 1 2 2 3 | 9. The first four fill batch_size; 9 exceeds max_tokens and stands alone.
    lengths = [9, 2, 1, 2, 3]
    assert by_length(lengths, batch_size=4, max_tokens=12) == [[2, 1, 3, 4], [0]]
    # 3 rows of width 2 are 6 tokens, a fourth of width 3 would make 12 > 6.
    assert by_length(lengths, batch_size=4, max_tokens=6) == [[2, 1, 3], [4], [0]]
    assert by_length(lengths, batch_size=2, max_tokens=99) == [[2, 1], [3, 4], [0]]


def test_by_length_puts_each_row_in_exactly_one_batch():
    lengths = torch.randint(1, 50, (200,), generator=torch.Generator().manual_seed(0)).tolist()
    batches = by_length(lengths, batch_size=7, max_tokens=60)
    assert sorted(i for batch in batches for i in batch) == list(range(200))
    for batch in batches:
        padded = len(batch) * max(lengths[i] for i in batch)
        assert len(batch) <= 7
        assert padded <= 60 or len(batch) == 1


# --- the protocol -----------------------------------------------------------------------------


@pytest.mark.legacy
def test_a_tiny_model_satisfies_the_protocol(model):
    assert isinstance(model, LensModel)
    assert context_length(model) == N_CTX


@pytest.mark.legacy
def test_resid_post_is_the_hidden_state_of_hugging_face(model, hf):
    (row,) = token_rows(12)
    with torch.no_grad():
        hidden = hf(torch.tensor([row]), output_hidden_states=True).hidden_states
        (stream,) = residuals(model, [row])
        for layer in range(N_LAYERS - 1):
            assert distance(stream[layer], hidden[layer + 1][0]) < ROUNDING
        # Hugging Face gives its last hidden state only after the final norm.
        norm = hf.model.norm if hasattr(hf, "model") else hf.transformer.ln_f
        assert distance(norm(stream[-1]), hidden[N_LAYERS][0]) < ROUNDING


@pytest.mark.legacy
def test_a_row_reads_the_same_alone_and_left_padded_at_every_layer(model):
    pad = model.tokenizer.pad_token_id
    rows = [*token_rows(15, 1, 7), (pad, 5, pad, 9, pad)]
    batch = residuals(model, rows, pad_id=pad)
    for row, together in zip(rows, batch, strict=True):
        (alone,) = residuals(model, [row])
        for layer in range(N_LAYERS):
            assert distance(together[layer], alone[layer]) < ROUNDING


def test_padding_would_show_without_the_mask(model):
    """The control of the test above: this model does look back."""
    long, short = token_rows(15, 5)
    ids, mask = left_pad([long, short])
    masked = read(model, ids, mask, keep_logits=1)
    unmasked = read(model, ids, torch.ones_like(mask), keep_logits=1)
    assert distance(unmasked[1], masked[1]) > 0.01


@pytest.mark.legacy
def test_the_pad_id_never_matters(model):
    rows = token_rows(9, 4)
    for one, other in zip(
        residuals(model, rows, pad_id=0), residuals(model, rows, pad_id=77), strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.legacy
def test_stepping_through_the_cache_gives_the_logits_of_one_pass(model):
    rows = token_rows(9, 3, 6)
    prompts = [row[:-2] for row in rows]
    ids, mask = left_pad(prompts)
    outs = [step(model, ids, mask)]
    for back in (2, 1):
        ids = torch.tensor([[row[-back]] for row in rows])
        mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
        outs.append(step(model, ids, mask, outs[-1].cache))
    for i, row in enumerate(rows):
        whole = read(model, *left_pad([row]), keep_logits=3)[0]
        stepped = torch.stack([out.logits[i] for out in outs])
        assert distance(stepped, whole) < ROUNDING


@pytest.mark.legacy
def test_rows_that_are_kept_go_on_as_if_alone(model):
    rows = token_rows(9, 3, 6)
    ids, mask = left_pad([row[:-1] for row in rows])
    cache = step(model, ids, mask).cache
    kept = torch.tensor([1, 2])  # the widest row goes: columns of padding alone remain
    cache = keep_rows(cache, kept)
    last = torch.tensor([[row[-1]] for row in rows])[kept]
    out = step(model, last, torch.cat([mask[kept], torch.ones_like(last)], dim=1), cache)
    for logits, row in zip(out.logits, rows[1:], strict=True):
        assert distance(logits, read(model, *left_pad([row]), keep_logits=1)[0, -1]) < ROUNDING


def test_an_unknown_cache_is_named():
    with pytest.raises(ModelError, match="dict"):
        keep_rows({}, torch.tensor([0]))


@pytest.mark.legacy
def test_reading_stops_after_the_last_layer_that_is_asked_for(model):
    fired = []
    hooks = [
        (resid_post(layer), lambda stream, hook=None, layer=layer: fired.append(layer))
        for layer in range(N_LAYERS)
    ]
    batch = left_pad(token_rows(5))
    assert read(model, *batch, hooks=hooks, last_layer=1) is None
    assert fired == [0, 1]
    fired.clear()
    logits = read(model, *batch, hooks=hooks, last_layer=1, keep_logits=2)
    assert fired == [0, 1, 2]  # logits need them all
    assert logits.shape[:2] == (1, 2)


@pytest.mark.legacy
def test_kept_logits_are_the_last_ones(model, hf):
    rows = token_rows(6)
    with torch.no_grad():
        plain = hf(torch.tensor(rows)).logits
    assert distance(read(model, *left_pad(rows), keep_logits=2), plain[:, -2:]) < ROUNDING


@pytest.mark.parametrize("layer", [-1, N_LAYERS, True])
def test_a_layer_out_of_range_is_an_error_that_says_the_range(llama, layer):
    with pytest.raises(InputError, match=rf"layer {layer} .* 0 to {N_LAYERS - 1}"):
        check_layer(llama, layer)


def test_stop_ids_are_the_tokenizers_and_the_models_own(llama, monkeypatch):
    eos = llama.tokenizer.eos_token_id
    monkeypatch.setattr(llama.original_model.generation_config, "eos_token_id", [eos, 41, 42])
    assert stop_ids(llama) == {eos, 41, 42}
    monkeypatch.setattr(llama.original_model.generation_config, "eos_token_id", None)
    assert stop_ids(llama) == {eos}


# --- chat -------------------------------------------------------------------------------------
# Texts are of characters that the tiny vocabulary surely holds: digits and punctuation.


def _plain_ids(model, text):
    return model.tokenizer(text, add_special_tokens=False)["input_ids"]


def _with_tokenizer(model, monkeypatch, **changes):
    """Give `model` a changed copy of its tokenizer for this test."""
    tokenizer = copy.deepcopy(model.tokenizer)
    for name, value in changes.items():
        setattr(tokenizer, name, value)
    monkeypatch.setattr(model, "tokenizer", tokenizer)


def test_a_chat_prompt_is_rendered_up_to_the_assistants_header_and_bos_is_not_doubled(llama):
    ids = render_prompt(llama, "12?", system="7!")
    assert ids == _plain_ids(
        llama,
        "<|im_start|>system\n7!<|im_end|>\n<|im_start|>user\n12?<|im_end|>\n"
        "<|im_start|>assistant\n",
    )
    # <|im_start|> is this tokenizer's BOS: one for each turn, and none in front of the first.
    assert ids.count(llama.tokenizer.bos_token_id) == 3


def test_text_ids_add_no_bos_though_the_loaded_tokenizer_would(llama):
    tokenizer = llama.tokenizer
    assert tokenizer("12?")["input_ids"][0] == tokenizer.bos_token_id  # the trap is set
    assert tokenizer.bos_token_id not in text_ids(llama, "12?")


def test_without_a_chat_template_the_prompt_is_bos_and_plain_text(llama, monkeypatch):
    _with_tokenizer(llama, monkeypatch, chat_template=None)
    assert not has_chat_template(llama.tokenizer)
    bos = llama.tokenizer.bos_token_id
    assert bare_context(llama) == [bos]
    assert render_prompt(llama, "12?", system="7!") == [bos, *_plain_ids(llama, "7!\n\n12?\n\n")]
    assert render_prompt(llama, "12?") == [bos, *_plain_ids(llama, "12?\n\n")]


def test_a_tokenizer_without_bos_gets_none(llama, monkeypatch):
    _with_tokenizer(llama, monkeypatch, chat_template=None, bos_token=None)
    assert bare_context(llama) == []
    assert render_prompt(llama, "12?") == text_ids(llama, "12?\n\n")


def test_a_template_that_refuses_a_system_message_gets_it_before_the_users(llama, monkeypatch):
    refuses = (
        "{% for m in messages %}{% if m['role'] == 'system' %}"
        "{{ raise_exception('no system role') }}{% endif %}<{{ m['content'] }}>{% endfor %}"
    )
    _with_tokenizer(llama, monkeypatch, chat_template=refuses)
    assert render_prompt(llama, "12?", system="7!") == _plain_ids(llama, "<7!\n\n12?>")
    assert render_prompt(llama, "12?") == _plain_ids(llama, "<12?>")


@pytest.mark.parametrize("system", [None, "7!"])
def test_a_template_that_refuses_every_message_is_a_model_error(llama, monkeypatch, system):
    _with_tokenizer(llama, monkeypatch, chat_template="{{ raise_exception('never') }}")
    with pytest.raises(ModelError, match="never"):
        render_prompt(llama, "12?", system=system)


def test_a_model_without_a_tokenizer_is_told_what_to_set(llama, monkeypatch):
    monkeypatch.setattr(llama, "tokenizer", None)
    with pytest.raises(ModelError, match=r"model\.tokenizer"):
        text_ids(llama, "12?")


def test_decode_leaves_special_tokens_out(llama):
    tokenizer = llama.tokenizer
    ids = [tokenizer.bos_token_id, *text_ids(llama, "12?"), tokenizer.eos_token_id]
    assert decode(llama, ids) == "12?"


def test_what_fills_the_context_fits_and_one_token_more_does_not(llama):
    check_fits(llama, N_CTX, "the prompt", remedy="shorten it")
    with pytest.raises(InputError, match=rf"the prompt needs {N_CTX + 1} .* {N_CTX}; shorten it"):
        check_fits(llama, N_CTX + 1, "the prompt", remedy="shorten it")
