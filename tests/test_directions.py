"""Directions: the estimator by hand, extraction on planted truths, the files of a run."""

import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file, save_file

from creativity_lens.directions import extract as extract_module
from creativity_lens.directions.difference_of_means import DifferenceOfMeansFitter
from creativity_lens.directions.direction import DirectionSet
from creativity_lens.directions.extract import ExtractionConfig, extract
from creativity_lens.directions.run_files import load_run, read_contrast, save_run
from creativity_lens.errors import DataError, InputError
from creativity_lens.generation import decode
from creativity_lens.generation.sampling import Sampling
from creativity_lens.hooks.intervene import Intervention
from creativity_lens.io import sha256_file
from creativity_lens.models.chat import render_prompt
from creativity_lens.models.identity import identity
from creativity_lens.models.packaged import packaged_model_folder
from creativity_lens.prompts.instructions import load_instructions
from tests.fakes import random_directions, unchecked
from tests.plain import plain_model

WILD = Sampling(max_new_tokens=8, temperature=1.0, min_p=0.0)
GREEDY = Sampling(max_new_tokens=8, temperature=0.0)
CONTEXTS = ["as-generated", "neutral"]
TENSORS = ("directions", "mean_creative", "mean_uncreative", "difference_norms", "residual_norms")


def cosines(a, b):
    return torch.cosine_similarity(a.double(), b.double(), dim=-1)


def config(**settings):
    return ExtractionConfig(**{"sampling": WILD, **settings})


# --- the estimator ---------------------------------------------------------------------------


def fitted(creative, uncreative):
    """A fitter that has seen texts given as one list of `[layer, d_model]` for each side."""
    creative, uncreative = torch.tensor(creative), torch.tensor(uncreative)
    fitter = DifferenceOfMeansFitter(*creative.shape[1:])
    for pair in zip(creative.split(1), uncreative.split(1), strict=True):
        fitter.update(*pair)
    return fitter


def test_the_direction_is_the_normalized_difference_of_means():
    # Means (4, 2) and (1, -2): difference (3, 4), of length 5.
    fit = fitted([[[3.0, 0.0]], [[5.0, 4.0]]], [[[2.0, -3.0]], [[0.0, -1.0]]]).fit()
    assert fit.mean_creative.tolist() == [[4.0, 2.0]]
    assert fit.mean_uncreative.tolist() == [[1.0, -2.0]]
    assert fit.difference_norms.tolist() == [5.0]
    assert fit.directions[0].tolist() == pytest.approx([0.6, 0.8], abs=1e-15)


def test_pairs_are_counted():
    fitter = fitted([[[1.0]]] * 3, [[[2.0]]] * 3)
    fitter.update(torch.ones(2, 1, 1), torch.zeros(2, 1, 1))
    assert fitter.n_pairs == 5


def test_small_texts_are_not_lost_after_a_huge_one():
    # In float32 the sum would stay at 1e8: (1e8 + 1000) / 1001 is 99 901.1, without them 99 900.1.
    fit = fitted([[[1e8]]] + [[[1.0]]] * 1000, [[[0.0]]] * 1001).fit()
    assert fit.mean_creative.item() == pytest.approx(100_001_000 / 1001, rel=1e-12)


def test_a_fit_without_pairs_is_an_error():
    with pytest.raises(InputError, match="no pair has a text on both sides"):
        DifferenceOfMeansFitter(1, 1).fit()


def test_equal_means_are_an_error_that_names_the_layer():
    with pytest.raises(InputError, match="equal at layer 1"):
        fitted([[[1.0], [3.0]]], [[[2.0], [3.0]]]).fit()


