"""Maximum-confidence evasion (paper, section 2): batched, over an ascending grid of epsilons.

    maximise  max_{k != y} z_k(x) - z_y(x)   (any class but its own y)   or   z_t(x) - max_{k != t} z_k(x)   (class t)
    subject to  |x - x_0|_p <= epsilon,  lower <= x <= upper

for every point x_0 on its own. The margin of the logits does not go flat where a loss of it does, and of two classes every
monotone loss has its gradient's direction. The grid is walked upwards: each epsilon starts from the last one's points, so
that the objective never falls as epsilon grows.

    for epsilon in grid:
        x = ascend from the last epsilon's x         two classes: along their difference     (``trajectory``)
                                                     any other class: of the most promising  (``runner_up``)
                                                     one class: along a smooth minimum       (``towards``)

Networks are attacked in single precision, within a stated number of gradients, in ``network``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, TypeAlias

import numpy as np
import torch
from torch import Tensor

from transfer_exp.attacks.crafted import Crafted
from transfer_exp.attacks.goals import ANY, require_goal
from transfer_exp.attacks.network import craft_on_network
from transfer_exp.attacks.objective import BallBox, Difference, require_gradients, require_inside, single_precision
from transfer_exp.attacks.runner_up import RunnerUpTrajectories
from transfer_exp.attacks.stopped import stopped
from transfer_exp.attacks.towards import TargetTrajectory
from transfer_exp.attacks.trajectory import Budget, Models, Trajectory
from transfer_exp.learners import Model
from transfer_exp.optim.balls import ball
from transfer_exp.optim.batches import in_batches
from transfer_exp.optim.rays import Offsets, random_offsets
from transfer_exp.optim.state import unmoved
from transfer_exp.types import Box, Floats, Ints, UserError, check_grid

CraftBatch: TypeAlias = Callable[[Floats, Ints, Ints | None, Sequence[float], Box], Crafted]
"""(points, classes, goals, epsilons, box) -> the results of one batch."""


@dataclass(frozen=True, kw_only=True)
class Evasion:
    """Options of the attack.

    norm: of the ball (see ``optim.balls``). goal: the class to reach (see ``goals``). n_iter: most iterations per ascent and
    epsilon. tolerance: stop a point that gains less than this share of its rise. n_walk: PGD steps from the clean point at
    each epsilon where the model is curved; 0: neither these nor restarts, which is fastest. n_restarts: further starts of a
    point whose trajectories have ended in different maxima, and of each round of a point whose ball is wider than the
    model's bumps (see ``exploring``). n_runner_ups: classes tried for each point where any other will do and the model is
    curved. n_gradients: of networks, which are attacked in single precision (``network``): most passes, a forward and a
    backward one, a point and epsilon. stop_at: share of the optimum's rise above the clean objective at which the ascent is
    stopped (``stopped``); 1: the optimum. batch_size: points moved together.
    """

    scenario: ClassVar[str] = "classification"
    requires: ClassVar[frozenset[str]] = frozenset({"gradients"})
    promises: ClassVar[frozenset[str]] = frozenset({"rising", "independent"})
    name: str = field(default="evasion", compare=False)
    norm: str = "l2"
    goal: str | int = ANY
    n_iter: int = 30
    tolerance: float = 5e-6
    n_walk: int = 16
    n_restarts: int = 3
    n_runner_ups: int = 3
    n_gradients: int = 30
    stop_at: float = 1.0
    batch_size: int = 1000

    def __post_init__(self) -> None:
        ball(self.norm)
        require_goal(self.goal)
        least = {"n_iter": 1, "batch_size": 1, "n_walk": 0, "n_restarts": 0, "n_runner_ups": 1, "tolerance": 0}
        least |= {"n_gradients": 2}
        for name, smallest in least.items():
            if not getattr(self, name) >= smallest:
                raise UserError(f"attack.{name}: expected a number >= {smallest}, got {getattr(self, name)}")
        if not 0 < self.stop_at <= 1:
            raise UserError(f"attack.stop_at: expected a share above 0, 1 at most, got {self.stop_at}")

    def craft(
        self,
        model: Model,
        x: Floats,
        y: Ints,
        *,
        goals: Ints | None = None,
        epsilons: Sequence[float],
        box: Box,
    ) -> Crafted:
        """Attack points ``(n, d)`` of classes ``(n,)`` on ``model``, at every epsilon of the ascending grid.

        goals: ``(n,)``, the class that each is to reach (``goals.goal_classes`` of the option); None: any but its own.
        Raises UserError on a bad grid, a model without gradients, or points outside the box.
        """
        check_grid(epsilons)
        require_gradients(model)
        require_inside(x, box)
        craft = self._converging(model) if model.precision == "double" else self._within_gradients(model)

        def part(rows: slice) -> Crafted:
            one = x[rows], y[rows], None if goals is None else goals[rows], epsilons, box
            made = craft(*one)
            if self.stop_at == 1:
                return made
            return stopped(made, model, *one, ball=ball(self.norm), share=self.stop_at, n_steps=self.n_gradients)

        return Crafted.join(in_batches(part, len(x), size=min(self.batch_size, model.batch_size)))

    def noise(self, x: Floats, *, epsilons: Sequence[float], box: Box, rng: np.random.Generator) -> Offsets:
        """Random offsets of points ``(n, d)``, of the attack's norm and sizes."""
        return random_offsets(x, ball=ball(self.norm), epsilons=epsilons, box=box, rng=rng)

    def _converging(self, model: Model) -> CraftBatch:
        return partial(self._craft_batch, Models(model, model if model.linear else single_precision(model)))

    def _within_gradients(self, model: Model) -> CraftBatch:
        return partial(craft_on_network, model, ball=ball(self.norm), n_gradients=self.n_gradients)

    def _craft_batch(
        self, models: Models, x: Floats, y: Ints, goals: Ints | None, epsilons: Sequence[float], box: Box
    ) -> Crafted:
        like = models.exact.like
        clean, lower, upper = (torch.as_tensor(a).to(like) for a in (x, box.lower, box.upper))
        label, target = (None if a is None else torch.as_tensor(a).to(like.device, torch.int64) for a in (y, goals))
        assert label is not None
        points = BallBox(clean, lower, upper, ball(self.norm), 0.0)
        balls = [points.of_radius(epsilon) for epsilon in epsilons if epsilon > 0]
        ascents = self._ascents(models, clean, label, target, balls)
        steps = [unmoved(clean, ascents.base)] if len(balls) < len(epsilons) else []
        last = 0.0
        for one in balls:
            steps.append(ascents.advance(one, one.epsilon - last))
            last = one.epsilon
        steps[0].effort += ascents.effort
        return Crafted.of(steps, clean, ascents.base)

    def _ascents(
        self, models: Models, clean: Tensor, label: Tensor, target: Tensor | None, balls: Sequence[BallBox]
    ) -> Trajectory | RunnerUpTrajectories | TargetTrajectory:
        budget = Budget(n_iter=self.n_iter, tolerance=self.tolerance, n_walk=self.n_walk, n_restarts=self.n_restarts)
        if models.exact.n_classes == 2:
            away = label if target is None else 1 - target
            return Trajectory(Difference(models.exact, 1 - away, away), models, clean, budget)
        if target is None:
            return RunnerUpTrajectories(models, clean, label, budget, balls, self.n_runner_ups)
        return TargetTrajectory(models, clean, target, budget)
