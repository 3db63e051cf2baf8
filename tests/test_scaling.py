"""Scaling inside a model: against scikit-learn's pipelines, closed forms and finite differences, all in raw units."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC

from transfer_exp.attacks.evasion import Evasion
from transfer_exp.learners import MLP, RBFSVM, Forest, Learner, LinearSVM, Logistic, Model, Ridge
from transfer_exp.learners.scaling import Scaling
from transfer_exp.types import Box, Floats, Ints, UserError

UNITS = np.array([1e4, 1.0, 1e-3, 50.0, 1.0])
OFFSETS = np.array([3e4, 0.0, 0.0, -20.0, 7.0])
SKLEARN = {"standard": StandardScaler, "minmax": MinMaxScaler}
SCALES = list(SKLEARN)


@pytest.fixture(scope="module")
def points() -> tuple[Floats, Ints]:
    """Features of very different units; the last one is constant."""
    random = np.random.default_rng(0)
    z = random.random((90, 5))
    y = (z[:, 0] + 0.8 * np.sin(5 * z[:, 1]) + 0.2 * random.normal(size=90) > 1).astype(np.int64)
    z[:, 4] = 0
    return z * UNITS + OFFSETS, y


def score(model: Model, x: Floats) -> Floats:
    logits = model.logits(x)
    return logits[:, 1] - logits[:, 0]


def decision(estimator: Any, x: Floats) -> Floats:
    return np.asarray(estimator.decision_function(x))


def share(estimator: Any, x: Floats) -> Floats:
    return np.asarray(2 * estimator.predict_proba(x)[:, 1] - 1)


CASES: dict[str, tuple[Any, Any, Any]] = {
    "svm": (LinearSVM, {"C": 3}, lambda: SVC(kernel="linear", C=3)),
    "rbf": (RBFSVM, {"C": 5, "gamma": 0.8}, lambda: SVC(C=5, gamma=0.8)),
    "rbf, gamma by the variance": (RBFSVM, {"C": 5, "gamma": "scale"}, lambda: SVC(C=5, gamma="scale")),
    "logistic": (Logistic, {"C": 2}, lambda: LogisticRegression(C=2, tol=1e-5, max_iter=20_000)),
    "ridge": (Ridge, {"alpha": 0.4}, lambda: RidgeClassifier(alpha=0.4)),
    "forest": (Forest, {"n_trees": 5}, lambda: RandomForestClassifier(5, random_state=1)),
}


def made(name: str, scale: Any) -> Learner:
    if name == "mlp":
        return MLP(hidden=(6,), n_epochs=3, scale=scale)
    return CASES[name][0](**CASES[name][1], scale=scale)


@pytest.mark.parametrize("scale", ["none", *SCALES])
@pytest.mark.parametrize("name", CASES)
def test_scores_are_those_of_scikit_learns_pipeline(name: str, scale: str, points: tuple[Floats, Ints]) -> None:
    x, y = points
    if scale == "none":
        x = (x - OFFSETS) / UNITS
    estimator = make_pipeline(*([] if scale == "none" else [SKLEARN[scale]()]), CASES[name][2]()).fit(x, y)
    model = made(name, scale).fit(x, y, n_classes=2, seed=1)
    others = x[:40] + np.random.default_rng(1).normal(0, 0.3, (40, 5)) * (1 if scale == "none" else UNITS)
    expected = share if name == "forest" else decision
    for z in (x, others):
        np.testing.assert_allclose(score(model, z), expected(estimator, z), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", [*CASES, "mlp"])
def test_a_restored_model_is_the_same_and_moves_to_single_precision(
    name: str, scale: str, points: tuple[Floats, Ints]
) -> None:
    x, y = points
    model = made(name, scale).fit(x, y, n_classes=2, seed=1)
    state = model.state()
    assert all(type(array) is np.ndarray and array.dtype != object for array in state.values())
    again = made(name, scale).restore(state)
    assert again.logits(x).tobytes() == model.logits(x).tobytes()
    if name != "forest":  # a threshold may lie between a number and its neighbour in single precision
        # Points of 4e4 are 4e-3 apart in single precision: 4e-7 of a unit.
        logits = model.logits(x)
        np.testing.assert_allclose(again.float().logits(x), logits, atol=1e-3 * np.abs(logits).max())


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", [name for name in [*CASES, "mlp"] if name != "forest"])
def test_input_gradients_are_in_raw_units(name: str, scale: str, points: tuple[Floats, Ints]) -> None:
    x, y = points
    model = made(name, scale).fit(x, y, n_classes=2, seed=1)
    z = x[:15] + 0.3 * UNITS  # off the kinks
    inputs = torch.tensor(z, requires_grad=True)
    gradients = torch.autograd.grad(model(inputs)[:, 1].sum(), inputs)[0].numpy() * UNITS
    for k in range(5):
        step = 1e-5 * UNITS * np.eye(5)[k]
        numeric = (model.logits(z + step) - model.logits(z - step))[:, 1] / 2e-5
        np.testing.assert_allclose(gradients[:, k], numeric, rtol=1e-4, atol=1e-5 * np.abs(gradients).max())


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
def test_ridge_is_its_closed_form_and_its_attack_the_best_step_in_raw_units(
    norm: str, scale: str, points: tuple[Floats, Ints]
) -> None:
    """min alpha |v|^2 / 2 + sum (s - v . z - b)^2 / 2 over scaled z; w = v / spread; at worst s f falls by eps |w|_q."""
    x, y = points
    signs = np.where(y == 1, 1, -1)
    varied, order = x[:, :4], {"l1": np.inf, "l2": 2, "linf": 1}[norm]
    spread = varied.std(0) if scale == "standard" else np.ptp(varied, axis=0)
    z = (varied - varied.mean(0)) / spread
    w = np.append(np.linalg.solve(z.T @ z + 0.4 * np.eye(4), z.T @ (signs - signs.mean())) / spread, 0.0)
    clean = (x - x.mean(0)) @ w + signs.mean()
    model = made("ridge", scale).fit(x, y, n_classes=2, seed=1)
    np.testing.assert_allclose(score(model, x), clean, rtol=1e-9, atol=1e-9)
    epsilons = np.array([0.0, 0.4, 2.0]) / np.linalg.norm(w, order)
    box = Box(lower=x.min(0) - 1e9, upper=x.max(0) + 1e9)
    crafted = Evasion(norm=norm).craft(model, x, y, goals=None, epsilons=epsilons.tolist(), box=box)
    for k, epsilon in enumerate(epsilons):
        lowered = signs * (clean - score(model, crafted.points(k, x, box)))
        np.testing.assert_allclose(lowered, epsilon * np.linalg.norm(w, order), rtol=1e-5, atol=1e-9)


def test_a_constant_feature_is_only_shifted_however_it_rounds() -> None:
    x = np.column_stack([np.full(7, 0.1), np.arange(7.0), np.full(7, 1e14), np.zeros(7)])
    for scale in ("standard", "minmax"):
        scaling = Scaling.fitted(scale, x)
        assert scaling is not None
        assert scaling.factor[[0, 2, 3]].tolist() == [1, 1, 1]
        assert scaling(x)[:, [0, 2, 3]] == pytest.approx(0, abs=0.1)
        assert np.isfinite(scaling(x)).all()


def test_sparse_points_stay_sparse_or_are_refused() -> None:
    dense = np.array([[0.0, 4.0, 0.0], [2.0, 0.0, 0.0], [8.0, 1.0, 0.0], [0.0, 4.0, 0.0]])
    x, y = sp.csr_array(dense), np.array([1, 0, 0, 1])
    scaling = Scaling.fitted("minmax", x)
    assert scaling is not None
    assert isinstance(scaling(x), sp.csr_array)
    np.testing.assert_array_equal(scaling(x).toarray(), dense / [8, 4, 1])
    sparse, whole = (Ridge(alpha=1, scale="minmax").fit(points, y, n_classes=2, seed=0) for points in (x, dense))
    np.testing.assert_allclose(sparse.logits(x), whole.logits(dense), atol=1e-6)  # sparse_cg's tolerance is 1e-8
    with pytest.raises(UserError, match="scale: expected none or minmax for sparse points"):
        LinearSVM(C=1, scale="standard").fit(x, y, n_classes=2, seed=0)
    with pytest.raises(
        UserError, match=r"minimum of 0 in every feature for minmax, got -3 in feature 1 \(1 such features\)"
    ):
        LinearSVM(C=1, scale="minmax").fit(sp.csr_array(dense - [0, 3, 0]), y, n_classes=2, seed=0)


def test_gamma_by_the_variance_is_a_number_of_the_model(points: tuple[Floats, Ints]) -> None:
    x, y = points
    z = (x - OFFSETS) / UNITS
    for given in (z, sp.csr_array(z)):
        model = RBFSVM(C=1, gamma="scale").fit(given, y, n_classes=2, seed=0)
        assert float(model.state()["gamma"]) == pytest.approx(1 / (5 * z.var()), rel=1e-12)
    assert (
        float(RBFSVM(C=1, gamma="scale").fit(np.ones((4, 2)), np.array([1, 0, 1, 0]), n_classes=2, seed=0).state()["gamma"])
        == 1
    )
    with pytest.raises(UserError, match=r"RBFSVM\.gamma: expected a number above 0, or scale, got auto"):
        RBFSVM(C=1, gamma="auto")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("role", "learner", "message"),
    [
        ("surrogate", Ridge(alpha=1, scale="minmax"), r"surrogate\.scale: expected none for poisoning .*got minmax"),
        ("target", MLP(scale="standard"), r"target\.scale: expected none for poisoning .*got standard"),
        ("target", RBFSVM(C=1, gamma="scale"), r"target\.gamma: expected a number for poisoning .*got scale"),
    ],
)
def test_poisoning_refuses_what_a_point_would_move(role: str, learner: Learner, message: str) -> None:
    x, y = np.random.default_rng(0).random((20, 2)), np.tile([1, 0], 10)
    with pytest.raises(UserError, match=message):
        learner.require_raw(role)
    if learner.retrainable:
        with pytest.raises(UserError, match="for poisoning"):
            learner.retraining(x, y, x, y, room=0)


def test_a_fit_that_gives_up_is_logged_once_and_remembered(
    points: tuple[Floats, Ints], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    x, y = points
    monkeypatch.setattr("transfer_exp.learners.svm.MAX_ITER", 50)
    learner = LinearSVM(C=1e5, name="svm_high")
    with caplog.at_level(logging.WARNING):
        model = learner.fit(x, y, n_classes=2, seed=0)
    expected = "svm_high: the fit of 90 points stopped before it converged; scale the features (scale=standard; "
    (told,) = (record.getMessage() for record in caplog.records)
    assert told.startswith(expected)
    assert not model.converged
    assert not learner.restore(model.state()).converged
    assert LinearSVM(C=1e-9).fit(x, y, n_classes=2, seed=0).converged


class Loud(Ridge):
    """Warns of something else."""

    def _fit(self, x: Any, y: Ints, *, n_classes: int, seed: int) -> Model:
        import warnings

        warnings.warn("not of convergence", RuntimeWarning, stacklevel=1)
        return super()._fit(x, y, n_classes=n_classes, seed=seed)


def test_other_warnings_of_a_fit_come_through(points: tuple[Floats, Ints]) -> None:
    with pytest.warns(RuntimeWarning, match="not of convergence"):
        assert Loud(alpha=1).fit(*points, n_classes=2, seed=0).converged
    assert issubclass(ConvergenceWarning, UserWarning)  # nor is it caught by its kin


def test_an_unscaled_model_has_no_scaling(points: tuple[Floats, Ints]) -> None:
    model = Ridge(alpha=1).fit(*points, n_classes=2, seed=0)
    assert set(model.state()) == {"weight", "bias"}
    assert model(torch.tensor(points[0])).tolist() == model.logits(points[0]).tolist()


@pytest.mark.parametrize("scale", ["none", *SCALES])
def test_landmarks_are_training_points_in_raw_units(scale: Any, points: tuple[Floats, Ints]) -> None:
    """Attacks start from them: in the learner's units they would lie anywhere."""
    x, y = points
    learner = RBFSVM(C=5, gamma=1e-9 if scale == "none" else 0.8, scale=scale)
    found = learner.fit(x, y, n_classes=2, seed=0).landmarks(x.shape[1])
    assert found is not None
    centres, classes = (part.numpy() for part in found)
    nearest = np.abs((x[None] - centres[:, None]) / UNITS).sum(axis=2)
    np.testing.assert_allclose(nearest.min(axis=1), 0, atol=1e-9)
    np.testing.assert_array_equal(classes, y[nearest.argmin(axis=1)])
