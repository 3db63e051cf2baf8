"""Evasion of more than two classes: linear models against exact optima, curved ones against every runner-up class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize
from sklearn.datasets import load_digits
from small_models import Linear, SmallModel, perceptron, rbf_svm

from transfer_exp.attacks.crafted import Crafted
from transfer_exp.attacks.evasion import Evasion
from transfer_exp.attacks.goals import goal_classes
from transfer_exp.optim.balls import ball
from transfer_exp.types import Box

EPSILONS = {"l1": (0.0, 0.5, 2.0), "l2": (0.0, 0.3, 1.0), "linf": (0.0, 0.05, 0.2)}
N_FEATURES = 20
WIDE, ACTIVE = Box.uniform(N_FEATURES, -1e3, 1e3), Box.uniform(N_FEATURES)


def linear(n_classes: int, n: int) -> tuple[Linear, np.ndarray, np.ndarray]:
    """A random model, points with many features on faces of the unit box, labels."""
    rng = np.random.default_rng(n_classes)
    model = Linear(rng.normal(size=(n_classes, N_FEATURES)), 0.5 * rng.normal(size=n_classes))
    x = rng.random((n, N_FEATURES))
    x[rng.random(x.shape) < 0.3] = 0.0
    x[rng.random(x.shape) < 0.2] = 1.0
    return model, x, rng.integers(0, n_classes, n)


def best_step(g: np.ndarray, x: np.ndarray, norm: str, epsilon: float, box: Box) -> np.ndarray:
    """The point of ball and box with the largest g x, by closed forms: corner, greedy fill, bisection."""
    low, high = box.lower - x, box.upper - x
    if norm == "linf":
        return x + np.clip(epsilon * np.sign(g), low, high)
    if norm == "l1":
        u, left = np.zeros(len(x)), epsilon
        for j in np.argsort(-np.abs(g)):
            u[j] = np.clip(np.sign(g[j]) * left, low[j], high[j])
            left -= abs(u[j])
        return x + u
    short, long = 0.0, 1e6
    for _ in range(200):
        t = (short + long) / 2
        short, long = (short, t) if np.linalg.norm(np.clip(t * g, low, high)) > epsilon else (t, long)
    return x + np.clip(short * g, low, high)


@pytest.mark.parametrize("box", [WIDE, ACTIVE], ids=["wide", "active"])
@pytest.mark.parametrize("norm", EPSILONS)
@pytest.mark.parametrize("n_classes", [3, 10])
def test_a_linear_model_is_evaded_to_the_best_over_runner_up_classes(n_classes: int, norm: str, box: Box) -> None:
    model, x, y = linear(n_classes, 30)
    made = Evasion(norm=norm).craft(model, x, y, epsilons=EPSILONS[norm], box=box)
    weight = model.weight.numpy()
    z = model.logits(x)
    z[np.arange(len(x)), y] = -np.inf
    turned = 0
    for k, epsilon in enumerate(EPSILONS[norm]):
        for i in range(len(x)):
            tried = np.stack([best_step(weight[c] - weight[y[i]], x[i], norm, epsilon, box) for c in range(n_classes)])
            tried_value = model.rises(tried, np.full(n_classes, y[i]))
            assert made.objective[k, i] == pytest.approx(tried_value.max(), abs=1e-6)
            turned += int(np.delete(tried_value, y[i]).max() == tried_value[z[i].argmax()]) == 0
        np.testing.assert_allclose(model.rises(made.points(k, x, box), y), made.objective[k], atol=1e-5)
    assert turned > 0  # the class to go for is not always the clean point's runner-up


def best_lead(model: Linear, x: np.ndarray, target: int, norm: str, epsilon: float, box: Box) -> float:
    """max over ball and box of min_k z_t - z_k: a linear program (l1, linf), or SLSQP (l2)."""
    weight, bias = model.weight.numpy(), model.bias.numpy()
    others = [k for k in range(len(bias)) if k != target]
    A = weight[target] - weight[others]
    c = bias[target] - bias[others] + A @ x
    low, high, m, d = box.lower - x, box.upper - x, len(others), len(x)
    if norm == "linf":
        bounds = [*np.c_[np.maximum(low, -epsilon), np.minimum(high, epsilon)], (None, None)]
        return -float(linprog(np.r_[np.zeros(d), -1], A_ub=np.c_[-A, np.ones(m)], b_ub=c, bounds=bounds).fun)
    if norm == "l1":  # u = p - q with p, q >= 0 and sum p + q <= epsilon
        rows = np.r_[np.c_[-A, A, np.ones(m)], np.r_[np.ones(2 * d), 0][None]]
        bounds = [*((0, h) for h in high), *((0, -v) for v in low), (None, None)]
        return -float(linprog(np.r_[np.zeros(2 * d), -1], A_ub=rows, b_ub=np.r_[c, epsilon], bounds=bounds).fun)

    size: Any = {"type": "ineq", "fun": lambda v: epsilon**2 - v[:-1] @ v[:-1], "jac": lambda v: np.r_[-2 * v[:-1], 0]}
    ahead: Any = {"type": "ineq", "fun": lambda v: A @ v[:-1] + c - v[-1], "jac": lambda v: np.c_[A, -np.ones(m)]}
    down, bounds = np.r_[np.zeros(d), -1.0], [*np.c_[low, high], (None, None)]
    start = np.r_[np.zeros(d), c.min()]
    options: Any = {"bounds": bounds, "constraints": [size, ahead], "options": {"ftol": 1e-12, "maxiter": 1000}}
    found = minimize(lambda v: -v[-1], start, jac=lambda v: down, method="SLSQP", **options)
    return float(found.x[-1])


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray, dict[str, SmallModel]]:
    pixels, digit = load_digits(return_X_y=True)
    x, y = pixels / 16, digit.astype(np.int64)
    models = {
        "mlp": perceptron(x[:800], y[:800], hidden=(50,), n_steps=200),
        "tanh": perceptron(x[:800], y[:800], hidden=(30,), n_steps=200, activation=torch.tanh),
        "rbf": rbf_svm(x[:400], y[:400], C=10, gamma=0.05),
    }
    return x[1000:1050], y[1000:1050], models


GRIDS = {"l0": (1, 2, 4), "l1": (0.5, 1.0, 2.0), "l2": (0.3, 0.6, 1.0), "linf": (0.05, 0.1, 0.2)}
BOX = Box.uniform(64)


def checked(made: Crafted, x: np.ndarray, norm: str) -> Crafted:
    assert (np.diff(made.objective, axis=0) >= 0).all()
    assert (made.objective >= made.clean_objective).all()
    assert (np.diff(made.trace, axis=1) >= -1e-12).all()
    assert made.health(x, epsilons=GRIDS[norm], norm=norm, box=BOX)["violation"] <= 1e-6
    np.testing.assert_allclose(made.trace[:, -1], made.objective.mean(1))
    return made


@pytest.mark.parametrize(("name", "norm"), [("mlp", "l2"), ("tanh", "linf"), ("rbf", "l0")])
def test_few_runner_up_classes_do_for_all(digits, name: str, norm: str) -> None:
    x, y, models = digits
    x, y = x[:30], y[:30]
    few, every, one = (
        checked(Evasion(norm=norm, n_runner_ups=n).craft(models[name], x, y, epsilons=GRIDS[norm], box=BOX), x, norm)
        for n in (3, 9, 1)
    )
    np.testing.assert_allclose(models[name].rises(few.points(2, x, BOX), y), few.objective[2], atol=1e-4)
    rise = (every.objective - every.clean_objective).mean()
    missing = [(every.objective - made.objective).mean() / rise for made in (few, one)]
    assert missing[0] <= 0.01
    assert missing[0] < missing[1]
    assert abs((every.objective > 0).mean() - (few.objective > 0).mean()) <= 0.01


@pytest.mark.parametrize("norm", ["l0", *(pytest.param(n, marks=pytest.mark.slow) for n in ("l1", "l2", "linf"))])
def test_targets_are_reached_that_no_untargeted_attack_chooses_and_the_least_likely_is_hardest(digits, norm: str) -> None:
    x, y, models = digits
    attack, model = Evasion(norm=norm, n_walk=0), models["tanh"]
    free = checked(attack.craft(model, x, y, epsilons=GRIDS[norm], box=BOX), x, norm)
    chosen = model.logits(free.points(2, x, BOX)).argmax(1)
    shares = {}
    for goal in ("next", "least_likely"):
        goals = goal_classes(goal, y, model.logits(x))
        made = checked(attack.craft(model, x, y, goals=goals, epsilons=GRIDS[norm], box=BOX), x, norm)
        reached = model.logits(made.points(2, x, BOX)).argmax(1) == goals
        assert np.array_equal(reached, made.objective[2] > 0)
        if goal == "next":
            assert (reached & (chosen != goals)).any()
        shares[goal] = reached.mean(), made.objective.mean()
        # To reach one class is harder than to reach any: the margins bound each other.
        assert (made.objective <= free.objective + 0.02 * (free.objective - free.clean_objective) + 1e-6).mean() > 0.99
    assert shares["least_likely"][0] < shares["next"][0] or norm == "l1"
    assert shares["least_likely"][1] < shares["next"][1]


@pytest.mark.parametrize(("name", "goal"), [("mlp", "any"), ("rbf", "next")])
def test_what_is_found_does_not_depend_on_the_batch(digits, name: str, goal: str) -> None:
    (x, y), model = (part[:12] for part in digits[:2]), digits[2][name]
    goals = goal_classes(goal, y, model.logits(x))
    whole, parts = (
        Evasion(batch_size=n).craft(model, x, y, goals=goals, epsilons=GRIDS["l2"][1:], box=BOX) for n in (12, 5)
    )
    np.testing.assert_allclose(whole.objective, parts.objective, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("goal", [None, "next"])
def test_two_classes_are_the_same_by_either_path(digits, goal: str | None) -> None:
    """A third class whose logit is far below the others changes nothing: it sends two classes along the path of many."""
    x, y, _ = digits
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(2, 64)), np.array([0.1, -0.1])
    two, y = Linear(weight, bias), (y % 2).astype(np.int64)
    three = Linear(np.r_[weight, np.zeros((1, 64))], np.r_[bias, -1e3])
    goals = None if goal is None else 1 - y
    for norm, grid in GRIDS.items():
        made = [Evasion(norm=norm).craft(m, x, y, goals=goals, epsilons=grid, box=BOX) for m in (two, three)]
        np.testing.assert_allclose(made[0].objective, made[1].objective, rtol=1e-6)


def test_towards_its_own_class_a_point_becomes_surer() -> None:
    model, x, y = linear(3, 10)
    made = Evasion().craft(model, x, y, goals=y, epsilons=(1.0,), box=ACTIVE)
    assert (made.objective[0] > made.clean_objective).all()
    np.testing.assert_allclose(made.clean_objective, model.leads(x, y))


def test_flat_models_stay_where_they_are_and_say_so() -> None:
    model, (_, x, y) = Linear(np.zeros((4, N_FEATURES)), np.arange(4.0)), linear(4, 6)
    for goals in (None, (y + 1) % 4):
        made = Evasion().craft(model, x, y, goals=goals, epsilons=(0.0, 1.0), box=ACTIVE)
        assert not made.offsets.any()
        assert made.health(x, epsilons=(0.0, 1.0), norm="l2", box=ACTIVE)["zero_gradient"] == 1


def test_the_grid_may_hold_nothing_but_zero() -> None:
    model, x, y = linear(3, 5)
    for goals in (None, (y + 1) % 3):
        made = Evasion().craft(model, x, y, goals=goals, epsilons=(0.0,), box=ACTIVE)
        assert not made.offsets.any()
        expected = model.rises(x, y) if goals is None else model.leads(x, goals)
        np.testing.assert_allclose(made.objective[0], expected)


@pytest.mark.parametrize("norm", EPSILONS)
def test_of_one_difference_the_solvers_of_this_test_agree_with_its_closed_forms(norm: str) -> None:
    model, x, _ = linear(2, 5)
    g = model.weight.numpy()[0] - model.weight.numpy()[1]
    for i in range(5):
        point = best_step(g, x[i], norm, 0.7, ACTIVE)
        assert ball(norm).size(point - x[i]) == pytest.approx(0.7)
        lead = model.leads(point[None], np.zeros(1, dtype=int))[0]
        assert best_lead(model, x[i], 0, norm, 0.7, ACTIVE) == pytest.approx(lead, rel=1e-6)
