"""Projected gradient ascent with a line search (paper, Algorithm 1), for a whole batch of points at once.

    maximise A_i(x_i) over x_i in a convex set, each point on its own

    repeat, for the points that are not finished:
        g_i = dA_i/dx_i;  finished where g_i = 0
        x_i <- the farthest feasible point along g_i                     if that improves
        x_i <- P(x_i + eta_i g_i / |g_i|_2), eta_i by a line search      else        (``line_search``)
        finished where that gained little

The farthest feasible point is the limit of P(x + eta g) as eta grows (on a linear objective it is the optimum). A point
where it does not improve tries it no more, but searches for eta_i from the step that the curvature between its last two
iterates suggests (Barzilai and Borwein 1988; Birgin, Martinez and Raydan 2000). A point is finished when

    gap_i  = <g_i, farthest_i - x_i>   what is left to gain to first order (Frank-Wolfe gap; 0 at a stationary point), or
    gain_i = A_i(x') - A_i(x)          what the last move gained (the paper's criterion)

is at most ``tolerance`` times its rise so far, or when no step improves. Finished points leave the batch.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from transfer_exp.optim.batches import rows_of
from transfer_exp.optim.line_search import search
from transfer_exp.optim.state import Ascent, Effort, FeasibleSet, Objective, unmoved


@dataclass
class _Moving:
    """The m points that are not finished: rows in the batch ``(m,)``, points and gradients ``(m, d)``, objective ``(m,)``.

    min_gain: smaller gains finish a point. step: the first one of its line search. from_curvature: the step comes from the
    curvature, so that longer ones need not be tried.
    """

    rows: Tensor
    x: Tensor
    value: Tensor
    gradient: Tensor
    min_gain: Tensor
    step: Tensor
    from_curvature: Tensor

    def keep(self, mask: Tensor) -> _Moving:
        kept = mask.nonzero()[:, 0]
        return _Moving(*(rows_of(getattr(self, f.name), kept) for f in fields(self)))


class _History:
    """Of every point of the batch: last iterate, its gradient, last step, whether the farthest point is still tried."""

    def __init__(self, x: Tensor, step: Tensor) -> None:
        self.x, self.gradient = x.clone(), torch.zeros_like(x)
        self.step = step.clone()
        self.tries_farthest = torch.ones_like(step, dtype=torch.bool)

    def first_step(self, rows: Tensor, x: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """The step to try first, and where it comes from the curvature: |s|^2 / -<s, change of gradient> * |g|."""
        move, gradient_change = x - rows_of(self.x, rows), gradient - rows_of(self.gradient, rows)
        curvature = -torch.linalg.vecdot(move, gradient_change)
        curved = curvature > 0  # never before the first move, nor where the objective is convex
        length = torch.linalg.vecdot(move, move) * torch.linalg.vector_norm(gradient, dim=1)
        self.x[rows], self.gradient[rows] = x, gradient
        return torch.where(curved, length / torch.where(curved, curvature, 1.0), self.step[rows]), curved


def ascend(
    objective: Objective,
    feasible: FeasibleSet,
    *,
    start: Ascent,
    baseline: Tensor,
    step: Tensor,
    n_iter: int,
    tolerance: float,
    max_trials: int = 8,
) -> Ascent:
    """Ascend from the feasible points of ``start``; the objective never falls.

    ``baseline`` ``(n,)`` is the objective that a rise is counted from, ``step`` ``(n,)`` the first length tried by the line
    search.
    """
    result = unmoved(start.x, start.value, start.slopes)
    history = _History(start.x, step)
    rows = torch.arange(len(step), device=step.device)
    for _ in range(n_iter):
        if not len(rows):
            break
        moving = _with_gradients(objective, result, history, rows, baseline, tolerance)
        rows = moving.rows
        if not len(rows):
            break
        moved, unfinished = _try_farthest(objective, feasible, result, history, moving)
        moved |= _search(objective, feasible, result, history, moving, unfinished, max_trials)
        gain = result.value[rows] - moving.value
        result.trace.append(float(result.value.double().mean()))
        rows = rows[moved & (gain > tolerance * (result.value[rows] - baseline[rows]).abs())]
    result.exhausted[rows] = True  # empty unless the iterations ran out
    return result


def _with_gradients(
    objective: Objective, result: Ascent, history: _History, rows: Tensor, baseline: Tensor, tolerance: float
) -> _Moving:
    """Gradients and first steps of these rows; points where the gradient is zero are dropped."""
    x, value = result.x.index_select(0, rows), result.value[rows]  # copies: the points move on
    gradient = result.gradient(objective, rows)
    flat = result.zero_gradient[rows] = (gradient == 0).all(1)
    min_gain = tolerance * (value - baseline[rows]).abs()
    step, from_curvature = history.first_step(rows, x, gradient)
    return _Moving(rows, x, value, gradient, min_gain, step, from_curvature).keep(~flat)


def _try_farthest(
    objective: Objective, feasible: FeasibleSet, result: Ascent, history: _History, moving: _Moving
) -> tuple[Tensor, Tensor]:
    """Move to the farthest feasible point where that improves. Flags ``(m,)``: which moved; which need a line search.

    Points where it does not improve never try it again: their line search sees that nothing is left to gain.
    """
    moved, unfinished = (torch.full_like(moving.rows, start, dtype=torch.bool) for start in (False, True))
    tried = history.tries_farthest[moving.rows].nonzero()[:, 0]
    if not len(tried):
        return moved, unfinished
    gradient, rows = rows_of(moving.gradient, tried), moving.rows[tried]
    farthest = feasible.farthest(gradient, rows)
    has_gap = torch.linalg.vecdot(gradient, farthest - rows_of(moving.x, tried)) > moving.min_gain[tried]
    unfinished[tried] = has_gap
    if not bool(has_gap.any()):
        return moved, unfinished
    with_gap = has_gap.nonzero()[:, 0]
    tried, rows, farthest = tried[with_gap], rows[with_gap], rows_of(farthest, with_gap)
    value = objective.value(farthest, rows)
    result.effort += Effort(score_calls=1, score_rows=len(rows))
    better = value > moving.value[tried]
    chosen = better.nonzero()[:, 0]
    result.move(rows[chosen], rows_of(farthest, chosen), value[chosen])
    history.tries_farthest[rows] = better
    moved[tried], unfinished[tried] = better, ~better
    return moved, unfinished


def _search(
    objective: Objective,
    feasible: FeasibleSet,
    result: Ascent,
    history: _History,
    moving: _Moving,
    unfinished: Tensor,
    max_trials: int,
) -> Tensor:
    """Line search for the ``unfinished`` ones ``(m,)``; returns which improved, ``(m,)``. Remembers successful steps."""
    if not bool(unfinished.any()):
        return torch.zeros_like(unfinished)
    part = moving.keep(unfinished)
    norm = torch.linalg.vector_norm(part.gradient, dim=1, keepdim=True)
    unit = part.gradient / norm

    def trial(steps: Tensor, of: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        start, direction, rows = rows_of(part.x, of), rows_of(unit, of), part.rows[of]
        x = feasible.project(torch.addcmul(start, direction, steps[:, None]), rows)
        return x, objective.value(x, rows), torch.linalg.vecdot(direction, x - start) * norm[of, 0]

    best = search(
        trial,
        point=part.x,
        value=part.value,
        step=part.step,
        min_gain=part.min_gain,
        may_grow=~part.from_curvature,
        max_trials=max_trials,
    )
    result.effort += Effort(score_calls=best.n_trials, score_rows=best.n_rows)
    improved = best.step > 0
    chosen = improved.nonzero()[:, 0]
    rows = part.rows[chosen]
    result.move(rows, rows_of(best.point, chosen), best.value[chosen])
    history.step[rows] = best.step[chosen]
    moved = torch.zeros_like(unfinished)
    moved[unfinished] = improved
    return moved
