"""Times and memory of creativity_lens beside plain Hugging Face, on the same texts in one run.

Variants take turns, A B C A B C, and a ratio is taken within each turn, so that a machine that
slows down slows both sides. `benchmarks/README.md` says what each section compares.

    python benchmarks/side_by_side.py --out benchmarks/results.json
    python benchmarks/side_by_side.py --quick --only scoring
"""

import argparse
import contextlib
import json
import random
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from harness import Ratio, Ties, compare, setting, table, take_turns
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

import creativity_lens as cl
from creativity_lens.activations.reading import Passage, read_batches, read_passages
from creativity_lens.generation import decode
from creativity_lens.generation.decode import Request, generate_ids
from creativity_lens.hooks.capture import NormHistogram
from creativity_lens.models.batching import left_pad
from creativity_lens.models.chat import render_prompt, text_ids
from creativity_lens.models.packaged import packaged_model_folder
from creativity_lens.models.protocol import read
from creativity_lens.prompts.instructions import load_instructions
from creativity_lens.scoring.score import scoring_context
from creativity_lens.steering.steer import interventions

STEER_LAYER = 8
STRENGTH = 0.3
SCORED_LAYERS = (4, 14, 29)


@dataclass(frozen=True)
class Size:
    """How much each section does."""

    repeats: int = 7
    texts: int = 8
    text_tokens: int = 256
    generated_rows: int = 8
    generated_tokens: int = 64
    memory_pairs: tuple[int, int] = (40, 400)
    memory_new_tokens: int = 4
    tie_rows: int = 64
    tie_tokens: int = 48
    tie_batches: tuple[int, int] = (32, 4)


QUICK = Size(
    repeats=2,
    texts=4,
    text_tokens=64,
    generated_rows=4,
    generated_tokens=8,
    memory_pairs=(16, 32),
    memory_new_tokens=2,
    tie_rows=8,
    tie_tokens=8,
    tie_batches=(8, 3),
)


class Bench:
    """The two models and their common inputs; loaded when first asked for."""

    def __init__(self, size: Size) -> None:
        self.size = size

    @cached_property
    def ours(self) -> Any:
        """The packaged model as `load_model` returns it."""
        return cl.load_model()

    @cached_property
    def plain(self) -> Any:
        """The same weights in transformers, without this package or TransformerLens."""
        disable_progress_bar()
        model = AutoModelForCausalLM.from_pretrained(
            packaged_model_folder(), dtype=torch.float32, attn_implementation="eager"
        )
        model.generation_config.eos_token_id = None  # all rows run to the same length
        return model.eval()

    @cached_property
    def directions(self) -> cl.DirectionSet:
        """From few pairs: what a direction says does not matter to how long it takes."""
        config = cl.ExtractionConfig(sampling=cl.Sampling(max_new_tokens=2))
        return cl.extract(
            self.ours, cl.load_contrast("stories", split="train")[:4], config
        ).directions

    def passages(self, context: Sequence[int]) -> list[Passage]:
        """Shipped prompts joined to texts of one length in tokens, `context` included."""
        pairs = cl.load_contrast("stories")
        ids = text_ids(self.ours, "\n".join(pair.creative for pair in pairs[:200]))
        n = self.size.text_tokens - len(context)
        parts = [tuple(ids[i * n : (i + 1) * n]) for i in range(self.size.texts)]
        return [Passage(str(i), tuple(context), part) for i, part in enumerate(parts)]

    def prompts(self, n: int) -> dict[str, tuple[int, ...]]:
        """Rendered prompts by id."""
        system = load_instructions().neutral[0]
        return {
            pair.id: tuple(render_prompt(self.ours, pair.creative, system=system))
            for pair in cl.load_contrast("stories", split="test")[:n]
        }

    def body(self, attention: str, passages: Sequence[Passage]) -> Callable[[], object]:
        """One pass of the plain model body (no LM head) over the passages."""
        (batch,) = read_batches(self.ours, passages)

        @torch.inference_mode()
        def run() -> object:
            self.plain.set_attn_implementation(attention)
            return self.plain.model(batch.ids, attention_mask=batch.mask, use_cache=False)

        return run


