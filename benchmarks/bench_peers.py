"""The same points with Foolbox and ART: at equal iterations, and at equal mean margin, each at its cheapest setting there.

Everybody works in float32 on one core and starts from the clean points; margins are taken afterwards, in float64.
"""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
import pytest
from conftest import Add
from timing import in_turn
from world import EPSILONS, SURROGATES, World

from transfer_exp.attacks.evasion import Evasion
from transfer_exp.learners import Model
from transfer_exp.margin import margins
from transfer_exp.types import Floats

_GRID = tuple(e for e in EPSILONS if e > 0)
_STEPS, _LENGTHS = (1, 2, 4, 8, 16, 32, 64), (2.0, 1.0, 0.5, 0.2)
_EQUAL_STEPS = 10
# (n_walk, n_iter, tolerance), cheapest first
_OWN = [(w, n, t) for w in (0, 4, 16) for n in (1, 2, 3, 5, 8, 30) for t in (1e-2, 1e-3, 1e-5)]
_CLOSE = 0.005
_FASTER = 2.0


class Contest:
    """One model, attacked by us and by one of the others."""

    def __init__(self, world: World, name: str, peer: str, quick: bool) -> None:
        peers = pytest.importorskip("peers")
        pytest.importorskip({"foolbox": "foolbox", "art": "art"}[peer])
        self.x, self.y = world.attacked
        self.box, self.model = world.box, world.model(name)
        self.single: Model = copy.deepcopy(self.model).float()
        self.peer = peers.PEERS[peer](self.single, self.x, self.y)
        self.steps = _STEPS[:3] if quick else _STEPS
        self.clean = margins(self.model.logits(self.x), self.y)

    def rise(self, points: list[Floats]) -> float:
        """Mean fall of the margin over points and epsilons."""
        return float(np.mean([self.clean - margins(self.model.logits(p), self.y) for p in points]))

    def own(self, n_walk: int, n_iter: int, tolerance: float) -> list[Floats]:
        attack = Evasion(n_walk=n_walk, n_iter=n_iter, tolerance=tolerance)
        made = attack.craft(self.single, self.x, self.y, epsilons=_GRID, box=self.box)
        return [self.x + made.offsets[k] for k in range(len(_GRID))]

    def other(self, steps: int, length: float) -> list[Floats]:
        return [self.peer(epsilon, steps, length) for epsilon in _GRID]

    def cheapest(self, goal: float) -> tuple[tuple[int, float], float]:
        """The fewest steps with which the other one gets there, with the best length; its best where it never does."""
        best, found = -np.inf, (0, 0.0)
        for steps in self.steps:
            for length in _LENGTHS:
                rise = self.rise(self.other(steps, length))
                if rise > best:
                    best, found = rise, (steps, length)
            if best >= goal:
                break
        return found, best


@pytest.mark.parametrize("peer", ["foolbox", "art"])
@pytest.mark.parametrize("name", SURROGATES)
def test_against(peer: str, name: str, world: World, quick: bool, benchmark: Any, add: Add) -> None:
    contest = Contest(world, name, peer, quick)
    best = max(contest.rise(contest.own(16, 30, 1e-5)), contest.rise(contest.own(16, 100, 1e-7)))
    setting, reached = contest.cheapest((1 - _CLOSE) * best)
    best = max(best, reached)
    own = next((s for s in _OWN if contest.rise(contest.own(*s)) >= (1 - _CLOSE) * best), _OWN[-1])
    things = {
        "own": partial(contest.own, *own),
        "other": partial(contest.other, *setting),
        "own equal": partial(contest.own, 0, _EQUAL_STEPS, 0.0),
        "other equal": partial(contest.other, _EQUAL_STEPS, 2.5 / _EQUAL_STEPS),
    }
    seconds = in_turn(benchmark, things, rounds=1 if quick else 3)
    rises = {name: contest.rise(thing()) for name, thing in things.items()}
    ratio, equal = seconds["other"] / seconds["own"], seconds["other equal"] / seconds["own equal"]
    benchmark.extra_info.update(ratio=ratio, equal=equal, rises=rises, own=own, other=setting)
    gets_there = rises["other"] >= (1 - _CLOSE) * best
    add(
        f"{name}: {peer} / ours",
        f"{'equal margin' if gets_there else 'never gets there; nearest'}: {ratio:.2f} x our time, rise "
        f"{rises['other'] / best - 1:+.2%} and our {rises['own'] / best - 1:+.2%} of the best "
        f"({setting[0]} steps of {setting[1]:g} epsilon; n_walk={own[0]}, n_iter={own[1]}, tolerance={own[2]:g}). "
        f"{_EQUAL_STEPS} iterations each: {equal:.2f} x, rise {rises['other equal'] / rises['own equal'] - 1:+.2%}",
        f">= {_FASTER:g} x at equal margin",
        ratio >= _FASTER if gets_there else None,
    )
