"""Maximum-confidence evasion (paper, section 2): batched, over an ascending grid of epsilons.

    maximise  -y f(x)   subject to  |x - x_0|_p <= epsilon,  lower <= x <= upper

for every point x_0 on its own. Every monotone loss of the score has this gradient's direction; the margin does not go flat.
The grid is walked upwards: each epsilon starts from the last one's points, so the objective never falls as epsilon grows.

    for epsilon in grid:
        x = ascend from the last epsilon's x
        if the score is not linear:
            x = the best of x and what further starts lead to, in single precision        (``exploring``)
            x = ascend from x in double precision
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from transfer_exp.attacks.crafted import Crafted
from transfer_exp.attacks.exploring import Explorer
from transfer_exp.attacks.noise import Rays, random_rays
from transfer_exp.attacks.objective import BallBox, Margin, require_gradients
from transfer_exp.learners import Model
from transfer_exp.optim.ascent import ascend
from transfer_exp.optim.batches import in_batches
from transfer_exp.optim.state import Ascent, Effort, Slopes, unmoved
from transfer_exp.types import Box, Floats, Ints, Norm, UserError, check_grid


@dataclass(frozen=True, kw_only=True)
class Evasion:
    """Options of the attack: ball norm, most iterations per epsilon, stopping tolerance, points per batch.

    n_walk: PGD steps from the clean point at each epsilon where the score is curved (l1, linf: twice, steps of two lengths);
    0: neither these nor restarts, which is fastest. n_restarts: further starts of a point whose trajectories have ended in
    different maxima, and of each round of a point whose ball is wider than the score's bumps (see ``exploring``).
    """

    name: str = field(default="evasion", compare=False)
    norm: Norm = "l2"
    n_iter: int = 30
    tolerance: float = 5e-6
    n_walk: int = 16
    n_restarts: int = 3
    batch_size: int = 1000

    def __post_init__(self) -> None:
        if self.norm not in get_args(Norm):
            raise UserError(f"attack.norm: expected one of {', '.join(get_args(Norm))}, got {self.norm}")
        for name, least in (("n_iter", 1), ("batch_size", 1), ("n_walk", 0), ("n_restarts", 0), ("tolerance", 0)):
            if not getattr(self, name) >= least:
                raise UserError(f"attack.{name}: expected a number >= {least}, got {getattr(self, name)}")

    def craft(self, model: Model, x: Floats, y: Ints, *, epsilons: Sequence[float], box: Box) -> Crafted:
        """Attack points ``(n, d)`` with labels ``(n,)`` on ``model``, at every epsilon of the ascending grid.

        Raises UserError on a bad grid, a model without gradients, or points outside the box.
        """
        check_grid(epsilons)
        require_gradients(model)
        if bool(((x < box.lower) | (x > box.upper)).any()):
            raise UserError("attack: expected every point inside the box, got some outside; widen lower and upper")
        return Crafted.join(
            in_batches(lambda rows: self._craft_batch(model, x[rows], y[rows], epsilons, box), len(x), size=self.batch_size)
        )

    def noise(self, x: Floats, *, epsilons: Sequence[float], box: Box, rng: np.random.Generator) -> Rays:
        """Random offsets of points ``(n, d)``, of the attack's norm and sizes."""
        return random_rays(x, norm=self.norm, epsilons=epsilons, box=box, rng=rng)

    def _craft_batch(self, model: Model, x: Floats, y: Ints, epsilons: Sequence[float], box: Box) -> Crafted:
        like = next(b for b in model.buffers() if b.is_floating_point())
        clean, label, lower, upper = (torch.as_tensor(a).to(like) for a in (x, y, box.lower, box.upper))
        exact, every = Margin(model, label), torch.arange(len(clean), device=clean.device)
        base, first = exact.value(clean, every), exact.gradient(clean, every)
        explorer = Explorer(exact.single, first.float(), base.float(), self._ascend, self.n_walk, self.n_restarts)
        state = unmoved(clean, base, Slopes(first.clone(), torch.ones_like(every, dtype=torch.bool)))
        steps: list[Ascent] = []
        last = 0.0
        for epsilon in epsilons:
            if epsilon > 0:
                ball = BallBox(clean, lower, upper, self.norm, epsilon)
                if model.linear:
                    state = self._ascend(exact, ball, state, base, epsilon - last)
                else:
                    found = explorer.explore(ball.single(), state.single(), epsilon - last)
                    one = exact.single is exact
                    state = found if one else self._polish(exact, ball, found, state, base, epsilon - last)
            steps.append(state)
            last = epsilon
        steps[0].effort += Effort(1, 1, len(clean), len(clean))
        return Crafted.of(steps, clean, base)

    def _polish(self, exact: Margin, ball: BallBox, found: Ascent, before: Ascent, base: Tensor, step: float) -> Ascent:
        """Go on in full precision from what was ``found``, or from ``before`` where rounding has made it no better."""
        every = torch.arange(len(base), device=base.device)
        x = ball.project(found.x.to(before.x), every)
        value = exact.value(x, every)
        worse = value < before.value
        x[worse], value[worse] = before.x[worse], before.value[worse]
        state = self._ascend(exact, ball, unmoved(x, value), base, step)
        state.effort += found.effort + Effort(score_calls=1, score_rows=len(x))
        state.trace[:0] = [min(mean, state.trace[0]) for mean in found.trace]  # single precision rounds either way
        return state

    def _ascend(self, objective: Margin, ball: BallBox, start: Ascent, base: Tensor, step: float) -> Ascent:
        steps = torch.full_like(base, step)
        return ascend(objective, ball, start=start, base=base, step=steps, n_iter=self.n_iter, tolerance=self.tolerance)
