"""What makes retraining of logistic regression cheap, and where it could break: kept factors, far scores."""

import numpy as np
import pytest
from scipy.special import expit
from test_retraining import data, poisoned, signs

from transfer_exp.learners import Logistic
from transfer_exp.learners.retraining_smooth import _ACCEPTED, _ADJOINT_TOLERANCE


def meets_its_conditions(training, fitted):
    """Stationarity: residuals, in units of the loss's slope, that the solver accepts, and what rounding adds.

    A sum of n products, in any order, is off by at most n eps times the sum of their sizes; so are the solver's scores and
    ours. The slope of the loss passes such an error on times its curvature z.
    """
    K, beta, y = training.gram.train, fitted.beta, signs(training, fitted.label)
    rounding = 2 * len(y) * np.finfo(float).eps
    f = K @ beta + fitted.bias
    z = expit(f) * expit(-f)
    off = rounding * (np.abs(K) @ np.abs(beta) + np.abs(fitted.bias))
    slope = -y * expit(-y * f)
    assert (np.abs(training.penalty * beta + slope) <= _ACCEPTED + z * off).all()
    assert abs(beta.sum()) <= _ACCEPTED + rounding * np.abs(beta).sum()
    solves_its_adjoint(training, fitted, z, rounding)


def solves_its_adjoint(training, fitted, z, rounding):
    """To the tolerance asked for, or as far as rounding lets the residual be told."""
    right, total = (
        training.gram.validation_vjp(training._slope(fitted.val_scores))[0],
        float(training._slope(fitted.val_scores).sum()),
    )
    p, residual = training._adjoint(fitted, right, total)
    scale = max(np.abs(z * right).max(), abs(total))
    off = rounding * max((z * (np.abs(training.gram.train) @ np.abs(p) + np.abs(right))).max(), np.abs(p).sum())
    assert residual <= _ADJOINT_TOLERANCE + off / scale


@pytest.mark.parametrize("n_placed", [0, 6])
@pytest.mark.parametrize("C", [1e5, 3e5, 1e6])
def test_logistic_regression_with_hardly_any_penalty(C, n_placed):
    (x, y), _ = data()
    for k in range(10):
        training, _, _ = poisoned(Logistic(C=C), n_placed)
        meets_its_conditions(training, training.retrain(x[k], 1 - int(y[k])))
        assert training.counts.fallbacks == 0


@pytest.mark.parametrize("C", [1e6, 1e7])
def test_logistic_regression_where_factors_in_single_precision_are_too_coarse(C):
    """The conditions of stationarity are met all the same, with a factor in double precision."""
    training, point, label = poisoned(Logistic(C=C), 6)
    meets_its_conditions(training, training.retrain(point, label))
    assert not training._factor.single


def test_logistic_loss_and_its_derivatives_far_out():
    training, _, _ = poisoned(Logistic(C=1), 0)
    f, y = np.array([-5000.0, -720, -40, 0, 40, 720, 5000] * 2), np.repeat([1.0, -1.0], 7)
    loss, slope, curvature = training._derivatives(f, y)
    np.testing.assert_allclose(loss, np.logaddexp(0, -y * f), rtol=1e-12, atol=1e-300)
    near = np.abs(f) < 700
    np.testing.assert_allclose(slope[near], -(y * expit(-y * f))[near], rtol=1e-12)
    np.testing.assert_allclose(slope, -y * expit(-y * f), atol=1e-300)
    np.testing.assert_allclose(curvature[near], (expit(f) * expit(-f))[near], rtol=1e-12)


def test_the_adjoint_is_linear_however_small_its_right_hand_side():
    training, point, label = poisoned(Logistic(C=10), 2)
    fitted = training.retrain(point, label)
    right = np.random.default_rng(6).normal(size=len(fitted.beta))
    whole, tiny = training._adjoint(fitted, right, 0.5)[0], training._adjoint(fitted, 1e-250 * right, 0.5e-250)[0]
    np.testing.assert_allclose(1e250 * tiny, whole, atol=1e-7 * np.abs(whole).max())


def _newton_system(training, spread):
    """z, right-hand side and full matrix of a Newton step whose z is up to exp(spread) times that of the kept factor."""
    training._factor.refactorise(training._factor.z, single=False)
    K, rng = training.gram.train, np.random.default_rng(7)
    n = len(K)
    z = np.append(training._factor.z * np.exp(rng.uniform(-spread, spread, n - 1)), 0.2)
    full = np.block([[np.eye(n) * training.penalty + z[:, None] * K, z[:, None]], [np.ones((1, n)), np.zeros((1, 1))]])
    return z, rng.normal(size=n + 1), full


def test_a_newton_step_on_the_factor_of_an_earlier_curvature_is_that_of_the_full_matrix():
    training, point, label = poisoned(Logistic(C=1), 3)
    training.retrain(point, label)
    z, right, full = _newton_system(training, 0.5)
    before = training.counts.solves
    step, bias_step, good = training._factor.step(right[:-1], right[-1], z, np.abs(right).max(), 1e-11)
    assert good
    assert training.counts.solves - before <= 12  # 14 where directions, 19 where lengths are not chosen
    np.testing.assert_allclose(np.append(step, bias_step), np.linalg.solve(full, right), rtol=1e-8, atol=1e-8)


def test_a_factor_of_a_curvature_too_far_away_is_not_good_enough():
    training, point, label = poisoned(Logistic(C=1), 3)
    training.retrain(point, label)
    z, right, _ = _newton_system(training, 5)
    assert not training._factor.step(right[:-1], right[-1], z, np.abs(right).max(), 1e-11)[2]
