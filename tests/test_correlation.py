"""Correlations: coefficients against scipy, permutations of whole learners against enumeration and planted effects."""

from __future__ import annotations

import itertools
import math
import sys

import numpy as np
import pytest
import scipy.stats

from transfer_exp import correlation, stats
from transfer_exp.correlation import coefficient, coefficients, correlate, exchange, interval

KINDS = ("pearson", "kendall")
NAMES = [f"learner {i}" for i in range(8)]
OTHERS = [f"other {i}" for i in range(6)]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def of_points(x, y, kind, **options) -> correlation.Correlation:
    names = [str(i) for i in range(len(x))]
    return correlate(x, y, kind=kind, exchanges=exchange(names, rng=rng(), **options))


@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e6])
def test_means_of_equal_counts_are_ties_in_whatever_order_they_were_summed(scale):
    """0.1 + 0.2 + 0.3 is 0.6 or the next number above it."""
    x, equal = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([0.6, 0.6, 0.9, 0.2, 0.6])
    dusty = np.array([0.1 + 0.2 + 0.3, 0.3 + 0.2 + 0.1, 0.9, 0.2, 0.6])
    assert len(set(dusty)) > len(set(equal))
    expected = scipy.stats.kendalltau(x, equal).statistic
    assert coefficients(x, scale * dusty[None], "kendall") == pytest.approx([expected])
    assert coefficients(scale * dusty, x[None], "kendall") == pytest.approx([expected])


def test_nothing_but_rounding_is_a_tie():
    falling = np.array([1e3, 1.0, 1e-3, 1e-6, 1e-8, 1.000000001e-9, 1e-9])
    assert coefficients(np.arange(7.0), falling[None], "kendall") == pytest.approx([-1])
    beside_zero = np.array([0.1, 0.3 - 0.1 - 0.2, 0.0, 0.2])  # the second is 0, or 3e-17 below it
    expected = scipy.stats.kendalltau(np.arange(4.0), [0.1, 0.0, 0.0, 0.2]).statistic
    assert coefficients(np.arange(4.0), beside_zero[None], "kendall") == pytest.approx([expected])


@pytest.mark.parametrize(
    ("kind", "reference"),
    [("pearson", lambda x, y: scipy.stats.pearsonr(x, y)), ("kendall", lambda x, y: scipy.stats.kendalltau(x, y))],
)
def test_correlation_and_p_value_of_points_agree_with_scipy(kind, reference):
    x = rng().normal(size=60)
    y = 0.3 * x + rng(1).normal(size=60)
    ours, theirs = of_points(x, y, kind), reference(x, y)
    assert ours.value == pytest.approx(theirs.statistic, abs=1e-12)
    error = math.sqrt(theirs.pvalue * (1 - theirs.pvalue) / 9999)
    assert ours.p_value == pytest.approx(theirs.pvalue, abs=4 * error + 0.003)  # asymptotic against 9,999 permutations
    assert (ours.n, ours.n_points) == (60, 60)


def test_kendall_with_ties_is_tau_b_row_by_row():
    x = rng().integers(0, 4, size=(5, 25)).astype(float)
    y = x + rng(1).integers(0, 4, size=(5, 25))
    expected = [scipy.stats.kendalltau(*pair).statistic for pair in zip(x, y, strict=True)]
    assert coefficients(x, y, "kendall") == pytest.approx(expected)


@pytest.mark.parametrize("n", [0, 1, 2, 7, 8, 33])
def test_kendall_counts_the_pairs_as_counting_them_one_by_one_does(n):
    # With ties in x, in y and in both, gaps in either, columns without any point.
    x, y = rng().integers(0, 4, size=(2, 20, n)).astype(float)
    defined = (rng(1).random((20, n)) < 0.8) & (rng(2).random(n) < 0.8)
    expected = np.zeros((3, 20))
    for row in range(20):
        for i, j in itertools.combinations(np.flatnonzero(defined[row]), 2):
            of_x, of_y = np.sign(x[row, i] - x[row, j]), np.sign(y[row, i] - y[row, j])
            expected[:, row] += of_x * of_y, of_x != 0, of_y != 0
    assert np.array_equal(correlation._kendall_sums(x, y, defined), expected)


def calls_of_kendall(x: np.ndarray, y: np.ndarray) -> int:
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        coefficients(x, y, "kendall")
    finally:
        sys.setprofile(None)
    return calls


