"""Retraining of learners of K > 2 classes that are K problems of two: each class k against the rest.

    retrain(x_c, class):   move c; solve each problem, c of sign +1 in that of its class, of sign -1 in all others
    J                      sum_k J_k, J_k of problem k: the mean over validation points of the learner's own loss, which
                           is the sum over k of the two-class losses (``losses``)
    gradient:              sum_k dJ_k/dx_c, each by its own adjoint (``retraining``)

At a start, c may equal a fixed point i of another class. In the K - 2 problems in which both are of sign -1 they are then
equal in all, and share one weight in any way: if i is a margin support vector of such a problem, J_k has a kink there, and
the gradient is that of one side. One step away, and for ridge regression everywhere, J_k is as smooth as for two classes.

All problems share one ``gram``. For K = 2 both problems are the same up to sign, and J is twice that of the one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from transfer_exp.learners.gram import Gram
from transfer_exp.learners.retraining import Retrained, TwoClassRetraining
from transfer_exp.learners.retraining_base import Counts, Retraining
from transfer_exp.types import Floats, Ints


@dataclass(frozen=True, kw_only=True)
class RetrainedMany:
    """The problems retrained with the moving point, of class ``label``; loss: J."""

    problems: tuple[Retrained, ...]
    label: int
    loss: float

    @property
    def point(self) -> Floats:
        """The moving point ``(d,)``."""
        return self.problems[0].point

    @property
    def has_weight(self) -> bool:
        """Whether the moving point changes any of the problems."""
        return any(one.has_weight for one in self.problems)

    @property
    def val_scores(self) -> Floats:
        """Logits of the validation points ``(n_val, K)``."""
        return np.stack([one.val_scores for one in self.problems], axis=1)


class OneVsRestRetraining(Retraining[RetrainedMany]):
    """K problems on one ``gram``; ``machine`` makes one, of points of classes 0 and 1."""

    def __init__(self, gram: Gram, y: Ints, y_val: Ints, machine: Callable[[Gram, Ints, Ints], TwoClassRetraining]) -> None:
        self.gram = gram
        self.problems = [machine(gram, _is(k, y), _is(k, y_val)) for k in range(int(y.max()) + 1)]
        self._count()

    def retrain(self, point: Floats, label: int) -> RetrainedMany:
        """Train all problems on the fixed points and ``point`` ``(d,)`` of class ``label``."""
        moved = self.gram.move(point)
        fits = tuple(one.retrain_at(moved, int(k == label)) for k, one in enumerate(self.problems))
        self._count()
        return RetrainedMany(problems=fits, label=label, loss=sum(fit.loss for fit in fits))

    def gradient(self, fitted: RetrainedMany) -> tuple[Floats, float]:
        """dJ/dx_c ``(d,)`` and the largest residual of the linear solves."""
        gradients, residuals = zip(*(p.gradient(fit) for p, fit in self._pairs(fitted)), strict=True)
        self._count()
        return np.asarray(np.sum(gradients, axis=0)), max(residuals)

    def margin_gradient(self, fitted: RetrainedMany) -> Floats:
        """The sum over the problems of d(s_k f_k)/dx ``(d,)`` at the moving point."""
        return np.asarray(np.sum([p.margin_gradient(fit) for p, fit in self._pairs(fitted)], axis=0))

    def place(self, fitted: RetrainedMany) -> None:
        """Make the moving point, as in ``fitted``, one of the fixed ones of every problem."""
        self.gram.restore(fitted.problems[0].moved)
        for problem, fit in self._pairs(fitted):
            problem.before_place(fit)
        self.gram.keep()
        for problem, fit in self._pairs(fitted):
            problem.after_place(fit)
        self._count()

    def _pairs(self, fitted: RetrainedMany) -> list[tuple[TwoClassRetraining, Retrained]]:
        return list(zip(self.problems, fitted.problems, strict=True))

    def _count(self) -> None:
        """A retraining and a gradient are one of all problems; solves and fits are counted in each."""
        every, first = [one.counts for one in self.problems], self.problems[0].counts
        self.counts = Counts(
            retrainings=first.retrainings,
            gradients=first.gradients,
            factorisations=sum(one.factorisations for one in every),
            solves=sum(one.solves for one in every),
            fallbacks=sum(one.fallbacks for one in every),
        )


def one_or_many(
    gram: Gram, y: Ints, y_val: Ints, machine: Callable[[Gram, Ints, Ints], TwoClassRetraining]
) -> Retraining[Any]:
    """The one problem of two classes, or one for each class against the rest."""
    return machine(gram, y, y_val) if int(y.max()) == 1 else OneVsRestRetraining(gram, y, y_val, machine)


def _is(k: int, y: Ints) -> Ints:
    return np.asarray(y == k, dtype=np.int64)
