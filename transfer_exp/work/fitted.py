"""Fitted learners, shared through the store by all combinations that train them on the same points."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from transfer_exp import seeds
from transfer_exp.learners import Learner, Model
from transfer_exp.signature import Key, checksum, code_version, signature
from transfer_exp.store import Arrays
from transfer_exp.types import Ints, dense
from transfer_exp.work.base import Work

_log = logging.getLogger(__name__)
N_CHECKED = 3
"""Test points whose logits are looked at before a model is used."""
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
    if learner.given:
        return _given(work, learner)
    dataset, number = work.dataset, seeds.integer(seed, stream)
    key = signature(learner=learner, data=dataset.checksum, rows=checksum(rows), seed=number, code=code_version(*CODE))

    def train() -> Arrays:
        _log.info("training %s on %d points", learner.label, len(rows))
        model = learner.fit(dataset.x[rows], dataset.y[rows], n_classes=dataset.n_classes, seed=number)
        state = model.state()
        assert state is not None
        return state

    return _on_device(work, learner.restore(work.stored("learner", key, train)), key)


def _given(work: Work, learner: Learner) -> Fitted:
    """A model that is there already: the same for all repetitions, so that what is made on it is shared."""
    dataset = work.dataset
    key = signature(learner=learner, n_classes=dataset.n_classes, code=code_version(*CODE))
    nobody = np.zeros(0, dtype=np.int64)
    model = learner.fit(dataset.x[nobody], dataset.y[nobody], n_classes=dataset.n_classes, seed=0)
    return _on_device(work, model, key)


def _on_device(work: Work, model: Model, key: Key) -> Fitted:
    """The model on the device, once its answers are found to be such. Raises UserError where they are not."""
    model = model.to(work.device)
    model = model.float() if work.device.type == "cuda" else model
    model.check(dense(work.dataset.x[work.split.test[:N_CHECKED]]))
    return Fitted(model, key)
