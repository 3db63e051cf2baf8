"""Conjugate gradients for A x = b with A symmetric and positive definite, known by its products alone.

    r = b - A x;  p = r
    repeat:  a = |r|^2 / <p, A p>;  x <- x + a p;  r' = r - a A p;  p <- r' + |r'|^2 / |r|^2 p

Hestenes and Stiefel 1952. A direction along which A is not positive ends it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Solved:
    """x ``(n,)``, its relative residual |b - A x| / |b|, and whether A was positive along every direction tried."""

    x: Tensor
    residual: float
    positive: bool


def conjugate_gradients(
    product: Callable[[Tensor], Tensor], right: Tensor, *, most: int, residual: float, start: Tensor | None = None
) -> Solved:
    """Solve until the relative residual is at most ``residual``, within ``most`` products; a start costs one more."""
    size = float(right.norm())
    if size == 0:
        return Solved(torch.zeros_like(right), 0.0, True)
    x = torch.zeros_like(right)
    left = right
    if start is not None and bool(start.any()):
        left = right - product(start)
        x, left = (start.clone(), left) if float(left.norm()) < size else (x, right)  # a start worse than none is not used
    direction, square = left, left.dot(left)
    for _ in range(most):
        if float(square) ** 0.5 <= residual * size:
            break
        bent = product(direction)
        along = direction.dot(bent)
        if not float(along) > 0:
            return Solved(x, float(square) ** 0.5 / size, False)
        step = square / along
        x = x + step * direction
        left = left - step * bent
        before, square = square, left.dot(left)
        direction = left + square / before * direction
    return Solved(x, float(square) ** 0.5 / size, True)
