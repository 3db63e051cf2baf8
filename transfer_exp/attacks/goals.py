"""Which class an evasion attack is to reach: any other, a given one, the next one, or the one that looks least likely."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transfer_exp.types import Floats, Ints, UserError

ANY, NEXT, LEAST_LIKELY = "any", "next", "least_likely"
_WORDS = f"{ANY}, {NEXT}, {LEAST_LIKELY}"


def require_goal(goal: str | int) -> None:
    """Raise UserError on a goal that is neither a word nor a class, whatever the classes are."""
    if isinstance(goal, bool) or (isinstance(goal, int) and goal < 0):
        raise UserError(f"attack.goal: expected {_WORDS} or a class, got {goal}")


def resolve_goal(goal: str | int, class_names: Sequence[str]) -> str | int:
    """The goal with the name of a class replaced by its index; names come before indices. UserError where it is no class."""
    if goal in (ANY, NEXT, LEAST_LIKELY):
        return goal
    if str(goal) in class_names:
        return list(class_names).index(str(goal))
    if isinstance(goal, int) and 0 <= goal < len(class_names):
        return goal
    raise UserError(f"attack.goal: expected {_WORDS} or a class of {', '.join(class_names)}, got {goal}")


def goal_classes(goal: str | int, y: Ints, logits: Floats) -> Ints | None:
    """The class ``(n,)`` that each point is to reach; None: any but its own.

    y: ``(n,)``. logits: ``(n, K)``, of the attacked model at the clean points. ``next``: y + 1, of the last class the first;
    ``least_likely``: the smallest logit's among the classes other than y, the first of equal ones.
    Raises UserError for anything but these and an index from 0 to K - 1 (names: ``resolve_goal``).
    """
    n_classes = logits.shape[1]
    if goal == ANY:
        return None
    if goal == NEXT:
        return np.asarray((y + 1) % n_classes, dtype=np.int64)
    if goal == LEAST_LIKELY:
        others = np.array(logits, dtype=np.float64)
        np.put_along_axis(others, y[:, None], np.inf, axis=1)
        return np.asarray(others.argmin(axis=1), dtype=np.int64)
    if isinstance(goal, int) and 0 <= goal < n_classes:
        return np.full(len(y), goal, dtype=np.int64)
    raise UserError(f"attack.goal: expected {_WORDS} or a class from 0 to {n_classes - 1}, got {goal}")
