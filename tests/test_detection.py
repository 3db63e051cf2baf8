"""Detection at a fixed false-alarm rate: thresholds worked by hand, ties, impossible rates."""

from __future__ import annotations

import numpy as np
import pytest

from transfer_exp.margin import predict
from transfer_exp.measures.detection import at_threshold, detection_threshold
from transfer_exp.types import UserError


@pytest.mark.parametrize(
    ("scores", "rate", "threshold", "n_flagged"),
    [
        ([5, 1, 4, 2, 3, 0, -1, -2, -3, -4], 0.1, 4, 1),
        ([5, 1, 4, 2, 3, 0, -1, -2, -3, -4], 0.29, 3, 2),  # 2.9 allowed: 2
        ([5, 1, 4, 2, 3, 0, -1, -2, -3, -4], 0.3, 2, 3),
        ([5, 5, 4, 4, 4, 0, -1, -2, -3, -4], 0.1, 5, 0),  # tied at the top: flagging one would flag both
        ([5, 5, 4, 4, 4, 0, -1, -2, -3, -4], 0.4, 4, 2),  # the three tied at the threshold are not flagged
        ([1, 1, 1, 1], 0.5, 1, 0),
        ([0, 1], 0.5, 0, 1),
    ],
)
def test_threshold_by_hand(scores: list[float], rate: float, threshold: float, n_flagged: int) -> None:
    legitimate = np.array(scores, dtype=np.float64)
    assert detection_threshold(legitimate, false_alarm_rate=rate) == threshold
    assert (legitimate > threshold).sum() == n_flagged


def test_threshold_is_the_lowest_that_keeps_the_rate() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        scores = random.integers(0, 30, random.integers(20, 200)).astype(float)
        rate = random.uniform(0.06, 0.9)
        threshold = detection_threshold(scores, false_alarm_rate=rate)
        assert (scores > threshold).mean() <= rate
        lower = scores[scores < threshold]
        assert not len(lower) or (scores > lower.max()).mean() > rate


def test_whole_false_alarms_are_counted_without_rounding_loss() -> None:
    scores = np.arange(100.0)
    for percent in range(1, 100):
        assert (scores > detection_threshold(scores, false_alarm_rate=percent / 100)).sum() == percent


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan")])
def test_rate_that_is_no_share_is_refused(rate: float) -> None:
    with pytest.raises(UserError, match="expected a share between 0 and 1"):
        detection_threshold(np.arange(10.0), false_alarm_rate=rate)


def test_rate_below_one_alarm_is_refused() -> None:
    with pytest.raises(UserError, match=r"at least 0\.00502513, one in the 199 .*\(at least 200 legitimate points\)"):
        detection_threshold(np.arange(199.0), false_alarm_rate=0.005)
    assert detection_threshold(np.arange(200.0), false_alarm_rate=0.005) == 198
    with pytest.raises(UserError, match="one in the 0 legitimate"):
        detection_threshold(np.array([]), false_alarm_rate=0.005)


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(UserError, match="finite scores"):
        detection_threshold(np.array([0.0, np.nan, 1.0]), false_alarm_rate=0.5)


def test_a_point_is_flagged_when_its_score_is_above_the_threshold_not_at_it() -> None:
    score, threshold = np.array([0.1, 0.3, np.nextafter(0.3, 1), -0.7, 0.9]), 0.3
    logits = np.stack([-score / 2, score / 2], axis=-1)
    assert predict(at_threshold(logits, threshold)).tolist() == [0, 0, 1, 0, 1]
    assert predict(at_threshold(logits, -0.7)).tolist() == [1, 1, 1, 0, 1]
