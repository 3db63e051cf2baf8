"""Measures of one model and of a pair of networks: closed forms, brute force, what a model has not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.svm import SVC
from small_world import points

from transfer_exp.learners import MLP, RBFSVM, Model, Ridge
from transfer_exp.learners.cnn import SmallCNN
from transfer_exp.learners.linear import LogisticLinearModel
from transfer_exp.learners.network_model import NetworkModel
from transfer_exp.learners.penultimate import penultimate_features
from transfer_exp.measures import curvature
from transfer_exp.measures.curvature import curvatures
from transfer_exp.measures.interaction import interaction, interactions, patches
from transfer_exp.measures.mistakes import logit_gap, mistakes, posterior_gap
from transfer_exp.measures.optimum import share_of
from transfer_exp.measures.poisonability import extent, separation
from transfer_exp.measures.similarity import linear_cka
from transfer_exp.measures.smoothness import flatness, flatness_at_attack, gradient_changes, gradient_lipschitz
from transfer_exp.measures.subject import Subject
from transfer_exp.optim.lanczos import largest_eigenvalues
from transfer_exp.types import Box, Floats, Ints, UserError


def subject(model: Model, x: Floats, y: Ints, **changes: Any) -> Subject:
    """The model at the points, which are attacked by nothing."""
    given: dict[str, Any] = {
        "box": Box.uniform(x.shape[1], -1, 1),
        "shape": None,
        "rng": np.random.default_rng(3),
        "attacked": lambda k: x,
        "n_epsilons": 1,
        "reference": 0,
        "goals": None,
    }
    return Subject(model=model, x=x, y=y, **{**given, **changes})


def network(module: torch.nn.Module, n_classes: int, precision: Any = "double", **options: Any) -> NetworkModel:
    given = {"n_classes": n_classes, "label": "net", "shape": None, "precision": precision, "batch_size": 250}
    return NetworkModel(module, **{**given, **options})


def layers(activation: torch.nn.Module, d: int = 5, n_classes: int = 3) -> torch.nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        made = torch.nn.Sequential(torch.nn.Linear(d, 9), activation, torch.nn.Linear(9, n_classes))
        for one in made.parameters():
            one.data *= 3
    return made


def softmax(z: Floats) -> Floats:
    shifted = np.exp(z - z.max(-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(-1, keepdims=True))


def hessian_size(loss: Callable[[Floats], float], x: Floats, h: float = 1e-3) -> float:
    """Largest absolute eigenvalue of the Hessian by second differences, of error O(h^2)."""
    steps = h * np.eye(len(x))
    values = [[loss(x + a + b) - loss(x + a - b) - loss(x - a + b) + loss(x - a - b) for a in steps] for b in steps]
    return float(np.abs(np.linalg.eigvalsh(np.array(values) / (4 * h * h))).max())


RANDOM = np.random.default_rng(0)
W, B = RANDOM.normal(size=(4, 6)), RANDOM.normal(size=4)
X, Y = RANDOM.normal(size=(20, 6)), np.arange(20) % 4


def test_curvature_of_a_linear_softmax_is_that_of_its_covariance() -> None:
    """The Hessian of log-sum-exp is the covariance of the rows of W under p; a confident point's is small, not 0."""
    sure = np.linalg.solve(W @ W.T, np.array([45.0, 0, 0, 0]) - B) @ W
    x, y = np.vstack([X, sure]), np.r_[Y, 0]
    expected = []
    for p in softmax(x @ W.T + B):
        mean = sum(share * row for share, row in zip(p, W, strict=True))
        covariance = sum(share * np.outer(row - mean, row - mean) for share, row in zip(p, W, strict=True))
        expected.append(np.linalg.norm(covariance, 2))
    found = curvatures(subject(LogisticLinearModel(weight=W, bias=B), x, y), n_iter=1)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert 0 < expected[-1] < 1e-17  # e^-45


