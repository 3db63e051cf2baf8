"""The slow pieces of a poisoning combination, shared through the store: points, retrained logits, gradients, losses."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

import numpy as np

from transfer_exp import seeds
from transfer_exp.attacks.base import PoisoningAttack
from transfer_exp.attacks.other_classes import random_others
from transfer_exp.attacks.poisoned import Poisoned
from transfer_exp.attacks.poisoning import validation_gradients
from transfer_exp.data.training_sets import TrainingSet
from transfer_exp.learners import Learner
from transfer_exp.seeds import generator
from transfer_exp.signature import checksum
from transfer_exp.store import Arrays
from transfer_exp.types import Floats, Ints, counted
from transfer_exp.work.base import N_CHECKED, Work
from transfer_exp.work.noise import N_DRAWS

_log = logging.getLogger(__name__)
_IMPORTED_LATE = ("sklearn.linear_model", "sklearn.svm", "torch._dynamo", "torch.func")  # dynamo: by torch.optim
_CODE = ("attacks", "data", "learners", "margin.py", "optim", "seeds.py", "types.py", "work/base.py", "work/poisoned.py")


def _get(work: Work, kind: str, make: Callable[[], Mapping[str, Any]], **parts: object) -> Arrays:
    """A piece of this repetition."""
    return work.get(kind, make, code=_CODE, data=work.dataset.checksum, seed=work.combination.seed, **parts)


def poisoned(work: Work, learner: Learner, rows: Ints, *, n_points: int) -> Poisoned:
    """The largest number of points against the learner trained on these rows; smaller shares are its beginnings."""
    split, attack = work.split, cast(PoisoningAttack, work.combination.attack)

    def craft() -> Arrays:
        _log.info("poisoning %s with %s", learner.label, counted(n_points, "point"))
        for name in _IMPORTED_LATE:  # a second of CPU time, which is not the attack's
            import_module(name)
        begun = time.process_time()
        made = attack.craft(
            learner,
            *work.part(rows),
            *work.part(split.validation),
            n_points=n_points,
            box=work.dataset.box,
            seed=work.combination.seed,
            starts=work.part(split.surrogate),
        )
        seconds = np.full(n_points, (time.process_time() - begun) / n_points)  # evenly, where it does not tell of each point
        return {"seconds": seconds, **{name: array for name, array in vars(made).items() if array is not None}}

    made = _get(
        work,
        "poisoned",
        craft,
        learner=learner,
        attack=attack,
        n_points=n_points,
        box=work.dataset.box,
        rows=checksum(rows),
        starts=checksum(split.surrogate),
        validation=checksum(split.validation),
    )
    return Poisoned(**made)


@dataclass(frozen=True, kw_only=True)
class Retrainings:
    """A learner retrained with the first points, as many as each count says; the first count is 0.

    logits: of the test points ``(E, n_test, K)``. notes: what its defence did (``wrapped``), by name ``(E,)``.
    """

    logits: Floats
    notes: Mapping[str, Floats]


def retrained_logits(
    work: Work,
    learner: Learner,
    rows: Ints,
    *,
    stream: seeds.Stream,
    points: Floats,
    labels: Ints,
    counts: Sequence[int],
) -> Floats:
    """Test logits ``(E, n_test, K)`` of the learner retrained on these rows and the first points, as many as ``counts`` say.

    The first count is 0: the learner as it was, whosever points follow.
    """
    return retrainings(work, learner, rows, stream=stream, points=points, labels=labels, counts=counts).logits


def retrainings(
    work: Work,
    learner: Learner,
    rows: Ints,
    *,
    stream: seeds.Stream,
    points: Floats,
    labels: Ints,
    counts: Sequence[int],
) -> Retrainings:
    """The same, and what a defence did."""
    number = seeds.integer(work.combination.seed, stream)

    def train(of: Sequence[int]) -> Arrays:
        _log.info("training %s, numbers of poisoning points: %s", learner.label, list(of))
        (x, y), (x_test, _) = work.part(rows), work.part(work.split.test)
        every, notes = [], []
        for m in of:
            x_with, y_with = np.concatenate([x, points[:m]]), np.concatenate([y, labels[:m]])
            model = learner.fit(x_with, y_with, n_classes=work.dataset.n_classes, seed=number)
            model.check(x_test[:N_CHECKED])
            every.append(model.logits(x_test))
            notes.append(learner.defence_notes(model, n_clean=len(y)))
        return {"logits": np.stack(every), **{f"note {name}": np.array([one[name] for one in notes]) for name in notes[0]}}

    parts = {"learner": learner, "rows": checksum(rows), "test": checksum(work.split.test), "number": number}
    poison = {"points": checksum(points), "labels": checksum(labels), "counts": list(counts[1:])}
    clean = _get(work, "trained", lambda: train(counts[:1]), **parts)
    retrained = _get(work, "retrained", lambda: train(counts[1:]), **parts, **poison)
    both = {name: np.concatenate([clean[name], retrained[name]]) for name in clean}
    notes = {name.removeprefix("note "): values for name, values in both.items() if name != "logits"}
    return Retrainings(logits=both["logits"], notes=notes)


def random_flips_logits(work: Work, counts: Sequence[int]) -> Floats:
    """The control: test logits ``(E, N_DRAWS, n_test, K)`` of the target retrained with random points of another class.

    They are points of the attacker, learned with a class drawn from all that are not theirs. Those of
    a smaller share are the first of those of a larger one, as with an attack.
    """
    (x, y), target, rows = work.part(work.split.surrogate), work.combination.target, work.split.target
    rng = generator(work.combination.seed, "noise")
    draws = [rng.choice(len(y), size=max(counts), replace=False) for _ in range(N_DRAWS)]
    labels = [random_others(y[draw], work.dataset.n_classes, rng) for draw in draws]
    every = (
        retrained_logits(work, target, rows, stream="target_training", points=x[draw], labels=others, counts=counts)
        for draw, others in zip(draws, labels, strict=True)
    )
    return np.stack(list(every), axis=1)


def start_gradients(work: Work, learner: Learner, rows: Ints, starts: Floats, labels: Ints) -> Floats:
    """Gradients ``(m, d)`` of the validation loss in the starts, of the learner trained on these rows."""

    def differentiate() -> Arrays:
        x_val, y_val = work.part(work.split.validation)
        x, y = work.part(rows)
        return {"gradients": validation_gradients(learner, x, y, x_val, y_val, points=starts, labels=labels)}

    parts = {"learner": learner, "rows": checksum(rows), "starts": checksum(starts), "labels": checksum(labels)}
    validation = checksum(work.split.validation)
    return _get(work, "poisoning_gradients", differentiate, **parts, validation=validation)["gradients"]


def varied_losses(work: Work, sets: Sequence[TrainingSet], starts: Floats, labels: Ints) -> Floats:
    """Validation losses ``(k, m)`` of surrogates trained on each of the sets, each retrained with each start alone."""
    learner = work.combination.surrogate

    def retrain() -> Arrays:
        x_val, y_val = work.part(work.split.validation)
        losses = []
        for one in sets:
            training = learner.retraining(*work.part(one.rows), x_val, y_val, room=0)
            losses.append([training.retrain(p, int(c)).loss for p, c in zip(starts, labels, strict=True)])
        return {"losses": np.array(losses)}

    parts = {"learner": learner, "starts": checksum(starts), "labels": checksum(labels)}
    parts |= {"sets": [checksum(one.rows) for one in sets], "validation": checksum(work.split.validation)}
    return _get(work, "poisoning_losses", retrain, **parts)["losses"]
