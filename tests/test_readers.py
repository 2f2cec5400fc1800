"""Premises from elsewhere: WritingPrompts as the public files have it, CSV, TSV, JSONL, the hub."""

import json
import sys

import pytest

from creativity_lens.directions.extract import ExtractionConfig, extract
from creativity_lens.errors import DataError, InputError, MissingDependencyError
from creativity_lens.generation.sampling import Sampling
from creativity_lens.prompts.checks import check_corpus
from creativity_lens.prompts.pairs import ContrastPair, read_pairs
from creativity_lens.prompts.readers import (
    clean_writing_prompt,
    load_writing_prompts,
    read_premises,
    read_writing_prompts,
)
from tests.fakes import unchecked

# Made up, with the tags and the token spacing of the public files.
RAW = {
    "[ WP ] You ca n't sleep , and it 's three o'clock .": (
        "You can't sleep, and it's three o'clock."
    ),
    "[ EU ] They 're here ; I 'd run if you 'll come , I 'm sure you 've time .": (
        "They're here; I'd run if you'll come, I'm sure you've time."
    ),
    "[ WP ] He wo n't , she does n't . DO N'T !": "He won't, she doesn't. DON'T!",
    "[ CW ] `` Who 's there ? '' asks a door ( again ) .": '"Who\'s there?" asks a door (again).',
    '[ WP ] A sign says " no fish " and means it .': 'A sign says "no fish" and means it.',
    "[ WP ] We gon na land . <newline> <newline> You can not stay": (
        "We gonna land. You cannot stay"
    ),
    "[ WP ] For $ 5 , 50 % of the moon &amp; a key : yours ...": (
        "For $5, 50% of the moon & a key: yours..."
    ),
    "[ TT ] [ WP ] The dogs ' owner": "The dogs' owner",
    "[WP] Without spaces in the tag .": "Without spaces in the tag.",
    "A prompt without a tag .": "A prompt without a tag.",
    "[ WP ] [ redacted ] is a word here": "[redacted] is a word here",
    "[ WP ] zero\u200bwidth\u00a0and  wide ": "zero width and wide",
    "[ WP ] cafe\u0301": "caf\u00e9",
    "[ IP ]": "",
}


@pytest.mark.parametrize(("line", "prompt"), RAW.items())
def test_a_line_of_the_public_files_becomes_what_its_author_wrote(line, prompt):
    assert clean_writing_prompt(line) == prompt
    assert clean_writing_prompt(line + "\n") == prompt


@pytest.mark.parametrize("prompt", [p for p in RAW.values() if p])
def test_cleaning_leaves_clean_prompts_alone(prompt):
    assert clean_writing_prompt(prompt) == prompt


def test_what_is_read_is_clean_by_the_corpus_rules(write):
    path = write("train.wp_source", "\n".join(RAW))
    report = check_corpus({"wp": read_writing_prompts(path)})
    assert not [breach for breach in report.breaches if breach.rule == "unicode"]


def bare(id: str, premise: str, *, domain: str = "stories", source: str) -> ContrastPair:
    return ContrastPair(id, domain, premise, premise, premise, source)


def wp(id: str, premise: str) -> ContrastPair:
    return bare(f"writingprompts-{id}", premise, source="WritingPrompts")


# --- WritingPrompts --------------------------------------------------------------------------


def test_prompts_are_read_once_each_and_numbered_by_line(write):
    path = write(
        "valid.wp_source", "[ WP ] One .\n[ IP ]\n[ WP ] Two .\n[ EU ] one.\n[ WP ] Three\n"
    )
    assert read_writing_prompts(path) == [
        wp("valid-1", "One."),
        wp("valid-3", "Two."),
        wp("valid-5", "Three"),
    ]


def test_a_folder_is_read_in_the_order_of_its_parts(write):
    for part in ("test", "train"):
        write(f"{part}.wp_source", f"[ WP ] From {part} .\n[ WP ] In both .\n")
    folder = write("train.wp_target", "a story\n").parent
    assert [p.id for p in read_writing_prompts(folder)] == [
        "writingprompts-train-1",
        "writingprompts-train-2",
        "writingprompts-test-1",
    ]
    assert len(read_writing_prompts(folder, limit=2)) == 2


