"""What a norm is asked for: l0 against all subsets of features, sizes, duals, distances, places, unknown names."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_models import Linear

from transfer_exp.attacks.evasion import Evasion
from transfer_exp.optim.balls import BALLS, ball
from transfer_exp.types import Box, UserError

L0 = ball("l0")


def boxes(rng: np.random.Generator, n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Offsets to the bounds, with points that lie on a face."""
    low, high = -rng.random((n, d)), rng.random((n, d))
    low[rng.random((n, d)) < 0.3] = 0
    high[rng.random((n, d)) < 0.3] = 0
    return low, high


def subsets(d: int, k: int) -> np.ndarray:
    """Every choice of at most k of d features, as rows of 0 and 1."""
    every = np.array(list(itertools.product((0, 1), repeat=d)))
    return every[every.sum(1) <= k]


@given(seed=st.integers(0, 10_000), epsilon=st.sampled_from([0, 0.9, 1, 2.5, 3, 6, 9]), scale=st.sampled_from([0.1, 1, 50]))
def test_l0_is_the_best_over_all_subsets_of_features(seed: int, epsilon: float, scale: float) -> None:
    """On a chosen subset the nearest point is the clipped one, the farthest the corner; which subset is best?"""
    rng = np.random.default_rng(seed)
    n, d = 4, 6
    (low, high), v = boxes(rng, n, d), scale * rng.normal(size=(n, d))
    v[rng.random(v.shape) < 0.2] = 0
    where = {"epsilon": epsilon, "low": torch.tensor(low), "high": torch.tensor(high)}
    near, far = (make(torch.tensor(v), **where).numpy() for make in (L0.project, L0.farthest))
    chosen = subsets(d, int(epsilon))
    for i in range(n):
        nearest = chosen * np.clip(v[i], low[i], high[i])
        corner = chosen * np.where(v[i] > 0, high[i], np.where(v[i] < 0, low[i], 0))
        assert np.linalg.norm(near[i] - v[i]) == pytest.approx(np.linalg.norm(nearest - v[i], axis=1).min(), rel=1e-12)
        assert far[i] @ v[i] == pytest.approx((corner @ v[i]).max(), rel=1e-12, abs=1e-15)
        for u in (near[i], far[i]):
            assert np.count_nonzero(u) <= epsilon
            assert ((u >= low[i]) & (u <= high[i])).all()
    again = L0.project(torch.tensor(near), **where).numpy()
    np.testing.assert_array_equal(again, near)


@pytest.mark.parametrize("name", ["l1", "l2", "linf"])
def test_the_steepest_step_has_the_balls_size_and_gains_epsilon_times_the_dual_size(name: str) -> None:
    g, wide = np.random.default_rng(0).normal(size=(5, 7)), torch.full((5, 7), 1e6).double()
    step = ball(name).steepest(torch.tensor(g), epsilon=0.3, low=-wide, high=wide).numpy()
    np.testing.assert_allclose(ball(name).size(step), 0.3)
    np.testing.assert_allclose((step * g).sum(1), 0.3 * ball(name).dual_size(g))
    assert (ball(name).steepest(torch.zeros(1, 7), epsilon=0.3, low=-wide[:1], high=wide[:1]) == 0).all()


def test_l0_takes_an_epsilon_a_row_and_huge_boxes() -> None:
    v = torch.tensor([[3.0, -2.0, 1.0]] * 3).double()
    low, high = torch.full_like(v, -1e300), torch.full_like(v, 1e300)
    epsilon = torch.tensor([0.5, 1.0, 2.9])
    assert L0.project(v, epsilon=epsilon, low=low, high=high).tolist() == [[0, 0, 0], [3, 0, 0], [3, -2, 0]]
    assert L0.farthest(v, epsilon=2, low=low, high=high)[0].tolist() == [1e300, -1e300, 0]
    assert L0.project(v[:0], epsilon=2, low=low[:0], high=high[:0]).shape == (0, 3)


