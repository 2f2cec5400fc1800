"""The last section of a probe report: what was run, and what the saved tables hold."""

from dataclasses import asdict

from creativity_lens.report.page import Section
from creativity_lens.report.parts import run_section
from creativity_lens.studies.probe import ProbeResult

TABLES = {
    "claims": "the claims of this report with estimate, null, rival, verdict and reason",
    "curves": "each probe at each layer: AUROC, accuracy, p, margin over the best rival",
    "selected": "each probe with its layer chosen within the folds",
    "rivals": "AUROC of each rival of each probe",
    "nonlinearity": "what an RBF probe gains over a logistic one, by layer",
    "nulls": "what random directions, swapped labels and unrelated concepts reach, by layer",
    "leakage": "directions fitted in one context and read in another, by layer",
    "transfer": "trained on one domain or wording and tested on another",
    "stability": "split-half and bootstrap cosines, and premises needed, by layer",
    "learning_curve": "cosine between directions of n premises each, by layer",
    "agreement": "cosines between estimators, contexts, samples and runs, by layer",
    "cosines": "cosine with each nuisance direction, its band and its correction, by layer",
    "removal": "AUROC left after removing nuisances; layer -1 is chosen within the folds",
    "lens": "tokens at both ends of the direction, read through the unembedding",
    "extreme_texts": "texts that score highest and lowest",
    "extreme_tokens": "tokens that score highest and lowest",
    "coordinates": "two coordinates of each text by each method",
    "manipulation": "measures of both sides of the pairs",
}


def probe_run_section(result: ProbeResult, command: str) -> Section:
    """What was run: settings, provenance and times; and the files of tables.

    Args:
        result: what `probe_run` returned.
        command: how the study was started.
    """
    settings = [
        *((f"study: {name}", value) for name, value in asdict(result.config).items()),
        *((f"run: {name}", value) for name, value in result.provenance.items()),
    ]
    return run_section(command, settings, result.seconds, result.tables, TABLES)
