"""One pass keeps what every score needs: against score_texts, and against reading again."""

import copy
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from creativity_lens.activations.reading import read_passages
from creativity_lens.errors import DataError, DirectionMismatchError, InputError
from creativity_lens.models.chat import text_ids
from creativity_lens.models.loading import load_model
from creativity_lens.models.protocol import resid_post
from creativity_lens.scoring.mean_sums import KINDS, MeanSums
from creativity_lens.scoring.score import Text, score_texts, text_parts
from creativity_lens.scoring.text_means import TextMeans, read_text_means
from tests.deep import save_deep_model
from tests.fakes import of_another_model, random_directions
from tests.tiny import live_hooks

ITEMS = [
    Text("t0", "The clerk has been setting them out on a board in order of arrival.", "A clerk?"),
    Text("t1", "On Friday mornings she sees the same man at her window.", "Write about a man."),
    Text("t2", "A bridge", "Write about a river and a town."),
    Text(
        "t3",
        "They will be kept for ninety days, like everything else, and the guard who counts them "
        "out tells her about the river, the towns on both sides, and a boot nobody asked for.",
        "Write about a boot.",
    ),
]
PER_TEXT = ("nll", "head_nll", "n_tokens")


@pytest.fixture(scope="module")
def directions(model):
    return random_directions(model)


@pytest.fixture
def no_bos(model, monkeypatch):
    """The model with a tokenizer that has neither a chat template nor a BOS."""
    tokenizer = copy.deepcopy(model.tokenizer)
    monkeypatch.setattr(model, "tokenizer", tokenizer)
    # Only now: the Bridge gives a tokenizer without BOS its EOS instead.
    tokenizer.chat_template = tokenizer.bos_token = None
    return model


def read(model, directions, folder, texts=ITEMS, *, with_prompt=False, **settings) -> TextMeans:
    return read_text_means(
        model, directions, texts, store=folder, with_prompt=with_prompt, **settings
    )


def no_model(model):
    """A context in which every forward pass fails."""

    def fail(activation, hook=None):
        raise AssertionError("the model ran")

    return model.hooks(fwd_hooks=[(resid_post(0), fail)])


def assert_same(found: TextMeans, expected: TextMeans, **tolerance) -> None:
    for name in (*KINDS, *PER_TEXT):
        a, b = (np.asarray(getattr(means, name)) for means in (found, expected))
        np.testing.assert_allclose(a, b, err_msg=name, **tolerance)
    assert (found.ids, found.layers) == (expected.ids, expected.layers)
    assert found.head_tokens == expected.head_tokens


def assert_scores_agree(model, directions, means, texts, **settings) -> None:
    for kind, variant in (("unit", "cosine"), ("centred", "centred")):
        scores = score_texts(model, directions, texts, variant=variant, likelihood=True, **settings)
        products = torch.einsum(
            "tld,ld->tl", getattr(means, kind), directions.directions[list(means.layers)]
        )
        np.testing.assert_allclose(products, scores.values, atol=1e-5, err_msg=kind)
        np.testing.assert_allclose(means.nll, scores.nll, rtol=1e-5)
        np.testing.assert_array_equal(means.n_tokens, scores.n_tokens)
        assert (means.ids, means.layers) == (scores.ids, scores.layers)


# --- what is read ----------------------------------------------------------------------------


@pytest.mark.parametrize("with_prompt", [False, True])
@pytest.mark.parametrize("settings", [{}, {"window": 9}, {"layers": [2, 0]}, {"layers": 1}])
def test_products_of_the_means_are_the_scores(model, directions, tmp_path, with_prompt, settings):
    means = read(model, directions, tmp_path, with_prompt=with_prompt, **settings)
    texts = ITEMS if with_prompt else [replace(item, prompt=None) for item in ITEMS]
    assert_scores_agree(model, directions, means, texts, **settings)


