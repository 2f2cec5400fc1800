"""`--preset paper`: what arXiv 2412.06060 fixes, and what it leaves open, fixed here and recorded.

The paper gives the layer (8), the strength (λ = 3 on a unit vector), the estimator (difference of
means) and the pooling (generated tokens). It does not say which context the texts are read in;
as-generated is the plain reading. Its pairs are WritingPrompts premises, each with a negated
version: a contrast by premise.
"""

from typing import Any, Literal

from creativity_lens.errors import InputError

Preset = Literal["paper"]

PAPER: dict[str, Any] = {
    "layer": 8,
    "strength": 3.0,
    "unit": "absolute",
    "mode": "add",
    "contrast": "premise",
    "context": "as-generated",
    "span": "response",
    "estimator": "difference-of-means",
    "variant": "cosine",
}


def settle(preset: str | None, given: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Options as given, else as the preset fixes them, else their defaults.

    Raises:
        InputError: an option that contradicts the preset.
    """
    fixed = {name: PAPER[name] for name in given if name in PAPER} if preset == "paper" else {}
    for name, value in fixed.items():
        if given[name] is not None and given[name] != value:
            raise InputError(
                f"--preset paper fixes {name} at {value}, but {given[name]} was given; leave out "
                "one of the two."
            )
    return {
        name: value if value is not None else fixed.get(name, defaults.get(name))
        for name, value in given.items()
    }
