"""From contrast pairs to directions: generate both sides, read them, estimate.

Memory is constant in the number of pairs but for the run's own text: activations are summed while
the model decodes (or re-reads), and let go. The estimator `logistic` alone holds the text means.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from creativity_lens.activations.reading import (
    MAX_BATCH_TOKENS,
    Passage,
    Span,
    check_span,
    read_passages,
)
from creativity_lens.directions.difference_of_means import DifferenceOfMeansFitter
from creativity_lens.directions.direction import SCHEMA_VERSION, DirectionSet
from creativity_lens.directions.estimators import ESTIMATORS, Estimator, check_estimator
from creativity_lens.errors import InputError
from creativity_lens.generation.decode import (
    Capture,
    Completion,
    FinishReason,
    Request,
    check_requests,
    generate_batch,
)
from creativity_lens.generation.sampling import Sampling
from creativity_lens.hooks.capture import NormHistogram, ResidualSums
from creativity_lens.io import sha256_json
from creativity_lens.models.chat import check_fits, decode, render_prompt
from creativity_lens.models.identity import identity, library_versions
from creativity_lens.models.protocol import LensModel, model_device
from creativity_lens.prompts.instructions import (
    CONDITIONS,
    Condition,
    Contrast,
    Instructions,
    check_contrast,
    check_sides,
    load_instructions,
)
from creativity_lens.prompts.pairs import ContrastPair

Context = Literal["as-generated", "neutral"]
"""What stands before a response when it is read: the prompt that it was generated from, or a
neutral one, so that the instruction itself cannot be what is read."""


@dataclass(frozen=True)
class ExtractionConfig:
    """Everything that shapes an extraction, but the model and the pairs.

    Attributes:
        contrast: `instruction` (default) or `premise`.
        context: `as-generated` (default) or `neutral`.
        span: `response` (default), `last` or `prompt-last`.
        sampling: how responses are drawn.
        samples: responses for each side of each pair.
        seed: seed of the random streams and of the choice of paraphrase.
        unit_tokens: divide each token by its norm before the mean, so that spikes do not rule it.
        batch_size: rows that decode together.
        estimator: how directions are taken from the text means, `difference-of-means` (default),
            `paired-pca`, `logistic` or `whitened`. The class means and the norms of their
            difference are recorded whatever it is.
    """

    contrast: Contrast = "instruction"
    context: Context = "as-generated"
    span: Span = "response"
    sampling: Sampling = field(default_factory=Sampling)
    samples: int = 1
    seed: int = 0
    unit_tokens: bool = False
    batch_size: int = 32
    estimator: Estimator = "difference-of-means"

    def __post_init__(self) -> None:
        check_contrast(self.contrast)
        check_span(self.span)
        check_estimator(self.estimator)
        if self.context not in get_args(Context):
            raise InputError(
                f"unknown context {self.context!r}; choose one of {', '.join(get_args(Context))}."
            )
        if self.samples < 1 or self.batch_size < 1:
            raise InputError(
                f"samples and batch_size must be at least 1, got {self.samples} and "
                f"{self.batch_size}."
            )
        if self.span == "prompt-last" and self.context == "neutral":
            raise InputError(
                "span prompt-last with context neutral reads the same token on both sides, so "
                "there is no difference: choose context as-generated or another span."
            )

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values, without those that cannot change the result."""
        settings = asdict(self)
        del settings["batch_size"]
        return settings


@dataclass(frozen=True)
class ContrastRow:
    """One generated response: a line of `contrast.jsonl`."""

    pair_id: str
    condition: Condition
    sample: int
    premise_id: str
    domain: str
    split: str
    paraphrase_id: str
    seed: int
    finish_reason: FinishReason
    prompt: str
    response: str
    prompt_ids: tuple[int, ...]
    read_prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    neutral_prompt_ids: tuple[int, ...] = ()
    """The prompt that asks for neither, whatever the context of the run; empty in old files."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as they stand in the file."""
        return asdict(self)


class Extraction(NamedTuple):
    """What `extract` returns."""

    directions: DirectionSet
    rows: tuple[ContrastRow, ...]
    """Two for each sample of each pair that was kept: creative, then uncreative."""
    dropped: tuple[str, ...]
    """Ids of the pairs that were dropped because a side was empty."""
    text_means: Float[Tensor, "row layer d_model"] | None
    """Mean residual stream of each row, float32, if `keep_text_means` was set."""
    norm_spikes: Float[Tensor, " layer"]
    """Share of tokens whose norm is more than three times the layer's median."""


