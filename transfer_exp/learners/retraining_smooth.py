"""Retraining of ridge and logistic regression: Newton steps in the coefficients, warm-started, on one factorisation.

Unknowns beta ``(n + 1,)`` and b, f = K beta + b; stationarity (see ``retraining`` and ``linear``)

    lambda beta_i + l'(f_i) = 0,   1^T beta = 0;    Jacobian [lambda + Z K, Z 1; 1^T, 0],  Z = diag l''(f).

With s = sqrt(z) and beta = s gamma it is [lambda I + s K s, s; s^T, 0]: one Cholesky factor of the *fixed* points' block,
the moving point and b in a border of width two. Ridge has z = 1, so the factor stays exact, grows by a row for each
point placed, and one step is the solution. For logistic regression the factor of an earlier z is kept as long as it
contracts the residual by ``_SLOW``, and made anew where it does not; residuals are always those of the true equations.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import numpy as np
from scipy.special import expit

from transfer_exp.learners.gram import Gram
from transfer_exp.learners.retraining import Retrained, Retraining
from transfer_exp.optim.implicit import Factor, factorise, solve_bordered
from transfer_exp.types import Floats, Ints

Equations = Callable[[Floats, float], tuple[Floats, float, Floats, float]]
"""(beta ``(n + 1,)``, bias) -> what is missing from both stationarity conditions, z ``(n + 1,)``, a merit to lower."""

_SLOW = 0.1
_KEPT = 12  # places of the moving point whose border is remembered
_NOTHING = 1e-12  # a share of the largest residual
_TOLERANCE = 1e-11  # of the stationarity conditions, in units of l'
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
        self._factorise(self._derivatives(np.zeros(len(y)), self.y)[2])

    @abstractmethod
    def _derivatives(self, f: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
        """l(f), l'(f) and l''(f), ``(n,)``."""

    def _factorise(self, z: Floats) -> None:
        self.counts.factorisations += 1
        root = np.sqrt(np.maximum(z, _FLOOR))
        n = len(root)
        block = self.gram.train[:n, :n] * root
        block *= root[:, None]
        self._set(z, root, factorise(block, damping=self.penalty))

    def _set(self, z: Floats, root: Floats, factor: Factor) -> None:
        self._z, self._root, self._factor = z, root, factor
        self._solved_root = factor.solve(root)
        self._columns: list[tuple[Floats, Floats]] = []

    def _border(self, z_c: float) -> tuple[Floats, Floats, Floats, float]:
        """W, A^-1 W, corner and the root of the moving point's z."""
        column = self.gram.train[-1]
        solved_column = self._solve_column(column)
        s_c = float(np.sqrt(max(z_c, _FLOOR)))
        border = np.column_stack([s_c * self._root * column[:-1], self._root])
        solved = np.column_stack([s_c * solved_column, self._solved_root])
        corner = np.array([[self.penalty + s_c**2 * column[-1], s_c], [s_c, 0.0]])
        return border, solved, corner, s_c

    def _solve_column(self, column: Floats) -> Floats:
        """A^-1 times the moving point's kernel values, kept for its last few places."""
        for known, solved in self._columns:
            if np.array_equal(known, column):
                return solved
        solved = self._factor.solve(self._root * column[:-1])
        self._columns = [(column.copy(), solved), *self._columns[: _KEPT - 1]]
        return solved

    def _correction(self, rest: Floats, total: float, z_c: float) -> tuple[Floats, float]:
        """Approximate solution of [lambda + Z K, Z 1; 1^T, 0] (u, b) = (rest, total), exact while Z is the factor's."""
        border, solved, corner, s_c = self._border(z_c)
        # From the solution without the moving point only its own condition is unmet: then a solve is saved.
        rest = np.where(np.abs(rest) > _NOTHING * np.abs(rest).max(), rest, 0.0)
        right = np.array([rest[-1] / s_c, total])
        p, t = solve_bordered(self._factor, border, solved, corner, rest[:-1] / self._root, right)
        return np.append(self._root * p, s_c * t[0]), float(t[1])

    def _root_of(
        self, equations: Equations, beta: Floats, bias: float, scale: float, tolerance: float = _TOLERANCE
    ) -> tuple[Floats, float, float]:
        """The root (beta, bias) of ``equations`` and its relative residual, by (simplified) Newton steps.

        Far from the root a step must lower the merit, near it the residual: there the merit's change is lost in rounding.
        """
        rest, total, z, merit = equations(beta, bias)
        size, length = _size(rest, total), 1.0
        for _ in range(_MAX_STEPS):
            if size <= tolerance * scale:
                break
            self.counts.solves += 1
            near, exact = size <= _NEAR * scale, np.array_equal(z[:-1], self._z)
            step, lift = self._correction(rest, total, float(z[-1]))
            new, new_bias = beta + length * step, bias + length * lift
            equation = equations(new, new_bias)
            new_size = _size(*equation[:2])
            slow, rounding = new_size > _SLOW * size, size <= _ROUNDING * scale
            if new_size < size if near else equation[3] < merit:
                beta, bias, size, length = new, new_bias, new_size, 1.0
                rest, total, z, merit = equation
            elif exact:
                length /= 2
            if slow and rounding:
                break
            if slow and not exact:
                self._factorise(z[:-1])
        return beta, bias, size / scale

    def _train(self, y: Floats, beta: Floats, bias: float) -> tuple[Floats, float]:
        K = self.gram.train

        def equations(beta: Floats, bias: float) -> tuple[Floats, float, Floats, float]:
            product = K @ beta
            loss, slope, curvature = self._derivatives(product + bias, y)
            cost = self.penalty / 2 * float(beta @ product) + float(loss.sum())
            return -slope - self.penalty * beta, -float(beta.sum()), curvature, cost

        beta, bias, residual = self._root_of(equations, beta, bias, 1.0)
        if residual > _ROUNDING:
            self.counts.fallbacks += 1
            beta, bias, _ = self._root_of(equations, np.zeros(len(y)), 0.0, 1.0)
        return beta, bias

    def _cost(self, y: Floats, beta: Floats, bias: float) -> float:
        product = self.gram.train @ beta
        loss, _, _ = self._derivatives(product + bias, y)
        return self.penalty / 2 * float(beta @ product) + float(loss.sum())

    def _adjoint(self, fitted: Retrained, right: Floats, total: float) -> tuple[Floats, float]:
        K = self.gram.train
        _, _, z = self._derivatives(K @ fitted.beta + fitted.bias, np.append(self.y, fitted.label))

        def equations(p: Floats, t: float) -> tuple[Floats, float, Floats, float]:
            rest, gap = z * (right - K @ p - t) - self.penalty * p, total - float(p.sum())
            return rest, gap, z, _size(rest, gap)

        scale = max(float(np.abs(z * right).max()), abs(total), np.finfo(float).tiny)
        p, _, residual = self._root_of(equations, np.zeros(len(right)), 0.0, scale, _ADJOINT_TOLERANCE)
        return p, residual

    def _placed(self, fitted: Retrained) -> None:
        """An exact factor grows by a row; any other is made anew, for all trials of the next point."""
        column = self.gram.train[-1]
        _, _, z = self._derivatives(self.gram.train @ fitted.beta + fitted.bias, np.append(self.y, fitted.label))
        if not np.array_equal(z[:-1], self._z):
            self._factorise(z)
            return
        root = np.sqrt(np.maximum(z, _FLOOR))
        factor = self._factor.append(root[:-1] * column[:-1] * root[-1], self.penalty + root[-1] ** 2 * column[-1])
        self._set(z, root, factor)


class RidgeRetraining(SmoothRetraining):
    """l = (y - f)^2 / 2."""

    loss_name = "squared"

    def _start(self, y: Floats) -> tuple[Floats, float]:
        """Any start is one step away; from this one the step is the moving point's alone."""
        return self._fixed

    def _derivatives(self, f: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
        return (y - f) ** 2 / 2, f - y, np.ones(len(f))


class LogisticRetraining(SmoothRetraining):
    """l = log(1 + exp(-y f))."""

    loss_name = "logistic"

    def _derivatives(self, f: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
        wrong = expit(-y * f)
        return np.logaddexp(0.0, -y * f), -y * wrong, wrong * (1 - wrong)


def _size(rest: Floats, total: float) -> float:
    return max(float(np.abs(rest).max()), abs(total))