def test_only_what_the_limit_needs_is_read(tmp_path):
    path = tmp_path / "train.wp_source"
    path.write_bytes(b"[ WP ] One .\n" + b"x" * 300_000 + b"\n\xff\xfe\n")
    assert read_writing_prompts(path, limit=1) == [wp("train-1", "One.")]
    with pytest.raises(DataError, match="UTF-8"):
        read_writing_prompts(path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "none.wp_source", r"none\.wp_source does not exist"),
        (lambda folder: folder, r"holds none of train\.wp_source, valid\.wp_source"),
        (lambda folder: touch(folder / "train.wp_source"), "holds no premise"),
    ],
)
def test_writingprompts_that_are_not_there(tmp_path, make, message):
    with pytest.raises(DataError, match=message):
        read_writing_prompts(make(tmp_path))


def touch(path):
    path.touch()
    return path


# --- tables ----------------------------------------------------------------------------------

TABLES = {
    "t.csv": 'name,prompt,n\na,"A cat, on a mat.",1\nb,"Two\nlines",2\n',
    "t.tsv": "name\tprompt\tn\na\tA cat, on a mat.\t1\nb\tTwo\\lines\t2\n",
    "t.jsonl": (
        '{"name": "a", "prompt": "A cat, on a mat.", "n": 1}\n\n{"name": "b", "prompt": "B"}\n'
    ),
}


@pytest.mark.parametrize(("name", "text"), TABLES.items())
def test_a_column_of_a_table_becomes_pairs(write, name, text):
    path = write(name, "\ufeff" + text)
    first, second = read_premises(path)
    assert first == bare("t-1", "A cat, on a mat.", source=name)
    assert second.id == "t-2"
    named = read_premises(path, id="name", domain="poetry")
    assert named[0] == bare("a", "A cat, on a mat.", domain="poetry", source=name)
    assert [p.id for p in read_premises(path, premise="name", limit=1)] == ["t-1"]


def test_a_kind_that_is_named_goes_before_the_ending(write):
    path = write("t.txt", TABLES["t.csv"])
    assert len(read_premises(path, kind="csv")) == 2
    with pytest.raises(
        InputError, match=r"cannot tell what kind .*t\.txt is: say csv, tsv or jsonl"
    ):
        read_premises(path)


def test_repeated_premises_are_read_once(write):
    path = write("t.csv", "prompt\nA cat.\na  CAT.\nA dog.\n")
    assert [(p.id, p.premise) for p in read_premises(path)] == [
        ("t-1", "A cat."),
        ("t-3", "A dog."),
    ]


@pytest.mark.parametrize(
    ("name", "text", "options", "message"),
    [
        ("t.csv", "", {}, "is empty"),
        ("t.csv", "prompt\n", {}, "holds no premise"),
        ("t.csv", TABLES["t.csv"], {"premise": "text"}, "line 2: .*'text'; .*: name, prompt, n"),
        ("t.csv", TABLES["t.csv"], {"id": "key"}, "line 2: there is no column 'key'"),
        ("t.jsonl", TABLES["t.jsonl"], {"premise": "n"}, "line 1: the column 'n' must hold a text"),
        ("t.jsonl", TABLES["t.jsonl"], {"premise": "x"}, "'x'; there are: name, prompt, n"),
        ("t.jsonl", "[1]\n", {}, "line 1: expected a JSON object"),
        ("t.csv", "prompt\nA cat.\n  \n", {}, "line 3: .* not blank"),
        (
            "t.csv",
            "id,prompt\na,A\n",
            {"premise": "prompt", "limit": 0},
            "limit must be at least 1",
        ),
        ("t.csv", "id,prompt\na,A\nb\n", {}, "line 3: .*got None"),
        ("t.csv", "id,prompt\na,A\na,B\n", {"id": "id"}, "line 3: the id 'a' was used in line 2"),
        ("t.csv", "prompt\n" + "x" * 200_000 + "\n", {}, "cannot read .* table: field larger"),
    ],
)
def test_a_table_that_cannot_be_used_says_where_and_why(write, name, text, options, message):
    with pytest.raises(InputError, match=message):
        read_premises(write(name, text), **options)


def test_a_missing_table_is_a_data_error(tmp_path):
    for name in TABLES:
        with pytest.raises(DataError, match="does not exist"):
            read_premises(tmp_path / name)


# --- the hub ---------------------------------------------------------------------------------


@pytest.fixture
def hub_folder(write):
    """What `datasets` reads as a data set, with no network."""
    rows = [{"prompt": f"[ WP ] Prompt number {i} .", "story": "…"} for i in (1, 1, 2, 3)]
    return write("train.jsonl", "".join(json.dumps(row) + "\n" for row in rows)).parent


