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

import torch
from torch import Tensor

from transfer_exp.attacks.crafted import Crafted
from transfer_exp.learners import Model
from transfer_exp.optim.ascent import ascend
from transfer_exp.optim.batches import in_batches, rows_of
from transfer_exp.optim.projections import farthest, project
from transfer_exp.optim.state import Ascent, Effort, Slopes, unmoved
from transfer_exp.optim.walk import walk
from transfer_exp.types import Box, Floats, Ints, Norm, UserError, check_grid

# Cosine to the first gradient below which a score counts as curved, and how long the walks are, in units of the longest
# way: the l1 and linf balls have vertices to get stuck in.
_TURNED: dict[Norm, float] = {"l1": 0.999, "l2": 0.95, "linf": 0.999}
_WALKS: dict[Norm, tuple[float, ...]] = {"l1": (2.4, 6.4, 16.0), "l2": (2.4,), "linf": (2.4, 9.6)}


@dataclass(frozen=True, kw_only=True)
class Evasion:
    """Options of the attack: ball norm, most iterations per epsilon, stopping tolerance, points per batch.

    n_walk: small steps of a second way at each epsilon (l1: and a third and fourth, linf: and a third), for points whose
    gradient turned on the first; more where poor local maxima abound, 0 for none, which is fastest.
    """

    name: str = field(default="evasion", compare=False)
    norm: Norm = "l2"
    n_iter: int = 30
    tolerance: float = 5e-6
    n_walk: int = 16
    batch_size: int = 1000

    def __post_init__(self) -> None:
        if self.norm not in get_args(Norm):
            raise UserError(f"attack.norm: expected one of {', '.join(get_args(Norm))}, got {self.norm}")
        for name, least in (("n_iter", 1), ("batch_size", 1), ("n_walk", 0), ("tolerance", 0)):
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

    def _craft_batch(self, model: Model, x: Floats, y: Ints, epsilons: Sequence[float], box: Box) -> Crafted:
        like = next(b for b in model.buffers() if b.is_floating_point())
        clean, label, lower, upper = (torch.as_tensor(a).to(like) for a in (x, y, box.lower, box.upper))
        objective = Margin(model, label)
        every = torch.arange(len(clean), device=clean.device)
        base, first = objective.value(clean, every), objective.gradient(clean, every)
        state = unmoved(clean, base, Slopes(first.clone(), torch.ones_like(every, dtype=torch.bool)))
        steps: list[Ascent] = []
        last = 0.0
        for epsilon in epsilons:
            if epsilon > 0:
                ball = BallBox(clean, lower, upper, self.norm, epsilon)
                state = self._ascend(objective, ball, state, base, epsilon - last)
                if self.n_walk:
                    self._detour(objective, ball, first, state, base)
            steps.append(state)
            last = epsilon
        steps[0].effort += Effort(1, 1, len(clean), len(clean))
        return Crafted.of(steps, clean, base)

    def _ascend(self, objective: Margin, ball: BallBox, start: Ascent, base: Tensor, step: float) -> Ascent:
        steps = torch.full_like(base, step)
        return ascend(objective, ball, start=start, base=base, step=steps, n_iter=self.n_iter, tolerance=self.tolerance)

    def _detour(self, objective: Margin, ball: BallBox, first: Tensor, state: Ascent, base: Tensor) -> None:
        """Where the gradient has turned on the way, go again in small steps from the clean point; keep the better.

        Jumping ahead is best where the score is nearly linear, but ends in poorer local optima where it is curved.
        """
        every = torch.arange(len(base), device=base.device)
        now = state.gradient(objective, every)
        rows = every[torch.cosine_similarity(first, now, dim=1) < _TURNED[self.norm]]
        if not len(rows):
            return
        part, around, every = objective.at(rows), ball.at(rows), every[: len(rows)]
        light, path = objective.single.at(rows), around.single()  # only a start: half the precision, half the cost
        for length in _WALKS[self.norm]:
            share = length / self.n_walk
            end = walk(light, path, x=path.center, gradient=first[rows].float(), n_steps=self.n_walk, share=share)
            start = around.project(end.to(first), every)
            begun = unmoved(start, part.value(start, every))
            other = self._ascend(part, around, begun, base[rows], share * ball.epsilon)
            state.effort += Effort(self.n_walk - 1, 1, (self.n_walk - 1) * len(rows), len(rows)) + other.effort
            state.replace(rows, other, other.value > state.value[rows])


class Margin:
    """The objective -y f(x) of a model, for labels ``(n,)``."""

    def __init__(self, model: Model, label: Tensor) -> None:
        self.model, self.label = model, label

    def at(self, rows: Tensor) -> Margin:
        """The objective of these rows alone."""
        return Margin(self.model, self.label[rows])

    @cached_property
    def single(self) -> Margin:
        """The same in single precision."""
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
        return BallBox(self.center[rows], self.lower, self.upper, self.norm, self.epsilon)

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

    def _of(self, rows: Tensor) -> tuple[Tensor, ...]:
        """Centers and bounds of these rows."""
        return tuple(rows_of(t, rows) for t in (self.center, self.low, self.high))


def require_gradients(model: Model) -> None:
    """Raise UserError for a model that no gradient attack can be made on."""
    if not model.differentiable:
        raise UserError(
            f"surrogate: expected a learner with input gradients, got {type(model).__name__}; forests can only be targets"
        )
