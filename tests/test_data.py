"""Corpora: what their rules catch, what they let pass, and that the shipped ones keep them."""

import json
import random
import re
from collections import Counter
from dataclasses import replace

import pytest

from creativity_lens.errors import DataError, InputError
from creativity_lens.io import sha256_json, write_jsonl
from creativity_lens.prompts import data
from creativity_lens.prompts.checks import check_corpus, read_corpus
from creativity_lens.prompts.data import data_path, shipped_corpora
from creativity_lens.prompts.describe import describe, surface_leak
from creativity_lens.prompts.instructions import load_instructions
from creativity_lens.prompts.pairs import (
    ContrastPair,
    PassagePair,
    load_contrast,
    load_passages,
    premise_split,
    read_passages,
)
from creativity_lens.prompts.text import (
    alike,
    content_words,
    n_negations,
    windowed_type_token_ratio,
    words,
)


def gibberish(n: int, seed: object) -> str:
    """`n` words of five letters that no other seed has; two such texts share nothing."""
    draw = random.Random(str(seed))
    return " ".join("".join(draw.choices("bdfgklmnprtvz", k=5)) for _ in range(n))


def pair(i: object, **changes: object) -> ContrastPair:
    """A pair without fault: sides of one length and no common words."""
    made = ContrastPair(
        f"p{i}",
        "stories",
        gibberish(8, f"{i} premise"),
        gibberish(20, f"{i} creative"),
        gibberish(20, f"{i} uncreative"),
        "test",
    )
    return replace(made, **changes)


def passage(i: object, **changes: object) -> PassagePair:
    p = pair(i)
    made = PassagePair(p.id, "formality", p.premise, p.creative, p.uncreative, "test")
    return replace(made, **changes)


def broken(*rows: ContrastPair | PassagePair) -> Counter[tuple[str, str]]:
    """(id, rule) of every breach in one file with these rows."""
    return Counter((b.id, b.rule) for b in check_corpus({"mine.jsonl": list(rows)}).breaches)


def in_middle(shared: str, seed: object) -> str:
    """17 words, the shared ones in the middle."""
    own = gibberish(17 - len(shared.split()), seed).split()
    return " ".join([*own[:4], shared, *own[4:]])


def test_gibberish_breaks_no_rule():
    report = check_corpus({"a.jsonl": [pair(i) for i in range(6)], "b.jsonl": [passage(9)]})
    assert report.clean
    assert report.breaches == report.relatives == ()


# --- one rule at a time ----------------------------------------------------------------------


def test_an_id_names_one_row_of_all_files():
    report = check_corpus({"a.jsonl": [pair(1)], "b.jsonl": [pair(2, id="p1")]})
    (breach,) = report.breaches
    assert str(breach) == "b.jsonl: p1: ids: this id is used in a.jsonl too"


# A text of 17 words has 13 runs of five. Two that share 10 words in a row share 6 runs, so their
# Jaccard index is 6 / (13 + 13 - 6) = 0.30; with 9 words it is 5 / 21 = 0.24.
@pytest.mark.parametrize(("n_shared", "caught"), [(9, False), (10, True)])
@pytest.mark.parametrize(
    ("first", "second"),
    [("premise", "premise"), ("creative", "creative"), ("uncreative", "creative")],
)
def test_near_duplicates_are_those_that_share_three_tenths_of_their_runs_of_five_words(
    n_shared, caught, first, second
):
    shared = gibberish(n_shared, "shared")
    rows = [
        pair(1, creative=gibberish(17, "c"), uncreative=gibberish(17, "u"), group="one"),
        pair(2, creative=gibberish(17, "d"), uncreative=gibberish(17, "v"), group="one"),
    ]
    rows[0] = replace(rows[0], **{first: in_middle(shared, "x")})
    rows[1] = replace(rows[1], **{second: in_middle(shared, "y")})
    report = check_corpus({"a.jsonl": rows[:1], "b.jsonl": rows[1:]})
    assert [(b.file, b.id, b.rule) for b in report.breaches] == (
        [("b.jsonl", "p2", "near-duplicate")] if caught else []
    )


