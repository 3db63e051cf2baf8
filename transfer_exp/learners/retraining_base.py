"""What an attack on training data asks of a learner that is retrained while one training point moves.

    retrain(x_c, class):   train on the fixed points and the moving one
    gradient:              dJ/dx_c there; J = mean_v l(y_v, f_v), the learner's own loss (``losses``) on validation points
    place:                 the moving point becomes a fixed one, and the next point moves

Two classes: ``retraining``. Of K > 2, ridge regression and SVMs are K problems of two classes (``retraining_many``),
logistic regression is one problem (``retraining_multinomial``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from transfer_exp.types import Floats


class MovedFit(Protocol):
    """The learner retrained with the moving point."""

    @property
    def point(self) -> Floats:
        """The moving point ``(d,)``."""

    @property
    def label(self) -> int:
        """Its class."""

    @property
    def loss(self) -> float:
        """J."""

    @property
    def has_weight(self) -> bool:
        """Whether the moving point changes the learner at all."""


FitT = TypeVar("FitT", bound=MovedFit)


@dataclass
class Counts:
    """Numbers of retrainings, gradients, factorisations, solves with a factor, and fits from scratch as fallback."""

    retrainings: int = 0
    gradients: int = 0
    factorisations: int = 0
    solves: int = 0
    fallbacks: int = 0

    def __sub__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, f) - getattr(other, f) for f in self.__dataclass_fields__))


class Retraining(ABC, Generic[FitT]):
    """A learner on fixed training points and one point that moves; ``counts``: what was done so far."""

    counts: Counts

    @abstractmethod
    def retrain(self, point: Floats, label: int) -> FitT:
        """Train on the fixed points and ``point`` ``(d,)`` of class ``label``."""

    @abstractmethod
    def gradient(self, fitted: FitT) -> tuple[Floats, float]:
        """dJ/dx_c ``(d,)`` at a result of ``retrain`` since the last ``place``, and the residual of its linear solve."""

    @abstractmethod
    def margin_gradient(self, fitted: FitT) -> Floats:
        """A direction ``(d,)`` in which the learner ``fitted`` becomes surer of the moving point's class."""

    @abstractmethod
    def place(self, fitted: FitT) -> None:
        """Make the moving point, as in ``fitted``, one of the fixed ones."""
