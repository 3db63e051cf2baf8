"""Norms: one class each, with all that the suite asks of one. ``ball("l2")`` is the one of that name.

To add a norm: a ``Ball`` here, and in ``BALLS``.

An offset u lies in the ball of radius epsilon where its size |u| is at most epsilon:

    l0    number of features moved (the whole features that epsilon holds)
    l1    sum of |u_i|
    l2    square root of the sum of u_i^2
    linf  largest |u_i|

Projections and farthest points are exact, onto ball and box together. Offsets are counted from the ball's centre: box
low <= u <= high with low <= 0 <= high, all ``(n, d)``, epsilon ``(n,)`` or a number; l1 and l2: see ``projections``.

    l0    project: clip the k = floor(epsilon) features of largest v_i^2 - (v_i - clip(v_i))^2; leave the others out
          farthest: the k features of largest |g_i| times the room on their side, each to the face of the box
    linf  project: clip to [-epsilon, epsilon] and the box;  farthest: the corner of both

The l0 ball is not convex: its projection is a nearest point, one of them where gains are equal.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from transfer_exp.optim.projections import greedy_fill, keep_largest, projected, room, scale_to_sphere, soft_threshold
from transfer_exp.types import Floats, UserError


class Ball(ABC):
    """One norm.

    order, dual: what ``numpy.linalg.norm`` takes for the size of an offset and of a gradient: the most that a linear score
    gains is epsilon times the dual size of its gradient (l0: of one feature moved by one unit, max_i |g_i|).
    has_vertices: the farthest point turns from vertex to vertex. counts_features: epsilon counts features, not units of the
    data. pgd_lengths: total lengths of the fixed-step trajectories of ``attacks.exploring``, in units of the way to the
    farthest point: the balls with vertices have places to get stuck in, and two lengths end in more places. first_step: of a
    trajectory whose steps shorten (``attacks.network``), in radii of the ball.
    """

    name: ClassVar[str]
    order: ClassVar[float]
    dual: ClassVar[float]
    has_vertices: ClassVar[bool] = True
    counts_features: ClassVar[bool] = False
    pgd_lengths: ClassVar[tuple[float, ...]]
    first_step: ClassVar[float] = 2.0

    @abstractmethod
    def project(self, offset: Tensor, *, epsilon: Tensor | float, low: Tensor, high: Tensor) -> Tensor:
        """The nearest point of ball and box to each row of ``offset``."""

    @abstractmethod
    def farthest(self, direction: Tensor, *, epsilon: Tensor | float, low: Tensor, high: Tensor) -> Tensor:
        """argmax over ball and box of the inner product with each row of ``direction`` (zero where the row is zero)."""

    def steepest(self, direction: Tensor, *, epsilon: float, low: Tensor, high: Tensor) -> Tensor:
        """Steps of size epsilon, most of it, along which the inner product rises fastest; the box need not hold them."""
        return self.farthest(direction, epsilon=epsilon, low=low, high=high)

    def random_direction(self, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Directions ``(n, d)``, drawn row by row, that random noise of this norm goes along (see ``rays``)."""
        return rng.standard_normal(shape)

    def along(self, direction: Tensor, *, epsilon: Tensor | float, low: Tensor, high: Tensor) -> Tensor:
        """A point of ball and box far along each row of ``direction``, to start an ascent from."""
        return self.farthest(direction, epsilon=epsilon, low=low, high=high)

    def scatter(self, n: int, n_features: int, *, epsilon: float, seed: int) -> Tensor:  # noqa: ARG002 (l0 needs epsilon)
        """Places ``(n, d)`` of the unit ball, float32, the same for every centre (``at_place`` takes them there)."""
        places = _latin_hypercube(n, n_features, torch.Generator().manual_seed(seed))
        return places / torch.from_numpy(self.size(places.numpy()))[:, None].clamp(min=1)

    def at_place(self, place: Tensor, *, epsilon: float, center: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
        """Feasible points at a place ``(d,)`` of ``scatter`` around each centre ``(n, d)``; the box brings them nearer."""
        return torch.add(center, place, alpha=epsilon).clamp_(lower, upper)

    def size(self, offset: Floats) -> Floats:
        """The norm over the last axis."""
        return np.asarray(np.linalg.norm(offset, ord=self.order, axis=-1))

    def dual_size(self, gradient: Floats) -> Floats:
        """The dual norm over the last axis."""
        return np.asarray(np.linalg.norm(gradient, ord=self.dual, axis=-1))

    def distances(self, points: Floats, others: Floats) -> Floats:
        """Sizes ``(n, m)`` of all differences between ``(n, d)`` and ``(m, d)``."""
        from scipy.spatial.distance import cdist  # here: few runs need it

        return np.asarray(cdist(points, others, "minkowski", p=self.order))


class L0(Ball):
    """The number of features moved."""

    name = "l0"
    order = 0
    dual = np.inf
    counts_features = True
    pgd_lengths = (2.4, 32.0)
    first_step = 4.0

    def project(self, offset: Tensor, *, epsilon: Tensor | float, low: Tensor, high: Tensor) -> Tensor:
        """Keep the features whose clipped value is worth most."""
        nearest = offset.clamp(low, high)
        return keep_largest(nearest, offset.square() - (offset - nearest).square(), epsilon)

    def farthest(self, direction: Tensor, *, epsilon: Tensor | float, low: Tensor, high: Tensor) -> Tensor:
        """The most gainful features, each to its face."""
        space = room(direction, low, high)
        heaviest = direction.abs().amax(1, keepdim=True)
        weight = direction.abs() / torch.where(heaviest > 0, heaviest, 1.0)  # no overflow where the box is huge
        return keep_largest(torch.copysign(space, direction), weight * space, epsilon)

    def scatter(self, n: int, n_features: int, *, epsilon: float, seed: int) -> Tensor:
        """As many features as the ball allows, each somewhere in its room; the first half of the places at its faces."""
        random = torch.Generator().manual_seed(seed)
        places = _latin_hypercube(n, n_features, random)
        places[: n // 2] = places[: n // 2].sign()
        places *= torch.rand((n, n_features), generator=random).argsort(1) < int(epsilon)
        return places

    def at_place(self, place: Tensor, *, epsilon: float, center: Tensor, lower: Tensor, upper: Tensor) -> Tensor:  # noqa: ARG002
        """A place is a share of the room on its side."""
        bound = torch.where(place > 0, upper, lower)
        return torch.where(place == 0, center, (center + place.abs() * (bound - center)).clamp(lower, upper))

    def size(self, offset: Floats) -> Floats:
        """How many entries of the last axis are not zero."""
        return np.asarray(np.count_nonzero(offset, axis=-1), dtype=np.float64)

    def distances(self, points: Floats, others: Floats) -> Floats:
        """In how many features they differ."""
        from scipy.spatial.distance import cdist  # here: few runs need it

        return np.asarray(cdist(points, others, "hamming") * points.shape[1])


class L1(Ball):
    """The sum of absolute values."""

    name = "l1"
    order = 1
    dual = np.inf
    pgd_lengths = (2.4, 32.0)
    first_step = 4.0

    def project(self, offset: Tensor, *, epsilon: Tensor | float, low: Tensor, high: Tensor) -> Tensor:
        """Soft threshold within the box."""
        return projected(self.order, soft_threshold, offset, low, high, _column(epsilon, offset))

    def farthest(self, direction: Tensor, *, epsilon: Tensor | float, low: Tensor, high: Tensor) -> Tensor:
        """The heaviest coordinates, each up to its face."""
        return greedy_fill(direction, low, high, _column(epsilon, direction))

    def along(self, direction: Tensor, *, epsilon: Tensor | float, low: Tensor, high: Tensor) -> Tensor:
        """No vertex, for a direction has only one."""
        scaled = _column(epsilon, direction) * direction
        return self.project(scaled, epsilon=epsilon, low=low, high=high)

    def scatter(self, n: int, n_features: int, *, epsilon: float, seed: int) -> Tensor:  # noqa: ARG002
        """Most places leave features out, as the vertices do."""
        random = torch.Generator().manual_seed(seed)
        places = _latin_hypercube(n, n_features, random)
        n_moved = torch.ceil(n_features ** torch.rand((n, 1), generator=random))
        places *= torch.rand((n, n_features), generator=random).argsort(1) < n_moved
        return places / torch.from_numpy(self.size(places.numpy()))[:, None].clamp(min=1)

    def random_direction(self, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Laplace: uniform on the sphere."""
        return rng.laplace(size=shape)


class L2(Ball):
    """The Euclidean length."""

    name = "l2"
    order = 2
    dual = 2
    has_vertices = False
    pgd_lengths = (2.4,)

    def project(self, offset: Tensor, *, epsilon: Tensor | float, low: Tensor, high: Tensor) -> Tensor:
        """Scaled and clipped."""
        return projected(self.order, scale_to_sphere, offset, low, high, _column(epsilon, offset))

    def farthest(self, direction: Tensor, *, epsilon: Tensor | float, low: Tensor, high: Tensor) -> Tensor:
        """Scaled and clipped until it has the length epsilon."""
        return scale_to_sphere(direction, low, high, _column(epsilon, direction))

    def steepest(self, direction: Tensor, *, epsilon: float, low: Tensor, high: Tensor) -> Tensor:  # noqa: ARG002
        """Along the direction."""
        size = torch.linalg.vector_norm(direction, dim=1, keepdim=True)
        return direction * (epsilon / torch.where(size > 0, size, 1.0))


class Linf(Ball):
    """The largest absolute value."""

    name = "linf"
    order = np.inf
    dual = 1
    pgd_lengths = (2.4, 9.6)

    def project(self, offset: Tensor, *, epsilon: Tensor | float, low: Tensor, high: Tensor) -> Tensor:
        """Clipped twice."""
        radius = _column(epsilon, offset)
        return offset.clamp(low, high).clamp(-radius, radius)

    def farthest(self, direction: Tensor, *, epsilon: Tensor | float, low: Tensor, high: Tensor) -> Tensor:
        """The corner."""
        return (direction.sign() * _column(epsilon, direction)).clamp(low, high)

    def steepest(self, direction: Tensor, *, epsilon: float, low: Tensor, high: Tensor) -> Tensor:  # noqa: ARG002
        """Every feature by epsilon."""
        return epsilon * direction.sign()

    def random_direction(self, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Signs: every feature moves by epsilon, as attacks move it."""
        return np.asarray(np.sign(rng.standard_normal(shape)))


BALLS: dict[str, Ball] = {one.name: one for one in (L0(), L1(), L2(), Linf())}


def ball(name: str) -> Ball:
    """The norm of that name; UserError for an unknown one."""
    if name not in BALLS:
        raise UserError(f"attack.norm: expected one of {', '.join(BALLS)}, got {name}")
    return BALLS[name]


def _column(epsilon: Tensor | float, like: Tensor) -> Tensor:
    radius = torch.as_tensor(epsilon, dtype=like.dtype, device=like.device)
    return radius.expand(len(like))[:, None]


def _latin_hypercube(n: int, d: int, random: torch.Generator) -> Tensor:
    """Places ``(n, d)`` in [-1, 1]^d: every feature takes one value in each n-th of its range."""
    strata = torch.rand((n, d), generator=random).argsort(0)
    return 2 * (strata + torch.rand((n, d), generator=random)) / n - 1
