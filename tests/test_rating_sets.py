"""Readers of public sets, on small files of our own in their formats."""

import csv
import json

import numpy as np
import pytest
import typer
from scipy.stats import kendalltau
from typer.testing import CliRunner

from creativity_lens.cli.ratings import ratings as command
from creativity_lens.errors import CreativityLensError, DataError, InputError
from creativity_lens.evaluation.rating_files import slug
from creativity_lens.evaluation.rating_sets import RATING_SETS, read_rating_set
from creativity_lens.evaluation.ratings import read_ratings

CODES = ("RE", "CH", "EM", "SU", "EG", "CX")
PROMPTS = ("A door hums.", "The tide is late.")
STORIES = ("It hummed <i>back</i>\x07.", 'The sea said, "soon".')


def write_csv(path, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def hanna_row(system, first, *, length, bleu="[0.5, NaN]"):
    """A row of two prompts: rater k gives `first` + k - 1 on the first, always 1 on the second."""
    ratings = {
        f"Human {k} {code}": [first + k - 1 if code == "SU" else 2, 1]
        for k in (1, 2, 3)
        for code in CODES
    }
    means = {"Surprise": [first + 1, 1], "Human Avg 1 SU": [first + 1.5, 1]}
    lists = {**means, "BLEU Ξ§": bleu, "Text length ¤§": length, **ratings, "ChatGPT SU 1": [3, 4]}
    cells = {name: value if isinstance(value, str) else str(value) for name, value in lists.items()}
    return {"Model": system, **cells}


@pytest.fixture
def hanna(tmp_path):
    def _hanna(*rows, stories=True):
        rows = rows or (
            hanna_row("Human", 3, length=[10, 20]),
            hanna_row("GPT-2 (tag)", 1, length=[5, 6]),
        )
        path = tmp_path / "hanna_metric_scores_llm.csv"
        write_csv(path, [list(rows[0]), *(list(row.values()) for row in rows)])
        if stories:
            table = [
                (i, prompt, story, "a model's story", system)
                for system in ("A", "B")
                for i, (prompt, story) in enumerate(zip(PROMPTS, STORIES, strict=True))
            ]
            header = ("", "Prompt", "Human", "Story", "Model")
            write_csv(tmp_path / "hanna_llm_stories.csv", [header, *table])
        return path

    return _hanna


def test_hanna_rows_become_texts_by_system_and_prompt(hanna):
    ratings, _ = read_rating_set("hanna", hanna())
    texts = ratings.texts
    assert list(texts.index) == [
        "hanna-0-human",
        "hanna-1-human",
        "hanna-0-gpt_2_tag",
        "hanna-1-gpt_2_tag",
    ]
    assert list(texts["prompt_id"]) == ["hanna-0", "hanna-1"] * 2
    assert list(texts["prompt"]) == [*PROMPTS, *PROMPTS]
    assert list(texts["text"]) == [*STORIES, "", ""]
    assert list(texts["author_type"]) == ["human", "human", "model", "model"]
    assert list(texts["system"]) == ["Human", "Human", "GPT-2 (tag)", "GPT-2 (tag)"]
    assert ratings.dimensions == (
        "relevance",
        "coherence",
        "empathy",
        "surprise",
        "engagement",
        "complexity",
    )


def test_hanna_raters_are_list_positions(hanna):
    ratings, _ = read_rating_set("hanna", hanna().parent)
    assert set(ratings.frame["rater_id"]) == {""}
    values, names = ratings.by_rater("surprise", "all")
    assert names == ("#1", "#2", "#3")
    np.testing.assert_array_equal(values, [[3, 1, 1, 1], [4, 1, 2, 1], [5, 1, 3, 1]])
    np.testing.assert_array_equal(ratings.means("surprise", "all"), [4, 1, 2, 1])
    np.testing.assert_array_equal(ratings.means("empathy", "all"), [2, 1, 2, 1])


def test_hanna_scores_are_the_metrics_and_judges_but_no_rating_by_people(hanna):
    ratings, scores = read_rating_set("hanna", hanna())
    assert list(scores.columns) == ["bleu", "text_length", "chatgpt_su_1"]
    assert scores.index.name == "text_id"
    assert list(scores.index) == list(ratings.texts.index)
    np.testing.assert_array_equal(scores["text_length"], [10, 20, 5, 6])
    np.testing.assert_array_equal(scores["bleu"], [0.5, np.nan, 0.5, np.nan])


def test_hanna_length_and_ratings_are_aligned_within_prompts(hanna):
    # Prompt 1 of three systems: lengths 10, 5, 7, mean surprise 4, 2, 3: the same order, tau 1.
    rows = [
        hanna_row(name, first, length=[length, 1])
        for name, first, length in (("Human", 3, 10), ("A", 1, 5), ("B", 2, 7))
    ]
    ratings, scores = read_rating_set("hanna", hanna(*rows))
    chosen = ratings.texts["prompt_id"].to_numpy() == "hanna-0"
    tau = kendalltau(
        scores["text_length"].to_numpy()[chosen], ratings.means("surprise", "all")[chosen]
    )
    assert tau.statistic == pytest.approx(1)


def test_hanna_without_its_stories_has_no_texts_and_says_so(hanna):
    ratings, _ = read_rating_set("hanna", hanna(stories=False))
    assert set(ratings.texts["text"]) == set(ratings.texts["prompt"]) == {""}
    assert ratings.notes[0] == (
        "hanna_llm_stories.csv is not beside hanna_metric_scores_llm.csv: no texts."
    )


def test_hanna_is_found_by_either_file_or_the_folder(hanna):
    path = hanna()
    found = [
        read_rating_set("hanna", given)[0].frame
        for given in (path, path.parent, path.parent / "hanna_llm_stories.csv")
    ]
    assert found[0].equals(found[1])
    assert found[0].equals(found[2])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (hanna_row("A", 1, length=[1, 2, 3]), "3 values, but the first row has 2"),
        (hanna_row("A", 1, length="no list"), "'Text length ¤§': expected a list of numbers"),
        (hanna_row("A", 1, length="[" * 100_000), "expected a list of numbers"),
        (hanna_row("A", 1, length=f"[1{'0' * 400}, 1]"), "value 1 must be a number"),
        (hanna_row("A", 1, length="[true, 1]"), "value 1 must be a number, got True"),
        (hanna_row("A", 4, length=[1, 2]), r"'Human 3 SU', prompt 1: the rating 6 is off"),
        (hanna_row("Human", 1, length=[1, 2]), "the system 'Human' has two rows"),
    ],
)
def test_hanna_tables_that_are_broken_are_refused_by_cell(hanna, row, message):
    with pytest.raises(DataError, match=message):
        read_rating_set("hanna", hanna(hanna_row("Human", 1, length=[1, 2]), row))


