from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from transfer_exp import stats


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("kind", "reference"),
    [("pearson", lambda x, y: scipy.stats.pearsonr(x, y)), ("kendall", lambda x, y: scipy.stats.kendalltau(x, y))],
)
def test_correlation_and_p_value_agree_with_scipy_on_weakly_related_data(kind, reference):
    x = rng().normal(size=60)
    y = 0.3 * x + rng().spawn(1)[0].normal(size=60)
    ours = stats.correlate(x, y, kind=kind, rng=rng())
    theirs = reference(x, y)
    assert ours.value == pytest.approx(theirs.statistic, abs=1e-12)
    assert ours.p_value == pytest.approx(theirs.pvalue, abs=0.01)  # asymptotic against 9,999 permutations
    assert ours.n == 60


def test_kendall_with_ties_is_tau_b_and_its_p_value_is_that_of_scipys_own_permutation_test():
    x = rng().integers(0, 4, size=25).astype(float)
    y = x + rng().spawn(1)[0].integers(0, 4, size=25)
    ours = stats.correlate(x, y, kind="kendall", rng=rng(), n_resamples=999)
    theirs = scipy.stats.permutation_test(
        (x,),
        lambda moved: scipy.stats.kendalltau(moved, y).statistic,
        permutation_type="pairings",
        n_resamples=999,
        rng=rng(),
    )
    assert ours.value == pytest.approx(scipy.stats.kendalltau(x, y).statistic)
    assert ours.p_value == pytest.approx(theirs.pvalue, abs=0.01)


@pytest.mark.parametrize("kind", ["pearson", "kendall"])
def test_planted_correlation_has_the_smallest_p_value_that_the_resamples_allow(kind):
    x = np.arange(40.0)
    found = stats.correlate(x, -2 * x + 1, kind=kind, rng=rng(), n_resamples=999)
    assert found.value == pytest.approx(-1)
    assert found.p_value == pytest.approx(2 / 1000)


@pytest.mark.parametrize("kind", ["pearson", "kendall"])
def test_p_values_of_unrelated_data_are_uniform(kind):
    source = rng()
    p_values = [
        stats.correlate(source.normal(size=15), source.normal(size=15), kind=kind, rng=source, n_resamples=199).p_value
        for _ in range(200)
    ]
    assert scipy.stats.kstest(p_values, "uniform").pvalue > 0.001


def test_exact_p_value_of_four_points_by_counting():
    # Of 24 pairings only the identity has r = 1; two-sided doubles it.
    assert stats.correlate(np.arange(4.0), np.arange(4.0), kind="pearson", rng=rng()).p_value == pytest.approx(2 / 24)


@pytest.mark.parametrize("kind", ["pearson", "kendall"])
def test_constant_column_and_too_few_points_are_named_not_raised(kind):
    constant = stats.correlate(np.arange(5.0), np.full(5, 0.1), kind=kind, rng=rng())
    assert math.isnan(constant.value)
    assert math.isnan(constant.p_value)
    assert constant.reason == "constant column"
    few = stats.correlate(np.array([1.0, 2, np.nan]), np.arange(3.0), kind=kind, rng=rng())
    assert few.reason == "only 2 points"
    assert math.isnan(stats.coefficient(np.ones(4), np.arange(4.0), kind))


def test_pairs_with_nan_are_left_out():
    x, y = np.array([0.0, 1, 2, np.nan, 4]), np.array([0.0, 1, 2, 100, np.nan])
    found = stats.correlate(x, y, kind="pearson", rng=rng())
    assert (found.n, found.value) == (3, pytest.approx(1))


def test_sign_test_counts_worked_by_hand():
    # 9 of 10: 2 (1 + 10) / 1024; 8 of 10: 2 (1 + 10 + 45) / 1024.
    low = np.zeros(10)
    nine, eight = np.ones(10), np.ones(10)
    nine[0] = eight[0] = eight[1] = -1
    assert stats.sign_test(nine, low).p_value == pytest.approx(22 / 1024)
    assert stats.sign_test(eight, low).p_value == pytest.approx(112 / 1024)
    assert (stats.sign_test(eight, low).wins, stats.sign_test(eight, low).losses) == (8, 2)


def test_sign_test_drops_ties_and_missing_repetitions():
    first = np.array([1.0, 1, 1, 1, np.nan, 1 + 1e-5])
    second = np.array([0.0, 0, 2, 1, 0, 1])
    found = stats.sign_test(first, second, tolerance=1e-3)
    assert (found.wins, found.losses, found.ties, found.n) == (2, 1, 2, 3)
    assert math.isnan(stats.sign_test(np.ones(3), np.ones(3)).p_value)


def test_fewest_repetitions_is_the_first_n_with_a_significant_clean_sweep():
    n = stats.fewest_repetitions()
    assert scipy.stats.binomtest(n, n).pvalue < stats.ALPHA <= scipy.stats.binomtest(n - 1, n - 1).pvalue


def test_holm_on_an_example_worked_by_hand():
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, then never falling: 0.02, 0.03, 0.06, 0.06.
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.9, math.nan, 0.8])[0] == 1.0
    assert math.isnan(stats.holm([0.9, math.nan, 0.8])[1])
    assert stats.holm([]) == []


def test_bootstrap_interval_of_a_mean_agrees_with_scipy():
    x = rng().normal(size=30)
    low, high = stats.bootstrap_interval(lambda i: float(x[i].mean()), 30, rng=rng(), n_resamples=4000)
    theirs = scipy.stats.bootstrap((x,), np.mean, method="percentile", n_resamples=4000, rng=rng()).confidence_interval
    assert (low, high) == pytest.approx(theirs, abs=0.03)


def test_bootstrap_interval_needs_two_repetitions_and_a_defined_statistic():
    assert all(map(math.isnan, stats.bootstrap_interval(lambda i: 1.0, 1, rng=rng())))
    assert all(map(math.isnan, stats.bootstrap_interval(lambda i: math.nan, 5, rng=rng())))


def test_column_means_ignore_nan():
    means = stats.column_means(np.array([[1.0, np.nan], [3.0, np.nan]]))
    assert means[0] == 2
    assert math.isnan(means[1])


@pytest.mark.parametrize("kind", ["pearson", "kendall"])
def test_correlation_interval_holds_the_truth_about_as_often_as_it_says(kind):
    # Column means of 10 repetitions over 40 points whose true means are planted; the interval is for these points.
    source, hits = rng(), 0
    for _ in range(100):
        truth = source.normal(size=40)
        other = truth + 0.8 * source.normal(size=40)
        noisy = [means + 0.3 * source.normal(size=(10, 40)) for means in (truth, other)]
        low, high = stats.correlation_interval(noisy[0], noisy[1], kind=kind, rng=source, n_resamples=99)
        hits += low <= stats.coefficient(truth, other, kind) <= high
    assert hits >= 85


def test_correlation_interval_of_one_repetition_or_constant_points_is_undefined():
    assert all(map(math.isnan, stats.correlation_interval(np.ones((5, 4)), np.ones((5, 4)), kind="pearson", rng=rng())))
    one = rng().normal(size=(1, 4))
    assert all(map(math.isnan, stats.correlation_interval(one, one, kind="pearson", rng=rng())))


def test_correlation_interval_of_a_perfect_correlation_stays_within_one():
    exact = np.tile(np.arange(5.0), (4, 1))
    low, high = stats.correlation_interval(exact, exact, kind="pearson", rng=rng())
    assert 0.99 < low <= high <= 1
