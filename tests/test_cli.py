"""The commands: bad input ends in one sentence and leaves nothing; good input does what it says."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from creativity_lens.cli.presets import PAPER, settle
from creativity_lens.directions.direction import DirectionSet
from creativity_lens.directions.run_files import load_run
from creativity_lens.errors import InputError
from creativity_lens.generation.sampling import Sampling
from creativity_lens.io import sha256_file, write_jsonl
from creativity_lens.models import loading
from creativity_lens.models.chat import text_ids
from creativity_lens.scoring.score import Text, score_texts
from creativity_lens.steering.generate import generate
from creativity_lens.steering.spec import SteeringSpec, SteeringStep
from tests.deep import save_deep_model
from tests.fakes import of_another_model, random_directions
from tests.tiny import N_CTX

N_LAYERS = 10  # the paper steers at layer 8
COMMANDS = ("demo", "extract", "score", "generate")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A saved model, as a user has one."""
    return save_deep_model(tmp_path_factory.mktemp("saved") / "ten-layers", N_LAYERS)


@pytest.fixture(scope="module")
def lens(folder):
    return loading.load_model(str(folder))


@pytest.fixture(scope="module")
def found(lens) -> DirectionSet:
    return random_directions(lens)


@pytest.fixture
def directions(found, tmp_path) -> Path:
    path = tmp_path / "directions.safetensors"
    found.save(path)
    return path


@pytest.fixture
def loaded(monkeypatch, lens, folder) -> list[str]:
    """Which models a command has loaded; the one of this file is loaded once for all tests."""
    real, names = loading.load_model, []

    def load(name, **options):
        names.append(name)
        return lens if name == str(folder) else real(name, **options)

    monkeypatch.setattr(loading, "load_model", load)
    return names


@pytest.fixture
def run(cli, loaded):
    """Run a command line as the installed program does, with this file's model at hand."""
    return cli


def everything_below(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b"folder"
        for p in folder.rglob("*")
    }


@pytest.fixture
def fails(run, tmp_path):
    """Run a command that cannot work: one sentence, code 2, and no file that was not there."""

    def _fails(*args: object) -> str:
        before = everything_below(tmp_path)
        result = run(*args)
        assert result.code == 2, result
        assert result.out == ""
        assert result.err.startswith("error: ")
        assert result.err.count("\n") == 1
        assert result.err.rstrip().endswith((".", "?", "`"))
        assert "Traceback" not in result.err
        assert everything_below(tmp_path) == before
        return result.err

    return _fails


def pair(number: int, **changes) -> dict[str, str]:
    return {
        "id": f"p{number}",
        "domain": "stories",
        "premise": f"A bridge, number {number}.",
        "creative": f"A bridge dreams of the river, {number} times.",
        "uncreative": f"A man walks over a bridge, {number} times.",
        "source": "test",
    } | changes


# For each command that reads a file: the rows of a good one, and how the file is given.
GOOD = {
    "extract": [pair(i) for i in range(3)],
    "score": [{"id": f"t{i}", "text": f"The river, {i}."} for i in range(3)],
    "generate": [{"id": f"q{i}", "prompt": f"A bridge, {i}."} for i in range(3)],
}
READERS = tuple(GOOD)


@pytest.fixture
def command(tmp_path, folder, directions):
    """The command line of a reader for an input file, with everything else in order."""

    def _command(reader: str, path: object, *options: object) -> tuple[object, ...]:
        out = tmp_path / "new" / "out"
        return {
            "extract": ("extract", "--pairs", path, "--out", out, "--max-new-tokens", 8),
            "score": ("score", "--texts", path, "--out", out, "--directions", directions),
            "generate": ("generate", "--prompts", path, "--out", out, "--max-new-tokens", 8),
        }[reader] + ("--model", folder, *options)

    return _command


@pytest.fixture
def lines(write):
    """Write rows (objects or raw lines) to a file."""

    def _lines(*rows: object) -> Path:
        return write(
            "input.jsonl", "\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows)
        )

    return _lines


# --- files that cannot be used ---------------------------------------------------------------


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_empty_file(fails, command, write, loaded, reader, content):
    path = write("input.jsonl", content)
    assert f"{path} is empty" in fails(*command(reader, path))
    assert loaded == []


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{'id': 1}", "not valid JSON"),
        ('{"id": "x"', "not valid JSON"),
        ("[1]", "expected a JSON object"),
        ('{"id": "\\ud800"}', "half of a surrogate pair"),
    ],
)
def test_malformed_json_names_the_line(fails, command, lines, loaded, reader, line, reason):
    message = fails(*command(reader, lines(GOOD[reader][0], "", line, GOOD[reader][1])))
    assert "line 3: " in message
    assert reason in message
    assert loaded == []


