"""From logits ``(..., K)`` to predictions and margins: the one place that says what "right" means.

    margin         m(x, y) = z_y - max_{k != y} z_k              positive: the model is right
    smooth margin  s(x, y) = z_y - log sum_{k != y} exp z_k      cross-entropy = softplus(-s)

Of two classes with score f the logits are ``(-f/2, f/2)``, so that m = s = f for class 1 and -f for class 0, exactly. An
untargeted attack lowers m; one that wants class t raises m(x, t). The gradient of the cross-entropy is -(1 - p_y) times that
of s, which does not vanish where the model is sure.

Every function takes numpy arrays or tensors and gives the same kind; labels are class indices ``(...)``.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from transfer_exp.types import Floats, Ints

A = TypeVar("A", Floats, Tensor)


def predict(logits: Floats) -> Ints:
    """Classes ``(...)``: the largest logit's, the lowest of equal ones."""
    return np.asarray(logits.argmax(-1), dtype=np.int64)


def binary_logits(score: Tensor) -> Tensor:
    """The logits ``(..., 2)`` of scores ``(...)``, positive for class 1."""
    return torch.stack([-score / 2, score / 2], dim=-1)


def binary_score(logits: Floats) -> Floats:
    """The scores ``(...)`` of logits ``(..., 2)``, positive for class 1."""
    return np.asarray(logits[..., 1] - logits[..., 0])


def signs(y: Ints) -> Ints:
    """-1 for class 0, +1 for class 1: labels as the theory of two classes writes them."""
    return np.asarray(2 * y - 1)


def margins(logits: A, y: A | Ints) -> A:
    """m ``(...)`` of logits ``(..., K)`` and classes ``(...)``; classes are broadcast to the logits."""
    if isinstance(logits, Tensor):
        return _margins(logits, torch.as_tensor(y, device=logits.device))
    return np.asarray(_margins(torch.as_tensor(logits), torch.as_tensor(y)).numpy())


def smooth_margins(logits: A, y: A | Ints) -> A:
    """s ``(...)`` of logits ``(..., K)`` and classes ``(...)``; classes are broadcast to the logits."""
    if isinstance(logits, Tensor):
        return _smooth_margins(logits, torch.as_tensor(y, device=logits.device))
    return np.asarray(_smooth_margins(torch.as_tensor(logits), torch.as_tensor(y)).numpy())


def _parts(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """z_y ``(...)``, and the logits with -inf in its place."""
    place = y.long().expand(logits.shape[:-1])[..., None]
    return logits.gather(-1, place)[..., 0], logits.scatter(-1, place, -torch.inf)


def _margins(logits: Tensor, y: Tensor) -> Tensor:
    own, others = _parts(logits, y)
    return own - others.amax(-1)


def _smooth_margins(logits: Tensor, y: Tensor) -> Tensor:
    own, others = _parts(logits, y)
    return own - torch.logsumexp(others, -1)
