"""Verdicts from what a test found (``tests``)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from transfer_exp import stats
from transfer_exp.report import words
from transfer_exp.report.claims import tests
from transfer_exp.report.claims.base import Answer, Claim, Verdict, judged
from transfer_exp.report.claims.tests import Found
from transfer_exp.types import Floats

NO_TREND = 0.3  # mean Kendall's tau within +- this is no trend
NOT_RISING_TURNS = (
    f"a significant rise without a turn (it fails); a turn, a fall, or an interval within ±{NO_TREND:g} (it holds)"
)
NOT_RISING_TEST = (
    "a turn first (one half of the repetitions choose the best level; where that is no end, the other half holds it against "
    "both, one-sided: the effect is that beside the better end, p the larger of the two), then Page's trend: holds where "
    f"transfer turns, falls, or has no trend beyond a mean tau of {NO_TREND:g}; fails where it rises and no turn is shown"
)
NOT_RISING_NEEDS = f"{tests.FEWEST_PAIRED} repetitions for a trend or its absence, {tests.FEWEST_INTERIOR} for a turn"


def of_found(
    claim: Claim, part: str, name: str, found: Found, *, fewest: int | None = None, statement: str = "", remark: str = ""
) -> Verdict:
    """The verdict on a part of a claim: holds where p < 0.05 and the effect is positive. name: what the effect is.

    statement: of the part, where the claim's own does not say it. fewest: repetitions, where they are not the claim's.
    """
    answer, reason = judged(found.p_value, as_claimed=found.effect > 0)
    few = words.too_few(found.n, fewest or claim.fewest)
    if not few and math.isnan(found.p_value):
        few = "the values do not differ"
    if few:
        answer, reason = "not tested", few
    return Verdict(
        claim=claim.id, statement=statement or claim.statement, learner=part, statistic_name=name, statistic=found.effect,
        n=found.n, verdict=answer, reason="; ".join(filter(None, (reason, remark))), p_value=found.p_value, low=found.low,
        high=found.high, detectable=found.detectable, claimed_low=0.0,
    )  # fmt: skip


def given(verdict: Verdict, premise: Found, lacking: str) -> Verdict:
    """The verdict where its premise is shown, p < 0.05 and a positive effect, else "not tested", for what is lacking."""
    if verdict.verdict == "not tested" or (premise.effect > 0 and premise.p_value < stats.ALPHA):
        return verdict
    return replace(verdict, verdict="not tested", reason=lacking, p_value=math.nan)


def of_equivalence(claim: Claim, part: str, name: str, differences: Floats, margin: float, statement: str = "") -> Verdict:
    """That the mean of differences lies within +- margin; the statistic is that mean."""
    found = tests.equivalent(differences, margin)
    mean = float(differences.mean()) if len(differences) else math.nan
    answer: Answer = "holds" if found.p_value < stats.ALPHA else "fails"
    reason = f"nearly: within ±{margin:g}" if answer == "holds" else f"not shown to lie within ±{margin:g}"
    few = words.too_few(found.n, stats.FEWEST_FOR_MEAN)
    if few:
        answer, reason = "not tested", few
    return Verdict(
        claim=claim.id, statement=statement or claim.statement, learner=part, statistic_name=name, statistic=mean,
        n=found.n, verdict=answer, reason=reason, p_value=found.p_value, low=found.low, high=found.high,
        detectable=found.detectable, claimed_low=-margin, claimed_high=margin,
    )  # fmt: skip


def not_rising(
    claim: Claim, part: str, table: Floats, of: str, levels: Sequence[object], remarks: Sequence[str] = ()
) -> Verdict:
    """That transfer ``(n, levels)``, in the order of its levels, does not always rise with ``of``: it turns, falls or stays.

    A turn is a largest value in between, tested on split halves and before the trend, which a rise before it would decide;
    where there are too few repetitions for it, a rise is no verdict if the largest mean lies in between.
    """
    trend, (turn, place) = tests.trend(table), tests.interior(table)
    means = table.mean(axis=0)
    between = 0 < int(means.argmax()) < len(levels) - 1
    shown, rises = trend.p_value < stats.ALPHA, trend.effect > 0
    remark = "; ".join([", ".join(f"{m:.3f} at {level}" for m, level in zip(means, levels, strict=True)), *remarks])
    if turn.n >= tests.FEWEST_INTERIOR and turn.p_value < stats.ALPHA:
        name = "transfer above that of both ends"
        own = f"transfer turns: largest at {levels[place]}, mean tau {trend.effect:+.2f}; means {remark}"
        return of_found(claim, part, name, turn, fewest=tests.FEWEST_INTERIOR, remark=own)
    verdict = of_found(claim, part, f"mean Kendall's tau of transfer with {of}", trend)
    answer: Answer = verdict.verdict
    if answer == "not tested":
        return verdict
    if shown and rises and between and turn.n < tests.FEWEST_INTERIOR:
        answer = "not tested"
        reason = f"largest in between, and whether it turns there takes {tests.FEWEST_INTERIOR} repetitions"
    elif shown and rises:
        answer, reason = "fails", f"transfer rises with {of}{', no turn is shown' if between else ''}"
    elif shown:
        answer, reason = "holds", f"transfer falls with {of}"
    elif -NO_TREND < trend.low <= trend.high < NO_TREND:
        answer, reason = "holds", f"no trend: the interval lies within ±{NO_TREND:g}"
    else:
        answer, reason = "not tested", "neither a trend nor its absence is shown; more repetitions"
    return replace(verdict, verdict=answer, reason=f"{reason}; means {remark}")


def in_error(values: Floats) -> str:
    """The same effect in plain error, as a remark on a verdict by the transfer rate."""
    return f"in error: {float(values.mean()):+.3f}" if len(values) else ""
