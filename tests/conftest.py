"""Shared fixtures: two tiny random models, and the packaged real one.

Shapes in the package are checked at run time here: the import hook makes jaxtyping annotations
real, with beartype.
"""

import os
import sys
from pathlib import Path
from typing import NamedTuple

from jaxtyping import install_import_hook

# Before the first import of the package, or there is nothing left to hook.
install_import_hook("creativity_lens", "beartype.beartype")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest  # noqa: E402
import torch  # noqa: E402

from creativity_lens.prompts.pairs import ContrastPair, load_contrast  # noqa: E402
from tests.tiny import LEGACY, tiny_model  # noqa: E402

# A second thread only slows tiny matrix products down, tenfold on a busy machine.
torch.set_num_threads(1)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """On 3.9, do not even import files without a legacy test: they need more than is installed."""
    if LEGACY and collection_path.match("test_*.py"):
        return "mark.legacy" not in collection_path.read_text(encoding="utf-8") or None
    return None


@pytest.fixture(autouse=True)
def _threads(request):
    """The real model gets all threads."""
    if request.node.get_closest_marker("slow"):
        torch.set_num_threads(os.cpu_count() or 1)
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session", params=["llama", "gpt2"])
def model(request, tmp_path_factory):
    """Each test that asks for `model` runs on a Llama-like and on a GPT-2-like model."""
    return tiny_model(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="session")
def llama(tmp_path_factory):
    """One tiny model, for tests that need not run on both."""
    return tiny_model("llama", tmp_path_factory.mktemp("one-llama"))


@pytest.fixture(scope="session")
def pairs() -> list[ContrastPair]:
    """A few shipped pairs; short enough for a tiny context."""
    return load_contrast("stories")[:6]


@pytest.fixture(scope="session")
def real_model():
    """The packaged model (slow: the first use on a machine converts it)."""
    from creativity_lens.models.loading import load_model

    return load_model()


@pytest.fixture
def write(tmp_path: Path):
    """Write a text file into a fresh folder and return its path."""

    def _write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return _write


class CommandResult(NamedTuple):
    """What a command left on the terminal."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(monkeypatch, capfd):
    """Run a command line as the installed program does."""
    from creativity_lens.cli import main

    def _cli(*args: object) -> CommandResult:
        monkeypatch.setattr(sys, "argv", ["creativity-lens", *map(str, args)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return CommandResult(ended.value.code or 0, *capfd.readouterr())

    return _cli
