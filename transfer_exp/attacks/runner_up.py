"""Ascents of a batch of points away from their class y, where there are more than two, through a growing ball.

    maximise max over k != y of z_k - z_y

has a local maximum a class k: which one is largest shows only when each has been tried, exactly so for a linear model.

    for each class k != y and each epsilon:                         first order, at the clean point
        promise_k = z_k - z_y + <g_k, farthest - x>                 g_k: gradient of z_k - z_y
    choose the classes that come close to the largest promise at any epsilon, n_runner_ups at most; of a linear model, whose
    promises are exact, all that reach it
    for each epsilon:
        for each chosen class: x_k = ascend along z_k - z_y from x_k of the last epsilon            (``trajectory``)
        x = the one of largest margin, the last epsilon's where none is better
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from transfer_exp.attacks.objective import BallBox, Difference, Margin
from transfer_exp.attacks.trajectory import Budget, Models, Trajectory
from transfer_exp.optim.state import Ascent, Effort, unmoved

_EXACT = 1e-6  # of the rise: what rounding may hide between the promises of a linear model, which are exact

_BEHIND = 0.25  # of the rise: what first order may miss of a curved model


class RunnerUpTrajectories:
    """From the ``clean`` points ``(n, d)`` of classes ``label`` ``(n,)`` on; ``base`` ``(n,)``: the objective before.

    balls: all that they will advance through. n_runner_ups: classes tried for each point, at most, of a curved model.
    effort: what was spent before the first ascent.
    """

    def __init__(
        self, models: Models, clean: Tensor, label: Tensor, budget: Budget, balls: Sequence[BallBox], n_runner_ups: int
    ) -> None:
        self.margin = Margin(models.exact, label, None)
        self.every = torch.arange(len(clean), device=clean.device)
        self.base = self.margin.value(clean, self.every)
        self.effort = Effort(score_calls=1, score_rows=len(clean))
        self.best = unmoved(clean, self.base)
        self.chosen: list[tuple[Tensor, Trajectory]] = []
        if not balls:
            return
        promise = _promises(models, clean, label, balls)
        n_classes = promise.shape[2]
        self.effort += Effort(n_classes, n_classes, n_classes * len(clean), n_classes * len(clean))
        for rows, towards in _chosen(promise, self.base, models.exact.linear, n_runner_ups):
            objective = Difference(models.exact, towards, label[rows])
            self.chosen.append((rows, Trajectory(objective, models, clean[rows], budget)))
            self.effort += self.chosen[-1][1].effort

    def advance(self, ball: BallBox, step: float) -> Ascent:
        """The points of the largest objective found in the ball; ``step``: how much wider it is than the last one."""
        before = self.best
        for number, (rows, trajectory) in enumerate(self.chosen):
            whole = len(rows) == len(self.every)
            end = trajectory.advance(ball if whole else ball.at(rows), step)
            if number == 0:  # of all rows
                self.best = replace(end, x=before.x.clone(), value=before.value.clone(), trace=end.trace.copy())
                self.best.exhausted, self.best.zero_gradient = end.exhausted.clone(), end.zero_gradient.clone()
            else:
                self.best.effort += end.effort
            self._keep(rows, end)
        self.best.trace.append(float(self.best.value.double().mean()))
        return self.best

    def _keep(self, rows: Tensor, end: Ascent) -> None:
        """Take over the points of larger margins."""
        value = self.margin.value(end.x, rows)
        better = value > self.best.value[rows]
        for name, new in (
            ("x", end.x),
            ("value", value),
            ("exhausted", end.exhausted),
            ("zero_gradient", end.zero_gradient),
        ):
            getattr(self.best, name)[rows[better]] = new[better]
        self.best.effort += Effort(score_calls=1, score_rows=len(rows))


def _promises(models: Models, clean: Tensor, label: Tensor, balls: Sequence[BallBox]) -> Tensor:
    """First-order largest z_k - z_y in each ball, ``(E, n, K)``; -inf for k = y."""
    every, n_classes = torch.arange(len(clean), device=clean.device), int(models.exact.n_classes)
    promise = clean.new_full((len(balls), len(clean), n_classes), -torch.inf)
    for k in range(n_classes):
        difference = Difference(models.exact, torch.full_like(label, k), label)
        value, gradient = difference.value(clean, every), difference.gradient(clean, every)
        for number, ball in enumerate(balls):
            promise[number, :, k] = value + torch.linalg.vecdot(gradient, ball.farthest(gradient, every) - clean)
    return promise.scatter(2, label.expand(len(balls), -1)[..., None], -torch.inf)


def _chosen(promise: Tensor, base: Tensor, linear: bool, n_most: int) -> list[tuple[Tensor, Tensor]]:
    """Rows and classes to try: each point's best class first, then the second best of the points that have one, ..."""
    best = promise.amax(2, keepdim=True)
    behind = (best - promise) / (best - base[:, None]).clamp(min=torch.finfo(base.dtype).tiny)
    closest = behind.amin(0)
    tried = closest <= (_EXACT if linear else _BEHIND)
    order = torch.where(tried, closest + _EXACT * behind.mean(0).clamp(max=1 / _EXACT), torch.inf).argsort(
        dim=1, stable=True
    )
    n_tried = tried.sum(1) if linear else tried.sum(1).clamp(max=n_most)
    rows = [(n_tried > number).nonzero()[:, 0] for number in range(int(n_tried.max()))]
    return [(some, order[some, number]) for number, some in enumerate(rows)]
