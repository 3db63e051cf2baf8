"""Surrogate and target of a combination, and what measures that are asked for by name see of them (``measures.subject``)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from transfer_exp.learners import Learner, Model
from transfer_exp.learners.penultimate import penultimate_features
from transfer_exp.measures.detection import at_threshold
from transfer_exp.measures.optimum import objective
from transfer_exp.measures.poisonability import LinearData
from transfer_exp.measures.subject import Look, Role
from transfer_exp.types import Floats, Ints
from transfer_exp.work import Work
from transfer_exp.work.fitted import Fitted
from transfer_exp.work.linear import linear_data
from transfer_exp.work.looks import looked
from transfer_exp.work.optimum import best_objective


@dataclass(frozen=True, kw_only=True)
class Party:
    """Surrogate or target of a combination: the learner, fitted, and the threshold of its score (two classes only)."""

    learner: Learner
    fitted: Fitted
    threshold: float | None = None

    @property
    def model(self) -> Model:
        """The fitted model."""
        return self.fitted.model

    def decisions(self, logits: Floats) -> Floats:
        """Logits whose largest one is what the model decides: shifted by the threshold, where there is one."""
        return logits if self.threshold is None else at_threshold(logits, self.threshold)


@dataclass(frozen=True, kw_only=True)
class Looking:
    """Looks at surrogate and target at the points of ``rows``; ``seconds``: what each has cost when it was made, by name."""

    work: Work
    surrogate: Party
    target: Party
    rows: Ints
    seconds: dict[str, float] = field(default_factory=dict)

    def _party(self, role: Role) -> Party:
        return self.surrogate if role == "surrogate" else self.target

    def look(self, role: Role, look: Look, *, name: str, on_attack: bool, **options: Any) -> Floats | None:
        """What a measure of one model finds (``measures.subject``); None where the model has no gradients."""
        party = self._party(role)
        if not party.model.differentiable:
            return None
        found, self.seconds[name] = looked(self.work, party.fitted, self.rows, look, on_attack=on_attack, options=options)
        return found

    def best_objective(self, name: str) -> Floats | None:
        """Objective ``(E, n)`` that our own optimiser reaches on the surrogate at its best; ``name``: who asks.

        Of decisions: where there is a threshold, it moves the objective of every point by as much.
        """
        reached, self.seconds[name] = best_objective(self.work, self.surrogate.fitted, self.rows)
        if self.surrogate.threshold is None:
            return reached
        shift = self.surrogate.decisions(np.zeros((len(self.rows), 2)))
        return np.asarray(reached + objective(shift, self.work.dataset.y[self.rows], None))

    def penultimate(self, role: Role) -> Floats | None:
        """Penultimate features ``(n, f)`` of the clean points; None for a model that is no network."""
        party = self._party(role)
        return penultimate_features(party.model, self.work.part(self.rows)[0])

    @property
    def linear_target(self) -> LinearData | None:
        """The target's weights and training points; None where it is not linear, or no training is known."""
        return linear_data(self.work, self.target.fitted)
