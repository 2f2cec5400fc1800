"""How long the probes of one context take once the activations are there, and how much memory.

    python benchmarks/probing.py --run RUN --out benchmarks/probing.json

With a run, its texts are read as generated (and kept in RUN/activations); without one, texts of the
same shape are drawn. Timed apart: the difference of means at all layers with 200 label swaps and
2,000 bootstrap draws, and one logistic pass (regularization chosen inside each fold).
"""

import argparse
import json
import resource
import time
from pathlib import Path

import torch

from creativity_lens.activations.store import cached_store
from creativity_lens.directions.rereading import PairedMeans, paired_means, passages_in
from creativity_lens.directions.run_files import load_run
from creativity_lens.models.loading import load_model
from creativity_lens.probes.classifiers import classifier_curve
from creativity_lens.probes.separability import separability


def drawn(n_pairs: int, n_layers: int, width: int) -> PairedMeans:
    """Texts that vary along few dimensions, as real ones do, and differ a little."""
    generator = torch.Generator().manual_seed(0)
    scale = torch.exp(-torch.arange(width) / 80)
    sides = torch.randn(2, n_pairs, n_layers, width, generator=generator) * scale
    sides[0, ..., 3] += 0.5
    return PairedMeans(sides[0], sides[1], tuple(str(i) for i in range(n_pairs)))


def of_run(run: Path) -> PairedMeans:
    """The activations of a run, read once and kept."""
    _, rows = load_run(run)
    store = cached_store(load_model(), passages_in(rows, "as-generated"), run / "activations")
    return paired_means(rows, store.means())


def main() -> None:
    """Time and print; write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--width", type=int, default=576)
    given = parser.parse_args()
    means = of_run(given.run) if given.run else drawn(given.pairs, given.layers, given.width)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.perf_counter()
    found = separability(*means.sides, means.groups)
    middle = time.perf_counter()
    curve = classifier_curve("logistic", *means.sides, means.groups)
    ended = time.perf_counter()
    result = {
        "pairs": len(means.groups),
        "layers": means.creative.shape[1],
        "d_model": means.creative.shape[2],
        "activations": "of a run" if given.run else "drawn",
        "threads": torch.get_num_threads(),
        "difference_of_means_200_swaps_s": round(middle - started, 1),
        "logistic_pass_s": round(ended - middle, 1),
        "peak_mib_before": round(before),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "auroc_selected": round(found.selected.auroc(), 3),
        "auroc_selected_logistic": round(curve.selected.auroc(), 3),
    }
    print(json.dumps(result, indent=2))
    if given.out:
        given.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
