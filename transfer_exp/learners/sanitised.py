"""Sanitisation: the most suspect training points are removed before the learner sees them (filters: ``suspicion``).

    kept = all but the most suspect share of each class
    model = the learner fitted to what is kept

Of clean data it removes the same share: that is its price.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt

from transfer_exp.learners.base import require_positive
from transfer_exp.learners.model import Model
from transfer_exp.learners.suspicion import Filter, centre_distances, least_suspect, losses, neighbour_ratios
from transfer_exp.learners.wrapped import Wrapped
from transfer_exp.seeds import generator
from transfer_exp.types import Floats, Ints, Matrix, UserError

KEPT = "defence_kept"
"""The array ``(n,)`` of bools, by training point, that the model has."""


@dataclass(frozen=True, kw_only=True)
class Sanitised(Wrapped):
    """``learner`` on training data without the most suspect points.

    filter: by what. share: of each class, removed; rounded down. n_neighbours: k of the filter by neighbours.
    """

    filter: Filter = "centre"
    share: float = 0.05
    n_neighbours: int = 5
    family = "sanitised"
    notes = (KEPT,)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.filter not in get_args(Filter):
            raise UserError(f"{self.label}.filter: expected one of {', '.join(get_args(Filter))}, got {self.filter}")
        if not 0 <= self.share < 1:
            raise UserError(f"{self.label}.share: expected a number from 0 to below 1, got {self.share}")
        require_positive(self, n_neighbours=self.n_neighbours)
        if self.filter == "loss" and self.learner.labels_only:
            raise UserError(
                f"{self.label}.filter: expected centre or neighbours for {self.learner.label}, which gives labels only, so "
                "that no loss is defined, got loss"
            )

    def keeps(self, x: Matrix, y: Ints, *, n_classes: int, seed: int) -> npt.NDArray[np.bool_]:
        """``(n,)``, True for the training points ``(n, d)`` that stay."""
        suspicion = self._suspicion(x, y, n_classes=n_classes, seed=seed)
        # Poisoning points stand last, which the defence does not know: equally suspect points are drawn.
        return least_suspect(suspicion, y, share=self.share, rng=generator(seed, "defence_ties"))

    def defence_notes(self, model: Model, *, n_clean: int) -> dict[str, float]:
        """Clean and poisoning points that were removed."""
        removed = ~model.get_buffer(KEPT).cpu().numpy()
        own = {"removed_clean": removed[:n_clean].sum(), "removed_poisoning": removed[n_clean:].sum()}
        return {**{name: float(count) for name, count in own.items()}, **self.learner.defence_notes(model, n_clean=n_clean)}

    def _suspicion(self, x: Matrix, y: Ints, *, n_classes: int, seed: int) -> Floats:
        if self.filter == "centre":
            return centre_distances(x, y)
        if self.filter == "neighbours":
            return neighbour_ratios(x, y, n_neighbours=self.n_neighbours)
        return losses(self.learner.fit(x, y, n_classes=n_classes, seed=seed), x, y)

    def _fit(self, x: Matrix, y: Ints, *, n_classes: int, seed: int) -> Model:
        kept = self.keeps(x, y, n_classes=n_classes, seed=seed)
        rows = np.flatnonzero(kept)
        return self.noted(self.learner.fit(x[rows], y[rows], n_classes=n_classes, seed=seed), **{KEPT: kept})
