"""Choices of a study as tidy tables: pairs, ratings, raters, and the share that each set wins."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from scipy.stats import beta

from creativity_lens.errors import InputError
from creativity_lens.evaluation.annotation import SETS, Study, StudyItem, StudyPair, other
from creativity_lens.evaluation.annotation_exports import Answer, Export
from creativity_lens.evaluation.rating_checks import COLUMNS
from creativity_lens.stats import Array, Interval, mean_interval

if TYPE_CHECKING:
    from pandas import DataFrame

PAIR_COLUMNS = (
    "study_id",
    "form",
    "position",
    "kind",
    "pair_id",
    "prompt_id",
    "left_id",
    "right_id",
    "left_system",
    "right_system",
    "chosen",
    "chosen_id",
    "chosen_system",
    "rater_id",
    "rater_group",
    "seconds",
    "check",
    "kept",
)
_SHOWN = ("pair", "repeat")
_SAME = 1e-12


@dataclass(frozen=True, eq=False)
class StudyAnswers:
    """What raters chose.

    Attributes:
        pairs: a row a choice, `PAIR_COLUMNS`. `chosen` is left, right or tie, `chosen_id` and
            `chosen_system` blank at a tie. `kind` is pair, repeat or check; `check` is passed or
            failed for checks and blank otherwise. `kept` says whether the rater's choices count.
        ratings: tidy ratings, a row for each text and rater that counts: the share of the text's
            comparisons that it won with this rater, ties half, from 0 to 1. Checks and repeated
            pairs do not enter.
        raters: a row a rater: forms, how many pairs, checks seen and failed, whether they count,
            the share of repeated pairs answered alike, of left choices (0.5: no liking for a
            side; ties left out) and of ties, and the median seconds a pair.
        notes: what is not as one would expect.
    """

    pairs: "DataFrame"
    ratings: "DataFrame"
    raters: "DataFrame"
    notes: tuple[str, ...]


def tidy_answers(
    study: Study,
    exports: Sequence[Export],
    *,
    max_failed: int = 0,
    keep_failed: bool = False,
    notes: Sequence[str] = (),
) -> StudyAnswers:
    """Turn exports into tables with the help of the key.

    Args:
        study: the key.
        exports: of `read_exports`.
        max_failed: attention checks that a rater may fail, over all of his forms.
        keep_failed: let the choices of raters who fail more than that count; they stay marked.
        notes: of `read_exports`, to go before those made here.

    Raises:
        InputError: no exports, or a negative `max_failed`.
    """
    import pandas as pd

    if not exports or max_failed < 0:
        raise InputError(
            f"tidy_answers needs exports and max_failed of at least 0, got {len(exports)} exports "
            f"and max_failed {max_failed}."
        )
    pairs = {pair.pair_id: pair for pair in study.pairs}
    rows = []
    for export in exports:
        items = {
            item.item_id: (place, item)
            for place, item in enumerate(study.forms[export.form - 1], start=1)
        }
        for answer in export.answers:
            place, item = items[answer.item_id]
            rows.append(_row(study, export, answer, item, pairs[item.pair_id], place))
    table = pd.DataFrame(rows).sort_values(["rater_id", "form", "position"], ignore_index=True)
    failed = (table["check"] == "failed").groupby(table["rater_id"]).sum()
    out = [str(rater) for rater in failed.index[failed > max_failed]]
    table["kept"] = True if keep_failed else ~table["rater_id"].isin(out)
    table = table[list(PAIR_COLUMNS)]
    raters = _raters(table, out)
    said = [*notes, *_check_notes(raters, out, keep_failed=keep_failed)]
    return StudyAnswers(table, _ratings(study, table), raters, tuple(said))


def preference(pairs: "DataFrame", system: str, *, n_draws: int = 2000, seed: int = 0) -> Interval:
    """Share of comparisons that a set wins, ties half, with its interval over prompts.

    0.5: no preference. Prompts are resampled, raters are not: the interval is about further prompts
    judged by these raters. With one prompt there is nothing to resample, and the bounds are NaN.
    Where all prompts have the same share (`same_on_all_prompts`), resampling them shows no spread,
    and the bounds are those of `exact_interval`.

    Args:
        pairs: of `StudyAnswers`, such as those of one rater group; only rows that count are used.
        system: name of the set.
        n_draws: bootstrap draws.
        seed: of the draws.

    Raises:
        InputError: no row that counts compares this set.
    """
    won, prompts = _won(pairs, system)
    n_prompts = len(set(prompts))
    if n_prompts < 2:
        return Interval(float(won.mean()), float("nan"), float("nan"))
    if same_on_all_prompts(pairs, system):
        return exact_interval(float(won.mean()), n_prompts)
    return mean_interval(won, prompts, n_draws=n_draws, seed=seed)


def same_on_all_prompts(pairs: "DataFrame", system: str) -> bool:
    """Whether a set wins the same share of the comparisons on each prompt, such as all of them.

    A bootstrap over prompts then draws the same share again and again; its interval of no width
    would be a claim that nobody can make.

    Raises:
        InputError: as `preference`.
    """
    won, prompts = _won(pairs, system)
    _, place = np.unique(prompts, return_inverse=True)
    return bool(np.ptp(np.bincount(place, weights=won) / np.bincount(place)) < _SAME)


def exact_interval(share: float, n_prompts: int, *, level: float = 0.95) -> Interval:
    """Clopper and Pearson's interval of a share, with the prompt as the unit.

    It holds for a share of won prompts, such as 12 of 12: 0.735 to 1. With ties, or several
    comparisons a prompt, `share * n_prompts` need not be a whole number; the beta quantiles are
    then taken between those of its neighbours, and the interval is rather too wide, as a share of
    halves varies less than one of wins and losses.

    Args:
        share: from 0 to 1.
        n_prompts: at least 1.
        level: of the interval.
    """
    tail = (1 - level) / 2
    won = share * n_prompts
    low = float(beta.ppf(tail, won, n_prompts - won + 1)) if won > 0 else 0.0
    high = float(beta.ppf(1 - tail, won + 1, n_prompts - won)) if won < n_prompts else 1.0
    return Interval(share, low, high)


def _won(pairs: "DataFrame", system: str) -> tuple[Float[Array, " choice"], list[str]]:
    """What a set got from each comparison it stood in (1, 0.5 or 0), and on which prompt."""
    used = counted(pairs)
    used = used[(used["left_system"] == system) | (used["right_system"] == system)]
    if used.empty:
        raise InputError(f"no comparison that counts has the set {system!r} in it.")
    left = used["left_system"] == system
    won = np.where(used["chosen"] == "tie", 0.5, ((used["chosen"] == "left") == left).astype(float))
    return won, used["prompt_id"].astype(str).tolist()


def counted(pairs: "DataFrame") -> "DataFrame":
    """The rows that enter ratings: first showings of pairs, by raters who count."""
    return pairs[(pairs["kind"] == "pair") & pairs["kept"]]


def rater_agreement(pairs: "DataFrame") -> float:
    """How often two raters of the same pair choose the same text, over all pairs of raters.

    Comparisons of a tie with a choice count half, as ties do elsewhere. NaN if no pair has two
    raters. For two raters who toss coins 0.5; the input of `study_size`.
    """
    used = counted(pairs)
    # +1 and -1 for the two texts of a pair whatever their sides, 0 for a tie.
    first = np.where(used["left_id"] < used["right_id"], used["left_id"], used["right_id"])
    sign = np.where(used["chosen_id"] == first, 1.0, -1.0)
    sign[(used["chosen"] == "tie").to_numpy()] = 0.0
    each = used[["study_id", "pair_id", "rater_id"]].assign(sign=sign)
    # A rater who saw both mirrored forms speaks once.
    means = each.groupby(["study_id", "pair_id", "rater_id"], sort=False)["sign"].mean()
    grouped = means.groupby(level=["study_id", "pair_id"])
    total, square, n = (grouped.agg(how).to_numpy() for how in (np.sum, _squares, "size"))
    couples = n * (n - 1) / 2
    if not couples.sum():
        return float("nan")
    return float(0.5 + 0.5 * ((total**2 - square) / 2).sum() / couples.sum())


def _squares(values: Any) -> float:
    return float((values**2).sum())


def _row(
    study: Study, export: Export, answer: Answer, item: StudyItem, pair: StudyPair, place: int
) -> dict[str, Any]:
    left, right = item.left, other(item.left)
    ids = {"left": study.text_id(pair, left), "right": study.text_id(pair, right)}
    systems = {"left": study.system(left), "right": study.system(right)}
    check = ""
    if item.kind == "check":
        check = "passed" if answer.choice == item.told else "failed"
    return {
        "study_id": study.study_id,
        "form": export.form,
        "position": place,
        "kind": item.kind,
        "pair_id": item.pair_id,
        "prompt_id": pair.prompt_id,
        "left_id": ids["left"],
        "right_id": ids["right"],
        "left_system": systems["left"],
        "right_system": systems["right"],
        "chosen": answer.choice,
        "chosen_id": ids.get(answer.choice, ""),
        "chosen_system": systems.get(answer.choice, ""),
        "rater_id": export.rater,
        "rater_group": export.group or "all",
        "seconds": answer.ms / 1000,
        "check": check,
    }


def _ratings(study: Study, table: "DataFrame") -> "DataFrame":
    """Each text's share of won comparisons with each rater."""
    import pandas as pd

    used = counted(table)
    half = (used["chosen"] == "tie") * 0.5
    sides = [
        used[["rater_id", "rater_group"]].assign(
            text_id=used[f"{side}_id"], rating=(used["chosen"] == side) * 1.0 + half
        )
        for side in ("left", "right")
    ]
    shares = (
        pd.concat(sides)
        .groupby(["text_id", "rater_id", "rater_group"], sort=False)["rating"]
        .mean()
        .reset_index()
    )
    texts = pd.DataFrame(
        [
            {
                "text_id": study.text_id(pair, side),
                "prompt_id": pair.prompt_id,
                "prompt": pair.prompt,
                "text": (pair.a if side == "a" else pair.b).text,
                "author_type": "",
                "system": study.system(side),
            }
            for pair in study.pairs
            for side in SETS
        ]
    ).drop_duplicates("text_id")
    # In the order of the study's texts, then of the raters' names.
    merged = texts.merge(shares.sort_values("rater_id"), on="text_id", validate="one_to_many")
    return merged.assign(dimension=study.dimension)[list(COLUMNS)]


