"""Retraining of SVMs from the last solution: an exact active-set dual on the Gram matrix, libsvm as fallback.

When one training point moves a little, the partition into margin, bound and inactive points usually stays: then one
linear solve is the check and the solution. Where it changes, a few more follow (see ``optim.active_set``). The start, and
any case in which those solves do not reach the optimality conditions, is libsvm on the same Gram matrix at ``TOLERANCE``.
"""

from __future__ import annotations

import logging
import warnings

import numpy as np

from transfer_exp.learners.base import MAX_ITER
from transfer_exp.learners.gram import Gram
from transfer_exp.learners.retraining import Retrained, Retraining, Solution
from transfer_exp.optim.active_set import extremes, solve_dual
from transfer_exp.optim.implicit import SaddleSolver
from transfer_exp.types import Floats, Ints

_log = logging.getLogger(__name__)

TOLERANCE = 1e-9
"""Largest violation of an optimality condition, in units of the score."""

_MAX_SOLVES = 200
_SNAP = 1e-9  # libsvm's coefficients this close to a bound, relative to C, are at it


class SVMRetraining(Retraining):
    """Soft-margin SVM with any kernel: min |w|^2 / 2 + C sum_i hinge(y_i f_i)."""

    loss_name = "hinge"

    def __init__(self, gram: Gram, y: Ints, y_val: Ints, *, C: float) -> None:
        super().__init__(gram, y, y_val)
        self.C = C
        self._solver = SaddleSolver()
        n = len(y)
        self._fixed = self._libsvm(self.gram.train[:n, :n], self.y).extended()

    def _bounds(self, y: Floats) -> tuple[Floats, Floats]:
        return np.minimum(y * self.C, 0.0), np.maximum(y * self.C, 0.0)

    def _libsvm(self, K: Floats, y: Floats) -> Solution:
        from sklearn.exceptions import ConvergenceWarning  # here: see ``learners``
        from sklearn.svm import SVC

        svc = SVC(kernel="precomputed", C=self.C, tol=TOLERANCE, cache_size=1000, max_iter=MAX_ITER)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # told below, with what to do
            svc.fit(K, y)
        if svc.fit_status_:
            _log.warning("SVM: the fit of %d points stopped before it converged; scale X in the file", len(y))
        beta = np.zeros(len(y))
        beta[svc.support_] = svc.dual_coef_[0]
        lower, upper = self._bounds(y)
        for bound in (lower, upper):
            beta = np.where(np.abs(beta - bound) <= _SNAP * self.C, bound, beta)
        return Solution(beta, float(svc.intercept_[0]), K @ beta)

    def _train(self, y: Floats, starts: list[Solution]) -> Solution:
        K = self.gram.train
        lower, upper = self._bounds(y)
        nearest = min(starts, key=lambda start: float(start.beta @ start.product / 2 - y @ start.beta)).beta
        dual = solve_dual(self._solver, K, y, lower, upper, nearest.copy(), tolerance=TOLERANCE, max_solves=_MAX_SOLVES)
        self.counts.factorisations = self._solver.n_factorisations
        self.counts.solves += dual.n_solves
        if dual.converged:
            return Solution(dual.beta, dual.bias, dual.slope + y)
        self.counts.fallbacks += 1
        return self._libsvm(K, y)

    def _adjoint(self, fitted: Retrained, right: Floats, total: float) -> tuple[Floats, float]:
        lower, upper = self._bounds(np.append(self.y, fitted.label))
        free = (fitted.beta > lower) & (fitted.beta < upper)
        K = self.gram.train
        if not free.any():  # b is halfway between the two points that bound it: each carries half of its change
            p: Floats = np.zeros(len(right))
            slope = fitted.product - np.append(self.y, fitted.label)
            for row in extremes(slope, fitted.beta, lower):
                p[row] += total / 2
            return p, 0.0
        self._solver.begin(K)
        p, t = self._solver.solve(free, right, total)
        rest = np.abs(K @ p + t - right)[free].max() / max(np.abs(right[free]).max(), np.finfo(float).tiny)
        return p, float(rest)

    def _placed(self, fitted: Retrained) -> None:
        """Nothing to grow."""
