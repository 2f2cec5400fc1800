"""The tables of a report on agreement; each is a sentence where there is nothing to show."""

from collections.abc import Sequence
from typing import Any

from pandas import DataFrame, isna

from creativity_lens.plots.agreement_panels import at_layer, number, one_row, records
from creativity_lens.plots.draw import rows_of
from creativity_lens.report.page import Table
from creativity_lens.report.parts import number_text
from creativity_lens.studies.evaluate_rows import LENGTHS
from creativity_lens.studies.evaluate_scores import CHOSEN, FITTED, FITTED_WORDS
from creativity_lens.studies.evaluate_tables import WHERE, column_name

SCORES = {
    "cosine": "the paper's score: mean cosine of the text's tokens with the direction",
    "centred": "the cosine after the middle between both classes is taken away",
    "projection": "the length along the direction instead of the cosine",
    "whitened": "the projection, weighted by how texts vary within the classes",
    "nuisance_removed": "the cosine with the direction less the nuisance directions",
    "layer_average": "the cosine, averaged over layers",
    "length_residualized": "the cosine less what log length predicts of it",
    "cosine_common_length": "the cosine of each text's beginning, all cut to one length",
    CHOSEN: "the variant and layer that the other prompts' ratings choose",
    FITTED: "the cosine with a direction that was fitted to the ratings of other prompts",
    FITTED_WORDS: "the same fit to TF-IDF of the texts' words, without any model",
    "length": "tokens of the text",
    "n_words": "words of the text",
    "nll": "mean negative log-likelihood of its tokens",
    "distinct_1": "share of words that are different",
    "distinct_2": "share of word pairs that are different",
    "compression_ratio": "how far the text can be compressed",
    "naive_rating": "the scored model's own rating: the expected value over the digits",
    "naive_rating_sampled": "one rating sampled from the scored model, as in the paper",
    "naive_pairwise": "the scored model's own choice between two texts, in both orders",
}
NULLS = {
    "within": "random directions, as texts vary within the classes",
    "isotropic": "isotropic directions (a strawman)",
    "shuffled": "directions of shuffled labels",
}
UNKNOWN = "?"
MOST_NAMED = 8
WHERE_HEADS = ("dimension", "raters", "pairs within")


def scores_table(agreement: DataFrame, layer: int | None) -> Table | str:
    """What each score is."""
    rows = at_layer(agreement, layer)
    if rows.empty:
        return "There are no scores."
    every = rows.drop_duplicates("score")
    given = every[every["kind"] == "given"]
    lines = []
    for row in records(every[every["kind"] != "given"]):
        name = str(row["score"])
        bare = name.removesuffix("+prompt")
        says = SCORES.get(bare, "")
        if bare.startswith("direction:"):
            says = f"cosine with the direction of {bare.removeprefix('direction:')}"
        if bare != name:
            says = f"{says}; read after the text's own prompt"
        lines.append((name, str(row["kind"]), says))
    if len(given):
        names = [str(name) for name in given["score"]]
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        said = f"brought along in a file of scores ({len(names)} of them)"
        lines.append((", ".join(names[:MOST_NAMED]) + more, "given", said))
    return Table(("score", "kind", "what it is"), tuple(lines), ("code", "", ""))


def headline_table(agreement: DataFrame, score: str, layer: int | None) -> Table | str:
    """One score beside length and the ceiling, for every dimension, group and scope."""
    rows = rows_of(at_layer(agreement, layer), score=score)
    if rows.empty:
        return "No score could be held against the ratings."
    lines = [
        [
            *_where(row),
            f"{row['n_pairs']:.0f} / {row['n_prompts']:.0f}",
            number_text(row["pairwise_accuracy"], row["ci_low"], row["ci_high"]),
            _short(row["p_value"], ".2g"),
            _short(row["p_holm"], ".2g"),
            _short(row["kendall"]),
            _short(row["spearman"]),
            _short(row["system_kendall"]),
            _length(agreement, row),
            _short(row["ceiling"]),
        ]
        for row in records(rows)
    ]
    columns = [
        *(*WHERE_HEADS, "pairs / prompts", "accuracy [95 %]", "p", "p (Holm)", "tau", "rho"),
        *("tau of systems", "length alone", "ceiling"),
    ]
    # With few systems a column of nothing would push the ceiling off the page.
    at = columns.index("tau of systems")
    if all(line[at] == UNKNOWN for line in lines):
        for line in (columns, *lines):
            del line[at]
    kinds = ("", "", "", *("number",) * (len(columns) - 3))
    return Table(tuple(columns), tuple(tuple(line) for line in lines), kinds)


