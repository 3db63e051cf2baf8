"""Retraining of ridge and logistic regression: Newton steps in the coefficients, warm-started, on one factorisation.

Unknowns beta ``(n + 1,)`` and b, f = K beta + b; stationarity (see ``retraining`` and ``linear``)

    lambda beta_i + l'(f_i) = 0,   1^T beta = 0;    Jacobian [lambda + Z K, Z 1; 1^T, 0],  Z = diag l''(f).

With s = sqrt(z) and beta = s gamma it is [lambda I + s K s, s; s^T, 0]: one Cholesky factor of the *fixed* points' block,
the moving point and b in a border of width two. Ridge has z = 1, so the factor stays exact, grows by a row for each
point placed, and one step is the solution. For logistic regression the factor of an earlier z, in single precision, is kept
as long as it contracts the residual by ``_SLOW``, and made anew where it does not, in double precision where that alone is
missing; residuals are always those of the true equations.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from transfer_exp.learners.gram import Gram, Moved
from transfer_exp.learners.retraining import Retrained, Retraining
from transfer_exp.optim.implicit import Factor, factorise
from transfer_exp.types import Floats, Ints

Equation: TypeAlias = tuple[Floats, float, Floats, float]
"""What is missing from both stationarity conditions, z ``(n + 1,)``, a merit to lower."""
Equations: TypeAlias = Callable[[Floats, float], Equation]
"""That, at (beta ``(n + 1,)``, bias)."""

_SLOW = 0.05
_KEPT = 12  # places of the moving point whose border is remembered
_TOLERANCE = 1e-10  # of the stationarity conditions, in units of l'
_ADJOINT_TOLERANCE = 1e-9  # relative; no step is longer for a better gradient
_ROUNDING = 1e-10  # below this a residual that hardly falls is left as it is
_NEAR = 1e-2  # residual from which on steps are judged by it
_MAX_STEPS = 200
_FLOOR = 1e-12  # of z in a factor; changes its quality as an approximation, never a solution


class SmoothRetraining(Retraining):
    """A loss with two derivatives, and lambda |w|^2 / 2."""

    def __init__(self, gram: Gram, y: Ints, y_val: Ints, *, penalty: float) -> None:
        super().__init__(gram, y, y_val)
        self.penalty = penalty
        self._factorise(self._derivatives(np.zeros(len(y)), self.y)[2], single=False)

    @abstractmethod
    def _derivatives(self, f: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
        """l(f), l'(f) and l''(f), ``(n,)``."""

    def _curvature(self, fitted: Retrained) -> Floats:
        """l''(f) of the training points, ``(n + 1,)``."""
        return self._derivatives(self.gram.product(fitted.beta) + fitted.bias, np.append(self.y, fitted.label))[2]

    def _loss(self, scores: Floats) -> float:
        return float(self._derivatives(scores, self.y_val)[0].mean())

    def _slope(self, scores: Floats) -> Floats:
        return self._derivatives(scores, self.y_val)[1] / len(scores)

    def _factorise(self, z: Floats, *, single: bool) -> None:
        self.counts.factorisations += 1
        root = np.sqrt(np.maximum(z, _FLOOR))
        n = len(root)
        scale = root.astype(np.float32 if single else np.float64)
        block = self.gram.train[:n, :n].astype(scale.dtype)
        block *= scale
        block *= scale[:, None]
        try:
            self._set(z, root, factorise(block, damping=self.penalty))
        except np.linalg.LinAlgError:
            if not single:
                raise
            self._factorise(z, single=False)

    def _set(self, z: Floats, root: Floats, factor: Factor) -> None:
        self._z, self._root, self._factor = z, root, factor
        self._solved_root = factor.solve(root)
        self._corner = -float(root @ self._solved_root)
        self._borders: list[_Border] = []

    def _border(self) -> _Border:
        """That of the moving point; kept for its last few places."""
        moved = self.gram.moved
        for border in self._borders:
            if border.moved is moved:
                return border
        right = self._root * moved.train[:-1]
        solved = self._factor.solve(right)
        own = float(moved.train[-1] - right @ solved)
        border = _Border(moved, right, solved, own, float(1.0 - right @ self._solved_root))
        self._borders = [border, *self._borders[: _KEPT - 1]]
        return border

    def _correction(self, rest: Floats, total: float, z_c: float) -> tuple[Floats, float]:
        """Approximate solution of [lambda + Z K, Z 1; 1^T, 0] (u, b) = (rest, total), exact while Z is the factor's."""
        border, s_c = self._border(), float(np.sqrt(max(z_c, _FLOOR)))
        p = self._factor.solve(rest[:-1] / self._root)
        # What is left, for the moving point and the bias, once the fixed points are eliminated.
        own, mixed, corner = self.penalty + s_c**2 * border.own, s_c * border.mixed, self._corner
        first, second = rest[-1] / s_c - s_c * float(border.right @ p), total - float(self._root @ p)
        determinant = own * corner - mixed * mixed  # negative: own > 0 > corner
        t_c, t = (corner * first - mixed * second) / determinant, (own * second - mixed * first) / determinant
        step = np.empty(len(rest))
        step[:-1] = self._root * (p - s_c * t_c * border.solved - t * self._solved_root)
        step[-1] = s_c * t_c
        return step, t

    def _root_of(
        self,
        equations: Equations,
        start: tuple[Floats, float],
        equation: Equation,
        *,
        scale: float,
        tolerance: float = _TOLERANCE,
    ) -> tuple[Floats, float, float]:
        """The root (beta, bias) of ``equations`` and its relative residual, by (simplified) Newton steps.

        ``equation`` is what they give at ``start``. Far from the root a step must lower the merit, near it the residual:
        there the merit's change is lost in rounding.
        """
        beta, bias = start
        rest, total, z, merit = equation
        size, length = _size(rest, total), 1.0
        for _ in range(_MAX_STEPS):
            if size <= tolerance * scale:
                break
            self.counts.solves += 1
            near, exact = size <= _NEAR * scale, np.array_equal(z[:-1], self._z)
            coarse = near and self._factor.single
            step, lift = self._correction(rest, total, float(z[-1]))
            new, new_bias = beta + length * step, bias + length * lift
            equation = equations(new, new_bias)
            new_size = _size(*equation[:2])
            slow, rounding = new_size > _SLOW * size, size <= _ROUNDING * scale
            if new_size < size if near else equation[3] < merit:
                beta, bias, size, length = new, new_bias, new_size, 1.0
                rest, total, z, merit = equation
            elif exact and not coarse:
                length /= 2
            if slow and rounding:
                break
            if slow and (coarse or not exact):
                self._factorise(z[:-1], single=not exact)
        return beta, bias, size / scale

    def _equations(self, y: Floats) -> Equations:
        def equations(beta: Floats, bias: float) -> Equation:
            product = self.gram.product(beta)
            loss, slope, curvature = self._derivatives(product + bias, y)
            cost = self.penalty / 2 * float(beta @ product) + float(loss.sum())
            return -slope - self.penalty * beta, -float(beta.sum()), curvature, cost

        return equations

    def _train(self, y: Floats, starts: list[tuple[Floats, float]]) -> tuple[Floats, float]:
        equations = self._equations(y)
        start, equation = min(((s, equations(*s)) for s in starts), key=lambda pair: pair[1][3])
        beta, bias, residual = self._root_of(equations, start, equation, scale=1.0)
        if residual > _ROUNDING:
            self.counts.fallbacks += 1
            nothing = np.zeros(len(y)), 0.0
            beta, bias, _ = self._root_of(equations, nothing, equations(*nothing), scale=1.0)
        return beta, bias

    def _adjoint(self, fitted: Retrained, right: Floats, total: float) -> tuple[Floats, float]:
        z = self._curvature(fitted)
        wanted = z * right

        def equations(p: Floats, t: float) -> Equation:
            rest, gap = wanted - z * (self.gram.product(p) + t) - self.penalty * p, total - float(p.sum())
            return rest, gap, z, _size(rest, gap)

        scale = max(float(np.abs(wanted).max()), abs(total), np.finfo(float).tiny)
        start: Equation = (wanted, total, z, _size(wanted, total))
        nothing = np.zeros(len(right)), 0.0
        p, _, residual = self._root_of(equations, nothing, start, scale=scale, tolerance=_ADJOINT_TOLERANCE)
        return p, residual

    def _placed(self, fitted: Retrained) -> None:
        """An exact factor grows by a row; any other is made anew, for all trials of the next point."""
        column = self.gram.train[-1]
        z = self._curvature(fitted)
        if not np.array_equal(z[:-1], self._z):
            self._factorise(z, single=True)
            return
        root = np.sqrt(np.maximum(z, _FLOOR))
        factor = self._factor.append(root[:-1] * column[:-1] * root[-1], self.penalty + root[-1] ** 2 * column[-1])
        self._set(z, root, factor)


