"""Cheap retraining against fresh fits, its gradient against retraining at x_c +- h. scikit-learn's digits 8 and 9."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model import Ridge as RidgeRegression
from sklearn.metrics.pairwise import linear_kernel, rbf_kernel
from sklearn.svm import SVC

from transfer_exp.learners import LOSSES, RBFSVM, Forest, LinearSVM, Logistic, Ridge
from transfer_exp.learners.retraining_columns import all_columns, used_columns
from transfer_exp.learners.retraining_svm import TOLERANCE, SVMRetraining
from transfer_exp.margin import binary_logits
from transfer_exp.types import UserError

SMOOTH = [Ridge(alpha=0.1), Ridge(alpha=10), Logistic(C=10), Logistic(C=0.01)]
SVMS = [LinearSVM(C=100), LinearSVM(C=0.01), RBFSVM(C=100, gamma=0.1), RBFSVM(C=1, gamma=0.1)]
EPSILONS = (1e-3, 1e-4, 1e-5, 1e-6)


def name(learner):
    return "-".join([type(learner).__name__, *(str(v) for v in dataclasses.asdict(learner).values() if v)])


def reference(learner):
    if isinstance(learner, Ridge):
        return RidgeRegression(alpha=learner.alpha, solver="cholesky")
    if isinstance(learner, Logistic):
        return LogisticRegression(C=learner.C, tol=1e-12, solver="newton-cholesky", max_iter=1000)
    if isinstance(learner, RBFSVM):
        return SVC(C=learner.C, gamma=learner.gamma, tol=1e-10)
    return SVC(kernel="linear", C=learner.C, tol=1e-10)


def data():
    digits = load_digits()
    rows = np.random.default_rng(0).permutation(np.flatnonzero(digits.target >= 8))
    x, y = digits.data[rows] / 16, digits.target[rows] - 8
    return (x[:80], y[:80]), (x[80:200], y[80:200])


def signs(training, label):
    """-1 for class 0, +1 for class 1: of the fixed points and the moving one."""
    return np.append(training.signs, 1 if label == 1 else -1)


def poisoned(learner, n_placed):
    """Retraining with points already in place, and the next flipped point as (point, label)."""
    (x, y), (x_val, y_val) = data()
    training = learner.retraining(x, y, x_val, y_val, room=n_placed + 1)
    rng = np.random.default_rng(1)
    for k in range(n_placed):
        point = np.clip(x[k] + 0.1 * rng.normal(size=64), 0, 1)
        training.place(training.retrain(point, 1 - int(y[k])))
    return training, x[n_placed], 1 - int(y[n_placed])


def trials(learner):
    """The point at its start, then near, far, and back."""
    training, point, label = poisoned(learner, 6)
    rng = np.random.default_rng(2)
    for reach in (0.0, 0.01, 0.3, 3.0, 0.3, 0.0):
        yield training, training.retrain(np.clip(point + reach * rng.normal(size=64), 0, 1), label)
    assert training.counts.fallbacks == 0


@pytest.mark.parametrize("learner", SMOOTH, ids=name)
def test_scores_of_smooth_learners_are_those_of_a_fresh_fit(learner):
    for training, fitted in trials(learner):
        fresh = reference(learner).fit(training.gram.points, signs(training, fitted.label))
        scores = fresh.predict if isinstance(learner, Ridge) else fresh.decision_function
        np.testing.assert_allclose(fitted.val_scores, scores(training.gram.x_val), atol=1e-5)


@pytest.mark.parametrize("learner", SVMS, ids=name)
def test_scores_of_svms_are_those_of_a_fresh_fit(learner):
    """As well as libsvm meets its own margins (its kernel matrix is in single precision), and we meet ours."""
    for training, fitted in trials(learner):
        x, y = training.gram.points, signs(training, fitted.label)
        fresh = reference(learner).fit(x, y)
        size = np.abs(fresh.dual_coef_[0])
        margin = fresh.support_[size < learner.C * (1 - 1e-9)]
        its_error = np.abs(y * fresh.decision_function(x) - 1)[margin].max(initial=0.0)
        scores = fresh.decision_function(training.gram.x_val)
        error = its_error + TOLERANCE + np.finfo(np.float32).eps * np.abs(scores).max()
        np.testing.assert_allclose(fitted.val_scores, scores, atol=error * spread(learner, x[margin], training.gram.x_val))


def spread(learner, margin, others):
    """How far scores of other points can move, at most, when those of the margin support vectors move by 1."""
    if not len(margin):
        return 1.0
    ones = np.ones((len(margin), 1))
    kernel = linear_kernel if isinstance(learner, LinearSVM) else partial(rbf_kernel, gamma=learner.gamma)
    system = np.block([[kernel(margin, margin), ones], [ones.T, np.zeros((1, 1))]])
    right = np.vstack([kernel(margin, others), np.ones(len(others))])
    return max(1.0, np.abs(np.linalg.lstsq(system, right)[0][:-1]).sum(0).max())


@pytest.mark.parametrize("learner", SVMS, ids=name)
def test_svms_meet_their_optimality_conditions(learner):
    for training, fitted in trials(learner):
        y = signs(training, fitted.label)
        alpha, margin = y * fitted.beta, y * (training.gram.train @ fitted.beta + fitted.bias)
        assert alpha.min() >= 0
        assert alpha.max() <= learner.C
        assert abs(fitted.beta.sum()) < 1e-9 * learner.C
        assert margin[alpha < learner.C].min() > 1 - 1e-8
        assert margin[alpha > 0].max() < 1 + 1e-8


@pytest.mark.parametrize("learner", [*SMOOTH, *SVMS], ids=name)
def test_the_order_of_trials_does_not_matter(learner):
    (x, y), (x_val, y_val) = data()
    direct = learner.retraining(x, y, x_val, y_val, room=0).retrain(x[5], 1 - int(y[5]))
    training = learner.retraining(x, y, x_val, y_val, room=0)
    for k in (9, 3, 8):
        training.retrain(x[k], 1 - int(y[k]))
    np.testing.assert_allclose(training.retrain(x[5], 1 - int(y[5])).val_scores, direct.val_scores, atol=1e-7)


@pytest.mark.parametrize("learner", [*SMOOTH, *SVMS], ids=name)
def test_an_earlier_result_is_good_after_others(learner):
    """Its gradient, and a next point with it in place, are those of a training that has seen nothing else."""
    training, point, label = poisoned(learner, 2)
    fresh, _, _ = poisoned(learner, 2)
    first, again = training.retrain(point, label), fresh.retrain(point, label)
    rng = np.random.default_rng(5)
    for its_label in (label, 1 - label, label):
        other = np.clip(point + 0.3 * rng.normal(size=64), 0, 1)
        fitted = training.retrain(other, its_label)
        np.testing.assert_allclose(
            fitted.val_scores, poisoned(learner, 2)[0].retrain(other, its_label).val_scores, atol=1e-6
        )
        product = training.gram.train @ fitted.beta
        np.testing.assert_allclose(fitted.product, product, atol=1e-9 * np.abs(product).max())
    gradient, expected = training.gradient(first)[0], fresh.gradient(again)[0]
    np.testing.assert_allclose(gradient, expected, atol=1e-6 * np.abs(expected).max())
    training.retrain(point[::-1], label)
    training.place(first)
    fresh.place(again)
    following = [one.retrain(data()[0][0][9], label).val_scores for one in (training, fresh)]
    np.testing.assert_allclose(*following, atol=1e-6)


@pytest.mark.parametrize("learner", [*SMOOTH, *SVMS], ids=name)
def test_the_objective_is_the_mean_of_the_learners_own_loss(learner):
    training, point, label = poisoned(learner, 1)
    fitted = training.retrain(point, label)
    score = torch.tensor(fitted.val_scores, requires_grad=True)
    loss = LOSSES[learner.model_type.loss_name](binary_logits(score), torch.tensor(data()[1][1])).mean()
    assert fitted.loss == pytest.approx(loss.item(), rel=1e-12)
    (slope,) = torch.autograd.grad(loss, score)
    np.testing.assert_allclose(training._slope(fitted.val_scores), slope, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("n_placed", [0, 8])
@pytest.mark.parametrize("learner", SMOOTH, ids=name)
def test_gradient_of_smooth_learners_is_that_of_retraining(learner, n_placed):
    training, point, label = poisoned(learner, n_placed)
    gradient, residual = training.gradient(training.retrain(point, label))
    assert residual < 1e-9
    rng = np.random.default_rng(3)
    for _ in range(20):
        direction = rng.normal(size=64)
        direction /= np.linalg.norm(direction)
        h = 1e-3
        # Central differences at h and h / 2, extrapolated: the error is of order h^4.
        wide, narrow = (_slope(training, point, label, direction, step) for step in (h, h / 2))
        expected = (4 * narrow - wide) / 3
        assert abs(gradient @ direction - expected) < 1e-4 * abs(expected) + 1e-9 * np.linalg.norm(gradient)


def _slope(training, point, label, direction, h):
    up, down = (training.retrain(point + s * h * direction, label).loss for s in (1, -1))
    return (up - down) / (2 * h)


def _partition(training, fitted):
    """Where every coefficient is (0, between, C), and which validation points have a hinge."""
    bound = np.abs(fitted.beta) * 2 / training.C - 1
    return np.sign(np.where(np.abs(bound) == 1, bound, 0)), training.signs_val * fitted.val_scores < 1


@pytest.mark.parametrize("n_placed", [0, 8])
@pytest.mark.parametrize("learner", SVMS, ids=name)
def test_gradient_of_svms_is_that_of_retraining_where_the_support_set_stays(learner, n_placed):
    """Each direction takes the largest h at which the partition stays; how many had to go below each h is printed."""
    training, point, label = poisoned(learner, n_placed)
    assert isinstance(training, SVMRetraining)
    fitted = training.retrain(point, label)
    gradient, residual = training.gradient(fitted)
    assert residual < 1e-9
    before = _partition(training, fitted)
    rng = np.random.default_rng(4)
    changed = dict.fromkeys(EPSILONS, 0)
    for _ in range(20):
        direction = rng.normal(size=64)
        direction /= np.linalg.norm(direction)
        for h in EPSILONS:
            ends = [training.retrain(point + s * h * direction, label) for s in (1, -1)]
            if all(np.array_equal(a, b) for end in ends for a, b in zip(_partition(training, end), before, strict=True)):
                expected = (ends[0].loss - ends[1].loss) / (2 * h)
                assert abs(gradient @ direction - expected) < 1e-2 * abs(expected) + 1e-6 * np.linalg.norm(gradient)
                break
            changed[h] += 1
    print(f"{name(learner)}, {n_placed} in place: directions of 20 along which the support set changes within h: {changed}")
    assert changed[EPSILONS[-1]] == 0


@pytest.mark.parametrize("learner", [Ridge(alpha=10), RBFSVM(C=1, gamma=0.1)], ids=name)
def test_the_gradient_of_the_score_is_that_of_a_fresh_fit(learner):
    training, point, label = poisoned(learner, 2)
    gradient = training.score_gradient(training.retrain(point, label))
    fresh = reference(learner).fit(training.gram.points, signs(training, label))
    scores = fresh.predict if isinstance(learner, Ridge) else fresh.decision_function
    steps = 1e-3 * np.eye(64)
    numeric = (scores(point + steps) - scores(point - steps)) / 2e-3
    # A fit at its tolerance differs by as little as the scores above do; a central difference by h^2 gamma.
    np.testing.assert_allclose(gradient, numeric, atol=1e-5 * np.abs(numeric).max() + 1e-6)


def test_a_point_that_is_no_support_vector_has_no_gradient():
    (x, y), (x_val, y_val) = data()
    training = LinearSVM(C=1).retraining(x, y, x_val, y_val, room=0)
    w = training.retrain(x[0], int(y[0])).beta @ training.gram.points
    far = x[0] + 5 * (2 * y[0] - 1) * w / np.linalg.norm(w) ** 2
    fitted = training.retrain(far, int(y[0]))
    assert fitted.beta[-1] == 0
    gradient, _ = training.gradient(fitted)
    assert not gradient.any()


def test_with_no_margin_support_vector_the_gradient_is_that_of_the_half_way_bias():
    x = np.array([[-2.0, 0.3], [-1.0, 0.0], [1.0, 0.1], [2.0, 0.0]])
    y = np.array([0, 0, 1, 1])
    x_val, y_val = np.array([[-1.5, 0.2], [0.5, 0.4], [1.5, 0.0]]), np.array([0, 1, 1])
    training = LinearSVM(C=1e-3).retraining(x[:3], y[:3], x_val, y_val, room=0)
    fitted = training.retrain(x[3], 1)
    assert (np.abs(fitted.beta) == 1e-3).all()
    gradient, _ = training.gradient(fitted)
    for k in range(2):
        step = 1e-4 * np.eye(2)[k]
        up, down = (training.retrain(x[3] + s * step, 1).loss for s in (1, -1))
        assert gradient[k] == pytest.approx((up - down) / 2e-4, abs=1e-9)
    fresh = SVC(kernel="linear", C=1e-3, tol=1e-10).fit(x, y)
    np.testing.assert_allclose(fitted.val_scores, fresh.decision_function(x_val), atol=1e-9)


def test_svm_on_three_points():
    x, y = np.array([[-1.0], [2.0], [0.5]]), np.array([0, 1, 0])
    fitted = LinearSVM(C=1).retraining(x[:2], y[:2], x, y, room=0).retrain(x[2], 0)
    fresh = SVC(kernel="linear", C=1, tol=1e-10).fit(x, y)
    np.testing.assert_allclose(fitted.val_scores, fresh.decision_function(x), atol=1e-6)


def test_ridge_uses_one_factorisation_and_svms_hardly_any():
    ridge, _, _ = poisoned(Ridge(alpha=1), 10)
    assert ridge.counts.factorisations == 1
    training, point, label = poisoned(RBFSVM(C=1, gamma=0.1), 0)
    training.retrain(point, label)
    before = dataclasses.replace(training.counts)
    training.retrain(point + 1e-6, label)
    after = training.counts - before
    assert (after.factorisations, after.solves, after.fallbacks) == (0, 1, 0)


def test_libsvm_takes_over_when_the_active_set_gives_up(monkeypatch):
    training, point, label = poisoned(RBFSVM(C=1, gamma=0.1), 3)
    expected = training.retrain(point, label).val_scores
    monkeypatch.setattr("transfer_exp.learners.retraining_svm._MAX_SOLVES", 0)
    again = training.retrain(point, label)
    assert training.counts.fallbacks == 1
    np.testing.assert_allclose(again.val_scores, expected, atol=1e-5)


def test_an_svm_that_does_not_converge_says_so_once_and_what_to_do(monkeypatch, caplog):
    monkeypatch.setattr("transfer_exp.learners.retraining_svm.MAX_ITER", 1)
    (x, y), (x_val, y_val) = data()
    LinearSVM(C=100).retraining(x, y, x_val, y_val, room=0)
    assert [r.getMessage() for r in caplog.records] == [
        f"SVM: the fit of {len(y)} points stopped before it converged; scale X in the file"
    ]


def test_placing_more_than_there_is_room_for_is_an_error():
    (x, y), (x_val, y_val) = data()
    training = Ridge(alpha=1).retraining(x, y, x_val, y_val, room=0)
    with pytest.raises(IndexError):
        training.place(training.retrain(x[0], 1))


def test_other_learners_are_refused():
    learner = Forest()
    (x, y), (x_val, y_val) = data()
    assert not learner.retrainable
    with pytest.raises(UserError, match="expected a linear SVM"):
        learner.retraining(x, y, x_val, y_val, room=1)


@pytest.mark.parametrize(("labels", "got"), [([0, 2], r"\[0, 2\]"), ([-1, 1], r"\[-1, 1\]"), ([1, 1], r"\[1\]")])
def test_other_classes_and_one_alone_are_refused(labels, got):
    x, y = np.random.default_rng(0).random((6, 2)), np.resize(labels, 6)
    with pytest.raises(UserError, match=f"expected training points of every class, numbered from 0, .*, got labels {got} "):
        Ridge(alpha=1).retraining(x, y, x, y, room=0)


@pytest.mark.parametrize("learner", [Logistic(C=1), RBFSVM(C=1, gamma=0.1)], ids=name)
def test_unused_columns_change_no_score_and_have_no_gradient(learner):
    (x, y), (x_val, y_val) = data()
    x, x_val = (np.insert(points, [0, 30], 0.0, axis=1) for points in (x, x_val))
    columns = used_columns(x, csr_array(x_val))
    assert not x[:, np.setdiff1d(np.arange(66), columns)].any()
    assert (x[:, columns].any(axis=0) | x_val[:, columns].any(axis=0)).all()
    whole = learner.retraining(x, y, x_val, y_val, room=0)
    part = learner.retraining(x[:, columns], y, x_val[:, columns], y_val, room=0)
    one, other = whole.retrain(x[0], 1 - int(y[0])), part.retrain(x[0, columns], 1 - int(y[0]))
    np.testing.assert_allclose(one.val_scores, other.val_scores, atol=1e-7)
    expected = whole.gradient(one)[0]
    (gradient,) = all_columns(part.gradient(other)[0][None], columns, 66)
    np.testing.assert_allclose(gradient, expected, atol=1e-6 * np.abs(expected).max())
