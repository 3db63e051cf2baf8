"""The small vocabulary that every room shares: norms, boxes, data sets, splits, errors."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Ints: TypeAlias = npt.NDArray[np.int64]
Matrix: TypeAlias = "Floats | sp.csr_array"


RECORDED = "recorded"
"""In the metadata of a field that is computed: it is recorded as options are (the checksum of a file)."""


class UserError(Exception):
    """Something the user can mend: the message says what was expected, what was got, what to do."""


def reason(error: BaseException, *, most: int = 200) -> str:
    """What an error of code of others says, in one short line; its kind where it says nothing."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= most else f"{text[:most]}…"


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Pixels:
    """Images as bytes, ``values`` ``(n, d)`` uint8: an eighth of the memory. ``pixels[rows]`` is float64 in [0, 1]."""

    values: npt.NDArray[np.uint8]

    @property
    def shape(self) -> tuple[int, int]:
        """``(n, d)``."""
        n, d = self.values.shape
        return n, d

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, key: Any) -> Floats:
        return np.asarray(self.values[key] / 255.0)

    def toarray(self) -> Floats:
        """All points ``(n, d)`` as float64, eight times the memory."""
        return self[:]


Points: TypeAlias = "Floats | sp.csr_array | Pixels"


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Points of K classes, the box they live in, how to split them.

    x: ``(n, d)`` in raw units; ``x[rows]`` is float64, dense or CSR. y: ``(n,)`` class indices 0..K-1, each of them used.
    class_names: K names, by default the indices. shape: of one point, as a network or a picture takes it, ``(h, w)`` or
    ``(channels, h, w)``; None for points that are no images.
    test_pool: ``(n,)`` bool, the rows that only the test part may use (an official test set); all False when there is none.
    checksum: hex digest of the content, part of every signature. group: ``(n,)``, rows of one group (equal rows, say)
    never stand in two parts of a split; None when every row may go anywhere. notes: counts of what reading the data
    dropped or changed, to be logged. n_selected: how many features a repetition keeps, chosen on its training parts; None
    for all. made_by: ``_target_`` and options of the loader, for the record (``data.loaders``); no part of the identity.
    Raises UserError on labels, names or a shape that do not fit.
    """

    name: str
    x: Points
    y: Ints
    box: Box
    sizes: Sizes
    test_pool: npt.NDArray[np.bool_]
    checksum: str
    class_names: tuple[str, ...] = ()
    shape: tuple[int, ...] | None = None
    group: Ints | None = None
    notes: dict[str, float] = field(default_factory=dict)
    n_selected: int | None = None
    made_by: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        names = tuple(self.class_names) or tuple(map(str, range(_n_classes(self.name, self.y))))
        object.__setattr__(self, "class_names", names)
        _check_labels(self.name, self.y, names, n_points=self.x.shape[0])
        object.__setattr__(self, "y", np.asarray(self.y, dtype=np.int64))  # unsigned ones would wrap: 1 - y, 2 y - 1
        if self.shape is not None and math.prod(self.shape) != self.n_features:
            raise UserError(f"{self.name}: expected a shape of {self.n_features} features, got {self.shape}")

    @property
    def n_features(self) -> int:
        """d, the number of columns of x."""
        return int(self.x.shape[1])

    @property
    def n_classes(self) -> int:
        """K."""
        return len(self.class_names)


def _n_classes(name: str, y: Ints) -> int:
    if y.dtype.kind not in "iu" or not len(y) or y.min() < 0:
        found = np.unique(y)[:5].tolist()
        raise UserError(f"{name}: expected labels that are class indices 0, 1, ..., got {found}; number the classes from 0")
    return int(y.max()) + 1


def _check_labels(name: str, y: Ints, names: tuple[str, ...], *, n_points: int) -> None:
    if y.shape != (n_points,):
        raise UserError(
            f"{name}: expected one label for each of {counted(n_points, 'point')}, got labels of shape {y.shape}"
        )
    if _n_classes(name, y) > len(names):
        raise UserError(f"{name}: expected a name for each class, got {len(names)} names and labels up to {y.max()}")
    if len(names) < 2 or len(set(names)) < len(names):
        raise UserError(f"{name}: expected two or more different classes, got {list(names)}")
    empty = np.flatnonzero(np.bincount(y, minlength=len(names)) == 0)
    if len(empty):
        raise UserError(
            f"{name}: expected points of each of its {len(names)} classes, got none of class {names[empty[0]]}; leave it "
            "out, or number the classes without gaps"
        )


@dataclass(frozen=True, kw_only=True)
class Split:
    """Row indices of the four disjoint parts of one repetition."""

    target: Ints
    surrogate: Ints
    validation: Ints
    test: Ints


@dataclass(frozen=True, kw_only=True)
class Examples:
    """A few test points ``(k, *shape)``, and them attacked at some epsilons ``(m, k, *shape)``; ``label``: their classes."""

    index: Ints
    label: Ints
    epsilon: Floats
    clean: Floats
    adversarial: Floats


def dense(x: Points) -> Floats:
    """x as a dense float64 array (a copy only when x is none)."""
    return np.asarray(x.toarray() if hasattr(x, "toarray") else x, dtype=np.float64)
