"""Availability poisoning (paper, section 2): points that, learned by the surrogate, raise its validation loss.

    maximise   J(x_c) = mean_v l(y_v, f_v(w*))   subject to   lower <= x_c <= upper
    where w* = the learner retrained on its training data, the poisoning points placed before, and (x_c, y_c)

l is the learner's own loss (hinge, logistic, squared; the gradient: ``learners.retraining``). Points are placed one after
another, each from a training point with its label flipped, so that the first m of them are the attack with m points.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from transfer_exp.learners import Learner
from transfer_exp.learners.retraining import Counts, Retrained, Retraining
from transfer_exp.optim.ascent import ascend
from transfer_exp.optim.state import unmoved
from transfer_exp.seeds import generator
from transfer_exp.types import Box, Floats, Ints, Matrix, Norm, UserError, dense


@dataclass(frozen=True, kw_only=True)
class Poisoned:
    """m poisoning points of one learner on one training set, in the order in which they were placed.

    points, start_points: ``(m, d)`` float64. labels, start_rows: ``(m,)``, the start's row in the training data.
    objective_start, objective: ``(m,)``, validation loss with the point at its start and where it ended.
    stayed: ``(m,)`` bool, did not move. no_support: ``(m,)`` bool, the learner gives the point no weight.
    residual: ``(m,)``, largest relative residual of the implicit solves. retrainings, gradients, fallbacks: ``(m,)`` counts.
    """

    points: Floats
    labels: Ints
    start_points: Floats
    start_rows: Ints
    objective_start: Floats
    objective: Floats
    stayed: npt.NDArray[np.bool_]
    no_support: npt.NDArray[np.bool_]
    residual: Floats
    retrainings: Ints
    gradients: Ints
    fallbacks: Ints

    def health(self) -> dict[str, float]:
        """What may be wrong with the points: shares of points, the largest residual, retrainings from nothing."""
        return {
            "stayed_at_start": float(self.stayed.mean()),
            "no_support_vector": float(self.no_support.mean()),
            "implicit_residual": float(self.residual.max(initial=0.0)),
            "retraining_fallbacks": float(self.fallbacks.sum()),
        }


@dataclass(frozen=True, kw_only=True)
class Poisoning:
    """Options of the attack.

    n_starts: flipped training points tried for each start, the one of largest validation loss is taken (1: at random).
    n_iter: most gradient steps per point. tolerance: share of a point's rise below which a step ends it.
    n_trials: most step lengths tried along one gradient.
    """

    norm: ClassVar[Norm] = "l2"
    name: str = field(default="poisoning", compare=False)
    n_starts: int = 1
    n_iter: int = 10
    tolerance: float = 1e-2
    n_trials: int = 8

    def __post_init__(self) -> None:
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

        ``starts``: points and true labels to start from, with the label flipped; the training points when None.

        Raises UserError on a learner that cannot be poisoned, more points than training data, labels other than -1 and
        +1, or points outside the box.
        """
        first, true_labels = (x, y) if starts is None else starts
        _check(y, y_val, first, n_points, box)
        columns = _used_columns(x, x_val, first)
        around = Box(lower=box.lower[columns], upper=box.upper[columns])
        training = learner.retraining(x[:, columns], y, x_val[:, columns], y_val, room=n_points)
        rng = generator(seed, "attack_start")
        data, unused = dense(first[:, columns]), np.arange(len(true_labels))
        placed = []
        for _ in range(n_points):
            before = replace(training.counts)
            tried = rng.choice(len(unused), size=min(self.n_starts, len(unused)), replace=False)
            tries = [training.retrain(data[unused[k]], -int(true_labels[unused[k]])) for k in tried]
            best = int(np.argmax([one.loss for one in tries]))
            point = self._optimise(training, tries[best], around)
            training.place(point.end)
            placed.append(replace(point, row=int(unused[tried[best]]), counts=training.counts - before))
            unused = np.delete(unused, tried[best])
        made = _join(placed)
        points, start_points = (_spread(rows, columns, len(box.lower)) for rows in (made.points, made.start_points))
        return replace(made, points=points, start_points=start_points)

    def _optimise(self, training: Retraining, start: Retrained, box: Box) -> _Point:
        objective = ValidationLoss(training, start)
        value = torch.tensor([start.loss], dtype=torch.float64)
        ascent = ascend(
            objective,
            BoxSet(start.point, box),
            start=unmoved(torch.tensor(start.point)[None], value),
            base=value,
            step=torch.ones_like(value),
            n_iter=self.n_iter,
            tolerance=self.tolerance,
            max_trials=self.n_trials,
            smooth=False,  # kinks; and at a corner of the box the point often is no support vector, its gradient zero
        )
        return _Point(start, objective.at(ascent.x[0].numpy()), objective.residual)