@pytest.mark.parametrize(("reader", "field"), [(r, f) for r in READERS for f in GOOD[r][0]])
def test_a_field_that_is_missing_blank_or_no_string_is_named_with_its_line(
    fails, command, lines, loaded, reader, field
):
    first, second, _ = GOOD[reader]
    without = {name: value for name, value in second.items() if name != field}
    for row in (without, second | {field: "  "}, second | {field: 3}, second | {field: None}):
        message = fails(*command(reader, lines(first, row)))
        assert "line 2: " in message
        assert f"'{field}'" in message
    assert loaded == []


@pytest.mark.parametrize("reader", READERS)
def test_an_id_used_twice(fails, command, lines, loaded, reader):
    first, second, _ = GOOD[reader]
    message = fails(*command(reader, lines(first, second | {"id": first["id"]})))
    assert "line 2: " in message
    assert f"'{first['id']}' was used in line 1" in message
    assert loaded == []


@pytest.mark.parametrize("reader", READERS)
def test_a_file_that_is_missing_a_folder_or_not_text(fails, command, tmp_path, loaded, reader):
    assert "does not exist" in fails(*command(reader, tmp_path / "nowhere.jsonl"))
    assert "cannot read" in fails(*command(reader, tmp_path))
    binary = tmp_path / "binary.jsonl"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in fails(*command(reader, binary))
    assert loaded == []


def test_a_prompt_of_a_text_that_is_blank(fails, command, lines):
    message = fails(*command("score", lines(GOOD["score"][0] | {"prompt": " "})))
    assert "line 1: `prompt`" in message


def test_no_pair_of_the_split(fails, command, lines):
    train = next(p for p in (pair(i) for i in range(50)) if split_of(p) == "train")
    assert "no pair of split test" in fails(*command("extract", lines(train), "--split", "test"))
    assert "unknown split 'tset'" in fails(*command("extract", lines(train), "--split", "tset"))


def split_of(row: dict[str, str]) -> str:
    from creativity_lens.prompts.pairs import premise_split

    return premise_split(row["premise"])


@pytest.mark.parametrize("text", ["creative = 3", "not toml"])
def test_instructions_that_cannot_be_used(fails, command, lines, write, text):
    path = write("instructions.toml", text)
    pairs = lines(*GOOD["extract"])
    assert str(path) in fails(*command("extract", pairs, "--instructions", path))
    nowhere = path.with_name("nowhere.toml")
    assert str(nowhere) in fails(*command("extract", pairs, "--instructions", nowhere))


def test_messages_cannot_control_the_terminal(fails, command, lines):
    name = "\x1b[31mred\x1b]0;title\x07[bold]x[/bold]"
    message = fails(*command("generate", lines(*[{"id": name, "prompt": "A."}] * 2)))
    assert not any(ord(c) < 32 for c in message.rstrip("\n"))
    assert "[bold]x[/bold]" in message


# --- where the results go --------------------------------------------------------------------


@pytest.mark.parametrize("reader", READERS)
def test_a_place_below_a_file_cannot_be_written(fails, command, lines, write, loaded, reader):
    target = write("a-file", "") / "below" / "out"
    message = fails(*command(reader, lines(*GOOD[reader])), "--out", target)
    assert f"cannot write to {target}" in message
    assert loaded == []


def test_the_demo_needs_a_place_for_its_report(fails, write, loaded):
    assert "cannot write to" in fails("demo", "--out", write("a-file", "") / "report")
    assert loaded == []


def test_a_folder_is_no_file_and_a_file_no_folder(fails, command, lines, tmp_path, write):
    a_file = write("a-file", "mine")
    assert "cannot write" in fails(*command("extract", lines(*GOOD["extract"])), "--out", a_file)
    for reader in ("score", "generate"):
        message = fails(*command(reader, lines(*GOOD[reader])), "--out", tmp_path)
        assert "it is a folder" in message


def test_a_run_that_fails_midway_leaves_the_last_one_alone(fails, command, lines, run):
    """The second file is longer than the context, which shows only when the model is there."""
    arguments = command("generate", lines(*GOOD["generate"]))
    assert run(*arguments).code == 0
    lines({"id": "long", "prompt": "word " * 2 * N_CTX})
    fails(*arguments)  # asserts that no file has changed


# --- options that cannot be used -------------------------------------------------------------


@pytest.fixture
def steer(command, lines, directions):
    """A `generate` that steers, with further options."""

    def _steer(*options: object, to: Path = directions) -> tuple[object, ...]:
        return command("generate", lines(*GOOD["generate"]), "--directions", to, *options)

    return _steer


@pytest.mark.parametrize("layer", [-1, N_LAYERS, 1000])
def test_a_layer_out_of_range(fails, command, lines, steer, loaded, layer):
    reason = f"layer {layer} is out of range: these directions have layers 0 to {N_LAYERS - 1}"
    at = f"--layer={layer}"
    assert reason in fails(*command("score", lines(*GOOD["score"]), at))
    assert reason in fails(*steer(at, "--strength", 1))
    assert reason in fails(*steer(at, "--layer", 2, "--strength", 1))
    assert loaded == []


