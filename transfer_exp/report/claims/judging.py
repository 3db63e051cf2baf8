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
NOT_RISING_TURNS = f"a significant rise (it fails); a fall, a turn, or an interval within ±{NO_TREND:g} (it holds)"


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


def not_rising(claim: Claim, part: str, table: Floats, of: str, levels: Sequence[object]) -> Verdict:
    """That values ``(n, levels)`` do not simply rise with the level; the remark has their means.

    Fails where they rise; holds where they fall, turn on the way, or show no trend larger than ``NO_TREND``; where neither
    is shown, the claim is not tested.
    """
    found = tests.trend(table)
    turns = {word: tests.interior(sign * table)[0].p_value for word, sign in (("largest", 1), ("smallest", -1))}
    turn = min(turns, key=lambda word: turns[word])
    verdict = of_found(claim, part, f"mean Kendall's tau of transfer with {of}", found)
    answer: Answer = verdict.verdict
    p_value, reason = found.p_value, verdict.reason
    if answer == "not tested":
        return verdict
    means = ", ".join(f"{mean:.3f} at {level}" for level, mean in zip(levels, table.mean(axis=0), strict=True))
    if found.p_value < stats.ALPHA and found.effect > 0:
        answer, reason = "fails", f"transfer rises with {of}"
    elif found.p_value < stats.ALPHA:
        answer, reason = "holds", f"transfer falls with {of}"
    elif 2 * turns[turn] < stats.ALPHA:
        answer, reason, p_value = "holds", f"transfer is {turn} in between", 2 * turns[turn]
    elif -NO_TREND < found.low <= found.high < NO_TREND:
        answer, reason = "holds", f"no trend: the interval lies within ±{NO_TREND:g}"
    else:
        answer, reason = "not tested", "neither a trend nor its absence is shown; more repetitions"
    return Verdict(
        claim=claim.id, statement=claim.statement, learner=part, statistic_name=verdict.statistic_name,
        statistic=found.effect, n=found.n, verdict=answer, reason=f"{reason}; means {means}", p_value=p_value,
        low=found.low, high=found.high, detectable=found.detectable,
    )  # fmt: skip


def in_error(values: Floats) -> str:
    """The same effect in plain error, as a remark on a verdict by the transfer rate."""
    return f"in error: {float(values.mean()):+.3f}" if len(values) else ""
