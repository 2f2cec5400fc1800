"""The page on which a rater answers one form of a study.

One file, no network. Its content security policy lets nothing run but its own script, by digest;
texts are put into the page as text, never as HTML. The script and the style are files of their own
beside the template, as they are read and changed by themselves.
"""

import base64
import hashlib
import json
import os
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from creativity_lens.errors import InputError
from creativity_lens.evaluation.annotation import Study
from creativity_lens.io import check_writable, write_text

_environment = jinja2.Environment(
    loader=jinja2.PackageLoader("creativity_lens.report"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
)
# Control characters, and those that turn the direction of what follows.
_HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def render_annotation_page(study: Study, form: int) -> str:
    """The page of a form as one string of HTML.

    It holds the texts, the question and random ids; nothing in it tells the two sets apart.

    Args:
        study: of `make_study`.
        form: from 1.

    Raises:
        InputError: the study has no such form.
    """
    if not 1 <= form <= len(study.forms):
        raise InputError(f"the study has the forms 1 to {len(study.forms)}, not {form}.")
    script, style = (_resource(f"annotation.{kind}") for kind in ("js", "css"))
    return _environment.get_template("annotation.html").render(
        question=_visible(study.question),
        form=form,
        data=Markup(_inert_json(study.blind_form(form))),  # noqa: S704 (no tag can begin in it)
        script=Markup(script),  # noqa: S704 (our own file)
        style=Markup(style),  # noqa: S704
        script_hash=_digest(script),
        style_hash=_digest(style),
        ties=study.ties,
        groups=study.groups,
        checks=any(item.kind == "check" for item in study.forms[form - 1]),
        n_items=len(study.forms[form - 1]),
    )


def write_study(study: Study, folder: str | os.PathLike[str]) -> list[Path]:
    """Write `key.json` and, in a folder of their own to send to raters, `pages/form-N.html`.

    Args:
        study: of `make_study`.
        folder: of the study. The same study may be written again.

    Returns:
        The pages.

    Raises:
        InputError: the folder cannot be written to, or holds the key of another study, whose
            exports would be lost with it.
    """
    home = check_writable(folder, folder=True)
    key = home / "key.json"
    if key.exists() and Study.load(key).study_id != study.study_id:
        raise InputError(
            f"{key} belongs to another study, and its exports cannot be read without it: choose "
            "another folder. The same study is made again only with its own seed, which is in the "
            "key."
        )
    study.save(key)
    pages = []
    for form in range(1, len(study.forms) + 1):
        pages.append(home / "pages" / f"form-{form}.html")
        write_text(pages[-1], render_annotation_page(study, form))
    return pages


def _resource(name: str) -> str:
    home = resources.files("creativity_lens.report") / "templates" / name
    return home.read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """As a content security policy names an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _inert_json(value: Mapping[str, Any]) -> str:
    """JSON in ASCII without a character that means something to HTML."""
    plain = {**value, "items": [_visible_item(item) for item in value["items"]]}
    text = json.dumps({**plain, "question": _visible(value["question"])}, ensure_ascii=True)
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


def _visible_item(item: Mapping[str, str]) -> dict[str, str]:
    return {name: text if name == "id" else _visible(text) for name, text in item.items()}


def _visible(text: str) -> str:
    """The text with what cannot be seen shown as a sign: its Unicode picture, or its number."""

    def sign(match: re.Match[str]) -> str:
        code = ord(match[0])
        if code < 0x20:
            return chr(0x2400 + code)
        return "\u2421" if code == 0x7F else f"[U+{code:04X}]"

    return _HIDDEN.sub(sign, text.replace("\r\n", "\n").replace("\r", "\n"))
