"""How long an evaluation takes: 479 texts of about 110 tokens, all layers, all baselines.

    .venv/bin/python benchmarks/evaluate.py --out benchmarks/evaluate.json

The texts are made of the shipped passages, five on each prompt; the ratings are random numbers of
three persons on two dimensions, so agreement is chance and only the time is of interest. It runs
twice with one store: the first run reads and asks the model, the second finds everything on disk.
The aims are 900 s, of which at least 80 % in the model, and 60 s.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from harness import setting

import creativity_lens as cl
from creativity_lens.directions.nuisance import NUISANCES
from creativity_lens.models.chat import decode, text_ids
from creativity_lens.studies.evaluate_inputs import contrast_beside

N_TEXTS, N_TOKENS, PER_PROMPT = 479, 110, 5
AIMS = {"first_seconds": 900.0, "model_share": 0.8, "second_seconds": 60.0}
IN_MODEL = ("reading", "asking")
"""How the stages that run the model begin."""


def rated_texts(model: cl.LensModel, n_texts: int) -> cl.Ratings:
    """Texts of 90 to 130 tokens with random ratings."""
    passages = [
        text
        for name in NUISANCES
        for pair in cl.load_passages(name)
        for text in (pair.high, pair.low)
    ]
    chance = np.random.default_rng(0)
    rows = []
    for k in range(n_texts):
        joined = " ".join(chance.choice(passages, size=4, replace=False))
        text = decode(model, text_ids(model, joined)[: N_TOKENS + int(chance.integers(-20, 21))])
        prompt = k // PER_PROMPT
        for rater in ("r1", "r2", "r3"):
            for dimension in ("creativity", "clarity"):
                rows.append(
                    {
                        "text_id": f"t{k}",
                        "prompt_id": f"p{prompt}",
                        "prompt": f"Write the opening of a short story about day {prompt}.",
                        "text": text,
                        "rater_id": rater,
                        "dimension": dimension,
                        "rating": float(chance.integers(1, 6)),
                    }
                )
    return cl.ratings_from_frame(pd.DataFrame(rows), source="random ratings")


def main() -> None:
    """Evaluate twice, print and write the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--directions", type=Path, help="[default: the packaged model's own set]")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--texts", type=int, default=N_TEXTS)
    given = parser.parse_args()
    model = cl.load_model()
    if given.directions is None:
        directions, rows = cl.load_shipped_run()
    else:
        directions = cl.DirectionSet.load(given.directions)
        rows = contrast_beside(given.directions)
    ratings = rated_texts(model, given.texts)
    with tempfile.TemporaryDirectory() as store:
        runs = []
        for _ in range(2):
            started = time.perf_counter()
            result = cl.evaluate(ratings, model, directions, store=store, rows=rows)
            runs.append((time.perf_counter() - started, dict(result.seconds)))
    (first, stages), (second, again) = runs
    in_model = sum(s for name, s in stages.items() if name.startswith(IN_MODEL))
    found = {
        "first_seconds": first,
        "model_share": in_model / first,
        "second_seconds": second,
    }
    met = {
        name: value >= AIMS[name] if name == "model_share" else value <= AIMS[name]
        for name, value in found.items()
    }
    for name, value in found.items():
        print(f"{name}: {value:.2f} (aim {AIMS[name]:g}: {'met' if met[name] else 'missed'})")
    for name in stages:
        print(f"  {name}: {stages[name]:.1f} s, then {again.get(name, 0.0):.1f} s")
    if given.out:
        record = {
            "setting": setting(),
            "texts": given.texts,
            "tokens_a_text": N_TOKENS,
            "found": found,
            "aims": AIMS,
            "met": met,
            "stages": stages,
            "stages_again": again,
        }
        given.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
