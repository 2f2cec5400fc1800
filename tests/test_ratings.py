"""Tidy ratings: what is read, what is refused, and what is said about what they lack."""

import csv

import numpy as np
import pandas as pd
import pytest

from creativity_lens.errors import DataError, InputError
from creativity_lens.evaluation.rating_files import shown
from creativity_lens.evaluation.ratings import COLUMNS, ratings_from_frame, read_ratings

HOSTILE = '\x1b[31m<b>red</b>\x00\r\n, "quoted" \u202e'


def tidy(*rows: dict, **same) -> pd.DataFrame:
    """A table with the needed columns, filled in where a row leaves them out."""
    filler = {"text_id": "t1", "prompt_id": "p1", "dimension": "creativity", "rating": 3}
    return pd.DataFrame([{**filler, **same, **row} for row in rows], dtype=object)


def rated(table: dict[str, dict[str, float]], **same) -> pd.DataFrame:
    """`{text: {rater: rating}}` as rows."""
    return tidy(
        *(
            {"text_id": text, "rater_id": rater, "rating": rating}
            for text, given in table.items()
            for rater, rating in given.items()
        ),
        **same,
    )


def test_the_four_needed_columns_are_enough_and_the_rest_is_blank():
    ratings = ratings_from_frame(tidy({}, {"text_id": "t2", "rating": "4.5"}))
    assert tuple(ratings.frame.columns) == COLUMNS
    assert list(ratings.frame["rating"]) == [3.0, 4.5]
    assert ratings.frame["rating"].dtype == np.float64
    assert ratings.groups == ("all",)
    assert set(ratings.frame[["prompt", "text", "rater_id", "system"]].to_numpy().ravel()) == {""}


def test_order_is_that_of_first_appearance():
    frame = tidy(
        {"text_id": "z", "dimension": "value", "rater_group": "lay"},
        {"text_id": "a", "dimension": "surprise", "rater_group": "expert"},
        {"text_id": "z", "dimension": "surprise", "rater_group": "lay"},
    )
    ratings = ratings_from_frame(frame)
    assert list(ratings.texts.index) == ["z", "a"]
    assert ratings.dimensions == ("value", "surprise")
    assert ratings.groups == ("lay", "expert")


def test_ids_may_be_numbers_and_what_pandas_makes_of_them():
    frame = pd.DataFrame(
        {
            "text_id": [1, 2],
            "prompt_id": [7.0, 7.0],
            "rater_id": [3.0, np.nan],
            "system": [None, pd.NA],
            "dimension": ["x", "x"],
            "rating": [1, 2],
        }
    )
    ratings = ratings_from_frame(frame)
    assert list(ratings.texts.index) == ["1", "2"]
    assert list(ratings.texts["prompt_id"]) == ["7", "7"]
    assert list(ratings.frame["rater_id"]) == ["3", ""]
    assert list(ratings.frame["system"]) == ["", ""]


def test_means_are_over_raters_and_aligned_with_texts():
    frame = pd.concat(
        [
            rated({"b": {"r1": 1, "r2": 4}, "a": {"r1": 2}}),
            tidy({"text_id": "c", "dimension": "value"}),
        ]
    )
    ratings = ratings_from_frame(frame)
    assert list(ratings.texts.index) == ["b", "a", "c"]
    np.testing.assert_array_equal(ratings.means("creativity", "all"), [2.5, 2.0, np.nan])
    np.testing.assert_array_equal(ratings.means("value", "all"), [np.nan, np.nan, 3.0])


def test_groups_are_never_pooled():
    lay, expert = (
        rated({"a": {name: 1 + 4 * sign}, "b": {name: 5 - 4 * sign}}, rater_group=group)
        for name, sign, group in (("r1", 0, "lay"), ("r2", 1, "expert"))
    )
    ratings = ratings_from_frame(pd.concat([lay, expert]))
    np.testing.assert_array_equal(ratings.means("creativity", "lay"), [1, 5])
    np.testing.assert_array_equal(ratings.means("creativity", "expert"), [5, 1])


def test_a_row_is_a_rater_where_raters_persist():
    # r2 is listed first for text b: position in the list must not matter.
    frame = rated({"a": {"r1": 1, "r2": 2}, "b": {"r2": 3, "r1": 4}, "c": {"r3": 5}})
    ratings = ratings_from_frame(frame)
    assert ratings.raters_persist("creativity", "all")
    values, names = ratings.by_rater("creativity", "all")
    assert names == ("r1", "r2", "r3")
    nan = np.nan
    np.testing.assert_array_equal(values, [[1, 4, nan], [2, 3, nan], [nan, nan, 5]])


