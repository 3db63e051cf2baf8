"""Parts that the networks of the package share: batch norm and dropout, as far as they are asked for."""

from __future__ import annotations

from typing import Any

import torch

from transfer_exp.types import UserError


def norm(batch_norm: bool, n_channels: int) -> torch.nn.Module:
    """Batch norm of images with so many channels, or nothing. arXiv 1502.03167."""
    return torch.nn.BatchNorm2d(n_channels) if batch_norm else torch.nn.Identity()


def drop(dropout: float) -> torch.nn.Module:
    """Dropout at this rate, or nothing."""
    return torch.nn.Dropout(dropout) if dropout else torch.nn.Identity()


def check_parts(learner: Any) -> None:
    """Raise UserError where ``width``, ``depth`` or ``dropout`` of a learner are none."""
    for name in ("width", "depth"):
        if getattr(learner, name) < 0:
            raise UserError(f"{learner.label}.{name}: expected a whole number >= 0, got {getattr(learner, name)}")
    if not 0 <= learner.dropout < 1:
        raise UserError(f"{learner.label}.dropout: expected a number from 0 to below 1, got {learner.dropout}")