def test_kendall_takes_as_many_steps_as_points_can_be_halved():
    few, many = (rng().normal(size=(2, 1, n)) for n in (2**6, 2**12))
    assert calls_of_kendall(*many) < 2 * calls_of_kendall(*few)  # 12 halvings against 6; pairs are 4,000 times as many
    gaps = np.full((2, 1, 2**12), np.nan)
    gaps[..., : 2**6] = few
    assert calls_of_kendall(*gaps) == calls_of_kendall(*few)  # cells without a value cost nothing


@pytest.mark.parametrize("kind", KINDS)
def test_exact_p_value_of_five_points_by_counting(kind):
    x, y = np.array([0.0, 1, 3, 4, 9]), np.array([0.0, 2, 1, 4, 5])
    all_values = [abs(coefficient(x, y[list(order)], kind)) for order in itertools.permutations(range(5))]
    observed = abs(coefficient(x, y, kind))
    assert of_points(x, y, kind).p_value == pytest.approx(sum(v >= observed - 1e-12 for v in all_values) / 120)


@pytest.mark.parametrize("kind", KINDS)
def test_p_value_of_a_sample_counts_the_observed_one(kind):
    x = np.arange(40.0)
    found = of_points(x, -2 * x + 1, kind, n_orders=199)
    assert found.value == pytest.approx(-1)
    assert found.p_value == pytest.approx(1 / 200)


def test_four_learners_are_too_few_and_five_are_enough():
    few = of_points(np.arange(4.0), np.arange(4.0), "pearson")
    assert math.isnan(few.p_value)
    assert "24 permutations of 4 learners" in few.reason
    assert few.value == pytest.approx(1)
    assert of_points(np.arange(5.0), np.arange(5.0), "pearson").p_value == pytest.approx(2 / 120)


@pytest.mark.parametrize("kind", KINDS)
def test_constant_column_and_too_few_points_are_named_not_raised(kind):
    constant = of_points(np.arange(5.0), np.full(5, 0.1), kind)
    assert math.isnan(constant.value)
    assert math.isnan(constant.p_value)
    assert constant.reason == "constant column"
    few = of_points(np.array([1.0, 2, np.nan]), np.arange(3.0), kind)
    assert few.reason == "only 2 points"
    assert of_points(np.empty(0), np.empty(0), kind).reason == "only 0 points"
    assert math.isnan(coefficient(np.ones(4), np.arange(4.0), kind))


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_constant_means_to_rounding_of_its_own_size(size):
    steps = np.array([0.0, 1, 2, 1, 0])
    assert of_points(np.arange(5.0), size * (1 + 1e-13 * steps), "pearson").reason == "constant column"
    assert of_points(steps, size * (1 + 1e-9 * steps), "pearson").value == pytest.approx(1)


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_with_nan_are_left_out_in_every_row(kind):
    x = np.array([0.0, 1, 2, np.nan, 4, 7])
    y = rng().normal(size=(3, 6))
    y[1, 4] = np.nan
    kept = [[0, 1, 2, 4, 5], [0, 1, 2, 5], [0, 1, 2, 4, 5]]
    expected = [coefficient(x[k], row[k], kind) for row, k in zip(y, kept, strict=True)]
    assert coefficients(x, y, kind) == pytest.approx(expected)
    assert of_points(x, y[0], kind).n_points == 5


def orders(rows: list[str], columns: list[str], **options) -> set[tuple[int, ...]]:
    found = exchange(rows, columns, rng=rng(), **options)
    assert found.exact
    assert len({tuple(map(int, order)) for order in found.orders}) == len(found.orders)
    return {tuple(map(int, order)) for order in found.orders}


def test_learners_that_are_surrogate_and_target_take_row_and_column_along():
    cells = np.arange(9).reshape(3, 3)
    expected = {tuple(cells[np.ix_(p, p)].ravel()) for p in itertools.permutations(range(3))}
    assert orders(["a", "b", "c"], ["a", "b", "c"]) == expected


def test_rows_and_columns_of_different_learners_are_exchanged_apart():
    cells = np.arange(6).reshape(2, 3)
    permutations = itertools.product(itertools.permutations(range(2)), itertools.permutations(range(3)))
    assert orders(["a", "b"], ["c", "d", "e"]) == {tuple(cells[np.ix_(p, q)].ravel()) for p, q in permutations}


