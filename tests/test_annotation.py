"""A study is blind and balanced, and what raters chose comes back as it was meant."""

import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from typer.testing import CliRunner

from creativity_lens.cli.annotate import app
from creativity_lens.errors import DataError, InputError
from creativity_lens.evaluation.annotation import INSTRUCTION, Study
from creativity_lens.evaluation.annotation_exports import checksum, read_exports
from creativity_lens.evaluation.annotation_tables import (
    exact_interval,
    preference,
    rater_agreement,
    same_on_all_prompts,
    tidy_answers,
)
from creativity_lens.evaluation.pair_design import pair_design
from creativity_lens.evaluation.ratings import ratings_from_frame
from creativity_lens.evaluation.study_design import make_study
from creativity_lens.evaluation.study_texts import GeneratedText, read_generated
from tests.study_fakes import export, heeds, of_set, texts, written


def of_kind(study, form, kind):
    return [item for item in study.forms[form - 1] if item.kind == kind]


@pytest.fixture
def study():
    return make_study(
        texts("plain"), texts("steered"), names=("zebra", "yak"), forms=2, repeats=2, seed=1
    )


def answers_of(study, folder, *exports, **options):
    found, notes = read_exports(study, written(folder, *exports))
    return tidy_answers(study, found, notes=notes, **options)


# --- making a study ---


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("prompts", [8, 9])
def test_each_set_stands_left_in_half_of_the_pairs_of_each_form(prompts, seed):
    study = make_study(texts("a", prompts), texts("b", prompts), forms=3, seed=seed)
    for form in (1, 2, 3):
        left = Counter(item.left for item in of_kind(study, form, "pair"))
        assert sum(left.values()) == prompts
        assert abs(left["a"] - left["b"]) == prompts % 2


def test_which_set_stands_left_at_first_is_chance():
    first = [make_study(texts("a"), texts("b"), seed=seed).forms[0][0].left for seed in range(40)]
    assert 8 <= first.count("a") <= 32  # p < 0.0001 outside


def test_a_second_form_mirrors_the_first_in_another_order(study):
    sides = [{i.pair_id: i.left for i in of_kind(study, form, "pair")} for form in (1, 2)]
    assert sides[0].keys() == sides[1].keys()
    assert all(sides[0][name] != sides[1][name] for name in sides[0])
    assert list(sides[0]) != list(sides[1])
    ids = [item.item_id for form in study.forms for item in form]
    assert len(set(ids)) == len(ids)


def test_texts_are_paired_within_a_prompt_and_used_once():
    study = make_study(texts("a", 4, each=3), texts("b", 5, each=2))
    assert len(study.pairs) == 4 * 2
    for side in ("a", "b"):
        used = [getattr(pair, side) for pair in study.pairs]
        assert len(set(used)) == len(used)
        assert [text.prompt_id for text in used] == [pair.prompt_id for pair in study.pairs]
    assert study.notes == ("1 prompt of 'b' alone left out.",)


def test_few_pairs_are_spread_over_the_prompts():
    study = make_study(texts("a", 5, each=3), texts("b", 5, each=3), n_pairs=7)
    counts = Counter(pair.prompt_id for pair in study.pairs)
    assert sorted(counts.values()) == [1, 1, 1, 2, 2]


def test_texts_are_used_again_only_for_more_pairs_and_with_a_note():
    study = make_study(texts("a", 2, each=2), texts("b", 2, each=2), n_pairs=6)
    assert len({(pair.a, pair.b) for pair in study.pairs}) == 6
    assert "6 pairs of texts that allow 4 without a text used twice" in study.notes[0]
    with pytest.raises(InputError, match="only 8 on 2 shared prompts"):
        make_study(texts("a", 2, each=2), texts("b", 2, each=2), n_pairs=9)


def test_blank_and_equal_texts_are_left_out_with_a_note():
    b = texts("steered", 4)
    b[0] = b[0]._replace(text=" \n")
    b[1] = b[1]._replace(text="plain 1 0.")
    study = make_study(texts("plain", 4), b, checks=0)
    assert {pair.prompt_id for pair in study.pairs} == {"prompt-2", "prompt-3"}
    assert "1 blank text of 'b' left out." in study.notes
    assert any("1 possible pair of two equal texts" in note for note in study.notes)


