"""The state of a projected ascent of many points at once: what is asked of a problem, where the points are, what it cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from transfer_exp.optim.batches import rows_of


class Objective(Protocol):
    """What is maximised, for given rows of the batch."""

    def value(self, x: Tensor, rows: Tensor) -> Tensor:
        """Objective ``(m,)`` at points ``(m, d)``."""

    def gradient(self, x: Tensor, rows: Tensor) -> Tensor:
        """Its gradient ``(m, d)`` there."""


class FeasibleSet(Protocol):
    """A convex set for every row of the batch."""

    def project(self, x: Tensor, rows: Tensor) -> Tensor:
        """The nearest feasible points ``(m, d)``."""

    def farthest(self, direction: Tensor, rows: Tensor) -> Tensor:
        """The feasible points ``(m, d)`` farthest along ``direction``."""


@dataclass
class Effort:
    """What an ascent cost: batched calls, and rows in them."""

    gradient_calls: int = 0
    score_calls: int = 0
    gradient_rows: int = 0
    score_rows: int = 0

    def __add__(self, other: Effort) -> Effort:
        return Effort(*(getattr(self, f) + getattr(other, f) for f in self.__dataclass_fields__))


@dataclass
class Slopes:
    """Gradients ``(n, d)`` at the points where an ascent is, as far as they are ``known`` ``(n,)``."""

    gradient: Tensor
    known: Tensor


@dataclass
class Ascent:
    """Where an ascent ended: points ``(n, d)``, objective, flags ``(n,)``, mean objective per iteration.

    slopes: handed on to the ascent that starts here, so that no gradient is taken twice.
    """

    x: Tensor
    value: Tensor
    exhausted: Tensor
    zero_gradient: Tensor
    slopes: Slopes
    effort: Effort = field(default_factory=Effort)
    trace: list[float] = field(default_factory=list)

    def gradient(self, objective: Objective, rows: Tensor) -> Tensor:
        """The gradient ``(m, d)`` at the points of these rows."""
        new = rows[~self.slopes.known[rows]]
        if len(new):
            self.slopes.gradient[new] = objective.gradient(rows_of(self.x, new), new)
            self.slopes.known[new] = True
            self.effort += Effort(gradient_calls=1, gradient_rows=len(new))
        return rows_of(self.slopes.gradient, rows)

    def single(self) -> Ascent:
        """An ascent that has not begun, from here, in single precision."""
        return unmoved(self.x.float(), self.value.float(), Slopes(self.slopes.gradient.float(), self.slopes.known.clone()))

    def move(self, rows: Tensor, x: Tensor, value: Tensor) -> None:
        """Put these rows at ``x`` ``(m, d)``, where the objective is ``value`` ``(m,)``."""
        self.x[rows], self.value[rows], self.slopes.known[rows] = x, value, False

    def replace(self, rows: Tensor, other: Ascent, chosen: Tensor) -> None:
        """Take over for these rows ``(m,)`` what ``other`` has in its rows ``chosen`` ``(m,)``."""
        for name in ("x", "value", "exhausted", "zero_gradient"):
            getattr(self, name)[rows] = getattr(other, name).index_select(0, chosen)
        self.slopes.gradient[rows] = other.slopes.gradient.index_select(0, chosen)
        self.slopes.known[rows] = other.slopes.known[chosen]


def unmoved(x: Tensor, value: Tensor, slopes: Slopes | None = None) -> Ascent:
    """The ascent that has not begun: ``x`` ``(n, d)`` with objective ``value`` ``(n,)``."""
    no = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    return Ascent(
        x=x.clone(),
        value=value.clone(),
        exhausted=no,
        zero_gradient=no.clone(),
        slopes=slopes or Slopes(torch.zeros_like(x), no.clone()),
        trace=[float(value.double().mean())],
    )
