"""Choice of features by how much their share differs between the classes (paper, section 4.2).

Only training points may be looked at. Surrogate and target must see the same columns for attack points to pass from one
to the other, so a repetition selects once, on the union of its target and surrogate training parts; validation and test
points take no part.
"""

from __future__ import annotations

import math

import numpy as np

from transfer_exp.data.binary import require_binary
from transfer_exp.types import Ints, Matrix, UserError


def share_gaps(x: Matrix, y: Ints) -> Ints:
    """max_k p(x_j=1 | y=k) - min_k p(x_j=1 | y=k) of each column j ``(d,)``, times a number that makes all of them whole.

    That number is the least common multiple of the classes' sizes. So ties are exact.
    Raises UserError on values other than 0 and 1 in ``x`` ``(n, d)``, or labels of one class only.
    """
    require_binary(x, "feature selection")
    labels, sizes = np.unique(y, return_counts=True)
    if len(labels) < 2:
        raise UserError(f"feature selection: expected points of two or more classes, got those of {len(labels)}")
    multiple = math.lcm(*sizes.tolist())
    kind = np.int64 if multiple < 2**62 else object  # whole numbers of any size
    ones = [np.asarray(x.T @ (y == label).astype(np.float64)).astype(np.int64).astype(kind) for label in labels]
    shares = np.array([n * (multiple // size) for n, size in zip(ones, sizes.tolist(), strict=True)], dtype=kind)
    return np.asarray(shares.max(axis=0) - shares.min(axis=0))


def select_features(x: Matrix, y: Ints, *, n_features: int) -> Ints:
    """The ``n_features`` columns of ``x`` ``(n, d)``, dense or CSR, with the largest gap, in ascending order.

    Of equal gaps the lower column wins. Raises UserError when there are fewer columns than asked for.
    """
    if not 1 <= n_features <= x.shape[1]:
        raise UserError(f"dataset.n_features: expected a number from 1 to {x.shape[1]}, got {n_features}")
    order = np.argsort(-share_gaps(x, y), kind="stable")
    return np.sort(order[:n_features]).astype(np.int64)