def test_attention_checks_say_what_to_choose_and_show_a_pair_only_after_its_turn():
    study = make_study(texts("a", 12), texts("b", 12), checks=4, seed=3)
    shown = study.blind_form(1)["items"]
    checks = of_kind(study, 1, "check")
    assert Counter(item.told for item in checks) == {"left": 2, "right": 2}
    seen = set()
    for item, screen in zip(study.forms[0], shown, strict=True):
        told = [side for side in ("left", "right") if "This line checks" in screen[side]]
        if item.kind == "check":
            assert item.pair_id in seen
            assert told == [item.told_in]
            assert screen[told[0]].endswith(INSTRUCTION.format(side=item.told.capitalize()))
        else:
            assert told == []
            seen.add(item.pair_id)


def test_attention_checks_rather_show_pairs_that_the_form_does_not_hold():
    study = make_study(texts("a", 12), texts("b", 12), pairs_per_form=6, forms=4)
    for form in range(1, 5):
        own = {item.pair_id for item in of_kind(study, form, "pair")}
        assert len(own) == 6
        assert own.isdisjoint(item.pair_id for item in of_kind(study, form, "check"))
    every = Counter(i.pair_id for form in range(1, 5) for i in of_kind(study, form, "pair"))
    assert set(every.values()) == {2}
    assert len(every) == 12


def test_repeated_pairs_come_late_and_mirrored():
    study = make_study(texts("a", 12), texts("b", 12), repeats=4, checks=0)
    first = {item.pair_id: (i, item.left) for i, item in enumerate(study.forms[0][:8])}
    for i, item in enumerate(study.forms[0]):
        if item.kind == "repeat":
            place, left = first[item.pair_id]
            assert i - place >= 4
            assert item.left != left


def test_a_form_tells_nothing_of_sets_ids_or_prompt_ids(study):
    told = json.dumps(study.blind_form(1))
    for secret in ("zebra", "yak", "text-", "prompt-", "pair-", "repeat", '"check"', "seed"):
        assert secret not in told
    assert {name for item in study.blind_form(1)["items"] for name in item} == {
        *("id", "prompt", "left", "right")
    }


def test_what_is_shown_left_is_what_the_key_says(study):
    pairs = {pair.pair_id: pair for pair in study.pairs}
    for form in (1, 2):
        items = study.blind_form(form)["items"]
        for item, screen in zip(study.forms[form - 1], items, strict=True):
            pair = pairs[item.pair_id]
            left, right = (pair.a, pair.b) if item.left == "a" else (pair.b, pair.a)
            assert screen["id"] == item.item_id
            assert screen["left"].startswith(left.text)
            assert screen["right"].startswith(right.text)
            assert screen["prompt"] == pair.prompt


def told(study, form=1):
    return [item.told for item in of_kind(study, form, "check")]


def test_of_an_odd_number_of_checks_chance_says_which_side_is_asked_for_once_more():
    one = Counter(told(make_study(texts("a"), texts("b"), checks=1, seed=s))[0] for s in range(40))
    assert 8 <= one["left"] <= 32  # p < 0.0001 outside
    three = [
        told(make_study(texts("a"), texts("b"), seed=s, forms=2), form).count("left")
        for s in range(20)
        for form in (1, 2)
    ]
    assert set(three) == {1, 2}


def drawn(study):
    """Ids, and what stands where."""
    return [
        (item.item_id, item.pair_id, item.kind, item.left) for form in study.forms for item in form
    ]


def test_the_seed_makes_the_study():
    def make(seed):
        return make_study(texts("a"), texts("b"), seed=seed)

    assert make(3) == make(3)
    assert make(3).study_id == make(3).study_id != make(4).study_id
    assert make(3).seed == 3
    with pytest.raises(InputError, match="seed must be at least 0, got -1"):
        make(-1)


def test_a_study_without_a_seed_draws_one_that_makes_it_again():
    first, second = (make_study(texts("a"), texts("b"), forms=2) for _ in range(2))
    assert first.seed != second.seed
    assert drawn(first) != drawn(second)
    assert {i.item_id for f in first.forms for i in f}.isdisjoint(
        i.item_id for f in second.forms for i in f
    )
    assert make_study(texts("a"), texts("b"), forms=2, seed=first.seed) == first


