"""Learners against the libraries they stand on, against finite differences, and against their own state."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import SVC
from torch.autograd.profiler import profile

from transfer_exp.learners import LOSSES, MLP, RBFSVM, Forest, Learner, LinearSVM, Logistic, Model, Ridge
from transfer_exp.learners.mlp import Perceptron
from transfer_exp.learners.training_loss import point_losses
from transfer_exp.signature import signature
from transfer_exp.types import Floats, Ints, UserError

SEED = 5
CLASSES = (2, 3)


def problem(n_classes: int) -> tuple[Floats, Ints]:
    """Overlapping classes of equal size: every learner has to bend, no SVM is separable."""
    random = np.random.default_rng(0)
    x = random.random((120, 7))
    height = x[:, 0] + 0.7 * np.sin(6 * x[:, 1]) + 0.3 * random.normal(size=120)
    return x, np.digitize(height, np.quantile(height, np.arange(1, n_classes) / n_classes))


def fit(learner: Learner, n_classes: int) -> Model:
    return learner.fit(*problem(n_classes), n_classes=n_classes, seed=SEED)


def score(logits: Floats) -> Floats:
    return np.asarray(logits[:, 1] - logits[:, 0])


def decision(estimator: Any, x: Floats) -> Floats:
    """Logits of a scikit-learn classifier: of two classes it gives the score."""
    found = np.asarray(estimator.decision_function(x))
    return np.stack([-found / 2, found / 2], axis=1) if found.ndim == 1 else found


def shares(forest: Any, x: Floats) -> Floats:
    share = np.asarray(forest.predict_proba(x))
    return share - 0.5 if share.shape[1] == 2 else share


def against_rest(svc: SVC) -> Any:
    return OneVsRestClassifier(svc)


Logits = Callable[[Any, Floats], Floats]
CASES: dict[str, tuple[Learner, Any, Logits]] = {
    "svm": (LinearSVM(C=3), against_rest(SVC(kernel="linear", C=3)), decision),
    "rbf": (RBFSVM(C=5, gamma=0.8), against_rest(SVC(kernel="rbf", C=5, gamma=0.8)), decision),
    "logistic": (Logistic(C=2), LogisticRegression(C=2, tol=1e-5, max_iter=20_000), decision),
    "ridge": (Ridge(alpha=0.4), RidgeClassifier(alpha=0.4), decision),
    "forest": (Forest(n_trees=11), RandomForestClassifier(11, random_state=SEED), shares),
    "forest of depth 3": (
        Forest(n_trees=11, max_depth=3),
        RandomForestClassifier(11, max_depth=3, random_state=SEED),
        shares,
    ),
}
ALL: dict[str, Learner] = {
    **{name: case[0] for name, case in CASES.items()},
    "mlp": MLP(hidden=(9, 5), n_epochs=5),
}


@pytest.mark.parametrize("n_classes", [2, 3, 5])
@pytest.mark.parametrize("name", CASES)
def test_logits_are_those_of_scikit_learn(name: str, n_classes: int) -> None:
    x, y = problem(n_classes)
    learner, estimator, logits = CASES[name]
    others = np.random.default_rng(1).normal(0.5, 1, (50, 7))
    model = learner.fit(x, y, n_classes=n_classes, seed=SEED)
    estimator.fit(x, y)
    assert model.n_classes == n_classes
    for z in (x, others):
        np.testing.assert_allclose(model.logits(z), logits(estimator, z), rtol=1e-8, atol=1e-11)


def test_probabilities_of_logistic_regression_are_those_of_scikit_learn() -> None:
    x, y = problem(4)
    model = Logistic(C=2, tolerance=1e-8).fit(x, y, n_classes=4, seed=SEED)
    expected = LogisticRegression(C=2, tol=1e-8, max_iter=20_000).fit(x, y).predict_proba(x)
    np.testing.assert_allclose(softmax(model.logits(x), axis=1), expected, rtol=1e-9)


def test_multinomial_logistic_regression_is_at_its_optimum() -> None:
    """W + C sum_i (p_i - e_{y_i}) x_i^T = 0, and the same for the biases without W."""
    x, y = problem(3)
    model = Logistic(C=2, tolerance=1e-9).fit(x, y, n_classes=3, seed=SEED)
    wrong = softmax(model.logits(x), axis=1) - np.eye(3)[y]
    np.testing.assert_allclose(model.state()["weight"] + 2 * wrong.T @ x, 0, atol=1e-4)
    np.testing.assert_allclose(wrong.sum(0), 0, atol=1e-4)


@pytest.mark.parametrize("kind", [LinearSVM, RBFSVM])
@pytest.mark.parametrize("n_classes", CLASSES)
def test_svms_are_the_same_with_and_without_a_shared_kernel_matrix(
    kind: Any, n_classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To libsvm's tolerance: kernel values of one matrix product and of inner products differ by rounding."""
    learner = kind(C=1, tolerance=1e-5, **({"gamma": 0.8} if kind is RBFSVM else {}))
    x, y = problem(n_classes)
    shared = learner.fit(x, y, n_classes=n_classes, seed=0)
    monkeypatch.setattr("transfer_exp.learners.svm.GRAM_POINTS", len(x) - 1)
    np.testing.assert_allclose(learner.fit(x, y, n_classes=n_classes, seed=0).logits(x), shared.logits(x), atol=1e-4)