@pytest.mark.filterwarnings("default")  # of a library that is not ours
def test_the_datasets_library_is_read_as_a_stream(hub_folder):
    pairs = load_writing_prompts(str(hub_folder), limit=2)
    assert pairs == [wp("train-1", "Prompt number 1."), wp("train-3", "Prompt number 2.")]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("options", "message"),
    [({"premise": "text"}, "row 1: there is no column 'text'"), ({"split": "dev"}, "split 'dev'")],
)
def test_a_column_or_split_that_the_data_set_does_not_have(hub_folder, options, message):
    with pytest.raises(DataError, match=message):
        load_writing_prompts(str(hub_folder), **options)


@pytest.mark.filterwarnings("default")
def test_offline_is_said_with_the_remedy():
    """The tests run with HF_HUB_OFFLINE=1."""
    with pytest.raises(DataError, match=r"cannot read the data set .*network.* local copy"):
        load_writing_prompts()


def test_without_the_datasets_library_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'creativity-lens\[data\]'"):
        load_writing_prompts()


# --- what such pairs are good for ------------------------------------------------------------

CONFIG = ExtractionConfig(sampling=Sampling(max_new_tokens=4))


def test_bare_premises_work_with_the_instruction_contrast_alone(llama, write):
    pairs = read_premises(write("t.csv", "prompt\nA cat on a mat.\nA dog in a bog.\n"))
    assert len(extract(llama, pairs, CONFIG).rows) == 4
    premise = ExtractionConfig(contrast="premise", sampling=CONFIG.sampling)
    other = ContrastPair("x", "stories", "A", "B", "C", "me")
    with pytest.raises(
        InputError, match=r"2 of 3 pairs, such as 't-1', .*`creativity-lens data neg"
    ):
        extract(llama, [other, *pairs], premise)


def test_the_command_says_so_before_it_loads_a_model(cli, write, tmp_path):
    table = write("t.csv", "prompt\nA cat on a mat.\n")
    out = tmp_path / "pairs.jsonl"
    assert cli("data", "import", "--from", "csv", "--input", table, "--out", out).code == 0
    result = cli(
        *("extract", "--pairs", out, "--out", tmp_path / "run", "--preset", "paper"),
        *("--model", "/no/such/model"),
    )
    assert result.code == 2
    assert "data negate" in result.err


# --- the command -----------------------------------------------------------------------------


def test_import_writes_pairs(cli, write, tmp_path):
    out = tmp_path / "pairs.jsonl"
    table = write("t.tsv", "k\ttext\nx\tA cat.\ny\tA dog.\nz\tAn eel.\n")
    result = cli(
        *("data", "import", "--from", "csv", "--input", table, "--out", out, "--limit", 2),
        *("--premise-column", "text", "--id-column", "k", "--domain", "poetry", "--json"),
    )
    assert json.loads(result.out) == {"out": str(out), "pairs": 2}
    assert read_pairs(out) == [
        bare("x", "A cat.", domain="poetry", source="t.tsv"),
        bare("y", "A dog.", domain="poetry", source="t.tsv"),
    ]


def test_import_reads_writingprompts_and_jsonl(cli, write, tmp_path):
    out = tmp_path / "pairs.jsonl"
    lines = write("train.wp_source", "[ WP ] One .\n")
    assert (
        cli("data", "import", "--from", "writingprompts", "--input", lines, "--out", out).code == 0
    )
    assert read_pairs(out) == [wp("train-1", "One.")]
    rows = write("rows.json", '{"prompt": "One."}\n')
    assert cli("data", "import", "--from", "jsonl", "--input", rows, "--out", out).code == 0
    assert read_pairs(out) == [bare("rows-1", "One.", source="rows.json")]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("csv",), "--from csv needs --input"),
        (("csv", "--input", "none.csv"), "none.csv does not exist"),
        (("jsonl", "--input", "none.jsonl"), "none.jsonl does not exist"),
        (("writingprompts", "--input", "none"), "none does not exist"),
        (("writingprompts",), "cannot read the data set"),
        (("writingprompts", "--id-column", "k"), "--id-column is for --from csv and jsonl"),
    ],
)
def test_import_fails_in_one_sentence_and_leaves_nothing(cli, tmp_path, arguments, message):
    out = tmp_path / "pairs.jsonl"
    result = cli("data", "import", "--out", out, "--from", *arguments)
    assert result.code == 2
    assert message in " ".join(result.err.split())
    assert not list(tmp_path.iterdir())


def test_an_unknown_source_is_refused(cli, tmp_path):
    assert cli("data", "import", "--from", "xml", "--out", tmp_path / "p").code == 2


def test_a_limit_below_one_is_an_input_error(write):
    with unchecked(), pytest.raises(InputError, match="limit must be at least 1, got -1"):
        read_writing_prompts(write("train.wp_source", "x\n"), limit=-1)