def test_the_two_sides_of_a_minimal_pair_may_be_alike():
    shared = gibberish(12, "shared")
    assert not broken(pair(1, creative=in_middle(shared, "a"), uncreative=in_middle(shared, "b")))


@pytest.mark.parametrize("field", ["premise", "creative", "uncreative"])
@pytest.mark.parametrize(("n_rows", "allowed"), [(2, 1), (99, 1), (100, 2), (150, 3)])
def test_an_opening_is_used_by_at_most_two_per_cent_of_a_file(field, n_rows, allowed):
    def corpus(n_alike: int) -> list[ContrastPair]:
        rows = [pair(i) for i in range(n_rows)]
        for i in range(n_alike):
            text = getattr(rows[i], field)
            rows[i] = replace(rows[i], **{field: f"Once upon a {text}"})
        return [replace(row, group="one") for row in rows]

    assert not broken(*corpus(allowed))
    if allowed < n_rows:
        assert broken(*corpus(allowed + 1)) == Counter({(f"p{allowed}", "opening"): 1})


def test_an_opening_counts_for_each_field_alone():
    first, second = pair(1), pair(2)
    first = replace(first, creative=f"Once upon a {first.creative}")
    second = replace(second, uncreative=f"Once upon a {second.uncreative}")
    assert not broken(first, second)


def test_sides_differ_unless_both_are_the_bare_premise():
    same = gibberish(20, "same")
    assert broken(pair(1, creative=same, uncreative=same)) == {("p1", "sides"): 1}
    bare = pair(1)
    assert not broken(replace(bare, creative=bare.premise, uncreative=bare.premise))


LONG = {  # (first side, second side): units in which they are too far apart
    ("a" * 125, "b" * 100): 0,
    ("a" * 126, "b" * 100): 1,
    ("a" * 100, "b" * 126): 1,
    ("a b c d e", "fff gg hh i"): 0,  # 5 words and 4, 9 characters and 11
    ("a b c d e f", "ggg hhh iii k"): 1,  # 6 words and 4
    ("a b c d e f", "g h i k"): 2,  # and 11 characters and 7
}


@pytest.mark.parametrize(("texts", "n"), LONG.items())
def test_sides_differ_by_at_most_a_quarter_in_characters_and_in_words(texts, n):
    creative, uncreative = texts
    expected = Counter({("p1", "length"): n} if n else {})
    assert broken(pair(1, creative=creative, uncreative=uncreative)) == expected


# Words of five letters: 25 of them are 149 characters and 20 are 119, and 149 > 1.25 * 119 = 148.75
# though 25 = 1.25 * 20.
@pytest.mark.parametrize(("high", "low", "n"), [(26, 20, 0), (25, 20, 1), (20, 26, 2)])
def test_the_wordy_side_of_verbosity_is_longer_by_more_than_a_quarter(high, low, n):
    row = passage(1, domain="verbosity", high=gibberish(high, "high"), low=gibberish(low, "low"))
    assert broken(row)[("p1", "length")] == n


def test_only_the_plain_side_is_held_to_two_negations():
    two, three = "no never", "nobody doesn't nothing"
    base = gibberish(18, "base")
    assert not broken(pair(1, creative=f"{base} {three}", uncreative=f"{base} {two}"))
    assert broken(pair(1, creative=f"{base} {two}", uncreative=f"{base} {three}")) == {
        ("p1", "negations"): 1
    }
    assert not broken(passage(1, high=f"{base} {two}", low=f"{base} {three}"))


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("I can't, and she won\u2019t.", 2),
        ("Cannot, neither, nor, without, nowhere, none.", 6),
        ("Not nothing; NO, never.", 4),
        ("A knot, a noble notary, an ant's nest, want, the word n't't.", 0),
    ],
)
def test_negations_are_whole_words(text, n):
    assert n_negations(text) == n