@pytest.mark.parametrize("strength", ["nan", "inf", "-inf"])
def test_a_strength_that_is_no_number(fails, steer, loaded, strength):
    message = fails(*steer("--layer", 2, f"--strength={strength}"))
    assert f"--strength must be a finite number, got {strength}" in message
    assert loaded == []


@pytest.mark.parametrize(
    ("reader", "options", "reason"),
    [
        ("extract", "--max-new-tokens 0", "max_new_tokens must be at least 1, got 0"),
        ("extract", "--temperature nan", "temperature must be a finite number"),
        ("extract", "--top-p 0", "top_p must be in (0, 1], got 0"),
        ("extract", "--min-p 1", "min_p must be in [0, 1), got 1"),
        ("extract", "--samples 0", "at least 1, got 0 and"),
        ("extract", "--batch-size 0", "at least 1, got 1 and 0"),
        ("extract", "--span prompt-last --context neutral", "no difference"),
        ("generate", "--max-new-tokens 0", "max_new_tokens must be at least 1, got 0"),
        ("generate", "--temperature -1", "temperature must be a finite number of at least 0"),
        ("generate", "--batch-size 0", "batch_size must be at least 1, got 0"),
        ("generate", "--layer 3", "need --directions"),
        ("generate", "--strength 3", "need --directions"),
        ("generate", "--unit absolute", "need --directions"),
        ("generate", "--mode clamp --scope prompt", "--mode, --scope need --directions"),
        ("generate", "--spec nowhere.json", "--spec need --directions"),
        ("generate", "--preset paper", "name the --directions"),
        ("score", "--window 1", "a window needs at least 2 tokens, got 1"),
        ("score", "--batch-size 0", "batch_size must be at least 1, got 0"),
        ("score", "--layer 3 --all-layers", "--layer or --all-layers"),
        ("score", "--text x", "--text or --texts"),
    ],
)
def test_options_that_cannot_be_used(fails, command, lines, reader, options, reason):
    assert reason in fails(*command(reader, lines(*GOOD[reader]), *options.split()))


@pytest.mark.parametrize("options", ["", "--layer 3", "--strength 0.3"])
def test_steering_needs_a_layer_and_a_strength(fails, steer, loaded, options):
    assert "--layer and --strength" in fails(*steer(*options.split()))
    assert loaded == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("--scope answer", "unknown scope 'answer'; choose one of all, prompt, response"),
        ("--scope response/last:2", "use prompt/last:N"),
        ("--schedule ramp", "the schedule ramp does not take these numbers"),
        ("--schedule pulse:2/3", "does not fit a period 2"),
    ],
)
def test_a_scope_or_schedule_that_there_is_not(fails, steer, loaded, options, reason):
    assert reason in fails(*steer("--layer", 3, "--strength", 1, *options.split()))
    assert loaded == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{}", "the key 'schema_version' is missing"),
        ('{"schema_version": 1, "steps": [{"layer": 1}]}', "step 1: the key 'strength' is missing"),
        (
            '{"schema_version": 1, "steps": [{"layer": 1, "strength": NaN}]}',
            "step 1: strength must be a finite number, got nan",
        ),
    ],
)
def test_a_spec_that_cannot_be_used(fails, steer, loaded, write, text, reason):
    path = write("spec.json", text)
    message = fails(*steer("--spec", path))
    assert f"{path}: {reason}" in message
    assert loaded == []


def test_a_spec_for_other_directions(fails, steer, loaded, tmp_path):
    path = tmp_path / "spec.json"
    poetry, verse = SteeringStep(1, 1.0, "poetry"), SteeringStep(1, 1.0, "verse")
    for steps, reason in (
        (
            (poetry,),
            f"{path} steers along 'poetry', and --directions has 'creativity'; add --direc",
        ),
        ((poetry, verse), "steers along 'poetry', 'verse', and --directions has 'creativity'"),
        ((SteeringStep(N_LAYERS, 1.0),), f"step 1: layer {N_LAYERS} is out of range"),
    ):
        SteeringSpec(steps).save(path)
        assert reason in fails(*steer("--spec", path))
    assert loaded == []


def test_directions_that_a_spec_was_not_written_for(fails, steer, loaded, found, tmp_path):
    path = tmp_path / "spec.json"
    other = replace(found, directions=-found.directions)
    SteeringSpec((SteeringStep(1, 1.0),)).pinned(other).save(path)
    message = fails(*steer("--spec", path))
    assert "the directions 'creativity' are not those that the spec was written for" in message
    assert loaded == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("--directions {0}", "--directions gives 'creativity' twice"),
        ("--directions creativity={0}", "--directions gives 'creativity' twice"),
        ("--directions plain={0}", "are for a --spec that names them"),
        ("--directions ={0}", "takes FILE or NAME=FILE, got '={0}'"),
        ("--directions plain=", "takes FILE or NAME=FILE, got 'plain='"),
        ("--spec x --directions plain=nowhere", "no directions file at nowhere"),
    ],
)
def test_directions_that_are_named_wrongly(fails, steer, directions, loaded, options, reason):
    message = fails(*steer(*(word.format(directions) for word in options.split())))
    assert reason.format(directions) in message
    assert loaded == []


