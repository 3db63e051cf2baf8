"""Line search along a projected path, a step length per point: doubling while it improves, else bisection.

The path is x(eta) = P(x + eta d): projecting inside the search, rather than calling a step that leaves the set infeasible,
is what keeps it from getting stuck on a box's faces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from transfer_exp.optim.batches import rows_of

Trial = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""(steps ``(m,)``, rows ``(m,)``) -> (points ``(m, d)``, objective ``(m,)``, first-order gain ``(m,)``) of those rows."""


@dataclass
class Found:
    """The best step ``(n,)`` of each point (0 where none improved), its point ``(n, d)`` and objective ``(n,)``."""

    step: Tensor
    point: Tensor
    value: Tensor
    n_trials: int
    n_rows: int


def search(
    trial: Trial, *, point: Tensor, value: Tensor, step: Tensor, least: Tensor, growing: Tensor, max_trials: int
) -> Found:
    """Search from ``point`` with objective ``value``, first trying ``step``.

    A point whose first trial improves doubles its step until that stops improving, if it is ``growing`` ``(n,)``, else
    takes it; any other halves it until it improves, or until the first-order gain of the step is not above ``least``
    ``(n,)``: shorter steps promise less still.
    Each trial halves or doubles, so ``max_trials`` trials span a factor 2^(max_trials - 1).
    """
    found = Found(torch.zeros_like(step), point.clone(), value.clone(), 0, 0)
    rows, step = torch.arange(len(step), device=step.device), step.clone()
    doubling = torch.ones_like(rows, dtype=torch.bool)
    for n_trial in range(max_trials):
        x, objective, promise = trial(step, rows)
        found.n_trials += 1
        found.n_rows += len(rows)
        better = objective > found.value[rows]
        chosen = better.nonzero()[:, 0]
        improved = rows[chosen]
        found.point[improved] = rows_of(x, chosen)
        found.value[improved] = objective[chosen]
        found.step[improved] = step[chosen]
        if n_trial == 0:
            doubling = better & growing
        going = torch.where(doubling, better, ~better & (promise > least[rows]))
        rows, doubling = rows[going], doubling[going]
        step = torch.where(doubling, step[going] * 2, step[going] / 2)
        if not len(rows):
            break
    return found