def test_hanna_needs_its_raters_and_scores_that_can_be_told_apart(hanna):
    row = hanna_row("Human", 1, length=[1, 2])
    without = {name: cell for name, cell in row.items() if name != "Human 3 CX"}
    with pytest.raises(DataError, match="no column 'Human 3 CX'"):
        read_rating_set("hanna", hanna(without))
    with pytest.raises(DataError, match="'BLEU Ξ§' and 'bleu' clash"):
        read_rating_set("hanna", hanna({**row, "bleu": "[1, 2]"}))


def test_hanna_stories_in_another_order_are_not_joined(hanna):
    path = hanna()
    header = ("Prompt", "Human", "Model")
    a, b = zip(PROMPTS, STORIES, strict=True)
    stories = path.parent / "hanna_llm_stories.csv"
    write_csv(stories, [header, (*a, "A"), (*b, "A"), (*b, "B"), (*a, "B")])
    with pytest.raises(DataError, match="in one order"):
        read_rating_set("hanna", path)
    write_csv(stories, [header, (*a, "A")])
    with pytest.raises(DataError, match="holds 1 stories, but 2 are rated"):
        read_rating_set("hanna", path)


def story(name, content="Once.", plot="A plot."):
    number = name.partition("_")[0]
    return {"story_idx": int(number), "story_id": name, "plot": plot, "content": content}


def answer(name, expert, test, verdict):
    return {
        "story_id": name,
        "expert_idx": expert,
        "category": test,
        "binary_verdict": verdict,
        "explanation": "why",
    }


