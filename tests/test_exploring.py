"""The evasion attack where the score has many maxima in one ball, against brute force over ball and box."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, make_moons
from small_models import Silent, SmallModel, perceptron, rbf_svm

from transfer_exp.attacks import exploring, trajectory
from transfer_exp.attacks.evasion import Evasion
from transfer_exp.attacks.objective import BallBox, Difference
from transfer_exp.attacks.trajectory import Budget
from transfer_exp.optim.balls import ball
from transfer_exp.optim.state import unmoved
from transfer_exp.types import Box

ORDER = {"l1": 1, "l2": 2, "linf": np.inf}
EPSILONS: dict[str, tuple[float, ...]] = {"l1": (0.1, 0.25, 0.5), "l2": (0.1, 0.2, 0.4), "linf": (0.05, 0.15, 0.3)}
QUICK = [("moons", 10, 20, "l2"), ("blobs", 100, 100, "linf"), ("checkerboard", 1, 100, "l1"), ("moons", 100, 50, "l2")]
SLOW = [
    (name, C, gamma, norm)
    for name in ("moons", "blobs", "checkerboard")
    for C, gamma in ((10, 1), (10, 5), (10, 20), (100, 50), (1, 100), (100, 100))
    for norm in ORDER
]


def points(name: str) -> tuple[np.ndarray, np.ndarray]:
    """300 labelled points of the unit square."""
    rng = np.random.default_rng(0)
    if name == "moons":
        x, y = make_moons(300, noise=0.15, random_state=0)
        return (x - x.min(0)) / np.ptp(x, axis=0), y
    if name == "blobs":
        center, of = rng.random((12, 2)), rng.integers(0, 12, 300)
        return np.clip(center[of] + 0.07 * rng.normal(size=(300, 2)), 0, 1), (of % 2 == 0).astype(np.int64)
    x = rng.random((300, 2))
    return x, ((np.floor(x * 4).sum(1) % 2 == 0) ^ (rng.random(300) < 0.03)).astype(np.int64)


def brute_force(model: SmallModel, x: np.ndarray, y: np.ndarray, norm: str, epsilon: float) -> np.ndarray:
    """The largest lead of the other class on a grid of ball and box and on the sphere, refined thrice around the best."""
    axis = np.linspace(-1, 1, 41)
    square = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    sphere = np.stack([np.cos(angle), np.sin(angle)], 1)
    places = np.r_[
        square[np.linalg.norm(square, ORDER[norm], axis=1) <= 1],
        sphere / np.linalg.norm(sphere, ORDER[norm], axis=1, keepdims=True),
    ]
    best = np.empty(len(x))
    for i, center in enumerate(x):
        around, tried = center, epsilon * places
        for width in (epsilon / 20, epsilon / 80, epsilon / 320, 0):
            size = np.linalg.norm(tried, ORDER[norm], axis=1)
            tried = tried * np.minimum(1, epsilon / np.maximum(size, 1e-300))[:, None]
            at = np.clip(center + tried, 0, 1)
            value = model.rises(at, np.full(len(at), y[i]))
            around, best[i] = at[value.argmax()], value.max()
            tried = np.r_[around[None], around + width * square[::4]] - center
    return best


def assert_within_a_point(model: SmallModel, x: np.ndarray, y: np.ndarray, norm: str, n: int = 100) -> None:
    x, y = x[:n], y[:n]
    made = Evasion(norm=norm).craft(model, x, y, epsilons=EPSILONS[norm], box=Box.uniform(2))
    for k, epsilon in enumerate(EPSILONS[norm]):
        known = brute_force(model, x, y, norm, epsilon)
        assert (known > 0).mean() - (made.objective[k] > 0).mean() <= 0.01 + 1e-9, epsilon
        assert (known - made.objective[k]).mean() <= 0.01 * (known - made.clean_objective).mean(), epsilon


@pytest.mark.parametrize(
    ("name", "C", "gamma", "norm"), [*QUICK, *(pytest.param(*p, marks=pytest.mark.slow) for p in SLOW if p not in QUICK)]
)
def test_on_two_features_within_a_point_of_error_of_brute_force(name: str, C: float, gamma: float, norm: str) -> None:
    x, y = points(name)
    model = rbf_svm(x, y, C=C, gamma=gamma)
    assert_within_a_point(model, x, y, norm, n=40 if (name, C, gamma, norm) in QUICK else 100)


def test_the_gradient_at_the_clean_points_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a model in single precision, too, as on a GPU, where converting to it copies nothing."""
    x, y = points("moons")
    model = rbf_svm(x, y, C=10, gamma=5).float()
    made: list[exploring.Explorer] = []

    def remember(*arguments: Any) -> exploring.Explorer:
        made.append(exploring.Explorer(*arguments))
        return made[-1]

    monkeypatch.setattr(trajectory, "Explorer", remember)
    Evasion(norm="l2").craft(model, x[:60], y[:60], epsilons=(0.2, 0.4), box=Box.uniform(2))
    clean = torch.tensor(x[:60], dtype=torch.float32)
    label = torch.tensor(y[:60])
    at_clean = Difference(model, 1 - label, label).gradient(clean, torch.arange(60))
    torch.testing.assert_close(made[0].clean_gradient, at_clean, rtol=1e-5, atol=1e-6 * float(at_clean.abs().max()))


