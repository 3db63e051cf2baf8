"""Checks of what is kept of a model, and of what it is kept under: state, store, signature."""

from __future__ import annotations

import copy
import dataclasses
import io
import tempfile
from typing import Any

import numpy as np

from transfer_exp.attacks.evasion import Evasion
from transfer_exp.checks.base import Answer, Check, NotApplicable, same
from transfer_exp.checks.fitting import Fitting
from transfer_exp.combination import Combination
from transfer_exp.learners import Logistic
from transfer_exp.signature import signature
from transfer_exp.store import Store
from transfer_exp.types import Grid, counted
from transfer_exp.work import Work
from transfer_exp.work.fitted import fitted

_DISPLAY = ("name", "complexity")


def _state_of(fitting: Fitting) -> dict[str, np.ndarray[Any, Any]]:
    if fitting.learner.given:
        raise NotApplicable("given: nothing is stored")
    state = fitting.model.state()
    if state is None:
        raise NotApplicable("is not stored as a whole: made again in each process")
    return state


def _state(fitting: Fitting) -> Answer:
    state = _state_of(fitting)
    wrong = [name for name, array in state.items() if not isinstance(array, np.ndarray) or array.dtype == object]
    if wrong:
        return False, f"no plain array: {', '.join(wrong)}"
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **state)
    file.seek(0)
    with np.load(file, allow_pickle=False) as read:
        changed = [name for name, array in state.items() if not same(read[name], array)]
    size = sum(array.nbytes for array in state.values())
    text = f"{counted(len(state), 'array')}, {size / 1e3:,.1f} kB"
    return not changed, f"read back otherwise: {', '.join(changed)}" if changed else text


def _restored(fitting: Fitting) -> Answer:
    restored = fitting.placed(fitting.learner.restore(_state_of(fitting)))
    logits = restored.logits(fitting.shown)
    return same(logits, fitting.logits), f"largest difference {fitting.differ(logits):.1g}"


def _stored(fitting: Fitting) -> Answer:
    """As a run goes about it: trained by one process, found by another."""
    combination = Combination(
        dataset=fitting.dataset,
        surrogate=Logistic(C=1.0),
        target=fitting.learner,
        attack=Evasion(),
        epsilon=Grid(grid=(0, 1), reference=1, shown=(1,)),
        seed=fitting.seed,
        device=fitting.device.type,
    )
    if not fitting.learner.parts():
        _state_of(fitting)
    if not signature(learner=fitting.learner).storable:
        raise NotApplicable("its source is not known: made again in each process")
    with tempfile.TemporaryDirectory() as folder:
        stores = [Store(folder) for _ in range(2)]
        works = [Work.of(combination, store) for store in stores]
        first, second = (
            fitted(work, work.combination.target, fitting.rows, seed=fitting.seed, stream="target_training")
            for work in works
        )
    if stores[1].misses or first.key != second.key:
        return False, "found no more under its key: made again"
    if not stores[1].hits:
        raise NotApplicable("none of its parts is stored")
    logits = [one.model.logits(fitting.shown) for one in (first, second)]
    return same(
        *logits
    ), f"{counted(stores[1].hits.total(), 'model')} read, largest difference {np.ptp(logits, 0).max():.1g}"


def signs(thing: Any) -> Answer:
    """Whether the signature of a learner or an attack stays with its options, and changes with each simple one."""
    key = signature(thing=thing)
    if not key.storable:
        raise NotApplicable("its source is not known: nothing that it makes is stored")
    if signature(thing=copy.copy(thing)) != key or signature(thing=copy.deepcopy(thing)) != key:
        return False, "another for an equal one"
    named = copy.copy(thing)
    object.__setattr__(named, "name", "another name")
    if signature(thing=named) != key:
        return False, "another with another name"
    options = _simple_options(thing)
    blind = [name for name, value in options.items() if signature(thing=_changed(thing, name, value)) == key]
    if blind:
        return False, f"does not count {', '.join(blind)}"
    return True, f"{key[:12]}, counts {', '.join(options)}" if options else key[:12]


def _simple_options(thing: Any) -> dict[str, Any]:
    """Its options that are numbers, texts or switches, those for display left out.

    One that is not compared may be left out where a field that is made of it is: the checksum of a file, say.
    """
    declared = dataclasses.fields(thing)
    stands_for = any(f.compare and not f.init for f in declared)
    named = [f.name for f in declared if f.init and f.name not in _DISPLAY and (f.compare or not stands_for)]
    options = {name: getattr(thing, name) for name in named}
    return {name: value for name, value in options.items() if isinstance(value, bool | int | float | str)}


def _changed(thing: Any, name: str, value: Any) -> Any:
    other = copy.copy(thing)
    new: Any = f"{value}_" if isinstance(value, str) else not value if isinstance(value, bool) else 2 * value + 1
    object.__setattr__(other, name, new)
    return other


def _signature(fitting: Fitting) -> Answer:
    return signs(fitting.learner)


KEEPING_CHECKS = (
    Check("state", "named arrays, read without pickle", _state),
    Check("restored", "the same bits from its state", _restored),
    Check("store", "the same bits, found by the next process", _stored),
    Check("signature", "stays, and changes with each option", _signature),
)
