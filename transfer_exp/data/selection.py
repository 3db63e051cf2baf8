"""Choice of features by how much their share differs between the classes (paper, section 4.2).

Only training points may be looked at. Surrogate and target must see the same columns for attack points to pass from one
to the other, so a repetition selects once, on the union of its target and surrogate training parts; validation and test
points take no part.
"""

from __future__ import annotations

import numpy as np

from transfer_exp.data.binary import require_binary
from transfer_exp.types import Ints, Matrix, UserError


def share_gaps(x: Matrix, y: Ints) -> Ints:
    """|p(x_k=1 | y=+1) - p(x_k=1 | y=-1)| of each column ``(d,)``, times n_+1 n_-1: whole numbers, so ties are exact.

    Raises UserError on values other than 0 and 1 in ``x`` ``(n, d)``, or labels of one class only.
    """
    require_binary(x, "feature selection")
    positive = np.asarray(y == 1)
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        raise UserError(f"feature selection: expected points of both classes, got {n_positive} of +1, {n_negative} of -1")
    in_positive = np.asarray(x.T @ positive.astype(np.float64)).astype(np.int64)
    in_negative = np.asarray(x.T @ (~positive).astype(np.float64)).astype(np.int64)
    gaps: Ints = np.abs(in_positive * n_negative - in_negative * n_positive)
    return gaps


def select_features(x: Matrix, y: Ints, *, n_features: int) -> Ints:
    """The ``n_features`` columns of ``x`` ``(n, d)``, dense or CSR, with the largest gap, in ascending order.

    Of equal gaps the lower column wins. Raises UserError when there are fewer columns than asked for.
    """
    if not 1 <= n_features <= x.shape[1]:
        raise UserError(f"dataset.n_features: expected a number from 1 to {x.shape[1]}, got {n_features}")
    order = np.argsort(-share_gaps(x, y), kind="stable")
    return np.sort(order[:n_features]).astype(np.int64)
