"""Retraining of ridge and logistic regression: Newton steps in the coefficients, warm-started, on one factorisation.

Unknowns beta ``(n + 1,)`` and b, f = K beta + b. Conditions of stationarity and their Jacobian (symbols: see ``retraining``)

    lambda beta_i + l'(f_i) = 0,   1^T beta = 0;    [lambda I + Z K, Z 1; 1^T, 0],  Z = diag l''(f).

    until the largest residual is small:
        (u, v) = Newton step on the kept factor, or on a new one where that converges slowly     (``retraining_factor``)
        (beta, b) <- (beta + t u, b + t v)     if that lowers the cost or, near the root, the residual
        t <- t / 2                             else
        new factor in double precision         where one in single precision is too coarse

Ridge has z = 1, so the factor stays exact, grows by a row for each point placed, and one step is the solution. For logistic
regression the factor of an earlier z, in single precision, is kept as long as corrections with it converge quickly;
residuals are always those of the true equations.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, TypeAlias

import numpy as np

from transfer_exp.learners.gram import Gram
from transfer_exp.learners.retraining import Retrained, Solution, TwoClassRetraining
from transfer_exp.learners.retraining_factor import SLOW, NewtonFactor, max_abs
from transfer_exp.types import Floats, Ints


@dataclass(frozen=True)
class Conditions:
    """The conditions at a solution: residuals r ``(n + 1,)`` and r_sum, z ``(n + 1,)``, cost.

    cost: what a step far from the root must lower.
    """

    residual: Floats
    residual_sum: float
    z: Floats
    cost: float

    @cached_property
    def size(self) -> float:
        """The largest residual."""
        return max_abs(self.residual, self.residual_sum)


ConditionsAt: TypeAlias = Callable[[Solution], Conditions]

_TOLERANCE = 1e-10  # of the stationarity conditions, in units of l'
_ADJOINT_TOLERANCE = 1e-9  # relative; more exact gradients make no ascent longer
_ACCEPTED = 1e-8  # residual of a solution that rounding keeps from the tolerance
_NEAR = 1e-2  # residual below which a step must lower the residual, no longer the cost
_FORCING = 0.1  # share of the residual that a Newton step may leave
_ADJOINT_FORCING = 1e-5  # the least that a step with a factor in single precision leaves
_MAX_STEPS = 200
_LARGEST_EXPONENT = 700.0  # whose exponential is still finite
_SHORTEST = 0.02  # step length below which rounding is what keeps a small residual from falling


class SmoothRetraining(TwoClassRetraining):
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
        conditions_at: ConditionsAt,
        start: Solution,
        conditions: Conditions,
        *,
        tolerance: float = _TOLERANCE,
        near: float = _NEAR,
        forcing: float = _FORCING,
    ) -> tuple[Solution, float]:
        """The solution that meets the conditions, which are ``conditions`` at ``start``, and its largest residual.

        Where the residual is above ``near`` a step must lower the cost, below it the residual: there the cost's change is
        lost in rounding.
        """
        current, length = start, 1.0
        for _ in range(_MAX_STEPS):
            if conditions.size <= tolerance:
                break
            step, bias_step = self._newton_step(conditions, tolerance=tolerance, forcing=forcing)
            beta = current.beta + length * step
            new = Solution(beta, current.bias + length * bias_step, self.gram.product(beta))
            new_conditions, too_coarse = conditions_at(new), False
            if new_conditions.size > SLOW * conditions.size and self._factor.single:
                # K step is known now: is the linear system solved no better because the factor is too coarse?
                score_step = (new.product - current.product) / length + bias_step
                unsolved = conditions.residual - self.penalty * step - conditions.z * score_step
                unsolved_sum = conditions.residual_sum - float(step.sum())
                too_coarse = max_abs(unsolved, unsolved_sum) > SLOW * conditions.size
            if self._is_better(new_conditions, conditions, near):
                current, conditions, length = new, new_conditions, 1.0
            elif not too_coarse:
                length /= 2
                if conditions.size <= near and length < _SHORTEST:
                    break
            if too_coarse:
                self._factor.refactorise(conditions.z[:-1], single=False)
        return current, conditions.size

    def _newton_step(self, conditions: Conditions, *, tolerance: float, forcing: float) -> tuple[Floats, float]:
        """The Newton step in beta ``(n + 1,)`` and b, on the kept factor, or on a new one where that converges slowly."""
        rhs, rhs_sum, z, size = conditions.residual, conditions.residual_sum, conditions.z, conditions.size
        self.counts.solves += 1
        allowed = max(tolerance / 2, size * min(size, forcing))
        step, bias_step, converged = self._factor.step(rhs, rhs_sum, z, size, allowed)
        if converged:
            return step, bias_step
        self.counts.solves += 1
        self._factor.refactorise(z[:-1], single=self._factor.single)
        return self._factor.solve(rhs, rhs_sum, float(z[-1]))

    @staticmethod
    def _is_better(new: Conditions, old: Conditions, near: float) -> bool:
        return new.size < old.size if old.size <= near else new.cost < old.cost

    def _stationarity(self, signs: Floats) -> ConditionsAt:
        """The conditions of training on points of these signs ``(n + 1,)``."""

        def conditions_at(solution: Solution) -> Conditions:
            loss, slope, z = self._derivatives(solution.product + solution.bias, signs)
            cost = self.penalty / 2 * float(solution.beta @ solution.product) + float(loss.sum())
            return Conditions(-slope - self.penalty * solution.beta, -float(solution.beta.sum()), z, cost)

        return conditions_at

    def _train(self, signs: Floats, starts: list[Solution]) -> Solution:
        conditions_at = self._stationarity(signs)
        tried = []
        for start in starts:
            tried.append((start, conditions_at(start)))
            if tried[-1][1].size <= _NEAR:
                break
        start, conditions = min(tried, key=lambda pair: pair[1].cost)
        solution, residual = self._solve(conditions_at, start, conditions)
        if residual > _ACCEPTED:
            self.counts.fallbacks += 1
            zero = Solution.zero(len(signs))
            conditions = conditions_at(zero)
            self._factor.refactorise(conditions.z[:-1], single=False)
            from_zero, residual_from_zero = self._solve(conditions_at, zero, conditions)
            if residual_from_zero < residual:
                solution = from_zero
        return solution

    def _adjoint(self, fitted: Retrained, rhs: Floats, rhs_sum: float) -> tuple[Floats, float]:
        z = self._curvature(fitted)
        scale = max(max_abs(z * rhs, rhs_sum), np.finfo(float).tiny)
        scaled, scaled_sum = z * rhs / scale, rhs_sum / scale

        def conditions_at(p: Solution) -> Conditions:
            residual = scaled - z * (p.product + p.bias) - self.penalty * p.beta
            return Conditions(residual, scaled_sum - float(p.beta.sum()), z, np.nan)

        zero, at_zero = Solution.zero(len(z)), Conditions(scaled, scaled_sum, z, np.nan)
        p, residual = self._solve(
            conditions_at, zero, at_zero, tolerance=_ADJOINT_TOLERANCE, near=np.inf, forcing=_ADJOINT_FORCING
        )
        return scale * p.beta, residual

    def before_place(self, fitted: Retrained) -> None:
        """An exact factor grows by a row; any other is made anew, for all trials of the next point."""
        z = self._curvature(fitted)
        if not self._factor.append(z):
            self._factor.refactorise(z, single=self._single)


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
        at_start = Conditions(residual, 0.0, np.ones(len(signs)), np.inf)
        return self._solve(self._stationarity(signs), start, at_start)[0]

    def _derivatives(self, f: Floats, signs: Floats) -> tuple[Floats, Floats, Floats]:
        return (signs - f) ** 2 / 2, f - signs, np.ones(len(f))

    def _curvature(self, fitted: Retrained) -> Floats:
        return np.ones(len(fitted.beta))


class LogisticRetraining(SmoothRetraining):
    """l = log(1 + exp(-s f))."""

    _single = True

    def _derivatives(self, f: Floats, signs: Floats) -> tuple[Floats, Floats, Floats]:
        margin = signs * f
        odds = np.exp(np.minimum(-margin, _LARGEST_EXPONENT))  # of the other class
        p_own = 1 / (1 + odds)
        p_other = odds * p_own
        return np.log1p(odds) - np.minimum(margin + _LARGEST_EXPONENT, 0.0), -signs * p_other, p_own * p_other
