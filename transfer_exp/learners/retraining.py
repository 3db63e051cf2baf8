"""Cheap retraining of a learner after one training point moved, and the gradient of its validation loss in that point.

Two classes; the symbols, in this room, ``gram``, ``retraining_factor``, ``retraining_smooth`` and ``retraining_svm``:

    n, n_val       numbers of fixed training points and of validation points; the moving training point c is number n + 1
    s_i            sign of a point's class: -1 for class 0, +1 for class 1
    f(x)           score sum_i beta_i k(x_i, x) + b, with 1^T beta = 0; k the kernel, K its values among training points
    beta, b        signed coefficients (n + 1,) and bias: the solution
    l(f, s)        the learner's own loss (see ``losses``), l', l'' its derivatives in f; z_i = l''(f_i)
    lambda         alpha of ridge regression, 1 / C of logistic regression (objectives: see ``linear``)
    J              mean_v l(f_v, s_v) over validation points: what the attacker raises; g_v = l'(f_v) / n_val
    p, t           adjoint (n + 1,) and its bias: solution of the linear system below
    r, r_sum       residuals of the n + 1 conditions and of the sum condition 1^T beta = 0

    retrain(x_c):   move c to x_c; solve for beta, b from the solution before the move, or without c
    gradient:       solve the adjoint system at that solution; dJ/dx_c by the formula below
    place:          c becomes a fixed point, n grows by one, and the next point moves

At the optimum,

    K_SS beta_S + D beta_S + b = const    on a set S of training points, with D diagonal; other beta constant

    ridge, logistic   S = all,  D = lambda / z_i  (beta_i = -l'(f_i) / lambda)
    SVMs              S = margin support vectors,  D = 0

With the adjoint

    [K_SS + D  1] [p]   [K_SV g]
    [1^T       0] [t] = [1^T g ],

differentiating the optimum in x_c (implicit function theorem; Demontis et al. 2019, section 2) gives

    dJ/dx_c = beta_c sum_v g_v dk(x_v, x_c) - beta_c sum_i p_i dk(x_i, x_c) - p_c df(x_c),     d in x_c.

The last term, from the moving point's own condition, is zero unless c is in S. All is zero when beta_c and p_c are: a
point that is no support vector has no gradient.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from transfer_exp.learners.gram import Gram, Moved
from transfer_exp.learners.retraining_base import Counts, Retraining
from transfer_exp.margin import signs
from transfer_exp.types import Floats, Ints


@dataclass(frozen=True)
class Solution:
    """beta ``(n + 1,)``, the moving point's last, b, and K beta ``(n + 1,)`` with that point where it was."""

    beta: Floats
    bias: float
    product: Floats

    @staticmethod
    def zero(n: int) -> Solution:
        """All coefficients of ``n`` points zero."""
        return Solution(np.zeros(n), 0.0, np.zeros(n))

    def extended(self) -> Solution:
        """With one more moving point: its coefficient is zero, its entry of K beta still to be computed."""
        return Solution(np.append(self.beta, 0.0), self.bias, np.append(self.product, 0.0))


