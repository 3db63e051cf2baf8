"""ResNets for CIFAR-10 (He et al. 2016, section 4.2): three stages of 16, 32 and 64 channels, depth 6 n + 2."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut without parameters: every other pixel, further channels zero."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.stride, self.n_new = stride, n_out - n_in

    def forward(self, x: Tensor) -> Tensor:
        """Features ``(n, n_out, h / stride, w / stride)`` of features ``(n, n_in, h, w)``."""
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        shortcut = x[:, :, :: self.stride, :: self.stride]
        before = self.n_new // 2
        return torch.relu(y + nn.functional.pad(shortcut, (0, 0, 0, 0, before, self.n_new - before)))


class ResNet(nn.Module):
    """A network of 6 ``n`` + 2 layers: 20, 32, 44, 56 for n = 3, 5, 7, 9."""

    def __init__(self, n: int, n_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        for stage, (n_in, n_out) in enumerate(((16, 16), (16, 32), (32, 64)), start=1):
            blocks = [Block(n_in if k == 0 else n_out, n_out, 2 if k == 0 and stage > 1 else 1) for k in range(n)]
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(n, n_classes)`` of normalised images ``(n, 3, 32, 32)``."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))
