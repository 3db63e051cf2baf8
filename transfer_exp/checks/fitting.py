"""A learner fitted on a few points of a data set: what its checks look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from transfer_exp.checks.sample import in_turn, some_rows
from transfer_exp.checks.watching import Watch, watched_arrays, watched_globals
from transfer_exp.learners import Learner, Model
from transfer_exp.types import Dataset, Floats, Ints, Matrix, dense

N_SHOWN = 12
"""Points whose logits and gradients are looked at."""
_MOST_OFF = {torch.float64: 1e-9, torch.float32: 1e-3}
"""Of logits that should be the same, in units of the largest: what the order of a sum may change."""


@dataclass(frozen=True)
class Again:
    """Logits of a model fitted once more, and what changed meanwhile."""

    logits: Floats
    generators: Watch
    arrays: Watch


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """A learner and a few points: ``rows`` it is trained on, and dense ones ``shown`` ``(n, d)`` to the model."""

    learner: Learner
    dataset: Dataset
    n_training: int
    seed: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @cached_property
    def rows(self) -> Ints:
        """Of the training points; none where nothing is trained."""
        return some_rows(self.dataset, self.n_training, seed=self.seed)[0]

    @cached_property
    def x(self) -> Matrix:
        """The training points ``(n, d)``."""
        return self.dataset.x[self.rows]

    @cached_property
    def y(self) -> Ints:
        """Their classes."""
        return self.dataset.y[self.rows]

    @cached_property
    def shown(self) -> Floats:
        """Training points of each class in turn."""
        return dense(self.x[in_turn(self.y, N_SHOWN)])

    def fit(self, seed: int | None = None) -> Model:
        """A model, fitted anew, on the device."""
        learner, some = self.learner.to(self.device.type), slice(0, 0) if self.learner.given else slice(None)
        number = self.seed if seed is None else seed
        return self.placed(learner.fit(self.x[some], self.y[some], n_classes=self.dataset.n_classes, seed=number))

    def placed(self, model: Model) -> Model:
        """A model on the device, in single precision on a GPU."""
        model = model.to(self.device)
        return model.float() if self.device.type == "cuda" else model

    @cached_property
    def model(self) -> Model:
        """The model that all checks look at."""
        return self.fit()

    @cached_property
    def again(self) -> Again:
        """The same fit a second time, watched."""
        with (
            watched_globals() as generators,
            watched_arrays(x=self.x, y=self.y, points=self.shown) as arrays,
        ):
            logits = self.fit().logits(self.shown)
        return Again(logits, generators, arrays)

    @cached_property
    def logits(self) -> Floats:
        """Its logits of the shown points."""
        return self.model.logits(self.shown)

    def differ(self, logits: Floats) -> float:
        """How far these logits are from those known, in units of the largest."""
        return float(np.abs(logits - self.logits).max() / max(1.0, np.abs(self.logits).max()))

    @property
    def most_off(self) -> float:
        """The difference that rounding explains."""
        return _MOST_OFF.get(self.model.like.dtype, 1e-2)
