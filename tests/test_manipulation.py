"""The manipulation check: planted contrasts pass, planted faults are named."""

import math
from dataclasses import replace

import numpy as np
import pytest

from creativity_lens.directions.extract import ContrastRow
from creativity_lens.errors import InputError
from creativity_lens.evaluation import pairwise_judge
from creativity_lens.evaluation.manipulation import manipulation_check
from creativity_lens.models.chat import text_ids

QUICK = {"n_draws": 200}
SHARED = ("the", "old", "man", "had", "a", "house", "by", "sea", "and", "he", "was", "in", "it")
MARK = "^"  # a token of the creative texts alone, by which a planted judge knows them


def row(pair, condition, response, *, sample=0, n_tokens=10, finish="stop", premise=None):
    """A row whose prompt holds `~` wherever the instruction is."""
    return ContrastRow(
        pair_id=pair,
        condition=condition,
        sample=sample,
        premise_id=premise or f"premise-{pair}",
        domain="stories",
        split="train",
        paraphrase_id=f"{condition}-0",
        seed=0,
        finish_reason=finish,
        prompt=f"~ Be {condition} ~\n\n~ Write",
        response=response,
        prompt_ids=(1, 2),
        read_prompt_ids=(1, 2),
        response_ids=tuple(range(3, 3 + n_tokens)),
    )


def contrast(n=20, *, creative="dragon velvet", uncreative="office paper"):
    """Pairs of equal length and repetition that differ in two words and a mark."""
    generator = np.random.default_rng(0)
    rows = []
    for i in range(n):
        for side, own, mark in (("creative", creative, MARK), ("uncreative", uncreative, "")):
            words = [*generator.permutation(SHARED), *own.split()]
            # Between 10 and 14 tokens on both sides, so that lengths differ but not by side.
            rows.append(row(f"p{i}", side, " ".join(words) + mark, n_tokens=10 + i % 5))
    return rows


