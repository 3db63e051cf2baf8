"""Equal rows, which must not stand on both sides of a split: a model would be tested on what it has seen."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import scipy.sparse as sp

from transfer_exp.types import Ints, Pixels, Points


def equal_rows(x: Points) -> Ints:
    """A number for each row ``(n,)`` of ``x`` ``(n, d)``, the same for equal rows, in order of appearance."""
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(row, len(numbers)) for row in _digests(x)], dtype=np.int64)


def _digests(x: Points) -> list[bytes]:
    if isinstance(x, Pixels):
        return [hashlib.blake2b(row, digest_size=16).digest() for row in np.ascontiguousarray(x.values)]
    if not isinstance(x, sp.csr_array):
        return [hashlib.blake2b(row, digest_size=16).digest() for row in np.ascontiguousarray(x + 0.0)]  # -0 is 0
    x = x.copy()
    x.eliminate_zeros()
    x.sort_indices()
    indices, ends = x.indices.astype(np.int64), x.indptr
    return [
        hashlib.blake2b(indices[i:j].tobytes() + x.data[i:j].tobytes(), digest_size=16).digest()
        for i, j in itertools.pairwise(ends)
    ]