def test_a_row_is_a_position_where_raters_have_no_ids():
    frame = tidy({"rating": 1}, {"rating": 2}, {"text_id": "t2", "rating": 3}, rater_id="")
    ratings = ratings_from_frame(frame)
    assert not ratings.raters_persist("creativity", "all")
    values, names = ratings.by_rater("creativity", "all")
    assert names == ("#1", "#2")
    np.testing.assert_array_equal(values, [[1, 3], [2, np.nan]])


@pytest.mark.parametrize(
    ("table", "persist"),
    [
        ({"a": {"r1": 1, "r2": 2}, "b": {"r1": 1, "r2": 2}}, True),
        ({"a": {"r1": 1, "r2": 2}, "b": {"r3": 1, "r4": 2}}, False),  # nobody rated two
        ({"a": {"r1": 1}, "b": {"r1": 1}}, False),  # one rater only
        ({"a": {"r1": 1, "r2": 2}, "b": {"r1": 1}}, False),  # one of them rated two
        ({"a": {"r1": 1, "r2": 2}, "b": {"r1": 1, "r2": 2, "": 3}}, False),  # one has no id
    ],
)
def test_raters_persist_if_two_of_them_rated_two_texts(table, persist):
    ratings = ratings_from_frame(rated(table))
    assert ratings.raters_persist("creativity", "all") is persist


@pytest.mark.parametrize("name", ["r.csv", "r.parquet", "R.CSV"])
def test_saved_ratings_are_read_again_to_the_bit(tmp_path, name):
    frame = tidy(
        {"rating": 1 / 3, "text": HOSTILE, "prompt": " spaces \r stay "},
        {"text_id": "t2", "rating": 1e-300, "rater_id": "r1", "rater_group": "expert"},
    )
    ratings = ratings_from_frame(frame)
    ratings.save(tmp_path / name)
    again = read_ratings(tmp_path / name)
    pd.testing.assert_frame_equal(again.frame, ratings.frame, check_exact=True)
    assert again.texts["text"].iloc[0] == HOSTILE
    assert again.notes == ratings.notes


def test_half_a_surrogate_pair_may_stand_anywhere():
    odd = {"text": "a\ud800", "prompt": "\ud801", "rater_id": "\ud802", "rater_group": "\ud803"}
    ids = {"text_id": "\ud804", "prompt_id": "\ud805", "dimension": "\ud806"}
    ratings = ratings_from_frame(tidy({}, {"text_id": "b"}, **{**ids, **odd, "system": "\ud807"}))
    assert ratings.means("\ud806", "\ud803").tolist() == [3, 3]
    assert ratings.texts.loc["\ud804", "text"] == "a\ud800"
    "".join(ratings.notes).encode()  # safe to print


@pytest.mark.parametrize("name", ["r.csv", "r.parquet"])
def test_half_a_surrogate_pair_is_kept_but_cannot_be_written(tmp_path, name):
    ratings = ratings_from_frame(tidy({"text": "a\ud800b"}))
    assert ratings.texts["text"].iloc[0] == "a\ud800b"
    with pytest.raises(DataError, match=r"half of a surrogate pair") as caught:
        ratings.save(tmp_path / name)
    str(caught.value).encode()  # safe to print
    assert not list(tmp_path.iterdir())


def test_parquet_with_an_index_that_has_a_name_is_read(tmp_path):
    tidy({"rating": 3}).astype({"rating": float}).set_index("text_id").to_parquet(
        tmp_path / "r.parquet"
    )
    assert list(read_ratings(tmp_path / "r.parquet").texts.index) == ["t1"]


def test_dimensions_can_be_chosen():
    frame = tidy({"dimension": "value"}, {"dimension": "surprise", "rating": 5})
    chosen = ratings_from_frame(frame, dimensions=["surprise"])
    assert chosen.dimensions == ("surprise",)
    assert list(chosen.frame["rating"]) == [5.0]


