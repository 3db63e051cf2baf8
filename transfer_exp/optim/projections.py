"""The searches behind exact projections onto a norm ball intersected with a box (the norms themselves: ``balls``).

Everything is in offsets from the ball's centre: ball |u|_p <= radius, box low <= u <= high with low <= 0 <= high, all
``(n, d)``, radius ``(n, 1)``. Write v for the point to project, c_i >= 0 for the room that the box leaves in the direction
of v_i. Then the projection of a v outside the ball is sign(v) * a with, per row (KKT conditions),

    l2    a_i = min(s |v_i|, c_i)              s such that |a|_2 = radius
    l1    a_i = clip(|v_i| - t, 0, c_i)        t such that |a|_1 = radius

each one root of a monotone, piecewise smooth function of one variable per row, found exactly by Newton's method in finitely
many steps. The farthest point, argmax <g, u> over the set, is the limit of the projection of eta * g as eta grows: the
same formula without the cap on s (l2), the greedy fill (l1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

Search: TypeAlias = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(offset, low, high, radius) -> the projection of offsets outside the ball."""
_MAX_STEPS = 100
_FEW = 64


def room(direction: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """What the box leaves in this direction; nothing where it is zero."""
    return (direction.sign() * torch.finfo(direction.dtype).max).clamp(low, high).abs()


def scale_to_sphere(direction: Tensor, low: Tensor, high: Tensor, radius: Tensor) -> Tensor:
    """clip(s direction, low, high) with s >= 0 such that its l2 norm is ``radius`` (or as large as the box allows).

    In s^2 the squared norm is concave and piecewise linear, with the slope of the coordinates that the box does not hold:
    Newton's iterates from the left rise to the root and reach it after finitely many pieces.
    """
    largest = direction.abs().amax(1, keepdim=True)
    direction = direction / torch.where(largest > 0, largest, 1.0)  # no overflow or underflow in squares
    square = direction * direction
    limit = torch.maximum(high / direction, low / direction)  # the s at which the box holds; NaN or inf for a zero
    free, reached = torch.empty_like(limit), torch.empty_like(limit)  # written over and over: this is most of the work
    radius2 = radius * radius
    scale, missing = torch.zeros_like(radius2), radius2
    rounding = 16 * torch.finfo(radius.dtype).eps * radius2
    for _ in range(_MAX_STEPS):
        slope = torch.gt(limit, scale, out=free).mul_(square).sum(1, keepdim=True)
        step = missing / torch.where(slope > 0, slope, torch.inf)  # a row that the box holds everywhere stays
        before, scale = scale, torch.addcmul(step, scale, scale).sqrt()
        size = torch.linalg.vector_norm(torch.mul(direction, scale, out=reached).clamp_(low, high), dim=1, keepdim=True)
        missing = torch.addcmul(radius2, size, size, value=-1)
        if bool(((missing <= rounding) | (scale == before)).all()):
            break
    return reached


def soft_threshold(offset: Tensor, low: Tensor, high: Tensor, radius: Tensor) -> Tensor:
    """Each coordinate moved towards zero by t, within the box, with t >= 0 such that the l1 norm is ``radius``.

    The norm falls in t and is piecewise linear, but neither convex nor concave: Newton inside a bracket that every
    evaluation shrinks, halving it where Newton would leave it.
    """
    size, space = offset.abs(), room(offset, low, high)
    left, right = torch.zeros_like(radius), size.amax(1, keepdim=True)
    lifted, value, free = (torch.empty_like(size) for _ in range(3))  # written over and over: this is most of the work
    threshold, eps = left, torch.finfo(size.dtype).eps
    for _ in range(_MAX_STEPS):
        torch.sub(size, threshold, out=lifted)
        torch.minimum(lifted, space, out=value).clamp_(min=0)
        excess = value.sum(1, keepdim=True) - radius
        slope = torch.eq(lifted, value, out=free).sum(1, keepdim=True)  # how many neither the box nor zero holds
        done = excess.abs() <= eps * (4 * radius + slope * threshold)  # what rounding the sum and the threshold leaves
        if bool(done.all()):
            break
        left = torch.where(excess > 0, threshold, left)
        right = torch.where(excess < 0, threshold, right)
        newton = threshold + excess / slope.clamp(min=1)
        outside = (newton <= left) | (newton >= right) | (slope == 0)
        threshold = torch.where(done, threshold, torch.where(outside, (left + right) / 2, newton))
    # What rounding leaves above the radius is taken off evenly, so that the ball is never left.
    total = value.sum(1, keepdim=True)
    kept = torch.where(total > radius, radius / total.clamp(min=torch.finfo(size.dtype).tiny), 1.0)
    return torch.copysign(value * kept, offset)


def greedy_fill(direction: Tensor, low: Tensor, high: Tensor, radius: Tensor) -> Tensor:
    """Spend ``radius`` on the heaviest coordinates first, each up to its room."""
    space = room(direction, low, high)
    weight = direction.abs() * space.sign()
    n_heaviest = _FEW
    while True:  # few take all, as a rule; to order every coordinate takes five times as long as to find the few
        order = weight.topk(min(n_heaviest, weight.shape[1]), dim=1).indices
        sorted_room = space.gather(1, order)
        spent = sorted_room.cumsum(1)
        if n_heaviest >= weight.shape[1] or bool((spent[:, -1:] >= radius).all()):
            break
        n_heaviest *= 8
    take = torch.minimum((radius - (spent - sorted_room)).clamp(min=0), sorted_room)
    return torch.copysign(torch.zeros_like(space).scatter(1, order, take), direction)


def keep_largest(offset: Tensor, worth: Tensor, epsilon: Tensor | float) -> Tensor:
    """The floor(epsilon) entries of each row of ``offset`` that are worth most (above zero); zero elsewhere."""
    allowed = torch.as_tensor(epsilon, device=offset.device).floor().long().expand(len(offset))[:, None]
    n_most = min(int(allowed.max()), offset.shape[1]) if len(offset) else 0
    value, column = worth.topk(n_most, dim=1)
    taken = (torch.arange(n_most, device=offset.device) < allowed) & (value > 0)
    return torch.zeros_like(offset).scatter(1, column, torch.where(taken, offset.gather(1, column), 0.0))


def projected(order: float, search: Search, offset: Tensor, low: Tensor, high: Tensor, radius: Tensor) -> Tensor:
    """Clipped to the box, and what is then still outside the ball of this order, by the ``search``."""
    nearest = offset.clamp(low, high)
    outside = (torch.linalg.vector_norm(nearest, ord=order, dim=1, keepdim=True) > radius)[:, 0]
    if bool(outside.all()):
        return search(offset, low, high, radius)
    rows = outside.nonzero()[:, 0]
    if len(rows):
        nearest[rows] = search(*(t.index_select(0, rows) for t in (offset, low, high, radius)))
    return nearest
