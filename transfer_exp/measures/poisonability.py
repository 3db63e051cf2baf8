"""How well two classes of data resist poisoning of a linear learner with weights w (arXiv 2307.01073).

    separation    |mean_1 - mean_0| / s         means of w . x over the training points of each class
    extent        (max - min of w . x over the box) / s

s is the mean of the standard deviations of w . x in the two classes. Well separated classes in a box of small extent leave
little to gain. Both are of the target: its weights, its clean training points.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from transfer_exp.measures.base import Measure
from transfer_exp.types import Box, Floats, Ints

LinearData: TypeAlias = tuple[Floats, Floats, Ints]
"""Weights ``(d,)`` of the score z_1 - z_0 in raw units, training points ``(n, d)``, their classes ``(n,)``."""
_SOURCE = "arXiv 2307.01073"


def spread_along(weight: Floats, x: Floats, y: Ints) -> float:
    """s of points ``(n, d)`` of classes 0 and 1 along weights ``(d,)``."""
    return float(np.mean([(x[y == k] @ weight).std() for k in (0, 1)]))


def separation(weight: Floats, x: Floats, y: Ints) -> float:
    """Distance of the class means along the weights, in units of s; NaN where s is 0."""
    s = spread_along(weight, x, y)
    apart = abs(float((x[y == 1] @ weight).mean() - (x[y == 0] @ weight).mean()))
    return apart / s if s > 0 else float("nan")


def extent(weight: Floats, x: Floats, y: Ints, box: Box) -> float:
    """Extent of the box along the weights, in units of s; NaN where s is 0."""
    s = spread_along(weight, x, y)
    return float(np.abs(weight) @ (box.upper - box.lower)) / s if s > 0 else float("nan")


def _separation(context: Any) -> Floats | None:
    linear: LinearData | None = context.linear_target
    return None if linear is None else np.array([separation(*linear)])


def _extent(context: Any) -> Floats | None:
    linear: LinearData | None = context.linear_target
    return None if linear is None else np.array([extent(*linear, context.work.dataset.box)])


def poisonability_separation(*, name: str = "poisonability_separation") -> Measure:
    """The measure of separation."""
    heading = "distance of the classes along the target's weights, in standard deviations"
    return Measure(name=name, heading=heading, of="target", source=_SOURCE, compute=_separation)


def poisonability_extent(*, name: str = "poisonability_extent") -> Measure:
    """The measure of extent."""
    heading = "extent of the box along the target's weights, in standard deviations"
    return Measure(name=name, heading=heading, of="target", source=_SOURCE, compute=_extent)
