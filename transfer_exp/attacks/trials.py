"""Validation loss of any learner with one more training point: by its cheap retraining where it has one, else by fits.

Of learners that give labels only the loss is their error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from transfer_exp.learners import LOSSES, Learner, Model
from transfer_exp.learners.retraining_base import Retraining
from transfer_exp.margin import predict
from transfer_exp.types import Floats, Ints, Matrix, dense


class Trials(Protocol):
    """A learner on training data that grow."""

    n_fits: int
    """Retrainings so far."""

    @property
    def n_fallbacks(self) -> int:
        """Of those, fits from scratch, or such as ended above their tolerance."""

    def loss(self, point: Floats, label: int) -> float:
        """Mean validation loss with ``point`` ``(d,)`` beside the training data."""

    def place(self, point: Floats, label: int) -> None:
        """Make the point one of the training data."""


def trials(learner: Learner, x: Matrix, y: Ints, x_val: Matrix, y_val: Ints, *, room: int, seed: int) -> Trials:
    """Of the learner on points ``(n, d)``, of which at most ``room`` more will be placed."""
    if learner.can_be_retrained:
        return _Retrained(learner.retraining(x, y, x_val, y_val, room=room))
    return _Fitted(learner, dense(x), y, x_val, y_val, seed)


@dataclass
class _Retrained:
    training: Retraining[Any]
    n_fits: int = 0

    @property
    def n_fallbacks(self) -> int:
        return int(self.training.counts.fallbacks)

    def loss(self, point: Floats, label: int) -> float:
        self.n_fits += 1
        return float(self.training.retrain(point, label).loss)

    def place(self, point: Floats, label: int) -> None:
        self.n_fits += 1
        self.training.place(self.training.retrain(point, label))


@dataclass
class _Fitted:
    learner: Learner
    x: Floats
    y: Ints
    x_val: Matrix
    y_val: Ints
    seed: int
    n_fits: int = 0
    n_classes: int = field(init=False)
    n_fallbacks: int = 0  # there is no other way to fit

    def __post_init__(self) -> None:
        self.n_classes = int(max(self.y.max(), self.y_val.max())) + 1

    def loss(self, point: Floats, label: int) -> float:
        self.n_fits += 1
        x, y = np.vstack([self.x, point]), np.append(self.y, label)
        model = self.learner.fit(x, y, n_classes=self.n_classes, seed=self.seed)
        return mean_loss(model, self.x_val, self.y_val)

    def place(self, point: Floats, label: int) -> None:
        self.x, self.y = np.vstack([self.x, point]), np.append(self.y, label)


def mean_loss(model: Model, x: Matrix, y: Ints) -> float:
    """Mean of the model's own loss at points ``(n, d)``, cross-entropy where it has none, error where it gives labels."""
    logits = model.logits(x)
    if model.gives == "labels":
        return float((predict(logits) != y).mean())
    loss = LOSSES[model.loss_name or "cross_entropy"]
    return float(loss(torch.from_numpy(logits), torch.from_numpy(y)).mean())
