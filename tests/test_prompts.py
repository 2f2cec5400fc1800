"""Pairs, their splits, the instructions, and the prompts these make."""

import json
import re
from collections import Counter
from dataclasses import replace

import pytest

from creativity_lens.directions.shipped import load_directions
from creativity_lens.errors import DataError, InputError
from creativity_lens.prompts.data import data_path
from creativity_lens.prompts.instructions import check_sides, load_instructions
from creativity_lens.prompts.pairs import (
    ContrastPair,
    load_contrast,
    premise_id,
    premise_split,
    read_pairs,
    read_passages,
    select_split,
)
from tests.fakes import unchecked

CONDITIONS = ("creative", "uncreative")
ROW = {
    "id": "p1",
    "domain": "stories",
    "premise": "A cat sits on a mat.",
    "creative": "Imagine the cat.",
    "uncreative": "Describe the cat.",
    "source": "me",
}
PAIR = ContrastPair(**ROW)


def pairs_file(write, *rows):
    return write("pairs.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def instructions():
    return load_instructions()


# --- pairs files -----------------------------------------------------------------------------


def test_a_pairs_file_is_read_in_order_and_further_fields_are_ignored(write):
    second = {**ROW, "id": "p2", "note": "not ours"}
    assert read_pairs(pairs_file(write, ROW, second)) == [PAIR, replace(PAIR, id="p2")]


def test_a_pair_is_written_as_it_was_read(write):
    assert read_pairs(pairs_file(write, ROW))[0].to_dict() == ROW


@pytest.mark.parametrize("field", ROW)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row, field: row.pop(field), "is missing"),
        (lambda row, field: row.update({field: "  "}), "not blank"),
        (lambda row, field: row.update({field: 3}), "must be a string"),
    ],
)
def test_a_field_that_is_missing_or_blank_is_named_with_its_line(write, field, change, message):
    bad = {**ROW, "id": "p2"}
    change(bad, field)
    with pytest.raises(DataError, match=rf"line 2: the field '{field}' .*{message}"):
        read_pairs(pairs_file(write, ROW, bad))


def test_an_id_used_twice_names_both_lines(write):
    with pytest.raises(DataError, match="line 3: the id 'p1' was used in line 1"):
        read_pairs(pairs_file(write, ROW, {**ROW, "id": "p2"}, ROW))


@pytest.mark.parametrize(("text", "message"), [("", "is empty"), ("{oops", "line 1: not valid")])
def test_an_empty_or_malformed_pairs_file_is_a_data_error(write, text, message):
    with pytest.raises(DataError, match=message):
        read_pairs(write("pairs.jsonl", text))


# --- splits ----------------------------------------------------------------------------------

# First 12 hex digits of `printf 'a boy finds a key.' | sha256sum`, and so on; the first six over
# 16^6 give the position: 0xb30058 = 0.6992 < 0.70, 0xcf8d6f = 0.8108, 0xf6586f = 0.9623 > 0.85.
PINNED = [
    ("A boy finds a key.", "b30058a2ebaf", "train"),
    ("A cat sits on a mat.", "cf8d6f7754a2", "dev"),
    ("A baker wakes before dawn.", "f6586fd5555e", "test"),
]


@pytest.mark.parametrize(("premise", "digest", "split"), PINNED)
def test_the_split_of_a_premise_is_fixed_for_ever(premise, digest, split):
    pair = replace(PAIR, premise=premise)
    assert (pair.premise_id, pair.split) == (digest, split)


@pytest.mark.parametrize(("premise", "digest", "split"), PINNED)
@pytest.mark.parametrize(
    "variant",
    [str.upper, lambda p: f"  {p}\n", lambda p: p.replace(" ", " \t\n "), lambda p: p.title()],
)
def test_the_split_ignores_case_and_spacing(premise, digest, split, variant):
    assert premise_id(variant(premise)) == digest
    assert premise_split(variant(premise)) == split


def test_the_split_depends_on_the_premise_alone():
    others = {"id": "x", "domain": "code", "creative": "x", "uncreative": "y", "source": "z"}
    assert replace(PAIR, **others).premise_id == PAIR.premise_id
    assert replace(PAIR, premise="A cat sits on the mat.").premise_id != PAIR.premise_id


def test_splits_hold_70_15_and_15_per_cent():
    counts = Counter(premise_split(f"premise number {i}") for i in range(4000))
    # A binomial share of 4000 has a standard deviation of 0.7 points at most; four of them.
    for split, share in {"train": 0.70, "dev": 0.15, "test": 0.15}.items():
        assert abs(counts[split] / 4000 - share) < 0.029


def test_select_split_keeps_one_split_or_all():
    pairs = [replace(PAIR, id=p, premise=p) for p, _, _ in PINNED]
    assert [p.id for p in select_split(pairs, "dev")] == [PINNED[1][0]]
    assert select_split(pairs, None) == pairs


