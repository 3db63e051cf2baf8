"""The control: the target's error on the attacked points moved at random by as much as the attack may move them.

It is a quantity of the target, the split, and the attack's norm and grid, not of the surrogate: made once and shared by all
surrogates. Only what an attack adds to it is transfer. For poisoning: as many random points of the attacker's training data,
with their labels flipped, join the target's training data.
"""

from __future__ import annotations

import numpy as np

from transfer_exp import measures
from transfer_exp.attacks.poisoning import Poisoning
from transfer_exp.learners import Model
from transfer_exp.pipeline.combination import Combination
from transfer_exp.pipeline.pieces import Fitted, crafted_key
from transfer_exp.pipeline.poisoning_pieces import Work, retrained_scores
from transfer_exp.seeds import generator
from transfer_exp.signature import code_version, signature
from transfer_exp.store import Arrays, Store
from transfer_exp.types import Floats, Ints

N_DRAWS = 3
"""Random draws that a noise error is a mean over."""


def noise_scores(store: Store, combination: Combination, target: Fitted, rows: Ints, clean: Floats) -> Floats:
    """Scores ``(N_DRAWS, E, n)`` of the target on the ``clean`` points of these rows, moved at random."""

    def score() -> Arrays:
        rng = generator(combination.seed, "noise")
        return {"scores": np.stack([_one_draw(combination, target.model, clean, rng) for _ in range(N_DRAWS)])}

    key = signature(
        points=crafted_key(combination, target, rows),
        seed=combination.seed,
        n_draws=N_DRAWS,
        code=code_version("seeds.py", "pipeline/noise.py"),
    )
    return store.get("noise_scores", key, score)["scores"]


def _one_draw(combination: Combination, model: Model, clean: Floats, rng: np.random.Generator) -> Floats:
    attack, grid, box = combination.attack, combination.epsilon.grid, combination.dataset.box
    assert not isinstance(attack, Poisoning)  # it moves no test point: see below
    parts = []
    for i in range(0, len(clean), attack.batch_size):
        points = clean[i : i + attack.batch_size]
        offsets = attack.noise(points, epsilons=grid, box=box, rng=rng)
        moved = (np.clip(points + offsets[k], box.lower, box.upper) for k in range(len(grid)))
        parts.append(np.stack([model.scores(x) for x in moved]))
    return np.concatenate(parts, axis=1)


def poisoning_noise_scores(work: Work) -> Floats:
    """Test scores ``(N_DRAWS, E, n_test)`` of the target retrained with random points of the attacker's, labels flipped.

    The points of a smaller share are the first of those of a larger one, as with an attack.
    """
    (x, y), target, rows = work.part(work.split.surrogate), work.combination.target, work.split.target
    rng = generator(work.combination.seed, "noise")
    draws = [rng.choice(len(y), size=max(work.counts), replace=False) for _ in range(N_DRAWS)]
    return np.stack([retrained_scores(work, target, rows, "target_training", x[draw], -y[draw]) for draw in draws])


def noise_error(scores: Floats, y: Ints) -> list[float]:
    """Error at every epsilon, mean over the draws, of scores ``(N_DRAWS, E, n)`` less the threshold."""
    return [measures.error(draws, y) for draws in scores.swapaxes(0, 1)]
