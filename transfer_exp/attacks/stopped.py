"""Attack points at a share of the optimum: the ascent made again, and stopped on its way.

With m the objective (``Margin``), u* where the whole ascent ended at an epsilon, R = m(u*) - m(0) its rise, for each point:

    u_0 = 0,  u_1, u_2, ... = projected steps in the ball of this epsilon, from the clean point           (``network.Steps``)
    the first u_k with m(u_k) >= m(0) + share R, or u* where there is none
    u = the place between u_k-1 and that one where m = m(0) + share R, found by bisection

The first step goes to the farthest point of the ball. So a share that one step exceeds lies on the straight way to it (of a
linear model u = share u*), and larger shares between steps of full length. The l0 ball is not convex: there the place is
looked for between 0 and u_k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from transfer_exp.attacks.crafted import Crafted
from transfer_exp.attacks.network import HEAT, Steps, around
from transfer_exp.attacks.objective import Margin
from transfer_exp.learners import Model
from transfer_exp.optim.balls import Ball
from transfer_exp.optim.state import Ascent, Effort, unmoved
from transfer_exp.types import Box, Floats, Ints

_N_HALVINGS = 25  # to single precision


def stopped(
    made: Crafted,
    model: Model,
    x: Floats,
    y: Ints,
    goals: Ints | None,
    epsilons: Sequence[float],
    box: Box,
    *,
    ball: Ball,
    share: float,
    n_steps: int,
) -> Crafted:
    """Points ``(n, d)`` at ``share`` of the rise of those that were ``made`` of them, in the model's precision.

    n_steps: most steps at an epsilon; the other arguments are those of ``Evasion.craft``. The flags and the effort of
    ``made`` are kept; what stopping costs is added.
    """
    steps = around(model, x, y, goals, box, ball=ball, dtype=model.like.dtype)
    path = _Path(steps, Margin(model, *_classes(y, goals, model)), share, n_steps)
    clean = path.value(torch.zeros_like(steps.landscape.clean))
    ends = []
    for k, epsilon in enumerate(epsilons):
        optimum = torch.from_numpy(np.asarray(made.offsets[k])).to(clean)
        ends.append(path.stopped(optimum, clean, epsilon) if epsilon > 0 else unmoved(torch.zeros_like(optimum), clean))
    ends[0].effort += Effort(score_calls=1, score_rows=len(x))
    found = Crafted.of(ends, torch.zeros_like(steps.landscape.clean), clean)
    return replace(
        found,
        exhausted=made.exhausted,
        zero_gradient=made.zero_gradient,
        effort=made.effort + found.effort,
    )


def _classes(y: Ints, goals: Ints | None, model: Model) -> tuple[Tensor, Tensor | None]:
    device = model.like.device
    return torch.as_tensor(y).to(device), None if goals is None else torch.as_tensor(goals).to(device)


@dataclass(frozen=True)
class _Path:
    """The ascent made again, at most ``n_steps`` steps of it, on its way to a share of the optimum of ``margin``."""

    steps: Steps
    margin: Margin
    share: float
    n_steps: int

    def value(self, u: Tensor) -> Tensor:
        """m ``(n,)`` at offsets ``(n, d)``."""
        return self.margin.value(self.steps.landscape.clean + u, torch.arange(len(u), device=u.device))

    def stopped(self, optimum: Tensor, clean: Tensor, epsilon: float) -> Ascent:
        """Where the ascent towards ``optimum`` ``(n, d)`` is stopped."""
        wanted = clean + self.share * (self.value(optimum) - clean)
        below, above, n_passes = self._bracket(optimum, wanted, clean, epsilon)
        if self.steps.ball.counts_features:  # what lies between two points of the ball need not be in it
            below = torch.zeros_like(below)
        u, n_values = self._between(below, above, wanted), _N_HALVINGS + 2
        risen = wanted > clean  # what the whole ascent could not raise stays
        end = unmoved(torch.where(risen[:, None], u, 0.0), clean)
        end.value = self.value(end.x)
        end.trace = [float(clean.double().mean()), float(end.value.double().mean())]
        n = len(optimum)
        end.effort = Effort(n_passes, n_values, n_passes * n, n_values * n)
        return end

    def _bracket(self, optimum: Tensor, wanted: Tensor, clean: Tensor, epsilon: float) -> tuple[Tensor, Tensor, int]:
        """The last offsets below what is ``wanted`` ``(n,)``, the first ones not below it, and the passes taken."""
        below, above = torch.zeros_like(optimum), optimum.clone()
        found = wanted <= clean
        _, gradient = self.steps.landscape.look(below, HEAT)
        n_passes = 1
        for u, value, _ in self.steps.walk(below.clone(), gradient, epsilon, self.n_steps):
            n_passes += 1
            new = ~found & (value >= wanted)
            above = torch.where(new[:, None], u, above)
            found |= new
            if bool(found.all()):
                break
            below = torch.where(found[:, None], below, u)
        return below, above, n_passes

    def _between(self, below: Tensor, above: Tensor, wanted: Tensor) -> Tensor:
        """Offsets ``(n, d)`` on the way between the two, where the objective has just risen to what is wanted."""
        for _ in range(_N_HALVINGS):
            middle = (below + above) / 2
            enough = (self.value(middle) >= wanted)[:, None]
            below, above = torch.where(enough, below, middle), torch.where(enough, middle, above)
        return above
