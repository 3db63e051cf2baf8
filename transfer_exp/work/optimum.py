"""What could be reached on a model: the objective of our own optimiser at its best settings, through the store.

The points themselves are not kept: they would be as many as those of the attack, and nobody asks for them.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from transfer_exp.attacks.base import EvasionAttack, crafted_by
from transfer_exp.attacks.evasion import Evasion
from transfer_exp.attacks.goals import ANY
from transfer_exp.measures.optimum import objective
from transfer_exp.signature import code_version, signature
from transfer_exp.store import Arrays
from transfer_exp.types import Floats, Ints
from transfer_exp.work.base import Work
from transfer_exp.work.crafted import CODE, crafted_key, goals_on, logits_on
from transfer_exp.work.fitted import Fitted

BEST: dict[str, dict[str, int]] = {
    "classification": {"n_iter": 100, "n_walk": 32, "n_restarts": 10, "n_runner_ups": 9, "n_gradients": 100},
    "detection": {"n_tries": 20},
}
"""Budgets by scenario: those of strength=exhaustive."""


def best_objective(work: Work, of: Fitted, rows: Ints) -> tuple[Floats, float]:
    """Objective ``(E, n)`` on a model of the points that our optimiser makes on it, and the seconds that takes."""
    attack = _best_of(work.combination.attack)
    best = replace(work, combination=replace(work.combination, attack=attack))

    def find() -> Arrays:
        x, y = work.part(rows)
        goals, box, shape = goals_on(work, of, rows), work.dataset.box, work.dataset.shape
        begin = time.perf_counter()
        made = crafted_by(attack, of.model, x, y, goals=goals, epsilons=work.epsilons, box=box, shape=shape, known=None)
        reached = objective(logits_on(work, of, rows, made), y, goals)
        return {"objective": reached, "seconds": np.array(time.perf_counter() - begin)}

    key = signature(points=crafted_key(best, of, rows), code=code_version(*CODE, "work/optimum.py"))
    found = work.stored("optimum", key, find)
    return found["objective"], float(found["seconds"])


def _best_of(attack: Any) -> EvasionAttack:
    """Our own attack of the same ball and goal at its best; of another scenario's, that attack with its largest budget."""
    budget: dict[str, Any] = BEST[attack.scenario]
    if attack.scenario != "classification":
        stronger: EvasionAttack = replace(attack, **budget)
        return stronger
    goal = getattr(attack, "goal", ANY)
    return Evasion(norm=attack.norm, goal=goal, **budget)
