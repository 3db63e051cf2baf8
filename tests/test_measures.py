"""Measures against closed forms, numbers by hand and finite differences (threshold and rate: test_detection.py)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from transfer_exp import measures
from transfer_exp.learners import LOSSES, MLP, RBFSVM, Model
from transfer_exp.learners.linear import HingeLinearModel
from transfer_exp.types import NORMS, Floats, Ints, Norm

W = np.array([3.0, -4.0, 0.0, 12.0])
DUAL = {"l1": 12.0, "l2": 13.0, "linf": 19.0}  # largest, Euclidean and absolute sum of W
X = np.random.default_rng(0).normal(size=(30, 4))
Y = np.where(np.arange(30) % 3 == 0, 1, -1)

SLOPES: dict[str, Callable[[Floats, Ints], Floats]] = {  # |dl/df|
    "hinge": lambda f, y: (y * f < 1).astype(float),
    "logistic": lambda f, y: 1 / (1 + np.exp(y * f)),
    "squared": lambda f, y: np.abs(y - f),
}


def linear(weight: Floats, bias: float = 0.3) -> HingeLinearModel:
    return HingeLinearModel(weight=np.asarray(weight, dtype=float), bias=np.float64(bias))


def sizes(model: Model, x: Floats, y: Ints, loss_name: str, norm: Norm) -> Floats:
    gradients, scores = measures.score_gradients(model, x), model.scores(x)
    return measures.gradient_sizes(gradients, scores, y, loss_name=loss_name, norm=norm)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("loss_name", LOSSES)
def test_size_of_gradients_of_a_linear_model_is_slope_times_dual_norm(loss_name: str, norm: Norm) -> None:
    model = linear(W)
    expected = SLOPES[loss_name](model.scores(X), Y) * DUAL[norm]
    # torch's softplus is the identity above 20: its slope there is off by at most exp(-20)
    np.testing.assert_allclose(sizes(model, X, Y, loss_name, norm), expected, rtol=3e-9, atol=1e-12)
    if loss_name == "hinge":
        assert 0 < (expected == 0).sum() < 30  # both sides of the kink are met


@pytest.fixture(scope="module", params=["rbf", "mlp"])
def curved(request: pytest.FixtureRequest) -> Model:
    x = np.random.default_rng(1).normal(size=(80, 4))
    y = np.where(x[:, 0] * x[:, 1] > 0, 1, -1)
    learner = RBFSVM(C=5, gamma=0.5) if request.param == "rbf" else MLP(hidden=(8, 8), n_epochs=30)
    return learner.fit(x, y, seed=0)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("loss_name", LOSSES)
def test_size_of_gradients_agrees_with_finite_differences_of_the_loss(curved: Model, loss_name: str, norm: Norm) -> None:
    h, columns = 1e-6, []
    for step in h * np.eye(4):
        up, down = (measures.losses(curved.scores(X + s), Y, loss_name) for s in (step, -step))
        columns.append((up - down) / (2 * h))
    numeric = np.stack(columns, axis=1)
    expected = {"l1": np.abs(numeric).max(1), "l2": np.sqrt((numeric**2).sum(1)), "linf": np.abs(numeric).sum(1)}[norm]
    np.testing.assert_allclose(sizes(curved, X, Y, loss_name, norm), expected, rtol=1e-4, atol=1e-7)


def test_gradients_come_in_batches_that_do_not_show(curved: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measures.score_gradients(curved, X)
    monkeypatch.setattr(measures, "SCORE_BATCH", 7)
    np.testing.assert_allclose(measures.score_gradients(curved, X), whole, rtol=1e-12)
    assert whole.shape == X.shape


@pytest.mark.parametrize(
    ("other", "cosine"), [(W, 1.0), (-2 * W, -1.0), ([4, 3, 7, 0], 0.0), ([0, 0, 0, 5], 12 / 13), ([1, 1, 1, 1], 11 / 26)]
)
def test_alignment_of_linear_models_is_the_cosine_of_their_weights(other: Floats, cosine: float) -> None:
    first, second = (measures.score_gradients(linear(w), X) for w in (W, other))
    np.testing.assert_allclose(measures.gradient_alignment(first, second), np.full(30, cosine), atol=1e-12)


def test_alignment_is_symmetric_and_of_directions_alone() -> None:
    random = np.random.default_rng(2)
    first, second = random.normal(size=(2, 20, 6))
    value = measures.gradient_alignment(first, second)
    np.testing.assert_allclose(measures.gradient_alignment(second, first), value)
    np.testing.assert_allclose(measures.gradient_alignment(1e-8 * first, 1e6 * second), value)
    assert (np.abs(value) <= 1 + 1e-12).all()


def test_alignment_with_no_gradient_is_undefined_and_counted() -> None:
    first = np.array([[1.0, 0], [0, 0], [1, 1], [0, 0]])
    second = np.array([[1.0, 0], [1, 0], [0, 0], [0, 0]])
    value = measures.gradient_alignment(first, second)
    assert value[0] == 1
    assert np.isnan(value[1:]).all()
    assert measures.mean_defined(value) == (1.0, 0.75)


def test_variability_by_hand() -> None:
    """Three training sets, three points: values 1, 2, 6 have mean 3 and mean square 41/3."""
    losses = np.array([[1.0, 5, 0], [2, 5, 0], [6, 5, 3]])
    np.testing.assert_allclose(measures.loss_variability(losses), [41 / 3 - 9, 0, 3 - 1], atol=1e-12)


@pytest.mark.parametrize("factor", [0.1, 1.0, 1e-7, 300.0])
def test_proportional_perturbations_correlate_fully(factor: float) -> None:
    delta = np.random.default_rng(3).normal(size=(15, 9))
    np.testing.assert_allclose(measures.perturbation_correlation(delta, factor * delta), 1, rtol=1e-12)
    np.testing.assert_allclose(measures.perturbation_correlation(delta, -factor * delta), -1, rtol=1e-12)
    np.testing.assert_allclose(measures.perturbation_correlation(delta, 0.5 - factor * delta), -1, rtol=1e-6)


def test_correlation_is_pearsons() -> None:
    first, second = np.random.default_rng(4).normal(size=(2, 10, 7))
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(measures.perturbation_correlation(first, second), expected, rtol=1e-10)


@pytest.mark.parametrize("constant", [0.0, 0.5, 0.1, -1 / 3, 1e-9, 1e5 / 3])
@pytest.mark.parametrize("n_features", [3, 7, 64, 784])
def test_a_constant_perturbation_has_no_correlation_and_is_counted(constant: float, n_features: int) -> None:
    """Also where the mean of equal numbers is not that number, by rounding."""
    delta = np.random.default_rng(5).normal(size=(4, n_features))
    flat = delta.copy()
    flat[1] = constant
    for value in (measures.perturbation_correlation(delta, flat), measures.perturbation_correlation(flat, delta)):
        assert np.isnan(value).tolist() == [False, True, False, False]
        mean, undefined = measures.mean_defined(value)
        assert (mean, undefined) == (pytest.approx(1), 0.25)


def test_means_of_nothing_are_undefined() -> None:
    mean, undefined = measures.mean_defined(np.full(3, np.nan))
    assert math.isnan(mean)
    assert undefined == 1
    assert measures.mean_defined(np.array([1.0, 2.0])) == (1.5, 0)


def test_error_counts_all_points_and_success_those_that_were_right() -> None:
    y = np.array([1, 1, 1, -1, -1])
    clean = np.array([2.0, 1.0, -1.0, -2.0, 3.0])  # right, right, wrong, right, wrong
    attacked = np.array([-1.0, 1.0, -1.0, 4.0, -3.0])  # wrong, right, wrong, wrong, right
    assert measures.error(clean, y) == 2 / 5
    assert measures.error(attacked, y) == 3 / 5
    assert measures.success(attacked, clean, y) == 2 / 3
    assert measures.success(clean, clean, y) == 0


def test_success_is_undefined_where_nothing_was_right() -> None:
    scores, y = np.array([1.0, -1.0]), np.array([-1, 1])
    assert math.isnan(measures.success(scores, scores, y))
    assert measures.error(scores, y) == 1


def test_a_score_of_0_is_no_sign_of_the_positive_class() -> None:
    scores = np.array([0.0, -0.0, 5e-324, -5e-324])
    assert measures.predict(scores).tolist() == [-1, -1, 1, -1]
    assert measures.error(np.zeros(4), np.array([1, -1, 1, -1])) == 0.5


def test_sizes_of_perturbations_by_hand() -> None:
    delta = np.array([[[3.0, -4.0], [0, 0]], [[1, 1], [-2, 0]]])
    assert measures.perturbation_size(delta, "l1").tolist() == [[7, 0], [2, 2]]
    assert measures.perturbation_size(delta, "linf").tolist() == [[4, 0], [1, 2]]
    np.testing.assert_allclose(measures.perturbation_size(delta, "l2"), [[5, 0], [math.sqrt(2), 2]])


def test_losses_keep_the_shape_of_several_training_sets() -> None:
    scores, y = np.array([[0.0, 2.0, -1.0], [1.0, 0.5, 3.0]]), np.array([1, -1, -1])
    np.testing.assert_allclose(measures.losses(scores, y, "hinge"), [[1, 3, 0], [0, 1.5, 4]])
