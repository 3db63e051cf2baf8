"""Projected gradient steps of a fixed length: a start for an ascent, where jumping ahead ends in a poor maximum."""

from __future__ import annotations

import torch
from torch import Tensor

from transfer_exp.optim.state import FeasibleSet, Objective


def pgd(objective: Objective, feasible: FeasibleSet, *, x: Tensor, gradient: Tensor, n_steps: int, share: float) -> Tensor:
    """Points ``(n, d)`` after ``n_steps`` steps from ``x``, each of length ``share`` of the distance to the farthest point.

    ``gradient`` ``(n, d)`` is that at ``x``. The objective's value is not looked at: it may fall on the way.
    """
    rows = torch.arange(len(x), device=x.device)
    length = share * torch.linalg.vector_norm(feasible.farthest(gradient, rows) - x, dim=1, keepdim=True)
    for k in range(n_steps):
        if k > 0:
            gradient = objective.gradient(x, rows)
        size = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
        x = feasible.project(torch.addcmul(x, gradient, length / torch.where(size > 0, size, 1.0)), rows)
    return x