def test_an_rbf_svm_of_ten_classes_needs_one_kernel_product() -> None:
    x, y = np.random.default_rng(0).random((300, 20)), np.arange(300) % 10
    model = RBFSVM(C=1, gamma=0.5).fit(x, y, n_classes=10, seed=0)
    n_support = len(model.state()["support"])
    with profile(record_shapes=True) as done:
        model(torch.tensor(x))
    assert [event.input_shapes[0] for event in done.function_events if event.name == "aten::exp"] == [[len(x), n_support]]


@pytest.mark.parametrize("name", ALL)
def test_logits_of_two_classes_are_minus_and_plus_half_the_score(name: str) -> None:
    x, model = problem(2)[0], fit(ALL[name], 2)
    outputs = model.outputs(torch.tensor(x)).numpy()
    assert outputs.shape == (len(x),)
    assert model.logits(x).tobytes() == np.stack([-outputs / 2, outputs / 2], axis=1).tobytes()
    assert score(model.logits(x)).tobytes() == outputs.tobytes()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("n_classes", CLASSES)
def test_the_largest_logit_is_mostly_that_of_the_class(name: str, n_classes: int) -> None:
    learner = dataclasses.replace(ALL[name], n_epochs=80) if name == "mlp" else ALL[name]
    x, y = problem(n_classes)
    assert (fit(learner, n_classes).logits(x).argmax(1) == y).mean() > 1.5 / n_classes


def test_an_rbf_svm_sees_features_that_were_zero_in_training() -> None:
    """Support vectors are kept without them, points are not: their distance counts, and its gradient points away."""
    x, y = problem(3)
    x = np.insert(x, [2, 5], 0.0, axis=1)
    model = CASES["rbf"][0].fit(x, y, n_classes=3, seed=SEED)
    others = np.random.default_rng(1).normal(0.5, 1, (50, 9))
    expected = CASES["rbf"][1].fit(x, y).decision_function
    np.testing.assert_allclose(model.logits(others), expected(others), rtol=1e-8, atol=1e-11)
    step = np.zeros(9)
    step[2] = 1e-5
    slopes = (expected(others + step) - expected(others - step)) / 2e-5
    np.testing.assert_allclose(gradients(model, others)[:, :, 2], slopes, rtol=1e-5, atol=1e-8)


