"""Evasion of networks: single precision, no polish, at most ``n_gradients`` passes a point and epsilon.

    maximise  m(u) = max_{k != y} z_k(x_0 + u) - z_y(x_0 + u)     or     z_t - max_{k != t} z_k
    subject to  |u|_p <= epsilon,  lower <= x_0 + u <= upper

A pass is a forward and a backward one, of all points of a batch. m has as many local maxima as there are classes to go for,
and kinks where two of them are equal. So early steps go along a smooth maximum of the other logits (log-sum-exp), whose
temperature falls to zero, and steps shorten, so that late ones settle:

    u, g = 0 and the gradient there                                                                    (one pass)
    for epsilon in the ascending grid:
        u, g = the best offset so far and its gradient
        for each step, as many as passes are left, length and heat falling towards zero:
            d = momentum d + g / |g|_1                     (where g = 0 at the start: d = a random direction, first)
            u = project(u + length * steepest(d)), of the first step the farthest point             (``balls``)
            g = gradient at u, the other classes weighted by softmax(z / T),                           (one pass)
                T = heat * (max_{k != y} z_k - mean_{k != y} z_k)
            keep u and g where m is largest

The best offset of the last epsilon lies in the next ball, so that the objective never falls as epsilon grows. Everything is
kept as offsets u from the clean points: rounding then is a share of u, not of x.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transfer_exp.attacks.crafted import Crafted
from transfer_exp.attacks.objective import require_finite
from transfer_exp.learners import Model
from transfer_exp.optim.balls import Ball
from transfer_exp.optim.state import Ascent, Effort, unmoved
from transfer_exp.types import Box, Floats, Ints

_MOMENTUM = 0.5
HEAT = 0.5  # of the first step: temperature, as a share of the spread of the other logits
_COLD = 0.8  # share of the steps after which only the largest of the other logits counts


class Landscape:
    """The objective of a batch around its clean points ``(n, d)``; every look at it is a pass through the network.

    goals: ``(n,)``, the classes t; None: any but the ``label`` ``(n,)``.
    """

    def __init__(self, model: Model, clean: Tensor, label: Tensor, goals: Tensor | None) -> None:
        self.model, self.clean = model, clean
        self.place = (label if goals is None else goals)[:, None]
        self.sign = 1.0 if goals is None else -1.0

    def look(self, offset: Tensor, heat: float) -> tuple[Tensor, Tensor]:
        """m ``(n,)`` at the offsets ``(n, d)``, and the gradient ``(n, d)`` of its smooth maximum, of l1 norm 1 or 0.

        Raises UserError where logits or gradients are not finite.
        """
        x = (self.clean + offset).requires_grad_()
        logits = self.model(x)
        weight, value = self._weighted(logits.detach(), heat)
        (gradient,) = torch.autograd.grad(logits, x, weight)
        size = torch.linalg.vector_norm(gradient, ord=1, dim=1, keepdim=True)
        require_finite(self.model, "gradients", size)
        return value, gradient / torch.where(size > 0, size, 1.0)

    def _weighted(self, logits: Tensor, heat: float) -> tuple[Tensor, Tensor]:
        """The weight of each logit ``(n, K)`` in the smooth objective, and m ``(n,)``."""
        require_finite(self.model, "logits", logits)
        own = logits.gather(1, self.place)
        others = logits.scatter(1, self.place, -torch.inf)
        largest, first = others.max(1, keepdim=True)
        if heat > 0:
            spread = largest - (logits.sum(1, keepdim=True) - own) / (logits.shape[1] - 1)
            temperature = torch.where(spread > 0, heat * spread, 1.0)
            weight = torch.softmax((others - largest) / temperature, 1)
        else:
            weight = torch.zeros_like(logits).scatter_(1, first, 1.0)
        return self.sign * weight.scatter_(1, self.place, -1.0), self.sign * (largest - own)[:, 0]


@dataclass
class Reached:
    """The best offsets ``(n, d)`` so far, m ``(n,)`` and its gradient ``(n, d)`` there."""

    offset: Tensor
    value: Tensor
    gradient: Tensor

    def keep(self, offset: Tensor, value: Tensor, gradient: Tensor) -> None:
        """Take over what is better."""
        better = (value > self.value)[:, None]
        self.offset = torch.where(better, offset, self.offset)
        self.gradient = torch.where(better, gradient, self.gradient)
        self.value = torch.maximum(value, self.value)


@dataclass(frozen=True)
class Steps:
    """Projected steps in the balls around a batch of clean points.

    low, high: ``(n, d)``, the box, seen from the points. elsewhere: ``(d,)``, where to go from a point without a slope.
    """

    landscape: Landscape
    ball: Ball
    low: Tensor
    high: Tensor
    elsewhere: Tensor

    def ascend(self, best: Reached, epsilon: float, n_steps: int) -> Ascent:
        """Go on from the best offsets in a ball that is no smaller, ``n_steps`` passes; ``best`` is kept up to date."""
        trace = [float(best.value.double().mean())]
        for u, value, gradient in self.walk(best.offset, best.gradient, epsilon, n_steps):
            best.keep(u, value, gradient)
            trace.append(float(best.value.double().mean()))
        end = unmoved(best.offset, best.value)
        end.trace, end.zero_gradient = trace, (best.gradient == 0).all(1)
        end.effort = Effort(gradient_calls=n_steps, gradient_rows=n_steps * len(u))
        return end

    def walk(self, u: Tensor, gradient: Tensor, epsilon: float, n_steps: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """The offsets after each step from ``u``, m there and its gradient."""
        flat = (gradient == 0).all(1, keepdim=True)
        moving = torch.where(flat, self.elsewhere, 0.0)
        for k in range(n_steps):
            moving = _MOMENTUM * moving + gradient
            u = self._step(u, moving, epsilon, k / n_steps)
            value, gradient = self.landscape.look(u, HEAT * max(0.0, 1 - (k + 1) / (_COLD * n_steps)))
            yield u, value, gradient

    def _step(self, u: Tensor, direction: Tensor, epsilon: float, share: float) -> Tensor:
        """The next offsets; ``share`` of the steps have been made. The first ones are the best where m is linear."""
        if share == 0:
            return self.ball.farthest(direction, epsilon=epsilon, low=self.low, high=self.high)
        length = self.ball.first_step * (1 + math.cos(math.pi * share)) / 2
        step = self.ball.steepest(direction, epsilon=epsilon, low=self.low, high=self.high)
        return self.ball.project(u + length * step, epsilon=epsilon, low=self.low, high=self.high)


def around(model: Model, x: Floats, y: Ints, goals: Ints | None, box: Box, *, ball: Ball, dtype: torch.dtype) -> Steps:
    """The steps around points ``(n, d)`` of classes ``(n,)``, in a precision; goals: as in ``Evasion.craft``."""
    device = model.like.device

    def on_device(values: np.ndarray[Any, Any], dtype: torch.dtype = dtype) -> Tensor:
        return torch.as_tensor(values).to(device, dtype)

    label, target = (None if a is None else on_device(a, torch.int64) for a in (y, goals))
    assert label is not None
    landscape = Landscape(model, on_device(x), label, target)
    elsewhere = torch.randn(x.shape[1], generator=torch.Generator().manual_seed(0))  # one for all: batches change nothing
    room = on_device(box.lower - x), on_device(box.upper - x)
    return Steps(landscape, ball, *room, elsewhere.to(device, dtype))


def craft_on_network(
    model: Model,
    x: Floats,
    y: Ints,
    goals: Ints | None,
    epsilons: Sequence[float],
    box: Box,
    *,
    ball: Ball,
    n_gradients: int,
) -> Crafted:
    """Attack points ``(n, d)`` of classes ``(n,)`` on a network at every epsilon of the ascending grid, all at once.

    goals: as in ``Evasion.craft``. Raises UserError where the network's logits or gradients are not finite.
    """
    steps = around(model, x, y, goals, box, ball=ball, dtype=torch.float32)
    landscape = steps.landscape
    start = torch.zeros_like(landscape.clean)
    value, gradient = landscape.look(start, HEAT)
    best, clean = Reached(start, value, gradient), value
    found: list[Ascent] = []
    for epsilon in epsilons:
        if epsilon > 0:
            found.append(steps.ascend(best, epsilon, n_gradients - (not found)))
        else:
            found.append(unmoved(start, clean))
    found[0].effort += Effort(gradient_calls=1, gradient_rows=len(x))
    return Crafted.of(found, start, clean)
