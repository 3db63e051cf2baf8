"""Detection at a false-alarm rate (paper, section 4.2): the threshold that a detector's score is compared with."""

from __future__ import annotations

import math

import numpy as np

from transfer_exp.types import Floats, UserError


def false_alarms_allowed(n_points: int, *, false_alarm_rate: float) -> int:
    """How many of the legitimate points may be flagged: floor(rate n).

    Raises UserError when that is none: n points are too few to choose a threshold with.
    """
    if not 0 < false_alarm_rate < 1:
        raise UserError(f"false_alarm_rate: expected a share between 0 and 1, got {false_alarm_rate}")
    n_allowed = math.floor(false_alarm_rate * n_points + 1e-9)  # 0.29 * 100 is 28.999999999999996
    if n_allowed < 1:
        raise UserError(
            f"false_alarm_rate: expected at least {1 / n_points if n_points else 1:g}, one in the {n_points} legitimate "
            f"validation points, got {false_alarm_rate}; choose a higher rate or a larger dataset.split.validation "
            f"(at least {math.ceil(1 / false_alarm_rate - 1e-9)} legitimate points)"
        )
    return n_allowed


def detection_threshold(legitimate_scores: Floats, *, false_alarm_rate: float) -> float:
    """The lowest score that, as a threshold, flags at most this share of the legitimate points (paper, section 4.2).

    A point is flagged when its score lies *above* the threshold. With n points and m = floor(rate n) false alarms allowed it
    is the (m+1)-th largest score: points tied with it are not flagged, so with ties fewer than m may be. Choose it on
    validation points, not on those that are attacked or reported.
    Raises UserError when n points are too few to hold a single false alarm, and on scores that are not finite.
    """
    n_points = len(legitimate_scores)
    n_allowed = false_alarms_allowed(n_points, false_alarm_rate=false_alarm_rate)
    if not np.isfinite(legitimate_scores).all():
        raise UserError("false_alarm_rate: expected finite scores of the validation points, got NaN or inf")
    return float(np.partition(legitimate_scores, n_points - n_allowed - 1)[n_points - n_allowed - 1])


def at_threshold(logits: Floats, threshold: float) -> Floats:
    """Logits ``(..., 2)`` of the decision "score above the threshold": shifted so that it falls at 0."""
    return np.asarray(logits + np.array([threshold / 2, -threshold / 2]))