TESTS = ("Narrative Ending", "Scene vs Summary")
ANSWERS = [
    answer(name, expert, test, "Yes" if passed > i else "No")
    for name, expert, passed in [
        ("0_NewYorker", 3, 2),
        ("0_Claude", 3, 1),
        ("0_NewYorker", 9, 1),
        ("0_Claude", 9, 0),
    ]
    for i, test in enumerate(TESTS)
]


@pytest.fixture
def ttcw(tmp_path):
    def _ttcw(answers=ANSWERS, stories=None, *, whole=False):
        stories = stories or [story("0_NewYorker", "https://example.org/a"), story("0_Claude")]
        root = tmp_path / "Art_or_Artifice" if whole else tmp_path
        homes = [root / "annotations", root / "stories"] if whole else [root, root]
        for home, name, value in zip(
            homes, ("ttcw_annotations", "ttcw_short_stories"), (answers, stories), strict=True
        ):
            home.mkdir(parents=True, exist_ok=True)
            (home / f"{name}.json").write_text(json.dumps(value))
        return tmp_path

    return _ttcw


def test_ttcw_has_each_test_and_the_number_passed_by_expert(ttcw):
    ratings, scores = read_rating_set("ttcw", ttcw())
    assert scores is None
    assert ratings.groups == ("expert",)
    assert ratings.dimensions == ("narrative_ending", "scene_vs_summary", "total")
    assert ratings.raters_persist("total", "expert")
    values, names = ratings.by_rater("total", "expert")
    assert names == ("3", "9")
    np.testing.assert_array_equal(values, [[2, 1], [1, 0]])
    np.testing.assert_array_equal(ratings.means("narrative_ending", "expert"), [1, 0.5])


def test_ttcw_texts_know_their_plot_and_author_and_links_are_blank(ttcw):
    texts = read_rating_set("ttcw", ttcw())[0].texts
    assert list(texts.index) == ["0_NewYorker", "0_Claude"]
    assert list(texts["text"]) == ["", "Once."]
    assert list(texts["author_type"]) == ["human", "model"]
    assert list(texts["system"]) == ["NewYorker", "Claude"]
    assert set(texts["prompt_id"]) == {"ttcw-0"}
    assert set(texts["prompt"]) == {"A plot."}


def test_ttcw_keeps_hostile_text_as_it_is(ttcw):
    hostile = "<script>\x1b[2J\ud800"
    folder = ttcw(stories=[story("0_NewYorker", hostile, hostile), story("0_Claude")])
    texts = read_rating_set("ttcw", folder)[0].texts
    assert list(texts.iloc[0][["prompt", "text"]]) == [hostile, hostile]


def test_a_ttcw_story_that_begins_with_a_link_is_a_text(ttcw):
    text = "https://example.org was all it said."
    folder = ttcw(stories=[story("0_NewYorker", text), story("0_Claude")])
    assert read_rating_set("ttcw", folder)[0].texts["text"].iloc[0] == text


def test_ttcw_is_found_in_its_repository(ttcw):
    home = ttcw(whole=True)
    inner = home / "Art_or_Artifice"
    for given in (home, inner, inner / "annotations" / "ttcw_annotations.json"):
        assert len(read_rating_set("ttcw", given)[0].texts) == 2


def test_a_ttcw_expert_who_left_a_test_out_has_no_total(ttcw):
    ratings, _ = read_rating_set("ttcw", ttcw(ANSWERS[:-1]))
    np.testing.assert_array_equal(
        ratings.by_rater("total", "expert").values.ravel(), [2, 1, 1, np.nan]
    )
    assert ratings.notes[0] == "1 readings left out a test and have no total."


