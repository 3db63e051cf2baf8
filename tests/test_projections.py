"""Projections are exact: feasible, and optimal by the variational inequality against independent solvers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize
from torch.utils._python_dispatch import TorchDispatchMode

from transfer_exp.optim.balls import ball

ORDER = {"l1": 1, "l2": 2, "linf": np.inf}


def project(v: torch.Tensor, *, norm: str, **where: Any) -> torch.Tensor:
    return ball(norm).project(v, **where)


def farthest(g: torch.Tensor, *, norm: str, **where: Any) -> torch.Tensor:
    return ball(norm).farthest(g, **where)


def box(rng: np.random.Generator, n: int, d: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Offsets to the bounds, with exact zeros: points that lie on a face."""
    low, high = -rng.random((n, d)), rng.random((n, d))
    low[rng.random((n, d)) < 0.3] = 0
    high[rng.random((n, d)) < 0.3] = 0
    return torch.tensor(low), torch.tensor(high)


def best_inner_product(g: np.ndarray, low: np.ndarray, high: np.ndarray, norm: str, epsilon: float) -> float:
    """max <g, u> over ball and box by scipy, not by our code."""
    d = len(g)
    if norm == "l2":
        cone = {"type": "ineq", "fun": lambda u: epsilon**2 - u @ u, "jac": lambda u: -2 * u}
        found = minimize(
            lambda u: -g @ u,
            np.zeros(d),
            jac=lambda u: -g,
            bounds=list(zip(low, high, strict=True)),
            constraints=[cone],
            method="SLSQP",
            options={"ftol": 1e-12, "maxiter": 500},
        )
        return float(-found.fun)
    if norm == "linf":
        return float(-linprog(-g, bounds=np.c_[np.maximum(low, -epsilon), np.minimum(high, epsilon)]).fun)
    # u = p - m with p, m >= 0 and sum p + m <= epsilon
    found = linprog(
        np.r_[-g, g], A_ub=np.ones((1, 2 * d)), b_ub=[epsilon], bounds=[*((0, h) for h in high), *((0, -v) for v in low)]
    )
    return float(-found.fun)


@pytest.mark.parametrize("norm", ORDER)
def test_farthest_point_is_the_optimum_found_by_an_independent_solver(norm: str) -> None:
    rng = np.random.default_rng(0)
    low, high = box(rng, 12, 6)
    g = torch.tensor(rng.normal(size=(12, 6)))
    epsilon = torch.tensor(rng.uniform(0.05, 2.5, 12))
    u = farthest(g, norm=norm, epsilon=epsilon, low=low, high=high)
    for i in range(12):
        best = best_inner_product(g[i].numpy(), low[i].numpy(), high[i].numpy(), norm, float(epsilon[i]))
        assert float(g[i] @ u[i]) == pytest.approx(best, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("epsilon", [0.5, 5.0, 50.0])
def test_farthest_point_in_l1_where_few_or_most_or_all_of_many_coordinates_are_needed(epsilon: float) -> None:
    rng = np.random.default_rng(2)
    low, high = box(rng, 3, 300)
    low, high = low / 10, high / 10
    g = torch.tensor(rng.normal(size=(3, 300)))
    u = farthest(g, norm="l1", epsilon=epsilon, low=low, high=high)
    for i in range(3):
        best = best_inner_product(g[i].numpy(), low[i].numpy(), high[i].numpy(), "l1", epsilon)
        assert float(g[i] @ u[i]) == pytest.approx(best, rel=1e-9)


class Counted(TorchDispatchMode):
    """Counts the operations that torch is asked for."""

    n = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.n += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("norm", ORDER)
def test_in_single_precision_the_search_ends_where_rounding_does(norm: str) -> None:
    """The numbers of a step far beyond the ball are too coarse for the norm to come out exactly."""
    rng = np.random.default_rng(3)
    low, high = (bound.float() for bound in box(rng, 500, 300))
    far = torch.tensor(rng.normal(size=(500, 300)) * 100, dtype=torch.float32)
    with Counted() as counted:
        p = project(far, norm=norm, epsilon=0.3, low=low, high=high)
    assert counted.n < 1000  # some thirty a step, of which a hundred are allowed
    exact = project(far.double(), norm=norm, epsilon=0.3, low=low.double(), high=high.double())
    assert float((p.double() - exact).abs().max()) <= np.spacing(np.float32(far.abs().max()))


@pytest.mark.parametrize("norm", ORDER)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-3, 1.0, 1e3, 1e8]), epsilon=st.floats(1e-3, 20))
def test_projection_satisfies_ball_box_and_variational_inequality(
    norm: str, seed: int, scale: float, epsilon: float
) -> None:
    rng = np.random.default_rng(seed)
    low, high = box(rng, 8, 20)
    v = torch.tensor(rng.normal(size=(8, 20)) * scale)
    p = project(v, norm=norm, epsilon=epsilon, low=low, high=high)
    assert (p >= low - 1e-12).all()
    assert (p <= high + 1e-12).all()
    assert (np.linalg.norm(p.numpy(), ORDER[norm], axis=1) <= epsilon * (1 + 1e-12)).all()
    # p is the projection exactly when <v - p, u - p> <= 0 for every feasible u; the worst u is the farthest point.
    worst = farthest(v - p, norm=norm, epsilon=epsilon, low=low, high=high)
    slack = ((v - p) * (worst - p)).sum(1)
    assert float(slack.max()) <= 1e-9 * scale * max(epsilon, 1) + 1e-14 * scale**2  # rounding of v itself


