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

Labels are class indices 0 and 1; f is the score of class 1, and a flipped label is 1 - y.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from transfer_exp.attacks.poisoned import Poisoned
from transfer_exp.attacks.poisoning_together import Together, alone, poison_together
from transfer_exp.learners import Learner
from transfer_exp.learners.network import NetworkLearner
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
    less end its ascent. n_trials: largest number of step lengths tried along one direction.
    Of networks, whose points are moved together (``poisoning_together``): n_networks, starting weights that points are made
    for; n_rounds, steps of a group of points; n_together, points of a group, 0: all; step: the first, in the box's
    diagonals.
    """

    scenario: ClassVar[str] = "poisoning"
    requires: ClassVar[frozenset[str]] = frozenset({"retraining", "two_classes"})
    norm: ClassVar[str] = "l2"
    name: str = field(default="poisoning", compare=False)
    n_starts: int = 1
    n_iter: int = 40
    tolerance: float = 5e-3
    n_trials: int = 8
    n_networks: int = 2
    n_rounds: int = 12
    n_together: int = 0
    step: float = 0.1

    def __post_init__(self) -> None:
        if min(self.n_networks, self.n_rounds) < 1 or self.n_together < 0 or not self.step > 0:
            raise UserError(
                "attack: expected n_networks and n_rounds >= 1, n_together >= 0 and step > 0, got "
                f"n_networks={self.n_networks}, n_rounds={self.n_rounds}, n_together={self.n_together}, step={self.step}"
            )
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
        start_x, start_y = (x, y) if starts is None else starts
        if isinstance(learner, NetworkLearner):
            _check_starts(start_x, n_points, box)
            how = Together(n_networks=self.n_networks, n_rounds=self.n_rounds, n_together=self.n_together, step=self.step)
            own, validation, other = map(dense, (x, x_val, start_x))
            return poison_together(
                how, learner, own, y, validation, y_val, n_points=n_points, box=box, seed=seed, starts=(other, start_y)
            )
        _check(y, y_val, start_x, n_points, box)
        columns = used_columns(x, x_val, start_x)
        used_box = Box(lower=box.lower[columns], upper=box.upper[columns])
        training = learner.retraining(x[:, columns], y, x_val[:, columns], y_val, room=n_points)
        rng = generator(seed, "attack_start")
        data, unused = dense(start_x[:, columns]), np.arange(len(start_y))
        placed = []
        for _ in range(n_points):
            before = replace(training.counts)
            drawn = rng.choice(len(unused), size=min(self.n_starts, len(unused)), replace=False)
            candidates = [training.retrain(data[unused[k]], 1 - int(start_y[unused[k]])) for k in drawn]
            best = int(np.argmax([candidate.loss for candidate in candidates]))
            point = self._optimise(training, candidates[best], used_box)
            training.place(point.end)
            placed.append(replace(point, row=int(unused[drawn[best]]), counts=training.counts - before))
            unused = np.delete(unused, drawn[best])
        joined = _join(placed)
        points, start_points = (all_columns(rows, columns, len(box.lower)) for rows in (joined.points, joined.start_points))
        return replace(joined, points=points, start_points=start_points)

    def _optimise(self, training: Retraining, start: Retrained, box: Box) -> _PlacedPoint:
        objective = ValidationLoss(training, start)
        weighted = start if start.has_weight else objective.move_to_margin(box, self.n_trials)
        if weighted.has_weight:
            ascend_in_box(
                objective,
                weighted.point,
                box,
                n_iter=self.n_iter,
                tolerance=self.tolerance,
                n_trials=self.n_trials,
            )
        return _PlacedPoint(start, objective.best, objective.residual)


@dataclass(frozen=True)
class _PlacedPoint:
    start: Retrained
    end: Retrained
    residual: float
    row: int = -1
    counts: Counts = field(default_factory=Counts)


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

    def move_to_margin(self, box: Box, n_trials: int) -> Retrained:
        """Move a point without weight, correct by more than the margin, against its score until it has weight.

        Each of at most ``n_trials`` steps is twice as long as the one before, the last as long as the distance to the
        farthest point of the box.
        """
        for k in range(n_trials):
            direction = (1 - 2 * self.last.label) * self.training.score_gradient(self.last)
            norm = float(np.linalg.norm(direction)) or 1.0
            farthest = np.where(direction > 0, box.upper, np.where(direction < 0, box.lower, self.last.point))
            length = float(np.linalg.norm(farthest - self.last.point)) / 2 ** (n_trials - 1 - k)
            self.value(np.clip(self.last.point + length * direction / norm, box.lower, box.upper))
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
    if isinstance(learner, NetworkLearner):
        return alone(learner, dense(x), y, dense(x_val), y_val, points=points, labels=labels).gradients
    columns = used_columns(x, x_val, points)
    training = learner.retraining(x[:, columns], y, x_val[:, columns], y_val, room=0)
    fitted = (training.retrain(point, int(label)) for point, label in zip(points[:, columns], labels, strict=True))
    return all_columns(np.array([training.gradient(one)[0] for one in fitted]), columns, points.shape[1])


def _check(y: Ints, y_val: Ints, starts: Matrix, n_points: int, box: Box) -> None:
    for labels in (y, y_val):
        if set(np.unique(labels)) != {0, 1}:
            raise UserError(f"poisoning: expected two classes, 0 and 1, got {np.unique(labels).tolist()[:5]}")
    _check_starts(starts, n_points, box)


def _check_starts(starts: Matrix, n_points: int, box: Box) -> None:
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
    )
