"""Parts that the networks of the package share: batch norm and dropout, as far as they are asked for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from transfer_exp.types import UserError


def norm(batch_norm: bool, n_channels: int) -> torch.nn.Module:
    """Batch norm of images with so many channels, or nothing. arXiv 1502.03167."""
    return torch.nn.BatchNorm2d(n_channels) if batch_norm else torch.nn.Identity()


class Dropout(torch.nn.Dropout):
    """Dropout that is drawn from the CPU's generator wherever the points lie: on a GPU the same is dropped."""

    def forward(self, x: Tensor) -> Tensor:
        """Points of any shape, some of them zero in training."""
        if x.device.type == "cpu" or not self.training:
            return super().forward(x)
        return x * kept(x.shape, self.p).to(x.device)


def kept(shape: torch.Size, rate: float) -> Tensor:
    """Zero where dropout at this rate drops a number, else the factor that makes up for it; drawn as on the CPU."""
    return torch.empty(shape).bernoulli_(1 - rate).div_(1 - rate)


def drop(dropout: float) -> torch.nn.Module:
    """Dropout at this rate, or nothing."""
    return Dropout(dropout) if dropout else torch.nn.Identity()


def stackable(learner: Any) -> bool:
    """Whether networks of a learner with these parts are trained side by side (``side_by_side``): on a GPU.

    A small network leaves it idle most of the time; a processor is busy with one. Each would drop what it drops alone, and
    have the statistics of its own mean of weights: these are trained one after another.
    """
    mean = learner.ema_decay or learner.swa_epochs
    return bool(learner.trains_on != "cpu" and not learner.dropout and not (learner.batch_norm and mean))


def check_parts(learner: Any) -> None:
    """Raise UserError where ``width``, ``depth`` or ``dropout`` of a learner are none."""
    for name in ("width", "depth"):
        if getattr(learner, name) < 0:
            raise UserError(f"{learner.label}.{name}: expected a whole number >= 0, got {getattr(learner, name)}")
    if not 0 <= learner.dropout < 1:
        raise UserError(f"{learner.label}.dropout: expected a number from 0 to below 1, got {learner.dropout}")
