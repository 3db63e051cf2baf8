"""Ascents of a batch of points along one objective, through a growing ball: each epsilon starts from the last one's end.

x = ascend from the last epsilon's x
if the model is not linear:
    x = the best of x and what further starts lead to, in single precision        (``exploring``)
    x = ascend from x in double precision
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from transfer_exp.attacks.exploring import Explorer
from transfer_exp.attacks.objective import BallBox, Objective
from transfer_exp.learners import Model
from transfer_exp.optim.ascent import ascend
from transfer_exp.optim.state import Ascent, Effort, Slopes, unmoved


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What an ascent may cost; the options of ``Evasion`` of these names."""

    n_iter: int
    tolerance: float
    n_walk: int
    n_restarts: int

    def climb(self, objective: Objective, ball: BallBox, start: Ascent, base: Tensor, step: float) -> Ascent:
        """One ascent from ``start``, ``step`` the first length to try; rises count from ``base`` ``(n,)``."""
        steps = torch.full_like(base, step)
        return ascend(objective, ball, start=start, baseline=base, step=steps, n_iter=self.n_iter, tolerance=self.tolerance)


@dataclass(frozen=True)
class Models:
    """The model to attack, and in single precision, where curved objectives are explored."""

    exact: Model
    single: Model


class Trajectory:
    """Along one objective from the ``clean`` points ``(n, d)`` on, where it is ``base`` ``(n,)``.

    state: where the last ascent ended; set it to go on from elsewhere. effort: what was spent before the first.
    """

    def __init__(self, objective: Objective, models: Models, clean: Tensor, budget: Budget) -> None:
        self.objective, self.budget, self.curved = objective, budget, not models.exact.linear
        self.every = torch.arange(len(clean), device=clean.device)
        self.base, first = objective.value(clean, self.every), objective.gradient(clean, self.every)
        self.state = unmoved(clean, self.base, Slopes(first.clone(), torch.ones_like(self.every, dtype=torch.bool)))
        self.effort = Effort(1, 1, len(clean), len(clean))
        self.same = models.single is models.exact
        if self.curved:
            single = objective if self.same else objective.on(models.single)
            at_clean = first.float(), self.base.float()
            self.explorer = Explorer(single, *at_clean, budget.climb, budget.n_walk, budget.n_restarts)

    def advance(self, ball: BallBox, step: float) -> Ascent:
        """The best end found in the ball; ``step``: how much wider it is than the last one."""
        before = self.state
        if not self.curved:
            self.state = self.budget.climb(self.objective, ball, before, self.base, step)
            return self.state
        explored = self.explorer.explore(ball.single(), before.single(), step)
        self.state = explored if self.same else self._polish(ball, explored, before, step)
        return self.state

    def _polish(self, ball: BallBox, explored: Ascent, before: Ascent, step: float) -> Ascent:
        """Go on in double precision from what was ``explored``, or from ``before`` where rounding has made it no better."""
        x = ball.project(explored.x.to(before.x), self.every)
        value = self.objective.value(x, self.every)
        worse = value < before.value
        x[worse], value[worse] = before.x[worse], before.value[worse]
        state = self.budget.climb(self.objective, ball, unmoved(x, value), self.base, step)
        state.effort += explored.effort + Effort(score_calls=1, score_rows=len(x))
        state.trace[:0] = [min(mean, state.trace[0]) for mean in explored.trace]  # single precision rounds either way
        return state