# --- settings --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"contrast": "topic"}, "contrast 'topic'; choose one of instruction, premise"),
        ({"context": "none"}, "context 'none'; choose one of as-generated, neutral"),
        ({"span": "first"}, "span 'first'; choose one of response, last, prompt-last"),
        ({"samples": 0}, "at least 1, got 0 and 32"),
        ({"batch_size": 0}, "at least 1, got 1 and 0"),
        ({"span": "prompt-last", "context": "neutral"}, "the same token on both sides"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with unchecked(), pytest.raises(InputError, match=message):
        ExtractionConfig(**settings)


def test_extraction_refuses_what_would_fail_later(llama, pairs):
    with pytest.raises(InputError, match="there are no pairs"):
        extract(llama, [])
    with pytest.raises(InputError, match=f"two rows have the id '{pairs[0].id}/creative/0'"):
        extract(llama, [pairs[0], pairs[1], pairs[0]])
    same = replace(pairs[0], uncreative=pairs[0].creative)
    with pytest.raises(InputError, match=r"1 of 1 pairs.*one prompt on both sides"):
        extract(llama, [same], config(contrast="premise"))
    long = replace(pairs[0], id="long", premise="word " * 400)
    with pytest.raises(InputError, match=r"long/creative/0.*context is 320"):
        extract(llama, [pairs[1], long])


def test_a_neutral_prompt_that_does_not_fit_is_named(llama, pairs):
    # Under the premise contrast the prompts are short; only the neutral request holds the premise.
    long = replace(pairs[0], id="long", premise="word " * 400)
    with pytest.raises(InputError, match="neutral prompt of pair 'long'"):
        extract(llama, [long], config(contrast="premise", context="neutral"))


# --- planted truths --------------------------------------------------------------------------


def planted_vector(model, length):
    vector = torch.randn(model.cfg.d_model, generator=torch.Generator().manual_seed(3))
    return vector * (length / vector.norm())


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_vector_added_to_creative_responses_is_recovered(model, pairs, monkeypatch, layer):
    clean = extract(model, pairs, config()).directions
    # 40 times the difference that is there anyway: a few per cent off in length and in angle.
    vector = planted_vector(model, 40 * float(clean.difference_norms[layer]))
    generate_batch = extract_module.generate_batch

    def plant(model, requests, **settings):
        planted = [
            replace(r, interventions=(Intervention(layer, vector),)) if "/creative/" in r.id else r
            for r in requests
        ]
        return generate_batch(model, planted, **settings)

    monkeypatch.setattr(extract_module, "generate_batch", plant)
    found = extract(model, pairs, config()).directions
    assert cosines(found.directions[layer], vector) > 0.99
    assert float(found.difference_norms[layer]) == pytest.approx(float(vector.norm()), rel=0.06)
    # Layers before it hold the same texts' differences and not the vector.
    assert (cosines(found.directions[:layer], vector).abs() < 0.9).all()


def test_a_vector_in_the_words_of_creative_responses_is_recovered(model, pairs, monkeypatch):
    """In the neutral context nothing but the responses' own tokens can differ."""
    creative_word, uncreative_word = 500, 501
    embedding = model.original_model.get_input_embeddings().weight
    before = embedding.detach().clone()
    residual = float(extract(model, pairs, config()).directions.residual_norms.max())

    def answer(model, requests, **settings):
        word = {r.id: creative_word if "/creative/" in r.id else uncreative_word for r in requests}
        return [decode.Completion(r.id, (word[r.id],) * 5, "length") for r in requests]

    monkeypatch.setattr(extract_module, "generate_batch", answer)
    vector = planted_vector(model, 50 * residual)
    try:
        with torch.no_grad():
            embedding[creative_word] = embedding[uncreative_word] + vector
        found = extract(model, pairs, config(context="neutral")).directions
    finally:
        with torch.no_grad():
            embedding.copy_(before)
    # Each block reads a normalized stream, so it writes no more than before: the vector stays.
    assert (cosines(found.directions, vector) > 0.99).all()


def test_equal_responses_under_a_neutral_prompt_hold_no_direction(model, pairs, monkeypatch):
    def same(model, requests, **settings):
        return [decode.Completion(r.id, (7, 8, 9), "length") for r in requests]

    monkeypatch.setattr(extract_module, "generate_batch", same)
    with pytest.raises(InputError, match="equal at layer 0"):
        extract(model, pairs, config(context="neutral", batch_size=2))


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("contrast", ["instruction", "premise"])
def test_exchanging_the_sides_flips_the_sign(model, pairs, contrast, context):
    shipped = load_instructions()
    exchanged = replace(shipped, creative=shipped.uncreative, uncreative=shipped.creative)
    mirrored = [replace(p, creative=p.uncreative, uncreative=p.creative) for p in pairs]
    settings = config(contrast=contrast, context=context, sampling=GREEDY)
    one = extract(model, pairs, settings).directions
    other = extract(model, mirrored, settings, instructions=exchanged).directions
    torch.testing.assert_close(other.directions, -one.directions, atol=1e-4, rtol=0)
    torch.testing.assert_close(other.mean_creative, one.mean_uncreative)
    torch.testing.assert_close(other.difference_norms, one.difference_norms, rtol=1e-4, atol=0)


# --- what extraction returns -----------------------------------------------------------------


@pytest.fixture(scope="module")
def extraction(model, pairs):
    return extract(model, pairs, config(), keep_text_means=True)


def test_directions_have_unit_rows_along_the_difference_of_the_means(extraction):
    found = extraction.directions
    difference = found.mean_creative.double() - found.mean_uncreative.double()
    assert (found.directions.norm(dim=-1) - 1).abs().max() < 1e-6
    torch.testing.assert_close(difference.norm(dim=-1).float(), found.difference_norms)
    assert (cosines(found.directions, difference) > 1 - 1e-6).all()
    assert all(getattr(found, name).dtype == torch.float32 for name in TENSORS)


def assert_means_are_of_the_texts(extraction):
    creative = torch.tensor([row.condition == "creative" for row in extraction.rows])
    means = extraction.text_means
    torch.testing.assert_close(means[creative].mean(0), extraction.directions.mean_creative)
    torch.testing.assert_close(means[~creative].mean(0), extraction.directions.mean_uncreative)


def test_the_means_are_the_means_of_the_texts(extraction):
    assert_means_are_of_the_texts(extraction)


def test_rows_come_pair_by_pair_creative_first(extraction, pairs):
    expected = [(p.id, side, 0) for p in pairs for side in ("creative", "uncreative")]
    assert [(r.pair_id, r.condition, r.sample) for r in extraction.rows] == expected


def test_extraction_is_deterministic_and_the_seed_matters(model, pairs, extraction):
    again = extract(model, pairs, config())
    other = extract(model, pairs, config(seed=1))
    assert again.rows == extraction.rows
    assert torch.equal(again.directions.directions, extraction.directions.directions)
    assert again.text_means is None
    responses = [{r.response_ids for r in e.rows} for e in (again, other)]
    assert not responses[0] & responses[1]


@pytest.mark.parametrize("context", CONTEXTS)
def test_extraction_does_not_depend_on_the_batch_size(model, pairs, context):
    small, odd, large = (
        extract(model, pairs, config(context=context, batch_size=n)) for n in (1, 5, 32)
    )
    for one, other in pairwise((small, odd, large)):
        assert one.rows == other.rows
        assert (cosines(one.directions.directions, other.directions.directions) > 0.99999).all()
        assert one.directions.provenance == other.directions.provenance


def test_a_rows_text_does_not_depend_on_the_other_pairs(model, pairs, extraction):
    alone = extract(model, [pairs[4]], config())
    reversed_ = extract(model, pairs[::-1], config())
    assert alone.rows == extraction.rows[8:10]
    assert sorted(reversed_.rows, key=str) == sorted(extraction.rows, key=str)


def test_several_samples_are_several_texts_of_each_side(model, pairs, extraction):
    found = extract(model, pairs[:3], config(samples=4, batch_size=8), keep_text_means=True)
    keys = Counter((r.pair_id, r.condition, r.sample) for r in found.rows)
    assert len(keys) == len(found.rows) == len(found.text_means) == 3 * 2 * 4
    assert {sample for _, _, sample in keys} == {0, 1, 2, 3}
    assert len({r.response_ids for r in found.rows}) == len(found.rows)
    for i in range(0, len(found.rows), 2):  # both sides of a sample share its paraphrase
        indices = {r.paraphrase_id.split("-")[1] for r in found.rows[i : i + 2]}
        assert len(indices) == 1
    assert len({r.paraphrase_id for r in found.rows}) > 4
    assert found.directions.provenance["n_pairs"] == 3
    assert_means_are_of_the_texts(found)
    # Sample 0 is what one sample alone would have been.
    assert tuple(r for r in found.rows if r.sample == 0) == extraction.rows[:6]


def test_progress_counts_every_pair(llama, pairs):
    seen = []
    extract(llama, pairs, config(samples=2, batch_size=8), on_progress=seen.append)
    assert seen == [2, 2, 2]


def test_provenance_says_what_was_done(extraction, model, pairs):
    found = dict(extraction.directions.provenance)
    json.dumps(found)
    expected = {
        "schema_version": 1,
        "model": identity(model),
        "hook": "resid_post",
        "estimator": "difference-of-means",
        "contrast": "instruction",
        "context": "as-generated",
        "span": "response",
        "sampling": WILD.to_dict(),
        "samples": 1,
        "seed": 0,
        "unit_tokens": False,
        "n_pairs": 6,
        "n_pairs_dropped": 0,
    }
    assert {key: found[key] for key in expected} == expected
    neutral = load_instructions()
    assert found["neutral_prompt"] == {
        "system": neutral.neutral[0],
        "user": neutral.tasks["stories"]["generic"],
    }
    assert {"torch", "transformers", "transformer-lens"} <= found["versions"].keys()
    changed = [*pairs[:5], replace(pairs[5], uncreative="Another.")]
    other = extract(model, changed, config()).directions.provenance
    assert other["pairs_sha256"] != found["pairs_sha256"]
    assert other["instructions_sha256"] == found["instructions_sha256"]


def test_pairs_of_several_domains_are_scored_after_the_default_request(llama, pairs):
    mixed = [pairs[0], replace(pairs[1], domain="poetry")]
    found = extract(llama, mixed, config()).directions.provenance["neutral_prompt"]
    assert found["user"] == load_instructions().tasks["default"]["generic"]


# --- empty responses -------------------------------------------------------------------------


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_pair_with_an_empty_side_is_dropped_whole_and_counted(model, pairs, monkeypatch, context):
    settings = config(context=context, batch_size=4)
    free = extract(model, pairs, settings).rows
    # Let the first token of pair 2's uncreative response end a text: that response is now empty.
    end = free[5].response_ids[0]
    monkeypatch.setattr(decode, "stop_ids", lambda model: frozenset({end}))
    empty = {row.pair_id for row in free if row.response_ids[0] == end}
    kept = [pair for pair in pairs if pair.id not in empty]
    assert pairs[2].id in empty
    assert kept

    cut = extract(model, pairs, settings, keep_text_means=True)
    assert set(cut.dropped) == empty
    assert cut.directions.provenance["n_pairs"] == len(kept)
    assert cut.directions.provenance["n_pairs_dropped"] == len(empty)
    assert [row.pair_id for row in cut.rows] == [pair.id for pair in kept for _ in range(2)]
    assert len(cut.text_means) == len(cut.rows)
    # The other side of a dropped pair leaves nothing in the means.
    alone = extract(model, kept, settings).directions
    for name in TENSORS[:4]:
        torch.testing.assert_close(getattr(cut.directions, name), getattr(alone, name))


def test_a_response_is_cut_at_the_end_token_and_never_holds_it(model, pairs, monkeypatch):
    free = extract(model, pairs, config()).rows
    end = free[3].response_ids[4]
    monkeypatch.setattr(decode, "stop_ids", lambda model: frozenset({end}))
    cut = {(r.pair_id, r.condition): r for r in extract(model, pairs, config()).rows}
    assert cut[pairs[1].id, "uncreative"].response_ids == free[3].response_ids[:4]
    for row in free:
        ended = end in row.response_ids
        n = row.response_ids.index(end) if ended else len(row.response_ids)
        found = cut.get((row.pair_id, row.condition))
        if found is not None:
            assert found.response_ids == row.response_ids[:n]
            assert found.finish_reason == ("stop" if ended else "length")


@pytest.mark.parametrize("context", CONTEXTS)
def test_all_pairs_dropped_is_an_error(model, pairs, monkeypatch, context):
    everything = frozenset(range(model.cfg.d_vocab))
    monkeypatch.setattr(decode, "stop_ids", lambda model: everything)
    with pytest.raises(InputError, match="ended every response at once"):
        extract(model, pairs, config(context=context))


# --- contrast.jsonl --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(extraction, tmp_path_factory):
    return save_run(extraction, tmp_path_factory.mktemp("run"), manifest={"command": "test"})


def raw_rows(folder):
    lines = (folder / "contrast.jsonl").read_bytes().decode().split("\n")
    assert lines.pop() == ""
    return [json.loads(line) for line in lines]


def test_contrast_rows_have_the_fields_of_schema_version_1(run):
    types = {
        "pair_id": str, "condition": str, "sample": int, "premise_id": str, "domain": str,
        "split": str, "paraphrase_id": str, "seed": int, "finish_reason": str, "prompt": str,
        "response": str, "prompt_ids": list, "read_prompt_ids": list, "response_ids": list,
        "neutral_prompt_ids": list,
    }  # fmt: skip
    for row in raw_rows(run):
        assert {key: type(value) for key, value in row.items()} == types
        assert row["condition"] in {"creative", "uncreative"}
        assert row["split"] in {"train", "dev", "test"}
        assert row["finish_reason"] in {"stop", "length"}
        for key in ("prompt_ids", "read_prompt_ids", "response_ids", "neutral_prompt_ids"):
            assert row[key]
            assert all(type(i) is int for i in row[key])


def test_there_is_one_row_for_each_pair_condition_and_sample(run, pairs):
    keys = [(row["pair_id"], row["condition"], row["sample"]) for row in raw_rows(run)]
    assert len(set(keys)) == len(keys) == 2 * len(pairs)


def test_contrast_rows_say_what_was_asked_and_answered(run, pairs, model):
    plain = plain_model(identity(model)["name"])
    instructions = load_instructions()
    by_id = {pair.id: pair for pair in pairs}
    for row in raw_rows(run):
        pair = by_id[row["pair_id"]]
        assert (row["premise_id"], row["split"]) == (pair.premise_id, pair.split)
        assert (row["domain"], row["seed"]) == ("stories", 0)
        kind, index = row["paraphrase_id"].split("-")
        assert kind == row["condition"]
        system = getattr(instructions, kind)[int(index)]
        user = f"Write a short story about this: {pair.premise}"
        assert row["prompt"] == f"{system}\n\n{user}"
        if plain.tokenizer.chat_template:
            assert row["prompt_ids"] == plain.chat_ids(user, system=system)
            header = plain.ids("<|im_start|>assistant\n")
            assert row["prompt_ids"][-len(header) :] == header
        else:
            bos = plain.tokenizer.bos_token_id
            assert row["prompt_ids"] == [bos, *plain.ids(f"{row['prompt']}\n\n")]
        assert row["read_prompt_ids"] == row["prompt_ids"]  # as-generated
        assert row["response"] == plain.tokenizer.decode(
            row["response_ids"], skip_special_tokens=True
        )
        assert (len(row["response_ids"]) == 8) == (row["finish_reason"] == "length")
        assert not {plain.tokenizer.eos_token_id, plain.tokenizer.pad_token_id} & set(
            row["response_ids"]
        )


@pytest.mark.parametrize("contrast", ["instruction", "premise"])
def test_the_neutral_context_is_the_same_on_both_sides(model, pairs, tmp_path, contrast):
    found = extract(model, pairs, config(contrast=contrast, context="neutral"))
    rows = raw_rows(save_run(found, tmp_path, manifest={}))
    instructions = load_instructions()
    for creative, uncreative, pair in zip(rows[::2], rows[1::2], pairs, strict=True):
        prompt = instructions.neutral_prompt(pair)
        expected = render_prompt(model, prompt.user, system=prompt.system)
        assert creative["read_prompt_ids"] == uncreative["read_prompt_ids"] == expected
        assert creative["prompt_ids"] != uncreative["prompt_ids"]
        assert expected not in (creative["prompt_ids"], uncreative["prompt_ids"])


def test_the_premise_contrast_asks_the_two_prompts_under_one_system_prompt(llama, pairs):
    rows = extract(llama, pairs, config(contrast="premise")).rows
    neutral = load_instructions().neutral[0]
    for row, pair in zip(rows[::2], pairs, strict=True):
        assert row.prompt == f"{neutral}\n\n{pair.creative}"
    for row, pair in zip(rows[1::2], pairs, strict=True):
        assert row.prompt == f"{neutral}\n\n{pair.uncreative}"


# --- reproduction with plain transformers ----------------------------------------------------


def reproduce(contrast, plain, span="response", *, unit_tokens=False):
    """Directions and token norms from `contrast.jsonl` alone: nothing of creativity_lens here."""
    means = {"creative": [], "uncreative": []}
    norms = []
    for line in contrast.read_text(encoding="utf-8").split("\n")[:-1]:
        row = json.loads(line)
        n = len(row["read_prompt_ids"])
        hidden = plain.residuals(row["read_prompt_ids"] + row["response_ids"]).double()
        read = {"response": slice(n, None), "last": slice(-1, None), "prompt-last": slice(n - 1, n)}
        tokens = hidden[:, read[span]]
        norms.append(tokens.norm(dim=-1))
        if unit_tokens:
            tokens = tokens / tokens.norm(dim=-1, keepdim=True)
        means[row["condition"]].append(tokens.mean(dim=1))
    creative, uncreative = (torch.stack(side).mean(dim=0) for side in means.values())
    difference = creative - uncreative
    return difference / difference.norm(dim=-1, keepdim=True), torch.cat(norms, dim=1)


def assert_reproducible(found, folder, plain, span="response", *, unit_tokens=False):
    save_run(found, folder, manifest={})
    directions, norms = reproduce(folder / "contrast.jsonl", plain, span, unit_tokens=unit_tokens)
    saved = load_file(folder / "directions.safetensors")
    assert (cosines(saved["directions"], directions) > 0.9999).all()
    if span == "response":
        # torch.median takes the lower of two middle values, as the histogram of 0.1 % bins does.
        median = norms.median(dim=-1).values
        torch.testing.assert_close(saved["residual_norms"].double(), median, rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    ("context", "span"),
    [
        ("as-generated", "response"),
        ("as-generated", "last"),
        ("as-generated", "prompt-last"),
        ("neutral", "response"),
        ("neutral", "last"),
    ],
)
@pytest.mark.parametrize("contrast", ["instruction", "premise"])
def test_plain_transformers_reproduces_the_directions(
    model, pairs, tmp_path, contrast, context, span
):
    found = extract(model, pairs, config(contrast=contrast, context=context, span=span))
    assert_reproducible(found, tmp_path, plain_model(identity(model)["name"]), span)


@pytest.mark.parametrize("context", CONTEXTS)
def test_responses_of_different_length_weigh_the_same(model, pairs, tmp_path, monkeypatch, context):
    free = extract(model, pairs, config(context=context)).rows
    ends = {row.response_ids[3] for row in free[:7]} - {row.response_ids[0] for row in free}
    monkeypatch.setattr(decode, "stop_ids", lambda model: frozenset(ends))
    found = extract(model, pairs, config(context=context))
    assert len({len(row.response_ids) for row in found.rows}) > 1
    assert_reproducible(found, tmp_path, plain_model(identity(model)["name"]))


@pytest.mark.parametrize("context", CONTEXTS)
def test_unit_tokens_are_normalized_before_the_mean(model, pairs, tmp_path, context):
    found = extract(model, pairs, config(context=context, unit_tokens=True))
    plain = plain_model(identity(model)["name"])
    assert_reproducible(found, tmp_path, plain, unit_tokens=True)


@pytest.mark.slow
@pytest.mark.parametrize("context", CONTEXTS)
def test_plain_transformers_reproduces_the_directions_of_the_real_model(
    real_model, pairs, tmp_path, context
):
    sampling = Sampling(max_new_tokens=16)
    found = extract(real_model, pairs[:4], ExtractionConfig(context=context, sampling=sampling))
    assert_reproducible(found, tmp_path, plain_model(str(packaged_model_folder())))


# --- directions.safetensors and the manifest -------------------------------------------------


def test_the_directions_file_holds_five_float32_tensors_and_one_metadata_key(run, model):
    data = (run / "directions.safetensors").read_bytes()
    # The format: the header's length as 8 little-endian bytes, then the header as JSON.
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    metadata = header.pop("__metadata__")
    wide = [model.cfg.n_layers, model.cfg.d_model]
    assert {name: (entry["dtype"], entry["shape"]) for name, entry in header.items()} == {
        "directions": ("F32", wide),
        "mean_creative": ("F32", wide),
        "mean_uncreative": ("F32", wide),
        "difference_norms": ("F32", wide[:1]),
        "residual_norms": ("F32", wide[:1]),
    }
    assert list(metadata) == ["creativity_lens"]
    text = metadata["creativity_lens"]
    assert text == json.dumps(json.loads(text), sort_keys=True, ensure_ascii=False)


def test_saving_twice_gives_the_same_bytes(extraction, model, pairs, tmp_path):
    backwards = replace(
        extraction.directions,
        provenance=dict(reversed(list(extraction.directions.provenance.items()))),
    )
    again = extract(model, pairs, config())
    extraction.directions.save(tmp_path / "a")
    backwards.save(tmp_path / "b")
    again.directions.save(tmp_path / "c")
    assert len({(tmp_path / name).read_bytes() for name in "abc"}) == 1


def test_the_same_run_writes_the_same_files(extraction, model, pairs, run, tmp_path):
    save_run(extract(model, pairs, config()), tmp_path, manifest={"command": "test"})
    names = ["contrast.jsonl", "directions.safetensors", "manifest.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    for name in names:
        assert (tmp_path / name).read_bytes() == (run / name).read_bytes()


def test_a_run_is_loaded_as_it_was_saved(run, extraction):
    directions, rows = load_run(run)
    assert tuple(rows) == extraction.rows
    assert directions.provenance == extraction.directions.provenance
    for name in TENSORS:
        assert torch.equal(getattr(directions, name), getattr(extraction.directions, name))


def test_the_manifest_names_the_digests_of_the_files(run, extraction):
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["schema_version"] == 1
    assert manifest["command"] == "test"
    assert manifest["provenance"] == extraction.directions.provenance
    assert manifest["n_rows"] == 12
    assert manifest["dropped_pairs"] == []
    assert manifest["files"] == {
        name: sha256_file(run / name) for name in ("contrast.jsonl", "directions.safetensors")
    }


def test_a_direction_set_is_read_by_layer(extraction):
    found = extraction.directions
    assert len(found) == len(list(found)) == 3
    assert torch.equal(found[1].vector, found.directions[1])
    assert found[1].layer == 1
    assert found[1].residual_norm == float(found.residual_norms[1])
    torch.testing.assert_close(
        found[1].midpoint,
        found.mean_uncreative[1] + (found.mean_creative - found.mean_uncreative)[1] / 2,
    )
    for layer in (-1, 3, True):
        with pytest.raises(InputError, match=f"layer {layer} is out of range.*0 to 2"):
            found[layer]


def nan_at(name):
    def change(tensors, metadata):
        tensors[name].flatten()[1] = float("nan")

    return change


def without(entry):
    def change(tensors, metadata):
        provenance = json.loads(metadata["creativity_lens"])
        del provenance[entry]
        metadata["creativity_lens"] = json.dumps(provenance)

    return change


def metadata_of(text):
    return lambda tensors, metadata: metadata.update(creativity_lens=text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, m: t.pop("mean_creative"), "lacks mean_creative"),
        (lambda t, m: [t.pop(n) for n in TENSORS[1:3]], "lacks mean_creative, mean_uncreative"),
        (lambda t, m: m.clear(), "lacks the metadata entry creativity_lens"),
        (metadata_of("{"), "provenance is not valid JSON"),
        (metadata_of("[]"), "provenance is not a JSON object"),
        (metadata_of('{"schema_version": 2}'), "schema version 2; .* reads 1"),
        (metadata_of('{"model": {}}'), "schema version None; .* reads 1"),
        (without("model"), "provenance needs 'model' with name, n_layers"),
        (without("neutral_prompt"), "provenance needs 'neutral_prompt' with system, user"),
        (nan_at("directions"), "'directions' holds NaN"),
        (nan_at("residual_norms"), "'residual_norms' holds NaN"),
        (lambda t, m: t["mean_creative"][0].fill_(float("inf")), "'mean_creative' holds NaN or"),
        (lambda t, m: t.update(mean_creative=torch.zeros(4, 32)), r"shape \(4, 32\).*\(3, 32\)"),
        (lambda t, m: t.update(difference_norms=torch.zeros(2)), r"'difference_norms'.*\(2,\)"),
        (lambda t, m: t.update(directions=torch.zeros(3)), "does not fit"),
    ],
)
def test_a_file_that_is_not_a_directions_file_is_refused(llama, tmp_path, change, message):
    path = tmp_path / "x.safetensors"
    good = random_directions(llama)
    tensors = {name: getattr(good, name).clone() for name in TENSORS}
    metadata = {"creativity_lens": json.dumps(good.provenance)}
    save_file(tensors, path, metadata=metadata)
    assert torch.equal(DirectionSet.load(path).directions, good.directions)  # before the change
    change(tensors, metadata)
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(DataError, match=message) as caught:
        DirectionSet.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("cut", [0, 4, 100, -1])