def test_rows_of_one_group_share_a_split_whatever_their_premise(write):
    rows = [
        {**ROW, "id": "p1", "group": "A boy finds a key."},
        {**ROW, "id": "p2", "group": "a BOY finds  a key.", "premise": "A boy finds two keys."},
        {**ROW, "id": "p3", "group": None},
    ]
    first, second, free = read_pairs(pairs_file(write, *rows))
    assert (first.premise_id, first.split) == PINNED[0][1:]
    assert (second.premise_id, second.split) == PINNED[0][1:]
    assert (free.premise_id, free.split) == PINNED[1][1:]
    assert first.to_dict() == rows[0]
    assert "group" not in free.to_dict()


@pytest.mark.parametrize("group", ["", "  ", 3, ["a"]])
def test_a_group_is_a_name_or_left_out(write, group):
    with pytest.raises(DataError, match="line 2: the field 'group' must be left out or a string"):
        read_pairs(pairs_file(write, ROW, {**ROW, "id": "p2", "group": group}))


def test_passages_are_read_like_pairs(write):
    row = {key: ROW[key] for key in ("id", "domain", "premise", "source")}
    row |= {"high": "One.", "low": "Two."}
    (passage,) = read_passages(pairs_file(write, row))
    assert passage.to_dict() == row
    assert (passage.premise_id, passage.split) == PINNED[1][1:]
    with pytest.raises(DataError, match="line 2: the id 'p1' was used in line 1"):
        read_passages(pairs_file(write, row, row))
    with pytest.raises(DataError, match="line 1: the field 'high' is missing"):
        read_passages(pairs_file(write, ROW))


# --- what is shipped -------------------------------------------------------------------------


def test_the_shipped_stories_fill_every_split_and_share_no_premise_between_splits():
    splits = {split: load_contrast("stories", split=split) for split in ("train", "dev", "test")}
    everything = load_contrast("stories")
    assert len(everything) >= 60
    assert sum(map(len, splits.values())) == len(everything)
    assert all(len(pairs) >= 5 for pairs in splits.values())
    premises = [{pair.premise_id for pair in pairs} for pairs in splits.values()]
    assert not premises[0] & premises[1] | premises[1] & premises[2] | premises[0] & premises[2]


def test_each_shipped_pair_has_two_different_prompts():
    for pair in load_contrast("stories"):
        assert len({pair.premise, pair.creative, pair.uncreative}) == 3, pair.id


def test_an_unknown_contrast_names_those_that_there_are():
    with pytest.raises(InputError, match=r"'prompts/nonsense\.jsonl'; there are: .*stories"):
        load_contrast("nonsense")
    with unchecked(), pytest.raises(InputError, match="split 'validation'; choose one of train"):
        load_contrast("stories", split="validation")


def test_data_path_finds_shipped_files_only():
    assert data_path("instructions.toml").is_file()
    with pytest.raises(InputError, match="there are: directions, prompts, ratings"):
        data_path("nowhere", "x.jsonl")
    with pytest.raises(InputError, match=r"there are: code, dialogue, poetry, stories\."):
        data_path("prompts", "x.jsonl")
    with pytest.raises(InputError, match=r"there are: smollm2-135m-instruct\."):
        load_directions("smollm3")


# --- instruction contrast --------------------------------------------------------------------


def both_sides(instructions, pair, *, contrast="instruction", seed=0, sample=0):
    return [
        instructions.prompt(pair, condition, contrast=contrast, seed=seed, sample=sample)
        for condition in CONDITIONS
    ]


def test_both_sides_of_a_pair_get_the_same_paraphrase_and_the_same_request(instructions):
    drawn = set()
    for i in range(100):
        creative, uncreative = both_sides(instructions, replace(PAIR, id=f"p{i}"))
        side, index = creative.paraphrase_id.split("-")
        assert side == "creative"
        assert uncreative.paraphrase_id == f"uncreative-{index}"
        assert creative.system == instructions.creative[int(index)]
        assert uncreative.system == instructions.uncreative[int(index)]
        assert creative.user == uncreative.user
        assert creative.user == "Write a short story about this: A cat sits on a mat."
        drawn.add(int(index))
    assert drawn == set(range(len(instructions.creative)))


def test_the_paraphrase_depends_on_seed_id_and_sample_alone(instructions):
    def drawn(pair=PAIR, **where):
        return both_sides(instructions, pair, **where)[0].paraphrase_id

    same = replace(PAIR, premise="Something else.", creative="x", uncreative="y", domain="poetry")
    assert drawn(same) == drawn()
    many = range(64)  # all equal by chance: 8^-63
    assert len({drawn(seed=i) for i in many}) > 1
    assert len({drawn(sample=i) for i in many}) > 1
    assert len({drawn(replace(PAIR, id=str(i))) for i in many}) > 1