def test_a_known_seed_tells_nothing_without_the_texts():
    """Who has a page knows the number of pairs, and may draw a study of texts of his own."""
    real, guess = (
        make_study(texts(first, 12), texts(second, 12), forms=2, seed=0)
        for first, second in (("plain", "steered"), ("x", "y"))
    )
    sides, guessed = ([item.left for item in study.forms[0]] for study in (real, guess))
    assert sides != guessed
    ids = {item.item_id for form in real.forms for item in form}
    assert ids.isdisjoint(item.item_id for form in guess.forms for item in form)
    # One letter in one text is enough.
    changed = texts("plain", 12)
    changed[5] = changed[5]._replace(text="Another.")
    assert drawn(make_study(changed, texts("steered", 12), forms=2, seed=0)) != drawn(real)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"names": ("a", "a")}, "two different names"),
        ({"n_pairs": 0}, "n_pairs must be at least 1"),
        ({"pairs_per_form": 9}, "the study has 8"),
        ({"pairs_per_form": 2, "forms": 3}, "make 8 forms"),
        ({"checks": 9}, "checks must be from 0 to the 8 pairs"),
        ({"repeats": 3}, "repeats must be from 0 to a third"),
        ({"quality": " "}, "must not be blank"),
        ({"groups": ("lay", "lay")}, "different printable names"),
        ({"groups": ("lay\n",)}, "different printable names"),
    ],
)
def test_a_study_that_cannot_be_is_an_error(options, words):
    with pytest.raises(InputError, match=words):
        make_study(texts("a"), texts("b"), **options)


def test_prompts_must_be_shared_and_say_the_same():
    with pytest.raises(InputError, match="no prompt in common"):
        make_study(texts("a"), [t._replace(prompt_id=f"x{t.prompt_id}") for t in texts("b")])
    with pytest.raises(InputError, match="raters would see which is which"):
        make_study(texts("a"), [t._replace(prompt="Be creative!") for t in texts("b")])
    with pytest.raises(InputError, match=r"two texts of 'a' have the id 'text-0-0'"):
        make_study(texts("a") + texts("a"), texts("b"))
    with pytest.raises(InputError, match="'text-0-0' of 'a' holds half of a surrogate"):
        make_study([texts("a")[0]._replace(text="half \ud83d")], texts("b"))


# --- the key ---


def test_a_key_comes_back_as_it_was_and_a_changed_one_is_refused(study, tmp_path):
    study.save(tmp_path / "key.json")
    assert Study.load(tmp_path / "key.json") == study
    value = json.loads((tmp_path / "key.json").read_text())
    item = value["forms"][0][0]
    item["left"] = "b" if item["left"] == "a" else "a"
    (tmp_path / "key.json").write_text(json.dumps(value))
    with pytest.raises(DataError, match="was changed after it was written"):
        Study.load(tmp_path / "key.json")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "other"}, "is not the key of a study"),
        ({"schema_version": 2}, "schema version 2"),
        ({"pairs": [{}]}, "lacks a part"),
    ],
)
def test_what_is_no_key_is_an_error(study, tmp_path, change, words):
    study.save(tmp_path / "key.json")
    value = json.loads((tmp_path / "key.json").read_text()) | change
    (tmp_path / "key.json").write_text(json.dumps(value))
    with pytest.raises(DataError, match=words):
        Study.load(tmp_path / "key.json")


# --- reading answers ---


def test_a_preference_for_a_set_is_found_whatever_the_sides(study, tmp_path):
    found = answers_of(
        study,
        tmp_path,
        export(study, "ann", of_set("b"), form=1),
        export(study, "bob", of_set("b"), form=2),
    )
    # 8 of 8 prompts: 1 - p^8 = 0.025 at the lower bound.
    assert preference(found.pairs, "yak") == (1.0, pytest.approx(0.025 ** (1 / 8)), 1.0)
    assert preference(found.pairs, "zebra") == (0.0, 0.0, pytest.approx(1 - 0.025 ** (1 / 8)))
    ratings = found.ratings.groupby("system")["rating"].agg(["min", "max", "size"])
    assert ratings.loc["yak"].tolist() == [1.0, 1.0, 16]  # 8 texts, 2 raters
    assert ratings.loc["zebra"].tolist() == [0.0, 0.0, 16]
    assert found.raters["repeats_alike"].tolist() == [1.0, 1.0]
    assert found.raters["checks"].tolist() == [3, 3]
    assert rater_agreement(found.pairs) == 1.0
    assert found.notes == ()


