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
from transfer_exp.types import Floats, Ints

POWER = 0.8
_DRAWS = 2000
_TABLES, _ORDERS = 200, 199  # of a correlation: simulated tables, and the exchanges that each is tested with
_PAIRS = 4000  # of cells, for Kendall's tau of a large table
_ROUNDING = 1e-9


def smallest(power: Callable[[float], float], most: float, *, steps: int = 20) -> float:
    """The effect in ``(0, most)`` at which ``power`` reaches 80%; NaN where it is not reached even there."""
    if power(most) < POWER:
        return float("nan")
    low, high = 0.0, most
    for _ in range(steps):
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


def correlated(x: Floats, y: Floats, exchanges: correlation.Exchanges, kind: correlation.Kind) -> float:
    """Of a correlation of two tables ``(cells,)`` whose learners are exchanged: the mean coefficient of such tables.

    Simulated tables are x, and y with its learners at random places, in rising parts: they have the rows and columns of the
    study's own, and its learners' number. Each is tested with some of the study's exchanges. NaN where the test cannot be
    made, a cell is missing, or not even x itself is found.
    """
    if not exchanges.enough or np.isnan(x).any() or np.isnan(y).any() or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    rng = _rng()
    if kind == "kendall":
        x, y = (scipy.stats.rankdata(values) for values in (x, y))
    x, y = ((values - values.mean()) / values.std() for values in (x, y))
    orders = exchanges.orders
    every = exchanges.exact and len(orders) <= _ORDERS
    some = orders if every else orders[rng.choice(len(orders), min(_ORDERS, len(orders)), replace=False)]
    chance = y[orders[rng.integers(len(orders), size=_TABLES)]]
    firsts, seconds = _pairs_of(len(x), rng)
    own, moved = (_parts(values, kind, firsts, seconds) for values in (x[None], x[some]))

    def tables(true: float) -> Floats:
        return _parts(true * x + np.sqrt(1 - true**2) * chance, kind, firsts, seconds)

    def found(true: float) -> float:
        made = tables(true)
        as_large = (np.abs(made @ moved.T) >= np.abs(made @ own.T) - _ROUNDING).sum(axis=1)
        return float(((as_large + (not every)) / (len(some) + (not every)) < stats.ALPHA).mean())

    return float((tables(smallest(found, 0.999, steps=9)) @ own.T).mean())


def _pairs_of(n: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Pairs of n cells, all or some."""
    firsts, seconds = np.triu_indices(n, 1)
    some = rng.choice(len(firsts), min(_PAIRS, len(firsts)), replace=False)
    return firsts[some], seconds[some]


def _parts(values: Floats, kind: correlation.Kind, firsts: Ints, seconds: Ints) -> Floats:
    """Rows of unit length whose products are the coefficients of tables ``(b, cells)``: deviations, or signs of pairs."""
    if kind == "pearson":
        parts = values - values.mean(axis=1, keepdims=True)
    else:
        apart = values[:, firsts] - values[:, seconds]
        parts = np.sign(np.where(np.abs(apart) > _ROUNDING, apart, 0.0))
    length = np.sqrt((parts**2).sum(axis=1, keepdims=True))
    return np.asarray(parts / np.where(length > 0, length, 1.0))


def undetectable(detectable: float) -> str:
    """Why a correlation has no smallest detectable effect; empty where it has one."""
    return "" if np.isfinite(detectable) else "so few learners would not show any correlation with 80% chance"


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
    if verdict.statistic_name in ("Pearson", "Kendall"):
        return float("nan")  # its judge has the table, without which there is none
    if np.isfinite(verdict.high - verdict.low) and verdict.n >= 3:
        sd = (verdict.high - verdict.low) / 2 / stats.quantile(verdict.n) * np.sqrt(verdict.n)
        return float(distance(verdict.n) * sd)
    return float("nan")