def test_a_lone_name_without_a_spec(fails, steer, directions, loaded):
    message = fails(*steer("--layer", 2, "--strength", 1, to=f"plain={directions}"))
    assert "without it give one FILE" in message
    assert loaded == []


@pytest.mark.parametrize("mode", ["add", "rotate"])
def test_a_midpoint_that_a_mode_does_not_have(fails, steer, loaded, mode):
    message = fails(*steer("--layer", 2, "--strength", 1, "--mode", mode, "--around", "midpoint"))
    assert f"{mode} counts from nothing: leave it out" in message
    assert loaded == []


@pytest.mark.parametrize(
    "options",
    ["--layer 2", "--strength 1", "--unit absolute", "--mode add", "--scope all",
     "--schedule constant", "--around zero", "--preset paper"],
)  # fmt: skip
def test_a_spec_says_all_of_the_steering(fails, steer, loaded, write, options):
    message = fails(*steer("--spec", write("spec.json", "{}"), *options.split()))
    assert f"--spec says all of the steering; leave out {options.split()[0]}" in message
    assert loaded == []


def test_a_layer_named_twice(fails, steer):
    assert "named twice" in fails(*steer("--layer", 3, "--layer", 3, "--strength", 1))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("options", "reason"),
    [("--device tpu9", "unknown device 'tpu9'"), ("--dtype int3", "unknown dtype 'int3'")],
)
def test_a_device_or_dtype_that_there_is_not(
    fails, command, lines, monkeypatch, tmp_path, reader, options, reason
):
    path = lines(*GOOD[reader])
    arguments = [a for a in command(reader, path) if a != "--model"]
    # A name that is not this file's model, so that the real `load_model` answers.
    arguments = [tmp_path / "elsewhere" if str(a).endswith("ten-layers") else a for a in arguments]
    arguments.insert(-1, "--model")
    assert reason in fails(*arguments, *options.split())