def test_an_interval_of_choices_that_are_alike_on_all_prompts_has_a_width(study, tmp_path):
    tied = answers_of(study, tmp_path, export(study, "ann", heeds(lambda item: "tie")))
    assert same_on_all_prompts(tied.pairs, "yak")
    share, low, high = preference(tied.pairs, "yak")
    expected = binomtest(4, 8).proportion_ci()
    assert (share, low, high) == (0.5, pytest.approx(expected.low), pytest.approx(expected.high))
    # Two raters who never agree: half on each prompt.
    split = [export(study, name, of_set(side)) for name, side in (("ann", "a"), ("bob", "b"))]
    assert preference(answers_of(study, tmp_path, *split).pairs, "yak") == (share, low, high)


def test_an_interval_is_exact_only_where_draws_of_prompts_do_not_vary(study, tmp_path):
    last = of_kind(study, 1, "pair")[-1].pair_id
    found = answers_of(
        study,
        tmp_path,
        export(study, "ann", lambda i: of_set("a" if i.pair_id == last else "b")(i)),
    )
    assert not same_on_all_prompts(found.pairs, "yak")
    share, low, high = preference(found.pairs, "yak")
    assert share == 7 / 8
    assert low < share < high == 1.0  # a third of draws leave the last prompt out


@pytest.mark.parametrize(("won", "n"), [(0, 5), (1, 2), (6, 12), (12, 12), (1, 1), (79, 80)])
def test_exact_bounds_are_those_of_clopper_and_pearson(won, n):
    expected = binomtest(won, n).proportion_ci(0.9, method="exact")
    found = exact_interval(won / n, n, level=0.9)
    assert found == pytest.approx((won / n, expected.low, expected.high))


def test_exact_bounds_of_halves_lie_between_those_of_their_neighbours():
    below, half, above = (exact_interval(won / 7, 7) for won in (3, 3.5, 4))
    assert below.low < half.low < above.low
    assert below.high < half.high < above.high


def test_a_rater_who_looks_at_the_side_alone_shows_no_preference(study, tmp_path):
    found = answers_of(study, tmp_path, export(study, "ann", heeds(lambda item: "left")))
    assert preference(found.pairs, "yak").estimate == 0.5
    assert found.raters["left_share"].tolist() == [1.0]
    assert found.raters["repeats_alike"].tolist() == [0.0]
    assert "one rater counts" in found.notes[0]


def test_ratings_are_shares_of_won_comparisons_with_ties_as_half(tmp_path):
    # One text of set a against three of set b; with ties it wins one, ties one, loses one.
    a, b = texts("a", 1), texts("b", 1, each=3)
    study = make_study(a, b, n_pairs=3, checks=0)
    fate = dict(zip(study.pairs, ("a", "tie", "b"), strict=True))
    fate = {pair.pair_id: won for pair, won in fate.items()}

    def choose(item):
        won = fate[item.pair_id]
        return won if won == "tie" else "left" if item.left == won else "right"

    found = answers_of(study, tmp_path, export(study, "ann", choose))
    rating = dict(zip(found.ratings["text_id"], found.ratings["rating"], strict=True))
    assert rating.pop("a/text-0-0") == pytest.approx((1 + 0.5 + 0) / 3)
    assert sorted(rating.values()) == [0.0, 0.5, 1.0]
    share, low, high = preference(found.pairs, "a")
    assert share == 0.5
    assert np.isnan(low)
    assert np.isnan(high)


def test_raters_who_fail_checks_are_marked_and_left_out_unless_kept(study, tmp_path):
    careless = export(study, "cat", lambda item: "left" if item.left == "a" else "right")
    careful = export(study, "ann", of_set("b"))
    found = answers_of(study, tmp_path, careless, careful)
    assert found.raters["failed"].tolist() == [False, True]
    assert set(found.ratings["rater_id"]) == {"ann"}
    assert set(found.pairs["rater_id"]) == {"ann", "cat"}
    assert preference(found.pairs, "yak").estimate == 1.0
    assert any("'cat' failed" in note and "left out" in note for note in found.notes)
    kept = answers_of(study, tmp_path, careless, careful, keep_failed=True)
    assert preference(kept.pairs, "yak").estimate == 0.5
    assert kept.raters["failed"].tolist() == [False, True]
    lenient = answers_of(study, tmp_path, careless, careful, max_failed=3)
    assert not lenient.raters["failed"].any()


