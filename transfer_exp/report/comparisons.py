"""The comparisons of a study: H against L learner by learner, little against all surrogate data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from transfer_exp import stats
from transfer_exp.figures.style import COMPLEXITIES
from transfer_exp.report import gaps, tables, words
from transfer_exp.report.study import Study
from transfer_exp.report.taxonomy import Learners, family_label

_TIE = 1e-3  # relative: sizes on the same ball differ by rounding only
WHITEBOX, GRADIENT, GRADIENT_CROSS_ENTROPY = "white-box error", "S (own loss)", "S (cross-entropy)"
TRANSFER, VARIABILITY, VARIABILITY_CROSS_ENTROPY = "mean transfer", "V (own loss)", "V (cross-entropy)"
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
    tolerance: float = stats.ROUNDING


def strengths(study: Study) -> list[float]:
    """The epsilons of the matrices and the reference epsilon, ascending."""
    return sorted({*study.epsilon_shown, study.epsilon_reference})


def sign_tests(study: Study) -> pd.DataFrame:
    """Two-sided binomial tests of H against L over the seeds, one row a test and learner family.

    ``expected`` is the learner that the paper finds larger; ``p_holm`` corrects over the families of one test at one
    epsilon and fraction; ``reason`` says why there is no p-value.
    """
    rows: list[dict[str, Any]] = []
    for block in _blocks(study):
        own = list(_test_families(block, study.learners))
        corrected = stats.holm([row["p_value"] for row in own])
        rows += [{**row, "p_holm": p_holm} for row, p_holm in zip(own, corrected, strict=True)]
    return pd.DataFrame(rows, columns=_SIGN_COLUMNS)


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
    for test, column in ((GRADIENT, "gradient_size"), (GRADIENT_CROSS_ENTROPY, "gradient_size_cross_entropy")):
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
    losses = ((VARIABILITY, "loss_variability"), (VARIABILITY_CROSS_ENTROPY, "loss_variability_cross_entropy"))
    for test, column in losses:
        yield _Rows(test=test, role="surrogate", column=column, expected="high", rows=reference, fraction=share)
    size = tables.size_columns().get(study.norm, "perturbation_l2")
    yield _Rows(
        test=SIZE, role="surrogate", column=size, expected="low", rows=reference, epsilon=study.epsilon_reference,
        fraction=share, tolerance=_TIE,
    )  # fmt: skip
    if study.words.one_ball:
        yield _Rows(
            test=SIZE_NEEDED,
            role="surrogate",
            column="needed",
            expected="low",
            rows=needed(study),
            fraction=share,
            tolerance=_TIE,
        )


def _test_families(block: _Rows, learners: Learners) -> Iterator[dict[str, Any]]:
    names = {str(name) for name in block.rows[block.role].unique()}
    pairs = learners.pairs(names)
    for name in learners.families(n for n in names if learners.level(n)):
        pair = pairs.get(name, ("", ""))
        high, low = tables.twins(block.rows, role=block.role, pair=pair, column=block.column)
        test = stats.sign_test(high.to_numpy(), low.to_numpy(), tolerance=block.tolerance)
        yield {
            "test": block.test,
            "learner": name,
            "role": block.role,
            "epsilon": block.epsilon,
            "surrogate_fraction": block.fraction,
            "expected": block.expected,
            "mean_high": high.mean() if len(high) else math.nan,
            "mean_low": low.mean() if len(low) else math.nan,
            "high_larger": test.wins,
            "low_larger": test.losses,
            "ties": test.ties,
            "n": test.n,
            "p_value": test.p_value,
            "reason": _no_pair(block.role, name, names, learners) or _why_not(block, name, test),
        }


def _no_pair(role: str, family: str, names: set[str], learners: Learners) -> str:
    """Why a family has no pair of H and L in a role; empty where it has one."""
    for level in COMPLEXITIES:
        own = learners.at_level(family, level, names)
        kinds = [learners.of(name) for name in learners.ordered(names)]
        swept = [kind.name for kind in kinds if kind.options and (kind.family, kind.complexity) == (family, level)]
        if len(own) > 1:
            return f"several learners are {family_label(family)} {level[0].upper()} as {role}: {', '.join(own)}"
        if not own and swept:
            return f"{role}={swept[0]} has several settings, none of which is its own"
        if not own:
            return gaps.no_learner(family, level, role)
    return ""


def _why_not(block: _Rows, family: str, test: stats.SignTest) -> str:
    if test.n + test.ties == 0:
        return f"{family}: {block.test} is not defined"
    return words.too_few_differ(test)


def needed(study: Study) -> pd.DataFrame:
    """Epsilon at which each surrogate misclassifies half of its own attack points, by linear interpolation (``needed``).

    The largest epsilon of the grid where that is never reached: enough to tell which of two is larger.
    """
    rows = tables.on_all_data(study).dropna(subset=["surrogate_error"])
    rows_needed = []
    for (surrogate, target, seed), curve in rows.sort_values("epsilon").groupby(["surrogate", "target", "seed"]):
        reached = np.maximum.accumulate(curve["surrogate_error"].to_numpy())
        upto = np.searchsorted(reached, 0.5) + 1  # the first that reaches half: np.interp takes the last of equal values
        epsilon = float(np.interp(0.5, reached[:upto], curve["epsilon"].to_numpy()[:upto]))
        rows_needed.append((surrogate, target, seed, epsilon))
    return pd.DataFrame(rows_needed, columns=["surrogate", "target", "seed", "needed"])


def data_shares(study: Study) -> pd.DataFrame:
    """How much error the attack loses when the surrogate has less data, by surrogate (and ``all``), epsilon, fraction.

    difference = mean transfer with the fraction - with all data, over the pairs and seeds that both have; low, high: 95%
    interval over the n seeds, see ``stats.mean_interval``.
    """
    differences = []
    for fraction in study.fractions[1:]:
        for epsilon in strengths(study):
            key = ["surrogate", "target", "seed"]
            all_data, less = tables.at(study, epsilon), tables.at(study, epsilon, fraction)
            both = all_data.merge(less, on=key, suffixes=("", "_less"), validate="one_to_one")
            for name in ["all", *study.learners.ordered(both["surrogate"])]:
                own = both if name == "all" else both[both["surrogate"] == name]
                about = {"surrogate": name, "surrogate_fraction": fraction, "epsilon": epsilon}
                differences.append({**about, **_difference(own)})
    return pd.DataFrame(differences, columns=_SHARE_COLUMNS)


def _difference(rows: pd.DataFrame) -> dict[str, float]:
    a_seed = rows.groupby("seed")[["error", "error_less"]].mean().dropna()
    change = (a_seed["error_less"] - a_seed["error"]).to_numpy()
    low, high = stats.mean_interval(change)
    means = {"all_data": a_seed["error"].mean(), "less_data": a_seed["error_less"].mean()}
    difference = float(change.mean()) if len(change) else math.nan
    return {**means, "difference": difference, "low": low, "high": high, "n": len(change)}