@dataclass(frozen=True)
class _Border:
    """Where the moving point was; its kernel values with the fixed points, scaled, and A^-1 times them.

    own, mixed: what is left of its kernel value with itself, and of the bias's column, once the fixed points are eliminated.
    """

    moved: Moved
    right: Floats
    solved: Floats
    own: float
    mixed: float


class RidgeRetraining(SmoothRetraining):
    """l = (y - f)^2 / 2."""

    loss_name = "squared"

    def _train(self, y: Floats, starts: list[tuple[Floats, float]]) -> tuple[Floats, float]:
        """One step from the solution without the moving point, where only its own condition is unmet."""
        beta, bias = self._fixed
        rest = np.zeros(len(y))
        rest[-1] = y[-1] - float(self.gram.train[-1] @ beta) - bias
        start: Equation = (rest, 0.0, np.ones(len(y)), np.inf)
        return self._root_of(self._equations(y), self._fixed, start, scale=1.0)[:2]

    def _derivatives(self, f: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
        return (y - f) ** 2 / 2, f - y, np.ones(len(f))

    def _curvature(self, fitted: Retrained) -> Floats:
        return np.ones(len(fitted.beta))


class LogisticRetraining(SmoothRetraining):
    """l = log(1 + exp(-y f))."""

    loss_name = "logistic"

    def _derivatives(self, f: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
        margin = y * f
        small = np.exp(-np.abs(margin))  # one exponential for all three, that never overflows
        right = 1 / (1 + small)
        wrong = np.where(margin > 0, small * right, right)
        return np.log1p(small) - np.minimum(margin, 0.0), -y * wrong, small * right * right


def _size(rest: Floats, total: float) -> float:
    return max(float(np.abs(rest).max()), abs(total))
