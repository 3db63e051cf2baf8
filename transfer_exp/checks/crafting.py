"""An attack, models and a few points: what the checks of an attack look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from transfer_exp.attacks.base import EvasionAttack, crafted_by
from transfer_exp.attacks.crafted import Crafted
from transfer_exp.attacks.goals import ANY, goal_classes, resolve_goal
from transfer_exp.checks.watching import Watch, watched_arrays, watched_globals, watched_model
from transfer_exp.learners import Model
from transfer_exp.margin import margins
from transfer_exp.optim.balls import ball
from transfer_exp.types import Dataset, Floats, Ints

EPS = float(np.finfo(np.float32).eps)


@dataclass(frozen=True, kw_only=True)
class Crafting:
    """An attack, models, and points ``x`` ``(n, d)`` of classes ``y`` to attack at each of ``epsilons``.

    known: points and classes that the attacker has.
    """

    attack: EvasionAttack
    dataset: Dataset
    models: Mapping[str, Model]
    x: Floats
    y: Ints
    epsilons: Sequence[float]
    known: tuple[Floats, Ints]

    @property
    def promises(self) -> frozenset[str]:
        """What the attack is held to beside what all are."""
        return getattr(self.attack, "promises", frozenset())

    def goals(self, model: Model, goal: str | int | None = None) -> Ints | None:
        """The classes that points should reach: those of the attack's option, or of another ``goal``."""
        wanted = resolve_goal(getattr(self.attack, "goal", ANY), self.dataset.class_names) if goal is None else goal
        return goal_classes(wanted, self.y, model.logits(self.x))

    def craft(self, model: Model, rows: slice | Ints = slice(None), goals: Ints | None = None) -> Crafted:
        """The attack on these rows of the points."""
        own = self.goals(model) if goals is None else goals
        box, shape = self.dataset.box, self.dataset.shape
        some = None if own is None else own[rows]
        x, y = self.x[rows], self.y[rows]
        return crafted_by(
            self.attack, model, x, y, goals=some, epsilons=self.epsilons, box=box, shape=shape, known=self.known
        )

    @cached_property
    def made(self) -> dict[str, Crafted]:
        """Points made on each model."""
        return {name: self.craft(model) for name, model in self.models.items()}

    @cached_property
    def again(self) -> tuple[dict[str, Crafted], list[Watch]]:
        """The same a second time, and what changed meanwhile: globals, points, models."""
        made, watches = {}, []
        for name, model in self.models.items():
            with (
                watched_globals() as others,
                watched_arrays(points=self.x, classes=self.y, **vars(self.dataset.box)) as arrays,
                watched_model(model) as inside,
            ):
                made[name] = self.craft(model)
            watches += [others, arrays, inside]
        return made, watches

    def objective(self, model: Model, points: Floats, goals: Ints | None) -> Floats:
        """What the attack raises, ``(n,)``, computed from the points."""
        logits = model.logits(points)
        return -margins(logits, self.y) if goals is None else margins(logits, goals)

    def rises(self, model: Model, made: Crafted, goals: Ints | None) -> Floats:
        """By how much it rose at each epsilon, ``(E, n)``."""
        clean, box = self.objective(model, self.x, goals), self.dataset.box
        at = [self.objective(model, made.points(k, self.x, box), goals) for k in range(len(self.epsilons))]
        return np.stack(at) - clean

    def sizes(self, offsets: Floats) -> tuple[Floats, float]:
        """Sizes ``(n,)`` of offsets ``(n, d)``, and what rounding each feature in float32 adds; whole features are exact."""
        norm = ball(self.attack.norm)
        offsets = offsets.astype(np.float64)
        spacing = EPS * float(np.abs(self.x).max() + np.abs(offsets).max())
        rounding = 0.0 if norm.counts_features else float(norm.size(np.full(offsets.shape[1], spacing)))
        return norm.size(offsets), rounding
