"""Random perturbations of the size that an attack is allowed: the control that says what of an error is the attack's doing.

A clean point x moves along a random direction u, clipped to the box, as far as epsilon allows:

    offset = clip(s u, lower - x, upper - x)   with s >= 0 such that |offset|_p = epsilon

or to the corner of the box on the side of u, where the box leaves less room than that. Before clipping, u is uniform on the
sphere: Gaussian for l2, Laplace for l1. In linf every feature moves by +epsilon or -epsilon, as attacks move it there.
One direction serves the whole grid of epsilons: a point moves on in its direction.

Sizes are exact. Sort the features of a point by the s at which the box stops them, t_1 <= t_2 <= ..., with rooms
c_i = t_i |u_i|. For s between t_j and t_j+1 the size is

    |offset|_p^p = sum_{i <= j} c_i^p + s^p sum_{i > j} |u_i|^p
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from transfer_exp.attacks.flips import Flips
from transfer_exp.types import Box, Floats, Ints, Norm


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


def random_rays(x: Floats, *, norm: Norm, epsilons: Sequence[float], box: Box, rng: np.random.Generator) -> Rays:
    """Random offsets of points ``(n, d)`` inside the box, of p-norm ``epsilon`` at every epsilon of the ascending grid."""
    direction = rng.laplace(size=x.shape) if norm == "l1" else rng.standard_normal(x.shape)
    low, high = box.lower - x, box.upper - x
    if norm == "linf":
        every = np.broadcast_to(np.array(epsilons)[:, None], (len(epsilons), len(x)))
        return Rays(direction=np.sign(direction), scale=every, low=low, high=high)
    scale = _scales(direction, low, high, power=1 if norm == "l1" else 2, epsilons=epsilons)
    return Rays(direction=direction, scale=scale, low=low, high=high)


def _scales(direction: Floats, low: Floats, high: Floats, *, power: int, epsilons: Sequence[float]) -> Floats:
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


def random_flips(changeable: Ints, *, budget: Ints, rng: np.random.Generator) -> Flips:
    """Changes of random features, ``budget`` ``(E,)`` of them at each epsilon, or all that may change where those are fewer.

    changeable: ``(n, d)``, +1 where a feature may be added, -1 where it may be removed, 0 where it must stay.
    """
    chance = np.where(changeable == 0, 2.0, rng.random(changeable.shape))  # what must stay comes last
    place = np.empty(changeable.shape, dtype=np.int64)
    np.put_along_axis(place, np.argsort(chance, axis=1), np.arange(1, changeable.shape[1] + 1)[None], axis=1)
    order = np.where(place <= budget[-1], place * changeable, 0).astype(np.int16)
    return Flips(order=order, budget=budget)
