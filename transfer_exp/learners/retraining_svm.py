"""Retraining of SVMs from the last solution: an exact active-set dual on the Gram matrix, libsvm as fallback.

    start from the best of the last solution and the one without the moving point
    solve the dual by active sets        (``optim.active_set``: one linear solve where the support vectors stay)
    where that does not converge:        libsvm, from scratch, on the same Gram matrix

When one training point moves a little, the partition into margin, bound and inactive points usually stays: then one linear
solve gives the solution and proves it optimal. The first fit is libsvm's, too. Symbols: see ``retraining``.
"""

from __future__ import annotations

import logging
import warnings

import numpy as np
import torch

from transfer_exp.learners.gram import Gram
from transfer_exp.learners.retraining import Retrained, Solution, TwoClassRetraining
from transfer_exp.learners.svm import MAX_ITER
from transfer_exp.optim.active_set import points_bounding_bias, solve_dual
from transfer_exp.optim.implicit import SaddleSolver
from transfer_exp.types import Floats, Ints

_log = logging.getLogger(__name__)

TOLERANCE = 1e-9
"""Largest violation of an optimality condition, in units of the score."""

_MAX_SOLVES = 200
_AT_BOUND = 1e-9  # libsvm's coefficients this close to a bound, relative to C, are at it


class SVMRetraining(TwoClassRetraining):
    """Soft-margin SVM with any kernel: min |w|^2 / 2 + C sum_i max(0, 1 - s_i f_i)."""

    def __init__(self, gram: Gram, y: Ints, y_val: Ints, *, C: float) -> None:
        super().__init__(gram, y, y_val)
        self.C = C
        self._solver = SaddleSolver()
        n = len(y)
        self._fixed = self._fit_libsvm(self.gram.train[:n, :n], self.signs).extended()

    def _loss(self, scores: Floats) -> float:
        # Summed as torch does: numpy adds in another order, and an attack may end elsewhere for the last digit of J.
        return float(torch.from_numpy(np.maximum(1 - self.signs_val * scores, 0.0)).mean())

    def _slope(self, scores: Floats) -> Floats:
        return np.where(self.signs_val * scores <= 1, -self.signs_val, 0.0) / len(scores)

    def _bounds(self, signs: Floats) -> tuple[Floats, Floats]:
        """Least and largest beta of points with these signs."""
        return np.minimum(signs * self.C, 0.0), np.maximum(signs * self.C, 0.0)

    def _fit_libsvm(self, K: Floats, signs: Floats) -> Solution:
        """A fit from scratch, on the kernel values ``(m, m)`` and signs ``(m,)`` of m points."""
        from sklearn.exceptions import ConvergenceWarning  # here: see ``learners``
        from sklearn.svm import SVC

        svc = SVC(kernel="precomputed", C=self.C, tol=TOLERANCE, cache_size=1000, max_iter=MAX_ITER, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # told below, with what to do
            svc.fit(K, signs)
        if svc.fit_status_:
            _log.warning("SVM: the fit of %d points stopped before it converged; scale X in the file", len(signs))
        beta = np.zeros(len(signs))
        beta[svc.support_] = svc.dual_coef_[0]
        lower, upper = self._bounds(signs)
        for bound in (lower, upper):
            beta = np.where(np.abs(beta - bound) <= _AT_BOUND * self.C, bound, beta)
        return Solution(beta, float(svc.intercept_[0]), K @ beta)

    def _train(self, signs: Floats, starts: list[Solution]) -> Solution:
        K = self.gram.train
        lower, upper = self._bounds(signs)
        start = min(starts, key=lambda one: float(one.beta @ one.product / 2 - signs @ one.beta)).beta.copy()
        dual = solve_dual(self._solver, K, signs, lower, upper, start, tolerance=TOLERANCE, max_solves=_MAX_SOLVES)
        self.counts.factorisations = self._solver.n_factorisations
        self.counts.solves += dual.n_solves
        if dual.converged:
            return Solution(dual.beta, dual.bias, dual.gradient + signs)
        self.counts.fallbacks += 1
        return self._fit_libsvm(K, signs)

    def _adjoint(self, fitted: Retrained, rhs: Floats, rhs_sum: float) -> tuple[Floats, float]:
        signs = self.all_signs(fitted.label)
        lower, upper = self._bounds(signs)
        free = (fitted.beta > lower) & (fitted.beta < upper)
        K = self.gram.train
        if not free.any():  # b is halfway between the two points that bound it: each carries half of its change
            p: Floats = np.zeros(len(rhs))
            for row in points_bounding_bias(fitted.product - signs, fitted.beta, lower):
                p[row] += rhs_sum / 2
            return p, 0.0
        self._solver.set_matrix(K)
        p, t = self._solver.solve(free, rhs, rhs_sum)
        residual = np.abs(K @ p + t - rhs)[free].max() / max(np.abs(rhs[free]).max(), np.finfo(float).tiny)
        return p, float(residual)

    def before_place(self, fitted: Retrained) -> None:
        """Nothing to do."""