def extraction(bench: Bench) -> Iterator[Ratio]:
    """Reading all layers of given texts, beside the plain model body."""
    # One token of context: all others count, which is the most work the hooks can have.
    passages = bench.passages(bench.prompts(1).popitem()[1][:1])
    layers = range(bench.ours.cfg.n_layers)

    def with_norms() -> None:
        norms = NormHistogram(len(layers))
        read_passages(bench.ours, passages, layers=layers, norms=norms)

    ours, eager, sdpa = "read_passages, all layers", "HF body, eager", "HF body, sdpa"
    norms = "read_passages, all layers, token norms"
    no_hooks = "Bridge without hooks"
    (batch,) = read_batches(bench.ours, passages)
    seconds = take_turns(
        {
            ours: partial(read_passages, bench.ours, passages, layers=layers),
            eager: bench.body("eager", passages),
            sdpa: bench.body("sdpa", passages),
            norms: with_norms,
            no_hooks: partial(read, bench.ours, batch.ids, batch.mask),
        },
        bench.size.repeats,
    )
    yield compare("extraction", seconds, ours, eager, aim=1.10)
    yield compare("extraction", seconds, ours, sdpa)
    yield compare("extraction", seconds, norms, eager)
    yield compare("extraction", seconds, no_hooks, eager)


def generation(bench: Bench) -> Iterator[Ratio]:
    """Steered greedy decoding, beside unsteered decoding of four kinds; EOS ends no row."""
    n_new = bench.size.generated_tokens
    prompts = bench.prompts(bench.size.generated_rows)
    ids, mask = left_pad(list(prompts.values()))
    added = interventions(bench.directions, layers=STEER_LAYER, strength=STRENGTH)
    tokens: dict[str, list[list[int]]] = {}

    def own(name: str, chosen: tuple[Any, ...], temperature: float = 0.0) -> None:
        requests = [Request(name, prompt, chosen) for name, prompt in prompts.items()]
        sampling = cl.Sampling(max_new_tokens=n_new, temperature=temperature)
        with patch.object(decode, "stop_ids", lambda model: frozenset()):
            done = list(generate_ids(bench.ours, requests, sampling=sampling))
        tokens[name] = [list(completion.response_ids) for completion in done]

    def bridge(name: str) -> None:
        out = bench.ours.generate(
            ids,
            max_new_tokens=n_new,
            do_sample=False,
            stop_at_eos=False,
            attention_mask=mask,
            return_type="tokens",
            verbose=False,
        )
        tokens[name] = out[:, ids.shape[1] :].tolist()

    def hugging_face(name: str, attention: str) -> None:
        bench.plain.set_attn_implementation(attention)
        out = bench.plain.generate(
            ids, attention_mask=mask, max_new_tokens=n_new, do_sample=False, pad_token_id=0
        )
        tokens[name] = out[:, ids.shape[1] :].tolist()

    steered, sampled = "ours, steered", "ours, steered, sampled"
    unsteered, other = "ours, unsteered", "Bridge.generate"
    sdpa, eager = "HF generate, sdpa", "HF generate, eager"
    seconds = take_turns(
        {
            steered: partial(own, steered, added),
            sdpa: partial(hugging_face, sdpa, "sdpa"),
            unsteered: partial(own, unsteered, ()),
            eager: partial(hugging_face, eager, "eager"),
            other: partial(bridge, other),
            sampled: partial(own, sampled, added, 0.8),
        },
        bench.size.repeats,
    )
    for name, found in tokens.items():
        if any(len(row) != n_new for row in found):
            raise RuntimeError(f"{name} did not generate {n_new} tokens in every row.")
    for name in (other, sdpa, eager):
        same = sum(a == b for a, b in zip(tokens[unsteered], tokens[name], strict=True))
        print(f"  {same} of {len(prompts)} rows equal between {unsteered!r} and {name!r}")
    yield compare("generation", seconds, steered, sdpa, aim=1.35)
    yield compare("generation", seconds, steered, eager)
    yield compare("generation", seconds, steered, unsteered)
    yield compare("generation", seconds, steered, other)
    yield compare("generation", seconds, sampled, sdpa)


def scoring(bench: Bench) -> Iterator[Ratio]:
    """Scoring at one layer, beside that layer's share of a full pass over the same tokens."""
    context = scoring_context(bench.ours, bench.directions.provenance)
    cut = bench.passages(context)
    texts = [cl.Text(p.id, bench.ours.tokenizer.decode(p.text_ids)) for p in cut]
    # The texts are tokenized again by score_texts: the plain model gets what comes out of that.
    passages = [
        Passage(text.id, tuple(context), tuple(text_ids(bench.ours, text.text))) for text in texts
    ]
    full = "HF body, eager"
    n_layers = int(bench.ours.cfg.n_layers)
    names = {layer: f"score_texts at layer {layer}" for layer in SCORED_LAYERS}
    runs: dict[str, Callable[[], object]] = {full: bench.body("eager", passages)}
    for layer, name in names.items():
        runs[name] = partial(cl.score_texts, bench.ours, bench.directions, texts, layers=layer)
    seconds = take_turns(runs, bench.size.repeats)
    for layer, name in names.items():
        yield compare("scoring", seconds, name, full, aim=1.2, share=(layer + 1) / n_layers)


