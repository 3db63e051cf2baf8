"""The comparisons of a study: H against L learner by learner, little against all surrogate data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from transfer_exp import stats
from transfer_exp.figures.learner_style import LEVELS, base, families, level, ordered
from transfer_exp.report import tables, words
from transfer_exp.report.records import Study

_TIE = 1e-3  # relative: sizes on the same ball differ by rounding only
WHITEBOX, GRADIENT, GRADIENT_LOGISTIC = "white-box error", "S (own loss)", "S (logistic loss)"
TRANSFER, VARIABILITY, VARIABILITY_LOGISTIC = "mean transfer", "V (own loss)", "V (logistic loss)"
SIZE, SIZE_NEEDED = "perturbation size", "epsilon that misleads half of the points"
# The columns stand here, so that a table without rows has them, too.
_SIGN_COLUMNS = [
    *("test", "learner", "role", "epsilon", "surrogate_fraction", "expected", "mean_high", "mean_low"),
    *("high_larger", "low_larger", "ties", "n", "p_value", "p_holm", "reason"),
]
_SHARE_COLUMNS = [
    *("surrogate", "surrogate_fraction", "epsilon", "all_data", "less_data", "difference", "low", "high", "n"),
]


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
    found: list[dict[str, Any]] = []
    for block in _blocks(study):
        own = list(_test_families(block))
        corrected = stats.holm([row["p_value"] for row in own])
        found += [{**row, "p_holm": p_holm} for row, p_holm in zip(own, corrected, strict=True)]
    return pd.DataFrame(found, columns=_SIGN_COLUMNS)


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
    swept = [learner for learner in absent if any(base(other) == learner for other in names)]
    if swept:
        return f"{block.role}={swept[0]} has several settings, none of which is its own"
    if absent:
        return f"no run has {block.role}={absent[0]}"
    if found.n + found.ties == 0:
        return f"{name}: {block.test} is not defined"
    return words.too_few_differ(found)


def needed(study: Study) -> pd.DataFrame:
    """Epsilon at which each surrogate misclassifies half of its own attack points, by linear interpolation (``needed``).

    The largest epsilon of the grid where that is never reached: enough to tell which of two is larger.
    """
    rows = tables.on_all_data(study).dropna(subset=["surrogate_error"])
    found = []
    for (surrogate, target, seed), curve in rows.sort_values("epsilon").groupby(["surrogate", "target", "seed"]):
        reached = np.maximum.accumulate(curve["surrogate_error"].to_numpy())
        upto = np.searchsorted(reached, 0.5) + 1  # the first that reaches half: np.interp takes the last of equal values
        epsilon = float(np.interp(0.5, reached[:upto], curve["epsilon"].to_numpy()[:upto]))
        found.append((surrogate, target, seed, epsilon))
    return pd.DataFrame(found, columns=["surrogate", "target", "seed", "needed"])


def data_shares(study: Study) -> pd.DataFrame:
    """How much error the attack loses when the surrogate has less data, by surrogate (and ``all``), epsilon, fraction.

    difference = mean transfer with the fraction - with all data, over the pairs and seeds that both have; low, high: 95%
    interval over the n seeds, see ``stats.mean_interval``.
    """
    found = []
    for fraction in study.fractions[1:]:
        for epsilon in strengths(study):
            key = ["surrogate", "target", "seed"]
            all_data, less = tables.at(study, epsilon), tables.at(study, epsilon, fraction)
            both = all_data.merge(less, on=key, suffixes=("", "_less"), validate="one_to_one")
            for name in ["all", *ordered(both["surrogate"])]:
                own = both if name == "all" else both[both["surrogate"] == name]
                about = {"surrogate": name, "surrogate_fraction": fraction, "epsilon": epsilon}
                found.append({**about, **_difference(own)})
    return pd.DataFrame(found, columns=_SHARE_COLUMNS)


def _difference(rows: pd.DataFrame) -> dict[str, float]:
    a_seed = rows.groupby("seed")[["error", "error_less"]].mean()
    change = (a_seed["error_less"] - a_seed["error"]).to_numpy()
    low, high = stats.mean_interval(change)
    means = {"all_data": a_seed["error"].mean(), "less_data": a_seed["error_less"].mean()}
    difference = float(change.mean()) if len(change) else math.nan
    return {**means, "difference": difference, "low": low, "high": high, "n": len(change)}