def test_the_sink_counts_nowhere_on_a_model_without_bos(no_bos, directions, tmp_path):
    for folder, settings in (("whole", {}), ("windows", {"window": 5})):
        means = read(no_bos, directions, tmp_path / folder, head_tokens=7, **settings)
        texts = [replace(item, prompt=None) for item in ITEMS]
        assert_scores_agree(no_bos, directions, means, texts, **settings)
    with pytest.raises(InputError, match="Raise head_tokens"):
        read(no_bos, directions, tmp_path, head_tokens=1)


def test_a_text_of_one_token_gives_that_token(model, directions, tmp_path):
    means = read(model, directions, tmp_path, [Text("one", " the")])
    lengths = means.raw.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(means.raw / lengths, means.unit, atol=1e-6, rtol=0)
    around = means.raw - (directions.mean_creative + directions.mean_uncreative) / 2
    around = around / around.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(around, means.centred, atol=1e-5, rtol=0)
    assert float((lengths - 1).abs().min()) > 0.1  # or the difference would not show


def test_raw_matches_the_means_of_the_reading_module(model, directions, tmp_path):
    means = read(model, directions, tmp_path)
    bare = [replace(item, prompt=None) for item in ITEMS]
    passages = text_parts(model, directions.provenance, bare, window=None).passages
    for kind, unit_tokens in (("raw", False), ("unit", True)):
        expected = read_passages(model, passages, layers=(0, 1, 2), unit_tokens=unit_tokens).means
        torch.testing.assert_close(getattr(means, kind), expected.float(), atol=1e-5, rtol=1e-5)


def test_a_batch_of_one_is_a_batch_of_many(model, directions, tmp_path):
    batched = read(model, directions, tmp_path / "a")
    for i, settings in enumerate(({"batch_size": 1}, {"max_batch_tokens": 40})):
        again = read(model, directions, tmp_path / str(i), **settings)
        assert_same(again, batched, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"window": 3}, {"window": 4}])
def test_heads_are_the_means_of_the_truncated_texts(model, directions, tmp_path, settings):
    n = 6
    short = []
    for item in ITEMS:
        text = " ".join(item.text.split()[:n])  # a word is a token to this tokenizer
        assert text_ids(model, text) == text_ids(model, item.text)[:n]
        short.append(Text(item.id, text))
    means = read(model, directions, tmp_path, head_tokens=n, **settings)
    truncated = read(model, directions, tmp_path, short, head_tokens=n, **settings)
    torch.testing.assert_close(means.head, truncated.unit, atol=1e-5, rtol=0)
    torch.testing.assert_close(truncated.head, truncated.unit)
    np.testing.assert_allclose(means.head_nll, truncated.nll, rtol=1e-5)
    longer = means.n_tokens > n
    assert longer.any()
    assert not longer.all()  # a text shorter than the head is in it as a whole
    assert np.abs(means.head_nll - means.nll)[longer].max() > 0.1


def test_the_common_length_is_that_of_the_shortest_text(model, directions, tmp_path):
    means = read(model, directions, tmp_path)
    assert means.head_tokens == min(means.n_tokens) == len(text_ids(model, "A bridge"))
    shortest = int(means.n_tokens.argmin())
    torch.testing.assert_close(means.head[shortest], means.unit[shortest], rtol=0, atol=0)


def test_one_pass_for_each_batch_and_no_hook_is_left(model, directions, tmp_path):
    ran, done = [], []
    with model.hooks(fwd_hooks=[(resid_post(2), lambda x, hook: ran.append(len(x)))]):
        read(model, directions, tmp_path, batch_size=2, on_progress=done.append)
    assert ran == done == [2, 2]
    with pytest.raises(AssertionError, match="the model ran"), no_model(model):
        read(model, directions, tmp_path / "other")
    assert live_hooks(model) == 0


def test_everything_is_float32_and_on_the_cpu(model, directions, tmp_path):
    means = read(model, directions, tmp_path)
    for kind in KINDS:
        tensor = getattr(means, kind)
        assert (tensor.dtype, tensor.device.type, tuple(tensor.shape)) == (
            torch.float32,
            "cpu",
            (4, 3, 32),
        )
        assert not tensor.is_inference()
    assert len(means) == 4


