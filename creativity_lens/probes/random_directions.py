"""Random directions to compare with: isotropic, of the texts' own covariance, of shuffled labels.

They stand in rising order of severity. Isotropic directions are a strawman: the residual stream
varies along few of its many dimensions, and nearly all isotropic directions lie where no text ever
goes. The other two point where texts vary for other reasons than the contrast.

The two that are made of texts take any layers between texts and width: `[text, d_model]` or
`[text, layer, d_model]`. A draw is a weighting of the texts, the same at all layers and in calls
for one layer with the same seed, so that the largest of a statistic over layers is the largest of
one draw.
"""

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import beta
from torch import Tensor

from creativity_lens.errors import InputError


def isotropic_directions(
    n: int, shape: int | tuple[int, ...], *, seed: int = 0
) -> Float[Tensor, "n *layer d_model"]:
    """Unit directions that point anywhere with equal probability.

    Args:
        n: how many.
        shape: `d_model`, or the shape of a direction set, `(layer, d_model)`: then a draw is the
            same direction at all layers, because the residual stream has one basis.
        seed: of the draws.

    Raises:
        InputError: no directions or no dimensions asked for.
    """
    *layers, d_model = (shape,) if isinstance(shape, int) else shape
    if min(n, d_model, *layers) < 1:
        raise InputError(f"n and all of the shape must be at least 1, got {n} and {shape}.")
    drawn = _unit(torch.randn(n, d_model, generator=_generator(seed), dtype=torch.float64))
    return drawn.reshape(n, *(1 for _ in layers), d_model).expand(n, *layers, d_model)


def isotropic_95(d_model: int) -> float:
    """95th percentile of the absolute cosine between isotropic directions, about 1.96/sqrt(d).

    The squared cosine with any fixed direction is Beta(1/2, (d - 1)/2). Few directions of a model
    are inside this band, related or not: quote it only beside a covariance-matched one.
    """
    return float(np.sqrt(beta.ppf(0.95, 0.5, (d_model - 1) / 2)))


def within_class_directions(
    creative: Float[Tensor, "text *layer d_model"],
    uncreative: Float[Tensor, "text *layer d_model"],
    n: int,
    *,
    seed: int = 0,
) -> Float[Tensor, "n *layer d_model"]:
    """Unit directions drawn from N(0, within-class covariance) of the texts.

    They point where texts vary for other reasons than the contrast: the difference of the class
    means is taken out. Each is a sum of the centred texts with standard normal weights, whose
    covariance is that of the texts.

    Raises:
        InputError: no directions asked for, NaN or infinity, or a layer at which the texts of
            each class are all equal.
    """
    _check(creative, uncreative, n)
    sides = (creative.double(), uncreative.double())
    residuals = torch.cat([side - side.mean(dim=0) for side in sides])
    weights = torch.randn(n, len(residuals), generator=_generator(seed), dtype=torch.float64)
    return _unit(torch.tensordot(weights, residuals, dims=1))


def shuffled_label_directions(
    creative: Float[Tensor, "text *layer d_model"],
    uncreative: Float[Tensor, "text *layer d_model"],
    n: int,
    *,
    seed: int = 0,
) -> Float[Tensor, "n *layer d_model"]:
    """Unit differences of means between halves of all texts, halved at random.

    What the estimator makes of labels that mean nothing. Labels are dealt to texts, not swapped
    within premises, so the premises' own differences are in it too, and so is the contrast where
    the halves hold unequal numbers of creative texts.

    Raises:
        InputError: no directions asked for, NaN or infinity, or a layer at which the texts of
            each class are all equal or their sums cancel.
    """
    _check(creative, uncreative, n)
    texts = torch.cat([creative, uncreative]).double()
    half = len(texts) // 2
    ranks = torch.rand(n, len(texts), generator=_generator(seed), dtype=torch.float64).argsort(1)
    signs = torch.where(ranks < half, 1.0, -1.0).double()
    return _unit(torch.tensordot(signs, texts - texts.mean(dim=0), dims=1))


def _check(
    creative: Float[Tensor, "text *layer d_model"],
    uncreative: Float[Tensor, "text *layer d_model"],
    n: int,
) -> None:
    if n < 1:
        raise InputError(f"the number of random directions must be at least 1, got {n}.")
    if not bool(torch.isfinite(creative).all() and torch.isfinite(uncreative).all()):
        raise InputError("the activations hold NaN or infinity; drop pairs with an empty text.")
    varies = torch.stack([(s != s[:1]).any(dim=-1).any(dim=0) for s in (creative, uncreative)])
    if not bool(varies.any(dim=0).all()):
        raise InputError(
            f"random directions are drawn from how texts vary, and the {len(creative)} texts of "
            "each class are all equal at some layer: give more texts, or texts that differ."
        )


def _unit(drawn: Float[Tensor, "n *layer d_model"]) -> Float[Tensor, "n *layer d_model"]:
    lengths = drawn.norm(dim=-1, keepdim=True)
    if not bool((lengths > 0).all()):
        raise InputError("a random sum of the texts has no length: give more texts.")
    unit: Tensor = drawn / lengths
    return unit.float()


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