@pytest.mark.parametrize("reader", READERS)
def test_a_model_that_there_is_not(fails, command, lines, tmp_path, reader):
    path = lines(*GOOD[reader])
    assert "no model folder at" in fails(*command(reader, path), "-m", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "holds no config.json" in fails(*command(reader, path), "-m", tmp_path / "empty")


def test_the_text_or_the_texts(fails, write, directions, folder, tmp_path):
    with_model = ("--directions", directions, "--model", folder)
    texts = write("texts.jsonl", json.dumps(GOOD["score"][0]))
    assert "either --text or --texts" in fails("score", *with_model)
    assert "either --text or --texts" in fails("score", "--text", "a", "--texts", texts)
    assert "--texts needs --out" in fails("score", "--texts", texts, *with_model)
    message = fails("score", "--text", "a", "--out", tmp_path / "new.csv", *with_model)
    assert "--out goes with --texts" in message


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_text(fails, directions, folder, text):
    message = fails("score", "--text", text, "--directions", directions, "--model", folder)
    assert "empty" in message


@pytest.mark.parametrize(
    "arguments", ["extract", "score --layer x", "generate --unit furlong", "x"]
)
def test_a_command_line_that_is_wrong_is_explained(run, arguments):
    result = run(*arguments.split())
    assert result.code == 2
    assert "Traceback" not in result.err
    assert "Usage: creativity-lens" in result.err


# --- what only the model can tell ------------------------------------------------------------


@pytest.mark.parametrize(
    ("reader", "row"),
    [
        ("extract", pair(1, premise="word " * 2 * N_CTX)),
        ("score", {"id": "p1", "text": "word " * 2 * N_CTX}),
        ("score", {"id": "p1", "text": "word", "prompt": "word " * 2 * N_CTX}),
        ("generate", {"id": "p1", "prompt": "word " * 2 * N_CTX}),
    ],
)
def test_more_than_the_context_holds(fails, command, lines, reader, row):
    message = fails(*command(reader, lines(GOOD[reader][0], row)))
    assert "p1" in message
    assert f"context is {N_CTX}" in message
    assert "shorten" in message


def test_more_new_tokens_than_the_context_holds(fails, command, lines):
    for reader in ("extract", "generate"):
        message = fails(*command(reader, lines(*GOOD[reader])), "--max-new-tokens", N_CTX)
        assert f"context is {N_CTX}" in message


def test_directions_of_another_model(fails, command, lines, steer, found, tmp_path):
    other = tmp_path / "other.safetensors"
    fingerprint = [2 * x for x in found.provenance["model"]["fingerprint"]]
    of_another_model(found, fingerprint=fingerprint).save(other)
    texts = lines(*GOOD["score"])
    for message in (
        fails(*command("score", texts), "--directions", other),
        fails(*steer("--layer", 2, "--strength", 1, to=other)),
        fails(*steer("--layer", 2, "--strength", 0, to=other)),
    ):
        assert "were extracted from 'some/other-model' and cannot be used with" in message
        assert "ten-layers" in message


def test_directions_of_a_model_that_is_gone(fails, lines, found, tmp_path, write):
    gone = tmp_path / "gone.safetensors"
    of_another_model(found, name=str(tmp_path / "moved")).save(gone)
    assert f"no model folder at '{tmp_path / 'moved'}'" in fails(
        "score", "--text", "a", "--directions", gone
    )


def test_a_file_that_holds_no_directions(fails, command, lines, steer, write, tmp_path, found):
    nan = tmp_path / "nan.safetensors"
    replace(found, directions=found.directions * float("nan")).save(nan)
    bare = tmp_path / "bare.safetensors"
    replace(found, provenance={"schema_version": 1}).save(bare)
    for path, reason in (
        (tmp_path / "nowhere.safetensors", "no directions file at"),
        (tmp_path, "no directions file at"),
        (write("text.safetensors", "a text"), "is not a safetensors file"),
        (nan, "holds NaN"),
        (bare, "provenance"),
    ):
        assert reason in fails(*command("score", lines(*GOOD["score"])), "--directions", path)
        assert reason in fails(*steer("--layer", 2, "--strength", 1, to=path))


# --- presets ---------------------------------------------------------------------------------


def test_settle_takes_what_is_given_then_the_preset_then_the_default():
    given = {"layer": None, "unit": None, "scope": None}
    defaults = {"layer": 5, "unit": "relative", "scope": "all"}
    assert settle(None, given, defaults) == defaults
    assert settle("paper", given, defaults) == {"layer": 8, "unit": "absolute", "scope": "all"}
    assert settle(None, given | {"layer": 0}, defaults)["layer"] == 0
    assert settle("paper", given | {"layer": 8}, defaults)["layer"] == 8
    with pytest.raises(InputError, match="fixes layer at 8, but 0 was given"):
        settle("paper", given | {"layer": 0}, defaults)


def test_the_paper_is_layer_8_lambda_3_difference_of_means_over_response_tokens():
    fixed = {"layer": 8, "strength": 3.0, "unit": "absolute", "span": "response"}
    assert fixed.items() <= PAPER.items()
    assert {"contrast", "context"} <= PAPER.keys()


@pytest.mark.parametrize(
    ("reader", "option", "name"),
    [
        ("extract", "--contrast instruction", "contrast"),
        ("extract", "--context neutral", "context"),
        ("extract", "--span last", "span"),
        ("score", "--layer 3", "layer"),
        ("score", "--variant centred", "variant"),
    ],
)
def test_an_option_against_the_preset(fails, command, lines, loaded, reader, option, name):
    arguments = command(reader, lines(*GOOD[reader]), "--preset", "paper", *option.split())
    message = fails(*arguments)
    assert f"--preset paper fixes {name} at {PAPER[name]}" in message
    assert option.split()[1] in message
    assert loaded == []


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("--layer 3", "layer"),
        ("--strength 2", "strength"),
        ("--strength 0", "strength"),
        ("--unit relative", "unit"),
        ("--mode rotate", "mode"),
        ("--layer 8 --layer 9", "layer"),
    ],
)
def test_a_steering_option_against_the_preset(fails, steer, loaded, option, name):
    message = fails(*steer("--preset", "paper", *option.split()))
    assert f"--preset paper fixes {name} at {PAPER[name]}" in message
    assert loaded == []


# --- what the commands do --------------------------------------------------------------------


def test_extract_writes_a_run(run, command, lines, lens, folder, tmp_path):
    pairs = lines(*GOOD["extract"])
    out = tmp_path / "new" / "out"
    result = run(*command("extract", pairs, "--samples", 2, "--seed", 5, "--json"))
    assert result.code == 0, result.err
    assert json.loads(result.out) == {
        "out": str(out),
        "estimator": "difference-of-means",
        "removed": [],
        "pairs": 3,
        "dropped": [],
        "layers": N_LAYERS,
    }
    assert sorted(p.name for p in out.iterdir()) == [
        "contrast.jsonl",
        "directions.safetensors",
        "manifest.json",
    ]
    directions, rows = load_run(out)
    directions.check_model(lens)
    assert len(rows) == 3 * 2 * 2
    manifest = json.loads((out / "manifest.json").read_text())
    recorded = manifest["provenance"]
    assert (recorded["contrast"], recorded["context"], recorded["span"]) == (
        "instruction",
        "as-generated",
        "response",
    )
    assert (recorded["samples"], recorded["seed"]) == (2, 5)
    assert recorded["sampling"]["max_new_tokens"] == 8
    assert recorded["model"]["name"] == str(folder)
    assert manifest["preset"] is None
    assert manifest["command"].startswith(f"creativity-lens extract --pairs {pairs} --out")
    assert manifest["pairs_file"] == "input.jsonl"
    assert manifest["pairs_file_sha256"] == sha256_file(pairs)
    assert manifest["n_rows"] == len(rows)


