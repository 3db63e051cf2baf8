"""Statistics of the recomputation of claims, with numpy, pandas and scipy alone; nothing of transfer_exp takes part."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.stats

Array = np.ndarray[Any, Any]
TIE, FEWEST = 1e-9, 6


class Number(NamedTuple):
    """One part of a claim: its effect and, where they are recomputed, p and the 95% interval."""

    claim: str
    part: str
    name: str
    effect: float
    p_value: float | None = None
    ends: tuple[float, float] | None = None


Of = Callable[[pd.DataFrame, pd.DataFrame], Iterator[Number]]
"""From ``runs.csv`` and ``curves.csv``, or ``all_runs.csv`` and ``all_curves.csv``, at all strengths."""


def interval(values: Array) -> tuple[float, float]:
    """Half of the degrees of freedom, as the suite's intervals of means have it (docs of ``stats.mean_interval``)."""
    half = scipy.stats.t.ppf(0.975, (len(values) - 1) // 2) * values.std(ddof=1) / math.sqrt(len(values))
    return values.mean() - half, values.mean() + half


def signed_ranks(values: Array, *, one_sided: bool = False) -> float:
    """The share of all signs whose sum of ranks lies as far from 0; 1 where the mean lies on the ranks' other side."""
    values = np.round(values, 9)
    values = values[values != 0]
    ranks = scipy.stats.rankdata(np.abs(values))
    own = float(np.dot(ranks, np.sign(values)))
    if values.mean() * own <= 0:
        return 1.0
    sums = [float(np.dot(ranks, signs)) for signs in itertools.product((-1, 1), repeat=len(values))]
    as_far = [one >= own - 1e-9 if one_sided else abs(one) >= abs(own) - 1e-9 for one in sums]
    return float(np.mean(as_far))


def kendall(x: Sequence[float], y: Sequence[float]) -> float:
    return float(scipy.stats.kendalltau(x, y).statistic)


def pearson(x: Sequence[float], y: Sequence[float]) -> float:
    return float(np.corrcoef(x, y)[0, 1])


COEFFICIENTS = {"Pearson": pearson, "Kendall": kendall}


def page_trend(table: Array) -> tuple[float, float]:
    """Mean Kendall's tau over rows, and twice the smaller of Page's one-sided p-values."""
    taus = np.nan_to_num([kendall(range(table.shape[1]), row) for row in table])
    return taus.mean(), min(1.0, 2 * min(scipy.stats.page_trend_test(one).pvalue for one in (table, table[:, ::-1])))


def trend(claim: str, part: str, name: str, table: Array) -> Number:
    """Page's trend; its interval is that of the mean tau, cut to what a tau can be."""
    taus = np.nan_to_num([kendall(range(table.shape[1]), row) for row in table])
    low, high = interval(taus)
    return Number(claim, part, name, *page_trend(table), (max(-1.0, low), min(1.0, high)))


def turn_or_trend(claim: str, part: str, name: str, table: Array) -> Number:
    """The turn, where even repetitions choose an inner level and the others show it above both ends; else the trend."""
    place, last = int(table[::2].mean(axis=0).argmax()), table.shape[1] - 1
    if 0 < place < last:
        ends = [table[1::2, place] - table[1::2, end] for end in (0, last)]
        p_value, lesser = max(signed_ranks(one, one_sided=True) for one in ends), min(ends, key=lambda one: one.mean())
        if p_value < 0.05:
            return Number(claim, part, "transfer above that of both ends", lesser.mean(), p_value, interval(lesser))
    return trend(claim, part, name, table)


def paired(claim: str, part: str, name: str, values: Array) -> Number:
    return Number(claim, part, name, values.mean(), signed_ranks(values), interval(values))


def sign_test(claim: str, part: str, name: str, gains: Array) -> Iterator[Number]:
    """In how many repetitions there is a gain, of those that differ; nothing where fewer than 6 do."""
    wins, n = int((gains > TIE).sum()), int((np.abs(gains) > TIE).sum())
    if n >= FEWEST:
        yield Number(claim, part, name, wins, float(scipy.stats.binomtest(wins, n).pvalue))


def at_reference(runs: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    return curves[np.isclose(curves["epsilon"], float(runs["epsilon.reference"].iloc[0]))]


def most(runs: pd.DataFrame, curves: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The attack and the share of the surrogate's data that most runs have: what claims are about."""
    for column in ("attack", "surrogate_fraction"):
        value = runs[column].value_counts().index[0]
        runs, curves = runs[runs[column] == value], curves[curves[column] == value]
    return runs, curves


def rates(curves: pd.DataFrame) -> pd.DataFrame:
    """Mean transfer rate over targets, seeds x surrogates."""
    return curves.groupby(["seed", "surrogate"])["transfer_rate"].mean().unstack()


def settings(surrogate: str) -> tuple[str, dict[str, str]]:
    """Of ``name[setting=value,...]`` the name, and the values as they are written."""
    name, _, rest = surrogate.rstrip("]").partition("[")
    return name, dict(one.split("=") for one in rest.split(",") if one)
