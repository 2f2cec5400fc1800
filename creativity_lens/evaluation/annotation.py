"""A blind pairwise study: which texts are compared, in which order, on which form.

Two sets of texts are paired by prompt. Each set stands left in half of the pairs of a form. A form
is what one rater sees; its items carry random ids, so that nothing in it tells the sets apart. What
is what stands in the key, which stays with the person who runs the study.

Attention checks are instructed responses: a pair like the others, one text of which ends in a line
that says which side to choose. A. W. Meade and S. B. Craig (2012, Psychological Methods 17,
437-455) recommend instructed responses together with measures of consistency, which is what
repeated pairs are for. A text of scrambled words, as used for translation, would not do here: word
salad may honestly be found creative.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from creativity_lens.errors import DataError
from creativity_lens.evaluation.study_texts import GeneratedText
from creativity_lens.io import read_json, sha256_json, write_json

Kind = Literal["pair", "repeat", "check"]
Side = Literal["left", "right"]
Set = Literal["a", "b"]
SETS: tuple[Set, Set] = ("a", "b")

FORMAT = "creativity-lens study key"
SCHEMA_VERSION = 1
INSTRUCTION = (
    "Please choose {side} for this pair, whatever you think of the texts. This line checks that "
    "texts are read to their end."
)


@dataclass(frozen=True)
class StudyPair:
    """Two texts on the same prompt, one of each set."""

    pair_id: str
    prompt_id: str
    prompt: str
    a: GeneratedText
    b: GeneratedText


@dataclass(frozen=True)
class StudyItem:
    """One screen of a form.

    Attributes:
        item_id: random; all that a form knows of what it shows.
        kind: `pair`; `repeat` (the same pair again, sides swapped); `check` (an attention check).
        pair_id: whose texts are shown.
        left: the set whose text stands left.
        told: what a check asks for; None otherwise.
        told_in: the side whose text holds the instruction; None otherwise.
    """

    item_id: str
    kind: Kind
    pair_id: str
    left: Set
    told: Side | None = None
    told_in: Side | None = None


@dataclass(frozen=True)
class Study:
    """All that was drawn for a study; `save` writes it as the key.

    Attributes:
        names: of set a and set b.
        pairs: what is compared.
        forms: the items of each form, in the order in which they are shown.
        question: what raters are asked.
        dimension: what the answers are ratings of.
        ties: whether a tie may be chosen.
        groups: rater groups to choose from; empty asks for none.
        seed: of everything random; a secret, as the key is.
        notes: what was left out or is not as asked.
    """

    names: tuple[str, str]
    pairs: tuple[StudyPair, ...]
    forms: tuple[tuple[StudyItem, ...], ...]
    question: str
    dimension: str
    ties: bool
    groups: tuple[str, ...]
    seed: int
    notes: tuple[str, ...]

    @property
    def study_id(self) -> str:
        """A digest of the whole study: forms and exports carry it, so that studies never mix."""
        return sha256_json(self._body())[:12]

    def system(self, side: Set) -> str:
        """The name of a set."""
        return self.names[0] if side == "a" else self.names[1]

    def text_id(self, pair: StudyPair, side: Set) -> str:
        """A text's id in the ratings: with its set's name, as ids repeat between sets."""
        text = pair.a if side == "a" else pair.b
        return f"{self.system(side)}/{text.text_id}"

    def blind_form(self, form: int) -> dict[str, Any]:
        """All that the page of a form (from 1) may know: texts by side, and random ids."""
        pairs = {pair.pair_id: pair for pair in self.pairs}
        shown = []
        for item in self.forms[form - 1]:
            pair = pairs[item.pair_id]
            texts = {"left": pair.a.text, "right": pair.b.text}
            if item.left == "b":
                texts = {"left": pair.b.text, "right": pair.a.text}
            if item.told is not None and item.told_in is not None:
                line = INSTRUCTION.format(side=item.told.capitalize())
                texts[item.told_in] = f"{texts[item.told_in].rstrip()}\n\n{line}"
            shown.append({"id": item.item_id, "prompt": pair.prompt, **texts})
        return {
            "study": self.study_id,
            "form": str(form),
            "question": self.question,
            "ties": self.ties,
            "groups": list(self.groups),
            "items": shown,
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the key. Whoever rates must not see it."""
        write_json(
            path,
            {
                "format": FORMAT,
                "schema_version": SCHEMA_VERSION,
                "study_id": self.study_id,
                **self._body(),
            },
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Study":
        """Read a key.

        Raises:
            DataError: a missing file, another kind of file, or a key that was changed after it was
                written (it would turn choices around without a sign).
        """
        value = read_json(path)
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise DataError(
                f"{path} is not the key of a study: give the key.json that was written beside the "
                "pages."
            )
        if value.get("schema_version") != SCHEMA_VERSION:
            raise DataError(
                f"{path} has schema version {value.get('schema_version')!r}; this version of "
                f"creativity_lens reads {SCHEMA_VERSION}."
            )
        try:
            study = cls._from_body(value)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DataError(f"{path} lacks a part of a study's key ({error!r}).") from error
        if study.study_id != value.get("study_id"):
            raise DataError(f"{path} was changed after it was written: use the original key.")
        return study

    def _body(self) -> dict[str, Any]:
        body = asdict(self)
        for pair in body["pairs"]:  # asdict leaves NamedTuples as they are
            pair["a"], pair["b"] = pair["a"]._asdict(), pair["b"]._asdict()
        return body

    @classmethod
    def _from_body(cls, body: Mapping[str, Any]) -> "Study":
        first, second = body["names"]
        return cls(
            names=(first, second),
            pairs=tuple(
                StudyPair(
                    **{**pair, "a": GeneratedText(**pair["a"]), "b": GeneratedText(**pair["b"])}
                )
                for pair in body["pairs"]
            ),
            forms=tuple(tuple(StudyItem(**item) for item in form) for form in body["forms"]),
            question=body["question"],
            dimension=body["dimension"],
            ties=body["ties"],
            groups=tuple(body["groups"]),
            seed=body["seed"],
            notes=tuple(body["notes"]),
        )


def other(side: Set) -> Set:
    """The set that is not this one."""
    return "b" if side == "a" else "a"


def mirrored(item: StudyItem) -> StudyItem:
    """The item with its sides swapped."""
    return replace(item, left=other(item.left))
