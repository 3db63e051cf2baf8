"""The space that other libraries attack in: images, every feature in [0, 1]; and a model of points as a model of those.

    unit image = (point - lower) / width, in the shape of an image            width = upper - lower of the data's box

Where all features are equally wide a norm's ball stays a ball, with epsilon divided by the width. (l0 counts features: its
ball stays one in any box, and so does epsilon.) Offsets go back as they are, times the width: a feature that an attack
leaves alone has not moved, whatever the precision.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from transfer_exp.learners import Model
from transfer_exp.optim.balls import ball
from transfer_exp.optim.state import Effort
from transfer_exp.types import Box, Floats, UserError


@dataclass(frozen=True)
class UnitSpace:
    """lower, width: ``(d,)``. shape: of one image, ``(channels, h, w)``, or ``(d,)`` of points that are no images."""

    lower: Floats
    width: Floats
    shape: tuple[int, ...]
    norm: str

    @classmethod
    def of(cls, box: Box, shape: tuple[int, ...] | None, norm: str) -> UnitSpace:
        """The space of points in a box, ``shape`` as ``Dataset.shape``. Raises UserError where the ball would be none."""
        width = box.upper - box.lower
        if not np.isfinite(width).all():
            raise UserError("attack: expected a box with finite bounds, for attacks in the unit box, got infinite ones")
        if not ball(norm).counts_features and not (width.max() > 0 and np.ptp(width) <= 1e-9 * width.max()):
            raise UserError(
                f"attack: expected a box that is as wide in every feature (else the {norm} ball is no ball in the unit box, "
                f"where attacks of other libraries live), got widths from {width.min():g} to {width.max():g}; scale the "
                "features in the file to [0, 1]"
            )
        image = shape if shape is None or len(shape) != 2 else (1, *shape)
        return cls(box.lower, np.where(width > 0, width, 1.0), image or (len(width),), norm)

    def epsilon(self, epsilon: float) -> float:
        """The ball's radius in this space."""
        return epsilon if ball(self.norm).counts_features else epsilon / float(self.width.max())

    def images(self, points: Tensor) -> Tensor:
        """Images ``(n, *shape)`` of points ``(n, d)``, which share no memory with them."""
        lower, width = (torch.as_tensor(a).to(points) for a in (self.lower, self.width))
        return ((points - lower) / width).clamp_(0, 1).reshape(-1, *self.shape)

    def points(self, images: Tensor) -> Tensor:
        """Points ``(n, d)`` in raw units."""
        lower, width = (torch.as_tensor(a).to(images) for a in (self.lower, self.width))
        return images.flatten(1) * width + lower

    def offsets(self, images: Tensor, others: Tensor) -> Tensor:
        """How far ``others`` are from ``images``, ``(n, d)`` in raw units, float64."""
        return (others.double() - images.double()).flatten(1) * torch.as_tensor(self.width).to(images.device)


class UnitModel(torch.nn.Module):
    """Logits ``(n, K)`` of images in [0, 1], by a copy of a model, and what was asked of it (``effort``).

    score_calls of the effort count forward passes, gradient_calls backward passes. Images may be in any precision; logits
    are in theirs.
    """

    def __init__(self, model: Model, space: UnitSpace) -> None:
        super().__init__()
        self.model = deepcopy(model)
        self.space, self.n_classes, self.effort = space, model.n_classes, Effort()
        self.like = torch.nn.Parameter(torch.zeros_like(model.like), requires_grad=False)  # libraries ask it for the device
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(n, K)`` of images ``(n, *shape)``."""
        logits: Tensor = self.model(self.space.points(images.to(self.like))).to(images.dtype)
        self.effort += Effort(score_calls=1, score_rows=len(images))
        if logits.requires_grad:
            logits.register_hook(self._count)  # type: ignore[no-untyped-call]
        return logits

    def _count(self, gradient: Tensor) -> None:
        self.effort += Effort(gradient_calls=1, gradient_rows=len(gradient))