def test_a_file_that_is_not_safetensors_is_refused(llama, tmp_path, cut):
    path = tmp_path / "x.safetensors"
    random_directions(llama).save(path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match="is not a safetensors file"):
        DirectionSet.load(path)


def test_a_missing_run_is_a_data_error(run, tmp_path):
    with pytest.raises(DataError, match="no directions file at"):
        load_run(tmp_path)
    (tmp_path / "directions.safetensors").write_bytes((run / "directions.safetensors").read_bytes())
    with pytest.raises(DataError, match=r"contrast\.jsonl does not exist"):
        load_run(tmp_path)


def test_a_contrast_row_without_a_field_names_the_line(run, tmp_path):
    rows = raw_rows(run)
    del rows[1]["split"], rows[1]["seed"]
    path = tmp_path / "contrast.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match="line 2: missing split, seed"):
        read_contrast(path)


def test_a_dropped_pair_counts_in_no_norm(model, pairs, monkeypatch):
    """Norms with one pair dropped equal those of a run that never had the pair."""
    from creativity_lens.directions import extract as module

    config = ExtractionConfig(sampling=Sampling(max_new_tokens=6))
    alone = extract(model, pairs[1:4], config)
    generate_batch = module.generate_batch

    def emptied(*args, **kwargs):
        done = generate_batch(*args, **kwargs)
        first = f"{pairs[0].id}/creative/0"
        return [c._replace(response_ids=()) if c.id == first else c for c in done]

    monkeypatch.setattr(module, "generate_batch", emptied)
    for context in ("as-generated", "neutral"):
        config = ExtractionConfig(sampling=Sampling(max_new_tokens=6), context=context)
        with_dropped = extract(model, pairs[:4], config)
        assert with_dropped.dropped == (pairs[0].id,)
        if context == "as-generated":
            torch.testing.assert_close(
                with_dropped.directions.residual_norms,
                alone.directions.residual_norms,
                rtol=2e-3,
                atol=0,
            )


@pytest.mark.parametrize("context", ["as-generated", "neutral"])
def test_norms_are_those_of_the_response_in_every_span(model, pairs, context):
    def norms(span):
        config = ExtractionConfig(context=context, span=span, sampling=Sampling(max_new_tokens=6))
        return extract(model, pairs[:3], config).directions.residual_norms

    torch.testing.assert_close(norms("last"), norms("response"), rtol=2e-3, atol=0)
