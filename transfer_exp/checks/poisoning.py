"""Checks of an attack on training data: a few points against a learner trained on a few."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from transfer_exp.checks.base import Answer, Check, Finding, NotApplicable, findings, same
from transfer_exp.checks.keeping import signs
from transfer_exp.checks.sample import some_rows
from transfer_exp.checks.watching import Watch, watched_arrays, watched_globals
from transfer_exp.learners import Learner
from transfer_exp.types import Dataset, Floats, Ints, dense

_N_TRAINING = 60
_N_POINTS = 2


@dataclass(frozen=True, kw_only=True)
class Poison:
    """An attack, a learner, its training points and the validation points it is poisoned for."""

    attack: Any
    learner: Learner
    dataset: Dataset
    x: Floats
    y: Ints
    x_val: Floats
    y_val: Ints
    seed: int

    def craft(self) -> Any:
        """The poisoning points."""
        return self.attack.craft(
            self.learner,
            self.x,
            self.y,
            self.x_val,
            self.y_val,
            n_points=_N_POINTS,
            box=self.dataset.box,
            seed=self.seed,
            starts=(self.x, self.y),
        )

    @cached_property
    def made(self) -> Any:
        """Points, crafted once."""
        return self.craft()

    @cached_property
    def again(self) -> tuple[Any, list[Watch]]:
        """The same a second time, and what changed meanwhile."""
        arrays = {"points": self.x, "classes": self.y, "validation points": self.x_val, "validation classes": self.y_val}
        with watched_globals() as others, watched_arrays(**arrays, **vars(self.dataset.box)) as inputs:
            made = self.craft()
        return made, [others, inputs]


def _crafts(poison: Poison) -> Answer:
    points, labels = np.asarray(poison.made.points), np.asarray(poison.made.labels)
    right = points.shape == (_N_POINTS, poison.x.shape[1]) and labels.shape == (_N_POINTS,)
    return right, f"points of shape {points.shape}, labels of shape {labels.shape} against {poison.learner.label}"


def _finite(poison: Poison) -> Answer:
    wrong = np.count_nonzero(~np.isfinite(poison.made.points).all(axis=1))
    return wrong == 0, f"{wrong} points that are not finite" if wrong else "all"


def _in_box(poison: Poison) -> Answer:
    box, points = poison.dataset.box, poison.made.points
    out = float(max((box.lower - points).max(), (points - box.upper).max()))
    return out <= 0, f"{max(out, 0):.3g} outside"


def _labels(poison: Poison) -> Answer:
    labels, own = np.asarray(poison.made.labels), poison.y[poison.made.start_rows]
    wrong = np.flatnonzero((labels == own) | ~np.isin(labels, np.arange(poison.dataset.n_classes)))
    return not len(wrong), f"{len(wrong)} of {_N_POINTS} not of another class"


def _twice(poison: Poison) -> Answer:
    right = same(poison.made.points, poison.again[0].points) and same(poison.made.labels, poison.again[0].labels)
    return right, "the same bits" if right else "others the second time"


def _untouched(poison: Poison) -> Answer:
    changed = [name for watch in poison.again[1] for name in watch.changed]
    return not changed, f"changed: {', '.join(changed)}" if changed else "unchanged"


def _rising(poison: Poison) -> Answer:
    rises = poison.made.objective - poison.made.objective_start
    if np.isnan(rises).all():
        raise NotApplicable("asks for no loss")
    return bool((rises >= 0).all()), f"validation loss rises by {rises.min():.3g} to {rises.max():.3g}"


def _signature(poison: Poison) -> Answer:
    return signs(poison.attack)


_CHECKS = (
    Check("crafts", "points (m, d), labels (m,)", _crafts),
    Check("finite", "all points", _finite),
    Check("box", "no point outside", _in_box),
    Check("labels", "another class than the start's", _labels),
    Check("attacked twice", "the same bits", _twice),
    Check("untouched", "training data, global generators", _untouched),
    Check("objective", "no point below its start", _rising),
    Check("signature", "stays, and changes with each option", _signature),
)


def check_poisoning(attack: Any, dataset: Dataset, part: str, *, learner: Learner, seed: int) -> list[Finding]:
    """Check a poisoning attack on a few points of a data set."""
    rows, others = some_rows(dataset, _N_TRAINING, seed=seed)
    poison = Poison(
        attack=attack,
        learner=learner,
        dataset=dataset,
        x=dense(dataset.x[rows]),
        y=dataset.y[rows],
        x_val=dense(dataset.x[others]),
        y_val=dataset.y[others],
        seed=seed,
    )
    return findings(part, _CHECKS, poison)
