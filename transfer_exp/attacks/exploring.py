"""The best of several trajectories to a maximum of a curved objective in a ball, in single precision: half the cost.

    x = ascend from where the last epsilon ended          the best start where the objective is nearly linear
    where the gradient has turned (balls with vertices: everywhere):
        x = the better of x and: n_walk PGD steps of fixed length from the clean point, then ascend
                                                                              (some balls: two lengths, one after the other)
    where these ended in different maxima and the ball is not wide:
        x = the best of x and: ascend from n_restarts random points
    where the ball is wide, that is wider than a bump of the objective, at this or a smaller epsilon:
        repeat until a round gains nothing:
            scatter new points over the ball, evaluate them
            x = the best of x and: ascend from the n_restarts best of them that no neighbour surpasses, and from the next
                n_restarts best of the model's own landmarks (support vectors of the class to reach), projected onto the ball

A ball is wide where the gradient at x has turned by more than 47 degrees from the clean point's, or where at one of 16
scattered points (the first 2 where these differ by little) the objective differs from its first-order expansion at the
clean point by more than 0.3 of the rise; with at most 4 features, always. On MNIST 8 and 9 up to l2 distance 5 hardly one
is, and to find out costs 3 evaluations a point.
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

Ascend: TypeAlias = Callable[[Objective, BallBox, Ascent, Tensor, float], Ascent]
"""(objective, sets, start, clean objective, first step to try) -> where the ascent from there ends."""

_TURNED = 0.995  # cosine to the clean gradient below which PGD steps pay; where balls have vertices they always do
_OTHER_MAXIMUM = 1e-4  # of the rise: two ends further apart are different maxima
_TURNED_FAR, _NONLINEAR, _LINEAR = 0.68, 0.3, 0.05  # a wide ball: cosine below, share of the rise above; none: share below
_N_FIRST_PROBES, _N_PROBES = 2, 16
_FEW_FEATURES = 4  # scattered points cover such a ball, and find maxima that no probe has shown
_N_SCATTERED, _N_NEIGHBOURS, _N_LANDMARKS, _MAX_ROUNDS = 128, 4, 64, 8


class Explorer:
    """Explores the balls of a batch of n points, one epsilon after the other.

    objective: in single precision. clean_gradient ``(n, d)``, clean_value ``(n,)``: its gradient and value at the clean
    points. ascend: one ascent. n_walk, n_restarts: as in ``Evasion``. wide ``(n,)``: whether the ball was wide at this or a
    smaller epsilon.
    """

    def __init__(
        self,
        objective: Objective,
        clean_gradient: Tensor,
        clean_value: Tensor,
        ascend: Ascend,
        n_walk: int,
        n_restarts: int,
    ) -> None:
        self.objective, self.ascend = objective, ascend
        self.clean_gradient, self.clean_value = clean_gradient, clean_value
        self.n_walk, self.n_restarts = n_walk, n_restarts
        self.all_rows = torch.arange(len(clean_value), device=clean_value.device)
        self.wide = torch.full_like(self.all_rows, clean_gradient.shape[1] <= _FEW_FEATURES, dtype=torch.bool)

    def explore(self, ball: BallBox, start: Ascent, step: float) -> Ascent:
        """The best points found in the ball, going on from ``start``; ``step`` is the first length to try."""
        best = self.ascend(self.objective, ball, start, self.clean_value, step)
        if not self.n_walk:
            return best
        gradient = best.gradient(self.objective, self.all_rows)
        cosine = torch.cosine_similarity(self.clean_gradient, gradient, dim=1)
        rows = self.all_rows if ball.ball.has_vertices else self.all_rows[cosine < _TURNED]
        maxima = [best.value[rows]]
        for length in ball.ball.pgd_lengths if len(rows) else ():
            share = length / self.n_walk
            starts = self._pgd_points(ball, best, rows, share)
            maxima.append(self._ascend_again(ball, best, rows, starts, share * ball.epsilon))
        if self.n_restarts:
            self._mark_wide(ball, best, cosine)
            difference = torch.stack(maxima).amax(0) - torch.stack(maxima).amin(0)
            differ = difference > _OTHER_MAXIMUM * self._rise(best, rows)
            self._restart_at_random(ball, best, rows[differ & ~self.wide[rows]])
            self._search_wide(ball, best, self.all_rows[self.wide])
        return best

    def _rise(self, best: Ascent, rows: Tensor) -> Tensor:
        return (best.value[rows] - self.clean_value[rows]).abs()

    def _pgd_points(self, ball: BallBox, best: Ascent, rows: Tensor, share: float) -> Tensor:
        """Where PGD steps from the clean points end, ``(m, d)``; ``share``: length of a step, as a share of the radius."""
        part, sets = self.objective.at(rows), ball.at(rows)
        best.effort += Effort(gradient_calls=self.n_walk - 1, gradient_rows=(self.n_walk - 1) * len(rows))
        gradient = rows_of(self.clean_gradient, rows)
        return pgd(part, sets, x=sets.center, gradient=gradient, n_steps=self.n_walk, share=share)

    def _restart_at_random(self, ball: BallBox, best: Ascent, rows: Tensor) -> None:
        """Ascend from random points far from the clean points."""
        if not len(rows):
            return
        generator = torch.Generator().manual_seed(0)  # the same directions for every point: batches change nothing
        directions = torch.randn((self.n_restarts, self.clean_gradient.shape[1]), generator=generator)
        directions = directions.to(self.clean_gradient).repeat_interleave(len(rows), 0)
        starts = ball.at(rows.repeat(self.n_restarts)).along(directions)
        self._ascend_again(ball, best, rows, starts, ball.epsilon / 10)

    def _mark_wide(self, ball: BallBox, best: Ascent, cosine: Tensor) -> None:
        """Mark points whose ball is wider than a bump of the objective; ``cosine`` ``(n,)``: of clean and best gradient."""
        self.wide |= cosine < _TURNED_FAR
        rows, largest = self.all_rows, torch.zeros_like(self.clean_value)
        for number, place in enumerate(ball.scatter(_N_PROBES, seed=0)):
            rows = rows[~self.wide[rows] & ((number < _N_FIRST_PROBES) | (largest[rows] > _LINEAR))]
            if not len(rows):
                break
            x = ball.at_place(place, rows)
            first_order = torch.linalg.vecdot(rows_of(self.clean_gradient, rows), x - rows_of(ball.center, rows))
            error = (self.objective.value(x, rows) - (self.clean_value[rows] + first_order)).abs()
            largest[rows] = torch.maximum(largest[rows], error / self._rise(best, rows))
            self.wide[rows] = error > _NONLINEAR * self._rise(best, rows)  # no rise: wherever the objective is not flat
            best.effort += Effort(score_calls=1, score_rows=len(rows))

    def _search_wide(self, ball: BallBox, best: Ascent, rows: Tensor) -> None:
        """Ascend from the best of many scattered points and landmarks until a round gains nothing."""
        near = self._near_landmarks(ball, best, rows)
        for number in range(_MAX_ROUNDS):
            if not len(rows):
                break
            before = best.value[rows]
            places = ball.scatter(_N_SCATTERED, seed=number + 1)
            starts = [ball.at_place(places[k], rows) for k in self._peaks(ball, best, rows, places)]
            if self._landmarks is not None:
                chosen = near[number * self.n_restarts : (number + 1) * self.n_restarts]
                starts += [ball.project(self._landmarks[0].index_select(0, k), rows) for k in chosen]
            self._ascend_again(ball, best, rows, torch.cat(starts), ball.epsilon / 10)
            gained = best.value[rows] - before > _OTHER_MAXIMUM * self._rise(best, rows)
            rows, near = rows[gained], near[:, gained]

    def _peaks(self, ball: BallBox, best: Ascent, rows: Tensor, places: Tensor) -> Tensor:
        """Numbers ``(n_restarts, m)`` of the best of the scattered points ``(k, d)`` that no neighbour surpasses."""
        value = self._values(best, rows, (ball.at_place(place, rows) for place in places))
        neighbours = torch.cdist(places, places).topk(_N_NEIGHBOURS + 1, largest=False).indices  # and each itself
        peaks = torch.where(value >= value[neighbours].amax(1), value, -torch.inf)
        return peaks.topk(min(self.n_restarts, len(places)), dim=0).indices

    @cached_property
    def _landmarks(self) -> tuple[Tensor, Tensor] | None:
        return self.objective.model.landmarks(self.clean_gradient.shape[1])

    def _near_landmarks(self, ball: BallBox, best: Ascent, rows: Tensor) -> Tensor:
        """Numbers ``(k, m)`` of the nearest landmarks of the class to reach, by the objective where they are projected."""
        if not len(rows) or self._landmarks is None:
            return rows.new_empty((0, len(rows)))
        points, classes = self._landmarks
        distance = torch.cdist(rows_of(ball.center, rows), points)
        distance[self.objective.towards[rows, None] != classes] = torch.inf
        nearest = distance.topk(min(_N_LANDMARKS, len(points)), largest=False).indices.T
        value = self._values(best, rows, (ball.project(points.index_select(0, k), rows) for k in nearest))
        return nearest.gather(0, value.argsort(0, descending=True))

    def _values(self, best: Ascent, rows: Tensor, starts: Iterable[Tensor]) -> Tensor:
        """The objective ``(k, m)`` at k points ``(m, d)`` of the rows, one after the other: they may be many."""
        values = torch.stack([self.objective.value(x, rows) for x in starts])
        best.effort += Effort(score_calls=len(values), score_rows=values.numel())
        return values

    def _ascend_again(self, ball: BallBox, best: Ascent, rows: Tensor, starts: Tensor, step: float) -> Tensor:
        """Ascend rows ``(m,)`` from k starts each, ``(k m, d)``; keep whichever end is better.

        Returns the largest objective ``(m,)`` that these ascents have reached.
        """
        repeated = rows.repeat(len(starts) // len(rows))
        part = self.objective.at(repeated)
        initial = unmoved(starts, part.value(starts, torch.arange(len(repeated), device=repeated.device)))
        new = self.ascend(part, ball.at(repeated), initial, self.clean_value[repeated], step)
        best.effort += new.effort + Effort(score_calls=1, score_rows=len(repeated))
        value, which = new.value.view(-1, len(rows)).max(0)
        chosen = which * len(rows) + torch.arange(len(rows), device=rows.device)
        better = value > best.value[rows]
        best.replace(rows[better], new, chosen[better])
        return value
