"""Directions that point anywhere, for tests that need some but not where they come from."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import config

from creativity_lens.directions.direction import SCHEMA_VERSION, DirectionSet
from creativity_lens.models.identity import identity

NEUTRAL = {"system": "Answer the user.", "user": "Write a short story."}


def random_directions(model) -> DirectionSet:
    """Random unit rows and means; the residual norm of layer l is l + 2."""
    generator = torch.Generator().manual_seed(7)
    n_layers, d_model = model.cfg.n_layers, model.cfg.d_model
    rows, creative, uncreative = torch.randn(3, n_layers, d_model, generator=generator)
    return DirectionSet(
        directions=rows / rows.norm(dim=-1, keepdim=True),
        mean_creative=creative,
        mean_uncreative=uncreative,
        difference_norms=(creative - uncreative).norm(dim=-1),
        residual_norms=torch.arange(n_layers) + 2.0,
        provenance={
            "schema_version": SCHEMA_VERSION,
            "model": identity(model),
            "neutral_prompt": NEUTRAL,
        },
    )


def of_another_model(directions: DirectionSet, **changes) -> DirectionSet:
    """The same directions, recorded as extracted from a model with `changes`."""
    recorded = {**directions.provenance["model"], "name": "some/other-model", **changes}
    return replace(directions, provenance={**directions.provenance, "model": recorded})


@contextlib.contextmanager
def unchecked() -> Iterator[None]:
    """Call the package as its users do: without beartype in front of its own argument checks."""
    config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", False)