FLAWS = {
    "He said shit twice.": ("profanity", "'shit'"),
    "SHIT": ("profanity", "'shit'"),
    "On Einstein's birthday": ("real-person", "names Einstein"),
    "A letter to Pablo Picasso.": ("real-person", "names Pablo Picasso"),
    "cafe\u0301": ("unicode", "normal form C"),
    "zero\u200bwidth": ("unicode", "U+200B"),
    "bell\x07": ("unicode", "U+0007"),
    "\ufeffmark": ("unicode", "U+FEFF"),
    "lost \ufffd": ("unicode", "U+FFFD"),
    "line\u2028break": ("unicode", "U+2028"),
    "no\u00a0break": ("unicode", "U+00A0"),
    "tab\tstop": ("unicode", "U+0009"),
    "two  spaces": ("unicode", "double space"),
    "trailing ": ("unicode", "begins or ends"),
}


@pytest.mark.parametrize(("text", "found"), FLAWS.items())
@pytest.mark.parametrize("field", ["premise", "creative", "uncreative"])
def test_a_flaw_of_a_text_is_named_with_its_field(field, text, found):
    row = pair(1, creative=gibberish(3, "c"), uncreative=gibberish(3, "u"))
    report = check_corpus({"mine.jsonl": [replace(row, **{field: text})]})
    (breach,) = (b for b in report.breaches if b.rule != "length")
    rule, detail = found
    assert (breach.file, breach.id, breach.rule) == ("mine.jsonl", "p1", rule)
    assert breach.detail.startswith(f"{field} ")
    assert detail in breach.detail


@pytest.mark.parametrize(
    "text",
    [
        "A cocktail in Scunthorpe at cockcrow.",
        "Dijkstra's algorithm and a Caesar cipher.",
        "an einstein of the alleys",
        "Caf\u00e9, na\u00efve: 100 % \u20ac \u2013 \u2014 \u2026",
        "line one\nline two",
    ],
)
def test_clean_texts_pass(text):
    assert not broken(pair(1, premise=text))


def test_quotation_marks_are_of_one_kind_in_a_file():
    straight = [pair(i, premise=f'{gibberish(8, i)} "so"') for i in range(3)]
    curly = pair(7, premise=f"{gibberish(8, 7)} \u2018so\u2019")
    assert not broken(*straight)
    assert not broken(curly)
    assert broken(*straight, curly) == {("p7", "unicode"): 1}
    both = pair(8, premise=f"{gibberish(8, 8)} 'so' \u201cso\u201d")
    assert broken(both) == {("p8", "unicode"): 1}
    assert check_corpus({"a.jsonl": straight, "b.jsonl": [curly]}).clean


# --- relatives and groups --------------------------------------------------------------------


def sharing(n_common: int) -> tuple[str, str]:
    """Premises of five topic words each in different splits, `n_common` of them shared."""
    shared = gibberish(n_common, "common") if n_common else ""
    for i in range(100):
        first, second = (f"{gibberish(5 - n_common, (i, k))} {shared}".strip() for k in ("a", "b"))
        if premise_split(first) != premise_split(second):
            return first, second
    raise AssertionError("no two of 100 in different splits")


# Jaccard of five topic words each: 3 shared 3 / 7 = 0.43, 2 shared 2 / 8 = 0.25.
@pytest.mark.parametrize(("n_common", "caught"), [(2, False), (3, True), (4, True)])
def test_relatives_in_two_splits_are_caught(n_common, caught):
    first, second = sharing(n_common)
    rows = pair(1, premise=first), passage(2, premise=second)
    report = check_corpus({"a.jsonl": rows[:1], "b.jsonl": rows[1:]})
    assert [(b.file, b.id, b.rule) for b in report.breaches] == (
        [("b.jsonl", "p2", "relatives")] if caught else []
    )
    assert [(r.first, r.second, r.grouped) for r in report.relatives] == (
        [("p1", "p2", False)] if caught else []
    )


def test_a_common_group_keeps_relatives_together():
    first, second = sharing(4)
    rows = [pair(1, premise=first, group="dresses"), pair(2, premise=second, group="dresses")]
    assert rows[0].split == rows[1].split == premise_split("dresses")
    assert rows[0].premise_id == rows[1].premise_id != replace(rows[0], group=None).premise_id
    report = check_corpus({"a.jsonl": rows})
    assert report.clean
    assert [r.grouped for r in report.relatives] == [True]
    torn = [rows[0], replace(rows[1], group=next(g for g in "abcdefgh" if splits_apart(g)))]
    assert not check_corpus({"a.jsonl": torn}).clean