def increments_table(
    agreement: DataFrame, scores: Sequence[str], layer: int | None, scope: str
) -> Table | str:
    """What some scores add to length with likelihood, on the pairs of one scope."""
    rows = rows_of(at_layer(agreement, layer), scope=scope)
    if rows.empty or rows["increment"].isna().all():
        return "No length is known, so what a score adds to it is not known."
    rows = rows[rows["score"].isin(scores) & rows["increment"].notna()]
    if rows.empty:
        return f"{scores[0]} is what others are held against, so it can add nothing to itself."
    lines = tuple(
        (
            *_where(row),
            str(row["score"]),
            number_text(row["increment"], row["increment_low"], row["increment_high"])
            + (", turned" if row["increment_sign"] < 0 else ""),
            number(row["partial_spearman"]),
            number_text(row["matched_accuracy"], row["matched_low"], row["matched_high"]),
            number(row["matched_pairs"], ".0f"),
        )
        for row in records(rows)
    )
    columns = (
        *(*WHERE_HEADS, "score", "gain in accuracy [95 %]", "rho given log length"),
        *("accuracy on pairs of like length [95 %]", "such pairs"),
    )
    return Table(columns, lines, ("", "", "", "", *("number",) * 4))


def choice_table(choice: DataFrame, scope: str) -> Table | str:
    """Which variants and layers the other prompts chose, and how often."""
    choice = rows_of(choice, scope=scope)
    if choice.empty:
        return (
            "No variant was chosen by leaving prompts out: fewer than three prompts hold a decided "
            "pair, or no model read the texts."
        )
    lines = []
    for where, own in choice.groupby(list(WHERE), sort=False):
        names = [
            column_name(str(row["score"]), None if isna(row["layer"]) else int(row["layer"]))
            for row in records(own)
        ]
        counts = sorted(((names.count(name), name) for name in set(names)), key=_most_first)
        said = ", ".join(f"{name} ({n} of {len(names)})" for n, name in counts[:4])
        more = f" and {len(counts) - 4} more" if len(counts) > 4 else ""
        lines.append((*(str(part) for part in where), f"{said}{more}"))
    return Table(
        (*WHERE_HEADS, "chosen (for how many prompts)"), tuple(lines), ("", "", "", "code")
    )


def nulls_table(nulls: DataFrame, layer: int | None, scope: str) -> Table | str:
    """What random directions reach at the primary layer."""
    rows = rows_of(nulls, layer=layer, scope=scope) if layer is not None else nulls.iloc[:0]
    if rows.empty:
        return "No model read the texts, so there are no random directions to compare with."
    lines = tuple(
        (
            NULLS.get(str(row["null"]), str(row["null"])),
            *_where(row),
            number(row["mean"]),
            f"{number(row['low'])} to {number(row['high'])}",
            f"{row['n']:.0f}",
            number(row["share_as_far"], ".3f"),
        )
        for row in records(rows)
    )
    columns = ("directions", *WHERE_HEADS, "mean", "95 % of them", "how many", "share as far")
    return Table(columns, lines, ("", "", "", "", *("number",) * 4))


def ceilings_table(ceilings: DataFrame) -> Table | str:
    """How far raters agree with each other, and the scores on the same pairs."""
    if ceilings.empty:
        return "There are no ratings to compare with each other."
    lines = tuple(
        (
            *_where(row),
            number_text(row["ceiling"], row["ceiling_low"], row["ceiling_high"]),
            _short(row["n_pairs"], ".0f"),
            _short(row["paper_accuracy"]),
            _short(row["length_accuracy"]),
            _short(row["icc1"]),
            _short(row["krippendorff_alpha"]),
            _short(row["n_raters"], ".0f"),
            str(row["reason"]),
        )
        for row in records(ceilings)
    )
    columns = (
        *(*WHERE_HEADS, "ceiling [95 %]", "pairs", "paper's score on them", "length on them"),
        *("ICC(1)", "Krippendorff's alpha", "raters", "why there is no ceiling"),
    )
    return Table(columns, lines, ("", "", "", *("number",) * 7, ""))


def judges_table(judges: DataFrame) -> Table | str:
    """Everything known of the judges."""
    if judges.empty:
        return "No judge was asked."
    lines = tuple(
        (str(row["judge"]), str(row["measure"]), number(row["value"], ".3g"), str(row["note"]))
        for row in records(judges)
    )
    return Table(("judge", "measure", "value", "note"), lines, ("code", "", "number", ""))


def notes_table(agreement: DataFrame) -> Table | str:
    """What the comparisons themselves say of texts and pairs that were left out."""
    if agreement.empty:
        return "There are no comparisons."
    rows = agreement[agreement["note"].fillna("") != ""]
    rows = rows.drop_duplicates([*WHERE, "note"])
    if rows.empty:
        return "No comparison left a text out."
    lines = tuple((*_where(row), str(row["note"])) for row in records(rows))
    return Table((*WHERE_HEADS, "what it says"), lines)


def _where(row: dict[str, Any]) -> tuple[str, str, str]:
    return str(row["dimension"]), str(row["rater_group"]), str(row["scope"])


def _short(value: Any, spelled: str = ".2f") -> str:
    """A number in a narrow column."""
    return UNKNOWN if isna(value) else number(value, spelled)


def _length(agreement: DataFrame, row: dict[str, Any]) -> str:
    where = {name: row[name] for name in WHERE}
    for name in LENGTHS:
        found = one_row(agreement, score=name, **where)
        if found is not None and found["pairwise_accuracy"] == found["pairwise_accuracy"]:
            return number_text(found["pairwise_accuracy"], found["ci_low"], found["ci_high"])
    return UNKNOWN


def _most_first(counted: tuple[int, str]) -> tuple[int, str]:
    return -counted[0], counted[1]
