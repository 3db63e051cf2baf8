"""How the loss l (cross-entropy) and its input gradient g change within a small distance r of a point.

    beta        mean_i max_u |g(x_i + u) - g(x_i)| / |u|     u random, uniform in the ball of radius r (arXiv 2104.00671)
    flatness    mean_i l(a_i) - mean_u l(a_i + u)            a_i attacked, u random on the sphere of radius r

Radii are shares of the length of the box's diagonal: of images in [0, 1], 0.01 is a root mean square of 0.01 a pixel. beta
is a lower bound of the local Lipschitz constant of g, the better the more draws. On the sphere u comes with -u, so that
slopes cancel and flatness is what curvature makes: positive at a peak, near 0 where the loss is flat or a slope, negative in
a valley. Neighbours may lie outside the box.
"""

from __future__ import annotations

import numpy as np

from transfer_exp.measures.base import Measure
from transfer_exp.measures.gradients import length, loss_gradients
from transfer_exp.measures.losses import CROSS_ENTROPY, losses
from transfer_exp.measures.subject import Role, Subject, directions, of_model, of_target
from transfer_exp.types import Floats, Ints, UserError


def gradient_changes(subject: Subject, *, radius: float, n_draws: int) -> Floats:
    """beta of each point ``(n,)``."""
    reach = radius * subject.diagonal
    found = []
    for rows in subject.parts():
        x, y = subject.x[rows], subject.y[rows]
        n, d = x.shape
        here, largest = loss_gradients(subject.model, x, y, CROSS_ENTROPY), np.zeros(n)
        for _ in range(n_draws):
            distance = reach * subject.rng.uniform(size=n) ** (1 / d)
            u = directions(subject.rng, n, d) * distance[:, None]
            change = length(loss_gradients(subject.model, x + u, y, CROSS_ENTROPY) - here)
            largest = np.maximum(largest, change / length(u))
        found.append(largest)
    return np.concatenate(found)


def flatness(subject: Subject, *, radius: float, n_draws: int) -> Floats:
    """Loss at the attacked points less its mean on the sphere around them, ``(E, n)``; n_draws: pairs of neighbours."""
    reach = radius * subject.diagonal
    found = np.empty((subject.n_epsilons, len(subject.y)))
    for rows in subject.parts():
        y, shape = subject.y[rows], subject.x[rows].shape
        steps = [reach * directions(subject.rng, *shape) for _ in range(n_draws)]  # the same for every epsilon
        for k in range(subject.n_epsilons):
            points = subject.attacked(k)[rows]  # made when needed: those of all epsilons together may be gigabytes
            around = [_losses(subject, points + sign * u, y) for u in steps for sign in (1, -1)]
            found[k, rows] = _losses(subject, points, y) - np.mean(around, axis=0)
    return found


def _losses(subject: Subject, x: Floats, y: Ints) -> Floats:
    return losses(subject.model.logits(x), y, CROSS_ENTROPY)


def gradient_lipschitz(
    *, name: str = "gradient_lipschitz", of: Role = "surrogate", radius: float = 0.01, n_draws: int = 10
) -> Measure:
    """The measure beta. radius: of the ball, as a share of the box's diagonal. n_draws: gradients a point."""
    _require(name, radius, n_draws)
    return Measure(
        name=name,
        heading="local Lipschitz constant of the input gradient" + of_target(of),
        symbol="beta",
        of=of,
        source="arXiv 2104.00671",
        compute=of_model(gradient_changes, name=name, role=of, radius=radius, n_draws=n_draws),
    )


def flatness_at_attack(*, name: str = "flatness_at_attack", radius: float = 0.01, n_draws: int = 5) -> Measure:
    """The measure. radius: of the sphere, as a share of the box's diagonal. n_draws: pairs of opposite neighbours."""
    _require(name, radius, n_draws)
    return Measure(
        name=name,
        heading="loss at the attacked point less its mean around it",
        label="flatness at the attacked points",
        of="surrogate",
        is_curve=True,
        compute=of_model(flatness, name=name, on_attack=True, radius=radius, n_draws=n_draws),
    )


def _require(name: str, radius: float, n_draws: int) -> None:
    if not radius > 0 or n_draws < 1:
        raise UserError(
            f"measures.{name}: expected a radius above 0 and at least one draw, got radius={radius}, n_draws={n_draws}"
        )