BROKEN = [
    (tidy({}).drop(columns="prompt_id"), "column prompt_id is missing"),
    (tidy({"raiting": 3}), r"'raiting' is not known; did you mean 'rating'\?"),
    (tidy({"RATING": 3}), r"did you mean 'rating'\?"),
    (tidy({"Rating ": 3}), r"did you mean 'rating'\?"),
    (tidy({"zzz": 3}), r"'zzz' is not known\. Ratings have the columns text_id,"),
    (tidy({})[["text_id", "text_id", "prompt_id", "dimension", "rating"]], "text_id is there twic"),
    (tidy({}).iloc[:0], "holds no ratings"),
    (tidy({}, {"text_id": " "}), "row 2: text_id is blank"),
    (tidy({"dimension": None}), "row 1: dimension is blank"),
    (tidy({"text": ["a", "list"]}), r"row 1: text must be a string, got \['a', 'list'\]"),
    (tidy({"system": True}), "system must be a string, got True"),
    (
        tidy({}, {"text": "other"}, text="one"),
        "row 2: the text_id 't1' has another text than in ro",
    ),
    (tidy({}, {"prompt_id": "p2"}), "another prompt_id"),
    (tidy({"author_type": "human"}, {"author_type": "model"}), "another author_type"),
    (tidy({"system": "a"}, {"system": "b"}), "another system"),
    (
        tidy({}, {}, rater_id="r1"),
        "row 2: the rater_id 'r1' rated the text_id 't1' on 'creativity' ",
    ),
    *(
        (tidy({}, {"rating": value}), f"row 2: rating must be a {kind}number, got")
        for value, kind in [
            ("good", ""),
            ("", ""),
            (None, ""),
            (True, ""),
            ("1_0", ""),
            (1j, ""),
            (b"3", ""),
            ("nan", "finite "),
            (np.nan, "finite "),
            ("-inf", "finite "),
        ]
    ),
    (tidy({}, {"rating": "5.5"}), "row 2: the rating 5.5 is off the scale from 1 to 5"),
    (tidy({}, {"rating": 0}), "row 2: the rating 0 is off the scale"),
]


@pytest.mark.parametrize(("frame", "message"), BROKEN)
def test_broken_ratings_are_refused_by_row_and_column(frame, message):
    with pytest.raises(DataError, match=message) as caught:
        ratings_from_frame(frame, source="mine", scale=(1, 5))
    assert str(caught.value).startswith("mine")


def test_the_same_rating_twice_is_fine_where_raters_are_not_known():
    assert len(ratings_from_frame(tidy({}, {})).frame) == 2


def test_one_rater_may_rate_a_text_on_two_dimensions():
    assert len(ratings_from_frame(tidy({}, {"dimension": "value"}, rater_id="r1")).frame) == 2


def test_a_scale_includes_its_ends_and_must_be_one():
    assert len(ratings_from_frame(tidy({"rating": 1}, {"rating": 5}), scale=(1, 5)).frame) == 2
    with pytest.raises(InputError, match="from a lower to a higher"):
        ratings_from_frame(tidy({}), scale=(5, 1))


def test_unknown_names_are_met_with_the_nearest_one():
    ratings = ratings_from_frame(tidy({}))
    with pytest.raises(InputError, match=r"no dimension 'creativty'; did you mean 'creativity'"):
        ratings.means("creativty", "all")
    with pytest.raises(InputError, match=r"no rater group 'lay'.*There are: 'all'"):
        ratings.raters_persist("creativity", "lay")
    with pytest.raises(InputError, match="did you mean 'creativity'"):
        ratings_from_frame(tidy({}), dimensions=["Creativity"])


HEADER = "text_id,prompt_id,dimension,rating,text\n"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        # The text of line 2 has a line break, so the next row ends in line 4.
        (HEADER + 't1,p1,x,3,"two\nlines"\nt2,p1,x,bad,\n', "line 4: rating must be a number"),
        (HEADER + "t1,p1,x,3,a,b\n", "line 2: 6 cells, but the header has 5"),
        (HEADER + "t1,p1,x\n", "line 2: 3 cells"),
        (HEADER + 't1,p1,x,3,"open\n', "not a CSV table"),
        (HEADER, "holds no ratings"),
        ("", "is empty"),
        ("text_id,rating,rating\n", "'rating' twice"),
    ],
)
def test_a_csv_error_names_the_line(write, body, message):
    path = write("r.csv", body)
    with pytest.raises(DataError, match=message) as caught:
        read_ratings(path)
    assert str(path) in str(caught.value)


def test_a_csv_may_have_a_byte_order_mark_and_blank_lines(write):
    path = write("r.csv", "\ufeff" + HEADER + "\nt1,p1,x,3,NA\n\n")
    assert read_ratings(path).texts["text"].to_list() == ["NA"]  # a text, not a gap


