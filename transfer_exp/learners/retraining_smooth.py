"""Retraining of ridge and logistic regression: Newton steps in the coefficients, warm-started, on one factorisation.

Unknowns beta ``(n + 1,)`` and b, f = K beta + b. Conditions of stationarity and their Jacobian (symbols: see ``retraining``)

    lambda beta_i + l'(f_i) = 0,   1^T beta = 0;    [lambda I + Z K, Z 1; 1^T, 0],  Z = diag l''(f).

The Newton steps are those of ``retraining_factor``. Ridge has z = 1, so the factor stays exact, grows by a row for each
point placed, and one step is the solution. For logistic regression the factor of an earlier z, in single precision, is kept
as long as corrections with it converge quickly, and made anew where they do not, in double precision where single precision
is the reason; residuals are always those of the true equations.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, TypeAlias

import numpy as np

from transfer_exp.learners.gram import Gram
from transfer_exp.learners.retraining import Retrained, Retraining, Solution
from transfer_exp.learners.retraining_factor import SLOW, NewtonFactor, largest
from transfer_exp.types import Floats, Ints


@dataclass(frozen=True)
class Equation:
    """Residuals r ``(n + 1,)`` and r_sum, z ``(n + 1,)``, and the cost that a step far from the root must lower."""

    residual: Floats
    residual_sum: float
    z: Floats
    cost: float

    @cached_property
    def size(self) -> float:
        """The largest residual."""
        return largest(self.residual, self.residual_sum)


Equations: TypeAlias = Callable[[Solution], Equation]

_TOLERANCE = 1e-10  # of the stationarity conditions, in units of l'
_ADJOINT_TOLERANCE = 1e-9  # relative; more exact gradients make no ascent longer
_ACCEPTED = 1e-8  # residual of a solution that rounding keeps from the tolerance
_NEAR = 1e-2  # residual below which a step must lower the residual, no longer the cost
_LOOSE = 0.1  # share of the residual that a Newton step may leave
_SINGLE = 1e-5  # share of the residual that a step with a factor in single precision leaves at best
_MAX_STEPS = 200
_LARGEST = 700.0  # whose exponential is still finite
_SHORT = 0.02  # step length below which rounding is what keeps a small residual from falling


class SmoothRetraining(Retraining):
    """A loss with two derivatives, and lambda |w|^2 / 2."""

    _single: ClassVar[bool]
    """Whether factors are of single precision, unless that turns out to be too coarse."""

    def __init__(self, gram: Gram, y: Ints, y_val: Ints, *, penalty: float) -> None:
        super().__init__(gram, y, y_val)
        self.penalty = penalty
        z = self._derivatives(np.zeros(len(y)), self.signs)[2]
        self._factor = NewtonFactor(gram, z, penalty=penalty, single=self._single, counts=self.counts)

    @abstractmethod
    def _derivatives(self, f: Floats, signs: Floats) -> tuple[Floats, Floats, Floats]:
        """l, l' and l'' at scores and signs ``(n,)``."""

    def _curvature(self, fitted: Retrained) -> Floats:
        """z of the training points, ``(n + 1,)``."""
        return self._derivatives(fitted.product + fitted.bias, self.all_signs(fitted.label))[2]

    def _loss(self, scores: Floats) -> float:
        return float(self._derivatives(scores, self.signs_val)[0].sum()) / len(scores)

    def _slope(self, scores: Floats) -> Floats:
        return self._derivatives(scores, self.signs_val)[1] / len(scores)

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

        Where the residual is above ``near`` a step must lower the cost, below it the residual: there the cost's change is
        lost in rounding.
        """
        current, length = start, 1.0
        for _ in range(_MAX_STEPS):
            if equation.size <= tolerance:
                break
            step, bias_step = self._step(equation, tolerance=tolerance, loose=loose)
            beta = current.beta + length * step
            new = Solution(beta, current.bias + length * bias_step, self.gram.product(beta))
            new_equation, coarse = equations(new), False
            if new_equation.size > SLOW * equation.size and self._factor.single:
                # K step is known now: is the linear system solved no better because the factor is too coarse?
                change = (new.product - current.product) / length + bias_step
                left = equation.residual - self.penalty * step - equation.z * change
                coarse = largest(left, equation.residual_sum - float(step.sum())) > SLOW * equation.size
            if self._is_better(new_equation, equation, near):
                current, equation, length = new, new_equation, 1.0
            elif not coarse:
                length /= 2
                if equation.size <= near and length < _SHORT:
                    break
            if coarse:
                self._factor.make(equation.z[:-1], single=False)
        return current, equation.size

    def _step(self, equation: Equation, *, tolerance: float, loose: float) -> tuple[Floats, float]:
        """The Newton step in beta ``(n + 1,)`` and b, on the kept factor, or on a new one where that converges slowly."""
        residual, residual_sum, z = equation.residual, equation.residual_sum, equation.z
        self.counts.solves += 1
        wanted = max(tolerance / 2, equation.size * min(equation.size, loose))
        step, bias_step, converged = self._factor.step(residual, residual_sum, z, equation.size, wanted)
        if converged:
            return step, bias_step
        self.counts.solves += 1
        self._factor.make(z[:-1], single=self._factor.single)
        return self._factor.correct(residual, residual_sum, float(z[-1]))

    @staticmethod
    def _is_better(new: Equation, old: Equation, near: float) -> bool:
        return new.size < old.size if old.size <= near else new.cost < old.cost

    def _equations(self, signs: Floats) -> Equations:
        def equations(at: Solution) -> Equation:
            loss, slope, z = self._derivatives(at.product + at.bias, signs)
            cost = self.penalty / 2 * float(at.beta @ at.product) + float(loss.sum())
            return Equation(-slope - self.penalty * at.beta, -float(at.beta.sum()), z, cost)

        return equations

    def _train(self, signs: Floats, starts: list[Solution]) -> Solution:
        equations = self._equations(signs)
        tried = []
        for start in starts:
            tried.append((start, equations(start)))
            if tried[-1][1].size <= _NEAR:
                break
        start, equation = min(tried, key=lambda pair: pair[1].cost)
        solution, residual = self._solve(equations, start, equation)
        if residual > _ACCEPTED:
            self.counts.fallbacks += 1
            scratch = Solution.zero(len(signs))
            equation = equations(scratch)
            self._factor.make(equation.z[:-1], single=False)
            again, new_residual = self._solve(equations, scratch, equation)
            if new_residual < residual:
                solution = again
        return solution

    def _adjoint(self, fitted: Retrained, rhs: Floats, rhs_sum: float) -> tuple[Floats, float]:
        z = self._curvature(fitted)
        scale = max(largest(z * rhs, rhs_sum), np.finfo(float).tiny)
        scaled, scaled_sum = z * rhs / scale, rhs_sum / scale

        def equations(p: Solution) -> Equation:
            residual = scaled - z * (p.product + p.bias) - self.penalty * p.beta
            return Equation(residual, scaled_sum - float(p.beta.sum()), z, np.nan)

        start = Equation(scaled, scaled_sum, z, np.nan)
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
    """l = (s - f)^2 / 2."""

    _single = False

    def _train(self, signs: Floats, starts: list[Solution]) -> Solution:
        """One step from the solution without the moving point, of which only that point's own condition is not met.

        Before the first point is placed there is no such solution, the start's residual is wrong, and it takes two steps.
        """
        start = starts[-1]
        residual = np.zeros(len(signs))
        residual[-1] = signs[-1] - start.product[-1] - start.bias
        return self._solve(self._equations(signs), start, Equation(residual, 0.0, np.ones(len(signs)), np.inf))[0]

    def _derivatives(self, f: Floats, signs: Floats) -> tuple[Floats, Floats, Floats]:
        return (signs - f) ** 2 / 2, f - signs, np.ones(len(f))

    def _curvature(self, fitted: Retrained) -> Floats:
        return np.ones(len(fitted.beta))


class LogisticRetraining(SmoothRetraining):
    """l = log(1 + exp(-s f))."""

    _single = True

    def _derivatives(self, f: Floats, signs: Floats) -> tuple[Floats, Floats, Floats]:
        margin = signs * f
        odds = np.exp(np.minimum(-margin, _LARGEST))  # of being wrong
        right = 1 / (1 + odds)
        wrong = odds * right
        return np.log1p(odds) - np.minimum(margin + _LARGEST, 0.0), -signs * wrong, right * wrong
