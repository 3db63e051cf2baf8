"""Tests of whether some measures go with an outcome more than others do, in which learners are the units.

Repetitions are none here: the same learners stand in all of them, and what one has by chance it has in each.

    exchanged   the gain is larger than that of tables whose surrogates, and whose targets, have changed places in the
                outcome: one predictor more, and one that few learners have, gain as much by chance there as here
    left out    and it lies above 0 by a t-test with the jackknife's standard error, each learner left out in turn (Tukey
                1958; the larger p-value counts): a measure of surrogates and one of pairs that go with the outcome alike
                still differ by the chance of few surrogates. A correlation over few learners is smaller, on average, than
                one over as many pairs, so the gain is tested less its bias, by the jackknife (Quenouille 1956), where
                that speaks for it; the interval reaches as far as either, with the bias and without
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import scipy.stats

from transfer_exp import correlation, stats
from transfer_exp.report.claims import power
from transfer_exp.report.claims.tests import Found
from transfer_exp.types import Ints, counted

FEWEST = 5  # learners
N_ORDERS = 199
_ROUNDING = 1e-9
_Z = float(scipy.stats.norm.ppf(power.POWER))
Axes: TypeAlias = Sequence[Sequence[str]]
Gain: TypeAlias = Callable[[Ints, Ints], float]  # of cells of the measures, and the cells of the outcome beside them


def exchanges(axes: Axes, *, n_orders: int = N_ORDERS) -> correlation.Exchanges:
    """How the learners of a table change places."""
    return correlation.exchange(*axes, rng=np.random.default_rng(0), n_orders=n_orders)


def lacking(axes: Axes, *, of_targets: bool = False) -> str:
    """Why these learners are too few for a test; empty where they are not. of_targets: a measure that only these have."""
    surrogates, targets = map(len, axes)
    if surrogates < FEWEST:
        return f"{surrogates} surrogates; the test exchanges at least {FEWEST}"
    few = of_targets and targets < FEWEST
    return f"{counted(targets, 'target')}, of which it is a measure; the test exchanges at least {FEWEST}" if few else ""


def _exchanged(gain: Gain, axes: Axes, n: int, n_orders: int) -> Found:
    """That a gain is larger than where nothing is told, one-sided."""
    orders = exchanges(axes, n_orders=n_orders)
    every = np.arange(len(axes[0]) * len(axes[1]))
    effect = gain(every, every)
    found = np.array([gain(every, order) for order in orders.orders])
    as_large = int((~(found < effect - _ROUNDING)).sum())  # one that is undefined counts against
    p_value = (as_large + (not orders.exact)) / (len(found) + (not orders.exact))
    usual = found[~np.isnan(found)]
    bound = float(np.quantile(usual, 1 - stats.ALPHA)) + _Z * float(usual.std()) if len(usual) else math.nan
    return Found(effect=effect, p_value=p_value if effect > 0 else 1.0, n=n, detectable=bound)


def gained(gain: Gain, axes: Axes, *, n: int, n_orders: int = N_ORDERS) -> Found:
    """That a gain is larger than by a chance of learners, and above 0, one-sided; the interval is over learners."""
    found = _exchanged(gain, axes, n, n_orders)
    unbiased, error, df = _left_out(gain, axes, found.effect)
    if not error > 0:
        return replace(found, p_value=1.0, detectable=math.nan)
    least, most = sorted((found.effect, unbiased))
    p_value = float(scipy.stats.t.sf(least / error, df))
    half = float(scipy.stats.t.ppf((1 + stats.LEVEL) / 2, df)) * error
    return replace(
        found, p_value=max(found.p_value, p_value), low=least - half, high=most + half,
        detectable=max(found.detectable, (float(scipy.stats.t.ppf(1 - stats.ALPHA, df)) + _Z) * error),
    )  # fmt: skip


def _left_out(gain: Gain, axes: Axes, effect: float) -> tuple[float, float, float]:
    """The gain without its bias, its standard error, and degrees of freedom, by the jackknife over surrogates and targets.

    These are a third of Satterthwaite's (1946): learners are few, and such gains skewed; by simulation, 3 to 5% of tests say
    yes where a single measure and pairs' go with the outcome alike. A learner in both roles is left out of both at once.
    """
    rows, columns = (np.array(axis) for axis in axes)
    cells = np.arange(len(rows) * len(columns)).reshape(len(rows), len(columns))
    both = set(rows) & set(columns)
    bias, variances, weights = 0.0, [0.0], [0.0]
    for units in (sorted(both), sorted(set(rows) - both), sorted(set(columns) - both)):
        kept = [cells[rows != unit][:, columns != unit].ravel() for unit in units]
        without = np.array([gain(own, own) for own in kept if len(own)])
        if len(without) > 1:
            free = len(without) - 1
            bias += free * (float(without.mean()) - effect)
            variances.append(free**2 / len(without) * float(without.var(ddof=1)))
            weights.append(variances[-1] ** 2 / free)
    total = sum(variances)
    return effect - bias, math.sqrt(total), max(1.0, total**2 / sum(weights) / 3) if total > 0 else math.nan
