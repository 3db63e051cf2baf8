"""The tests of a study: H against L learner by learner, correlations of measures, little against all surrogate data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from transfer_exp import stats
from transfer_exp.figures.learner_style import LEVELS, families, level, ordered
from transfer_exp.report import tables
from transfer_exp.report.records import Study
from transfer_exp.types import Floats

_RNG_SEED = 0  # each test has its own stream, so that a row does not depend on which rows stand before it
_TIE = 1e-3  # relative: sizes on the same ball differ by rounding only
WHITEBOX, GRADIENT, GRADIENT_LOGISTIC = "white-box error", "S (own loss)", "S (logistic loss)"
TRANSFER, VARIABILITY, VARIABILITY_LOGISTIC = "mean transfer", "V (own loss)", "V (logistic loss)"
SIZE, SIZE_NEEDED = "perturbation size", "epsilon that misleads half of the points"


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """What one block of H/L tests compares: a column of the rows, learners in one role."""

    test: str
    role: str
    column: str
    expected: str
    rows: pd.DataFrame
    epsilon: float = math.nan
    fraction: float
    tolerance: float = 0.0


def strengths(study: Study) -> list[float]:
    """The epsilons of the matrices and the reference epsilon, ascending."""
    return sorted({*study.epsilon_shown, study.epsilon_reference})


def sign_tests(study: Study) -> pd.DataFrame:
    """Two-sided binomial tests of H against L over the seeds, one row a test and learner family.

    ``expected`` is the learner that the paper finds larger; ``p_holm`` corrects over the families of one test at one
    epsilon and fraction; ``reason`` says why there is no p-value.
    """
    parts = [pd.DataFrame(_test_families(block)) for block in _blocks(study)]
    for part in parts:
        if len(part):
            part.insert(list(part.columns).index("reason"), "p_holm", stats.holm(part["p_value"].tolist()))
    return pd.concat([part for part in parts if len(part)], ignore_index=True) if any(map(len, parts)) else pd.DataFrame()


def _blocks(study: Study) -> Iterator[_Rows]:
    share, reference = study.fraction, tables.at_reference(study)
    for epsilon in strengths(study):
        rows = tables.at(study, epsilon)
        yield _Rows(
            test=WHITEBOX,
            role="target",
            column="whitebox_error",
            expected="high",
            rows=rows,
            epsilon=epsilon,
            fraction=share,
        )
    for test, column in ((GRADIENT, "gradient_size"), (GRADIENT_LOGISTIC, "gradient_size_logistic")):
        yield _Rows(test=test, role="target", column=column, expected="high", rows=reference, fraction=share)
    for fraction in study.fractions:
        for epsilon in strengths(study):
            rows = tables.at(study, epsilon, fraction)
            yield _Rows(
                test=TRANSFER,
                role="surrogate",
                column="error",
                expected="low",
                rows=rows,
                epsilon=epsilon,
                fraction=fraction,
            )
    for test, column in ((VARIABILITY, "loss_variability"), (VARIABILITY_LOGISTIC, "loss_variability_logistic")):
        yield _Rows(test=test, role="surrogate", column=column, expected="high", rows=reference, fraction=share)
    size = f"perturbation_{study.norm}" if study.norm in tables.SIZES else "perturbation_l2"
    yield _Rows(
        test=SIZE, role="surrogate", column=size, expected="low", rows=reference, epsilon=study.epsilon_reference,
        fraction=share, tolerance=_TIE,
    )  # fmt: skip
    if study.attack != "poisoning":
        yield _Rows(
            test=SIZE_NEEDED,
            role="surrogate",
            column="needed",
            expected="low",
            rows=needed(study),
            fraction=share,
            tolerance=_TIE,
        )


def _test_families(block: _Rows) -> Iterator[dict[str, Any]]:
    names = {str(name) for name in block.rows[block.role].unique()}
    for name in families(n for n in names if level(n)):
        high, low = tables.twins(block.rows, role=block.role, name=name, column=block.column)
        found = stats.sign_test(high.to_numpy(), low.to_numpy(), tolerance=block.tolerance)
        yield {
            "test": block.test,
            "learner": name,
            "role": block.role,
            "epsilon": block.epsilon,
            "surrogate_fraction": block.fraction,
            "expected": block.expected,
            "mean_high": high.mean() if len(high) else math.nan,
            "mean_low": low.mean() if len(low) else math.nan,
            "high_larger": found.wins,
            "low_larger": found.losses,
            "ties": found.ties,
            "n": found.n,
            "p_value": found.p_value,
            "reason": _why_not(block, name, names, found),
        }


def _why_not(block: _Rows, name: str, names: set[str], found: stats.SignTest) -> str:
    absent = [f"{name}_{lvl}" for lvl in LEVELS if f"{name}_{lvl}" not in names]
    if absent:
        return f"no run has {block.role}={absent[0]}"
    if found.n + found.ties == 0:
        return f"{name}: {block.test} is not defined"
    fewest = stats.fewest_repetitions()
    if found.n < fewest:
        return f"{found.n} repetitions differ, {found.ties} are ties; p < {stats.ALPHA:g} needs {fewest} that differ"
    return ""


def needed(study: Study) -> pd.DataFrame:
    """Epsilon at which each surrogate misclassifies half of its own attack points, by linear interpolation (``needed``).

    The largest epsilon of the grid where that is never reached: enough to tell which of two is larger.
    """
    rows = study.curves[np.isclose(study.curves["surrogate_fraction"], study.fraction)].dropna(subset=["surrogate_error"])
    found = []
    for (surrogate, target, seed), curve in rows.sort_values("epsilon").groupby(["surrogate", "target", "seed"]):
        reached = np.maximum.accumulate(curve["surrogate_error"].to_numpy())
        found.append((surrogate, target, seed, float(np.interp(0.5, reached, curve["epsilon"].to_numpy()))))
    return pd.DataFrame(found, columns=["surrogate", "target", "seed", "needed"])


def correlations(study: Study) -> pd.DataFrame:
    """Pearson and Kendall of the measures, with permutation p-values and bootstrap intervals over the seeds."""
    rows = tables.at_reference(study)
    rows = rows.assign(mean_transfer=rows["error"])
    plan = [
        ("gradient_alignment", "perturbation_correlation", ["surrogate", "target"]),
        ("gradient_alignment", "error_ratio", ["surrogate", "target"]),
        ("loss_variability", "error_ratio", ["surrogate", "target"]),
        ("loss_variability", "mean_transfer", ["surrogate"]),
        ("loss_variability_logistic", "mean_transfer", ["surrogate"]),
        ("gradient_size", "whitebox_error", ["target"]),
        ("gradient_size_logistic", "whitebox_error", ["target"]),
    ]
    found = [_correlate(rows, x, y, points, kind) for x, y, points in plan for kind in ("pearson", "kendall")]
    return pd.DataFrame(found)


def _correlate(rows: pd.DataFrame, x: str, y: str, points: list[str], kind: stats.Kind) -> dict[str, Any]:
    first, second = by_seed(rows, x, y, points)
    rng = np.random.default_rng(_RNG_SEED)
    found = stats.correlate(stats.column_means(first), stats.column_means(second), kind=kind, rng=rng)
    low, high = stats.correlation_interval(first, second, kind=kind, rng=rng)
    values = {"value": found.value, "low": low, "high": high, "p_value": found.p_value}
    about = {"x": x, "y": y, "points": " x ".join(points), "kind": kind}
    return {**about, **values, "n": found.n, "seeds": len(first), "reason": found.reason}


def by_seed(rows: pd.DataFrame, x: str, y: str, points: list[str]) -> tuple[Floats, Floats]:
    """Two columns as arrays ``(seeds, points)``, from the rows where both are defined; NaN where a seed lacks a point."""
    rows = rows.dropna(subset=[x, y])
    if rows.empty:
        return np.empty((0, 0)), np.empty((0, 0))
    grouped = rows.groupby(["seed", *points])[[x, y]].mean()
    wide = grouped.unstack(points)
    return wide[x].to_numpy(dtype=np.float64), wide[y].to_numpy(dtype=np.float64)


def data_shares(study: Study) -> pd.DataFrame:
    """How much error the attack loses when the surrogate has less data, by surrogate (and ``all``), epsilon, fraction.

    difference = mean transfer with the fraction - with all data, over the pairs and seeds that both have; low, high: 95%
    bootstrap interval over the seeds.
    """
    found = []
    for fraction in study.fractions[1:]:
        for epsilon in strengths(study):
            key = ["surrogate", "target", "seed"]
            both = tables.at(study, epsilon).merge(tables.at(study, epsilon, fraction), on=key, suffixes=("", "_less"))
            for name in ["all", *ordered(both["surrogate"])]:
                own = both if name == "all" else both[both["surrogate"] == name]
                about = {"surrogate": name, "surrogate_fraction": fraction, "epsilon": epsilon}
                found.append({**about, **_difference(own)})
    return pd.DataFrame(found)


def _difference(rows: pd.DataFrame) -> dict[str, float]:
    a_seed = rows.groupby("seed")[["error", "error_less"]].mean()
    change = (a_seed["error_less"] - a_seed["error"]).to_numpy()
    rng = np.random.default_rng(_RNG_SEED)
    low, high = stats.bootstrap_interval(lambda seeds: float(change[seeds].mean()), len(change), rng=rng)
    means = {"all_data": a_seed["error"].mean(), "less_data": a_seed["error_less"].mean()}
    return {
        **means,
        "difference": float(change.mean()) if len(change) else math.nan,
        "low": low,
        "high": high,
        "n": len(change),
    }
