"""Learners against the libraries they stand on, against finite differences, and against their own state."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as RidgeRegression
from sklearn.svm import SVC

from transfer_exp.learners import LOSSES, MLP, RBFSVM, Forest, Learner, LinearSVM, Logistic, Ridge
from transfer_exp.measures import score_gradients
from transfer_exp.signature import signature
from transfer_exp.types import Floats, Ints, UserError

SEED = 5


@pytest.fixture(scope="module")
def points() -> tuple[Floats, Ints]:
    """Two overlapping classes: every learner has to bend, no SVM is separable."""
    random = np.random.default_rng(0)
    x = random.random((120, 7))
    y = np.where(x[:, 0] + 0.7 * np.sin(6 * x[:, 1]) + 0.3 * random.normal(size=120) > 0.7, 1, -1)
    return x, y


def forest_score(forest: Any, x: Floats) -> Floats:
    return np.asarray(2 * forest.predict_proba(x)[:, 1] - 1)


CASES: dict[str, tuple[Learner, Any, Callable[[Any, Floats], Floats]]] = {
    "svm": (LinearSVM(C=3), SVC(kernel="linear", C=3), lambda e, x: e.decision_function(x)),
    "rbf": (RBFSVM(C=5, gamma=0.8), SVC(kernel="rbf", C=5, gamma=0.8), lambda e, x: e.decision_function(x)),
    "logistic": (
        Logistic(C=2),
        LogisticRegression(C=2, tol=1e-5, max_iter=20_000),
        lambda e, x: e.decision_function(x),
    ),
    "ridge": (Ridge(alpha=0.4), RidgeRegression(alpha=0.4), lambda e, x: e.predict(x)),
    "forest": (Forest(n_trees=11), RandomForestClassifier(11, random_state=SEED), forest_score),
    "forest of depth 3": (
        Forest(n_trees=11, max_depth=3),
        RandomForestClassifier(11, max_depth=3, random_state=SEED),
        forest_score,
    ),
}
ALL: dict[str, Learner] = {
    **{name: case[0] for name, case in CASES.items()},
    "mlp": MLP(hidden=(9, 5), n_epochs=5),
}


@pytest.mark.parametrize("name", CASES)
def test_scores_are_those_of_scikit_learn(name: str, points: tuple[Floats, Ints]) -> None:
    x, y = points
    learner, estimator, score = CASES[name]
    others = np.random.default_rng(1).normal(0.5, 1, (50, 7))
    model = learner.fit(x, y, seed=SEED)
    estimator.fit(x, y)
    for z in (x, others):
        np.testing.assert_allclose(model.scores(z), score(estimator, z), rtol=1e-9, atol=1e-12)


def test_an_rbf_svm_sees_features_that_were_zero_in_training(points: tuple[Floats, Ints]) -> None:
    """Support vectors are kept without them, points are not: their distance counts, and its gradient points away."""
    x, y = points
    x = np.insert(x, [2, 5], 0.0, axis=1)
    model = CASES["rbf"][0].fit(x, y, seed=SEED)
    others = np.random.default_rng(1).normal(0.5, 1, (50, 9))
    expected = CASES["rbf"][1].fit(x, y).decision_function
    np.testing.assert_allclose(model.scores(others), expected(others), rtol=1e-9, atol=1e-12)
    step = np.zeros(9)
    step[2] = 1e-5
    slopes = (expected(others + step) - expected(others - step)) / 2e-5
    np.testing.assert_allclose(score_gradients(model, others)[:, 2], slopes, rtol=1e-5, atol=1e-8)


def test_a_forest_decides_ties_at_its_thresholds_as_scikit_learn_does() -> None:
    """Grid points lie on no threshold but beside many; thresholds themselves are the hard case."""
    random = np.random.default_rng(0)
    x = random.integers(0, 17, (200, 4)) / 16
    y = np.where(random.random(200) < x.mean(1), 1, -1)
    model = Forest(n_trees=7).fit(x, y, seed=SEED)
    forest = RandomForestClassifier(7, random_state=SEED).fit(x, y)
    thresholds = np.concatenate([e.tree_.threshold[e.tree_.feature >= 0] for e in forest.estimators_])
    edge = random.choice(thresholds, (300, 4)) + random.choice([-1e-9, 0, 1e-9], (300, 4))
    np.testing.assert_allclose(model.scores(edge), forest_score(forest, edge), atol=1e-14)


def test_a_forest_that_learned_nothing_is_one_leaf() -> None:
    x, y = np.zeros((10, 2)), np.repeat([-1, 1], 5)
    scores = Forest(n_trees=3).fit(x, y, seed=0).scores(np.ones((4, 2)))
    assert len(set(scores)) == 1
    assert -1 <= scores[0] <= 1


@pytest.mark.parametrize("name", [name for name, learner in ALL.items() if learner.model_type.differentiable])
def test_input_gradients_agree_with_finite_differences(name: str, points: tuple[Floats, Ints]) -> None:
    x, y = points
    model = ALL[name].fit(x, y, seed=SEED)
    z, h = np.random.default_rng(2).random((20, 7)), 1e-6
    gradients = score_gradients(model, z)
    for k in range(7):
        step = h * np.eye(7)[k]
        numeric = (model.scores(z + step) - model.scores(z - step)) / (2 * h)
        np.testing.assert_allclose(gradients[:, k], numeric, rtol=1e-5, atol=1e-7 * np.abs(gradients).max())


@pytest.mark.parametrize("name", ALL)
def test_a_restored_model_gives_the_same_scores_to_the_last_bit(name: str, points: tuple[Floats, Ints]) -> None:
    x, y = points
    model = ALL[name].fit(x, y, seed=SEED)
    state = model.state()
    assert all(isinstance(array, np.ndarray) and array.dtype != object for array in state.values())
    again = ALL[name].restore(state)
    assert again.scores(x).tobytes() == model.scores(x).tobytes()
    assert again.differentiable == model.differentiable
    assert again.loss_name == model.loss_name


@pytest.mark.parametrize("name", ALL)
def test_a_fit_is_repeatable_and_leaves_its_data_alone(name: str, points: tuple[Floats, Ints]) -> None:
    x, y = points[0].copy(), points[1].copy()
    first = ALL[name].fit(x, y, seed=SEED).scores(points[0])
    torch.rand(3)  # the state of the global generators plays no part
    second = ALL[name].fit(x, y, seed=SEED).scores(points[0])
    assert first.tobytes() == second.tobytes()
    assert np.array_equal(x, points[0])
    assert np.array_equal(y, points[1])


@pytest.mark.parametrize("name", ALL)
def test_the_name_is_no_part_of_the_signature_and_every_hyperparameter_is(name: str) -> None:
    learner = ALL[name]
    assert signature(learner=dataclasses.replace(learner, name="other")) == signature(learner=learner)
    for option in dataclasses.fields(learner):
        if option.name == "name":
            continue
        value = getattr(learner, option.name)
        texts = {"hidden": (3,), "scale": "minmax"}
        other = texts[option.name] if option.name in texts else 2 * value + 1 if value is not None else 4
        assert signature(learner=dataclasses.replace(learner, **{option.name: other})) != signature(learner=learner)


def test_learners_of_one_hyperparameter_are_told_apart() -> None:
    assert signature(learner=LinearSVM(C=1, tolerance=1e-5)) != signature(learner=Logistic(C=1, tolerance=1e-5))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinearSVM(C=0), "LinearSVM.C: expected a number above 0, got 0"),
        (lambda: LinearSVM(C=1, tolerance=-1), "LinearSVM.tolerance: expected a number above 0, got -1"),
        (lambda: LinearSVM(C=math.nan), "LinearSVM.C: expected a number above 0, got nan"),
        (lambda: RBFSVM(C=-1, gamma=1, name="rbf_low"), "rbf_low.C: expected a number above 0, got -1"),
        (lambda: RBFSVM(C=1, gamma=0), "RBFSVM.gamma: expected a number above 0, got 0"),
        (lambda: Logistic(C=0), "Logistic.C: expected a number above 0, got 0"),
        (lambda: Ridge(alpha=0), "Ridge.alpha: expected a number above 0, got 0"),
        (lambda: Forest(n_trees=0), "Forest.n_trees: expected a number above 0, got 0"),
        (lambda: Forest(max_depth=0), "Forest.max_depth: expected a number above 0, got 0"),
        (lambda: MLP(n_epochs=0), "MLP.n_epochs: expected a number above 0, got 0"),
        (lambda: MLP(batch_size=0), "MLP.batch_size: expected a number above 0, got 0"),
        (lambda: MLP(learning_rate=0), "MLP.learning_rate: expected a number above 0, got 0"),
        (lambda: MLP(weight_decay=-1), "MLP: expected weight_decay >= 0 and .* got weight_decay=-1"),
        (lambda: MLP(weight_decay=math.nan), "MLP: expected weight_decay >= 0 and .* got weight_decay=nan"),
        (lambda: MLP(hidden=()), r"at least one hidden layer .* hidden=\[\]"),
        (lambda: MLP(hidden=(5, 0)), r"at least one unit, .* hidden=\[5, 0\]"),
    ],
)
def test_bad_hyperparameters_are_refused_by_name(make: Callable[[], Learner], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


# loss: (score, label, value), by hand.
BY_HAND = {
    "hinge": [(0, 1, 1), (0.25, 1, 0.75), (1, 1, 0), (3, 1, 0), (-2, 1, 3), (2, -1, 3), (-4, -1, 0)],
    "logistic": [(0, 1, math.log(2)), (0, -1, math.log(2)), (math.log(3), 1, math.log(4 / 3)), (800, -1, 800), (800, 1, 0)],
    "squared": [(0, 1, 0.5), (1, 1, 0), (-1, 1, 2), (3, -1, 8), (-1, -1, 0)],
}


def test_every_loss_is_checked_by_hand() -> None:
    assert set(BY_HAND) == set(LOSSES)


@pytest.mark.parametrize(
    ("name", "score", "y", "value"), [(name, *case) for name, cases in BY_HAND.items() for case in cases]
)
def test_losses_by_hand(name: str, score: float, y: float, value: float) -> None:
    loss = LOSSES[name](torch.tensor([score], dtype=torch.float64), torch.tensor([y], dtype=torch.float64))
    assert loss.item() == pytest.approx(value, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_have_the_derivatives_that_finite_differences_show(name: str) -> None:
    score = torch.tensor([-2.3, -0.4, 0.0, 0.7, 1.9]).double().repeat(2).requires_grad_()  # none on the hinge's kink
    y = torch.tensor([1.0, -1.0]).double().repeat_interleave(5)
    assert torch.autograd.gradcheck(lambda s: LOSSES[name](s, y), (score,))


def blobs(gap: float) -> tuple[Floats, Ints]:
    random = np.random.default_rng(3)
    y = np.repeat([-1, 1], 60)
    return random.normal(0, 0.3, (120, 5)) + gap / 2 * y[:, None], y


def weights(learner: MLP, seed: int) -> Floats:
    state = learner.fit(*blobs(0.5), seed=seed).state()
    return np.concatenate([array.ravel() for name, array in state.items() if name.startswith("weight")])


def test_an_mlp_learns_a_separable_problem() -> None:
    x, y = blobs(2.0)
    scores = MLP(hidden=(10, 10), n_epochs=40).fit(x, y, seed=0).scores(x)
    assert (np.sign(scores) == y).all()


def test_an_mlp_learns_what_no_linear_learner_can() -> None:
    x = np.random.default_rng(4).uniform(-1, 1, (400, 2))
    y = np.where(x[:, 0] * x[:, 1] > 0, 1, -1)
    assert (np.sign(Ridge(alpha=1).fit(x, y, seed=0).scores(x)) == y).mean() < 0.65
    scores = MLP(hidden=(20, 20), n_epochs=60, learning_rate=1e-2).fit(x, y, seed=0).scores(x)
    assert (np.sign(scores) == y).mean() > 0.95


def test_an_mlp_is_a_function_of_its_seed() -> None:
    learner = MLP(hidden=(10, 10), n_epochs=3)
    assert np.array_equal(weights(learner, 0), weights(learner, 0))
    assert not np.allclose(weights(learner, 0), weights(learner, 1))


def test_weight_decay_shrinks_the_weights_of_an_mlp() -> None:
    sizes = [np.linalg.norm(weights(MLP(hidden=(10, 10), weight_decay=decay, n_epochs=60), 0)) for decay in (0, 0.01, 0.1)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[2] < 0.5 * sizes[0]


def test_weight_decay_leaves_the_biases_of_an_mlp() -> None:
    """On a problem of one class the biases alone can carry the score: strong decay takes the weights, not the answer."""
    x = np.random.default_rng(5).normal(size=(60, 3))
    learner = MLP(hidden=(4,), weight_decay=10.0, n_epochs=300, learning_rate=1e-2)
    model = learner.fit(x, np.ones(60, dtype=np.int64), seed=0)
    state = model.state()
    assert max(np.abs(state[f"weight_{k}"]).max() for k in range(2)) < 0.05
    assert model.scores(x).min() > 2


def test_dead_weights_of_an_mlp_end_as_zeros_and_denormals_are_left_as_they_were() -> None:
    """Dead weights decay by a constant factor per step: products of them would be denormal in single precision."""
    x, y = blobs(2.0)
    learner = MLP(hidden=(10, 10), weight_decay=0.1, n_epochs=300, learning_rate=1e-2)
    state = learner.fit(np.c_[x, np.zeros((len(x), 3))], y, seed=0).state()
    assert not state["weight_0"][:, 5:].any()
    assert state["weight_0"][:, :5].any(axis=0).all()
    for weight in (state[f"weight_{k}"] for k in range(3)):
        least = np.abs(weight[weight != 0]).min().astype(np.float32)
        assert least * least >= np.finfo(np.float32).tiny
    assert float(torch.tensor(5e-324, dtype=torch.float64) * 1) > 0
