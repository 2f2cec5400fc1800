"""Where the files that come with the package are, in a wheel and in a checkout alike."""

from pathlib import Path

import creativity_lens
from creativity_lens.errors import InputError


def data_path(*parts: str) -> Path:
    """Path of a shipped file, such as `data_path("prompts", "stories.jsonl")`.

    Raises:
        InputError: there is no such file; names those that there are.
    """
    for root in _roots():
        path = root.joinpath(*parts)
        if path.is_file():
            return path
    # What stands where the path goes astray: files of the same kind, or folders.
    astray = next(
        i
        for i in range(len(parts))
        if not any(root.joinpath(*parts[: i + 1]).exists() for root in _roots())
    )
    suffix = Path(parts[astray]).suffix
    beside = [
        path for root in _roots() for path in root.joinpath(*parts[:astray]).glob(f"*{suffix}")
    ]
    there = sorted({path.stem for path in beside if suffix or path.is_dir()})
    raise InputError(
        f"no shipped file {'/'.join(parts)!r}; there are: {', '.join(there) or 'none'}."
    )


def shipped_corpora() -> dict[str, Path]:
    """All shipped prompt files by name, such as `stories` and `facets/originality`."""
    found: dict[str, Path] = {}
    for home in (root / "prompts" for root in _roots()):
        for path in sorted(home.rglob("*.jsonl")):
            found.setdefault(path.relative_to(home).with_suffix("").as_posix(), path)
    return found


def _roots() -> tuple[Path, Path]:
    package = Path(creativity_lens.__file__).parent
    # A wheel carries data/ inside the package; an editable install reads the checkout's own.
    return package / "_data", package.parent / "data"
