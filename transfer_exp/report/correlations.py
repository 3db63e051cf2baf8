"""How the measures of a study go together: correlations over surrogates, targets and pairs, means over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from transfer_exp import correlation, stats
from transfer_exp.report import tables
from transfer_exp.report.records import Study
from transfer_exp.types import Floats, counted

Role: TypeAlias = Literal["surrogate", "target"]
PAIRS: tuple[Role, ...] = ("surrogate", "target")
_RNG_SEED = 0  # each test has its own stream, so that a row does not depend on which rows stand before it
# x, y, what one point is, whether x belongs to the surrogate alone though the points are pairs
_PLAN: tuple[tuple[str, str, tuple[Role, ...], bool], ...] = (
    ("gradient_alignment", "perturbation_correlation", PAIRS, False),
    ("gradient_alignment", "error_ratio", PAIRS, False),
    ("loss_variability", "error_ratio", PAIRS, True),
    ("loss_variability", "mean_transfer", ("surrogate",), False),
    ("loss_variability_logistic", "mean_transfer", ("surrogate",), False),
    ("gradient_size", "whitebox_error", ("target",), False),
    ("gradient_size_logistic", "whitebox_error", ("target",), False),
)


def correlations(study: Study) -> pd.DataFrame:
    """Pearson and Kendall of the measures, one row each.

    ``p_value``: learners are exchanged as wholes, see ``transfer_exp.correlation``; ``n`` counts them, ``points`` says what
    is correlated. ``low``, ``high``: 95% interval over the seeds. ``reason`` says why there is no p-value.
    """
    rows = tables.at_reference(study)
    rows = rows.assign(mean_transfer=rows["error"])
    return pd.DataFrame([row for plan in _PLAN for row in _correlate(rows, *plan)])


def _correlate(rows: pd.DataFrame, x: str, y: str, points: tuple[Role, ...], rows_only: bool) -> list[dict[str, Any]]:
    axes = axes_of(rows.dropna(subset=[x, y]), points)
    first, second = by_seed(rows, [x, y], points)
    exchanges = correlation.exchange(*axes, rows_only=rows_only, rng=np.random.default_rng(_RNG_SEED))
    kinds: tuple[correlation.Kind, ...] = ("pearson", "kendall")
    found = []
    for kind in kinds:
        test = correlation.correlate(stats.column_means(first), stats.column_means(second), kind=kind, exchanges=exchanges)
        low, high = correlation.interval(first, second, kind=kind, rng=np.random.default_rng(_RNG_SEED))
        about = {"x": x, "y": y, "points": _in_words(test.n_points, axes, points), "kind": kind}
        values = {"value": test.value, "low": low, "high": high, "p_value": test.p_value}
        found.append({**about, **values, "n": test.n, "seeds": len(first), "reason": test.reason})
    return found


def axes_of(rows: pd.DataFrame, points: Sequence[Role]) -> list[list[str]]:
    """The learners in each role, sorted."""
    return [sorted(rows[role].unique()) for role in points]


def by_seed(rows: pd.DataFrame, columns: list[str], points: Sequence[Role]) -> list[Floats]:
    """Columns as arrays ``(seeds, points)`` from the rows where all are defined; NaN where a seed lacks a point.

    Points are the learners in one role (means over those in the other), or all pairs of ``axes_of``, row by row.
    """
    rows = rows.dropna(subset=columns)
    axes = axes_of(rows, points)
    key = ["seed", *points]
    wide = rows.groupby(key)[columns].mean() if len(points) == 1 else tables.indexed(rows, key)[columns]
    every = pd.MultiIndex.from_product([sorted(rows["seed"].unique()), *axes], names=key)
    shape = (len(every.levels[0]), int(np.prod([len(axis) for axis in axes])))
    return [wide[column].reindex(every).to_numpy(dtype=np.float64).reshape(shape) for column in columns]


def _in_words(n_points: int, axes: list[list[str]], points: Sequence[Role]) -> str:
    if len(points) == 1:
        return counted(n_points, points[0])
    return f"{counted(n_points, 'pair')} of {len(axes[0])} x {len(axes[1])}"
