"""The last section of a sweep's report: what was run, and what the saved tables hold."""

from creativity_lens.report.page import Section
from creativity_lens.report.parts import run_section
from creativity_lens.studies.sweep import SweepResult

TABLES = {
    "claims": "the claims of this report with estimate, null, rival, verdict and reason",
    "cells": "each way of generating: what is steered, where, how far, and on which prompts",
    "prompts": "the prompts, and whether they chose (dev) or tested (test)",
    "texts": "every text",
    "metrics": "every measurement of every text, one a row",
    "effects": "what each cell changes in each measure, with intervals over prompts",
    "prompt_effects": "the same prompt by prompt, for score, NLL, KL and degenerate texts",
    "monotonicity": "whether more strength means more score, by layer",
    "layers": "what each steered layer is good for, and why",
    "pareto": "score against NLL of the steered cells on dev prompts",
    "recommended": "the cell to use, chosen on dev prompts and reported on test prompts",
    "matched": "the recommended cell less each rival at equal norm, NLL and KL",
    "necessity": "what is lost when a direction is ablated under the creative instruction",
}


def sweep_run_section(result: SweepResult, command: str) -> Section:
    """What was run: settings, provenance, times and throughput; and the files of tables.

    Args:
        result: what `sweep` returned.
        command: how the sweep was started.
    """
    settings = [
        *((f"sweep: {name}", value) for name, value in result.config.to_dict().items()),
        *((f"run: {name}", value) for name, value in result.provenance.items()),
        *((f"speed: {name}", f"{value:.4g}") for name, value in result.throughput.items()),
    ]
    return run_section(command, settings, result.seconds, result.tables, TABLES)