def test_a_linear_score_is_attacked_to_its_optimum_in_l0() -> None:
    """Every subset of features to its best faces, by brute force; of three classes, the best over runner-up classes."""
    rng = np.random.default_rng(1)
    box = Box(lower=-rng.random(7), upper=rng.random(7))
    x = rng.uniform(box.lower, box.upper, (12, 7))
    x = np.where(rng.random(x.shape) < 0.3, box.upper, x)  # some on faces
    for n_classes in (2, 3):
        model, y = Linear(rng.normal(size=(n_classes, 7)), rng.normal(size=n_classes)), rng.integers(0, n_classes, 12)
        epsilons = (0.5, 1.0, 2.5, 4.0, 7.0)
        made = Evasion(norm="l0").craft(model, x, y, epsilons=epsilons, box=box)
        weight = model.weight.numpy()
        for k, epsilon in enumerate(epsilons):
            points = made.points(k, x, box)
            assert (points != x).sum(1).max() <= epsilon
            best = np.full(12, -np.inf)
            for other in range(n_classes):
                for i in np.flatnonzero(y != other):
                    g = weight[other] - weight[y[i]]
                    corner = np.where(g > 0, box.upper, box.lower) - x[i]
                    tried = x[i] + subsets(7, int(epsilon)) * corner
                    best[i] = max(best[i], model.rises(tried, np.full(len(tried), y[i])).max())
            np.testing.assert_allclose(model.rises(points, y), best, atol=1e-6)
            np.testing.assert_allclose(made.objective[k], best, atol=1e-12)


ORDER = {"l0": 0, "l1": 1, "l2": 2, "linf": np.inf}


@pytest.mark.parametrize("name", ORDER)
def test_sizes_and_distances_are_numpy_s(name: str) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(-1, 2, (5, 8)).astype(float), rng.integers(-1, 2, (4, 8)).astype(float)
    expected = [np.linalg.norm(row, ORDER[name]) for row in a]
    np.testing.assert_allclose(ball(name).size(a), expected)
    assert ball(name).size(a.reshape(5, 1, 8)).shape == (5, 1)
    np.testing.assert_allclose(ball(name).distances(a, b), [[np.linalg.norm(p - q, ORDER[name]) for q in b] for p in a])


@pytest.mark.parametrize("name", ORDER)
def test_the_dual_size_is_what_a_ball_gains_at_most(name: str) -> None:
    """Of a ball of size 1 (l0: one feature by at most 1 unit) without a box in the way."""
    g = np.random.default_rng(0).normal(size=(6, 5))
    wide = torch.full((6, 5), 1.0 if name == "l0" else 100.0).double()
    best = ball(name).farthest(torch.tensor(g), epsilon=1.0, low=-wide, high=wide).numpy()
    np.testing.assert_allclose(ball(name).dual_size(g), (best * g).sum(1))


def test_l0_scatters_as_many_features_as_it_may_move_over_their_rooms() -> None:
    center, lower, upper = torch.tensor([[0.2, 0.0, 1.0, 0.5]]), torch.zeros(4), torch.ones(4)
    places = L0.scatter(200, 4, epsilon=2.7, seed=0)
    moved = torch.stack([L0.at_place(p, epsilon=2.7, center=center, lower=lower, upper=upper)[0] for p in places])
    assert ((moved >= 0) & (moved <= 1)).all()
    changed = moved != center
    assert changed.sum(1).max() == 2
    at_face = ((moved == 0) | (moved == 1)) & changed
    assert 0.4 < float(at_face.any(1).float().mean()) < 0.9
    assert changed.any(0).all()
    assert torch.equal(places, L0.scatter(200, 4, epsilon=2.7, seed=0))


def test_an_unknown_norm_is_an_error() -> None:
    assert {name: ball(name).name for name in BALLS} == {name: name for name in ORDER}
    with pytest.raises(UserError, match=r"^attack\.norm: expected one of l0, l1, l2, linf, got l3$"):
        ball("l3")