def test_the_command_is_recorded_so_that_a_shell_takes_it(run, command, tmp_path):
    """A path with a space is one word."""
    path = tmp_path / "my pairs.jsonl"
    write_jsonl(path, GOOD["extract"])
    assert run(*command("extract", path)).code == 0
    manifest = json.loads((tmp_path / "new" / "out" / "manifest.json").read_text())
    assert f"--pairs '{path}'" in manifest["command"]


def test_extract_takes_the_pairs_of_a_split_and_the_instructions_of_a_file(
    run, command, lines, write, tmp_path
):
    rows = [pair(i) for i in range(12)]
    wanted = [row["id"] for row in rows if split_of(row) == "train"]
    assert 0 < len(wanted) < len(rows)
    instructions = write(
        "mine.toml",
        'creative = ["Dream."]\nuncreative = ["Plod."]\nneutral = ["Go."]\n'
        '[tasks.default]\nrequest = "On: {premise}"\ngeneric = "On."\n',
    )
    arguments = ("--split", "train", "--instructions", instructions)
    assert run(*command("extract", lines(*rows), *arguments)).code == 0
    _, found_rows = load_run(tmp_path / "new" / "out")
    assert [row.pair_id for row in found_rows[::2]] == wanted
    assert found_rows[0].prompt.startswith("Dream.\n\nOn: A bridge")


def test_extract_with_the_papers_preset_records_what_it_fixed(run, command, lines, tmp_path):
    pairs = lines(*GOOD["extract"])
    assert run(*command("extract", pairs, "--preset", "paper", "--span", "response")).code == 0
    out = tmp_path / "new" / "out"
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["preset"] == "paper"
    recorded = manifest["provenance"]
    assert {name: recorded[name] for name in ("contrast", "context", "span", "estimator")} == {
        "contrast": "premise",
        "context": "as-generated",
        "span": "response",
        "estimator": "difference-of-means",
    }
    _, rows = load_run(out)
    assert rows[0].prompt.endswith(GOOD["extract"][0]["creative"])


def test_score_of_one_text(run, lens, found, directions, folder):
    text = "The moon forgot the keys."
    expected = score_texts(lens, found, [text])
    base = ("score", "--text", text, "--directions", directions, "--model", folder)

    one = json.loads(run(*base, "--layer", 7, "--json").out)
    assert one.pop("score") == pytest.approx(expected.values[0, 7], abs=1e-6)
    assert one == {"id": "text", "n_tokens": int(expected.n_tokens[0]), "layer": 7}

    every = json.loads(run(*base, "--all-layers", "--json").out)
    assert [every[f"layer_{n}"] for n in range(N_LAYERS)] == pytest.approx(
        expected.values[0], abs=1e-6
    )

    default = json.loads(run(*base, "--json").out)
    assert default["layer"] == 6  # two thirds of ten

    paper = json.loads(run(*base, "--preset", "paper", "--json").out)
    assert (paper["layer"], paper["score"]) == (8, pytest.approx(expected.values[0, 8], abs=1e-6))

    centred = json.loads(run(*base, "--layer", 7, "--variant", "centred", "--json").out)
    by_api = score_texts(lens, found, [text], layers=7, variant="centred").values[0, 0]
    assert centred["score"] == pytest.approx(by_api, abs=1e-6)

    shown = run(*base, "--layer", 7).out
    assert f"{expected.values[0, 7]:+.4f}" in shown
    assert "\x1b" not in shown  # piped output carries no colours


def test_score_of_texts(run, command, lines, lens, found, tmp_path):
    rows = [*GOOD["score"], {"id": 'asked, "so"', "text": "A bridge.", "prompt": "Why?"}]
    expected = score_texts(
        lens, found, [Text(row["id"], row["text"], row.get("prompt")) for row in rows]
    )
    out = tmp_path / "new" / "out"
    assert run(*command("score", lines(*rows), "--layer", 4)).code == 0
    table = read_csv(out)
    assert list(table[0]) == ["id", "n_tokens", "score"]
    assert [row["id"] for row in table] == [row["id"] for row in rows]
    assert [int(row["n_tokens"]) for row in table] == expected.n_tokens.tolist()
    assert [float(row["score"]) for row in table] == pytest.approx(
        expected.values[:, 4].tolist(), abs=1e-5
    )

    result = run(*command("score", lines(*rows), "--all-layers", "--json"))
    assert json.loads(result.out) == {"out": str(out), "texts": 4}
    table = read_csv(out)
    assert list(table[0]) == ["id", "n_tokens", *(f"layer_{n}" for n in range(N_LAYERS))]
    assert [float(row["layer_9"]) for row in table] == pytest.approx(
        expected.values[:, 9].tolist(), abs=1e-5
    )


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_long_text_is_scored_in_windows(run, command, lines, lens, found, tmp_path):
    text = "the river and the bridge " * 100
    arguments = command("score", lines({"id": "long", "text": text}), "--layer", 4)
    assert run(*arguments, "--window", 50).code == 0
    expected = score_texts(lens, found, [text], layers=4, window=50)
    (row,) = read_csv(tmp_path / "new" / "out")
    assert int(row["n_tokens"]) == expected.n_tokens[0] > N_CTX
    assert float(row["score"]) == pytest.approx(expected.values[0, 0], abs=1e-5)


