"""What is measured on texts: embeddings, diversity over seeds, degeneracy, divergence."""

import importlib.metadata
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tokenizers import Tokenizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from creativity_lens.errors import InputError, MissingDependencyError
from creativity_lens.measures import degenerate, divergence, embedding
from creativity_lens.measures.degenerate import REASONS, degeneracy
from creativity_lens.measures.divergence import token_kl
from creativity_lens.measures.diversity import distinct_n, ngrams
from creativity_lens.measures.embedding import embedding_name, load_embedder, relevance
from creativity_lens.measures.over_seeds import (
    embedding_diversity,
    pooled_distinct_n,
    self_similarity,
)
from creativity_lens.measures.text import TEXT_MEASURES, text_measures
from creativity_lens.prompts.pairs import load_contrast

SENTENCE = "The keeper of the lighthouse found a letter in a bottle, and nobody believed him."


@pytest.fixture(scope="module")
def embedder():
    return load_embedder()


# --- embeddings ---------------------------------------------------------------------------------


def test_a_paraphrase_is_nearer_than_another_subject(embedder):
    cat, kitten, rates = embedder(
        ["The cat sat on the mat.", "A kitten rests on a rug.", "Interest rates rose in March."]
    )
    assert cat @ kitten > 0.3 > 0.1 > cat @ rates


def test_a_vector_is_the_mean_of_the_tokens_at_length_one(embedder):
    (table,) = load_file(embedding._packaged(embedding._WEIGHTS)).values()
    tokenizer = Tokenizer.from_file(str(embedding._packaged(embedding._TOKENIZER)))
    mean = sum(table[tokenizer.token_to_id(t)].astype(float) for t in ("▁cold", "▁winter")) / 2
    assert embedder(["cold winter"])[0] == pytest.approx(mean / math.hypot(*mean), abs=1e-12)


def test_texts_do_not_touch_each_other(embedder):
    texts = ["Sea.", SENTENCE, SENTENCE * 40]
    together = embedder(texts)
    assert together.dtype == np.float64
    assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=1e-12)
    for i, text in enumerate(texts):
        assert np.array_equal(embedder([text])[0], together[i])


def test_white_space_has_no_vector_and_a_lone_surrogate_is_no_error(embedder):
    rows = embedder(["", " \n\t", "sea", "\ud800"])
    assert np.isnan(rows).all(axis=1).tolist() == [True, True, False, False]
    assert embedder([]).shape == (0, 256)
    with pytest.raises(InputError, match="put the one text in a list"):
        embedder("sea")


# An audit hook cannot be got around from Python: it sees each socket and each file.
GUARDED = """
import logging, os, sys
written = []
def guard(event, args):
    if event.startswith("socket."):
        raise AssertionError(f"network: {event}")
    if event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR):
        written.append(args[0])
    if event in ("os.mkdir", "os.rename"):
        written.append(args[0])
sys.addaudithook(guard)
from creativity_lens.measures.embedding import load_embedder
assert load_embedder()(["the sea"]).shape == (1, 256)
assert not written, written
assert "wordllama" not in sys.modules and not logging.getLogger().handlers
"""


def test_loading_needs_no_network_and_writes_nothing(tmp_path):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "XDG_"))}
    done = subprocess.run(
        [sys.executable, "-B", "-c", GUARDED],
        env=kept | {"HOME": str(tmp_path), "PYTHONPATH": str(Path.cwd())},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob("*")) == []


def test_the_name_of_the_embedder_tells_its_version():
    assert (
        embedding_name() == f"wordllama {importlib.metadata.version('wordllama')} l2_supercat_256"
    )


@pytest.mark.parametrize("call", [load_embedder, embedding_name])
def test_a_missing_wordllama_names_the_extra(monkeypatch, call):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    with pytest.raises(
        MissingDependencyError, match=r"pip install 'creativity-lens\[embeddings\]'"
    ):
        call()


