"""Checks of a learner and of the model that it fits on a few points."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from transfer_exp.checks.base import Answer, Check, Finding, NotApplicable, findings, same
from transfer_exp.checks.fitting import Fitting
from transfer_exp.checks.gradients import GRADIENT_CHECKS
from transfer_exp.checks.keeping import KEEPING_CHECKS
from transfer_exp.checks.sample import N_TRAINING, as_used
from transfer_exp.checks.watching import watched_arrays
from transfer_exp.learners import Learner, Model
from transfer_exp.margin import predict
from transfer_exp.types import Dataset, counted

_KNOWN, _GAIN = 0.6, 0.1
"""Shares of points: right for a model that has learned its classes; gained by the order of them that is the true one."""


def _fits(fitting: Fitting) -> Answer:
    model: Any = fitting.model
    if not isinstance(model, Model):
        return False, f"a {type(model).__name__}"
    k = model.n_classes
    how = "given, nothing is trained" if fitting.learner.given else f"trained on {counted(len(fitting.y), 'point')}"
    return k == fitting.dataset.n_classes, f"{type(model).__name__} of {k} classes, {how}"


def _logits(fitting: Fitting) -> Answer:
    found, k = fitting.logits, fitting.dataset.n_classes
    expected = (len(fitting.shown), k)
    if found.shape != expected or found.dtype != np.float64:
        return False, f"{found.dtype} of shape {found.shape}, not {expected}"
    if not np.isfinite(found).all():
        return False, f"{np.count_nonzero(~np.isfinite(found))} of {found.size} not finite"
    return True, f"{found.dtype} of shape {found.shape}, from {found.min():.3g} to {found.max():.3g}"


def _order(fitting: Fitting) -> Answer:
    """Whether the answers fit the classes better in another order, where they are right in that one."""
    k = fitting.dataset.n_classes
    table = np.zeros((k, k), dtype=np.int64)
    np.add.at(table, (fitting.y, predict(fitting.model.logits(fitting.x))), 1)
    _, order = linear_sum_assignment(-table)
    right, best = (float(table[np.arange(k), taken].sum() / len(fitting.y)) for taken in (np.arange(k), order))
    text = f"{right:.0%} of the points right"
    if best >= _KNOWN and best > right + _GAIN:
        return False, f"{text}, {best:.0%} with the logits in the order {' '.join(map(str, order))}"
    return True, text


def _repeated(fitting: Fitting) -> Answer:
    off = fitting.differ(fitting.model.logits(fitting.shown))
    return off <= fitting.most_off, f"largest difference {off:.1g}"


def _batch(fitting: Fitting) -> Answer:
    x, back = fitting.shown, np.arange(len(fitting.shown))[::-1]
    alone = np.concatenate([fitting.model.logits(x[k : k + 1]) for k in range(len(x))])
    off = {"alone": fitting.differ(alone), "in another order": fitting.differ(fitting.model.logits(x[back])[back])}
    worst = max(off, key=lambda name: off[name])
    return off[worst] <= fitting.most_off, f"largest difference {off[worst]:.1g}" + (f", {worst}" if off[worst] else "")


def _reproducible(fitting: Fitting) -> Answer:
    if not same(fitting.again.logits, fitting.logits):
        return False, "other logits"
    if fitting.learner.given:
        return True, "the same"
    other = same(fitting.fit(fitting.seed + 1).logits(fitting.shown), fitting.logits)
    return True, f"the same; {'no other' if other else 'others'} with another seed"


def _globals(fitting: Fitting) -> Answer:
    return fitting.again.generators.answer()


def _input(fitting: Fitting) -> Answer:
    if fitting.again.arrays.changed or not fitting.model.differentiable:
        return fitting.again.arrays.answer()
    points = torch.as_tensor(fitting.shown.copy()).to(fitting.model.like)
    with watched_arrays(tensor=points.cpu().numpy()) as watch, torch.no_grad():
        fitting.model(points)
    return watch.answer()


def _eval(fitting: Fitting) -> Answer:
    training = sorted({type(one).__name__ for one in fitting.model.modules() if one is not fitting.model and one.training})
    return not training, f"in training mode: {', '.join(training)}" if training else "no module in training mode"


def _device(fitting: Fitting) -> Answer:
    arrays = [*fitting.model.buffers(), *fitting.model.parameters()]
    found = sorted({one.device.type for one in arrays})
    return set(found) <= {fitting.device.type}, f"{counted(len(arrays), 'array')} on {', '.join(found) or 'none'}"


def _decisions(fitting: Fitting) -> Answer:
    if fitting.model.gives != "labels":
        raise NotApplicable("gives logits")
    one_hot = (np.sort(fitting.logits, axis=1)[:, :-1] == 0).all() and (fitting.logits.max(axis=1) == 1).all()
    return bool(one_hot), "1 for the class decided for, 0 for others" if one_hot else "other values"


_CHECKS = (
    Check("fits", "a Model of the data's classes", _fits),
    Check("logits", "(n, K) float64, finite", _logits),
    Check("decisions", "1 and 0 from a model that gives labels", _decisions),
    Check("label order", "logit k is that of class k", _order),
    Check("asked twice", "the same logits", _repeated),
    Check("batch", "the same logits alone and in any order", _batch),
    Check("seed", "fitted twice, the same bits", _reproducible),
    Check("generators", "global ones as they were", _globals),
    Check("input", "left as it was", _input),
    Check("eval mode", "no module in training mode", _eval),
    Check("device", "all arrays on one", _device),
)


def check_learner(
    learner: Learner,
    dataset: Dataset,
    part: str = "learner",
    *,
    n_training: int = N_TRAINING,
    seed: int = 0,
    device: torch.device | None = None,
) -> list[Finding]:
    """Check a learner, and the model that it fits on ``n_training`` points of a data set."""
    used = as_used(dataset, seed)
    fitting = Fitting(
        learner=learner.on(used), dataset=used, n_training=n_training, seed=seed, device=device or torch.device("cpu")
    )
    return findings(part, (*_CHECKS, *GRADIENT_CHECKS, *KEEPING_CHECKS), fitting)