def test_curvature_of_a_score_is_its_slope_squared_times_the_variance() -> None:
    w = np.array([3.0, -4.0])
    x = np.array([[0.1, 0.2], [1.0, 0.0], [0.0, 30.0]])
    found = curvatures(subject(LogisticLinearModel(weight=w, bias=np.float64(0.5)), x, np.array([0, 1, 1])), n_iter=1)
    p = 1 / (1 + np.exp(-(x @ w + 0.5)))
    np.testing.assert_allclose(found, 25 * p * (1 - p), rtol=1e-9)


@pytest.mark.parametrize("activation", [torch.nn.ReLU(), torch.nn.Tanh(), torch.nn.Softplus()])
def test_curvature_of_a_network_is_that_of_the_whole_hessian(activation: torch.nn.Module) -> None:
    """Of ReLU by the K x K matrix, of the others by Lanczos' iteration: as torch's Hessian, row by row."""
    model = network(layers(activation), 3)
    x, y = points(3, n=12, d=5)
    expected = []
    for point, own in zip(torch.as_tensor(x), y.tolist(), strict=True):

        def loss(u: torch.Tensor, own: int = own) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(model(u[None]), torch.tensor([own]))

        expected.append(np.abs(np.linalg.eigvalsh(torch.autograd.functional.hessian(loss, point).numpy())).max())
    assert max(expected) > 0.1
    found = curvatures(subject(model, x, y), n_iter=20)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)


def test_only_piecewise_linear_networks_take_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    for name in ("_of_piecewise_linear", "_by_products"):
        real = getattr(curvature, name)
        monkeypatch.setattr(curvature, name, lambda *a, name=name, real=real: (taken.append(name), real(*a))[1])
    x, y = points(3, n=12, d=5)
    pooled = torch.nn.Sequential(
        torch.nn.Unflatten(1, (1, 5)), torch.nn.Conv1d(1, 3, 2), torch.nn.MaxPool1d(4), torch.nn.Flatten()
    )
    for module in (pooled, layers(torch.nn.LeakyReLU()), layers(torch.nn.GELU()), layers(torch.nn.Sigmoid())):
        curvatures(subject(network(module, 3), x, y), n_iter=5)
    curvatures(subject(RBFSVM(C=1, gamma=0.1).fit(x, y, n_classes=3, seed=0), x, y), n_iter=5)
    assert taken == ["_of_piecewise_linear"] * 2 + ["_by_products"] * 3


def test_curvature_of_an_rbf_svm_by_second_differences_of_its_logistic_loss() -> None:
    x, y = points(2, n=60, d=3, spread=1.5)
    model = RBFSVM(C=3, gamma=0.3).fit(x, y, n_classes=2, seed=0)
    svc = SVC(C=3, gamma=0.3).fit(x, y)
    expected = [
        hessian_size(lambda u, s=2 * own - 1: float(np.log1p(np.exp(-s * svc.decision_function(u[None])[0]))), point)
        for point, own in zip(x[:8], y[:8], strict=True)
    ]
    np.testing.assert_allclose(curvatures(subject(model, x[:8], y[:8]), n_iter=10), expected, rtol=1e-3, atol=1e-5)


def test_curvature_does_not_depend_on_batches_and_little_on_precision() -> None:
    torch.manual_seed(0)
    x, y = RANDOM.uniform(size=(15, 64)), np.arange(15) % 3
    for module in (SmallCNN((1, 8, 8), 3), torch.nn.Sequential(torch.nn.Flatten(), *layers(torch.nn.Tanh(), 64))):
        single = network(module.float(), 3, "single", shape=(1, 8, 8))
        rough = curvatures(subject(single, x, y), n_iter=30)
        double = network(module.double(), 3, "double", shape=(1, 8, 8))
        exact = curvatures(subject(double, x, y), n_iter=30)
        double.batch_size = 4
        np.testing.assert_allclose(curvatures(subject(double, x, y), n_iter=30), exact, rtol=1e-9)
        np.testing.assert_allclose(rough, exact, rtol=1e-3)


