"""Training data under attack, as the measures see them: test logits of retrained models, gradients and losses at the starts.

Offers what ``attacked.Attacked`` offers, with the share of poisoning points in the place of epsilon; everything is made when
it is first asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from transfer_exp.attacks.poisoned import Poisoned
from transfer_exp.data.training_sets import TrainingSet
from transfer_exp.learners import Learner
from transfer_exp.learners.network import NetworkLearner
from transfer_exp.measures.base import mean_defined
from transfer_exp.measures.losses import CROSS_ENTROPY
from transfer_exp.measures.perturbations import perturbation_correlation
from transfer_exp.measures.poisonability import LinearData
from transfer_exp.optim.balls import BALLS
from transfer_exp.seeds import Stream
from transfer_exp.store import Arrays
from transfer_exp.types import Floats, Ints
from transfer_exp.work import Work
from transfer_exp.work.fitted import fitted
from transfer_exp.work.linear import linear_data
from transfer_exp.work.panel import crossed, other_learners
from transfer_exp.work.poisoned import (
    Retrainings,
    poisoned,
    random_flips_logits,
    retrained_logits,
    retrainings,
    start_gradients,
    varied_losses,
)
from transfer_exp.work.variability import sets_for_variability

N_VARIABILITY_POINTS = 20
"""Starts over which V is a mean: each costs a retraining on each of the other training sets."""


@dataclass(frozen=True, kw_only=True)
class PoisonedTraining:
    """The training data of surrogate and target with poisoning points; ``counts``: how many at each value of the grid.

    Logits are ``(E, n_test, K)``, of the clean test points.
    """

    work: Work
    counts: Sequence[int]
    goals: None = None
    whitebox_goals: None = None
    target_clean: None = None
    surrogate_clean: None = None

    @cached_property
    def black_box(self) -> Poisoned:
        """The points made on the surrogate and its data."""
        return self._poisoned(self.work.combination.surrogate, self.work.split.surrogate)

    @cached_property
    def white_box(self) -> Poisoned | None:
        """The points made on the target and its data, from the same starts; None where the target has not the gradients.

        Of a target that defends itself, those made on the learner within: this attacker does not know of the defence.
        """
        combination = self.work.combination
        target = combination.target.undefended
        possible = self._is_followed(target) or not getattr(combination.attack, "asks_surrogate", True)
        return self._poisoned(target, self.work.split.target) if possible else None

    def _is_followed(self, learner: Learner) -> bool:
        """Whether a learner beside the surrogate is poisoned, too: networks, which are slow, where the surrogate is one."""
        is_fast = not isinstance(learner, NetworkLearner) or isinstance(self.work.combination.surrogate, NetworkLearner)
        return learner.can_be_retrained and is_fast

    @property
    def _surrogate_has_gradients(self) -> bool:
        """Not where the attack asks for none, and the surrogate cannot be poisoned along one."""
        return self.work.combination.surrogate.can_be_retrained

    def _poisoned(self, learner: Learner, rows: Ints) -> Poisoned:
        return poisoned(self.work, learner, rows, n_points=max(self.counts))

    @property
    def y(self) -> Ints:
        """Classes of the test points."""
        return self.work.dataset.y[self.work.split.test]

    @cached_property
    def target_logits(self) -> Floats:
        """Of the target retrained with the points made on the surrogate."""
        return self._target_retrained.logits

    @property
    def defence_notes(self) -> Mapping[str, Floats]:
        """What the target's defence did to these points, ``(E,)`` by name."""
        return self._target_retrained.notes

    @cached_property
    def _target_retrained(self) -> Retrainings:
        return retrainings(
            self.work,
            self.work.combination.target,
            self.work.split.target,
            stream="target_training",
            points=self.black_box.points,
            labels=self.black_box.labels,
            counts=self.counts,
        )

    @property
    def target_decisions(self) -> Floats:
        """The same: there is no threshold."""
        return self.target_logits

    @cached_property
    def surrogate_decisions(self) -> Floats:
        """Of the surrogate retrained with the points made on it."""
        combination, rows = self.work.combination, self.work.split.surrogate
        return self._retrained(combination.surrogate, rows, "surrogate_training", self.black_box)

    @cached_property
    def whitebox_decisions(self) -> Floats | None:
        """Of the target retrained with the points made on it."""
        if self.white_box is None:
            return None
        return self._retrained(self.work.combination.target, self.work.split.target, "target_training", self.white_box)

    @property
    def noise_decisions(self) -> Floats:
        """``(E, draws, n_test, K)``, of the target retrained with as many random points of another class."""
        return random_flips_logits(self.work, self.counts)

    def _retrained(self, learner: Learner, rows: Ints, stream: Stream, made: Poisoned) -> Floats:
        return retrained_logits(
            self.work, learner, rows, stream=stream, points=made.points, labels=made.labels, counts=self.counts
        )

    @property
    def target_loss(self) -> str | None:
        """The name of the target's own loss, where it has one."""
        return self.work.combination.target.loss_name

    @property
    def target_shared_loss(self) -> str | None:
        """The loss by which models of different ones are compared; None where only decisions are known."""
        return None if self.work.combination.target.labels_only else CROSS_ENTROPY

    @cached_property
    def target_gradients(self) -> Floats | None:
        """Of the target's validation loss in the starts ``(m, d)``, each alone in its training data."""
        if not self._is_followed(self.work.combination.target):
            return None
        return self._gradients(self.work.combination.target, self.work.split.target)

    @property
    def surrogate_gradients(self) -> Floats | None:
        """Of the surrogate's; None where it has none, or the target none to compare with."""
        if self.target_gradients is None or not self._surrogate_has_gradients:
            return None
        return self._gradients(self.work.combination.surrogate, self.work.split.surrogate)

    def _gradients(self, learner: Learner, rows: Ints) -> Floats:
        return start_gradients(self.work, learner, rows, self.black_box.start_points, self.black_box.labels)

    @property
    def gradient_sizes(self) -> Arrays:
        """S of each start by the learner's ``own`` loss; empty where the target has no gradients."""
        return {} if self.target_gradients is None else {"own": self.work.ball.dual_size(self.target_gradients)}

    @property
    def surrogate_gradient_sizes(self) -> Arrays:
        """The same of the surrogate, whatever the target; empty where it has no gradients."""
        if not self._surrogate_has_gradients:
            return {}
        own = self._gradients(self.work.combination.surrogate, self.work.split.surrogate)
        return {"own": self.work.ball.dual_size(own)}

    def panel_alignments(self, panel: Sequence[Learner]) -> Floats | None:
        """Cosines ``(2 m, n)`` of the surrogate's gradients in the starts with those of a panel's m others (``work.panel``).

        A learner that cannot be poisoned has no such gradients and does not count; None for a surrogate that cannot.
        """
        if not self._surrogate_has_gradients:
            return None
        others = [learner for learner in other_learners(self.work, panel) if self._is_followed(learner)]
        return crossed(self.work, others, self._gradients, n=len(self.black_box.start_points))

    @cached_property
    def sets(self) -> list[TrainingSet]:
        """The training sets of V."""
        split, starts = self.work.split, self.black_box.start_rows[:N_VARIABILITY_POINTS]
        return sets_for_variability(self.work, np.union1d(split.validation, split.surrogate[starts]))

    def varied_losses(self, loss: str) -> Floats | None:
        """Validation losses ``(k, m)`` of surrogates trained on each of the sets and one start; None but for the ``own``.

        None, too, for a surrogate that cannot be poisoned (and is that of an attack without gradients).
        """
        if loss != "own" or not self._surrogate_has_gradients:
            return None
        some = slice(N_VARIABILITY_POINTS)
        return varied_losses(self.work, self.sets, self.black_box.start_points[some], self.black_box.labels[some])

    @property
    def extent(self) -> Arrays:
        """Mean size ``perturbation_l1`` ... ``(E,)`` of the moves, over the points placed."""
        moves = self._moves(self.black_box)
        return {f"perturbation_{name}": self._running_mean(ball.size(moves), empty=0.0) for name, ball in BALLS.items()}

    @property
    def perturbation_correlations(self) -> Floats | None:
        """rho ``(E,)``, mean over the points placed that have one class in both; None where the boxes have other starts."""
        black, white = self.black_box, self.white_box
        if white is None or not np.array_equal(black.start_points, white.start_points):
            return None  # they have the same when starts are drawn at random
        rho = perturbation_correlation(self._moves(black), self._moves(white))
        rho = np.where(black.labels == white.labels, rho, np.nan)
        return self._running_mean(rho, empty=float("nan"))

    @property
    def linear_target(self) -> LinearData | None:
        """The unpoisoned target's weights and training points; None where it is not linear."""
        combination, split = self.work.combination, self.work.split
        if not combination.target.model_type.linear:
            return None
        target = fitted(self.work, combination.target, split.target, seed=combination.seed, stream="target_training")
        return linear_data(self.work, target)

    def look(self, *_: Any, **__: Any) -> None:
        """None: there are no attacked points to look at, and no one model that is attacked."""

    def best_objective(self, name: str) -> None:
        """None: only the poisoning itself tells how far it can be driven."""

    def penultimate(self, role: str) -> None:
        """None: models are retrained with each number of points."""

    def _moves(self, made: Poisoned) -> Floats:
        return made.points - made.start_points

    def _running_mean(self, values: Floats, *, empty: float) -> Floats:
        """Mean over the defined ones of the first m values, for each count m; ``empty`` for none."""
        return np.array([mean_defined(values[:m])[0] if m else empty for m in self.counts])