def test_learners_in_both_roles_and_others_are_exchanged_among_themselves():
    # Rows a, b, s and columns t, b, a, u: a and b change places in both roles; t and u among columns; s stays.
    cells = np.arange(12).reshape(3, 4)
    rows, columns = ([0, 1, 2], [1, 0, 2]), ([0, 1, 2, 3], [3, 1, 2, 0], [0, 2, 1, 3], [3, 2, 1, 0])
    permutations = [(rows[0], columns[0]), (rows[0], columns[1]), (rows[1], columns[2]), (rows[1], columns[3])]
    assert orders(["a", "b", "s"], ["t", "b", "a", "u"]) == {tuple(cells[np.ix_(p, q)].ravel()) for p, q in permutations}
    assert exchange(["a", "b", "s"], ["t", "b", "a", "u"], rng=rng()).n == 4  # s is alone


def test_what_only_the_surrogate_has_is_exchanged_over_surrogates():
    cells = np.arange(6).reshape(3, 2)
    expected = {tuple(cells[list(p)].ravel()) for p in itertools.permutations(range(3))}
    assert orders(["a", "b", "c"], ["a", "b"], rows_only=True) == expected
    assert exchange(["a", "b", "c"], ["a", "b"], rows_only=True, rng=rng()).n == 3