@pytest.mark.parametrize("premise", ["A set {a, b} and {}.", "{premise}", "{0} {", "100 % \\1"])
def test_a_premise_with_braces_is_put_in_as_it_is(instructions, premise):
    pair = replace(PAIR, premise=premise)
    for prompt in (*both_sides(instructions, pair), instructions.neutral_prompt(pair)):
        assert prompt.user == f"Write a short story about this: {premise}"


def test_a_domain_without_a_task_gets_the_default_one(instructions):
    task = instructions.tasks["default"]
    recipe = replace(PAIR, domain="recipes")
    assert instructions.neutral_prompt(recipe).user == task["request"].replace(
        "{premise}", PAIR.premise
    )
    assert instructions.generic_prompt("recipes").user == task["generic"]


# --- premise contrast and neutral prompts ----------------------------------------------------


def test_the_premise_contrast_sends_the_two_prompts_verbatim(instructions):
    pair = replace(PAIR, creative=" Imagine {it}.\n", uncreative="Describe {it}. ")
    creative, uncreative = both_sides(instructions, pair, contrast="premise", seed=5, sample=2)
    assert (creative.user, uncreative.user) == (pair.creative, pair.uncreative)
    assert creative.system == uncreative.system == instructions.neutral[0]
    assert creative.paraphrase_id == uncreative.paraphrase_id == "neutral-0"


def test_the_premise_contrast_needs_two_different_prompts():
    same = replace(PAIR, id="same", uncreative=PAIR.creative)
    assert not same.premise_only
    assert replace(PAIR, creative=PAIR.premise, uncreative=PAIR.premise).premise_only
    check_sides([PAIR, same], "instruction")
    check_sides([PAIR], "premise")
    with pytest.raises(InputError, match="1 of 2 pairs, such as 'same', have one prompt on both"):
        check_sides([PAIR, same], "premise")


def test_the_neutral_prompt_keeps_the_request_and_drops_the_instruction(instructions):
    neutral = instructions.neutral_prompt(PAIR)
    assert neutral.user == both_sides(instructions, PAIR)[0].user
    assert neutral.system == instructions.neutral[0]


def test_a_generic_prompt_takes_the_users_words_if_there_are_any(instructions):
    assert instructions.generic_prompt("stories").user == "Write a short story."
    assert instructions.generic_prompt(user="Sing.").user == "Sing."


# --- instructions files ----------------------------------------------------------------------


def test_the_shipped_instructions_are_parallel_and_distinct(instructions):
    assert len(instructions.creative) == len(instructions.uncreative) >= 4
    for kind in ("creative", "uncreative", "neutral"):
        sentences = getattr(instructions, kind)
        assert len(set(sentences)) == len(sentences)
    assert not set(instructions.creative) & set(instructions.uncreative)
    for sentence in instructions.neutral:
        assert not re.search("creativ|imagin|origin|boring|plain", sentence, re.IGNORECASE)


VALID = """
creative = ["Be bold."]
uncreative = ["Be dull."]
neutral = ["Answer."]
[tasks.default]
request = "Write about {premise}"
generic = "Write."
"""


def test_an_instructions_file_of_ones_own_is_read(write):
    own = load_instructions(write("own.toml", VALID))
    assert both_sides(own, PAIR)[0][:2] == ("Be bold.", f"Write about {PAIR.premise}")
    assert own.to_dict() == {
        "creative": ["Be bold."],
        "uncreative": ["Be dull."],
        "neutral": ["Answer."],
        "tasks": {"default": {"request": "Write about {premise}", "generic": "Write."}},
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('["Be bold."]', "[", "not valid TOML"),
        ('["Be bold."]', "[]", "'creative' must be a list of sentences that is not empty"),
        ('["Answer."]', '["  "]', "'neutral' must be a list of sentences"),
        ('["Answer."]', '"Answer."', "'neutral' must be a list of sentences"),
        ('["Be dull."]', '["Be dull.", "Be slow."]', "have 1 and 2 sentences"),
        ("tasks.default", "tasks.stories", r"\[tasks.default\] is missing"),
        ("{premise}", "it", r"\[tasks.default\] needs a `request` with {premise}"),
        ('generic = "Write."', "", r"\[tasks.default\] needs .* a `generic`"),
    ],
)
def test_a_bad_instructions_file_says_what_is_wrong(write, old, new, message):
    path = write("own.toml", VALID.replace(old, new))
    with pytest.raises(DataError, match=message) as caught:
        load_instructions(path)
    assert str(path) in str(caught.value)


def test_other_braces_in_a_request_are_left_alone(write):
    own = load_instructions(write("own.toml", VALID.replace("about {", "{code} about {")))
    assert both_sides(own, PAIR)[0].user == f"Write {{code}} about {PAIR.premise}"


def test_a_missing_instructions_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*none\.toml"):
        load_instructions(tmp_path / "none.toml")
