"""Maximum-confidence evasion (paper, section 2): batched, over an ascending grid of epsilons.

    maximise  -y f(x)   subject to  |x - x_0|_p <= epsilon,  lower <= x <= upper

for every point x_0 on its own. Every monotone loss of the score has this gradient's direction; the margin does not go flat.
The grid is walked upwards: each epsilon starts from the last one's points, so the objective never falls as epsilon grows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from transfer_exp.learners import Model
from transfer_exp.measures import perturbation_size
from transfer_exp.optim.ascent import Ascent, ascend, unmoved
from transfer_exp.optim.projections import farthest, project
from transfer_exp.types import Box, Floats, Ints, Norm, UserError, check_grid


@dataclass(frozen=True, kw_only=True)
class Crafted:
    """Attack points of one model over a grid of E epsilons.

    offsets: ``(E, n, d)`` float32, point less clean point.
    objective: ``(E, n)``, -y f on the model they were made on; clean_objective: ``(n,)``.
    exhausted, zero_gradient: ``(E, n)`` bool, points that ran out of iterations, that met a zero gradient.
    trace: ``(E, T)``, mean objective per iteration, padded with its last value. effort: ``(E, 4)``, fields of ``Effort``.
    """

    offsets: Floats
    objective: Floats
    clean_objective: Floats
    exhausted: npt.NDArray[np.bool_]
    zero_gradient: npt.NDArray[np.bool_]
    trace: Floats
    effort: Ints

    def points(self, k: int, clean: Floats, box: Box) -> Floats:
        """The points ``(n, d)`` of the k-th epsilon, made from the ``clean`` ones; exactly inside the box."""
        return np.asarray(np.clip(clean + self.offsets[k], box.lower, box.upper))

    def health(self, clean: Floats, *, epsilons: Sequence[float], norm: Norm, box: Box) -> dict[str, float]:
        """What may be wrong with the points: shares of points, and the largest distance outside ball or box."""
        outside = [
            max(
                float(perturbation_size(self.offsets[k].astype(np.float64), norm).max()) - epsilon,
                float((box.lower - clean - self.offsets[k]).max()),
                float((clean + self.offsets[k] - box.upper).max()),
            )
            for k, epsilon in enumerate(epsilons)
        ]
        return {
            "zero_gradient": float(self.zero_gradient.any(axis=0).mean()),
            "not_rising": float((self.objective[-1] <= self.clean_objective).mean()) if epsilons[-1] > 0 else 0.0,
            "iterations_exhausted": float(self.exhausted.mean()),
            "violation": max(0.0, *outside),
        }


@dataclass(frozen=True, kw_only=True)
class Evasion:
    """Options of the attack: ball norm, most iterations per epsilon, stopping tolerance, points per batch."""

    name: str = field(default="evasion", compare=False)
    norm: Norm = "l2"
    n_iter: int = 30
    tolerance: float = 1e-4
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
        if not model.differentiable:
            raise UserError(
                f"surrogate: expected a learner with input gradients, got {type(model).__name__}; "
                "forests can only be targets"
            )
        if bool(((x < box.lower) | (x > box.upper)).any()):
            raise UserError("attack: expected every point inside the box, got some outside; widen lower and upper")
        starts = range(0, len(x), self.batch_size)
        batches = [slice(i, i + self.batch_size) for i in starts]
        return _join([self._craft_batch(model, x[b], y[b], epsilons, box) for b in batches])

    def _craft_batch(self, model: Model, x: Floats, y: Ints, epsilons: Sequence[float], box: Box) -> Crafted:
        like = next(b for b in model.buffers() if b.is_floating_point())
        clean, label, lower, upper = (torch.as_tensor(a).to(like) for a in (x, y, box.lower, box.upper))
        objective = Margin(model, label)
        base = objective.value(clean, torch.arange(len(clean), device=clean.device))
        state = unmoved(clean, base)
        steps: list[Ascent] = []
        last = 0.0
        for epsilon in epsilons:
            if epsilon > 0:
                state = ascend(
                    objective,
                    BallBox(clean, lower, upper, self.norm, epsilon),
                    x=state.x,
                    value=state.value,
                    base=base,
                    step=torch.full_like(base, epsilon - last),
                    n_iter=self.n_iter,
                    tolerance=self.tolerance,
                )
            steps.append(state)
            last = epsilon
        return Crafted(
            offsets=np.stack([(s.x - clean).float().cpu().numpy() for s in steps]),
            objective=_stack([s.value for s in steps]),
            clean_objective=base.double().cpu().numpy(),
            exhausted=_stack([s.exhausted for s in steps]),
            zero_gradient=_stack([s.zero_gradient for s in steps]),
            trace=_pad([s.trace for s in steps]),
            effort=np.array([list(vars(s.effort).values()) for s in steps], dtype=np.int64),
        )


class Margin:
    """The objective -y f(x) of a model, for labels ``(n,)``."""

    def __init__(self, model: Model, label: Tensor) -> None:
        self.model, self.label = model, label

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
        self.center, self.norm, self.epsilon = center, norm, epsilon
        self.low, self.high = lower - center, upper - center

    def project(self, x: Tensor, rows: Tensor) -> Tensor:
        """Nearest feasible points."""
        center = self.center[rows]
        return center + project(x - center, norm=self.norm, epsilon=self.epsilon, low=self.low[rows], high=self.high[rows])

    def farthest(self, direction: Tensor, rows: Tensor) -> Tensor:
        """Feasible points farthest along the direction."""
        low, high = self.low[rows], self.high[rows]
        return self.center[rows] + farthest(direction, norm=self.norm, epsilon=self.epsilon, low=low, high=high)


def _stack(rows: Sequence[Tensor]) -> np.ndarray[Any, Any]:
    stacked = torch.stack(list(rows))
    return np.asarray((stacked.double() if stacked.is_floating_point() else stacked).cpu().numpy())


def _pad(rows: Sequence[Sequence[float]], width: int = 0) -> Floats:
    width = max(width, *map(len, rows))
    return np.array([[*row, *[row[-1]] * (width - len(row))] for row in rows])


def _join(parts: Sequence[Crafted]) -> Crafted:
    """The results of several batches as one; the trace is their mean, weighted by points."""
    if len(parts) == 1:
        return parts[0]
    width = max(part.trace.shape[1] for part in parts)
    return Crafted(
        offsets=np.concatenate([p.offsets for p in parts], axis=1),
        objective=np.concatenate([p.objective for p in parts], axis=1),
        clean_objective=np.concatenate([p.clean_objective for p in parts]),
        exhausted=np.concatenate([p.exhausted for p in parts], axis=1),
        zero_gradient=np.concatenate([p.zero_gradient for p in parts], axis=1),
        trace=np.average(
            [_pad(p.trace.tolist(), width) for p in parts], axis=0, weights=[len(p.clean_objective) for p in parts]
        ),
        effort=np.sum([p.effort for p in parts], axis=0),
    )
