"""Line search along a projected path, a step length per point: doubling while it improves, else bisection.

    for each point, on the path x(eta) = P(x + eta d):
        try eta
        if it improves on x:      double eta until that stops improving (only where ``may_grow``)
        else:                     halve eta until it improves, or its first-order gain is at most ``min_gain``

Projecting inside the search, rather than calling a step that leaves the set infeasible, is what keeps it from getting stuck
on a box's faces.
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
class SearchResult:
    """The best step ``(n,)`` of each point (0 where none improved), its point ``(n, d)`` and objective ``(n,)``.

    n_trials, n_rows: evaluations of a batch, and points in them.
    """

    step: Tensor
    point: Tensor
    value: Tensor
    n_trials: int
    n_rows: int


def search(
    trial: Trial, *, point: Tensor, value: Tensor, step: Tensor, min_gain: Tensor, may_grow: Tensor, max_trials: int
) -> SearchResult:
    """Search from ``point`` ``(n, d)`` with objective ``value`` ``(n,)``, first trying ``step`` ``(n,)``.

    A point whose first trial improves doubles its step until that stops improving, if it ``may_grow`` ``(n,)``, else
    takes it; any other halves it until it improves, or until the first-order gain of the step is not above ``min_gain``
    ``(n,)``: shorter steps have a smaller one still.
    Each trial halves or doubles, so ``max_trials`` trials span a factor 2^(max_trials - 1).
    """
    result = SearchResult(torch.zeros_like(step), point.clone(), value.clone(), 0, 0)
    rows, step = torch.arange(len(step), device=step.device), step.clone()
    doubling = torch.ones_like(rows, dtype=torch.bool)
    for n_trial in range(max_trials):
        x, objective, gain = trial(step, rows)
        result.n_trials += 1
        result.n_rows += len(rows)
        better = objective > result.value[rows]
        chosen = better.nonzero()[:, 0]
        improved = rows[chosen]
        result.point[improved] = rows_of(x, chosen)
        result.value[improved] = objective[chosen]
        result.step[improved] = step[chosen]
        if n_trial == 0:
            doubling = better & may_grow
        unfinished = torch.where(doubling, better, ~better & (gain > min_gain[rows]))
        rows, doubling = rows[unfinished], doubling[unfinished]
        step = torch.where(doubling, step[unfinished] * 2, step[unfinished] / 2)
        if not len(rows):
            break
    return result
