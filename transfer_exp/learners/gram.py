"""Kernel values between training points, of which the last one may move, and validation points; float64.

Values between fixed points are computed once; a move costs the inner products of the moving point with the others.
The linear kernel needs none with validation points: their scores are X_val w, with w = X^T beta.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from scipy.linalg import blas

from transfer_exp.types import Floats


@dataclass(frozen=True)
class Moved:
    """A place of the moving point ``(d,)``, and its kernel values with ``points`` and, where kept, validation points."""

    point: Floats
    square: float
    train: Floats
    validation: Floats | None


class Gram(ABC):
    """The growing matrices: ``n`` fixed training points and one that moves, at index n; room for ``room`` more."""

    def __init__(self, x: Floats, x_val: Floats, *, room: int) -> None:
        n = self.n = len(x)
        size = n + room + 1
        self.x_val = x_val
        self._points = np.zeros((size, x.shape[1]))
        self._square = np.zeros(size)
        self._train = np.zeros((n + 1, n + 1))  # no larger than it needs to be: BLAS takes whole arrays
        self._points[:n] = x
        self._square[:n] = square = np.einsum("nd,nd->n", x, x)
        self._train[:n, :n] = self._values(x @ x.T, square[:, None], square)

    @abstractmethod
    def _values(self, inner: Floats, square_x: Floats, square_u: Floats | float) -> Floats:
        """k from x . u, |x|^2 and |u|^2 (broadcast together)."""

    @abstractmethod
    def scores(self, beta: Floats) -> Floats:
        """sum_i beta_i k(x_i, x_v) at the validation points, ``(n_val,)``."""

    @abstractmethod
    def validation_vjp(self, slope: Floats) -> tuple[Floats, Floats]:
        """Vector-Jacobian products of the validation points' kernel values with ``slope`` ``(n_val,)``.

        In the coefficients, sum_v slope_v k(x_i, x_v), ``(n + 1,)``; in the moving point u, sum_v slope_v dk(x_v, u)/du,
        ``(d,)``.
        """

    @abstractmethod
    def train_vjp(self, weights: Floats) -> Floats:
        """sum_i weights_i dk(x_i, u)/du, ``(d,)``, at the moving point u; all x_i are constants, x_(n+1) = u too."""

    @property
    def points(self) -> Floats:
        """Fixed training points, then the moving one, ``(n + 1, d)``."""
        return self._points[: self.n + 1]

    @property
    def train(self) -> Floats:
        """Kernel values among ``points``, ``(n + 1, n + 1)``."""
        return self._train

    def product(self, beta: Floats) -> Floats:
        """``train`` times beta, ``(n + 1,)``, reading half of the matrix."""
        return np.asarray(blas.dsymv(1.0, self._train.T, beta))

    def move(self, point: Floats) -> Moved:
        """Put the moving point at ``point`` ``(d,)``."""
        n, square = self.n, float(point @ point)
        self._points[n], self._square[n] = point, square
        train = self._values(self.points @ point, self._square[: n + 1], square)
        moved = Moved(point.copy(), square, train, self._validation_values(point, square))
        self.restore(moved)
        return moved

    def _validation_values(self, point: Floats, square: float) -> Floats | None:
        """Kernel values ``(n_val,)`` of a point with the validation points, where they are kept."""
        return None

    def restore(self, moved: Moved) -> None:
        """Put the moving point back to where it was at a ``move`` since the last ``keep``."""
        n = self.n
        self.moved = moved
        self._points[n], self._square[n] = moved.point, moved.square
        self._train[n] = self._train[:, n] = moved.train

    def keep(self) -> None:
        """Make the moving point a fixed one, and go on with a new one. Raises IndexError when there is no room."""
        if self.n + 2 > len(self._points):
            raise IndexError("no room for another point")
        self.n += 1
        self._train = np.pad(self._train, (0, 1))


class LinearGram(Gram):
    """k(x, u) = x . u, whose gradient in u is x."""

    def _values(self, inner: Floats, square_x: Floats, square_u: Floats | float) -> Floats:
        return inner

    def scores(self, beta: Floats) -> Floats:
        """X_val w."""
        return np.asarray(self.x_val @ (beta @ self.points))

    def validation_vjp(self, slope: Floats) -> tuple[Floats, Floats]:
        """Both from X_val^T slope."""
        total = slope @ self.x_val
        return self.points @ total, total

    def train_vjp(self, weights: Floats) -> Floats:
        """The weighted sum of the points."""
        return np.asarray(weights @ self.points)


class RBFGram(Gram):
    """k(x, u) = exp(-gamma |x - u|^2), whose gradient in u is 2 gamma k (x - u)."""

    def __init__(self, x: Floats, x_val: Floats, *, gamma: float, room: int) -> None:
        self.gamma = gamma
        super().__init__(x, x_val, room=room)
        n = self.n
        self._square_val = np.einsum("nd,nd->n", x_val, x_val)
        self._validation = np.zeros((n + room + 1, len(x_val)))
        self._validation[:n] = self._values(x @ x_val.T, self._square[:n, None], self._square_val)

    def _values(self, inner: Floats, square_x: Floats, square_u: Floats | float) -> Floats:
        """Values in (0, 1]; rounding never makes a distance negative."""
        return np.exp(-self.gamma * np.maximum(square_x + square_u - 2 * inner, 0.0))

    def scores(self, beta: Floats) -> Floats:
        """From the kept kernel values."""
        return np.asarray(beta @ self._validation[: self.n + 1])

    def validation_vjp(self, slope: Floats) -> tuple[Floats, Floats]:
        """From the kept kernel values, and a sum over the validation points."""
        weights = 2 * self.gamma * slope * self._validation[self.n]
        gradient = weights @ self.x_val - float(weights.sum()) * self._points[self.n]
        return self._validation[: self.n + 1] @ slope, gradient

    def train_vjp(self, weights: Floats) -> Floats:
        """The weighted sum of the points less the moving one."""
        weights = 2 * self.gamma * weights * self.train[-1]
        return np.asarray(weights @ self.points - float(weights.sum()) * self._points[self.n])

    def _validation_values(self, point: Floats, square: float) -> Floats:
        return self._values(self.x_val @ point, self._square_val, square)

    def restore(self, moved: Moved) -> None:
        """Validation values too."""
        super().restore(moved)
        self._validation[self.n] = moved.validation
