"""Made-up tables of a probe study, with the columns that the real ones have."""

import math
from typing import Any

import pandas as pd

from creativity_lens.evaluation.manipulation import ManipulationCheck
from creativity_lens.evaluation.manipulation_rules import READS_AS, JudgeSummary, MeasureRow
from creativity_lens.probes.nulls import ISOTROPIC, SHUFFLED, WITHIN_CLASS
from creativity_lens.probes.separability import DIFFERENCE_OF_MEANS
from creativity_lens.stats import Interval
from creativity_lens.studies.claims import Claim
from creativity_lens.studies.probe import ProbeResult
from creativity_lens.studies.probe_config import ProbeConfig
from creativity_lens.studies.probe_context import (
    BAG_OF_WORDS,
    EMBEDDINGS,
    LENGTH_LIKELIHOOD,
    RANDOM_WEIGHTS,
)
from creativity_lens.studies.probe_parts import EVERYTHING, LABEL_SWAPS, LENGTH
from creativity_lens.studies.probe_tables import (
    CURVE_COLUMNS,
    GAIN_COLUMNS,
    RIVAL_COLUMNS,
    SELECTED_COLUMNS,
    claims_table,
    columns,
    frame,
    spread,
)

CONTEXTS = ("as-generated", "neutral", "opposite")
PROBES = (DIFFERENCE_OF_MEANS, "logistic", "pca", "rbf")
CONCEPTS = ("formality", "sentiment", "verbosity", "genre", "concreteness", "vocabulary")
NAN = math.nan


def interval(estimate: float, width: float = 0.06) -> Interval:
    return Interval(estimate, estimate - width, estimate + width)


def rise(layer: int, n_layers: int, low: float, high: float) -> float:
    """From `low` at the first layer to `high` at two thirds of the depth, then level."""
    return low + (high - low) * min(1.0, 1.5 * layer / max(n_layers - 1, 1))


