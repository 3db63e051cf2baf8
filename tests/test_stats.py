"""Sign tests, Holm's correction, intervals of means: against counts by hand, closed forms and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from transfer_exp import stats

MODERATE = {  # skewness of at most 2
    "normal": scipy.stats.norm(),
    "exponential": scipy.stats.expon(),
    "lognormal, log's deviation 0.5": scipy.stats.lognorm(0.5),
    "chi-squared, 3 degrees": scipy.stats.chi2(3),
    "shares around 3%": scipy.stats.beta(1, 30),
    "shares around 10%": scipy.stats.beta(1, 9),
    "shares around 20%": scipy.stats.beta(2, 8),
}


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def undefined(interval: stats.Interval) -> bool:
    return all(map(math.isnan, interval))


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


def test_interval_of_a_mean_worked_by_hand():
    # Mean 3, s = sqrt(10 / 4); with two degrees of freedom t solves t / sqrt(2 + t^2) = 0.95.
    t = math.sqrt(2 * 0.95**2 / (1 - 0.95**2))
    half = t * math.sqrt(2.5 / 5)
    assert stats.mean_interval(np.array([1.0, 2, math.nan, 3, 4, 5])) == pytest.approx((3 - half, 3 + half))


def test_interval_of_a_mean_takes_three_repetitions():
    assert undefined(stats.mean_interval(np.array([1.0, 2.0])))
    assert undefined(stats.mean_interval(np.array([1.0, math.nan, 2.0])))
    assert not undefined(stats.mean_interval(np.array([1.0, 2.0, 4.0])))
    assert stats.mean_interval(np.full(4, 0.25)) == (0.25, 0.25)


def coverage(name: str, n: int, quantile: float, samples: int = 20_000) -> float:
    """How often the mean lies within so many standard errors; the interval is symmetric, see the test by hand above."""
    values = MODERATE[name].rvs((samples, n), random_state=rng())
    away = np.abs(values.mean(axis=1) - MODERATE[name].mean())
    return float((away <= quantile * values.std(axis=1, ddof=1) / math.sqrt(n)).mean())


@pytest.mark.parametrize("n", [5, 10])
@pytest.mark.parametrize("name", MODERATE)
def test_interval_of_a_mean_covers_what_it_says_where_data_are_skewed(name, n):
    error = math.sqrt(0.93 * 0.07 / 20_000)  # of the simulation; three of them
    assert coverage(name, n, stats.quantile(n)) >= 0.93 - 3 * error


@pytest.mark.parametrize(("n", "wider"), [(5, 1.55), (10, 1.23)])
def test_interval_of_a_mean_is_little_wider_than_students_which_covers_less(n, wider):
    students = scipy.stats.t.ppf(0.975, n - 1)
    assert stats.quantile(n) / students == pytest.approx(wider, abs=0.005)
    assert coverage("exponential", n, students) < 0.91
    assert coverage("normal", n, students) == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / 20_000))


def test_resampled_means_have_the_mean_and_the_deviation_of_the_bootstrap():
    # Drawn with replacement, a mean of n has the variance sum (x - mean)^2 / n^2; n - 1 draws would have 14% more.
    values = rng().normal(size=(8, 3))
    (means,) = stats.resampled_means(values, rng=rng(), n_resamples=20_000)
    deviation = values.std(axis=0) / math.sqrt(8)
    assert means.std(axis=0) == pytest.approx(deviation, rel=4 / math.sqrt(2 * 20_000))
    assert np.abs(means.mean(axis=0) - values.mean(axis=0)).max() < 4 * deviation.max() / math.sqrt(20_000)


def test_resampled_means_draw_the_same_rows_for_all_arrays_and_leave_nan_out():
    values = rng().normal(size=(6, 2))
    holes = values.copy()
    holes[2, 0] = math.nan
    plain, doubled, without = stats.resampled_means(values, 2 * values, holes, rng=rng(), n_resamples=50)
    assert doubled == pytest.approx(2 * plain)
    assert without[:, 1] == pytest.approx(plain[:, 1])
    assert not np.isclose(without[:, 0], plain[:, 0]).all()
    assert without[:, 0].min() >= np.nanmin(holes[:, 0])


def test_resampled_interval_of_a_mean_is_that_of_the_mean():
    values = rng().normal(size=8)
    (means,) = stats.resampled_means(values[:, None], rng=rng(), n_resamples=20_000)
    found = stats.resampled_interval(float(values.mean()), means[:, 0], 8)
    exact = stats.mean_interval(values)
    assert found == pytest.approx(exact, abs=4 / math.sqrt(2 * 20_000) * (exact[1] - exact[0]) / 2)


def test_resampled_interval_needs_eight_repetitions_and_defined_values():
    values = rng().normal(size=99)
    assert undefined(stats.resampled_interval(0.0, values, 7))
    assert not undefined(stats.resampled_interval(0.0, values, 8))
    assert undefined(stats.resampled_interval(0.0, np.full(99, math.nan), 8))
    assert undefined(stats.resampled_interval(math.nan, values, 8))
    assert stats.resampled_interval(0.0, np.append(values, math.nan), 8) == stats.resampled_interval(0.0, values, 8)


def test_column_means_ignore_nan():
    means = stats.column_means(np.array([[1.0, np.nan], [3.0, np.nan]]))
    assert means[0] == 2
    assert math.isnan(means[1])