class Distances(Model):
    """Logits by ``torch.cdist``, of which torch has no second derivative."""

    centres: torch.Tensor

    @property
    def n_classes(self) -> int:
        return len(self.centres)

    def outputs(self, x: torch.Tensor) -> torch.Tensor:
        return -(torch.cdist(x, self.centres) ** 2)


def test_a_model_without_second_derivatives_has_no_curvature(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert curvatures(subject(Distances(centres=X[:4]), X, Y), n_iter=5) is None
    assert "input_curvature: Distances has no second derivatives" in caplog.text


def test_lanczos_finds_the_largest_absolute_eigenvalue_and_bounds_its_error() -> None:
    random = np.random.default_rng(1)
    basis = np.linalg.qr(random.normal(size=(5, 12, 12)))[0]
    values = random.normal(size=(5, 12))
    values[1, 0] = -9.0  # a negative one
    values[2, 1:] = 0  # rank one
    values[3] = 0
    values[4] *= 1e-200  # squares of it are 0
    matrices = torch.as_tensor(basis @ (values[:, :, None] * np.swapaxes(basis, 1, 2)))
    start = torch.as_tensor(random.normal(size=(5, 12)))

    def product(v: torch.Tensor) -> torch.Tensor:
        return (matrices @ v[:, :, None])[:, :, 0]

    found, _ = largest_eigenvalues(product, start, n_iter=12, tolerance=0)
    np.testing.assert_allclose(found, np.abs(values).max(1), rtol=1e-9, atol=0)
    early, distance = largest_eigenvalues(product, start, n_iter=4, tolerance=0)
    nearest = np.abs(np.abs(values) - early.numpy()[:, None]).min(1)
    assert (nearest <= distance.numpy() * (1 + 1e-9) + 1e-12 * np.abs(values).max(1)).all()
    assert distance[0] > 1e-3
    calls: list[int] = []
    largest_eigenvalues(lambda v: (calls.append(1), product(v))[1], start, n_iter=12, tolerance=10.0)
    assert len(calls) == 5  # it stops where the bound is good enough


def test_beta_of_one_feature_is_the_curvature_where_the_ball_is_small() -> None:
    model = LogisticLinearModel(weight=np.array([2.0]), bias=np.float64(0.1))
    x, y = np.array([[0.3], [-1.0], [2.0]]), np.array([0, 1, 1])
    s = subject(model, x, y, box=Box.uniform(1, -5, 5))
    p = 1 / (1 + np.exp(-(2 * x[:, 0] + 0.1)))
    np.testing.assert_allclose(gradient_changes(s, radius=1e-6, n_draws=3), 4 * p * (1 - p), rtol=1e-4)
    wide = gradient_changes(subject(model, x, y, box=Box.uniform(1, -5, 5)), radius=1.0, n_draws=40)
    assert wide[1] > 1.5 * 4 * p[1] * (1 - p[1])  # within 10 of x it meets the steepest place
    assert (wide <= 1.0 + 1e-9).all()  # w^2 / 4, at p = 1/2


def test_beta_comes_close_to_the_curvature_from_below_and_is_drawn_from_its_generator() -> None:
    x, y = points(3, n=6, d=2)
    model = network(layers(torch.nn.Tanh(), 2), 3)
    sigma = curvatures(subject(model, x, y), n_iter=5)
    one, again, other = (
        gradient_changes(subject(model, x, y, rng=np.random.default_rng(seed)), radius=1e-5, n_draws=100)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    assert (one <= sigma * (1 + 1e-3)).all()
    np.testing.assert_allclose(one, sigma, rtol=2e-2)  # of 100 directions in a plane one is within 0.1 of the best: 1 - cos


def test_flatness_of_a_logistic_loss_against_its_mean_on_the_sphere() -> None:
    """On a sphere in three dimensions, height along w is uniform (Archimedes), so that the mean is an integral."""
    w, reach, copies = np.array([2.0, -1.0, 2.0]), 4.0, 2000
    x = np.array([[0.2, 0.1, 0.0], [3.0, 0.0, 0.0], [-9.0, 0.0, -9.0]])
    model = LogisticLinearModel(weight=w, bias=np.float64(0.0))
    moved = [np.repeat(x + step, copies, axis=0) for step in (0.0, np.array([0.3, 0.0, 0.0]))]
    y = np.ones(len(moved[0]), dtype=np.int64)
    s = subject(model, moved[0], y, box=Box.uniform(3, 0, 1), attacked=lambda k: moved[k], n_epsilons=2)
    found = flatness(s, radius=reach / np.sqrt(3), n_draws=2).reshape(2, 3, copies)
    heights = np.linspace(-1, 1, 20_001)
    for k, step in enumerate((0.0, np.array([0.3, 0.0, 0.0]))):
        scores = (x + step) @ w
        losses = np.logaddexp(0, -(scores[:, None] + reach * 3 * heights))
        expected = np.logaddexp(0, -scores) - losses.mean(1)
        np.testing.assert_allclose(found[k].mean(1), expected, atol=5 * losses.std() / np.sqrt(2 * copies))
    assert found[0, 0].mean() < -0.5  # a valley: the loss is convex
    assert np.abs(found[0, 2]).max() < 1e-9  # a slope


def test_flatness_and_beta_do_not_depend_on_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network(layers(torch.nn.Tanh(), 6), 3)
    y = Y % 3
    whole = [f(subject(model, X, y), radius=0.1, n_draws=2) for f in (flatness, gradient_changes)]
    model.batch_size = 3
    parts = [f(subject(model, X, y), radius=0.1, n_draws=2) for f in (flatness, gradient_changes)]
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)
    monkeypatch.setattr("transfer_exp.measures.subject._MOST_NUMBERS", 6 * 7)
    assert [rows.stop - rows.start for rows in subject(model, X, y).parts()] == [7, 7, 6]
    assert flatness(subject(model, X, y), radius=0.1, n_draws=2).shape == (1, 20)
    assert gradient_changes(subject(model, X, y), radius=0.1, n_draws=2).shape == (20,)


def test_interaction_of_a_linear_score_is_nothing() -> None:
    model = LogisticLinearModel(weight=W[0], bias=np.float64(1.0))
    s = subject(model, X, Y % 2, attacked=lambda k: X + W[1])
    assert np.abs(interactions(s, grid=2)).max() < 1e-13


class Quadratic(Model):
    """Score x Q x."""

    q: torch.Tensor
    n_classes = 2

    def outputs(self, x: torch.Tensor) -> torch.Tensor:
        return torch.einsum("ni,ij,nj->n", x, self.q, x)


def shapley_interaction(value: Callable[[frozenset[int]], float], n: int) -> float:
    """Mean, over pairs, of the Shapley interaction index: of two players as one, less each without the other."""
    from itertools import combinations
    from math import comb

    total = 0.0
    for a, b in combinations(range(n), 2):
        rest = [k for k in range(n) if k not in (a, b)]
        for size in range(n - 1):
            for chosen in combinations(rest, size):
                s = frozenset(chosen)
                gain = value(s | {a, b}) - value(s | {a}) - value(s | {b}) + value(s)
                total += gain / comb(n - 2, size) / (n - 1)
    return total / comb(n, 2)


def test_interaction_is_the_mean_shapley_interaction_index() -> None:
    """By its definition, over all sets of patches; the points have six features in four patches, of the reference."""
    q = RANDOM.normal(size=(6, 6))
    model = network(layers(torch.nn.Tanh(), 6, 2), 2)
    delta = RANDOM.normal(size=X.shape)
    patch = np.array([0, 0, 1, 2, 2, 3])
    for one in (Quadratic(q=q + q.T), model):
        s = subject(one, X[:5], Y[:5] % 2, attacked=lambda k: X[:5] + k * delta[:5], n_epsilons=2, reference=1)
        found = interactions(s, grid=2)
        for i in range(5):

            def value(players: frozenset[int], i: int = i, one: Model = one) -> float:
                z = one.logits((X[i] + np.isin(patch, list(players)) * delta[i])[None])[0]
                return float((z[1] - z[0]) * (1 - 2 * (Y[i] % 2)))

            assert found[i] == pytest.approx(shapley_interaction(value, 4), rel=1e-9)
    np.testing.assert_array_equal(patches(6, None, 2), patch)


def test_with_a_goal_the_objective_is_the_goals_margin() -> None:
    model = network(layers(torch.nn.Tanh(), 6), 3)
    y, goals, delta = np.zeros(20, dtype=np.int64), np.full(20, 2), np.ones_like(X)
    found = interactions(subject(model, X, y, attacked=lambda k: X + delta, goals=goals), grid=2)

    def value(mask: Floats) -> Floats:
        z = model.logits(X + mask * delta)
        return np.asarray(z[:, 2] - z[:, :2].max(1))

    alone = [np.array([0, 0, 1, 2, 2, 3]) == a for a in range(4)]
    total = sum(value(np.ones(6)) - value(~one) - value(one) + value(np.zeros(6)) for one in alone)
    np.testing.assert_allclose(found, total / 12, rtol=1e-9, atol=1e-12)


def test_patches_are_fields_of_an_image_for_all_channels() -> None:
    grid = patches(2 * 4 * 6, (2, 4, 6), 2).reshape(2, 4, 6)
    assert (grid[0] == grid[1]).all()
    assert grid[0].tolist() == [[0, 0, 0, 1, 1, 1]] * 2 + [[2, 2, 2, 3, 3, 3]] * 2
    assert patches(6, (1, 6), 4).max() == 3  # one row of pixels has four fields
    assert patches(3, None, 4).tolist() == [0, 1, 2]
    one = subject(LogisticLinearModel(weight=np.ones(1), bias=np.float64(0)), X[:, :1], Y % 2)
    assert np.isnan(interactions(one, grid=2)).all()


def gram_cka(x: Floats, y: Floats) -> float:
    """CKA by Gram matrices, centred on both sides."""
    centre = np.eye(len(x)) - 1 / len(x)
    k, m = (centre @ (one @ one.T) @ centre for one in (x, y))
    return float((k * m).sum() / np.sqrt((k * k).sum() * (m * m).sum()))


def test_cka_of_equal_orthogonal_and_other_features() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(30, 5)), random.normal(size=(30, 3))
    rotation = np.linalg.qr(random.normal(size=(5, 5)))[0]
    assert linear_cka(x, 3 * x @ rotation + 7) == pytest.approx(1)
    basis = np.linalg.qr(np.c_[np.ones(30), x, y])[0]
    assert linear_cka(basis[:, 1:6] + 2, basis[:, 6:] - 1) == pytest.approx(0, abs=1e-12)
    assert linear_cka(x, y) == pytest.approx(gram_cka(x, y))
    assert 0 < gram_cka(x, y) < 0.5
    assert np.isnan(linear_cka(np.ones((30, 2)), y))


