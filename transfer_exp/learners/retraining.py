"""Cheap retraining of a learner after one training point moved, and the gradient of its validation loss in that point.

All four learners have f(x) = sum_i beta_i k(x_i, x) + b with 1^T beta = 0 and, at their optimum,

    K_SS beta_S + D beta_S + b = const    on a set S of training points, with D diagonal; other beta constant

    ridge, logistic   S = all,  D = lambda / l''(f_i)  (lambda = alpha, 1 / C; beta_i = -l'(f_i) / lambda)
    SVMs              S = margin support vectors,  D = 0

(objectives: see ``linear``; losses: see ``losses``). The objective of the attack is the learner's own loss, the *mean*
over validation points, J = sum_v l(y_v, f_v) / n_val. With g_v = l'(f_v) / n_val and the adjoint p,

    [K_SS + D  1] [p]   [K_SV g]
    [1^T       0] [t] = [1^T g ],

differentiating the optimum in x_c (implicit function theorem; paper, section 2) gives

    dJ/dx_c = beta_c sum_v g_v dk(x_v, x_c) - beta_c sum_i p_i dk(x_i, x_c) - p_c df(x_c),     d in x_c.

The last term, from the moving point's own condition, is zero unless c is in S. All is zero when beta_c and p_c are: a
point that is no support vector has no gradient.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from transfer_exp.learners.gram import Gram, Moved
from transfer_exp.learners.losses import LOSSES
from transfer_exp.types import Floats, Ints


@dataclass(frozen=True)
class Solution:
    """Signed coefficients beta ``(n + 1,)``, the moving point's last, the bias, and K beta ``(n + 1,)``, where it was."""

    beta: Floats
    bias: float
    product: Floats

    @staticmethod
    def zero(n: int) -> Solution:
        """That of all coefficients zero, of ``n`` points."""
        return Solution(np.zeros(n), 0.0, np.zeros(n))

    def extended(self) -> Solution:
        """With one more point to move, its coefficient zero, its entry of K beta not known yet."""
        return Solution(np.append(self.beta, 0.0), self.bias, np.append(self.product, 0.0))


@dataclass(frozen=True, kw_only=True)
class Retrained(Solution):
    """The learner retrained with the moving point, with ``label``, where ``moved`` has it.

    val_scores: ``(n_val,)``. loss: mean over validation.
    """

    moved: Moved
    label: int
    val_scores: Floats
    loss: float

    @property
    def point(self) -> Floats:
        """The moving point ``(d,)``."""
        return self.moved.point

    @property
    def has_weight(self) -> bool:
        """Whether the moving point changes the learner at all."""
        return bool(self.beta[-1] != 0)


@dataclass
class Counts:
    """What was done: retrainings, gradients, factorisations, solves with them, falls back to a fit from nothing."""

    retrainings: int = 0
    gradients: int = 0
    factorisations: int = 0
    solves: int = 0
    fallbacks: int = 0

    def __sub__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, f) - getattr(other, f) for f in self.__dataclass_fields__))


class Retraining(ABC):
    """A learner on the fixed training points of ``gram``, with labels ``y`` ``(n,)``, and one point that moves."""

    loss_name: ClassVar[str]

    def __init__(self, gram: Gram, y: Ints, y_val: Ints) -> None:
        self.gram = gram
        self.y = y.astype(np.float64)
        self.y_val = y_val.astype(np.float64)
        self.counts = Counts()
        self._fixed = Solution.zero(len(y) + 1)
        self._last: Retrained | None = None

    @abstractmethod
    def _train(self, y: Floats, starts: list[Solution]) -> Solution:
        """The solution for labels ``(n + 1,)`` with the moving point where ``gram`` has it.

        Starts from the best of the given ones, the likeliest first and that without the moving point last, or from the
        first that will do; none is to be changed.
        """

    @abstractmethod
    def _adjoint(self, fitted: Retrained, right: Floats, total: float) -> tuple[Floats, float]:
        """p ``(n + 1,)``, zero outside S, for K_V^T g ``(n + 1,)`` and 1^T g; and the relative residual."""

    @abstractmethod
    def _placed(self, fitted: Retrained) -> None:
        """The moving point becomes a fixed one."""

    def retrain(self, point: Floats, label: int) -> Retrained:
        """Train on the fixed points and ``(point, label)``."""
        self.counts.retrainings += 1
        moved = self.gram.move(point)
        starts = [self._carried(self._fixed, 0.0)]
        # A label or a long move can make the last solution useless: that without the moving point is a start, too.
        if self._last is not None and self._last.label == label:
            starts.insert(0, self._carried(self._last, moved.train - self._last.moved.train))
        found = self._train(np.append(self.y, label), starts)
        scores = self.gram.scores(found.beta) + found.bias
        self._last = Retrained(**vars(found), moved=moved, label=label, val_scores=scores, loss=self._loss(scores))
        return self._last

    def _carried(self, solution: Solution, change: Floats | float) -> Solution:
        """The same coefficients where the moving point is now; ``change`` is that of its kernel values, ``(n + 1,)``."""
        product = solution.product + solution.beta[-1] * change
        product[-1] = self.gram.moved.train @ solution.beta
        return Solution(solution.beta, solution.bias, product)

    def _loss(self, scores: Floats) -> float:
        """Mean loss of the validation points."""
        return float(LOSSES[self.loss_name](torch.as_tensor(scores), torch.as_tensor(self.y_val)).mean())

    def _slope(self, scores: Floats) -> Floats:
        """Its derivative in each score, ``(n_val,)``."""
        score = torch.as_tensor(scores).clone().requires_grad_()
        (slope,) = torch.autograd.grad(LOSSES[self.loss_name](score, torch.as_tensor(self.y_val)).mean(), score)
        return np.asarray(slope.numpy())

    def gradient(self, fitted: Retrained) -> tuple[Floats, float]:
        """dJ/dx_c ``(d,)`` at a result of ``retrain`` since the last ``place``, and the residual of its linear solve."""
        self.counts.gradients += 1
        self.gram.restore(fitted.moved)
        slope = self._slope(fitted.val_scores)
        right, direct = self.gram.weigh(slope)
        p, residual = self._adjoint(fitted, right, float(slope.sum()))
        weight = fitted.beta[-1]
        return weight * direct - self.gram.pull(weight * p + p[-1] * fitted.beta), residual

    def score_gradient(self, fitted: Retrained) -> Floats:
        """df/dx ``(d,)`` at the moving point, of the learner as it is, where ``retrain`` had it."""
        self.gram.restore(fitted.moved)
        return self.gram.pull(fitted.beta)

    def place(self, fitted: Retrained) -> None:
        """Make the moving point, as in ``fitted``, one of the fixed ones."""
        self.gram.restore(fitted.moved)
        self._placed(fitted)
        self.gram.keep()
        self._fixed = fitted.extended()
        self._last = None
        self.y = np.append(self.y, fitted.label)
