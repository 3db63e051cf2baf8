"""Evasion of networks in single precision: closed forms, brute force, and the number of passes, counted from outside."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from small_models import Linear, Perceptron, SmallModel, perceptron
from torch import Tensor

from transfer_exp.attacks.crafted import Crafted
from transfer_exp.attacks.evasion import Evasion
from transfer_exp.attacks.goals import goal_classes
from transfer_exp.types import Box, UserError

NORMS = ("l0", "l1", "l2", "linf")
GRIDS: dict[str, tuple[float, ...]] = {
    "l0": (0, 1, 3, 6),
    "l1": (0, 0.5, 1, 2),
    "l2": (0, 0.3, 0.6, 1),
    "linf": (0, 0.05, 0.1, 0.2),
}
UNIT = Box.uniform(64)


def single(model: SmallModel, batch_size: int = 2000) -> Any:
    """The model as networks are: in single precision, shown so many points at once."""
    model.float()
    model.precision, model.batch_size = "single", batch_size
    return model


class Passes:
    """What goes through a model: how often, how many points, and at most how many at once."""

    def __init__(self, model: SmallModel) -> None:
        self.sizes: list[int] = []
        model.register_forward_hook(lambda _, points, __: self.sizes.append(len(points[0])))

    @property
    def rows(self) -> int:
        return sum(self.sizes)


@pytest.fixture(scope="module")
def digits() -> tuple[Any, np.ndarray, np.ndarray]:
    pixels, digit = load_digits(return_X_y=True)
    x, y = pixels / 16, digit.astype(np.int64)
    return single(perceptron(x[:800], y[:800], hidden=(50,), n_steps=200)), x[1000:1040], y[1000:1040]


def best_step(g: np.ndarray, x: np.ndarray, norm: str, epsilon: float) -> np.ndarray:
    """The point of ball and unit box with the largest g x, in double precision, one feature after the other."""
    room = np.where(g > 0, 1 - x, -x)
    if norm == "linf":
        return x + np.sign(room) * np.minimum(np.abs(room), epsilon)
    if norm == "l0":
        most = np.argsort(-np.abs(g * room))[: int(epsilon)]
        return np.where(np.isin(np.arange(len(x)), most), x + room, x)
    if norm == "l1":
        u, left = np.zeros_like(x), epsilon
        for j in np.argsort(-np.abs(g)):
            u[j] = np.sign(room[j]) * min(abs(room[j]), left)
            left -= abs(u[j])
        return x + u
    short, long = 0.0, 1e6
    for _ in range(200):
        t = (short + long) / 2
        short, long = (short, t) if np.linalg.norm(np.clip(x + t * g, 0, 1) - x) > epsilon else (t, long)
    return np.clip(x + short * g, 0, 1)


@pytest.mark.parametrize("norm", NORMS)
def test_a_linear_score_is_evaded_to_the_closed_form_within_rounding(norm: str) -> None:
    random = np.random.default_rng(0)
    weight, x, y = random.normal(size=30), random.random((20, 30)), np.arange(20) % 2
    x[random.random(x.shape) < 0.4] = 0.0  # faces of the box, as in images
    x[random.random(x.shape) < 0.2] = 1.0
    exact = Linear.score(weight, 0.3)
    model = single(deepcopy(exact))
    made = Evasion(norm=norm).craft(model, x, y, epsilons=GRIDS[norm], box=Box.uniform(30))
    for k, epsilon in enumerate(GRIDS[norm]):
        best = np.stack([best_step((1 - 2 * y[i]) * weight, x[i], norm, epsilon) for i in range(len(x))])
        size = np.abs(weight).sum() + 0.3  # of the numbers that single precision rounds
        np.testing.assert_allclose(made.objective[k], exact.rises(best, y), rtol=0, atol=1e-6 * size)
        np.testing.assert_allclose(exact.rises(made.points(k, x, Box.uniform(30)), y), made.objective[k], atol=1e-6 * size)


@pytest.fixture(scope="module")
def plane() -> tuple[Perceptron, Any]:
    """Three classes over the plane, with kinks: two layers of 24 ReLU units on a checkerboard; in both precisions."""
    random = np.random.default_rng(3)
    x = random.random((400, 2))
    y = (np.floor(3 * x).sum(1) % 3).astype(np.int64)
    exact = perceptron(x, y, hidden=(24, 24), n_steps=400)
    return exact, single(deepcopy(exact))


@pytest.mark.parametrize("goal", [None, "next"])
@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_brute_force_over_the_ball_finds_little_more(plane: Any, norm: str, goal: str | None) -> None:
    (exact, model), n = plane, 40
    x = np.random.default_rng(4).random((n, 2))
    y = exact.logits(x).argmax(1)
    goals = None if goal is None else goal_classes(goal, y, exact.logits(x))
    box, grid = Box.uniform(2), (0.02, 0.05, 0.1)
    made = Evasion(norm=norm).craft(model, x, y, goals=goals, epsilons=grid, box=box)
    axis = np.linspace(-1, 1, 41)
    disc = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    disc = disc[np.linalg.norm(disc, ord={"l1": 1, "l2": 2, "linf": np.inf}[norm], axis=1) <= 1]

    def objective(points: np.ndarray, i: int) -> np.ndarray:
        own = np.full(len(points), y[i] if goals is None else goals[i])
        return exact.rises(points, own) if goals is None else exact.leads(points, own)

    clean = np.array([objective(x[i : i + 1], i)[0] for i in range(n)])
    for k, epsilon in enumerate(grid):
        best = np.array([objective(np.clip(x[i] + epsilon * disc, 0, 1), i).max() for i in range(n)])
        missing = np.maximum(best - made.objective[k], 0).sum() / (best - clean).sum()
        assert missing <= 0.05


@pytest.mark.parametrize("grid", ["whole", "one", "without zero"])
@pytest.mark.parametrize("n_gradients", [2, 7, 30])
def test_no_more_passes_than_stated_and_all_are_told(digits: Any, n_gradients: int, grid: str) -> None:
    model, x, y = digits
    epsilons = {"whole": (0, 0.3, 0.6, 1), "one": (0.6,), "without zero": (0.3, 0.6)}[grid]
    passes = Passes(model)
    attack = Evasion(n_gradients=n_gradients, batch_size=16)
    made = attack.craft(model, x, y, epsilons=epsilons, box=UNIT)
    most = n_gradients * sum(e > 0 for e in epsilons) + (epsilons[0] == 0)
    assert passes.rows == most * len(x)
    assert max(passes.sizes) == 16
    gradient_calls, score_calls, gradient_rows, score_rows = made.effort.sum(0)
    assert (gradient_rows + score_rows, gradient_calls + score_calls) == (passes.rows, len(passes.sizes))
    assert not made.exhausted.any()


def test_no_more_points_at_once_than_a_network_takes(digits: Any) -> None:
    model, x, y = digits
    passes = Passes(model)
    model.batch_size = 7
    try:
        Evasion(n_gradients=3).craft(model, x, y, epsilons=(0.3,), box=UNIT)
    finally:
        model.batch_size = 2000
    assert max(passes.sizes) == 7


def checked(made: Crafted, model: SmallModel, x: np.ndarray, norm: str) -> Crafted:
    """What holds of every attack; distances in double precision."""
    assert (np.diff(made.objective, axis=0) >= 0).all()
    assert (made.objective[0] == made.clean_objective).all()
    assert (np.diff(made.trace, axis=1) >= 0).all()
    np.testing.assert_allclose(made.trace[:, -1], made.objective.mean(1), rtol=1e-6)
    for k, epsilon in enumerate(GRIDS[norm]):
        u = made.offsets[k].astype(np.float64)
        size = {"l0": 0, "l1": 1, "l2": 2, "linf": np.inf}[norm]
        assert np.linalg.norm(u, ord=size, axis=1).max() <= epsilon * (1 + 1e-6)
        assert (x + u).min() >= -1e-7
        assert (x + u).max() <= 1 + 1e-7
    return made


@pytest.mark.parametrize("norm", NORMS)
def test_the_objective_never_falls_and_ball_and_box_hold(digits: Any, norm: str) -> None:
    model, x, y = digits
    made = checked(Evasion(norm=norm).craft(model, x, y, epsilons=GRIDS[norm], box=UNIT), model, x, norm)
    for k in range(len(GRIDS[norm])):
        np.testing.assert_allclose(model.rises(made.points(k, x, UNIT), y), made.objective[k], atol=1e-4)
    assert (made.objective[-1] > made.clean_objective).all()
    again = Evasion(norm=norm).craft(model, x, y, epsilons=GRIDS[norm], box=UNIT)
    assert (again.offsets == made.offsets).all()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_goals_are_reached(digits: Any, norm: str) -> None:
    model, x, y = digits
    x, y = x[:15], y[:15]
    goals = goal_classes("next", y, model.logits(x))
    made = checked(Evasion(norm=norm).craft(model, x, y, goals=goals, epsilons=GRIDS[norm], box=UNIT), model, x, norm)
    points = made.points(3, x, UNIT)
    np.testing.assert_allclose(model.leads(points, (y + 1) % 10), made.objective[3], atol=1e-4)
    reached = model.logits(points).argmax(1) == (y + 1) % 10
    assert reached.mean() > 0.5
    double = deepcopy(model).double()
    double.precision = "double"  # to convergence, with further starts
    polished = Evasion(norm=norm, n_restarts=0).craft(double, x, y, goals=goals, epsilons=GRIDS[norm], box=UNIT)
    assert (reached == (polished.objective[3] > 0)).all()
    rise = (polished.objective - polished.clean_objective).mean()
    assert (polished.objective - made.objective).mean() <= 0.03 * rise


class Raised(torch.nn.Module):
    """A network that is broken away from the clean points."""

    precision, batch_size, linear, differentiable, n_classes, label = "single", 100, False, True, 2, "my_net"

    def __init__(self, broken: str) -> None:
        super().__init__()
        self.broken = broken

    @property
    def like(self) -> Tensor:
        return torch.zeros(1)

    def forward(self, x: Tensor) -> Tensor:
        score = x.sum(1)
        if self.broken == "logits":
            score = torch.where(score > 1.5, torch.nan, score)
        if self.broken == "gradients":
            score = score + 0 * (x - 0.5).abs().sqrt().sum(1)  # infinite slope times nothing
        return torch.stack([-score, score], 1)


@pytest.mark.parametrize("broken", ["logits", "gradients"])
def test_a_network_that_gives_no_numbers_is_named_in_one_line(broken: str) -> None:
    x, y = np.full((3, 2), 0.5), np.array([0, 0, 1])
    with pytest.raises(
        UserError, match=rf"^my_net: expected finite {broken} of attacked points, got others for \d of 3; .*$"
    ):
        Evasion().craft(Raised(broken), x, y, epsilons=(0.0, 1.0), box=Box.uniform(2))  # type: ignore[arg-type]


def test_points_without_a_slope_look_elsewhere() -> None:
    """A score that is flat within 0.2 of the clean points and rises outside: half of all directions lead out."""
    weight = np.zeros((1, 40))
    weight[0, :20] = 1.0

    class Flat(Linear):
        linear = False

        def forward(self, x: Tensor) -> Tensor:
            score = torch.relu((x - 0.5).abs() - 0.2) @ self.weight.T
            return torch.cat([-score, score], 1)

    model = single(Flat(weight, np.zeros(2)))
    x, y = np.full((4, 40), 0.5), np.zeros(4, dtype=np.int64)
    x[3] = 0.9  # which has one
    made = Evasion(norm="linf").craft(model, x, y, epsilons=(0.1, 0.4), box=Box.uniform(40))
    assert made.zero_gradient.tolist() == [[True, True, True, False], [False] * 4]
    np.testing.assert_allclose(made.objective[1], [2 * 20 * 0.2] * 3 + [2 * 20 * 0.3], rtol=1e-5)


def test_more_gradients_find_no_less_on_average(digits: Any) -> None:
    model, x, y = digits
    few, some, many = (
        Evasion(norm="linf", n_gradients=n).craft(model, x, y, epsilons=GRIDS["linf"], box=UNIT).objective.mean()
        for n in (3, 10, 100)
    )
    assert few < some < many