def test_a_wordllama_without_its_files_says_so(monkeypatch):
    monkeypatch.setattr(embedding, "_WEIGHTS", "gone.safetensors")
    with pytest.raises(MissingDependencyError, match=r"holds no gone\.safetensors.*--force-reinst"):
        load_embedder()


def test_relevance_is_the_cosine_with_the_own_prompt():
    vectors = {"east": (1, 0), "north": (0, 1), "between": (0.6, 0.8), "": (math.nan, math.nan)}
    seen = []

    def embed(texts):
        seen.extend(texts)
        return np.array([vectors[text] for text in texts], dtype=float)

    values = relevance(
        ["between", "between", "north", "", "east"], ["east", "north", "north", "east", ""], embed
    )
    assert values[:3] == pytest.approx([0.6, 0.8, 1.0])
    assert np.isnan(values[3:]).all()
    assert seen.count("north") == 2  # once as a text, once as a prompt that comes twice
    assert relevance([], [], embed).shape == (0,)
    with pytest.raises(InputError, match="1 prompts for 2 texts"):
        relevance(["east", "north"], ["east"], embed)


def test_stories_are_nearer_to_their_own_premise(embedder):
    pairs = load_contrast("stories")[:40]
    texts, premises = [p.creative for p in pairs], [p.premise for p in pairs]
    own = relevance(texts, premises, embedder)
    other = relevance(texts, premises[1:] + premises[:1], embedder)
    assert np.mean(own > other) > 0.9
    assert abs(np.median(other)) < 0.15


# --- several texts on one prompt ----------------------------------------------------------------


def test_ngrams_of_a_text():
    assert ngrams("It's the sea, THE sea.", 2) == [
        ("it's", "the"),
        ("the", "sea"),
        ("sea", "the"),
        ("the", "sea"),
    ]
    assert ngrams("sea", 2) == []


def test_pooled_distinct_by_hand():
    # a-b b-c | a-b b-d: four bigrams, three different; none from c to a.
    assert pooled_distinct_n(["a b c", "a b d"]) == pytest.approx(3 / 4)
    assert pooled_distinct_n([SENTENCE] * 5, 3) == pytest.approx(1 / 5)
    assert pooled_distinct_n([SENTENCE]) == distinct_n(SENTENCE)
    assert pooled_distinct_n(["one", "a b"]) == 1
    assert math.isnan(pooled_distinct_n(["one", ""]))


def test_self_similarity_by_hand():
    # Trigrams {abc, bcd}, {abc, bce}, {xyz}: 1 of 3 shared, and twice none.
    assert self_similarity(["a b c d", "a b c e", "x y z"]) == pytest.approx((1 / 3) / 3)
    assert self_similarity([SENTENCE, SENTENCE.upper()]) == 1
    # A loop has few different trigrams; how often it comes does not count.
    assert self_similarity(["no " * 9, "no " * 30]) == 1
    # Bigrams {ab} and {ab, bc}.
    assert self_similarity(["a b", "a b c"], n=2) == pytest.approx(1 / 2)


def test_short_texts_are_left_out_of_self_similarity():
    assert self_similarity(["a b c", "a b c", "a b", ""]) == 1
    assert math.isnan(self_similarity(["a b c", "a b"]))
    assert math.isnan(self_similarity([]))


def test_embedding_diversity_by_hand():
    east, north, west = (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)
    # Cosines 0, -1, 0: their mean is -1/3, and 1 + 1/3 is less than n / (n - 1) = 3/2.
    assert embedding_diversity(np.array([east, north, west])) == pytest.approx(4 / 3)
    assert embedding_diversity(np.array([east, east])) == 0
    unknown = (math.nan, math.nan)
    assert embedding_diversity(np.array([east, unknown, north])) == 1
    assert math.isnan(embedding_diversity(np.array([east, unknown])))


