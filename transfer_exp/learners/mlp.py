"""Multi-layer perceptron with ReLU units, trained in torch on cross-entropy.

K > 2 classes have K outputs, the logits; two classes have one, the score, which is the log odds. The loss is the mean over a
batch; weight decay is L2 in the loss: decay |W|^2 / 2 over weights, not biases.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear, relu, softplus

from transfer_exp.learners.base import Learner, Model, require_positive
from transfer_exp.learners.losses import cross_entropy
from transfer_exp.margin import signs
from transfer_exp.types import Ints, Matrix, UserError, dense

_DEAD = math.sqrt(torch.finfo(torch.float32).tiny)


def _outputs(layers: list[tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
    for weight, bias in layers[:-1]:
        x = relu(linear(x, weight, bias))
    x = linear(x, *layers[-1])
    return x[:, 0] if x.shape[1] == 1 else x


@contextmanager
def _denormals_as_zero() -> Iterator[None]:
    """Weight decay drives dead weights, and Adam's moments, below float32's normal range, where arithmetic is slow."""
    before = float(torch.full((), 5e-324, dtype=torch.float64) * 1) == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _without_dead(weight: Tensor) -> Tensor:
    """Zero where so small that products of two are denormal: far below what rounding does to any score."""
    return torch.where(weight.abs() < _DEAD, 0.0, weight)


class MLPModel(Model):
    """A trained perceptron; layer k has arrays ``weight_k`` (out, in) and ``bias_k`` (out,)."""

    loss_name = "cross_entropy"

    @property
    def n_classes(self) -> int:
        """K."""
        return max(2, len(self._layers()[-1][1]))

    def outputs(self, x: Tensor) -> Tensor:
        """Score ``(n,)`` or logits ``(n, K)`` of points ``(n, d)``."""
        return _outputs(self._layers(), x)

    def _layers(self) -> list[tuple[Tensor, Tensor]]:
        arrays = dict(self.named_buffers())
        n_layers = sum(name.startswith("weight_") for name in arrays)
        return [(arrays[f"weight_{k}"], arrays[f"bias_{k}"]) for k in range(n_layers)]


@dataclass(frozen=True, kw_only=True)
class MLP(Learner):
    """ReLU perceptron trained with Adam for a fixed number of epochs, in float32; scored in float64."""

    hidden: tuple[int, ...] = (50, 50)
    weight_decay: float = 0.0
    n_epochs: int = 30
    batch_size: int = 32
    learning_rate: float = 1e-3
    family = "mlp"
    model_type = MLPModel

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "hidden", tuple(self.hidden))
        require_positive(self, n_epochs=self.n_epochs, batch_size=self.batch_size, learning_rate=self.learning_rate)
        if not self.weight_decay >= 0 or not self.hidden or min(self.hidden) < 1:
            raise UserError(
                f"{self.name or 'MLP'}: expected weight_decay >= 0 and at least one hidden layer of at least one unit, "
                f"got weight_decay={self.weight_decay}, hidden={list(self.hidden)}"
            )

    def _start(self, n_features: int, n_outputs: int, generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
        widths = [n_features, *self.hidden, n_outputs]
        layers = []
        for n_in, n_out in itertools.pairwise(widths):
            bound = 1 / math.sqrt(n_in)
            shapes = ((n_out, n_in), (n_out,))
            weight, bias = (torch.empty(s).uniform_(-bound, bound, generator=generator) for s in shapes)
            layers.append((weight.requires_grad_(), bias.requires_grad_()))
        return layers

    @_denormals_as_zero()
    def _fit(self, x: Matrix, y: Ints, *, n_classes: int, seed: int) -> Model:
        """Fit; ``seed`` draws the starting weights and the order of the batches."""
        generator = torch.Generator().manual_seed(seed)
        layers = self._start(int(x.shape[1]), 1 if n_classes == 2 else n_classes, generator)
        groups: list[dict[str, Any]] = [
            {"params": [weight for weight, _ in layers], "weight_decay": self.weight_decay},
            {"params": [bias for _, bias in layers]},
        ]
        adam = torch.optim.Adam(groups, lr=self.learning_rate, fused=True)
        labels = torch.as_tensor(signs(y), dtype=torch.float32) if n_classes == 2 else torch.as_tensor(y)
        points = torch.as_tensor(x, dtype=torch.float32) if isinstance(x, np.ndarray) else None
        for _ in range(self.n_epochs):
            order = torch.randperm(len(labels), generator=generator)
            for batch in torch.split(order, self.batch_size):
                part = points[batch] if points is not None else _rows(x, batch)
                adam.zero_grad()
                _loss(_outputs(layers, part), labels[batch]).backward()  # type: ignore[no-untyped-call]
                adam.step()
        arrays: dict[str, Any] = {}
        for k, (weight, bias) in enumerate(layers):
            arrays |= {f"weight_{k}": _without_dead(weight.detach()).double(), f"bias_{k}": bias.detach().double()}
        return MLPModel(**arrays)


def _loss(outputs: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of scores ``(n,)`` for signs, or of logits ``(n, K)`` for classes."""
    return (softplus(-labels * outputs) if outputs.ndim == 1 else cross_entropy(outputs, labels)).mean()


def _rows(x: Matrix, batch: Tensor) -> Tensor:
    return torch.as_tensor(dense(x[batch.numpy()]), dtype=torch.float32)
