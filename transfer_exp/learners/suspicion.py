"""How suspect a training point is, by three filters: the larger, the more. Points ``(n, d)`` of classes ``(n,)``.

    centre       |x - mean of its class|
    neighbours   d_k(own class) / min over other classes d_k(that class);  d_k: distance to the k-th nearest other point
    loss         cross-entropy of the point under the learner fitted to all points, suspect ones included

centre and loss: Koh, Steinhardt and Liang 2018 (arXiv 1811.00741), who compare five filters, each removing a fixed share.
Theirs by neighbours, d_k to any point, does not see a point with a wrong label; this ratio does (the inverse of the trust
score, Jiang et al. 2018, arXiv 1805.11783). Filters look within a class: a share of each class is removed.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from transfer_exp.learners.losses import cross_entropy
from transfer_exp.learners.model import Model
from transfer_exp.types import Floats, Ints, Matrix, dense

Filter: TypeAlias = Literal["centre", "neighbours", "loss"]


def centre_distances(x: Matrix, y: Ints) -> Floats:
    """Distance ``(n,)`` of each point to the mean of its class."""
    found = np.empty(len(y))
    for k in np.unique(y):
        own = dense(x[np.flatnonzero(y == k)])
        found[y == k] = np.linalg.norm(own - own.mean(axis=0), axis=1)
    return found


def neighbour_ratios(x: Matrix, y: Ints, *, n_neighbours: int) -> Floats:
    """d_k of its class over d_k of the nearest other class, ``(n,)``; infinite where others lie on the point itself."""
    classes = np.unique(y)
    own, other = np.empty(len(y)), np.full(len(y), np.inf)
    for k in classes:
        here, there = np.flatnonzero(y == k), np.flatnonzero(y != k)
        own[here] = _kth_distance(x[here], x[here], n_neighbours, itself=True)
        other[there] = np.minimum(other[there], _kth_distance(x[here], x[there], n_neighbours, itself=False))
    return np.asarray(np.divide(own, other, out=np.where(own > 0, np.inf, 1.0), where=other > 0))


def _kth_distance(points: Matrix, asked: Matrix, k: int, *, itself: bool) -> Floats:
    """Distance of each asked point to the k-th nearest of ``points``, or to the farthest where there are fewer."""
    from sklearn.neighbors import NearestNeighbors  # here: see ``learners``

    n = min(k + itself, int(points.shape[0]))
    distances, _ = NearestNeighbors(n_neighbors=n, algorithm="brute").fit(points).kneighbors(asked)
    return np.asarray(distances[:, -1])


def losses(model: Model, x: Matrix, y: Ints) -> Floats:
    """Cross-entropy ``(n,)`` of each point."""
    return np.asarray(cross_entropy(torch.from_numpy(model.logits(x)), torch.from_numpy(y)).numpy())


def least_suspect(
    suspicion: Floats, y: Ints, *, share: float, rng: np.random.Generator | None = None
) -> npt.NDArray[np.bool_]:
    """``(n,)``, True for what stays when the most suspect ``share`` of each class, rounded down, is removed.

    Of equally suspect points those that ``rng`` draws are removed; without it, the last.
    """
    kept = np.ones(len(y), dtype=bool)
    for k in np.unique(y):
        rows = np.flatnonzero(y == k)
        rows = rows if rng is None else rng.permutation(rows)
        kept[rows[np.argsort(suspicion[rows], kind="stable")[len(rows) - n_removed(len(rows), share) :]]] = False
    return kept


def n_removed(n: int, share: float) -> int:
    """floor(share n), of the product as it is written: 0.07 of 100 is 7."""
    return int(np.floor(round(share * n, 9)))
