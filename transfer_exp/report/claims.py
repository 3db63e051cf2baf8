"""The claims of the paper (section 5) that a study can test, each with its verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import pandas as pd

from transfer_exp import stats
from transfer_exp.report import comparisons as tests
from transfer_exp.report import correlations, words
from transfer_exp.report.records import Study

Verdict: TypeAlias = Literal["holds", "fails", "not tested"]
NEARLY = 0.05  # error: transfer is "nearly the same" when the interval of the difference stays within +- this
NOT_AFTER_HOLM = "not after Holm's correction"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One statement on one learner (``-``: on all) and what the study says to it; NaN where there is no such number.

    statistic: the value of what ``statistic_name`` names; low, high: its 95% interval over the seeds; n: the repetitions, or
    the learners that a permutation test exchanges.
    """

    claim: str
    statement: str
    learner: str
    statistic_name: str
    statistic: float
    n: int
    verdict: Verdict
    reason: str = ""
    p_value: float = math.nan
    p_holm: float = math.nan
    low: float = math.nan
    high: float = math.nan

    @property
    def counts(self) -> bool:
        """Whether the statistic is a count out of ``n``."""
        return self.statistic_name.startswith("repetitions")

    def plain(self) -> dict[str, Any]:
        """As JSON takes it: None for NaN."""
        values = asdict(self)
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """The tests of a study, made once."""

    sign_tests: pd.DataFrame
    correlations: pd.DataFrame
    data_shares: pd.DataFrame

    @classmethod
    def of(cls, study: Study) -> Numbers:
        """Run all tests."""
        return cls(
            sign_tests=tests.sign_tests(study),
            correlations=correlations.correlations(study),
            data_shares=tests.data_shares(study),
        )


_PAIRED: tuple[tuple[str, str, str, bool], ...] = (
    # claim, test, statement, at the reference epsilon (else the test has none)
    ("1a", tests.WHITEBOX, "White-box: the H target has a larger error than the L target", True),
    ("1b", tests.GRADIENT, "The H target has larger input gradients (S, own loss)", False),
    ("1c", tests.GRADIENT_LOGISTIC, "The H target has larger input gradients (S, logistic loss)", False),
    ("2a", tests.TRANSFER, "Black-box: attacks made on the L surrogate transfer better than those made on H", True),
    ("3a", tests.VARIABILITY, "The L surrogate has the smaller variability of the loss (V, own loss)", False),
    ("7a", tests.SIZE, "At equal strength, points made on the L surrogate are changed more", True),
    ("7b", tests.SIZE_NEEDED, "It takes a larger change to mislead the L surrogate on half of its own points", False),
)
_CORRELATED: tuple[tuple[str, str, str, int, str], ...] = (
    ("3b", "loss_variability", "mean_transfer", -1, "Mean transfer falls as the surrogate's V (own loss) grows"),
    (
        "3c",
        "loss_variability_logistic",
        "mean_transfer",
        -1,
        "Mean transfer falls as the surrogate's V (logistic loss) grows",
    ),
    ("4a", "gradient_alignment", "perturbation_correlation", 1, "R rises with the correlation of the perturbations (rho)"),
    ("4b", "gradient_alignment", "error_ratio", 1, "R rises with the ratio black-box / white-box error"),
)
_NOT_FOR_POISONING = {"2a", "2b", "3b", "3c", "7b"}


def paired(study: Study, numbers: Numbers) -> Iterator[Claim]:
    """Claims on H against L, one a learner family: two-sided binomial tests over the seeds."""
    table = numbers.sign_tests
    for claim, test, statement, at_epsilon in _PAIRED:
        if study.attack == "poisoning" and claim in _NOT_FOR_POISONING:
            continue
        rows = table[(table["test"] == test) & (table["surrogate_fraction"] == study.fraction)]
        rows = rows[rows["epsilon"] == study.epsilon_reference] if at_epsilon else rows
        if test == tests.SIZE and study.attack == "evasion":
            rows = rows[(rows["n"] > 0) | (rows["ties"] == 0)]  # twins that both always move by epsilon
        for _, row in rows.iterrows():
            yield _of_sign_test(claim, statement, row)


