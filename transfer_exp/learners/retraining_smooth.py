"""Retraining of ridge and logistic regression: Newton steps in the coefficients, warm-started, on one factorisation.

Unknowns beta ``(n + 1,)`` and b, f = K beta + b; stationarity (see ``retraining`` and ``linear``)

    lambda beta_i + l'(f_i) = 0,   1^T beta = 0;    Jacobian [lambda + Z K, Z 1; 1^T, 0],  Z = diag l''(f).

The Newton steps are those of ``retraining_factor``. Ridge has z = 1, so the factor stays exact, grows by a row for each
point placed, and one step is the solution. For logistic regression the factor of an earlier z, in single precision, is kept
as long as its corrections pay, and made anew where they do not, in double precision where that alone is missing; residuals
are always those of the true equations.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, TypeAlias

import numpy as np

from transfer_exp.learners.gram import Gram
from transfer_exp.learners.retraining import Retrained, Retraining, Solution
from transfer_exp.learners.retraining_factor import SLOW, NewtonFactor, largest
from transfer_exp.types import Floats, Ints

Equation: TypeAlias = tuple[Floats, float, Floats, float]
"""What is missing from both stationarity conditions, z ``(n + 1,)``, a merit to lower."""
Equations: TypeAlias = Callable[[Solution], Equation]

_TOLERANCE = 1e-10  # of the stationarity conditions, in units of l'
_ADJOINT_TOLERANCE = 1e-9  # relative; no step is longer for a better gradient
_ACCEPTED = 1e-8  # residual of a solution that rounding keeps from the tolerance
_NEAR = 1e-2  # residual from which on steps are judged by it
_LOOSE = 0.1  # share of a residual that a Newton step may leave
_SINGLE = 1e-5  # share of a residual that a step by factors in single precision leaves at best
_MAX_STEPS = 200
_LARGEST = 700.0  # whose exponential is still finite
_SHORT = 0.02  # share of a step below which it is rounding that holds up a residual close to the root


class SmoothRetraining(Retraining):
    """A loss with two derivatives, and lambda |w|^2 / 2."""

    _single: ClassVar[bool]
    """Whether factors are of single precision, unless that turns out to be too coarse."""

    def __init__(self, gram: Gram, y: Ints, y_val: Ints, *, penalty: float) -> None:
        super().__init__(gram, y, y_val)
        self.penalty = penalty
        z = self._derivatives(np.zeros(len(y)), self.y)[2]
        self._factor = NewtonFactor(gram, z, penalty=penalty, single=self._single, counts=self.counts)

    @abstractmethod
    def _derivatives(self, f: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
        """l(f), l'(f) and l''(f), ``(n,)``."""

    def _curvature(self, fitted: Retrained) -> Floats:
        """l''(f) of the training points, ``(n + 1,)``."""
        return self._derivatives(fitted.product + fitted.bias, np.append(self.y, fitted.label))[2]

    def _loss(self, scores: Floats) -> float:
        return float(self._derivatives(scores, self.y_val)[0].sum()) / len(scores)

    def _slope(self, scores: Floats) -> Floats:
        return self._derivatives(scores, self.y_val)[1] / len(scores)

    def _solve(
        self,
        equations: Equations,
        start: Solution,
        equation: Equation,
        *,
        tolerance: float = _TOLERANCE,
        near: float = _NEAR,
        loose: float = _LOOSE,
    ) -> tuple[Solution, float]:
        """The root of ``equations``, which give ``equation`` at ``start``, and its residual, by Newton steps.

        Further than ``near`` from the root a step must lower the merit, closer the residual: there the merit's change is
        lost in rounding.
        """
        found, (rest, total, z, merit) = start, equation
        size, length = largest(rest, total), 1.0
        for _ in range(_MAX_STEPS):
            if size <= tolerance:
                break
            self.counts.solves += 1
            left = max(tolerance / 2, size * min(size, loose))
            step, lift, good = self._factor.step(rest, total, z, size, left)
            if not good:
                self.counts.solves += 1
                self._factor.make(z[:-1], single=self._factor.single)
                step, lift = self._factor.correct(rest, total, float(z[-1]))
            beta = found.beta + length * step
            new = Solution(beta, found.bias + length * lift, self.gram.product(beta))
            equation = equations(new)
            new_size, coarse = largest(*equation[:2]), False
            if new_size > SLOW * size and self._factor.single:  # how well is the linear system solved? K step is known now
                change = (new.product - found.product) / length + lift
                unsolved = largest(rest - self.penalty * step - z * change, total - float(step.sum()))
                coarse = unsolved > SLOW * size
            if new_size < size if size <= near else equation[3] < merit:
                found, size, length = new, new_size, 1.0
                rest, total, z, merit = equation
            elif not coarse:
                length /= 2
                if size <= near and length < _SHORT:
                    break
            if coarse:
                self._factor.make(z[:-1], single=False)
        return found, size

    def _equations(self, y: Floats) -> Equations:
        def equations(at: Solution) -> Equation:
            loss, slope, curvature = self._derivatives(at.product + at.bias, y)
            cost = self.penalty / 2 * float(at.beta @ at.product) + float(loss.sum())
            return -slope - self.penalty * at.beta, -float(at.beta.sum()), curvature, cost

        return equations

    def _train(self, y: Floats, starts: list[Solution]) -> Solution:
        equations = self._equations(y)
        tried = []
        for start in starts:
            tried.append((start, equations(start)))
            if largest(*tried[-1][1][:2]) <= _NEAR:
                break
        start, equation = min(tried, key=lambda pair: pair[1][3])
        found, residual = self._solve(equations, start, equation)
        if residual > _ACCEPTED:
            self.counts.fallbacks += 1
            nothing = Solution.zero(len(y))
            equation = equations(nothing)
            self._factor.make(equation[2][:-1], single=False)
            again, new_residual = self._solve(equations, nothing, equation)
            if new_residual < residual:
                found = again
        return found

    def _adjoint(self, fitted: Retrained, right: Floats, total: float) -> tuple[Floats, float]:
        z = self._curvature(fitted)
        scale = max(largest(z * right, total), np.finfo(float).tiny)
        wanted, wanted_sum = z * right / scale, total / scale

        def equations(p: Solution) -> Equation:
            return wanted - z * (p.product + p.bias) - self.penalty * p.beta, wanted_sum - float(p.beta.sum()), z, np.nan

        start: Equation = (wanted, wanted_sum, z, np.nan)
        p, residual = self._solve(
            equations, Solution.zero(len(z)), start, tolerance=_ADJOINT_TOLERANCE, near=np.inf, loose=_SINGLE
        )
        return scale * p.beta, residual

    def _placed(self, fitted: Retrained) -> None:
        """An exact factor grows by a row; any other is made anew, for all trials of the next point."""
        z = self._curvature(fitted)
        if not self._factor.grow(z):
            self._factor.make(z, single=self._single)


