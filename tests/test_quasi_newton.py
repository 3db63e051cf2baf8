import numpy as np
import pytest

from transfer_exp.optim.quasi_newton import ascend_in_box
from transfer_exp.types import Box


class Hill:
    """An objective given by its value and gradient; remembers where it was asked, and what for."""

    def __init__(self, value, gradient):
        self._value, self._gradient = value, gradient
        self.asked, self.values, self.gradients = [], [], 0

    def value(self, x):
        self.asked.append(x.copy())
        self.values.append(float(self._value(x)))
        return self.values[-1]

    def gradient(self, x):
        assert np.array_equal(x, self.asked[-1])
        self.gradients += 1
        return self._gradient(x)

    @property
    def top(self):
        return self.asked[int(np.argmax(self.values))]


def run(hill, start, *, n_iter=100, tolerance=0.0, n_trials=12, low=-1.0, high=1.0):
    start = np.asarray(start, dtype=float)
    ascend_in_box(hill, start, Box.uniform(len(start), low, high), n_iter=n_iter, tolerance=tolerance, n_trials=n_trials)
    asked = np.array(hill.asked)
    assert np.array_equal(asked[0], start)
    assert asked.min() >= low
    assert asked.max() <= high
    return hill.top


def test_a_narrow_valley_ends_at_its_top_inside_the_box_or_on_its_faces():
    """-sum_i a_i (x_i - t_i)^2 / 2 has its maximum over a box at t clipped; a_i from 1 to 10^3."""
    rng = np.random.default_rng(0)
    a, t = np.logspace(0, 3, 30), rng.uniform(-2, 2, 30)
    hill = Hill(lambda x: -(a * (x - t) ** 2).sum() / 2, lambda x: -a * (x - t))
    found = run(hill, np.zeros(30), n_iter=150)
    best = -(a * (t.clip(-1, 1) - t) ** 2).sum() / 2
    rise = best - hill.values[0]
    assert 0 < np.count_nonzero(np.abs(t) > 1) < 30
    assert best - max(hill.values) < 1e-8 * rise
    on_a_face = np.abs(t) > 1
    np.testing.assert_array_equal(found[on_a_face], np.sign(t[on_a_face]))


def test_a_linear_and_a_convex_objective_end_in_a_corner_after_few_moves():
    weights = np.array([3.0, -1.0, 1e-3])
    linear = Hill(lambda x: x @ weights, lambda x: weights)
    assert run(linear, [0.0, 0.0, 0.0], n_iter=20).tolist() == [1, -1, 1]
    convex = Hill(lambda x: x @ x, lambda x: 2 * x)
    assert run(convex, [0.01, -0.02, 0.03], n_iter=10).tolist() == [1, -1, 1]


def test_a_kink_does_not_hold_it_up():
    """-(|x| + 10 |y - x|) is zero at the origin and nowhere more; along its gradient one soon crosses the ridge y = x."""

    def gradient(x):
        side = np.sign(x[1] - x[0])
        return np.array([10 * side - np.sign(x[0]), -10 * side])

    ridge = Hill(lambda x: -(abs(x[0]) + 10 * abs(x[1] - x[0])), gradient)
    run(ridge, [0.9, 0.2], n_iter=200, n_trials=30)
    assert max(ridge.values) > 1e-3 * ridge.values[0]


def test_it_never_rests_where_it_may_not_go():
    """Beyond x = 0.5 the value is minus infinity: a first step there is shortened, and the edge is reached from below."""

    def gradient(x):
        assert x[0] < 0.5
        return np.array([1.0, 0.0])

    hill = Hill(lambda x: x[0] if x[0] < 0.5 else -np.inf, gradient)
    found = run(hill, [-1.0, 0.0], n_iter=50)
    assert 0.45 < found[0] < 0.5
    assert found[1] == 0


def test_it_ends_when_three_moves_gain_little_and_after_n_iter_moves():
    gains = []

    def run_at(tolerance, n_iter):
        hill = Hill(lambda x: -(x[0] ** 4) - x[1] ** 4, lambda x: -4 * x**3)
        run(hill, [1.0, -0.5], tolerance=tolerance, n_iter=n_iter)
        gains.append(max(hill.values) - hill.values[0])
        return hill

    loose, tight = run_at(1e-1, 200), run_at(1e-6, 200)
    assert loose.gradients < tight.gradients < 200
    assert gains[0] < gains[1]
    assert gains[1] == pytest.approx(1.0625, rel=1e-5)
    assert [run_at(0.0, n).gradients <= 8 * n + 1 for n in (1, 2, 4)] == [True] * 3
    short = [max(run_at(0.0, n).values) for n in (1, 2, 4)]
    assert short == sorted(short)


def test_a_search_ends_after_n_trials_and_a_stationary_point_is_left_alone():
    needle = Hill(lambda x: 0.0 if not x.any() else -1.0, lambda x: np.ones(2))
    assert run(needle, [0.0, 0.0], n_trials=5).tolist() == [0, 0]
    assert len(needle.asked) == 1 + 5
    held = Hill(lambda x: x.sum(), lambda x: np.ones(2))
    assert run(held, [1.0, 1.0]).tolist() == [1, 1]
    assert len(held.asked) == 1
