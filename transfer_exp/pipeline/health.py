"""What may be wrong with an evasion attack: metrics ``health/...``, a line in the log above a limit; and what it cost."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt

from transfer_exp.attacks.crafted import Crafted
from transfer_exp.learners import Model
from transfer_exp.pipeline.combination import Combination, Outcome
from transfer_exp.store import Arrays

_log = logging.getLogger(__name__)
_LIMITS = {"zero_gradient": 0.05, "not_rising": 0.05, "iterations_exhausted": 0.1, "violation": 1e-5}
_WHITEBOX_IMPROVED = 0.01


def add(outcome: Outcome, combination: Combination, black_box: Crafted, reach: Arrays) -> None:
    """Health of the points made on the surrogate (``reach``: see ``kept.extent``), their objective, their effort."""
    for name, limit in _LIMITS.items():
        value = outcome.metrics[f"health/{name}"] = float(reach[f"health/{name}"])
        if name == "violation":  # in the units of the data: beside the largest epsilon
            limit *= max(combination.epsilon.grid)
        if value > limit:
            _log.warning("health: %s = %.3g on %s (expected below %g)", name, value, combination.surrogate.name, limit)
    gradient_calls, score_calls, gradient_rows, score_rows = black_box.effort.sum(axis=0).tolist()
    outcome.metrics |= {"effort/gradient_calls": gradient_calls, "effort/score_calls": score_calls}
    outcome.metrics |= {"effort/gradient_rows": gradient_rows, "effort/score_rows": score_rows}
    outcome.curves["objective"] = black_box.objective.mean(axis=1).tolist()


def add_fits(outcome: Outcome, *models: Model) -> None:
    """How many of the models' solvers gave up before they converged; absent when none did."""
    unconverged = sum(not model.converged for model in models)
    if unconverged:
        outcome.metrics["health/unconverged_fits"] = unconverged


def add_white_box(outcome: Outcome, combination: Combination, improved: npt.NDArray[np.bool_]) -> None:
    """The share of points and epsilons above 0 where the target's own attack was not the worst case known."""
    attacked = improved[np.array(combination.epsilon.grid) > 0]
    share = outcome.metrics["health/whitebox_improved"] = float(attacked.mean()) if attacked.size else 0.0
    if share > _WHITEBOX_IMPROVED:
        _log.warning(
            "health: whitebox_improved = %.3g on %s (expected below %g): points made on %s harm it more than its own attack",
            share,
            combination.target.name,
            _WHITEBOX_IMPROVED,
            combination.surrogate.name,
        )
