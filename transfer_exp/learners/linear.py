"""Linear learners: logits W x + b. scikit-learn fits; b is never penalised.

             K = 2: score f = w . x + b, signs s in {-1, +1}              K > 2
LinearSVM    min  |w|^2 / 2 + C sum_i hinge(s_i, f_i)                     the same for each class against the rest
Logistic     min  |w|^2 / 2 + C sum_i log(1 + exp(-s_i f_i))              min  |W|^2 / 2 + C sum_i cross_entropy(z_i, y_i)
Ridge        min  alpha |w|^2 / 2 + sum_i (s_i - f_i)^2 / 2               the same for each class against the rest
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from transfer_exp.learners.base import Learner, one_vs_rest, require_positive
from transfer_exp.learners.gram import LinearGram
from transfer_exp.learners.model import Model
from transfer_exp.learners.retraining_base import Retraining
from transfer_exp.learners.retraining_many import one_or_many
from transfer_exp.learners.retraining_multinomial import MultinomialRetraining
from transfer_exp.learners.retraining_smooth import LogisticRetraining, RidgeRetraining
from transfer_exp.learners.retraining_svm import SVMRetraining
from transfer_exp.learners.svm import fit_machines
from transfer_exp.types import Ints, Matrix, dense


class LinearModel(Model):
    """Score w . x + b of two classes, w ``(d,)`` and b ``()``; logits W x + b of more, W ``(K, d)`` and b ``(K,)``."""

    linear = True
    weight: Tensor
    bias: Tensor

    @property
    def n_classes(self) -> int:
        """K."""
        return 2 if self.bias.ndim == 0 else len(self.bias)

    def outputs(self, x: Tensor) -> Tensor:
        """Score ``(n,)`` or logits ``(n, K)`` of points ``(n, d)``."""
        return x @ self.weight.t() + self.bias

    @classmethod
    def of(cls, estimator: Any) -> LinearModel:
        """The decision function of a fitted scikit-learn linear estimator."""
        coef, intercept = np.atleast_2d(estimator.coef_), np.atleast_1d(estimator.intercept_)
        return cls(weight=coef, bias=intercept) if len(coef) > 1 else cls(weight=coef[0], bias=intercept[0])


class HingeLinearModel(LinearModel):
    """Linear SVM."""

    loss_name = "hinge"


class LogisticLinearModel(LinearModel):
    """Logistic regression: the score is the log odds; of K > 2 classes, logits of a softmax."""

    loss_name = "cross_entropy"


class SquaredLinearModel(LinearModel):
    """Ridge regression on targets in {-1, +1}."""

    loss_name = "squared"


@dataclass(frozen=True, kw_only=True)
class LinearSVM(Learner):
    """Soft-margin linear SVM; one against the rest for K > 2."""

    C: float
    tolerance: float = 1e-3
    family = "svm"
    model_type = HingeLinearModel
    retrainable = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, C=self.C, tolerance=self.tolerance)

    def _fit(self, x: Matrix, y: Ints, *, n_classes: int, seed: int) -> Model:
        """Fit; deterministic, ``seed`` is not used."""
        found = fit_machines(x, y, n_classes=n_classes, C=self.C, tolerance=self.tolerance, gamma=None)
        return HingeLinearModel(weight=found.dual.T @ x[found.rows], bias=found.bias)

    def _retraining(self, x: Matrix, y: Ints, x_val: Matrix, y_val: Ints, *, room: int) -> Retraining[Any]:
        """Retraining with one moving point, in float64."""
        return one_or_many(LinearGram(dense(x), dense(x_val), room=room), y, y_val, partial(SVMRetraining, C=self.C))


@dataclass(frozen=True, kw_only=True)
class Logistic(Learner):
    """L2-regularised logistic regression; multinomial for K > 2."""

    C: float
    tolerance: float = 1e-5
    family = "logistic"
    model_type = LogisticLinearModel
    retrainable = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, C=self.C, tolerance=self.tolerance)

    def _fit(self, x: Matrix, y: Ints, *, n_classes: int, seed: int) -> Model:
        """Fit; deterministic, ``seed`` is not used."""
        from sklearn.linear_model import LogisticRegression  # here: see ``learners``

        estimator = LogisticRegression(C=self.C, tol=self.tolerance, max_iter=20_000)
        return LogisticLinearModel.of(estimator.fit(x, y))

    def _retraining(self, x: Matrix, y: Ints, x_val: Matrix, y_val: Ints, *, room: int) -> Retraining[Any]:
        """Retraining with one moving point, in float64."""
        if int(y.max()) > 1:
            return MultinomialRetraining(dense(x), y, dense(x_val), y_val, penalty=1 / self.C, room=room)
        return LogisticRetraining(LinearGram(dense(x), dense(x_val), room=room), y, y_val, penalty=1 / self.C)


@dataclass(frozen=True, kw_only=True)
class Ridge(Learner):
    """Ridge regression on targets in {-1, +1}, used as a classifier; one against the rest for K > 2."""

    alpha: float
    family = "ridge"
    model_type = SquaredLinearModel
    retrainable = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, alpha=self.alpha)

    def _fit(self, x: Matrix, y: Ints, *, n_classes: int, seed: int) -> Model:
        """Fit; deterministic, ``seed`` is not used."""
        from sklearn.linear_model import Ridge as RidgeRegression  # here: see ``learners``

        solver = "auto" if isinstance(x, np.ndarray) else "sparse_cg"
        estimator = RidgeRegression(alpha=self.alpha, solver=solver, tol=1e-8)
        return SquaredLinearModel.of(estimator.fit(x, one_vs_rest(y, n_classes)))

    def _retraining(self, x: Matrix, y: Ints, x_val: Matrix, y_val: Ints, *, room: int) -> Retraining[Any]:
        """Retraining with one moving point, in float64."""
        gram = LinearGram(dense(x), dense(x_val), room=room)
        return one_or_many(gram, y, y_val, partial(RidgeRetraining, penalty=self.alpha))
