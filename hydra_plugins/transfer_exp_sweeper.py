"""The sweepers of transfer_exp: Hydra takes sweepers from this folder only.

Every Hydra program scans it for plugins, so nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from transfer_exp.cli.search import Search

_OF_SURROGATE, _OF_TARGET = (
    (f"{role}=", f"{role}.", f"learner@{role}.", f"+learner@{role}.") for role in ("surrogate", "target")
)
_ROLES = ((*_OF_SURROGATE, "surrogate_fraction=", "attack=", "attack.", "epsilon=", "epsilon."), _OF_TARGET)


class BlockSweeper(BasicSweeper):
    """Hydra's own sweeper, with blocks: several sweeps in one. It composes jobs quickly, and none in advance.

    params: values that all combinations have, ``key: value,value``. blocks: more of them; the combinations are those of
    each block in turn, so that two axes need not meet (each block: params x block x command line, the last of a key
    counts). Combinations come in an order in which workers seldom wait for each other. Hydra would compose all of them
    before the first; here the callback ``transfer_exp.cli.sweep.Sweep`` has composed as many as cover all overrides.
    """

    def __init__(
        self,
        max_batch_size: int | None = None,
        params: dict[str, str] | None = None,
        blocks: Sequence[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(max_batch_size, params)
        self.blocks = blocks

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Give the launcher a loader that composes the jobs of a sweep quickly."""
        from transfer_exp.cli.composing import SweepLoader  # here: every Hydra program reads this file

        loader = SweepLoader.of(hydra_context.config_loader)
        context = HydraContext(config_loader=loader, callbacks=hydra_context.callbacks)
        super().setup(hydra_context=context, task_function=task_function, config=config)

    def _parse_config(self) -> list[str]:
        """Nothing: ``split`` knows the values of the configuration."""
        return []

    def split_arguments(self, overrides: list[Override], max_batch_size: int | None) -> list[list[list[str]]]:  # type: ignore[override]
        """The overrides of each combination, in batches; ``overrides``: those of the command line."""
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        jobs = split(parser, self.params, self.blocks, [str(one.input_line) for one in overrides])
        return list(BasicSweeper.split_overrides_to_chunks(by_diagonals(jobs), max_batch_size))

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:  # noqa: ARG002  (Hydra's hook before a launch)
        """Remove the copy of the configuration that Hydra has just written: it may hold the password of a server.

        Each run has its own, masked.
        """
        assert self.config is not None
        Path(self.config.hydra.sweep.dir, "multirun.yaml").unlink(missing_ok=True)


class SearchSweeper(BlockSweeper):
    """Launches the combinations of a few trials at a time, and asks Optuna for the next ones when they have ended.

    Hydra's loop (``BasicSweeper.sweep``) asks ``is_done`` after each launch, which tells the search what came of it.
    """

    def __init__(
        self,
        n_trials: int = 20,
        trials_at_once: int = 1,
        seed: int = 0,
        params: dict[str, str] | None = None,
        blocks: Sequence[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(None, params, blocks)
        self.options = {"n_trials": n_trials, "trials_at_once": trials_at_once, "seed": seed}
        self.search: Search | None = None

    def split_arguments(self, overrides: list[Override], max_batch_size: int | None) -> list[list[list[str]]]:  # type: ignore[override]  # noqa: ARG002
        """Begin the search; its combinations are not known in advance."""
        from transfer_exp.cli.search import Search  # here: every Hydra program reads this file

        assert self.config is not None
        self.search = Search.of(self.config, [str(one.input_line) for one in overrides])
        return []

    def is_done(self) -> bool:
        """Whether all trials have ended; what was launched last is told to the search."""
        assert self.search is not None
        assert self.config is not None
        self.search.collect(Path(self.config.hydra.sweep.dir))
        return self.search.is_done

    def get_job_batch(self) -> Sequence[Sequence[str]]:
        """The combinations of the next trials."""
        assert self.search is not None
        return self.search.next_jobs()


_SCHEMA: dict[str, Any] = {
    "_target_": "hydra_plugins.transfer_exp_sweeper.BlockSweeper",
    "max_batch_size": None,
    "params": {},
    "blocks": [],
}
ConfigStore.instance().store(group="hydra/sweeper", name="blocks", node=_SCHEMA, provider="transfer_exp")


def split(
    parser: OverridesParser, params: Mapping[str, Any], blocks: Sequence[Mapping[str, Any]], overrides: Sequence[str]
) -> list[list[str]]:
    """The overrides of each combination of a sweep, each combination once."""
    jobs: dict[tuple[str, ...], None] = {}
    for block in blocks or [{}]:
        swept = [*(f"{key}={value}" for key, value in {**params, **block}.items()), *overrides]
        (own,) = BasicSweeper.split_arguments(parser.parse_overrides(swept), None)
        jobs |= dict.fromkeys(map(tuple, own))
    return [list(job) for job in jobs]


def by_diagonals(jobs: Sequence[Sequence[str]]) -> list[list[str]]:
    """Each matrix of points and targets along its diagonals, one matrix (seed, data set, ...) after another.

    Points are a surrogate's, by one attack. Two combinations of the same points or the same target need the same pieces: of
    two workers one would wait.
    """
    matrices: dict[tuple[str, ...], list[Sequence[str]]] = {}
    for job in jobs:
        others = tuple(one for one in job if not any(one.startswith(role) for role in _ROLES))
        matrices.setdefault(others, []).append(job)
    return [list(job) for matrix in matrices.values() for job in _diagonals(matrix)]


def _diagonals(matrix: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Combinations in order of (column - row), then row; an axis that is not swept has length 1.

    A row is a surrogate with its share of the data, attack and strengths; a learner is its choice together with its swept
    values and, of an ensemble, its members.
    """
    cells = [tuple(tuple(one for one in job if one.startswith(role)) for role in _ROLES) for job in matrix]
    rows, columns = (list(dict.fromkeys(cell[k] for cell in cells)) for k in (0, 1))
    places = [((columns.index(c) - rows.index(r)) % len(columns), rows.index(r)) for r, c in cells]
    return [matrix[k] for k in sorted(range(len(matrix)), key=places.__getitem__)]