@dataclass(frozen=True, kw_only=True)
class Retrained(Solution):
    """The learner retrained with the moving point, of class ``label``, where ``moved`` says.

    val_scores: f of the validation points ``(n_val,)``. loss: J.
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


class TwoClassRetraining(Retraining[Retrained]):
    """A learner on the fixed training points of ``gram``, of classes ``y`` ``(n,)``, and one point that moves.

    ``signs``: s of the fixed points ``(n,)``. ``signs_val``: of the validation points ``(n_val,)``.
    """

    def __init__(self, gram: Gram, y: Ints, y_val: Ints) -> None:
        self.gram = gram
        self.signs: Floats = signs(y).astype(np.float64)
        self.signs_val: Floats = signs(y_val).astype(np.float64)
        self.counts = Counts()
        self._fixed = Solution.zero(len(y) + 1)
        self._last: Retrained | None = None

    @abstractmethod
    def _loss(self, scores: Floats) -> float:
        """J for scores of the validation points ``(n_val,)``."""

    @abstractmethod
    def _slope(self, scores: Floats) -> Floats:
        """g ``(n_val,)``, the derivative of J in each score."""

    @abstractmethod
    def _train(self, signs: Floats, starts: list[Solution]) -> Solution:
        """The solution for signs ``(n + 1,)`` with the moving point where ``gram`` has it.

        Starts from the best of ``starts``, or from the first that is good enough. The first is the last solution, where
        there is one, the last the solution without the moving point. None of them may be changed.
        """

    @abstractmethod
    def _adjoint(self, fitted: Retrained, rhs: Floats, rhs_sum: float) -> tuple[Floats, float]:
        """p ``(n + 1,)``, zero outside S, for K_V^T g ``(n + 1,)`` and 1^T g; and the relative residual."""

    @abstractmethod
    def before_place(self, fitted: Retrained) -> None:
        """Called when the moving point becomes a fixed one, before ``gram`` grows."""

    def all_signs(self, label: int) -> Floats:
        """s of the fixed points and of a moving one of class ``label``, ``(n + 1,)``."""
        return np.append(self.signs, 2 * label - 1)

    def retrain(self, point: Floats, label: int) -> Retrained:
        """Train on the fixed points and ``point`` ``(d,)`` of class ``label`` (0 or 1)."""
        return self.retrain_at(self.gram.move(point), label)

    def retrain_at(self, moved: Moved, label: int) -> Retrained:
        """The same with the moving point where ``gram`` has put it."""
        self.counts.retrainings += 1
        starts = [self._warm_start(self._fixed, 0.0)]
        # Another label or a long move can make the last solution useless: the one without the moving point is a start, too.
        if self._last is not None and self._last.label == label:
            starts.insert(0, self._warm_start(self._last, moved.train - self._last.moved.train))
        solution = self._train(self.all_signs(label), starts)
        scores = self.gram.scores(solution.beta) + solution.bias
        self._last = Retrained(**vars(solution), moved=moved, label=label, val_scores=scores, loss=self._loss(scores))
        return self._last

    def _warm_start(self, solution: Solution, kernel_change: Floats | float) -> Solution:
        """The same coefficients, with K beta for the moving point where it is now.

        kernel_change: of the moving point's kernel values since that solution, ``(n + 1,)``.
        """
        product = solution.product + solution.beta[-1] * kernel_change
        product[-1] = self.gram.moved.train @ solution.beta
        return Solution(solution.beta, solution.bias, product)

    def gradient(self, fitted: Retrained) -> tuple[Floats, float]:
        """dJ/dx_c ``(d,)`` at a result of ``retrain`` since the last ``place``, and the residual of its linear solve."""
        self.counts.gradients += 1
        self.gram.restore(fitted.moved)
        slope = self._slope(fitted.val_scores)
        rhs, direct = self.gram.validation_vjp(slope)
        p, residual = self._adjoint(fitted, rhs, float(slope.sum()))
        weight = fitted.beta[-1]
        return weight * direct - self.gram.train_vjp(weight * p + p[-1] * fitted.beta), residual

    def margin_gradient(self, fitted: Retrained) -> Floats:
        """d(s f)/dx ``(d,)`` of the learner ``fitted``, taken at its moving point of sign s."""
        return (2 * fitted.label - 1) * self.score_gradient(fitted)

    def score_gradient(self, fitted: Retrained) -> Floats:
        """df/dx ``(d,)`` of the learner ``fitted``, taken at its moving point."""
        self.gram.restore(fitted.moved)
        return self.gram.train_vjp(fitted.beta)

    def place(self, fitted: Retrained) -> None:
        """Make the moving point, as in ``fitted``, one of the fixed ones."""
        self.gram.restore(fitted.moved)
        self.before_place(fitted)
        self.gram.keep()
        self.after_place(fitted)

    def after_place(self, fitted: Retrained) -> None:
        """Go on with the point of ``fitted`` among the fixed ones, as ``gram`` has it."""
        self._fixed = fitted.extended()
        self._last = None
        self.signs = self.all_signs(fitted.label)