def read_jsonl(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_generate_adds_a_response_and_keeps_every_other_field(run, command, lines, lens, tmp_path):
    rows = [{"note": {"mine": [1]}, **row, "text": "é"} for row in GOOD["generate"]]
    arguments = command("generate", lines(*rows), "--seed", 3, "--system", "Be brief.")
    result = run(*arguments, "--json")
    assert result.code == 0, result.err
    expected = generate(
        lens,
        {row["id"]: row["prompt"] for row in rows},
        system="Be brief.",
        sampling=Sampling(max_new_tokens=8),
        seed=3,
    )
    out = tmp_path / "new" / "out"
    written = read_jsonl(out)
    assert written == [
        row | {"response": text.response, "finish_reason": text.finish_reason}
        for row, text in zip(rows, expected, strict=True)
    ]
    settings = json.loads(result.out)
    assert (settings["layer"], settings["strength"], settings["unit"]) == (None, None, None)
    assert (settings["responses"], settings["out"]) == (3, str(out))

    before = out.read_bytes()
    assert run(*arguments, "--batch-size", 1).code == 0
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "steering"),
    [
        ("--layer 8 --strength 0.5", {"layers": 8, "strength": 0.5, "unit": "relative"}),
        (
            "--layer 2 --layer 5 --strength -2 --unit absolute --scope generated",
            {"layers": [2, 5], "strength": -2.0, "unit": "absolute", "scope": "generated"},
        ),
        (
            "--layer 4 --strength 2 --mode rotate --scope 3: --schedule ramp:2",
            {
                "layers": 4,
                "strength": 2.0,
                "unit": "relative",
                "mode": "rotate",
                "scope": "3:",
                "schedule": "ramp:2",
            },
        ),
        (
            "--layer 4 --strength=-2 --mode clamp --around midpoint --schedule decay:3",
            {
                "layers": 4,
                "strength": -2.0,
                "unit": "relative",
                "mode": "clamp",
                "schedule": "decay:3",
                "around": "midpoint",
            },
        ),
        ("--preset paper", {"layers": 8, "strength": 3.0, "unit": "absolute"}),
        ("--preset paper --layer 8", {"layers": 8, "strength": 3.0, "unit": "absolute"}),
    ],
)
def test_generate_steers(run, steer, lens, found, tmp_path, options, steering):
    result = run(*steer(*options.split(), "--json"))
    assert result.code == 0, result.err
    prompts = {row["id"]: row["prompt"] for row in GOOD["generate"]}
    sampling = Sampling(max_new_tokens=8)
    expected = generate(lens, prompts, directions=found, sampling=sampling, **steering)
    responses = [row["response"] for row in read_jsonl(tmp_path / "new" / "out")]
    assert responses == [text.response for text in expected]
    assert responses != [text.response for text in generate(lens, prompts, sampling=sampling)]
    settings = json.loads(result.out)
    assert settings["layer"] == steering["layers"]
    assert settings["strength"] == steering["strength"]
    assert settings["unit"] == steering["unit"]
    words = {"mode": "add", "scope": "all", "schedule": "constant", "around": "zero"} | steering
    words["scope"] = words["scope"].replace("generated", "response")  # one word for one meaning
    assert {name: settings[name] for name in ("mode", "scope", "schedule", "around")} == {
        name: words[name] for name in ("mode", "scope", "schedule", "around")
    }
    assert settings["spec"] is None


def test_generate_steers_by_a_spec(run, steer, lens, found, tmp_path):
    spec = SteeringSpec((SteeringStep(6, 1.0, mode="rotate", scope="response"),
                         SteeringStep(2, -0.5, schedule="stop:2")))  # fmt: skip
    path = tmp_path / "spec.json"
    spec.save(path)
    result = run(*steer("--spec", path, "--json"))
    assert result.code == 0, result.err
    prompts = {row["id"]: row["prompt"] for row in GOOD["generate"]}
    expected = generate(
        lens, prompts, directions=found, spec=spec, sampling=Sampling(max_new_tokens=8)
    )
    responses = [row["response"] for row in read_jsonl(tmp_path / "new" / "out")]
    assert responses == [text.response for text in expected]
    settings = json.loads(result.out)
    assert SteeringSpec.from_dict(settings["spec"]) == spec
    words = ("layer", "strength", "unit", "mode", "scope", "schedule", "around")
    assert [settings[name] for name in words] == [None] * 7


