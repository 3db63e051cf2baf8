"""What a measure is, and the helpers that all of them use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from transfer_exp.types import Floats

Of: TypeAlias = Literal["surrogate", "target", "pair"]
Compute: TypeAlias = Callable[[Any], "Floats | None"]
"""From what a scenario offers (``scenarios.attacked.Attacked``, ``scenarios.poisoned.PoisonedTraining``) to the values, or
None where it has none: of a scalar ``(n,)``, one a point; of a curve ``(E,)``, or ``(E, n)``."""


TRANSFER = "transfer"
"""Stands for the error of the targets: the mean over those that a surrogate met, or that met a target; of a pair its own."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure: ``name`` of its column and metric, ``symbol`` of the literature ("" for none), ``heading`` in words.

    of: what it is a property of, and over what tables take its mean. is_curve: one value an epsilon. is_share: between 0 and
    1. is_cosine: between -1 and 1; of a pair, it is shown as a matrix. source: where it is defined. label:
    heading of a column or an axis; where it has none, symbol and heading, or its name if it explains nothing. explains: the
    columns of its table that it is drawn against and correlated with; of what an attack did none. norm: the norm in which it
    is the size of something.
    compute: its values (None: the scenario records it itself); the mean over the points where it is defined is recorded, and
    the share of the others.
    """

    name: str
    heading: str
    of: Of
    symbol: str = ""
    is_curve: bool = False
    is_share: bool = False
    is_cosine: bool = False
    source: str = ""
    label: str = ""
    explains: tuple[str, ...] = (TRANSFER,)
    norm: str = ""
    compute: Compute | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "explains", tuple(self.explains))

    @property
    def title(self) -> str:
        """Its heading where there is little room."""
        if self.label or not self.explains:
            return self.label or self.name.replace("_", " ").replace("whitebox", "white-box")
        return ", ".join(filter(None, (self.symbol, self.heading)))


def mean_defined(values: Floats) -> tuple[float, float]:
    """Mean over the values that are not NaN (NaN when all are), and the share that is NaN."""
    undefined = np.isnan(values)
    return (float(values[~undefined].mean()) if not undefined.all() else float("nan")), float(undefined.mean())