def _of_sign_test(claim: str, statement: str, row: pd.Series[Any]) -> Claim:
    expected, other = ("high", "low") if row["expected"] == "high" else ("low", "high")
    wins, losses, p_value = int(row[f"{expected}_larger"]), int(row[f"{other}_larger"]), float(row["p_value"])
    verdict, reason = judged(p_value, as_claimed=wins >= losses)
    if row["reason"]:
        verdict, reason = "not tested", str(row["reason"])
    elif verdict == "holds" and row["p_holm"] >= stats.ALPHA:
        reason = NOT_AFTER_HOLM
    return Claim(
        claim=claim, statement=statement, learner=str(row["learner"]), n=int(row["n"]), verdict=verdict, reason=reason,
        statistic_name=f"repetitions with {expected[0].upper()} larger", statistic=wins if row["n"] else math.nan,
        p_value=p_value, p_holm=float(row["p_holm"]),
    )  # fmt: skip


def judged(p_value: float, *, as_claimed: bool) -> tuple[Verdict, str]:
    """Verdict of a two-sided p-value, given the side on which the statistic lies."""
    if p_value < stats.ALPHA:
        return ("holds", "") if as_claimed else ("fails", "significant the other way round")
    return "fails", "no significant difference" if as_claimed else "not significant, and the other way round"


def correlated(study: Study, numbers: Numbers) -> Iterator[Claim]:
    """Claims that two measures go together: Pearson and Kendall with permutation p-values."""
    table = numbers.correlations
    for claim, x, y, sign, statement in _CORRELATED:
        if study.attack == "poisoning" and claim in _NOT_FOR_POISONING:
            continue
        for _, row in table[(table["x"] == x) & (table["y"] == y)].iterrows():
            yield _of_correlation(claim, statement, row, sign)


def _of_correlation(claim: str, statement: str, row: pd.Series[Any], sign: int) -> Claim:
    value, p_value = float(row["value"]), float(row["p_value"])
    verdict, reason = judged(p_value, as_claimed=sign * value > 0)
    few = words.too_few(int(row["seeds"]), stats.FEWEST_FOR_MEAN)
    if row["reason"] or few:
        verdict, reason = "not tested", str(row["reason"]) or few
    reason = reason.replace("no significant difference", "not significant")
    remark = "; ".join(filter(None, (reason, str(row["points"]))))
    return Claim(
        claim=claim, statement=statement, learner="-", statistic_name=str(row["kind"]).capitalize(), statistic=value,
        n=int(row["n"]), verdict=verdict, reason=remark, p_value=p_value, low=float(row["low"]), high=float(row["high"]),
    )  # fmt: skip


def little_data(study: Study, numbers: Numbers) -> Iterator[Claim]:
    """Claim 2b: a fraction of the surrogate data gives nearly the same transfer."""
    if study.attack == "poisoning":
        return
    table = numbers.data_shares
    rows = table[(table["surrogate"] == "all") & (table["epsilon"] == study.epsilon_reference)]
    statement = "{} of the surrogate data gives nearly the same transfer"
    name = f"difference of mean transfer (nearly: within ±{NEARLY:g})"
    for _, row in rows.iterrows():
        low, high = float(row["low"]), float(row["high"])
        verdict: Verdict = "holds" if -NEARLY < low <= high < NEARLY else "fails"
        reason = "" if verdict == "holds" else f"the 95% interval leaves ±{NEARLY:g}"
        few = words.too_few(int(row["n"]), stats.FEWEST_FOR_MEAN)
        if few:
            verdict, reason = "not tested", few
        yield Claim(
            claim="2b", statement=statement.format(f"{row['surrogate_fraction']:.0%}"), learner="-", statistic_name=name,
            statistic=float(row["difference"]), n=int(row["n"]), verdict=verdict, reason=reason, low=low, high=high,
        )  # fmt: skip
    if rows.empty:
        yield Claim(
            claim="2b", statement=statement.format("A part"), learner="-", statistic_name=name, statistic=math.nan, n=0,
            verdict="not tested", reason="the study has one surrogate_fraction only",
        )  # fmt: skip
