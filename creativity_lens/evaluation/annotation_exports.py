"""The files that a study's pages export, read back into choices, ratings and a line for each rater.

An export knows random item ids and sides alone; the key turns them into texts. A checksum over the
answers finds files that were changed by hand or cut off. It is no proof against forgery.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from creativity_lens.errors import DataError
from creativity_lens.evaluation.annotation import Study
from creativity_lens.io import read_json

Choice = Literal["left", "right", "tie"]

EXPORT_FORMAT = "creativity-lens annotation"
EXPORT_VERSION = 1
# Three years, and far from where a number of seconds would overflow.
_LONGEST_MS = 10**11
_ANSWER = {"id": str, "choice": str, "ms": int}


class Answer(NamedTuple):
    """One choice on a form."""

    item_id: str
    choice: Choice
    ms: int
    """Milliseconds for which the pair was on the screen, until the last choice."""


class Export(NamedTuple):
    """What one rater answered on one form."""

    source: str
    rater: str
    group: str
    form: int
    answers: tuple[Answer, ...]


def read_exports(
    study: Study, paths: Sequence[str | os.PathLike[str]]
) -> tuple[list[Export], list[str]]:
    """Read and check exports of one study.

    An unfinished form counts as far as it goes, with a note. If a rater exported the same form
    several times and the answers agree, the fullest is used, with a note. Several forms by the same
    rater are used, with a note.

    Args:
        study: read from the key.
        paths: the exports.

    Returns:
        The exports that count, and the notes.

    Raises:
        DataError: a missing file, another kind of file, another study, a form, group or item that
            is not in the key, an answer that cannot be, a failed checksum, no rater or one whose
            name no file can hold, or two exports of a rater for the same form that contradict each
            other; the message names the file.
    """
    if not paths:
        raise DataError("there are no exports to read: name the JSON files that raters sent back.")
    notes: list[str] = []
    found: dict[tuple[str, int], Export] = {}
    for path in paths:
        export = read_export(study, path)
        key = (export.rater, export.form)
        if key in found:
            export = _fuller(found[key], export, notes)
        found[key] = export
    kept = list(found.values())
    for export in kept:
        size = len(study.forms[export.form - 1])
        if len(export.answers) < size:
            notes.append(
                f"{export.rater!r} answered {len(export.answers)} of the {size} items of form "
                f"{export.form}."
            )
    names = [export.rater for export in kept]
    for rater in dict.fromkeys(names):
        if (forms := names.count(rater)) > 1:
            notes.append(f"{rater!r} answered {forms} forms; they count as one rater's.")
    spelled: dict[str, str] = {}
    for rater in names:
        other = spelled.setdefault(rater.casefold(), rater)
        if other != rater:
            notes.append(f"{other!r} and {rater!r} count as two raters; are they one?")
    return kept, list(dict.fromkeys(notes))


def read_export(study: Study, path: str | os.PathLike[str]) -> Export:
    """Read and check one export. Errors as `read_exports`."""
    value = read_json(path)
    if not isinstance(value, dict) or value.get("format") != EXPORT_FORMAT:
        raise DataError(f"{path} is not an export of a study's page: give the file it downloaded.")
    if value.get("version") != EXPORT_VERSION:
        raise DataError(
            f"{path} has version {value.get('version')!r}; this version of creativity_lens reads "
            f"{EXPORT_VERSION}."
        )
    if value.get("study") != study.study_id:
        raise DataError(
            f"{path} belongs to the study {value.get('study')!r}, and the key to "
            f"{study.study_id!r}: read each export with the key of its own study."
        )
    rater, group, form = (value.get(name) for name in ("rater", "group", "form"))
    if not isinstance(rater, str) or not rater.strip():
        raise DataError(
            f"{path} names no rater: ask for the file again, with the rater id filled in."
        )
    if any("\ud800" <= letter <= "\udfff" for letter in rater):
        raise DataError(
            f"{path} names the rater {rater!r}, with half of a surrogate pair, which the page "
            "never writes: ask for the original file."
        )
    if not isinstance(group, str) or (group not in study.groups if study.groups else group):
        known = ", ".join(study.groups) or "none"
        raise DataError(f"{path} has the rater group {group!r}; the study has: {known}.")
    forms = [str(number) for number in range(1, len(study.forms) + 1)]
    if form not in forms:
        raise DataError(f"{path} is of form {form!r}; the study has the forms {', '.join(forms)}.")
    number = int(str(form))
    answers = _answers(study, number, value.get("answers"), path)
    if value.get("checksum") != checksum(value):
        raise DataError(
            f"{path} was changed after the page wrote it (its checksum does not fit): ask the "
            "rater for the original file."
        )
    return Export(Path(path).name, rater.strip(), group, number, answers)


def checksum(export: Mapping[str, Any]) -> str:
    """FNV-1a, 32 bits, over all that an export says about its answers; the page has its twin."""
    lines = [str(export[name]) for name in ("version", "study", "form", "rater", "group")]
    lines += [f"{answer['id']}:{answer['choice']}:{answer['ms']}" for answer in export["answers"]]
    found = 0x811C9DC5
    for byte in "\n".join(lines).encode("utf-8", "replace"):
        found = (found ^ byte) * 0x01000193 % 2**32
    return f"{found:08x}"


def _answers(
    study: Study, form: int, answers: Any, path: str | os.PathLike[str]
) -> tuple[Answer, ...]:
    if not isinstance(answers, list) or not answers:
        raise DataError(f"{path} holds no answers.")
    known = {item.item_id for item in study.forms[form - 1]}
    choices = ("left", "right", "tie") if study.ties else ("left", "right")
    seen: set[str] = set()
    for number, answer in enumerate(answers, start=1):
        where = f"{path}, answer {number}"
        if not isinstance(answer, dict) or any(
            type(answer.get(name)) is not kind for name, kind in _ANSWER.items()
        ):
            raise DataError(f"{where}: an answer needs id, choice and ms, got {answer!r}.")
        if answer["id"] not in known:
            raise DataError(f"{where}: form {form} has no item {answer['id']!r}.")
        if answer["id"] in seen:
            raise DataError(f"{where}: the item {answer['id']!r} is answered twice.")
        if answer["choice"] not in choices:
            raise DataError(
                f"{where}: the choice must be {', '.join(choices)}, got {answer['choice']!r}."
            )
        if not 0 <= answer["ms"] <= _LONGEST_MS:
            raise DataError(
                f"{where}: the time must be from 0 to {_LONGEST_MS} ms, got {answer['ms']!s:.24}."
            )
        seen.add(answer["id"])
    return tuple(Answer(answer["id"], answer["choice"], answer["ms"]) for answer in answers)


def _fuller(first: Export, second: Export, notes: list[str]) -> Export:
    """The one of a rater's two exports of a form that says more."""
    choices = {answer.item_id: answer.choice for answer in first.answers}
    differ = sum(choices.get(a.item_id, a.choice) != a.choice for a in second.answers)
    if differ or first.group != second.group:
        raise DataError(
            f"{first.source} and {second.source} are both by {first.rater!r} for form "
            f"{first.form} and differ in {differ} answers or in the group: keep the one that "
            "counts, or give two people two rater ids."
        )
    notes.append(
        f"{first.rater!r} sent form {first.form} more than once with the same answers; the fullest "
        "export counts."
    )
    return max(first, second, key=lambda export: len(export.answers))
