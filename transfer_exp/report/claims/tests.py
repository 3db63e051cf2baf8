"""The tests that claims rest on, each over repetitions (seeds), which are the units; what it finds is a ``Found``.

    paired       Wilcoxon's signed ranks of paired differences: p < 0.05 takes 6 repetitions (a sign test's smallest p is as
                 large, but it stays at 2.1% false positives with 10 where this has 4.9%)
    trend        Page's L (1963) over an ordered factor, within repetitions; the effect is the mean Kendall's tau
    interior     one half of the repetitions choose the level, the others are tested: above both ends (the larger of two
                 p-values: an intersection-union test)
    equivalent   two one-sided t-tests (Schuirmann 1987)
    joint        does a predictor add to another? out of sample over repetitions, learners exchanged as units

A positive effect is one as claimed. That a curve bends: ``bends``.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.stats

from transfer_exp import correlation, stats
from transfer_exp.report.claims import power
from transfer_exp.types import Floats, Ints

FEWEST_PAIRED = 6  # of paired differences: 2 / 2^6 < 0.05
FEWEST_INTERIOR = 10  # half of them are tested, one-sided: 1 / 2^5 < 0.05
_DIGITS = 12  # after the point: means of equal counts in another order differ by rounding, and are ties
_LONGEST_ENUMERATION = 13  # repetitions, of which all 2^n signs are tried where differences are tied


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a test found: its effect with a 95% interval, p, repetitions n, and the effect found with 80% chance."""

    effect: float
    p_value: float
    n: int
    low: float = math.nan
    high: float = math.nan
    detectable: float = math.nan


def signed_ranks(differences: Floats, alternative: Literal["two-sided", "greater", "less"] = "two-sided") -> float:
    """Exact p-value of Wilcoxon's signed ranks; differences of 0 are left out, and NaN where nothing else is left."""
    values = _that_differ(differences)
    if not len(values):
        return math.nan
    if len(np.unique(np.abs(values))) == len(values) <= 50:
        return float(scipy.stats.wilcoxon(values, alternative=alternative, method="exact").pvalue)
    if len(values) > _LONGEST_ENUMERATION:
        return float(scipy.stats.wilcoxon(values, alternative=alternative, method="approx").pvalue)
    return _all_signs(_ranks_with_signs(values), alternative)


def _that_differ(differences: Floats) -> Floats:
    values = np.round(differences[~np.isnan(differences)], _DIGITS)
    return np.asarray(values[values != 0])


def _ranks_with_signs(values: Floats) -> Floats:
    return np.asarray(scipy.stats.rankdata(np.abs(values)) * np.sign(values))


def _of_mean(differences: Floats, p_value: float) -> float:
    """The p-value of signed ranks as one of the mean's side: 1 where the ranks lie on the other, or the mean on none."""
    values = _that_differ(differences)
    apart = len(values) > 0 and values.mean() * _ranks_with_signs(values).sum() <= 0
    return 1.0 if apart else p_value


def _all_signs(ranks: Floats, alternative: str) -> float:
    """The share of the 2^n signs with a sum of signed ranks at least as large."""
    n = len(ranks)
    signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    sums, own = signs @ np.abs(ranks), ranks.sum()
    if alternative == "two-sided":
        return float((np.abs(sums) >= abs(own) - 1e-9).mean())
    return float((sums >= own - 1e-9).mean() if alternative == "greater" else (sums <= own + 1e-9).mean())


def paired(differences: Floats) -> Found:
    """That paired differences ``(n,)`` are not symmetric around 0; the effect is their mean, p is 1 on its other side."""
    values = differences[~np.isnan(differences)]
    low, high = stats.mean_interval(values)
    n, sd = len(values), float(values.std(ddof=1)) if len(values) > 1 else math.nan
    effect = float(values.mean()) if n else math.nan
    return Found(
        effect=effect, p_value=_of_mean(values, signed_ranks(values)), n=n, low=low, high=high,
        detectable=power.shift(n) * sd if n else sd,
    )  # fmt: skip


def both(first: Floats, second: Floats) -> Found:
    """That both of two arrays of differences ``(n,)`` lie above 0: the smaller effect, the larger p-value."""
    found = [paired(first), paired(second)]
    weaker = min(found, key=lambda one: one.effect)
    p_values = [one.p_value if one.effect > 0 or weaker.effect < 0 else 1.0 for one in found]
    detectable = max(one.detectable for one in found)
    p_value = weaker.p_value if weaker.effect < 0 else max(p_values)
    return Found(effect=weaker.effect, p_value=p_value, n=weaker.n, low=weaker.low, high=weaker.high, detectable=detectable)


def trend(table: Floats) -> Found:
    """That values ``(n, levels)`` rise or fall with the level; levels in their order."""
    table = np.round(table[~np.isnan(table).any(axis=1)], _DIGITS)
    n, k = table.shape
    if n < 2 or k < 3:
        return Found(effect=math.nan, p_value=math.nan, n=n)
    taus = correlation.coefficients(np.arange(k, dtype=np.float64), table, "kendall")
    taus = np.nan_to_num(taus)  # a repetition in which nothing changes has no trend
    low, high = stats.mean_interval(taus)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy's remark on ties, which it gives mean ranks
        one_sided = [scipy.stats.page_trend_test(one).pvalue for one in (table, table[:, ::-1])]
    p_value = min(1.0, 2 * float(min(one_sided)))
    return Found(
        effect=float(taus.mean()), p_value=p_value, n=n, low=max(low, -1.0), high=min(high, 1.0),
        detectable=power.trend(n, k),
    )  # fmt: skip


