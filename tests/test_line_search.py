"""Doubling and bisection along a path, every point on its own."""

from __future__ import annotations

import torch

from transfer_exp.optim.line_search import search


def run(optimum: list[float], first: float, max_trials: int = 20, growing: bool = True):
    """Maximise -(eta - optimum)^2 from eta = 0, one point an optimum."""
    goal = torch.tensor(optimum, dtype=torch.float64)
    tried: list[list[float]] = [[] for _ in optimum]

    def trial(step: torch.Tensor, rows: torch.Tensor):
        for s, r in zip(step.tolist(), rows.tolist(), strict=True):
            tried[r].append(s)
        return step[:, None], -((step - goal[rows]) ** 2), 2 * goal[rows] * step

    start = torch.zeros(len(goal), 1, dtype=torch.float64)
    step, zero = torch.full_like(goal, first), torch.zeros_like(goal)
    grows = torch.full_like(goal, growing, dtype=torch.bool)
    options = {"step": step, "min_gain": zero, "may_grow": grows, "max_trials": max_trials}
    found = search(trial, point=start, value=-(goal**2), **options)
    return found, tried


def test_short_steps_double_until_no_better_and_long_ones_halve_until_better() -> None:
    found, tried = run([10.0, 0.3], first=1.0)
    assert tried[0] == [1, 2, 4, 8, 16]  # 16 is worse than 8: stop
    assert tried[1] == [1, 0.5]  # 0.5 is the first that beats standing still
    assert found.step.tolist() == [8, 0.5]
    assert found.point[:, 0].tolist() == [8, 0.5]
    assert found.n_trials == 5
    assert found.n_rows == 7


def test_a_step_that_should_not_grow_is_taken_as_it_is_or_halved() -> None:
    found, tried = run([10.0, 0.3], first=1.0, growing=False)
    assert tried == [[1], [1, 0.5]]
    assert found.step.tolist() == [1, 0.5]


def test_bisection_halves_its_step_each_time() -> None:
    _, tried = run([1e-4], first=1.0)
    ratios = [b / a for a, b in zip(tried[0], tried[0][1:], strict=False)]
    assert len(ratios) > 5
    assert set(ratios) == {0.5}


def test_a_point_that_cannot_improve_keeps_its_place_and_a_zero_step() -> None:
    found, tried = run([0.0], first=1.0, max_trials=7)
    assert found.step.tolist() == [0]
    assert found.point.tolist() == [[0]]
    assert len(tried[0]) == 1  # its first-order gain is 0: shorter steps promise nothing


def test_the_number_of_trials_is_bounded() -> None:
    found, _ = run([1e6], first=1.0, max_trials=6)
    assert found.n_trials == 6
    assert found.step.tolist() == [32]
