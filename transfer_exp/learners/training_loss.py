"""What a step of training lowers: the losses of a batch, its points mixed, moved and penalised (formulas: ``training``).

Everything is of one network, points ``(n, d)``, or of k side by side, points ``(k, n, d)``: the mean over a network's batch,
summed over the networks, so that each has its own gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from transfer_exp.learners.losses import cross_entropy
from transfer_exp.learners.training import TrainedLearner

LANES = 16
"""Numbers that a processor computes with at once. What is left over of a tensor may be rounded in another way: of networks
side by side, tensors whose size is no multiple are taken apart where that costs little, so that each is rounded as alone.
Not on a GPU, where they would cost most of what being side by side gains."""


def rounded_apart(x: Tensor, n: int) -> bool:
    """Whether n numbers of each of the networks side by side in ``x`` would be rounded in another way than alone."""
    return x.device.type == "cpu" and n % LANES != 0


@dataclass(frozen=True)
class Labels:
    """Of points: signs of two classes, else class indices, ``(..., n)``. Of mixed ones also the others' and the share r."""

    own: Tensor
    others: Tensor | None = None
    share: Tensor | None = None

    def of(self, k: int) -> Labels:
        """Of the k-th network alone."""
        others = None if self.others is None else self.others[k]
        return Labels(self.own[k], others, None if self.share is None else self.share[k])

    def losses(self, outputs: Tensor, smoothing: float) -> Tensor:
        """Losses ``(..., n)`` of scores ``(..., n)`` or logits ``(..., n, K)``."""
        own = point_losses(outputs, self.own, smoothing)
        if self.others is None or self.share is None:
            return own
        return self.share * own + (1 - self.share) * point_losses(outputs, self.others, smoothing)


def point_losses(outputs: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy ``(..., n)`` of scores ``(..., n)`` for signs, or of logits ``(..., n, K)`` for signs or classes."""
    if outputs.ndim > labels.ndim and labels.is_floating_point():  # both logits of two classes
        outputs = outputs[..., 1] - outputs[..., 0]
    if outputs.ndim == labels.ndim:
        right = softplus(-labels * outputs)
        return right if smoothing == 0 else (1 - smoothing / 2) * right + smoothing / 2 * softplus(labels * outputs)
    if smoothing == 0:
        return cross_entropy(outputs, labels)
    flat = outputs.flatten(0, -2), labels.flatten()
    return torch.nn.functional.cross_entropy(*flat, label_smoothing=smoothing, reduction="none").view_as(labels)


@dataclass(frozen=True)
class Objective:
    """The losses of a batch as the options have them.

    outputs: of the network, or of all side by side. random: a generator for each network, of what the options draw.
    """

    options: TrainedLearner
    outputs: Callable[[Tensor], Tensor]
    random: Sequence[np.random.Generator]

    def prepared(self, points: Tensor, own: Tensor, network: torch.nn.Module) -> tuple[Tensor, Labels]:
        """The batch, mixed and moved."""
        labels = Labels(own)
        if self.options.mixup:
            points, labels = _mixed(points, own, self.options.mixup, self.random)
        if self.options.adversarial_radius:
            before = network.training
            network.eval()  # no statistics of attacked batches, no dropout: what an attacker sees
            points = _moved(lambda x: self._losses(x, labels), points, self.options, self.random)
            network.train(before)
        return points, labels

    def __call__(self, points: Tensor, labels: Labels) -> Tensor:
        """Mean over the batch, summed over the networks."""
        penalty = self.options.gradient_penalty
        if not penalty:
            return self._losses(points, labels).mean(-1).sum()
        points = points.detach().requires_grad_()
        losses = self._losses(points, labels)
        (slope,) = torch.autograd.grad(losses.sum(), points, create_graph=True)
        return (losses + penalty * slope.square().sum(-1)).mean(-1).sum()

    def _losses(self, points: Tensor, labels: Labels) -> Tensor:
        outputs, smoothing = self.outputs(points), self.options.label_smoothing
        if points.ndim == 2 or not rounded_apart(points, points.shape[1]):
            return labels.losses(outputs, smoothing)
        return torch.stack([labels.of(k).losses(one, smoothing) for k, one in enumerate(outputs)])


def _drawn(draws: Sequence[np.ndarray], like: Tensor) -> Tensor:
    """One draw for each network as a tensor beside points ``(k, n, d)``, or that of the only one beside ``(n, d)``."""
    stacked = torch.from_numpy(np.stack(draws)).to(like.device)
    return stacked if like.ndim == 3 else stacked[0]


def _mixed(points: Tensor, own: Tensor, alpha: float, random: Sequence[np.random.Generator]) -> tuple[Tensor, Labels]:
    share = _drawn([np.array(one.beta(alpha, alpha)) for one in random], points).to(points.dtype)[..., None]
    order = _drawn([one.permutation(points.shape[-2]) for one in random], points)
    others = torch.take_along_dim(points, order[..., None], -2)
    mixed = share[..., None] * points + (1 - share[..., None]) * others
    return mixed, Labels(own, torch.take_along_dim(own, order, -1), share)


def _moved(
    losses: Callable[[Tensor], Tensor], points: Tensor, options: TrainedLearner, random: Sequence[np.random.Generator]
) -> Tensor:
    """Points of ball and bounds where the losses are larger, after steps of 2.5 radius / steps from a random start."""
    radius, length = options.adversarial_radius, 2.5 * options.adversarial_radius / options.adversarial_steps
    into_ball, unit = (_into_l2, _unit_l2) if options.adversarial_norm == "l2" else (_into_linf, torch.sign)
    lower, upper = (-torch.inf, torch.inf) if options.bounds is None else options.bounds
    low, high = (torch.as_tensor(one, dtype=points.dtype, device=points.device) for one in (lower, upper))
    start = _drawn([one.random(points.shape[-2:], dtype=np.float32) for one in random], points).to(points.dtype)
    moved = (points + into_ball((2 * start - 1) * radius, radius)).clamp(low, high)
    for _ in range(options.adversarial_steps):
        at = moved.detach().requires_grad_()
        (slope,) = torch.autograd.grad(losses(at).sum(), at)
        moved = (points + into_ball(at.detach() + length * unit(slope) - points, radius)).clamp(low, high)
    return moved.detach()


def _into_linf(offset: Tensor, radius: float) -> Tensor:
    return offset.clamp(-radius, radius)


def _into_l2(offset: Tensor, radius: float) -> Tensor:
    shrunk: Tensor = offset * (radius / offset.norm(dim=-1, keepdim=True).clamp(min=radius))
    return shrunk


def _unit_l2(slope: Tensor) -> Tensor:
    largest = slope.abs().amax(-1, keepdim=True)  # whose squares may be 0 in single precision
    slope = slope / torch.where(largest > 0, largest, 1.0)
    size = slope.norm(dim=-1, keepdim=True)
    return slope / torch.where(size > 0, size, 1.0)
