"""How the measures of a study go together: correlations over surrogates, targets and pairs, means over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from transfer_exp import correlation, stats
from transfer_exp.measures import registry
from transfer_exp.report import tables
from transfer_exp.report.study import Study
from transfer_exp.types import Floats, counted

Role: TypeAlias = Literal["surrogate", "target"]
PAIRS: tuple[Role, ...] = ("surrogate", "target")
_RNG_SEED = 0  # each test has its own stream, so that a row does not depend on which rows stand before it
_POINTS: Mapping[registry.Of, tuple[Role, ...]] = {"pair": PAIRS, "surrogate": ("surrogate",), "target": ("target",)}


def _plan() -> Iterator[tuple[str, str, tuple[Role, ...], bool]]:
    """x, y, what one point is, and whether x belongs to the surrogate alone though the points are pairs.

    Each measure with what it explains; and V with the error ratio, which is compared with that of R.
    """
    for of, points in _POINTS.items():
        for measure in (measure for measure in registry.MEASURES.values() if measure.of == of):
            yield from ((measure.name, y, points, False) for y in tables.explained(measure))
        if of == "pair":
            yield "loss_variability", "error_ratio", PAIRS, True


def correlations(study: Study) -> pd.DataFrame:
    """Pearson and Kendall of the measures, one row each.

    ``p_value``: learners are exchanged as wholes, see ``transfer_exp.correlation``; ``n`` counts them, ``points`` says what
    is correlated. ``low``, ``high``: 95% interval over the seeds. ``reason`` says why there is no p-value.
    """
    rows = tables.at_reference(study)
    return pd.DataFrame([row for plan in _plan() for row in _correlate(rows, *plan)])


def tested(study: Study, x: str, y: str) -> tuple[Floats, Floats, correlation.Exchanges]:
    """Two columns over the points of their row in ``correlations``, means over the seeds, and the exchanges of its test."""
    (points, rows_only), *_ = [(points, rows_only) for *names, points, rows_only in _plan() if names == [x, y]]
    rows = tables.at_reference(study)
    first, second = (stats.column_means(values) for values in by_seed(rows, [x, y], points))
    return first, second, _exchanges(axes_of(rows.dropna(subset=[x, y]), points), rows_only)


def _exchanges(axes: list[list[str]], rows_only: bool) -> correlation.Exchanges:
    return correlation.exchange(*axes, rows_only=rows_only, rng=np.random.default_rng(_RNG_SEED))


def _correlate(rows: pd.DataFrame, x: str, y: str, points: tuple[Role, ...], rows_only: bool) -> list[dict[str, Any]]:
    axes = axes_of(rows.dropna(subset=[x, y]), points)
    first, second = by_seed(rows, [x, y], points)
    exchanges = _exchanges(axes, rows_only)
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
