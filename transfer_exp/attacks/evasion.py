"""Maximum-confidence evasion (paper, section 2): batched, over an ascending grid of epsilons.

    maximise  -y f(x)   subject to  |x - x_0|_p <= epsilon,  lower <= x <= upper

for every point x_0 on its own. Every monotone loss of the score has this gradient's direction; the margin does not go flat.
The grid is walked upwards: each epsilon starts from the last one's points, so the objective never falls as epsilon grows.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import get_args

import torch
from torch import Tensor

from transfer_exp.attacks.crafted import Crafted
from transfer_exp.learners import Model
from transfer_exp.optim.ascent import Ascent, Effort, ascend, unmoved
from transfer_exp.optim.batches import in_batches, rows_of
from transfer_exp.optim.projections import farthest, project
from transfer_exp.optim.walk import walk
from transfer_exp.types import Box, Floats, Ints, Norm, UserError, check_grid

# Cosine to the first gradient below which a score counts as curved: the l1 and linf balls have vertices to get stuck in.
_TURNED: dict[Norm, float] = {"l1": 0.999, "l2": 0.98, "linf": 0.999}
_WALK_STEPS, _WALK_SHARE = 16, 0.15


@dataclass(frozen=True, kw_only=True)
class Evasion:
    """Options of the attack: ball norm, most iterations per epsilon, stopping tolerance, points per batch."""

    name: str = field(default="evasion", compare=False)
    norm: Norm = "l2"
    n_iter: int = 30
    tolerance: float = 5e-6
    batch_size: int = 1000

    def __post_init__(self) -> None:
        if self.norm not in get_args(Norm):
            raise UserError(f"attack.norm: expected one of {', '.join(get_args(Norm))}, got {self.norm}")
        if self.n_iter < 1 or self.batch_size < 1 or self.tolerance < 0:
            raise UserError(
                "attack: expected n_iter >= 1, batch_size >= 1, tolerance >= 0, got "
                f"n_iter={self.n_iter}, batch_size={self.batch_size}, tolerance={self.tolerance}"
            )

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
        base = objective.value(clean, torch.arange(len(clean), device=clean.device))
        first_gradient = objective.gradient(clean, torch.arange(len(clean), device=clean.device))
        state = unmoved(clean, base)
        steps: list[Ascent] = []
        last = 0.0
        for epsilon in epsilons:
            if epsilon > 0:
                ball = BallBox(clean, lower, upper, self.norm, epsilon)
                state = self._ascend(objective, ball, state.x, state.value, base, epsilon - last)
                self._detour(objective, ball, first_gradient, state, base)
            steps.append(state)
            last = epsilon
        return Crafted.of(steps, clean, base)

    def _ascend(self, objective: Margin, ball: BallBox, x: Tensor, value: Tensor, base: Tensor, step: float) -> Ascent:
        steps = torch.full_like(base, step)
        return ascend(
            objective,
            ball,
            x=x,
            value=value,
            base=base,
            step=steps,
            n_iter=self.n_iter,
            tolerance=self.tolerance,
        )

    def _detour(self, objective: Margin, ball: BallBox, first: Tensor, state: Ascent, base: Tensor) -> None:
        """Where the gradient has turned on the way, go again in small steps from the clean point; keep the better.

        Jumping ahead is best where the score is nearly linear, but ends in poorer local optima where it is curved.
        """
        every = torch.arange(len(base), device=base.device)
        now = objective.gradient(state.x, every)
        state.effort += Effort(gradient_calls=1, gradient_rows=len(base))
        rows = every[torch.cosine_similarity(first, now, dim=1) < _TURNED[self.norm]]
        if not len(rows):
            return
        part, around = objective.at(rows), ball.at(rows)
        light, path = part.single(), around.single()  # a walk is only a start: half the precision, half the cost
        end = walk(light, path, x=path.center, gradient=first[rows].float(), n_steps=_WALK_STEPS, share=_WALK_SHARE)
        x = around.project(end.to(first), torch.arange(len(rows), device=rows.device))
        value = part.value(x, torch.arange(len(rows), device=rows.device))
        other = self._ascend(part, around, x, value, base[rows], _WALK_SHARE * ball.epsilon)
        walked = Effort(_WALK_STEPS - 1, 1, (_WALK_STEPS - 1) * len(rows), len(rows))
        state.effort += walked + other.effort
        better = other.value > state.value[rows]
        for field_ in ("x", "value", "exhausted", "zero_gradient"):
            getattr(state, field_)[rows[better]] = getattr(other, field_)[better]


class Margin:
    """The objective -y f(x) of a model, for labels ``(n,)``."""

    def __init__(self, model: Model, label: Tensor) -> None:
        self.model, self.label = model, label

    def at(self, rows: Tensor) -> Margin:
        """The objective of these rows alone."""
        return Margin(self.model, self.label[rows])

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
