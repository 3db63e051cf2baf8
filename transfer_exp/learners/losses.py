"""Losses of logits z ``(..., K)`` for classes y ``(...)``, per point ``(...)``; s = +1 for the right class, -1 for others.

                 K = 2: of the score f = z_1 - z_0, s of class 1      K > 2: one against the rest, summed over classes k
hinge            max(0, 1 - s f)                                      sum_k max(0, 1 - s_k z_k)
squared          (s - f)^2 / 2                                        sum_k (s_k - z_k)^2 / 2
cross_entropy    log(1 + exp(-s f))                                   log sum_k exp(z_k) - z_y

``hinge``: linear and RBF SVM. ``squared``: ridge regression; with the half, its derivative is f - s (Demontis et al. 2019,
section 2). ``cross_entropy``: logistic regression and the MLP. It is softplus(-m) of the smooth margin m (see ``margin``),
so that neither loss nor gradient is lost in rounding where a model is sure.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

from transfer_exp.margin import smooth_margins


def hinge(logits: Tensor, y: Tensor) -> Tensor:
    """Hinge loss ``(...)``."""
    outputs, signs = _one_vs_rest(logits, y)
    return torch.clamp(1 - signs * outputs, min=0).sum(-1)


def squared(logits: Tensor, y: Tensor) -> Tensor:
    """Half the squared residual ``(...)``."""
    outputs, signs = _one_vs_rest(logits, y)
    return (0.5 * (signs - outputs) ** 2).sum(-1)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy ``(...)`` of the softmax; does not overflow."""
    if logits.shape[-1] == 2:
        outputs, signs = _one_vs_rest(logits, y)
        return softplus(-signs * outputs)[..., 0]
    return softplus(-smooth_margins(logits, y))


def _one_vs_rest(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs and their signs ``(..., K)``; of two classes the score alone, ``(..., 1)``."""
    if logits.shape[-1] == 2:
        return logits[..., 1:] - logits[..., :1], (2 * y - 1).to(logits.dtype)[..., None]
    return logits, (2 * (y[..., None] == torch.arange(logits.shape[-1], device=y.device)) - 1).to(logits.dtype)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "hinge": hinge,
    "squared": squared,
    "cross_entropy": cross_entropy,
}
