"""Poisoning without a gradient: what the bilevel attack (``poisoning``) has to beat, at equal points and at equal seconds.

    LabelFlips     points of the attacker, learned with another label. choice:
                   random      any
                   influence   those that raise the surrogate's validation loss most when they are learned alone
                   greedy      one after another, each the best of ``n_tried`` drawn ones beside those placed before; with
                               ``n_tried`` = 1, the unoptimised starts of the bilevel attack
    RandomPoints   uniform in the box, with the label of a flipped point

Influence is measured by retraining, not to first order, so that any learner can be the surrogate: where it retrains cheaply
(``learners.retraining``) by that, else by fits from scratch. Any number of classes: the label is another one at random.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias, get_args

import numpy as np

from transfer_exp.attacks.feasible import require_bounds
from transfer_exp.attacks.other_classes import Candidates, random_others
from transfer_exp.attacks.poisoned import Poisoned
from transfer_exp.attacks.poisoning_starts import Starts
from transfer_exp.attacks.trials import Trials, trials
from transfer_exp.learners import Learner
from transfer_exp.seeds import generator
from transfer_exp.types import Box, Floats, Ints, Matrix, UserError, dense

Choice: TypeAlias = Literal["random", "influence", "greedy"]


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What the attacks here have in common."""

    scenario: ClassVar[str] = "poisoning"
    requires: ClassVar[frozenset[str]] = frozenset({"training"})
    norm: ClassVar[str] = "l2"
    optimises: ClassVar[bool] = False

    @property
    def asks_surrogate(self) -> bool:
        """Whether a surrogate is trained at all."""
        return False


@dataclass(frozen=True, kw_only=True)
class LabelFlips(Baseline):
    """``choice``: see above. n_tried: candidates drawn for each point (greedy) or for all (influence; 0: all there are)."""

    name: str = field(default="flips", compare=False)
    choice: Choice = "random"
    n_tried: int = 20

    def __post_init__(self) -> None:
        if self.choice not in get_args(Choice):
            raise UserError(f"attack.choice: expected one of {', '.join(get_args(Choice))}, got {self.choice}")
        if self.n_tried < (1 if self.choice == "greedy" else 0):
            raise UserError(f"attack.n_tried: expected a whole number >= 1 (influence: or 0, all), got {self.n_tried}")

    @property
    def asks_surrogate(self) -> bool:
        """Unless the choice is one of chance."""
        return self.choice == "influence" or (self.choice == "greedy" and self.n_tried > 1)

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
        """As ``Poisoning.craft``, of any number of classes. Raises UserError on more points than the attacker has."""
        del box  # flips lie in it as the data do
        clock = Clock()
        start_x, start_y = (x, y) if starts is None else starts
        require_enough(start_y, n_points)
        n_classes, data = n_classes_of(y, y_val, start_y), dense(start_x)
        training = trials(learner, x, y, x_val, y_val, room=n_points, seed=seed) if self.asks_surrogate else None
        if self.choice == "greedy":
            drawn = Starts(start_y, Candidates(n_classes, 1, None), n_starts=self.n_tried, seed=seed)
            rows, labels, losses, fits = self._greedy(training, data, drawn, n_points, clock)
        else:
            others = random_others(start_y, n_classes, generator(seed, "attack_labels"))
            rows, losses, fits = self._at_once(training, data, others, n_points, generator(seed, "attack_start"))
            if training is not None:
                clock.first_of(n_points)
            labels = others[rows]
        seconds = clock.of(n_points)
        made = unmoved(data[rows], labels, data[rows], rows, seconds=seconds, losses=losses, retrainings=fits)
        made.fallbacks[0] = 0 if training is None else training.n_fallbacks
        return made

    def _at_once(
        self, training: Trials | None, data: Floats, labels: Ints, n_points: int, rng: np.random.Generator
    ) -> tuple[Ints, Floats, Ints]:
        """Rows, losses, and retrainings, all of them before the first point."""
        if training is None:
            rows = rng.choice(len(labels), size=n_points, replace=False)
            return rows, np.full(n_points, np.nan), np.zeros(n_points, dtype=np.int64)
        if 0 < self.n_tried <= n_points:
            raise UserError(
                f"attack.n_tried: expected more candidates than the {n_points} points, or 0 for all, got {self.n_tried}; "
                "there would be nothing to choose"
            )
        n_tried = min(len(labels), self.n_tried or len(labels))
        rows = rng.choice(len(labels), size=n_tried, replace=False)
        losses = np.array([training.loss(data[k], int(labels[k])) for k in rows])
        best = np.argsort(-losses, kind="stable")[:n_points]
        return rows[best], losses[best], np.eye(1, n_points, dtype=np.int64)[0] * training.n_fits

    def _greedy(
        self, training: Trials | None, data: Floats, drawn: Starts, n_points: int, clock: Clock
    ) -> tuple[Ints, Ints, Floats, Ints]:
        """Rows, labels, losses and retrainings of each point."""
        rows, labels, losses, fits = [], [], [], [0]
        for _ in range(n_points):
            tried = drawn.draw()
            found = [np.nan if training is None else training.loss(data[row], label) for row, label in tried]
            best = 0 if training is None else int(np.argmax(found))
            row, label = tried[best]
            if training is not None:
                training.place(data[row], label)
            drawn.take(row)
            rows.append(row)
            labels.append(label)
            losses.append(found[best])
            fits.append(0 if training is None else training.n_fits)
            clock.point()
        return np.array(rows), np.array(labels), np.array(losses), np.diff(fits)


