"""Where a poisoning point may go: the box and, for an attacker who expects a filter, a ball around the centre of its class.

    |x - centre_k|_2 <= radius_k,   lower <= x <= upper        k: the label that the point is learned with

centre_k: mean of the attacker's points of class k. radius_k: the largest distance of one that a filter by distance to the
centre (``learners.suspicion``) would keep. Projections are exact, onto ball and box together (``optim.balls``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from transfer_exp.learners.suspicion import centre_distances, least_suspect
from transfer_exp.optim.balls import BALLS
from transfer_exp.types import Box, Floats, Ints, Matrix, UserError, dense


def require_bounds(box: Box) -> None:
    """Raise UserError unless the box has finite bounds."""
    if not (np.isfinite(box.lower).all() and np.isfinite(box.upper).all()):
        raise UserError("attack: expected a box with finite bounds, got one without; set lower and upper")


class Project(Protocol):
    """Where a point may go with a label."""

    def __call__(self, point: Floats, label: int) -> Floats:
        """The nearest such place ``(d,)``."""


@dataclass(frozen=True)
class Feasible:
    """The box, and the ball of ``radius`` around ``centre`` ``(d,)``, a point of the box."""

    box: Box
    centre: Floats
    radius: float

    def project(self, x: Floats) -> Floats:
        """The nearest point ``(d,)``."""
        low, high, offset = (torch.tensor(place - self.centre)[None] for place in (self.box.lower, self.box.upper, x))
        nearest = BALLS["l2"].project(offset, epsilon=self.radius, low=low, high=high)[0].numpy()
        return np.asarray(np.clip(self.centre + nearest, self.box.lower, self.box.upper))


def feasible(x: Matrix, y: Ints, box: Box, *, share: float) -> dict[int, Feasible]:
    """By label, for points ``(n, d)`` of classes ``(n,)`` that the attacker has, and the share of each that is removed."""
    distances = centre_distances(x, y)
    kept = least_suspect(distances, y, share=share)
    return {
        int(k): Feasible(box, dense(x[np.flatnonzero(y == k)]).mean(axis=0), float(distances[kept & (y == k)].max()))
        for k in np.unique(y)
    }


def projection(x: Matrix, y: Ints, box: Box, *, share: float) -> Project:
    """Onto the box; where the attacker expects that a share is removed, onto the ball of the point's label, too."""
    places = feasible(x, y, box, share=share) if share else {}

    def project(point: Floats, label: int) -> Floats:
        return places[label].project(point) if places else np.clip(point, box.lower, box.upper)

    return project
