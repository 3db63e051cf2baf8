"""Columns that retraining needs: where every point is zero, kernel values and gradients know nothing of a column."""

from __future__ import annotations

import numpy as np

from transfer_exp.types import Floats, Ints, Matrix


def used_columns(*matrices: Matrix) -> Ints:
    """Columns where any point has anything. In all others every gradient is zero, so that points stay at zero there."""
    return np.unique(np.concatenate([matrix.nonzero()[1] for matrix in matrices]))


def spread(rows: Floats, columns: Ints, n_features: int) -> Floats:
    """Rows ``(m, c)`` put into their columns of ``(m, d)``, zero elsewhere."""
    whole = np.zeros((len(rows), n_features))
    whole[:, columns] = rows
    return whole
