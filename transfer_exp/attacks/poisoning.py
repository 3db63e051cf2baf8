"""Availability poisoning (paper, section 2): points that, learned by the surrogate, raise its validation loss.

    maximise   J(x_c) = mean_v l(y_v, f_v(w*))   subject to   lower <= x_c <= upper
    where w* = the learner retrained on its training data, the poisoning points placed before, and (x_c, y_c)

l is the learner's own loss (``learners.losses``; the gradient: ``learners.retraining_base``). Points are placed one after
another, each from a training point learned with another class, so that the first m of them are the attack with m points:

    for each point:
        x = a training point, y_c = another class than its own      (``other_classes``)
        where x has no weight:  move it against its margin until it has
        x = ascend from x       (``optim.quasi_newton``), retraining for each trial, never stepping where it has no weight
        place it at the best trial

An attacker who expects a filter by distance to the class centre keeps to what it lets through (``feasible``): every trial is
projected there, and the start, too.

Labels are class indices 0..K-1. Of two classes f is the score of class 1, and the other class is 1 - y.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, get_args

import numpy as np

from transfer_exp.attacks.feasible import Project, projection, require_bounds
from transfer_exp.attacks.other_classes import Candidates, Choice
from transfer_exp.attacks.poisoned import Poisoned
from transfer_exp.attacks.poisoning_starts import Starts
from transfer_exp.attacks.poisoning_together import Placed, Together, poison_together
from transfer_exp.attacks.validation_loss import ValidationLoss
from transfer_exp.learners import Learner
from transfer_exp.learners.network import NetworkLearner
from transfer_exp.learners.retraining_base import Counts, MovedFit, Retraining
from transfer_exp.learners.retraining_columns import all_columns, used_columns
from transfer_exp.optim.quasi_newton import ascend_in_box
from transfer_exp.types import Box, Floats, Ints, Matrix, UserError, dense


@dataclass(frozen=True, kw_only=True)
class Poisoning:
    """Options of the attack.

    n_starts: training points tried as the start of a point, with another class; the one of largest validation loss is taken
    (1: at random). label: which other class, of more than two (``other_classes``). n_labels: how many are tried for
    ``most_harmful``. n_iter: largest number of steps per point. tolerance: share of a point's rise; three steps that
    together gain less end its ascent. n_trials: largest number of step lengths tried along one direction. expected_share: of
    each class, that the attacker expects the target to remove for their distance to the centre (0: knows of no filter).
    Of networks, whose points are moved together (``poisoning_together``): n_networks, trained anew for each
    step; n_rounds, steps of a group of points; n_together, points of a group, 0: all; step: the first, in the box's
    diagonals.
    """

    scenario: ClassVar[str] = "poisoning"
    requires: ClassVar[frozenset[str]] = frozenset({"retraining"})
    norm: ClassVar[str] = "l2"
    name: str = field(default="poisoning", compare=False)
    n_starts: int = 1
    label: Choice = "random"
    n_labels: int = 3
    n_iter: int = 40
    tolerance: float = 5e-3
    n_trials: int = 8
    expected_share: float = 0.0
    n_networks: int = 4
    n_rounds: int = 4
    n_together: int = 0
    step: float = 0.02

    def __post_init__(self) -> None:
        if not 0 <= self.expected_share < 1:
            raise UserError(f"attack.expected_share: expected a number from 0 to below 1, got {self.expected_share}")
        if min(self.n_networks, self.n_rounds) < 1 or self.n_together < 0 or not self.step > 0:
            raise UserError(
                "attack: expected n_networks and n_rounds >= 1, n_together >= 0 and step > 0, got "
                f"n_networks={self.n_networks}, n_rounds={self.n_rounds}, n_together={self.n_together}, step={self.step}"
            )
        if min(self.n_starts, self.n_labels, self.n_iter, self.n_trials) < 1 or self.tolerance < 0:
            raise UserError(
                "attack: expected n_starts, n_labels, n_iter and n_trials >= 1 and tolerance >= 0, got "
                f"n_starts={self.n_starts}, n_labels={self.n_labels}, n_iter={self.n_iter}, n_trials={self.n_trials}, "
                f"tolerance={self.tolerance}"
            )
        if self.label not in get_args(Choice):
            raise UserError(f"attack.label: expected one of {', '.join(get_args(Choice))}, got {self.label}")

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

        ``starts``: points and true classes to start from, with another class; the training points when None.

        Raises UserError on a learner that cannot be poisoned, more points than training data, classes without training
        points, points outside the box, or a box without bounds for a network, whose steps are shares of it.
        """
        begun = time.process_time()
        start_x, start_y = (x, y) if starts is None else starts
        _check(start_x, n_points, box)
        classes = Candidates.of(self.label, learner, x, y, (dense(start_x), start_y), n_tried=self.n_labels, seed=seed)
        drawn = Starts(start_y, classes, n_starts=self.n_starts, seed=seed)
        if isinstance(learner, NetworkLearner):
            return self._poison_network(learner, (x, y, x_val, y_val), dense(start_x), drawn, n_points, box, seed, begun)
        columns = used_columns(x, x_val, start_x)
        used_box = Box(lower=box.lower[columns], upper=box.upper[columns])
        training = learner.retraining(x[:, columns], y, x_val[:, columns], y_val, room=n_points)
        data, project = dense(start_x[:, columns]), projection(x[:, columns], y, used_box, share=self.expected_share)
        placed = []
        for _ in range(n_points):
            before = replace(training.counts)
            row, start = _best(training, data, drawn.draw(), project)
            point = self._optimise(training, start, used_box, partial(project, label=start.label))
            training.place(point.end)
            seconds, begun = time.process_time() - begun, time.process_time()
            placed.append(replace(point, row=row, counts=training.counts - before, seconds=seconds))
            drawn.take(row)
        joined = _join(placed)
        both = joined.points, data[joined.start_rows]
        points, start_points = (all_columns(rows, columns, len(box.lower)) for rows in both)
        return replace(joined, points=points, start_points=start_points)

    def _poison_network(
        self,
        learner: NetworkLearner,
        data: tuple[Matrix, Ints, Matrix, Ints],
        start_x: Floats,
        drawn: Starts,
        n_points: int,
        box: Box,
        seed: int,
        begun: float,
    ) -> Poisoned:
        """Points moved together; where there are several starts to choose from, each is tried alone."""
        require_bounds(box)
        project = projection(data[0], data[1], box, share=self.expected_share)
        alone: Retraining[Any] | None = None
        rows, labels = [], []
        for _ in range(n_points):
            row, label = (tried := drawn.draw())[0]
            if len(tried) > 1:
                alone = alone or learner.retraining(*data, room=0)
                row, start = _best(alone, start_x, tried, project)
                label = start.label
            rows.append(row)
            labels.append(label)
            drawn.take(row)
        how = Together(n_networks=self.n_networks, n_rounds=self.n_rounds, n_together=self.n_together, step=self.step)
        starts = Placed(points=start_x[rows], rows=np.array(rows), labels=np.array(labels))
        made = poison_together(how, learner, data, starts, box=box, project=project, seed=seed, begun=begun)
        if alone is not None:
            made.retrainings[0] += alone.counts.retrainings
            made.fallbacks[0] += alone.counts.fallbacks
        return made

    def _optimise(
        self, training: Retraining[Any], start: MovedFit, box: Box, project: Callable[[Floats], Floats] | None = None
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
    start: MovedFit
    end: MovedFit
    residual: float
    row: int = -1
    counts: Counts = field(default_factory=Counts)
    seconds: float = 0.0


def validation_gradients(
    learner: Learner, x: Matrix, y: Ints, x_val: Matrix, y_val: Ints, *, points: Floats, labels: Ints
) -> Floats:
    """Gradients ``(m, d)`` of the learner's mean validation loss in each poisoning point, alone in the training data.

    For point j the learner is trained on ``(x, y)`` and ``(points[j], labels[j])``, no other poisoning point: then
    the gradient depends on neither their order nor on whose points they are, and those of a surrogate and a target, each
    on its own training data, can be compared (S and R of poisoning). Zero where a point is no support vector.
    """
    is_network = isinstance(learner, NetworkLearner)  # whose starting weights depend on the number of features
    columns = np.arange(x.shape[1]) if is_network else used_columns(x, x_val, points)
    training = learner.retraining(x[:, columns], y, x_val[:, columns], y_val, room=0)
    fitted = (training.retrain(point, int(label)) for point, label in zip(points[:, columns], labels, strict=True))
    return all_columns(np.array([training.gradient(one)[0] for one in fitted]), columns, points.shape[1])


def _best(training: Retraining[Any], data: Floats, tried: list[tuple[int, int]], project: Project) -> tuple[int, MovedFit]:
    """Of rows and classes, the row that raises the validation loss most, and the learner with that point."""
    fits = [training.retrain(project(data[row], label), label) for row, label in tried]
    best = int(np.argmax([fit.loss for fit in fits]))
    return tried[best][0], fits[best]


def _check(starts: Matrix, n_points: int, box: Box) -> None:
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
