"""The class that a poisoning point is learned with: of two the other one, of more one of K - 1.

random          drawn for each start
second          the one that the unpoisoned learner finds most likely at the start, of those that are wrong
most_harmful    of k drawn classes the one with the largest validation loss, the point at its start
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from transfer_exp.learners import Learner
from transfer_exp.types import Floats, Ints, Matrix

Choice: TypeAlias = Literal["random", "second", "most_harmful"]


def random_others(y: Ints, n_classes: int, rng: np.random.Generator) -> Ints:
    """For each point another class than its own ``(n,)``; of two classes nothing is drawn."""
    return np.asarray(1 - y if n_classes == 2 else (y + rng.integers(1, n_classes, size=len(y))) % n_classes)


@dataclass(frozen=True)
class Candidates:
    """The classes that may be tried for a start; ``second``: of each start ``(n,)``, None where it does not matter."""

    n_classes: int
    n_tried: int
    second: Ints | None

    @classmethod
    def of(
        cls, choice: Choice, learner: Learner, x: Matrix, y: Ints, starts: tuple[Floats, Ints], *, n_tried: int, seed: int
    ) -> Candidates:
        """For ``starts`` ``(n, d)`` of classes ``(n,)``, and a learner trained on points ``(m, d)``."""
        n_classes = int(y.max()) + 1
        if choice != "second" or n_classes == 2:
            return cls(n_classes, n_tried if choice == "most_harmful" else 1, None)
        logits = learner.fit(x, y, n_classes=n_classes, seed=seed).logits(starts[0])
        logits[np.arange(len(logits)), starts[1]] = -np.inf
        return cls(n_classes, 1, logits.argmax(axis=1))

    def draw(self, start: int, own: int, rng: np.random.Generator) -> list[int]:
        """The classes to try for a start of class ``own``; of two classes nothing is drawn."""
        if self.n_classes == 2:
            return [1 - own]
        if self.second is not None:
            return [int(self.second[start])]
        others = np.delete(np.arange(self.n_classes), own)
        return [int(k) for k in rng.choice(others, size=min(self.n_tried, len(others)), replace=False)]
