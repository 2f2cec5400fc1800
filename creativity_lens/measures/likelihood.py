"""How likely a text is to the model: the cost in fluency."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from creativity_lens.activations.reading import Passage, read_passages
from creativity_lens.models.protocol import LensModel


def mean_nll(model: LensModel, passages: Sequence[Passage]) -> NDArray[np.float64]:
    """Mean negative log-likelihood of each text given its context, in nats a token.

    Lower is more fluent to this model, not better: repeated text is very likely. Read with the
    unsteered model, it is the price of steering.

    Returns:
        One number for each passage; a text without context has none for its first token.

    Raises:
        InputError: an empty text, one of a single token without context, or one longer than the
            model's context.
    """
    return read_passages(model, passages, layers=(), likelihood=True).nll