def memory(bench: Bench) -> Iterator[Ratio]:
    """Peak memory of an extraction of few and of many pairs, each in a process of its own."""
    few, many = bench.size.memory_pairs
    found = {}
    for n_pairs in (few, many):
        command = [sys.executable, str(Path(__file__).resolve()), "--memory-child", str(n_pairs)]
        command += ["--threads", str(torch.get_num_threads())]
        command += ["--new-tokens", str(bench.size.memory_new_tokens)]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found[n_pairs] = json.loads(out.splitlines()[-1])
    for what, take in (
        ("peak memory", lambda child: child["peak"]),
        ("peak memory above the loaded model", lambda child: child["peak"] - child["loaded"]),
    ):
        high, low = take(found[many]), take(found[few])
        ratio = high / low if low > 0 else float("nan")
        yield Ratio(
            section="memory",
            measured=f"{what}, {many} pairs",
            beside=f"{few} pairs",
            measured_median=high,
            beside_median=low,
            unit="MiB",
            low=ratio,
            median=ratio,
            high=ratio,
            aim=1.05 if what == "peak memory" else None,
            ratios=(ratio,),
        )


def memory_child(n_pairs: int, new_tokens: int) -> None:
    """Load the model, extract, and print resident memory after loading and at its peak since."""
    model = cl.load_model()
    pairs = cl.load_contrast("stories")
    if len(pairs) < n_pairs:
        raise SystemExit(f"only {len(pairs)} pairs are shipped, {n_pairs} were asked for")
    with contextlib.suppress(OSError):
        # Linux: forget the peak of loading, which would hide the peak of a small extraction.
        Path("/proc/self/clear_refs").write_text("5")
    loaded = _peak_mib()
    config = cl.ExtractionConfig(sampling=cl.Sampling(max_new_tokens=new_tokens))
    cl.extract(model, pairs[:n_pairs], config)
    print(json.dumps({"loaded": loaded, "peak": _peak_mib()}))


def _peak_mib() -> float:
    # On Linux, ru_maxrss begins at what the parent process had when it started this one.
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (x for x in status.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) / 2**10
    scale = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes, others KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def ties(bench: Bench) -> Iterator[Ties]:
    """Generate the same rows in other batches and another order; count what changes."""
    size = bench.size
    requests = [Request(name, ids) for name, ids in bench.prompts(size.tie_rows).items()]
    shuffled = random.Random(0).sample(requests, len(requests))
    for temperature in (0.8, 0.0):
        sampling = cl.Sampling(max_new_tokens=size.tie_tokens, temperature=temperature)
        found = []
        for order, batch_size in zip((requests, shuffled), size.tie_batches, strict=True):
            done = generate_ids(bench.ours, order, sampling=sampling, batch_size=batch_size)
            found.append({completion.id: completion.response_ids for completion in done})
        one, other = found
        firsts = {row: _first_difference(one[row], other[row]) for row in one}
        differ = {row: first for row, first in firsts.items() if first is not None}
        yield Ties(
            section="ties",
            sampling=f"temperature {sampling.temperature}, min-p {sampling.min_p}"
            if temperature
            else "greedy",
            batch_sizes=size.tie_batches,
            rows=len(one),
            rows_that_differ=len(differ),
            tokens=sum(len(ids) for ids in one.values()),
            tokens_from_first_difference=sum(len(one[r]) - at for r, at in differ.items()),
            first_differences=tuple(sorted(differ.values())),
        )


def _first_difference(one: Sequence[int], other: Sequence[int]) -> int | None:
    if one == other:
        return None
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


SECTIONS: dict[str, Callable[[Bench], Iterator[Ratio | Ties]]] = {
    "extraction": extraction,
    "generation": generation,
    "scoring": scoring,
    "memory": memory,
    "ties": ties,
}


def main() -> None:
    """Run the sections that were asked for, print a table and write JSON if wanted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=SECTIONS, action="append", help="a section; repeatable")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: only shows that it runs")
    parser.add_argument("--repeats", type=int, help="turns of each timed section (default 7)")
    parser.add_argument("--threads", type=int, default=2, help="of torch, on both sides")
    parser.add_argument("--out", type=Path, help="write all figures to this JSON file")
    parser.add_argument("--memory-child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--new-tokens", type=int, default=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory_child:
        memory_child(options.memory_child, options.new_tokens)
        return
    size = QUICK if options.quick else Size()
    if options.repeats:
        size = replace(size, repeats=options.repeats)
    about = {"quick": options.quick, "size": asdict(size), **setting()}
    bench = Bench(size)
    lines: list[Ratio | Ties] = []
    for name in options.only or SECTIONS:
        print(f"{name} ...", flush=True)
        lines += SECTIONS[name](bench)
    print("\n" + table(lines))
    if options.out:
        results = {"setting": about, "results": [asdict(line) for line in lines]}
        options.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
