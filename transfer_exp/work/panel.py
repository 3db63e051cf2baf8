"""How a surrogate's gradients align with those of other learners trained on the attacker's data: stored, once a surrogate.

The gradients themselves stay in memory (``work.gradients``): a sweep over the learners of a panel asks for each once a
repetition, trains none of them twice, and its other combinations pay for reading the cosines.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transfer_exp.learners import Learner
from transfer_exp.measures.gradients import cosine
from transfer_exp.signature import checksum
from transfer_exp.store import Arrays
from transfer_exp.types import Floats, Ints
from transfer_exp.work import fitted as trained
from transfer_exp.work.base import Work
from transfer_exp.work.fitted import Fitted, fitted
from transfer_exp.work.gradients import margin_gradients_at

_CODE = ("data", "measures", "optim", *trained.CODE, "work/gradients.py", "work/panel.py")


def panel_alignments(work: Work, surrogate: Fitted, panel: Sequence[Learner], rows: Ints) -> Floats:
    """Cosines ``(m, n)`` of the surrogate's margin gradients at the clean points of these rows with those of m others.

    The others are the learners of the panel, trained on the surrogate's data with its seed, but the surrogate itself.
    """
    combination, training = work.combination, work.split.surrogate
    learners = [learner.on(work.dataset) for learner in panel]

    def align() -> Arrays:
        own, found = margin_gradients_at(work, surrogate, rows), [np.zeros((0, len(rows)))]
        for learner in learners:
            other = fitted(work, learner, training, seed=combination.seed, stream="surrogate_training")
            if other.key != surrogate.key:
                found.append(cosine(own, margin_gradients_at(work, other, rows))[None])
        return {"cosines": np.concatenate(found)}

    stored = work.get(
        "panel_alignments",
        align,
        code=_CODE,
        surrogate=surrogate.key,
        panel=learners,
        training=checksum(training),
        seed=combination.seed,
        data=work.dataset.checksum,
        rows=checksum(rows),
        device=work.device.type,
    )
    return stored["cosines"]
