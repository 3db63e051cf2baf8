"""Errors and successes: functions of the logits of the final points, for surrogate and target alike.

error       share of points whose largest logit is another class's
success     the same among the points that were right before the attack; with a goal: ``targeted_success`` is the share of
            them that is taken for the goal
transfer rate   the target's error among the points that target *and* surrogate had right before the attack
confusion   how many points of each class are taken for each class
"""

from __future__ import annotations

import numpy as np

from transfer_exp.margin import predict
from transfer_exp.measures.base import Compute, Measure, Of
from transfer_exp.types import Floats, Ints


def error(logits: Floats, y: Ints) -> float:
    """Share of points that are misclassified; logits ``(..., n, K)``, classes ``(n,)``."""
    return float((predict(logits) != y).mean())


def success(logits: Floats, clean_logits: Floats, y: Ints) -> float:
    """Share misclassified of the points that were right before the attack; NaN when there were none."""
    right = predict(clean_logits) == y
    return float((predict(logits) != y)[right].mean()) if right.any() else float("nan")


def targeted_success(logits: Floats, clean_logits: Floats, y: Ints, goals: Ints) -> float:
    """Share taken for their goal ``(n,)`` of the points that were right before the attack; NaN when there were none."""
    right = predict(clean_logits) == y
    return float((predict(logits) == goals)[right].mean()) if right.any() else float("nan")


def transfer_rate(logits: Floats, clean_logits: Floats, surrogate_clean: Floats, y: Ints) -> float:
    """Share misclassified of the points that target and surrogate had right before the attack; NaN when there were none."""
    right = (predict(clean_logits) == y) & (predict(surrogate_clean) == y)
    return float((predict(logits) != y)[right].mean()) if right.any() else float("nan")


def confusion(logits: Floats, y: Ints) -> Ints:
    """Counts ``(K, K)``: points of class i (rows) that are taken for class k (columns)."""
    n_classes = logits.shape[-1]
    counts = np.bincount(y * n_classes + predict(logits), minlength=n_classes**2)
    return np.asarray(counts.reshape(n_classes, n_classes), dtype=np.int64)


def _errors(logits: Floats | None, y: Ints) -> Floats | None:
    """One error an epsilon, of logits ``(E, ..., n, K)``; None without them."""
    return None if logits is None else np.array([error(z, y) for z in logits])


def _successes(logits: Floats | None, clean: Floats | None, y: Ints) -> Floats | None:
    """None, too, where the points are not there before the attack (poisoning)."""
    return None if logits is None or clean is None else np.array([success(z, clean, y) for z in logits])


def _transfer_rates(logits: Floats | None, clean: Floats | None, surrogate_clean: Floats | None, y: Ints) -> Floats | None:
    if logits is None or clean is None or surrogate_clean is None:
        return None
    return np.array([transfer_rate(z, clean, surrogate_clean, y) for z in logits])


def _targeted(logits: Floats | None, clean: Floats | None, y: Ints, goals: Ints | None) -> Floats | None:
    if logits is None or clean is None or goals is None:
        return None
    return np.array([targeted_success(z, clean, y, goals) for z in logits])


def _share(name: str, heading: str, of: Of, compute: Compute | None, *, is_curve: bool = True) -> Measure:
    return Measure(name=name, heading=heading, of=of, is_curve=is_curve, is_share=True, explains=(), compute=compute)


MEASURES = (
    _share("error", "error of the target", "pair", lambda a: _errors(a.target_decisions, a.y)),
    _share(
        "success",
        "success: of the points that were right before",
        "pair",
        lambda a: _successes(a.target_decisions, a.target_clean, a.y),
    ),
    _share(
        "transfer_rate",
        "transfer rate: error on the points that surrogate and target had right before",
        "pair",
        lambda a: _transfer_rates(a.target_decisions, a.target_clean, a.surrogate_clean, a.y),
    ),
    _share(
        "targeted_success",
        "targeted success: taken for the goal, of the points that were right before",
        "pair",
        lambda a: _targeted(a.target_decisions, a.target_clean, a.y, a.goals),
    ),
    _share("whitebox_error", "white-box error", "target", lambda a: _errors(a.whitebox_decisions, a.y)),
    _share(
        "whitebox_success",
        "white-box success",
        "target",
        lambda a: _successes(a.whitebox_decisions, a.target_clean, a.y),
    ),
    _share(
        "whitebox_targeted_success",
        "white-box targeted success",
        "target",
        lambda a: _targeted(a.whitebox_decisions, a.target_clean, a.y, a.whitebox_goals),
    ),
    _share("surrogate_error", "error of the surrogate", "surrogate", lambda a: _errors(a.surrogate_decisions, a.y)),
    _share("noise_error", "error under random noise of the same size", "target", lambda a: _errors(a.noise_decisions, a.y)),
    _share("clean_error", "clean error of the target", "target", None, is_curve=False),
    _share("surrogate_clean_error", "clean error of the surrogate", "surrogate", None, is_curve=False),
)