def test_penultimate_features_are_what_the_last_linear_layer_reads() -> None:
    x, y = points(3, n=40, d=4)
    model = MLP(hidden=(6, 5), n_epochs=2).fit(x, y, n_classes=3, seed=0)
    state: Any = model.state()
    h = x
    for k in range(2):
        h = np.maximum(h @ state[f"network.weight_{k}"].T + state[f"network.bias_{k}"], 0)
    model.batch_size = 7
    np.testing.assert_allclose(penultimate_features(model, x), h, rtol=1e-6, atol=1e-7)
    assert penultimate_features(Ridge(alpha=1).fit(x, y, n_classes=3, seed=0), x) is None
    no_linear = torch.nn.Sequential(torch.nn.Unflatten(1, (1, 4)), torch.nn.Conv1d(1, 3, 4), torch.nn.Flatten())
    assert penultimate_features(network(no_linear, 3), x) is None
    last = network(layers(torch.nn.Tanh(), 4), 3)
    expected = torch.tanh(last.network[0](torch.as_tensor(x)))  # type: ignore[index]
    np.testing.assert_allclose(penultimate_features(last, x), expected)


class Named(torch.nn.Module):
    """Features that are not what the last linear layer reads."""

    def __init__(self, penultimate: str) -> None:
        super().__init__()
        self.penultimate = penultimate
        self.body = torch.nn.Linear(4, 3)
        self.gate = torch.nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gate(torch.relu(self.body(x)))


