"""The dual of a soft-margin SVM by a primal active-set method: exact, and quick from a solution close by.

    min  beta^T K beta / 2 - y^T beta    subject to   sum_i beta_i = 0,   lower <= beta <= upper

with K ``(n, n)`` positive semidefinite and beta = y alpha the signed dual coefficients. The constraints do not depend on
the points, so the solution before a point moved is a feasible start after it moved. One linear solve on the free (margin)
coefficients either gives the optimum for the present partition into margin, bound and inactive points, or runs into a
bound, which is then active; at the optimum, coefficients whose bound no longer holds them back are freed. All bounds are
0 or +-C, one C for all. With
g = K beta - y and b the multiplier of the sum: g + b = 0 where free, >= 0 at the lower, <= 0 at the upper bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transfer_exp.optim.implicit import Mask, SaddleSolver
from transfer_exp.types import Floats

_RELEASED_AT_ONCE = 4


@dataclass(frozen=True)
class Dual:
    """Signed coefficients ``(n,)``, bias, K beta - y ``(n,)``, how many linear solves, whether the conditions hold."""

    beta: Floats
    bias: float
    slope: Floats
    n_solves: int
    converged: bool


def extremes(slope: Floats, beta: Floats, lower: Floats) -> tuple[int, int]:
    """With nothing free, the points between which b is undetermined: b >= -slope[i], b <= -slope[j]; (i, j)."""
    at_lower = beta == lower
    i = int(np.where(at_lower, slope, np.inf).argmin())
    j = int(np.where(at_lower, -np.inf, slope).argmax())
    return i, j


def solve_dual(
    solver: SaddleSolver,
    K: Floats,
    y: Floats,
    lower: Floats,
    upper: Floats,
    beta: Floats,
    *,
    tolerance: float,
    max_solves: int,
) -> Dual:
    """Solve from a feasible ``beta`` (changed in place); ``tolerance`` is how far a condition may be violated."""
    solver.begin(K)
    slope = K @ beta - y
    free = (beta > lower) & (beta < upper)
    n_released = min(_RELEASED_AT_ONCE, len(beta))
    bias = 0.0
    for n_solves in range(max_solves):
        n_free = np.count_nonzero(free)
        if n_free == 1:  # the others are at bounds and the sum is zero: so is this one, but for rounding
            bound = np.where(free, np.where(upper - beta < beta - lower, upper, lower), beta)
            slope += K @ (bound - beta)
            beta[:] = bound
            free[:] = False
        elif n_free:
            try:
                step, bias = solver.solve(free, -slope, 0.0)
                if not _advance(K, lower, upper, beta, slope, free, step):
                    continue
                if np.abs(slope[free] + bias).max() > tolerance:
                    solver.refresh(free)
                    continue
            except np.linalg.LinAlgError:
                break
        pair = None if free.any() else extremes(slope, beta, lower)
        if pair:
            bias = -slope[list(pair)].sum() / 2
        wrong = np.where(free, 0.0, np.where(beta == lower, -(slope + bias), slope + bias))
        if wrong.max() <= tolerance:
            return Dual(beta, bias, slope, n_solves + 1, converged=True)
        # Nothing free: one that wants up and one that wants down can move at once, several of one kind never could.
        worst = np.array(pair) if pair else np.argpartition(wrong, -n_released)[-n_released:]
        free[worst[wrong[worst] > tolerance]] = True
    return Dual(beta, bias, slope, max_solves, converged=False)


def _advance(K: Floats, lower: Floats, upper: Floats, beta: Floats, slope: Floats, free: Mask, step: Floats) -> bool:
    """Move along ``step`` up to the first bound, which becomes active; True when no bound was in the way."""
    bound = np.where(step > 0, upper, lower)
    moving = step != 0
    allowed = np.full(len(step), np.inf)
    np.divide(bound - beta, step, out=allowed, where=moving)
    first = int(allowed.argmin())
    length = min(1.0, float(allowed[first]))
    beta += length * step
    slope += length * (K @ step)
    if length == 1.0:
        return True
    beta[first] = bound[first]
    free[first] = False
    return False
