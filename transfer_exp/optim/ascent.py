"""Projected gradient ascent with a line search (paper, Algorithm 1), for a whole batch of points at once.

    maximise A_i(x_i) over x_i in a convex set, each point on its own:  x_i <- P(x_i + eta_i d_i),  d_i = g_i / |g_i|_2

A move first tries the farthest feasible point along the gradient, the limit of P(x + eta d) as eta grows (on a linear
objective that is the optimum). A point where that does not improve tries it no more, but searches for eta_i from the
step that the curvature between its last two places suggests (Barzilai and Borwein 1988; Birgin, Martinez and Raydan
2000). A point is finished when

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
class _Front:
    """The points still moving: their rows in the batch, where they are, where the gradient leads, the step to try first.

    curved: the step comes from the curvature, so that longer ones need not be tried.
    """

    rows: Tensor
    x: Tensor
    value: Tensor
    gradient: Tensor
    least: Tensor
    step: Tensor
    curved: Tensor

    def keep(self, mask: Tensor) -> _Front:
        kept = mask.nonzero()[:, 0]
        return _Front(*(rows_of(getattr(self, f.name), kept) for f in fields(self)))


class _Memory:
    """What every point of the batch knows of its last move: place, gradient, step, and whether to look far ahead."""

    def __init__(self, x: Tensor, step: Tensor) -> None:
        self.x, self.gradient = x.clone(), torch.zeros_like(x)
        self.step = step.clone()
        self.looking = torch.ones_like(step, dtype=torch.bool)

    def first_step(self, rows: Tensor, x: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """The step to try first, and where it comes from the curvature: |s|^2 / -<s, change of gradient> * |g|."""
        move, turn = x - rows_of(self.x, rows), gradient - rows_of(self.gradient, rows)
        curvature = -torch.linalg.vecdot(move, turn)
        curved = curvature > 0  # never before the first move, nor where the objective is convex
        length = torch.linalg.vecdot(move, move) * torch.linalg.vector_norm(gradient, dim=1)
        self.x[rows], self.gradient[rows] = x, gradient
        return torch.where(curved, length / torch.where(curved, curvature, 1.0), self.step[rows]), curved


def ascend(
    objective: Objective,
    feasible: FeasibleSet,
    *,
    start: Ascent,
    base: Tensor,
    step: Tensor,
    n_iter: int,
    tolerance: float,
    max_trials: int = 8,
) -> Ascent:
    """Ascend from the feasible points of ``start``; the objective never falls.

    ``base`` ``(n,)`` is what a rise is counted from, ``step`` ``(n,)`` the first length tried by the line search.
    """
    result = unmoved(start.x, start.value, start.slopes)
    memory = _Memory(start.x, step)
    rows = torch.arange(len(step), device=step.device)
    for _ in range(n_iter):
        if not len(rows):
            break
        front = _look(objective, result, memory, rows, base, tolerance)
        rows = front.rows
        if not len(rows):
            break
        moved, wanted = _look_ahead(objective, feasible, result, memory, front)
        moved |= _search(objective, feasible, result, memory, front, wanted, max_trials)
        gain = result.value[rows] - front.value
        result.trace.append(float(result.value.double().mean()))
        rows = rows[moved & (gain > tolerance * (result.value[rows] - base[rows]).abs())]
    result.exhausted[rows] = True  # empty unless the iterations ran out
    return result


def _look(objective: Objective, result: Ascent, memory: _Memory, rows: Tensor, base: Tensor, tolerance: float) -> _Front:
    """Gradients at the moving points; those where it is zero are dropped."""
    x, value = result.x.index_select(0, rows), result.value[rows]  # copies: the points move on
    gradient = result.gradient(objective, rows)
    flat = result.zero_gradient[rows] = (gradient == 0).all(1)
    least = tolerance * (value - base[rows]).abs()
    step, curved = memory.first_step(rows, x, gradient)
    return _Front(rows, x, value, gradient, least, step, curved).keep(~flat)


def _look_ahead(
    objective: Objective, feasible: FeasibleSet, result: Ascent, memory: _Memory, front: _Front
) -> tuple[Tensor, Tensor]:
    """Move to the farthest feasible point where that improves; which did, and which others have something to gain ``(m,)``.

    Points where it does not improve are not looked at again: their line search sees that nothing is left to gain.
    """
    moved, wanted = (torch.full_like(front.rows, start, dtype=torch.bool) for start in (False, True))
    at = memory.looking[front.rows].nonzero()[:, 0]
    if not len(at):
        return moved, wanted
    gradient, rows = rows_of(front.gradient, at), front.rows[at]
    corner = feasible.farthest(gradient, rows)
    wanted[at] = going = torch.linalg.vecdot(gradient, corner - rows_of(front.x, at)) > front.least[at]
    if not bool(going.any()):
        return moved, wanted
    left = going.nonzero()[:, 0]
    at, rows, corner = at[left], rows[left], rows_of(corner, left)
    value = objective.value(corner, rows)
    result.effort += Effort(score_calls=1, score_rows=len(rows))
    better = value > front.value[at]
    chosen = better.nonzero()[:, 0]
    result.move(rows[chosen], rows_of(corner, chosen), value[chosen])
    memory.looking[rows] = better
    moved[at], wanted[at] = better, ~better
    return moved, wanted


def _search(
    objective: Objective,
    feasible: FeasibleSet,
    result: Ascent,
    memory: _Memory,
    front: _Front,
    wanted: Tensor,
    max_trials: int,
) -> Tensor:
    """Line search for the ``wanted`` points of the front; which improved, ``(m,)``. Successful steps are remembered."""
    if not bool(wanted.any()):
        return torch.zeros_like(wanted)
    part = front.keep(wanted)
    size = torch.linalg.vector_norm(part.gradient, dim=1, keepdim=True)
    direction = part.gradient / size

    def trial(steps: Tensor, at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        start, way, rows = rows_of(part.x, at), rows_of(direction, at), part.rows[at]
        x = feasible.project(torch.addcmul(start, way, steps[:, None]), rows)
        return x, objective.value(x, rows), torch.linalg.vecdot(way, x - start) * size[at, 0]

    found = search(
        trial,
        point=part.x,
        value=part.value,
        step=part.step,
        least=part.least,
        growing=~part.curved,
        max_trials=max_trials,
    )
    result.effort += Effort(score_calls=found.n_trials, score_rows=found.n_rows)
    success = found.step > 0
    chosen = success.nonzero()[:, 0]
    moved = part.rows[chosen]
    result.move(moved, rows_of(found.point, chosen), found.value[chosen])
    memory.step[moved] = found.step[chosen]
    improved = torch.zeros_like(wanted)
    improved[wanted] = success
    return improved
