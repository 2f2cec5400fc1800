"""Texts to compare, and raters who answer a study's form without a browser."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from creativity_lens.evaluation.annotation import Study, StudyItem
from creativity_lens.evaluation.annotation_exports import checksum
from creativity_lens.evaluation.study_texts import GeneratedText

Chooser = Callable[[StudyItem], str]


def texts(word: str, prompts: int = 8, each: int = 1) -> list[GeneratedText]:
    """`each` texts on each prompt, all different."""
    return [
        GeneratedText(f"text-{i}-{j}", f"prompt-{i}", f"Words of {i}.", f"{word} {i} {j}.")
        for i in range(prompts)
        for j in range(each)
    ]


def heeds(choose: Chooser) -> Chooser:
    """A rater who does what attention checks say."""
    return lambda item: item.told if item.kind == "check" and item.told else choose(item)


def of_set(name: str) -> Chooser:
    """A rater who likes the texts of one set, wherever they stand."""
    return heeds(lambda item: "left" if item.left == name else "right")


def export(
    study: Study, rater: str, choose: Chooser, *, form: int = 1, group: str = "", first: int = 999
) -> dict:
    """What the page would export; of the first so many items."""
    items: Sequence[StudyItem] = study.forms[form - 1][:first]
    value = {
        "format": "creativity-lens annotation",
        "version": 1,
        "study": study.study_id,
        "form": str(form),
        "rater": rater,
        "group": group,
        "answers": [{"id": i.item_id, "choice": choose(i), "ms": 1500} for i in items],
    }
    return {**value, "checksum": checksum(value)}


def written(folder: Path, *exports: dict) -> list[Path]:
    """The exports as files."""
    paths = [folder / f"export-{i}.json" for i in range(len(exports))]
    for path, value in zip(paths, exports, strict=True):
        path.write_text(json.dumps(value), encoding="utf-8")
    return paths
