"""Columns that retraining needs: where every point is zero, kernel values and gradients do not depend on a column."""

from __future__ import annotations

import numpy as np

from transfer_exp.types import Floats, Ints, Matrix


def used_columns(*matrices: Matrix) -> Ints:
    """Columns where any point is not zero. In all others every gradient is zero, so that points stay at zero there."""
    return np.unique(np.concatenate([matrix.nonzero()[1] for matrix in matrices]))


def all_columns(rows: Floats, columns: Ints, n_features: int) -> Floats:
    """The inverse of ``x[:, columns]``: rows ``(m, c)`` as ``(m, n_features)``, zero in all other columns."""
    full = np.zeros((len(rows), n_features))
    full[:, columns] = rows
    return full