@pytest.mark.parametrize("name", ["r.csv", "r.parquet"])
def test_files_that_are_none_are_refused(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(DataError, match="does not exist"):
        read_ratings(path)
    path.write_bytes(b"\xff\xfe\x00 no")
    with pytest.raises(DataError, match=r"cannot read .*r\."):
        read_ratings(path)
    with pytest.raises(InputError, match=r"\.csv or \.parquet"):
        read_ratings(tmp_path / "r.xlsx")


def test_errors_show_hostile_cells_escaped_and_short():
    bad = "\x1b]0;x\x07\ud800" + "y" * 10_000
    column = pd.Index(["text_id", "prompt_id", "dimension", "rating", bad], dtype=object)
    for frame in (
        tidy({"rating": bad}),
        pd.DataFrame([["t", "p", "x", 1, 1]], columns=column),
        tidy({"system": "a"}, {"system": "b"}, text_id=bad),
        tidy({}, {}, text_id=bad, rater_id=bad, dimension=bad),
    ):
        with pytest.raises(DataError) as caught:
            ratings_from_frame(frame)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 400
    assert shown("a" * 100).endswith("…")


def test_what_ratings_lack_is_said():
    one_each = tidy(
        {"text_id": "a", "prompt_id": "p", "text": "x"},
        {"text_id": "b", "prompt_id": "p", "text": "y"},
        {"text_id": "c", "prompt_id": "q"},
    )
    notes = ratings_from_frame(one_each, remarks=["first"]).notes
    assert notes[0] == "first"
    assert [note.split(":")[0].split(" in the")[0] for note in notes[1:]] == [
        "Blank texts",
        "Prompts that hold one text and make no pair",
        "One rating a text",
    ]
    assert "1 of 3" in notes[1]
    assert "1 of 2" in notes[2]
    (alone,) = ratings_from_frame(rated({"a": {"r1": 1, "r2": 2}}, text="x")).notes
    assert "no pair" in alone
    unnamed = ratings_from_frame(tidy({}, {}, {"text_id": "b"}, text="x")).notes
    assert [note for note in unnamed if "have no ids" in note]


def test_full_ratings_need_no_note():
    table = {"a": {"r1": 1, "r2": 2}, "b": {"r1": 1, "r2": 2}}
    assert ratings_from_frame(rated(table, text="x")).notes == ()


def test_wordings_of_a_prompt_that_differ_are_said():
    frame = rated({"a": {"r1": 1, "r2": 2}, "b": {"r1": 1, "r2": 2}}, text="x")
    frame["prompt"] = ["Write.", "Write.", "Write!", "Write!"]
    assert ratings_from_frame(frame).notes == ("Prompts with several wordings: 1 of 1.",)


def test_the_shipped_ratings_are_whole_and_say_who_rated():
    from creativity_lens.evaluation.shipped_ratings import load_ratings

    found = load_ratings()
    assert len(found.texts) == 60
    assert found.groups == ("reader", "editor")
    assert found.dimensions == ("creativity", "clarity")
    assert (found.frame.groupby(["text_id", "dimension"]).size() == 4).all()
    assert set(found.texts["author_type"]) == {"model"}
    with pytest.raises(InputError, match="openings"):
        load_ratings("no-such-set")


# --- what is easily overlooked ---------------------------------------------------------------


def test_groups_may_number_their_raters_alike():
    frame = tidy(
        {"rating": 1, "rater_group": "expert"},
        {"rating": 5, "rater_group": "lay"},
        rater_id="r1",
    )
    ratings = ratings_from_frame(frame)
    assert ratings.means("creativity", "expert").tolist() == [1.0]
    assert ratings.means("creativity", "lay").tolist() == [5.0]
    with pytest.raises(DataError, match="rated the text_id"):
        ratings_from_frame(tidy({"rater_group": "lay"}, {"rater_group": "lay"}, rater_id="r1"))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1, 2, 3, 7, 99], ["The rating 99 on 'creativity' (1 of 5) lies far off", "1 to 7"]),
        ([-9, 1, 2, 3, 7], ["The rating -9 on 'creativity' (1 of 5) lies far off", "1 to 7"]),
        ([1, 2, 3, 4, 7], []),  # as far from the next as all others are from each other
        ([1, 2, 5], []),  # of two others nothing can be told
        ([1, 1, 1, 1, 1], []),
    ],
)
def test_a_rating_far_off_all_others_is_pointed_out(values, said):
    rows = [{"text_id": f"t{i}", "rating": value} for i, value in enumerate(values)]
    notes = [note for note in ratings_from_frame(tidy(*rows)).notes if "far off" in note]
    assert len(notes) == bool(said)
    assert all(part in notes[0] for part in said)
    within = ratings_from_frame(tidy(*rows), scale=(-10, 100))  # a given scale has checked it
    assert not any("far off" in note for note in within.notes)


def test_a_text_may_be_as_long_as_a_novel(tmp_path):
    long = "word " * 60_000
    path = tmp_path / "r.csv"
    path.write_text(f"text_id,prompt_id,dimension,rating,text\nt,p,d,1,{long}\n", encoding="utf-8")
    before = csv.field_size_limit()
    assert read_ratings(path).texts.loc["t", "text"] == long
    assert csv.field_size_limit() == before  # other readers keep their own limit
