"""What the ascent of a poisoning point sees: the validation loss of a learner retrained with the point where it is tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from transfer_exp.learners.retraining_base import MovedFit, Retraining
from transfer_exp.types import Box, Floats


class ValidationLoss:
    """The objective J of one moving point with the label of ``start``, for the ascent; remembers the best trial.

    Where the point has no weight, J is flat: that of the learner without it. An ascent that steps there, from a start that
    lowered J, would end there with a useless point. So ``value`` is minus infinity there; ``best`` counts such trials, too.
    """

    def __init__(self, training: Retraining[Any], start: MovedFit) -> None:
        self.training = training
        self.best = self.last = start
        self.residual = 0.0

    def value(self, x: Floats) -> float:
        """J at ``(d,)``, minus infinity where the point has no weight."""
        if not np.array_equal(self.last.point, x):
            self.last = self.training.retrain(x, self.last.label)
            if self.last.loss > self.best.loss:
                self.best = self.last
        return self.last.loss if self.last.has_weight else -np.inf

    def gradient(self, x: Floats) -> Floats:
        """Its gradient ``(d,)`` at the last ``x`` whose value was asked for."""
        gradient, residual = self.training.gradient(self.last)
        self.residual = max(self.residual, residual)
        return gradient

    def move_to_margin(self, box: Box, n_trials: int, project: Callable[[Floats], Floats] | None = None) -> MovedFit:
        """Move a point without weight, correct by more than the margin, against it until it has weight.

        Each of at most ``n_trials`` steps is twice as long as the one before, the last as long as the distance to the
        farthest point of the box.
        """
        for k in range(n_trials):
            direction = -self.training.margin_gradient(self.last)
            norm = float(np.linalg.norm(direction)) or 1.0
            farthest = np.where(direction > 0, box.upper, np.where(direction < 0, box.lower, self.last.point))
            length = float(np.linalg.norm(farthest - self.last.point)) / 2 ** (n_trials - 1 - k)
            moved = self.last.point + length * direction / norm
            self.value(np.clip(moved, box.lower, box.upper) if project is None else project(moved))
            if self.last.has_weight:
                break
        return self.last
