"""Attack points at a share of the optimum: closed form of a linear model, and what holds of any."""

from __future__ import annotations

from copy import deepcopy
from itertools import product
from typing import Any

import numpy as np
import pytest
from small_models import Bumps, Linear, Perceptron, perceptron, rbf_svm
from test_network_attack import GRIDS, NORMS, best_step, single

from transfer_exp.attacks.evasion import Evasion
from transfer_exp.attacks.goals import goal_classes
from transfer_exp.types import Box, UserError

BOX = Box.uniform(30)


@pytest.mark.parametrize(("in_single", "share"), [(False, 0.25), (True, 0.9)])
@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_a_linear_score_is_stopped_at_the_share_of_the_best_step(norm: str, in_single: bool, share: float) -> None:
    random = np.random.default_rng(0)
    weight, x, y = random.normal(size=30), random.random((12, 30)), np.arange(12) % 2
    x[random.random(x.shape) < 0.4] = 0.0  # faces of the box
    exact = Linear.score(weight, 0.3)
    model = single(deepcopy(exact)) if in_single else exact
    made = Evasion(norm=norm, stop_at=share).craft(model, x, y, epsilons=GRIDS[norm], box=BOX)
    for k, epsilon in enumerate(GRIDS[norm]):
        best = np.stack([best_step((1 - 2 * y[i]) * weight, x[i], norm, epsilon) for i in range(len(x))])
        np.testing.assert_allclose(made.offsets[k], share * (best - x), atol=1e-5)
        risen = exact.rises(x, y) + share * (exact.rises(best, y) - exact.rises(x, y))
        np.testing.assert_allclose(made.objective[k], risen, atol=1e-5 * np.abs(weight).sum())


@pytest.fixture(scope="module")
def curved() -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    x = random.random((300, 8))
    y = (np.floor(3 * x[:, 0]) + np.floor(2 * x[:, 1])).astype(np.int64) % 3
    network: Perceptron = perceptron(x, y, hidden=(24, 24), n_steps=100)
    bumps: Bumps = rbf_svm(x, y, C=10.0, gamma=3.0)
    return {"network": single(deepcopy(network)), "bumps": bumps}, x[:20], network.logits(x[:20]).argmax(1)


QUICK = (("network", "l0", "next"), ("network", "linf", None), ("bumps", "l2", None))


@pytest.mark.parametrize(
    ("kind", "norm", "goal"),
    [
        pytest.param(*case, marks=[] if case in QUICK else [pytest.mark.slow])
        for case in product(("network", "bumps"), NORMS, (None, "next"))
    ],
)
def test_the_rise_is_the_share_of_the_optimums_and_ball_and_box_hold(curved: Any, kind: str, norm: str, goal: Any) -> None:
    models, x, y = curved
    model, box = models[kind], Box.uniform(8)
    goals = None if goal is None else goal_classes(goal, y, model.logits(x))
    grid = {"l0": (0, 1, 3), "l1": (0, 0.3, 0.8), "l2": (0, 0.2, 0.4), "linf": (0, 0.1, 0.2)}[norm]
    options: dict[str, Any] = {"norm": norm, "n_walk": 0, "n_restarts": 0}
    whole = Evasion(**options).craft(model, x, y, goals=goals, epsilons=grid, box=box)
    made = Evasion(stop_at=0.6, **options).craft(model, x, y, goals=goals, epsilons=grid, box=box)
    assert (made.objective[0] == made.clean_objective).all()
    rise, optimum = (one.objective - one.clean_objective for one in (made, whole))
    np.testing.assert_allclose(rise, 0.6 * optimum, rtol=1e-3, atol=1e-5)
    assert (optimum[-1] > 0.01).mean() > 0.8
    for k, epsilon in enumerate(grid):
        u = made.offsets[k].astype(np.float64)
        assert np.linalg.norm(u, ord={"l0": 0, "l1": 1, "l2": 2, "linf": np.inf}[norm], axis=1).max() <= epsilon + 1e-6
        assert (x + u).min() >= -1e-7
        assert (x + u).max() <= 1 + 1e-7
        told = model.rises(x + u, y) if goals is None else model.leads(x + u, goals)
        np.testing.assert_allclose(told, made.objective[k], atol=1e-4)
    assert (made.effort.sum(0)[[0, 2]] > whole.effort.sum(0)[[0, 2]]).all()


def test_a_share_that_the_first_step_exceeds_is_on_the_way_to_it_and_a_larger_one_is_not(curved: Any) -> None:
    """In linf the first step leads to the corner: on the way all features have gone as far, later they have not."""
    models, x, y = curved
    model, wide = models["network"], Box(lower=np.full(8, -9.0), upper=np.full(8, 9.0))
    little, much = (
        np.abs(Evasion(norm="linf", stop_at=share).craft(model, x, y, epsilons=(0.3,), box=wide).offsets[0])
        for share in (0.05, 0.97)
    )
    straight = [np.isclose(one, one.max(1, keepdims=True), rtol=1e-4).all(1).mean() for one in (little, much)]
    assert straight[0] > 0.9
    assert straight[1] < 0.7
    assert np.linalg.norm(little, axis=1).mean() < 0.3 * np.linalg.norm(much, axis=1).mean()


def test_what_becomes_of_a_point_does_not_depend_on_the_others(curved: Any) -> None:
    """But for the optimum, which is known to the attack's tolerance: products with more rows are rounded otherwise."""
    models, x, y = curved
    attack, model = Evasion(norm="linf", stop_at=0.7, n_restarts=0, n_walk=0), models["bumps"]
    whole, alone = (attack.craft(model, x[:n], y[:n], epsilons=(0.1, 0.2), box=Box.uniform(8)) for n in (20, 1))
    rise = whole.objective[:, 0] - whole.clean_objective[0]
    np.testing.assert_allclose(alone.objective[:, 0], whole.objective[:, 0], rtol=0, atol=attack.tolerance * rise.max())


def test_points_that_cannot_rise_stay() -> None:
    model = single(Linear.score(np.zeros(30), 1.0))
    x, y = np.full((3, 30), 0.5), np.array([0, 1, 1])
    made = Evasion(stop_at=0.5).craft(model, x, y, epsilons=(0.0, 1.0), box=BOX)
    assert (made.offsets == 0).all()
    assert (made.objective == made.clean_objective).all()


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, float("nan")])
def test_a_share_is_above_0_and_1_at_most(share: float) -> None:
    with pytest.raises(UserError, match=r"^attack\.stop_at: expected a share above 0, 1 at most, got"):
        Evasion(stop_at=share)
