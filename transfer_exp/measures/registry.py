"""All measures: scenarios, csv files, tables, headings and MLflow read this list; each entry stands beside its formula.

A *scalar* is a number a combination, an MLflow metric under its name; a *curve* has a value at every epsilon of the grid, a
column of ``curves.csv`` and the MLflow metric ``curve/<name>``. A report shows a measure in the table of what it is a
property of, a curve by its value at the reference epsilon, and draws it against what it explains.

Where is what: V in ``losses``, S and R in ``gradients``, rho and sizes in ``perturbations``, errors and transfer rate in
``errors``, same and other mistakes in ``mistakes``. To add a measure: a ``Measure`` (``base``) in the ``MEASURES`` of the
file with its formula; to add a file: its ``MEASURES`` below. Measures that cost further passes are asked for instead,
``measures=networks`` (``subject``; conf/measures; docs/measures_networks.md). So are those of one's own, which may lie in
any module: ``+measures.mine._target_=...`` (``own``; docs/extending.md). What a measure is computed from:
``scenarios.attacked.Attacked``, or ``scenarios.poisoned.PoisonedTraining``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from transfer_exp.measures import errors, gradients, losses, mistakes, perturbations
from transfer_exp.measures.base import TRANSFER, Measure, Of

__all__ = ["MEASURES", "TRANSFER", "Measure", "Of", "curves", "extended", "scalars"]

MEASURES: dict[str, Measure] = {
    measure.name: measure for room in (errors, mistakes, losses, perturbations, gradients) for measure in room.MEASURES
}


def curves() -> tuple[str, ...]:
    """Names of the curves, in the order of their columns."""
    return tuple(name for name, measure in MEASURES.items() if measure.is_curve)


def scalars() -> tuple[str, ...]:
    """Names of the scalars."""
    return tuple(name for name, measure in MEASURES.items() if not measure.is_curve)


@contextlib.contextmanager
def extended(others: Iterable[Measure]) -> Iterator[None]:
    """Within it these measures are registered, too: those that the runs of a study have recorded beside all of these."""
    added = {measure.name: measure for measure in others}
    MEASURES.update(added)
    try:
        yield
    finally:
        for name in added:
            del MEASURES[name]
