"""The control: the target's logits on the attacked points moved at random by as much as the attack may move them.

It is a quantity of the target, the split, and the attack's norm and grid, not of the surrogate: made once and shared by all
surrogates. Only what an attack adds to it is transfer. For poisoning: as many random points of the attacker's training data,
learned with another class, join the target's training data.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from transfer_exp.attacks.base import EvasionAttack
from transfer_exp.seeds import generator
from transfer_exp.signature import code_version, signature
from transfer_exp.store import Arrays
from transfer_exp.types import Floats, Ints, dense
from transfer_exp.work.base import Work
from transfer_exp.work.crafted import crafted_key
from transfer_exp.work.fitted import Fitted

N_DRAWS = 3
"""Random draws that a noise error is a mean over."""


def noise_logits(work: Work, target: Fitted, rows: Ints) -> Floats:
    """Logits ``(E, N_DRAWS, n, K)`` of the target on the clean points of these rows, moved at random."""

    def score() -> Arrays:
        rng, clean = generator(work.combination.seed, "noise"), dense(work.dataset.x[rows])
        return {"logits": np.stack([_one_draw(work, target, clean, rng) for _ in range(N_DRAWS)], axis=1)}

    key = signature(
        points=crafted_key(work, target, rows),
        seed=work.combination.seed,
        n_draws=N_DRAWS,
        code=code_version("seeds.py", "work/noise.py"),
    )
    return work.stored("noise_logits", key, score)["logits"]


def _one_draw(work: Work, target: Fitted, clean: Floats, rng: np.random.Generator) -> Floats:
    attack, box = cast(EvasionAttack, work.combination.attack), work.dataset.box
    parts = []
    for i in range(0, len(clean), attack.batch_size):
        points = clean[i : i + attack.batch_size]
        offsets = attack.noise(points, epsilons=work.epsilons, box=box, rng=rng)
        moved = (np.clip(points + offsets[k], box.lower, box.upper) for k in range(len(work.epsilons)))
        parts.append(np.stack([target.model.logits(x) for x in moved]))
    return np.concatenate(parts, axis=1)