# --- the file --------------------------------------------------------------------------------


def test_a_second_call_does_not_touch_the_model(model, directions, tmp_path):
    first = read(model, directions, tmp_path, head_tokens=5)
    with no_model(model):
        second = read(model, directions, tmp_path, head_tokens=5, batch_size=1)
    assert_same(second, first, rtol=0, atol=0)
    assert len(list(tmp_path.iterdir())) == 1
    assert (second.raw.dtype, second.nll.dtype, second.n_tokens.dtype) == (
        torch.float32,
        np.float64,
        np.int64,
    )


def changed_midpoints(directions):
    return replace(directions, mean_creative=directions.mean_creative + 1)


def test_directions_with_the_same_midpoints_share_a_file(llama, tmp_path):
    directions = random_directions(llama)
    read(llama, directions, tmp_path)
    with no_model(llama):
        read(llama, replace(directions, directions=-directions.directions), tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"head_tokens": 2},
        {"window": 4},
        {"layers": [0, 1]},
        {"layers": [2, 1, 0]},
        {"with_prompt": True},
        {"texts": ITEMS[::-1]},
        {"texts": [*ITEMS[:3], replace(ITEMS[3], text="A bridge.")]},
        {"texts": [replace(item, id=f"u{item.id}") for item in ITEMS]},
        {"directions": changed_midpoints},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_changes_a_number_changes_the_file(llama, tmp_path, change):
    # All midpoints are equal, so that layers do not show in them.
    directions = random_directions(llama)
    nowhere = torch.zeros_like(directions.mean_creative)
    directions = replace(directions, mean_creative=nowhere, mean_uncreative=nowhere)
    settings = {"directions": directions, "head_tokens": 1}
    read(llama, folder=tmp_path, **settings)
    if "directions" in change:
        change = {"directions": change["directions"](settings["directions"])}
    with pytest.raises(AssertionError, match="the model ran"), no_model(llama):
        read(llama, folder=tmp_path, **settings | change)


def test_other_midpoints_give_another_centred_mean_and_nothing_else(llama, tmp_path):
    directions = random_directions(llama)
    first = read(llama, directions, tmp_path)
    second = read(llama, changed_midpoints(directions), tmp_path)
    assert float((first.centred - second.centred).abs().max()) > 1e-3
    assert_same(replace(second, centred=first.centred), first, rtol=1e-6)