def splits_apart(group: str) -> bool:
    return premise_split(group) != premise_split("dresses")


def test_topic_words_leave_out_what_carries_no_topic():
    assert content_words("The baker's three dresses, and a PROGRAM in a file for her.") == {
        "baker",
        "dresse",  # not a word, but the same one for every text
    }
    assert content_words("His glass bus") == {"glass", "bus"}


def test_likeness_is_the_jaccard_index_and_spares_an_owners_own():
    sets = [{1, 2, 3}, {2, 3, 4}, {1, 2, 3}, {9}]
    assert list(alike(sets, at_least=0.5)) == [(0, 1, 0.5), (0, 2, 1.0), (1, 2, 0.5)]
    assert list(alike(sets, at_least=0.51)) == [(0, 2, 1.0)]
    assert list(alike(sets, at_least=0.5, owners="aabb")) == [(0, 2, 1.0), (1, 2, 0.5)]


ROW = pair(1).to_dict()


def test_a_row_without_a_group_is_written_as_before_there_were_groups():
    assert list(ROW) == ["id", "domain", "premise", "creative", "uncreative", "source"]
    assert sha256_json(pair(1).to_dict()) == sha256_json(dict(sorted(ROW.items())))
    assert pair(1, group="g").to_dict() == ROW | {"group": "g"}


def test_groups_are_read_and_written(tmp_path):
    path = tmp_path / "rows.jsonl"
    for rows in ([pair(1), pair(2, group="g")], [passage(1), passage(2, group="g")]):
        write_jsonl(path, (row.to_dict() for row in rows))
        assert read_corpus(path) == rows
    write_jsonl(path, [ROW | {"group": None}])
    assert read_corpus(path) == [pair(1)]


@pytest.mark.parametrize("group", ["", "  ", 3, ["g"]])
def test_a_group_is_a_name_or_left_out(tmp_path, group):
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [ROW, ROW | {"id": "p2", "group": group}])
    with pytest.raises(DataError, match=r"line 2: the field 'group' must be left out or a string"):
        read_corpus(path)


# --- descriptions ----------------------------------------------------------------------------


def test_the_description_counts_what_it_says():
    rows = [
        pair(1, premise="Red boats sink", creative="not a bee", uncreative="a ram"),
        pair(2, premise="Blue boats sail", creative="an ant", uncreative="no bees, no ants"),
        pair(3, premise="Old mills turn", creative="an elk", uncreative="an emu"),
    ]
    found = describe("mine", rows)
    assert (found.name, found.kind, found.rows) == ("mine", "pairs", 3)
    assert sum(found.splits.values()) == 3
    # longer, shorter, equal: (1 + 0 + 0.5) / 3
    assert found.first_longer == pytest.approx(0.5)
    assert found.length_ratio == pytest.approx((9 / 5 + 16 / 6 + 1) / 3)
    assert found.negations == pytest.approx((1 / 3, 2 / 3))
    # 15 words: not a bee a ram an ant no bees no ants an elk an emu; a, no twice, an three times
    assert found.type_token_ratio == pytest.approx(11 / 15)
    assert found.content_words == 7  # boat counts once; "old" is a function word
    # One pair of three shares "boat". Smoothed idf is ln(4 / (1 + df)) + 1: 1.2877 for boat,
    # 1.6931 for the rest, so the cosine is 1.2877^2 / (1.2877^2 + 2 * 1.6931^2) = 0.2243.
    assert found.topic_cosine == pytest.approx(0.2243 / 3, abs=1e-4)
    assert found.leak is None


def test_the_type_token_ratio_does_not_fall_with_length():
    window = [str(i % 50) for i in range(100)]
    assert windowed_type_token_ratio(window, 100) == 0.5
    assert windowed_type_token_ratio(window * 9, 100) == 0.5
    assert windowed_type_token_ratio(["a", "a", "b", "c"], 100) == 0.75


