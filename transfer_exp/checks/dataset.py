"""Checks of a data set: its points, labels, box, and whether it can be split."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from transfer_exp.checks.base import Answer, Check, Finding, NotApplicable, findings
from transfer_exp.data.splits import make_split
from transfer_exp.signature import checksum
from transfer_exp.types import Dataset, Floats, Ints

_SEEDS = (0, 1)
_AT_ONCE = 8_000_000  # numbers looked at together


@dataclass(frozen=True)
class _Loaded:
    load: Callable[[], Dataset]

    @cached_property
    def dataset(self) -> Dataset:
        return self.load()

    @cached_property
    def again(self) -> Dataset:
        return self.load()

    @property
    def every(self) -> list[Ints]:
        """All rows, in batches where the points are dense."""
        data, rows = self.dataset, np.arange(len(self.dataset.y))
        size = len(rows) if isinstance(data.x, sp.csr_array) else max(1, _AT_ONCE // data.n_features)
        return [rows[i : i + size] for i in range(0, len(rows), size)]


def _builds(loaded: _Loaded) -> Answer:
    data: Any = loaded.dataset
    if not isinstance(data, Dataset):
        return False, f"a {type(data).__name__}"
    n, d = data.x.shape
    return n > 0 and d > 0, f"{data.name}: {n:,} points, {d:,} features, {data.n_classes} classes"


def _points(loaded: _Loaded) -> Answer:
    data = loaded.dataset
    for rows in loaded.every:
        x = data.x[rows]
        values = x.data if isinstance(x, sp.csr_array) else np.asarray(x)
        if x.shape != (len(rows), data.n_features) or x.dtype != np.float64:
            return False, f"{x.dtype} of shape {x.shape} for {len(rows)} rows"
        if not np.isfinite(values).all():
            return False, f"{np.count_nonzero(~np.isfinite(values))} values that are not finite"
    return True, "float64, finite"


def _box(loaded: _Loaded) -> Answer:
    data = loaded.dataset
    lower, upper = data.box.lower, data.box.upper
    if lower.shape != (data.n_features,) or upper.shape != (data.n_features,):
        return False, f"bounds of shape {lower.shape} and {upper.shape} for {data.n_features} features"
    if not (lower <= upper).all():  # NaN, too
        return False, f"lower above upper for {np.count_nonzero(~(lower <= upper))} features"
    outside = np.zeros(data.n_features, dtype=bool)
    for rows in loaded.every:
        least, most = (_dense_row(getattr(data.x[rows], which)(axis=0)) for which in ("min", "max"))
        outside |= (least < lower) | (most > upper)
    if outside.any():
        return False, f"points outside in {np.count_nonzero(outside):,} features, feature {outside.argmax()} first"
    return True, f"from {lower.min():g} to {upper.max():g}"


def _dense_row(values: Any) -> Floats:
    return np.asarray(values.toarray() if hasattr(values, "toarray") else values).ravel()


def _labels(loaded: _Loaded) -> Answer:
    data = loaded.dataset
    counts = np.bincount(data.y, minlength=data.n_classes) if data.y.dtype == np.int64 and data.y.min() >= 0 else None
    if counts is None or data.y.shape != (data.x.shape[0],):
        return False, f"{data.y.dtype} of shape {data.y.shape}, from {data.y.min()}"
    right = len(counts) == data.n_classes and counts.min() > 0
    return bool(right), f"{counts.min():,} to {counts.max():,} points a class"


def _twice(loaded: _Loaded) -> Answer:
    one, two = loaded.dataset, loaded.again
    parts = ("checksum", "class_names", "shape", "sizes", "n_selected")
    others = [part for part in parts if getattr(one, part) != getattr(two, part)]
    pairs: dict[str, tuple[Any, Any]] = {"y": (one.y, two.y), "test_pool": (one.test_pool, two.test_pool)}
    pairs |= {"lower": (one.box.lower, two.box.lower), "upper": (one.box.upper, two.box.upper)}
    others += [name for name, (a, b) in pairs.items() if not np.array_equal(a, b)]
    if one.x.shape != two.x.shape or any(checksum(one.x[r]) != checksum(two.x[r]) for r in loaded.every):
        others.append("x")
    return not others, f"other {', '.join(others)} the second time" if others else f"checksum {one.checksum[:12]}"


def _shape(loaded: _Loaded) -> Answer:
    data = loaded.dataset
    if data.shape is None:
        raise NotApplicable("no images")
    right = math.prod(data.shape) == data.n_features and len(data.shape) in (2, 3)
    return right, f"{' x '.join(map(str, data.shape))} for {data.n_features} features"


def _split(loaded: _Loaded) -> Answer:
    data = loaded.dataset
    splits = [vars(make_split(data, seed=seed)) for seed in _SEEDS]
    for parts in splits:
        rows = np.concatenate(list(parts.values()))
        if len(np.unique(rows)) < len(rows):
            return False, "a point in two parts"
    return True, ", ".join(f"{part} {len(rows):,}" for part, rows in splits[0].items())


def _groups(loaded: _Loaded) -> Answer:
    data = loaded.dataset
    if data.group is None:
        raise NotApplicable("no groups")
    if data.group.shape != data.y.shape:
        return False, f"shape {data.group.shape} for {len(data.y)} points"
    for seed in _SEEDS:
        parts = [set(data.group[rows].tolist()) for rows in vars(make_split(data, seed=seed)).values()]
        if sum(map(len, parts)) > len(set().union(*parts)):
            return False, "a group in two parts of a split"
    return True, f"{len(np.unique(data.group)):,} groups"


def _test_pool(loaded: _Loaded) -> Answer:
    data = loaded.dataset
    pool = data.test_pool
    if pool.dtype != np.bool_ or pool.shape != data.y.shape:
        return False, f"{pool.dtype} of shape {pool.shape} for {len(data.y)} points"
    if not pool.any():
        raise NotApplicable("none: test points are drawn from all")
    wrong = [seed for seed in _SEEDS if not pool[make_split(data, seed=seed).test].all()]
    return not wrong, f"{np.count_nonzero(pool):,} points"


_CHECKS = (
    Check("builds", "a Dataset with points", _builds),
    Check("points", "(n, d) float64, finite", _points),
    Check("box", "lower <= every point <= upper", _box),
    Check("labels", "(n,) int64, 0 to K-1, each with points", _labels),
    Check("loaded twice", "the same content and checksum", _twice),
    Check("shape", "(h, w) or (channels, h, w), d pixels in all", _shape),
    Check("split", "disjoint parts of the sizes asked for", _split),
    Check("groups", "each in one part of a split", _groups),
    Check("test pool", "test points from it alone", _test_pool),
)


def check_dataset(load: Callable[[], Dataset], part: str = "dataset") -> list[Finding]:
    """Check what ``load`` gives; it is called twice."""
    return findings(part, _CHECKS, _Loaded(load))
