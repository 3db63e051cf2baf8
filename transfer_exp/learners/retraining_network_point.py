"""A network retrained while one training point moves: ``retraining_base`` for what attacks ask of one point at a time.

Each retraining begins at the weights of the fixed points, so that the loss is a function of the moving point: neither the
points asked for before nor their order change it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from transfer_exp.learners.exactness import Exactness
from transfer_exp.learners.retraining_base import Counts, Retraining
from transfer_exp.learners.retraining_network import NetworkRetraining
from transfer_exp.learners.training_loop import denormals_as_zero
from transfer_exp.types import Floats, Ints

ONE_POINT = Exactness(tolerance=1e-2, n_first_steps=15, n_steps=3, n_step_products=8)
"""One point changes little: retrained more exactly than many."""


@dataclass(frozen=True, kw_only=True)
class RetrainedNetwork:
    """The network with the moving point ``(d,)`` of class ``label``: its weights, J."""

    point: Floats
    label: int
    loss: float
    weights: Tensor
    has_weight: bool = True


class NetworkPointRetraining(Retraining[RetrainedNetwork]):
    """A network on fixed points, those placed among them, and one that moves."""

    def __init__(self, network: NetworkRetraining) -> None:
        self.network = network
        self._points, self._labels = network.x[:0], network.y[:0]
        with denormals_as_zero():
            network.retrain(self._points, self._labels)
        self._start = network.weights
        self.counts = network.counts = Counts()

    def retrain(self, point: Floats, label: int) -> RetrainedNetwork:
        """Train on the fixed points and ``point`` ``(d,)`` of class ``label``."""
        self.network.weights = self._start
        with denormals_as_zero():
            loss = self.network.retrain(*self._with(point, label))
        return RetrainedNetwork(point=point, label=label, loss=loss, weights=self.network.weights)

    def gradient(self, fitted: RetrainedNetwork) -> tuple[Floats, float]:
        """dJ/dx_c ``(d,)``, and the relative residual of its linear system."""
        self._return_to(fitted)
        with denormals_as_zero():
            gradient, residual = self.network.gradient()
        return gradient[-1], residual

    def margin_gradient(self, fitted: RetrainedNetwork) -> Floats:
        """The direction ``(d,)`` in which the moving point's own loss falls."""
        self._return_to(fitted)
        return np.asarray(-self.network.loss_gradient()[-1])

    def place(self, fitted: RetrainedNetwork) -> None:
        """Make the moving point, as in ``fitted``, one of the fixed ones."""
        self._points, self._labels = self._with(fitted.point, fitted.label)
        self._start = fitted.weights

    def _with(self, point: Floats, label: int) -> tuple[Floats, Ints]:
        return np.vstack([self._points, point]), np.append(self._labels, label)

    def _return_to(self, fitted: RetrainedNetwork) -> None:
        self.network.take(*self._with(fitted.point, fitted.label))
        self.network.weights = fitted.weights
        self.network.forget_adjoint()  # or a gradient would depend on those asked for before
