"""What an evasion attack maximises, and where: differences of logits, in a norm ball within a box, a set for every point.

    difference     z_c - z_o                                        towards class c, away from class o
    margin         max_{k != y} z_k - z_y  (any class but y)   or   z_t - max_{k != t} z_k  (class t)
    smooth target  z_t - T log sum_{k != t} w_k exp(z_k / T)        sum_k w_k = 1; above the margin by T log(1 / w_k) at most

Of two classes all three are one and the same. The margin is what counts; ascents go along the other two (``trajectory``).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy, deepcopy

import torch
from torch import Tensor

from transfer_exp.learners import Model
from transfer_exp.margin import margins
from transfer_exp.optim.balls import Ball
from transfer_exp.optim.batches import rows_of
from transfer_exp.types import Box, Floats, UserError


class Objective(ABC):
    """A function of a model's logits, a point's own for each of n points; ``towards`` ``(n,)``: the class it rises for."""

    def __init__(self, model: Model, towards: Tensor) -> None:
        self.model, self.towards = model, towards

    @abstractmethod
    def of(self, logits: Tensor, rows: Tensor) -> Tensor:
        """The objective ``(m,)`` of logits ``(m, K)``."""

    @abstractmethod
    def at(self, rows: Tensor) -> Objective:
        """The objective of these rows alone."""

    @abstractmethod
    def on(self, model: Model) -> Objective:
        """The same of another model, in the precision of that."""

    @torch.no_grad()
    def value(self, x: Tensor, rows: Tensor) -> Tensor:
        """The objective ``(m,)`` at points ``(m, d)``."""
        return self.of(self.model(x), rows)

    def gradient(self, x: Tensor, rows: Tensor) -> Tensor:
        """Its gradient in x, ``(m, d)``."""
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.of(self.model(x), rows).sum(), x)
        return gradient


class Difference(Objective):
    """z_towards - z_away, for classes ``(n,)``; ``weight`` ``(n, K)`` is 1 and -1 there, 0 elsewhere."""

    def __init__(self, model: Model, towards: Tensor, away: Tensor, weight: Tensor | None = None) -> None:
        super().__init__(model, towards)
        self.away = away
        if weight is None:
            each = torch.arange(model.n_classes, device=towards.device)
            weight = (each == towards[:, None]).to(model.like) - (each == away[:, None]).to(model.like)
        self.weight = weight

    def at(self, rows: Tensor) -> Difference:
        """The objective of these rows alone."""
        return Difference(self.model, self.towards[rows], self.away[rows], self.weight[rows])

    def on(self, model: Model) -> Difference:
        """The same of another model."""
        return Difference(model, self.towards, self.away, self.weight.to(model.like))

    def of(self, logits: Tensor, rows: Tensor) -> Tensor:
        """One logit less the other."""
        return (logits * rows_of(self.weight, rows)).sum(1)

    def gradient(self, x: Tensor, rows: Tensor) -> Tensor:
        """Its gradient in x, ``(m, d)``; in the logits it is the weights."""
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.model(x), x, rows_of(self.weight, rows))
        return gradient


class SmoothTarget(Objective):
    """z_t - T log sum_{k != t} w_k exp(z_k / T), for classes t ``(n,)``, log w ``(n, K)`` (-inf at t), T ``(n,)``."""

    def __init__(self, model: Model, target: Tensor, log_weight: Tensor, temperature: Tensor) -> None:
        super().__init__(model, target)
        self.log_weight, self.temperature = log_weight, temperature

    def at(self, rows: Tensor) -> SmoothTarget:
        """The objective of these rows alone."""
        return SmoothTarget(self.model, self.towards[rows], self.log_weight[rows], self.temperature[rows])

    def on(self, model: Model) -> SmoothTarget:
        """The same of another model."""
        dtype = model.like.dtype
        return SmoothTarget(model, self.towards, self.log_weight.to(dtype), self.temperature.to(dtype))

    def of(self, logits: Tensor, rows: Tensor) -> Tensor:
        """The target's logit less the smooth maximum of the others."""
        temperature = self.temperature[rows]
        own = logits.gather(1, self.towards[rows, None])[:, 0]
        return own - temperature * torch.logsumexp(self.terms(logits, rows), 1)

    def terms(self, logits: Tensor, rows: Tensor) -> Tensor:
        """z_k / T + log w_k, ``(m, K)``."""
        return logits / self.temperature[rows, None] + self.log_weight[rows]