@pytest.mark.parametrize(
    ("answers", "stories", "message"),
    [
        ([answer("1_Claude", 1, "Ending", "Yes")], None, "annotation 1: .*no story '1_Claude'"),
        ([answer("0_Claude", 1, "Ending", "Maybe")], None, "Yes or No, got 'Maybe'"),
        ([*ANSWERS, ANSWERS[0]], None, "annotation 9: expert '3' answered narrative_ending before"),
        (
            [{"story_id": "0_Claude"}],
            None,
            "expert_idx must be a string or a whole number, got None",
        ),
        (["\ud800"], None, "story_id must be"),
        ({}, None, "expected a list of objects"),
        (
            ANSWERS,
            [story("0_Claude"), story("0_Claude")],
            "story 2: the story_id '0_Claude' was us",
        ),
    ],
)
def test_ttcw_files_that_are_broken_are_refused(ttcw, answers, stories, message):
    with pytest.raises(DataError, match=message) as caught:
        read_rating_set("ttcw", ttcw(answers, stories))
    str(caught.value).encode()


def wp_story(prompt, ratings, *, human=1, text="So.", **changed):
    given = {name: [3, 3, 3] for name in ("cohesive", "grammar", "relevant")}
    return {"prompt": prompt, "story": text, "human_written": human, "enjoy": ratings} | (
        given | changed
    )


@pytest.fixture
def wp(write):
    def _wp(*stories):
        return write("wp_a.json", json.dumps({str(i): one for i, one in enumerate(stories)}))

    return _wp


def test_writingprompts_stories_share_a_prompt_by_its_words(wp):
    path = wp(
        wp_story("P", [1, 2, 5], text="\ud800 <script>"),
        wp_story("Q", [4, 4, 4]),
        wp_story("P", [2, 2, 2], human=0),
    )
    ratings, scores = read_rating_set("writingprompts", path)
    assert scores is None
    texts = ratings.texts
    assert list(texts.index) == [f"writingprompts-{i}" for i in range(3)]
    assert list(texts["prompt_id"]) == ["prompt-0", "prompt-1", "prompt-0"]
    assert list(texts["author_type"]) == ["human", "human", "model"]
    assert texts["text"].iloc[0] == "\ud800 <script>"
    assert ratings.dimensions == ("cohesive", "enjoy", "grammar", "relevant")
    values = ratings.by_rater("enjoy", "all").values
    np.testing.assert_array_equal(values, [[1, 4, 2], [2, 4, 2], [5, 4, 2]])


@pytest.mark.parametrize(
    ("story", "message"),
    [
        (wp_story("P", [1, 6, 1]), r"story '0', enjoy: the rating 6 is off the scale"),
        (wp_story("P", [1, True, 1]), "rating must be a number, got True"),
        (wp_story("P", [1, None, 1]), "rating must be a number, got None"),
        (wp_story("P", []), r"enjoy must be a list of ratings, got \[\]"),
        (wp_story(None, [1]), "prompt must be a string, got None"),
        (wp_story("P", [1], human="yes"), "human_written must be 0 or 1, got 'yes'"),
        ([], "expected an object"),
    ],
)
def test_writingprompts_files_that_are_broken_are_refused(wp, story, message):
    with pytest.raises(DataError, match=message):
        read_rating_set("writingprompts", wp(story))


AUT_HEADER = ("", "id", "prompt", "target", "predicted", "question", "response")
AUT_ROWS = [
    (0, "a-1", "brick", 2.5, 1.02, "A use for a BRICK?", " a \x1b[1mdoorstop "),
    (1, "a-2", "brick", 4.0, "", "A use for a BRICK?", "a moon, for ants"),
    (2, "a-3", "box", 1.0, 0.5, "A use for a BOX?", "to put\r\nthings in"),
]


def test_aut_responses_are_texts_and_objects_are_prompts(tmp_path):
    path = write_csv(tmp_path / "gt_main2_SemDis_MEAN.csv", [AUT_HEADER, *AUT_ROWS])
    for given in (path, tmp_path):
        ratings, scores = read_rating_set("aut", given)
        assert ratings.dimensions == ("originality",)
        assert ratings.groups == ("all",)
        np.testing.assert_array_equal(ratings.means("originality", "all"), [2.5, 4, 1])
        assert list(ratings.texts.index) == list(scores.index) == ["a-1", "a-2", "a-3"]
        assert list(ratings.texts["prompt_id"]) == ["brick", "brick", "box"]
        assert list(ratings.texts["text"]) == [row[-1] for row in AUT_ROWS]  # blanks and all
        assert ratings.texts["prompt"].iloc[2] == "A use for a BOX?"
        np.testing.assert_array_equal(scores["semantic_distance"], [1.02, np.nan, 0.5])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((3, "a-1", "box", 2, 1, "q", "again"), "line 6: the id 'a-1' was used in line 2"),
        ((3, "a-4", "box", "", 1, "q", "r"), "line 6: rating must be a number, got ''"),
        ((3, "a-4", "box", 0, 1, "q", "r"), "line 6: the rating 0 is off the scale"),
        ((3, "a-4", "box", 2, "inf", "q", "r"), "line 6: predicted must be a finite number"),
    ],
)
def test_aut_rows_that_are_broken_are_refused_by_line(tmp_path, row, message):
    path = write_csv(tmp_path / "aut.csv", [AUT_HEADER, *AUT_ROWS, row])
    with pytest.raises(DataError, match=message):
        read_rating_set("aut", path)