def fair_nll(rows):
    return np.array([2.0 + (i // 2) % 3 for i in range(len(rows))])


@pytest.fixture
def judge_by(monkeypatch, llama):
    """Let the judge prefer the text with the mark by `content`, and the first one by `position`."""
    mark, bracket = (text_ids(llama, character)[0] for character in (MARK, "]"))
    seen = []

    def _judge_by(content, position=0.0, mass=0.9):
        def fake(model, prompts, labels):
            seen.extend(prompts)
            rows = []
            for ids in prompts:
                middle = [i for i, token in enumerate(ids) if token == bracket][1]
                marks = [i for i, token in enumerate(ids) if token == mark]
                x = position + sum(content if i < middle else -content for i in marks)
                first = mass / (1 + math.exp(-x))
                rows.append([math.log(first), math.log(mass - first)])
            return np.array(rows)

        monkeypatch.setattr(pairwise_judge, "_label_log_probs", fake)
        return seen

    return _judge_by


def check(model, rows, **settings):
    settings = {"nll": fair_nll(rows), **QUICK, **settings}
    return manipulation_check(model, rows, **settings)


# --- warnings --------------------------------------------------------------------------------


def test_a_clean_contrast_raises_no_warning(llama, judge_by):
    judge_by(content=2.0)
    found = check(llama, contrast())
    assert found.warnings == ()
    assert found.tfidf == (1, 1, 1)
    assert found.judge.accuracy == (1, 1, 1)
    assert (found.judge.consistency, found.judge.n_judged) == (1, 20)
    assert found.judge.position_bias == pytest.approx(0)
    assert found.judge.labels_mass == pytest.approx(0.9)
    assert (found.n_pairs, found.n_premises) == (20, 20)
    assert (found.share_identical, found.share_cut) == (0, (0, 0))
    for measure in ("length", "nll"):
        assert found[measure].difference == (0, 0, 0)
        assert found[measure].auroc.estimate == 0.5


def test_identical_sides_are_a_failed_contrast(llama, judge_by):
    judge_by(content=2.0, position=3.0)
    rows = contrast()
    for i in range(0, len(rows), 2):
        rows[i + 1] = replace(rows[i + 1], response=rows[i].response.replace(" ", "\n", 1))
    found = check(llama, rows)
    assert found.share_identical == 1
    assert found.tfidf.estimate == 0.5
    assert found.judge.accuracy == (0.5, 0.5, 0.5)
    said = "\n".join(found.warnings)
    assert "100% of the pairs have the same text on both sides" in said
    assert "the words do not differ" in said
    assert "does not tell the sides apart" in said
    assert "chooses by position" in said


@pytest.mark.parametrize(("n_same", "warned"), [(1, False), (2, True)])
def test_a_few_identical_pairs_are_let_pass(llama, n_same, warned):
    rows = contrast()  # one of 20 is 5 %
    for i in range(0, 2 * n_same, 2):
        rows[i + 1] = replace(rows[i + 1], response=rows[i].response)
    found = check(llama, rows, judge_pairs=0)
    assert any("same text" in warning for warning in found.warnings) == warned


def test_sides_of_the_same_words_have_failed(llama):
    found = check(llama, contrast(creative="office paper"), judge_pairs=0)
    # `^` is no word to TF-IDF.
    assert found.warnings == (
        f"the words do not differ (TF-IDF AUROC {found.tfidf.estimate:.2f}, "
        f"{found.tfidf.low:.2f} to {found.tfidf.high:.2f}): the contrast may have failed.",
    )


@pytest.mark.parametrize(("extra", "more"), [(5, "creative"), (-5, "uncreative")])
def test_a_difference_of_length_is_named(llama, extra, more):
    rows = contrast()
    for i in range(0, len(rows), 2):
        n = len(rows[i].response_ids)
        rows[i] = replace(rows[i], response_ids=tuple(range(n + extra)))
    found = check(llama, rows, judge_pairs=0)
    assert found["length"].difference == (extra, extra, extra)
    (warning,) = found.warnings
    assert warning.startswith("the sides differ in length")
    assert f"the {more} side has more" in warning


def test_a_difference_of_likelihood_or_repetition_is_named(llama):
    rows = contrast()
    nll = fair_nll(rows)
    nll[1::2] += 4
    loops = [
        replace(r, response="office paper " * 9) if r.condition == "uncreative" else r for r in rows
    ]
    (warning,) = check(llama, rows, nll=nll, judge_pairs=0).warnings
    assert warning.startswith("the sides differ in likelihood (AUROC 0.00")
    (warning,) = check(llama, loops, judge_pairs=0).warnings
    assert warning.startswith("the sides differ in repetition")


def test_a_difference_that_few_premises_cannot_show_is_no_warning(llama):
    """A large AUROC alone is not enough: its interval must exclude 0.5."""
    rows = contrast(6)
    nll = np.array([5.0, 2, 5, 2, 5, 2, 5, 2, 5, 2, 1, 4])
    found = check(llama, rows, nll=nll, judge_pairs=0, n_folds=3)
    assert found["nll"].auroc.estimate == pytest.approx(30 / 36)  # each 5 wins all, the 1 none
    assert not found["nll"].auroc.excludes(0.5)
    assert found.warnings == ()


def test_texts_cut_at_the_limit_are_named(llama):
    rows = [
        replace(r, finish_reason="length") if r.condition == "creative" or i < 20 else r
        for i, r in enumerate(contrast())
    ]
    found = check(llama, rows, judge_pairs=0)
    assert found.share_cut == (1, 0.5)  # half is still let pass
    (warning,) = found.warnings
    assert warning.startswith("100% of the creative texts were cut at the token limit")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"content": -2.0}, ["the judge prefers the uncreative side"]),
        ({"content": 0.0}, ["does not tell the sides apart", "chooses by position"]),
        ({"content": 2.0, "mass": 0.3}, ["does not follow the format: it puts 30%"]),
        ({"content": 2.0, "position": 5.0}, ["the same text in both orders in 0% of pairs"]),
    ],
)
def test_a_judge_that_cannot_be_trusted_is_named(llama, judge_by, settings, said):
    judge_by(**settings)
    warnings = check(llama, contrast()).warnings
    assert len(warnings) == len(said)
    assert all(part in warning for part, warning in zip(said, warnings, strict=True))


