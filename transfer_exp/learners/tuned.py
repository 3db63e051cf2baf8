"""Hyperparameters chosen anew on whatever data there are, poisoned or not, by cross-validation.

    for each combination of the values:   error of the folds left out, each by the learner fitted to the others
    model = the learner of the smallest error fitted to all points; of equal ones, the first

An attack for one fixed C meets another C: by how much regularisation answers poisoning is what this measures (Carnerero-Cano
et al. 2020, arXiv 2003.00040, choose it on trusted points; here the held-out points are poisoned, too). List the strongest
regularisation first: it wins ties.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import product
from typing import Any, Self

import numpy as np

from transfer_exp.learners.base import Learner
from transfer_exp.learners.model import Model
from transfer_exp.learners.wrapped import Wrapped
from transfer_exp.margin import predict
from transfer_exp.types import Dataset, Floats, Ints, Matrix, UserError

CHOICE = "tuned_choice"
"""The array of one whole number that the model has: which combination of the values it is."""


@dataclass(frozen=True, kw_only=True)
class Tuned(Wrapped):
    """``learner`` with the best of some values.

    tune: grids, each of options of the learner and the values tried, in all combinations. n_folds: of each class.
    """

    tune: Sequence[Mapping[str, Sequence[Any]]]
    n_folds: int = 5
    candidates: tuple[Learner, ...] = field(default=(), init=False, repr=False, compare=False)
    """The learner with each combination of the values, those of the last option changing first."""
    family = "tuned"
    notes = (CHOICE,)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_folds < 2:
            raise UserError(f"{self.label}.n_folds: expected a whole number >= 2, got {self.n_folds}")
        good = isinstance(self.tune, list | tuple) and self.tune and all(map(_is_grid, self.tune))
        if not good:
            raise UserError(
                f"{self.label}.tune: expected a list of grids, options with a list of values ([{{C: [0.1, 1]}}]), got "
                f"{self.tune!r}"
            )
        known = {f.name for f in fields(self.learner) if f.init and f.compare}
        unknown = sorted({name for grid in self.tune for name in grid} - known)
        if unknown:
            raise UserError(
                f"{self.label}.tune: expected options of {self.learner.label} ({', '.join(sorted(known))}), got {unknown[0]}"
            )
        made = tuple(replace(self.learner, **values) for values in self.combinations)
        object.__setattr__(self, "candidates", made)

    @property
    def combinations(self) -> list[dict[str, Any]]:
        """The values of each candidate."""
        return [dict(zip(grid, values, strict=True)) for grid in self.tune for values in product(*grid.values())]

    def on(self, dataset: Dataset) -> Self:
        """With all candidates as they are for this data set."""
        return super().on(dataset)._with(candidates=tuple(one.on(dataset) for one in self.candidates))

    def to(self, device: str) -> Self:
        """With all candidates on this device."""
        return super().to(device)._with(candidates=tuple(one.to(device) for one in self.candidates))

    def chosen(self, model: Model) -> dict[str, Any]:
        """The values that a model of it was fitted with."""
        return self.combinations[int(model.get_buffer(CHOICE))]

    def defence_notes(self, model: Model, *, n_clean: int) -> dict[str, float]:
        """The values that were chosen, those that are numbers, and what the chosen learner's own defence did."""
        names = {name for grid in self.tune for name in grid}
        chosen = {name: value for name, value in self.chosen(model).items() if _is_number(value)}
        own = {f"tuned_{name}": float(chosen.get(name, np.nan)) for name in sorted(names)}
        return {**own, **self.candidates[int(model.get_buffer(CHOICE))].defence_notes(model, n_clean=n_clean)}

    def inner(self, notes: dict[str, np.ndarray[Any, Any]]) -> Learner:
        """The candidate that was chosen."""
        return self.candidates[int(notes[CHOICE])]

    def errors(self, x: Matrix, y: Ints, *, n_classes: int, seed: int) -> Floats:
        """Share of the points ``(n, d)`` that each candidate gets wrong when they are left out, ``(number of them,)``."""
        place = folds(y, self.n_folds, seed=seed)
        wrong = np.zeros(len(self.candidates))
        for k in range(place.max() + 1):
            inside, outside = np.flatnonzero(place != k), np.flatnonzero(place == k)
            for i, one in enumerate(self.candidates):
                model = one.fit(x[inside], y[inside], n_classes=n_classes, seed=seed)
                wrong[i] += np.count_nonzero(predict(model.logits(x[outside])) != y[outside])
        return wrong / len(y)

    def _fit(self, x: Matrix, y: Ints, *, n_classes: int, seed: int) -> Model:
        best = int(np.argmin(self.errors(x, y, n_classes=n_classes, seed=seed)))
        return self.noted(self.candidates[best].fit(x, y, n_classes=n_classes, seed=seed), **{CHOICE: np.array(best)})


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_grid(grid: Any) -> bool:
    return isinstance(grid, Mapping) and bool(grid) and all(isinstance(v, list | tuple) and v for v in grid.values())


def folds(y: Ints, n_folds: int, *, seed: int) -> Ints:
    """The fold ``(n,)`` of each point, the points of each class dealt out in random order; of few points, fewer folds.

    Raises UserError on a class of one point: no fold could be left out without losing it.
    """
    counts = np.bincount(y)
    fewest = int(counts[counts > 0].min())
    if fewest < 2:
        raise UserError(f"tune: expected at least 2 training points of each class, got 1 of class {int(counts.argmin())}")
    rng, place = np.random.default_rng(seed), np.empty(len(y), dtype=np.int64)
    for k in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == k))
        place[rows] = np.arange(len(rows)) % min(n_folds, fewest)
    return place
