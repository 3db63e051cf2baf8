"""Poisoning a network: many points moved together, along gradients of networks trained anew for each step.

    maximise   E_k J_k(x_1 ... x_m)   subject to   lower <= x <= upper

J_k is the validation loss of a whole training on the data and the points, from starting weights and in an order of its own.
Such a training costs the same for one point and for many, so points are moved in groups; those of earlier groups stay:

    for each group of points:
        x = training points, each with the class of another
        repeat:  train networks anew on the data, the points before and x; mean gradient g of their J
                 a <- momentum a + g_c / |g_c|, of each point c
                 x <- P(x + step a / |a|)                       the step falls from round to round to half
        train from the draws of the first round; place x, or the starts where the mean J from these draws was larger

How a training answers to a point is taken by the implicit function theorem where it ended (``learners.retraining_network``):
the damping there stands for its early stop, after which directions of small curvature have not settled. It is the slope of
one damped Newton step, no more: the gradient of a whole training is not known.

Points moved along the gradients of one network, retrained as they move, are made for its starting weights, and for a
retraining; a training anew ends elsewhere. With other draws in every round there is none to fit. Few rounds along the mean
of several networks did better than many along one: points that go far are made for the validation points.
``Poisoned.own`` has the validation errors of networks trained with the placed points from the draws of the first step,
``Poisoned.fresh`` those from draws that no step was taken along. ``Poisoned.cosine`` tells whether gradients are those of
retraining (``retraining_check``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from transfer_exp.attacks.feasible import Project
from transfer_exp.attacks.poisoned import Poisoned
from transfer_exp.attacks.retraining_check import cosine_with_retraining
from transfer_exp.learners.exactness import Exactness
from transfer_exp.learners.network import NetworkLearner
from transfer_exp.learners.retraining_network import NetworkRetraining
from transfer_exp.learners.training_loop import denormals_as_zero
from transfer_exp.seeds import sequence
from transfer_exp.types import Box, Floats, Ints, Matrix

_MOMENTUM = 0.7
_LAST_STEP = 0.5  # of the first
_HOW = Exactness(damping=1e-2, n_first_steps=3)  # they are trained already: steps are those of ``retraining_check``


@dataclass(frozen=True, kw_only=True)
class Together:
    """Networks a round, rounds and points of a group (0: all points), first step (l2, share of the box's diagonal)."""

    n_networks: int
    n_rounds: int
    n_together: int
    step: float


@dataclass(frozen=True)
class _Group:
    """Points of a group, mean J with their starts and with them, validation errors of the networks that judged it."""

    points: Floats
    first: float
    best: float
    residual: float
    own: Floats
    done: float


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Where the points start ``(m, d)``, on which rows ``(m,)``, and the classes ``(m,)`` that they are learned with."""

    points: Floats
    rows: Ints
    labels: Ints


def poison_together(
    how: Together,
    learner: NetworkLearner,
    data: tuple[Matrix, Ints, Matrix, Ints],
    starts: Placed,
    *,
    box: Box,
    project: Project,
    seed: int,
    begun: float,
) -> Poisoned:
    """Points from ``starts`` against ``learner`` trained on ``(n, d)``, ``(n,)``, for validation points ``(n_val, d)``.

    project: the nearest place where a point of a class may go. begun: the CPU time of the process when the attack began.
    """
    size = how.n_together or len(starts.rows)
    groups = [slice(start, min(start + size, len(starts.rows))) for start in range(0, len(starts.rows), size)]
    n_draws = how.n_rounds * len(groups) + 1
    numbers = sequence(seed, "attack_start").generate_state(n_draws * how.n_networks)
    draws: Iterator[list[int]] = iter(numbers.reshape(n_draws, how.n_networks).tolist())

    def train(points: Floats, labels: Ints, draw: list[int]) -> list[NetworkRetraining]:
        moving = points, labels
        return [learner.network_retraining(*data, seed=number, how=_HOW, moving=moving) for number in draw]

    with denormals_as_zero():
        begin, widths = _projected(project, starts.points, starts.labels), box.upper - box.lower
        points, moved = begin.copy(), []
        for group in groups:
            step = how.step * float(np.linalg.norm(widths))
            moved.append(_move(how, train, draws, points, starts.labels, group, step, project))
            points[group] = moved[-1].points
        stayed = (points == begin).all(axis=1)
        made = _poisoned(how, points, starts, stayed, groups, moved, begun)
        judges = train(points, starts.labels, next(draws))
        fresh = _errors(judges)
        cosine = cosine_with_retraining(judges[0], points, starts.labels, size=widths, seed=seed)
        return replace(made, fresh=fresh, cosine=np.array([cosine]))


def _move(
    how: Together,
    train: Callable[[Floats, Ints, list[int]], list[NetworkRetraining]],
    draws: Iterator[list[int]],
    points: Floats,
    labels: Ints,
    group: slice,
    step: float,
    project: Project,
) -> _Group:
    """Move the points of one group; those before it stay, those after it are not there yet."""
    x, present = points[: group.stop].copy(), labels[: group.stop]
    start, ahead, worst = x[group].copy(), np.zeros_like(x[group]), 0.0
    first_draw = next(draws)
    begun = networks = train(x, present, first_draw)
    for k in range(how.n_rounds):
        networks = networks if k == 0 else train(x, present, next(draws))
        gradients, residuals = zip(*(network.gradient() for network in networks), strict=True)
        worst = max(worst, *residuals)
        ahead = _MOMENTUM * ahead + _unit(np.mean(gradients, axis=0)[group])
        length = step * _LAST_STEP ** (k / how.n_rounds)
        x[group] = _projected(project, x[group] + length * _unit(ahead), labels[group])
    ended = train(x, present, first_draw)  # from the same draws as at the start: chance has no part in which is better
    first, end = _mean_loss(begun), _mean_loss(ended)
    best_x, own = (x[group], ended) if end > first else (start, begun)
    return _Group(best_x, first, max(first, end), worst, _errors(own), time.process_time())


def _mean_loss(networks: Sequence[NetworkRetraining]) -> float:
    return float(np.mean([network.validation_loss() for network in networks]))


def _errors(networks: Sequence[NetworkRetraining]) -> Floats:
    return np.array([network.validation_error() for network in networks])


def _projected(project: Project, points: Floats, labels: Ints) -> Floats:
    return np.array([project(point, int(label)) for point, label in zip(points, labels, strict=True)])


def _unit(rows: Floats) -> Floats:
    size = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(size > 0, size, 1.0))


def _poisoned(
    how: Together,
    points: Floats,
    starts: Placed,
    stayed: npt.NDArray[np.bool_],
    groups: Sequence[slice],
    moved: Sequence[_Group],
    begun: float,
) -> Poisoned:
    n_each = [group.stop - group.start for group in groups]
    first = np.zeros(len(points), dtype=np.int64)
    first[[group.start for group in groups]] = 1
    seconds = np.zeros(len(points))
    seconds[[group.start for group in groups]] = np.diff([begun, *(one.done for one in moved)])
    n_gradients = how.n_networks * how.n_rounds
    return Poisoned(
        points=points,
        labels=starts.labels,
        start_points=starts.points,
        start_rows=starts.rows,
        objective_start=np.repeat([one.first for one in moved], n_each),
        objective=np.repeat([one.best for one in moved], n_each),
        stayed=stayed,
        no_support=np.zeros(len(points), dtype=bool),
        residual=np.repeat([one.residual for one in moved], n_each),
        retrainings=first * (n_gradients + how.n_networks),
        gradients=first * n_gradients,
        fallbacks=np.zeros_like(first),
        seconds=seconds,
        own=moved[-1].own,
        damping=np.array([_HOW.damping]),
    )