# --- numbers ---------------------------------------------------------------------------------


def test_measures_by_hand(llama):
    lengths = [(5, 4), (5, 6), (7, 5), (9, 5)]
    rows = [
        row(f"p{i}", side, "a dragon flew", n_tokens=n, premise="xxyy"[i])
        for i, pair in enumerate(lengths)
        for side, n in zip(("creative", "uncreative"), pair, strict=True)
    ]
    found = check(llama, rows, judge_pairs=0, n_folds=2)
    length = found["length"]
    assert (length.creative, length.uncreative) == (6.5, 5)
    # Differences 1 -1 | 2 4: premise means 0 and 3, so a draw of two premises is 0, 1.5 or 3.
    assert length.difference == (1.5, 0, 3)
    # Each 5 against 4 6 5 5: 1 + 0 + 1/2 + 1/2 = 2 of 4; 7 and 9 win all: 12 of 16.
    assert length.auroc.estimate == 0.75
    # Premise x alone: each 5 wins against 4 and loses against 6; premise y alone: all win.
    assert (length.auroc.low, length.auroc.high) == (0.5, 1)
    assert found["distinct_2"].creative == 1
    assert found["repetition_3"].uncreative == 0
    assert (found.n_pairs, found.n_premises) == (4, 2)


def test_texts_too_short_for_a_measure_are_left_out_in_pairs_and_counted(llama, judge_by):
    judge_by(content=2.0)
    rows = contrast()
    rows[0] = replace(rows[0], response="two words" + MARK)  # has word pairs, but no three words
    rows[3] = replace(rows[3], response=" \n")
    nll = fair_nll(rows)
    nll[5] = np.nan
    found = check(llama, rows, nll=nll)
    left_out = {measure.measure: measure.n_left_out for measure in found.measures}
    assert left_out == {
        "length": 0,
        "nll": 1,
        "distinct_2": 1,
        "repetition_3": 2,
        "compression_ratio": 0,
    }
    n_pairs = {line["measure"]: line["n_pairs"] for line in found.table()}
    assert (n_pairs["length"], n_pairs["repetition_3"]) == (20, 18)
    assert found["nll"].difference == (0, 0, 0)
    assert (found.judge.n_judged, found.judge.accuracy.estimate) == (19, 1)


def test_what_no_pair_has_is_unknown_and_said(llama):
    rows = [replace(r, response="?!") for r in contrast()]
    found = check(llama, rows, nll=np.full(len(rows), np.nan), judge_pairs=0)
    assert found["nll"].n_left_out == found["repetition_3"].n_left_out == 20
    assert math.isnan(found["nll"].auroc.estimate)
    assert math.isnan(found.tfidf.estimate)
    said = "\n".join(found.warnings)
    assert "could not be compared in likelihood" in said
    assert "the words do not differ" in said


def test_the_table_is_tidy_and_complete(llama, judge_by):
    judge_by(content=2.0)
    found = check(llama, contrast())
    table = found.table()
    columns = ["measure", "statistic", "estimate", "low", "high", "n_pairs", "reads_as"]
    assert all(list(line) == columns for line in table)
    keys = [(line["measure"], line["statistic"]) for line in table]
    assert len(set(keys)) == len(keys) == 5 * 4 + 4 + 1 + 2 + 1
    values = dict(zip(keys, table, strict=True))
    assert values["length", "auroc"]["high"] == found["length"].auroc.high
    assert values["judge", "accuracy"]["low"] == 1
    assert math.isnan(values["judge", "consistency"]["low"])
    assert len(check(llama, contrast(), judge_pairs=0).table()) == len(table) - 4


# --- blindness and order ---------------------------------------------------------------------


