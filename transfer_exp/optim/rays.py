"""Random perturbations of the size that an attack is allowed: the control that says what of an error is the attack's doing.

A clean point x moves along a random direction u, clipped to the box, as far as epsilon allows:

    offset = clip(s u, lower - x, upper - x)   with s >= 0 such that |offset|_p = epsilon

or to the corner of the box on the side of u, where the box leaves less room than that. Before clipping, u is uniform on the
sphere: Gaussian for l2, Laplace for l1. In linf every feature moves by +epsilon or -epsilon, in l0 floor(epsilon) random
features move to a face of the box, as attacks move them there. One direction serves the whole grid of epsilons: a point
moves on in its direction.

Sizes are exact. Sort the features of a point by the s at which the box stops them, t_1 <= t_2 <= ..., with rooms
c_i = t_i |u_i|. For s between t_j and t_j+1 the size is

    |offset|_p^p = sum_{i <= j} c_i^p + s^p sum_{i > j} |u_i|^p
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from transfer_exp.optim.balls import Ball
from transfer_exp.types import Box, Floats, Ints


class Offsets(Protocol):
    """``offsets[k]``: how points are moved at the k-th epsilon, ``(n, d)``."""

    def __getitem__(self, k: int) -> Floats: ...


@dataclass(frozen=True, kw_only=True)
class Rays:
    """``rays[k]``: offsets ``(n, d)`` at the k-th epsilon, along ``direction`` ``(n, d)`` until the box stops them.

    scale: ``(E, n)``, how far along its direction each point goes. low, high: ``(n, d)``, the box seen from the points.
    """

    direction: Floats
    scale: Floats
    low: Floats
    high: Floats

    def __getitem__(self, k: int) -> Floats:
        return np.asarray(np.clip(self.scale[k][:, None] * self.direction, self.low, self.high))


@dataclass(frozen=True, kw_only=True)
class Jumps:
    """``jumps[k]``: offsets ``(n, d)`` where the first ``budget[k]`` features by ``place`` moved to the ``corner``."""

    corner: Floats
    place: Ints
    budget: Ints

    def __getitem__(self, k: int) -> Floats:
        return np.where(self.place < self.budget[k], self.corner, 0.0)


def random_offsets(x: Floats, *, ball: Ball, epsilons: Sequence[float], box: Box, rng: np.random.Generator) -> Offsets:
    """Random offsets of points ``(n, d)`` inside the box, of size ``epsilon`` at every epsilon of the ascending grid."""
    direction = ball.random_direction(x.shape, rng)
    low, high = box.lower - x, box.upper - x
    if ball.counts_features:
        return _jumps(direction, low, high, epsilons)
    if np.isinf(ball.order):
        every = np.broadcast_to(np.array(epsilons)[:, None], (len(epsilons), len(x)))
        return Rays(direction=direction, scale=every, low=low, high=high)
    scale = _scales(direction, low, high, power=ball.order, epsilons=epsilons)
    return Rays(direction=direction, scale=scale, low=low, high=high)


def _jumps(direction: Floats, low: Floats, high: Floats, epsilons: Sequence[float]) -> Jumps:
    """In the order of falling size of the direction; to the other face where there is no room on its side."""
    up = np.where(direction > 0, high > 0, low == 0)
    corner = np.where(up, high, low)
    order = np.argsort(np.where(corner == 0, np.inf, -np.abs(direction)), axis=1)  # what cannot move comes last
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.arange(order.shape[1])[None], axis=1)
    return Jumps(corner=corner, place=place, budget=np.floor(epsilons).astype(np.int64))


def _scales(direction: Floats, low: Floats, high: Floats, *, power: float, epsilons: Sequence[float]) -> Floats:
    """The s of each epsilon and row, ``(E, n)``; where the box stops every feature, the s at which it stops the last."""
    size = np.abs(direction)
    # No feature moves by more than epsilon: bounds beyond it need not be squared, and may be huge.
    room = np.minimum(np.where(direction > 0, high, -low), epsilons[-1])
    room[size == 0] = 0.0
    stop = np.divide(room, size, out=np.zeros_like(room), where=size > 0)
    order = np.argsort(stop, axis=1)
    stop, room, size = (np.take_along_axis(a, order, axis=1) for a in (stop, room**power, size**power))
    nothing = np.zeros((len(direction), 1))
    held = np.concatenate([nothing, np.cumsum(room, axis=1)], axis=1)
    free = np.concatenate([np.cumsum(size[:, ::-1], axis=1)[:, ::-1], nothing], axis=1)
    reached = held[:, 1:] + stop**power * free[:, 1:]
    scales = []
    for epsilon in epsilons:
        n_held = (reached < epsilon**power).sum(axis=1)
        moving = n_held < size.shape[1]
        before, slope = (np.take_along_axis(a, n_held[:, None], axis=1)[:, 0] for a in (held, free))
        share = np.divide(epsilon**power - before, slope, out=np.zeros_like(slope), where=moving)
        scales.append(np.where(moving, share ** (1 / power), stop[:, -1]))
    return np.stack(scales)
