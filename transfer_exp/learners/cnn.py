"""A small convolutional network, for images of any size from 4 x 4 pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from transfer_exp.learners.network import ShapedNetworkLearner, image_shape
from transfer_exp.learners.network_parts import check_parts, drop, norm, stackable
from transfer_exp.types import Dataset, UserError


class SmallCNN(torch.nn.Module):
    """Two 3 x 3 convolutions with ReLU, each halved by 2 x 2 max pooling; a hidden layer; logits of ``n_classes``.

    depth: convolutions before each pooling. Batch norm goes before each of their ReLUs, dropout after the hidden layer's.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        n_classes: int,
        channels: tuple[int, int] = (8, 16),
        hidden: int = 64,
        *,
        depth: int = 1,
        batch_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        n_channels, height, width = shape
        self.first = torch.nn.Conv2d(n_channels, channels[0], 3, padding=1)
        self.second = torch.nn.Conv2d(channels[0], channels[1], 3, padding=1)
        self.hidden = torch.nn.Linear(channels[1] * (height // 4) * (width // 4), hidden)
        self.last = torch.nn.Linear(hidden, n_classes)
        self.more = torch.nn.ModuleList(
            torch.nn.ModuleList(torch.nn.Conv2d(n, n, 3, padding=1) for _ in range(depth - 1)) for n in channels
        )
        self.norms = torch.nn.ModuleList(torch.nn.ModuleList(norm(batch_norm, n) for _ in range(depth)) for n in channels)
        self.dropout = drop(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(n, K)`` of images ``(n, channels, h, w)``."""
        stages: Any = zip((self.first, self.second), self.more, self.norms, strict=True)
        for first, more, norms in stages:
            for convolution, normed in zip([first, *more], norms, strict=True):
                x = torch.relu(normed(convolution(x)))
            x = torch.nn.functional.max_pool2d(x, 2)
        return self.last(self.dropout(torch.relu(self.hidden(x.flatten(1)))))  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class CNN(ShapedNetworkLearner):
    """Two 3 x 3 convolutions with ``channels`` and a layer of ``hidden`` units; needs images.

    width: w for w and 2 w channels and 8 w hidden units; 0: as ``channels`` and ``hidden`` say. depth: convolutions before
    each of the two poolings; 0: one. batch_norm, dropout: see ``SmallCNN``.
    """

    channels: tuple[int, ...] = (8, 16)
    hidden: int = 64
    width: int = 0
    depth: int = 0
    batch_norm: bool = False
    dropout: float = 0.0
    n_epochs: int = 8
    family = "cnn"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "channels", tuple(self.channels))
        if len(self.channels) != 2 or min(self.channels) < 1 or self.hidden < 1:
            raise UserError(
                f"{self.label}: expected two numbers of channels and one of hidden units, each at least 1, got "
                f"channels={list(self.channels)}, hidden={self.hidden}"
            )
        check_parts(self)

    @property
    def side_by_side(self) -> bool:
        """On a GPU (``stackable``); not of a subclass."""
        return type(self) is CNN and stackable(self)

    def on(self, dataset: Dataset) -> Self:
        """The learner with the shape of the images. Raises UserError on points that are none."""
        shape = image_shape(dataset)
        if len(shape) != 3 or min(shape[1:]) < 4:
            raise UserError(
                f"{self.label}: expected images of 4 x 4 pixels or more, got points of shape {shape} in {dataset.name}; "
                "choose mlp, or a data set of images"
            )
        return super().on(dataset)

    def _network(self, n_features: int, n_classes: int) -> torch.nn.Module:
        del n_features
        assert self.shape is not None, "bound to a data set by ``on``"
        width = self.width
        channels, hidden = ((width, 2 * width), 8 * width) if width else ((self.channels[0], self.channels[1]), self.hidden)
        return SmallCNN(
            self.shape,
            n_classes,
            channels,
            hidden,
            depth=self.depth or 1,
            batch_norm=self.batch_norm,
            dropout=self.dropout,
        )
