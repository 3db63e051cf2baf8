"""Tests of significance over repetitions: sign test, intervals, correction for many tests, how many repetitions each needs.

Nothing here knows what is tested. What cannot be computed (no untied repetition, too few of them) comes back as NaN, never
as an exception or a zero. Correlations have a room of their own, ``correlation``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import scipy.stats

from transfer_exp.types import Floats

Interval: TypeAlias = tuple[float, float]
UNDEFINED: Interval = (math.nan, math.nan)
ALPHA = 0.05
ROUNDING = 1e-12  # relative: means that differ by less are equal
LEVEL = 0.95
# The fewest repetitions for a verdict. Sign tests: the fewest for which p < ALPHA can be reached, `fewest_repetitions`.
FEWEST_FOR_MEAN = 5  # by the interval of a mean, whose coverage is tested from here on
FEWEST_FOR_CORRELATION = 8  # by the interval of a correlation, which resamples the repetitions
FEWEST_FOR_LARGEST = 2 * FEWEST_FOR_MEAN  # by the interval of the largest of several means: half of them choose it


@dataclass(frozen=True, kw_only=True)
class SignTest:
    """Two-sided binomial test of paired values: how often the first was larger, smaller, equal."""

    wins: int
    losses: int
    ties: int
    p_value: float

    @property
    def n(self) -> int:
        """Number of pairs that are not tied; only these count."""
        return self.wins + self.losses


def sign_test(first: Floats, second: Floats, *, tolerance: float = ROUNDING) -> SignTest:
    """Two-sided binomial test of ``first > second`` over paired repetitions ``(n,)``; pairs with a NaN are left out.

    Pairs closer than ``tolerance`` times the larger magnitude are ties and do not count (the usual sign test): means of
    equal counts in another order differ by rounding.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    defined = ~(np.isnan(first) | np.isnan(second))
    first, second = first[defined], second[defined]
    difference = first - second
    tied = np.abs(difference) <= tolerance * np.maximum(np.abs(first), np.abs(second))
    wins, losses = int((difference > 0)[~tied].sum()), int((difference < 0)[~tied].sum())
    p_value = float(scipy.stats.binomtest(wins, wins + losses).pvalue) if wins + losses else math.nan
    return SignTest(wins=wins, losses=losses, ties=int(tied.sum()), p_value=p_value)


def fewest_repetitions(alpha: float = ALPHA) -> int:
    """Smallest n for which n wins of n have a two-sided p below ``alpha``: 2^(1 - n) < alpha."""
    return math.floor(1 - math.log2(alpha)) + 1


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979): adjusted p-values in the given order; NaN stays NaN and does not count."""
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(len(p), math.nan)
    order = [i for i in np.argsort(p, kind="stable") if not math.isnan(p[i])]
    running = 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(order) - rank) * p[i]))
        adjusted[i] = running
    return [float(value) for value in adjusted]


def mean_interval(values: Floats) -> Interval:
    """95% interval of the mean of n repetitions ``(n,)``; NaN are left out, undefined for fewer than three.

    mean +- t s / sqrt(n), Student's t with half of the n - 1 degrees of freedom, rounded down. Degrees of freedom say how
    well s^2 is known: its relative variance is 2 / (n - 1) + k / n, k the excess kurtosis, which for k = 2 is about that
    of half as many. With all n - 1, the interval covers 95% for normal data but 88% and 90% for exponential data at n = 5
    and 10 (why: Boos and Hughes-Oliver, The American Statistician 54, 2000); with half, at least 93% for both, and for
    shares and other data with a skewness of up to 2. It is then 1.55 (n = 5) and 1.23 times (n = 10) as wide. Heavier
    tails are covered less: 90% and 88% for lognormal data whose logarithm has a standard deviation of 1.
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    n = len(values)
    if n < 3:
        return UNDEFINED
    half = quantile(n) * float(values.std(ddof=1)) / math.sqrt(n)
    return float(values.mean()) - half, float(values.mean()) + half


def quantile(n: int) -> float:
    """How many standard errors a 95% interval over n >= 3 repetitions reaches to each side, see ``mean_interval``."""
    return float(scipy.stats.t.ppf((1 + LEVEL) / 2, (n - 1) // 2))


def resampled_interval(value: float, resampled: Floats, n: int) -> Interval:
    """95% interval of a statistic of n repetitions, from its values ``(B,)`` on repetitions drawn with replacement.

    value +- t standard errors, t as in ``mean_interval``. The standard error is the resampled values' standard deviation
    times sqrt(n / (n - 1)), which makes it that of the mean where the statistic is a mean (Efron and Tibshirani, An
    Introduction to the Bootstrap, 1993, chapters 5 and 6). Percentiles of so few repetitions lie too close together.
    Undefined for fewer than ``FEWEST_FOR_CORRELATION`` repetitions; values that are NaN are left out.
    """
    resampled = resampled[~np.isnan(resampled)]
    if n < FEWEST_FOR_CORRELATION or len(resampled) < 2 or math.isnan(value):
        return UNDEFINED
    half = quantile(n) * float(resampled.std(ddof=1)) * math.sqrt(n / (n - 1))
    return value - half, value + half


def resampled_means(*arrays: Floats, rng: np.random.Generator, n_resamples: int = 999) -> list[Floats]:
    """Column means ``(B, m)`` of arrays ``(n, m)`` whose n rows are drawn with replacement, the same rows for all arrays."""
    n = len(arrays[0])
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=n_resamples).astype(np.float64)
    return [_weighted_means(drawn, array) for array in arrays]


def column_means(values: Floats) -> Floats:
    """Means ``(m,)`` over the rows of ``(n, m)``, without the NaN; NaN for a column that has nothing else."""
    return np.asarray(_weighted_means(np.ones((1, len(values))), values)[0])


def _weighted_means(weights: Floats, values: Floats) -> Floats:
    """Means ``(b, m)`` of the rows of ``(n, m)``, each row counted as often as ``(b, n)`` says."""
    defined = ~np.isnan(values)
    count = weights @ defined
    total = weights @ np.where(defined, values, 0.0)
    return np.asarray(np.divide(total, count, out=np.full(count.shape, math.nan), where=count > 0))
