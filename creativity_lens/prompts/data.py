"""Where the files that come with the package are, in a wheel and in a checkout alike."""

from pathlib import Path

import creativity_lens
from creativity_lens.errors import InputError


def data_path(*parts: str) -> Path:
    """Path of a shipped file, such as `data_path("prompts", "stories.jsonl")`.

    Raises:
        InputError: there is no such file; names those that there are.
    """
    package = Path(creativity_lens.__file__).parent
    # A wheel carries data/ inside the package; an editable install reads the checkout's own.
    roots = (package / "_data", package.parent / "data")
    for root in roots:
        path = root.joinpath(*parts)
        if path.is_file():
            return path
    there = sorted(
        file.stem
        for root in roots
        for file in root.joinpath(*parts[:-1]).glob(f"*{Path(parts[-1]).suffix}")
    )
    raise InputError(
        f"no shipped file {'/'.join(parts)!r}; there are: {', '.join(there) or 'none'}."
    )
