"""Input gradients: their size S and their alignment R (paper, section 3).

    S    mean_i |grad_x l(y_i, f(x_i))|_q                   of the target; q is dual to the norm p of the attack's ball
    R    mean_i cos(grad_x s^(x_i, y_i), grad_x s(x_i, y_i))    surrogate and target; s: the smooth margin (``margin``)

The cross-entropy's gradient is -(1 - p_y) times that of s, so that R is its cosine, too, also where 1 - p_y is 0 in floating
point. Of two classes s is the score, up to sign.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from transfer_exp.learners import Model
from transfer_exp.learners.losses import LOSSES
from transfer_exp.margin import smooth_margins
from transfer_exp.measures.base import Measure
from transfer_exp.measures.losses import CROSS_ENTROPY
from transfer_exp.types import Floats, Ints, Matrix, dense


def margin_gradients(model: Model, x: Matrix, y: Ints) -> Floats:
    """Gradients ``(n, d)`` of the smooth margin at points ``(n, d)`` of classes ``(n,)``, float64."""
    return _gradients(model, x, y, smooth_margins)


def loss_gradients(model: Model, x: Matrix, y: Ints, loss_name: str) -> Floats:
    """Gradients ``(n, d)`` of a loss at points ``(n, d)`` of classes ``(n,)``, float64."""
    return _gradients(model, x, y, LOSSES[loss_name])


def _gradients(model: Model, x: Matrix, y: Ints, value: Callable[[Tensor, Tensor], Tensor]) -> Floats:
    """In batches, on the model's device."""
    like, size = model.like, model.batch_size
    parts: list[Tensor] = []
    for i in range(0, x.shape[0], size):
        points = torch.tensor(dense(x[i : i + size])).to(like.device, like.dtype).requires_grad_()
        classes = torch.as_tensor(y[i : i + size], device=like.device)
        (gradient,) = torch.autograd.grad(value(model(points), classes).sum(), points)
        parts.append(gradient.double().cpu())
    return np.asarray(torch.cat(parts).numpy())


def cross_entropy_slopes(logits: Floats, y: Ints) -> Floats:
    """1 - p_y ``(n,)``: the length of the cross-entropy's gradient in units of that of the smooth margin."""
    return np.asarray(torch.sigmoid(-smooth_margins(torch.as_tensor(logits), torch.as_tensor(y))).numpy())


def gradient_alignment(first: Floats, second: Floats) -> Floats:
    """R of each point ``(n,)``: cosine between two gradients ``(n, d)``; NaN where one is zero."""
    return cosine(first, second)


def length(rows: Floats) -> Floats:
    """Euclidean length of each row."""
    return np.asarray(np.sqrt(np.linalg.vecdot(rows, rows)))  # one pass; np.linalg.norm takes three


def cosine(first: Floats, second: Floats) -> Floats:
    """Cosine of each pair of rows; NaN where one is zero."""
    lengths = length(first) * length(second)
    inner = np.linalg.vecdot(first, second)
    return np.asarray(np.divide(inner, lengths, out=np.full(len(inner), np.nan), where=lengths > 0))


def _alignment(first: Floats | None, second: Floats | None) -> Floats | None:
    return None if first is None or second is None else gradient_alignment(first, second)


_SOURCE = "Demontis et al. 2019, section 3"
MEASURES = (
    Measure(
        name="gradient_size",
        heading="size of input gradients",
        symbol="S",
        label="S, own loss",
        of="target",
        explains=("whitebox_error",),
        source=_SOURCE,
        compute=lambda a: a.gradient_sizes.get("own"),
    ),
    Measure(
        name="gradient_size_cross_entropy",
        heading="size of input gradients of the cross-entropy",
        symbol="S",
        label="S, cross-entropy",
        of="target",
        explains=("whitebox_error",),
        source=_SOURCE,
        compute=lambda a: a.gradient_sizes.get(CROSS_ENTROPY),
    ),
    Measure(
        name="gradient_alignment",
        heading="gradient alignment",
        symbol="R",
        of="pair",
        is_cosine=True,
        explains=("perturbation_correlation", "error_ratio"),
        source=_SOURCE,
        compute=lambda a: _alignment(a.surrogate_gradients, a.target_gradients),
    ),
)