def test_a_module_may_name_the_submodule_that_gives_its_features() -> None:
    x, _ = points(3, n=10, d=4)
    model = network(torch.nn.Sequential(Named("body")), 3)
    expected = model.network[0].body(torch.as_tensor(x))  # type: ignore[index,union-attr]
    np.testing.assert_allclose(penultimate_features(model, x), expected)
    assert (expected < 0).any()
    with pytest.raises(UserError, match=r"net.penultimate: expected the name of a submodule of Named, got head"):
        penultimate_features(network(Named("head"), 3), x)


def test_mistakes_and_gaps_by_hand() -> None:
    y = np.array([0, 0, 1, 2])
    own = np.array([[1.0, 3, 0], [0, 0, 2], [0, 5, 0], [4, 1, 2]])  # answers 1, 2, 1, 0: the third is right
    target = np.array([[0.0, 1, 0], [0, 3, 0], [9, 0, 0], [0, 0, 1]])  # 1, 1, 0, 2
    assert mistakes(own, target, y) == (1 / 3, 1 / 3, 1 / 3)
    assert np.isnan(mistakes(np.eye(3)[y], target, y)).all()
    assert logit_gap(own, y).tolist() == [2, 2, 0, 2]
    e = np.exp
    expected = [(e(3) - e(1)) / (e(3) + e(1) + 1), (e(2) - 1) / (e(2) + 2), 0, (e(4) - e(2)) / (e(4) + e(1) + e(2))]
    np.testing.assert_allclose(posterior_gap(own, y), expected)
    np.testing.assert_allclose(posterior_gap(np.stack([own, 1000 * own]), y)[1], [1, 1, 0, 1])


