"""Interaction inside a perturbation: how much more its patches do together than each alone (arXiv 2010.04055).

    v(S)           the attacker's objective with the perturbation in the patches S only, and none elsewhere
    interaction    mean_a [v(all) - v(all but a) - v(a alone) + v(none)] / (P - 1)                        over the P patches

This is the mean, over pairs of patches, of their Shapley interaction index. It is 0 where the objective is additive over
patches: of a linear score. Patches are the fields of a grid laid over an image, all channels together; of points that are no
images, runs of successive features. The objective is the margin that attacks raise, at the reference epsilon.
"""

from __future__ import annotations

import numpy as np

from transfer_exp.measures.base import Measure
from transfer_exp.measures.optimum import objective
from transfer_exp.measures.subject import Subject, of_model
from transfer_exp.types import Floats, Ints, UserError


def patches(n_features: int, shape: tuple[int, ...] | None, grid: int) -> Ints:
    """The patch ``(d,)`` of every feature, from 0: ``grid`` x ``grid`` fields of an image, else grid^2 runs of features."""
    if shape is None:
        return np.asarray(np.arange(n_features) * min(grid**2, n_features) // n_features, dtype=np.int64)
    height, width = shape[-2:]
    rows, columns = (np.arange(size) * min(grid, size) // size for size in (height, width))
    field = rows[:, None] * (columns[-1] + 1) + columns
    return np.asarray(np.broadcast_to(field, shape).ravel(), dtype=np.int64)


def interactions(subject: Subject, *, grid: int) -> Floats:
    """Of each point ``(n,)``; NaN where there is one patch only."""
    x, offset = subject.x, subject.attacked(subject.reference) - subject.x
    patch = patches(x.shape[1], subject.shape, grid)
    n_patches = int(patch.max()) + 1
    if n_patches < 2:
        return np.full(len(x), np.nan)

    def value(points: Floats) -> Floats:
        return objective(subject.model.logits(points), subject.y, subject.goals)

    total = n_patches * (value(x + offset) + value(x))
    for a in range(n_patches):
        alone = np.where(patch == a, offset, 0.0)
        total -= value(x + alone) + value(x + (offset - alone))
    return np.asarray(total / (n_patches * (n_patches - 1)))


def interaction(*, name: str = "interaction", grid: int = 4) -> Measure:
    """The measure. grid: fields along each side of an image; of points that are no images there are grid^2 patches."""
    if grid < 2:
        raise UserError(f"measures.{name}.grid: expected a whole number >= 2, got {grid}")
    return Measure(
        name=name,
        heading="interaction inside the perturbation",
        of="surrogate",
        source="arXiv 2010.04055",
        compute=of_model(interactions, name=name, on_attack=True, grid=grid),
    )
