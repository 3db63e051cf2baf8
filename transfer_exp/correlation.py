"""Correlations over learners and over surrogate x target tables: coefficients, permutation tests, intervals over seeds.

The cells of a table are not independent points: those of a row share a surrogate, those of a column a target. So the test
exchanges whole learners, never cells, and n is the number of learners exchanged (Mantel 1967; Hubert and Schultz 1976, the
quadratic assignment procedure; for two-mode tables rows and columns apart). A learner that is surrogate and target takes
its row and its column along: R of a pair is nearly R of the reversed pair, and pairs of one learner on two data sets are
special, so that rows and columns moved apart would compare with tables that cannot arise.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from transfer_exp import stats
from transfer_exp.types import Floats, Ints, counted

Kind: TypeAlias = Literal["pearson", "kendall"]
Bools: TypeAlias = npt.NDArray[np.bool_]
_BATCH = 500  # tables compared at a time, so that they stay in the processor's cache
_FEWEST_POINTS, _ROUNDING = 3, 1e-9  # coefficients closer than this are equal


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """A correlation with its two-sided permutation p-value; NaN with a reason where it is undefined or cannot be tested.

    n: number of learners that are exchanged; n_points: number of points (cells) that are correlated.
    """

    kind: Kind
    value: float
    p_value: float
    n: int
    n_points: int
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Exchanges:
    """Permutations of the learners, as orders ``(m, cells)`` of a table's cells row by row.

    exact: these are all permutations, the identity among them; else a random sample. n: number of learners exchanged.
    """

    orders: Ints
    exact: bool
    n: int

    @property
    def enough(self) -> bool:
        """Whether p < 0.05 can be reached: a perfect correlation and its reverse are two of all permutations."""
        return not self.exact or 2 / len(self.orders) < stats.ALPHA


def exchange(
    rows: Sequence[str],
    columns: Sequence[str] = ("",),
    *,
    rows_only: bool = False,
    rng: np.random.Generator,
    n_orders: int = 9999,
) -> Exchanges:
    """Permute the learners of a table: all permutations if there are at most ``n_orders``, else so many random ones.

    Names that are rows and columns are exchanged among themselves, a row together with its column; other rows among
    themselves, other columns among themselves. rows_only: a quantity that only the rows have; the columns stay.
    """
    shared = set() if rows_only else set(rows) & set(columns)
    row_units = [("both" if name in shared else "row", name) for name in rows]
    column_units = [("both" if name in shared else "column", name) for name in columns]
    units = list(dict.fromkeys([*row_units, *column_units]))
    kinds = ("row",) if rows_only else ("both", "row", "column")
    blocks = [[i for i, unit in enumerate(units) if unit[0] == kind] for kind in kinds]
    exact = math.prod(math.factorial(len(block)) for block in blocks) <= n_orders
    moved = _all_permutations(blocks, len(units)) if exact else _random_permutations(blocks, len(units), rng, n_orders)
    row_order, column_order = (_places(own, units, moved) for own in (row_units, column_units))
    orders = (row_order[:, :, None] * len(columns) + column_order[:, None, :]).reshape(len(moved), -1)
    return Exchanges(orders=orders, exact=exact, n=sum(len(block) for block in blocks if len(block) > 1))


def _all_permutations(blocks: list[list[int]], n_units: int) -> Ints:
    """All permutations ``(m, n_units)`` within the blocks."""
    permutations = np.tile(np.arange(n_units), (math.prod(math.factorial(len(block)) for block in blocks), 1))
    chosen = itertools.product(*(itertools.permutations(block) for block in blocks))
    permutations[:, list(itertools.chain(*blocks))] = [list(itertools.chain(*parts)) for parts in chosen]
    return permutations


def _random_permutations(blocks: list[list[int]], n_units: int, rng: np.random.Generator, n_orders: int) -> Ints:
    """Random permutations ``(n_orders, n_units)`` within the blocks."""
    permutations = np.tile(np.arange(n_units), (n_orders, 1))
    for block in blocks:
        permutations[:, block] = rng.permuted(permutations[:, block], axis=1)
    return permutations


def _places(own: list[tuple[str, str]], units: list[tuple[str, str]], moved: Ints) -> Ints:
    """Which row (or column) comes to the place of each ``(m, rows)`` when unit ``moved[:, i]`` takes the place of unit i."""
    place = np.array([own.index(unit) if unit in own else -1 for unit in units], dtype=np.int64)
    return np.asarray(place[moved[:, np.array([units.index(unit) for unit in own], dtype=np.int64)]])


def correlate(x: Floats, y: Floats, *, kind: Kind, exchanges: Exchanges) -> Correlation:
    """Correlation of two tables ``(cells,)``, row by row, and how rare one as large is when learners are exchanged in y.

    p = share of the exchanges with an absolute correlation at least as large: of all, or, for a random sample of m of them,
    (b + 1) / (m + 1). Cells with a NaN are left out, in each exchange those that then meet one.
    """
    value = coefficient(x, y, kind)
    n_points = int((~(np.isnan(x) | np.isnan(y))).sum())
    reason = _undefined(x, y)
    if not reason and not exchanges.enough:
        found = f"{counted(len(exchanges.orders), 'permutation')} of {counted(exchanges.n, 'learner')}"
        reason = f"{found}; p < {stats.ALPHA:g} needs more than {2 / stats.ALPHA:.0f}, as 5 learners have"
    p_value = math.nan if reason else _p_value(x, y, value, kind, exchanges)
    return Correlation(kind=kind, value=value, p_value=p_value, n=exchanges.n, n_points=n_points, reason=reason)


def _p_value(x: Floats, y: Floats, value: float, kind: Kind, exchanges: Exchanges) -> float:
    batches = range(0, len(exchanges.orders), _BATCH)
    found = np.concatenate([coefficients(x, y[exchanges.orders[i : i + _BATCH]], kind) for i in batches])
    as_large = int((~(np.abs(found) < abs(value) - _ROUNDING)).sum())  # one that is undefined counts against
    return as_large / len(found) if exchanges.exact else (as_large + 1) / (len(found) + 1)


def coefficient(x: Floats, y: Floats, kind: Kind) -> float:
    """Pearson's r or Kendall's tau-b of two arrays ``(n,)``; pairs with a NaN are left out; NaN when it is undefined."""
    return float(coefficients(x, y[None], kind)[0])


def coefficients(x: Floats, y: Floats, kind: Kind) -> Floats:
    """Row by row, the coefficient of ``(n,)`` or ``(b, n)`` with ``(b, n)``: an array ``(b,)``, see ``coefficient``."""
    x, y = np.broadcast_arrays(x, y)
    defined = ~(np.isnan(x) | np.isnan(y))
    x, y = (np.where(defined, values, 0.0) for values in (x, y))
    shared, own_x, own_y = (_pearson_sums if kind == "pearson" else _kendall_sums)(x, y, defined)
    usable = (defined.sum(axis=-1) >= _FEWEST_POINTS) & ~_constant(x, defined) & ~_constant(y, defined)
    scale = np.sqrt(np.where(usable, own_x, 1.0)) * np.sqrt(np.where(usable, own_y, 1.0))
    return np.where(usable, np.clip(shared / scale, -1.0, 1.0), math.nan)


def _pearson_sums(x: Floats, y: Floats, defined: Bools) -> tuple[Floats, Floats, Floats]:
    """Sums of products of deviations from the mean: x with y, x with x, y with y."""
    n = np.maximum(defined.sum(axis=-1, keepdims=True), 1)
    x, y = (np.where(defined, values - values.sum(axis=-1, keepdims=True) / n, 0.0) for values in (x, y))
    return (x * y).sum(axis=-1), (x * x).sum(axis=-1), (y * y).sum(axis=-1)


def _kendall_sums(x: Floats, y: Floats, defined: Bools) -> tuple[Floats, Floats, Floats]:
    """Concordant less discordant pairs; pairs not tied in x; not tied in y. By sorting, in n log n steps (Knight 1966).

        sort by x, then y;  discordant = pairs whose y are in the wrong order
        concordant = all pairs - tied in x - tied in y + tied in both - discordant

    Undefined points count as one more value, the largest in x and in y: tied among themselves, concordant with the others.
    """
    used = defined.any(axis=0)  # a table of a sweep may be mostly gaps
    x, y = (np.where(defined, _without_dust(values), math.inf)[:, used] for values in (x, y))
    n_defined, n = defined.sum(axis=-1), x.shape[-1]
    order = np.lexsort((y, x))
    x, y = (np.take_along_axis(values, order, axis=-1) for values in (x, y))
    same_x = x[:, 1:] == x[:, :-1]
    tied_x, tied_both = _tied(same_x), _tied(same_x & (y[:, 1:] == y[:, :-1]))
    discordant, y = _inversions(y)
    tied_y = _tied(y[:, 1:] == y[:, :-1])
    pairs = n * (n - 1) // 2 - n_defined * (n - n_defined)
    shared = pairs - tied_x - tied_y + tied_both - 2 * discordant
    return shared.astype(np.float64), (pairs - tied_x).astype(np.float64), (pairs - tied_y).astype(np.float64)


def _without_dust(values: Floats) -> Floats:
    """Rows ``(b, n)`` to 12 digits, 0 below 1e-14 of the largest: means of equal counts are equal in any order."""
    size = np.abs(values)
    kept = size > 1e-14 * size.max(axis=-1, keepdims=True, initial=0.0)
    unit = 10.0 ** np.floor(np.log10(size, where=kept, out=np.zeros_like(size)))
    return np.asarray(np.round(np.where(kept, values, 0.0) / unit, 11) * unit)


def _tied(same: Bools) -> Ints:
    """Number of equal pairs in sorted rows; ``same (b, n - 1)``: whether a value equals the one before it."""
    place = np.arange(1, same.shape[-1] + 1)
    start = np.maximum.accumulate(np.where(same, 0, place), axis=-1)
    return np.asarray((place - start).sum(axis=-1))


def _inversions(values: Floats) -> tuple[Ints, Floats]:
    """Number of pairs of each row ``(b, n)`` in falling order, and the sorted rows: a merge sort that counts."""
    n, width = values.shape[-1], 1
    size = 1 << max(n - 1, 0).bit_length()
    values = np.pad(values, ((0, 0), (0, size - n)), constant_values=math.inf)
    found = np.zeros(len(values), dtype=np.int64)
    while width < size:
        halves = values.reshape(len(values), -1, 2 * width)
        order = np.argsort(halves, axis=-1, kind="stable")
        passed = np.where(order < width, np.arange(2 * width) - order, 0)  # values of the right half before one of the left
        found += passed.sum(axis=(1, 2))
        values = np.take_along_axis(halves, order, axis=-1).reshape(values.shape)
        width *= 2
    return found, values[:, :n]


def _constant(values: Floats, defined: Bools) -> Bools:
    """Whether the defined values of each row ``(b, n)`` are the same, to rounding."""
    low = np.where(defined, values, math.inf).min(axis=-1, initial=math.inf)
    high = np.where(defined, values, -math.inf).max(axis=-1, initial=-math.inf)
    return np.asarray(high - low <= 1e-12 * np.maximum(np.abs(high), np.abs(low)))


def _undefined(x: Floats, y: Floats) -> str:
    if (defined := ~(np.isnan(x) | np.isnan(y))).sum() < _FEWEST_POINTS:
        return f"only {counted(int(defined.sum()), 'point')}"
    return "constant column" if _constant(np.stack([x, y]), np.stack([defined, defined])).any() else ""


def interval(
    first: Floats, second: Floats, *, kind: Kind, rng: np.random.Generator, n_resamples: int = 999
) -> stats.Interval:
    """95% interval of the correlation between the column means of two arrays ``(repetitions, points)``.

    The repetitions are drawn with replacement; the interval is symmetric on Fisher's scale, atanh r, see
    ``stats.resampled_interval``. It is for the correlation of such means: their noise draws it towards 0, so that a
    correlation of nearly 1 between the means of endlessly many repetitions lies above. Undefined for fewer than
    ``stats.FEWEST_FOR_CORRELATION`` repetitions.
    """
    centre = coefficient(stats.column_means(first), stats.column_means(second), kind)
    if len(first) < stats.FEWEST_FOR_CORRELATION or math.isnan(centre):
        return stats.UNDEFINED
    means = stats.resampled_means(first, second, rng=rng, n_resamples=n_resamples)
    most = _most(first.shape[1], kind)
    resampled = np.arctanh(np.clip(coefficients(means[0], means[1], kind), -most, most))
    ends = stats.resampled_interval(math.atanh(min(max(centre, -most), most)), resampled, len(first))
    low, high = map(math.tanh, ends)
    low, high = -1.0 if low <= -most + _ROUNDING else low, 1.0 if high >= most - _ROUNDING else high
    return min(low, centre), max(high, centre)


def _most(n_points: int, kind: Kind) -> float:
    """The coefficient that stands for 1 on Fisher's scale, where 1 itself is infinite.

    Kendall's tau of n points moves in steps of 2 / (number of pairs): 1 stands for all that rounds to it, down to half a
    step. Pearson's r reaches 1 in lines only: there, the nearest that can be told from it.
    """
    return 1 - 2 / (n_points * (n_points - 1)) if kind == "kendall" else 1 - 1e-12
