"""The report of agreement with people says what is planted and what is missing, and is inert."""

import math
import re
from dataclasses import replace

import pytest
from pandas import concat

from creativity_lens.plots.agreement_forest import MOST_GIVEN
from creativity_lens.report.agreement import render_agreement
from creativity_lens.report.agreement_run import TABLES, left_out
from creativity_lens.report.agreement_sections import scores_section
from creativity_lens.report.agreement_tables import (
    ceilings_table,
    choice_table,
    headline_table,
    increments_table,
    notes_table,
    nulls_table,
    scores_table,
)
from tests.evaluate_fakes import KIND_OF, PRIMARY, evaluate_result
from tests.test_plots_report import HOSTILE, OWNED, Page
from tests.test_probe_report import sections

STRICT = "prompt+author"


@pytest.fixture(scope="module")
def result():
    return evaluate_result(n_prompts=8)


@pytest.fixture(scope="module")
def page(result):
    return render_agreement(result, command="creativity-lens evaluate --out out")


def test_the_page_opens_with_the_claims_then_warnings_then_the_paper_s_score(page):
    assert sections(page) == [
        *("What can be claimed", "Warnings", "Agreement of cosine with people"),
        *("The layer, and all others", "All scores side by side"),
        *("What the score adds to length", "Who agrees, and on which texts", "Judges"),
        *("What random directions reach", "How far people agree with each other"),
        *("What was left out", "What was run"),
    ]
    cells = [text for _, text in Page(page).cells]
    assert cells[0] == "The paper's score orders texts as people do."
    assert cells[4] == "not supported"
    assert Page(page).elements["figure"] == 9


def test_every_caption_says_how_to_read_the_figure_and_when_not_to_believe_it(page):
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page, re.DOTALL)
    assert len(captions) == 9
    for caption in captions:
        assert caption.startswith("How to read it")
        assert "When not to believe it: " in caption


def test_the_page_says_that_a_null_is_a_result_and_names_holm_and_the_layer(page):
    for words in (
        "A null result is a result",
        "2 dimensions were rated, so look at p (Holm)",
        f"The primary layer is {PRIMARY}: best held-out AUROC (0.97).",
        "all intervals are of these prompts only",
        "Figures show pairs within a prompt and author type.",
    ):
        assert words in page


# --- tables ----------------------------------------------------------------------------------


def test_the_headline_holds_the_planted_numbers_of_each_group_and_scope(result):
    table = headline_table(result.tables["agreement"], "cosine", PRIMARY)
    rows = {row[:3]: row[3:] for row in table.rows}
    assert len(rows) == 2 * 2 * 2
    # 0.5 + 0.02 (3 + 1) = 0.58; length 0.62; experts see the mirror image.
    assert rows["surprise", "lay", "prompt"] == (
        *("120 / 12", "0.58 [0.52, 0.64]", "0.012", "0.024", "0.12", "0.14"),
        *("0.62 [0.58, 0.66]", "0.72"),
    )
    assert rows["surprise", "expert", "prompt"][1] == "0.42 [0.36, 0.48]"
    assert rows["surprise", "expert", "prompt"][-1] == "?"
    assert rows["engagement", "lay", STRICT][1] == "0.54 [0.48, 0.59]"  # 0.535, rounded
    assert "tau of systems" not in table.columns


def test_agreement_over_systems_is_shown_where_it_is_known(result):
    agreement = result.tables["agreement"].assign(system_kendall=0.37)
    table = headline_table(agreement, "cosine", PRIMARY)
    assert {row[table.columns.index("tau of systems")] for row in table.rows} == {"0.37"}