def test_checks_and_repeats_do_not_enter_the_ratings(study, tmp_path):
    found = answers_of(study, tmp_path, export(study, "ann", of_set("b")))
    assert Counter(found.pairs["kind"]) == {"pair": 8, "check": 3, "repeat": 2}
    assert len(found.ratings) == 16
    assert found.raters["n_pairs"].tolist() == [8]
    assert set(found.pairs["seconds"]) == {1.5}


def test_ratings_are_tidy_ratings_by_group(tmp_path):
    study = make_study(texts("a"), texts("b"), groups=("expert", "lay"), dimension="surprise")
    found = answers_of(
        study,
        tmp_path,
        export(study, "ann", of_set("b"), group="expert"),
        export(study, "bob", of_set("a"), group="lay"),
        export(study, "cyd", of_set("a"), group="lay"),
    )
    ratings = ratings_from_frame(found.ratings, scale=(0.0, 1.0))
    assert ratings.dimensions == ("surprise",)
    assert ratings.groups == ("expert", "lay")
    systems = ratings.texts["system"].to_numpy()
    assert set(ratings.means("surprise", "expert")[systems == "b"]) == {1.0}
    assert set(ratings.means("surprise", "lay")[systems == "b"]) == {0.0}


def test_agreement_of_raters_is_counted_over_pairs_of_raters(tmp_path):
    # Of three raters two agree: one of three pairs of raters. Of two who differ: none of one.
    # Together 1 of 4. A tie against a choice counts half.
    study = make_study(texts("a", 2), texts("b", 2), checks=0)
    first = study.forms[0][0].item_id

    def only_first(choose):
        return lambda item: choose(item) if item.item_id == first else "tie"

    found = answers_of(
        study,
        tmp_path,
        export(study, "ann", of_set("a"), first=2),
        export(study, "bob", of_set("a"), first=1),
        export(study, "cyd", of_set("b"), first=2),
    )
    assert rater_agreement(found.pairs) == pytest.approx(1 / 4)
    alone = answers_of(study, tmp_path, export(study, "ann", of_set("a")))
    assert np.isnan(rater_agreement(alone.pairs))
    tied = answers_of(
        study,
        tmp_path,
        export(study, "ann", of_set("a"), first=1),
        export(study, "bob", only_first(lambda item: "tie"), first=1),
    )
    assert rater_agreement(tied.pairs) == 0.5


def signed(value, **changes):
    """A changed export whose checksum fits."""
    value = value | changes
    return value | {"checksum": checksum(value)}


def answer(value, **changes):
    return [value["answers"][0] | changes, *value["answers"][1:]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda e: e | {"answers": answer(e, choice="tie")}, "was changed after the page"),
        (lambda e: e | {"rater": "eve"}, "was changed after the page"),
        (lambda e: e | {"answers": e["answers"][1:]}, "was changed after the page"),
        (lambda e: signed(e, answers=answer(e, choice="up")), "must be left, right, tie"),
        (lambda e: signed(e, answers=answer(e, id="0")), "form 1 has no item '0'"),
        (lambda e: signed(e, answers=answer(e, ms=-1)), "must be from 0 to 100000000000 ms"),
        (lambda e: signed(e, answers=answer(e, ms=10**400)), "must be from 0 to"),
        (lambda e: signed(e, answers=answer(e, ms=True)), "needs id, choice and ms"),
        (lambda e: signed(e, answers=e["answers"][:1] * 2), "is answered twice"),
        (lambda e: signed(e, answers=[]), "holds no answers"),
        (lambda e: e | {"answers": {}}, "holds no answers"),
        (lambda e: signed(e, study="0123"), "belongs to the study '0123'"),
        (lambda e: signed(e, form="2"), "has no item"),
        (lambda e: signed(e, form="3"), "the study has the forms 1, 2"),
        (lambda e: signed(e, form=["1"]), "the study has the forms 1, 2"),
        (lambda e: signed(e, rater=" "), "names no rater"),
        (lambda e: signed(e, rater="N\ud800"), "half of a surrogate pair"),
        (lambda e: signed(e, group="expert"), "the study has: none"),
        (lambda e: signed(e, version=2), "version 2"),
        (lambda e: e | {"format": "?"}, "is not an export"),
        (lambda e: [e], "is not an export"),
    ],
)
def test_an_export_that_cannot_be_trusted_is_an_error(study, tmp_path, change, words):
    (path,) = written(tmp_path, change(export(study, "ann", of_set("a"))))
    with pytest.raises(DataError, match=words) as error:
        read_exports(study, [path])
    assert path.name in str(error.value)


