"""Random draws of an iterative transfer attack: every point has a generator of its own.

It is made of the attack's seed and the point's numbers, so that what becomes of a point depends on no other point, batch or
place in the data, and means over points average over draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b

import numpy as np

from transfer_exp.types import Floats, Ints


class Draws:
    """Of points ``(n, d)``; equal points draw alike."""

    def __init__(self, seed: int, x: Floats) -> None:
        rows = np.ascontiguousarray(x, dtype=np.float64) + 0.0  # no -0.0
        keys = (int.from_bytes(blake2b(row.tobytes(), digest_size=16).digest(), "little") for row in rows)
        self.generators: Sequence[np.random.Generator] = [np.random.default_rng([seed, key]) for key in keys]

    def of(self, draw: Callable[[np.random.Generator], Floats]) -> Floats:
        """What ``draw`` draws for each of them, ``(n, ...)``."""
        return np.stack([draw(one) for one in self.generators])

    def shares(self, k: int) -> Floats:
        """k numbers from 0 to below 1 for each, ``(n, k)``."""
        return self.of(lambda one: one.random(k))


def below(share: Floats, n: Ints | int) -> Ints:
    """Whole numbers ``(m,)`` from 0 to below ``n``, all alike likely, of shares ``(m,)``."""
    return np.asarray(share * n).astype(np.int64)
