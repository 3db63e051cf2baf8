"""How long gradients and steps of an iterative transfer attack are, and where its random neighbours lie.

Sizes are those of the ball's norm; the gradient of linf is measured by its mean absolute value, as the papers' code does.

    step        linf                 l2             l1
    steepest    sign(v)              v / |v|_2      the heaviest features, up to their faces of the box
    sign        sign(v), scaled to the size of a step
    normalised  v / max |v|          v / |v|_2      v / |v|_1
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from transfer_exp.attacks.iterative_draws import Draws
from transfer_exp.optim.balls import Ball

Step: TypeAlias = Literal["steepest", "sign", "normalised"]


@dataclass(frozen=True)
class Stepping:
    """Steps within the box ``low <= u <= high``, each ``(n, d)``, seen from the clean points."""

    ball: Ball
    kind: Step
    low: Tensor
    high: Tensor

    def unit(self, gradient: Tensor) -> Tensor:
        """Gradients ``(n, d)`` of which none counts for more than another; what is 0 stays so."""
        largest = gradient.abs().amax(1, keepdim=True)  # whose squares may be 0 in single precision
        gradient = gradient / torch.where(largest > 0, largest, 1.0)
        is_linf = np.isinf(self.ball.order)
        size = gradient.abs().mean(1, keepdim=True) if is_linf else self._size(gradient)
        return gradient / torch.where(size > 0, size, 1.0)

    def step(self, direction: Tensor, length: float, at: Tensor) -> Tensor:
        """Steps ``(n, d)`` of this length along ``direction`` from the offsets ``at``."""
        if self.kind == "steepest":
            return self.ball.steepest(direction, epsilon=length, low=self.low - at, high=self.high - at)
        step = direction.sign() if self.kind == "sign" else direction
        size = self._size(step)
        return step * (length / torch.where(size > 0, size, 1.0))

    def project(self, offset: Tensor, epsilon: float) -> Tensor:
        """The nearest offsets ``(n, d)`` of ball and box."""
        return self.ball.project(offset, epsilon=epsilon, low=self.low, high=self.high)

    def noise(self, draws: Draws) -> Tensor:
        """Offsets ``(n, d)``: uniform in the unit ball of linf, on the unit sphere of others."""
        shape = (self.low.shape[1],)
        if np.isinf(self.ball.order):
            return torch.from_numpy(draws.of(lambda one: one.uniform(-1, 1, shape))).to(self.low)
        drawn = draws.of(lambda one: self.ball.random_direction(shape, one))
        return torch.from_numpy(drawn / self.ball.size(drawn)[:, None]).to(self.low)

    def _size(self, offset: Tensor) -> Tensor:
        size: Tensor = torch.linalg.vector_norm(offset, ord=self.ball.order, dim=1, keepdim=True)
        return size
