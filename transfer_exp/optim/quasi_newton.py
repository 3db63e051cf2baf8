"""Projected quasi-Newton ascent of one point in a box, for an objective that is expensive to evaluate, curved and kinked.

    maximise J(x)   subject to   lower <= x <= upper

    repeat:  g = dJ/dx;  F = the coordinates that the box does not hold against g
             d = H_F g_F, with H_F the inverse curvature seen in the last moves (L-BFGS: Nocedal 1980), on F alone
             x <- P(x + t d), from t = 1 on longer or shorter until J rises enough and its slope has fallen

Both conditions on t (weak Wolfe) make L-BFGS work on kinks, too (Lewis and Overton 2013). Where no curvature is known, d is
the gradient, as long as the last move along a gradient. The ascent ends when the last ``_WINDOW`` moves gained little.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from transfer_exp.types import Box, Floats

_MEMORY = 8  # moves whose curvature is remembered
_WINDOW = 3  # moves that must gain little together: at a kink a single one often does
_RISE = 1e-4  # share of the first-order gain that a step must bring
_SLOPE = 0.5  # share of the slope above which a step was too short
_LONGER = 2.5
_SHORTER = 0.1, 0.5  # least and largest share of a step that is tried after it failed
_FIRST = 0.02  # length of the first step, as a share of the way to the farthest point of the box along the gradient
_CURVED = 1e-10  # cosine of a move and the change of its gradient below which it says nothing of curvature


class Landscape(Protocol):
    """What is maximised."""

    def value(self, x: Floats) -> float:
        """J at ``(d,)``; minus infinity where the ascent shall not go."""

    def gradient(self, x: Floats) -> Floats:
        """Its gradient ``(d,)`` at the last place asked for a value."""


@dataclass(frozen=True)
class _Place:
    x: Floats
    value: float
    gradient: Floats


def climb(landscape: Landscape, start: Floats, box: Box, *, n_iter: int, tolerance: float, n_trials: int) -> None:
    """At most ``n_iter`` moves from ``start`` ``(d,)`` inside the box; the landscape sees every place tried.

    Ends when the last three moves together gained less than ``tolerance`` times the rise so far, when no step of
    ``n_trials`` along the gradient improves, or at a stationary point. From move to move J falls at
    most by what the box takes of a direction's first-order gain, times 1e-4.
    """
    here = _Place(start, landscape.value(start), landscape.gradient(start))
    values, moves = [here.value], deque[tuple[Floats, Floats]](maxlen=_MEMORY)
    corner = np.where(here.gradient > 0, box.upper, np.where(here.gradient < 0, box.lower, start))
    length = _FIRST * float(np.linalg.norm(corner - start))
    while len(values) <= n_iter:
        free = ~(((here.x <= box.lower) & (here.gradient < 0)) | ((here.x >= box.upper) & (here.gradient > 0)))
        slope = np.where(free, here.gradient, 0.0)
        if not slope.any():
            break
        direction = _direction(slope, free, moves)
        plain = direction is None
        if direction is None:
            direction = slope * (length / np.linalg.norm(slope))
        step = _search(landscape, here, direction, box, n_trials)
        if step is None and plain:
            break
        if step is None:
            moves.clear()
            continue
        moves.append((step.x - here.x, here.gradient - step.gradient))
        if plain:
            length = float(np.linalg.norm(step.x - here.x))
        here = step
        values.append(here.value)
        if len(values) > _WINDOW and values[-1] - values[-1 - _WINDOW] < tolerance * (values[-1] - values[0]):
            break


def _direction(slope: Floats, free: np.ndarray, moves: deque[tuple[Floats, Floats]]) -> Floats | None:
    """The L-BFGS direction ``(d,)`` on the free coordinates; None where no move tells the curvature, or it is no ascent."""
    pairs = []
    for move, turn in moves:
        s, y = np.where(free, move, 0.0), np.where(free, turn, 0.0)
        curvature = float(s @ y)
        if curvature > _CURVED * np.linalg.norm(s) * np.linalg.norm(y):
            pairs.append((s, y, curvature))
    if not pairs:
        return None
    direction, shares = slope.copy(), []
    for s, y, curvature in reversed(pairs):
        shares.append(float(s @ direction) / curvature)
        direction -= shares[-1] * y
    _, y, curvature = pairs[-1]
    direction *= curvature / float(y @ y)
    for s, y, curvature in pairs:
        direction += (shares.pop() - float(y @ direction) / curvature) * s
    ascent = float(direction @ slope) > _CURVED * np.linalg.norm(direction) * np.linalg.norm(slope)
    return direction if ascent else None


def _search(landscape: Landscape, here: _Place, direction: Floats, box: Box, n_trials: int) -> _Place | None:
    """A place on P(x + t direction) that rises enough, from t = 1 on; None where ``n_trials`` find none."""
    best: _Place | None = None
    t, slope = 1.0, float(here.gradient @ direction)
    for _ in range(n_trials):
        x = np.clip(here.x + t * direction, box.lower, box.upper)
        value = landscape.value(x)
        wanted = here.value + _RISE * float(here.gradient @ (x - here.x))
        if not value > (wanted if best is None else best.value):
            if best is not None:
                break
            t *= _shorter(value - here.value, slope * t)
            continue
        best = _Place(x, value, landscape.gradient(x))
        moving = ((x > box.lower) | (direction > 0)) & ((x < box.upper) | (direction < 0))
        if t < 1 or float(best.gradient[moving] @ direction[moving]) <= _SLOPE * slope:
            break
        t *= _LONGER
    return best


def _shorter(gain: float, promise: float) -> float:
    """The share of a step that gained too little, to try next: where a parabola with this ``promise`` is highest."""
    least, largest = _SHORTER
    curve = promise - gain
    return min(max(promise / (2 * curve), least), largest) if curve > 0 and np.isfinite(curve) else (least + largest) / 2
