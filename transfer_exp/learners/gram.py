"""Kernel values between training points, of which the last one may move, and validation points; float64.

Values between fixed points are computed once; a move costs the inner products of the moving point with the others.
Both kernels are functions of inner products whose gradient is dk(x, u)/du = a x - c u, with a and c from the value k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from transfer_exp.types import Floats


class Kernel(Protocol):
    """A positive semidefinite kernel k(x, u)."""

    def values(self, inner: Floats, square_x: Floats, square_u: Floats) -> Floats:
        """k from x . u, |x|^2 and |u|^2 (broadcast together)."""

    def slopes(self, values: Floats) -> tuple[Floats | float, Floats | float]:
        """a and c of the gradient above."""


class LinearKernel:
    """k(x, u) = x . u."""

    def values(self, inner: Floats, square_x: Floats, square_u: Floats) -> Floats:
        """The inner products themselves."""
        return inner

    def slopes(self, values: Floats) -> tuple[Floats | float, Floats | float]:
        """The gradient in u is x."""
        return 1.0, 0.0


class RBFKernel:
    """k(x, u) = exp(-gamma |x - u|^2)."""

    def __init__(self, gamma: float) -> None:
        self.gamma = gamma

    def values(self, inner: Floats, square_x: Floats, square_u: Floats) -> Floats:
        """Values in (0, 1]; rounding never makes a distance negative."""
        return np.exp(-self.gamma * np.maximum(square_x + square_u - 2 * inner, 0.0))

    def slopes(self, values: Floats) -> tuple[Floats | float, Floats | float]:
        """The gradient in u is 2 gamma k (x - u)."""
        slope = 2 * self.gamma * values
        return slope, slope


@dataclass(frozen=True)
class Moved:
    """Where the moving point ``(d,)`` was, and its kernel values with ``points`` and validation points."""

    point: Floats
    square: float
    train: Floats
    validation: Floats


class Gram:
    """The growing matrices: ``n`` fixed training points and one that moves, at index n; room for ``room`` more."""

    def __init__(self, kernel: Kernel, x: Floats, x_val: Floats, *, room: int) -> None:
        n = self.n = len(x)
        size = n + room + 1
        self.kernel, self.x_val = kernel, x_val
        self._points = np.zeros((size, x.shape[1]))
        self._square = np.zeros(size)
        self._train = np.zeros((size, size))
        self._validation = np.zeros((len(x_val), size))
        square_val = np.einsum("nd,nd->n", x_val, x_val)
        self._square_val = square_val
        self._points[:n] = x
        self._square[:n] = square = np.einsum("nd,nd->n", x, x)
        self._train[:n, :n] = kernel.values(x @ x.T, square[:, None], square)
        self._validation[:, :n] = kernel.values(x_val @ x.T, square_val[:, None], square)

    @property
    def points(self) -> Floats:
        """Fixed training points, then the moving one, ``(n + 1, d)``."""
        return self._points[: self.n + 1]

    @property
    def train(self) -> Floats:
        """Kernel values among ``points``, ``(n + 1, n + 1)``."""
        return self._train[: self.n + 1, : self.n + 1]

    @property
    def validation(self) -> Floats:
        """Kernel values of validation points and ``points``, ``(n_val, n + 1)``."""
        return self._validation[:, : self.n + 1]

    def move(self, point: Floats) -> Moved:
        """Put the moving point at ``point`` ``(d,)``."""
        n, square = self.n, float(point @ point)
        self._points[n], self._square[n] = point, square
        inner = self.points @ point
        moved = Moved(
            point=point.copy(),
            square=square,
            train=self.kernel.values(inner, self._square[: n + 1], self._square[n]),
            validation=self.kernel.values(self.x_val @ point, self._square_val, self._square[n]),
        )
        self.restore(moved)
        return moved

    def restore(self, moved: Moved) -> None:
        """Put the moving point back to where it was at a ``move`` since the last ``keep``."""
        n = self.n
        self._points[n], self._square[n] = moved.point, moved.square
        self._train[n, : n + 1] = self._train[: n + 1, n] = moved.train
        self._validation[:, n] = moved.validation

    def pull(self, train: Floats, validation: Floats) -> Floats:
        """sum_i train_i dk(x_i, u)/du + sum_v validation_v dk(x_v, u)/du, ``(d,)``, at the moving u; x_i, x_v fixed."""
        gradient = np.zeros(self._points.shape[1])
        for x, weights, values in (
            (self.points, train, self.train[-1]),
            (self.x_val, validation, self._validation[:, self.n]),
        ):
            a, c = self.kernel.slopes(values)
            gradient += (weights * a) @ x - float((weights * c).sum()) * self._points[self.n]
        return gradient

    def keep(self) -> None:
        """Let the moving point stay where it is; the next one moves from here on. Raises IndexError when full."""
        if self.n + 2 > len(self._points):
            raise IndexError("no room for another point")
        self.n += 1
