"""All measures: scenarios, csv files, tables, headings and MLflow read this list; each entry stands beside its formula.

A *scalar* is a number a combination, an MLflow metric under its name; a *curve* has a value at every epsilon of the grid, a
column of ``curves.csv`` and the MLflow metric ``curve/<name>``. A report shows a measure in the table of what it is a
property of, a curve by its value at the reference epsilon, and draws it against what it explains.

Where is what: V in ``losses``, S and R in ``gradients``, rho and sizes in ``perturbations``, errors in ``errors``. To add a
measure: a ``Measure`` (``base``) in the ``MEASURES`` of the file with its formula; to add a file: its ``MEASURES`` below.
"""

from __future__ import annotations

from transfer_exp.measures import errors, gradients, losses, perturbations
from transfer_exp.measures.base import TRANSFER, Measure, Of

__all__ = ["MEASURES", "TRANSFER", "Measure", "Of", "curves", "scalars"]

MEASURES: dict[str, Measure] = {
    measure.name: measure for room in (errors, losses, perturbations, gradients) for measure in room.MEASURES
}


def curves() -> tuple[str, ...]:
    """Names of the curves, in the order of their columns."""
    return tuple(name for name, measure in MEASURES.items() if measure.is_curve)


def scalars() -> tuple[str, ...]:
    """Names of the scalars."""
    return tuple(name for name, measure in MEASURES.items() if not measure.is_curve)
