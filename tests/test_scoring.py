"""Scores equal plain Hugging Face arithmetic, whatever the batch; likelihood does too."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from creativity_lens.activations.reading import Passage
from creativity_lens.errors import DataError, DirectionMismatchError, InputError
from creativity_lens.measures.likelihood import mean_nll
from creativity_lens.models.chat import text_ids
from creativity_lens.models.identity import identity
from creativity_lens.models.packaged import packaged_model_folder
from creativity_lens.models.protocol import resid_post
from creativity_lens.scoring.score import Text, score_texts, token_cosines
from tests.fakes import NEUTRAL, of_another_model, random_directions, unchecked
from tests.plain import plain_model

TEXTS = [
    "The clerk has been setting them out on a board in order of arrival.",
    "On Friday mornings she sees the same man at her window.",
    "A bridge",
    "They will be kept for ninety days, like everything else, and the guard who counts them out "
    "tells her about the river, the towns on both sides, and a single boot that nobody asked for.",
]
VARIANTS = ["cosine", "centred"]


@pytest.fixture(scope="module")
def directions(model):
    return random_directions(model)


@pytest.fixture(scope="module")
def plain(model):
    return plain_model(identity(model)["name"])


@pytest.fixture
def no_bos(model, monkeypatch):
    """The model with a tokenizer that has neither a chat template nor a BOS."""
    tokenizer = copy.deepcopy(model.tokenizer)
    monkeypatch.setattr(model, "tokenizer", tokenizer)
    # Only now: the Bridge gives a tokenizer without BOS its EOS instead.
    tokenizer.chat_template = tokenizer.bos_token = None
    return model


def context_ids(plain, user=None):
    """What stands before a text, as a stranger would write it."""
    if plain.tokenizer.chat_template:
        return plain.chat_ids(user or NEUTRAL["user"], system=NEUTRAL["system"])
    prompt = "" if user is None else f"{NEUTRAL['system']}\n\n{user}\n\n"
    return [plain.tokenizer.bos_token_id, *plain.ids(prompt)]


def cosines_by_hand(plain, directions, context, ids, variant="cosine"):
    """Cosine of each token of the text with the direction of each layer, `[layer, token]`."""
    hidden = plain.residuals([*context, *ids])[:, len(context) :].double()
    if variant == "centred":
        midpoint = (directions.mean_creative + directions.mean_uncreative) / 2
        hidden = hidden - midpoint[:, None]
    return torch.cosine_similarity(hidden, directions.directions[:, None].double(), dim=-1)


# --- the score -------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("prompt", [None, "Write about a bridge."])
def test_the_score_is_the_mean_cosine_of_the_texts_tokens(
    model, plain, directions, variant, prompt
):
    texts = [Text(str(i), text, prompt) for i, text in enumerate(TEXTS)]
    scores = score_texts(model, directions, texts, variant=variant)
    context = context_ids(plain, prompt)
    expected = [
        cosines_by_hand(plain, directions, context, plain.ids(text), variant).mean(dim=1).tolist()
        for text in TEXTS
    ]
    np.testing.assert_allclose(scores.values, expected, atol=1e-5)
    assert scores.layers == (0, 1, 2)
    assert scores.ids == ("0", "1", "2", "3")


def test_a_text_scores_the_same_alone_and_in_any_batch(model, directions):
    batched = score_texts(model, directions, TEXTS)
    for settings in ({"batch_size": 1}, {"batch_size": 3}, {"max_batch_tokens": 40}):
        np.testing.assert_allclose(
            score_texts(model, directions, TEXTS, **settings).values, batched.values, atol=1e-4
        )
    backwards = score_texts(model, directions, TEXTS[::-1])
    np.testing.assert_allclose(backwards.values[::-1], batched.values, atol=1e-4)
    alone = [score_texts(model, directions, [text]).values[0] for text in TEXTS]
    np.testing.assert_allclose(alone, batched.values, atol=1e-4)


def test_turning_the_direction_round_turns_the_score_round(model, directions):
    turned = replace(directions, directions=-directions.directions)
    for variant in VARIANTS:
        np.testing.assert_allclose(
            score_texts(model, turned, TEXTS, variant=variant).values,
            -score_texts(model, directions, TEXTS, variant=variant).values,
            atol=1e-7,
        )


@pytest.mark.parametrize(
    ("layers", "expected"), [(1, [1]), ([2, 0], [2, 0]), ([1, 1], [1, 1]), (None, [0, 1, 2])]
)
def test_columns_are_the_layers_asked_for_in_their_order(model, directions, layers, expected):
    everything = score_texts(model, directions, TEXTS).values
    scores = score_texts(model, directions, TEXTS, layers=layers)
    assert list(scores.layers) == expected
    np.testing.assert_allclose(scores.values, everything[:, expected], atol=1e-6)


@pytest.mark.parametrize(("layers", "deepest"), [(0, 0), ([1, 0], 1), (2, 2), (None, 2)])
def test_blocks_below_the_deepest_layer_do_not_run(model, directions, layers, deepest):
    ran = []

    def note(layer):
        return f"blocks.{layer}.attn.hook_out", lambda activation, hook: ran.append(layer)

    with model.hooks(fwd_hooks=[note(layer) for layer in range(3)]):
        score_texts(model, directions, TEXTS, layers=layers)
    assert sorted(ran) == list(range(deepest + 1))  # one batch


def test_likelihood_needs_all_blocks_and_changes_no_score(model, plain, directions):
    scores = score_texts(model, directions, TEXTS, layers=0, likelihood=True)
    without = score_texts(model, directions, TEXTS, layers=0)
    np.testing.assert_allclose(scores.values, without.values, atol=1e-6)
    expected = [nll_by_hand(plain, context_ids(plain), plain.ids(text)) for text in TEXTS]
    np.testing.assert_allclose(scores.nll, expected, rtol=1e-5)
    assert np.isnan(without.nll).all()


def test_n_tokens_counts_the_texts_own_ids(model, plain, directions):
    expected = [len(plain.ids(text)) for text in TEXTS]
    for prompt in (None, "A prompt of several words."):
        texts = [Text(str(i), text, prompt) for i, text in enumerate(TEXTS)]
        assert score_texts(model, directions, texts).n_tokens.tolist() == expected
    assert score_texts(model, directions, TEXTS, window=4).n_tokens.tolist() == expected


def test_a_prompt_changes_the_context_and_so_the_score(model, directions):
    texts = [Text(str(p), TEXTS[0], p) for p in (None, "Write a poem.", "Count to ten.")]
    values = score_texts(model, directions, texts).values
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (np.abs(values[one] - values[other]) > 1e-4).all()


def test_the_recorded_neutral_prompt_is_the_default(llama):
    directions = random_directions(llama)
    as_recorded = score_texts(llama, directions, [Text("a", TEXTS[0], NEUTRAL["user"])]).values
    default = score_texts(llama, directions, [TEXTS[0]]).values
    np.testing.assert_allclose(default, as_recorded, atol=1e-6)
    other = {**directions.provenance, "neutral_prompt": {"system": "Sing.", "user": "Now."}}
    changed = score_texts(llama, replace(directions, provenance=other), [TEXTS[0]]).values
    assert (np.abs(changed - default) > 1e-4).all()


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_real_model_scores_as_plain_transformers_does(real_model, variant):
    directions = random_directions(real_model)
    plain = plain_model(str(packaged_model_folder()))
    scores = score_texts(real_model, directions, TEXTS, variant=variant)
    context = context_ids(plain)
    for text, found in zip(TEXTS, scores.values, strict=True):
        by_hand = cosines_by_hand(plain, directions, context, plain.ids(text), variant)
        np.testing.assert_allclose(found, by_hand.mean(dim=1), atol=1e-4)


# --- without a chat template, without a BOS --------------------------------------------------


def test_without_a_chat_template_a_text_is_read_after_bos(llama, monkeypatch):
    monkeypatch.setattr(llama.tokenizer, "chat_template", None)
    directions = random_directions(llama)
    plain = plain_model(identity(llama)["name"])
    bos, ids = plain.tokenizer.bos_token_id, plain.ids(TEXTS[0])
    expected = cosines_by_hand(plain, directions, [bos], ids)
    found = score_texts(llama, directions, [TEXTS[0]]).values[0]
    np.testing.assert_allclose(found, expected.mean(dim=1), atol=1e-5)


def test_without_bos_the_first_token_is_a_sink_and_does_not_count(no_bos, plain, directions):
    ids = text_ids(no_bos, TEXTS[0])
    expected = cosines_by_hand(plain, directions, [], ids)[:, 1:]
    scores = score_texts(no_bos, directions, [TEXTS[0]])
    np.testing.assert_allclose(scores.values[0], expected.mean(dim=1), atol=1e-5)
    assert scores.n_tokens.tolist() == [len(ids)]


def test_without_bos_a_single_token_cannot_be_scored(no_bos, directions):
    with pytest.raises(InputError, match="'1' is a single token"):
        score_texts(no_bos, directions, [TEXTS[0], " bridge"])


def test_without_bos_every_window_loses_its_first_token(no_bos, plain, directions):
    ids = text_ids(no_bos, TEXTS[0])[:9]
    text = no_bos.tokenizer.decode(ids)
    assert text_ids(no_bos, text) == ids
    # Windows of 4, 4 and 1 tokens: the last holds nothing but its sink.
    parts = [cosines_by_hand(plain, directions, [], ids[i : i + 4])[:, 1:] for i in (0, 4)]
    scores = score_texts(no_bos, directions, [text], window=4)
    np.testing.assert_allclose(scores.values[0], torch.cat(parts, dim=1).mean(dim=1), atol=1e-5)


# --- long texts ------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_windows_are_weighted_by_their_tokens(model, plain, directions, variant):
    ids = plain.ids(TEXTS[0])[:10]
    text = plain.tokenizer.decode(ids)
    assert plain.ids(text) == ids
    context = context_ids(plain)
    parts = [  # windows of 4, 4 and 2 tokens
        cosines_by_hand(plain, directions, context, ids[i : i + 4], variant) for i in (0, 4, 8)
    ]
    weighted = torch.cat(parts, dim=1).mean(dim=1)
    unweighted = torch.stack([part.mean(dim=1) for part in parts]).mean(dim=0)
    assert (weighted - unweighted).abs().max() > 1e-3  # or the test could not tell them apart
    scores = score_texts(model, directions, [text, TEXTS[1]], window=4, variant=variant)
    np.testing.assert_allclose(scores.values[0], weighted, atol=1e-5)


def test_windows_weigh_the_likelihood_too(model, plain, directions):
    ids = plain.ids(TEXTS[0])[:10]
    context = context_ids(plain)
    parts = [ids[:4], ids[4:8], ids[8:]]
    total = sum(len(part) * nll_by_hand(plain, context, part) for part in parts)
    text = plain.tokenizer.decode(ids)
    scores = score_texts(model, directions, [text], window=4, likelihood=True)
    assert scores.nll[0] == pytest.approx(total / 10, rel=1e-5)


def test_a_window_as_long_as_the_text_changes_nothing(model, directions):
    whole = score_texts(model, directions, TEXTS)
    np.testing.assert_array_equal(
        score_texts(model, directions, TEXTS, window=200).values, whole.values
    )


def test_a_text_longer_than_the_context_needs_a_window(model, plain, directions):
    n_left = model.cfg.n_ctx - len(context_ids(plain))
    fits, too_long = (Text("tale", "a" + " a" * (n - 1)) for n in (n_left, n_left + 1))
    if len(plain.ids(fits.text)) != n_left:
        pytest.fail("the tokenizer no longer reads ' a' as one token")
    assert np.isfinite(score_texts(model, directions, [fits]).values).all()
    with pytest.raises(InputError, match=r"'tale'.* 321 tokens.*context is 320.*--window"):
        score_texts(model, directions, [too_long])
    scores = score_texts(model, directions, [too_long], window=100)
    assert np.isfinite(scores.values).all()
    assert scores.n_tokens.tolist() == [n_left + 1]


# --- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "settings", "message"),
    [
        ([], {}, "no texts to score"),
        ([TEXTS[0], ""], {}, "text '1' is empty"),
        ([Text("blank", " \n")], {}, "text 'blank' is empty"),
        (TEXTS, {"layers": 3}, "layer 3 is out of range.*0 to 2"),
        (TEXTS, {"layers": [0, -1]}, "layer -1 is out of range"),
        (TEXTS, {"layers": ()}, "at least one layer"),
        (TEXTS, {"window": 1}, "at least 2 tokens, got 1"),
        (TEXTS, {"variant": "sine"}, "variant 'sine'; choose one of cosine, centred"),
    ],
)
def test_bad_input_is_named(model, directions, texts, settings, message):
    with unchecked(), pytest.raises(InputError, match=message):
        score_texts(model, directions, texts, **settings)


def test_an_empty_text_is_the_files_fault(model, directions):
    with pytest.raises(DataError):
        score_texts(model, directions, [""])


@pytest.mark.parametrize("changes", [{"d_model": 64}, {"n_layers": 5}, {"fingerprint": [1.0] * 3}])
def test_directions_of_another_model_are_an_error_that_names_both(model, directions, changes):
    other = of_another_model(directions, **changes)
    with pytest.raises(DirectionMismatchError, match="'some/other-model'") as caught:
        score_texts(model, other, TEXTS)
    assert repr(identity(model)["name"]) in str(caught.value)


def test_no_hook_is_left_when_a_pass_fails(model, directions):
    def fail(activation, hook):
        raise RuntimeError("midway")

    with (
        pytest.raises(RuntimeError, match="midway"),
        model.hooks(fwd_hooks=[(resid_post(1), fail)]),
    ):
        score_texts(model, directions, TEXTS)
    assert not any(point.fwd_hooks for point in model.hook_dict.values())


def test_progress_counts_every_window(model, directions):
    seen = []
    score_texts(model, directions, TEXTS[:2], window=8, batch_size=1, on_progress=seen.append)
    lengths = score_texts(model, directions, TEXTS[:2]).n_tokens
    assert seen == [1] * sum(-(-int(n) // 8) for n in lengths)


def test_token_cosines_by_hand():
    # (3, 4) has norm 5; a token of norm 0 has no direction.
    tokens = torch.tensor([[[3.0, 4.0], [0.0, 0.0], [0.0, -2.0]]])
    assert token_cosines(tokens, torch.tensor([0.0, 1.0])).tolist() == [[pytest.approx(0.8), 0, -1]]


# --- likelihood ------------------------------------------------------------------------------


def nll_by_hand(plain, context, ids):
    logits = plain.logits([*context, *ids])
    first = max(len(context), 1)  # nothing predicts the first token of all
    predicted = logits[first - 1 : -1].double().log_softmax(dim=-1)
    targets = torch.tensor([*context, *ids][first:])
    return -predicted[torch.arange(len(targets)), targets].mean().item()


def test_likelihood_is_that_of_the_texts_tokens_given_their_context(model, plain):
    contexts = [[1], plain.ids("Tell me about boots and a river."), [1, 70]]
    passages = [
        Passage(str(i), tuple(context), tuple(plain.ids(text)))
        for i, (context, text) in enumerate(zip(contexts, TEXTS[1:], strict=True))
    ]
    expected = [nll_by_hand(plain, p.context_ids, p.text_ids) for p in passages]
    np.testing.assert_allclose(mean_nll(model, passages), expected, rtol=1e-5)


def test_likelihood_without_context_leaves_out_the_first_token(model, plain):
    ids = plain.ids(TEXTS[0])
    (found,) = mean_nll(model, [Passage("a", (), tuple(ids))])
    assert found == pytest.approx(nll_by_hand(plain, [], ids), rel=1e-5)


@pytest.mark.parametrize(
    ("passage", "message"),
    [
        (Passage("a", (1, 2), ()), "'a' is empty"),
        (Passage("a", (), (500,)), "'a' has no token that counts"),
        (Passage("a", (1,) * 200, (2,) * 121), "'a' with its prompt needs 321 tokens"),
    ],
)
def test_a_passage_without_likelihood_is_an_error(model, passage, message):
    with pytest.raises(InputError, match=message):
        mean_nll(model, [Passage("fine", (1,), (2,)), passage])