def test_generate_steers_along_directions_of_several_names(
    run, steer, lens, found, folder, loaded, tmp_path
):
    """A bare file is `creativity`, and the path of a file may hold an equals sign."""
    plain = replace(found, directions=found.directions.roll(1, dims=1))
    files = {"plain": tmp_path / "plain.safetensors", "alien": tmp_path / "alien.safetensors"}
    plain.save(files["plain"])
    of_another_model(found, fingerprint=[1.0, 1.0]).save(files["alien"])  # which nothing uses
    bare = tmp_path / "lr=3.safetensors"
    found.save(bare)
    sets = {"creativity": found, "plain": plain}
    spec = SteeringSpec((SteeringStep(2, 1.0, "plain"), SteeringStep(6, 1.0))).pinned(sets)
    path = tmp_path / "spec.json"
    spec.save(path)
    named = [word for name in files for word in ("--directions", f"{name}={files[name]}")]
    arguments = [*steer("--spec", path, to=bare), *named]
    place = arguments.index("--model")
    del arguments[place : place + 2]
    result = run(*arguments)
    assert result.code == 0, result.err
    assert loaded == [str(folder)]
    prompts = {row["id"]: row["prompt"] for row in GOOD["generate"]}
    sampling = Sampling(max_new_tokens=8)
    expected = generate(lens, prompts, directions=sets, spec=spec, sampling=sampling)
    responses = [row["response"] for row in read_jsonl(tmp_path / "new" / "out")]
    assert responses == [text.response for text in expected]
    only = SteeringSpec((SteeringStep(6, 1.0),))
    without = generate(lens, prompts, directions=found, spec=only, sampling=sampling)
    assert responses != [text.response for text in without]


def test_strength_0_changes_no_token(run, command, lines, steer, tmp_path):
    out = tmp_path / "new" / "out"
    assert run(*steer("--layer", 3, "--strength", 0)).code == 0
    steered = out.read_bytes()
    assert run(*command("generate", lines(*GOOD["generate"]))).code == 0
    assert out.read_bytes() == steered


def test_the_model_of_the_directions_is_the_default(run, directions, folder, loaded):
    assert run("score", "--text", "A bridge.", "--directions", directions).code == 0
    assert loaded == [str(folder)]


def test_extract_then_score_then_generate(run, command, lines, steer, tmp_path):
    """The files of one command are what the next one takes."""
    assert run(*command("extract", lines(*GOOD["extract"]))).code == 0
    extracted = tmp_path / "run"
    (tmp_path / "new" / "out").rename(extracted)
    made = extracted / "directions.safetensors"
    assert run("score", "--text", "A bridge.", "--directions", made).code == 0
    assert run(*steer("--layer", 8, "--strength", 0.3, to=made)).code == 0


@pytest.mark.slow
def test_a_text_is_scored_at_once_with_the_shipped_directions(cli, monkeypatch, real_model):
    """What the README promises: no directions, no model named."""
    names = []
    monkeypatch.setattr(
        loading, "load_model", lambda name, **options: names.append(name) or real_model
    )
    result = cli("score", "--text", "The moon forgot its keys.", "--json")
    assert result.code == 0, result.err
    assert names == ["smollm2-135m-instruct"]
    scored = json.loads(result.out)
    assert scored["layer"] == 20
    assert scored["n_tokens"] == len(text_ids(real_model, "The moon forgot its keys."))
    assert -1 < scored["score"] < 1


# --- the program -----------------------------------------------------------------------------


@pytest.mark.parametrize("command_name", COMMANDS)
def test_help_shows_an_example(run, command_name):
    result = run(command_name, "--help")
    assert result.code == 0
    assert f"creativity-lens {command_name} --" in result.out
    assert "Example" in result.out


def test_help_names_every_command_and_version_the_version(run):
    from creativity_lens import __version__

    result = run("--help")
    assert result.code == 0
    assert all(name in result.out for name in COMMANDS)
    assert run("--version").out.strip() == f"creativity-lens {__version__}"


def test_an_interrupted_run_says_so_and_leaves_nothing(run, command, lines, monkeypatch, tmp_path):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("creativity_lens.generation.decode.step", interrupt)
    arguments = command("generate", lines(*GOOD["generate"]))
    before = everything_below(tmp_path)
    result = run(*arguments)
    assert result.code == 130
    assert "error: interrupted" in result.err
    assert "Traceback" not in result.err
    assert everything_below(tmp_path) == before


def test_the_installed_program_ends_bad_input_in_one_sentence(tmp_path, write):
    path = write("empty.jsonl", "")
    done = subprocess.run(
        [sys.executable, "-m", "creativity_lens", "extract", "--pairs", path, "--out", "run"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == f"error: {path} is empty: it holds no JSON object.\n"
    assert done.stdout == ""
    assert [p.name for p in tmp_path.iterdir()] == ["empty.jsonl"]
