"""The sweeper of transfer_exp: Hydra takes sweepers from this folder only.

Every Hydra program scans it for plugins, so nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

_AXES = ("surrogate=", "target=")


class WordSweeper(BasicSweeper):
    """Hydra's own sweeper, less its composing of every combination before the first job and as a whole: a tenth of a second.

    The callback ``transfer_exp.sweep.Sweep`` has composed each word of the sweep by then. Combinations come in an order
    in which workers seldom wait for each other.
    """

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Give the launcher a loader that composes the jobs of a sweep quickly."""
        from transfer_exp.composing import SweepLoader  # here: every Hydra program reads this file

        loader = SweepLoader.of(hydra_context.config_loader)
        context = HydraContext(config_loader=loader, callbacks=hydra_context.callbacks)
        super().setup(hydra_context=context, task_function=task_function, config=config)

    @staticmethod
    def split_arguments(overrides: list[Override], max_batch_size: int | None) -> list[list[list[str]]]:
        """The words of each combination, in batches."""
        (jobs,) = BasicSweeper.split_arguments(overrides, None)
        return list(BasicSweeper.split_overrides_to_chunks(by_diagonals(jobs), max_batch_size))

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Nothing is left to do."""


def by_diagonals(jobs: Sequence[Sequence[str]]) -> list[list[str]]:
    """Each matrix of surrogates and targets along its diagonals, one matrix (seed, share of the data, ...) after another.

    Two combinations of one surrogate or one target need the same fit and the same points: of two workers one would wait.
    """
    matrices: dict[tuple[str, ...], list[Sequence[str]]] = {}
    for job in jobs:
        matrices.setdefault(tuple(word for word in job if not word.startswith(_AXES)), []).append(job)
    return [list(job) for matrix in matrices.values() for job in _diagonals(matrix)]


def _diagonals(matrix: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Combinations in order of (column - row), then row; an axis that is not swept has length 1."""
    cells = [tuple(next((word for word in job if word.startswith(axis)), "") for axis in _AXES) for job in matrix]
    rows, columns = (list(dict.fromkeys(cell[k] for cell in cells)) for k in (0, 1))
    places = [((columns.index(c) - rows.index(r)) % len(columns), rows.index(r)) for r, c in cells]
    return [matrix[k] for k in sorted(range(len(matrix)), key=places.__getitem__)]
