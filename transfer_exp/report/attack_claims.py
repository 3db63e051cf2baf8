"""The claims of the paper (section 5) on one kind of attack only: poisoning (5) and adding features to malware (6)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from transfer_exp import correlation, stats
from transfer_exp.figures.learner_style import family, level, ordered
from transfer_exp.report import correlations, tables, words
from transfer_exp.report.claims import NOT_AFTER_HOLM, Claim, Verdict, judged
from transfer_exp.report.records import Study
from transfer_exp.types import Floats, counted

_LINEAR = ("svm", "logistic", "ridge")


def poisoning(study: Study) -> Iterator[Claim]:
    """Claim 5, at the reference strength. Harm of an attack = error of the target less its clean error."""
    if study.attack != "poisoning":
        return
    rows = tables.at_reference(study)
    rows = rows.assign(harm=rows["error"] - rows["clean_error"])
    for target in ordered(rows["target"]):
        if level(target):
            yield _matched(rows, target)
    yield alignment_over_variability(rows)
    yield from _less_harmed(rows, "5c", "forest", "A forest is harder to poison than the other targets")
    weak = rows[rows["surrogate"].isin([f"{name}_low" for name in _LINEAR])]
    yield from _less_harmed(weak, "5d", "mlp", "From L linear surrogates, an MLP is harder to poison than the other targets")
    yield ratio_above_one(rows)


def added_features(study: Study) -> Iterator[Claim]:
    """Claim 6, at the reference strength."""
    if study.attack == "evasion_add":
        rows = tables.at_reference(study)
        yield from _less_harmed(
            rows.assign(harm=rows["error"]), "6", "forest", "A forest is more robust than the other targets"
        )


def _matched(rows: pd.DataFrame, target: str) -> Claim:
    """5a: surrogates of the target's complexity harm it more than their twins do."""
    own = rows[(rows["target"] == target) & rows["surrogate"].map(lambda name: level(str(name)) is not None)]
    own = own.assign(family=own["surrogate"].map(family), same=own["surrogate"].map(level) == level(target))
    wide = tables.indexed(own, ["seed", "family", "same"])["error"].unstack().reindex(columns=[True, False]).dropna()
    means = wide.groupby(level="seed").mean()
    statement = "Surrogates of the target's complexity harm it more than their twins"
    return _sign_claim("5a", statement, target, means[True].to_numpy(), means[False].to_numpy(), "matching larger")


def _less_harmed(rows: pd.DataFrame, claim: str, name: str, statement: str) -> Iterator[Claim]:
    """One claim a target of the family: harm to it is below the mean harm to the targets of other families."""
    learners = [t for t in ordered(rows["target"]) if family(t) == name] if len(rows) else []
    if not learners:
        yield _untested(claim, statement, name, f"no run has a {name} as target under these surrogates")
    for target in learners:
        others = rows[rows["target"].map(lambda other: family(str(other)) != name)]
        key = ["seed", "surrogate"]
        own = tables.indexed(rows[rows["target"] == target], key)["harm"]
        wide = pd.concat({"own": own, "others": others.groupby(key)["harm"].mean()}, axis=1).dropna()
        means = wide.groupby(level="seed").mean()
        yield _sign_claim(claim, statement, target, means["others"].to_numpy(), means["own"].to_numpy(), "others larger")


def _sign_claim(claim: str, statement: str, learner: str, larger: Floats, smaller: Floats, what: str) -> Claim:
    found = stats.sign_test(larger, smaller)
    verdict, reason = judged(found.p_value, as_claimed=found.wins >= found.losses)
    few = words.too_few_differ(found)
    if few:
        verdict, reason = "not tested", few
    means = f"means {larger.mean():.3f} and {smaller.mean():.3f}" if len(larger) else ""
    return Claim(
        claim=claim, statement=statement, learner=learner, statistic_name=f"repetitions with {what}",
        statistic=found.wins if found.n else math.nan, n=found.n, verdict=verdict,
        reason="; ".join(filter(None, (reason, means))), p_value=found.p_value,
    )  # fmt: skip


