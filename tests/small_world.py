"""A world of normal clouds, far from the corners of its box, and combinations in it."""

from __future__ import annotations

from typing import Any

import numpy as np

from transfer_exp.attacks.evasion import Evasion
from transfer_exp.learners import Learner, Ridge
from transfer_exp.scenarios import Combination
from transfer_exp.signature import signature
from transfer_exp.types import Box, Dataset, Floats, Grid, Ints, Sizes

GRID = Grid(grid=(0.0, 0.5, 1.5), reference=0.5, shown=(0.5, 1.5))


def points(n_classes: int, *, n: int = 150, d: int = 4, seed: int = 0, spread: float = 1.0) -> tuple[Floats, Ints]:
    random = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    return 1.5 * random.normal(size=(n_classes, d))[y] + random.normal(scale=spread, size=(n, d)), y


def dataset(n_classes: int = 2, **options: Any) -> Dataset:
    x, y = points(n_classes)
    more = {"sizes": Sizes(target=50, surrogate=40, validation=10, test=30), **options}
    return Dataset(
        name="clouds",
        x=x,
        y=y,
        box=Box.uniform(x.shape[1], -100, 100),
        test_pool=np.zeros(len(y), dtype=bool),
        checksum=signature(x=x, y=y),
        **more,
    )


def combination(target: Learner, surrogate: Learner | None = None, *, n_classes: int = 2, **options: Any) -> Combination:
    parts = {"dataset": dataset(n_classes), "attack": Evasion(), "epsilon": GRID, "n_variability": 2, **options}
    return Combination(target=target, surrogate=surrogate or Ridge(alpha=1.0), **parts)
