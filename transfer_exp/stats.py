"""Tests of significance: correlation, sign test, intervals over repetitions, correction for many tests.

Nothing here knows what is tested. What cannot be computed (a constant column, no untied repetition) comes back as NaN
with a reason in words, never as an exception or a zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import scipy.stats

from transfer_exp.types import Floats, Ints

Kind: TypeAlias = Literal["pearson", "kendall"]
Interval: TypeAlias = tuple[float, float]
UNDEFINED: Interval = (math.nan, math.nan)
ALPHA = 0.05
_FEWEST_POINTS = 3


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """A correlation of n points with its two-sided permutation p-value; NaN with a reason where it is undefined."""

    kind: Kind
    value: float
    p_value: float
    n: int
    reason: str = ""


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


def coefficient(x: Floats, y: Floats, kind: Kind) -> float:
    """Pearson's r or Kendall's tau-b of two arrays ``(n,)``; pairs with a NaN are left out; NaN when it is undefined."""
    x, y = _complete(x, y)
    if _undefined(x, y):
        return math.nan
    if kind == "pearson":
        return float(_standardised(x) @ _standardised(y))
    above_x, above_y = np.sign(x[:, None] - x), np.sign(y[:, None] - y)
    return float((above_x * above_y).sum() / np.sqrt((above_x**2).sum() * (above_y**2).sum()))


def correlate(x: Floats, y: Floats, *, kind: Kind, rng: np.random.Generator, n_resamples: int = 9999) -> Correlation:
    """Correlation of two arrays ``(n,)`` with the p-value of ``scipy.stats.permutation_test`` (pairings, two-sided).

    Exact when n! is at most ``n_resamples``. Pairs with a NaN are left out.
    """
    x, y = _complete(x, y)
    reason = _undefined(x, y)
    if reason:
        return Correlation(kind=kind, value=math.nan, p_value=math.nan, n=len(x), reason=reason)
    statistic = _pearson_with(y) if kind == "pearson" else _kendall_with(y)
    test = scipy.stats.permutation_test(
        (x,), statistic, permutation_type="pairings", vectorized=True, n_resamples=n_resamples, batch=500, rng=rng
    )
    return Correlation(kind=kind, value=coefficient(x, y, kind), p_value=float(test.pvalue), n=len(x))


def sign_test(first: Floats, second: Floats, *, tolerance: float = 0.0) -> SignTest:
    """Two-sided binomial test of ``first > second`` over paired repetitions ``(n,)``.

    Pairs closer than ``tolerance`` times the larger magnitude are ties and do not count (the usual sign test).
    """
    first, second = _complete(first, second)
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


def bootstrap_interval(
    statistic: Callable[[Ints], float], n: int, *, rng: np.random.Generator, level: float = 0.95, n_resamples: int = 999
) -> Interval:
    """Percentile interval of ``statistic(indices)`` when the n repetitions ``0..n-1`` are drawn with replacement.

    Resamples for which the statistic is NaN are left out; NaN when n < 2 or when no resample is defined.
    """
    if n < 2:
        return UNDEFINED
    values = np.array([statistic(rng.integers(n, size=n)) for _ in range(n_resamples)])
    values = values[~np.isnan(values)]
    if not len(values):
        return UNDEFINED
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def correlation_interval(
    first: Floats, second: Floats, *, kind: Kind, rng: np.random.Generator, n_resamples: int = 999
) -> Interval:
    """95% interval of the correlation between the column means of two arrays ``(repetitions, points)``.

    The repetitions are drawn with replacement; the interval is normal on Fisher's scale, atanh r +- 1.96 deviations of the
    resampled atanh r. Resampled means are noisier than the means themselves, so that percentiles would all lie too low.
    """
    n = len(first)
    centre = coefficient(column_means(first), column_means(second), kind)
    if n < 2 or math.isnan(centre):
        return UNDEFINED
    draws = rng.integers(n, size=(n_resamples, n))
    values = np.array([coefficient(column_means(first[rows]), column_means(second[rows]), kind) for rows in draws])
    values = values[~np.isnan(values)]
    if len(values) < 2:
        return UNDEFINED
    half = scipy.stats.norm.ppf(0.975) * _fisher(values).std(ddof=1)
    low, high = np.tanh(_fisher(np.array([centre])) + np.array([-half, half]))
    return min(float(low), centre), max(float(high), centre)  # the clip below moves an r of 1


def _fisher(r: Floats) -> Floats:
    return np.asarray(np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12)))


def column_means(values: Floats) -> Floats:
    """Means ``(m,)`` over the rows of ``(n, m)``, without the NaN; NaN for a column that has nothing else."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=0)
    total = np.where(defined, values, 0.0).sum(axis=0)
    return np.asarray(np.divide(total, count, out=np.full(values.shape[1], math.nan), where=count > 0))


def _complete(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    kept = ~(np.isnan(x) | np.isnan(y))
    return x[kept], y[kept]


def _undefined(x: Floats, y: Floats) -> str:
    if len(x) < _FEWEST_POINTS:
        return f"only {len(x)} points"
    if _constant(x) or _constant(y):
        return "constant column"
    return ""


def _constant(x: Floats) -> bool:
    return bool(np.ptp(x) <= 1e-12 * np.abs(x).max())


def _standardised(x: Floats) -> Floats:
    centred = x - x.mean()
    return np.asarray(centred / np.linalg.norm(centred))


def _pearson_with(y: Floats) -> Callable[..., Floats]:
    fixed = _standardised(y)

    def statistic(x: Floats, axis: int = -1) -> Floats:
        centred = x - x.mean(axis=axis, keepdims=True)
        return np.asarray((centred @ fixed) / np.linalg.norm(centred, axis=axis))

    return statistic


def _kendall_with(y: Floats) -> Callable[..., Floats]:
    # Tau-b's denominator does not change under permutation: concordant less discordant pairs order the permutations alike.
    ranks = scipy.stats.rankdata(y, method="dense").astype(np.float32)

    def statistic(x: Floats, axis: int = -1) -> Floats:
        moved = scipy.stats.rankdata(x, method="dense", axis=axis).astype(np.float32)
        total = np.zeros(moved.shape[:-1])
        for lag in range(1, len(ranks)):
            total += np.sign(moved[..., lag:] - moved[..., :-lag]) @ np.sign(ranks[lag:] - ranks[:-lag])
        return total

    return statistic
