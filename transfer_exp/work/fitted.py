"""Fitted learners, shared through the store by all combinations that train them on the same points."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from transfer_exp import seeds
from transfer_exp.learners import Learner, Model
from transfer_exp.signature import checksum, code_version, signature
from transfer_exp.store import Arrays
from transfer_exp.types import Ints
from transfer_exp.work.base import Work

_log = logging.getLogger(__name__)
CODE = ("learners", "margin.py", "seeds.py", "types.py", "work/base.py", "work/fitted.py")


@dataclass(frozen=True)
class Fitted:
    """A model on the device, and the key it is stored under."""

    model: Model
    key: str


def fitted(work: Work, learner: Learner, rows: Ints, *, seed: int, stream: seeds.Stream) -> Fitted:
    """The learner trained on these rows, from the store when it was trained before; float64 on CPU, float32 on GPU.

    ``seed`` is that of the repetition that the training belongs to.
    """
    dataset, number = work.dataset, seeds.integer(seed, stream)
    key = signature(learner=learner, data=dataset.checksum, rows=checksum(rows), seed=number, code=code_version(*CODE))

    def train() -> Arrays:
        _log.info("training %s on %d points", learner.label, len(rows))
        model = learner.fit(dataset.x[rows], dataset.y[rows], n_classes=dataset.n_classes, seed=number)
        return model.state()

    model = learner.restore(work.stored("learner", key, train)).to(work.device)
    return Fitted(model.float() if work.device.type == "cuda" else model, key)
