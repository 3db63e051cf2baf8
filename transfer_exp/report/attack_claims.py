"""The claims of the paper (section 5) on one kind of attack only: poisoning (5) and adding features to malware (6)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from transfer_exp import stats
from transfer_exp.figures.learner_style import family, level, ordered
from transfer_exp.report import tables
from transfer_exp.report.claims import Claim, judged
from transfer_exp.report.comparisons import by_seed
from transfer_exp.report.records import Study
from transfer_exp.types import Floats, Ints

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
    wide = own.groupby(["seed", "family", "same"])["error"].mean().unstack().reindex(columns=[True, False]).dropna()
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
        own = rows[rows["target"] == target]
        wide = pd.concat({"own": _seed_means(own), "others": _seed_means(others)}, axis=1).dropna()
        yield _sign_claim(claim, statement, target, wide["others"].to_numpy(), wide["own"].to_numpy(), "others larger")


def _seed_means(rows: pd.DataFrame) -> pd.Series[float]:
    return rows.groupby(["seed", "surrogate"])["harm"].mean().groupby(level="seed").mean()


def _sign_claim(claim: str, statement: str, learner: str, larger: Floats, smaller: Floats, what: str) -> Claim:
    found = stats.sign_test(larger, smaller)
    verdict, reason = judged(found.p_value, as_claimed=found.wins > found.losses)
    fewest = stats.fewest_repetitions()
    if found.n < fewest:
        verdict, reason = "not tested", f"{found.n} repetitions that differ; p < {stats.ALPHA:g} needs {fewest}"
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
    pairs = ["surrogate", "target"]
    defined = rows.dropna(subset=["gradient_alignment", "loss_variability", "error_ratio"])
    alignment, ratio = by_seed(defined, "gradient_alignment", "error_ratio", pairs)
    variability, _ = by_seed(defined, "loss_variability", "error_ratio", pairs)

    def gap(seeds: Ints) -> float:
        y = stats.column_means(ratio[seeds])
        with_r, with_v = (stats.coefficient(stats.column_means(x[seeds]), y, "pearson") for x in (alignment, variability))
        return abs(with_r) - abs(with_v)

    value = gap(np.arange(len(ratio))) if ratio.size else math.nan
    if math.isnan(value):
        return _untested("5b", statement, "-", "R, V or the ratio is constant or not defined")
    low, high = stats.bootstrap_interval(gap, len(ratio), rng=np.random.default_rng(0))
    return _by_interval("5b", statement, name, value, ratio.shape[1], (low, high), above=0.0)


def ratio_above_one(rows: pd.DataFrame) -> Claim:
    """5e: the largest mean error ratio of a pair exceeds 1 (the interval does not correct for choosing the largest)."""
    statement = "The ratio black-box / white-box error can exceed 1"
    wide = rows.dropna(subset=["error_ratio"]).groupby(["seed", "surrogate", "target"])["error_ratio"].mean()
    if wide.empty:
        return _untested("5e", statement, "-", "no pair has a white-box error")
    table = wide.unstack(["surrogate", "target"])
    pair: Any = table.mean().idxmax()
    values = table[pair].dropna().to_numpy(dtype=np.float64)
    interval = stats.bootstrap_interval(lambda seeds: float(values[seeds].mean()), len(values), rng=np.random.default_rng(0))
    name = f"largest ratio of {table.shape[1]} pairs ({pair[0]} on {pair[1]})"
    return _by_interval("5e", statement, name, float(values.mean()), len(values), interval, above=1.0)


def _by_interval(
    claim: str, statement: str, name: str, value: float, n: int, interval: stats.Interval, *, above: float
) -> Claim:
    low, high = interval
    reason = "" if low > above else f"the 95% interval is not above {above:g}"
    reason = "an interval over repetitions needs 2 of them" if math.isnan(low) else reason
    return Claim(
        claim=claim, statement=statement, learner="-", statistic_name=name, statistic=value, n=n, low=low, high=high,
        verdict="not tested" if math.isnan(low) else "holds" if low > above else "fails", reason=reason,
    )  # fmt: skip


def _untested(claim: str, statement: str, learner: str, reason: str) -> Claim:
    return Claim(
        claim=claim, statement=statement, learner=learner, statistic_name="", statistic=math.nan, n=0,
        verdict="not tested", reason=reason,
    )  # fmt: skip


def with_holm(claims: list[Claim]) -> list[Claim]:
    """Fill in Holm's correction, over the learners of one claim, where it is still missing."""
    filled = list(claims)
    for number in {c.claim for c in claims if math.isnan(c.p_holm) and not math.isnan(c.p_value) and c.learner != "-"}:
        places = [i for i, c in enumerate(claims) if c.claim == number]
        for i, adjusted in zip(places, stats.holm([claims[i].p_value for i in places]), strict=True):
            filled[i] = replace(claims[i], p_holm=adjusted)
    return filled
