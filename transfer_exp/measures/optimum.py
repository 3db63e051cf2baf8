"""How much of what could be reached on the surrogate an attack has reached.

    share of optimum    (mean_i v(a_i) - mean_i v(x_i)) / (mean_i v(a*_i) - mean_i v(x_i))

v is the attacker's objective: the margin, of the goal or away from the class. a* is what our own optimiser makes at its best
settings (``work.optimum``), or a itself where that is better. At most 1; NaN where nothing can be gained.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from transfer_exp.margin import margins
from transfer_exp.measures.base import Measure
from transfer_exp.types import Floats, Ints


def objective(logits: Floats, y: Ints, goals: Ints | None) -> Floats:
    """What the attacker raises, ``(..., n)``: the margin of the goals or, without them, the negative one of the classes."""
    values = np.array(logits)  # torch warns of arrays that are read-only
    return -margins(values, y) if goals is None else margins(values, goals)


def share_of(reached: Floats, best: Floats, clean: Floats) -> Floats:
    """Share at each epsilon ``(E,)``, of objectives ``(E, n)`` and, of the clean points, ``(n,)``."""
    possible = (np.maximum(best, reached) - clean).mean(axis=-1)
    gained = (reached - clean).mean(axis=-1)
    return np.asarray(np.divide(gained, possible, out=np.full(len(gained), np.nan), where=possible > 0))


def _share(context: Any, *, name: str) -> Floats | None:
    best = context.best_objective(name)
    if best is None:
        return None
    reached, clean = (objective(z, context.y, context.goals) for z in (context.surrogate_decisions, context.surrogate_clean))
    return share_of(reached, best, clean)


def share_of_optimum(*, name: str = "share_of_optimum") -> Measure:
    """The measure; it costs an attack at several times the usual budget, once a surrogate."""
    return Measure(
        name=name,
        heading="share of the optimum that the attack reaches on the surrogate",
        label="share of optimum",
        of="surrogate",
        is_curve=True,
        compute=partial(_share, name=name),
    )