def test_share_of_the_optimum_by_hand() -> None:
    clean = np.array([-1.0, -3.0])
    reached = np.array([[-1.0, -3], [0, -1], [2, 0]])
    best = np.array([[-1.0, -3], [1, 1], [1, 3]])  # of one point the attack is better than the best
    np.testing.assert_allclose(share_of(reached, best, clean), [np.nan, 3 / 6, 6 / 9])


def test_poisonability_by_hand() -> None:
    """Along (3, 4), of length 5: class 0 at 0 and 10, class 1 at 20 and 26; means 5 and 23, deviations 5 and 3."""
    w = np.array([3.0, 4.0])
    x = np.array([[0.0, 0], [2, 1], [4, 2], [2, 5]])
    y = np.array([0, 0, 1, 1])
    assert separation(w, x, y) == pytest.approx(18 / 4)
    assert extent(np.array([3.0, -4.0]), x, y, Box.uniform(2, -1, 5)) > 0
    assert extent(w, x, y, Box(lower=np.array([0.0, -1]), upper=np.array([1.0, 9]))) == pytest.approx((3 + 40) / 4)
    assert separation(7 * w, x, y) == pytest.approx(18 / 4)
    flat = np.zeros((4, 2))
    assert np.isnan([separation(w, flat, y), extent(w, flat, y, Box.uniform(2))]).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gradient_lipschitz(radius=0.0), "measures.gradient_lipschitz: expected a radius above 0 and at least one"),
        (
            lambda: flatness_at_attack(name="flat", n_draws=0),
            "measures.flat: expected a radius above 0 and at least one draw",
        ),
        (lambda: interaction(grid=1), "measures.interaction.grid: expected a whole number >= 2, got 1"),
    ],
)
def test_bad_options_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()
