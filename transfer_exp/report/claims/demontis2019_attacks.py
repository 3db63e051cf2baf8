"""Claims of Demontis et al. (2019, section 5) on one scenario only: poisoning (5) and adding features to malware (6).

All are at the reference strength. Harm of an attack = error of the target less its clean error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from transfer_exp import correlation, stats
from transfer_exp.report import correlations, tables
from transfer_exp.report.claims import exchanging
from transfer_exp.report.claims.base import POISONING, Claim, Judge, Numbers, Verdict, of_interval, of_sign_test, untested
from transfer_exp.report.claims.demontis2019 import LEARNERS, LINK, MEASURED, SOURCE, unless
from transfer_exp.report.claims.judging import of_found
from transfer_exp.report.study import Study
from transfer_exp.report.taxonomy import Learners
from transfer_exp.types import Floats, Ints, counted

_DEFENDED = ("tuned", "sanitised", "bagged")  # not among the targets of the paper
_LINEAR = ("svm", "logistic", "ridge")


def matching_complexity(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
    """One verdict a target that is H or L: surrogates of its complexity harm it more than their twins do."""
    del numbers
    rows, level = tables.at_reference(study), study.learners.level
    for target in study.learners.ordered(rows["target"]):
        if level(target):
            own = rows[(rows["target"] == target) & rows["surrogate"].map(lambda name: level(name) is not None)]
            same = own["surrogate"].map(level) == level(target)
            own = own.assign(family=own["surrogate"].map(study.learners.family), same=same)
            wide = tables.indexed(own, ["seed", "family", "same"])["error"].unstack().reindex(columns=[True, False])
            means = wide.dropna().groupby(level="seed").mean()
            if means.empty:
                yield untested(claim, target, "no family has both H and L as surrogates")
                continue
            yield of_sign_test(claim, target, means[True].to_numpy(), means[False].to_numpy(), "matching larger")


def less_harmed(family: str, *, from_weak_linear: bool = False, less_clean: bool = True) -> Judge:
    """One verdict a target of the family: harm to it is below the mean harm to the undefended targets of other families.

    from_weak_linear: by attacks made on linear surrogates of low complexity. less_clean: harm is counted from the clean
    error, else from none.
    """

    def judge(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
        del numbers
        rows, learners = tables.at_reference(study), study.learners
        rows = rows.assign(harm=rows["error"] - (rows["clean_error"] if less_clean else 0.0))
        if from_weak_linear:
            rows = rows[[_is_weak_linear(learners, str(name)) for name in rows["surrogate"]]]
        yield from _less_harmed(claim, rows, family, learners)

    return judge


def _is_weak_linear(learners: Learners, name: str) -> bool:
    return learners.level(name) == "low" and learners.family(name) in _LINEAR


def _less_harmed(claim: Claim, rows: pd.DataFrame, family: str, learners: Learners) -> Iterator[Verdict]:
    own_targets = [name for name in learners.ordered(rows["target"]) if learners.family(name) == family]
    if not own_targets:
        yield untested(claim, family, f"no run has a {family} as target under these surrogates")
    key = ["seed", "surrogate"]
    for target in own_targets:
        others = rows[rows["target"].map(lambda other: learners.family(str(other)) not in (family, *_DEFENDED))]
        own = tables.indexed(rows[rows["target"] == target], key)["harm"]
        wide = pd.concat({"own": own, "others": others.groupby(key)["harm"].mean()}, axis=1).dropna()
        means = wide.groupby(level="seed").mean()
        yield of_sign_test(claim, target, means["others"].to_numpy(), means["own"].to_numpy(), "others larger")


def _undefended(study: Study) -> pd.DataFrame:
    """The rows at the reference strength on targets without a defence, whose white box does not know it either."""
    rows, family = tables.at_reference(study), study.learners.family
    return rows[[family(str(name)) not in _DEFENDED for name in rows["target"]]]


def alignment_over_variability(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
    """|Pearson(R, error ratio)| > |Pearson(V, error ratio)| over pairs: learners are exchanged in the ratio."""
    del numbers
    columns = ["gradient_alignment", "loss_variability", "error_ratio"]
    rows = _undefended(study).dropna(subset=columns)
    if rows.empty:
        yield untested(claim, "-", "no pair has R, V and the ratio, of targets without a defence")
        return
    axes, by_seed = (
        correlations.axes_of(rows, correlations.PAIRS),
        correlations.by_seed(rows, columns, correlations.PAIRS),
    )
    alignment, variability, ratio = (stats.column_means(values) for values in by_seed)

    def of_cells(cells: Ints, of: Ints) -> float:
        return gap(alignment[cells], variability[cells], ratio[of])

    every = np.arange(len(ratio))
    undefined = "R, V or the ratio is constant or not defined" if math.isnan(of_cells(every, every)) else ""
    if lack := undefined or exchanging.lacking(axes):
        yield untested(claim, "-", lack)
        return
    found = exchanging.gained(of_cells, axes, n=len(by_seed[0]))
    remark = f"{counted(len(axes[0]), 'surrogate')} on {counted(len(axes[1]), 'target')}"
    verdict = of_found(claim, "-", "|Pearson of R| - |Pearson of V|", found, remark=remark)
    yield replace(verdict, n=exchanging.exchanges(axes).n)


def gap(alignment: Floats, variability: Floats, ratio: Floats) -> float:
    """By how much R correlates more with the ratio than V does, over pairs ``(n,)``, whatever the signs."""
    with_r, with_v = (correlation.coefficient(x, ratio, "pearson") for x in (alignment, variability))
    return abs(with_r) - abs(with_v)


def ratio_above_one(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
    """A pair's mean error ratio exceeds 1, the pair that has the largest in one half of the repetitions.

    Targets with a defence do not count: white-box points that do not know it may do less than others.

    The interval is over the other half: over those that chose the pair, it would lie too high.
    """
    del numbers
    key = ["seed", "surrogate", "target"]
    ratios = tables.indexed(_undefended(study).dropna(subset=["error_ratio"]), key)["error_ratio"]
    table = ratios.unstack(["surrogate", "target"]).dropna(axis=1)
    if table.empty:
        yield untested(claim, "-", "no pair has a white-box error in every repetition")
        return
    chosen: Any = table.iloc[::2].mean().idxmax()
    values = table[chosen].iloc[1::2].to_numpy(dtype=np.float64)
    value = float(values.mean()) if len(values) else math.nan
    name = f"ratio of {chosen[0]} on {chosen[1]}, largest in the other half"
    verdict = of_interval(claim, name, value, len(table), stats.mean_interval(values), above=1.0)
    yield replace(verdict, n=len(values))


_of_repetitions = partial(
    Claim,
    experiment="mnist89_poisoning",
    source=SOURCE,
    link=LINK,
    measured=MEASURED,
    fewest=stats.fewest_repetitions(),
)
_HARM = ("error", "clean_error")
_OTHERS = "in how many repetitions {} {} less than the other targets without defence do in the mean: two-sided sign test"
CLAIMS = (
    _of_repetitions(
        id="5a", statement="Surrogates of the target's complexity harm it more than their twins", scenarios=POISONING,
        needs="H and L of a surrogate, and a target that is H or L, in 6 repetitions", adds=LEARNERS,
        roles=("surrogate",), measures=("error",), judge=matching_complexity,
        test="for each target that is H or L, in how many repetitions surrogates of its own complexity harm it more than "
        "their twins do, in the mean over families with both: two-sided sign test",
        turns=unless("surrogates of the target's complexity harm it more", "their twins do"),
    ),
    Claim(
        id="5b", experiment="mnist89_poisoning",
        source=SOURCE, link=LINK, measured=MEASURED,
        test="one-sided, the larger of two p-values: surrogates and targets exchanged as units, and each left out in turn "
        "(jackknife); the interval is over learners",
        needs="five surrogates or more with R, V and the ratio, of targets without a defence, in 5 repetitions",
        statement="V matters less than R for the ratio black-box / white-box error",
        scenarios=POISONING, measures=("gradient_alignment", "loss_variability", "error", "whitebox_error"),
        turns="a gap that learners, exchanged, reach by chance in one of 20 cases (not shown), or V that clearly tells more "
        "than R (the other way)",
        fewest=stats.FEWEST_FOR_MEAN, adds=LEARNERS, judge=alignment_over_variability,
    ),
    _of_repetitions(
        id="5c", statement="A forest is harder to poison than the other targets", scenarios=POISONING, measures=_HARM,
        needs="a forest among the targets, in 6 repetitions",
        adds="surrogate=svm_low,ridge_low target=svm_low,ridge_low,forest_high 'seed=range(10)'",
        judge=less_harmed("forest"), test=_OTHERS.format("the forest", "suffers"),
        turns=unless("the others suffer more", "the forest does"),
    ),
    _of_repetitions(
        id="5d", statement="From L linear surrogates, an MLP is harder to poison than the other targets",
        scenarios=POISONING, measures=_HARM, judge=less_harmed("mlp", from_weak_linear=True),
        test=_OTHERS.format("the MLP", "suffers"), turns=unless("the others suffer more", "the MLP does"),
        needs="L linear surrogates, an MLP among the targets, in 6 repetitions",
        adds="surrogate=svm_low,ridge_low target=svm_low,ridge_low,mlp_low 'seed=range(10)'",
    ),
    Claim(
        id="5e", experiment="mnist89_poisoning",
        source=SOURCE, link=LINK, measured=MEASURED,
        test="half of the repetitions choose the pair of surrogate and target with the largest ratio; in the others, the "
        "95% interval of its mean ratio has to lie above 1",
        turns="an interval that reaches down to 1 (not shown), or lies below it (the other way)",
        statement="The ratio black-box / white-box error can exceed 1", scenarios=POISONING,
        measures=("error", "whitebox_error"), needs="targets with a white-box error, in 10 repetitions", adds=LEARNERS,
        fewest=stats.FEWEST_FOR_LARGEST, judge=ratio_above_one,
    ),
    _of_repetitions(
        id="6", experiment="drebin215_evasion",
        statement="A forest is more robust than the other targets", scenarios=frozenset({"detection"}),
        measures=("error",), judge=less_harmed("forest", less_clean=False),
        test=_OTHERS.format("the forest", "errs"), turns=unless("the others err more", "the forest does"),
        added_to=frozenset({"detection"}),
        needs="a forest among the targets, in 6 repetitions", adds="target=svm_low,rbf_low,forest_high 'seed=range(10)'",
    ),
)  # fmt: skip
