"""Offsets of attacked binary points over a grid of budgets, kept as the order in which features changed.

Points of a growing budget are nested, so one whole number an entry tells all of them: of 1,000 points with 5,000
features it takes 10 MB, their offsets at 31 budgets 620 MB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from transfer_exp.types import Floats, Ints


@dataclass(frozen=True, kw_only=True)
class Flips:
    """``flips[k]`` is point less clean point, ``(n, d)`` float32 in {-1, 0, 1}, with the first ``budget[k]`` changes.

    order: ``(n, d)`` int16; +t where the t-th change of a point added the feature, -t where it removed it, 0 where the
    feature never changed. budget: ``(E,)``, changes allowed at each epsilon.
    """

    order: npt.NDArray[np.int16]
    budget: Ints

    def __len__(self) -> int:
        return len(self.budget)

    def __getitem__(self, k: int) -> Floats:
        return np.where(np.abs(self.order) <= self.budget[k], np.sign(self.order), 0).astype(np.float32)

    def state(self) -> dict[str, np.ndarray[Any, Any]]:
        """The arrays that ``restore`` makes this again from."""
        return {"flip_order": self.order, "flip_budget": self.budget}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Flips:
        """The flips whose ``state()`` was ``state``."""
        return cls(order=state["flip_order"], budget=state["flip_budget"])


def random_flips(changeable: Ints, *, budget: Ints, rng: np.random.Generator) -> Flips:
    """Changes of random features, ``budget`` ``(E,)`` of them at each epsilon, or all that may change where those are fewer.

    changeable: ``(n, d)``, +1 where a feature may be added, -1 where it may be removed, 0 where it must stay.
    """
    chance = np.where(changeable == 0, 2.0, rng.random(changeable.shape))  # what must stay comes last
    place = np.empty(changeable.shape, dtype=np.int64)
    np.put_along_axis(place, np.argsort(chance, axis=1), np.arange(1, changeable.shape[1] + 1)[None], axis=1)
    order = np.where(place <= budget[-1], place * changeable, 0).astype(np.int16)
    return Flips(order=order, budget=budget)
