"""What depends on one model alone, and serves many combinations: kept in the store as the models and their points are.

A target's white box is that of all surrogates; V, and how far the points lie from the clean ones, that of all targets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transfer_exp import measures
from transfer_exp.attacks.crafted import Crafted
from transfer_exp.data.training_sets import TrainingSet, training_sets
from transfer_exp.pipeline.combination import Combination
from transfer_exp.pipeline.pieces import Fitted, crafted_key, fitted, torch_device
from transfer_exp.signature import checksum, code_version, signature
from transfer_exp.store import Arrays, Store
from transfer_exp.types import NORMS, Floats, Ints

_CODE = (
    "data",
    "learners",
    "attacks",
    "optim",
    "measures",
    "seeds.py",
    "types.py",
    "pipeline/kept.py",
    "pipeline/pieces.py",
)


def own_scores(store: Store, combination: Combination, attacked: Fitted, rows: Ints, made: Crafted, clean: Floats) -> Floats:
    """Scores ``(E, n)`` of a model on the points ``made`` on it."""

    def score() -> Arrays:
        box, n_epsilons = combination.dataset.box, len(combination.epsilon.grid)
        return {"scores": np.stack([attacked.model.scores(made.points(k, clean, box)) for k in range(n_epsilons)])}

    key = signature(points=crafted_key(combination, attacked, rows), code=code_version(*_CODE))
    return store.get("own_scores", key, score)["scores"]


def extent(store: Store, combination: Combination, attacked: Fitted, rows: Ints, made: Crafted, clean: Floats) -> Arrays:
    """Mean perturbation size ``perturbation_l1`` ... ``(E,)`` of the points ``made`` on a model, and ``health/`` numbers."""

    def measure() -> Arrays:
        grid, norm, box = combination.epsilon.grid, combination.attack.norm, combination.dataset.box
        offsets = [made.offsets[k].astype(np.float64) for k in range(len(grid))]
        found = {f"perturbation_{p}": np.array([measures.perturbation_size(o, p).mean() for o in offsets]) for p in NORMS}
        health = made.health(clean, epsilons=grid, norm=norm, box=box)
        return found | {f"health/{name}": np.array(value) for name, value in health.items()}

    key = signature(points=crafted_key(combination, attacked, rows), code=code_version(*_CODE))
    return store.get("extent", key, measure)


def sets_for_variability(combination: Combination, own: Ints, measured: Ints) -> list[TrainingSet]:
    """The training sets of V for a surrogate trained on the rows ``own``. Raises UserError when there is too little data."""
    return training_sets(
        combination.dataset,
        own,
        measured,
        seed=combination.seed,
        surrogate_fraction=combination.surrogate_fraction,
        n_sets=combination.n_variability,
    )


def varied_scores(store: Store, combination: Combination, sets: Sequence[TrainingSet], rows: Ints, clean: Floats) -> Floats:
    """Scores ``(k, n)`` of the clean points of these rows by surrogates trained on each of the sets."""
    device = torch_device(combination.device)

    def score() -> Arrays:
        scores = []
        for one in sets:
            again = fitted(
                store, combination.surrogate, combination.dataset, one.rows, one.seed, "surrogate_training", device
            )
            scores.append(again.model.scores(clean))
        return {"scores": np.stack(scores)}

    key = signature(
        learner=combination.surrogate,
        sets=[(checksum(one.rows), one.seed) for one in sets],
        data=combination.dataset.checksum,
        rows=checksum(rows),
        device=device.type,
        code=code_version(*_CODE),
    )
    return store.get("varied_scores", key, score)["scores"]
