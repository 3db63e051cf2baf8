"""Choice of features, and the synthetic data: shares by hand, shapes by their formulas."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse as sp

from transfer_exp.data.binary import keep_features
from transfer_exp.data.selection import select_features, share_gaps
from transfer_exp.data.synthetic import _column_shares, load_synthetic
from transfer_exp.types import Sizes, UserError, dense

SPLIT = Sizes(target=10, surrogate=10, test=10)


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_gaps_by_hand(form: type) -> None:
    x = form(np.array([[1, 0, 1, 1], [1, 0, 0, 1], [0, 1, 0, 1], [0, 1, 1, 1], [0, 0, 1, 1.0]]))
    y = np.array([1, 1, 0, 0, 0])
    # shares of class 1: 1, 0, 1/2, 1; of class 0: 0, 2/3, 2/3, 1; gaps 1, 2/3, 1/6, 0, times 2 * 3
    assert share_gaps(x, y).tolist() == [6, 4, 1, 0]
    assert select_features(x, y, n_features=2).tolist() == [0, 1]
    assert select_features(x, 1 - y, n_features=3).tolist() == [0, 1, 2]


def test_equal_gaps_go_to_lower_columns() -> None:
    # 1/3 - 0 and 1 - 2/3 differ in floating point; as whole numbers they tie.
    x = np.array([[1, 1, 1], [1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0.0]])[:, [1, 0, 2]]
    y = np.array([1, 1, 1, 0, 0, 0])
    assert share_gaps(x, y).tolist() == [1, 1, 1]
    assert select_features(x, y, n_features=2).tolist() == [0, 1]


@pytest.mark.parametrize("sizes", [(3, 4, 5), (2, 2, 7, 3), (101, 103, 107, 109, 113, 127, 131, 137, 139, 149)])
def test_gaps_of_more_classes_are_the_largest_between_two(sizes: tuple[int, ...]) -> None:
    """Against fractions; the last sizes are prime, or nearly: their product needs more than 64 bits."""
    random = np.random.default_rng(0)
    y = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    x = (random.random((len(y), 20)) < random.random(20)).astype(float)
    shares = [[Fraction(int(x[y == k, j].sum()), n) for k, n in enumerate(sizes)] for j in range(20)]
    gaps = [max(abs(p - q) for p, q in itertools.combinations(own, 2)) for own in shares]
    assert [Fraction(int(gap), math.lcm(*sizes)) for gap in share_gaps(x, y)] == gaps
    expected = sorted(sorted(range(20), key=lambda j: (-gaps[j], j))[:7])
    assert select_features(x, y, n_features=7).tolist() == expected


def test_gaps_agree_with_shares_on_sparse_data() -> None:
    data = load_synthetic(name="synthetic", split=SPLIT, n_points=500, n_columns=3000, malware_share=0.2)
    columns = select_features(data.x, data.y, n_features=40)
    x = dense(data.x)
    gaps = np.abs(x[data.y == 1].mean(0) - x[data.y == 0].mean(0))
    others = np.setdiff1d(np.arange(3000), columns)
    assert gaps[columns].min() >= gaps[others].max() - 1e-12
    kept = keep_features(data, columns)
    assert np.array_equal(dense(kept.x), x[:, columns])
    assert (kept.n_features, len(kept.box.lower)) == (40, 40)
    assert kept.checksum not in {data.checksum, keep_features(data, columns[::-1]).checksum}


def test_bad_selections_are_refused() -> None:
    x, y = np.eye(3), np.array([1, 0, 1])
    with pytest.raises(UserError, match=r"dataset\.n_features: expected a number from 1 to 3, got 4"):
        select_features(x, y, n_features=4)
    with pytest.raises(UserError, match="points of two or more classes"):
        select_features(x, np.ones(3), n_features=2)
    with pytest.raises(UserError, match=r"only the values 0 and 1, got 3 others \(first: 0\.5\)"):
        select_features(x / 2, y, n_features=2)


def test_synthetic_data_has_the_documented_shape() -> None:
    n, d = 20_000, 30_000
    data = load_synthetic(name="synthetic", split=SPLIT, n_points=n, n_columns=d)
    x, y = data.x, data.y
    assert isinstance(x, sp.csr_array)
    assert set(np.unique(x.data)) == {1.0}
    assert (x.shape, (y == 1).sum(), x.indices.dtype) == ((n, d), round(0.043 * n), np.int32)
    lengths = np.diff(x.indptr)
    # A lognormal factor lowers the mean a little: 1 - exp(-a m) is concave in a.
    assert 44 < lengths[y == 0].mean() <= 46.5
    assert 66 < lengths[y == 1].mean() <= 71
    used = np.sort(np.asarray(x[y == 0].sum(axis=0)))[::-1] / (y == 0).sum()
    shares = _column_shares(d)
    assert shares.sum() == pytest.approx(46)
    for k in (20, 100, 1000):  # heavy tail: a straight line in logarithms, of the documented slope
        assert used[k] == pytest.approx(shares[k], rel=0.15)


def test_synthetic_data_is_a_function_of_its_seed() -> None:
    def draw(seed: int, separation: float = 1.0) -> str:
        return load_synthetic(
            name="s", split=SPLIT, n_points=300, n_columns=200, generator_seed=seed, separation=separation
        ).checksum

    assert draw(0) == draw(0)
    assert len({draw(0), draw(1), draw(0, separation=2.0)}) == 3


def test_separation_separates() -> None:
    largest = []
    for separation in (0.0, 2.0):
        data = load_synthetic(name="s", split=SPLIT, n_points=4000, n_columns=400, malware_share=0.5, separation=separation)
        gaps = share_gaps(data.x, data.y) / 2000
        largest.append(gaps.max())
    assert largest[0] < 0.3 < largest[1]


@pytest.mark.parametrize(
    "options", [{"n_points": 1}, {"n_columns": 2}, {"malware_share": 0.0}, {"malware_share": 1e-9}, {"separation": -1.0}]
)
def test_bad_synthetic_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"dataset: expected n_points >= 2.*" + next(iter(options))):
        load_synthetic(name="s", split=SPLIT, **{"n_points": 100, "n_columns": 50, **options})  # type: ignore[arg-type]
