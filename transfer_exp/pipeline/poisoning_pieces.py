"""The slow pieces of a poisoning combination, shared through the store: points, retrained scores, gradients, losses."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from transfer_exp import seeds
from transfer_exp.attacks.poisoning import Poisoned, Poisoning, validation_gradients
from transfer_exp.data.training_sets import TrainingSet
from transfer_exp.learners import Learner
from transfer_exp.pipeline.combination import Combination
from transfer_exp.signature import checksum, code_version, signature
from transfer_exp.store import Arrays, Store
from transfer_exp.types import Dataset, Floats, Ints, Split, counted, dense

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What the steps of one combination share; ``counts``: poisoning points at each value of the grid."""

    combination: Combination
    attack: Poisoning
    store: Store
    split: Split
    counts: list[int]

    @property
    def dataset(self) -> Dataset:
        """Of the combination."""
        return self.combination.dataset

    def part(self, rows: Ints) -> tuple[Floats, Ints]:
        """Points and labels of these rows."""
        return dense(self.dataset.x[rows]), self.dataset.y[rows]

    def key(self, **parts: object) -> str:
        """Signature of a piece of this repetition."""
        code = code_version("data", "learners", "attacks", "optim", "seeds.py", "types.py", "pipeline/poisoning_pieces.py")
        return signature(data=self.dataset.checksum, seed=self.combination.seed, code=code, **parts)


def poisoned(work: Work, learner: Learner, rows: Ints) -> Poisoned:
    """The largest number of points against the learner trained on these rows; smaller fractions are its beginnings."""
    split, n_points = work.split, max(work.counts)

    def craft() -> Arrays:
        _log.info("poisoning %s with %s", learner.name, counted(n_points, "point"))
        return vars(
            work.attack.craft(
                learner,
                *work.part(rows),
                *work.part(split.validation),
                n_points=n_points,
                box=work.dataset.box,
                seed=work.combination.seed,
                starts=work.part(split.surrogate),
            )
        )

    key = work.key(
        learner=learner,
        attack=work.attack,
        n_points=n_points,
        box=work.dataset.box,
        rows=checksum(rows),
        starts=checksum(split.surrogate),
        validation=checksum(split.validation),
    )
    return Poisoned(**work.store.get("poisoned", key, craft))


def retrained_scores(work: Work, learner: Learner, rows: Ints, stream: seeds.Stream, points: Floats, labels: Ints) -> Floats:
    """Test scores ``(E, n_test)`` of the learner retrained on these rows and the first points, at each value of the grid.

    The first value is 0: the learner as it was, whosever points follow.
    """
    number = seeds.integer(work.combination.seed, stream)

    def train(counts: list[int]) -> Arrays:
        _log.info("training %s, numbers of poisoning points: %s", learner.name, counts)
        (x, y), (x_test, _) = work.part(rows), work.part(work.split.test)
        models = (learner.fit(np.concatenate([x, points[:m]]), np.concatenate([y, labels[:m]]), seed=number) for m in counts)
        return {"scores": np.stack([model.scores(x_test) for model in models])}

    parts = {"learner": learner, "rows": checksum(rows), "test": checksum(work.split.test), "number": number}
    poison = {"points": checksum(points), "labels": checksum(labels), "counts": work.counts[1:]}
    clean = work.store.get("trained", work.key(**parts), lambda: train(work.counts[:1]))
    retrained = work.store.get("retrained", work.key(**parts, **poison), lambda: train(work.counts[1:]))
    return np.concatenate([clean["scores"], retrained["scores"]])


def start_gradients(work: Work, learner: Learner, rows: Ints, starts: Floats, labels: Ints) -> Floats:
    """Gradients ``(m, d)`` of the validation loss in the starts, of the learner trained on these rows."""

    def differentiate() -> Arrays:
        x_val, y_val = work.part(work.split.validation)
        x, y = work.part(rows)
        return {"gradients": validation_gradients(learner, x, y, x_val, y_val, points=starts, labels=labels)}

    key = work.key(
        learner=learner,
        rows=checksum(rows),
        starts=checksum(starts),
        labels=checksum(labels),
        validation=checksum(work.split.validation),
    )
    return work.store.get("poisoning_gradients", key, differentiate)["gradients"]


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

    key = work.key(
        learner=learner,
        sets=[checksum(one.rows) for one in sets],
        starts=checksum(starts),
        labels=checksum(labels),
        validation=checksum(work.split.validation),
    )
    return work.store.get("poisoning_losses", key, retrain)["losses"]
