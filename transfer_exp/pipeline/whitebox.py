"""The white box is the worst case we know: no point that is known to lie in the same ball may harm the target more.

The points made on a surrogate, without a look at the target, lie in the same ball (or have the same budget), and so do
those of every smaller epsilon: per point and epsilon, the one with the largest objective on the target counts.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transfer_exp.types import Floats

# Of the rise: what the attack's stopping rule (a share of 5e-6 a move) leaves of one and the same maximum, as its tests
# bound it; no sign of a better one.
STOPPING = 2e-5
# Points are kept as offsets in single precision, and a GPU scores in it: a score is known to some spacings of its numbers.
_ROUNDING = 16 * float(np.finfo(np.float32).eps)


def best_known(own: Floats, others: Floats, clean: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """The largest known objective ``(E, n)`` of a target in each ball, and where it is not its own attack's.

    own, others: -y f ``(E, n)`` of the target over an ascending grid, on the points made on the target and on the surrogate;
    clean: -y f ``(n,)`` of the clean points. Differences that stopping and rounding explain change nothing.
    """
    known = np.maximum.accumulate(others, axis=0)
    slack = STOPPING * np.abs(known - clean) + _ROUNDING * (np.abs(known) + np.abs(clean))
    improved = known > own + slack
    return np.where(improved, known, own), improved
