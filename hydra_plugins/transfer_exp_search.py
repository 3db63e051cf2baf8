"""The search sweeper of transfer_exp: Hydra takes sweepers from this folder only. See ``transfer_exp.cli.search``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.override_parser.types import Override

from hydra_plugins.transfer_exp_sweeper import BlockSweeper

if TYPE_CHECKING:
    from transfer_exp.cli.search import Search


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
