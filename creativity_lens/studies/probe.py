"""Probe a run: can its direction be defended?

One study asks of one run where the contrast can be read and against which rivals, what chance
reaches, how stable the direction is, how much of it is the instruction, what else is in it, and
whether the contrast worked at all. Every answer is a tidy table; figures and claims are made of
the tables.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from creativity_lens.directions.direction import DirectionSet
from creativity_lens.directions.extract import ContrastRow
from creativity_lens.directions.rereading import check_rows
from creativity_lens.errors import InputError, ModelError
from creativity_lens.evaluation.manipulation import ManipulationCheck, manipulation_check
from creativity_lens.models.protocol import LensModel, check_layer
from creativity_lens.probes.coordinates import check_umap
from creativity_lens.probes.separability import DIFFERENCE_OF_MEANS
from creativity_lens.studies import probe_claims, probe_parts, probe_tables
from creativity_lens.studies.claims import Claim
from creativity_lens.studies.probe_config import ProbeConfig
from creativity_lens.studies.probe_context import ContextProbes, probe_context
from creativity_lens.studies.probe_readings import Readings, read_run
from creativity_lens.studies.stages import Progress, Stages

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, eq=False)
class ProbeResult:
    """What a probe study found.

    Attributes:
        config: what was asked.
        tables: tidy tables by name; the documentation lists their columns.
        claims: what can be said, each with its estimate, null, rival and verdict.
        warnings: what should be known before any number is believed.
        layer: the layer of the pictures, texts and tokens: as asked, or what most folds chose.
        context: the context that they are about.
        manipulation: whether the contrast worked.
        provenance: of the run's directions.
        seconds: how long each stage took.
    """

    config: ProbeConfig
    tables: Mapping[str, "DataFrame"]
    claims: tuple[Claim, ...]
    warnings: tuple[str, ...]
    layer: int
    context: str
    manipulation: ManipulationCheck
    provenance: Mapping[str, Any]
    seconds: Mapping[str, float]


def probe_run(
    model: LensModel,
    rows: Sequence[ContrastRow],
    directions: DirectionSet,
    config: ProbeConfig | None = None,
    *,
    store: str | os.PathLike[str],
    others: Mapping[str, DirectionSet] | None = None,
    on_progress: Progress | None = None,
    on_note: Callable[[str], None] | None = None,
) -> ProbeResult:
    """Probe a run.

    Args:
        model: the model that the run was made with.
        rows: the run's texts, in the order of contrast.jsonl.
        directions: the run's directions.
        config: what to do.
        store: folder that keeps the activations; a second study of the run reads them from there.
        others: directions of other runs by name, such as other seeds, to compare with.
        on_progress: called as the stages go on.
        on_note: told what will be large or slow before it is done.

    Raises:
        DirectionMismatchError: the run, or one of `others`, is another model's.
        InputError: texts of one class only, or fewer premises than folds.
    """
    config = config or ProbeConfig()
    check_rows(rows)
    directions.check_model(model)
    if config.layer is not None:
        check_layer(model, config.layer)
    if "umap" in config.coordinates:
        check_umap()
    for other in (others or {}).values():
        other.check_model(model)
    note = on_note or (lambda text: None)
    stages = Stages(on_progress)
    provenance = directions.provenance
    contexts = tuple(dict.fromkeys((*config.contexts, provenance["context"])))
    nuisances = config.nuisances
    warnings: list[str] = []
    if provenance["span"] == "prompt-last":
        # Without the instruction, the last token of the prompt is the same on both sides.
        contexts, nuisances = ("as-generated",), ()
        warnings.append(
            "The span is the last token of the prompt, so only as-generated was read, and nothing "
            "was compared with nuisance passages."
        )
    if provenance["estimator"] != "difference-of-means" or provenance.get("removed"):
        warnings.append(
            f"The run's own directions ({provenance['estimator']}"
            + "".join(f", less {name}" for name in provenance.get("removed", ()))
            + ") are compared under `agreement` alone: everything else fits directions anew from "
            "the run's texts, as held-out numbers must."
        )
    probe_parts.check_folds([row.premise_id for row in rows[::2]], config.n_folds)
    readings = read_run(
        model,
        rows,
        directions,
        contexts=contexts,
        nuisances=nuisances,
        nuisance_pairs=config.nuisance_pairs,
        random_weights=config.random_weights,
        store=Path(store),
        stages=stages,
        on_size=lambda what, size: note(f"{what}: {size / 1e6:,.1f} MB of activations"),
        seed=config.seed,
    )
    n_judged = min(len(rows) // 2, len(rows) if config.judge_pairs is None else config.judge_pairs)
    with stages.stage("checking the contrast", 2 * n_judged) as advance:
        manipulation, no_judge = _check_contrast(model, rows, readings, config, advance)
        warnings += no_judge
    probed: dict[str, ContextProbes] = {
        context: probe_context(readings, context, config, stages, note)
        for context in contexts
        if context != "opposite"
    }
    context: str = "neutral" if "neutral" in probed else "as-generated"
    chosen = Counter(probed[context].separability.selected_layers).most_common(1)[0][0]
    layer = chosen if config.layer is None else config.layer
    tables = dict(probe_tables.probe_tables(probed, config))
    with stages.stage("nulls", len(probed)) as advance:
        tables["nulls"] = probe_parts.nulls(readings, probed, config, advance)
    with stages.stage("leakage and transfer", 2) as advance:
        tables["leakage"] = probe_parts.leakage(readings, contexts, config)
        advance(1)
        tables["transfer"] = probe_parts.transfers(readings, tuple(probed), layer, config)
        advance(1)
    with stages.stage("stability", len(probed)) as advance:
        tables |= probe_parts.stabilities(readings, tuple(probed), config, advance)
    with stages.stage("agreement", 1) as advance:
        tables["agreement"] = probe_parts.agreements(readings, directions, others or {})
        advance(1)
    with stages.stage("what is in it", 4) as advance:
        tables["cosines"] = probe_parts.cosines(readings, tuple(probed), config)
        advance(1)
        tables["removal"], no_leace = probe_parts.removals(readings, context, config)
        warnings += no_leace
        advance(1)
        lens, why_not = probe_parts.lens(model, readings, context, layer)
        tables["lens"] = lens
        warnings += why_not
        advance(1)
        tables |= probe_parts.extremes(
            model,
            readings,
            probed[context].curves[DIFFERENCE_OF_MEANS],
            context,
            layer,
            config,
            unit_tokens=bool(provenance["unit_tokens"]),
        )
        advance(1)
    with stages.stage("coordinates", len(config.coordinates)) as advance:
        tables["coordinates"] = probe_parts.coordinate_table(
            readings, context, layer, config, advance
        )
    tables["manipulation"] = probe_tables.manipulation_table(manipulation)
    claims = probe_claims.probe_claims(probed, tables, manipulation, context, layer, config)
    tables["claims"] = probe_tables.claims_table(claims)
    return ProbeResult(
        config=config,
        tables=tables,
        claims=claims,
        warnings=(*manipulation.warnings, *warnings),
        layer=layer,
        context=context,
        manipulation=manipulation,
        provenance=directions.provenance,
        seconds=stages.seconds,
    )


def _check_contrast(
    model: LensModel,
    rows: Sequence[ContrastRow],
    readings: Readings,
    config: ProbeConfig,
    advance: Callable[[int], None],
) -> tuple[ManipulationCheck, list[str]]:
    """Whether the contrast worked; where the model cannot judge, without it, and why."""
    settings: dict[str, Any] = {
        "nll": readings.nll,
        "n_folds": config.n_folds,
        "n_draws": config.n_draws,
        "seed": config.seed,
    }
    try:
        return manipulation_check(
            model, rows, judge_pairs=config.judge_pairs, on_progress=advance, **settings
        ), []
    except (InputError, ModelError) as error:
        # Texts too long to stand side by side, or no label of one token: not worth the study.
        found = manipulation_check(model, rows, judge_pairs=0, **settings)
        return found, [f"The model did not judge the texts: {error}"]