@pytest.mark.parametrize("name", RATING_SETS)
def test_a_missing_file_tells_where_the_set_is_and_its_licence(tmp_path, name):
    found = RATING_SETS[name]
    for given in (tmp_path, tmp_path / "nowhere" / "x.csv"):
        with pytest.raises(DataError) as caught:
            read_rating_set(name, given)
        for part in (found.address, found.licence, found.files[0], str(given)):
            assert part in str(caught.value)


def test_a_path_that_does_not_exist_is_not_replaced_by_its_neighbour(hanna):
    path = hanna()
    with pytest.raises(DataError, match="there is no"):
        read_rating_set("hanna", path.with_name("hanna_typo.csv"))


def test_sets_and_dimensions_that_are_not_known_are_refused(hanna):
    with pytest.raises(InputError, match="no set of ratings 'hana'; there are: hanna, ttcw,"):
        read_rating_set("hana", hanna())
    with pytest.raises(InputError, match="did you mean 'surprise'"):
        read_rating_set("hanna", hanna(), dimensions=["suprise"])
    assert read_rating_set("hanna", hanna(), dimensions=["surprise"])[0].dimensions == ("surprise",)


def test_slugs_are_small_letters_digits_and_underscores():
    assert slug("ROUGE-SU* Recall Ξ§") == "rouge_su_recall"
    assert slug("BaryScore-SD-0.01 Ξε") == "baryscore_sd_0_01"


@pytest.fixture
def run():
    app = typer.Typer()
    app.command()(command)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_writes_ratings_and_scores(run, hanna, tmp_path):
    out, scores = tmp_path / "out" / "r.parquet", tmp_path / "out" / "s.csv"
    options = ("--format", "hanna", "--file", hanna(), "--out", out)
    shown = run(*options, "--scores-out", scores, "--dimension", "surprise", "--json")
    assert shown.exit_code == 0, shown.output
    record = json.loads(shown.stdout)
    assert (record["texts"], record["prompts"], record["ratings"]) == (4, 2, 12)
    again = read_ratings(out)
    assert again.dimensions == ("surprise",)
    rows = list(csv.reader(scores.read_text(encoding="utf-8").splitlines()))
    assert rows[0] == ["text_id", "bleu", "text_length", "chatgpt_su_1"]
    assert rows[1:3] == [
        ["hanna-0-human", "0.5", "10.0", "3.0"],
        ["hanna-1-human", "", "20.0", "4.0"],
    ]


def test_the_command_shows_notes_apart_from_results(run, hanna, tmp_path):
    shown = run("--format", "hanna", "--file", hanna(), "--out", tmp_path / "r.csv")
    assert "4 on 2 prompts" in shown.stdout
    assert "Blank texts: 2 of 4" in shown.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--out", "r.txt"), r"\.csv or \.parquet"),
        (("--out", "r.csv", "--scores-out", "s.csv"), "no scores come with the set ttcw"),
    ],
)
def test_the_command_refuses_before_it_writes(run, ttcw, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    shown = run("--format", "ttcw", "--file", ttcw(), *options)
    assert isinstance(shown.exception, CreativityLensError)
    with pytest.raises(CreativityLensError, match=message):
        raise shown.exception
    assert not {"r.txt", "r.csv", "s.csv"} & {path.name for path in tmp_path.iterdir()}
