"""What jobs will take, from what jobs like them have taken: time, or bytes of the store.

A combination is fast once its surrogate's and its target's pieces are in the store. So a job takes

    y = base + cost(surrogate)[it is the first with this surrogate] + cost(target)[it is the first with this target]

where a surrogate is its words and those of the repetition (seed, share of the data, data set ...), and its cost is that of
its words without the seed. Costs are fitted to what was recorded, by least squares, none below 0; that of a learner which
nothing is known of is the mean of the others. Jobs of other data, attacks ... than those to do are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from transfer_exp.tracking.jobs import Done, Words
from transfer_exp.types import Floats

FEWEST = 20
"""Runs below which nothing is said: the first ones fill the store, and take many times as long as those that follow."""
Piece = tuple[str, Words]
Parts = tuple[Words, Words, Words, Words]


@lru_cache(maxsize=100_000)
def parts_of(words: Words) -> Parts:
    """The words of the surrogate and its share of the data, of the target, of the seed, of everything else."""
    found: tuple[list[str], list[str], list[str], list[str]] = ([], [], [], [])
    for word in words:
        found[_part(word)].append(word)
    return tuple(found[0]), tuple(found[1]), tuple(found[2]), tuple(found[3])


@lru_cache(maxsize=10_000)
def _part(word: str) -> int:
    key = word.lstrip("+~").partition("=")[0]
    node = key.partition(".")[0]
    return 0 if node in ("surrogate", "surrogate_fraction") else 1 if node == "target" else 2 if node == "seed" else 3


@dataclass
class _Seen:
    """The pieces that were made so far."""

    pieces: set[tuple[str, Words, Words, Words]] = field(default_factory=set)

    def new(self, words: Words) -> list[Piece]:
        """Those that a job with these words is the first to need, without the seed; from now on they are there."""
        surrogate, target, seed, others = parts_of(words)
        found = []
        for role, own in (("surrogate", surrogate), ("target", target)):
            place = (role, own, seed, others)
            if place not in self.pieces:
                self.pieces.add(place)
                found.append((role, (*own, *others)))
        return found


def estimate(done: Sequence[Done], to_do: Iterable[Words], name: str) -> tuple[float | None, int]:
    """The sum of a number (``seconds``, ``store/bytes``) over the jobs to do, and how many runs it is estimated from.

    done: oldest first. None where fewer than ``FEWEST`` runs of this kind have it.
    """
    jobs = list(to_do)
    kinds = {parts_of(words)[3] for words in jobs}
    seen, made, values = _Seen(), list[list[Piece]](), list[float]()
    for run in done:
        if parts_of(run.words)[3] in kinds:
            new = seen.new(run.words)
            if name in run.numbers:
                made.append(new)
                values.append(run.numbers[name])
    if len(values) < FEWEST:
        return None, len(values)
    base, costs = _fitted(made, np.array(values))
    unknown = {role: _mean([cost for (of, _), cost in costs.items() if of == role]) for role in ("surrogate", "target")}
    pieces = [piece for words in jobs for piece in seen.new(words)]
    return base * len(jobs) + sum(costs.get(piece, unknown[piece[0]]) for piece in pieces), len(values)


def _fitted(made: Sequence[Sequence[Piece]], values: Floats) -> tuple[float, dict[Piece, float]]:
    from scipy.optimize import nnls  # here: what is not imported yet takes a while

    pieces = sorted({piece for row in made for piece in row})
    places = {piece: k + 1 for k, piece in enumerate(pieces)}
    design = np.zeros((len(made), len(pieces) + 1))
    design[:, 0] = 1
    for i, row in enumerate(made):
        design[i, [places[piece] for piece in row]] = 1
    costs = nnls(design.T @ design, design.T @ values)[0]
    return float(costs[0]), {piece: float(costs[k]) for piece, k in places.items()}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
