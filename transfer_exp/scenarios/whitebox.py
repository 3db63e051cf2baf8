"""The white box is the worst case we know: no point that is known to lie in the same ball may harm the target more.

The points made on a surrogate, without a look at the target, lie in the same ball (or have the same budget), and so do
those of every smaller epsilon: per point and epsilon, the one with the largest objective on the target counts. With a goal
the objective is the margin of the goal: the worst case is that of targeted success, not of error.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transfer_exp.measures.optimum import objective
from transfer_exp.types import Floats, Ints

# Of the rise: what the attack's stopping rule (a share of 5e-6 a move) leaves of one and the same maximum, as its tests
# bound it; no sign of a better one.
STOPPING = 2e-5
# Points are kept as offsets in single precision, and a GPU scores in it: a logit is known to some spacings of its numbers.
_ROUNDING = 16 * float(np.finfo(np.float32).eps)


def best_known(
    own: Floats, others: Floats, clean: Floats, *, y: Ints, goals: Ints | None
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """The target's logits ``(E, n, K)`` on the worst points known, and where those are not its own attack's ``(E, n)``.

    own, others: its logits ``(E, n, K)`` over an ascending grid, on the points made on it and on the surrogate; clean:
    ``(n, K)``, on the clean points. Differences of the objective that stopping and rounding explain change nothing.
    """
    own_value, other_value, base = (objective(logits, y, goals) for logits in (own, others, clean))
    known = np.maximum.accumulate(other_value, axis=0)
    slack = STOPPING * np.abs(known - base) + _ROUNDING * (np.abs(known) + np.abs(base))
    improved = known > own_value + slack
    # The first epsilon at which the running maximum was reached: the point of that epsilon lies in every larger ball.
    rising = np.concatenate([np.ones_like(other_value[:1], dtype=bool), other_value[1:] > known[:-1]])
    first = np.maximum.accumulate(np.where(rising, np.arange(len(known))[:, None], 0), axis=0)
    best_of_others = np.take_along_axis(others, first[:, :, None], axis=0)
    return np.where(improved[:, :, None], best_of_others, own), improved
