"""Input gradients against central differences.

    f(x) = sum_k c_k z_k(x),  c random        s = <gradient of f, v>,  v = the features' ranges with random signs
    d(h) = (f(x + h v) - f(x - h v)) / 2h

Points are first moved a little into the box, each feature by itself: images have flat parts, where maxima of pixels tie. For
many x, c, v: |s - d(h)| at the step h where it is least, less what rounding makes of d(h). The median is held against the
median slope: kinks spoil a few pairs, a wrong gradient spoils most. At its best step a central difference is good to
eps^(2/3); 1000 times that is allowed, for sums of many terms and for curvature.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from transfer_exp.checks.base import Answer, Check, NotApplicable
from transfer_exp.checks.fitting import Fitting
from transfer_exp.learners import Model
from transfer_exp.types import Box, Floats

_N_DIRECTIONS = 4  # of each point
_STEPS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # in units of eps^(1/3), the best step of a function of slope and curvature 1
_SLACK = 1000
_MOVED = 0.1  # of a feature's range, at most


def gradient_error(model: Model, x: Floats, box: Box, *, seed: int = 0) -> tuple[float, float]:
    """Median error of slopes at points ``(n, d)`` relative to the median slope, and the most that is allowed.

    Raises NotApplicable where slopes are too small for differences to show.
    """
    eps = torch.finfo(model.like.dtype).eps
    rng = np.random.default_rng(seed)
    ranges = _ranges(x, box)
    points = np.repeat(x, _N_DIRECTIONS, axis=0)
    points += np.where(points > x.min(axis=0) + ranges / 2, -1, 1) * rng.random(points.shape) * _MOVED * ranges
    direction = rng.choice([-1.0, 1.0], size=points.shape) * ranges
    weight = torch.as_tensor(rng.standard_normal((len(points), model.n_classes))).to(model.like)
    at = torch.as_tensor(points).to(model.like).requires_grad_()
    values = (model(at) * weight).sum(1)
    (gradient,) = torch.autograd.grad(values.sum(), at)
    slope = (gradient.double().cpu().numpy() * direction).sum(axis=1)
    if not np.isfinite(slope).all():
        return float("inf"), 0.0
    steps = [eps ** (1 / 3) * step for step in _STEPS]
    numeric = np.stack([_difference(model, weight, points, step * direction) / step for step in steps])
    rounding = np.array([4 * eps * float(values.detach().abs().median()) / step for step in steps])
    scale = max(float(np.median(np.abs(slope))), float(np.median(np.abs(numeric), axis=1).min()))
    if scale <= 10 * rounding.min():
        raise NotApplicable(f"slopes of {scale:.1g}, too small for differences to show")
    error = np.maximum(np.abs(numeric - slope) - rounding[:, None], 0).min(axis=0)
    return float(np.median(error)) / scale, _SLACK * eps ** (2 / 3)


def _ranges(x: Floats, box: Box) -> Floats:
    """Of each feature ``(d,)``: the box where it is bounded, else what the points take."""
    width = box.upper - box.lower
    return np.where(np.isfinite(width), width, np.ptp(x, axis=0))


@torch.no_grad()
def _difference(model: Model, weight: Tensor, points: Floats, offset: Floats) -> Floats:
    """(f(x + offset) - f(x - offset)) / 2, ``(n,)``."""
    up, down = (model(torch.as_tensor(points + side * offset).to(model.like)) * weight for side in (1, -1))
    return np.asarray((up - down).sum(1).double().cpu().numpy()) / 2


def _gradients(fitting: Fitting) -> Answer:
    if not fitting.model.differentiable:
        raise NotApplicable("no input gradients: it can be a target only")
    error, allowed = gradient_error(fitting.model, fitting.shown, fitting.dataset.box, seed=fitting.seed)
    size = f"{error:.1g}" if error else "below rounding"
    return error <= allowed, f"median relative error {size} (allowed {allowed:.1g})"


def _linear(fitting: Fitting) -> Answer:
    model = fitting.model
    if not (model.linear and model.differentiable):
        raise NotApplicable("does not say that it is linear")
    x = torch.as_tensor(fitting.shown).to(model.like).requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[:, 0].sum(), x)
    off, size = float((gradient - gradient[0]).abs().max()), float(gradient.abs().max())
    return off <= 1e-6 * size, f"gradients differ by {off:.1g} of {size:.1g}"


GRADIENT_CHECKS = (
    Check("gradients", "those that central differences give", _gradients),
    Check("linear", "the same gradient everywhere", _linear),
)
