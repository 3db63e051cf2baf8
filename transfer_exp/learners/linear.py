"""Linear learners: f(x) = w . x + b. scikit-learn fits; b is never penalised.

LinearSVM   min  |w|^2 / 2 + C sum_i hinge(y_i f_i)
Logistic    min  |w|^2 / 2 + C sum_i logistic(y_i f_i)
Ridge       min  alpha |w|^2 / 2 + sum_i (y_i - f_i)^2 / 2
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from transfer_exp.learners.base import MAX_ITER, Learner, Model, require_positive
from transfer_exp.learners.gram import LinearGram
from transfer_exp.learners.retraining import Retraining
from transfer_exp.learners.retraining_smooth import LogisticRetraining, RidgeRetraining
from transfer_exp.learners.retraining_svm import SVMRetraining
from transfer_exp.types import Ints, Matrix, dense


class LinearModel(Model):
    """Score w . x + b, with w ``(d,)`` and b ``()``."""

    linear = True
    weight: Tensor
    bias: Tensor

    def score(self, x: Tensor) -> Tensor:
        """Scores ``(n,)`` of points ``(n, d)``."""
        return x @ self.weight + self.bias

    @classmethod
    def of(cls, estimator: Any) -> LinearModel:
        """The score of a fitted scikit-learn linear estimator (its ``coef_`` may be sparse)."""
        coef = estimator.coef_
        weight = np.asarray(coef.toarray() if hasattr(coef, "toarray") else coef, dtype=np.float64).ravel()
        return cls(weight=weight, bias=np.float64(np.ravel(estimator.intercept_)[0]))


class HingeLinearModel(LinearModel):
    """Linear score of an SVM."""

    loss_name = "hinge"


class LogisticLinearModel(LinearModel):
    """Linear score of logistic regression: the log odds."""

    loss_name = "logistic"


class SquaredLinearModel(LinearModel):
    """Linear score of ridge regression on labels in {-1, +1}."""

    loss_name = "squared"


@dataclass(frozen=True, kw_only=True)
class LinearSVM(Learner):
    """Soft-margin linear SVM (libsvm, dual)."""

    C: float
    tolerance: float = 1e-3
    model_type = HingeLinearModel
    poisonable = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, C=self.C, tolerance=self.tolerance)

    def _fit(self, x: Matrix, y: Ints, *, seed: int) -> Model:
        """Fit; deterministic, ``seed`` is not used."""
        from sklearn.svm import SVC  # here: see ``learners``

        svc = SVC(kernel="linear", C=self.C, tol=self.tolerance, max_iter=MAX_ITER, cache_size=1000)
        return HingeLinearModel.of(svc.fit(x, y))

    def _retraining(self, x: Matrix, y: Ints, x_val: Matrix, y_val: Ints, *, room: int) -> Retraining:
        """Retraining with one moving point, in float64."""
        return SVMRetraining(LinearGram(dense(x), dense(x_val), room=room), y, y_val, C=self.C)


@dataclass(frozen=True, kw_only=True)
class Logistic(Learner):
    """L2-regularised logistic regression."""

    C: float
    tolerance: float = 1e-5
    model_type = LogisticLinearModel
    poisonable = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, C=self.C, tolerance=self.tolerance)

    def _fit(self, x: Matrix, y: Ints, *, seed: int) -> Model:
        """Fit; deterministic, ``seed`` is not used."""
        from sklearn.linear_model import LogisticRegression  # here: see ``learners``

        estimator = LogisticRegression(C=self.C, tol=self.tolerance, max_iter=20_000)
        return LogisticLinearModel.of(estimator.fit(x, y))

    def _retraining(self, x: Matrix, y: Ints, x_val: Matrix, y_val: Ints, *, room: int) -> Retraining:
        """Retraining with one moving point, in float64."""
        return LogisticRetraining(LinearGram(dense(x), dense(x_val), room=room), y, y_val, penalty=1 / self.C)


@dataclass(frozen=True, kw_only=True)
class Ridge(Learner):
    """Ridge regression on the labels, used as a classifier."""

    alpha: float
    model_type = SquaredLinearModel
    poisonable = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, alpha=self.alpha)

    def _fit(self, x: Matrix, y: Ints, *, seed: int) -> Model:
        """Fit; deterministic, ``seed`` is not used."""
        from sklearn.linear_model import Ridge as RidgeRegression  # here: see ``learners``

        solver = "auto" if isinstance(x, np.ndarray) else "sparse_cg"
        return SquaredLinearModel.of(RidgeRegression(alpha=self.alpha, solver=solver, tol=1e-8).fit(x, y))

    def _retraining(self, x: Matrix, y: Ints, x_val: Matrix, y_val: Ints, *, room: int) -> Retraining:
        """Retraining with one moving point, in float64."""
        return RidgeRetraining(LinearGram(dense(x), dense(x_val), room=room), y, y_val, penalty=self.alpha)
