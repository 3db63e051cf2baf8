"""SVM with the RBF kernel k(x, u) = exp(-gamma |x - u|^2); f: see ``svm``. One kernel product serves all classes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from transfer_exp.learners.base import Learner, require_positive
from transfer_exp.learners.gram import RBFGram
from transfer_exp.learners.model import Model
from transfer_exp.learners.retraining_base import Retraining
from transfer_exp.learners.retraining_many import one_or_many
from transfer_exp.learners.retraining_svm import SVMRetraining
from transfer_exp.learners.svm import fit_machines
from transfer_exp.types import Ints, Matrix, UserError, dense


class RBFModel(Model):
    """Score over support vectors with signed dual coefficients ``dual`` ``(m,)``, or logits with ``(m, K)``.

    ``support``: ``(m, c)``, the ``columns`` ``(c,)`` of the support vectors that are not all zero. ``label``: their classes
    ``(m,)``, kept for K > 2.
    """

    loss_name = "hinge"
    support: Tensor
    columns: Tensor
    dual: Tensor
    bias: Tensor
    gamma: Tensor
    label: Tensor

    @property
    def n_classes(self) -> int:
        """K."""
        return 2 if self.bias.ndim == 0 else len(self.bias)

    def outputs(self, x: Tensor) -> Tensor:
        """Score ``(n,)`` or logits ``(n, K)`` of points ``(n, d)``: two matrix products and one exponential."""
        squares = x.square().sum(1, keepdim=True) + self.support.square().sum(1)
        exponent = torch.addmm(squares, x.index_select(1, self.columns), self.support.T, beta=-1, alpha=2)
        return torch.exp(self.gamma * exponent) @ self.dual + self.bias

    def _landmarks(self, n_features: int) -> tuple[Tensor, Tensor]:
        """The support vectors and their classes."""
        points = self.support.new_zeros((len(self.support), n_features))
        points[:, self.columns] = self.support
        return points, (self.dual > 0).long() if self.n_classes == 2 else self.label


@dataclass(frozen=True, kw_only=True)
class RBFSVM(Learner):
    """Soft-margin SVM with the RBF kernel; one against the rest for K > 2.

    gamma: a number, or ``scale`` for scikit-learn's 1 / (d Var(X)), with X the training points as the kernel sees them.
    """

    C: float
    gamma: float | Literal["scale"]
    tolerance: float = 1e-3
    family = "rbf"
    model_type = RBFModel
    retrainable = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, C=self.C, tolerance=self.tolerance)
        if isinstance(self.gamma, str):
            if self.gamma != "scale":
                raise UserError(f"{self.label}.gamma: expected a number above 0, or scale, got {self.gamma}")
        else:
            require_positive(self, gamma=self.gamma)

    def _fit(self, x: Matrix, y: Ints, *, n_classes: int, seed: int) -> Model:
        """Fit; deterministic, ``seed`` is not used."""
        gamma = _gamma_by_variance(x) if isinstance(self.gamma, str) else self.gamma
        found = fit_machines(x, y, n_classes=n_classes, C=self.C, tolerance=self.tolerance, gamma=gamma)
        support = dense(x[found.rows])
        columns = np.flatnonzero(support.any(axis=0))
        labels = {} if n_classes == 2 else {"label": y[found.rows]}
        return RBFModel(
            support=support[:, columns],
            columns=columns,
            dual=found.dual,
            bias=found.bias,
            gamma=np.float64(gamma),
            **labels,
        )

    def _retraining(self, x: Matrix, y: Ints, x_val: Matrix, y_val: Ints, *, room: int) -> Retraining[Any]:
        """Retraining with one moving point, in float64."""
        assert not isinstance(self.gamma, str)  # require_raw
        gram = RBFGram(dense(x), dense(x_val), gamma=self.gamma, room=room)
        return one_or_many(gram, y, y_val, partial(SVMRetraining, C=self.C))

    def require_raw(self, role: str) -> None:
        """A gamma that depends on the points, too."""
        super().require_raw(role)
        if isinstance(self.gamma, str):
            raise UserError(
                f"{role}.gamma: expected a number for poisoning (a poisoning point would move it), got {self.gamma}"
            )


def _gamma_by_variance(x: Matrix) -> float:
    """1 / (d Var(X)), the variance over all entries; 1 where there is none."""
    mean = float(x.mean())
    variance = float(np.square(x - mean).mean() if isinstance(x, np.ndarray) else x.multiply(x).mean() - mean**2)
    return 1 / (int(x.shape[1]) * variance) if variance > 0 else 1.0
