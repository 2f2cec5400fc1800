"""Agreement with people: does the score order texts as raters do, and better than what is cheap?

Texts that people rated are scored by one forward pass each, beside baselines, random and unrelated
directions, and judges. Every comparison is within prompts, every number has its interval, and
raters of different groups are never pooled.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from creativity_lens.directions.direction import DirectionSet
from creativity_lens.directions.extract import ContrastRow
from creativity_lens.errors import InputError
from creativity_lens.evaluation.agreement import holm
from creativity_lens.evaluation.fitted import word_features
from creativity_lens.evaluation.ratings import Ratings
from creativity_lens.models.protocol import LensModel
from creativity_lens.scoring.score import Text
from creativity_lens.studies.evaluate_between import between_rows
from creativity_lens.studies.evaluate_claims import agreement_claims
from creativity_lens.studies.evaluate_comparisons import JudgedPairs, ReadTexts, comparisons
from creativity_lens.studies.evaluate_config import EvaluateConfig
from creativity_lens.studies.evaluate_judges import LocalJudge, local_judge
from creativity_lens.studies.evaluate_readings import NEUTRAL, RatedReadings, read_rated
from creativity_lens.studies.evaluate_rows import ComparisonRows, compare
from creativity_lens.studies.evaluate_scores import (
    ScoreColumns,
    activation_scores,
    other_scores,
    random_scores,
    surface_scores,
    taken,
    together,
)
from creativity_lens.studies.evaluate_tables import (
    AGREEMENT_COLUMNS,
    BETWEEN_COLUMNS,
    CEILING_COLUMNS,
    CHOICE_COLUMNS,
    JUDGE_COLUMNS,
    NULL_COLUMNS,
    PROMPT_COLUMNS,
    RATING_COLUMNS,
    EvaluateResult,
    column_name,
)
from creativity_lens.studies.evaluate_warnings import (
    about_scores,
    about_the_contrast,
    about_the_gap,
)
from creativity_lens.studies.probe_tables import claims_table, frame
from creativity_lens.studies.stages import Progress, Stages

if TYPE_CHECKING:
    from pandas import DataFrame

FIRST = ("creativity", "creative", "originality", "novelty", "surprise", "total", "enjoy")
"""The dimension that claims are about: the first of these that was rated, else the first rated."""


def evaluate(
    ratings: Ratings,
    model: LensModel | None = None,
    directions: DirectionSet | None = None,
    config: EvaluateConfig | None = None,
    *,
    store: str | os.PathLike[str] | None = None,
    rows: Sequence[ContrastRow] = (),
    scores: "DataFrame | None" = None,
    judged: Sequence[JudgedPairs] = (),
    on_progress: Progress | None = None,
) -> EvaluateResult:
    """Hold scores of texts against people's ratings of them.

    Args:
        ratings: who rated what; see `read_ratings`.
        model: the model of the directions; None compares only what needs no model.
        directions: what texts are scored with; needed with a model.
        config: what to do.
        store: folder that keeps activations and judgements; needed with a model.
        rows: texts of the contrast that the directions were made from (`contrast.jsonl`): they
            choose the primary layer and give the covariance and the shuffled labels.
        scores: scores that were made elsewhere: index `text_id`, one column a score.
        judged: pairs that another judge has compared.
        on_progress: called as the stages go on.

    Raises:
        DirectionMismatchError: the directions are another model's.
        InputError: an unknown dimension, a text too long for the model, scores of unknown texts,
            or nothing to compare.
        DataError: see `read_ratings`.
    """
    config = config or EvaluateConfig()
    for dimension in config.dimensions:
        if dimension not in ratings.dimensions:
            raise InputError(
                f"{ratings.source} holds no ratings of {dimension!r}; it has "
                f"{', '.join(ratings.dimensions)}."
            )
    ids = tuple(ratings.texts.index)
    given = _known_scores(scores, ids, ratings.source)
    stages = Stages(on_progress)
    warnings = list(ratings.notes)
    compared = _primary_first(comparisons(ratings, config), ratings)
    warnings += about_the_gap(compared, config.min_gap)
    if given is not None:
        warnings += about_scores(given, ids, Path(ratings.source).name)
    warnings += [note for one in judged for note in one.notes]
    written = [str(text) for text in ratings.texts["text"]]
    places = [i for i, text in enumerate(written) if text.strip()]
    if len(places) < len(written):
        warnings.append(
            f"{len(written) - len(places)} of {len(written)} texts come without their text: only "
            "scores that you bring can be compared on them."
        )
    parts = [ScoreColumns((), np.empty((0, len(ids))))]
    read: ReadTexts | None = None
    judge = LocalJudge({}, (), (), ())
    readings: RatedReadings | None = None
    if model is not None and places:
        if directions is None or store is None:
            raise InputError("a model needs directions to score by and a store for activations.")
        texts = _texts(ratings, places)
        groups = [str(ratings.texts["prompt_id"].iloc[i]) for i in places]
        warnings += about_the_contrast(ratings, rows)
        bare = sum(text.prompt is None for text in texts)
        if config.with_prompt and bare:
            warnings.append(
                f"{bare} of {len(texts)} texts come without the words of their prompt, so no text "
                "was read after its prompt."
            )
        readings = read_rated(
            model, directions, texts, rows, config, store=Path(store), stages=stages
        )
        judge = local_judge(
            model, texts, places, len(ids), compared, config, store=Path(store), stages=stages
        )
        warnings += judge.warnings
        with stages.stage("scores", 1) as advance:
            parts.append(activation_scores(readings, directions, groups, len(ids), places))
            random = random_scores(
                readings, groups, config.n_random, n_texts=len(ids), places=places, seed=config.seed
            )
            unit = readings.texts[NEUTRAL].unit
            words = word_features([text.text for text in texts])
            read = ReadTexts(readings.layers, unit, words, np.array(places, dtype=int), random)
            advance(1)
    parts.append(
        other_scores(
            len(ids),
            surface=surface_scores(written) if places else {},
            judged=judge.ratings,
            given=given,
            text_ids=ids,
        )
    )
    columns = together(*parts)
    if not columns.keys:
        raise InputError(
            f"there is nothing to hold against {ratings.source}: its texts are not in it, and no "
            "scores were given (--scores)."
        )
    primary = None if readings is None else readings.primary.layer
    found: list[ComparisonRows] = []
    with stages.stage("agreement", len(compared)) as advance:
        for one in compared:
            found.append(compare(one, columns, read, (*judge.pairs, *judged), primary, config))
            advance(1)
    with stages.stage("judges", 1) as advance:
        judges_between = between_rows(
            columns, (*judge.pairs, *judged), tuple(ratings.texts["prompt_id"]), primary, config
        )
        advance(1)
    about = [*judge.about, *(row for one in judged for row in one.about)]
    tables = _tables(found, columns, ratings, about, judges_between)
    names = tuple(key.score for key in columns.keys if key.kind == "given")
    claims = agreement_claims(
        tables["agreement"],
        tables["nulls"],
        primary,
        compared[0].dimension if compared else "",
        names,
    )
    tables["claims"] = claims_table(claims)
    return EvaluateResult(
        config=config,
        tables=tables,
        claims=claims,
        warnings=tuple(warnings),
        layer=primary,
        layer_reason="no model" if readings is None else readings.primary.reason,
        source=Path(ratings.source).name,
        provenance={} if directions is None else dict(directions.provenance),
        seconds=stages.seconds,
    )


def _known_scores(
    scores: "DataFrame | None", ids: Sequence[str], source: str
) -> "DataFrame | None":
    if scores is None:
        return None
    for name, column in scores.items():
        # Before the model reads: what it will be asked to make may not be there already.
        if name in RATING_COLUMNS or taken(str(name)):
            raise InputError(
                f"a score cannot be named {name!r}, which is a name of ours: rename its column."
            )
        try:
            numbers = column.astype("float64")
        except (TypeError, ValueError):
            raise InputError(f"the score {name!r} holds what is no number.") from None
        if np.isinf(numbers).any():
            raise InputError(f"the score {name!r} holds infinity: give NaN where there is none.")
    known = scores.index.astype(str)
    twice = known[known.duplicated()]
    if len(twice):
        raise InputError(f"the scores hold the text {twice[0]!r} twice; give each text one row.")
    if not set(known) & set(ids):
        raise InputError(
            f"none of the {len(known)} texts of the scores is in {source}: are they of the same "
            "set? The first is " + repr(known[0] if len(known) else "") + "."
        )
    return scores.astype("float64").set_axis(known, axis="index")


def _primary_first(compared: list[Any], ratings: Ratings) -> list[Any]:
    """The dimension that claims are about comes first; else as given."""
    dimensions = [one.dimension for one in compared]
    first = next((name for name in FIRST if name in dimensions), None)
    return sorted(compared, key=lambda one: one.dimension != first) if first else compared


def _texts(ratings: Ratings, places: Sequence[int]) -> list[Text]:
    ids, known = list(ratings.texts.index), ratings.texts
    return [
        Text(ids[i], str(known["text"].iloc[i]), str(known["prompt"].iloc[i]).strip() or None)
        for i in places
    ]


def _tables(
    found: Sequence[ComparisonRows],
    columns: ScoreColumns,
    ratings: Ratings,
    about_judges: list[dict[str, Any]],
    judges_between: list[dict[str, Any]],
) -> dict[str, "DataFrame"]:
    import pandas as pd

    agreement = frame([row for one in found for row in one.agreement], AGREEMENT_COLUMNS)
    agreement = agreement.astype({"layer": "Int64"})
    same = agreement.groupby(["score", "layer", "rater_group", "scope"], dropna=False, sort=False)
    agreement["p_holm"] = same["p_value"].transform(lambda p: holm(p.to_numpy(dtype=float)))
    numbers = {
        name: "float64"
        for name in AGREEMENT_COLUMNS
        if name.startswith(("increment", "partial", "matched", "difference"))
    }
    about = ratings.texts[["prompt_id", "author_type", "system"]]
    values = pd.DataFrame(
        dict(
            zip(
                (column_name(key.score, key.layer) for key in columns.keys),
                columns.values,
                strict=True,
            )
        ),
        index=about.index,
    )
    rated = (
        ratings.frame.groupby(["text_id", "dimension", "rater_group"], sort=False)["rating"]
        .agg(rating="mean", n="size")
        .reset_index()
        .merge(about, left_on="text_id", right_index=True)
    )
    return {
        "agreement": agreement.astype(numbers),
        "nulls": frame([row for one in found for row in one.nulls], NULL_COLUMNS),
        "ceilings": frame([row for one in found for row in one.ceilings], CEILING_COLUMNS),
        "per_prompt": frame(
            [row for one in found for row in one.per_prompt], PROMPT_COLUMNS
        ).astype({"layer": "Int64"}),
        "choice": frame([row for one in found for row in one.choice], CHOICE_COLUMNS).astype(
            {"layer": "Int64"}
        ),
        "ratings": rated[list(RATING_COLUMNS)],
        "judges": frame(about_judges, JUDGE_COLUMNS),
        "between": frame(judges_between, BETWEEN_COLUMNS),
        "scores": about.join(values).reset_index(),
    }
