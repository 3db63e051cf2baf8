"""Maximum-confidence evasion (paper, section 2): batched, over an ascending grid of epsilons.

    maximise  -y f(x)   subject to  |x - x_0|_p <= epsilon,  lower <= x <= upper

for every point x_0 on its own. Every monotone loss of the score has this gradient's direction; the margin does not go flat.
The grid is walked upwards: each epsilon starts from the last one's points, so the objective never falls as epsilon grows.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from transfer_exp.attacks.crafted import Crafted
from transfer_exp.attacks.noise import Rays, random_rays
from transfer_exp.learners import Model
from transfer_exp.optim.ascent import ascend
from transfer_exp.optim.batches import in_batches, rows_of
from transfer_exp.optim.projections import farthest, project
from transfer_exp.optim.state import Ascent, Effort, Slopes, unmoved
from transfer_exp.optim.walk import walk
from transfer_exp.types import Box, Floats, Ints, Norm, UserError, check_grid

# How long the walks are, in units of the longest way: the l1 and linf balls have vertices to get stuck in.
_WALKS: dict[Norm, tuple[float, ...]] = {"l1": (2.4, 32.0), "l2": (2.4,), "linf": (2.4, 9.6)}
_TURNED = 0.995  # l2: cosine to the first gradient below which walking is worth it; vertices are found without turning
_CONTESTED = 1e-4  # of the rise: two ways that end further apart have found different maxima


@dataclass(frozen=True, kw_only=True)
class Evasion:
    """Options of the attack: ball norm, most iterations per epsilon, stopping tolerance, points per batch.

    n_walk: small steps of a second way at each epsilon (l1, linf: and a third) where the score is curved; 0 for none, which
    is fastest. n_restarts: random starts of points whose ways have ended in different maxima.
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
        light = exact.single
        base, first = exact.value(clean, every), exact.gradient(clean, every)
        state = unmoved(clean, base, Slopes(first.clone(), torch.ones_like(every, dtype=torch.bool)))
        steps: list[Ascent] = []
        last = 0.0
        for epsilon in epsilons:
            if epsilon > 0:
                ball = BallBox(clean, lower, upper, self.norm, epsilon)
                if model.linear:
                    state = self._ascend(exact, ball, state, base, epsilon - last)
                else:
                    slopes = Slopes(state.slopes.gradient.float(), state.slopes.known.clone())
                    start = unmoved(state.x.float(), state.value.float(), slopes)
                    found = self._explore(light, ball.single(), first.float(), start, base.float(), epsilon - last)
                    state = found if light is exact else self._polish(exact, ball, found, state, base, epsilon - last)
            steps.append(state)
            last = epsilon
        steps[0].effort += Effort(1, 1, len(clean), len(clean))
        return Crafted.of(steps, clean, base)

    def _explore(self, light: Margin, ball: BallBox, first: Tensor, start: Ascent, base: Tensor, step: float) -> Ascent:
        """The best of several ways up, all in single precision: half the cost, and of the best only the place counts.

        The first goes on from ``start``. Jumping ahead is best where the score is nearly linear, but ends in poorer local
        maxima where it is curved: there, walks go in small steps from the clean point, where the gradient was ``first``.
        """
        every = torch.arange(len(base), device=base.device)
        state = self._ascend(light, ball, start, base, step)
        if not self.n_walk:
            return state
        rows = every
        if self.norm == "l2":
            rows = every[torch.cosine_similarity(first, state.gradient(light, every), dim=1) < _TURNED]
        ways = [state.value[rows]]
        part, around = light.at(rows), ball.at(rows)
        for length in _WALKS[self.norm] if len(rows) else ():
            share = length / self.n_walk
            end = walk(part, around, x=around.center, gradient=rows_of(first, rows), n_steps=self.n_walk, share=share)
            state.effort += Effort(gradient_calls=self.n_walk - 1, gradient_rows=(self.n_walk - 1) * len(rows))
            ways.append(self._also(light, ball, state, rows, end, base, share * ball.epsilon))
        apart = torch.stack(ways).amax(0) - torch.stack(ways).amin(0)
        rows = rows[apart > _CONTESTED * (state.value[rows] - base[rows]).abs()]
        if len(rows) and self.n_restarts:
            random = torch.Generator().manual_seed(0)  # the same directions for every point: batches change nothing
            towards = torch.randn((self.n_restarts, first.shape[1]), generator=random).to(first)
            starts = ball.at(rows.repeat(self.n_restarts)).along(towards.repeat_interleave(len(rows), 0))
            self._also(light, ball, state, rows, starts, base, ball.epsilon / 10)
        return state

    def _also(
        self, light: Margin, ball: BallBox, state: Ascent, rows: Tensor, starts: Tensor, base: Tensor, step: float
    ) -> Tensor:
        """Ascend these rows ``(m,)`` from ``starts`` ``(k m, d)``, too, and keep the best; what they reached ``(m,)``."""
        again = rows.repeat(len(starts) // len(rows))
        part = light.at(again)
        begun = unmoved(starts, part.value(starts, torch.arange(len(again), device=again.device)))
        other = self._ascend(part, ball.at(again), begun, base[again], step)
        state.effort += other.effort + Effort(score_calls=1, score_rows=len(again))
        value, which = other.value.view(-1, len(rows)).max(0)
        chosen = which * len(rows) + torch.arange(len(rows), device=rows.device)
        better = value > state.value[rows]
        state.replace(rows[better], other, chosen[better])
        return value

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

    def _of(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Centers and bounds of these rows."""
        return tuple(rows_of(t, rows) for t in (self.center, self.low, self.high))


def require_gradients(model: Model) -> None:
    """Raise UserError for a model that no gradient attack can be made on."""
    if not model.differentiable:
        raise UserError(
            f"surrogate: expected a learner with input gradients, got {type(model).__name__}; forests can only be targets"
        )
