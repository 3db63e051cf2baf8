"""Torch modules as a user would bring them: good ones, and ones that break what a model promises."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Plain(nn.Module):
    """Linear on flattened points."""

    def __init__(self, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(n_features, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1))


class Convolutional(nn.Module):
    """Convolution, batch norm, dropout: all that differs between training and use."""

    def __init__(self, shape: tuple[int, ...], n_classes: int, width: int = 4) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(shape[0], width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout(0.5)
        self.last = nn.Linear(width, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.dropout(torch.relu(self.norm(self.convolution(x))).mean((2, 3))))


class OneOutput(Plain):
    """Of two classes the score alone."""

    def __init__(self, n_features: int) -> None:
        super().__init__(n_features, 1)


class NotFinite(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 0


class TooMany(Plain):
    def __init__(self, n_features: int, n_classes: int) -> None:
        super().__init__(n_features, n_classes + 1)


class Labels(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).argmax(1)


class Random(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.functional.dropout(x, 0.5, training=True))


class OfTheBatch(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - x.mean(0))


class InPlace(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.sub_(0.5))


class Elsewhere(Plain):
    """A tensor that does not move with the module, on a device without numbers."""

    def __init__(self, n_features: int, n_classes: int) -> None:
        super().__init__(n_features, n_classes)
        self.shift = torch.zeros(n_classes, device="meta")

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.shift


class Enormous(Plain):
    def __init__(self, n_features: int, n_classes: int) -> None:
        super().__init__(10**9, 10**9)


class WithoutGradients(Plain):
    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class Forgets(Plain):
    """Draws a projection and keeps it where no state holds it."""

    def __init__(self, n_features: int, n_classes: int) -> None:
        super().__init__(n_features, n_classes)
        self.projection = torch.randn(n_features, n_features)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.cos(x.flatten(1) @ self.projection))


class Raises(Plain):
    def forward(self, x: Tensor) -> Tensor:
        raise KeyError("no such layer")
