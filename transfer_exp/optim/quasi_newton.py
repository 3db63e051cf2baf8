"""Projected quasi-Newton ascent of one point in a box, for an objective that is expensive to evaluate, curved and kinked.

    maximise J(x)   subject to   lower <= x <= upper

    repeat:
        g = dJ/dx;  F = the coordinates that the box does not hold against g
        d = H_F g_F, with H_F the inverse curvature seen in the last moves (L-BFGS: Nocedal 1980), on F alone
        x <- P(x + t d), from t = 1 on longer or shorter until J rises enough and its slope along d has fallen
    until the last ``_WINDOW`` moves gained little, or no step improves

Both conditions on t (weak Wolfe) make L-BFGS work on kinks, too (Lewis and Overton 2013). Where no curvature is known, d is
the gradient, as long as the last move along a gradient.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from transfer_exp.types import Box, Floats

_MEMORY = 8  # moves whose curvature is remembered
_WINDOW = 3  # moves that must gain little together: at a kink a single one often does
_SUFFICIENT_RISE = 1e-4  # first Wolfe condition: share of its first-order gain that a step must bring
_SLOPE_LEFT = 0.5  # second Wolfe condition: share of the slope along d above which a step was too short
_GROWTH = 2.5  # of t
_LEAST_SHRINK, _MOST_SHRINK = 0.1, 0.5  # smallest and largest share of t that is tried after it failed
_FIRST_STEP = 0.02  # length, as a share of the distance to the farthest point of the box along the gradient
_LEAST_COSINE = 1e-10  # of a move and the change of its gradient: below, they say nothing of curvature


class Objective(Protocol):
    """What is maximised."""

    def value(self, x: Floats) -> float:
        """J at ``(d,)``; minus infinity where the ascent shall not go."""

    def gradient(self, x: Floats) -> Floats:
        """Its gradient ``(d,)`` at the last ``x`` whose value was asked for."""


@dataclass(frozen=True)
class _Iterate:
    x: Floats
    value: float
    gradient: Floats


def ascend_in_box(
    objective: Objective,
    start: Floats,
    box: Box,
    *,
    n_iter: int,
    tolerance: float,
    n_trials: int,
    project: Callable[[Floats], Floats] | None = None,
) -> None:
    """At most ``n_iter`` moves from ``start`` ``(d,)`` inside the box; the objective sees every point tried.

    project: P of a smaller convex set that has ``start``, within the box; None: of the box itself.

    Ends when the last three moves together gained less than ``tolerance`` times the rise so far, when no step of
    ``n_trials`` along the gradient improves, or at a stationary point. From move to move J falls at
    most by what the box takes of a direction's first-order gain, times 1e-4.
    """
    project = project or (lambda x: np.clip(x, box.lower, box.upper))
    current = _Iterate(start, objective.value(start), objective.gradient(start))
    values, moves = [current.value], deque[tuple[Floats, Floats]](maxlen=_MEMORY)
    farthest = np.where(current.gradient > 0, box.upper, np.where(current.gradient < 0, box.lower, start))
    length = _FIRST_STEP * float(np.linalg.norm(farthest - start))
    while len(values) <= n_iter:
        free = ~(((current.x <= box.lower) & (current.gradient < 0)) | ((current.x >= box.upper) & (current.gradient > 0)))
        free_gradient = np.where(free, current.gradient, 0.0)
        if not free_gradient.any():
            break
        direction = _quasi_newton_direction(free_gradient, free, moves)
        is_gradient = direction is None
        if direction is None:
            direction = free_gradient * (length / np.linalg.norm(free_gradient))
        new = _line_search(objective, current, direction, box, n_trials, project)
        if new is None and is_gradient:
            break
        if new is None:
            moves.clear()
            continue
        moves.append((new.x - current.x, current.gradient - new.gradient))
        if is_gradient:
            length = float(np.linalg.norm(new.x - current.x))
        current = new
        values.append(current.value)
        if len(values) > _WINDOW and values[-1] - values[-1 - _WINDOW] < tolerance * (values[-1] - values[0]):
            break


def _quasi_newton_direction(gradient: Floats, free: np.ndarray, moves: deque[tuple[Floats, Floats]]) -> Floats | None:
    """The L-BFGS direction ``(d,)`` on the free coordinates, by the two-loop recursion.

    moves: (s, y), the change of x and that of minus the gradient. None where no move has positive curvature, or the
    direction is no ascent.
    """
    pairs = []
    for move, gradient_fall in moves:
        s, y = np.where(free, move, 0.0), np.where(free, gradient_fall, 0.0)
        curvature = float(s @ y)
        if curvature > _LEAST_COSINE * np.linalg.norm(s) * np.linalg.norm(y):
            pairs.append((s, y, curvature))
    if not pairs:
        return None
    direction, coefficients = gradient.copy(), []
    for s, y, curvature in reversed(pairs):
        coefficients.append(float(s @ direction) / curvature)
        direction -= coefficients[-1] * y
    _, y, curvature = pairs[-1]
    direction *= curvature / float(y @ y)
    for s, y, curvature in pairs:
        direction += (coefficients.pop() - float(y @ direction) / curvature) * s
    is_ascent = float(direction @ gradient) > _LEAST_COSINE * np.linalg.norm(direction) * np.linalg.norm(gradient)
    return direction if is_ascent else None


def _line_search(
    objective: Objective,
    current: _Iterate,
    direction: Floats,
    box: Box,
    n_trials: int,
    project: Callable[[Floats], Floats],
) -> _Iterate | None:
    """The iterate on P(x + t direction), from t = 1 on, that meets both conditions; None where no trial rises enough."""
    best: _Iterate | None = None
    t, slope = 1.0, float(current.gradient @ direction)
    for _ in range(n_trials):
        x = project(current.x + t * direction)
        value = objective.value(x)
        required = current.value + _SUFFICIENT_RISE * float(current.gradient @ (x - current.x))
        if not value > (required if best is None else best.value):
            if best is not None:
                break
            t *= _shrink_factor(value - current.value, slope * t)
            continue
        best = _Iterate(x, value, objective.gradient(x))
        moving = ((x > box.lower) | (direction > 0)) & ((x < box.upper) | (direction < 0))
        if t < 1 or float(best.gradient[moving] @ direction[moving]) <= _SLOPE_LEFT * slope:
            break
        t *= _GROWTH
    return best


def _shrink_factor(gain: float, first_order_gain: float) -> float:
    """The share of a failed step to try next: where the parabola of this gain and first-order gain is highest."""
    bend = first_order_gain - gain
    if bend > 0 and np.isfinite(bend):
        return min(max(first_order_gain / (2 * bend), _LEAST_SHRINK), _MOST_SHRINK)
    return (_LEAST_SHRINK + _MOST_SHRINK) / 2
