"""Poisoning a network: many points moved together, against networks of several starting weights.

    maximise   mean_k J_k(x_1 ... x_m)   subject to   lower <= x <= upper

J_k is the validation loss of the k-th network, trained from weights of its own and retrained
(``learners.retraining_network``). A retraining costs the same for one point and for many, so points are moved in groups;
those of earlier groups stay:

    for each group of points:
        x = training points, each with the class of another
        repeat:  retrain every network from where it was; mean J and mean gradient g
                 keep x where J is the best so far
                 a <- momentum a + g_c / |g_c|, of each point c
                 x <- P(x + step a / |a|)                       the step falls from round to round to a tenth
        place the best x

One network's gradient leads to points made for its starting weights, that do half as much to others. Points are therefore
moved along the mean over ``n_networks``, and judged by networks from other weights: ``Poisoned.own`` has the validation
errors of those they were made on, ``Poisoned.fresh`` that of one that they were not. ``Poisoned.cosine`` tells whether their
gradients are those of retraining (``retraining_check``).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from transfer_exp.attacks.feasible import Project
from transfer_exp.attacks.poisoned import Poisoned
from transfer_exp.attacks.retraining_check import cosine_with_retraining
from transfer_exp.learners.network import NetworkLearner
from transfer_exp.learners.retraining_network import NetworkRetraining
from transfer_exp.learners.training_loop import denormals_as_zero
from transfer_exp.seeds import sequence
from transfer_exp.types import Box, Floats, Ints, Matrix

_MOMENTUM = 0.7
_LAST_STEP = 0.1  # of the first


@dataclass(frozen=True, kw_only=True)
class Together:
    """Networks, rounds a group, points a group (0: all), length of the first step (l2, share of the box's diagonal)."""

    n_networks: int
    n_rounds: int
    n_together: int
    step: float


@dataclass(frozen=True)
class _Group:
    points: Floats
    first: float
    best: float
    residual: float
    n_unfinished: int
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
    numbers = [int(one) for one in sequence(seed, "attack_start").generate_state(how.n_networks + 1)]
    with denormals_as_zero():
        networks = [learner.network_retraining(*data, seed=number) for number in numbers[:-1]]
        begin, n_points = _projected(project, starts.points, starts.labels), len(starts.rows)
        points = begin.copy()
        size = how.n_together or n_points
        groups = [slice(start, min(start + size, n_points)) for start in range(0, n_points, size)]
        step = how.step * float(np.linalg.norm(box.upper - box.lower))
        moved = []
        for group in groups:
            moved.append(_move(how, networks, points, starts.labels, group, step, project))
            points[group] = moved[-1].points
        fresh = learner.network_retraining(*data, seed=numbers[-1])
        for network in [*networks, fresh]:
            network.retrain(points, starts.labels)
        widths = box.upper - box.lower
        cosine = [cosine_with_retraining(one, points, starts.labels, size=widths, seed=seed) for one in networks]
        stayed = (points == begin).all(axis=1)
        made = _poisoned(how, networks, fresh, points, starts, stayed, groups, moved, begun)
        return replace(made, cosine=np.array(cosine))


def _move(
    how: Together,
    networks: Sequence[NetworkRetraining],
    points: Floats,
    labels: Ints,
    group: slice,
    step: float,
    project: Project,
) -> _Group:
    """Move the points of one group; those before it stay, those after it are not there yet."""
    x, present = points[: group.stop].copy(), labels[: group.stop]
    ahead = np.zeros_like(x[group])
    before = sum(network.counts.fallbacks for network in networks)
    first, best, best_x, worst = -np.inf, -np.inf, x[group].copy(), 0.0
    for k in range(how.n_rounds + 1):
        value = float(np.mean([network.retrain(x, present) for network in networks]))
        first = value if k == 0 else first
        if value > best:
            best, best_x = value, x[group].copy()
        if k == how.n_rounds:
            break
        gradients, residuals = zip(*(network.gradient() for network in networks), strict=True)
        worst = max(worst, *residuals)
        ahead = _MOMENTUM * ahead + _unit(np.mean(gradients, axis=0)[group])
        length = step * _LAST_STEP ** (k / how.n_rounds)
        x[group] = _projected(project, x[group] + length * _unit(ahead), labels[group])
    unfinished = sum(network.counts.fallbacks for network in networks) - before
    return _Group(best_x, first, best, worst, unfinished, time.process_time())


def _projected(project: Project, points: Floats, labels: Ints) -> Floats:
    return np.array([project(point, int(label)) for point, label in zip(points, labels, strict=True)])


def _unit(rows: Floats) -> Floats:
    size = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(size > 0, size, 1.0))


def _poisoned(
    how: Together,
    networks: Sequence[NetworkRetraining],
    fresh: NetworkRetraining,
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
        fallbacks=np.repeat([one.n_unfinished for one in moved], n_each) * first,
        seconds=seconds,
        own=np.array([network.validation_error() for network in networks]),
        fresh=np.array([fresh.validation_error()]),
        damping=np.array([networks[0].how.damping]),
    )
