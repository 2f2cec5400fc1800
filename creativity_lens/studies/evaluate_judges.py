"""What the model itself says of the rated texts when it is asked naively, kept on disk.

A judge that is the scored model is the paper's rival: it asks whether reading the model's insides
does better than asking it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from creativity_lens.errors import DataError, InputError, ModelError
from creativity_lens.evaluation.naive_rating import rate_texts
from creativity_lens.evaluation.pairwise_judge import JudgedPair, Judgements, judge_pairs
from creativity_lens.io import read_json, sha256_json, write_json
from creativity_lens.models.identity import weights_record
from creativity_lens.models.protocol import LensModel
from creativity_lens.scoring.score import Text
from creativity_lens.stats import Array
from creativity_lens.studies.evaluate_comparisons import Comparison, JudgedPairs
from creativity_lens.studies.evaluate_config import SCALE, EvaluateConfig
from creativity_lens.studies.evaluate_scores import JUDGES
from creativity_lens.studies.evaluate_tables import judge_row
from creativity_lens.studies.stages import Stages

NAIVE, SAMPLED, PAIRWISE = JUDGES


@dataclass(frozen=True, eq=False)
class LocalJudge:
    """What the scored model said.

    Attributes:
        ratings: of all texts of the ratings, by name; NaN where a text was not rated.
        pairs: its choices; empty if it compared none.
        about: rows of the table `judges`.
        warnings: why it was not asked, if it was not.
    """

    ratings: Mapping[str, Array]
    pairs: tuple[JudgedPairs, ...]
    about: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]


def local_judge(
    model: LensModel,
    texts: Sequence[Text],
    places: Sequence[int],
    n_texts: int,
    compared: Sequence[Comparison],
    config: EvaluateConfig,
    *,
    store: Path,
    stages: Stages,
) -> LocalJudge:
    """Ask the model, or find on disk what it said.

    Args:
        model: the scored model.
        texts: the rated texts that have a text.
        places: their places in the ratings.
        n_texts: texts of the ratings.
        compared: the comparisons, the first of which decides which pairs are asked about.
        config: what is asked.
        store: folder that keeps the answers.
        stages: told how far it is.
    """
    found: dict[str, Array] = {}
    pairs: tuple[JudgedPairs, ...] = ()
    about: list[dict[str, Any]] = []
    warnings: list[str] = []
    who = weights_record(model)
    if config.rate:
        try:
            rated = _rate(model, texts, config, store / "judges", who, stages)
        except (InputError, ModelError) as error:
            warnings.append(f"The model did not rate the texts: {error}")
        else:
            for name in (NAIVE, SAMPLED):
                whole = np.full(n_texts, np.nan)
                whole[np.asarray(places, dtype=int)] = rated[name]
                found[name] = whole
            about += [
                judge_row(
                    NAIVE, "mass on the scale", np.nanmean(rated["mass"]), "1: follows format"
                ),
                judge_row(
                    SAMPLED,
                    "share of answers without a number",
                    np.isnan(rated[SAMPLED]).mean(),
                    "left out",
                ),
            ]
    if config.judge_pairs:
        ids = {place: text.id for place, text in zip(places, texts, strict=True)}
        asked = pairs_to_judge(compared, ids, config.judge_pairs, seed=config.seed)
        try:
            judged = _choose(model, texts, places, asked, config, store / "judges", who, stages)
        except (InputError, ModelError) as error:
            warnings.append(f"The model did not compare the texts: {error}")
        else:
            if judged is not None:
                pairs = (JudgedPairs(PAIRWISE, tuple(asked), judged.preference),)
                about += [
                    judge_row(
                        PAIRWISE, "position bias", judged.position_bias, "0: none, 0.5: first"
                    ),
                    judge_row(
                        PAIRWISE, "consistency", judged.consistency, "same text in both orders"
                    ),
                    judge_row(
                        PAIRWISE, "mass on the labels", judged.labels_mass, "1: follows format"
                    ),
                ]
    return LocalJudge(found, pairs, tuple(about), tuple(warnings))


def pairs_to_judge(
    compared: Sequence[Comparison], ids: Mapping[int, str], n: int, *, seed: int
) -> list[tuple[int, int]]:
    """Decided pairs of the first dimension, spread over prompts.

    Those of its strictest scope come first; others only fill up. Prompts take turns, so that none
    with many texts rules the judge's accuracy. The order of the rows has no part in it.

    Args:
        compared: the comparisons.
        ids: the id of each text that may be asked about, by its place.
        n: most pairs.
        seed: of the draw.
    """
    found: list[tuple[int, int]] = []
    for one in reversed(compared):
        first = compared[0]
        if (one.dimension, one.group) == (first.dimension, first.group):
            known = set(found)
            pairs = [pair for pair in _decided(one, ids) if pair not in known]
            found += _in_turns(pairs, one.prompts, n - len(found), seed=seed)
    return found


def _decided(one: Comparison, ids: Mapping[int, str]) -> list[tuple[int, int]]:
    """Decided pairs of known texts, by prompt and then by id, the lower id first."""
    design = one.design
    decided = np.flatnonzero(design.decided)
    sides = [design.rows[side[decided]].tolist() for side in (design.first, design.second)]
    pairs = []
    for a, b in zip(*sides, strict=True):
        if a in ids and b in ids:
            pairs.append((a, b) if ids[a] < ids[b] else (b, a))
    return sorted(pairs, key=lambda pair: (one.prompts[pair[0]], ids[pair[0]], ids[pair[1]]))


def _in_turns(
    pairs: Sequence[tuple[int, int]], prompts: Sequence[str], n: int, *, seed: int
) -> list[tuple[int, int]]:
    """At most `n` pairs at random, one of each prompt before a second of any."""
    generator = np.random.default_rng(seed)
    by_prompt: dict[str, list[tuple[int, int]]] = {}
    for place in generator.permutation(len(pairs)):
        by_prompt.setdefault(prompts[pairs[place][0]], []).append(pairs[place])
    found: list[tuple[int, int]] = []
    while by_prompt and len(found) < n:
        for prompt in sorted(by_prompt):  # a copy: prompts leave as they run out
            found.append(by_prompt[prompt].pop())
            if not by_prompt[prompt]:
                del by_prompt[prompt]
    return found[:n]


def _rate(
    model: LensModel,
    texts: Sequence[Text],
    config: EvaluateConfig,
    folder: Path,
    who: Mapping[str, Any],
    stages: Stages,
) -> dict[str, Array]:
    asked = {
        "what": "naive rating",
        "model": dict(who),
        "texts": [[text.id, text.prompt, text.text] for text in texts],
        "quality": config.quality,
        "scale": list(SCALE),
        "seed": config.seed,
    }

    def ask() -> dict[str, list[float]]:
        with stages.stage("asking the model to rate", len(texts)) as advance:
            said = rate_texts(
                model,
                texts,
                quality=config.quality,
                scale=SCALE,
                seed=config.seed,
                on_progress=advance,
            )
        return {
            NAIVE: said.expected.tolist(),
            SAMPLED: said.sampled.tolist(),
            "mass": said.mass.tolist(),
        }

    kept = _kept(folder, asked, ask)
    return {name: np.array(values, dtype=float) for name, values in kept.items()}


def _choose(
    model: LensModel,
    texts: Sequence[Text],
    places: Sequence[int],
    asked: Sequence[tuple[int, int]],
    config: EvaluateConfig,
    folder: Path,
    who: Mapping[str, Any],
    stages: Stages,
) -> Judgements | None:
    if not asked:
        return None
    at = dict(zip(places, texts, strict=True))
    pairs = [
        JudgedPair(str(k), at[first].prompt, at[first].text, at[second].text)
        for k, (first, second) in enumerate(asked)
    ]
    question = {
        "what": "pairwise choice",
        "model": dict(who),
        "pairs": [list(pair) for pair in pairs],
        "quality": config.quality,
    }

    def ask() -> dict[str, Any]:
        with stages.stage("asking the model to compare", 2 * len(pairs)) as advance:
            said = judge_pairs(model, pairs, quality=config.quality, on_progress=advance)
        return {
            "log_odds": said.log_odds.tolist(),
            "mass": said.mass.tolist(),
            "labels": list(said.labels),
        }

    kept = _kept(folder, question, ask)
    first, second = kept["labels"]
    return Judgements(
        tuple(pair.id for pair in pairs),
        np.array(kept["log_odds"], dtype=float),
        np.array(kept["mass"], dtype=float),
        (first, second),
        config.quality,
    )


def _kept(folder: Path, asked: Mapping[str, Any], ask: Callable[[], dict[str, Any]]) -> Any:
    """The answers to exactly this question, from disk or asked now."""
    digest = sha256_json(dict(asked))
    path = folder / f"{digest[:16]}.json"
    if path.exists():
        try:
            known = read_json(path)
        except DataError:
            known = None  # damaged: asked again
        if isinstance(known, dict) and known.get("asked_sha256") == digest:
            return known["answers"]
    answers = ask()
    write_json(path, {"asked_sha256": digest, "answers": answers})
    return answers
