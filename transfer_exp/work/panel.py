"""How a surrogate's gradients align with those of other learners that never saw its data: stored, once a surrogate.

The attacker's training points are halved. The surrogate's learner is trained on one half, the others on the other half, and
the other way round. On the same points all would share the accidents of these points, which no target shares: on MNIST 8
against 9 logistic regression would seem the most central then, and is not. The gradients themselves stay in memory
(``work.gradients``): in a sweep over the learners of a panel each is trained on each half once a repetition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from transfer_exp.data.splits import halves
from transfer_exp.learners import Learner
from transfer_exp.measures.gradients import cosine
from transfer_exp.signature import checksum
from transfer_exp.types import Floats, Ints
from transfer_exp.work import fitted as trained
from transfer_exp.work.base import Work
from transfer_exp.work.fitted import fitted
from transfer_exp.work.gradients import margin_gradients_at

_CODE = ("data", "measures", "optim", *trained.CODE, "work/gradients.py", "work/panel.py")


def panel_alignments(work: Work, panel: Sequence[Learner], rows: Ints) -> Floats:
    """Cosines ``(2 m, n)`` of margin gradients at the clean points of these rows: the surrogate's with those of m others."""
    seed, others = work.combination.seed, other_learners(work, panel)

    def gradients(learner: Learner, half: Ints) -> Floats:
        return margin_gradients_at(work, fitted(work, learner, half, seed=seed, stream="surrogate_training"), rows)

    stored = work.get(
        "panel_alignments",
        lambda: {"cosines": crossed(work, others, gradients, n=len(rows))},
        code=_CODE,
        surrogate=work.combination.surrogate,
        panel=others,
        training=checksum(work.split.surrogate),
        seed=seed,
        data=work.dataset.checksum,
        rows=checksum(rows),
        device=work.device.type,
    )
    return stored["cosines"]


def other_learners(work: Work, panel: Sequence[Learner]) -> list[Learner]:
    """The learners of a panel, for the data set, but the surrogate's."""
    learners = (learner.on(work.dataset) for learner in panel)
    return [learner for learner in learners if learner != work.combination.surrogate]


def crossed(work: Work, others: Sequence[Learner], gradients: Callable[[Learner, Ints], Floats], *, n: int) -> Floats:
    """Cosines ``(2 m, n)`` of the surrogate's gradients, trained on one half of the attacker's data, with m others'."""
    surrogate, (first, second) = work.combination.surrogate, halves(work.dataset, work.split.surrogate)

    def cosines() -> Iterator[Floats]:
        for own, half in ((first, second), (second, first)):
            mine = gradients(surrogate, own)
            yield from (cosine(mine, gradients(other, half)) for other in others)

    return np.array(list(cosines()), dtype=np.float64).reshape(2 * len(others), n)