def gradients(model: Model, x: Floats) -> Floats:
    """Input gradients ``(n, K, d)`` of all logits."""
    points = torch.tensor(x, requires_grad=True)
    logits = model(points)
    parts = [torch.autograd.grad(one.sum(), points, retain_graph=True)[0].numpy() for one in logits.unbind(1)]
    return np.stack(parts, axis=1)


@pytest.mark.parametrize("n_classes", CLASSES)
def test_a_forest_decides_ties_at_its_thresholds_as_scikit_learn_does(n_classes: int) -> None:
    """Grid points lie on no threshold but beside many; thresholds themselves are the hard case."""
    random = np.random.default_rng(0)
    x = random.integers(0, 17, (200, 4)) / 16
    y = np.minimum((n_classes * random.random(200) * x.mean(1) * 2).astype(np.int64), n_classes - 1)
    model = Forest(n_trees=7).fit(x, y, n_classes=n_classes, seed=SEED)
    forest = RandomForestClassifier(7, random_state=SEED).fit(x, y)
    thresholds = np.concatenate([e.tree_.threshold[e.tree_.feature >= 0] for e in forest.estimators_])
    edge = random.choice(thresholds, (300, 4)) + random.choice([-1e-9, 0, 1e-9], (300, 4))
    np.testing.assert_allclose(model.logits(edge), shares(forest, edge), atol=1e-14)


def test_a_forest_that_learned_nothing_is_one_leaf() -> None:
    x, y = np.zeros((10, 2)), np.repeat([0, 1], 5)
    scores = score(Forest(n_trees=3).fit(x, y, n_classes=2, seed=0).logits(np.ones((4, 2))))
    assert len(set(scores)) == 1
    assert -1 <= scores[0] <= 1


@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("name", [name for name, learner in ALL.items() if learner.model_type.differentiable])
def test_input_gradients_of_every_logit_agree_with_finite_differences(name: str, n_classes: int) -> None:
    model = fit(ALL[name], n_classes)
    z, h = np.random.default_rng(2).random((20, 7)), 1e-6
    found = gradients(model, z)
    for k in range(7):
        step = h * np.eye(7)[k]
        numeric = (model.logits(z + step) - model.logits(z - step)) / (2 * h)
        np.testing.assert_allclose(found[:, :, k], numeric, rtol=1e-5, atol=1e-7 * np.abs(found).max())


@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("name", ALL)
def test_a_restored_model_gives_the_same_logits_to_the_last_bit(name: str, n_classes: int) -> None:
    x, model = problem(n_classes)[0], fit(ALL[name], n_classes)
    state = model.state()
    assert all(isinstance(array, np.ndarray) and array.dtype != object for array in state.values())
    again = ALL[name].restore(state)
    assert again.logits(x).tobytes() == model.logits(x).tobytes()
    assert again.n_classes == n_classes
    assert again.differentiable == model.differentiable
    assert again.loss_name == model.loss_name


@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("name", ALL)
def test_a_fit_is_repeatable_and_leaves_its_data_alone(name: str, n_classes: int) -> None:
    (x, y), given = problem(n_classes), problem(n_classes)
    first = ALL[name].fit(*given, n_classes=n_classes, seed=SEED).logits(x)
    torch.rand(3)  # the state of the global generators plays no part
    second = ALL[name].fit(*given, n_classes=n_classes, seed=SEED).logits(x)
    assert first.tobytes() == second.tobytes()
    assert np.array_equal(x, given[0])
    assert np.array_equal(y, given[1])


@pytest.mark.parametrize("n_classes", CLASSES)
def test_landmarks_of_an_rbf_svm_are_its_support_vectors_with_their_classes(n_classes: int) -> None:
    x, y = problem(n_classes)
    x[:, 3] = 0
    found = RBFSVM(C=5, gamma=0.8).fit(x, y, n_classes=n_classes, seed=0).landmarks(7)
    assert found is not None
    centres, classes = (part.numpy() for part in found)
    rows = np.abs(x[None] - centres[:, None]).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(centres, x[rows])
    np.testing.assert_array_equal(classes, y[rows])
    assert set(classes) == set(range(n_classes))


