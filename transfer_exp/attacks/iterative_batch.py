"""Points that an iterative transfer attack moves together (the loop: see ``iterative``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from transfer_exp.attacks.crafted import Crafted
from transfer_exp.attacks.iterative_draws import Draws
from transfer_exp.attacks.iterative_inputs import Images, Known, gaussian_kernel, smoothed
from transfer_exp.attacks.iterative_loss import Loss
from transfer_exp.attacks.iterative_options import Options
from transfer_exp.attacks.iterative_steps import Stepping
from transfer_exp.attacks.objective import Margin, require_finite
from transfer_exp.learners import Model
from transfer_exp.optim.state import Ascent, Effort, unmoved
from transfer_exp.types import Floats


@dataclass(frozen=True)
class Batch:
    """Points ``clean`` ``(n, d)`` on a model; ``x``: the same in full precision, whose numbers say what is drawn.

    images: what they are, where the options ask; known: what is mixed in.
    """

    options: Options
    model: Model
    loss: Loss
    stepping: Stepping
    clean: Tensor
    x: Floats
    images: Images | None
    known: Known | None

    def attacked(self, epsilons: Sequence[float]) -> Crafted:
        """The results of the whole grid."""
        start = unmoved(torch.zeros_like(self.clean), self._margin(self.clean))
        ends = [self._at(epsilon, start) if epsilon > 0 else start for epsilon in epsilons]
        ends[0].effort += Effort(score_calls=1, score_rows=len(self.clean))
        return Crafted.of(ends, start.x, start.value)

    def _at(self, epsilon: float, start: Ascent) -> Ascent:
        """Where the points are in the end; offsets, not points: rounding then is a share of them."""
        options, stepping, draws = self.options, self.stepping, Draws(self.options.seed, self.x)
        length, radius = options.length * epsilon / options.n_steps, options.neighbour_radius * epsilon
        u = stepping.project(start.x + epsilon * stepping.noise(draws), epsilon) if options.random_start else start.x
        velocity, variance = torch.zeros_like(u), torch.zeros_like(u)
        flat = torch.zeros(len(u), dtype=torch.bool, device=u.device)
        for _ in range(options.n_steps):
            ahead = u + options.momentum * length * velocity if options.nesterov else u
            averaged = options.n_neighbours > 0 and options.neighbours == "mean"
            gradient = self._around(ahead, radius, draws) if averaged else self._gradient(ahead, draws)
            flat |= (gradient == 0).all(1)
            velocity = options.momentum * velocity + stepping.unit(self._smooth(gradient + variance))
            if options.n_neighbours and not averaged:
                variance = self._around(u, radius, draws) - gradient
            u = stepping.project(u + stepping.step(velocity, length, u), epsilon)
        end = unmoved(u, self._margin(self.clean + u))
        end.zero_gradient, end.trace = flat, [*start.trace, *end.trace]
        calls = options.n_steps * options.gradients_per_step
        end.effort = Effort(gradient_calls=calls, gradient_rows=calls * len(u), score_calls=1, score_rows=len(u))
        return end

    def _around(self, offset: Tensor, radius: float, draws: Draws) -> Tensor:
        """The mean of gradients ``(n, d)`` at random points around the offsets."""
        total = torch.zeros_like(offset)
        for _ in range(self.options.n_neighbours):
            total += self._gradient(offset + radius * self.stepping.noise(draws), draws)
        return total / self.options.n_neighbours

    def _gradient(self, offset: Tensor, draws: Draws) -> Tensor:
        """The mean of gradients ``(n, d)`` over the copies of the points at these offsets."""
        x = (self.clean + offset).requires_grad_()
        total = torch.zeros_like(offset)
        for copy in self.options.copies.of(x, self.loss.label, self.known, self.images, draws):
            (gradient,) = torch.autograd.grad(self.loss(self.model, copy).sum(), x)
            total += gradient
        require_finite(self.model, "gradients", total)
        return total / self.options.copies.n

    def _smooth(self, gradient: Tensor) -> Tensor:
        if self.images is None or self.options.kernel_size == 1:
            return gradient
        return smoothed(gradient, gaussian_kernel(self.options.kernel_size, self.options.kernel_reach), self.images)

    def _margin(self, x: Tensor) -> Tensor:
        rows = torch.arange(len(x), device=x.device)
        return Margin(self.model, self.loss.label, self.loss.target).value(x, rows)