def test_a_model_of_the_same_shape_with_other_weights_reads_for_itself(llama, tmp_path):
    other = load_model(save_deep_model(tmp_path / "other", 3))
    read(llama, random_directions(llama), tmp_path / "store")
    with pytest.raises(AssertionError, match="the model ran"), no_model(other):
        read(other, random_directions(other), tmp_path / "store")


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    "harm",
    [
        lambda data: data[: len(data) // 2],
        lambda data: flip(data, len(data) - 1),
        lambda data: flip(data, len(data) // 2),
        lambda data: data.replace(b"t0", b"x0", 1),
        lambda data: data.replace(b"sha256", b"sha257", 1),
        lambda data: flip(data, 3),
        lambda data: b"",
        lambda data: b"not ours",
    ],
)
def test_a_damaged_file_is_seen_and_written_again(llama, tmp_path, caplog, harm):
    directions = random_directions(llama)
    first = read(llama, directions, tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(harm(whole))
    assert path.read_bytes() != whole
    with caplog.at_level(logging.WARNING):
        second = read(llama, directions, tmp_path)
    assert "reading texts again" in caplog.text
    assert str(path) in caplog.text
    assert_same(second, first, rtol=1e-6)
    with no_model(llama):
        assert_same(read(llama, directions, tmp_path), first, rtol=1e-6)


def test_a_file_of_other_texts_under_this_name_is_not_taken(llama, tmp_path):
    directions = random_directions(llama)
    read(llama, directions, tmp_path / "a")
    read(llama, directions, tmp_path / "b", ITEMS[:2])
    (mine,), (other,) = (list((tmp_path / name).iterdir()) for name in "ab")
    mine.write_bytes(other.read_bytes())
    assert read(llama, directions, tmp_path / "a").ids == ("t0", "t1", "t2", "t3")


def test_a_write_that_fails_leaves_nothing_behind(llama, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("creativity_lens.scoring.tensor_file.save_file", full)
    with pytest.raises(InputError, match="No space left"):
        read(llama, random_directions(llama), tmp_path)
    assert not list(tmp_path.iterdir())


# --- what is refused -------------------------------------------------------------------------

LONG = Text("the-long-one", " the" * 400)


@pytest.mark.parametrize(
    ("texts", "settings", "error", "message"),
    [
        ([], {}, InputError, "no texts"),
        ([ITEMS[0], LONG], {}, InputError, "'the-long-one'.*windows"),
        ([ITEMS[0], ITEMS[0]], {}, InputError, "'t0' is used 2 times"),
        ([Text("bare", "A bridge")], {"with_prompt": True}, InputError, "'bare' has no prompt"),
        ([Text("blank", "A", " ")], {"with_prompt": True}, DataError, "'blank' is blank"),
        ([Text("void", " ")], {}, DataError, "'void' is empty"),
        (ITEMS, {"head_tokens": 0}, InputError, "head_tokens must be at least 1"),
        (ITEMS, {"window": 1}, InputError, "at least 2 tokens"),
        (ITEMS, {"layers": [3]}, InputError, "layer 3 is out of range"),
    ],
)
def test_bad_input_is_named_before_the_model_runs(llama, tmp_path, texts, settings, error, message):
    with pytest.raises(error, match=message), no_model(llama):
        read(llama, random_directions(llama), tmp_path, texts, **settings)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_named_before_the_model_runs(llama, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"), no_model(llama):
        read(llama, random_directions(llama), tmp_path / "file" / "store")


def test_directions_of_another_model_are_refused(llama, tmp_path):
    directions = of_another_model(random_directions(llama), fingerprint=[1.0, 2.0, 3.0])
    with pytest.raises(DirectionMismatchError):
        read(llama, directions, tmp_path)


def test_a_text_longer_than_the_context_is_read_in_windows(llama, tmp_path):
    directions = random_directions(llama)
    texts = [ITEMS[0], LONG]
    means = read(llama, directions, tmp_path, texts, window=50)
    bare = [replace(item, prompt=None) for item in texts]
    assert_scores_agree(llama, directions, means, bare, window=50)
    assert means.n_tokens[1] == 400


def test_infinite_activations_name_the_text_and_the_layer(llama, tmp_path):
    def overflow(activation, hook=None):
        return torch.full_like(activation, torch.inf)

    with (
        pytest.raises(InputError, match="'t0' at layer 1 hold NaN"),
        llama.hooks(fwd_hooks=[(resid_post(1), overflow)]),
    ):
        read(llama, random_directions(llama), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_token_of_norm_0_counts_as_0():
    chosen = torch.tensor([[0, 1, 1]])
    sums = MeanSums((0,), torch.tensor([[3.0, 4.0]]), chosen, torch.tensor([[0, 1, 0]]))
    tokens = torch.tensor([[[9.0, 9.0], [0.0, 0.0], [3.0, 4.0]]])
    for _, hook in sums.hooks():
        hook(tokens)
    # By hand: x sums to (3, 4); x / |x| is 0 and (0.6, 0.8); x - m is -(3, 4) and 0, the mean of
    # whose directions is -(0.6, 0.8); the head is the first token, which is 0.
    expected = [[3.0, 4.0], [0.6, 0.8], [-0.6, -0.8], [0.0, 0.0]]
    np.testing.assert_allclose(sums.totals[0, 0], expected, atol=1e-12)
