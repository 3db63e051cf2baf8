"""Strengths from the data's scale: by brute force, in every norm; the same for all repetitions."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import small_world

from transfer_exp.attacks.evasion import Evasion
from transfer_exp.data.strengths import N_SAMPLED, Shares, class_distance
from transfer_exp.learners import Ridge
from transfer_exp.types import Grid, UserError

SHARES = Shares(shares=(0, 0.1, 0.2), reference_share=0.2, shown_shares=(0.1,))
SIZES = {
    "l0": lambda u: float((u != 0).sum()),
    "l1": lambda u: float(np.abs(u).sum()),
    "l2": lambda u: float((u * u).sum()) ** 0.5,
    "linf": lambda u: float(np.abs(u).max()),
}


@pytest.mark.parametrize("norm", SIZES)
@pytest.mark.parametrize("sparse", [False, True])
def test_the_scale_is_the_median_over_all_pairs_of_two_classes(norm, sparse):
    data = small_world.dataset(3)
    x = np.where(data.x > 0, data.x, 0.0)
    pairs = itertools.combinations(range(len(x)), 2)
    expected = np.median([SIZES[norm](x[i] - x[j]) for i, j in pairs if data.y[i] != data.y[j]])
    shown = sp.csr_array(x) if sparse else x
    assert class_distance(replace(data, x=shown, checksum=""), norm) == pytest.approx(expected, rel=1e-12)


def test_shares_become_epsilons_with_three_digits():
    data = small_world.dataset()
    scale = class_distance(data, "l2")
    grid = SHARES.on(data, "l2")
    assert grid.grid == pytest.approx((0, 0.1 * scale, 0.2 * scale), rel=5e-3)
    assert (grid.reference, grid.shown) == (grid.grid[2], (grid.grid[1],))
    assert all(float(f"{epsilon:.3g}") == epsilon for epsilon in grid.grid)


def test_counted_features_are_whole_and_never_none():
    """All four features differ: a tenth of four is less than one feature, which is the least that can be moved."""
    grid = SHARES.on(small_world.dataset(), "l0")
    assert grid == Grid(grid=(0, 1), reference=1, shown=(1,))


def test_a_combination_takes_the_grid_that_its_data_and_norm_give():
    made = small_world.combination(Ridge(alpha=1.0), epsilon=SHARES, attack=Evasion(norm="linf"))
    assert made.epsilon == SHARES.on(small_world.dataset(), "linf")
    by_hand = small_world.combination(Ridge(alpha=1.0), epsilon=made.epsilon, attack=Evasion(norm="linf"))
    assert made.signature() == by_hand.signature()


@pytest.mark.slow
def test_of_many_points_a_sample_with_all_classes_stands_for_all():
    x, y = small_world.points(2, n=3000)
    y = np.where(np.arange(len(y)) == 5, 2, y)  # one point of a third class
    data = replace(
        small_world.dataset(2), x=x, y=y, class_names=("a", "b", "c"), test_pool=np.zeros(3000, bool), checksum=""
    )
    assert len(y) > N_SAMPLED
    distances = np.linalg.norm(x[:, None] - x[None], axis=2)[y[:, None] != y[None]]
    assert class_distance(data, "l2") == pytest.approx(np.median(distances), rel=0.05)
    assert class_distance(data, "l2") == class_distance(data, "l2")


def test_classes_without_distance_are_refused():
    data = small_world.dataset()
    with pytest.raises(UserError, match="expected points of different classes to differ"):
        class_distance(replace(data, x=np.ones_like(data.x), checksum=""), "l2")


def test_shares_are_checked_as_grids_are():
    with pytest.raises(UserError, match="strictly ascending"):
        Shares(shares=(0.2, 0.1), reference_share=0.1, shown_shares=(0.1,))
