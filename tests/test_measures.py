"""Measures against closed forms, numbers by hand and finite differences (threshold and rate: test_detection.py)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from transfer_exp.learners import MLP, RBFSVM, Model
from transfer_exp.learners.linear import HingeLinearModel
from transfer_exp.learners.losses import LOSSES
from transfer_exp.margin import binary_score, predict, signs
from transfer_exp.measures.base import mean_defined
from transfer_exp.measures.errors import confusion, error, success, targeted_success
from transfer_exp.measures.gradients import (
    cross_entropy_slopes,
    gradient_alignment,
    loss_gradients,
    margin_gradients,
)
from transfer_exp.measures.losses import loss_variability, losses
from transfer_exp.measures.perturbations import perturbation_correlation
from transfer_exp.measures.registry import MEASURES, curves, scalars
from transfer_exp.optim.balls import BALLS
from transfer_exp.types import Floats, Ints

W = np.array([3.0, -4.0, 0.0, 12.0])
DUAL = {"l0": 12.0, "l1": 12.0, "l2": 13.0, "linf": 19.0}  # largest, Euclidean and absolute sum of W
X = np.random.default_rng(0).normal(size=(30, 4))
Y = (np.arange(30) % 3 == 0).astype(np.int64)

SLOPES: dict[str, Callable[[Floats, Ints], Floats]] = {  # |dl/df|
    "hinge": lambda f, y: (signs(y) * f < 1).astype(float),
    "cross_entropy": lambda f, y: 1 / (1 + np.exp(signs(y) * f)),
    "squared": lambda f, y: np.abs(signs(y) - f),
}


def linear(weight: Floats, bias: float = 0.3) -> HingeLinearModel:
    return HingeLinearModel(weight=np.asarray(weight, dtype=float), bias=np.float64(bias))


def binary(scores: Floats) -> Floats:
    return np.stack([-np.asarray(scores) / 2, np.asarray(scores) / 2], axis=-1)


def sizes(model: Model, x: Floats, y: Ints, loss_name: str, norm: str) -> Floats:
    return BALLS[norm].dual_size(loss_gradients(model, x, y, loss_name))


def test_every_measure_has_one_entry_and_is_a_curve_or_a_scalar() -> None:
    assert {*curves(), *scalars()} == set(MEASURES)
    assert not set(curves()) & set(scalars())
    assert all(measure.heading and measure.of in ("surrogate", "target", "pair") for measure in MEASURES.values())
    assert [f"perturbation_{norm}" for norm in BALLS] == [name for name in curves() if name.startswith("perturbation_l")]


@pytest.mark.parametrize("norm", BALLS)
@pytest.mark.parametrize("loss_name", LOSSES)
def test_size_of_gradients_of_a_linear_model_is_slope_times_dual_norm(loss_name: str, norm: str) -> None:
    model = linear(W)
    expected = SLOPES[loss_name](binary_score(model.logits(X)), Y) * DUAL[norm]
    # torch's softplus is the identity above 20: its slope there is off by at most exp(-20)
    np.testing.assert_allclose(sizes(model, X, Y, loss_name, norm), expected, rtol=3e-9, atol=1e-12)
    if loss_name == "hinge":
        assert 0 < (expected == 0).sum() < 30  # both sides of the kink are met


@pytest.fixture(scope="module", params=["rbf", "mlp", "rbf of 3", "mlp of 3"])
def curved(request: pytest.FixtureRequest) -> Model:
    x = np.random.default_rng(1).normal(size=(80, 4))
    y = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    many = request.param.endswith("3")
    y = np.where(many & (x[:, 2] > 0.5), 2, y)
    learner = RBFSVM(C=5, gamma=0.5) if request.param.startswith("rbf") else MLP(hidden=(8, 8), n_epochs=30)
    return learner.fit(x, y, n_classes=3 if many else 2, seed=0)


def numeric(value: Callable[[Floats], Floats]) -> Floats:
    """Gradients by central differences, ``(30, 4)``."""
    h = 1e-6
    return np.stack([(value(X + step) - value(X - step)) / (2 * h) for step in h * np.eye(4)], axis=1)


@pytest.mark.parametrize("norm", BALLS)
@pytest.mark.parametrize("loss_name", LOSSES)
def test_size_of_gradients_agrees_with_finite_differences_of_the_loss(curved: Model, loss_name: str, norm: str) -> None:
    found = numeric(lambda x: losses(curved.logits(x), Y, loss_name))
    largest, total = np.abs(found).max(1), np.abs(found).sum(1)
    expected = {"l0": largest, "l1": largest, "l2": np.sqrt((found**2).sum(1)), "linf": total}[norm]
    np.testing.assert_allclose(sizes(curved, X, Y, loss_name, norm), expected, rtol=1e-4, atol=1e-7)


def test_the_gradient_of_the_smooth_margin_has_the_cross_entropys_direction_and_length(curved: Model) -> None:
    """grad cross-entropy = -(1 - p_y) grad s."""
    found = numeric(lambda x: losses(curved.logits(x), Y, "cross_entropy"))
    slopes = cross_entropy_slopes(curved.logits(X), Y)
    np.testing.assert_allclose(-slopes[:, None] * margin_gradients(curved, X, Y), found, rtol=1e-4, atol=1e-7)


def test_the_gradient_of_the_smooth_margin_does_not_vanish_where_a_model_is_sure() -> None:
    """At margins of 60 the cross-entropy's is 1e-26 of it, and 0 in single precision."""
    from transfer_exp.learners.linear import LogisticLinearModel

    weight = np.array([[0.0, 0, 0, 0], [3, -4, 0, 12], [1, 2, 2, 0]])
    model = LogisticLinearModel(weight=weight, bias=np.array([-60.0, 0, -60]))
    x, y = np.zeros((2, 4)), np.array([1, 1])
    np.testing.assert_allclose(cross_entropy_slopes(model.logits(x), y), 2 * np.exp(-60), rtol=1e-9)
    expected = weight[1] - weight[[0, 2]].mean(0)  # the others are equally likely
    np.testing.assert_allclose(margin_gradients(model, x, y), [expected, expected], rtol=1e-12)


