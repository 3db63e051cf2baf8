"""What depends on one model alone, and serves many combinations: kept in the store as the models and their points are.

A target's white box is that of all surrogates; V, and how far the points lie from the clean ones, that of all targets.
"""

from __future__ import annotations

import numpy as np

from transfer_exp import measures
from transfer_exp.attacks.crafted import Crafted
from transfer_exp.data.splits import apart, make_split
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
    "measures.py",
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


def varied_scores(store: Store, combination: Combination, rows: Ints, clean: Floats) -> Floats:
    """Scores ``(k, n)`` of the clean points by surrogates of repetitions 0, 1, ..., trained less these points."""
    dataset, fraction = combination.dataset, combination.surrogate_fraction

    def score() -> Arrays:
        device, scores = torch_device(combination.device), []
        for repetition in range(combination.n_variability):
            other = make_split(dataset, seed=repetition, surrogate_fraction=fraction)
            kept = apart(dataset, other.surrogate, rows)
            again = fitted(store, combination.surrogate, dataset, kept, repetition, "surrogate_training", device)
            scores.append(again.model.scores(clean))
        return {"scores": np.stack(scores)}

    key = signature(
        learner=combination.surrogate,
        fraction=fraction,
        n_variability=combination.n_variability,
        data=dataset.checksum,
        parts={name: getattr(dataset, name) for name in ("sizes", "test_pool", "group")},
        rows=checksum(rows),
        device=torch_device(combination.device).type,
        code=code_version(*_CODE),
    )
    return store.get("varied_scores", key, score)["scores"]
