"""The rated texts that come with the package, to try an evaluation on."""

from creativity_lens.evaluation.ratings import Ratings, read_ratings
from creativity_lens.prompts.data import data_path


def load_ratings(name: str = "openings") -> Ratings:
    """Rated texts that come with the package; works from an installed wheel.

    `openings` holds 60 story openings on 12 prompts. Language models wrote and rated them, so
    nothing about people follows from them; see `data/README.md`.

    Raises:
        InputError: unknown name; names those that there are.
    """
    return read_ratings(data_path("ratings", f"{name}.csv"), scale=(1, 7))