@dataclass(frozen=True)
class _Point:
    start: Retrained
    end: Retrained
    residual: float
    row: int = -1
    counts: Counts = field(default_factory=Counts)


class ValidationLoss:
    """The objective J of one moving point with the label of ``start``, for the ascent; remembers its last trials."""

    def __init__(self, training: Retraining, start: Retrained) -> None:
        self.training, self.label = training, start.label
        self.trials = [start]
        self.residual = 0.0

    def at(self, point: Floats) -> Retrained:
        """The learner retrained with the point there, from the trials since the last gradient where it is among them."""
        for trial in self.trials:
            if np.array_equal(trial.point, point):
                return trial
        self.trials.append(self.training.retrain(point, self.label))
        return self.trials[-1]

    def value(self, x: Tensor, rows: Tensor) -> Tensor:
        """J at ``(1, d)``, as ``(1,)``."""
        return torch.tensor([self.at(x[0].numpy()).loss], dtype=torch.float64)

    def gradient(self, x: Tensor, rows: Tensor) -> Tensor:
        """Its gradient, ``(1, d)``."""
        fitted = self.at(x[0].numpy())
        self.trials = [fitted]
        gradient, residual = self.training.gradient(fitted)
        self.residual = max(self.residual, residual)
        return torch.as_tensor(gradient)[None]


class BoxSet:
    """The box alone: a poisoning point may move any distance from its ``start`` ``(d,)``."""

    def __init__(self, start: Floats, box: Box) -> None:
        self.start, self.lower, self.upper = (torch.as_tensor(a)[None] for a in (start, box.lower, box.upper))

    def project(self, x: Tensor, rows: Tensor) -> Tensor:
        """Nearest feasible points."""
        return torch.minimum(torch.maximum(x, self.lower), self.upper)

    def farthest(self, direction: Tensor, rows: Tensor) -> Tensor:
        """Feasible points farthest along the direction; the start's value where it has no component."""
        corner = torch.where(direction > 0, self.upper, self.lower)
        return torch.where(direction == 0, self.start, corner)


def validation_gradients(
    learner: Learner, x: Matrix, y: Ints, x_val: Matrix, y_val: Ints, *, points: Floats, labels: Ints
) -> Floats:
    """Gradients ``(m, d)`` of the learner's mean validation loss in each poisoning point, alone in the training data.

    For point j the learner is trained on ``(x, y)`` and ``(points[j], labels[j])``, no other poisoning point: then
    the gradient depends on neither their order nor on whose points they are, and those of a surrogate and a target, each
    on its own training data, can be compared (S and R of poisoning). Zero where a point is no support vector.
    """
    columns = _used_columns(x, x_val, points)
    training = learner.retraining(x[:, columns], y, x_val[:, columns], y_val, room=0)
    fitted = (training.retrain(point, int(label)) for point, label in zip(points[:, columns], labels, strict=True))
    return _spread(np.array([training.gradient(one)[0] for one in fitted]), columns, points.shape[1])


def _used_columns(*matrices: Matrix) -> Ints:
    """Columns where any point has anything. In all others every gradient is zero, so that points stay at zero there."""
    return np.unique(np.concatenate([matrix.nonzero()[1] for matrix in matrices]))


def _spread(rows: Floats, columns: Ints, n_features: int) -> Floats:
    """Rows ``(m, c)`` put into their columns of ``(m, d)``, zero elsewhere."""
    spread = np.zeros((len(rows), n_features))
    spread[:, columns] = rows
    return spread


def _check(y: Ints, y_val: Ints, starts: Matrix, n_points: int, box: Box) -> None:
    for labels in (y, y_val):
        if set(np.unique(labels)) != {-1, 1}:
            raise UserError(f"poisoning: expected two classes labelled -1 and +1, got {np.unique(labels).tolist()[:5]}")
    if not 1 <= n_points <= starts.shape[0]:
        raise UserError(
            f"poisoning: expected from 1 to {starts.shape[0]} points (one for each point of the attacker's training data), "
            f"got {n_points}; ask for smaller fractions or more data"
        )
    if bool(((dense(starts) < box.lower) | (dense(starts) > box.upper)).any()):
        raise UserError("attack: expected every point inside the box, got some outside; widen lower and upper")


def _join(placed: list[_Point]) -> Poisoned:
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
        no_support=np.array([p.end.beta[-1] == 0 for p in placed]),
        residual=np.array([p.residual for p in placed]),
        retrainings=counts[:, 0],
        gradients=counts[:, 1],
        fallbacks=counts[:, 2],
    )
