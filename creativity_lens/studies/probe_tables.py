"""Tidy tables of a probe study: one row a measurement, the same columns every time."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from creativity_lens.evaluation.manipulation import ManipulationCheck
from creativity_lens.probes.held_out import HeldOutScores, ProbeCurve
from creativity_lens.probes.rivals import advantages
from creativity_lens.stats import Interval
from creativity_lens.studies.claims import Claim
from creativity_lens.studies.probe_config import ProbeConfig
from creativity_lens.studies.probe_context import ContextProbes

if TYPE_CHECKING:
    from pandas import DataFrame

LINEAR, BENT = "logistic", "rbf"


def frame(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> "DataFrame":
    """A table of some rows with all of its columns, also where there are no rows."""
    import pandas as pd

    return pd.DataFrame([dict(row) for row in rows], columns=list(columns))


def spread(name: str, interval: Interval) -> dict[str, float]:
    """An interval as three columns: `name`, `name_low`, `name_high`."""
    return {
        name: interval.estimate,
        f"{name}_low": interval.low,
        f"{name}_high": interval.high,
    }


def read_interval(row: Any, name: str) -> Interval:
    """The interval that `spread` made three columns of; `row` may be a row of a table."""
    return Interval(*(float(row[f"{name}{end}"]) for end in ("", "_low", "_high")))


def columns(*names: str) -> list[str]:
    """Column names; one that ends in `*` stands for its interval."""
    found: list[str] = []
    for name in names:
        stem = name.removesuffix("*")
        found += [stem, f"{stem}_low", f"{stem}_high"] if name.endswith("*") else [stem]
    return found


CURVE_COLUMNS = columns(
    "context",
    "probe",
    "layer",
    "auroc*",
    "accuracy*",
    "p_value",
    "best_rival",
    "advantage*",
    "readable",
)
SELECTED_COLUMNS = columns(
    "context",
    "probe",
    "layers",
    "auroc*",
    "accuracy*",
    "p_value",
    "best_rival",
    "advantage*",
    "readable",
)
RIVAL_COLUMNS = columns("context", "probe", "rival", "auroc*")
GAIN_COLUMNS = columns("context", "layer", "gain*")


def probe_tables(
    probed: Mapping[str, ContextProbes], config: ProbeConfig
) -> dict[str, "DataFrame"]:
    """`curves`, `selected`, `rivals` and `nonlinearity`."""
    curves: list[dict[str, Any]] = []
    selected: list[dict[str, Any]] = []
    rivals: list[dict[str, Any]] = []
    gains: list[dict[str, Any]] = []
    for context, found in probed.items():
        for name, curve in found.curves.items():
            where = {"context": context, "probe": name}
            layers = [curve[layer] for layer in range(len(curve))]
            best, margins = advantages(
                [*layers, curve.selected],
                found.rivals[name],
                n_draws=config.n_draws,
                seed=config.seed,
            )
            own = found.nulls.get(name)
            p_values = own.p_values if own else (float("nan"),) * len(curve)
            # Without a null at all, noise would be readable wherever its interval is lucky.
            null = found.null_of(name).p_values
            for layer, scores in enumerate(layers):
                curves.append(
                    where
                    | {"layer": layer, "p_value": p_values[layer], "best_rival": best}
                    | _scores(scores, margins[layer], null[layer], config)
                )
            selected.append(
                where
                | {
                    "layers": " ".join(str(layer) for layer in curve.selected_layers),
                    "p_value": min(p_values),
                    "best_rival": best,
                }
                | _scores(curve.selected, margins[-1], min(null), config)
            )
            rivals += [
                where | {"rival": rival} | spread("auroc", _auroc(scores, config))
                for rival, scores in found.rivals[name].items()
            ]
        gains += _gains(context, found.curves, config)
    return {
        "curves": frame(curves, CURVE_COLUMNS),
        "selected": frame(selected, SELECTED_COLUMNS),
        "rivals": frame(rivals, RIVAL_COLUMNS),
        "nonlinearity": frame(gains, GAIN_COLUMNS),
    }


def manipulation_table(check: ManipulationCheck) -> "DataFrame":
    """Whether the contrast worked, one row a statistic."""
    names = columns("measure", "statistic", "estimate", "low", "high", "n_pairs", "reads_as")
    return frame(check.table(), names)


def claims_table(claims: Sequence[Claim]) -> "DataFrame":
    """The claims as a table."""
    rows = []
    for claim in claims:
        values = asdict(claim)
        estimate = claim.estimate
        rows.append(values | spread("estimate", estimate))
    return frame(
        rows, columns("statement", "estimate*", "unit", "null", "rival", "verdict", "reason")
    )


def _scores(
    scores: HeldOutScores, margin: Interval, p_value: float, config: ProbeConfig
) -> dict[str, Any]:
    accuracy = scores.accuracy(n_draws=config.n_draws, seed=config.seed)
    return (
        spread("auroc", _auroc(scores, config))
        | spread("accuracy", accuracy)
        | spread("advantage", margin)
        | {"readable": bool(margin.low > 0 and p_value < 0.05)}
    )


def _auroc(scores: HeldOutScores, config: ProbeConfig) -> Interval:
    return scores.interval(n_draws=config.n_draws, seed=config.seed)


def _gains(
    context: str, curves: Mapping[str, ProbeCurve], config: ProbeConfig
) -> list[dict[str, Any]]:
    """By how much the bent boundary beats the straight one, layer by layer, paired by premise."""
    if not {LINEAR, BENT} <= set(curves):
        return []
    straight, bent = curves[LINEAR], curves[BENT]
    found = []
    for layer in range(len(bent)):
        _, (gain,) = advantages(
            [bent[layer]], {LINEAR: straight[layer]}, n_draws=config.n_draws, seed=config.seed
        )
        found.append({"context": context, "layer": layer} | spread("gain", gain))
    return found
