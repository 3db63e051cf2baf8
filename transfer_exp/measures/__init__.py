"""The paper's measures of an attack and of why it transfers (section 3), each a function of plain arrays.

    S    size of input gradients      mean_i |grad_x l(y_i, f(x_i))|_q            of the target
    R    gradient alignment           mean_i cos(grad_x f^(x_i), grad_x f(x_i))   surrogate and target
    V    variability of the loss      mean_i Var_D[ l(y_i, f^_D(x_i)) ]           of the surrogate, over training sets D
    rho  perturbation correlation     mean_i Pearson(black-box, white-box perturbation of x_i)

q is dual to the norm p of the attack's ball. A point where a measure is undefined (a zero gradient, a constant
perturbation) is NaN here and left out of means; its share is reported beside the mean.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from transfer_exp.learners import LOSSES, Model
from transfer_exp.learners.base import SCORE_BATCH
from transfer_exp.types import Floats, Ints, Matrix, Norm, UserError, dense

_DUAL: dict[Norm, float] = {"l1": np.inf, "l2": 2, "linf": 1}
_ORDER: dict[Norm, float] = {"l1": 1, "l2": 2, "linf": np.inf}


def predict(scores: Floats) -> Ints:
    """Labels of scores: +1 above zero, else -1."""
    return np.where(scores > 0, 1, -1)


def error(scores: Floats, y: Ints) -> float:
    """Share of all points that are misclassified."""
    return float((predict(scores) != y).mean())


def success(scores: Floats, clean_scores: Floats, y: Ints) -> float:
    """Share misclassified of the points that were right before the attack; NaN when there were none."""
    right = predict(clean_scores) == y
    return float((predict(scores) != y)[right].mean()) if right.any() else float("nan")


def false_alarms_allowed(n_points: int, *, false_alarm_rate: float) -> int:
    """How many of the legitimate points may be flagged: floor(rate n).

    Raises UserError when that is none: n points are too few to choose a threshold with.
    """
    if not 0 < false_alarm_rate < 1:
        raise UserError(f"false_alarm_rate: expected a share between 0 and 1, got {false_alarm_rate}")
    n_allowed = math.floor(false_alarm_rate * n_points + 1e-9)  # 0.29 * 100 is 28.999999999999996
    if n_allowed < 1:
        raise UserError(
            f"false_alarm_rate: expected at least {1 / n_points if n_points else 1:g}, one in the {n_points} legitimate "
            f"validation points, got {false_alarm_rate}; choose a higher rate or a larger dataset.split.validation "
            f"(at least {math.ceil(1 / false_alarm_rate - 1e-9)} legitimate points)"
        )
    return n_allowed


def detection_threshold(legitimate_scores: Floats, *, false_alarm_rate: float) -> float:
    """The lowest score that, as a threshold, flags at most this share of the legitimate points (paper, section 4.2).

    A point is flagged when its score lies *above* the threshold. With n points and m = floor(rate n) false alarms allowed it
    is the (m+1)-th largest score: points tied with it are not flagged, so with ties fewer than m may be. Choose it on
    validation points, not on those that are attacked or reported.
    Raises UserError when n points are too few to hold a single false alarm, and on scores that are not finite.
    """
    n_points = len(legitimate_scores)
    n_allowed = false_alarms_allowed(n_points, false_alarm_rate=false_alarm_rate)
    if not np.isfinite(legitimate_scores).all():
        raise UserError("false_alarm_rate: expected finite scores of the validation points, got NaN or inf")
    return float(np.partition(legitimate_scores, n_points - n_allowed - 1)[n_points - n_allowed - 1])


def evasion_rate(scores: Floats, threshold: float) -> float:
    """Share of malware points, attacked or not, that are not flagged: whose score is not above the threshold."""
    return float((scores <= threshold).mean())


def losses(scores: Floats, y: Ints, loss_name: str) -> Floats:
    """Loss of each score, shape of ``scores``."""
    return np.asarray(LOSSES[loss_name](torch.as_tensor(scores), torch.as_tensor(y, dtype=torch.float64)).numpy())


def score_gradients(model: Model, x: Matrix) -> Floats:
    """Input gradients of the score at points ``(n, d)``, as float64 ``(n, d)``, in batches on the model's device."""
    like = next(b for b in model.buffers() if b.is_floating_point())
    parts: list[Tensor] = []
    for i in range(0, x.shape[0], SCORE_BATCH):
        points = torch.tensor(dense(x[i : i + SCORE_BATCH])).to(like.device, like.dtype).requires_grad_()
        (gradient,) = torch.autograd.grad(model(points).sum(), points)
        parts.append(gradient.double().cpu())
    return np.asarray(torch.cat(parts).numpy())


def gradient_sizes(gradients: Floats, scores: Floats, y: Ints, *, loss_name: str, norm: Norm) -> Floats:
    """S of each point ``(n,)``: dual norm of the loss gradient, from score gradients ``(n, d)`` by the chain rule."""
    score = torch.as_tensor(scores).clone().requires_grad_()
    loss = LOSSES[loss_name](score, torch.as_tensor(y, dtype=torch.float64))
    (slope,) = torch.autograd.grad(loss.sum(), score)
    return np.asarray(np.abs(slope.numpy()) * np.linalg.norm(gradients, ord=_DUAL[norm], axis=1))


def gradient_alignment(first: Floats, second: Floats) -> Floats:
    """R of each point ``(n,)``: cosine between two score gradients ``(n, d)``; NaN where one is zero."""
    return _cosine(first, second)


def perturbation_correlation(first: Floats, second: Floats) -> Floats:
    """Rho of each point ``(n,)``: Pearson correlation of two perturbations ``(n, d)``; NaN where one is constant."""
    return _cosine(_centred(first), _centred(second))


def _centred(delta: Floats) -> Floats:
    """Rows less their means; exactly zero where a row is constant but for the rounding of its mean."""
    mean = delta.mean(1)
    centred = delta - mean[:, None]
    rounding = delta.shape[1] * np.finfo(delta.dtype).eps * np.abs(mean)
    centred[_length(centred) <= np.sqrt(delta.shape[1]) * rounding] = 0.0
    return np.asarray(centred)


def _length(rows: Floats) -> Floats:
    return np.asarray(np.sqrt(np.linalg.vecdot(rows, rows)))  # one pass; np.linalg.norm takes three


def _cosine(first: Floats, second: Floats) -> Floats:
    lengths = _length(first) * _length(second)
    inner = np.linalg.vecdot(first, second)
    return np.asarray(np.divide(inner, lengths, out=np.full(len(inner), np.nan), where=lengths > 0))


def loss_variability(point_losses: Floats) -> Floats:
    """V of each point ``(n,)``: variance of losses ``(k, n)`` over k training sets, E[l^2] - E[l]^2."""
    return np.asarray(point_losses.var(axis=0))


def perturbation_size(delta: Floats, norm: Norm) -> Floats:
    """Norm over the last axis."""
    return np.asarray(np.linalg.norm(delta, ord=_ORDER[norm], axis=-1))


def mean_defined(values: Floats) -> tuple[float, float]:
    """Mean over the values that are not NaN (NaN when all are), and the share that is NaN."""
    undefined = np.isnan(values)
    return (float(values[~undefined].mean()) if not undefined.all() else float("nan")), float(undefined.mean())
