"""The smallest effect that a study of its size would have found in four of five repetitions of the whole study.

Found by simulation with normal noise: for each size of effect the share of significant results, and the size at which it is
80%. In units of what a verdict shows: a share of wins, a correlation, a distance, or a mean Kendall's tau.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import scipy.stats

from transfer_exp import correlation, stats
from transfer_exp.report.claims.base import Verdict
from transfer_exp.types import Floats

POWER = 0.8
_DRAWS = 2000


def smallest(power: Callable[[float], float], most: float) -> float:
    """The effect in ``(0, most)`` at which ``power`` reaches 80%; NaN where it is not reached even there."""
    if power(most) < POWER:
        return float("nan")
    low, high = 0.0, most
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


@functools.cache
def wins(n: int) -> float:
    """Of a sign test over n repetitions: the chance of a win in each, beyond one half."""
    significant = [k for k in range(n + 1) if k > n / 2 and scipy.stats.binomtest(k, n).pvalue < stats.ALPHA]
    if not significant:
        return float("nan")
    return 0.5 + smallest(lambda more: float(scipy.stats.binom.sf(significant[0] - 1, n, 0.5 + more)), 0.5)


@functools.cache
def shift(n: int, sides: int = 2) -> float:
    """Of Wilcoxon's signed ranks over n differences, one- or two-sided: their mean, in standard deviations."""
    noise, signs = _rng().normal(size=(_DRAWS, n)), np.sign
    total = n * (n + 1) / 2

    def positive(values: Floats) -> Floats:
        ranks = np.abs(values).argsort(axis=1).argsort(axis=1) + 1
        return np.asarray((ranks * (signs(values) > 0)).sum(axis=1))

    # The exact distribution of the sum of positive ranks: each rank is positive or not.
    counts = np.ones(1)
    for rank in range(1, n + 1):
        counts = np.convolve(counts, np.concatenate([[1.0], np.zeros(rank - 1), [1.0]]))
    upper = np.cumsum((counts / counts.sum())[::-1])[::-1]
    significant = np.flatnonzero(sides * upper < stats.ALPHA)
    if not len(significant):
        return float("nan")
    return smallest(lambda more: float((positive(noise + more) >= significant[0]).mean()), min(10.0, total))


@functools.cache
def distance(n: int) -> float:
    """Of the interval of a mean of n values: the distance of the true mean from a bound, in standard deviations."""
    if n < 3:
        return float("nan")
    noise = _rng().normal(size=(_DRAWS, n))
    mean, error = noise.mean(axis=1), noise.std(axis=1, ddof=1) / np.sqrt(n)
    return smallest(lambda more: float((mean + more > stats.quantile(n) * error).mean()), 100.0)


@functools.cache
def margin(n: int) -> float:
    """Of two one-sided t-tests over n values: the distance of the true mean from the nearer margin, in standard deviations.

    The other margin is far; where the two are near each other, it takes more.
    """
    if n < 3:
        return float("nan")
    noise = _rng().normal(size=(_DRAWS, n))
    mean, error = noise.mean(axis=1), noise.std(axis=1, ddof=1) / np.sqrt(n)
    needed = float(scipy.stats.t.ppf(1 - stats.ALPHA, n - 1))
    return smallest(lambda more: float((mean + more > needed * error).mean()), 100.0)


@functools.cache
def coefficient(n: int, kind: correlation.Kind) -> float:
    """Of a correlation over n learners: its true value, for Pearson's r; the mean of Kendall's tau where it is that."""
    if n < 5:
        return float("nan")
    x, noise = _rng().normal(size=(2, _DRAWS, n))
    bound = np.quantile(np.abs(correlation.coefficients(x, noise, kind)), 1 - stats.ALPHA)

    def found(true: float) -> Floats:
        return correlation.coefficients(x, true * x + np.sqrt(1 - true**2) * noise, kind)

    true = smallest(lambda value: float((found(value) > bound).mean()), 0.999)
    return float(found(true).mean()) if kind == "kendall" and np.isfinite(true) else true


@functools.cache
def trend(n: int, k: int) -> float:
    """Of Page's L over n repetitions of k levels: the mean Kendall's tau of value and level."""
    if n < 2 or k < 3:
        return float("nan")
    noise, level = _rng().normal(size=(_DRAWS // 4, n, k)), np.arange(k)

    def page(values: Floats) -> Floats:
        return np.asarray((values.argsort(axis=2).argsort(axis=2) * level).sum(axis=(1, 2)))

    bound = np.quantile(page(noise), 1 - stats.ALPHA / 2)
    slope = smallest(lambda more: float((page(noise + more * level) > bound).mean()), 10.0)
    tilted = (noise + slope * level).reshape(-1, k)
    return float(correlation.coefficients(level.astype(np.float64), tilted, "kendall").mean())


def with_detectable(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Fill in the smallest detectable effect where a verdict's own test has not."""
    return [one if np.isfinite(one.detectable) else replace(one, detectable=_of(one)) for one in verdicts]


def _of(verdict: Verdict) -> float:
    if verdict.n < 1:
        return float("nan")
    if verdict.counts:
        return wins(verdict.n)
    name = verdict.statistic_name.lower()
    if name in ("pearson", "kendall"):
        return coefficient(min(verdict.n, 60), "pearson" if name == "pearson" else "kendall")
    if np.isfinite(verdict.high - verdict.low) and verdict.n >= 3:
        sd = (verdict.high - verdict.low) / 2 / stats.quantile(verdict.n) * np.sqrt(verdict.n)
        return float(distance(verdict.n) * sd)
    return float("nan")
