"""Test points under attack, as the measures see them: the models' logits before and after, gradients, what V is made of.

Shared by the scenarios in which points are attacked at test time. Everything is made when it is first asked for, and what
does not depend on the pair comes from the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from transfer_exp.attacks.crafted import Crafted
from transfer_exp.data.training_sets import TrainingSet
from transfer_exp.learners import Learner
from transfer_exp.measures.base import mean_defined
from transfer_exp.measures.losses import CROSS_ENTROPY, losses
from transfer_exp.measures.perturbations import perturbation_correlation
from transfer_exp.scenarios.looking import Looking
from transfer_exp.scenarios.whitebox import best_known
from transfer_exp.store import Arrays
from transfer_exp.types import Floats, Ints, dense
from transfer_exp.work import Work
from transfer_exp.work.clean import clean_logits
from transfer_exp.work.crafted import crafted, extent, goals_on, logits_on, own_logits
from transfer_exp.work.fitted import Fitted, fitted
from transfer_exp.work.gradients import gradient_sizes_at, margin_gradients_at
from transfer_exp.work.noise import noise_logits
from transfer_exp.work.panel import panel_alignments
from transfer_exp.work.variability import varied_logits


def surrogate_of(work: Work) -> Fitted:
    """The surrogate, trained on its part of the split."""
    combination = work.combination
    return fitted(work, combination.surrogate, work.split.surrogate, seed=combination.seed, stream="surrogate_training")


def target_of(work: Work) -> Fitted:
    """The target, trained on its part of the split."""
    combination = work.combination
    return fitted(work, combination.target, work.split.target, seed=combination.seed, stream="target_training")


@dataclass(frozen=True, kw_only=True)
class Attacked(Looking):
    """The points of ``rows`` under attack: made on the surrogate (black box) and, where it has gradients, on the target.

    Logits are ``(n, K)`` of clean points and ``(E, n, K)`` of attacked ones; ``..._decisions`` and ``..._clean`` are shifted
    by a threshold, where there is one. sets: the training sets of V; none where the surrogate is a given model.
    """

    sets: Sequence[TrainingSet]

    @cached_property
    def x(self) -> Floats:
        """The clean points ``(n, d)``."""
        return dense(self.work.dataset.x[self.rows])

    @property
    def y(self) -> Ints:
        """Their classes ``(n,)``."""
        return self.work.dataset.y[self.rows]

    @cached_property
    def black_box(self) -> Crafted:
        """The points made on the surrogate."""
        return crafted(self.work, self.surrogate.fitted, self.rows)

    @cached_property
    def white_box(self) -> Crafted | None:
        """The points made on the target; None where it has no gradients."""
        return crafted(self.work, self.target.fitted, self.rows) if self.target.model.differentiable else None

    @cached_property
    def goals(self) -> Ints | None:
        """The classes that the points made on the surrogate should be taken for."""
        return goals_on(self.work, self.surrogate.fitted, self.rows)

    @cached_property
    def whitebox_goals(self) -> Ints | None:
        """The classes that the points made on the target should be taken for."""
        return goals_on(self.work, self.target.fitted, self.rows)

    @cached_property
    def _clean(self) -> tuple[Floats, ...]:
        """Logits of surrogate and target."""
        return tuple(clean_logits(self.work, party.fitted, self.rows) for party in (self.surrogate, self.target))

    @cached_property
    def surrogate_clean(self) -> Floats:
        """Decisions of the surrogate on the clean points."""
        return self.surrogate.decisions(self._clean[0])

    @cached_property
    def target_clean(self) -> Floats:
        """Decisions of the target on the clean points."""
        return self.target.decisions(self._clean[1])

    @cached_property
    def target_logits(self) -> Floats:
        """Of the target on the points made on the surrogate."""
        return logits_on(self.work, self.target.fitted, self.rows, self.black_box)

    @cached_property
    def target_decisions(self) -> Floats:
        """Decisions of the target on the points made on the surrogate."""
        return self.target.decisions(self.target_logits)

    @cached_property
    def surrogate_decisions(self) -> Floats:
        """Decisions of the surrogate on the points made on it."""
        return self.surrogate.decisions(own_logits(self.work, self.surrogate.fitted, self.rows, self.black_box))

    @cached_property
    def _whitebox(self) -> tuple[Floats, npt.NDArray[np.bool_]] | None:
        if self.white_box is None:
            return None
        own = own_logits(self.work, self.target.fitted, self.rows, self.white_box)
        return best_known(own, self.target_logits, self._clean[1], y=self.y, goals=self.whitebox_goals)

    @property
    def whitebox_decisions(self) -> Floats | None:
        """Decisions of the target on the worst points known; None where it has no gradients."""
        return None if self._whitebox is None else self.target.decisions(self._whitebox[0])

    @property
    def whitebox_improved(self) -> npt.NDArray[np.bool_] | None:
        """Where the points made on the surrogate were worse for the target than those made on it, ``(E, n)``."""
        return None if self._whitebox is None else self._whitebox[1]

    @cached_property
    def noise_decisions(self) -> Floats:
        """Decisions ``(E, draws, n, K)`` of the target on points moved at random."""
        return self.target.decisions(noise_logits(self.work, self.target.fitted, self.rows))

    @property
    def target_loss(self) -> str | None:
        """The name of the target's own loss, where it has one."""
        return self.target.model.loss_name

    @property
    def target_shared_loss(self) -> str | None:
        """The loss by which models of different ones are compared; None where only decisions are known."""
        return None if self.target.model.gives == "labels" else CROSS_ENTROPY

    def varied_losses(self, loss: str) -> Floats | None:
        """Losses ``(k, n)`` of surrogates trained on the other sets, on the clean points; ``loss``: its name, or ``own``.

        None where there are no sets, or the loss is not defined.
        """
        if not self.sets or self.surrogate.model.gives == "labels":
            return None
        name = self.surrogate.model.loss_name if loss == "own" else loss
        return None if name is None else losses(self._varied_logits, self.y, name)

    @cached_property
    def _varied_logits(self) -> Floats:
        return varied_logits(self.work, self.sets, self.rows)

    @property
    def target_gradients(self) -> Floats | None:
        """Of the target's smooth margin at the clean points ``(n, d)``; None where it has none."""
        return margin_gradients_at(self.work, self.target.fitted, self.rows) if self.target.model.differentiable else None

    @property
    def surrogate_gradients(self) -> Floats | None:
        """Of the surrogate's smooth margin; None where it has none."""
        model = self.surrogate.model
        return margin_gradients_at(self.work, self.surrogate.fitted, self.rows) if model.differentiable else None

    @cached_property
    def gradient_sizes(self) -> Arrays:
        """S of each point by loss, ``own`` and ``cross_entropy``, of the target; empty where it has no gradients."""
        return gradient_sizes_at(self.work, self.target.fitted, self.rows) if self.target.model.differentiable else {}

    @cached_property
    def surrogate_gradient_sizes(self) -> Arrays:
        """The same of the surrogate."""
        model = self.surrogate.model
        return gradient_sizes_at(self.work, self.surrogate.fitted, self.rows) if model.differentiable else {}

    def panel_alignments(self, panel: Sequence[Learner]) -> Floats | None:
        """Cosines ``(2 m, n)`` of the surrogate's gradients with those of a panel's m others (``work.panel``).

        None where the surrogate has no gradients.
        """
        if not self.surrogate.model.differentiable:
            return None
        return panel_alignments(self.work, panel, self.rows)

    @cached_property
    def extent(self) -> Arrays:
        """How far the points made on the surrogate went, and what may be wrong with them (``work.crafted.extent``)."""
        return extent(self.work, self.surrogate.fitted, self.rows, self.black_box)

    @property
    def perturbation_correlations(self) -> Floats | None:
        """rho at every epsilon ``(E,)``: of what was made on the surrogate and what was made on the target.

        Points that replace others in the white box do not count: they are the black box's own, of correlation 1.
        """
        if self.white_box is None:
            return None
        every = []
        for k in range(len(self.work.epsilons)):
            every.append(mean_defined(perturbation_correlation(self.black_box.offsets[k], self.white_box.offsets[k]))[0])
        return np.array(every)