@pytest.mark.parametrize("norm", ORDER)
def test_feasible_points_stay_where_they_are(norm: str) -> None:
    rng = np.random.default_rng(1)
    low, high = box(rng, 5, 9)
    inside = farthest(torch.tensor(rng.normal(size=(5, 9))), norm=norm, epsilon=0.3, low=low, high=high)
    assert torch.allclose(project(inside * 0.999, norm=norm, epsilon=0.3, low=low, high=high), inside * 0.999, atol=1e-15)


def test_closed_forms_without_box() -> None:
    v, wide = torch.tensor([[3.0, 4.0]]).double(), torch.full((1, 2), 100.0).double()
    bounds = {"low": -wide, "high": wide}
    assert project(v, norm="l2", epsilon=1.0, **bounds).tolist() == [pytest.approx([0.6, 0.8])]
    assert project(v, norm="l1", epsilon=1.0, **bounds).tolist() == [pytest.approx([0.0, 1.0])]
    assert project(v, norm="linf", epsilon=3.5, **bounds).tolist() == [pytest.approx([3.0, 3.5])]
    assert farthest(v, norm="l1", epsilon=2.0, **bounds).tolist() == [pytest.approx([0.0, 2.0])]


def test_room_where_nothing_is_to_be_moved_takes_nothing_of_the_ball() -> None:
    """Beside a coordinate that is exactly zero, the other one has the whole radius (l2), or all above the threshold (l1)."""
    v, low, high = (torch.tensor([row]).double() for row in ([0.0, -1.0], [-1.0, -1.0], [1.0, 0.0]))
    for norm in ORDER:
        assert project(v, norm=norm, epsilon=0.5, low=low, high=high).tolist() == [pytest.approx([0.0, -0.5])]


def test_zero_direction_and_closed_box_do_not_move() -> None:
    zero = torch.zeros(1, 3).double()
    for norm in ORDER:
        assert not farthest(zero, norm=norm, epsilon=1.0, low=zero - 1, high=zero + 1).any()
        assert not farthest(zero + 1, norm=norm, epsilon=1.0, low=zero, high=zero).any()
        assert not project(zero + 5, norm=norm, epsilon=1.0, low=zero, high=zero).any()
