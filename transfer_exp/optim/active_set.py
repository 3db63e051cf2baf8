"""The dual of a soft-margin SVM by a primal active-set method: exact, and quick from a solution close by.

    min  beta^T K beta / 2 - y^T beta    subject to   sum_i beta_i = 0,   lower <= beta <= upper

with K ``(n, n)`` positive semidefinite and beta = y alpha the signed dual coefficients. The constraints do not depend on
the points, so the solution before a point moved is a feasible start after it moved. All bounds are 0 or +-C, one C for all.
With gradient g = K beta - y and b the multiplier of the sum, the optimality conditions are

    g + b  = 0 where beta is free (between its bounds),  >= 0 at the lower bound,  <= 0 at the upper bound

    repeat:
        solve K_FF step = -(g + b) on the free coefficients F, sum step = 0
        beta <- beta + t step, with the largest t <= 1 that meets no bound
        if t < 1:                        the coefficient that met its bound is free no more
        else if all conditions hold:     beta is optimal
        else:                            free those that violate their condition most
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transfer_exp.optim.implicit import Mask, SaddleSolver
from transfer_exp.types import Floats

_RELEASED_AT_ONCE = 4


@dataclass(frozen=True)
class DualSolution:
    """beta ``(n,)``, the bias b, the gradient K beta - y ``(n,)``, number of linear solves, whether the conditions hold."""

    beta: Floats
    bias: float
    gradient: Floats
    n_solves: int
    converged: bool


def points_bounding_bias(gradient: Floats, beta: Floats, lower: Floats) -> tuple[int, int]:
    """Points (i, j) that bound b where no coefficient is free: -gradient[i] <= b <= -gradient[j]."""
    at_lower = beta == lower
    i = int(np.where(at_lower, gradient, np.inf).argmin())
    j = int(np.where(at_lower, -np.inf, gradient).argmax())
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
) -> DualSolution:
    """Solve from a feasible ``beta`` (changed in place); ``tolerance`` is how far a condition may be violated."""
    solver.set_matrix(K)
    gradient = K @ beta - y
    free = (beta > lower) & (beta < upper)
    n_released = min(_RELEASED_AT_ONCE, len(beta))
    bias = 0.0
    for n_solves in range(max_solves):
        n_free = np.count_nonzero(free)
        if n_free == 1:  # the others are at bounds and the sum is zero: so is this one, but for rounding
            bound = np.where(free, np.where(upper - beta < beta - lower, upper, lower), beta)
            gradient += K @ (bound - beta)
            beta[:] = bound
            free[:] = False
        elif n_free:
            try:
                step, bias = solver.solve(free, -gradient, 0.0)
                if not _take_step(K, lower, upper, beta, gradient, free, step):
                    continue
                if np.abs(gradient[free] + bias).max() > tolerance:
                    solver.refactorise(free)
                    continue
            except np.linalg.LinAlgError:
                break
        pair = None if free.any() else points_bounding_bias(gradient, beta, lower)
        if pair:
            bias = -gradient[list(pair)].sum() / 2
        violation = np.where(free, 0.0, np.where(beta == lower, -(gradient + bias), gradient + bias))
        if violation.max() <= tolerance:
            return DualSolution(beta, bias, gradient, n_solves + 1, converged=True)
        # Nothing free: one that wants up and one that wants down can move at once, several of one kind never could.
        worst = np.array(pair) if pair else np.argpartition(violation, -n_released)[-n_released:]
        free[worst[violation[worst] > tolerance]] = True
    return DualSolution(beta, bias, gradient, max_solves, converged=False)


def _take_step(K: Floats, lower: Floats, upper: Floats, beta: Floats, gradient: Floats, free: Mask, step: Floats) -> bool:
    """Move along ``step`` up to the first bound, whose coefficient is free no more; True when no bound was met."""
    bound = np.where(step > 0, upper, lower)
    moving = step != 0
    longest = np.full(len(step), np.inf)
    np.divide(bound - beta, step, out=longest, where=moving)
    first = int(longest.argmin())
    length = min(1.0, float(longest[first]))
    beta += length * step
    gradient += length * (K @ step)
    if length == 1.0:
        return True
    beta[first] = bound[first]
    free[first] = False
    return False
