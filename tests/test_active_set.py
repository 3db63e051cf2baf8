import numpy as np
import pytest
from sklearn.svm import SVC

from transfer_exp.optim.active_set import points_bounding_bias, solve_dual
from transfer_exp.optim.implicit import SaddleSolver


def problem(seed, n=60, d=30):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    y = np.where(x[:, 0] + 0.8 * rng.normal(size=n) > 0, 1.0, -1.0)
    return x @ x.T, y


def solve(K, y, C, beta=None, max_solves=500):
    lower, upper = np.minimum(C * y, 0), np.maximum(C * y, 0)
    start = np.zeros(len(y)) if beta is None else beta.copy()
    return solve_dual(SaddleSolver(), K, y, lower, upper, start, tolerance=1e-9, max_solves=max_solves)


@pytest.mark.parametrize("C", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("seed", range(3))
def test_optimality_conditions_hold_and_scores_are_libsvms(seed, C):
    K, y = problem(seed)
    dual = solve(K, y, C)
    assert dual.converged
    score = K @ dual.beta + dual.bias
    alpha = y * dual.beta
    assert abs(dual.beta.sum()) < 1e-9 * C
    assert alpha.min() >= 0
    assert alpha.max() <= C
    assert (y * score)[alpha < C].min() > 1 - 1e-8
    assert (y * score)[alpha > 0].max() < 1 + 1e-8
    reference = SVC(kernel="precomputed", C=C, tol=1e-10).fit(K, y)
    theirs = np.zeros(len(y))
    theirs[reference.support_] = reference.dual_coef_[0]
    accepted = 1e-9 * np.abs(dual.beta - theirs).sum()  # a violation of each condition, times how far it leads
    assert objective(K, y, dual.beta) <= objective(K, y, theirs) + accepted + rounding(K, y, theirs)
    # libsvm's kernel matrix is in single precision: its scores are as good as it meets its own margins
    margin = (np.abs(theirs) > 0) & (np.abs(theirs) < C)
    its_error = np.abs(y * reference.decision_function(K) - 1)[margin].max(initial=0.0)
    error = its_error + 1e-9 + np.finfo(np.float32).eps * np.abs(score).max()
    np.testing.assert_allclose(score, reference.decision_function(K), atol=error * spread(K, margin))


def spread(K, margin):
    """How far any score can move, at most, when those of the margin support vectors move by 1."""
    ones = np.ones((margin.sum(), 1))
    system = np.block([[K[np.ix_(margin, margin)], ones], [ones.T, np.zeros((1, 1))]])
    right = np.vstack([K[margin], np.ones(len(K))])
    return max(1.0, np.abs(np.linalg.lstsq(system, right)[0][:-1]).sum(0).max(initial=0.0))


def objective(K, y, beta):
    """What the dual minimises."""
    return beta @ K @ beta / 2 - y @ beta


def rounding(K, y, beta):
    """Of the objective: sums of n products, each off by at most n eps times the sum of their sizes."""
    size = np.abs(beta)
    return 4 * len(y) * np.finfo(float).eps * (size @ np.abs(K) @ size / 2 + size.sum())


def test_from_the_solution_one_solve_is_the_check():
    K, y = problem(0)
    first = solve(K, y, 1.0)
    again = solve(K, y, 1.0, beta=first.beta)
    assert first.n_solves > 5
    assert again.n_solves == 1
    np.testing.assert_allclose(again.beta, first.beta, atol=1e-9)


def test_from_nothing_free_it_never_waits_for_points_that_all_want_up():
    # At beta = 0 every condition is violated alike; a set of points of one label cannot move under the sum.
    x = np.append(np.linspace(0.1, 2.0, 20), np.linspace(-3.0, -2.0, 10))[:, None]
    y = np.sign(x[:, 0])
    K = np.exp(-((x - x.T) ** 2))
    for order in (np.arange(30), np.arange(30)[::-1], np.roll(np.arange(30), 15)):
        assert solve(K[np.ix_(order, order)], y[order], 1.0).converged


def test_running_out_of_solves_is_said():
    K, y = problem(0)
    assert not solve(K, y, 1.0, max_solves=3).converged


def test_with_every_point_at_its_bound_the_bias_is_half_way():
    # Two pairs far inside C: alpha = C for all, scores 2 C x + b with b free in an interval.
    x, y, C = np.array([-2.0, -1.0, 1.0, 2.0])[:, None], np.array([-1.0, -1.0, 1.0, 1.0]), 1e-3
    dual = solve(x @ x.T, y, C)
    assert dual.converged
    np.testing.assert_allclose(dual.beta, C * y)
    assert dual.bias == pytest.approx(0.0, abs=1e-12)
    i, j = points_bounding_bias(x @ x.T @ dual.beta - y, dual.beta, np.minimum(C * y, 0))
    assert {i, j} == {0, 3}
