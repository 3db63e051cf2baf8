"""Retraining of more than two classes: fresh fits, its gradient against retraining at x_c +- h, K = 2."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from test_retraining import _partition, name, reference

from transfer_exp.attacks.other_classes import random_others
from transfer_exp.attacks.poisoning import Poisoning
from transfer_exp.learners import LOSSES, RBFSVM, LinearSVM, Logistic, Ridge
from transfer_exp.learners.gram import LinearGram, RBFGram
from transfer_exp.learners.retraining_many import OneVsRestRetraining
from transfer_exp.learners.retraining_multinomial import MultinomialRetraining
from transfer_exp.learners.retraining_smooth import RidgeRetraining
from transfer_exp.learners.retraining_svm import SVMRetraining
from transfer_exp.optim.conjugate import conjugate_gradients
from transfer_exp.types import Box

SMOOTH = [Ridge(alpha=1), Logistic(C=10), Logistic(C=0.1)]
SVMS = [LinearSVM(C=10), LinearSVM(C=0.1), RBFSVM(C=10, gamma=0.1)]
ALL = [*SMOOTH, *SVMS]
UNIT = Box.uniform(64)


def data(n_classes):
    digits = load_digits()
    rows = np.random.default_rng(0).permutation(np.flatnonzero(digits.target < n_classes))
    x, y = digits.data[rows] / 16, digits.target[rows].astype(np.int64)
    return (x[:70], y[:70]), (x[70:150], y[70:150])


def poisoned(learner, n_placed=3):
    (x, y), (x_val, y_val) = data(4)
    training = learner.retraining(x, y, x_val, y_val, room=n_placed + 1)
    rng = np.random.default_rng(1)
    for k in range(n_placed):
        point = np.clip(x[k] + 0.1 * rng.normal(size=64), 0, 1)
        training.place(training.retrain(point, (int(y[k]) + 1) % 4))
    return training, x[n_placed], (int(y[n_placed]) + 2) % 4


def trained_on(n_placed, point, label):
    """The same points and classes, gathered by hand."""
    (x, y), _ = data(4)
    rng = np.random.default_rng(1)
    placed = [np.clip(x[k] + 0.1 * rng.normal(size=64), 0, 1) for k in range(n_placed)]
    return np.vstack([x, *placed, point]), np.concatenate([y, (y[:n_placed] + 1) % 4, [label]])


@pytest.mark.parametrize("learner", ALL, ids=name)
def test_scores_and_objective_are_those_of_fresh_fits(learner):
    training, point, label = poisoned(learner)
    x_val, y_val = data(4)[1]
    rng = np.random.default_rng(2)
    for reach in (0.0, 0.3, 0.01):
        moved = np.clip(point + reach * rng.normal(size=64), 0, 1)
        fitted = training.retrain(moved, label)
        x, y = trained_on(3, moved, label)
        if isinstance(learner, Logistic):
            fresh = LogisticRegression(C=learner.C, tol=1e-12, solver="newton-cholesky", max_iter=1000).fit(x, y)
            logits = x_val @ fresh.coef_.T + fresh.intercept_
        else:
            fits = [reference(learner).fit(x, np.where(y == k, 1, -1)) for k in range(4)]
            logits = np.stack([(f.predict if isinstance(learner, Ridge) else f.decision_function)(x_val) for f in fits], 1)
        own, expected = fitted.val_scores, logits
        if isinstance(learner, Logistic):  # logits of a softmax are given up to their mean
            own, expected = own - own.mean(1, keepdims=True), logits - logits.mean(1, keepdims=True)
        np.testing.assert_allclose(own, expected, atol=1e-4 if learner in SVMS else 1e-5)
        loss = LOSSES[learner.loss_name](torch.tensor(fitted.val_scores), torch.tensor(y_val)).mean()
        assert fitted.loss == pytest.approx(loss.item(), rel=1e-12)
    assert training.counts.fallbacks == 0


@pytest.mark.parametrize("learner", SMOOTH, ids=name)
def test_gradient_of_smooth_learners_is_that_of_retraining(learner):
    training, point, label = poisoned(learner)
    gradient, residual = training.gradient(training.retrain(point, label))
    assert residual < 1e-6
    for direction in directions(10):
        wide, narrow = (slope(training, point, label, direction, h) for h in (4e-2, 2e-2))
        expected = (4 * narrow - wide) / 3  # of order h^4
        assert abs(gradient @ direction - expected) < 1e-4 * np.linalg.norm(gradient)


@pytest.mark.parametrize("learner", SVMS, ids=name)
def test_gradient_of_svms_is_that_of_retraining_where_the_support_sets_stay(learner):
    training, point, label = poisoned(learner)
    # Where the moving point is its own copy among the fixed ones, of one sign in some problem, J has a kink: go off it.
    point = np.clip(point + 0.05 * np.random.default_rng(6).normal(size=64), 0, 1)
    fitted = training.retrain(point, label)
    gradient, residual = training.gradient(fitted)
    assert residual < 1e-9
    assert gradient.any()

    def partition(fit):
        return np.concatenate(
            [np.concatenate(_partition(p, f)) for p, f in zip(training.problems, fit.problems, strict=True)]
        )

    before, checked = partition(fitted), 0
    for direction in directions(10):
        for h in (1e-3, 1e-4, 1e-5):
            up, down = (training.retrain(point + s * h * direction, label) for s in (1, -1))
            if np.array_equal(partition(up), before) and np.array_equal(partition(down), before):
                expected = (up.loss - down.loss) / (2 * h)
                assert abs(gradient @ direction - expected) < 1e-2 * abs(expected) + 1e-5 * np.linalg.norm(gradient)
                checked += 1
                break
    assert checked >= 5


def directions(n):
    found = np.random.default_rng(3).normal(size=(n, 64))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def slope(training, point, label, direction, h):
    up, down = (training.retrain(point + s * h * direction, label).loss for s in (1, -1))
    return (up - down) / (2 * h)


def two_ways(kind, x, y, x_val, y_val):
    """Two classes by the way of two and by that of many, and how many times as large J is by the latter."""
    if kind == "logistic":  # |W|^2 = |w|^2 / 2, so that half of C is the same learner
        many = MultinomialRetraining(x, y, x_val, y_val, penalty=2.0, room=2)
        return Logistic(C=1.0).retraining(x, y, x_val, y_val, room=2), many, 1.0
    gram = partial(RBFGram, gamma=0.1) if kind == "rbf" else LinearGram
    machine = partial(RidgeRetraining, penalty=1.0) if kind == "ridge" else partial(SVMRetraining, C=1.0)
    one = machine(gram(x, x_val, room=2), y, y_val)
    return one, OneVsRestRetraining(gram(x, x_val, room=2), y, y_val, machine), 2.0


@pytest.mark.parametrize("kind", ["ridge", "svm", "rbf", "logistic"])
def test_two_classes_are_the_special_case(kind):
    (x, y), (x_val, y_val) = data(2)
    one, many, factor = two_ways(kind, x, y, x_val, y_val)
    for k in (0, 1, 5):
        label = 1 - int(y[k])
        first, second = one.retrain(x[k], label), many.retrain(x[k], label)
        assert second.loss == pytest.approx(factor * first.loss, rel=1e-6)
        assert second.has_weight == first.has_weight
        score = second.val_scores[:, 1] if kind != "logistic" else second.val_scores[:, 1] - second.val_scores[:, 0]
        np.testing.assert_allclose(score, first.val_scores, atol=1e-6)
        expected = factor * one.gradient(first)[0]
        np.testing.assert_allclose(many.gradient(second)[0], expected, atol=1e-6 * np.abs(expected).max())
        margin = one.margin_gradient(first) * (2.0 if factor == 2 else 1.0)
        np.testing.assert_allclose(many.margin_gradient(second), margin, atol=1e-6 * np.abs(margin).max())
        one.place(first) if k == 0 else None
        many.place(second) if k == 0 else None


def test_two_classes_end_at_the_same_points(monkeypatch):
    for tolerance in ("_TOLERANCE", "_ADJOINT_TOLERANCE"):  # five steps pass on what a solver leaves many times over
        monkeypatch.setattr(f"transfer_exp.learners.retraining_multinomial.{tolerance}", 1e-11)
    (x, y), (x_val, y_val) = data(2)
    for kind in ("ridge", "logistic"):
        ends = []
        for training in two_ways(kind, x, y, x_val, y_val)[:2]:
            attack = Poisoning(tolerance=0.0, n_iter=5)
            ends.append(attack._optimise(training, training.retrain(x[0], 1 - int(y[0])), UNIT).end.point)
        np.testing.assert_allclose(*ends, atol=1e-6)


def craft(learner, n_points, **options):
    (x, y), validation = data(4)
    return Poisoning(**options).craft(learner, x, y, *validation, n_points=n_points, box=UNIT, seed=0)


@pytest.mark.parametrize("learner", [Ridge(alpha=1), LinearSVM(C=10), RBFSVM(C=10, gamma=0.1), Logistic(C=1)], ids=name)
def test_the_objective_never_falls_and_smaller_attacks_are_beginnings(learner):
    (_, y), _ = data(4)
    made, few = craft(learner, 4), craft(learner, 2)
    assert (made.objective >= made.objective_start).all()
    assert (made.objective > made.objective_start).any()
    assert ((made.points >= 0) & (made.points <= 1)).all()
    assert (made.labels != y[made.start_rows]).all()
    np.testing.assert_array_equal(few.points, made.points[:2])
    np.testing.assert_array_equal(few.labels, made.labels[:2])
    assert made.health()["retraining_fallbacks"] == 0


def test_second_is_the_likeliest_wrong_class_and_most_harmful_the_worst_of_all():
    (x, y), (x_val, y_val) = data(4)
    learner = Ridge(alpha=1)
    second = craft(learner, 4, label="second", n_iter=1)
    weights = np.linalg.solve(*_normal_equations(x, y))
    z = np.column_stack([x, np.ones(len(x))]) @ weights
    z[np.arange(len(x)), y] = -np.inf
    np.testing.assert_array_equal(second.labels, z.argmax(1)[second.start_rows])
    worst = craft(learner, 1, label="most_harmful", n_labels=3, n_iter=1)
    training, row = learner.retraining(x, y, x_val, y_val, room=0), int(worst.start_rows[0])
    losses = {k: training.retrain(x[row], k).loss for k in range(4) if k != y[row]}
    assert worst.labels[0] == max(losses, key=losses.get)
    assert worst.objective_start[0] == pytest.approx(max(losses.values()), rel=1e-9)


def _normal_equations(x, y):
    """Of ridge regression with alpha 1, one against the rest; the bias is not penalised."""
    u = np.column_stack([x, np.ones(len(x))])
    return u.T @ u + np.diag([1.0] * 64 + [0.0]), u.T @ np.where(y[:, None] == np.arange(4), 1.0, -1.0)


def test_random_classes_are_each_of_the_others_alike():
    y = np.repeat(np.arange(5), 4000)
    drawn = random_others(y, 5, np.random.default_rng(0))
    counts = np.array([np.bincount(drawn[y == k], minlength=5) for k in range(5)])
    assert not counts.diagonal().any()
    others = counts[~np.eye(5, dtype=bool)]
    assert np.abs(others - 1000).max() < 5 * np.sqrt(1000 * 0.75)  # five standard deviations
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(random_others(np.array([0, 1]), 2, rng), [1, 0])
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state  # nothing was drawn


def test_conjugate_gradients_solve_in_as_many_products_as_there_are_eigenvalues():
    rng = np.random.default_rng(0)
    q, _ = np.linalg.qr(rng.normal(size=(30, 30)))
    matrix = q @ np.diag(np.repeat([1.0, 2.0, 50.0], 10)) @ q.T
    rhs = rng.normal(size=30)
    found = conjugate_gradients(lambda v: matrix @ v, rhs, lambda r: r, tolerance=1e-10, max_iter=100)
    assert found.n_products <= 4
    np.testing.assert_allclose(found.x, np.linalg.solve(matrix, rhs), atol=1e-9)
    known = conjugate_gradients(lambda v: matrix @ v, rhs, partial(np.linalg.solve, matrix), tolerance=1e-10, max_iter=100)
    assert known.n_products <= 2
