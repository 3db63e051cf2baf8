"""Random offsets of an attack's size: exact sizes inside the box, errors that closed forms know, whole features."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats

from transfer_exp.attacks.evasion import Evasion
from transfer_exp.attacks.evasion_add import EvasionAdd
from transfer_exp.attacks.flips import random_flips
from transfer_exp.optim.balls import ball
from transfer_exp.optim.rays import random_offsets
from transfer_exp.types import Box, Floats

ORDER = {"l1": 1.0, "l2": 2.0, "linf": np.inf}


class Fixed:
    """A generator that draws what it is told."""

    def __init__(self, direction: Any) -> None:
        self.direction = np.array(direction, dtype=np.float64)

    def standard_normal(self, shape: tuple[int, int]) -> Floats:
        return self.direction.reshape(shape)

    def laplace(self, *, size: tuple[int, int]) -> Floats:
        return self.direction.reshape(size)


def by_bisection(direction: Floats, low: Floats, high: Floats, order: float, epsilon: float) -> Floats:
    """Offsets of points ``(n, d)``: 110 halvings of the s at which the clipped direction has the size asked for."""
    left, right = np.zeros((len(direction), 1)), np.full((len(direction), 1), 1e10)
    for _ in range(110):
        middle = (left + right) / 2
        size = np.linalg.norm(np.clip(middle * direction, low, high), ord=order, axis=1, keepdims=True)
        left, right = np.where(size > epsilon, left, middle), np.where(size > epsilon, middle, right)
    return np.clip(left * direction, low, high)


@pytest.mark.parametrize("norm", ORDER)
def test_sizes_are_exact_within_the_box_and_along_one_direction(norm: str) -> None:
    """Points in the middle, near and on the faces of a box of unequal sides; at the last epsilon the box is too small."""
    rng = np.random.default_rng(1)
    box = Box(lower=-rng.random(30), upper=np.r_[rng.random(20), 0.1 * rng.random(10)])
    x = np.clip(rng.normal(scale=0.7, size=(40, 30)), box.lower, box.upper)
    epsilons = [0, 1e-7, 0.05, 0.3, 1.0, 3.0, 1e9]
    rays = random_offsets(x, ball=ball(norm), epsilons=epsilons, box=box, rng=rng)
    low, high = box.lower - x, box.upper - x
    corner = np.where(rays.direction > 0, high, low)
    most = np.linalg.norm(corner, ord=ORDER[norm], axis=1)
    for k, epsilon in enumerate(epsilons):
        offset = rays[k]
        assert ((offset >= low) & (offset <= high)).all()
        np.testing.assert_allclose(
            np.linalg.norm(offset, ord=ORDER[norm], axis=1), np.minimum(epsilon, most), rtol=1e-9, atol=0
        )
        expected = by_bisection(rays.direction, low, high, ORDER[norm], epsilon)
        np.testing.assert_allclose(offset, expected, rtol=1e-9, atol=1e-12 * min(epsilon, 1))


def test_a_point_by_hand() -> None:
    """x = (0.5, 0.9, 0.2) in the unit box along (3, 1, -1): rooms 0.5, 0.1, 0.2 are used up at s = 1/6, 0.1, 0.2."""
    x, box, direction = np.array([[0.5, 0.9, 0.2]]), Box.uniform(3), Fixed([[3, 1, -1]])
    l1 = random_offsets(x, ball=ball("l1"), epsilons=[0.25, 0.6, 0.78, 5], box=box, rng=direction)  # type: ignore[arg-type]
    np.testing.assert_allclose(l1[0], [[0.15, 0.05, -0.05]])
    np.testing.assert_allclose(l1[1], [[0.375, 0.1, -0.125]])
    np.testing.assert_allclose(l1[2], [[0.5, 0.1, -0.18]])  # 0.78 - 0.6 is left for the last
    np.testing.assert_allclose(l1[3], [[0.5, 0.1, -0.2]])
    l2 = random_offsets(x, ball=ball("l2"), epsilons=[math.sqrt(0.11), math.sqrt(0.26 + 0.0324)], box=box, rng=direction)  # type: ignore[arg-type]
    np.testing.assert_allclose(l2[0], [[0.3, 0.1, -0.1]])
    np.testing.assert_allclose(l2[1], [[0.5, 0.1, -0.18]])
    linf = random_offsets(x, ball=ball("linf"), epsilons=[0.15, 5], box=box, rng=direction)  # type: ignore[arg-type]
    np.testing.assert_allclose(linf[0], [[0.15, 0.1, -0.15]])
    np.testing.assert_allclose(linf[1], [[0.5, 0.1, -0.2]])


def test_a_feature_that_the_direction_leaves_alone_stays_and_bounds_may_be_huge() -> None:
    x, box = np.zeros((1, 3)), Box(lower=np.array([-0.5, -1e200, -0.5]), upper=np.array([0.5, 1e200, 0.5]))
    for norm in ("l1", "l2"):
        rays = random_offsets(x, ball=ball(norm), epsilons=[0, 2.0], box=box, rng=Fixed([[0, 5, 0]]))  # type: ignore[arg-type]
        np.testing.assert_allclose(rays[1], [[0, 2, 0]])
        assert not rays[0].any()


@pytest.mark.parametrize("norm", ORDER)
def test_the_error_of_a_linear_score_is_the_one_of_the_closed_form(norm: str) -> None:
    """10 features without bounds, 40,000 points at score 1 of a score w x: how many fall below 0?

    l2, w any: the cosine c between w and a direction of the sphere has (1 + c) / 2 ~ Beta((d - 1) / 2, (d - 1) / 2).
    l1, w along one axis: that coordinate's share of the size is Beta(1, d - 1), its sign even; (1 - 1 / epsilon)^(d-1) / 2.
    linf, w = (1, ..., 1): the sum of ten signs, binomial.
    """
    n, d = 40_000, 10
    weight = {"l1": np.eye(d)[3], "l2": np.linspace(-1, 2, d), "linf": np.ones(d)}[norm]
    epsilons = {"l1": [1.2, 2, 5], "l2": [0.5, 1, 3], "linf": [0.2, 0.3, 0.6]}[norm]
    x = np.tile(weight / (weight @ weight), (n, 1))
    box = Box.uniform(d, -100, 100)
    offsets = Evasion(norm=norm).noise(x, epsilons=epsilons, box=box, rng=np.random.default_rng(5))
    for k, epsilon in enumerate(epsilons):
        found = float(((x + offsets[k]) @ weight < 0).mean())
        expected = {
            "l1": (1 - 1 / epsilon) ** (d - 1) / 2 if epsilon > 1 else 0.0,
            "l2": float(scipy.stats.beta((d - 1) / 2, (d - 1) / 2).cdf((1 - 1 / epsilon / np.linalg.norm(weight)) / 2)),
            "linf": float(scipy.stats.binom(d, 0.5).cdf(math.ceil((d - 1 / epsilon) / 2) - 1)),
        }[norm]
        assert expected > 0
        assert found == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / n))


def test_random_changes_are_as_many_as_allowed_of_those_allowed_each_equally_often() -> None:
    """8 features, of which 5 may change; every one of them is the first with probability 1/5."""
    changeable = np.tile([1, 0, -1, 1, 0, 1, 0, -1], (5000, 1))
    flips = random_flips(changeable, budget=np.array([0, 1, 3, 20]), rng=np.random.default_rng(2))
    for k, expected in enumerate((0, 1, 3, 5)):
        assert (np.abs(flips[k]).sum(axis=1) == expected).all()
        assert ((flips[k] == 0) | (flips[k] == changeable)).all()
    assert ((flips[1] == 0) | (flips[2] == flips[1])).all()  # a larger budget goes on where a smaller one ended
    first = (flips[1] != 0).mean(axis=0)[changeable[0] != 0]
    assert first == pytest.approx(0.2, abs=4 * math.sqrt(0.2 * 0.8 / 5000))


def test_added_features_are_those_that_the_attack_may_add() -> None:
    x = np.array([[0.0, 1, 0, 0, 1, 0]])
    box = Box(lower=np.zeros(6), upper=np.array([1, 1, 1, 0.5, 1, 1]))
    noise = EvasionAdd(fixed=(2,)).noise(x, epsilons=[0, 1.9, 30], box=box, rng=np.random.default_rng(0))
    assert [int(noise[k].sum()) for k in range(3)] == [0, 1, 2]
    assert noise[2].tolist() == [[1, 0, 0, 0, 0, 1]]
    both = EvasionAdd(change="both").noise(x, epsilons=[30], box=box, rng=np.random.default_rng(0))
    assert both[0].tolist() == [[1, -1, 1, 0, -1, 1]]


def test_in_l0_random_features_move_to_faces_as_many_as_allowed_each_equally_often() -> None:
    """Of 6 features one is fixed by the box and one at its upper face: it moves down, whatever is drawn."""
    n = 4000
    x = np.tile([0.5, 0.2, 0.3, 1.0, 0.7, 0.4], (n, 1))
    box = Box(lower=np.array([0.0, 0.0, 0.3, 0.0, 0.0, 0.0]), upper=np.array([1.0, 1.0, 0.3, 1.0, 1.0, 1.0]))
    epsilons = (0.0, 0.9, 1.0, 2.7, 5.0, 9.0)
    offsets = Evasion(norm="l0").noise(x, epsilons=epsilons, box=box, rng=np.random.default_rng(0))
    for k, expected in enumerate((0, 0, 1, 2, 5, 5)):
        moved = offsets[k] != 0
        assert (moved.sum(axis=1) == expected).all()
        places = x + offsets[k]
        assert np.isclose(np.where(moved, places, 0.0) % 1.0, 0.0).all()
        assert not moved[:, 2].any()
        assert (moved >= (offsets[max(k - 1, 0)] != 0)).all()  # nested
    assert (places[:, 3] == 0).all()
    for column in (0, 1, 4, 5):
        assert (places[:, column] > 0.5).mean() == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(n))
    first = (offsets[2] != 0).mean(axis=0)[[0, 1, 3, 4, 5]]
    assert first == pytest.approx(0.2, abs=4 * math.sqrt(0.2 * 0.8 / n))


def test_batches_of_any_size_draw_the_same() -> None:
    x, box = np.random.default_rng(1).random((9, 5)), Box.uniform(5)
    for norm in ("l0", *ORDER):
        rng, again = np.random.default_rng(2), np.random.default_rng(2)
        whole = random_offsets(x, ball=ball(norm), epsilons=[0.5, 2.0], box=box, rng=rng)
        parts = [random_offsets(x[i : i + 4], ball=ball(norm), epsilons=[0.5, 2.0], box=box, rng=again) for i in (0, 4, 8)]
        for k in range(2):
            np.testing.assert_array_equal(whole[k], np.concatenate([part[k] for part in parts]))
