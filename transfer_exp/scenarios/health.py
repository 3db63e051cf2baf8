"""What may be wrong with an evasion attack: metrics ``health/...``, a line in the log above a limit; and what it cost."""

from __future__ import annotations

import logging

import numpy as np

from transfer_exp.combination import Outcome
from transfer_exp.scenarios.attacked import Attacked

_log = logging.getLogger(__name__)
_LIMITS = {
    "zero_gradient": 0.05,
    "not_rising": 0.05,
    "iterations_exhausted": 0.1,
    "violation": 1e-5,
    "foreign_outside": 1e-3,  # far above what single precision rounds
    "foreign_not_finite": 0.0,
}
"""Largest values that are in order; an attack tells some of them (``Crafted.health``)."""
_TOLD = ("n_steps", "gradients_per_step")
"""Of attacks within a budget of gradients: how it was spent."""
_WHITEBOX_IMPROVED = 0.01


def add(outcome: Outcome, attacked: Attacked) -> None:
    """Health of the points made on the surrogate, of the white box and of the fits; objective and effort."""
    for name, limit in _LIMITS.items():
        if f"health/{name}" not in attacked.extent:
            continue
        value = outcome.metrics[f"health/{name}"] = float(attacked.extent[f"health/{name}"])
        if name == "violation":  # in the units of the data: beside the largest epsilon
            limit *= max(attacked.work.epsilons)
        if value > limit:
            label = attacked.surrogate.learner.label
            _log.warning("health: %s = %.3g on %s (expected at most %g)", name, value, label, limit)
    told = [f"health/{name}" for name in _TOLD]
    outcome.metrics |= {name: float(attacked.extent[name]) for name in told if name in attacked.extent}
    gradient_calls, score_calls, gradient_rows, score_rows = attacked.black_box.effort.sum(axis=0).tolist()
    outcome.metrics |= {"effort/gradient_calls": gradient_calls, "effort/score_calls": score_calls}
    outcome.metrics |= {"effort/gradient_rows": gradient_rows, "effort/score_rows": score_rows}
    outcome.curves["objective"] = attacked.black_box.objective.mean(axis=1).tolist()
    _add_white_box(outcome, attacked)
    unconverged = sum(not party.model.converged for party in (attacked.surrogate, attacked.target))
    if unconverged:  # absent when every solver has converged
        outcome.metrics["health/unconverged_fits"] = unconverged


def _add_white_box(outcome: Outcome, attacked: Attacked) -> None:
    """The share of points and epsilons above 0 where the target's own attack was not the worst case known."""
    improved = attacked.whitebox_improved
    if improved is None:
        return
    above = improved[np.array(attacked.work.epsilons) > 0]
    share = outcome.metrics["health/whitebox_improved"] = float(above.mean()) if above.size else 0.0
    if share > _WHITEBOX_IMPROVED:
        _log.warning(
            "health: whitebox_improved = %.3g on %s (expected below %g): points made on %s harm it more than its own attack",
            share,
            attacked.target.learner.label,
            _WHITEBOX_IMPROVED,
            attacked.surrogate.learner.label,
        )