@pytest.mark.parametrize("norm", [pytest.param(n, marks=[pytest.mark.slow] if n != "l2" else []) for n in ORDER])
def test_places_alone_find_it_where_the_model_tells_no_landmarks(norm: str) -> None:
    x, y = points("moons")
    model = rbf_svm(x, y, C=10, gamma=20, kind=Silent)
    assert_within_a_point(model, x, y, norm)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ORDER)
@pytest.mark.parametrize("name", ["moons", "blobs", "checkerboard"])
def test_on_perceptrons_of_two_features(name: str, norm: str) -> None:
    x, y = points(name)
    model = perceptron(x, y, hidden=(50, 50), n_steps=2000)
    assert_within_a_point(model, x, y, norm)


RAW: dict[str, tuple[float, ...]] = {"l1": (20, 60, 150), "l2": (10, 20, 40), "linf": (1, 3, 6)}


@pytest.mark.parametrize("norm", ORDER)
def test_in_many_dimensions_with_balls_wider_than_the_kernel(norm: str) -> None:
    """Digits of 64 pixels from 0 to 16, gamma epsilon^2 up to 8: ascents from all other training points find hardly more."""
    pixels, digit = load_digits(return_X_y=True)
    x, y = pixels[digit >= 8], (digit[digit >= 8] == 9).astype(np.int64)
    model, box = rbf_svm(x[:250], y[:250], C=10, gamma=0.005), Box.uniform(64, 0, 16)
    attack = Evasion(norm=norm)
    made = attack.craft(model, x[250:258], y[250:258], epsilons=RAW[norm], box=box)
    for k, epsilon in enumerate(RAW[norm]):
        known = from_all(attack, model, x, y, epsilon)
        rise, missing = known - made.clean_objective, known - made.objective[k]
        assert missing.mean() <= 0.02 * rise.mean(), epsilon


def from_all(attack: Evasion, model: SmallModel, x: np.ndarray, y: np.ndarray, epsilon: float) -> np.ndarray:
    """The best ends of ascents of points 250 to 257 from the nearest feasible point to every training point."""
    start, clean = (torch.tensor(x[part]) for part in (slice(250), slice(250, 258)))
    rows = torch.arange(8).repeat_interleave(250)
    around = BallBox(clean[rows], torch.zeros(64).double(), torch.full((64,), 16.0).double(), ball(attack.norm), epsilon)
    every, label = torch.arange(len(rows)), torch.tensor(y[250:258])[rows]
    x_start = around.project(start.repeat(8, 1), every)
    objective = Difference(model, 1 - label, label)
    budget = Budget(n_iter=attack.n_iter, tolerance=attack.tolerance, n_walk=0, n_restarts=0)
    begun = unmoved(x_start, objective.value(x_start, every))
    end = budget.climb(objective, around, begun, objective.value(clean[rows], every), epsilon / 10)
    return end.value.view(8, 250).amax(1).numpy()


def test_where_the_kernel_has_decayed_to_zero_the_support_vectors_show_the_way() -> None:
    """The kernel is exp(-2000) there: gradients are exactly zero, though the ball holds points of the other class."""
    x = np.r_[np.full((5, 6), 2.0), np.full((5, 6), 3.0)] + 0.05 * np.random.default_rng(0).normal(size=(10, 6))
    model = rbf_svm(x, np.repeat([0, 1], 5), C=10, gamma=50.0)
    far, label, box = np.full((2, 6), 6.0), np.array([1, 0]), Box.uniform(6, 0, 10)
    assert (model(torch.tensor(far)) == model.bias).all()
    made = Evasion().craft(model, far, label, epsilons=(1.0, 10.0), box=box)
    assert (made.objective[0] == made.clean_objective).all()
    nearest = np.array([model.rises(x, np.full(10, k)).max() for k in label])
    assert (made.objective[1] >= nearest - 1e-6).all()
    assert made.health(far, epsilons=(1.0, 10.0), norm="l2", box=box)["not_rising"] == 0


@pytest.mark.parametrize("norm", ORDER)
def test_what_is_found_neither_depends_on_the_batch_nor_on_the_time(norm: str) -> None:
    x, y = points("checkerboard")
    model, box = rbf_svm(x, y, C=10, gamma=20), Box.uniform(2)
    torch.rand(7)  # the state of the global generator plays no part
    whole, again, parts = (
        Evasion(norm=norm, batch_size=n).craft(model, x[:15], y[:15], epsilons=EPSILONS[norm], box=box) for n in (15, 15, 6)
    )
    assert np.array_equal(whole.offsets, again.offsets)
    assert np.allclose(whole.objective, parts.objective, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("norm", ORDER)
def test_scattered_places_are_feasible_and_the_same_for_every_set(norm: str) -> None:
    center = torch.rand((5, 40), generator=torch.Generator().manual_seed(0))
    sets, rows = BallBox(center, torch.zeros(40), torch.ones(40), ball(norm), 2.0), torch.arange(5)
    places = sets.scatter(30, seed=3)
    assert np.linalg.norm(places.numpy(), ORDER[norm], axis=1).max() <= 1 + 1e-6
    assert torch.equal(places, sets.at(rows[:2]).scatter(30, seed=3))
    assert not torch.equal(places, sets.scatter(30, seed=4))
    for place in places:
        x = sets.at_place(place, rows)
        assert ((x >= 0) & (x <= 1)).all()
        assert np.linalg.norm((x - center).numpy(), ORDER[norm], axis=1).max() <= 2 + 1e-5
