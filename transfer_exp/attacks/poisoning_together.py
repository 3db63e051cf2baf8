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
errors of those they were made on, ``Poisoned.fresh`` that of one that they were not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from transfer_exp.attacks.poisoned import Poisoned, other_classes
from transfer_exp.learners.network import NetworkLearner
from transfer_exp.learners.retraining_network import NetworkRetraining, Retraining
from transfer_exp.learners.training_loop import denormals_as_zero
from transfer_exp.seeds import generator, sequence
from transfer_exp.types import Box, Floats, Ints

_MOMENTUM = 0.7
_LAST_STEP = 0.1  # of the first
_ALONE = Retraining(tolerance=1e-3, n_first_steps=60, n_steps=2)  # one point changes little: retrained more exactly


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


def poison_together(
    how: Together,
    learner: NetworkLearner,
    x: Floats,
    y: Ints,
    x_val: Floats,
    y_val: Ints,
    *,
    n_points: int,
    box: Box,
    seed: int,
    starts: tuple[Floats, Ints],
) -> Poisoned:
    """``n_points`` points against ``learner`` trained on ``(n, d)``, for validation points ``(n_val, d)``."""
    with denormals_as_zero():
        return _poison(how, learner, (x, y, x_val, y_val), n_points, box, seed, starts)


def _poison(
    how: Together,
    learner: NetworkLearner,
    data: tuple[Floats, Ints, Floats, Ints],
    n_points: int,
    box: Box,
    seed: int,
    starts: tuple[Floats, Ints],
) -> Poisoned:
    numbers = [int(one) for one in sequence(seed, "attack_start").generate_state(how.n_networks + 1)]
    networks = [learner.network_retraining(*data, seed=number) for number in numbers[:-1]]
    rows, labels = flipped_starts(starts[1], n_points, seed=seed)
    points = starts[0][rows].copy()
    size = how.n_together or n_points
    groups = [slice(start, min(start + size, n_points)) for start in range(0, n_points, size)]
    moved = []
    for group in groups:
        moved.append(_move(how, networks, points, labels, group, box))
        points[group] = moved[-1].points
    fresh = learner.network_retraining(*data, seed=numbers[-1])
    for network in [*networks, fresh]:
        network.retrain(points, labels)
    return _poisoned(how, networks, fresh, points, labels, starts[0][rows], rows, groups, moved)


@dataclass(frozen=True, kw_only=True)
class Alone:
    """With each point alone in the training data: validation losses ``(m,)``, gradients ``(m, d)``; largest residual."""

    losses: Floats
    gradients: Floats
    residual: float


def alone(learner: NetworkLearner, x: Floats, y: Ints, x_val: Floats, y_val: Ints, *, points: Floats, labels: Ints) -> Alone:
    """Of one network, whose training draws the same whatever the data; each point is added to the clean training."""
    losses, found = [], []
    with denormals_as_zero():
        network = learner.network_retraining(x, y, x_val, y_val, seed=0, how=_ALONE)
        network.retrain(points[:0], labels[:0])
        clean = network.weights
        for k in range(len(points)):
            network.weights = clean
            losses.append(network.retrain(points[k : k + 1], labels[k : k + 1]))
            found.append(network.gradient())
    gradients = np.concatenate([gradient for gradient, _ in found])
    return Alone(losses=np.array(losses), gradients=gradients, residual=max(residual for _, residual in found))


def flipped_starts(y: Ints, n_points: int, *, seed: int) -> tuple[Ints, Ints]:
    """Rows ``(m,)`` of the points to start from, drawn at random, and other classes for them.

    Rows are those that points moved one by one are drawn from, with one start each; another class of two is not drawn.
    """
    rng = generator(seed, "attack_start")
    unused, rows = np.arange(len(y)), []
    for _ in range(n_points):
        (k,) = rng.choice(len(unused), size=1, replace=False)
        rows.append(unused[k])
        unused = np.delete(unused, k)
    found = np.array(rows)
    (own,) = sequence(seed, "attack_start").spawn(1)  # so that fewer points are the first of more
    return found, other_classes(y[found], int(y.max()) + 1, np.random.default_rng(own))


def _move(
    how: Together, networks: Sequence[NetworkRetraining], points: Floats, labels: Ints, group: slice, box: Box
) -> _Group:
    """Move the points of one group; those before it stay, those after it are not there yet."""
    x, present = points[: group.stop].copy(), labels[: group.stop]
    step = how.step * float(np.linalg.norm(box.upper - box.lower))
    ahead = np.zeros_like(x[group])
    before = sum(network.counts.unfinished for network in networks)
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
        x[group] = np.clip(x[group] + length * _unit(ahead), box.lower, box.upper)
    unfinished = sum(network.counts.unfinished for network in networks) - before
    return _Group(best_x, first, best, worst, unfinished)


def _unit(rows: Floats) -> Floats:
    size = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(size > 0, size, 1.0))


def _poisoned(
    how: Together,
    networks: Sequence[NetworkRetraining],
    fresh: NetworkRetraining,
    points: Floats,
    labels: Ints,
    start_points: Floats,
    rows: Ints,
    groups: Sequence[slice],
    moved: Sequence[_Group],
) -> Poisoned:
    n_each = [group.stop - group.start for group in groups]
    first = np.zeros(len(points), dtype=np.int64)
    first[[group.start for group in groups]] = 1
    n_gradients = how.n_networks * how.n_rounds
    return Poisoned(
        points=points,
        labels=labels,
        start_points=start_points,
        start_rows=rows,
        objective_start=np.repeat([one.first for one in moved], n_each),
        objective=np.repeat([one.best for one in moved], n_each),
        stayed=(points == start_points).all(axis=1),
        no_support=np.zeros(len(points), dtype=bool),
        residual=np.repeat([one.residual for one in moved], n_each),
        retrainings=first * (n_gradients + how.n_networks),
        gradients=first * n_gradients,
        fallbacks=np.repeat([one.n_unfinished for one in moved], n_each) * first,
        own=np.array([network.validation_error() for network in networks]),
        fresh=np.array([fresh.validation_error()]),
        damping=np.array([networks[0].how.damping]),
    )
