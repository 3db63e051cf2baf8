"""The evasion attack against closed forms and against plain projected gradient with its best step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from small_models import Linear, SmallModel, perceptron, rbf_svm

from transfer_exp.attacks.evasion import Evasion
from transfer_exp.attacks.objective import BallBox, Difference
from transfer_exp.optim.balls import ball
from transfer_exp.types import Box, UserError

GRID = (0.0, 0.1, 0.5, 1.0, 3.0)
CONVEX = ("l1", "l2", "linf")


@pytest.fixture(scope="module")
def linear() -> tuple[Linear, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    model = Linear.score(rng.normal(size=30), 0.3)
    x = rng.random((40, 30))
    x[rng.random(x.shape) < 0.4] = 0.0  # faces of the box, as in images
    x[rng.random(x.shape) < 0.2] = 1.0
    return model, x, (rng.random(40) < 0.5).astype(np.int64)


def blobs() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x = np.clip(np.r_[rng.normal(0.35, 0.12, (60, 12)), rng.normal(0.65, 0.12, (60, 12))], 0, 1)
    return x, np.repeat([0, 1], 60)


def greedy_l1(weight: np.ndarray, x: np.ndarray, side: int, epsilon: float, box: Box) -> np.ndarray:
    """The best l1 step by hand: heaviest feature first, each up to its face."""
    x, left = x.copy(), epsilon
    for j in np.argsort(-np.abs(weight)):
        goal = box.upper[j] if side * weight[j] > 0 else box.lower[j]
        step = np.clip(goal - x[j], -left, left)
        x[j] += step
        left -= abs(step)
    return x


@pytest.mark.parametrize("norm", CONVEX)
@pytest.mark.parametrize("width", [1e6, 1.0])
def test_linear_score_reaches_the_closed_form(linear, norm: str, width: float) -> None:
    model, x, y = linear
    weight, sign = model.weight.numpy()[1] * 2, 2 * y - 1
    box = Box.uniform(30, 0.0 if width == 1 else -width, width)
    made = Evasion(norm=norm).craft(model, x, y, epsilons=GRID, box=box)
    for k, epsilon in enumerate(GRID):
        margin = model.rises(made.points(k, x, box), y)
        if width > 1:  # without an active box: epsilon times the dual norm of the weights
            dual = {"l1": np.inf, "l2": 2, "linf": 1}[norm]
            best = model.rises(x, y) + epsilon * np.linalg.norm(weight, dual)
        elif norm == "linf":
            best = model.rises(np.clip(x - epsilon * sign[:, None] * np.sign(weight), 0, 1), y)
        elif norm == "l1":
            best = model.rises(np.stack([greedy_l1(weight, x[i], -sign[i], epsilon, box) for i in range(len(x))]), y)
        else:
            best = model.rises(best_l2(-sign[:, None] * weight, x, epsilon), y)
        rise = best - model.rises(x, y)
        assert (np.abs(margin - best) <= 1e-3 * rise + 1e-5).all()


def best_l2(g: np.ndarray, x: np.ndarray, epsilon: float) -> np.ndarray:
    """By bisection on the multiplier: clip(x + t g) has the radius epsilon, or every face is reached."""
    short, long = np.zeros(len(x)), np.full(len(x), 1e6)
    for _ in range(200):
        t = (short + long) / 2
        too_far = np.linalg.norm(np.clip(x + t[:, None] * g, 0, 1) - x, axis=1) > epsilon
        short, long = np.where(too_far, short, t), np.where(too_far, t, long)
    return np.clip(x + short[:, None] * g, 0, 1)


def rbf(x, y) -> SmallModel:
    return rbf_svm(x, y, C=10, gamma=1.0)


def mlp(x, y) -> SmallModel:
    return perceptron(x, y, hidden=(16, 16), n_steps=200)


@pytest.mark.parametrize("norm", ["l0", *CONVEX])
@pytest.mark.parametrize("fit", [rbf, mlp])
def test_constraints_hold_and_the_objective_never_falls(fit, norm: str) -> None:
    x, y = blobs()
    model, box = fit(x, y), Box.uniform(12)
    made = Evasion(norm=norm).craft(model, x, y, epsilons=GRID, box=box)
    for k, epsilon in enumerate(GRID):
        points = made.points(k, x, box)
        assert points.min() >= 0
        assert points.max() <= 1
        assert ball(norm).size(points - x).max() <= epsilon + 1e-6
        assert np.allclose(model.rises(points, y), made.objective[k], atol=1e-5)
    assert (np.diff(made.objective, axis=0) >= 0).all()
    assert (np.diff(made.trace, axis=1) >= -1e-12).all()
    assert made.health(x, epsilons=GRID, norm=norm, box=box)["violation"] <= 1e-6


def plain_projected_gradient(model: SmallModel, x, y, *, norm: str, epsilon: float, step: float, n_iter: int = 200) -> float:
    """Mean objective after fixed steps of normalised gradient and projection."""
    clean, label = torch.tensor(x), torch.tensor(y)
    zero, one = torch.zeros(x.shape[1]).double(), torch.ones(x.shape[1]).double()
    sets, objective = BallBox(clean, zero, one, ball(norm), epsilon), Difference(model, 1 - label, label)
    rows, best = torch.arange(len(x)), torch.full((len(x),), -np.inf).double()
    point = clean
    for _ in range(n_iter):
        gradient = objective.gradient(point, rows)
        point = sets.project(point + step * gradient / gradient.norm(dim=1, keepdim=True).clamp(min=1e-300), rows)
        best = torch.maximum(best, objective.value(point, rows))
    return float(best.mean())


EPSILONS: dict[str, tuple[float, ...]] = {"l1": (0.5, 2.0), "l2": (0.3, 1.0), "linf": (0.1, 0.4)}
STOPPING = 2e-5  # of the rise: what the attack's stopping rule leaves


def shortfall(model: SmallModel, x, y, *, norm: str, epsilons: tuple[float, ...], **options) -> float:
    """By which share of the rise 200 plain steps, the best of five sizes, end above the attack; worst epsilon."""
    made = Evasion(norm=norm, **options).craft(model, x, y, epsilons=epsilons, box=Box.uniform(x.shape[1]))
    worst = -np.inf
    for k, epsilon in enumerate(epsilons):
        steps = [epsilon * f for f in (0.003, 0.01, 0.03, 0.1, 0.3)]
        plain = max(plain_projected_gradient(model, x, y, norm=norm, epsilon=epsilon, step=s) for s in steps)
        worst = max(worst, (plain - made.objective[k].mean()) / (plain - made.clean_objective.mean()))
    return worst


STUDY = {
    "rbf_high": lambda x, y: rbf_svm(x, y, C=100, gamma=0.01),
    "rbf_low": lambda x, y: rbf_svm(x, y, C=1, gamma=0.01),
    "mlp_high": lambda x, y: perceptron(x, y, hidden=(50, 50), n_steps=300),
    "mlp_low": lambda x, y: perceptron(x, y, hidden=(50, 50), n_steps=300, decay=0.01),
}


@pytest.mark.parametrize("norm", CONVEX)
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n.endswith("low") else n for n in STUDY])
def test_at_least_as_strong_as_200_plain_steps_of_the_best_of_five_sizes(name: str, norm: str) -> None:
    pixels, digit = load_digits(return_X_y=True)
    x, y = pixels[digit >= 8] / 16, (digit[digit >= 8] == 9).astype(np.int64)
    model = STUDY[name](x[:250], y[:250])
    assert shortfall(model, x[250:290], y[250:290], norm=norm, epsilons=EPSILONS[norm]) <= STOPPING


@pytest.mark.parametrize("norm", CONVEX)
def test_where_local_maxima_abound_it_is_still_as_strong_on_average(norm: str) -> None:
    """Sharply curved: gradients turn right round within the ball, and every start ends in some other local maximum."""
    x, y = blobs()
    assert shortfall(rbf_svm(x, y, C=100, gamma=2.0), x, y, norm=norm, epsilons=EPSILONS[norm]) <= STOPPING


@pytest.mark.parametrize("norm", CONVEX)
@pytest.mark.parametrize("fit", [lambda x, y: rbf_svm(x, y, C=10, gamma=0.5), mlp], ids=["rbf", "mlp"])
def test_creases_and_milder_curvature_cost_less_than_a_thousandth(fit, norm: str) -> None:
    x, y = blobs()
    assert shortfall(fit(x, y), x, y, norm=norm, epsilons=EPSILONS[norm]) <= 1e-3


def test_batches_do_not_change_the_points(linear) -> None:
    model, x, y = linear
    box = Box.uniform(30)
    whole = Evasion().craft(model, x, y, epsilons=GRID, box=box)
    parts = Evasion(batch_size=7).craft(model, x, y, epsilons=GRID, box=box)
    assert np.allclose(whole.offsets, parts.offsets, atol=1e-6)
    assert np.allclose(whole.trace[:, -1], parts.trace[:, -1])


def test_batches_do_not_change_which_maxima_are_found() -> None:
    """Restarts go in the same directions for every point, whatever others are in its batch."""
    x, y = blobs()
    model, box = rbf_svm(x, y, C=10, gamma=0.5), Box.uniform(12)
    whole, parts = (Evasion(norm="l1", batch_size=n).craft(model, x, y, epsilons=GRID, box=box) for n in (1000, 50))
    assert np.allclose(whole.objective, parts.objective, rtol=1e-3)


def test_points_with_a_zero_gradient_stay_and_are_counted() -> None:
    model = Linear.score(np.zeros(3), 1.0)
    x, y = np.full((4, 3), 0.5), np.array([1, 1, 0, 0])
    made = Evasion().craft(model, x, y, epsilons=(0.0, 1.0), box=Box.uniform(3))
    assert not made.offsets.any()
    health = made.health(x, epsilons=(0.0, 1.0), norm="l2", box=Box.uniform(3))
    assert health["zero_gradient"] == 1
    assert health["not_rising"] == 1


@pytest.mark.parametrize("grid", [(), (1.0, 0.5), (-1.0, 1.0), (1.0, 1.0), (0.0, float("nan"))])
def test_bad_grids_are_refused(linear, grid) -> None:
    model, x, y = linear
    with pytest.raises(UserError, match="strictly ascending"):
        Evasion().craft(model, x, y, epsilons=grid, box=Box.uniform(30))


class Steps(Linear):
    differentiable = False


def test_models_without_gradients_and_points_outside_the_box_are_refused(linear) -> None:
    x, y = blobs()
    with pytest.raises(UserError, match="only be targets"):
        Evasion().craft(Steps.score(np.ones(12), 0.0), x, y, epsilons=(1.0,), box=Box.uniform(12))
    with pytest.raises(UserError, match="inside the box"):
        Evasion().craft(linear[0], linear[1] + 2, linear[2], epsilons=(1.0,), box=Box.uniform(30))
    with pytest.raises(UserError, match="expected one of l0, l1, l2, linf, got l3"):
        Evasion(norm="l3")


def test_farthest_is_the_limit_of_projected_steps(linear) -> None:
    model, x, _ = linear
    clean = torch.tensor(x)
    rows = torch.arange(len(x))
    direction = model.weight[1].expand(len(x), -1)
    for norm in CONVEX:
        sets = BallBox(clean, torch.zeros(30).double(), torch.ones(30).double(), ball(norm), 0.7)
        limit = sets.project(clean + 1e6 * direction, rows)
        assert torch.allclose(limit, sets.farthest(direction, rows), atol=1e-6)