def test_the_surface_leak_finds_a_word_that_gives_the_side_away():
    planted = [pair(i, creative=pair(i).creative + " zebra") for i in range(30)]
    assert surface_leak(planted).estimate == 1.0
    # 40 words for all: each side draws from the same ones.
    pool = gibberish(40, "pool").split()

    def draw(i: int, side: str) -> str:
        return " ".join(random.Random(f"{i}{side}").choices(pool, k=20))

    rows = [pair(i, creative=draw(i, "c"), uncreative=draw(i, "u")) for i in range(200)]
    assert surface_leak(rows).estimate == pytest.approx(0.5, abs=0.1)


def test_the_surface_leak_needs_twenty_premises():
    assert surface_leak([pair(i) for i in range(19)]) is None
    assert surface_leak([pair(i, premise="one") for i in range(40)]) is None
    assert surface_leak([pair(i) for i in range(20)]) is not None
    bare = [pair(i) for i in range(40)]
    bare = [replace(p, creative=p.premise, uncreative=p.premise) for p in bare]
    assert surface_leak(bare) is None


@pytest.mark.parametrize("corpora", [{}, {"empty.jsonl": []}])
def test_nothing_to_check_is_an_input_error(corpora):
    with pytest.raises(InputError, match="nothing to check"):
        check_corpus(corpora)


# --- the command -----------------------------------------------------------------------------


@pytest.fixture
def corpus_file(tmp_path):
    def _write(name: str, *rows: ContrastPair | PassagePair):
        write_jsonl(tmp_path / name, (row.to_dict() for row in rows))
        return tmp_path / name

    return _write


def test_a_clean_corpus_exits_with_0(cli, corpus_file):
    paths = corpus_file("a.jsonl", pair(1), pair(2)), corpus_file("b.jsonl", passage(3))
    result = cli("data", "check", *paths)
    assert (result.code, result.err) == (0, "")
    assert result.out.rstrip().endswith("clean (3 rows in 2 corpora)")
    assert all(str(path) in result.out for path in paths)


def test_each_breach_is_a_line_with_file_id_and_rule_and_the_exit_code_is_1(cli, corpus_file):
    path = corpus_file("a.jsonl", pair(1, premise="shit \u200b"), pair(2))
    result = cli("data", "check", path)
    assert result.code == 1
    lines = result.out.splitlines()
    assert lines[0].startswith(f"{path}: p1: profanity: premise holds")
    assert lines[1].startswith(f"{path}: p1: unicode: ")
    assert result.out.rstrip().endswith("breaches: 2 (2 rows in 1 corpora)")


def test_json_has_the_same_report(cli, corpus_file):
    rows = [pair(1, premise="shit"), pair(2)]
    result = cli("data", "check", corpus_file("a.jsonl", *rows), "--json")
    assert result.code == 1
    (line,) = result.out.splitlines()
    found = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert (found["clean"], found["files"][0]["rows"]) == (False, 2)
    assert [b["rule"] for b in found["breaches"]] == ["profanity"]
    single = cli("data", "check", corpus_file("b.jsonl", pair(1)), "--json")
    assert json.loads(single.out, parse_constant=pytest.fail)["files"][0]["topic_cosine"] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "does not exist"),
        ("", "is empty"),
        ("{oops\n", "line 1: not valid JSON"),
        ('{"id": "a", "high": "x"}\n', "line 1: the field 'domain' is missing"),
        ('{"id": "a", "text": "x"}\n', "line 1: the field 'domain' is missing"),
    ],
)
def test_a_file_that_is_no_corpus_exits_with_2(cli, write, tmp_path, text, message):
    path = tmp_path / "none.jsonl" if text is None else write("a.jsonl", text)
    result = cli("data", "check", path)
    assert result.code == 2
    assert message in result.err
    assert result.out == ""


def test_without_a_file_all_that_is_shipped_is_checked(cli, monkeypatch, corpus_file):
    monkeypatch.setattr(data, "shipped_corpora", lambda: {"x/y": corpus_file("z.jsonl", pair(1))})
    result = cli("data", "check")
    assert result.code == 0
    assert "x/y.jsonl" in result.out


