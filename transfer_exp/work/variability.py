"""What V is made of: surrogates trained on other training sets like their own, shown the clean points.

The variance itself: ``measures.losses.loss_variability``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transfer_exp.data.training_sets import TrainingSet, training_sets
from transfer_exp.signature import checksum
from transfer_exp.store import Arrays
from transfer_exp.types import Floats, Ints, dense
from transfer_exp.work import fitted as trained
from transfer_exp.work.base import Work
from transfer_exp.work.fitted import fitted, fitted_ahead

_CODE = ("data", *trained.CODE, "work/variability.py")


def sets_for_variability(work: Work, measured: Ints) -> list[TrainingSet]:
    """The training sets of V, which is measured on the rows ``measured``; none where the surrogate is a given model.

    Raises UserError when there is too little data.
    """
    combination = work.combination
    if combination.surrogate.given:
        return []
    return training_sets(
        work.dataset,
        work.split.surrogate,
        measured,
        seed=combination.seed,
        surrogate_fraction=combination.surrogate_fraction,
        n_sets=combination.n_variability,
    )


def varied_logits(work: Work, sets: Sequence[TrainingSet], rows: Ints) -> Floats:
    """Logits ``(k, n, K)`` of the clean points of these rows by surrogates trained on each of the sets."""
    surrogate = work.combination.surrogate

    def score() -> Arrays:
        fitted_ahead(work, surrogate, [(one.rows, one.seed) for one in sets], stream="surrogate_training")
        clean = dense(work.dataset.x[rows])
        models = (fitted(work, surrogate, one.rows, seed=one.seed, stream="surrogate_training").model for one in sets)
        return {"logits": np.stack([model.logits(clean) for model in models])}

    found = work.get(
        "varied_logits",
        score,
        code=_CODE,
        learner=surrogate,
        sets=[(checksum(one.rows), one.seed) for one in sets],
        data=work.dataset.checksum,
        rows=checksum(rows),
        device=work.device.type,
    )
    return found["logits"]