@dataclass(frozen=True, kw_only=True)
class RandomPoints(Baseline):
    """Points uniform in the box."""

    name: str = field(default="random_points", compare=False)

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
        """As ``Poisoning.craft``. Raises UserError on a box without bounds, or more points than the attacker has."""
        del learner, x_val
        clock = Clock()
        start_x, start_y = (x, y) if starts is None else starts
        require_enough(start_y, n_points)
        require_bounds(box)
        labels = random_others(start_y, n_classes_of(y, y_val, start_y), generator(seed, "attack_labels"))
        rng = generator(seed, "attack_start")
        rows = rng.choice(len(labels), size=n_points, replace=False)
        points = rng.uniform(box.lower, box.upper, size=(n_points, len(box.lower)))
        return unmoved(points, labels[rows], dense(start_x[rows]), rows, seconds=clock.of(n_points))


class Clock:
    """CPU seconds of an attack, point by point where it is told of each, else evenly."""

    def __init__(self) -> None:
        self._last = self._begun = time.process_time()
        self._points: list[float] = []

    def point(self) -> None:
        """A point is done."""
        now = time.process_time()
        self._points.append(now - self._last)
        self._last = now

    def first_of(self, n_points: int) -> None:
        """All time until now is that of the first of the points: without it there is none."""
        self.point()
        self._points += [0.0] * (n_points - 1)

    def of(self, n_points: int) -> Floats:
        """Seconds of each of the points ``(n_points,)``; together all since the attack began."""
        own = np.array(self._points) if self._points else np.zeros(n_points)
        return np.asarray(own + (time.process_time() - self._begun - own.sum()) / n_points)


def n_classes_of(*labels: Ints) -> int:
    """K of the data that the attacker has."""
    return max(int(one.max()) for one in labels) + 1


def require_enough(y: Ints, n_points: int) -> None:
    """Raise UserError unless the attacker has so many points."""
    if not 1 <= n_points <= len(y):
        raise UserError(
            f"poisoning: expected from 1 to {len(y)} points (one for each point of the attacker's training data), got "
            f"{n_points}; ask for smaller fractions or more data"
        )


def unmoved(
    points: Floats,
    labels: Ints,
    start_points: Floats,
    rows: Ints,
    *,
    seconds: Floats,
    losses: Floats | None = None,
    retrainings: Ints | None = None,
) -> Poisoned:
    """What an attack without a gradient gives. losses: ``(m,)``, where it asked for them."""
    m = len(rows)
    objective = np.full(m, np.nan) if losses is None else losses
    none = np.zeros(m, dtype=np.int64)
    return Poisoned(
        points=points,
        labels=labels,
        start_points=start_points,
        start_rows=rows,
        objective_start=objective,
        objective=objective,
        stayed=(points == start_points).all(axis=1),
        no_support=np.zeros(m, dtype=bool),
        residual=np.zeros(m),
        retrainings=none if retrainings is None else retrainings,
        gradients=none,
        fallbacks=none.copy(),
        seconds=seconds,
    )
