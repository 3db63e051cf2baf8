"""Soft-margin SVMs by libsvm (dual); of K > 2 classes one against the rest, each by the same settings.

    f_k(x) = sum_i dual_ik k(x_i, x) + b_k,    dual_ik signed: positive where x_i is of class k (of class 1, for K = 2)

Up to ``GRAM_POINTS`` dense points, the kernel matrix is computed once, by one matrix product, and shared by all classes.
libsvm's own kernel values, one inner product each, take most of its time: at small C, a linear SVM on 5,900 digits takes
1.3 s of CPU with the matrix and 10 s without. libsvm keeps kernel values in single precision either way, takes the same
steps, and stops at the same solution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transfer_exp.learners.base import one_vs_rest
from transfer_exp.types import Floats, Ints, Matrix, dense

MAX_ITER = 10_000_000
"""Bound on libsvm's iterations, which may never end on unscaled features; the studies' longest fit takes 650,000."""

GRAM_POINTS = 10_000
"""Most points whose kernel matrix is held in memory: 800 MB, and libsvm's copy in single precision."""

_CACHE = 1000  # MB of libsvm's kernel values


@dataclass(frozen=True)
class Machines:
    """Rows ``(m,)`` of the support vectors, dual coefficients ``(m,)`` or ``(m, K)``, biases ``()`` or ``(K,)``."""

    rows: Ints
    dual: Floats
    bias: Floats


def fit_machines(x: Matrix, y: Ints, *, n_classes: int, C: float, tolerance: float, gamma: float | None) -> Machines:
    """Fit points ``(n, d)`` of classes ``(n,)``, with the RBF kernel of width ``gamma``, or the linear one when None."""
    from sklearn.svm import SVC  # here: see ``learners``

    kernel = "linear" if gamma is None else "rbf"
    points = x
    if isinstance(x, np.ndarray) and len(x) <= GRAM_POINTS:
        kernel, points = "precomputed", gram_matrix(x, gamma)
    targets, n = one_vs_rest(y, n_classes).reshape(len(y), -1), len(y)
    dual, bias = np.zeros((n, targets.shape[1])), np.zeros(targets.shape[1])
    order = np.zeros(0, dtype=np.int64)
    for k, target in enumerate(targets.T):
        svc = SVC(
            kernel=kernel, C=C, gamma=gamma or 1.0, tol=tolerance, max_iter=MAX_ITER, cache_size=_CACHE, random_state=0
        )  # without random_state it would draw a number, of no effect here, from the global generator
        svc.fit(points, target)
        order = svc.support_.astype(np.int64)
        dual[order, k], bias[k] = dense(svc.dual_coef_)[0], svc.intercept_[0]
    if n_classes == 2:
        return Machines(order, dual[order, 0], bias[0])
    rows = np.flatnonzero(dual.any(axis=1))
    return Machines(rows, dual[rows], bias)


def gram_matrix(x: Floats, gamma: float | None) -> Floats:
    """Kernel values ``(n, n)`` of points ``(n, d)``: x . u, or exp(-gamma |x - u|^2) where gamma is given."""
    gram: Floats = x @ x.T
    if gamma is not None:
        square = gamma * gram.diagonal()
        gram *= 2 * gamma
        gram -= square
        gram -= square[:, None]
        np.exp(gram, out=gram)
    return gram