def test_increments_are_of_the_followed_and_the_chosen_score(result):
    table = increments_table(result.tables["agreement"], ("cosine", "chosen"), PRIMARY, "prompt")
    rows = {(*row[:2], row[3]): row[4:] for row in table.rows}
    assert len(rows) == 2 * 2 * 2
    # 0.2 · 0.08, half of 0.08 as rho, 0.5 + 0.4 · 0.08
    assert rows["surprise", "lay", "cosine"] == (
        "0.016 [-0.004, 0.036]",
        "0.04",
        "0.53 [0.43, 0.63]",
        "18",
    )
    assert rows["surprise", "expert", "cosine"][0] == "-0.016 [-0.036, 0.004], turned"
    blank = result.tables["agreement"].assign(increment=math.nan)
    assert "No length is known" in increments_table(blank, ("cosine",), PRIMARY, "prompt")


def test_the_choice_says_for_how_many_prompts(result):
    table = choice_table(result.tables["choice"], STRICT)
    # Prompts 2 and 5 of 0 to 7 chose layer 5.
    assert {row[3] for row in table.rows} == {"whitened@4 (6 of 8), whitened@5 (2 of 8)"}
    assert len(table.rows) == 4


def test_nulls_are_those_of_the_primary_layer_and_the_shown_pairs(result):
    table = nulls_table(result.tables["nulls"], PRIMARY, STRICT)
    assert len(table.rows) == 3 * 4
    assert table.rows[1] == (
        *("random directions, as texts vary within the classes", "surprise", "lay", STRICT),
        *("0.50", "0.41 to 0.59", "100", "0.250"),
    )


def test_a_ceiling_that_is_not_known_has_its_reason(result):
    rows = {row[:3]: row[3:] for row in ceilings_table(result.tables["ceilings"]).rows}
    assert rows["surprise", "lay", "prompt"] == (
        *("0.72 [0.69, 0.75]", "200", "0.55", "0.61", "0.31", "0.28", "3", ""),
    )
    assert rows["surprise", "expert", "prompt"] == (
        *("not known", "0", "?", "?", "0.31", "0.28", "3", "rater ids do not persist"),
    )


def test_every_score_of_the_forest_is_explained(result):
    rows = {row[0]: row[1:] for row in scores_table(result.tables["agreement"], PRIMARY).rows}
    assert set(rows) == set(KIND_OF)
    assert rows["direction:formality"] == (
        "direction",
        "cosine with the direction of formality",
    )
    assert rows["cosine+prompt"][1].endswith("read after the text's own prompt")
    assert rows["rouge_1"] == ("given", "brought along in a file of scores (1 of them)")


def test_what_was_run_names_the_command_the_settings_and_every_table(page, result):
    cells = Page(page).cells
    assert ("code", "creativity-lens evaluate --out out") in cells
    assert cells[cells.index(("", "study: min_gap")) + 1] == ("code", "1.0")
    assert cells[cells.index(("", "ratings")) + 1] == ("code", "own ratings")
    assert set(result.tables) == set(TABLES)
    for name in TABLES:
        at = cells.index(("code", name))
        assert cells[at + 2][1] == TABLES[name]


# --- what is missing -------------------------------------------------------------------------


def test_what_was_left_out_follows_from_the_tables(result):
    full = " ".join(left_out(result))
    assert "fewer than ten systems" in full
    for words in ("No model", "No judge", "brought along", "author types", "No pair"):
        assert words not in full
    bare = " ".join(left_out(evaluate_result(model=False, scopes=("prompt",))))
    assert "No model read the texts" in bare
    assert "a score may only tell who wrote them" in bare
    assert "shuffled labels" not in bare  # that needs a model in the first place
    one = " ".join(left_out(evaluate_result(layers=(PRIMARY,))))
    assert "Only the primary layer was read" in one


def test_comparisons_without_a_pair_and_notes_are_listed(result):
    agreement = result.tables["agreement"].copy()
    lost = (agreement["dimension"] == "surprise") & (agreement["scope"] == STRICT)
    agreement.loc[lost, "n_pairs"] = 0
    agreement.loc[lost, "note"] = "3 texts have no author type."
    made = replace(result, tables={**result.tables, "agreement": agreement})
    assert (
        f"No pair is decided for: surprise, lay, {STRICT}; surprise, expert, {STRICT}."
        in left_out(made)
    )
    assert notes_table(agreement).rows == tuple(
        ("surprise", group, STRICT, "3 texts have no author type.") for group in ("lay", "expert")
    )
    assert notes_table(result.tables["agreement"]) == "No comparison left a text out."