def interior(table: Floats) -> tuple[Found, int]:
    """That an inner level of ``(n, levels)`` lies above both ends, and which: every other repetition chooses it.

    The effect is by how much it lies above the higher end, in the mean of the repetitions that did not choose it; negative
    where an end was chosen: by how much that end lies above the best inner level.
    """
    table = table[~np.isnan(table).any(axis=1)]
    n, k = table.shape
    if n < 2 or k < 3:
        return Found(effect=math.nan, p_value=math.nan, n=n), 0
    choosing, tested = table[::2].mean(axis=0), table[1::2]
    place = int(choosing.argmax())
    if place in (0, k - 1):
        inner = 1 + int(choosing[1:-1].argmax())
        above = tested[:, inner] - tested[:, place]
        return _one_sided([above], n, force=1.0), place
    return _one_sided([tested[:, place] - tested[:, 0], tested[:, place] - tested[:, -1]], n), place


def _one_sided(differences: Sequence[Floats], n: int, *, force: float | None = None) -> Found:
    weaker = min(differences, key=lambda one: float(one.mean()))
    p_values = [_of_mean(one, signed_ranks(one, "greater")) for one in differences]
    low, high = stats.mean_interval(weaker)
    sd = float(weaker.std(ddof=1)) if len(weaker) > 1 else math.nan
    p_value = force if force is not None else (1.0 if np.isnan(p_values).any() else max(p_values))
    return Found(
        effect=float(weaker.mean()),
        p_value=p_value,
        n=n,
        low=low,
        high=high,
        detectable=power.shift(len(weaker), sides=1) * sd,
    )


def above(differences: Floats, *, n: int) -> Found:
    """That differences ``(m,)`` lie above 0, one-sided: of the repetitions, of n, that did not choose what is compared."""
    return _one_sided([differences], n)


def equivalent(differences: Floats, margin: float) -> Found:
    """That the mean of differences ``(n,)`` lies within +- ``margin``: the larger p of two one-sided t-tests.

    The effect is the distance that is left to the nearer margin.
    """
    values = differences[~np.isnan(differences)]
    n = len(values)
    if n < 3:
        return Found(effect=math.nan, p_value=math.nan, n=n)
    low, high = stats.mean_interval(values)
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    if sd == 0:
        p_value = 0.0 if abs(mean) < margin else 1.0
    else:
        below = scipy.stats.ttest_1samp(values, margin, alternative="less").pvalue
        above = scipy.stats.ttest_1samp(values, -margin, alternative="greater").pvalue
        p_value = float(max(below, above))
    return Found(effect=margin - abs(mean), p_value=p_value, n=n, low=low, high=high, detectable=float(power.margin(n) * sd))


def chosen_by_others(table: Floats) -> Floats:
    """Of each repetition of ``(n, levels)`` the value at the level that is best in the mean of all others ``(n,)``."""
    best = [int(np.delete(table, i, axis=0).mean(axis=0).argmax()) for i in range(len(table))]
    return np.asarray(table[np.arange(len(table)), best])


def out_of_sample(predictors: Sequence[Floats], outcome: Floats) -> Floats:
    """Correlation ``(n,)`` of the prediction with the ranks of the outcome in each repetition, predicted from all others.

    predictors, outcome: ``(n, points)``. The prediction is linear in the predictors' ranks, so that with one predictor it is
    Spearman's coefficient but for ranks over all repetitions. The prediction is not ranked again: a weak second predictor
    seldom changes the order, and gains that are exactly 0 would be ties, which count against a claim.
    """
    n, points = outcome.shape
    ranks = [scipy.stats.rankdata(one).reshape(n, points) / (n * points) for one in predictors]
    design = np.stack([np.ones((n, points)), *ranks], axis=-1)
    target = scipy.stats.rankdata(outcome).reshape(n, points)
    gram, moment = np.einsum("spi,spj->sij", design, design), np.einsum("spi,sp->si", design, target)
    left, right = gram.sum(axis=0) - gram, moment.sum(axis=0) - moment
    ridge = 1e-9 * points * n * np.eye(design.shape[-1])
    slopes = np.linalg.solve(left + ridge, right[..., None])[..., 0]
    predicted = np.einsum("spi,si->sp", design, slopes)
    return np.nan_to_num(correlation.coefficients(predicted, scipy.stats.rankdata(outcome, axis=1), "pearson"))


def adds(own: Floats, other: Floats, outcome: Floats, orders: Ints) -> Found:
    """That ``own`` adds to ``other`` as a predictor of the outcome, all ``(n, points)``, by the mean gain out of sample.

    orders: exchanges ``(m, points)`` of whole learners (``correlation.exchange``): a gain counts if exchanged values of
    ``own`` gain as much in fewer than 5% of them.
    """
    alone = out_of_sample([other], outcome)
    gains = out_of_sample([own, other], outcome) - alone
    exchanged = [float((out_of_sample([own[:, order], other], outcome) - alone).mean()) for order in orders]
    as_large = sum(one >= gains.mean() - 1e-9 for one in exchanged)
    low, high = stats.mean_interval(gains)
    detectable = float(np.quantile(exchanged, 1 - stats.ALPHA)) + float(np.std(exchanged)) * float(
        scipy.stats.norm.ppf(power.POWER)
    )
    return Found(
        effect=float(gains.mean()), p_value=(as_large + 1) / (len(orders) + 1), n=len(outcome), low=low, high=high,
        detectable=detectable,
    )  # fmt: skip