def probe_tables(n_layers: int = 5, text: str | None = None) -> dict[str, pd.DataFrame]:
    """All tables of a study.

    Args:
        n_layers: how many layers.
        text: stands for every string that comes from outside: domains, concepts, ids, tokens,
            texts, names of other runs. None gives harmless ones.
    """
    layers = range(n_layers)
    shown = 2 * n_layers // 3
    held = CONTEXTS[:2]

    def outside(name: str) -> str:
        return name if text is None else f"{name} {text}"

    concepts = [outside(name) for name in CONCEPTS]
    domains = [outside(name) for name in ("stories", "jokes", "recipes")]
    tops = {"as-generated": 0.9, "neutral": 0.74, "opposite": 0.3}
    rivals = {BAG_OF_WORDS: 0.7, LENGTH_LIKELIHOOD: 0.61, EMBEDDINGS: 0.66, RANDOM_WEIGHTS: 0.64}

    def scores(context: str, probe: str, layer: int) -> dict[str, Any]:
        value = rise(layer, n_layers, 0.58, tops[context]) - 0.015 * PROBES.index(probe)
        return (
            spread("auroc", interval(value))
            | spread("accuracy", interval(value - 0.05))
            | spread("advantage", interval(value - 0.7))
            | {
                "p_value": 0.01 if probe == DIFFERENCE_OF_MEANS else NAN,
                "best_rival": BAG_OF_WORDS,
                "readable": value - 0.7 - 0.06 > 0,
            }
        )

    curves = [
        {"context": context, "probe": probe, "layer": layer} | scores(context, probe, layer)
        for context in held
        for probe in PROBES
        for layer in layers
    ]
    selected = [
        {"context": context, "probe": probe, "layers": "3 3 2"} | scores(context, probe, shown)
        for context in held
        for probe in PROBES
    ]
    met = [
        {"context": context, "probe": probe, "rival": rival} | spread("auroc", interval(value))
        for context in held
        for probe in PROBES
        for rival, value in rivals.items()
    ]
    gains = [
        {"context": context, "layer": layer}
        | spread("gain", interval(-0.01 - 0.01 * held.index(context), 0.03))
        for context in held
        for layer in layers
    ]
    nulls = []
    for context in held:
        families = {LABEL_SWAPS: (NAN, 0.61, 200), ISOTROPIC: (0.57, 0.6, 200)}
        families |= {WITHIN_CLASS: (0.6, 0.64, 200), SHUFFLED: (0.61, 0.65, 200)}
        families |= {name: (0.52 + 0.01 * i, 0.6, 1) for i, name in enumerate(concepts)}
        nulls += [
            {
                "context": context,
                "null": name,
                "layer": layer,
                "auroc_95": at + 0.002 * layer,
                "largest_95": largest,
                "p_value": 0.01,
                "n": n,
            }
            for name, (at, largest, n) in families.items()
            for layer in layers
        ]
    leakage = [
        {"fitted_in": fitted, "read_in": read, "layer": layer}
        | spread("auroc", interval(rise(layer, n_layers, 0.55, tops[read]), 0.05))
        for fitted in CONTEXTS
        for read in CONTEXTS
        for layer in layers
    ]
    transfer = []
    for kind, names in (("domain", domains), ("paraphrase", ["0", "1"])):
        for tested, one in enumerate(names):
            cells = [("all others", layer) for layer in layers]
            cells += [(other, shown) for other in names if (one, other) != (names[0], names[-1])]
            transfer += [
                {
                    "context": "neutral",
                    "kind": kind,
                    "probe": DIFFERENCE_OF_MEANS,
                    "trained_on": trained,
                    "tested_on": one,
                    "layer": layer,
                    "n_train": 40,
                    "n_test": 12 + tested,
                }
                | spread("auroc", interval(0.6 + 0.05 * tested + 0.001 * layer, 0.1))
                for trained, layer in cells
            ]
    stability, learning = [], []
    for context in held:
        for layer in layers:
            k = {"as-generated": 12.0, "neutral": 60.0}[context]
            endless = context == "neutral" and layer == 0
            needed = Interval(9 * k, 6 * k, math.inf if layer < 2 else 14 * k)
            stability.append(
                {
                    "context": context,
                    "layer": layer,
                    "n_premises": 64,
                    "reliability": 64 / (64 + k),
                    "with_truth": math.sqrt(64 / (64 + k)),
                    "wanted": 0.9,
                }
                | spread("split_half", interval(32 / (32 + k)))
                | spread("bootstrap", interval(0.88, 0.03))
                | spread("noise_to_signal", Interval(k, 0.6 * k, 2 * k))
                | spread("premises_needed", Interval(*[math.inf] * 3) if endless else needed)
            )
            learning += [
                {"context": context, "layer": layer, "n_premises": n, "fitted": n / (n + k)}
                | spread("cosine", interval(n / (n + k) + 0.01, 0.1))
                for n in (2, 4, 8, 16, 32)
            ]
    ways = [
        "estimator: difference-of-means",
        "estimator: logistic",
        "context: neutral",
        outside("run: other"),
    ]
    agreement = [
        {"layer": layer, "first": a, "second": b, "cosine": 0.8 - 0.4 * i - 0.01 * layer}
        for layer in layers
        for i, a in enumerate(ways)
        for b in ways[i + 1 :]
    ]
    cosines = [
        {
            "context": context,
            "concept": concept,
            "layer": layer,
            "null_95": 0.2 + 0.005 * layer,
            "null_max_95": 0.35,
            "isotropic_95": 0.08,
            "corrected": NAN if concept == LENGTH else (2.0 if layer == 0 else 0.15 * i + 0.02),
            "reliability": NAN if concept == LENGTH else 0.6,
        }
        | spread("cosine", interval(0.1 * i - 0.1))
        for context in held
        for i, concept in enumerate([*concepts, LENGTH])
        for layer in layers
    ]
    plans = [*((name, "projection", 0.7) for name in concepts), ("nothing", "none", 0.74)]
    plans += [(EVERYTHING, "projection", 0.62), (EVERYTHING, "leace", 0.55)]
    removal = [
        {"context": "neutral", "removed": removed, "method": method, "layer": layer}
        | spread("auroc", interval(value if layer == -1 else rise(layer, n_layers, 0.5, value)))
        for removed, method, value in plans
        for layer in (*layers, -1)
    ]
    lens = [
        {
            "context": "neutral",
            "layer": layer,
            "end": end,
            "rank": rank,
            "token": outside(f" {end[:4]}{rank}\n"),
            "logit": 5.0 - rank,
        }
        for layer in (shown, n_layers - 1)
        for end in ("creative", "uncreative")
        for rank in range(1, 13)
    ]
    here = {"context": "neutral", "layer": shown}
    texts = [
        here
        | {
            "end": end,
            "text_id": outside(f"p{i}/creative/0"),
            "condition": "creative",
            "score": sign * (2.0 - 0.1 * i),
            "text": outside("The lighthouse keeper counted the gulls and lost one. " * 5),
        }
        for end, sign in (("highest", 1), ("lowest", -1))
        for i in range(4)
    ]
    tokens = [
        here
        | {
            "end": end,
            "token": outside(f" word{i}"),
            "cosine": sign * (0.3 - 0.02 * i),
            "n_texts": 3,
        }
        for end, sign in (("highest", 1), ("lowest", -1))
        for i in range(5)
    ]
    coordinates = [
        here
        | {
            "method": method,
            "text_id": outside(f"p{i}/{condition}/0"),
            "condition": condition,
            "domain": domains[i % len(domains)],
            "x": math.sin(7.1 * i) + side,
            "y": math.cos(3.3 * i * i) - side,
            "explained_x": 0.31 if method == "pca" else NAN,
            "explained_y": 0.12 if method == "pca" else NAN,
        }
        for method in ("pca", "tsne")
        for i in range(40)
        for side, condition in enumerate(("creative", "uncreative"))
    ]
    one = columns("context", "layer")
    return {
        "curves": frame(curves, CURVE_COLUMNS),
        "selected": frame(selected, SELECTED_COLUMNS),
        "rivals": frame(met, RIVAL_COLUMNS),
        "nonlinearity": frame(gains, GAIN_COLUMNS),
        "nulls": pd.DataFrame(nulls),
        "leakage": pd.DataFrame(leakage),
        "transfer": pd.DataFrame(transfer),
        "stability": pd.DataFrame(stability),
        "learning_curve": pd.DataFrame(learning),
        "agreement": pd.DataFrame(agreement),
        "cosines": pd.DataFrame(cosines),
        "removal": pd.DataFrame(removal),
        "lens": frame(lens, [*one, "end", "rank", "token", "logit"]),
        "extreme_texts": pd.DataFrame(texts),
        "extreme_tokens": pd.DataFrame(tokens),
        "coordinates": pd.DataFrame(coordinates),
        "manipulation": pd.DataFrame(manipulation().table()),
    }


