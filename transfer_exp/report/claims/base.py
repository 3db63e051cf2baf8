"""What a claim is, what a study says to it, and the words of both. Claims are registered in this folder's ``__init__``."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, get_args

import pandas as pd

from transfer_exp import stats
from transfer_exp.report import comparisons, correlations, words
from transfer_exp.report.study import Study
from transfer_exp.types import Floats

_log = logging.getLogger(__name__)

Answer: TypeAlias = Literal["holds", "fails", "not tested"]
EVASION = frozenset({"classification", "detection"})
POISONING = frozenset({"poisoning"})
NOT_AFTER_HOLM = "not after Holm's correction"


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """The tests of a study, made once for all claims."""

    sign_tests: pd.DataFrame
    correlations: pd.DataFrame
    data_shares: pd.DataFrame

    @classmethod
    def of(cls, study: Study) -> Numbers:
        """Run all tests."""
        return cls(
            sign_tests=comparisons.sign_tests(study),
            correlations=correlations.correlations(study),
            data_shares=comparisons.data_shares(study),
        )


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a study says to a claim on one learner (``-``: on all); NaN where there is no such number.

    claim, statement: those of the claim, or of the part of it that this verdict is on. statistic: the value of what
    ``statistic_name`` names; low, high: its 95% interval over the seeds; n: the repetitions, or the learners that a
    permutation test exchanges. detectable: the smallest effect that a study of this size finds with 80% chance, in the
    statistic's units; for counts, the share of wins (``power``). claimed_low, claimed_high: where the claim has the
    statistic; an interval wholly outside says the opposite, not only nothing.
    """

    claim: str
    statement: str
    learner: str
    statistic_name: str
    statistic: float
    n: int
    verdict: Answer
    reason: str = ""
    p_value: float = math.nan
    p_holm: float = math.nan
    low: float = math.nan
    high: float = math.nan
    detectable: float = math.nan
    claimed_low: float = math.nan
    claimed_high: float = math.nan

    @property
    def counts(self) -> bool:
        """Whether the statistic is a count out of ``n``."""
        return self.statistic_name.startswith("repetitions")

    def plain(self) -> dict[str, Any]:
        """As JSON takes it: None for NaN."""
        values = asdict(self)
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


Judge: TypeAlias = Callable[["Claim", Study, Numbers], Iterator[Verdict]]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One published statement, and how a study answers it.

    id: number within its source. scenarios: those that it is made for; in studies of others it is not shown. What a verdict
    takes: roles, in which H and L of a family are compared ("surrogate", "target"); factors that have to vary; measures that
    have to be recorded; fewest repetitions. Where something is missing, the verdicts say "not tested" and why. judge: the
    verdicts of a study, one a learner or one on all; none where the study lacks what it needs.

    link: of the source. measured: what the source did, and how this differs; empty where it could not be read, the question
    then is this suite's own. see: other sources. test: how it is tested; turns: what would change the verdict. needs: what a
    study must have, in words; adds: what to add to the command of a study of one of the scenarios ``added_to`` that has at
    least ``n_classes`` classes; experiment: the words of a shipped study that has all of it.
    """

    id: str
    source: str
    statement: str
    link: str = ""
    measured: str = ""
    see: str = ""
    test: str = ""
    turns: str = "p on the other side of 0.05, or an effect of the other sign"
    needs: str = ""
    adds: str = ""
    added_to: frozenset[str] = frozenset({"classification", "poisoning"})
    n_classes: int = 2
    experiment: str = ""
    scenarios: frozenset[str]
    roles: tuple[str, ...] = ()
    factors: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    fewest: int
    judge: Judge

    def verdicts(self, study: Study, numbers: Numbers) -> list[Verdict]:
        """What the study says, one entry a learner; none where the claim is not about such studies."""
        return list(self.judge(self, study, numbers)) if study.scenario in self.scenarios else []

    def guarded_verdicts(self, study: Study, numbers: Numbers) -> list[Verdict]:
        """The same, but "not tested" where the judge raises, or gives what is no verdict: one claim spoils no report."""
        try:
            verdicts = self.verdicts(study, numbers)
        except Exception as error:
            _log.exception("claim %s", self.id)
            return [untested(self, "-", f"its function raised {type(error).__name__}: {error}")]
        wrong = [one for one in verdicts if not isinstance(one, Verdict) or one.verdict not in get_args(Answer)]
        return [untested(self, "-", f"its function gave {wrong[0]!r:.80}, which is no verdict")] if wrong else verdicts


def judged(p_value: float, *, as_claimed: bool) -> tuple[Answer, str]:
    """Answer of a two-sided p-value, given the side on which the statistic lies, and a remark."""
    if p_value < stats.ALPHA:
        return ("holds", "") if as_claimed else ("fails", "significant the other way round")
    return "fails", "no significant difference" if as_claimed else "not significant, and the other way round"


def of_sign_test(claim: Claim, learner: str, larger: Floats, smaller: Floats, what: str) -> Verdict:
    """Verdict of a sign test over repetitions ``(n,)``: that the values of the first are larger; ``what`` names that."""
    test = stats.sign_test(larger, smaller)
    answer, reason = judged(test.p_value, as_claimed=test.wins >= test.losses)
    few = words.too_few_differ(test)
    if few:
        answer, reason = "not tested", few
    return Verdict(
        claim=claim.id, statement=claim.statement, learner=learner, statistic_name=f"repetitions with {what}",
        statistic=test.wins if test.n else math.nan, n=test.n, verdict=answer,
        reason="; ".join(filter(None, (reason, words.means(larger, smaller)))), p_value=test.p_value,
    )  # fmt: skip


def of_interval(claim: Claim, name: str, value: float, n: int, interval: stats.Interval, *, above: float) -> Verdict:
    """Verdict of whether the interval of a statistic over n repetitions lies above a bound."""
    low, high = interval
    answer: Answer = "holds" if low > above else "fails"
    reason = "" if low > above else f"the 95% interval is not above {above:g}"
    few = words.too_few(n, claim.fewest)
    if few:
        answer, reason = "not tested", few
    return Verdict(
        claim=claim.id, statement=claim.statement, learner="-", statistic_name=name, statistic=value, n=n, low=low,
        high=high, verdict=answer, reason=reason, claimed_low=above,
    )  # fmt: skip


def untested(claim: Claim, learner: str, reason: str) -> Verdict:
    """That a claim on a learner could not be tested, and why."""
    return Verdict(
        claim=claim.id, statement=claim.statement, learner=learner, statistic_name="", statistic=math.nan, n=0,
        verdict="not tested", reason=reason,
    )  # fmt: skip