class Margin:
    """What counts in the end: the margin of the target, where there is one, else that of the label, turned round."""

    def __init__(self, model: Model, label: Tensor, target: Tensor | None) -> None:
        self.model, self.label, self.target = model, label, target

    @torch.no_grad()
    def value(self, x: Tensor, rows: Tensor) -> Tensor:
        """The objective ``(m,)`` at points ``(m, d)``."""
        return self.of(self.model(x), rows)

    def of(self, logits: Tensor, rows: Tensor) -> Tensor:
        """The objective ``(m,)`` of logits ``(m, K)``."""
        return -margins(logits, self.label[rows]) if self.target is None else margins(logits, self.target[rows])


class BallBox:
    """The ball of radius ``epsilon`` around each clean point ``(n, d)``, within the box."""

    def __init__(self, center: Tensor, lower: Tensor, upper: Tensor, ball: Ball, epsilon: float) -> None:
        self.center, self.lower, self.upper = center, lower, upper
        self.ball, self.epsilon = ball, epsilon
        self.low, self.high = lower - center, upper - center

    def of_radius(self, epsilon: float) -> BallBox:
        """The same with another radius; shares the tensors."""
        other = copy(self)
        other.epsilon = epsilon
        return other

    def at(self, rows: Tensor) -> BallBox:
        """The sets of these rows alone."""
        return BallBox(self.center.index_select(0, rows), self.lower, self.upper, self.ball, self.epsilon)

    def single(self) -> BallBox:
        """The same in single precision."""
        return BallBox(self.center.float(), self.lower.float(), self.upper.float(), self.ball, self.epsilon)

    def project(self, x: Tensor, rows: Tensor) -> Tensor:
        """Nearest feasible points."""
        center, low, high = self._of(rows)
        return center + self.ball.project(x - center, epsilon=self.epsilon, low=low, high=high)

    def farthest(self, direction: Tensor, rows: Tensor) -> Tensor:
        """Feasible points farthest along the direction."""
        center, low, high = self._of(rows)
        return center + self.ball.farthest(direction, epsilon=self.epsilon, low=low, high=high)

    def along(self, direction: Tensor) -> Tensor:
        """A point of every set, far along the direction ``(n, d)``."""
        return self.center + self.ball.along(direction, epsilon=self.epsilon, low=self.low, high=self.high)

    def scatter(self, n: int, *, seed: int) -> Tensor:
        """Places ``(n, d)`` in the ball, the same for every set."""
        return self.ball.scatter(n, self.center.shape[1], epsilon=self.epsilon, seed=seed).to(self.center)

    def at_place(self, place: Tensor, rows: Tensor) -> Tensor:
        """Feasible points of these rows at a place ``(d,)`` of ``scatter``."""
        center = rows_of(self.center, rows)
        return self.ball.at_place(place, epsilon=self.epsilon, center=center, lower=self.lower, upper=self.upper)

    def _of(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Centers and bounds of these rows."""
        return tuple(rows_of(t, rows) for t in (self.center, self.low, self.high))


def single_precision(model: Model) -> Model:
    """A copy in single precision; the model itself where it is so."""
    return model if model.like.dtype == torch.float32 else deepcopy(model).float()


def require_gradients(model: Model) -> None:
    """Raise UserError for a model that no gradient attack can be made on."""
    if not model.differentiable:
        raise UserError(
            f"surrogate: expected a learner with input gradients, got {type(model).__name__}; forests can only be targets"
        )


def require_inside(x: Floats, box: Box) -> None:
    """Raise UserError on points ``(n, d)`` outside the box."""
    if bool(((x < box.lower) | (x > box.upper)).any()):
        raise UserError("attack: expected every point inside the box, got some outside; widen lower and upper")


def require_finite(model: Model, what: str, values: Tensor) -> None:
    """Raise UserError where ``values`` ``(n, m)`` of attacked points are not finite; ``what``: what they are."""
    finite = torch.isfinite(values).all(1)
    if not bool(finite.all()):
        name = getattr(model, "label", type(model).__name__)
        raise UserError(
            f"{name}: expected finite {what} of attacked points, got others for {int((~finite).sum())} of "
            f"{len(finite)}; check weights and preprocessing"
        )