class RidgeRetraining(SmoothRetraining):
    """l = (y - f)^2 / 2."""

    loss_name = "squared"
    _single = False

    def _train(self, y: Floats, starts: list[Solution]) -> Solution:
        """One step from the solution without the moving point, where only its own condition is unmet.

        Before a point is placed that solution is not known, what is unmet is taken wrongly, and it is two.
        """
        fixed = starts[-1]
        rest = np.zeros(len(y))
        rest[-1] = y[-1] - fixed.product[-1] - fixed.bias
        return self._solve(self._equations(y), fixed, (rest, 0.0, np.ones(len(y)), np.inf))[0]

    def _derivatives(self, f: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
        return (y - f) ** 2 / 2, f - y, np.ones(len(f))

    def _curvature(self, fitted: Retrained) -> Floats:
        return np.ones(len(fitted.beta))


class LogisticRetraining(SmoothRetraining):
    """l = log(1 + exp(-y f))."""

    loss_name = "logistic"
    _single = True

    def _derivatives(self, f: Floats, y: Floats) -> tuple[Floats, Floats, Floats]:
        margin = y * f
        odds = np.exp(np.minimum(-margin, _LARGEST))  # of being wrong
        right = 1 / (1 + odds)
        wrong = odds * right
        return np.log1p(odds) - np.minimum(margin + _LARGEST, 0.0), -y * wrong, right * wrong
