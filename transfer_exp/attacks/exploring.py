"""The best of several trajectories to a maximum of a curved objective in a ball, in single precision: half the cost.

    x = ascend from where the last epsilon ended          jumping ahead is best where the objective is nearly linear
    where the gradient has turned (balls with vertices: everywhere):
        x = the better of x and: fixed-length PGD steps from the clean point, then ascend      (some balls: two lengths)
    where these ended in different maxima and the ball is not wide:
        x = the best of x and: ascend from n_restarts random places
    where the ball is wide, that is wider than a bump of the objective, at this or a smaller epsilon:
        repeat until a round gains nothing:
            scatter new places over the ball, evaluate them
            x = the best of x and: ascend from the n_restarts best places that no neighbour surpasses, and from the next
                n_restarts best of the model's own landmarks (support vectors of the class to reach), projected onto the ball

A ball is wide where the gradient at x has turned by more than 47 degrees from the clean point's, or where at one of 16
places (the first 2 where these differ by little) the objective differs from its first-order expansion at the clean point
by more than 0.3 of the rise; with at most 4 features, always. On MNIST 8 and 9 up to l2 distance 5 hardly one is, and to
find out costs 3 evaluations a point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TypeAlias

import torch
from torch import Tensor

from transfer_exp.attacks.objective import BallBox, Objective
from transfer_exp.optim.batches import rows_of
from transfer_exp.optim.pgd import pgd
from transfer_exp.optim.state import Ascent, Effort, unmoved

Climb: TypeAlias = Callable[[Objective, BallBox, Ascent, Tensor, float], Ascent]
"""(objective, sets, start, clean objective, first step to try) -> where the ascent from there ends."""

_TURNED = 0.995  # cosine to the first gradient below which PGD steps pay; where balls have vertices they always do
_CONTESTED = 1e-4  # of the rise: two ends further apart are different maxima
_TURNED_FAR, _NONLINEAR, _LINEAR = 0.68, 0.3, 0.05  # a wide ball: cosine below, share of the rise above; none: share below
_N_FIRST, _N_PROBES = 2, 16
_FEW = 4  # features: scattered places cover a ball, and find what no probe has shown
_N_SCATTERED, _N_NEIGHBOURS, _N_LANDMARKS, _MOST_ROUNDS = 128, 4, 64, 8


class Explorer:
    """Explores the balls of a batch of points, one epsilon after the other.

    objective: in single precision; first ``(n, d)``, base ``(n,)``: its gradient and value at the clean points; climb: one
    ascent; n_walk, n_restarts: as in ``Evasion``. wide ``(n,)``: whose ball was wide at this or a smaller epsilon.
    """

    def __init__(
        self, objective: Objective, first: Tensor, base: Tensor, climb: Climb, n_walk: int, n_restarts: int
    ) -> None:
        self.objective, self.first, self.base, self.climb = objective, first, base, climb
        self.n_walk, self.n_restarts = n_walk, n_restarts
        self.every = torch.arange(len(base), device=base.device)
        self.wide = torch.full_like(self.every, first.shape[1] <= _FEW, dtype=torch.bool)

    def explore(self, ball: BallBox, start: Ascent, step: float) -> Ascent:
        """The best ends found in the ball, going on from ``start``; ``step`` is the first length to try."""
        state = self.climb(self.objective, ball, start, self.base, step)
        if not self.n_walk:
            return state
        cosine = torch.cosine_similarity(self.first, state.gradient(self.objective, self.every), dim=1)
        rows = self.every if ball.ball.has_vertices else self.every[cosine < _TURNED]
        ends = [state.value[rows]]
        for length in ball.ball.pgd_lengths if len(rows) else ():
            share = length / self.n_walk
            ends.append(self._also(ball, state, rows, self._steps(ball, state, rows, share), share * ball.epsilon))
        if self.n_restarts:
            self._find_wide(ball, state, cosine)
            apart = torch.stack(ends).amax(0) - torch.stack(ends).amin(0)
            self._restart(ball, state, rows[(apart > _CONTESTED * self._rise(state, rows)) & ~self.wide[rows]])
            self._search(ball, state, self.every[self.wide])
        return state

    def _rise(self, state: Ascent, rows: Tensor) -> Tensor:
        return (state.value[rows] - self.base[rows]).abs()

    def _steps(self, ball: BallBox, state: Ascent, rows: Tensor, share: float) -> Tensor:
        """Where PGD steps from the clean points end, ``(m, d)``."""
        part, around = self.objective.at(rows), ball.at(rows)
        state.effort += Effort(gradient_calls=self.n_walk - 1, gradient_rows=(self.n_walk - 1) * len(rows))
        return pgd(part, around, x=around.center, gradient=rows_of(self.first, rows), n_steps=self.n_walk, share=share)

    def _restart(self, ball: BallBox, state: Ascent, rows: Tensor) -> None:
        """Ascend from random places far from the clean points."""
        if not len(rows):
            return
        random = torch.Generator().manual_seed(0)  # the same directions for every point: batches change nothing
        towards = torch.randn((self.n_restarts, self.first.shape[1]), generator=random).to(self.first)
        starts = ball.at(rows.repeat(self.n_restarts)).along(towards.repeat_interleave(len(rows), 0))
        self._also(ball, state, rows, starts, ball.epsilon / 10)

    def _find_wide(self, ball: BallBox, state: Ascent, cosine: Tensor) -> None:
        """Mark the points whose ball is wider than a bump of the objective; ``cosine``: of the gradients at its two ends."""
        self.wide |= cosine < _TURNED_FAR
        rows, most = self.every, torch.zeros_like(self.base)
        for number, place in enumerate(ball.scatter(_N_PROBES, seed=0)):
            rows = rows[~self.wide[rows] & ((number < _N_FIRST) | (most[rows] > _LINEAR))]
            if not len(rows):
                break
            x = ball.at_place(place, rows)
            expected = self.base[rows] + torch.linalg.vecdot(rows_of(self.first, rows), x - rows_of(ball.center, rows))
            off = (self.objective.value(x, rows) - expected).abs()
            most[rows] = torch.maximum(most[rows], off / self._rise(state, rows))
            self.wide[rows] = off > _NONLINEAR * self._rise(state, rows)  # no rise: wherever the objective is not flat
            state.effort += Effort(score_calls=1, score_rows=len(rows))

    def _search(self, ball: BallBox, state: Ascent, rows: Tensor) -> None:
        """Ascend from the best of many places until that gains nothing."""
        near = self._near_landmarks(ball, state, rows)
        for number in range(_MOST_ROUNDS):
            if not len(rows):
                break
            before = state.value[rows]
            places = ball.scatter(_N_SCATTERED, seed=number + 1)
            starts = [ball.at_place(places[k], rows) for k in self._peaks(ball, state, rows, places)]
            if self._landmarks is not None:
                chosen = near[number * self.n_restarts : (number + 1) * self.n_restarts]
                starts += [ball.project(self._landmarks[0].index_select(0, k), rows) for k in chosen]
            self._also(ball, state, rows, torch.cat(starts), ball.epsilon / 10)
            gained = state.value[rows] - before > _CONTESTED * self._rise(state, rows)
            rows, near = rows[gained], near[:, gained]

    def _peaks(self, ball: BallBox, state: Ascent, rows: Tensor, places: Tensor) -> Tensor:
        """Numbers ``(n_restarts, m)`` of the best of the places ``(k, d)`` that no neighbour surpasses."""
        value = self._values(state, rows, (ball.at_place(place, rows) for place in places))
        neighbours = torch.cdist(places, places).topk(_N_NEIGHBOURS + 1, largest=False).indices  # and each itself
        peaks = torch.where(value >= value[neighbours].amax(1), value, -torch.inf)
        return peaks.topk(min(self.n_restarts, len(places)), dim=0).indices

    @cached_property
    def _landmarks(self) -> tuple[Tensor, Tensor] | None:
        return self.objective.model.landmarks(self.first.shape[1])

    def _near_landmarks(self, ball: BallBox, state: Ascent, rows: Tensor) -> Tensor:
        """Numbers ``(k, m)`` of the nearest landmarks of the class to reach, those with the best point in the ball first."""
        if not len(rows) or self._landmarks is None:
            return rows.new_empty((0, len(rows)))
        points, supported = self._landmarks
        distance = torch.cdist(rows_of(ball.center, rows), points)
        distance[self.objective.towards[rows, None] != supported] = torch.inf
        near = distance.topk(min(_N_LANDMARKS, len(points)), largest=False).indices.T
        value = self._values(state, rows, (ball.project(points.index_select(0, k), rows) for k in near))
        return near.gather(0, value.argsort(0, descending=True))

    def _values(self, state: Ascent, rows: Tensor, starts: Iterable[Tensor]) -> Tensor:
        """The objective ``(k, m)`` at k points ``(m, d)`` of the rows, one after the other: they may be many."""
        values = torch.stack([self.objective.value(x, rows) for x in starts])
        state.effort += Effort(score_calls=len(values), score_rows=values.numel())
        return values

    def _also(self, ball: BallBox, state: Ascent, rows: Tensor, starts: Tensor, step: float) -> Tensor:
        """Ascend these rows ``(m,)`` again, from ``starts`` ``(k m, d)``; keep the best. What was reached, ``(m,)``."""
        again = rows.repeat(len(starts) // len(rows))
        part = self.objective.at(again)
        begun = unmoved(starts, part.value(starts, torch.arange(len(again), device=again.device)))
        other = self.climb(part, ball.at(again), begun, self.base[again], step)
        state.effort += other.effort + Effort(score_calls=1, score_rows=len(again))
        value, which = other.value.view(-1, len(rows)).max(0)
        chosen = which * len(rows) + torch.arange(len(rows), device=rows.device)
        better = value > state.value[rows]
        state.replace(rows[better], other, chosen[better])
        return value
