"""Reading texts: which tokens count, and that batches and padding never show."""

import numpy as np
import pytest
import torch

import creativity_lens as cl
from creativity_lens.activations.reading import (
    Passage,
    check_span,
    read_batches,
    read_passages,
)
from creativity_lens.errors import InputError
from creativity_lens.hooks.capture import NormHistogram
from creativity_lens.measures.likelihood import mean_nll
from tests.tiny import D_MODEL, N_CTX, N_LAYERS, distance, residuals, tiny_hf, token_rows

LAYERS = tuple(range(N_LAYERS))
ROUNDING = 1e-5


@pytest.fixture
def hf(request, model):
    """The plain Hugging Face twin of `model`."""
    return tiny_hf(request.node.callspec.params["model"])[0]


def _passages(*lengths):
    """Passages of (context, text) lengths."""
    lengths = lengths or ((4, 9), (12, 1), (2, 2), (7, 20), (3, 5))
    return [
        Passage(f"text-{i}", context, text)
        for i, (context, text) in enumerate(
            token_rows(c + t, seed=i)[0][:c] and (token_rows(c, t, seed=i)) for c, t in lengths
        )
    ]
