"""Small residual networks for images of any size (He et al. 2016, section 4.2; arXiv 1512.03385).

    3 x 3 convolution to w channels
    three stages of n blocks with w, 2 w, 4 w channels; the first block of the second and third halves the image
    block: x + f(x), f two 3 x 3 convolutions; where channels double, x is every second pixel, with channels of zeros
    mean over the image; dropout; logits

That is 6 n + 2 layers. Each convolution is followed by batch norm. Without it, the last convolution of each block starts at
zero, so that the network starts as a shallow one (Zhang et al. 2019, arXiv 1901.09321, begins its blocks so).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from transfer_exp.learners.network import ShapedNetworkLearner, image_shape
from transfer_exp.learners.network_parts import check_parts, drop, norm, stackable
from transfer_exp.types import Dataset, UserError


def _convolution(n_in: int, n_out: int, *, stride: int = 1, bias: bool) -> torch.nn.Conv2d:
    made = torch.nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=bias)
    torch.nn.init.kaiming_normal_(made.weight, nonlinearity="relu")
    if made.bias is not None:
        torch.nn.init.zeros_(made.bias)
    return made


class Block(torch.nn.Module):
    """Two convolutions beside the identity."""

    def __init__(self, n_in: int, n_out: int, *, stride: int, batch_norm: bool) -> None:
        super().__init__()
        self.stride, self.n_new = stride, n_out - n_in
        self.first = _convolution(n_in, n_out, stride=stride, bias=not batch_norm)
        self.first_norm = norm(batch_norm, n_out)
        self.second = _convolution(n_out, n_out, bias=not batch_norm)
        self.second_norm = norm(batch_norm, n_out)
        if not batch_norm:
            torch.nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(n, channels out, h, w)`` of such ``(n, channels in, h, w)``, halved where ``stride`` is 2."""
        found = self.second_norm(self.second(torch.relu(self.first_norm(self.first(x)))))
        kept = x[:, :, :: self.stride, :: self.stride]
        return torch.relu(found + torch.nn.functional.pad(kept, (0, 0, 0, 0, 0, self.n_new)))


class SmallResNet(torch.nn.Module):
    """See above; ``n_blocks`` a stage."""

    def __init__(
        self, n_channels: int, n_classes: int, *, n_blocks: int, width: int, batch_norm: bool, dropout: float
    ) -> None:
        super().__init__()
        self.first = _convolution(n_channels, width, bias=not batch_norm)
        self.norm = norm(batch_norm, width)
        widths = [width] * n_blocks + [2 * width] * n_blocks + [4 * width] * n_blocks
        pairs = zip([width, *widths], widths, strict=False)
        made = [Block(a, b, stride=2 if b > a else 1, batch_norm=batch_norm) for a, b in pairs]
        self.blocks = torch.nn.Sequential(*made)
        self.dropout = drop(dropout)
        self.last = torch.nn.Linear(4 * width, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(n, K)`` of images ``(n, channels, h, w)``."""
        found = self.blocks(torch.relu(self.norm(self.first(x))))
        return self.last(self.dropout(found.mean((2, 3))))  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class ResNet(ShapedNetworkLearner):
    """A residual network; needs images. depth: layers, 8, 14, 20 or another 6 n + 2. width: channels of the first stage.

    Its batch norm is there unless it is turned off, as in the paper. dropout: before the last layer.
    """

    depth: int = 8
    width: int = 16
    batch_norm: bool = True
    dropout: float = 0.0
    n_epochs: int = 8
    family = "resnet"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_parts(self)
        if self.depth < 8 or self.depth % 6 != 2:
            raise UserError(f"{self.label}.depth: expected 8, 14, 20 or another 6 n + 2, got {self.depth}")
        if self.width < 1:
            raise UserError(f"{self.label}.width: expected at least 1 channel, got {self.width}")

    @property
    def side_by_side(self) -> bool:
        """On a GPU (``stackable``); not of a subclass."""
        return type(self) is ResNet and stackable(self)

    def on(self, dataset: Dataset) -> Self:
        """The learner with the shape of the images. Raises UserError on points that are none."""
        shape = image_shape(dataset)
        if len(shape) != 3:
            raise UserError(
                f"{self.label}: expected images, got points of shape {shape} in {dataset.name}; choose mlp, or a data set "
                "of images"
            )
        return super().on(dataset)

    def _network(self, n_features: int, n_classes: int) -> torch.nn.Module:
        del n_features
        assert self.shape is not None, "bound to a data set by ``on``"
        return SmallResNet(
            self.shape[0],
            n_classes,
            n_blocks=(self.depth - 2) // 6,
            width=self.width,
            batch_norm=self.batch_norm,
            dropout=self.dropout,
        )
