"""The class that each point is to reach."""

from __future__ import annotations

import numpy as np
import pytest

from transfer_exp.attacks.evasion import Evasion
from transfer_exp.attacks.goals import goal_classes, resolve_goal
from transfer_exp.types import UserError

LOGITS = np.array([[1.0, -2.0, 3.0], [0.0, 5.0, 0.0], [-4.0, 0.5, 0.0]])
Y = np.array([2, 1, 0])


@pytest.mark.parametrize(
    ("goal", "expected"),
    [("next", [0, 2, 1]), ("least_likely", [1, 0, 2]), (1, [1, 1, 1]), (0, [0, 0, 0])],
)
def test_goals_by_hand(goal: str | int, expected: list[int]) -> None:
    """Least likely: never the point's own class, though it is the smallest (last row); of equal ones the first."""
    found = goal_classes(goal, Y, LOGITS)
    assert found is not None
    assert found.dtype == np.int64
    assert found.tolist() == expected


def test_any_class_is_no_goal_and_nothing_is_changed() -> None:
    before = LOGITS.copy()
    assert goal_classes("any", Y, LOGITS) is None
    goal_classes("least_likely", Y, LOGITS)
    assert np.array_equal(LOGITS, before)


def test_of_two_classes_next_and_least_likely_are_the_other() -> None:
    y = np.array([0, 1, 1])
    for goal in ("next", "least_likely"):
        assert np.array_equal(goal_classes(goal, y, LOGITS[:, :2]), 1 - y)


@pytest.mark.parametrize("goal", [3, -1, "cat"])
def test_what_is_no_class_is_refused(goal: str | int) -> None:
    with pytest.raises(UserError, match="expected any, next, least_likely or a class from 0 to 2, got"):
        goal_classes(goal, Y, LOGITS)
    with pytest.raises(UserError, match="expected any, next, least_likely or a class of 8, 9, dog, got"):
        resolve_goal(goal, ("8", "9", "dog"))


def test_names_come_before_indices() -> None:
    assert [resolve_goal(goal, ("8", "9", "1")) for goal in (8, "9", 1, 0, "next", "any")] == [0, 1, 2, 0, "next", "any"]


@pytest.mark.parametrize("goal", [True, -1])
def test_bad_options_are_refused(goal: int) -> None:
    with pytest.raises(UserError, match=r"attack\.goal: expected any, next, least_likely or a class, got"):
        Evasion(goal=goal)