class _Side(NamedTuple):
    """One row to be generated and how it will be read."""

    row_id: str
    pair: ContrastPair
    condition: Condition
    sample: int
    paraphrase_id: str
    prompt: str
    prompt_ids: tuple[int, ...]
    neutral_prompt_ids: tuple[int, ...]
    read_prompt_ids: tuple[int, ...]
    """One of the two."""


def extract(
    model: LensModel,
    pairs: Sequence[ContrastPair],
    config: ExtractionConfig | None = None,
    *,
    instructions: Instructions | None = None,
    keep_text_means: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> Extraction:
    """Extract a creativity direction at every layer.

    Each pair is answered under both conditions; each response's residual stream is averaged over
    its tokens, then over texts; the difference of the two means, normalized, is the direction
    (arXiv 2412.06060), unless the config names another estimator.

    Memory does not grow with the number of pairs but for their text. The estimator `logistic`
    holds every text's mean as well (4 · n_layers · d_model bytes a text).

    Args:
        model: any `LensModel`.
        pairs: contrast pairs; ids must be unique.
        config: the settings; defaults if None.
        instructions: other instructions than the shipped ones.
        keep_text_means: also return every text's mean (4 · n_layers · d_model bytes a text).
        on_progress: called with the number of pairs each batch has finished.

    Raises:
        InputError: no pairs, ids used twice, a premise contrast of pairs whose sides are the same,
            a prompt too long for the context, responses so empty that no pair is left, or too few
            pairs for the estimator.
    """
    config = config or ExtractionConfig()
    instructions = instructions or load_instructions()
    if not pairs:
        raise InputError("cannot extract a direction: there are no pairs.")
    check_sides(pairs, config.contrast)
    sides = [
        _side(model, pair, condition, sample, config, instructions)
        for pair in pairs
        for sample in range(config.samples)
        for condition in CONDITIONS
    ]
    requests = [Request(side.row_id, side.prompt_ids) for side in sides]
    check_requests(model, requests, config.sampling)
    for side in sides:
        check_fits(
            model,
            len(side.read_prompt_ids) + config.sampling.max_new_tokens,
            f"the neutral prompt of pair {side.pair.id!r}",
            remedy="shorten the premise or ask for fewer new tokens",
        )

    n_layers, d_model = int(model.cfg.n_layers), int(model.cfg.d_model)
    norms = NormHistogram(n_layers, device=model_device(model))
    means_fitter = DifferenceOfMeansFitter(n_layers, d_model)
    fitter = (
        means_fitter
        if config.estimator == "difference-of-means"
        else ESTIMATORS[config.estimator](n_layers, d_model)
    )
    rows: list[ContrastRow] = []
    dropped: list[str] = []
    kept_means: list[Tensor] = []
    # A pair never straddles two batches, so it can be dropped whole as soon as it is generated.
    rows_a_pair = 2 * config.samples
    pairs_a_batch = max(1, config.batch_size // rows_a_pair)
    for start in range(0, len(pairs), pairs_a_batch):
        chunk = slice(start * rows_a_pair, (start + pairs_a_batch) * rows_a_pair)
        completions, means, kept = _generate_and_read(
            model, sides[chunk], requests[chunk], config, norms
        )
        for first in range(0, len(completions), rows_a_pair):
            members = range(first, first + rows_a_pair)
            if members[0] not in kept:
                dropped.append(sides[chunk][first].pair.id)
                continue
            for i in members:
                rows.append(_row(model, sides[chunk][i], completions[i], config))
                if keep_text_means:
                    kept_means.append(means[i].float())
        # The sides of a pair stand in the order of CONDITIONS: creative, uncreative, and so on.
        texts = means[sorted(kept)]
        for one in dict.fromkeys((means_fitter, fitter)):
            one.update(texts[0::2], texts[1::2])
        if on_progress is not None:
            on_progress(len(completions) // rows_a_pair)

    fitted = means_fitter.fit()
    rows_of_layers = fitted.directions if fitter is means_fitter else fitter.fit().directions
    provenance = {
        "schema_version": SCHEMA_VERSION,
        "concept": "creativity",
        "model": identity(model),
        "hook": "resid_post",
        **config.to_dict(),
        "neutral_prompt": {
            "system": instructions.neutral[0],
            "user": instructions.generic_prompt(_common_domain(pairs)).user,
        },
        "pairs_sha256": sha256_json([pair.to_dict() for pair in pairs]),
        "instructions_sha256": sha256_json(instructions.to_dict()),
        "n_pairs": len(pairs) - len(dropped),
        "n_pairs_dropped": len(dropped),
        "versions": library_versions(),
    }
    directions = DirectionSet(
        directions=rows_of_layers.float(),
        mean_creative=fitted.mean_creative.float(),
        mean_uncreative=fitted.mean_uncreative.float(),
        difference_norms=fitted.difference_norms.float(),
        residual_norms=norms.median().float(),
        provenance=provenance,
    )
    return Extraction(
        directions,
        tuple(rows),
        tuple(dropped),
        torch.stack(kept_means) if keep_text_means else None,
        norms.share_above(3.0).float(),
    )


def _side(
    model: LensModel,
    pair: ContrastPair,
    condition: Condition,
    sample: int,
    config: ExtractionConfig,
    instructions: Instructions,
) -> _Side:
    prompt = instructions.prompt(
        pair, condition, contrast=config.contrast, seed=config.seed, sample=sample
    )
    prompt_ids = tuple(render_prompt(model, prompt.user, system=prompt.system))
    neutral = instructions.neutral_prompt(pair)
    neutral_ids = tuple(render_prompt(model, neutral.user, system=neutral.system))
    return _Side(
        row_id=f"{pair.id}/{condition}/{sample}",
        pair=pair,
        condition=condition,
        sample=sample,
        paraphrase_id=prompt.paraphrase_id,
        prompt=f"{prompt.system}\n\n{prompt.user}",
        prompt_ids=prompt_ids,
        neutral_prompt_ids=neutral_ids,
        read_prompt_ids=neutral_ids if config.context == "neutral" else prompt_ids,
    )


def _generate_and_read(
    model: LensModel,
    sides: Sequence[_Side],
    requests: Sequence[Request],
    config: ExtractionConfig,
    norms: NormHistogram,
) -> tuple[list[Completion], Float[Tensor, "row layer d_model"], set[int]]:
    """Responses of one batch, each one's mean, and which rows belong to pairs that are kept.

    Only those rows' norms are counted, and only their means are of use.
    """
    layers = range(int(model.cfg.n_layers))
    d_model = int(model.cfg.d_model)
    if config.context == "as-generated":
        sums = ResidualSums(
            len(sides),
            layers,
            d_model,
            device=model_device(model),
            unit_tokens=config.unit_tokens,
            norms=norms,
            defer_norms=True,
        )
        completions = generate_batch(
            model,
            requests,
            sampling=config.sampling,
            seed=config.seed,
            capture=Capture(sums, config.span),
        )
        kept = _rows_of_whole_pairs(completions, config)
        sums.commit_norms(sorted(kept))
        return completions, sums.means(), kept
    completions = generate_batch(model, requests, sampling=config.sampling, seed=config.seed)
    kept = _rows_of_whole_pairs(completions, config)
    passages = [
        Passage(sides[i].row_id, sides[i].read_prompt_ids, completions[i].response_ids)
        for i in sorted(kept)
    ]
    means = torch.full((len(sides), len(layers), d_model), torch.nan, dtype=torch.float64)
    if kept:
        means[sorted(kept)] = read_passages(
            model,
            passages,
            layers=layers,
            span=config.span,
            unit_tokens=config.unit_tokens,
            norms=norms,
            batch_size=config.batch_size,
            max_batch_tokens=MAX_BATCH_TOKENS,
        ).means
    return completions, means, kept


def _rows_of_whole_pairs(completions: Sequence[Completion], config: ExtractionConfig) -> set[int]:
    """The rows of those pairs that have a text in every row."""
    rows_a_pair = 2 * config.samples
    kept: set[int] = set()
    for first in range(0, len(completions), rows_a_pair):
        members = range(first, first + rows_a_pair)
        if all(completions[i].response_ids for i in members):
            kept.update(members)
    return kept


def _row(
    model: LensModel, side: _Side, completion: Completion, config: ExtractionConfig
) -> ContrastRow:
    return ContrastRow(
        pair_id=side.pair.id,
        condition=side.condition,
        sample=side.sample,
        premise_id=side.pair.premise_id,
        domain=side.pair.domain,
        split=side.pair.split,
        paraphrase_id=side.paraphrase_id,
        seed=config.seed,
        finish_reason=completion.finish_reason,
        prompt=side.prompt,
        response=decode(model, completion.response_ids),
        prompt_ids=side.prompt_ids,
        read_prompt_ids=side.read_prompt_ids,
        response_ids=completion.response_ids,
        neutral_prompt_ids=side.neutral_prompt_ids,
    )


def _common_domain(pairs: Sequence[ContrastPair]) -> str:
    """The domain of the pairs, or `default` if they have several."""
    domains = {pair.domain for pair in pairs}
    return domains.pop() if len(domains) == 1 else "default"
