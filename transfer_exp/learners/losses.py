"""Losses of one real score f for a label y in {-1, +1}, per point.

hinge     max(0, 1 - y f)          linear and RBF SVM
logistic  log(1 + exp(-y f))       logistic regression; the MLP's cross-entropy (score = difference of logits)
squared   (y - f)^2 / 2            ridge: with the half, its derivative is f - y (paper, section 2)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def hinge(score: Tensor, y: Tensor) -> Tensor:
    """Hinge loss, shape of ``score``."""
    return torch.clamp(1 - y * score, min=0)


def logistic(score: Tensor, y: Tensor) -> Tensor:
    """Logistic loss, shape of ``score``; does not overflow."""
    return torch.nn.functional.softplus(-y * score)


def squared(score: Tensor, y: Tensor) -> Tensor:
    """Half the squared residual, shape of ``score``."""
    return 0.5 * (y - score) ** 2


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "hinge": hinge,
    "logistic": logistic,
    "squared": squared,
}