@pytest.mark.parametrize("learner", ALL.values(), ids=ALL)
def test_a_class_without_points_and_other_labels_are_refused(learner: Learner) -> None:
    x, y = problem(3)
    with pytest.raises(UserError, match="expected training points of each of 3 classes, got none of class 1; "):
        learner.fit(x[y != 1], y[y != 1], n_classes=3, seed=0)
    with pytest.raises(UserError, match="expected labels from 0 to 1, got 2"):
        learner.fit(x, y, n_classes=2, seed=0)
    with pytest.raises(UserError, match="expected labels from 0 to 1, got -1"):
        learner.fit(x, np.where(y > 0, 1, -1), n_classes=2, seed=0)


def test_every_learner_says_its_family_and_whether_it_can_be_retrained() -> None:
    said = {type(learner).__name__: (learner.family, learner.retrainable) for learner in ALL.values()}
    assert said == {
        "LinearSVM": ("svm", True),
        "RBFSVM": ("rbf", True),
        "Logistic": ("logistic", True),
        "Ridge": ("ridge", True),
        "MLP": ("mlp", True),
        "Forest": ("forest", False),
    }


@pytest.mark.parametrize("name", ALL)
def test_name_and_complexity_are_no_part_of_the_signature_and_every_hyperparameter_is(name: str) -> None:
    learner = ALL[name]
    assert signature(learner=dataclasses.replace(learner, name="other", complexity="low")) == signature(learner=learner)
    for option in dataclasses.fields(learner):
        if option.name in ("name", "complexity") or not option.init:
            continue
        value = getattr(learner, option.name)
        off = 1 if isinstance(value, int) else 0.5
        texts = {"hidden": (3,), "scale": "minmax", "schedule": "cosine", "adversarial_norm": "l2"}
        listed = texts.get(option.name)
        other = listed or (not value if isinstance(value, bool) else 2 * value + 1 if value else off if value == 0 else 4)
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
        (lambda: Ridge(alpha=1, complexity="middle"), "Ridge.complexity: expected high, low or null, got middle"),
        (lambda: MLP(n_epochs=0), "MLP.n_epochs: expected a number above 0, got 0"),
        (lambda: MLP(batch_size=0), "MLP.batch_size: expected a number above 0, got 0"),
        (lambda: MLP(learning_rate=0), "MLP.learning_rate: expected a number above 0, got 0"),
        (lambda: MLP(weight_decay=-1), "MLP.weight_decay: expected a number >= 0, got -1"),
        (lambda: MLP(weight_decay=math.nan), "MLP.weight_decay: expected a number >= 0, got nan"),
        (lambda: MLP(hidden=()), r"MLP.hidden: expected at least one hidden layer .* got \[\]"),
        (lambda: MLP(hidden=(5, 0)), r"at least one unit, got \[5, 0\]"),
    ],
)
def test_bad_hyperparameters_are_refused_by_name(make: Callable[[], Learner], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


# loss: (logits, class, value), by hand. Of two classes the losses are those of the score z_1 - z_0.
LOG2 = math.log(2)
BY_HAND = {
    "hinge": [
        *(([0, f], 1, value) for f, value in ((0, 1), (0.25, 0.75), (1, 0), (3, 0), (-2, 3))),
        *(([-f / 2, f / 2], 0, value) for f, value in ((2, 3), (-4, 0))),
        ([2, -0.5, 0.25], 0, 0 + 0.5 + 1.25),
        ([2, -0.5, 0.25], 1, 3 + 1.5 + 1.25),
    ],
    "cross_entropy": [
        *(([0, f], 1, value) for f, value in ((0, LOG2), (math.log(3), math.log(4 / 3)), (800, 0), (-800, 800))),
        *(([-f / 2, f / 2], 0, value) for f, value in ((0, LOG2), (800, 800))),
        ([0, math.log(2), 0], 1, LOG2),
        ([0, math.log(2), 0], 2, math.log(4)),
        ([0, 800, 0], 0, 800),
    ],
    "squared": [
        *(([0, f], 1, value) for f, value in ((0, 0.5), (1, 0), (-1, 2))),
        *(([-f / 2, f / 2], 0, value) for f, value in ((3, 8), (-1, 0))),
        ([1, -1, 3], 0, 0 + 0 + 8),
        ([1, -1, 3], 2, 2 + 0 + 2),
    ],
}


def test_every_loss_is_checked_by_hand() -> None:
    assert set(BY_HAND) == set(LOSSES)


@pytest.mark.parametrize(
    ("name", "logits", "y", "value"), [(name, *case) for name, cases in BY_HAND.items() for case in cases]
)
def test_losses_by_hand(name: str, logits: list[float], y: int, value: float) -> None:
    loss = LOSSES[name](torch.tensor([logits], dtype=torch.float64), torch.tensor([y]))
    assert loss.shape == (1,)
    assert loss.item() == pytest.approx(value, rel=1e-12, abs=1e-12)


def test_cross_entropy_is_scipys_and_small_values_are_not_lost() -> None:
    logits = np.random.default_rng(0).normal(0, 5, (6, 40, 4))
    y = np.arange(40) % 4
    found = LOSSES["cross_entropy"](torch.tensor(logits), torch.tensor(y)).numpy()  # (6, 40) and (40,): broadcast
    np.testing.assert_allclose(found, -log_softmax(logits, axis=-1)[:, np.arange(40), y], rtol=1e-9, atol=1e-14)
    sure = LOSSES["cross_entropy"](torch.tensor([[60.0, 0, 0]]).double(), torch.tensor([0]))
    assert sure.item() == pytest.approx(2 * math.exp(-60), rel=1e-9)


@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("name", LOSSES)
def test_losses_have_the_derivatives_that_finite_differences_show(name: str, n_classes: int) -> None:
    z = torch.tensor([-2.3, -0.4, 0.0, 0.7, 1.9]).double().repeat(n_classes)  # none on the hinge's kink
    y = torch.arange(n_classes).repeat_interleave(5)
    logits = torch.stack([z, *(0.3 * z + 0.4 * k for k in range(1, n_classes))], dim=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: LOSSES[name](s, y), (logits,))


def blobs(gap: float) -> tuple[Floats, Ints]:
    random = np.random.default_rng(3)
    y = np.repeat([0, 1], 60)
    return random.normal(0, 0.3, (120, 5)) + gap * (y[:, None] - 0.5), y


def weights(learner: MLP, seed: int) -> Floats:
    state = learner.fit(*blobs(0.5), n_classes=2, seed=seed).state()
    return np.concatenate([array.ravel() for name, array in state.items() if name.startswith("network.weight")])


def test_an_mlp_learns_a_separable_problem() -> None:
    x, y = blobs(2.0)
    logits = MLP(hidden=(10, 10), n_epochs=40).fit(x, y, n_classes=2, seed=0).logits(x)
    assert (logits.argmax(1) == y).all()


def test_an_mlp_learns_three_rings_that_no_linear_learner_can() -> None:
    x = np.random.default_rng(4).uniform(-1, 1, (600, 2))
    y = np.digitize(np.hypot(*x.T), [0.5, 0.8])
    model = MLP(hidden=(20, 20), n_epochs=60, learning_rate=1e-2).fit(x, y, n_classes=3, seed=0)
    assert (model.logits(x).argmax(1) == y).mean() > 0.93
    assert (Logistic(C=1).fit(x, y, n_classes=3, seed=0).logits(x).argmax(1) == y).mean() < 0.6


@pytest.mark.parametrize("n_classes", CLASSES)
def test_the_training_loss_of_an_mlp_is_the_mean_cross_entropy_with_its_gradient(n_classes: int) -> None:
    x, y = problem(n_classes)
    random, n_outputs = np.random.default_rng(1), 1 if n_classes == 2 else n_classes
    arrays = [random.normal(0, 0.5, shape) for shape in ((6, 7), (6,), (n_outputs, 6), (n_outputs,))]
    labels = torch.tensor(2.0 * y - 1) if n_classes == 2 else torch.tensor(y)

    def loss(*tensors: torch.Tensor) -> torch.Tensor:
        named = dict(zip(("weight_0", "bias_0", "weight_1", "bias_1"), tensors, strict=True))
        outputs = torch.func.functional_call(Perceptron([7, 6, n_outputs]).double(), named, torch.tensor(x))
        return point_losses(outputs[:, 0] if n_classes == 2 else outputs, labels).mean()

    outputs = np.maximum(x @ arrays[0].T + arrays[1], 0) @ arrays[2].T + arrays[3]
    logits = np.hstack([-outputs / 2, outputs / 2]) if n_classes == 2 else outputs
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    assert loss(*tensors).item() == pytest.approx(-log_softmax(logits, axis=1)[np.arange(len(y)), y].mean(), rel=1e-9)
    assert torch.autograd.gradcheck(loss, tensors)


def test_an_mlp_learns_what_no_linear_learner_can() -> None:
    x = np.random.default_rng(4).uniform(-1, 1, (400, 2))
    y = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    assert (Ridge(alpha=1).fit(x, y, n_classes=2, seed=0).logits(x).argmax(1) == y).mean() < 0.65
    logits = MLP(hidden=(20, 20), n_epochs=60, learning_rate=1e-2).fit(x, y, n_classes=2, seed=0).logits(x)
    assert (logits.argmax(1) == y).mean() > 0.95


def test_an_mlp_is_a_function_of_its_seed() -> None:
    learner = MLP(hidden=(10, 10), n_epochs=3)
    assert np.array_equal(weights(learner, 0), weights(learner, 0))
    assert not np.allclose(weights(learner, 0), weights(learner, 1))


def test_weight_decay_shrinks_the_weights_of_an_mlp() -> None:
    sizes = [np.linalg.norm(weights(MLP(hidden=(10, 10), weight_decay=decay, n_epochs=60), 0)) for decay in (0, 0.01, 0.1)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[2] < 0.5 * sizes[0]


def test_weight_decay_leaves_the_biases_of_an_mlp() -> None:
    """Where one class is rare the biases alone can carry the score: strong decay takes the weights, not the answer."""
    x, y = np.random.default_rng(5).normal(size=(60, 3)), np.ones(60, dtype=np.int64)
    y[0] = 0
    learner = MLP(hidden=(4,), weight_decay=10.0, n_epochs=300, learning_rate=1e-2)
    model = learner.fit(x, y, n_classes=2, seed=0)
    state = model.state()
    assert max(np.abs(state[f"network.weight_{k}"]).max() for k in range(2)) < 0.05
    assert score(model.logits(x)).min() > 2


def test_dead_weights_of_an_mlp_end_as_zeros_and_denormals_are_left_as_they_were() -> None:
    """Dead weights decay by a constant factor per step: products of them would be denormal in single precision."""
    x, y = blobs(2.0)
    learner = MLP(hidden=(10, 10), weight_decay=0.1, n_epochs=300, learning_rate=1e-2)
    state = learner.fit(np.c_[x, np.zeros((len(x), 3))], y, n_classes=2, seed=0).state()
    assert not state["network.weight_0"][:, 5:].any()
    assert state["network.weight_0"][:, :5].any(axis=0).all()
    for weight in (state[f"network.weight_{k}"] for k in range(3)):
        least = np.abs(weight[weight != 0]).min().astype(np.float32)
        assert least * least >= np.finfo(np.float32).tiny
    assert float(torch.tensor(5e-324, dtype=torch.float64) * 1) > 0
