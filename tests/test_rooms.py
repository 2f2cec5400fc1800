"""The house: data flows one way, only the command line prints, and nothing unpickles."""

import ast
import re
from pathlib import Path

import pytest

import creativity_lens

PACKAGE = Path(creativity_lens.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

LEAVES = ("errors", "io", "stats")
# Each may import what stands before it; those in one set are siblings and know nothing of
# each other.
FLOW = (
    {"models"},
    {"hooks"},
    {"prompts"},
    {"generation"},
    {"activations"},
    {"directions"},
    {"probes", "scoring", "steering"},
    {"measures"},
    {"evaluation"},
    {"runs"},
    {"studies"},
)
ROOMS = frozenset().union(*FLOW)


def allowed(room: str) -> frozenset[str]:
    """The rooms that a room may import, besides itself."""
    if room in LEAVES:  # io raises the exceptions; nothing else
        return frozenset({"errors"}) - {room}
    if room == "plots":
        return ROOMS | set(LEAVES)
    if room == "report":
        return ROOMS | {*LEAVES, "plots"}
    if room == "cli":
        return ROOMS | {*LEAVES, "plots", "report"}
    before = frozenset().union(*FLOW[: next(i for i, rooms in enumerate(FLOW) if room in rooms)])
    return before | set(LEAVES)


def room_of(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def name(module: Path) -> str:
    return str(module.relative_to(PACKAGE))


def imported_names(tree: ast.Module) -> set[str]:
    """Everything a module imports, as dotted names, wherever in it the import stands."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the room"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def imported_rooms(tree: ast.Module) -> set[str]:
    own = [n.split(".") for n in imported_names(tree) if n.split(".")[0] == PACKAGE.name]
    return {parts[1] for parts in own if len(parts) > 1}


def parsed(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"))


def called(tree: ast.Module) -> set[str]:
    """Dotted names of everything that is called."""
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


rooms_only = [m for m in MODULES if name(m) not in {"__init__.py", "__main__.py"}]


def test_every_module_belongs_to_a_room_of_the_design():
    known = ROOMS | {*LEAVES, "plots", "report", "cli"}
    assert {room_of(m) for m in rooms_only} <= known


@pytest.mark.parametrize("module", rooms_only, ids=name)
def test_a_module_imports_only_rooms_before_its_own(module):
    room = room_of(module)
    # The package itself is asked for its version and its place, nothing more.
    extra = imported_rooms(parsed(module)) - allowed(room) - {room, "__version__"}
    assert not extra, f"{room} must not know {', '.join(sorted(extra))}"


def promised_imports(room: Path) -> re.Match[str] | None:
    """`errors, io` of `Imports: errors, io.`, on one or more lines, in a room's docstring."""
    return re.search(r"^Imports: ((?:[a-z]+,\s)*[a-z]+)\.", docstring(room), re.MULTILINE)


def docstring(room: Path) -> str:
    return ast.get_docstring(parsed(room / "__init__.py")) or ""


rooms_that_promise = [m.parent for m in MODULES if m.name == "__init__.py"]
rooms_that_promise = [room for room in rooms_that_promise if promised_imports(room)]


@pytest.mark.parametrize("room", rooms_that_promise, ids=name)
def test_a_rooms_docstring_names_the_rooms_that_it_imports(room):
    actual = set().union(*(imported_rooms(parsed(module)) for module in room.glob("*.py")))
    assert actual - {room.name} == set(re.split(r",\s", promised_imports(room)[1]))


def test_every_room_says_what_it_imports():
    silent = {room_of(m) for m in rooms_only if m.name == "__init__.py"} - {"cli"}
    assert all("Imports: " in docstring(PACKAGE / room) for room in silent)
    assert len(rooms_that_promise) >= 10


def test_the_rules_see_what_they_forbid():
    tree = ast.parse(
        "import creativity_lens.cli.app\n"
        "def late():\n"
        "    from creativity_lens import report\n"
        "    from creativity_lens.studies.demo import run_demo\n"
    )
    assert imported_rooms(tree) == {"cli", "report", "studies"}
    assert "scoring" not in allowed("steering") | allowed("probes") | allowed("directions")
    assert "directions" in allowed("scoring")
    assert not any("cli" in allowed(room) for room in (*ROOMS, *LEAVES, "plots", "report"))


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_only_the_command_line_talks_to_the_terminal(module):
    if room_of(module) == "cli":
        return
    tree = parsed(module)
    assert "print" not in called(tree)
    attributes = {ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    assert not attributes & {"sys.stdout", "sys.stderr", "sys.stdout.write", "sys.stderr.write"}
    assert not any(n.split(".")[0] in {"rich", "typer", "click"} for n in imported_names(tree))


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_nothing_is_pickled_or_unpickled(module):
    tree = parsed(module)
    pickling = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    assert not {n.split(".")[0] for n in imported_names(tree)} & pickling
    assert not {"torch.load", "torch.save", "pd.read_pickle"} & called(tree)
    assert not any(
        keyword.arg == "allow_pickle"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
    )


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_no_module_is_longer_than_600_lines(module):
    assert len(module.read_text(encoding="utf-8").splitlines()) <= 600
