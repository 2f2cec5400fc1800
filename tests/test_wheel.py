"""What is installed from the wheel, far from the checkout, can load everything that is shipped."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from creativity_lens.prompts.checks import read_corpus
from creativity_lens.prompts.data import shipped_corpora

CHECKOUT = Path(__file__).parent.parent

LOAD_ALL = """
import json
from pathlib import Path
import creativity_lens as cl
from creativity_lens.prompts.checks import read_corpus
from creativity_lens.prompts.data import data_path, shipped_corpora
from creativity_lens.prompts.instructions import load_instructions
from creativity_lens.prompts.text import word_lists

home = Path(cl.__file__).parent
rows = {}
for name, path in shipped_corpora().items():
    assert home in path.parents, path
    kind, _, last = name.rpartition("/")
    rows[name] = len(cl.load_passages(last) if kind == "nuisance" else cl.load_contrast(name))
load_instructions(), word_lists()
runs = [path.name for path in (home / "_data/directions").iterdir()]
widths = {name: len(cl.load_directions(name)) for name in runs}
assert all(cl.load_shipped_run(name)[1] for name in runs)
train = len(cl.load_contrast("stories", split="train"))
card = data_path("README.md").is_file()
print(json.dumps([str(home), rows, widths, train, card]))
"""


def run(*command: object, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_wheel_carries_every_corpus_and_the_shipped_directions(tmp_path, monkeypatch):
    dist, target = tmp_path / "dist", tmp_path / "target"
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", dist, CHECKOUT)
    (wheel,) = dist.glob("*.whl")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    run(*pip, "--no-deps", "--no-index", "--target", target, wheel)
    monkeypatch.chdir(tmp_path)
    printed = run(sys.executable, "-c", LOAD_ALL, PYTHONPATH=str(target))
    home, rows, widths, train, card = json.loads(printed)
    assert Path(home) == target / "creativity_lens"  # not the checkout
    here = {name: read_corpus(path) for name, path in shipped_corpora().items()}
    assert rows == {name: len(found) for name, found in here.items()}
    assert train == sum(row.split == "train" for row in here["stories"])
    assert set(widths) == {path.name for path in (CHECKOUT / "data/directions").iterdir()}
    assert all(n_layers > 0 for n_layers in widths.values())
    assert card