def test_an_unfinished_form_counts_with_a_note(study, tmp_path):
    found = answers_of(study, tmp_path, export(study, "ann", of_set("b"), first=1))
    assert "'ann' answered 1 of the 13 items of form 1." in found.notes
    assert "no attention check was answered by: 'ann'." in found.notes
    assert len(found.ratings) == 2


def test_one_rater_twice_is_merged_noted_or_refused(study, tmp_path):
    whole, part = (export(study, "ann", of_set("b"), first=n) for n in (99, 3))
    found = answers_of(study, tmp_path, whole, part)
    assert len(found.pairs) == 13
    assert "sent form 1 more than once" in found.notes[0]
    assert len(answers_of(study, tmp_path, part, whole).pairs) == 13
    with pytest.raises(DataError, match=r"export-0.json and export-1.json are both by 'ann'"):
        answers_of(study, tmp_path, whole, export(study, "ann", of_set("a")))
    both = answers_of(study, tmp_path, whole, export(study, "ann", of_set("b"), form=2))
    assert "'ann' answered 2 forms; they count as one rater's." in both.notes
    assert len(both.ratings) == 16
    spelled = answers_of(study, tmp_path, whole, export(study, "Ann", of_set("b"), form=2))
    assert any("are they one?" in note for note in spelled.notes)


# --- texts from files ---


def test_texts_come_from_what_generate_writes(write):
    rows = [{"id": f"p{i}", "prompt": f"Ask {i}", "response": f"Said {i}"} for i in range(2)]
    path = write("plain.jsonl", "\n".join(map(json.dumps, rows)))
    assert read_generated(path)[1] == GeneratedText("p1", "p1", "Ask 1", "Said 1")


def test_texts_come_from_a_cell_of_a_sweep_with_the_prompts_beside_it(tmp_path):
    rows = [
        {"cell_id": cell, "prompt_id": "p", "seed": seed, "text": f"{cell} {seed}"}
        for cell in ("unsteered", "add/creativity/L8/+0.3")
        for seed in (0, 1)
    ]
    path = tmp_path / "texts.parquet"
    pd.DataFrame(rows).to_parquet(path)
    pd.DataFrame({"prompt_id": ["p"], "prompt": ["Ask"]}).to_parquet(tmp_path / "prompts.parquet")
    assert read_generated(path, cell="unsteered") == (
        GeneratedText("p/0", "p", "Ask", "unsteered 0"),
        GeneratedText("p/1", "p", "Ask", "unsteered 1"),
    )
    with pytest.raises(InputError, match="holds the texts of 2 cells"):
        read_generated(path)
    with pytest.raises(InputError, match="did you mean 'unsteered'"):
        read_generated(path, cell="unsteerd")


def test_texts_come_from_a_table_and_pair_by_the_words_of_their_prompt(write):
    path = write("mine.csv", 'prompt,text\nAsk,"One, two"\nBeg,\n')
    found = read_generated(path)
    assert found[0] == GeneratedText("line 2", "Ask", "Ask", "One, two")
    assert found[1].text == ""


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", '{"prompt": "Ask"}', "line 1: a row needs its words"),
        ("a.jsonl", '{"text": "Said"}', "line 1: a row needs `prompt_id` or `prompt`"),
        ("a.jsonl", '{"text": "Said", "prompt_id": 3}', "`prompt_id` must be a string"),
        ("a.csv", "id,prompt,text\nx,A,B\nx,A,C\n", "line 3: the id 'x' was used in .*line 2"),
        ("a.csv", "prompt_id,prompt,text\nx,A,B\nx,C,D\n", "stands for other words"),
        ("a.csv", "prompt,text\nA,B,C\n", "more cells than the header"),
        ("a.csv", "prompt,text\n", "is empty"),
        ("a.txt", "", "cannot tell what kind of file"),
        ("a.parquet", "no", "cannot read"),
    ],
)
def test_files_of_texts_that_cannot_be_used_name_the_place(write, name, content, words):
    with pytest.raises(InputError, match=words):
        read_generated(write(name, content))


# --- the command ---


