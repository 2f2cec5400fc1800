"""The texts that `creativity-lens judge` asks about."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from creativity_lens.cli.common import check_unique
from creativity_lens.errors import DataError
from creativity_lens.io import read_jsonl

if TYPE_CHECKING:
    from creativity_lens.scoring.score import Text


class JudgedTexts(NamedTuple):
    """Texts that are not blank."""

    texts: "list[Text]"
    prompt_ids: list[str]
    """Of each text; "" if it has no prompt."""
    n_blank: int
    """How many others were left out."""


def read_texts(path: Path) -> JudgedTexts:
    """Read tidy ratings (`.csv`, `.parquet`), or else JSONL with `id` and `text`.

    Without `prompt_id` the prompt's own words are its id.

    Raises:
        DataError: no such file, not in the format, or no text that is not blank.
    """
    from creativity_lens.scoring.score import Text

    if path.suffix.lower() in (".csv", ".parquet"):
        from creativity_lens.evaluation.ratings import read_ratings

        table = read_ratings(path).texts
        rows = [
            (str(name), str(row["text"]), str(row["prompt"]), str(row["prompt_id"]))
            for name, row in table.iterrows()
        ]
    else:
        rows = _read_lines(path)
    kept = [row for row in rows if row[1].strip()]
    if not kept:
        raise DataError(f"{path} holds no text: its texts are blank.")
    texts = [Text(name, text, prompt or None) for name, text, prompt, _ in kept]
    return JudgedTexts(texts, [row[3] for row in kept], len(rows) - len(kept))


def _read_lines(path: Path) -> list[tuple[str, str, str, str]]:
    rows = []
    seen: dict[str, int] = {}
    for number, row in read_jsonl(path, required=("id", "text")):
        for field in ("prompt", "prompt_id"):
            value = row.get(field)
            if value is not None and (not isinstance(value, str) or not value.strip()):
                raise DataError(
                    f"{path}, line {number}: `{field}` must be a string that is not blank."
                )
        check_unique(path, number, row["id"], seen)
        prompt = row.get("prompt") or ""
        rows.append((row["id"], row["text"], prompt, row.get("prompt_id") or prompt))
    return rows
