"""Losses of logits, and V, the variability of the loss over training sets (paper, section 3).

    V    mean_i Var_D[ l(y_i, f^_D(x_i)) ]    of the surrogate; D: training sets like its own (``data.training_sets``)

S and V are taken on each model's own loss and, so that learners of other losses can be compared, on the cross-entropy.
"""

from __future__ import annotations

import numpy as np
import torch

from transfer_exp.learners.losses import LOSSES
from transfer_exp.measures.base import Measure
from transfer_exp.types import Floats, Ints

CROSS_ENTROPY = "cross_entropy"


def losses(logits: Floats, y: Ints, loss_name: str) -> Floats:
    """Loss ``(..., n)`` of logits ``(..., n, K)`` and classes ``(n,)``."""
    every = torch.as_tensor(np.broadcast_to(y, logits.shape[:-1]).copy())
    return np.asarray(LOSSES[loss_name](torch.as_tensor(logits), every).numpy())


def loss_variability(point_losses: Floats) -> Floats:
    """V of each point ``(n,)``: variance of losses ``(k, n)`` over k training sets, E[l^2] - E[l]^2."""
    return np.asarray(point_losses.var(axis=0))


def _curve(logits: Floats, y: Ints, loss_name: str | None) -> Floats | None:
    return None if loss_name is None else losses(logits, y, loss_name).mean(axis=-1)


def _variability(point_losses: Floats | None) -> Floats | None:
    return None if point_losses is None else loss_variability(point_losses)


MEASURES = (
    Measure(
        name="loss",
        heading="loss of the target",
        of="pair",
        is_curve=True,
        explains=(),
        compute=lambda a: _curve(a.target_logits, a.y, a.target_loss),
    ),
    Measure(
        name="loss_cross_entropy",
        heading="cross-entropy of the target",
        of="pair",
        is_curve=True,
        explains=(),
        compute=lambda a: _curve(a.target_logits, a.y, a.target_shared_loss),
    ),
    Measure(
        name="loss_variability",
        heading="variability of the loss",
        symbol="V",
        label="V, own loss",
        of="surrogate",
        source="Demontis et al. 2019, section 3",
        compute=lambda a: _variability(a.varied_losses("own")),
    ),
    Measure(
        name="loss_variability_cross_entropy",
        heading="variability of the cross-entropy",
        symbol="V",
        label="V, cross-entropy",
        of="surrogate",
        source="Demontis et al. 2019, section 3",
        compute=lambda a: _variability(a.varied_losses(CROSS_ENTROPY)),
    ),
)
