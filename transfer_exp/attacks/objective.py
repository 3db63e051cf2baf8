"""What an evasion attack maximises, and where: the margin -y f(x) in a norm ball within a box, a set for every point."""

from __future__ import annotations

from copy import deepcopy
from functools import cached_property

import torch
from torch import Tensor

from transfer_exp.learners import Model
from transfer_exp.measures import perturbation_size
from transfer_exp.optim.batches import rows_of
from transfer_exp.optim.projections import farthest, project
from transfer_exp.types import Norm, UserError


class Margin:
    """The objective -y f(x) of a model, for labels ``(n,)``."""

    def __init__(self, model: Model, label: Tensor) -> None:
        self.model, self.label = model, label

    def at(self, rows: Tensor) -> Margin:
        """The objective of these rows alone."""
        return Margin(self.model, self.label[rows])

    @cached_property
    def single(self) -> Margin:
        """The same in single precision; itself where it is so."""
        if self.label.dtype == torch.float32:
            return self
        return Margin(deepcopy(self.model).float(), self.label.float())

    @torch.no_grad()
    def value(self, x: Tensor, rows: Tensor) -> Tensor:
        """-y f(x), ``(m,)``."""
        value: Tensor = -self.label[rows] * self.model(x)
        return value

    def gradient(self, x: Tensor, rows: Tensor) -> Tensor:
        """Its gradient in x, ``(m, d)``."""
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad((-self.label[rows] * self.model(x)).sum(), x)
        return gradient


class BallBox:
    """The ball of radius ``epsilon`` around each clean point, within the box."""

    def __init__(self, center: Tensor, lower: Tensor, upper: Tensor, norm: Norm, epsilon: float) -> None:
        self.center, self.lower, self.upper = center, lower, upper
        self.norm, self.epsilon = norm, epsilon
        self.low, self.high = lower - center, upper - center

    def at(self, rows: Tensor) -> BallBox:
        """The sets of these rows alone."""
        return BallBox(self.center.index_select(0, rows), self.lower, self.upper, self.norm, self.epsilon)

    def single(self) -> BallBox:
        """The same in single precision."""
        return BallBox(self.center.float(), self.lower.float(), self.upper.float(), self.norm, self.epsilon)

    def project(self, x: Tensor, rows: Tensor) -> Tensor:
        """Nearest feasible points."""
        center, low, high = self._of(rows)
        return center + project(x - center, norm=self.norm, epsilon=self.epsilon, low=low, high=high)

    def farthest(self, direction: Tensor, rows: Tensor) -> Tensor:
        """Feasible points farthest along the direction."""
        center, low, high = self._of(rows)
        return center + farthest(direction, norm=self.norm, epsilon=self.epsilon, low=low, high=high)

    def along(self, direction: Tensor) -> Tensor:
        """A point of every set, far along the direction ``(n, d)``; in l1 no vertex, for a direction has only one."""
        every = torch.arange(len(direction), device=direction.device)
        if self.norm == "l1":
            return self.project(self.center + self.epsilon * direction, every)
        return self.farthest(direction, every)

    def scatter(self, n: int, *, seed: int) -> Tensor:
        """Places ``(n, d)`` in the unit ball, the same for every set; in l1 most leave features out, as its vertices do."""
        random, d = torch.Generator().manual_seed(seed), self.center.shape[1]
        strata = torch.rand((n, d), generator=random).argsort(0)  # every feature takes one value in each n-th of its range
        places = 2 * (strata + torch.rand((n, d), generator=random)) / n - 1
        if self.norm == "l1":
            n_moved = torch.ceil(d ** torch.rand((n, 1), generator=random))
            places *= torch.rand((n, d), generator=random).argsort(1) < n_moved
        length = torch.from_numpy(perturbation_size(places.numpy(), self.norm))[:, None]
        return (places / length.clamp(min=1)).to(self.center)

    def at_place(self, place: Tensor, rows: Tensor) -> Tensor:
        """Feasible points at a place ``(d,)`` (or one a row) of the unit ball; the box only brings them nearer."""
        return torch.add(rows_of(self.center, rows), place, alpha=self.epsilon).clamp_(self.lower, self.upper)

    def _of(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Centers and bounds of these rows."""
        return tuple(rows_of(t, rows) for t in (self.center, self.low, self.high))


def require_gradients(model: Model) -> None:
    """Raise UserError for a model that no gradient attack can be made on."""
    if not model.differentiable:
        raise UserError(
            f"surrogate: expected a learner with input gradients, got {type(model).__name__}; forests can only be targets"
        )
