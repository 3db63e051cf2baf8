"""Prototype points (beta poisoning; Cina et al. 2021, arXiv 2103.12399): no learner is asked, so there is nothing to nest.

    a point of class t that is learned with another label y:
    maximise   p(x | t) = mean_v exp(-|x - x_v| / h)        v: validation points of class t; h: their mean distance
    over       x = clip(sum_k beta_k s_k),   beta in [-1, 1]^k, scaled to sum to 1        s_k: k prototypes of class t

Points that look most like class t, with another label, pull any learner of it the wrong way. By projected gradient ascent in
beta from random weights, as in the paper; here the prototypes are the attacker's training points, and the ascent is on
log p, whose slope does not vanish far from the data.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from transfer_exp.attacks.other_classes import random_others
from transfer_exp.attacks.poisoned import Poisoned
from transfer_exp.attacks.poisoning_baselines import (
    Baseline,
    Clock,
    n_classes_of,
    require_enough,
    unmoved,
)
from transfer_exp.learners import Learner
from transfer_exp.seeds import generator
from transfer_exp.types import Box, Floats, Ints, Matrix, UserError, dense


@dataclass(frozen=True, kw_only=True)
class Prototypes(Baseline):
    """n_prototypes: k. n_iter, step: steps in beta, and their length along the gradient of log p."""

    name: str = field(default="prototypes", compare=False)
    n_prototypes: int = 15
    n_iter: int = 100
    step: float = 0.01

    def __post_init__(self) -> None:
        if self.n_prototypes < 1 or self.n_iter < 0 or not self.step > 0:
            raise UserError(
                "attack: expected n_prototypes >= 1, n_iter >= 0 and step > 0, got "
                f"n_prototypes={self.n_prototypes}, n_iter={self.n_iter}, step={self.step}"
            )

    def craft(
        self,
        learner: Learner,
        x: Matrix,
        y: Ints,
        x_val: Matrix,
        y_val: Ints,
        *,
        n_points: int,
        box: Box,
        seed: int,
        starts: tuple[Matrix, Ints] | None = None,
    ) -> Poisoned:
        """As ``Poisoning.craft``; start_points: the first prototype of each. Raises UserError on too few points."""
        del learner
        clock = Clock()
        start_x, start_y = (x, y) if starts is None else starts
        require_enough(start_y, n_points)
        labels = random_others(start_y, n_classes_of(y, y_val, start_y), generator(seed, "attack_labels"))
        rng = generator(seed, "attack_start")
        data, rows = dense(start_x), rng.choice(len(start_y), size=n_points, replace=False)
        chosen = np.array([self._prototypes(start_y, int(row), rng) for row in rows])
        weights = rng.random(chosen.shape)
        points = np.empty((n_points, data.shape[1]))
        for t in np.unique(start_y[rows]):
            own, seen = np.flatnonzero(start_y[rows] == t), np.flatnonzero(y_val == t)
            if len(seen) < 2:
                raise UserError(f"attack: expected two validation points of each class, got fewer of class {t}")
            points[own] = self._points(data[chosen[own]], weights[own], dense(x_val[seen]), box)
        return unmoved(points, labels[rows], data[rows], rows, seconds=clock.of(n_points))

    def _prototypes(self, classes: Ints, row: int, rng: np.random.Generator) -> Ints:
        """Rows ``(k,)``: the given one and others of its class, drawn again where there are too few."""
        others = np.flatnonzero((classes == classes[row]) & (np.arange(len(classes)) != row))
        others = others if len(others) else np.array([row])
        n = self.n_prototypes - 1
        return np.append(row, rng.choice(others, size=n, replace=n > len(others)))

    def _points(self, prototypes: Floats, weights: Floats, seen: Floats, box: Box) -> Floats:
        """Points ``(m, d)`` of largest density met by an ascent from ``weights`` ``(m, k)`` of prototypes ``(m, k, d)``."""
        others, kernel = torch.tensor(prototypes), torch.tensor(seen)
        lower, upper = torch.tensor(box.lower), torch.tensor(box.upper)
        n = len(seen)
        width = torch.pdist(kernel).mean() * (n - 1) / n  # over all pairs, a point with itself among them, as in the paper
        beta = _scaled(torch.tensor(weights))
        best, highest = torch.empty(len(beta), others.shape[2], dtype=beta.dtype), torch.full((len(beta),), -torch.inf)
        highest = highest.to(beta.dtype)
        for _ in range(self.n_iter + 1):
            beta.requires_grad_()
            points = torch.clamp(torch.einsum("mk,mkd->md", beta, others), lower, upper)
            density = log_density(points, kernel, width)
            better = density.detach() > highest
            best[better], highest[better] = points.detach()[better], density.detach()[better]
            (slope,) = torch.autograd.grad(density.sum(), beta)
            beta = _scaled(beta.detach() + self.step * slope)
        return np.asarray(best.numpy())


def log_density(points: Tensor, seen: Tensor, width: Tensor) -> Tensor:
    """log mean_v exp(-|x - x_v| / h) ``(m,)``."""
    distances = torch.cdist(points, seen)  # without all differences in memory at once, which takes 30 times as long
    exponents: Tensor = -distances / width.clamp(min=torch.finfo(width.dtype).tiny)
    return exponents.logsumexp(dim=1) - float(np.log(len(seen)))


def _scaled(beta: Tensor) -> Tensor:
    """Within [-1, 1], and to sum to 1; weights that sum to nothing stay as they are."""
    clipped = beta.clamp(-1, 1)
    total = clipped.sum(1, keepdim=True)
    return clipped / torch.where(total.abs() > torch.finfo(beta.dtype).eps, total, 1.0)