def run(*arguments):
    done = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_command_makes_a_study_and_reads_its_answers(tmp_path):
    for word in ("plain", "steered"):
        rows = [
            {"id": t.prompt_id, "prompt": t.prompt, "response": t.text} for t in texts(word, 12)
        ]
        (tmp_path / f"{word}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    files = ("--a", tmp_path / "plain.jsonl", "--b", tmp_path / "steered.jsonl")
    home = tmp_path / "study"
    made = json.loads(run("make", *files, "--out", home, "--forms", 2, "--json"))
    assert made["pairs"] == 12
    assert sorted(path.name for path in home.rglob("*.*")) == [
        *("form-1.html", "form-2.html", "key.json")
    ]
    assert not (home / "pages" / "key.json").exists()
    study = Study.load(home / "key.json")
    with pytest.raises(InputError, match="belongs to another study"):
        run("make", *files, "--out", home, "--forms", 2)
    run("make", *files, "--out", home, "--forms", 2, "--seed", study.seed)  # the same study again
    assert Study.load(home / "key.json") == study

    paths = written(
        tmp_path,
        export(study, "ann", of_set("b")),
        export(study, "bob", of_set("a"), form=2),
        export(study, "cyd", of_set("b"), form=2),
    )
    out = tmp_path / "answers"
    told = json.loads(
        run("read", "--key", home / "key.json", "--out", out, "--draws", 200, "--json", *paths)
    )
    assert told["groups"][0]["share"] == pytest.approx(2 / 3)
    assert told["groups"][0]["agreement"] == pytest.approx(1 / 3)
    assert told["groups"][0]["left_share"] == pytest.approx(0.5)
    assert told["groups"][0]["interval"] == "exact"  # two of three on each prompt
    assert told["groups"][0]["low"] < 2 / 3 < told["groups"][0]["high"]
    assert any("Clopper and Pearson's with prompts" in note for note in told["notes"])
    summary = json.loads((out / "summary.json").read_text())
    assert summary["study"] == study.study_id
    command = f"creativity-lens evaluate --ratings {out}/ratings.csv --min-gap 0.01 --out agreement"
    assert summary["notes"][-1].endswith(f"use: {command}")
    assert len(pd.read_csv(out / "ratings.csv")) == 24 * 3
    assert len(pd.read_csv(out / "pairs.csv")) == 15 * 3
    strengths = pd.read_csv(out / "bradley_terry.csv").query("level == 'system'")
    won = strengths.set_index("item")["strength"]
    assert won["steered"] - won["plain"] == pytest.approx(np.log(2), abs=1e-3)
    printed = run("read", "--key", home / "key.json", "--out", out, *paths)
    assert "0.667" in printed
    assert command in printed.replace("\n", " ")


def test_the_command_claims_nothing_certain_of_unanimous_choices(study, tmp_path):
    study.save(tmp_path / "key.json")
    paths = written(tmp_path, export(study, "ann", of_set("b")), export(study, "bob", of_set("b")))
    out = tmp_path / "answers"
    told = json.loads(run("read", "--key", tmp_path / "key.json", "--out", out, "--json", *paths))
    assert told["groups"][0]["low"] == pytest.approx(0.025 ** (1 / 8))
    assert any("no finite estimate" in note for note in told["notes"])
    table = pd.read_csv(out / "bradley_terry.csv").query("level == 'system'").set_index("item")
    assert table.loc["yak", "separated"]
    assert table.loc["yak", "high"] == np.inf
    assert 0 < table.loc["yak", "low"] < 1


def test_ratings_of_a_study_make_pairs_at_the_gap_that_the_command_says(study, tmp_path):
    votes = "bba"  # two of three like set b, whatever the pair
    exports = [export(study, f"rater {i}", of_set(side)) for i, side in enumerate(votes)]
    ratings = ratings_from_frame(answers_of(study, tmp_path, *exports).ratings)
    means, prompts = ratings.means("creativity", "all"), ratings.texts["prompt_id"].tolist()
    assert int(pair_design(means, prompts, min_gap=0.01).decided.sum()) == 8
    assert int(pair_design(means, prompts).decided.sum()) == 0


def test_the_command_says_how_large_a_study_must_be():
    rows = json.loads(run("size", "--width", 0.1, "--raters-per-pair", 1, "--json"))
    assert rows[0]["n_pairs"] == 385
    assert "raters a pair" in run("size", "--width", 0.2)
