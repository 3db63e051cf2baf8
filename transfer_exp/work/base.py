"""One repetition of a combination: combination, split, store and device, bound once. What is slow goes through the store.

A piece is stored under a signature of exactly what it depends on, so that combinations share surrogates, targets and attack
points, whatever pair they belong to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from transfer_exp.combination import Combination
from transfer_exp.data.splits import make_split
from transfer_exp.optim.balls import Ball, ball
from transfer_exp.signature import Key, code_version, signature
from transfer_exp.store import Arrays, Store
from transfer_exp.types import Dataset, Floats, Ints, Split, UserError, dense
from transfer_exp.work.features import on_chosen_features


def torch_device(name: str) -> torch.device:
    """The device called cpu, cuda or auto (cuda where there is one); UserError for another, or cuda without one."""
    if name not in ("cpu", "cuda", "auto"):
        raise UserError(f"device: expected cpu, cuda or auto, got {name}")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UserError("device: expected a CUDA device for device=cuda, got none on this machine; use device=cpu or auto")
    if name == "cpu" or not available:
        return torch.device("cpu")
    torch.backends.cudnn.allow_tf32 = False  # convolutions would keep ten bits of 24: logits would depend on their batch
    return torch.device("cuda")


N_CHECKED = 3
"""Test points whose logits are looked at before a model is used."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """One repetition. ``combination``: on the features that the repetition chooses, where the data set wants that.

    store: None for checks only, which make nothing. goal: what the attacker wants (``Combination.goal``).
    """

    combination: Combination
    split: Split
    store: Store | None
    device: torch.device
    goal: str | int

    @classmethod
    def of(cls, combination: Combination, store: Store | None) -> Work:
        """The work of a combination. Raises UserError on a split that does not fit the data, or a missing device."""
        split = make_split(combination.dataset, seed=combination.seed, surrogate_fraction=combination.surrogate_fraction)
        return cls(
            combination=on_chosen_features(combination),
            split=split,
            store=store,
            device=torch_device(combination.device),
            goal=combination.goal,
        )

    @property
    def dataset(self) -> Dataset:
        """Of the combination."""
        return self.combination.dataset

    @property
    def epsilons(self) -> tuple[float, ...]:
        """The grid of the combination."""
        return self.combination.epsilon.grid

    @property
    def ball(self) -> Ball:
        """The norm of the attack."""
        return ball(self.combination.attack.norm)

    @property
    def sizes(self) -> dict[str, int]:
        """Points of each part of the split, and features."""
        parts = {f"n_{part}": len(rows) for part, rows in vars(self.split).items()}
        return parts | {"n_features": self.dataset.n_features}

    def part(self, rows: Ints) -> tuple[Floats, Ints]:
        """Points ``(n, d)``, dense, and classes ``(n,)`` of these rows."""
        return dense(self.dataset.x[rows]), self.dataset.y[rows]

    def get(self, kind: str, make: Callable[[], Mapping[str, Any]], *, code: tuple[str, ...], **parts: Any) -> Arrays:
        """The stored piece of this kind; made when there is none. ``parts`` and the ``code`` rooms are all it depends on."""
        return self.stored(kind, signature(code=code_version(*code), **parts), make)

    def stored(self, kind: str, key: Key, make: Callable[[], Mapping[str, Any]]) -> Arrays:
        """The stored piece of this kind and key; made when there is none."""
        assert self.store is not None, "work without a store is for checks only"
        return self.store.get(kind, key, make)
