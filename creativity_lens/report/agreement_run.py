"""The last sections of a report on agreement: what was left out, and what was run."""

from dataclasses import asdict

from pandas import DataFrame

from creativity_lens.plots.draw import rows_of
from creativity_lens.report.agreement_tables import notes_table
from creativity_lens.report.page import Section
from creativity_lens.report.parts import run_section, section
from creativity_lens.studies.evaluate_tables import WHERE, EvaluateResult

TABLES = {
    "agreement": "each score against each dimension, group of raters and scope",
    "nulls": "what random directions reach, by layer",
    "ceilings": "one rater against the others, with two scores on the same pairs; reliability",
    "per_prompt": "accuracy on each prompt, of scores without a layer and at the primary one",
    "choice": "which variant and layer the other prompts chose for each prompt",
    "ratings": "mean rating of each text by dimension and group of raters",
    "judges": "position bias, consistency and mass on the labels of each judge",
    "between": "agreement of judges with each other and with the score",
    "scores": "every score of every text; cosine@20 is that of layer 20",
    "claims": "the claims of this report with estimate, null, rival, verdict and reason",
}


def left_out_section(result: EvaluateResult) -> Section:
    """What this study cannot say, and why."""
    agreement = result.tables.get("agreement", DataFrame())
    return section(
        "What was left out",
        left_out(result),
        (notes_table(agreement),),
    )


def left_out(result: EvaluateResult) -> tuple[str, ...]:
    """Sentences on what is missing from the tables."""
    tables = result.tables
    agreement = tables.get("agreement", DataFrame())
    nulls, judges = (tables.get(name, DataFrame()) for name in ("nulls", "judges"))
    if agreement.empty:
        return ("No text could be compared with another, so nothing was measured.",)
    kinds, scores = set(agreement["kind"]), set(agreement["score"])
    scopes = set(agreement["scope"])
    places = agreement.groupby(list(WHERE), sort=False)
    none = [", ".join(map(str, where)) for where, own in places if not own["n_pairs"].max() > 0]
    some_layers = agreement["layer"].dropna().nunique()
    missing = {
        "No model read the texts: there is no activation score, likelihood or random direction.": (
            result.layer is None
        ),
        "Only the primary layer was read, so there is no curve over layers and no average.": (
            result.layer is not None and some_layers < 2
        ),
        "The texts were not read after their own prompts.": (
            result.layer is not None and not any(str(name).endswith("+prompt") for name in scores)
        ),
        "There are no directions of nuisances to compare with.": (
            result.layer is not None and "direction" not in kinds
        ),
        "There are no directions of shuffled labels: the texts of the contrast are not at hand.": (
            result.layer is not None and rows_of(nulls, null="shuffled").empty
        ),
        "No judge was asked, neither the model itself nor another.": (
            "judge" not in kinds and judges.empty
        ),
        "No scores were brought along.": "given" not in kinds,
        "Pairs cannot be kept within author types, because fewer than two are known. If people and "
        "models wrote the texts, a score may only tell who wrote them.": (
            "prompt+author" not in scopes
        ),
        "There are fewer than ten systems, so agreement over systems is not known.": bool(
            agreement["system_kendall"].isna().all()
        ),
    }
    said = [sentence for sentence, holds in missing.items() if holds]
    if none:
        said.append(f"No pair is decided for: {'; '.join(none)}.")
    said.append(
        "What a score adds to length, and how it does on pairs of like length, is known for scores "
        "without a layer and at the primary layer only."
    )
    return tuple(said)


def agreement_run_section(result: EvaluateResult, command: str) -> Section:
    """What was run: settings, provenance and times; and the files of tables.

    Args:
        result: what the study returned.
        command: how it was started.
    """
    settings = [
        ("ratings", result.source),
        *((f"study: {name}", value) for name, value in asdict(result.config).items()),
        *((f"directions: {name}", value) for name, value in result.provenance.items()),
    ]
    return run_section(command, settings, result.seconds, result.tables, TABLES)
