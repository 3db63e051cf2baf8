"""The small vocabulary that every room shares: norms, boxes, data sets, splits, errors."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Ints: TypeAlias = npt.NDArray[np.int64]
Matrix: TypeAlias = "Floats | sp.csr_array"
Norm: TypeAlias = Literal["l1", "l2", "linf"]
NORMS: tuple[Norm, ...] = ("l1", "l2", "linf")


class UserError(Exception):
    """Something the user can mend: the message says what was expected, what was got, what to do."""


def counted(n: int, noun: str, plural: str = "") -> str:
    """``1 point``, ``2 points``; the plural when it is not the noun with an s."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


@dataclass(frozen=True, kw_only=True)
class Box:
    """Elementwise bounds ``lower <= x <= upper`` in the data set's raw units, each ``(d,)``."""

    lower: Floats
    upper: Floats

    @classmethod
    def uniform(cls, n_features: int, lower: float = 0.0, upper: float = 1.0) -> Box:
        """The same two bounds for every feature."""
        return cls(lower=np.full(n_features, lower), upper=np.full(n_features, upper))


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many points each part of a split takes.

    ``target`` and ``surrogate`` may be ``None``: then they take half each of what the training pool
    has left (or all of what the other leaves).
    """

    target: int | None = None
    surrogate: int | None = None
    validation: int = 0
    test: int

    def __post_init__(self) -> None:
        for part in ("target", "surrogate", "validation", "test"):
            size = getattr(self, part)
            least = 0 if part == "validation" else 2
            if size is not None and size < least:
                raise UserError(f"dataset.split.{part}: expected at least {least} points, got {size}")


def check_grid(values: Sequence[float]) -> None:
    """Raise UserError unless the grid is a non-empty, strictly ascending list of finite numbers >= 0."""
    grid = list(values)
    numbers = all(isinstance(v, int | float) and 0 <= v <= sys.float_info.max for v in grid)
    if not grid or not numbers or sorted(set(grid)) != grid:
        raise UserError(f"epsilon.grid: expected a strictly ascending list of finite numbers >= 0, got {grid}")


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Attack strengths: the ``grid``, the ``reference`` at which scalars are taken, those ``shown`` as matrices."""

    grid: tuple[float, ...]
    reference: float
    shown: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("grid", "shown"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_grid(self.grid)
        strangers = sorted({self.reference, *self.shown} - set(self.grid))
        if strangers:
            raise UserError(
                f"epsilon: expected reference and shown to be values of the grid {list(self.grid)}, got {strangers}"
            )


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A binary problem: points, labels, the box they live in, how to split them.

    x: ``(n, d)`` float64, dense or CSR, in raw units. y: ``(n,)`` in {-1, +1}. test_pool: ``(n,)`` bool, the
    rows that only the test part may use (an official test set); all False when there is none.
    checksum: hex digest of the content, part of every signature. group: ``(n,)``, rows of one group (equal rows, say)
    never stand in two parts of a split; None when every row may go anywhere. notes: counts of what reading the data
    dropped or changed, to be logged. n_selected: how many features a repetition keeps, chosen on its training parts; None
    for all. made_by: ``_target_`` and options of the loader, for the record (``data.loaders``); no part of the identity.
    """

    name: str
    x: Matrix
    y: Ints
    box: Box
    sizes: Sizes
    test_pool: npt.NDArray[np.bool_]
    checksum: str
    image_shape: tuple[int, int] | None = None
    group: Ints | None = None
    notes: dict[str, float] = field(default_factory=dict)
    n_selected: int | None = None
    made_by: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def n_features(self) -> int:
        """d, the number of columns of x."""
        return int(self.x.shape[1])


@dataclass(frozen=True, kw_only=True)
class Split:
    """Row indices of the four disjoint parts of one repetition."""

    target: Ints
    surrogate: Ints
    validation: Ints
    test: Ints


@dataclass(frozen=True, kw_only=True)
class Examples:
    """A few test points ``(k, h, w)``, and them attacked at some epsilons ``(m, k, h, w)``."""

    index: Ints
    label: Ints
    epsilon: Floats
    clean: Floats
    adversarial: Floats


def dense(x: Matrix) -> Floats:
    """x as a dense float64 array (a copy only when x is sparse)."""
    return np.asarray(x.toarray() if hasattr(x, "toarray") else x, dtype=np.float64)
