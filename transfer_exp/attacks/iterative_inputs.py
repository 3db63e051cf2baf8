"""What an iterative transfer attack shows to the model in a point's stead, and how it smooths the gradients.

    copies of x    D((x + mix_share x') / 2^i)    i = 0 .. n_scales - 1, for each of n_mixed images x' of another class
    D              with probability ``diversity``: resized to a random share of its size, put at a random place, 0 around it
    smoothed g     g convolved with a Gaussian kernel, which stands for the mean over translated images

Sources: scales, arXiv 1908.06281; mixing, 2102.00436; resizing, 1803.06978; kernel, 1904.02884. Each point has its own draws
(``iterative_draws``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from transfer_exp.attacks.iterative_draws import Draws, below
from transfer_exp.types import Ints, UserError


@dataclass(frozen=True, kw_only=True)
class Images:
    """The shape of a point: channels, height, width. ``of``: from ``Dataset.shape``."""

    channels: int
    height: int
    width: int

    @classmethod
    def of(cls, shape: tuple[int, ...] | None) -> Images:
        """Raises UserError where points are no images."""
        if shape is None or len(shape) not in (2, 3):
            raise UserError(
                f"attack: expected images for diversity or kernel_size, got points of shape {shape}; choose a data set of "
                "images, or attack.diversity=0 attack.kernel_size=1"
            )
        channels, height, width = (1, *shape) if len(shape) == 2 else shape
        return cls(channels=channels, height=height, width=width)

    def __call__(self, points: Tensor) -> Tensor:
        """Images ``(n, channels, height, width)`` of points ``(n, d)``."""
        return points.reshape(-1, self.channels, self.height, self.width)


@dataclass(frozen=True)
class Known:
    """Points ``(m, d)`` of classes ``(m,)`` that the attacker has, to be mixed in."""

    points: Tensor
    classes: Tensor

    def drawn(self, label: Tensor, draws: Draws) -> Tensor:
        """One for each of the classes ``(n,)``, of another class, all such alike likely: ``(n, d)``.

        Raises UserError where all are of one class.
        """
        classes, order = self.classes.sort(stable=True)
        start, end = (torch.searchsorted(classes, label, right=after) for after in (False, True))  # those of the label
        n_others = len(classes) - (end - start)
        if not bool(n_others.all()):
            raise UserError("attack.n_mixed: expected known points of two or more classes to mix in, got those of one")
        place = torch.from_numpy(below(draws.shares(1)[:, 0], n_others.cpu().numpy())).to(label.device)
        return self.points[order[torch.where(place < start, place, place + end - start)]]


@dataclass(frozen=True, kw_only=True)
class Copies:
    """The copies of a point, ``n`` of them; the options are those of ``Iterative`` of these names."""

    n_scales: int
    n_mixed: int
    mix_share: float
    diversity: float
    resize_rate: float

    @property
    def n(self) -> int:
        """How many there are."""
        return self.n_scales * max(self.n_mixed, 1)

    def of(self, x: Tensor, label: Tensor, known: Known | None, images: Images | None, draws: Draws) -> Iterator[Tensor]:
        """Copies ``(n, d)`` of points ``(n, d)``, one after the other; differentiable in the points."""
        for _ in range(max(self.n_mixed, 1)):
            mixed = x
            if self.n_mixed:
                assert known is not None
                mixed = x + self.mix_share * known.drawn(label, draws)
            for i in range(self.n_scales):
                yield self._diverse(mixed / 2**i, images, draws)

    def _diverse(self, x: Tensor, images: Images | None, draws: Draws) -> Tensor:
        """Resized and padded, or as they are."""
        if images is None or not self.diversity:
            return x
        resized, size, *places = draws.shares(4).T
        smallest = max(1, int(self.resize_rate * images.height))
        height = smallest + below(size, max(images.height - smallest, 1))
        height = np.where(resized < self.diversity, height, images.height)
        width = np.maximum(1, np.rint(images.width * height / images.height)).astype(np.int64)
        rows, columns = (
            resizing(side, below(place, full - side + 1), full).to(x)[:, None]
            for side, place, full in zip((height, width), places, (images.height, images.width), strict=True)
        )
        return (rows @ images(x) @ columns.mT).flatten(1)


def resizing(size: Ints, start: Ints, full: int) -> Tensor:
    """Matrices ``(n, full, full)`` that resize ``full`` pixels to ``size`` ``(n,)`` and put them at ``start`` among zeros.

    Bilinear, pixels' centres at halves, as torch's ``interpolate`` has it.
    """
    place = torch.arange(full) - torch.from_numpy(start)[:, None]
    length = torch.from_numpy(size)[:, None]
    source = ((place + 0.5) * (full / length) - 0.5).clamp(0, full - 1)
    weight = (1 - (source[:, :, None] - torch.arange(full)).abs()).clamp(min=0)
    return weight * ((place >= 0) & (place < length))[:, :, None]


def gaussian_kernel(size: int, reach: float) -> Tensor:
    """``(size, size)``, float64, sum 1; ``reach``: standard deviations from the middle of the first pixel to the centre."""
    place = torch.linspace(-reach, reach, size, dtype=torch.float64)
    row = torch.exp(-place.square() / 2)
    return torch.outer(row, row) / row.sum() ** 2


def smoothed(gradient: Tensor, kernel: Tensor, images: Images) -> Tensor:
    """Gradients ``(n, d)``, each channel convolved with the kernel, 0 beyond the edges."""
    stacked = images(gradient).reshape(-1, 1, images.height, images.width)
    return functional.conv2d(stacked, kernel[None, None].to(gradient), padding="same").reshape(gradient.shape)
