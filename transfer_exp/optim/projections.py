"""Exact projection onto a norm ball intersected with a box, and the farthest point of it along a direction.

Everything is in offsets from the ball's centre: ball |u|_p <= epsilon, box low <= u <= high with low <= 0 <= high, all
``(n, d)``, epsilon ``(n,)`` or a number. Write v for the point to project, c_i >= 0 for the room that the box leaves
in the direction of v_i. Then the projection is sign(v) * a with, per row (KKT conditions),

    l2    a_i = min(s |v_i|, c_i)              s = 1 when that lies in the ball, else |a|_2 = epsilon
    l1    a_i = clip(|v_i| - t, 0, c_i)        t = 0 when that lies in the ball, else |a|_1 = epsilon
    linf  a_i = min(|v_i|, c_i, epsilon)

so l2 and l1 are one root of a monotone, piecewise smooth function of one variable per row, found exactly by Newton's
method in finitely many steps. The farthest point, argmax <g, u> over the set, is the limit of the projection of
eta * g as eta grows: the same formulas without the cap on s (l2), the greedy fill (l1), the corner (linf).
"""

from __future__ import annotations

import torch
from torch import Tensor

from transfer_exp.types import Norm

_MAX_STEPS = 100


def _room(direction: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return torch.where(direction > 0, high, -low)


def project(offset: Tensor, *, norm: Norm, epsilon: Tensor | float, low: Tensor, high: Tensor) -> Tensor:
    """The nearest point of ball and box to each row of ``offset``."""
    radius = _column(epsilon, offset)
    size = torch.minimum(offset.abs(), _room(offset, low, high))
    if norm == "linf":
        return torch.copysign(torch.minimum(size, radius), offset)
    inside = _length(size, norm) <= radius
    if bool(inside.all()):
        return torch.copysign(size, offset)
    rows = ~inside[:, 0]
    part, room = offset[rows].abs(), _room(offset, low, high)[rows]
    shrink = _scale_to_sphere if norm == "l2" else _soft_threshold
    size[rows] = shrink(part, room, radius[rows])
    return torch.copysign(size, offset)


def farthest(direction: Tensor, *, norm: Norm, epsilon: Tensor | float, low: Tensor, high: Tensor) -> Tensor:
    """argmax over ball and box of the inner product with each row of ``direction`` (zero where the row is zero)."""
    radius = _column(epsilon, direction)
    room = torch.where(direction == 0, 0.0, _room(direction, low, high))
    if norm == "linf":
        size = torch.minimum(room, radius)
    elif norm == "l2":
        size = _scale_to_sphere(direction.abs(), room, radius)
    else:
        size = _greedy_fill(direction.abs(), room, radius)
    return torch.copysign(size, direction)


def _column(epsilon: Tensor | float, like: Tensor) -> Tensor:
    radius = torch.as_tensor(epsilon, dtype=like.dtype, device=like.device)
    return radius.expand(len(like))[:, None]


def _length(size: Tensor, norm: Norm) -> Tensor:
    return size.sum(1, keepdim=True) if norm == "l1" else torch.linalg.vector_norm(size, dim=1, keepdim=True)


def _scale_to_sphere(size: Tensor, room: Tensor, radius: Tensor) -> Tensor:
    """min(s size, room) with s such that its l2 norm is ``radius`` (or as large as the room allows).

    In u = s^2 the squared norm, sum min(u size^2, room^2), is concave and piecewise linear: Newton's iterates from the
    left rise to the root and reach it after finitely many pieces.
    """
    largest = size.amax(1, keepdim=True)
    size = size / torch.where(largest > 0, largest, 1.0)  # no overflow or underflow in squares
    square = size**2
    free = square > 0
    cap = torch.where(free, room**2, 0.0)  # where the size is zero, room is left unused
    target = radius**2
    scale = torch.zeros_like(target)
    for _ in range(_MAX_STEPS):
        slope = (square * free).sum(1, keepdim=True)
        rest = target - (cap * ~free).sum(1, keepdim=True)
        new = torch.where((slope > 0) & (rest > 0), rest / torch.where(slope > 0, slope, 1.0), scale)
        still = free & (new * square < cap)
        if bool((still == free).all()):
            scale = new
            break
        # A row whose every coordinate is capped has no root: all its room is taken.
        scale, free = torch.maximum(new, scale), still
    capped = torch.where(free, scale.sqrt() * size, room)
    return torch.where(square > 0, torch.minimum(capped, room), 0.0)


def _soft_threshold(size: Tensor, room: Tensor, radius: Tensor) -> Tensor:
    """clip(size - t, 0, room) with t >= 0 such that its l1 norm is ``radius``.

    The norm falls in t and is piecewise linear, but neither convex nor concave: Newton inside a bracket that every
    evaluation shrinks, halving it where Newton would leave it.
    """
    left, right = torch.zeros_like(radius), size.amax(1, keepdim=True)
    threshold = left
    for _ in range(_MAX_STEPS):
        lifted = size - threshold
        value = torch.minimum(lifted.clamp(min=0), room)
        excess = value.sum(1, keepdim=True) - radius
        slope = ((lifted > 0) & (lifted <= room)).sum(1, keepdim=True).to(size.dtype)
        done = excess.abs() <= 4 * torch.finfo(size.dtype).eps * radius
        if bool(done.all()):
            break
        left = torch.where(excess > 0, threshold, left)
        right = torch.where(excess < 0, threshold, right)
        newton = threshold + excess / slope.clamp(min=1)
        outside = (newton <= left) | (newton >= right) | (slope == 0)
        threshold = torch.where(done, threshold, torch.where(outside, (left + right) / 2, newton))
    # What rounding leaves above the radius is taken off evenly, so that the ball is never left.
    total = value.sum(1, keepdim=True)
    return value * torch.where(total > radius, radius / total.clamp(min=torch.finfo(size.dtype).tiny), 1.0)


def _greedy_fill(weight: Tensor, room: Tensor, radius: Tensor) -> Tensor:
    """Spend ``radius`` on the heaviest coordinates first, each up to its room."""
    order = weight.argsort(dim=1, descending=True, stable=True)
    sorted_room = room.gather(1, order)
    spent_before = sorted_room.cumsum(1) - sorted_room
    take = torch.minimum((radius - spent_before).clamp(min=0), sorted_room)
    return torch.zeros_like(room).scatter(1, order, take)
