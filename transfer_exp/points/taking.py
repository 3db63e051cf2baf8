"""The points of a combination: run again through the store, which has most of it, and taken from what its measures saw.

So the points are those of the run, whatever the scenario; what the store lacks is made again, and the outcome that comes
with them says whether they are the ones that were recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from transfer_exp.combination import Combination, Outcome
from transfer_exp.measures import Measure
from transfer_exp.points.file import PointsFile
from transfer_exp.scenarios import run
from transfer_exp.scenarios.attacked import Attacked
from transfer_exp.scenarios.poisoned import PoisonedTraining
from transfer_exp.store import Store
from transfer_exp.types import Ints, UserError
from transfer_exp.work.features import chosen_columns


def take(combination: Combination, store: Store, epsilons: Sequence[float] | None = None) -> tuple[PointsFile, Outcome]:
    """The points made on the surrogate at these ``epsilons`` (None: all of the grid), and the combination's outcome.

    Poisoning points are the same at every share, which counts how many of them are used: they come with the whole grid.
    Raises UserError on an epsilon that the grid has not, and what a run raises.
    """
    grid = combination.epsilon.grid
    strangers = sorted(set(epsilons or ()) - set(grid))
    if strangers:
        raise UserError(f"epsilons: expected values of the grid {list(grid)}, got {strangers}")
    seen: list[Any] = []

    def look(context: Any) -> None:
        seen.append(context)

    looking = Measure(name="points_taken", heading="the points themselves", of="pair", explains=(), compute=look)
    outcome = run(replace(combination, measures=(looking,)), store)
    (context,) = seen
    if isinstance(context, PoisonedTraining):
        return _poisoning(combination, context), outcome
    return _evasion(combination, context, [grid.index(e) for e in epsilons or grid]), outcome


def _evasion(combination: Combination, attacked: Attacked, places: Sequence[int]) -> PointsFile:
    dataset, made = attacked.work.dataset, attacked.black_box
    return PointsFile(
        points=np.stack([made.points(k, attacked.x, dataset.box) for k in places]),
        labels=attacked.y,
        epsilon=np.array([combination.epsilon.grid[k] for k in places], dtype=np.float64),
        clean=attacked.x,
        class_names=dataset.class_names,
        rows=attacked.rows,
        columns=columns_of(combination),
        shape=dataset.shape,
    )


def _poisoning(combination: Combination, poisoned: PoisonedTraining) -> PointsFile:
    dataset, made = poisoned.work.dataset, poisoned.black_box
    return PointsFile(
        kind="poisoning",
        points=made.points,
        labels=made.labels,
        epsilon=np.array(combination.epsilon.grid, dtype=np.float64),
        clean=made.start_points,
        class_names=dataset.class_names,
        rows=poisoned.work.split.surrogate[made.start_rows],
        columns=columns_of(combination),
        shape=dataset.shape,
    )


def columns_of(combination: Combination) -> Ints | None:
    """The columns of the data set that the repetition works on; None where it works on all."""
    dataset = combination.dataset
    return None if dataset.n_selected is None else chosen_columns(dataset, combination.seed)
