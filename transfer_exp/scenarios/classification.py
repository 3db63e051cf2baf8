"""Evasion of a classifier: test points of all classes are moved, and harm is that they are taken for another class.

With a goal (``attack.goal``) the attacker wants each point to be taken for one class: a fixed one (points of that class are
not attacked), the next one, or the one that the attacked model finds least likely.
"""

from __future__ import annotations

import numpy as np

from transfer_exp.combination import Combination, Outcome
from transfer_exp.measures.errors import confusion, error
from transfer_exp.scenarios import evasion
from transfer_exp.scenarios.attacked import Attacked, surrogate_of, target_of
from transfer_exp.scenarios.looking import Party
from transfer_exp.scenarios.points import of_points
from transfer_exp.store import Store
from transfer_exp.types import Examples, Floats, Ints, UserError
from transfer_exp.work import Work
from transfer_exp.work.variability import sets_for_variability

NAME = "classification"
_N_EXAMPLES = 10


def check(combination: Combination) -> None:
    """Raise UserError on what is known to fail before anything is trained."""
    work = Work.of(combination, None)
    sets_for_variability(work, attacked_rows(work))


def run(combination: Combination, store: Store) -> Outcome:
    """Train surrogate and target, craft on the surrogate (and, for the white box, on the target), measure transfer."""
    work = Work.of(combination, store)
    rows = attacked_rows(work)
    sets = sets_for_variability(work, rows)
    evasion.log_before(work)
    attacked = Attacked(
        work=work,
        surrogate=Party(learner=combination.surrogate, fitted=surrogate_of(work)),
        target=Party(learner=combination.target, fitted=target_of(work)),
        rows=rows,
        sets=sets,
    )
    outcome = evasion.measured(attacked)
    outcome.metrics["clean_error"] = error(attacked.target_clean, attacked.y)
    outcome.metrics["surrogate_clean_error"] = error(attacked.surrogate_clean, attacked.y)
    if len(rows) < len(work.split.test):  # those of the goal are left alone
        outcome.sizes["n_attacked"] = len(rows)
    else:
        evasion.log_constant(attacked.surrogate, "surrogate", attacked.surrogate_clean, work.dataset)
        evasion.log_constant(attacked.target, "target", attacked.target_clean, work.dataset)
    outcome.points = of_points(attacked)
    if work.dataset.n_classes > 2:
        outcome.confusion = _confusion(attacked)
    if work.dataset.shape is not None:
        outcome.examples = _examples(attacked, work.dataset.shape)
    return outcome


def attacked_rows(work: Work) -> Ints:
    """The test points that are attacked: all or, where the goal is one class, those of other classes.

    Raises UserError where there are none.
    """
    goal, rows = work.goal, work.split.test
    if isinstance(goal, int):
        rows = rows[work.dataset.y[rows] != goal]
        if not len(rows):
            raise UserError(
                f"attack.goal: expected test points of other classes than {work.dataset.class_names[goal]}, got none"
            )
    return rows


def _confusion(attacked: Attacked) -> dict[str, Ints]:
    """At the reference epsilon: who is taken for whom, by surrogate and target, before and after."""
    grid = attacked.work.combination.epsilon
    k, y = grid.grid.index(grid.reference), attacked.y
    return {
        "target_clean": confusion(attacked.target_clean, y),
        "target": confusion(attacked.target_decisions[k], y),
        "surrogate_clean": confusion(attacked.surrogate_clean, y),
        "surrogate": confusion(attacked.surrogate_decisions[k], y),
    }


def _examples(attacked: Attacked, shape: tuple[int, ...]) -> Examples:
    """The first test points of each class, at the shown epsilons."""
    work, grid, y = attacked.work, attacked.work.combination.epsilon, attacked.y
    each = 3 if work.dataset.n_classes == 2 else 1
    classes = range(min(work.dataset.n_classes, _N_EXAMPLES))
    index = np.concatenate([np.flatnonzero(y == label)[:each] for label in classes])
    made, box = attacked.black_box, work.dataset.box
    points = (made.points(grid.grid.index(e), attacked.x, box, rows=index) for e in grid.shown)
    return Examples(
        index=index,
        label=y[index],
        epsilon=np.array(grid.shown),
        clean=images(attacked.x[index], shape),
        adversarial=np.stack([images(one, shape) for one in points]),
    )


def images(points: Floats, shape: tuple[int, ...]) -> Floats:
    """Points ``(k, d)`` as pictures ``(k, h, w)`` or ``(k, channels, h, w)``, float32."""
    return points.reshape(-1, *shape).astype(np.float32)
