"""The sweeper of transfer_exp: Hydra takes sweepers from this folder only.

Every Hydra program scans it for plugins, so nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper


class WordSweeper(BasicSweeper):
    """Hydra's own sweeper, less its composing of every combination before the first job: a tenth of a second each.

    The callback ``transfer_exp.sweep.Sweep`` has composed each word of the sweep by then.
    """

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Nothing is left to do."""