def test_of_two_classes_it_is_the_scores_gradient_up_to_sign() -> None:
    np.testing.assert_array_equal(margin_gradients(linear(W), X, Y), signs(Y)[:, None] * W)


def test_gradients_come_in_batches_that_do_not_show(curved: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = margin_gradients(curved, X, Y)
    monkeypatch.setattr(curved, "batch_size", 7)
    np.testing.assert_allclose(margin_gradients(curved, X, Y), whole, rtol=1e-12)
    assert whole.shape == X.shape


@pytest.mark.parametrize(
    ("other", "cosine"), [(W, 1.0), (-2 * W, -1.0), ([4, 3, 7, 0], 0.0), ([0, 0, 0, 5], 12 / 13), ([1, 1, 1, 1], 11 / 26)]
)
def test_alignment_of_linear_models_is_the_cosine_of_their_weights(other: Floats, cosine: float) -> None:
    first, second = (margin_gradients(linear(w), X, Y) for w in (W, other))
    np.testing.assert_allclose(gradient_alignment(first, second), np.full(30, cosine), atol=1e-12)


def test_alignment_is_symmetric_and_of_directions_alone() -> None:
    random = np.random.default_rng(2)
    first, second = random.normal(size=(2, 20, 6))
    value = gradient_alignment(first, second)
    np.testing.assert_allclose(gradient_alignment(second, first), value)
    np.testing.assert_allclose(gradient_alignment(1e-8 * first, 1e6 * second), value)
    assert (np.abs(value) <= 1 + 1e-12).all()


def test_alignment_with_no_gradient_is_undefined_and_counted() -> None:
    first = np.array([[1.0, 0], [0, 0], [1, 1], [0, 0]])
    second = np.array([[1.0, 0], [1, 0], [0, 0], [0, 0]])
    value = gradient_alignment(first, second)
    assert value[0] == 1
    assert np.isnan(value[1:]).all()
    assert mean_defined(value) == (1.0, 0.75)


def test_variability_by_hand() -> None:
    """Three training sets, three points: values 1, 2, 6 have mean 3 and mean square 41/3."""
    losses = np.array([[1.0, 5, 0], [2, 5, 0], [6, 5, 3]])
    np.testing.assert_allclose(loss_variability(losses), [41 / 3 - 9, 0, 3 - 1], atol=1e-12)


@pytest.mark.parametrize("factor", [0.1, 1.0, 1e-7, 300.0])
def test_proportional_perturbations_correlate_fully(factor: float) -> None:
    delta = np.random.default_rng(3).normal(size=(15, 9))
    np.testing.assert_allclose(perturbation_correlation(delta, factor * delta), 1, rtol=1e-12)
    np.testing.assert_allclose(perturbation_correlation(delta, -factor * delta), -1, rtol=1e-12)
    np.testing.assert_allclose(perturbation_correlation(delta, 0.5 - factor * delta), -1, rtol=1e-6)


def test_correlation_is_pearsons() -> None:
    first, second = np.random.default_rng(4).normal(size=(2, 10, 7))
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(perturbation_correlation(first, second), expected, rtol=1e-10)


@pytest.mark.parametrize("constant", [0.0, 0.5, 0.1, -1 / 3, 1e-9, 1e5 / 3])
@pytest.mark.parametrize("n_features", [3, 7, 64, 784])
def test_a_constant_perturbation_has_no_correlation_and_is_counted(constant: float, n_features: int) -> None:
    """Also where the mean of equal numbers is not that number, by rounding."""
    delta = np.random.default_rng(5).normal(size=(4, n_features))
    flat = delta.copy()
    flat[1] = constant
    for value in (perturbation_correlation(delta, flat), perturbation_correlation(flat, delta)):
        assert np.isnan(value).tolist() == [False, True, False, False]
        mean, undefined = mean_defined(value)
        assert (mean, undefined) == (pytest.approx(1), 0.25)


def test_means_of_nothing_are_undefined() -> None:
    mean, undefined = mean_defined(np.full(3, np.nan))
    assert math.isnan(mean)
    assert undefined == 1
    assert mean_defined(np.array([1.0, 2.0])) == (1.5, 0)


def test_error_counts_all_points_and_success_those_that_were_right() -> None:
    y = np.array([1, 1, 1, 0, 0])
    clean = binary([2.0, 1.0, -1.0, -2.0, 3.0])  # right, right, wrong, right, wrong
    attacked = binary([-1.0, 1.0, -1.0, 4.0, -3.0])  # wrong, right, wrong, wrong, right
    assert error(clean, y) == 2 / 5
    assert error(attacked, y) == 3 / 5
    assert success(attacked, clean, y) == 2 / 3
    assert success(clean, clean, y) == 0


def test_with_a_goal_only_its_class_is_a_success() -> None:
    """Four points of class 0, the last wrong before; goals 1, 1, 2, 2; taken for 1, 2, 2, 2."""
    y, goals = np.zeros(4, dtype=np.int64), np.array([1, 1, 2, 2])
    clean, attacked = np.eye(3)[[0, 0, 0, 1]], np.eye(3)[[1, 2, 2, 2]]
    assert targeted_success(attacked, clean, y, goals) == 2 / 3
    assert success(attacked, clean, y) == 1
    assert math.isnan(targeted_success(attacked, attacked, y, goals))


def test_confusion_by_hand() -> None:
    """Rows are the classes, columns what they are taken for; a tie goes to the lower class."""
    logits = np.array([[1.0, 0, 0], [0, 2, 1], [0, 0, 1], [3, 0, 9], [5, 5, 0]])
    assert confusion(logits, np.array([0, 0, 2, 1, 1])).tolist() == [[1, 1, 0], [1, 0, 1], [0, 0, 1]]


def test_success_is_undefined_where_nothing_was_right() -> None:
    logits, y = binary([1.0, -1.0]), np.array([0, 1])
    assert math.isnan(success(logits, logits, y))
    assert error(logits, y) == 1


def test_a_score_of_0_is_no_sign_of_class_1() -> None:
    assert predict(binary([0.0, -0.0, 5e-323, -5e-323])).tolist() == [0, 0, 1, 0]
    assert error(binary(np.zeros(4)), np.array([1, 0, 1, 0])) == 0.5


def test_losses_keep_the_shape_of_several_training_sets() -> None:
    scores, y = np.array([[0.0, 2.0, -1.0], [1.0, 0.5, 3.0]]), np.array([1, 0, 0])
    np.testing.assert_allclose(losses(binary(scores), y, "hinge"), [[1, 3, 0], [0, 1.5, 4]])


def test_losses_of_many_classes_by_hand() -> None:
    """One-vs-rest losses are sums over the classes."""
    logits, y = np.array([[2.0, -0.5, 0.5]]), np.array([0])
    np.testing.assert_allclose(losses(logits, y, "hinge"), [0 + 0.5 + 1.5])
    np.testing.assert_allclose(losses(logits, y, "squared"), [0.5 * (1 + 0.25 + 2.25)])
    np.testing.assert_allclose(losses(logits, y, "cross_entropy"), [np.log(np.exp(logits).sum()) - 2])