def _raters(table: "DataFrame", out: Sequence[str]) -> "DataFrame":
    import pandas as pd

    rows = []
    for rater, own in table.groupby("rater_id", sort=True):
        first = own[own["kind"] == "pair"]
        decided = first[first["chosen"] != "tie"]
        rows.append(
            {
                "rater_id": rater,
                "rater_group": ", ".join(dict.fromkeys(own["rater_group"])),
                "forms": ", ".join(str(form) for form in dict.fromkeys(own["form"])),
                "n_pairs": len(first),
                "checks": int((own["kind"] == "check").sum()),
                "checks_failed": int((own["check"] == "failed").sum()),
                "failed": rater in out,
                "kept": bool(own["kept"].all()),
                "repeats_alike": _alike(own),
                "left_share": float((decided["chosen"] == "left").mean()),
                "tie_share": float((first["chosen"] == "tie").mean()),
                "median_seconds": float(first["seconds"].median()),
            }
        )
    return pd.DataFrame(rows)


def _alike(own: "DataFrame") -> float:
    """Share of repeated pairs of which the same text (or a tie) is chosen both times."""
    key = ["form", "pair_id"]
    first, again = (own[own["kind"] == kind].set_index(key)["chosen_id"] for kind in _SHOWN)
    both = again.to_frame("again").join(first.rename("first"), how="inner")
    return float((both["again"] == both["first"]).mean())


def _check_notes(raters: "DataFrame", out: Sequence[str], *, keep_failed: bool) -> list[str]:
    notes = []
    for row in raters[raters["failed"]].to_dict("records"):
        fate = "kept as asked" if keep_failed else "left out"
        notes.append(
            f"{row['rater_id']!r} failed {row['checks_failed']} of {row['checks']} attention "
            f"checks and is {fate}."
        )
    unseen = raters[raters["checks"] == 0]["rater_id"].tolist()
    if unseen:
        notes.append(f"no attention check was answered by: {', '.join(map(repr, unseen))}.")
    if not raters["kept"].any():
        notes.append("no rater counts, so there are no ratings.")
    elif int(raters["kept"].sum()) == 1:
        notes.append("one rater counts: agreement between raters cannot be known.")
    return notes
