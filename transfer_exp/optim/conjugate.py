"""Preconditioned conjugate gradients for A x = b, A symmetric and positive semidefinite, b in its range.

    until r = b - A x is small:
        z = M^-1 r
        u = z + (z . r) / (z' . r') u'        the direction; ' marks what the iteration before had
        x = x + (z . r) / (u . A u) u

(Hestenes and Stiefel 1952.) Arrays may have any shape; the inner product is over all entries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from transfer_exp.types import Floats


@dataclass(frozen=True)
class Solved:
    """x, the largest absolute residual, the number of products with A."""

    x: Floats
    residual: float
    n_products: int


def conjugate_gradients(
    product: Callable[[Floats], Floats],
    rhs: Floats,
    precondition: Callable[[Floats], Floats],
    *,
    tolerance: float,
    max_iter: int,
) -> Solved:
    """Solve from x = 0 until no entry of the residual is above ``tolerance``, or for ``max_iter`` products."""
    x, residual = np.zeros_like(rhs), rhs.copy()
    direction, inner, n = np.zeros_like(rhs), 1.0, 0
    while n < max_iter and float(np.abs(residual).max()) > tolerance:
        z = precondition(residual)
        last, inner = inner, float(np.vdot(z, residual))
        direction = z + (inner / last if n else 0.0) * direction
        moved = product(direction)
        n += 1
        curvature = float(np.vdot(direction, moved))
        if not (curvature > 0 and inner > 0):  # nothing but rounding is left
            break
        x += inner / curvature * direction
        residual -= inner / curvature * moved
    return Solved(x, float(np.abs(residual).max()), n)
