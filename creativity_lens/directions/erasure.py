"""Removing what is not creativity: an affine map of the text means, at every layer.

Fitting "with nuisances removed" is erasing the text means, then fitting. Two ways:

- `projection`: onto the complement of the nuisances' directions. The class means no longer differ
  along them; a classifier may still read a nuisance from other directions.
- `leace` (Belrose et al. 2023, arXiv 2306.03819): the smallest change, in mean squared distance,
  after which no linear classifier reads the nuisance from the texts it was fitted on.
"""

import warnings
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from creativity_lens.errors import InputError, MissingDependencyError

Removal = Literal["projection", "leace"]

COLLINEAR = 1e-6
"""Singular values below this share of the largest are rounding: directions are kept in float32."""
LEACE_TOLERANCE = 1e-8
"""Largest share of the covariance with the labels that may be left after an erasure."""


@dataclass(frozen=True, eq=False)
class Erasure:
    """`x -> x - left @ right @ (x - centre)` at each layer; `rank` is at most that of the concepts.

    Attributes:
        method: `projection` or `leace`.
        left: columns of what is subtracted.
        right: rows that read how much of it there is.
        centre: the point that stays where it is; 0 for a projection.
    """

    method: Removal
    left: Float[Tensor, "layer d_model rank"]
    right: Float[Tensor, "layer rank d_model"]
    centre: Float[Tensor, "layer d_model"]

    def __call__(
        self, means: Float[Tensor, "text layer d_model"]
    ) -> Float[Tensor, "text layer d_model"]:
        """The text means without the nuisances, float64.

        Raises:
            InputError: means of other layers or another width.
        """
        if means.shape[1:] != self.centre.shape:
            raise InputError(
                f"this erasure is for [layer, d_model] {tuple(self.centre.shape)}, but the text "
                f"means are of {tuple(means.shape[1:])}: fit it on texts of the same model, at the "
                "same layers."
            )
        texts = means.double().cpu()
        amounts = torch.einsum("tld,lrd->tlr", texts - self.centre, self.right)
        return texts - torch.einsum("tlr,ldr->tld", amounts, self.left)

    def pull_back(self, filters: Float[Tensor, "layer d_model"]) -> Float[Tensor, "layer d_model"]:
        """The filters that read from a text what `filters` read from the erased text.

        `x @ pull_back(w)` is `erasure(x) @ w` up to a constant, so a filter fitted on erased texts
        stays blind to the nuisances on texts as they are. Not normalized.
        """
        weights = filters.double()
        amounts = torch.einsum("ld,ldr->lr", weights, self.left)
        return weights - torch.einsum("lr,lrd->ld", amounts, self.right)

    @classmethod
    def projection(cls, directions: Float[Tensor, "concept layer d_model"]) -> "Erasure":
        """Orthogonal projection onto the complement of the directions' span, at each layer.

        Args:
            directions: of any length, also collinear; a direction that is 0 removes nothing.

        Raises:
            InputError: no directions, NaN or infinity.
        """
        if not len(directions) or not bool(torch.isfinite(directions).all()):
            raise InputError(
                f"cannot project out {len(directions)} directions: give at least one, without NaN "
                "or infinity."
            )
        rows = directions.double().cpu().transpose(0, 1)
        norms = rows.norm(dim=-1, keepdim=True)
        # Unit rows first: a short direction is no less a direction beside a long one.
        rows = torch.where(norms > 0, rows / norms, 0.0)
        _, values, basis = torch.linalg.svd(rows, full_matrices=False)
        basis = basis * (values > COLLINEAR * values[:, :1])[..., None]
        return cls("projection", basis.mT, basis, torch.zeros_like(basis[:, 0]))

    @classmethod
    def leace(
        cls,
        means: Float[Tensor, "text layer d_model"],
        labels: Float[Tensor, "text concept"],
    ) -> "Erasure":
        """Least-squares concept erasure through the package `concept-erasure`.

        Args:
            means: texts whose labels are known.
            labels: one column a concept: 1 and -1 (or 1 and 0) for its two sides, or an amount. To
                erase several concepts known on different texts, put 0 where a concept is not
                known and balance its two sides.

        Raises:
            MissingDependencyError: `concept-erasure` is not installed.
            InputError: texts and labels of different number, NaN or infinity, or labels of a
                concept that are all equal.
        """
        fitter_of = leace_fitter()
        if len(means) != len(labels) or not labels.shape[1]:
            raise InputError(
                f"{len(means)} texts have {tuple(labels.shape)} labels: give each text a row with "
                "a label for each of at least one concept."
            )
        if not bool(torch.isfinite(means).all() and torch.isfinite(labels).all()):
            raise InputError("cannot erase: the text means or their labels hold NaN or infinity.")
        constant = (labels == labels[:1]).all(dim=0)
        if bool(constant.any()):
            raise InputError(
                f"all texts have the same label of concept {int(constant.nonzero()[0])}, so there "
                "is nothing to erase: give texts of both sides."
            )
        texts, wanted = means.double().cpu(), labels.double().cpu()
        layers = [_leace(fitter_of, texts[:, layer], wanted) for layer in range(texts.shape[1])]
        return cls(
            "leace",
            torch.stack([eraser.proj_left for eraser in layers]),
            torch.stack([eraser.proj_right for eraser in layers]),
            torch.stack([eraser.bias for eraser in layers]),
        )


def _leace(
    fitter_of: Any, texts: Float[Tensor, "text d_model"], labels: Float[Tensor, "text concept"]
) -> Any:
    """A `LeaceEraser` of one layer that holds what LEACE promises."""
    for shrinkage in (True, False):
        # The trace constraint mixes in a projection that is not the theorem's, and the default
        # tolerance leaves weak concepts as they are.
        fitter = fitter_of(
            texts.shape[1],
            labels.shape[1],
            shrinkage=shrinkage,
            constrain_cov_trace=False,
            svd_tol=1e-9 * float(labels.std(dim=0).max()),
            dtype=torch.float64,
        ).update(texts, labels)
        eraser, covariance = fitter.eraser, fitter.sigma_xz
        left = covariance - eraser.proj_left @ (eraser.proj_right @ covariance)
        if float(left.norm()) <= LEACE_TOLERANCE * float(covariance.norm()):
            break
        # With few texts the package's shrinkage can give a matrix that is not a covariance, and
        # then its erasure is not exact. The sample covariance is always one.
    return eraser


def leace_fitter() -> Any:
    """The class `concept_erasure.LeaceFitter`.

    Raises:
        MissingDependencyError: the package is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # it still uses torch.jit.script
            from concept_erasure import LeaceFitter
    except ImportError as error:
        raise MissingDependencyError(
            "removal by LEACE needs the package concept-erasure: run "
            "`pip install 'creativity-lens[leace]'`, or use the removal projection."
        ) from error
    return LeaceFitter


def check_removal(removal: str) -> None:
    """Raise now what would fail at the first erasure.

    Raises:
        InputError: unknown removal.
        MissingDependencyError: LEACE without `concept-erasure`.
    """
    if removal not in get_args(Removal):
        raise InputError(
            f"unknown removal {removal!r}; choose one of {', '.join(get_args(Removal))}."
        )
    if removal == "leace":
        leace_fitter()
