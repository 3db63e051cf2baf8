"""SVM with the RBF kernel k(x, z) = exp(-gamma |x - z|^2): f(x) = sum_i alpha_i k(x_i, x) + b, alpha signed by y_i."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.svm import SVC
from torch import Tensor

from transfer_exp.learners.base import Learner, Model, require_positive
from transfer_exp.learners.gram import RBFGram
from transfer_exp.learners.retraining import Retraining
from transfer_exp.learners.retraining_svm import SVMRetraining
from transfer_exp.types import Ints, Matrix, dense


class RBFModel(Model):
    """Score over support vectors with signed dual coefficients ``(m,)``.

    ``support``: ``(m, c)``, their ``columns`` ``(c,)``; in all other columns they are zero.
    """

    loss_name = "hinge"
    support: Tensor
    columns: Tensor
    dual: Tensor
    bias: Tensor
    gamma: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Scores ``(n,)`` of points ``(n, d)``: two matrix products and one exponential."""
        squares = x.square().sum(1, keepdim=True) + self.support.square().sum(1)
        exponent = torch.addmm(squares, x.index_select(1, self.columns), self.support.T, beta=-1, alpha=2)
        return torch.exp(self.gamma * exponent) @ self.dual + self.bias

    def landmarks(self, n_features: int) -> tuple[Tensor, Tensor]:
        """The support vectors and their signed coefficients."""
        points = self.support.new_zeros((len(self.support), n_features))
        points[:, self.columns] = self.support
        return points, self.dual


@dataclass(frozen=True, kw_only=True)
class RBFSVM(Learner):
    """Soft-margin SVM with the RBF kernel (libsvm, dual)."""

    C: float
    gamma: float
    tolerance: float = 1e-3
    model_type = RBFModel
    poisonable = True

    def __post_init__(self) -> None:
        require_positive(self, C=self.C, gamma=self.gamma, tolerance=self.tolerance)

    def fit(self, x: Matrix, y: Ints, *, seed: int) -> Model:
        """Fit; deterministic, ``seed`` is not used."""
        svc = SVC(kernel="rbf", C=self.C, gamma=self.gamma, tol=self.tolerance, cache_size=1000).fit(x, y)
        support = dense(svc.support_vectors_)
        columns = np.flatnonzero(support.any(axis=0))
        return RBFModel(
            support=support[:, columns],
            columns=columns,
            dual=dense(svc.dual_coef_).ravel(),
            bias=np.float64(svc.intercept_[0]),
            gamma=np.float64(self.gamma),
        )

    def retraining(self, x: Matrix, y: Ints, x_val: Matrix, y_val: Ints, *, room: int) -> Retraining:
        """Retraining with one moving point, in float64."""
        gram = RBFGram(dense(x), dense(x_val), gamma=self.gamma, room=room)
        return SVMRetraining(gram, y, y_val, C=self.C)
