"""Claims of Demontis et al. (USENIX Security 2019, section 5) on H against L, and on measures that go together.

Claims 1, 2a, 3a and 7 are two-sided binomial tests over the repetitions, one a learner family (``comparisons``); 3b to 4 are
correlations with permutation tests (``correlations``); 2b is an interval. Claims 5 and 6 are in ``demontis2019_attacks``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from transfer_exp import stats
from transfer_exp.report import comparisons as tests
from transfer_exp.report import correlations, words
from transfer_exp.report.claims import power
from transfer_exp.report.claims.base import (
    EVASION,
    NOT_AFTER_HOLM,
    POISONING,
    Answer,
    Claim,
    Judge,
    Numbers,
    Verdict,
    judged,
)
from transfer_exp.report.study import Study

SOURCE, LINK = "Demontis et al. 2019", "https://arxiv.org/abs/1809.02861"
MEASURED = (
    "Ten repetitions with ten learners and a forest on MNIST 8 against 9, Drebin and LFW. The same is run here, and on "
    "other data. The paper does not say how training sets of V are drawn, nor how networks are trained: these are ours"
)
EXPERIMENT = "mnist89_evasion"
SIGN_TEST = (
    "for each pair of H and L twins, in how many repetitions the claimed one has the larger value: two-sided sign test"
)
_TARGETS, _SURROGATES = (f"{role}=svm_high,svm_low 'seed=range(10)'" for role in ("target", "surrogate"))
_SIX = "svm_high,svm_low,logistic_high,logistic_low,ridge_high,ridge_low"
LEARNERS = f"surrogate={_SIX} target={_SIX} 'seed=range(10)'"
NEARLY = 0.05  # error: transfer is "nearly the same" when the interval of the difference stays within +- this


def unless(claimed: str, other: str) -> str:
    """What would turn a verdict by a sign test over 10 repetitions."""
    return f"of 10 repetitions, fewer than 9 in which {claimed} (not shown), or 9 in which {other} (the other way)"


def _unless_correlated(other: str) -> str:
    """What would turn a verdict by a correlation."""
    return f"as clear a correlation in one of 20 exchanges of learners (not shown), or significantly {other} (the other way)"


def twins(test: str, *, at_reference: bool = False) -> Judge:
    """One verdict a family, from the sign tests of H against L; at_reference: the test has rows for several epsilons."""

    def judge(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
        table = numbers.sign_tests
        rows = table[(table["test"] == test) & (table["surrogate_fraction"] == study.fraction)]
        rows = rows[rows["epsilon"] == study.epsilon_reference] if at_reference else rows
        if test == tests.SIZE and study.scenario == "classification":
            rows = rows[(rows["n"] > 0) | (rows["ties"] == 0)]  # twins that both always move by epsilon
        for _, row in rows.iterrows():
            yield _of_twins(claim, row)

    return judge


def _of_twins(claim: Claim, row: pd.Series[Any]) -> Verdict:
    expected, other = ("high", "low") if row["expected"] == "high" else ("low", "high")
    wins, losses, p_value = int(row[f"{expected}_larger"]), int(row[f"{other}_larger"]), float(row["p_value"])
    answer, reason = judged(p_value, as_claimed=wins >= losses)
    if row["reason"]:
        answer, reason = "not tested", str(row["reason"])
    elif answer == "holds" and row["p_holm"] >= stats.ALPHA:
        reason = NOT_AFTER_HOLM
    return Verdict(
        claim=claim.id, statement=claim.statement, learner=str(row["learner"]), n=int(row["n"]), verdict=answer,
        reason=reason, statistic_name=f"repetitions with {expected[0].upper()} larger",
        statistic=wins if row["n"] else math.nan, p_value=p_value, p_holm=float(row["p_holm"]),
    )  # fmt: skip


def correlated(x: str, y: str, *, sign: int) -> Judge:
    """Two verdicts, by Pearson's and Kendall's coefficient of two columns, which should have this sign."""

    def judge(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
        table = numbers.correlations
        for _, row in table[(table["x"] == x) & (table["y"] == y)].iterrows():
            verdict = _of_correlation(claim, row, sign)
            yield verdict if verdict.verdict == "not tested" else _with_power(verdict, study, row)

    return judge


def _with_power(verdict: Verdict, study: Study, row: pd.Series[Any]) -> Verdict:
    detectable = power.correlated(*correlations.tested(study, row["x"], row["y"]), row["kind"])
    reason = "; ".join(filter(None, (verdict.reason, power.undetectable(detectable))))
    return replace(verdict, detectable=detectable, reason=reason)


def _of_correlation(claim: Claim, row: pd.Series[Any], sign: int) -> Verdict:
    value, p_value = float(row["value"]), float(row["p_value"])
    answer, reason = judged(p_value, as_claimed=sign * value > 0)
    few = words.too_few(int(row["seeds"]), claim.fewest)
    if row["reason"] or few:
        answer, reason = "not tested", str(row["reason"]) or few
    reason = reason.replace("no significant difference", "not significant")
    remark = "; ".join(filter(None, (reason, str(row["points"]))))
    return Verdict(
        claim=claim.id, statement=claim.statement, learner="-", statistic_name=str(row["kind"]).capitalize(),
        statistic=value, n=int(row["n"]), verdict=answer, reason=remark, p_value=p_value, low=float(row["low"]),
        high=float(row["high"]),
    )  # fmt: skip


def little_data(claim: Claim, study: Study, numbers: Numbers) -> Iterator[Verdict]:
    """One verdict a share of the surrogate data below the largest."""
    table = numbers.data_shares
    rows = table[(table["surrogate"] == "all") & (table["epsilon"] == study.epsilon_reference)]
    name = f"difference of mean error (nearly: within ±{NEARLY:g})"
    for _, row in rows.iterrows():
        low, high = float(row["low"]), float(row["high"])
        answer: Answer = "holds" if -NEARLY < low <= high < NEARLY else "fails"
        reason = "" if answer == "holds" else f"the 95% interval leaves ±{NEARLY:g}"
        few = words.too_few(int(row["n"]), claim.fewest)
        if few:
            answer, reason = "not tested", few
        yield Verdict(
            claim=claim.id, statement=claim.statement.replace("A part", f"{row['surrogate_fraction']:.0%}"), learner="-",
            statistic_name=name, statistic=float(row["difference"]), n=int(row["n"]), verdict=answer, reason=reason,
            low=low, high=high, claimed_low=-NEARLY, claimed_high=NEARLY,
        )  # fmt: skip
    if rows.empty:
        yield Verdict(
            claim=claim.id, statement=claim.statement, learner="-", statistic_name=name, statistic=math.nan, n=0,
            verdict="not tested", reason="the study has one surrogate_fraction only",
        )  # fmt: skip


_of_repetitions = partial(
    Claim,
    added_to=EVASION | POISONING,
    experiment=EXPERIMENT,
    source=SOURCE,
    link=LINK,
    measured=MEASURED,
    test=SIGN_TEST,
    fewest=stats.fewest_repetitions(),
)
_of_learners = partial(
    Claim, experiment=EXPERIMENT,
    source=SOURCE, link=LINK, measured=MEASURED,
    test="Pearson and Kendall correlation of the means over repetitions, p by an exchange of learners as units",
    adds=LEARNERS, added_to=EVASION | POISONING,
    fewest=stats.FEWEST_FOR_MEAN,
)  # fmt: skip
_ANY = EVASION | POISONING
CLAIMS = (
    _of_repetitions(
        id="1a", adds=_TARGETS, statement="White-box: the H target has a larger error than the L target", scenarios=_ANY,
        roles=("target",), measures=("whitebox_error",),
        turns=unless("the H target errs more", "the L target does"), judge=twins(tests.WHITEBOX, at_reference=True),
    ),
    _of_repetitions(
        id="1b", adds=_TARGETS, statement="The H target has larger input gradients (S, own loss)", scenarios=_ANY,
        roles=("target",), measures=("gradient_size",),
        turns=unless("the H target has larger gradients", "the L target has"), judge=twins(tests.GRADIENT),
    ),
    _of_repetitions(
        id="1c", adds=_TARGETS, statement="The H target has larger input gradients (S, cross-entropy)", scenarios=_ANY,
        roles=("target",), measures=("gradient_size_cross_entropy",),
        turns=unless("the H target has larger gradients", "the L target has"), judge=twins(tests.GRADIENT_CROSS_ENTROPY),
    ),
    _of_repetitions(
        id="2a", adds=_SURROGATES,
        statement="Black-box: attacks made on the L surrogate transfer better than those made on H",
        scenarios=EVASION, roles=("surrogate",), measures=("error",),
        turns=unless("points made on L transfer better", "those made on H do"),
        judge=twins(tests.TRANSFER, at_reference=True),
    ),
    Claim(
        id="2b", experiment=EXPERIMENT,
        source=SOURCE, link=LINK, measured=MEASURED,
        test=f"equivalence: the 95% interval of the difference in mean error, over repetitions, lies within ±{NEARLY:g}, "
        "which is at least as strict as two one-sided t-tests at 2.5% each; there is no p",
        turns=f"an interval that leaves ±{NEARLY:g} (not shown), or lies beyond it (the other way)",
        needs="two shares of the surrogate's data, in 5 repetitions", adds="surrogate_fraction=1,0.2 'seed=range(10)'",
        added_to=EVASION,
        statement="A part of the surrogate data gives nearly the same transfer",
        scenarios=EVASION, factors=("surrogate_fraction",), measures=("error",), fewest=stats.FEWEST_FOR_MEAN,
        judge=little_data,
    ),
    _of_repetitions(
        id="3a", adds=_SURROGATES,
        statement="The L surrogate has the smaller variability of the loss (V, own loss)", scenarios=_ANY,
        roles=("surrogate",), measures=("loss_variability",),
        turns=unless("the L surrogate has the smaller V", "the H surrogate has"), judge=twins(tests.VARIABILITY),
    ),
    _of_learners(
        id="3b", statement="Mean transfer falls as the surrogate's V (own loss) grows", scenarios=EVASION,
        measures=("loss_variability", "error"),
        turns=_unless_correlated("more transfer with more V"),
        judge=correlated("loss_variability", "mean_transfer", sign=-1),
    ),
    _of_learners(
        id="3c", statement="Mean transfer falls as the surrogate's V (cross-entropy) grows", scenarios=EVASION,
        measures=("loss_variability_cross_entropy", "error"),
        turns=_unless_correlated("more transfer with more V"),
        judge=correlated("loss_variability_cross_entropy", "mean_transfer", sign=-1),
    ),
    _of_learners(
        id="4a", statement="R rises with the correlation of the perturbations (rho)", scenarios=_ANY,
        measures=("gradient_alignment", "perturbation_correlation"),
        turns=_unless_correlated("less R with more rho"),
        judge=correlated("gradient_alignment", "perturbation_correlation", sign=1),
    ),
    _of_learners(
        id="4b", statement="R rises with the ratio black-box / white-box error", scenarios=_ANY,
        measures=("gradient_alignment", "error", "whitebox_error"),
        turns=_unless_correlated("less R with a larger ratio"),
        judge=correlated("gradient_alignment", "error_ratio", sign=1),
    ),
    _of_repetitions(
        id="7a", adds=_SURROGATES, added_to=POISONING, experiment="mnist89_poisoning",
        needs="H and L of a surrogate whose points lie at different distances: of poisoning, in 6 repetitions",
        statement="At equal strength, points made on the L surrogate are changed more", scenarios=_ANY,
        roles=("surrogate",), measures=("perturbation_l2",),
        turns=unless("the points of the L surrogate are changed more", "those of H are"),
        judge=twins(tests.SIZE, at_reference=True),
    ),
    _of_repetitions(
        id="7b", adds=_SURROGATES, statement="It takes a larger change to mislead the L surrogate on half of its own points",
        scenarios=EVASION, roles=("surrogate",), measures=("surrogate_error",),
        turns=unless("it takes the larger change on L", "it does on H"), judge=twins(tests.SIZE_NEEDED),
        test=f"{SIGN_TEST}; the size is interpolated between epsilons",
    ),
)  # fmt: skip
