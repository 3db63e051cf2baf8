"""Where poisoning points start: on points of the attacker, each drawn once, learned with another class."""

from __future__ import annotations

import numpy as np

from transfer_exp.attacks.other_classes import Candidates
from transfer_exp.seeds import generator
from transfer_exp.types import Ints


class Starts:
    """Draws from points of classes ``y`` ``(n,)``, ``n_starts`` to choose from for each poisoning point."""

    def __init__(self, y: Ints, classes: Candidates, *, n_starts: int, seed: int) -> None:
        self.y, self.classes, self.n_starts = y, classes, n_starts
        self._unused = np.arange(len(y))
        self._rng = generator(seed, "attack_start")

    def draw(self) -> list[tuple[int, int]]:
        """Rows, and the classes to try with each, for the next point."""
        size = min(self.n_starts, len(self._unused))
        rows = self._unused[self._rng.choice(len(self._unused), size=size, replace=False)]
        return [(int(row), label) for row in rows for label in self.classes.draw(row, int(self.y[row]), self._rng)]

    def take(self, row: int) -> None:
        """Use a row: it is not drawn again."""
        self._unused = self._unused[self._unused != row]
