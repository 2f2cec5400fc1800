"""How far steering moves the next-token distribution: the cost that needs no text to be judged."""

import torch
from jaxtyping import Float
from torch import Tensor

from creativity_lens.errors import InputError

# Logits of one chunk, in numbers; at most six tensors of this size (25 MB) are alive at once.
_CHUNK = 2**20


@torch.no_grad()
def token_kl(
    steered: Float[Tensor, "token d_vocab"], unsteered: Float[Tensor, "other_token other_vocab"]
) -> Float[Tensor, " token"]:
    """KL(steered ‖ unsteered) at each position, in nats.

    Both are logits that predict the same token after the same tokens. At least 0, and exactly 0
    for equal logits; no upper bound. It is the price of steering on the text that the steered model
    wrote, averaged over all next tokens and not only the one that was drawn.

    The terms are `p log(p/q) + q - p`. They add up to the same, since p and q both add up to 1, but
    none is negative; rounding leaves an error of about 1e-7. Rows are taken in chunks: the inputs
    are not copied.

    Args:
        steered: logits of the steered model, in any float type; minus infinity for a token that is
            ruled out.
        unsteered: logits of the unsteered model; same shape.

    Returns:
        float32, on the device of the logits. Infinite where the unsteered model rules out a token
        that the steered one does not; NaN where logits are NaN.

    Raises:
        InputError: the two have different shapes.
    """
    if steered.shape != unsteered.shape:
        raise InputError(
            "token_kl needs logits of the same tokens and vocabulary, got steered "
            f"{tuple(steered.shape)} and unsteered {tuple(unsteered.shape)}."
        )
    n_tokens, d_vocab = steered.shape
    result = torch.empty(n_tokens, dtype=torch.float32, device=steered.device)
    step = max(1, _CHUNK // max(1, d_vocab))
    for start in range(0, n_tokens, step):
        rows = slice(start, start + step)
        log_p = steered[rows].float().log_softmax(dim=-1)
        log_q = unsteered[rows].float().log_softmax(dim=-1)
        p, q = log_p.exp(), log_q.exp()
        # 0 log(0/q) is 0, also where q is 0.
        terms = (p * log_p.sub_(log_q)).masked_fill_(p == 0, 0.0).add_(q).sub_(p)
        result[rows] = terms.sum(dim=-1).clamp_(min=0.0)
    return result