def test_random_exchanges_move_whole_rows_with_their_columns():
    found = exchange(NAMES, NAMES, rng=rng(), n_orders=50)
    assert not found.exact
    table = np.add.outer(100 * np.arange(8), np.arange(8))
    for order in found.orders:
        moved = table.ravel()[order].reshape(8, 8)
        assert (moved // 100 == moved[:, :1] // 100).all()
        assert (moved[:, 0] // 100 == moved[0] % 100).all()


def table(rows: int, columns: int, source: np.random.Generator, *, same: bool) -> np.ndarray:
    """Row and column effects, one for both where the learners are the same, a raised diagonal then, and noise."""
    row = source.normal(size=rows)
    column = row[:columns] if same else source.normal(size=columns)
    return row[:, None] + column + 0.5 * source.normal(size=(rows, columns)) + (2 * np.eye(rows, columns) if same else 0)


def share_significant(x_of, y_of, *, columns, kind, rows_only=False, n=800, cells=False) -> float:
    """How often p < 0.05 over n pairs of tables of 8 rows."""
    source, found = rng(), 0
    for _ in range(n):
        x, y = x_of(source), y_of(source)
        permutations = exchange(NAMES, columns, rows_only=rows_only, rng=source, n_orders=99)
        if cells:
            every = source.permuted(np.tile(np.arange(x.size), (99, 1)), axis=1)
            permutations = correlation.Exchanges(orders=every, exact=False, n=x.size)
        found += correlate(x.ravel(), y.ravel(), kind=kind, exchanges=permutations).p_value < stats.ALPHA
    return found / n


@pytest.mark.parametrize("same", [True, False])
def test_tables_with_row_and_column_effects_alone_are_significant_as_often_as_said(same):
    columns = NAMES if same else OTHERS

    def one(source):
        return table(8, len(columns), source, same=same)

    # 99 exchanges: p < 0.05 is p <= 0.04. The error of 800 is 0.7 points.
    assert 0.02 <= share_significant(one, one, columns=columns, kind="pearson") <= 0.07
    assert share_significant(one, one, columns=columns, kind="pearson", n=200, cells=True) > 0.2  # as if cells were units


def test_where_learners_are_the_same_rows_and_columns_apart_would_find_too_much():
    def one(source):
        return table(8, 8, source, same=True)

    renamed = [f"{name} as target" for name in NAMES]
    assert share_significant(one, one, columns=renamed, kind="pearson", n=200) > 0.1


def test_a_quantity_of_the_surrogate_alone_is_significant_as_often_as_said():
    def of_rows(source):
        return np.tile(source.normal(size=(8, 1)), (1, 8))

    def pairs(source):
        return table(8, 8, source, same=False)

    assert 0.02 <= share_significant(of_rows, pairs, columns=NAMES, rows_only=True, kind="pearson") <= 0.07
    assert share_significant(of_rows, pairs, columns=NAMES, kind="pearson", n=200, cells=True) > 0.2


@pytest.mark.slow
def test_kendall_is_significant_as_often_as_said():
    def one(source):
        return table(8, 8, source, same=True)

    assert 0.02 <= share_significant(one, one, columns=NAMES, kind="kendall", n=500) <= 0.075  # error of 500: 0.9 points


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_planted_effect_between_tables_is_found(kind, same):
    columns = NAMES if same else OTHERS
    kept: list[np.ndarray] = []

    def x_of(source):
        kept.append(table(8, len(columns), source, same=same))
        return kept[-1]

    def y_of(source):
        return kept[-1] + 0.7 * source.normal(size=kept[-1].shape)

    assert share_significant(x_of, y_of, columns=columns, kind=kind, n=40) >= 0.9


@pytest.mark.parametrize(("n_orders", "batches"), [(99, [99]), (1001, [500, 500, 1])])
def test_exchanges_are_compared_in_batches_not_one_by_one(monkeypatch, n_orders, batches):
    sizes = []

    def spy(x, y, kind):
        sizes.append(len(y))
        return coefficients(x, y, kind)

    monkeypatch.setattr(correlation, "coefficients", spy)
    x, y = rng().normal(size=(2, 20))
    of_points(x, y, "kendall", n_orders=n_orders)
    assert sizes == [1, *batches]  # first the value itself


@pytest.mark.parametrize(("kind", "n"), [("pearson", 8), ("pearson", 10), ("kendall", 8)])
def test_interval_holds_the_truth_about_as_often_as_it_says(kind, n):
    # Means over n repetitions of 40 points whose true means are planted; the interval is for these points.
    source, hits = rng(), 0
    for _ in range(150):
        truth = source.normal(size=40)
        other = truth + 0.8 * source.normal(size=40)
        noisy = [means + 0.3 * source.normal(size=(n, 40)) for means in (truth, other)]
        low, high = interval(noisy[0], noisy[1], kind=kind, rng=source, n_resamples=99)
        hits += low <= coefficient(truth, other, kind) <= high
    assert hits / 150 >= 0.93 - 3 * math.sqrt(0.93 * 0.07 / 150)


def test_interval_needs_eight_repetitions_and_points_that_differ():
    values = rng().normal(size=(8, 5))
    assert not any(map(math.isnan, interval(values, values + 1, kind="pearson", rng=rng())))
    assert all(map(math.isnan, interval(values[:7], values[:7], kind="pearson", rng=rng())))
    assert all(map(math.isnan, interval(np.ones((8, 4)), np.ones((8, 4)), kind="pearson", rng=rng())))


@pytest.mark.parametrize("sign", [1, -1])
def test_kendalls_interval_around_one_is_as_wide_as_the_ranks_are_sure(sign):
    # 6 points: tau moves in steps of 2/15, so that 1 stands for all above 14/15.
    exact = np.tile(np.arange(6.0), (8, 1))
    assert sorted(map(abs, interval(exact, sign * exact, kind="kendall", rng=rng()))) == pytest.approx([14 / 15, 1])
    # One pair whose order changes with the seed: some resamples have a tau of 1, some of 13/15, none less.
    swapped = sign * exact
    swapped[:, 1] = sign * (2 + 0.3 * np.array([1, -1.01, -0.97, 1.1, -1.03, -0.95, -1.07, -1.3]))
    means = stats.resampled_means(exact, swapped, rng=rng())
    resampled = coefficients(means[0], means[1], "kendall")
    assert {round(float(v) * 15) for v in resampled} == {13 * sign, 15 * sign}
    low, high = interval(exact, swapped, kind="kendall", rng=rng())
    assert sorted((abs(low), abs(high)))[1] == 1
    assert 0.3 < min(abs(low), abs(high)) < 14 / 15
    assert low * high > 0


def test_pearsons_interval_around_one_stays_within_one():
    exact = np.tile(np.arange(5.0), (8, 1))
    low, high = interval(exact, exact, kind="pearson", rng=rng())
    assert 0.99 < low <= 1 == high


def test_no_rounding_leads_beyond_one():
    x = np.random.default_rng(4).normal(size=(400, 7))
    for sign in (1, -1):
        found = coefficients(x, sign * 0.3 * x + 0.1, "pearson")
        assert np.abs(found).max() <= 1
        assert sign * found == pytest.approx(1)