def alignment_over_variability(rows: pd.DataFrame) -> Claim:
    """5b: |Pearson(R, error ratio)| > |Pearson(V, error ratio)| over pairs, by a bootstrap interval over the seeds."""
    statement = "V matters less than R for the ratio black-box / white-box error"
    name = "|Pearson of R| - |Pearson of V|"
    columns = ["gradient_alignment", "loss_variability", "error_ratio"]
    by_seed = correlations.by_seed(rows, columns, correlations.PAIRS)
    value = float(_gap(*(stats.column_means(values)[None] for values in by_seed))[0])
    n = len(by_seed[0])
    if math.isnan(value):
        return _untested("5b", statement, "-", "R, V or the ratio is constant or not defined")
    resampled = _gap(*stats.resampled_means(*by_seed, rng=np.random.default_rng(0)))
    interval = stats.resampled_interval(value, resampled, n)
    return _by_interval("5b", statement, name, value, n, interval, above=0.0, fewest=stats.FEWEST_FOR_CORRELATION)


def _gap(alignment: Floats, variability: Floats, ratio: Floats) -> Floats:
    """By how much R correlates more with the ratio than V does, row by row of ``(b, pairs)``, whatever the signs."""
    with_r, with_v = (correlation.coefficients(x, ratio, "pearson") for x in (alignment, variability))
    return np.abs(with_r) - np.abs(with_v)


def ratio_above_one(rows: pd.DataFrame) -> Claim:
    """5e: a pair's mean error ratio exceeds 1, the pair that has the largest in one half of the repetitions.

    The interval is over the other half: over those that chose the pair, it would lie too high.
    """
    statement = "The ratio black-box / white-box error can exceed 1"
    key = ["seed", "surrogate", "target"]
    found = tables.indexed(rows.dropna(subset=["error_ratio"]), key)["error_ratio"]
    table = found.unstack(["surrogate", "target"]).dropna(axis=1)
    if table.empty:
        return _untested("5e", statement, "-", "no pair has a white-box error in every repetition")
    chosen: Any = table.iloc[::2].mean().idxmax()
    values = table[chosen].iloc[1::2].to_numpy(dtype=np.float64)
    value = float(values.mean()) if len(values) else math.nan
    name = f"ratio of {chosen[0]} on {chosen[1]}, largest of {counted(table.shape[1], 'pair')} in the other half"
    interval = stats.mean_interval(values)
    claim = _by_interval("5e", statement, name, value, len(table), interval, above=1.0, fewest=stats.FEWEST_FOR_LARGEST)
    return replace(claim, n=len(values))


def _by_interval(
    claim: str, statement: str, name: str, value: float, n: int, interval: stats.Interval, *, above: float, fewest: int
) -> Claim:
    """Whether the interval over n repetitions lies above a bound."""
    low, high = interval
    verdict: Verdict = "holds" if low > above else "fails"
    reason = "" if low > above else f"the 95% interval is not above {above:g}"
    few = words.too_few(n, fewest)
    if few:
        verdict, reason = "not tested", few
    return Claim(
        claim=claim, statement=statement, learner="-", statistic_name=name, statistic=value, n=n, low=low, high=high,
        verdict=verdict, reason=reason,
    )  # fmt: skip


def _untested(claim: str, statement: str, learner: str, reason: str) -> Claim:
    return Claim(
        claim=claim, statement=statement, learner=learner, statistic_name="", statistic=math.nan, n=0,
        verdict="not tested", reason=reason,
    )  # fmt: skip


def with_holm(claims: list[Claim]) -> list[Claim]:
    """Fill in Holm's correction, over the learners of one claim, where it is still missing.

    A verdict is that of the p-value; where it holds and the corrected one is too large, the reason says so.
    """
    filled = list(claims)
    for number in {c.claim for c in claims if math.isnan(c.p_holm) and not math.isnan(c.p_value) and c.learner != "-"}:
        places = [i for i, c in enumerate(claims) if c.claim == number]
        for i, adjusted in zip(places, stats.holm([claims[i].p_value for i in places]), strict=True):
            lost = claims[i].verdict == "holds" and adjusted >= stats.ALPHA
            remark = "; ".join(filter(None, (NOT_AFTER_HOLM if lost else "", claims[i].reason)))
            filled[i] = replace(claims[i], p_holm=adjusted, reason=remark)
    return filled
