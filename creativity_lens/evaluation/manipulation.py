"""Did the contrast work? What sets the two sides apart, before their direction is used.

A direction is only as good as its pairs. If the two instructions wrote the same texts, it is noise;
if they wrote long texts against short ones, it may be length. `manipulation_check` holds the sides
against each other in the cheapest ways there are, and warns by the fixed rules of
`manipulation_rules`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from creativity_lens.directions.extract import ContrastRow
from creativity_lens.directions.rereading import check_rows
from creativity_lens.errors import InputError
from creativity_lens.evaluation.manipulation_rules import (
    READS_AS,
    UNKNOWN,
    JudgeSummary,
    MeasureRow,
    warnings_of,
)
from creativity_lens.evaluation.pairwise_judge import JudgedPair, judge_pairs
from creativity_lens.measures.diversity import distinct_n
from creativity_lens.measures.repetition import compression_ratio, repetition
from creativity_lens.models.protocol import LensModel
from creativity_lens.probes.rivals import bag_of_words, cross_validated
from creativity_lens.stats import Array, Interval, auroc_interval, mean_interval


@dataclass(frozen=True)
class ManipulationCheck:
    """What sets the two sides of a contrast apart.

    Attributes:
        measures: length, NLL, distinct-2, repetition-3, compression ratio.
        judge: the model's own blind choice; None if it was not asked.
        tfidf: held-out AUROC of a bag of words, on folds by premise, over premises.
        share_cut: share of the creative and of the uncreative texts that the token limit ended.
        share_identical: share of pairs with the same text on both sides, spacing aside.
        n_pairs: pairs, each sample counted.
        n_premises: what the intervals resample.
        warnings: a sentence for each rule that is broken; none means that none was, not that the
            contrast is sound.
    """

    measures: tuple[MeasureRow, ...]
    judge: JudgeSummary | None
    tfidf: Interval
    share_cut: tuple[float, float]
    share_identical: float
    n_pairs: int
    n_premises: int
    warnings: tuple[str, ...]

    def __getitem__(self, measure: str) -> MeasureRow:
        return {row.measure: row for row in self.measures}[measure]

    def table(self) -> list[dict[str, Any]]:
        """Tidy rows: `measure, statistic, estimate, low, high, n_pairs, reads_as`.

        One row for each number; `low` and `high` are NaN where there is no interval.
        """
        rows: list[dict[str, Any]] = []

        def add(measure: str, statistic: str, value: Interval | float, n_pairs: int) -> None:
            known = value if isinstance(value, Interval) else UNKNOWN._replace(estimate=value)
            rows.append(
                {"measure": measure, "statistic": statistic}
                | known._asdict()
                | {"n_pairs": n_pairs, "reads_as": READS_AS.get(measure, "")}
            )

        for row in self.measures:
            for statistic in ("creative", "uncreative", "difference", "auroc"):
                add(row.measure, statistic, getattr(row, statistic), self.n_pairs - row.n_left_out)
        if self.judge is not None:
            for statistic in ("accuracy", "position_bias", "consistency", "labels_mass"):
                add("judge", statistic, getattr(self.judge, statistic), self.judge.n_judged)
        add("tfidf", "auroc", self.tfidf, self.n_pairs)
        for side, share in zip(("creative", "uncreative"), self.share_cut, strict=True):
            add("cut_at_limit", side, share, self.n_pairs)
        add("identical_pairs", "share", self.share_identical, self.n_pairs)
        return rows


def manipulation_check(
    model: LensModel,
    rows: Sequence[ContrastRow],
    *,
    nll: Float[Array, " row"],
    premises: Mapping[str, str] | None = None,
    judge_pairs: int | None = None,
    judge_max_tokens: int | None = None,
    n_folds: int = 5,
    n_draws: int = 2000,
    seed: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> ManipulationCheck:
    """Hold the two sides of generated pairs against each other.

    Args:
        model: the judge; it is not used if it judges no pairs.
        rows: as `extract` gives them: creative and uncreative in turn. The prompt of a row holds
            the instruction and is never shown to the judge.
        nll: mean NLL of each row's response, read in one context for both sides (`mean_nll`); NaN
            where it is not known. Read as generated, it would hold the instruction.
        premises: the bare premise of each pair id, shown to the judge; None shows nothing.
        judge_pairs: how many pairs the model is asked about, spread evenly over the rows, in two
            forward passes each; 0 does not ask, None asks about all.
        judge_max_tokens: show the judge only so much of each text; None shows all.
        n_folds: folds of the bag of words.
        n_draws: bootstrap draws for the intervals.
        seed: of folds and draws.
        on_progress: called with the number of prompts the judge has answered; two for each pair.

    Raises:
        InputError: no rows, rows in another order, another number of NLLs, a negative
            `judge_pairs`, a pair without a premise, fewer premises than folds, or a text too long
            for the judge.
    """
    check_rows(rows)
    pairs = list(zip(rows[::2], rows[1::2], strict=True))
    if len(nll) != len(rows):
        raise InputError(
            f"manipulation_check needs an NLL for each of {len(rows)} rows: {len(nll)}."
        )
    if judge_pairs is not None and judge_pairs < 0:
        raise InputError(
            f"judge_pairs must be at least 0, or None for all pairs; got {judge_pairs}."
        )
    groups = [creative.premise_id for creative, _ in pairs]
    texts = [(creative.response, uncreative.response) for creative, uncreative in pairs]
    # Before the judge, so that too few premises are told before the model has run.
    tfidf = _tfidf(texts, groups, n_folds=n_folds, n_draws=n_draws, seed=seed)
    summary = None
    n_judged = len(pairs) if judge_pairs is None else min(judge_pairs, len(pairs))
    # Not the first ones: a run may be sorted by domain.
    chosen = np.linspace(0, len(pairs) - 1, n_judged).round().astype(int)
    judged = _judged_pairs([pairs[i] for i in chosen], premises)
    if judged:
        summary = _ask(
            model,
            judged,
            [groups[i] for i in chosen],
            judge_max_tokens,
            n_draws=n_draws,
            seed=seed,
            progress=on_progress,
        )
    values = {
        "length": np.array([[len(row.response_ids) for row in pair] for pair in pairs], float),
        "nll": np.asarray(nll, float).reshape(-1, 2),
        "distinct_2": _of_texts(distinct_n, texts),
        "repetition_3": _of_texts(repetition, texts),
        "compression_ratio": _of_texts(compression_ratio, texts),
    }
    measures = tuple(
        _measure(name, found, groups, n_draws=n_draws, seed=seed) for name, found in values.items()
    )
    cut = np.mean([[row.finish_reason == "length" for row in pair] for pair in pairs], axis=0)
    share_cut = (float(cut[0]), float(cut[1]))
    identical = float(np.mean([one.split() == other.split() for one, other in texts]))
    return ManipulationCheck(
        measures=measures,
        judge=summary,
        tfidf=tfidf,
        share_cut=share_cut,
        share_identical=identical,
        n_pairs=len(pairs),
        n_premises=len(set(groups)),
        warnings=tuple(warnings_of(measures, summary, tfidf, share_cut, identical)),
    )


def _judged_pairs(
    pairs: Sequence[tuple[ContrastRow, ContrastRow]], premises: Mapping[str, str] | None
) -> list[JudgedPair]:
    judged = []
    for creative, uncreative in pairs:
        if premises is not None and creative.pair_id not in premises:
            raise InputError(f"there is no premise for the pair {creative.pair_id!r}.")
        premise = None if premises is None else premises[creative.pair_id]
        name = f"{creative.pair_id}/{creative.sample}"
        judged.append(JudgedPair(name, premise, creative.response, uncreative.response))
    return judged


def _ask(
    model: LensModel,
    pairs: Sequence[JudgedPair],
    groups: Sequence[str],
    max_tokens: int | None,
    *,
    n_draws: int,
    seed: int,
    progress: Callable[[int], None] | None,
) -> JudgeSummary:
    kept = [i for i, pair in enumerate(pairs) if pair.a.strip() and pair.b.strip()]
    if len({groups[i] for i in kept}) < 2:  # nothing to resample
        return JudgeSummary(UNKNOWN, math.nan, math.nan, math.nan, 0)
    found = judge_pairs(
        model, [pairs[i] for i in kept], max_tokens=max_tokens, on_progress=progress
    )
    return JudgeSummary(
        found.accuracy([groups[i] for i in kept], n_draws=n_draws, seed=seed),
        found.position_bias,
        found.consistency,
        found.labels_mass,
        len(kept),
    )


def _tfidf(
    texts: Sequence[tuple[str, str]],
    groups: Sequence[str],
    *,
    n_folds: int,
    n_draws: int,
    seed: int,
) -> Interval:
    creative, uncreative = zip(*texts, strict=True)
    try:
        held_out = cross_validated(
            bag_of_words(), creative, uncreative, groups, n_folds=n_folds, seed=seed
        )
    except InputError:
        raise
    except ValueError:  # scikit-learn's own, of texts that hold no word to count
        return UNKNOWN
    return held_out.interval(n_draws=n_draws, seed=seed)


def _of_texts(
    measure: Callable[[str], float], texts: Sequence[tuple[str, str]]
) -> Float[Array, "pair 2"]:
    return np.array([[measure(text) for text in pair] for pair in texts], float)


def _measure(
    name: str,
    values: Float[Array, "pair 2"],
    groups: Sequence[str],
    *,
    n_draws: int,
    seed: int,
) -> MeasureRow:
    known = np.isfinite(values).all(axis=1)
    left_out = int((~known).sum())
    kept = [group for group, here in zip(groups, known, strict=True) if here]
    if len(set(kept)) < 2:  # nothing to resample
        return MeasureRow(name, math.nan, math.nan, UNKNOWN, UNKNOWN, left_out, READS_AS[name])
    creative, uncreative = values[known].T
    return MeasureRow(
        name,
        float(creative.mean()),
        float(uncreative.mean()),
        mean_interval(creative - uncreative, kept, n_draws=n_draws, seed=seed),
        auroc_interval(creative, uncreative, kept, n_draws=n_draws, seed=seed),
        left_out,
        READS_AS[name],
    )