def test_the_judge_never_sees_the_instruction(llama, judge_by):
    seen = judge_by(content=2.0)
    rows = contrast()
    check(llama, rows)
    instruction, premise = (text_ids(llama, character)[0] for character in "~{")
    assert len(seen) == 40
    assert not any(instruction in ids or premise in ids for ids in seen)
    seen.clear()
    check(llama, rows, premises={r.pair_id: "{ a premise" for r in rows})
    assert all(premise in ids and instruction not in ids for ids in seen)


def test_the_judge_sees_no_more_of_a_text_than_asked(llama, judge_by):
    seen = judge_by(content=2.0)
    (mark,) = text_ids(llama, MARK)  # the last token of each creative text
    check(llama, contrast())
    assert all(mark in ids for ids in seen)
    seen.clear()
    check(llama, contrast(), judge_max_tokens=5)
    assert seen
    assert not any(mark in ids for ids in seen)


def test_the_model_itself_may_judge_and_is_not_asked_without_need(model, monkeypatch):
    rows, answered = contrast(6), []
    found = check(model, rows, n_folds=3, on_progress=answered.append, judge_max_tokens=8)
    assert 0 <= found.judge.accuracy.low <= found.judge.accuracy.estimate <= 1
    assert sum(answered) == 12
    monkeypatch.setattr(pairwise_judge, "read", None)
    assert check(model, rows, n_folds=3, judge_pairs=0).judge is None


def test_only_so_many_pairs_are_judged_as_asked(llama, judge_by):
    seen = judge_by(content=2.0)
    rows = contrast()
    # Four of twenty, evenly spread: 0, 6.3, 12.7 and 19. Elsewhere the mark is on the other side.
    for i in (2 * pair for pair in range(20) if pair not in (0, 6, 13, 19)):
        rows[i], rows[i + 1] = (
            replace(rows[i], response=rows[i + 1].response),
            replace(rows[i + 1], response=rows[i].response),
        )
    found = check(llama, rows, judge_pairs=4)
    assert len(seen) == 8
    assert (found.judge.n_judged, found.judge.accuracy.estimate, found.n_pairs) == (4, 1, 20)
    judged = [line["n_pairs"] for line in found.table() if line["measure"] == "judge"]
    assert judged == [4] * 4
    assert check(llama, rows, judge_pairs=None).judge.accuracy.estimate == 4 / 20
    one = check(llama, rows, judge_pairs=1)  # one premise: nothing to resample
    assert math.isnan(one.judge.accuracy.estimate)
    assert one.judge.n_judged == 0


def test_samples_of_a_pair_are_pairs_of_their_own(llama, judge_by):
    judge_by(content=2.0)
    rows = [
        replace(r, sample=k) for i in range(0, 40, 2) for k in (0, 1) for r in contrast()[i : i + 2]
    ]
    found = check(llama, rows)
    assert (found.n_pairs, found.n_premises) == (40, 20)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rows: [rows[1], rows[0], *rows[2:]],
        lambda rows: [rows[0], rows[3], rows[2], rows[1], *rows[4:]],
        lambda rows: [rows[0], replace(rows[1], sample=1), *rows[2:]],
        lambda rows: [rows[0], replace(rows[1], premise_id="other"), *rows[2:]],
        lambda rows: [*rows[::2], *rows[1::2]],
    ],
)
def test_rows_in_another_order_are_refused(llama, spoil):
    with pytest.raises(
        InputError, match="are not the creative and the uncreative side of one pair"
    ):
        check(llama, spoil(contrast()), judge_pairs=0)


@pytest.mark.parametrize(
    ("n_rows", "settings", "message"),
    [
        (0, {}, "no condition alone"),
        (7, {}, "has no partner"),
        (8, {}, "cannot make 5 folds of 4 premises"),
        (40, {"nll": np.zeros(3)}, "an NLL for each of 40 rows: 3"),
        (40, {"premises": {"p0": "a house"}}, "no premise for the pair 'p1'"),
        (40, {"judge_pairs": -1}, "judge_pairs must be at least 0"),
    ],
)
def test_bad_input_is_named(llama, n_rows, settings, message):
    with pytest.raises(InputError, match=message):
        check(llama, contrast()[:n_rows], **settings)
