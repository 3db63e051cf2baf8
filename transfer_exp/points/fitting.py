"""Whether points of a file fit a data set: shapes, classes, columns, units. What does not is refused before any training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from transfer_exp.combination import Combination
from transfer_exp.points.file import PointsFile
from transfer_exp.points.taking import columns_of
from transfer_exp.types import Box, Dataset, Floats, Ints, UserError
from transfer_exp.work import Work


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """Points ``(E, n, d)`` in the data set's features, of poisoning ``(1, n, d)``; class indices; clean points or None."""

    points: Floats
    labels: Ints
    clean: Floats | None
    notes: tuple[str, ...]


def fitted_to(content: PointsFile, combination: Combination, work: Work) -> Fitting:
    """The points as ``work`` takes them. Raises UserError where they do not fit its data set."""
    dataset = work.dataset
    labels = _classes(content, dataset)
    points = _blocks(content, len(labels), dataset)
    clean = None
    if content.clean is not None:
        clean = content.clean.reshape(len(content.clean), -1)
        if clean.shape != points.shape[1:]:
            raise UserError(f"clean: expected shape {points.shape[1:]}, as the points have it, got {content.clean.shape}")
    _check_columns(content, combination)
    notes = _outside(points, dataset.box)
    return Fitting(points=points, labels=labels, clean=clean, notes=notes)


def _blocks(content: PointsFile, n: int, dataset: Dataset) -> Floats:
    given, d = content.points, dataset.n_features
    n_epsilons = 1 if content.kind == "poisoning" else len(content.epsilon)
    if given.shape[0] == n and math.prod(given.shape[1:]) == d and n_epsilons == 1:
        return given.reshape(1, n, d)
    if given.shape[:2] == (n_epsilons, n) and math.prod(given.shape[2:]) == d:
        return given.reshape(n_epsilons, n, d)
    shape = f"({n}, {d})" if n_epsilons == 1 else f"({n_epsilons}, {n}, {d})"
    raise UserError(
        f"points: expected shape {shape}, by strengths, labels and the features of {dataset.name}, got {given.shape}; name "
        "the data set that the target learns from: dataset=..."
    )


def _classes(content: PointsFile, dataset: Dataset) -> Ints:
    """Labels as the data set's class indices: by name where names are known, else as they are."""
    labels: Any = content.labels
    names = content.class_names
    if labels.dtype.kind in "US":
        texts = [one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in labels]
    else:
        if not (labels == np.floor(labels)).all() or labels.min() < 0 or labels.max() >= (len(names) or dataset.n_classes):
            raise UserError(
                f"labels: expected class indices 0 to {(len(names) or dataset.n_classes) - 1} of {dataset.name}, got "
                f"{labels.min():g} to {labels.max():g}; number the classes as the data set does, or give names as labels"
            )
        if not names:
            return np.asarray(labels, dtype=np.int64)
        texts = [names[int(one)] for one in labels]
    strangers = sorted(set(texts) - set(dataset.class_names))
    if strangers:
        raise UserError(
            f"labels: expected classes of {dataset.name} ({', '.join(dataset.class_names)}), got {', '.join(strangers[:5])}"
        )
    places = {name: k for k, name in enumerate(dataset.class_names)}
    return np.array([places[text] for text in texts], dtype=np.int64)


def _check_columns(content: PointsFile, combination: Combination) -> None:
    own = columns_of(combination)
    if content.columns is not None and not np.array_equal(content.columns, np.array([]) if own is None else own):
        raise UserError(
            "points: expected the features that this repetition chooses, got others; name the data set and the seed of the "
            "run that the points are from"
        )


def _outside(points: Floats, box: Box) -> tuple[str, ...]:
    """A note on points outside the box. Raises UserError where they are so far out that the unit must be another."""
    width = box.upper - box.lower
    beyond = np.maximum(box.lower - points, points - box.upper)
    if (beyond > np.maximum(10 * width, 1e-12)).any() and points.max() > 10 * box.upper.max():
        raise UserError(
            f"points: expected the units of the data, {box.lower.min():g} to {box.upper.max():g}, got {points.min():g} to "
            f"{points.max():g}; scale them (images of bytes: divide by 255)"
        )
    share = float((beyond > 1e-6 * width).any(axis=-1).mean())
    return (f"{share:.1%} of the points lie outside the box of the data, by up to {beyond.max():g}",) if share else ()