# --- what is shipped -------------------------------------------------------------------------

AT_LEAST = {"stories": 500, "poetry": 120, "dialogue": 120, "code": 120}
FACETS = ("emotional_depth", "narrative_complexity", "originality")
NUISANCES = ("concreteness", "formality", "genre", "sentiment", "verbosity", "vocabulary")
SHIPPED = {
    **AT_LEAST,
    **{f"facets/{name}": 80 for name in FACETS},
    **{f"nuisance/{name}": 60 for name in NUISANCES},
}


def test_the_shipped_corpora_keep_every_rule():
    """The same check as `creativity-lens data check`."""
    corpora = {name: read_corpus(path) for name, path in shipped_corpora().items()}
    report = check_corpus(corpora)
    assert "\n".join(map(str, report.breaches)) == ""
    assert all(found.grouped for found in report.relatives)
    for file in report.files:
        assert min(file.splits.values()) >= 4, file.name
        # Text that fills the slots of a template lies below 0.3 and above 0.05.
        assert file.type_token_ratio > 0.35, file.name
        assert file.topic_cosine < 0.02, file.name


def test_the_shipped_corpora_are_these_and_large_enough():
    corpora = shipped_corpora()
    assert set(corpora) == set(SHIPPED)
    for name, least in SHIPPED.items():
        assert len(read_corpus(corpora[name])) >= least, name
    instructions = load_instructions()
    for kind in ("creative", "uncreative", "neutral"):
        assert len(set(getattr(instructions, kind))) >= 8


def test_the_data_card_counts_the_rows():
    table = re.findall(
        r"^\| `prompts/([\w/]+)\.jsonl` \| (\d+) \|", data_path("README.md").read_text(), re.M
    )
    corpora = shipped_corpora()
    assert {name: int(n) for name, n in table} == {
        name: len(read_corpus(path)) for name, path in corpora.items()
    }


def test_a_group_is_named_after_its_first_member():
    """So nobody chooses the split that its hash falls into."""
    rows = [row for path in shipped_corpora().values() for row in read_corpus(path)]
    members: dict[str, list[str]] = {}
    for row in rows:
        if row.group is not None:
            members.setdefault(row.group, []).append(row.id)
    assert members
    assert all(group == min(ids) and len(ids) > 1 for group, ids in members.items())


@pytest.mark.parametrize("name", FACETS)
def test_facets_are_loaded_by_name(name):
    pairs = load_contrast(f"facets/{name}", split="train")
    assert pairs
    assert {p.split for p in pairs} == {"train"}
    assert all(isinstance(p, ContrastPair) for p in pairs)


@pytest.mark.parametrize("name", NUISANCES)
def test_nuisance_passages_are_loaded_by_name(name):
    rows = load_passages(name)
    assert {row.domain for row in rows} == {name}
    dev = load_passages(name, split="dev")
    assert [row.id for row in dev] == [row.id for row in rows if row.split == "dev"]


def test_an_unknown_name_is_an_input_error_that_lists_those_there_are():
    with pytest.raises(InputError, match=r"there are: concreteness, formality, .*vocabulary\."):
        load_passages("politeness")
    with pytest.raises(InputError, match=r"there are: emotional_depth, narr.*, originality\."):
        load_contrast("facets/humour")


def test_pairs_and_passages_are_not_taken_for_each_other():
    with pytest.raises(DataError, match="line 1: the field 'creative' is missing"):
        load_contrast("nuisance/genre")
    with pytest.raises(DataError, match="line 1: the field 'high' is missing"):
        read_passages(data_path("prompts", "code.jsonl"))


def test_words_keep_their_apostrophes():
    assert words("Don\u2019t 'shout', O'Neill: it's 5 o'clock\u2026") == [
        "don't", "shout", "o'neill", "it's", "5", "o'clock",
    ]  # fmt: skip


def test_passages_are_held_to_words_alone():
    """Rare or abstract words are long by nature, so characters do not count."""
    assert not broken(passage(1, high="extraordinarily extravagant considerations", low="a b c"))
    assert broken(passage(1, high="a b c d e f", low="g h i k")) == {("p1", "length"): 1}
