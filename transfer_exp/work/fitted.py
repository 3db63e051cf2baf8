"""Fitted learners, shared through the store by all combinations that train them on the same points."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TypeAlias

import numpy as np

from transfer_exp import seeds
from transfer_exp.learners import Ensemble, Learner, Model
from transfer_exp.signature import Key, checksum, code_version, signature
from transfer_exp.store import Arrays
from transfer_exp.types import Ints, dense
from transfer_exp.work.base import N_CHECKED, Work

_log = logging.getLogger(__name__)
_MOST_KEPT, _MOST_BYTES = 20, 1_000_000_000  # of models that are not stored, and of their arrays
_Training: TypeAlias = tuple[Learner, Ints, int]  # rows, seed
CODE = ("learners", "margin.py", "seeds.py", "types.py", "work/base.py", "work/fitted.py")


@dataclass(frozen=True)
class Fitted:
    """A model on the device, and the key it is stored under."""

    model: Model
    key: str


class _NotStored(Exception):  # noqa: N818  (an answer, not a mistake)
    """A model that was trained and cannot be stored."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model


def fitted(work: Work, learner: Learner, rows: Ints, *, seed: int, stream: seeds.Stream) -> Fitted:
    """The learner trained on these rows, from the store when it was trained before; float64 on CPU, float32 on GPU.

    Networks are trained on the device, too. ``seed`` is that of the repetition that the training belongs to.
    """
    return _fitted(work, learner.to(work.device.type), rows, seeds.integer(seed, stream))


def _fitted(work: Work, learner: Learner, rows: Ints, number: int) -> Fitted:
    if isinstance(learner, Ensemble):
        return _joined(work, learner, rows, number)
    if learner.given:
        return _given(work, learner)
    dataset = work.dataset
    key = _key(work, learner, rows, number)

    def train() -> Arrays:
        _log.info("training %s on %d points", learner.label, len(rows))
        model = learner.fit(dataset.x[rows], dataset.y[rows], n_classes=dataset.n_classes, seed=number)
        state = model.state()
        if state is None:
            raise _NotStored(model)
        return state

    model = _kept(work, key)
    if model is None:
        try:
            model = learner.restore(work.stored("learner", _key(work, learner.stored_as, rows, number), train))
        except _NotStored as trained:
            model = _keep(work, key, trained.model)
    return _on_device(work, model, key)


def _key(work: Work, learner: Learner, rows: Ints, number: int) -> Key:
    data = work.dataset.checksum
    place = {} if learner.trains_on == "cpu" else {"device": learner.trains_on}  # another rounding
    return signature(learner=learner, data=data, rows=checksum(rows), seed=number, code=code_version(*CODE), **place)


def fitted_ahead(work: Work, learner: Learner, sets: Sequence[tuple[Ints, int]], *, stream: seeds.Stream) -> None:
    """Train on these rows, each with the seed of its repetition, what ``fitted`` would have to; side by side where it can.

    An ensemble's members are trained each with those of the other sets. Nothing is done where the store keeps none of it.
    """
    learner = learner.to(work.device.type)
    trainings = [(learner, rows, seeds.integer(seed, stream)) for rows, seed in sets]
    _train_ahead(work, [one for training in trainings for one in _leaves(*training)])


def _leaves(learner: Learner, rows: Ints, number: int) -> list[_Training]:
    if isinstance(learner, Ensemble):
        return [(one, rows, own) for one, own in learner.seeded(number)]
    return [(learner, rows, number)]


def _train_ahead(work: Work, trainings: Sequence[_Training]) -> None:
    """Those that are not in the store, and differ in rows and seed alone, together."""
    alike: dict[str, dict[Key, _Training]] = {}
    for learner, rows, number in trainings:
        key = None if learner.given else _key(work, learner.stored_as, rows, number)
        if key is not None and key.storable and work.store is not None and not work.store.has("learner", key):
            alike.setdefault(signature(learner=learner.stored_as), {})[key] = (learner, rows, number)
    for missing in alike.values():
        if len(missing) > 1:
            _train_together(work, missing)


def _train_together(work: Work, missing: Mapping[Key, _Training]) -> None:
    dataset = work.dataset
    learner = next(iter(missing.values()))[0]
    if not learner.side_by_side:
        return
    _log.info("training %d of %s side by side", len(missing), learner.label)
    sets = ((dataset.x[rows], dataset.y[rows], number) for _, rows, number in missing.values())
    for key, model in zip(missing, learner.fit_many(sets, n_classes=dataset.n_classes), strict=True):
        state = model.state()
        assert state is not None, "what is trained side by side is stored"
        work.stored("learner", key, partial(dict, state))


def _joined(work: Work, learner: Ensemble, rows: Ints, number: int) -> Fitted:
    """An ensemble of models that are those of its members alone."""
    _train_ahead(work, _leaves(learner, rows, number))
    members = [_fitted(work, one, rows, own) for one, own in learner.seeded(number)]
    key = signature(structure=learner.structure, members=[one.key for one in members], code=code_version(*CODE))
    return Fitted(learner.joined(iter([one.model for one in members])), key)


def _given(work: Work, learner: Learner) -> Fitted:
    """A model that is there already: the same for all repetitions, so that what is made on it is shared."""
    dataset = work.dataset
    key = signature(learner=learner, n_classes=dataset.n_classes, n_features=dataset.n_features, code=code_version(*CODE))
    nobody = np.zeros(0, dtype=np.int64)
    model = _kept(work, key)
    if model is None:
        model = learner.fit(dataset.x[nobody], dataset.y[nobody], n_classes=dataset.n_classes, seed=0)
        model = _keep(work, key, model)
    return _on_device(work, model, key)


_recent: OrderedDict[tuple[str, str], Model] = OrderedDict()


def _kept(work: Work, key: Key) -> Model | None:
    """A model that is not stored, where this process has made it."""
    place = key, work.device.type
    if place not in _recent:
        return None
    _recent.move_to_end(place)
    return _recent[place]


def _keep(work: Work, key: Key, model: Model) -> Model:
    """The model, kept for the next combinations of this process; those used last are."""
    if key.storable:
        _recent[key, work.device.type] = model
        while len(_recent) > 1 and (len(_recent) > _MOST_KEPT or sum(map(_size, _recent.values())) > _MOST_BYTES):
            _recent.popitem(last=False)
    return model


def _size(model: Model) -> int:
    """Bytes of its arrays."""
    return sum(array.nbytes for array in chain(model.parameters(), model.buffers()))


def _on_device(work: Work, model: Model, key: Key) -> Fitted:
    """The model on the device, once its answers are found to be such. Raises UserError where they are not."""
    model = model.to(work.device)
    model = model.float() if work.device.type == "cuda" else model
    model.check(dense(work.dataset.x[work.split.test[:N_CHECKED]]))
    return Fitted(model, key)