def test_diversity_of_real_texts(embedder):
    stories = [pair.creative for pair in load_contrast("stories")[:12]]
    alike = [f"{stories[0]} {end}" for end in ("Then he left.", "She left.", "It rained.")]
    assert embedding_diversity(embedder(alike)) < 0.1 < 0.6 < embedding_diversity(embedder(stories))


def test_a_single_string_is_not_a_list_of_texts():
    for measure in (pooled_distinct_n, self_similarity):
        with pytest.raises(InputError, match="single string"):
            measure(SENTENCE)


# --- degeneracy ---------------------------------------------------------------------------------

# Written by SmolLM2-135M-Instruct with 0.6 to 2 of the norm added, unless marked.
BROKEN = {
    "nothing": ("\n" * 40, "length", ("empty",)),
    "invisible": ("\u200b \u200d", "length", ("empty",)),  # by hand
    "fragment": ("This is Mr.B.", "stop", ("short",)),
    "refrain": (
        "Craor of ancient ruins of ancient ruins of ancient ruins of ancient ruins of ancient",
        "length",
        ("loop",),
    ),
    "again": (
        "What is the tale of this story?\nWhat is the tale of this story?",
        "stop",
        ("loop",),
    ),
    "stutter": (
        " him and he he he he he he he and him and and he he and he and and him. he he and and",
        "length",
        ("loop", "one_token"),
    ),
    "stars": (
        "Eldert *Inhabit of *Crystal * * * * * * * * * * * * * * * * * * * * * * * * * * * *",
        "length",
        ("loop", "one_token", "not_words"),
    ),
    "one word": (  # by hand; too short for a loop
        "The the THE lamp The THE the a",
        "length",
        ("one_token",),
    ),
    "digits": ("The 4888888880826125. \nThe 4788912.", "length", ("not_words",)),
    "symbols": ("Well?! (%&) #: §§ -- ../ = +", "length", ("not_words",)),  # by hand
    "quotes": (
        "D'ES' SO' WED ME'G! U\"U'U AL W'S'U'I'‘I' C' W' EX' H'  E' N’S X Y",  # noqa: RUF001
        "length",
        ("not_words",),
    ),
    "letters": ("A b c d of E f g h to I j k l", "length", ("not_words",)),  # by hand
    "glued": (
        "Of fabuallands of multyrinclavesofcrosswaysofmult Whereoflandsofscrosscrossofholl",
        "length",
        ("not_words",),
    ),
    "scripts": ("Der night река 灯塔 opens и Türen ночью 发现 the", "length", ("not_words",)),
    "broken characters": (
        "The sea \ufffd was \ufffd calm \ufffd tonight",
        "length",
        ("not_words",),
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_texts_and_their_reasons(name):
    text, finish_reason, reasons = BROKEN[name]
    found = degeneracy(
        text, 6 if finish_reason == "stop" and name == "fragment" else 40, finish_reason
    )
    assert found.reasons == reasons
    assert found.flag


WHOLE = {
    "English": SENTENCE,
    "German": "Der Wärter fand im Keller einen Brief, den niemand abgeschickt hatte.",
    "Russian": "Смотритель маяка нашёл письмо в бутылке и долго не решался открыть.",
    "Chinese": "灯塔看守人在瓶子里发现了一封信。他坐在窗边慢慢地打开了它。读到的却是自己的名字。",
    "Japanese": "灯台守は瓶の中に手紙を見つけた。窓辺に座り、波を眺めた。DVDという言葉があった。",
    "Korean": "등대지기는 병 속에서 편지를 발견했다. 그는 창가에 앉아 파도를 바라보았다.",
    "Hindi": "लाइटहाउस के रखवाले को बोतल में एक पत्र मिला। वह खिड़की के पास बैठा।",
    "Arabic": "وجد حارس المنارة رسالة في زجاجة. جلس بجانب النافذة وفتحها ببطء.",
    "dialogue": '"No," she said. "No?" he asked. "I can\'t. It\'s 3 a.m., Mr. O\'Neil!"',
    "cut inside a character": "The keeper waved \ufffd",
    "haiku": "An old silent pond.\nA frog jumps into the pond:\nsplash! Silence again.",
}


@pytest.mark.parametrize("language", WHOLE)
def test_whole_texts_raise_no_alarm(language):
    assert degeneracy(WHOLE[language], 20, "stop").reasons == ()


def test_no_shipped_passage_raises_an_alarm():
    pairs = [p for d in ("stories", "poetry", "dialogue", "code") for p in load_contrast(d)]
    texts = [text for pair in pairs for text in (pair.creative, pair.uncreative)]
    assert len(texts) > 1500
    assert not any(degeneracy(text, 50, "stop").flag for text in texts)


def test_only_a_text_that_the_model_ended_is_short():
    limit = degenerate.SHORT_TOKENS
    assert degeneracy(SENTENCE, limit - 1, "stop").reasons == ("short",)
    assert not degeneracy(SENTENCE, limit, "stop").flag
    assert not degeneracy(SENTENCE, limit - 1, "length").flag


def test_the_length_of_a_text_raises_no_alarm_and_hides_no_loop():
    prose = " ".join(pair.creative for pair in load_contrast("stories")[:60])
    assert len(prose) > 12_000
    assert not degeneracy(prose, 4000, "length").flag
    loop = "and the sea was calm, " * 1000
    whole, part = prose[:6000], prose[:9500]
    assert degeneracy(whole + loop[:6000], 4000, "length").reasons == ("loop",)
    # 500 of 10,000 characters: a refrain, not what the text is.
    assert not degeneracy(part + loop[:500], 4000, "length").flag


def test_layout_is_no_loop():
    verse = "\n".join(f"{' ' * 12}{word}" for word in SENTENCE.split())
    assert not degeneracy(verse, 40, "length").flag


def test_a_text_can_be_broken_in_all_ways_but_empty():
    found = degeneracy("u " * 30, 5, "stop")
    assert found.reasons == REASONS[1:]
    assert found == degenerate.Degeneracy(REASONS[1:])


@pytest.mark.parametrize(
    ("n_tokens", "finish_reason", "message"),
    [(-1, "stop", "at least 0, got -1"), (3, "eos", "'stop' or 'length', got 'eos'")],
)
def test_degeneracy_refuses_what_is_no_ending(n_tokens, finish_reason, message):
    with pytest.raises(InputError, match=message):
        degeneracy(SENTENCE, n_tokens, finish_reason)


# --- divergence ---------------------------------------------------------------------------------


def reference_kl(steered, unsteered):
    log_p, log_q = (x.double().log_softmax(-1) for x in (steered, unsteered))
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def logits(n_tokens=7, d_vocab=500, seed=0, scale=4.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n_tokens, d_vocab, generator=generator) * scale


def test_kl_by_hand():
    p, q = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log()
    # 1/2 ln(2) + 1/2 ln(2/3) = 1/2 ln(4/3); the other way 1/4 ln(1/2) + 3/4 ln(3/2).
    assert token_kl(p, q).item() == pytest.approx(0.5 * math.log(4 / 3), rel=1e-5)
    other = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    assert token_kl(q, p).item() == pytest.approx(other, rel=1e-5)


def test_kl_of_equal_logits_is_exactly_zero():
    x = logits()
    assert torch.equal(token_kl(x, x.clone()), torch.zeros(7))
    assert token_kl(x, x + 30).max() < 1e-6


def test_kl_is_each_tokens_own():
    x, y = logits(), logits(seed=1)
    assert token_kl(x, y).double() == pytest.approx(reference_kl(x, y), rel=1e-5)
    assert token_kl(x[2:3], y[2:3]).item() == pytest.approx(token_kl(x, y)[2].item(), rel=1e-6)


def test_small_divergences_survive_rounding():
    x = logits(64, 20_000)
    y = x + logits(64, 20_000, seed=1, scale=0.001)
    true = reference_kl(x, y)
    assert true.max() < 2e-6
    assert token_kl(x, y).min() > 0
    assert (token_kl(x, y) - true).abs().max() < 1.5e-7
    # The plain sum is worse, and negative for some.
    plain = (x.softmax(-1) * (x.log_softmax(-1) - y.log_softmax(-1))).sum(-1)
    assert (plain - true).abs().max() > 3e-7
    assert plain.min() < 0


def test_kl_of_ruled_out_tokens():
    out = -math.inf
    p = torch.tensor([[0.0, 0.0, out], [0.0, 0.0, 0.0], [math.nan, 0.0, 0.0]])
    q = torch.tensor([[0.0, out, 0.0], [0.0, 0.0, out], [0.0, 0.0, 0.0]])
    both = torch.tensor([[1.0, 1.0, out]])
    assert token_kl(p, q)[:2].tolist() == [math.inf, math.inf]
    assert math.isnan(token_kl(p, q)[2])
    assert token_kl(p[:1], both).item() == 0
    # One of two equally likely tokens is ruled out in the steered model: ln 2.
    assert token_kl(torch.tensor([[0.0, out]]), torch.zeros(1, 2)).item() == pytest.approx(
        math.log(2)
    )


def test_chunks_change_nothing_and_keep_memory_small(monkeypatch):
    x, y = logits(50), logits(50, seed=1)
    whole = token_kl(x, y)
    monkeypatch.setattr(divergence, "_CHUNK", 1500)  # three rows of 500

    class Largest(TorchDispatchMode):
        made = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            sizes = [t.numel() for t in tree_leaves(result) if isinstance(t, torch.Tensor)]
            self.made = max([self.made, *sizes])
            return result

    with Largest() as seen:
        parts = token_kl(x, y)
    assert torch.allclose(whole, parts, rtol=1e-6)
    assert seen.made <= 1500


def test_kl_takes_half_precision_and_leaves_its_inputs_alone():
    x, y = logits().bfloat16(), logits(seed=1).bfloat16()
    kept = x.clone(), y.clone()
    result = token_kl(x, y)
    assert result.dtype == torch.float32
    assert result.double() == pytest.approx(reference_kl(x, y), rel=1e-5)
    x, y = logits(), logits(seed=1)
    kept = (*kept, x.clone(), y.clone())
    token_kl(x, y)
    assert torch.equal(x, kept[2])
    assert torch.equal(y, kept[3])
    assert token_kl(x[:0], y[:0]).shape == (0,)


def test_kl_refuses_logits_of_other_shapes():
    for other in (logits(6), logits(7, 400)):
        with pytest.raises(InputError, match=r"steered \(7, 500\) and unsteered \("):
            token_kl(logits(), other)


# --- all of one text ----------------------------------------------------------------------------


def test_the_measures_of_a_text_by_hand():
    found = text_measures("No, no, no. The sea was calm.", 11, "stop")
    assert tuple(found) == TEXT_MEASURES
    # no no no the sea was calm: 7 words, 5 different; 6 bigrams, 5 different; 5 trigrams.
    expected = {"n_tokens": 11, "n_words": 7, "distinct_1": 5 / 7, "distinct_2": 5 / 6}
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["repetition"] == 0
    assert found["compression_ratio"] > 0.5
    assert {found[name] for name in TEXT_MEASURES if name.startswith("degenerate")} == {0.0}
    assert all(type(value) is float for value in found.values())


def test_the_measures_of_a_broken_text_name_its_reasons():
    found = text_measures("he and " * 20, 40, "length")
    flags = {name for name in found if name.startswith("degenerate") and found[name] == 1}
    assert flags == {"degenerate", "degenerate_loop", "degenerate_one_token"}
    empty = text_measures("", 0, "stop")
    assert empty["degenerate_empty"] == 1
    assert empty["n_words"] == 0
    unknown = ("distinct_1", "distinct_2", "repetition", "compression_ratio")
    assert all(math.isnan(empty[name]) for name in unknown)