def manipulation() -> ManipulationCheck:
    """A check in which one measure has no value, as of texts that are too short for it."""
    unknown = Interval(NAN, NAN, NAN)
    measures = tuple(
        MeasureRow(
            name, 40.0, 30.0, interval(10.0, 2.0), interval(0.4 + 0.1 * i), 0, READS_AS[name]
        )
        for i, name in enumerate(("length", "nll", "distinct_2", "compression_ratio"))
    )
    empty = MeasureRow("repetition_3", NAN, NAN, unknown, unknown, 64, READS_AS["repetition_3"])
    judge = JudgeSummary(interval(0.6), 0.1, 0.7, 0.9, 60)
    return ManipulationCheck(
        (*measures, empty), judge, interval(0.72), (0.1, 0.4), 0.0, 64, 64, ("The warning.",)
    )


def probe_result(
    tables: dict[str, pd.DataFrame] | None = None, *, text: str = "plain", n_layers: int = 5
) -> ProbeResult:
    """A made-up study; `text` stands for what a report shows of the run and its claims."""
    claims = (
        Claim(text, interval(0.74), text, text, text, "supported", text),
        Claim("Plain.", interval(0.1, 0.1), "nats", "0.2", "0.3", "not supported", "No."),
    )
    tables = dict(probe_tables(n_layers) if tables is None else tables)
    tables["claims"] = claims_table(claims)
    return ProbeResult(
        config=ProbeConfig(),
        tables=tables,
        claims=claims,
        warnings=(f"the sides differ in length: {text}",),
        layer=2 * n_layers // 3,
        context="neutral",
        manipulation=manipulation(),
        provenance={
            "model": {"name": text, "n_layers": n_layers},
            "neutral_prompt": {"system": text, "user": text},
            "versions": {"torch": "2.6"},
            "seed": 0,
            "strength": None,
        },
        seconds={"leakage and transfer": 1.25},
    )
