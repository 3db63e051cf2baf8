"""Do similar models make the same mistake? See Waseda et al. (WACV 2023, arXiv 2112.14337): SM1."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from transfer_exp import correlation, stats
from transfer_exp.report import correlations, tables
from transfer_exp.report.claims import power, tests
from transfer_exp.report.claims.base import EVASION, Claim, Numbers, Verdict
from transfer_exp.report.claims.judging import of_found
from transfer_exp.report.study import Study

_COLUMNS = ("same_mistake", "other_mistake", "gradient_alignment")


def similar_err_alike(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
    """Pearson and Kendall, over pairs, of R with the share of the target's mistakes that are the surrogate's."""
    del numbers
    rows = tables.at_reference(study)
    if any(name not in rows or rows[name].isna().all() for name in _COLUMNS):
        return
    mistakes = rows["same_mistake"] + rows["other_mistake"]
    rows = rows.assign(same=rows["same_mistake"] / mistakes.where(mistakes > 0)).dropna(
        subset=["same", "gradient_alignment"]
    )
    first, second = correlations.by_seed(rows, ["gradient_alignment", "same"], correlations.PAIRS)
    exchanges = correlation.exchange(*correlations.axes_of(rows, correlations.PAIRS), rng=np.random.default_rng(0))
    means = stats.column_means(first), stats.column_means(second)
    kinds: tuple[correlation.Kind, ...] = ("pearson", "kendall")
    for kind in kinds:
        test = correlation.correlate(*means, kind=kind, exchanges=exchanges)
        detectable = power.correlated(*means, exchanges, kind)
        low, high = correlation.interval(first, second, kind=kind, rng=np.random.default_rng(0))
        found = tests.Found(effect=test.value, p_value=test.p_value, n=len(first), low=low, high=high, detectable=detectable)
        verdict = of_found(claim, "-", kind.capitalize(), found, remark=power.undetectable(detectable))
        reason = test.reason or verdict.reason
        answer = "not tested" if test.reason else verdict.verdict
        yield replace(verdict, n=test.n, verdict=answer, reason=reason, claimed_low=math.nan)  # the interval is over seeds


CLAIMS = (
    Claim(
        id="SM1", n_classes=3, experiment="mnist_evasion",
        source="this suite", see="Waseda et al. 2023 (https://arxiv.org/abs/2112.14337)",
        scenarios=EVASION, fewest=stats.FEWEST_FOR_MEAN, judge=similar_err_alike,
        statement="The more similar two models are, the more of the target's mistakes are those of the surrogate",
        test="over pairs of models, Pearson and Kendall correlation of R (gradient alignment) with the share of the "
        "target's mistakes that name the surrogate's class; p by an exchange of learners as units",
        turns="as clear a correlation in one of 20 exchanges of learners (not shown); or significantly fewer shared "
        "mistakes between models that are more alike (the other way)",
        needs="three classes or more, five learners or more, in 5 repetitions", measures=_COLUMNS,
        adds="'surrogate=glob(*_low)' 'target=glob(*_low)' 'seed=range(10)'",
    ),
)  # fmt: skip
