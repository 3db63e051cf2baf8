"""Availability poisoning (paper, section 2): points that, learned by the surrogate, raise its validation loss.

    maximise   J(x_c) = mean_v l(y_v, f_v(w*))   subject to   lower <= x_c <= upper
    where w* = the learner retrained on its training data, the poisoning points placed before, and (x_c, y_c)

l is the learner's own loss (hinge, logistic, squared; the gradient: ``learners.retraining``). Points are placed one after
another, each from a training point with its label flipped, so that the first m of them are the attack with m points:

    for each point:
        x = a training point with its label flipped
        where x has no weight:  move it against its score until it has
        x = ascend from x       (``optim.quasi_newton``), retraining for each trial, never stepping where it has no weight
        place it at the best trial

An attacker who expects a filter by distance to the class centre keeps to what it lets through (``feasible``): every trial is
projected there, and the start, too.

Labels are class indices 0 and 1; f is the score of class 1, and a flipped label is 1 - y.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from transfer_exp.attacks.feasible import feasible
from transfer_exp.attacks.poisoned import Poisoned
from transfer_exp.learners import Learner
from transfer_exp.learners.retraining import Counts, Retrained, Retraining
from transfer_exp.learners.retraining_columns import all_columns, used_columns
from transfer_exp.optim.quasi_newton import ascend_in_box
from transfer_exp.seeds import generator
from transfer_exp.types import Box, Floats, Ints, Matrix, UserError, dense


@dataclass(frozen=True, kw_only=True)
class Poisoning:
    """Options of the attack.

    n_starts: flipped training points tried as the start of a point; the one of largest validation loss is taken (1: at
    random). n_iter: largest number of steps per point. tolerance: share of a point's rise; three steps that together gain
    less end its ascent. n_trials: largest number of step lengths tried along one direction. expected_share: of each class,
    that the attacker expects the target to remove for their distance to the centre (0: knows of no filter).
    """

    scenario: ClassVar[str] = "poisoning"
    requires: ClassVar[frozenset[str]] = frozenset({"retraining", "two_classes"})
    norm: ClassVar[str] = "l2"
    name: str = field(default="poisoning", compare=False)
    n_starts: int = 1
    n_iter: int = 40
    tolerance: float = 5e-3
    n_trials: int = 8
    expected_share: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.expected_share < 1:
            raise UserError(f"attack.expected_share: expected a number from 0 to below 1, got {self.expected_share}")
        if min(self.n_starts, self.n_iter, self.n_trials) < 1 or self.tolerance < 0:
            raise UserError(
                "attack: expected n_starts, n_iter and n_trials >= 1 and tolerance >= 0, got "
                f"n_starts={self.n_starts}, n_iter={self.n_iter}, n_trials={self.n_trials}, tolerance={self.tolerance}"
            )

    def craft(
        self,
        learner: Learner,
        x: Matrix,
        y: Ints,
        x_val: Matrix,
        y_val: Ints,
        *,
        n_points: int,
        box: Box,
        seed: int,
        starts: tuple[Matrix, Ints] | None = None,
    ) -> Poisoned:
        """``n_points`` points against ``learner`` trained on ``(n, d)``, for validation points ``(n_val, d)``.

        ``starts``: points and true classes to start from, with the label flipped; the training points when None.

        Raises UserError on a learner that cannot be poisoned, more points than training data, classes other than 0 and 1,
        or points outside the box.
        """
        begun = time.process_time()
        start_x, start_y = (x, y) if starts is None else starts
        _check(y, y_val, start_x, n_points, box)
        columns = used_columns(x, x_val, start_x)
        used_box = Box(lower=box.lower[columns], upper=box.upper[columns])
        training = learner.retraining(x[:, columns], y, x_val[:, columns], y_val, room=n_points)
        rng = generator(seed, "attack_start")
        data, unused = dense(start_x[:, columns]), np.arange(len(start_y))
        place = feasible(x[:, columns], y, used_box, share=self.expected_share) if self.expected_share else {}
        placed = []
        for _ in range(n_points):
            before = replace(training.counts)
            drawn = rng.choice(len(unused), size=min(self.n_starts, len(unused)), replace=False)
            labels = [1 - int(start_y[k]) for k in unused[drawn]]
            found = [data[k] if not place else place[c].project(data[k]) for k, c in zip(unused[drawn], labels, strict=True)]
            candidates = [training.retrain(one, label) for one, label in zip(found, labels, strict=True)]
            best = int(np.argmax([candidate.loss for candidate in candidates]))
            point = self._optimise(training, candidates[best], used_box, place[labels[best]].project if place else None)
            training.place(point.end)
            seconds, begun = time.process_time() - begun, time.process_time()
            row, counts = int(unused[drawn[best]]), training.counts - before
            placed.append(replace(point, row=row, counts=counts, seconds=seconds))
            unused = np.delete(unused, drawn[best])
        joined = _join(placed)
        both = joined.points, data[joined.start_rows]
        points, start_points = (all_columns(rows, columns, len(box.lower)) for rows in both)
        return replace(joined, points=points, start_points=start_points)

    def _optimise(
        self, training: Retraining, start: Retrained, box: Box, project: Callable[[Floats], Floats] | None = None
    ) -> _PlacedPoint:
        objective = ValidationLoss(training, start)
        weighted = start if start.has_weight else objective.move_to_margin(box, self.n_trials, project)
        if weighted.has_weight:
            ascend_in_box(
                objective,
                weighted.point,
                box,
                n_iter=self.n_iter,
                tolerance=self.tolerance,
                n_trials=self.n_trials,
                project=project,
            )
        return _PlacedPoint(start, objective.best, objective.residual)


@dataclass(frozen=True)
class _PlacedPoint:
    start: Retrained
    end: Retrained
    residual: float
    row: int = -1
    counts: Counts = field(default_factory=Counts)
    seconds: float = 0.0


class ValidationLoss:
    """The objective J of one moving point with the label of ``start``, for the ascent; remembers the best trial.

    Where the point has no weight, J is flat: that of the learner without it. An ascent that steps there, from a start that
    lowered J, would end there with a useless point. So ``value`` is minus infinity there; ``best`` counts such trials, too.
    """

    def __init__(self, training: Retraining, start: Retrained) -> None:
        self.training = training
        self.best = self.last = start
        self.residual = 0.0

    def value(self, x: Floats) -> float:
        """J at ``(d,)``, minus infinity where the point has no weight."""
        if not np.array_equal(self.last.point, x):
            self.last = self.training.retrain(x, self.last.label)
            if self.last.loss > self.best.loss:
                self.best = self.last
        return self.last.loss if self.last.has_weight else -np.inf

    def gradient(self, x: Floats) -> Floats:
        """Its gradient ``(d,)`` at the last ``x`` whose value was asked for."""
        gradient, residual = self.training.gradient(self.last)
        self.residual = max(self.residual, residual)
        return gradient

    def move_to_margin(self, box: Box, n_trials: int, project: Callable[[Floats], Floats] | None = None) -> Retrained:
        """Move a point without weight, correct by more than the margin, against its score until it has weight.

        Each of at most ``n_trials`` steps is twice as long as the one before, the last as long as the distance to the
        farthest point of the box.
        """
        for k in range(n_trials):
            direction = (1 - 2 * self.last.label) * self.training.score_gradient(self.last)
            norm = float(np.linalg.norm(direction)) or 1.0
            farthest = np.where(direction > 0, box.upper, np.where(direction < 0, box.lower, self.last.point))
            length = float(np.linalg.norm(farthest - self.last.point)) / 2 ** (n_trials - 1 - k)
            moved = self.last.point + length * direction / norm
            self.value(np.clip(moved, box.lower, box.upper) if project is None else project(moved))
            if self.last.has_weight:
                break
        return self.last


def validation_gradients(
    learner: Learner, x: Matrix, y: Ints, x_val: Matrix, y_val: Ints, *, points: Floats, labels: Ints
) -> Floats:
    """Gradients ``(m, d)`` of the learner's mean validation loss in each poisoning point, alone in the training data.

    For point j the learner is trained on ``(x, y)`` and ``(points[j], labels[j])``, no other poisoning point: then
    the gradient depends on neither their order nor on whose points they are, and those of a surrogate and a target, each
    on its own training data, can be compared (S and R of poisoning). Zero where a point is no support vector.
    """
    columns = used_columns(x, x_val, points)
    training = learner.retraining(x[:, columns], y, x_val[:, columns], y_val, room=0)
    fitted = (training.retrain(point, int(label)) for point, label in zip(points[:, columns], labels, strict=True))
    return all_columns(np.array([training.gradient(one)[0] for one in fitted]), columns, points.shape[1])


def _check(y: Ints, y_val: Ints, starts: Matrix, n_points: int, box: Box) -> None:
    for labels in (y, y_val):
        if set(np.unique(labels)) != {0, 1}:
            raise UserError(f"poisoning: expected two classes, 0 and 1, got {np.unique(labels).tolist()[:5]}")
    if not 1 <= n_points <= starts.shape[0]:
        raise UserError(
            f"poisoning: expected from 1 to {starts.shape[0]} points (one for each point of the attacker's training data), "
            f"got {n_points}; ask for smaller fractions or more data"
        )
    if bool(((dense(starts) < box.lower) | (dense(starts) > box.upper)).any()):
        raise UserError("attack: expected every point inside the box, got some outside; widen lower and upper")


def _join(placed: list[_PlacedPoint]) -> Poisoned:
    counts = np.array([[p.counts.retrainings, p.counts.gradients, p.counts.fallbacks] for p in placed])
    points, start_points = (np.array([getattr(p, side).point for p in placed]) for side in ("end", "start"))
    return Poisoned(
        points=points,
        labels=np.array([p.end.label for p in placed]),
        start_points=start_points,
        start_rows=np.array([p.row for p in placed]),
        objective_start=np.array([p.start.loss for p in placed]),
        objective=np.array([p.end.loss for p in placed]),
        stayed=(points == start_points).all(axis=1),
        no_support=np.array([not p.end.has_weight for p in placed]),
        residual=np.array([p.residual for p in placed]),
        retrainings=counts[:, 0],
        gradients=counts[:, 1],
        fallbacks=counts[:, 2],
        seconds=np.array([p.seconds for p in placed]),
    )
