"""CSR points from their parts, as a file claims them: checked, and with no more columns than their entries call for."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp

Array: TypeAlias = np.ndarray[Any, Any]
MOST_EMPTY = 10**6
"""Columns that a matrix with fewer entries may have: models and boxes are vectors as long, some megabytes each."""


def csr_points(data: Array, indices: Array, indptr: Array, shape: Array) -> sp.csr_array:
    """The matrix, without duplicate entries. Parts that do not fit: ValueError, TypeError, IndexError or OverflowError."""
    n_points, n_features = (int(size) for size in shape)
    if n_features > max(len(data), MOST_EMPTY):
        raise ValueError(
            f"{n_features:,} features with {len(data):,} entries (expected at most {MOST_EMPTY:,}, or as many as entries); "
            "drop the columns without entries: X[:, X.getnnz(axis=0) > 0]"
        )
    x = sp.csr_array((data, indices, indptr), shape=(n_points, n_features))
    x.check_format()
    x.sum_duplicates()
    return x
