"""Ascents of a batch of points towards one class t each, of more than two, through a growing ball.

    maximise min over k != t of z_t - z_k

is a maximum at a kink, as a rule, where several classes are equally close: plain ascent gets stuck there long before. So:

    w = equal weights of the other classes, T = a tenth of what the logits change to the farthest point
    x = ascend along the smooth target z_t - T log sum_k w_k exp(z_k / T)                 (``trajectory``)
    repeat until the gap is small:
        keep x where its margin is the largest so far
        w_k <- w_k exp(z_k(x) / T), normalised           the classes in the way weigh more
        T <- T / 2 where the gap is not the ascent's     (left <= above)
        x = ascend along the new smooth target, from x

This is the method of exponential multipliers (Tseng and Bertsekas 1993): with the right weights the smooth target is
largest where the margin is, at temperatures at which it is still smooth. With d_k = z_t - z_k and g the gradient of the
mean sum_k w_k d_k, the gap to the best margin is at most

    left   <g, farthest - x>                    what the ascent leaves, to first order
  + above  sum_k w_k d_k(x) - min_k d_k(x)      what the weights leave

of a linear model; of a curved one both are zero at a local maximum.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from transfer_exp.attacks.objective import BallBox, Margin, SmoothTarget
from transfer_exp.attacks.trajectory import Budget, Models, Trajectory
from transfer_exp.optim.state import Ascent, Effort, unmoved

_WARM, _COOLER = 0.1, 0.5
_CLOSE = 2e-5  # of the rise: a gap that is small
_LEAST_LOG_WEIGHT = -20.0  # a class that is out of the way may come into it later
_LINEAR = {"n_stages": 20, "finer": 2e-4}  # evaluations of a linear model are cheap
_CURVED = {"n_stages": 8, "finer": 0.02}


class TargetTrajectory:
    """From the ``clean`` points ``(n, d)`` on, towards the classes ``(n,)``; ``base`` ``(n,)``: their margins before.

    effort: what was spent before the first ascent.
    """

    def __init__(self, models: Models, clean: Tensor, target: Tensor, budget: Budget) -> None:
        stages = _LINEAR if models.exact.linear else _CURVED
        self.models, self.clean, self.budget = models, clean, budget
        self.longer = replace(budget, n_iter=2 * budget.n_iter, tolerance=stages["finer"] * budget.tolerance)
        self.n_stages = int(stages["n_stages"])
        self.margin = Margin(models.exact, target, target)
        self.every = torch.arange(len(clean), device=clean.device)
        with torch.no_grad():
            self.logits = models.exact(clean)
        self.base = self.margin.of(self.logits, self.every)
        self.effort = Effort(score_calls=1, score_rows=len(clean))
        self.best = unmoved(clean, self.base)

    def advance(self, ball: BallBox, step: float) -> Ascent:
        """The points of the largest margin found in the ball; ``step``: how much wider it is than the last one."""
        objective, first = self._smooth(ball), self.best
        start = Trajectory(objective, self.models, self.clean, self.budget)
        start.state = unmoved(first.x, objective.value(first.x, self.every))
        end = start.advance(ball, step)
        self.best = replace(end, x=first.x.clone(), value=first.value.clone(), trace=first.trace[-1:])
        self.best.effort += start.effort + Effort(1, 3, len(end.x), 3 * len(end.x))
        rows, x = self.every, end.x
        for _ in range(self.n_stages):
            rows, x, objective = self._reweigh(ball, rows, x, objective)
            if not len(rows):
                break
            begun = unmoved(x, objective.value(x, torch.arange(len(rows), device=rows.device)))
            again = self.longer.climb(objective, ball.at(rows), begun, begun.value - self._rise(rows), step)
            self.best.effort += again.effort + Effort(score_calls=1, score_rows=len(rows))
            x = again.x
        self._keep(rows, x, self.margin.value(x, rows))
        return self.best

    def _smooth(self, ball: BallBox) -> SmoothTarget:
        """The first smooth target in the ball, with equal weights."""
        n_classes, target = self.logits.shape[1], self.margin.label
        log_weight = torch.full_like(self.logits, -math.log(n_classes - 1)).scatter(1, target[:, None], -torch.inf)
        unit = SmoothTarget(self.models.exact, target, log_weight, torch.ones_like(self.base))
        corner = ball.farthest(unit.gradient(self.clean, self.every), self.every)
        with torch.no_grad():
            moved = self.models.exact(corner) - self.logits
        change = (moved - moved.gather(1, target[:, None])).abs().amax(1)
        return SmoothTarget(self.models.exact, target, log_weight, _WARM * torch.where(change > 0, change, 1.0))

    def _reweigh(
        self, ball: BallBox, rows: Tensor, x: Tensor, objective: SmoothTarget
    ) -> tuple[Tensor, Tensor, SmoothTarget]:
        """Keep the better points; rows, points and new smooth targets of those whose gap is not small yet."""
        part, place = torch.arange(len(rows), device=rows.device), x.detach().requires_grad_()
        logits = self.models.exact(place)
        log_weight = torch.log_softmax(objective.terms(logits.detach(), part), 1).clamp(min=_LEAST_LOG_WEIGHT)
        log_weight = torch.log_softmax(log_weight.scatter(1, objective.towards[:, None], -torch.inf), 1)
        mean = torch.linalg.vecdot(log_weight.exp(), logits.gather(1, objective.towards[:, None]) - logits)
        (gradient,) = torch.autograd.grad(mean.sum(), place)
        value, mean = self.margin.of(logits.detach(), rows), mean.detach()
        self._keep(rows, x, value)
        self.best.effort += Effort(gradient_calls=1, gradient_rows=len(rows))
        left = torch.linalg.vecdot(gradient, ball.at(rows).farthest(gradient, part) - x)
        temperature = objective.temperature * torch.where(left > mean - value, 1.0, _COOLER)
        going = (mean + left - self.best.value[rows] > _CLOSE * self._rise(rows)).nonzero()[:, 0]
        rest = SmoothTarget(self.models.exact, objective.towards[going], log_weight[going], temperature[going])
        return rows[going], x[going], rest

    def _keep(self, rows: Tensor, x: Tensor, value: Tensor) -> None:
        """Take over the points of larger margins."""
        better = value > self.best.value[rows]
        self.best.x[rows[better]], self.best.value[rows[better]] = x[better], value[better]
        self.best.trace.append(float(self.best.value.double().mean()))

    def _rise(self, rows: Tensor) -> Tensor:
        return (self.best.value[rows] - self.base[rows]).abs()