def test_many_scores_that_were_brought_along_are_named_once(result):
    rows = result.tables["agreement"]
    own = rows[rows["kind"] == "given"]
    many = concat([rows, *(own.assign(score=f"metric_{i}") for i in range(MOST_GIVEN))])
    table = scores_table(many, PRIMARY)
    assert len(table.rows) == len(KIND_OF)
    assert table.rows[-1][0].startswith("rouge_1, metric_0, ")
    assert table.rows[-1][0].endswith(f" and {MOST_GIVEN + 1 - 8} more")
    assert "picked by their result" in str(
        scores_section(replace(result, tables={"agreement": many}), {}).paragraphs
    )
    assert "picked" not in str(scores_section(result, {}).paragraphs)


def test_without_a_model_the_page_says_so_and_shows_the_rest():
    text = render_agreement(evaluate_result(model=False), command="c")
    assert "There is no primary layer: no model was asked for." in text
    assert "so there are no random directions to compare with." in text
    assert "Agreement of rouge_1 with people" in text
    assert "No judge was asked." in text
    assert Page(text).elements["figure"] == 5


def test_no_ceiling_at_all_draws_none():
    made = evaluate_result(ceilings=False, dimensions=("surprise",), layers=(2, PRIMARY))
    text = render_agreement(made, command="c")
    assert Page(text).elements["figure"] == 8
    assert text.count("rater ids do not persist") == 4
    assert '"name":"ceiling' not in text


def test_one_dimension_needs_no_correction_and_no_menu():
    made = evaluate_result(dimensions=("surprise",), groups=("all",))
    text = render_agreement(made, command="c")
    assert "There is one dimension, so p needs no correction" in text
    assert '"updatemenus":[{"buttons"' not in text
    assert "No dimension was rated by two groups" in text


def test_fifteen_dimensions_make_a_page_with_menus():
    made = evaluate_result(
        dimensions=[f"dimension {i}" for i in range(15)],
        groups=("expert",),
        scopes=("prompt",),
        layers=(2, PRIMARY),
        n_prompts=3,
    )
    text = render_agreement(made, command="c")
    assert "15 dimensions were rated" in text
    assert text.count('"updatemenus":[{"buttons"') == 6
    assert Page(text).elements["figure"] == 8


def test_empty_tables_make_a_page_of_sentences(result):
    empty = {name: table.iloc[:0] for name, table in result.tables.items()}
    for some in (empty, {}):
        text = render_agreement(replace(result, tables=some, claims=()), command="c")
        assert Page(text).elements["figure"] == 0
        for why in (
            "No score could be held against the ratings.",
            "There are no scores.",
            "No judge was asked.",
            "There are no ratings to compare with each other.",
            "so nothing was measured.",
        ):
            assert why in text


def test_the_same_result_makes_the_same_page(result, page):
    assert render_agreement(result, command="creativity-lens evaluate --out out") == page


def test_hostile_text_adds_no_element_to_the_page(page):
    everything = "\n".join((*HOSTILE, "<b>bold</b>"))
    made = evaluate_result(n_prompts=8, text=everything)
    noted = evaluate_result(n_prompts=8, text="harmless")
    text = render_agreement(made, command=HOSTILE[1])
    hostile, harmless = Page(text), Page(render_agreement(noted, command="c"))
    assert hostile.elements == harmless.elements
    assert hostile.attributes == harmless.attributes
    assert ("", everything) in hostile.cells  # a claim
    assert ("code", HOSTILE[1]) in hostile.cells  # the command
    assert hostile.title.endswith(everything)
    assert any(OWNED in cell for _, cell in hostile.cells)
