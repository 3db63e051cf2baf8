"""Iterative attacks for transfer: one loop whose parts combine; docs/transfer_attacks.md has the presets of the papers.

    for epsilon in grid, each by itself, the generators anew from ``seed`` and the points:
        u = random point of the ball or 0;  v = variance = 0;  length a = length * epsilon / n_steps
        for each step:
            g = mean gradient over copies of x + u        (+ momentum a v where ``nesterov``)          (``iterative_inputs``)
                or, with neighbours=mean, over those of n_neighbours points around it
            w = smoothed(g + variance) by the kernel
            v = momentum v + w / size(w)                                                               (``iterative_steps``)
            variance = mean of g over n_neighbours points around x + u, less g                         (neighbours=variance)
            u = project(u + step of length a along v)

A gradient is a forward and a backward pass of a point through the model (of an ensemble: through every member). There are at
most ``n_gradients`` of them a point and epsilon, so that attacks are compared at equal cost: n_steps = n_gradients / those
of one step, rounded down. The last point counts, as in the papers, not the best one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar

import numpy as np
import torch

from transfer_exp.attacks.crafted import Crafted
from transfer_exp.attacks.iterative_batch import Batch
from transfer_exp.attacks.iterative_inputs import Images, Known
from transfer_exp.attacks.iterative_loss import Loss
from transfer_exp.attacks.iterative_options import Options
from transfer_exp.attacks.iterative_steps import Stepping
from transfer_exp.attacks.objective import require_gradients, require_inside
from transfer_exp.learners import Model
from transfer_exp.optim.balls import ball
from transfer_exp.optim.batches import in_batches
from transfer_exp.optim.rays import Offsets, random_offsets
from transfer_exp.types import Box, Floats, Ints, UserError, check_grid

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Iterative(Options):
    """The attack; its options are those of ``Options``."""

    scenario: ClassVar[str] = "classification"
    requires: ClassVar[frozenset[str]] = frozenset({"gradients", "images"})
    promises: ClassVar[frozenset[str]] = frozenset({"independent"})

    def require_images(self, shape: tuple[int, ...] | None) -> Images | None:
        """The images that points of this shape (``Dataset.shape``) are; None where no part of the attack asks for any.

        Raises UserError where one does and they are none.
        """
        return Images.of(shape) if self.diversity or self.kernel_size > 1 else None

    def craft(
        self,
        model: Model,
        x: Floats,
        y: Ints,
        *,
        goals: Ints | None = None,
        epsilons: Sequence[float],
        box: Box,
        shape: tuple[int, ...] | None = None,
        known: tuple[Floats, Ints] | None = None,
    ) -> Crafted:
        """Attack points ``(n, d)`` of classes ``(n,)`` on ``model``, at every epsilon of the ascending grid, each by itself.

        goals: ``(n,)``, the class that each is to reach; None: any but its own. shape: of one point, as ``Dataset.shape``.
        known: points ``(m, d)`` and classes ``(m,)`` of the attacker's, for ``n_mixed``. Raises UserError on a bad grid, a
        model without gradients or one that gives no numbers, points outside the box, and where shape or known points lack.
        """
        check_grid(epsilons)
        require_gradients(model)
        require_inside(x, box)
        images, like = self.require_images(shape), model.like
        if self.mixes_known and known is None:
            raise UserError("attack.n_mixed: expected known points to mix in, got none; give craft(known=...)")
        others = known and Known(torch.as_tensor(known[0]).to(like), torch.as_tensor(known[1]).to(like.device))
        _say(self.name, self.n_steps, self.gradients_per_step)

        def part(rows: slice) -> Crafted:
            clean, lower, upper = (torch.as_tensor(a).to(like) for a in (x[rows], box.lower, box.upper))
            label, target = (None if a is None else torch.as_tensor(a[rows]).to(like.device) for a in (y, goals))
            assert label is not None
            stepping = Stepping(ball(self.norm), self.step, lower - clean, upper - clean)
            loss = Loss(self.objective, self.average, label, target)
            return Batch(self, model, loss, stepping, clean, x[rows], images, others).attacked(epsilons)

        made = Crafted.join(in_batches(part, len(x), size=min(self.batch_size, model.batch_size)))
        return replace(made, steps=np.array([self.n_steps, self.gradients_per_step]))

    def noise(self, x: Floats, *, epsilons: Sequence[float], box: Box, rng: np.random.Generator) -> Offsets:
        """Random offsets of points ``(n, d)``, of the attack's norm and sizes."""
        return random_offsets(x, ball=ball(self.norm), epsilons=epsilons, box=box, rng=rng)


@cache
def _say(name: str, n_steps: int, per_step: int) -> None:
    """Once a process: how the budget is spent."""
    _log.info("attack %s: gradients per step: %d, steps: %d", name, per_step, n_steps)
