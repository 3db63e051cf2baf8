"""What is probably not meant: one line each, logged once a run. A remark changes no number and stops nothing.

Many combinations of a sweep have the same remark, or nearly the same. So a record says what it is ``about``, and whoever
shows a sweep can show the first about each.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from transfer_exp.data.groups import equal_rows
from transfer_exp.learners import Learner
from transfer_exp.learners.scaling import ADVICE as SCALE
from transfer_exp.optim.balls import Ball
from transfer_exp.types import Box, Dataset, Ints, Points, Split, dense

_log = logging.getLogger(__name__)

_SMALL = 1e-3  # of the features' median range: epsilons below are of data in [0, 1], say, where these are not
_N_POINTS = 600  # of all classes, between which distances are taken


def log(remark: str | None, *, about: str) -> None:
    """Log a remark, where there is one."""
    if remark is not None:
        _log.warning("%s", remark, extra={"about": about})


@lru_cache(maxsize=1000)
def log_once(remark: str) -> None:
    """Log a remark that is the same, word for word, for many combinations: once a process."""
    log(remark, about=remark)


def log_constant(role: str, learner: Learner, predicted: Ints, class_names: Sequence[str]) -> None:
    """Log ``constant``, which is about the learner, whatever the class."""
    log(constant(role, learner, predicted, class_names), about=f"constant {role} {learner.label}")


def constant(role: str, learner: Learner, predicted: Ints, class_names: Sequence[str]) -> str | None:
    """A classifier that takes all test points, ``predicted`` ``(n,)``, for one class."""
    if not _one_sided(predicted):
        return None
    scale = f"{SCALE}, or " if learner.scale == "none" else ""
    return (
        f"{role} {learner.label} takes all {len(predicted)} test points for class {class_names[predicted[0]]}, so its "
        f"errors say nothing about attacks; {scale}choose other hyperparameters (of an RBF SVM, a smaller gamma) or more "
        "training points"
    )


def _one_sided(predicted: Ints) -> bool:
    return len(np.unique(predicted)) == 1


def epsilons_of_another_unit(largest: float, ball: Ball, box: Box) -> str | None:
    """The largest epsilon reaches from corner to corner of the box, or is tiny beside the features' ranges."""
    if ball.counts_features:  # not in the units of the data
        return None
    ranges = box.upper - box.lower
    ranges = ranges[ranges > 0]
    if not largest > 0 or not len(ranges):
        return None
    extent = float(ball.size(ranges))
    middle = float(np.median(ranges))
    if largest >= extent:
        return (
            f"epsilon {largest:g}: the whole box is only {extent:g} wide in {ball.name}; "
            "choose epsilons in the units of the data"
        )
    if largest < _SMALL * middle:
        return (
            f"epsilons up to {largest:g}: the features' median range is {middle:g}; choose epsilons in the data's units "
            "(one for data in [0, 1], times the range)"
        )
    return None


def nothing_moved(
    role: str,
    learner: Learner,
    *,
    before: Ints,
    classes: Ints,
    largest_error: float,
    largest: float,
    ball: Ball,
    points: Points,
    labels: Ints,
) -> str | None:
    """A model whose error at points made on itself does not rise up to the largest epsilon.

    before, classes ``(n,)``: what it took the attacked points for before the attack, and what they are. points, labels: of
    the test part, to tell how far apart the classes are. None for a ``constant`` model, which has its own remark.
    """
    clean_error = float((before != classes).mean())
    is_constant = _one_sided(before) and len(np.unique(classes)) > 1
    if is_constant or not largest > 0 or not clean_error < 1 or largest_error > clean_error:
        return None
    between = _distance(points, labels, ball)
    if between > largest:
        grid = ",".join(_short(share * between) for share in (0.25, 0.5, 1))
        advice = f"choose larger epsilons, epsilon.grid=[0,{grid}] say"
    else:
        advice = "choose a smoother model, of an RBF SVM a smaller gamma (gamma=scale)"
    return (
        f"no point changes sides on {role} {learner.label} up to epsilon {largest:g}; the median distance to the other "
        f"class is {_short(between)} in {ball.name}; {advice}"
    )


def _short(value: float) -> str:
    """Two digits that count, without an exponent where it can be read."""
    return f"{float(f'{value:.2g}'):g}"


def _distance(points: Points, labels: Ints, ball: Ball) -> float:
    """Median over points of the distance to the nearest point of another class."""
    classes = np.unique(labels)
    if len(classes) < 2:
        return float("nan")
    some = np.concatenate([np.flatnonzero(labels == label)[: _N_POINTS // len(classes)] for label in classes])
    x, y = dense(points[some]), labels[some]
    apart = np.where(y[:, None] == y, np.inf, ball.distances(x, x))
    return float(np.median(apart.min(axis=1)))


def log_equal_rows(dataset: Dataset, split: Split) -> None:
    """Log ``equal_rows_apart``, which is about the data, whatever the split."""
    log(equal_rows_apart(dataset, split), about=f"equal rows of {dataset.name}")


def equal_rows_apart(dataset: Dataset, split: Split) -> str | None:
    """Test or validation points that equal a training point."""
    if dataset.group is not None:
        return None
    group = _equal_rows(_Rows(dataset.checksum, dataset.x))
    held_out = np.concatenate([split.test, split.validation])
    seen = int(np.isin(group[held_out], group[np.concatenate([split.target, split.surrogate])]).sum())
    shared = int(np.isin(group[split.surrogate], group[split.target]).sum())
    if not seen and not shared:
        return None
    return (
        f"{dataset.name}: {seen} of {len(held_out)} test and validation points equal a training point, and {shared} of "
        f"{len(split.surrogate)} surrogate points a target's; keep equal rows in one part, or drop them"
    )


@dataclass(frozen=True)
class _Rows:
    checksum: str
    x: Points = field(compare=False)


@lru_cache(maxsize=2)
def _equal_rows(rows: _Rows) -> Ints:
    """Once a data set and process, not once a run."""
    return equal_rows(rows.x)
