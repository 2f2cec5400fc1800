"""The main job, end to end: extract, separate, score, steer, and say how sure we are.

Premises are used once: `train` ones make the direction and choose the layer that reads, `dev` ones
choose the strength, `test` ones are scored and steered.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from creativity_lens.activations.reading import Passage, read_passages
from creativity_lens.directions.extract import ContrastRow, Extraction, ExtractionConfig, extract
from creativity_lens.errors import InputError
from creativity_lens.generation.sampling import Sampling
from creativity_lens.hooks.intervene import Intervention
from creativity_lens.measures.diversity import distinct_n
from creativity_lens.models.chat import render_prompt
from creativity_lens.models.protocol import LensModel
from creativity_lens.probes.held_out import HeldOutScores
from creativity_lens.probes.random_directions import within_class_directions
from creativity_lens.probes.rivals import (
    advantage,
    bag_of_words,
    cross_validated,
    standardized_logistic,
)
from creativity_lens.probes.separability import Separability, separability
from creativity_lens.prompts.instructions import Instructions, load_instructions
from creativity_lens.prompts.pairs import ContrastPair, load_contrast, select_split
from creativity_lens.scoring.score import Text, score_texts
from creativity_lens.stats import (
    Interval,
    bootstrap_weights,
    mean_interval,
    percentile_interval,
    wins,
)
from creativity_lens.steering.steer import absolute_strength, interventions
from creativity_lens.studies.claims import Claim, ranking_claim, readable_claim, steering_claim
from creativity_lens.studies.stages import Progress, Stages
from creativity_lens.studies.steering_arms import Arm, Comparison, compare_arms

BAG_OF_WORDS = "bag of words (TF-IDF, responses only)"
LENGTH_LIKELIHOOD = "length with likelihood"
PAPER_STRENGTH = 3.0


@dataclass(frozen=True)
class DemoConfig:
    """How large the demo is; the defaults fit six minutes on two cores.

    Attributes:
        n_train: pairs that make the direction.
        n_test: held-out pairs that are scored; the first `n_steer` of them are steered.
        n_dev: premises on which the strength is chosen.
        n_steer: premises that are steered.
        extraction: settings of the extraction.
        strengths: candidates, as shares of the residual norm.
        nll_budget: the largest mean rise of NLL (nats a token) that a chosen strength may cost.
        n_random: random directions that are steered with.
        n_permutations: label swaps for the null.
    """

    n_train: int = 52
    n_test: int = 24
    n_dev: int = 8
    n_steer: int = 10
    extraction: ExtractionConfig = field(
        default_factory=lambda: ExtractionConfig(sampling=Sampling(max_new_tokens=48))
    )
    strengths: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4)
    nll_budget: float = 0.5
    n_random: int = 2
    n_permutations: int = 200


class StrengthChoice(NamedTuple):
    """The strength that was chosen, and from what."""

    chosen: float
    score_changes: tuple[Interval, ...]
    nll_changes: tuple[Interval, ...]
    rule: str


@dataclass(frozen=True, eq=False)
class HeldOutPairs:
    """Scores of the test pairs at the reading layer, read after the neutral prompt."""

    premises: tuple[str, ...]
    creative: NDArray[np.float64]
    uncreative: NDArray[np.float64]
    accuracy: Interval


@dataclass(frozen=True, eq=False)
class DemoResult:
    """Everything the report shows."""

    config: DemoConfig
    extraction: Extraction
    test_rows: tuple[ContrastRow, ...]
    as_generated: Separability
    neutral: Separability
    rivals: dict[str, HeldOutScores]
    read_layer: int
    steer_layer: int
    held_out: HeldOutPairs
    strength: StrengthChoice
    steered: Comparison
    claims: tuple[Claim, ...]
    seconds: dict[str, float]


class _Reading(NamedTuple):
    """Texts of pairs and what the model makes of them; sides: creative, uncreative."""

    rows: tuple[ContrastRow, ...]
    as_generated: Float[Tensor, "pair side layer d_model"]
    neutral: Float[Tensor, "pair side layer d_model"]
    surface: NDArray[np.float64]
    """`[pair, side, (log length, NLL)]`."""

    @property
    def groups(self) -> list[str]:
        return [row.premise_id for row in self.rows[::2]]

    def texts(self, side: int) -> list[str]:
        return [row.response for row in self.rows[side::2]]


def run_demo(
    model: LensModel,
    config: DemoConfig | None = None,
    *,
    pairs: Sequence[ContrastPair] | None = None,
    instructions: Instructions | None = None,
    on_progress: Progress | None = None,
) -> DemoResult:
    """Run the whole study on one model.

    Args:
        model: any `LensModel`.
        config: sizes and settings.
        pairs: contrast pairs of all three splits; the shipped stories if None.
        instructions: other instructions than the shipped ones.
        on_progress: called as the stages go on.

    Raises:
        InputError: fewer pairs in a split than the config asks for.
    """
    config = config or DemoConfig()
    instructions = instructions or load_instructions()
    stages = Stages(on_progress)
    available = load_contrast("stories") if pairs is None else pairs
    train, dev, test = _choose_pairs(available, config)

    total = len(train) + len(test)
    with stages.stage("generating and reading", total) as advance:
        extraction = extract(
            model,
            train,
            config.extraction,
            instructions=instructions,
            keep_text_means=True,
            on_progress=advance,
        )
        held_out = extract(
            model,
            test,
            config.extraction,
            instructions=instructions,
            keep_text_means=True,
            on_progress=advance,
        )
    by_id = {pair.id: pair for pair in (*train, *test)}
    with stages.stage("reading again without the instruction", 2 * total) as advance:
        train_read = _read(model, extraction, by_id, instructions, advance)
        test_read = _read(model, held_out, by_id, instructions, advance)
    everything = _Reading(
        train_read.rows + test_read.rows,
        torch.cat([train_read.as_generated, test_read.as_generated]),
        torch.cat([train_read.neutral, test_read.neutral]),
        np.concatenate([train_read.surface, test_read.surface]),
    )
    with stages.stage("separating", 3) as advance:
        as_generated = _separate(everything.as_generated, everything.groups, config)
        advance(1)
        neutral = _separate(everything.neutral, everything.groups, config)
        advance(1)
        rivals = {
            BAG_OF_WORDS: cross_validated(
                bag_of_words(), everything.texts(0), everything.texts(1), everything.groups
            ),
            LENGTH_LIKELIHOOD: cross_validated(
                standardized_logistic(),
                everything.surface[:, 0],
                everything.surface[:, 1],
                everything.groups,
            ),
        }
        # Chosen on training premises alone: the test pairs are scored at it.
        train_only = _separate(train_read.neutral, train_read.groups, _without_null(config))
        advance(1)

    steer_layer = round(len(extraction.directions) * 0.25)
    read_layer = _reading_layer(train_only, avoid=steer_layer)
    with stages.stage("scoring unseen pairs", 2 * len(test_read.groups)) as advance:
        scored, ranking = _score_held_out(
            model,
            extraction,
            train_read,
            test_read,
            by_id,
            instructions,
            layer=read_layer,
            on_progress=advance,
        )

    seed = config.extraction.seed
    sampling = config.extraction.sampling
    directions = extraction.directions
    n_rows = (1 + len(config.strengths)) * len(dev)
    with stages.stage("choosing a strength", n_rows) as advance:
        candidates = [Arm("0", "unsteered")] + [
            Arm(f"{s}", f"{s}", interventions(directions, layers=steer_layer, strength=s))
            for s in config.strengths
        ]
        dev_run = compare_arms(
            model,
            directions,
            _requests(dev, instructions),
            candidates,
            sampling=sampling,
            seed=seed,
            on_progress=advance,
        )
        strength = _choose_strength(dev_run, config, read_layer)
    arms = _final_arms(extraction, train_read, steer_layer, strength.chosen, config)
    with stages.stage("steering unseen prompts", len(arms) * config.n_steer) as advance:
        steered = compare_arms(
            model,
            directions,
            _requests(test[: config.n_steer], instructions),
            arms,
            sampling=sampling,
            seed=seed,
            on_progress=advance,
        )

    claims = (
        *_reading_claims(as_generated, neutral, rivals, config),
        ranking,
        *_steering_claims(steered, train_read, read_layer, steer_layer, strength.chosen),
    )
    return DemoResult(
        config=config,
        extraction=extraction,
        test_rows=held_out.rows,
        as_generated=as_generated,
        neutral=neutral,
        rivals=rivals,
        read_layer=read_layer,
        steer_layer=steer_layer,
        held_out=scored,
        strength=strength,
        steered=steered,
        claims=claims,
        seconds=stages.seconds,
    )


def _without_null(config: DemoConfig) -> DemoConfig:
    """The same settings with only a few label swaps, where the null is not looked at."""
    return replace(config, n_permutations=1)


def _choose_pairs(
    pairs: Sequence[ContrastPair], config: DemoConfig
) -> tuple[list[ContrastPair], list[ContrastPair], list[ContrastPair]]:
    wanted = {"train": config.n_train, "dev": config.n_dev, "test": config.n_test}
    found = {}
    for split, n in wanted.items():
        there = select_split(pairs, split)  # type: ignore[arg-type]
        if len(there) < n:
            raise InputError(
                f"the demo wants {n} pairs of split {split}, but there are {len(there)}; give more "
                "pairs or a smaller config."
            )
        found[split] = there[:n]
    if config.n_steer > config.n_test:
        raise InputError(f"n_steer ({config.n_steer}) is more than n_test ({config.n_test}).")
    return found["train"], found["dev"], found["test"]


def _read(
    model: LensModel,
    extraction: Extraction,
    by_id: dict[str, ContrastPair],
    instructions: Instructions,
    on_progress: Callable[[int], None],
) -> _Reading:
    """Re-read the texts of an extraction under the neutral prompt, with their likelihood."""
    assert extraction.text_means is not None
    rows = extraction.rows
    passages = []
    for row in rows:
        prompt = instructions.neutral_prompt(by_id[row.pair_id])
        context = tuple(render_prompt(model, prompt.user, system=prompt.system))
        name = f"{row.pair_id}/{row.condition}/{row.sample}"
        passages.append(Passage(name, context, row.response_ids))
    n_layers = int(model.cfg.n_layers)
    read = read_passages(
        model, passages, layers=range(n_layers), likelihood=True, on_progress=on_progress
    )
    lengths = np.log([len(row.response_ids) for row in rows])
    shape = (len(rows) // 2, 2, n_layers, -1)
    return _Reading(
        rows,
        extraction.text_means.reshape(shape),
        read.means.float().reshape(shape),
        np.stack([lengths, read.nll], axis=1).reshape(-1, 2, 2),
    )


def _separate(
    means: Float[Tensor, "pair side layer d_model"], groups: Sequence[str], config: DemoConfig
) -> Separability:
    return separability(means[:, 0], means[:, 1], groups, n_permutations=config.n_permutations)


def _reading_layer(found: Separability, *, avoid: int) -> int:
    """The layer that separates best among those after the steered one.

    Earlier layers cannot see what was added, and the steered one itself would be judging its own
    case: the ruler is not the lever.
    """
    later = [layer for layer in range(len(found.layers)) if layer > avoid]
    return max(later, key=lambda layer: found.layers[layer].estimate)


def _score_held_out(
    model: LensModel,
    extraction: Extraction,
    train: _Reading,
    test: _Reading,
    by_id: dict[str, ContrastPair],
    instructions: Instructions,
    *,
    layer: int,
    on_progress: Callable[[int], None],
) -> tuple[HeldOutPairs, Claim]:
    """Score the test pairs with the training direction, beside random directions and rivals."""
    texts = [
        Text(
            f"{row.pair_id}/{row.condition}/{row.sample}",
            row.response,
            instructions.neutral_prompt(by_id[row.pair_id]).user,
        )
        for row in test.rows
    ]
    values = score_texts(
        model, extraction.directions, texts, layers=layer, on_progress=on_progress
    ).values[:, 0]
    pairwise = wins(values[::2], values[1::2])
    accuracy = mean_interval(pairwise, test.groups)

    random = within_class_directions(train.neutral[:, 0, layer], train.neutral[:, 1, layer], 200)
    projected = torch.einsum("psd,nd->nps", test.neutral[:, :, layer], random).numpy()
    shares = wins(projected[..., 0], projected[..., 1]).mean(axis=1)
    null = np.maximum(shares, 1 - shares)  # a random direction has no sign of its own

    rivals = _trained_rivals(train, test)
    best = max(rivals, key=lambda name: float(rivals[name].mean()))
    weights = bootstrap_weights(test.groups, 2000)
    difference = pairwise - rivals[best]
    gain = percentile_interval(float(difference.mean()), weights @ difference / weights.sum(axis=1))
    claim = ranking_claim(
        accuracy,
        n_pairs=len(pairwise),
        layer=layer,
        null_95=float(np.quantile(null, 0.95)),
        n_null=len(null),
        rival=best,
        rival_accuracy=float(rivals[best].mean()),
        advantage=gain,
    )
    premises = tuple(by_id[row.pair_id].premise for row in test.rows[::2])
    return HeldOutPairs(premises, values[::2], values[1::2], accuracy), claim


def _trained_rivals(train: _Reading, test: _Reading) -> dict[str, NDArray[np.float64]]:
    """Which test pairs each rival ranks rightly, when trained on the training texts."""
    labels = [1] * len(train.groups) + [0] * len(train.groups)
    words = bag_of_words().fit(train.texts(0) + train.texts(1), labels)
    surface = standardized_logistic().fit(
        np.concatenate([train.surface[:, 0], train.surface[:, 1]]), labels
    )
    return {
        BAG_OF_WORDS: wins(
            words.decision_function(test.texts(0)), words.decision_function(test.texts(1))
        ),
        LENGTH_LIKELIHOOD: wins(
            surface.decision_function(test.surface[:, 0]),
            surface.decision_function(test.surface[:, 1]),
        ),
    }


def _requests(pairs: Sequence[ContrastPair], instructions: Instructions) -> dict[str, str]:
    return {pair.id: instructions.neutral_prompt(pair).user for pair in pairs}


def _choose_strength(run: Comparison, config: DemoConfig, layer: int) -> StrengthChoice:
    scores = tuple(run.score_change(f"{s}", layer) for s in config.strengths)
    costs = tuple(run.nll_change(f"{s}") for s in config.strengths)
    affordable = [i for i, cost in enumerate(costs) if cost.estimate <= config.nll_budget]
    best = max(affordable, key=lambda i: scores[i].estimate) if affordable else 0
    rule = (
        f"the candidate with the largest mean change of the score at layer {layer} among those "
        f"that raise NLL by at most {config.nll_budget} nats a token"
        + ("" if affordable else "; none did, so the smallest was taken")
    )
    return StrengthChoice(config.strengths[best], scores, costs, rule)


def _final_arms(
    extraction: Extraction,
    train: _Reading,
    layer: int,
    strength: float,
    config: DemoConfig,
) -> list[Arm]:
    directions = extraction.directions
    length = absolute_strength(directions[layer], strength, "relative")
    random = within_class_directions(
        train.as_generated[:, 0, layer], train.as_generated[:, 1, layer], config.n_random, seed=1
    )
    share = PAPER_STRENGTH / directions[layer].residual_norm

    def arm(name: str, label: str, strength: float, unit: Any = "relative") -> Arm:
        added = interventions(directions, layers=layer, strength=strength, unit=unit)
        return Arm(name, label, added)

    def pushes(name: str, label: str, length: float) -> list[Arm]:
        return [
            Arm(
                f"{name}-{i}",
                f"random direction {i + 1} {label}",
                (Intervention(layer, vector, length),),
            )
            for i, vector in enumerate(random)
        ]

    return [
        Arm("unsteered", "unsteered"),
        arm("steered", f"+{strength:g} of the residual norm", strength),
        arm("opposite", f"-{strength:g} of the residual norm", -strength),
        arm(
            "paper",
            f"λ = {PAPER_STRENGTH:g} ({share:.1%} of the residual norm)",
            PAPER_STRENGTH,
            "absolute",
        ),
        *pushes("random", f"of length {strength:g}", length),
        *pushes("paper-random", f"of length λ = {PAPER_STRENGTH:g}", PAPER_STRENGTH),
    ]


def _reading_claims(
    as_generated: Separability,
    neutral: Separability,
    rivals: dict[str, HeldOutScores],
    config: DemoConfig,
) -> list[Claim]:
    contexts = (
        (
            "The residual stream tells creative from uncreative answers better than their words "
            "alone do, with the instruction in the model's context.",
            as_generated,
            True,
        ),
        (
            "It still does when the same answers are re-read under a neutral prompt.",
            neutral,
            False,
        ),
    )
    claims = []
    for statement, found, instructed in contexts:
        best, gain = advantage(found.selected, rivals)
        claims.append(
            readable_claim(
                statement,
                found.selected.interval(),
                p_value=min(found.p_values),
                null_95=found.null_95,
                n_permutations=config.n_permutations,
                rival=best,
                rival_estimate=rivals[best].interval().estimate,
                advantage=gain,
                instruction_in_context=instructed,
            )
        )
    return claims


def _steering_claims(
    run: Comparison, train: _Reading, read_layer: int, steer_layer: int, strength: float
) -> list[Claim]:
    claims = []
    for name, random, label in (
        ("steered", "random-", f"Adding +{strength:g} of the residual norm at layer {steer_layer}"),
        (
            "paper",
            "paper-random-",
            f"Adding λ = {PAPER_STRENGTH:g} at layer {steer_layer}, the paper's strength,",
        ),
    ):
        claims.append(
            steering_claim(
                f"{label} makes texts score higher.",
                run.score_change(name, read_layer),
                cost=run.nll_change(name),
                read_layer=read_layer,
                n_prompts=len(run.prompt_ids),
                random_changes=tuple(
                    run.score_change(arm.arm.name, read_layer).estimate
                    for arm in run.arms
                    if arm.arm.name.startswith(random)
                ),
                rival=_word_shift(run, train, name),
            )
        )
    return claims


def _word_shift(run: Comparison, train: _Reading, name: str) -> str:
    """Another ruler: does a bag of words trained on the contrast see the same change?"""
    labels = [1] * len(train.groups) + [0] * len(train.groups)
    words = bag_of_words().fit(train.texts(0) + train.texts(1), labels)
    texts = zip(run.prompt_ids, run.arms[0].texts, run[name].texts, strict=True)
    written = [(prompt, *two) for prompt, *two in texts if all(text.strip() for text in two)]
    if not written:
        return "bag of words: nothing to read, one of the two arms wrote nothing"
    prompts, before, after = zip(*written, strict=True)
    shift = words.decision_function(after) - words.decision_function(before)
    change = mean_interval(shift, prompts)
    distinct = [_mean_known([distinct_n(t) for t in side]) for side in (before, after)]
    return (
        f"bag of words, log-odds of creative: {change.estimate:+.2f} "
        f"[{change.low:+.2f}, {change.high:+.2f}]; distinct-2 {distinct[0]:.2f} → {distinct[1]:.2f}"
    )


def _mean_known(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
